"""Physics: the share of time inside `mj_step`, and inverse kinematics.

    python benchmarks/bench_sim.py

A Panda over a table with a bowl, a plate and a mug, servos tracking random targets. CPU seconds.
"""

from time import process_time

import mujoco
import numpy as np
from mujoco.batch import Batch

from roboloop import pose
from roboloop.robot import ROBOTS, attach, forward_kinematics, inverse_kinematics, robot_chain
from roboloop.scene.compile import scene_spec
from roboloop.scene.families import complete
from roboloop.scene.graph import Camera, SceneGraph, SceneObject, Support
from roboloop.sim import Simulation

N, T, N_IK = 32, 20, 2000
SIZES = {"bowl": (0.112, 0.112, 0.053), "plate": (0.138, 0.138, 0.02), "mug": (0.125, 0.09, 0.1)}
"""m."""


def table_scene() -> SceneGraph:
    """Three things on a table in front of a camera."""
    objects = [
        complete(
            SceneObject(
                name,
                name,
                pose.from_parts(np.array([0.1, y, size[2] / 2]), np.eye(3)),
                size,
                {},
                {},
            )
        )
        for (name, size), y in zip(SIZES.items(), (-0.15, 0.0, 0.15), strict=True)
    ]
    T_world_camera = pose.look_at(np.array([1.0, 0.0, 0.7]), np.zeros(3))
    camera = Camera(128, 128, 140.0, 140.0, 64.0, 64.0, T_world_camera)
    return SceneGraph(tuple(objects), Support(np.eye(4), (1.2, 1.2), (0.8, 0.7, 0.6)), camera)


def panda_on_table(lod: str = "low") -> tuple[mujoco.MjModel, np.ndarray]:
    """The model and its configuration with the arm at home."""
    robot = ROBOTS["panda"]
    spec = scene_spec(table_scene())
    attach(spec, robot, pose.from_parts(np.array([-0.45, 0.0, 0.0]), np.eye(3)), lod)
    model = spec.compile()
    qpos = model.qpos0.copy()
    qpos[[model.joint(f"robot/{name}").qposadr[0] for name in robot.arm_joints]] = robot.home
    return model, qpos


def random_ctrl(rng: np.random.Generator) -> np.ndarray:
    """Targets that wander from home."""
    robot = ROBOTS["panda"]
    walk = np.cumsum(rng.normal(0, 0.02, (N, T, len(robot.home))), 1) + robot.home
    return np.concatenate([walk, np.full((N, T, 1), robot.gripper_open)], 2)


def bench_rollout(model: mujoco.MjModel, qpos: np.ndarray, ctrl: np.ndarray) -> None:
    """Compare rollouts, which record and ramp, with bare stepping under the same controls."""
    rest = np.tile([*ROBOTS["panda"].home, ROBOTS["panda"].gripper_open], (N, 1))
    sim = Simulation([model] * N)
    sim.reset(np.tile(qpos, (N, 1)), rest)
    states = sim.states
    start = process_time()
    sim.rollout(ctrl)
    together = process_time() - start

    ends = np.concatenate([rest[:, None], ctrl], 1)
    share = np.arange(1, sim.n_substeps + 1)[:, None] / sim.n_substeps
    ramps = ends[:, :-1, None] + share * np.diff(ends, axis=1)[:, :, None]
    bare = Batch(model, N, 1)
    bare.state[:] = states
    start = process_time()
    bare.rollout(T * sim.n_substeps, ramps.reshape(N, -1, model.nu), record=())
    stepping = process_time() - start
    np.testing.assert_array_equal(bare.state, sim.states)

    start = process_time()
    for i, row in enumerate(ctrl):
        alone = Simulation([model])
        alone.set_states(states[i : i + 1])
        alone.rollout(row[None])
    one_by_one = process_time() - start
    steps = N * T * sim.n_substeps
    print(f"rollout              {steps / together:>10,.0f} physics steps/s, {N} simulations")
    print(f"share inside mj_step {stepping / together:>10.1%}")
    print(f"one after another / together   {one_by_one / together:.2f}")


def bench_inverse_kinematics(rng: np.random.Generator) -> None:
    for name, robot in ROBOTS.items():
        low, high = robot_chain(name).limits.T
        q = np.clip(rng.normal(robot.home, 0.3, (N_IK, len(robot.home))), low, high)
        T = forward_kinematics(robot, q)
        near = np.clip(q + rng.normal(0, 0.05, q.shape), low, high)
        for start_name, q_init in (("near", near), ("home", np.tile(robot.home, (N_IK, 1)))):
            start = process_time()
            result = inverse_kinematics(robot, T, q_init)
            rate = N_IK / (process_time() - start)
            good = (result.position_error < 1e-4).mean()
            print(f"ik {name} from {start_name:<8} {rate:>10,.0f} solutions/s, {good:.1%} met")


def main() -> None:
    rng = np.random.default_rng(0)
    model, qpos = panda_on_table()
    ctrl = random_ctrl(rng)
    bench_rollout(model, qpos, ctrl)
    bench_inverse_kinematics(rng)


if __name__ == "__main__":
    main()
