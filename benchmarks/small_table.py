"""How often the planner succeeds on a small table: things that a small arm can hold and reach.

`python -m benchmarks.small_table --robot so101 --n 50`: success and failures by cause in sampled
cousins of each scene whose objects are within the robot's reach.
"""

from collections import Counter
from dataclasses import dataclass
from time import process_time

import numpy as np
import tyro

from roboloop import console, pose
from roboloop.cell import Cell, build_cell
from roboloop.demo.execute import attempt, rngs_for
from roboloop.demo.planner import Planner
from roboloop.interval import percent
from roboloop.robot import ROBOTS
from roboloop.scene.cousins import Spread, sample_cousin
from roboloop.scene.families import complete
from roboloop.scene.graph import Camera, SceneGraph, SceneObject, Support, Vector
from roboloop.station import STATIONS
from roboloop.task.make import make_task

TABLE_Z = 0.9
Things = tuple[tuple[str, Vector], ...]
SCENES: dict[str, Things] = {
    "put the box on the plate": (("box", (0.045, 0.022, 0.03)), ("plate", (0.13, 0.13, 0.018))),
    "put the box in the bowl": (("box", (0.045, 0.022, 0.03)), ("bowl", (0.11, 0.11, 0.045))),
    "put the mug on the plate": (("mug", (0.1, 0.075, 0.07)), ("plate", (0.13, 0.13, 0.018))),
    "put the box in the tray": (("box", (0.025, 0.025, 0.09)), ("tray", (0.14, 0.18, 0.03))),
    "put the block in the bowl": (("box", (0.045, 0.022, 0.05)), ("bowl", (0.14, 0.14, 0.07))),
}
"""Sentence -> what stands on the left and on the right of the robot, and how big it is, m."""
APART, SPREAD, CHUNK = 0.07, Spread(xy=0.04), 10


@dataclass(frozen=True)
class Config:
    """Measure the planner on a small table."""

    robot: str = "so101"
    n: int = 50
    """Cousins of each scene."""
    seed: int = 0


def twin(things: Things) -> SceneGraph:
    """Two things on a table, seen from the front."""
    objects = []
    for side, (category, size) in zip((-1, 1), things, strict=True):
        T = pose.from_parts(np.array([0.0, side * APART, TABLE_Z + size[2] / 2]), np.eye(3))
        objects.append(complete(SceneObject(category, category, T, size, {}, {})))
    T_camera = pose.look_at(np.array([0.7, 0.0, 1.6]), np.array([0.0, 0.0, TABLE_Z]))
    T_support = pose.from_parts(np.array([0.0, 0.0, TABLE_Z]), np.eye(3))
    support = Support(T_support, (1.0, 1.2), (0.8, 0.7, 0.6))
    camera = Camera(640, 480, 579.4, 579.4, 320.0, 240.0, T_camera)
    return SceneGraph(objects=tuple(objects), support=support, camera=camera, source="small table")


def cells_in_reach(config: Config, sentence: str, things: Things) -> tuple[list[Cell], int]:
    """Cousins with both things within reach of the twin's base, and how many were not."""
    scene, robot = twin(things), ROBOTS[config.robot]
    task = make_task(scene, sentence.replace("block", "box"), STATIONS[config.robot])
    cells, n_drawn = [], 0
    while len(cells) < config.n:
        seed = np.random.SeedSequence([config.seed, n_drawn])
        cousin, n_drawn = sample_cousin(scene, seed, SPREAD), n_drawn + 1
        points = np.array([o.T_world_obj[:2, 3] for o in cousin.objects])
        far = np.linalg.norm(points - task.arms[0].T_world_base[:2, 3], axis=1)
        if robot.reach[0] <= far.min() and far.max() <= robot.reach[1]:
            cells.append(build_cell(cousin, task, f"cousins/{n_drawn:04d}"))
    return cells, n_drawn - config.n


def main(config: Config) -> None:
    """Print a line a scene."""
    for sentence, things in SCENES.items():
        cells, n_outside = cells_in_reach(config, sentence, things)
        start, reasons = process_time(), []
        for k in range(0, config.n, CHUNK):
            part, indices = cells[k : k + CHUNK], range(k, min(k + CHUNK, config.n))
            rngs = rngs_for(config.seed, 5, indices)
            experts = [Planner(c, r) for c, r in zip(part, rngs, strict=True)]
            tries = attempt(part, experts, indices, rngs, start_spread=0.04)
            reasons += [each.reason for each in tries]
        spent = (process_time() - start) / config.n
        rate = percent(reasons.count(""), config.n)
        console.say(f"{sentence}: {rate} of {config.n}, {spent:.1f} CPU s; {n_outside} outside")
        for reason, times in Counter(filter(None, reasons)).most_common():
            console.say(f"    {times} {reason}")


if __name__ == "__main__":
    main(tyro.cli(Config))
