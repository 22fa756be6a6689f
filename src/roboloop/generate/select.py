"""Which source serves a stage.

Source: Mandlekar et al. 2023, "MimicGen", appendix on selection strategies. There 0.1 rad counts
like 10 cm; here like 1 cm.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float

from roboloop import pose
from roboloop.generate.segments import Segment

Source = list[Segment]
"""The segments of a demonstration, one a stage."""
How = Literal["fitting", "random", "nearest_object", "nearest_hand"]
RAD = 0.1
"""Metres that count as much as one radian."""


@dataclass(frozen=True)
class Selection:
    """How sources are chosen."""

    how: How = "fitting"
    """`fitting` takes the one that fits most scenes, everywhere; `random` any; `nearest_object` one
    whose object stood most like the one now; `nearest_hand` one that begins near the hand."""
    nearest: int = 3
    """Of how many nearest ones one is drawn."""
    per: Literal["subtask", "episode"] = "subtask"
    """Whether every stage chooses anew, or the first one for all."""


def ordered(
    sources: Sequence[Source],
    index: int,
    T_world_ref: Float[np.ndarray, "4 4"],
    T_world_eef: Float[np.ndarray, "4 4"],
    selection: Selection,
    rng: np.random.Generator,
) -> list[Source]:
    """Order sources for stage `index`: the chosen one first, then those to fall back to.

    Args:
        sources: The one that served the stage before comes first.
        index: The stage.
        T_world_ref: The reference frame now.
        T_world_eef: The hand now.
        selection: How to choose.
        rng: Draws among the nearest.
    """
    result = list(sources)
    if selection.how == "fitting" or (selection.per == "episode" and index > 0):
        return result
    if selection.how == "random":
        return [result[i] for i in rng.permutation(len(result))]
    if selection.how == "nearest_object":
        now, then = T_world_ref, [source[index].T_world_ref for source in result]
    else:
        now, then = T_world_eef, [T_world_ref @ each[index].Ts_ref_eef[0] for each in result]
    result = [result[i] for i in np.argsort(apart(np.stack(then), now), kind="stable")]
    result.insert(0, result.pop(int(rng.integers(min(selection.nearest, len(result))))))
    return result


def apart(
    T_a: Float[np.ndarray, "*A 4 4"], T_b: Float[np.ndarray, "*B 4 4"]
) -> Float[np.ndarray, "*C"]:
    """How far two frames are from each other, m + `RAD` m/rad; leading axes broadcast."""
    turn = pose.matrix_to_rotvec(np.swapaxes(T_a[..., :3, :3], -1, -2) @ T_b[..., :3, :3])
    shift = np.linalg.norm(T_a[..., :3, 3] - T_b[..., :3, 3], axis=-1)
    return shift + RAD * np.linalg.norm(turn, axis=-1)
