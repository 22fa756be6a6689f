"""Benchmark tasks in which a drawer is opened, filled and closed; see `benchmark`.

Source: as there. Cabinet and mug have sizes of our own; the drawer opens towards the table's
middle, as far as leaves the mug untouched.
"""

from collections.abc import Mapping
from math import pi

from roboloop.scene.graph import Reset
from roboloop.scene.presets.base import Preset, Thing

_TURN = (0.0, 2 * pi)


def _mug_cleanup(mug: Reset, cabinet: Reset | None) -> Preset:
    things = {
        "mug": Thing("mug", (0.11, 0.085, 0.09), (0.0, -0.18), reset=mug),
        "cabinet": Thing(
            "drawer_cabinet",
            (0.28, 0.28, 0.14),
            (0.0, 0.3),
            yaw=-pi / 2,
            params={"n_drawers": 1},
            reset=cabinet,
        ),
    }
    return Preset("open the drawer, then put the mug in the drawer, then close the drawer", things)


CLEANUP: Mapping[str, Preset] = {
    "mug_cleanup_d0": _mug_cleanup(Reset((-0.15, 0.15), (-0.25, -0.10), _TURN), None),
    "mug_cleanup_d1": _mug_cleanup(
        Reset((-0.25, 0.15), (-0.30, -0.15), _TURN),
        Reset((-0.15, 0.05), (0.25, 0.35), (-2 * pi / 3, -pi / 3)),
    ),
}
