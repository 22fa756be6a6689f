"""Small episodes and datasets for the tests of data."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from roboloop.data.episode import Episode
from roboloop.data.layout import DatasetInfo, Limits
from roboloop.data.shard import write_shard
from roboloop.data.writer import DEFAULT_LIMITS, finish_dataset

STATE_NAMES = ("shoulder", "elbow", "finger")
ACTION_NAMES = ("shoulder", "gripper")


def make_episode(
    seed: int, n_steps: int = 6, size: tuple[int, int] = (16, 24), n_objects: int = 2, **fields
) -> Episode:
    """Make an episode of random numbers and smooth pictures that move."""
    rng = np.random.default_rng(seed)
    row, column = np.mgrid[: size[0], : size[1]]
    phases = rng.uniform(0, 6) + np.array([0, 0.3, 0.6]) + np.arange(n_steps)[:, None] / 4
    waves = row[..., None, None] / 9 + column[..., None, None] / 7 + phases
    frames = np.moveaxis(127.5 + 120 * np.sin(waves), 2, 0).astype(np.uint8)
    values = {
        "state": rng.normal(size=(n_steps, 3)).astype(np.float32),
        "action": rng.normal(size=(n_steps, 2)).astype(np.float32),
        "action_intended": rng.normal(size=(n_steps, 2)).astype(np.float32),
        "imitate": rng.uniform(size=n_steps) < 0.7,
        "action_eef": rng.normal(size=(n_steps, 8)).astype(np.float32),
        "images": {"front": frames, "wrist": frames[:, ::-1].copy()},
        "sim_states": rng.normal(size=(n_steps + 1, 11)),
        "object_poses": rng.normal(size=(n_steps, n_objects, 7)),
        "object_names": tuple(f"obj_{i}" for i in range(n_objects)),
        "subtasks": (("grasp", 0, n_steps // 2), ("put", n_steps // 2, n_steps)),
        "task": f"put thing {seed % 2} away",
        "success": seed % 2 == 0,
        "scene": f"cousins/{seed:04d}",
        "seed": seed,
        "robot": "panda",
    }
    return Episode(**(values | fields))


def finish(folder: Path, limits: Limits = DEFAULT_LIMITS) -> DatasetInfo:
    """Finish a dataset of such episodes."""
    return finish_dataset(folder, STATE_NAMES, ACTION_NAMES, limits=limits)


def make_dataset(
    folder: Path, episodes: Iterable[Episode], limits: Limits = DEFAULT_LIMITS
) -> Path:
    """Write a whole dataset."""
    for index, episode in enumerate(episodes):
        write_shard(folder, index, episode)
    finish(folder, limits)
    return folder


def files_of(folder: Path) -> dict[str, bytes]:
    """Return the content of every file, by path."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}
