"""Reading captures: every kind of bad input has its message."""

import json
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from roboloop.errors import RoboloopError
from roboloop.scene.capture import read_capture

CAMERA = {
    "width": 8,
    "height": 6,
    "fx": 7.0,
    "fy": 7.0,
    "cx": 4.0,
    "cy": 3.0,
    "T_world_camera": np.eye(4).tolist(),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A capture of 8 x 6 pixels, 1.5 m away."""
    Image.fromarray(np.full((6, 8, 3), 90, np.uint8)).save(tmp_path / "rgb.png")
    Image.fromarray(np.full((6, 8), 1500, np.uint16)).save(tmp_path / "depth_mm.png")
    write_camera(tmp_path)
    return tmp_path


def write_camera(folder: Path, **changes: object) -> None:
    record = {k: v for k, v in (CAMERA | changes).items() if v is not None}
    (folder / "camera.json").write_text(json.dumps(record))


def huge_png(side: int) -> bytes:
    """The header of a grey PNG of side x side pixels, without its pixels."""
    header = b"IHDR" + struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    crc = struct.pack(">I", zlib.crc32(header))
    empty = struct.pack(">I4sI", 0, b"IDAT", zlib.crc32(b"IDAT"))
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header + crc + empty


def test_depth_is_in_metres_and_zero_is_unknown(folder: Path) -> None:
    depth = np.full((6, 8), 1500, np.uint16)
    depth[0, 0] = 0
    Image.fromarray(depth).save(folder / "depth_mm.png")
    capture = read_capture(folder)
    assert capture.depth[0, 0] == 0
    assert capture.depth[1, 1] == pytest.approx(1.5)
    assert capture.rgb.shape == (6, 8, 3)
    assert capture.posed


def test_camera_pose_may_be_left_out(folder: Path) -> None:
    write_camera(folder, T_world_camera=None)
    capture = read_capture(folder)
    assert not capture.posed
    assert np.array_equal(capture.camera.T_world_camera, np.eye(4))


def test_a_photo_alone_says_what_is_missing(folder: Path) -> None:
    (folder / "depth_mm.png").unlink()
    with pytest.raises(RoboloopError, match=r"no depth: depth_mm.png is missing\nhint: add dep"):
        read_capture(folder)


def test_a_file_is_no_capture(folder: Path) -> None:
    with pytest.raises(RoboloopError, match="is a file, not a capture folder"):
        read_capture(folder / "rgb.png")


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(RoboloopError, match="`nowhere` does not exist"):
        read_capture(tmp_path / "nowhere")


def test_depth_of_another_size(folder: Path) -> None:
    Image.fromarray(np.full((3, 4), 1500, np.uint16)).save(folder / "depth_mm.png")
    with pytest.raises(RoboloopError, match="depth_mm.png is 4 x 3 pixels, rgb.png is 8 x 6"):
        read_capture(folder)


def test_depth_must_have_16_bits(folder: Path) -> None:
    Image.fromarray(np.full((6, 8, 3), 90, np.uint8)).save(folder / "depth_mm.png")
    with pytest.raises(RoboloopError, match="has mode RGB, not 16-bit grey"):
        read_capture(folder)


def test_empty_depth(folder: Path) -> None:
    Image.fromarray(np.zeros((6, 8), np.uint16)).save(folder / "depth_mm.png")
    with pytest.raises(RoboloopError, match="every pixel is 0"):
        read_capture(folder)


@pytest.mark.parametrize("name", ["rgb.png", "depth_mm.png"])
def test_not_an_image(folder: Path, name: str) -> None:
    (folder / name).write_text("not an image")
    with pytest.raises(RoboloopError, match=f"{name} is not an image"):
        read_capture(folder)


def test_image_cut_off(folder: Path) -> None:
    data = (folder / "rgb.png").read_bytes()
    (folder / "rgb.png").write_bytes(data[:-24])
    with pytest.raises(RoboloopError, match="rgb.png cannot be decoded"):
        read_capture(folder)


@pytest.mark.parametrize("side", [8_000, 20_000])
def test_huge_image_is_refused_from_its_header(folder: Path, side: int) -> None:
    (folder / "rgb.png").write_bytes(huge_png(side))
    with pytest.raises(RoboloopError, match=r"rgb.png is too large"):
        read_capture(folder)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"fx": 0.0}, "`fx` is 0.0, it must be above 0"),
        ({"fy": -5}, "`fy` is -5, it must be above 0"),
        ({"cx": "middle"}, "`cx` is 'middle', not a number"),
        ({"width": None}, "`width` is missing"),
        ({"width": 16}, "camera.json is for 16 x 6 pixels, rgb.png is 8 x 6"),
        ({"T_world_camera": [[1, 0], [0, 1]]}, r"has shape \(2, 2\), not \(4, 4\)"),
        ({"T_world_camera": (2 * np.eye(4)).tolist()}, "is not rigid"),
        ({"T_world_camera": np.diag([1.0, 1, -1, 1]).tolist()}, "mirrors"),
        ({"T_world_camera": "left"}, "is not a matrix of numbers"),
    ],
)
def test_camera_that_makes_no_sense(folder: Path, changes: dict, message: str) -> None:
    write_camera(folder, **changes)
    with pytest.raises(RoboloopError, match=message):
        read_capture(folder)


def test_all_camera_problems_are_reported_together(folder: Path) -> None:
    write_camera(folder, fx=0, fy=None)
    with pytest.raises(RoboloopError, match="`fx` is 0, it must be above 0; `fy` is missing"):
        read_capture(folder)


def test_camera_must_be_json(folder: Path) -> None:
    (folder / "camera.json").write_text("{")
    with pytest.raises(RoboloopError, match="camera.json is not JSON"):
        read_capture(folder)
