"""Finish a dataset: from the shards of its episodes to a LeRobot v3.0 folder with a side-car.

The same shards give the same bytes, whoever wrote them and in whatever order. `meta/info.json`
comes last: a finish that was killed starts again from the shards.
"""

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from roboloop.data import layout, shard, video
from roboloop.data.layout import DatasetInfo, Limits, assign_files
from roboloop.data.parquet import read_parquet, write_parquet
from roboloop.data.stats import Stats, image_stats, vector_stats
from roboloop.errors import RoboloopError
from roboloop.run import atomic_path, write_json

if TYPE_CHECKING:
    import pyarrow as pa

Array = np.ndarray
Place = tuple[int, int]
"""Chunk index and file index."""
VIDEO_KEY = f"videos/{layout.IMAGES}"
"""Prefix of a camera's columns in `meta/episodes`."""


@dataclass(frozen=True)
class _Source:
    """What of a shard is kept in memory: all but frames and simulator states."""

    path: Path
    first: int
    """Index of its first frame in the dataset."""
    columns: dict[str, Array]
    """The frame table's columns."""
    sizes: dict[str, tuple[int, int]]
    """(height, width) by camera."""
    video_bytes: dict[str, int]
    histograms: dict[str, Array]
    row: dict[str, Any]
    """The shard's scalars."""

    def __len__(self) -> int:
        return self.row["length"]

    def stats(self) -> dict[str, Stats]:
        return _stats(self.columns, self.histograms, len(self))


def finish_dataset(
    folder: Path | str,
    state_names: Sequence[str],
    action_names: Sequence[str],
    indices: Sequence[int] | None = None,
    limits: Limits = Limits(),
) -> DatasetInfo:
    """Turn the shards in `folder` into a dataset and remove them; safe to repeat.

    Args:
        folder: The dataset's folder, with shards made by `write_shard`.
        state_names: Names of the dimensions of `observation.state`.
        action_names: Names of the dimensions of `action`.
        indices: Which shards to take, None for all; the others are removed too.
        limits: Sizes at which files roll over.

    Raises:
        RoboloopError: There is no shard, shards disagree, one is damaged, or the disk is full.
    """
    folder = Path(folder)
    if not (folder / layout.INFO).exists():
        shards = shard.list_shards(folder)
        chosen = sorted(shards if indices is None else indices)
        missing = [index for index in chosen if index not in shards]
        if missing or not chosen:
            raise RoboloopError(f"no shard {missing or ''}".strip(), None, folder / layout.SHARDS)
        _assemble(folder, [shards[i] for i in chosen], (*state_names,), (*action_names,), limits)
    shutil.rmtree(folder / layout.SHARDS, ignore_errors=True)
    return layout.read_info(folder)


def _assemble(
    folder: Path,
    paths: list[Path],
    state_names: tuple[str, ...],
    action_names: tuple[str, ...],
    limits: Limits,
) -> None:
    """Write every file of the dataset, `meta/info.json` last."""
    for part in ("meta", "data", "videos", "sim"):
        shutil.rmtree(folder / part, ignore_errors=True)  # left by a finish that was killed
    tasks: dict[str, int] = {}
    sources: list[_Source] = []
    for path in paths:
        first = sources[-1].first + len(sources[-1]) if sources else 0
        source = _read_source(path, len(sources), first, tasks)
        _check_alike(source, sources[0] if sources else source, state_names, action_names)
        sources.append(source)
    head = sources[0]
    places = {
        "data": _write_data(folder, sources, limits),
        "sim": _write_sim(folder, sources, limits),
    }
    for camera in head.sizes:
        places[VIDEO_KEY + camera] = _write_videos(folder, camera, sources, limits)
    write_parquet(folder / layout.EPISODES, [_episodes_table(sources, places)])
    _write_tasks(folder / layout.TASKS, tasks)
    write_json(folder / layout.STATS, _dataset_stats(sources))
    info = DatasetInfo(
        folder=folder,
        robot=head.row["robot"],
        fps=head.row["fps"],
        n_episodes=len(sources),
        n_frames=sum(map(len, sources)),
        tasks=tuple(tasks),
        cameras=head.sizes,
        state_names=state_names,
        action_names=action_names,
    )
    encoder = {"codec": "h264", "pix_fmt": video.PIXELS, **video.ENCODER}
    write_json(folder / layout.INFO, layout.info_json(info, limits, encoder))


def _read_source(path: Path, episode: int, first: int, tasks: dict[str, int]) -> _Source:
    """Read a shard; a task that is new gets the next index in `tasks`, in place."""
    import pyarrow.parquet as pq

    names = pq.read_schema(path).names
    cameras = sorted(name.removesuffix(".video") for name in names if name.endswith(".video"))
    row = shard.read_row(path, [n for n in names if n not in shard.SIM_ARRAYS])
    n_steps = row["length"]
    steps = np.arange(n_steps)
    columns = {
        "observation.state": row["state"],
        "action": row["action"],
        "action.eef": row["action_eef"],
        "timestamp": (steps / row["fps"]).astype(np.float32),
        "frame_index": steps,
        "episode_index": np.full(n_steps, episode),
        "index": first + steps,
        "task_index": np.full(n_steps, tasks.setdefault(row["task"], len(tasks))),
    }
    return _Source(
        path=path,
        first=first,
        columns=columns,
        sizes={camera: tuple(row[f"{camera}.size"]) for camera in cameras},
        video_bytes={camera: len(row[f"{camera}.video"]) for camera in cameras},
        histograms={c: np.array(row[f"{c}.histogram"]).reshape(3, 256) for c in cameras},
        row={name: row[name] for name in shard.SCALARS},
    )


def _check_alike(
    source: _Source, first: _Source, state_names: tuple[str, ...], action_names: tuple[str, ...]
) -> None:
    """Raise unless a shard fits the names and the first shard."""
    facts = {
        "robot": (source.row["robot"], first.row["robot"]),
        "fps": (source.row["fps"], first.row["fps"]),
        "cameras": (source.sizes, first.sizes),
        "state dimensions": (source.columns["observation.state"].shape[1], len(state_names)),
        "action dimensions": (source.columns["action"].shape[1], len(action_names)),
    }
    wrong = [
        f"{name}: {have}, wanted {want}" for name, (have, want) in facts.items() if have != want
    ]
    if wrong:
        raise RoboloopError(
            "episodes of one dataset disagree: " + "; ".join(wrong), None, source.path
        )


def _write_data(folder: Path, sources: list[_Source], limits: Limits) -> list[Place]:
    """Write the frame tables."""
    sizes = [sum(column.nbytes for column in source.columns.values()) for source in sources]
    places = assign_files(sizes, limits.data_mb)
    for place, members in _by_file(places, sources):
        tables = (_frame_table(source.columns) for source in members)
        write_parquet(_path(folder, layout.DATA, place), tables)
    return places


def _frame_table(columns: dict[str, Array]) -> "pa.Table":
    """Build an episode's frame table; vectors are fixed-size lists."""
    import pyarrow as pa

    return pa.table(
        {
            name: pa.array(values)
            if values.ndim == 1
            else pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), values.shape[1])
            for name, values in columns.items()
        }
    )


def _write_sim(folder: Path, sources: list[_Source], limits: Limits) -> list[Place]:
    """Write the simulator side-car: the shards' rows, bit for bit."""
    places = assign_files([source.path.stat().st_size for source in sources], limits.data_mb)
    for place, members in _by_file(places, sources):
        tables = (read_parquet(source.path, shard.SIM) for source in members)
        write_parquet(_path(folder, layout.SIM, place), tables, split_bytes=shard.SIM_ARRAYS)
    return places


def _write_videos(folder: Path, camera: str, sources: list[_Source], limits: Limits) -> list[Place]:
    """Join the videos of one camera."""
    places = assign_files([source.video_bytes[camera] for source in sources], limits.video_mb)
    column = f"{camera}.video"
    for place, members in _by_file(places, sources):
        videos = (shard.read_row(source.path, [column])[column] for source in members)
        path = _path(folder, layout.VIDEO, place, layout.IMAGES + camera)
        with atomic_path(path) as temporary:
            video.join(videos, sources[0].row["fps"], temporary)
    return places


def _path(folder: Path, pattern: str, place: Place, video_key: str = "") -> Path:
    """Fill in a path of `layout`."""
    chunk, file = place
    return folder / pattern.format(chunk_index=chunk, file_index=file, video_key=video_key)


def _by_file(places: list[Place], sources: list[_Source]) -> Iterator[tuple[Place, list[_Source]]]:
    """Group the shards by the file they go to."""
    for place in dict.fromkeys(places):
        yield place, [s for s, where in zip(sources, places, strict=True) if where == place]


def _episodes_table(sources: list[_Source], places: dict[str, list[Place]]) -> "pa.Table":
    """Build `meta/episodes`: where each episode lies, and its statistics."""
    import pyarrow as pa

    n = len(sources)
    columns: dict[str, Any] = {
        "episode_index": range(n),
        "tasks": [[source.row["task"]] for source in sources],
        "length": [len(source) for source in sources],
        "dataset_from_index": [source.first for source in sources],
        "dataset_to_index": [source.first + len(source) for source in sources],
        "meta/episodes/chunk_index": [0] * n,
        "meta/episodes/file_index": [0] * n,
    }
    for key, where in places.items():
        columns[f"{key}/chunk_index"] = [chunk for chunk, _ in where]
        columns[f"{key}/file_index"] = [file for _, file in where]
        if key.startswith(VIDEO_KEY):
            starts, stops = _timestamps(sources, where)
            columns[f"{key}/from_timestamp"], columns[f"{key}/to_timestamp"] = starts, stops
    stats = [source.stats() for source in sources]
    for feature in stats[0]:
        for kind in stats[0][feature]:
            columns[f"stats/{feature}/{kind}"] = [s[feature][kind].tolist() for s in stats]
    return pa.table({name: pa.array(values) for name, values in columns.items()})


def _timestamps(sources: list[_Source], places: list[Place]) -> tuple[list[float], list[float]]:
    """Return where each episode starts and stops in its video, s."""
    fps, starts, stops = sources[0].row["fps"], [], []
    for _, members in _by_file(places, sources):
        ends = [0, *accumulate(map(len, members))]
        starts += [end / fps for end in ends[:-1]]
        stops += [end / fps for end in ends[1:]]
    return starts, stops


def _stats(
    columns: dict[str, Array], histograms: dict[str, Array], n_frames: int
) -> dict[str, Stats]:
    """Compute the statistics of every feature."""
    vectors = {n: vector_stats(v.reshape(n_frames, -1)) for n, v in columns.items()}
    images = {layout.IMAGES + c: image_stats(h, n_frames) for c, h in histograms.items()}
    return vectors | images


def _dataset_stats(sources: list[_Source]) -> dict[str, Stats]:
    """Compute the statistics over all episodes, exact."""
    head = sources[0]
    columns = {name: np.concatenate([s.columns[name] for s in sources]) for name in head.columns}
    histograms = {c: sum(s.histograms[c] for s in sources) for c in head.histograms}
    return _stats(columns, histograms, sum(map(len, sources)))


def _write_tasks(path: Path, tasks: dict[str, int]) -> None:
    """Write the instructions; LeRobot reads them with pandas and wants `task` as the index."""
    import json

    import pyarrow as pa

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
    write_parquet(path, [table.replace_schema_metadata({"pandas": json.dumps(pandas)})])
