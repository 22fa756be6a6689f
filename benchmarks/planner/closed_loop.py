"""The planner in closed loop in physics: every preset, undisturbed, disturbed, with a tracker."""

import re
from collections import Counter
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from roboloop.cell import Cell, build_cell
from roboloop.demo.execute import rngs_for
from roboloop.demo.loop import ClosedLoop
from roboloop.evaluate.closed_loop import disturb, plan
from roboloop.evaluate.rollout import Rollout
from roboloop.evaluate.tracker import TrackerConfig
from roboloop.interval import percent
from roboloop.jobs import map_jobs
from roboloop.render import Renderer
from roboloop.robot import ROBOTS
from roboloop.scene.cousins import sample_cousin
from roboloop.scene.presets import PRESETS, preset_scene
from roboloop.scene.settle import settle
from roboloop.task.make import make_task

STAGE, CHUNK = 20, 10
CONDITIONS = {
    "undisturbed": ("none", TrackerConfig(), 0.90),
    "disturbed": ("all", TrackerConfig(), 0.75),
    "tracker 5 mm, 100 ms": ("none", TrackerConfig(5.0, 100.0), 0.80),
}
"""What happens, how well it sees, and the success rate to reach."""
OTHER_ROBOTS_GOAL = 0.80
SPREAD = 0.04
WIDTH, HEIGHT, QUALITY = 320, 240, 80
"""Of each of the two images in a failure's picture, px."""


def starts(
    preset: str, robot: str, condition: str, failures: Path | None, indices: range
) -> list[dict]:
    """Do some starts of one task: a random cousin of the preset each."""
    twin = settle(preset_scene(preset))
    task = make_task(twin, PRESETS[preset].sentence, ROBOTS[robot])
    seeds = [np.random.SeedSequence([0, STAGE, i]) for i in indices]
    cells = [build_cell(sample_cousin(twin, seed), task) for seed in seeds]
    kind, tracker, _ = CONDITIONS[condition]
    ends, loops = plan(
        cells, rngs_for(0, STAGE, indices), tracker, 0, indices, SPREAD,
        disturb(cells, kind, 0, indices),
    )  # fmt: skip
    for index, cell, end, loop in zip(indices, cells, ends, loops, strict=True):
        if failures and end.reason:
            keep(failures / f"{preset} {condition} {cause(end, loop)}", cell, end, loop, index)
    return [
        {
            "cause": cause(end, loop),
            "steps": len(end.states),
            "cpu_ms": [1e3 * t for t in loop.cpu_s],
            "n_back": sum("back to" in event.what for event in loop.log),
            "n_again": sum("planned again" in event.what for event in loop.log),
        }
        for end, loop in zip(ends, loops, strict=True)
    ]


def cause(end: Rollout, loop: ClosedLoop) -> str:
    """Why a start failed: what is wrong at the end, and what the planner gave up at."""
    if not (end.reason and loop.problem):
        return end.reason
    return f"{end.reason} ({re.sub(' by [0-9].*', '', loop.problem)})"


def keep(stem: Path, cell: Cell, end: Rollout, loop: ClosedLoop, index: int) -> None:
    """Write a picture of a failure, unless there is one: its first turn for the worse, and its end.

    Beside it, which start it was, and what the planner said.
    """
    path = stem.with_name(re.sub("[^a-z0-9]+", "_", stem.name).strip("_") + ".jpg")
    if path.exists():
        return
    worse = next((e.step for e in loop.log if "back to" in e.what or "gave up" in e.what), 0)
    states = end.states[[min(worse, len(end.states) - 1), -1]]
    with Renderer(WIDTH, HEIGHT) as renderer:
        frames = renderer.frames(cell.model, states, ["front"])["front"]
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.concatenate(frames, 1)).save(path, quality=QUALITY)
    path.with_suffix(".txt").write_text("\n".join([f"start {index}", *map(str, loop.log), ""]))


def measure(
    n: int,
    presets: list[str],
    robot: str,
    conditions: list[str],
    workers: int,
    failures: Path | None = None,
) -> dict:
    """Measure and print `n` starts of every preset in every condition; missed goals are marked.

    With `failures`, one picture of each cause is written there.
    """
    print(f"{n} starts each, {robot}: success [95 %], control steps, CPU ms a step: median, 99 %")
    rows = {}
    for condition in conditions:
        goal = CONDITIONS[condition][2] if robot == "panda" else OTHER_ROBOTS_GOAL
        for preset in presets:
            work = partial(starts, preset, robot, condition, failures)
            chunks = [range(i, min(i + CHUNK, n)) for i in range(0, n, CHUNK)]
            done = [each for chunk in map_jobs(work, chunks, workers) for each in chunk]
            causes = Counter(each["cause"] for each in done if each["cause"])
            good = n - sum(causes.values())
            cpu = np.concatenate([each["cpu_ms"] for each in done])
            missed = good < goal * n
            rows[f"{preset}, {robot}, {condition}"] = {
                "n": n, "good": good, "failures": dict(causes), "missed": missed,
                "failed_starts": [i for i, each in enumerate(done) if each["cause"]],
                "steps": float(np.mean([each["steps"] for each in done])),
                "n_back": sum(each["n_back"] for each in done),
                "n_again": sum(each["n_again"] for each in done),
                "cpu_ms": [float(np.percentile(cpu, p)) for p in (50, 99)],
            }  # fmt: skip
            print(
                f"{preset:15s} {condition:20s} {percent(good, n):18s} "
                f"{np.mean([each['steps'] for each in done]):4.0f} "
                f"{np.median(cpu):5.1f} {np.percentile(cpu, 99):5.0f}  "
                + ("missed  " if missed else "")
                + ", ".join(f"{why} {k}" for why, k in causes.most_common()),
                flush=True,
            )
    return rows
