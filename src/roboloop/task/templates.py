"""Task kinds: what "put A on B", "open A" or "pour A into B" mean as stages and constraints."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from roboloop.errors import RoboloopError
from roboloop.scene.graph import SceneObject
from roboloop.task import fitting
from roboloop.task.spec import Stage

UPRIGHT = "norm(xy(object.top - object.bottom)) < 0.3 * norm(object.top - object.bottom)"
"""The object leans by less than about 17 degrees."""
STRAIGHT = "z(unit(object.top - object.bottom)) > 0.998"
"""By less than about 4 degrees."""
TILTED = "z(unit(object.top - object.bottom)) < -0.4"
"""The object's mouth points down, by 24 degrees or more."""
SPILLS = "0.2 * norm(object.top - object.bottom) - z(object.top - object.bottom)"
"""Positive where the object is tilted so far that things may leave it, by 78 degrees or more, m."""
LANDING = "object.top + 0.15 * (object.top - object.bottom)"
"""Below this, about, lands what leaves the tilted object."""
DROP, DROP_SHARE = 0.04, 0.5
"""How far things may fall into a hollow one, m and share of its depth; poured ones, m."""
CATCH_UP = 0.2
"""How long a hand waits for its arm to come after, before it lets go or leaves, s."""
LEVELS = {
    "open": (">", 0.8, 0.6),
    "close": ("<", 0.03, 0.05),
    "press": (">", 0.95, 0.7),
    "turn_on": (">", 0.65, 0.5),
    "turn_off": ("<", 0.2, 0.3),
}
"""For each kind that moves a joint: which way, the share of its range that is aimed at, and the one
from which it counts as done."""


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
class Plan:
    """What to do, and when it is done."""

    stages: tuple[Stage, ...]
    success: tuple[str, ...]
    places: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Of two arms, what each has to reach: `role.keypoint` where they are now, by arm."""
    milestones: tuple[tuple[str, ...], ...] = ()
    """See `Task.milestones`."""


@dataclass(frozen=True)
class Kind:
    """A task kind: the roles that a sentence has to name, and what to do with them."""

    roles: tuple[str, ...]
    plan: Callable[[Mapping[str, SceneObject], str | None], Plan]
    """Objects by role, and the joint's name (or None) -> what to do."""


def _put_on(roles: Mapping[str, SceneObject], joint: str | None) -> Plan:
    target = roles["target"]
    if "hole" in roles["object"].keypoints and "pin" in target.keypoints:
        return Plan(*fitting.put_over(roles))
    keypoint = next(k for k in ("burner", "base", "inside", "top") if k in target.keypoints)
    if keypoint == "base":  # with something over it, from which a leaning thing would keep away
        return _put(roles["object"], keypoint, 0.3 * min(target.size[:2]), upright=STRAIGHT)
    share = 0.45 if keypoint == "top" else 0.3  # its middle over a flat top, or well within a rim
    return _put(roles["object"], keypoint, share * min(target.size[:2]))


def _put_in(roles: Mapping[str, SceneObject], joint: str | None) -> Plan:
    target = roles["target"]
    if "head" in roles["object"].keypoints and "pocket" in target.keypoints:
        return Plan(*fitting.plug_in(roles))
    keypoint = f"{joint}_inside" if joint else "inside"
    if keypoint not in target.keypoints:
        raise RoboloopError(
            f"nothing can be put in `{target.name}` ({target.category})", "say `on` instead of `in`"
        )
    if "tip" in roles["object"].keypoints and not joint:
        return _stand_in(min(target.size[:2]))
    depth = target.keypoints["top"][2] - target.keypoints[keypoint][2]
    radius, drop = 0.45 * min(target.size[:2]), min(DROP, DROP_SHARE * depth)
    return _put(roles["object"], keypoint, radius, drop)


def _put(
    object_: SceneObject, keypoint: str, radius: float, drop: float = 0.0, upright: str = UPRIGHT
) -> Plan:
    goal = f"target.{keypoint}"
    stages = (
        Stage("grasp", reference="object", grasp=_grip(object_)),
        Stage(
            "place",
            reference=goal,
            release="object",
            subgoal=(
                f"norm(xy(object.bottom - {goal})) < 0.005",
                f"z(object.bottom - {goal}) < 0.012",
                f"z(object.bottom - {goal}) > 0.006",
                upright,
            ),
            path=(UPRIGHT,),
            dwell=CATCH_UP,
            drop=drop,
        ),
        Stage("retreat", reference=goal, subgoal=(hand_clear("object"),)),
    )
    reach = f"norm(xy(object.bottom - {goal})) < {radius:.3f}"
    on = f"abs(z(object.bottom - {goal})) < 0.03"
    return Plan(stages, (reach, on, upright, hand_clear("object")))


def _grip(object_: SceneObject) -> str:
    """Where an object is held: a tool by its handle, anything else anywhere."""
    return "object.handle" if "face" in object_.keypoints else "object"


def _stand_in(width: float) -> Plan:
    """A long thing stands in a narrow one, tip down."""
    clear = "max(z(robot.eef - object.end), norm(xy(robot.eef - object.end)) - 0.05) > 0.02"
    stages = (
        Stage("grasp", reference="object", grasp="object"),
        Stage(
            "insert",
            reference="target.top",
            release="object",
            subgoal=(
                "norm(xy(object.tip - target.top)) < 0.004",
                "z(object.tip - target.top) < -0.025",
                "z(object.tip - target.top) > -0.035",
                "norm(xy(object.end - object.tip)) < 0.06 * norm(object.end - object.tip)",
            ),
        ),
        Stage("retreat", reference="target.top", subgoal=(clear,)),
    )
    success = (
        f"norm(xy(object.tip - target.inside)) < {width / 2:.3f}",
        "z(object.tip - target.top) < -0.04",
        "z(object.end - target.top) > 0",
        clear,
    )
    return Plan(stages, success)


def _pour(roles: Mapping[str, SceneObject], joint: str | None) -> Plan:
    object_, target = roles["object"], roles["target"]
    contents = [role for role in roles if role.startswith("content_")]
    if not contents:
        raise RoboloopError(f"there is nothing in `{object_.name}` to pour")
    if "inside" not in target.keypoints or "inside" not in object_.keypoints:
        raise RoboloopError(f"cannot pour `{object_.name}` into `{target.name}`", "both are hollow")
    over = "norm(xy(object.top - target.top)) < {}"
    lands, radius = f"norm(xy({LANDING} - target.top))", 0.5 * min(target.size[:2])
    above = ("z(object.bottom - target.top) > 0.04", "z(object.bottom - target.top) < 0.12")
    beside = (max(object_.size[:2]) + max(target.size[:2])) / 2 + 0.03
    stages = (
        Stage("grasp", reference="object", grasp="object"),
        Stage(
            "carry",
            reference="target.top",
            subgoal=(over.format(0.02), *above, UPRIGHT),
            path=(UPRIGHT,),
        ),
        Stage(
            "pour",
            reference="target.top",
            subgoal=(
                f"{lands} < 0.01",
                "z(object.top - target.top) > 0.05",
                "z(object.top - target.top) < 0.08",
                f"z(robot.eef - object.top) > {0.3 * min(object_.size[:2]):.3f}",
                TILTED,
            ),
            path=(over.format(0.06), f"min({lands} - {radius - 0.02:.3f}, {SPILLS}) < 0"),
            dwell=0.8,
            drop=DROP,
        ),
        Stage(
            "right",
            reference="target.top",
            subgoal=(over.format(0.02), *above, UPRIGHT),
        ),
        Stage(
            "put_down",
            reference="target.top",
            release="object",
            subgoal=(
                f"norm(xy(object.center - target.center)) > {beside:.3f}",
                f"norm(xy(object.center - target.center)) < {beside + 0.08:.3f}",
                "z(object.bottom - target.bottom) > 0.004",
                "z(object.bottom - target.bottom) < 0.010",
                UPRIGHT,
            ),
            path=(UPRIGHT,),
        ),
        Stage("retreat", reference="target.top", subgoal=(hand_clear("object"),)),
    )
    inside = [f"norm(xy({role}.center - target.inside)) < {radius:.3f}" for role in contents]
    return Plan(stages, (*inside, hand_clear("object")))


def _move_joint(word: str) -> Callable[[Mapping[str, SceneObject], str | None], Plan]:
    def plan(roles: Mapping[str, SceneObject], joint: str | None) -> Plan:
        target = roles["target"]
        than, aim, enough = LEVELS[word]
        goal, done = (f"share(target.{joint}) {than} {share}" for share in (aim, enough))
        handle = f"target.{handle_of(target, str(joint))}"
        clear = hand_clear(handle)
        if word in ("close", "press"):
            moves = (Stage(word, handle, push=handle, subgoal=(goal,), dwell=CATCH_UP),)
        else:
            moves = (
                Stage("grasp", reference=handle, grasp=handle),
                Stage(word, handle, release=handle, subgoal=(goal,), dwell=CATCH_UP),
            )
        retreat = Stage("retreat", reference=handle, subgoal=(clear,))
        return Plan((*moves, retreat), (done, clear))

    return plan


def _thread(roles: Mapping[str, SceneObject], joint: str | None) -> Plan:
    object_, target = roles["object"], roles["target"]
    if "tip" not in object_.keypoints or "ring" not in target.keypoints:
        hint = "a needle goes through a ring"
        raise RoboloopError(f"cannot thread `{object_.name}` through `{target.name}`", hint)
    return Plan(*fitting.thread(roles))


KINDS: dict[str, Kind] = {
    "put_on": Kind(("object", "target"), _put_on),
    "put_in": Kind(("object", "target"), _put_in),
    "pour": Kind(("object", "target"), _pour),
    "thread": Kind(("object", "target"), _thread),
    **{word: Kind(("target",), _move_joint(word)) for word in LEVELS},
}
