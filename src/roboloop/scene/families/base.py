"""Family: what roboloop knows about a kind of thing, whatever its size."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from roboloop.scene.families.part import Part
from roboloop.scene.graph import Joint, Rgb, Vector

Params = Mapping[str, float]
Joints = tuple[Joint, ...]


@dataclass(frozen=True)
class Param:
    """A shape parameter: default, realistic range, meaning with unit."""

    default: float
    range: tuple[float, float]
    meaning: str
    structural: bool = False
    """Cousins keep it: it decides which parts there are."""


@dataclass(frozen=True)
class Family:
    """A parametric asset. Every object of a family has the same parts, keypoints and joints."""

    name: str
    words: tuple[str, ...]
    """What people call it, besides `name`."""
    limits: tuple[Vector, Vector]
    """Smallest and largest full extents (m) of real ones, joints closed."""
    params: dict[str, Param]
    colors: dict[str, Rgb]
    """Default colours by part."""
    build: Callable[[Part], None]
    """Adds everything but the sites of keypoints that do not move."""
    keypoints: Callable[[Vector, Params, Joints], dict[str, Vector]]
    joints: Callable[[Vector, Params], Joints] = lambda size, params: ()
    """Closed joints, for the extents of the whole (closed) thing."""
    box: Callable[[Vector, Params, Joints], tuple[Vector, Vector]] | None = None
    """For things with joints: lowest and highest corner of the whole, given the carcass's extents
    (the part that never moves), in the frame of the carcass's centre."""
    static: bool = False
    """Furniture: stands still, has no free joint."""
    wide: bool = False
    """Held by two hands: cousins lie about where and as the original does, like furniture."""
    soft: bool = False
    """A cloth: every vertex moves by itself, so it has no free joint either."""
    round: bool = False
    """Looks the same from all sides: a turn about z through its centre changes nothing."""
    sides: int = 1
    """From how many sides it looks the same, turned about the vertical; from twice as many where it
    is as long as wide."""
    rolls: bool = False
    """A ball: does not stay where it is put, only in what it is put in."""
    free_aspect: bool = False
    """x and y extents vary apart in cousins; otherwise they scale alike."""
    grasp_width: bool = False
    """A hand grasps it across its narrower horizontal side, which therefore stays narrow."""


def material(density: Vector, friction: Vector) -> dict[str, Param]:
    """Parameters of the material: (default, low, high) of density (kg/m3) and friction."""
    return {
        "density": Param(density[0], density[1:], "density of the solid, kg/m3"),
        "friction": Param(friction[0], friction[1:], "sliding friction coefficient"),
    }


def carcass_of(
    box: Callable[[Vector, Params, Joints], tuple[Vector, Vector]],
    size: Vector,
    params: Params,
    joints: Joints,
) -> tuple[Vector, Float[np.ndarray, "3"]]:
    """Find the part that never moves in the box of the whole.

    Args:
        box: `Family.box`.
        size: Full extents of the whole as it stands, m.
        params: The family's parameters.
        joints: Joints at their current values.

    Returns:
        Extents of the carcass, and its centre in the object's frame.
    """
    wanted = np.asarray(size, float)
    carcass = wanted.copy()
    low = high = np.zeros(3)
    for _ in range(40):  # extents of the whole grow 1 to 2 times as fast as the carcass's
        x, y, z = carcass
        low, high = (np.asarray(corner, float) for corner in box((x, y, z), params, joints))
        error = wanted - (high - low)
        if np.abs(error).max() < 1e-6:
            break
        carcass = np.maximum(carcass + 0.7 * error, 0.05)
    x, y, z = (float(v) for v in carcass)
    return (x, y, z), -(low + high) / 2


def box_size(
    box: Callable[[Vector, Params, Joints], tuple[Vector, Vector]],
    carcass: Vector,
    params: Params,
    joints: Joints,
) -> Vector:
    """Full extents of the whole around a carcass, as it stands."""
    low, high = box(carcass, params, joints)
    return high[0] - low[0], high[1] - low[1], high[2] - low[2]
