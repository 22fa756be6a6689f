"""The folder that `roboloop scene` writes: a twin, cousins to learn from, held-out cousins.

Cousins are scene folders, `cousins/0003`. Where the twin names ranges to draw from instead, there
is one file, `cousins/resets.json`, and `cousins/000003` names the scene that is drawn with seed 3.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import overload

import numpy as np

from roboloop.errors import RoboloopError
from roboloop.record import from_plain
from roboloop.run import read_json, write_json
from roboloop.scene.folder import read_scene
from roboloop.scene.graph import SceneGraph
from roboloop.scene.resets import draw_reset

TWIN, COUSINS, HELD_OUT = "twin", "cousins", "held_out"
RESETS = "resets.json"


@dataclass(frozen=True)
class Resets:
    """How many scenes can be drawn, and from which seed."""

    n: int
    seed: tuple[int, ...]
    """The scene's number is added to it."""


class Drawn(Sequence[Path]):
    """The names of scenes that are drawn, as folders that do not exist.

    Args:
        folder: The one that holds `resets.json`.
        n: How many.
    """

    def __init__(self, folder: Path, n: int) -> None:
        self._folder, self._n = folder, n

    def __len__(self) -> int:
        return self._n

    @overload
    def __getitem__(self, index: int) -> Path: ...
    @overload
    def __getitem__(self, index: slice) -> list[Path]: ...
    def __getitem__(self, index: int | slice) -> Path | list[Path]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(self._n))]
        if not 0 <= index < self._n:
            raise IndexError(index)
        return self._folder / f"{index:06d}"


def list_cousins(folder: Path, which: str = COUSINS) -> Sequence[Path]:
    """Return the scene folders of the cousins, in order; drawn ones only have names.

    Raises:
        RoboloopError: There are none.
    """
    if (folder / which / RESETS).exists():
        return Drawn(folder / which, _read_resets(folder / which).n)
    found = sorted(path.parent for path in (folder / which).glob("[0-9]*/scene.json"))
    if not found:
        raise RoboloopError(f"no {which} here", "make them with `roboloop scene`", folder / which)
    return found


def write_resets(folder: Path, resets: Resets) -> None:
    """Write how the scenes of a folder are drawn."""
    write_json(folder / RESETS, resets)


def is_drawn(folder: Path) -> bool:
    """Whether a scene has no folder of its own: it is drawn."""
    return not folder.exists() and (folder.parent / RESETS).exists()


def twin_of(folder: Path) -> Path:
    """The twin of which a drawn scene is."""
    return folder.parent.parent / TWIN


def open_scene(folder: Path, twin: SceneGraph | None = None) -> SceneGraph:
    """Read a scene folder, or draw the scene that it names.

    Args:
        folder: An item of `list_cousins`, or any scene folder.
        twin: That of a drawn scene, where it was read before.

    Raises:
        RoboloopError: There is no such scene, or it is not valid.
    """
    if not is_drawn(folder):
        return read_scene(folder)
    resets = _read_resets(folder.parent)
    if not folder.name.isdecimal() or int(folder.name) >= resets.n:
        raise RoboloopError(f"no scene `{folder.name}`", f"there are {resets.n}", folder.parent)
    seed = np.random.SeedSequence([*resets.seed, int(folder.name)])
    return draw_reset(twin or read_scene(twin_of(folder)), seed)


def _read_resets(folder: Path) -> Resets:
    return from_plain(Resets, read_json(folder / RESETS), RESETS)
