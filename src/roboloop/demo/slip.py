"""What slips out of a hand on its way, so that demonstrations show how it is taken again."""

import numpy as np

from roboloop.cell import Cell
from roboloop.demo.ways.motion import Motion

SLIP, SLIP_STEPS = "slip", 14
"""What its part of an episode is called, and how long the hand stays open while the thing falls and
comes to rest, control steps."""
FIRST_SHARE = 0.25
"""Of a carrying step's way, over which nothing slips: there the thing is still being lifted."""


def carrying_steps(cell: Cell) -> list[int]:
    """Steps of the task in which one arm, alone, carries a free thing somewhere."""
    task, found = cell.task, []
    for step, (first, *others) in enumerate(task.steps()):
        held = task.held(first)
        alone = len(cell.arms) == 1 and not others
        if alone and held and cell.is_free(held) and task.stages[first].subgoal:
            found.append(step)
    return found


def grasping_step(cell: Cell, step: int) -> int:
    """The step in which what is carried in `step` was taken."""
    held = cell.task.held(cell.task.steps()[step][0])
    grasps = [cell.task.stages[first].grasp for first, *_ in cell.task.steps()[:step]]
    return max(k for k, grasp in enumerate(grasps) if grasp == held)


def slipped(cell: Cell, motion: Motion, rng: np.random.Generator) -> Motion:
    """A motion that carries something, up to somewhere on its way, where the hand opens and waits.

    The last `SLIP_STEPS` steps of the result are the slip, which is not to be imitated.
    """
    ctrl = motion.ctrl
    acts = int(np.argmax(np.append(ctrl[:, -1] != ctrl[0, -1], True)))
    cut = int(rng.integers(max(1, round(FIRST_SHARE * acts)), acts, endpoint=True))
    opened = np.repeat(ctrl[cut - 1][None], SLIP_STEPS, 0)
    opened[:, -1] = cell.robot.gripper_open
    astray = [t for t in motion.astray if t < cut]
    return Motion(np.concatenate([ctrl[:cut], opened]), [*astray, *range(cut, cut + SLIP_STEPS)])
