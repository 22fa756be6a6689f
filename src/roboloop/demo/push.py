"""Pushing with the closed hand, where grasping is not meant: buttons, drawers, doors to close."""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float

from roboloop import pose
from roboloop.demo.ways.arm import CLEAR, Arm

STANDOFF, STEP = 0.10, 0.002
"""Where the hand's way to the contact begins, and how finely the contact is looked for, m."""
MIN_STEPS = 12
"""Steps that the hand needs to come to the contact."""
TOUCH = 0.0015
"""A hand that is closer than this touches, m."""
N_TURNS = 8
TILTS = np.deg2rad([0.0, 30.0, 60.0])
"""Hands beside what they push lean back by this much."""
DOWN = np.array([0.0, 0.0, -1.0])


def contacts(
    arm: Arm,
    closed: Float[np.ndarray, "nq"],
    body: int,
    p: Float[np.ndarray, "3"],
    direction: Float[np.ndarray, "3"],
) -> Iterator[Float[np.ndarray, "2 4 4"]]:
    """Yield straight ways of the hand, first pose and last, to where it touches a body to push it.

    Hands that point down come first.

    Args:
        arm: The arm.
        closed: The state, the hand closed.
        body: What is pushed.
        p: Where, in the world, m.
        direction: Which way it is to go, a unit vector in the world.
    """
    ahead = np.arange(-STANDOFF, STEP, STEP)[:, None] * direction
    q = closed[arm.cell.arm_qpos]
    for R in sorted(_turns(direction), key=lambda R: float(R[2, 2])):
        Ts = pose.from_parts(p + ahead, np.broadcast_to(R, (len(ahead), 3, 3)))
        ik, good = arm.reach(Ts, q)
        to_all = np.array(list(arm.distances(closed, ik.q)))
        to_others = np.array(list(arm.distances(closed, ik.q, touched=body)))
        free = good & (to_all >= TOUCH)
        for i in np.flatnonzero(good & (to_all < TOUCH) & (to_others >= CLEAR)):
            blocked = np.flatnonzero(~free[:i])
            first = int(blocked[-1]) + 1 if blocked.size else 0
            if i - first >= MIN_STEPS:
                yield Ts[[first, i]]
                break


def _turns(direction: np.ndarray) -> list[Float[np.ndarray, "3 3"]]:
    """Orientations of a hand that pushes, with its tips or with the side of its fingers."""
    side = np.cross(direction, np.eye(3)[np.argmin(np.abs(direction))])
    side /= np.linalg.norm(side)
    angles = 2 * np.pi * np.arange(N_TURNS) / N_TURNS
    Rs = [_frame(direction, pose.rotvec_to_matrix(a * direction) @ side) for a in angles]
    along = direction - (direction @ DOWN) * DOWN
    if np.linalg.norm(along) < 0.5:
        return Rs
    along /= np.linalg.norm(along)
    across = np.cross(along, DOWN)
    for tilt in TILTS:
        approach = np.cos(tilt) * DOWN + np.sin(tilt) * along
        for y in (across, np.cross(approach, across)):
            Rs += [_frame(approach, y), _frame(approach, -y)]
    return Rs


def _frame(z: np.ndarray, y: np.ndarray) -> Float[np.ndarray, "3 3"]:
    return np.stack([np.cross(y, z), y, z], -1)
