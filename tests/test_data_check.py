"""A dataset that cut off, damaged or incomplete gets a clear error; a full disk loses nothing."""

import os
import shutil
from pathlib import Path

import pytest

from data_episodes import files_of, finish, make_dataset, make_episode
from roboloop.cli import main
from roboloop.data.check import check_dataset
from roboloop.data.shard import list_shards, write_shard
from roboloop.data.video import Encoder, decode
from roboloop.errors import RoboloopError
from roboloop.run import read_json, write_json

VIDEO = "videos/observation.images.wrist/chunk-000/file-000.mp4"
FILES = [
    "meta/info.json",
    "meta/stats.json",
    "meta/tasks.parquet",
    "meta/episodes/chunk-000/file-000.parquet",
    "data/chunk-000/file-000.parquet",
    "sim/chunk-000/file-000.parquet",
    VIDEO,
]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return make_dataset(tmp_path_factory.mktemp("whole"), [make_episode(i) for i in range(2)])


@pytest.fixture
def dataset(whole, tmp_path):
    return shutil.copytree(whole, tmp_path / "dataset")


def test_a_whole_dataset_passes(whole, capsys):
    assert main(["data", "check", str(whole), "--decode"]) == 0
    assert capsys.readouterr().out == f"{whole}\n"


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("keep", [0.0, 0.5, 0.98])
def test_a_file_cut_off_is_named(dataset, capsys, name, keep):
    content = (dataset / name).read_bytes()
    (dataset / name).write_bytes(content[: int(keep * len(content))])
    assert main(["data", "check", str(dataset)]) == 2
    message = capsys.readouterr().err
    assert Path(name).name in message
    assert "Traceback" not in message


@pytest.mark.parametrize("name", [n for n in FILES if not n.startswith("sim")])
def test_a_missing_file_is_named(dataset, name):
    (dataset / name).unlink()
    with pytest.raises(RoboloopError, match=Path(name).name):
        check_dataset(dataset)


@pytest.mark.parametrize("name", [n for n in FILES if n.startswith(("data", "sim"))])
def test_a_flipped_bit_is_found(dataset, name):
    content = bytearray((dataset / name).read_bytes())
    content[len(content) // 8] ^= 1
    (dataset / name).write_bytes(content)
    with pytest.raises(RoboloopError, match="cannot be read"):
        check_dataset(dataset)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("codebase_version", "v2.1", "dataset version 'v2.1', this program reads 'v3.0'"),
        ("total_frames", 13, "has 12 frames, info.json 13"),
        ("total_episodes", 3, "has 2 episodes, info.json 3"),
        ("features", {}, "a field is missing or of another type: 'observation.state'"),
    ],
)
def test_wrong_info_is_named(dataset, field, value, message):
    write_json(dataset / "meta/info.json", read_json(dataset / "meta/info.json") | {field: value})
    with pytest.raises(RoboloopError, match=message):
        check_dataset(dataset)


def test_files_of_another_dataset_are_found(dataset, tmp_path):
    other = make_dataset(tmp_path / "other", [make_episode(0, n_steps=5), make_episode(1)])
    for name in ("data/chunk-000/file-000.parquet", VIDEO):
        shutil.copy(other / name, dataset / name)
    with pytest.raises(RoboloopError) as error:
        check_dataset(dataset)
    assert "file-000.parquet has 11 frames" in str(error.value)
    assert "file-000.mp4 has 11 frames" in str(error.value)


def test_a_film_of_something_else_is_found(dataset):
    frames = list(decode(dataset / VIDEO))
    encoder = Encoder(frames[0].shape[:2], 20)
    for frame in frames:
        encoder.add(frame // 2)
    (dataset / VIDEO).write_bytes(encoder.finish())
    check_dataset(dataset)
    with pytest.raises(RoboloopError, match="does not show what was recorded in episode 0"):
        check_dataset(dataset, decode=True)


def test_frames_that_a_decoder_had_to_guess_are_found(dataset):
    content = bytearray((dataset / VIDEO).read_bytes())
    for at in range(len(content) // 3, len(content) // 2, 50):
        content[at] ^= 0xFF
    (dataset / VIDEO).write_bytes(content)
    with pytest.raises(RoboloopError, match="frames are damaged|cannot be read|frames, meta"):
        check_dataset(dataset, decode=True)


def test_an_unfinished_dataset_says_so(tmp_path):
    write_shard(tmp_path, 0, make_episode(0))
    with pytest.raises(RoboloopError, match="not finished: 1 episodes wait in shards/"):
        check_dataset(tmp_path)


def test_no_dataset_says_so(tmp_path):
    with pytest.raises(RoboloopError, match="no dataset here: meta/info.json is missing"):
        check_dataset(tmp_path)


@pytest.mark.parametrize("small_disk", ["256k"], indirect=True)
def test_a_full_disk_loses_nothing(small_disk, whole):
    folder, ballast = small_disk / "dataset", small_disk / "ballast"
    for index in range(2):
        write_shard(folder, index, make_episode(index))
    shards = files_of(folder)
    with ballast.open("wb", buffering=0) as file:
        file.write(bytes(os.statvfs(small_disk).f_bavail * os.statvfs(small_disk).f_frsize - 2**14))
    with pytest.raises(RoboloopError, match="the disk is full"):
        write_shard(folder, 2, make_episode(2, n_steps=200))
    assert files_of(folder) == shards
    with pytest.raises(RoboloopError, match="the disk is full"):
        finish(folder)
    assert len(list_shards(folder)) == 2
    assert not list(folder.rglob(".tmp*"))
    ballast.unlink()
    finish(folder)
    assert files_of(folder) == files_of(whole)
