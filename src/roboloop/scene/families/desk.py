"""Small things on a desk: pen, holder, bead, push button."""

from roboloop.scene.families.base import Family, Joints, Param, Params, carcass_of, material
from roboloop.scene.families.part import Part
from roboloop.scene.families.shapes import Mesh, circle, loft, rectangle
from roboloop.scene.families.solids import middle_keypoints
from roboloop.scene.families.vessels import build_beaker, hollow_keypoints
from roboloop.scene.graph import Joint, Vector

_TRAVEL = 0.55
"""How far a button goes down, share of how far its cap stands out."""


def _build_pen(part: Part) -> None:
    """A rod along x: its tip at -x, the rest in another colour."""
    (x, y, z), density = part.obj.size, part.obj.params["density"]
    tip = part.obj.params["tip"] * x
    cone = loft(rectangle(), [(0.12 * z, 0.12 * y, 0), (z / 2, y / 2, tip)])
    lying = Mesh(cone.vertices[:, [2, 1, 0]] - (x / 2, 0, 0), cone.faces[:, ::-1])
    part.mesh("tip", lying, "accent")
    part.box("tip_box", (tip / 2 - x / 2, 0, 0), (tip, 0.5 * y, 0.5 * z), density=density)
    part.box("body", (tip / 2, 0, 0), (x - tip, y, z), "main", density)


def _pen_keypoints(size: Vector, params: Params, joints: Joints) -> dict[str, Vector]:
    ends = {"tip": (-size[0] / 2, 0.0, 0.0), "end": (size[0] / 2, 0.0, 0.0)}
    return {**middle_keypoints(size, params, joints), **ends}


def _build_bead(part: Part) -> None:
    part.ball("body", part.obj.size[0] / 2, "main", part.obj.params["density"])


def _button_height(carcass: Vector, params: Params) -> float:
    """How far the cap stands out of the housing."""
    return (1 - params["housing"]) * carcass[2]


def _button_joints(size: Vector, params: Params) -> Joints:
    return (Joint("button", "slide", (0.0, round(_TRAVEL * _button_height(size, params), 4)), 0.0),)


def _button_box(carcass: Vector, params: Params, joints: Joints) -> tuple[Vector, Vector]:
    x, y, z = (extent / 2 for extent in carcass)
    return (-x, -y, -z), (x, y, z - joints[0].value)


def _build_button(part: Part) -> None:
    """A housing whose cap slides down and stays there: friction holds it."""
    obj, params = part.obj, part.obj.params
    (x, y, z), p = carcass_of(_button_box, obj.size, params, obj.joints)
    out = _button_height((x, y, z), params)
    part.box("housing", p - (0, 0, out / 2), (x, y, z - out), "main")
    r = params["cap"] * min(x, y) / 2
    cap = part.child(
        "button", p + (0, 0, z / 2), (0, 0, -1), damping=20.0, frictionloss=4.0, armature=0.01
    )
    cap.hull("cap", circle(), [(r, r, -out), (r, r, -0.2 * out), (0.85 * r, 0.85 * r, 0)], "cap")
    cap.box("core", (0, 0, -out / 2), (0.01, 0.01, 0.8 * out), density=1000)
    cap.site("button")


def _button_keypoints(size: Vector, params: Params, joints: Joints) -> dict[str, Vector]:
    x, y, z = size[0], size[1], size[2] / 2
    return {**middle_keypoints((x, y, size[2]), params, joints), "button": (0.0, 0.0, z)}


PEN = Family(
    name="pen",
    words=("pencil", "marker", "felt tip"),
    limits=((0.12, 0.010, 0.010), (0.19, 0.016, 0.016)),
    params={
        "tip": Param(0.14, (0.08, 0.2), "length of the tip, share of the length"),
        **material(density=(900, 700, 1200), friction=(0.6, 0.5, 0.8)),
    },
    colors={"main": (0.10, 0.25, 0.65), "accent": (0.08, 0.08, 0.10)},
    build=_build_pen,
    keypoints=_pen_keypoints,
    grasp_width=True,
)

HOLDER = Family(
    name="holder",
    words=("pen holder", "pencil holder", "pen cup", "beaker"),
    limits=((0.055, 0.055, 0.08), (0.085, 0.085, 0.12)),
    params={
        "taper": Param(0.9, (0.8, 1.0), "radius of the base, share of the rim's"),
        "wall": Param(0.004, (0.0035, 0.0055), "thickness of the wall, m"),
        **material(density=(2000, 1500, 2400), friction=(0.55, 0.45, 0.7)),
    },
    colors={"main": (0.25, 0.26, 0.28), "accent": (0.15, 0.15, 0.16)},
    build=build_beaker,
    keypoints=lambda size, params, joints: hollow_keypoints(size),
    round=True,
)

BEAD = Family(
    name="bead",
    words=("ball", "marble", "pea"),
    limits=((0.012, 0.012, 0.012), (0.024, 0.024, 0.024)),
    params=material(density=(900, 700, 1200), friction=(0.5, 0.4, 0.7)),
    colors={"main": (0.85, 0.55, 0.12)},
    build=_build_bead,
    keypoints=middle_keypoints,
    round=True,
    rolls=True,
)

BUTTON = Family(
    name="button",
    words=("push button", "switch", "buzzer"),
    limits=((0.07, 0.07, 0.045), (0.13, 0.13, 0.09)),
    params={
        "housing": Param(0.6, (0.5, 0.7), "height of the housing, share of the height"),
        "cap": Param(0.6, (0.45, 0.7), "diameter of the cap, share of the housing's width"),
        "friction": Param(0.6, (0.5, 0.8), "sliding friction coefficient"),
    },
    colors={"main": (0.85, 0.80, 0.20), "cap": (0.75, 0.10, 0.10)},
    build=_build_button,
    keypoints=_button_keypoints,
    joints=_button_joints,
    box=_button_box,
    static=True,
)
