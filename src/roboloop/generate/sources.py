"""Source demonstrations: read, checked against the task, cut into segments."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path

from roboloop.cells import load_cells
from roboloop.data.episode import Episode
from roboloop.data.hdf5_read import is_ours, opened, read_episodes
from roboloop.data.origin import Origin, find_origin
from roboloop.data.part import open_part
from roboloop.data.reader import iter_episodes
from roboloop.errors import RoboloopError
from roboloop.generate.imported import posed, replayed, staged
from roboloop.generate.segments import Recording, cut_stages, recorded
from roboloop.generate.select import Source
from roboloop.replay import check_origin, check_robot
from roboloop.task.spec import Stage, Task, read_task


def origin_of(demo: Path, scene: Path, task_path: Path) -> Origin:
    """Find the scenes and the task of the sources: those given, or of another robot its own.

    Raises:
        RoboloopError: The sources cannot be carried to the task, or their origin is not known.
    """
    part, task = open_part(demo), read_task(task_path)
    if part.info.robot == task.robot or not part.has_sim:
        check_origin(part, task)
        return Origin(scene, task_path)
    try:
        origin = find_origin(demo)
    except RoboloopError:
        check_origin(part, task)  # of its own robot's task nothing is known: the two do not fit
        raise
    theirs = read_task(origin.task)
    check_origin(part, theirs)
    wrong = differences(theirs, task)
    if wrong:
        problem = f"the sources do another task than this one: {'; '.join(wrong)}"
        raise RoboloopError(problem, "make both with the same sentence", demo)
    return origin


def differences(theirs: Task, ours: Task) -> list[str]:
    """Say in what two tasks differ that matters to segments; robots and places do not."""
    wrong = []
    if theirs.roles.keys() != ours.roles.keys():
        wrong.append(f"roles {', '.join(theirs.roles)}, wanted {', '.join(ours.roles)}")
    if list(map(_outline, theirs.stages)) != list(map(_outline, ours.stages)):
        names = [", ".join(stage.name for stage in task.stages) for task in (theirs, ours)]
        wrong.append(f"stages {names[0]}, wanted {names[1]}")
    if len(theirs.arms) != len(ours.arms):
        wrong.append(f"{len(theirs.arms)} arms, wanted {len(ours.arms)}")
    return wrong


def check_stages(episodes: Sequence[Episode], task: Task, demo: Path) -> None:
    """Raise unless every demonstration has the stages of its task, in order and to the end."""
    wanted = [task.step_name(index) for index in range(len(task.steps()))]
    for k, episode in enumerate(episodes):
        found = [name for name, start, stop in episode.subtasks if stop > start]
        if found != wanted:
            said = ", ".join(found) or "none"
            problem = f"demonstration {k} has the stages {said}, wanted {', '.join(wanted)}"
            raise RoboloopError(problem, "was it cut off, or recorded without stages?", demo)


def _outline(stage: Stage) -> tuple[str | None, ...]:
    return stage.name, stage.reference, stage.grasp, stage.release, stage.push, stage.arm


@cache
def read_sources(demo: Path, scene: Path, task_path: Path) -> list[Source]:
    """Read the stages' segments of every source episode; see `read_recordings`."""
    return [cut_stages(recording) for recording in read_recordings(demo, scene, task_path)]


@cache
def read_recordings(demo: Path, scene: Path, task_path: Path) -> list[Recording]:
    """Read the source demonstrations.

    Args:
        demo: A dataset, with simulator states or with scenes to replay it in, or an HDF5 file, ours
            or one with poses.
        scene: Where the sources were made, unless by another robot.
        task_path: The task that they are for.

    Raises:
        RoboloopError: See `origin_of`, `posed` and `replayed`; or a demonstration failed, or lacks
            stages.
    """
    task = read_task(task_path)
    if demo.is_file():
        with opened(demo) as file:
            ours = is_ours(file)
        if not ours:
            return posed(demo, scene, task)
        info, episodes = read_episodes(demo)
        check_robot(info, task)
        origin = Origin(scene, task_path)
    elif not (part := open_part(demo)).has_sim:
        return replayed(part, scene, task)
    else:
        origin = origin_of(demo, scene, task_path)
        task, episodes = read_task(origin.task), list(iter_episodes(demo, images=False))
    return _recorded(episodes, origin, task, demo)


def _recorded(
    episodes: Sequence[Episode], origin: Origin, task: Task, demo: Path
) -> list[Recording]:
    """Take recordings from episodes with simulator states; stages nobody marked are found."""
    for k, episode in enumerate(episodes):
        if not (episode.sim_states.shape[1] and episode.scene):
            problem = f"demonstration {k} has no simulator states or no scene"
            hint = "`roboloop data convert` keeps them; the recordings of others need poses"
            raise RoboloopError(problem, hint, demo)
        if not episode.success:
            hint = "`roboloop data filter --where success` leaves it out"
            raise RoboloopError(f"demonstration {k} did not succeed", hint, demo)
    check_stages([episode for episode in episodes if episode.subtasks], task, demo)
    cells = load_cells([origin.scene / episode.scene for episode in episodes], task)
    recordings = list[Recording]()
    for k, (cell, episode) in enumerate(zip(cells, episodes, strict=True)):
        recording = recorded(cell, episode)
        known = bool(episode.subtasks)
        recordings.append(recording if known else staged(recording, f"demonstration {k}", demo))
    return recordings
