"""What a meal is cooked with: a hob, a knob that stands apart, a pot with two ears, a mat."""

from roboloop.scene.families.base import Family, Joints, Param, Params, material
from roboloop.scene.families.furniture import FIN_HOLD, add_burner, add_knob, knob_joints
from roboloop.scene.families.part import Part
from roboloop.scene.families.solids import middle_keypoints
from roboloop.scene.families.vessels import build_round_vessel, hollow_keypoints
from roboloop.scene.graph import Vector

_FRICTION = Param(0.5, (0.4, 0.65), "sliding friction coefficient")


def _build_hob(part: Part) -> None:
    """A slab with rings painted on it."""
    (x, y, z), share = part.obj.size, part.obj.params["burner"]
    part.box("slab", (0, 0, 0), (x, y, z), "main")
    add_burner(part, (0, 0, z / 2), share * min(x, y) / 2)


def _hob_keypoints(size: Vector, params: Params, joints: Joints) -> dict[str, Vector]:
    return {**middle_keypoints(size, params, joints), "burner": (0.0, 0.0, size[2] / 2)}


def _build_dial(part: Part) -> None:
    """A knob on a housing."""
    (x, y, z), share = part.obj.size, part.obj.params["housing"]
    low = share * z
    part.box("housing", (0, 0, (low - z) / 2), (x, y, low), "main")
    add_knob(part, (0, 0, low - z / 2), 0.45 * min(x, y), z - low)


def _dial_keypoints(size: Vector, params: Params, joints: Joints) -> dict[str, Vector]:
    return {**middle_keypoints(size, params, joints), "knob": (0.0, 0.0, size[2] / 2 - FIN_HOLD)}


def _build_casserole(part: Part) -> None:
    """A straight vessel; an ear on either side, along x, below the rim."""
    (x, y, z), params = part.obj.size, part.obj.params
    build_round_vessel(part, (y, y, z))
    wide, thick, root = params["ear_width"], params["ear_thickness"], y / 2 - params["wall"] / 2
    for name, side in (("ear_front", 1), ("ear_back", -1)):
        center = (side * (x / 2 + root) / 2, 0, z / 2 - 0.01 - thick / 2)
        part.box(name, center, (x / 2 - root, wide, thick), "handle", params["density"])


HOB = Family(
    name="hob",
    words=("stove", "burner", "hot plate", "cooktop"),
    limits=((0.12, 0.12, 0.015), (0.30, 0.30, 0.06)),
    params={
        "burner": Param(0.8, (0.6, 0.9), "diameter of the burner, share of the slab's width"),
        "friction": _FRICTION,
    },
    colors={"main": (0.78, 0.78, 0.78), "burner": (0.22, 0.22, 0.23)},
    build=_build_hob,
    keypoints=_hob_keypoints,
    static=True,
    free_aspect=True,
)

DIAL = Family(
    name="dial",
    words=("knob", "switch", "control"),
    limits=((0.06, 0.06, 0.05), (0.12, 0.12, 0.10)),
    params={
        "housing": Param(0.4, (0.3, 0.45), "height of the housing, share of the height"),
        "friction": _FRICTION,
    },
    colors={"main": (0.60, 0.60, 0.62), "knob": (0.70, 0.14, 0.12)},
    build=_build_dial,
    keypoints=_dial_keypoints,
    joints=knob_joints,
    static=True,
)

CASSEROLE = Family(
    name="casserole",
    sides=2,
    words=("pot", "cooking pot", "stew pot"),
    limits=((0.14, 0.11, 0.05), (0.26, 0.20, 0.12)),
    params={
        "taper": Param(0.97, (0.92, 1.0), "radius of the base, share of the rim's"),
        "wall": Param(0.003, (0.0025, 0.004), "thickness of the wall, m"),
        "ear_width": Param(0.045, (0.04, 0.06), "width of the ears, m"),
        "ear_thickness": Param(0.008, (0.006, 0.010), "thickness of the ears, m"),
        **material(density=(1800, 1500, 2200), friction=(0.5, 0.4, 0.65)),
    },
    colors={
        "main": (0.70, 0.15, 0.13),
        "accent": (0.85, 0.84, 0.80),
        "handle": (0.10, 0.10, 0.11),
    },
    build=_build_casserole,
    keypoints=lambda size, params, joints: hollow_keypoints(size),
)

MAT = Family(
    name="mat",
    words=("place mat", "placemat", "region"),
    limits=((0.08, 0.08, 0.001), (0.45, 0.35, 0.005)),
    params={"friction": _FRICTION},
    colors={"main": (0.25, 0.45, 0.25)},
    build=lambda part: part.box("body", (0, 0, 0), part.obj.size, "main"),
    keypoints=middle_keypoints,
    static=True,
    free_aspect=True,
)
