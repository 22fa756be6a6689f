"""Under pytest every annotation of roboloop, array shapes too, is checked on every call."""

from collections.abc import Callable
from typing import TypeVar

from beartype import BeartypeConf, beartype
from beartype.roar import BeartypeDecorHintException
from jaxtyping import install_import_hook

Function = TypeVar("Function", bound=Callable)
_beartype = beartype(conf=BeartypeConf(is_pep484_tower=True))  # an int may stand for a float


def check(function: Function) -> Function:
    """Check a function, unless it has annotations that cannot be: `Self`, plain protocols."""
    try:
        return _beartype(function)
    except BeartypeDecorHintException:
        return function


install_import_hook("roboloop", f"{__name__}.check")
