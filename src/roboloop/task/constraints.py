"""The constraint language: comparisons over named keypoints and joints, parsed and never executed.

`norm(xy(object.bottom - target.inside)) < 0.02` holds where the bottom of whatever plays the role
`object` is horizontally within 2 cm of the inside of the `target`. Names are `role.keypoint` (a
point, m) and `role.joint` inside `joint(...)` (m or rad). Functions: `norm dot xy z abs min max
joint`. One comparison (`<` or `>`) a constraint.
"""

import ast
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from roboloop.errors import RoboloopError

Array = np.ndarray | np.floating
"""Numbers or points; numpy turns arrays without axes into scalars."""

_FUNCTIONS: dict[str, tuple[int, Callable[..., Array]]] = {
    "norm": (1, lambda v: np.linalg.norm(v, axis=-1)),
    "dot": (2, lambda a, b: np.sum(a * b, axis=-1)),
    "xy": (1, lambda v: v[..., :2]),
    "z": (1, lambda v: v[..., 2]),
    "abs": (1, np.abs),
    "min": (2, np.minimum),
    "max": (2, np.maximum),
}
_OPERATORS: dict[type, Callable[[Array, Array], Array]] = {
    ast.Add: np.add,
    ast.Sub: np.subtract,
    ast.Mult: np.multiply,
    ast.Div: np.divide,
}


@dataclass(frozen=True)
class Values:
    """Where the names of a constraint get their values; leading axes are batch axes."""

    points: Mapping[str, Float[np.ndarray, "*B 3"]]
    """`role.keypoint` -> position in the world, m."""
    joints: Mapping[str, Float[np.ndarray, "*B"]]
    """`role.joint` -> m or rad."""


@dataclass(frozen=True)
class Constraint:
    """A parsed comparison; it holds where `violation` is at most 0."""

    text: str
    _tree: ast.Compare

    def violation(self, values: Values) -> Float[np.ndarray, "*B"]:
        """By how much the comparison fails, in the units of its sides; negative is slack."""
        left = _evaluate(self._tree.left, values)
        right = _evaluate(self._tree.comparators[0], values)
        return np.asarray(left - right if isinstance(self._tree.ops[0], ast.Lt) else right - left)

    def names(self) -> tuple[set[str], set[str]]:
        """The `role.keypoint` and the `role.joint` names that it reads."""
        joints = {
            ast.unparse(n.args[0])
            for n in ast.walk(self._tree)
            if isinstance(n, ast.Call) and ast.unparse(n.func) == "joint"
        }
        every = {ast.unparse(n) for n in ast.walk(self._tree) if isinstance(n, ast.Attribute)}
        return every - joints, joints


def parse(text: str) -> Constraint:
    """Parse one constraint.

    Raises:
        RoboloopError: Anything outside the language, with its column.
    """
    try:
        tree = ast.parse(text, mode="eval").body
    except (SyntaxError, ValueError) as error:
        raise RoboloopError(f"constraint `{text}` does not parse: {error}") from None
    if not (
        isinstance(tree, ast.Compare)
        and len(tree.ops) == 1
        and isinstance(tree.ops[0], (ast.Lt, ast.Gt))
    ):
        raise RoboloopError(f"constraint `{text}` is not one comparison with `<` or `>`")
    for side in (tree.left, tree.comparators[0]):
        _check(side, text)
    return Constraint(text, tree)


def _check(node: ast.expr, text: str) -> None:
    match node:
        case ast.Constant(value=int() | float()) if not isinstance(node.value, bool):
            return
        case ast.Attribute(value=ast.Name()):
            return
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return _check(operand, text)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
            _check(left, text)
            return _check(right, text)
        case ast.Call(func=ast.Name(id="joint"), args=[ast.Attribute(value=ast.Name())]):
            return
        case ast.Call(func=ast.Name(id=name), args=args, keywords=[]) if (
            name in _FUNCTIONS and len(args) == _FUNCTIONS[name][0]
        ):
            for arg in args:
                _check(arg, text)
            return
    raise RoboloopError(
        f"constraint `{text}`: `{ast.unparse(node)}` at column {node.col_offset + 1} "
        "is not allowed",
        f"allowed: role.keypoint, joint(role.joint), numbers, + - * /, {', '.join(_FUNCTIONS)}",
    )


def _evaluate(node: ast.expr, values: Values) -> Array:
    match node:
        case ast.Constant(value=value):
            return np.asarray(value, float)
        case ast.Attribute():
            return _lookup(values.points, ast.unparse(node), "keypoint")
        case ast.UnaryOp(operand=operand):
            return -_evaluate(operand, values)
        case ast.BinOp(left=left, op=op, right=right):
            return _OPERATORS[type(op)](_evaluate(left, values), _evaluate(right, values))
        case ast.Call(func=ast.Name(id="joint"), args=args):
            return _lookup(values.joints, ast.unparse(args[0]), "joint")
        case ast.Call(func=ast.Name(id=name), args=args):
            return _FUNCTIONS[name][1](*(_evaluate(arg, values) for arg in args))
    raise AssertionError(f"parse let {ast.dump(node)} through")


def _lookup(table: Mapping[str, Array], name: str, kind: str) -> Array:
    if name not in table:
        raise RoboloopError(f"no {kind} `{name}`", f"known: {', '.join(sorted(table))}")
    return table[name]
