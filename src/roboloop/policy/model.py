"""The network of the action-chunking policy, from pixels and joints to a chunk of actions."""

import math
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from roboloop.policy.recipes import ActConfig
from roboloop.policy.text import TEXT_DIM

SHARPNESS = 4.0
"""Gain of the keypoints' heat maps: spread over the whole image, they would hardly learn."""


@dataclass(frozen=True)
class Prediction:
    """What the network says for every state of a window, in normalised units."""

    arm: Float[Tensor, "B W H n_arm"]
    gripper: Float[Tensor, "B W H"]
    """Logits that the gripper's command is at its upper end."""
    waypoints: Float[Tensor, "B W P n_waypoint"]
    heat: dict[str, Float[Tensor, "B K rows columns"]] = field(default_factory=dict)
    """By camera, the logarithm of where each keypoint is; the first P belong to the waypoints."""


class CameraEncoder(nn.Module):
    """Finds keypoints in an image: soft positions, and the features there.

    ReLU and no normalisation: on a CPU anything else costs as much as the convolutions.
    """

    def __init__(self, config: ActConfig) -> None:
        super().__init__()
        c, d, n_points = config.channels, config.d_model, config.n_keypoints
        self.stem = conv(3, c, 6, stride=4)
        self.fine = conv(c, c, 3)
        self.down = conv(c, 2 * c, 3, stride=2)
        self.coarse = conv(2 * c, 2 * c, 3)
        self.up = conv(2 * c, c, 1)
        self.merge = conv(c, c, 3)
        self.heat = nn.Conv2d(c, n_points, 1)
        self.film = nn.Linear(d, 4 * c)
        nn.init.zeros_(self.film.weight)
        self.film.bias.data.zero_()
        self.token = nn.Linear(c + 2, d)
        self.identity = nn.Parameter(0.02 * torch.randn(n_points, d))

    def forward(
        self, image: Float[Tensor, "B 3 h w"], task: Float[Tensor, "B d"]
    ) -> tuple[Float[Tensor, "B K d"], Float[Tensor, "B K 2"], Float[Tensor, "B K rows columns"]]:
        """Return a token for each keypoint, its position from -1 to 1, and its heat map's log."""
        fine = F.relu(self.stem(image))
        fine = fine + F.relu(self.fine(fine))
        coarse = F.relu(self.down(fine))
        coarse = coarse + F.relu(self.coarse(coarse))
        scale, offset = self.film(task)[..., None, None].chunk(2, dim=1)
        coarse = self.up(coarse * (1 + scale) + offset)
        fine = F.relu(fine + F.interpolate(coarse, size=fine.shape[-2:]))
        fine = F.relu(self.merge(fine))
        heat = (SHARPNESS * self.heat(fine)).flatten(2).log_softmax(-1)
        weights = heat.exp()
        features = weights @ fine.flatten(2).transpose(1, 2)
        points = weights @ grid(*fine.shape[-2:])
        tokens = self.token(torch.cat([features, points], -1)) + self.identity
        return tokens, points, heat.unflatten(2, fine.shape[-2:])


def conv(c_in: int, c_out: int, size: int, stride: int = 1) -> nn.Conv2d:
    """Make a convolution whose output is as large as its input under ReLU (He et al. 2015)."""
    layer = nn.Conv2d(c_in, c_out, size, stride, padding=(size - stride + 1) // 2)
    nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    return layer


def grid(height: int, width: int) -> Float[Tensor, "hw 2"]:
    """Centres of cells, rows first, in an image whose edges are at -1 and 1."""
    return torch.cartesian_prod(centres(height), centres(width))


def centres(n: int) -> Float[Tensor, "n"]:
    """Centres of `n` equal cells between -1 and 1."""
    return (2 * torch.arange(n) + 1) / n - 1


class Block(nn.Module):
    """Pre-norm attention (to itself, or to a memory) and a two-layer perceptron."""

    def __init__(self, d: int, n_heads: int) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.norm, self.norm_mlp = nn.LayerNorm(d), nn.LayerNorm(d)
        self.query, self.key_value, self.out = nn.Linear(d, d), nn.Linear(d, 2 * d), nn.Linear(d, d)
        self.mlp = perceptron(d, 4 * d, d)

    def forward(
        self, x: Float[Tensor, "B Q d"], memory: Float[Tensor, "B M d"] | None = None
    ) -> Float[Tensor, "B Q d"]:
        """Return `x` after one layer."""
        y = self.norm(x)
        key, value = self.key_value(y if memory is None else memory).chunk(2, -1)
        heads = [
            each.unflatten(-1, (self.n_heads, -1)).transpose(1, 2)
            for each in (self.query(y), key, value)
        ]
        x = x + self.out(F.scaled_dot_product_attention(*heads).transpose(1, 2).flatten(2))
        return x + self.mlp(self.norm_mlp(x))


def perceptron(n_in: int, n_hidden: int, n_out: int) -> nn.Sequential:
    """Make a perceptron with one hidden layer."""
    return nn.Sequential(nn.Linear(n_in, n_hidden), nn.ReLU(), nn.Linear(n_hidden, n_out))


class ActModel(nn.Module):
    """Cameras and task give a memory of tokens; each state of a window asks it for a chunk.

    The images of a window are encoded once, and every later state pays its own loss: a chunk of
    actions, and the waypoints at which the gripper will act. At run time the window is one state.
    The keypoints' positions also reach the query directly: attention over normalised tokens
    learns where things are much more slowly.
    """

    def __init__(
        self,
        config: ActConfig,
        cameras: tuple[str, ...],
        n_state: int,
        n_arm: int,
        waypoints: tuple[int, int],
    ) -> None:
        super().__init__()
        d, n_layers = config.d_model, config.n_layers
        self.latent, self.chunk, self.waypoints = (
            config.latent,
            (config.chunk_steps, n_arm + 1),
            waypoints,
        )
        self.cameras = nn.ModuleDict({name: CameraEncoder(config) for name in cameras})
        n_seen = n_state + 2 * config.n_keypoints * len(cameras)
        self.task = nn.Linear(TEXT_DIM, d)
        self.phase = nn.Linear(n_state, d)
        self.query = perceptron(n_seen, 2 * d, d)
        self.age = nn.Parameter(torch.zeros(config.window, d))
        self.encoder = nn.ModuleList(Block(d, config.n_heads) for _ in range(n_layers))
        self.decoder = nn.ModuleList(Block(d, config.n_heads) for _ in range(n_layers))
        self.norm_memory, self.norm_out = nn.LayerNorm(d), nn.LayerNorm(d)
        n_actions, n_places = math.prod(self.chunk), math.prod(waypoints)
        self.waypoint_head = nn.Linear(d, n_places)
        self.action_head = perceptron(d + n_state + n_places + config.latent, 2 * d, n_actions)
        self.posterior = perceptron(n_state + n_actions, d, 2 * config.latent)

    def forward(
        self,
        images: dict[str, Float[Tensor, "B 3 h w"]],
        state: Float[Tensor, "B W n_state"],
        text: Float[Tensor, "B n_text"],
        style: Float[Tensor, "B W latent"] | None = None,
    ) -> Prediction:
        """Predict; without `style` the prior's mean is taken."""
        task, n_window = self.task(text), state.shape[1]
        # where to look depends on the task and on how far it is: does the hand hold something?
        sought = task + self.phase(state[:, 0])
        views = [encoder(images[name], sought) for name, encoder in self.cameras.items()]
        memory = torch.cat([tokens for tokens, _, _ in views] + [task[:, None]], 1)
        for block in self.encoder:
            memory = block(memory)
        memory = self.norm_memory(memory)
        points = torch.cat([points.flatten(1) for _, points, _ in views], 1)
        seen = torch.cat([state, points[:, None].expand(-1, n_window, -1)], -1)
        query = self.query(seen) + task[:, None] + self.age[:n_window]
        for block in self.decoder:
            query = block(query, memory)
        query = self.norm_out(query)
        waypoints = self.waypoint_head(query)
        if style is None:
            style = state.new_zeros(*state.shape[:2], self.latent)
        known = torch.cat([query, state, waypoints.detach(), style], -1)
        actions = self.action_head(known).unflatten(-1, self.chunk)
        places = waypoints.unflatten(-1, self.waypoints)
        heat = {name: view[2] for name, view in zip(self.cameras, views, strict=True)}
        return Prediction(actions[..., :-1], actions[..., -1], places, heat)

    def encode_style(
        self,
        state: Float[Tensor, "B W n_state"],
        arm: Float[Tensor, "B W H n_arm"],
        gripper: Float[Tensor, "B W H"],
        noise: torch.Generator | None,
    ) -> tuple[Float[Tensor, "B W latent"], Float[Tensor, ""]]:
        """Sample the style of a chunk from its posterior (take the mean without `noise`).

        Returns:
            The sample, and the divergence of the posterior from the standard normal prior.
        """
        seen = torch.cat([state, arm.flatten(2), gripper], -1)
        mean, log_variance = self.posterior(seen).chunk(2, -1)
        kl = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(-1).mean()
        if noise is None:
            return mean, kl
        return mean + (0.5 * log_variance).exp() * torch.randn(mean.shape, generator=noise), kl
