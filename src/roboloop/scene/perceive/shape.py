"""Measurements of an object that its category and its box follow from."""

from dataclasses import dataclass, field, replace

import numpy as np
from jaxtyping import Float
from scipy import ndimage

from roboloop.scene.perceive.cloud import regions_of
from roboloop.scene.perceive.outline import (
    Circle,
    Rectangle,
    along_axes,
    face_direction,
    fit_circle,
    hull_area,
    hull_of,
    smallest_rectangle,
)
from roboloop.scene.perceive.pieces import FLAT, Piece, leaning_share

ROUND = 0.55  # share of the outline on a circle that makes a thing round
TALL = 1.6  # things this much higher than wide are completed around the middle of their top
ANGULAR = 0.75  # things with a larger share of plane upright faces are angular
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
    """Rectangle of the largest flat patch."""
    top_height: float
    features: dict[str, float] = field(default_factory=dict)
    """Numbers that the category follows from, see `measure`."""
    handle: float | None = None
    """Direction of the handle, rad, or None."""


def measure(
    piece: Piece,
    rng: np.random.Generator,
    carried: Float[np.ndarray, "2"] | None = None,
) -> Shape:
    """Measure an object.

    Features (lengths in m): `height`, `length` and `width` of the box seen from above, `slender`
    (height over length), `round` (share of the outline on a circle), `fill` (share of the box that
    the outline fills), `hollow` (how deep the inside lies under the rim, share of the height),
    `handle` (how far it sticks out of the round body), `leaning` (share of surfaces neither level
    nor upright), `neck` (width near the top over the
    largest), `flat` (share of pixels on the largest flat patch), `roof` (share of
    the box under that patch, when it is the top), `slab` (length of that patch over
    the box's).

    Args:
        piece: Its pixels.
        rng: For robust fits.
        carried: Where the middle of what stands on it is, when that hides it.
    """
    xy, heights, height = piece.points[:, :2], piece.heights, piece.top
    circle = body_circle(piece, rng)
    direction, faces = face_direction(piece.normals)
    if faces > ANGULAR:
        circle = replace(circle, share=min(circle.share, 0.3))
    angle, reach = find_handle(piece, circle)
    hollow = hollowness(piece, circle, smallest_rectangle(xy))
    seen = xy
    if carried is not None:
        angle, reach = None, 0.0
    if hollow < 0.3 and angle is None:
        seen = mirrored(xy, heights, carried)
    box = face_rectangle(seen, direction, faces)
    top, top_height, flat, roof = flat_top(piece, box)
    length, width = max(box.size), min(box.size)
    body = 2 * circle.radius if angle is not None else length
    features = {
        "height": height,
        "length": float(length),
        "width": float(width),
        "slender": height / float(body),
        "round": circle.share,
        "fill": hull_area(hull_of(seen)) / float(length * width),
        "hollow": hollow,
        "faces": faces,
        "handle": reach,
        "leaning": leaning_share(piece.normals),
        "neck": neck_ratio(seen, np.resize(heights, len(seen)), height),
        "flat": flat,
        "roof": roof,
        "slab": float(max(top.size) / length),
    }
    return Shape(height, circle, box, top, top_height, features, angle)


def mirrored(
    xy: Float[np.ndarray, "n 2"],
    heights: Float[np.ndarray, "n"],
    carried: Float[np.ndarray, "2"] | None,
) -> Float[np.ndarray, "m 2"]:
    """Complete the hidden side of a thing by turning it half around its axis.

    The axis of tall things goes through the middle of their top; that of what carries something,
    through the middle of the load.
    """
    height = heights.max()
    if carried is not None:
        return np.concatenate([xy, 2 * carried - xy])
    if height < TALL * np.ptp(xy, axis=0).max():
        return xy
    top = xy[heights > 0.93 * height]
    center = (top.min(0) + top.max(0)) / 2
    return np.concatenate([xy, 2 * center - xy])


def face_rectangle(xy: Float[np.ndarray, "n 2"], direction: float, share: float) -> Rectangle:
    """Rectangle around points: the smallest if they fill it, else along the faces that are seen."""
    smallest = smallest_rectangle(xy)
    if share < 0.5 or hull_area(hull_of(xy)) > 0.93 * smallest.size.prod():
        return smallest
    box = along_axes(xy, np.array([np.cos(direction), np.sin(direction)]))
    return box if box.size.prod() < 1.4 * smallest.size.prod() else smallest


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


def flat_top(piece: Piece, box: Rectangle) -> tuple[Rectangle, float, float, float]:
    """Find the largest flat patch.

    Returns:
        Its rectangle, its height, its share of the pixels, and the share of `box` that it roofs.
    """
    up = (piece.normals[:, 2] > FLAT) & (piece.heights > 0.3 * piece.top)
    if up.sum() < 20:
        return box, piece.top, 0.0, 0.0
    xy, heights = piece.points[up][:, :2], piece.heights[up]
    count, edges = np.histogram(heights, np.arange(0, heights.max() + 0.012, 0.004))
    count = (count[:-1] + count[1:]) * edges[1:-1]
    level = float(edges[count.argmax() + 1])
    patch = np.abs(heights - level) < 0.008
    level = float(np.median(heights[patch]))
    solid, area = solid_part(xy[patch])
    roof = area / float(box.size.prod()) if level > 0.8 * piece.top else 0.0
    return smallest_rectangle(solid), level, float(patch.sum() / len(up)), roof


def solid_part(
    xy: Float[np.ndarray, "n 2"], cell: float = 0.006
) -> tuple[Float[np.ndarray, "m 2"], float]:
    """Keep the points of the largest patch that is 2.4 cm wide everywhere: no level edges.

    Returns:
        The points, or all when no patch is that wide, and the area of the patch (m2).
    """
    index = ((xy - xy.min(0)) / cell).astype(int) + 1
    grid = np.zeros(index.max(0) + 2, bool)
    grid[index[:, 0], index[:, 1]] = True
    grid = ndimage.binary_closing(grid, iterations=1)
    labels, n = regions_of(ndimage.binary_opening(grid, np.ones((4, 4))))
    if n == 0:
        return xy, 0.0
    sizes = np.bincount(labels.ravel())[1:]
    kept = xy[labels[index[:, 0], index[:, 1]] == sizes.argmax() + 1]
    return (kept if len(kept) > 10 else xy), float(sizes.max() * cell**2)


def find_handle(piece: Piece, circle: Circle) -> tuple[float | None, float]:
    """Find what sticks out of a round body on one side: its direction (rad) and reach (m).

    A smaller bit on the other side, a spout, does not matter.
    """
    offset = piece.points[:, :2] - circle.center
    distance = np.linalg.norm(offset, axis=1)
    outside = distance > circle.radius + max(BEYOND, 0.06 * circle.radius)
    if circle.share < 0.35 or outside.sum() < 15 or outside.mean() > 0.45:
        return None, 0.0
    angle = np.arctan2(offset[outside, 1], offset[outside, 0])
    tip = angle[distance[outside].argmax()]
    off = np.angle(np.exp(1j * (angle - tip)))
    near = np.abs(off) < 0.6
    if (np.abs(np.sin(off)) < 0.6).mean() < 0.8 or near.mean() < 0.5:
        return None, 0.0
    return float(tip + np.median(off[near])), float(distance.max() - circle.radius)


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
    return (float(np.percentile(rim, 80)) - middle) / piece.top


def neck_ratio(
    xy: Float[np.ndarray, "n 2"], heights: Float[np.ndarray, "n"], height: float
) -> float:
    """Largest width near the top over the largest width, in slices."""
    turn = np.linspace(0, np.pi, 8, endpoint=False)
    across = xy @ np.stack([np.cos(turn), np.sin(turn)])
    widths = []
    for low in np.arange(0.05, 0.95, 0.1):
        inside = (heights > low * height) & (heights <= (low + 0.1) * height)
        widths.append(np.ptp(across[inside], axis=0).max() if inside.sum() > 3 else 0.0)
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
