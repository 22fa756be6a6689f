"""Transits in joint space: a free way of the arm from one configuration to another.

Straight in joint space first, then over configurations that were proposed, then by a search that
grows a tree from either end (RRT-Connect). What is asked of every configuration (no collision, a
mug upright) is a function that the caller gives; it costs most of the time, so it is called a
bounded number of times. The same question has the same answer.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

import numpy as np
from jaxtyping import Float

from roboloop.demo.goals import Unreachable

STEP = 0.06
"""Configurations on a way are checked this close to each other, largest joint, rad."""
GROWTH = 0.4
"""A tree grows by at most this much at a time, largest joint, rad."""
MAX_CHECKS = 3000
"""Configurations that a transit may check, 10 us each."""
SHORTCUTS = 40
"""Pairs of points on a found way that are tried to be joined straight."""
PROPOSED_SHARE, SPREAD = 0.7, 0.1
"""How often a tree grows towards a proposed configuration rather than anywhere, and how far beside
it, rad."""

Free = Callable[[Float[np.ndarray, "B n"]], Iterator[bool]]
"""Says of configurations, one after another, whether the arm may be there."""


def transit(
    q_start: Float[np.ndarray, "n"],
    q_goal: Float[np.ndarray, "n"],
    free: Free,
    limits: Float[np.ndarray, "n 2"],
    proposed: Sequence[Float[np.ndarray, "W n"]] = (),
    around: Callable[[], Float[np.ndarray, "P n"]] | None = None,
    max_checks: int = MAX_CHECKS,
) -> Float[np.ndarray, "T n"]:
    """Find a free way between two configurations.

    Args:
        q_start: Where it starts; taken to be free.
        q_goal: Where it ends.
        free: See `Free`.
        limits: Of the joints.
        proposed: Ways worth trying, by the configurations between start and goal.
        around: Gives configurations that the search is drawn to.
        max_checks: How often `free` may be asked.

    Returns:
        Configurations from start to goal, at most `STEP` apart.

    Raises:
        Unreachable: None was found within the bound.
    """
    room = _Room(free, max_checks)
    if not room.line(q_goal, q_goal)[1]:
        raise Unreachable("the end of the transit is not free")
    for vias in ([], *proposed):
        way = [q_start, *vias, q_goal]
        if all(room.line(a, b)[1] for a, b in pairwise(way)):
            return _sampled(way)
    rng = np.random.default_rng(0)
    towards = np.concatenate([q_goal[None], *proposed, *([around()] if around else [])])
    way = _connect(q_start, q_goal, room, limits, towards, rng)
    return _sampled(_shortened(way, room, rng))


class _Room:
    """What is free, and how often that may still be asked."""

    def __init__(self, free: Free, n_left: int) -> None:
        self._free, self.n_left = free, n_left

    def line(
        self, q_a: Float[np.ndarray, "n"], q_b: Float[np.ndarray, "n"]
    ) -> tuple[Float[np.ndarray, "n"], bool]:
        """Go straight to a configuration: how far that is free, and whether it all is."""
        n = max(1, int(np.ceil(np.abs(q_b - q_a).max() / STEP)))
        points = q_a + (np.arange(1, n + 1) / n)[:, None] * (q_b - q_a)
        last = q_a
        for q, is_free in zip(points, self._free(points), strict=True):
            self.n_left -= 1
            if not is_free or self.n_left < 0:
                return last, False
            last = q
        return q_b, True


class _Tree:
    """Configurations that are reached from a root."""

    def __init__(self, root: Float[np.ndarray, "n"]) -> None:
        self.nodes, self._parents = [root], [-1]

    def grow(self, target: np.ndarray, room: _Room, reach: float) -> tuple[int, bool]:
        """Go from the nearest node towards a target; the new node, and whether that is there.

        The node is the nearest one where there is nothing new.
        """
        nearest = int(np.argmin(np.linalg.norm(np.array(self.nodes) - target, axis=1)))
        way = target - self.nodes[nearest]
        share = min(1.0, reach / max(float(np.abs(way).max()), 1e-9))
        q, done = room.line(self.nodes[nearest], self.nodes[nearest] + share * way)
        if np.abs(q - self.nodes[nearest]).max() < 1e-9:
            return nearest, share == 1.0 and done
        self.nodes.append(q)
        self._parents.append(nearest)
        return len(self.nodes) - 1, done and share == 1.0

    def path(self, node: int) -> list[np.ndarray]:
        """Nodes from one to the root."""
        path = []
        while node >= 0:
            path.append(self.nodes[node])
            node = self._parents[node]
        return path


def _connect(
    q_start: np.ndarray,
    q_goal: np.ndarray,
    room: _Room,
    limits: np.ndarray,
    towards: Float[np.ndarray, "P n"],
    rng: np.random.Generator,
) -> list[np.ndarray]:
    """Grow trees from both ends, in turns, until they meet.

    Source: Kuffner and LaValle, "RRT-Connect: An Efficient Approach to Single-Query Path
    Planning", ICRA 2000; here a share of the samples is drawn near proposed configurations.
    """
    grown, other = _Tree(q_start), _Tree(q_goal)
    while room.n_left > 0:
        target = rng.uniform(*limits.T)
        if rng.uniform() < PROPOSED_SHARE:
            near = towards[rng.integers(len(towards))] + SPREAD * rng.normal(size=len(limits))
            target = np.clip(near, *limits.T)
        node, _ = grown.grow(target, room, GROWTH)
        meeting, met = other.grow(grown.nodes[node], room, np.inf)
        if met:
            way = [*reversed(grown.path(node)), *other.path(meeting)[1:]]
            return way if np.array_equal(way[0], q_start) else way[::-1]
        grown, other = other, grown
    raise Unreachable("no free way within the bound of the search")


def _shortened(way: list[np.ndarray], room: _Room, rng: np.random.Generator) -> list[np.ndarray]:
    """Join points of a way straight where that is free.

    Source: Geraerts and Overmars, "Creating High-quality Paths for Motion Planning", IJRR 2007.
    """
    room.n_left = max(room.n_left, MAX_CHECKS // 2)
    for _ in range(SHORTCUTS):
        lengths = [float(np.abs(b - a).max()) for a, b in pairwise(way)]
        ends = np.concatenate([[0.0], np.cumsum(lengths)])
        s = np.sort(rng.uniform(0, ends[-1], 2))
        i, j = np.searchsorted(ends, s, side="right") - 1
        if i == j or len(way) < 3:
            continue
        at = zip((i, j), s, strict=True)
        a, b = (way[k] + (t - ends[k]) / lengths[k] * (way[k + 1] - way[k]) for k, t in at)
        if room.line(a, b)[1]:
            way = [*way[: i + 1], a, b, *way[j + 1 :]]
    return way


def _sampled(way: Sequence[np.ndarray]) -> Float[np.ndarray, "T n"]:
    """Points on a way, `STEP` apart or less."""
    rows = [way[0][None]]
    for a, b in pairwise(way):
        n = int(np.ceil(np.abs(b - a).max() / STEP))
        rows.append(np.linspace(a, b, n + 1)[1:])
    return np.concatenate(rows)
