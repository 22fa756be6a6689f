"""From recorded frames to training batches: windows, chunks, waypoints, shifted images."""

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Int, Int64, UInt8

from roboloop import pose
from roboloop.data.cache import OBJECT_NUMBERS, Cache
from roboloop.data.views import View
from roboloop.policy.clock import recorded_recency
from roboloop.policy.geometry import N_TIPS, hand_in, tips_of
from roboloop.policy.recipes import ActConfig
from roboloop.policy.text import embed

Array = np.ndarray
Batch = dict[str, Array]
"""`images.<camera>` (B, h, w, 3) uint8, or `objects` (B, n_obj, 15) and `anchors` (B, P); `state`
(B, W, n_state), `arm` (B, W, H, n_out), `gripper` (B, W, H), `imitate` (B, W, H), `places` (B, W,
P, 3), `turns` (B, W, P, 3, 3), `postures` (B, W, P, n_arm), `text` (B, n_text), `moved.<camera>`
(B, 2), `points.<camera>` (B, T, 2)."""
N_WAYPOINTS = 2
"""Coming gripper actions whose places are predicted: the pick, then the place."""
MOST_OFTEN = 4
"""How often a frame is drawn at most, for once that the most frequent kind is."""


@dataclass(frozen=True, eq=False)
class Samples:
    """The frames of a cache as training samples."""

    cache: Cache
    config: ActConfig

    def draw(
        self, rng: np.random.Generator, frames: Int[Array, "B"], augment: bool = True
    ) -> Batch:
        """Gather the windows that begin at `frames`, with randomly shifted images."""
        cache, config = self.cache, self.config
        window = self.later(frames[:, None], np.arange(config.window) * config.window_stride)
        chunk = self.later(window[..., None], np.arange(config.chunk_steps))
        limit = config.shift_px if augment else 0
        offsets = {name: rng.integers(-limit, limit + 1, (len(frames), 2)) for name in cache.images}
        batch = {
            f"images.{name}": shifted(images[frames], offsets[name])
            for name, images in cache.images.items()
        }
        if cache.objects is not None:
            batch["objects"] = cache.objects[frames]
            batch["anchors"] = self.anchors[frames]
        batch["state"] = state = self.state[window]
        batch["arm"] = self.arm_targets(state[:, :, None], chunk)
        batch["gripper"] = cache.action[chunk, -1]
        # what follows a step that was a mistake is no answer to what was before it
        imitate = np.logical_and.accumulate(cache.imitate[chunk], -1)
        batch["imitate"] = imitate.astype(np.float32)
        batch["places"] = self.places[self.waypoints[window]]
        batch["turns"] = self.turns[self.waypoints[window]]
        batch["postures"] = self.cache.action[self.waypoints[window], :-1]
        batch["text"] = self.text[self.episode[frames]]
        for name, offset in offsets.items():
            moved = 2 * offset / cache.images[name].shape[1]
            batch[f"moved.{name}"] = moved.astype(np.float32)
            batch[f"points.{name}"] = self.marks(name, frames, moved)
        return batch

    def marks(
        self, camera: str, frames: Int[Array, "B"], moved: Float[Array, "B 2"]
    ) -> Float32[Array, "B T 2"]:
        """Where the coming waypoints' `tips_of` are in the images: see `View.project`, else NaN.

        Args:
            camera: The camera's name; without a calibration nothing is known.
            frames: Frames of the images.
            moved: How far the images were moved.
        """
        view = self.cache.views.get(camera)
        if view is None:
            return np.full((len(frames), N_TIPS * N_WAYPOINTS, 2), np.nan, np.float32)
        n_arm = self.cache.action.shape[1] - 1
        state = torch.from_numpy(self.cache.state[frames].astype(float))
        Ts_base_eef = pose.from_parts(*(x.numpy() for x in hand_in(state, n_arm)))
        there = self.waypoints[frames]
        tips = tips_of(*(torch.from_numpy(each[there]) for each in (self.places, self.turns)))
        image, inside = view.project(tips.numpy().astype(float), Ts_base_eef)
        image = image + moved[:, None]
        return np.where(inside[..., None], image, np.nan).astype(np.float32)

    def later(self, frames: Int[Array, "..."], steps: Int[Array, "..."] | int) -> Int[Array, "..."]:
        """Frames `steps` later, or the episode's last: an episode ends by holding still."""
        return np.minimum(frames + steps, self.ends[self.episode[frames]])

    def arm_targets(
        self,
        state: Float32[Array, "... n_state"],
        later: Int[Array, "..."],
    ) -> Float32[Array, "... n_arm"]:
        """What is predicted of the arm for `later` frames; see `ActConfig.action_space`."""
        target = self.cache.action[later, :-1]
        relative = self.config.action_space == "joint_delta"
        return target - state[..., : target.shape[-1]] if relative else target

    @cached_property
    def state(self) -> Float32[Array, "n n_state"]:
        """What a policy knows of its robot: its state, and what its hand was lately told."""
        recent = recorded_recency(self.above, self.cache.starts)
        return np.concatenate([self.cache.state, recent[:, None]], 1)

    def as_often(self, frames: Int[Array, "n"]) -> Int64[Array, "m"]:
        """Repeat frames for `draw`: as many before each of an episode's gripper commands.

        Approaches are short, and where to go is seen in them. After the last command nothing is.
        """
        waypoint = self.waypoints[frames, 0]
        to_come = waypoint < self.ends[self.episode[frames]]
        kinds = command_numbers(self.waypoints, self.cache.starts)[frames, 0]
        counts = np.bincount(kinds[to_come], minlength=kinds.max() + 1)
        times = np.round(counts.max() / np.maximum(counts, 1)).clip(1, MOST_OFTEN).astype(int)
        return np.repeat(frames, np.where(to_come, times[kinds], 1))

    @property
    def ends(self) -> Int64[Array, "E"]:
        """Last frame of each episode."""
        return self.cache.starts[1:] - 1

    @cached_property
    def episode(self) -> Int64[Array, "n"]:
        """Episode of each frame."""
        return self.cache.episode

    @cached_property
    def text(self) -> Float32[Array, "E n_text"]:
        """Embedded instruction of each episode."""
        return embed(self.cache.tasks)

    @property
    def places(self) -> Float32[Array, "n 3"]:
        """Where the hand was told to be, in the base frame, m."""
        return self.cache.action_eef[:, :3]

    @cached_property
    def turns(self) -> Float32[Array, "n 3 3"]:
        """How the hand was told to be turned, in the base frame."""
        return pose.quat_to_matrix(self.cache.action_eef[:, 3:7].astype(float)).astype(np.float32)

    @cached_property
    def gripper_range(self) -> Float32[Array, "2"]:
        """Smallest and largest command of the gripper."""
        command = self.cache.action[:, -1]
        return np.array([command.min(), command.max()])

    @property
    def above(self) -> Bool[Array, "n"]:
        """Whether the gripper's command is in the upper half of its range."""
        return self.cache.action[:, -1] > self.gripper_range.mean()

    @cached_property
    def waypoints(self) -> Int64[Array, "n P"]:
        """Frames of the next waypoints of each frame."""
        return waypoint_frames(self.above, self.cache.imitate, self.cache.starts)

    @cached_property
    def anchors(self) -> Int64[Array, "n P"]:
        """The object that each frame's next waypoints are at.

        It is the one from which, where it is now, such waypoints are always nearly the same way
        away, as it lies or as the base does: "such" are those that are as many commands into
        episodes of the same task.
        """
        objects = self.cache.objects
        assert objects is not None
        kinds = command_numbers(self.waypoints, self.cache.starts)
        tasks = np.unique(self.cache.tasks, return_inverse=True)[1][self.episode]
        kinds = kinds + (kinds.max() + 1) * tasks[:, None]
        p, x, y = np.split(objects[..., :9], 3, -1)
        axes = np.stack([x, y, np.cross(x, y)], -2)
        ways = self.places[self.waypoints][:, :, None] - p[:, None]
        turned = np.einsum("nkij,npkj->npki", axes, ways)
        result = np.empty_like(self.waypoints)
        for kind in np.unique(kinds):
            such = kinds == kind
            spread = [each[such].var(0).sum(-1) for each in (ways, turned)]
            result[such] = np.minimum(*spread).argmin()
        return result


def command_numbers(
    waypoints: Int64[Array, "n P"], starts: Int64[Array, "E1"]
) -> Int64[Array, "n P"]:
    """Say how many waypoints of its episode come before each one."""
    numbers = np.empty_like(waypoints)
    for start, stop in pairwise(starts):
        numbers[start:stop] = np.unique(waypoints[start:stop], return_inverse=True)[1].reshape(
            stop - start, -1
        )
    return numbers


def waypoint_frames(
    above: Bool[Array, "n"], imitate: Bool[Array, "n"], starts: Int64[Array, "E1"]
) -> Int64[Array, "n P"]:
    """Find, for every frame, the last frames before the gripper's next commands.

    Where the hand will be when it next opens or closes says where the objects are, and is known
    from the recorded actions alone. The next command is one that was not given before the frame:
    policies know what they told the hand, but not yet what they are about to tell it. A command
    that is not to be imitated, such as the opening of a hand that something slips from, and the one
    that takes it back, were not foreseen before.

    Args:
        above: Whether the gripper's command is in the upper half of its range.
        imitate: Whether a frame's action is to be learnt.
        starts: First frame of each episode, then the number of frames.

    Returns:
        Indices of frames; an episode's last frame where no command is left.
    """
    result = np.empty((len(above), N_WAYPOINTS), np.int64)
    for start, stop in zip(starts[:-1], starts[1:], strict=True):
        changes = start + np.flatnonzero(above[start + 1 : stop] != above[start : stop - 1])
        mistakes = np.flatnonzero(~imitate[changes + 1])
        noticed = np.minimum(changes[mistakes] + 2, stop)
        for k, (first, end) in enumerate(pairwise([start, *noticed, stop])):
            to_come = (mistakes[k:, None] + [0, 1]).ravel()
            known = np.delete(changes, to_come[to_come < len(changes)])
            ends = np.concatenate([known, np.full(N_WAYPOINTS, stop - 1)])
            ahead = np.searchsorted(known + 1, np.arange(first, end))
            result[first:end] = ends[ahead[:, None] + np.arange(N_WAYPOINTS)]
    return result


def shifted(
    images: UInt8[Array, "B h w 3"], offsets: Int64[Array, "B 2"]
) -> UInt8[Array, "B h w 3"]:
    """Move each image by its (rows, columns); what comes in repeats the border."""
    margin = int(np.abs(offsets).max(initial=0))
    around = ((0, 0), (margin, margin), (margin, margin), (0, 0))
    padded = np.pad(images, around, mode="edge")
    height, width = images.shape[1:3]
    result = np.empty_like(images)
    for out, image, (dy, dx) in zip(result, padded, margin - offsets, strict=True):
        out[:] = image[dy : dy + height, dx : dx + width]
    return result


@dataclass(frozen=True, eq=False)
class Scaling:
    """Statistics that bring states, actions and waypoints to about unit size."""

    state_mean: Float32[Array, "n_state"]
    state_std: Float32[Array, "n_state"]
    arm_mean: Float32[Array, "H n_out"]
    """Of what is predicted of the arm, at each step of a chunk."""
    arm_std: Float32[Array, "H n_out"]
    gripper_range: Float32[Array, "2"]
    """Smallest and largest command of the gripper."""
    place_mean: Float32[Array, "3"]
    """Of where the waypoints are, m."""
    place_std: Float32[Array, "3"]
    posture_mean: Float32[Array, "n_arm"]
    """Of the arm's joints there, rad."""
    posture_std: Float32[Array, "n_arm"]
    objects_mean: Float32[Array, "n_obj 15"]
    """Of where objects are, for policies that are told; none for the others."""
    objects_std: Float32[Array, "n_obj 15"]
    movable: Float32[Array, "n_obj"]
    """1 for what moves in an episode, so that a hand may hold it, else 0."""
    eyes: Float32[Array, "C 13"]
    """Of the cameras on the hand: how they are turned and where they are in its frame (m), and the
    tangent of half their angle of view."""


MIN_STD = 0.01
"""rad or m: what varies less is not blown up."""
MOVED = 0.01
"""m: what moves less in every episode stays where it is."""


def measure_scaling(samples: Samples) -> Scaling:
    """Compute the statistics over all frames."""
    every = np.arange(len(samples.cache.action))
    steps = range(samples.config.chunk_steps)
    later = [samples.later(every, step) for step in steps]
    arm = [samples.arm_targets(samples.state, each) for each in later]
    frames = samples.waypoints.ravel()
    places, postures = samples.places[frames], samples.cache.action[frames, :-1]
    objects = samples.cache.objects
    objects = np.zeros((1, 0, OBJECT_NUMBERS), np.float32) if objects is None else objects

    def std(values: Array) -> Array:
        return np.maximum(values.std(0), MIN_STD)

    return Scaling(
        state_mean=samples.state.mean(0),
        state_std=std(samples.state),
        arm_mean=np.stack([values.mean(0) for values in arm]),
        arm_std=np.stack([std(values) for values in arm]),
        gripper_range=samples.gripper_range,
        place_mean=places.mean(0),
        place_std=std(places),
        posture_mean=postures.mean(0),
        posture_std=std(postures),
        objects_mean=objects.mean(0),
        objects_std=std(objects),
        eyes=np.array(
            [numbers_of(samples.cache.views[name]) for name in samples.cache.hand_cameras],
            np.float32,
        ).reshape(-1, 13),
        movable=moves(objects[..., :3], samples.cache.starts).astype(np.float32),
    )


def numbers_of(view: View) -> Float[Array, "13"]:
    """A camera as `Scaling.eyes` has it."""
    T = view.T_parent_camera
    return np.concatenate([T[:3, :3].ravel(), T[:3, 3], [np.tan(view.fovy / 2)]])


def moves(p: Float32[Array, "n n_obj 3"], starts: Int64[Array, "E1"]) -> Bool[Array, "n_obj"]:
    """Say which objects move within any episode, from their positions in all of them."""
    first = np.repeat(starts[:-1], np.diff(starts))[: len(p)]
    return (np.linalg.norm(p - p[first], axis=-1) > MOVED).any(0)
