"""Proposed keypoints against those that the families know, and what must not depend on the pose."""

import numpy as np
import pytest
from PIL import Image

from roboloop import pose
from roboloop.cli import main
from roboloop.errors import RoboloopError
from roboloop.run import read_json
from roboloop.scene.families import complete, sample
from roboloop.scene.graph import SceneObject
from roboloop.scene.propose import Proposal, propose_keypoints
from surfaces import surface, usual

N_COUSINS = 6
NAMES = ("bowl", "plate", "mug", "pan", "pot", "basket", "tray", "box", "can", "bottle")
ROUND = {"bowl", "plate", "mug", "pan", "pot", "can", "bottle"}
HOLLOW = {"bowl", "plate", "mug", "pan", "basket", "tray"}
HANDLE = {"mug": 0.01, "pan": 0.025, "pot": 0.01}
"""How far from the family's handle it may lie, m; a pan's is long."""


def proposed(name: str, index: int) -> tuple[SceneObject, Proposal]:
    rng = np.random.default_rng(index)
    obj = sample(usual(name), rng)
    return obj, propose_keypoints(surface(obj, rng), rng)


@pytest.mark.parametrize("name", NAMES)
def test_they_are_those_of_the_families(name):
    for index in range(N_COUSINS):
        obj, found = proposed(name, index)
        for key in ("center", "top", "bottom", *(["inside"] if name in HOLLOW else [])):
            np.testing.assert_allclose(found.keypoints[key], obj.keypoints[key], atol=0.003)
        assert (found.symmetry_axis is not None) == (name in ROUND)
        assert ("rim" in found.keypoints) == (name in HOLLOW)
        assert ("handle" in found.keypoints) == (name in HANDLE)
        if name in HANDLE:
            off = np.linalg.norm(found.keypoints["handle"] - obj.keypoints["handle"])
            assert off < HANDLE[name]


@pytest.mark.parametrize("name", sorted(HOLLOW))
def test_rims_are_on_the_edge_of_the_top(name):
    for index in range(N_COUSINS):
        obj, found = proposed(name, index)
        rim, top = found.keypoints["rim"], np.array(obj.keypoints["top"])
        assert rim[2] == pytest.approx(top[2], abs=0.004)
        out = np.abs(rim[:2] - top[:2])
        radii = {obj.size[0] / 2, obj.size[1] / 2, obj.keypoints["rim"][1]}
        assert min(abs(float(np.linalg.norm(out)) - r) for r in radii) < 0.006


@pytest.mark.parametrize("name", ["mug", "pan", "tray", "bottle"])
def test_they_move_with_the_shape(name):
    rng = np.random.default_rng(3)
    points = surface(usual(name), rng)
    here = propose_keypoints(points, np.random.default_rng(0))
    for yaw in (0.7, 2.9, -1.3):
        T = pose.from_parts(rng.normal(size=3), pose.yaw_to_matrix(yaw))
        there = propose_keypoints(pose.transform(T, points), np.random.default_rng(0))
        assert there.keypoints.keys() == here.keypoints.keys()
        for key, p in here.keypoints.items():
            np.testing.assert_allclose(
                there.keypoints[key], pose.transform(T, p), atol=0.006, err_msg=key
            )


def test_a_lying_spoon_has_a_handle_and_ends():
    rng = np.random.default_rng(0)
    head = np.c_[rng.uniform(-1, 1, (2000, 2)) * 0.02, np.zeros(2000)]
    stem = np.c_[rng.uniform(0.02, 0.15, 1500), rng.uniform(-0.004, 0.004, 1500), np.zeros(1500)]
    found = propose_keypoints(np.concatenate([head, stem]), rng).keypoints
    assert found["handle"][0] == pytest.approx(0.12, abs=0.02)
    assert found["end_1"][0] == pytest.approx(0.15, abs=0.01)
    assert found["end_2"][0] == pytest.approx(-0.02, abs=0.01)


def test_a_square_is_not_round():
    rng = np.random.default_rng(1)
    cube = complete(SceneObject("box", "box", np.eye(4), (0.06, 0.06, 0.06), {}, {}))
    assert propose_keypoints(surface(cube, rng), rng).symmetry_axis is None


@pytest.mark.parametrize("points", [np.zeros((10, 3)), np.full((100, 3), np.nan)])
def test_what_is_no_shape_is_refused(points):
    with pytest.raises(RoboloopError, match="no shape"):
        propose_keypoints(points, np.random.default_rng(0))


@pytest.mark.parametrize("extent", [(0, 0, 0), (1, 0, 0), (0, 0, 1), (1, 1, 0), (0, 1, 1)])
def test_points_lines_and_planes_are_shapes_too(extent):
    points = 0.1 * np.random.default_rng(0).uniform(size=(300, 3)) * extent
    found = propose_keypoints(points, np.random.default_rng(0)).keypoints
    for p in found.values():
        assert ((p > -0.005) & (p < 0.1 * np.array(extent) + 0.005)).all()


def test_keypoints_of_a_capture_are_written_and_drawn(tmp_path, capsys):
    capture = "examples/captures/living6"  # a plate, two mugs, a box
    assert main(["scene", "keypoints", capture, "--out", str(tmp_path / "a")]) == 0
    things = read_json(tmp_path / "a" / "keypoints.json")["things"]
    assert len(things) == 4
    assert sum("handle" in thing["keypoints"] for thing in things.values()) == 2
    assert sum("rim" in thing["keypoints"] for thing in things.values()) == 3
    assert "thing_0: 0 top, 1 bottom" in capsys.readouterr().err
    with Image.open(tmp_path / "a" / "keypoints.png") as picture:
        assert picture.width >= 800
