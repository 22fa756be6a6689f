"""Bins that stand still: a floor and four upright walls."""

from roboloop.scene.families.base import Family, Joints, Param, Params
from roboloop.scene.families.part import Part
from roboloop.scene.families.solids import middle_keypoints
from roboloop.scene.graph import Vector


def _build_bin(part: Part) -> None:
    (x, y, z), params = part.obj.size, part.obj.params
    wall, floor = params["wall"], params["floor"]
    part.box("floor", (0, 0, (floor - z) / 2), (x, y, floor), "floor")
    high = z - floor
    for i, side in enumerate((-1, 1)):
        along_x = (side * (x - wall) / 2, 0, floor / 2)
        part.box(f"wall_x{i}", along_x, (wall, y, high), "main")
        along_y = (0, side * (y - wall) / 2, floor / 2)
        part.box(f"wall_y{i}", along_y, (x - 2 * wall, wall, high), "main")


def _bin_keypoints(size: Vector, params: Params, joints: Joints) -> dict[str, Vector]:
    inside = (0.0, 0.0, params["floor"] - size[2] / 2)
    rim = (0.0, size[1] / 2, size[2] / 2)
    return {**middle_keypoints(size, params, joints), "inside": inside, "rim": rim}


BIN = Family(
    name="bin",
    words=("compartment",),
    limits=((0.15, 0.15, 0.03), (0.50, 0.60, 0.15)),
    params={
        "wall": Param(0.008, (0.006, 0.010), "thickness of the walls, m"),
        "floor": Param(0.005, (0.004, 0.006), "thickness of the floor, m"),
        "friction": Param(0.6, (0.5, 0.7), "sliding friction coefficient"),
    },
    colors={"main": (0.70, 0.55, 0.35), "floor": (0.55, 0.42, 0.28)},
    build=_build_bin,
    keypoints=_bin_keypoints,
    static=True,
    free_aspect=True,
)
