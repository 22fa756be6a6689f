"""An arm and what is around it, as the solver needs it, and what a solution costs."""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Int

from roboloop import pose
from roboloop.demo.geometry import BOX, CAPSULE, CYLINDER, distances
from roboloop.kinematics import Chain, joint_frames
from roboloop.task.expression import Values

KINDS = {"box": BOX, "capsule": CAPSULE, "cylinder": CYLINDER}


@dataclass(frozen=True)
class Shapes:
    """M primitives in the world; see `geometry.approach`. Nothing is rasterised."""

    kinds: Int[np.ndarray, "M"]
    """Values of `KINDS`."""
    Ts_world_shape: Float[np.ndarray, "M 4 4"]
    sizes: Float[np.ndarray, "M 3"]

    def distance(self, p: Float[np.ndarray, "*B 3"]) -> Float[np.ndarray, "*B"]:
        """Signed distance of points to the nearest shape, m; negative inside."""
        flat = np.ascontiguousarray(p, float).reshape(-1, 3)
        found, _ = distances(self.kinds, self.Ts_world_shape, self.sizes, flat)
        return found.reshape(p.shape[:-1])


@dataclass(frozen=True)
class Weights:
    """What a sub-goal, or a path, costs."""

    collision: float
    """For every point of the body and metre that it is closer than `margin`; on a path, for every
    `step` or `turn` of it."""
    margin: float
    """m."""
    position: float
    """For the hand's way, per m."""
    rotation: float
    """For its turning, per rad."""
    posture: float = 0.0
    """For the distance from the resting posture, without the last joint, per rad."""
    downwards: float = 0.0
    """For the approach axis' departure from straight down, times 1 - cos."""
    waypoint: float = 0.0
    """For each waypoint of a path."""
    stepwise: bool = False
    """Whether a path's cost is at last summed over whole steps, as who walks it so sees it."""
    step: float = 0.02
    """m."""
    turn: float = 0.1
    """rad."""


@dataclass(frozen=True)
class Reach:
    """An arm, what it holds, and what is around it."""

    chain: Chain
    T_world_base: Float[np.ndarray, "4 4"]
    T_start: Float[np.ndarray, "4 4"]
    """Pose of the hand now, in the world."""
    q: Float[np.ndarray, "n"]
    """The arm now, or a position close to that."""
    rest: Float[np.ndarray, "n"]
    """A natural posture."""
    held: dict[str, Float[np.ndarray, "3"]]
    """Points that move with the hand, in its frame; `robot.eef` is its origin."""
    values: Values
    """All other points, and joints."""
    body: Float[np.ndarray, "P 3"]
    """Points on the hand and on what it holds, in the hand's frame."""
    shapes: Shapes
    approach: Float[np.ndarray, "3"]
    """The hand's approach axis in its frame."""
    workspace: Float[np.ndarray, "2 3"]
    """Corners of the box that the body should stay in."""

    def hand(self, q: Float[np.ndarray, "n"]) -> Float[np.ndarray, "4 4"]:
        """Pose of the hand in the world."""
        return self.T_world_base @ joint_frames(self.chain, q[None])[-1][0]

    def values_at(self, T: Float[np.ndarray, "4 4"]) -> Values:
        """Keypoints with the hand at a pose."""
        held = {name: pose.transform(T, p) for name, p in self.held.items()}
        return replace(self.values, points={**self.values.points, **held})
