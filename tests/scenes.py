"""Small scenes made by hand, for tests."""

import numpy as np

from roboloop import pose
from roboloop.scene.families import complete
from roboloop.scene.graph import Camera, Rgb, SceneGraph, SceneObject, Support

TABLE_Z = 0.9
SIZES = {
    "bowl": (0.112, 0.112, 0.053),
    "plate": (0.138, 0.138, 0.02),
    "mug": (0.125, 0.09, 0.1),
    "box": (0.08, 0.05, 0.03),
    "basket": (0.2, 0.16, 0.08),
    "drawer_cabinet": (0.25, 0.222, 0.218),
    "microwave": (0.26, 0.34, 0.19),
}


def make_object(
    name: str, category: str, xy: tuple[float, float], yaw: float = 0.0, color: Rgb | None = None
) -> SceneObject:
    """Put an object of a usual size on the table."""
    size = SIZES[category]
    T = pose.from_parts(np.array([*xy, TABLE_Z + size[2] / 2]), pose.yaw_to_matrix(yaw))
    colors = {"main": color} if color else {}
    return complete(SceneObject(name, category, T, size, {}, colors))


def make_scene(*objects: SceneObject) -> SceneGraph:
    """Put objects on a table in front of a camera that looks along -x, as the captures do."""
    T_world_camera = pose.look_at(np.array([0.7, 0.0, 1.6]), np.array([0.0, 0.0, TABLE_Z]))
    return SceneGraph(
        objects=objects,
        support=Support(
            pose.from_parts(np.array([0, 0, TABLE_Z]), np.eye(3)), (1.0, 1.2), (0.8, 0.7, 0.6)
        ),
        camera=Camera(640, 480, 579.4, 579.4, 320.0, 240.0, T_world_camera),
        source="test",
    )


def bowl_and_plate() -> SceneGraph:
    """The scene of most tests."""
    return make_scene(
        make_object("bowl", "bowl", (-0.08, -0.06), color=(0.1, 0.1, 0.1)),
        make_object("plate", "plate", (0.0, 0.14), color=(0.9, 0.9, 0.9)),
    )
