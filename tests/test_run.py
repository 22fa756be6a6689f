"""Run folders, files that appear whole, strict records."""

import errno
import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jaxtyping import Float
from tyro.conf import Positional

from roboloop import console
from roboloop.errors import RoboloopError
from roboloop.interval import percent
from roboloop.record import from_plain, to_plain
from roboloop.run import (
    CommonFlags,
    Interruptible,
    Run,
    atomic_path,
    command_line,
    read_json,
    write_json,
)


@dataclass(frozen=True)
class Part:
    name: str
    weights: tuple[float, ...] = ()


@dataclass(frozen=True)
class Config(CommonFlags):
    source: Positional[Path] = Path("in")
    kind: Literal["act", "diffusion"] = "act"
    n: int | None = None
    size: tuple[float, float] = (1.0, 2.0)
    parts: tuple[Part, ...] = ()
    ema: bool = True


@dataclass(frozen=True)
class Placed:
    T_world_obj: Float[np.ndarray, "4 4"]


configs = st.builds(
    Config,
    out=st.none() | st.just(Path("a/b")),
    seed=st.integers(0, 9),
    kind=st.sampled_from(["act", "diffusion"]),
    n=st.none() | st.integers(),
    size=st.tuples(*[st.floats(allow_nan=False, allow_infinity=False)] * 2),
    parts=st.lists(st.builds(Part, st.text(), st.tuples(st.floats(-1, 1)))).map(tuple),
)


@given(configs)
def test_config_survives_json(config):
    assert from_plain(Config, json.loads(json.dumps(to_plain(config)))) == config


def test_arrays_survive_json():
    plain = json.loads(json.dumps(to_plain(Placed(np.eye(4)))))
    np.testing.assert_array_equal(from_plain(Placed, plain).T_world_obj, np.eye(4))


@pytest.mark.parametrize(
    ("plain", "message"),
    [
        ({"kindd": "act"}, r"unknown field of Config `kindd`\nhint: did you mean `kind`"),
        ({"kind": "diffuson"}, "unknown Config.kind `diffuson`\nhint: did you mean `diffusion`"),
        ({"seed": "0"}, "Config.seed: '0' is not of type int"),
        ({"seed": True}, "Config.seed: True is not of type int"),
        ({"size": [1.0]}, "Config.size: has 1 items, expected 2"),
        ({"size": [1.0, float("nan")]}, r"Config.size\[1\]: nan is not a finite number"),
        ({"parts": [{"weights": []}]}, r"Config.parts\[0\]: field missing: name"),
        ([], r"Config: \[\] is not of type dict"),
    ],
)
def test_record_names_the_bad_field(plain, message):
    with pytest.raises(RoboloopError, match=message):
        from_plain(Config, plain)


def test_array_of_another_shape_is_refused():
    with pytest.raises(RoboloopError, match=r"Placed.T_world_obj: shape \(3, 3\), expected"):
        from_plain(Placed, {"T_world_obj": np.eye(3).tolist()})


def test_a_failed_write_leaves_the_old_file(tmp_path):
    file = tmp_path / "a.json"
    write_json(file, {"x": 1})
    with pytest.raises(ValueError, match="stop"), atomic_path(file) as temporary:
        temporary.write_text("half")
        raise ValueError("stop")
    assert read_json(file) == {"x": 1}
    assert os.listdir(tmp_path) == ["a.json"]


def test_full_disk_names_the_file(tmp_path):
    def write_until_full(path: Path) -> None:
        path.write_bytes(b"12345")
        raise OSError(errno.ENOSPC, "No space left on device")

    message = "the disk is full: stopped after 5 bytes of a.bin"
    with pytest.raises(RoboloopError, match=message), atomic_path(tmp_path / "a.bin") as temporary:
        write_until_full(temporary)
    assert not any(tmp_path.iterdir())


def test_a_full_tmpfs_exits_2_and_keeps_finished_files(tmp_path):
    code = (
        "import sys; from roboloop.cli import COMMANDS, CommandInfo, main\n"
        "from roboloop.run import OutputFlags, write_bytes_atomic\n"
        "toy = type(sys)('roboloop.toy'); toy.Config = OutputFlags\n"
        "toy.run = lambda _: [write_bytes_atomic(f'{i}.bin', bytes(30000)) for i in (0, 1, 2)]\n"
        "sys.modules['roboloop.toy'] = toy; COMMANDS['toy'] = CommandInfo('toy', '')\n"
        "code = main(['toy']); import os; print(code, sorted(os.listdir()))"
    )
    script = 'mount -t tmpfs -o size=64k none "$1" && cd "$1" && exec "$2" -c "$3"'
    line = ["unshare", "-rm", "sh", "-c", script, "sh", str(tmp_path), sys.executable, code]
    source = str(Path(console.__file__).parents[1])  # a relative PYTHONPATH would be lost by cd
    environment = os.environ | {"PYTHONPATH": source}
    done = subprocess.run(line, capture_output=True, text=True, env=environment)
    if "unshare" in done.stderr or "mount" in done.stderr:
        pytest.skip("may not mount a tmpfs here")
    assert done.stdout == "2 ['0.bin', '1.bin']\n"
    assert done.stderr.startswith("error: the disk is full: stopped after ")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("text", ['{"a": 1', '{"a": NaN}', ""])
def test_broken_json_is_named(tmp_path, text):
    (tmp_path / "task.json").write_text(text)
    with pytest.raises(RoboloopError, match="task.json is not valid JSON"):
        read_json(tmp_path / "task.json")


def test_run_resumes_and_adds_up_cost(tmp_path):
    folder = tmp_path / "out"
    with Run.open(folder, "demo", Config(), seed=0) as run:
        run.checkpoint(kept=3)
    write_json(
        folder / "manifest.json",
        read_json(folder / "manifest.json")
        | {"cost": {"cpu_s": 100.0, "wall_s": 200.0, "peak_rss_mib": 1.0}},
    )
    again = Config(out=folder, workers=7, quiet=True)
    with Run.open(folder, "demo", again, seed=0) as run:
        assert not run.finished
        run.finish(tried=4)
    manifest = read_json(folder / "manifest.json")
    assert manifest["status"] == "finished"
    assert manifest["figures"] == {"kept": 3, "tried": 4}
    assert manifest["cost"]["cpu_s"] >= 100.0
    assert manifest["cost"]["wall_s"] >= 200.0
    assert Run.open(folder, "demo", again, seed=0).finished


def test_run_removes_what_a_killed_run_left(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/.tmp-7-manifest.json").write_text("{")
    with Run.open(tmp_path / "out", "demo", Config(), seed=0):
        pass
    (tmp_path / "out/data").mkdir()
    (tmp_path / "out/data/.tmp-7-a.mp4").write_text("half")
    with Run.open(tmp_path / "out", "demo", Config(), seed=0):
        pass
    files = {path.name for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert files == {"manifest.json"}


def test_run_refuses_another_config(tmp_path):
    Run.open(tmp_path / "out", "demo", Config(n=1), seed=0)
    message = "the folder was made with another config: kind was 'act', now 'diffusion', n was 1"
    with pytest.raises(RoboloopError, match=message):
        Run.open(tmp_path / "out", "demo", Config(n=2, kind="diffusion"), seed=0)
    Run.open(tmp_path / "out", "demo", Config(n=2), seed=0, overwrite=True)
    assert read_json(tmp_path / "out" / "manifest.json")["config"]["n"] == 2


def test_run_never_touches_files_of_others(tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(RoboloopError, match="holds files that no run made"):
        Run.open(tmp_path, "demo", Config(), seed=0, overwrite=True)
    assert (tmp_path / "thesis.txt").read_text() == "mine"


def test_run_refuses_to_write_over_what_it_reads(tmp_path):
    (tmp_path / "made/demo").mkdir(parents=True)
    for out in ("made", "made/demo"):
        config = Config(source=tmp_path / "made/demo", out=tmp_path / out)
        with pytest.raises(RoboloopError, match="is not apart from source"):
            Run.open(tmp_path / out, "demo", config, seed=0, overwrite=True)
    assert (tmp_path / "made/demo").is_dir()


def test_a_folder_may_be_called_as_a_choice_is(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("small", "act"):
        for _ in range(2):
            Run.open(Path(name), "demo", Config(kind="act"), seed=0)


def test_paths_may_be_spelled_in_two_ways(tmp_path, monkeypatch):
    (tmp_path / "in/deep").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    Run.open(tmp_path / "out", "demo", Config(source=Path("in")), seed=0)
    Run.open(tmp_path / "out", "demo", Config(source=tmp_path / "in"), seed=0)
    monkeypatch.chdir(tmp_path / "in/deep")
    Run.open(tmp_path / "out", "demo", Config(source=Path("..")), seed=0)
    with pytest.raises(RoboloopError, match="another config: source was"):
        Run.open(tmp_path / "out", "demo", Config(source=Path(".")), seed=0)


def test_what_could_not_begin_leaves_nothing(tmp_path):
    folder = tmp_path / "out"
    with pytest.raises(RoboloopError), Run.open(folder, "demo", Config(), seed=0):
        raise RoboloopError("no such scene")
    assert not folder.exists()
    folder.mkdir()
    with pytest.raises(RoboloopError), Run.open(folder, "demo", Config(), seed=0):
        raise RoboloopError("no such scene")
    assert not list(folder.iterdir())
    with pytest.raises(RoboloopError), Run.open(folder, "demo", Config(), seed=0):
        (folder / "shards").mkdir()
        raise RoboloopError("the third of ten")
    assert read_json(folder / "manifest.json")["status"] == "failed"


@pytest.mark.parametrize(
    "config, problem",
    [
        (Config(seed=-1), "--seed -1: too small"),
        (Config(n=0), "--n 0: too small\nhint: wanted at least 1"),
        (Config(workers=0, seed=-2), "--seed -2, --workers 0: too small"),
    ],
)
def test_numbers_that_are_too_small_are_named(tmp_path, config, problem):
    with pytest.raises(RoboloopError, match=problem):
        Run.open(tmp_path / "out", "demo", config, seed=0)


def test_a_folder_that_cannot_be_made_is_no_bug(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(RoboloopError, match="cannot be made: Not a directory"):
        Run.open(tmp_path / "file/out", "demo", Config(), seed=0)


def test_failure_is_recorded(tmp_path):
    with pytest.raises(RuntimeError), Run.open(tmp_path / "out", "demo", Config(), seed=0):
        raise RuntimeError
    assert read_json(tmp_path / "out" / "manifest.json")["status"] == "failed"


@given(configs)
def test_command_line_parses_back(config):
    import tyro

    line = command_line("demo", Config(seed=config.seed, kind=config.kind, n=config.n, ema=False))
    program, stage, *args = line.split()
    assert (program, stage) == ("roboloop", "demo")
    parsed = tyro.cli(Config, args=args)
    assert (parsed.seed, parsed.kind, parsed.n) == (config.seed, config.kind, config.n)
    assert not parsed.ema


def test_first_interrupt_finishes_the_unit():
    units = 0
    with pytest.raises(KeyboardInterrupt), Interruptible() as stop:
        for _ in range(5):
            os.kill(os.getpid(), signal.SIGINT)
            units += 1
            if stop.requested:
                break
    assert units == 1


def test_second_interrupt_stops_at_once():
    with pytest.raises(KeyboardInterrupt), Interruptible():
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        pytest.fail("the second interrupt did not stop")


def test_progress_without_a_terminal_is_plain_lines(capsys, monkeypatch):
    """Also while no unit ends: the time left runs on, the rate stays."""
    now = [0.0]
    monkeypatch.setattr("roboloop.console.time.monotonic", lambda: now[0])
    monkeypatch.setattr("roboloop.console.PLAIN_PERIOD", 0.001)
    with console.Progress("generate", 100, "episodes", "kept") as progress:
        progress.start_from(10)
        now[0] = 40.0
        progress.update(30, "40 tried", percent(30, 40), loss=0.25)
        now[0] = 50.0
        said = ""
        while "ETA 2:10" not in said:
            captured = capsys.readouterr()
            assert captured.out == ""
            said += captured.err
        now[0] = 60.0
    *_, last = (said + capsys.readouterr().err).splitlines()
    kept = "30/100 kept  40 tried  75 % [60, 86]  loss 0.25"
    assert f"generate  {kept}  0.5 episodes/s  ETA 2:10" in said.splitlines()
    assert last == f"generate  {kept}  0.333 episodes/s  1:00"


def test_importing_run_is_light():
    code = "import roboloop.run, sys; print({'numpy', 'torch', 'mujoco'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_two_runs_cannot_write_to_one_folder(tmp_path: Path) -> None:
    with Run.open(tmp_path / "out", "stage", Config(), 0) as run:
        with pytest.raises(RoboloopError, match="another run is writing to the output folder"):
            Run.open(tmp_path / "out", "stage", Config(), 0, overwrite=True)
        run.finish()
    with Run.open(tmp_path / "out", "stage", Config(), 0) as run:
        assert run.finished
