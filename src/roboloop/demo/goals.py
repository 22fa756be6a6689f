"""Sub-goals: object poses and joint values at which a stage's constraints hold."""

import numpy as np

from roboloop.errors import RoboloopError
from roboloop.task.constraints import Constraint, Values

TOLERANCE = 1e-3
"""Largest violation that counts as solved: m, rad, or whatever the constraint compares."""
N_JOINT_VALUES = 101
IN_THE_WAY, NO_ROOM = "no free path", "no room where the path ends"
"""Problems that those who plan ways have in common."""


class Unreachable(RoboloopError):
    """A stage cannot be planned in this scene; `problem` says why, in words for statistics."""


class NoPlace(Unreachable):
    """The hand cannot be where it has to go: no other way there helps."""


def solve_joint(
    constraints: tuple[Constraint, ...],
    values: Values,
    joint: str,
    limits: tuple[float, float],
) -> float:
    """Find the value of a joint (`role.joint`), nearest to now, at which a sub-goal holds.

    Raises:
        Unreachable: No value within `limits` does.
    """
    tried = np.linspace(*limits, N_JOINT_VALUES)
    now = Values({}, {**values.joints, joint: tried})
    worst = np.max([np.broadcast_to(c.violation(now), tried.shape) for c in constraints], axis=0)
    good = tried[worst <= 0]
    if not good.size:
        raise Unreachable(f"no value of `{joint}` within its limits meets the sub-goal")
    return float(good[np.argmin(np.abs(good - values.joints[joint]))])
