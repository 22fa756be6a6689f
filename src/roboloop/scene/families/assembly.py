"""Things that are put together: nuts and pegs, a needle and a ring to thread, plugs and sockets.

Built of boxes and rods, so that what is seen is what touches, with real clearances. Keypoints
`edge_x` and `edge_y` lie beside `top`, towards the sides, and tell how a thing that is not round
is turned.

Source of the sizes of nuts and pegs: Zhu et al. 2020, "robosuite: A Modular Simulation Framework
and Benchmark for Robot Learning", Nut Assembly.
"""

import numpy as np
from jaxtyping import Float

from roboloop import pose
from roboloop.scene.families.base import Family, Joints, Param, Params, material
from roboloop.scene.families.part import Part
from roboloop.scene.families.shapes import circle
from roboloop.scene.families.solids import middle_keypoints
from roboloop.scene.graph import Vector

_N_ROUND = 8
"""Boxes of a round nut's ring."""
_N_RING = 12
"""Rods of the ring that is threaded."""


def _edges(top: Vector, x: float, y: float) -> dict[str, Vector]:
    """The top's middle, and points towards its +x and +y sides."""
    return {
        "top": top,
        "edge_x": (top[0] + x, top[1], top[2]),
        "edge_y": (top[0], top[1] + y, top[2]),
    }


# --- nuts and pegs


def _nut_axis(size: Vector) -> float:
    """Where the axis of the hole is along x: the ring is as long as it is wide."""
    return (size[1] - size[0]) / 2


def _nut_keypoints(size: Vector, params: Params, joints: Joints) -> dict[str, Vector]:
    (x, y, z), axis = size, _nut_axis(size)
    return {
        "center": (0.0, 0.0, 0.0),
        "bottom": (axis, 0.0, -z / 2),
        **_edges((axis, 0.0, z / 2), y / 2, y / 2),
        "hole": (axis, 0.0, 0.0),
        "handle": ((axis + y / 2 + x / 2) / 2, 0.0, 0.0),
    }


def _add_handle(part: Part, start: float) -> None:
    """The handle of a nut, from `start` (m) on to its +x end."""
    (x, _, z), params = part.obj.size, part.obj.params
    size = (x / 2 - start, params["handle"], z)
    part.box("handle", ((start + x / 2) / 2, 0, 0), size, "accent", params["density"])


def _build_square_nut(part: Part) -> None:
    (_, y, z), params = part.obj.size, part.obj.params
    axis, bore, density = _nut_axis(part.obj.size), params["bore"], params["density"]
    wall = (y - bore) / 2
    for i, side in enumerate((-1, 1)):
        off = side * (y - wall) / 2
        part.box(f"ring_x{i}", (axis + off, 0, 0), (wall, y, z), "main", density)
        part.box(f"ring_y{i}", (axis, off, 0), (bore, wall, z), "main", density)
    _add_handle(part, axis + y / 2)


def _build_round_nut(part: Part) -> None:
    (_, y, z), params = part.obj.size, part.obj.params
    axis, bore, density = _nut_axis(part.obj.size), params["bore"], params["density"]
    wall = (y - bore) / 2
    width = y * np.tan(np.pi / _N_ROUND)
    for i in range(_N_ROUND):
        R = pose.yaw_to_matrix(2 * np.pi * i / _N_ROUND)
        center = R @ ((y - wall) / 2, 0, 0) + (axis, 0, 0)
        part.box(f"ring{i}", center, (wall, width, z), "main", density, R=R)
    _add_handle(part, axis + y / 2 * 0.98)


def _round_peg_keypoints(size: Vector, params: Params, joints: Joints) -> dict[str, Vector]:
    return {**middle_keypoints(size, params, joints), "pin": (0.0, 0.0, 0.0)}


def _square_peg_keypoints(size: Vector, params: Params, joints: Joints) -> dict[str, Vector]:
    x, y, z = (extent / 2 for extent in size)
    edges = _edges((0.0, 0.0, z), x, y)
    return {**_round_peg_keypoints(size, params, joints), **edges}


def _build_square_peg(part: Part) -> None:
    part.box("peg", (0, 0, 0), part.obj.size, "main")


def _build_round_peg(part: Part) -> None:
    x, y, z = (extent / 2 for extent in part.obj.size)
    part.hull("peg", circle(), [(x, y, -z), (x, y, z)], "main")


# --- needle and tripod


def _shaft_z(size: Vector, params: Params) -> float:
    """Height of a needle's shaft over the centre of its box: all of it lies on the table."""
    return (params["shaft"] - size[2]) / 2


def _needle_keypoints(size: Vector, params: Params, joints: Joints) -> dict[str, Vector]:
    x, z = size[0], _shaft_z(size, params)
    return {
        **middle_keypoints(size, params, joints),
        "middle": (0.0, 0.0, z),
        "tip": (x / 2, 0.0, z),
        "end": (-x / 2, 0.0, z),
        "handle": ((params["handle"] - x) / 2, 0.0, 0.0),
    }


def _build_needle(part: Part) -> None:
    """A heavy shaft along x, its end in a light handle: it balances near its middle."""
    (x, y, z), params = part.obj.size, part.obj.params
    length, thick = params["handle"], params["shaft"]
    middle, rest = _shaft_z(part.obj.size, params), (x - length, thick, thick)
    part.box("shaft", (length / 2, 0, middle), rest, "main", params["density"])
    part.box("handle", ((length - x) / 2, 0, 0), (length, y, z), "accent", params["lightness"])


def _ring_center(size: Vector, params: Params) -> float:
    """Height of the ring's middle over the centre of the tripod's box."""
    return size[2] / 2 - params["ring"] / 2 - params["wire"]


def _tripod_keypoints(size: Vector, params: Params, joints: Joints) -> dict[str, Vector]:
    z = _ring_center(size, params)
    return {
        **middle_keypoints(size, params, joints),
        "ring": (0.0, 0.0, z),
        "ring_front": (params["depth"] / 2, 0.0, z),
        "ring_back": (-params["depth"] / 2, 0.0, z),
    }


def _build_tripod(part: Part) -> None:
    """A ring that is open along x, on a post with three feet."""
    (x, y, z), params = part.obj.size, part.obj.params
    wire, depth, inner = params["wire"], params["depth"], params["ring"] / 2
    middle = np.array([0.0, 0.0, _ring_center(part.obj.size, params)])
    width = 2 * (inner + wire) * np.tan(np.pi / _N_RING)
    for i in range(_N_RING):
        R = pose.rotvec_to_matrix(np.array([2 * np.pi * i / _N_RING, 0.0, 0.0]))
        center = R @ (0, 0, -inner - wire / 2) + middle
        part.box(f"ring{i}", center, (depth, width, wire), "accent", R=R)
    r = params["leg"] / 2
    low, high = 0.25 * z - z / 2, middle[2] - inner - wire
    part.box("post", (0, 0, (low + high) / 2), (2 * r, 2 * r, high - low), "main")
    for i, foot in enumerate(_feet(x, y, r)):
        part.rod(f"leg{i}", (0, 0, low), (*foot, r - z / 2), r, "main")


def _feet(x: float, y: float, r: float) -> Float[np.ndarray, "3 2"]:
    """Where the feet of a tripod stand: they touch three sides of its box."""
    return np.array([(x / 2 - r, 0.0), (r - x / 2, y / 2 - r), (r - x / 2, r - y / 2)])


# --- plugs and sockets


def _pocket(part: Part, top: float, width: float, pocket: float, depth: float) -> None:
    """The upper part of a square block, around a pocket: `depth` high, up to `top`."""
    wall, density = (width - pocket) / 2, part.obj.params["density"]
    for i, side in enumerate((-1, 1)):
        off, z = side * (width - wall) / 2, top - depth / 2
        part.box(f"wall_x{i}", (off, 0, z), (wall, width, depth), "main", density)
        part.box(f"wall_y{i}", (0, off, z), (pocket, wall, depth), "main", density)


def _socket_keypoints(size: Vector, params: Params, joints: Joints) -> dict[str, Vector]:
    x, y, z = (extent / 2 for extent in size)
    return {
        **middle_keypoints(size, params, joints),
        **_edges((0.0, 0.0, z), x, y),
        "pocket": (0.0, 0.0, z - params["depth"]),
    }


def _build_socket(part: Part) -> None:
    """A block with a pocket; it stands still."""
    (x, _, z), params = part.obj.size, part.obj.params
    floor = z - params["depth"]
    part.box("floor", (0, 0, (floor - z) / 2), (x, x, floor), "main", params["density"])
    _pocket(part, z / 2, x, params["pocket"], params["depth"])


def _plug_keypoints(size: Vector, params: Params, joints: Joints) -> dict[str, Vector]:
    x, y, z = (extent / 2 for extent in size)
    return {
        **middle_keypoints(size, params, joints),
        **_edges((0.0, 0.0, z), x, y),
        "head": (0.0, 0.0, params["stem_length"] / 2),
        "pocket": (0.0, 0.0, z - params["depth"]),
    }


def _build_plug(part: Part) -> None:
    """A square head on a narrower stem; the head has a pocket for the stem of another plug."""
    (x, _, z), params = part.obj.size, part.obj.params
    density, stem, length = params["density"], params["stem"], params["stem_length"]
    part.box("stem", (0, 0, (length - z) / 2), (stem, stem, length), "accent", density)
    solid = z - length - params["depth"]
    part.box("head", (0, 0, length + (solid - z) / 2), (x, x, solid), "main", density)
    _pocket(part, z / 2, x, params["pocket"], params["depth"])


_STEEL = (0.62, 0.63, 0.65)
_BRASS = (0.78, 0.58, 0.22)
_NUT_PARAMS = {
    "handle": Param(0.032, (0.028, 0.036), "width of the handle, m"),
    **material(density=(400, 300, 800), friction=(0.35, 0.3, 0.4)),
}
_STILL = {"friction": Param(0.35, (0.3, 0.4), "sliding friction coefficient")}

SQUARE_NUT = Family(
    name="square_nut",
    words=("nut",),
    limits=((0.112, 0.080, 0.016), (0.138, 0.096, 0.026)),
    params={"bore": Param(0.0455, (0.044, 0.048), "width of the hole, m"), **_NUT_PARAMS},
    colors={"main": _BRASS, "accent": _BRASS},
    build=_build_square_nut,
    keypoints=_nut_keypoints,
)

ROUND_NUT = Family(
    name="round_nut",
    words=("nut",),
    limits=((0.125, 0.098, 0.016), (0.150, 0.118, 0.026)),
    params={"bore": Param(0.0624, (0.058, 0.066), "width of the hole, m"), **_NUT_PARAMS},
    colors={"main": _STEEL, "accent": _STEEL},
    build=_build_round_nut,
    keypoints=_nut_keypoints,
)

SQUARE_PEG = Family(
    name="square_peg",
    words=("peg",),
    limits=((0.026, 0.026, 0.09), (0.035, 0.035, 0.16)),
    params=_STILL,
    colors={"main": _BRASS},
    build=_build_square_peg,
    keypoints=_square_peg_keypoints,
    static=True,
)

ROUND_PEG = Family(
    name="round_peg",
    words=("peg",),
    limits=((0.034, 0.034, 0.09), (0.044, 0.044, 0.16)),
    params=_STILL,
    colors={"main": _STEEL},
    build=_build_round_peg,
    keypoints=_round_peg_keypoints,
    static=True,
    round=True,
)

NEEDLE = Family(
    name="needle",
    words=("bodkin",),
    limits=((0.15, 0.024, 0.024), (0.19, 0.034, 0.034)),
    params={
        "handle": Param(0.045, (0.04, 0.05), "length of the handle, m"),
        "shaft": Param(0.010, (0.008, 0.012), "thickness of the shaft, m"),
        "lightness": Param(200, (150, 300), "density of the handle, kg/m3"),
        **material(density=(2700, 2500, 3000), friction=(0.7, 0.6, 0.8)),
    },
    colors={"main": _STEEL, "accent": (0.75, 0.15, 0.12)},
    build=_build_needle,
    keypoints=_needle_keypoints,
    grasp_width=True,
)

TRIPOD = Family(
    name="tripod",
    words=("ring", "eye", "loop"),
    limits=((0.07, 0.09, 0.11), (0.12, 0.14, 0.18)),
    params={
        "ring": Param(0.042, (0.038, 0.048), "inner diameter of the ring, m"),
        "wire": Param(0.007, (0.006, 0.009), "thickness of the ring, m"),
        "depth": Param(0.024, (0.02, 0.026), "length of the ring along its axis, m"),
        "leg": Param(0.012, (0.010, 0.014), "thickness of post and legs, m"),
        **_STILL,
    },
    colors={"main": (0.22, 0.23, 0.26), "accent": (0.85, 0.55, 0.12)},
    build=_build_tripod,
    keypoints=_tripod_keypoints,
    static=True,
)

SOCKET = Family(
    name="socket",
    words=("base",),
    limits=((0.08, 0.08, 0.035), (0.13, 0.13, 0.06)),
    params={
        "pocket": Param(0.052, (0.051, 0.054), "width of the pocket, m"),
        "depth": Param(0.028, (0.024, 0.028), "depth of the pocket, m"),
        "density": Param(900, (700, 1200), "density of the solid, kg/m3"),
        **_STILL,
    },
    colors={"main": (0.35, 0.42, 0.52)},
    build=_build_socket,
    keypoints=_socket_keypoints,
    static=True,
)

PLUG = Family(
    name="plug",
    words=("piece", "part"),
    limits=((0.048, 0.048, 0.045), (0.066, 0.066, 0.075)),
    params={
        "stem": Param(0.044, (0.030, 0.044), "width of the stem, m", structural=True),
        "stem_length": Param(0.024, (0.018, 0.026), "length of the stem, m"),
        "pocket": Param(0.038, (0.030, 0.040), "width of the pocket, m", structural=True),
        "depth": Param(0.022, (0.016, 0.026), "depth of the pocket, m"),
        **material(density=(500, 400, 700), friction=(0.5, 0.45, 0.6)),
    },
    colors={"main": (0.75, 0.55, 0.25), "accent": (0.55, 0.38, 0.18)},
    build=_build_plug,
    keypoints=_plug_keypoints,
    grasp_width=True,
)
