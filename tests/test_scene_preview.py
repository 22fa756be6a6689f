"""What the front camera of a compiled scene sees is what the graph's camera model says."""

from dataclasses import replace

import numpy as np
import pytest

from roboloop import pose
from roboloop.render import Renderer
from roboloop.scene.compile import scene_spec
from roboloop.scene.preview import contact_sheet, preview
from roboloop.sim import Simulation
from scenes import bowl_and_plate, make_object, make_scene

pytestmark = pytest.mark.render


@pytest.mark.parametrize(
    "intrinsics",
    [{}, {"fx": 500.0, "fy": 620.0, "cx": 350.0, "cy": 215.0}],
    ids=["centred", "off-centre"],
)
def test_pixels_are_where_the_camera_model_says(intrinsics: dict[str, float]) -> None:
    graph = make_scene(make_object("box", "box", (0.1, 0.2)))
    camera = replace(graph.camera, **intrinsics)
    model = scene_spec(replace(graph, camera=camera)).compile()
    sim = Simulation([model])
    sim.reset()
    with Renderer(camera.width, camera.height) as renderer:
        shown = renderer.instances(model, sim.states, ["front"])["front"][0]
    rows, columns = np.nonzero(shown == model.body("box").id)
    center = graph.objects[0].T_world_obj[:3, 3]
    x, y, z = pose.transform(pose.inverse(camera.T_world_camera), center)
    assert columns.mean() == pytest.approx(camera.fx * x / z + camera.cx, abs=3)
    assert rows.mean() == pytest.approx(camera.fy * y / z + camera.cy, abs=3)


def test_contact_sheet_shows_capture_twin_and_cousins() -> None:
    graph = bowl_and_plate()
    picture = preview(graph, 160)
    assert picture.size == (160, 120)
    assert np.asarray(picture).std() > 10
    sheet = contact_sheet(np.full((48, 64, 3), 200, np.uint8), graph, [graph] * 3)
    columns, rows = 4, 2
    assert sheet.size == (columns * 320, rows * (240 + 18))
