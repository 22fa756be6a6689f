"""End-effector waypoints -> joint targets at the control rate."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float

from roboloop import pose
from roboloop.demo.goals import NoPlace, Unreachable
from roboloop.robot import IkResult, Robot, forward_kinematics, inverse_kinematics
from roboloop.sim import CONTROL_DT

LINEAR_SPEED, ANGULAR_SPEED = 0.30, 1.8
"""Of the hand between waypoints, m/s and rad/s."""
TAKING_SPEED, PLACING_SPEED = 0.7, 0.4
"""Of a hand that comes to what it takes, or to where it puts something, shares of that: an arm lags
behind, and what it holds has to be in line before it touches anything."""
SMOOTHING_STEPS = 5
"""Length of the window that rounds corners, control steps."""
POSITION_TOLERANCE, ROTATION_TOLERANCE = 0.004, 0.05
"""How far inverse kinematics may miss a waypoint, m and rad."""
LOOSE_ROTATION_TOLERANCE = 1.0
"""The same for the hand of an arm that cannot turn it freely: it turns as far as it can, rad."""
JUMP = 0.6
"""A change between neighbouring poses that means another branch of inverse kinematics, rad."""
GRIP_STEPS = 8
"""Time that the hand takes to close or open, control steps."""


@dataclass(frozen=True)
class Motion:
    """Planned controls of one step of a task."""

    ctrl: Float[np.ndarray, "T nu"]
    """Joint targets and the gripper's, one row a control step; NaN stays as it is."""
    astray: Sequence[int] = ()
    """Steps that lead away from the goal on purpose, so that getting back can be learnt."""

    @property
    def imitate(self) -> Bool[np.ndarray, "T"]:
        """Which steps are worth imitating."""
        result = np.ones(len(self.ctrl), bool)
        result[list(self.astray)] = False
        return result

    def after(self, ctrl: Float[np.ndarray, "nu"]) -> "Motion":
        """The motion after other controls, without what stays as it is."""
        rows = np.concatenate([ctrl[None], self.ctrl])
        last = np.maximum.accumulate(np.where(np.isnan(rows), 0, np.arange(len(rows))[:, None]), 0)
        return replace(self, ctrl=np.take_along_axis(rows, last, 0)[1:])


def timed(waypoints: Float[np.ndarray, "W 4 4"], speed: float = 1.0) -> Float[np.ndarray, "T 4 4"]:
    """Sample poses along straight lines between waypoints, one a control step, not the first."""
    from roboloop.chain import lines  # numba takes half a second to import

    way, dt = np.ascontiguousarray(waypoints, float), speed * CONTROL_DT
    return lines(way, LINEAR_SPEED * dt, ANGULAR_SPEED * dt)


def follow(
    robot: Robot,
    Ts_base_eef: Float[np.ndarray, "T 4 4"],
    q_start: Float[np.ndarray, "n"],
    q_end: Float[np.ndarray, "n"] | None = None,
) -> Float[np.ndarray, "S n"]:
    """Solve joint positions along a path of the hand, rounded and continuous from `q_start`.

    One a control step, and more where a joint would be too fast; see `solved`.
    """
    return slowed(robot, smooth(solved(robot, Ts_base_eef, q_start, q_end)))[1:]


def solved(
    robot: Robot,
    Ts_base_eef: Float[np.ndarray, "T 4 4"],
    q_start: Float[np.ndarray, "n"],
    q_end: Float[np.ndarray, "n"] | None = None,
) -> Float[np.ndarray, "T+1 n"]:
    """Solve joint positions along a path of the hand, continuous from `q_start`, which comes first.

    The solver starts from a line to `q_end`, what `end_of` gives; who tries many ways to one place
    needs it once.

    Raises:
        Unreachable: A pose is out of reach, or the arm would have to jump.
    """
    n = len(Ts_base_eef)
    q_end = end_of(robot, Ts_base_eef, q_start) if q_end is None else q_end
    share = (np.arange(1, n + 1) / n)[:, None]
    q_guess = q_start + share * (q_end - q_start)
    ik = inverse_kinematics(robot, Ts_base_eef, q_guess, n_restarts(robot))
    _check_reach(robot, ik)
    q = np.concatenate([q_start[None], ik.q])
    if _jumps(q):  # between branches: stay on the one that the arm is on, pose by pose
        for i in range(n):
            step = inverse_kinematics(robot, Ts_base_eef[i : i + 1], q[i : i + 1], 0, q[i])
            _check_reach(robot, step)
            q[i + 1] = step.q[0]
            if _jumps(q[i : i + 2]):
                raise Unreachable("the arm would have to jump")
    return q


def end_of(
    robot: Robot, Ts_base_eef: Float[np.ndarray, "T 4 4"], q_start: Float[np.ndarray, "n"]
) -> Float[np.ndarray, "n"]:
    """Solve the last pose of a path.

    Raises:
        NoPlace: It is out of reach.
    """
    ik = inverse_kinematics(robot, Ts_base_eef[-1:], q_start[None])
    _check_reach(robot, ik, NoPlace)
    return ik.q[0]


def _jumps(q: Float[np.ndarray, "T n"]) -> bool:
    return bool(np.abs(np.diff(q, axis=0)).max() > JUMP)


def met(robot: Robot, ik: IkResult) -> Bool[np.ndarray, "B"]:
    """Say which poses inverse kinematics has met within the tolerances."""
    turned = ROTATION_TOLERANCE if robot.turns_freely else LOOSE_ROTATION_TOLERANCE
    return (ik.position_error < POSITION_TOLERANCE) & (ik.rotation_error < turned)


def n_restarts(robot: Robot) -> int:
    """How often inverse kinematics starts again: an arm of few joints hardly ever meets a pose."""
    return 4 if robot.turns_freely else 1


def _check_reach(robot: Robot, ik: IkResult, kind: type[Unreachable] = Unreachable) -> None:
    """Raise an error when inverse kinematics missed a pose by more than the tolerances."""
    if not met(robot, ik).all():
        far, turned = ik.position_error.max(), ik.rotation_error.max()
        raise kind(f"out of reach by {far * 100:.1f} cm and {np.rad2deg(turned):.0f} deg")


def smooth(q: Float[np.ndarray, "T n"]) -> Float[np.ndarray, "T n"]:
    """Round corners with a moving average; both ends keep their values."""
    half = SMOOTHING_STEPS // 2
    if len(q) < 2 * SMOOTHING_STEPS:
        return q
    padded = np.concatenate([q[:1]] * half + [q] + [q[-1:]] * half)
    window = np.lib.stride_tricks.sliding_window_view(padded, SMOOTHING_STEPS, axis=0)
    out = window.mean(-1)
    out[0], out[-1] = q[0], q[-1]
    return out


def slowed(robot: Robot, q: Float[np.ndarray, "T n"]) -> Float[np.ndarray, "S n"]:
    """Stretch a path in time where a joint would be too fast; of one arm, or of two together."""
    steps = _joint_steps(robot, q)
    return q if (steps <= 1.0).all() else _resampled(q, np.maximum(1.0, steps))


def _joint_steps(robot: Robot, q: Float[np.ndarray, "T n"]) -> Float[np.ndarray, "T-1"]:
    """How many control steps the joints need at least for each piece of a path."""
    return np.abs(np.diff(q, axis=0)).max(1) / (robot.joint_speed * CONTROL_DT)


def paced(
    robot: Robot, q: Float[np.ndarray, "T n"], rounded: bool = True
) -> Float[np.ndarray, "S n"]:
    """Give a path in joint space the speed of the hand, or of the joint that is fastest.

    Its corners are `rounded`; the start is not in the result.
    """
    Ts = forward_kinematics(robot, q)
    length = np.linalg.norm(np.diff(Ts[:, :3, 3], axis=0), axis=1) / (LINEAR_SPEED * CONTROL_DT)
    R = np.swapaxes(Ts[:-1, :3, :3], 1, 2) @ Ts[1:, :3, :3]
    angle = np.linalg.norm(pose.matrix_to_rotvec(R), axis=1) / (ANGULAR_SPEED * CONTROL_DT)
    joint = _joint_steps(robot, q)
    timed_q = _resampled(q, np.maximum(joint, np.maximum(length, angle)))
    return slowed(robot, smooth(timed_q) if rounded else timed_q)[1:]


def _resampled(
    q: Float[np.ndarray, "T n"], duration: Float[np.ndarray, "T-1"]
) -> Float[np.ndarray, "S n"]:
    """Sample a path once a control step, given how many each of its pieces takes."""
    t = np.concatenate([[0.0], np.cumsum(duration)])
    ticks = np.linspace(0.0, t[-1], int(np.ceil(t[-1] - 1e-9)) + 1)
    return np.stack([np.interp(ticks, t, column) for column in q.T], 1)


def waiting(q: Float[np.ndarray, "T n"], dwell: float) -> Float[np.ndarray, "S n"]:
    """A path, and then standing still for `dwell` (s)."""
    return np.concatenate([q, np.repeat(q[-1:], round(dwell / CONTROL_DT), 0)])


def with_gripper(
    q: Float[np.ndarray, "T n"],
    gripper: float,
    hold_steps: int = 0,
    then: float | Float[np.ndarray, "_"] | None = None,
) -> Float[np.ndarray, "S nu"]:
    """Append the gripper's target; then stand still for `hold_steps` with the target `then`.

    That may be one target a step.
    """
    moving = np.column_stack([q, np.full(len(q), gripper)])
    still = np.column_stack(
        [np.repeat(q[-1:], hold_steps, 0), np.full(hold_steps, gripper if then is None else then)]
    )
    return np.concatenate([moving, still])
