"""A scene's keypoints, numbered: in words, and drawn on what the camera sees."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from PIL import Image, ImageDraw

from roboloop import pose
from roboloop.scene.graph import Camera, SceneGraph

COLORS = ("#ffd23f", "#3bceac", "#ee4266", "#4ea8de", "#f4a259", "#b388eb")
"""Of the objects' keypoints, in turn."""

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
    for number, (name, (x, y)) in enumerate(zip(points, pixels, strict=True)):
        color = COLORS[owners.index(name.partition(".")[0]) % len(COLORS)]
        draw.ellipse((x - 3, y - 3, x + 3, y + 3), fill=color)
        box = draw.textbbox((x + 4, y - 13), str(number))
        draw.rectangle((box[0] - 1, box[1] - 1, box[2] + 1, box[3] + 1), fill="#000000a0")
        draw.text((x + 4, y - 13), str(number), fill=color)


def pixels_of(camera: Camera, p: Float[np.ndarray, "K 3"], width: int) -> Float[np.ndarray, "K 2"]:
    """Where a camera sees points (world, m), in an image scaled to a width."""
    x, y, z = pose.transform(pose.inverse(camera.T_world_camera), p).T
    z = np.maximum(z, 1e-6)
    pixels = np.stack([camera.fx * x / z + camera.cx, camera.fy * y / z + camera.cy], 1)
    return pixels * width / camera.width
