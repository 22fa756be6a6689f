"""A scene's keypoints, numbered: in words, and drawn on what the camera sees."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from PIL import Image, ImageDraw

from roboloop import pose
from roboloop.scene.graph import Camera, SceneGraph

COLORS = ("#ffd23f", "#3bceac", "#ee4266", "#4ea8de", "#f4a259", "#b388eb")
"""Of the objects' keypoints, in turn."""
LABEL_OFFSETS = ((4, -13), (4, 3), (-16, -13), (-16, 3), (18, -5), (-30, -5), (4, -25), (4, 15))
"""Where a number may stand beside its dot, pixels to the right and down."""

Box = tuple[float, float, float, float]
"""Left, top, right, bottom, pixels."""
Points = dict[str, Float[np.ndarray, "3"]]
"""`object.keypoint` -> world, m; a keypoint's number is its place."""


def numbered_keypoints(graph: SceneGraph) -> Points:
    """Every keypoint of every object."""
    return {
        f"{o.name}.{name}": pose.transform(o.T_world_obj, np.array(p))
        for o in graph.objects
        for name, p in o.keypoints.items()
    }


def legend(points: Sequence[str] | Points) -> list[str]:
    """The keypoints' numbers, one line an object."""
    lines: dict[str, list[str]] = {}
    for number, name in enumerate(points):
        owner, _, keypoint = name.partition(".")
        lines.setdefault(owner, []).append(f"{number} {keypoint}")
    return [
        f"{'keypoints' if i == 0 else '':<10}{owner}: {', '.join(each)}"
        for i, (owner, each) in enumerate(lines.items())
    ]


def draw_keypoints(image: Image.Image, points: Points, camera: Camera) -> None:
    """Draw dots with their numbers on a picture of the camera's view, in place."""
    draw = ImageDraw.Draw(image, "RGBA")
    owners = list(dict.fromkeys(name.partition(".")[0] for name in points))
    pixels = pixels_of(camera, np.array(list(points.values())).reshape(-1, 3), image.width)
    taken: list[Box] = []
    for number, (name, (x, y)) in enumerate(zip(points, pixels, strict=True)):
        color = COLORS[owners.index(name.partition(".")[0]) % len(COLORS)]
        draw.ellipse((x - 3, y - 3, x + 3, y + 3), fill=color)
        at, box = _free_place(draw, str(number), (float(x), float(y)), taken)
        taken.append(box)
        draw.rectangle(box, fill="#000000a0")
        draw.text(at, str(number), fill=color)


def _free_place(
    draw: ImageDraw.ImageDraw, text: str, near: tuple[float, float], taken: list[Box]
) -> tuple[tuple[float, float], Box]:
    """Where a number hides no other one, if there is such a place around its dot."""
    places = []
    for right, down in LABEL_OFFSETS:
        at = near[0] + right, near[1] + down
        x0, y0, x1, y1 = draw.textbbox(at, text)
        box = x0 - 1, y0 - 1, x1 + 1, y1 + 1
        hidden = sum(_overlap(box, other) for other in taken)
        places.append((hidden, at, box))
        if not hidden:
            break
    _, at, box = min(places, key=lambda place: place[0])
    return at, box


def _overlap(a: Box, b: Box) -> float:
    return max(0, min(a[2], b[2]) - max(a[0], b[0])) * max(0, min(a[3], b[3]) - max(a[1], b[1]))


def pixels_of(camera: Camera, p: Float[np.ndarray, "K 3"], width: int) -> Float[np.ndarray, "K 2"]:
    """Where a camera sees points (world, m), in an image scaled to a width."""
    x, y, z = pose.transform(pose.inverse(camera.T_world_camera), p).T
    z = np.maximum(z, 1e-6)
    pixels = np.stack([camera.fx * x / z + camera.cx, camera.fy * y / z + camera.cy], 1)
    return pixels * width / camera.width
