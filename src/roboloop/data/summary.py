"""The numbers of a dataset: lengths, outcomes, instructions, columns and cameras."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from roboloop.data.layout import STATS
from roboloop.data.part import open_part
from roboloop.data.reader import list_files
from roboloop.run import read_json


def summarise(folder: Path) -> dict[str, Any]:
    """Count episodes and list the statistics of every feature, as plain data.

    Raises:
        RoboloopError: The dataset cannot be read.
    """
    part = open_part(folder)
    info, lengths = part.info, part.lengths
    counts: dict[str, Any] = {
        "episodes": info.n_episodes,
        "frames": info.n_frames,
        "seconds": round(info.n_frames / info.fps, 3),
        "length": dict(zip(("min", "median", "max"), _quartiles(lengths), strict=True)),
    }
    if list_files(info.folder, "sim"):
        counts["success"] = sum(part.facts("success"))
        counts["scenes"] = len({*part.facts("scene")})
    tasks = Counter(task for row in part.episodes.column("tasks").to_pylist() for task in row)
    return counts | {"tasks": dict(tasks), "features": read_json(info.folder / STATS)}


def _quartiles(lengths: np.ndarray) -> list[float]:
    return np.quantile(lengths, [0, 0.5, 1]).tolist()
