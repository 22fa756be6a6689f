"""What it means to fit things together: nut over peg, plug into socket, needle through ring."""

from collections.abc import Mapping

from roboloop.scene.graph import SceneObject
from roboloop.task.spec import Stage

Steps = tuple[tuple[Stage, ...], tuple[str, ...]]
"""Stages, and what holds at the end."""

_UPRIGHT = "z(unit(object.top - object.bottom)) > 0.9995"
"""The object leans by less than two degrees."""
_LEVEL = "z(unit(object.top - object.bottom)) > 0.995"
"""By less than 6 degrees: it is not stuck on the way."""
_SIDE = "unit(object.edge_x - object.top)"
_SQUARED = (
    f"abs(dot({_SIDE}, unit(target.edge_x - target.top))"
    f" * dot({_SIDE}, unit(target.edge_y - target.top))) < 0.02"
)
"""Sides of the object are parallel to sides of the target, within about a degree."""
_ALONG = "abs(dot(unit(object.tip - object.end), unit(target.ring_front - target.ring_back)))"
"""1 where the needle and the ring's axis are parallel, either way round."""
CALM = 0.3
"""The hand waits so long before it lets go, s: arms lag behind where they are sent."""
LEAST_DROP = 0.003
"""A plug is let go of so much above the pocket's floor at least, m."""
FALL_SHARE = 0.4
"""How far a plug may fall where the hand has no room, share of its stem: the rest guides it."""
AHEAD = 0.03
"""How far before a ring a needle's tip is lined up with it, m."""


def hand_off(keypoint: str) -> str:
    """Write that the hand has let go: it is 6 cm away from a keypoint of the object."""
    return f"norm(robot.eef - object.{keypoint}) > 0.06"


def put_over(roles: Mapping[str, SceneObject]) -> Steps:
    """Put a nut over a peg: it is lowered a little over the peg's end, and falls."""
    squared = (_SQUARED,) if "edge_y" in roles["target"].keypoints else ()
    hand = hand_off("handle")
    stages = (
        Stage("grasp", reference="object", grasp="object.handle"),
        Stage(
            "put_over",
            reference="target.top",
            release="object.handle",
            dwell=CALM,
            subgoal=(
                "norm(xy(object.bottom - target.top)) < 0.002",
                "z(object.bottom - target.top) < -0.030",
                "z(object.bottom - target.top) > -0.038",
                _UPRIGHT,
                *squared,
            ),
        ),
        Stage("retreat", reference="target.top", subgoal=(hand,)),
    )
    success = (
        "norm(xy(object.bottom - target.bottom)) < 0.02",
        "z(object.bottom - target.bottom) < 0.02",
        _LEVEL,
        hand,
    )
    return stages, success


def plug_in(roles: Mapping[str, SceneObject]) -> Steps:
    """Put a plug's stem into a pocket, or a pod into its cup: let go of, it sinks in."""
    object_, target = roles["object"], roles["target"]
    top, head = (object_.keypoints[key][2] for key in ("top", "head"))
    stem = object_.size[2] - 2 * (top - head)
    depth = target.keypoints["top"][2] - target.keypoints["pocket"][2]
    low = max(LEAST_DROP, depth - stem)
    squared = (_SQUARED,) if "edge_y" in object_.keypoints else ()
    hand = hand_off("head")
    stages = (
        Stage("grasp", reference="object", grasp="object.head"),
        Stage(
            "insert",
            reference="target.pocket",
            release="object.head",
            dwell=CALM,
            subgoal=(
                "norm(xy(object.bottom - target.pocket)) < 0.001",
                f"z(object.bottom - target.pocket) < {low + 0.005:.4f}",
                f"z(object.bottom - target.pocket) > {low:.4f}",
                _UPRIGHT,
                *squared,
            ),
            drop=FALL_SHARE * stem,
        ),
        Stage("retreat", reference="target.pocket", subgoal=(hand,)),
    )
    success = (
        "norm(xy(object.bottom - target.pocket)) < 0.01",
        "z(object.bottom - target.pocket) < 0.006",
        _LEVEL,
        hand,
    )
    return stages, success


def thread(roles: Mapping[str, SceneObject]) -> Steps:
    """Put a needle through a ring, up to its middle, and let go."""
    inner = roles["target"].params["ring"] / 2
    aimed = f"object.tip + {AHEAD} * unit(object.tip - object.end)"
    hand = hand_off("handle")
    along = f"{_ALONG} > 0.9995"
    stages = (
        Stage("grasp", reference="object", grasp="object.handle"),
        Stage(
            "line_up",
            reference="target.ring",
            dwell=CALM,
            subgoal=(f"norm({aimed} - target.ring) < 0.002", along),
        ),
        Stage(
            "thread",
            reference="target.ring",
            release="object.handle",
            dwell=CALM,
            subgoal=("norm(object.middle - target.ring) < 0.003", along),
            path=(f"{_ALONG} > 0.98",),
        ),
        Stage("retreat", reference="target.ring", subgoal=(hand,)),
    )
    success = (f"norm(object.middle - target.ring) < {inner:.3f}", f"{_ALONG} > 0.7", hand)
    return stages, success
