"""Independent units of work on this machine's processes or a cluster's, results in order."""

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import wait
from typing import TypeVar

from roboloop.cluster import map_on_cluster
from roboloop.errors import RoboloopError

Item = TypeVar("Item")
Result = TypeVar("Result")

AHEAD = 2
"""Units handed out per worker before their results are asked for."""
MAX_LOSSES = 1
"""Times that workers may die, in a row without a result, before it is an error."""


def map_jobs(
    fn: Callable[[Item], Result],
    items: Sequence[Item],
    workers: int = 1,
    cluster: str | None = None,
) -> Iterator[Result]:
    """Yield `fn(item)` for every item, in order, whatever the number of workers.

    Who stops asking ends the work: units that run are finished, others not begun. Workers ignore
    Ctrl-C, which a terminal sends to them too. When a worker dies, the units without a result run
    again, so `fn` must bear being run twice.

    Args:
        fn: A module-level function, or a `partial` of one.
        items: What to do, picklable.
        workers: Processes; 1 works in this one.
        cluster: Address of a Ray cluster that does the work; see `map_on_cluster`.

    Raises:
        RoboloopError: Workers died, twice at the same place; or no such cluster answers.
    """
    if cluster is not None:
        yield from map_on_cluster(fn, items, cluster, workers)
        return
    if workers <= 1:
        yield from map(fn, items)
        return
    n_done = losses = 0
    while n_done < len(items):
        try:
            for result in _run_pool(fn, items[n_done:], workers):
                n_done, losses = n_done + 1, 0
                yield result
        except BrokenProcessPool as error:
            losses += 1
            if losses > MAX_LOSSES:
                raise RoboloopError(
                    f"a worker process was killed, twice, at unit {n_done} of {len(items)}",
                    "out of memory? try fewer --workers",
                ) from error


def _run_pool(
    fn: Callable[[Item], Result], items: Sequence[Item], workers: int
) -> Iterator[Result]:
    pool = ProcessPoolExecutor(
        min(workers, len(items)), multiprocessing.get_context("spawn"), _start_worker
    )
    running: deque[Future[Result]] = deque()
    try:
        for item in items:
            running.append(pool.submit(fn, item))
            if len(running) >= AHEAD * workers:
                yield running.popleft().result()
        while running:
            yield running.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _start_worker() -> None:
    """Leave Ctrl-C to the parent and use one core, before anything heavy is imported."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """End this process when its parent is killed: it would wait for work for ever."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)
