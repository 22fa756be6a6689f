"""Preset scenes: every one settles as it is, and stands for a task."""

import mujoco
import numpy as np
import pytest

from roboloop import pose
from roboloop.cells import build_cell
from roboloop.demo.rank import ranked_grasps
from roboloop.demo.ways.arm import Arm
from roboloop.errors import RoboloopError
from roboloop.robot import ROBOTS
from roboloop.scene.compile import scene_spec
from roboloop.scene.cousins import sample_cousin
from roboloop.scene.presets import PRESETS, SMALL, preset_scene
from roboloop.scene.presets.small import SMALL_BENCHMARK
from roboloop.scene.settle import displacements, settle
from roboloop.station import STATIONS
from roboloop.task.make import make_task


@pytest.mark.parametrize("name", [*PRESETS, *SMALL])
def test_settles_where_it_is(name: str) -> None:
    scene = preset_scene(name)
    moved = displacements(scene, settle(scene))
    # beads find their places in the mug
    far = {name: each.distance for name, each in moved.items() if not name.startswith("bead")}
    assert max(far.values()) < 0.005


def test_both_arms_reach_a_tray_in_its_cousins() -> None:
    twin, low_high = settle(preset_scene("tray")), ROBOTS["vx300s"].reach
    for i in range(6):
        tray = sample_cousin(twin, np.random.SeedSequence(i)).object("tray")
        for handle, y in (("handle_left", 0.469), ("handle_right", -0.469)):
            p = tray.T_world_obj @ [*tray.keypoints[handle], 1.0]
            assert low_high[0] - 0.03 < np.hypot(p[0], p[1] - y) < low_high[1]


@pytest.mark.parametrize(("name", "robot"), [("handover", "panda"), ("handover_small", "vx300s")])
def test_no_arm_at_one_side_reaches_what_is_handed_over_and_where_to(name: str, robot: str) -> None:
    bar, plate = (o.T_world_obj[:2, 3] for o in preset_scene(name).objects)
    low, high = ROBOTS[robot].reach
    at_bar = bar - [0.0, (low + high) / 2 if robot == "panda" else 0.469 - 0.18]
    assert low < np.linalg.norm(bar - at_bar) < high < np.linalg.norm(plate - at_bar) - 0.1


@pytest.mark.parametrize("name", [*SMALL, *SMALL_BENCHMARK])
def test_a_small_arm_reaches_small_presets_and_can_hold_what_they_are_about(name: str) -> None:
    preset = {**SMALL, **SMALL_BENCHMARK}[name]
    task = make_task(preset_scene(name), preset.sentence, STATIONS["so101"])
    cell = build_cell(preset_scene(name), task)
    arm, taken = Arm(cell), str(task.stages[0].grasp)
    arm.update(cell.home_qpos)
    Ts = ranked_grasps(arm, taken, np.random.default_rng(0))
    T_world_body = arm.body_pose(cell.frame_body(taken))
    assert arm.reach_grasps(T_world_body @ Ts, cell.mount.home)[2].any()


def test_what_falls_a_centimetre_stays_where_it_lands() -> None:
    model, rng = scene_spec(preset_scene("stack_d0")).compile(), np.random.default_rng(0)
    data = mujoco.MjData(model)
    red, green = (model.body(name).id for name in ("cube_red", "cube_green"))
    at, below = (int(model.jnt_qposadr[model.body_jntadr[body]]) for body in (red, green))
    for _ in range(80):
        mujoco.mj_resetData(model, data)
        offset = np.array([*rng.uniform(-0.006, 0.006, 2), rng.uniform(0.048, 0.06)])
        data.qpos[at : at + 3] = data.qpos[below : below + 3] + offset
        R = pose.rotvec_to_matrix(rng.normal(0, (0.02, 0.02, 0.5)))
        data.qpos[at + 3 : at + 7] = pose.matrix_to_quat(R)
        mujoco.mj_step(model, data, nstep=200)
        moved = data.xpos[red] - data.xpos[green] - offset
        assert np.linalg.norm(moved[:2]) < 0.005


def test_unknown_preset() -> None:
    with pytest.raises(RoboloopError, match="unknown preset `buton`"):
        preset_scene("buton")
