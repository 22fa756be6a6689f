"""The planner in closed loop, with a tracker and with disturbances, in many cells at once."""

from collections.abc import Sequence

import numpy as np

from roboloop.cell import Cell
from roboloop.demo.execute import rngs_for
from roboloop.demo.loop import ClosedLoop
from roboloop.evaluate.disturb import Disturbance, Kind, kinds_of
from roboloop.evaluate.rollout import Rollout, rollout
from roboloop.evaluate.tracker import Tracker, TrackerConfig
from roboloop.policy.planner_policy import PlannerPolicy

TRACKER_STAGE, DISTURB_STAGE = 21, 22
"""Their numbers in the seeds of everything random."""
HORIZON_STEPS = 600
"""Control steps at most; the planner stops by itself."""


def plan(
    cells: Sequence[Cell],
    rngs: Sequence[np.random.Generator],
    tracker: TrackerConfig,
    seed: int,
    indices: Sequence[int],
    start_spread: float = 0.0,
    disturbances: Sequence[Disturbance] = (),
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

    Returns:
        What happened, and the loops with their logs.
    """
    trackers = [
        Tracker(cell, tracker, rng)
        for cell, rng in zip(cells, rngs_for(seed, TRACKER_STAGE, indices), strict=True)
    ]
    policy = PlannerPolicy(cells, rngs, tracker)
    ends = rollout(cells, policy, rngs, HORIZON_STEPS, 1, start_spread, trackers, disturbances)
    return ends, policy.loops


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
