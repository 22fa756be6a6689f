"""From text to expressions: Python's grammar, a short list of what may be written, no execution.

Text comes from files and from language models. It is parsed by `ast` and turned into nodes; what is
not on the list is refused with its line and column.
"""

import ast
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from roboloop.errors import RoboloopError
from roboloop.task.expression import Node, constant, make

MAX_TEXT = 20_000
"""Longest text, characters."""
MAX_WEIGHT = 2_000
"""Largest expression, operations."""
MAX_NUMBER = 1e6
MAX_POWER = 4

Value = Node | list["Value"]
"""What a piece of text stands for: an expression, or a list of them."""

OPERATORS: dict[type, str] = {ast.Add: "add", ast.Sub: "sub", ast.Mult: "mul", ast.Div: "div"}
ALLOWED = (
    "allowed: numbers, named points and joints, + - * / **, indexing, lists of points, and "
    "norm dot cross mean sum abs min max unit sqrt sin cos arccos xy z"
)


@dataclass
class Scope:
    """What names mean while a text is read."""

    names: Mapping[str, Value]
    """Plain names."""
    attribute: Callable[[str], Node] | None = None
    """Makes a point of `a.b`; a ValueError says why it cannot."""
    calls: Mapping[str, Callable[..., Value]] = field(default_factory=dict)
    """Further functions: they get the arguments' AST."""


class Refused(Exception):
    """A piece of text that the language does not have.

    Args:
        node: Where.
        why: What is wrong there.
    """

    def __init__(self, node: ast.AST, why: str) -> None:
        self.why = why
        self.line, self.column = getattr(node, "lineno", 1), getattr(node, "col_offset", 0) + 1
        super().__init__(why)


def read_ast(text: str, what: str, path: object = None) -> ast.Module:
    """Parse text with Python's grammar.

    Raises:
        RoboloopError: It is too long, too deep, or no Python.
    """
    if len(text) > MAX_TEXT:
        raise RoboloopError(f"{what} has {len(text)} characters", f"limit: {MAX_TEXT}", path)
    try:
        return ast.parse(text)
    except SyntaxError as error:
        place = f"line {error.lineno}, column {error.offset}"
        raise RoboloopError(f"{what} does not parse at {place}: {error.msg}", path=path) from None
    except (ValueError, RecursionError, MemoryError) as error:
        raise RoboloopError(f"{what} does not parse: {error}", path=path) from None


def expression(node: ast.expr, scope: Scope) -> Node:
    """Turn one expression into a node.

    Raises:
        Refused: It is not in the language.
    """
    result = value(node, scope)
    if isinstance(result, list):
        raise Refused(node, f"`{_source(node)}` is a list of points, wanted a number or a point")
    return result


def value(node: ast.expr, scope: Scope) -> Value:
    """Turn one expression, or a list of points, into nodes; see `expression`."""
    match node:
        case ast.Constant(value=int() | float() as number) if not isinstance(number, bool):
            return _number(node, number)
        case ast.Name(id=name) if name in scope.names:
            return scope.names[name]
        case ast.Attribute(value=ast.Name(id="np" | "numpy"), attr="pi"):
            return constant(np.pi)
        case ast.Attribute(value=ast.Name()) if scope.attribute:
            return _named(node, scope.attribute)
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return _make(node, "neg", expression(operand, scope))
        case ast.UnaryOp(op=ast.UAdd(), operand=operand):
            return expression(operand, scope)
        case ast.BinOp(left=left, op=ast.Pow(), right=ast.Constant(value=n)):
            return _power(node, expression(left, scope), n)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in OPERATORS:
            operator = OPERATORS[type(op)]
            return _make(node, operator, expression(left, scope), expression(right, scope))
        case ast.List(elts=items) | ast.Tuple(elts=items) if items:
            return _listed(node, [value(item, scope) for item in items])
        case ast.Subscript(value=of, slice=index):
            return _picked(node, value(of, scope), index)
        case ast.Call():
            return _call(node, scope)
        case ast.Name(id=name):
            raise Refused(node, f"`{name}` is not defined")
    raise Refused(node, f"`{_source(node)}` is not allowed")


def _source(node: ast.AST) -> str:
    """A node's text, shortened."""
    try:
        text = ast.unparse(node)
    except RecursionError:
        return type(node).__name__
    return text if len(text) < 60 else text[:57] + "..."


def _number(node: ast.AST, number: float) -> Node:
    if not abs(number) <= MAX_NUMBER:
        raise Refused(node, f"the number {float(number):g} is not within +-{MAX_NUMBER:g}")
    return constant(float(number))


def _named(node: ast.AST, attribute: Callable[[str], Node]) -> Node:
    try:
        return attribute(ast.unparse(node))
    except ValueError as error:
        raise Refused(node, str(error)) from None


def _make(node: ast.AST, op: str, *args: Node, item: tuple = ()) -> Node:
    try:
        result = make(op, *args, item=item)
    except ValueError as error:
        raise Refused(node, f"`{_source(node)}`: {error}") from None
    if result.weight > MAX_WEIGHT:
        raise Refused(node, f"more than {MAX_WEIGHT} operations")
    return result


def _power(node: ast.AST, base: Node, n: object) -> Node:
    whole = isinstance(n, int) and not isinstance(n, bool) and 0 < n <= MAX_POWER
    if not (whole or n == 0.5):
        raise Refused(node, f"the exponent is no whole number from 1 to {MAX_POWER}, nor 0.5")
    return make("power", base, item=(n,))  # pyright: ignore[reportArgumentType]


def _listed(node: ast.AST, items: list[Value]) -> Value:
    """A list of two or three numbers is a vector; a list of points stays a list."""
    if all(isinstance(item, Node) and not item.size for item in items) and len(items) in (2, 3):
        return _make(node, "vector", *(item for item in items if isinstance(item, Node)))
    return items


def _picked(node: ast.AST, of: Value, index: ast.expr) -> Value:
    length = len(of) if isinstance(of, list) else of.size
    match index:
        case ast.Tuple(elts=[first, second]) if isinstance(of, list):
            return _picked(node, _picked(node, of, first), second)
        case ast.Slice(lower=lower, upper=upper, step=None):
            ends = [None if e is None else _whole(e) for e in (lower, upper)]
            chosen = list(range(length))[slice(*ends)]
            if not chosen:
                raise Refused(node, f"`{_source(node)}` is empty")
            if isinstance(of, list):
                return [of[i] for i in chosen]
            return _make(node, "pick", of, item=tuple(chosen))
    i = _whole(index)
    if not -length <= i < length:
        raise Refused(node, f"index {i} is outside the {length} of `{_source(node)}`")
    return of[i] if isinstance(of, list) else _make(node, "pick", of, item=(i % length,))


def _whole(node: ast.expr) -> int:
    """A whole number written as it is: an index has to be known before anything is evaluated."""
    match node:
        case ast.Constant(value=int() as n) if not isinstance(n, bool) and n < 1000:
            return n
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() as n)) if n < 1000:
            return -n
    raise Refused(node, f"the index `{_source(node)}` is no whole number")


def _call(node: ast.Call, scope: Scope) -> Value:
    name = _function_name(node.func)
    if name in scope.calls:
        if node.keywords:
            raise Refused(node, f"`{name}` takes no keywords")
        return scope.calls[name](node, *node.args)
    if name not in FUNCTIONS:
        raise Refused(node, f"`{_source(node.func)}` is not allowed")
    for keyword in node.keywords:  # the one that changes nothing for a list of points
        if not (keyword.arg == "axis" and name in ("mean", "sum") and _whole(keyword.value) == 0):
            raise Refused(node, f"`{keyword.arg}=` is not allowed")
    if any(isinstance(arg, ast.Starred) for arg in node.args):
        raise Refused(node, "`*` is not allowed")
    args = [value(arg, scope) for arg in node.args]
    if name in REDUCTIONS and not node.keywords and len(args) == 1 and _of_points(args[0]):
        raise Refused(node, f"`{name}` of a list of points: say `axis=0`, of numpy's mean and sum")
    return FUNCTIONS[name](node, *args)


def _of_points(items: Value) -> bool:
    """Whether it is a list with a point in it: numpy would reduce over all coordinates."""
    return isinstance(items, list) and any(isinstance(i, list) or i.size for i in items)


def _function_name(node: ast.expr) -> str:
    """`norm` of `norm`, `np.norm` and `np.linalg.norm`; empty for anything else."""
    match node:
        case ast.Name(id=name):
            return name
        case ast.Attribute(value=ast.Name(id="np" | "numpy"), attr=name):
            return _NUMPY.get(name, name if name in FUNCTIONS else "")
        case ast.Attribute(
            value=ast.Attribute(value=ast.Name(id="np" | "numpy"), attr="linalg"), attr="norm"
        ):
            return "norm"
    return ""


_NUMPY = {"minimum": "min", "maximum": "max", "fabs": "abs", "acos": "arccos"}

Function = Callable[..., Value]


def _takes(n: int, build: Callable[..., Value]) -> Function:
    """A function of `n` expressions."""

    def function(node: ast.AST, *args: Value) -> Value:
        if len(args) != n or any(isinstance(a, list) for a in args):
            raise Refused(node, f"`{_source(node)}`: wanted {n} argument{'s' * (n != 1)}")
        return build(node, *args)

    return function


def _operation(name: str, n: int) -> Function:
    return _takes(n, lambda node, *args: _make(node, name, *args))


def _pick(*indices: int) -> Function:
    return _takes(1, lambda node, v: _make(node, "pick", v, item=indices))


def _unit(node: ast.AST, v: Node) -> Value:
    return _make(node, "div", v, _make(node, "norm", v))


def _several(node: ast.AST, args: tuple[Value, ...]) -> list[Node]:
    """The arguments of `mean` and its like: one list, or several expressions."""
    items = args[0] if len(args) == 1 and isinstance(args[0], list) else list(args)
    kept = [item for item in items if isinstance(item, Node)]
    if not items or len(kept) < len(items):
        raise Refused(node, f"`{_source(node)}`: wanted numbers or points")
    return kept


def _fold(op: str) -> Function:
    def function(node: ast.AST, *args: Value) -> Value:
        first, *others = _several(node, args)
        if not others and first.size:  # over the parts of a vector
            first, *others = (_make(node, "pick", first, item=(i,)) for i in range(first.size))
        for other in others:
            first = _make(node, op, first, other)
        return first

    return function


def _mean(node: ast.AST, *args: Value) -> Value:
    items = _several(node, args)
    n = items[0].size if len(items) == 1 else len(items)
    total = _fold("add")(node, *args)
    assert isinstance(total, Node)
    return _make(node, "mul", total, constant(1 / max(n, 1)))


def _array(node: ast.AST, *args: Value) -> Value:
    if len(args) != 1:
        raise Refused(node, f"`{_source(node)}`: wanted one list")
    return args[0]


REDUCTIONS = ("mean", "sum", "min", "max")
FUNCTIONS: dict[str, Function] = {
    "norm": _operation("norm", 1),
    "dot": _operation("dot", 2),
    "cross": _operation("cross", 2),
    "abs": _operation("abs", 1),
    "sin": _operation("sin", 1),
    "cos": _operation("cos", 1),
    "arccos": _operation("arccos", 1),
    "sqrt": _takes(1, lambda node, v: make("power", v, item=(0.5,))),
    "xy": _pick(0, 1),
    "z": _pick(2),
    "unit": _takes(1, _unit),
    "mean": _mean,
    "sum": _fold("add"),
    "min": _fold("min"),
    "max": _fold("max"),
    "array": _array,
    "deg2rad": _takes(1, lambda node, v: _make(node, "mul", v, constant(np.pi / 180))),
}
