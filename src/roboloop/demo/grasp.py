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
from roboloop.cell import geoms_around
from roboloop.robot import Robot

N_RAYS, N_RAYS_NEAR = 1000, 400
"""To find where a thing can be held, and where it can near a point."""
N_TILTS = 12
MAX_NORMAL_ANGLE = np.deg2rad(20)
"""Between the closing axis and the surface normal, inside the friction cone of a rubber pad."""
PAD_REACH, PAD_GIVES = 0.003, 0.0015
"""Beside a grasp, this far away, the surface may be further or nearer by so much, m: pads are flat,
and where shapes are made of pieces, a piece's end is no surface to hold."""
OPENING_MARGIN = 0.012
"""The hand opens this much wider than the object, m."""
FAR = 4.0
"""Rays start half as far away, outside of every object, m."""


@dataclass(frozen=True)
class Grasps:
    """`K` candidates on one body, in that body's frame."""

    Ts_body_eef: Float[np.ndarray, "K 4 4"]
    width: Float[np.ndarray, "K"]
    """Thickness between the fingers, m."""


def antipodal_grasps(
    model: mujoco.MjModel,
    data: mujoco.MjData,
    body: int,
    robot: Robot,
    rng: np.random.Generator,
    near: Float[np.ndarray, "3"] | None = None,
    radius: float = 0.04,
) -> Grasps:
    """Sample antipodal grasps on a body's collision geoms (not those of its children).

    Args:
        model: A model that holds the body; its geoms that make contacts are the surface.
        data: Its state, after `mj_kinematics`.
        body: Body id.
        robot: Gives the widest opening of the hand.
        rng: Randomness of the rays.
        near: Keep grasps within `radius` of this point (world, m); None keeps all.
        radius: See `near`, m.

    Returns:
        Candidates, several approach directions around each closing axis; possibly none.
    """
    geoms = [
        g
        for g in range(
            model.body_geomadr[body], model.body_geomadr[body] + model.body_geomnum[body]
        )
        if model.geom_contype[g] or model.geom_conaffinity[g]
    ]
    aimed = geoms if near is None else geoms_around(model, data, geoms, near, radius)
    pairs = []
    n_rays = N_RAYS if near is None else N_RAYS_NEAR
    for _ in range(n_rays if aimed else 0):
        through = _point_in(model, data, aimed[rng.integers(len(aimed))], rng)
        axis = _closing_axis(rng)
        start = through - axis * FAR / 2
        stretches = _stretches(model, data, geoms, start, axis)
        if near is not None and stretches:  # there is little there: straight in where it came to
            enter, _, (normal, _) = stretches[0]
            start, axis = start + enter * axis + normal * FAR / 2, -normal
            stretches = _stretches(model, data, geoms, start, axis)
        for enter, leave, normals in stretches:
            middle = start + axis * (enter + leave) / 2
            along = min(-normals[0] @ axis, normals[1] @ axis)
            fits = leave - enter < robot.max_opening - OPENING_MARGIN
            close = near is None or np.linalg.norm(middle - near) < radius
            if not (fits and close and along > np.cos(MAX_NORMAL_ANGLE)):
                continue
            if _flat(model, data, geoms, start, axis, (enter, leave)):
                square = normals[1] - normals[0]  # the way in which pads come to lie flat
                square /= np.linalg.norm(square)
                pairs.append((middle, square, (leave - enter) * (axis @ square)))
    if not pairs:
        return Grasps(np.zeros((0, 4, 4)), np.zeros(0))
    middles, axes, widths = (np.array(column) for column in zip(*pairs, strict=True))
    T_world_body = pose.from_parts(data.xpos[body], data.xmat[body].reshape(3, 3))
    Ts_world_eef = _approaches(middles, axes)
    return Grasps(pose.inverse(T_world_body) @ Ts_world_eef, np.tile(widths, N_TILTS))


def _stretches(
    model: mujoco.MjModel,
    data: mujoco.MjData,
    geoms: list[int],
    start: np.ndarray,
    axis: np.ndarray,
) -> list[tuple[float, float, tuple[np.ndarray, np.ndarray]]]:
    """Solid stretches of the object along a ray; see `_merge`."""
    off_line = np.linalg.norm(np.cross(data.geom_xpos[geoms] - start, axis), axis=1)
    near_line = np.array(geoms)[off_line < model.geom_rbound[geoms]]
    return _merge([h for g in near_line if (h := _interval(model, data, int(g), start, axis))])


def _flat(
    model: mujoco.MjModel,
    data: mujoco.MjData,
    geoms: list[int],
    start: np.ndarray,
    axis: np.ndarray,
    ends: tuple[float, float],
) -> bool:
    """Whether the surface goes on beside both ends of a stretch, where it goes on at all."""
    u = np.cross(axis, np.eye(3)[np.argmin(np.abs(axis))])
    u *= PAD_REACH / np.linalg.norm(u)
    v = np.cross(axis, u)
    for aside in (u, -u, v, -v):
        for enter, leave, _ in _stretches(model, data, geoms, start + aside, axis):
            off = max(abs(enter - ends[0]), abs(leave - ends[1]))
            if enter < ends[1] and leave > ends[0] and off > PAD_GIVES:
                return False
    return True


def _closing_axis(rng: np.random.Generator) -> np.ndarray:
    """A random axis, horizontal in half of the cases: most things on tables are held so."""
    v = rng.normal(size=3)
    if rng.random() < 0.5:
        v[2] = 0.0
    return v / np.linalg.norm(v)


def _point_in(
    model: mujoco.MjModel, data: mujoco.MjData, geom: int, rng: np.random.Generator
) -> np.ndarray:
    """A random point in a geom's box, in the world."""
    local = model.geom_aabb[geom, :3] + rng.uniform(-1, 1, 3) * model.geom_aabb[geom, 3:]
    return data.geom_xpos[geom] + data.geom_xmat[geom].reshape(3, 3) @ local


def _interval(
    model: mujoco.MjModel, data: mujoco.MjData, geom: int, start: np.ndarray, axis: np.ndarray
) -> tuple[float, float, np.ndarray, np.ndarray] | None:
    """Where a ray enters and leaves a convex geom, with the outward normals there."""
    enter, n_enter = _ray(model, data, geom, start, axis)
    if enter < 0:
        return None
    back, n_leave = _ray(model, data, geom, start + FAR * axis, -axis)
    return (enter, FAR - back, n_enter, n_leave) if back >= 0 else None


def _ray(
    model: mujoco.MjModel, data: mujoco.MjData, geom: int, start: np.ndarray, axis: np.ndarray
) -> tuple[float, np.ndarray]:
    normal = np.zeros(3)
    if model.geom_type[geom] == mujoco.mjtGeom.mjGEOM_MESH:
        return mujoco.mj_rayMesh(model, data, geom, start, axis, normal), normal
    distance = mujoco.mju_rayGeom(
        data.geom_xpos[geom], data.geom_xmat[geom], model.geom_size[geom], start, axis,
        model.geom_type[geom], normal,
    )  # fmt: skip
    return distance, normal


def _merge(
    hits: list[tuple[float, float, np.ndarray, np.ndarray]],
) -> list[tuple[float, float, tuple[np.ndarray, np.ndarray]]]:
    """Join overlapping intervals: solid stretches of the object along the ray."""
    merged: list[tuple[float, float, tuple[np.ndarray, np.ndarray]]] = []
    for enter, leave, n_enter, n_leave in sorted(hits, key=lambda h: h[0]):
        if merged and enter <= merged[-1][1] + 1e-4:
            if leave > merged[-1][1]:
                merged[-1] = (merged[-1][0], leave, (merged[-1][2][0], n_leave))
        else:
            merged.append((enter, leave, (n_enter, n_leave)))
    return merged


def _approaches(
    middles: Float[np.ndarray, "P 3"], axes: Float[np.ndarray, "P 3"]
) -> Float[np.ndarray, "K 4 4"]:
    """Turn the hand around every closing axis: `N_TILTS` approaches each, tilt by tilt."""
    helper = np.where(np.abs(axes[:, 2:]) > 0.9, np.array([1.0, 0, 0]), np.array([0, 0, -1.0]))
    z0 = helper - np.sum(helper * axes, -1, keepdims=True) * axes
    z0 /= np.linalg.norm(z0, axis=-1, keepdims=True)
    x0 = np.cross(axes, z0)
    angles = np.linspace(0, 2 * np.pi, N_TILTS, endpoint=False)[:, None, None]
    z = np.cos(angles) * z0 + np.sin(angles) * x0
    y = np.broadcast_to(axes, z.shape)
    R = np.stack([np.cross(y, z), y, z], -1)
    return pose.from_parts(np.broadcast_to(middles, z.shape), R).reshape(-1, 4, 4)
