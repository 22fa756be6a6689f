"""Sub-goals: object poses and joint values at which a stage's constraints hold."""

import numpy as np
from jaxtyping import Float
from scipy.optimize import least_squares

from roboloop import pose
from roboloop.errors import RoboloopError
from roboloop.task.constraints import Constraint, Values

TOLERANCE = 1e-3
"""Largest violation that counts as solved: m, rad, or whatever the constraint compares."""
N_JOINT_VALUES = 101


class Unreachable(RoboloopError):
    """A stage cannot be planned in this scene; `problem` says why, in words for statistics."""


def solve_object_pose(
    constraints: tuple[Constraint, ...],
    values: Values,
    role: str,
    T_world_obj: Float[np.ndarray, "4 4"],
    yaw: float,
) -> Float[np.ndarray, "4 4"]:
    """Find where to bring an object, upright and turned by `yaw`, to meet a sub-goal.

    Args:
        constraints: The sub-goal.
        values: Keypoints and joints now; the object's own points move with it.
        role: The role that the object plays.
        T_world_obj: Its pose now.
        yaw: Its yaw at the goal, rad.

    Raises:
        Unreachable: No position meets the constraints; the worst one is named.
    """
    own = {k: p for k, p in values.points.items() if k.startswith(f"{role}.")}
    local = {k: pose.transform(pose.inverse(T_world_obj), p) for k, p in own.items()}
    R = pose.yaw_to_matrix(yaw)

    def violations(p: np.ndarray) -> np.ndarray:
        T = pose.from_parts(p, R)
        moved = {k: pose.transform(T, q) for k, q in local.items()}
        now = Values({**values.points, **moved}, values.joints)
        return np.array([c.violation(now) for c in constraints])

    def residuals(p: np.ndarray) -> np.ndarray:
        # aims inside the feasible set, by half a millimetre, so that the edge itself holds
        return np.maximum(violations(p) + TOLERANCE / 2, 0.0)

    others = [p for k, p in values.points.items() if k.split(".")[0] not in (role, "robot")]
    start = np.array(others).mean(0) + 0.05 * np.array([0.3, 0.2, 1.0])
    p = least_squares(residuals, start, x_scale=0.01, diff_step=1e-6).x
    worst = violations(p)
    if worst.max() > TOLERANCE:
        name = constraints[int(worst.argmax())].text
        raise Unreachable(f"sub-goal `{name}` fails by {worst.max():.3f} at best")
    return pose.from_parts(p, R)


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
