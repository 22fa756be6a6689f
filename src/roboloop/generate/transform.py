"""The expert that carries source segments to the scene at hand, and plans what lies between."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from math import ceil

import numpy as np
from jaxtyping import Float

from roboloop import pose
from roboloop.cell import Cell
from roboloop.demo.goals import Unreachable
from roboloop.demo.joints import joint_goal, joint_values
from roboloop.demo.ways.arm import CARRY_LIFT, Arm
from roboloop.demo.ways.jointed import first, ways_along_joint
from roboloop.demo.ways.motion import LINEAR_SPEED, Motion
from roboloop.generate.segments import (
    Held,
    Segment,
    alike,
    half_turned,
    held_in_hand,
    is_round,
    reference_frame,
)
from roboloop.generate.select import Selection, Source, apart, ordered
from roboloop.sim import CONTROL_DT
from roboloop.task.spec import Stage

STRAY_NEAR, STRAY_FAR = (0.015, 0.07), (0.05, 0.25)
"""How far (m) aside of where a skill ends, and above it, the hand is led astray: half the time
near, half far."""
STRAY_TURN = (0.08, 0.08, 0.25)
"""Standard deviation of how the hand is then turned about its x, y and z axes, rad."""
STRAY_TRIES = 3
IN_PLACE = 0.05
"""What is carried to a skill that begins this near (m) is not lifted before."""
NOWHERE = range(0)
LIFT_STEPS = ceil(CARRY_LIFT / (LINEAR_SPEED * CONTROL_DT))
"""Steps by which a carried object is lifted, before any straying."""
NEARER = 0.001
"""How much nearer (m) an earlier step of a skill has to be for a path to be there still."""


@dataclass(frozen=True)
class Carrying:
    """How sources are chosen and varied."""

    selection: Selection = field(default_factory=Selection)
    stray: float = 0.0
    """Share of the transits on which the hand is first led astray."""
    offset: tuple[int, int] = (0, 0)
    """Fewest and most control steps that a grasp's segment goes on after its end."""


class Transformer:
    """The `Expert` that carries source segments to the scene at hand.

    Args:
        cell: Where to make a demonstration.
        sources: The stages' segments of every source episode, the best episode first.
        rng: Chooses sources, offsets, and where to stray.
        how: How sources are chosen and varied.
    """

    def __init__(
        self,
        cell: Cell,
        sources: Sequence[Source],
        rng: np.random.Generator,
        how: Carrying | None = None,
    ) -> None:
        self.cell, self.arm = cell, Arm(cell)
        self._rng, self._how = rng, how or Carrying()
        self._sources, self._turned = list(sources), False

    def plan(self, index: int, qpos: Float[np.ndarray, "nq"]) -> Motion:
        """Plan stage `index` from the state `qpos`; see `Expert`.

        Where the chosen segment is out of reach or not free, the others follow. The source that
        served one stage is the first choice for the next.
        """
        self.arm.update(qpos)
        T_world_ref = reference_frame(self.arm, self.cell.task.stages[index].reference)
        T_world_eef = self.arm.eef(qpos[self.cell.arm_qpos])
        selection = self._how.selection
        ranked = ordered(self._sources, index, T_world_ref, T_world_eef, selection, self._rng)
        n_after = int(self._rng.integers(*self._how.offset, endpoint=True))
        problem = ""
        for source in ranked:
            for turned in self._ways_to_hold(index, source, T_world_ref, T_world_eef):
                segment = (half_turned(source) if turned else source)[index]
                try:
                    motion = self._motion(index, segment, T_world_ref, qpos, n_after)
                except Unreachable as error:
                    problem = problem or error.problem
                    continue
                self._sources.sort(key=lambda other: other is not source)
                self._turned = turned
                return motion
        raise Unreachable(problem or "no source segment")

    def _ways_to_hold(
        self, index: int, source: Source, T_world_ref: np.ndarray, T_world_eef: np.ndarray
    ) -> tuple[bool, ...]:
        """Whether the hand is turned by half a turn: what is nearer to it first.

        What is held, or was just let go of, stays in the hand as it is.
        """
        if not self.cell.robot.turns_freely:
            return (False,)
        stage = self.cell.task.stages[index]
        if not (stage.grasp or stage.push):
            return (self._turned,)
        T_end = T_world_ref @ source[index].Ts_ref_eef[-1]
        turn = np.linalg.norm(pose.matrix_to_rotvec(T_world_eef[:3, :3].T @ T_end[:3, :3]))
        return (False, True) if turn <= np.pi / 2 else (True, False)

    def _motion(
        self,
        index: int,
        segment: Segment,
        T_world_ref: np.ndarray,
        qpos: np.ndarray,
        n_after: int,
    ) -> Motion:
        """Plan a stage after a segment; with a grasp, so many steps on."""
        arm, robot, stage = self.arm, self.cell.robot, self.cell.task.stages[index]
        path, Ts_skill, astray = self._path(index, segment, T_world_ref, qpos)
        opening = aligned(arm.eefs(path), Ts_skill, segment.opening)
        Ts_after = T_world_ref @ self._resized(segment, stage, segment.after[:n_after])
        if len(Ts_after):
            assert stage.grasp
            held = self.cell.frame_body(stage.grasp)
            there, hand = arm.moved(qpos, path[-1]), arm.eef(path[-1])[None]
            on = arm.travel(there, hand, Ts_after, held=held, search=False)
            path = np.concatenate([path, on])
            opening = np.concatenate([opening, np.repeat(opening[-1:], len(on))])
        gripper = robot.gripper_closed + opening * (robot.gripper_open - robot.gripper_closed)
        return Motion(np.column_stack([path, gripper]), astray)

    def _path(
        self, index: int, segment: Segment, T_world_ref: np.ndarray, qpos: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, range]:
        """Return the arm's path in a stage, the skill it ends with, and which steps lead astray."""
        arm, cell = self.arm, self.cell
        stage, held = cell.task.stages[index], cell.task.held(index)
        if stage.grasp:
            Ts = T_world_ref @ self._resized(segment, stage, segment.Ts_ref_eef)
            path, astray = self._transit(qpos, Ts, touched=cell.frame_body(stage.grasp))
            self._check_joint(index, arm.moved(qpos, path[-1]))
            return path, Ts, astray
        if stage.push:
            closed = cell.with_hand(qpos, cell.robot.gripper_closed)
            Ts = self._pushing(stage, segment, T_world_ref, qpos)
            path, astray = self._transit(closed, Ts[:1], lift=True)
            # what is pushed, and things in it, go along, but not for who checks for collisions
            return np.concatenate([path, arm.follow(Ts[1:], path[-1])]), Ts, astray
        if segment.held is not None:
            arm.update(qpos)
            hand = arm.eef(qpos[cell.arm_qpos])
            now = held_in_hand(arm, held, hand)
            assert now is not None
            keep = cell.robot.turns_freely and not is_round(cell, str(held))
            R_eef_body = alike(cell, str(held), now.R_eef_body, segment.held.R_eef_body)
            now = replace(now, R_eef_body=R_eef_body)
            Ts = _placed(T_world_ref @ segment.Ts_ref_eef, segment.held, now, keep)
            body = cell.frame_body(str(held))
            if np.linalg.norm(Ts[0, :3, 3] - hand[:3, 3]) < IN_PLACE:  # where it was lined up
                return arm.travel(qpos, hand[None], Ts, held=body, search=False), Ts, NOWHERE
            path, astray = self._transit(qpos, Ts, held=body)
            return path, Ts, astray
        if segment.joint is not None:
            arm.update(qpos)
            address, goal = joint_goal(arm, stage)
            values = ending_at(segment.joint, qpos[address], goal)
            body = cell.frame_body(str(held))
            path = first(ways_along_joint(arm, qpos, address, values, body))
            return path, arm.eefs(path)[-len(segment.opening) :], NOWHERE
        q = qpos[cell.arm_qpos]
        way = arm.eef(q) @ pose.inverse(segment.Ts_ref_eef[0]) @ segment.Ts_ref_eef
        return arm.follow(way, q), way, NOWHERE

    def _check_joint(self, index: int, qpos: np.ndarray) -> None:
        """Check that the arm can go on to move the joint whose handle it takes in stage `index`.

        Raises:
            Unreachable: It cannot: it would have to hold the handle otherwise.
        """
        arm, stages = self.arm, self.cell.task.stages[index : index + 2]
        handle = str(stages[0].grasp)
        if self.cell.is_jointed(handle) and len(stages) == 2:
            arm.update(qpos)
            address, values = joint_values(arm, stages[1], qpos)
            first(ways_along_joint(arm, qpos, address, values, self.cell.frame_body(handle)))

    def _pushing(
        self, stage: Stage, segment: Segment, T_world_ref: np.ndarray, qpos: np.ndarray
    ) -> Float[np.ndarray, "S 4 4"]:
        """The hand's way when it pushes a joint from where it is now to where it has to be."""
        arm, joint = self.arm, segment.joint
        assert joint is not None and stage.push is not None
        arm.update(qpos)
        address, goal = joint_goal(arm, stage)
        now, body = qpos[address], arm.cell.frame_body(stage.push)
        as_then = now + joint - joint[0]
        pairs = zip(as_then, ending_at(joint, now, goal), strict=True)
        Ts_moved = [
            arm.body_pose_at(qpos, address, value, body)
            @ pose.inverse(arm.body_pose_at(qpos, address, then, body))
            for then, value in pairs
        ]
        return np.stack(Ts_moved) @ T_world_ref @ segment.Ts_ref_eef

    def _transit(
        self,
        qpos: np.ndarray,
        after: np.ndarray,
        touched: int | None = None,
        held: int | None = None,
        lift: bool = False,
    ) -> tuple[np.ndarray, range]:
        """Travel to where `after` begins, with or without straying; see `Arm.travel`.

        What is held is lifted first, and the hand where it has to leave a place with walls.

        Not through joint space: another source whose way is usual looks more like the others.
        """
        arm = self.arm
        direct = self._reach_out(qpos, after, touched, held, lift)
        n_tries = STRAY_TRIES if self._rng.uniform() < self._how.stray else 0
        for _ in range(n_tries):
            aside = self._aside(after[-1])[None]
            if not arm.reach(aside, qpos[self.cell.arm_qpos])[1].all():
                continue
            try:
                first = self._reach_out(qpos, aside, None, held, lift)
                there = arm.moved(qpos, first[-1], held)
                hand = arm.eef(first[-1])[None]
                then = arm.travel(there, hand, after, touched, held, search=False)
            except Unreachable:
                continue
            n_lift = LIFT_STEPS if held is not None else 0
            return np.concatenate([first, then]), range(n_lift, len(first))
        return direct, NOWHERE

    def _reach_out(
        self,
        qpos: np.ndarray,
        after: np.ndarray,
        touched: int | None,
        held: int | None,
        lift: bool,
    ) -> np.ndarray:
        if lift:
            return self.arm.carry(qpos, after, held, search=False)
        return self.arm.reach_out(qpos, after, touched, held, search=False)

    def _aside(self, T_world_eef: Float[np.ndarray, "4 4"]) -> Float[np.ndarray, "4 4"]:
        """Draw a place of the hand beside and above another one."""
        rng, limits = self._rng, STRAY_NEAR if self._rng.uniform() < 0.5 else STRAY_FAR
        angle, (shift, height) = rng.uniform(0, 2 * np.pi), rng.uniform(*limits, 2)
        offset = np.array([shift * np.cos(angle), shift * np.sin(angle), height])
        R = pose.rotvec_to_matrix(rng.normal(0, STRAY_TURN))
        return pose.from_parts(T_world_eef[:3, 3] + offset, T_world_eef[:3, :3] @ R)

    def _resized(self, segment: Segment, stage: Stage, Ts_ref_eef: np.ndarray) -> np.ndarray:
        """Poses moved to where the skill's last point lies on an object of another size."""
        Ts = Ts_ref_eef.copy()
        if "." not in stage.reference:
            name = self.cell.task.roles[stage.reference]
            ratio = np.array(self.cell.graph.object(name).size) / segment.size
            Ts[:, :3, 3] += segment.Ts_ref_eef[-1, :3, 3] * (ratio - 1)
        return Ts


def aligned(
    Ts_path: Float[np.ndarray, "T 4 4"],
    Ts_skill: Float[np.ndarray, "S 4 4"],
    opening: Float[np.ndarray, "S"],
) -> Float[np.ndarray, "T"]:
    """What a skill's gripper does at each step of a path that ends with it.

    Where the path was slowed for a joint, the gripper waits with it: it acts where the hand is
    where it was in the skill.
    """
    step, result = len(Ts_skill) - 1, np.empty(len(Ts_path))
    distance = apart(Ts_path[:, None], Ts_skill)
    for t in range(len(Ts_path) - 1, -1, -1):
        result[t] = opening[step]
        if step and t:
            step -= distance[t - 1, step] > distance[t - 1, step - 1] - NEARER
    return result


def ending_at(joint: Float[np.ndarray, "S"], start: float, goal: float) -> Float[np.ndarray, "S"]:
    """The way of a source's joint, stretched to go from where it is now to where it has to be.

    The source's arm lagged behind what it was told, and its joint fell short.
    """
    share = (joint - joint[0]) / (joint[-1] - joint[0])
    return start + share * (goal - start)


def rank(cells: Sequence[Cell], sources: Sequence[Source]) -> list[int]:
    """Order sources by in how many cells their first two stages can be planned, most first.

    When all demonstrations follow one source that fits everywhere, they look alike, and a policy
    need not learn to choose.
    """
    n_fits = [sum(_fits(cell, source) for cell in cells) for source in sources]
    return sorted(range(len(sources)), key=lambda i: -n_fits[i])


def _fits(cell: Cell, source: Source) -> bool:
    """Whether a source's first two stages can be planned in a cell."""
    expert = Transformer(cell, [source], np.random.default_rng(0))
    try:
        q = expert.plan(0, cell.home_qpos).ctrl[-1, :-1]
        expert.plan(1, expert.arm.moved(cell.home_qpos, q))
    except Unreachable:
        return False
    return True


def _placed(
    Ts_world_eef: np.ndarray, held: Held, now: Held, keep_turned: bool
) -> Float[np.ndarray, "S 4 4"]:
    """Move the hand so that what it holds now goes where the source's object went.

    Args:
        Ts_world_eef: The source's hand.
        held: What it held, in the hand.
        now: What the hand holds now.
        keep_turned: Whether it is also turned as the source's object was.
    """
    Ts = Ts_world_eef.copy()
    if keep_turned:
        Ts[:, :3, :3] = Ts_world_eef[:, :3, :3] @ held.R_eef_body @ now.R_eef_body.T
    p = Ts_world_eef[:, :3, :3] @ held.p_eef_bottom - Ts[:, :3, :3] @ now.p_eef_bottom
    Ts[:, :3, 3] += p
    return Ts
