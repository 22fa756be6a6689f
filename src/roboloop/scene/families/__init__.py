"""Parametric assets. An object is its family's name, a size and a few parameters.

Every family knows its keypoints, joints, realistic ranges and how to add itself to a MuJoCo spec:

    obj = complete(obj)                  # default parameters, joints and keypoints filled in
    cousin = sample(obj, rng)            # another one of its kind
    add_object(spec, cousin)             # body `{name}`, joints and sites `{name}/...`
"""

from dataclasses import replace

import mujoco
import numpy as np

from roboloop import pose
from roboloop.errors import RoboloopError, unknown_name
from roboloop.scene.families import (
    assembly,
    bins,
    cloth,
    coffee,
    desk,
    furniture,
    kitchen,
    sampling,
    solids,
    tools,
    two_handed,
    vessels,
)
from roboloop.scene.families.base import Family, Param
from roboloop.scene.families.part import COLLISION, VISUAL, Part
from roboloop.scene.graph import Joint, SceneObject

__all__ = ["COLLISION", "FAMILIES", "VISUAL", "Family", "Param", "add_object", "complete", "sample"]

FAMILIES: dict[str, Family] = {
    "box": solids.BOX,
    "bar": solids.BAR,
    "can": solids.CAN,
    "bottle": solids.BOTTLE,
    "bowl": vessels.BOWL,
    "plate": vessels.PLATE,
    "mug": vessels.MUG,
    "pan": vessels.PAN,
    "pot": vessels.POT,
    "basket": vessels.BASKET,
    "tray": vessels.TRAY,
    "serving_tray": two_handed.SERVING_TRAY,
    "drawer_cabinet": furniture.CABINET,
    "microwave": furniture.MICROWAVE,
    "stove": furniture.STOVE,
    "rack": furniture.RACK,
    "pen": desk.PEN,
    "holder": desk.HOLDER,
    "bead": desk.BEAD,
    "button": desk.BUTTON,
    "hammer": tools.HAMMER,
    "towel": cloth.TOWEL,
    "square_nut": assembly.SQUARE_NUT,
    "round_nut": assembly.ROUND_NUT,
    "square_peg": assembly.SQUARE_PEG,
    "round_peg": assembly.ROUND_PEG,
    "needle": assembly.NEEDLE,
    "tripod": assembly.TRIPOD,
    "socket": assembly.SOCKET,
    "plug": assembly.PLUG,
    "bin": bins.BIN,
    "coffee_machine": coffee.COFFEE_MACHINE,
    "pod": coffee.POD,
    "hob": kitchen.HOB,
    "dial": kitchen.DIAL,
    "casserole": kitchen.CASSEROLE,
    "mat": kitchen.MAT,
}


def family_of(obj: SceneObject) -> Family:
    """Return the family of an object.

    Raises:
        RoboloopError: There is no such family; the closest name is offered.
    """
    if obj.category not in FAMILIES:
        raise unknown_name("category", obj.category, FAMILIES)
    return FAMILIES[obj.category]


def complete(obj: SceneObject) -> SceneObject:
    """Fill in parameters, colours, joints and keypoints that an object does not have.

    Joints given by name keep their values; their kinds and ranges are the family's. Keypoints
    always follow from the rest. Parts usually painted like the main part take its colour.

    Raises:
        RoboloopError: The category, a parameter, a colour or a joint is unknown.
    """
    family = family_of(obj)
    for kind, given, known in (
        ("parameter", obj.params, family.params),
        ("colour", obj.colors, family.colors),
    ):
        for key in given:
            if key not in known:
                raise unknown_name(f"{kind} of `{obj.name}`", key, known)
    params = {key: p.default for key, p in family.params.items()} | obj.params
    main = obj.colors.get("main", family.colors["main"])
    usual = {k: main if c == family.colors["main"] else c for k, c in family.colors.items()}
    colors = usual | obj.colors
    joints = _complete_joints(family, obj, params)
    keypoints = family.keypoints(obj.size, params, joints)
    return replace(obj, params=params, colors=colors, joints=joints, keypoints=keypoints)


def _complete_joints(
    family: Family, obj: SceneObject, params: dict[str, float]
) -> tuple[Joint, ...]:
    values = {joint.name: joint.value for joint in obj.joints}
    size = obj.size
    if family.box is not None:  # joints are made for the closed box
        opened = [replace(j, value=values.get(j.name, 0.0)) for j in family.joints(size, params)]
        size = sampling.closed_size(family, size, params, tuple(opened))
    joints = family.joints(size, params)
    for name in values:
        if name not in (j.name for j in joints):
            raise unknown_name(f"joint of `{obj.name}`", name, (j.name for j in joints))
    for joint in joints:
        low, high = joint.range
        if not low - 1e-6 <= values.get(joint.name, 0.0) <= high + 1e-6:
            value = f"{obj.name}/{joint.name} = {values[joint.name]:.3f}"
            raise RoboloopError(f"{value} is outside of its range {low:.3f} to {high:.3f}")
    return tuple(replace(j, value=values.get(j.name, 0.0)) for j in joints)


def sample(obj: SceneObject, rng: np.random.Generator, new_colors: float = 0.0) -> SceneObject:
    """Sample a cousin of a complete object: other size, shape, colours; pose and name kept.

    Its colours are like the object's, or, with probability `new_colors`, any.
    """
    return complete(sampling.sample_object(family_of(obj), obj, rng, new_colors))


def add_object(spec: mujoco.MjSpec, obj: SceneObject) -> None:
    """Add a complete object to a spec, in place.

    Adds the body `{name}` at the object's frame, a free joint `{name}/free` unless the family is
    static or soft, and geoms, joints, moving bodies and sites called `{name}/...`.
    """
    family = family_of(obj)
    quat = pose.matrix_to_quat(obj.T_world_obj[:3, :3])
    body = spec.worldbody.add_body(name=obj.name, pos=obj.T_world_obj[:3, 3], quat=quat)
    if not (family.static or family.soft):
        body.add_freejoint(name=f"{obj.name}/free")
    part = Part(spec, body, obj, np.eye(4))
    family.build(part)
    part.site(*(key for key in obj.keypoints if spec.site(f"{obj.name}/{key}") is None))
