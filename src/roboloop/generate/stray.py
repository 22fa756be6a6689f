"""Where hands are led aside on their way, so that policies see how to come back."""

import numpy as np
from jaxtyping import Float

from roboloop import pose
from roboloop.generate.segments import SKILL_RADIUS

STRAY_NEAR, STRAY_FAR = (0.015, 0.07), (0.05, 0.25)
"""How far (m) aside of where a skill ends, and above it, the hand is led astray: half the time
near, half far."""
STRAY_TURN = (0.08, 0.08, 0.7)
"""Standard deviation of how the hand is then turned about its x, y and z axes, rad."""
WAVER_M, WAVER_RAD = 0.012, 0.2
"""Standard deviations of how far a skill begins aside of its way, and how far turned."""
STEADY = 0.015
"""A hand that is this near (m) to where a skill ends is on its way again."""


def aside_of(
    T_world_eef: Float[np.ndarray, "4 4"], rng: np.random.Generator
) -> Float[np.ndarray, "4 4"]:
    """Draw a place of the hand beside and above another one, on a transit."""
    limits = STRAY_NEAR if rng.uniform() < 0.5 else STRAY_FAR
    angle, (shift, height) = rng.uniform(0, 2 * np.pi), rng.uniform(*limits, 2)
    offset = np.array([shift * np.cos(angle), shift * np.sin(angle), height])
    R = pose.rotvec_to_matrix(rng.normal(0, STRAY_TURN))
    return pose.from_parts(T_world_eef[:3, 3] + offset, T_world_eef[:3, :3] @ R)


def wavering(
    Ts_world_eef: Float[np.ndarray, "S 4 4"], rng: np.random.Generator
) -> Float[np.ndarray, "S 4 4"]:
    """Draw a skill that begins aside, turned about the hand's axis, and comes back on its way."""
    left = np.linalg.norm(Ts_world_eef[:, :3, 3] - Ts_world_eef[-1, :3, 3], axis=1)
    share = np.clip((left - STEADY) / (SKILL_RADIUS - STEADY), 0, 1)
    aside = np.array([*rng.normal(0, WAVER_M, 2), 0.0])
    turn = np.array([0.0, 0.0, rng.normal(0, WAVER_RAD)])
    Rs = pose.rotvec_to_matrix(share[:, None] * turn)
    p = Ts_world_eef[:, :3, 3] + share[:, None] * aside
    return pose.from_parts(p, Ts_world_eef[:, :3, :3] @ Rs)
