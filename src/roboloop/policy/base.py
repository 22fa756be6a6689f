"""What a policy is: observations of N robots in, chunks of actions out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
from jaxtyping import Bool, Float32

from roboloop.errors import RoboloopError
from roboloop.policy.recipes import ActConfig

STATE, TASK, IMAGES = "observation.state", "task", "observation.images."
"""Keys of an observation: proprioception, instruction, and the prefix of the cameras."""
ENVIRONMENT, TRACKED = "observation.environment_state", "observation.tracked"
"""Keys of where things are: as poses, and as a tracker says it, `Cell.object_qpos`.

NaN is what is not seen."""

Observation = Mapping[str, Any]
"""`observation.state` (N, n_state) float32, `observation.images.<camera>` (N, h, w, 3) uint8,
`task`: N instructions. In place of images, for who asks for it, `observation.environment_state`
(N, n_obj, 4, 4) float64, poses of the objects and of their moving parts in the frame of the (first)
arm's base, or `observation.tracked` (N, m) float64."""
Sense = Literal["images", "poses", "tracker"]
"""What a policy is shown, beside `observation.state`."""


class Policy(Protocol):
    """Acts for N robots at once."""

    @property
    def px(self) -> int | None:
        """Height and width of the images that it wants; None takes any."""
        ...

    @property
    def sense(self) -> Sense:
        """What it is shown."""
        ...

    @property
    def finished(self) -> Bool[np.ndarray, "N"] | None:
        """Which robots have nothing left to do; None if it never says."""
        ...

    def reset(self, n: int) -> None:
        """Forget what was seen: N new episodes begin."""
        ...

    def act(self, observation: Observation) -> Float32[np.ndarray, "N H nu"]:
        """Return the next H actions of every robot: joint targets, then the gripper's command."""
        ...


@dataclass(frozen=True)
class Checkpoint:
    """What a trained policy is, beside its weights: `policy.json`."""

    recipe: str
    """Key of `recipes.RECIPES`."""
    config: ActConfig
    robot: str
    fps: int
    """Control rate, Hz."""
    cameras: tuple[str, ...]
    hand_cameras: tuple[str, ...]
    """Those that move with the hand."""
    px: int
    """Height and width of the images; 0 is for a policy that is told where the objects are."""
    state_names: tuple[str, ...]
    """Dimensions of `observation.state`; see `Task.dimension_names`."""
    action_names: tuple[str, ...]
    tasks: tuple[str, ...]
    """Instructions seen in training."""
    step: int
    """Training steps taken."""


def check_observation(observation: Observation, cameras: Sequence[str], px: int | None) -> None:
    """Refuse an observation that a real robot would not have, or that lacks something.

    Raises:
        RoboloopError: A key is unknown (such as an object's pose, for a policy that sees images)
            or missing, or an image has another size.
    """
    told = () if px != 0 else (ENVIRONMENT,)
    wanted = {STATE, TASK, *told, *(IMAGES + name for name in cameras)}
    extra = [k for k in observation if k not in (STATE, TASK, *told) and not k.startswith(IMAGES)]
    if extra:
        raise RoboloopError(
            f"the policy is shown {', '.join(sorted(extra))}",
            f"it may see {STATE}, {TASK} and {' and '.join(told) or 'cameras'} only",
        )
    missing = sorted(wanted - observation.keys())
    if missing:
        raise RoboloopError(f"the policy needs {', '.join(missing)}")
    for name in cameras:
        size = np.shape(observation[IMAGES + name])[1:3]
        if px is not None and size != (px, px):
            raise RoboloopError(
                f"camera {name} has {size[1]} x {size[0]} px, the policy {px} x {px}"
            )
