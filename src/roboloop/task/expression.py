"""Expressions over points and joints as a graph: evaluated in batches, with exact derivatives.

A node is data. The cost of an evaluation is bounded by the number of nodes, and every number that
comes out is finite. The caller says how points and joints change with its variables and gets how
the expressions change with them.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from roboloop.errors import RoboloopError
from roboloop.task import tape
from roboloop.task.tape import Tape, run_batch

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

    def raised(self, name: str, by: float) -> "Values":
        """The same with one point higher, m."""
        if not by:
            return self
        return replace(self, points={**self.points, name: self.points[name] + [0.0, 0.0, by]})


@dataclass(frozen=True)
class Tangents:
    """How points and joints change with D variables; what is not named does not change."""

    points: Mapping[str, Float[np.ndarray, "*B 3 D"]]
    joints: Mapping[str, Float[np.ndarray, "*B D"]]


def constant(value: ArrayLike) -> Node:
    """A number or a vector of numbers."""
    numbers = np.asarray(value, float)
    return Node("constant", size=numbers.size if numbers.ndim else 0, item=tuple(numbers.ravel()))


def is_zero(node: Node) -> bool:
    """Whether this is the number 0 as somebody wrote it."""
    return node.op == "constant" and node.item == (0.0,)


def point(name: str) -> Node:
    """A named point, m."""
    return Node("point", size=3, unit=(1, 0), item=name)


def joint(name: str) -> Node:
    """A named joint's value; whether it is in m or rad, the name does not say."""
    return Node("joint", unit=OF_JOINT, item=name)


SHARE = ".share"
"""Ends the name of a joint's value as a share of its range."""


def share(name: str) -> Node:
    """A named joint's value as a share of its range: 0 at its lowest, 1 at its highest."""
    return Node("joint", item=name + SHARE)


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
        ops: list[tuple[Node, tuple[int, ...]]] = []
        places: dict[Node, int] = {}
        known: dict[tuple, int] = {}
        self.points: dict[str, int] = {}
        """Names of the points it reads -> their places among those given to the tape."""
        self.joints: dict[str, int] = {}
        for root in roots:
            for node in _ordered(root, places):
                args = tuple(places[a] for a in node.args)
                if node.op in ("point", "joint"):
                    table = self.points if node.op == "point" else self.joints
                    args = (table.setdefault(str(node.item), len(table)),)
                key = (node.op, args, node.item, node.size)
                if key not in known:
                    known[key] = len(ops)
                    ops.append((node, args))
                places[node] = known[key]
        self.tape = _pack(ops)
        self.roots = np.array([places[root] for root in roots], int)
        self._sizes = [root.size for root in roots]

    def __len__(self) -> int:
        return len(self.tape.code)

    def names(self) -> tuple[set[str], set[str]]:
        """The points and the joints that it reads."""
        return set(self.points), set(self.joints)

    def evaluate(self, values: Values) -> list[Float[np.ndarray, "*B"]]:
        """Evaluate every root: numbers as `(*B)`, vectors as `(*B, size)`.

        Raises:
            RoboloopError: A name has no value.
        """
        return [value for value, _ in self.differentiate(values, Tangents({}, {}), 0)]

    def differentiate(
        self, values: Values, tangents: Tangents, n: int
    ) -> list[tuple[np.ndarray, np.ndarray]]:
        """Evaluate every root and its derivatives `(*B, D)`, `(*B, size, D)` for vectors.

        The derivative of what has none at a value (a length of zero) is zero there.

        Args:
            values: The names' values.
            tangents: How they change with D variables.
            n: D.

        Raises:
            RoboloopError: A name has no value.
        """
        points = [_lookup(values.points, name, "keypoint") for name in self.points]
        joints = [_lookup(values.joints, name, "joint") for name in self.joints]
        d_points = [tangents.points.get(name, np.zeros((3, n))) for name in self.points]
        d_joints = [tangents.joints.get(name, np.zeros(n)) for name in self.joints]
        shape = np.broadcast_shapes(
            *(p.shape[:-1] for p in points), *(j.shape for j in joints),
            *(d.shape[:-2] for d in d_points), *(d.shape[:-1] for d in d_joints),
        )  # fmt: skip
        found, slopes = run_batch(
            self.tape,
            self.roots,
            _rows(points, shape, (3,)),
            _rows(d_points, shape, (3, n)),
            _rows(joints, shape, ()),
            _rows(d_joints, shape, (n,)),
        )
        found = found.reshape(*shape, len(self.roots), 3)
        slopes = slopes.reshape(*shape, len(self.roots), 3, n)
        parts = [slice(size) if size else 0 for size in self._sizes]
        return [(found[..., i, p], slopes[..., i, p, :]) for i, p in enumerate(parts)]


def _pack(ops: list[tuple[Node, tuple[int, ...]]]) -> Tape:
    """Write operations as arrays."""
    code = np.array([CODES[node.op] for node, _ in ops], int)
    args, number = np.full((len(ops), 3), -1), np.zeros((len(ops), 3))
    for i, (node, places) in enumerate(ops):
        args[i, : len(places)] = places
        if node.item and not isinstance(node.item, str):
            number[i, : len(node.item)] = node.item
    return Tape(code, args, np.array([node.size for node, _ in ops], int), number)


def _rows(items: list[np.ndarray], shape: tuple[int, ...], each: tuple[int, ...]) -> np.ndarray:
    """Stack items that broadcast to a batch: one row a batch entry."""
    n_rows = int(np.prod(shape))
    if not items:
        return np.zeros((n_rows, 0, *each))
    full = [np.broadcast_to(item, (*shape, *each)) for item in items]
    return np.ascontiguousarray(np.stack(full, len(shape)), float).reshape(
        n_rows, len(items), *each
    )


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


# What operations do to sizes and units.


@dataclass(frozen=True)
class _Operation:
    code: int
    """What the tape does."""
    size: Callable[[tuple[int, ...], Item], int | None]
    unit: Callable[[tuple[Unit, ...], Item], Unit]


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
    "add": _Operation(tape.ADD, _broadcast, _same),
    "sub": _Operation(tape.SUB, _broadcast, _same),
    "mul": _Operation(tape.MUL, _broadcast, _times(1)),
    "div": _Operation(tape.DIV, _broadcast, _times(-1)),
    "min": _Operation(tape.MIN, _broadcast, _same),
    "max": _Operation(tape.MAX, _broadcast, _same),
    "neg": _Operation(tape.NEG, _broadcast, _same),
    "abs": _Operation(tape.ABS, _broadcast, _same),
    "power": _Operation(tape.POWER, _broadcast, _to_power),
    "sin": _Operation(tape.SIN, _number_of(0, 0), _plain),
    "cos": _Operation(tape.COS, _number_of(0, 0), _plain),
    "arccos": _Operation(tape.ARCCOS, _number_of(0, 0), _angle),
    "dot": _Operation(tape.DOT, _number_of(0, 2, 3), _times(1)),
    "cross": _Operation(tape.CROSS, _number_of(3, 3), _times(1)),
    "norm": _Operation(tape.NORM, _number_of(0, 2, 3), _same),
    "pick": _Operation(tape.PICK, _picked, _same),
    "vector": _Operation(tape.VECTOR, _stacked, _same),
}
_LEAVES = {"constant": tape.CONSTANT, "point": tape.POINT, "joint": tape.JOINT}
CODES = _LEAVES | {name: operation.code for name, operation in OPERATIONS.items()}
