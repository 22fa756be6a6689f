"""Where a dataset's cameras are, as far as that is known: `cameras.json` beside `meta/`.

A calibrated camera says where in its image a place is. LeRobot ignores the file.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float

from roboloop import pose
from roboloop.record import from_plain
from roboloop.run import read_json, write_json

FILE = "cameras.json"


@dataclass(frozen=True)
class View:
    """A calibrated camera with square images, fixed to the robot's base or to its hand."""

    parent: Literal["base", "eef"]
    T_parent_camera: Float[np.ndarray, "4 4"]
    """OpenCV axes: x right, y down, z forward."""
    fovy: float
    """Full angle of view, rad."""

    def project(
        self, p_base: Float[np.ndarray, "B P 3"], Ts_base_eef: Float[np.ndarray, "B 4 4"]
    ) -> tuple[Float[np.ndarray, "B P 2"], Bool[np.ndarray, "B P"]]:
        """Say where points are in the image: (row, column) from -1 to 1, and which are in it."""
        T = self.T_parent_camera
        Ts = Ts_base_eef @ T if self.parent == "eef" else np.broadcast_to(T, Ts_base_eef.shape)
        p = pose.transform(pose.inverse(Ts)[:, None], p_base)
        depth = np.maximum(p[..., 2:], 1e-3)
        image = p[..., 1::-1] / (depth * np.tan(self.fovy / 2))
        return image, (p[..., 2] > 0) & (np.abs(image) < 1).all(-1)


def write_views(folder: Path, views: dict[str, View]) -> None:
    """Write the cameras of a dataset, by camera name."""
    write_json(folder / FILE, views)


def read_views(folder: Path) -> dict[str, View]:
    """Read the cameras of a dataset; none where nobody has calibrated them."""
    path = folder / FILE
    if not path.exists():
        return {}
    return {name: from_plain(View, plain, name) for name, plain in read_json(path).items()}
