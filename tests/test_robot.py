"""The contract that every robot keeps."""

import mujoco
import numpy as np
import pytest

from roboloop import pose
from roboloop.demo.hand import HANDLE_OPENING
from roboloop.embodiment import JAW_GAP
from roboloop.errors import RoboloopError
from roboloop.robot import (
    ROBOTS,
    Robot,
    attach,
    forward_kinematics,
    inverse_kinematics,
    robot_chain,
    robot_spec,
)
from roboloop.scene.compile import scene_spec
from roboloop.sim import Simulation, qpos_of
from scenes import TABLE_Z, make_scene

every_robot = pytest.mark.parametrize("robot", ROBOTS.values(), ids=list(ROBOTS))
T_WORLD_BASE = pose.from_parts(np.array([-0.2, 0.1, TABLE_Z]), pose.yaw_to_matrix(0.5))


def on_table(robot: Robot, block: np.ndarray | None = None) -> mujoco.MjModel:
    """The robot on an empty table, or with a block (half extents, then position in the base)."""
    spec = scene_spec(make_scene())
    attach(spec, robot, T_WORLD_BASE)
    if block is not None:
        p = pose.transform(T_WORLD_BASE, block[3:])
        quat = pose.matrix_to_quat(T_WORLD_BASE[:3, :3])
        body = spec.worldbody.add_body(name="block", pos=p, quat=quat)
        body.add_freejoint()
        body.add_geom(type=mujoco.mjtGeom.mjGEOM_BOX, size=block[:3], density=400)
    return spec.compile()


def addresses(robot: Robot, model: mujoco.MjModel) -> np.ndarray:
    return np.array([model.joint(f"robot/{name}").qposadr[0] for name in robot.arm_joints])


def at_home(robot: Robot, model: mujoco.MjModel) -> np.ndarray:
    qpos = model.qpos0.copy()
    qpos[addresses(robot, model)] = robot.home
    return qpos


def random_q(robot: Robot, n: int, seed: int = 0) -> np.ndarray:
    low, high = robot_chain(robot.name).limits.T
    return np.random.default_rng(seed).uniform(low, high, (n, len(low)))


@every_robot
def test_forward_kinematics_is_mujocos(robot: Robot):
    model = on_table(robot)
    data = mujoco.MjData(model)
    q = random_q(robot, 50)
    for row, T in zip(q, T_WORLD_BASE @ forward_kinematics(robot, q), strict=True):
        data.qpos[addresses(robot, model)] = row
        mujoco.mj_kinematics(model, data)
        site = data.site("robot/eef")
        np.testing.assert_allclose(T[:3, 3], site.xpos, atol=1e-9)
        np.testing.assert_allclose(T[:3, :3], site.xmat.reshape(3, 3), atol=1e-9)


@every_robot
def test_inverse_kinematics_undoes_forward(robot: Robot):
    q = random_q(robot, 100)
    T = forward_kinematics(robot, q)
    result = inverse_kinematics(robot, T, np.tile(robot.home, (100, 1)), restarts=12)
    good = (result.position_error < 1e-4) & (result.rotation_error < 1e-3)
    assert good.mean() >= 0.97
    np.testing.assert_allclose(forward_kinematics(robot, result.q)[good], T[good], atol=1e-3)
    low, high = robot_chain(robot.name).limits.T
    assert ((result.q >= low) & (result.q <= high)).all()


@every_robot
def test_inverse_kinematics_says_how_far_it_misses(robot: Robot):
    T = forward_kinematics(robot, np.array([robot.home]))
    T[0, 0, 3] += 5.0
    result = inverse_kinematics(robot, T, np.array([robot.home]), restarts=0)
    missed = T[0, :3, 3] - forward_kinematics(robot, result.q)[0, :3, 3]
    np.testing.assert_allclose(result.position_error, np.linalg.norm(missed))
    assert result.position_error[0] > 4.0


@every_robot
def test_hand_points_down_within_reach_at_any_yaw(robot: Robot):
    p = [(r * np.cos(a), r * np.sin(a), 0.03) for r in robot.reach for a in (-0.5, 0.0, 0.5)]
    turns = np.linspace(-np.pi / 2, np.pi / 2, 5)
    errors = []
    for yaws in (turns, turns + np.pi):  # the same grasp with the fingers swapped
        R = pose.yaw_to_matrix(yaws) @ np.diag([1.0, -1.0, -1.0])
        T = pose.from_parts(np.repeat(p, 5, 0), np.tile(R, (6, 1, 1)))
        result = inverse_kinematics(robot, T, np.tile(robot.home, (30, 1)), restarts=12)
        errors.append(result.position_error + result.rotation_error)
    assert np.minimum(*errors).max() < 1e-3


@every_robot
def test_names_and_controls(robot: Robot):
    model = on_table(robot)
    assert model.nu == robot.nu == len(robot.home) + 1
    names = [model.actuator(i).name for i in range(model.nu)]
    assert names == [f"robot/{name}" for name in (*robot.arm_joints, "gripper")]
    assert model.camera("robot/wrist").id >= 0
    groups = model.geom_group[[model.geom(f"robot/pad_{k}").id for k in range(len(robot.pads))]]
    assert (groups == 3).all()
    low, high = robot_chain(robot.name).limits.T
    assert (low < robot.home).all()
    assert (robot.home < high).all()


@every_robot
def test_the_model_as_compiled_has_an_open_hand_free_of_contact(robot: Robot):
    model = on_table(robot)
    data = mujoco.MjData(model)
    data.qpos[:] = at_home(robot, model)
    mujoco.mj_forward(model, data)
    assert data.ncon == 0
    gripper = model.joint(f"robot/{robot.gripper_joint}").qposadr[0]
    assert robot.opening(data.qpos[gripper : gripper + 1])[0] == pytest.approx(1.0)
    pads = [data.geom(f"robot/pad_{k}").xpos for k in range(2)]
    T_world_eef = T_WORLD_BASE @ forward_kinematics(robot, np.array([robot.home]))[0]
    across = (pads[0] - pads[1]) @ T_world_eef[:3, :3]
    assert abs(across[1]) > robot.max_opening > 0.03
    assert np.abs(across[[0, 2]]).max() < 0.01


@every_robot
def test_arm_holds_and_tracks_without_overshoot(robot: Robot):
    model = on_table(robot)
    sim = Simulation([model])
    home = np.array([*robot.home, robot.gripper_open])
    sim.reset(at_home(robot, model)[None], home[None])
    held = sim.rollout(np.tile(home, (1, 20, 1))).states[0, -1]
    arm = addresses(robot, model)
    np.testing.assert_allclose(qpos_of(model, held)[arm], robot.home, atol=1e-4)
    share = np.minimum(np.arange(1, 31) / 10, 1.0)[:, None]
    target = home + share * np.array([-0.3] * len(robot.home) + [0.0])
    q = qpos_of(model, sim.rollout(target[None]).states)[0][:, arm]
    assert np.abs(q - target[:, :-1]).max() < 0.03
    assert (robot.home - q).max() < 0.31
    np.testing.assert_allclose(q[-1], target[-1, :-1], atol=0.005)


@every_robot
def test_hand_lifts_a_block_and_lets_it_go(robot: Robot):
    half = min(0.02, robot.max_opening / 2 - 0.008)
    p = np.array([np.mean(robot.reach), 0.0, half])
    model = on_table(robot, np.array([half, half, half, *p]))
    down = np.tile(np.diag([1.0, -1.0, -1.0]), (2, 1, 1))
    T_over_and_at = pose.from_parts(np.stack([p + [0.0, 0.0, 0.04], p]), down)
    ik = inverse_kinematics(robot, T_over_and_at, np.tile(robot.home, (2, 1)))
    q = np.array([robot.home, *ik.q, ik.q[1], ik.q[0], ik.q[0], ik.q[1], ik.q[1], ik.q[0]])
    grip = np.array([1, 1, 1, 0, 0, 0, 0, 1, 1]) * (robot.gripper_open - robot.gripper_closed)
    keys = np.column_stack([q, robot.gripper_closed + grip])
    at_time = np.arange(1, 12 * (len(keys) - 1) + 1) / 12
    columns = [np.interp(at_time, np.arange(len(keys)), column) for column in keys.T]
    sim = Simulation([model])
    sim.reset(at_home(robot, model)[None], keys[:1])
    states = sim.rollout(np.stack(columns, 1)[None]).states[0]
    z = qpos_of(model, states)[:, -5] - TABLE_Z
    assert z[12 * 5 - 1] == pytest.approx(half + 0.04, abs=0.005)
    assert z[-1] == pytest.approx(half, abs=0.002)


@every_robot
def test_the_hand_takes_a_bar_without_pushing_it(robot: Robot):
    """Half open, at where it takes what cannot move aside; a finger that stays is next to it."""
    width = 0.011
    spec = robot_spec(robot.name)
    body, p, quat = robot.eef
    T_body_eef = pose.from_parts(np.array(p), pose.quat_to_matrix(np.array(quat)))
    (aside,) = robot.aside(np.array([width]))
    ends = np.array([[x, -aside, 0.0] for x in (-0.003, 0.003)])
    bar = spec.body(body).add_geom(type=mujoco.mjtGeom.mjGEOM_CAPSULE, name="bar")
    bar.fromto, bar.size = pose.transform(T_body_eef, ends).ravel(), [width / 2, 0, 0]
    model = spec.compile()
    data = mujoco.MjData(model)
    for joint, sign in robot.finger_joints:
        data.joint(joint).qpos = sign * robot.gripper_at(HANDLE_OPENING)
    mujoco.mj_forward(model, data)
    gaps = [
        mujoco.mj_geomDistance(model, data, model.geom("bar").id, pad.id, 0.1, None)
        for pad in (model.geom(f"pad_{k}") for k in range(2))
    ]
    assert min(gaps) > 0.001
    if len(robot.finger_joints) == 1:
        assert gaps[0] == pytest.approx(JAW_GAP, abs=5e-4)


def test_a_missing_robot_names_the_closest():
    with pytest.raises(RoboloopError, match="unknown asset `pandas`\nhint: did you mean `panda`"):
        robot_spec("pandas")
