"""Where places are: in the frames of things, along a camera's rays, as points of a hand."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

HAND_REACH = 0.1
"""Scale of the way that a hand has to go, m."""
N_TIPS, TIP = 2, 0.04
"""Points that say where a hand is and how it is turned: its own, and one this far (m) along its y
axis, on which fingers close."""
TOLD_APART = 0.75
"""Points that are at least so far apart, of `TIP`, say how the hand is turned."""
LEVEL, STEEP = 0.2, 0.5
"""How far along a ray of a camera on the hand a place is follows from its height where the ray
falls at least steeply (sine of the angle), and is guessed where it is about level."""


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


def hand_in(
    state: Float[Tensor, "*B n_state"], n_arm: int
) -> tuple[Float[Tensor, "*B 3"], Float[Tensor, "*B 3 3"]]:
    """Where the hand is in the base frame, and how it is turned, of a robot's state."""
    return frames(state[..., n_arm + 1 : n_arm + 10])


def frames(pose: Float[Tensor, "*B 9"]) -> tuple[Float[Tensor, "*B 3"], Float[Tensor, "*B 3 3"]]:
    """Positions and rotations of poses that are told as position, x axis and y axis."""
    p, x, y = pose.unflatten(-1, (3, 3)).unbind(-2)
    return p, torch.stack([x, y, torch.linalg.cross(x, y)], -1)


def aligned(R: Float[Tensor, "n 3 3"], along: Float[Tensor, "n 3"]) -> Float[Tensor, "n 3 3"]:
    """Turn hands the shortest way until their y axis is along a line, whichever way it points.

    Lines are from a hand's place to its second point; those that are too short for that, because
    several ways to turn the hand are in question, say nothing.
    """
    y, length = R[..., 1], along.norm(dim=-1, keepdim=True)
    line = along / length.clamp(min=1e-6) * torch.sign((y * along).sum(-1, keepdim=True))
    axis, cosine = torch.linalg.cross(y, line)[:, None], (y * line).sum(-1)[:, None, None]
    once = torch.linalg.cross(axis, R.mT)
    turned = R.mT + once + torch.linalg.cross(axis, once) / (1 + cosine)
    return torch.where(length[..., None] > TOLD_APART * TIP, turned.mT, R)


def rotations(axes: Float[Tensor, "*B 2 3"]) -> Float[Tensor, "*B 3 3"]:
    """Rotations whose x axis is along the first one, and y axis as near the second as can be."""
    x, y = axes.unbind(-2)
    x = F.normalize(x, dim=-1)
    y = F.normalize(y - (x * y).sum(-1, keepdim=True) * x, dim=-1)
    return torch.stack([x, y, torch.linalg.cross(x, y)], -1)
