"""Grasp candidates from an object's geometry: antipodal pairs on its collision shapes.

A parallel gripper holds a pair of opposite surface points whose normals lie along the closing
axis. Rays find the surface; every convex collision geom cuts a ray in one interval, and the union
of these intervals says how thick the object is there, also for hollow things.
"""

from dataclasses import dataclass

import mujoco
import numpy as np
from jaxtyping import Float

from roboloop import pose
from roboloop.robot import Robot

N_RAYS = 400
N_TILTS = 12
MAX_NORMAL_ANGLE = np.deg2rad(20)
"""Between the closing axis and the surface normal, inside the friction cone of a rubber pad."""
OPENING_MARGIN = 0.012
"""The hand opens this much wider than the object, m."""


@dataclass(frozen=True)
class Grasps:
    """`K` candidates on one body, in that body's frame."""

    Ts_body_eef: Float[np.ndarray, "K 4 4"]
    width: Float[np.ndarray, "K"]
    """Thickness between the fingers, m."""


def antipodal_grasps(
    model: mujoco.MjModel,
    body: int,
    robot: Robot,
    rng: np.random.Generator,
    near: Float[np.ndarray, "3"] | None = None,
    radius: float = 0.04,
) -> Grasps:
    """Sample antipodal grasps on a body's collision geoms (not those of its children).

    Args:
        model: A model that holds the body; its geoms in contact groups are the surface.
        body: Body id.
        robot: Gives the widest opening of the hand.
        rng: Randomness of the rays.
        near: Keep grasps within `radius` (m) of this point of the body's frame; None keeps all.
        radius: See `near`.

    Returns:
        Candidates, several approach directions around each closing axis; possibly none.
    """
    geoms = [
        g
        for g in range(model.body_geomadr[body], model.body_geomadr[body] + model.body_geomnum[body])
        if model.geom_contype[g] or model.geom_conaffinity[g]
    ]
    pairs = _antipodal_pairs(model, geoms, robot, rng, near, radius)
    if not pairs:
        return Grasps(np.zeros((0, 4, 4)), np.zeros(0))
    middles, axes, widths = (np.array(column) for column in zip(*pairs, strict=True))
    return _with_approaches(middles, axes, widths)


def _antipodal_pairs(
    model: mujoco.MjModel,
    geoms: list[int],
    robot: Robot,
    rng: np.random.Generator,
    near: np.ndarray | None,
    radius: float,
) -> list[tuple[np.ndarray, np.ndarray, float]]:
    low, high = _bounds(model, geoms)
    center, reach = (low + high) / 2, np.linalg.norm(high - low)
    pairs = []
    for _ in range(N_RAYS):
        through = rng.uniform(low, high) if near is None else near + rng.uniform(-1, 1, 3) * radius
        axis = _closing_axis(rng)
        start = through - axis * (reach + np.linalg.norm(through - center))
        hits = [(*hit, g) for g in geoms if (hit := _interval(model, g, start, axis))]
        for enter, leave, normals in _merge(hits):
            width = leave - enter
            middle = start + axis * (enter + leave) / 2
            if width > robot.max_opening - OPENING_MARGIN:
                continue
            if near is not None and np.linalg.norm(middle - near) > radius:
                continue
            if min(-normals[0] @ axis, normals[1] @ axis) > np.cos(MAX_NORMAL_ANGLE):
                pairs.append((middle, axis, width))
    return pairs


def _closing_axis(rng: np.random.Generator) -> np.ndarray:
    """A random axis, horizontal in half of the cases: most things on tables are held so."""
    v = rng.normal(size=3)
    if rng.random() < 0.5:
        v[2] = 0.0
    return v / np.linalg.norm(v)


def _bounds(model: mujoco.MjModel, geoms: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """Box around the geoms in the body's frame."""
    corners = np.stack(np.meshgrid([-1, 1], [-1, 1], [-1, 1]), -1).reshape(-1, 3)
    points = [
        model.geom_pos[g]
        + (model.geom_aabb[g, :3] + corners * model.geom_aabb[g, 3:])
        @ pose.quat_to_matrix(model.geom_quat[g]).T
        for g in geoms
    ]
    every = np.concatenate(points)
    return every.min(0), every.max(0)


def _interval(
    model: mujoco.MjModel, geom: int, start: np.ndarray, axis: np.ndarray
) -> tuple[float, float, np.ndarray, np.ndarray] | None:
    """Where a ray enters and leaves a convex geom, with the outward normals there."""
    enter, n_enter = _ray(model, geom, start, axis)
    if enter < 0:
        return None
    far = 10.0
    back, n_leave = _ray(model, geom, start + far * axis, -axis)
    return enter, far - back, n_enter, n_leave


def _ray(
    model: mujoco.MjModel, geom: int, start: np.ndarray, axis: np.ndarray
) -> tuple[float, np.ndarray]:
    R = pose.quat_to_matrix(model.geom_quat[geom])
    normal = np.zeros(3)
    if model.geom_type[geom] == mujoco.mjtGeom.mjGEOM_MESH:
        distance = _ray_hull(model, geom, R.T @ (start - model.geom_pos[geom]), R.T @ axis, normal)
        return distance, R @ normal
    distance = mujoco.mju_rayGeom(
        model.geom_pos[geom], R.ravel(), model.geom_size[geom], start, axis,
        model.geom_type[geom], normal,
    )  # fmt: skip
    return distance, normal


def _ray_hull(
    model: mujoco.MjModel, geom: int, start: np.ndarray, axis: np.ndarray, normal: np.ndarray
) -> float:
    """Ray against the triangles of a mesh geom, mesh frame; writes `normal` in place."""
    mesh = model.geom_dataid[geom]
    vert = model.mesh_vert[model.mesh_vertadr[mesh] :][: model.mesh_vertnum[mesh]]
    face = model.mesh_face[model.mesh_faceadr[mesh] :][: model.mesh_facenum[mesh]]
    a, b, c = (vert[face[:, k]] for k in range(3))
    n = np.cross(b - a, c - a)
    slope = n @ axis
    with np.errstate(divide="ignore", invalid="ignore"):
        t = np.sum((a - start) * n, -1) / slope
    p = start + np.where(np.isfinite(t), t, 0)[:, None] * axis
    inside = np.isfinite(t) & (t > 0) & (slope < 0)
    for u, v in ((a, b), (b, c), (c, a)):
        inside &= np.sum(np.cross(v - u, p - u) * n, -1) >= 0
    if not inside.any():
        return -1.0
    k = np.flatnonzero(inside)[np.argmin(t[inside])]
    normal[:] = n[k] / np.linalg.norm(n[k])
    return float(t[k])


def _merge(
    hits: list[tuple[float, float, np.ndarray, np.ndarray, int]],
) -> list[tuple[float, float, tuple[np.ndarray, np.ndarray]]]:
    """Join overlapping intervals: solid stretches of the object along the ray."""
    merged: list[tuple[float, float, tuple[np.ndarray, np.ndarray]]] = []
    for enter, leave, n_enter, n_leave, _ in sorted(hits, key=lambda h: h[0]):
        if merged and enter <= merged[-1][1] + 1e-4:
            if leave > merged[-1][1]:
                merged[-1] = (merged[-1][0], leave, (merged[-1][2][0], n_leave))
        else:
            merged.append((enter, leave, (n_enter, n_leave)))
    return merged


def _with_approaches(
    middles: Float[np.ndarray, "P 3"], axes: Float[np.ndarray, "P 3"], widths: Float[np.ndarray, "P"]
) -> Grasps:
    """Turn the hand around every closing axis: `N_TILTS` approaches each."""
    helper = np.where(np.abs(axes[:, 2:]) > 0.9, np.array([1.0, 0, 0]), np.array([0, 0, -1.0]))
    z0 = helper - np.sum(helper * axes, -1, keepdims=True) * axes
    z0 /= np.linalg.norm(z0, axis=-1, keepdims=True)
    x0 = np.cross(axes, z0)
    angles = np.linspace(0, 2 * np.pi, N_TILTS, endpoint=False)[:, None, None]
    z = np.cos(angles) * z0 + np.sin(angles) * x0
    y = np.broadcast_to(axes, z.shape)
    R = np.stack([np.cross(y, z), y, z], -1)
    Ts = pose.from_parts(np.broadcast_to(middles, z.shape), R)
    return Grasps(Ts.reshape(-1, 4, 4), np.tile(widths, N_TILTS))
