"""Speed of generation and of closed-loop evaluation on a captured scene, one core, CPU seconds.

Prints what a kept episode costs and how much of it is physics, and how much faster it is to roll
out 32 scenes together, one policy call for all, than one scene after another.
"""

import argparse
import tempfile
from pathlib import Path
from time import process_time

import numpy as np
import torch

from roboloop.cell import Cell
from roboloop.cells import load_cells
from roboloop.demo.execute import Attempt, attempt, rngs_for
from roboloop.demo.planner import Planner
from roboloop.evaluate.rollout import rollout
from roboloop.generate.rank import rank
from roboloop.generate.segments import cut_stages, recorded
from roboloop.generate.transform import Carrying, Transformer
from roboloop.policy.base import Policy
from roboloop.policy.load import load_policy
from roboloop.render import render_episode
from roboloop.scene import command as scene
from roboloop.scene.collection import TWIN, list_cousins
from roboloop.scene.folder import read_scene
from roboloop.sim import Simulation
from roboloop.station import STATIONS
from roboloop.task.make import make_task

CAPTURE = Path(__file__).parents[1] / "examples" / "captures" / "kitchen5"
SENTENCE = "put the bowl on the plate"
PX, N_TOGETHER, HORIZON, EXECUTE = 64, 32, 32, 8


def make_cells(folder: Path, n: int) -> list[Cell]:
    """Build the capture's twin and cousins, and a cell for each cousin."""
    scene.run(scene.Config(CAPTURE, out=folder, cousins=n, held_out=0, workers=1, quiet=True))
    task = make_task(read_scene(folder / TWIN), SENTENCE, STATIONS["panda"])
    return load_cells(list_cousins(folder), task)


def physics_seconds(cells: list[Cell], tries: list[Attempt]) -> float:
    """Step what was executed again, alone: the time inside `mj_step`."""
    spent = 0.0
    for cell, each in zip(cells, tries, strict=True):
        if each.episode is not None:
            sim = Simulation([cell.model])
            sim.set_states(each.episode.sim_states[:1])
            ctrl = each.episode.action[None].astype(float)
            start = process_time()
            sim.rollout(ctrl)
            spent += process_time() - start
    return spent


def bench_generation(cells: list[Cell]) -> None:
    """Generate from planned sources and say what it cost."""
    planned = attempt(
        cells[:6], [Planner(c, r) for c, r in zip(cells, rngs_for(0, 2, range(6)), strict=False)],
        range(6), rngs_for(0, 2, range(6)),
    )  # fmt: skip
    good = [(c, a.episode) for c, a in zip(cells, planned, strict=False) if not a.reason][:4]
    sources = [cut_stages(recorded(c, e)) for c, e in good]
    sources = [sources[i] for i in rank(cells[:6], sources)]
    n = len(cells)
    start = process_time()
    experts = [
        Transformer(c, sources, r, Carrying(stray=0.5))
        for c, r in zip(cells, rngs_for(0, 3, range(n)), strict=True)
    ]
    tries = attempt(cells, experts, range(n), rngs_for(0, 3, range(n)), 0.03, 0.04)
    states = process_time() - start
    kept = [(c, a.episode) for c, a in zip(cells, tries, strict=True) if not a.reason]
    start = process_time()
    n_frames = 0
    for cell, episode in kept:
        images = render_episode(cell.model, episode.sim_states[:-1], PX)
        n_frames += sum(map(len, images.values()))
    rendering = process_time() - start
    physics = physics_seconds(cells, tries)
    print(f"attempts kept             {len(kept)} of {n}")
    print(f"states, CPU-s/attempt     {states / n:8.2f}   of which physics {physics / states:.0%}")
    print(
        f"images, CPU-s/kept        {rendering / len(kept):8.2f}   "
        f"{n_frames / rendering:.0f} frames/s at {PX} px"
    )


def bench_evaluation(cells: list[Cell], policy: Policy) -> None:
    """Roll out the same scenes together and one after another."""
    n = min(N_TOGETHER, len(cells))

    def run(chosen: list[int], who: Policy = policy) -> float:
        start = process_time()
        some = [cells[i] for i in chosen]
        rollout(some, who, rngs_for(0, 5, chosen), HORIZON, EXECUTE, 0.0)
        return process_time() - start

    run([0])
    alone = sum(run([i]) for i in range(n))
    together = run(list(range(n)))
    physics = run(list(range(n)), load_policy("noop"))
    print(f"evaluate, {n} together     {n * HORIZON / together:8.0f} control steps/CPU-s")
    print(f"evaluate, one by one      {n * HORIZON / alone:8.0f} control steps/CPU-s")
    print(f"ratio                     {alone / together:8.1f}")
    print(f"ratio if only physics cost {alone / physics:7.1f}")


def main() -> None:
    """Run both."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--policy", default="noop", help="checkpoint folder, or noop")
    options = parser.parse_args()
    torch.set_num_threads(1)
    np.set_printoptions(precision=2)
    with tempfile.TemporaryDirectory() as folder:
        cells = make_cells(Path(folder) / "scene", N_TOGETHER)
        bench_generation(cells)
        bench_evaluation(cells, load_policy(options.policy))


if __name__ == "__main__":
    main()
