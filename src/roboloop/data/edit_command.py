"""`roboloop data merge|split|filter`: new datasets of the episodes of others."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from tyro.conf import Positional

from roboloop import console
from roboloop.data.choose import (
    Filter,
    Outcome,
    filter_episodes,
    split_by_ranges,
    split_by_shares,
)
from roboloop.data.compose import Pick, check_alike, compose
from roboloop.data.layout import INFO, DatasetInfo
from roboloop.data.part import open_part
from roboloop.data.reader import read_info
from roboloop.errors import RoboloopError
from roboloop.run import OutputFlags, Run


@dataclass(frozen=True, kw_only=True)
class EditFlags(OutputFlags):
    """The flags of a command that writes a dataset."""

    out: Path | None = None
    """Folder to write to."""
    overwrite: bool = False
    """Empty the output folder first."""


@dataclass(frozen=True)
class Merge(EditFlags):
    """Put the episodes of several datasets into one; videos are copied, statistics exact."""

    datasets: Positional[tuple[Path, ...]]
    """Their folders, in the order of the episodes."""


@dataclass(frozen=True)
class Split(EditFlags):
    """Share the episodes of a dataset out to several: OUT/train and OUT/valid."""

    dataset: Positional[Path]
    """A dataset's folder."""
    fractions: tuple[float, ...] = (0.9, 0.1)
    """Share of each part; episodes go to them at random."""
    episodes: tuple[str, ...] = ()
    """Episodes of each part in place of fractions, such as 0:90 90:"""
    names: tuple[str, ...] = ("train", "valid")
    """Name of each part's folder."""
    seed: int = 0
    """Seed of who goes where."""


@dataclass(frozen=True)
class FilterConfig(EditFlags):
    """Keep the episodes of a dataset for which every condition holds."""

    dataset: Positional[Path]
    """A dataset's folder."""
    where: Outcome = "any"
    """How the episode ended."""
    task: str = "*"
    """Pattern of the instruction, such as "*bowl*"; upper and lower case are the same."""
    scene: str = "*"
    """Pattern of the scene's name, such as "cousins/00*"."""
    min_length: int = 0
    """Fewest control steps."""
    max_length: int | None = None
    """Most control steps."""
    episodes: tuple[str, ...] = ()
    """Numbers of episodes, such as 7 or 0:10; all if none is given."""


def run_merge(config: Merge) -> None:
    """Write one dataset of all."""
    if not config.datasets:
        raise RoboloopError("no dataset to merge", "give their folders")
    out = free_place(config.out, config.datasets)
    parts = [open_part(folder) for folder in config.datasets]
    check_alike(parts)
    with Run.open(out, "data merge", config, 0, config.overwrite) as record:
        if not record.finished:
            picks = [Pick(part, tuple(range(part.info.n_episodes))) for part in parts]
            finish(record, compose(out, picks), {"datasets": len(parts)})
    console.emit({"dataset": str(out)} if config.json else out)


def run_split(config: Split) -> None:
    """Write a dataset for each part."""
    out = free_place(config.out, [config.dataset])
    part, names = open_part(config.dataset), config.names
    n = part.info.n_episodes
    if config.episodes:
        shares = split_by_ranges(config.episodes, n)
    else:
        shares = split_by_shares(config.fractions, n, config.seed)
    if len(shares) != len(names) or len({*names}) != len(names):
        problem = f"{len(shares)} parts, names {', '.join(names)}"
        raise RoboloopError(problem, "give --names, one for each part")
    if wrong := [name for name in names if Path(name).name != name or name.startswith(".")]:
        raise RoboloopError(f"`{wrong[0]}` is no name of a folder")
    with Run.open(out, "data split", config, config.seed, config.overwrite) as record:
        if not record.finished:
            figures = {}
            for name, episodes in zip(names, shares, strict=True):
                done = (out / name / INFO).exists()  # by a call that was interrupted
                info = (
                    read_info(out / name) if done else compose(out / name, [Pick(part, episodes)])
                )
                figures[name] = info.n_episodes
                console.summary(wrote=_counts(info))
            record.finish(**figures)
    folders = [out / name for name in names]
    if config.json:
        console.emit({"datasets": [str(folder) for folder in folders]})
    else:
        for folder in folders:
            console.emit(folder)


def run_filter(config: FilterConfig) -> None:
    """Write a dataset of what is as wanted."""
    out = free_place(config.out, [config.dataset])
    part = open_part(config.dataset)
    c = config
    wanted = Filter(c.where, c.task, c.scene, c.min_length, c.max_length, c.episodes)
    kept = filter_episodes(part, wanted)
    with Run.open(out, "data filter", config, 0, config.overwrite) as record:
        if not record.finished:
            info = compose(out, [Pick(part, kept)])
            finish(record, info, {"kept": len(kept), "of": part.info.n_episodes})
    console.emit({"dataset": str(out)} if config.json else out)


def free_place(out: Path | None, inputs: Iterable[Path]) -> Path:
    """Return where to write.

    Raises:
        RoboloopError: No place was given, or it is one of the inputs, in one, or around one.
    """
    if out is None:
        raise RoboloopError("no place to write to", "give --out")
    place = out.resolve()
    for folder in inputs:
        other = folder.resolve()
        if place == other or place in other.parents or other in place.parents:
            raise RoboloopError(f"--out {out} is not apart from {folder}", "give another --out")
    return out


def finish(record: Run, info: DatasetInfo, figures: dict[str, object]) -> None:
    """Record and say what was written."""
    record.finish(episodes=info.n_episodes, frames=info.n_frames, **figures)
    console.summary(wrote=_counts(info), next=f"roboloop data check {info.folder}")


def _counts(info: DatasetInfo) -> str:
    return f"{info.folder}   {info.n_episodes} episodes, {info.n_frames:,} frames"


SUBCOMMANDS: dict[str, tuple[type, Callable[..., None]]] = {
    "merge": (Merge, run_merge),
    "split": (Split, run_split),
    "filter": (FilterConfig, run_filter),
}
