"""One task in one scene, planned and run in physics."""

from dataclasses import dataclass
from time import process_time

from roboloop.cell import Cell
from roboloop.cells import build_cell
from roboloop.data.episode import Episode
from roboloop.demo.execute import attempt, rngs_for
from roboloop.demo.team import expert
from roboloop.scene.graph import SceneGraph
from roboloop.task.spec import Task

STAGE = 9
"""Number of this stage in the seeds of everything random."""


@dataclass(frozen=True)
class Trial:
    """What came of a task."""

    cell: Cell
    episode: Episode | None
    """None where not even the first stage could be planned."""
    reason: str
    """Why it failed; empty for a success."""
    cpu_s: float
    """Of planning and physics."""


def try_task(graph: SceneGraph, task: Task, name: str, seed: int) -> Trial:
    """Plan a task in a scene and run the plan in physics."""
    cell = build_cell(graph, task, name)
    (rng,) = rngs_for(seed, STAGE, [0])
    start = process_time()
    (result,) = attempt([cell], [expert(cell, rng)], [seed], [rng])
    return Trial(cell, result.episode, result.reason, process_time() - start)
