"""Measurements of an object that its category and its box follow from."""

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float

from roboloop.scene.perceive.outline import (
    Circle,
    Rectangle,
    along_axes,
    fit_circle,
    hull_area,
    hull_of,
    smallest_rectangle,
)
from roboloop.scene.perceive.pieces import FLAT, Piece

ROUND = 0.55  # share of the outline on a circle that makes a thing round
BEYOND = 0.008  # what is further than this from a round body is a handle, m


@dataclass(frozen=True)
class Shape:
    """What was measured: a circle or a rectangle seen from above, a profile, a handle."""

    height: float
    circle: Circle
    """Best circle around the body."""
    box: Rectangle
    """Smallest rectangle around everything."""
    top: Rectangle
    """Smallest rectangle around the highest flat patch."""
    top_height: float
    features: dict[str, float] = field(default_factory=dict)
    """Numbers that the category follows from, see `measure`."""
    handle: float | None = None
    """Direction of the handle, rad, or None."""


def measure(piece: Piece, view: Float[np.ndarray, "2"], rng: np.random.Generator) -> Shape:
    """Measure an object.

    Features (lengths in m): `height`, `length` and `width` of the box seen from above, `slender`
    (height over length), `round` (share of the outline on a circle), `fill` (share of the box that
    the outline fills), `hollow` (how deep the inside lies under the rim, share of the height),
    `handle` (how far it sticks out of the round body), `neck` (width near the top over the
    largest), `flat` (share of pixels on the highest flat patch), `slab` (length of that patch over
    the box's).

    Args:
        piece: Its pixels.
        view: Horizontal direction of the camera's right, for widths of the silhouette.
        rng: For robust fits.
    """
    xy, heights, height = piece.points[:, :2], piece.heights, piece.top
    circle = body_circle(piece, rng)
    box = smallest_rectangle(xy)
    top, top_height, flat = flat_top(piece)
    angle, reach = find_handle(piece, circle)
    length, width = max(box.size), min(box.size)
    body = 2 * circle.radius if angle is not None else length
    features = {
        "height": height,
        "length": float(length),
        "width": float(width),
        "slender": height / float(body),
        "round": circle.share,
        "fill": hull_area(hull_of(xy)) / float(length * width),
        "hollow": hollowness(piece, circle, box),
        "handle": reach,
        "neck": neck_ratio(xy @ view, heights, height),
        "flat": flat,
        "slab": float(max(top.size) / length),
    }
    return Shape(height, circle, box, top, top_height, features, angle)


def body_circle(piece: Piece, rng: np.random.Generator) -> Circle:
    """Fit circles to everything and to slices at several heights; keep the best large one."""
    height = piece.top
    best = Circle(np.zeros(2), 0.0, 0.0)
    for low, high in ((0.0, 1.1), (0.8, 1.1), (0.6, 0.9), (0.4, 0.7)):
        inside = (piece.heights >= low * height) & (piece.heights <= high * height)
        if inside.sum() < 30:
            continue
        xy = piece.points[inside][:, :2]
        tolerance = max(0.0025, 0.015 * float(np.ptp(xy, axis=0).max()))
        circle = fit_circle(xy, rng, tolerance)
        if circle.share > best.share + 0.05 and circle.radius > 0.8 * best.radius:
            best = circle
    return best


def flat_top(piece: Piece) -> tuple[Rectangle, float, float]:
    """Find the highest large flat patch: its rectangle, height, and share of the pixels."""
    up = (piece.normals[:, 2] > FLAT) & (piece.heights > 0.3 * piece.top)
    if up.sum() < 20:
        return smallest_rectangle(piece.points[:, :2]), piece.top, 0.0
    heights = piece.heights[up]
    count, edges = np.histogram(heights, np.arange(0, heights.max() + 0.008, 0.004))
    count = count + np.append(count[1:], 0)
    level = edges[np.flatnonzero(count > 0.25 * count.max())[-1]] + 0.004
    patch = np.abs(heights - level) < 0.005
    level = float(np.median(heights[patch]))
    patch = np.abs(heights - level) < 0.004
    return smallest_rectangle(piece.points[up][patch][:, :2]), level, float(patch.sum() / len(up))


def find_handle(piece: Piece, circle: Circle) -> tuple[float | None, float]:
    """Find what sticks out of a round body on one side: its direction (rad) and reach (m)."""
    offset = piece.points[:, :2] - circle.center
    distance = np.linalg.norm(offset, axis=1)
    outside = distance > circle.radius + max(BEYOND, 0.06 * circle.radius)
    share = outside.mean()
    if circle.share < 0.35 or outside.sum() < 15 or share > 0.45:
        return None, 0.0
    mean = (offset[outside] / distance[outside, None]).mean(0)
    if np.linalg.norm(mean) < 0.75:
        return None, 0.0
    return float(np.arctan2(mean[1], mean[0])), float(distance.max() - circle.radius)


def hollowness(piece: Piece, circle: Circle, box: Rectangle) -> float:
    """How deep the middle lies under the rim, as a share of the height; 0 for closed things."""
    if circle.share >= ROUND:
        away = np.linalg.norm(piece.points[:, :2] - circle.center, axis=1) / circle.radius
    else:
        away = np.abs(box.local(piece.points[:, :2]) / (box.size / 2)).max(1)
    inner, rim = piece.heights[away < 0.6], piece.heights[(away > 0.75) & (away < 1.1)]
    if len(rim) < 10:
        return 0.0
    middle = float(np.median(inner)) if len(inner) > 0.02 * len(piece.points) else 0.0
    return (float(np.percentile(rim, 95)) - middle) / piece.top


def neck_ratio(
    across: Float[np.ndarray, "n"], heights: Float[np.ndarray, "n"], height: float
) -> float:
    """Width of the silhouette near the top over its largest width."""
    widths = []
    for low in np.arange(0.05, 0.95, 0.1):
        inside = (heights > low * height) & (heights <= (low + 0.1) * height)
        widths.append(np.ptp(across[inside]) if inside.sum() > 3 else 0.0)
    return float(max(widths[7:]) / max(*widths, 1e-6))


def turned_box(piece: Piece, angle: float, circle: Circle | None) -> Rectangle:
    """Rectangle around an object with its x axis at `angle`, and around its circle."""
    xy = piece.points[:, :2]
    if circle is not None:
        turn = np.linspace(0, 2 * np.pi, 73)
        ring = circle.center + circle.radius * np.stack([np.cos(turn), np.sin(turn)], -1)
        inside = np.linalg.norm(xy - circle.center, axis=1) < circle.radius
        xy = np.concatenate([xy[~inside], ring])
    return along_axes(xy, np.array([np.cos(angle), np.sin(angle)]))
