"""What a run has made so far, to look at while it goes on: three episodes, and where all started.

The files lie beside the dataset and at the end follow from it alone: however often a run was
stopped, and whoever made its attempts, they have the same bytes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64

from roboloop import console
from roboloop.cells import load_cells
from roboloop.data import video
from roboloop.data.episode import Episode
from roboloop.data.layout import INFO, SHARD
from roboloop.data.part import open_part
from roboloop.data.shard import list_shards, read_shard, unflatten
from roboloop.errors import RoboloopError
from roboloop.render import Renderer, episode_cameras
from roboloop.run import write_bytes_atomic
from roboloop.scatter import SUCCEEDED, scatter, start_panels
from roboloop.sheet import columns, draw_sheet
from roboloop.sim import CONTROL_DT
from roboloop.task.spec import read_task

PREVIEW, FILM, STARTS = "preview.png", "preview.mp4", "starts.svg"
FAILURES = "failures"
N_SHOWN, PX = 3, 128
"""Episodes, and height and width of their frames."""
FILM_STRIDE = 2
"""Control steps from a frame of the film to the next."""
FAILED = "failed"


@dataclass(frozen=True)
class Material:
    """What episodes are drawn with."""

    scene: Path
    """The folder that `roboloop scene` wrote."""
    task: Path
    """The folder or file that `roboloop task` wrote."""


@dataclass(frozen=True, eq=False)
class Shown:
    """An episode to draw."""

    text: str
    scene: str
    states: Float64[np.ndarray, "T nstate"]


class Watch:
    """Draws what a run has made now and then, when it is called after every chunk.

    Args:
        out: The dataset's folder.
        material: What it is made of.
        names: Of what says where things stood; see `start_names`.
    """

    def __init__(self, out: Path, material: Material, names: Sequence[str]) -> None:
        self._out, self._material, self._names = out, material, names
        self._due, self._drawn = 1, False

    def see(self, reasons: Sequence[str], starts: Sequence[Sequence[float]]) -> None:
        """Draw starts when there are twice as many, and episodes once there are enough.

        Args:
            reasons: Why attempts failed, from the first one on; empty for a success.
            starts: Where things stood in them.
        """
        if len(reasons) >= self._due:
            self._due = 2 * len(reasons)
            self.draw_starts(reasons, starts)
        if self._drawn:
            return
        good = [i for i, reason in enumerate(reasons) if not reason]
        if len(good) < N_SHOWN:
            return
        self._drawn = True
        shards = list_shards(self._out)  # none where a finished dataset is taken up again
        shown = [_of_row(unflatten(read_shard(shards[i]))) for i in _few(good) if i in shards]
        if (self._out / PREVIEW).exists() or not shown:
            return
        if draw_episodes(self._out / PREVIEW, self._material, shown):
            console.say(f"look      {self._out / PREVIEW}, {STARTS}")

    def draw_starts(self, reasons: Sequence[str], starts: Sequence[Sequence[float]]) -> None:
        """Write where attempts started, and which of them failed; see `see`."""
        panels = start_panels(dict(zip(self._names, zip(*starts, strict=True), strict=True)))
        outcomes = [FAILED if reason else SUCCEEDED for reason in reasons]
        svg = scatter(panels, outcomes, alone=True)
        if svg:
            write_bytes_atomic(self._out / STARTS, svg.encode())


def to_show(out: Path, kept: Sequence[int]) -> list[Shown]:
    """Take three episodes from their shards, or from the dataset where it is finished.

    Args:
        out: The dataset's folder.
        kept: The shards that are its episodes.
    """
    if not (out / INFO).exists():
        return [_of_row(unflatten(read_shard(out / SHARD.format(index=i)))) for i in _few(kept)]
    part = open_part(out)
    return [_of_row(unflatten(part.sim_row(i))) for i in _few(range(part.info.n_episodes))]


def draw_dataset(out: Path, material: Material, shown: Sequence[Shown]) -> None:
    """Write a sheet and a film of episodes of a dataset."""
    if draw_episodes(out / PREVIEW, material, shown):
        _write_film(out / FILM, material, shown)


def draw_episodes(path: Path, material: Material, shown: Sequence[Shown]) -> bool:
    """Write a sheet of episodes, their cameras side by side.

    Returns:
        Whether there is an OpenGL to do so; without one a line says that there is no picture.
    """
    try:
        renderer = Renderer(PX, PX)
    except RoboloopError as error:
        console.warn(f"no pictures of episodes: {error.problem}")
        return False
    rows = []
    cells = load_cells([material.scene / s.scene for s in shown], read_task(material.task))
    with renderer:
        for cell, each in zip(cells, shown, strict=True):
            cameras = episode_cameras(cell.model)
            images = renderer.frames(cell.model, each.states[columns(len(each.states))], cameras)
            rows.append((each.text, [*np.concatenate([*images.values()], 2)]))
    write_bytes_atomic(path, draw_sheet(rows))
    return True


def of_failure(episode: Episode, cause: str) -> Shown:
    """Take an attempt that failed, and say why."""
    return Shown(
        f"attempt {episode.seed}   {episode.scene}   {cause}", episode.scene, episode.sim_states
    )


def _of_row(row: dict[str, Any]) -> Shown:
    """Take an episode from a row of a shard or of the side-car."""
    words = [f"attempt {row['seed']}", row["scene"], f"{row['length'] / row['fps']:.1f} s"]
    words += [" ".join(f"{s['name']} {s['start']}" for s in row["subtasks"])]
    return Shown("   ".join(words), row["scene"], row["sim_states"])


def _few(items: Sequence[int]) -> list[int]:
    """The first, the last and one between."""
    picked = np.linspace(0, len(items) - 1, min(N_SHOWN, len(items))).round().astype(int)
    return [items[i] for i in picked]


def _write_film(path: Path, material: Material, shown: Sequence[Shown]) -> None:
    """Film episodes side by side, as the front camera sees them; the shorter ones stop."""
    cells = load_cells([material.scene / s.scene for s in shown], read_task(material.task))
    n_frames = max(len(s.states) for s in shown) // FILM_STRIDE + 1
    films = []
    with Renderer(PX, PX) as renderer:
        for cell, each in zip(cells, shown, strict=True):
            camera = episode_cameras(cell.model)[0]
            steps = np.minimum(np.arange(n_frames) * FILM_STRIDE, len(each.states) - 1)
            films.append(renderer.frames(cell.model, each.states[steps], [camera])[camera])
    write_bytes_atomic(
        path, video.encode(np.concatenate(films, 2), round(1 / CONTROL_DT / FILM_STRIDE))
    )
