"""Benchmark task in which a meal is cooked and served; see `benchmark`.

Source: as there. Pot, bread, hob and knob have sizes of our own. The stove is turned on by a knob
that stands apart from it, and what is fixed in D0 stands in the middle of its range of D1.
"""

from collections.abc import Mapping
from math import pi

from roboloop.scene.graph import Reset
from roboloop.scene.presets.base import Preset, Thing

_SENTENCE = (
    "turn on the knob, then put the pot on the stove, then put the bread in the pot, "
    "then put the pot on the serving region, then turn off the knob"
)
_BREAD = (0.72, 0.50, 0.25)


def _kitchen(
    bread: Reset,
    pot: Reset,
    stove: Reset | None = None,
    knob: Reset | None = None,
    region: Reset | None = None,
) -> Preset:
    things = {
        "stove": Thing("hob", (0.17, 0.17, 0.03), (0.145, 0.17), reset=stove),
        "knob": Thing("dial", (0.08, 0.08, 0.065), (-0.07, 0.125), yaw=pi, reset=knob),
        "serving_region": Thing("mat", (0.12, 0.22, 0.002), (0.345, -0.125), reset=region),
        "pot": Thing("casserole", (0.16, 0.125, 0.06), (0.178, -0.14), reset=pot),
        "bread": Thing(
            "box", (0.05, 0.035, 0.03), (0.065, -0.15), -pi / 2, color=_BREAD, reset=bread
        ),
    }
    return Preset(_SENTENCE, things)


KITCHEN: Mapping[str, Preset] = {
    "kitchen_d0": _kitchen(
        Reset((0.05, 0.08), (-0.18, -0.12), (-pi / 2, -pi / 2)),
        Reset((0.175, 0.18), (-0.15, -0.13), (-0.1, 0.1)),
    ),
    "kitchen_d1": _kitchen(
        Reset((-0.2, 0.0), (-0.25, -0.05), (-pi / 2, pi / 2)),
        Reset((0.08, 0.18), (-0.2, -0.05), (-pi / 6, pi / 6)),
        Reset((0.06, 0.23), (0.095, 0.25)),
        Reset((-0.2, 0.06), (0.05, 0.2), (pi, pi)),
        Reset((0.345, 0.345), (-0.2, -0.05)),
    ),
}
