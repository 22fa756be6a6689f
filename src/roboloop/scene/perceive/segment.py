"""Pixels above the support, grouped into surfaces without steps in depth."""

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import sparse
from scipy.sparse import csgraph

from roboloop.scene.perceive.cloud import Cloud
from roboloop.scene.perceive.support import Plane

MIN_HEIGHT = 0.0035  # above the support, m
OUTLINE_MARGIN = 0.15  # things may stick out over the seen support by this much, m
STEP = 0.004  # largest distance of a neighbour from a pixel's tangent plane, m
STRETCH = 3.0  # largest distance of neighbours, in pixel widths on the surface seen more squarely
MIN_PIXELS = 60


def foreground(cloud: Cloud, plane: Plane) -> Bool[np.ndarray, "h w"]:
    """Pixels of things that stand over the support, and not of what lies behind it."""
    height = cloud.points[..., 2] - plane.height
    mask = cloud.valid & (height > MIN_HEIGHT)
    center = plane.hull.mean(0)
    reach = np.linalg.norm(plane.hull - center, axis=1, keepdims=True)
    grown = Plane(
        plane.height, plane.mask, center + (plane.hull - center) * (1 + OUTLINE_MARGIN / reach)
    )
    mask[mask] = grown.holds(cloud.points[mask][:, :2])
    return mask


def smooth_regions(
    cloud: Cloud,
    mask: Bool[np.ndarray, "h w"],
    p_camera: Float[np.ndarray, "3"],
    pixel_angle: float,
) -> Int[np.ndarray, "h w"]:
    """Label the regions of a mask that have no step in depth inside; 0 is outside.

    A neighbour belongs to the same region when it lies on the pixel's tangent plane, and near it.
    How near depends on how squarely the surface is seen; where only one of the two is seen edge
    on, that is an outline, not a slanted surface.
    """
    distance = np.maximum(np.linalg.norm(cloud.points - p_camera, axis=-1), 1e-6)
    view = (cloud.points - p_camera) / distance[..., None]
    facing = np.maximum(np.abs((view * cloud.normals).sum(-1)), 0.05)
    width = distance * pixel_angle
    index = np.full(mask.shape, -1)
    index[mask] = np.arange(mask.sum())
    rows, cols = [], []
    for dv, du in ((0, 1), (1, 0)):
        a = (slice(None, mask.shape[0] - dv), slice(None, mask.shape[1] - du))
        b = (slice(dv, None), slice(du, None))
        step = cloud.points[b] - cloud.points[a]
        off_a = np.abs((step * cloud.normals[a]).sum(-1))
        off_b = np.abs((step * cloud.normals[b]).sum(-1))
        limit = STRETCH * width[a] / np.maximum(facing[a], facing[b])
        joined = (np.minimum(off_a, off_b) < STEP) & (np.linalg.norm(step, axis=-1) < limit)
        joined &= mask[a] & mask[b]
        rows.append(index[a][joined])
        cols.append(index[b][joined])
    row, col = np.concatenate(rows), np.concatenate(cols)
    graph = sparse.coo_matrix((np.ones(len(row)), (row, col)), shape=(mask.sum(),) * 2)
    labels = np.zeros(mask.shape, int)
    labels[mask] = csgraph.connected_components(graph, directed=False)[1] + 1
    return drop_small(labels, 12)


def drop_small(labels: Int[np.ndarray, "h w"], least: int) -> Int[np.ndarray, "h w"]:
    """Set regions of fewer than `least` pixels to 0 and number the others from 1."""
    sizes = np.bincount(labels.ravel())
    keep = np.flatnonzero(sizes >= least)
    new = np.zeros(len(sizes), int)
    keep = keep[keep > 0]
    new[keep] = np.arange(1, len(keep) + 1)
    return new[labels]
