"""`roboloop show DATASET`: episodes as a sheet of frames and a film; no display is needed.

Frames are those of the dataset; of one without images they are rendered from the side-car.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from tyro.conf import Positional

from roboloop import console
from roboloop.cell import load_cells
from roboloop.data import video
from roboloop.data.origin import find_origin
from roboloop.data.part import Part, open_part
from roboloop.data.shard import unflatten
from roboloop.errors import RoboloopError
from roboloop.render import stream_episode
from roboloop.run import OutputFlags, write_bytes_atomic
from roboloop.sheet import columns, draw_sheet
from roboloop.task.spec import read_task

SHEET, FILM = "sheet.png", "film.mp4"


@dataclass(frozen=True)
class Config(OutputFlags):
    """Show episodes of a dataset: frames of some on a sheet, one as a film."""

    dataset: Positional[Path]
    """A dataset's folder."""
    episode: int | None = None
    """Show only this one; by default a few, evenly, and the first as a film."""
    n: int = 6
    """Episodes on the sheet."""
    px: int = 192
    """Height and width of a frame; even."""
    scene: Path | None = None
    """Of a dataset without images: its scenes; by default those that made it."""
    task: Path | None = None
    """Of a dataset without images: its task; by default the one that made it."""
    out: Path | None = field(default=None, kw_only=True)
    """Folder to write to; beside the dataset, with `_show` after its name, if not given."""


def run(config: Config) -> None:
    """Write the sheet and the film, and say where."""
    part = open_part(config.dataset)
    n_episodes = part.info.n_episodes
    if config.episode is not None and not 0 <= config.episode < n_episodes:
        problem = f"no episode {config.episode}: the dataset has {n_episodes}"
        raise RoboloopError(problem, f"0 to {n_episodes - 1}", config.dataset)
    if config.px < 2 or config.px % 2 or config.n < 1:
        raise RoboloopError("--px has to be even, --n 1 or more")
    n = min(config.n, n_episodes)
    some = np.linspace(0, n_episodes - 1, n).round().astype(int).tolist()
    chosen = some if config.episode is None else [config.episode]
    folder = config.dataset.resolve()
    out = config.out or folder.parent / f"{folder.name}_show"
    rows = []
    for k, episode in enumerate(chosen):
        length = int(part.lengths[episode])
        frames = _frames(config, part, episode)
        if k == 0:
            kept = np.stack([*frames])
            write_bytes_atomic(out / FILM, video.encode(kept, part.info.fps))
            frames = iter(kept)
        wanted = {*columns(length)}
        shown = {t: frame for t, frame in enumerate(frames) if t in wanted}
        rows.append((_line(part, episode), [shown[t] for t in columns(length)]))
    write_bytes_atomic(out / SHEET, draw_sheet(rows))
    said = f"{len(rows)} of {n_episodes} episodes"
    console.summary(wrote=f"{out}   {SHEET}: {said}; {FILM}: episode {chosen[0]}")
    console.emit({"out": str(out), "episodes": chosen} if config.json else out)


def _frames(config: Config, part: Part, episode: int) -> Iterator[UInt8[np.ndarray, "h w 3"]]:
    """The frames of an episode, its cameras side by side."""
    if part.info.cameras:
        spans = (part.video_span(camera, episode) for camera in part.info.cameras)
        streams = [islice(video.decode(s.path, config.px), s.start, s.stop) for s in spans]
        return (np.concatenate(images, 1) for images in zip(*streams, strict=True))
    if not part.has_sim:
        hint = "there is nothing to render them from either"
        raise RoboloopError("the dataset has no images", hint, config.dataset)
    origin = find_origin(config.dataset, config.scene, config.task)
    row = unflatten(part.sim_row(episode))
    (cell,) = load_cells([origin.scene / row["scene"]], read_task(origin.task))
    rendered = stream_episode(cell.model, row["sim_states"][:-1], config.px)
    return (np.concatenate([*images.values()], 1) for images in rendered)


def _line(part: Part, episode: int) -> str:
    """What is said of an episode."""
    words = [f"{episode}", f"{part.lengths[episode] / part.info.fps:.1f} s"]
    if part.has_sim:
        row = unflatten(part.sim_row(episode))
        words += ["success" if row["success"] else "failure", row["scene"]]
        words += [" ".join(f"{s['name']} {s['start']}" for s in row["subtasks"])]
    return "   ".join(words)
