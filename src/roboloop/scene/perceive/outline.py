"""Outlines seen from above: hulls, rectangles, circles, directions of faces."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from scipy.spatial import ConvexHull, QhullError

FACE_SPREAD = 0.14  # directions of one face's normals, rad


@dataclass(frozen=True)
class Rectangle:
    """A rectangle with sides along `axes`."""

    center: Float[np.ndarray, "2"]
    axes: Float[np.ndarray, "2 2"]
    """Rows: unit vectors of its first and second side."""
    size: Float[np.ndarray, "2"]
    """Full extents along the axes."""

    def local(self, xy: Float[np.ndarray, "n 2"]) -> Float[np.ndarray, "n 2"]:
        """Coordinates along the axes from the centre."""
        return (xy - self.center) @ self.axes.T


@dataclass(frozen=True)
class Circle:
    """A circle and the share of the outline that lies on it."""

    center: Float[np.ndarray, "2"]
    radius: float
    share: float


def hull_of(xy: Float[np.ndarray, "n 2"]) -> Float[np.ndarray, "k 2"]:
    """Corners of the convex hull, anticlockwise; a tiny square for degenerate points."""
    try:
        return xy[ConvexHull(xy).vertices]
    except QhullError:
        low, high = xy.min(0) - 1e-4, xy.max(0) + 1e-4
        return np.array([low, (high[0], low[1]), high, (low[0], high[1])])


def contains(
    hull: Float[np.ndarray, "k 2"], xy: Float[np.ndarray, "n 2"], margin: float = 0.0
) -> Bool[np.ndarray, "n"]:
    """Tell which points are inside an anticlockwise convex outline grown by `margin`."""
    edge = np.roll(hull, -1, 0) - hull
    normal = np.stack([edge[:, 1], -edge[:, 0]], -1) / np.linalg.norm(edge, axis=1)[:, None]
    return (xy @ normal.T - (hull * normal).sum(1) < margin).all(1)


def hull_area(hull: Float[np.ndarray, "k 2"]) -> float:
    """Area inside an outline."""
    x, y = hull.T
    return float(abs(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2)


def along_axes(xy: Float[np.ndarray, "n 2"], x_axis: Float[np.ndarray, "2"]) -> Rectangle:
    """Smallest rectangle around points with its first side along `x_axis`."""
    axes = np.array([x_axis, (-x_axis[1], x_axis[0])])
    local = xy @ axes.T
    low, high = local.min(0), local.max(0)
    return Rectangle((low + high) / 2 @ axes, axes, high - low)


def smallest_rectangle(xy: Float[np.ndarray, "n 2"]) -> Rectangle:
    """Rectangle of least area around points: one of its sides lies on a side of their hull."""
    hull = hull_of(xy)
    edges = np.roll(hull, -1, 0) - hull
    edges = edges[np.linalg.norm(edges, axis=1) > 1e-6]
    boxes = [along_axes(hull, edge / np.linalg.norm(edge)) for edge in edges]
    return min(boxes, key=lambda box: box.size[0] * box.size[1])


def even_outline(hull: Float[np.ndarray, "k 2"], n: int = 120) -> Float[np.ndarray, "{n} 2"]:
    """Points at even distances along an outline."""
    closed = np.concatenate([hull, hull[:1]])
    length = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(closed, axis=0), axis=1))])
    s = np.linspace(0, length[-1], n, endpoint=False)
    return np.stack([np.interp(s, length, closed[:, k]) for k in range(2)], -1)


def circle_through(xy: Float[np.ndarray, "n 2"]) -> tuple[Float[np.ndarray, "2"], float]:
    """Least-squares circle: centre and radius. Source: Kasa 1976, the algebraic fit."""
    mean = xy.mean(0)
    p = xy - mean
    solution = np.linalg.lstsq(np.c_[2 * p, np.ones(len(p))], (p * p).sum(1), rcond=None)[0]
    center = solution[:2]
    return center + mean, float(np.sqrt(max(solution[2] + center @ center, 1e-12)))


def fit_circle(
    xy: Float[np.ndarray, "n 2"], rng: np.random.Generator, tolerance: float = 0.003
) -> Circle:
    """Fit a circle to the convex outline of points, robust to what sticks out of it."""
    outline = even_outline(hull_of(xy))
    best = Circle(outline.mean(0), 0.0, 0.0)
    largest = np.ptp(outline, axis=0).max()
    for _ in range(150):
        center, radius = circle_through(outline[rng.choice(len(outline), 3, replace=False)])
        if not 0.003 < radius < largest:
            continue
        share = (np.abs(np.linalg.norm(outline - center, axis=1) - radius) < tolerance).mean()
        if share > best.share:
            best = Circle(center, radius, float(share))
    if best.share == 0:
        return best
    for _ in range(3):
        off = np.abs(np.linalg.norm(outline - best.center, axis=1) - best.radius)
        center, radius = circle_through(outline[off < tolerance])
        off = np.abs(np.linalg.norm(outline - center, axis=1) - radius)
        best = Circle(center, radius, float((off < tolerance).mean()))
    return best


def face_direction(normals: Float[np.ndarray, "k 3"]) -> tuple[float, float]:
    """Direction of upright faces (rad, modulo a quarter turn) and the share that they explain.

    The share is about 1 for boxes, 0.5 for an octagon, 0.2 for a cylinder, 0 when no upright
    faces are seen.
    """
    flat = normals[np.hypot(normals[:, 0], normals[:, 1]) > 0.8]
    if len(flat) < 40:
        return 0.0, 0.0
    angle = np.arctan2(flat[:, 1], flat[:, 0])
    turn = np.angle(np.exp(4j * angle).mean()) / 4
    off = np.angle(np.exp(4j * (angle - turn))) / 4
    near = np.abs(off) < FACE_SPREAD
    return float(turn + np.median(off[near])), float(near.mean())
