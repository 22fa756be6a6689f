"""The support: the dominant plane that faces up near the middle of the view."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from scipy import ndimage
from scipy.spatial import ConvexHull, Delaunay

from roboloop import pose
from roboloop.errors import RoboloopError
from roboloop.scene.perceive.cloud import Cloud, regions_of

UP_TOLERANCE = 0.90  # cosine between a normal and the plane's
BAND = 0.004  # half thickness of the plane's slab of pixels, m
MIN_SHARE = 0.02  # of the image's pixels
NO_PLANE_HINT = "show a table or floor from above, with depth, near the middle of the image"


@dataclass(frozen=True)
class Plane:
    """A horizontal plane and what of it is seen."""

    height: float
    """z in the world, m."""
    mask: Bool[np.ndarray, "h w"]
    """Its pixels."""
    hull: Float[np.ndarray, "n 2"]
    """Convex outline of what is seen, world x and y."""

    def holds(self, xy: Float[np.ndarray, "n 2"]) -> Bool[np.ndarray, "n"]:
        """Tell which points lie over the seen part of the plane."""
        return Delaunay(self.hull).find_simplex(xy) >= 0


def view_weight(shape: tuple[int, int]) -> Float[np.ndarray, "h w"]:
    """Weight of pixels: 1 at the view's centre, falling to a tenth in the corners."""
    v, u = np.mgrid[-1 : 1 : shape[0] * 1j, -1 : 1 : shape[1] * 1j]
    return 1 - 0.45 * (u * u + v * v)


def level_pose(cloud: Cloud, rng: np.random.Generator) -> Float[np.ndarray, "4 4"]:
    """Find `T_world_camera` from a cloud in the camera's frame, when nobody gave it.

    The dominant plane is horizontal. z points up, the origin is the point of the plane below the
    image's centre, x points away from the camera.

    Raises:
        RoboloopError: No plane is big enough.
    """
    weight = view_weight(cloud.valid.shape) * cloud.valid * (np.abs(cloud.normals).sum(-1) > 0)
    if not weight.any():
        raise RoboloopError("the capture shows no plane", NO_PLANE_HINT)
    flat = rng.choice(weight.size, 4000, p=weight.ravel() / weight.sum())
    points, normals = cloud.points.reshape(-1, 3)[flat], cloud.normals.reshape(-1, 3)[flat]
    best, inliers = -1, None
    for i in rng.choice(len(flat), 200, replace=False):
        near = np.abs((points - points[i]) @ normals[i]) < 0.01
        near &= normals @ normals[i] > UP_TOLERANCE
        if near.sum() > best:
            best, inliers = near.sum(), near
    if inliers is None or best < 0.15 * len(flat):
        raise RoboloopError("the capture shows no plane", NO_PLANE_HINT)
    center = points[inliers].mean(0)
    up = np.linalg.svd(points[inliers] - center, full_matrices=False)[2][-1]
    up = up if up @ center < 0 else -up
    forward = np.array([0.0, 0.0, 1.0])
    x = forward - (forward @ up) * up
    if np.linalg.norm(x) < 0.05:  # looking straight down: the image's up is ahead
        x = np.array([0.0, -1.0, 0.0]) - up * -up[1]
    x /= np.linalg.norm(x)
    origin = forward * (center @ up) / (forward @ up)
    return pose.inverse(pose.from_parts(origin, np.stack([x, np.cross(up, x), up], -1)))


def find_support(cloud: Cloud, p_camera: Float[np.ndarray, "3"]) -> Plane:
    """Find the support in a cloud whose z points up.

    Its outline is that of its pixels, and of the place under the image's lower corners: what
    stands in a corner hides the support there.

    Raises:
        RoboloopError: No horizontal plane is big enough.
    """
    up = cloud.valid & (cloud.normals[..., 2] > UP_TOLERANCE)
    weight = view_weight(cloud.valid.shape) * up
    z = cloud.points[..., 2]
    if weight.sum() > 0:
        low, high = z[up].min() - 0.01, z[up].max() + 0.01
        bins = max(int((high - low) / 0.002), 1)
        count, edges = np.histogram(z[up], bins, (low, high), weights=weight[up])
        height = edges[np.argmax(ndimage.uniform_filter1d(count, 5, mode="constant"))] + 0.001
        for _ in range(3):
            height = float(np.median(z[up & (np.abs(z - height) < 2 * BAND)]))
        mask = largest_region(up & (np.abs(z - height) < BAND))
        if mask.sum() > MIN_SHARE * mask.size:
            height = float(np.median(z[mask]))
            xy = np.concatenate([cloud.points[mask][:, :2], near_corners(cloud, p_camera, height)])
            return Plane(height, mask, xy[ConvexHull(xy).vertices])
    raise RoboloopError("the capture shows no plane that things stand on", NO_PLANE_HINT)


def near_corners(
    cloud: Cloud, p_camera: Float[np.ndarray, "3"], height: float
) -> Float[np.ndarray, "n 2"]:
    """Where the rays through the image's lower corners meet the plane, world x and y."""
    corners = cloud.points[-1, (0, -1)][cloud.valid[-1, (0, -1)]]
    rays = corners - p_camera
    rays = rays[rays[:, 2] < -1e-3]
    return p_camera[:2] + rays[:, :2] * ((height - p_camera[2]) / rays[:, 2:])


def largest_region(mask: Bool[np.ndarray, "h w"]) -> Bool[np.ndarray, "h w"]:
    """Keep the connected regions of at least a tenth of the largest one's size."""
    labels, count = regions_of(ndimage.binary_opening(mask, iterations=1))
    if count == 0:
        return mask & False
    sizes = np.bincount(labels.ravel())[1:]
    keep = np.flatnonzero(sizes > 0.1 * sizes.max()) + 1
    return np.isin(labels, keep)
