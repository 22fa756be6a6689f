"""Several tasks in one sentence."""

import numpy as np
import pytest

from roboloop.cell import set_free
from roboloop.cells import build_cell
from roboloop.demo.judge import judge
from roboloop.errors import RoboloopError
from roboloop.scene.presets import BENCHMARK, preset_scene
from roboloop.station import STATIONS
from roboloop.task.make import make_task
from roboloop.task.sequence import clauses
from scenes import make_object, make_scene

PANDA = STATIONS["panda"]
TABLE = make_scene(
    make_object("bowl", "bowl", (-0.1, -0.1)),
    make_object("cabinet", "drawer_cabinet", (0.1, 0.2)),
)


@pytest.mark.parametrize(
    ("sentence", "parts"),
    [
        ("put a on b, then open c", ["put a on b", "open c"]),
        ("Open c and then put a in c; then close c.", ["Open c", "put a in c", "close c."]),
        ("put a on b", ["put a on b"]),
    ],
)
def test_a_sentence_is_split_at_its_thens(sentence: str, parts: list[str]) -> None:
    assert clauses(sentence) == parts


def test_an_object_keeps_its_role() -> None:
    task = make_task(
        preset_scene("stack_three_d0"),
        "stack the red cube on the green cube, then stack the blue cube on the red cube",
        PANDA,
    )
    assert task.roles == {
        "object": "cube_red", "target": "cube_green", "object_2": "cube_blue"
    }  # fmt: skip
    assert [stage.name for stage in task.stages] == [
        "grasp", "place", "retreat", "grasp_2", "place_2", "retreat_2"
    ]  # fmt: skip
    assert task.stages[4].reference == "object.top" and task.stages[4].release == "object_2"
    assert len(task.success) == 8


def test_what_is_undone_later_is_not_asked_for() -> None:
    sentence = "open the top drawer, then put the bowl in the top drawer, then close the top drawer"
    task = make_task(TABLE, sentence, PANDA)
    assert [text for text in task.success if "share" in text] == ["share(target.drawer_0) < 0.05"]
    twice = make_task(
        TABLE, "put the bowl on the cabinet, then put the bowl in the top drawer", PANDA
    )
    assert not any("target.top" in text for text in twice.success)


def test_every_part_has_to_be_understood() -> None:
    with pytest.raises(RoboloopError, match="no task kind fits the sentence `sing`"):
        make_task(TABLE, "open the top drawer, then sing", PANDA)


def test_three_cubes_are_stacked_when_all_are() -> None:
    graph = preset_scene("stack_three_d0")
    cell = build_cell(graph, make_task(graph, BENCHMARK["stack_three_d0"].sentence, PANDA))
    for (x, z), done in {(0.0, 0.09): True, (0.0, 0.05): False, (0.1, 0.02): False}.items():
        qpos = cell.home_qpos.copy()
        for name, (dx, dz) in {"cube_red": (0.0, 0.05), "cube_blue": (x, z)}.items():
            T = graph.object("cube_green").T_world_obj.copy()
            T[:3, 3] += (dx, 0.0, dz - 0.005)
            set_free(qpos[None], cell.model, cell.model.body(name).id, T)
        assert (not judge(cell, np.stack([cell.home_qpos, qpos]))) == done
