"""A new dataset of episodes of others: what merge, split and filter have in common.

No frame is decoded and none is encoded: a video file that is wanted whole is copied, others are cut
at key frames. Statistics come from the frame table and the kept histograms, so they are
those of a dataset that was written with these episodes in the first place.
"""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from roboloop import console
from roboloop.data import layout, shard, video
from roboloop.data.layout import DatasetInfo, Limits
from roboloop.data.pack import Place, Run, plan_files, write_files
from roboloop.data.parquet import read_parquet, write_parquet
from roboloop.data.part import Part
from roboloop.data.reader import read_info
from roboloop.data.tables import VIDEOS, Source
from roboloop.data.views import FILE as VIEWS
from roboloop.data.views import read_views
from roboloop.data.writer import DEFAULT_LIMITS, clear, path_in, write_data, write_meta
from roboloop.errors import RoboloopError


@dataclass(frozen=True)
class Pick:
    """Episodes of a dataset, in the order in which they are wanted."""

    part: Part
    episodes: tuple[int, ...]


def compose(out: Path, picks: Sequence[Pick], limits: Limits = DEFAULT_LIMITS) -> DatasetInfo:
    """Write a dataset of the picked episodes, one pick after another.

    Args:
        out: Its folder; what an interrupted call has left there is replaced.
        picks: At least one episode.
        limits: Sizes at which files that are not copied whole roll over.

    Raises:
        RoboloopError: The datasets disagree, a file of theirs is cut off, or the disk is full.
    """
    picks = [pick for pick in picks if pick.episodes]
    if not picks:
        raise RoboloopError("no episode is left", None, out)
    check_alike([pick.part for pick in picks])
    _check_videos(picks)
    clear(out)
    tasks: dict[str, int] = {}
    sources: list[Source] = []
    for pick in picks:
        for episode in pick.episodes:
            first = sources[-1].first + len(sources[-1]) if sources else 0
            sources.append(_source(pick.part, episode, len(sources), first, tasks))
    places = {"data": write_data(out, sources, limits)}
    if all(pick.part.has_sim for pick in picks):
        places["sim"] = _write_sim(out, picks, limits)
    elif any(pick.part.has_sim for pick in picks):
        without = [str(pick.part.info.folder) for pick in picks if not pick.part.has_sim]
        console.warn(f"simulator states are left out: {', '.join(without)} has none")
    for camera in picks[0].part.info.cameras:
        places[VIDEOS + layout.video_key(camera)] = _write_videos(out, camera, picks, limits)
    _write_views(out, [pick.part.info.folder for pick in picks])
    write_meta(out, sources, places, tasks, _info(picks[0].part, sources, tasks))
    return read_info(out)


def check_alike(parts: Sequence[Part]) -> None:
    """Raise unless the episodes of some datasets can be in one; all differences are reported."""
    first = parts[0]
    for part in parts[1:]:
        facts = {
            "robot": (part.info.robot, first.info.robot),
            "fps": (part.info.fps, first.info.fps),
            "cameras": (part.info.cameras, first.info.cameras),
            "state": (part.info.state_names, first.info.state_names),
            "action": (part.info.action_names, first.info.action_names),
            "columns": ([*part.columns], [*first.columns]),
        }
        wrong = [f"{name}: {a}, wanted {b}" for name, (a, b) in facts.items() if a != b]
        if wrong:
            problem = f"episodes of one dataset disagree: {'; '.join(wrong)}"
            raise RoboloopError(problem, f"the first is {first.info.folder}", part.info.folder)


def _source(part: Part, episode: int, index: int, first: int, tasks: dict[str, int]) -> Source:
    """Take an episode out of a part; new tasks get the next index in `tasks`, in place."""
    rows = slice(part.starts[episode], part.starts[episode] + part.lengths[episode])
    columns = {name: values[rows] for name, values in part.columns.items()}
    n_steps = len(columns["index"])
    old = [part.info.tasks[i] for i in columns["task_index"]]
    columns["episode_index"] = np.full(n_steps, index)
    columns["index"] = first + np.arange(n_steps)
    columns["task_index"] = np.array([tasks.setdefault(task, len(tasks)) for task in old])
    histograms = {c: stack[episode] for c, stack in part.histograms.items()}
    row = {"length": n_steps, "fps": part.info.fps}
    names = tuple(dict.fromkeys(old))
    return Source(part.info.folder, first, columns, part.info.cameras, {}, histograms, row, names)


def _write_sim(out: Path, picks: Sequence[Pick], limits: Limits) -> list[Place]:
    """Write the side-car: whole files copied, others row by row."""

    def cut(runs: list[Run], path: Path) -> None:
        write_parquet(path, (row for run in runs for row in _rows(run)), shard.SIM_ARRAYS)

    spans = [pick.part.sim_span(episode) for pick in picks for episode in pick.episodes]
    files = plan_files(spans, limits.data_mb, lambda path: str(pq.read_schema(path)))
    return write_files(files, lambda place: path_in(out, layout.SIM, place), cut)


def _rows(run: Run) -> list[Any]:
    """Read the rows of a run."""
    table = read_parquet(run.path)
    return [table.slice(span.start, 1) for span in run.spans]


def _write_videos(out: Path, camera: str, picks: Sequence[Pick], limits: Limits) -> list[Place]:
    """Write the videos of a camera: whole files copied, others cut at key frames."""
    fps = picks[0].part.info.fps
    spans = [pick.part.video_span(camera, e) for pick in picks for e in pick.episodes]

    def cut(runs: list[Run], path: Path) -> None:
        clips = [video.Clip(r.path, tuple((s.start, s.stop) for s in r.spans)) for r in runs]
        try:
            video.join(clips, fps, path)
        except video.CannotCutError as error:
            n_frames = sum(map(len, clips))
            console.say(f"{n_frames} frames of {clips[0].path} are encoded anew: {error}")
            video.reencode(clips, fps, path)

    files = plan_files(spans, limits.video_mb, video.parameters)
    key = layout.video_key(camera)
    return write_files(files, lambda place: path_in(out, layout.VIDEO, place, key), cut)


def _check_videos(picks: Sequence[Pick]) -> None:
    """Raise unless every video that is needed is there, and whole."""
    for pick in picks:
        part = pick.part
        spans = [part.video_span(c, e) for c in part.info.cameras for e in pick.episodes]
        for path in dict.fromkeys(span.path for span in spans):
            if not path.exists() or video.is_cut_off(path):
                state = "cut off" if path.exists() else "missing"
                raise RoboloopError(f"{path.name} is {state}", "was it copied whole?", path)


def _write_views(out: Path, folders: list[Path]) -> None:
    """Keep where the cameras are, where all datasets say the same."""
    (out / VIEWS).unlink(missing_ok=True)
    contents = {(f / VIEWS).read_bytes() if (f / VIEWS).exists() else None for f in folders}
    if contents == {None}:
        return
    if len(contents) > 1:
        console.warn(f"{VIEWS} is left out: the datasets' cameras are at different places")
        return
    read_views(folders[0])
    out.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(folders[0] / VIEWS, out / VIEWS)


def _info(part: Part, sources: list[Source], tasks: dict[str, int]) -> dict[str, Any]:
    """Build `meta/info.json` after that of the first part."""
    counts = {
        "total_episodes": len(sources),
        "total_frames": sum(map(len, sources)),
        "total_tasks": len(tasks),
        "splits": {"train": f"0:{len(sources)}"},
        "data_path": layout.DATA,
        "video_path": layout.VIDEO if part.info.cameras else None,
    }
    return part.plain | counts
