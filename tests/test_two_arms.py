"""Two arms: where they stand, what they do at once, together and by turns."""

from dataclasses import replace

import numpy as np
import pytest

from roboloop import pose
from roboloop.cell import Cell
from roboloop.cells import build_cell
from roboloop.demo.execute import attempt, rngs_for
from roboloop.demo.goals import Unreachable
from roboloop.demo.loop import ClosedLoop
from roboloop.demo.team import expert
from roboloop.demo.ways.motion import Motion
from roboloop.errors import RoboloopError
from roboloop.evaluate.closed_loop import plan
from roboloop.evaluate.tracker import TrackerConfig
from roboloop.scene.presets import PRESETS, preset_scene
from roboloop.scene.settle import settle
from roboloop.station import STATIONS
from roboloop.task.make import make_task
from roboloop.task.spec import read_task, write_task

PAIRS = [name for name, station in STATIONS.items() if len(station.arms) == 2]
DONE_BY = [
    ("tray", "two_pandas"),
    ("handover", "two_pandas"),
    ("towel", "two_pandas"),
    ("tray", "aloha"),
    ("handover_small", "aloha"),
]


def cell_of(preset: str, station: str) -> Cell:
    twin = settle(preset_scene(preset))
    return build_cell(twin, make_task(twin, PRESETS[preset].sentence, STATIONS[station]))


@pytest.fixture(scope="module")
def tray() -> Cell:
    return cell_of("tray", "two_pandas")


# --- the task


@pytest.mark.parametrize(("preset", "station"), DONE_BY)
def test_both_arms_reach_what_is_theirs_and_face_each_other(preset, station):
    graph = preset_scene(preset)
    task = make_task(graph, PRESETS[preset].sentence, STATIONS[station])
    left, right = (mount.T_world_base for mount in task.arms)
    apart = np.linalg.norm(left[:3, 3] - right[:3, 3])
    low, high = STATIONS[station].apart
    assert low - 1e-9 <= apart <= high + 1e-9
    np.testing.assert_allclose(pose.inverse(left)[:3, :3] @ right[:3, 0], [-1, 0, 0], atol=1e-9)
    assert {mount.robot for mount in task.arms} == {STATIONS[station].robot.name}
    assert task.robot == station


def test_a_task_of_two_arms_survives_its_file(tmp_path, tray):
    write_task(tray.task, tmp_path / "task.json")
    again = read_task(tmp_path)
    assert again.stages == tray.task.stages and again.robot == "two_pandas"
    np.testing.assert_array_equal(again.arms[1].home, tray.task.arms[1].home)


def test_stages_at_once_are_one_step(tray):
    assert tray.task.steps() == ((0, 1), (2,))
    assert tray.task.step_name(0) == "grasp_left+grasp_right"
    assert [tray.task.held(2, arm) for arm in ("left", "right")] == [
        "object.handle_left",
        "object.handle_right",
    ]
    state, action = tray.task.dimension_names()
    assert (len(state), len(action)) == (2 * 17, 2 * 8)
    assert action[0] == "left.joint1" and action[-1] == "right.gripper"


@pytest.mark.parametrize("station", PAIRS)
def test_what_takes_one_arm_is_refused_by_two(station):
    with pytest.raises(RoboloopError, match="no task for two arms"):
        make_task(preset_scene("drawers"), PRESETS["drawers"].sentence, STATIONS[station])


def test_what_takes_two_arms_is_refused_by_one():
    with pytest.raises(RoboloopError, match="no task for one arm") as caught:
        make_task(preset_scene("tray"), "lift the tray", STATIONS["panda"])
    assert "two_pandas" in str(caught.value)


def test_what_has_no_two_handles_is_not_lifted():
    with pytest.raises(RoboloopError, match="no two handles"):
        make_task(preset_scene("bowl_plate"), "lift the bowl", STATIONS["two_pandas"])


def test_places_that_two_arms_cannot_reach_are_named():
    graph = preset_scene("handover")
    bar, box = graph.object("bar"), graph.object("box")
    away = replace(box, T_world_obj=pose.moved_by(box.T_world_obj, np.array([0.0, 1.4, 0.0])))
    with pytest.raises(RoboloopError, match="no place of the two arms of `aloha`"):
        make_task(
            replace(graph, objects=(bar, away)), PRESETS["handover"].sentence, STATIONS["aloha"]
        )


# --- the motion


def test_what_stays_as_it_is_keeps_its_last_value():
    nan = np.nan
    ctrl = np.array([[nan, 1.0], [2.0, nan], [nan, nan]])
    filled = Motion(ctrl).after(np.array([5.0, 6.0])).ctrl
    np.testing.assert_array_equal(filled, [[5, 1], [2, 1], [2, 1]])


def test_hands_keep_their_places_on_what_they_carry(tray):
    """The plan itself, before physics: how each hand lies to the other does not change."""
    team = expert(tray, np.random.default_rng(0))
    grasp = team.plan(0, tray.home_qpos).after(np.zeros(tray.model.nu)).ctrl[-1]
    qpos = tray.home_qpos.copy()
    for arm in tray.arms:
        qpos[arm.arm_qpos] = grasp[arm.ctrl][:-1]
    lift = team.plan(1, qpos).after(grasp).ctrl
    left, right = (team.arms[arm.mount.name].eefs(lift[:, arm.ctrl][:, :-1]) for arm in tray.arms)
    between = pose.inverse(left) @ right
    np.testing.assert_allclose(between, np.broadcast_to(between[0], between.shape), atol=0.006)
    assert left[-1, 2, 3] - left[0, 2, 3] > 0.1


@pytest.mark.slow
def test_arms_in_each_others_way_go_one_after_the_other(tray, monkeypatch):
    team = expert(tray, np.random.default_rng(0))
    at_once = team.plan(0, tray.home_qpos)
    monkeypatch.setattr(type(team), "_apart", lambda *_: False)
    by_turns = expert(tray, np.random.default_rng(0)).plan(0, tray.home_qpos)
    assert len(by_turns.ctrl) > 1.5 * len(at_once.ctrl)
    right = tray.arms[1].ctrl
    assert np.isnan(by_turns.ctrl[0, right]).all() and not np.isnan(by_turns.ctrl[-1, right]).any()


def test_a_team_says_what_it_cannot_reach(tray):
    far = tray.home_qpos.copy()
    far[tray.free_address("object") + 1] += 1.0
    with pytest.raises(Unreachable):
        expert(tray, np.random.default_rng(0)).plan(0, far)


# --- in physics


def test_an_episode_of_two_arms_has_both_in_every_array(tray):
    (rng,) = rngs_for(0, 2, [0])
    (result,) = attempt([tray], [expert(tray, rng)], [0], [rng], noise=0.002)
    assert result.reason == "" and result.episode is not None
    episode = result.episode
    assert episode.action.shape[1] == 16 and episode.action_eef.shape[1] == 16
    assert [name for name, _, _ in episode.subtasks] == ["grasp_left+grasp_right", "lift"]


def test_a_tray_is_lifted_in_closed_loop(tray):
    exact = TrackerConfig()
    (end,), (loop,) = plan([tray], rngs_for(0, 9, [0]), exact, 0, [0])
    assert end.reason == "", [str(event) for event in loop.log]


@pytest.mark.slow
@pytest.mark.parametrize(("preset", "station"), [pair for pair in DONE_BY if pair[0] != "towel"])
def test_every_task_of_two_arms_is_done_with_a_noisy_late_tracker(preset, station):
    cell = cell_of(preset, station)
    (end,), (loop,) = plan([cell], rngs_for(0, 9, [0]), TrackerConfig(5.0, 100.0), 0, [0])
    assert end.reason == "", [str(event) for event in loop.log]


@pytest.mark.slow
def test_a_hand_that_lost_its_handle_takes_it_again(tray):
    """Both hands are told to hold; the right one finds itself empty."""
    loop = ClosedLoop(tray, np.random.default_rng(0), TrackerConfig())
    qpos = tray.home_qpos.copy()
    for _ in range(120):
        measured = []
        for arm in tray.arms:
            closes = loop._ctrl[arm.ctrl][-1] == arm.robot.gripper_closed
            empty = closes and arm.mount.name == "right"
            measured.append((qpos[arm.arm_qpos], 0.0 if empty else arm.robot.gripper_open / 4))
        ctrl = loop.act(measured, qpos[tray.object_qpos])
        for arm in tray.arms:
            qpos[arm.arm_qpos] = ctrl[arm.ctrl][:-1]
        if loop.log:
            break
    assert str(loop.log[0]).endswith("the grasp missed: back to `grasp_left+grasp_right`")
