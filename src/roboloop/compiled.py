"""How loops over numbers are compiled: numba, cached on disk, dividing as numpy does.

Compiled functions also carry `@no_type_check`: their arguments are checked by whoever calls them.
"""

from typing import Any

from numba import njit

_OPTIONS: Any = {"cache": True, "error_model": "numpy"}
_INNER: Any = {**_OPTIONS, "no_cpython_wrapper": True, "no_cfunc_wrapper": True}
entry = njit(**_OPTIONS)
"""For a function that Python calls."""
inner = njit(**_INNER)
"""For a function that only compiled functions call."""
