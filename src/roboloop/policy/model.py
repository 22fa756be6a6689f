"""The network of the action-chunking policy: where to act, from what it sees; how, from there."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from roboloop.policy.encoders import N_POSTURES, CameraEncoder, ObjectEncoder, perceptron
from roboloop.policy.geometry import (
    HAND_REACH,
    N_TIPS,
    Hand,
    Things,
    places_at,
    seen_at,
    turned_at,
)
from roboloop.policy.recipes import ActConfig
from roboloop.policy.text import TEXT_DIM

SPREAD = 0.05
"""How wrong a camera expects to be before it has learnt anything, m."""
OBJECTS = "objects"
"""Among the cameras, who says where to act from where the objects are."""
GUESS = 0.15
"""How far from a camera on the hand a place is guessed to be at first, m."""
NEAR = 0.02
"""Scale of the hand's way that matters close to its goal, m."""
AT_FIRST = -2.0
"""Logit of the share of the next posture in an action before anything is learnt."""


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
    def error(self) -> Float[Tensor, "B T"]:
        """How wrong who sees a place best expects to be, m."""
        return SPREAD * torch.stack([*self.log_scale.values()]).amin(0).exp()

    @property
    def fused(self) -> Float[Tensor, "B T 3"]:
        """The cameras' places, each weighted by its precision."""
        weights = torch.softmax(torch.stack([-2 * s for s in self.log_scale.values()]), 0)
        return (weights[..., None] * torch.stack(list(self.places.values()))).sum(0)


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
        d, n_points = config.d_model, 2 * config.n_keypoints
        self.latent, self.n_waypoints, self.hand_cameras = config.latent, n_waypoints, hand_cameras
        self.chunk = config.chunk_steps, n_out + 2
        self.cameras = nn.ModuleDict({name: CameraEncoder(config) for name in cameras})
        self.objects = ObjectEncoder(config, n_objects, n_waypoints) if n_objects else None
        experts = (*cameras, *([OBJECTS] if n_objects else []))
        self.task = nn.Linear(TEXT_DIM, d)
        self.fingers = nn.Linear(2, d)
        self.query = perceptron(n_points * len(experts), 2 * d, d)
        n_layers = config.n_layers if n_objects else 0
        self.encoder = nn.ModuleList(Block(d, config.n_heads) for _ in range(n_layers))
        self.decoder = nn.ModuleList(Block(d, config.n_heads) for _ in range(config.n_layers))
        self.norm_memory, self.norm_out = nn.LayerNorm(d), nn.LayerNorm(d)
        self.n_places = n_waypoints * (1 if n_objects else N_TIPS)
        says = {name: 5 if name in hand_cameras else 4 for name in cameras} | {OBJECTS: 7}
        self.places = nn.ModuleDict(
            {name: perceptron(d + n_points, 2 * d, says[name] * self.n_places) for name in experts}
        )
        n_postures = n_waypoints * N_POSTURES * (n_arm + 1)
        self.postures = perceptron(d + 3 * self.n_places, 2 * d, n_postures)
        n_goal = (n_arm + 9 + (12 if n_objects else 0)) * n_waypoints
        n_known = d + n_state + n_goal + config.latent
        self.actions = perceptron(n_known, 4 * d, math.prod(self.chunk), config.head_layers)
        n_seen = n_state + config.chunk_steps * (n_out + 1)
        self.posterior = perceptron(n_seen, d, 2 * config.latent)

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
        goal: Float[Tensor, "B W H n_out"],
        turns: Float[Tensor, "B W P 3 3"] | None = None,
        style: Float[Tensor, "B W latent"] | None = None,
    ) -> tuple[Float[Tensor, "B W H n_out"], Float[Tensor, "B W H"]]:
        """Return a chunk of the arm's actions for every state, and logits of a gripper command.

        State and postures are normalised, places and the hand's pose are not. Where it is known how
        the hand will be turned (`turns`), it also counts where the hand is as seen from there: what
        is threaded or set down comes the same way whichever way its goal lies. Of the action that
        leads to the next posture at once (`goal`) a share is taken, and the rest added: out of
        joint positions alone, where a hundredth of their range decides, a network hardly learns to
        follow a place. Without `style` the prior's mean is taken.
        """
        if style is None:
            style = state.new_zeros(*state.shape[:2], self.latent)
        way = places - p_base_eef[:, :, None]
        ways = [postures, places, way / HAND_REACH, torch.tanh(way / NEAR)]
        if turns is not None:
            own = torch.einsum("bwpji,bwpj->bwpi", turns, way)
            axes = torch.einsum("bwpji,bwjk->bwpki", turns, R_base_eef)[:, :, :, :2]
            ways += [own / HAND_REACH, torch.tanh(own / NEAR), axes.flatten(3)]
        known = [context[:, None].expand(-1, state.shape[1], -1), state, style]
        known = torch.cat([*known, *(each.flatten(2) for each in ways)], -1)
        actions = self.actions(known).unflatten(-1, self.chunk)
        share = (actions[..., -1:] + AT_FIRST).sigmoid()
        return actions[..., :-2] + share * goal, actions[..., -2]

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
