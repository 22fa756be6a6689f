"""Where a dataset keeps what: the LeRobot v3.0 folder, our side-car `sim/` and the shards.

```
meta/info.json  meta/stats.json  meta/tasks.parquet
meta/episodes/chunk-000/file-000.parquet      one row an episode
meta/histograms.parquet                       how often each pixel value occurs, by episode; ours
data/chunk-000/file-000.parquet               one row a frame, one row group an episode
videos/<camera key>/chunk-000/file-000.mp4    many episodes one after another
sim/chunk-000/file-000.parquet                one row an episode: states, ignored by LeRobot
shards/000042.arrow                           one episode each, until the dataset is finished
```

Source: LeRobot's dataset format v3.0 (`codebase_version` in `meta/info.json`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from roboloop.data.episode import EEF_NAMES
from roboloop.errors import RoboloopError

VERSION = "v3.0"
INFO, STATS, TASKS = "meta/info.json", "meta/stats.json", "meta/tasks.parquet"
EPISODES = "meta/episodes/chunk-000/file-000.parquet"
EPISODE_FILES = "meta/episodes"
HISTOGRAMS = "meta/histograms.parquet"
SHARDS = "shards"
SHARD = f"{SHARDS}/{{index:06d}}.arrow"
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
    """Of `data/` and of `sim/`."""
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

    @property
    def px(self) -> int:
        """Height of its smallest images.

        Raises:
            RoboloopError: It has none.
        """
        if not self.cameras:
            hint = "give one that was rendered"
            raise RoboloopError("the dataset has no images", hint, self.folder)
        return min(height for height, _ in self.cameras.values())


def video_key(camera: str) -> str:
    """Return the feature of a camera's frames; others also have `observation.image`."""
    return camera if camera.startswith("observation.") else IMAGES + camera


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
        "features": features_json(info, encoder),
    }


def _eef_names(action_names: Sequence[str]) -> list[str]:
    """Names of `action.eef`: those of every arm, whose last action is its gripper's."""
    ends = [name for name in action_names if name.endswith("gripper")]
    prefixes = [name.removesuffix("gripper") for name in ends] or [""]
    return [prefix + name for prefix in prefixes for name in EEF_NAMES]


def features_json(info: DatasetInfo, encoder: Mapping[str, Any]) -> dict[str, Any]:
    """Describe every column and camera."""
    vectors = {
        "observation.state": info.state_names,
        "action": info.action_names,
        "action.intended": info.action_names,
        "action.eef": _eef_names(info.action_names),
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
    features["imitate"] = {"dtype": "bool", "shape": [1], "names": None}
    features["timestamp"] = {"dtype": "float32", "shape": [1], "names": None}
    for name in ("frame_index", "episode_index", "index", "task_index"):
        features[name] = {"dtype": "int64", "shape": [1], "names": None}
    return features


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
