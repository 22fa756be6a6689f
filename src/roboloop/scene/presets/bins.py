"""Benchmark task with two bins; see `benchmark`.

Source: as there; bins and objects also Zhu et al. 2020, "robosuite", Pick Place: bins of 0.39 x
0.49 m, the second one of four compartments. The objects are of our own shapes.
"""

from collections.abc import Mapping
from math import pi

from roboloop.scene.graph import Reset
from roboloop.scene.presets.base import Preset, Thing

_BIN = (0.39, 0.49)
_HIGH = 0.06
_MARGIN = 0.05
"""Between where an object's middle may be and the bin's walls, m."""
_SIDE = 0.27
"""How far the bins' middles are from the table's, m."""
_ROOM = (_BIN[0] / 2 - _MARGIN, _BIN[1] / 2 - _MARGIN)
_RESET = Reset((-_ROOM[0], _ROOM[0]), (-_ROOM[1], _ROOM[1]), (0.0, pi / 2))
_OBJECTS = {
    "milk": ("box", (0.055, 0.055, 0.13), (0.88, 0.90, 0.93)),
    "cereal": ("box", (0.07, 0.03, 0.15), (0.75, 0.15, 0.12)),
    "bread": ("box", (0.08, 0.05, 0.05), (0.72, 0.50, 0.25)),
    "can": ("can", (0.055, 0.055, 0.10), (0.15, 0.30, 0.65)),
}


def _pick_place() -> Preset:
    things = {"bin": Thing("bin", (*_BIN, _HIGH), (0.0, -_SIDE))}
    quarters = [(x, y) for x in (-0.25, 0.25) for y in (-0.25, 0.25)]
    for (name, (category, size, color)), (x, y) in zip(_OBJECTS.items(), quarters, strict=True):
        half = (_BIN[0] / 2 - 0.002, _BIN[1] / 2 - 0.002, _HIGH)
        at = (x * _BIN[0], _SIDE + y * _BIN[1])
        things[f"{name}_bin"] = Thing("bin", half, at)
        at = (x * _BIN[0], y * _BIN[1])
        things[name] = Thing(category, size, at, color=color, inside="bin", reset=_RESET)
    clauses = (f"put the {name} in the {name} bin" for name in _OBJECTS)
    return Preset(", then ".join(clauses), things)


BINS: Mapping[str, Preset] = {"pick_place_d0": _pick_place()}
