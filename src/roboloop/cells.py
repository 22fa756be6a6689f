"""Cells built: a scene with the task's arms and cameras, compiled; many that share one twin."""

import json
from collections.abc import Sequence
from copy import copy
from functools import lru_cache
from pathlib import Path

import mujoco
import numpy as np

from roboloop import pose
from roboloop.cell import Cell, set_free
from roboloop.data.views import View
from roboloop.record import from_plain, to_plain
from roboloop.robot import ROBOTS, attach
from roboloop.scene.collection import is_drawn, open_scene, twin_of
from roboloop.scene.compile import scene_spec
from roboloop.scene.graph import SceneGraph
from roboloop.task.spec import Task


def build_cell(graph: SceneGraph, task: Task, name: str = "", lod: str = "low") -> Cell:
    """Compile a scene with the task's arms and front view; it is seen from the first arm.

    Raises:
        RoboloopError: The scene lacks what the task names, or the robot's model is not installed.
    """
    spec = cell_spec(graph, task, lod)
    return Cell(name, graph, task, task.arms[0], spec.compile())


def cell_spec(graph: SceneGraph, task: Task, lod: str = "low") -> mujoco.MjSpec:
    """Put the task's arms and front view into a scene; see `build_cell`."""
    task.check(graph)
    spec = scene_spec(graph)
    _aim_front(spec, graph, task)
    for mount in task.arms:
        attach(spec, ROBOTS[mount.robot], mount.T_world_base, lod, mount.prefix)
    return spec


def calibrated_views(graph: SceneGraph, task: Task) -> dict[str, View]:
    """Where the policy's cameras are, as a calibration in the scene `graph` would find them.

    Of several arms, the first one's base and hand are the frames.
    """
    T_camera_front = pose.from_parts(np.zeros(3), task.front.R_camera_front)
    T_world_front = graph.camera.T_world_camera @ T_camera_front
    robot = ROBOTS[task.arms[0].robot]
    T_base_front = pose.inverse(task.arms[0].T_world_base) @ T_world_front
    return {
        "front": View("base", T_base_front, task.front.fovy),
        "wrist": View("eef", robot.wrist_pose, float(np.deg2rad(robot.wrist_camera[2]))),
    }


def load_cells(folders: Sequence[Path], task: Task) -> list[Cell]:
    """Read scenes and build a cell for each; names are the last two parts of the paths.

    Of scenes that are drawn, only the twin is compiled.
    """
    cells, task_text = [], json.dumps(to_plain(task))
    for folder in folders:
        name = f"{folder.parent.name}/{folder.name}"
        if not is_drawn(folder):
            cells.append(build_cell(open_scene(folder), task, name))
            continue
        twin = _twin(twin_of(folder), _written(twin_of(folder)), task_text)
        cells.append(elsewhere(twin, open_scene(folder, twin.graph), name))
    return cells


@lru_cache(1)
def _twin(folder: Path, written: int, task: str) -> Cell:
    """Compile the scene that others differ from in where things stand alone.

    Args:
        folder: Of the scene.
        written: When that was; a scene that is written anew is compiled anew.
        task: In JSON.
    """
    return build_cell(open_scene(folder), from_plain(Task, json.loads(task)))


def _written(folder: Path) -> int:
    """When a scene was written, ns; 0 where there is none."""
    return max((path.stat().st_mtime_ns for path in folder.glob("scene.json")), default=0)


def elsewhere(twin: Cell, graph: SceneGraph, name: str) -> Cell:
    """The cell of a scene that is the twin but for where its objects stand."""
    model = copy(twin.model)
    for obj in graph.objects:
        body = model.body(obj.name)
        body.pos = obj.T_world_obj[:3, 3]
        body.quat = pose.matrix_to_quat(obj.T_world_obj[:3, :3])
        if body.id in twin.free_bodies:
            set_free(model.qpos0[None], model, body.id, obj.T_world_obj[None])
    return Cell(name, graph, twin.task, twin.mount, model)


def _aim_front(spec: mujoco.MjSpec, graph: SceneGraph, task: Task) -> None:
    """Turn the scene's front camera to the task's view, in place."""
    R = graph.camera.T_world_camera[:3, :3] @ task.front.R_camera_front @ pose.OPENGL_FROM_OPENCV
    camera = spec.camera("front")
    camera.quat = pose.matrix_to_quat(R)
    camera.fovy = np.rad2deg(task.front.fovy)
    camera.resolution = [1, 1]
