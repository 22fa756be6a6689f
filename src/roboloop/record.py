"""Frozen dataclasses to JSON and back, strictly: no unknown, missing or mistyped field."""

import dataclasses
import math
import types
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from roboloop.errors import RoboloopError, unknown_name

T = TypeVar("T")


def to_plain(value: Any) -> Any:
    """Turn dataclasses, tuples, paths and arrays into what JSON has."""
    if dataclasses.is_dataclass(value):
        return {f.name: to_plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {str(key): to_plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_plain(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    # numpy arrays and scalars, without importing numpy
    return value.tolist() if hasattr(value, "tolist") else value


def from_plain(kind: type[T], plain: Any, where: str = "") -> T:
    """Build a dataclass (or another annotated type) from `to_plain`'s output.

    Args:
        kind: The type to build: a dataclass, or any type that annotates its fields.
        plain: What JSON gave.
        where: The field's path, for error messages.

    Raises:
        RoboloopError: A field is unknown, missing or of another type; the message names it.
    """
    return _build(kind, plain, where or getattr(kind, "__name__", str(kind)))


def _build(kind: Any, plain: Any, where: str) -> Any:
    origin, args = get_origin(kind), get_args(kind)
    if kind is Any:
        return plain
    if origin is Annotated:
        return _build(args[0], plain, where)
    if origin is Literal:
        if plain not in args:
            raise unknown_name(where, str(plain), map(str, args))
        return plain
    if origin in (Union, types.UnionType):
        return _build_union(args, plain, where)
    if origin is tuple or origin is list:
        return _build_sequence(origin, args, plain, where)
    if origin is dict:
        items = _expect(plain, dict, where).items()
        return {_build(args[0], k, where): _build(args[1], v, f"{where}.{k}") for k, v in items}
    if dataclasses.is_dataclass(kind):
        return _build_dataclass(kind, plain, where)
    if hasattr(kind, "array_type"):  # a jaxtyping annotation such as Float[np.ndarray, "4 4"]
        return _build_array(kind, plain, where)
    if kind is Path:
        return Path(_expect(plain, str, where))
    if kind is float:
        return _build_float(plain, where)
    return _expect(plain, type(None) if kind is None else kind, where)


def _expect(plain: Any, kind: type, where: str) -> Any:
    if not isinstance(plain, kind) or (isinstance(plain, bool) and kind is not bool):
        raise RoboloopError(f"{where}: {plain!r:.60} is not of type {kind.__name__}")
    return plain


def _build_float(plain: Any, where: str) -> float:
    if isinstance(plain, bool) or not isinstance(plain, int | float) or not math.isfinite(plain):
        raise RoboloopError(f"{where}: {plain!r:.60} is not a finite number")
    return float(plain)


def _build_union(kinds: tuple[Any, ...], plain: Any, where: str) -> Any:
    problems = []
    for kind in kinds:
        try:
            return _build(kind, plain, where)
        except RoboloopError as error:
            problems.append(error.problem)
    raise RoboloopError(problems[0] if plain is not None else f"{where}: must not be null")


def _build_sequence(origin: type, kinds: tuple[Any, ...], plain: Any, where: str) -> Any:
    items = _expect(plain, list, where)
    if origin is list or kinds[1:] == (...,):
        kinds = (kinds[0],) * len(items)
    if len(kinds) != len(items):
        raise RoboloopError(f"{where}: has {len(items)} items, expected {len(kinds)}")
    pairs = enumerate(zip(kinds, items, strict=True))
    return origin(_build(kind, item, f"{where}[{i}]") for i, (kind, item) in pairs)


def _build_array(kind: Any, plain: Any, where: str) -> Any:
    import numpy as np

    try:
        array = np.asarray(_expect(plain, list, where), float)
    except (ValueError, TypeError):
        raise RoboloopError(f"{where}: is not an array of numbers") from None
    if not np.isfinite(array).all() or not isinstance(array, kind):
        wanted = f"finite numbers of shape ({kind.dim_str})"
        raise RoboloopError(f"{where}: shape {array.shape}, expected {wanted}")
    return array


def _build_dataclass(kind: Any, plain: Any, where: str) -> Any:
    _expect(plain, dict, where)
    hints = get_type_hints(kind, include_extras=True)
    fields = {f.name: f for f in dataclasses.fields(kind)}
    for name in plain:
        if name not in fields:
            raise unknown_name(f"field of {where}", name, fields)
    missing = dataclasses.MISSING
    required = [
        f.name for f in fields.values() if f.default is missing and f.default_factory is missing
    ]
    absent = [name for name in required if name not in plain]
    if absent:
        raise RoboloopError(f"{where}: field missing: {', '.join(absent)}")
    return kind(**{k: _build(hints[k], v, f"{where}.{k}") for k, v in plain.items()})
