"""A table scene for each kind of task."""

from collections.abc import Mapping

import numpy as np

from roboloop.scene.presets.base import Preset, Thing


def _beads(n: int) -> dict[str, Thing]:
    """Beads in the mug, three a layer."""
    angle = 2 * np.pi * (np.arange(n) / 3 + np.arange(n) // 3 / 6)
    xy = 0.011 * np.stack([np.cos(angle), np.sin(angle)], 1)
    return {
        f"bead_{i}": Thing(
            "bead", (0.012, 0.012, 0.012), (float(x), float(y)), inside="mug", layer=i // 3
        )
        for i, (x, y) in enumerate(xy)
    }


def _far_apart(y: float) -> dict[str, Thing]:
    """A bar on the left, a box on the right: where an arm reaches one, it misses the other."""
    return {
        "bar": Thing("bar", (0.18, 0.035, 0.035), (0.0, -y), yaw=np.pi / 2),
        "box": Thing("box", (0.20, 0.20, 0.05), (0.0, y)),
    }


_BOWL, _PLATE = Thing("bowl", (0.13, 0.13, 0.055), (0.02, 0.13)), (0.16, 0.16, 0.022)
_CABINET, _MICROWAVE = (0.25, 0.24, 0.22), (0.25, 0.32, 0.19)
_RED, _GREEN = (0.75, 0.15, 0.12), (0.15, 0.55, 0.22)

PRESETS: Mapping[str, Preset] = {
    "bowl_plate": Preset(
        "put the bowl on the plate",
        {
            "bowl": Thing("bowl", (0.115, 0.115, 0.053), (-0.03, -0.13)),
            "plate": Thing("plate", _PLATE, (0.02, 0.13)),
        },
    ),
    "box_basket": Preset(
        "put the box in the basket",
        {
            "box": Thing("box", (0.09, 0.045, 0.03), (0.0, -0.14)),
            "basket": Thing("basket", (0.22, 0.18, 0.09), (0.02, 0.14)),
        },
    ),
    "blocks": Preset(
        "stack the red block on the green block",
        {
            "block_red": Thing("box", (0.045, 0.045, 0.045), (0.0, -0.10), color=_RED),
            "block_green": Thing("box", (0.055, 0.055, 0.05), (0.0, 0.10), color=_GREEN),
        },
    ),
    "mug_bowl": Preset(
        "pour the mug into the bowl",
        {"mug": Thing("mug", (0.11, 0.085, 0.09), (-0.02, -0.15)), "bowl": _BOWL, **_beads(6)},
    ),
    "pen_holder": Preset(
        "put the pen in the holder",
        {
            "pen": Thing("pen", (0.155, 0.014, 0.014), (0.0, -0.12)),
            "holder": Thing("holder", (0.07, 0.07, 0.10), (0.0, 0.13)),
        },
    ),
    "nut_peg": Preset(
        "put the nut on the peg",
        {
            "nut": Thing("square_nut", (0.123, 0.0875, 0.02), (-0.08, -0.13)),
            "peg": Thing("square_peg", (0.032, 0.032, 0.13), (0.06, 0.12)),
        },
    ),
    "piece_base": Preset(
        "put the piece in the base",
        {
            "piece": Thing("plug", (0.06, 0.06, 0.06), (0.0, -0.14)),
            "base": Thing("socket", (0.10, 0.10, 0.04), (0.02, 0.13)),
        },
    ),
    "needle_ring": Preset(
        "thread the needle through the ring",
        {
            "needle": Thing("needle", (0.16, 0.028, 0.028), (-0.08, 0.15), yaw=-np.pi / 2),
            "tripod": Thing("tripod", (0.09, 0.11, 0.14), (0.0, -0.14), yaw=np.pi / 2),
        },
    ),
    "drawers": Preset("open the top drawer", {"cabinet": Thing("drawer_cabinet", _CABINET)}),
    "drawers_open": Preset(
        "close the top drawer",
        {
            "cabinet": Thing("drawer_cabinet", _CABINET, opened=("drawer_0", 0.12)),
        },
    ),
    "microwave": Preset("open the microwave", {"microwave": Thing("microwave", _MICROWAVE)}),
    "microwave_open": Preset(
        "close the microwave",
        {"microwave": Thing("microwave", _MICROWAVE, opened=("door", 1.3))},
    ),
    "stove": Preset("turn on the stove", {"stove": Thing("stove", (0.30, 0.20, 0.075))}),
    "tray": Preset(
        "lift the tray",
        {
            "tray": Thing("serving_tray", (0.27, 0.42, 0.085)),
            "mug": Thing("mug", (0.11, 0.085, 0.09), inside="tray"),
        },
        n_arms=2,
        eye=(0.85, 0.0, 0.80),
    ),
    "handover": Preset(
        "put the bar on the box",
        _far_apart(0.47),
        n_arms=2,
        table=(1.0, 1.6),
        eye=(1.00, 0.0, 1.00),
    ),
    # for two arms that stand 0.94 m apart, ALOHA's
    "handover_small": Preset("put the bar on the box", _far_apart(0.18), n_arms=2),
    "towel": Preset("fold the towel", {"towel": Thing("towel", (0.30, 0.24, 0.003))}, n_arms=2),
    "button": Preset("press the button", {"button": Thing("button", (0.10, 0.10, 0.065))}),
}
