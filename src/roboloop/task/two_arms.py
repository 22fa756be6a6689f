"""Task kinds for two arms: lift something together, hand it over, fold a cloth."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

import numpy as np

from roboloop import pose
from roboloop.errors import RoboloopError
from roboloop.scene.graph import SceneObject
from roboloop.task.spec import BOTH, Stage
from roboloop.task.templates import CATCH_UP, KINDS, UPRIGHT, Kind, Plan

LEVEL = "norm(xy(object.top - object.bottom)) < 0.15 * norm(object.top - object.bottom)"
"""The object leans by less than about 9 degrees."""
MEETING_HEIGHT = 0.25
"""Above the bases, where something is handed over, m."""


def _lift(roles: Mapping[str, SceneObject], joint: str | None) -> Plan:
    """Both take a handle each and lift."""
    object_ = roles["object"]
    if not {"handle_left", "handle_right"} <= object_.keypoints.keys():
        raise RoboloopError(f"`{object_.name}` ({object_.category}) has no two handles to lift by")
    contents = [role for role in roles if role.startswith("content_")]
    stages = (
        *_at_once(
            Stage("grasp", f"object.handle_{side}", grasp=f"object.handle_{side}", arm=side)
            for side in ("left", "right")
        ),
        Stage(
            "lift",
            reference="object",
            arm=BOTH,
            subgoal=(
                "z(object.bottom - left.base) > 0.13",
                "z(object.bottom - left.base) < 0.17",
                LEVEL,
            ),
        ),
    )
    radius = 0.5 * max(object_.size[:2])
    inside = [f"norm({role}.center - object.center) < {radius:.3f}" for role in contents]
    success = ("z(object.bottom - left.base) > 0.10", LEVEL, *inside)
    return Plan(stages, success, {s: (f"object.handle_{s}",) for s in ("left", "right")})


def _hand_over(word: str) -> Callable[[Mapping[str, SceneObject], str | None], Plan]:
    """Left takes one end, right the other in the middle between them, and puts it down."""

    def plan(roles: Mapping[str, SceneObject], joint: str | None) -> Plan:
        return _handed_over(roles, KINDS[word].plan(roles, joint))

    return plan


def _handed_over(roles: Mapping[str, SceneObject], plan: Plan) -> Plan:
    """A plan of one arm that puts something somewhere, for two."""
    object_, target = roles["object"], roles["target"]
    ends = [key for key in object_.keypoints if key.startswith("end_")]
    if len(ends) < 2:
        raise RoboloopError(f"`{object_.name}` ({object_.category}) has no two ends to hold it by")
    T_target_obj = pose.inverse(target.T_world_obj) @ object_.T_world_obj
    points = pose.transform(T_target_obj, np.array([object_.keypoints[key] for key in ends]))
    far = np.linalg.norm(points, axis=1)
    mine, theirs = (f"object.{ends[i]}" for i in (np.argmax(far), np.argmin(far)))
    place, retreat = (_by("right", stage) for stage in plan.stages[1:])
    stages = (
        Stage("grasp", mine, grasp=mine, arm="left"),
        Stage(
            "present",
            reference="left.base",  # where the other arm can take it, wherever it lay
            arm="left",
            subgoal=(
                "norm(xy(object.center - 0.5 * (left.base + right.base))) < 0.03",
                f"z(object.center - left.base) > {MEETING_HEIGHT - 0.03:.2f}",
                f"z(object.center - left.base) < {MEETING_HEIGHT + 0.03:.2f}",
                f"dot(unit({theirs} - {mine}), unit(right.base - left.base)) > 0.85",
                UPRIGHT,
            ),
            dwell=CATCH_UP,
        ),
        Stage("take", theirs, grasp=theirs, arm="right"),
        Stage("let_go", mine, release="object", arm="left"),
        Stage("withdraw", mine, arm="left", subgoal=(f"norm(left.eef - {mine}) > 0.12",)),
        place,
        retreat,
    )
    success = tuple(_renamed("right", text) for text in plan.success)
    goal = place.reference
    return Plan(stages, success, {"left": (mine,), "right": (goal,)})


def _fold(roles: Mapping[str, SceneObject], joint: str | None) -> Plan:
    """Each takes a corner of one side and lays it on the corner opposite."""
    object_ = roles["object"]
    if "corner_0" not in object_.keypoints:
        raise RoboloopError(f"`{object_.name}` ({object_.category}) cannot be folded")
    corners = {"left": ("corner_1", "corner_2"), "right": ("corner_0", "corner_3")}
    pinch, lay, retreat, success = [], [], [], []
    for side, keys in corners.items():
        corner, goal = (f"object.{key}" for key in keys)
        over = f"norm(xy({corner} - {goal}))"
        pinch.append(Stage("pinch", corner, grasp=corner, arm=side))
        lay.append(
            Stage(
                "lay",
                goal,
                arm=side,
                release=corner,
                subgoal=(
                    f"{over} < 0.005",
                    f"z({corner} - {goal}) > 0",
                    f"z({corner} - {goal}) < 0.010",
                ),
                dwell=0.2,
            )
        )
        retreat.append(
            Stage("retreat", goal, arm=side, subgoal=(f"z({side}.eef - {goal}) > 0.09",))
        )
        # the hand is above, and the corner does not hang from it
        success += [f"{over} < 0.04", f"z({corner} - {goal}) < 0.05"]
        success += [f"z({side}.eef - {goal}) > 0.06"]
    stages = tuple(stage for each in (pinch, lay, retreat) for stage in _at_once(each))
    places = {side: tuple(f"object.{key}" for key in keys) for side, keys in corners.items()}
    return Plan(stages, tuple(success), places)


def _at_once(stages: Iterable[Stage]) -> list[Stage]:
    """Stages of different arms, done at the same time; their names tell whose they are."""
    return [
        replace(stage, name=f"{stage.name}_{stage.arm}", at_once=i > 0)
        for i, stage in enumerate(stages)
    ]


def _by(arm: str, stage: Stage) -> Stage:
    """A stage of the only arm, done by one of two."""
    subgoal, path = (
        tuple(_renamed(arm, text) for text in each) for each in (stage.subgoal, stage.path)
    )
    return replace(stage, arm=arm, subgoal=subgoal, path=path)


def _renamed(arm: str, text: str) -> str:
    return text.replace("robot.", f"{arm}.")


KINDS_OF_TWO: dict[str, Kind] = {
    "lift": Kind(("object",), _lift),
    "fold": Kind(("object",), _fold),
    "put_on": Kind(("object", "target"), _hand_over("put_on")),
    "put_in": Kind(("object", "target"), _hand_over("put_in")),
}
