"""The planner's solver: derivatives, distances, and answers that hold, against oracles."""

import sys
from dataclasses import replace
from pathlib import Path

import mujoco
import numpy as np
import pytest

from roboloop import pose
from roboloop.demo.solver.minimise import minimise
from roboloop.demo.solver.reach import KINDS, Reach, Shapes, Weights
from roboloop.demo.solver.solve import N_SAMPLES, Solver, why_not
from roboloop.demo.solver.terms import evaluate, n_constraints
from roboloop.errors import RoboloopError
from roboloop.robot import ROBOTS, robot_chain
from roboloop.task.constraints import parse
from roboloop.task.expression import Values

WEIGHTS = Weights(collision=0.8, margin=0.1, position=1.0, rotation=1.5, posture=0.2, downwards=3.0)
WAY = Weights(collision=0.5, margin=0.1, position=4.0, rotation=4.0)
LIMITS = np.array([[-2.0, -2.0, -2.0], [2.0, 2.0, 2.0]])


def some_shapes() -> Shapes:
    rng = np.random.default_rng(3)
    Ts = pose.from_parts(
        np.array([[0.45, 0.1, 0.1], [0.6, -0.2, 0.2], [0.3, -0.3, 0.1]]),
        pose.rotvec_to_matrix(rng.normal(size=(3, 3))),
    )
    sizes = np.array([[0.05, 0.08, 0.1], [0.04, 0.1, 0.0], [0.06, 0.05, 0.0]])
    return Shapes(np.array([KINDS[k] for k in ("box", "capsule", "cylinder")]), Ts, sizes)


def nothing() -> Shapes:
    return Shapes(np.zeros(0, int), np.zeros((0, 4, 4)), np.zeros((0, 3)))


def make_reach(shapes: Shapes, held: dict | None = None) -> Reach:
    chain, home = robot_chain("panda"), np.array(ROBOTS["panda"].home)
    body = np.random.default_rng(0).uniform(-0.05, 0.05, (12, 3))
    points = {"cup.rim": np.array([0.5, 0.2, 0.3]), "cup.base": np.array([0.5, 0.2, 0.2])}
    reach = Reach(
        chain, np.eye(4), np.eye(4), home, home, {"robot.eef": np.zeros(3), **(held or {})},
        Values(points, {}), body, shapes, np.array([0.0, 0, 1]), LIMITS,
    )  # fmt: skip
    return replace(reach, T_start=reach.hand(home))


HELD = {"pen.tip": np.array([0.0, 0.02, 0.1]), "pen.end": np.array([0.0, 0.0, -0.02])}
CONSTRAINTS = tuple(
    parse(text)
    for text in (
        "norm(pen.tip - (cup.rim + [0, 0, 0.05])) < 0",
        "norm(cross(unit(pen.end - pen.tip), [0, 0, 1])) < 0.1",
        "z(robot.eef) > 0.3",
    )
)


@pytest.mark.parametrize("n_waypoints", [0, 1, 2])
def test_derivatives_are_those_of_finite_differences(n_waypoints):
    reach = make_reach(some_shapes(), HELD)
    solver = Solver(reach, CONSTRAINTS, WEIGHTS if not n_waypoints else WAY)
    T_goal = reach.hand(reach.q + 0.3)
    terms = solver._terms(T_goal, n_waypoints)
    n, m = 7 * max(n_waypoints, 1), n_constraints(terms)
    x = np.tile(reach.q, max(n_waypoints, 1)) + 0.1 * np.random.default_rng(1).normal(size=n)

    def at(x: np.ndarray) -> tuple[float, np.ndarray, np.ndarray, np.ndarray]:
        gradient, c, J = np.zeros(n), np.zeros(m), np.zeros((m, n))
        return evaluate(terms, x, gradient, c, J), gradient, c, J

    _, gradient, _, J = at(x)
    h = 1e-6
    for i, step in enumerate(h * np.eye(n)):
        above, below = at(x + step), at(x - step)
        assert gradient[i] == pytest.approx((above[0] - below[0]) / (2 * h), rel=1e-3, abs=1e-4)
        np.testing.assert_allclose(J[:, i], (above[2] - below[2]) / (2 * h), atol=1e-6)


def test_distances_are_mujocos():
    shapes = some_shapes()
    spec = mujoco.MjSpec()
    types = [
        mujoco.mjtGeom.mjGEOM_BOX,
        mujoco.mjtGeom.mjGEOM_CAPSULE,
        mujoco.mjtGeom.mjGEOM_CYLINDER,
    ]
    for kind, T, size in zip(types, shapes.Ts_world_shape, shapes.sizes, strict=True):
        quat = pose.matrix_to_quat(T[:3, :3])
        spec.worldbody.add_geom(type=kind, pos=T[:3, 3], quat=quat, size=size)
    probe = spec.worldbody.add_body(mocap=True)
    probe.add_geom(type=mujoco.mjtGeom.mjGEOM_SPHERE, size=[1e-6, 0, 0])
    model = spec.compile()
    data = mujoco.MjData(model)
    for p in np.random.default_rng(5).uniform([0.1, -0.5, -0.2], [0.9, 0.4, 0.5], (200, 3)):
        data.mocap_pos[0] = p
        mujoco.mj_kinematics(model, data)
        expected = min(mujoco.mj_geomDistance(model, data, g, 3, 2.0, None) for g in range(3))
        found = float(shapes.distance(p))
        if expected > 1e-5:
            assert found == pytest.approx(expected + 1e-6, abs=2e-5)
        else:
            assert found < 1e-4


def test_a_subgoal_holds_within_limits_and_is_the_same_each_time():
    reach = make_reach(some_shapes(), HELD)
    answers = [
        Solver(reach, CONSTRAINTS, WEIGHTS).subgoal(np.random.default_rng(seed))
        for seed in (0, 0, 1)
    ]
    first, again, other = answers
    np.testing.assert_array_equal(first.q, again.q)
    assert first.problem == other.problem == ""
    assert first.cost == pytest.approx(other.cost, rel=0.02)
    values = reach.values_at(reach.hand(first.q[0]))
    assert max(float(c.violation(values)) for c in CONSTRAINTS) < 1e-4
    assert ((first.q >= reach.chain.limits.T[0]) & (first.q <= reach.chain.limits.T[1])).all()
    assert first.clearance > 0


def test_a_warm_start_finds_the_moved_goal_in_a_few_evaluations():
    reach = make_reach(some_shapes(), HELD)
    cold = Solver(reach, CONSTRAINTS, WEIGHTS).subgoal(np.random.default_rng(0))
    moved = {name: p + 0.01 for name, p in reach.values.points.items()}
    solver = Solver(replace(reach, values=Values(moved, {})), CONSTRAINTS, WEIGHTS)
    warm = solver.subgoal(np.random.default_rng(0), warm=cold.q[0])
    assert warm.problem == ""
    assert warm.n_evaluations < cold.n_evaluations / 10


def test_what_is_out_of_reach_is_said_with_the_constraint_and_by_how_much():
    reach = make_reach(nothing())
    far = parse("norm(robot.eef - (cup.rim + [2, 0, 0])) < 0.01")
    answer = Solver(reach, (far,), WEIGHTS).subgoal(np.random.default_rng(0))
    assert answer.problem.startswith("out of reach: that the distance from the hand to ")
    assert answer.violation > 1


def test_contradictory_constraints_are_named():
    texts = ("z(robot.eef) > 0.5", "norm(xy(robot.eef)) > 0.4", "z(robot.eef) < 0.3")
    some = tuple(map(parse, texts))
    why = why_not(make_reach(nothing()), some, WEIGHTS, np.random.default_rng(0))
    assert why == (
        "that the height of the hand is at least 50 cm and that the height of the hand is at most "
        "30 cm cannot both be reached"
    )
    assert not why_not(make_reach(nothing()), some[:2], WEIGHTS, np.random.default_rng(0))


def test_a_constraint_below_a_negative_number_is_kept():
    reach = make_reach(nothing(), HELD)
    down = parse("dot(unit(pen.tip - pen.end), [0, 0, 1]) < -0.9")
    up = parse("dot(unit(pen.tip - pen.end), [0, 0, 1]) > 0.3")
    for constraint in (down, up):
        answer = Solver(reach, (constraint,), WEIGHTS).subgoal(np.random.default_rng(0))
        values = reach.values_at(reach.hand(answer.q[0]))
        assert float(constraint.violation(values)) < 1e-4


def test_an_unknown_keypoint_is_refused_with_the_closest_name():
    solver = Solver(make_reach(nothing()), (parse("z(cup.rin) > 1"),), WEIGHTS)
    with pytest.raises(
        RoboloopError, match="unknown keypoint or joint `cup.rin`\nhint: did you mean `cup.rim`"
    ):
        solver.subgoal(np.random.default_rng(0))


def test_a_path_goes_around_what_is_in_the_way():
    reach = make_reach(nothing())
    goal = reach.T_start.copy()
    goal[1, 3] += 0.4
    middle = (reach.T_start[:3, 3] + goal[:3, 3]) / 2
    wall = Shapes(
        np.array([KINDS["box"]]),
        pose.from_parts(middle, np.eye(3))[None],
        np.array([[0.1, 0.02, 0.1]]),
    )
    free = Solver(reach, (), WAY).path(goal)
    assert free.cost == pytest.approx(4.0 * 0.4, rel=0.02)  # nothing in the way: straight
    around = Solver(replace(reach, shapes=wall), (), WAY).path(goal)
    assert around.clearance > 0.03
    assert around.cost > free.cost + 0.5


def test_a_path_needs_no_waypoint_where_nothing_is_in_the_way():
    reach = make_reach(nothing())
    goal = reach.T_start.copy()
    goal[1, 3] += 0.4
    solver = Solver(reach, (), replace(WAY, waypoint=1.0, stepwise=True))
    answer = solver.path(goal)
    assert len(answer.q) == 0
    assert answer.cost == pytest.approx(4.0 * 0.4, rel=1e-6)
    assert len(solver.path(goal, warm=answer.q).q) == 0
    high = (parse(f"z(robot.eef) > {reach.T_start[2, 3] + 0.05}"),)
    kept = Solver(reach, high, replace(WAY, stepwise=True)).path(goal, warm=answer.q)
    assert len(kept.q) == 1  # no longer straight


def test_a_path_keeps_its_constraint_everywhere():
    reach = make_reach(nothing())
    goal = reach.hand(reach.q + np.array([0.5, 0.3, 0, 0.2, 0, 0, 0.3]))
    low = min(reach.T_start[2, 3], goal[2, 3]) - 0.001
    ceiling = (parse(f"z(robot.eef) < {max(reach.T_start[2, 3], goal[2, 3]) + 0.001}"),)
    solver = Solver(reach, ceiling, WAY)
    answer = solver.path(goal)
    heights = solver.samples([reach.hand(q) for q in answer.q], goal)[:, 2, 3]
    assert answer.problem == ""
    assert heights.max() < max(reach.T_start[2, 3], goal[2, 3]) + 0.002
    assert heights.min() > low - 0.3
    assert len(heights) == (len(answer.q) + 1) * (N_SAMPLES - 1) + 1


def test_no_start_gives_nan():
    reach = make_reach(some_shapes(), HELD)
    low, high = reach.chain.limits.T
    solver = Solver(reach, CONSTRAINTS, WEIGHTS)
    starts = np.random.default_rng(2).uniform(low, high, (50, 7))
    found = minimise(
        solver._terms(reach.T_start, 0), solver._residuals.is_bound, starts, reach.chain.limits, 20
    )
    assert np.isfinite(found.x).all() and np.isfinite(found.cost).all()


@pytest.mark.parametrize("number", [1, *(pytest.param(i, marks=pytest.mark.slow) for i in (2, 3))])
def test_the_ten_problems_cost_no_more_than_the_published_planner(number, monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1]))
    planner = pytest.importorskip("benchmarks.planner.__main__")
    published = planner.json.loads((planner.HERE / "published.json").read_text())
    for problem in (each for each in planner.load() if each.name.endswith(f"-{number}")):
        row = planner.measure(problem, 1, published[problem.name])
        assert row["subgoal_cost"] <= planner.GOALS["subgoal_cost"], problem.name
        assert row["path_cost"] <= 1.01, problem.name
        assert row["violation"] <= planner.GOALS["violation"], problem.name
        assert row["penetration"] <= 0, problem.name
    assert str(planner.HERE) in sys.path
