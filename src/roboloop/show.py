"""`roboloop show DATASET`: episodes as a sheet of frames and a film, or for the rerun viewer.

Frames are those of the dataset; of one without images they are rendered from the side-car.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from tyro.conf import Positional

from roboloop import console, viewer
from roboloop.cell import Cell
from roboloop.cells import load_cells
from roboloop.data import video
from roboloop.data.origin import find_origin
from roboloop.data.part import Part, open_part
from roboloop.data.shard import unflatten
from roboloop.errors import RoboloopError
from roboloop.render import episode_cameras, stream_episode
from roboloop.run import OutputFlags, write_bytes_atomic
from roboloop.sheet import columns, draw_sheet
from roboloop.task.spec import read_task

SHEET, FILM, RECORDINGS = "sheet.png", "film.mp4", "episodes.rrd"
Images = Mapping[str, UInt8[np.ndarray, "h w 3"]]


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
    rerun: bool = False
    """Write the episodes for the rerun viewer instead, and open it."""
    to: Path | None = None
    """File to write them to, with `--rerun` or without opening it; `episodes.rrd` in the folder."""
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
    if config.rerun or config.to is not None:
        _write_recordings(config, part, chosen, config.to or out / RECORDINGS)
        return
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


def _write_recordings(config: Config, part: Part, chosen: list[int], path: Path) -> None:
    """Write episodes for the viewer, and open it if wanted."""
    viewer.write_recordings(path, (_recorded(config, part, episode) for episode in chosen))
    size = path.stat().st_size / 1e6
    said = f"{len(chosen)} of {part.info.n_episodes} episodes, {size:.1f} MB"
    opened = config.rerun and viewer.open_viewer(path)
    console.summary(wrote=f"{path}   {said}")
    if not opened:
        console.summary(next=f"rerun {path}")
    console.emit({"out": str(path), "episodes": chosen} if config.json else path)


def _recorded(config: Config, part: Part, episode: int) -> viewer.Recorded:
    """Take what the viewer shows of an episode."""
    rows = slice(part.starts[episode], part.starts[episode] + part.lengths[episode])
    names = {"observation.state": part.info.state_names, "action": part.info.action_names}
    row = unflatten(part.sim_row(episode)) if part.has_sim else {}
    cell = _cell(config, row) if part.has_sim else None
    cameras = (*part.info.cameras,) or (episode_cameras(cell.model) if cell else ())
    return viewer.Recorded(
        dataset=config.dataset.resolve().name,
        index=episode,
        text=_line(part, episode),
        fps=part.info.fps,
        cameras=cameras,
        images=_images(config, part, episode),
        series={name: (labels, part.columns[name][rows]) for name, labels in names.items()},
        stages=tuple((s["name"], s["start"]) for s in row.get("subtasks", ())),
        scene=cell and (cell.model, row["sim_states"][:-1]),
    )


def _cell(config: Config, row: dict[str, Any]) -> Cell | None:
    """Build the cell of an episode; None, which is said, where its scene or task is not known."""
    try:
        origin = find_origin(config.dataset, config.scene, config.task)
    except RoboloopError as error:
        console.warn(f"no scene in 3D: {error.problem}")
        return None
    return load_cells([origin.scene / row["scene"]], read_task(origin.task))[0]


def _frames(config: Config, part: Part, episode: int) -> Iterator[UInt8[np.ndarray, "h w 3"]]:
    """The frames of an episode, its cameras side by side."""
    return (np.concatenate([*i.values()], 1) for i in _images(config, part, episode))


def _images(config: Config, part: Part, episode: int) -> Iterator[Images]:
    """The images of an episode, step by step."""
    if part.info.cameras:
        cameras = [*part.info.cameras]
        spans = (part.video_span(camera, episode) for camera in cameras)
        streams = [islice(video.decode(s.path, config.px), s.start, s.stop) for s in spans]
        return (dict(zip(cameras, i, strict=True)) for i in zip(*streams, strict=True))
    if not part.has_sim:
        hint = "there is nothing to render them from either"
        raise RoboloopError("the dataset has no images", hint, config.dataset)
    origin = find_origin(config.dataset, config.scene, config.task)
    row = unflatten(part.sim_row(episode))
    (cell,) = load_cells([origin.scene / row["scene"]], read_task(origin.task))
    return stream_episode(cell.model, row["sim_states"][:-1], config.px)


def _line(part: Part, episode: int) -> str:
    """What is said of an episode."""
    words = [f"{episode}", f"{part.lengths[episode] / part.info.fps:.1f} s"]
    if part.has_sim:
        row = unflatten(part.sim_row(episode))
        words += ["success" if row["success"] else "failure", row["scene"]]
        words += [" ".join(f"{s['name']} {s['start']}" for s in row["subtasks"])]
    return "   ".join(words)
