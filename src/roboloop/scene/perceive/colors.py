"""Colours of an object's parts from its pixels."""

import numpy as np
from jaxtyping import Num, UInt8

from roboloop.scene.graph import Rgb


def plain_rgb(pixels: Num[np.ndarray, "n 3"]) -> Rgb:
    """Median colour as sRGB in 0..1."""
    r, g, b = (round(float(v), 3) for v in np.median(pixels, axis=0) / 255)
    return r, g, b


def two_colors(rgb: UInt8[np.ndarray, "n 3"], rng: np.random.Generator) -> tuple[Rgb, Rgb]:
    """Main and second colour of pixels: two means, the larger cluster first."""
    pixels = rgb.astype(float)
    if len(pixels) > 4000:
        pixels = pixels[rng.choice(len(pixels), 4000, replace=False)]
    brightness = pixels.sum(1)
    centers = np.array([pixels[brightness.argmin()], pixels[brightness.argmax()]])
    nearest = np.zeros(len(pixels), int)
    for _ in range(12):
        nearest = np.linalg.norm(pixels[:, None] - centers, axis=-1).argmin(1)
        centers = np.array(
            [pixels[nearest == k].mean(0) if (nearest == k).any() else centers[k] for k in (0, 1)]
        )
    order = sorted((0, 1), key=lambda k: -(nearest == k).sum())
    first, second = (
        plain_rgb(pixels[nearest == k] if (nearest == k).any() else pixels) for k in order
    )
    return first, second
