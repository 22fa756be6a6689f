"""Where a dataset keeps what: the LeRobot v3.0 folder, our side-car `sim/` and the shards.

```
meta/info.json  meta/stats.json  meta/tasks.parquet
meta/episodes/chunk-000/file-000.parquet      one row an episode
data/chunk-000/file-000.parquet               one row a frame, one row group an episode
videos/<camera key>/chunk-000/file-000.mp4    many episodes one after another
sim/chunk-000/file-000.parquet                one row an episode: simulator states, ignored by LeRobot
shards/000042.parquet                         one episode each, only until the dataset is finished
```

Source: LeRobot's dataset format v3.0 (`codebase_version` in `meta/info.json`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from roboloop.data.episode import EEF_NAMES
from roboloop.errors import RoboloopError
from roboloop.run import read_json

VERSION = "v3.0"
INFO, STATS, TASKS = "meta/info.json", "meta/stats.json", "meta/tasks.parquet"
EPISODES = "meta/episodes/chunk-000/file-000.parquet"
SHARDS = "shards"
NUMBERED = "chunk-{chunk_index:03d}/file-{file_index:03d}"
DATA = f"data/{NUMBERED}.parquet"
VIDEO = f"videos/{{video_key}}/{NUMBERED}.mp4"
SIM = f"sim/{NUMBERED}.parquet"
IMAGES = "observation.images."
FILES_PER_CHUNK = 1000


@dataclass(frozen=True)
class Limits:
    """Sizes at which files roll over."""

    data_mb: int = 100
    """Of `data/` and `sim/`, uncompressed."""
    video_mb: int = 200


@dataclass(frozen=True)
class DatasetInfo:
    """What `meta/info.json` and `meta/tasks.parquet` say about a dataset."""

    folder: Path
    robot: str
    fps: int
    n_episodes: int
    n_frames: int
    tasks: tuple[str, ...]
    """Instructions by task index."""
    cameras: dict[str, tuple[int, int]]
    """(height, width) by camera name."""
    state_names: tuple[str, ...]
    action_names: tuple[str, ...]


def read_info(folder: Path | str) -> DatasetInfo:
    """Read what a finished dataset holds.

    Raises:
        RoboloopError: There is no finished dataset, it is of another version, or fields are missing.
    """
    from roboloop.data.parquet import read_parquet

    folder = Path(folder)
    path = folder / INFO
    if not path.exists():
        raise _no_dataset(folder)
    plain = read_json(path)
    version = plain.get("codebase_version") if isinstance(plain, dict) else None
    if version != VERSION:
        raise RoboloopError(
            f"dataset version {version!r}, this program reads {VERSION!r}",
            "convert it with LeRobot's own tools first",
            path,
        )
    tasks = read_parquet(folder / TASKS)
    instruction = next((name for name in tasks.column_names if name != "task_index"), None)
    if instruction is None or "task_index" not in tasks.column_names:
        raise RoboloopError(f"columns {tasks.column_names}, wanted task and task_index", None, path)
    tasks = tasks.sort_by("task_index").column(instruction).to_pylist()
    try:
        features = plain["features"]
        return DatasetInfo(
            folder=folder,
            robot=plain["robot_type"] or "",
            fps=plain["fps"],
            n_episodes=plain["total_episodes"],
            n_frames=plain["total_frames"],
            tasks=tuple(tasks),
            cameras={
                key.removeprefix(IMAGES): (feature["shape"][0], feature["shape"][1])
                for key, feature in features.items()
                if feature["dtype"] == "video"
            },
            state_names=_names(features["observation.state"]),
            action_names=_names(features["action"]),
        )
    except (KeyError, TypeError, IndexError) as error:
        raise RoboloopError(f"a field is missing or of another type: {error}", None, path) from None


def info_json(info: DatasetInfo, limits: Limits, encoder: Mapping[str, Any]) -> dict[str, Any]:
    """Build the content of `meta/info.json`."""
    return {
        "codebase_version": VERSION,
        "robot_type": info.robot,
        "total_episodes": info.n_episodes,
        "total_frames": info.n_frames,
        "total_tasks": len(info.tasks),
        "chunks_size": FILES_PER_CHUNK,
        "data_files_size_in_mb": limits.data_mb,
        "video_files_size_in_mb": limits.video_mb,
        "fps": info.fps,
        "splits": {"train": f"0:{info.n_episodes}"},
        "data_path": DATA,
        "video_path": VIDEO if info.cameras else None,
        "features": _features(info, encoder),
    }


def _features(info: DatasetInfo, encoder: Mapping[str, Any]) -> dict[str, Any]:
    """Describe every column and camera."""
    vectors = {
        "observation.state": info.state_names,
        "action": info.action_names,
        "action.eef": EEF_NAMES,
    }
    features: dict[str, Any] = {
        name: {"dtype": "float32", "shape": [len(names)], "names": list(names)}
        for name, names in vectors.items()
    }
    for camera, (height, width) in info.cameras.items():
        video = {"height": height, "width": width, "fps": info.fps, "channels": 3, **encoder}
        features[IMAGES + camera] = {
            "dtype": "video",
            "shape": [height, width, 3],
            "names": ["height", "width", "channels"],
            "info": {f"video.{key}": value for key, value in video.items()}
            | {"video.is_depth_map": False, "has_audio": False},
        }
    features["timestamp"] = {"dtype": "float32", "shape": [1], "names": None}
    for name in ("frame_index", "episode_index", "index", "task_index"):
        features[name] = {"dtype": "int64", "shape": [1], "names": None}
    return features


def _names(feature: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the names of a vector's dimensions; LeRobot also has them as a dict, or not at all."""
    names = feature.get("names")
    if isinstance(names, dict):
        names = [name for group in names.values() for name in group]
    return tuple(names or (str(i) for i in range(feature["shape"][0])))


def _no_dataset(folder: Path) -> RoboloopError:
    """Say why there is nothing to read."""
    n_shards = len(list(folder.glob(f"{SHARDS}/[0-9]*.parquet")))
    if n_shards:
        return RoboloopError(
            f"the dataset is not finished: {n_shards} episodes wait in {SHARDS}/",
            "run the command that makes it again; it goes on where it stopped",
            folder,
        )
    return RoboloopError(f"no dataset here: {INFO} is missing", "give a dataset's folder", folder)


def assign_files(sizes: Sequence[int], limit_mb: int) -> list[tuple[int, int]]:
    """Place episodes of `sizes` bytes in files: (chunk index, file index) of each.

    A file takes episodes until the next one would bring it to the limit; an episode is never split.
    """
    places, file, filled = [], 0, 0
    for size in sizes:
        if filled and filled + size >= limit_mb * 10**6:
            file, filled = file + 1, 0
        filled += size
        places.append(divmod(file, FILES_PER_CHUNK))
    return places
