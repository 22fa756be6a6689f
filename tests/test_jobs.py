"""Units of work in processes; some of them kill theirs."""

import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from roboloop.causes import count_failures
from roboloop.demo.chunks import HOPELESS, run_chunks, succeeded
from roboloop.errors import RoboloopError
from roboloop.jobs import Workers, map_jobs

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


def slowly(folder: Path, x: int) -> int:
    (folder / f"begun {x}").touch()
    time.sleep(0.5)
    return x


def test_units_that_wait_in_a_worker_are_not_begun_when_nobody_asks_any_more(tmp_path: Path):
    with Workers(1 + 1, needs="time") as workers:
        results = workers.map(partial(slowly, tmp_path), range(100))
        assert next(results) == 0
        results.close()
        begun = len(list(tmp_path.iterdir()))
        assert begun <= 4  # two that ran and the two that came next
        assert list(workers.map(square, range(3))) == [0, 1, 4]  # it can be asked again
    assert len(list(tmp_path.iterdir())) == begun


def test_a_killed_worker_is_made_up_for(tmp_path: Path):
    work = partial(die_once, tmp_path / "died")
    assert list(map_jobs(work, range(6), 2)) == list(range(6))


def test_a_unit_that_kills_its_worker_again_is_an_error():
    with pytest.raises(RoboloopError, match="killed, twice, at unit [0-3] of 6\nhint: .*--workers"):
        list(map_jobs(die_always, range(6), 2))


def sleep_long(folder: Path, x: int) -> int:
    (folder / str(os.getpid())).touch()
    time.sleep(100)
    return x


SLEEP = """
if __name__ == "__main__":
    import functools, pathlib, signal, sys
    from test_jobs import map_jobs, sleep_long
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where tests run behind
    list(map_jobs(functools.partial(sleep_long, pathlib.Path(sys.argv[1])), range(4), 2))
"""


@pytest.fixture
def sleeping(tmp_path: Path) -> tuple[subprocess.Popen, list[int]]:
    """A process, and the two workers of its that are in the middle of a long unit."""
    script, pids = tmp_path / "sleep.py", tmp_path / "pids"
    script.write_text(SLEEP)
    pids.mkdir()
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}
    parent = subprocess.Popen([sys.executable, script, pids], env=env)
    while len(list(pids.iterdir())) < 2:
        assert parent.poll() is None
        time.sleep(0.05)
    return parent, [int(path.name) for path in pids.iterdir()]


def wait_for_the_end_of(pids: list[int]) -> None:
    deadline = time.monotonic() + 30
    while any(map(is_running, pids)):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_workers_end_when_their_parent_is_killed(sleeping):
    parent, pids = sleeping
    parent.kill()
    parent.wait()
    wait_for_the_end_of(pids)


def test_workers_end_when_their_parent_is_interrupted_while_it_waits_for_them(sleeping):
    parent, pids = sleeping
    parent.send_signal(signal.SIGINT)
    time.sleep(1.0)
    assert parent.poll() is None
    parent.send_signal(signal.SIGINT)
    wait_for_the_end_of([parent.pid, *pids])
    assert parent.wait() not in (0, None)


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def fail(indices: range) -> list[str]:
    return ["out of reach"] * len(indices)


def test_what_never_succeeds_ends_early(tmp_path: Path):
    tried = run_chunks("fail", tmp_path, 1000, 10, fail, 1, succeeded, enough=5)
    assert len(tried) == HOPELESS


def test_causes_are_counted_without_by_how_much():
    reasons = ["place: out of reach by 2.3 cm and 8 deg", "", "dropped", "dropped"]
    reasons += ["place: out of reach by 203.1 cm and 89 deg", "place: off by one name", "dropped"]
    assert list(count_failures(reasons).items()) == [
        ("dropped", 3),
        ("place: out of reach", 2),
        ("place: off by one name", 1),
    ]


def test_results_that_are_written_elsewhere_are_an_error(tmp_path: Path, monkeypatch):
    """As when the machines of a cluster do not see the folder."""
    monkeypatch.setattr("roboloop.demo.chunks._do", lambda job: None)
    with pytest.raises(RoboloopError, match="were written, but are not here\nhint: do all"):
        run_chunks("fail", tmp_path, 20, 10, fail, 1, succeeded)


@pytest.mark.parametrize(
    ("address", "problem"),
    [
        ("127.0.0.1:9", "no Ray cluster answers at 127.0.0.1:9"),
        ("here", "`here` is not an address"),
    ],
)
def test_a_cluster_that_does_not_answer_is_an_error(address: str, problem: str):
    pytest.importorskip("ray")
    with pytest.raises(RoboloopError, match=problem):
        next(Workers(cluster=address).map(square, range(3)))


def die_once_then_refuse(marker: Path, x: int) -> int:
    return refuse(2 if x == 8 else die_once(marker, x) + 10) - 10


def test_a_cluster_gives_results_in_order_and_makes_up_for_the_dead(tmp_path: Path):
    """In a process of its own: Ray leaves sockets and threads behind."""
    pytest.importorskip("ray")
    script = f"""
from functools import partial
from pathlib import Path
from roboloop.errors import RoboloopError
from roboloop.jobs import Workers
from test_jobs import die_once_then_refuse
work = partial(die_once_then_refuse, Path({str(tmp_path / "died")!r}))
results = Workers(2, "local").map(work, range(9))
assert [next(results) for _ in range(8)] == [*range(8)]
try:
    next(results)
except RoboloopError as error:
    print(error)
"""
    here = Path(__file__).parent
    environment = {**os.environ, "PYTHONPATH": f"{here}:{os.environ.get('PYTHONPATH', '')}"}
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, cwd=here, env=environment, capture_output=True, text=True)
    assert "no twos" in done.stdout, done.stderr
    assert (tmp_path / "died").exists()
