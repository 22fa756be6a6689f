"""Object-centric segments: what the hand did close to a thing, carried to where that thing is now.

A source stage is cut in two. The *skill* is its end, where the hand stays near the place it ends
at; it moves with the reference frame. What comes before is transit, which is planned anew. The
idea of transforming segments is MimicGen's (Mandlekar et al. 2023, section 4); replanning the
transit is SkillMimicGen's (Garrett et al. 2024).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np
from jaxtyping import Float

from roboloop import pose
from roboloop.cell import Cell
from roboloop.data.episode import Episode
from roboloop.demo.goals import Unreachable
from roboloop.demo.ways.arm import CARRY_LIFT, Arm
from roboloop.demo.ways.jointed import first, ways_along_joint
from roboloop.demo.ways.motion import LINEAR_SPEED, Motion
from roboloop.scene.families import FAMILIES
from roboloop.sim import CONTROL_DT, qpos_of
from roboloop.task.spec import Stage

SKILL_RADIUS = 0.09
"""The skill begins when the hand is this close (m) to where the stage ends, for good."""
MOVES, TOUCH_STEPS = 1e-3, 12
"""A joint that went this far (m, rad) is being pushed; the skill begins so many steps before."""
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


@dataclass(frozen=True)
class Segment:
    """The skill of one stage of one source episode."""

    Ts_ref_eef: Float[np.ndarray, "S 4 4"]
    """Targets of the hand in the reference frame."""
    gripper: Float[np.ndarray, "S"]
    """The gripper's ctrl."""
    T_world_ref: Float[np.ndarray, "4 4"]
    """The reference frame when the stage began."""
    size: Float[np.ndarray, "3"]
    """Extents of the reference object, m."""
    p_eef_bottom: Float[np.ndarray, "3"] | None
    """Bottom of a carried object in the hand when the stage began."""
    joint: Float[np.ndarray, "S"] | None
    """Values of the joint that the stage moves."""


def cut(cell: Cell, arm: Arm, episode: Episode, index: int) -> Segment:
    """Cut the skill of stage `index` out of an episode that was recorded in `cell`."""
    stage = cell.task.stages[index]
    _, start, stop = episode.subtasks[index]
    arm.update(qpos_of(cell.model, episode.sim_states[start]))
    T_world_ref = reference_frame(arm, stage.reference)
    role = stage.reference.partition(".")[0]
    held = cell.task.held(index)
    bottom = _p_eef_bottom(arm, held)
    address = _joint_address(cell, stage.push or held)
    eef = episode.action_eef[start:stop].astype(float)
    far = np.linalg.norm(eef[:, :3] - eef[-1, :3], axis=1) > SKILL_RADIUS
    # what moves a joint or backs out is skill from its first step on
    carried = stage.grasp or (held and cell.is_free(held))
    first = int(np.flatnonzero(far).max()) + 1 if far.any() and carried else 0
    if stage.push:
        values = qpos_of(cell.model, episode.sim_states[start : stop + 1])[:, address]
        first = max(0, int(np.argmax(np.abs(values - values[0]) > MOVES)) - TOUCH_STEPS)
    Ts_base_eef = pose.from_parts(eef[first:, :3], pose.quat_to_matrix(eef[first:, 3:7]))
    states = episode.sim_states[start + 1 + first : stop + 1]
    return Segment(
        pose.inverse(T_world_ref) @ cell.mount.T_world_base @ Ts_base_eef,
        episode.action[start + first : stop, -1].astype(float),
        T_world_ref,
        np.array(cell.graph.object(cell.task.roles[role]).size),
        bottom,
        None if address is None else qpos_of(cell.model, states)[:, address],
    )


def distance(segment: Segment, T_world_ref: Float[np.ndarray, "4 4"]) -> float:
    """How far a source's reference frame is from the one now: m + 0.1 m/rad."""
    turn = pose.matrix_to_rotvec(segment.T_world_ref[:3, :3].T @ T_world_ref[:3, :3])
    shift = segment.T_world_ref[:3, 3] - T_world_ref[:3, 3]
    return float(np.linalg.norm(shift) + 0.1 * np.linalg.norm(turn))


def reference_frame(arm: Arm, reference: str) -> Float[np.ndarray, "4 4"]:
    """The frame of a `role` or `role.keypoint` in the state that `arm` holds.

    A keypoint's frame has its body's orientation. Things that look the same from every side have
    no yaw that a camera could see; theirs is the direction from the robot's base to them.
    """
    cell = arm.cell
    T = arm.body_pose(cell.frame_body(reference))
    role, _, keypoint = reference.partition(".")
    if keypoint:
        T[:3, 3] = arm.data.site_xpos[cell.model.site(cell.site_name(reference)).id]
    if FAMILIES[cell.graph.object(cell.task.roles[role]).category].round:
        ahead = T[:2, 3] - cell.mount.T_world_base[:2, 3]
        T[:3, :3] = pose.yaw_to_matrix(np.arctan2(ahead[1], ahead[0]))
    return T


class Transformer:
    """The `Expert` that carries source segments to the scene at hand.

    Args:
        cell: Where to make a demonstration.
        sources: The stages' segments of every source episode, the best episode first.
        rng: Chooses among the `nearest` nearest segments, and where to stray.
        nearest: How many segments to choose from; 0 takes the best episode's everywhere.
        stray: Share of the transits on which the hand is first led astray.
    """

    def __init__(
        self,
        cell: Cell,
        sources: list[list[Segment]],
        rng: np.random.Generator,
        nearest: int = 0,
        stray: float = 0.0,
    ) -> None:
        self.cell, self.arm = cell, Arm(cell)
        self._rng, self._nearest, self._stray = rng, nearest, stray
        self._sources = list(sources)

    def plan(self, index: int, qpos: Float[np.ndarray, "nq"]) -> Motion:
        """Plan stage `index` from the state `qpos`; see `Expert`.

        Where the chosen segment is out of reach or not free, the others follow. The source that
        served one stage is the first choice for the next.
        """
        self.arm.update(qpos)
        T_world_ref = reference_frame(self.arm, self.cell.task.stages[index].reference)
        ranked = list(self._sources)
        if self._nearest:
            ranked.sort(key=lambda source: distance(source[index], T_world_ref))
            ranked.insert(0, ranked.pop(int(self._rng.integers(min(self._nearest, len(ranked))))))
        problem = "no source segment"
        for source in ranked:
            segment = source[index]
            try:
                path, astray = self._path(index, segment, T_world_ref, qpos)
            except Unreachable as error:
                problem = error.problem
                continue
            self._sources.sort(key=lambda other: other is not source)
            waiting = np.full(len(path) - len(segment.gripper), segment.gripper[0])
            gripper = np.concatenate([waiting, segment.gripper])
            return Motion(np.column_stack([path, gripper]), astray)
        raise Unreachable(problem)

    def _path(
        self, index: int, segment: Segment, T_world_ref: np.ndarray, qpos: np.ndarray
    ) -> tuple[np.ndarray, range]:
        """Return the arm's path in a stage, and which of its steps lead astray."""
        arm, cell = self.arm, self.cell
        stage, held = cell.task.stages[index], cell.task.held(index)
        if stage.grasp:
            Ts = T_world_ref @ self._resized(segment, stage)
            return self._transit(qpos, Ts, touched=cell.frame_body(stage.grasp))
        if stage.push:
            closed = cell.with_hand(qpos, cell.robot.gripper_closed)
            touched = cell.frame_body(stage.push)
            return self._transit(closed, T_world_ref @ segment.Ts_ref_eef, touched=touched)
        if segment.p_eef_bottom is not None:
            arm.update(qpos)
            Ts = _placed(T_world_ref @ segment.Ts_ref_eef, segment, _p_eef_bottom(arm, held))
            body, start = cell.frame_body(str(held)), arm.eef(qpos[cell.arm_qpos])
            if np.linalg.norm(Ts[0, :3, 3] - start[:3, 3]) < IN_PLACE:  # where it was lined up
                return arm.travel(qpos, start[None], Ts, held=body, search=False), NOWHERE
            return self._transit(qpos, Ts, held=body)
        if segment.joint is not None:
            address = _joint_address(cell, held)
            assert address is not None
            body = cell.frame_body(str(held))
            return first(ways_along_joint(arm, qpos, address, segment.joint, body)), NOWHERE
        q = qpos[cell.arm_qpos]
        way = arm.eef(q) @ pose.inverse(segment.Ts_ref_eef[0]) @ segment.Ts_ref_eef
        return arm.follow(way, q), NOWHERE

    def _transit(
        self,
        qpos: np.ndarray,
        after: np.ndarray,
        touched: int | None = None,
        held: int | None = None,
    ) -> tuple[np.ndarray, range]:
        """Travel to where `after` begins, with or without straying; see `Arm.travel`.

        Not through joint space: another source whose way is usual looks more like the others.
        """
        arm, n_tries = self.arm, STRAY_TRIES if self._rng.uniform() < self._stray else 0
        for _ in range(n_tries):
            aside = self._aside(after[-1])[None]
            if not arm.reach(aside, qpos[self.cell.arm_qpos])[1].all():
                continue
            try:
                first = arm.reach_out(qpos, aside, None, held, search=False)
                there = arm.moved(qpos, first[-1], held)
                hand = arm.eef(first[-1])[None]
                then = arm.travel(there, hand, after, touched, held, search=False)
            except Unreachable:
                continue
            n_lift = LIFT_STEPS if held is not None else 0
            return np.concatenate([first, then]), range(n_lift, len(first))
        return arm.reach_out(qpos, after, touched, held, search=False), NOWHERE

    def _aside(self, T_world_eef: Float[np.ndarray, "4 4"]) -> Float[np.ndarray, "4 4"]:
        """Draw a place of the hand beside and above another one."""
        rng, limits = self._rng, STRAY_NEAR if self._rng.uniform() < 0.5 else STRAY_FAR
        angle, (shift, height) = rng.uniform(0, 2 * np.pi), rng.uniform(*limits, 2)
        offset = np.array([shift * np.cos(angle), shift * np.sin(angle), height])
        R = pose.rotvec_to_matrix(rng.normal(0, STRAY_TURN))
        return pose.from_parts(T_world_eef[:3, 3] + offset, T_world_eef[:3, :3] @ R)

    def _resized(self, segment: Segment, stage: Stage) -> np.ndarray:
        """The skill moved to where its last point lies on an object of another size."""
        Ts = segment.Ts_ref_eef.copy()
        if "." not in stage.reference:
            name = self.cell.task.roles[stage.reference]
            ratio = np.array(self.cell.graph.object(name).size) / segment.size
            Ts[:, :3, 3] += Ts[-1, :3, 3] * (ratio - 1)
        return Ts


def rank(cells: Sequence[Cell], sources: list[list[Segment]]) -> list[int]:
    """Order sources by in how many cells their first two stages can be planned, most first.

    When all demonstrations follow one source that fits everywhere, they look alike, and a policy
    need not learn to choose.
    """
    n_fits = [sum(_fits(cell, source) for cell in cells) for source in sources]
    return sorted(range(len(sources)), key=lambda i: -n_fits[i])


def _fits(cell: Cell, source: list[Segment]) -> bool:
    """Whether a source's first two stages can be planned in a cell."""
    expert = Transformer(cell, [source], np.random.default_rng(0))
    try:
        q = expert.plan(0, cell.home_qpos).ctrl[-1, :-1]
        expert.plan(1, expert.arm.moved(cell.home_qpos, q))
    except Unreachable:
        return False
    return True


def _p_eef_bottom(arm: Arm, held: str | None) -> np.ndarray | None:
    """Bottom of the free object that is held, in the hand; None if there is none."""
    if held is None or not arm.cell.is_free(held):
        return None
    role = held.partition(".")[0]
    site = arm.cell.model.site(arm.cell.site_name(f"{role}.bottom")).id
    T_world_eef = arm.eef(arm.data.qpos[arm.cell.arm_qpos])
    return pose.transform(pose.inverse(T_world_eef), arm.data.site_xpos[site])


def _joint_address(cell: Cell, handle: str | None) -> int | None:
    """Address in qpos of the joint that a handle moves; None if it is none."""
    if handle is None or not cell.is_jointed(handle):
        return None
    body = cell.frame_body(handle)
    return int(cell.model.jnt_qposadr[cell.model.body_jntadr[body]])


def _placed(
    Ts_world_eef: np.ndarray, segment: Segment, p_eef_bottom: np.ndarray | None
) -> np.ndarray:
    """Shift the hand so that what it holds now ends where the source's object did."""
    assert segment.p_eef_bottom is not None and p_eef_bottom is not None
    Ts = Ts_world_eef.copy()
    Ts[:, :3, 3] += Ts[:, :3, :3] @ (segment.p_eef_bottom - p_eef_bottom)
    return Ts
