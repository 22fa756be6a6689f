"""The scene graph: what a scene is, as data. `scene.json` is this record.

Frames: the world is z up. An object's frame has its origin at the centre of the object's
bounding box *as it stands* (joints at their current values, handles included), z up, +x towards
its front: the side that drawers and doors open to, or that a handle points to. `size` is the full
extent of that box along the object's axes.
"""

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from jaxtyping import Float

Rgb = tuple[float, float, float]
Vector = tuple[float, float, float]


@dataclass(frozen=True)
class Camera:
    """A pinhole camera, OpenCV axes (x right, y down, z forward), lengths in pixels and metres."""

    width: int
    height: int
    fx: float
    fy: float
    cx: float
    cy: float
    T_world_camera: Float[np.ndarray, "4 4"]


@dataclass(frozen=True)
class Joint:
    """A joint of an object: a drawer (`slide`, m), a door or knob (`hinge`, rad)."""

    name: str
    """Without the object's name: `drawer_0`, `door`, `knob`."""
    kind: Literal["slide", "hinge"]
    range: tuple[float, float]
    value: float


@dataclass(frozen=True)
class Relation:
    """`kind` says how an object stands to `target`: another object's name, or `support`."""

    kind: Literal["on", "in"]
    target: str


@dataclass(frozen=True)
class Reset:
    """Where an object may stand when an episode starts: uniform between the two limits.

    Positions are along the support's x and y from its middle, or, of what is in or on another
    object, along that object's from the keypoint that it is nearest to.
    """

    x: tuple[float, float]
    y: tuple[float, float]
    yaw: tuple[float, float] = (0.0, 0.0)
    """Of the object's frame, rad."""

    def corners(self) -> list[tuple[float, float]]:
        """The corners of the rectangle, m."""
        return [(x, y) for x in self.x for y in self.y]


@dataclass(frozen=True)
class SceneObject:
    """One object: an asset family with parameters, placed in the world."""

    name: str
    """Unique in the scene, `[a-z0-9_]+`, such as `bowl` or `plate_2`."""
    category: str
    """A key of `families.FAMILIES`."""
    T_world_obj: Float[np.ndarray, "4 4"]
    size: Vector
    params: dict[str, float]
    """Shape parameters of the family beyond `size`; missing ones get its defaults."""
    colors: dict[str, Rgb]
    """sRGB in 0..1 by part: always `main`; families add parts such as `accent`."""
    joints: tuple[Joint, ...] = ()
    keypoints: dict[str, Vector] = field(default_factory=dict)
    """Named points in the object's frame, as the family places them."""
    relations: tuple[Relation, ...] = ()
    reset: Reset | None = None
    """Where it may stand instead; a scene with any such object has no cousins of other shapes:
    it is drawn from these ranges."""


@dataclass(frozen=True)
class Support:
    """The table: a horizontal rectangle whose top is the plane that objects stand on."""

    T_world_support: Float[np.ndarray, "4 4"]
    """Origin in the middle of the top face, z up."""
    size: tuple[float, float]
    """Full extents of the top along its x and y, m."""
    color: Rgb


@dataclass(frozen=True)
class SceneGraph:
    """A scene: support, objects, the camera that saw it, its light."""

    objects: tuple[SceneObject, ...]
    support: Support
    camera: Camera
    background: Rgb = (0.5, 0.5, 0.5)
    """Colour of what lies behind the table."""
    light_direction: Vector = (0.0, 0.3, -1.0)
    """Direction in which the light shines, world frame."""
    light_intensity: float = 0.7
    source: str = ""
    """Where the scene comes from: a capture's folder name, or a parent scene and a seed."""
    seed: int | None = None
    """Seed of the cousin, None for a twin."""

    def object(self, name: str) -> SceneObject:
        """Return the object called `name`.

        Raises:
            RoboloopError: No object has this name.
        """
        from roboloop.errors import unknown_name

        for obj in self.objects:
            if obj.name == name:
                return obj
        raise unknown_name("object", name, [o.name for o in self.objects])
