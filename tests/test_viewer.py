"""Episodes in a file of the rerun viewer, read back with its own reader."""

import subprocess
import sys

import mujoco
import numpy as np
import pytest

from data_episodes import ACTION_NAMES, make_dataset, make_episode
from roboloop import viewer
from roboloop.cli import main
from roboloop.sim import STATE

EVERY_SHAPE = """
<mujoco>
  <asset><mesh name="m" vertex="0 0 0  .1 0 0  0 .1 0  0 0 .1"/></asset>
  <worldbody>
    <body name="robot/hand" pos="0 0 1">
      <freejoint/>
      <geom type="box" size=".1 .2 .3" group="2" rgba="1 0 0 1"/>
      <geom type="sphere" size=".1" group="2" pos="0 0 .4"/>
      <geom type="ellipsoid" size=".1 .2 .1" group="2"/>
      <geom type="cylinder" size=".1 .2" group="2"/>
      <geom type="capsule" size=".1 .2" group="2"/>
      <geom type="mesh" mesh="m" group="2" euler="0 0 90"/>
      <geom type="box" size="1 1 1" group="3"/>
    </body>
  </worldbody>
</mujoco>
"""


@pytest.fixture
def chunks():
    """Reads a file: by recording and path, the chunks that are there."""
    reader = pytest.importorskip("rerun.chunk").RrdReader

    def read(path):
        found = {}
        for store in reader(path).recordings():
            for chunk in reader(path).stream(store=store):
                table = chunk.to_record_batch()
                times = [n for n in table.schema.names if n.startswith(("log_", "Recording"))]
                row = table.drop_columns(times).to_pydict()
                found.setdefault((store.recording_id, chunk.entity_path), []).append(row)
        return found

    return read


def test_episodes_are_recordings_with_frames_numbers_and_stages(chunks, tmp_path, capsys):
    episodes = [make_episode(i, 9 + i, (32, 32)) for i in range(3)]
    folder, file = make_dataset(tmp_path / "data", episodes), tmp_path / "e.rrd"
    words = ["show", str(folder), "--n", "2", "--px", "32", "--to", str(file)]
    assert main(words) == 0
    said = capsys.readouterr()
    assert said.out.strip() == str(file) and f"rerun {file}" in said.err
    assert "no scene in 3D: the scene of the dataset is not known" in said.err
    found = chunks(file)
    assert {key[0] for key in found} == {"episode_0", "episode_2"}
    for k in (0, 2):
        names, values = found[f"episode_{k}", "/action"]
        assert names["SeriesLines:names"] == [list(ACTION_NAMES)]
        assert np.allclose(values["Scalars:scalars"], episodes[k].action)
        assert values["step"] == [*range(9 + k)]
        for camera in ("front", "wrist"):
            (frames,) = found[f"episode_{k}", f"/cameras/{camera}"]
            assert len(frames["EncodedImage:blob"]) == 9 + k
        stages = [row for part in found[f"episode_{k}", "/stage"] for row in part["step"]]
        assert stages == [0, (9 + k) // 2]
    verify = [*viewer.RERUN, "rrd", "verify", str(file)]
    assert subprocess.run(verify, capture_output=True).returncode == 0


def test_every_body_is_where_the_simulator_has_it(chunks, tmp_path):
    model = mujoco.MjModel.from_xml_string(EVERY_SHAPE)
    data, states = mujoco.MjData(model), np.zeros((3, mujoco.mj_stateSize(model, STATE)))
    for t, state in enumerate(states):
        data.qpos[:] = [0.1 * t, 0, 1, 0.8, 0, 0.6, 0]
        mujoco.mj_getState(model, data, state, STATE)
    frames = [{"front": np.zeros((8, 8, 3), np.uint8)}] * 3
    episode = viewer.Recorded(
        "data", 7, "text", 20, ("front",), frames, {}, (("grasp", 0),), (model, states)
    )
    viewer.write_recordings(tmp_path / "e.rrd", [episode])
    found = chunks(tmp_path / "e.rrd")
    shapes = [path for _, path in found if path.startswith("/scene/robot.hand/")]
    assert len(shapes) == 6  # what is not visual is left out
    (moves,) = found["episode_7", "/scene/robot.hand"]
    p_world = [row[0] for row in moves["Transform3D:translation"]]
    assert np.allclose(p_world, [[0, 0, 1], [0.1, 0, 1], [0.2, 0, 1]])
    assert np.allclose(moves["Transform3D:quaternion"][0][0], [0, 0.6, 0, 0.8])  # xyzw
    (mesh,) = [c for key, c in found.items() if "Mesh3D:vertex_positions" in c[0]]
    corners = np.array(mesh[0]["Mesh3D:vertex_positions"][0])
    assert np.allclose(np.ptp(corners, 0), 0.1) and len(corners) == 3 * model.mesh_facenum[0]


def test_without_the_package_its_command_is_said(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "rerun", None)
    folder = make_dataset(tmp_path / "data", [make_episode(0, size=(32, 32))])
    assert main(["show", str(folder), "--rerun"]) == 2
    assert "hint: pip install 'roboloop[rerun]'" in capsys.readouterr().err


def test_without_a_display_no_viewer_is_started(tmp_path, monkeypatch):
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(viewer.sys, "platform", "linux")
    monkeypatch.setattr(viewer.subprocess, "Popen", None)
    assert not viewer.open_viewer(tmp_path / "e.rrd")
