"""Random training batches from a cache: one observation and the chunk of actions after it."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float32, Int, UInt8

from roboloop.data.cache import Cache

Array = np.ndarray


@dataclass(frozen=True, eq=False)
class Batch:
    """B observations, each with the H actions from there on."""

    images: dict[str, UInt8[Array, "B px px 3"]]
    state: Float32[Array, "B n_state"]
    action: Float32[Array, "B H nu"]
    """Past the end of an episode its last action is repeated."""
    is_pad: Bool[Array, "B H"]
    """Which actions are such repeats."""
    episode: Int[Array, "B"]


@dataclass(frozen=True, eq=False)
class Windows:
    """All windows of a cache: one begins at every frame."""

    cache: Cache
    horizon: int
    """Actions in a chunk."""

    def __len__(self) -> int:
        """Return the number of windows."""
        return len(self.cache.action)

    def sample(self, rng: np.random.Generator, n: int) -> Batch:
        """Draw `n` windows at random."""
        return self.batch(rng.integers(len(self), size=n))

    def batch(self, frames: Int[Array, "B"]) -> Batch:
        """Gather the windows that begin at `frames`."""
        cache, episode = self.cache, self._episode[frames]
        steps, is_pad = chunk_steps(frames, cache.starts[episode + 1], self.horizon)
        return Batch(
            images={camera: images[frames] for camera, images in cache.images.items()},
            state=cache.state[frames],
            action=cache.action[steps],
            is_pad=is_pad,
            episode=episode,
        )

    @cached_property
    def _episode(self) -> Int[Array, "n"]:
        return self.cache.episode


def chunk_steps(
    frames: Int[Array, "B"], stops: Int[Array, "B"], horizon: int
) -> tuple[Int[Array, "B H"], Bool[Array, "B H"]]:
    """Index the `horizon` steps from each frame on, held at the last step before `stops`.

    Returns:
        The indices, and which of them are held.
    """
    steps = frames[:, None] + np.arange(horizon)
    is_pad = steps >= stops[:, None]
    return np.where(is_pad, stops[:, None] - 1, steps), is_pad
