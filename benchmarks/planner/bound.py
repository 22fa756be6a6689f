"""How cheap can a path be at all? A proof, by branch and bound, that none costs less than a share.

    python benchmarks/planner/bound.py [--problems pen-1 pour-1 stack-1] [--share 0.975]

Shares are of the published planner's cost. A path's cost is at least, by its number of waypoints:

- none: what the straight way costs, one number.
- one, at `w`: the lengths and turns by way of `w`, three descents of inverse kinematics, and what
  both legs pay for being near obstacles.
- two or more, `w` the last of them: the lengths and turns by way of `w`, four descents, and what the
  last leg and `w` itself (it ends the leg before) pay. Whatever comes before it is let off.

So six numbers say all: where `w` is and how the hand is turned there. Boxes of them are cut in
halves until a box cannot hold a path below the share. In a box whose middle is `m` and which reaches
`p` metres and `r` radians from it, what is a share `a` of a leg from its fixed end is off by at most
`a p` and, as turns spread, `sin(a h) / sin(h) r` (`h` is half the leg's largest turn); a point of the
hand by that turn times its distance from the hand's origin, and its depth in the grid by all that
times the grid's steepest slope.
"""

import argparse
import json
import math
import sys
from pathlib import Path
from time import process_time

import numba
import numpy as np

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

from problems import Problem, load  # noqa: E402
from score import STEP, TURN, Scorer  # noqa: E402

from roboloop import pose  # noqa: E402

MARGIN, WEIGHT, LENGTH = 0.20, 0.5, 4.0
"""The published path objective's, see `score.py`."""
SMALLEST = 1e-3
"""Boxes that reach less far (m) are not cut: the share is not proven."""


@numba.njit(cache=True)
def rotation(v):
    """The matrix of a rotation vector."""
    angle = math.sqrt(v[0] ** 2 + v[1] ** 2 + v[2] ** 2)
    R = np.eye(3)
    if angle < 1e-12:
        return R
    x, y, z = v[0] / angle, v[1] / angle, v[2] / angle
    s, c = math.sin(angle), 1 - math.cos(angle)
    R[0, 0], R[0, 1], R[0, 2] = 1 - c * (y * y + z * z), c * x * y - s * z, c * x * z + s * y
    R[1, 0], R[1, 1], R[1, 2] = c * x * y + s * z, 1 - c * (x * x + z * z), c * y * z - s * x
    R[2, 0], R[2, 1], R[2, 2] = c * x * z - s * y, c * y * z + s * x, 1 - c * (x * x + y * y)
    return R


@numba.njit(cache=True)
def rotation_vector(R):
    """The rotation vector of a matrix, by less than half a turn."""
    w = np.array([R[2, 1] - R[1, 2], R[0, 2] - R[2, 0], R[1, 0] - R[0, 1]]) / 2
    s = math.sqrt((w**2).sum())
    angle = math.atan2(s, (R[0, 0] + R[1, 1] + R[2, 2] - 1) / 2)
    return w * (angle / s if s > 1e-9 else 1.0)


@numba.njit(cache=True)
def _length(v):
    return math.sqrt(v[0] ** 2 + v[1] ** 2 + v[2] ** 2)


@numba.njit(cache=True)
def near(R, p, off_p, off_r, body, radii, grid, low, slope):
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
        depth -= slope * off
        if is_out:
            depth = 0.0
        elif may_be_out:
            depth = min(depth, 0.0)
        total += max(0.0, depth + MARGIN)
    return WEIGHT * total


@numba.njit(cache=True)
def leg(R_end, p_end, way, turn, off_p, off_r, body, radii, grid, low, slope):
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
            R = R_end @ rotation(a * turn)
            total += near(R, p_end + a * way, a * off_p, spread, body, radii, grid, low, slope)
        best = min(best, total)
    return best


@numba.njit(cache=True)
def search(ends, share, is_last, body, grid, low, slope, first, smallest):
    """Whether no box holds a path below a cost. Returns boxes looked at, and the least left over.

    `ends` are the start's and the goal's pose; `is_last` leaves out the first leg.
    """
    radii = np.sqrt((body**2).sum(1))
    R_s, p_s = np.ascontiguousarray(ends[0, :3, :3]), ends[0, :3, 3].copy()
    R_g, p_g = np.ascontiguousarray(ends[1, :3, :3]), ends[1, :3, 3].copy()
    fixed = 4.0 if is_last else 3.0
    arm = radii.mean()
    straight = _length(p_g - p_s), _length(rotation_vector(R_s.T @ R_g))
    stack = np.empty((4096, 12))
    stack[0] = first
    n, n_boxes, left = 1, 0, np.inf
    while n:
        n -= 1
        n_boxes += 1
        middle, half = stack[n, :6].copy(), stack[n, 6:].copy()
        off_p, off_r = _length(half[:3]), _length(half[3:])
        to_s, to_g = middle[:3] - p_s, middle[:3] - p_g
        l_s, l_g = _length(to_s), _length(to_g)
        length = l_s + l_g
        if min(l_s, l_g) > 1e-9:  # convex: above its tangent
            length -= (np.abs(to_s / l_s + to_g / l_g) * half[:3]).sum()
        else:
            length -= 2 * off_p
        turn_s = middle[3:]
        R = R_s @ rotation(turn_s)
        turn_g = rotation_vector(R_g.T @ R)
        turn = max(_length(turn_s) + _length(turn_g) - 2 * off_r, straight[1])
        cost = LENGTH * (max(length, straight[0]) + turn) + fixed
        if cost > share:
            continue
        cost += leg(R_g, p_g, to_g, turn_g, off_p, off_r, body, radii, grid, low, slope)
        if is_last:
            cost += near(R, middle[:3], off_p, off_r, body, radii, grid, low, slope)
        elif cost <= share:
            cost += leg(R_s, p_s, to_s, turn_s, off_p, off_r, body, radii, grid, low, slope)
        if cost > share:
            continue
        if off_p + arm * off_r < smallest:
            left = min(left, cost)
            continue
        widest = 0
        for k in range(6):
            weight, most = (1.0 if k < 3 else arm), (1.0 if widest < 3 else arm)
            if weight * half[k] > most * half[widest]:
                widest = k
        half[widest] /= 2
        for side in (-1, 1):
            stack[n, :6], stack[n, 6:] = middle, half
            stack[n, widest] += side * half[widest]
            n += 1
    return n_boxes, left


def steepest(grid: np.ndarray, steps: list[float]) -> float:
    """The steepest slope of an interpolated grid, m/m: in a cell its edges are."""
    squares = np.zeros([n - 1 for n in grid.shape])
    for axis, step in enumerate(steps):
        slope = np.abs(np.diff(grid, axis=axis)) / step
        for other in {0, 1, 2} - {axis}:
            low, high = (np.delete(slope, at, other) for at in (-1, 0))
            slope = np.maximum(low, high)
        squares += slope**2
    return float(np.sqrt(squares.max()))


def prove(problem: Problem, cost: float) -> tuple[str, int]:
    """Prove that no path costs less; an empty sentence, or what is not proven. And boxes."""
    scorer = Scorer(problem)
    depth = scorer._depth
    low = np.array([[axis[0], axis[-1]] for axis in depth.grid]).T.copy()
    slope = steepest(depth.values, [axis[1] - axis[0] for axis in depth.grid])
    ends = np.array([problem.reach.T_start, problem.T_world_goal])
    if scorer.path([])["cost"] < cost:
        return "the straight way is cheaper", 0
    turn = pose.matrix_to_rotvec(ends[0, :3, :3].T @ ends[1, :3, :3])
    straight = np.linalg.norm(ends[1, :3, 3] - ends[0, :3, 3]), np.linalg.norm(turn)
    n_boxes = 0
    for is_last in (False, True):
        spare = (cost - (4 if is_last else 3)) / LENGTH - sum(straight)
        if spare < 0:
            continue
        # all places and turns by way of which a path is not too long by itself
        first = np.empty(12)
        for part, way in ((slice(0, 3), straight[0]), (slice(3, 6), straight[1])):
            first[part] = ends[:, :3, 3].mean(0) if part.start == 0 else turn / 2
            first[6:][part] = (way + spare) / 2
        first[9:] = np.minimum(straight[1] + spare, math.pi) if straight[1] else spare
        first[3:6] = 0.0
        n, left = search(
            ends, cost, is_last, problem.reach.body, depth.values, low, slope, first, SMALLEST
        )
        n_boxes += n
        if left < np.inf:
            which = "two or more waypoints" if is_last else "one waypoint"
            return f"a path with {which} might cost {left:.3f}", n_boxes
    return "", n_boxes


def main() -> None:
    """Prove the share for each problem, or say where it is not proven."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--problems", nargs="+", default=["pen-1", "pour-1", "stack-1"])
    parser.add_argument("--share", type=float, default=0.975)
    options = parser.parse_args()
    published = json.loads((HERE / "published.json").read_text())
    for problem in load():
        if problem.name in options.problems:
            begin = process_time()
            cost = options.share * published[problem.name]["path_cost"]
            why, n_boxes = prove(problem, cost)
            spent = process_time() - begin
            said = why or f"no path costs less than {cost:.3f}"
            print(f"{problem.name}: {said} ({n_boxes} boxes, {spent:.0f} CPU s)", flush=True)


if __name__ == "__main__":
    main()
