"""Things for two hands: a serving tray with a bar at either end."""

from roboloop.scene.families.base import Family, Joints, Param, Params, material
from roboloop.scene.families.part import Part
from roboloop.scene.families.vessels import build_square_vessel, hollow_keypoints
from roboloop.scene.graph import Vector

_OVERLAP = 0.012
"""How far the posts of a handle go down into the rim, m."""


def _build_serving_tray(part: Part) -> None:
    """A shallow tray, long along y; over each short side a bar stands on two posts."""
    (x, y, z), params = part.obj.size, part.obj.params
    rim, r = params["rim"], params["handle_thickness"] / 2
    build_square_vessel(part, (x, y, rim), (0.0, 0.0, (rim - z) / 2))
    half, low, bar = params["handle_length"] * x / 2, rim - z / 2 - _OVERLAP, z / 2 - r
    for name, side in (("left", 1), ("right", -1)):
        end = side * (y / 2 - r)
        start, stop = (r - half, end, bar), (half - r, end, bar)
        part.rod(f"handle_{name}", start, stop, r, "handle", params["density"])
        for i, (post, _, _) in enumerate((start, stop)):
            center, size = (post, end, (low + bar) / 2), (2 * r, 2 * r, bar - low)
            part.box(f"post_{name}_{i}", center, size, "handle", params["density"])


def _serving_tray_keypoints(size: Vector, params: Params, joints: Joints) -> dict[str, Vector]:
    """Left is +y, as seen by who stands behind it; `rim` is the +x point, between the handles."""
    r = params["handle_thickness"] / 2
    end, bar = size[1] / 2 - r, size[2] / 2 - r
    return {
        **hollow_keypoints(size),
        "rim": (size[0] / 2, 0.0, params["rim"] - size[2] / 2),
        "handle_left": (0.0, end, bar),
        "handle_right": (0.0, -end, bar),
    }


SERVING_TRAY = Family(
    name="serving_tray",
    words=("tray",),
    limits=((0.24, 0.36, 0.078), (0.30, 0.46, 0.095)),
    params={
        "taper": Param(0.93, (0.88, 0.97), "how much narrower the base is: 1 is upright"),
        "rim": Param(0.030, (0.024, 0.034), "height of the rim, m"),
        "handle_length": Param(0.55, (0.48, 0.65), "length of the handles, share of the width"),
        "handle_thickness": Param(0.012, (0.010, 0.014), "thickness of the handles, m"),
        "wall": Param(0.005, (0.004, 0.006), "thickness of the wall, m"),
        **material(density=(700, 550, 850), friction=(0.6, 0.5, 0.8)),
    },
    colors={
        "main": (0.62, 0.44, 0.27),
        "accent": (0.70, 0.52, 0.33),
        "handle": (0.20, 0.20, 0.21),
    },
    build=_build_serving_tray,
    keypoints=_serving_tray_keypoints,
    wide=True,
    free_aspect=True,
)
