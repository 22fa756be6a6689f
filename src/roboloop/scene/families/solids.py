"""Closed things a hand takes by the sides: box, bar, can, bottle."""

from roboloop.scene.families.base import Family, Joints, Param, Params, material
from roboloop.scene.families.part import Part
from roboloop.scene.families.shapes import SMOOTH, circle, loft
from roboloop.scene.graph import Vector


def middle_keypoints(size: Vector, params: Params, joints: Joints) -> dict[str, Vector]:
    """Keypoints that everything has: the centre of the box and of its top and bottom faces."""
    z = size[2] / 2
    return {"center": (0.0, 0.0, 0.0), "top": (0.0, 0.0, z), "bottom": (0.0, 0.0, -z)}


def _build_box(part: Part) -> None:
    (x, y, z), density = part.obj.size, part.obj.params["density"]
    part.box("body", (0, 0, 0), (x, y, z), "main", density)
    band, skin = part.obj.params["band"], 0.0006
    part.box("band", (0, 0, 0), (x * band, y + skin, z + skin), "accent", touches=False)


def _bar_keypoints(size: Vector, params: Params, joints: Joints) -> dict[str, Vector]:
    ends = {"end_1": (size[0] / 2, 0.0, 0.0), "end_2": (-size[0] / 2, 0.0, 0.0)}
    return {**middle_keypoints(size, params, joints), **ends}


def _build_can(part: Part) -> None:
    x, y, z = (extent / 2 for extent in part.obj.size)
    bevel = min(0.004, 0.2 * x, 0.2 * z)
    levels = [(x - bevel, y - bevel, -z), (x, y, bevel - z), (x, y, z - bevel)]
    levels.append((x - bevel, y - bevel, z))
    part.mesh("body", loft(circle(SMOOTH), levels), "accent", part.obj.params["density"])
    sleeve, skin = part.obj.params["sleeve"] * z, 0.0003
    label = loft(circle(SMOOTH), [(x + skin, y + skin, h) for h in (-sleeve, sleeve)], capped=False)
    part.mesh("label", label, "main")
    part.hull("hull", circle(), levels)


def _bottle_radii(size: Vector, params: Params) -> tuple[Vector, Vector, list[float]]:
    """Half extents of body and neck, and heights: shoulder, neck, cap, top."""
    x, y, z = (extent / 2 for extent in size)
    neck = params["neck"] * min(x, y)
    heights = [size[2] * params[key] - z for key in ("shoulder", "neck_start", "cap_start")]
    return (x, y, z), (neck, neck, z), [*heights, z]


def _build_bottle(part: Part) -> None:
    (x, y, z), (nx, ny, _), (shoulder, neck, cap, top) = _bottle_radii(
        part.obj.size, part.obj.params
    )
    base = 0.93
    levels = [(base * x, base * y, -z), (x, y, 0.004 - z), (x, y, shoulder)]
    for s, h in ((0.12, 0.3), (0.4, 0.6), (0.75, 0.85), (1.0, 1.0)):
        levels.append((x + s * (nx - x), y + s * (ny - y), shoulder + h * (neck - shoulder)))
    levels.append((nx, ny, top))
    part.mesh("body", loft(circle(SMOOTH), levels), "main", part.obj.params["density"])
    skin = 0.0008
    part.mesh(
        "cap", loft(circle(SMOOTH), [(nx + skin, ny + skin, h) for h in (cap, top)]), "accent"
    )
    low, high = part.obj.params["label_low"], part.obj.params["label_high"]
    band = [-z + s * (shoulder + z) for s in (low, high)]
    part.mesh(
        "label",
        loft(circle(SMOOTH), [(x + 0.0003, y + 0.0003, h) for h in band], capped=False),
        "label",
    )
    part.hull("hull_body", circle(), [levels[0], levels[1], levels[2]])
    part.hull("hull_shoulder", circle(), [levels[2], levels[4], levels[6]])
    part.hull("hull_neck", circle(8), [levels[6], levels[7]])


def _bottle_keypoints(size: Vector, params: Params, joints: Joints) -> dict[str, Vector]:
    _, _, (_, neck, _, top) = _bottle_radii(size, params)
    return {**middle_keypoints(size, params, joints), "neck": (0.0, 0.0, (neck + top) / 2)}


BOX = Family(
    name="box",
    sides=2,
    words=(
        "cube",
        "carton",
        "packet",
        "pack",
        "cream cheese",
        "butter",
        "pudding",
        "milk",
        "juice",
        "block",
    ),
    limits=((0.02, 0.02, 0.015), (0.30, 0.30, 0.30)),
    params={
        "band": Param(0.5, (0.25, 0.75), "width of the label around it, share of the x extent"),
        **material(density=(500, 300, 800), friction=(0.6, 0.5, 0.8)),
    },
    colors={"main": (0.25, 0.30, 0.60), "accent": (0.75, 0.78, 0.85)},
    build=_build_box,
    keypoints=middle_keypoints,
    free_aspect=True,
    grasp_width=True,
)

BAR = Family(
    name="bar",
    words=("stick", "rod", "baton", "plank"),
    limits=((0.14, 0.02, 0.02), (0.26, 0.05, 0.05)),
    params={
        "band": Param(0.3, (0.15, 0.5), "width of the label around it, share of the length"),
        **material(density=(500, 300, 800), friction=(0.6, 0.5, 0.8)),
    },
    colors={"main": (0.80, 0.62, 0.38), "accent": (0.20, 0.35, 0.55)},
    build=_build_box,
    keypoints=_bar_keypoints,
    free_aspect=True,
    grasp_width=True,
)

CAN = Family(
    name="can",
    words=("tin", "soup", "soda", "sauce"),
    limits=((0.05, 0.05, 0.05), (0.10, 0.10, 0.15)),
    params={
        "sleeve": Param(0.85, (0.6, 0.92), "height of the label, share of the height"),
        **material(density=(700, 400, 1000), friction=(0.6, 0.5, 0.8)),
    },
    colors={"main": (0.75, 0.15, 0.12), "accent": (0.75, 0.75, 0.77)},
    build=_build_can,
    keypoints=middle_keypoints,
    round=True,
    grasp_width=True,
)

BOTTLE = Family(
    name="bottle",
    words=("wine", "ketchup", "dressing", "sauce", "milk", "juice"),
    limits=((0.035, 0.035, 0.10), (0.09, 0.09, 0.32)),
    params={
        "shoulder": Param(0.58, (0.45, 0.65), "height where the body ends, share of the height"),
        "neck_start": Param(0.76, (0.70, 0.82), "height where the neck begins, share"),
        "cap_start": Param(0.88, (0.86, 0.93), "height where the cap begins, share"),
        "neck": Param(0.42, (0.30, 0.60), "neck radius, share of the smaller body radius"),
        "label_low": Param(0.25, (0.10, 0.35), "lower edge of the label, share of the body"),
        "label_high": Param(0.80, (0.55, 0.90), "upper edge of the label, share of the body"),
        **material(density=(700, 400, 1000), friction=(0.6, 0.5, 0.8)),
    },
    colors={
        "main": (0.12, 0.25, 0.14),
        "accent": (0.70, 0.60, 0.30),
        "label": (0.85, 0.82, 0.72),
    },
    build=_build_bottle,
    keypoints=_bottle_keypoints,
    round=True,
    grasp_width=True,
)
