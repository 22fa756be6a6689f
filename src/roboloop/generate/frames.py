"""Frames that segments are relative to: of things, of what a hand holds, of an arm's base."""

from dataclasses import dataclass
from math import isclose

import numpy as np
from jaxtyping import Float

from roboloop import pose
from roboloop.cell import Cell
from roboloop.demo.ways.arm import Arm
from roboloop.scene.families import FAMILIES
from roboloop.scene.graph import SceneObject


@dataclass(frozen=True)
class Held:
    """A free object in the hand."""

    p_eef_bottom: Float[np.ndarray, "3"]
    R_eef_body: Float[np.ndarray, "3 3"]


def reference_frame(
    arm: Arm, reference: str, T_world_base: Float[np.ndarray, "4 4"]
) -> Float[np.ndarray, "4 4"]:
    """The frame of a `role`, a `role.keypoint` or an arm's base, in the state that `arm` holds.

    A keypoint's frame has its body's orientation. Things that look the same from every side have
    no yaw that a camera could see; theirs is the direction from the robot's base to them. Of what
    looks the same from some sides, such as a cube, the side that is nearest to it counts.

    Args:
        arm: Who moves relative to it.
        reference: As in `Stage`.
        T_world_base: Where the arm's base is in that state.
    """
    cell = arm.cell
    if reference == cell.mount.base:
        return T_world_base
    T = arm.body_pose(cell.frame_body(reference))
    role, _, keypoint = reference.partition(".")
    if keypoint:
        T[:3, 3] = arm.data.site_xpos[cell.model.site(cell.site_name(reference)).id]
    ahead = T[:2, 3] - T_world_base[:2, 3]
    R_ahead = pose.yaw_to_matrix(np.arctan2(ahead[1], ahead[0]))
    T[:3, :3] = R_ahead if is_round(cell, role) else alike(cell, role, T[:3, :3], R_ahead)
    return T


def alike(
    cell: Cell, role: str, R: Float[np.ndarray, "3 3"], wanted: Float[np.ndarray, "3 3"]
) -> Float[np.ndarray, "3 3"]:
    """Of the orientations in which a `role` looks as in `R`, the one nearest to `wanted`."""
    ways = R @ like_turns(cell, role)
    return ways[np.argmax(np.einsum("kij,ij->k", ways, wanted))]


def like_turns(cell: Cell, reference: str) -> Float[np.ndarray, "K 3 3"]:
    """Turns about its own z axis after which a thing looks the same; none comes first."""
    if reference == cell.mount.base:
        return np.eye(3)[None]
    obj = _player(cell, reference)
    n_sides = FAMILIES[obj.category].sides
    if n_sides > 1 and isclose(*obj.size[:2], rel_tol=0.05):
        n_sides *= 2
    return pose.yaw_to_matrix(2 * np.pi / n_sides * np.arange(n_sides))


def size_of(cell: Cell, reference: str) -> Float[np.ndarray, "3"]:
    """Extents (m) of the thing that a reference is on; of a base, ones."""
    if reference == cell.mount.base:
        return np.ones(3)
    return np.array(_player(cell, reference).size)


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


def joint_address(cell: Cell, handle: str | None) -> int | None:
    """Address in qpos of the joint that a handle moves; None if it is none."""
    if handle is None or not cell.is_jointed(handle):
        return None
    body = cell.frame_body(handle)
    return int(cell.model.jnt_qposadr[cell.model.body_jntadr[body]])


def _player(cell: Cell, role: str) -> SceneObject:
    """What plays a `role` or has its `role.keypoint`."""
    return cell.graph.object(cell.task.roles[role.partition(".")[0]])
