"""Benchmark tasks with a coffee machine; see `benchmark`.

Source: as there. The machine's and the pod's sizes are ours; our machine's front is where it opens,
which the published ranges turn from by a quarter. So does the drawer's.
"""

from collections.abc import Mapping
from math import pi

from roboloop.scene.graph import Reset
from roboloop.scene.presets.base import Preset, Thing

_SENTENCE = "put the pod in the coffee machine, then close the lid"
_PREPARATION = (
    "put the mug on the coffee machine, then open the drawer, "
    "then put the pod in the coffee machine, then close the lid"
)
_LID = ("lid", 2.09)


def _coffee(pod: Reset, machine: Reset | None, side: int = 1) -> Preset:
    """The pod on one side, `side` * y > 0, the machine on the other, facing it."""
    things = {
        "pod": Thing("pod", (0.045, 0.045, 0.034), (-0.1, 0.2 * side), reset=pod),
        "coffee_machine": Thing(
            "coffee_machine",
            (0.19, 0.12, 0.19),
            (0.0, -0.1 * side),
            yaw=pi / 3 * side,
            opened=_LID,
            reset=machine,
        ),
    }
    return Preset(_SENTENCE, things)


def _preparation(mug: Reset, machine: Reset | None) -> Preset:
    """A mug to be filled, and the pod in a drawer that opens towards the table's middle."""
    things = {
        "mug": Thing("mug", (0.11, 0.08, 0.08), (0.125, 0.15), reset=mug),
        "coffee_machine": Thing(
            "coffee_machine", (0.22, 0.14, 0.25), (-0.15, -0.25), pi / 3, opened=_LID, reset=machine
        ),
        "cabinet": Thing(
            "drawer_cabinet", (0.34, 0.28, 0.12), (0.15, -0.35), pi / 2, params={"n_drawers": 1}
        ),
        "pod": Thing(
            "pod",
            (0.045, 0.045, 0.034),
            inside="cabinet",
            reset=Reset((-0.03, 0.05), (-0.03, 0.03)),
        ),
    }
    return Preset(_PREPARATION, things)


COFFEE: Mapping[str, Preset] = {
    "coffee_d0": _coffee(Reset((-0.13, -0.07), (0.17, 0.23)), None),
    "coffee_d1": _coffee(
        Reset((-0.20, 0.05), (0.17, 0.30)),
        Reset((0.05, 0.15), (-0.2, -0.1), (pi / 3, 5 * pi / 6)),
    ),
    "coffee_d2": _coffee(
        Reset((-0.20, 0.05), (-0.30, -0.17)),
        Reset((-0.05, 0.05), (0.1, 0.2), (7 * pi / 6, 5 * pi / 3)),
        side=-1,
    ),
    "coffee_preparation_d0": _preparation(Reset((0.05, 0.20), (0.05, 0.25)), None),
    "coffee_preparation_d1": _preparation(
        Reset((-0.15, 0.20), (0.05, 0.25), (0.0, 2 * pi)),
        Reset((-0.25, -0.15), (-0.30, -0.25), (pi / 3, 2 * pi / 3)),
    ),
}
