"""Scores against the truth: an exact scene is perfect, and every kind of mistake shows."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from captures import scene, thing
from roboloop.errors import RoboloopError
from roboloop.scene.families import FAMILIES
from roboloop.scene.folder import write_scene
from roboloop.scene.graph import SceneGraph
from roboloop.scene.score import WORDS, iou, object_box, right_categories, score

GRAPH = scene(thing("bowl", (0.0, -0.2)), thing("box", (0.0, 0.2)))


def truth_of(graph: SceneGraph, **pixels: int) -> dict[str, Any]:
    """What a simulator would say about a scene: names, boxes, pixels."""
    objects = [{"name": "table", "aabb_min": [-1, -1, 0], "aabb_max": [1, 1, 0], "pixels": 9999}]
    for obj in graph.objects:
        low, high = object_box(obj)
        record = {"name": f"{obj.name}_1_main", "aabb_min": low.tolist(), "aabb_max": high.tolist()}
        objects.append(record | {"pixels": pixels.get(obj.name, 500)})
    return {"objects": objects}


@pytest.fixture
def capture(tmp_path: Path) -> Path:
    (tmp_path / "truth.json").write_text(
        json.dumps(truth_of(GRAPH).copy()).replace("box_1", "butter_1")
    )
    return tmp_path


def test_exact_scene_is_perfect_and_the_table_does_not_count(capture: Path) -> None:
    result = score(GRAPH, capture)
    assert (result["found"], result["missed"], result["false"]) == (2, [], [])
    assert result["position_error"] == pytest.approx(0, abs=1e-9)
    assert result["box_iou"] == pytest.approx(1)
    assert result["category_accuracy"] == 1
    json.dumps(result)


def test_missed_false_and_misnamed(capture: Path) -> None:
    far = replace(thing("can", (-0.4, 0.0)), name="can")
    wrong = replace(GRAPH.objects[1], category="plate", name="plate", params={}, colors={})
    result = score(replace(GRAPH, objects=(wrong, far)), capture)
    assert result["found"] == 1
    assert result["missed"] == ["bowl_1_main"]
    assert result["false"] == ["can"]
    assert result["category_accuracy"] == 0


def test_moved_box_keeps_its_centered_overlap(capture: Path) -> None:
    T = GRAPH.objects[0].T_world_obj.copy()
    T[0, 3] += 0.03
    moved = replace(GRAPH.objects[0], T_world_obj=T)
    result = score(replace(GRAPH, objects=(moved, GRAPH.objects[1])), capture)
    row = result["objects"][0]
    assert row["position_error"] == pytest.approx(0.03)
    assert row["centered_iou"] == pytest.approx(1)
    assert row["box_iou"] < 0.7


def test_hardly_visible_objects_are_not_asked_for(tmp_path: Path) -> None:
    (tmp_path / "truth.json").write_text(json.dumps(truth_of(GRAPH, bowl=20)))
    alone = replace(GRAPH, objects=GRAPH.objects[1:])
    assert score(alone, tmp_path)["missed"] == []
    assert score(GRAPH, tmp_path)["false"] == []


def test_scene_folder_is_scored_like_its_graph(capture: Path, tmp_path: Path) -> None:
    write_scene(GRAPH, tmp_path / "out" / "twin")
    assert score(tmp_path / "out", capture) == score(GRAPH, capture)


def test_capture_without_truth(tmp_path: Path) -> None:
    with pytest.raises(RoboloopError, match="no ground truth"):
        score(GRAPH, tmp_path)


def test_truth_cut_off(tmp_path: Path) -> None:
    (tmp_path / "truth.json").write_text('{"objects": [')
    with pytest.raises(RoboloopError, match="truth.json cannot be read"):
        score(GRAPH, tmp_path)


def test_iou_of_boxes() -> None:
    a = np.array([[0.0, 0.0, 0.0], [2.0, 1.0, 1.0]])
    assert iou(a, a + (1.0, 0.0, 0.0)) == pytest.approx(1 / 3)
    assert iou(a, a + (5.0, 0.0, 0.0)) == 0


def test_words_lead_to_families() -> None:
    assert {family for right in WORDS.values() for family in right} <= set(FAMILIES)
    assert right_categories("moka_pot_1_main") == ("pot",)
    assert right_categories("bowl_drainer_1_main") == ("rack",)
    assert right_categories("chefmate_8_frypan_1_main") == ("pan",)
