"""Constraint functions: what is read, what is refused and where, and that nothing is ever run."""

from contextlib import suppress

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from roboloop.errors import RoboloopError
from roboloop.task.constraints import parse
from roboloop.task.expression import Values
from roboloop.task.functions import parse_functions

PEN = '''
"""Reorient the pen and drop it upright in the holder."""
num_stages = 2
### stage 1
def stage1_subgoal_constraint1(end_effector, keypoints):
    """Align the hand with the pen."""
    return np.linalg.norm(end_effector - keypoints[1])
### stage 2
def stage2_subgoal_constraint1(end_effector, keypoints):
    holder = np.mean(keypoints[3:7], axis=0)
    offset = holder + np.array([0, 0, 0.2])
    offset[2:3] if False else None
    return np.linalg.norm(keypoints[1] - offset)
def stage2_path_constraint1(end_effector, keypoints):
    """The hand still holds the pen."""
    return get_grasping_cost_by_keypoint_idx(1)
grasp_keypoints = [1, -1]
release_keypoints = [-1, 1]
'''.replace("    offset[2:3] if False else None\n", "")


def values(points: np.ndarray) -> Values:
    named = {f"k{i}": p for i, p in enumerate(points)}
    return Values({**named, "robot.eef": np.array([1.0, 2, 3])}, {})


def body(*lines: str) -> str:
    inside = "\n".join(f"    {line}" for line in lines)
    return f"num_stages = 1\ndef stage1_subgoal_constraint1(end_effector, keypoints):\n{inside}\n"


def result(*lines: str) -> float:
    (stage,) = parse_functions(body(*lines), 5)
    return float(stage.subgoal[0].violation(values(np.arange(15.0).reshape(5, 3) / 10)))


def test_a_file_of_functions_becomes_stages():
    first, second = parse_functions(PEN, 7)
    assert (first.grasp, first.release) == (1, None)
    assert (second.grasp, second.release) == (None, 1)
    points = np.random.default_rng(0).normal(size=(7, 3))
    offset = points[3:7].mean(0) + [0, 0, 0.2]
    cost = second.subgoal[0].violation(values(points))
    assert cost == pytest.approx(np.linalg.norm(points[1] - offset))
    assert second.subgoal[0].unit == "m"
    assert second.path[0].holding == 1
    assert second.path[0].sentence == "keypoint 1 is held"
    assert first.subgoal[0].sentence == "the hand is at k1"


@pytest.mark.parametrize(
    "lines",
    [
        ["v = keypoints[1] - keypoints[0]", "return np.dot(v, [0, 0, 1]) / np.linalg.norm(v)"],
        ["a, b = keypoints[0], keypoints[2]", "a = a + b", "return abs(a[2] - 0.1)"],
        ["cost = 0", "cost += max(keypoints[1][0], 0.05) ** 2", "return cost"],
        ["return np.mean([keypoints[0], keypoints[4]], axis=0)[-1]"],
        ["return np.linalg.norm(np.cross(keypoints[1], end_effector)[:2])"],
        ["return keypoints[2, 1] * np.cos(np.pi / 3) - np.sum(keypoints[3])"],
        ["return np.arccos(np.dot(keypoints[0], keypoints[1])) - np.deg2rad(30)"],
    ],
)
def test_functions_mean_what_python_would_compute(lines):
    scope = {"np": np}
    exec(body(*lines), scope)  # the oracle: what these trusted lines compute
    points = np.arange(15.0).reshape(5, 3) / 10
    expected = scope["stage1_subgoal_constraint1"](np.array([1.0, 2, 3]), points)
    assert result(*lines) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["import os", "return 0"], "line 3, column 5: a Import is not allowed here"),
        (["return __import__('os').getpid()"], "line 3, column 12: `__import__.*` is not allowed"),
        (["for i in keypoints: pass", "return 0"], "line 3, column 5: a For is not allowed"),
        (["if 1: return 0", "return 1"], "line 3, column 5: a If is not allowed"),
        (["return np.__class__"], "line 3, column 12: `np.__class__` is not allowed"),
        (["return np.load('x')"], "line 3, column 12: `np.load` is not allowed"),
        (["return keypoints[5][0]"], "line 3, column 12: index 5 is outside the 5"),
        (["i = 2", "return keypoints[i][0]"], "the index `i` is no whole number"),
        (["return keypoints[0]"], "line 3, column 12: the result is a point"),
        (["return np.mean(keypoints[0:2])"], "`mean` of a list of points: say `axis=0`"),
        (["return x"], "line 3, column 12: `x` is not defined"),
        (["return keypoints[0] < 1"], "`keypoints.0. < 1` is not allowed"),
        (["return np.cross(keypoints[0], 1)[0]"], "does not take a 3-vector and a number"),
        (["return np.linalg.norm(keypoints[0], ord=1)"], "`ord=` is not allowed"),
        (["return 10 ** 10 ** 10"], r"`10 \*\* 10 \*\* 10` is not allowed"),
        (["return 2 ** 9"], "the exponent is no whole number"),
        (["return 1e300"], "is not within"),
        (["x = 1"], "returns nothing"),
        (["x = end_effector", *["x = x + x"] * 40, "return x[0]"], "more than 2000 operations"),
    ],
)
def test_anything_else_is_refused_with_line_and_column(lines, message):
    with pytest.raises(RoboloopError, match=message):
        parse_functions(body(*lines), 5)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "says no `num_stages`"),
        ("num_stages = 99", "num_stages is 99, wanted 1 to 50"),
        (
            "num_stages = 1\ngrasp_keypoints = [0, 1]",
            "`grasp_keypoints` has 2 entries",
        ),
        (
            "num_stages = 1\ngrasp_keypoints = [9]",
            "`grasp_keypoints` names keypoint 9",
        ),
        ("num_stages = 1\ngrasp_keypoints=[1]\nrelease_keypoints=[1]", "both grasps and releases"),
        ("num_stages = 1\ndef f(a, b):\n    return 0", "`f` is not named like"),
        ("num_stages = 1\nopen('x')", "line 2, column 1: a Expr is not allowed here"),
        ("def (", "does not parse at line 1, column 5"),
        ("x" * 20_001, "has 20001 characters"),
        (body("return 0").replace("keypoints)", "keypoints, x=1)"), "wants .end_effector, keyp"),
        (body("return 0").replace("stage1", "stage2"), "belongs to stage 2 of 1"),
    ],
)
def test_files_that_make_no_sense_are_refused(text, message):
    with pytest.raises(RoboloopError, match=message):
        parse_functions(text, 5)


DEEP = ["-" * 15_000 + "1", "(" * 150 + "1" + ")" * 150, "1+" * 9000 + "1"]


@pytest.mark.parametrize("deep", DEEP)
def test_depth_is_bounded(deep):
    with suppress(RoboloopError):
        parse(f"{deep} < 1")
    with suppress(RoboloopError):
        parse_functions(body(f"return {deep}"), 5)


PIECES = """
keypoints end_effector np np.linalg.norm norm dot cross mean ( ) [ ] , : 0 1 -1 2.5 + - * / ** = +=
axis x y return if else for in lambda import np.array eval < > object.top joint(object.door) unit
abs min max . getattr yield await @ { } *keypoints := not and 1e999 1j ... 's' __import__('os')
__import__('os').mkdir('pwned') exec('raise(SystemExit)') open('pwned','w')
""".split()  # noqa: SIM905


def fuzz(n: int) -> None:
    """Read `n` texts made of pieces of programs, or of anything."""
    pieces = st.lists(st.sampled_from(PIECES), max_size=14).map(" ".join)

    @settings(max_examples=n, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(st.one_of(pieces, st.text(max_size=60)), st.booleans())
    def read_or_refuse(text, as_function):
        with suppress(RoboloopError):
            if as_function:
                (stage,) = parse_functions(body(f"x = {text}", f"return {text}"), 5)
                cost, now = stage.subgoal[0], values(np.zeros((5, 3)))
            else:
                cost = parse(text)
                now = Values({"object.top": np.zeros(3)}, {"object.door": np.ones(())})
            assert np.isfinite(cost.violation(now)).all()
            assert cost.sentence

    read_or_refuse()


def test_fuzzed_programs_are_read_or_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    fuzz(200)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_ten_thousand_fuzzed_programs_are_read_or_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    fuzz(10_000)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "hostile", ["__import__('os')", "eval('1')", "exec('1')", "open('pwned', 'w')", "(lambda: 1)()"]
)
def test_what_would_run_code_is_refused(hostile, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RoboloopError, match="not allowed"):
        parse_functions(body(f"return {hostile}"), 5)
    with pytest.raises(RoboloopError, match="not allowed"):
        parse(f"{hostile} < 1")
    assert not list(tmp_path.iterdir())
