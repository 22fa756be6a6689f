"""From one arm to another: hands that do not fit where another one did."""

import numpy as np
import pytest

from roboloop import pose
from roboloop.cell import Cell
from roboloop.cells import build_cell
from roboloop.demo.goals import Unreachable
from roboloop.demo.hand import can_close
from roboloop.demo.planner import Planner
from roboloop.demo.ways import arm as ways
from roboloop.demo.ways.arm import Arm
from roboloop.generate.carrier import BACK, Carrier
from roboloop.generate.segments import Segment
from roboloop.generate.transform import Transformer
from roboloop.robot import ROBOTS
from roboloop.scene.presets import PRESETS, preset_scene
from roboloop.station import STATIONS
from roboloop.task.make import make_task

LIES = 0.007
"""Height of the pen's middle over the table, m."""


def pen_cell(robot: str) -> Cell:
    """A pen on a table and a holder."""
    graph = preset_scene("pen_holder")
    return build_cell(graph, make_task(graph, PRESETS["pen_holder"].sentence, STATIONS[robot]))


def over_pen(cell: Cell, height: float, along: float = 0.0) -> np.ndarray:
    """The hand, pointing down, its fingers on both sides of the pen; height over the table, m."""
    T_world_pen = cell.graph.object("pen").T_world_obj
    p = pose.transform(T_world_pen, np.array([along, 0.0, height - LIES]))
    return pose.from_parts(p, T_world_pen[:3, :3] @ np.diag([1.0, -1.0, -1.0]))


def closes_at(robot: str, heights: np.ndarray) -> list[bool]:
    cell = pen_cell(robot)
    arm, body = Arm(cell), cell.frame_body("object")
    ik, met = arm.reach(np.stack([over_pen(cell, h) for h in heights]), cell.mount.home)
    assert met.all()
    assert all(arm.clear(cell.home_qpos, ik.q[-1:], body))
    return can_close(arm, cell.home_qpos, ik.q, body).tolist()


@pytest.mark.parametrize("robot", ["panda", "ur5e", "iiwa"])
def test_a_hand_closes_where_its_closed_fingers_have_room(robot: str):
    depth = ROBOTS[robot].finger_depth
    assert closes_at(robot, depth + np.array([-0.004, 0.003])) == [False, True]


@pytest.mark.parametrize("robot", ["panda", "ur5e"])
def test_a_pen_is_taken_where_the_hand_can_close(robot: str):
    cell = pen_cell(robot)
    planner = Planner(cell, np.random.default_rng(0))
    q = planner.plan(0, cell.home_qpos).ctrl[-1:, :-1]
    assert can_close(planner.arm, cell.home_qpos, q, cell.frame_body("object")).all()


def taking_pen(cell: Cell, height: float, along: float) -> list[Segment]:
    """A source that comes down on the pen and closes."""
    heights = height + np.linspace(0.05, 0.0, 12).clip(0)
    Ts = np.stack([over_pen(cell, h, along) for h in (*heights, *[height] * 4)])
    arm = Arm(cell)
    arm.update(cell.home_qpos)
    T_world_ref = arm.body_pose(cell.frame_body("object"))
    opening = np.array([1.0] * 12 + [0.0] * 4)
    size = np.array(cell.graph.object("pen").size)
    Ts_ref_eef = pose.inverse(T_world_ref) @ Ts
    return [Segment(Ts_ref_eef, opening, T_world_ref, size, None, None, Ts_ref_eef[:0])]


def end_of_grasp(cell: Cell, sources: list[list[Segment]]) -> np.ndarray:
    expert = Transformer(cell, sources, np.random.default_rng(0))
    return expert.arm.eef(expert.plan(0, cell.home_qpos).ctrl[-1, :-1])[:3, 3]


def test_longer_fingers_take_less_deep():
    height = ROBOTS["panda"].finger_depth - 0.001
    panda, ur5e = pen_cell("panda"), pen_cell("ur5e")
    heights = [end_of_grasp(c, [taking_pen(c, height, 0.0)])[2] for c in (panda, ur5e)]
    assert heights[0] == pytest.approx(height, abs=1e-3)
    assert height + 5e-4 < heights[1] < height + BACK[-1] + 1e-3


def test_a_source_whose_grasp_this_hand_cannot_take_is_passed_over():
    cell = pen_cell("panda")
    deep, good = taking_pen(cell, 0.0, 0.03), taking_pen(cell, 0.011, -0.03)
    at = pose.transform(pose.inverse(over_pen(cell, 0.0)), end_of_grasp(cell, [deep, good]))
    assert at[0] == pytest.approx(-0.03, abs=2e-3)
    with pytest.raises(Unreachable, match="this hand does not fit around it"):
        end_of_grasp(cell, [taking_pen(cell, -0.005, 0.0)])


def test_a_hand_that_is_not_open_opens_on_its_way():
    cell = pen_cell("panda")
    source, (open_, closed) = taking_pen(cell, 0.011, 0.0), (1.0, 0.0)
    motions = [
        Transformer(cell, [source], np.random.default_rng(0)).plan(
            0, cell.with_hand(cell.home_qpos, float(cell.robot.gripper_at(opening)))
        )
        for opening in (open_, closed)
    ]
    assert np.array_equal(motions[0].ctrl, motions[1].ctrl)


def test_where_no_usual_way_is_free_one_through_joint_space_is_looked_for(monkeypatch):
    cell = pen_cell("panda")
    source = taking_pen(cell, 0.011, 0.0)
    usual = end_of_grasp(cell, [source])
    home, over_the_top = Arm(cell).eef(cell.mount.home), ways.over_the_top

    def blocked(before, *others):
        if len(before) == 1 and np.allclose(before[0], home):
            raise Unreachable("no free path")
        return over_the_top(before, *others)

    monkeypatch.setattr(ways, "over_the_top", blocked)
    assert np.allclose(end_of_grasp(cell, [source]), usual, atol=1e-3)


def test_where_the_hand_cannot_be_no_way_is_looked_for(monkeypatch):
    cell, plans = pen_cell("panda"), list[bool]()
    carry = Carrier.carry

    def counted(self: Carrier, index, segment, qpos, n_after, search):
        plans.append(search)
        return carry(self, index, segment, qpos, n_after, search)

    monkeypatch.setattr(Carrier, "carry", counted)
    deep, far = taking_pen(cell, -0.005, 0.0), taking_pen(cell, 0.011, 3.0)
    with pytest.raises(Unreachable, match="this hand does not fit around it"):
        end_of_grasp(cell, [deep, far])
    assert plans == [False, False]
