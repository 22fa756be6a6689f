"""robomimic-style HDF5: ours there and back exactly, files of others as far as it goes."""

import json
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from data_episodes import files_of, make_dataset, make_episode
from roboloop.cli import main
from roboloop.data.check import check_dataset
from roboloop.data.hdf5_read import Choices, read_hdf5
from roboloop.data.hdf5_write import write_hdf5
from roboloop.data.reader import iter_episodes, read_info
from roboloop.data.views import View, read_views, write_views
from roboloop.errors import RoboloopError
from test_data import assert_same, psnr

SIZE = 16, 24
NOTHING = Choices()


@pytest.fixture(scope="module")
def ours(tmp_path_factory):
    root = tmp_path_factory.mktemp("ours")
    write_views(root / "data", {"front": View("base", np.eye(4), 0.8)})
    folder = make_dataset(root / "data", [make_episode(i, 4 + i, SIZE) for i in range(3)])
    write_hdf5(folder, root / "data.hdf5", lambda scene: f"<mujoco model='{scene}'/>")
    return folder, root / "data.hdf5"


def write_foreign(path: Path, n_demos: int = 2, n_steps: int = 5, **changes) -> Path:
    """Write a file as robomimic's tools do, with `changes` to its first demonstration."""
    rng = np.random.default_rng(0)
    arrays = {
        "actions": rng.uniform(-1, 1, (n_steps, 7)),
        "states": rng.normal(size=(n_steps, 32)),
        "rewards": np.eye(n_steps)[-1],
        "dones": np.eye(n_steps)[-1].astype(int),
        "obs/robot0_eef_pos": rng.normal(size=(n_steps, 3)),
        "obs/robot0_eef_quat": rng.normal(size=(n_steps, 4)),
        "obs/robot0_gripper_qpos": rng.normal(size=(n_steps, 2)),
        "obs/object": rng.normal(size=(n_steps, 10)),
        "obs/agentview_image": rng.integers(0, 255, (n_steps, 16, 16, 3), np.uint8),
    }
    args = {"env_name": "Lift", "type": 1, "env_kwargs": {"control_freq": 20, "robots": "Panda"}}
    args = changes.pop("args", args)
    with h5py.File(path, "w") as file:
        data = file.create_group("data")
        data.attrs["env_args"], data.attrs["total"] = json.dumps(args), n_demos * n_steps
        for i in range(n_demos):
            mine = arrays | (changes if i == n_demos - 1 else {})
            for name, values in mine.items():
                if values is not None:
                    data[f"demo_{i}/{name}"] = values
            data[f"demo_{i}"].attrs["num_samples"] = n_steps
        file["mask/train"] = np.array(["demo_0"], "S")
    return path


def test_a_file_has_robomimics_structure(ours):
    folder, path = ours
    episodes = list(iter_episodes(folder))
    with h5py.File(path) as file:
        assert file["data"].attrs["total"] == 15
        args = json.loads(file["data"].attrs["env_args"])
        assert args["env_kwargs"]["control_freq"] == 20
        assert [name.decode() for name in file["mask/success"]] == ["demo_0", "demo_2"]
        for i, episode in enumerate(episodes):
            demo = file[f"data/demo_{i}"]
            assert demo.attrs["num_samples"] == len(episode)
            assert demo.attrs["model_file"] == f"<mujoco model='{episode.scene}'/>"
            assert demo["states"][:].tobytes() == episode.sim_states[:-1].tobytes()
            assert demo["actions"][:].tobytes() == episode.action.tobytes()
            assert demo["rewards"][:].tolist() == [0.0] * (len(episode) - 1) + [episode.success]
            assert demo["dones"][:].sum() == demo["dones"][-1] == 1
            images = demo["obs/front_image"][:]
            assert images.dtype == np.uint8
            np.testing.assert_array_equal(images, episode.images["front"])


def test_there_and_back_everything_but_pixels_is_the_same(ours, tmp_path):
    folder, path = ours
    out = tmp_path / "back"
    assert main(["data", "convert", str(path), "--out", str(out)]) == 0
    for before, after in zip(iter_episodes(folder), iter_episodes(out), strict=True):
        assert_same(before, after)
        for camera, frames in before.images.items():
            assert psnr(frames, after.images[camera]) > 28
    info = read_info(out)
    assert (info.state_names, info.fps) == (read_info(folder).state_names, 20)
    np.testing.assert_array_equal(read_views(out)["front"].T_parent_camera, np.eye(4))
    check_dataset(out, decode=True)


def test_the_same_dataset_is_the_same_file(ours, tmp_path):
    folder, _ = ours
    for name in "ab":
        write_hdf5(folder, tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_files_of_others_are_taken_over_as_far_as_it_goes(tmp_path, capsys):
    path = write_foreign(tmp_path / "lift.hdf5")
    assert main(["data", "convert", str(path), "--out", str(tmp_path / "out")]) == 0
    said = capsys.readouterr().err
    assert "state     robot0_eef_pos (3), robot0_eef_quat (4), robot0_gripper_qpos (2)" in said
    assert "left out  object" in said
    assert "hand targets, object poses, subtasks, the last simulator state" in said
    info = check_dataset(tmp_path / "out", decode=True)
    assert (info.robot, info.fps, info.cameras) == ("Panda", 20, {"agentview": (16, 16)})
    assert info.state_names[:2] == ("robot0_eef_pos.0", "robot0_eef_pos.1")
    with h5py.File(path) as file:
        for i, episode in enumerate(iter_episodes(tmp_path / "out")):
            demo = file[f"data/demo_{i}"]
            np.testing.assert_array_equal(episode.sim_states[:-1], demo["states"])
            assert np.isnan(episode.sim_states[-1]).all()
            np.testing.assert_array_equal(episode.action, demo["actions"][:].astype(np.float32))
            assert (episode.task, episode.success) == ("Lift", True)
            assert (episode.action_eef.shape, episode.scene) == ((5, 0), "")
    again = tmp_path / "again.hdf5"
    write_hdf5(tmp_path / "out", again)
    with h5py.File(again) as file, h5py.File(path) as first:
        np.testing.assert_array_equal(file["data/demo_1/states"], first["data/demo_1/states"])


def test_choices_say_what_a_file_does_not(tmp_path):
    path = write_foreign(tmp_path / "lift.hdf5", args={}, **{"obs/agentview_image": None})
    choices = Choices(("object", "robot0_eef_pos"), "train", 10, "lift the cube")
    info = read_hdf5(path, tmp_path / "out", choices)
    assert (info.n_episodes, info.fps, info.tasks) == (1, 10, ("lift the cube",))
    assert len(info.state_names) == 13


@pytest.mark.parametrize(
    ("changes", "choices", "message"),
    [
        ({"actions": np.zeros((5, 6))}, NOTHING, "joints differ: /data/demo_1 has"),
        ({"actions": np.zeros((4, 7))}, NOTHING, "/data/demo_1 has 4 actions, but"),
        ({"states": np.zeros((3, 32))}, NOTHING, "has 5 actions, but 3 states"),
        ({"obs/robot0_eef_pos": np.zeros((5, 2))}, NOTHING, "joints differ"),
        ({"obs/robot0_eef_pos": None}, NOTHING, "cannot be read"),
        ({"args": {}}, NOTHING, "does not say how many control steps a second"),
        ({"args": {}}, Choices(fps=20), "has no instruction\nhint: give one with --task"),
        ({}, Choices(fps=10), "has 20 control steps a second, --fps says 10"),
        ({}, Choices(("robot0_eef_poss",)), "hint: did you mean `robot0_eef_pos`"),
        ({}, Choices(mask="val"), "unknown filter key `val`"),
    ],
)
def test_files_that_miss_something_are_refused(tmp_path, changes, choices, message):
    path = write_foreign(tmp_path / "lift.hdf5", **changes)
    with pytest.raises(RoboloopError, match=message) as error:
        read_hdf5(path, tmp_path / "out", choices)
    assert error.value.path == path
    assert not (tmp_path / "out/meta/info.json").exists()


@pytest.mark.parametrize("change", ["newer", "cut off", "no data", "no obs", "text", "none"])
def test_files_that_cannot_be_read_say_why(ours, tmp_path, capsys, change):
    path = tmp_path / "file.hdf5"
    content = ours[1].read_bytes()
    messages = {
        "newer": "the file is of version 2, this program reads 1\nhint: update roboloop",
        "cut off": "hint: the file is cut off; was it copied whole?",
        "no data": "no group `data`, only other",
        "no obs": "has actions, wanted actions and obs",
        "text": "hint: is it an HDF5 file?",
        "none": "there is nothing to convert",
    }
    if change == "newer":
        path.write_bytes(content)
        with h5py.File(path, "a") as file:
            plain = json.loads(file["data"].attrs["roboloop"]) | {"version": 2}
            file["data"].attrs["roboloop"] = json.dumps(plain)
    elif change == "cut off":
        path.write_bytes(content[: len(content) // 2])
    elif change == "text":
        path.write_text("hello")
    elif change != "none":
        with h5py.File(path, "w") as file:
            file["other" if change == "no data" else "data/demo_0/actions"] = np.zeros((3, 2))
    assert main(["data", "convert", str(path), "--out", str(tmp_path / "out")]) == 2
    assert messages[change] in capsys.readouterr().err


def test_a_flipped_bit_is_found(ours, tmp_path):
    path = tmp_path / "file.hdf5"
    content = bytearray(ours[1].read_bytes())
    with h5py.File(ours[1]) as file:
        chunk = file["data/demo_1/states"].id.get_chunk_info(0)
    content[chunk.byte_offset + 9] ^= 1
    path.write_bytes(content)
    with pytest.raises(RoboloopError, match="cannot be read"):
        read_hdf5(path, tmp_path / "out", NOTHING)


def test_an_import_that_was_stopped_goes_on(ours, tmp_path, monkeypatch):
    from roboloop.data import hdf5_read

    write, done = hdf5_read.write_shard, []

    def stop_after_two(*arguments):
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(write(*arguments))

    command = ["data", "convert", str(ours[1]), "--out", str(tmp_path / "out")]
    with monkeypatch.context() as patch:
        patch.setattr(hdf5_read, "write_shard", stop_after_two)
        assert main(command) == 130
    made = [path.stat().st_mtime_ns for path in done]
    monkeypatch.setattr(hdf5_read, "finish_dataset", lambda folder, *names: read_shards(folder))

    def read_shards(folder):
        assert [path.stat().st_mtime_ns for path in done] == made
        raise KeyboardInterrupt

    assert main(command) == 130
    monkeypatch.undo()
    assert main(command) == 0
    before = files_of(tmp_path / "out")
    assert main(command) == 0
    assert files_of(tmp_path / "out") == before


def test_a_file_that_exists_is_kept(ours, tmp_path, capsys):
    path = tmp_path / "file.hdf5"
    path.write_text("mine")
    command = ["data", "convert", str(ours[0]), "--to", "hdf5", "--out", str(path)]
    assert main(command) == 2
    assert "the file exists\nhint: --overwrite replaces it" in capsys.readouterr().err
    assert path.read_text() == "mine"
    assert main([*command, "--overwrite"]) == 0
    assert h5py.is_hdf5(path)


def test_what_is_ours_already_is_not_converted(ours, tmp_path, capsys):
    assert main(["data", "convert", str(ours[0]), "--out", str(tmp_path / "out")]) == 2
    assert "it is a dataset of ours already" in capsys.readouterr().err


def test_without_h5py_the_install_command_is_named(ours, tmp_path):
    code = (
        "import sys; sys.modules['h5py'] = None; from roboloop.cli import main; "
        f"sys.exit(main(['data', 'convert', {str(ours[0])!r}, '--to', 'hdf5', '--out', 'x.hdf5']))"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 2
    assert "hint: pip install 'roboloop[hdf5]'" in done.stderr


@pytest.mark.parametrize("small_disk", ["64k"], indirect=True)
def test_a_full_disk_leaves_no_file(small_disk, ours, capsys):
    out = small_disk / "file.hdf5"
    assert main(["data", "convert", str(ours[0]), "--to", "hdf5", "--out", str(out)]) == 2
    assert "the disk is full" in capsys.readouterr().err
    assert list(small_disk.iterdir()) == []
