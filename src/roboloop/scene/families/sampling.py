"""Sample cousins of one object: same family and structure, other size, shape and colours."""

import colorsys
from dataclasses import replace

import numpy as np

from roboloop.scene.families.base import Family, Param, box_size, carcass_of
from roboloop.scene.graph import Joint, Rgb, SceneObject, Vector

SIZE_SPREAD = 0.15
ASPECT_SPREAD = 0.10
HAND_WIDTH = 0.070
"""What a hand grasps across stays narrower than this, if the original is, m."""


def sample_object(
    family: Family, obj: SceneObject, rng: np.random.Generator, new_colors: float
) -> SceneObject:
    """Sample a cousin of `obj`, with joints and box but without keypoints.

    Args:
        family: The object's family.
        obj: A complete object.
        rng: Randomness.
        new_colors: Probability of colours that have nothing to do with the original's.
    """
    params = {
        key: obj.params[key] if p.structural else _sample_param(p, obj.params[key], rng)
        for key, p in family.params.items()
    }
    colors = sample_colors(obj.colors, rng, new_colors)
    if family.box is None:
        size = _sample_size(family, obj.size, rng)
        return replace(obj, size=size, params=params, colors=colors)
    still, _ = carcass_of(family.box, obj.size, obj.params, obj.joints)
    carcass = _sample_size(family, still, rng)
    joints = family.joints(box_size(family.box, carcass, params, closed(obj.joints)), params)
    joints = tuple(_sample_value(j, old, rng) for j, old in zip(joints, obj.joints, strict=True))
    size = box_size(family.box, carcass, params, joints)
    return replace(obj, size=size, params=params, colors=colors, joints=joints)


def closed(joints: tuple[Joint, ...]) -> tuple[Joint, ...]:
    """The same joints, at 0."""
    return tuple(replace(j, value=0.0) for j in joints)


def _sample_param(param: Param, value: float, rng: np.random.Generator) -> float:
    """Half of the realistic range wide, around the original, inside the range."""
    low, high = param.range
    low, high = min(low, value), max(high, value)
    reach = 0.25 * (high - low)
    return float(rng.uniform(max(low, value - reach), min(high, value + reach)))


def _sample_size(family: Family, size: Vector, rng: np.random.Generator) -> Vector:
    scale = rng.uniform(1 - SIZE_SPREAD, 1 + SIZE_SPREAD)
    x, y, z = rng.uniform(1 - ASPECT_SPREAD, 1 + ASPECT_SPREAD, 3)
    aspect = np.array([x, y if family.free_aspect else x, x if family.rolls else z])
    old = np.asarray(size)
    low, high = np.minimum(family.limits[0], old), np.maximum(family.limits[1], old)
    new = np.clip(scale * aspect * old, low, high)
    if family.grasp_width and min(old[:2]) <= HAND_WIDTH:
        new[:2] *= min(1.0, HAND_WIDTH / min(new[:2]))
    return float(new[0]), float(new[1]), float(new[2])


def _sample_value(joint: Joint, old: Joint, rng: np.random.Generator) -> Joint:
    """Closed stays closed; open stays about as far open, as a share of the range."""
    share = old.value / old.range[1]
    if abs(share) > 0.02:
        share = np.clip(share * rng.uniform(0.9, 1.1), 0.0, 0.98)
    return replace(joint, value=float(share * joint.range[1]))


def sample_colors(
    colors: dict[str, Rgb], rng: np.random.Generator, new_colors: float
) -> dict[str, Rgb]:
    """Sample colours; parts that look alike in the original look alike in the cousin."""
    near = rng.random() >= new_colors
    drawn: dict[Rgb, Rgb] = {}
    for rgb in colors.values():
        if rgb not in drawn:
            drawn[rgb] = near_color(rgb, rng) if near else any_color(rng)
    return {key: drawn[rgb] for key, rgb in colors.items()}


def near_color(rgb: Rgb, rng: np.random.Generator) -> Rgb:
    """A colour like `rgb`, a little lighter, darker, greyer or shifted."""
    h, s, v = colorsys.rgb_to_hsv(*rgb)
    h = (h + rng.normal(0, 0.05)) % 1.0
    s, v = np.clip([s * rng.uniform(0.6, 1.4), v * rng.uniform(0.65, 1.35)], 0.0, 1.0)
    return colorsys.hsv_to_rgb(float(h), float(s), float(v))


def any_color(rng: np.random.Generator) -> Rgb:
    """Any colour of household things: a third grey, black or white."""
    grey = rng.random() < 1 / 3
    saturation = rng.uniform(0.0, 0.12) if grey else rng.uniform(0.25, 0.9)
    return colorsys.hsv_to_rgb(rng.random(), saturation, rng.uniform(0.08, 0.95))


def closed_size(
    family: Family, size: Vector, params: dict[str, float], joints: tuple[Joint, ...]
) -> Vector:
    """Box of a thing when its joints are closed, from its box as it stands."""
    if family.box is None:
        return size
    carcass, _ = carcass_of(family.box, size, params, joints)
    return box_size(family.box, carcass, params, closed(joints))
