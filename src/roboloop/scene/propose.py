"""Keypoints of a shape that nobody has named, from points on its surface.

Everything is measured: what sticks out thinly is a handle, what is hollow from above has a rim, and
a symmetry axis is one only if turning the shape about it changes little. The result moves with the
shape: no direction of the world but up is used.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from scipy import ndimage
from scipy.spatial import KDTree

from roboloop import pose
from roboloop.errors import RoboloopError
from roboloop.scene.perceive.outline import Circle, along_axes, fit_circle, smallest_rectangle

MIN_POINTS = 50
CELLS = 90
"""Cells along the longer side of the view from above."""
THIN = 0.5
"""A handle is thinner than this share of the thickest place, seen from above."""
MIN_REACH, REACH_SHARE = 0.008, 0.35
"""A handle sticks out by this much: m, and as a share of the largest inscribed radius."""
HOLLOW, MIN_DEPTH = 0.25, 0.005
"""A vessel's inside lies this far under its rim: share of the height, and m."""
RIM, MIN_RIM = 0.05, 0.0025
"""Points this close under the top are its rim: share of the height, and m."""
FEW, N_SECTORS = 10, 12
"""Points that are too few to tell what the inside looks like; sectors in which a rim is seen."""
ROUND, TURN_SHARE = 0.6, 0.03
"""An outline is round if this share of it lies on a circle; a shape is if, turned, three quarters
of its surface move away from it by less than this share of the radius."""
TURNS = np.deg2rad((-20.0, 20.0, 35.0))
LONG = 1.5
"""A shape has ends if it is so much longer than wide (standard deviations)."""


@dataclass(frozen=True)
class Proposal:
    """What was found on one shape."""

    keypoints: dict[str, Float[np.ndarray, "3"]]
    """`center`, `top`, `bottom`; where there are such: `rim`, `inside`, `handle`, `end_1`,
    `end_2` (the first is the one that tapers)."""
    symmetry_axis: Float[np.ndarray, "3"] | None
    """A point of the upright axis, at the middle height; None for what is not round."""


def propose_keypoints(
    points: Float[np.ndarray, "n 3"], rng: np.random.Generator, base: float | None = None
) -> Proposal:
    """Propose keypoints from points on a surface, z up.

    Args:
        points: Spread evenly over what is seen of the surface, m.
        rng: For robust fits.
        base: Height of what it stands on, where the lowest points may be hidden, m.

    Raises:
        RoboloopError: There are too few points, or they are not finite.
    """
    if len(points) < MIN_POINTS or not np.isfinite(points).all():
        raise RoboloopError(f"no shape: {len(points)} points, wanted {MIN_POINTS} finite ones")
    xy, z = points[:, :2], points[:, 2]
    view = _View.of(xy)
    handle = view.handle()
    body = points[~handle]
    circle = fit_circle(body[:, :2], rng, max(0.0025, 0.015 * float(np.ptp(xy, axis=0).max())))
    is_round = _is_round(body, circle)
    middle = circle.center if is_round else smallest_rectangle(body[:, :2]).center
    low, high = float(z.min()) if base is None else base, float(z.max())
    found = {"top": np.array([*middle, high]), "bottom": np.array([*middle, low])}
    toward = None
    if handle.any():
        found["handle"] = _handle_point(points[handle], middle)
        toward = found["handle"][:2] - middle
        toward /= max(float(np.linalg.norm(toward)), 1e-9)
        whole = along_axes(xy, toward).center
    else:
        whole = middle
    found["center"] = np.array([*whole, (low + high) / 2])
    found |= _hollow(body, view.inner(body[:, :2]), middle, _sideways(xy, middle, toward, is_round))
    found |= _ends(points)
    axis = np.array([*middle, (low + high) / 2]) if is_round else None
    return Proposal(found, axis)


@dataclass(frozen=True)
class _View:
    """The shape seen from above, as a filled grid."""

    xy: Float[np.ndarray, "n 2"]
    low: Float[np.ndarray, "2"]
    cell: float
    depth: Float[np.ndarray, "w h"]
    """How far each cell is from the outline, m; 0 outside."""

    @classmethod
    def of(cls, xy: Float[np.ndarray, "n 2"]) -> "_View":
        n_cells = min(CELLS, np.sqrt(len(xy)))
        cell = max(float(np.ptp(xy, axis=0).max()) / n_cells, 1e-4)
        low = xy.min(0) - 4 * cell
        grid = np.zeros(np.ceil(np.ptp(xy, axis=0) / cell).astype(int) + 9, bool)
        index = ((xy - low) / cell).astype(int)
        grid[index[:, 0], index[:, 1]] = True
        near = ndimage.generate_binary_structure(2, 1)
        grid = ndimage.binary_closing(grid, near, iterations=3)
        grid = ndimage.binary_fill_holes(grid)
        return cls(xy, low, cell, np.asarray(ndimage.distance_transform_edt(grid)) * cell)

    def at(self, grid: np.ndarray, xy: Float[np.ndarray, "n 2"]) -> np.ndarray:
        """A grid's values at points."""
        index = ((xy - self.low) / self.cell).astype(int)
        return grid[index[:, 0], index[:, 1]]

    def inner(self, xy: Float[np.ndarray, "n 2"]) -> Bool[np.ndarray, "n"]:
        """Which points are far from the outline."""
        return self.at(self.depth, xy) > THIN * self.depth.max()

    def handle(self) -> Bool[np.ndarray, "n"]:
        """Which points belong to the longest thin part that sticks out, if there is one."""
        thick = THIN * self.depth.max()
        away = np.asarray(ndimage.distance_transform_edt(self.depth <= thick)) * self.cell
        beyond = np.where(self.depth > 0, away - thick, 0.0)  # out of the opening by a disc
        labels = np.zeros(beyond.shape, np.int32)
        ndimage.label(ndimage.binary_dilation(beyond > self.cell, iterations=2), output=labels)
        n = int(labels.max(initial=0))
        if not n:
            return np.zeros(len(self.xy), bool)
        reach = np.asarray(ndimage.maximum(beyond, labels, np.arange(1, n + 1)))
        if reach.max() < max(MIN_REACH, REACH_SHARE * self.depth.max()):
            return np.zeros(len(self.xy), bool)
        longest = (labels == int(reach.argmax()) + 1) & (beyond > 0)
        return self.at(longest, self.xy)


def _is_round(body: Float[np.ndarray, "n 3"], circle: Circle) -> bool:
    """Whether turning the body about the circle's axis brings it onto itself, nearly."""
    if circle.share < ROUND:
        return False
    centered = body - np.array([*circle.center, 0.0])
    tree = KDTree(centered)
    spacing = tree.query(centered, k=2)[0][:, 1]
    for turn in TURNS:
        moved = tree.query(centered @ pose.yaw_to_matrix(turn).T)[0]
        if np.percentile(moved, 75) - np.percentile(spacing, 75) > TURN_SHARE * circle.radius:
            return False
    return True


def _handle_point(handle: Float[np.ndarray, "n 3"], middle: np.ndarray) -> Float[np.ndarray, "3"]:
    """The middle of the handle's outer half."""
    away = np.linalg.norm(handle[:, :2] - middle, axis=1)
    outer = handle[away >= (away.min() + away.max()) / 2]
    return (outer.min(0) + outer.max(0)) / 2


def _sideways(
    xy: Float[np.ndarray, "n 2"], middle: np.ndarray, toward: np.ndarray | None, is_round: bool
) -> Float[np.ndarray, "2"]:
    """Where the rim is marked: left of a handle, else across; anywhere on what is round."""
    first = xy[0] - middle
    if toward is not None:
        first = np.array([-toward[1], toward[0]])
    elif not is_round:
        box = smallest_rectangle(xy)
        across = box.axes[int(box.size.argmin())]
        first = across if across @ first >= 0 else -across
    length = float(np.linalg.norm(first))
    return first / length if length > 1e-9 else np.array([1.0, 0.0])


def _hollow(
    body: Float[np.ndarray, "n 3"],
    inner: Bool[np.ndarray, "n"],
    middle: np.ndarray,
    side: np.ndarray,
) -> dict[str, Float[np.ndarray, "3"]]:
    """The rim and the floor of what is open from above."""
    z = body[:, 2]
    high, height = float(z.max()), float(np.ptp(z))
    ring = body[(z > high - max(RIM * height, MIN_RIM)) & ~inner]
    offset = ring[:, :2] - middle
    n_seen = inner.sum()
    if n_seen < FEW:  # too deep to be seen: a closed top would be
        turns = np.arctan2(offset[:, 1], offset[:, 0]) % (2 * np.pi)
        sectors = np.unique((turns * N_SECTORS / (2 * np.pi)).astype(int))
        if len(sectors) < 0.75 * N_SECTORS:
            return {}
    elif high - float(np.percentile(z[inner], 97)) < max(HOLLOW * height, MIN_DEPTH):
        return {}
    along, across = offset @ side, offset @ np.array([-side[1], side[0]])
    ahead = along > 4 * np.abs(across)
    if ahead.any():
        rim = float(along[ahead].max()) * side
    else:  # none is seen there: what comes nearest to it
        rim = offset[np.argmax(along / np.maximum(np.linalg.norm(offset, axis=1), 1e-9))]
    found = {"rim": np.array([*(middle + rim), high])}
    if n_seen >= FEW:
        away = np.linalg.norm(body[inner][:, :2] - middle, axis=1)
        floor = float(np.percentile(z[inner][away <= np.percentile(away, 20)], 75))
        found["inside"] = np.array([*middle, floor])
    return found


def _ends(points: Float[np.ndarray, "n 3"]) -> dict[str, Float[np.ndarray, "3"]]:
    """The two ends of a long shape."""
    offset = points - points.mean(0)
    values, axes = np.linalg.eigh(offset.T @ offset)
    if values[2] <= max(LONG**2 * values[1], 1e-12):
        return {}
    along = offset @ axes[:, 2]
    skew = float((along**3).mean()) / float((along**2).mean()) ** 1.5
    along = along * np.sign(skew if abs(skew) > 0.1 else along[0] or 1.0)  # the thin end leads
    span = 0.04 * float(np.ptp(along))
    first, last = along > along.max() - span, along < along.min() + span
    return {"end_1": points[first].mean(0), "end_2": points[last].mean(0)}
