"""Which of the families an object is: hypotheses scored by what was measured.

Every family says in which ranges its measurements lie, and how soft the ends are. The score of a
hypothesis is the product of its memberships, so that the reason for a choice can be read off.
"""

import numpy as np

Range = tuple[float, float, float]
"""Lowest and highest value of full membership, and the distance at which it falls to 0.37."""

CLOSED: Range = (-1.0, 0.12, 0.08)
NO_HANDLE: Range = (0.0, 0.010, 0.006)
ROUND: Range = (0.6, 1.0, 0.1)
ANGULAR: Range = (0.0, 0.55, 0.1)

HYPOTHESES: dict[str, dict[str, Range]] = {
    "plate": {"round": ROUND, "slender": (0.0, 0.25, 0.05), "length": (0.10, 0.32, 0.03)},
    "bowl": {
        "round": ROUND,
        "hollow": (0.3, 1.0, 0.1),
        "slender": (0.3, 0.8, 0.07),
        "handle": NO_HANDLE,
    },
    "mug": {
        "hollow": (0.35, 1.0, 0.1),
        "slender": (0.7, 1.8, 0.1),
        "handle": (0.018, 0.06, 0.008),
        "height": (0.06, 0.18, 0.02),
    },
    "pan": {
        "hollow": (0.3, 1.0, 0.1),
        "slender": (0.1, 0.45, 0.08),
        "handle": (0.08, 0.3, 0.02),
        "length": (0.2, 0.55, 0.05),
    },
    "pot": {
        "hollow": (-1.0, 0.2, 0.1),
        "handle": (0.03, 0.10, 0.008),
        "height": (0.10, 0.30, 0.02),
        "slender": (0.7, 2.5, 0.2),
        "faces": (0.0, 0.75, 0.05),
    },
    "can": {
        "round": ROUND,
        "hollow": (-1.0, 0.15, 0.08),
        "slender": (0.6, 2.2, 0.15),
        "neck": (0.85, 1.1, 0.08),
        "handle": (0.0, 0.017, 0.008),
    },
    "bottle": {
        "neck": (0.1, 0.65, 0.06),
        "slender": (1.8, 6.0, 0.3),
        "handle": NO_HANDLE,
        "length": (0.02, 0.12, 0.02),
    },
    "box": {
        "round": ANGULAR,
        "hollow": CLOSED,
        "fill": (0.9, 1.0, 0.04),
        "neck": (0.75, 1.1, 0.08),
        "width": (0.01, 0.16, 0.03),
    },
    "basket": {
        "round": ANGULAR,
        "leaning": (0.0, 0.4, 0.1),
        "roof": (0.0, 0.2, 0.1),
        "hollow": (0.3, 1.0, 0.08),
        "fill": (0.85, 1.0, 0.06),
        "height": (0.095, 0.35, 0.012),
        "width": (0.08, 0.45, 0.03),
    },
    "tray": {
        "round": ANGULAR,
        "roof": (0.0, 0.2, 0.1),
        "hollow": (0.3, 1.0, 0.08),
        "fill": (0.85, 1.0, 0.06),
        "height": (0.015, 0.095, 0.012),
        "width": (0.08, 0.45, 0.03),
    },
    "drawer_cabinet": {
        "height": (0.12, 0.7, 0.03),
        "width": (0.15, 0.7, 0.03),
        "bars": (1.0, 6.0, 0.4),
        "roof": (0.3, 1.1, 0.06),
    },
    "microwave": {
        "height": (0.12, 0.45, 0.03),
        "width": (0.17, 0.7, 0.03),
        "door": (1.0, 1.0, 0.4),
        "roof": (0.3, 1.1, 0.06),
    },
    "stove": {
        "height": (0.035, 0.11, 0.01),
        "width": (0.13, 0.5, 0.04),
        "flat": (0.4, 1.0, 0.1),
        "slab": (0.4, 0.88, 0.05),
    },
    "rack": {
        "height": (0.12, 0.6, 0.03),
        "width": (0.12, 0.6, 0.03),
        "open": (0.03, 1.0, 0.02),
        "hollow": (-1.0, 0.6, 0.1),
        "round": ANGULAR,
    },
}


def membership(value: float, limits: Range) -> float:
    """1 inside of a range, falling like a bell outside."""
    low, high, soft = limits
    off = max(low - value, value - high, 0.0) / soft
    return float(np.exp(-off * off))


def score_families(features: dict[str, float]) -> dict[str, float]:
    """Score every family, best first."""
    scores = {
        family: float(np.prod([membership(features[key], r) for key, r in ranges.items()]))
        for family, ranges in HYPOTHESES.items()
    }
    return dict(sorted(scores.items(), key=lambda item: -item[1]))


def classify(features: dict[str, float]) -> str:
    """Choose the family; things that fit none are boxes, or vessels when they are hollow."""
    scores = score_families(features)
    best = next(iter(scores))
    if scores[best] > 0.02:
        return best
    if features["hollow"] > 0.4:
        return "bowl" if features["round"] > ROUND[0] else "basket"
    return "box"
