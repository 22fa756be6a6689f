"""Datasets are written whole, the same bytes each time, and read back as they were."""

import os
import random
import shutil
import tracemalloc
from dataclasses import fields, replace
from pathlib import Path
from threading import Lock

import jaxtyping
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_episodes import ACTION_NAMES, STATE_NAMES, files_of, finish, make_dataset, make_episode
from roboloop.data.check import check_dataset
from roboloop.data.episode import Episode
from roboloop.data.layout import Limits, assign_files
from roboloop.data.reader import iter_episodes, read_info
from roboloop.data.shard import list_shards, write_shard
from roboloop.data.stats import image_histogram, image_stats, vector_stats
from roboloop.data.video import encode
from roboloop.data.writer import finish_dataset
from roboloop.errors import RoboloopError
from roboloop.run import read_json

FOUR = np.zeros((6, 4), np.float32)


def assert_same(a: Episode, b: Episode) -> None:
    """Compare everything but pixels, exactly."""
    for field in fields(Episode):
        if field.name != "images":
            left, right = getattr(a, field.name), getattr(b, field.name)
            if isinstance(left, np.ndarray):
                assert left.dtype == right.dtype
                assert left.tobytes() == right.tobytes()
            else:
                assert left == right


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    return 10 * np.log10(255**2 / np.mean((a.astype(float) - b) ** 2))


@settings(max_examples=10, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 9), min_size=1, max_size=3),
    n_objects=st.integers(0, 3),
    size=st.tuples(st.sampled_from([16, 22]), st.sampled_from([16, 34])),
    limits=st.sampled_from([Limits(), Limits(0, 0)]),
)
def test_episodes_come_back_bit_for_bit(tmp_path_factory, lengths, n_objects, size, limits):
    episodes = [make_episode(i, n, size, n_objects) for i, n in enumerate(lengths)]
    folder = make_dataset(tmp_path_factory.mktemp("data"), episodes, limits)
    back = list(iter_episodes(folder))
    for episode, read in zip(episodes, back, strict=True):
        assert_same(episode, read)
        for camera, frames in episode.images.items():
            assert psnr(frames, read.images[camera]) > 28
    info = check_dataset(folder, decode=True)
    assert info.n_frames == sum(lengths)
    assert info.cameras == {"front": size, "wrist": size}
    assert (info.state_names, info.action_names) == (STATE_NAMES, ACTION_NAMES)


def test_signed_zeros_and_nan_survive(tmp_path):
    states = np.array([[-0.0, np.nan, np.inf, 5e-324]] * 7)
    episode = make_episode(0, sim_states=states, images=None)
    (read,) = iter_episodes(make_dataset(tmp_path, [episode]))
    assert read.sim_states.tobytes() == states.tobytes()
    assert read.images is None


def test_the_same_frames_are_the_same_bytes():
    """With rubbish in freed memory, x264's defaults fail this in one of a hundred encodings."""
    frames, rng, videos = make_episode(0, size=(32, 32)).images["front"], random.Random(0), set()
    for _ in range(500):
        rubbish = [rng.randbytes(rng.randrange(10, 60_000)) for _ in range(5)]
        del rubbish
        videos.add(encode(frames, 20))
    assert len(videos) == 1


def test_bytes_do_not_depend_on_the_order_of_writing(tmp_path):
    episodes = [make_episode(i, 3 + i) for i in range(3)]
    make_dataset(tmp_path / "forth", episodes)
    for index in (2, 0, 1, 0):
        write_shard(tmp_path / "back", index, episodes[index])
    finish(tmp_path / "back")
    assert files_of(tmp_path / "forth") == files_of(tmp_path / "back")


def test_killed_anywhere_it_goes_on_to_the_same_bytes(tmp_path, monkeypatch):
    """Copy the folder at every moment a file appears: what `kill -9` would leave there."""
    episodes = [make_episode(i, 3 + i) for i in range(2)]
    folder, states = tmp_path / "whole", []
    rename, one_at_a_time = os.replace, Lock()

    def snapshot_and_replace(source: Path, target: Path) -> None:
        with one_at_a_time:
            states.append(shutil.copytree(folder, tmp_path / f"{len(states)}"))
            rename(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", snapshot_and_replace)
        make_dataset(folder, episodes)
    states.append(shutil.copytree(folder, tmp_path / "finished"))
    write_shard(tmp_path / "half_removed", 1, episodes[1])
    states.append(shutil.copytree(folder, tmp_path / "half_removed", dirs_exist_ok=True))
    assert len(states) > 10
    for state in states:
        if not (state / "meta/info.json").exists():
            for index in {0, 1} - list_shards(state).keys():
                write_shard(state, index, episodes[index])
        finish(state)
        assert files_of(state) == files_of(folder)


def test_chosen_shards_only(tmp_path):
    for index in range(4):
        write_shard(tmp_path, index, make_episode(index))
    finish_dataset(tmp_path, STATE_NAMES, ACTION_NAMES, indices=[3, 1])
    assert [episode.seed for episode in iter_episodes(tmp_path)] == [1, 3]


def test_finished_dataset_takes_no_more(tmp_path):
    make_dataset(tmp_path, [make_episode(0)])
    with pytest.raises(RoboloopError, match="the dataset is finished"):
        write_shard(tmp_path, 1, make_episode(1))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"robot": "so101"}, "robot: so101, wanted panda"),
        ({"fps": 10}, "fps: 10, wanted 20"),
        ({"images": None}, "cameras: {}"),
        ({"state": FOUR}, "state dimensions: 4, wanted 3"),
        (dict.fromkeys(("action", "action_intended"), FOUR), "action dimensions: 4, wanted 2"),
    ],
)
def test_episodes_that_disagree_are_refused(tmp_path, fields, message):
    write_shard(tmp_path, 0, make_episode(0))
    write_shard(tmp_path, 1, make_episode(1, **fields))
    with pytest.raises(RoboloopError, match=message) as error:
        finish(tmp_path)
    assert error.value.path == tmp_path / "shards/000001.arrow"
    assert len(list_shards(tmp_path)) == 2


@pytest.mark.parametrize("harm", [lambda b: b[:-100], lambda b: b[:900] + b"?" + b[901:]])
def test_damaged_shard_is_named(tmp_path, harm):
    path = write_shard(tmp_path, 0, make_episode(0))
    path.write_bytes(harm(path.read_bytes()))
    with pytest.raises(RoboloopError, match="000000.arrow cannot be read"):
        finish(tmp_path)


def test_odd_frames_are_refused(tmp_path):
    with pytest.raises(RoboloopError, match="video frames of 17x16 px"):
        write_shard(tmp_path, 0, make_episode(0, size=(16, 17)))
    assert files_of(tmp_path) == {}


def test_nothing_to_finish_is_an_error(tmp_path):
    with pytest.raises(RoboloopError, match="no shard"):
        finish(tmp_path)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"state": np.zeros((5, 3), np.float32)}, r"state is float32 \(5, 3\), wanted"),
        ({"sim_states": np.zeros((6, 3))}, r"sim_states .* wanted float64 \(7, any\)"),
        ({"subtasks": (("grasp", 0, 9),)}, r"subtask 'grasp' \[0, 9\) is outside 0..6"),
        ({"object_names": ("mug",)}, "1 object_names for 2 objects"),
    ],
)
def test_episode_refuses_what_does_not_fit(fields, message, monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # as users run it
    with pytest.raises(ValueError, match=message):
        replace(make_episode(0), **fields)


@given(st.lists(st.integers(0, 3_000_000), max_size=40), st.integers(0, 4))
def test_files_roll_over_before_the_limit(sizes, limit_mb):
    places = assign_files(sizes, limit_mb)
    files = [1000 * chunk + file for chunk, file in places]
    assert files == sorted(files)
    for number in set(files):
        members = [size for size, file in zip(sizes, files, strict=True) if file == number]
        rolled_late = sum(members) >= limit_mb * 10**6 and sum(members[:-1]) > 0
        assert not rolled_late or members[-1] == 0 == sum(members[:-1])


def test_chunk_rolls_after_a_thousand_files():
    assert assign_files([1] * 1001, 0)[-1] == (1, 0)


@given(st.integers(1, 30), st.integers(0, 2**32 - 1))
def test_vector_statistics_are_numpys(n, seed):
    values = np.random.default_rng(seed).normal(size=(n, 3)).astype(np.float32)
    stats = vector_stats(values)
    assert stats["count"] == [n]
    np.testing.assert_allclose(stats["mean"], values.astype(float).mean(0), atol=1e-12)
    np.testing.assert_allclose(stats["std"], values.astype(float).std(0), atol=1e-12)
    np.testing.assert_array_equal(stats["min"], values.min(0))
    for name, q in (("q01", 0.01), ("q50", 0.5), ("q99", 0.99)):
        np.testing.assert_allclose(stats[name], np.quantile(values.astype(float), q, axis=0))


@given(st.integers(1, 4), st.integers(1, 256), st.integers(0, 2**32 - 1))
def test_image_statistics_are_those_of_all_pixels(n_frames, n_values, seed):
    frames = np.random.default_rng(seed).integers(n_values, size=(n_frames, 5, 3, 3))
    frames = frames.astype(np.uint8)
    stats = image_stats(image_histogram(frames), n_frames)
    expected = vector_stats(frames.reshape(-1, 3) / 255)
    assert stats.pop("count") == [n_frames]
    for name, value in stats.items():
        assert value.shape == (3, 1, 1)
        np.testing.assert_allclose(value.ravel(), expected[name], atol=1e-12)


def test_dataset_statistics_are_over_all_frames(tmp_path):
    episodes = [make_episode(i, 3 + i) for i in range(3)]
    stats = read_json(make_dataset(tmp_path, episodes) / "meta/stats.json")
    state = np.concatenate([episode.state for episode in episodes]).astype(float)
    np.testing.assert_allclose(stats["observation.state"]["q10"], np.quantile(state, 0.1, axis=0))
    front = np.concatenate([episode.images["front"] for episode in episodes]) / 255
    mean = np.array(stats["observation.images.front"]["mean"]).ravel()
    np.testing.assert_allclose(mean, front.mean((0, 1, 2)))
    assert stats["index"]["max"] == [read_info(tmp_path).n_frames - 1]


def test_frames_are_encoded_as_they_come(tmp_path):
    """The same bytes as from an episode with its images, and never more than a few frames."""
    size, n_steps = (240, 320), 60
    whole = make_episode(0, n_steps, size)
    stacks = whole.images
    frames = ({c: stack[t].copy() for c, stack in stacks.items()} for t in range(n_steps))
    bare = replace(whole, images=None)
    tracemalloc.start()
    streamed = write_shard(tmp_path / "stream", 0, bare, frames)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert streamed.read_bytes() == write_shard(tmp_path / "whole", 0, whole).read_bytes()
    assert peak < sum(stack.nbytes for stack in stacks.values()) / 4


@pytest.mark.parametrize(
    ("n_frames", "message"), [(5, "frames of 5 steps, the episode has 6"), (0, "frames of 0")]
)
def test_frames_missing_are_an_error(tmp_path, n_frames, message):
    episode = make_episode(0)
    frames = ({"front": image} for image in episode.images["front"][:n_frames])
    with pytest.raises(ValueError, match=message):
        write_shard(tmp_path, 0, replace(episode, images=None), frames)
    assert files_of(tmp_path) == {}
