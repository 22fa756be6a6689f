"""Where attempts started, which of them succeeded, and what that does to the data.

Success filtering favours easy starts. `Coverage` says by how much; `thinned` takes it back.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from roboloop import pose
from roboloop.scene.graph import SceneGraph
from roboloop.task.spec import Task

N_BINS = 4
"""Of each quantity, of like width over what was tried."""
WEAK = 3.0
"""Standard errors by which a bin's success has to be below the rest's to be named."""


@dataclass(frozen=True)
class Coverage:
    """How the starts of successes differ from those of all attempts."""

    covered: float
    """Share of the bins that were tried, of all pairs of a thing's quantities, with a success."""
    bias: float
    """Largest total variation distance, 0..1, between successes and attempts in one quantity."""
    weak: tuple[str, ...]
    """Ranges of a quantity in which attempts fail clearly more often, in words."""


def start_names(task: Task, graph: SceneGraph) -> tuple[str, ...]:
    """Name what `start_of` returns."""
    free = [role for role, name in task.roles.items() if not graph.object(name).joints]
    return tuple(f"{role}.{part}" for role in free for part in ("x", "y", "yaw"))


def start_of(task: Task, graph: SceneGraph) -> Float[np.ndarray, "F"]:
    """Where the task's things stand: x, y (m) and yaw (rad), in the first arm's base frame."""
    T_base_world = pose.inverse(task.arms[0].T_world_base)
    parts = []
    for name in task.roles.values():
        obj = graph.object(name)
        if not obj.joints:
            T = T_base_world @ obj.T_world_obj
            parts += [T[0, 3], T[1, 3], np.arctan2(T[1, 0], T[0, 0])]
    return np.array(parts, float)


def binned(starts: Float[np.ndarray, "N F"]) -> Int[np.ndarray, "N F"]:
    """Put every quantity into one of `N_BINS` bins; what does not vary has only the first."""
    low, high = starts.min(0), starts.max(0)
    span = np.where(high - low > 1e-6, high - low, np.inf)
    return np.minimum((starts - low) / span * N_BINS, N_BINS - 1).astype(int)


def coverage(
    names: tuple[str, ...], starts: Float[np.ndarray, "N F"], good: Bool[np.ndarray, "N"]
) -> Coverage:
    """Compare successes with all attempts.

    Args:
        names: Of the quantities.
        starts: Every attempt's.
        good: Which attempts succeeded, one at least.
    """
    bins = binned(starts)
    tried, kept = _shares(bins), _shares(bins[good])
    bias = float(np.abs(tried - kept).sum(1).max() / 2) if len(names) else 0.0
    cells = {(f, *pair) for f in range(0, len(names), 3) for pair in map(tuple, bins[:, f : f + 2])}
    met = {
        (f, *pair) for f in range(0, len(names), 3) for pair in map(tuple, bins[good, f : f + 2])
    }
    covered = len(met) / len(cells) if cells else 1.0
    return Coverage(covered, bias, tuple(_weak(names, starts, bins, good)))


def thinned(bins: Int[np.ndarray, "N F"], good: Bool[np.ndarray, "N"], n: int) -> list[int]:
    """Choose `n` successes whose starts are spread as those of all attempts are.

    One after another, that success goes whose bins have most more than their share.

    Args:
        bins: Every attempt's.
        good: Which attempts succeeded.
        n: How many to keep.

    Returns:
        Attempts, in order.
    """
    tried, chosen = _shares(bins), list(np.flatnonzero(good))
    columns = np.arange(bins.shape[1])
    counts = _counts(bins[chosen])
    while len(chosen) > n:
        excess = counts / len(chosen) - tried
        scores = excess[columns, bins[chosen]].sum(1)
        gone = len(chosen) - 1 - int(np.argmax(scores[::-1]))  # the latest of those alike
        counts[columns, bins[chosen[gone]]] -= 1
        del chosen[gone]
    return [int(i) for i in chosen]


def _counts(bins: Int[np.ndarray, "N F"]) -> Float[np.ndarray, "F bins"]:
    return np.stack([(bins == b).sum(0) for b in range(N_BINS)], 1).astype(float)


def _shares(bins: Int[np.ndarray, "N F"]) -> Float[np.ndarray, "F bins"]:
    return _counts(bins) / max(1, len(bins))


def _weak(
    names: tuple[str, ...], starts: np.ndarray, bins: np.ndarray, good: np.ndarray
) -> list[str]:
    """Name the bins whose attempts fail clearly more often than the others do."""
    found = []
    for f, name in enumerate(names):
        for b in range(N_BINS):
            inside = bins[:, f] == b
            n_in, n_out = int(inside.sum()), int((~inside).sum())
            if not n_in or not n_out:
                continue
            here, there = good[inside].mean(), good[~inside].mean()
            error = np.sqrt(good.mean() * (1 - good.mean()) * (1 / n_in + 1 / n_out))
            if there - here > WEAK * error > 0:
                low, high = starts[inside, f].min(), starts[inside, f].max()
                share = f"{100 * here:.0f} % of {n_in} succeed"
                found.append(f"{name} {low:.2f} to {high:.2f}: {share}")
    return found
