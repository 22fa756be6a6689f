"""Tasks for a small arm: things that the SO-101 can hold (up to 2.8 cm) and reach (16 to 28 cm).

Two like the published benchmark's, at about 0.6 of its size, with reset distributions of our own
shape; the others are tables whose cousins are drawn.
"""

from collections.abc import Mapping
from dataclasses import replace
from math import pi

from roboloop.scene.graph import Reset
from roboloop.scene.presets.base import Preset, Thing

_RED, _GREEN = (0.75, 0.15, 0.12), (0.15, 0.55, 0.22)
_TURN = (0.0, 2 * pi)
_SCALE = 0.6
_TABLE, _EYE = (0.7, 0.8), (0.5, 0.0, 0.5)
_PLATE = (0.13, 0.13, 0.018)
_APART = 0.07
"""Of two things from the middle between them, m."""


def _two(sentence: str, object_: Thing, target: Thing) -> Preset:
    """Two things beside each other, named by their categories."""
    things = {
        object_.category: replace(object_, xy=(0.0, -_APART)),
        target.category: replace(target, xy=(0.0, _APART)),
    }
    return Preset(sentence, things, table=_TABLE, eye=_EYE)


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


SMALL: Mapping[str, Preset] = {
    "box_plate_small": _two(
        "put the box on the plate",
        Thing("box", (0.045, 0.022, 0.03)),
        Thing("plate", _PLATE),
    ),
    "box_bowl_small": _two(
        "put the box in the bowl",
        Thing("box", (0.045, 0.022, 0.03)),
        Thing("bowl", (0.11, 0.11, 0.045)),
    ),
    "box_deep_bowl_small": _two(
        "put the box in the bowl",
        Thing("box", (0.045, 0.022, 0.05)),
        Thing("bowl", (0.14, 0.14, 0.07)),
    ),
    "box_tray_small": _two(
        "put the box in the tray",
        Thing("box", (0.025, 0.025, 0.09)),
        Thing("tray", (0.14, 0.18, 0.03)),
    ),
    "mug_plate_small": _two(
        "put the mug on the plate",
        Thing("mug", (0.10, 0.075, 0.07)),
        Thing("plate", _PLATE),
    ),
    "blocks_small": Preset(
        "stack the red block on the green block",
        {
            "block_red": Thing("box", (0.024, 0.024, 0.024), (0.0, -0.05), color=_RED),
            "block_green": Thing("box", (0.035, 0.035, 0.03), (0.0, 0.05), color=_GREEN),
        },
        table=_TABLE,
        eye=_EYE,
    ),
}
SMALL_BENCHMARK: Mapping[str, Preset] = {
    "stack_small": _stack_small(),
    "square_small": _square_small(),
}
