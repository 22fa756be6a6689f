"""Small triangle meshes with a fixed number of vertices, so that cousins share one layout.

A *section* is a closed horizontal outline of half extent 1, counter-clockwise. A *level* is a row
`(half_x, half_y, z)`: the section scaled and lifted. A list of levels skins to a closed mesh;
a hollow vessel is a list that goes up outside and comes down inside.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

Point = Sequence[float] | np.ndarray
"""x, y, z."""
Levels = Sequence[Point] | np.ndarray
"""Rows of half_x, half_y, z."""
SEGMENTS = 16
"""Corners of a round section that touches: wall boxes of a hollow vessel, sides of a hull."""
SMOOTH = 24
"""Corners of a round section that is only seen."""


class Mesh(NamedTuple):
    """Vertices (m) and triangles, counter-clockwise seen from outside."""

    vertices: Float[np.ndarray, "V 3"]
    faces: Int[np.ndarray, "F 3"]


def circle(n: int = SEGMENTS) -> Float[np.ndarray, "{n} 2"]:
    """Section with `n` corners on the unit circle; its box has half extent 1 when 4 divides n."""
    angle = 2 * np.pi * np.arange(n) / n
    return np.stack([np.cos(angle), np.sin(angle)], -1)


def rectangle(half_x: float = 1.0, half_y: float = 1.0) -> Float[np.ndarray, "8 2"]:
    """Section of a rectangle of these half extents, its corners cut off at 45 degrees."""
    cut = 0.2 * min(half_x, half_y)
    x, y = 1.0 - cut / half_x, 1.0 - cut / half_y
    quarter = np.array([[1.0, y], [x, 1.0]])
    left = (quarter * (-1, 1))[::-1]
    return np.concatenate([quarter, left, -quarter, -left])


def rings(
    section: Float[np.ndarray, "n 2"], levels: Float[np.ndarray, "k 3"]
) -> Float[np.ndarray, "k n 3"]:
    """Place a section at every level."""
    xy = section[None] * levels[:, None, :2]
    z = np.broadcast_to(levels[:, None, 2:], (*xy.shape[:2], 1))
    return np.concatenate([xy, z], -1)


def skin(loops: Float[np.ndarray, "k n 3"], capped: bool = True) -> Mesh:
    """Join loops to a mesh, closed when the first and the last one are capped by fans."""
    k, n = loops.shape[:2]
    a = np.arange(k * n).reshape(k, n)
    b = np.roll(a, -1, axis=1)
    faces = np.stack([a[:-1], b[:-1], b[1:], a[:-1], b[1:], a[1:]], -1).reshape(-1, 3)
    vertices = loops.reshape(-1, 3)
    if capped:
        vertices = np.concatenate([vertices, [loops[0].mean(0), loops[-1].mean(0)]])
        first = np.stack([np.full(n, k * n), b[0], a[0]], -1)
        last = np.stack([np.full(n, k * n + 1), a[-1], b[-1]], -1)
        faces = np.concatenate([faces, first, last])
    return Mesh(vertices, faces)


def loft(section: Float[np.ndarray, "n 2"], levels: Levels, capped: bool = True) -> Mesh:
    """Mesh through a section at every level."""
    return skin(rings(section, np.asarray(levels, float)), capped)


def moved(mesh: Mesh, offset: Point) -> Mesh:
    """Shift a mesh."""
    return Mesh(mesh.vertices + np.asarray(offset, float), mesh.faces)


def tube(path: Float[np.ndarray, "k 3"], half_width: float, half_height: float) -> Mesh:
    """Closed mesh of an elliptic rod along a path in the xz plane.

    Args:
        path: Centre line; y must be constant.
        half_width: Half extent of the rod along y, m.
        half_height: Half extent of the rod across its path in the xz plane, m.
    """
    tangent = np.gradient(path, axis=0)
    tangent /= np.linalg.norm(tangent, axis=1, keepdims=True)
    side = np.array([0.0, 1.0, 0.0])
    across = np.cross(side, tangent)
    ring = circle(8)
    loops = (
        path[:, None]
        + ring[None, :, :1] * half_height * across[:, None]
        + ring[None, :, 1:] * half_width * side
    )
    return skin(loops)


def inner_levels(
    outer: Float[np.ndarray, "k 3"], wall: float, floor: float
) -> tuple[Float[np.ndarray, "k 3"], Float[np.ndarray, "k 3"]]:
    """Hollow out a vessel.

    Args:
        outer: Levels of the outside from the base up to the highest point.
        wall: Thickness across the wall, m.
        floor: Thickness of the floor, m.

    Returns:
        The outside, its last level lowered so that the edge of the inside is the highest point,
        and the inside from the rim down to the floor.
    """
    outer = np.asarray(outer, float).copy()
    top = outer[-1, 2]
    normal = _inward_normals(outer)
    for _ in range(3):  # lowering the rim changes its slope a little
        outer[-1, 2] = top - wall * max(normal[-1, 1], 0.0)
        normal = _inward_normals(outer)
    inner = outer + wall * normal[:, [0, 0, 1]]
    inner[:, :2] = np.maximum(inner[:, :2], 1e-3)
    inner[:, 2] = np.clip(inner[:, 2], outer[0, 2] + floor, top)
    inner[0, 2] = outer[0, 2] + floor
    return outer, inner[::-1]


def _inward_normals(outer: Float[np.ndarray, "k 3"]) -> Float[np.ndarray, "k 2"]:
    """Unit normals (radial, vertical) to the inside, at every level of an outside."""
    radius = outer[:, :2].mean(1)
    along = np.gradient(np.stack([radius, outer[:, 2]], -1), axis=0)
    along[-1] = [radius[-1] - radius[-2], outer[-1, 2] - outer[-2, 2]]
    along /= np.linalg.norm(along, axis=1, keepdims=True)
    return np.stack([-along[:, 1], along[:, 0]], -1)
