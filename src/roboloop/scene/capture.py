"""A capture: one RGB-D view of a table, read from a folder.

The folder holds `rgb.png`, `depth_mm.png` (16 bit, millimetres along the optical axis, 0 = unknown)
and `camera.json` (`width height fx fy cx cy` in pixels, and `T_world_camera` where it is known).
"""

import json
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image, UnidentifiedImageError

from roboloop.errors import RoboloopError
from roboloop.scene.graph import Camera

MAX_PIXELS = 50_000_000
"""Larger images are refused from their header, before they are decoded."""
LAYOUT_HINT = "a capture is a folder with rgb.png, depth_mm.png (16 bit, mm) and camera.json"
DEPTH_HINT = (
    "add depth_mm.png: a 16-bit grey PNG of the same size, millimetres, 0 = unknown, as an RGB-D "
    "or stereo camera records it; scale and distance cannot be told from one photo"
)
INTRINSICS = ("width", "height", "fx", "fy", "cx", "cy")


@dataclass(frozen=True)
class Capture:
    """One RGB-D view."""

    rgb: UInt8[np.ndarray, "h w 3"]
    depth: Float[np.ndarray, "h w"]
    """Distance along the optical axis, m; 0 = unknown."""
    camera: Camera
    posed: bool = True
    """Whether `camera.T_world_camera` was given; if not it is the identity until perception."""
    name: str = "capture"


def read_capture(folder: Path | str) -> Capture:
    """Read a capture folder.

    Raises:
        RoboloopError: A file is missing, is no image, is too large, has another size than the
            others, or the camera makes no sense. Says which, and what would work.
    """
    folder = Path(folder)
    if not folder.is_dir():
        what = "is a file, not a capture folder" if folder.exists() else "does not exist"
        raise RoboloopError(f"capture `{folder.name}` {what}", LAYOUT_HINT, folder)
    if not (folder / "rgb.png").exists():
        raise RoboloopError("the capture has no rgb.png", LAYOUT_HINT, folder)
    if not (folder / "depth_mm.png").exists():
        raise RoboloopError("the capture has no depth: depth_mm.png is missing", DEPTH_HINT, folder)
    if not (folder / "camera.json").exists():
        raise RoboloopError("the capture has no camera.json", LAYOUT_HINT, folder)
    rgb = read_image(folder / "rgb.png")
    rgb = np.asarray(rgb.convert("RGB"))
    depth = read_depth(folder / "depth_mm.png")
    camera, posed = read_camera(folder / "camera.json")
    height, width = rgb.shape[:2]
    if depth.shape != (height, width):
        raise RoboloopError(
            f"depth_mm.png is {depth.shape[1]} x {depth.shape[0]} pixels, rgb.png is {width} x "
            f"{height}",
            "register the depth to the colour camera and save both at one size",
            folder,
        )
    if (camera.width, camera.height) != (width, height):
        raise RoboloopError(
            f"camera.json is for {camera.width} x {camera.height} pixels, rgb.png is {width} x "
            f"{height}",
            "scale width, height, fx, fy, cx and cy with the image",
            folder / "camera.json",
        )
    return Capture(rgb, depth, camera, posed, folder.resolve().name)


def read_image(path: Path) -> Image.Image:
    """Open and decode an image after a look at its size.

    Raises:
        RoboloopError: It is no image, is cut off, or has more than `MAX_PIXELS`.
    """
    limit = f"at most {MAX_PIXELS // 1_000_000} megapixels; scale the image and camera.json down"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path) as image:
                if image.width * image.height > MAX_PIXELS:
                    size = f"{image.width} x {image.height} pixels"
                    raise RoboloopError(f"{path.name} is too large: {size}", limit, path)
                image.load()
    except Image.DecompressionBombError as error:
        raise RoboloopError(f"{path.name} is too large: {error}", limit, path) from error
    except UnidentifiedImageError as error:
        raise RoboloopError(f"{path.name} is not an image", LAYOUT_HINT, path) from error
    except (OSError, SyntaxError) as error:
        problem = f"{path.name} cannot be decoded: {error}"
        raise RoboloopError(problem, "save it again, it may be cut off", path) from error
    return image


def read_depth(path: Path) -> Float[np.ndarray, "h w"]:
    """Read a 16-bit PNG in millimetres as metres."""
    image = read_image(path)
    if not image.mode.startswith("I"):
        raise RoboloopError(f"{path.name} has mode {image.mode}, not 16-bit grey", DEPTH_HINT, path)
    depth = np.asarray(image).astype(np.float32) / 1000
    if not (depth > 0).any():
        raise RoboloopError(f"{path.name} has no depth: every pixel is 0", DEPTH_HINT, path)
    return depth


def read_camera(path: Path) -> tuple[Camera, bool]:
    """Read `camera.json`; returns the camera and whether its pose in the world was given."""
    try:
        record = json.loads(path.read_text())
    except (ValueError, UnicodeDecodeError) as error:
        raise RoboloopError(f"camera.json is not JSON: {error}", LAYOUT_HINT, path) from error
    if not isinstance(record, dict):
        raise RoboloopError("camera.json must hold an object", LAYOUT_HINT, path)
    problems = camera_problems(record)
    if problems:
        hint = "width height fx fy cx cy in pixels, T_world_camera a rigid 4x4 pose (or left out)"
        raise RoboloopError("camera.json: " + "; ".join(problems), hint, path)
    posed = record.get("T_world_camera") is not None
    T = np.array(record["T_world_camera"], float) if posed else np.eye(4)
    width, height = int(record["width"]), int(record["height"])
    fx, fy, cx, cy = (float(record[key]) for key in INTRINSICS[2:])
    return Camera(width, height, fx, fy, cx, cy, T), posed


def camera_problems(record: dict[str, Any]) -> list[str]:
    """Say everything that is wrong with a camera record."""
    problems = []
    for key in INTRINSICS:
        value = record.get(key)
        if key not in record:
            problems.append(f"`{key}` is missing")
        elif not isinstance(value, int | float) or not np.isfinite(value):
            problems.append(f"`{key}` is {value!r}, not a number")
        elif key not in ("cx", "cy") and value <= 0:
            problems.append(f"`{key}` is {value}, it must be above 0")
    pose = record.get("T_world_camera")
    if pose is not None:
        problem = pose_problem(pose)
        if problem:
            problems.append(f"`T_world_camera` {problem}")
    return problems


def pose_problem(pose: Any) -> str | None:
    """Say why nested lists are no rigid pose, or return None."""
    try:
        T = np.array(pose, float)
    except (ValueError, TypeError):
        return "is not a matrix of numbers"
    if T.shape != (4, 4):
        return f"has shape {T.shape}, not (4, 4)"
    if not np.isfinite(T).all():
        return "is not finite"
    R = T[:3, :3]
    if np.abs(T[3] - (0, 0, 0, 1)).max() > 1e-6 or np.abs(R @ R.T - np.eye(3)).max() > 1e-3:
        return "is not rigid: its upper left 3x3 must be a rotation, its last row 0 0 0 1"
    return "mirrors: its rotation has determinant -1" if np.linalg.det(R) < 0 else None
