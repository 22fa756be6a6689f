"""What policies learn by: losses on places, postures and heat maps, and the noise of training."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from roboloop.policy.encoders import centres
from roboloop.policy.model import SPREAD

SPOT_CELLS = 0.7
"""Width of the spot that a heat map should show at a known point, cells."""
OTHERS, CHOICE = 0.05, 0.1
"""Weights, beside the nearest way to stand, of the other ways and of which one it is."""
HUBER = 0.1
"""Error, in standard deviations, above which a loss is linear."""


def place_loss(error: Float[Tensor, "B P 3"], log_scale: Float[Tensor, "B P"]) -> Float[Tensor, ""]:
    """How unlikely errors are, in nats and up to a constant, if density falls as exp(-|e| / b).

    Args:
        error: Between seen and recorded places, m.
        log_scale: Logarithm of b over `SPREAD`.
    """
    return (error.norm(dim=-1) / SPREAD * (-log_scale).exp() + 3 * log_scale).mean()


def posture_loss(miss: Float[Tensor, "B P K"], logits: Float[Tensor, "B P K"]) -> Float[Tensor, ""]:
    """How far the nearest of several ways is from the posture, and how unlikely it was thought.

    Source: Rupprecht et al. 2017, "Learning in an Uncertain World: Representing Ambiguity Through
    Multiple Hypotheses", equation 8: the others learn a little too, lest they never do.
    """
    nearest = miss.argmin(-1)
    unlikely = F.cross_entropy(logits.flatten(0, 1), nearest.flatten())
    return (1 - OTHERS) * miss.amin(-1).mean() + OTHERS * miss.mean() + CHOICE * unlikely


def huber(error: Float[Tensor, "*B n"]) -> Float[Tensor, "*B"]:
    """Mean loss of errors: quadratic up to `HUBER`, linear above."""
    return F.smooth_l1_loss(error, torch.zeros_like(error), beta=HUBER, reduction="none").mean(-1)


def masked(loss: Float[Tensor, "*B"], weight: Float[Tensor, "*B"]) -> Float[Tensor, ""]:
    """Average a loss over what is to be learnt."""
    return (loss * weight).sum() / weight.sum().clamp(min=1)


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
