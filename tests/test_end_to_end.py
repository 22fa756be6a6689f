"""The whole loop at the smallest scale: killed once and resumed, it writes the same bytes."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

CAPTURE = Path(__file__).parents[1] / "examples" / "captures" / "kitchen5"
MEASURED = {"manifest.json", "curve.csv", "report.html"}
"""Files that hold times: everything else has to repeat byte for byte."""
PATIENCE = 240.0


def command(out: Path) -> list[str]:
    words = ["run", str(CAPTURE), "--task", "put the bowl on the plate", "--scale", "tiny"]
    return [sys.executable, "-m", "roboloop", *words, "--workers", "1", "--out", str(out)]


def start(out: Path) -> subprocess.Popen:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    pipe = subprocess.PIPE
    return subprocess.Popen(command(out), env=environment, stdout=pipe, stderr=pipe, text=True)


def finish(out: Path) -> str:
    process = start(out)
    stdout, stderr = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, stderr
    return stdout


def stop_when(out: Path, there: str, with_signal: signal.Signals) -> int:
    """Start a run and send it a signal as soon as a file appears; return its exit code."""
    process = start(out)
    deadline = time.monotonic() + PATIENCE
    while not list(out.glob(there)):
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(with_signal)
    process.communicate(timeout=PATIENCE)
    return process.returncode


def contents(out: Path) -> dict[str, bytes]:
    files = (p for p in sorted(out.rglob("*")) if p.is_file() and p.name not in MEASURED)
    return {str(path.relative_to(out)): path.read_bytes() for path in files}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    out = tmp_path_factory.mktemp("loop") / "whole"
    assert finish(out).splitlines() == [str(out / "report.html")]
    return out


def test_the_loop_ends_with_a_report_of_every_stage(whole):
    for stage in ("scene", "task", "demo", "generate", "train", "evaluate"):
        manifest = json.loads((whole / stage / "manifest.json").read_text())
        assert manifest["status"] == "finished"
    page = (whole / "report.html").read_text()
    assert "<video" in page and "Wilson" in page
    rows = json.loads((whole / "evaluate" / "results.json").read_text())["rows"]
    assert [row["policy"] for row in rows] == ["policy", "planner", "noop", "replay"]
    noop = rows[2]
    assert noop["successes"] == 0
    assert set(noop["failures"]) == {"object not touched"}


def test_a_killed_and_resumed_run_writes_the_same_bytes(whole, tmp_path):
    out = tmp_path / "killed"
    assert stop_when(out, "generate/shards/*.parquet", signal.SIGKILL) == -signal.SIGKILL
    assert stop_when(out, "evaluate/rollouts/*/*.npy", signal.SIGINT) == 130
    finish(out)
    ours, theirs = contents(out), contents(whole)
    assert ours.keys() == theirs.keys()
    assert [name for name in ours if ours[name] != theirs[name]] == []
