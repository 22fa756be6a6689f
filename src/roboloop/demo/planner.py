"""The planner: solves the stages of a task that one arm does, on the state that it is told.

It sees the simulator's state, or a tracker's estimate of it. Every stage is planned when the one
before has been executed, from where things really are; and planned again, warm, where they moved.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain, islice, product
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

from roboloop import pose
from roboloop.cell import Cell, set_free
from roboloop.demo.carrying import APPROACH, keeps, ways_to
from roboloop.demo.goals import Unreachable
from roboloop.demo.hand import can_close, left_at, letting_go, opened_for, taking
from roboloop.demo.joints import joint_values
from roboloop.demo.push import pushed
from roboloop.demo.rank import ranked_grasps, varied
from roboloop.demo.retreat import SOFT_REST_STEPS, retreat
from roboloop.demo.solver.reach import Reach, Weights, reach_of
from roboloop.demo.solver.solve import Solver, why_not
from roboloop.demo.ways.arm import Arm
from roboloop.demo.ways.jointed import first, ways_along_joint
from roboloop.demo.ways.motion import TAKING_SPEED, Motion, timed, waiting, with_gripper
from roboloop.task.constraints import parse
from roboloop.task.spec import BOTH, Stage

SUBGOAL = Weights(collision=50.0, margin=0.02, position=0.2, rotation=1.0, posture=0.05)
"""What counts at the end of a stage, besides its constraints."""
DROPS = (0.0, 0.5, 1.0)
"""Shares of a stage's `drop`, the lowest first."""
APPROACHES = APPROACH, 0.4 * APPROACH
"""Where a grasp is approached from, along its axis, m: the first from which any can be."""
PRESSED = 0.002
"""Grasps with which the hand would later be so much further in what has the handle, m, come last:
where an arm turns its hand as it moves, it jams."""
MAX_CHAINS = 12
"""Grasps whose whole way through the next stages is tried."""
MAX_SEARCHES, MAX_ENDS = 3, 3
"""Grasps to which a way is searched for where the usual ways fail; ends of a transfer to try."""


@dataclass(frozen=True)
class Hold:
    """How a thing is held, or would be, with the scene in a state."""

    what: str
    """The `role` or `role.keypoint` that the stage takes."""
    body: int
    """Its body."""
    T_body_eef: Float[np.ndarray, "4 4"]
    qpos: Float[np.ndarray, "nq"]
    q: Float[np.ndarray, "n"]
    """Where the arm is; in `qpos` it may be elsewhere."""


@runtime_checkable
class Expert(Protocol):
    """Makes demonstrations in one cell, stage by stage."""

    def plan(self, index: int, qpos: Float[np.ndarray, "nq"]) -> Motion:
        """Plan step `index` of the cell's task (see `Task.steps`) from the state `qpos`.

        Raises:
            Unreachable: It cannot be done from here; says why.
        """
        ...


class Planner:
    """The `Expert` that solves sub-goals from scratch, of one arm: here a step is a stage."""

    def __init__(self, cell: Cell, rng: np.random.Generator) -> None:
        self.cell, self._rng = cell, rng
        self.arm = Arm(cell)
        self._why: dict[str, str] = {}
        self._last: dict[int, np.ndarray] = {}
        """Stage -> grasp in the body's frame, or arm position, that was found last."""
        self._failed: dict[int, list[np.ndarray]] = {}
        """Stage -> grasps that missed."""
        self._left_at: dict[str, float] = {}
        """Name of a stage -> the gripper's target after what was held was let go of."""
        self._ahead: dict[str, np.ndarray] = {}
        """Name of a stage -> arm position that was found for its end when a grasp was chosen."""
        self._shares: dict[int, float] = {}
        """Stage -> share of its `drop` that was needed last."""

    @property
    def arms(self) -> dict[str, Arm]:
        """The arm that it plans for, by name."""
        return {self.cell.mount.name: self.arm}

    def drop(self, index: int) -> float:
        """How much higher than asked for (m) a stage was last planned to end."""
        return self._shares.get(index, 0.0) * self.cell.task.stages[index].drop

    def plan(self, index: int, qpos: Float[np.ndarray, "nq"], warm: bool = False) -> Motion:
        """Plan stage `index` from the state `qpos`; see `Expert`.

        With `warm`, what was decided the last time is kept, and fitted to where things are now.
        """
        stage, held = self.cell.task.stages[index], self.cell.task.held(index)
        robot = self.cell.robot
        if stage.grasp:
            opening = opened_for(self.cell, stage.grasp)
            path = self._grasp(index, stage.grasp, self.cell.with_hand(qpos, opening), warm)
            return Motion(taking(self.arm, stage.grasp, path))
        if stage.push:
            path = waiting(pushed(self.arm, stage, stage.push, qpos), stage.dwell)
            return Motion(with_gripper(path, robot.gripper_closed))
        if held:
            path = qpos[self.cell.arm_qpos][None]
            if stage.subgoal:
                path = self._transfer(index, held, qpos, warm)
            path = waiting(path, stage.dwell)
            then = np.zeros(0)
            if stage.release:
                then = letting_go(self.arm, held, qpos, path[-1])
                self._left_at[stage.name] = float(then[-1])
            return Motion(with_gripper(path, robot.gripper_closed, len(then), then))
        before = self._before(index)
        soft = before.release is not None and self.cell.is_soft(before.release)
        path, rest_steps = retreat(self.arm, stage, qpos, soft), SOFT_REST_STEPS if soft else 0
        opening = self._left_at.get(before.name, left_at(self.cell, before))
        return Motion(with_gripper(path, opening, rest_steps))

    def _before(self, index: int) -> Stage:
        """The stage that the arm did before stage `index`, or one that does nothing."""
        name = self.cell.mount.name
        own = [stage for stage in self.cell.task.stages[:index] if stage.arm in (name, BOTH)]
        return own[-1] if own else Stage("", "")

    def blame(self, index: int) -> None:
        """Do not take the last grasp of a stage again, in place: it missed."""
        if index in self._last:
            self._failed.setdefault(index, []).append(self._last.pop(index))

    # --- grasp

    def _grasp(self, index: int, what: str, qpos: np.ndarray, warm: bool) -> np.ndarray:
        """Path of the open hand to the best grasp that is reachable, free, and good later too."""
        body = self.cell.frame_body(what)
        q = qpos[self.cell.arm_qpos]
        self.arm.update(qpos)
        if warm and index in self._last:
            Ts_body_eef = self._last[index][None]
        else:
            Ts_body_eef = ranked_grasps(self.arm, what, self._rng, self._failed.get(index, ()))
        T_world_body = self.arm.body_pose(body)
        q_at, Ts_world_eef, good = self.arm.reach_grasps(T_world_body @ Ts_body_eef, q)
        Ts_body_eef = pose.inverse(T_world_body) @ Ts_world_eef
        Ts_before, from_there = Ts_world_eef, good
        for back in APPROACHES:
            Ts_before = Ts_world_eef @ pose.from_parts(np.array([0.0, 0.0, -back]), np.eye(3))
            from_there = good & self.arm.reach(Ts_before, q_at)[1]
            if from_there.any():
                break
        good = from_there
        # the open hand has to fit around what it takes; the tips may touch what a handle is on
        touched = None if self.cell.is_free(what) else body
        good[good] = list(self.arm.clear(qpos, q_at[good], touched))
        if not self.cell.is_soft(what):  # what is pressed on to the table
            good[good] = can_close(self.arm, qpos, q_at[good], body)
        if not good.any():
            raise Unreachable("no grasp within reach and free of collision")
        problem = ""
        ids = map(int, np.flatnonzero(good))
        holds = {k: Hold(what, body, Ts_body_eef[k], qpos, q_at[k]) for k in ids}
        for k, search in self._tries(index, holds, warm):
            approach = timed(np.stack([Ts_before[k], Ts_world_eef[k]]), TAKING_SPEED)
            after = np.concatenate([Ts_before[k : k + 1], approach])
            try:
                path = self.arm.travel(
                    qpos, self.arm.eef(q)[None], after, touched=body, search=search
                )
            except Unreachable as error:
                problem = f"no way to the grasp: {error.problem}"
                continue
            self._last[index] = Ts_body_eef[k]
            return path
        raise Unreachable(problem)

    def _tries(
        self, index: int, holds: Mapping[int, Hold], warm: bool
    ) -> Iterator[tuple[int, bool]]:
        """Grasps that allow the next stages, and whether to search for a way to them.

        Those with which the hand would jam come after the others (see `PRESSED`), and the usual
        ways to all of them before a search for a way to any.

        Raises:
            Unreachable: None does.
        """
        problem, usable, pressing = "", list[int](), dict[int, float]()
        stages = self.cell.task.stages[index + 1 :]
        chosen = varied(np.array([hold.T_body_eef for hold in holds.values()]), MAX_CHAINS)
        tries = product(_shares(*stages), np.array([*holds])[chosen])
        for share, k in ((share, k) for share, k in tries if k not in (*usable, *pressing)):
            presses = 0.0
            try:
                if not warm:
                    dropping = [_dropping(stage, share) for stage in stages]
                    presses = self._check_next(dropping, holds[k])
            except Unreachable as error:
                problem = problem or f"no grasp allows the next sub-goal: {error.problem}"
                continue
            if presses > PRESSED:
                pressing[k] = presses
                continue
            usable.append(k)
            yield k, False
        for k in sorted(pressing, key=lambda k: pressing[k]):
            usable.append(k)
            yield k, False
        if not usable:
            raise Unreachable(problem)
        yield from ((k, True) for k in usable[: 0 if warm else MAX_SEARCHES])

    def _check_next(self, stages: Sequence[Stage], hold: Hold) -> float:
        """Check that the arm can end the next stages with a grasp, until it lets go.

        Returns:
            How far the hand would press on what has the handle that it holds, m; see `_can_end`.

        Raises:
            Unreachable: It cannot; says why.
        """
        presses = 0.0
        for stage in stages:
            if stage.arm not in (self.cell.mount.name, BOTH):
                continue
            if stage.subgoal:
                q, each = self._can_end(stage, hold)
                hold, presses = replace(hold, q=q), max(presses, each)
                self._ahead[stage.name] = hold.q
            if stage.release:
                break
        return presses

    def _can_end(self, stage: Stage, hold: Hold) -> tuple[Float[np.ndarray, "n"], float]:
        """An arm position at which a stage can end without a collision.

        Also how much further the hand would then be in what has the handle that it holds, m: where
        an arm turns its hand as it moves, that jams.
        """
        state = hold.qpos.copy()
        if self.cell.is_jointed(hold.what):
            address, values = joint_values(self.arm, stage, hold.qpos)
            state[address] = values[-1]
            start = self.arm.moved(hold.qpos, hold.q)
            for path in ways_along_joint(self.arm, start, address, values, hold.body):
                state[self.cell.arm_qpos] = path[-1]
                if all(self.arm.clear_states(state[None], touched=hold.body)):
                    before, after = self.arm.off_handle(np.stack([start, state]), hold.what)
                    return path[-1], min(before, 0.0) - after
            raise Unreachable("the arm cannot follow the joint")
        there = next(self._subgoals(stage, hold)[1], None)
        if there is None:
            raise Unreachable("the arm is in the way")
        return there, 0.0

    def _subgoals(
        self, stage: Stage, hold: Hold, warm: Float[np.ndarray, "n"] | None = None
    ) -> tuple[Reach, Iterator[Float[np.ndarray, "n"]]]:
        """Arm positions at which a held object meets a stage's sub-goal, the cheapest first.

        Those with a collision are left out. All of the stage's `drop` is made use of; see
        `_dropping`.

        Raises:
            Unreachable: There is none; says which constraint fails, and by how much.
        """
        constraints = tuple(parse(text) for text in (*stage.subgoal, *stage.path))
        moves = hold.what.partition(".")[0] if self.cell.is_free(hold.what) else hold.what
        T_eef_body = pose.inverse(hold.T_body_eef)
        reach = reach_of(self.cell, hold.qpos, hold.q, hold.body, T_eef_body, moves)
        reach = replace(reach, values=reach.values.raised(stage.reference, stage.drop))
        answers = Solver(reach, constraints, SUBGOAL).subgoals(self._rng, warm)
        if warm is not None and answers[0].problem:
            answers = Solver(reach, constraints, SUBGOAL).subgoals(self._rng)
        if all(answer.problem for answer in answers):
            if stage.name not in self._why:  # takes many solutions: once is enough
                self._why[stage.name] = why_not(reach, constraints, SUBGOAL, self._rng)
            raise Unreachable(self._why[stage.name] or answers[0].problem)
        good = (answer.q[0] for answer in answers if not answer.problem)
        return reach, filter(partial(self._is_free, hold), good)

    def _is_free(self, hold: Hold, there: Float[np.ndarray, "n"]) -> bool:
        """Whether an arm position is free of collision, with what is held."""
        state = hold.qpos.copy()
        state[self.cell.arm_qpos] = there
        if hold.body in self.cell.free_bodies:
            T_world_body = self.arm.eef(there) @ pose.inverse(hold.T_body_eef)
            set_free(state[None], self.cell.model, hold.body, T_world_body)
        inside = self.cell.contents(hold.body, hold.qpos)
        return all(self.arm.clear_states(state[None], held=hold.body, inside=inside))

    def ends(
        self,
        index: int,
        qpos: Float[np.ndarray, "nq"],
        body: int,
        T_body_eef: Float[np.ndarray, "4 4"],
        n: int,
    ) -> Iterator[Float[np.ndarray, "n"]]:
        """At most `n` arm positions at which what is held meets the sub-goal of stage `index`.

        Raises:
            Unreachable: There is none; says why.
        """
        what = str(self.cell.task.held(index))
        hold = Hold(what, body, T_body_eef, qpos, qpos[self.cell.arm_qpos])
        return islice(self._subgoals(self.cell.task.stages[index], hold)[1], n)

    def _as_ahead(self, stage: Stage, hold: Hold) -> Iterator[Float[np.ndarray, "n"]]:
        """The sub-goal that was found when the grasp was chosen, fitted to where things are now.

        Searches that start anywhere may miss it where there is little room.
        """
        yield from self._subgoals(stage, hold, self._ahead[stage.name])[1]

    # --- moving what is held

    def _transfer(self, index: int, held: str, qpos: np.ndarray, warm: bool) -> np.ndarray:
        """Path on which what is held gets to the stage's sub-goal."""
        stage, body = self.cell.task.stages[index], self.cell.frame_body(held)
        self.arm.update(qpos)
        if self.cell.is_jointed(held):
            address, values = joint_values(self.arm, stage, qpos)
            return first(ways_along_joint(self.arm, qpos, address, values, body))
        problem = ""
        shares = (self._shares.get(index, 0.0),) if warm else _shares(stage)
        for share in shares:
            try:
                path = self._carry(
                    index, _dropping(stage, share), held, qpos, warm, share == shares[-1]
                )
            except Unreachable as error:
                problem = problem or error.problem
                continue
            self._shares[index] = share
            return path
        raise Unreachable(problem)

    def _carry(
        self, index: int, stage: Stage, held: str, qpos: np.ndarray, warm: bool, search: bool
    ) -> np.ndarray:
        """Path on which a held free object gets to a sub-goal; see `_subgoals`."""
        q, body = qpos[self.cell.arm_qpos], self.cell.frame_body(held)
        self.arm.update(qpos)
        T_body_eef = pose.inverse(self.arm.body_pose(body)) @ self.arm.eef(q)
        hold = Hold(held, body, T_body_eef, qpos, q)
        reach, answers = self._subgoals(stage, hold, self._last.get(index) if warm else None)
        if stage.name in self._ahead and not warm:
            answers = chain(answers, self._as_ahead(stage, hold))
        allowed = partial(keeps, self.arm, [parse(text) for text in stage.path], reach, q)
        problem = "the arm is in the way"
        for there in islice(answers, 1 if warm else MAX_ENDS):
            rigid = body if self.cell.is_free(held) else None
            search = search and not warm
            for way in ways_to(self.arm, stage, reach, qpos, there, rigid, allowed, search):
                try:
                    path = way()
                except Unreachable as error:
                    problem = error.problem
                    continue
                self._last[index] = there
                return path
        raise Unreachable(f"no way to the sub-goal: {problem}")


def _shares(*stages: Stage) -> tuple[float, ...]:
    return DROPS if any(stage.drop for stage in stages) else DROPS[:1]


def _dropping(stage: Stage, share: float) -> Stage:
    """A stage that is to end higher, by that share of its `drop`."""
    return replace(stage, drop=share * stage.drop)
