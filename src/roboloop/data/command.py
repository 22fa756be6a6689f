"""`roboloop data COMMAND`: look after datasets."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tyro.conf import Positional

from roboloop import console
from roboloop.data import edit_command
from roboloop.data.cache import build_cache
from roboloop.data.check import check_dataset
from roboloop.data.convert import Choices, Target, convert
from roboloop.data.edit_command import EditFlags
from roboloop.data.origin import find_origin
from roboloop.data.reader import read_info
from roboloop.data.summary import summarise
from roboloop.errors import RoboloopError
from roboloop.record import to_plain
from roboloop.run import OutputFlags


@dataclass(frozen=True)
class Info(OutputFlags):
    """Show what a dataset holds."""

    dataset: Positional[Path]
    """A dataset's folder."""


@dataclass(frozen=True)
class Stats(OutputFlags):
    """Show the statistics of a dataset: lengths, outcomes, tasks, every column and camera."""

    dataset: Positional[Path]
    """A dataset's folder."""


@dataclass(frozen=True)
class Check(OutputFlags):
    """Check that a dataset is whole: every file readable, every count in agreement."""

    dataset: Positional[Path]
    """A dataset's folder."""
    decode: bool = False
    """Also decode every frame of every video, and compare colours with what was recorded."""
    replay: bool = False
    """Also replay every episode in physics: it has to end as recorded."""
    scene: Path | None = None
    """Folder of the scenes to replay in; by default the one that made the dataset."""
    task: Path | None = None
    """Folder of the task; by default the one that made the dataset."""
    workers: int = os.cpu_count() or 1
    """Processes to replay with."""


@dataclass(frozen=True)
class CacheConfig(OutputFlags):
    """Decode a dataset once into the memory map that training reads."""

    dataset: Positional[Path]
    """A dataset's folder."""
    size_px: int = 96
    """Edge of the square frames, px."""


@dataclass(frozen=True)
class Convert(EditFlags):
    """Turn a dataset into robomimic-style HDF5, or such a file or a dataset of others into ours."""

    dataset: Positional[Path]
    """A dataset's folder, or an HDF5 file."""
    to: Target = "lerobot"
    """What to write to --out: a folder, or a file."""
    state_keys: tuple[str, ...] = ()
    """Of an HDF5 file: observations that make up the state; by default all vectors but objects'."""
    mask: str | None = None
    """Of an HDF5 file: filter key; only its demonstrations are taken."""
    fps: int | None = None
    """Of an HDF5 file that does not say it: control steps a second."""
    instruction: str | None = None
    """Of an HDF5 file that does not say it: the task in words."""
    scene: Path | None = None
    """To HDF5: folder of the scenes, for `model_file`; by default the one that made the dataset."""
    task: Path | None = None
    """To HDF5: folder of the task, for `model_file`; by default the one that made the dataset."""


def run_info(config: Info) -> None:
    """Show counts, cameras and instructions."""
    console.emit(to_plain(read_info(config.dataset)))


def run_stats(config: Stats) -> None:
    """Show numbers."""
    console.emit(summarise(config.dataset))


def run_check(config: Check) -> None:
    """Check, and say what was checked."""
    info = check_dataset(config.dataset, config.decode)
    decoded = f", {len(info.cameras)} cameras decoded" if config.decode and info.cameras else ""
    console.say(f"whole: {info.n_episodes} episodes, {info.n_frames} frames{decoded}")
    if config.replay:
        _check_replay(config, info.n_episodes)
    console.emit({"whole": str(info.folder)} if config.json else info.folder)


def _check_replay(config: Check, n_episodes: int) -> None:
    """Replay what can be replayed; an episode that ends otherwise than recorded is an error."""
    origin = find_origin(config.dataset, config.scene, config.task)
    from roboloop.replay import replay_dataset

    verdicts = replay_dataset(config.dataset, origin, config.workers)
    wrong = [f"episode {i}: {v.problem}" for i, v in verdicts.items() if v.problem]
    if wrong:
        problem = f"{len(wrong)} of {len(verdicts)} episodes end otherwise than recorded"
        hint = "were they made on another machine, or with another version?"
        raise RoboloopError("\n".join([problem, *wrong]), hint, config.dataset)
    n_exact = sum(v.exact for v in verdicts.values())
    console.say(f"replayed: {len(verdicts)} episodes end as recorded, {n_exact} bit for bit")
    if len(verdicts) < n_episodes:
        console.warn(f"{n_episodes - len(verdicts)} episodes name no scene, and were not replayed")


def run_cache(config: CacheConfig) -> None:
    """Make the cache, and say where it is."""
    folder = build_cache(config.dataset, config.size_px)
    console.emit({"cache": str(folder)} if config.json else folder)


def run_convert(config: Convert) -> None:
    """Convert, and say what was left out."""
    choices = Choices(config.state_keys, config.mask, config.fps, config.instruction)
    out = convert(config, config.to, choices, lambda: _models(config))
    console.emit({"converted": str(out)} if config.json else out)


def _models(config: Convert) -> Callable[[str], str | None]:
    """Return what gives the XML of a scene, as far as scenes and task are known."""
    try:
        origin = find_origin(config.dataset, config.scene, config.task)
    except RoboloopError as error:
        if config.scene or config.task:
            raise
        console.say(f"`model_file` is left out: {error.problem}")
        return lambda scene: None
    from roboloop.replay import model_xml

    return lambda scene: model_xml(origin, scene) if scene else None


SUBCOMMANDS: dict[str, tuple[type, Callable[..., None]]] = {
    "info": (Info, run_info),
    "stats": (Stats, run_stats),
    "check": (Check, run_check),
    **edit_command.SUBCOMMANDS,
    "convert": (Convert, run_convert),
    "cache": (CacheConfig, run_cache),
}
