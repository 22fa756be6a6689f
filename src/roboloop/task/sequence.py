"""Several tasks one after the other, as one: `put A on B, then put C on A`."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from roboloop.station import ONLY_ARM
from roboloop.task.constraints import parse
from roboloop.task.spec import Stage
from roboloop.task.templates import Plan

KIND = "sequence"
_ROLE = re.compile(r"\b([a-z]\w*)(?=\.[a-z])")


def clauses(sentence: str) -> list[str]:
    """Split a sentence at its `then`s."""
    parts = re.split(r"[\s,;]*(?:\band\s+)?\bthen\b[\s,]*", sentence, flags=re.IGNORECASE)
    return [part for part in parts if part.strip()]


def joined(
    plans: Sequence[tuple[Mapping[str, str], Plan]],
) -> tuple[dict[str, str], Plan]:
    """Join tasks, each with its roles, to one.

    An object keeps the role that it has first; further ones get numbers. What a later task undoes
    (an object that is moved again, a joint) is no longer asked for at the end, but must have held
    before, together with all else that was done by then.

    Returns:
        Role -> object, and what is to be done.
    """
    roles: dict[str, str] = {}
    stages: list[Stage] = []
    success: list[str] = []
    milestones: list[tuple[str, ...]] = []
    for number, (own, plan) in enumerate(plans, 1):
        names = {name: role for role, name in roles.items()}
        new = {role: names.get(name) or _free(role, number, roles) for role, name in own.items()}
        roles |= {new[role]: name for role, name in own.items()}
        renamed = [_renamed_stage(stage, new, number) for stage in plan.stages]
        last = [_renamed(text, new) for text in plan.success]
        kept = [text for text in success if not _undone(text, renamed, last)]
        if len(kept) < len(success):
            milestones.append(tuple(text for text in success if not _of_hand(text)))
        success = kept + last
        stages += renamed
    return roles, Plan(tuple(stages), tuple(success), milestones=tuple(milestones))


def _free(role: str, number: int, roles: Mapping[str, str]) -> str:
    return f"{role}_{number}" if role in roles else role


def _renamed(text: str, new: Mapping[str, str]) -> str:
    """A constraint, or a `role` or `role.keypoint`, with other roles."""
    if text in new:
        return new[text]
    return _ROLE.sub(lambda match: new.get(match[1], match[1]), text)


def _renamed_stage(stage: Stage, new: Mapping[str, str], number: int) -> Stage:
    references = {
        key: None if (each := getattr(stage, key)) is None else _renamed(each, new)
        for key in ("grasp", "release", "push")
    }
    return replace(
        stage,
        name=stage.name if number == 1 else f"{stage.name}_{number}",
        reference=_renamed(stage.reference, new),
        subgoal=tuple(_renamed(text, new) for text in stage.subgoal),
        path=tuple(_renamed(text, new) for text in stage.path),
        **references,
    )


def _of_hand(text: str) -> bool:
    """Whether a constraint is about where the hand is, which goes on to the next task."""
    return f"{ONLY_ARM}.eef" in parse(text).names()[0]


def _undone(text: str, stages: Sequence[Stage], success: Sequence[str]) -> bool:
    """Whether later stages move what a constraint on the end is about."""
    joints = parse(text).names()[1]
    moved = {stage.grasp.partition(".")[0] for stage in stages if stage.grasp}
    later = {name for other in success for name in parse(other).names()[1]}
    first = next(iter(re.findall(r"(\w+)\.\w+", text)), "")
    return bool(joints & later) or (first in moved and not joints)
