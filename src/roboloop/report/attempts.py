"""What a generated dataset says of its attempts: `attempts.parquet`, and the pictures beside it."""

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from roboloop.causes import cause_of
from roboloop.errors import RoboloopError
from roboloop.report.gather import Manifest, pick
from roboloop.run import MANIFEST

ATTEMPTS, TASKS, FAILURES = "attempts.parquet", "meta/tasks.parquet", "failures"
START = "start."
_OWN_FLAGS = {"--out": 1, "--n": 1, "--workers": 1, "--cluster": 1, "--upload": 1, "--failures": 0}
"""Flags of a run that its attempts alone do not have, and how many words follow each."""


@dataclass(frozen=True)
class Attempts:
    """All that the page shows of a dataset."""

    folder: Path
    manifest: Manifest
    instruction: str
    causes: tuple[str, ...]
    """Of every attempt, in order; empty for a success."""
    n_kept: int
    """Successes that are episodes of the dataset."""
    starts: dict[str, list[float]]
    """Quantities of where things stood, by name such as `object.x`."""

    @property
    def failed(self) -> dict[str, list[int]]:
        """Attempts by cause of failure, the most frequent first."""
        found: dict[str, list[int]] = {}
        for attempt, cause in enumerate(self.causes):
            if cause:
                found.setdefault(cause, []).append(attempt)
        return dict(sorted(found.items(), key=lambda item: -len(item[1])))

    def file(self, name: str) -> Path | None:
        """Return a file of the dataset, if it is there."""
        path = self.folder / name
        return path if path.is_file() else None

    def command_of(self, attempt: int) -> str:
        """Write the command that makes an attempt again, and keeps it."""
        words, kept = shlex.split(self.manifest.command), []
        while words:
            word = words.pop(0)
            if word in _OWN_FLAGS:
                del words[: _OWN_FLAGS[word]]
            else:
                kept.append(word)
        out = f"{self.folder.name}_{attempt}"
        return shlex.join([*kept, "--only", str(attempt), "--out", out])


def is_dataset(folder: Path) -> bool:
    """Whether a folder is a generated dataset."""
    return (folder / ATTEMPTS).is_file() and (folder / MANIFEST).is_file()


def read_attempts(folder: Path) -> Attempts:
    """Read what a generated dataset says of its attempts.

    Raises:
        RoboloopError: A file cannot be read, or was made by another version.
    """
    table = _read(folder / ATTEMPTS)
    absent = {"cause", "episode"} - table.keys()
    if absent:
        problem = f"{ATTEMPTS} lacks {', '.join(sorted(absent))}"
        raise RoboloopError(problem, "was it made by another version?", folder / ATTEMPTS)
    tasks = _read(folder / TASKS) if (folder / TASKS).is_file() else {}
    return Attempts(
        folder=folder.resolve(),
        manifest=pick(Manifest, folder / MANIFEST),
        instruction=str((tasks.get("task") or [folder.resolve().name])[0]),
        causes=tuple(map(cause_of, table["cause"])),
        n_kept=sum(episode is not None for episode in table["episode"]),
        starts={n.removeprefix(START): v for n, v in table.items() if n.startswith(START)},
    )


def _read(path: Path) -> dict[str, list[Any]]:
    """Read a table's columns."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.read_table(path).to_pydict()
    except (OSError, pa.ArrowException) as error:
        hint = "was it cut off while copying?"
        raise RoboloopError(f"{path.name} cannot be read: {error}", hint, path) from None
