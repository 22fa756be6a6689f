"""Under pytest every annotation of roboloop, array shapes too, is checked on every call."""

import os
import subprocess
from collections.abc import Callable
from typing import TypeVar

import pytest
from beartype import BeartypeConf, beartype
from beartype.roar import BeartypeDecorHintException
from hypothesis import settings
from jaxtyping import install_import_hook

Function = TypeVar("Function", bound=Callable)
_beartype = beartype(conf=BeartypeConf(is_pep484_tower=True))  # an int may stand for a float


def check(function: Function) -> Function:
    """Check a function, unless it has annotations that cannot be: `Self`, plain protocols."""
    try:
        return _beartype(function)
    except BeartypeDecorHintException:
        return function


# the same examples in every run; `pytest --hypothesis-profile default` looks for others
settings.register_profile("same", derandomize=True)
settings.load_profile("same")
install_import_hook("roboloop", f"{__name__}.check")


@pytest.fixture
def small_disk(tmp_path, request):
    """Mount a file system of the size that the test gives; only root may."""
    command = ["mount", "-t", "tmpfs", "-o", f"size={request.param}", "tmpfs", str(tmp_path)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True).returncode != 0:
        pytest.skip("mounting a small tmpfs needs root")
    yield tmp_path
    subprocess.run(["umount", str(tmp_path)], check=True)
