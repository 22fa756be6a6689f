"""How cheap can a path be at all? A proof, by branch and bound, that none costs less than a share.

    python -m benchmarks.planner.bound [--problems pen-1 pour-1 stack-1] [--share 0.975]

Shares are of the published planner's cost. A path's cost is at least, by its number of waypoints:

- none: what the straight way costs, one number.
- one, at `w`: the lengths and turns by way of `w`, three descents of inverse kinematics, and what
  both legs pay for being near obstacles.
- two or more, `w` the last of them: the lengths and turns by way of `w`, four descents, and what
  the last leg pays, `w` itself once more (it ends the leg before), and the two samples before it:
  one waypoint twice, within two steps, or two samples within one and a half steps and three.

So six numbers say all: where `w` is and how the hand is turned there. Boxes of them are cut in
halves until a box cannot hold a path below the share. In a box that reaches `p` metres and `r`
radians from its middle, what is a share `a` of a leg from its fixed end is off by at most `a p`
and, as turns spread, `sin(a h) / sin(h) r`, where `h` is half the leg's largest turn; a point of
the hand by that turn times its distance from the hand's origin, and its depth in the grid by all
that times the steepest slope that the grid has thereabouts.
"""

import argparse
import json
import math
import sys
from pathlib import Path
from time import process_time

import numba
import numpy as np
from scipy.ndimage import maximum_filter

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

from problems import Problem, load  # noqa: E402
from score import CELL, LENGTH, MARGIN, NEAR, STEP, TURN, Scorer, _angle  # noqa: E402

from roboloop.chain import exp, log  # noqa: E402

N_LEVELS = 6
"""Distances within which slopes are known by themselves."""
SMALLEST = 1e-3
"""Boxes that reach less far (m) are not cut: the share is not proven."""


@numba.njit
def _length(v):
    return math.sqrt(v[0] ** 2 + v[1] ** 2 + v[2] ** 2)


@numba.njit
def near(R, p, off_p, off_r, body, radii, grid, low, slopes):
    """The least that the points pay with the hand within `off_p` (m), `off_r` (rad) of a pose."""
    total = 0.0
    i, f = np.empty(3, np.int64), np.empty(3)
    for k in range(len(body)):
        b, off = body[k], off_p + off_r * radii[k]
        may_be_out, is_out = False, False
        for n in range(3):
            x = R[n, 0] * b[0] + R[n, 1] * b[1] + R[n, 2] * b[2] + p[n]
            last = low[1, n]
            may_be_out |= x - off < low[0, n] or x + off > last
            is_out |= x + off < low[0, n] or x - off > last
            at = (min(max(x, low[0, n]), last) - low[0, n]) / (last - low[0, n])
            at *= grid.shape[n] - 1
            i[n] = min(int(at), grid.shape[n] - 2)
            f[n] = at - i[n]
        depth = 0.0
        for corner in range(8):
            a, c, d = corner & 1, corner >> 1 & 1, corner >> 2
            share = (f[0] if a else 1 - f[0]) * (f[1] if c else 1 - f[1])
            share *= f[2] if d else 1 - f[2]
            depth += share * grid[i[0] + a, i[1] + c, i[2] + d]
        level = 0
        while level < len(slopes) - 1 and CELL * (1 << level) < off:
            level += 1
        depth -= slopes[level, i[0], i[1], i[2]] * off
        if is_out:
            depth = 0.0
        elif may_be_out:
            depth = min(depth, 0.0)
        total += max(0.0, depth + MARGIN)
    return NEAR * total


@numba.njit
def leg(R_end, p_end, way, turn, off_p, off_r, body, radii, grid, low, slopes):
    """The least that a leg's samples pay, without the one at its fixed end.

    From its fixed end the leg goes by `way` (m) and turns by `turn` (a rotation vector).
    """
    length, angle = _length(way), _length(turn)
    most = max(math.ceil((length + off_p) / STEP), math.ceil((angle + off_r) / TURN), 2)
    least = max(math.ceil((length - off_p) / STEP), math.ceil((angle - off_r) / TURN), 2)
    if angle + off_r >= math.pi:  # it may turn the other way round
        return 0.0
    half = (angle + off_r) / 2
    best = np.inf
    for n in range(least, most + 1):
        total = 0.0
        for k in range(1, n):
            a = k / (n - 1)
            spread = off_r * (math.sin(a * half) / math.sin(half) if half > 1e-6 else a)
            R = R_end @ exp(a * turn)
            total += near(R, p_end + a * way, a * off_p, spread, body, radii, grid, low, slopes)
        best = min(best, total)
    return best


@numba.njit
def least(ends, box, share, is_last, body, radii, grid, low, slopes):
    """The least that a path by way of a waypoint in a box costs; more than `share` is not told.

    Args:
        ends: The start's and the goal's pose.
        box: Middle and half widths of positions (m) and turns from the start's (rotation vector).
        share: What costs more need not be known exactly.
        is_last: Whether other waypoints come before; what is before this one is let off.
        body: Points of the hand.
        radii: How far they are from its origin, m.
        grid: Depths at its nodes, m.
        low: Its lowest and its highest corner, m.
        slopes: The steepest slopes in it; see `steepest`.
    """
    R_s, p_s = np.ascontiguousarray(ends[0, :3, :3]), ends[0, :3, 3].copy()
    R_g, p_g = np.ascontiguousarray(ends[1, :3, :3]), ends[1, :3, 3].copy()
    p, turn_s, half = box[:3], box[3:6], box[6:]
    off_p, off_r = _length(half[:3]), _length(half[3:])
    to_s, to_g = p - p_s, p - p_g
    l_s, l_g = _length(to_s), _length(to_g)
    length = l_s + l_g
    if min(l_s, l_g) > 1e-9:  # convex: above its tangent
        length -= (np.abs(to_s / l_s + to_g / l_g) * half[:3]).sum()
    else:
        length -= 2 * off_p
    R = R_s @ exp(turn_s)
    turn_g = log(R_g.T @ R)
    turn = _length(turn_s) + _length(turn_g) - 2 * off_r
    length = max(length, _length(p_g - p_s))
    turn = max(turn, _length(log(R_s.T @ R_g)))
    cost = LENGTH * (length + turn) + (4.0 if is_last else 3.0)
    if cost > share:
        return cost
    cost += leg(R_g, p_g, to_g, turn_g, off_p, off_r, body, radii, grid, low, slopes)
    if is_last:
        at = np.zeros(4)
        for k, steps in enumerate((0.0, 1.5, 2.0, 3.0)):
            away_p, away_r = off_p + steps * STEP, off_r + steps * TURN
            at[k] = near(R, p, away_p, away_r, body, radii, grid, low, slopes)
        return cost + at[0] + min(2 * at[2], at[1] + at[3])
    if cost > share:
        return cost
    return cost + leg(R_s, p_s, to_s, turn_s, off_p, off_r, body, radii, grid, low, slopes)


@numba.njit
def search(ends, first, share, is_last, body, radii, grid, low, slopes, smallest):
    """Look for a small box that may hold a path below a cost; see `least`.

    Returns boxes looked at, and the least of that box: infinite where there is none.
    """
    arm = radii.mean()
    stack = np.empty((4096, 12))
    stack[0] = first
    n, n_boxes = 1, 0
    while n:
        n -= 1
        n_boxes += 1
        box = stack[n].copy()
        cost = least(ends, box, share, is_last, body, radii, grid, low, slopes)
        if cost > share:
            continue
        size = box[6:].copy()
        size[3:] *= arm
        if _length(size) < smallest:
            return n_boxes, cost
        widest = np.argmax(size)
        box[6 + widest] /= 2
        for side in (-1, 1):
            stack[n] = box
            stack[n, widest] += side * box[6 + widest]
            n += 1
    return n_boxes, np.inf


def steepest(grid: np.ndarray, steps: list[float]) -> np.ndarray:
    """The steepest slope of an interpolated grid (m/m) around each cell: in a cell its edges are.

    Within 1, 2, 4, ... cells, and last of all in the whole grid.
    """
    squares = np.zeros([n - 1 for n in grid.shape])
    for axis, step in enumerate(steps):
        slope = np.abs(np.diff(grid, axis=axis)) / step
        for other in {0, 1, 2} - {axis}:
            low, high = (np.delete(slope, at, other) for at in (-1, 0))
            slope = np.maximum(low, high)
        squares += slope**2
    slopes = np.sqrt(squares)
    near = [maximum_filter(slopes, 2 * (1 << level) + 1) for level in range(N_LEVELS)]
    return np.stack([*near, np.full_like(slopes, slopes.max())])


def first_box(start: np.ndarray, goal: np.ndarray, spare: float) -> np.ndarray:
    """The box of all waypoints by way of which a path is longer by at most `spare`, m and rad."""
    way, turn = float(np.linalg.norm(goal[:3, 3] - start[:3, 3])), _angle(start, goal)
    middle = (start[:3, 3] + goal[:3, 3]) / 2
    half = np.repeat([(way + spare) / 2, min(turn + spare, math.pi)], 3)
    return np.concatenate([middle, np.zeros(3), half])


class Bound:
    """Bounds on the paths of one problem."""

    def __init__(self, problem: Problem) -> None:
        depth = Scorer(problem)._depth
        body = problem.reach.body
        self._ends = np.array([problem.reach.T_start, problem.T_world_goal])
        low = np.array([[axis[0], axis[-1]] for axis in depth.grid]).T.copy()
        slopes = steepest(depth.values, [axis[1] - axis[0] for axis in depth.grid])
        self._known = body, np.linalg.norm(body, axis=1), depth.values, low, slopes

    def least(self, box: np.ndarray, is_last: bool, share: float = np.inf) -> float:
        """The least that a path by way of a box costs; see `least`."""
        return least(self._ends, box, share, is_last, *self._known)

    def search(self, share: float, is_last: bool, smallest: float = SMALLEST) -> tuple[int, float]:
        """Look for a path below a cost; see `search`."""
        start, goal = self._ends
        straight = LENGTH * (np.linalg.norm(goal[:3, 3] - start[:3, 3]) + _angle(start, goal))
        spare = (share - straight - (4 if is_last else 3)) / LENGTH
        if spare < 0:
            return 0, np.inf
        box = first_box(start, goal, float(spare))
        return search(self._ends, box, share, is_last, *self._known, smallest)


def main() -> None:
    """Prove the share for each problem, or say where it is not proven."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--problems", nargs="+", default=["pen-1", "pour-1", "stack-1"])
    parser.add_argument("--share", type=float, default=0.975)
    options = parser.parse_args()
    published = json.loads((HERE / "published.json").read_text())
    for problem in load():
        if problem.name in options.problems:
            cost = options.share * published[problem.name]["path_cost"]
            bound, straight = Bound(problem), Scorer(problem).path([])["cost"]
            print(f"{problem.name}: none below {cost:.3f}? without a waypoint {straight:.3f}")
            for is_last, which in ((True, "two or more waypoints"), (False, "one waypoint")):
                begin = process_time()
                n_boxes, left = bound.search(cost, is_last)
                said = "none" if left == np.inf else f"not proven, the first box left: {left:.3f}"
                spent = f"{n_boxes:,} boxes, {process_time() - begin:.0f} CPU s"
                print(f"  with {which}: {said} ({spent})", flush=True)


if __name__ == "__main__":
    main()
