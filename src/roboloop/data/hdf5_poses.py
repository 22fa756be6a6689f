"""What robomimic-style files say of hand and objects: the group `datagen_info`.

```
data/demo_0/datagen_info/eef_pose                    (T, 4, 4)
data/demo_0/datagen_info/target_pose                 (T, 4, 4), may be missing
data/demo_0/datagen_info/gripper_action              (T, 1)
data/demo_0/datagen_info/object_poses/NAME           (T, 4, 4)
data/demo_0/datagen_info/subtask_term_signals/NAME   (T,), 0 or 1, may be missing
```

Source: Mandlekar et al. 2023, "MimicGen", which multiplies demonstrations by these.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from roboloop.data.hdf5_read import demo_names, opened
from roboloop.errors import RoboloopError
from roboloop.record import from_plain
from roboloop.run import read_json

GROUP = "datagen_info"


@dataclass(frozen=True)
class Legend:
    """What a file does not say: how its names, frames and numbers are to be read.

    It stands beside the file, as `NAME.legend.json`; what is left out is as here.
    """

    fps: int | None = None
    """Control steps a second, where the file does not say."""
    objects: dict[str, str] = field(default_factory=dict)
    """Object in the scene -> object in the file; by default they are called the same."""
    signals: dict[str, str] = field(default_factory=dict)
    """Stage of the task -> signal in the file that ends it; by default they are called the same."""
    open: float = -1.0
    """The gripper's action that opens it."""
    closed: float = 1.0
    """The gripper's action that closes it."""
    T_world_theirs: Float[np.ndarray, "4 4"] = field(default_factory=lambda: np.eye(4))
    """The file's world in the scene's."""
    T_theirs_eef: Float[np.ndarray, "4 4"] = field(default_factory=lambda: np.eye(4))
    """Our frame of the hand in the file's."""
    Ts_theirs_object: dict[str, Float[np.ndarray, "4 4"]] = field(default_factory=dict)
    """By object in the scene: its frame in the file's frame of it."""


@dataclass(frozen=True)
class PoseDemo:
    """A demonstration of T steps as poses, in the scene's world and frames."""

    name: str
    Ts_world_eef: Float[np.ndarray, "T 4 4"]
    Ts_world_target: Float[np.ndarray, "T 4 4"]
    opening: Float[np.ndarray, "T"]
    """How far the hand was to be open, 0..1."""
    Ts_world_objects: dict[str, Float[np.ndarray, "T 4 4"]]
    """By object in the scene."""
    signals: dict[str, Bool[np.ndarray, "T"]]
    """By stage of the task, or as the file calls them."""


def read_pose_demos(path: Path, objects: dict[str, bool], fps: int) -> list[PoseDemo]:
    """Read the demonstrations of a file as poses.

    Args:
        path: The file; a legend may stand beside it.
        objects: Objects in the scene, and whether the pose of each has to be there.
        fps: Control steps a second that it has to have.

    Raises:
        RoboloopError: The file cannot be read, has no poses, lacks an object, or has another fps.
    """
    legend = _legend(path)
    with opened(path) as file:
        names = demo_names(file)
        args = json.loads(file["data"].attrs.get("env_args", "{}"))
        said = args.get("env_kwargs", {}).get("control_freq", legend.fps)
        if said is None:
            hint = f'{{"fps": {fps}}} in {_legend_path(path).name} beside it says it'
            raise RoboloopError("the file does not say how many steps a second has", hint)
        if said != fps or (legend.fps or fps) != fps:
            other = said if said != fps else legend.fps
            raise RoboloopError(f"the source has {other:g} control steps a second, wanted {fps}")
        return [_demo(name, file[f"data/{name}"], legend, objects) for name in names]


def _legend_path(path: Path) -> Path:
    return path.with_suffix(".legend.json")


def _legend(path: Path) -> Legend:
    beside = _legend_path(path)
    return from_plain(Legend, read_json(beside), beside.name) if beside.exists() else Legend()


def _demo(name: str, demo: Any, legend: Legend, objects: dict[str, bool]) -> PoseDemo:
    if GROUP not in demo:
        hint = "MimicGen's prepare_src_dataset adds them"
        raise RoboloopError(f"{name} has no poses of its objects: no group {GROUP}", hint)
    group = demo[GROUP]
    known = list(group.get("object_poses", {}))
    theirs = {ours: legend.objects.get(ours, ours) for ours in objects}
    missing = [n for ours, n in theirs.items() if objects[ours] and n not in known]
    if missing:
        hint = "`objects` in the legend beside the file says what is called how"
        problem = f"{name} has no poses of {', '.join(missing)}, only of: {', '.join(known)}"
        raise RoboloopError(problem, hint)
    n_steps = len(group["eef_pose"])
    Ts_eef = _poses(group["eef_pose"], n_steps, name)
    later = np.concatenate([Ts_eef[1:], Ts_eef[-1:]])  # where it went is where it was to go
    Ts_target = _poses(group["target_pose"], n_steps, name) if "target_pose" in group else later
    gripper = np.asarray(group["gripper_action"][:], float).reshape(n_steps, -1)[:, 0]
    stage_of = {signal: stage for stage, signal in legend.signals.items()}
    offsets = legend.Ts_theirs_object
    T_world, T_eef = legend.T_world_theirs, legend.T_theirs_eef
    return PoseDemo(
        name,
        T_world @ Ts_eef @ T_eef,
        T_world @ Ts_target @ T_eef,
        np.clip((gripper - legend.closed) / (legend.open - legend.closed), 0.0, 1.0),
        {
            ours: T_world
            @ _poses(group[f"object_poses/{n}"], n_steps, name)
            @ offsets.get(ours, np.eye(4))
            for ours, n in theirs.items()
            if n in known
        },
        {
            str(stage_of.get(signal, signal)): np.asarray(values[:]).reshape(-1) > 0
            for signal, values in dict(group.get("subtask_term_signals", {})).items()
        },
    )


def _poses(values: Any, n_steps: int, name: str) -> Float[np.ndarray, "T 4 4"]:
    """Read poses, of which there has to be one a step."""
    Ts = np.asarray(values[:], float)
    if Ts.shape != (n_steps, 4, 4) or not np.isfinite(Ts).all():
        wanted = f"finite ({n_steps}, 4, 4)"
        raise RoboloopError(f"{name}: {values.name} is {Ts.shape}, wanted {wanted}")
    return Ts
