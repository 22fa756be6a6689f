"""Table scenes made of parametric families: a twin without a capture, for each kind of task."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from roboloop import pose
from roboloop.errors import unknown_name
from roboloop.scene.families import FAMILIES, complete
from roboloop.scene.families.base import box_size, carcass_of
from roboloop.scene.graph import (
    Camera,
    Relation,
    Rgb,
    SceneGraph,
    SceneObject,
    Support,
    Vector,
)

PREFIX = "preset:"
"""Before a preset's name where a capture could stand."""
TABLE_Z = 0.0
LOOKS_AT = (-0.03, 0.0, 0.03)
"""A point in the middle of the camera's image, m."""


@dataclass(frozen=True)
class Thing:
    """An object of a preset, on the table or in another one."""

    category: str
    size: Vector
    xy: tuple[float, float] = (0.0, 0.0)
    """On the table, or from the keypoint `inside` of what it is in, m."""
    yaw: float = 0.0
    color: Rgb | None = None
    inside: str | None = None
    layer: int = 0
    """How many of its own heights above the inside it begins."""
    opened: tuple[str, float] | None = None
    """A joint and its value (m or rad); `size` is that with all joints closed."""


@dataclass(frozen=True)
class Preset:
    """A scene and what it is for."""

    sentence: str
    things: Mapping[str, Thing]
    n_arms: int = 1
    """How many arms it takes."""
    table: tuple[float, float] = (1.0, 1.2)
    """Full extents of the table's top, m."""
    eye: Vector = (0.75, 0.0, 0.75)
    """Where the camera is, m."""


def _beads(n: int) -> dict[str, Thing]:
    """Beads in the mug, three a layer."""
    angle = 2 * np.pi * (np.arange(n) / 3 + np.arange(n) // 3 / 6)
    xy = 0.011 * np.stack([np.cos(angle), np.sin(angle)], 1)
    return {
        f"bead_{i}": Thing(
            "bead", (0.012, 0.012, 0.012), (float(x), float(y)), inside="mug", layer=i // 3
        )
        for i, (x, y) in enumerate(xy)
    }


def _far_apart(y: float) -> dict[str, Thing]:
    """A bar on the left, a box on the right: where an arm reaches one, it misses the other."""
    return {
        "bar": Thing("bar", (0.18, 0.035, 0.035), (0.0, -y), yaw=np.pi / 2),
        "box": Thing("box", (0.20, 0.20, 0.05), (0.0, y)),
    }


_BOWL, _PLATE = Thing("bowl", (0.13, 0.13, 0.055), (0.02, 0.13)), (0.16, 0.16, 0.022)
_CABINET, _MICROWAVE = (0.25, 0.24, 0.22), (0.25, 0.32, 0.19)
_RED, _GREEN = (0.75, 0.15, 0.12), (0.15, 0.55, 0.22)

PRESETS: Mapping[str, Preset] = {
    "bowl_plate": Preset(
        "put the bowl on the plate",
        {
            "bowl": Thing("bowl", (0.115, 0.115, 0.053), (-0.03, -0.13)),
            "plate": Thing("plate", _PLATE, (0.02, 0.13)),
        },
    ),
    "box_basket": Preset(
        "put the box in the basket",
        {
            "box": Thing("box", (0.09, 0.045, 0.03), (0.0, -0.14)),
            "basket": Thing("basket", (0.22, 0.18, 0.09), (0.02, 0.14)),
        },
    ),
    "blocks": Preset(
        "stack the red block on the green block",
        {
            "block_red": Thing("box", (0.045, 0.045, 0.045), (0.0, -0.10), color=_RED),
            "block_green": Thing("box", (0.055, 0.055, 0.05), (0.0, 0.10), color=_GREEN),
        },
    ),
    "mug_bowl": Preset(
        "pour the mug into the bowl",
        {"mug": Thing("mug", (0.11, 0.085, 0.09), (-0.02, -0.15)), "bowl": _BOWL, **_beads(6)},
    ),
    "pen_holder": Preset(
        "put the pen in the holder",
        {
            "pen": Thing("pen", (0.155, 0.014, 0.014), (0.0, -0.12)),
            "holder": Thing("holder", (0.07, 0.07, 0.10), (0.0, 0.13)),
        },
    ),
    "drawers": Preset("open the top drawer", {"cabinet": Thing("drawer_cabinet", _CABINET)}),
    "drawers_open": Preset(
        "close the top drawer",
        {
            "cabinet": Thing("drawer_cabinet", _CABINET, opened=("drawer_0", 0.12)),
        },
    ),
    "microwave": Preset("open the microwave", {"microwave": Thing("microwave", _MICROWAVE)}),
    "microwave_open": Preset(
        "close the microwave",
        {"microwave": Thing("microwave", _MICROWAVE, opened=("door", 1.3))},
    ),
    "stove": Preset("turn on the stove", {"stove": Thing("stove", (0.30, 0.20, 0.075))}),
    "tray": Preset(
        "lift the tray",
        {
            "tray": Thing("serving_tray", (0.27, 0.42, 0.085)),
            "mug": Thing("mug", (0.11, 0.085, 0.09), inside="tray"),
        },
        n_arms=2,
        eye=(0.85, 0.0, 0.80),
    ),
    "handover": Preset(
        "put the bar on the box",
        _far_apart(0.47),
        n_arms=2,
        table=(1.0, 1.6),
        eye=(1.00, 0.0, 1.00),
    ),
    # for two arms that stand 0.94 m apart, ALOHA's
    "handover_small": Preset("put the bar on the box", _far_apart(0.18), n_arms=2),
    "towel": Preset("fold the towel", {"towel": Thing("towel", (0.30, 0.24, 0.003))}, n_arms=2),
    "button": Preset("press the button", {"button": Thing("button", (0.10, 0.10, 0.065))}),
}


def preset_scene(name: str) -> SceneGraph:
    """Build a preset's twin; let it settle before it is used.

    Raises:
        RoboloopError: There is no such preset; the closest name is offered.
    """
    if name not in PRESETS:
        raise unknown_name("preset", name, PRESETS)
    objects: dict[str, SceneObject] = {}
    preset = PRESETS[name]
    for key, thing in preset.things.items():
        objects[key] = _place(key, thing, objects)
    T_world_camera = pose.look_at(np.array(preset.eye), np.array(LOOKS_AT))
    T_world_support = pose.from_parts(np.array([0.0, 0.0, TABLE_Z]), np.eye(3))
    return SceneGraph(
        objects=tuple(objects.values()),
        support=Support(T_world_support, preset.table, (0.72, 0.62, 0.50)),
        camera=Camera(640, 480, 579.4, 579.4, 320.0, 240.0, T_world_camera),
        source=f"{PREFIX}{name}",
    )


def _place(name: str, thing: Thing, placed: Mapping[str, SceneObject]) -> SceneObject:
    relation = Relation("in", thing.inside) if thing.inside else Relation("on", "support")
    colors = {"main": thing.color} if thing.color else {}
    obj = complete(
        SceneObject(name, thing.category, np.eye(4), thing.size, {}, colors, relations=(relation,))
    )
    if thing.opened:
        obj = _opened(obj, *thing.opened)
    foot = np.array([0.0, 0.0, TABLE_Z])
    if thing.inside:
        carrier = placed[thing.inside]
        foot = pose.transform(carrier.T_world_obj, np.array(carrier.keypoints["inside"]))
    p = foot + np.array([*thing.xy, (0.5 + thing.layer) * obj.size[2]])
    return replace(obj, T_world_obj=pose.from_parts(p, pose.yaw_to_matrix(thing.yaw)))


def _opened(obj: SceneObject, joint: str, value: float) -> SceneObject:
    """The same thing with a joint moved: the box of the whole grows, the carcass stays."""
    box = FAMILIES[obj.category].box
    assert box is not None
    carcass, _ = carcass_of(box, obj.size, obj.params, obj.joints)
    joints = tuple(replace(j, value=value) if j.name == joint else j for j in obj.joints)
    return complete(replace(obj, size=box_size(box, carcass, obj.params, joints), joints=joints))
