"""Sentence + scene -> task."""

import numpy as np

from roboloop import pose
from roboloop.robot import Robot
from roboloop.scene.graph import SceneGraph
from roboloop.task.placement import place_base
from roboloop.task.sentence import read_sentence
from roboloop.task.spec import Stage, Task, View
from roboloop.task.templates import KINDS

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
    stages, success = kind.stages(*objects, reading.joint)
    before = reading.joint is not None
    return assemble(graph, reading.kind, sentence, reading.roles, stages, success, robot, before)


def assemble(
    graph: SceneGraph,
    kind: str,
    instruction: str,
    roles: dict[str, str],
    stages: tuple[Stage, ...],
    success: tuple[str, ...],
    robot: Robot,
    before: bool,
) -> Task:
    """Place the robot and the view for a task, and check it against the scene.

    Args:
        graph: The scene.
        kind: See `Task`, as the next ones.
        instruction: What is to be done, in words.
        roles: Role -> object; the first one's is the one that matters to `before`.
        stages: What is to be done.
        success: When it is.
        robot: Who does it.
        before: Stand on the front side of the first object; see `place_base`.

    Raises:
        RoboloopError: The scene lacks what the task names, or no place of the base reaches it.
    """
    objects = [graph.object(name) for name in roles.values()]
    points = np.array([o.T_world_obj[:3, 3] for o in objects])
    task = Task(
        kind=kind,
        instruction=" ".join(instruction.split()),
        roles=roles,
        stages=stages,
        success=success,
        robot=robot.name,
        T_world_base=place_base(graph, objects, robot, before=before),
        front=aim_view(graph, points),
    )
    task.check(graph)
    return task


def aim_view(graph: SceneGraph, points: np.ndarray) -> View:
    """Turn and zoom the capture's camera so that a square image shows the points and the hand."""
    T_world_camera = graph.camera.T_world_camera
    p_eye, middle = T_world_camera[:3, 3], points.mean(0)
    T_world_front = pose.look_at(p_eye, middle)
    radius = np.linalg.norm(points - middle, axis=1).max() + WORKSPACE_MARGIN
    half = np.arctan(radius / np.linalg.norm(middle - p_eye))
    R_camera_front = T_world_camera[:3, :3].T @ T_world_front[:3, :3]
    return View(R_camera_front, float(np.clip(2 * half, np.deg2rad(15), np.deg2rad(75))))
