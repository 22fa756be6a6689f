"""What training reads: a dataset decoded once into uint8 arrays that are mapped into memory.

A random frame then costs one copy instead of a seek and a decode. The cache is a folder of `.npy`
files in the dataset, named after the frame size, and is made anew when the dataset changes. Of size
0 it has no images but where the objects are.
"""

import errno
import hashlib
import shutil
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from jaxtyping import Bool, Float32, Float64, Int64, UInt8

from roboloop.data.episode import seen_from_base
from roboloop.data.layout import DatasetInfo
from roboloop.data.reader import (
    iter_episodes,
    iter_frames,
    list_files,
    read_frames_table,
    read_info,
    to_array,
)
from roboloop.data.views import View
from roboloop.errors import RoboloopError
from roboloop.robot import PREFIX
from roboloop.run import atomic_path, read_json, write_json

Array = np.ndarray
VERSION = 5
COLUMNS = {
    "state": "observation.state",
    "action": "action.intended",
    "imitate": "imitate",
    "action_eef": "action.eef",
}
"""Arrays of the cache and the columns they come from."""
OBJECTS = "objects.npy"
OBJECT_NUMBERS = 15
"""Of each object, see `object_numbers`."""


@dataclass(frozen=True, eq=False)
class Cache:
    """All frames of a dataset, episode after episode; the arrays are mapped, not loaded."""

    images: dict[str, UInt8[Array, "n px px 3"]]
    """Frames by camera."""
    state: Float32[Array, "n n_state"]
    action: Float32[Array, "n nu"]
    """What the demonstrator meant to do, without the noise that the actuators got."""
    imitate: Bool[Array, "n"]
    """Which actions are to be learnt."""
    action_eef: Float32[Array, "n 8"]
    starts: Int64[Array, "n_starts"]
    """First frame of each episode, then n."""
    tasks: tuple[str, ...]
    """Instruction of each episode."""
    views: dict[str, View] = field(default_factory=dict)
    """Where the cameras are, for those that are calibrated."""
    objects: Float32[Array, "n n_obj 15"] | None = None
    """In place of images, of each object and moving part what `object_numbers` says."""

    @property
    def hand_cameras(self) -> tuple[str, ...]:
        """Calibrated cameras that move with the hand."""
        return tuple(name for name, view in self.views.items() if view.parent == "eef")

    @property
    def episode(self) -> Int64[Array, "n"]:
        """Episode of each frame."""
        return np.repeat(np.arange(len(self.tasks)), np.diff(self.starts))


def build_cache(dataset: Path | str, px: int) -> Path:
    """Make the cache of a dataset at `px` x `px`, or without images, unless it is there and fresh.

    Returns:
        The cache's folder, for `read_cache`.

    Raises:
        RoboloopError: The dataset cannot be read, its parts disagree, or the disk is full.
    """
    info = read_info(dataset)
    folder = info.folder / "cache" / f"{px}px"
    key = _content_key(info, px)
    if (folder / "cache.json").exists():
        if read_json(folder / "cache.json").get("key") == key:
            return folder
        shutil.rmtree(folder)
    try:
        with atomic_path(folder) as temporary:
            temporary.mkdir()
            episodes = _write_columns(info, temporary)
            cameras = list(info.cameras) if px else []
            for camera in cameras:
                _write_images(info, camera, px, temporary / f"images_{camera}.npy")
            if not px:
                np.save(temporary / OBJECTS, object_numbers(_relative_poses(info)))
            record = {"key": key, "px": px, "cameras": cameras, "tasks": episodes}
            write_json(temporary / "cache.json", record)
    except OSError as error:
        if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
            raise  # else another process has made the same cache in the meantime
    return folder


def read_cache(folder: Path | str) -> Cache:
    """Map a cache made by `build_cache` into memory."""
    folder = Path(folder)
    record = read_json(folder / "cache.json")
    images = {c: np.load(folder / f"images_{c}.npy", mmap_mode="r") for c in record["cameras"]}
    arrays = {name: np.load(folder / f"{name}.npy") for name in (*COLUMNS, "starts")}
    objects = None if record["px"] else np.load(folder / OBJECTS)
    return Cache(images=images, tasks=tuple(record["tasks"]), objects=objects, **arrays)


def object_numbers(T_base_obj: Float64[Array, "*B 4 4"]) -> Float32[Array, "*B 15"]:
    """What a policy is told of where things are in the frame of the arm's base.

    The position (m), the x and y axes, and cosine and sine of two, three and four times the yaw:
    where things look the same from as many sides, those are what a hand's turn depends on.
    """
    R = T_base_obj[..., :3, :3]
    yaw = np.arctan2(R[..., 1, 0], R[..., 0, 0])[..., None] * [2, 3, 4]
    parts = (T_base_obj[..., :3, 3], R[..., 0], R[..., 1], np.cos(yaw), np.sin(yaw))
    return np.concatenate(parts, -1).astype(np.float32)


def _relative_poses(info: DatasetInfo) -> Float64[Array, "n n_obj 4 4"]:
    """Poses of all objects and moving parts in the frame of the first arm's base.

    Raises:
        RoboloopError: It is not known where the base is, or scenes have other things.
    """
    names, parts = None, []
    hint = "give --px, to learn from images; or `roboloop generate` it anew"
    for episode in iter_episodes(info.folder, images=False):
        names = names or episode.object_names
        if not any(name.startswith(PREFIX) for name in names):
            raise RoboloopError("the dataset has no poses of objects and arm", hint, info.folder)
        if episode.object_names != names:
            problem = "the dataset has not the same objects in all episodes"
            raise RoboloopError(problem, hint, info.folder)
        parts.append(seen_from_base(names, episode.object_poses))
    return np.concatenate(parts)


def _write_columns(info: DatasetInfo, folder: Path) -> list[str]:
    """Write the float arrays and the episodes' starts; return the instruction of each episode."""
    missing = set(COLUMNS.values()) - {*pq.read_schema(list_files(info.folder, "data")[0]).names}
    if missing:
        raise RoboloopError(
            f"the dataset has no {', '.join(sorted(missing))}",
            "policies learn from what `roboloop generate` writes",
            info.folder,
        )
    table = read_frames_table(info, ["episode_index", "task_index", *COLUMNS.values()])
    if len(table) != info.n_frames:
        problem = f"{len(table)} frames in data/, {info.n_frames} in meta/info.json"
        raise RoboloopError(problem, None, info.folder)
    for name, column in COLUMNS.items():
        np.save(folder / f"{name}.npy", to_array(table, column))
    starts = np.flatnonzero(np.diff(to_array(table, "episode_index"), prepend=-1))
    np.save(folder / "starts.npy", np.append(starts, len(table)))
    return [info.tasks[i] for i in to_array(table, "task_index")[starts]]


def _write_images(info: DatasetInfo, camera: str, px: int, path: Path) -> None:
    """Write the frames of a camera, decoded in order."""
    header = {"descr": "|u1", "fortran_order": False, "shape": (info.n_frames, px, px, 3)}
    n_frames = 0
    with path.open("wb") as file:  # written, not mapped: a full disk is then an error, no crash
        np.lib.format.write_array_header_1_0(file, header)
        for frame in iter_frames(info, camera, px):
            file.write(frame.tobytes())
            n_frames += 1
    if n_frames != info.n_frames:
        raise RoboloopError(
            f"camera {camera} has {n_frames} frames, the dataset {info.n_frames}",
            "`roboloop data check` says which file is wrong",
            info.folder,
        )


def _content_key(info: DatasetInfo, px: int) -> str:
    """Digest of what the cache depends on: statistics and tables of contents, files and sizes."""
    digest = hashlib.sha256(f"{VERSION} {px}".encode())
    for part in ("meta", "data", "videos"):
        for path in sorted(p for p in (info.folder / part).rglob("*") if p.is_file()):
            digest.update(f"{path.relative_to(info.folder)} {path.stat().st_size} ".encode())
            if part == "meta":
                digest.update(path.read_bytes())
    return digest.hexdigest()
