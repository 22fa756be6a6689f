"""A model of a tracker: what a camera system says of where things are."""

from collections import deque
from dataclasses import dataclass

import mujoco
import numpy as np
from jaxtyping import Float

from roboloop import pose
from roboloop.cell import Cell
from roboloop.demo.belief import Tracking, angle_noise
from roboloop.sim import CONTROL_DT

OCCLUDED_S = 0.5
"""Mean duration of an occlusion."""


@dataclass(frozen=True)
class TrackerConfig(Tracking):
    """How well things are seen."""

    occlusion: float = 0.0
    """Share of the time that a thing is not seen, in stretches of half a second."""


class Tracker:
    """Follows the things of one cell.

    Args:
        cell: Where.
        config: How well.
        rng: Its noise.
    """

    def __init__(self, cell: Cell, config: TrackerConfig, rng: np.random.Generator) -> None:
        self.cell, self._config, self._rng = cell, config, rng
        self._past: deque[np.ndarray] = deque(maxlen=config.delay_steps + 1)
        self._hidden = dict.fromkeys([*cell.free_bodies.values(), *cell.joint_qpos], False)

    def see(self, qpos: Float[np.ndarray, "nq"]) -> Float[np.ndarray, "m"]:
        """Say where things are a control step later, `Cell.object_qpos`; NaN is unseen."""
        config, rng = self._config, self._rng
        self._past.append(qpos.copy())
        seen = self._past[0].copy()
        sigma, angle = config.noise_mm / 1000, angle_noise(config.noise_mm)
        ends = CONTROL_DT / OCCLUDED_S
        begins = ends * config.occlusion / max(1 - config.occlusion, 1e-6)
        for address, hidden in self._hidden.items():
            changes = rng.random() < (ends if hidden else begins)
            self._hidden[address] = hidden != changes
            size = 1 if address in self.cell.joint_qpos else 7
            at = slice(address, address + size)
            if self._hidden[address]:
                seen[at] = np.nan
            elif sigma and size == 1:
                seen[at] += self._joint_noise(address, sigma) * rng.normal()
            elif sigma:
                R = pose.quat_to_matrix(seen[address + 3 : address + 7])
                turn = pose.rotvec_to_matrix(angle * rng.normal(size=3))
                seen[at] = [
                    *(seen[address : address + 3] + sigma * rng.normal(size=3)),
                    *pose.matrix_to_quat(turn @ R),
                ]
        return seen[self.cell.object_qpos]

    def _joint_noise(self, address: int, sigma: float) -> float:
        """Of a slide in m; of a hinge, such that something 20 cm away is off by `sigma`."""
        kind = self.cell.model.jnt_type[self.cell.joint_at(address)]
        return sigma if kind == mujoco.mjtJoint.mjJNT_SLIDE else sigma / 0.2
