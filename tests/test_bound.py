"""The bound on the planner benchmark's paths: never above what a path costs, and no proof of what
is not so."""

import math

import numpy as np
import pytest

pytest.importorskip("benchmarks.planner.__main__")
from bound import Bound
from problems import load
from score import Scorer

from roboloop import pose

NAMES = "pen-1", "pour-1", "stack-1"


@pytest.fixture(scope="module")
def problems():
    return {problem.name: problem for problem in load()}


def waypoint(problem, at: np.ndarray) -> np.ndarray:
    """The pose of a position and a turn from the start's."""
    start = problem.reach.T_start
    return pose.from_parts(at[:3], start[:3, :3] @ pose.rotvec_to_matrix(at[3:]))


@pytest.mark.parametrize("name", NAMES)
def test_no_path_costs_less_than_the_box_that_it_goes_through(name: str, problems, monkeypatch):
    problem, rng = problems[name], np.random.default_rng(0)
    bound, scorer = Bound(problem), Scorer(problem)
    monkeypatch.setattr(scorer, "_ik", lambda T: (None, 1, True))  # as easy as can be, and quick
    start, goal = problem.reach.T_start, problem.T_world_goal
    for size in (0.2, 0.05, 0.01, 1e-6):
        for _ in range(5):
            middle = (start[:3, 3] + goal[:3, 3]) / 2 + rng.normal(0, 0.1, 3)
            box = np.concatenate([middle, rng.normal(0, 0.6, 3), size * rng.uniform(0, 1, 6)])
            inside = box[:6] + box[6:] * rng.uniform(-1, 1, 6)
            T = waypoint(problem, inside)
            cost = scorer.path([T])["cost"]
            assert bound.least(box, False) <= cost + 1e-9
            if size < 1e-3:
                assert bound.least(box, False) == pytest.approx(cost, rel=1e-3)
            before = waypoint(problem, inside + rng.normal(0, 0.05, 6))
            assert bound.least(box, True) <= scorer.path([before, T])["cost"] + 1e-9


def test_a_share_is_proven_or_not(problems):
    bound = Bound(problems["pen-1"])
    assert bound.search(13.5, False, smallest=0.1)[1] < 13.5
    assert bound.search(10.0, False) == (0, math.inf)  # shorter than the straight way
    n_boxes, left = bound.search(11.6, True)
    assert n_boxes > 100 and left == math.inf
