"""The whole loop at the smallest scale: killed once and resumed, it writes the same bytes."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import h5py
import mujoco
import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from data_episodes import finish as finish_episodes
from data_episodes import make_episode
from roboloop.cli import main
from roboloop.data import video
from roboloop.data.reader import iter_episodes, read_info
from roboloop.data.shard import write_shard
from roboloop.data.writer import finish_dataset
from roboloop.demo import chunks
from roboloop.generate.preview import FILM, PREVIEW, STARTS, Material, Watch

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


def test_what_never_succeeds_is_reported(whole, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(chunks, "HOPELESS", 10)
    out, inputs = tmp_path / "out", [str(whole / name) for name in ("demo", "scene", "task")]
    flags = ["--n", "2", "--px", "0", "--noise", "3", "--workers", "1", "--failures"]
    assert main(["generate", *inputs, *flags, "--out", str(out)]) == 2
    said = capsys.readouterr().err
    assert "error: only 0 of 10 attempts succeeded: " in said
    assert f"hint: `roboloop report {out}` shows why" in said
    assert list((out / "failures").glob("*.png"))
    assert main(["report", str(out)]) == 0
    page = (out / "report.html").read_text()
    assert "0 of 10 attempts" in page
    assert "no dataset was written" in page


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


def test_every_episode_replays_to_its_end(whole, tmp_path, capsys):
    """In the dataset, in a choice of it, and not where an episode was tampered with."""
    some, file = tmp_path / "some", tmp_path / "some.hdf5"
    check = ["data", "check", "--decode", "--replay", "--workers", "1"]
    assert main([*check, str(whole / "generate")]) == 0
    assert "6 episodes end as recorded, 6 bit for bit" in capsys.readouterr().err
    assert (
        main(["data", "filter", str(whole / "generate"), "--episodes", "1", "--out", str(some)])
        == 0
    )
    assert main([*check, str(some)]) == 0
    assert main(["data", "convert", str(some), "--to", "hdf5", "--out", str(file)]) == 0
    (episode,) = iter_episodes(some)
    with h5py.File(file) as content:
        model = mujoco.MjModel.from_xml_string(content["data/demo_0"].attrs["model_file"])
    size = mujoco.mj_stateSize(model, mujoco.mjtState.mjSTATE_INTEGRATION)
    assert size == episode.sim_states.shape[1]
    still = np.repeat(episode.action[:1], len(episode), 0)
    write_shard(tmp_path / "wrong", 0, replace(episode, action=still))
    names = read_info(some).state_names, read_info(some).action_names
    finish_dataset(tmp_path / "wrong", *names)
    places = ["--scene", str(whole / "scene"), "--task", str(whole / "task")]
    assert main([*check, str(tmp_path / "wrong"), *places]) == 2
    said = capsys.readouterr().err
    assert "episode 0: recorded as a success, replayed: object not touched" in said


def test_generation_refuses_sources_of_another_robot(whole, tmp_path, capsys):
    write_shard(tmp_path / "demo", 0, make_episode(0, images=None, fps=10, robot="so101"))
    finish_episodes(tmp_path / "demo")
    words = ["generate", *map(str, (tmp_path / "demo", whole / "scene", whole / "task"))]
    assert main([*words, "--out", str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err
    for fact in ("robot: so101, wanted panda", "fps: 10, wanted 20", "joints (state): ('shoulder'"):
        assert fact in said
    shutil.rmtree(tmp_path / "demo/sim")
    assert main([*words, "--out", str(tmp_path / "out2")]) == 2
    assert "the dataset has no simulator states or poses" in capsys.readouterr().err


def test_a_policy_that_is_told_where_things_are_is_trained_and_rolled_out(whole, tmp_path):
    data = shutil.copytree(whole / "generate", tmp_path / "data")  # training keeps a cache there
    out, scene, task = tmp_path / "told", whole / "scene", whole / "task"
    assert main(["train", str(data), "--scale", "tiny", "--px", "0", "--out", str(out)]) == 0
    evaluate = ["evaluate", str(out), str(scene), str(task), "--n", "1", "--no-videos"]
    assert main([*evaluate, "--horizon-steps", "8", "--out", str(tmp_path / "rolled")]) == 0


def test_a_run_is_drawn_while_it_goes_on(whole, tmp_path):
    """Episodes from its shards as at the end from the dataset; starts whenever there are twice."""
    done, out = whole / "generate", tmp_path / "out"
    rows = pq.read_table(done / "attempts.parquet").to_pylist()
    for episode in iter_episodes(done, images=False):
        write_shard(out, episode.seed, episode)
    kept = [row["attempt"] for row in rows if row["episode"] is not None]
    reasons = [row["cause"] for row in rows][: kept[-1] + 1]
    names = [name for name in rows[0] if name.startswith("start.")]
    starts = [[row[name] for name in names] for row in rows]
    named = [name.removeprefix("start.") for name in names]
    watch = Watch(out, Material(whole / "scene", whole / "task"), named)
    watch.see(reasons[:2], starts[:2])
    assert (out / STARTS).exists() and not (out / PREVIEW).exists()
    watch.see(reasons, starts[: len(reasons)])
    assert (out / PREVIEW).read_bytes() == (done / PREVIEW).read_bytes()
    watch.draw_starts([row["cause"] for row in rows], starts)
    assert (out / STARTS).read_bytes() == (done / STARTS).read_bytes()
    assert video.count_packets(done / FILM) > 20


def test_an_attempt_alone_is_the_one_of_the_run(whole, tmp_path):
    rows = pq.read_table(whole / "generate" / "attempts.parquet").to_pylist()
    words = ["generate", *map(str, (whole / "demo", whole / "scene", whole / "task"))]
    assert main([*words, "--only", str(rows[3]["attempt"]), "--out", str(tmp_path / "out")]) == 0
    (alone,) = iter_episodes(tmp_path / "out", images=False)
    together = list(iter_episodes(whole / "generate", images=False))[rows[3]["episode"]]
    assert np.array_equal(alone.sim_states, together.sim_states)


def test_causes_of_failure_are_drawn_afterwards(whole, tmp_path, capsys):
    """As if attempt 1 had failed: it is made again, and drawn once."""
    out, demo, scene, task = (whole / name for name in ("generate", "demo", "scene", "task"))
    shutil.copytree(out, tmp_path / "out")
    table = pq.read_table(out / "attempts.parquet")
    causes = ["", "dropped by 2 cm", "dropped by 3 cm", *table["cause"].to_pylist()[3:]]
    table = table.set_column(table.column_names.index("cause"), "cause", [causes])
    pq.write_table(table, tmp_path / "out/attempts.parquet")
    words = ["generate", str(demo), str(scene), str(task), "--scale", "tiny", "--workers", "1"]
    for _ in range(2):
        assert main([*words, "--failures", "--out", str(tmp_path / "out")]) == 0
        assert "1 of 1 causes drawn" in capsys.readouterr().err
    (picture,) = (tmp_path / "out/failures").iterdir()
    with Image.open(picture) as image:
        assert picture.name == "000001.png" and image.width > 1000


@pytest.mark.slow
def test_a_cluster_writes_the_same_bytes(whole, tmp_path):
    pytest.importorskip("ray")
    sources = map(str, (whole / "demo", whole / "scene", whole / "task"))
    flags = ["--scale", "tiny", "--cluster", "local", "--workers", "2", "--out", str(tmp_path)]
    words = [sys.executable, "-m", "roboloop", "generate", *sources, *flags]
    done = subprocess.run(words, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr
    shutil.rmtree(whole / "generate" / "cache")  # training's
    assert contents(tmp_path) == contents(whole / "generate")


def test_a_killed_and_resumed_run_writes_the_same_bytes(whole, tmp_path):
    out = tmp_path / "killed"
    assert stop_when(out, "generate/shards/*.arrow", signal.SIGKILL) == -signal.SIGKILL
    assert stop_when(out, "evaluate/rollouts/*/*.npy", signal.SIGINT) == 130
    finish(out)
    ours, theirs = contents(out), contents(whole)
    assert ours.keys() == theirs.keys()
    assert [name for name in ours if ours[name] != theirs[name]] == []
