"""Sentence + scene -> task."""

import numpy as np

from roboloop import pose
from roboloop.robot import Robot
from roboloop.scene.graph import Relation, SceneGraph
from roboloop.task.placement import place_base
from roboloop.task.sentence import read_sentence
from roboloop.task.spec import Task, View
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
    roles = reading.roles | _contents(graph, reading.roles.get("object", ""))
    stages, success = kind.stages(
        {role: graph.object(name) for role, name in roles.items()}, reading.joint
    )
    points = np.array([o.T_world_obj[:3, 3] for o in objects])
    task = Task(
        kind=reading.kind,
        instruction=" ".join(sentence.split()),
        roles=roles,
        stages=stages,
        success=success,
        robot=robot.name,
        T_world_base=place_base(graph, objects, robot, before=reading.joint is not None),
        front=aim_view(graph, points),
    )
    task.check(graph)
    return task


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
