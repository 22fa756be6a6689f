"""From a piece of the image to a `SceneObject`."""

import numpy as np
from jaxtyping import Float, UInt8

from roboloop import pose
from roboloop.scene.families import FAMILIES
from roboloop.scene.graph import Joint, Rgb, SceneObject
from roboloop.scene.perceive import furniture
from roboloop.scene.perceive.classify import classify
from roboloop.scene.perceive.colors import plain_rgb, two_colors
from roboloop.scene.perceive.outline import Rectangle, along_axes, fit_circle, smallest_rectangle
from roboloop.scene.perceive.pieces import Piece
from roboloop.scene.perceive.shape import Shape, measure, turned_box

SQUARE = 1.2  # sides of a bottle nearer than this ratio are one
MIN_SIZE = 0.01  # m
BOARD = 0.012  # thickness of a drawer's front, m


def make_object(
    piece: Piece,
    rgb: UInt8[np.ndarray, "h w 3"],
    rng: np.random.Generator,
    carried: Float[np.ndarray, "2"] | None = None,
) -> SceneObject:
    """Measure, name and box an object; relations and the final name come later.

    Args:
        piece: Its pixels.
        rgb: The image.
        rng: For robust fits.
        carried: Where the middle of what stands on it is, when that hides most of it.
    """
    shape = measure(piece, rng, carried)
    front = furniture.find_front(piece, shape)
    features = shape.features | furniture.furniture_features(front, shape.features["roof"])
    category = classify(features)
    box = footprint(category, piece, shape, front, rng)
    params: dict[str, float] = {}
    values: dict[str, float] = {}
    if category == "drawer_cabinet":
        openings, handle = furniture.drawers(front, shape.top_height)
        params = {"n_drawers": float(len(openings))} | clipped(category, handle_out=handle - BOARD)
        values = {f"drawer_{i}": value for i, value in enumerate(openings)}
    elif category == "microwave":
        hinge, values["door"] = furniture.door(front)
        params = {"hinge": float(hinge)}
    x, y = (max(float(v), MIN_SIZE) for v in box.size)
    height = max(shape.height, MIN_SIZE)
    center = np.array([*box.center, piece.base + height / 2])
    yaw = float(np.arctan2(box.axes[0, 1], box.axes[0, 0]))
    return SceneObject(
        name=category,
        category=category,
        T_world_obj=pose.from_parts(center, pose.yaw_to_matrix(yaw)),
        size=(x, y, height),
        params=params,
        colors=part_colors(category, piece, shape, rgb, rng),
        joints=tuple(Joint(name, "slide", (0.0, v), v) for name, v in values.items()),
    )


def clipped(category: str, **values: float) -> dict[str, float]:
    """Parameters of a family, kept in their realistic ranges."""
    ranges = FAMILIES[category].params
    return {k: round(float(np.clip(v, *ranges[k].range)), 4) for k, v in values.items()}


def footprint(
    category: str, piece: Piece, shape: Shape, front: furniture.Front, rng: np.random.Generator
) -> Rectangle:
    """Rectangle of an object seen from above, x axis to its front, unseen sides completed."""
    xy = piece.points[:, :2]
    if category in ("drawer_cabinet", "microwave"):
        return furniture.whole_box(piece, front)
    if category in ("bowl", "plate", "can"):
        size = np.full(2, 2 * shape.circle.radius)
        return Rectangle(shape.circle.center, np.eye(2), size)
    if category in ("mug", "pan", "pot") and shape.handle is not None:
        return turned_box(piece, shape.handle, shape.circle)
    if category == "bottle":
        return bottle_box(piece, rng)
    if category == "rack" and front.inside > 0.02:
        return furniture.whole_box(piece, front)
    if category == "stove":
        toward = shape.box.center - shape.top.center
        along = shape.top.axes[np.abs(shape.top.axes @ toward).argmax()]
        return along_axes(xy, along * np.sign(along @ toward))
    box = shape.box
    if box.size[0] >= box.size[1]:
        return box
    return Rectangle(box.center, np.array([box.axes[1], -box.axes[0]]), box.size[::-1])


def bottle_box(piece: Piece, rng: np.random.Generator) -> Rectangle:
    """Complete a bottle: its hidden side mirrors the seen one through the axis of its neck."""
    xy = piece.points[:, :2]
    cap = xy[piece.heights > 0.88 * piece.top]
    circle = fit_circle(cap, rng)
    center = circle.center if circle.share > 0.4 else (cap.min(0) + cap.max(0)) / 2
    box = smallest_rectangle(np.concatenate([xy, 2 * center - xy]))
    if box.size.max() < SQUARE * box.size.min():
        return Rectangle(center, np.eye(2), np.full(2, box.size.mean()))
    return box


def part_colors(
    category: str,
    piece: Piece,
    shape: Shape,
    rgb: UInt8[np.ndarray, "h w 3"],
    rng: np.random.Generator,
) -> dict[str, Rgb]:
    """Colours of the parts that the family has."""
    pixels = rgb[piece.mask]
    main, accent = two_colors(pixels, rng)
    colors = {"main": main, "accent": accent, "label": accent, "front": main, "burner": accent}
    away = np.linalg.norm(piece.points[:, :2] - shape.circle.center, axis=1)
    outside = away > shape.circle.radius + 0.008
    colors["handle"] = plain_rgb(pixels[outside]) if outside.sum() > 10 else main
    low = piece.heights < 0.9 * piece.top
    knob = low & (np.abs(shape.top.local(piece.points[:, :2])) > shape.top.size / 2 + 0.01).any(1)
    colors["knob"] = plain_rgb(pixels[knob]) if knob.sum() > 10 else accent
    return {part: colors[part] for part in FAMILIES[category].colors if part in colors}
