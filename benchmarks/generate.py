"""What a kept demonstration costs, beside the published generator, on Stack D0.

    python -m benchmarks.generate [-n 100] [--json]

Ten planned demonstrations, then `roboloop generate` at its defaults until n are kept with images,
and thirty times as many without, four times, with one worker, two, two and one: of fewer, much of
the time is what is done once and what workers take to start. Wants idle cores, for a quarter of an
hour. What MimicGen (Mandlekar et al. 2023) costs was measured on this kind of machine, on one core,
from ten scripted demonstrations of the same task. How many attempts are kept of other tasks:
`python -m benchmarks.generation_rates`. Exits with 1 where a goal is missed.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from resource import RUSAGE_CHILDREN, RUSAGE_SELF, getrusage
from time import perf_counter, process_time
from typing import Any

from mujoco.batch import Batch

from roboloop.demo import command as demo
from roboloop.generate import command as generate
from roboloop.run import read_json
from roboloop.scene import command as scene
from roboloop.scene.presets import BENCHMARK
from roboloop.task import command as task

PUBLISHED_S, PUBLISHED_IMAGES_S = 3.4, 53.9
"""CPU seconds a kept demonstration of Stack D0: without cameras, and with two of 84 px."""
FASTER, FASTER_IMAGES, PHYSICS, TWO_WORKERS = 15.0, 50.0, 0.7, 1.8
TASK, N_SOURCES, PX = "stack_d0", 10, 84
BARE = 30
"""Demonstrations without images for each with them."""


def cpu_seconds() -> float:
    """What this process and those it has waited for have used."""
    used = [getrusage(who) for who in (RUSAGE_SELF, RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


class Setup:
    """Scene, task and planned demonstrations, in a folder."""

    def __init__(self, folder: Path, preset: str = TASK) -> None:
        self.scene, self.task, self.demo = (folder / part for part in ("scene", "task", "demo"))
        self.out = folder
        sentence = BENCHMARK[preset].sentence
        scene.run(scene.Config(Path(f"preset:{preset}"), out=self.scene, quiet=True))
        task.run(task.Config(self.scene / "twin", sentence, out=self.task, quiet=True))
        demo.run(demo.Config(self.scene, self.task, n=N_SOURCES, out=self.demo, quiet=True))

    def generate(self, n: int, px: int, workers: int) -> dict:
        """Generate a dataset; figures of the run, CPU and wall seconds among them."""
        out = self.out / f"data_{len(list(self.out.iterdir()))}"
        config = generate.Config(
            self.demo, self.scene, self.task, n=n, px=px, workers=workers, out=out, quiet=True
        )
        cpu, wall = cpu_seconds(), perf_counter()
        generate.run(config)
        spent = {"cpu_s": cpu_seconds() - cpu, "wall_s": perf_counter() - wall}
        return {**read_json(out / "manifest.json")["figures"], **spent}


@contextmanager
def counted_physics() -> Iterator[list[float]]:
    """Count the CPU seconds of this process inside the calls that step physics, in one item."""
    spent, rollout = [0.0], Batch.rollout

    def counted(self: Batch, *args: Any, **kwargs: Any) -> Any:
        start = process_time()
        try:
            return rollout(self, *args, **kwargs)
        finally:
            spent[0] += process_time() - start

    Batch.rollout = counted
    try:
        yield spent
    finally:
        Batch.rollout = rollout


def bench_speed(setup: Setup, n: int) -> list[tuple[str, float, float]]:
    """What a kept demonstration of Stack D0 costs; name, figure and goal."""
    setup.generate(10, 0, 1)  # compiled code is loaded once
    with counted_physics() as physics_s:
        bare = setup.generate(BARE * n, 0, 1)
    filmed = setup.generate(n, PX, 1)
    # two, two, one: what others take of the machine changes while it is measured
    pair = [setup.generate(BARE * n, 0, workers) for workers in (2, 2, 1)]
    each, each_filmed = bare["cpu_s"] / bare["kept"], filmed["cpu_s"] / filmed["kept"]
    print(f"no cameras                {each:8.2f} CPU s a kept demonstration")
    print(f"two cameras of {PX} px     {each_filmed:8.2f} CPU s a kept demonstration")
    two = (bare["wall_s"] + pair[2]["wall_s"]) / (pair[0]["wall_s"] + pair[1]["wall_s"])
    return [
        ("times the published, no cameras", PUBLISHED_S / each, FASTER),
        ("times the published, two cameras", PUBLISHED_IMAGES_S / each_filmed, FASTER_IMAGES),
        ("share of physics", physics_s[0] / bare["cpu_s"], PHYSICS),
        ("two workers against one", two, TWO_WORKERS),
    ]


def main() -> None:
    """Print the figures beside their goals."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-n", type=int, default=100, help="demonstrations to keep with images")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        speeds = bench_speed(Setup(Path(folder)), options.n)
    for name, figure, goal in speeds:
        print(f"{name:34} {figure:8.2f}   goal {goal:g}{'' if figure >= goal else '   MISSED'}")
    if options.json:
        print(json.dumps({name: {"figure": figure, "goal": goal} for name, figure, goal in speeds}))
    sys.exit(1 if any(figure < goal for _, figure, goal in speeds) else 0)


if __name__ == "__main__":
    main()
