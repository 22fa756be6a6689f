"""Cabinets, microwaves and racks: which side is the front, what sticks out of it, what is open."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from roboloop.scene.perceive.cloud import regions_of
from roboloop.scene.perceive.outline import Rectangle, along_axes, smallest_rectangle
from roboloop.scene.perceive.pieces import Piece
from roboloop.scene.perceive.shape import Shape

STICKS_OUT = 0.015  # handles reach further than this over the face, m
HANDLE_OUT = 0.045  # how far a handle sticks out when none is seen on a closed front, m
CLOSED = 0.07  # what reaches less far is a handle on a closed front, m
AJAR = 0.02  # drawers that are open less far are closed, m
INSIDE = 0.03  # further inside than this below the top is seen through an open front, m
BIN = 0.005  # m


@dataclass(frozen=True)
class Front:
    """The body of a piece of furniture and its front; local x points out of the front."""

    body: Rectangle
    """The top's rectangle with its first axis out of the front."""
    out: Float[np.ndarray, "n"]
    """How far the points in front of the face stick out, m."""
    across: Float[np.ndarray, "n"]
    """Their place along the face, m."""
    heights: Float[np.ndarray, "n"]
    """Their heights, m."""
    upright: float
    """Share of them on upright surfaces."""
    inside: float
    """Share of the object's points that are seen inside the body."""

    @property
    def yaw(self) -> float:
        """Direction of the front, rad."""
        return float(np.arctan2(self.body.axes[0, 1], self.body.axes[0, 0]))


def find_front(piece: Piece, shape: Shape) -> Front:
    """Find the side with the most that sticks out, or that one sees into."""
    xy, heights = piece.points[:, :2], piece.heights
    local = shape.top.local(xy)
    half = shape.top.size / 2
    under = heights < shape.top_height - INSIDE
    deep = under & (np.abs(local) < half - INSIDE).all(1)
    best, best_value = 0, -1.0
    for side in range(4):
        k, sign = side % 2, 1 - 2 * (side // 2)
        out = sign * local[:, k] - half[k]
        value = float(out[out > STICKS_OUT].sum()) / CLOSED
        if deep.mean() > 0.02:  # the open side is the one nearest to what is seen inside
            value += 0.5 * float((out[deep] > -0.5 * half[k]).sum())
        if value > best_value:
            best, best_value = side, value
    k, sign = best % 2, 1 - 2 * (best // 2)
    x_axis = sign * shape.top.axes[k]
    axes = np.array([x_axis, (-x_axis[1], x_axis[0])])
    size = shape.top.size if k == 0 else shape.top.size[::-1]
    body = Rectangle(shape.top.center, axes, size)
    local = body.local(xy)
    out = local[:, 0] - size[0] / 2
    front = out > STICKS_OUT
    upright = np.abs(piece.normals[front, 2]) < 0.3
    return Front(
        body,
        out[front],
        local[front, 1],
        heights[front],
        float(upright.mean()) if front.any() else 0.0,
        float(deep.mean()),
    )


def is_panel(front: Front) -> bool:
    """Tell whether what sticks out is one thin upright panel that leaves the face: an open door."""
    if len(front.out) < 100 or front.out.max() < 0.08:
        return False
    far = front.out > 0.03
    box = smallest_rectangle(np.stack([front.out, front.across], -1)[far])
    turned = np.abs(box.axes[box.size.argmax(), 0]) > 0.35  # a drawer's panel is parallel
    thin = box.size.min() < 0.35 * box.size.max()
    return bool(thin and turned and front.upright > 0.6)


def is_upright_bar(front: Front) -> bool:
    """Tell whether what sticks out is one upright bar: a microwave's handle."""
    if len(front.out) < 20:
        return False
    across = np.ptp(np.percentile(front.across, (4, 96)))
    return bool(across < 0.05 and np.ptp(np.percentile(front.heights, (4, 96))) > 1.3 * across)


def furniture_features(front: Front, roof: float) -> dict[str, float]:
    """Numbers for the choice of the category: bars, door, how open it is (all without a roof)."""
    bars = len(handle_heights(front)) if len(front.out) > 20 else 0
    door = is_panel(front) or is_upright_bar(front)
    open_share = 1.0 if roof < 0.2 else front.inside
    return {"bars": 0.0 if door else float(bars), "door": float(door), "open": open_share}


def profile(front: Front, top: float) -> Float[np.ndarray, "m"]:
    """How far things stick out of the face at every height, in bins of 5 mm."""
    bins = np.clip((front.heights / BIN).astype(int), 0, int(top / BIN) + 1)
    out = np.zeros(int(top / BIN) + 2)
    np.maximum.at(out, bins, front.out)
    return out


def handle_heights(front: Front) -> list[tuple[float, float]]:
    """Heights of the bars on the face and how far each sticks out, top first."""
    out = profile(front, float(front.heights.max()))
    found: list[tuple[float, float]] = []
    for i in np.argsort(-out):
        height = (i + 0.5) * BIN
        if out[i] < STICKS_OUT:
            break
        sides = out[max(i - 6, 0) : i + 1], out[i : i + 7]
        stands_out = all(out[i] > side.min() + 0.012 for side in sides)
        isolated = all(abs(height - other) > 0.04 for other, _ in found)
        if isolated and stands_out and out[i] >= max(side.max() for side in sides) - 1e-6:
            level = np.abs(np.arange(len(out)) - i) <= 4
            same = np.flatnonzero(level & (out > out[i] - 0.008))
            found.append((float((same.mean() + 0.5) * BIN), float(out[i])))
    return sorted(found, reverse=True)


def drawer_count(places: list[float], fronts: list[float]) -> int:
    """Number of equal drawers that fits best.

    Args:
        places: Where handles are, 0 = top, 1 = bottom; each in the middle of its drawer.
        fronts: Heights of the fronts of open drawers, as shares of the whole.
    """
    errors = []
    for n in range(1, 6):
        off = [abs(place * n % 1 - 0.5) for place in places] or [0.0]
        size = [abs(front * n - 1) for front in fronts] or [0.0]
        errors.append(np.mean(off) + np.mean(size) + 0.03 * n)
    return int(np.argmin(errors)) + 1


def drawers(front: Front, top: float) -> tuple[tuple[float, ...], float]:
    """Tell how far every drawer is open (m, top first), and how far handles stick out (m)."""
    bars = handle_heights(front)
    open_bins = profile(front, top) > CLOSED
    runs, n_runs = regions_of(open_bins)
    fronts = [float((runs == i + 1).sum() * BIN / top) for i in range(n_runs)]
    count = drawer_count([(top - height) / top for height, _ in bars], fronts)
    closed = [out for _, out in bars if out < CLOSED]
    handle = float(np.median(closed)) if closed else HANDLE_OUT
    values = [0.0] * count
    for height, out in bars:
        i = int(np.clip((top - height) / top * count, 0, count - 1))
        if out - handle > AJAR:
            values[i] = max(values[i], out - handle)
    return tuple(values), handle


def door(front: Front) -> tuple[int, float]:
    """Tell on which side the hinge of a door is (+1 at +y) and how far it is open (rad)."""
    if not is_panel(front):
        handle = float(np.median(front.across)) if len(front.across) else -1.0
        return (-1 if handle > 0 else 1), 0.0
    root = front.across[front.out < 0.06]
    hinge = 1 if np.median(root) > 0 else -1
    corner = np.array([0.0, hinge * front.body.size[1] / 2])
    points = np.stack([front.out, front.across], -1) - corner
    reach = np.linalg.norm(points, axis=1)
    out, along = np.median(points[reach > 0.8 * reach.max()], axis=0)
    return hinge, float(np.arctan2(out, -hinge * along))


def whole_box(piece: Piece, front: Front) -> Rectangle:
    """Rectangle around everything along the front's axes; the body's back is its top's back."""
    corners = np.array([(-1, -1), (-1, 1), (1, -1), (1, 1)]) * front.body.size / 2
    corners = front.body.center + corners @ front.body.axes
    return along_axes(np.concatenate([piece.points[:, :2], corners]), front.body.axes[0])
