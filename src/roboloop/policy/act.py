"""The action-chunking policy around its network: units, loss, and actions from observations."""

import dataclasses
from typing import Self

import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from roboloop.policy.model import ActModel, centres
from roboloop.policy.recipes import ActConfig
from roboloop.policy.samples import N_WAYPOINTS, Scaling

STATISTICS = tuple(field.name for field in dataclasses.fields(Scaling))
SPOT_CELLS = 0.7
"""Width of the spot that a heat map should show at a known point, cells."""
HUBER = 0.1
"""Error, in standard deviations, above which the arm's loss is linear."""


class Act(nn.Module):
    """The network with the statistics that scale what goes in and out; all in `state_dict`."""

    state_mean: Tensor
    state_std: Tensor
    arm_mean: Tensor
    arm_std: Tensor
    gripper_range: Tensor
    place_mean: Tensor
    place_std: Tensor

    def __init__(self, config: ActConfig, cameras: tuple[str, ...], scaling: Scaling) -> None:
        super().__init__()
        self.config, self.cameras = config, cameras
        for name in STATISTICS:
            self.register_buffer(name, torch.tensor(getattr(scaling, name)))
        n_state, n_arm = len(scaling.state_mean), scaling.arm_mean.shape[1]
        waypoints = (N_WAYPOINTS, len(scaling.place_mean))
        self.model = ActModel(config, cameras, n_state, n_arm, waypoints)
        self.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]

    @classmethod
    def of_weights(
        cls, config: ActConfig, cameras: tuple[str, ...], weights: dict[str, Tensor]
    ) -> Self:
        """Rebuild a policy from its `state_dict`."""
        net = cls(config, cameras, Scaling(**{name: weights[name].numpy() for name in STATISTICS}))
        net.load_state_dict(weights)
        return net

    def actions(self, inputs: dict[str, Tensor]) -> Float[Tensor, "B H nu"]:
        """Return a chunk of actions in the actuators' units.

        Args:
            inputs: `images.<camera>` (B, h, w, 3) uint8, `state` (B, n_state), `text` (B, n_text).
        """
        state = inputs["state"][:, None]
        images = {name: to_float(inputs[f"images.{name}"]) for name in self.cameras}
        out = self.model(images, self._scaled(state), inputs["text"])
        arm = out.arm[:, 0] * self.arm_std + self.arm_mean
        if self.config.action_space == "joint_delta":
            arm = arm + state[..., : arm.shape[-1]]
        low, high = self.gripper_range
        gripper = torch.where(out.gripper[:, 0] > 0, high, low)
        return torch.cat([arm, gripper[..., None]], -1)

    def losses(
        self, batch: dict[str, Tensor], noise: torch.Generator | None
    ) -> dict[str, Float[Tensor, ""]]:
        """Return the terms of the loss; `loss` is their weighted sum.

        Args:
            batch: What `Samples.draw` gives, as tensors.
            noise: Source of the colour jitter, the state's noise and the VAE's samples; without
                it there are none.
        """
        config = self.config
        images = {name: to_float(batch[f"images.{name}"]) for name in self.cameras}
        state = batch["state"]
        if noise is not None:
            images = {k: jittered(v, config.color_jitter, noise) for k, v in images.items()}
            state = state + config.state_noise * self.state_std * normal(state, noise)
        arm, gripper = self._targets(state, batch["action"])
        waypoints = (batch["waypoints"] - self.place_mean) / self.place_std
        scaled = self._scaled(state)
        style, kl = self.model.encode_style(scaled, arm, gripper, noise)
        out = self.model(images, scaled, batch["text"], style)
        arm_loss = F.smooth_l1_loss(out.arm, arm, beta=HUBER)
        gripper_loss = F.binary_cross_entropy_with_logits(out.gripper, gripper)
        waypoint_loss = F.smooth_l1_loss(out.waypoints, waypoints, beta=HUBER)
        point_loss = torch.stack(
            [heat_loss(out.heat[name], batch[f"points.{name}"]) for name in self.cameras]
        ).mean()
        loss = (
            arm_loss
            + config.gripper_weight * gripper_loss
            + config.waypoint_weight * waypoint_loss
            + config.point_weight * point_loss
            + config.kl_weight * kl
        )
        return {
            "loss": loss,
            "arm_loss": arm_loss,
            "gripper_loss": gripper_loss,
            "waypoint_loss": waypoint_loss,
            "point_loss": point_loss,
            "kl": kl,
        }

    def _scaled(self, state: Float[Tensor, "*B n_state"]) -> Float[Tensor, "*B n_state"]:
        return (state - self.state_mean) / self.state_std

    def _targets(
        self, state: Float[Tensor, "B W n_state"], action: Float[Tensor, "B W H nu"]
    ) -> tuple[Float[Tensor, "B W H n_arm"], Float[Tensor, "B W H"]]:
        """Scale actions: the arm's to about unit size, the gripper's to 0..1."""
        arm = action[..., :-1]
        if self.config.action_space == "joint_delta":
            arm = arm - state[..., None, : arm.shape[-1]]
        low, high = self.gripper_range
        gripper = (action[..., -1] - low) / (high - low).clamp(min=1e-6)
        return (arm - self.arm_mean) / self.arm_std, gripper


def heat_loss(
    heat: Float[Tensor, "B K rows columns"], points: Float[Tensor, "B P 2"]
) -> Float[Tensor, ""]:
    """Cross-entropy between the first keypoints' heat maps and spots at known points.

    Points that are not in the image are NaN and cost nothing.
    """
    h, w = heat.shape[-2:]
    known = ~points.isnan().any(-1)
    rows, columns = centres(h), centres(w)
    near = points.nan_to_num().unsqueeze(2)
    sharp = -0.5 * (torch.tensor([h, w]) / 2 / SPOT_CELLS) ** 2
    target = torch.softmax(
        (sharp[0] * (rows - near[..., 0]) ** 2)[..., :, None].add(
            (sharp[1] * (columns - near[..., 1]) ** 2)[..., None, :]
        ).flatten(2),
        -1,
    )  # fmt: skip
    loss = -(target * heat[:, : points.shape[1]].flatten(2)).sum(-1)
    return (loss * known).sum() / known.sum().clamp(min=1)


def to_float(images: UInt8[Tensor, "B h w 3"]) -> Float[Tensor, "B 3 h w"]:
    """Bring pixels to -0.5..0.5 and channels first (in name: memory stays channels last)."""
    return images.permute(0, 3, 1, 2).float().div_(255).sub_(0.5)


def normal(like: Tensor, noise: torch.Generator) -> Tensor:
    """Draw standard normal numbers in the shape of `like`."""
    return torch.randn(like.shape, generator=noise)


def jittered(
    images: Float[Tensor, "B 3 h w"], limit: float, noise: torch.Generator
) -> Float[Tensor, "B 3 h w"]:
    """Change channel gains and brightness of each image, by at most `limit`."""
    amounts = torch.rand(2, len(images), 3, 1, 1, generator=noise) * 2 - 1
    gain, shift = 1 + limit * amounts[0], 0.5 * limit * amounts[1, :, :1]
    return torch.addcmul(shift, images, gain)
