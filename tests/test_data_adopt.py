"""LeRobot datasets of others become ours: what they have is taken over, what they lack is said."""

import io
import shutil

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from data_episodes import make_dataset, make_episode
from roboloop.cli import main
from roboloop.data.cache import build_cache
from roboloop.data.check import check_dataset
from roboloop.data.parquet import read_parquet, write_parquet
from roboloop.data.reader import iter_frames, read_frames_table, read_info, to_array
from roboloop.errors import RoboloopError
from roboloop.run import read_json, write_json

DATA, EPISODES = "data/chunk-000/file-000.parquet", "meta/episodes/chunk-000/file-000.parquet"
OURS = ("action.intended", "action.eef", "imitate")


@pytest.fixture
def foreign(tmp_path):
    """A dataset without what only we write, its images named and shaped as others do."""
    folder = make_dataset(tmp_path / "theirs", [make_episode(i, 4 + i) for i in range(3)])
    for path in (folder / "sim", folder / "shards"):
        shutil.rmtree(path, ignore_errors=True)
    (folder / "meta/histograms.parquet").unlink()
    old, new = "observation.images.front", "observation.image"
    (folder / "videos" / old).rename(folder / "videos" / new)
    episodes = read_parquet(folder / EPISODES)
    names = [name.replace(f"videos/{old}/", f"videos/{new}/") for name in episodes.column_names]
    write_parquet(folder / EPISODES, [episodes.rename_columns(names)])
    table = read_parquet(folder / DATA)
    reward = pa.array(np.zeros(len(table)))
    table = table.drop_columns(list(OURS)).append_column("next.reward", reward)
    table = table.append_column("comment", pa.array(["fine"] * len(table)))
    write_parquet(folder / DATA, [table])
    info = read_json(folder / "meta/info.json")
    features = {k: v for k, v in info["features"].items() if k not in OURS}
    h, w, _ = features.pop(old)["shape"]
    features[new] = {"dtype": "video", "shape": [3, h, w], "names": ["c", "h", "w"]}
    features["observation.state"]["names"] = ["motors"]
    features["next.reward"] = {"dtype": "float64", "shape": [1], "names": None}
    features["comment"] = {"dtype": "string", "shape": [1], "names": None}
    write_json(folder / "meta/info.json", info | {"features": features, "fps": 20.0})
    return folder


def test_what_others_have_is_taken_over_and_the_rest_said(foreign, tmp_path, capsys):
    check_dataset(foreign, decode=True)
    out = tmp_path / "ours"
    assert main(["data", "convert", str(foreign), "--out", str(out)]) == 0
    said = capsys.readouterr().err
    assert "has no histograms: its videos are decoded once" in said
    assert "left out  next.reward, comment" in said
    assert "missing   action.eef, simulator states, object poses, scenes, success" in said
    info = check_dataset(out, decode=True)
    assert info.cameras == {"image": (16, 24), "wrist": (16, 24)}
    assert (info.state_names, info.tasks) == (("0", "1", "2"), read_info(foreign).tasks)
    before, after = read_frames_table(read_info(foreign), ["observation.state", "action"]), None
    after = read_frames_table(info, [*before.column_names, "action.intended", "imitate"])
    for name in before.column_names:
        np.testing.assert_array_equal(to_array(before, name), to_array(after, name))
    np.testing.assert_array_equal(to_array(after, "action.intended"), to_array(after, "action"))
    assert to_array(after, "imitate").all()
    old = foreign / "videos/observation.image/chunk-000/file-000.mp4"
    new = out / "videos/observation.images.image/chunk-000/file-000.mp4"
    assert new.read_bytes() == old.read_bytes()
    stats = read_json(out / "meta/stats.json")["observation.images.image"]
    frames = np.stack(list(iter_frames(info, "image")))
    np.testing.assert_allclose(np.ravel(stats["mean"]), frames.mean((0, 1, 2)) / 255)


def test_adopted_datasets_can_be_edited_but_not_what_nobody_knows(foreign, tmp_path, capsys):
    ours = str(tmp_path / "ours")
    assert main(["data", "convert", str(foreign), "--out", ours]) == 0
    assert main(["data", "filter", ours, "--min-length", "5", "--out", f"{ours}2"]) == 0
    assert main(["data", "merge", ours, f"{ours}2", "--out", f"{ours}3"]) == 0
    assert check_dataset(f"{ours}3", decode=True).n_episodes == 5
    capsys.readouterr()
    assert main(["data", "filter", ours, "--where", "success", "--out", f"{ours}4"]) == 2
    assert "does not say the success of its episodes" in capsys.readouterr().err
    with pytest.raises(RoboloopError, match="the dataset has no action.eef\nhint: policies learn"):
        build_cache(ours, 16)


def test_single_images_become_videos(foreign, tmp_path, capsys):
    info = read_info(foreign)
    frames = list(iter_frames(info, "wrist"))
    plain, cells = read_json(foreign / "meta/info.json"), []
    for frame in frames:
        buffer = io.BytesIO()
        Image.fromarray(frame).save(buffer, "png")
        cells.append({"bytes": buffer.getvalue(), "path": None})
    key = "observation.images.wrist"
    table = read_parquet(foreign / DATA).append_column(key, pa.array(cells))
    write_parquet(foreign / DATA, [table])
    plain["features"][key] = {"dtype": "image", "shape": [16, 24, 3], "names": None}
    write_json(foreign / "meta/info.json", plain)
    shutil.rmtree(foreign / "videos" / key)
    assert main(["data", "convert", str(foreign), "--out", str(tmp_path / "ours")]) == 0
    ours = check_dataset(tmp_path / "ours", decode=True)
    again = np.stack(list(iter_frames(ours, "wrist")))
    assert np.abs(again.astype(int) - np.stack(frames)).mean() < 5
    words = ["filter", str(tmp_path / "ours"), "--episodes", "1", "--out", str(tmp_path / "one")]
    assert main(["data", *words]) == 0
    assert "encoded anew" not in capsys.readouterr().err
    assert {path.name for path in (tmp_path / "ours").iterdir()} == {
        "data", "meta", "videos", "manifest.json"
    }  # fmt: skip


@pytest.mark.parametrize(
    ("version", "hint"),
    [("v3.1", "update roboloop"), ("v2.1", "convert it with LeRobot's own tools first")],
)
def test_other_versions_are_refused(foreign, tmp_path, capsys, version, hint):
    plain = read_json(foreign / "meta/info.json")
    write_json(foreign / "meta/info.json", plain | {"codebase_version": version})
    assert main(["data", "convert", str(foreign), "--out", str(tmp_path / "ours")]) == 2
    said = capsys.readouterr().err
    assert f"dataset version '{version}', this program reads 'v3.0'\nhint: {hint}" in said


def test_a_dataset_cut_off_is_refused(foreign, tmp_path, capsys):
    path = foreign / "videos/observation.image/chunk-000/file-000.mp4"
    path.write_bytes(path.read_bytes()[:-100])
    assert main(["data", "convert", str(foreign), "--out", str(tmp_path / "ours")]) == 2
    assert "file-000.mp4 is cut off" in capsys.readouterr().err
    assert not (tmp_path / "ours/meta/info.json").exists()
