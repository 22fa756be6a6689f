"""The training cache holds what the videos show; windows stay inside their episode."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_episodes import make_dataset, make_episode
from roboloop.data.cache import build_cache, read_cache
from roboloop.data.reader import iter_episodes
from roboloop.data.windows import Windows, chunk_steps
from roboloop.errors import RoboloopError


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    episodes = [make_episode(i, n, (24, 24)) for i, n in enumerate((4, 1, 7))]
    return make_dataset(tmp_path_factory.mktemp("dataset"), episodes)


def test_cache_holds_the_decoded_dataset(dataset):
    cache = read_cache(build_cache(dataset, 24))
    episodes = list(iter_episodes(dataset))
    assert cache.starts.tolist() == [0, 4, 5, 12]
    assert cache.tasks == tuple(episode.task for episode in episodes)
    for name in ("state", "action", "action_eef"):
        rows = np.concatenate([getattr(episode, name) for episode in episodes])
        np.testing.assert_array_equal(getattr(cache, name), rows)
    for camera, images in cache.images.items():
        frames = np.concatenate([episode.images[camera] for episode in episodes])
        np.testing.assert_array_equal(images, frames)


def test_cache_scales_the_frames(dataset):
    images = read_cache(build_cache(dataset, 12)).images["front"]
    full = read_cache(build_cache(dataset, 24)).images["front"].astype(float)
    means = full.reshape(12, 12, 2, 12, 2, 3).mean((2, 4))
    assert images.shape == (12, 12, 12, 3)
    assert np.abs(images - means).mean() < 4


def test_cache_is_made_once_and_again_when_the_dataset_changed(tmp_path):
    folder = build_cache(make_dataset(tmp_path / "a", [make_episode(0)]), 16)
    made = (folder / "cache.json").stat().st_ino
    assert build_cache(tmp_path / "a", 16) == folder
    assert (folder / "cache.json").stat().st_ino == made
    other = make_dataset(tmp_path / "b", [make_episode(1)])
    (tmp_path / "a/cache").rename(other / "cache")
    np.testing.assert_array_equal(
        read_cache(build_cache(other, 16)).state, next(iter_episodes(other)).state
    )


def test_a_camera_with_frames_missing_makes_no_cache(tmp_path):
    dataset = make_dataset(tmp_path / "a", [make_episode(0), make_episode(1)])
    short = make_dataset(tmp_path / "b", [make_episode(0)])
    name = "videos/observation.images.front/chunk-000/file-000.mp4"
    (short / name).replace(dataset / name)
    with pytest.raises(RoboloopError, match="camera front has 6 frames, the dataset 12"):
        build_cache(dataset, 16)
    assert not any((dataset / "cache").iterdir())


@given(
    lengths=st.lists(st.integers(1, 12), min_size=1, max_size=6),
    horizon=st.integers(1, 15),
    data=st.data(),
)
def test_chunks_hold_at_the_end_of_their_episode(lengths, horizon, data):
    starts = np.cumsum([0, *lengths])
    frames = np.array(data.draw(st.lists(st.integers(0, starts[-1] - 1), min_size=1, max_size=9)))
    episode = np.searchsorted(starts, frames, side="right") - 1
    steps, is_pad = chunk_steps(frames, starts[episode + 1], horizon)
    for row, pad, frame, e in zip(steps, is_pad, frames, episode, strict=True):
        inside = list(range(frame, starts[e + 1]))[:horizon]
        assert row[~pad].tolist() == inside
        assert (row[pad] == starts[e + 1] - 1).all()
        assert pad.tolist() == [False] * len(inside) + [True] * (horizon - len(inside))


def test_batches_gather_the_rows_they_name(dataset):
    cache = read_cache(build_cache(dataset, 24))
    batch = Windows(cache, horizon=3).batch(np.array([3, 4, 5]))
    assert batch.episode.tolist() == [0, 1, 2]
    np.testing.assert_array_equal(batch.action[0], cache.action[[3, 3, 3]])
    np.testing.assert_array_equal(batch.action[2], cache.action[[5, 6, 7]])
    np.testing.assert_array_equal(batch.images["wrist"], cache.images["wrist"][3:6])
    assert batch.is_pad.tolist() == [[False, True, True]] * 2 + [[False] * 3]


def test_same_generator_same_batch(dataset):
    windows = Windows(read_cache(build_cache(dataset, 24)), horizon=2)
    a, b = (windows.sample(np.random.default_rng(5), 20) for _ in range(2))
    np.testing.assert_array_equal(a.state, b.state)
    assert len(a.images["front"]) == 20
