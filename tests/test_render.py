"""Pixels against what MuJoCo's rays hit."""

import os
import subprocess
import sys
from ctypes.util import find_library

import mujoco
import numpy as np
import pytest

from roboloop import pose
from roboloop.errors import RoboloopError
from roboloop.render import Renderer, render_episode
from roboloop.robot import ROBOTS, attach, forward_kinematics
from roboloop.scene.compile import scene_spec
from roboloop.sim import Simulation
from scenes import TABLE_Z, bowl_and_plate

pytestmark = pytest.mark.render

PX = 64
T_WORLD_BASE = pose.from_parts(np.array([-0.5, 0.0, TABLE_Z]), np.eye(3))


def cell(name: str) -> tuple[mujoco.MjModel, np.ndarray]:
    """A scene with a robot at home, a red ball between its fingers, and its states."""
    robot = ROBOTS[name]
    spec = scene_spec(bowl_and_plate())
    attach(spec, robot, T_WORLD_BASE)
    p = (T_WORLD_BASE @ forward_kinematics(robot, np.array([robot.home]))[0])[:3, 3]
    ball = spec.worldbody.add_body(name="ball", pos=p)
    ball.add_geom(size=[0.012, 0, 0], rgba=[1, 0, 0, 1], group=2, contype=0, conaffinity=0)
    model = spec.compile()
    qpos = model.qpos0.copy()
    qpos[[model.joint(f"robot/{j}").qposadr[0] for j in robot.arm_joints]] = robot.home
    sim = Simulation([model])
    sim.reset(qpos[None])
    return model, np.repeat(sim.states, 2, 0)


def rays(model: mujoco.MjModel, state: np.ndarray, step: int = 7):
    """Pixels on a grid of the front camera: row, column, depth, id of the root body; 0 is none."""
    data = mujoco.MjData(model)
    mujoco.mj_setState(model, data, state, mujoco.mjtState.mjSTATE_INTEGRATION)
    mujoco.mj_forward(model, data)
    camera = model.camera("front").id
    p, R = data.cam_xpos[camera], data.cam_xmat[camera].reshape(3, 3)
    focal = PX / 2 / np.tan(np.deg2rad(model.cam_fovy[camera]) / 2)
    groups = np.array([0, 0, 1, 0, 0, 0], np.uint8)
    for row in range(3, PX, step):
        for column in range(3, PX, step):
            u, v = (column + 0.5 - PX / 2) / focal, (row + 0.5 - PX / 2) / focal
            hit = np.zeros(1, np.int32)
            z = mujoco.mj_ray(model, data, p, R @ np.array([u, -v, -1.0]), groups, 1, -1, hit)
            body = model.body_rootid[model.geom_bodyid[hit[0]]] if hit[0] >= 0 else 0
            yield row, column, max(z, 0.0), body


def test_depth_and_instances_are_what_rays_hit():
    model, states = cell("panda")
    with Renderer(PX, PX) as renderer:
        depth = renderer.depth(model, states, ("front",))["front"][0]
        ids = renderer.instances(model, states, ("front",))["front"][0]
    seen = [(z, depth[r, c], body, ids[r, c]) for r, c, z, body in rays(model, states[0])]
    z, drawn_z, body, drawn_body = np.array(seen).T
    same = body == drawn_body  # rays through edges may differ
    assert same.mean() > 0.95
    assert np.abs(z - drawn_z)[same & (z < 3)].max() < 0.01
    assert {model.body(name).id for name in ("bowl", "plate")} < set(ids.ravel())


@pytest.mark.parametrize("name", ROBOTS)
def test_wrist_camera_sees_what_is_between_the_fingers(name: str):
    model, states = cell(name)
    images = render_episode(model, states, PX)
    assert {key: image.shape for key, image in images.items()} == {
        "front": (2, PX, PX, 3),
        "wrist": (2, PX, PX, 3),
    }
    red = (images["wrist"][0].astype(int) @ (2, -1, -1)) > 150
    assert red.sum() > 10
    row, column = np.argwhere(red).mean(0) / PX
    assert 0.25 < row < 0.75
    assert 0.3 < column < 0.7


def test_pixels_repeat_whatever_was_drawn_before():
    (panda, states), (so101, other) = cell("panda"), cell("so101")
    with Renderer(PX, PX) as renderer:
        # what is drawn last, the wrist, is what stays behind in the buffer
        first = renderer.frames(panda, states, ("front", "wrist"))["front"]
        renderer.depth(so101, other, ("front", "wrist"))
        again = renderer.frames(panda, states[:1], ("front", "wrist"))["front"]
    np.testing.assert_array_equal(first[:1], again)
    np.testing.assert_array_equal(first[0], first[1])
    np.testing.assert_array_equal(render_episode(panda, states, PX)["front"], first)


FALL_BACK = "import sys; from roboloop import render; render._egl_works = lambda: False; "


@pytest.mark.skipif(find_library("OSMesa") is None, reason="OSMesa is not installed")
def test_without_egl_osmesa_is_used_and_said_so():
    done = run_python(FALL_BACK + "render.Renderer(8, 8)")
    assert (done.returncode, done.stderr) == (0, "rendering with OSMesa: EGL finds no device\n")


def test_without_opengl_the_packages_are_named():
    done = run_python(FALL_BACK + "sys.modules['mujoco.osmesa'] = None; render.Renderer(8, 8)")
    assert "RoboloopError: no OpenGL to render with" in done.stderr
    assert "hint: apt-get install libegl1 libgl1-mesa-dri" in done.stderr


def run_python(code: str) -> subprocess.CompletedProcess[str]:
    """Run code in a process that has chosen no OpenGL yet."""
    env = {key: value for key, value in os.environ.items() if key != "MUJOCO_GL"}
    env.pop("PYOPENGL_PLATFORM", None)
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env)


def test_an_unknown_camera_names_the_closest():
    model, states = cell("panda")
    error = pytest.raises(RoboloopError, match="unknown camera `frond`\nhint: .*`front`")
    with Renderer(PX, PX) as renderer, error:
        renderer.frames(model, states, ("frond",))
