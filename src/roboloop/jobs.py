"""Independent units of work on this machine's processes or a cluster's, results in order."""

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from ctypes import c_byte
from importlib import import_module
from multiprocessing.connection import wait
from typing import Self, TypeVar

from roboloop.cluster import map_on_cluster
from roboloop.errors import RoboloopError

Item = TypeVar("Item")
Result = TypeVar("Result")

AHEAD = 2
"""Units handed out per worker before their results are asked for."""
MAX_LOSSES = 1
"""Times that workers may die, in a row without a result, before it is an error."""


class Workers:
    """Processes of this machine, or a cluster's, that do units of work; a context manager.

    Processes ignore Ctrl-C, which a terminal sends to them too. When one dies, the units without a
    result run again, so that what is done has to bear being done twice.

    Args:
        n: Processes; 1 works in this one.
        cluster: Address of a Ray cluster that does the work; see `map_on_cluster`.
        needs: A module that processes import as soon as there are any, while this one still has
            other things to do.
    """

    def __init__(self, n: int = 1, cluster: str | None = None, needs: str = "") -> None:
        self._n, self._cluster, self._needs = n, cluster, needs
        self._pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> Self:
        if self._needs and self._n > 1 and self._cluster is None:
            try:
                self._begin()
            except BaseException:
                self._end()
                raise
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def map(self, fn: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[Result]:
        """Yield `fn(item)` for every item, in order, whatever the number of workers.

        Who stops asking ends the work, and the processes: units that run are finished, others not
        begun.

        Args:
            fn: A module-level function, or a `partial` of one.
            items: What to do, picklable.

        Raises:
            RoboloopError: Workers died, twice at the same place; or no such cluster answers.
        """
        if self._cluster is not None:
            yield from map_on_cluster(fn, items, self._cluster, self._n)
            return
        if self._n <= 1:
            yield from map(fn, items)
            return
        n_done = losses = 0
        while n_done < len(items):
            try:
                for result in self._run(fn, items[n_done:]):
                    n_done, losses = n_done + 1, 0
                    yield result
            except BrokenProcessPool as error:
                losses += 1
                if losses > MAX_LOSSES:
                    raise RoboloopError(
                        f"a worker process was killed, twice, at unit {n_done} of {len(items)}",
                        "out of memory? try fewer --workers",
                    ) from error

    def _run(self, fn: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[Result]:
        pool = self._pool or self._begin()
        running: deque[Future[Result]] = deque()
        try:
            for item in items:
                running.append(pool.submit(_unit, fn, item))
                if len(running) >= AHEAD * self._n:
                    yield running.popleft().result()
            while running:
                yield running.popleft().result()
        finally:
            self._end()

    def _begin(self) -> ProcessPoolExecutor:
        spawn = multiprocessing.get_context("spawn")
        self._stop = spawn.RawValue(c_byte, _GO_ON)  # no lock, that a killed process might hold
        self._pool = ProcessPoolExecutor(self._n, spawn, _start_worker, (self._stop,))
        if self._needs:
            for _ in range(self._n):
                self._pool.submit(import_module, self._needs)
        return self._pool

    def _end(self) -> None:
        """End the processes; units that a process already has in its queue are not begun.

        Who does not want to wait for those that run, and interrupts, does not have to.
        """
        pool, self._pool = self._pool, None
        if pool:
            self._stop.value = _NO_MORE_UNITS
            try:
                pool.shutdown(cancel_futures=True)
            except KeyboardInterrupt:
                self._stop.value = _AT_ONCE
                raise


def map_jobs(
    fn: Callable[[Item], Result], items: Sequence[Item], workers: int = 1
) -> Iterator[Result]:
    """Yield `fn(item)` for every item, in order; see `Workers.map`."""
    with Workers(workers) as those:
        yield from those.map(fn, items)


_GO_ON, _NO_MORE_UNITS, _AT_ONCE = range(3)
_stopped = c_byte(_GO_ON)
"""Of a worker: whether nobody wants results any more, and whether it is to end at once."""
LOOK_S = 0.2
"""How often a worker looks whether it is to end at once, s."""


def _unit(fn: Callable[[Item], Result], item: Item) -> Result:
    if _stopped.value:
        raise CancelledError
    return fn(item)


def _start_worker(stopped: c_byte) -> None:
    """Leave Ctrl-C to the parent and use one core, before anything heavy is imported."""
    global _stopped
    _stopped = stopped
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """End this process when its parent is killed, or says so: it would wait for work for ever."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    while _stopped.value != _AT_ONCE and not wait([parent.sentinel], LOOK_S):
        pass
    os._exit(1)
