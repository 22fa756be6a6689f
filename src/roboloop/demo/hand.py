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
ROOM, ROOM_MARGIN = (1.0, 0.75, 0.5, 0.3), 0.06
"""How far a hand may open that lets go, shares of its widest, the first for which there is room,
and for this much more; it is at least so much wider than what it holds."""
SOFT_RELEASE_STEPS, SOFT_DWELL_STEPS = 24, 4
"""Time in which a hand lets go of a cloth, which would spring from it; of that, time at the end in
which it stays open. Control steps."""


def opened_for(cell: Cell, what: str) -> float:
    """The gripper's target on its way to what it takes."""
    return _target(cell, PINCH_OPENING if cell.is_soft(what) else opening_around(cell, what))


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


def letting_go(
    arm: Arm, held: str, qpos: Float[np.ndarray, "nq"], q: Float[np.ndarray, "n"]
) -> Float[np.ndarray, "T"]:
    """The gripper's targets while it lets go of what it holds, one a control step.

    Args:
        arm: The arm.
        held: What it holds, a `role` or a `role.keypoint`.
        qpos: A state in which it holds it.
        q: Where it lets go of it.
    """
    cell = arm.cell
    if not cell.is_soft(held):
        least = float(cell.robot.opening(qpos[[cell.gripper_qpos]])[0]) + ROOM_MARGIN
        share = opening_around(cell, held)
        if cell.is_free(held):
            share = _room(arm, held, qpos, q, least)
        elif least > share:  # a bar that was pulled at has opened the hand
            share = 1.0
        return np.full(GRIP_STEPS, _target(cell, share))
    moving = np.arange(1, SOFT_RELEASE_STEPS + 1) / (SOFT_RELEASE_STEPS - SOFT_DWELL_STEPS)
    closed, share = cell.robot.gripper_closed, np.minimum(moving, 1.0)
    return closed + share * (_target(cell, RELEASE_OPENING) - closed)


def left_at(cell: Cell, before: Stage) -> float:
    """The gripper's target after a stage of the arm, where it had room enough."""
    if before.release:
        soft = cell.is_soft(before.release)
        return _target(cell, RELEASE_OPENING if soft else opening_around(cell, before.release))
    return cell.robot.gripper_closed if before.push else cell.robot.gripper_open


def opening_around(cell: Cell, what: str) -> float:
    """How far the hand opens around what it takes or lets go of, share of its widest."""
    return HANDLE_OPENING if cell.is_jointed(what) else 1.0


def _room(arm: Arm, held: str, qpos: np.ndarray, q: np.ndarray, least: float) -> float:
    """How far the hand can open before it touches more than it held, share of its widest."""
    cell, body = arm.cell, arm.cell.frame_body(held)
    there, inside = arm.moved(qpos, q, body), cell.contents(body, qpos)
    share = ROOM[0]
    for share in (each for each in ROOM if each == ROOM[0] or each >= least):
        wider = cell.with_hand(there, _target(cell, share + ROOM_MARGIN))
        if all(arm.clear_states(wider[None], held=body, inside=inside)):
            break
    return share


def _target(cell: Cell, share: float) -> float:
    return float(cell.robot.gripper_at(share))
