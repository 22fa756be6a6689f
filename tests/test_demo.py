"""Grasps, sub-goals, the planner and what generation carries over, in physics."""

from dataclasses import replace

import mujoco
import numpy as np
import pytest

from roboloop import pose
from roboloop.cell import Cell
from roboloop.cells import build_cell
from roboloop.demo.execute import SETTLE_STEPS, attempt, rngs_for
from roboloop.demo.goals import Unreachable, solve_joint
from roboloop.demo.grasp import antipodal_grasps
from roboloop.demo.planner import SUBGOAL, Planner
from roboloop.demo.solver.reach import reach_of
from roboloop.demo.solver.solve import Solver
from roboloop.demo.ways.arm import Arm
from roboloop.demo.ways.motion import slowed, smooth
from roboloop.generate.carrier import Carrier, aligned
from roboloop.generate.rank import rank
from roboloop.generate.segments import Segment, cut_stages, recorded
from roboloop.generate.select import Selection, ordered
from roboloop.generate.stray import STEADY
from roboloop.generate.transform import Carrying, Transformer
from roboloop.robot import ROBOTS, Robot
from roboloop.scene.compile import scene_spec
from roboloop.scene.families import FAMILIES, complete
from roboloop.scene.presets.base import Preset, Thing, build
from roboloop.sim import CONTROL_DT, Simulation, qpos_of
from roboloop.station import STATIONS
from roboloop.task.constraints import parse
from roboloop.task.expression import Values
from roboloop.task.make import make_task
from scenes import TABLE_Z, bowl_and_plate, make_object, make_scene

PANDA = ROBOTS["panda"]
NEAREST = Carrying(Selection("nearest_object", nearest=1))
SKILL_STEPS = 10
"""Steps of a stage that are surely not transit."""


def make_cell(shift: float = 0.0, sentence: str = "put the bowl on the plate") -> Cell:
    graph = make_scene(
        make_object("bowl", "bowl", (-0.08 + shift, -0.06), color=(0.1, 0.1, 0.1)),
        make_object("plate", "plate", (0.0, 0.14 - shift), color=(0.9, 0.9, 0.9)),
    )
    return build_cell(
        graph, make_task(bowl_and_plate(), sentence, STATIONS["panda"]), f"cousins/{shift}"
    )


@pytest.fixture(scope="module")
def planned():
    cell = make_cell()
    (result,) = attempt([cell], [Planner(cell, rngs_for(0, 2, [0])[0])], [7], rngs_for(0, 2, [0]))
    assert result.reason == ""
    return cell, result.episode


@pytest.mark.parametrize("category", ["bowl", "mug", "box"])
def test_grasps_are_antipodal_and_fit_the_hand(category):
    model = scene_spec(make_scene(make_object("thing", category, (0, 0)))).compile()
    data = mujoco.MjData(model)
    mujoco.mj_kinematics(model, data)
    body = model.body("thing").id
    grasps = antipodal_grasps(model, data, body, PANDA, np.random.default_rng(0))
    assert len(grasps.width) > 50
    assert grasps.width.max() < PANDA.max_opening
    size = max(np.array(FAMILIES[category].limits[1]))
    assert np.abs(grasps.Ts_body_eef[:, :3, 3]).max() < size


def held_state(planned) -> np.ndarray:
    cell, episode = planned
    return qpos_of(cell.model, episode.sim_states[episode.subtasks[0][2]])


def test_a_held_object_is_brought_where_the_constraints_hold(planned):
    cell, _ = planned
    qpos, arm, body = held_state(planned), Arm(cell), cell.frame_body("object")
    arm.update(qpos)
    q, T_world_body = qpos[cell.arm_qpos], arm.body_pose(body)
    T_eef_body = pose.inverse(arm.eef(q)) @ T_world_body
    reach = reach_of(cell, qpos, q, body, T_eef_body, "object")
    constraints = tuple(map(parse, cell.task.stages[1].subgoal))
    answer = Solver(reach, constraints, SUBGOAL).subgoal(np.random.default_rng(0))
    there = arm.moved(qpos, answer.q[0], held=body)
    arm.update(there)
    assert answer.problem == ""
    assert max(float(c.violation(arm.values())) for c in constraints) < 1e-3
    assert arm.body_pose(body)[2, 2] > 0.97
    assert answer.clearance > -0.002


def test_goals_that_cannot_be_met_name_the_constraint(planned):
    cell, _ = planned
    floor = replace(cell.task.stages[1], subgoal=("z(object.bottom) < 0.0",))
    stages = (cell.task.stages[0], floor)
    deep = replace(cell, task=replace(cell.task, stages=stages))
    with pytest.raises(Unreachable, match="that the height of the object's bottom .* fails by"):
        Planner(deep, np.random.default_rng(0)).plan(1, held_state(planned))
    joint = Values({}, {"target.door": np.array(0.2)})
    assert solve_joint((parse("joint(target.door) > 1"),), joint, "target.door", (0, 2)) >= 1.0
    with pytest.raises(Unreachable, match="no value of `target.door`"):
        solve_joint((parse("joint(target.door) > 3"),), joint, "target.door", (0, 2))


@pytest.mark.parametrize("robot", ROBOTS.values(), ids=list(ROBOTS))
def test_paths_are_smooth_and_within_the_joints_speed(robot: Robot):
    corner = np.concatenate([np.linspace(0, 1, 20), np.linspace(1, 0, 20)])[:, None] * [1.0, 3.0]
    path = slowed(robot, smooth(corner))
    assert np.abs(np.diff(path, axis=0)).max() <= robot.joint_speed * CONTROL_DT * 1.05
    assert np.array_equal(path[[0, -1]], corner[[0, -1]])
    still = np.zeros((12, 2))
    assert np.array_equal(slowed(robot, still), still)


def test_the_planner_puts_the_bowl_on_the_plate(planned):
    _, episode = planned
    assert episode.success
    assert [name for name, _, _ in episode.subtasks] == ["grasp", "place", "retreat"]
    assert episode.subtasks[-1][2] == len(episode) - SETTLE_STEPS
    assert episode.seed == 7


def test_a_demonstration_ends_where_the_arm_was_told_to_be(planned):
    _, episode = planned
    still = episode.action_intended[-SETTLE_STEPS - 1 :]
    np.testing.assert_array_equal(still, np.broadcast_to(still[-1], still.shape))
    told, there = episode.action_intended[-1, :7], episode.state[[-SETTLE_STEPS, -1], :7]
    before, after = np.abs(there - told).max(1)
    assert after < min(0.02, before)


@pytest.mark.parametrize(
    ("robot", "sentence", "target", "size"),
    [
        ("so101", "put the box on the plate", "plate", (0.13, 0.13, 0.018)),
        ("so101", "put the box in the bowl", "bowl", (0.11, 0.11, 0.045)),
        ("ur5e", "put the box in the basket", "basket", (0.2, 0.16, 0.08)),
        ("vx300s", "put the box on the plate", "plate", (0.16, 0.16, 0.02)),
    ],
)
def test_every_arm_does_what_is_in_its_reach(robot, sentence, target, size):
    apart = 0.07 if robot == "so101" else 0.12
    box = replace(make_object("box", "box", (0.0, -apart)), size=(0.045, 0.022, 0.03))
    into = replace(make_object(target, target, (0.0, apart)), size=size)
    # standing on the table, with the keypoints of its size
    box, into = (
        complete(replace(o, T_world_obj=on_table(o.T_world_obj, o.size[2]))) for o in (box, into)
    )
    task = make_task(make_scene(box, into), sentence, STATIONS[robot])
    cell = build_cell(make_scene(box, into), task)
    (result,) = attempt([cell], [Planner(cell, rngs_for(0, 2, [0])[0])], [0], rngs_for(0, 2, [0]))
    assert result.reason == ""


def on_table(T: np.ndarray, height: float) -> np.ndarray:
    """A pose moved to where an object of a height stands on the table."""
    return pose.from_parts(np.array([*T[:2, 3], TABLE_Z + height / 2]), T[:3, :3])


def test_recorded_episodes_replay_bit_for_bit(planned):
    cell, episode = planned
    sim = Simulation([cell.model])
    sim.set_states(episode.sim_states[:1])
    again = sim.rollout(episode.action[None].astype(float))
    assert np.array_equal(again.states[0], episode.sim_states[1:])


def test_a_segment_carried_to_its_own_scene_repeats_the_skill(planned):
    cell, episode = planned
    source = cut_stages(recorded(cell, episode))
    expert = Transformer(cell, [source], np.random.default_rng(0), NEAREST)
    motion = expert.plan(0, qpos_of(cell.model, episode.sim_states[0]))
    _, _, stop = episode.subtasks[0]
    ends = expert.arm.eefs(np.stack([motion.ctrl[-1], episode.action[stop - 1]])[:, :-1])
    assert np.allclose(ends[0], ends[1], atol=1e-3)  # the elbow may be elsewhere


def test_segments_carry_over_to_another_scene(planned):
    source, episode = planned
    segments = [cut_stages(recorded(source, episode))]
    cells = [make_cell(shift) for shift in (-0.04, 0.03)]
    experts = [Transformer(c, segments, np.random.default_rng(0), NEAREST) for c in cells]
    results = attempt(cells, experts, [0, 1], rngs_for(0, 3, [0, 1]), noise=0.003)
    assert [r.reason for r in results] == ["", ""]


def test_segments_carry_over_to_another_robot(planned):
    source, episode = planned
    segments = [cut_stages(recorded(source, episode))]
    task = make_task(source.graph, "put the bowl on the plate", STATIONS["ur5e"])
    cell = build_cell(source.graph, task)
    expert = Transformer(cell, segments, np.random.default_rng(0))
    (result,) = attempt([cell], [expert], [0], rngs_for(0, 3, [0]))
    assert result.reason == ""


def test_who_is_led_astray_still_gets_there(planned):
    source, episode = planned
    segments = [cut_stages(recorded(source, episode))]
    cells = [make_cell(shift) for shift in (-0.04, 0.03)]
    rngs = rngs_for(0, 3, [0, 1])
    experts = [
        Transformer(c, segments, r, Carrying(stray=1.0)) for c, r in zip(cells, rngs, strict=True)
    ]
    for result in attempt(cells, experts, [0, 1], rngs, noise=0.02):
        assert result.reason == ""
        led = ~result.episode.imitate
        for _, start, stop in result.episode.subtasks[:2]:
            assert 3 < led[start:stop].sum() < stop - start - SKILL_STEPS
        assert not led[result.episode.subtasks[2][1] :].any()


def test_skills_begin_aside_now_and_then_and_end_in_line(planned, monkeypatch):
    source, episode = planned
    segments = [cut_stages(recorded(source, episode))]
    qpos, ways = qpos_of(source.model, episode.sim_states[0]), []
    monkeypatch.setattr(Carrier, "_astray", lambda *_: None)
    for k in range(4):
        rng = np.random.default_rng(k)
        expert = Transformer(source, segments, rng, Carrying(stray=1.0))
        ctrl = expert.plan(0, qpos).ctrl
        coming = ctrl[ctrl[:, -1] == ctrl[0, -1]]
        ways.append(expert.arm.eefs(coming[-SKILL_STEPS:, :-1])[:, :3, 3])
    apart = np.ptp(ways, axis=0).max(1)
    left = np.linalg.norm(ways[0] - ways[0][-1], axis=1)
    assert apart.max() > 0.01
    assert apart[left < STEADY / 2].max() < 0.003  # corners are rounded


def test_what_was_intended_is_free_of_noise(planned):
    source, episode = planned
    segments = [cut_stages(recorded(source, episode))]
    expert = Transformer(source, segments, np.random.default_rng(0))
    (result,) = attempt([source], [expert], [0], rngs_for(0, 3, [0]), noise=0.01)
    _, start, stop = result.episode.subtasks[0]
    intended = expert.plan(0, qpos_of(source.model, result.episode.sim_states[0])).ctrl
    assert np.array_equal(result.episode.action_intended[start:stop], intended.astype(np.float32))
    off = np.abs(result.episode.action - result.episode.action_intended)[start:stop, :-1].max(1)
    assert off[10:-16].max() > 0.01
    assert off[-4:].max() < 0.01


def test_sources_that_fit_come_first(planned):
    source, episode = planned
    good = cut_stages(recorded(source, episode))
    far = good[0].Ts_ref_eef.copy()
    far[:, 2, 3] += 2.0
    bad = [replace(good[0], Ts_ref_eef=far), *good[1:]]
    assert rank([make_cell(-0.03), make_cell(0.03)], [bad, good]) == [1, 0]


def test_of_sources_that_fit_as_often_the_middle_one_comes_first(planned):
    source, episode = planned
    good = cut_stages(recorded(source, episode))

    def aside(shift):
        Ts = good[0].Ts_ref_eef.copy()
        Ts[:, 0, 3] += shift
        return [replace(good[0], Ts_ref_eef=Ts), *good[1:]]

    assert rank([make_cell(0.0)], [aside(0.006), aside(0.001), aside(0.0)]) == [1, 2, 0]


def test_attempts_do_not_depend_on_their_neighbours(planned):
    source, episode = planned
    segments = [cut_stages(recorded(source, episode))]
    cells = [make_cell(shift) for shift in (-0.04, 0.03)]

    def run(chosen):
        rngs = rngs_for(0, 3, chosen)
        experts = [
            Transformer(cells[i], segments, r, NEAREST) for i, r in zip(chosen, rngs, strict=True)
        ]
        return attempt([cells[i] for i in chosen], experts, chosen, rngs, 0.004, 0.02)

    alone, together = run([1])[0], run([0, 1])[1]
    assert np.array_equal(alone.episode.sim_states, together.episode.sim_states)


def test_what_is_out_of_reach_is_said():
    cell = make_cell()
    qpos = cell.home_qpos
    address = cell.free_address("object")
    qpos[address] += 5.0
    with pytest.raises(Unreachable, match="no grasp within reach"):
        Planner(cell, np.random.default_rng(0)).plan(0, qpos)


def cabinet_cell(opened: float, height: float = 0.14) -> Cell:
    """A cabinet of one low drawer, to be closed, or to be opened where it is closed."""
    thing = Thing("drawer_cabinet", (0.28, 0.28, height), opened=("drawer_0", opened))
    thing = replace(thing, params={"n_drawers": 1}, opened=thing.opened if opened else None)
    sentence = f"{'close' if opened else 'open'} the drawer"
    graph = build(Preset(sentence, {"cabinet": thing}), "test")
    return build_cell(graph, make_task(graph, sentence, STATIONS["panda"]))


def test_a_handle_near_the_table_is_taken_aslant():
    cell = cabinet_cell(0.0)
    plan = Planner(cell, np.random.default_rng(0)).plan(0, cell.home_qpos)
    hand = Arm(cell).eef(plan.ctrl[-1, :-1])
    assert -0.95 < hand[2, 2] < -0.3  # level it would touch the table, straight down the roof


def test_a_drawer_is_closed_from_wherever_it_is():
    source = cabinet_cell(0.08)
    rngs = rngs_for(0, 2, [0])
    (done,) = attempt([source], [Planner(source, rngs[0])], [0], rngs)
    assert done.reason == "" and done.episode is not None
    wider = cabinet_cell(0.14)
    sources = [cut_stages(recorded(source, done.episode))]
    (result,) = attempt([wider], [Transformer(wider, sources, rngs[0])], [0], rngs_for(0, 3, [0]))
    assert result.reason == ""


def test_the_gripper_acts_where_it_acted_when_the_arm_is_slowed():
    x = np.concatenate([np.linspace(0, 0.15, 11), np.full(5, 0.15)])
    skill = np.tile(np.eye(4), (len(x), 1, 1))
    skill[:, 0, 3] = x
    opening = (x < 0.09).astype(float)  # closes on the way, not where the hand stands
    for slower in (1, 3):
        path = np.tile(np.eye(4), (20 + 10 * slower + 6, 1, 1))
        path[20:, 0, 3] = np.concatenate([np.linspace(0, 0.15, 10 * slower + 1), np.full(5, 0.15)])
        path[:20, 2, 3] = np.linspace(0.3, 0.01, 20)
        acts = int(np.argmin(opening[aligned(path, skill)]))
        assert path[acts, 0, 3] == pytest.approx(0.09, abs=0.0076)
        assert len(path) - acts > 5


@pytest.mark.parametrize("how", ["fitting", "random", "nearest_object", "nearest_hand"])
def test_sources_are_chosen_as_asked(how):
    at = np.eye(4)[None].repeat(4, 0)
    at[:, 0, 3] = [0.3, 0.1, 0.0, 0.2]
    begin = np.eye(4)[None].repeat(4, 0)
    begin[:, 2, 3] = [0.4, 0.1, 0.3, 0.2]
    sources = [[make_segment(T_ref, T[None])] * 2 for T_ref, T in zip(at, begin, strict=True)]
    selection = Selection(how, nearest=2)
    firsts = set()
    for seed in range(40):
        rng = np.random.default_rng(seed)
        chosen = ordered(sources, 1, np.eye(4), np.eye(4), selection, rng)
        assert sorted(map(id, chosen)) == sorted(map(id, sources))
        firsts.add(next(i for i, source in enumerate(sources) if source is chosen[0]))
    nearest = {"nearest_object": {2, 1}, "nearest_hand": {1, 3}}
    assert firsts == {"fitting": {0}, "random": {0, 1, 2, 3}, **nearest}[how]
    kept = replace(selection, per="episode")
    assert ordered(sources, 1, np.eye(4), np.eye(4), kept, np.random.default_rng(0)) == sources


def make_segment(T_ref: np.ndarray, Ts: np.ndarray) -> Segment:
    return Segment(Ts, np.ones(len(Ts)), T_ref, np.ones(3), None, None, Ts[:0])


def test_a_grasp_goes_on_as_the_source_did(planned):
    source, episode = planned
    segments = cut_stages(recorded(source, episode))
    qpos = qpos_of(source.model, episode.sim_states[0])
    plain, longer = (
        Transformer(source, [segments], np.random.default_rng(0), Carrying(offset=(n, n))).plan(
            0, qpos
        )
        for n in (0, 6)
    )
    n = len(plain.ctrl)
    assert len(longer.ctrl) >= n + 6
    assert np.array_equal(longer.ctrl[:n], plain.ctrl)
    hand = Arm(source).eefs(longer.ctrl[:, :-1])
    assert hand[-1, 2, 3] > hand[n - 1, 2, 3] + 0.05  # lifted
    assert (longer.ctrl[n:, -1] == plain.ctrl[-1, -1]).all()


def test_episodes_tell_where_everything_is(planned):
    cell, episode = planned
    qpos = qpos_of(cell.model, episode.sim_states[0])
    Ts = dict(zip(episode.object_names, episode.object_poses[0], strict=True))
    for body, address in cell.free_bodies.items():
        wanted = qpos[address : address + 7]
        np.testing.assert_allclose(Ts[cell.model.body(body).name], wanted, atol=1e-12)
    np.testing.assert_allclose(
        pose.from_vector(Ts["robot/base"]), cell.mount.T_world_base, atol=1e-12
    )
    furniture = {obj.name for obj in cell.graph.objects} - {
        cell.model.body(body).name for body in cell.free_bodies
    }
    for name in furniture:
        wanted = cell.graph.object(name).T_world_obj
        np.testing.assert_allclose(pose.from_vector(Ts[name]), wanted, atol=1e-12)
