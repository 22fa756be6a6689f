"""The planner as a policy: it acts for N robots on what a tracker says, in closed loop."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Float32

from roboloop.cell import Cell
from roboloop.demo.belief import Measured, Tracking
from roboloop.demo.loop import ClosedLoop
from roboloop.errors import RoboloopError
from roboloop.policy.base import STATE, TRACKED, Observation, Sense
from roboloop.robot import Robot


class PlannerPolicy:
    """One closed loop a robot.

    Args:
        cells: Where each robot is; their models are what it plans with.
        rngs: Randomness, one a cell.
        tracking: What is known of the tracker.
    """

    px = None
    sense: Sense = "tracker"

    def __init__(
        self, cells: Sequence[Cell], rngs: Sequence[np.random.Generator], tracking: Tracking
    ) -> None:
        self.cells, self._rngs, self._tracking = cells, rngs, tracking
        self.loops: list[ClosedLoop] = []

    def reset(self, n: int) -> None:
        """Begin anew in all cells.

        Raises:
            RoboloopError: `n` is not the number of cells.
        """
        if n != len(self.cells):
            raise RoboloopError(f"the planner has {len(self.cells)} cells, not {n}")
        self.loops = [
            ClosedLoop(cell, rng, self._tracking)
            for cell, rng in zip(self.cells, self._rngs, strict=True)
        ]

    @property
    def finished(self) -> Bool[np.ndarray, "N"]:
        """Which robots are done, or gave up."""
        return np.array([loop.finished for loop in self.loops])

    def act(self, observation: Observation) -> Float32[np.ndarray, "N 1 nu"]:
        """Return the next action of every robot."""
        rows = []
        states = zip(self.loops, observation[STATE], observation[TRACKED], strict=True)
        for loop, state, tracked in states:
            parts = np.split(state.astype(float), len(loop.cell.arms))
            measured = [
                _measured(c.robot, part) for c, part in zip(loop.cell.arms, parts, strict=True)
            ]
            rows.append(loop.act(measured, tracked.astype(float)))
        return np.stack(rows)[:, None].astype(np.float32)


def _measured(robot: Robot, state: Float[np.ndarray, "d"]) -> Measured:
    """What an arm's part of `observation.state` says of its joints."""
    n = len(robot.arm_joints)
    return state[:n], float(robot.gripper_at(float(state[n])))
