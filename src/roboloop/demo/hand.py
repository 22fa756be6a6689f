"""How far the hand opens: all the way where there is room.

Not at cloth, which a wide or quick hand drags along, nor at handles, which are thin and close to
what they are on.
"""

import numpy as np
from jaxtyping import Bool, Float

from roboloop import pose
from roboloop.cell import Cell
from roboloop.demo.ways.arm import Arm
from roboloop.demo.ways.motion import GRIP_STEPS, with_gripper
from roboloop.task.spec import Stage

PINCH_OPENING, RELEASE_OPENING = 0.5, 0.2
"""Of the hand before it pinches a cloth and after it has let go of it, share of its widest."""
PINCH_STEPS, PINCH_DWELL_STEPS, PINCH_RISE = 12, 4, 0.006
"""Time in which a hand pinches a cloth, and stays closed after that, control steps; how far it
goes up meanwhile, so that the tips do not jam on the table, m."""
CLOSING = (0.5, 0.0)
"""How far the hand is open where it is looked at while it closes, share of its widest."""
HANDLE_OPENING = 0.5
"""Of the hand around a handle, before and after, share of its widest."""
SOFT_RELEASE_STEPS, SOFT_DWELL_STEPS = 24, 4
"""Time in which a hand lets go of a cloth, which would spring from it; of that, time at the end in
which it stays open. Control steps."""


def opened_for(cell: Cell, what: str) -> float:
    """The gripper's target on its way to what it takes."""
    return _target(cell, PINCH_OPENING if cell.is_soft(what) else _around(cell, what))


def taking(arm: Arm, what: str, path: Float[np.ndarray, "T n"]) -> Float[np.ndarray, "S nu"]:
    """Controls of a way of the open hand to what it takes, and of closing it there.

    Raises:
        Unreachable: The arm cannot go up from there.
    """
    cell, opening = arm.cell, opened_for(arm.cell, what)
    closed = cell.robot.gripper_closed
    if not cell.is_soft(what):
        return with_gripper(path, opening, GRIP_STEPS, closed)
    shares = np.arange(1, PINCH_STEPS + 1) / PINCH_STEPS
    start = arm.eef(path[-1])
    up = pose.interpolate(start, pose.moved_by(start, np.array([0.0, 0.0, PINCH_RISE])), shares)
    rise = arm.solved(up, path[-1])[1:]
    still = np.repeat(rise[-1:], PINCH_DWELL_STEPS, 0)
    closing = with_gripper(rise, closed)
    closing[:, -1] = opening + shares * (closed - opening)
    return np.concatenate([with_gripper(path, opening), closing, with_gripper(still, closed)])


def can_close(
    arm: Arm,
    qpos: Float[np.ndarray, "nq"],
    q: Float[np.ndarray, "B n"],
    taken: int,
) -> Bool[np.ndarray, "B"]:
    """Whether the hand, in each position of the arm, can close on a body without hitting others.

    Fingers that swing get longer meanwhile, a Robotiq's by 1.4 cm: on what lies on a table their
    tips would jam on it before they hold anything.
    """
    free = np.ones(len(q), bool)
    for share in CLOSING:
        swung = arm.cell.with_hand(qpos, _target(arm.cell, share))
        free[free] = list(arm.clear(swung, q[free], taken))
    return free


def letting_go(cell: Cell, held: str) -> Float[np.ndarray, "T"]:
    """The gripper's targets while it lets go of what it holds, one a control step."""
    if not cell.is_soft(held):
        return np.full(GRIP_STEPS, _target(cell, _around(cell, held)))
    moving = np.arange(1, SOFT_RELEASE_STEPS + 1) / (SOFT_RELEASE_STEPS - SOFT_DWELL_STEPS)
    closed, share = cell.robot.gripper_closed, np.minimum(moving, 1.0)
    return closed + share * (_target(cell, RELEASE_OPENING) - closed)


def left_at(cell: Cell, before: Stage) -> float:
    """The gripper's target after a stage of the arm that let something go, or pushed it."""
    if before.release:
        return float(letting_go(cell, before.release)[-1])
    return cell.robot.gripper_closed if before.push else cell.robot.gripper_open


def _around(cell: Cell, what: str) -> float:
    """How far the hand opens around what it takes or lets go of, share of its widest."""
    return HANDLE_OPENING if cell.is_jointed(what) else 1.0


def _target(cell: Cell, share: float) -> float:
    return float(cell.robot.gripper_at(share))
