"""The network of the action-chunking policy: where to act, from what it sees; how, from there."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from roboloop.data.cache import OBJECT_NUMBERS
from roboloop.policy.recipes import ActConfig
from roboloop.policy.text import TEXT_DIM

SHARPNESS = 4.0
"""Gain of the keypoints' heat maps: spread over the whole image, they would hardly learn."""
SPREAD = 0.05
"""How wrong a camera expects to be before it has learnt anything, m."""
OBJECTS = "objects"
"""Among the cameras, who says where to act from where the objects are."""
N_POSTURES = 4
"""Ways to stand at a place that are told apart: a hand that may turn to either side should not be
taken to be in between."""
N_TIPS, TIP = 2, 0.04
"""Points that say where a hand is and how it is turned: its own, and one this far (m) along its y
axis, on which fingers close."""
LEVEL, STEEP = 0.2, 0.5
"""How far along a ray of a camera on the hand a place is follows from its height where the ray
falls at least steeply (sine of the angle), and is guessed where it is about level."""
GUESS = 0.15
"""How far away that is at first, m."""
HELD_NUMBERS = 9
"""Of each object, how it is held; see `Things.held`."""
HAND_REACH, NEAR = 0.1, 0.02
"""Scales of the way that the hand has to go: far from its goal, and close to it, m."""


@dataclass(frozen=True)
class Hand:
    """Where the hand is when the images are taken, in the robot's base frame."""

    p_base_eef: Float[Tensor, "B 3"]
    R_base_eef: Float[Tensor, "B 3 3"]


@dataclass(frozen=True)
class Things:
    """Where things are, for who is told, in the robot's base frame."""

    told: Float[Tensor, "B n_obj 15"]
    """What is told of them, normalised; in training, with noise."""
    held: Float[Tensor, "B n_obj 9"]
    """Where the hand is in the frame of what it holds: position over `HAND_REACH`, x and y axis."""
    p_base_obj: Float[Tensor, "B n_obj 3"]
    R_base_obj: Float[Tensor, "B n_obj 3 3"]

    @property
    def among(self) -> Float[Tensor, "B n_obj n_obj 3"]:
        """Where each (second) is in the frame of each (first), m."""
        way = self.p_base_obj[:, None] - self.p_base_obj[:, :, None]
        return torch.einsum("bnji,bnmj->bnmi", self.R_base_obj, way)


@dataclass(frozen=True)
class Sight:
    """What the cameras (or `OBJECTS`) say. Places are in the robot's base frame, m.

    A place is where the hand will act next (P in all), for who is told where objects are; cameras
    say `N_TIPS` for each, all of the first kind first; see `tips_of`.
    """

    context: Float[Tensor, "B d"]
    places: dict[str, Float[Tensor, "B T 3"]]
    """By camera, where the hand will act next."""
    log_scale: dict[str, Float[Tensor, "B T"]]
    """By camera, the logarithm of its expected error over `SPREAD`."""
    heat: dict[str, Float[Tensor, "B K rows columns"]]
    """By camera, the logarithm of where each keypoint is; the first T belong to the places."""
    pointing: Float[Tensor, "B P n_obj"] | None
    """Logarithm of how likely each place is at each object, of who is told where they are."""
    turns: Float[Tensor, "B P K 2 3"] | None
    """The hand's x and y axes there, in each way to stand, about; of who is told the same."""

    @property
    def fused(self) -> Float[Tensor, "B T 3"]:
        """The cameras' places, each weighted by its precision."""
        weights = torch.softmax(torch.stack([-2 * s for s in self.log_scale.values()]), 0)
        return (weights[..., None] * torch.stack(list(self.places.values()))).sum(0)


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


def places_at(
    things: Things, pointing: Float[Tensor, "B P n_obj"], way: Float[Tensor, "B P 3"]
) -> Float[Tensor, "B P 3"]:
    """Return places in the frames of the objects that are pointed at.

    Args:
        things: Where the objects are.
        pointing: Logarithms of weights of the objects.
        way: From an object's origin, in its frame, m.
    """
    places = things.p_base_obj[:, None] + torch.einsum("bnij,bpj->bpni", things.R_base_obj, way)
    return torch.einsum("bpn,bpni->bpi", pointing.exp(), places)


def turned_at(
    things: Things, pointing: Float[Tensor, "B P n_obj"], turn: Float[Tensor, "B P K 2 3"]
) -> Float[Tensor, "B P K 2 3"]:
    """Return directions that are given as the objects lie that are pointed at; see `places_at`."""
    R_base_obj = torch.einsum("bpn,bnij->bpij", pointing.exp(), things.R_base_obj)
    return torch.einsum("bpij,bpkaj->bpkai", R_base_obj, turn)


def seen_at(
    spots: Float[Tensor, "B T 2"],
    z: Float[Tensor, "B T"],
    guess: Float[Tensor, "B T"],
    eye: Float[Tensor, "13"],
    hand: Hand,
) -> Float[Tensor, "B T 3"]:
    """Return what a camera on the hand sees: where the hand is tells where that is.

    Args:
        spots: (row, column) in the image, from -1 to 1.
        z: Height in the base frame, m.
        guess: How far in front of the camera it is, m, for rays about level.
        eye: The camera; see `Scaling.eyes`.
        hand: Where the hand is.
    """
    R_eef_eye, p_eef_eye, tan = eye[:9].view(3, 3), eye[9:12], eye[12]
    ray = torch.cat([tan * spots.flip(-1), torch.ones_like(z)[..., None]], -1)
    ray = ray @ R_eef_eye.T @ hand.R_base_eef.transpose(1, 2)
    p_base_eye = (hand.p_base_eef + hand.R_base_eef @ p_eef_eye)[:, None]
    falls = -ray[..., 2]
    below = ((p_base_eye[..., 2] - z) / falls.clamp(min=LEVEL)).clamp(0, 1)
    share = ((falls / ray.norm(dim=-1) - LEVEL) / (STEEP - LEVEL)).clamp(0, 1)
    return p_base_eye + (share * below + (1 - share) * guess)[..., None] * ray


def tips_of(p: Float[Tensor, "B P 3"], R: Float[Tensor, "B P 3 3"]) -> Float[Tensor, "B T 3"]:
    """Return the points that say where hands are and how they are turned; see `N_TIPS`."""
    return torch.cat([p, p + TIP * R[..., 1]], 1)


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


def perceptron(n_in: int, n_hidden: int, n_out: int, n_layers: int = 1) -> nn.Sequential:
    """Make a perceptron with so many hidden layers."""
    sizes = [n_in, *[n_hidden] * n_layers]
    hidden = [layer for size in pairwise(sizes) for layer in (nn.Linear(*size), nn.ReLU())]
    return nn.Sequential(*hidden, nn.Linear(n_hidden, n_out))


class ActModel(nn.Module):
    """The cameras say where the hand will act next; those places and the arm's state, how.

    Each camera is an expert on the coming waypoints (or one that is told where the objects are, in
    place of all). It is shown the images, the task and the hand's fingers, but not where the arm
    is: from that it would guess where a demonstration is heading, which is no guide once the policy
    itself has strayed. A camera on the hand says where in its image places are, and how high; the
    rest is geometry. The actions are learnt from the recorded places, and at run time made from the
    seen ones.
    """

    centre: Tensor
    eyes: Tensor

    def __init__(
        self,
        config: ActConfig,
        cameras: tuple[str, ...],
        hand_cameras: tuple[str, ...],
        n_objects: int,
        n_state: int,
        n_arm: int,
        n_out: int,
        n_waypoints: int,
        centre: Float[Tensor, "3"],
        eyes: Float[Tensor, "C 13"],
    ) -> None:
        super().__init__()
        self.register_buffer("centre", centre)
        self.register_buffer("eyes", eyes)
        d, n_layers, n_points = config.d_model, config.n_layers, 2 * config.n_keypoints
        self.latent, self.n_waypoints, self.hand_cameras = config.latent, n_waypoints, hand_cameras
        self.chunk = config.chunk_steps, n_out + 1
        self.cameras = nn.ModuleDict({name: CameraEncoder(config) for name in cameras})
        self.objects = ObjectEncoder(config, n_objects, n_waypoints) if n_objects else None
        experts = (*cameras, *([OBJECTS] if n_objects else []))
        self.task = nn.Linear(TEXT_DIM, d)
        self.fingers = nn.Linear(2, d)
        self.query = perceptron(n_points * len(experts), 2 * d, d)
        self.encoder = nn.ModuleList(Block(d, config.n_heads) for _ in range(n_layers))
        self.decoder = nn.ModuleList(Block(d, config.n_heads) for _ in range(n_layers))
        self.norm_memory, self.norm_out = nn.LayerNorm(d), nn.LayerNorm(d)
        self.n_places = n_waypoints * (1 if n_objects else N_TIPS)
        n_place = (7 if n_objects else 5) * self.n_places
        self.places = nn.ModuleDict(
            {name: perceptron(d + n_points, 2 * d, n_place) for name in experts}
        )
        n_postures = n_waypoints * N_POSTURES * (n_arm + 1)
        self.postures = perceptron(d + 3 * self.n_places, 2 * d, n_postures)
        n_goal = (n_arm + 9 + (12 if n_objects else 0)) * n_waypoints
        n_actions = math.prod(self.chunk)
        n_known = d + n_state + n_goal + config.latent
        self.actions = perceptron(n_known, 4 * d, n_actions, config.head_layers)
        self.posterior = perceptron(n_state + n_actions, d, 2 * config.latent)

    def look(
        self,
        images: dict[str, Float[Tensor, "B 3 h w"]],
        things: Things | None,
        text: Float[Tensor, "B n_text"],
        fingers: Float[Tensor, "B 2"],
        hand: Hand,
        moved: Mapping[str, Float[Tensor, "B 2"]],
    ) -> Sight:
        """Say where the hand will act.

        The keypoints' positions also reach query and experts directly: attention over normalised
        tokens learns where things are much more slowly. Who is told where objects are points at
        one of them, and says how far from it and how turned the hand will be: in part as it lies,
        in part as the base does.

        Args:
            images: By camera.
            things: Where the objects are, for who is told.
            text: The embedded instruction.
            fingers: The opening of the hand, and what it was lately told, normalised.
            hand: Where it is.
            moved: By camera, how far images were moved in training: (rows, columns) of -1 to 1.
        """
        task = self.task(text) + self.fingers(fingers)
        views = {
            name: encoder(images[name], task, moved.get(name))
            for name, encoder in self.cameras.items()
        }
        points = {name: points.flatten(1) for name, (_, points, _) in views.items()}
        tokens = [tokens for tokens, _, _ in views.values()]
        if self.objects is not None and things is not None:
            told, points[OBJECTS] = self.objects(things, task)
            tokens.append(told)
        memory = torch.cat([*tokens, task[:, None]], 1)
        for block in self.encoder:
            memory = block(memory)
        query = (self.query(torch.cat(list(points.values()), 1)) + task)[:, None]
        for block in self.decoder:
            query = block(query, self.norm_memory(memory))
        context = self.norm_out(query)[:, 0]
        places, log_scale, pointing, turns = {}, {}, None, None
        for name, expert in self.places.items():
            answer = expert(torch.cat([context, points[name]], 1))
            answer = answer.unflatten(-1, (self.n_places, -1))
            way, log_scale[name] = HAND_REACH * answer[..., :3], answer[..., 3].clamp(-4, 2)
            if self.objects is not None and things is not None:
                pointing = self.objects.point(context)  # learnt by its own loss alone
                own = HAND_REACH * answer[..., 4:]
                way = places_at(things, pointing.detach(), own) + way
                own, base = self.objects.turn(context, points[name]).unbind(1)
                turns = turned_at(things, pointing.detach(), own) + base
            elif name in self.hand_cameras:
                spots = views[name][1][:, : self.n_places] + answer[..., :2]
                z, guess = self.centre[2] + way[..., 2], GUESS + HAND_REACH * answer[..., 4]
                way = seen_at(spots, z, guess, self.eyes[self.hand_cameras.index(name)], hand)
            else:
                way = self.centre + way
            places[name] = way
        heat = {name: view[2] for name, view in views.items()}
        return Sight(context, places, log_scale, heat, pointing, turns)

    def posture(
        self, context: Float[Tensor, "B d"], places: Float[Tensor, "B T 3"]
    ) -> tuple[Float[Tensor, "B P K n_arm"], Float[Tensor, "B P K"]]:
        """Say how the arm may stand at the places, and how likely each way is.

        Returns:
            Normalised joint positions of several ways, and logits of them.
        """
        known = torch.cat([context, places.flatten(1)], 1)
        answer = self.postures(known).unflatten(-1, (self.n_waypoints, N_POSTURES, -1))
        return answer[..., :-1], answer[..., -1]

    def act(
        self,
        context: Float[Tensor, "B d"],
        state: Float[Tensor, "B W n_state"],
        p_base_eef: Float[Tensor, "B W 3"],
        R_base_eef: Float[Tensor, "B W 3 3"],
        places: Float[Tensor, "B W P 3"],
        postures: Float[Tensor, "B W P n_arm"],
        turns: Float[Tensor, "B W P 3 3"] | None = None,
        style: Float[Tensor, "B W latent"] | None = None,
    ) -> tuple[Float[Tensor, "B W H n_out"], Float[Tensor, "B W H"]]:
        """Return a chunk of the arm's actions for every state, and logits of a gripper command.

        State and postures are normalised, places and the hand's pose are not. Where it is known how
        the hand will be turned (`turns`), it also counts where the hand is as seen from there: what
        is threaded or set down comes the same way whichever way its goal lies. Without `style` the
        prior's mean is taken.
        """
        if style is None:
            style = state.new_zeros(*state.shape[:2], self.latent)
        way = places - p_base_eef[:, :, None]
        goal = [postures, places, way / HAND_REACH, torch.tanh(way / NEAR)]
        if turns is not None:
            own = torch.einsum("bwpji,bwpj->bwpi", turns, way)
            axes = torch.einsum("bwpji,bwjk->bwpki", turns, R_base_eef)[:, :, :, :2]
            goal += [own / HAND_REACH, torch.tanh(own / NEAR), axes.flatten(3)]
        known = [context[:, None].expand(-1, state.shape[1], -1), state, style]
        known = torch.cat([*known, *(each.flatten(2) for each in goal)], -1)
        actions = self.actions(known).unflatten(-1, self.chunk)
        return actions[..., :-1], actions[..., -1]

    def encode_style(
        self,
        state: Float[Tensor, "B W n_state"],
        arm: Float[Tensor, "B W H n_out"],
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
