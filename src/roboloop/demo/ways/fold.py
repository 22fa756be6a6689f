"""The way of a hand that folds a cloth: over the half that lies, without dragging it along."""

import numpy as np
from jaxtyping import Float

from roboloop import pose
from roboloop.demo.goals import IN_THE_WAY, Unreachable
from roboloop.demo.ways.arm import Allowed, Arm
from roboloop.sim import CONTROL_DT

FOLD_SPEED = 0.11
"""Of the hand, along the straight line below its way, m/s."""
APEX, BULGE = 0.97, 1.2
"""Height of the way, share of half its length; exponent of its shape, 1 being two straight lines
and 2 a circle. A cloth without stiffness hangs straight down from the hand: far above the two lines
its lying half is dragged along, and below them what hangs piles up."""


def fold(
    arm: Arm, qpos: Float[np.ndarray, "nq"], T_end: Float[np.ndarray, "4 4"], allowed: Allowed
) -> Float[np.ndarray, "T n"]:
    """Take a point of a cloth over to a pose of the hand; see `folding`.

    Raises:
        Unreachable: The arm cannot follow, or something is in the way.
    """
    q = qpos[arm.cell.arm_qpos]
    path = arm.follow(folding(arm.eef(q), T_end), q)
    if not (allowed(path).all() and all(arm.clear(qpos, path))):
        raise Unreachable(IN_THE_WAY)
    return path


def folding(
    T_start: Float[np.ndarray, "4 4"], T_end: Float[np.ndarray, "4 4"]
) -> Float[np.ndarray, "T 4 4"]:
    """Poses of the hand from one place to another in a bow, one a control step, not the first."""
    way = T_end[:3, 3] - T_start[:3, 3]
    length = float(np.linalg.norm(way[:2]))
    n = max(2, int(np.ceil(length / (FOLD_SPEED * CONTROL_DT))))
    angle = np.pi / 2 * (1 - np.cos(np.pi * np.arange(1, n + 1) / n))
    ahead, up = (np.sign(x) * np.abs(x) ** (2 / BULGE) for x in (-np.cos(angle), np.sin(angle)))
    Ts = pose.interpolate(T_start, T_end, angle / np.pi)
    Ts[:, :2, 3] = T_start[:2, 3] + (0.5 + 0.5 * ahead[:, None]) * way[:2]
    Ts[:, 2, 3] += APEX * length / 2 * up
    return Ts
