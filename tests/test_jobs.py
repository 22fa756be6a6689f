"""Units of work in processes; some of them kill theirs."""

import os
import signal
from functools import partial
from pathlib import Path

import pytest

from roboloop.errors import RoboloopError
from roboloop.jobs import map_jobs

WORKERS = pytest.mark.parametrize("workers", [1, 2])


def square(x: int) -> int:
    return x * x


def refuse(x: int) -> int:
    if x == 2:
        raise RoboloopError("no twos", "take threes")
    return x


def die_once(marker: Path, x: int) -> int:
    if x == 3 and not marker.exists():
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return x


def die_always(x: int) -> int:
    if x == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return x


def touch(folder: Path, x: int) -> int:
    (folder / str(x)).touch()
    return x


@WORKERS
def test_results_are_in_order(workers: int):
    assert list(map_jobs(square, range(9), workers)) == [x * x for x in range(9)]
    assert list(map_jobs(square, [], workers)) == []


@WORKERS
def test_an_error_of_a_unit_comes_through(workers: int):
    results = map_jobs(refuse, range(5), workers)
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(RoboloopError, match="no twos\nhint: take threes"):
        next(results)


@WORKERS
def test_who_stops_asking_ends_the_work(workers: int, tmp_path: Path):
    results = map_jobs(partial(touch, tmp_path), range(100), workers)
    next(results)
    results.close()
    assert len(list(tmp_path.iterdir())) <= 10


def test_a_killed_worker_is_made_up_for(tmp_path: Path):
    work = partial(die_once, tmp_path / "died")
    assert list(map_jobs(work, range(6), 2)) == list(range(6))


def test_a_unit_that_kills_its_worker_again_is_an_error():
    with pytest.raises(RoboloopError, match="killed, twice, at unit [0-3] of 6\nhint: .*--workers"):
        list(map_jobs(die_always, range(6), 2))
