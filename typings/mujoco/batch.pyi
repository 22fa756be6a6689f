# mujoco's names live in compiled modules without type information: pyright takes each as Any.
from typing import Any

def __getattr__(name: str) -> Any: ...
