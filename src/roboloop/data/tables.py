"""The tables of a dataset, built from its shards: frames, episodes, instructions, statistics."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa

from roboloop.data import layout, shard
from roboloop.data.stats import Stats, image_stats, vector_stats
from roboloop.errors import RoboloopError

Array = np.ndarray
Place = tuple[int, int]
"""Chunk index and file index."""
Item = TypeVar("Item")
VIDEOS = "videos/"
"""Prefix of the cameras' columns in `meta/episodes`."""


@dataclass(frozen=True)
class Source:
    """What of an episode is kept in memory: all but frames and simulator states."""

    path: Path
    """The shard, or the dataset that it comes from."""
    first: int
    """Index of its first frame in the dataset."""
    columns: dict[str, Array]
    """The frame table's columns."""
    sizes: dict[str, tuple[int, int]]
    """(height, width) by camera."""
    video_bytes: dict[str, int]
    histograms: dict[str, Array]
    row: dict[str, Any]
    """Its scalars."""
    tasks: tuple[str, ...]
    """Its instructions."""

    def __len__(self) -> int:
        """Return the number of frames."""
        return self.row["length"]

    @property
    def n_bytes(self) -> int:
        """Size of the columns."""
        return sum(column.nbytes for column in self.columns.values())


def read_source(path: Path, episode: int, first: int, tasks: dict[str, int]) -> Source:
    """Read a shard; a task that is new gets the next index in `tasks`, in place."""
    row = shard.unflatten(shard.read_shard(path).drop_columns(shard.SIM_ARRAYS))
    cameras = sorted(name.removesuffix(".video") for name in row if name.endswith(".video"))
    n_steps = row["length"]
    steps = np.arange(n_steps)
    columns = {
        "observation.state": row["state"],
        "action": row["action"],
        "action.intended": row["action_intended"],
        "imitate": np.array(row["imitate"]),
        "action.eef": row["action_eef"],
        "timestamp": (steps / row["fps"]).astype(np.float32),
        "frame_index": steps,
        "episode_index": np.full(n_steps, episode),
        "index": first + steps,
        "task_index": np.full(n_steps, tasks.setdefault(row["task"], len(tasks))),
    }
    return Source(
        path=path,
        first=first,
        columns={name: values for name, values in columns.items() if values.size},
        sizes={camera: tuple(row[f"{camera}.size"]) for camera in cameras},
        video_bytes={camera: len(row[f"{camera}.video"]) for camera in cameras},
        histograms={c: np.array(row[f"{c}.histogram"]).reshape(3, 256) for c in cameras},
        row={name: row[name] for name in shard.SCALARS},
        tasks=(row["task"],),
    )


def check_alike(
    source: Source, first: Source, state_names: tuple[str, ...], action_names: tuple[str, ...]
) -> None:
    """Raise unless a shard fits the names and the first shard."""
    facts = {
        "robot": (source.row["robot"], first.row["robot"]),
        "fps": (source.row["fps"], first.row["fps"]),
        "cameras": (source.sizes, first.sizes),
        "columns": ([*source.columns], [*first.columns]),
        "state dimensions": (source.columns["observation.state"].shape[1], len(state_names)),
        "action dimensions": (source.columns["action"].shape[1], len(action_names)),
    }
    wrong = [f"{fact}: {a}, wanted {b}" for fact, (a, b) in facts.items() if a != b]
    if wrong:
        problem = f"episodes of one dataset disagree: {'; '.join(wrong)}"
        raise RoboloopError(problem, None, source.path)


def frame_table(columns: dict[str, Array]) -> pa.Table:
    """Build an episode's frame table; vectors are fixed-size lists."""
    return pa.table(
        {
            name: pa.array(values)
            if values.ndim == 1
            else pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), values.shape[1])
            for name, values in columns.items()
        }
    )


def by_file(places: list[Place], items: list[Item]) -> Iterator[tuple[Place, list[Item]]]:
    """Group episodes by the file they go to."""
    for place in dict.fromkeys(places):
        yield place, [s for s, where in zip(items, places, strict=True) if where == place]


def episodes_table(sources: list[Source], places: dict[str, list[Place]]) -> pa.Table:
    """Build `meta/episodes`: where each episode lies, and its statistics."""
    n = len(sources)
    columns: dict[str, Any] = {
        "episode_index": range(n),
        "tasks": [list(source.tasks) for source in sources],
        "length": [len(source) for source in sources],
        "dataset_from_index": [source.first for source in sources],
        "dataset_to_index": [source.first + len(source) for source in sources],
        "meta/episodes/chunk_index": [0] * n,
        "meta/episodes/file_index": [0] * n,
    }
    for key, where in places.items():
        columns[f"{key}/chunk_index"] = [chunk for chunk, _ in where]
        columns[f"{key}/file_index"] = [file for _, file in where]
        if key.startswith(VIDEOS):
            starts, stops = _timestamps(sources, where)
            columns[f"{key}/from_timestamp"], columns[f"{key}/to_timestamp"] = starts, stops
    stats = [_stats_of_one(s) for s in sources]
    for feature in stats[0]:
        for kind in stats[0][feature]:
            columns[f"stats/{feature}/{kind}"] = [s[feature][kind].tolist() for s in stats]
    return pa.table({name: pa.array(values) for name, values in columns.items()})


def _timestamps(sources: list[Source], places: list[Place]) -> tuple[list[float], list[float]]:
    """Return where each episode starts and stops in its video, s."""
    fps, starts, stops = sources[0].row["fps"], [], []
    for _, members in by_file(places, sources):
        ends = [0, *accumulate(map(len, members))]
        starts += [end / fps for end in ends[:-1]]
        stops += [end / fps for end in ends[1:]]
    return starts, stops


def _stats(
    columns: dict[str, Array], histograms: dict[str, Array], n_frames: int
) -> dict[str, Stats]:
    """Compute the statistics of every feature."""
    vectors = {n: vector_stats(v.reshape(n_frames, -1)) for n, v in columns.items()}
    images = {layout.video_key(c): image_stats(h, n_frames) for c, h in histograms.items()}
    return vectors | images


def _stats_of_one(source: Source) -> dict[str, Stats]:
    """Compute what `_stats` does, all vectors at once: short ones cost a call each."""
    n_frames = len(source)
    vectors = [column.reshape(n_frames, -1) for column in source.columns.values()]
    together = vector_stats(np.concatenate(vectors, axis=1, dtype=np.float64))
    ends = np.cumsum([vector.shape[1] for vector in vectors])[:-1]
    parts = {
        kind: [values] * len(vectors) if kind == "count" else np.split(values, ends)
        for kind, values in together.items()
    }
    of_vectors = {
        name: {kind: values[i] for kind, values in parts.items()}
        for i, name in enumerate(source.columns)
    }
    return of_vectors | _stats({}, source.histograms, n_frames)


def dataset_stats(sources: list[Source]) -> dict[str, Stats]:
    """Compute the statistics over all episodes, exact."""
    head = sources[0]
    columns = {name: np.concatenate([s.columns[name] for s in sources]) for name in head.columns}
    histograms = {c: np.sum([s.histograms[c] for s in sources], axis=0) for c in head.histograms}
    return _stats(columns, histograms, sum(map(len, sources)))


def histograms_table(sources: list[Source]) -> pa.Table:
    """Build `meta/histograms`: what image statistics are made of, so that they can be merged."""
    stacks = {
        layout.video_key(camera): np.stack([s.histograms[camera].ravel() for s in sources])
        for camera in sources[0].histograms
    }
    return frame_table({"episode_index": np.arange(len(sources)), **stacks})


def tasks_table(tasks: dict[str, int]) -> pa.Table:
    """Build the table of instructions; LeRobot reads it with pandas, `task` as the index."""
    column = {"pandas_type": "int64", "numpy_type": "int64", "metadata": None}
    index = {"pandas_type": "unicode", "numpy_type": "object", "metadata": None}
    pandas = {
        "index_columns": ["task"],
        "column_indexes": [],
        "columns": [
            {"name": "task_index", "field_name": "task_index", **column},
            {"name": "task", "field_name": "task", **index},
        ],
        "pandas_version": "2.0.0",
    }
    table = pa.table({"task_index": list(tasks.values()), "task": list(tasks)})
    return table.replace_schema_metadata({"pandas": json.dumps(pandas)})
