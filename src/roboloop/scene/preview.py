"""Pictures of scenes: the front camera's view, and a contact sheet of a twin and its cousins."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw

from roboloop.render import Renderer
from roboloop.scene.compile import scene_spec
from roboloop.scene.graph import SceneGraph
from roboloop.scene.keypoints import draw_keypoints, numbered_keypoints
from roboloop.sim import Simulation

_TILE_WIDTH = 320
_COLUMNS = 4
_LABEL_HEIGHT = 18


def preview(graph: SceneGraph, width: int = 640) -> Image.Image:
    """Render what the scene's front camera sees."""
    return _pictures([graph], width)[0]


def annotated(graph: SceneGraph, width: int = 640) -> Image.Image:
    """Render the same with the scene's numbered keypoints."""
    image = preview(graph, width)
    draw_keypoints(image, numbered_keypoints(graph), graph.camera)
    return image


def _pictures(graphs: Sequence[SceneGraph], width: int) -> list[Image.Image]:
    """Render scenes whose cameras have the same aspect, each at twice its size for smooth edges."""
    camera = graphs[0].camera
    height = round(width * camera.height / camera.width)
    pictures = []
    with Renderer(2 * width, 2 * height) as renderer:
        for graph in graphs:
            model = scene_spec(graph).compile()
            sim = Simulation([model])
            sim.reset()
            rgb = renderer.frames(model, sim.states, ["front"])["front"][0]
            pictures.append(Image.fromarray(rgb).resize((width, height)))
    return pictures


def contact_sheet(
    rgb: UInt8[np.ndarray, "h w 3"], twin: SceneGraph, cousins: Sequence[SceneGraph]
) -> Image.Image:
    """Lay out the capture, its twin and cousins in a labelled grid."""
    labels = ["capture", "twin", *(f"cousin {i}" for i in range(len(cousins)))]
    pictures = [Image.fromarray(rgb), *_pictures([twin, *cousins], _TILE_WIDTH)]
    height = round(_TILE_WIDTH * rgb.shape[0] / rgb.shape[1])
    cell = _TILE_WIDTH, height + _LABEL_HEIGHT
    columns = min(_COLUMNS, len(pictures))
    rows = -(-len(pictures) // columns)
    sheet = Image.new("RGB", (columns * cell[0], rows * cell[1]), "white")
    draw = ImageDraw.Draw(sheet)
    for i, (label, picture) in enumerate(zip(labels, pictures, strict=True)):
        x, y = i % columns * cell[0], i // columns * cell[1]
        sheet.paste(picture.resize((_TILE_WIDTH, height)), (x, y + _LABEL_HEIGHT))
        draw.text((x + 4, y + 3), label, fill="black")
    return sheet
