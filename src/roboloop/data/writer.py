"""Finish a dataset: from the shards of its episodes to a LeRobot v3.0 folder with a side-car.

The same shards give the same bytes, whoever wrote them and in whatever order. `meta/info.json`
comes last: a finish that was killed starts again from the shards.
"""

import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from roboloop.data import layout, shard, tables, video
from roboloop.data.layout import DatasetInfo, Limits, assign_files
from roboloop.data.parquet import write_parquet
from roboloop.data.reader import read_info
from roboloop.data.tables import Place, Source, by_file
from roboloop.errors import RoboloopError
from roboloop.run import atomic_path, write_json

DEFAULT_LIMITS = Limits()


def finish_dataset(
    folder: Path | str,
    state_names: Sequence[str],
    action_names: Sequence[str],
    indices: Sequence[int] | None = None,
    limits: Limits = DEFAULT_LIMITS,
) -> DatasetInfo:
    """Turn the shards in `folder` into a dataset and remove them; safe to repeat.

    Args:
        folder: The dataset's folder, with shards made by `write_shard`.
        state_names: Names of the dimensions of `observation.state`.
        action_names: Names of the dimensions of `action`.
        indices: Which shards to take, None for all; the others are removed too.
        limits: Sizes at which files roll over.

    Raises:
        RoboloopError: There is no shard, shards disagree, one is damaged, or the disk is full.
    """
    folder = Path(folder)
    if not (folder / layout.INFO).exists():
        shards = shard.list_shards(folder)
        chosen = sorted(shards if indices is None else indices)
        missing = [index for index in chosen if index not in shards]
        if missing or not chosen:
            raise RoboloopError(f"no shard {missing or ''}".strip(), None, folder / layout.SHARDS)
        _assemble(folder, [shards[i] for i in chosen], (*state_names,), (*action_names,), limits)
    _remove(folder / layout.SHARDS)
    return read_info(folder)


def _assemble(
    folder: Path,
    paths: list[Path],
    state_names: tuple[str, ...],
    action_names: tuple[str, ...],
    limits: Limits,
) -> None:
    """Write every file of the dataset, `meta/info.json` last."""
    clear(folder)  # what a finish that was killed has left
    tasks: dict[str, int] = {}
    sources: list[Source] = []
    with ThreadPoolExecutor(1) as pool:
        sim = pool.submit(_write_sim, folder, paths, limits)
        for path in paths:
            first = sources[-1].first + len(sources[-1]) if sources else 0
            source = tables.read_source(path, len(sources), first, tasks)
            tables.check_alike(source, sources[0] if sources else source, state_names, action_names)
            sources.append(source)
        head, places = sources[0], {"data": write_data(folder, sources, limits)}
        places["sim"] = sim.result()
    for camera in head.sizes:
        key = tables.VIDEOS + layout.video_key(camera)
        places[key] = _write_videos(folder, camera, sources, limits)
    info = DatasetInfo(
        folder=folder,
        robot=head.row["robot"],
        fps=head.row["fps"],
        n_episodes=len(sources),
        n_frames=sum(map(len, sources)),
        tasks=tuple(tasks),
        cameras=head.sizes,
        state_names=state_names,
        action_names=action_names,
    )
    encoder = {"codec": "h264", "pix_fmt": video.PIXELS, **video.ENCODER}
    plain = layout.info_json(info, limits, encoder)
    absent = {"action.eef"} - head.columns.keys()
    plain["features"] = {k: v for k, v in plain["features"].items() if k not in absent}
    write_meta(folder, sources, places, tasks, plain)


def write_meta(
    folder: Path,
    sources: list[Source],
    places: dict[str, list[Place]],
    tasks: dict[str, int],
    info: dict[str, Any],
) -> None:
    """Write `meta/`, with what makes a dataset finished last.

    Args:
        folder: The dataset's folder.
        sources: The episodes.
        places: Where they are in `data`, `sim` and the cameras' videos.
        tasks: Instructions, with their index.
        info: Content of `meta/info.json`.
    """
    write_parquet(folder / layout.EPISODES, [tables.episodes_table(sources, places)])
    write_parquet(folder / layout.TASKS, [tables.tasks_table(tasks)])
    if sources[0].histograms:
        write_parquet(folder / layout.HISTOGRAMS, [tables.histograms_table(sources)])
    write_json(folder / layout.STATS, tables.dataset_stats(sources))
    write_json(folder / layout.INFO, info)


def write_data(folder: Path, sources: list[Source], limits: Limits) -> list[Place]:
    """Write the frame tables."""
    sizes = [source.n_bytes for source in sources]
    places = assign_files(sizes, limits.data_mb)
    for place, members in by_file(places, sources):
        rows = (tables.frame_table(source.columns) for source in members)
        write_parquet(path_in(folder, layout.DATA, place), rows)
    return places


def _write_sim(folder: Path, paths: list[Path], limits: Limits) -> list[Place]:
    """Write the simulator side-car: the shards' rows, bit for bit."""
    places = assign_files([path.stat().st_size for path in paths], limits.data_mb)  # with frames
    for place, members in by_file(places, paths):
        rows = (shard.read_shard(path).select(shard.SIM) for path in members)
        write_parquet(path_in(folder, layout.SIM, place), rows, split_bytes=shard.SIM_ARRAYS)
    return places


def _write_videos(folder: Path, camera: str, sources: list[Source], limits: Limits) -> list[Place]:
    """Join the videos of one camera."""
    places = assign_files([source.video_bytes[camera] for source in sources], limits.video_mb)
    for place, members in by_file(places, sources):
        videos = (shard.read_video(source.path, camera) for source in members)
        path = path_in(folder, layout.VIDEO, place, layout.video_key(camera))
        with atomic_path(path) as temporary:
            video.join(videos, sources[0].row["fps"], temporary)
    return places


def path_in(folder: Path, pattern: str, place: Place, video_key: str = "") -> Path:
    """Fill in a path of `layout`."""
    chunk, file = place
    return folder / pattern.format(chunk_index=chunk, file_index=file, video_key=video_key)


def clear(folder: Path) -> None:
    """Remove the parts of a dataset, in place."""
    for part in ("meta", "data", "videos", "sim"):
        _remove(folder / part)


def _remove(folder: Path) -> None:
    """Remove a folder if it is there."""
    if folder.exists():
        shutil.rmtree(folder)
