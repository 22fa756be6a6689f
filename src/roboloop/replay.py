"""A dataset's episodes again in physics: recorded actions from recorded first states."""

from collections import Counter
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import numpy as np

from roboloop import assets, console
from roboloop.cells import cell_spec, load_cells
from roboloop.data.layout import DatasetInfo
from roboloop.data.origin import Origin
from roboloop.data.part import Part, open_part
from roboloop.data.shard import unflatten
from roboloop.demo.execute import SETTLE_STEPS
from roboloop.demo.judge import judge
from roboloop.errors import RoboloopError
from roboloop.jobs import map_jobs
from roboloop.scene.collection import is_drawn, open_scene
from roboloop.sim import CONTROL_DT, STATE, Simulation, qpos_of
from roboloop.task.spec import Task, read_task

CHUNK = 8
"""Episodes that are stepped together."""


@dataclass(frozen=True)
class Verdict:
    """What came of an episode when it was replayed."""

    problem: str
    """Empty where it ended as recorded."""
    exact: bool = True
    """Whether every state is the recorded one, bit for bit."""


def replay_dataset(dataset: Path, origin: Origin, workers: int = 1) -> dict[int, Verdict]:
    """Replay every episode that has simulator states and a scene.

    Args:
        dataset: A dataset's folder.
        origin: Its scenes and its task.
        workers: Processes.

    Returns:
        Verdicts by episode; those that cannot be replayed are not among them.

    Raises:
        RoboloopError: The dataset has no simulator states, or other joints or another control step
            than the task's robot.
    """
    part = open_part(dataset)
    task = read_task(origin.task)
    check_origin(part, task)
    chunks = replayable(part)
    work = partial(_replay, dataset, origin)
    verdicts: dict[int, Verdict] = {}
    n = sum(map(len, chunks))
    with console.Progress("replay", n) as progress:
        for chunk, answers in zip(chunks, map_jobs(work, chunks, workers), strict=True):
            verdicts |= dict(zip(chunk, answers, strict=True))
            good = sum(not verdict.problem for verdict in verdicts.values())
            progress.update(len(verdicts), good=good)
    return verdicts


def check_origin(part: Part, task: Task) -> None:
    """Raise unless the episodes are of a task's robot; all differences are reported."""
    if not part.has_sim:
        hint = "replaying, and generating from it, need a dataset of `roboloop demo` or `generate`"
        raise RoboloopError("the dataset has no simulator states or poses", hint, part.info.folder)
    check_robot(part.info, task)


def check_robot(info: DatasetInfo, task: Task) -> None:
    """Raise unless a dataset has a task's robot, joints and control step."""
    state, action = task.dimension_names()
    facts = {
        "robot": (info.robot, task.robot),
        "fps": (info.fps, round(1 / CONTROL_DT)),
        "joints (state)": (info.state_names, tuple(state)),
        "joints (action)": (info.action_names, tuple(action)),
    }
    wrong = [f"{name}: {a}, wanted {b}" for name, (a, b) in facts.items() if a != b]
    if wrong:
        problem = f"the dataset does not fit the task: {'; '.join(wrong)}"
        hint = "`roboloop task --robot` makes a task for another robot; other rates are not taken"
        raise RoboloopError(problem, hint, info.folder)


def replayable(part: Part) -> list[list[int]]:
    """Return the episodes that have states and a scene, in chunks."""
    scenes = part.facts("scene")
    known = [episode for episode, scene in enumerate(scenes) if scene]
    return [known[i : i + CHUNK] for i in range(0, len(known), CHUNK)]


def model_xml(origin: Origin, scene: str) -> str:
    """Write MuJoCo's XML of a scene with its robot; meshes are named by their paths."""
    task = read_task(origin.task)
    spec = cell_spec(open_scene(origin.scene / scene), task)
    folder = assets.find(task.arms[0].robot).parent
    for mesh in spec.meshes:
        if mesh.file:
            mesh.file = str(folder / mesh.file)
    spec.compile()
    return spec.to_xml()


@cache
def _opened(dataset: Path) -> Part:
    return open_part(dataset)


def _replay(dataset: Path, origin: Origin, episodes: list[int]) -> list[Verdict]:
    """Replay a chunk of episodes together."""
    part, task = _opened(dataset), read_task(origin.task)
    rows = [unflatten(part.sim_row(episode)) for episode in episodes]
    scenes = [origin.scene / row["scene"] for row in rows]
    missing = [scene for scene in scenes if not (scene.exists() or is_drawn(scene))]
    if missing:
        problem = f"no scene {missing[0].relative_to(origin.scene)}"
        raise RoboloopError(problem, "--scene gives their folder", origin.scene)
    cells = load_cells(scenes, task)
    ctrl = [
        part.columns["action"][part.starts[e] : part.starts[e] + part.lengths[e]].astype(float)
        for e in episodes
    ]
    states = [row["sim_states"] for row in rows]
    sim = Simulation([cell.model for cell in cells])
    widths = Counter(state.shape[1] for state in states)
    if set(widths) != {sim.states.shape[1]}:
        problem = f"states of {sorted(widths)} numbers, the scenes have {sim.states.shape[1]}"
        hint = (
            f"were they made with this scene and task, and this version of MuJoCo ({STATE.name})?"
        )
        raise RoboloopError(problem, hint, dataset)
    sim.set_states(np.stack([state[0] for state in states]))
    n_steps = np.array([len(c) for c in ctrl])
    padded = np.stack(
        [np.concatenate([c, np.repeat(c[-1:], max(n_steps) - len(c), 0)]) for c in ctrl]
    )
    first = sim.rollout(padded, n_steps)
    settled = sim.rollout(np.stack([np.repeat(c[-1:], SETTLE_STEPS, 0) for c in ctrl]))
    verdicts = []
    for i, (cell, row) in enumerate(zip(cells, rows, strict=True)):
        again = np.concatenate([states[i][:1], first.states[i, : n_steps[i]]])
        exact = np.array_equal(again, states[i])
        path = qpos_of(cell.model, np.concatenate([again, settled.states[i, -1:]]))
        failed = first.failed[i] or settled.failed[i]
        reason = "physics failed" if failed else judge(cell, path)
        verdicts.append(Verdict(_problem(row["success"], reason), exact))
    return verdicts


def _problem(success: bool, reason: str) -> str:
    """Say how the end differs from the recorded one."""
    if success == (not reason):
        return ""
    return f"recorded as a success, replayed: {reason}" if success else "recorded as a failure"
