"""The action-chunking policy around its network: units, loss, and actions from observations."""

import dataclasses
import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Protocol, Self

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, UInt8
from torch import Tensor, nn

from roboloop.policy.base import Checkpoint
from roboloop.policy.geometry import (
    HAND_REACH,
    Hand,
    Things,
    aligned,
    frames,
    hand_in,
    rotations,
    tips_of,
)
from roboloop.policy.losses import (
    heat_loss,
    huber,
    jittered,
    masked,
    normal,
    place_loss,
    posture_loss,
)
from roboloop.policy.model import ActModel, Sight
from roboloop.policy.recipes import ActConfig
from roboloop.policy.samples import N_WAYPOINTS, Scaling

STATISTICS = tuple(field.name for field in dataclasses.fields(Scaling))
LIKELY = 0.3
"""Ways to stand that are at least so likely, beside the likeliest, are as good."""
OPEN, AT_HAND = 0.97, 0.15
"""Opening of a hand that holds nothing, and distance (m) between a hand and what it may hold."""
BROUGHT = 0.5
"""How far from a way to stand the arm may be brought, rad."""
ROUGH = 0.03
"""Errors of the arm count less the farther its hand is from where it acts next; half as much as at
the place itself at this distance, m."""
TURN = 0.3
"""What counts as one standard deviation of how the hand is turned, rad."""


class Kinematics(Protocol):
    """An arm's, for policies of a robot that is known."""

    def turned(self, q: Float[Tensor, "B n_arm"]) -> Float[Tensor, "B 3 3"]:
        """How the hand is turned in the base frame."""
        ...

    def brought(
        self,
        near: Float[Tensor, "B n_arm"],
        p_base: Float[Tensor, "B 3"],
        R_base_eef: Float[Tensor, "B 3 3"],
    ) -> Float[Tensor, "B n_arm"]:
        """Where the arm is whose hand is at a place (m) and turned so, as near as can be to `near`.

        NaN where the hand cannot get there.
        """
        ...


class Act(nn.Module):
    """The network with the statistics that scale what goes in and out; all in `state_dict`."""

    state_mean: Tensor
    state_std: Tensor
    arm_mean: Tensor
    arm_std: Tensor
    gripper_range: Tensor
    place_mean: Tensor
    place_std: Tensor
    posture_mean: Tensor
    posture_std: Tensor
    objects_mean: Tensor
    objects_std: Tensor
    movable: Tensor
    eyes: Tensor

    def __init__(
        self,
        config: ActConfig,
        cameras: tuple[str, ...],
        hand_cameras: tuple[str, ...],
        scaling: Scaling,
    ) -> None:
        super().__init__()
        self.config, self.cameras = config, cameras
        for name in STATISTICS:
            self.register_buffer(name, torch.tensor(getattr(scaling, name)))
        self.n_arm, n_out = len(scaling.posture_mean), scaling.arm_mean.shape[1]
        sizes = len(scaling.objects_mean), len(scaling.state_mean), self.n_arm, n_out, N_WAYPOINTS
        self.model = ActModel(
            config, cameras, hand_cameras, *sizes, self.place_mean.clone(), self.eyes.clone()
        )
        self.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]

    @classmethod
    def of_weights(cls, checkpoint: Checkpoint, weights: dict[str, Tensor]) -> Self:
        """Rebuild a policy from its record and its `state_dict`."""
        scaling = Scaling(**{name: weights[name].numpy() for name in STATISTICS})
        net = cls(checkpoint.config, checkpoint.cameras, checkpoint.hand_cameras, scaling)
        net.load_state_dict(weights)
        return net

    def actions(
        self, inputs: dict[str, Tensor], arm: Kinematics | None = None
    ) -> Float[Tensor, "B H nu"]:
        """Return a chunk of actions in the actuators' units.

        Args:
            inputs: `images.<camera>` (B, h, w, 3) uint8, or `objects` (B, n_obj, 15); `state` (B,
                n_state), `text` (B, n_text).
            arm: The robot's, if it is known.
        """
        state = inputs["state"][:, None]
        images = {name: to_float(inputs[f"images.{name}"]) for name in self.cameras}
        sight = self._look(images, inputs.get("objects"), inputs["text"], state)
        postures, turns = self._posture(sight, sight.fused, state[:, 0, : self.n_arm], arm)
        places = sight.fused[:, :N_WAYPOINTS]
        turns = None if turns is None else turns[:, None]
        moves, gripper = self._act(sight, state, places[:, None], postures[:, None], turns)
        moves = moves[:, 0] * self.arm_std + self.arm_mean
        if self.config.action_space == "joint_delta":
            moves = moves + state[..., : moves.shape[-1]]
        low, high = self.gripper_range
        gripper = torch.where(gripper[:, 0] > 0, high, low)
        return torch.cat([moves, gripper[..., None]], -1)

    def losses(
        self, batch: dict[str, Tensor], noise: torch.Generator | None
    ) -> dict[str, Float[Tensor, ""]]:
        """Return the terms of the loss; `loss` is their weighted sum.

        Args:
            batch: What `Samples.draw` gives, as tensors.
            noise: Source of the colour jitter, the places' noise and the VAE's samples; without
                it there are none.
        """
        config = self.config
        images = {name: to_float(batch[f"images.{name}"]) for name in self.cameras}
        places = batch["places"]
        if noise is not None:
            images = {k: jittered(v, config.color_jitter, noise) for k, v in images.items()}
        moved = {name: batch[f"moved.{name}"] for name in self.cameras}
        known = batch.get("objects"), batch["text"], batch["state"], noise
        sight = self._look(images, *known, moved)
        if noise is not None:
            size = sight.error[:, None, :N_WAYPOINTS, None].detach().clamp(max=config.place_noise)
            places = places + size * normal(places, noise)
        terms = self._seeing(sight, batch) | self._acting(sight, batch, places, noise)
        weights = {
            "place_loss": config.place_weight,
            "posture_loss": config.place_weight,
            "point_loss": config.point_weight,
            "gripper_loss": config.gripper_weight,
            "kl": config.kl_weight,
        }
        loss = torch.stack([weights.get(name, 1.0) * term for name, term in terms.items()]).sum()
        miss = (sight.fused[:, :N_WAYPOINTS] - batch["places"][:, 0]).norm(dim=-1).mean()
        return {"loss": loss, **terms, "place_error": miss}

    def _seeing(self, sight: Sight, batch: dict[str, Tensor]) -> dict[str, Float[Tensor, ""]]:
        """Losses on where the hand will act: by who says so, in space, in the image, at what."""
        places, postures = batch["places"][:, 0], self._posture_scaled(batch["postures"][:, 0])
        if self.cameras:
            places = tips_of(places, batch["turns"][:, 0])
        place = [place_loss(sight.places[k] - places, sight.log_scale[k]) for k in sight.places]
        point = [heat_loss(sight.heat[name], batch[f"points.{name}"]) for name in self.cameras]
        ways, logits = self._postures(sight, places)
        miss = huber(ways - postures[:, :, None])
        if sight.turns is not None:
            axes = batch["turns"][:, 0, :, None, :, :2].mT
            miss = miss + huber((sight.turns - axes).flatten(-2) / TURN)
        posture = posture_loss(miss, logits)
        losses = {"place_loss": torch.stack(place).mean(), "posture_loss": posture}
        if sight.pointing is not None:
            point = [F.nll_loss(sight.pointing.flatten(0, 1), batch["anchors"].flatten())]
        return losses | ({"point_loss": torch.stack(point).mean()} if point else {})

    def _acting(
        self,
        sight: Sight,
        batch: dict[str, Tensor],
        places: Float[Tensor, "B W P 3"],
        noise: torch.Generator | None,
    ) -> dict[str, Float[Tensor, ""]]:
        """Losses on the actions that lead to the recorded places."""
        state, learnt = batch["state"], batch["imitate"]
        arm, gripper = self._targets(batch)
        style, kl = self.model.encode_style(self._scaled(state), arm, gripper, noise)
        postures = self._posture_scaled(batch["postures"])
        turns = None if self.cameras else batch["turns"]
        arm_out, gripper_out = self._act(sight, state, places, postures, turns, style)
        gripper_loss = F.binary_cross_entropy_with_logits(gripper_out, gripper, reduction="none")
        p_base_eef, _ = hand_in(state, self.n_arm)
        near = 1 / (ROUGH + (batch["places"][:, :, 0] - p_base_eef).norm(dim=-1))
        near = (near / near.mean())[..., None]
        return {
            "arm_loss": masked(near * huber(arm_out - arm), learnt),
            "gripper_loss": masked(gripper_loss, learnt),
            "kl": kl,
        }

    def _look(
        self,
        images: dict[str, Float[Tensor, "B 3 h w"]],
        objects: Float[Tensor, "B n_obj 15"] | None,
        text: Float[Tensor, "B n_text"],
        state: Float[Tensor, "B W n_state"],
        noise: torch.Generator | None = None,
        moved: Mapping[str, Float[Tensor, "B 2"]] = MappingProxyType({}),
    ) -> Sight:
        """Ask the cameras; of the state they are told what fingers do, not where the hand is."""
        things, first, n = None, state[:, 0], self.n_arm
        hand = Hand(*hand_in(first, self.n_arm))
        if objects is not None:
            known = (objects - self.objects_mean) / self.objects_std
            if noise is not None:
                sizes = torch.full(objects.shape[-1:], self.config.object_noise)
                sizes[:3] = self.config.object_shift
                known = known + sizes * normal(known, noise)
            things = Things(
                known, self._held(objects, hand, first[:, n]), *frames(objects[..., :9])
            )
        fingers = self._scaled(first)[:, [n, -1]]
        return self.model.look(images, things, text, fingers, hand, moved)

    def _held(
        self, objects: Float[Tensor, "B n_obj 15"], hand: Hand, opening: Float[Tensor, "B"]
    ) -> Float[Tensor, "B n_obj 9"]:
        """Where the hand is in the frame of what it holds, zeros for all else.

        Of everything else the hand's place would say where a demonstration is heading.
        """
        p, R = frames(objects[..., :9])
        way = torch.einsum("bnji,bnj->bni", R, hand.p_base_eef[:, None] - p)
        axes = torch.einsum("bnji,bjk->bnki", R, hand.R_base_eef)[:, :, :2]
        far = way.norm(dim=-1).masked_fill(self.movable < 0.5, torch.inf)
        holds = (opening < OPEN) & (far.amin(-1) < AT_HAND)
        held = F.one_hot(far.argmin(-1), far.shape[-1]) * holds[:, None]
        return torch.cat([way / HAND_REACH, axes.flatten(2)], -1) * held[..., None]

    def _postures(
        self, sight: Sight, places: Float[Tensor, "B T 3"]
    ) -> tuple[Float[Tensor, "B P K n_arm"], Float[Tensor, "B P K"]]:
        """How the arm may stand at places, scaled, and logits."""
        return self.model.posture(sight.context, (places - self.place_mean) / self.place_std)

    def _posture(
        self,
        sight: Sight,
        places: Float[Tensor, "B T 3"],
        q: Float[Tensor, "B n_arm"],
        arm: Kinematics | None,
    ) -> tuple[Float[Tensor, "B P n_arm"], Float[Tensor, "B P 3 3"] | None]:
        """How the arm will stand at places, scaled, and the hand's turn there, if it is known.

        Of the likely ways, each is the nearest to the last: a hand that may turn to either side
        turns the shorter way, and not what it holds over. The arm is then brought to where the hand
        is at its place, turned as is known or as the second point of it says, for joint positions
        are not guessed as exactly; ways from which it would have to go far for that are not as the
        arm was ever seen to stand.
        """
        ways, logits = self._postures(sight, places)
        likely = logits > logits.amax(-1, keepdim=True) + math.log(LIKELY)
        ways = ways * self.posture_std + self.posture_mean
        R, met = None if sight.turns is None else rotations(sight.turns), likely
        if arm is not None:
            near, p = ways[likely], places[:, :N_WAYPOINTS]
            if R is None:
                along = places[:, N_WAYPOINTS:] - p
                turned = aligned(arm.turned(near), spread(along, likely))
            else:
                turned = R[likely]
            brought = arm.brought(near, spread(p, likely), turned)
            kept = (brought - near).abs().amax(-1) < BROUGHT  # not where it cannot be met
            ways, met = ways.clone(), likely.clone()
            ways[likely] = torch.where(kept[:, None], brought, near)
            met[likely] = kept
        chosen, last, rows = [], q, torch.arange(len(q))
        for each, out in zip(ways.unbind(1), cost_of(likely, met).unbind(1), strict=True):
            far = (each - last[:, None]).abs().amax(-1)
            chosen.append((far + out).argmin(-1))
            last = each[rows, chosen[-1]]
        way = torch.stack(chosen, 1)[..., None, None]
        postures = self._posture_scaled(ways.take_along_dim(way, 2)[:, :, 0])
        return postures, None if R is None else R.take_along_dim(way[..., None], 2)[:, :, 0]

    def _act(
        self,
        sight: Sight,
        state: Float[Tensor, "B W n_state"],
        places: Float[Tensor, "B W P 3"],
        postures: Float[Tensor, "B W P n_arm"],
        turns: Float[Tensor, "B W P 3 3"] | None,
        style: Float[Tensor, "B W latent"] | None = None,
    ) -> tuple[Float[Tensor, "B W H n_out"], Float[Tensor, "B W H"]]:
        goal = postures[:, :, :1] * self.posture_std + self.posture_mean
        if self.config.action_space == "joint_delta":
            goal = goal - state[:, :, None, : goal.shape[-1]]
        goal = (goal - self.arm_mean) / self.arm_std
        known = self._scaled(state), *hand_in(state, self.n_arm), places, postures, goal, turns
        return self.model.act(sight.context, *known, style)

    def _posture_scaled(self, postures: Float[Tensor, "*B n_arm"]) -> Float[Tensor, "*B n_arm"]:
        return (postures - self.posture_mean) / self.posture_std

    def _scaled(self, state: Float[Tensor, "*B n_state"]) -> Float[Tensor, "*B n_state"]:
        return (state - self.state_mean) / self.state_std

    def _targets(
        self, batch: dict[str, Tensor]
    ) -> tuple[Float[Tensor, "B W H n_out"], Float[Tensor, "B W H"]]:
        """Scale actions: the arm's to about unit size, the gripper's to 0..1."""
        low, high = self.gripper_range
        gripper = (batch["gripper"] - low) / (high - low).clamp(min=1e-6)
        return (batch["arm"] - self.arm_mean) / self.arm_std, gripper


def cost_of(likely: Bool[Tensor, "*B"], met: Bool[Tensor, "*B"]) -> Float[Tensor, "*B"]:
    """What ways to stand cost beside how far they are: those that are met come before others."""
    return torch.where(met, 0.0, torch.where(likely, 1e3, 1e6))


def spread(each: Float[Tensor, "B P 3"], likely: Bool[Tensor, "B P K"]) -> Float[Tensor, "n 3"]:
    """What belongs to a place, for every likely way to stand there."""
    return each[:, :, None].expand(*likely.shape, 3)[likely]


def to_float(images: UInt8[Tensor, "B h w 3"]) -> Float[Tensor, "B 3 h w"]:
    """Bring pixels to -0.5..0.5 and channels first (in name: memory stays channels last)."""
    return images.permute(0, 3, 1, 2).float().div_(255).sub_(0.5)
