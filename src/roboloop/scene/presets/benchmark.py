"""Tasks and reset distributions of the published generator's benchmark, from our own families.

Source: Mandlekar et al. 2023, "MimicGen", appendices on tasks and reset distributions: what each
thing measures, and the ranges D0, D1, D2 in which it stands, m and rad about the table's middle.
"""

from collections.abc import Mapping
from math import pi

from roboloop.scene.graph import Reset
from roboloop.scene.presets.assembly import ASSEMBLY
from roboloop.scene.presets.base import Preset, Thing
from roboloop.scene.presets.bins import BINS
from roboloop.scene.presets.cleanup import CLEANUP
from roboloop.scene.presets.coffee import COFFEE
from roboloop.scene.presets.kitchen import KITCHEN
from roboloop.scene.presets.small import SMALL_BENCHMARK

_RED, _GREEN = (0.75, 0.15, 0.12), (0.15, 0.55, 0.22)
_BLUE = (0.12, 0.25, 0.70)
_TURN = (0.0, 2 * pi)


def _stack(reach: float) -> Preset:
    """Cubes of 4 and 5 cm that stand anywhere in a square."""
    reset = Reset((-reach, reach), (-reach, reach), _TURN)
    cube_a = Thing("box", (0.04, 0.04, 0.04), (0.0, -0.06), color=_RED, reset=reset)
    cube_b = Thing("box", (0.05, 0.05, 0.05), (0.0, 0.06), color=_GREEN, reset=reset)
    return Preset(
        "stack the red cube on the green cube", {"cube_red": cube_a, "cube_green": cube_b}
    )


def _stack_three(reach: float) -> Preset:
    """Two cubes of 4 and one of 5 cm that stand anywhere in a square."""
    reset = Reset((-reach, reach), (-reach, reach), _TURN)
    things = {
        "cube_red": Thing("box", (0.04, 0.04, 0.04), (0.0, -0.08), color=_RED, reset=reset),
        "cube_green": Thing("box", (0.05, 0.05, 0.05), (0.0, 0.0), color=_GREEN, reset=reset),
        "cube_blue": Thing("box", (0.04, 0.04, 0.04), (0.0, 0.08), color=_BLUE, reset=reset),
    }
    return Preset(
        "stack the red cube on the green cube, then stack the blue cube on the red cube", things
    )


BENCHMARK: Mapping[str, Preset] = {
    "stack_d0": _stack(0.08),
    "stack_d1": _stack(0.20),
    "stack_three_d0": _stack_three(0.10),
    "stack_three_d1": _stack_three(0.20),
    **ASSEMBLY,
    **CLEANUP,
    **COFFEE,
    **BINS,
    **KITCHEN,
    **SMALL_BENCHMARK,
}
