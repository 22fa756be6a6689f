"""From a depth image to points and normals in the world, one per pixel."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import ndimage

from roboloop.scene.graph import Camera

STRIDE, REACH = 2, 2  # normals are fitted on every second pixel of a 9 x 9 window
NEAR = 0.015  # neighbours further than this share of the depth belong to another surface


@dataclass(frozen=True)
class Cloud:
    """Points and normals in one frame, as images."""

    points: Float[np.ndarray, "h w 3"]
    normals: Float[np.ndarray, "h w 3"]
    """Unit, towards the camera; 0 where unknown."""
    valid: Bool[np.ndarray, "h w"]
    """Whether the pixel has depth."""

    def moved(self, T_new_old: Float[np.ndarray, "4 4"]) -> "Cloud":
        """Return the cloud in another frame."""
        R, p = T_new_old[:3, :3], T_new_old[:3, 3]
        return Cloud(self.points @ R.T + p, self.normals @ R.T, self.valid)


def camera_cloud(depth: Float[np.ndarray, "h w"], camera: Camera) -> Cloud:
    """Back-project a depth image to the camera's frame and fit normals."""
    v, u = np.mgrid[: camera.height, : camera.width]
    rays = np.stack([(u + 0.5 - camera.cx) / camera.fx, (v + 0.5 - camera.cy) / camera.fy], -1)
    rays = np.concatenate([rays, np.ones((*depth.shape, 1))], -1)
    valid = depth > 0
    return Cloud(rays * depth[..., None], fit_normals(depth, rays, valid), valid)


def fit_normals(
    depth: Float[np.ndarray, "h w"],
    rays: Float[np.ndarray, "h w 3"],
    valid: Bool[np.ndarray, "h w"],
) -> Float[np.ndarray, "h w 3"]:
    """Fit a plane to the neighbours of every pixel that lie on the same surface.

    On a plane `n . p = 1` with `p = z ray`, the inverse depth `1 / z = n . ray` is linear in the
    pixel, so that the normal is a weighted linear fit in a window.
    """
    inverse = np.where(valid, 1 / np.maximum(depth, 1e-6), 0.0)
    offsets = [
        (dv * STRIDE, du * STRIDE)
        for dv in range(-REACH, REACH + 1)
        for du in range(-REACH, REACH + 1)
    ]
    sums = np.zeros((9, *depth.shape))
    for dv, du in offsets:
        value = shifted(inverse, dv, du)
        weight = (np.abs(value - inverse) < NEAR * inverse) & (value > 0)
        w = weight.astype(float)
        wd = w * (value - inverse)
        sums += np.stack(
            [w, w * du, w * dv, w * du * du, w * du * dv, w * dv * dv, wd, wd * du, wd * dv]
        )
    s, su, sv, suu, suv, svv, d, du_, dv_ = sums
    s = np.maximum(s, 1)
    a, b, c = suu - su * su / s, suv - su * sv / s, svv - sv * sv / s
    p, q = du_ - su * d / s, dv_ - sv * d / s
    det = a * c - b * b
    good = valid & (det > 1.0)
    det = np.where(good, det, 1.0)
    gu, gv = (c * p - b * q) / det, (a * q - b * p) / det  # slope of inverse depth per pixel
    fu = 1 / (rays[0, 1, 0] - rays[0, 0, 0])
    fv = 1 / (rays[1, 0, 1] - rays[0, 0, 1])
    n = np.stack([gu * fu, gv * fv, inverse - gu * fu * rays[..., 0] - gv * fv * rays[..., 1]], -1)
    length = np.linalg.norm(n, axis=-1, keepdims=True)
    return np.where(good[..., None], -n / np.maximum(length, 1e-9), 0.0)


def shifted(image: Float[np.ndarray, "h w"], dv: int, du: int) -> Float[np.ndarray, "h w"]:
    """Return `image[v + dv, u + du]` at every pixel, 0 outside."""
    out = np.zeros_like(image)
    h, w = image.shape
    out[max(-dv, 0) : h - max(dv, 0), max(-du, 0) : w - max(du, 0)] = image[
        max(dv, 0) : h - max(-dv, 0), max(du, 0) : w - max(-du, 0)
    ]
    return out


def regions_of(mask: Bool[np.ndarray, "..."]) -> tuple[Int[np.ndarray, "..."], int]:
    """Number the connected regions of a mask from 1; returns labels and their count."""
    labels = np.zeros(mask.shape, np.int32)
    ndimage.label(mask, output=labels)
    return labels, int(labels.max(initial=0))
