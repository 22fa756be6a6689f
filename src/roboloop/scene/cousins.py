"""Digital cousins: scenes with the same objects and relations, and other everything else."""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from roboloop import pose
from roboloop.errors import RoboloopError
from roboloop.scene.carriers import carrier_of, targets_first
from roboloop.scene.families import FAMILIES, sample
from roboloop.scene.families.sampling import any_color, near_color
from roboloop.scene.footprint import gap, overhang
from roboloop.scene.graph import Camera, Rgb, SceneGraph, SceneObject, Support
from roboloop.scene.settle import displacements, settle

N_SCENE_TRIES = 30
N_PLACE_TRIES = 30
MAX_SETTLING = 0.015
"""A cousin whose objects move farther (m) when they settle is drawn again."""
MAX_TILT = np.deg2rad(5)
MAX_LEAN = np.deg2rad(20)
"""Twins' objects that lean less stand upright in cousins."""
GAP = 0.01
"""Free space between objects, unless they are closer in the twin, m."""
VIEW_MARGIN = 0.04
"""Objects' centres are this share of the image inside it, unless they are not in the twin."""
LIFT = 0.0005
"""Objects start this far above what they stand on, m."""


@dataclass(frozen=True)
class Spread:
    """How far cousins go from their twin; every value is the largest deviation to either side.

    An object that finds no free place may go up to twice as far.
    """

    xy: float = 0.06
    """Small objects along x and y of the world, m."""
    yaw: float = np.pi
    """Turn of small objects, rad."""
    furniture_xy: float = 0.03
    """Furniture, and what takes two hands."""
    furniture_yaw: float = np.deg2rad(10)
    stacked_xy: float = 0.01
    """Objects on or in another one, beside moving with it, m."""
    camera_xyz: float = 0.01
    """What a calibration of the camera is off by, m."""
    camera_angle: float = np.deg2rad(0.5)
    new_colors: float = 0.0
    """Probability that an object, or the room, gets colours unlike the twin's; 0 to 1."""


def sample_cousin(
    twin: SceneGraph, seed: np.random.SeedSequence, spread: Spread | None = None
) -> SceneGraph:
    """Sample one settled cousin: drawn again until everything fits and stays where it is.

    Raises:
        RoboloopError: None of many tries does.
    """
    rng = np.random.default_rng(seed)
    problem = "there is no room for its objects"
    for _ in range(N_SCENE_TRIES):
        cousin = make_cousin(twin, rng, spread or Spread())
        if cousin is None:
            continue
        try:
            settled = settle(cousin)
        except RoboloopError as error:
            problem = error.problem
            continue
        moved = {
            name: each
            for name, each in displacements(cousin, settled).items()
            if not FAMILIES[cousin.object(name).category].rolls
        }
        name, worst = max(moved.items(), key=lambda item: max(item[1]))
        if all(m.distance < MAX_SETTLING and m.tilt < MAX_TILT for m in moved.values()):
            return replace(settled, source=f"cousin of {twin.source}", seed=_number(seed))
        problem = f"`{name}` moves {100 * worst.distance:.1f} cm by itself"
    raise RoboloopError(
        f"no cousin of the scene comes to rest in {N_SCENE_TRIES} tries; last: {problem}",
        "is the twin itself at rest? look at its preview",
    )


def make_cousin(
    twin: SceneGraph, rng: np.random.Generator, spread: Spread | None = None
) -> SceneGraph | None:
    """Draw a cousin without physics; None when its objects found no place.

    Geometry, colours, poses, joint values (closed stays closed), table colour, background, light
    and camera vary. What is on or in another object stays there; other things keep apart, on
    the table and in view.
    """
    spread = spread or Spread()
    camera = _shake_camera(twin.camera, rng, spread)
    placed: dict[str, SceneObject] = {}
    for obj in targets_first(twin):
        cousin = sample(obj, rng, spread.new_colors)
        for i in range(N_PLACE_TRIES):
            farther = 1.0 + i / N_PLACE_TRIES
            T = _place(cousin, twin, placed, rng, spread, farther)
            candidate = replace(cousin, T_world_obj=T)
            if _fits(candidate, twin, placed, camera):
                placed[obj.name] = candidate
                break
        else:
            return None
    near = rng.random() >= spread.new_colors
    support = replace(twin.support, color=_table_color(twin.support, near, rng))
    return replace(
        twin,
        objects=tuple(placed[obj.name] for obj in twin.objects),
        support=support,
        camera=camera,
        background=near_color(twin.background, rng) if near else any_color(rng),
        light_direction=(float(rng.uniform(-0.6, 0.6)), float(rng.uniform(-0.6, 0.6)), -1.0),
        light_intensity=float(twin.light_intensity * rng.uniform(0.75, 1.2)),
    )


def _number(seed: np.random.SeedSequence) -> int:
    """What `SceneGraph.seed` says of a seed: its last index."""
    entropy = seed.entropy
    return int(entropy) if isinstance(entropy, int) else int(list(entropy or [0])[-1])


def _place(
    cousin: SceneObject,
    twin: SceneGraph,
    placed: dict[str, SceneObject],
    rng: np.random.Generator,
    spread: Spread,
    farther: float,
) -> Float[np.ndarray, "4 4"]:
    """Draw a pose for a cousin whose carrier, if any, has its place."""
    old = twin.object(cousin.name)
    family = FAMILIES[cousin.category]
    reach, turn = spread.xy, spread.yaw
    if family.static or family.wide:
        reach, turn = spread.furniture_xy, spread.furniture_yaw
    bottom_old = old.T_world_obj[2, 3] - _half_height(old.T_world_obj[:3, :3], old)
    R = pose.yaw_to_matrix(rng.uniform(-turn, turn)) @ _straightened(old)
    carrier = carrier_of(cousin)
    if carrier is None:
        xy = old.T_world_obj[:2, 3] + farther * rng.uniform(-reach, reach, 2)
        bottom = twin.support.T_world_support[2, 3]
    else:
        parent_old, parent = twin.object(carrier), placed[carrier]
        key, offset = _nearest_surface(parent_old, old.T_world_obj[:2, 3], bottom_old)
        scale = np.array(parent.size) / parent_old.size
        offset = offset * np.array([*scale[:2], 1.0])
        if family.rolls:  # away from the walls: it finds its place by itself
            offset[:2] *= 0.6
        else:
            offset[:2] += rng.uniform(-spread.stacked_xy, spread.stacked_xy, 2)
        p = pose.transform(parent.T_world_obj, np.array(parent.keypoints[key]) + offset)
        xy, bottom = p[:2], p[2]
        turned = _yaw(parent) - _yaw(parent_old)
        R = pose.yaw_to_matrix(turned) @ R
    height = bottom + _half_height(R, cousin) + (0.0 if family.static else LIFT)
    return pose.from_parts(np.array([*xy, height]), R)


def _straightened(obj: SceneObject) -> Float[np.ndarray, "3 3"]:
    """Orientation of an object, upright if it only leans a little."""
    R = obj.T_world_obj[:3, :3]
    return pose.yaw_to_matrix(_yaw(obj)) if R[2, 2] > np.cos(MAX_LEAN) else R


def _nearest_surface(
    parent: SceneObject, xy: Float[np.ndarray, "2"], bottom: float
) -> tuple[str, Float[np.ndarray, "3"]]:
    """The keypoint of `parent` nearest to the bottom of what it carries; the offset from it."""
    foot = np.array([*xy, bottom])
    p_foot = pose.transform(pose.inverse(parent.T_world_obj), foot)
    surfaces = [k for k in parent.keypoints if k in ("top", "burner") or k.endswith("inside")]
    key = min(surfaces, key=lambda k: float(np.linalg.norm(p_foot - parent.keypoints[k])))
    offset = p_foot - parent.keypoints[key]
    offset[2] = max(offset[2], 0.0)
    return key, offset


def _half_height(R: Float[np.ndarray, "3 3"], obj: SceneObject) -> float:
    """Half of the vertical extent of an object's box, turned by R."""
    return float(np.abs(R[2]) @ np.array(obj.size)) / 2


def _fits(
    obj: SceneObject, twin: SceneGraph, placed: dict[str, SceneObject], camera: Camera
) -> bool:
    """Whether an object keeps apart from the others, on the table and in view."""
    if FAMILIES[obj.category].rolls:  # what it is in fits
        return True
    old, kin = twin.object(obj.name), _kin(obj, placed)
    for other in placed.values():
        if other.name in kin or obj.name in _kin(other, placed):
            continue
        both_static = FAMILIES[obj.category].static and FAMILIES[other.category].static
        needed = gap(old, twin.object(other.name)) - 0.001
        if gap(obj, other) < min(GAP, needed if both_static else max(0.0, needed)):
            return False
    if overhang(obj, twin.support) > max(overhang(old, twin.support), 0.0) + 0.002:
        return False
    return _margin(obj, camera) >= min(VIEW_MARGIN, _margin(old, twin.camera) - VIEW_MARGIN)


def _kin(obj: SceneObject, placed: dict[str, SceneObject]) -> set[str]:
    """The carriers below an object."""
    names: set[str] = set()
    carrier = carrier_of(obj)
    while carrier is not None and carrier not in names:
        names.add(carrier)
        carrier = carrier_of(placed[carrier]) if carrier in placed else None
    return names


def _yaw(obj: SceneObject) -> float:
    return float(np.arctan2(obj.T_world_obj[1, 0], obj.T_world_obj[0, 0]))


def _margin(obj: SceneObject, camera: Camera) -> float:
    """How far an object's centre is from the image's nearest edge, as a share; negative outside."""
    x, y, z = pose.transform(pose.inverse(camera.T_world_camera), obj.T_world_obj[:3, 3])
    if z <= 0:
        return -1.0
    u = (camera.fx * x / z + camera.cx) / camera.width
    v = (camera.fy * y / z + camera.cy) / camera.height
    return float(min(u, 1 - u, v, 1 - v))


def _shake_camera(camera: Camera, rng: np.random.Generator, spread: Spread) -> Camera:
    T = camera.T_world_camera.copy()
    T[:3, 3] += rng.uniform(-spread.camera_xyz, spread.camera_xyz, 3)
    turn = rng.uniform(-spread.camera_angle, spread.camera_angle, 3)
    T[:3, :3] = T[:3, :3] @ pose.rotvec_to_matrix(turn)
    return replace(camera, T_world_camera=T)


def _table_color(support: Support, near: bool, rng: np.random.Generator) -> Rgb:
    """Close to the twin's, or any wood or grey."""
    if near:
        return near_color(support.color, rng)
    light = rng.uniform(0.15, 0.95)
    warmth = rng.uniform(0.0, 0.45)
    return (light, light * (1 - 0.45 * warmth), light * (1 - warmth))
