"""Ways of what a hand holds to where a stage is to end."""

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
from jaxtyping import Bool, Float

from roboloop import pose
from roboloop.demo.solver.reach import Reach
from roboloop.demo.ways.arm import Allowed, Arm
from roboloop.demo.ways.fold import fold
from roboloop.demo.ways.motion import PLACING_SPEED, timed
from roboloop.task.constraints import Constraint, parse
from roboloop.task.spec import Stage

APPROACH = 0.07
"""Straight way of the hand before a grasp and before a release, m."""
TURNED, IN_PLACE = 0.5, 0.08
"""What is turned by more (rad), or moved by less (m), is not lifted first."""


def ways_to(
    arm: Arm,
    stage: Stage,
    reach: Reach,
    qpos: Float[np.ndarray, "nq"],
    there: Float[np.ndarray, "n"],
    body: int | None,
    allowed: Allowed,
    search: bool,
) -> Iterator[Callable[[], Float[np.ndarray, "T n"]]]:
    """Yield ways to an arm position with what is held, in the order in which they are tried.

    Args:
        arm: The arm.
        stage: What is being done.
        reach: What moving the held object amounts to.
        qpos: The state to start from.
        there: The arm position.
        body: The free body that is held; None is something soft.
        allowed: What has to hold on the way.
        search: Whether to look for ways in joint space.
    """
    end = arm.eef(there)
    if body is None:
        yield partial(fold, arm, qpos, end, allowed)
        return
    if stage.release:
        above = arm.longest(end, APPROACH * np.array([0, 0, 1]), there, allowed)
        after = np.concatenate([above[None], timed(np.stack([above, end]), PLACING_SPEED)])
        yield lambda: arm.carry(qpos, after, body, allowed, search)
        if not stage.path:  # what has to keep to a path may not come from above
            return
    named = set[str]().union(*(parse(text).names()[0] for text in stage.subgoal))
    turns = [
        partial(arm.turn, qpos, end, body, reach.held[name], allowed, yaw_first)
        for yaw_first in (False, True)
        for name in sorted(named & reach.held.keys())
    ]
    carry = partial(arm.carry, qpos, end[None], body, allowed, search)
    start = arm.eef(qpos[arm.cell.arm_qpos])
    turn = np.linalg.norm(pose.matrix_to_rotvec(start[:3, :3].T @ end[:3, :3]))
    in_place = turn > TURNED or np.linalg.norm(end[:3, 3] - start[:3, 3]) < IN_PLACE
    yield from ((*turns, carry) if in_place else (carry, *turns))


def keeps(
    arm: Arm,
    constraints: list[Constraint],
    reach: Reach,
    q: Float[np.ndarray, "n"],
    path: Float[np.ndarray, "T n"],
) -> Bool[np.ndarray, "T"]:
    """Say where path constraints hold; one that is violated at `q` may stay so, but no worse."""
    rows = np.concatenate([q[None], path])
    values, kept = reach.values_at(arm.eefs(rows)), np.ones(len(path), bool)
    for c in constraints:
        start, *off = np.broadcast_to(c.violation(values), len(rows))
        kept &= np.array(off) <= max(c.tolerance, start)
    return kept
