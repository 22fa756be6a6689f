"""`roboloop plan`: words, a picture with numbered keypoints, a film; and what it refuses."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from roboloop.cli import main
from roboloop.data.video import decode
from roboloop.run import read_json
from roboloop.scene.families import complete
from roboloop.scene.folder import write_scene
from roboloop.scene.keypoints import numbered_keypoints, pixels_of
from scenes import bowl_and_plate, make_object, make_scene

STAGES = {"grasp", "place", "retreat"}


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    folder = tmp_path_factory.mktemp("plan") / "scene"
    write_scene(bowl_and_plate(), folder)
    return folder


def test_a_plan_is_said_drawn_and_filmed(scene, tmp_path, capsys):
    out = tmp_path / "plan"
    assert main(["plan", str(scene), "put the bowl on the plate", "--out", str(out)]) == 0
    shown = capsys.readouterr()
    assert shown.out.strip() == str(out / "plan.png")
    assert "until the horizontal distance from the bowl's bottom to the plate's" in shown.err
    assert "keypoints bowl: 0 center, 1 top" in shown.err
    assert set(read_json(out / "manifest.json")["figures"]["control_steps"]) == STAGES
    with Image.open(out / "plan.png") as picture:
        assert picture.size == (960, 720)
    frames = np.stack(list(decode(out / "plan.mp4")))
    assert len(frames) > 40
    assert np.abs(frames[-1].astype(int) - frames[0]).max() > 50


def test_an_object_too_wide_for_the_hand_is_not_moved(tmp_path, capsys):
    wide = make_object("box", "box", (-0.08, -0.06))
    wide = complete(replace(wide, size=(0.15, 0.14, 0.12), keypoints={}))
    graph = make_scene(wide, make_object("plate", "plate", (0.0, 0.14)))
    write_scene(graph, tmp_path / "scene")
    words = ["plan", str(tmp_path / "scene"), "put the box on the plate"]
    assert main([*words, "--out", str(tmp_path / "plan")]) == 2
    assert (
        "no plan: grasp: no antipodal grasp on `object` within the hand's 8 cm"
        in capsys.readouterr().err
    )
    assert not (tmp_path / "plan" / "plan.mp4").exists()


def test_keypoints_are_drawn_where_the_camera_sees_them():
    graph = bowl_and_plate()
    points = numbered_keypoints(graph)
    assert list(points)[:2] == ["bowl.center", "bowl.top"]
    width, height = graph.camera.width, graph.camera.height
    pixels = pixels_of(graph.camera, np.array(list(points.values())), width)
    assert ((pixels > 0) & (pixels < [width, height])).all()
    straight = graph.camera.T_world_camera @ [0, 0, 1, 1]
    middle = [graph.camera.cx, graph.camera.cy]
    np.testing.assert_allclose(pixels_of(graph.camera, straight[None, :3], width)[0], middle)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["put the bowl on the plate"], "no place to write the plan"),
        (["put the bowl on the spoon", "--out", "plan"], "spoon"),
        (
            ["put the bowl on the plate", "--out", "plan", "--robot", "pandda"],
            "did you mean `panda`",
        ),
    ],
)
def test_what_cannot_be_planned_is_refused(scene, tmp_path, monkeypatch, capsys, words, message):
    monkeypatch.chdir(tmp_path)
    assert main(["plan", str(scene), *words]) == 2
    assert message in capsys.readouterr().err
