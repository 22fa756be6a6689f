"""Things that stand still: drawer cabinet, microwave, stove, rack.

The box of an object with joints is that of the whole as it stands, handles and opened drawers
included. What never moves is its *carcass*; `carcass_of` finds it in the box.
"""

import numpy as np
from jaxtyping import Float

from roboloop.scene.families.base import Family, Joints, Param, Params, carcass_of
from roboloop.scene.families.part import Part
from roboloop.scene.families.shapes import SMOOTH, circle, loft, moved
from roboloop.scene.families.solids import middle_keypoints
from roboloop.scene.graph import Joint, Vector

_GAP = 0.002  # around drawers and doors
_BOARD = 0.006  # thickness of a drawer's boards
_FRICTION = Param(0.5, (0.4, 0.65), "sliding friction coefficient")
FIN_HOLD = 0.006
"""How deep below its top a knob's fin is held, m: deeper, hands that are aslant lose it."""


def _add_carcass(part: Part, extents: Vector, p: Float[np.ndarray, "3"]) -> None:
    """A box of boards, open at the front."""
    (d, w, h), t = extents, part.obj.params["board"]
    for name, center, size in (
        ("left", (0, w / 2 - t / 2, 0), (d, t, h)),
        ("right", (0, t / 2 - w / 2, 0), (d, t, h)),
        ("back", (t / 2 - d / 2, 0, 0), (t, w - 2 * t, h)),
        ("roof", (0, 0, h / 2 - t / 2), (d, w - 2 * t, t)),
        ("base", (0, 0, t / 2 - h / 2), (d, w - 2 * t, t)),
    ):
        part.box(name, p + center, size, "main")


def _carcass_keypoints(carcass: Vector, p: Float[np.ndarray, "3"]) -> dict[str, Vector]:
    x, y, z = (float(v) for v in p)
    half = carcass[2] / 2
    return {"center": (0.0, 0.0, 0.0), "top": (x, y, z + half), "bottom": (x, y, z - half)}


# --- drawer cabinet ---


def _cabinet_box(carcass: Vector, params: Params, joints: Joints) -> tuple[Vector, Vector]:
    d, w, h = carcass
    front = d / 2 + params["board"] + params["handle_out"] + max(j.value for j in joints)
    return (-d / 2, -w / 2, -h / 2), (front, w / 2, h / 2)


def _cabinet_joints(size: Vector, params: Params) -> Joints:
    depth = size[0] - params["board"] - params["handle_out"]
    reach = round(0.75 * depth, 4)
    return tuple(
        Joint(f"drawer_{i}", "slide", (0.0, reach), 0.0) for i in range(int(params["n_drawers"]))
    )


def _drawer_heights(carcass: Vector, params: Params) -> tuple[list[float], float]:
    """Height of the middle of every drawer's front, top first, and the height of a front."""
    n, board = int(params["n_drawers"]), params["board"]
    cell = (carcass[2] - 2 * board) / n
    top = carcass[2] / 2 - board
    return [top - (i + 0.5) * cell for i in range(n)], cell - _GAP


def _build_cabinet(part: Part) -> None:
    obj = part.obj
    (d, w, h), p = carcass_of(_cabinet_box, obj.size, obj.params, obj.joints)
    t = obj.params["board"]
    heights, front = _drawer_heights((d, w, h), obj.params)
    _add_carcass(part, (d, w, h), p)
    for i, z in enumerate(heights):
        axis = (1.0, 0.0, 0.0)
        origin = p + np.array([d / 2, 0.0, z])
        drawer = part.child(f"drawer_{i}", origin, axis, damping=4.0, frictionloss=1.0)
        _build_drawer(drawer, d - t - _GAP, w, front, w - 2 * t - 2 * _GAP)
        drawer.site(f"drawer_{i}_handle", f"drawer_{i}_inside")


def _build_drawer(part: Part, depth: float, width: float, front: float, inner: float) -> None:
    """A drawer whose front starts at x = 0 and whose tray lies behind it."""
    params, t = part.obj.params, part.obj.params["board"]
    wall = 0.62 * front
    low = -front / 2
    part.box("front", (t / 2, 0, 0), (t, width - _GAP, front), "front", 500)
    part.box("floor", (-depth / 2, 0, low + _BOARD), (depth, inner, _BOARD), "inside", 500)
    z = low + wall / 2 + _BOARD / 2
    for name, side in (("left", 1), ("right", -1)):
        y = side * (inner - _BOARD) / 2
        part.box(name, (-depth / 2, y, z), (depth, _BOARD, wall), "inside", 500)
    part.box("back", (_BOARD / 2 - depth, 0, z), (_BOARD, inner, wall), "inside", 500)
    r, out = params["handle_thickness"] / 2, params["handle_out"]
    half = params["handle_length"] * width / 2
    x = t + out - r
    part.rod("handle", (x, r - half, 0), (x, half - r, 0), r, "accent", 2000)
    for name, side in (("post_left", 1), ("post_right", -1)):
        y = side * 0.8 * half
        part.box(name, (t + (out - r) / 2, y, 0), (out - r, 2 * r, 2 * r), "accent", 2000)


def _cabinet_keypoints(size: Vector, params: Params, joints: Joints) -> dict[str, Vector]:
    carcass, p = carcass_of(_cabinet_box, size, params, joints)
    d, t = carcass[0], params["board"]
    points = _carcass_keypoints(carcass, p)
    heights, front = _drawer_heights(carcass, params)
    bar = d / 2 + t + params["handle_out"] - params["handle_thickness"] / 2
    for i, (z, joint) in enumerate(zip(heights, joints, strict=True)):
        # the middle of what an opened drawer shows
        inside = d / 2 - 0.3 * d, z - front / 2 + 1.5 * _BOARD
        points[f"drawer_{i}_handle"] = (p[0] + bar + joint.value, p[1], p[2] + z)
        points[f"drawer_{i}_inside"] = (p[0] + inside[0] + joint.value, p[1], p[2] + inside[1])
    return points


# --- microwave ---


def _bar_xy(carcass: Vector, params: Params) -> tuple[float, float]:
    """Where the bar of the closed door is from the hinge, when the hinge is at +y."""
    x = params["board"] + params["handle_out"] - params["handle_thickness"] / 2
    return x, params["handle_edge"] - carcass[1]


def _microwave_box(carcass: Vector, params: Params, joints: Joints) -> tuple[Vector, Vector]:
    (d, w, h), t, r = carcass, params["board"], params["handle_thickness"] / 2
    c, s = np.cos(joints[0].value), np.sin(joints[0].value)
    door = np.array([(0, 0), (t, 0), (0, -w), (t, -w), _bar_xy(carcass, params)])
    door = door @ np.array([[c, s], [-s, c]]) + (d / 2, w / 2)
    points = np.concatenate(
        [door, door[-1] - r, door[-1] + r, [-d / 2, -w / 2, d / 2, w / 2]], None
    )
    points = points.reshape(-1, 2) * (1, params["hinge"])
    low, high = points.min(0), points.max(0)
    return (low[0], low[1], -h / 2), (high[0], high[1], h / 2)


def _microwave_joints(size: Vector, params: Params) -> Joints:
    return (Joint("door", "hinge", (0.0, 1.92), 0.0),)


def _build_microwave(part: Part) -> None:
    obj, t = part.obj, part.obj.params["board"]
    (d, w, h), p = carcass_of(_microwave_box, obj.size, obj.params, obj.joints)
    _add_carcass(part, (d, w, h), p)
    side = obj.params["hinge"]
    hinge = p + np.array([d / 2, side * w / 2, 0.0])
    door = part.child("door", hinge, (0, 0, side), damping=0.1, frictionloss=0.05)
    y, skin = -side * w / 2, 0.0008
    door.box("panel", (t / 2, y, 0), (t, w, h - _GAP), "front", 600)
    window = (skin, 0.62 * w, 0.62 * h)
    door.box("window", (t, y + side * 0.06 * w, 0), window, "window", touches=False)
    r, out = obj.params["handle_thickness"] / 2, obj.params["handle_out"]
    half = obj.params["handle_length"] * h / 2
    x, bar = _bar_xy((d, w, h), obj.params)
    bar *= side
    door.rod("handle", (x, bar, r - half), (x, bar, half - r), r, "accent", 2000)
    for name, z in (("post_up", 0.85 * half), ("post_down", -0.85 * half)):
        door.box(name, (t + (out - r) / 2, bar, z), (out - r, 2 * r, 2 * r), "accent", 2000)
    door.site("handle")


def _microwave_keypoints(size: Vector, params: Params, joints: Joints) -> dict[str, Vector]:
    carcass, p = carcass_of(_microwave_box, size, params, joints)
    (d, w, h), t, side = carcass, params["board"], params["hinge"]
    c, s = np.cos(joints[0].value), np.sin(joints[0].value)
    x, y = _bar_xy(carcass, params)
    handle = p + np.array([d / 2 + c * x - s * y, side * (w / 2 + s * x + c * y), 0.0])
    return {
        **_carcass_keypoints(carcass, p),
        "handle": (float(handle[0]), float(handle[1]), float(handle[2])),
        "hinge": (float(p[0] + d / 2), float(p[1] + side * w / 2), float(p[2])),
        "inside": (float(p[0]), float(p[1]), float(p[2] - h / 2 + t)),
    }


# --- stove ---


def _stove_layout(size: Vector, params: Params) -> tuple[float, float, float]:
    """Length and height of the slab, and x of its middle."""
    length = params["slab_length"] * size[0]
    return length, params["slab_height"] * size[2], (length - size[0]) / 2


def knob_joints(size: Vector, params: Params) -> Joints:
    """A knob that turns by most of half a turn."""
    return (Joint("knob", "hinge", (-0.5, 2.5), 0.0),)


def _build_stove(part: Part) -> None:
    size, params = part.obj.size, part.obj.params
    length, height, x = _stove_layout(size, params)
    z, reach = -size[2] / 2, size[0] - length
    part.box("slab", (x, 0, z + height / 2), (length, size[1], height), "main")
    radius = params["burner"] * min(length, size[1]) / 2
    add_burner(part, (x, 0, z + height), radius)
    unit, r = 0.5 * height, 0.42 * reach
    knob_x = size[0] / 2 - r
    neck = reach - 2 * r + 0.3 * r
    neck_x = size[0] / 2 - reach + neck / 2
    part.box("neck", (neck_x, 0, z + unit / 2), (neck, 0.8 * r, unit), "main")
    part.hull("socket", circle(), [(r, r, 0), (r, r, unit)], "knob", (knob_x, 0, z))
    add_knob(part, (knob_x, 0, z + unit), r, size[2] - unit)


def add_burner(part: Part, center: Vector, radius: float) -> None:
    """Paint rings on a slab, in place."""
    for k, share in enumerate((1.0, 0.7, 0.4)):
        ring = [(radius * share * s, radius * share * s, h) for s, h in ((1, 0), (0.9, 0.0015))]
        mesh = moved(loft(circle(SMOOTH), np.array(ring)), np.add(center, (0, 0, 1e-4 * k)))
        part.mesh(f"burner{k}", mesh, "burner" if k % 2 == 0 else "main")


def add_knob(part: Part, origin: Vector, r: float, height: float) -> None:
    """Add a disc with a fin to hold, about the vertical through `origin`, in place."""
    knob = part.child("knob", origin, (0, 0, 1), damping=0.01, frictionloss=0.02, armature=0.001)
    knob.hull("disc", circle(), [(0.8 * r, 0.8 * r, 0), (0.7 * r, 0.7 * r, 0.25 * height)], "knob")
    knob.box("fin", (0, 0, height / 2), (1.3 * r, 0.014, height), "knob", 900)
    knob.site("knob")


def _stove_keypoints(size: Vector, params: Params, joints: Joints) -> dict[str, Vector]:
    length, height, x = _stove_layout(size, params)
    z = size[2] / 2
    return {
        **middle_keypoints(size, params, joints),
        "top": (x, 0.0, height - z),
        "bottom": (x, 0.0, -z),
        "burner": (x, 0.0, height - z),
        "knob": (size[0] / 2 - 0.42 * (size[0] - length), 0.0, z - FIN_HOLD),
    }


# --- rack ---


def _build_rack(part: Part) -> None:
    (x, y, z), params = part.obj.size, part.obj.params
    t = params["board"]
    for name, side in (("left", 1), ("right", -1)):
        at = side * (y - t) / 2
        part.box(f"post_{name}", ((t - x) / 2, at, 0), (t, t, z), "accent")
        part.box(f"foot_{name}", (0, at, (t - z) / 2), (x, t, t), "accent")
    low = params["front_height"] * z
    run = np.array([x - t, 0.0, low - z + t])
    length, angle = float(np.linalg.norm(run)), np.arctan2(-run[2], run[0])
    R = np.array([[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]])
    # the rails' upper back and lower front corners stay in the box
    start = np.array([(t - x) / 2, 0.0, (z - t) / 2])
    n = int(params["n_slats"])
    for i, s in enumerate(np.linspace(0.06, 0.94, n)):
        center = start + s * run
        part.box(f"slat{i}", center, (0.55 * length / n, y - 2 * t, 0.8 * t), "main", R=R)
    for name, side in (("left", 1), ("right", -1)):
        center = start + run / 2 + (0, side * (y - t) / 2, 0)
        part.box(f"rail_{name}", center, (0.93 * length, t, 0.8 * t), "accent", R=R)


CABINET = Family(
    name="drawer_cabinet",
    words=("cabinet", "drawers", "dresser", "chest of drawers"),
    limits=((0.18, 0.18, 0.12), (0.50, 0.50, 0.60)),
    params={
        "n_drawers": Param(3, (1, 5), "number of drawers, one above the other", structural=True),
        "board": Param(0.012, (0.010, 0.016), "thickness of carcass and fronts, m"),
        "handle_out": Param(0.036, (0.032, 0.045), "how far handles stick out, m"),
        "handle_length": Param(0.45, (0.35, 0.65), "length of the bars, share of the width"),
        "handle_thickness": Param(0.011, (0.009, 0.014), "thickness of the bars, m"),
        "friction": _FRICTION,
    },
    colors={
        "main": (0.30, 0.24, 0.20),
        "front": (0.30, 0.24, 0.20),
        "inside": (0.62, 0.55, 0.45),
        "accent": (0.45, 0.45, 0.47),
    },
    build=_build_cabinet,
    keypoints=_cabinet_keypoints,
    joints=_cabinet_joints,
    box=_cabinet_box,
    static=True,
    free_aspect=True,
)

MICROWAVE = Family(
    name="microwave",
    words=("microwave oven", "oven"),
    limits=((0.20, 0.25, 0.15), (0.45, 0.55, 0.35)),
    params={
        "hinge": Param(1, (-1, 1), "side of the hinge: +1 at +y, -1 at -y", structural=True),
        "board": Param(0.016, (0.012, 0.020), "thickness of carcass and door, m"),
        "handle_out": Param(0.038, (0.034, 0.048), "how far the handle sticks out, m"),
        "handle_length": Param(0.70, (0.55, 0.85), "length of the bar, share of the height"),
        "handle_thickness": Param(0.012, (0.010, 0.015), "thickness of the bar, m"),
        "handle_edge": Param(0.030, (0.022, 0.045), "from the bar to the door's free edge, m"),
        "friction": _FRICTION,
    },
    colors={
        "main": (0.12, 0.12, 0.13),
        "front": (0.12, 0.12, 0.13),
        "window": (0.03, 0.03, 0.04),
        "accent": (0.45, 0.45, 0.47),
    },
    build=_build_microwave,
    keypoints=_microwave_keypoints,
    joints=_microwave_joints,
    box=_microwave_box,
    static=True,
    free_aspect=True,
)

STOVE = Family(
    name="stove",
    words=("cooker", "hot plate", "cooktop", "burner"),
    limits=((0.20, 0.16, 0.05), (0.45, 0.35, 0.12)),
    params={
        "slab_length": Param(0.68, (0.62, 0.75), "length of the slab, share of the x extent"),
        "slab_height": Param(0.55, (0.45, 0.62), "height of the slab, share of the height"),
        "burner": Param(0.68, (0.55, 0.80), "diameter of the burner, share of the slab's width"),
        "friction": _FRICTION,
    },
    colors={
        "main": (0.78, 0.78, 0.78),
        "burner": (0.22, 0.22, 0.23),
        "knob": (0.06, 0.06, 0.06),
    },
    build=_build_stove,
    keypoints=_stove_keypoints,
    joints=knob_joints,
    static=True,
    free_aspect=True,
)

RACK = Family(
    name="rack",
    words=("wine rack", "shelf", "stand"),
    limits=((0.18, 0.15, 0.15), (0.40, 0.40, 0.45)),
    params={
        "n_slats": Param(7, (4, 9), "number of slats", structural=True),
        "board": Param(0.016, (0.012, 0.020), "thickness of rails and slats, m"),
        "front_height": Param(0.25, (0.15, 0.40), "height of the front edge, share of the height"),
        "friction": _FRICTION,
    },
    colors={"main": (0.68, 0.54, 0.36), "accent": (0.35, 0.14, 0.09)},
    build=_build_rack,
    keypoints=middle_keypoints,
    static=True,
    free_aspect=True,
)
