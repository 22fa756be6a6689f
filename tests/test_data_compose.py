"""Merged, split and filtered datasets are those that would have been written in the first place."""

import re
import shutil

import numpy as np
import pytest

from data_episodes import files_of, make_dataset, make_episode
from roboloop.data import video
from roboloop.data.check import check_dataset
from roboloop.data.compose import Pick, compose
from roboloop.data.layout import Limits
from roboloop.data.part import open_part
from roboloop.data.reader import iter_episodes, read_info
from roboloop.errors import RoboloopError
from roboloop.run import read_json
from test_data import assert_same

META = "meta/stats.json", "meta/histograms.parquet", "meta/info.json", "meta/tasks.parquet"
SIZE = 16, 16


def same_but_pixels(folder, episodes) -> None:
    for back, episode in zip(iter_episodes(folder), episodes, strict=True):
        assert_same(back, episode)


@pytest.fixture(scope="module")
def four(tmp_path_factory):
    episodes = [make_episode(i, 3 + i, SIZE) for i in range(4)]
    return make_dataset(tmp_path_factory.mktemp("four"), episodes), episodes


@pytest.mark.parametrize("limits", [Limits(), Limits(0, 0)], ids=["one-file", "many-files"])
@pytest.mark.parametrize("chosen", [(0,), (1, 2), (0, 3), (1, 2, 3), (0, 1, 2, 3)], ids=str)
def test_chosen_episodes_are_as_if_written_alone(tmp_path, chosen, limits):
    """Every byte of data, videos, states and statistics, but a note of the bit rate in videos."""
    episodes = [make_episode(i, 3 + i, SIZE) for i in range(4)]
    whole = make_dataset(tmp_path / "whole", episodes, limits)
    compose(tmp_path / "out", [Pick(open_part(whole), chosen)], limits)
    make_dataset(tmp_path / "direct", [episodes[i] for i in chosen], limits)
    files, direct = (
        {name: re.sub(b"(?s)btrt.{12}", b"", content) for name, content in files_of(folder).items()}
        for folder in (tmp_path / "out", tmp_path / "direct")
    )
    assert files.keys() == direct.keys()
    assert [name for name in files if files[name] != direct[name]] == []


def test_any_order_and_repetition_is_possible(four, tmp_path):
    whole, episodes = four
    order = (2, 0, 0, 3)
    compose(tmp_path, [Pick(open_part(whole), order)])
    same_but_pixels(tmp_path, [episodes[i] for i in order])
    check_dataset(tmp_path, decode=True)


def test_merged_statistics_are_those_of_all_frames(tmp_path):
    """Videos are copied; the statistics and the tables are those of one dataset."""
    episodes = [make_episode(i, 3 + i, SIZE) for i in range(5)]
    parts = [
        make_dataset(tmp_path / "a", episodes[:2]),
        make_dataset(tmp_path / "b", episodes[2:]),
    ]
    out = tmp_path / "out"
    compose(out, [Pick(open_part(p), tuple(range(read_info(p).n_episodes))) for p in parts])
    direct = files_of(make_dataset(tmp_path / "direct", episodes))
    files = files_of(out)
    assert [name for name in META if files[name] != direct[name]] == []
    for camera in ("front", "wrist"):
        for i, part in enumerate(parts):
            name = f"videos/observation.images.{camera}/chunk-000/file-%03d.mp4"
            assert files[name % i] == files_of(part)[name % 0]
    check_dataset(out, decode=True)
    same_but_pixels(out, episodes)
    images = np.concatenate([e.images["front"] for e in iter_episodes(out)])
    again = np.concatenate([e.images["front"] for p in parts for e in iter_episodes(p)])
    np.testing.assert_array_equal(images, again)


def test_split_and_merged_again_is_the_same_dataset(four, tmp_path):
    whole, episodes = four
    part = open_part(whole)
    for name, chosen in (("a", (0, 2)), ("b", (1, 3))):
        compose(tmp_path / name, [Pick(part, chosen)])
    both = [Pick(open_part(tmp_path / name), (0, 1)) for name in "ab"]
    info = compose(tmp_path / "out", both)
    assert info.n_frames == read_info(whole).n_frames
    same_but_pixels(tmp_path / "out", [episodes[i] for i in (0, 2, 1, 3)])
    old, new = (read_json(f / "meta/stats.json") for f in (whole, tmp_path / "out"))
    for key in ("observation.state", "observation.images.front", "action"):
        assert {k: v for k, v in old[key].items() if k not in ("mean", "std")} == {
            k: v for k, v in new[key].items() if k not in ("mean", "std")
        }
        np.testing.assert_allclose(old[key]["mean"], new[key]["mean"], atol=1e-12)


def test_histograms_that_nobody_kept_are_counted_from_the_frames(four, tmp_path, capsys):
    whole, _ = four
    old = shutil.copytree(whole, tmp_path / "old")
    (old / "meta/histograms.parquet").unlink()
    compose(tmp_path / "out", [Pick(open_part(old), (1, 2))])
    assert "has no histograms: its videos are decoded once" in capsys.readouterr().err
    frames = [e.images["front"] for e in iter_episodes(tmp_path / "out")]
    stats = read_json(tmp_path / "out/meta/stats.json")["observation.images.front"]
    mean = np.concatenate(frames).mean((0, 1, 2)) / 255
    np.testing.assert_allclose(np.ravel(stats["mean"]), mean)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"robot": "so101"}, "robot: so101, wanted panda"),
        ({"fps": 10}, "fps: 10, wanted 20"),
        ({"images": None}, "cameras: {}"),
    ],
)
def test_datasets_that_disagree_are_not_merged(four, tmp_path, fields, message):
    other = make_dataset(tmp_path / "other", [make_episode(0, **{"size": SIZE, **fields})])
    with pytest.raises(RoboloopError, match=message) as error:
        compose(tmp_path / "out", [Pick(open_part(f), (0,)) for f in (four[0], other)])
    assert error.value.path == other
    assert not (tmp_path / "out").exists()


def test_a_video_cut_off_is_named(four, tmp_path):
    broken = shutil.copytree(four[0], tmp_path / "broken")
    path = broken / "videos/observation.images.wrist/chunk-000/file-000.mp4"
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(RoboloopError, match="file-000.mp4 is cut off"):
        compose(tmp_path / "out", [Pick(open_part(broken), (0, 1, 2, 3))])
    assert not (tmp_path / "out/meta/info.json").exists()


def test_what_cannot_be_cut_is_encoded_anew(four, tmp_path, monkeypatch, capsys):
    """As in videos of others, whose episodes need not begin with a key frame."""
    whole, episodes = four
    monkeypatch.setitem(video.ENCODER, "g", "50")
    frames = np.concatenate([e.images["front"] for e in episodes])
    folder = shutil.copytree(whole, tmp_path / "other")
    path = folder / "videos/observation.images.front/chunk-000/file-000.mp4"
    path.write_bytes(video.encode(frames, 20))
    compose(tmp_path / "out", [Pick(open_part(folder), (1, 3))])
    assert "are encoded anew: frame 3 is no key frame" in capsys.readouterr().err
    check_dataset(tmp_path / "out", decode=True)
    for back, i in zip(iter_episodes(tmp_path / "out"), (1, 3), strict=True):
        assert np.abs(back.images["front"].astype(int) - episodes[i].images["front"]).mean() < 9


def test_files_of_other_settings_are_not_joined(four, tmp_path, monkeypatch):
    whole, _ = four
    monkeypatch.setitem(video.ENCODER, "profile", "main")
    other = make_dataset(tmp_path / "other", [make_episode(i, 4, SIZE) for i in range(2)])
    compose(tmp_path / "out", [Pick(open_part(f), (1,)) for f in (whole, other)])
    assert len(list((tmp_path / "out").rglob("*.mp4"))) == 4
    check_dataset(tmp_path / "out", decode=True)


def test_a_full_disk_leaves_no_dataset(four, tmp_path, monkeypatch):
    def full(source, target):
        raise OSError(28, "No space left on device")

    part = open_part(four[0])
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "copyfile", full)
        with pytest.raises(RoboloopError, match="the disk is full"):
            compose(tmp_path / "out", [Pick(part, (0, 1, 2, 3))])
    assert not (tmp_path / "out/meta/info.json").exists()
    assert not list(tmp_path.rglob(".tmp*"))
    compose(tmp_path / "out", [Pick(part, (0, 1, 2, 3))])
    assert files_of(tmp_path / "out") == files_of(four[0])
