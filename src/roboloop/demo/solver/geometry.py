"""Distances of points to shapes, in compiled code."""

from typing import no_type_check

import numpy as np

from roboloop.chain import product
from roboloop.compiled import entry, inner

BOX, CAPSULE, CYLINDER = 0, 1, 2
FAR = 1e3
"""Distance where there is no shape, m."""


@no_type_check
@inner
def approach(kind, T_world_shape, a, b, c, R, p, body, best, way):
    """Lower the distances of points on a body to the shapes seen so far, in place.

    Sizes are half extents of a box; radius and half length of a capsule (0 makes a sphere) and of a
    cylinder.

    Args:
        kind: What shape.
        T_world_shape: Its pose.
        a: Its first size.
        b: Its second.
        c: Its third.
        R: How the body is turned in the world.
        p: Where the body is.
        body: (P, 3) points in its frame.
        best: (P,) signed distances; nothing farther than these is looked at.
        way: (P, 3) their gradients in the world.
    """
    Rs = T_world_shape[:3, :3]
    rel = product(Rs.T, R)
    dx, dy, dz = p[0] - T_world_shape[0, 3], p[1] - T_world_shape[1, 3], p[2] - T_world_shape[2, 3]
    ox = Rs[0, 0] * dx + Rs[1, 0] * dy + Rs[2, 0] * dz
    oy = Rs[0, 1] * dx + Rs[1, 1] * dy + Rs[2, 1] * dz
    oz = Rs[0, 2] * dx + Rs[1, 2] * dy + Rs[2, 2] * dz
    for i in range(len(body)):
        u, v, w = body[i, 0], body[i, 1], body[i, 2]
        x = rel[0, 0] * u + rel[0, 1] * v + rel[0, 2] * w + ox
        y = rel[1, 0] * u + rel[1, 1] * v + rel[1, 2] * w + oy
        z = rel[2, 0] * u + rel[2, 1] * v + rel[2, 2] * w + oz
        limit = best[i]
        if kind == BOX:
            d, gx, gy, gz = _box(x, y, z, a, b, c, limit)
        elif kind == CAPSULE:
            gz = z - min(max(z, -b), b)
            length = np.sqrt(x * x + y * y + gz * gz)
            d = length - a
            scale = 1 / max(length, 1e-12)
            gx, gy, gz = x * scale, y * scale, gz * scale
        else:
            radius = np.sqrt(x * x + y * y)
            d, out, gz, _ = _box(radius, z, 0.0, a, b, 1.0, limit)
            scale = out / max(radius, 1e-12)
            gx, gy = x * scale, y * scale
        if d < limit:
            best[i] = d
            way[i, 0] = Rs[0, 0] * gx + Rs[0, 1] * gy + Rs[0, 2] * gz
            way[i, 1] = Rs[1, 0] * gx + Rs[1, 1] * gy + Rs[1, 2] * gz
            way[i, 2] = Rs[2, 0] * gx + Rs[2, 1] * gy + Rs[2, 2] * gz


@no_type_check
@inner
def _box(x, y, z, a, b, c, limit):
    """Signed distance to a box around the origin, and its gradient."""
    ox, oy, oz = abs(x) - a, abs(y) - b, abs(z) - c
    if ox >= limit or oy >= limit or oz >= limit:
        return limit, 0.0, 0.0, 0.0
    inside = max(ox, oy, oz)
    if inside <= 0:
        gx = 1.0 if ox == inside else 0.0
        gy = 1.0 if oy == inside and gx == 0 else 0.0
        gz = 1.0 if gx == 0 and gy == 0 else 0.0
        d = inside
    else:
        ox, oy, oz = max(ox, 0.0), max(oy, 0.0), max(oz, 0.0)
        d = np.sqrt(ox * ox + oy * oy + oz * oz)
        gx, gy, gz = ox / d, oy / d, oz / d
    return d, np.copysign(gx, x), np.copysign(gy, y), np.copysign(gz, z)


@no_type_check
@entry
def distances(kinds, Ts, sizes, p):
    """Signed distances (P,) of points (P, 3) to the nearest shape, and their gradients (P, 3)."""
    best, way = np.full(len(p), FAR), np.zeros((len(p), 3))
    for m in range(len(kinds)):
        a, b, c = sizes[m, 0], sizes[m, 1], sizes[m, 2]
        approach(kinds[m], Ts[m], a, b, c, np.eye(3), np.zeros(3), p, best, way)
    return best, way
