"""Where attempts started, by what came of them: SVG text, a panel for each thing that moves."""

from collections import Counter
from collections.abc import Mapping, Sequence
from html import escape

import numpy as np
from jaxtyping import Float, Int

from roboloop.chart import text_at, ticks

SUCCEEDED = "succeeded"
SIDE, MARGIN, TOP, BOTTOM, LINE = 230, 44, 28, 34, 20
"""Of a panel, left of it, above and below; height of a line of the legend; px."""
MIN_WIDTH = 560
STILL = 1e-3
"""What moves by less, m, has no panel."""
MAX_POINTS = 3000
"""Of more attempts, so many are drawn, evenly."""
MAX_GROUPS = 7
"""Of more outcomes, the rarest are drawn as one."""
STYLE = (
    "svg{font:12px sans-serif;background:#fff}text{fill:#555}.grid{stroke:#ddd;fill:none}"
    ".name{font-weight:600}.dots{fill:none;stroke-linecap:round}.dots.s0{opacity:.55}"
    ".s0{stroke:#0b6e6e}.s1{stroke:#c2542d}.s2{stroke:#5b5fc7}.s3{stroke:#b08a14}"
    ".s4{stroke:#b8418f}.s5{stroke:#3a86c8}.s6{stroke:#6b6c70}"
)
"""Of a drawing that stands alone; in a page, the page's counts."""


def start_panels(starts: Mapping[str, Sequence[float]]) -> dict[str, Float[np.ndarray, "N 2"]]:
    """Take the places of things from columns such as `object.x` and `object.y`, m.

    Returns:
        By role: x ahead of the robot, y to its left; those that stand still are left out.
    """
    roles = [name.removesuffix(".x") for name in starts if name.endswith(".x")]
    places = {r: np.stack([starts[f"{r}.x"], starts[f"{r}.y"]], 1).astype(float) for r in roles}
    return {r: p for r, p in places.items() if len(p) and np.ptp(p, 0).max() > STILL}


def scatter(
    panels: Mapping[str, Float[np.ndarray, "N 2"]], outcomes: Sequence[str], alone: bool = False
) -> str:
    """Draw starts as seen from above, the robot below; empty where nothing moves.

    Args:
        panels: By role, where it stood in each attempt: x ahead, y to the left, m.
        outcomes: What came of each attempt, in words; `SUCCEEDED` is drawn first, then the others,
            the most frequent first.
        alone: Whether the drawing is a file of its own.
    """
    if not panels:
        return ""
    counts = sorted(Counter(outcomes).items(), key=lambda item: (item[0] != SUCCEEDED, -item[1]))
    names = [name for name, _ in counts]
    groups = np.array([min(names.index(outcome), MAX_GROUPS - 1) for outcome in outcomes])
    n = len(outcomes)
    shown = np.linspace(0, n - 1, min(n, MAX_POINTS)).astype(int)
    span = 1.1 * max(np.ptp(places, 0).max() for places in panels.values())
    parts = [f"<style>{STYLE}</style>"] if alone else []
    for k, (role, places) in enumerate(panels.items()):
        left, middle = MARGIN + k * (SIDE + MARGIN), (places.min(0) + places.max(0)) / 2
        parts += _grid(role, left, middle, span)
        parts += _dots(places[shown], groups[shown], left, middle, span)
    legend = _legend(counts, n, len(shown))
    parts += [line for lines in legend for line in lines]
    width = max(len(panels) * (SIDE + MARGIN) + 12, MIN_WIDTH)
    size = f'viewBox="0 0 {width} {_under(len(legend))}" width="{width}"'
    label = escape(f"starts of {n} attempts: {', '.join(panels)}")
    head = f'xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-label="{label}"'
    return f'<svg class="chart scatter" {head}>{"".join(parts)}</svg>'


def _grid(role: str, left: float, middle: Float[np.ndarray, "2"], span: float) -> list[str]:
    """Draw a panel's name, lines and numbers."""
    parts = [text_at(left, TOP - 10, role, "start", "name")]
    for axis in (0, 1):
        low, high = middle[axis] - span / 2, middle[axis] + span / 2
        for tick in (t for t in ticks(low, high) if low <= t <= high):
            far = SIDE * (high - tick) / span
            if axis == 0:
                parts += [f'<path class="grid" d="M{left} {TOP + far:.1f}h{SIDE}"/>']
                parts += [text_at(left - 5, TOP + far + 4, f"{tick:g}", "end")]
            else:
                parts += [f'<path class="grid" d="M{left + far:.1f} {TOP}v{SIDE}"/>']
                parts += [text_at(left + far, TOP + SIDE + 16, f"{tick:g}", "middle")]
    return parts


def _dots(
    places: Float[np.ndarray, "N 2"],
    groups: Int[np.ndarray, "N"],
    left: float,
    middle: Float[np.ndarray, "2"],
    span: float,
) -> list[str]:
    """Draw a path of dots for each group."""
    px = SIDE * (0.5 - (places - middle) / span)
    size = float(np.clip(60 / np.sqrt(len(places)), 2.5, 6))
    parts = []
    for group in np.unique(groups):
        dots = "".join(f"M{left + y:.1f} {TOP + x:.1f}h0" for x, y in px[groups == group])
        parts += [f'<path class="dots s{group}" stroke-width="{size:.1f}" d="{dots}"/>']
    return parts


def _legend(counts: Sequence[tuple[str, int]], n: int, n_shown: int) -> list[list[str]]:
    """Draw the lines below: what the dots are, and how many."""
    rest = counts[MAX_GROUPS - 1 :]
    if len(rest) > 1:
        counts = [*counts[: MAX_GROUPS - 1], (f"{len(rest)} others", sum(k for _, k in rest))]
    lines = []
    for i, (name, k) in enumerate(counts):
        y = _under(i) - LINE / 2
        dot = f'<path class="dots s{i}" stroke-width="8" d="M{MARGIN + 4} {y}h0"/>'
        lines += [[dot, text_at(MARGIN + 16, y + 4, f"{name}  {k:,}", "start")]]
    some = f"; {n_shown:,} of {n:,} attempts" if n_shown < n else ""
    said = f"m in the robot's frame, seen from above, the robot below{some}"
    return [*lines, [text_at(MARGIN, _under(len(lines)) - LINE / 2 + 4, said, "start")]]


def _under(n_lines: int) -> float:
    """Where the legend's n-th line ends, px from the top."""
    return TOP + SIDE + BOTTOM + n_lines * LINE + LINE
