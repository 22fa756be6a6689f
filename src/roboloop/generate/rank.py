"""Which source demonstrations are the best to carry: first by plans, then in physics."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from roboloop.cell import Cell
from roboloop.demo.execute import attempt, rngs_for
from roboloop.demo.goals import Unreachable
from roboloop.generate.select import Source
from roboloop.generate.transform import Carrying, Transformer

STAGE = 31
"""Number of the trials in the seeds of everything random."""
N_PLANNED, N_BEST = 6, 3
"""Cells in which all sources are planned, and how many of them are then tried."""
HARDLY_EVER = 12
"""Trials of which a source that is good enough fails in one at most."""


def rank(
    cells: Sequence[Cell],
    sources: Sequence[Source],
    carrying: Carrying | None = None,
    noise: float = 0.0,
    start_spread: float = 0.0,
) -> list[int]:
    """Order sources by how well they serve, the best first.

    When all demonstrations follow one source that works everywhere, they look alike, and a policy
    need not learn to choose. A source counts by in how many of the first `N_PLANNED` cells its
    first two steps can be planned, and, where that is the same, by how near its hand is to those of
    the others: one that took a thing off its middle leaves less room for errors. The best `N_BEST`
    then count by in how many of the other cells an attempt with that source alone succeeds, for a
    plan does not tell a firm grasp from a poor one. The first one that hardly ever fails ends the
    trials, whatever those after it would do.

    Args:
        cells: Where; they share a layout.
        sources: The stages' segments of every source episode.
        carrying: How attempts are varied.
        noise: See `attempt`.
        start_spread: See `attempt`.
    """
    n_fits = [sum(_fits(cell, source) for cell in cells[:N_PLANNED]) for source in sources]
    aside = apart_from_others(sources)
    order = sorted(range(len(sources)), key=lambda i: (-n_fits[i], aside[i]))
    others = cells[N_PLANNED:]
    if not others:
        return order

    def successes(i: int) -> int:
        rngs = rngs_for(0, STAGE, range(len(others)))
        pairs = zip(others, rngs, strict=True)
        experts = [Transformer(cell, [sources[i]], rng, carrying) for cell, rng in pairs]
        ends = attempt(others, experts, range(len(others)), rngs, noise, start_spread)
        return sum(not end.reason for end in ends)

    good = dict[int, int]()
    for i in order[:N_BEST]:
        good[i] = successes(i)
        if len(others) - good[i] <= len(others) // HARDLY_EVER:
            break
    tried = sorted(good, key=lambda i: -good[i])
    return tried + [i for i in order if i not in good]


def apart_from_others(sources: Sequence[Source]) -> Float[np.ndarray, "K"]:
    """How far from the other sources' each one's hand is where its stages end, over the usual."""
    ends = np.array([[each.Ts_ref_eef[-1, :3, 3] for each in source] for source in sources])
    apart = np.linalg.norm(ends[:, None] - ends, axis=-1).mean(1)
    return (apart / np.maximum(apart.mean(0), 1e-9)).sum(1)


def _fits(cell: Cell, source: Source) -> bool:
    """Whether a source's first two steps can be planned in a cell."""
    expert, qpos = Transformer(cell, [source], np.random.default_rng(0)), cell.home_qpos.copy()
    try:
        last = expert.plan(0, qpos).ctrl[-1]
        for arm in cell.arms:
            q = last[arm.ctrl][:-1]
            qpos[arm.arm_qpos] = np.where(np.isnan(q), qpos[arm.arm_qpos], q)
        expert.plan(1, qpos)
    except Unreachable:
        return False
    return True
