"""Ways in joint space: found around walls, free by another check, the same every time."""

from collections.abc import Iterator
from itertools import pairwise

import mujoco
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roboloop import pose
from roboloop.cell import Cell, set_free
from roboloop.cells import build_cell
from roboloop.demo.goals import Unreachable
from roboloop.demo.ways.arm import Arm
from roboloop.demo.ways.collision import MARGIN, Collisions
from roboloop.demo.ways.motion import ANGULAR_SPEED, LINEAR_SPEED, timed
from roboloop.demo.ways.nearest import nearest
from roboloop.demo.ways.transit import STEP, transit
from roboloop.robot import ROBOTS, forward_kinematics, robot_chain
from roboloop.scene.families import complete
from roboloop.scene.graph import SceneObject
from roboloop.scene.presets import BENCHMARK, preset_scene
from roboloop.scene.settle import settle
from roboloop.sim import CONTROL_DT
from roboloop.station import STATIONS
from roboloop.task.make import make_task
from scenes import make_object, make_scene

LIMITS = np.array([[-1.5, 1.5]] * 3)
DOWN = np.diag([1.0, -1.0, -1.0])
SIDES = {"panda": (0.5, 0.26, 0.55), "so101": (0.2, 0.15, 0.3)}
"""Robot -> how far in front of it, and to either side, the hand has to be; the wall's height, m."""
ASIDE_UPRIGHT = np.cos(np.deg2rad(17))


class Wall:
    """A wall across the first joint's zero that is open above `top` of the second; it counts."""

    def __init__(self, top: float, thickness: float = 0.1) -> None:
        self.top, self.thickness, self.n_asked = top, thickness, 0

    def blocks(self, q: np.ndarray) -> np.ndarray:
        return (np.abs(q[..., 0]) < self.thickness) & (q[..., 1] < self.top)

    def __call__(self, q: np.ndarray) -> Iterator[bool]:
        for blocked in self.blocks(q):
            self.n_asked += 1
            yield not blocked


@settings(deadline=None, max_examples=25)
@given(st.floats(-0.5, 1.2), st.floats(-1.2, 1.2), st.floats(-1.2, 1.2))
def test_a_way_leads_around_a_wall(top: float, y_a: float, y_b: float):
    a, b = np.array([-0.8, y_a, 0.3]), np.array([0.9, y_b, -0.4])
    wall = Wall(top)
    way = transit(a, b, wall, LIMITS)
    assert np.array_equal(way[0], a)
    assert np.array_equal(way[-1], b)
    assert np.abs(np.diff(way, axis=0)).max() <= STEP + 1e-12
    assert ((way >= LIMITS[:, 0]) & (way <= LIMITS[:, 1])).all()
    fine = np.concatenate([np.linspace(p, q, 20) for p, q in pairwise(way)])
    # what is cut off between two checks is no deeper than the checks are apart
    assert not Wall(top - STEP, 0.1 - STEP).blocks(fine).any()
    assert np.array_equal(transit(a, b, Wall(top), LIMITS), way)


def test_proposed_ways_come_before_a_search():
    a, b = np.array([-0.8, 0.0, 0.0]), np.array([0.8, 0.0, 0.0])
    over = np.array([[-0.8, 1.3, 0.0], [0.8, 1.3, 0.0]])
    way = transit(a, b, Wall(1.0), LIMITS, [over])
    assert np.array_equal(np.unique(way[:, 2]), [0.0])
    corners = [np.abs(way - corner).max(1).min() for corner in over]
    assert max(corners) < 1e-12


def test_a_search_is_bounded_and_an_end_inside_something_is_said():
    a, b = np.array([-0.8, 0.0, 0.0]), np.array([0.8, 0.0, 0.0])
    wall = Wall(np.inf)
    with pytest.raises(Unreachable, match="no free way within the bound"):
        transit(a, b, wall, LIMITS, max_checks=500)
    assert wall.n_asked < 520
    with pytest.raises(Unreachable, match="end of the transit is not free"):
        transit(a, np.zeros(3), wall, LIMITS)


def walled(name: str) -> tuple[Cell, np.ndarray, np.ndarray]:
    """A cell with a cabinet in the middle, too high to go over; hands at both of its sides."""
    x, y, height = SIDES[name]
    box, plate = make_object("box", "box", (0, -y)), make_object("plate", "plate", (0, y))
    task = make_task(make_scene(box, plate), "put the box on the plate", STATIONS[name])
    base = task.arms[0].T_world_base
    T = base @ pose.from_parts(np.array([x + 0.09, 0.0, height / 2]), np.eye(3))
    wall = complete(SceneObject("wall", "drawer_cabinet", T, (0.18, 0.18, height), {}, {}))
    cell = build_cell(make_scene(box, plate, wall), task)
    hands = np.array([[x, -y, 0.08], [x, y, 0.08]])
    return cell, base @ pose.from_parts(hands, np.stack([DOWN, DOWN])), base


def touches(cell: Cell, q: np.ndarray) -> float:
    """Deepest overlap of the robot with anything, by MuJoCo's full collision pass."""
    data = mujoco.MjData(cell.model)
    data.qpos[:] = cell.home_qpos
    data.qpos[cell.arm_qpos] = q
    mujoco.mj_forward(cell.model, data)
    names = [
        [cell.model.body(cell.model.geom_bodyid[g]).name for g in c.geom] for c in data.contact
    ]
    deep = [c.dist for c, pair in zip(data.contact, names, strict=True) if "robot/" in str(pair)]
    return -min(deep, default=0.0)


@pytest.mark.parametrize(("name", "upright"), [("panda", False), ("panda", True), ("so101", False)])
def test_the_arm_goes_around_a_cabinet(name: str, upright: bool):
    cell, hands, base = walled(name)
    robot, arm, qpos = cell.robot, Arm(cell), cell.home_qpos
    ik, met = arm.reach(hands, qpos[cell.arm_qpos])
    assert met.all()
    assert max(touches(cell, q) for q in ik.q) < 0.001
    qpos[cell.arm_qpos] = ik.q[0]

    def points_down(q: np.ndarray) -> np.ndarray:
        return -(base @ forward_kinematics(robot, q))[:, 2, 2] > ASIDE_UPRIGHT

    allowed = points_down if upright else None
    with pytest.raises(Unreachable):
        arm.travel(qpos, hands[:1], hands[1:], allowed=allowed, search=False)
    path = arm.travel(qpos, hands[:1], hands[1:], allowed=allowed)
    whole = np.concatenate([ik.q[:1], path])
    np.testing.assert_allclose(arm.eef(path[-1])[:3, 3], hands[1, :3, 3], atol=0.004)
    assert np.abs(np.diff(whole, axis=0)).max() <= 1.05 * ROBOTS[name].joint_speed * CONTROL_DT
    low, high = robot_chain(name).limits.T
    assert ((path >= low) & (path <= high)).all()
    fine = np.concatenate([np.linspace(p, q, 4) for p, q in pairwise(whole)])
    assert max(touches(cell, q) for q in fine) < 0.004
    assert not upright or points_down(path).all()
    assert np.array_equal(arm.travel(qpos, hands[:1], hands[1:], allowed=allowed), path)


@given(st.integers(0, 8), st.integers(0, 99))
@settings(max_examples=50, deadline=None)
def test_the_nearest_contact_is_the_smallest_distance_of_pairs_that_count(n: int, seed: int):
    rng = np.random.default_rng(seed)
    geom = rng.integers(-1, 5, (n, 2), np.int32)  # -1 is a cloth, the last row and column
    dist, counts = rng.normal(0, 0.01, n), rng.random((6, 6)) < 0.5
    expected = dist[counts[geom[:, 0], geom[:, 1]]].min(initial=0.01)
    assert nearest(geom, dist, counts, 0.01) == expected


@given(st.integers(0, 999))
@settings(max_examples=50, deadline=None)
def test_lines_between_waypoints_are_interpolated(seed: int):
    rng = np.random.default_rng(seed)
    turns = pose.rotvec_to_matrix(rng.uniform(-1, 1, (3, 3)))
    a, b, c = pose.from_parts(rng.uniform(-0.3, 0.3, (3, 3)), turns)
    Ts = timed(np.stack([a, b, c]))
    ends = [i for i, T in enumerate(Ts) if np.allclose(T[:3, 3], b[:3, 3])]
    n = ends[0] + 1
    np.testing.assert_allclose(Ts[:n], pose.interpolate(a, b, np.arange(1, n + 1) / n), atol=1e-9)
    np.testing.assert_allclose(Ts[-1], c, atol=1e-9)
    whole = np.concatenate([a[None], Ts])
    shift = np.linalg.norm(np.diff(whole[:, :3, 3], axis=0), axis=1)
    R = np.swapaxes(whole[:-1, :3, :3], 1, 2) @ whole[1:, :3, :3]
    turn = np.linalg.norm(pose.matrix_to_rotvec(R), axis=1)
    steps = np.maximum(shift / LINEAR_SPEED, turn / ANGULAR_SPEED) / CONTROL_DT
    assert steps.max() < 1 + 1e-9 and (steps[:n] > (n - 1) / n - 1e-9).all()


@pytest.fixture(scope="module")
def kitchen() -> Cell:
    graph = settle(preset_scene("kitchen_d0"))
    return build_cell(graph, make_task(graph, BENCHMARK["kitchen_d0"].sentence, STATIONS["panda"]))


def bread_over_pot(cell: Cell, offset: tuple[float, float, float]) -> np.ndarray:
    qpos = cell.home_qpos.copy()
    pot = qpos[cell.free_address("object") :][:3]
    T = pose.from_parts(pot + np.array(offset), np.eye(3))
    set_free(qpos[None], cell.model, cell.frame_body("object_3"), T)
    return qpos


@pytest.mark.parametrize("height", [0.047, 0.05, 0.053, 0.058])
def test_distances_of_things_of_many_parts_are_known_to_a_centimetre(kitchen, height):
    """Oracle: MuJoCo's distance between every two geoms."""
    model, bread = kitchen.model, kitchen.frame_body("object_3")
    qpos = bread_over_pot(kitchen, (0.0, 0.065, height))
    (distance,) = Collisions(kitchen).clearances(qpos[None], bread)
    (data,) = kitchen.kinematics(qpos[None])
    touches = [g for g in range(model.ngeom) if model.geom_contype[g]]
    ours = [g for g in touches if model.geom_bodyid[g] == bread]
    pot = [g for g in touches if model.geom_bodyid[g] == kitchen.frame_body("object")]
    pairs = [mujoco.mj_geomDistance(model, data, a, b, 0.1, None) for a in ours for b in pot]
    assert distance == pytest.approx(min(MARGIN, *pairs), abs=1e-4)


def test_what_is_carried_over_a_wall_keeps_away_from_it(kitchen):
    arm, bread = Arm(kitchen), kitchen.frame_body("object_3")
    down = pose.from_parts(np.array([0.0, 0.0, 0.01]), np.diag([1.0, -1.0, -1.0]))
    start, end = (bread_over_pot(kitchen, (0.0, y, z)) for y, z in ((-0.2, 0.035), (0.0, 0.06)))
    at = kitchen.free_address("object_3")
    hands = [pose.from_vector(qpos[at : at + 7]) @ down for qpos in (start, end)]
    q = arm.reach(np.stack(hands[:1]), kitchen.mount.home)[0].q[0]
    qpos = arm.moved(start, q)
    path = arm.travel(qpos, np.stack(hands[:1]), np.stack(hands[1:]), held=bread)
    far = [np.linalg.norm(arm.eef(each)[:3, 3] - hands[1][:3, 3]) > 0.08 for each in path]
    assert min(arm.distances(qpos, path[far], None, bread)) > 0.009
