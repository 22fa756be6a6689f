"""Perception: the families' own models, seen by rays, are the oracle."""

from dataclasses import replace

import numpy as np
import pytest

from captures import camera, capture_of, moved, scene, thing
from roboloop import pose
from roboloop.errors import RoboloopError
from roboloop.scene.families import complete
from roboloop.scene.graph import Relation, SceneGraph, SceneObject
from roboloop.scene.perceive import perceive
from roboloop.scene.perceive.classify import HYPOTHESES
from roboloop.scene.score import iou, object_box


def seen(graph: SceneGraph) -> dict[str, SceneObject]:
    return {obj.name: obj for obj in perceive(capture_of(graph)).objects}


@pytest.mark.parametrize("category", HYPOTHESES)
def test_every_family_is_recognised_and_measured(category: str) -> None:
    truth = thing(category, yaw=0.2)
    found = seen(scene(truth))
    assert list(found) == [category]
    obj = found[category]
    assert np.linalg.norm(obj.T_world_obj[:3, 3] - truth.T_world_obj[:3, 3]) < 0.02
    assert iou(object_box(obj), object_box(truth)) > 0.7


def test_rotated_box_has_size_and_yaw() -> None:
    T = pose.from_parts(np.array([0.05, -0.1, 0.02]), pose.yaw_to_matrix(0.5))
    found = seen(scene(complete(SceneObject("box", "box", T, (0.12, 0.07, 0.04), {}, {}))))["box"]
    assert np.allclose(found.size, (0.12, 0.07, 0.04), atol=0.005)
    assert np.sin(pose.yaw_of(found.T_world_obj) - 0.5) == pytest.approx(0, abs=0.05)


def test_three_things_side_by_side() -> None:
    plate, box = thing("plate"), thing("box", (0.0, 0.25))
    bowl = thing("bowl", (0.0, -0.25))
    found = seen(scene(plate, bowl, box))
    assert set(found) == {"plate", "bowl", "box"}
    assert all(obj.relations == (Relation("on", "support"),) for obj in found.values())


def test_bowl_on_a_cabinet_stands_on_it() -> None:
    cabinet = thing("drawer_cabinet", (-0.1, 0.0))
    bowl = thing("bowl")
    T = bowl.T_world_obj.copy()
    T[:3, 3] = (-0.12, 0.0, cabinet.size[2] + bowl.size[2] / 2)
    found = seen(scene(cabinet, replace(bowl, T_world_obj=T)))
    assert found["bowl"].relations == (Relation("on", "drawer_cabinet"),)
    assert found["bowl"].T_world_obj[2, 3] == pytest.approx(T[2, 3], abs=0.006)


@pytest.mark.parametrize("opening", [0.0, 0.06, 0.1])
def test_drawers_are_counted_and_measured(opening: float) -> None:
    closed = thing("drawer_cabinet", (-0.15, 0.0))
    joints = (replace(closed.joints[0], value=opening), *closed.joints[1:])
    size = (closed.size[0] + opening, *closed.size[1:])
    found = seen(scene(complete(replace(closed, size=size, joints=joints))))["drawer_cabinet"]
    assert [j.name for j in found.joints] == ["drawer_0", "drawer_1", "drawer_2"]
    assert [j.value for j in found.joints] == pytest.approx([opening, 0.0, 0.0], abs=0.012)


def test_equal_things_are_numbered() -> None:
    other = replace(thing("bowl", (0.0, 0.2)), name="other")
    found = seen(scene(thing("bowl", (0.0, -0.2)), other))
    assert set(found) == {"bowl", "bowl_2"}


def test_moving_the_world_moves_the_result() -> None:
    graph = scene(thing("mug", (0.0, -0.15), 1.0), thing("box", (0.05, 0.15), 0.3))
    T = pose.from_parts(np.array([1.0, -2.0, 0.7]), pose.yaw_to_matrix(1.1))
    capture = capture_of(graph)
    here = perceive(capture)
    there = perceive(replace(capture, camera=moved(graph, T).camera))
    for a, b in zip(here.objects, there.objects, strict=True):
        assert a.category == b.category
        assert np.allclose(a.size, b.size, atol=2e-3)
        assert np.allclose((T @ a.T_world_obj)[:3, 3], b.T_world_obj[:3, 3], atol=2e-3)


def test_unknown_camera_pose_puts_the_origin_on_the_support() -> None:
    graph = scene(thing("can", (0.0, 0.12)))
    capture = replace(capture_of(graph), posed=False)
    capture = replace(capture, camera=replace(capture.camera, T_world_camera=np.eye(4)))
    twin = perceive(capture)
    assert twin.support.T_world_support[2, 3] == pytest.approx(0, abs=0.004)
    T = twin.camera.T_world_camera
    assert T[:3, 2] @ (0, 0, 1) == pytest.approx(graph.camera.T_world_camera[2, 2], abs=0.01)
    assert T[:2, 3] + T[:2, 2] * -T[2, 3] / T[2, 2] == pytest.approx([0, 0], abs=0.01)
    assert [obj.category for obj in twin.objects] == ["can"]
    assert twin.objects[0].size[2] == pytest.approx(graph.objects[0].size[2], abs=0.005)


def test_noise_of_a_stereo_camera_does_not_matter() -> None:
    graph = scene(thing("bowl", (0.0, -0.2)), thing("box", (0.0, 0.15)))
    capture = capture_of(graph)
    noise = np.random.default_rng(0).normal(0, 0.0008, capture.depth.shape)
    noisy = replace(capture, depth=(capture.depth + noise).astype(np.float32))
    found = perceive(noisy)
    assert sorted(obj.category for obj in found.objects) == ["bowl", "box"]


def test_result_is_repeatable() -> None:
    capture = capture_of(scene(thing("mug")))
    first, second = perceive(capture), perceive(capture)
    assert np.array_equal(first.objects[0].T_world_obj, second.objects[0].T_world_obj)


def test_no_plane_is_an_error() -> None:
    capture = capture_of(scene(thing("can")))
    v, u = np.mgrid[:240, :320]
    wavy = (1.0 + 0.2 * np.sin(u / 4.0) * np.sin(v / 4.0)).astype(np.float32)
    with pytest.raises(RoboloopError, match="no plane"):
        perceive(replace(capture, depth=wavy))


def test_no_object_is_an_error() -> None:
    with pytest.raises(RoboloopError, match="nothing on its support"):
        perceive(capture_of(scene(view=camera())))
