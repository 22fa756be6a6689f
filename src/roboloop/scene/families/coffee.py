"""Coffee machine and pod: a cup that takes the pod, under a lid that is pushed down.

Dimensions are our own; the lid opens by as much as the published benchmark's.
"""

import numpy as np
from jaxtyping import Float

from roboloop import pose
from roboloop.scene.families.base import Family, Joints, Param, Params, carcass_of, material
from roboloop.scene.families.part import Part
from roboloop.scene.families.shapes import SMOOTH, circle, loft
from roboloop.scene.families.solids import middle_keypoints
from roboloop.scene.graph import Joint, Vector

_PLATE = 0.018
"""Thickness of the plate that the machine stands on, m."""
_LID_GAP = 0.006
"""Between the cup's rim and the closed lid, m: a pod sticks out a little."""
_OPEN = 2.2
"""How far the lid opens, rad."""
_N_RING = 12
"""Boxes of the cup's wall."""


# --- coffee machine


def _cup(carcass: Vector, params: Params) -> tuple[float, float, float]:
    """The x of the cup's axis in the frame of the carcass's centre; inner and outer radius."""
    inner = params["pocket"] / 2
    outer = inner + params["wall"]
    return carcass[0] / 2 - outer, inner, outer


def _hinge(carcass: Vector, params: Params) -> tuple[float, float]:
    """The x and z of the lid's hinge, at the tower's upper front edge."""
    d, _, h = carcass
    return params["tower"] * d - d / 2, h / 2 + _LID_GAP


def _lid_size(carcass: Vector, params: Params) -> Vector:
    """The lid covers all of the cup."""
    x, _ = _hinge(carcass, params)
    return carcass[0] / 2 - x, 2 * _cup(carcass, params)[2], params["lid"]


def _lid_turned(joints: Joints) -> Float[np.ndarray, "3 3"]:
    return pose.rotvec_to_matrix(np.array([0.0, -joints[0].value, 0.0]))


def _machine_box(carcass: Vector, params: Params, joints: Joints) -> tuple[Vector, Vector]:
    (d, w, h), (x, z) = carcass, _hinge(carcass, params)
    length, width, thick = _lid_size(carcass, params)
    corners = np.array([(a, 0.0, b) for a in (0.0, length) for b in (0.0, thick)])
    lid = corners @ _lid_turned(joints).T + (x, 0.0, z)
    low, high = lid.min(0), lid.max(0)
    side = max(w, width) / 2
    return (
        (min(-d / 2, float(low[0])), -side, -h / 2),
        (max(d / 2, float(high[0])), side, max(h / 2, float(high[2]))),
    )


def _machine_joints(size: Vector, params: Params) -> Joints:
    return (Joint("lid", "hinge", (0.0, _OPEN), 0.0),)


def _build_machine(part: Part) -> None:
    """A plate, a tower at its back, a cup in front of the tower, a lid over the cup."""
    obj, params = part.obj, part.obj.params
    carcass, p = carcass_of(_machine_box, obj.size, params, obj.joints)
    (d, w, h), (axis, inner, outer) = carcass, _cup(carcass, params)
    front = params["tower"] * d
    part.box("plate", p + (0, 0, (_PLATE - h) / 2), (d, w, _PLATE), "main")
    tall = (front, w, h - _PLATE)
    part.box("tower", p + ((front - d) / 2, 0, _PLATE / 2), tall, "main")
    high = params["depth"] + params["wall"]
    gap = axis - inner - (front - d / 2)
    neck = p + (front - d / 2 + gap / 2, 0, h / 2 - high / 2)
    part.box("neck", neck, (gap, 2 * outer, high), "main")
    part.hull(
        "floor",
        circle(),
        [(outer, outer, 0), (outer, outer, params["wall"])],
        "accent",
        p + (axis, 0, h / 2 - high),
    )
    width = 2 * outer * np.tan(np.pi / _N_RING)
    for i in range(_N_RING):
        R = pose.yaw_to_matrix(2 * np.pi * i / _N_RING)
        center = p + R @ (inner + params["wall"] / 2, 0, 0) + (axis, 0, h / 2 - high / 2)
        part.box(f"wall{i}", center, (params["wall"], width, high), "accent", R=R)
    _add_lid(part, carcass, p)


def _add_lid(part: Part, carcass: Vector, p: Float[np.ndarray, "3"]) -> None:
    """The lid stays where it is left."""
    (x, z), (length, width, thick) = (
        _hinge(carcass, part.obj.params),
        _lid_size(carcass, part.obj.params),
    )
    lid = part.child("lid", p + (x, 0, z), (0, -1, 0), damping=0.05, frictionloss=0.06)
    lid.box("plate", (length / 2, 0, thick / 2), (length, width, thick), "lid", 500)
    lid.site("lid")


def _machine_keypoints(size: Vector, params: Params, joints: Joints) -> dict[str, Vector]:
    carcass, p = carcass_of(_machine_box, size, params, joints)
    axis, _, _ = _cup(carcass, params)
    (x, z), (length, _, thick) = _hinge(carcass, params), _lid_size(carcass, params)
    half = carcass[2] / 2
    tip = p + (x, 0, z) + _lid_turned(joints) @ (0.8 * length, 0.0, thick)
    points = {
        "top": p + (axis, 0, half),
        "pocket": p + (axis, 0, half - params["depth"]),
        "bottom": p + (0, 0, -half),
        "base": p + (axis, 0, _PLATE - half),
        "lid": tip,
    }
    named: dict[str, Vector] = {"center": (0.0, 0.0, 0.0)}
    return named | {key: (float(q[0]), float(q[1]), float(q[2])) for key, q in points.items()}


# --- pod


def _build_pod(part: Part) -> None:
    """A body that is narrower at its bottom, so that it finds its way in, under a rim."""
    (x, y, z), params = (extent / 2 for extent in part.obj.size), part.obj.params
    rim, density = z - params["rim"], params["density"]
    low, high = params["base"], params["neck"]
    body = [(low * x, low * y, -z), (high * x, high * y, rim)]
    part.hull("body", circle(SMOOTH), body, "main", density=density)
    part.hull("rim", circle(SMOOTH), [(x, y, rim), (x, y, z)], "accent", density=density)
    foil, skin = 0.9, 0.0003
    part.mesh(
        "foil",
        loft(circle(SMOOTH), [(foil * x, foil * y, z), (foil * x, foil * y, z + skin)]),
        "foil",
    )


def _pod_keypoints(size: Vector, params: Params, joints: Joints) -> dict[str, Vector]:
    head = (0.0, 0.0, (size[2] - params["rim"]) / 2)
    return {**middle_keypoints(size, params, joints), "head": head}


COFFEE_MACHINE = Family(
    name="coffee_machine",
    words=("coffee maker", "espresso machine", "machine"),
    limits=((0.16, 0.09, 0.13), (0.26, 0.20, 0.28)),
    params={
        "tower": Param(0.42, (0.35, 0.48), "depth of the tower, share of the x extent"),
        "pocket": Param(0.0415, (0.0414, 0.0422), "inner diameter of the cup, m"),
        "depth": Param(0.027, (0.026, 0.028), "depth of the cup, m"),
        "wall": Param(0.006, (0.005, 0.007), "thickness of the cup's wall and floor, m"),
        "lid": Param(0.012, (0.010, 0.014), "thickness of the lid, m"),
        "friction": Param(0.35, (0.3, 0.4), "sliding friction coefficient"),
    },
    colors={
        "main": (0.16, 0.16, 0.18),
        "accent": (0.62, 0.63, 0.65),
        "lid": (0.70, 0.14, 0.12),
    },
    build=_build_machine,
    keypoints=_machine_keypoints,
    joints=_machine_joints,
    box=_machine_box,
    static=True,
)

POD = Family(
    name="pod",
    words=("coffee pod", "capsule", "coffee capsule"),
    limits=((0.044, 0.044, 0.032), (0.047, 0.047, 0.036)),
    params={
        "rim": Param(0.010, (0.009, 0.011), "height of the rim, m"),
        "neck": Param(0.88, (0.86, 0.88), "diameter of the body below the rim, share of the rim's"),
        "base": Param(0.50, (0.46, 0.52), "diameter of the base, share of the rim's"),
        **material(density=(600, 450, 800), friction=(0.5, 0.45, 0.6)),
    },
    colors={"main": (0.45, 0.26, 0.12), "accent": (0.45, 0.26, 0.12), "foil": (0.80, 0.78, 0.72)},
    build=_build_pod,
    keypoints=_pod_keypoints,
    round=True,
    grasp_width=True,
)
