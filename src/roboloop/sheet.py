"""Episodes below each other on a picture, a few frames of each, a line of text above."""

import io
from collections.abc import Sequence

import numpy as np
from jaxtyping import UInt8

N_COLUMNS = 5
"""Frames of an episode, evenly in time, first and last among them."""
TEXT_PX = 14
"""Height of the line above an episode."""


def columns(length: int) -> list[int]:
    """The steps of an episode that are on the sheet."""
    return np.linspace(0, length - 1, N_COLUMNS).round().astype(int).tolist()


def draw_sheet(rows: Sequence[tuple[str, Sequence[UInt8[np.ndarray, "h w 3"]]]]) -> bytes:
    """Draw episodes, each a line of text and `N_COLUMNS` frames of one size, as PNG."""
    from PIL import Image, ImageDraw

    height, width = rows[0][1][0].shape[:2]
    size = width * N_COLUMNS, (height + TEXT_PX) * len(rows)
    image = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(image)
    for i, (text, frames) in enumerate(rows):
        top = i * (height + TEXT_PX)
        draw.text((4, top + 1), text, fill="black")
        for j, frame in enumerate(frames):
            image.paste(Image.fromarray(frame), (j * width, top + TEXT_PX))
    buffer = io.BytesIO()
    image.save(buffer, "png")
    return buffer.getvalue()
