"""One episode in one file, written by any worker in any order: an Arrow table with a single row.

The bytes depend on the episode only: an Arrow IPC stream, and its CRC-32. A third of the time that
Parquet takes, for what is soon read again and removed. Columns are the fields of `Episode`, arrays
flattened; a camera `front` has `front.video` (mp4), `front.size` (height, width) and
`front.histogram`.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import pyarrow as pa
from jaxtyping import UInt8

from roboloop.data import video
from roboloop.data.episode import Episode
from roboloop.data.layout import INFO, SHARD, SHARDS
from roboloop.data.stats import image_histogram
from roboloop.errors import RoboloopError
from roboloop.run import write_bytes_atomic

Array = np.ndarray
Frames = Iterable[Mapping[str, UInt8[Array, "h w 3"]]]
"""Images by camera, a control step after the other."""
VECTORS = ("state", "action", "action_intended", "action_eef")
"""Arrays that LeRobot's tables hold, float32."""
SIM_ARRAYS = ("sim_states", "object_poses")
"""Arrays of the simulator side-car, float64."""
SCALARS = ("length", "fps", "robot", "task", "scene", "seed", "success")
SIM = (*SCALARS, "object_names", "subtasks", *SIM_ARRAYS)
"""Columns that the side-car keeps."""
N_SUM = 4
"""Bytes of the checksum."""


def write_shard(
    folder: Path | str, index: int, episode: Episode, frames: Frames | None = None
) -> Path:
    """Write an episode as shard `index` of an unfinished dataset; safe to repeat.

    Args:
        folder: The dataset's folder.
        index: The episode's place among the others, such as the number of the attempt.
        episode: The episode.
        frames: The images of each control step by camera, in place of the episode's; they are
            encoded as they come, and never held together.

    Raises:
        RoboloopError: The dataset is finished, the disk is full, or frames have an odd size.
    """
    folder = Path(folder)
    if (folder / INFO).exists():
        raise RoboloopError("the dataset is finished: no episode can be added", None, folder)
    path = folder / SHARD.format(index=index)
    if frames is None:
        frames = (
            {c: stack[t] for c, stack in (episode.images or {}).items()}
            for t in range(len(episode))
        )
    table, stream = _to_table(episode, frames), pa.BufferOutputStream()
    options = pa.ipc.IpcWriteOptions(compression="lz4", use_threads=False)
    with pa.ipc.new_stream(stream, table.schema, options=options) as writer:
        writer.write_table(table)
    content = stream.getvalue().to_pybytes()
    write_bytes_atomic(path, content + crc32(content).to_bytes(N_SUM, "little"))
    return path


def list_shards(folder: Path | str) -> dict[int, Path]:
    """Return the shards that are there, by index, in order."""
    paths = (Path(folder) / SHARDS).glob("[0-9]*.arrow")
    return {int(path.stem): path for path in sorted(paths, key=lambda path: int(path.stem))}


def read_shard(path: Path) -> pa.Table:
    """Read a shard, and check its sum.

    Raises:
        RoboloopError: The file is missing, cut off or damaged.
    """
    try:
        content = memoryview(path.read_bytes())
    except FileNotFoundError:
        raise RoboloopError(f"no file {path.name}", "was it left out of the copy?", path) from None
    stream, written = content[:-N_SUM], content[-N_SUM:]
    if crc32(stream).to_bytes(N_SUM, "little") != written:
        problem = f"{path.name} cannot be read: its checksum is wrong"
        raise RoboloopError(problem, "was it cut off while copying?", path)
    options = pa.ipc.IpcReadOptions(use_threads=False)  # threads cost more than a shard takes
    return pa.ipc.open_stream(stream, options=options).read_all()


def read_video(path: Path, camera: str) -> bytes:
    """Read the mp4 file of a camera from a shard."""
    return read_shard(path).column(f"{camera}.video")[0].as_py()


def unflatten(table: pa.Table) -> dict[str, Any]:
    """Turn a table of one row into Python values, and arrays in their shapes."""
    arrays = {*VECTORS, *SIM_ARRAYS} & set(table.column_names)
    row = {n: table.column(n)[0].as_py() for n in table.column_names if n not in arrays}
    for name in arrays:
        flat = table.column(name).combine_chunks().flatten().to_numpy()
        n_rows = row["length"] + (name == "sim_states")
        row[name] = flat.reshape(n_rows, flat.size // n_rows)
    if "object_poses" in row:
        n_steps, n_columns = row["object_poses"].shape
        row["object_poses"] = row["object_poses"].reshape(n_steps, n_columns // 7, 7)
    return row


def _to_table(episode: Episode, frames: Frames) -> pa.Table:
    """Build the single row of a shard."""

    def lists(item: pa.DataType) -> pa.DataType:
        return pa.list_(pa.field("element", item))  # as of a table that Parquet has kept

    def flat(array: Array) -> pa.Array:
        values = pa.array(np.ascontiguousarray(array).ravel())
        return pa.ListArray.from_arrays([0, array.size], values, lists(values.type))

    stage = pa.struct([("name", pa.string()), ("start", pa.int64()), ("stop", pa.int64())])
    subtasks = [dict(zip(("name", "start", "stop"), s, strict=True)) for s in episode.subtasks]
    columns = {
        "length": pa.array([len(episode)]),
        **{name: pa.array([getattr(episode, name)]) for name in SCALARS[1:]},
        "object_names": pa.array([list(episode.object_names)], lists(pa.string())),
        "subtasks": pa.array([subtasks], lists(stage)),
        "imitate": pa.array([episode.imitate]),
        **{name: flat(getattr(episode, name)) for name in (*VECTORS, *SIM_ARRAYS)},
    }
    return pa.table(columns | _film(frames, episode))


def _film(frames: Frames, episode: Episode) -> dict[str, pa.Array]:
    """Encode and count the images step by step, and build the cameras' columns."""
    encoders: dict[str, video.Encoder] = {}
    histograms: dict[str, Array] = {}
    sizes: dict[str, tuple[int, int]] = {}
    n_steps = 0
    for n_steps, images in enumerate(frames, 1):
        if n_steps > 1 and images.keys() != sizes.keys():
            raise ValueError(f"step {n_steps}: cameras {sorted(images)}, wanted {sorted(sizes)}")
        for camera, image in images.items():
            if camera not in encoders:
                sizes[camera] = image.shape[0], image.shape[1]
                histograms[camera] = np.zeros((3, 256), int)
                encoders[camera] = video.Encoder(sizes[camera], episode.fps)
            histograms[camera] += image_histogram(image[None])
            encoders[camera].add(image)
    if n_steps != len(episode):
        raise ValueError(f"frames of {n_steps} steps, the episode has {len(episode)}")
    columns = {}
    for camera in sorted(encoders):
        columns[f"{camera}.size"] = pa.array([list(sizes[camera])])
        columns[f"{camera}.histogram"] = pa.array([histograms[camera].ravel()])
        columns[f"{camera}.video"] = pa.array([encoders[camera].finish()])
    return columns
