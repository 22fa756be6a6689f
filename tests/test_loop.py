"""The closed loop: belief, tracker, disturbances, and every task kind in physics."""

from collections import deque
from dataclasses import replace
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import mujoco
import numpy as np
import pytest
from PIL import Image

from roboloop import pose
from roboloop.cell import Cell
from roboloop.cells import build_cell
from roboloop.demo.belief import Belief, Tracking
from roboloop.demo.execute import rngs_for
from roboloop.demo.hand import HANDLE_OPENING, letting_go
from roboloop.demo.loop import ClosedLoop
from roboloop.demo.planner import Planner
from roboloop.demo.ways.jointed import turns_along
from roboloop.errors import RoboloopError
from roboloop.evaluate.closed_loop import disturb, misjudged, plan
from roboloop.evaluate.disturb import Disturbance, kinds_of
from roboloop.evaluate.rollout import Rollout
from roboloop.evaluate.tracker import Tracker, TrackerConfig
from roboloop.policy.planner_policy import PlannerPolicy
from roboloop.scene.families import complete
from roboloop.scene.presets import PRESETS, preset_scene
from roboloop.scene.settle import settle
from roboloop.sim import Simulation, qpos_of
from roboloop.station import STATIONS
from roboloop.task.constraints import Values, parse
from roboloop.task.expression import SHARE
from roboloop.task.make import make_task
from roboloop.task.templates import KINDS

ONE_ARM = [name for name, preset in PRESETS.items() if preset.n_arms == 1]
QUICK = ("drawers_open", "button")
SLOW = [name for name in ONE_ARM if name not in QUICK]
EXACT = TrackerConfig()


def cell_of(preset: str, robot: str = "panda") -> Cell:
    twin = settle(preset_scene(preset))
    return build_cell(twin, make_task(twin, PRESETS[preset].sentence, STATIONS[robot]))


@pytest.fixture(scope="module")
def blocks() -> Cell:
    return cell_of("blocks")


def run(cell: Cell, kind="none", tracker=EXACT, seed: int = 0):
    disturbances = disturb([cell], kind, seed, [0])
    (end,), (loop,) = plan([cell], rngs_for(seed, 9, [0]), tracker, seed, [0], 0.0, disturbances)
    return end, loop, disturbances


def test_presets_have_every_task_kind():
    kinds = {
        make_task(preset_scene(name), PRESETS[name].sentence, STATIONS["panda"]).kind
        for name in ONE_ARM
    }
    assert kinds >= KINDS.keys() - {"turn_off"}


@pytest.mark.parametrize(
    "preset", [*QUICK, *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)]
)
def test_every_preset_is_done_in_closed_loop(preset):
    end, loop, _ = run(cell_of(preset))
    assert end.reason == "", [str(event) for event in loop.log]
    assert loop.finished and not loop.problem


@pytest.mark.parametrize(
    "kind", ["pull", *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("object", "goal"))]
)
def test_what_is_disturbed_is_done_all_the_same(blocks, kind):
    end, loop, (disturbance,) = run(blocks, kind)
    assert disturbance.happened and end.reason == ""
    said = " ".join(event.what for event in loop.log)
    assert ("left the hand: back to `grasp`" if kind == "pull" else "planned again") in said


def test_a_noisy_late_tracker_that_looks_away_will_do(blocks):
    end, loop, _ = run(blocks, tracker=TrackerConfig(5.0, 100.0, occlusion=0.1))
    assert end.reason == "", [str(event) for event in loop.log]


@pytest.mark.parametrize(
    "preset", ["drawers_open", pytest.param("microwave", marks=pytest.mark.slow)]
)
def test_a_slightly_wrong_axis_does_not_break_the_run(preset):
    cell = cell_of(preset)
    (believed,) = misjudged([cell], np.deg2rad(5), 0.01, 0, [0])
    (end,), (loop,) = plan([cell], rngs_for(0, 9, [0]), EXACT, 0, [0], believed=[believed])
    assert end.reason == "", [str(event) for event in loop.log]


def test_a_misjudged_cell_is_wrong_only_about_how_things_move():
    cell = cell_of("microwave_open")
    (believed,) = misjudged([cell], np.deg2rad(5), 0.01, 0, [0])
    true, wrong = (mujoco.MjData(each.model) for each in (cell, believed))
    points = []
    for turn in (0.0, -1.0):
        for data in (true, wrong):
            data.qpos[:] = cell.home_qpos
            data.joint("microwave/door").qpos[0] += turn
            mujoco.mj_kinematics(data.model, data)
        points.append([data.site("microwave/handle").xpos.copy() for data in (true, wrong)])
    np.testing.assert_allclose(*points[0], atol=1e-9)
    assert 0.005 < np.linalg.norm(points[1][0] - points[1][1]) < 0.05
    axes = (data.joint("microwave/door").xaxis for data in (true, wrong))
    assert np.dot(*axes) == pytest.approx(np.cos(np.deg2rad(5)))
    assert misjudged([cell], 0.1, 0.01, 0, [1])[0].model.jnt_pos[0] @ [0, 0, 1] == 0.0
    np.testing.assert_array_equal(cell.model.jnt_pos[0], 0.0)


def test_the_same_seed_gives_the_same_states():
    cell, noisy = cell_of("button"), TrackerConfig(5.0, 100.0, 0.1)
    first, again = (run(cell, "object", noisy, 1)[0].states for _ in range(2))
    np.testing.assert_array_equal(first, again)


def test_a_loop_that_cannot_says_why_and_stays():
    cell = cell_of("button")
    loop = ClosedLoop(cell, np.random.default_rng(0), Tracking())
    loop.planner.plan = lambda *_: (_ for _ in ()).throw(_unreachable())  # type: ignore
    home = np.array(cell.robot.home)
    for _ in range(60):
        ctrl = loop.act([(home, cell.robot.gripper_open)], cell.home_qpos[cell.object_qpos])
        np.testing.assert_allclose(ctrl[:-1], home)
    assert loop.finished and loop.problem == "too far"


def test_a_task_that_is_not_done_is_done_again_with_another_grasp(blocks):
    loop = ClosedLoop(blocks, np.random.default_rng(0), Tracking())
    loop.planner.arm.update(blocks.home_qpos)
    loop._values, blamed = loop.planner.arm.values(), []
    loop.planner.blame = blamed.append  # type: ignore
    for _ in blocks.task.stages:
        loop._next()
    assert blamed == [0] and loop._index == 0 and not loop.finished
    assert "not done" in loop.log[-1].what


def test_a_small_arm_pulls_a_drawer_open_though_its_hand_turns():
    cell = cell_of("drawers", "so101")
    end, loop, _ = run(cell)
    assert end.reason == "", [str(event) for event in loop.log]


@pytest.fixture
def nearly_done() -> ClosedLoop:
    """A drawer is open far enough, if less than was wanted, and the hand is still at its handle."""
    cell = cell_of("drawers", "so101")
    loop = ClosedLoop(cell, np.random.default_rng(0), Tracking())
    qpos, address = cell.home_qpos.copy(), cell.joint_address("target.drawer_0")
    qpos[address] = 0.7 * cell.joint_range("target.drawer_0")[1]
    loop.belief.qpos = qpos
    loop.planner.arm.update(qpos)
    values = loop.planner.arm.values()
    hand = {cell.eef: values.points["target.drawer_0_handle"]}
    loop._values = Values({**values.points, **hand}, values.joints)
    loop._index = 1
    return loop


def test_a_handle_that_slips_off_when_the_drawer_is_open_is_left(nearly_done):
    nearly_done._back("the handle left the hand")
    assert nearly_done.cell.task.step_name(nearly_done._index) == "retreat"
    nearly_done._next()  # it did not get away: once more
    assert nearly_done.cell.task.step_name(nearly_done._index) == "retreat"
    assert "not done" in nearly_done.log[-1].what


def test_a_try_that_gains_something_is_not_counted(nearly_done):
    nearly_done._moves = False
    nearly_done._try_plan = lambda warm: ""  # type: ignore
    for share, n_tries in ((0.3, 0), (0.4, 0), (0.5, 0), (0.51, 1), (0.52, 2)):
        joints = {"target.drawer_0" + SHARE: np.array(share)}
        nearly_done._values = Values(nearly_done._values.points, joints)
        nearly_done._rows = deque([nearly_done._ctrl])
        nearly_done._ended()
        assert nearly_done._tries == n_tries


@pytest.mark.parametrize(("pried", "opens"), [(0.3, HANDLE_OPENING), (0.6, 1.0)])
def test_a_hand_that_a_bar_has_opened_lets_go_all_the_way(nearly_done, pried, opens):
    cell = nearly_done.cell
    qpos = cell.with_hand(cell.home_qpos, float(cell.robot.gripper_at(pried)))
    rows = letting_go(nearly_done.planner.arm, "target.drawer_0_handle", qpos, qpos[cell.arm_qpos])
    assert rows[-1] == pytest.approx(cell.robot.gripper_at(opens))


@pytest.mark.slow
def test_an_arm_is_waited_for_before_what_it_did_is_judged(blocks):
    end, loop, _ = run(blocks)
    assert end.reason == ""
    assert [event.what for event in loop.log] == ["done"]


@pytest.mark.slow
def test_what_tilts_in_the_hand_is_righted_on_the_way(blocks):
    """An arm that is where it is sent at once; the block turns in the hand by 30 degrees."""
    loop = ClosedLoop(blocks, np.random.default_rng(0), Tracking())
    arm, body = Planner(blocks, np.random.default_rng(0)).arm, blocks.frame_body("object")
    robot, turn = blocks.robot, slice(at := blocks.free_address("object") + 3, at + 4)
    qpos, n_held, gripper = blocks.home_qpos, 0, robot.gripper_open
    for _ in range(120):
        ctrl = loop.act([(qpos[blocks.arm_qpos], gripper)], qpos[blocks.object_qpos])
        holds = body in loop.belief.held and ctrl[-1] == robot.gripper_closed
        gripper = robot.gripper_open / 2 if ctrl[-1] == robot.gripper_closed else robot.gripper_open
        qpos = arm.moved(qpos, ctrl[:-1], body if holds else None)
        n_held += holds
        if holds and n_held == 8:
            R = pose.rotvec_to_matrix(np.array([0.0, np.pi / 6, 0.0]))
            qpos[turn] = pose.matrix_to_quat(R @ pose.quat_to_matrix(qpos[turn]))
        if n_held and not holds:
            break
    said = [event.what for event in loop.log]
    assert said == ["a path constraint broke: planned again"]
    arm.update(qpos)
    points = arm.values().points
    up = points["object.top"] - points["object.bottom"]
    assert up[2] > np.cos(np.deg2rad(20)) * np.linalg.norm(up)


def _unreachable() -> RoboloopError:
    from roboloop.demo.goals import Unreachable

    return Unreachable("too far")


# --- belief and tracker


def beliefs(cell: Cell, noise_mm: float, n: int, delay_ms: float = 0.0):
    """A belief after n looks, and the truth."""
    config = TrackerConfig(noise_mm, delay_ms)
    belief = Belief(cell, config)
    tracker = Tracker(cell, config, np.random.default_rng(1))
    for _ in range(n):
        look(belief, tracker, cell.home_qpos)
    return belief, tracker


def look(belief: Belief, tracker: Tracker, qpos: np.ndarray) -> None:
    cell = belief.cell
    belief.update([(qpos[cell.arm_qpos], qpos[cell.gripper_qpos])], tracker.see(qpos))


def test_an_exact_tracker_is_believed(blocks):
    belief, _ = beliefs(blocks, 0.0, 1)
    np.testing.assert_allclose(belief.qpos, blocks.home_qpos, atol=1e-12)


def test_averaging_makes_noise_smaller(blocks):
    address = blocks.free_address("object")
    off = []
    for n in (1, 12):
        belief, tracker = beliefs(blocks, 5.0, n)
        errors = []
        for _ in range(60):
            look(belief, tracker, blocks.home_qpos)
            errors.append((belief.qpos - blocks.home_qpos)[address : address + 3])
        off.append(np.sqrt(np.mean(np.square(errors[-30:]))))
    assert max(off) < 0.003


def test_what_was_moved_is_seen_there_soon(blocks):
    belief, tracker = beliefs(blocks, 5.0, 20)
    address = blocks.free_address("object")
    moved = blocks.home_qpos.copy()
    moved[address] += 0.06
    for _ in range(8):
        look(belief, tracker, moved)
    assert abs(belief.qpos[address] - moved[address]) < 0.006


def test_what_is_held_goes_with_the_hand_before_the_tracker_says_so(blocks):
    belief, tracker = beliefs(blocks, 0.0, 5, delay_ms=100.0)
    body, address = blocks.frame_body("object"), blocks.free_address("object")
    arm = Planner(blocks, np.random.default_rng(0)).arm
    belief.hold(body, "robot")
    qpos = blocks.home_qpos
    for _ in range(10):
        q = qpos[blocks.arm_qpos].copy()
        q[0] += 0.05
        qpos = arm.moved(qpos, q, body)
        look(belief, tracker, qpos)
        np.testing.assert_allclose(belief.qpos[address : address + 3], qpos[address : address + 3],
                                   atol=1e-9)  # fmt: skip
        assert belief.slip[body] < 1e-9


def test_what_left_the_hand_slips(blocks):
    belief, tracker = beliefs(blocks, 0.0, 5)
    belief.hold(blocks.frame_body("object"), "robot")
    qpos = blocks.home_qpos.copy()
    qpos[blocks.arm_qpos[0]] += 0.3  # the hand goes, the block stays
    look(belief, tracker, qpos)
    assert belief.slip[blocks.frame_body("object")] > 0.05


def test_a_tracker_is_late_and_looks_away(blocks):
    tracker = Tracker(blocks, TrackerConfig(0.0, 100.0, 0.2), np.random.default_rng(0))
    qpos, seen = blocks.home_qpos.copy(), []
    for t in range(2000):
        qpos[blocks.free_address("object")] = t
        seen.append(tracker.see(qpos)[0])
    seen = np.array(seen)
    late = np.arange(2000) - seen
    assert set(late[2:][np.isfinite(late[2:])]) == {2.0}
    assert 0.1 < np.isnan(seen).mean() < 0.3


def test_a_policy_for_other_cells_is_refused(blocks):
    policy = PlannerPolicy([blocks], rngs_for(0, 9, [0]), Tracking())
    with pytest.raises(RoboloopError, match="has 1 cells, not 2"):
        policy.reset(2)


def test_kinds_of_disturbance_fit_the_task(blocks):
    assert kinds_of(blocks) == ["object", "pull", "goal"]
    assert kinds_of(cell_of("button")) == ["object", "pull"]


def test_what_is_in_a_thing_that_is_pulled_away_goes_with_it():
    cell = cell_of("mug_bowl")
    disturbance = Disturbance(cell, "pull", np.random.default_rng(0))
    sim = Simulation([cell.model])
    sim.reset(cell.home_qpos[None], np.zeros((1, cell.model.nu)))
    state, model = sim.states[0].copy(), cell.model
    mug = cell.free_address("object")
    at = [mug, *(cell.free_address(role) for role in cell.task.roles if "content" in role)]
    disturbance.apply(state)
    qpos_of(model, state)[[a + 2 for a in at]] += 0.05  # lifted
    before = qpos_of(model, state).copy()
    for _ in range(12):
        disturbance.apply(state)
    moved = np.array([(qpos_of(model, state) - before)[a : a + 3] for a in at])
    assert disturbance.happened and np.linalg.norm(moved[0]) > 0.05
    np.testing.assert_allclose(moved, np.broadcast_to(moved[0], moved.shape), atol=1e-9)


def test_a_pushing_hand_touches_what_it_pushes_and_nothing_else():
    from roboloop.demo.push import TOUCH, contacts

    cell = cell_of("drawers_open")
    arm = Planner(cell, np.random.default_rng(0)).arm
    closed = cell.with_hand(cell.home_qpos, cell.robot.gripper_closed)
    arm.update(closed)
    stage = cell.task.stages[0]
    p = arm.data.site_xpos[cell.model.site(cell.site_name(str(stage.push))).id]
    body = cell.frame_body(str(stage.push))
    inwards = -arm.data.xmat[body].reshape(3, 3)[:, 0]
    way = next(contacts(arm, closed, body, p.copy(), inwards))
    assert (way[1] - way[0])[:3, 3] @ inwards > 0.02
    ik, good = arm.reach(way[1:], np.array(cell.robot.home))
    assert good.all()
    (to_all,), (to_others,) = (
        list(arm.distances(closed, ik.q, touched)) for touched in (None, body)
    )
    assert to_all < TOUCH + 1e-3 < to_others


@pytest.mark.parametrize("width", [0.24, 0.14])
def test_things_are_let_go_of_higher_only_where_the_hand_has_no_room(width):
    scene = preset_scene("box_basket")
    basket = scene.object("basket")
    basket = complete(replace(basket, size=(1.25 * width, width, 0.09), keypoints={}))
    scene = replace(scene, objects=(scene.object("box"), basket))
    task = make_task(scene, PRESETS["box_basket"].sentence, STATIONS["panda"])
    cell = build_cell(scene, task)
    planner = Planner(cell, np.random.default_rng(0))
    qpos = cell.home_qpos
    for index in (0, 1):
        q = planner.plan(index, qpos).ctrl[-1, :-1]
        qpos = planner.arm.moved(qpos, q, cell.frame_body("object") if index else None)
    (place,) = (stage for stage in task.stages if stage.release)
    assert 0.03 < place.drop < 0.05
    assert (planner.drop(1) > 0) == (width < 0.15)
    planner.arm.update(qpos)
    points = planner.arm.values().points
    height = (points["object.bottom"] - points["target.inside"])[2] - planner.drop(1)
    assert 0.004 < height < 0.014


# --- pouring


def poured(tilt: float, azimuth: float, p_top) -> Values:
    """A mug over a bowl: its mouth at `p_top` from the bowl's, tilted towards an azimuth (rad)."""
    sideways = np.array([np.cos(azimuth), np.sin(azimuth), 0.0])
    up = np.sin(tilt) * sideways + np.cos(tilt) * np.array([0.0, 0.0, 1.0])
    top = np.array(p_top, float)
    points = {"object.top": top, "object.bottom": top - 0.09 * up, "target.top": np.zeros(3)}
    return Values(points, {})


def test_what_is_poured_lands_in_the_bowl_all_the_way():
    task = make_task(preset_scene("mug_bowl"), PRESETS["mug_bowl"].sentence, STATIONS["panda"])
    pour = next(stage for stage in task.stages if stage.name == "pour")
    lands = parse(next(text for text in pour.path if "min(" in text))
    for tilt, p_top, holds in [
        (0.3, (0.05, 0.0, 0.1), True),  # nothing leaves it yet
        (1.2, (0.05, 0.0, 0.1), True),
        (1.7, (0.05, 0.0, 0.1), False),
        (1.7, (-0.02, 0.0, 0.1), True),
    ]:
        assert (lands.violation(poured(tilt, 0.0, p_top)) <= 0) == holds, (tilt, p_top)


def test_a_full_mug_above_its_bowl_is_not_where_it_has_to_be():
    """Though, as seen from above, its beads are."""
    cell = cell_of("mug_bowl")
    loop, qpos = ClosedLoop(cell, np.random.default_rng(0), Tracking()), cell.home_qpos.copy()
    things = ["object", *(role for role in cell.task.roles if role.startswith("content"))]
    mug, bowl = (cell.free_address(role) for role in ("object", "target"))
    over = np.append(qpos[bowl : bowl + 2] - qpos[mug : mug + 2], 0.15)
    for address in map(cell.free_address, things):
        qpos[address : address + 3] += over
    loop.planner.arm.update(qpos)
    loop._values = loop.planner.arm.values()
    loop._index = next(i for i, stage in enumerate(cell.task.stages) if stage.name == "pour")
    for lost in (False, True):
        loop._lost = lambda arm, held, lost=lost: lost
        assert loop._all_but_hands_done() == lost


def test_a_hand_yaws_before_it_tilts_what_it_holds(blocks):
    planner = Planner(blocks, np.random.default_rng(0))
    qpos = planner.arm.moved(blocks.home_qpos, np.array(blocks.robot.home))
    start = planner.arm.eef(qpos[blocks.arm_qpos])
    qpos[(at := blocks.free_address("object")) : at + 3] = start[:3, 3]  # in the hand
    R = pose.rotvec_to_matrix(np.array([0.0, 0.5, 0.0])) @ pose.yaw_to_matrix(0.7)
    end = pose.from_parts(start[:3, 3], R @ start[:3, :3])
    body = blocks.frame_body("object")
    path = planner.arm.turn(qpos, end, body, np.zeros(3), yaw_first=True)
    R_start_t = [planner.arm.eef(q)[:3, :3] @ start[:3, :3].T for q in path]
    tilt = np.array([np.arccos(min(R[2, 2], 1.0)) for R in R_start_t])
    twist = np.array([pose.twist_of(R) for R in R_start_t])
    assert tilt[twist < 0.5].max() < 0.05 and abs(tilt[-1] - 0.5) < 0.02
    np.testing.assert_allclose(twist[tilt > 0.1], 0.7, atol=0.03)


# --- knobs


@pytest.mark.parametrize(("preset", "n_shares"), [("stove", 1), ("microwave", 5)])
def test_what_is_held_at_its_axis_turns_the_hand_as_far(preset, n_shares):
    cell = cell_of(preset)
    arm = Planner(cell, np.random.default_rng(0)).arm
    stage = cell.task.stages[1]
    (joint,) = set[str]().union(*(parse(text).names()[1] for text in stage.subgoal))
    address = cell.joint_address(joint.removesuffix(SHARE))
    body = cell.frame_body(str(stage.release))
    arm.update(cell.home_qpos)
    site = cell.model.site(cell.site_name(str(stage.release))).id
    T_world_hand = pose.from_parts(arm.data.site_xpos[site].copy(), np.eye(3))
    T_body_hand = pose.inverse(arm.body_pose(body)) @ T_world_hand
    opened = arm.body_pose_at(cell.home_qpos, address, 1.0, body) @ T_body_hand
    assert len(turns_along(T_world_hand, opened)) == n_shares


# --- the benchmark


def test_a_failure_is_named_and_pictured_once(blocks, tmp_path):
    path = Path(__file__).parents[1] / "benchmarks" / "planner" / "closed_loop.py"
    spec = spec_from_file_location("closed_loop", path)
    assert spec and spec.loader
    spec.loader.exec_module(benchmark := module_from_spec(spec))
    loop = ClosedLoop(blocks, np.random.default_rng(0), Tracking())
    loop.problem = "no way to the sub-goal: out of reach by 2.3 cm and 8 deg"
    sim = Simulation([blocks.model])
    sim.reset(blocks.home_qpos[None], np.zeros((1, blocks.model.nu)))
    end = Rollout(np.repeat(sim.states, 3, 0), "dropped or misplaced", 3)
    cause = benchmark.cause(end, loop)
    assert cause == "dropped or misplaced (no way to the sub-goal: out of reach)"
    for _ in range(2):
        benchmark.keep(tmp_path / f"blocks undisturbed {cause}", blocks, end, loop, 7)
    picture, log = sorted(tmp_path.iterdir())
    name = "blocks_undisturbed_dropped_or_misplaced_no_way_to_the_sub_goal_out_of_reach"
    assert (picture.name, log.name) == (f"{name}.jpg", f"{name}.txt")
    assert log.read_text() == "start 7\n"
    with Image.open(picture) as image:
        assert image.size == (640, 240) and picture.stat().st_size < 60_000
