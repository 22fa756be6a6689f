"""What stands on what: the order in which a scene's objects get their places."""

from roboloop.errors import RoboloopError
from roboloop.scene.families import FAMILIES
from roboloop.scene.graph import SceneGraph, SceneObject


def carrier_of(obj: SceneObject) -> str | None:
    """The object that `obj` is on or in, or None for the table."""
    targets = [r.target for r in obj.relations if r.target != "support"]
    return targets[0] if targets else None


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
