"""What stands on what: the order in which a scene's objects get their places."""

import numpy as np
from jaxtyping import Float

from roboloop import pose
from roboloop.errors import RoboloopError
from roboloop.scene.families import FAMILIES
from roboloop.scene.graph import SceneGraph, SceneObject


def carrier_of(obj: SceneObject) -> str | None:
    """The object that `obj` is on or in, or None for the table."""
    targets = [r.target for r in obj.relations if r.target != "support"]
    return targets[0] if targets else None


def reset_frame(obj: SceneObject, graph: SceneGraph) -> Float[np.ndarray, "4 4"]:
    """Where an object's `Reset` is from: the support, or a keypoint of what carries it."""
    carrier = carrier_of(obj)
    if carrier is None:
        return graph.support.T_world_support
    T_world_carrier = graph.object(carrier).T_world_obj
    p = pose.transform(pose.inverse(T_world_carrier), obj.T_world_obj[:3, 3])
    keypoints = graph.object(carrier).keypoints
    points = [np.array(q) for key, q in keypoints.items() if key.endswith("inside")]
    nearest = min(points, key=lambda q: float(np.linalg.norm(q - p)))
    return T_world_carrier @ pose.from_parts(nearest, np.eye(3))


def targets_first(graph: SceneGraph) -> list[SceneObject]:
    """Objects in an order in which whatever an object stands on comes before it.

    Raises:
        RoboloopError: They stand on each other in a circle.
    """
    ordered: list[SceneObject] = []
    while len(ordered) < len(graph.objects):
        done = {"support", *(o.name for o in ordered)}
        ready = [
            o
            for o in graph.objects
            if o.name not in done and all(r.target in done for r in o.relations)
        ]
        if not ready:
            left = ", ".join(o.name for o in graph.objects if o.name not in done)
            raise RoboloopError(f"objects stand on each other in a circle: {left}")
        # furniture first: it has the least freedom
        ordered += sorted(ready, key=lambda o: not FAMILIES[o.category].static)
    return ordered
