"""Which grasp first: those that hold well, and look alike from one demonstration to the next."""

from collections.abc import Sequence

import mujoco
import numpy as np
from jaxtyping import Float

from roboloop import pose
from roboloop.demo.goals import Unreachable
from roboloop.demo.grasp import OPENING_MARGIN, antipodal_grasps
from roboloop.demo.hand import opening_around
from roboloop.demo.ways.arm import Arm
from roboloop.demo.ways.jointed import ON_THE_SPOT

MAX_GRASPS = 100
NEAR, NEAR_FREE = 0.04, 0.02
"""How far from a keypoint it is held, m: on a part that moves by a joint, on a free object."""
PINCH_DEPTH = 0.0025
"""Of the fingers' tips below the middle of a cloth, m."""
PINCH_INWARDS = 0.006
"""How far inwards from its corner a cloth is pinched, along the diagonal, m."""
PAD = 0.02
"""Width of a finger's pad, about, m."""
EMPTY, FULL = (36.0, 4.0), (100.0, 60.0)
"""What it costs where pads stand over the top of an object, and to take it further down than that,
1/m: without and with contents."""
LIKE_M, LIKE_RAD = 0.015, 0.35
"""Grasps closer than both to one that failed are the same."""


def ranked_grasps(
    arm: Arm,
    what: str,
    rng: np.random.Generator,
    failed: Sequence[Float[np.ndarray, "4 4"]] = (),
) -> Float[np.ndarray, "K 4 4"]:
    """Sample grasps in the frame of the body to hold, the most promising first.

    Args:
        arm: The arm; its state is the one that counts.
        what: `role`, held anywhere, or `role.keypoint`, held there.
        rng: Randomness of the candidates.
        failed: Grasps that missed before.

    Raises:
        Unreachable: There is none.
    """
    cell, near = arm.cell, None
    body = cell.frame_body(what)
    if cell.is_soft(what):
        return _pinches(arm, what)
    if "." in what:
        near = arm.data.site_xpos[cell.model.site(cell.site_name(what)).id].copy()
    radius = NEAR_FREE if cell.is_free(what) else NEAR
    grasps = antipodal_grasps(cell.model, arm.data, body, cell.robot, rng, near, radius)
    Ts_world_eef = arm.body_pose(body) @ grasps.Ts_body_eef
    # things on a table are not taken from below; handles may be taken from the side
    good = Ts_world_eef[:, 2, 2] < (-0.5 if cell.is_free(what) else 0.2)
    # around a handle the hand is not opened all the way
    good &= grasps.width < opening_around(cell, what) * (cell.robot.max_opening - OPENING_MARGIN)
    Ts_body_eef = grasps.Ts_body_eef.copy()
    if not cell.is_free(what):  # what is free is moved to where it fits when the hand closes
        Ts_body_eef[:, :3, 3] += cell.robot.aside(grasps.width)[:, None] * Ts_body_eef[:, :3, 1]
    for T in failed:
        good &= ~_alike(T, Ts_body_eef)
    keep = np.flatnonzero(good)
    if not keep.size:
        hand = f"{100 * cell.robot.max_opening:.0f} cm"
        raise Unreachable(f"no antipodal grasp on `{what}` within the hand's {hand}")
    cost = _cost(arm, what, Ts_world_eef[keep], near) + 5 * grasps.width[keep]
    Ts_body_eef = Ts_body_eef[keep[np.argsort(cost)]]
    if near is None:
        return Ts_body_eef[:MAX_GRASPS]
    return Ts_body_eef[varied(Ts_body_eef, MAX_GRASPS)]  # around a point there is little room


def varied(Ts_body_eef: Float[np.ndarray, "K 4 4"], n: int) -> list[int]:
    """Choose `n` of ranked grasps: the first half of them the best, the others unlike those.

    Where the best will not do, what is nearly the same hardly ever will.
    """
    chosen = list(range(min(n // 2, len(Ts_body_eef))))
    unlike = np.ones(len(Ts_body_eef), bool)
    for k in chosen:
        unlike &= ~_alike(Ts_body_eef[k], Ts_body_eef)
    while len(chosen) < n and unlike.any():
        chosen.append(int(np.argmax(unlike)))
        unlike &= ~_alike(Ts_body_eef[chosen[-1]], Ts_body_eef)
    return chosen


def _alike(T: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Which grasps hold at nearly the same place from nearly the same side."""
    off = np.linalg.norm(others[:, :3, 3] - T[:3, 3], axis=1)
    return (off < LIKE_M) & (_turns(T, others) < LIKE_RAD)


def _pinches(arm: Arm, what: str) -> Float[np.ndarray, "2 4 4"]:
    """Grasps straight down on a corner of a cloth, either way round.

    The fingers close across its diagonal and leave a ridge between them; their tips press on what
    it lies on.
    """
    role, _, corner = what.partition(".")
    word, _, number = corner.rpartition("_")
    names = (f"{role}.{word}_{(int(number) + k) % 4}" for k in (0, 1, -1))
    sites = [arm.cell.model.site(arm.cell.site_name(name)).id for name in names]
    p, *others = arm.data.site_xpos[sites]
    edges = [(q - p) * [1, 1, 0] / np.linalg.norm((q - p)[:2]) for q in others]
    y = (edges[0] - edges[1]) / np.linalg.norm(edges[0] - edges[1])
    z = np.array([0.0, 0.0, -1.0])
    R = np.stack([np.stack([np.cross(side * y, z), side * y, z], -1) for side in (1, -1)])
    inwards = (edges[0] + edges[1]) / np.linalg.norm(edges[0] + edges[1])
    p_eef = p + PINCH_INWARDS * inwards + [0, 0, arm.cell.robot.finger_depth - PINCH_DEPTH]
    Ts = pose.from_parts(np.broadcast_to(p_eef, (2, 3)), R)
    turns = _turns(arm.eef(arm.cell.mount.home), Ts)
    return pose.inverse(arm.body_pose(arm.cell.frame_body(what))) @ Ts[np.argsort(turns)]


def _cost(arm: Arm, what: str, Ts_world_eef: np.ndarray, near: np.ndarray | None) -> np.ndarray:
    """What a grasp costs.

    On a door or drawer: off the middle of its handle, not straight from the front; on a knob, not
    along its axis, about which the hand then turns on the spot. What counts elsewhere: near the
    keypoint if there is one, the hand pointing down and turned as at home, its
    pads full on the object, not at its edge, on the robot's left. No further down than the pads
    go, least of all on something with things in it, which would stay between its mouth and the
    palm when it is poured out.
    """
    cell = arm.cell
    off = 0.0 if near is None else np.linalg.norm(Ts_world_eef[:, :3, 3] - near, axis=1)
    if not cell.is_free(what):
        return 20 * off + 1 + Ts_world_eef[:, :3, 2] @ _outwards(arm, what)
    role, body = what.partition(".")[0], cell.frame_body(what)
    edge, deep = FULL if cell.contents(body, arm.data.qpos) else EMPTY
    obj = cell.graph.object(cell.task.roles[role])
    site = cell.model.site(cell.site_name(f"{role}.top")).id
    above = Ts_world_eef[:, 2, 3] + cell.robot.finger_depth - arm.data.site_xpos[site, 2]
    aside = Ts_world_eef[:, :3, 3] @ cell.mount.T_world_base[:3, 1] / max(obj.size[:2])
    turn = _turns(arm.eef(cell.mount.home), Ts_world_eef)
    tilt = 1 + Ts_world_eef[:, 2, 2]
    from_middle = Ts_world_eef[:, :3, 3] - arm.body_pose(body)[:3, 3]
    at_edge = np.abs(np.einsum("ki,ki->k", from_middle, Ts_world_eef[:, :3, 0]))
    height = edge * np.maximum(above, 0) + deep * np.maximum(-above, 0)
    return 20 * off + tilt + 0.5 * turn - 0.6 * aside + height + 20 * np.minimum(at_edge, PAD)


def _outwards(arm: Arm, what: str) -> Float[np.ndarray, "3"]:
    """Where a hand that takes a jointed part comes from, a unit vector in the world."""
    cell, data = arm.cell, arm.data
    joint = cell.model.body_jntadr[cell.frame_body(what)]
    axis = data.xaxis[joint]
    arms_length = data.site_xpos[cell.model.site(cell.site_name(what)).id] - data.xanchor[joint]
    turns = cell.model.jnt_type[joint] == mujoco.mjtJoint.mjJNT_HINGE
    if turns and np.linalg.norm(np.cross(axis, arms_length)) < ON_THE_SPOT:
        return axis * (1.0 if axis @ arms_length > 0 else -1.0)
    role = what.partition(".")[0]
    return cell.graph.object(cell.task.roles[role]).T_world_obj[:3, 0]


def _turns(T: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Angles (rad) between a pose and each of the others."""
    return np.linalg.norm(pose.matrix_to_rotvec(T[:3, :3].T @ others[:, :3, :3]), axis=-1)
