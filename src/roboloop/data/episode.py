"""One episode in memory: what the robot saw and did, and the simulator's exact states."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Float64, UInt8

from roboloop import pose
from roboloop.robot import PREFIX

Array = np.ndarray
EEF_NAMES = ("x", "y", "z", "qw", "qx", "qy", "qz", "gripper")
"""Dimensions of `action_eef`."""


@dataclass(frozen=True, eq=False)
class Episode:
    """An episode of T control steps; row t of every array belongs to the time t / fps.

    Raises:
        ValueError: The arrays disagree in length, or a shape or type is not the one below.
    """

    state: Float32[Array, "T n"]
    """Proprioception before the action: `observation.state`."""
    action: Float32[Array, "T nu"]
    """What the actuators got: joint targets, then the gripper."""
    action_intended: Float32[Array, "T nu"]
    """What the actuators should have got: `action` without the noise, for policies to learn."""
    imitate: Bool[Array, "T"]
    """Whether the action is one to learn: false where the hand was led astray on purpose."""
    action_eef: Float32[Array, "T _"]
    """Intended target of the end effector in the base frame: xyz, quaternion wxyz, gripper 0..1,
    each arm's in turn; (T, 0) where it is not known."""
    images: dict[str, UInt8[Array, "T _ _ 3"]] | None
    """Frames by camera (`front`, `wrist`), or None when nothing was rendered."""
    sim_states: Float64[Array, "T+1 nstate"]
    """Full simulator state before every control step and after the last: replay is bit-exact.
    (T + 1, 0) where there is none; the last is NaN where only it is not known."""
    object_poses: Float64[Array, "T n_obj 7"]
    """World poses (xyz, quaternion wxyz) of the objects, their moving parts and the arms' bases."""
    subtasks: tuple[tuple[str, int, int], ...]
    """Stages of the task as (name, first step, one past the last step)."""
    task: str
    """The instruction, in words."""
    success: bool
    scene: str
    """Which scene the episode was made in."""
    seed: int
    robot: str
    fps: int = 20
    object_names: tuple[str, ...] = ()
    """Names of the columns of `object_poses`, as in the model: `cabinet/drawer_0` is a part, those
    of arms begin with `robot/`. Empty when they are not known."""

    def __post_init__(self) -> None:
        """Check lengths, shapes and types."""
        n_steps = len(self.action)
        _expect("state", self.state, np.float32, (n_steps, None))
        _expect("action", self.action, np.float32, (n_steps, None))
        _expect("action_intended", self.action_intended, np.float32, self.action.shape)
        _expect("imitate", self.imitate, np.bool_, (n_steps,))
        n_eef = self.action_eef.shape[-1] // len(EEF_NAMES) * len(EEF_NAMES)
        _expect("action_eef", self.action_eef, np.float32, (n_steps, n_eef))
        _expect("sim_states", self.sim_states, np.float64, (n_steps + 1, None))
        _expect("object_poses", self.object_poses, np.float64, (n_steps, None, 7))
        for name, frames in (self.images or {}).items():
            _expect(f"images[{name!r}]", frames, np.uint8, (n_steps, None, None, 3))
        if n_steps == 0:
            raise ValueError("an episode needs at least one step")
        if self.object_names and len(self.object_names) != self.object_poses.shape[1]:
            raise ValueError(
                f"{len(self.object_names)} object_names for {self.object_poses.shape[1]} objects"
            )
        for name, start, stop in self.subtasks:
            if not 0 <= start <= stop <= n_steps:
                raise ValueError(f"subtask {name!r} [{start}, {stop}) is outside 0..{n_steps}")

    def __len__(self) -> int:
        """Return the number of control steps."""
        return len(self.action)


def seen_from_base(
    names: tuple[str, ...], poses: Float64[Array, "T n_bodies 7"]
) -> Float64[Array, "T n_obj 4 4"]:
    """What a policy is told of: everything but the arms, in the frame of the first arm's base.

    Args:
        names: As `Episode.object_names`; at least one arm is among them.
        poses: As `Episode.object_poses`.
    """
    arms, Ts = np.array([name.startswith(PREFIX) for name in names]), pose.from_vector(poses)
    return pose.inverse(Ts[:, [arms.argmax()]]) @ Ts[:, ~arms]


def _expect(name: str, array: Array, dtype: type, shape: tuple[int | None, ...]) -> None:
    """Raise ValueError unless `array` has the type and shape; None matches any length."""
    fits = len(array.shape) == len(shape) and all(
        want is None or have == want for have, want in zip(array.shape, shape, strict=True)
    )
    if array.dtype != dtype or not fits:
        wanted = ", ".join("any" if want is None else str(want) for want in shape)
        raise ValueError(
            f"{name} is {array.dtype} {array.shape}, wanted {np.dtype(dtype)} ({wanted})"
        )
