"""Run a trained action-chunking policy."""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import torch
from jaxtyping import Float, Float32, Float64
from torch import Tensor

from roboloop import pose
from roboloop.data.cache import object_numbers
from roboloop.errors import RoboloopError
from roboloop.policy.act import Act
from roboloop.policy.base import (
    ENVIRONMENT,
    IMAGES,
    STATE,
    TASK,
    Checkpoint,
    Observation,
    Sense,
    check_observation,
)
from roboloop.policy.checkpoint import RECORD, WEIGHTS, read_checkpoint
from roboloop.policy.clock import Clock
from roboloop.policy.text import embed
from roboloop.robot import ROBOTS, Robot, forward_kinematics, inverse_kinematics

EXECUTED: dict[Sense, int] = {"images": 8, "poses": 4}
"""Actions that are carried out of each chunk, by what is seen. Images do not tell for how long a
hand has pushed or waited: half a chunk is long enough to go on."""
BROUGHT_M, BROUGHT_RAD = 0.002, 0.02
"""Errors of an arm's hand with which it counts as there."""


class ActPolicy:
    """A trained policy; it remembers where it last saw things, and what it told the hand.

    Args:
        checkpoint: What it is.
        weights: Of its network.
        execute_steps: Actions that are carried out of each chunk; by default as `EXECUTED` says.
    """

    finished = None

    def __init__(
        self, checkpoint: Checkpoint, weights: dict[str, Tensor], execute_steps: int | None
    ) -> None:
        self.checkpoint, self.px = checkpoint, checkpoint.px
        self.sense: Sense = "images" if checkpoint.px else "poses"
        self.execute_steps = execute_steps or EXECUTED[self.sense]
        self._seen: np.ndarray | None = None
        self._clock: Clock | None = None
        self._net = Act.of_weights(checkpoint, weights).eval()
        robot = ROBOTS.get(checkpoint.robot)
        self._arm = None if robot is None else Arm(robot)

    @classmethod
    def load(cls, folder: Path, execute_steps: int | None) -> Self:
        """Read a policy that `roboloop train` wrote.

        Raises:
            RoboloopError: It is of another version, damaged, or its weights do not fit its record.
        """
        checkpoint, weights = read_checkpoint(folder)
        torch.set_num_threads(1)  # two, on cores that others use too, are many times slower
        try:
            return cls(checkpoint, weights, execute_steps)
        except (RuntimeError, KeyError) as error:
            problem = f"{WEIGHTS} does not fit {RECORD}: {str(error).splitlines()[-1].strip()}"
            raise RoboloopError(problem, path=folder) from None

    def reset(self, n: int) -> None:
        """Forget where things were, and what the hands were told."""
        self._seen, self._clock = None, Clock(n)

    def act(self, observation: Observation) -> Float32[np.ndarray, "N H nu"]:
        """Return the next actions of every robot, those of a chunk that are carried out.

        Raises:
            RoboloopError: The observation is not what the policy was trained on.
        """
        checkpoint = self.checkpoint
        check_observation(observation, checkpoint.cameras, checkpoint.px)
        inputs = {
            f"images.{name}": torch.from_numpy(observation[IMAGES + name])
            for name in checkpoint.cameras
        }
        if self.sense == "poses":
            inputs["objects"] = torch.from_numpy(self._objects(observation[ENVIRONMENT]))
        state = observation[STATE]
        self._clock = clock = self._clock or Clock(len(state))
        known = np.concatenate([state, clock.recency[:, None]], 1)
        inputs["state"] = torch.from_numpy(known)
        inputs["text"] = torch.from_numpy(embed(observation[TASK]))
        with torch.inference_mode():
            chunk = self._net.actions(inputs, self._arm).numpy()[:, : self.execute_steps]
        clock.advance(chunk[..., -1] > self._net.gripper_range.mean().item())
        return chunk

    def _objects(
        self, Ts_base_obj: Float64[np.ndarray, "N n_seen 4 4"]
    ) -> Float32[np.ndarray, "N n_obj 15"]:
        """What the network is told of the objects; those that are not seen are where they were."""
        wanted, given = len(self._net.objects_mean), Ts_base_obj.shape[1]
        if given != wanted:
            raise RoboloopError(
                f"poses of {given} objects and moving parts, the policy was trained on {wanted}"
            )
        if self._seen is not None:
            unseen = np.isnan(Ts_base_obj).any((-1, -2), keepdims=True)
            Ts_base_obj = np.where(unseen, self._seen, Ts_base_obj)
        self._seen = Ts_base_obj
        return object_numbers(Ts_base_obj)


@dataclass(frozen=True)
class Arm:
    """A robot's `Kinematics`."""

    robot: Robot

    def turned(self, q: Float[Tensor, "B n"]) -> Float[Tensor, "B 3 3"]:
        """See `Kinematics`."""
        Ts_base_eef = forward_kinematics(self.robot, q.numpy().astype(float))
        return torch.from_numpy(Ts_base_eef[:, :3, :3]).float()

    def brought(
        self,
        near: Float[Tensor, "B n"],
        p_base: Float[Tensor, "B 3"],
        R_base_eef: Float[Tensor, "B 3 3"],
    ) -> Float[Tensor, "B n"]:
        """See `Kinematics`."""
        result = torch.full_like(near, torch.nan)
        parts = p_base.numpy().astype(float), R_base_eef.numpy().astype(float)
        for i, (T, q) in enumerate(zip(pose.from_parts(*parts), near.numpy(), strict=True)):
            q = q.astype(float)
            ik = inverse_kinematics(self.robot, T[None], q[None], 0, q)  # what is preferred differs
            turned = not self.robot.turns_freely or ik.rotation_error[0] < BROUGHT_RAD
            if turned and ik.position_error[0] < BROUGHT_M:
                result[i] = torch.from_numpy(ik.q[0])
        return result
