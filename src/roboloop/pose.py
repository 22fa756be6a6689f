"""Poses: `T_a_b` is a 4x4 matrix that maps coordinates of frame b to frame a.

Every function broadcasts over leading axes and is pure. Quaternions are wxyz.
"""

import numpy as np
from jaxtyping import Float

Array = np.ndarray
OPENGL_FROM_OPENCV = np.diag([1.0, -1.0, -1.0])
"""MuJoCo's cameras look along -z with y up; ours along z with y down."""

HALF_TURN = 3.0
"""Above this angle (rad) the axis of a rotation cannot be read off its skew part exactly."""


def from_parts(p: Float[Array, "*B 3"], R: Float[Array, "*B 3 3"]) -> Float[Array, "*B 4 4"]:
    """Join positions and rotation matrices to poses."""
    p, R = np.asarray(p, float), np.asarray(R, float)
    shape = np.broadcast_shapes(p.shape[:-1], R.shape[:-2])
    T = np.zeros((*shape, 4, 4))
    T[..., :3, :3] = R
    T[..., :3, 3] = p
    T[..., 3, 3] = 1.0
    return T


def from_vector(value: Float[Array, "*B 7"]) -> Float[Array, "*B 4 4"]:
    """The poses that free joints' parts of qpos (xyz, wxyz) are."""
    return from_parts(value[..., :3], quat_to_matrix(value[..., 3:]))


def to_vector(T: Float[Array, "4 4"]) -> Float[Array, "7"]:
    """A pose as a free joint's part of qpos: xyz, wxyz."""
    return np.concatenate([T[:3, 3], matrix_to_quat(T[:3, :3])])


def inverse(T: Float[Array, "*B 4 4"]) -> Float[Array, "*B 4 4"]:
    """Invert rigid poses: `inverse(T_a_b)` is `T_b_a`."""
    R = np.swapaxes(T[..., :3, :3], -1, -2)
    return from_parts(-(R @ T[..., :3, 3:])[..., 0], R)


def transform(T: Float[Array, "*B 4 4"], p: Float[Array, "*C 3"]) -> Float[Array, "*D 3"]:
    """Map points: `transform(T_a_b, p_b)` is `p_a`; leading axes broadcast."""
    return (T[..., :3, :3] @ p[..., None])[..., 0] + T[..., :3, 3]


def yaw_to_matrix(yaw: Float[Array, "*B"] | float) -> Float[Array, "*B 3 3"]:
    """Rotation about z by `yaw` (rad)."""
    yaw = np.asarray(yaw, float)
    R = np.zeros((*yaw.shape, 3, 3))
    R[..., 0, 0] = R[..., 1, 1] = np.cos(yaw)
    R[..., 1, 0] = np.sin(yaw)
    R[..., 0, 1] = -R[..., 1, 0]
    R[..., 2, 2] = 1.0
    return R


def yaw_of(T: Float[Array, "*B 4 4"]) -> Float[Array, "*B"]:
    """Yaw (rad, in (-pi, pi]) of the x axis of a pose, seen along z."""
    return np.asarray(np.arctan2(T[..., 1, 0], T[..., 0, 0]))


def twist_of(R: Float[Array, "3 3"]) -> float:
    """Yaw (rad) that a rotation begins with, where the rest of it is about a horizontal axis."""
    w, _, _, z = matrix_to_quat(R)
    return float(np.angle(np.exp(2j * np.arctan2(z, w))))


def quat_to_matrix(quat: Float[Array, "*B 4"]) -> Float[Array, "*B 3 3"]:
    """Rotation matrices of unit quaternions (wxyz)."""
    q = np.asarray(quat, float)
    q = q / np.linalg.norm(q, axis=-1, keepdims=True)
    w, x, y, z = (q[..., i] for i in range(4))
    R = np.empty((*q.shape[:-1], 3, 3))
    R[..., 0, 0] = 1 - 2 * (y * y + z * z)
    R[..., 0, 1] = 2 * (x * y - w * z)
    R[..., 0, 2] = 2 * (x * z + w * y)
    R[..., 1, 0] = 2 * (x * y + w * z)
    R[..., 1, 1] = 1 - 2 * (x * x + z * z)
    R[..., 1, 2] = 2 * (y * z - w * x)
    R[..., 2, 0] = 2 * (x * z - w * y)
    R[..., 2, 1] = 2 * (y * z + w * x)
    R[..., 2, 2] = 1 - 2 * (x * x + y * y)
    return R


def matrix_to_quat(R: Float[Array, "*B 3 3"]) -> Float[Array, "*B 4"]:
    """Unit quaternions (wxyz, w >= 0) of rotation matrices."""
    q = rotvec_to_quat(matrix_to_rotvec(R))
    return np.where(q[..., :1] < 0, -q, q)


def rotvec_to_quat(v: Float[Array, "*B 3"]) -> Float[Array, "*B 4"]:
    """Quaternions (wxyz) of rotation vectors (rad)."""
    v = np.asarray(v, float)
    angle = np.linalg.norm(v, axis=-1, keepdims=True)
    return np.concatenate([np.cos(angle / 2), 0.5 * np.sinc(angle / (2 * np.pi)) * v], -1)


def rotvec_to_matrix(v: Float[Array, "*B 3"]) -> Float[Array, "*B 3 3"]:
    """Rotation matrices of rotation vectors (rad)."""
    return quat_to_matrix(rotvec_to_quat(v))


def matrix_to_rotvec(R: Float[Array, "*B 3 3"]) -> Float[Array, "*B 3"]:
    """Rotation vectors (rad, norm <= pi) of rotation matrices."""
    R = np.asarray(R, float)
    v = np.empty(R.shape[:-1])
    v[..., 0] = 0.5 * (R[..., 2, 1] - R[..., 1, 2])
    v[..., 1] = 0.5 * (R[..., 0, 2] - R[..., 2, 0])
    v[..., 2] = 0.5 * (R[..., 1, 0] - R[..., 0, 1])
    sine = np.sqrt((v * v).sum(-1))
    angle = np.arctan2(sine, 0.5 * (R[..., 0, 0] + R[..., 1, 1] + R[..., 2, 2] - 1))
    result = v * np.where(sine < 1e-9, 1.0, angle / np.maximum(sine, 1e-9))[..., None]
    opposite = angle > HALF_TURN
    if opposite.any():
        result[opposite] = angle[opposite, None] * _axis(R[opposite], v[opposite])
    return result


def _axis(R: Float[Array, "B 3 3"], v: Float[Array, "B 3"]) -> Float[Array, "B 3"]:
    """Axes of turns by about half a turn, on the side of `v`, which may be next to nothing.

    The symmetric part of R is cos + (1 - cos) a a^T: its columns without the cosine are along a.
    """
    cosine = 0.5 * (np.trace(R, axis1=1, axis2=2) - 1)
    aa = 0.5 * (R + np.swapaxes(R, 1, 2)) - cosine[:, None, None] * np.eye(3)
    longest = np.argmax(np.diagonal(aa, axis1=1, axis2=2), 1)
    a = np.take_along_axis(aa, longest[:, None, None], 2)[..., 0]
    a = a / np.linalg.norm(a, axis=1, keepdims=True)
    return np.where((a * v).sum(1, keepdims=True) < 0, -a, a)


def interpolate(
    T_a: Float[Array, "4 4"], T_b: Float[Array, "4 4"], s: Float[Array, "S"]
) -> Float[Array, "S 4 4"]:
    """Poses between two poses: linear in position, along the shortest rotation; `s` in [0, 1]."""
    s = np.asarray(s, float)[:, None]
    p = (1 - s) * T_a[:3, 3] + s * T_b[:3, 3]
    v = matrix_to_rotvec(T_a[:3, :3].T @ T_b[:3, :3])
    return from_parts(p, T_a[:3, :3] @ rotvec_to_matrix(s * v))


def look_at(
    p_eye: Float[Array, "3"], p_target: Float[Array, "3"], up: Float[Array, "3"] | None = None
) -> Float[Array, "4 4"]:
    """Camera pose (OpenCV axes: x right, y down, z forward) at `p_eye` that looks at `p_target`."""
    up = np.array([0.0, 0.0, 1.0]) if up is None else np.asarray(up, float)
    z = np.asarray(p_target, float) - p_eye
    z = z / np.linalg.norm(z)
    x = np.cross(z, up)
    x = x / np.linalg.norm(x)
    return from_parts(np.asarray(p_eye, float), np.stack([x, np.cross(z, x), z], -1))


def mean(Ts: Float[Array, "K *B 4 4"]) -> Float[Array, "*B 4 4"]:
    """The mean of K poses: of their positions, and of their rotations in the chordal metric.

    Source: Hartley et al. 2013, "Rotation Averaging", section 5.3.
    """
    left, _, right = np.linalg.svd(Ts[..., :3, :3].mean(0))
    left[..., 2] *= np.linalg.det(left @ right)[..., None]  # a rotation, not a reflection
    return from_parts(Ts[..., :3, 3].mean(0), left @ right)


def moved_by(T: Float[Array, "4 4"], way: Float[Array, "3"]) -> Float[Array, "4 4"]:
    """The same pose, elsewhere by `way` (m)."""
    return from_parts(T[:3, 3] + way, T[:3, :3])


def turned(T: Float[Array, "4 4"], Ts: Float[Array, "*B 4 4"], share: float) -> Array:
    """The positions of poses, and of their turns from `T` a share; (*B, 4, 4)."""
    result = Ts.copy()
    turn = matrix_to_rotvec(T[:3, :3].T @ Ts[..., :3, :3])
    result[..., :3, :3] = T[:3, :3] @ rotvec_to_matrix(share * turn)
    return result
