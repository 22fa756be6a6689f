"""Tools: hammer."""

from roboloop.scene.families.base import Family, Joints, Param, Params, material
from roboloop.scene.families.part import Part
from roboloop.scene.families.solids import middle_keypoints
from roboloop.scene.graph import Vector


def _head_length(size: Vector, params: Params) -> float:
    """How much of the hammer's length its head takes, m."""
    return params["head"] * size[0]


def _build_hammer(part: Part) -> None:
    """It lies along x, its head at +x; head and handle are as thick as it is high."""
    (x, y, z), params = part.obj.size, part.obj.params
    head = _head_length(part.obj.size, params)
    center = (x - head) / 2
    part.box("head", (center, 0, 0), (head, y, z), "main", params["density"])
    skin, face = 0.0006, 0.12 * y
    for name, side in (("face", 1), ("peen", -1)):
        p = (center, side * (y - face) / 2, 0)
        size = (head + skin, face, z + skin)
        part.box(name, p, size, "accent", touches=False)
    r = z / 2
    end = min(center, x / 2 - r)
    part.rod("handle", (r - x / 2, 0, 0), (end, 0, 0), r, "handle", params["handle_density"])


def _hammer_keypoints(size: Vector, params: Params, joints: Joints) -> dict[str, Vector]:
    head = _head_length(size, params)
    return {
        **middle_keypoints(size, params, joints),
        "handle": (-head / 2, 0.0, 0.0),
        "face": ((size[0] - head) / 2, size[1] / 2, 0.0),
    }


HAMMER = Family(
    name="hammer",
    words=("mallet", "gavel"),
    limits=((0.14, 0.05, 0.02), (0.30, 0.12, 0.04)),
    params={
        "head": Param(0.16, (0.12, 0.22), "thickness of the head, share of the length"),
        "handle_density": Param(700, (500, 900), "density of the handle, kg/m3"),
        **material(density=(3000, 2000, 4500), friction=(0.6, 0.5, 0.8)),
    },
    colors={
        "main": (0.30, 0.31, 0.33),
        "accent": (0.62, 0.63, 0.65),
        "handle": (0.70, 0.50, 0.28),
    },
    build=_build_hammer,
    keypoints=_hammer_keypoints,
    grasp_width=True,
)
