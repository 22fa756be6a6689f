"""`roboloop data check|info|cache DATASET`: look after a dataset."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tyro.conf import Positional

from roboloop import console
from roboloop.data import edit_command
from roboloop.data.cache import build_cache
from roboloop.data.check import check_dataset
from roboloop.data.reader import read_info
from roboloop.record import to_plain
from roboloop.run import OutputFlags


@dataclass(frozen=True)
class Info(OutputFlags):
    """Show what a dataset holds."""

    dataset: Positional[Path]
    """A dataset's folder."""


@dataclass(frozen=True)
class Check(OutputFlags):
    """Check that a dataset is whole: every file readable, every count in agreement."""

    dataset: Positional[Path]
    """A dataset's folder."""
    decode: bool = False
    """Also decode every frame of every video."""


@dataclass(frozen=True)
class CacheConfig(OutputFlags):
    """Decode a dataset once into the memory map that training reads."""

    dataset: Positional[Path]
    """A dataset's folder."""
    size_px: int = 96
    """Edge of the square frames, px."""


def run_info(config: Info) -> None:
    """Show counts, cameras and instructions."""
    console.emit(to_plain(read_info(config.dataset)))


def run_check(config: Check) -> None:
    """Check, and say what was checked."""
    info = check_dataset(config.dataset, config.decode)
    console.say(f"whole: {info.n_episodes} episodes, {info.n_frames} frames")
    console.emit({"whole": str(info.folder)} if config.json else info.folder)


def run_cache(config: CacheConfig) -> None:
    """Make the cache, and say where it is."""
    folder = build_cache(config.dataset, config.size_px)
    console.emit({"cache": str(folder)} if config.json else folder)


SUBCOMMANDS: dict[str, tuple[type, Callable[..., None]]] = {
    **edit_command.SUBCOMMANDS,
    "info": (Info, run_info),
    "check": (Check, run_check),
    "cache": (CacheConfig, run_cache),
}
