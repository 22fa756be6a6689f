"""What presets are made of: things of parametric families, on a table or in each other."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from roboloop import pose
from roboloop.scene.families import FAMILIES, complete
from roboloop.scene.families.base import box_size, carcass_of
from roboloop.scene.graph import (
    Camera,
    Relation,
    Reset,
    Rgb,
    SceneGraph,
    SceneObject,
    Support,
    Vector,
)

TABLE_Z = 0.0
LOOKS_AT = (-0.03, 0.0, 0.03)
"""A point in the middle of the camera's image, m."""


@dataclass(frozen=True)
class Thing:
    """An object of a preset, on the table or in another one."""

    category: str
    size: Vector
    xy: tuple[float, float] = (0.0, 0.0)
    """On the table, or from the (first) keypoint `inside` of what it is in, m."""
    yaw: float = 0.0
    color: Rgb | None = None
    inside: str | None = None
    layer: int = 0
    """How many of its own heights above the inside it begins."""
    opened: tuple[str, float] | None = None
    """A joint and its value (m or rad); `size` is that with all joints closed."""
    params: Mapping[str, float] = field(default_factory=dict)
    """Parameters of the family that are not its defaults."""
    reset: Reset | None = None
    """Where it may stand instead."""


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


def build(preset: Preset, source: str) -> SceneGraph:
    """Build a preset's twin; let it settle before it is used."""
    objects: dict[str, SceneObject] = {}
    for key, thing in preset.things.items():
        objects[key] = _place(key, thing, objects)
    T_world_camera = pose.look_at(np.array(preset.eye), np.array(LOOKS_AT))
    T_world_support = pose.from_parts(np.array([0.0, 0.0, TABLE_Z]), np.eye(3))
    return SceneGraph(
        objects=tuple(objects.values()),
        support=Support(T_world_support, preset.table, (0.72, 0.62, 0.50)),
        camera=Camera(640, 480, 579.4, 579.4, 320.0, 240.0, T_world_camera),
        source=source,
    )


def _place(name: str, thing: Thing, placed: Mapping[str, SceneObject]) -> SceneObject:
    relation = Relation("in", thing.inside) if thing.inside else Relation("on", "support")
    colors = {"main": thing.color} if thing.color else {}
    obj = complete(
        SceneObject(
            name,
            thing.category,
            np.eye(4),
            thing.size,
            dict(thing.params),
            colors,
            relations=(relation,),
            reset=thing.reset,
        )
    )
    if thing.opened:
        obj = _opened(obj, *thing.opened)
    foot = np.array([0.0, 0.0, TABLE_Z])
    if thing.inside:
        carrier = placed[thing.inside]
        key = next(key for key in carrier.keypoints if key.endswith("inside"))
        foot = pose.transform(carrier.T_world_obj, np.array(carrier.keypoints[key]))
    p = foot + np.array([*thing.xy, (0.5 + thing.layer) * obj.size[2]])
    return replace(obj, T_world_obj=pose.from_parts(p, pose.yaw_to_matrix(thing.yaw)))


def _opened(obj: SceneObject, joint: str, value: float) -> SceneObject:
    """The same thing with a joint moved: the box of the whole grows, the carcass stays."""
    box = FAMILIES[obj.category].box
    assert box is not None
    carcass, _ = carcass_of(box, obj.size, obj.params, obj.joints)
    joints = tuple(replace(j, value=value) if j.name == joint else j for j in obj.joints)
    return complete(replace(obj, size=box_size(box, carcass, obj.params, joints), joints=joints))
