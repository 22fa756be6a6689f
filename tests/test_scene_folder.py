"""Scene folders: what is written is read back, opens in MuJoCo, and bad ones are refused."""

import json
from pathlib import Path
from typing import Any

import mujoco
import numpy as np
import pytest

from roboloop.errors import RoboloopError
from roboloop.record import to_plain
from roboloop.scene.compile import scene_spec
from roboloop.scene.folder import read_scene, write_scene
from scenes import bowl_and_plate, make_object, make_scene


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_scene(bowl_and_plate(), tmp_path / "scene")
    return tmp_path / "scene"


def change(folder: Path, *path: str | int, to: Any) -> None:
    """Set one field of a scene file; `...` removes it."""
    file = folder / "scene.json"
    plain = inner = json.loads(file.read_text())
    for key in path[:-1]:
        inner = inner[key]
    if to is ...:
        del inner[path[-1]]
    else:
        inner[path[-1]] = to
    file.write_text(json.dumps(plain))


def test_a_scene_is_read_back_as_it_was(tmp_path: Path) -> None:
    graph = make_scene(
        make_object("drawer_cabinet", "drawer_cabinet", (-0.2, -0.3)),
        make_object("oven", "microwave", (-0.2, 0.3), yaw=0.3),
        make_object("mug", "mug", (0.1, 0.0), yaw=-2.0),
    )
    write_scene(graph, tmp_path / "scene")
    assert to_plain(read_scene(tmp_path / "scene")) == to_plain(graph)
    assert {path.name for path in tmp_path.rglob("*")} == {"scene", "scene.json", "scene.xml"}


def test_scene_xml_is_plain_mujoco(folder: Path) -> None:
    loaded = mujoco.MjModel.from_xml_path(str(folder / "scene.xml"))
    ours = scene_spec(read_scene(folder)).compile()
    assert [loaded.geom(i).name for i in range(loaded.ngeom)] == [
        ours.geom(i).name for i in range(ours.ngeom)
    ]
    np.testing.assert_allclose(loaded.body_mass, ours.body_mass, atol=1e-4)
    np.testing.assert_allclose(loaded.qpos0, ours.qpos0, atol=1e-6)
    np.testing.assert_allclose(loaded.mesh_vert, ours.mesh_vert, atol=1e-5)
    np.testing.assert_allclose(loaded.geom_solref, ours.geom_solref)
    assert loaded.opt.timestep == ours.opt.timestep
    assert loaded.opt.cone == ours.opt.cone


@pytest.mark.parametrize(
    ("path", "to", "message"),
    [
        (("version",), 3, "scene version 3 is not 2, the one this roboloop reads"),
        (("format",), "other", "not a scene: `format` must be `roboloop-scene`"),
        (("objects", 0, "name"), "../bowl", "object name `../bowl` is not allowed"),
        (("objects", 0, "name"), "/etc/bowl", "object name `/etc/bowl` is not allowed"),
        (("objects", 0, "name"), "plate", "two objects are called `plate`"),
        (("source",), "../elsewhere", "scene.source `../elsewhere` leaves the folder"),
        (("source",), "/etc/passwd", "scene.source `/etc/passwd` leaves the folder"),
        (("objects", 0, "category"), "bowel", "category `bowel`\nhint: did you mean `bowl`"),
        (("objects", 0, "file"), "a.obj", "unknown field of scene.objects\\[0\\] `file`"),
        (("objects", 0, "size"), ..., "scene.objects\\[0\\]: field missing: size"),
        (("objects", 0, "relations"), ..., "scene.objects\\[0\\]: field missing: relations"),
        (("background",), ..., "scene: field missing: background"),
        (("objects", 0, "size"), [0.1, 0.1], "scene.objects\\[0\\].size: has 2 items, expected 3"),
        (("objects", 0, "size"), [0.1, 0.1, -1], "object `bowl`: size .* must be between"),
        (("objects", 0, "params", "wall"), ..., "object `bowl`: params lacks wall"),
        (("objects", 0, "params", "wal"), 1, "unknown parameter of `bowl` `wal`"),
        (("objects", 0, "keypoints", "rim"), [0, 0, 0], "joints or keypoints are not those of a"),
        (
            ("objects", 0, "T_world_obj", 0, 0),
            2.0,
            "object `bowl`: T_world_obj is not a rigid pose",
        ),
        (("objects", 0, "T_world_obj"), [[1]], "T_world_obj: shape \\(1, 1\\), expected"),
        (("objects", 0, "colors", "main"), [2, 0, 0], "colour of `main` .* must be in 0 to 1"),
        (("objects", 0, "relations"), [{"kind": "on", "target": "pan"}], "related to `pan`"),
        (("camera", "fx"), 0, "camera.fx = 0.0 must be positive"),
        (("light_direction",), [0, 0, 0], "light_direction must not be zero"),
    ],
)
def test_bad_scenes_are_refused(
    folder: Path, path: tuple[str | int, ...], to: Any, message: str
) -> None:
    change(folder, *path, to=to)
    with pytest.raises(RoboloopError, match=f"(?s){message}.*scene.json"):
        read_scene(folder)


def test_nan_and_cut_files_are_refused(folder: Path) -> None:
    file = folder / "scene.json"
    text = file.read_text()
    file.write_text(text.replace('"light_intensity": 0.7', '"light_intensity": NaN'))
    with pytest.raises(RoboloopError, match="NaN is not a JSON number"):
        read_scene(folder)
    file.write_text(text[:400])
    with pytest.raises(RoboloopError, match="not valid JSON"):
        read_scene(folder)
    file.unlink()
    with pytest.raises(RoboloopError, match="no file scene.json"):
        read_scene(folder)


def test_a_folder_with_things_in_it_is_kept(folder: Path) -> None:
    with pytest.raises(RoboloopError, match="the scene folder is not empty"):
        write_scene(bowl_and_plate(), folder)
