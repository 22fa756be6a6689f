"""Constraints: comparisons over named keypoints and joints, parsed and never executed.

`norm(xy(object.bottom - target.inside)) < 0.02` holds where the bottom of whatever plays the role
`object` is horizontally within 2 cm of the inside of the `target`. Names are `role.keypoint` (a
point, m), `role.joint` inside `joint(...)` (m or rad) or `share(...)` (of its range). One
comparison (`<` or `>`) a constraint.
What may be written: `language.py`; how it is evaluated: `expression.py`.
"""

import ast
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from jaxtyping import Float

from roboloop.errors import RoboloopError
from roboloop.task.explain import sentence, unit_name
from roboloop.task.expression import (
    Node,
    Program,
    Unit,
    Values,
    is_zero,
    joint,
    make,
    point,
    share,
)
from roboloop.task.language import ALLOWED, Refused, Scope, expression, read_ast

TOLERANCES: dict[Unit, float] = {(1, 0): 1e-3, (0, 1): 1e-2, (0, 0): 1e-3}
"""Violation that counts as none, by unit: 1 mm, 0.6 degrees, a thousandth of a share."""
OTHER_TOLERANCE = 1e-3
SLACKS: dict[Unit, float] = {(1, 0): 5e-3, (0, 1): 0.05, (0, 0): 0.05}
"""Violation that is no reason to plan again, by unit: 5 mm, 3 degrees. Arms sag, what is held slips
a little, and a success condition is several times wider than the sub-goal before it."""
OTHER_SLACK = 5e-3


@dataclass(frozen=True, eq=False)
class Constraint:
    """It holds where its expression is at most zero."""

    text: str
    node: Node
    """By how much it fails; below zero it is met, with this much to spare."""
    holding: int | None = None
    """The keypoint whose object has to be in the hand, of a constraint that says only that."""

    @cached_property
    def program(self) -> Program:
        """The expression, ready for evaluation."""
        return Program([self.node])

    @property
    def unit(self) -> str:
        """Unit of the violation: `m`, `rad`, `1`, products of them, or `mixed`."""
        return unit_name(self.node.unit)

    @property
    def tolerance(self) -> float:
        """Violation that still counts as met, in the constraint's unit."""
        return TOLERANCES.get(self.node.unit, OTHER_TOLERANCE)

    @property
    def slack(self) -> float:
        """Violation that a real arm may leave without planning again, in the constraint's unit."""
        return SLACKS.get(self.node.unit, OTHER_SLACK)

    @property
    def sentence(self) -> str:
        """What it asks for, in words."""
        return sentence(self.node, self.holding)

    def violation(self, values: Values) -> Float[np.ndarray, "*B"]:
        """By how much the comparison fails, in `unit`; negative is slack.

        Raises:
            RoboloopError: `values` lacks a name.
        """
        return np.asarray(self.program.evaluate(values)[0])

    def names(self) -> tuple[set[str], set[str]]:
        """The `role.keypoint` and the `role.joint` names that it reads."""
        return self.program.names()


@lru_cache(4096)  # the closed loop asks for the same few twenty times a second
def parse(text: str) -> Constraint:
    """Parse one constraint.

    Raises:
        RoboloopError: Anything outside the language, with its column.
    """
    what = f"constraint `{text if len(text) < 100 else text[:97] + '...'}`"
    body = read_ast(text, what).body
    try:
        match body:
            case [ast.Expr(ast.Compare(a, [ast.Lt() | ast.Gt() as than], [b]) as whole)]:
                scope = Scope({}, point, JOINT_CALLS)
                left, right = expression(a, scope), expression(b, scope)
                if isinstance(than, ast.Gt):
                    left, right = right, left
                return Constraint(text, _difference(whole, left, right))
    except Refused as error:
        raise RoboloopError(f"{what}: {error.why}, at column {error.column}", ALLOWED) from None
    except RecursionError:
        raise RoboloopError(f"{what} is nested too deep") from None
    raise RoboloopError(f"{what} is not one comparison with `<` or `>`")


def _difference(where: ast.AST, a: Node, b: Node) -> Node:
    if a.size or b.size:
        raise Refused(where, "points are compared; compare numbers, such as `z(...)`")
    return a if is_zero(b) else make("sub", a, b)


def _of_joint(make_node: Callable[[str], Node]) -> Callable[..., Node]:
    def read(call: ast.AST, *args: ast.expr) -> Node:
        match args:
            case [ast.Attribute(value=ast.Name()) as name]:
                return make_node(ast.unparse(name))
        raise Refused(call, f"`{make_node.__name__}` takes one `role.joint`")

    return read


JOINT_CALLS = {"joint": _of_joint(joint), "share": _of_joint(share)}
"""How joints are read, for `language.Scope`."""
