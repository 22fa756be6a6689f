"""The folder that `roboloop scene` writes: a twin, cousins to learn from, held-out cousins."""

from pathlib import Path

from roboloop.errors import RoboloopError

TWIN, COUSINS, HELD_OUT = "twin", "cousins", "held_out"


def list_cousins(folder: Path, which: str = COUSINS) -> list[Path]:
    """Return the scene folders of the cousins, in order.

    Raises:
        RoboloopError: There are none.
    """
    found = sorted(path.parent for path in (folder / which).glob("[0-9]*/scene.json"))
    if not found:
        raise RoboloopError(f"no {which} here", "make them with `roboloop scene`", folder / which)
    return found
