"""The training cache holds what the videos show."""

import shutil

import numpy as np
import pytest

from data_episodes import make_dataset, make_episode
from roboloop import pose
from roboloop.data.cache import build_cache, read_cache
from roboloop.data.reader import iter_episodes
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
    same = {name: name for name in ("state", "imitate", "action_eef")}
    for name, field in {**same, "action": "action_intended"}.items():
        rows = np.concatenate([getattr(episode, field) for episode in episodes])
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


def test_whoever_makes_the_cache_first_wins(tmp_path, monkeypatch):
    from roboloop.data import cache

    dataset = make_dataset(tmp_path / "a", [make_episode(0)])
    write_json = cache.write_json

    def meanwhile(path, value):
        write_json(path, value)
        shutil.copytree(path.parent, path.parent.with_name("16px"))

    monkeypatch.setattr(cache, "write_json", meanwhile)
    folder = build_cache(dataset, 16)
    assert read_cache(folder).images["front"].shape == (6, 16, 16, 3)
    assert [path.name for path in folder.parent.iterdir()] == ["16px"]


def test_a_camera_with_frames_missing_makes_no_cache(tmp_path):
    dataset = make_dataset(tmp_path / "a", [make_episode(0), make_episode(1)])
    short = make_dataset(tmp_path / "b", [make_episode(0)])
    name = "videos/observation.images.front/chunk-000/file-000.mp4"
    (short / name).replace(dataset / name)
    with pytest.raises(RoboloopError, match="camera front has 6 frames, the dataset 12"):
        build_cache(dataset, 16)
    assert not any((dataset / "cache").iterdir())


NAMES = ("mug", "cabinet/drawer_0", "robot/base")


def make_told(seed, names=NAMES):
    return make_episode(seed, n_objects=3, object_names=names)


def test_without_images_it_says_where_objects_are(tmp_path):
    dataset = make_dataset(tmp_path, [make_told(0), make_told(1)])
    cache = read_cache(build_cache(dataset, 0))
    poses = np.concatenate([e.object_poses for e in iter_episodes(dataset, images=False)])
    Ts = pose.from_vector(poses)
    wanted = pose.inverse(Ts[:, 2:]) @ Ts[:, :2]
    assert not cache.images and cache.objects is not None
    assert np.allclose(cache.objects[..., :3], wanted[..., :3, 3], atol=1e-5)
    x, y, multiples = np.split(cache.objects[..., 3:], (3, 6), axis=-1)
    assert np.allclose(x, wanted[..., :3, 0], atol=1e-5)
    assert np.allclose(y, wanted[..., :3, 1], atol=1e-5)
    yaw = np.arctan2(x[..., 1], x[..., 0])
    parts = [f(k * yaw) for f in (np.cos, np.sin) for k in (2, 3, 4)]
    assert np.allclose(multiples, np.stack(parts, -1), atol=1e-4)


def test_without_images_it_wants_to_know_where_the_same_objects_are(tmp_path):
    nameless = make_dataset(tmp_path / "a", [make_told(0, ())])
    with pytest.raises(RoboloopError, match="no poses of objects"):
        build_cache(nameless, 0)
    other = make_told(1, ("can", *NAMES[1:]))
    with pytest.raises(RoboloopError, match="not the same objects in all episodes"):
        build_cache(make_dataset(tmp_path / "b", [make_told(0), other]), 0)
