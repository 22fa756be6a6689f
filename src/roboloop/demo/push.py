"""Pushing with the closed hand, where grasping is not meant: buttons, drawers, doors to close."""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float

from roboloop import pose
from roboloop.demo.goals import Unreachable
from roboloop.demo.joints import joint_values
from roboloop.demo.ways.arm import CLEAR, Arm
from roboloop.demo.ways.jointed import first, ways_along_joint
from roboloop.demo.ways.motion import timed
from roboloop.task.spec import Stage

STANDOFF, STEP = 0.10, 0.002
"""Where the hand's way to the contact begins, and how finely the contact is looked for, m."""
MIN_STEPS = 12
"""Steps that the hand needs to come to the contact."""
TOUCH = 0.0015
"""A hand that is closer than this touches, m."""
N_TURNS = 8
TILTS = np.deg2rad([0.0, 30.0, 60.0])
"""Hands beside what they push lean back by this much."""
PRESS = 0.004
"""How far a pushing hand goes into what it pushes, if that did not give way, m."""
CATCH_UP = 0.06
"""How far a hand goes on that is not at what it pushed any more, m."""
DOWN = np.array([0.0, 0.0, -1.0])


def pushed(
    arm: Arm, stage: Stage, what: str, qpos: Float[np.ndarray, "nq"]
) -> Float[np.ndarray, "T n"]:
    """Path of the closed hand that moves a joint to the stage's sub-goal.

    Raises:
        Unreachable: The arm cannot.
    """
    body = arm.cell.frame_body(what)
    closed = arm.cell.with_hand(qpos, arm.cell.robot.gripper_closed)
    q = qpos[arm.cell.arm_qpos]
    address, values = joint_values(arm, stage, qpos)
    site = arm.cell.model.site(arm.cell.site_name(what)).id
    p = [_site_at(arm, qpos, address, value, site) for value in values[:2]]
    direction = (p[1] - p[0]) / np.linalg.norm(p[1] - p[0])
    problem = "no way to touch it"
    for way in contacts(arm, closed, body, p[0], direction):
        try:
            to = arm.travel(closed, arm.eef(q)[None], way[:1])
            to = np.concatenate([to, arm.follow(timed(way, speed=0.5), to[-1])])
            pressed = arm.moved(closed, to[-1])
            on = first(ways_along_joint(arm, pressed, address, values, body, PRESS * direction))
        except Unreachable as error:
            problem = error.problem
            continue
        there = arm.moved(closed, on[-1])
        there[address] = values[-1]
        last = _site_at(arm, qpos, address, values[-1], site)
        onwards = last - _site_at(arm, qpos, address, values[-2], site)
        after = _caught_up(arm, there, onwards / np.linalg.norm(onwards))
        return np.concatenate([to, on, after])
    raise Unreachable(problem)


def _caught_up(
    arm: Arm, qpos: Float[np.ndarray, "nq"], direction: Float[np.ndarray, "3"]
) -> Float[np.ndarray, "T n"]:
    """Path on which a hand that is not at what it pushed any more gets there again.

    A lid is first pushed by its edge, with the side of the fingers, and in the end with their tips.
    """
    q = qpos[arm.cell.arm_qpos]
    shift = np.arange(0, CATCH_UP, STEP)[:, None] * direction
    T_eef = arm.eef(q)
    Ts = np.tile(T_eef, (len(shift), 1, 1))
    Ts[:, :3, 3] += shift
    ik, good = arm.reach(Ts, q)
    touches = np.array(list(arm.distances(qpos, ik.q))) < TOUCH
    n = int(np.argmax(touches))
    if not n or not good[: n + 1].all():
        return np.zeros((0, len(q)))
    T_end = pose.moved_by(Ts[n], PRESS * direction)
    return arm.follow(timed(np.stack([T_eef, T_end]), speed=0.5), q)


def _site_at(arm: Arm, qpos: np.ndarray, address: int, value: float, site: int) -> np.ndarray:
    arm.body_pose_at(qpos, address, value, 0)
    return arm.data.site_xpos[site].copy()


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
