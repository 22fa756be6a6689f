"""Ways of the hand with a jointed body that it holds or pushes: drawers, doors, knobs."""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float

from roboloop import pose
from roboloop.demo.goals import Unreachable
from roboloop.demo.ways.arm import Arm

TURNS_ALONG = (1.0, 0.75, 0.5, 0.25, 0.0)
"""Shares of a door's turn that a hand on its handle takes part in, in the order they are tried."""
ON_THE_SPOT = 0.03
"""A hand that moves less than this for every radian that it turns holds what turns, such as a
knob's fin: it has to turn as far, or its fingers slip round, m."""


def ways_along_joint(
    arm: Arm,
    qpos: Float[np.ndarray, "nq"],
    address: int,
    values: Float[np.ndarray, "S"],
    body: int,
    deeper: Float[np.ndarray, "3"] | float = 0.0,
) -> Iterator[Float[np.ndarray, "T n"]]:
    """Yield ways of the hand with a jointed body that it holds or pushes, as the joint goes.

    First the hand goes `deeper` into the body (m, world). It turns with the body, or less: a
    bar turns between the fingers. With a lid, whose axis is level, hands that point down in the
    end come first. Ways that the arm cannot follow are left out.
    """
    arm.update(qpos)
    q = qpos[arm.cell.arm_qpos]
    T_eef = arm.eef(q)
    T_eef[:3, 3] += deeper
    T_body_eef = pose.inverse(arm.body_pose(body)) @ T_eef
    Ts = np.stack([arm.body_pose_at(qpos, address, v, body) @ T_body_eef for v in values])
    ways = [pose.turned(T_eef, Ts, share) for share in turns_along(Ts[0], Ts[-1])]
    for way in sorted(ways, key=lambda way: round(float(way[-1, 2, 2]), 2)):
        try:
            yield arm.follow(way, q)
        except Unreachable:
            continue


def first(ways: Iterator[Float[np.ndarray, "T n"]]) -> Float[np.ndarray, "T n"]:
    """The first of the ways.

    Raises:
        Unreachable: There is none.
    """
    for path in ways:
        return path
    raise Unreachable("the arm cannot follow the joint")


def turns_along(T_a: Float[np.ndarray, "4 4"], T_b: Float[np.ndarray, "4 4"]) -> tuple[float, ...]:
    """Shares that the hand may take of a turn with a jointed body; see `TURNS_ALONG`."""
    turn = np.linalg.norm(pose.matrix_to_rotvec(T_a[:3, :3].T @ T_b[:3, :3]))
    moved = np.linalg.norm(T_b[:3, 3] - T_a[:3, 3])
    return TURNS_ALONG[:1] if moved < ON_THE_SPOT * turn else TURNS_ALONG
