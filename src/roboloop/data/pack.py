"""Episodes of old files into new ones: files that are wanted whole are copied, others are cut."""

import shutil
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path

from roboloop.data.layout import FILES_PER_CHUNK
from roboloop.run import atomic_path

Place = tuple[int, int]
"""Chunk index and file index."""


@dataclass(frozen=True)
class Span:
    """Where an episode lies in a file, in frames or rows."""

    path: Path
    start: int
    stop: int
    total: int
    """Length of the file."""


@dataclass(frozen=True)
class Run:
    """Spans of one file in its order, that go to the new file one after another."""

    spans: tuple[Span, ...]

    @property
    def path(self) -> Path:
        """The file."""
        return self.spans[0].path

    @property
    def whole(self) -> bool:
        """Whether it is the whole file, so that a copy will do."""
        ends = [0, *(span.stop for span in self.spans)]
        starts = [*(span.start for span in self.spans), self.spans[0].total]
        return ends == starts

    @property
    def n_bytes(self) -> int:
        """About how many bytes of the file it takes."""
        length = sum(span.stop - span.start for span in self.spans)
        return self.path.stat().st_size * length // max(self.spans[0].total, 1)


def plan_files(
    spans: Sequence[Span], limit_mb: int, kind: Callable[[Path], Hashable]
) -> list[list[Run]]:
    """Decide which runs make up each new file, in order.

    Args:
        spans: Where the episodes lie, in their new order.
        limit_mb: Size at which files made of cuttings roll over; whole files stay as they are.
        kind: What files must share to be joined.
    """
    files: list[list[Run]] = []
    filled = 0
    for run in _runs(spans):
        last = files[-1] if files else []
        fits = filled + run.n_bytes < limit_mb * 10**6
        joins = last and not (run.whole or last[0].whole) and fits
        if joins and kind(run.path) == kind(last[0].path):
            last.append(run)
            filled += run.n_bytes
        else:
            files.append([run])
            filled = run.n_bytes
    return files


def write_files(
    files: list[list[Run]], path_of: Callable[[Place], Path], cut: Callable[[list[Run], Path], None]
) -> list[Place]:
    """Write the planned files; return the place of every span.

    Args:
        files: What `plan_files` gave.
        path_of: The path of a place.
        cut: Writes runs that are not a whole file to a path.
    """
    places = []
    for number, runs in enumerate(files):
        place = divmod(number, FILES_PER_CHUNK)
        with atomic_path(path_of(place)) as temporary:
            if runs[0].whole:
                shutil.copyfile(runs[0].path, temporary)
            else:
                cut(runs, temporary)
        places += [place] * sum(len(run.spans) for run in runs)
    return places


def _runs(spans: Sequence[Span]) -> list[Run]:
    """Group spans that follow each other in one file."""
    runs: list[list[Span]] = []
    for span in spans:
        last = runs[-1][-1] if runs else None
        if last and last.path == span.path and last.stop <= span.start:
            runs[-1].append(span)
        else:
            runs.append([span])
    return [Run(tuple(run)) for run in runs]
