"""Distance to a union of boxes, spheres, capsules and cylinders: exact, with its direction.

Nothing is rasterised, so a thing that moves costs nothing but its new pose.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

BOX, CAPSULE, CYLINDER = "box", "capsule", "cylinder"
FAR = 1e3
"""Distance where there is no shape, m."""


@dataclass(frozen=True)
class Shapes:
    """Primitives in the world; long axes are z.

    `sizes` are half extents of a box; radius and half length of a capsule (0 makes a sphere) and of
    a cylinder.
    """

    kinds: tuple[str, ...]
    Ts_world_shape: Float[np.ndarray, "M 4 4"]
    sizes: Float[np.ndarray, "M 3"]

    def distance(self, p: Float[np.ndarray, "*B 3"]) -> Float[np.ndarray, "*B"]:
        """Signed distance of points to the nearest shape, m; negative inside."""
        return self.nearest(p)[0]

    def nearest(
        self, p: Float[np.ndarray, "*B 3"]
    ) -> tuple[Float[np.ndarray, "*B"], Float[np.ndarray, "*B 3"]]:
        """Signed distance of points to the nearest shape, and its gradient (a unit vector)."""
        best = np.full(p.shape[:-1], FAR)
        ways = np.zeros(p.shape)
        for kind, T, size in zip(self.kinds, self.Ts_world_shape, self.sizes, strict=True):
            local = (p - T[:3, 3]) @ T[:3, :3]
            distance, way = _PRIMITIVES[kind](local, size)
            closer = distance < best
            best = np.where(closer, distance, best)
            ways = np.where(closer[..., None], way @ T[:3, :3].T, ways)
        return best, ways


def _box(p: np.ndarray, size: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return _orthant(p, size)


def _capsule(p: np.ndarray, size: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    off = p.copy()
    off[..., 2] -= np.clip(p[..., 2], -size[1], size[1])
    length = np.sqrt((off * off).sum(-1))
    return length - size[0], off / np.maximum(length, 1e-12)[..., None]


def _cylinder(p: np.ndarray, size: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    radius = np.sqrt(p[..., 0] ** 2 + p[..., 1] ** 2)
    flat = np.stack([radius, p[..., 2]], -1)
    distance, way = _orthant(flat, size[:2])
    out = p[..., :2] / np.maximum(radius, 1e-12)[..., None]
    return distance, np.concatenate([way[..., :1] * out, way[..., 1:]], -1)


def _orthant(p: np.ndarray, half: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distance to a box around the origin in any number of dimensions."""
    over = np.abs(p) - half
    outside = np.maximum(over, 0.0)
    length = np.sqrt((outside * outside).sum(-1))
    inside = over.max(-1)
    is_in = inside <= 0
    face = over == inside[..., None]
    way = np.where(is_in[..., None], face, outside / np.maximum(length, 1e-12)[..., None])
    return np.where(is_in, inside, length), np.where(p < 0, -way, way)


_PRIMITIVES = {BOX: _box, CAPSULE: _capsule, CYLINDER: _cylinder}
