"""Benchmark tasks in which things are fitted together; see `benchmark`.

Source: as there; nuts and pegs also Zhu et al. 2020, "robosuite", Nut Assembly. Needle, tripod,
base and pieces have sizes of our own.
"""

from collections.abc import Mapping
from dataclasses import replace
from math import pi

from roboloop.scene.graph import Reset
from roboloop.scene.presets.base import Preset, Thing

_TURN = (0.0, 2 * pi)
_NUT_D0 = Reset((-0.115, -0.11), (0.11, 0.225), _TURN)
_SQUARE_NUT = Thing("square_nut", (0.123, 0.0875, 0.02), (-0.1125, 0.17), reset=_NUT_D0)
_ROUND_NUT = Thing(
    "round_nut",
    (0.139, 0.1074, 0.02),
    (-0.1125, -0.17),
    reset=Reset((-0.115, -0.11), (-0.225, -0.11), _TURN),
)
_SQUARE_PEG = Thing("square_peg", (0.032, 0.032, 0.13), (0.23, 0.10))
_ROUND_PEG = Thing("round_peg", (0.04, 0.04, 0.13), (0.23, -0.10))


def _square(nut: Reset, peg: Reset | None) -> Preset:
    things = {"nut": replace(_SQUARE_NUT, reset=nut), "peg": replace(_SQUARE_PEG, reset=peg)}
    return Preset("put the nut on the peg", things)


def _threading(needle: Reset, tripod: Reset | None, side: int = 1) -> Preset:
    """The needle on one side, `side` * y > 0, the tripod on the other."""
    things = {
        "needle": Thing(
            "needle", (0.16, 0.028, 0.028), (-0.1, 0.2 * side), yaw=-pi / 2, reset=needle
        ),
        "tripod": Thing(
            "tripod", (0.09, 0.11, 0.14), (0.0, -0.15 * side), yaw=pi / 2 * side, reset=tripod
        ),
    }
    return Preset("thread the needle through the tripod", things)


def _anywhere(*yaw: float) -> Reset:
    return Reset((-0.22, 0.22), (-0.22, 0.22), (yaw[0], yaw[1]))


def _three_pieces(base: Reset | None, turn: tuple[float, float]) -> Preset:
    anywhere = _anywhere(*turn)
    second = {"stem": 0.030, "stem_length": 0.020, "depth": 0.018, "pocket": 0.030}
    things = {
        "base": Thing("socket", (0.10, 0.10, 0.04), reset=base),
        "piece_1": Thing("plug", (0.06, 0.06, 0.06), (0.0, 0.17), yaw=pi / 2, reset=anywhere),
        "piece_2": Thing(
            "plug", (0.05, 0.05, 0.05), (0.0, -0.17), yaw=pi / 2, params=second, reset=anywhere
        ),
    }
    return Preset("put piece 1 into the base, then put piece 2 into piece 1", things)


ASSEMBLY: Mapping[str, Preset] = {
    "square_d0": _square(_NUT_D0, None),
    "square_d1": _square(
        Reset((-0.115, 0.115), (-0.255, 0.255), _TURN), Reset((-0.1, 0.3), (-0.2, 0.2))
    ),
    "square_d2": _square(
        Reset((-0.25, 0.25), (-0.25, 0.25), _TURN),
        Reset((-0.25, 0.25), (-0.25, 0.25), (0.0, pi / 2)),
    ),
    "threading_d0": _threading(Reset((-0.20, -0.05), (0.15, 0.25), (-2 * pi / 3, -pi / 3)), None),
    "threading_d1": _threading(
        Reset((-0.20, 0.05), (0.15, 0.25), (-7 * pi / 6, pi / 6)),
        Reset((-0.10, 0.15), (-0.20, -0.10), (pi / 6, 5 * pi / 6)),
    ),
    "threading_d2": _threading(
        Reset((-0.20, 0.05), (-0.25, -0.15), (-7 * pi / 6, pi / 6)),
        Reset((-0.10, 0.15), (0.10, 0.20), (-5 * pi / 6, -pi / 6)),
        side=-1,
    ),
    "three_pieces_d0": _three_pieces(None, (pi / 2, pi / 2)),
    "three_pieces_d1": _three_pieces(_anywhere(0.0, 0.0), (pi / 2, pi / 2)),
    "three_pieces_d2": _three_pieces(_anywhere(-pi / 4, pi / 4), (0.0, pi)),
    "nut_assembly_d0": Preset(
        "put the square nut on the square peg, then put the round nut on the round peg",
        {
            "square_nut": _SQUARE_NUT,
            "round_nut": _ROUND_NUT,
            "square_peg": _SQUARE_PEG,
            "round_peg": _ROUND_PEG,
        },
    ),
}
