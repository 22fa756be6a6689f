"""A serial chain and rotations, one configuration at a time, in compiled code."""

from typing import no_type_check

import numpy as np

from roboloop.compiled import entry, inner
from roboloop.kinematics import (
    DAMPING,
    HOME_WEIGHT,
    MAX_ITERATIONS,
    MET_STEP,
    POSITION_TOLERANCE,
    ROTATION_TOLERANCE,
    STUCK_STEP,
)


@no_type_check
@entry
def hands(chain, q, Ts):
    """Poses of the hand, `Ts` (B, 4, 4), in place, for `q` (B, n); `chain` as in `descend`."""
    M, axis, T_last, _ = chain
    J, base = np.empty((6, q.shape[1])), np.eye(4)
    for b in range(len(q)):
        hand_jacobian(M, axis, T_last, base, q[b], Ts[b], J)


@no_type_check
@entry
def lines(waypoints, linear, angular):
    """Poses (T, 4, 4) along straight lines between waypoints (W, 4, 4), not the first of them.

    As many as steps of at most `linear` (m) and `angular` (rad) need; each line ends with one.
    """
    n, turns = np.empty(len(waypoints) - 1, np.int64), np.empty((len(waypoints) - 1, 3))
    for w in range(len(n)):
        a, b = waypoints[w], waypoints[w + 1]
        turns[w] = log(product(a.T, b))
        shift = np.sqrt(
            (b[0, 3] - a[0, 3]) ** 2 + (b[1, 3] - a[1, 3]) ** 2 + (b[2, 3] - a[2, 3]) ** 2
        )
        turn = np.sqrt(turns[w, 0] ** 2 + turns[w, 1] ** 2 + turns[w, 2] ** 2)
        n[w] = max(1, int(np.ceil(max(shift / linear, turn / angular))))
    result, t = np.zeros((n.sum(), 4, 4)), 0
    for w in range(len(n)):
        a, b = waypoints[w], waypoints[w + 1]
        for k in range(1, n[w] + 1):
            share = k / n[w]
            result[t, :3, :3] = product(a, exp(share * turns[w]))
            result[t, :3, 3] = (1 - share) * a[:3, 3] + share * b[:3, 3]
            result[t, 3, 3] = 1.0
            t += 1
    return result


@no_type_check
@entry
def descend(chain, Ts_base_eef, q, home, W, position_error, rotation_error):
    """Levenberg-Marquardt from `q` (B, n), in place; see `kinematics.solve`.

    Joints at a limit that would go beyond it are held.

    Args:
        chain: `M, axis, T_last_eef, limits` of a `Chain`.
        Ts_base_eef: (B, 4, 4) where the hand should be.
        q: Where each search starts, and then where it ends.
        home: (n,) what the joints tend to.
        W: (6,) weights of the errors of the hand in its own frame, position and rotation.
        position_error: (B,) what is missing then, m.
        rotation_error: (B,) the same, rad.

    Source: Sugihara, "Solvability-Unconcerned Inverse Kinematics by the Levenberg-Marquardt
    Method", IEEE T-RO 27(5), 2011, eq. 16: the damping is the remaining error.
    """
    M, axis, T_last, limits = chain
    n = q.shape[1]
    T, base = np.empty((4, 4)), np.eye(4)
    J, H, step, error = np.empty((6, n)), np.empty((n, n)), np.empty(n), np.empty(6)
    for b in range(len(q)):
        now = q[b]
        for left in range(MAX_ITERATIONS - 1, -1, -1):
            hand_jacobian(M, axis, T_last, base, now, T, J)
            _in_hand(T, Ts_base_eef[b], J, error)
            position_error[b] = np.sqrt(error[0] ** 2 + error[1] ** 2 + error[2] ** 2)
            rotation_error[b] = np.sqrt(error[3] ** 2 + error[4] ** 2 + error[5] ** 2)
            damping = DAMPING + HOME_WEIGHT
            for k in range(6):
                damping += 0.5 * W[k] * error[k] ** 2
            for i in range(n):
                step[i] = HOME_WEIGHT * (home[i] - now[i])
                for k in range(6):
                    step[i] += W[k] * error[k] * J[k, i]
                low, high = now[i] <= limits[i, 0], now[i] >= limits[i, 1]
                if (low and step[i] < 0) or (high and step[i] > 0):
                    step[i] = 0.0
                    J[:, i] = 0.0
            for i in range(n):
                for j in range(i + 1):
                    H[i, j] = damping if i == j else 0.0
                    for k in range(6):
                        H[i, j] += W[k] * J[k, i] * J[k, j]
            cholesky_solve(H, step)
            met = position_error[b] < POSITION_TOLERANCE and rotation_error[b] < ROTATION_TOLERANCE
            longest = 0.0
            for i in range(n):
                longest = max(longest, abs(step[i]))
            if left == 0 or longest <= (MET_STEP if met else STUCK_STEP):
                break
            for i in range(n):
                now[i] = min(max(now[i] + step[i], limits[i, 0]), limits[i, 1])


@no_type_check
@inner
def _in_hand(T, T_target, J, error):
    """What is missing to the target (m, then rad) and J, in the frame of the hand, in place."""
    turn = np.empty((3, 3))
    for r in range(3):
        error[r] = 0.0
        for k in range(3):
            error[r] += T[k, r] * (T_target[k, 3] - T[k, 3])
            turn[r, k] = (
                T[0, r] * T_target[0, k] + T[1, r] * T_target[1, k] + T[2, r] * T_target[2, k]
            )
    error[3:] = log(turn)
    for i in range(J.shape[1]):
        for first in range(0, 6, 3):
            x, y, z = J[first, i], J[first + 1, i], J[first + 2, i]
            for r in range(3):
                J[first + r, i] = T[0, r] * x + T[1, r] * y + T[2, r] * z


@no_type_check
@inner
def hand_jacobian(M, axis, T_last, T_world_base, q, T, J):
    """Pose of the hand (4, 4) and how n joints change it (6, n), in the world, in place.

    `M, axis, T_last` are those of a `Chain`; J's rows are m, then rad.
    """
    n = len(q)
    step = np.empty((4, 4))
    T[:] = T_world_base
    for i in range(n):
        s, c = np.sin(q[i]), 1 - np.cos(q[i])
        for r in range(3):
            for k in range(4):
                step[r, k] = M[i, 0, r, k] + s * M[i, 1, r, k] + c * M[i, 2, r, k]
        append(T, step)
        x, y, z = axis[i]
        for r in range(3):  # for now where the joint is, and its axis
            J[r, i] = T[r, 3]
            J[3 + r, i] = T[r, 0] * x + T[r, 1] * y + T[r, 2] * z
    append(T, T_last)
    for i in range(n):
        x, y, z = T[0, 3] - J[0, i], T[1, 3] - J[1, i], T[2, 3] - J[2, i]
        a, b, c = J[3, i], J[4, i], J[5, i]
        J[0, i], J[1, i], J[2, i] = b * z - c * y, c * x - a * z, a * y - b * x


@no_type_check
@inner
def append(T, step):
    """T @ step, of poses, in place of T."""
    for r in range(3):
        x, y, z = T[r, 0], T[r, 1], T[r, 2]
        for k in range(4):
            T[r, k] = (
                x * step[0, k] + y * step[1, k] + z * step[2, k] + (T[r, 3] if k == 3 else 0.0)
            )


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
def cholesky_solve(A, b):
    """Solve A x = b for a positive definite A, in place (Cholesky)."""
    n = len(b)
    for j in range(n):
        d = A[j, j]
        for k in range(j):
            d -= A[j, k] ** 2
        d = np.sqrt(max(d, 1e-12))
        A[j, j] = d
        for i in range(j + 1, n):
            s = A[i, j]
            for k in range(j):
                s -= A[i, k] * A[j, k]
            A[i, j] = s / d
    for i in range(n):
        for k in range(i):
            b[i] -= A[i, k] * b[k]
        b[i] /= A[i, i]
    for i in range(n - 1, -1, -1):
        for k in range(i + 1, n):
            b[i] -= A[k, i] * b[k]
        b[i] /= A[i, i]
