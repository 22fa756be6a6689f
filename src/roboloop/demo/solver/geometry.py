"""Kinematics, rotations and distances for one pose or point at a time, in compiled code."""

from typing import no_type_check

import numpy as np

from roboloop.compiled import entry, inner

BOX, CAPSULE, CYLINDER = 0, 1, 2
FAR = 1e3
"""Distance where there is no shape, m."""


@no_type_check
@inner
def hand_jacobian(M, axis, T_last, T_world_base, q, T, J):
    """Pose of the hand (4, 4) and how n joints change it (6, n), in the world, in place.

    `M, axis, T_last` are those of a `Chain`; J's rows are m, then rad.
    """
    n = len(q)
    at = np.empty((n, 3))
    way = np.empty((n, 3))
    now = T_world_base.copy()
    step = np.empty((4, 4))
    for i in range(n):
        s, c = np.sin(q[i]), 1 - np.cos(q[i])
        for r in range(3):
            for k in range(4):
                step[r, k] = M[i, 0, r, k] + s * M[i, 1, r, k] + c * M[i, 2, r, k]
        now = affine(now, step)
        at[i] = now[:3, 3]
        for r in range(3):
            way[i, r] = now[r, 0] * axis[i, 0] + now[r, 1] * axis[i, 1] + now[r, 2] * axis[i, 2]
    T[:] = affine(now, T_last)
    for i in range(n):
        x, y, z = T[0, 3] - at[i, 0], T[1, 3] - at[i, 1], T[2, 3] - at[i, 2]
        a, b, c = way[i]
        J[0, i], J[1, i], J[2, i] = b * z - c * y, c * x - a * z, a * y - b * x
        J[3, i], J[4, i], J[5, i] = a, b, c


@no_type_check
@inner
def affine(A, B):
    """A @ B, of poses."""
    out = np.empty((4, 4))
    for r in range(3):
        for c in range(4):
            out[r, c] = A[r, 0] * B[0, c] + A[r, 1] * B[1, c] + A[r, 2] * B[2, c]
        out[r, 3] += A[r, 3]
    out[3, :3] = 0.0
    out[3, 3] = 1.0
    return out


@no_type_check
@inner
def product(A, B):
    """A @ B, 3x3."""
    out = np.empty((3, 3))
    for r in range(3):
        for c in range(3):
            out[r, c] = A[r, 0] * B[0, c] + A[r, 1] * B[1, c] + A[r, 2] * B[2, c]
    return out


@no_type_check
@inner
def times(A, v):
    """A @ v, of the first three rows and columns of A."""
    out = np.empty(3)
    for r in range(3):
        out[r] = A[r, 0] * v[0] + A[r, 1] * v[1] + A[r, 2] * v[2]
    return out


@no_type_check
@inner
def log(R):
    """Rotation vector of a rotation matrix, norm at most pi."""
    w = np.empty(3)
    w[0], w[1], w[2] = R[2, 1] - R[1, 2], R[0, 2] - R[2, 0], R[1, 0] - R[0, 1]
    w *= 0.5
    sine = np.sqrt(w[0] ** 2 + w[1] ** 2 + w[2] ** 2)
    cosine = 0.5 * (R[0, 0] + R[1, 1] + R[2, 2] - 1)
    angle = np.arctan2(sine, cosine)
    if sine > 1e-6:
        return w * (angle / sine)
    if cosine > 0:
        return w
    # half a turn: the axis is the largest column of R + 1
    k = 0
    for i in range(1, 3):
        if R[i, i] > R[k, k]:
            k = i
    v = R[:, k].copy()
    v[k] += 1.0
    return v * (np.pi / np.sqrt(v[0] ** 2 + v[1] ** 2 + v[2] ** 2))


@no_type_check
@inner
def exp(w):
    """Rotation matrix of a rotation vector."""
    angle2 = w[0] ** 2 + w[1] ** 2 + w[2] ** 2
    if angle2 < 1e-12:
        a, b = 1.0 - angle2 / 6, 0.5
    else:
        angle = np.sqrt(angle2)
        a, b = np.sin(angle) / angle, (1 - np.cos(angle)) / angle2
    return _series(w, a, b)


@no_type_check
@inner
def right_jacobian(w):
    """How `exp(w)` turns, in its own frame, as `w` changes.

    Source: Sola et al., "A micro Lie theory for state estimation in robotics", 2018, eq. 143.
    """
    angle2 = w[0] ** 2 + w[1] ** 2 + w[2] ** 2
    if angle2 < 1e-8:
        a, b = -0.5, 1 / 6
    else:
        angle = np.sqrt(angle2)
        a, b = -(1 - np.cos(angle)) / angle2, (angle - np.sin(angle)) / (angle2 * angle)
    return _series(w, a, b)


@no_type_check
@inner
def inverse_right_jacobian(w):
    """Inverse of `right_jacobian`; see there, eq. 144."""
    angle2 = w[0] ** 2 + w[1] ** 2 + w[2] ** 2
    if angle2 < 1e-8:
        b = 1 / 12
    else:
        angle = np.sqrt(angle2)
        half = 0.5 * angle
        b = (1 - half * np.cos(half) / np.sin(half)) / angle2
    return _series(w, 0.5, b)


@no_type_check
@inner
def _series(w, a, b):
    """1 + a K + b K K, with K the cross product with w."""
    x, y, z = w
    out = np.empty((3, 3))
    out[0, 0] = 1 - b * (y * y + z * z)
    out[1, 1] = 1 - b * (x * x + z * z)
    out[2, 2] = 1 - b * (x * x + y * y)
    out[0, 1], out[1, 0] = b * x * y - a * z, b * x * y + a * z
    out[0, 2], out[2, 0] = b * x * z + a * y, b * x * z - a * y
    out[1, 2], out[2, 1] = b * y * z - a * x, b * y * z + a * x
    return out


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
