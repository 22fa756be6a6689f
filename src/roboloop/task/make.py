"""Sentence + scene -> task."""

from collections.abc import Sequence

import mujoco
import numpy as np
from jaxtyping import Float

from roboloop import pose
from roboloop.robot import Robot
from roboloop.scene.compile import scene_spec
from roboloop.scene.graph import Relation, SceneGraph, SceneObject
from roboloop.task.placement import place_base
from roboloop.task.sentence import read_sentence
from roboloop.task.spec import Stage, Task, View
from roboloop.task.templates import KINDS, LEVELS, handle_of

WORKSPACE_MARGIN = 0.16
"""The view holds this much around the task's objects: room for the hand, m."""


def make_task(graph: SceneGraph, sentence: str, robot: Robot) -> Task:
    """Turn a sentence into the task record for a scene.

    Raises:
        RoboloopError: The sentence fits no task kind or not exactly one object for each role, or
            no place of the base reaches them.
    """
    reading = read_sentence(sentence, graph)
    kind = KINDS[reading.kind]
    objects = [graph.object(reading.roles[role]) for role in kind.roles]
    roles = reading.roles | _contents(graph, reading.roles.get("object", ""))
    stages, success = kind.stages(
        {role: graph.object(name) for role, name in roles.items()}, reading.joint
    )
    points, front = _places(objects[::-1]), None
    if reading.joint is not None and len(objects) == 1:
        points = joint_points(graph, objects[0], reading.joint, LEVELS[reading.kind][1])
    if reading.joint is not None:
        front = objects[-1].T_world_obj[:2, 0]
    return assemble(graph, reading.kind, sentence, roles, stages, success, robot, points, front)


def assemble(
    graph: SceneGraph,
    kind: str,
    instruction: str,
    roles: dict[str, str],
    stages: tuple[Stage, ...],
    success: tuple[str, ...],
    robot: Robot,
    points: Float[np.ndarray, "K 3"] | None = None,
    front: Float[np.ndarray, "2"] | None = None,
) -> Task:
    """Place the robot and the view for a task, and check it against the scene.

    Args:
        graph: The scene.
        kind: See `Task`, as the next ones.
        instruction: What is to be done, in words.
        roles: Role -> object.
        stages: What is to be done.
        success: When it is.
        robot: Who does it.
        points: Where the hand has to get to, in the world, m; None is where the objects are.
        front: See `place_base`.

    Raises:
        RoboloopError: The scene lacks what the task names, or no place of the base reaches it.
    """
    objects = [graph.object(name) for name in roles.values()]
    points = _places(objects) if points is None else points
    task = Task(
        kind=kind,
        instruction=" ".join(instruction.split()),
        roles=roles,
        stages=stages,
        success=success,
        robot=robot.name,
        T_world_base=place_base(graph, points, robot, ", ".join(o.name for o in objects), front),
        front=aim_view(graph, points),
    )
    task.check(graph)
    return task


def _places(objects: Sequence[SceneObject]) -> Float[np.ndarray, "K 3"]:
    return np.array([o.T_world_obj[:3, 3] for o in objects])


def joint_points(
    graph: SceneGraph, obj: SceneObject, joint: str, share: float
) -> Float[np.ndarray, "2 3"]:
    """Where the handle of a joint is now, and with the joint at a share of its range; world, m."""
    model = scene_spec(graph).compile()
    data = mujoco.MjData(model)
    site = model.site(f"{obj.name}/{handle_of(obj, joint)}").id
    moved = model.joint(f"{obj.name}/{joint}")
    points = []
    for value in (data.qpos[moved.qposadr[0]], moved.range[0] + share * np.ptp(moved.range)):
        data.qpos[moved.qposadr[0]] = value
        mujoco.mj_kinematics(model, data)
        points.append(data.site_xpos[site].copy())
    return np.array(points)


def _contents(graph: SceneGraph, container: str) -> dict[str, str]:
    """Roles of what is in the object that is to be moved: `content_0` and so on."""
    inside = [o.name for o in graph.objects if Relation("in", container) in o.relations]
    return {f"content_{i}": name for i, name in enumerate(inside)}


def aim_view(graph: SceneGraph, points: np.ndarray) -> View:
    """Turn and zoom the capture's camera so that a square image shows the points and the hand."""
    T_world_camera = graph.camera.T_world_camera
    p_eye, middle = T_world_camera[:3, 3], points.mean(0)
    T_world_front = pose.look_at(p_eye, middle)
    radius = np.linalg.norm(points - middle, axis=1).max() + WORKSPACE_MARGIN
    half = np.arctan(radius / np.linalg.norm(middle - p_eye))
    R_camera_front = T_world_camera[:3, :3].T @ T_world_front[:3, :3]
    return View(R_camera_front, float(np.clip(2 * half, np.deg2rad(15), np.deg2rad(75))))
