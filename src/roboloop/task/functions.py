"""Constraint programs as files of Python functions: the form of ReKep's language model.

A file gives `num_stages`, `grasp_keypoints` and `release_keypoints` (a keypoint's index or -1, one
a stage) and functions `stage1_subgoal_constraint1(end_effector, keypoints)` whose result is to be
at most zero. The file is read, never run: assignments and one `return` a function, with the
expressions of `language.py`. Beyond the published form, functions may call keypoints by their
names, where they have names, and speak of joints: `bowl.rim`, `joint(cabinet.drawer_0)`.

Source: Huang et al., "ReKep: Spatio-Temporal Reasoning of Relational Keypoint Constraints for
Robotic Manipulation", CoRL 2024, section 3 (the form, not the text of its prompt).
"""

import ast
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from roboloop.errors import RoboloopError, unknown_name
from roboloop.task.constraints import JOINT_CALLS, Constraint
from roboloop.task.expression import SHARE, Node, constant, point
from roboloop.task.language import (
    ALLOWED,
    OPERATORS,
    Refused,
    Scope,
    Value,
    expression,
    read_ast,
    value,
)

MAX_STAGES = 50
MAX_KEYPOINTS = 200
LISTS = ("grasp_keypoints", "release_keypoints")
HOLDING = "get_grasping_cost_by_keypoint_idx"
_FUNCTION = re.compile(r"stage_?(\d{1,2})_(subgoal|path)_constraints?_?(\d{1,3})")


@dataclass(frozen=True)
class FunctionStage:
    """One stage of such a file."""

    grasp: int | None
    """Keypoint that is grasped at the end of the stage."""
    release: int | None
    """Keypoint that is let go of at the end of the stage."""
    subgoal: tuple[Constraint, ...]
    path: tuple[Constraint, ...]


@dataclass(frozen=True)
class Known:
    """What a file may speak of, besides the hand, `robot.eef`."""

    keypoints: tuple[str, ...]
    joints: tuple[str, ...] = ()
    named: bool = True
    """Whether keypoints may be called by their names, not only by their numbers."""


def parse_functions(
    text: str, keypoints: int | Sequence[str], path: object = None, joints: Sequence[str] = ()
) -> tuple[FunctionStage, ...]:
    """Read the stages out of a file of constraint functions.

    Args:
        text: The file's content.
        keypoints: The keypoints' names in the order of their numbers, such as `bowl.rim`; or how
            many there are: they are called `k0`, `k1`, ... then.
        path: The file, for messages.
        joints: Names for `joint(...)`, such as `cabinet.drawer_0`.

    Raises:
        RoboloopError: Anything outside the language, with line and column; stages that do not fit
            together.
    """
    if isinstance(keypoints, int):
        known = Known(tuple(f"k{i}" for i in range(min(keypoints, MAX_KEYPOINTS))), named=False)
    else:
        known = Known(tuple(keypoints)[:MAX_KEYPOINTS], tuple(joints))
    body = read_ast(text, "the constraint program", path).body
    try:
        return _stages(body, known)
    except Refused as error:
        place = f"line {error.line}, column {error.column}"
        raise RoboloopError(f"{place}: {error.why}", ALLOWED, path) from None
    except RecursionError:
        raise RoboloopError("the constraint program is nested too deep", path=path) from None


def _stages(body: list[ast.stmt], known: Known) -> tuple[FunctionStage, ...]:
    numbers: dict[str, list[int]] = {}
    functions: dict[tuple[int, str, int], Constraint] = {}
    for statement in body:
        match statement:
            case ast.Expr(value=ast.Constant(value=str())):
                continue
            case ast.Import(names=[ast.alias(name="numpy", asname="np" | None)]):
                continue
            case ast.Assign(targets=[ast.Name(id="num_stages" as name)], value=given):
                numbers[name] = [_integer(given)]
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.List(elts=given)) if (
                name in LISTS
            ):
                numbers[name] = [_held(name, item, known) for item in given]
            case ast.FunctionDef(name=name):
                match = _FUNCTION.fullmatch(name)
                if not match:
                    raise Refused(
                        statement, f"`{name}` is not named like `stage1_subgoal_constraint1`"
                    )
                key = int(match[1]), match[2], int(match[3])
                if key in functions:
                    raise Refused(statement, f"`{name}` is there twice")
                functions[key] = _function(statement, known)
            case _:
                raise Refused(statement, f"a {type(statement).__name__} is not allowed here")
    return _assemble(numbers, functions)


def _assemble(
    numbers: dict[str, list[int]],
    functions: dict[tuple[int, str, int], Constraint],
) -> tuple[FunctionStage, ...]:
    if "num_stages" not in numbers:
        raise RoboloopError("the constraint program says no `num_stages`")
    (n,) = numbers["num_stages"]
    if not 0 < n <= MAX_STAGES:
        raise RoboloopError(f"num_stages is {n}, wanted 1 to {MAX_STAGES}")
    held = {}
    for name in LISTS:
        given = numbers.get(name, [-1] * n)
        if len(given) != n:
            raise RoboloopError(f"`{name}` has {len(given)} entries for {n} stages")
        held[name] = [None if i < 0 else i for i in given]
    for stage, kind, number in sorted(functions):
        if not 1 <= stage <= n:
            name = f"stage{stage}_{kind}_constraint{number}"
            raise RoboloopError(f"`{name}` belongs to stage {stage} of {n}")
    result = []
    for i in range(n):
        grasp, release = (held[name][i] for name in LISTS)
        if grasp is not None and release is not None:
            raise RoboloopError(f"stage {i + 1} both grasps and releases")
        subgoal, path = (
            tuple(functions[key] for key in sorted(functions) if key[:2] == (i + 1, kind))
            for kind in ("subgoal", "path")
        )
        result.append(FunctionStage(grasp, release, subgoal, path))
    return tuple(result)


def _integer(node: ast.expr) -> int:
    match node:
        case ast.Constant(value=int() as n) if not isinstance(n, bool) and abs(n) < 10**6:
            return n
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() as n)) if n < 10**6:
            return -n
    raise Refused(node, "wanted a whole number")


def _held(name: str, item: ast.expr, known: Known) -> int:
    """A keypoint's number in one of the lists, or -1."""
    names = known.keypoints
    if not -1 <= (i := _integer(item)) < len(names):
        last = f", the last is {len(names) - 1}, `{names[-1]}`" if names else ""
        raise Refused(item, f"`{name}` names keypoint {i}; there are {len(names)}{last}")
    return i


def _function(definition: ast.FunctionDef, known: Known) -> Constraint:
    """Read one function: what it returns is to be at most zero."""
    names = _parameters(definition)
    held: list[int] = []

    def holding(call: ast.AST, *args: ast.expr) -> Node:
        if len(args) != 1 or not 0 <= (index := _integer(args[0])) < len(known.keypoints):
            raise Refused(call, f"`{HOLDING}` takes one keypoint's index")
        held.append(index)
        return constant(0.0)

    keypoints: list[Value] = [point(name) for name in known.keypoints]
    values: dict[str, Value] = {names[0]: point("robot.eef"), names[1]: keypoints}
    calls: dict[str, Callable[..., Node]] = {HOLDING: holding}
    if known.joints:
        calls |= {name: _joint_of(known, read) for name, read in JOINT_CALLS.items()}
    scope = Scope(values, _point_of(known) if known.named else None, calls)
    for statement in definition.body:
        match statement:
            case ast.Expr(value=ast.Constant(value=str())):
                continue
            case ast.Assign(targets=[ast.Name(id=name)], value=given):
                values[name] = value(given, scope)
            case ast.Assign(targets=[ast.Tuple(elts=targets)], value=ast.Tuple(elts=given)) if len(
                targets
            ) == len(given) and all(isinstance(t, ast.Name) for t in targets):
                several = [value(item, scope) for item in given]
                values.update(zip((ast.unparse(t) for t in targets), several, strict=True))
            case ast.AugAssign(target=ast.Name(id=name) as target, op=op, value=given) if (
                type(op) in OPERATORS and name in values
            ):
                left = ast.copy_location(ast.Name(id=name), target)
                values[name] = value(
                    ast.copy_location(ast.BinOp(left, op, given), statement), scope
                )
            case ast.Return(value=ast.expr() as given):
                node = expression(given, scope)
                if node.size:
                    raise Refused(given, "the result is a point, wanted a number")
                holds = held[0] if held and node.op == "constant" else None
                return Constraint(ast.unparse(given), node, holds)
            case _:
                raise Refused(statement, f"a {type(statement).__name__} is not allowed here")
    raise Refused(definition, f"`{definition.name}` returns nothing")


def _point_of(known: Known) -> Callable[[str], Node]:
    """What makes a point of a keypoint's name."""

    def of(name: str) -> Node:
        if name not in known.keypoints:
            raise ValueError(_unknown("keypoint", name, known.keypoints))
        return point(name)

    return of


def _joint_of(known: Known, read: Callable[..., Node]) -> Callable[..., Node]:
    """What makes an expression of a call of `joint` or `share`."""

    def of(call: ast.AST, *args: ast.expr) -> Node:
        node = read(call, *args)
        name = str(node.item).removesuffix(SHARE)
        if name not in known.joints:
            raise Refused(call, _unknown("joint", name, known.joints))
        return node

    return of


def _unknown(kind: str, name: str, names: Sequence[str]) -> str:
    error = unknown_name(kind, name, names)
    return f"{error.problem}, {error.hint}"


def _parameters(definition: ast.FunctionDef) -> list[str]:
    args = definition.args
    given = [arg.arg for arg in args.args]
    extra = args.posonlyargs or args.kwonlyargs or args.vararg or args.kwarg or args.defaults
    if len(given) != 2 or len(set(given)) != 2 or extra or definition.decorator_list:
        raise Refused(definition, f"`{definition.name}` wants (end_effector, keypoints), no more")
    return given
