"""What finds things for the policy: in images, or among what it is told."""

from itertools import pairwise

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from roboloop.data.cache import OBJECT_NUMBERS
from roboloop.policy.geometry import HAND_REACH, Things
from roboloop.policy.recipes import ActConfig

SHARPNESS = 4.0
"""Gain of the keypoints' heat maps: spread over the whole image, they would hardly learn."""
N_POSTURES = 4
"""Ways to stand at a place that are told apart: a hand that may turn to either side should not be
taken to be in between."""
HELD_NUMBERS = 9
"""Of each object, how it is held; see `Things.held`."""


class CameraEncoder(nn.Module):
    """Finds keypoints in an image: soft positions, and the features there.

    ReLU and no normalisation: on a CPU anything else costs as much as the convolutions.
    """

    def __init__(self, config: ActConfig) -> None:
        super().__init__()
        c, d, n_points = config.channels, config.d_model, config.n_keypoints
        self.stem = nn.Sequential(conv(3, c // 2, 4, 2), nn.ReLU(), conv(c // 2, c, 4, 2))
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
        self,
        image: Float[Tensor, "B 3 h w"],
        task: Float[Tensor, "B d"],
        moved: Float[Tensor, "B 2"] | None = None,
    ) -> tuple[Float[Tensor, "B K d"], Float[Tensor, "B K 2"], Float[Tensor, "B K rows columns"]]:
        """Return a token for each keypoint, its position from -1 to 1, and its heat map's log.

        Positions are those in the image before it was `moved` by (rows, columns).
        """
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
        if moved is not None:
            points = points - moved[:, None]
        tokens = self.token(torch.cat([features, points], -1)) + self.identity
        return tokens, points, heat.unflatten(2, fine.shape[-2:])


class ObjectEncoder(nn.Module):
    """Stands in for the cameras where it is known how the objects lie."""

    def __init__(self, config: ActConfig, n_objects: int, n_waypoints: int) -> None:
        super().__init__()
        d, n_values = config.d_model, 2 * config.n_keypoints
        self.n_waypoints = n_waypoints
        n_told = OBJECT_NUMBERS + HELD_NUMBERS
        self.token = nn.Linear(n_told, d)
        self.identity = nn.Parameter(0.02 * torch.randn(n_objects, d))
        n_known = n_told * n_objects + 3 * n_objects**2 + d
        self.values = perceptron(n_known, 4 * d, n_values)
        self.pointer = perceptron(d, d, n_objects * n_waypoints)
        self.turner = perceptron(d + n_values, 2 * d, 2 * n_waypoints * N_POSTURES * 6)

    def forward(
        self, things: Things, task: Float[Tensor, "B d"]
    ) -> tuple[Float[Tensor, "B n_obj d"], Float[Tensor, "B v"]]:
        """Return a token for each object, and as many values as a camera's keypoints have.

        How a hand can take a thing depends on what is beside it, as seen from the thing.
        """
        known = torch.cat([things.told, things.held], -1)
        among = torch.tanh(things.among / HAND_REACH)
        values = self.values(torch.cat([known.flatten(1), among.flatten(1), task], 1))
        return self.token(known) + self.identity, values

    def point(self, context: Float[Tensor, "B d"]) -> Float[Tensor, "B P n_obj"]:
        """Return for each waypoint the logarithm of how likely it is at each object."""
        return self.pointer(context).unflatten(1, (self.n_waypoints, -1)).log_softmax(-1)

    def turn(
        self, context: Float[Tensor, "B d"], values: Float[Tensor, "B v"]
    ) -> Float[Tensor, "B 2 P K 2 3"]:
        """Return the hand's axes in each way to stand: as the object lies, and as the base does."""
        answer = self.turner(torch.cat([context, values], 1))
        return answer.unflatten(1, (2, self.n_waypoints, N_POSTURES, 2, 3))


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


def perceptron(n_in: int, n_hidden: int, n_out: int, n_layers: int = 1) -> nn.Sequential:
    """Make a perceptron with so many hidden layers."""
    sizes = [n_in, *[n_hidden] * n_layers]
    hidden = [layer for size in pairwise(sizes) for layer in (nn.Linear(*size), nn.ReLU())]
    return nn.Sequential(*hidden, nn.Linear(n_hidden, n_out))
