"""A LeRobot v3 dataset that another program wrote, as one of ours: what is there, and what is not.

State, action, instructions and cameras are taken over; videos stay as they are, single images are
encoded. A dataset of others has no simulator states: it can be learnt from, not replayed.
"""

import io
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from roboloop.data import layout, video
from roboloop.data.compose import Pick, compose
from roboloop.data.layout import DatasetInfo, Limits
from roboloop.data.part import Part, read_columns, read_episodes
from roboloop.data.reader import image_size, list_files, read_info, to_array
from roboloop.data.writer import DEFAULT_LIMITS
from roboloop.errors import RoboloopError
from roboloop.run import atomic_path, read_json

Array = np.ndarray
VECTORS = ("observation.state", "action")
COUNTERS = ("timestamp", "frame_index", "episode_index", "index", "task_index")
OURS = ("action.intended", "imitate")
"""Columns that only we write; those of others get what they mean for a plain demonstration."""


def adopt_dataset(
    folder: Path, out: Path, limits: Limits = DEFAULT_LIMITS
) -> tuple[DatasetInfo, list[str]]:
    """Write a dataset of others as one of ours.

    Args:
        folder: Their dataset.
        out: Ours.
        limits: Sizes at which files that are not copied whole roll over.

    Returns:
        What was written; what was left out, and what is missing.

    Raises:
        RoboloopError: It cannot be read, or has no state or action.
    """
    info, plain = read_info(folder), read_json(folder / layout.INFO)
    features: dict[str, Any] = plain["features"]
    columns = [name for name in features if name in (*VECTORS, *COUNTERS, *OURS)]
    read = read_columns(info, columns)
    n = len(read["index"])
    read |= {name: read[name].reshape(n, -1).astype(np.float32) for name in VECTORS}
    read.setdefault("action.intended", read["action"])
    read.setdefault("imitate", np.ones(n, bool))
    stills = [key for key, feature in features.items() if feature["dtype"] == "image"]
    keys = _camera_names([key for key, f in features.items() if f["dtype"] == "video"] + stills)
    cameras = {camera: image_size(features[key]) for camera, key in keys.items()}
    ours = replace(info, cameras=cameras)
    encoder = {"codec": "h264", "pix_fmt": video.PIXELS, **video.ENCODER}
    described = layout.info_json(ours, limits, encoder)
    for camera, key in keys.items():
        if key not in stills and "info" in features[key]:
            described["features"][layout.video_key(camera)]["info"] = features[key]["info"]
    order = [*described["features"]]
    described["features"] = {
        name: f
        for name, f in described["features"].items()
        if f["dtype"] == "video" or name in read
    }
    table = {name: read[name] for name in sorted(read, key=order.index)}
    episodes = read_episodes(info)
    with atomic_path(out / "stills") as temporary:
        temporary.mkdir()
        encoded = {}
        for camera in [camera for camera, key in keys.items() if key in stills]:
            encoded[camera] = temporary / f"{camera}.mp4"
            _encode(info, keys[camera], to_array(episodes, "length").tolist(), encoded[camera])
        part = Part(ours, described, episodes, table, keys, encoded)
        written = compose(out, [Pick(part, tuple(range(info.n_episodes)))], limits)
        for path in temporary.iterdir():
            path.unlink()
    (out / "stills").rmdir()
    taken = {*read, *keys.values()}
    notes = {
        "left out": [key for key in features if key not in taken],
        "missing": [name for name in ("action.eef",) if name not in read]
        + ["simulator states, object poses, scenes, success"],
    }
    return written, [f"{label:<10}{', '.join(names)}" for label, names in notes.items() if names]


def _camera_names(keys: list[str]) -> dict[str, str]:
    """Name cameras by the last part of their keys; camera -> key."""
    names = [key.rpartition(".")[2] for key in keys]
    if len({*names}) < len(names):
        names = [key.removeprefix(layout.IMAGES).replace(".", "_") for key in keys]
    return dict(zip(names, keys, strict=True))


def _encode(info: DatasetInfo, key: str, lengths: list[int], path: Path) -> None:
    """Encode a camera's single images to one video; every episode begins with a key frame."""
    images = _stills(info, key)

    def episode(length: int) -> bytes:
        encoder = None
        for image in islice(images, length):
            encoder = encoder or video.Encoder((image.shape[0], image.shape[1]), info.fps)
            encoder.add(image)
        if encoder is None:
            raise RoboloopError(f"{key} has fewer images than frames", None, info.folder)
        return encoder.finish()

    video.join(map(episode, lengths), info.fps, path)


def _stills(info: DatasetInfo, key: str) -> Iterator[Array]:
    """Decode the images of a column, in order."""
    from PIL import Image

    for path in list_files(info.folder, "data"):
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(64, columns=[key]):
                for cell in batch.column(0).to_pylist():
                    if not cell or not cell.get("bytes"):
                        problem = f"{key} has a frame without an image in {path.name}"
                        raise RoboloopError(problem, None, path)
                    with Image.open(io.BytesIO(cell["bytes"])) as image:
                        yield np.asarray(image.convert("RGB"))
