"""Statistics of features as LeRobot stores them, exact: quantiles are not averaged or sampled."""

import numpy as np
from jaxtyping import Int64, Shaped, UInt8

Array = np.ndarray
Stats = dict[str, Array]
"""`min max mean std count` and the quantiles `q01 q10 q50 q90 q99`, one entry per dimension."""

QUANTILES = {"q01": 0.01, "q10": 0.1, "q50": 0.5, "q90": 0.9, "q99": 0.99}


def vector_stats(values: Shaped[Array, "T n"]) -> Stats:
    """Compute the statistics of each column."""
    values = values.astype(np.float64)
    quantiles = np.quantile(values, list(QUANTILES.values()), axis=0)
    return {
        "min": values.min(0),
        "max": values.max(0),
        "mean": values.mean(0),
        "std": values.std(0),
        "count": np.array([len(values)]),
        **dict(zip(QUANTILES, quantiles, strict=True)),
    }


def image_histogram(frames: UInt8[Array, "T h w 3"]) -> Int64[Array, "3 256"]:
    """Count how often each value occurs in each channel."""
    return np.stack([np.bincount(frames[..., c].ravel(), minlength=256) for c in range(3)])


def image_stats(histogram: Int64[Array, "3 256"], n_frames: int) -> Stats:
    """Compute the statistics of the pixels in 0..1 from their histogram, shaped (3, 1, 1).

    Equal to `vector_stats` over all pixels, at a fraction of its cost.
    """
    n_pixels = histogram[0].sum()
    values = np.arange(256) / 255
    mean = histogram @ values / n_pixels
    variance = (histogram * (values - mean[:, None]) ** 2).sum(1) / n_pixels
    seen = [np.flatnonzero(row) for row in histogram]
    stats = {
        "min": np.array([values[i[0]] for i in seen]),
        "max": np.array([values[i[-1]] for i in seen]),
        "mean": mean,
        "std": np.sqrt(variance),
    }
    cumulative = np.cumsum(histogram, axis=1)
    for name, q in QUANTILES.items():
        rank = q * (n_pixels - 1)
        low, high = int(np.floor(rank)), int(np.ceil(rank))
        ends = [values[np.searchsorted(row, [low, high], side="right")] for row in cumulative]
        stats[name] = np.array([a + (b - a) * (rank - low) for a, b in ends])
    stats = {name: value.reshape(3, 1, 1) for name, value in stats.items()}
    return stats | {"count": np.array([n_frames])}
