"""Why attempts failed, counted: what differs by measured numbers only is one cause."""

import re
from collections import Counter
from collections.abc import Sequence


def cause_of(reason: str) -> str:
    """Give a reason without by how much: `out of reach` of `out of reach by 2.3 cm and 8 deg`."""
    return re.sub(r" by \d.*", "", reason)


def count_failures(reasons: Sequence[str]) -> dict[str, int]:
    """Count the causes of the reasons that are not empty, most frequent first."""
    counts = Counter(cause_of(reason) for reason in reasons if reason)
    return {c: counts[c] for c in sorted(counts, key=lambda c: (-counts[c], c))}
