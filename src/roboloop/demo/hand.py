"""How far the hand opens: all the way, but at cloth, which a wide or quick hand drags along."""

import numpy as np
from jaxtyping import Float

from roboloop.cell import Cell
from roboloop.demo.ways.motion import GRIP_STEPS

PINCH_OPENING, RELEASE_OPENING = 0.5, 0.2
"""Of the hand before it pinches a cloth and after it has let go of it, share of its widest."""
SOFT_RELEASE_STEPS, SOFT_DWELL_STEPS = 24, 4
"""Time in which a hand lets go of a cloth, which would spring from it; of that, time at the end in
which it stays open. Control steps."""


def opened_for(cell: Cell, what: str) -> float:
    """The gripper's target on its way to what it takes."""
    return _target(cell, PINCH_OPENING if cell.is_soft(what) else 1.0)


def letting_go(cell: Cell, held: str) -> Float[np.ndarray, "T"]:
    """The gripper's targets while it lets go of what it holds, one a control step."""
    if not cell.is_soft(held):
        return np.full(GRIP_STEPS, _target(cell, 1.0))
    moving = np.arange(1, SOFT_RELEASE_STEPS + 1) / (SOFT_RELEASE_STEPS - SOFT_DWELL_STEPS)
    closed, share = cell.robot.gripper_closed, np.minimum(moving, 1.0)
    return closed + share * (_target(cell, RELEASE_OPENING) - closed)


def _target(cell: Cell, share: float) -> float:
    robot = cell.robot
    return robot.gripper_closed + share * (robot.gripper_open - robot.gripper_closed)
