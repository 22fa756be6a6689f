"""What robomimic-style files say of hand and objects: the group `datagen_info`.

```
data/demo_0/datagen_info/eef_pose                    (T, 4, 4)
data/demo_0/datagen_info/target_pose                 (T, 4, 4), may be missing
data/demo_0/datagen_info/gripper_action              (T, 1)
data/demo_0/datagen_info/base_pose                   (T, 4, 4), of a robot that drives
data/demo_0/datagen_info/object_poses/NAME           (T, 4, 4)
data/demo_0/datagen_info/subtask_term_signals/NAME   (T,), 0 or 1, may be missing
```

Of several arms the first four are groups with such an array an arm: `eef_pose/left`.

Source: Mandlekar et al. 2023, "MimicGen", which multiplies demonstrations by these.
"""

import json
from collections.abc import Sequence
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
GROUP_HINT = "of several arms it is a group, with an array an arm"


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
    arms: dict[str, str] = field(default_factory=dict)
    """Arm of the task -> arm in the file; by default they are called the same."""
    relative_to_base: bool = False
    """Whether the hands' poses are in the frame of the base, not in the file's world."""
    Ts_theirs_object: dict[str, Float[np.ndarray, "4 4"]] = field(default_factory=dict)
    """By object in the scene: its frame in the file's frame of it."""


@dataclass(frozen=True)
class PoseHand:
    """What one arm did in T steps, in the scene's world and our frames."""

    Ts_world_eef: Float[np.ndarray, "T 4 4"]
    Ts_world_target: Float[np.ndarray, "T 4 4"]
    opening: Float[np.ndarray, "T"]
    """How far the hand was to be open, 0..1."""
    Ts_world_base: Float[np.ndarray, "T 4 4"] | None
    """Where the base was, if the file says it."""


@dataclass(frozen=True)
class PoseDemo:
    """A demonstration of T steps as poses, in the scene's world and frames."""

    name: str
    hands: dict[str, PoseHand]
    """By arm of the task."""
    Ts_world_objects: dict[str, Float[np.ndarray, "T 4 4"]]
    """By object in the scene."""
    signals: dict[str, Bool[np.ndarray, "T"]]
    """By stage of the task, or as the file calls them."""


def read_pose_demos(
    path: Path, objects: dict[str, bool], fps: int, arms: Sequence[str]
) -> list[PoseDemo]:
    """Read the demonstrations of a file as poses.

    Args:
        path: The file; a legend may stand beside it.
        objects: Objects in the scene, and whether the pose of each has to be there.
        fps: Control steps a second that it has to have.
        arms: The task's arms.

    Raises:
        RoboloopError: The file cannot be read, has no poses, lacks an object or an arm, or has
            another fps.
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
            problem = f"the source has {other:g} control steps a second, wanted {fps}"
            raise RoboloopError(problem, "record it again, or take every n-th step")
        return [_demo(name, file[f"data/{name}"], legend, objects, arms) for name in names]


def _legend_path(path: Path) -> Path:
    return path.with_suffix(".legend.json")


def _legend(path: Path) -> Legend:
    beside = _legend_path(path)
    return from_plain(Legend, read_json(beside), beside.name) if beside.exists() else Legend()


def _demo(
    name: str, demo: Any, legend: Legend, objects: dict[str, bool], arms: Sequence[str]
) -> PoseDemo:
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
    hands = {arm: _hand(name, group, legend, arm, len(arms) == 1) for arm in arms}
    n_steps = len(hands[arms[0]].opening)
    stage_of = {signal: stage for stage, signal in legend.signals.items()}
    offsets = legend.Ts_theirs_object
    return PoseDemo(
        name,
        hands,
        {
            ours: legend.T_world_theirs
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


def _hand(name: str, group: Any, legend: Legend, arm: str, alone: bool) -> PoseHand:
    """Read what an arm did; one that is `alone` need have no name in the file."""
    theirs = legend.arms.get(arm, arm)

    def values(key: str) -> Any:
        if key not in group:
            problem = f"{name} has no {GROUP}/{key}, only: {', '.join(group)}"
            raise RoboloopError(problem, GROUP_HINT)
        node = group[key]
        if hasattr(node, "shape"):
            if alone:
                return node
            raise RoboloopError(f"{name}: {key} is of one arm, the task has several", GROUP_HINT)
        if theirs not in node:
            problem = f"{name}: {key} has no arm {theirs}, only: {', '.join(node)}"
            raise RoboloopError(problem, "`arms` in the legend says what is called how")
        return node[theirs]

    n_steps = len(values("eef_pose"))
    Ts_eef = _poses(values("eef_pose"), n_steps, name)
    later = np.concatenate([Ts_eef[1:], Ts_eef[-1:]])  # where it went is where it was to go
    Ts_target = _poses(values("target_pose"), n_steps, name) if "target_pose" in group else later
    gripper = np.asarray(values("gripper_action")[:], float).reshape(n_steps, -1)[:, 0]
    T_world, Ts_world_base = legend.T_world_theirs, None
    if "base_pose" in group:
        Ts_world_base = T_world @ _poses(values("base_pose"), n_steps, name)
    if legend.relative_to_base:
        if Ts_world_base is None:
            raise RoboloopError(f"{name} has poses relative to its base, but no base_pose")
        T_world = Ts_world_base
    return PoseHand(
        T_world @ Ts_eef @ legend.T_theirs_eef,
        T_world @ Ts_target @ legend.T_theirs_eef,
        np.clip((gripper - legend.closed) / (legend.open - legend.closed), 0.0, 1.0),
        Ts_world_base,
    )


def _poses(values: Any, n_steps: int, name: str) -> Float[np.ndarray, "T 4 4"]:
    """Read poses, of which there has to be one a step."""
    Ts = np.asarray(values[:], float)
    if Ts.shape != (n_steps, 4, 4) or not np.isfinite(Ts).all():
        wanted = f"finite ({n_steps}, 4, 4)"
        raise RoboloopError(f"{name}: {values.name} is {Ts.shape}, wanted {wanted}")
    return Ts
