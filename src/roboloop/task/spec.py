"""A task as data: `task.json` is this record."""

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from roboloop.errors import RoboloopError
from roboloop.scene.graph import SceneGraph
from roboloop.task.constraints import parse

FORMAT = 1


@dataclass(frozen=True)
class Stage:
    """One step of a task: it ends with a grasp, with a release, or with a joint moved."""

    name: str
    reference: str
    """`role` or `role.keypoint`: the frame that the motion is relative to; generation carries the
    motion to where this frame is in a new scene."""
    grasp: str | None = None
    """`role` (anywhere on it) or `role.keypoint` that the hand holds from the end of this stage."""
    release: str | None = None
    """What the hand lets go of at the end of this stage."""
    subgoal: tuple[str, ...] = ()
    """Constraints that hold at the end of the stage, before a release."""
    path: tuple[str, ...] = ()
    """Constraints that hold during the stage."""


@dataclass(frozen=True)
class Task:
    """What is to be done, by whom, and when it counts as done."""

    kind: str
    """A key of `templates.KINDS`."""
    instruction: str
    roles: dict[str, str]
    """Role -> name of an object in the scene."""
    stages: tuple[Stage, ...]
    success: tuple[str, ...]
    """Constraints that hold after the hand has let go and things have settled."""
    robot: str
    T_world_base: Float[np.ndarray, "4 4"]
    """Where the robot's base stands."""

    def constraints(self) -> list[str]:
        """Every constraint of the task, in order."""
        stages = [c for s in self.stages for c in (*s.subgoal, *s.path)]
        return [*stages, *self.success]

    def check(self, graph: SceneGraph) -> None:
        """Check that the scene has every object, keypoint and joint that the task names.

        Raises:
            RoboloopError: The first name that the scene lacks.
        """
        objects = {role: graph.object(name) for role, name in self.roles.items()}
        points = {f"{r}.{k}" for r, o in objects.items() for k in o.keypoints}
        joints = {f"{r}.{j.name}" for r, o in objects.items() for j in o.joints}
        for text in self.constraints():
            used_points, used_joints = parse(text).names()
            for missing in sorted((used_points - points) | (used_joints - joints)):
                raise RoboloopError(f"task constraint `{text}`: the scene has no `{missing}`")


def write_task(task: Task, path: Path) -> None:
    """Write `task.json`."""
    from roboloop.run import write_json

    record = asdict(task) | {"format": FORMAT, "T_world_base": task.T_world_base.tolist()}
    write_json(path, record)


def read_task(path: Path) -> Task:
    """Read `task.json` (or a folder that holds one).

    Raises:
        RoboloopError: The file is missing, is not JSON, or does not have exactly the fields.
    """
    path = path / "task.json" if path.is_dir() else path
    try:
        record: dict[str, Any] = json.loads(path.read_text())
        if record.pop("format") != FORMAT:
            raise RoboloopError("task file of another format version", path=path)
        wrong = set(record) ^ {f.name for f in fields(Task)}
        if wrong:
            raise RoboloopError(f"task file: unexpected or missing {sorted(wrong)}", path=path)
        stages = tuple(Stage(**_tuples(stage)) for stage in record.pop("stages"))
        T_world_base = np.array(record.pop("T_world_base"), float).reshape(4, 4)
        task = Task(**_tuples(record), stages=stages, T_world_base=T_world_base)
    except FileNotFoundError:
        raise RoboloopError("no task here", "make one with `roboloop task`", path) from None
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise RoboloopError(f"not a task file: {error}", path=path) from None
    for text in task.constraints():
        parse(text)
    return task


def _tuples(record: dict[str, Any]) -> dict[str, Any]:
    return {k: tuple(v) if isinstance(v, list) else v for k, v in record.items()}
