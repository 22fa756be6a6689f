"""Away from what the hand has let go of, or pushed."""

from itertools import product

import numpy as np
from jaxtyping import Float

from roboloop import pose
from roboloop.demo.goals import Unreachable
from roboloop.demo.ways.arm import Arm
from roboloop.demo.ways.motion import timed
from roboloop.task.constraints import Values, parse
from roboloop.task.spec import Stage

RETREAT_MARGINS = (0.03, 0.01)
"""By how much (m) a retreat exceeds what its sub-goal asks for; the first that the arm can do."""
BACKS, UPS = (*np.arange(0.02, 0.2, 0.02), 0.0), (0.0, 0.05, 0.1, 0.15)
"""How far a hand backs out along its approach axis, and then rises, m."""
AWAY = 0.06
"""Retreats that fail are tried with an end so much farther from the base, m."""

SOFT_SPEED, SOFT_REST_STEPS = 0.35, 20
"""Of a hand that leaves a cloth, share of the usual speed; how long a cloth comes to rest after
it was left or fell, control steps."""


def retreat(
    arm: Arm, stage: Stage, qpos: Float[np.ndarray, "nq"], soft: bool = False
) -> Float[np.ndarray, "T n"]:
    """Back out along the approach axis, then up or on, until the sub-goal holds amply.

    Args:
        arm: The arm.
        stage: Has the sub-goal.
        qpos: The state to start from.
        soft: Whether it was a cloth, which is left slowly.

    Raises:
        Unreachable: The arm cannot.
    """
    arm.update(qpos)
    speed = SOFT_SPEED if soft else 1.0
    q = qpos[arm.cell.arm_qpos]
    start, now = arm.eef(q), arm.values()
    away = (start[:3, 3] - arm.cell.mount.T_world_base[:3, 3]) * [1, 1, 0]
    away /= np.linalg.norm(away)
    constraints = [parse(text) for text in stage.subgoal]
    ends = []
    ways = (0.0, AWAY), RETREAT_MARGINS, BACKS, UPS
    for out, margin, back, up in product(*ways):
        T_back = start @ pose.from_parts(np.array([0.0, 0.0, -back]), np.eye(3))
        T_end = pose.moved_by(T_back, out * away + np.array([0, 0, up]))
        there = Values({**now.points, arm.cell.eef: T_end[:3, 3]}, now.joints)
        if all(c.violation(there) <= -margin for c in constraints):
            ends.append((T_back, T_end))
    good = arm.reach(np.array(ends).reshape(-1, 4, 4), q)[1].reshape(-1, 2).all(1)
    for T_back, T_end in (ends[k] for k in np.flatnonzero(good)):
        try:
            return arm.follow(timed(np.stack([start, T_back, T_end]), speed), q)
        except Unreachable:
            continue
    raise Unreachable("no way back for the hand")
