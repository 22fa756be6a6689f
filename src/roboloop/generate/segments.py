"""Object-centric segments: what the hand did close to a thing, in the frame of that thing.

A source stage is cut in two. The *skill* is its end, where the hand stays near the place it ends
at; it moves with the reference frame. What comes before is transit, which is planned anew. The
idea of transforming segments is MimicGen's (Mandlekar et al. 2023, section 4); replanning the
transit is SkillMimicGen's (Garrett et al. 2024).
"""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from roboloop import pose
from roboloop.cell import Cell
from roboloop.data.episode import EEF_NAMES, Episode
from roboloop.demo.ways.arm import Arm
from roboloop.generate.frames import Held, held_in_hand, joint_address, reference_frame, size_of
from roboloop.sim import qpos_of
from roboloop.task.spec import BOTH

SKILL_RADIUS = 0.09
"""The skill begins when the hand is this close (m) to where the stage ends, for good."""
RISE = 0.01
"""A hand that rises by more than this (m) so near the end is still on its way, over something: the
skill then begins where it is highest."""
MOVES, TOUCH_STEPS = 1e-3, 12
"""A joint that went this far (m, rad) is being pushed; the skill begins so many steps before."""
MAX_OFFSET = 40
"""Steps that a segment can at most go on after its end."""
HALF_TURN = pose.from_parts(np.zeros(3), np.diag([-1.0, -1.0, 1.0]))
"""About the approach axis: a hand of two like fingers holds the same thing in the same place."""


@dataclass(frozen=True)
class Track:
    """What one arm did in a demonstration, whatever robot or file it comes from."""

    arm: Arm
    """In the cell that it was made in, or in one that stands for it."""
    Ts_world_target: Float[np.ndarray, "T 4 4"]
    """Where the hand was to be."""
    Ts_world_eef: Float[np.ndarray, "T+1 4 4"]
    """Where the hand was."""
    opening: Float[np.ndarray, "T"]
    """How far the hand was to be open, 0..1."""
    Ts_world_base: Float[np.ndarray, "T+1 4 4"]
    """Where the base was: of a robot that stands, always the same."""


@dataclass(frozen=True)
class Recording:
    """A source demonstration as segments are cut from it."""

    tracks: tuple[Track, ...]
    """Of the task's arms, in their order."""
    qpos: Float[np.ndarray, "S nq"]
    """Where the objects were; the robot's part is not read."""
    subtasks: tuple[tuple[str, int, int], ...]
    """The task's steps as (name, first control step, one past the last)."""

    @property
    def cell(self) -> Cell:
        """Where it was made, seen from the first arm."""
        return self.tracks[0].arm.cell

    def by(self, arm: str) -> tuple[Track, ...]:
        """What the arm of a name did, or what `both` did."""
        return tuple(t for t in self.tracks if arm in (t.arm.cell.mount.name, BOTH))

    def span(self, index: int) -> tuple[int, int]:
        """First control step of stage `index`, and one past the last."""
        steps = self.cell.task.steps()
        return next(self.subtasks[k][1:] for k, step in enumerate(steps) if index in step)


@dataclass(frozen=True)
class Segment:
    """The skill of one stage of one source episode."""

    Ts_ref_eef: Float[np.ndarray, "S 4 4"]
    """Targets of the hand in the reference frame; of arms that move together what both hold,
    where that was to be."""
    opening: Float[np.ndarray, "S"] | Float[np.ndarray, "S arms"]
    """How far the hand is to be open, 0..1; of arms that move together, each one's."""
    T_world_ref: Float[np.ndarray, "4 4"]
    """The reference frame when the stage began."""
    size: Float[np.ndarray, "3"]
    """Extents of the reference object, m."""
    held: Held | None
    """What was carried, in the hand, when the stage began."""
    joint: Float[np.ndarray, "S"] | None
    """Values of the joint that the stage moves."""
    after: Float[np.ndarray, "L 4 4"]
    """Targets of the hand after a grasp, up to its next skill, in the reference frame."""


def recorded(cell: Cell, episode: Episode) -> Recording:
    """Take a recording from an episode with simulator states that was made in `cell`."""
    qpos = qpos_of(cell.model, episode.sim_states)
    action = episode.action.astype(float)
    eef = episode.action_eef.astype(float).reshape(len(action), -1, len(EEF_NAMES))
    tracks = []
    for k, seen in enumerate(cell.arms):
        Ts_base_target = None
        if eef.size:
            Ts_base_target = pose.from_parts(eef[:, k, :3], pose.quat_to_matrix(eef[:, k, 3:7]))
        tracks.append(standing(Arm(seen), action, qpos, Ts_base_target))
    return Recording(tuple(tracks), qpos, episode.subtasks)


def standing(
    arm: Arm,
    action: Float[np.ndarray, "T nu"],
    qpos: Float[np.ndarray, "T+1 nq"],
    Ts_base_target: Float[np.ndarray, "T 4 4"] | None = None,
) -> Track:
    """What an arm that stands did, from all arms' controls and the states that came of them.

    Args:
        arm: The arm.
        action: Controls.
        qpos: Before every step and after the last.
        Ts_base_target: Where the hand was to be; if not given, as the controls say.
    """
    cell, ctrl = arm.cell, action[:, arm.cell.ctrl]
    T_base, Ts_eef = cell.mount.T_world_base, arm.eefs(qpos[:, cell.arm_qpos])
    Ts_target = arm.eefs(ctrl[:, :-1]) if Ts_base_target is None else T_base @ Ts_base_target
    still = np.broadcast_to(T_base, Ts_eef.shape)
    return Track(arm, Ts_target, Ts_eef, cell.robot.opening(ctrl[:, -1]), still)


def cut_stages(recording: Recording) -> list[Segment]:
    """Cut the skill of every stage out of a recording."""
    firsts = [_first(recording, index) for index in range(len(recording.cell.task.stages))]
    return [_cut(recording, index, firsts) for index in range(len(firsts))]


def _first(recording: Recording, index: int) -> int:
    """The step of a recording at which the skill of a stage begins."""
    cell = recording.cell
    stage, held = cell.task.stages[index], cell.task.held(index)
    start, stop = recording.span(index)
    if stage.push:
        values = recording.qpos[start : stop + 1, joint_address(cell, stage.push)]
        return start + max(0, int(np.argmax(np.abs(values - values[0]) > MOVES)) - TOUCH_STEPS)
    # what moves a joint or backs out is skill from its first step on
    if not (stage.grasp or (held and cell.is_free(held))):
        return start
    p = _targets(recording, index, start, stop)[:, :3, 3]
    far = np.linalg.norm(p - p[-1], axis=1) > SKILL_RADIUS
    first = int(np.flatnonzero(far).max()) + 1 if far.any() else 0
    height = p[first:, 2]
    return start + first + (int(np.argmax(height)) if height.max() > height[0] + RISE else 0)


def _targets(recording: Recording, index: int, first: int, end: int) -> Float[np.ndarray, "S 4 4"]:
    """Where the hand of a stage was to be; of both, where their hands would have what they hold."""
    task, start = recording.cell.task, recording.span(index)[0]
    tracks = recording.by(task.stages[index].arm)
    if len(tracks) == 1:
        return tracks[0].Ts_world_target[first:end]
    tracks[0].arm.update(recording.qpos[start])
    body = recording.cell.frame_body(str(task.held(index)))
    T_body = tracks[0].arm.body_pose(body)
    ways = [
        track.Ts_world_target[first:end] @ pose.inverse(track.Ts_world_eef[start]) @ T_body
        for track in tracks
    ]
    return pose.mean(np.stack(ways))


def _cut(recording: Recording, index: int, firsts: list[int]) -> Segment:
    stages, (start, stop) = recording.cell.task.stages, recording.span(index)
    stage, held = stages[index], recording.cell.task.held(index)
    tracks, first = recording.by(stage.arm), firsts[index]
    arm, cell = tracks[0].arm, tracks[0].arm.cell
    arm.update(recording.qpos[start])
    # a base that drives: what counts is where it is when the skill begins
    T_world_ref = reference_frame(arm, stage.reference, tracks[0].Ts_world_base[first])
    address = joint_address(cell, stage.push or held)
    own = (i for i in range(index + 1, len(stages)) if stages[i].arm in (stage.arm, BOTH))
    then, end = next(own, None), stop
    if stage.grasp and then is not None and stages[then].arm != BOTH:
        end = min(firsts[then], stop + MAX_OFFSET)
    Ts_ref_eef = pose.inverse(T_world_ref) @ _targets(recording, index, first, end)
    openings = [track.opening[first:stop] for track in tracks]
    return Segment(
        Ts_ref_eef[: stop - first],
        np.stack(openings, 1) if stage.arm == BOTH else openings[0],
        T_world_ref,
        size_of(cell, stage.reference),
        None if stage.arm == BOTH else held_in_hand(arm, held, tracks[0].Ts_world_eef[start]),
        None if address is None else recording.qpos[first + 1 : stop + 1, address],
        Ts_ref_eef[stop - first :],
    )


def half_turned(segment: Segment) -> Segment:
    """The same with the hand's two fingers exchanged."""
    R = HALF_TURN[:3, :3]
    held = segment.held and Held(R @ segment.held.p_eef_bottom, R @ segment.held.R_eef_body)
    return replace(
        segment,
        Ts_ref_eef=segment.Ts_ref_eef @ HALF_TURN,
        after=segment.after @ HALF_TURN,
        held=held,
    )
