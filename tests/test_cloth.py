"""A towel lies flat, is seen where it is, replays bit for bit, and is held by friction alone."""

from pathlib import Path

import mujoco
import numpy as np
import pytest

from roboloop import pose
from roboloop.cells import build_cell
from roboloop.demo.execute import attempt, rngs_for
from roboloop.demo.rank import PINCH_INWARDS
from roboloop.demo.team import expert
from roboloop.demo.ways.fold import APEX, folding
from roboloop.render import Renderer
from roboloop.robot import PAD_FRICTION, PAD_SOLIMP, PAD_SOLREF, ROBOTS
from roboloop.scene.compile import scene_spec
from roboloop.scene.cousins import sample_cousin
from roboloop.scene.folder import write_scene
from roboloop.scene.presets import PRESETS, preset_scene
from roboloop.scene.settle import settle
from roboloop.sim import CONTROL_DT, Simulation, qpos_of
from roboloop.station import STATIONS
from roboloop.task.make import make_task

CORNERS = [f"towel/corner_{i}" for i in range(4)]
LIFT = 0.12


def corners(model: mujoco.MjModel, qpos: np.ndarray) -> np.ndarray:
    data = mujoco.MjData(model)
    data.qpos[:] = qpos
    mujoco.mj_kinematics(model, data)
    return np.array([data.site(name).xpos for name in CORNERS])


def test_a_settled_towel_is_flat_and_of_its_size():
    graph = settle(preset_scene("towel"))
    towel, model = graph.object("towel"), scene_spec(graph).compile()
    sim = Simulation([model])
    sim.reset()
    states = sim.rollout(np.zeros((1, round(0.5 / CONTROL_DT), 0))).states
    p = corners(model, qpos_of(model, states[0, -1]))
    np.testing.assert_allclose(p[:, 2], towel.size[2] / 2, atol=2e-4)
    x, y = np.linalg.norm(p[3] - p[0]), np.linalg.norm(p[1] - p[0])
    np.testing.assert_allclose((x, y), np.array(towel.size[:2]) - towel.size[2], atol=1e-3)
    np.testing.assert_allclose(p, corners(model, model.qpos0), atol=2e-4)


def test_towels_of_other_sizes_replay_bit_for_bit_in_one_batch():
    twin = settle(preset_scene("towel"))
    graphs = [twin, sample_cousin(twin, np.random.SeedSequence([0]))]
    assert graphs[0].object("towel").size != graphs[1].object("towel").size
    models = [scene_spec(graph).compile() for graph in graphs]
    push = np.zeros((len(models), models[0].nq))
    push[:, 2::3] = np.random.default_rng(0).uniform(0, 0.02, push[:, 2::3].shape)
    runs = []
    for n_threads in (1, 2):
        sim = Simulation(models, n_threads)
        sim.reset(push)
        result = sim.rollout(np.zeros((len(models), 8, 0)))
        assert not result.failed.any()
        runs.append(result.states)
    np.testing.assert_array_equal(*runs)


def test_a_saved_scene_opens_in_mujoco(tmp_path: Path):
    graph = preset_scene("towel")
    write_scene(graph, tmp_path / "scene")
    ours = scene_spec(graph).compile()
    saved = mujoco.MjModel.from_xml_path(str(tmp_path / "scene" / "scene.xml"))
    assert (saved.nq, saved.nflexvert, saved.neq) == (ours.nq, ours.nflexvert, ours.neq)
    np.testing.assert_allclose(saved.body_mass, ours.body_mass, rtol=1e-4)


@pytest.mark.render
def test_a_towel_is_seen_where_its_vertices_are():
    model = scene_spec(preset_scene("towel")).compile()
    sim = Simulation([model])
    sim.reset(np.stack([model.qpos0]))
    there = sim.states
    moved = model.qpos0.copy()
    moved[1::3] += 0.1  # along y, to the right in the picture
    sim.reset(moved[None])
    with Renderer(96, 72) as renderer:
        states = np.concatenate([there, sim.states])
        seen = renderer.instances(model, states, ("front",))["front"] == model.body("towel").id
    centers = [np.argwhere(mask).mean(0)[1] for mask in seen]
    assert seen[0].sum() > 300
    assert abs(seen[0].sum() - seen[1].sum()) < 0.15 * seen[0].sum()
    assert centers[1] - centers[0] > 6


def with_hand(spec: mujoco.MjSpec, p: np.ndarray, axis: np.ndarray) -> None:
    """Two pads like a Panda's that go up and down, and close along an axis, in place."""
    servo, half = ROBOTS["panda"].gripper_servo, ROBOTS["panda"].pads[0].half_size
    quat = pose.matrix_to_quat(np.stack([np.cross(axis, [0, 0, 1]), axis, [0, 0, 1]], 1))
    hand = spec.worldbody.add_body(name="hand", pos=p, quat=quat)
    slide = mujoco.mjtJoint.mjJNT_SLIDE
    hand.add_joint(name="up", type=slide, axis=(0, 0, 1), armature=2.0)
    hand.add_geom(size=[0.01, 0, 0], pos=(0, 0, 0.1), mass=0.1, contype=0, conaffinity=0)
    names = ["up"]
    for side in (-1.0, 1.0):
        finger = hand.add_body(name=f"finger{side}", pos=(0, side * half[1], half[2]))
        finger.add_joint(
            name=f"finger{side}", type=slide, axis=(0, side, 0),
            armature=servo.armature, damping=servo.damping,
        )  # fmt: skip
        finger.add_geom(
            type=mujoco.mjtGeom.mjGEOM_BOX, size=half, mass=0.01, friction=PAD_FRICTION,
            solref=PAD_SOLREF, solimp=PAD_SOLIMP, condim=4, priority=1,
        )  # fmt: skip
        names.append(f"finger{side}")
    for name, kp in zip(names, (8000.0, servo.kp, servo.kp), strict=True):
        actuator = spec.add_actuator(name=name, target=name, trntype=mujoco.mjtTrn.mjTRN_JOINT)
        actuator.set_to_position(kp=kp, kv=servo.kd)
    hand.gravcomp = 1.0


def test_a_corner_is_pinched_lifted_and_let_go():
    graph = preset_scene("towel")
    spec, T = scene_spec(graph), graph.object("towel").T_world_obj
    corner = pose.transform(T, np.array(graph.object("towel").keypoints["corner_0"]))
    inwards, across = np.array([[1.0, 1.0, 0.0], [1.0, -1.0, 0.0]]) / np.sqrt(2)
    with_hand(spec, corner * [1, 1, 0] + PINCH_INWARDS * inwards, across)
    model = spec.compile()
    # fingers touch the table and close, the hand goes up, waits, comes down, and leaves slowly
    way = [(0.002, 0.02, 1), (-0.001, 0.02, 6), (0.005, 0.0, 12), (0.005, 0.0, 4),
           (LIFT, 0.0, 14), (LIFT, 0.0, 6), (0.006, 0.0, 20), (0.006, 0.008, 20),
           (0.006, 0.008, 4), (LIFT, 0.008, 20)]  # fmt: skip
    keys = np.array([(z, width, width) for z, width, _ in way])
    times = np.cumsum([n for *_, n in way])
    steps = np.arange(1, times[-1] + 1)
    ctrl = np.stack([np.interp(steps, times, column) for column in keys.T], 1)
    sim, qpos = Simulation([model]), model.qpos0.copy()
    qpos[[model.joint(name).qposadr[0] for name in ("up", "finger-1.0", "finger1.0")]] = keys[0]
    sim.reset(qpos[None], keys[:1])
    result = sim.rollout(ctrl[None])
    assert not result.failed[0]
    height = [corners(model, qpos_of(model, s))[0, 2] for s in result.states[0]]
    lifted, end = times[5] - 1, times[-1] - 1
    assert height[lifted] > LIFT - 0.01
    assert height[end] < 0.03
    fingers = qpos_of(model, result.states[0, lifted])[-2:]
    assert 0.001 < fingers.mean() < 0.004  # the cloth is between the pads, not through them


def test_a_fold_goes_over_in_a_bow_as_high_as_the_half_that_follows():
    T_start = pose.from_parts(np.array([0.1, 0.2, 0.02]), np.eye(3))
    T_end = pose.from_parts(np.array([0.4, 0.2, 0.03]), np.eye(3))
    p = folding(T_start, T_end)[:, :3, 3]
    np.testing.assert_allclose(p[-1], T_end[:3, 3], atol=1e-9)
    assert np.all(np.diff(p[:, 0]) > 0) and np.allclose(p[:, 1], 0.2)
    top = np.argmax(p[:, 2])
    np.testing.assert_allclose(p[top, [0, 2]], [0.25, 0.025 + APEX * 0.15], atol=2e-3)
    # what hangs straight down from the hand, and what lies before it, are never longer than a half
    assert (0.15 - np.abs(p[:, 0] - 0.25) + 0.03 - p[:, 2] < 0.01).all()


@pytest.mark.slow
def test_two_arms_fold_a_towel():
    """One cousin; most of them go well, see docs/log.md."""
    twin, index = settle(preset_scene("towel")), 12
    task = make_task(twin, PRESETS["towel"].sentence, STATIONS["two_pandas"])
    cell = build_cell(sample_cousin(twin, np.random.SeedSequence([0, 20, index])), task)
    rngs = rngs_for(0, 20, [index])
    (result,) = attempt([cell], [expert(cell, rngs[0])], [index], rngs)
    assert not result.reason
    assert result.episode is not None
    model = cell.model
    p = corners(model, qpos_of(model, result.episode.sim_states[-1]))
    assert np.linalg.norm((p[:2] - p[[3, 2]])[:, :2], axis=1).max() < 0.04
