"""What objects cover of the table, seen from above, and the free space between them."""

import numpy as np
from jaxtyping import Float

from roboloop import pose
from roboloop.scene.families import FAMILIES
from roboloop.scene.families.shapes import circle
from roboloop.scene.graph import SceneObject, Support

_HANDLE_WIDTH = 0.03
_SQUARE = np.array([[1.0, 1.0], [-1.0, 1.0], [-1.0, -1.0], [1.0, -1.0]])

Polygon = Float[np.ndarray, "_ 2"]
"""Corners of a convex outline in the world, counter-clockwise, m."""


def outlines(obj: SceneObject) -> list[Polygon]:
    """Convex outlines that together cover an object: a box, a disc, or a disc and a handle."""
    R, (x, y, _) = obj.T_world_obj[:3, :3], np.array(obj.size) / 2
    upright = R[2, 2] > 0.95
    if upright and FAMILIES[obj.category].round:
        local = [circle() * (x, y)]
    elif upright and "handle" in obj.keypoints and not FAMILIES[obj.category].static:
        axis = np.array(obj.keypoints["top"][:2])
        low = -x if "spout" in obj.keypoints else axis[0]
        bar = _SQUARE * ((x - low) / 2, _HANDLE_WIDTH / 2) + ((x + low) / 2, 0.0)
        local = [circle() * y + axis, bar]
    else:
        half = np.abs(pose.yaw_to_matrix(_yaw(obj)).T @ R) @ np.array(obj.size) / 2
        local = [_SQUARE * half[:2]]
    turn = pose.yaw_to_matrix(_yaw(obj))[:2, :2].T
    return [polygon @ turn + obj.T_world_obj[:2, 3] for polygon in local]


def gap(a: SceneObject, b: SceneObject) -> float:
    """Free space between two objects seen from above (m); negative when they overlap."""
    return min(_polygon_gap(p, q) for p in outlines(a) for q in outlines(b))


def overhang(obj: SceneObject, support: Support) -> float:
    """How far an object sticks out over the table's edge (m); negative inside."""
    corners = np.concatenate(outlines(obj))
    heights = np.full((len(corners), 1), support.T_world_support[2, 3])
    on_table = pose.transform(
        pose.inverse(support.T_world_support), np.concatenate([corners, heights], 1)
    )[:, :2]
    return float((np.abs(on_table) - np.array(support.size) / 2).max())


def _yaw(obj: SceneObject) -> float:
    return float(np.arctan2(obj.T_world_obj[1, 0], obj.T_world_obj[0, 0]))


def _polygon_gap(p: Polygon, q: Polygon) -> float:
    """The widest gap along any outline's edge normal (separating axis theorem)."""
    edges = np.concatenate([np.diff(r, axis=0, append=r[:1]) for r in (p, q)])
    normals = np.stack([edges[:, 1], -edges[:, 0]], -1)
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    on_p, on_q = p @ normals.T, q @ normals.T
    apart = np.maximum(on_q.min(0) - on_p.max(0), on_p.min(0) - on_q.max(0))
    return float(apart.max())
