"""Captures of known scenes: rays cast into the compiled scene, without OpenGL."""

from dataclasses import replace

import mujoco
import numpy as np

from roboloop import pose
from roboloop.scene.capture import Capture
from roboloop.scene.compile import scene_spec
from roboloop.scene.families import FAMILIES, complete
from roboloop.scene.graph import Camera, Relation, SceneGraph, SceneObject, Support

FOCAL = 290.0


def camera(width: int = 320, height: int = 240) -> Camera:
    """A camera in front of the table that looks down by 45 degrees."""
    T = pose.look_at(np.array([0.75, 0.05, 0.75]), np.array([0.0, 0.0, 0.05]))
    f = FOCAL * width / 320
    return Camera(width, height, f, f, width / 2, height / 2, T)


def thing(category: str, xy: tuple[float, float] = (0.0, 0.0), yaw: float = 0.0) -> SceneObject:
    """An object of middle size, with the family's defaults, standing on the table (z = 0)."""
    limits = np.array(FAMILIES[category].limits)
    x, y, z = (float(v) for v in 0.65 * limits[0] + 0.35 * limits[1])
    if FAMILIES[category].round:
        y, yaw = x, 0.0
    T = pose.from_parts(np.array([*xy, z / 2]), pose.yaw_to_matrix(yaw))
    relations = (Relation("on", "support"),)
    obj = SceneObject(category, category, T, (x, y, z), {}, {}, relations=relations)
    return complete(obj)


def scene(*objects: SceneObject, view: Camera | None = None) -> SceneGraph:
    """A table of 1 m x 1.2 m with things on it."""
    support = Support(np.eye(4), (1.0, 1.2), (0.7, 0.6, 0.5))
    return SceneGraph(objects, support, view or camera())


def capture_of(graph: SceneGraph) -> Capture:
    """Cast a ray through every pixel; depth in whole millimetres, one colour a geom."""
    model = scene_spec(graph).compile()
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    view = graph.camera
    v, u = np.mgrid[: view.height, : view.width] + 0.5
    rays = np.stack([(u - view.cx) / view.fx, (v - view.cy) / view.fy, np.ones_like(u)], -1)
    length = np.linalg.norm(rays, axis=-1)
    directions = (rays / length[..., None]) @ view.T_world_camera[:3, :3].T
    n = view.width * view.height
    geoms, distances = np.zeros(n, np.int32), np.zeros(n)
    seen = np.array([1, 1, 1, 0, 0, 0], np.uint8)
    eye = view.T_world_camera[:3, 3].copy()
    mujoco.mj_multiRay(
        model, data, eye, directions.ravel(), seen, True, -1, geoms, distances, None, n, 10.0
    )
    depth = np.where(distances < 0, 0.0, distances).reshape(length.shape) / length
    depth = (np.floor(depth * 1000) / 1000).astype(np.float32)
    colors = (255 * model.geom_rgba[:, :3]).astype(np.uint8)
    rgb = np.where(geoms[:, None] < 0, np.uint8(90), colors[geoms])
    return Capture(rgb.reshape(view.height, view.width, 3), depth, view)


def moved(graph: SceneGraph, T: np.ndarray) -> SceneGraph:
    """The same scene in a world that is moved by T."""
    support = replace(graph.support, T_world_support=T @ graph.support.T_world_support)
    view = replace(graph.camera, T_world_camera=T @ graph.camera.T_world_camera)
    objects = tuple(replace(o, T_world_obj=T @ o.T_world_obj) for o in graph.objects)
    return replace(graph, objects=objects, support=support, camera=view)
