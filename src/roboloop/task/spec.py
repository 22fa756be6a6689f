"""A task as data: `task.json` is this record."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from roboloop.errors import RoboloopError
from roboloop.record import from_plain
from roboloop.robot import ROBOTS
from roboloop.run import read_json, write_json
from roboloop.scene.graph import SceneGraph
from roboloop.station import ONLY_ARM, Mount, station_of
from roboloop.task.constraints import parse
from roboloop.task.expression import SHARE

FORMAT = 3
BOTH = "both"
"""Arms that move together what they hold together."""


@dataclass(frozen=True)
class Stage:
    """One step of a task: it ends where its sub-goal holds, with a grasp or release if it says so.

    What was grasped in an earlier stage and not released since moves with the hand.
    """

    name: str
    reference: str
    """`role`, `role.keypoint`, or `ARM.base` of the arm that does it: the frame that the motion is
    relative to; generation carries the motion to where this frame is in a new scene."""
    grasp: str | None = None
    """`role` (anywhere on it) or `role.keypoint` that the hand holds from the end of this stage."""
    release: str | None = None
    """What the hand lets go of at the end of this stage."""
    subgoal: tuple[str, ...] = ()
    """Constraints that hold at the end of the stage, before a release."""
    path: tuple[str, ...] = ()
    """Constraints that hold during the stage."""
    push: str | None = None
    """`role.keypoint` on a jointed part that the closed hand pushes, without holding it."""
    dwell: float = 0.0
    """How long the hand stays where the sub-goal holds, s."""
    arm: str = ONLY_ARM
    """Who does it: the name of an arm, or `both`, who then move together what both hold."""
    at_once: bool = False
    """Whether it is done at the same time as the stage before it, which another arm does."""
    drop: float = 0.0
    """By how much (m) the sub-goal may be met higher, above `reference`, where the hand has no room
    lower down: from there what it lets go of falls."""


@dataclass(frozen=True)
class View:
    """The policy's square front view: the capture's camera turned about its centre and zoomed.

    A turn about the optical centre needs no depth, so a real camera's image can be warped to it.
    """

    R_camera_front: Float[np.ndarray, "3 3"]
    fovy: float
    """Full angle of the view, rad."""


@dataclass(frozen=True)
class Task:
    """What is to be done, by whom, and when it counts as done."""

    kind: str
    """A key of `templates.KINDS` or `two_arms.KINDS_OF_TWO`, or `sequence`, or `program`."""
    instruction: str
    roles: dict[str, str]
    """Role -> name of an object in the scene."""
    stages: tuple[Stage, ...]
    success: tuple[str, ...]
    """Constraints that hold after the hand has let go and things have settled."""
    arms: tuple[Mount, ...]
    """One arm, whose name is `robot`, or a `left` and a `right` one."""
    front: View
    milestones: tuple[tuple[str, ...], ...] = ()
    """What has to have held before the end, all of one at once, one after the other: a later part
    of the task undoes it."""

    def constraints(self) -> list[str]:
        """Every constraint of the task, in order."""
        stages = [c for s in self.stages for c in (*s.subgoal, *s.path)]
        return [*stages, *(c for each in self.milestones for c in each), *self.success]

    @property
    def robot(self) -> str:
        """The station that does it, a key of `STATIONS`."""
        return station_of(self.arms)

    def mount(self, arm: str) -> Mount:
        """The arm of a name."""
        return next(each for each in self.arms if each.name == arm)

    def steps(self) -> tuple[tuple[int, ...], ...]:
        """The stages, those that are done at once together."""
        steps: list[tuple[int, ...]] = []
        for i, stage in enumerate(self.stages):
            steps[-1:] = [(*steps[-1], i)] if stage.at_once else [*steps[-1:], (i,)]
        return tuple(steps)

    def step_name(self, index: int) -> str:
        """What a step is called: its stages' names."""
        return "+".join(self.stages[i].name for i in self.steps()[index])

    def held(self, index: int, arm: str | None = None) -> str | None:
        """What a hand holds when stage `index` begins: a `role`, a `role.keypoint`, or None.

        Args:
            index: The stage.
            arm: Whose hand; None is the one that does the stage, of both the first.
        """
        arm = self.stages[index].arm if arm is None else arm
        arm = self.arms[0].name if arm == BOTH else arm
        held = None
        for stage in self.stages[:index]:
            if stage.arm in (arm, BOTH):
                held = stage.grasp or (None if stage.release else held)
        return held

    def dimension_names(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Names of the dimensions of `observation.state` and of `action`.

        The state of an arm: its joints (rad), the hand's opening 0..1, and the hand's place in the
        base frame, by forward kinematics: position (m), and the directions of its x and y axes.
        """
        hand = [f"eef.{part}{axis}" for part in ("", "x_", "y_") for axis in "xyz"]
        state, action = list[str](), list[str]()
        for mount in self.arms:
            prefix = "" if mount.name == ONLY_ARM else f"{mount.name}."
            joints = ROBOTS[mount.robot].arm_joints
            state += [prefix + name for name in (*joints, "opening", *hand)]
            action += [prefix + name for name in (*joints, "gripper")]
        return tuple(state), tuple(action)

    def check(self, graph: SceneGraph) -> None:
        """Check that the scene has every object, keypoint and joint that the task names.

        Raises:
            RoboloopError: The first name that the scene lacks.
        """
        objects = {role: graph.object(name) for role, name in self.roles.items()}
        points = {f"{r}.{k}" for r, o in objects.items() for k in o.keypoints}
        points |= {f"{mount.name}.{part}" for mount in self.arms for part in ("eef", "base")}
        joints = {f"{r}.{j.name}" for r, o in objects.items() for j in o.joints}
        for text in self.constraints():
            used_points, used_joints = parse(text).names()
            used_joints = {name.removesuffix(SHARE) for name in used_joints}
            for missing in sorted((used_points - points) | (used_joints - joints)):
                raise RoboloopError(f"task constraint `{text}`: the scene has no `{missing}`")


def write_task(task: Task, path: Path) -> None:
    """Write `task.json`."""
    write_json(path, {"format": FORMAT, "task": task})


def read_task(path: Path) -> Task:
    """Read `task.json` (or a folder that holds one).

    Raises:
        RoboloopError: The file is missing, is not JSON, does not have exactly the fields, or holds
            a constraint outside the language.
    """
    path = path / "task.json" if path.is_dir() else path
    if not path.exists():
        raise RoboloopError("no task here", "make one with `roboloop task`", path)
    record = read_json(path)
    if not isinstance(record, dict) or record.get("format") != FORMAT or "task" not in record:
        raise RoboloopError(f"not a task file of format {FORMAT}", path=path)
    task = from_plain(Task, record["task"])
    for text in task.constraints():
        parse(text)
    return task
