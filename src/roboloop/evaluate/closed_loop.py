"""The planner in closed loop, with a tracker and with disturbances, in many cells at once."""

from collections.abc import Sequence
from copy import copy
from dataclasses import replace

import mujoco
import numpy as np

from roboloop import pose
from roboloop.cell import Cell
from roboloop.demo.execute import rngs_for
from roboloop.demo.loop import ClosedLoop
from roboloop.evaluate.disturb import Disturbance, Kind, kinds_of
from roboloop.evaluate.rollout import Rollout, rollout
from roboloop.evaluate.tracker import Tracker, TrackerConfig
from roboloop.policy.planner_policy import PlannerPolicy

TRACKER_STAGE, DISTURB_STAGE, AXIS_STAGE = 21, 22, 23
"""Their numbers in the seeds of everything random."""
HORIZON_STEPS = 200
"""Control steps at most for each of a task's steps, and for going back once; the planner stops by
itself."""


def plan(
    cells: Sequence[Cell],
    rngs: Sequence[np.random.Generator],
    tracker: TrackerConfig,
    seed: int,
    indices: Sequence[int],
    start_spread: float = 0.0,
    disturbances: Sequence[Disturbance] = (),
    believed: Sequence[Cell] | None = None,
) -> tuple[list[Rollout], list[ClosedLoop]]:
    """Let the planner do the task in all cells; see `rollout`.

    Args:
        cells: Where; they share a layout.
        rngs: Randomness of start and planner, one a cell.
        tracker: How well it sees where things are.
        seed: Of the tracker's noise, with the `indices` of the rollouts.
        indices: See `seed`.
        start_spread: Standard deviation of the arm's start around home, rad.
        disturbances: What happens meanwhile, one a cell, or none.
        believed: What the planner takes the cells for; None is what they are.

    Returns:
        What happened, and the loops with their logs.
    """
    trackers = trackers_of(cells, tracker, seed, indices)
    policy = PlannerPolicy(cells if believed is None else believed, rngs, tracker)
    horizon = HORIZON_STEPS * (len(cells[0].task.steps()) + 1)
    ends = rollout(cells, policy, rngs, horizon, 1, start_spread, trackers, disturbances)
    return ends, policy.loops


def trackers_of(
    cells: Sequence[Cell], tracker: TrackerConfig, seed: int, indices: Sequence[int]
) -> list[Tracker]:
    """A tracker for each cell; see `plan`."""
    rngs = rngs_for(seed, TRACKER_STAGE, indices)
    return [Tracker(cell, tracker, rng) for cell, rng in zip(cells, rngs, strict=True)]


def misjudged(
    cells: Sequence[Cell], tilt: float, shift: float, seed: int, indices: Sequence[int]
) -> list[Cell]:
    """What a planner takes cells for that has all their joints' axes a little wrong.

    Things are where they are; only how they would move is wrong.

    Args:
        cells: As they are.
        tilt: Angle between an axis and what it is taken for, rad.
        shift: How far a hinge is from where it is taken to be, at a right angle to it, m.
        seed: Of the directions, with the `indices` of the rollouts.
        indices: See `seed`.
    """
    rngs = rngs_for(seed, AXIS_STAGE, indices)
    return [_misjudged(c, tilt, shift, rng) for c, rng in zip(cells, rngs, strict=True)]


def _misjudged(cell: Cell, tilt: float, shift: float, rng: np.random.Generator) -> Cell:
    model = copy(cell.model)
    for joint in map(cell.joint_at, cell.joint_qpos):
        axis = model.jnt_axis[joint].copy()
        across = np.linalg.svd(axis[None])[2][1:]
        aside, turned = pose.yaw_to_matrix(rng.uniform(-np.pi, np.pi, 2))[:, 0, :2] @ across
        model.jnt_axis[joint] = np.cos(tilt) * axis + np.sin(tilt) * turned
        if model.jnt_type[joint] == mujoco.mjtJoint.mjJNT_HINGE:
            model.jnt_pos[joint] += shift * aside
    return replace(cell, model=model)


def disturb(
    cells: Sequence[Cell], kind: Kind, seed: int, indices: Sequence[int]
) -> list[Disturbance]:
    """What happens to each cell: `all` takes the kinds that the task has in turn."""
    if kind == "none":
        return []
    kinds: list[list[Kind]] = [kinds_of(cell) if kind == "all" else [kind] for cell in cells]
    rngs = rngs_for(seed, DISTURB_STAGE, indices)
    return [
        Disturbance(cell, each[i % len(each)], rng)
        for cell, each, i, rng in zip(cells, kinds, indices, rngs, strict=True)
    ]
