"""Constrained minimisation from several starts: an augmented Lagrangian by quasi-Newton steps.

The curvature of the cost is learnt from its gradients (BFGS), that of the constraints is taken from
their derivatives (Gauss-Newton), so that a high penalty does not slow the search down. Compiled.

Source: Nocedal and Wright, "Numerical Optimization", 2nd edition: augmented Lagrangian, algorithm
17.4; damped BFGS, procedure 18.2; projection on bounds, section 16.7.
"""

from dataclasses import dataclass
from typing import no_type_check

import numpy as np
from jaxtyping import Bool, Float

from roboloop.chain import cholesky_solve
from roboloop.compiled import entry, inner
from roboloop.demo.solver.terms import Terms, evaluate, n_constraints

PENALTY = (1e2, 1e6)
"""First and last weight of the squared violation, where the cost has 1."""
PENALTY_GROWTH = 3.0
FIRST_STEP, LONGEST_STEP = 0.15, 0.6
"""Length of a start's first step, and of any component of a step, in the variables' units."""
MET = 1e-7
"""A search ends when its violation is below this and its step below `STILL`."""
STILL = 1e-6
GAIN, NEAR = 1e-5, 1e-6
"""It also ends when two steps gain less than this share each, and violations are below `NEAR`."""
EXACT = 1e3
"""Weight of the violation when points are compared."""


@dataclass(frozen=True)
class Minimum:
    """Where each start ended."""

    x: Float[np.ndarray, "B n"]
    cost: Float[np.ndarray, "B"]
    violation: Float[np.ndarray, "B"]
    """The largest of a constraint."""
    n_evaluations: int


def minimise(
    terms: Terms,
    is_bound: Bool[np.ndarray, "m"],
    starts: Float[np.ndarray, "B n"],
    limits: Float[np.ndarray, "n 2"],
    n_iterations: int,
    penalty: tuple[float, float] = PENALTY,
) -> Minimum:
    """Minimise from several starts within limits; see the module.

    Args:
        terms: The problem.
        is_bound: Whether a constraint asks for at most zero, rather than for zero.
        starts: Where each search begins.
        limits: Lower and upper bounds.
        n_iterations: Evaluations of each start, at most.
        penalty: First and last weight of the squared violation.
    """
    x = np.array(starts, float)
    low, high = np.ascontiguousarray(limits.T)
    ends = [search(terms, is_bound, row, low, high, n_iterations, *penalty) for row in x]
    cost, violation, n_evaluations = zip(*ends, strict=True)
    return Minimum(x, np.array(cost), np.array(violation), sum(n_evaluations))


@no_type_check
@entry
def search(terms, is_bound, x, low, high, n_iterations, first_weight, last_weight):
    """Search from one start, in place."""
    n, m = len(x), n_constraints(terms)
    x[:] = np.minimum(np.maximum(x, low), high)
    g, c, J = np.empty(n), np.empty(m), np.empty((m, n))
    g2, c2, J2 = np.empty(n), np.empty(m), np.empty((m, n))
    cost = evaluate(terms, x, g, c, J)
    n_evaluations = 1
    multiplier, weight = np.zeros(m), first_weight
    B = np.eye(n) * (np.sqrt((g * g).sum()) / FIRST_STEP + 1e-9)
    fresh, damping, idle = True, 0.0, 0
    best_x, best_cost, best_off = x.copy(), cost, _off(c, is_bound)
    best = cost + EXACT * _total(c, is_bound)
    slope, H = np.empty(n), np.empty((n, n))
    for _ in range(n_iterations):
        merit = _merit(cost, g, c, J, is_bound, multiplier, weight, slope, H)
        step = _step(B, H, slope, damping, x, low, high)
        there = x + step
        cost2 = evaluate(terms, there, g2, c2, J2)
        n_evaluations += 1
        gain = merit - _value(cost2, c2, is_bound, multiplier, weight)
        better = gain > 1e-13 * abs(merit)
        size = np.abs(step).max()
        if better:
            idle = idle + 1 if gain < GAIN * abs(merit) else 0
            _learn(B, step, g2 - g, fresh)
            fresh = False
            x[:], cost = there, cost2
            g, g2, c, c2, J, J2 = g2, g, c2, c, J2, J
            damping = damping / 4 if damping > 1e-3 else 0.0
            off = _off(c, is_bound)
            rank = cost + EXACT * _total(c, is_bound)
            if rank < best:
                best, best_cost, best_off = rank, cost, off
                best_x[:] = x
        else:
            damping = max(4 * damping, 0.1)
        if idle >= 2 and _off(c, is_bound) < NEAR:
            break
        stuck = damping > 1e4 or size < STILL
        if stuck and (_off(c, is_bound) < MET or (weight >= last_weight and size < 1e-9)):
            break
        if stuck or (better and size < 0.05):  # the multipliers follow
            for i in range(m):
                multiplier[i] += weight * c[i]
                if is_bound[i]:
                    multiplier[i] = max(multiplier[i], 0.0)
            weight = min(weight * PENALTY_GROWTH, last_weight)
            if stuck:
                damping = 0.0
    x[:] = best_x
    return best_cost, best_off, n_evaluations


@no_type_check
@inner
def _value(cost, c, is_bound, multiplier, weight):
    """The augmented Lagrangian."""
    for i in range(len(c)):
        pull = multiplier[i] + weight * c[i]
        if is_bound[i]:
            pull = max(pull, 0.0)
        cost += (pull**2 - multiplier[i] ** 2) / (2 * weight)
    return cost


@no_type_check
@inner
def _merit(cost, g, c, J, is_bound, multiplier, weight, slope, H):
    """The augmented Lagrangian; its gradient and the constraints' curvature, in place."""
    n = len(g)
    slope[:] = g
    H[:] = 0.0
    for i in range(len(c)):
        pull = multiplier[i] + weight * c[i]
        if is_bound[i] and pull <= 0:
            continue
        for a in range(n):
            slope[a] += pull * J[i, a]
            for b in range(n):
                H[a, b] += weight * J[i, a] * J[i, b]
    return _value(cost, c, is_bound, multiplier, weight)


@no_type_check
@inner
def _step(B, H, slope, damping, x, low, high):
    """Newton step within the bounds; variables that a bound holds do not move."""
    n = len(x)
    A = B + H
    scale = 0.0
    for a in range(n):
        scale += B[a, a] / n
    b = -slope.copy()
    for a in range(n):
        A[a, a] += damping * scale + 1e-10 * A[a, a] + 1e-9
    for a in range(n):
        if (x[a] <= low[a] and slope[a] > 0) or (x[a] >= high[a] and slope[a] < 0):
            A[a, :] = 0.0
            A[:, a] = 0.0
            A[a, a], b[a] = 1.0, 0.0
    cholesky_solve(A, b)
    longest = np.abs(b).max()
    if longest > LONGEST_STEP:
        b *= LONGEST_STEP / longest
    return np.minimum(np.maximum(x + b, low), high) - x


@no_type_check
@inner
def _learn(B, s, y, fresh):
    """Update the curvature of the cost with what a step showed, in place: damped BFGS."""
    n = len(s)
    sy, yy, ss, sBs = 0.0, 0.0, 0.0, 1e-18
    for a in range(n):
        sy, yy, ss = sy + s[a] * y[a], yy + y[a] ** 2, ss + s[a] ** 2
    if ss < 1e-18:
        return
    Bs = np.zeros(n)
    for a in range(n):
        for b in range(n):
            if fresh and sy > 1e-12:
                B[a, b] = yy / sy if a == b else 0.0
            Bs[a] += B[a, b] * s[b]
        sBs += s[a] * Bs[a]
    share = 0.8 * sBs / (sBs - sy) if sy < 0.2 * sBs else 1.0
    sr = max(share * sy + (1 - share) * sBs, 1e-18)
    for a in range(n):
        for b in range(n):
            ra, rb = share * y[a] + (1 - share) * Bs[a], share * y[b] + (1 - share) * Bs[b]
            B[a, b] += ra * rb / sr - Bs[a] * Bs[b] / sBs


@no_type_check
@inner
def _off(c, is_bound):
    """The largest violation."""
    worst = 0.0
    for i in range(len(c)):
        worst = max(worst, c[i] if is_bound[i] else abs(c[i]))
    return worst


@no_type_check
@inner
def _total(c, is_bound):
    """The sum of all violations."""
    total = 0.0
    for i in range(len(c)):
        total += max(c[i], 0.0) if is_bound[i] else abs(c[i])
    return total
