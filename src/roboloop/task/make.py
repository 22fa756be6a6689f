"""Sentence + scene -> task."""

from collections.abc import Sequence
from typing import NamedTuple

import mujoco
import numpy as np
from jaxtyping import Float

from roboloop import pose
from roboloop.errors import RoboloopError
from roboloop.scene.carriers import reset_frame
from roboloop.scene.compile import scene_spec
from roboloop.scene.graph import Relation, SceneGraph, SceneObject
from roboloop.station import ONLY_ARM, STATIONS, Mount, Station
from roboloop.task import sequence
from roboloop.task.placement import place_base, place_pair
from roboloop.task.sentence import LID, read_sentence
from roboloop.task.spec import Task, View
from roboloop.task.templates import KINDS, LEVELS, Plan, handle_of
from roboloop.task.two_arms import KINDS_OF_TWO

WORKSPACE_MARGIN = 0.16
"""The view holds this much around the task's objects: room for the hand, m."""


def make_task(graph: SceneGraph, sentence: str, station: Station) -> Task:
    """Turn a sentence into the task record for a scene.

    Raises:
        RoboloopError: The sentence fits no task kind or not exactly one object for each role, the
            task needs another number of arms, or no place of the base reaches them.
    """
    parts = [_part(graph, clause, station) for clause in sequence.clauses(sentence)]
    if len(parts) == 1:
        (part,) = parts
        roles, plan, kind = part.roles, part.plan, part.kind
    else:
        roles, plan = sequence.joined([(part.roles, part.plan) for part in parts])
        kind = sequence.KIND
    parts.sort(key=lambda part: part.front is None)  # a front is that of the first point
    points = np.concatenate([part.points for part in parts])
    front = parts[0].front
    return assemble(graph, kind, sentence, roles, plan, station, points, front)


class _Part(NamedTuple):
    """A task, of which a sentence may say several."""

    kind: str
    roles: dict[str, str]
    plan: Plan
    points: Float[np.ndarray, "K 3"]
    front: Float[np.ndarray, "2"] | None


def _part(graph: SceneGraph, sentence: str, station: Station) -> _Part:
    """Read one clause; see `make_task`."""
    reading = read_sentence(sentence, graph)
    kinds = (KINDS, KINDS_OF_TWO)[len(station.arms) - 1]
    if reading.kind not in kinds:
        others = [s.name for s in STATIONS.values() if len(s.arms) != len(station.arms)]
        raise RoboloopError(
            f"`{sentence}` is no task for {('one arm', 'two arms')[len(station.arms) - 1]}",
            f"give `--robot` {' or '.join(others)}",
        )
    kind = kinds[reading.kind]
    objects = [graph.object(reading.roles[role]) for role in kind.roles]
    roles = reading.roles | _contents(graph, reading.roles.get("object", ""))
    plan = kind.plan({role: graph.object(name) for role, name in roles.items()}, reading.joint)
    points, front = _places(objects[::-1]), None
    if reading.joint is not None and len(objects) == 1:
        points = joint_points(graph, objects[0], reading.joint, LEVELS[reading.kind][1])
    if reading.joint is not None and reading.joint != LID:  # which is reached from above
        front = objects[-1].T_world_obj[:2, 0]
    return _Part(reading.kind, roles, plan, points, front)


def assemble(
    graph: SceneGraph,
    kind: str,
    instruction: str,
    roles: dict[str, str],
    plan: Plan,
    station: Station,
    points: Float[np.ndarray, "K 3"] | None = None,
    front: Float[np.ndarray, "2"] | None = None,
) -> Task:
    """Place the robot and the view for a task, and check it against the scene.

    Args:
        graph: The scene.
        kind: See `Task`, as the next ones.
        instruction: What is to be done, in words.
        roles: Role -> object.
        plan: What is to be done.
        station: Who does it.
        points: Where the hand has to get to, in the world, m; None is where the objects are.
        front: See `place_base`.

    Raises:
        RoboloopError: The scene lacks what the task names, or no place of the base reaches it.
    """
    objects = [graph.object(name) for name in roles.values()]
    points = _places(objects) if points is None else points
    corners = _corners(graph)
    what = ", ".join(o.name for o in objects)
    if station.arms == (ONLY_ARM,):
        bases = [place_base(graph, points, station.robot, what, front, corners)]
        points = np.concatenate([points, corners])
    elif not plan.places:
        raise RoboloopError(f"a {kind} is for one arm, not for `{station.name}`")
    else:
        reached = [_points(graph, roles, plan.places[arm]) for arm in station.arms]
        bases = place_pair(graph, (reached[0], reached[1]), station, what)
        points = np.concatenate([points, *reached])
    names = zip(station.arms, bases, strict=True)
    task = Task(
        kind=kind,
        instruction=" ".join(instruction.split()),
        roles=roles,
        stages=plan.stages,
        success=plan.success,
        milestones=plan.milestones,
        arms=tuple(Mount(name, station.robot.name, T, station.turn) for name, T in names),
        front=aim_view(graph, points),
    )
    task.check(graph)
    return task


def _places(objects: Sequence[SceneObject]) -> Float[np.ndarray, "K 3"]:
    return np.array([o.T_world_obj[:3, 3] for o in objects])


def _corners(graph: SceneGraph) -> Float[np.ndarray, "C 3"]:
    """The corners of where things may stand instead, world, m."""
    corners = [np.zeros((0, 3))]
    for obj in graph.objects:
        if obj.reset:
            T_world_reset = reset_frame(obj, graph)
            local = np.array([(*c, 0.0) for c in obj.reset.corners()])
            corners.append(pose.transform(T_world_reset, local))
    return np.concatenate(corners)


def _points(
    graph: SceneGraph, roles: dict[str, str], references: Sequence[str]
) -> Float[np.ndarray, "K 3"]:
    """Where keypoints of free objects are now, world, m."""
    points = []
    for reference in references:
        role, _, keypoint = reference.partition(".")
        object_ = graph.object(roles[role])
        points.append(pose.transform(object_.T_world_obj, np.array(object_.keypoints[keypoint])))
    return np.array(points)


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
