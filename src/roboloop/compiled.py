"""How loops over numbers are compiled: numba, cached on disk, dividing as numpy does.

Compiled functions also carry `@no_type_check`: their arguments are checked by whoever calls them.
"""

from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

from numba import njit

MODULES = (
    "kinematics.py",
    "chain.py",
    "task/tape.py",
    "demo/ways/nearest.py",
    "demo/solver/geometry.py",
    "demo/solver/terms.py",
    "demo/solver/minimise.py",
)
"""Where compiled functions are. One of them holds a copy of those that it calls, so that a cached
one is good only while all these files are as they were: numba looks at its own file alone."""
_OPTIONS: Any = {"cache": True, "error_model": "numpy"}


def entry(function: Callable) -> Any:
    """Compile a function that Python calls."""
    return _compile(function, {})


def inner(function: Callable) -> Any:
    """Compile a function that only compiled functions call."""
    return _compile(function, {"no_cpython_wrapper": True, "no_cfunc_wrapper": True})


def _compile(function: Callable, options: Any) -> Any:
    compiled: Any = njit(**_OPTIONS, **options)(function)
    compiled._cache._cache_file._source_stamp = _STAMP
    return compiled


def _stamp() -> str:
    here = Path(__file__).parent
    return sha256(b"".join((here / name).read_bytes() for name in MODULES)).hexdigest()


_STAMP = _stamp()
