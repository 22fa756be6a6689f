"""`roboloop demo`: plan demonstrations in cousins and run them in physics."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tyro.conf import Positional

from roboloop import console
from roboloop.causes import count_failures
from roboloop.cells import load_cells
from roboloop.data.shard import write_shard
from roboloop.data.writer import finish_dataset
from roboloop.demo.chunks import need_out, run_chunks, succeeded
from roboloop.demo.execute import attempt, rngs_for
from roboloop.demo.team import expert
from roboloop.errors import RoboloopError
from roboloop.interval import percent
from roboloop.run import CommonFlags, Run
from roboloop.scene.collection import list_cousins
from roboloop.task.spec import read_task

STAGE = 2
"""Number of this stage in the seeds of everything random."""
CHUNK = 8
"""Cells that are stepped together."""
N_SEEDS = {"tiny": 2, "small": 12, "full": 30}


@dataclass(frozen=True)
class Config(CommonFlags):
    """Plan the task in cousins of the scene, run it in physics, keep what succeeds."""

    scene: Positional[Path]
    """The folder that `roboloop scene` wrote."""
    task: Positional[Path]
    """The folder or file that `roboloop task` wrote."""
    n: int | None = None
    """Cousins to plan in; by scale 2, 12 or 30."""


def run(config: Config) -> None:
    """Write the successful episodes as a dataset without images, and the figures."""
    out = need_out(config.out)
    task = read_task(config.task)
    n = config.n or N_SEEDS[config.scale]
    n_cousins = len(list_cousins(config.scene))
    if n_cousins < n:
        raise RoboloopError(
            f"{n} demonstrations need {n} cousins, the scene has {n_cousins}",
            "give a smaller -n, or make more with `roboloop scene --cousins`",
            config.scene,
        )
    with Run.open(out, "demo", config, config.seed, config.overwrite) as record:
        if not record.finished:
            work = partial(_plan, out, config.scene, config.task, config.seed)
            reasons = run_chunks("demo", out, n, CHUNK, work, config.workers, good=succeeded)
            kept = [index for index, reason in enumerate(reasons) if not reason]
            failures = count_failures(reasons)
            if not kept:
                why = "; ".join(f"{reason} ({n})" for reason, n in failures.items())
                raise RoboloopError("no demonstration succeeded", why, out / "chunks")
            finish_dataset(out, *task.dimension_names(), indices=kept)
            record.finish(kept=len(kept), tried=n, failures=failures)
            console.summary(
                wrote=f"{out}   {len(kept)} episodes, success {percent(len(kept), n)}",
                failed=" · ".join(f"{reason} {n}" for reason, n in failures.items()) or "none",
                next=f"roboloop generate {out} {config.scene} {config.task}",
            )
    console.emit(out)


def _plan(folder: Path, scene: Path, task: Path, seed: int, indices: range) -> list[str]:
    """Plan in a chunk of cousins, write what succeeds, give the reasons of what does not."""
    cousins = list_cousins(scene)
    cells = load_cells([cousins[i] for i in indices], read_task(task))
    rngs = rngs_for(seed, STAGE, indices)
    experts = [expert(cell, rng) for cell, rng in zip(cells, rngs, strict=True)]
    results = attempt(cells, experts, indices, rngs)
    for index, result in zip(indices, results, strict=True):
        if result.episode is not None and not result.reason:
            write_shard(folder, index, result.episode)
    return [result.reason for result in results]
