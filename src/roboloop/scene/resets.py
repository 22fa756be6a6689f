"""Reset distributions: the same things drawn elsewhere, from ranges that the scene names."""

from dataclasses import replace

import numpy as np
from jaxtyping import Float

from roboloop import pose
from roboloop.errors import RoboloopError
from roboloop.scene.carriers import carrier_of, reset_frame, targets_first
from roboloop.scene.footprint import gap
from roboloop.scene.graph import SceneGraph, SceneObject

N_TRIES = 1000
GAP = 0.005
"""Free space between objects that stand side by side, seen from above, m."""


def has_resets(graph: SceneGraph) -> bool:
    """Whether any object of a scene names where it may stand."""
    return any(obj.reset for obj in graph.objects)


def draw_reset(twin: SceneGraph, seed: np.random.SeedSequence) -> SceneGraph:
    """Draw where the objects of a scene stand, until no two of them overlap.

    What names no ranges stays where it is, or goes along with what carries it. Heights are those
    of the twin, which has come to rest, so a drawn scene needs no settling.

    Raises:
        RoboloopError: None of many tries has room for everything.
    """
    rng = np.random.default_rng(seed)
    for _ in range(N_TRIES):
        placed: dict[str, SceneObject] = {}
        for obj in targets_first(twin):
            placed[obj.name] = replace(obj, T_world_obj=_place(obj, twin, placed, rng))
        if _apart(twin, placed):
            objects = tuple(placed[obj.name] for obj in twin.objects)
            return replace(twin, objects=objects, source=f"reset of {twin.source}")
    raise RoboloopError(
        f"no room for the scene's objects within their ranges in {N_TRIES} tries",
        "ranges that overlap less, or smaller objects",
    )


def _place(
    obj: SceneObject, twin: SceneGraph, placed: dict[str, SceneObject], rng: np.random.Generator
) -> Float[np.ndarray, "4 4"]:
    carrier = carrier_of(obj)
    old = twin.support.T_world_support if carrier is None else twin.object(carrier).T_world_obj
    new = old if carrier is None else placed[carrier].T_world_obj
    T = pose.inverse(old) @ obj.T_world_obj  # in the frame of what carries it
    if obj.reset is not None:
        x, y = rng.uniform(*obj.reset.x), rng.uniform(*obj.reset.y)
        middle = (pose.inverse(old) @ reset_frame(obj, twin))[:2, 3]
        turned = rng.uniform(*obj.reset.yaw) - np.arctan2(T[1, 0], T[0, 0])
        T[:3, :3] = pose.yaw_to_matrix(turned) @ T[:3, :3]
        T[:2, 3] = middle + (x, y)
    return new @ T


def _apart(twin: SceneGraph, placed: dict[str, SceneObject]) -> bool:
    """Whether objects side by side on the table, or in one thing, keep apart.

    Unless they are closer in the twin.
    """
    names = list(placed)
    pairs = [(a, b) for i, a in enumerate(names) for b in names[:i]]
    return all(
        (free := gap(placed[a], placed[b])) > GAP
        or free > gap(twin.object(a), twin.object(b)) - 1e-6
        for a, b in pairs
        if (placed[a].reset or placed[b].reset) and carrier_of(placed[a]) == carrier_of(placed[b])
    )
