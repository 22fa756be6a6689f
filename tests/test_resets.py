"""Reset distributions: scenes drawn from ranges, without a folder each."""

from dataclasses import replace

import mujoco
import numpy as np
import pytest

from roboloop import pose
from roboloop.cells import build_cell, load_cells
from roboloop.errors import RoboloopError
from roboloop.scene.collection import (
    COUSINS,
    TWIN,
    Resets,
    list_cousins,
    open_scene,
    write_resets,
)
from roboloop.scene.folder import write_scene
from roboloop.scene.footprint import gap
from roboloop.scene.graph import Relation, Reset, SceneGraph
from roboloop.scene.presets import BENCHMARK, preset_scene
from roboloop.scene.resets import draw_reset
from roboloop.scene.settle import displacements, settle
from roboloop.station import STATIONS
from roboloop.task.make import make_task
from scenes import make_object, make_scene


def seeds(n: int) -> list[np.random.SeedSequence]:
    return [np.random.SeedSequence([5, i]) for i in range(n)]


@pytest.mark.parametrize("name", BENCHMARK)
def test_everything_stands_within_its_ranges_and_apart(name: str) -> None:
    twin = settle(preset_scene(name))
    for seed in seeds(20):
        drawn = draw_reset(twin, seed)
        for obj in drawn.objects:
            reset, on_table = obj.reset, Relation("on", "support") in obj.relations
            if reset is None or not on_table:
                continue
            x, y, _ = obj.T_world_obj[:3, 3]
            yaw = np.arctan2(obj.T_world_obj[1, 0], obj.T_world_obj[0, 0])
            assert reset.x[0] <= x <= reset.x[1] and reset.y[0] <= y <= reset.y[1]
            assert (yaw - reset.yaw[0] + 1e-9) % (2 * np.pi) <= np.ptp(reset.yaw) + 2e-9
        pairs = [(a, b) for i, a in enumerate(drawn.objects) for b in drawn.objects[:i]]
        assert all(gap(a, b) > 0 for a, b in pairs if a.relations == b.relations)


@pytest.mark.parametrize("name", BENCHMARK)
def test_drawn_scenes_are_at_rest(name: str) -> None:
    drawn = draw_reset(settle(preset_scene(name)), np.random.SeedSequence(1))
    moved = displacements(drawn, settle(drawn))
    assert max(each.distance for each in moved.values()) < 1e-3


def carried() -> SceneGraph:
    """A box in a basket that moves, another one in it with ranges of its own."""
    basket = make_object("basket", "basket", (0.0, 0.0))
    floor = pose.transform(basket.T_world_obj, np.array(basket.keypoints["inside"]))
    inside = (Relation("in", "basket"),)
    boxes = []
    for name, x, reset in (("box", 0.03, None), ("drawn", -0.03, Reset((-0.04, 0.0), (0, 0.01)))):
        obj = make_object(name, "box", (0.0, 0.0))
        T = pose.from_parts(floor + (x, 0.0, obj.size[2] / 2), np.eye(3))
        boxes.append(replace(obj, T_world_obj=T, relations=inside, reset=reset))
    basket = replace(basket, reset=Reset((-0.2, 0.2), (-0.2, 0.2), (-1.0, 1.0)))
    return make_scene(*boxes, basket)


def test_what_is_carried_goes_along() -> None:
    twin = carried()
    T_basket_box = pose.inverse(twin.object("basket").T_world_obj) @ twin.object("box").T_world_obj
    for seed in seeds(5):
        drawn = draw_reset(twin, seed)
        T_world_basket = drawn.object("basket").T_world_obj
        np.testing.assert_allclose(drawn.object("box").T_world_obj, T_world_basket @ T_basket_box)
        p = pose.transform(pose.inverse(T_world_basket), drawn.object("drawn").T_world_obj[:3, 3])
        assert -0.04 <= p[0] <= 0 <= p[1] <= 0.01


def test_no_room(monkeypatch) -> None:
    monkeypatch.setattr("roboloop.scene.resets.N_TRIES", 50)
    corner = Reset((0.0, 0.01), (0.0, 0.01))
    boxes = [make_object(f"box_{i}", "box", (0.3 * i, 0.0)) for i in range(2)]
    with pytest.raises(RoboloopError, match="no room for the scene's objects"):
        draw_reset(make_scene(*(replace(box, reset=corner) for box in boxes)), seeds(1)[0])


def test_a_drawn_scene_has_a_name_but_no_folder(tmp_path) -> None:
    twin = settle(preset_scene("stack_d1"))
    write_scene(twin, tmp_path / TWIN)
    write_resets(tmp_path / COUSINS, Resets(50, (0, 1, 0)))
    cousins = list_cousins(tmp_path)
    assert len(cousins) == 50 and [c.name for c in cousins[7:9]] == ["000007", "000008"]
    again = open_scene(cousins[7])
    assert not cousins[7].exists()
    assert np.array_equal(
        again.object("cube_red").T_world_obj,
        draw_reset(twin, np.random.SeedSequence([0, 1, 0, 7])).object("cube_red").T_world_obj,
    )
    with pytest.raises(RoboloopError, match="no scene `000050`"):
        open_scene(tmp_path / COUSINS / "000050")


def test_moving_the_twins_model_is_compiling_the_scene(tmp_path) -> None:
    twin = settle(preset_scene("stack_d1"))
    task = make_task(twin, BENCHMARK["stack_d1"].sentence, STATIONS["panda"])
    write_scene(twin, tmp_path / TWIN)
    write_resets(tmp_path / COUSINS, Resets(3, (0,)))
    for cell in load_cells(list_cousins(tmp_path)[:], task):
        compiled = build_cell(cell.graph, task).model
        ends = []
        for model in (cell.model, compiled):
            data = mujoco.MjData(model)
            mujoco.mj_step(model, data, 50)
            ends.append(data.qpos)
        np.testing.assert_allclose(*ends, atol=1e-9)
