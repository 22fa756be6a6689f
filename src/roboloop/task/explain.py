"""Expressions in words, and in the constraint language again."""

from collections.abc import Callable

import numpy as np

from roboloop.task.expression import SHARE, Node, Unit, constant, is_zero, make

SUM, PRODUCT, MINUS, POWER, ATOM = range(5)
"""How tightly operators bind."""
SYMBOLS = {"add": ("+", SUM), "sub": ("-", SUM), "mul": ("*", PRODUCT), "div": ("/", PRODUCT)}


def unit_name(unit: Unit) -> str:
    """Write a unit: `m`, `rad`, `m2`, `m/rad`, `1` for none."""
    if unit is None:
        return "1"
    if isinstance(unit, str):
        return unit
    parts = [(name, n) for name, n in zip(("m", "rad"), unit, strict=True) if n]
    above = "*".join(f"{name}{n if n > 1 else ''}" for name, n in parts if n > 0) or "1"
    below = "*".join(f"{name}{-n if n < -1 else ''}" for name, n in parts if n < 0)
    return f"{above}/{below}" if below else above


def sentence(node: Node, holding: int | None = None) -> str:
    """Say what it means that an expression is at most zero."""
    if holding is not None:
        return f"keypoint {holding} is held"
    if node.op == "norm" and node.args[0].op == "sub":
        return f"{phrase(node.args[0].args[0])} is at {phrase(node.args[0].args[1])}"
    if node.op == "sub":
        a, b = node.args
        if a.op == "constant":
            return f"{phrase(b)} is at least {amount(a, b.unit)}"
        if b.op == "constant":
            return f"{phrase(a)} is at most {amount(b, a.unit)}"
        return f"{phrase(a)} is at most {phrase(b)}"
    return f"{phrase(node)} is at most zero"


def amount(node: Node, unit: Unit) -> str:
    """Write a constant in the unit of what it is compared with: cm and degrees."""
    value = float(np.array(node.item)[0])
    if unit == (1, 0):
        return f"{100 * value:.4g} cm"
    if unit == (0, 1):
        return f"{np.rad2deg(value):.4g} degrees"
    return f"{value:.4g}"


def phrase(node: Node) -> str:
    """Name what an expression is."""
    if node.op == "constant":
        return _numbers(node)
    if node.op == "point":
        return _name(str(node.item))
    if node.op == "joint":
        name = str(node.item)
        named = f"the joint {name.removesuffix(SHARE)}"
        return named if name == name.removesuffix(SHARE) else f"the share of {named}'s range"
    if (middle := _middle_of(node)) is not None:
        return f"the middle of {_and([phrase(p) for p in middle])}"
    return _PHRASES.get(node.op, _as_written)(node)


def source(node: Node, rename: Callable[[str], str] = str) -> str:
    """Write an expression in the constraint language; read again it is the same, to the last bit.

    Args:
        node: The expression.
        rename: Gives points and joints their names in the text.
    """
    return _written(node, rename)[0]


def comparison(node: Node, rename: Callable[[str], str] = str, slack: float = 0.0) -> str:
    """Write the constraint that an expression is at most `slack`."""
    if node.op != "sub" or is_zero(node.args[1]):  # what is less than 0 is read as it is
        return f"{source(node, rename)} < {slack:g}"
    left, right = node.args
    if slack and left.op == "constant":
        left, slack = make("sub", left, constant(slack)), 0.0
    elif slack:
        right, slack = make("add", right, constant(slack)), 0.0
    return f"{source(left, rename)} < {source(right, rename)}"


def _written(node: Node, rename: Callable[[str], str]) -> tuple[str, int]:
    """An expression's text, and how tightly it binds: no brackets that are not needed."""
    parts = [_written(a, rename) for a in node.args]
    texts = [text for text, _ in parts]
    if node.op == "constant":
        return _numbers(node), ATOM if node.size or np.array(node.item)[0] >= 0 else MINUS
    if node.op == "point":
        return rename(str(node.item)), ATOM
    if node.op == "joint":
        name = str(node.item).removesuffix(SHARE)
        return f"{'joint' if name == node.item else 'share'}({rename(name)})", ATOM
    if node.op in SYMBOLS:
        symbol, binds = SYMBOLS[node.op]
        return f"{_in(parts[0], binds)} {symbol} {_in(parts[1], binds + 1)}", binds
    if node.op == "neg":
        return f"-{_in(parts[0], MINUS)}", MINUS
    if node.op == "power":
        return f"{_in(parts[0], ATOM)} ** {float(node.item[0]):g}", POWER
    if node.op == "vector":
        return f"[{', '.join(texts)}]", ATOM
    if node.op == "pick":
        first, last = int(node.item[0]), int(node.item[-1])
        if node.item == (0, 1):
            return f"xy({texts[0]})", ATOM
        index = str(first) if first == last else f"{first}:{last + 1}"
        return (f"z({texts[0]})" if node.item == (2,) else f"{_in(parts[0], ATOM)}[{index}]"), ATOM
    return f"{node.op}({', '.join(texts)})", ATOM


def _in(part: tuple[str, int], at_least: int) -> str:
    """A part's text, in brackets where it binds less tightly than what is around it."""
    text, binds = part
    return text if binds >= at_least else f"({text})"


def _as_written(node: Node) -> str:
    return f"`{source(node)}`"


def _numbers(node: Node) -> str:
    numbers = [repr(float(v)) for v in np.array(node.item).ravel()]
    return f"[{', '.join(numbers)}]" if node.size else numbers[0]


def _name(name: str) -> str:
    role, _, keypoint = name.partition(".")
    if name == "robot.eef":
        return "the hand"
    return f"the {role}'s {keypoint.replace('_', ' ')}" if keypoint else name.replace("_", " ")


def _and(words: list[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def _middle_of(node: Node) -> list[Node] | None:
    """The points that an expression is the mean of, if it is a mean of points."""
    if node.op != "mul" or node.args[1].op != "constant" or node.args[1].size:
        return None
    points, stack = [], [node.args[0]]
    while stack:
        item = stack.pop()
        if item.op == "add":
            stack.extend(item.args)
        elif item.op == "point":
            points.insert(0, item)
        else:
            return None
    share = float(np.array(node.args[1].item)[0])
    return points if abs(share * len(points) - 1) < 1e-9 and len(points) > 1 else None


def _length(node: Node) -> str:
    (v,) = node.args
    if v.op == "sub":
        return f"the distance from {phrase(v.args[0])} to {phrase(v.args[1])}"
    if v.op == "pick" and v.item == (0, 1):
        inner = v.args[0]
        if inner.op == "sub":
            return (
                f"the horizontal distance from {phrase(inner.args[0])} to {phrase(inner.args[1])}"
            )
        return f"the horizontal length of {phrase(inner)}"
    return f"the length of {phrase(v)}"


def _part(node: Node) -> str:
    (v,) = node.args
    if node.item != (2,):
        return _as_written(node)
    if v.op == "sub":
        return f"the height of {phrase(v.args[0])} above {phrase(v.args[1])}"
    return f"the height of {phrase(v)}"


def _sum(node: Node) -> str:
    a, b = node.args
    if b.op == "constant" and b.size == 3:
        x, y, z = np.array(b.item)
        if not (x or y):
            side = "above" if (z > 0) == (node.op == "add") else "below"
            return f"the point {100 * abs(z):.4g} cm {side} {phrase(a)}"
    if node.op == "sub" and a.size == 3:
        return f"the way from {phrase(b)} to {phrase(a)}"
    return f"{phrase(a)} {'plus' if node.op == 'add' else 'minus'} {phrase(b)}"


def _ratio(node: Node) -> str:
    a, b = node.args
    if a.size == 3 and b.op == "norm" and b.args[0] is a:
        return f"the direction of {phrase(a)}"
    return f"{phrase(a)} over {phrase(b)}"


def _of_two(words: str) -> Callable[[Node], str]:
    return lambda node: f"{words} {_and([phrase(a) for a in node.args])}"


_PHRASES: dict[str, Callable[[Node], str]] = {
    "norm": _length,
    "pick": _part,
    "add": _sum,
    "sub": _sum,
    "div": _ratio,
    "mul": lambda node: " times ".join(phrase(a) for a in node.args),
    "abs": _of_two("the size of"),
    "max": _of_two("the larger of"),
    "min": _of_two("the smaller of"),
    "dot": _of_two("the dot product of"),
    "cross": _of_two("the cross product of"),
    "arccos": _of_two("the angle whose cosine is"),
}
