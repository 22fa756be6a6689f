"""Line charts as SVG text: no script, no library, colours from the page's style sheet."""

import math
from collections.abc import Callable, Mapping, Sequence
from html import escape

Points = Sequence[tuple[float, float]]
Map = Callable[[float], float]
WIDTH, HEIGHT = 720, 300
LEFT, RIGHT, TOP, BOTTOM = 46, 170, 14, 34
"""Margins, px; the lines' names stand in the right one."""


def line_chart(
    x: Sequence[float], series: Mapping[str, Sequence[float]], x_name: str, y_name: str
) -> str:
    """Draw lines over a common x; y is logarithmic where it spans more than a factor of 20.

    Args:
        x: Position of every point.
        series: Name -> value at every x; values that are not finite are skipped.
        x_name: What x counts.
        y_name: What is drawn, for the description.
    """
    lines = {name: _finite(x, ys) for name, ys in series.items()}
    lines = {name: points for name, points in lines.items() if points}
    if not lines:
        return ""
    xs, ys = zip(*[point for points in lines.values() for point in points], strict=True)
    log = min(ys) > 0 and max(ys) > 20 * min(ys)
    y_ticks = log_ticks(min(ys), max(ys)) if log else ticks(min(0.0, *ys), max(ys))
    x_ticks = ticks(min(xs), max(xs))
    map_x = _scale(min(xs), max(xs), LEFT, WIDTH - RIGHT)
    low, high = min(y_ticks[0], *ys), max(y_ticks[-1], *ys)
    warp = math.log if log else float
    place_y = _scale(warp(low), warp(high), HEIGHT - BOTTOM, TOP)

    def map_y(y: float) -> float:
        return place_y(warp(y))

    label = escape(f"{y_name} over {x_name}: {', '.join(lines)}")
    parts = [f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{label}">']
    for y in y_ticks:
        parts += [f'<path class="grid" d="M{LEFT} {map_y(y):.1f}H{WIDTH - RIGHT}"/>']
        parts += [text_at(LEFT - 8, map_y(y) + 4, f"{y:g}", "end")]
    for value in x_ticks:
        if min(xs) <= value <= max(xs):
            parts += [text_at(map_x(value), HEIGHT - 12, f"{value:,g}", "middle")]
    parts += [text_at(WIDTH - RIGHT + 12, HEIGHT - 12, x_name, "start")]
    parts += _draw_lines(lines, map_x, map_y)
    return "".join([*parts, "</svg>"])


def _draw_lines(lines: Mapping[str, Points], map_x: Map, map_y: Map) -> list[str]:
    parts = []
    ends = sorted((map_y(points[-1][1]), name) for name, points in lines.items())
    label_y = TOP - 10.0
    places = {}
    for y, name in ends:  # names of lines that end close to each other move apart
        label_y = places[name] = max(y, label_y + 18)
    for i, (name, points) in enumerate(lines.items()):
        path = " ".join(f"{map_x(a):.1f},{map_y(b):.1f}" for a, b in points)
        parts += [f'<polyline class="line s{i % 4}" points="{path}"/>']
        end_x, end_y = map_x(points[-1][0]), map_y(points[-1][1])
        parts += [f'<circle class="end s{i % 4}" cx="{end_x:.1f}" cy="{end_y:.1f}" r="3.5"/>']
        text = f"{name.replace('_', ' ')} {points[-1][1]:.3g}"
        parts += [text_at(WIDTH - RIGHT + 12, places[name] + 4, text, "start", f"name s{i % 4}")]
    return parts


def text_at(x: float, y: float, text: str, anchor: str, style: str = "tick") -> str:
    """Write a text at a place; `anchor` is `start`, `middle` or `end`."""
    place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"'
    return f'<text class="{style}" {place}>{escape(text)}</text>'


def _finite(x: Sequence[float], y: Sequence[float]) -> Points:
    return [(a, b) for a, b in zip(x, y, strict=True) if math.isfinite(a) and math.isfinite(b)]


def _scale(low: float, high: float, start: float, stop: float) -> Map:
    span = (high - low) or 1.0
    return lambda value: start + (value - low) / span * (stop - start)


def ticks(low: float, high: float, n: int = 4) -> list[float]:
    """Give round numbers that cover [low, high], about `n` of them.

    Source: Heckbert 1990, "Nice numbers for graph labels", Graphics Gems.
    """
    raw = (high - low) / n or abs(high) or 1.0
    power = 10.0 ** math.floor(math.log10(raw))
    step = power * next(m for m in (1, 2, 2.5, 5, 10) if raw <= m * power * (1 + 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(i * step, 12) for i in range(first, max(last, first + 1) + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """Give the powers of ten, and twice and five times them, that cover [low, high]."""
    exponents = range(math.floor(math.log10(low)) - 1, math.ceil(math.log10(high)) + 1)
    steps = (1, 2, 5) if high < 1000 * low else (1,)
    every = [m * 10.0**e for e in exponents for m in steps]
    first = max((i for i, tick in enumerate(every) if tick <= low), default=0)
    last = next((i for i, tick in enumerate(every) if tick >= high), len(every) - 1)
    return every[first : last + 1]
