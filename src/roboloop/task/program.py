"""A file of constraint functions over a scene's keypoints -> task.

What the file leaves out is added: the hand backs out after a release, and success means the last
sub-goal, with some slack.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from roboloop import console
from roboloop.errors import RoboloopError
from roboloop.scene.families import family_of
from roboloop.scene.graph import SceneGraph
from roboloop.scene.keypoints import numbered_keypoints
from roboloop.station import Station
from roboloop.task.constraints import Constraint
from roboloop.task.explain import comparison
from roboloop.task.functions import FunctionStage, parse_functions
from roboloop.task.language import MAX_TEXT
from roboloop.task.make import assemble
from roboloop.task.spec import Stage, Task
from roboloop.task.templates import Plan, hand_clear, handle_of

SLACK_LENGTH, SLACK_ANGLE, SLACK_SHARE = 0.03, 0.2, 0.05
"""By how much (m, rad, 1) the last sub-goal may be missed once things have settled."""
SLACK_JOINT = 0.2
"""The same for joints, share of their range."""


def read_program(path: Path) -> str:
    """Read a program's text.

    Raises:
        RoboloopError: There is no such file, it is too long, or it is no text.
    """
    try:
        with path.open("rb") as file:
            content = file.read(4 * MAX_TEXT + 1)  # UTF-8: 4 bytes a character at most
    except OSError as error:
        raise RoboloopError(f"no program here: {error.strerror}", path=path) from None
    if len(content) > 4 * MAX_TEXT:
        raise RoboloopError(f"the program has more than {MAX_TEXT} characters", path=path)
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise RoboloopError(f"the program is not UTF-8 text: {error}", path=path) from None


def program_task(
    graph: SceneGraph, instruction: str, text: str, station: Station, path: object = None
) -> Task:
    """Turn a file of constraint functions into the task record for a scene.

    Args:
        graph: The scene; its keypoints have the numbers of `numbered_keypoints`.
        instruction: What the program does, in words.
        text: The file's content.
        station: Who does it: one arm.
        path: The file, for messages.

    Raises:
        RoboloopError: The text is outside the language, its stages do not fit together, or no
            place of the robot's base reaches what it names.
    """
    names = list(numbered_keypoints(graph))
    joints = [f"{o.name}.{j.name}" for o in graph.objects for j in o.joints]
    given = parse_functions(text, names, path, joints)
    try:
        stages = _in_hand([_named(i, stage, names) for i, stage in enumerate(given, 1)])
        roles = _roles(graph, stages)
        writer = _Writer(graph, {name: role for role, name in roles.items()})
        made, success = writer.stages(stages), writer.success(stages)
    except RoboloopError as error:
        raise RoboloopError(error.problem, error.hint, path) from None
    points = front = None
    if "object" not in roles:  # a drawer, a door
        obj = graph.object(next(iter(roles.values())))
        front = obj.T_world_obj[:2, 0]
        points = obj.T_world_obj[None, :3, 3] + obj.T_world_obj[:3, 0] * obj.size[0] / 2
    plan = Plan(made, success)
    return assemble(graph, "program", instruction, roles, plan, station, points, front)


@dataclass(frozen=True)
class _Step:
    """A stage of the file with names for numbers; keypoints that are not there are empty."""

    label: str
    grasp: str
    release: str
    subgoal: tuple[Constraint, ...]
    path: tuple[Constraint, ...]
    says_held: tuple[str, ...]
    """Keypoints that it says are held."""
    held: str = ""
    """The keypoint by which something is in the hand when it begins."""

    def objects(self) -> list[str]:
        """What it names: what it handles first, then what its constraints speak of."""
        named = [n for c in (*self.subgoal, *self.path) for n in _names(c)]
        return [_owner(n) for n in (self.grasp, self.release, *named) if n and n != "robot.eef"]


def _owner(name: str) -> str:
    return name.partition(".")[0]


def _names(constraint: Constraint) -> list[str]:
    points, joints = constraint.names()
    return sorted(points | joints)


def _named(number: int, stage: FunctionStage, names: Sequence[str]) -> _Step:
    """Put names for numbers, and leave out constraints that say nothing."""
    every = (*stage.subgoal, *stage.path)
    for c in every:
        if c.node.op == "constant" and float(c.node.item[0]) > 0:
            raise RoboloopError(f"stage {number}: `{c.text}` can never be at most zero")
    return _Step(
        f"stage {number}",
        "" if stage.grasp is None else names[stage.grasp],
        "" if stage.release is None else names[stage.release],
        tuple(c for c in stage.subgoal if c.node.op != "constant"),
        tuple(c for c in stage.path if c.node.op != "constant"),
        tuple(names[c.holding] for c in every if c.holding is not None),
    )


def _in_hand(steps: list[_Step]) -> list[_Step]:
    """Follow what is in the hand from step to step.

    Raises:
        RoboloopError: Something is grasped with a full hand, or let go of without being held.
    """
    followed: list[_Step] = []
    now, backs_out = "", False
    for step in steps:
        _check_hand(step, now, backs_out)
        followed.append(replace(step, held=now))
        backs_out = bool(step.release)
        now = step.grasp or ("" if step.release else now)
    if now:
        raise RoboloopError(
            f"the program ends with `{_owner(now)}` in the hand", "add a stage that releases it"
        )
    return followed


def _check_hand(step: _Step, now: str, backs_out: bool) -> None:
    for name in step.says_held:
        if _owner(name) not in (_owner(now), _owner(step.grasp)):
            raise RoboloopError(f"{step.label}: `{_owner(name)}` is not in the hand")
    if step.grasp and now:
        raise RoboloopError(f"{step.label} grasps `{_owner(step.grasp)}` with the hand full")
    if step.release and _owner(step.release) != _owner(now):
        raise RoboloopError(f"{step.label} lets go of `{_owner(step.release)}`: it is not held")
    if now and not step.subgoal:
        raise RoboloopError(
            f"{step.label} does not say where to: no sub-goal for `{_owner(now)}`",
        )
    if not (step.grasp or now or (backs_out and step.subgoal)):
        raise RoboloopError(
            f"{step.label} grasps nothing, and nothing is held",
            "a grasp finds its own way there: leave the stage out",
        )


def _roles(graph: SceneGraph, steps: list[_Step]) -> dict[str, str]:
    """`object` is what is let go of last, `target` what that step speaks of, then the others."""
    releases = [step for step in steps if step.release]
    names = dict.fromkeys(n for step in (releases[-1], *steps) for n in step.objects())
    loose = [n for s in releases if not _is_fixed(graph, n := _owner(s.release))][-1:]
    others = [n for n in names if n not in loose]
    roles = ["target", "other", *(f"other_{i}" for i in range(2, len(others)))]
    named = dict(zip(roles, others, strict=False))
    return {"object": loose[0], **named} if loose else named


def _is_fixed(graph: SceneGraph, name: str) -> bool:
    return family_of(graph.object(name)).static


@dataclass(frozen=True)
class _Writer:
    """Writes steps with roles for the objects' names."""

    graph: SceneGraph
    roles: dict[str, str]
    """Object's name -> role."""

    def stages(self, steps: list[_Step]) -> tuple[Stage, ...]:
        """The task's stages, with a retreat after each release."""
        result: list[Stage] = []
        for step, then in zip(steps, [*steps[1:], None], strict=True):
            stage = self._stage(step)
            result.append(stage)
            if step.release and (then is None or then.grasp):
                clear = (hand_clear(self._handle(step.held)),)
                name = stage.name.replace("release", "retreat")
                result.append(Stage(name, stage.reference, subgoal=clear))
        return tuple(result)

    def success(self, steps: list[_Step]) -> tuple[str, ...]:
        """The last release's sub-goal with slack, and the hand clear of what it held."""
        last = [step for step in steps if step.release][-1]
        goals = [comparison(c.node, self._rename, self._slack(c)) for c in last.subgoal]
        return (*goals, hand_clear(self._handle(last.held)))

    def _stage(self, step: _Step) -> Stage:
        subgoal = tuple(comparison(c.node, self._rename) for c in step.subgoal)
        path = tuple(comparison(c.node, self._rename) for c in step.path)
        number = step.label.rpartition(" ")[2]
        if step.grasp:
            _say_left_out(step)
            what = self._handle(step.grasp)
            return Stage(f"grasp_{number}", what, grasp=what)
        if not step.held:
            return Stage(f"retreat_{number}", self._reference(step), None, None, subgoal, path)
        word, owner = "release" if step.release else "move", _owner(step.held)
        if _is_fixed(self.graph, owner):
            self._check_joint(step)
            handle = self._handle(step.held)
            return Stage(f"{word}_{number}", handle, None, handle, subgoal, path)
        what = self.roles[owner] if step.release else None
        return Stage(f"{word}_{number}", self._reference(step), None, what, subgoal, path)

    def _handle(self, keypoint: str) -> str:
        """What is grasped: a handle where that is meant, otherwise anywhere on the object."""
        owner, _, name = keypoint.partition(".")
        precise = _is_fixed(self.graph, owner) or "handle" in name
        return f"{self.roles[owner]}.{name}" if precise else self.roles[owner]

    def _reference(self, step: _Step) -> str:
        """The first point of the sub-goal that does not move with the hand."""
        names = [n for c in step.subgoal for n in sorted(c.names()[0])]
        others = [n for n in names if _owner(n) not in ("robot", _owner(step.held))]
        return self._rename(others[0]) if others else next(iter(self.roles.values()))

    def _check_joint(self, step: _Step) -> None:
        """Check that a step with a handle in the hand says how far its joint goes, and no more.

        Raises:
            RoboloopError: It says something else, or holds on to the handle.
        """
        object_ = self.graph.object(_owner(step.held))
        handles = {f"{object_.name}.{j.name}": handle_of(object_, j.name) for j in object_.joints}
        names = {n for c in step.subgoal for n in _names(c)}
        if len(names) != 1 or not names <= handles.keys():
            known = " or ".join(f"joint({name})" for name in handles) or "nothing: it has no joint"
            raise RoboloopError(
                f"{step.label} moves a part of `{object_.name}`",
                f"its sub-goal has to be about {known}",
            )
        (joint,) = names
        handle = f"{object_.name}.{handles[joint]}"
        if step.held != handle:
            raise RoboloopError(
                f"{step.label}: joint({joint}) is moved by `{handle}`, the hand has `{step.held}`"
            )
        if not step.release:
            raise RoboloopError(f"{step.label} moves joint({joint}): let go of it in this stage")

    def _slack(self, constraint: Constraint) -> float:
        ranges = {f"{n}.{j.name}": j.range for n in self.roles for j in self.graph.object(n).joints}
        spans = [float(ranges[name][1] - ranges[name][0]) for name in constraint.names()[1]]
        if spans:
            return round(SLACK_JOINT * max(spans), 3)
        unit = constraint.node.unit
        if not isinstance(unit, tuple):
            return SLACK_LENGTH
        length, angle = (max(power, 0) for power in unit)
        return SLACK_LENGTH**length * SLACK_ANGLE**angle if length or angle else SLACK_SHARE

    def _rename(self, name: str) -> str:
        owner, _, keypoint = name.partition(".")
        return name if owner == "robot" else f"{self.roles[owner]}.{keypoint}"


def _say_left_out(step: _Step) -> None:
    """Say which constraints on a grasp are left out: the planner finds grasps without them."""
    asked = {comparison(c.node) for c in (*step.subgoal, *step.path)}
    asked -= {f"norm(robot.eef - {step.grasp}) < 0", f"norm({step.grasp} - robot.eef) < 0"}
    for text in sorted(asked):
        console.warn(f"{step.label} ends with a grasp, which is found without `{text}`")
