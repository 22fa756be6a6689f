"""The constraint language: what it means, and that nothing else gets in."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from roboloop.errors import RoboloopError
from roboloop.task.constraints import Values, parse

NUMBERS = st.floats(-10, 10)


def values(**points):
    return Values({k.replace("__", "."): np.array(v, float) for k, v in points.items()}, {})


def test_a_constraint_says_by_how_much_it_fails():
    now = values(object__bottom=[0.3, 0.4, 1.0], target__inside=[0.0, 0.0, 0.9])
    assert parse("norm(xy(object.bottom - target.inside)) < 0.02").violation(now) == pytest.approx(
        0.48
    )
    assert parse("z(object.bottom - target.inside) > 0.0").violation(now) == pytest.approx(-0.1)


def test_constraints_evaluate_batches_and_joints():
    points = {"object.top": np.arange(12.0).reshape(4, 3)}
    now = Values(points, {"target.door": np.array([0.0, 0.5, 1.0, 1.5])})
    assert parse("z(object.top) > 6").violation(now).tolist() == [4.0, 1.0, -2.0, -5.0]
    assert parse("joint(target.door) > 1").violation(now).tolist() == [1.0, 0.5, 0.0, -0.5]


@given(NUMBERS, NUMBERS, NUMBERS)
def test_arithmetic_is_pythons(a, b, c):
    violation = parse(f"min({a!r}, {b!r}) * {c!r} - abs({a!r}) < {b!r} + {c!r}").violation(values())
    assert violation == pytest.approx(min(a, b) * c - abs(a) - (b + c))


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('true') < 1",
        "object.bottom.x < 1",
        "open('x') < 1",
        "[1 for i in object.bottom] < 1",
        "norm(object.bottom, ord=1) < 1",
        "True < 1",
        "(lambda: 1) < 1",
        "z(*object.bottom) < 1",
    ],
)
def test_anything_else_is_refused_with_its_column(text):
    with pytest.raises(RoboloopError, match=r"not allowed, at column \d+"):
        parse(text)


@pytest.mark.parametrize("text", ["1 <", "z(object.top)", "0 < z(object.top) < 1", "1 == 1"])
def test_only_one_comparison_is_a_constraint(text):
    with pytest.raises(RoboloopError, match="constraint"):
        parse(text)


def test_an_unknown_name_is_named():
    with pytest.raises(RoboloopError, match="no keypoint `object.lid`"):
        parse("z(object.lid) > 0").violation(values(object__top=[0, 0, 0]))
