"""`roboloop task`: a sentence and a scene -> task.json."""

import re
from dataclasses import dataclass
from pathlib import Path

from tyro.conf import Positional

from roboloop import console
from roboloop.errors import RoboloopError, unknown_name
from roboloop.run import CommonFlags, Run
from roboloop.scene.collection import open_scene
from roboloop.station import STATIONS
from roboloop.task.constraints import parse
from roboloop.task.make import make_task
from roboloop.task.spec import Task, write_task


@dataclass(frozen=True)
class Config(CommonFlags):
    """Match a sentence to the objects of a scene and say what the robot has to do."""

    scene: Positional[Path]
    """A scene folder, such as OUT/twin of `roboloop scene`."""
    sentence: Positional[str]
    """What to do, such as `put A on B`, `pour A into B`, `open A`, `turn on A`, `press A`."""
    robot: str = "panda"
    """Who does it: a robot, or a station of two arms such as `two_pandas`."""


def run(config: Config) -> None:
    """Write OUT/task.json and say the stages in words."""
    if config.robot not in STATIONS:
        raise unknown_name("robot", config.robot, STATIONS)
    task = make_task(open_scene(config.scene), config.sentence, STATIONS[config.robot])
    for line in describe(task):
        console.say(line)
    if config.out is None:
        raise RoboloopError("no place to write the task", "give --out FOLDER")
    with Run.open(config.out, "task", config, config.seed, config.overwrite) as record:
        write_task(task, config.out / "task.json")
        record.finish(kind=task.kind, roles=task.roles)
    console.emit(config.out / "task.json")


def describe(task: Task) -> list[str]:
    """Say a task in words, one line a constraint."""
    roles = ", ".join(f"{role} is `{name}`" for role, name in task.roles.items())
    lines = [f"task      {task.instruction}: {roles}; robot {task.robot}"]
    for stage in task.stages:
        what = [f"hold {_named(task, stage.grasp)}"] if stage.grasp else []
        what += [f"push {_named(task, stage.push)}"] if stage.push else []
        what += [f"until {in_words(task, text)}" for text in stage.subgoal]
        what += [f"all the way, {in_words(task, text)}" for text in stage.path]
        what += [f"for {stage.dwell:g} s"] if stage.dwell else []
        what += [f"up to {100 * stage.drop:.1f} cm higher if need be"] if stage.drop else []
        what += [f"then let go of {_named(task, stage.release)}"] if stage.release else []
        lines += [f"  {stage.name if i == 0 else '':<9} {each}" for i, each in enumerate(what)]
    for number, each in enumerate(task.milestones, 1):
        once = " and ".join(in_words(task, text) for text in each)
        lines += [f"  {f'before {number}':<9} {once}"]
    done = [in_words(task, text) for text in task.success]
    return lines + [f"  {'done' if i == 0 else '':<9} {each}" for i, each in enumerate(done)]


def in_words(task: Task, constraint: str) -> str:
    """Say a constraint in words, with the objects' names for the roles."""
    return parse(_named(task, constraint)).sentence


def _named(task: Task, text: str) -> str:
    """A text with the objects' names for the roles."""
    roles = "|".join(task.roles)
    return re.sub(rf"\b({roles})\b(?=\.|$)", lambda match: task.roles[match[1]], text)
