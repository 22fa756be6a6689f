"""Kinematics, rotations and distances for one pose or point at a time, in compiled code."""

from typing import no_type_check

import numpy as np
from numba import njit

BOX, CAPSULE, CYLINDER = 0, 1, 2
FAR = 1e3
"""Distance where there is no shape, m."""


@no_type_check
@njit(cache=True, error_model="numpy")
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
@njit(cache=True, error_model="numpy")
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
@njit(cache=True, error_model="numpy")
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
@njit(cache=True, error_model="numpy")
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
@njit(cache=True, error_model="numpy")
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
@njit(cache=True, error_model="numpy")
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
@njit(cache=True, error_model="numpy")
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
@njit(cache=True, error_model="numpy")
def nearest(kinds, Ts, sizes, x, y, z, limit):
    """Signed distance (m, negative inside) to the nearest shape and its gradient.

    Shapes farther than `limit` may be left out: what comes back is then at least `limit`. Sizes are
    half extents of a box; radius and half length of a capsule (0 makes a sphere) and of a cylinder.
    """
    best, wx, wy, wz = limit, 0.0, 0.0, 0.0
    for m in range(len(kinds)):
        T, size = Ts[m], sizes[m]
        dx, dy, dz = x - T[0, 3], y - T[1, 3], z - T[2, 3]
        px = T[0, 0] * dx + T[1, 0] * dy + T[2, 0] * dz
        py = T[0, 1] * dx + T[1, 1] * dy + T[2, 1] * dz
        pz = T[0, 2] * dx + T[1, 2] * dy + T[2, 2] * dz
        if kinds[m] == BOX:
            d, gx, gy, gz = _box(px, py, pz, size[0], size[1], size[2], best)
        elif kinds[m] == CAPSULE:
            gz = pz - min(max(pz, -size[1]), size[1])
            length = np.sqrt(px * px + py * py + gz * gz)
            d = length - size[0]
            scale = 1 / max(length, 1e-12)
            gx, gy, gz = px * scale, py * scale, gz * scale
        else:
            radius = np.sqrt(px * px + py * py)
            d, out, gz, _ = _box(radius, pz, 0.0, size[0], size[1], 1.0, best)
            scale = out / max(radius, 1e-12)
            gx, gy = px * scale, py * scale
        if d < best:
            best = d
            wx = T[0, 0] * gx + T[0, 1] * gy + T[0, 2] * gz
            wy = T[1, 0] * gx + T[1, 1] * gy + T[1, 2] * gz
            wz = T[2, 0] * gx + T[2, 1] * gy + T[2, 2] * gz
    return best, wx, wy, wz


@no_type_check
@njit(cache=True, error_model="numpy")
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
@njit(cache=True, error_model="numpy")
def distances(kinds, Ts, sizes, p):
    """Signed distances of points (B, 3) to the nearest shape, at most `FAR`."""
    out = np.empty(len(p))
    for b in range(len(p)):
        out[b] = nearest(kinds, Ts, sizes, p[b, 0], p[b, 1], p[b, 2], FAR)[0]
    return out
