"""Two arms: each plans what it does alone; what both hold is moved by both at once."""

from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Float

from roboloop import pose
from roboloop.cell import Cell, set_free
from roboloop.demo.goals import Unreachable
from roboloop.demo.planner import Planner
from roboloop.demo.ways.arm import CARRY_LIFT, IN_THE_WAY, Arm
from roboloop.demo.ways.motion import GRIP_STEPS, Motion, slowed, smooth, timed
from roboloop.task.spec import BOTH

LIFTS = (0.0, CARRY_LIFT, 2 * CARRY_LIFT)
"""How far what both hold is lifted on its way, m; the first that is free."""
MAX_ENDS = 6
"""Ends of one arm at which it is tried whether the other can follow."""
SPEED = 0.5
"""Of what both hold, share of the usual speed."""


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
        alone = [self._alone(i, qpos, warm) for i in stages]
        if len(alone) == 1 or self._apart(qpos, alone, stages):
            return Motion(_together(alone))
        # in each other's way: one after the other
        rows = [alone[0]]
        for i in stages[1:]:
            for arm in self.cell.arms:
                last = rows[-1][-1, arm.ctrl]
                if not np.isnan(last).any():
                    qpos = self._planners[arm.mount.name].arm.moved(qpos, last[:-1])
            rows.append(self._alone(i, qpos, False))
        return Motion(np.concatenate(rows))

    def blame(self, index: int) -> None:
        """Do not take the last grasps of a step again, in place: one of them missed."""
        for i in self.cell.task.steps()[index]:
            arm = self.cell.task.stages[i].arm
            if arm != BOTH:
                self._planners[arm].blame(i)

    # --- each by itself

    def _alone(self, stage: int, qpos: np.ndarray, warm: bool) -> Float[np.ndarray, "T nu"]:
        """Controls of a stage that one arm does; the others stay."""
        arm = self.cell.seen_by(self.cell.task.stages[stage].arm)
        motion = self._planners[arm.mount.name].plan(stage, qpos, warm)
        ctrl = np.full((len(motion.ctrl), self.cell.model.nu), np.nan)
        ctrl[:, arm.ctrl] = motion.ctrl
        return ctrl

    def _apart(self, qpos: np.ndarray, alone: list[np.ndarray], stages: Sequence[int]) -> bool:
        """Whether the arms stay free of each other when they do their stages at once."""
        ctrl = Motion(_together(alone)).after(np.zeros(self.cell.model.nu)).ctrl
        states = np.tile(qpos, (len(ctrl), 1))
        moving = [self.cell.seen_by(self.cell.task.stages[i].arm) for i in stages]
        for arm in moving:
            states[:, arm.arm_qpos] = ctrl[:, arm.ctrl][:, :-1]
        return all(self.arm.apart(states))

    # --- both

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
        held = str(self.cell.task.held(index))
        body = self.cell.frame_body(held)
        arms[0].update(qpos)
        T_start = arms[0].body_pose(body)
        Ts_body_eef = [pose.inverse(T_start) @ arm.eef(qpos[arm.cell.arm_qpos]) for arm in arms]
        problem = ""
        for T_end in self._ends(index, qpos, body, Ts_body_eef):
            for lift in LIFTS:
                over = (pose.moved_by(T, np.array([0.0, 0.0, lift])) for T in (T_start, T_end))
                way = np.stack([T_start, *over, T_end])
                try:
                    return self._follow(arms, timed(way, SPEED), Ts_body_eef, qpos, body)
                except Unreachable as error:
                    problem = problem or error.problem
        raise Unreachable(f"no way for both arms: {problem}")

    def _ends(
        self, index: int, qpos: np.ndarray, body: int, Ts_body_eef: list[np.ndarray]
    ) -> Iterator[np.ndarray]:
        """Poses of what is held at which the sub-goal holds, as the first arm would have it."""
        first = self.cell.task.arms[0].name
        for q in self._planners[first].ends(index, qpos, body, Ts_body_eef[0], MAX_ENDS):
            yield self._planners[first].arm.eef(q) @ pose.inverse(Ts_body_eef[0])

    def _follow(
        self,
        arms: list[Arm],
        Ts_world_body: Float[np.ndarray, "T 4 4"],
        Ts_body_eef: list[np.ndarray],
        qpos: np.ndarray,
        body: int,
    ) -> Float[np.ndarray, "S nu"]:
        """Controls with which the hands keep their places on a body along its way.

        Raises:
            Unreachable: An arm cannot follow, or something is in the way.
        """
        starts = [qpos[arm.cell.arm_qpos] for arm in arms]
        paths = [
            arm.solved(Ts_world_body @ T_body_eef, q)
            for arm, T_body_eef, q in zip(arms, Ts_body_eef, starts, strict=True)
        ]
        together = slowed(smooth(np.concatenate(paths, 1)))[1:]
        qs = np.split(together, np.cumsum([len(q) for q in starts])[:-1], axis=1)
        states = np.tile(qpos, (len(together), 1))
        ctrl = np.full((len(together), self.cell.model.nu), np.nan)
        for arm, q in zip(arms, qs, strict=True):
            states[:, arm.cell.arm_qpos] = q
            ctrl[:, arm.cell.ctrl.start : arm.cell.ctrl.stop - 1] = q
        T_first = arms[0].eefs(qs[0]) @ pose.inverse(Ts_body_eef[0])
        set_free(states, self.cell.model, body, T_first)
        inside = self.cell.contents(body, qpos)
        if not all(arms[0].clear_states(states, held=body, inside=inside)):
            raise Unreachable(IN_THE_WAY)
        return ctrl


def expert(cell: Cell, rng: np.random.Generator) -> Planner | Team:
    """Who plans in a cell."""
    return Planner(cell, rng) if len(cell.task.arms) == 1 else Team(cell, rng)


def _together(controls: list[Float[np.ndarray, "_ nu"]]) -> Float[np.ndarray, "T nu"]:
    """Controls of different arms at once; who is there first waits, and then all hands act."""
    n = max(map(len, controls))
    result = np.full((n, controls[0].shape[1]), np.nan)
    for ctrl in controls:
        acts = _acts(ctrl)
        wait = np.repeat(ctrl[acts - 1 : acts], n - len(ctrl), 0)
        longer = np.concatenate([ctrl[:acts], wait, ctrl[acts:]])
        result = np.where(np.isnan(longer), result, longer)
    return result


def _acts(ctrl: Float[np.ndarray, "T nu"]) -> int:
    """How many steps the only arm that moves takes before its hand closes or opens."""
    hand = ctrl[:, ~np.isnan(ctrl[0])][:, -1]
    return len(ctrl) if (hand == hand[0]).all() else int(np.argmax(hand != hand[0]))
