"""Tasks for a small arm: things that the SO-101 can hold (up to 2.8 cm) and reach (16 to 28 cm).

Two like the published benchmark's, at about 0.6 of its size, with reset distributions of our own
shape; the others are tables whose cousins are drawn.
"""

from collections.abc import Mapping
from math import pi

from roboloop.scene.graph import Reset
from roboloop.scene.presets.base import Preset, Thing

_RED, _GREEN = (0.75, 0.15, 0.12), (0.15, 0.55, 0.22)
_TURN = (0.0, 2 * pi)
_SCALE = 0.6
_TABLE, _EYE = (0.7, 0.8), (0.5, 0.0, 0.5)


def _stack_small() -> Preset:
    """Cubes of 2.4 and 3 cm that stand anywhere in a square of 9 cm."""
    reset = Reset((-0.045, 0.045), (-0.045, 0.045), _TURN)
    things = {
        "cube_red": Thing("box", (0.024, 0.024, 0.024), (0.0, -0.03), color=_RED, reset=reset),
        "cube_green": Thing("box", (0.03, 0.03, 0.03), (0.0, 0.03), color=_GREEN, reset=reset),
    }
    return Preset("stack the red cube on the green cube", things, table=_TABLE, eye=_EYE)


def _square_small() -> Preset:
    """A square nut anywhere on a line, and a peg."""
    nut = Thing(
        "square_nut",
        (_SCALE * 0.123, _SCALE * 0.0875, 0.016),
        (0.0, 0.08),
        params={"bore": _SCALE * 0.0455, "handle": _SCALE * 0.032},
        reset=Reset((-0.005, 0.0), (0.06, 0.10), _TURN),
    )
    peg = Thing("square_peg", (_SCALE * 0.032, _SCALE * 0.032, 0.05), (0.01, -0.05))
    return Preset("put the nut on the peg", {"nut": nut, "peg": peg}, table=_TABLE, eye=_EYE)


SMALL_BENCHMARK: Mapping[str, Preset] = {
    "stack_small": _stack_small(),
    "square_small": _square_small(),
}
