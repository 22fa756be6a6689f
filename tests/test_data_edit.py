"""Merge, split and filter from the command line: clear semantics, nothing lost, nothing twice."""

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_episodes import files_of, make_dataset, make_episode
from roboloop.cli import main
from roboloop.data.choose import parse_ranges, split_by_shares
from roboloop.data.reader import iter_episodes, read_info
from roboloop.errors import RoboloopError

SIZE = 16, 16
N = 6


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "six"
    return make_dataset(folder, [make_episode(i, 3 + i, SIZE) for i in range(N)])


def seeds(folder) -> list[int]:
    return [episode.seed for episode in iter_episodes(folder, images=False)]


@given(st.integers(2, 400), st.floats(0.05, 0.95), st.integers(0, 9))
def test_shares_hold_every_episode_once(n, share, seed):
    shares = (share, 1 - share)
    try:
        parts = split_by_shares(shares, n, seed)
    except RoboloopError:
        assert min(shares) * n < 1
        return
    assert sorted(sum(parts, ())) == list(range(n))
    assert abs(len(parts[0]) - share * n) <= 0.5
    assert parts == split_by_shares(shares, n, seed)


@pytest.mark.parametrize(
    ("texts", "expected"),
    [(("7",), [7]), (("0:3", "5"), [0, 1, 2, 5]), (("8:",), [8, 9]), ((":2,4",), [0, 1, 4])],
)
def test_ranges_are_read(texts, expected):
    assert parse_ranges(texts, 10) == expected


@pytest.mark.parametrize("text", ["x", "3:x", "10", "5:3", "0:11", "-1", ""])
def test_ranges_that_make_no_sense_are_refused(text):
    with pytest.raises(RoboloopError, match=r"no range of episodes|no episodes"):
        parse_ranges((text,), 10)


def test_split_shares_episodes_out_and_merge_brings_them_together(dataset, tmp_path, capsys):
    out = tmp_path / "split"
    assert (
        main(["data", "split", str(dataset), "--fractions", "0.5", "0.5", "--out", str(out)]) == 0
    )
    parts = capsys.readouterr().out.splitlines()
    assert parts == [str(out / "train"), str(out / "valid")]
    assert sorted(seeds(out / "train") + seeds(out / "valid")) == list(range(N))
    merged = str(tmp_path / "merged")
    assert main(["data", "merge", *parts, "--out", merged]) == 0
    assert sorted(seeds(tmp_path / "merged")) == list(range(N))
    assert main(["data", "check", merged, "--decode"]) == 0


def test_split_by_episodes(dataset, tmp_path):
    words = ["--episodes", "0:2", "4:", "--names", "a", "b", "--out", str(tmp_path / "out")]
    assert main(["data", "split", str(dataset), *words]) == 0
    assert (seeds(tmp_path / "out/a"), seeds(tmp_path / "out/b")) == ([0, 1], [4, 5])


@pytest.mark.parametrize(
    ("words", "kept"),
    [
        (["--where", "success"], [0, 2, 4]),
        (["--where", "failure", "--min-length", "5"], [3, 5]),
        (["--task", "*THING 1*"], [1, 3, 5]),
        (["--scene", "cousins/000[0-2]"], [0, 1, 2]),
        (["--max-length", "4"], [0, 1]),
        (["--episodes", "5", "0:2"], [0, 1, 5]),
    ],
)
def test_filter_keeps_what_is_wanted(dataset, tmp_path, words, kept):
    out = tmp_path / "out"
    assert main(["data", "filter", str(dataset), *words, "--out", str(out)]) == 0
    assert seeds(out) == kept
    assert read_info(out).n_frames == sum(3 + i for i in kept)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["filter", "A", "--scene", "x*", "--out", "O"],
            "no episode of 6 is as wanted: .*0 by scene",
        ),
        (["filter", "A"], "no place to write to"),
        (["filter", "A", "--out", "A"], "is not apart from"),
        (["filter", "A", "--out", "A/sub"], "is not apart from"),
        (["merge", "--out", "O"], "no dataset to merge"),
        (["merge", "A", "nothing", "--out", "O"], "no dataset here"),
        (["split", "A", "--fractions", "0.5", "0.4", "--out", "O"], "add up to 0.9"),
        (["split", "A", "--fractions", "0.99", "0.01", "--out", "O"], "a part would be empty"),
        (["split", "A", "--episodes", "0:3", "2:", "--out", "O"], "episodes in two parts: 2"),
        (["split", "A", "--episodes", "0:3", "--out", "O"], "1 parts, names train, valid"),
        (["split", "A", "--names", "..", "b", "--out", "O"], "is no name of a folder"),
    ],
)
def test_what_makes_no_sense_is_said(dataset, tmp_path, capsys, words, message):
    before = files_of(dataset)
    places = {"A": str(dataset), "O": str(tmp_path / "out"), "A/sub": str(dataset / "sub")}
    words = ["data", *(places.get(word, word) for word in words), "--overwrite"]
    assert main(words[:-1] if words[1] == "merge" and words[2] == "--out" else words) == 2
    error = capsys.readouterr().err
    assert "Traceback" not in error
    assert re.search(message, error)
    assert files_of(dataset) == before
    assert not (tmp_path / "out").exists()


def test_the_same_command_again_does_nothing_and_another_is_refused(dataset, tmp_path, capsys):
    out = tmp_path / "out"
    command = ["data", "filter", str(dataset), "--out", str(out)]
    assert main([*command, "--where", "success", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"dataset": str(out)}
    before = files_of(out)
    assert main([*command, "--where", "success"]) == 0
    assert files_of(out) == before
    assert main([*command, "--where", "failure"]) == 2
    assert "was 'success', now 'failure'" in capsys.readouterr().err
    assert main([*command, "--where", "failure", "--overwrite"]) == 0
    assert seeds(out) == [1, 3, 5]


def test_a_merge_that_was_killed_starts_again(dataset, tmp_path, monkeypatch):
    from roboloop.data import compose

    command = ["data", "merge", str(dataset), str(dataset), "--out", str(tmp_path / "out")]
    with monkeypatch.context() as patch:
        patch.setattr(compose, "write_meta", lambda *a: (_ for _ in ()).throw(KeyboardInterrupt))
        assert main(command) == 130
    assert not (tmp_path / "out/meta/info.json").exists()
    assert main(command) == 0
    assert seeds(tmp_path / "out") == [*range(N), *range(N)]


def test_statistics_are_shown(dataset, capsys):
    assert main(["data", "stats", str(dataset)]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["episodes"], shown["success"], shown["scenes"]) == (N, 3, N)
    assert shown["length"] == {"min": 3, "median": 5.5, "max": 8}
    assert shown["tasks"] == {"put thing 0 away": 3, "put thing 1 away": 3}
    assert len(shown["features"]["observation.images.front"]["q50"]) == 3
