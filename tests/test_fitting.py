"""Things that are fitted together: what counts as done, and what nearly looks like it."""

from collections.abc import Mapping
from functools import cache

import numpy as np
import pytest

from roboloop import pose
from roboloop.cell import Cell, set_free
from roboloop.cells import build_cell
from roboloop.demo.judge import judge
from roboloop.demo.planner import Planner
from roboloop.errors import RoboloopError
from roboloop.scene.graph import SceneObject
from roboloop.scene.presets import BENCHMARK, preset_scene
from roboloop.scene.settle import settle
from roboloop.station import STATIONS
from roboloop.task.make import make_task
from roboloop.task.sentence import read_sentence


@cache
def cell_of(preset: str) -> Cell:
    graph = preset_scene(preset)
    task = make_task(graph, BENCHMARK[preset].sentence, STATIONS["panda"])
    return build_cell(graph, task)


def verdict(
    cell: Cell,
    at: str,
    on: str,
    shift: tuple[float, float, float] = (0.0, 0.0, 0.0),
    turn: tuple[float, float, float] = (0.0, 0.0, 0.0),
    joints: Mapping[str, float] | None = None,
) -> str:
    """Judge a state whose object's keypoint `at` is at the target's `on`, shifted and turned.

    Both are `role.keypoint`; shift (m) and turn (rotation vector, rad) are in the target's frame;
    joints are `role.joint` -> value.
    """
    (moved, p_moved), (still, p_still) = (_keypoint(cell, each) for each in (at, on))
    R = still.T_world_obj[:3, :3] @ pose.rotvec_to_matrix(np.array(turn, float))
    there = pose.transform(still.T_world_obj, p_still + np.array(shift))
    qpos = cell.home_qpos.copy()
    body = cell.model.body(moved.name).id
    set_free(qpos[None], cell.model, body, pose.from_parts(there - R @ p_moved, R))
    for joint, value in (joints or {}).items():
        qpos[cell.joint_address(joint)] = value
    return judge(cell, np.stack([cell.home_qpos, qpos]))


def _keypoint(cell: Cell, reference: str) -> tuple[SceneObject, np.ndarray]:
    role, _, key = reference.partition(".")
    obj = cell.graph.object(cell.task.roles[role])
    return obj, np.array(obj.keypoints[key])


@pytest.mark.parametrize(
    ("shift", "turn", "done"),
    [
        ((0, 0, 0.001), (0, 0, 0), True),
        ((0.006, -0.006, 0.001), (0, 0, 2.0), True),
        ((0, 0, 0.06), (0, 0, 0), False),  # stuck half way
        ((0, 0, 0.015), (0.5, 0, 0), False),  # oblique
        ((0.05, 0, 0), (0, 0, 0), False),  # beside the peg
    ],
)
def test_a_nut_is_on_a_peg_when_it_lies_around_its_foot(shift, turn, done) -> None:
    reason = verdict(cell_of("square_d0"), "object.bottom", "target.bottom", shift, turn)
    assert (not reason) == done


@pytest.mark.parametrize(
    ("shift", "turn", "done"),
    [
        ((0, 0, -0.01), (0, 0, 0), True),
        ((0.008, 0, -0.01), (0, 0, np.pi), True),  # from the other side
        ((0.03, 0, 0), (0, 0, 0), False),  # only its tip is through
        ((0, 0.03, 0), (0, 0, 0), False),  # past the ring
        ((0, 0, 0), (0, 0, np.pi / 2), False),  # across it
    ],
)
def test_a_needle_is_through_a_ring_when_its_middle_is(shift, turn, done) -> None:
    reason = verdict(cell_of("threading_d0"), "object.middle", "target.ring", shift, turn)
    assert (not reason) == done


@pytest.mark.parametrize(
    ("shift", "lid", "done"),
    [
        ((0, 0, 0.003), 0.05, True),
        ((0.002, 0, 0.003), 0.0, True),
        ((0, 0, 0.003), 0.5, False),  # not closed
        ((0, 0, 0.012), 0.05, False),  # half in
        ((0.05, 0, 0), 0.05, False),  # beside the cup
    ],
)
def test_coffee_is_made_when_the_pod_is_in_the_cup_under_the_lid(shift, lid, done) -> None:
    lids = {"target.lid": lid}
    reason = verdict(cell_of("coffee_d0"), "object.bottom", "target.pocket", shift, joints=lids)
    assert (not reason) == done


def test_nothing_counts_while_the_hand_is_there() -> None:
    cell = cell_of("square_d0")
    nut, handle = _keypoint(cell, "object.handle")
    peg, foot = _keypoint(cell, "target.bottom")
    qpos = cell.home_qpos.copy()
    T = pose.from_parts(pose.transform(peg.T_world_obj, foot) + [0.0177, 0, 0.011], np.eye(3))
    set_free(qpos[None], cell.model, cell.model.body(nut.name).id, T)
    values = cell.values(np.zeros((cell.model.nsite, 3)), qpos)
    values.points["object.handle"] = pose.transform(T, handle)
    (clear,) = (c for c in cell.success if "robot.eef" in c.text)
    for off, done in ((0.0, False), (0.055, False), (0.07, True)):
        values.points["robot.eef"] = values.points["object.handle"] + [0, 0, off]
        assert (clear.violation(values) <= 0) == done


def test_a_lid_is_pushed_until_it_is_closed_by_a_hand_that_points_down() -> None:
    graph = settle(preset_scene("coffee_d0"))
    cell = build_cell(graph, make_task(graph, "close the lid", STATIONS["panda"]))
    planner = Planner(cell, np.random.default_rng(0))
    q = planner.plan(0, cell.home_qpos).ctrl[-1, :-1]
    arm, state = planner.arm, cell.with_hand(cell.home_qpos, cell.robot.gripper_closed)
    assert arm.eef(q)[2, 2] < -0.8
    state[cell.joint_address("target.lid")] = 0.03 * 2.2
    (distance,) = arm.distances(state, q[None])
    assert -0.008 < distance < 0.0  # on the lid, not in the air over it


def test_only_a_needle_is_threaded() -> None:
    graph = preset_scene("square_d0")
    assert read_sentence("thread the nut through the peg", graph).kind == "thread"
    with pytest.raises(RoboloopError, match="cannot thread `nut` through `peg`"):
        make_task(graph, "thread the nut through the peg", STATIONS["panda"])
