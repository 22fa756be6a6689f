"""Regions joined to objects: parts that cannot stand alone go to what they are part of.

Depth separates an object into regions where it hides parts of itself. A region is an object of its
own when it stands on the support or on a flat top, or when something nearer hides its foot. The
rest floats, and floating things are parts: handles, drawers, doors, boards.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import ndimage, sparse
from scipy.sparse import csgraph
from scipy.spatial import KDTree

from roboloop.scene.perceive.cloud import Cloud
from roboloop.scene.perceive.outline import contains, face_direction, hull_of, smallest_rectangle
from roboloop.scene.perceive.segment import MIN_PIXELS
from roboloop.scene.perceive.support import Plane

GROUND = 0.03  # a region that reaches below this height stands on the support, m
FLOATS = 0.009  # things whose lowest points are higher over the support float, m
FAR = 0.12  # a part that floats over its object is at most this far from it, m
NEAR = 0.05  # another floating part is at most this far from its object, m
TOUCH = 0.03  # a small bit is at most this far from what it belongs to, m
FLAT = 0.95  # cosine of a normal that faces up
OBLIQUE = (0.25, 0.93)  # cosines of the normal of a board that leans


@dataclass(frozen=True)
class Piece:
    """A set of pixels with their points and normals."""

    mask: Bool[np.ndarray, "h w"]
    points: Float[np.ndarray, "n 3"]
    normals: Float[np.ndarray, "n 3"]
    base: float = 0.0
    """Height of what it stands on, world z, m."""
    below: int = -1
    """Index of the piece it stands on, -1 for the support."""

    @property
    def heights(self) -> Float[np.ndarray, "n"]:
        """Heights over what it stands on, m."""
        return self.points[:, 2] - self.base

    @property
    def top(self) -> float:
        """Height of its highest points over its base, m."""
        return float(np.percentile(self.heights, 99.7))


def piece_of(cloud: Cloud, mask: Bool[np.ndarray, "h w"], base: float, below: int = -1) -> Piece:
    """Cut the pixels of a mask out of a cloud."""
    return Piece(mask, cloud.points[mask], cloud.normals[mask], base, below)


def find_pieces(
    cloud: Cloud, labels: Int[np.ndarray, "h w"], plane: Plane, p_camera: Float[np.ndarray, "3"]
) -> list[Piece]:
    """Join labelled regions to objects; those outside of the support's outline are background."""
    masks = [labels == i for i in range(1, labels.max() + 1)]
    masks = [m for m in masks if plane.holds(cloud.points[m][:, :2]).mean() > 0.5]
    masks.sort(key=lambda m: -m.sum())
    if not masks:
        return []
    ground = rest_level([piece_of(cloud, mask, plane.height) for mask in masks], plane.height)
    regions = [piece_of(cloud, mask, ground) for mask in masks]
    around = Neighbours(cloud, regions, p_camera)
    owners = [owner(i, regions, around) for i in range(len(regions))]
    groups = joined([parent for parent, _ in owners])
    kept = [g for g in groups if is_thing(np.any([masks[i] for i in g], axis=0))]
    number = {i: k for k, group in enumerate(kept) for i in group}
    out = []
    for k, group in enumerate(kept):
        mask = np.any([masks[i] for i in group], axis=0)
        carrier = next((owners[i][1] for i in group if number.get(owners[i][1], k) != k), -1)
        base = ground_level(regions[group[0]], regions[carrier]) if carrier >= 0 else ground
        out.append(piece_of(cloud, mask, base, number.get(carrier, -1)))
    return out


def joined(parents: list[int]) -> list[list[int]]:
    """Groups of regions that are parts of each other, each with its largest region first."""
    pairs = [(i, parent) for i, parent in enumerate(parents) if parent >= 0]
    row, col = np.array(pairs, int).reshape(-1, 2).T
    graph = sparse.coo_matrix((np.ones(len(row)), (row, col)), shape=(len(parents),) * 2)
    labels = csgraph.connected_components(graph, directed=False)[1]
    return [np.flatnonzero(labels == k).tolist() for k in dict.fromkeys(labels.tolist())]


def is_thing(mask: Bool[np.ndarray, "h w"]) -> bool:
    """Tell whether pixels are enough for an object: more are asked of what the image cuts off."""
    border = mask[0].any() or mask[-1].any() or mask[:, 0].any() or mask[:, -1].any()
    return bool(mask.sum() >= MIN_PIXELS * (8 if border else 1))


def rest_level(regions: list[Piece], plane_height: float) -> float:
    """Height at which things stand: the plane's, unless all of them float at one level over it.

    Rendered tables are sometimes lower than the surface that things rest on, and depth of a
    shiny table is too large.
    """
    lowest = [float(np.percentile(r.heights, 0.5)) for r in regions if len(r.points) > MIN_PIXELS]
    floats = len(lowest) > 1 and min(lowest) > FLOATS
    return plane_height + min(lowest) if floats else plane_height


def ground_level(region: Piece, other: Piece) -> float:
    """Height of the flat ground of a region that another one stands on, world z, m."""
    floor = region.points[:, 2].min()
    flat = other.points[(other.normals[:, 2] > FLAT) & (other.points[:, 2] < floor + 0.006)]
    near = np.linalg.norm(flat[:, :2] - np.median(region.points[:, :2], axis=0), axis=1)
    if len(flat) < 10:
        return float(floor)
    level = np.median(flat[near <= np.percentile(near, 30)][:, 2])
    return float(min(level, floor))


class Neighbours:
    """Which regions hide which: the regions around a region, by pixel."""

    def __init__(
        self, cloud: Cloud, regions: list[Piece], p_camera: Float[np.ndarray, "3"]
    ) -> None:
        self.labels = np.full(cloud.valid.shape, -1)
        for i, region in enumerate(regions):
            self.labels[region.mask] = i
        self.distance = np.linalg.norm(cloud.points - p_camera, axis=-1)
        self.heights = cloud.points[..., 2]
        self.trees = [KDTree(r.points[:: max(len(r.points) // 3000, 1)]) for r in regions]

    def gaps(self, i: int, region: Piece) -> dict[int, float]:
        """Distance in space of a region to every other one, m; nearest first."""
        points = region.points[:: max(len(region.points) // 3000, 1)]
        found = {j: tree.query(points)[0].min() for j, tree in enumerate(self.trees) if j != i}
        return dict(sorted(found.items(), key=lambda item: item[1]))

    def hidden_foot(self, region: Piece) -> tuple[float, int]:
        """Share of the lower outline that something nearer covers, and what covers most of it."""
        under = ndimage.shift(region.mask, (1, 0), order=0) & ~region.mask
        v, u = np.nonzero(under)
        low = self.heights[v - 1, u] < np.percentile(region.points[:, 2], 50)
        v, u = v[low], u[low]
        covered = (self.labels[v, u] >= 0) & (self.distance[v, u] < self.distance[v - 1, u] - 0.004)
        if not covered.any():
            return 0.0, -1
        return float(covered.mean()), int(np.bincount(self.labels[v, u][covered]).argmax())


def owner(i: int, regions: list[Piece], around: Neighbours) -> tuple[int, int]:
    """Return (the region that this one is part of, the region it stands on), -1 for none."""
    region = regions[i]
    gaps = around.gaps(i, region)
    hidden, by = around.hidden_foot(region)
    for j, gap in gaps.items():
        if is_bit(region, regions[j], gap, hidden > 0.7 and by == j):
            return j, -1
    if not is_oblique(region) and region.heights.min() > GROUND / 2:
        for j, gap in gaps.items():
            if gap < NEAR and (stands_on(region, regions[j]) or covers(region, regions[j])):
                return -1, j
    for j, gap in gaps.items():
        if is_door(region, regions[j], gap) or is_knob(region, regions[j], gap):
            return j, -1
    if (region.heights < GROUND).sum() >= 12:
        return -1, -1
    if hidden > 0.5 and not inside(region, regions[by]) and not flush(region, regions[by]):
        return -1, -1
    lower = {
        j: gap
        for j, gap in gaps.items()
        if len(regions[j].points) >= MIN_PIXELS
        and regions[j].heights.min() < region.heights.min() + 0.01
    }
    over = [j for j, gap in lower.items() if gap < FAR and overlap(region, regions[j]) > 0.3]
    close = over or [j for j, gap in lower.items() if gap < NEAR or flush(region, regions[j])]
    return (close[0], -1) if close else (-1, -1)


def is_bit(region: Piece, other: Piece, gap: float, hidden: bool) -> bool:
    """Tell whether a region is a small bit of another one that depth cut off."""
    count, most = len(region.points), len(other.points)
    if count > 0.6 * most or gap > FAR:
        return False
    tiny = count < 4 * MIN_PIXELS
    if tiny and gap < NEAR and (hidden or (inside(region, other) and count < 2.5 * MIN_PIXELS)):
        return True
    if count < 2.5 * MIN_PIXELS and is_oblique(region) and inside(region, other):
        return True
    if stands_on(region, other) or covers(other, region):
        return False
    floats = region.heights.min() > 0.01
    if gap < 0.006 and floats:
        return True
    if count > 0.35 * most:
        return False
    thin = np.ptp(np.percentile(region.heights, (2, 98))) < 0.012
    touches = gap < 0.004 or (gap < 0.008 and (tiny or floats)) or (gap < 0.02 and tiny and floats)
    flush = gap < TOUCH and (thin or tiny) and inside(region, other)
    return touches or flush or (tiny and same_top(region, other))


def same_top(a: Piece, b: Piece) -> bool:
    """Tell whether two regions are bits of one flat top, cut by something in front of it."""
    tops = [p.heights[p.normals[:, 2] > FLAT] for p in (a, b)]
    flat = all(len(top) > 0.5 * len(p.points) for top, p in zip(tops, (a, b), strict=True))
    return flat and abs(np.median(tops[0]) - np.median(tops[1])) < 0.003


def is_door(region: Piece, other: Piece, gap: float) -> bool:
    """Tell whether a region is an upright panel as high as the box next to it: its open door."""
    if gap > 0.02 or abs(region.top - other.top) > 0.2 * other.top or other.top < 0.12:
        return False
    box = smallest_rectangle(region.points[:, :2])
    upright = np.median(np.abs(region.normals[:, 2])) < 0.2
    return bool(upright and box.size.min() < 0.07 and box.size.max() > 0.12)


def is_knob(region: Piece, slab: Piece, gap: float) -> bool:
    """Tell whether a region is the knob of the flat slab next to it: a stove's."""
    if gap > 0.03 or not 0.03 < slab.top < 0.075 or region.top > 0.1:
        return False
    box = smallest_rectangle(slab.points[:, :2])
    flat = (slab.normals[:, 2] > FLAT).mean()
    if flat < 0.5 or box.size.max() < 0.1 or np.ptp(region.points[:, :2], axis=0).max() > 0.12:
        return False
    center = np.abs(
        box.local((region.points[:, :2].min(0) + region.points[:, :2].max(0))[None] / 2)
    )
    return bool((center < 0.45 * box.size).any())


def covers(region: Piece, other: Piece) -> bool:
    """Tell whether a region hangs over a lower one that carries it: a bowl over a small box."""
    floor = region.points[:, 2].min()
    if region.heights.min() < GROUND / 2 or len(other.points) < 2.5 * MIN_PIXELS:
        return False
    gap = floor - other.points[:, 2].max()
    return bool(-0.004 < gap < 0.012 and inside(other, region))


def overlap(a: Piece, b: Piece) -> float:
    """Share of one outline in the other, seen from above; the larger of both ways."""
    return max(
        float(contains(hull_of(p.points[:, :2]), q.points[:, :2], 0.015).mean())
        for p, q in ((a, b), (b, a))
    )


def inside(region: Piece, other: Piece) -> bool:
    """Tell whether a region lies in another one's outline seen from above."""
    hull = hull_of(other.points[:, :2])
    return bool(contains(hull, region.points[:, :2], 0.015).mean() > 0.7)


def flush(a: Piece, b: Piece) -> bool:
    """Tell whether two regions end at the same lines on both sides: faces of one large box."""
    direction, share = face_direction(np.concatenate([a.normals, b.normals]))
    if share < 0.5:
        return False
    axes = np.array(
        [[np.cos(direction), np.sin(direction)], [-np.sin(direction), np.cos(direction)]]
    )
    ends = [np.percentile(p.points[:, :2] @ axes.T, (1, 99), axis=0) for p in (a, b)]
    same = (np.abs(ends[0] - ends[1]) < 0.01).all(0) & (np.ptp(ends[0], axis=0) > 0.1)
    return bool(same.any())


def is_oblique(region: Piece) -> bool:
    """Tell whether a region is mostly one leaning board."""
    return leaning_share(region.normals) > 0.6 and planar_share(region) > 0.6


def leaning_share(normals: Float[np.ndarray, "n 3"]) -> float:
    """Share of the normals that belong to surfaces neither level nor upright."""
    up = np.abs(normals[:, 2])
    return float(((up > OBLIQUE[0]) & (up < OBLIQUE[1])).mean())


def planar_share(region: Piece) -> float:
    """Share of the points on the plane of the median normal."""
    normal = np.median(region.normals, axis=0)
    normal /= max(np.linalg.norm(normal), 1e-9)
    offset = region.points @ normal
    return float((np.abs(offset - np.median(offset)) < 0.01).mean())


def stands_on(region: Piece, other: Piece) -> bool:
    """Tell whether flat ground of another region reaches under or around a region's foot."""
    floor = np.percentile(region.points[:, 2], 1)
    flat = other.points[other.normals[:, 2] > FLAT]
    flat = flat[(flat[:, 2] < floor + 0.006) & (flat[:, 2] > floor - 0.04)]
    if len(flat) < 30 or np.ptp(np.percentile(region.heights, (1, 99))) < 0.012:
        return False
    foot = region.points[region.points[:, 2] < floor + 0.02]
    center = np.median(region.points[:, :2], axis=0)
    reach = np.linalg.norm(region.points[:, :2] - center, axis=1).max() + 0.03
    around = flat[np.linalg.norm(flat[:, :2] - center, axis=1) < reach]
    if len(around) < 30 or len(foot) == 0:
        return False
    level = np.median(around[:, 2])
    around = around[np.abs(around[:, 2] - level) < 0.006]
    hull = hull_of(around[:, :2])
    return bool(contains(hull, region.points[:, :2], 0.02).mean() > 0.6)
