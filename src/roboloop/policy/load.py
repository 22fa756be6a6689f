"""Find a policy by its name: a checkpoint folder, a reference, or a class of the user's."""

import importlib
from collections.abc import Callable
from pathlib import Path

from roboloop.errors import RoboloopError, unknown_name
from roboloop.policy.base import Policy
from roboloop.policy.checkpoint import RECORD


def _noop(argument: str, robot: str, execute_steps: int | None) -> Policy:
    from roboloop.policy.references import NoOpPolicy
    from roboloop.station import STATIONS

    station = STATIONS[robot]
    return NoOpPolicy(len(station.robot.home), station.robot.gripper_open, len(station.arms))


def _replay(argument: str, robot: str, execute_steps: int | None) -> Policy:
    from roboloop.policy.references import CHUNK_STEPS, ReplayNearestPolicy

    if not argument:
        raise RoboloopError("`replay` needs demonstrations", "write `replay:DATASET`")
    return ReplayNearestPolicy.of_dataset(Path(argument), execute_steps or CHUNK_STEPS)


REFERENCES: dict[str, Callable[[str, str, int | None], Policy]] = {"noop": _noop, "replay": _replay}
"""Policies without weights, made from what follows a colon, the robot and the steps per chunk."""


def load_policy(name: str, robot: str = "panda", execute_steps: int | None = None) -> Policy:
    """Load a policy.

    Args:
        name: A checkpoint's folder, `noop`, `replay:DATASET`, or `module:Name` of a class that
            needs no arguments.
        robot: Key of `STATIONS`, for policies that were not trained on one.
        execute_steps: Actions that are carried out of each chunk; who has a memory counts them.
            None is as many as the policy is best at.

    Raises:
        RoboloopError: There is no such policy, or its checkpoint cannot be used.
    """
    folder = Path(name)
    if (folder / RECORD).is_file():
        from roboloop.policy.act_policy import ActPolicy

        return ActPolicy.load(folder, execute_steps)
    if folder.is_dir():
        raise RoboloopError(f"no policy here: {RECORD} is missing", "was it trained?", folder)
    word, _, argument = name.partition(":")
    if word in REFERENCES:
        return REFERENCES[word](argument, robot, execute_steps)
    if not argument:
        raise unknown_name("policy", name, [*REFERENCES, "module:Name", "a checkpoint's folder"])
    try:
        return getattr(importlib.import_module(word), argument)()
    except (ImportError, AttributeError) as error:
        raise RoboloopError(f"cannot load policy `{name}`: {error}", "give `module:Name`") from None
