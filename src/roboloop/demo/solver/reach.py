"""An arm and what is around it, as the solver needs it, and what a solution costs."""

from dataclasses import dataclass, replace
from itertools import product

import mujoco
import numpy as np
from jaxtyping import Bool, Float, Int

from roboloop import pose
from roboloop.cell import Cell, bodies_below
from roboloop.demo.solver.geometry import BOX, CAPSULE, CYLINDER, distances
from roboloop.kinematics import Chain, end_effectors
from roboloop.robot import robot_chain
from roboloop.task.expression import Values

N_BODY = 60
"""Points on the hand and what it holds that are kept clear."""
SLAB = 2.0
"""Half extent of the slab that stands for a plane, m."""
KINDS = {"box": BOX, "capsule": CAPSULE, "cylinder": CYLINDER}


@dataclass(frozen=True)
class Shapes:
    """M primitives in the world; see `geometry.approach`. Nothing is rasterised."""

    kinds: Int[np.ndarray, "M"]
    """Values of `KINDS`."""
    Ts_world_shape: Float[np.ndarray, "M 4 4"]
    sizes: Float[np.ndarray, "M 3"]

    def distance(self, p: Float[np.ndarray, "*B 3"]) -> Float[np.ndarray, "*B"]:
        """Signed distance of points to the nearest shape, m; negative inside."""
        flat = np.ascontiguousarray(p, float).reshape(-1, 3)
        found, _ = distances(self.kinds, self.Ts_world_shape, self.sizes, flat)
        return found.reshape(p.shape[:-1])


@dataclass(frozen=True)
class Weights:
    """What a sub-goal, or a path, costs."""

    collision: float
    """For every point of the body and metre that it is closer than `margin`; on a path, for every
    `step` or `turn` of it."""
    margin: float
    """m."""
    position: float
    """For the hand's way, per m."""
    rotation: float
    """For its turning, per rad."""
    posture: float = 0.0
    """For the distance from the resting posture, without the last joint, per rad."""
    downwards: float = 0.0
    """For the approach axis' departure from straight down, times 1 - cos."""
    waypoint: float = 0.0
    """For each waypoint of a path."""
    stepwise: bool = False
    """Whether a path's cost is at last summed over whole steps, as who walks it so sees it."""
    step: float = 0.02
    """m."""
    turn: float = 0.1
    """rad."""


@dataclass(frozen=True)
class Reach:
    """An arm, what it holds, and what is around it."""

    chain: Chain
    T_world_base: Float[np.ndarray, "4 4"]
    T_start: Float[np.ndarray, "4 4"]
    """Pose of the hand now, in the world."""
    q: Float[np.ndarray, "n"]
    """The arm now, or a position close to that."""
    rest: Float[np.ndarray, "n"]
    """A natural posture."""
    held: dict[str, Float[np.ndarray, "3"]]
    """Points that move with the hand, in its frame; the hand itself is its origin."""
    values: Values
    """All other points, and joints."""
    body: Float[np.ndarray, "P 3"]
    """Points on the hand and on what it holds, in the hand's frame."""
    shapes: Shapes
    approach: Float[np.ndarray, "3"]
    """The hand's approach axis in its frame."""
    workspace: Float[np.ndarray, "2 3"]
    """Corners of the box that the body should stay in."""

    def hand(self, q: Float[np.ndarray, "n"]) -> Float[np.ndarray, "4 4"]:
        """Pose of the hand in the world."""
        return self.T_world_base @ end_effectors(self.chain, q[None])[0]

    def values_at(self, T: Float[np.ndarray, "*B 4 4"]) -> Values:
        """Keypoints with the hand at a pose, or at each of several."""
        held = {name: pose.transform(T, p) for name, p in self.held.items()}
        return replace(self.values, points={**self.values.points, **held})


def reach_of(
    cell: Cell,
    qpos: Float[np.ndarray, "nq"],
    q: Float[np.ndarray, "n"],
    body: int,
    T_eef_body: Float[np.ndarray, "4 4"],
    moves: str,
) -> Reach:
    """What moving a held object amounts to in a cell.

    Args:
        cell: Where.
        qpos: The state.
        q: The arm, at the grasp or after it.
        body: The body that is held.
        T_eef_body: How it is held.
        moves: The `role` all of whose keypoints move with the hand, or the one `role.keypoint` of
            something soft.
    """
    model, data = cell.model, mujoco.MjData(cell.model)
    data.qpos[:] = qpos
    mujoco.mj_kinematics(model, data)
    T_world_body = pose.from_parts(data.xpos[body], data.xmat[body].reshape(3, 3))
    values = cell.values(data.site_xpos.copy(), data.qpos.copy())
    T_eef_world = T_eef_body @ pose.inverse(T_world_body)
    own = {k: p for k, p in values.points.items() if k == moves or k.startswith(f"{moves}.")}
    held = {k: pose.transform(T_eef_world, p) for k, p in own.items()}
    others = {k: p for k, p in values.points.items() if k not in own and k != cell.eef}
    R_world_eef = data.site_xmat[cell.eef_site].reshape(3, 3)
    T_eef = pose.from_parts(data.site_xpos[cell.eef_site], R_world_eef)
    solid = (model.geom_contype != 0) | (model.geom_conaffinity != 0)
    of_hand = solid & np.isin(model.geom_bodyid, cell.hand_bodies)
    of_body = solid & np.isin(model.geom_bodyid, bodies_below(model, body))
    of_body |= solid & np.isin(model.geom_bodyid, cell.contents(body, qpos))
    around = solid & ~cell.is_robot[model.geom_bodyid] & ~of_body
    points = np.concatenate(
        [
            pose.transform(pose.inverse(T_eef), _corners(model, data, of_hand)),
            pose.transform(T_eef_world, _corners(model, data, of_body)),
        ]
    )
    chain, base = robot_chain(cell.robot.name), cell.mount.T_world_base
    # the way is measured from where the object would stand upright: nothing is tilted for nothing
    upright = T_world_body.copy()
    upright[:3, :3] = pose.yaw_to_matrix(pose.yaw_of(T_world_body))
    return Reach(
        chain, base, upright @ pose.inverse(T_eef_body), q, cell.mount.home,
        {**held, cell.eef: np.zeros(3)}, Values(others, values.joints),
        spread(points, N_BODY), _shapes(model, data, np.flatnonzero(around)),
        np.array([0.0, 0.0, 1.0]), np.array([[-np.inf] * 3, [np.inf] * 3]),
    )  # fmt: skip


def _corners(
    model: mujoco.MjModel, data: mujoco.MjData, which: Bool[np.ndarray, "G"]
) -> Float[np.ndarray, "P 3"]:
    """Corners of geoms in the world: vertices of meshes, corners of the others' boxes."""
    signs = np.array(list(product((-1.0, 1.0), repeat=3)))
    found = [np.zeros((0, 3))]
    for g in np.flatnonzero(which):
        mesh = model.geom_dataid[g]
        if model.geom_type[g] == mujoco.mjtGeom.mjGEOM_MESH:
            first, n = model.mesh_vertadr[mesh], model.mesh_vertnum[mesh]
            local = model.mesh_vert[first : first + n].astype(float)
        else:
            local = model.geom_aabb[g, :3] + signs * model.geom_aabb[g, 3:]
        found.append(local @ data.geom_xmat[g].reshape(3, 3).T + data.geom_xpos[g])
    return np.concatenate(found)


def spread(points: Float[np.ndarray, "P 3"], n: int) -> Float[np.ndarray, "n 3"]:
    """At most `n` points far from each other, the first one first."""
    chosen, far = [0], np.linalg.norm(points - points[0], axis=1)
    while len(chosen) < n and far.max() > 0:
        chosen.append(int(np.argmax(far)))
        far = np.minimum(far, np.linalg.norm(points - points[chosen[-1]], axis=1))
    return points[chosen]


def _shapes(model: mujoco.MjModel, data: mujoco.MjData, geoms: np.ndarray) -> Shapes:
    """Geoms as shapes; meshes and ellipsoids as their boxes, planes as thick slabs."""
    kinds, Ts, sizes = [], [], []
    types = mujoco.mjtGeom
    for g in geoms:
        T = pose.from_parts(data.geom_xpos[g], data.geom_xmat[g].reshape(3, 3))
        size = model.geom_size[g].copy()
        match model.geom_type[g]:
            case types.mjGEOM_CAPSULE:
                kind = CAPSULE
            case types.mjGEOM_SPHERE:
                kind, size = CAPSULE, np.array([size[0], 0.0, 0.0])
            case types.mjGEOM_CYLINDER:
                kind = CYLINDER
            case types.mjGEOM_PLANE:
                kind, size = BOX, np.array([SLAB, SLAB, SLAB])
                T[:3, 3] -= SLAB * T[:3, 2]
            case _:
                kind, size = BOX, model.geom_aabb[g, 3:].copy()
                T[:3, 3] += T[:3, :3] @ model.geom_aabb[g, :3]
        kinds.append(kind)
        Ts.append(T)
        sizes.append(size)
    return Shapes(np.array(kinds, int), np.array(Ts), np.array(sizes))
