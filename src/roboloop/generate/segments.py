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
from roboloop.scene.families import FAMILIES
from roboloop.scene.graph import SceneObject
from roboloop.sim import qpos_of

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
class Recording:
    """A source demonstration as segments are cut from it, whatever robot or file it comes from."""

    arm: Arm
    """In the cell that it was made in, or in one that stands for it."""
    Ts_world_target: Float[np.ndarray, "T 4 4"]
    """Where the hand was to be."""
    qpos: Float[np.ndarray, "T+1 nq"]
    """Where the objects were; the robot's part is not read."""
    Ts_world_eef: Float[np.ndarray, "T+1 4 4"]
    """Where the hand was."""
    opening: Float[np.ndarray, "T"]
    """How far the hand was to be open, 0..1."""
    subtasks: tuple[tuple[str, int, int], ...]
    """The task's stages as (name, first step, one past the last step)."""


@dataclass(frozen=True)
class Held:
    """A free object in the hand."""

    p_eef_bottom: Float[np.ndarray, "3"]
    R_eef_body: Float[np.ndarray, "3 3"]


@dataclass(frozen=True)
class Segment:
    """The skill of one stage of one source episode."""

    Ts_ref_eef: Float[np.ndarray, "S 4 4"]
    """Targets of the hand in the reference frame."""
    opening: Float[np.ndarray, "S"]
    """How far the hand is to be open, 0..1."""
    T_world_ref: Float[np.ndarray, "4 4"]
    """The reference frame when the stage began."""
    size: Float[np.ndarray, "3"]
    """Extents of the reference object, m."""
    held: Held | None
    """What was carried, in the hand, when the stage began."""
    joint: Float[np.ndarray, "S"] | None
    """Values of the joint that the stage moves."""
    after: Float[np.ndarray, "L 4 4"]
    """Targets of the hand after a grasp, up to the next skill, in the reference frame."""


def recorded(cell: Cell, episode: Episode) -> Recording:
    """Take a recording from an episode with simulator states that was made in `cell`."""
    arm = Arm(cell)
    eef = episode.action_eef[:, : len(EEF_NAMES)].astype(float)
    qpos = qpos_of(cell.model, episode.sim_states)
    if eef.size:
        Ts_base_target = pose.from_parts(eef[:, :3], pose.quat_to_matrix(eef[:, 3:7]))
        Ts_world_target = cell.mount.T_world_base @ Ts_base_target
    else:
        Ts_world_target = arm.eefs(episode.action[:, :-1].astype(float))
    return Recording(
        arm,
        Ts_world_target,
        qpos,
        arm.eefs(qpos[:, cell.arm_qpos]),
        cell.robot.opening(episode.action[:, -1].astype(float)),
        episode.subtasks,
    )


def cut_stages(recording: Recording) -> list[Segment]:
    """Cut the skill of every stage out of a recording."""
    firsts = [_first(recording, index) for index in range(len(recording.subtasks))]
    return [_cut(recording, index, firsts) for index in range(len(firsts))]


def _first(recording: Recording, index: int) -> int:
    """The step of a recording at which the skill of a stage begins."""
    cell = recording.arm.cell
    stage, held = cell.task.stages[index], cell.task.held(index)
    _, start, stop = recording.subtasks[index]
    if stage.push:
        values = recording.qpos[start : stop + 1, joint_address(cell, stage.push)]
        return start + max(0, int(np.argmax(np.abs(values - values[0]) > MOVES)) - TOUCH_STEPS)
    # what moves a joint or backs out is skill from its first step on
    if not (stage.grasp or (held and cell.is_free(held))):
        return start
    p = recording.Ts_world_target[start:stop, :3, 3]
    far = np.linalg.norm(p - p[-1], axis=1) > SKILL_RADIUS
    first = int(np.flatnonzero(far).max()) + 1 if far.any() else 0
    height = p[first:, 2]
    return start + first + (int(np.argmax(height)) if height.max() > height[0] + RISE else 0)


def _cut(recording: Recording, index: int, firsts: list[int]) -> Segment:
    arm, cell = recording.arm, recording.arm.cell
    stage, held = cell.task.stages[index], cell.task.held(index)
    _, start, stop = recording.subtasks[index]
    first = firsts[index]
    arm.update(recording.qpos[start])
    T_world_ref = reference_frame(arm, stage.reference)
    role = stage.reference.partition(".")[0]
    address = joint_address(cell, stage.push or held)
    goes_on = stage.grasp and index + 1 < len(firsts)
    end = min(firsts[index + 1], stop + MAX_OFFSET) if goes_on else stop
    Ts_ref_eef = pose.inverse(T_world_ref) @ recording.Ts_world_target[first:end]
    return Segment(
        Ts_ref_eef[: stop - first],
        recording.opening[first:stop],
        T_world_ref,
        np.array(cell.graph.object(cell.task.roles[role]).size),
        held_in_hand(arm, held, recording.Ts_world_eef[start]),
        None if address is None else recording.qpos[first + 1 : stop + 1, address],
        Ts_ref_eef[stop - first :],
    )


def half_turned(source: list[Segment]) -> list[Segment]:
    """The same demonstration with the hand's two fingers exchanged."""
    R = HALF_TURN[:3, :3]
    return [
        replace(
            segment,
            Ts_ref_eef=segment.Ts_ref_eef @ HALF_TURN,
            after=segment.after @ HALF_TURN,
            held=segment.held and Held(R @ segment.held.p_eef_bottom, R @ segment.held.R_eef_body),
        )
        for segment in source
    ]


def reference_frame(arm: Arm, reference: str) -> Float[np.ndarray, "4 4"]:
    """The frame of a `role` or `role.keypoint` in the state that `arm` holds.

    A keypoint's frame has its body's orientation. Things that look the same from every side have
    no yaw that a camera could see; theirs is the direction from the robot's base to them. Of what
    looks the same from some sides, such as a cube, the side that is nearest to it counts.
    """
    cell = arm.cell
    T = arm.body_pose(cell.frame_body(reference))
    role, _, keypoint = reference.partition(".")
    if keypoint:
        T[:3, 3] = arm.data.site_xpos[cell.model.site(cell.site_name(reference)).id]
    ahead = T[:2, 3] - cell.mount.T_world_base[:2, 3]
    R_ahead = pose.yaw_to_matrix(np.arctan2(ahead[1], ahead[0]))
    T[:3, :3] = R_ahead if is_round(cell, role) else alike(cell, role, T[:3, :3], R_ahead)
    return T


def alike(
    cell: Cell, role: str, R: Float[np.ndarray, "3 3"], wanted: Float[np.ndarray, "3 3"]
) -> Float[np.ndarray, "3 3"]:
    """Of the orientations in which a `role` looks as in `R`, the one nearest to `wanted`."""
    ways = R @ like_turns(cell, role)
    return ways[np.argmax(np.einsum("kij,ij->k", ways, wanted))]


def like_turns(cell: Cell, role: str) -> Float[np.ndarray, "K 3 3"]:
    """Turns about its own z axis after which what plays a `role` looks the same; none first."""
    obj = _player(cell, role)
    n_sides = FAMILIES[obj.category].sides
    if n_sides > 1 and np.isclose(*obj.size[:2], rtol=0.05):
        n_sides *= 2
    return pose.yaw_to_matrix(2 * np.pi / n_sides * np.arange(n_sides))


def held_in_hand(arm: Arm, held: str | None, T_world_eef: Float[np.ndarray, "4 4"]) -> Held | None:
    """How a free object is held in the state that `arm` holds; None if there is none."""
    if held is None or not arm.cell.is_free(held):
        return None
    role = held.partition(".")[0]
    site = arm.cell.model.site(arm.cell.site_name(f"{role}.bottom")).id
    T_eef_body = pose.inverse(T_world_eef) @ arm.body_pose(arm.cell.frame_body(held))
    bottom = pose.transform(pose.inverse(T_world_eef), arm.data.site_xpos[site])
    return Held(bottom, T_eef_body[:3, :3])


def is_round(cell: Cell, role: str) -> bool:
    """Whether what plays a role looks the same from every side."""
    return FAMILIES[_player(cell, role).category].round


def _player(cell: Cell, role: str) -> SceneObject:
    """What plays a `role` or has its `role.keypoint`."""
    return cell.graph.object(cell.task.roles[role.partition(".")[0]])


def joint_address(cell: Cell, handle: str | None) -> int | None:
    """Address in qpos of the joint that a handle moves; None if it is none."""
    if handle is None or not cell.is_jointed(handle):
        return None
    body = cell.frame_body(handle)
    return int(cell.model.jnt_qposadr[cell.model.body_jntadr[body]])
