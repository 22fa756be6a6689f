"""SceneGraph -> MjSpec: table, objects, light and the front camera, ready to compile.

Poses and joint values are in the bodies, so a fresh `MjData` of the compiled model is the scene.
Scenes with the same objects (names, categories, structural parameters) compile to models with the
same layout of MjData, whatever their sizes, colours and poses: they can be simulated as one batch.
"""

import mujoco
import numpy as np

from roboloop import pose
from roboloop.scene.families import VISUAL, add_object, complete
from roboloop.scene.graph import Camera, SceneGraph, Support

TIMESTEP = 0.002
"""Physics step, s."""
CONTACT_SOLREF = (0.01, 1.0)
"""Stiffer than MuJoCo's default, so that a gripped light object gives by less than 0.5 mm."""
CONTACT_SOLIMP = (0.95, 0.99, 0.001, 0.5, 2.0)
TABLE_THICKNESS = 0.04
FLOOR_DEPTH = 0.75
"""Floor below the table's top, m."""


def scene_spec(graph: SceneGraph) -> mujoco.MjSpec:
    """Build the scene without a robot.

    Names: body `{object}`, joints, geoms and sites `{object}/...`, geom `support`, camera `front`.
    Geoms of group 2 are seen, those of group 3 only touch.

    Raises:
        RoboloopError: An object's category, parameter or joint is unknown.
    """
    spec = mujoco.MjSpec()
    spec.modelname = "scene"
    spec.compiler.degree = False
    _set_options(spec)
    _add_surroundings(spec, graph)
    _add_support(spec, graph.support)
    for obj in graph.objects:
        add_object(spec, complete(obj))
    _add_camera(spec, graph.camera)
    return spec


def _set_options(spec: mujoco.MjSpec) -> None:
    """Physics that every scene shares, in place."""
    option = spec.option
    option.timestep = TIMESTEP
    option.integrator = mujoco.mjtIntegrator.mjINT_IMPLICITFAST
    option.cone = mujoco.mjtCone.mjCONE_ELLIPTIC
    option.impratio = 10.0  # friction does not creep under a grip
    spec.default.geom.solref = CONTACT_SOLREF
    spec.default.geom.solimp = CONTACT_SOLIMP
    spec.default.geom.condim = 3


def _add_surroundings(spec: mujoco.MjSpec, graph: SceneGraph) -> None:
    """Light, background and floor, in place."""
    intensity = graph.light_intensity
    headlight = spec.visual.headlight
    headlight.ambient = [0.55 * intensity] * 3
    headlight.diffuse = [0.30 * intensity] * 3
    headlight.specular = [0.0] * 3
    direction = np.asarray(graph.light_direction, float)
    p_table = graph.support.T_world_support[:3, 3]
    spec.worldbody.add_light(
        name="light",
        type=mujoco.mjtLightType.mjLIGHT_DIRECTIONAL,
        pos=p_table - 2.0 * direction / np.linalg.norm(direction),
        dir=direction,
        diffuse=[0.7 * intensity] * 3,
        specular=[0.15 * intensity] * 3,
        castshadow=False,
    )
    spec.add_texture(
        name="background",
        type=mujoco.mjtTexture.mjTEXTURE_SKYBOX,
        builtin=mujoco.mjtBuiltin.mjBUILTIN_FLAT,
        rgb1=graph.background,
        rgb2=graph.background,
        width=4,
        height=4,
    )
    spec.worldbody.add_geom(
        name="floor",
        type=mujoco.mjtGeom.mjGEOM_PLANE,
        size=[4.0, 4.0, 0.1],
        pos=p_table - (0.0, 0.0, FLOOR_DEPTH),
        rgba=(*(0.6 * c for c in graph.background), 1.0),
        group=VISUAL,
    )


def _add_support(spec: mujoco.MjSpec, support: Support) -> None:
    """The table as one box, in place."""
    T = support.T_world_support
    spec.worldbody.add_geom(
        name="support",
        type=mujoco.mjtGeom.mjGEOM_BOX,
        size=[support.size[0] / 2, support.size[1] / 2, TABLE_THICKNESS / 2],
        pos=T[:3, 3] - T[:3, 2] * TABLE_THICKNESS / 2,
        quat=pose.matrix_to_quat(T[:3, :3]),
        rgba=(*support.color, 1.0),
        group=VISUAL,
        friction=(0.6, 0.005, 1e-4),
    )


def _add_camera(spec: mujoco.MjSpec, camera: Camera) -> None:
    """The camera that saw the scene, in place."""
    T = camera.T_world_camera
    ours = spec.worldbody.add_camera(
        name="front",
        pos=T[:3, 3],
        quat=pose.matrix_to_quat(T[:3, :3] @ pose.OPENGL_FROM_OPENCV),
        fovy=np.rad2deg(2 * np.arctan(camera.height / (2 * camera.fy))),
        resolution=[camera.width, camera.height],
    )
    shift = camera.width / 2 - camera.cx, camera.height / 2 - camera.cy
    if np.allclose(shift, 0.0, atol=0.5) and np.isclose(camera.fx, camera.fy, rtol=1e-3):
        return  # the field of view says it all, for images of any shape
    ours.sensor_size = [camera.width / camera.fx, camera.height / camera.fy]
    ours.focal_pixel = [camera.fx, camera.fy]
    ours.principal_pixel = shift
