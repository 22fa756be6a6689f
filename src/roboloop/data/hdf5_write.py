"""A dataset as a robomimic-style HDF5 file.

```
data                       attributes: total, env_args (JSON), roboloop (JSON: what is ours)
data/demo_0                attributes: num_samples, model_file if known, ep_meta (JSON)
data/demo_0/actions        what the actuators got
data/demo_0/states         the simulator's full state before each action
data/demo_0/last_state     the one after the last action
data/demo_0/rewards dones  1 at the end of a success; 1 at the end
data/demo_0/obs/state      proprioception; obs/object: the objects' poses; obs/front_image: uint8
data/demo_0/action_dict    intended, eef, imitate
mask/success mask/failure  names of demonstrations
```

Source: robomimic, "Dataset Structure" (https://robomimic.github.io/docs/datasets/overview.html);
RoboCasa for `ep_meta` and `action_dict`.
"""

import io
import json
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from roboloop import __version__, console
from roboloop.data import video
from roboloop.data.part import Part, open_part
from roboloop.data.reader import iter_frames, list_files, row_groups
from roboloop.data.shard import unflatten
from roboloop.data.views import read_views
from roboloop.errors import RoboloopError
from roboloop.record import to_plain
from roboloop.run import atomic_path

Array = np.ndarray
VERSION = 1
"""Of the attribute `roboloop`."""
BLOCK = 32
"""Frames that are decoded before they are written."""
FACTS = ("scene", "seed", "robot", "success", "object_names", "subtasks")
"""What `ep_meta` keeps of an episode, beside its instruction `lang`."""
COLUMNS = {"action.intended": "intended", "action.eef": "eef", "imitate": "imitate"}
"""Columns of the frame table, and their names in `action_dict`."""


def import_h5py() -> Any:
    """Import h5py, which is an extra.

    Raises:
        RoboloopError: It is not installed.
    """
    try:
        import h5py
    except ImportError:
        hint = "pip install 'roboloop[hdf5]'"
        raise RoboloopError("HDF5 files need h5py, which is not installed", hint) from None
    return h5py


def write_hdf5(
    folder: Path, path: Path, model_file: Callable[[str], str | None] = lambda scene: None
) -> None:
    """Write a dataset to one HDF5 file, whole or not at all.

    Args:
        folder: The dataset.
        path: The file.
        model_file: MuJoCo's XML of a scene with its robot, by the scene's name; None if unknown.

    Raises:
        RoboloopError: The dataset cannot be read, h5py is missing, or the disk is full.
    """
    h5py = import_h5py()
    part = open_part(folder)
    streams = {camera: iter_frames(part.info, camera) for camera in part.info.cameras}
    masks: dict[str, list[str]] = {"success": [], "failure": []}
    n = part.info.n_episodes
    with console.Progress("convert", n) as progress, atomic_path(path) as temporary:
        try:
            with _Sink(temporary, "w+") as sink, h5py.File(sink, "w") as file:
                data = file.create_group("data")
                data.attrs["total"] = part.info.n_frames
                data.attrs["env_args"] = json.dumps(_env_args(part))
                data.attrs["roboloop"] = json.dumps(_ours(part))
                for episode, row in enumerate(_sim_rows(part)):
                    demo = data.create_group(f"demo_{episode}")
                    _write_demo(demo, part, episode, row, model_file)
                    _write_images(demo, part, episode, streams)
                    if row:
                        masks["success" if row["success"] else "failure"].append(demo.name[6:])
                    progress.update(episode + 1)
                for name, members in masks.items():
                    if members:
                        file[f"mask/{name}"] = np.array(members, "S")
        except (OSError, RuntimeError) as error:
            # h5py has the number of the system's error in its text only
            if "errno = 28" not in str(error) and "No space" not in str(error):
                raise
            hint = "free some space and run the same command again"
            raise RoboloopError(
                f"the disk is full: {path.name} is not written", hint, path
            ) from None


class _Sink(io.FileIO):
    """A file for HDF5, which crashes at exit if a write fails: errors are raised at close."""

    error: OSError | None = None

    def write(self, data: Any, /) -> int:
        """Write, or pretend to."""
        left = memoryview(data).cast("B")
        n = len(left)
        try:
            while left:
                left = left[super().write(left) :]
        except OSError as error:
            self.error = self.error or error
        return n

    def close(self) -> None:
        """Close, and raise what went wrong."""
        super().close()
        if self.error:
            error, self.error = self.error, None
            raise error


def _write_demo(
    demo: Any,
    part: Part,
    episode: int,
    row: dict[str, Any],
    model_file: Callable[[str], str | None],
) -> None:
    """Write an episode without its images."""
    first, n_steps = part.starts[episode], int(part.lengths[episode])
    columns = {name: values[first : first + n_steps] for name, values in part.columns.items()}
    success = bool(row.get("success", True))
    task = part.info.tasks[columns["task_index"][0]]
    demo.attrs["num_samples"] = n_steps
    demo.attrs["ep_meta"] = json.dumps({"lang": task} | {k: row[k] for k in FACTS if k in row})
    xml = model_file(row["scene"]) if row else None
    if xml is not None:
        demo.attrs["model_file"] = xml
    end = np.zeros(n_steps)
    end[-1] = 1.0
    arrays = {
        "actions": columns["action"],
        "rewards": end * success,
        "dones": end.astype(np.int64),
        "obs/state": columns["observation.state"],
        **{f"action_dict/{name}": columns[c] for c, name in COLUMNS.items() if c in columns},
    }
    if row and row["sim_states"].shape[1]:
        arrays |= {"states": row["sim_states"][:-1], "last_state": row["sim_states"][-1]}
    if row and row["object_poses"].shape[1]:
        arrays["obs/object"] = row["object_poses"].reshape(n_steps, -1)
    for name, values in arrays.items():
        demo.create_dataset(name, data=values, fletcher32=True, chunks=values.shape)


def _write_images(demo: Any, part: Part, episode: int, streams: dict[str, Iterator[Array]]) -> None:
    """Write the images of an episode, a block at a time."""
    n_steps = int(part.lengths[episode])
    for camera, stream in streams.items():
        h, w = part.info.cameras[camera]
        name = f"obs/{camera.removeprefix('observation.')}_image"
        options = {"chunks": (1, h, w, 3), "compression": "gzip", "compression_opts": 1}
        target = demo.create_dataset(name, (n_steps, h, w, 3), np.uint8, **options)
        done = 0
        while block := list(islice(stream, min(BLOCK, n_steps - done))):
            target[done : done + len(block)] = np.stack(block)
            done += len(block)
        if done != n_steps:
            problem = f"camera {camera} has {done} frames of episode {episode}, wanted {n_steps}"
            hint = "`roboloop data check --decode` says which file is wrong"
            raise RoboloopError(problem, hint, part.info.folder)


def _sim_rows(part: Part) -> Iterator[dict[str, Any]]:
    """Read the side-car row by row; empty where there is none."""
    if part.has_sim:
        yield from map(unflatten, row_groups(list_files(part.info.folder, "sim")))
    else:
        yield from ({} for _ in range(part.info.n_episodes))


def _env_args(part: Part) -> dict[str, Any]:
    """Build what robomimic would make an environment from."""
    kwargs = {"control_freq": part.info.fps, "robots": [part.info.robot]}
    cameras = {
        "camera_names": [*part.info.cameras],
        "camera_heights": [h for h, _ in part.info.cameras.values()],
        "camera_widths": [w for _, w in part.info.cameras.values()],
    }
    args = {"env_name": "roboloop", "env_version": __version__, "type": 2}
    return {**args, "env_kwargs": kwargs | (cameras if part.info.cameras else {})}


def _ours(part: Part) -> dict[str, Any]:
    """Build what reading the file back needs."""
    info = part.info
    return {
        "version": VERSION,
        "robot": info.robot,
        "fps": info.fps,
        "state_names": info.state_names,
        "action_names": info.action_names,
        "cameras": [*info.cameras],
        "views": to_plain(read_views(info.folder)),
        "codec": video.CODEC,
    }
