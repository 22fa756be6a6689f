"""Perception: a capture becomes a scene graph, by geometry and colour alone.

    perceive(capture)

1. `cloud`: depth to points and normals in the world.
2. `support`: the plane that things stand on.
3. `segment`: pixels above it, in regions without steps of depth.
4. `pieces`: regions joined to objects; who stands on whom.
5. `shape`, `furniture`, `classify`: measurements, and the family that fits them best.
6. `objects`: family, box, joints and colours of each.
"""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from roboloop import pose
from roboloop.errors import RoboloopError
from roboloop.scene.capture import Capture
from roboloop.scene.families import FAMILIES, complete
from roboloop.scene.families.sampling import closed_size
from roboloop.scene.graph import Camera, Relation, SceneGraph, SceneObject, Support
from roboloop.scene.perceive.cloud import Cloud, camera_cloud
from roboloop.scene.perceive.colors import plain_rgb
from roboloop.scene.perceive.objects import make_object
from roboloop.scene.perceive.outline import contains, hull_of
from roboloop.scene.perceive.pieces import Piece, find_pieces, inside
from roboloop.scene.perceive.segment import foreground, smooth_regions
from roboloop.scene.perceive.support import Plane, find_support, level_pose

STAGE = 1  # of random numbers
MARGIN = 0.05  # the support reaches at least this far around what stands on it, m
MAX_SUPPORT = 1.0  # how far the support reaches from the objects at most, m
HOLLOW = ("bowl", "plate", "mug", "pan", "pot", "basket", "tray", "drawer_cabinet", "microwave")


@dataclass(frozen=True)
class Seen:
    """What a capture shows before anything has a name."""

    cloud: Cloud
    """In the world."""
    camera: Camera
    plane: Plane
    pieces: list[Piece]


def see(capture: Capture, seed: int = 0) -> Seen:
    """Find the support and what stands on it; see `perceive`.

    Raises:
        RoboloopError: The view shows no plane that things stand on, or nothing on it.
    """
    cloud = camera_cloud(capture.depth, capture.camera)
    camera = capture.camera
    if not capture.posed:
        camera = replace(camera, T_world_camera=level_pose(cloud, stream(seed, 0)))
    T = camera.T_world_camera
    cloud = cloud.moved(T)
    plane = find_support(cloud, T[:3, 3])
    labels = smooth_regions(cloud, foreground(cloud, plane), T[:3, 3], 1 / camera.fx)
    pieces = find_pieces(cloud, labels, plane, T[:3, 3])
    if not pieces:
        hint = "put things on the table, inside of the image, at least 1 cm high"
        raise RoboloopError("the capture shows nothing on its support", hint)
    return Seen(cloud, camera, plane, pieces)


def perceive(capture: Capture, seed: int = 0) -> SceneGraph:
    """Reconstruct a scene from one RGB-D view.

    Args:
        capture: The view. Without a known camera pose, the world is made from the support: z up,
            origin on it below the image's centre.
        seed: Of the robust fits.

    Returns:
        The twin: what stands on the support, in metres, with categories, joints and relations.

    Raises:
        RoboloopError: The view shows no plane that things stand on, or nothing on it.
    """
    seen = see(capture, seed)
    cloud, plane, pieces = seen.cloud, seen.plane, seen.pieces
    objects = [
        make_object(piece, capture.rgb, stream(seed, i), hiding_load(i, pieces))
        for i, piece in enumerate(pieces)
    ]
    objects = with_relations(with_names(objects), pieces)
    return SceneGraph(
        objects=tuple(finished(obj) for obj in objects),
        support=make_support(cloud, plane, pieces, capture),
        camera=seen.camera,
        background=background_color(cloud, plane, pieces, capture),
        source=capture.name,
    )


def stream(seed: int, index: int) -> np.random.Generator:
    """Random numbers of one object, whatever else is in the scene."""
    return np.random.default_rng(np.random.SeedSequence([seed, STAGE, index]))


def hiding_load(i: int, pieces: list[Piece]) -> Float[np.ndarray, "2"] | None:
    """Middle of what stands on a piece and hides most of it from above, or None."""
    for load in pieces:
        if load.below == i and inside(pieces[i], load):
            xy = load.points[:, :2]
            return (xy.min(0) + xy.max(0)) / 2
    return None


def finished(obj: SceneObject) -> SceneObject:
    """Complete an object by its family; joints open as far as the family lets them."""
    family, wanted = FAMILIES[obj.category], {joint.name: joint.value for joint in obj.joints}
    closed = complete(replace(obj, joints=()))
    joints = tuple(replace(j, value=wanted.get(j.name, 0.0)) for j in closed.joints)
    for _ in range(20):  # how far a drawer opens depends on how much of the box is body
        size = closed_size(family, obj.size, closed.params, joints)
        ranges = family.joints(size, closed.params)
        joints = tuple(
            replace(r, value=float(np.clip(j.value, *r.range)))
            for j, r in zip(joints, ranges, strict=True)
        )
    return complete(replace(obj, joints=joints))


def with_names(objects: list[SceneObject]) -> list[SceneObject]:
    """Name objects by category, numbered when repeated: `bowl`, `bowl_2`."""
    seen: dict[str, int] = {}
    out = []
    for obj in objects:
        seen[obj.category] = seen.get(obj.category, 0) + 1
        number = seen[obj.category]
        out.append(replace(obj, name=obj.category if number == 1 else f"{obj.category}_{number}"))
    return out


def with_relations(objects: list[SceneObject], pieces: list[Piece]) -> list[SceneObject]:
    """Add what every object stands on, or in: inside when its base is under the other's top."""
    out = []
    for obj, piece in zip(objects, pieces, strict=True):
        target, kind = "support", "on"
        if piece.below >= 0:
            other = objects[piece.below]
            target = other.name
            top = other.T_world_obj[2, 3] + other.size[2] / 2
            sunk = other.category in HOLLOW and piece.base < top - 0.01
            kind = "in" if sunk else "on"
        out.append(replace(obj, relations=(Relation(kind, target),)))  # type: ignore[arg-type]
    return out


def make_support(cloud: Cloud, plane: Plane, pieces: list[Piece], capture: Capture) -> Support:
    """Rectangle along the world's axes around what is seen of the plane and what stands on it."""
    things = np.concatenate([piece.points[:, :2] for piece in pieces])
    low = np.minimum(plane.hull.min(0), things.min(0) - MARGIN)
    high = np.maximum(plane.hull.max(0), things.max(0) + MARGIN)
    low = np.maximum(low, things.min(0) - MAX_SUPPORT)
    high = np.minimum(high, things.max(0) + MAX_SUPPORT)
    level = min(piece.base for piece in pieces)
    center = np.array([*(low + high) / 2, level])
    return Support(
        T_world_support=pose.from_parts(center, np.eye(3)),
        size=(float(high[0] - low[0]), float(high[1] - low[1])),
        color=plain_rgb(capture.rgb[plane.mask]),
    )


def background_color(
    cloud: Cloud, plane: Plane, pieces: list[Piece], capture: Capture
) -> tuple[float, float, float]:
    """Median colour of what is neither support nor on it."""
    rest = ~plane.mask & ~np.any([piece.mask for piece in pieces], axis=0)
    inside = contains(hull_of(plane.hull), cloud.points[rest][:, :2])
    pixels = capture.rgb[rest][~inside]
    return plain_rgb(pixels) if len(pixels) > 100 else (0.5, 0.5, 0.5)
