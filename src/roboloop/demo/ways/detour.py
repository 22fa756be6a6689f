"""Transits of an arm: by lines of the hand, straight or over the top, and through joint space.

What is in the way is asked through functions.
"""

from collections.abc import Callable
from functools import partial

import numpy as np
from jaxtyping import Float

from roboloop import pose
from roboloop.demo.goals import IN_THE_WAY, NO_ROOM, NoPlace, Unreachable
from roboloop.demo.ways.motion import POSITION_TOLERANCE, follow, met, paced, timed
from roboloop.demo.ways.transit import Free, transit
from roboloop.kinematics import Weights
from roboloop.robot import Robot, inverse_kinematics, robot_chain

MAX_FAR = 2
"""Ways over the top that the arm cannot follow, after which higher ones are not tried."""
LIFTS = (0.06, 0.12, 0.18, 0.26)
"""Heights that transits are tried at, above the higher of their ends, m."""
N_POSTURES = 12
"""Random starts from which other postures for the same place are looked for."""
N_AROUND = 40
"""Places of the hand around a transit that the search for a way is drawn to."""
LOOSE = Weights(position=0.002, approach=0.3, closing=1.0)
"""For what a transit goes over: where the hand is counts, how it is turned hardly."""


def over_the_top(
    before: Float[np.ndarray, "P 4 4"],
    after: Float[np.ndarray, "S 4 4"],
    followed: Callable[[Float[np.ndarray, "T 4 4"]], Float[np.ndarray, "K n"]],
    free: Free,
    roomy: Callable[[Float[np.ndarray, "K n"]], bool],
) -> Float[np.ndarray, "K n"]:
    """Travel straight, else over the top, with room around it if there is such a way.

    Args:
        before: Waypoints from where the hand is; see `Arm.travel`.
        after: Poses to end with, one a control step.
        followed: Gives the arm's positions along poses of the hand, or raises `Unreachable`.
        free: See `transit.Free`.
        roomy: Whether arm positions keep away from things.

    Raises:
        NoPlace: The arm cannot be where the way ends.
        Unreachable: No way is reachable and free.
    """
    problem, n_far, narrow = IN_THE_WAY, 0, None
    for lift in (0.0, *LIFTS):
        via = over(before[-1], after[0], lift)
        Ts = np.concatenate([timed(np.concatenate([before[:-1], via])), after[1:]])
        try:
            path = followed(Ts)
        except Unreachable as error:
            problem, n_far = error.problem, n_far + 1
            if n_far == MAX_FAR:
                break
            continue
        if all(free(path[::-1])):
            if roomy(path[: len(path) - len(after) + 1]):
                return path
            narrow = path if narrow is None else narrow
        elif not all(free(path[-1:])):
            raise NoPlace(NO_ROOM)
    if narrow is None:
        raise Unreachable(problem)
    return narrow


def through_joints(
    robot: Robot,
    q: Float[np.ndarray, "n"],
    befores: list[Float[np.ndarray, "P 4 4"]],
    after: Float[np.ndarray, "S 4 4"],
    free: Free,
) -> Float[np.ndarray, "T n"]:
    """Travel in joint space from one given way of the hand to another; see `Arm.travel`.

    Poses are in the robot's base frame.

    Args:
        robot: The robot.
        q: Where the arm is.
        befores: Beginnings, by waypoints from where the hand is; the first that is free is taken.
        after: Poses to end with, one a control step.
        free: See `transit.Free`.

    Returns:
        Arm positions, one a control step, without the start.

    Raises:
        Unreachable: No way was found.
    """
    start, before = _beginning(robot, q, befores, free)
    q_from = np.concatenate([q[None], start])[-1]
    end = _arrival(robot, after, q_from, free)
    vias = [via for lift in LIFTS for via in _vias(robot, before[-1], after[0], lift, q_from)]
    around = partial(_around, robot, before[-1], after[0], q_from)
    way = transit(q_from, end[0], free, robot_chain(robot.name).limits, vias, around)
    for rounded in (True, False):
        between = paced(robot, way, rounded)
        if all(free(between)):
            return np.concatenate([start, between, end])
    raise Unreachable(IN_THE_WAY)


def over(
    T_a: Float[np.ndarray, "4 4"], T_b: Float[np.ndarray, "4 4"], lift: float
) -> Float[np.ndarray, "W 4 4"]:
    """Waypoints from a pose to another: straight, or over a `lift` (m) above the higher one."""
    if not lift:
        return np.stack([T_a, T_b])
    Ts = np.stack([T_a, T_a, T_b, T_b])
    Ts[1:3, 2, 3] = max(T_a[2, 3], T_b[2, 3]) + lift
    return Ts


def _beginning(
    robot: Robot, q: np.ndarray, befores: list[np.ndarray], free: Free
) -> tuple[np.ndarray, np.ndarray]:
    """The first beginning that the arm can follow and that is free: arm positions, waypoints."""
    for before in befores:
        if len(before) == 1:
            return np.zeros((0, len(q))), before
        try:
            start = follow(robot, timed(before), q)
        except Unreachable:
            continue
        if all(free(start)):
            return start, before
    raise Unreachable(IN_THE_WAY)


def _arrival(robot: Robot, after: np.ndarray, q: np.ndarray, free: Free) -> np.ndarray:
    """A free path along given poses, in the posture nearest to `q` that has one."""
    low, high = robot_chain(robot.name).limits.T
    rng = np.random.default_rng(0)
    starts = np.vstack([q, rng.uniform(low, high, (N_POSTURES, len(q)))])
    ik = inverse_kinematics(robot, np.repeat(after[-1:], len(starts), 0), starts, restarts=0)
    ends = ik.q[met(robot, ik)]
    for q_end in sorted(ends, key=lambda each: float(np.linalg.norm(each - q))):
        q_to = inverse_kinematics(robot, after[:1], q_end[None], prefer=q_end).q[0]
        try:
            path = follow(robot, after, q_to, q_end)
        except Unreachable:
            continue
        if all(free(path)):
            return path
    raise Unreachable(IN_THE_WAY)


def _vias(
    robot: Robot, T_a: np.ndarray, T_b: np.ndarray, lift: float, q: np.ndarray
) -> list[Float[np.ndarray, "2 n"]]:
    """Arm positions over the ends of a transit, the hand turned as it may be; or none."""
    ik = inverse_kinematics(robot, over(T_a, T_b, lift)[1:3], np.tile(q, (2, 1)), weights=LOOSE)
    return [ik.q] if (ik.position_error < POSITION_TOLERANCE).all() else []


def _around(
    robot: Robot, T_a: np.ndarray, T_b: np.ndarray, q: np.ndarray
) -> Float[np.ndarray, "P n"]:
    """Arm positions with the hand beside and over the way between two poses, turned alike."""
    rng = np.random.default_rng(0)
    Ts = pose.interpolate(T_a, T_b, rng.uniform(size=N_AROUND))
    Ts[:, :3, 3] += rng.uniform((-1, -1, 0), 1, (N_AROUND, 3)) * LIFTS[-1]
    ik = inverse_kinematics(robot, Ts, np.tile(q, (N_AROUND, 1)), restarts=1)
    return ik.q[met(robot, ik)]
