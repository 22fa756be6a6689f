"""Constrained minimisation from several starts: an augmented Lagrangian by quasi-Newton steps.

The curvature of the cost is learnt from its gradients (BFGS), that of the constraints is taken from
their derivatives (Gauss-Newton), so that a high penalty does not slow the search down. Compiled.

Source: Nocedal and Wright, "Numerical Optimization", 2nd edition: augmented Lagrangian, algorithm
17.4; damped BFGS, procedure 18.2; projection on bounds, section 16.7.
"""

from typing import NamedTuple, no_type_check

import numpy as np
from numba import njit

from roboloop.demo.terms import evaluate, n_constraints

PENALTY = (1e2, 1e6)
"""First and last weight of the squared violation, where the cost has 1."""
PENALTY_GROWTH = 3.0
FIRST_STEP, LONGEST_STEP = 0.15, 0.6
"""Length of a start's first step, and of any component of a step, in the variables' units."""
MET = 1e-7
"""A search ends when its violation is below this and its step below `STILL`."""
STILL = 1e-6
EXACT = 1e3
"""Weight of the violation when points are compared."""


@no_type_check
class Minimum(NamedTuple):
    """Where each start ended."""

    x: np.ndarray
    """(B, n)"""
    cost: np.ndarray
    """(B,)"""
    violation: np.ndarray
    """(B,) the largest of a constraint."""
    n_evaluations: int


@no_type_check
@njit(cache=True, error_model="numpy")
def minimise(terms, is_bound, starts, low, high, n_iterations, penalty):
    """Minimise from several starts within bounds; see the module.

    Args:
        terms: The problem, see `evaluate`.
        is_bound: (m,) whether a constraint asks for at most zero, rather than for zero.
        starts: (B, n) where each search begins.
        low: (n,) lower bounds.
        high: (n,) upper bounds.
        n_iterations: Evaluations of each start, at most.
        penalty: First and last weight of the squared violation.
    """
    n_starts = len(starts)
    x, cost, violation = starts.copy(), np.empty(n_starts), np.empty(n_starts)
    n_evaluations = 0
    for b in range(n_starts):
        done = _search(terms, is_bound, x[b], low, high, n_iterations, penalty)
        cost[b], violation[b] = done[0], done[1]
        n_evaluations += done[2]
    return Minimum(x, cost, violation, n_evaluations)


@no_type_check
@njit(cache=True, error_model="numpy")
def _search(terms, is_bound, x, low, high, n_iterations, penalty):
    """Search from one start, in place."""
    n, m = len(x), n_constraints(terms)
    x[:] = np.minimum(np.maximum(x, low), high)
    g, c, J = np.empty(n), np.empty(m), np.empty((m, n))
    g2, c2, J2 = np.empty(n), np.empty(m), np.empty((m, n))
    cost = evaluate(terms, x, g, c, J)
    n_evaluations = 1
    multiplier, weight = np.zeros(m), penalty[0]
    B = np.eye(n) * (np.sqrt((g * g).sum()) / FIRST_STEP + 1e-9)
    fresh, damping = True, 0.0
    best_x, best_cost, best_off = x.copy(), cost, _off(c, is_bound)
    best = cost + EXACT * _total(c, is_bound)
    slope, H = np.empty(n), np.empty((n, n))
    for _ in range(n_iterations):
        merit = _merit(cost, g, c, J, is_bound, multiplier, weight, slope, H)
        step = _step(B, H, slope, damping, x, low, high)
        there = x + step
        cost2 = evaluate(terms, there, g2, c2, J2)
        n_evaluations += 1
        better = _value(cost2, c2, is_bound, multiplier, weight) < merit - 1e-13 * abs(merit)
        size = np.abs(step).max()
        if better:
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
        stuck = damping > 1e4 or size < STILL
        if stuck and (_off(c, is_bound) < MET or weight >= penalty[1] and size < 1e-9):
            break
        if stuck or (better and size < 0.05):  # the multipliers follow
            for i in range(m):
                multiplier[i] += weight * c[i]
                if is_bound[i]:
                    multiplier[i] = max(multiplier[i], 0.0)
            weight = min(weight * PENALTY_GROWTH, penalty[1])
            if stuck:
                damping = 0.0
    x[:] = best_x
    return best_cost, best_off, n_evaluations


@no_type_check
@njit(cache=True, error_model="numpy")
def _value(cost, c, is_bound, multiplier, weight):
    """The augmented Lagrangian."""
    for i in range(len(c)):
        pull = multiplier[i] + weight * c[i]
        if is_bound[i]:
            pull = max(pull, 0.0)
        cost += (pull**2 - multiplier[i] ** 2) / (2 * weight)
    return cost


@no_type_check
@njit(cache=True, error_model="numpy")
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
@njit(cache=True, error_model="numpy")
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
    _solve(A, b)
    longest = np.abs(b).max()
    if longest > LONGEST_STEP:
        b *= LONGEST_STEP / longest
    return np.minimum(np.maximum(x + b, low), high) - x


@no_type_check
@njit(cache=True, error_model="numpy")
def _solve(A, b):
    """Solve A x = b for a positive definite A, in place (Cholesky)."""
    n = len(b)
    for j in range(n):
        d = A[j, j]
        for k in range(j):
            d -= A[j, k] ** 2
        d = np.sqrt(max(d, 1e-12))
        A[j, j] = d
        for i in range(j + 1, n):
            s = A[i, j]
            for k in range(j):
                s -= A[i, k] * A[j, k]
            A[i, j] = s / d
    for i in range(n):
        for k in range(i):
            b[i] -= A[i, k] * b[k]
        b[i] /= A[i, i]
    for i in range(n - 1, -1, -1):
        for k in range(i + 1, n):
            b[i] -= A[k, i] * b[k]
        b[i] /= A[i, i]


@no_type_check
@njit(cache=True, error_model="numpy")
def _learn(B, s, y, fresh):
    """Update the curvature of the cost with what a step showed, in place: damped BFGS."""
    n = len(s)
    sy, yy, ss = (s * y).sum(), (y * y).sum(), (s * s).sum()
    if ss < 1e-18:
        return
    if fresh and sy > 1e-12:
        B[:] = np.eye(n) * (yy / sy)
    Bs = B @ s
    sBs = max((s * Bs).sum(), 1e-18)
    share = 0.8 * sBs / (sBs - sy) if sy < 0.2 * sBs else 1.0
    r = share * y + (1 - share) * Bs
    sr = max((s * r).sum(), 1e-18)
    for a in range(n):
        for b in range(n):
            B[a, b] += r[a] * r[b] / sr - Bs[a] * Bs[b] / sBs


@no_type_check
@njit(cache=True, error_model="numpy")
def _off(c, is_bound):
    """The largest violation."""
    worst = 0.0
    for i in range(len(c)):
        worst = max(worst, c[i] if is_bound[i] else abs(c[i]))
    return worst


@no_type_check
@njit(cache=True, error_model="numpy")
def _total(c, is_bound):
    """The sum of all violations."""
    total = 0.0
    for i in range(len(c)):
        total += max(c[i], 0.0) if is_bound[i] else abs(c[i])
    return total
