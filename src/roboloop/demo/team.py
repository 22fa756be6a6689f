"""Two arms: each plans what it does alone; what both hold is moved by both at once."""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float

from roboloop import pose
from roboloop.cell import Cell
from roboloop.demo.goals import Unreachable
from roboloop.demo.planner import Planner
from roboloop.demo.together import at_once, carried, on_body
from roboloop.demo.ways.arm import Arm
from roboloop.demo.ways.motion import GRIP_STEPS, Motion
from roboloop.task.spec import BOTH

MAX_ENDS = 6
"""Ends of one arm at which it is tried whether the other can follow."""


class Team:
    """The `Expert` of a cell with several arms."""

    def __init__(self, cell: Cell, rng: np.random.Generator) -> None:
        self.cell, self._rng = cell, rng
        self._planners = {arm.mount.name: Planner(arm, rng) for arm in cell.arms}

    @property
    def arm(self) -> Arm:
        """The first of the arms."""
        return self._planners[self.cell.task.arms[0].name].arm

    @property
    def arms(self) -> dict[str, Arm]:
        """The arms, by name."""
        return {name: planner.arm for name, planner in self._planners.items()}

    def drop(self, stage: int) -> float:
        """See `Planner.drop`."""
        arm = self.cell.task.stages[stage].arm
        return 0.0 if arm == BOTH else self._planners[arm].drop(stage)

    def plan(self, index: int, qpos: Float[np.ndarray, "nq"], warm: bool = False) -> Motion:
        """Plan step `index` from the state `qpos`; see `Planner.plan`."""
        stages = self.cell.task.steps()[index]
        if self.cell.task.stages[stages[0]].arm == BOTH:
            return Motion(self._both(stages[0], qpos))

        def alone(stage: int, state: Float[np.ndarray, "nq"]) -> Motion:
            planner = self._planners[self.cell.task.stages[stage].arm]
            return planner.plan(stage, state, warm and state is qpos)

        return at_once(self.arms, stages, qpos, alone)

    def blame(self, index: int) -> None:
        """Do not take the last grasps of a step again, in place: one of them missed."""
        for i in self.cell.task.steps()[index]:
            arm = self.cell.task.stages[i].arm
            if arm != BOTH:
                self._planners[arm].blame(i)

    def _both(self, index: int, qpos: np.ndarray) -> Float[np.ndarray, "T nu"]:
        """Controls of a stage in which the arms move together what they hold."""
        stage = self.cell.task.stages[index]
        arms = [self._planners[mount.name].arm for mount in self.cell.task.arms]
        ctrl = np.full((1, self.cell.model.nu), np.nan)
        if stage.subgoal:
            ctrl = self._carried(index, arms, qpos)
        if stage.release:
            opened = np.full(self.cell.model.nu, np.nan)
            for arm in self.cell.arms:
                opened[arm.ctrl.stop - 1] = arm.robot.gripper_open
            still = Motion(np.tile(opened, (GRIP_STEPS, 1))).after(ctrl[-1]).ctrl
            ctrl = np.concatenate([ctrl, still])
        return ctrl

    def _carried(self, index: int, arms: list[Arm], qpos: np.ndarray) -> np.ndarray:
        """The way of what both hold to the stage's sub-goal."""
        body, problem = self.cell.frame_body(str(self.cell.task.held(index))), ""
        for T_end in self._ends(index, qpos, body, on_body(arms, body, qpos)[0]):
            try:
                return carried(arms, body, qpos, T_end[None])
            except Unreachable as error:
                problem = problem or error.problem
        raise Unreachable(f"no way for both arms: {problem}")

    def _ends(
        self, index: int, qpos: np.ndarray, body: int, T_body_eef: np.ndarray
    ) -> Iterator[np.ndarray]:
        """Poses of what is held at which the sub-goal holds, as the first arm would have it."""
        planner = self._planners[self.cell.task.arms[0].name]
        for q in planner.ends(index, qpos, body, T_body_eef, MAX_ENDS):
            yield planner.arm.eef(q) @ pose.inverse(T_body_eef)


def expert(cell: Cell, rng: np.random.Generator) -> Planner | Team:
    """Who plans in a cell."""
    return Planner(cell, rng) if len(cell.task.arms) == 1 else Team(cell, rng)
