"""Task kinds: what "put A on B", "put A in B", "open A" and "close A" mean as constraints."""

from collections.abc import Callable
from dataclasses import dataclass

from roboloop.errors import RoboloopError
from roboloop.scene.graph import SceneObject
from roboloop.task.spec import Stage

UPRIGHT = "norm(xy(object.top - object.bottom)) < 0.3 * norm(object.top - object.bottom)"
"""The object leans by less than about 17 degrees."""
OPEN_SHARE, CLOSED_SHARE = 0.6, 0.1
"""Of a joint's range: above the first it counts as open, below the second as closed."""


def hand_clear(of: str) -> str:
    """Write that the hand has let go.

    Of a role: it is 3 cm above its top or 15 cm beside its middle. Of a handle (`role.keypoint`):
    it is 6 cm away.
    """
    if "." in of:
        return f"norm(robot.eef - {of}) > 0.06"
    return f"max(z(robot.eef - {of}.top), norm(xy(robot.eef - {of}.center)) - 0.12) > 0.03"


def handle_of(object_: SceneObject, joint: str) -> str:
    """The keypoint by which a joint is moved."""
    return next(k for k in (f"{joint}_handle", "handle", joint) if k in object_.keypoints)


@dataclass(frozen=True)
class Kind:
    """A task kind: the roles that a sentence has to name, and what to do with them."""

    roles: tuple[str, ...]
    stages: Callable[..., tuple[tuple[Stage, ...], tuple[str, ...]]]
    """Objects and the joint's name (or None) -> stages and success constraints."""


def _put(object_: SceneObject, target: SceneObject, keypoint: str, reach: str) -> tuple:
    goal, clear = f"target.{keypoint}", hand_clear("object")
    stages = (
        Stage("grasp", reference="object", grasp="object"),
        Stage(
            "place",
            reference=goal,
            release="object",
            subgoal=(
                f"norm(xy(object.bottom - {goal})) < 0.005",
                f"z(object.bottom - {goal}) < 0.012",
                f"z(object.bottom - {goal}) > 0.006",
                UPRIGHT,
            ),
            path=(UPRIGHT,),
        ),
        Stage("retreat", reference=goal, subgoal=(clear,)),
    )
    return stages, (reach, f"abs(z(object.bottom - {goal})) < 0.03", UPRIGHT, clear)


def _put_on(object_: SceneObject, target: SceneObject, joint: str | None) -> tuple:
    keypoint = next(k for k in ("burner", "inside", "top") if k in target.keypoints)
    radius = 0.3 * min(target.size[:2])
    reach = f"norm(xy(object.bottom - target.{keypoint})) < {radius:.3f}"
    return _put(object_, target, keypoint, reach)


def _put_in(object_: SceneObject, target: SceneObject, joint: str | None) -> tuple:
    keypoint = f"{joint}_inside" if joint else "inside"
    if keypoint not in target.keypoints:
        raise RoboloopError(
            f"nothing can be put in `{target.name}` ({target.category})", "say `on` instead of `in`"
        )
    half = 0.45 * min(target.size[:2])
    reach = f"norm(xy(object.bottom - target.{keypoint})) < {half:.3f}"
    return _put(object_, target, keypoint, reach)


def _move_joint(target: SceneObject, joint: str | None, word: str) -> tuple:
    moved = next(j for j in target.joints if j.name == joint)
    low, high = moved.range
    if word == "open":
        goal = f"joint(target.{joint}) > {low + 0.8 * (high - low):.3f}"
        done = f"joint(target.{joint}) > {low + OPEN_SHARE * (high - low):.3f}"
    else:
        goal = f"joint(target.{joint}) < {low + 0.03 * (high - low):.3f}"
        done = f"joint(target.{joint}) < {low + CLOSED_SHARE * (high - low):.3f}"
    handle = f"target.{handle_of(target, moved.name)}"
    clear = hand_clear(handle)
    stages = (
        Stage("grasp", reference=handle, grasp=handle),
        Stage(word, reference=handle, release=handle, subgoal=(goal,)),
        Stage("retreat", reference=handle, subgoal=(clear,)),
    )
    return stages, (done, clear)


def _open(target: SceneObject, joint: str | None) -> tuple:
    return _move_joint(target, joint, "open")


def _close(target: SceneObject, joint: str | None) -> tuple:
    return _move_joint(target, joint, "close")


KINDS: dict[str, Kind] = {
    "put_on": Kind(("object", "target"), _put_on),
    "put_in": Kind(("object", "target"), _put_in),
    "open": Kind(("target",), _open),
    "close": Kind(("target",), _close),
}
