"""Hollow things: bowl, plate, mug, pan, pot, basket, tray; `two_handed` adds the serving tray.

What is seen is a smooth mesh, which also weighs; what touches is a floor plate and a ring of wall
boxes, so that things really go in. Handles point to +x and belong to the box of the object, so the
axis of a mug, pan or pot lies off the centre of its box.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from roboloop.scene.families.base import Family, Joints, Param, Params, material
from roboloop.scene.families.part import Part
from roboloop.scene.families.shapes import (
    SMOOTH,
    circle,
    inner_levels,
    loft,
    moved,
    rectangle,
    rings,
    tube,
)
from roboloop.scene.graph import Vector

_FLOOR = 0.005
_CLEARANCE = 0.0015  # wall boxes stay above the ground: only the floor plate stands on it
_WALL = Param(0.004, (0.0035, 0.0055), "thickness of the wall, m")


def _vessel(
    part: Part,
    outer: Float[np.ndarray, "k 3"],
    tiers: Sequence[int],
    offset: Vector = (0.0, 0.0, 0.0),
    square: bool = False,
) -> Float[np.ndarray, "k 3"]:
    """Build a hollow vessel; return the levels of its inside, from the rim down.

    Args:
        part: The body.
        outer: Levels of the outside, from the base up to the rim.
        tiers: Indices of the levels between which rings of wall boxes stand.
        offset: Where the axis is in the object's frame.
        square: A rectangular instead of a round section.
    """
    wall, p = part.obj.params["wall"], np.asarray(offset)
    outer, inner = inner_levels(outer, wall, _FLOOR)
    coarse = rectangle(outer[-1, 0], outer[-1, 1]) if square else circle()
    shell = moved(loft(coarse if square else circle(SMOOTH), np.concatenate([outer, inner])), p)
    part.mesh("body", shell, "main", part.obj.params["density"])
    base = outer[0]
    part.hull("floor", coarse, [base, base + np.array([0.0, 0.0, _FLOOR])], offset=offset)
    loops = rings(coarse, outer[list(tiers)]) + p
    loops[0] += _CLEARANCE / (loops[1, 0, 2] - loops[0, 0, 2]) * (loops[1] - loops[0])
    for i in range(len(tiers) - 1):
        part.walls(f"wall{i}_", loops[i], loops[i + 1], wall)
    return inner


def _lining(
    part: Part,
    levels: Float[np.ndarray, "k 3"],
    offset: Vector = (0.0, 0.0, 0.0),
    square: bool = False,
) -> None:
    """Paint the inside between levels (downwards) in the accent colour."""
    lifted = levels - (0.0004, 0.0004, -0.0004)
    section = rectangle(levels[0, 0], levels[0, 1]) if square else circle(SMOOTH)
    part.mesh("lining", moved(loft(section, lifted, capped=False), offset), "accent")


def _to_floor(inner: Float[np.ndarray, "k 3"]) -> Float[np.ndarray, "k+1 3"]:
    """Levels of an inside continued to the middle of the floor."""
    return np.concatenate([inner, inner[-1:] * (0.02, 0.02, 1.0)])


def _curve(half: Vector, foot: float, curve: float, n: int) -> Float[np.ndarray, "{n} 3"]:
    """Levels from a foot (share of the rim) to the rim: a cone (curve 0) to a quarter ellipse."""
    s = np.linspace(0.0, 1.0, n)
    r = (1 - curve) * s + curve * np.sin(np.pi * s / 2)
    z = (1 - curve) * s + curve * (1 - np.cos(np.pi * s / 2))
    r = foot + (1 - foot) * r
    return np.stack([half[0] * r, half[1] * r, half[2] * (2 * z - 1)], -1)


def hollow_keypoints(size: Vector, axis_x: float = 0.0) -> dict[str, Vector]:
    """Keypoints of a vessel whose axis is at x = `axis_x`; `rim` is its +y point."""
    z = size[2] / 2
    return {
        "center": (0.0, 0.0, 0.0),
        "top": (axis_x, 0.0, z),
        "bottom": (axis_x, 0.0, -z),
        "rim": (axis_x, size[1] / 2, z),
        "inside": (axis_x, 0.0, _FLOOR - z),
    }


def _plain_keypoints(size: Vector, params: Params, joints: Joints) -> dict[str, Vector]:
    return hollow_keypoints(size)


def _half(size: Vector) -> Vector:
    return size[0] / 2, size[1] / 2, size[2] / 2


def _build_bowl(part: Part) -> None:
    params = part.obj.params
    outer = _curve(_half(part.obj.size), params["foot"], params["curve"], 7)
    inner = _vessel(part, outer, (0, 2, 6))
    _lining(part, _to_floor(inner))


def build_beaker(part: Part) -> None:
    """Build a straight vessel without a handle, its inside painted."""
    build_round_vessel(part, part.obj.size)


def build_round_vessel(part: Part, size: Vector) -> None:
    """Build a straight vessel of full extents `size`, its inside painted."""
    x, y, z = _half(size)
    taper = part.obj.params["taper"]
    shares = np.linspace(taper, 1.0, 3)
    outer = np.stack([shares * x, shares * y, z * np.array([-1.0, 0.0, 1.0])], -1)
    inner = _vessel(part, outer, (0, 2))
    _lining(part, _to_floor(inner))


def _build_plate(part: Part) -> None:
    x, y, z = _half(part.obj.size)
    foot = part.obj.params["foot"]
    shares = np.array([foot, foot + 0.5 * (1 - foot), 1.0])
    outer = np.stack([shares * x, shares * y, z * np.array([-1.0, -0.25, 1.0])], -1)
    inner = _vessel(part, outer, (0, 2))
    low, high = part.obj.params["stripe_low"], part.obj.params["stripe_high"]
    rim, edge = inner[0], inner[1]
    _lining(part, np.stack([rim + s * (edge - rim) for s in (low, high)]))


def _build_basket(part: Part) -> None:
    build_square_vessel(part, part.obj.size)


def build_square_vessel(part: Part, size: Vector, offset: Vector = (0.0, 0.0, 0.0)) -> None:
    """Build a vessel with a rectangular rim of full extents `size`, its inside painted."""
    x, y, z = _half(size)
    inset = (1 - part.obj.params["taper"]) * min(x, y)
    outer = np.array([(x - inset, y - inset, -z), (x - inset / 2, y - inset / 2, 0), (x, y, z)])
    inner = _vessel(part, outer, (0, 2), offset, square=True)
    _lining(part, _to_floor(inner), offset, square=True)


def _body_radii(size: Vector, least: float) -> tuple[float, float, float]:
    """Half extents x, y of a round body that leaves `least` (m) for its handle, and its x."""
    x = min(size[1], max(size[0] - least, 0.5 * size[0])) / 2
    return x, size[1] / 2, x - size[0] / 2


def _loop_handle(
    part: Part, x0: float, x1: float, z: float, half_height: float, thickness: float
) -> None:
    """Add a handle like a mug's: a loop from x0 out to x1 and back, about height z."""
    a = np.linspace(np.pi / 2, -np.pi / 2, 9)
    r = thickness / 2
    x = x0 + (x1 - r - x0) * np.cos(a).clip(0) ** 0.6
    path = np.stack([x, 0 * a, z + half_height * np.sin(a)], -1)
    part.mesh("handle", tube(path, 1.2 * r, r), "handle", part.obj.params["density"])
    for i in range(0, 8, 2):
        part.rod(f"handle{i}", path[i], path[i + 2], r)


def _build_mug(part: Part) -> None:
    params, (size_x, _, size_z) = part.obj.params, part.obj.size
    rx, ry, axis_x = _body_radii(part.obj.size, 0.02)
    half_z, taper = size_z / 2, params["taper"]
    outer = _curve((rx, ry, half_z), taper, 0.5, 5)
    inner = _vessel(part, outer, (0, 2, 4), (axis_x, 0.0, 0.0))
    _lining(part, _to_floor(inner), (axis_x, 0.0, 0.0))
    thickness = params["handle_thickness"]
    wall_x = axis_x + rx * (0.5 + 0.5 * taper)
    height = params["handle_height"] * half_z
    _loop_handle(part, wall_x, size_x / 2, 0.05 * half_z, height, thickness)


def _mug_keypoints(size: Vector, params: Params, joints: Joints) -> dict[str, Vector]:
    _, _, axis_x = _body_radii(size, 0.02)
    x = size[0] / 2 - params["handle_thickness"] / 2
    return {**hollow_keypoints(size, axis_x), "handle": (x, 0.0, 0.025 * size[2])}


def _build_pan(part: Part) -> None:
    params = part.obj.params
    rx, ry, axis_x = _body_radii(part.obj.size, 0.06)
    half_z = part.obj.size[2] / 2
    outer = _curve((rx, ry, half_z), params["foot"], 0.2, 5)
    inner = _vessel(part, outer, (0, 4), (axis_x, 0.0, 0.0))
    _lining(part, _to_floor(inner), (axis_x, 0.0, 0.0))
    width, thick = params["handle_width"], params["handle_thickness"]
    x0, x1 = axis_x + 0.96 * rx, part.obj.size[0] / 2
    z = half_z - 0.008 - thick / 2
    path = np.stack([np.linspace(x0, x1, 5), np.zeros(5), np.full(5, z)], -1)
    part.mesh("handle", tube(path, width / 2, thick / 2), "handle", 900)
    part.box("handle_box", ((x0 + x1) / 2, 0, z), (x1 - x0, 0.9 * width, 0.9 * thick))


def _pan_keypoints(size: Vector, params: Params, joints: Joints) -> dict[str, Vector]:
    rx, _, axis_x = _body_radii(size, 0.06)
    x = 0.35 * (axis_x + rx) + 0.65 * size[0] / 2
    z = size[2] / 2 - 0.008 - params["handle_thickness"] / 2
    return {**hollow_keypoints(size, axis_x), "handle": (x, 0.0, z)}


def _pot_radii(size: Vector, params: Params) -> tuple[float, float, float, float]:
    """Half extents x, y of the body, its x, and how far the spout sticks out (m)."""
    spare = max(size[0] - size[1], 0.04)
    spout = 0.25 * spare
    rx = min(size[1], size[0] - spare) / 2
    return rx, size[1] / 2, spout + rx - size[0] / 2, spout


def _build_pot(part: Part) -> None:
    params, (size_x, _, size_z) = part.obj.params, part.obj.size
    rx, ry, axis_x, spout = _pot_radii(part.obj.size, params)
    offset = np.array([axis_x, 0.0, 0.0])
    waist, z = params["waist"], lambda share: (share - 0.5) * size_z
    shares = ((0.0, 0.95), (0.06, 1.0), (0.45, waist), (0.82, 0.96), (0.84, 0.96), (0.90, 0.25))
    levels = [(rx * r, ry * r, z(h)) for h, r in shares]
    density = params["density"]
    part.mesh("body", moved(loft(circle(SMOOTH), levels), offset), "main", density)
    part.hull("hull_low", circle(), levels[:3], offset=offset)
    part.hull("hull_high", circle(), levels[2:], offset=offset)
    knob = 0.16 * min(rx, ry)
    part.hull(
        "knob",
        circle(),
        [(0.6 * knob, 0.6 * knob, z(0.88)), (knob, knob, z(0.96)), (0.8 * knob, 0.8 * knob, z(1))],
        "handle",
        offset,
        density,
    )
    mouth = [(0.002, 0.006, z(0.6)), (spout, 0.014, z(0.82))]
    part.hull("spout", rectangle(), mouth, "main", offset - (rx, 0.0, 0.0), density)
    wall_x = axis_x + rx * (0.5 + 0.5 * waist)
    thickness = params["handle_thickness"]
    _loop_handle(part, wall_x, size_x / 2, z(0.58), 0.22 * size_z, thickness)


def _pot_keypoints(size: Vector, params: Params, joints: Joints) -> dict[str, Vector]:
    _, _, axis_x, _ = _pot_radii(size, params)
    lid, x = 0.34 * size[2], size[0] / 2 - params["handle_thickness"] / 2
    points = hollow_keypoints(size, axis_x)
    points["rim"] = (axis_x, size[1] / 2, lid)
    points["inside"] = (axis_x, 0.0, lid)
    points["spout"] = (-size[0] / 2, 0.0, 0.32 * size[2])
    return {**points, "handle": (x, 0.0, 0.08 * size[2])}


_CERAMIC = material(density=(2000, 1500, 2400), friction=(0.55, 0.45, 0.7))
_METAL = material(density=(2400, 2000, 2800), friction=(0.5, 0.4, 0.65))
_PLASTIC = material(density=(950, 700, 1200), friction=(0.5, 0.4, 0.65))
_HANDLE = Param(0.010, (0.008, 0.013), "thickness of the handle, m")

BOWL = Family(
    name="bowl",
    words=("dish",),
    limits=((0.08, 0.08, 0.035), (0.20, 0.20, 0.10)),
    params={
        "foot": Param(0.5, (0.42, 0.62), "radius of the foot, share of the rim's"),
        "curve": Param(0.7, (0.4, 1.0), "side from a cone (0) to a quarter ellipse (1)"),
        "wall": _WALL,
        **_CERAMIC,
    },
    colors={"main": (0.35, 0.35, 0.38), "accent": (0.80, 0.80, 0.82)},
    build=_build_bowl,
    keypoints=_plain_keypoints,
    round=True,
)

PLATE = Family(
    name="plate",
    words=("dish", "saucer"),
    limits=((0.11, 0.11, 0.015), (0.26, 0.26, 0.035)),
    params={
        "foot": Param(0.62, (0.52, 0.70), "radius of the foot, share of the rim's"),
        "stripe_low": Param(0.15, (0.05, 0.30), "outer edge of the stripe, share of the slope"),
        "stripe_high": Param(0.45, (0.35, 0.80), "inner edge of the stripe, share of the slope"),
        "wall": _WALL,
        **_CERAMIC,
    },
    colors={"main": (0.88, 0.86, 0.84), "accent": (0.72, 0.30, 0.28)},
    build=_build_plate,
    keypoints=_plain_keypoints,
    round=True,
)

MUG = Family(
    name="mug",
    words=("cup", "coffee", "coffee mug", "tea cup"),
    limits=((0.095, 0.07, 0.07), (0.16, 0.11, 0.14)),
    params={
        "taper": Param(0.85, (0.65, 1.0), "radius of the base, share of the rim's"),
        "handle_height": Param(0.62, (0.5, 0.75), "height of the handle, share of the height"),
        "handle_thickness": _HANDLE,
        "wall": _WALL,
        **_CERAMIC,
    },
    colors={
        "main": (0.85, 0.85, 0.86),
        "accent": (0.80, 0.80, 0.80),
        "handle": (0.85, 0.85, 0.86),
    },
    build=_build_mug,
    keypoints=_mug_keypoints,
)

PAN = Family(
    name="pan",
    words=("frying pan", "frypan", "skillet"),
    limits=((0.25, 0.15, 0.035), (0.45, 0.28, 0.075)),
    params={
        "foot": Param(0.80, (0.70, 0.90), "radius of the base, share of the rim's"),
        "handle_width": Param(0.022, (0.017, 0.028), "width of the handle, m"),
        "handle_thickness": Param(0.015, (0.012, 0.018), "thickness of the handle, m"),
        "wall": _WALL,
        **_METAL,
    },
    colors={
        "main": (0.16, 0.17, 0.17),
        "accent": (0.22, 0.24, 0.24),
        "handle": (0.06, 0.06, 0.06),
    },
    build=_build_pan,
    keypoints=_pan_keypoints,
)

POT = Family(
    name="pot",
    words=("moka pot", "moka", "kettle", "teapot", "coffee pot", "jug"),
    limits=((0.12, 0.07, 0.12), (0.22, 0.14, 0.24)),
    params={
        "waist": Param(0.72, (0.60, 0.95), "radius half-way up, share of the base's"),
        "handle_thickness": Param(0.014, (0.011, 0.018), "thickness of the handle, m"),
        **material(density=(600, 400, 900), friction=(0.5, 0.4, 0.65)),
    },
    colors={"main": (0.75, 0.75, 0.77), "handle": (0.08, 0.08, 0.08)},
    build=_build_pot,
    keypoints=_pot_keypoints,
)

BASKET = Family(
    name="basket",
    words=("bin", "crate", "container"),
    limits=((0.15, 0.15, 0.07), (0.40, 0.40, 0.22)),
    params={
        "taper": Param(0.85, (0.75, 1.0), "how much narrower the base is: 1 is upright"),
        "wall": Param(0.005, (0.004, 0.008), _WALL.meaning),
        **_PLASTIC,
    },
    colors={"main": (0.70, 0.55, 0.35), "accent": (0.62, 0.48, 0.30)},
    build=_build_basket,
    keypoints=_plain_keypoints,
    free_aspect=True,
)

TRAY = Family(
    name="tray",
    words=("baking tray", "board"),
    limits=((0.18, 0.14, 0.02), (0.45, 0.35, 0.06)),
    params={
        "taper": Param(0.90, (0.80, 0.97), "how much narrower the base is: 1 is upright"),
        "wall": Param(0.005, (0.004, 0.007), _WALL.meaning),
        **_PLASTIC,
    },
    colors={"main": (0.45, 0.30, 0.20), "accent": (0.50, 0.34, 0.23)},
    build=_build_basket,
    keypoints=_plain_keypoints,
    free_aspect=True,
)
