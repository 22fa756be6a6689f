"""Success rates that say how sure they are."""

import math


def wilson(successes: int, n: int, z: float = 1.96) -> tuple[float, float]:
    """Give the Wilson score interval of a rate; (0, 1) when nothing was tried.

    Args:
        successes: How many succeeded.
        n: How many were tried.
        z: Quantile of the normal distribution; 1.96 gives 95 %.

    Source: Wilson 1927, "Probable inference, the law of succession, and statistical inference".
    """
    if n == 0:
        return 0.0, 1.0
    rate = successes / n
    centre = rate + z**2 / (2 * n)
    half = z * math.sqrt(rate * (1 - rate) / n + z**2 / (4 * n**2))
    low, high = (centre - half) / (1 + z**2 / n), (centre + half) / (1 + z**2 / n)
    return (0.0 if successes == 0 else low), (1.0 if successes == n else high)


def percent(successes: int, n: int) -> str:
    """Write a rate with its interval: `83 % [80, 85]`; a dash when nothing was tried."""
    if n == 0:
        return "–"
    low, high = wilson(successes, n)
    return f"{successes / n:.0%} [{100 * low:.0f}, {100 * high:.0f}]".replace("%", " %")
