"""Many attempts in chunks: each once, its results in one file, resumable, on any workers."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from roboloop import console
from roboloop.errors import RoboloopError
from roboloop.interval import percent
from roboloop.jobs import Workers
from roboloop.run import Interruptible, read_json, write_json

Work = Callable[[range], list[Any]]
"""Does the attempts of a range of indices; gives one result, plain data, an index. It has to be
picklable, repeatable, and its results may depend on nothing but the index."""

HOPELESS = 50
"""Attempts without a success after which there is no hope of enough."""
_NO_MORE = object()


@dataclass(frozen=True)
class _Job:
    work: Work
    indices: range
    result: Path


def run_chunks(
    label: str,
    folder: Path,
    n: int,
    size: int,
    work: Work,
    workers: int | Workers,
    good: Callable[[Any], bool],
    enough: int | None = None,
    see: Callable[[list[Any]], None] | None = None,
) -> list[Any]:
    """Do attempts 0..n-1 and return their results in order.

    Args:
        label: What progress calls it.
        folder: Where `chunks/000000.json` and so on are kept.
        n: Number of attempts.
        size: Attempts in a chunk.
        work: Does a chunk.
        workers: Processes, or how many.
        good: Which results count as successes, for progress and `enough`.
        enough: Stop after the chunk with which there are this many successes, or with which
            `HOPELESS` attempts have had none; None does all.
        see: Gets to see the results so far, after every chunk.

    Raises:
        RoboloopError: See `Workers.map`; or the cluster does not write where this process reads.
    """
    jobs = [
        _Job(work, range(i, min(i + size, n)), folder / "chunks" / f"{i:06d}.json")
        for i in range(0, n, size)
    ]
    todo = [job for job in jobs if not job.result.exists()]
    results: list[Any] = []
    kept = 0
    units = ("episodes", "kept") if enough else ("attempts", "tried")
    those = Workers(workers) if isinstance(workers, int) else workers
    with Interruptible() as stop, those, console.Progress(label, enough or n, *units) as progress:
        fresh = those.map(_do, todo)
        for job in jobs:
            if not job.result.exists():
                _advance(fresh, job)
            chunk = read_json(job.result)
            results += chunk
            kept += sum(map(good, chunk))
            done, rate = min(kept, enough) if enough else len(results), percent(kept, len(results))
            if not todo or job.indices.start < todo[0].indices.start:
                progress.start_from(done)
            progress.update(done, *([f"{len(results)} tried"] if enough else []), rate)
            if see is not None:
                see(results)
            hopeless = not kept and len(results) >= HOPELESS
            if stop.requested or (enough is not None and (kept >= enough or hopeless)):
                break
    return results


def _advance(fresh: Iterator[object], job: _Job) -> None:
    """Wait until a chunk is done; jobs finish in order."""
    while not job.result.exists():
        if next(fresh, _NO_MORE) is _NO_MORE:
            raise RoboloopError(
                "the results of a chunk were written, but are not here",
                "do all machines see the folder under the same path?",
                job.result,
            )


def _do(job: _Job) -> None:
    if not job.result.exists():
        write_json(job.result, job.work(job.indices))


def succeeded(reason: str) -> bool:
    """Whether an attempt's reason says that it did not fail."""
    return not reason


def need_out(out: Path | None) -> Path:
    """Return the output folder.

    Raises:
        RoboloopError: None was given.
    """
    if out is None:
        raise RoboloopError("no place to write to", "give --out FOLDER")
    return out
