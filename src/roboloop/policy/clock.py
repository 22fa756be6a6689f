"""What a hand was lately told: while it waits for its fingers, nothing else changes."""

import numpy as np
from jaxtyping import Bool, Float32, Int64

RECENT_STEPS = 12
"""Control steps after which a command is no longer recent: as long as fingers take, and more."""


def recency(
    above: Bool[np.ndarray, "*B"], since: Int64[np.ndarray, "*B"]
) -> Float32[np.ndarray, "*B"]:
    """Say how recent a gripper's command is: from 1 (or -1, for the lower one) down to 0.

    Args:
        above: Whether it is in the upper half of its range.
        since: Control steps for which it has been carried out.
    """
    left = np.maximum(0, 1 - since / RECENT_STEPS)
    return np.where(above, left, -left).astype(np.float32)


def recorded_recency(
    above: Bool[np.ndarray, "n"], starts: Int64[np.ndarray, "E1"]
) -> Float32[np.ndarray, "n"]:
    """What `Clock` says before each frame of recorded episodes; `starts` as `Cache.starts`."""
    frames, first = np.arange(len(above)), np.repeat(starts[:-1], np.diff(starts))
    changed = (above != np.roll(above, 1)) & (frames > first)
    last = np.maximum.accumulate(np.where(changed, frames, -RECENT_STEPS))
    before = np.maximum(frames - 1, first)
    since = np.where(last[before] > first, frames - last[before], RECENT_STEPS)
    return recency(above[before], since)


class Clock:
    """Counts the steps since the hands of N robots were told something new."""

    def __init__(self, n: int) -> None:
        self._above: np.ndarray | None = None
        self._since = np.full(n, RECENT_STEPS)

    @property
    def recency(self) -> Float32[np.ndarray, "N"]:
        """See `recency`; an episode's first command is as old as can be."""
        if self._above is None:
            return np.zeros(len(self._since), np.float32)
        return recency(self._above, self._since)

    def advance(self, above: Bool[np.ndarray, "N S"]) -> None:
        """Take note of the commands of the next S steps."""
        for now in above.T:
            old = True if self._above is None else now == self._above
            self._since = np.where(old, self._since + 1, 1)
            self._above = now
