"""Let a scene come to rest: push apart what overlaps, then let physics run for a second."""

from dataclasses import replace
from typing import NamedTuple

import mujoco
import numpy as np
from jaxtyping import Float
from scipy.spatial.transform import Rotation

from roboloop import pose
from roboloop.errors import RoboloopError
from roboloop.scene.compile import scene_spec
from roboloop.scene.families import FAMILIES
from roboloop.scene.graph import SceneGraph, SceneObject
from roboloop.sim import CONTROL_DT, Simulation, qpos_of

SECONDS = 1.0
N_PUSHES = 60
DEEPEST = 0.0005
"""Overlap that physics may resolve by itself, m."""
FALLEN = 0.10
"""An object whose centre is this far below the table's top has fallen off, m."""


class Moved(NamedTuple):
    """How far an object went: distance of its frame (m) and angle of its z axis (rad)."""

    distance: float
    tilt: float


def settle(graph: SceneGraph) -> SceneGraph:
    """Return the scene after it has come to rest; furniture and joints stay as they are.

    Raises:
        RoboloopError: An object fell off the table.
    """
    model = scene_spec(graph).compile()
    sim = Simulation([model])
    sim.reset(_apart(model, graph)[None])
    result = sim.rollout(np.zeros((1, round(SECONDS / CONTROL_DT), model.nu)))
    if result.failed[0]:
        raise RoboloopError("the scene is not stable in physics", "do objects overlap deeply?")
    qpos = qpos_of(model, result.states[0, -1])
    settled = replace(graph, objects=tuple(_moved(o, model, qpos) for o in graph.objects))
    table_z = graph.support.T_world_support[2, 3]
    for obj in settled.objects:
        if not obj.T_world_obj[2, 3] > table_z - FALLEN:
            raise RoboloopError(
                f"`{obj.name}` does not stay where it is: it falls off the table",
                "its pose or size, or the table's, are probably wrong",
            )
    return settled


def displacements(before: SceneGraph, after: SceneGraph) -> dict[str, Moved]:
    """How far every object of a scene went between two states of it."""
    moved = {}
    for a, b in zip(before.objects, after.objects, strict=True):
        shift = b.T_world_obj[:3, 3] - a.T_world_obj[:3, 3]
        cosine = np.clip(a.T_world_obj[:3, 2] @ b.T_world_obj[:3, 2], -1.0, 1.0)
        moved[a.name] = Moved(float(np.linalg.norm(shift)), float(np.arccos(cosine)))
    return moved


def _moved(obj: SceneObject, model: mujoco.MjModel, qpos: Float[np.ndarray, "nq"]) -> SceneObject:
    """The object where a configuration has it; furniture as it was."""
    family = FAMILIES[obj.category]
    if family.static:
        return obj
    if family.soft:
        return replace(obj, T_world_obj=obj.T_world_obj @ _flat_motion(model, obj.name, qpos))
    adr = _free_address(model, obj.name)
    T = pose.from_parts(qpos[adr : adr + 3], pose.quat_to_matrix(qpos[adr + 3 : adr + 7]))
    return replace(obj, T_world_obj=T)


def _flat_motion(
    model: mujoco.MjModel, name: str, qpos: Float[np.ndarray, "nq"]
) -> Float[np.ndarray, "4 4"]:
    """The rigid motion closest to that of a cloth's vertices, in the frame of its body."""
    vertices = np.flatnonzero(model.body_parentid == model.body(name).id)
    slides = model.jnt_qposadr[model.body_jntadr[vertices]]
    rest = model.body_pos[vertices]
    now = rest + qpos[slides[:, None] + np.arange(3)]
    center = now.mean(0)
    turn = Rotation.align_vectors(now - center, rest - rest.mean(0))[0]
    T = pose.from_parts(center, turn.as_matrix())
    return T @ pose.from_parts(-rest.mean(0), np.eye(3))


def _free_address(model: mujoco.MjModel, name: str) -> int:
    return int(model.joint(f"{name}/free").qposadr[0])


def _apart(model: mujoco.MjModel, graph: SceneGraph) -> Float[np.ndarray, "nq"]:
    """The scene's configuration, free objects moved by as little as ends their overlaps."""
    data = mujoco.MjData(model)
    families = {o.name: FAMILIES[o.category] for o in graph.objects}
    free = [name for name, each in families.items() if not (each.static or each.soft)]
    address = {model.body(name).id: _free_address(model, name) for name in free}
    for _ in range(N_PUSHES):
        mujoco.mj_kinematics(model, data)
        mujoco.mj_collision(model, data)
        deepest: dict[tuple[int, int], tuple[float, np.ndarray]] = {}
        for contact in data.contact:
            if contact.geom.min() < 0:  # a cloth gives way by itself
                continue
            a, b = model.body_rootid[model.geom_bodyid[contact.geom]]
            pair = (int(a), int(b))
            if contact.dist < -DEEPEST and contact.dist < deepest.get(pair, (0.0,))[0]:
                deepest[pair] = (contact.dist, contact.frame[:3].copy())
        if not deepest:
            break
        for pair, (dist, normal) in deepest.items():
            movable = [body for body in pair if body in address]
            step = (-dist - DEEPEST / 2) / max(1, len(movable)) * normal
            for body in movable:
                adr = address[body]
                data.qpos[adr : adr + 3] += step if body == pair[1] else -step
    return data.qpos.copy()
