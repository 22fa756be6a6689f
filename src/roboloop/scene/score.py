"""Score a reconstructed scene against the ground truth of a simulated capture.

`truth.json` lists the objects with the box around each in the world (`aabb_min`, `aabb_max`) and
the pixels it has in the image. Perception never reads it.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy.optimize import linear_sum_assignment

from roboloop import pose
from roboloop.errors import RoboloopError
from roboloop.scene.graph import SceneGraph, SceneObject

SUPPORTS = ("table", "floor", "wall")
MIN_PIXELS = 50
"""Objects with fewer pixels in the image cannot be asked for."""
MATCH_DISTANCE = 0.10
"""A found object is the true one when their boxes overlap or their centres are this near, m."""

# Words in the names of true objects -> categories that are right for them. First match counts.
WORDS: dict[str, tuple[str, ...]] = {
    "moka_pot": ("pot",),
    "frypan": ("pan",),
    "pan": ("pan",),
    "cookie": ("box",),
    "cream_cheese": ("box",),
    "chocolate_pudding": ("box",),
    "butter": ("box",),
    "macaroni": ("box",),
    "popcorn": ("box",),
    "milk": ("box",),
    "orange_juice": ("box",),
    "book": ("box",),
    "alphabet_soup": ("can",),
    "tomato_sauce": ("can",),
    "ketchup": ("bottle",),
    "bbq_sauce": ("bottle",),
    "salad_dressing": ("bottle",),
    "bottle": ("bottle",),
    "drainer": ("rack",),
    "bowl": ("bowl",),
    "ramekin": ("bowl",),
    "plate": ("plate",),
    "mug": ("mug",),
    "basket": ("basket",),
    "caddy": ("basket", "tray"),
    "storage_box": ("basket", "tray"),
    "tray": ("tray", "basket"),
    "shelf": ("rack",),
    "rack": ("rack",),
    "cabinet": ("drawer_cabinet",),
    "microwave": ("microwave",),
    "stove": ("stove",),
}


@dataclass(frozen=True)
class ObjectScore:
    """How well one true object was found."""

    truth: str
    found: str | None
    category: str | None
    category_correct: bool
    position_error: float | None
    """Distance of the box centres, m."""
    box_iou: float
    centered_iou: float
    """Overlap of the boxes moved to the same centre: size and yaw alone."""


def score(scene: SceneGraph | Path | str, capture: Path | str) -> dict[str, Any]:
    """Compare a scene with the truth of its capture.

    Args:
        scene: A scene graph, a folder with `scene.json`, or a folder with `twin/scene.json`.
        capture: The capture's folder, with `truth.json`.

    Returns:
        Counts `found missed false`, medians `position_error` (m) `box_iou centered_iou`,
        `category_accuracy`, and per-object records under `objects`; plain JSON values.

    Raises:
        RoboloopError: The capture has no ground truth.
    """
    graph = scene if isinstance(scene, SceneGraph) else load_graph(Path(scene))
    truth = read_truth(Path(capture))
    boxes = [object_box(obj) for obj in graph.objects]
    true_boxes = [np.array([t["aabb_min"], t["aabb_max"]]) for t in truth]
    pairs = match(true_boxes, boxes)
    asked = [i for i, t in enumerate(truth) if t["pixels"] >= MIN_PIXELS]
    rows = []
    for i in asked:
        j = pairs.get(i)
        obj = graph.objects[j] if j is not None else None
        found = boxes[j] if j is not None else None
        rows.append(score_object(truth[i]["name"], true_boxes[i], obj, found))
    matched = set(pairs.values())
    false = [obj.name for j, obj in enumerate(graph.objects) if j not in matched]
    hits = [row for row in rows if row.found is not None]
    return {
        "found": len(hits),
        "missed": [row.truth for row in rows if row.found is None],
        "false": false,
        "position_error": median([row.position_error for row in hits]),
        "box_iou": median([row.box_iou for row in hits]),
        "centered_iou": median([row.centered_iou for row in hits]),
        "category_accuracy": float(np.mean([row.category_correct for row in rows]))
        if rows
        else 1.0,
        "objects": [asdict(row) for row in rows],
    }


def load_graph(folder: Path) -> SceneGraph:
    """Read a scene folder or the twin of a folder of scenes."""
    from roboloop.scene.folder import read_scene

    return read_scene(folder if (folder / "scene.json").exists() else folder / "twin")


def read_truth(folder: Path) -> list[dict[str, Any]]:
    """Read the true objects of a capture without the support."""
    path = folder / "truth.json"
    if not path.exists():
        hint = "only simulated captures can be scored; look at preview.png for others"
        raise RoboloopError("the capture has no ground truth (truth.json)", hint, folder)
    try:
        objects = json.loads(path.read_text())["objects"]
    except (ValueError, KeyError, TypeError) as error:
        raise RoboloopError("truth.json cannot be read", str(error), path) from error
    return [t for t in objects if not is_support(t["name"])]


def is_support(name: str) -> bool:
    """Tell whether a true object is the table or the room."""
    return any(word in SUPPORTS for word in name.lower().split("_"))


def object_box(obj: SceneObject) -> Float[np.ndarray, "2 3"]:
    """Lowest and highest corner of the world-aligned box around an object's own box."""
    signs = np.array(np.meshgrid(*[(-0.5, 0.5)] * 3)).reshape(3, -1).T
    corners = pose.transform(obj.T_world_obj, signs * np.array(obj.size))
    return np.stack([corners.min(0), corners.max(0)])


def iou(a: Float[np.ndarray, "2 3"], b: Float[np.ndarray, "2 3"]) -> float:
    """Intersection over union of two boxes."""
    overlap = np.clip(np.minimum(a[1], b[1]) - np.maximum(a[0], b[0]), 0, None).prod()
    return float(overlap / ((a[1] - a[0]).prod() + (b[1] - b[0]).prod() - overlap))


def match(
    truth: Sequence[Float[np.ndarray, "2 3"]], found: Sequence[Float[np.ndarray, "2 3"]]
) -> dict[int, int]:
    """Pair true with found boxes so that overlap is largest and distance smallest in sum."""
    if not truth or not found:
        return {}
    overlap = np.array([[iou(a, b) for b in found] for a in truth])
    distance = np.array([[np.linalg.norm(a.mean(0) - b.mean(0)) for b in found] for a in truth])
    possible = (overlap > 0.05) | (distance < MATCH_DISTANCE)
    gain = np.where(possible, 1 + overlap - np.minimum(distance, 1), 0.0)
    rows, columns = linear_sum_assignment(-gain)
    return {int(i): int(j) for i, j in zip(rows, columns, strict=True) if possible[i, j]}


def score_object(
    name: str,
    true_box: Float[np.ndarray, "2 3"],
    obj: SceneObject | None,
    box: Float[np.ndarray, "2 3"] | None,
) -> ObjectScore:
    """Score one true object and what was found for it."""
    if obj is None or box is None:
        return ObjectScore(name, None, None, False, None, 0.0, 0.0)
    shift = true_box.mean(0) - box.mean(0)
    return ObjectScore(
        truth=name,
        found=obj.name,
        category=obj.category,
        category_correct=obj.category in right_categories(name),
        position_error=float(np.linalg.norm(shift)),
        box_iou=iou(true_box, box),
        centered_iou=iou(true_box, box + shift),
    )


def right_categories(name: str) -> tuple[str, ...]:
    """Categories that are right for a true object's name."""
    return next((right for word, right in WORDS.items() if word in name.lower()), ())


def median(values: Sequence[float | None]) -> float | None:
    """Median of what is there, None when nothing is."""
    known = [v for v in values if v is not None]
    return float(np.median(known)) if known else None
