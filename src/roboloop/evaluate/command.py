"""`roboloop evaluate`: how often does a policy succeed in scenes that it has never seen?"""

from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from tyro.conf import Positional

from roboloop import console
from roboloop.causes import count_failures
from roboloop.cells import load_cells
from roboloop.data.video import encode
from roboloop.demo.chunks import need_out, run_chunks
from roboloop.demo.execute import rngs_for
from roboloop.evaluate.closed_loop import disturb, plan, trackers_of
from roboloop.evaluate.disturb import Kind
from roboloop.evaluate.rollout import rollout
from roboloop.evaluate.tracker import TrackerConfig
from roboloop.interval import percent, wilson
from roboloop.policy.load import load_policy
from roboloop.render import Renderer
from roboloop.run import CommonFlags, Run, atomic_path, write_bytes_atomic, write_json
from roboloop.scene.collection import HELD_OUT, list_cousins
from roboloop.task.spec import read_task

STAGE = 5
"""Number of this stage in the seeds of everything random."""
CHUNK = 25
"""Cells that are stepped together."""
N_ROLLOUTS = {"tiny": 4, "small": 100, "full": 500}
N_REFERENCE = {"tiny": 2, "small": 25, "full": 100}
EXPERT = "planner"
"""The row of the planner in closed loop, which is told where things are by a tracker."""

FILM_PX, FILM_STRIDE, FILM_HZ = 240, 2, 10


@dataclass(frozen=True)
class Config(CommonFlags):
    """Roll policies out in held-out cousins and report success with its interval."""

    policy: Positional[str]
    """A checkpoint folder, `noop`, `replay:DATASET`, `planner`, or `module:Name`."""
    scene: Positional[Path]
    """The folder that `roboloop scene` wrote; its held-out cousins are used."""
    task: Positional[Path]
    """The folder or file that `roboloop task` wrote."""
    references: tuple[str, ...] = ()
    """More policies, evaluated on the same scenes and starts for comparison."""
    n: int | None = None
    """Rollouts; by scale 4, 100 or 500."""
    reference_n: int | None = None
    """Rollouts of each reference, the first of the policy's; by scale 2, 25 or 100."""
    horizon_steps: int = 160
    """Control steps of a rollout."""
    execute_steps: int | None = None
    """Control steps that are taken of each predicted chunk; by default 8 by policies that see
    images, 4 by those that are told where things are, all by others."""
    start_spread: float = 0.04
    """Standard deviation of the arm's joints around home at the start, rad."""
    tracker: TrackerConfig = field(default_factory=TrackerConfig)
    """How well the planner, or a policy without images, sees where things are."""
    disturb: Kind = "none"
    """What somebody does meanwhile: moves the object, pulls it out of the hand, moves the goal."""
    videos: bool = True
    """Write videos of the best, the median and the worst rollout."""


def run(config: Config) -> None:
    """Write OUT/results.json, one row a policy, and OUT/videos."""
    out = need_out(config.out)
    n = config.n or N_ROLLOUTS[config.scale]
    with Run.open(out, "evaluate", config, config.seed, config.overwrite) as record:
        if not record.finished:
            n_reference = min(n, config.reference_n or N_REFERENCE[config.scale])
            rows = [_row(config, out, config.policy, n)]
            rows += [_row(config, out, policy, n_reference) for policy in config.references]
            write_json(out / "results.json", {"rows": rows, "n": n, "seed": config.seed})
            first = rows[0]
            record.finish(successes=first["successes"], n=n)
    console.emit(out / "results.json")


def _row(config: Config, out: Path, policy: str, n: int) -> dict[str, Any]:
    """Evaluate one policy."""
    name = _label(policy)
    work = partial(_evaluate, config, policy)
    done = run_chunks(
        name,
        out / "rollouts" / name,
        n,
        min(CHUNK, -(-n // 2)),  # so that two workers share even a small row
        work,
        config.workers,
        good=lambda r: not r["reason"],
    )
    reasons = [result["reason"] for result in done]
    good = reasons.count("")
    console.say(f"{name:<12}{percent(good, n)} of {n} rollouts")
    return {
        "policy": name,
        "n": n,
        "successes": good,
        "interval": wilson(good, n),
        "failures": count_failures(reasons),
        "videos": _films(config, policy, done) if config.videos else {},
    }


def _label(policy: str) -> str:
    """A short name for a row: the recipe for a checkpoint, else what stands before a colon."""
    return "policy" if Path(policy).is_dir() else policy.partition(":")[0]


def _evaluate(config: Config, policy: str, indices: range) -> list[dict[str, Any]]:
    """Do a chunk of rollouts; the states of each are kept for the videos."""
    cousins = list_cousins(config.scene, HELD_OUT)
    task = read_task(config.task)
    folders = [cousins[i % len(cousins)] for i in indices]
    cells = load_cells(folders, task)
    rngs = rngs_for(config.seed, STAGE, indices)
    disturbances = disturb(cells, config.disturb, config.seed, indices)
    if policy == EXPERT:
        ends, loops = plan(
            cells, rngs, config.tracker, config.seed, indices, config.start_spread, disturbances
        )
        logs = [loop.log for loop in loops]
    else:
        actor = load_policy(policy, task.robot, config.execute_steps)
        ends = rollout(
            cells,
            actor,
            rngs,
            config.horizon_steps,
            config.execute_steps,
            config.start_spread,
            trackers_of(cells, config.tracker, config.seed, indices),
            disturbances,
        )
        logs = [[] for _ in ends]
    for index, end in zip(indices, ends, strict=True):
        with atomic_path(_states_file(config, policy, index)) as path, path.open("wb") as stream:
            np.save(stream, end.states, allow_pickle=False)
    return [
        {"reason": end.reason, "steps": end.steps, "scene": folder.name, "log": list(map(str, log))}
        for folder, end, log in zip(folders, ends, logs, strict=True)
    ]


def _states_file(config: Config, policy: str, index: int) -> Path:
    return need_out(config.out) / "rollouts" / _label(policy) / f"{index:06d}.npy"


def _films(config: Config, policy: str, done: list[dict[str, Any]]) -> dict[str, str]:
    """Film the quickest success, the median, and the worst rollout, of those that moved at all."""
    ranked = sorted(range(len(done)), key=lambda i: (bool(done[i]["reason"]), done[i]["steps"]))
    out, task = need_out(config.out), read_task(config.task)
    films = {}
    picks = {"best": ranked[0], "median": ranked[len(ranked) // 2], "worst": ranked[-1]}
    for which, index in picks.items():
        states = np.load(_states_file(config, policy, index), allow_pickle=False)[::FILM_STRIDE]
        if not len(states):
            continue
        (cell,) = load_cells([config.scene / HELD_OUT / done[index]["scene"]], task)
        with Renderer(FILM_PX, FILM_PX) as renderer:
            frames = renderer.frames(cell.model, states, ("front",))["front"]
        name = f"videos/{_label(policy)}_{which}.mp4"
        write_bytes_atomic(out / name, encode(frames, FILM_HZ))
        films[which] = name
    return films
