"""`attempts.parquet`: what came of every attempt, where, and how to make it again."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
from jaxtyping import Float

from roboloop.causes import cause_of
from roboloop.data.parquet import read_parquet, write_parquet

ATTEMPTS = "attempts.parquet"


def write_attempts(
    folder: Path,
    seed: int,
    scenes: Sequence[Path],
    causes: Sequence[str],
    kept: Sequence[int],
    starts: Mapping[str, Float[np.ndarray, "N"]],
) -> None:
    """Write a row an attempt.

    Args:
        folder: The dataset's.
        seed: The run's; `--only` with the attempt's number makes it again.
        scenes: Of each attempt.
        causes: Why it failed; empty for a success.
        kept: Attempts that are the dataset's episodes, in order.
        starts: Quantities of where things stood.
    """
    place = {attempt: episode for episode, attempt in enumerate(kept)}
    table = pa.table(
        {
            "attempt": pa.array(range(len(causes)), pa.int64()),
            "seed": pa.array([seed] * len(causes), pa.int64()),
            "scene": [f"{scene.parent.name}/{scene.name}" for scene in scenes],
            "cause": list(causes),
            "episode": pa.array([place.get(i) for i in range(len(causes))], pa.int64()),
            **{f"start.{name}": values for name, values in starts.items()},
        }
    )
    write_parquet(folder / ATTEMPTS, [table])


def read_failures(folder: Path) -> dict[str, int]:
    """The first attempt of each cause of failure."""
    first: dict[str, int] = {}
    for attempt, cause in enumerate(read_parquet(folder / ATTEMPTS).column("cause").to_pylist()):
        if cause:
            first.setdefault(cause_of(cause), attempt)
    return first
