"""Expressions over points and joints as a graph: evaluated in batches, with exact derivatives.

A node is data. Nothing here comes from `eval`; the cost of an evaluation is bounded by the number
of nodes, and every number that comes out is finite. Derivatives are carried forward through the
graph (dual numbers): the caller says how points and joints change with its variables and gets how
the expressions change with them.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from roboloop.errors import RoboloopError

TINY = 1e-9
"""Lengths and divisors below this are taken as this."""
HUGE = 1e12
"""What a number that is not finite is replaced by."""
NUMBER = None
"""The unit of a bare number: it takes that of what it is compared with."""
MIXED = "mixed"
OF_JOINT = "m or rad"

Unit = tuple[int, int] | str | None
"""Powers of metre and radian; `NUMBER`; `OF_JOINT`; `MIXED` where terms of several are added."""
Item = str | tuple[float, ...]


@dataclass(frozen=True, eq=False)
class Node:
    """One operation; `args` are what it works on. Nodes may be shared; they compare by identity."""

    op: str
    """A key of `OPERATIONS`, or `constant`, `point`, `joint`."""
    args: tuple["Node", ...] = ()
    size: int = 0
    """0 for a number, else the length of the vector."""
    unit: Unit = NUMBER
    item: Item = ()
    """A constant's value, the name of a point or joint, the picked indices, an exponent."""
    weight: int = 1
    """Number of operations when written out, shared ones counted each time."""


@dataclass(frozen=True)
class Values:
    """Where names get their values; leading axes are batch axes."""

    points: Mapping[str, Float[np.ndarray, "*B 3"]]
    """`role.keypoint` -> position in the world, m."""
    joints: Mapping[str, Float[np.ndarray, "*B"]]
    """`role.joint` -> m or rad."""


@dataclass(frozen=True)
class Tangents:
    """How points and joints change with D variables; what is not named does not change."""

    points: Mapping[str, Float[np.ndarray, "*B 3 D"]]
    joints: Mapping[str, Float[np.ndarray, "*B D"]]


Dual = tuple[Any, Any]
"""A value and its derivatives along a last axis, or None where it does not change. Arrays; numpy
turns those without axes into scalars."""


def constant(value: ArrayLike) -> Node:
    """A number or a vector of numbers."""
    numbers = np.asarray(value, float)
    return Node("constant", size=numbers.size if numbers.ndim else 0, item=tuple(numbers.ravel()))


def point(name: str) -> Node:
    """A named point, m."""
    return Node("point", size=3, unit=(1, 0), item=name)


def joint(name: str) -> Node:
    """A named joint's value; whether it is in m or rad, the name does not say."""
    return Node("joint", unit=OF_JOINT, item=name)


def make(op: str, *args: Node, item: Item = ()) -> Node:
    """Apply an operation; constants are folded.

    Raises:
        ValueError: The operation does not take vectors of these lengths.
    """
    rule = OPERATIONS[op]
    size = rule.size(tuple(a.size for a in args), item)
    if size is None:
        sizes = " and ".join("a number" if not a.size else f"a {a.size}-vector" for a in args)
        raise ValueError(f"`{op}` does not take {sizes}")
    unit = rule.unit(tuple(a.unit for a in args), item)
    node = Node(op, args, size, unit, item, 1 + sum(a.weight for a in args))
    if all(a.op == "constant" for a in args):
        value = Program([node]).evaluate(Values({}, {}))[0]
        return replace(constant(value), unit=unit)
    return node


class Program:
    """Several expressions evaluated together; what they share is computed once."""

    def __init__(self, roots: Sequence[Node]) -> None:
        self.roots = tuple(roots)
        self._tape: list[tuple[Node, tuple[int, ...]]] = []
        places: dict[Node, int] = {}
        known: dict[tuple, int] = {}
        for root in roots:
            for node in _ordered(root, places):
                args = tuple(places[a] for a in node.args)
                key = (node.op, args, node.item, node.size)
                if key not in known:
                    known[key] = len(self._tape)
                    self._tape.append((node, args))
                places[node] = known[key]
        self._roots = [places[root] for root in roots]

    def __len__(self) -> int:
        return len(self._tape)

    def names(self) -> tuple[set[str], set[str]]:
        """The points and the joints that it reads."""
        leaves = [(n.op, str(n.item)) for n, _ in self._tape if n.op in ("point", "joint")]
        return {i for op, i in leaves if op == "point"}, {i for op, i in leaves if op == "joint"}

    def evaluate(self, values: Values) -> list[Float[np.ndarray, "*B"]]:
        """Evaluate every root: numbers as `(*B)`, vectors as `(*B, size)`.

        Raises:
            RoboloopError: A name has no value.
        """
        return [np.asarray(v) for v, _ in self.differentiate(values, Tangents({}, {}))]

    def differentiate(self, values: Values, tangents: Tangents) -> list[Dual]:
        """Evaluate every root and its derivatives `(*B, D)`, `(*B, size, D)` for vectors.

        The derivative of what has none at a value (a length of zero) is zero there.

        Raises:
            RoboloopError: A name has no value.
        """
        done: list[Dual] = []
        with np.errstate(all="ignore"):
            for node, args in self._tape:
                rule = OPERATIONS.get(node.op)
                if node.op == "constant":
                    value = np.asarray(node.item, float)
                    done.append((value if node.size else value[0], None))
                elif node.op == "point":
                    name = str(node.item)
                    done.append(
                        (_lookup(values.points, name, "keypoint"), tangents.points.get(name))
                    )
                elif node.op == "joint":
                    name = str(node.item)
                    done.append((_lookup(values.joints, name, "joint"), tangents.joints.get(name)))
                elif rule:
                    operands = [
                        _lift(done[i]) if node.size and rule.elementwise and not a.size else done[i]
                        for i, a in zip(args, node.args, strict=True)
                    ]
                    done.append(rule.function(node.item, *operands))
            return [_finite(done[i]) for i in self._roots]


def _ordered(root: Node, known: Mapping[Node, int]) -> list[Node]:
    """The nodes below a root that are not known yet, arguments first; without recursion."""
    order: dict[Node, None] = {}
    stack = [(root, False)]
    while stack:
        node, ready = stack.pop()
        if node in order or node in known:
            continue
        if ready:
            order[node] = None
        else:
            stack.append((node, True))
            stack.extend((a, False) for a in node.args)
    return list(order)


def _lookup(table: Mapping[str, np.ndarray], name: str, kind: str) -> np.ndarray:
    if name not in table:
        raise RoboloopError(f"no {kind} `{name}`", f"known: {', '.join(sorted(table))}")
    return np.asarray(table[name])


def _finite(dual: Dual) -> Dual:
    value, tangent = dual
    value = np.nan_to_num(value, nan=HUGE, posinf=HUGE, neginf=-HUGE)
    if tangent is not None:
        tangent = np.nan_to_num(tangent, nan=0.0, posinf=0.0, neginf=0.0)
    return value, tangent


# Operations on duals.


def _lift(a: Dual) -> Dual:
    """Give a number that meets a vector the vector's axis."""
    return a[0][..., None], None if a[1] is None else a[1][..., None, :]


def _chain(*terms: tuple[np.ndarray | float, np.ndarray | None]) -> np.ndarray | None:
    """Sum factor x tangent over the arguments that change."""
    moving = [np.asarray(factor)[..., None] * t for factor, t in terms if t is not None]
    return sum(moving[1:], moving[0]) if moving else None


def _add(item: Item, a: Dual, b: Dual) -> Dual:
    return a[0] + b[0], _chain((1.0, a[1]), (1.0, b[1]))


def _sub(item: Item, a: Dual, b: Dual) -> Dual:
    return a[0] - b[0], _chain((1.0, a[1]), (-1.0, b[1]))


def _mul(item: Item, a: Dual, b: Dual) -> Dual:
    return a[0] * b[0], _chain((b[0], a[1]), (a[0], b[1]))


def _div(item: Item, a: Dual, b: Dual) -> Dual:
    by = np.where(np.abs(b[0]) < TINY, np.copysign(TINY, b[0]), b[0])
    value = a[0] / by
    return value, _chain((1 / by, a[1]), (-value / by, b[1]))


def _choose(keep: np.ndarray | np.bool_, a: Dual, b: Dual) -> Dual:
    tangent = _chain((np.where(keep, 1.0, 0.0), a[1]), (np.where(keep, 0.0, 1.0), b[1]))
    return np.where(keep, a[0], b[0]), tangent


def _min(item: Item, a: Dual, b: Dual) -> Dual:
    return _choose(a[0] <= b[0], a, b)


def _max(item: Item, a: Dual, b: Dual) -> Dual:
    return _choose(a[0] >= b[0], a, b)


def _abs(item: Item, a: Dual) -> Dual:
    return np.abs(a[0]), _chain((np.sign(a[0]), a[1]))


def _neg(item: Item, a: Dual) -> Dual:
    return -a[0], _chain((-1.0, a[1]))


def _power(item: Item, a: Dual) -> Dual:
    n = float(item[0])
    base = np.maximum(a[0], 0.0) if n % 1 else a[0]
    slope = n * np.maximum(base, TINY) ** (n - 1) if n % 1 else n * base ** max(n - 1, 0)
    return base**n, _chain((slope, a[1]))


def _sin(item: Item, a: Dual) -> Dual:
    return np.sin(a[0]), _chain((np.cos(a[0]), a[1]))


def _cos(item: Item, a: Dual) -> Dual:
    return np.cos(a[0]), _chain((-np.sin(a[0]), a[1]))


def _arccos(item: Item, a: Dual) -> Dual:
    value = np.clip(a[0], -1.0, 1.0)
    return np.arccos(value), _chain((-1 / np.sqrt(np.maximum(1 - value**2, TINY)), a[1]))


def _dot(item: Item, a: Dual, b: Dual) -> Dual:
    value, tangent = _mul(item, a, b)
    return value.sum(-1), None if tangent is None else tangent.sum(-2)


def _norm(item: Item, a: Dual) -> Dual:
    length = np.sqrt((a[0] ** 2).sum(-1))
    way = a[0] / np.maximum(length, TINY)[..., None]
    return length, None if a[1] is None else (way[..., None] * a[1]).sum(-2)


def _cross(item: Item, a: Dual, b: Dual) -> Dual:
    parts = []
    for i, j in ((1, 2), (2, 0), (0, 1)):
        p, q, r, s = (_pick((k,), d) for d, k in ((a, i), (b, j), (a, j), (b, i)))
        parts.append(_sub(item, _mul(item, p, q), _mul(item, r, s)))
    return _vector(item, *parts)


def _pick(item: Item, a: Dual) -> Dual:
    chosen = [int(i) for i in item]
    index = chosen if len(chosen) > 1 else chosen[0]
    return a[0][..., index], None if a[1] is None else a[1][..., index, :]


def _vector(item: Item, *parts: Dual) -> Dual:
    value = np.stack(np.broadcast_arrays(*(v for v, _ in parts)), -1)
    like = next((t for _, t in parts if t is not None), None)
    if like is None:
        return value, None
    filled = [np.zeros_like(like) if t is None else t for _, t in parts]
    return value, np.stack(np.broadcast_arrays(*filled), -2)


# What operations do to sizes and units.


@dataclass(frozen=True)
class _Operation:
    function: Callable[..., Dual]
    size: Callable[[tuple[int, ...], Item], int | None]
    unit: Callable[[tuple[Unit, ...], Item], Unit]
    elementwise: bool = False
    """Whether a number may stand beside a vector."""


def _same(units: tuple[Unit, ...], item: Item) -> Unit:
    """The unit of a sum: bare numbers take that of the others."""
    known = {u for u in units if u is not NUMBER}
    return known.pop() if len(known) == 1 else (MIXED if known else NUMBER)


def _times(sign: int) -> Callable[[tuple[Unit, ...], Item], Unit]:
    def unit(units: tuple[Unit, ...], item: Item) -> Unit:
        named = [u for u in units if isinstance(u, str)]
        if named:
            return named[0] if NUMBER in units and sign > 0 else MIXED
        if all(u is NUMBER for u in units):
            return NUMBER
        (m, r), (n, s) = (u if isinstance(u, tuple) else (0, 0) for u in units)
        return m + sign * n, r + sign * s

    return unit


def _to_power(units: tuple[Unit, ...], item: Item) -> Unit:
    (unit,), n = units, float(item[0])
    if not isinstance(unit, tuple):
        return unit
    powers = tuple(p * n for p in unit)
    return MIXED if any(p % 1 for p in powers) else (int(powers[0]), int(powers[1]))


def _broadcast(sizes: tuple[int, ...], item: Item) -> int | None:
    vectors = {s for s in sizes if s}
    return None if len(vectors) > 1 else max(vectors, default=0)


def _number_of(n: int, *lengths: int) -> Callable[[tuple[int, ...], Item], int | None]:
    """A rule: takes vectors of these lengths only, gives a number (0) or a vector."""

    def size(sizes: tuple[int, ...], item: Item) -> int | None:
        return n if len(set(sizes)) == 1 and sizes[0] in lengths else None

    return size


def _picked(sizes: tuple[int, ...], item: Item) -> int | None:
    if not sizes[0] or any(not 0 <= int(i) < sizes[0] for i in item):
        return None
    return len(item) if len(item) > 1 else 0


def _stacked(sizes: tuple[int, ...], item: Item) -> int | None:
    return len(sizes) if not any(sizes) and len(sizes) in (2, 3) else None


def _plain(units: tuple[Unit, ...], item: Item) -> Unit:
    return NUMBER if all(u is NUMBER for u in units) else (0, 0)


def _angle(units: tuple[Unit, ...], item: Item) -> Unit:
    return (0, 1)


OPERATIONS: dict[str, _Operation] = {
    "add": _Operation(_add, _broadcast, _same, True),
    "sub": _Operation(_sub, _broadcast, _same, True),
    "mul": _Operation(_mul, _broadcast, _times(1), True),
    "div": _Operation(_div, _broadcast, _times(-1), True),
    "min": _Operation(_min, _broadcast, _same, True),
    "max": _Operation(_max, _broadcast, _same, True),
    "neg": _Operation(_neg, _broadcast, _same),
    "abs": _Operation(_abs, _broadcast, _same),
    "power": _Operation(_power, _broadcast, _to_power),
    "sin": _Operation(_sin, _number_of(0, 0), _plain),
    "cos": _Operation(_cos, _number_of(0, 0), _plain),
    "arccos": _Operation(_arccos, _number_of(0, 0), _angle),
    "dot": _Operation(_dot, _number_of(0, 2, 3), _times(1)),
    "cross": _Operation(_cross, _number_of(3, 3), _times(1)),
    "norm": _Operation(_norm, _number_of(0, 2, 3), _same),
    "pick": _Operation(_pick, _picked, _same),
    "vector": _Operation(_vector, _stacked, _same),
}
