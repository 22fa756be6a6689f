"""Copies of a run at a URL: each file once, whole, and enough to go on from."""

import hashlib
import json
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import fsspec
import pytest

from data_episodes import ACTION_NAMES, STATE_NAMES, files_of, make_episode
from roboloop.data.shard import write_shard
from roboloop.data.writer import finish_dataset
from roboloop.demo.chunks import run_chunks, succeeded
from roboloop.errors import RoboloopError
from roboloop.generate.upload import SUMS, Upload
from roboloop.run import Run

N, CHUNK = 12, 3


@dataclass(frozen=True)
class Stage:
    n: int = N


@pytest.fixture(params=["memory", "file"])
def target(request, tmp_path):
    """A URL, empty at first."""
    names = {"memory": f"memory://{tmp_path.name}", "file": f"file://{tmp_path}/target"}
    yield names[request.param]
    fsspec.filesystem("memory").store.clear()


def attempt(folder: Path, indices: range) -> list[str]:
    """Succeed in every attempt but each fifth."""
    for i in indices:
        if i % 5:
            write_shard(folder, i, make_episode(i))
    return ["" if i % 5 else "dropped" for i in indices]


def generate(folder: Path, url: str | None, stop_after: int | None = None) -> None:
    """Do as `roboloop generate` does; stop as a machine that is lost after so many attempts."""

    def see(reasons: list[str]) -> None:
        upload.see(reasons)
        if stop_after is not None and len(reasons) >= stop_after:
            upload._pool.shutdown()
            raise InterruptedError

    with (
        Run.open(folder, "generate", Stage(), 0) as record,
        Upload(folder, url, record.manifest) as upload,
    ):
        if not record.finished:
            work = partial(attempt, folder)
            reasons = run_chunks("generate", folder, N, CHUNK, work, 1, succeeded, see=see)
            upload.pause()
            kept = [i for i, reason in enumerate(reasons) if not reason]
            finish_dataset(folder, STATE_NAMES, ACTION_NAMES, kept)
            record.finish(kept=len(kept))
        upload.finish()


def content(url: str) -> dict[str, bytes]:
    fs, root = fsspec.core.url_to_fs(url)
    return {name.removeprefix(f"{root}/"): fs.cat_file(name) for name in fs.find(root)}


def test_a_finished_run_is_there_whole(target, tmp_path):
    generate(tmp_path / "out", target)
    files, there = files_of(tmp_path / "out"), content(target)
    assert files.keys() <= there.keys()
    assert all(there[name] == files[name] for name in files)
    sums = dict(reversed(line.split("  ")) for line in there[SUMS].decode().splitlines())
    assert sums.keys() == {name for name in files if not name.startswith("chunks/")}
    assert all(sums[n] == hashlib.sha256(files[n]).hexdigest() for n in sums)


def test_a_lost_machines_run_goes_on_from_the_copy(target, tmp_path):
    with pytest.raises(InterruptedError):
        generate(tmp_path / "lost", target, stop_after=2 * CHUNK)
    assert len([name for name in content(target) if name.startswith("chunks/")]) == 2
    fs, root = fsspec.core.url_to_fs(target)
    fs.get(f"{root}/", f"{tmp_path}/out/", recursive=True)
    before = files_of(tmp_path / "out")
    assert [n for n in before if n.startswith("shards/")] == [
        f"shards/{i:06d}.arrow" for i in (1, 2, 3, 4)
    ]
    generate(tmp_path / "out", target)
    generate(tmp_path / "calm", None)
    ours, theirs = files_of(tmp_path / "out"), files_of(tmp_path / "calm")
    assert ours.pop("manifest.json") != theirs.pop("manifest.json")  # times
    assert ours == theirs
    assert {n: content(target)[n] for n in ours} == ours


def test_copies_that_were_dropped_are_made_at_the_end(target, tmp_path, monkeypatch):
    monkeypatch.setattr(Upload, "see", lambda self, reasons: None)
    generate(tmp_path / "out", target)
    assert files_of(tmp_path / "out").keys() <= content(target).keys()


def test_a_target_that_fails_costs_nothing(target, tmp_path, monkeypatch, capsys):
    fs = fsspec.core.url_to_fs(target)[0]
    put, copied = type(fs).put_file, []

    def refuse(self, local, there, **options):
        copied.append(Path(local).name)
        if len(copied) > 2:
            raise PermissionError("the bucket is full")
        return put(self, local, there, **options)

    monkeypatch.setattr(type(fs), "put_file", refuse)
    with pytest.raises(RoboloopError, match="PermissionError: the bucket is full\nhint: nothing"):
        generate(tmp_path / "out", target)
    assert capsys.readouterr().err.count("is tried again at the end") == 1
    assert json.loads((tmp_path / "out/manifest.json").read_text())["status"] == "finished"
    copied.clear()
    monkeypatch.setattr(type(fs), "put_file", put)
    generate(tmp_path / "out", target)
    files = files_of(tmp_path / "out")
    assert {n: c for n, c in content(target).items() if n in files} == files


def test_what_is_there_is_not_copied_again(target, tmp_path, monkeypatch):
    generate(tmp_path / "out", target)
    fs, root = fsspec.core.url_to_fs(target)
    fs.pipe_file(f"{root}/meta/stats.json", b"cut off")
    copied, put = [], type(fs).put_file

    def count(self, local, there, **options):
        copied.append(Path(local).name)
        return put(self, local, there, **options)

    monkeypatch.setattr(type(fs), "put_file", count)
    generate(tmp_path / "out", target)
    assert copied == ["stats.json", "manifest.json"]
    assert content(target)["meta/stats.json"] == (tmp_path / "out/meta/stats.json").read_bytes()


def test_a_target_with_something_else_in_it_is_refused(target, tmp_path):
    fs, root = fsspec.core.url_to_fs(target)
    fs.makedirs(root)
    fs.pipe_file(f"{root}/notes.txt", b"mine")
    with pytest.raises(RoboloopError, match="target holds files that no run made"):
        Upload(tmp_path, target, {})
    generate(tmp_path / "out", f"{target}/data")
    with Run.open(tmp_path / "other", "generate", Stage(13), 0) as record:
        with pytest.raises(RoboloopError, match="holds another run: .* n was 12, now 13"):
            Upload(tmp_path / "other", f"{target}/data", record.manifest)
        record.finish()
    assert content(target)["notes.txt"] == b"mine"


@pytest.mark.parametrize(
    ("url", "problem"),
    [("nowhere://x", "`nowhere://x` cannot be opened"), ("s3://bucket/x", "s3 needs a package")],
)
def test_a_url_that_cannot_be_opened_is_said_before_any_work(url, problem, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "s3fs", None)
    with pytest.raises(RoboloopError, match=problem):
        Upload(tmp_path, url, {})


def test_a_run_is_not_copied_onto_itself(tmp_path):
    with pytest.raises(RoboloopError, match="--upload is the same folder as --out"):
        Upload(tmp_path, str(tmp_path), {})
