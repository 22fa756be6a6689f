"""Benchmark tasks in which a drawer is opened, filled and closed; see `benchmark`.

Source: as there. Cabinets, mug and hammer have sizes of our own; a drawer opens towards the table's
middle. Where the hammer's cabinet stands in D0 is not published: here in the middle of its D1.
"""

from collections.abc import Mapping
from math import pi

from roboloop.scene.graph import Reset
from roboloop.scene.presets.base import Preset, Thing

_TURN, _FACING = (0.0, 2 * pi), (-2 * pi / 3, -pi / 3)


def _cleanup(
    name: str, thing: Thing, at: tuple[float, float], height: float, cabinet: Reset | None
) -> Preset:
    """What is to be put in a drawer, and where the cabinet stands, how high it is."""
    drawer = Thing(
        "drawer_cabinet", (0.28, 0.28, height), at, -pi / 2, params={"n_drawers": 1}, reset=cabinet
    )
    sentence = f"open the drawer, then put the {name} in the drawer, then close the drawer"
    return Preset(sentence, {name: thing, "cabinet": drawer})


def _mug_cleanup(mug: Reset, cabinet: Reset | None) -> Preset:
    thing = Thing("mug", (0.11, 0.085, 0.09), (0.0, -0.18), reset=mug)
    return _cleanup("mug", thing, (0.0, 0.3), 0.14, cabinet)


def _hammer_cleanup(hammer: Reset, cabinet: Reset | None) -> Preset:
    thing = Thing("hammer", (0.16, 0.06, 0.026), (0.14, -0.165), reset=hammer)
    return _cleanup("hammer", thing, (0.1, 0.25), 0.10, cabinet)


CLEANUP: Mapping[str, Preset] = {
    "mug_cleanup_d0": _mug_cleanup(Reset((-0.15, 0.15), (-0.25, -0.10), _TURN), None),
    "mug_cleanup_d1": _mug_cleanup(
        Reset((-0.25, 0.15), (-0.30, -0.15), _TURN),
        Reset((-0.15, 0.05), (0.25, 0.35), _FACING),
    ),
    "hammer_cleanup_d0": _hammer_cleanup(Reset((0.10, 0.18), (-0.20, -0.13), (-0.1, 0.1)), None),
    "hammer_cleanup_d1": _hammer_cleanup(
        Reset((-0.20, 0.20), (-0.25, -0.13), _TURN), Reset((0.0, 0.2), (0.2, 0.3), _FACING)
    ),
}
