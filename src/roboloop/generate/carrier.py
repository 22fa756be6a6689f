"""One arm carries a source segment to the scene at hand, and plans the way to it."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import ceil

import numpy as np
from jaxtyping import Float, Int

from roboloop import pose
from roboloop.cell import Cell
from roboloop.demo.goals import NO_ROOM, NoPlace, Unreachable
from roboloop.demo.hand import can_close
from roboloop.demo.joints import joint_goal, joint_values
from roboloop.demo.ways.arm import CARRY_LIFT, Arm
from roboloop.demo.ways.jointed import first, ways_along_joint
from roboloop.demo.ways.motion import LINEAR_SPEED, Motion
from roboloop.generate.frames import Held, held_in_hand, is_round, like_turns, reference_frame
from roboloop.generate.segments import Segment, half_turned
from roboloop.generate.select import apart
from roboloop.generate.stray import aside_of, wavering
from roboloop.sim import CONTROL_DT
from roboloop.task.spec import Stage

STRAY_TRIES = 3
IN_PLACE = 0.05
"""What is carried to a skill that begins this near (m) is not lifted before."""
NOWHERE = range(0)
BACK = (0.0, 0.002, 0.004, 0.006)
"""How much less deep (m) than the source's hand another one may take something."""
LIFT_STEPS = ceil(CARRY_LIFT / (LINEAR_SPEED * CONTROL_DT))
"""Steps by which a carried object is lifted, before any straying."""
N_WAYS = 4
"""Of the like ways to carry a segment, how many are tried."""
NEARER = 0.001
"""How much nearer (m) an earlier step of a skill has to be for a path to be there still."""


@dataclass(frozen=True)
class _Way:
    """A segment as it may be carried to the scene at hand."""

    segment: Segment
    T_world_ref: Float[np.ndarray, "4 4"]
    Ts_world_eef: Float[np.ndarray, "S 4 4"]
    """Where the hand goes in the skill."""
    turned: bool
    """Whether the hand is turned by half a turn."""


class Carrier:
    """Carries segments with one arm of a cell.

    Args:
        cell: Where, as seen from the arm.
        rng: Chooses where to stray.
        stray: Share of the transits on which the hand is first led astray, and of the skills that
            begin aside.
    """

    def __init__(self, cell: Cell, rng: np.random.Generator, stray: float) -> None:
        self.cell, self.arm = cell, Arm(cell)
        self._rng, self._stray = rng, stray
        self.turned = False
        """Whether the hand is turned by half a turn against the source's since its last grasp."""

    def carry(
        self,
        index: int,
        segment: Segment,
        qpos: Float[np.ndarray, "nq"],
        n_after: int,
        search: bool = False,
    ) -> tuple[Motion, bool]:
        """Plan a stage after a segment.

        Args:
            index: The stage.
            segment: What the source did in it.
            qpos: The state to start from.
            n_after: With a grasp, how many control steps to go on after it.
            search: Whether to look for a way there in joint space.

        Returns:
            The arm's controls, and whether its hand is turned by half a turn against the source's.

        Raises:
            NoPlace: No place where it would end is within reach and free.
            Unreachable: No way there is.
        """
        failed = list[Unreachable]()
        for way in self._ways(index, segment, qpos):
            try:
                return self._motion(index, way, qpos, n_after, search), way.turned
            except Unreachable as error:
                failed.append(error)
        raise min(failed, key=lambda error: isinstance(error, NoPlace))

    def reference(self, index: int, qpos: Float[np.ndarray, "nq"]) -> Float[np.ndarray, "4 4"]:
        """Where the reference frame of a stage is in the state `qpos`, which the arm then holds."""
        self.arm.update(qpos)
        reference = self.cell.task.stages[index].reference
        return reference_frame(self.arm, reference, self.cell.mount.T_world_base)

    def _ways(self, index: int, segment: Segment, qpos: np.ndarray) -> Iterator["_Way"]:
        """How a segment may be carried here, the best ways first.

        What looks the same from several sides may be met, and held, from each of them, and a hand
        of two like fingers be turned by half a turn. That way is best at whose end the hand is
        turned least from home: where things lie alike, all demonstrations then turn alike, and no
        two of them turn to opposite sides.
        """
        cell, stage = self.cell, self.cell.task.stages[index]
        half = (False, True) if cell.robot.turns_freely else (False,)
        if not (stage.grasp or stage.push):  # what is held, or was just let go of, stays in hand
            half = (self.turned,)
        T_world_ref = self.reference(index, qpos)
        T_world_eef, T_home = self.arm.eefs(np.stack([qpos[cell.arm_qpos], cell.mount.home]))
        now = None
        if segment.held is not None and stage.subgoal:
            now = held_in_hand(self.arm, cell.task.held(index), T_world_eef)
        segments = [half_turned(segment) if turned else segment for turned in half]
        turns = [self._turns(index, each.held, now) for each in segments]
        Rs_ref = T_world_ref[:3, :3] @ like_turns(cell, stage.reference)
        Rs_end = np.stack(
            [
                Rs_ref[:, None] @ each.Ts_ref_eef[-1, :3, :3] @ Rs
                for each, Rs in zip(segments, turns, strict=True)
            ]
        )
        unlike = -np.sum(Rs_end * T_home[:3, :3], axis=(-2, -1))
        best = np.argsort(np.round(unlike, 6), axis=None, kind="stable")[:N_WAYS]
        for h, side, turn in zip(*np.unravel_index(best, unlike.shape), strict=True):
            T_ref, held = pose.from_parts(T_world_ref[:3, 3], Rs_ref[side]), segments[h].held
            if now is None or held is None:
                Ts = T_ref @ self._resized(segments[h], stage, segments[h].Ts_ref_eef)
            else:
                Ts = T_ref @ segments[h].Ts_ref_eef
                Ts = _placed(Ts, held, now, Ts[:, :3, :3] @ turns[h][turn])
            yield _Way(segments[h], T_ref, Ts, half[h])

    def _turns(self, index: int, held: Held | None, now: Held | None) -> Float[np.ndarray, "K 3 3"]:
        """How the hand may be turned against the source's, for each like side of what it holds."""
        role = str(self.cell.task.held(index))
        free = self.cell.robot.turns_freely
        if held is None or now is None or not free or is_round(self.cell, role):
            return np.eye(3)[None]
        Rs_eef_body = now.R_eef_body @ like_turns(self.cell, role)
        return held.R_eef_body @ Rs_eef_body.transpose(0, 2, 1)

    def _motion(
        self, index: int, way: "_Way", qpos: np.ndarray, n_after: int, search: bool
    ) -> Motion:
        """Plan a stage after a segment; with a grasp, so many steps on."""
        arm, robot, stage = self.arm, self.cell.robot, self.cell.task.stages[index]
        if stage.grasp:  # the hand opens on its way: it may have let go of something narrow
            qpos = self.cell.with_hand(qpos, float(robot.gripper_at(way.segment.opening[0])))
        if stage.grasp and not self.cell.is_soft(stage.grasp):
            way = self._fitted(stage.grasp, way, qpos)
        path, Ts_skill, astray = self._wavering_path(index, way, qpos, search)
        opening = way.segment.opening[aligned(arm.eefs(path), Ts_skill)]
        after = self._resized(way.segment, stage, way.segment.after[:n_after])
        if len(after):
            assert stage.grasp
            held = self.cell.frame_body(stage.grasp)
            there, hand = arm.moved(qpos, path[-1]), arm.eef(path[-1])[None]
            on = arm.travel(there, hand, way.T_world_ref @ after, held=held, search=False)
            path = np.concatenate([path, on])
            opening = np.concatenate([opening, np.repeat(opening[-1:], len(on))])
        return Motion(np.column_stack([path, robot.gripper_at(opening)]), astray)

    def _fitted(self, what: str, way: "_Way", qpos: np.ndarray) -> "_Way":
        """A grasp, further back by what this hand needs: its fingers may be longer.

        Raises:
            NoPlace: It does not fit around what the source's hand took.
        """
        arm, taken = self.arm, self.cell.frame_body(what)
        touched = None if self.cell.is_free(what) else taken
        for back in BACK:
            T = pose.from_parts(np.array([0.0, 0.0, -back]), np.eye(3))
            segment = replace(way.segment, after=way.segment.after @ T)
            moved = replace(way, segment=segment, Ts_world_eef=way.Ts_world_eef @ T)
            q = arm.reach(moved.Ts_world_eef[-1:], qpos[self.cell.arm_qpos])[0].q
            if all(arm.clear(qpos, q, touched)) and all(can_close(arm, qpos, q, taken)):
                return moved
        raise NoPlace("this hand does not fit around it")

    def _wavering_path(
        self, index: int, way: "_Way", qpos: np.ndarray, search: bool
    ) -> tuple[np.ndarray, np.ndarray, range]:
        """As `_path`; some skills that take or place something begin aside and turned.

        Who has only ever seen a hand in line with what it takes does not learn to see when it is
        not.
        """
        stage = self.cell.task.stages[index]
        places = way.segment.held is not None and stage.subgoal
        if (stage.grasp or places) and not search and self._rng.uniform() < self._stray:
            aside = replace(way, Ts_world_eef=wavering(way.Ts_world_eef, self._rng))
            try:
                return self._path(index, aside, qpos, search)
            except Unreachable:
                pass
        return self._path(index, way, qpos, search)

    def _path(
        self, index: int, way: "_Way", qpos: np.ndarray, search: bool
    ) -> tuple[np.ndarray, np.ndarray, range]:
        """Return the arm's path in a stage, the skill it ends with, and which steps lead astray."""
        arm, cell, segment, Ts = self.arm, self.cell, way.segment, way.Ts_world_eef
        stage, held = cell.task.stages[index], cell.task.held(index)
        if stage.grasp:
            path, astray = self._transit(qpos, Ts, search, touched=cell.frame_body(stage.grasp))
            self._check_joint(index, arm.moved(qpos, path[-1]))
            return path, Ts, astray
        if stage.push:
            closed = cell.with_hand(qpos, cell.robot.gripper_closed)
            Ts = self._pushing(stage, segment, way.T_world_ref, qpos)
            path, astray = self._transit(closed, Ts[:1], search, lift=True)
            # what is pushed, and things in it, go along, but not for who checks for collisions
            return np.concatenate([path, arm.follow(Ts[1:], path[-1])]), Ts, astray
        if segment.held is not None and stage.subgoal:
            body, hand = cell.frame_body(str(held)), arm.eef(qpos[cell.arm_qpos])
            if np.linalg.norm(Ts[0, :3, 3] - hand[:3, 3]) < IN_PLACE:  # where it was lined up
                return arm.travel(qpos, hand[None], Ts, held=body, search=False), Ts, NOWHERE
            path, astray = self._transit(qpos, Ts, search, held=body)
            return path, Ts, astray
        if segment.joint is not None:
            arm.update(qpos)
            address, goal = joint_goal(arm, stage)
            values = ending_at(segment.joint, qpos[address], goal)
            body = cell.frame_body(str(held))
            path = first(ways_along_joint(arm, qpos, address, values, body))
            return path, arm.eefs(path)[-len(segment.opening) :], NOWHERE
        q = qpos[cell.arm_qpos]
        if held and stage.subgoal:
            Ts = starting_at(way.T_world_ref @ segment.Ts_ref_eef, arm.eef(q)[:3, 3])
        else:
            Ts = arm.eef(q) @ pose.inverse(segment.Ts_ref_eef[0]) @ segment.Ts_ref_eef
        return arm.follow(Ts, q), Ts, NOWHERE

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
        search: bool,
        touched: int | None = None,
        held: int | None = None,
        lift: bool = False,
    ) -> tuple[np.ndarray, range]:
        """Travel to where `after` begins, with or without straying; see `Arm.travel`.

        What is held is lifted first, and the hand where it has to leave a place with walls.
        """
        if self._rng.uniform() < self._stray and not search:
            ik, met = self.arm.reach(after[-1:], qpos[self.cell.arm_qpos])
            if met.all() and not self.arm.has_room(qpos, ik.q[0], touched, held):
                raise NoPlace(NO_ROOM)
            for _ in range(STRAY_TRIES if met.all() else 0):
                found = self._astray(qpos, after, touched, held, lift)
                if found is not None:
                    return found
        return self._reach_out(qpos, after, search, touched, held, lift), NOWHERE

    def _astray(
        self,
        qpos: np.ndarray,
        after: np.ndarray,
        touched: int | None,
        held: int | None,
        lift: bool,
    ) -> tuple[np.ndarray, range] | None:
        """Draw a place aside and travel by it; None where that is not reachable or not free."""
        arm, aside = self.arm, aside_of(after[-1], self._rng)[None]
        if not arm.reach(aside, qpos[self.cell.arm_qpos])[1].all():
            return None
        try:
            first = self._reach_out(qpos, aside, False, None, held, lift)
            there, hand = arm.moved(qpos, first[-1], held), arm.eef(first[-1])[None]
            then = arm.travel(there, hand, after, touched, held, search=False)
        except Unreachable:
            return None
        n_lift = LIFT_STEPS if held is not None else 0
        return np.concatenate([first, then]), range(n_lift, len(first))

    def _reach_out(
        self,
        qpos: np.ndarray,
        after: np.ndarray,
        search: bool,
        touched: int | None,
        held: int | None,
        lift: bool,
    ) -> np.ndarray:
        if lift:
            return self.arm.carry(qpos, after, held, search=search)
        return self.arm.reach_out(qpos, after, touched, held, search=search)

    def _resized(self, segment: Segment, stage: Stage, Ts_ref_eef: np.ndarray) -> np.ndarray:
        """Poses moved to where the skill's last point lies on an object of another size."""
        Ts = Ts_ref_eef.copy()
        if "." not in stage.reference:
            name = self.cell.task.roles[stage.reference]
            ratio = np.array(self.cell.graph.object(name).size) / segment.size
            Ts[:, :3, 3] += segment.Ts_ref_eef[-1, :3, 3] * (ratio - 1)
        return Ts


def aligned(
    Ts_path: Float[np.ndarray, "T 4 4"], Ts_skill: Float[np.ndarray, "S 4 4"]
) -> Int[np.ndarray, "T"]:
    """Which step of a skill each step of a path is at that ends with the skill.

    Where the path was slowed for a joint, grippers wait with it: they act where the hand is where
    it was in the skill.
    """
    step, result = len(Ts_skill) - 1, np.empty(len(Ts_path), int)
    distance = apart(Ts_path[:, None], Ts_skill)
    for t in range(len(Ts_path) - 1, -1, -1):
        result[t] = step
        if step and t:
            step -= distance[t - 1, step] > distance[t - 1, step - 1] - NEARER
    return result


def ending_at(joint: Float[np.ndarray, "S"], start: float, goal: float) -> Float[np.ndarray, "S"]:
    """The way of a source's joint, stretched to go from where it is now to where it has to be.

    The source's arm lagged behind what it was told, and its joint fell short.
    """
    share = (joint - joint[0]) / (joint[-1] - joint[0])
    return start + share * (goal - start)


def starting_at(
    Ts: Float[np.ndarray, "S 4 4"], p: Float[np.ndarray, "3"]
) -> Float[np.ndarray, "S 4 4"]:
    """A way of the hand, moved to begin at `p` (m) and, more and more, back to where it ends."""
    length = np.linalg.norm(np.diff(Ts[:, :3, 3], axis=0, prepend=Ts[:1, :3, 3]), axis=1).cumsum()
    left = 1 - length / max(length[-1], 1e-9)
    result = Ts.copy()
    result[:, :3, 3] += left[:, None] * (p - Ts[0, :3, 3])
    return result


def _placed(
    Ts_world_eef: Float[np.ndarray, "S 4 4"],
    held: Held,
    now: Held,
    Rs_world_eef: Float[np.ndarray, "S 3 3"],
) -> Float[np.ndarray, "S 4 4"]:
    """Move the hand so that the bottom of what it holds now goes where the source's object's went.

    Args:
        Ts_world_eef: The source's hand.
        held: What it held, in the hand.
        now: What the hand holds now.
        Rs_world_eef: How the hand is turned now.
    """
    p = Ts_world_eef[:, :3, :3] @ held.p_eef_bottom - Rs_world_eef @ now.p_eef_bottom
    return pose.from_parts(Ts_world_eef[:, :3, 3] + p, Rs_world_eef)
