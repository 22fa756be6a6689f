"""Constrained minimisation of many starts at once: an augmented Lagrangian by quasi-Newton steps.

The curvature of the cost is learnt from its gradients (BFGS), that of the constraints is taken
from their derivatives (Gauss-Newton), so that a high penalty does not slow the search down. One
evaluation an iteration serves all starts.

Source: Nocedal and Wright, "Numerical Optimization", 2nd edition: augmented Lagrangian, algorithm
17.4; damped BFGS, procedure 18.2; projection on bounds, section 16.7.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

PENALTY = (1e2, 1e5)
"""First and last weight of the squared violation, where the cost has 1."""
PENALTY_GROWTH = 3.0
FIRST_STEP = 0.15
"""Length of a start's first step, in the variables' units."""
MET = 1e-6
"""A start rests when its violation is below this and its step below `STILL`."""
STILL = 1e-5


@dataclass(frozen=True)
class Evaluation:
    """Cost, constraints and their exact derivatives at B points of n variables."""

    cost: Float[np.ndarray, "B"]
    gradient: Float[np.ndarray, "B n"]
    constraints: Float[np.ndarray, "B m"]
    """To be zero, or at most zero where `is_bound` says so."""
    jacobian: Float[np.ndarray, "B m n"]
    is_bound: Bool[np.ndarray, "m"]


@dataclass(frozen=True)
class Minimum:
    """Where each start ended."""

    x: Float[np.ndarray, "B n"]
    cost: Float[np.ndarray, "B"]
    violation: Float[np.ndarray, "B"]
    """Largest violation of a constraint."""
    n_evaluations: int


def minimise(
    evaluate: Callable[[np.ndarray], Evaluation],
    start: Float[np.ndarray, "B n"],
    low: Float[np.ndarray, "n"],
    high: Float[np.ndarray, "n"],
    n_iterations: int,
    penalty: tuple[float, float] = PENALTY,
) -> Minimum:
    """Minimise from several starts within bounds; see the module.

    Args:
        evaluate: Cost and constraints at a batch of points.
        start: Where each search begins.
        low: Lower bounds.
        high: Upper bounds.
        n_iterations: Evaluations of the whole batch, at most.
        penalty: First and last weight of the squared violation.
    """
    x = np.clip(start, low, high)
    now = evaluate(x)
    n_starts, n = x.shape
    multiplier = np.zeros_like(now.constraints)
    weight = np.full(n_starts, penalty[0])
    scale = np.linalg.norm(now.gradient, axis=1) / FIRST_STEP + 1e-9
    B = scale[:, None, None] * np.eye(n)
    damping = np.zeros(n_starts)
    fresh = np.ones(n_starts, bool)
    resting = np.zeros(n_starts, bool)
    best_x, best = x.copy(), _ranking(now)
    n_evaluations = 2
    for _ in range(n_iterations):
        n_evaluations += 1
        slope, H, merit = _merit(now, multiplier, weight)
        step = _step(B + H, slope, damping * np.linalg.norm(B, axis=(1, 2)), x, low, high)
        there = x + step
        then = evaluate(there)
        better = _merit(then, multiplier, weight)[2] < merit - 1e-12 * np.abs(merit)
        change = then.gradient - now.gradient
        _learn(B, step, change, fresh & better)
        fresh &= ~better
        still = np.abs(step).max(1) < STILL
        damping = np.where(better, damping / 4, np.maximum(4 * damping, 0.25))
        damping[damping < 1e-3] = 0.0
        x = np.where(better[:, None], there, x)
        now = _where(better, then, now)
        better_now = _ranking(now) < best
        best_x[better_now], best[better_now] = x[better_now], _ranking(now)[better_now]
        resting = (still | (damping > 1e3)) & (_violation(now) < MET)
        if resting.all():
            break
        # the multipliers follow every accepted step that is small or no longer helps
        settled = better & (np.abs(step).max(1) < 0.05) | still | (damping > 1e3)
        move = np.where(settled, weight, 0.0)[:, None] * now.constraints
        multiplier = np.where(now.is_bound, np.maximum(multiplier + move, 0.0), multiplier + move)
        damping[settled & ~better] = 0.0
        weight = np.minimum(np.where(settled, weight * PENALTY_GROWTH, weight), penalty[1])
    final = evaluate(best_x)
    return Minimum(best_x, final.cost, _violation(final), n_evaluations)


def _merit(
    now: Evaluation, multiplier: np.ndarray, weight: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Gradient, constraint curvature and value of the augmented Lagrangian."""
    w = weight[:, None]
    pull = multiplier + w * now.constraints
    active = ~now.is_bound | (pull > 0)
    pull = np.where(active, pull, 0.0)
    J = np.where(active[..., None], now.jacobian, 0.0)
    slope = now.gradient + (pull[:, None] @ J)[:, 0]
    H = weight[:, None, None] * (np.swapaxes(J, 1, 2) @ J)
    value = now.cost + ((pull**2 - multiplier**2) / (2 * w)).sum(1)
    return slope, H, value


def _step(
    H: np.ndarray,
    slope: np.ndarray,
    damping: np.ndarray,
    x: np.ndarray,
    low: np.ndarray,
    high: np.ndarray,
) -> np.ndarray:
    """Newton step within the bounds; variables that a bound holds do not move."""
    diagonal = np.arange(x.shape[1])
    H = H.copy()
    H[:, diagonal, diagonal] += damping[:, None] + 1e-9 * H[:, diagonal, diagonal] + 1e-9
    held = ((x <= low) & (slope > 0)) | ((x >= high) & (slope < 0))
    H = np.where(held[:, :, None] | held[:, None, :], 0.0, H)
    H[:, diagonal, diagonal] += held
    step = -np.linalg.solve(H, np.where(held, 0.0, slope)[..., None])[..., 0]
    longest = np.abs(step).max(1, keepdims=True)
    step *= np.minimum(1.0, 0.6 / np.maximum(longest, 1e-12))
    return np.clip(x + step, low, high) - x


def _learn(B: np.ndarray, s: np.ndarray, y: np.ndarray, fresh: np.ndarray) -> None:
    """Update the curvature of the cost with what a step showed, in place: damped BFGS."""
    yy, sy = (y * y).sum(1), (s * y).sum(1)
    rescaled = fresh & (sy > 1e-12)
    B[rescaled] = (yy / np.maximum(sy, 1e-12))[rescaled, None, None] * np.eye(s.shape[1])
    Bs = (B @ s[..., None])[..., 0]
    sBs = np.maximum((s * Bs).sum(1), 1e-18)
    share = np.where(sy < 0.2 * sBs, 0.8 * sBs / np.maximum(sBs - sy, 1e-18), 1.0)
    r = share[:, None] * y + (1 - share)[:, None] * Bs
    sr = np.maximum((s * r).sum(1), 1e-18)
    moved = (s * s).sum(1) > 1e-16
    update = r[:, :, None] * r[:, None] / sr[:, None, None]
    update -= Bs[:, :, None] * Bs[:, None] / sBs[:, None, None]
    B[moved] += update[moved]


def _violation(now: Evaluation) -> np.ndarray:
    off = np.where(now.is_bound, now.constraints, np.abs(now.constraints))
    return off.max(1, initial=0.0)


def _ranking(now: Evaluation) -> np.ndarray:
    """What makes one point better than another: the cost with an exact penalty."""
    off = np.where(now.is_bound, np.maximum(now.constraints, 0), np.abs(now.constraints))
    return now.cost + 1e3 * off.sum(1)


def _where(which: np.ndarray, a: Evaluation, b: Evaluation) -> Evaluation:
    """Rows of one evaluation or the other."""
    return Evaluation(
        np.where(which, a.cost, b.cost),
        np.where(which[:, None], a.gradient, b.gradient),
        np.where(which[:, None], a.constraints, b.constraints),
        np.where(which[:, None, None], a.jacobian, b.jacobian),
        a.is_bound,
    )
