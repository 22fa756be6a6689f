"""Read a dataset: what it holds, its columns and frames in order, whole episodes."""

from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import UInt8

from roboloop.data import video
from roboloop.data.episode import Episode
from roboloop.data.layout import (
    EPISODE_FILES,
    EPISODES,
    IMAGES,
    INFO,
    SHARDS,
    TASKS,
    VERSION,
    DatasetInfo,
    video_key,
)
from roboloop.data.parquet import read_parquet
from roboloop.data.shard import list_shards, unflatten
from roboloop.errors import RoboloopError
from roboloop.run import read_json

Array = np.ndarray


def read_info(folder: Path | str) -> DatasetInfo:
    """Read what a finished dataset holds.

    Raises:
        RoboloopError: There is no finished dataset, it is of another version, or misses fields.
    """
    folder = Path(folder)
    path = folder / INFO
    if not path.exists():
        raise _no_dataset(folder)
    plain = read_json(path)
    version = plain.get("codebase_version") if isinstance(plain, dict) else None
    if version != VERSION:
        raise RoboloopError(
            f"dataset version {version!r}, this program reads {VERSION!r}",
            "update roboloop"
            if _number(version) > _number(VERSION)
            else "convert it with LeRobot's own tools first",
            path,
        )
    tasks = read_parquet(folder / TASKS)
    instruction = next((name for name in tasks.column_names if name != "task_index"), None)
    if instruction is None or "task_index" not in tasks.column_names:
        problem = f"columns {tasks.column_names}, wanted task and task_index"
        raise RoboloopError(problem, None, folder / TASKS)
    tasks = tasks.sort_by("task_index").column(instruction).to_pylist()
    try:
        features = plain["features"]
        return DatasetInfo(
            folder=folder,
            robot=plain["robot_type"] or "",
            fps=int(plain["fps"]),
            n_episodes=plain["total_episodes"],
            n_frames=plain["total_frames"],
            tasks=tuple(tasks),
            cameras={
                key.removeprefix(IMAGES): image_size(feature)
                for key, feature in features.items()
                if feature["dtype"] == "video"
            },
            state_names=_names(features["observation.state"]),
            action_names=_names(features["action"]),
        )
    except (KeyError, TypeError, IndexError) as error:
        raise RoboloopError(f"a field is missing or of another type: {error}", None, path) from None


def iter_episodes(folder: Path | str, images: bool = True) -> Iterator[Episode]:
    """Read the episodes of a dataset that has the simulator side-car, in order.

    Args:
        folder: The dataset.
        images: Whether to decode the frames.

    Raises:
        RoboloopError: The dataset cannot be read; `check_dataset` says more.
    """
    info = read_info(folder)
    cameras = {camera: iter_frames(info, camera) for camera in info.cameras} if images else {}
    sim_files = list_files(info.folder, "sim")
    if not sim_files:
        raise RoboloopError("the dataset has no simulator side-car", None, info.folder / "sim")
    data_files = list_files(info.folder, "data")
    for data, sim in zip(row_groups(data_files), row_groups(sim_files), strict=True):
        row = unflatten(sim)
        n_steps = row.pop("length")
        frames = {camera: list(islice(stream, n_steps)) for camera, stream in cameras.items()}
        row["subtasks"] = tuple((s["name"], s["start"], s["stop"]) for s in row["subtasks"])
        row["object_names"] = tuple(row["object_names"])
        eef = "action.eef" in data.column_names
        yield Episode(
            state=to_array(data, "observation.state"),
            action=to_array(data, "action"),
            action_intended=to_array(data, "action.intended"),
            imitate=to_array(data, "imitate"),
            action_eef=to_array(data, "action.eef") if eef else np.zeros((n_steps, 0), np.float32),
            images={camera: np.stack(stack) for camera, stack in frames.items()} or None,
            **row,
        )


def iter_frames(
    info: DatasetInfo, camera: str, px: int | None = None
) -> Iterator[UInt8[Array, "h w 3"]]:
    """Decode all frames of a camera in order, scaled to `px` x `px` if given."""
    for path in list_files(info.folder, f"videos/{video_key(camera)}"):
        yield from video.decode(path, px)


def read_episodes_table(folder: Path) -> pa.Table:
    """Read `meta/episodes`, a row an episode; others keep it in several files.

    Raises:
        RoboloopError: There is none, or a file cannot be read.
    """
    paths = list_files(folder, EPISODE_FILES) or [folder / EPISODES]
    return pa.concat_tables([read_parquet(path) for path in paths], promote_options="default")


def read_frames_table(info: DatasetInfo, columns: list[str]) -> pa.Table:
    """Read columns of the frame table, all episodes one after another."""
    return pa.concat_tables(read_parquet(f, columns) for f in list_files(info.folder, "data"))


def to_array(table: pa.Table, name: str) -> Array:
    """Turn a column into an array; a column of vectors becomes (rows, n)."""
    column = table.column(name).combine_chunks()
    if not (pa.types.is_fixed_size_list(column.type) or pa.types.is_list(column.type)):
        return column.to_numpy(zero_copy_only=False)
    return column.flatten().to_numpy(zero_copy_only=False).reshape(len(column), -1)


def list_files(folder: Path, part: str) -> list[Path]:
    """Return the numbered files of a part of the dataset, in order."""
    return sorted((folder / part).glob("chunk-*/file-*"))


def row_groups(paths: list[Path]) -> Iterator[pa.Table]:
    """Read files one row group at a time."""
    for path in paths:
        try:
            with pq.ParquetFile(path, page_checksum_verification=True) as file:
                for index in range(file.num_row_groups):
                    yield file.read_row_group(index)
        except (pa.ArrowException, OSError) as error:
            raise RoboloopError(f"{path.name} cannot be read: {error}", None, path) from None


def read_row_group(path: Path, index: int) -> pa.Table:
    """Read an episode of a file of ours.

    Raises:
        RoboloopError: The file is missing, cut off or damaged.
    """
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            return file.read_row_group(index)
    except (pa.ArrowException, OSError) as error:
        raise RoboloopError(f"{path.name} cannot be read: {error}", None, path) from None


def _names(feature: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the names of a vector's dimensions; others have them as a dict, or as one for all."""
    names, n = feature.get("names"), feature["shape"][0]
    if isinstance(names, dict):
        names = [name for group in names.values() for name in group]
    return tuple(names) if names and len(names) == n else tuple(str(i) for i in range(n))


def image_size(feature: Mapping[str, Any]) -> tuple[int, int]:
    """Return (height, width) of images; others have their channels first."""
    shape, names = feature["shape"], feature.get("names") or ()
    return (
        tuple(shape[1:3]) if names[:1] in (["c"], ["channel"], ["channels"]) else tuple(shape[:2])
    )


def _number(version: object) -> tuple[int, ...]:
    """Turn `v3.0` into (3, 0); anything else comes first."""
    words = version.removeprefix("v").split(".") if isinstance(version, str) else []
    return tuple(map(int, words)) if all(word.isdecimal() for word in words) else ()


def _no_dataset(folder: Path) -> RoboloopError:
    """Say why there is nothing to read."""
    n_shards = len(list_shards(folder))
    if n_shards:
        return RoboloopError(
            f"the dataset is not finished: {n_shards} episodes wait in {SHARDS}/",
            "run the command that makes it again; it goes on where it stopped",
            folder,
        )
    return RoboloopError(f"no dataset here: {INFO} is missing", "give a dataset's folder", folder)
