"""Expressions: derivatives against finite differences, units, words, and bounded evaluation."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from roboloop.errors import RoboloopError
from roboloop.task.constraints import Constraint, parse
from roboloop.task.explain import comparison, source
from roboloop.task.expression import (
    OPERATIONS,
    Program,
    Tangents,
    Values,
    constant,
    joint,
    make,
    point,
)

TEXTS = [
    "norm(xy(a.p - a.q)) < 0.02",
    "z(a.p - b.r) > joint(b.door) * 2",
    "dot(unit(a.p - a.q), unit(b.r - a.q)) > 0.7",
    "norm(cross(unit(a.p - a.q), [0, 0, 1])) < 0.1",
    "abs(z(a.p) - z(mean(a.q, b.r))) < max(0.1, joint(b.door))",
    "arccos(dot(unit(a.p), unit(b.r))) < 0.5",
    "sqrt(norm(a.p) ** 3 + 1) / (2 + sin(joint(b.door))) < min(a.p[0], a.q[1])",
    "sum(a.p) * cos(z(a.q)) - mean(a.p[0:2]) < dot(a.p, [1, 2, 3])",
    "norm([a.p[0], joint(b.door), 0.5] - 2 * a.q) < 1",
]
NAMES = ("a.p", "a.q", "b.r")


def values_at(x: np.ndarray) -> Values:
    """Points and a joint out of ten numbers."""
    points = {name: x[..., 3 * i : 3 * i + 3] for i, name in enumerate(NAMES)}
    return Values(points, {"b.door": x[..., 9]})


def tangents_at() -> Tangents:
    unit = np.eye(10)
    points = {name: unit[3 * i : 3 * i + 3] for i, name in enumerate(NAMES)}
    return Tangents(points, {"b.door": unit[9]})


@pytest.mark.parametrize("text", TEXTS)
def test_derivatives_are_those_of_finite_differences(text):
    program = parse(text).program
    x = np.random.default_rng(1).normal(size=(5, 10))
    ((value, slope),) = program.differentiate(values_at(x), tangents_at(), 10)
    np.testing.assert_array_equal(value, program.evaluate(values_at(x))[0])
    h, slope = 1e-6, np.broadcast_to(slope, x.shape)
    for i, step in enumerate(h * np.eye(10)):
        (above,), (below,) = (program.evaluate(values_at(x + s)) for s in (step, -step))
        np.testing.assert_allclose(slope[:, i], (above - below) / (2 * h), atol=1e-7, rtol=1e-6)


@pytest.mark.parametrize("text", TEXTS)
def test_a_batch_is_its_rows(text):
    program = parse(text).program
    x = np.random.default_rng(2).normal(size=(2, 3, 10))
    (whole,) = program.evaluate(values_at(x))
    assert whole.shape == (2, 3)
    for index in np.ndindex(2, 3):
        np.testing.assert_allclose(program.evaluate(values_at(x[index]))[0], whole[index])


ARGUMENTS = dict.fromkeys(("add", "sub", "mul", "div", "min", "max", "dot", "cross"), 2)
ITEMS = {"pick": [(0,), (2,), (0, 1), (1, 2)], "power": [(1,), (3,), (0.5,)]}
LEAVES = st.floats(-1e3, 1e3) | st.sampled_from([*NAMES, "b.door"])
TREES = st.recursive(
    LEAVES,
    lambda parts: st.tuples(
        st.sampled_from([(op, item) for op in OPERATIONS for item in ITEMS.get(op, [()])]),
        st.lists(parts, min_size=3, max_size=3),
    ),
    max_leaves=20,
)


def built(tree):
    """An expression out of a tree; what an operation does not take is left out."""
    if isinstance(tree, float):
        return constant(tree)
    if isinstance(tree, str):
        return joint(tree) if tree == "b.door" else point(tree)
    (op, item), parts = tree
    args = [built(part) for part in parts]
    try:
        return make(op, *args[: 3 if op == "vector" else ARGUMENTS.get(op, 1)], item=item)
    except ValueError:
        return args[-1]


@given(TREES, st.sampled_from([0.0, 0.03]))
@example((("sub", ()), ["b.door", 0.0, 0.0]), 0.0)
@settings(deadline=None, max_examples=150)
def test_what_is_written_is_read_again_to_the_last_bit(tree, slack):
    node = built(tree)
    node = node if not node.size else make("norm", node)
    x = np.random.default_rng(3).normal(size=(7, 10))
    text = comparison(node, slack=slack)
    try:
        again = parse(text)
    except RoboloopError as error:
        assert "is not within" in str(error)  # a number that nobody may write
        return
    wanted = Constraint("", node).violation(values_at(x)) - slack
    found = np.broadcast_to(again.violation(values_at(x)), wanted.shape)
    if slack:  # it is on one of the sides
        np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-9)
    else:
        np.testing.assert_array_equal(found, wanted)
        assert comparison(again.node) == text


def test_names_change_where_they_are_written():
    node = parse("z(a.p) - joint(b.door) < 0.5").node
    assert comparison(node, lambda name: f"x_{name}") == "z(x_a.p) - joint(x_b.door) < 0.5"
    assert comparison(node, slack=0.1) == "z(a.p) - joint(b.door) < 0.6"
    assert comparison(parse("joint(b.door) > 0.5").node, slack=0.1) == "0.4 < joint(b.door)"
    assert source(parse("(a.p - a.q)[0] ** 2 * -z(b.r) > 1").node) == (
        "1.0 - (a.p - a.q)[0] ** 2 * -z(b.r)"
    )


@given(st.lists(st.sampled_from([0.0, 1e-300, -1e6, 1e6, 3.0]), min_size=10, max_size=10))
@settings(deadline=None, max_examples=15)
def test_every_number_is_finite(x):
    texts = [
        *TEXTS,
        "1 / norm(a.p - a.p) < z(unit(a.q)) ** 4 / 0",
        "sqrt(z(a.p)) ** 4 < 1 / z(a.p)",
    ]
    for text in texts:
        ((value, slope),) = parse(text).program.differentiate(
            values_at(np.array(x)), tangents_at(), 10
        )
        assert np.isfinite(value) and np.isfinite(slope).all()


def test_shared_parts_are_computed_once_and_named_once():
    axis = make("sub", point("a.p"), point("a.q"))
    same = make("sub", point("a.p"), point("a.q"))
    program = Program([make("norm", axis), make("dot", axis, same)])
    assert len(program) == 5
    assert program.names() == ({"a.p", "a.q"}, set())
    assert make("add", constant(1.0), constant(2.0)).item == (3.0,)


@pytest.mark.parametrize(
    ("text", "unit", "tolerance"),
    [
        ("norm(a.p - a.q) < 0.02", "m", 1e-3),
        ("dot(a.p, a.q) < 1", "m2", 1e-3),
        ("norm(a.p) / norm(a.q) < 1", "1", 1e-3),
        ("arccos(dot(unit(a.p), unit(a.q))) < 1", "rad", 1e-2),
        ("joint(b.door) > 0.3", "m or rad", 1e-3),
        ("norm(a.p) + dot(unit(a.p), unit(a.q)) < 1", "mixed", 1e-3),
        ("1 / norm(a.p) < 3", "1/m", 1e-3),
    ],
)
def test_a_constraint_has_a_unit_and_a_tolerance(text, unit, tolerance):
    constraint = parse(text)
    assert (constraint.unit, constraint.tolerance) == (unit, tolerance)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "norm(xy(cup.bottom - plate.inside)) < 0.02",
            "the horizontal distance from the cup's bottom to the plate's inside is at most 2 cm",
        ),
        (
            "z(cup.bottom - plate.inside) > 0.006",
            "the height of the cup's bottom above the plate's inside is at least 0.6 cm",
        ),
        ("joint(target.door) > 0.4", "the joint target.door is at least 0.4"),
        (
            "norm(robot.eef - (pen.tip + [0, 0, 0.1])) < 0.01",
            "the distance from the hand to the point 10 cm above the pen's tip is at most 1 cm",
        ),
        (
            "norm(pen.tip - mean(cup.a, cup.b)) < 0.01",
            "the distance from the pen's tip to the middle of the cup's a and the cup's b "
            "is at most 1 cm",
        ),
        (
            "arccos(dot(unit(a.p), unit(a.q))) < 0.1",
            "the angle whose cosine is the dot product of the direction of the a's p and "
            "the direction of the a's q is at most 5.73 degrees",
        ),
    ],
)
def test_a_constraint_says_what_it_asks_for(text, words):
    assert parse(text).sentence == words
