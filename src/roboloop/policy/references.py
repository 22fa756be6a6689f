"""Policies to compare with: one that does nothing, one that repeats the nearest demonstration."""

from pathlib import Path

import numpy as np
from jaxtyping import Float32, Int64, UInt8

from roboloop.data.cache import Cache, build_cache, read_cache
from roboloop.data.reader import read_info
from roboloop.policy.base import IMAGES, STATE, Observation, Sense, check_observation

CHUNK_STEPS = 16
COARSE_PX = 12
"""Size at which it compares images."""


class NoOpPolicy:
    """Holds every arm where it is and its hand open.

    Args:
        n_arm: Joints of an arm.
        gripper_open: Target of a gripper when open.
        n_arms: How many arms of a kind there are.
    """

    finished = None
    sense: Sense = "images"

    def __init__(self, n_arm: int, gripper_open: float, n_arms: int = 1) -> None:
        self.n_arm, self.gripper_open, self.n_arms, self.px = n_arm, gripper_open, n_arms, None

    def reset(self, n: int) -> None:
        """Do nothing: the policy has no memory."""

    def act(self, observation: Observation) -> Float32[np.ndarray, "N H nu"]:
        """Return the current joint positions as targets."""
        check_observation(observation, (), None)
        arms = []
        for state in np.split(observation[STATE], self.n_arms, axis=1):
            hold = np.array(state[:, : self.n_arm + 1], np.float32)
            hold[:, -1] = self.gripper_open
            arms.append(hold)
        return np.repeat(np.concatenate(arms, 1)[:, None], CHUNK_STEPS, 1)


class ReplayNearestPolicy:
    """Replays the demonstration that began most like this episode, eyes closed.

    Likeness is the distance between coarse first images of all cameras and first states. It is
    asked once a chunk, so it needs to know how many actions of each are carried out.
    """

    finished = None
    sense: Sense = "images"

    def __init__(self, cache: Cache, execute_steps: int) -> None:
        self.cache, self.execute_steps, self.px = cache, execute_steps, None
        first = cache.starts[:-1]
        images = {name: images[first] for name, images in cache.images.items()}
        self._spread = cache.state.std(0) + 1e-3
        self._keys = self._describe(images, cache.state[first])
        self.reset(0)

    @classmethod
    def of_dataset(cls, dataset: Path, execute_steps: int) -> "ReplayNearestPolicy":
        """Read the demonstrations."""
        return cls(read_cache(build_cache(dataset, read_info(dataset).px)), execute_steps)

    def reset(self, n: int) -> None:
        """Choose demonstrations anew at the next call."""
        self._episode: np.ndarray | None = None
        self._step = 0

    def act(self, observation: Observation) -> Float32[np.ndarray, "N H nu"]:
        """Return the next actions of each robot's demonstration, at its end the last one."""
        check_observation(observation, tuple(self.cache.images), None)
        if self._episode is None:
            self._episode = self._nearest(observation)
        starts, episode = self.cache.starts, self._episode
        steps = starts[episode][:, None] + self._step + np.arange(CHUNK_STEPS)
        self._step += self.execute_steps
        return self.cache.action[np.minimum(steps, starts[episode + 1][:, None] - 1)]

    def _nearest(self, observation: Observation) -> Int64[np.ndarray, "N"]:
        images = {name: observation[IMAGES + name] for name in self.cache.images}
        keys = self._describe(images, observation[STATE])
        return np.linalg.norm(keys[:, None] - self._keys, axis=-1).argmin(1)

    def _describe(
        self, images: dict[str, np.ndarray], state: np.ndarray
    ) -> Float32[np.ndarray, "N n_key"]:
        """Describe first observations by numbers of comparable size."""
        views = [coarse(each).reshape(len(state), -1) for each in images.values()]
        parts = [view / np.sqrt(view.shape[1]) * 4 for view in views]
        return np.concatenate([*parts, 0.1 * state / self._spread], 1).astype(np.float32)


def coarse(images: UInt8[np.ndarray, "N h w 3"]) -> Float32[np.ndarray, "N c c 3"]:
    """Average images over cells to `COARSE_PX`, in 0..1; what does not fill a cell is cut off."""
    cell = min(images.shape[1:3]) // COARSE_PX
    side = cell * COARSE_PX
    cells = images[:, :side, :side].reshape(-1, COARSE_PX, cell, COARSE_PX, cell, 3)
    return cells.mean((2, 4), np.float32) / 255
