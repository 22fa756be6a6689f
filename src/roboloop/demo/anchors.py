"""The points that a running plan rests on: where one of them moves, it has to be made again."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from roboloop.demo.belief import Belief
from roboloop.task.constraints import Values, parse
from roboloop.task.spec import Stage

NEAR = 0.08
"""A hand this close to what it pushes, or to cloth, moves it itself, m."""


def anchors(
    belief: Belief, values: Values, stages: Sequence[int]
) -> dict[str, Float[np.ndarray, "3"]]:
    """The points, by `role.keypoint`, that the plan of a step of the task rests on.

    Args:
        belief: Where hands are.
        values: Where points are.
        stages: What is done at once.
    """
    points: dict[str, np.ndarray] = {}
    task = belief.cell.task
    for i in stages:
        points |= _of_stage(belief, values, task.stages[i], task.held(i))
    return points


def _of_stage(
    belief: Belief, values: Values, stage: Stage, held: str | None
) -> dict[str, np.ndarray]:
    cell, points = belief.cell, values.points
    if stage.grasp and cell.is_soft(stage.grasp):
        return _unless_near(belief, values, stage.grasp, stage.arm)
    if stage.grasp:
        role = stage.grasp.partition(".")[0]
        named = {stage.grasp} if "." in stage.grasp else set(points)
        return {k: p for k, p in points.items() if k in named and k.startswith(f"{role}.")}
    if stage.push:
        return _unless_near(belief, values, stage.push, stage.arm)
    if not held or cell.is_jointed(held) or cell.is_soft(held):
        return {}  # a cloth that is moved moves everything on it
    used = set[str]().union(*(parse(text).names()[0] for text in stage.subgoal))
    own = [held.partition(".")[0], *(mount.name for mount in cell.task.arms)]
    own = tuple(f"{role}." for role in own)
    return {k: p for k, p in points.items() if k in used and not k.startswith(own)}


def _unless_near(belief: Belief, values: Values, name: str, arm: str) -> dict[str, np.ndarray]:
    """A point, unless the hand is about to move it itself."""
    p, p_hand = values.points[name], belief.hand(arm)[:3, 3]
    return {name: p} if np.linalg.norm(p - p_hand) > NEAR else {}
