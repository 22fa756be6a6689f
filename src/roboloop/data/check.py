"""Check that a dataset is whole: every file readable, every count in agreement."""

from collections.abc import Iterator
from itertools import islice, pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
from av.error import FFmpegError

from roboloop.data import video
from roboloop.data.layout import DATA, EPISODES, HISTOGRAMS, STATS, VIDEO, DatasetInfo, video_key
from roboloop.data.parquet import read_parquet
from roboloop.data.reader import list_files, read_episodes_table, read_info, to_array
from roboloop.errors import RoboloopError
from roboloop.run import read_json

OTHER_COLOUR = 5
"""Mean values of a channel, of 255, that differ by more are not of the same images."""


def check_dataset(folder: Path | str, decode: bool = False) -> DatasetInfo:
    """Check a dataset and return what it holds.

    Args:
        folder: The dataset.
        decode: Also decode every frame of every video, and compare the episodes' mean colours with
            those of the images that were recorded, as far as `meta/histograms.parquet` has them.

    Raises:
        RoboloopError: The dataset is unfinished, cut off, damaged or at odds with itself; all
            problems are reported together.
    """
    info = read_info(folder)
    problems = [str(problem) for problem in _problems(info, decode)]
    if problems:
        raise RoboloopError("\n".join(["the dataset is damaged", *problems]), None, info.folder)
    return info


def _problems(info: DatasetInfo, decode: bool) -> Iterator[str | RoboloopError]:
    """Find what is wrong, file by file."""
    try:
        read_json(info.folder / STATS)
        episodes = read_episodes_table(info.folder)
    except RoboloopError as error:
        yield error
        return
    yield from _episode_problems(info, episodes)
    yield from _data_problems(info, episodes)
    for camera in info.cameras:
        yield from _video_problems(info, episodes, camera, decode)
    yield from _sim_problems(info)


def _episode_problems(info: DatasetInfo, episodes: pa.Table) -> Iterator[str]:
    """Compare the table of episodes with `meta/info.json`."""
    if len(episodes) != info.n_episodes:
        yield f"{EPISODES} has {len(episodes)} episodes, info.json {info.n_episodes}"
    lengths = to_array(episodes, "length")
    if lengths.sum() != info.n_frames:
        yield f"{EPISODES} has {lengths.sum()} frames, info.json {info.n_frames}"
    bounds = np.append(to_array(episodes, "dataset_from_index"), lengths.sum())
    wrong = [i for i, (a, b) in enumerate(pairwise(bounds)) if b - a != lengths[i]]
    if wrong:
        yield f"{EPISODES}: frame ranges and lengths disagree in episode {wrong[0]}"


def _data_problems(info: DatasetInfo, episodes: pa.Table) -> Iterator[str | RoboloopError]:
    """Compare the frame tables with the table of episodes."""
    lengths = to_array(episodes, "length")
    for name, members in _by_file(episodes, "data", DATA):
        try:
            table = read_parquet(info.folder / name)
        except RoboloopError as error:
            yield error
            continue
        expected = np.repeat(members, lengths[members])
        if len(table) != len(expected):
            yield f"{name} has {len(table)} frames, {EPISODES} {len(expected)}"
        elif (to_array(table, "episode_index") != expected).any():
            yield f"{name}: `episode_index` disagrees with {EPISODES}"
        elif (np.diff(to_array(table, "index")) != 1).any():
            yield f"{name}: `index` does not count up by one"
        elif to_array(table, "task_index").max() >= len(info.tasks):
            yield f"{name}: a `task_index` is not in meta/tasks.parquet"


def _video_problems(
    info: DatasetInfo, episodes: pa.Table, camera: str, decode: bool
) -> Iterator[str]:
    """Compare the videos of a camera with the table of episodes."""
    key = video_key(camera)
    lengths = to_array(episodes, "length")
    for name, members in _by_file(episodes, f"videos/{key}", VIDEO, key):
        path = info.folder / name
        if not path.exists() or video.is_cut_off(path):
            yield f"{name} is {'cut off' if path.exists() else 'missing'}"
            continue
        try:
            frames = list(video.inspect(path)) if decode else []
            n_frames = len(frames) if decode else video.count_packets(path)
        except (FFmpegError, IndexError) as error:
            yield f"{name} cannot be read: {error}"
            continue
        if n_frames != lengths[members].sum():
            yield f"{name} has {n_frames} frames, {EPISODES} {lengths[members].sum()}"
        elif decode:
            of_each = dict(zip(members.tolist(), lengths[members].tolist(), strict=True))
            yield from _frame_problems(info, key, name, frames, of_each)


def _frame_problems(
    info: DatasetInfo,
    key: str,
    name: str,
    frames: list[tuple[bool, np.ndarray]],
    lengths: dict[int, int],
) -> Iterator[str]:
    """Say which decoded frames are damaged, and which episodes do not show what was recorded."""
    guessed = [i for i, (corrupt, _) in enumerate(frames) if corrupt]
    if guessed:
        yield f"{name}: {len(guessed)} frames are damaged, the first is frame {guessed[0]}"
    if not (info.folder / HISTOGRAMS).exists():
        return
    histograms = to_array(read_parquet(info.folder / HISTOGRAMS, [key]), key).reshape(-1, 3, 256)
    colours = iter(frames)
    for episode, length in lengths.items():
        shown = np.mean([mean for _, mean in islice(colours, length)], axis=0)
        recorded = histograms[episode] @ np.arange(256) / histograms[episode].sum(-1)
        if np.abs(shown - recorded).max() > OTHER_COLOUR:
            yield f"{name} does not show what was recorded in episode {episode}, by its mean colour"
            return


def _sim_problems(info: DatasetInfo) -> Iterator[str | RoboloopError]:
    """Read the side-car, where there is one, and count its episodes."""
    n_episodes = 0
    files = list_files(info.folder, "sim")
    for path in files:
        try:
            n_episodes += len(read_parquet(path))
        except RoboloopError as error:
            yield error
            return
    if files and n_episodes != info.n_episodes:
        yield f"sim/ has {n_episodes} episodes, info.json {info.n_episodes}"


def _by_file(
    episodes: pa.Table, columns: str, pattern: str, video_key: str = ""
) -> Iterator[tuple[str, np.ndarray]]:
    """Group the episodes by the file they lie in: (path in the dataset, episode indices)."""
    chunks = to_array(episodes, f"{columns}/chunk_index")
    files = to_array(episodes, f"{columns}/file_index")
    for chunk, file in dict.fromkeys(zip(chunks.tolist(), files.tolist(), strict=True)):
        name = pattern.format(chunk_index=chunk, file_index=file, video_key=video_key)
        yield name, np.flatnonzero((chunks == chunk) & (files == file))
