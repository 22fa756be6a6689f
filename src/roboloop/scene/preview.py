"""Pictures of scenes: the front camera's view, and a contact sheet of a twin and its cousins."""

from collections.abc import Sequence

import mujoco
import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw

from roboloop.scene.compile import scene_spec
from roboloop.scene.families import VISUAL
from roboloop.scene.graph import SceneGraph

_TILE_WIDTH = 320
_COLUMNS = 4
_LABEL_HEIGHT = 18


def preview(graph: SceneGraph, width: int = 640) -> Image.Image:
    """Render what the scene's front camera sees."""
    height = round(width * graph.camera.height / graph.camera.width)
    spec = scene_spec(graph)
    spec.visual.global_.offwidth, spec.visual.global_.offheight = width, height
    model = spec.compile()
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    option = mujoco.MjvOption()
    option.geomgroup[:] = np.arange(len(option.geomgroup)) == VISUAL
    with mujoco.Renderer(model, height, width) as renderer:
        renderer.update_scene(data, "front", option)
        return Image.fromarray(renderer.render())


def contact_sheet(
    rgb: UInt8[np.ndarray, "h w 3"], twin: SceneGraph, cousins: Sequence[SceneGraph]
) -> Image.Image:
    """Lay out the capture, its twin and cousins in a labelled grid."""
    pictures = [("capture", Image.fromarray(rgb)), ("twin", preview(twin, _TILE_WIDTH))]
    pictures += [(f"cousin {i}", preview(c, _TILE_WIDTH)) for i, c in enumerate(cousins)]
    height = round(_TILE_WIDTH * rgb.shape[0] / rgb.shape[1])
    cell = _TILE_WIDTH, height + _LABEL_HEIGHT
    columns = min(_COLUMNS, len(pictures))
    rows = -(-len(pictures) // columns)
    sheet = Image.new("RGB", (columns * cell[0], rows * cell[1]), "white")
    draw = ImageDraw.Draw(sheet)
    for i, (label, picture) in enumerate(pictures):
        x, y = i % columns * cell[0], i // columns * cell[1]
        sheet.paste(picture.resize((_TILE_WIDTH, height)), (x, y + _LABEL_HEIGHT))
        draw.text((x + 4, y + 3), label, fill="black")
    return sheet
