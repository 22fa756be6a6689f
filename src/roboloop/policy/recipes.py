"""Recipes: one frozen configuration per policy."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class ActConfig:
    """An action-chunking transformer with a conditional VAE, small enough for two CPU cores.

    Source: Zhao et al. 2023, "Learning Fine-Grained Bimanual Manipulation with Low-Cost
    Hardware" (ACT), section IV. The visual tokens are spatial-softmax keypoints (Levine et al.
    2016, "End-to-End Training of Deep Visuomotor Policies", section 5.1) in place of a ResNet's
    feature map, because they localise objects after minutes of training.
    """

    chunk_steps: int = 16
    """Control steps that one call predicts (H)."""
    action_space: Literal["joint_delta", "joint"] = "joint_delta"
    """Whether the arm's targets are predicted relative to the current joints, or absolute."""
    channels: int = 32
    """Channels of the convolutions at a quarter of the image's resolution."""
    n_keypoints: int = 16
    """Visual tokens per camera: points in the image with the features around them."""
    d_model: int = 128
    """Width of the transformer."""
    n_heads: int = 4
    """Attention heads."""
    n_layers: int = 1
    """Layers of cross-attention to what is seen; who is told where objects are has as many of
    self-attention over them before."""
    head_layers: int = 3
    """Hidden layers that make actions of what is known."""
    latent: int = 8
    """Size of the VAE's style variable."""
    kl_weight: float = 1.0
    """Weight of the KL divergence of the style variable."""
    window: int = 2
    """States, from the image's on, at each of which the loss is taken."""
    window_stride: int = 4
    """Control steps between two states of the window."""
    gripper_weight: float = 0.2
    """Weight of the gripper's cross-entropy beside the arm's loss."""
    place_weight: float = 0.3
    """Weight of the losses on where the gripper acts next, and on how the arm stands there."""
    place_noise: float = 0.005
    """Most noise on the places that actions are learnt from, m; see `Sight.error`."""
    object_shift: float = 0.3
    """Noise on where objects are told to be, in standard deviations: it is enough to know which one
    to point at, and what is pointed at has no noise."""
    object_noise: float = 0.05
    """Noise on how they are told to lie, in standard deviations."""
    point_weight: float = 0.5
    """Weight of the loss on where the waypoints are in the images, for calibrated cameras, or on
    which object they are at, for who is told where objects are."""
    shift_px: int = 1
    """Largest random shift of the images in training."""
    color_jitter: float = 0.2
    """Largest relative change of each colour channel, and of brightness, in training."""


RECIPES: dict[str, ActConfig] = {"act": ActConfig()}
