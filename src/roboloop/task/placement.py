"""Where the robot's base stands: within reach of the task, away from everything else."""

from itertools import product

import numpy as np
from jaxtyping import Float

from roboloop import pose
from roboloop.errors import RoboloopError
from roboloop.robot import Robot
from roboloop.scene.graph import SceneGraph
from roboloop.station import Station

TRIES = ((0.0, 0.5), (0.05, 0.5), (0.10, 0.2), (0.15, 0.2))
"""By how much a hand may have to get beyond the comfortable reach (m), and how far in front of what
opens the base stands (cosine), the first for which there is a place."""
NEAREST = 0.5
"""Where things may stand instead is no nearer than this share of the comfortable reach: nearer, an
arm is in its own way."""
BASE_RADIUS = 0.09
"""Free space that a base needs around its axis, m."""


def place_base(
    graph: SceneGraph,
    points: Float[np.ndarray, "K 3"],
    robot: Robot,
    what: str,
    front: Float[np.ndarray, "2"] | None = None,
    corners: Float[np.ndarray, "C 3"] | None = None,
) -> Float[np.ndarray, "4 4"]:
    """Choose the base pose at the height of the support, facing the task.

    Bases opposite the camera are preferred (they hide nothing), then those with all points in the
    middle of the reach.

    Args:
        graph: The scene.
        points: Where the hand has to get to, in the world, m.
        robot: Gives the reach.
        what: What the points are, for the error.
        front: Stand on this side of the first point: where doors and drawers open to.
        corners: Where the hand may have to get to too: as near to the middle of the reach as may
            be, also beyond what is comfortable, but not nearer than `NEAREST`.

    Raises:
        RoboloopError: No place has every point within reach.
    """
    points = points[:, :2]
    corners = np.zeros((0, 2)) if corners is None else corners[:, :2]
    everywhere = np.concatenate([points, corners])
    middle = everywhere.mean(0)
    camera = graph.camera.T_world_camera[:3, 3][:2] - middle
    away = np.arctan2(-camera[1], -camera[0])
    low, high = robot.reach
    best: tuple[float, np.ndarray, float] | None = None
    around = away + np.deg2rad(np.arange(-150, 151, 15))
    for (stretch, facing), angle, radius in product(TRIES, around, np.linspace(low, high, 9)):
        if best is not None and stretch > best[2]:
            break
        base = middle + radius * np.array([np.cos(angle), np.sin(angle)])
        far = np.linalg.norm(points - base, axis=1)
        if far.min() < low - stretch or far.max() > high + stretch or _blocked(base, graph):
            continue
        if front is not None and (base - points[0]) @ front < facing * far[0]:
            continue
        if np.linalg.norm(corners - base, axis=1).min(initial=low) < NEAREST * low:
            continue
        off_axis = abs((angle - away + np.pi) % (2 * np.pi) - np.pi)
        far = np.linalg.norm(everywhere - base, axis=1)
        off_middle = np.abs(far - (0.45 * low + 0.55 * high)).max() / (high - low)
        cost = off_axis + 2.0 * off_middle
        if best is None or cost < best[0]:
            best = cost, base, stretch
    if best is None:
        spread = np.linalg.norm(points - middle, axis=1).max() * 2
        raise RoboloopError(
            f"no base pose of `{robot.name}` reaches {what}: "
            f"the places are {spread:.2f} m apart, its reach is {low:.2f} to {high:.2f} m"
        )
    return _standing(graph, best[1], middle)


def place_pair(
    graph: SceneGraph,
    points: tuple[Float[np.ndarray, "K 3"], Float[np.ndarray, "L 3"]],
    station: Station,
    what: str,
) -> list[Float[np.ndarray, "4 4"]]:
    """Choose where two bases stand that face each other, at the height of the support.

    Each on the side of what it has to reach, with that in the middle of its reach as far as
    possible.

    Args:
        graph: The scene.
        points: Where each hand has to get to, in the world, m; both can get to the middle between
            the bases.
        station: Gives the reach, and how far apart the bases are.
        what: What the points are, for the error.

    Raises:
        RoboloopError: There is no such place.
    """
    own = [p[:, :2] for p in points]
    middle = np.concatenate(own).mean(0)
    ahead = own[1].mean(0) - own[0].mean(0)
    camera = graph.camera.T_world_camera[:2, 3]
    low, high = station.robot.reach
    best: tuple[float, list[np.ndarray]] | None = None
    ways = np.deg2rad(np.arange(-45, 46, 15)), np.linspace(*station.apart, 5), np.arange(-8, 9)
    for turn, apart, aside in product(*ways):
        angle = np.arctan2(ahead[1], ahead[0]) + turn
        along = np.array([np.cos(angle), np.sin(angle)])
        across = 0.06 * aside * np.array([-along[1], along[0]])
        bases = [middle + across + side * apart / 2 * along for side in (-1, 1)]
        far = [np.linalg.norm(p - b, axis=1) for p, b in zip(own, bases, strict=True)]
        far = np.concatenate([*far, [apart / 2]])
        if far.min() < low or far.max() > high or any(_blocked(b, graph) for b in bases):
            continue
        cost = np.abs(far - (low + high) / 2).max() / (high - low) + 0.3 * abs(turn)
        cost += np.linalg.norm(across) + 0.1 * np.sign((camera - middle) @ across)  # in its view
        if best is None or cost < best[0]:
            best = cost, bases
    if best is None:
        raise RoboloopError(
            f"no place of the two arms of `{station.name}` reaches {what}: "
            f"the reach of each is {low:.2f} to {high:.2f} m"
        )
    left, right = best[1]
    return [_standing(graph, left, right), _standing(graph, right, left)]


def _standing(graph: SceneGraph, base: np.ndarray, towards: np.ndarray) -> np.ndarray:
    """The pose of a base on the support that faces a place."""
    yaw = np.arctan2(*(towards - base)[::-1])
    height = graph.support.T_world_support[2, 3]
    return pose.from_parts(np.array([*base, height]), pose.yaw_to_matrix(yaw))


def _blocked(base: Float[np.ndarray, "2"], graph: SceneGraph) -> bool:
    for obj in graph.objects:
        p = pose.transform(pose.inverse(obj.T_world_obj), np.array([*base, obj.T_world_obj[2, 3]]))
        outside = np.maximum(np.abs(p[:2]) - np.array(obj.size[:2]) / 2, 0)
        if np.linalg.norm(outside) < BASE_RADIUS:
            return True
    return False
