"""A dataset opened to take episodes from: its tables in memory, its files where they are."""

from dataclasses import dataclass, field
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Int

from roboloop import console
from roboloop.data import layout, video
from roboloop.data.layout import DatasetInfo
from roboloop.data.pack import Span
from roboloop.data.parquet import read_parquet
from roboloop.data.reader import (
    list_files,
    read_episodes_table,
    read_frames_table,
    read_info,
    read_row_group,
    to_array,
)
from roboloop.data.stats import image_histogram
from roboloop.errors import RoboloopError
from roboloop.run import read_json

Array = np.ndarray
NUMBERS = ("bool", "int8", "int16", "int32", "int64", "uint8", "float16", "float32", "float64")
"""Types of the columns that a frame table of ours may have."""


@dataclass(frozen=True, eq=False)
class Part:
    """What a dataset holds, but for frames and simulator states."""

    info: DatasetInfo
    plain: dict[str, Any]
    """`meta/info.json`."""
    episodes: pa.Table
    """`meta/episodes`."""
    columns: dict[str, Array]
    """The frame table."""
    video_keys: dict[str, str]
    """Folder in `videos/` of each camera."""
    encoded: dict[str, Path] = field(default_factory=dict)
    """A video of all frames, of the cameras that have one in place of a folder."""

    @cached_property
    def lengths(self) -> Int[Array, "n"]:
        """Frames of each episode."""
        return to_array(self.episodes, "length")

    @cached_property
    def starts(self) -> Int[Array, "n"]:
        """Row of each episode's first frame in the frame table."""
        return to_array(self.episodes, "dataset_from_index")

    @cached_property
    def has_sim(self) -> bool:
        """Whether there is a side-car."""
        return bool(list_files(self.info.folder, "sim"))

    @cached_property
    def histograms(self) -> dict[str, Int[Array, "n 3 256"]]:
        """How often each pixel value occurs, by camera; counted anew where nobody kept it."""
        cameras, path = self.info.cameras, self.info.folder / layout.HISTOGRAMS
        if not cameras:
            return {}
        if not path.exists():
            console.say(f"{self.info.folder} has no histograms: its videos are decoded once")
            return {camera: self._count(camera) for camera in cameras}
        table = read_parquet(path, [layout.video_key(camera) for camera in cameras])
        if len(table) != self.info.n_episodes:
            problem = f"{path.name} has {len(table)} episodes, info.json {self.info.n_episodes}"
            raise RoboloopError(problem, "without the file they are counted anew", path)
        return {c: to_array(table, layout.video_key(c)).reshape(-1, 3, 256) for c in cameras}

    def facts(self, name: str) -> list[Any]:
        """What the side-car says of each episode: `success`, `scene`, `seed`.

        Raises:
            RoboloopError: There is none, or it disagrees with `meta/info.json`.
        """
        files = list_files(self.info.folder, "sim")
        if not files:
            problem = f"the dataset does not say the {name} of its episodes: it has no sim/"
            raise RoboloopError(problem, None, self.info.folder)
        values = [v for file in files for v in read_parquet(file, [name]).column(name).to_pylist()]
        if len(values) != self.info.n_episodes:
            problem = f"sim/ has {len(values)} episodes, info.json {self.info.n_episodes}"
            raise RoboloopError(problem, None, self.info.folder)
        return values

    def video_span(self, camera: str, episode: int) -> Span:
        """Where an episode's frames are in the videos of a camera."""
        return self._video_spans[camera][episode]

    def sim_row(self, episode: int) -> pa.Table:
        """Read an episode's row of the side-car.

        Raises:
            RoboloopError: Its file cannot be read.
        """
        span = self.sim_span(episode)
        return read_row_group(span.path, span.start)

    def sim_span(self, episode: int) -> Span:
        """Where an episode's row is in the side-car."""
        return self._sim_spans[episode]

    @cached_property
    def _video_spans(self) -> dict[str, list[Span]]:
        spans = {}
        for camera, key in self.video_keys.items():
            if camera in self.encoded:
                paths = [self.encoded[camera]] * self.info.n_episodes
                spans[camera] = _spans(paths, self.starts, self.starts + self.lengths)
                continue
            seconds = to_array(self.episodes, f"videos/{key}/from_timestamp")
            starts = np.round(seconds * self.info.fps).astype(int)
            paths = self._paths(f"videos/{key}", layout.VIDEO, key)
            spans[camera] = _spans(paths, starts, starts + self.lengths)
        return spans

    @cached_property
    def _sim_spans(self) -> list[Span]:
        rows: list[tuple[Path, int]] = []
        for path in list_files(self.info.folder, "sim"):
            rows += [(path, i) for i in range(len(read_parquet(path, ["length"])))]
        if len(rows) != self.info.n_episodes:
            problem = f"sim/ has {len(rows)} episodes, info.json {self.info.n_episodes}"
            raise RoboloopError(problem, None, self.info.folder)
        starts = np.array([i for _, i in rows])
        return _spans([path for path, _ in rows], starts, starts + 1)

    def _paths(self, columns: str, pattern: str, key: str) -> list[Path]:
        """Return the file of each episode."""
        chunks = to_array(self.episodes, f"{columns}/chunk_index").tolist()
        files = to_array(self.episodes, f"{columns}/file_index").tolist()
        return [
            self.info.folder / pattern.format(chunk_index=c, file_index=f, video_key=key)
            for c, f in zip(chunks, files, strict=True)
        ]

    def _count(self, camera: str) -> Int[Array, "n 3 256"]:
        """Count pixel values by decoding the videos of a camera."""
        result = np.zeros((self.info.n_episodes, 3, 256), int)
        spans = enumerate(self._video_spans[camera])
        for path, members in groupby(spans, lambda item: item[1].path):
            episode_of = {
                frame: episode
                for episode, span in members
                for frame in range(span.start, span.stop)
            }
            for i, image in enumerate(video.decode(path)):
                if i in episode_of:
                    result[episode_of.pop(i)] += image_histogram(image[None])
            if episode_of:
                problem = f"{path.name} lacks {len(episode_of)} frames of its episodes"
                raise RoboloopError(problem, "was it copied whole?", path)
        return result


def open_part(folder: Path | str) -> Part:
    """Open a dataset.

    Raises:
        RoboloopError: It cannot be read, its parts disagree, or it has columns other than numbers.
    """
    info = read_info(folder)
    plain = read_json(info.folder / layout.INFO)
    features = {k: v for k, v in plain["features"].items() if v["dtype"] != "video"}
    odd = [k for k, v in features.items() if v["dtype"] not in NUMBERS or len(v["shape"]) != 1]
    if odd:
        problem = f"columns that are no vectors of numbers: {', '.join(odd)}"
        hint = "`roboloop data convert` takes what it can"
        raise RoboloopError(problem, hint, info.folder)
    keys = {camera: layout.video_key(camera) for camera in info.cameras}
    return Part(info, plain, read_episodes(info), read_columns(info, [*features]), keys)


def read_episodes(info: DatasetInfo) -> pa.Table:
    """Read `meta/episodes`, in order.

    Raises:
        RoboloopError: It is not there, or disagrees with `meta/info.json`.
    """
    episodes = read_episodes_table(info.folder)
    if len(episodes) != info.n_episodes:
        problem = f"meta/episodes has {len(episodes)} episodes, info.json {info.n_episodes}"
        raise RoboloopError(problem, None, info.folder)
    return episodes.sort_by("episode_index")


def read_columns(info: DatasetInfo, names: list[str]) -> dict[str, Array]:
    """Read columns of the frame table, in its order.

    Raises:
        RoboloopError: A file cannot be read, or frames are missing.
    """
    table = read_frames_table(info, names)
    order = pq.read_schema(list_files(info.folder, "data")[0]).names
    if len(table) != info.n_frames:
        problem = f"{len(table)} frames in data/, {info.n_frames} in meta/info.json"
        raise RoboloopError(problem, None, info.folder)
    return {name: to_array(table, name) for name in sorted(names, key=order.index)}


def _spans(paths: list[Path], starts: Array, stops: Array) -> list[Span]:
    """Build spans; a file is as long as where its last one stops."""
    totals: dict[Path, int] = {}
    for path, stop in zip(paths, stops.tolist(), strict=True):
        totals[path] = max(stop, totals.get(path, 0))
    bounds = zip(paths, starts.tolist(), stops.tolist(), strict=True)
    return [Span(path, start, stop, totals[path]) for path, start, stop in bounds]
