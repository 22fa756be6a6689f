"""The planner in closed loop in physics: every preset, undisturbed, disturbed, with a tracker.

With `wrong_axis` it plans with doors, drawers and knobs whose axes are not where it thinks.
"""

import re
from collections import Counter
from functools import partial
from itertools import count
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from roboloop.cell import Cell
from roboloop.cells import build_cell
from roboloop.demo.execute import rngs_for
from roboloop.demo.loop import ClosedLoop
from roboloop.evaluate.closed_loop import disturb, misjudged, plan
from roboloop.evaluate.disturb import Kind
from roboloop.evaluate.rollout import Rollout
from roboloop.evaluate.tracker import TrackerConfig
from roboloop.interval import percent
from roboloop.jobs import map_jobs
from roboloop.render import Renderer
from roboloop.robot import ROBOTS
from roboloop.scene.cousins import Spread, sample_cousin
from roboloop.scene.graph import SceneGraph
from roboloop.scene.presets import PRESETS, SMALL, preset_scene
from roboloop.scene.settle import settle
from roboloop.station import STATIONS
from roboloop.task.make import make_task
from roboloop.task.spec import Task

STAGE, CHUNK = 20, 10


class Condition(NamedTuple):
    """What happens, how well the planner sees and knows, and the success rate to reach."""

    disturbed: Kind
    tracker: TrackerConfig
    goal: float
    wrong_axis: tuple[float, float] | None = None
    """By how much axes are tilted (deg) and hinges displaced (m), where the task has a joint."""


CONDITIONS = {
    "undisturbed": Condition("none", TrackerConfig(), 0.90),
    "disturbed": Condition("all", TrackerConfig(), 0.75),
    "tracker 5 mm, 100 ms": Condition("none", TrackerConfig(5.0, 100.0), 0.80),
    "wrong_axis": Condition("none", TrackerConfig(), 0.80, (5.0, 0.01)),
    "wrong_axis_twice": Condition("none", TrackerConfig(), 0.60, (10.0, 0.02)),
}
MEASURED = ("panda", "two_pandas", "aloha")
"""Robots, and stations of two arms, by default."""
TWO_ARMED = {"two_pandas": ("tray", "handover", "towel"), "aloha": ("tray", "handover_small")}
"""Presets that a station can reach."""
OTHER_ROBOTS_GOAL, TOWEL_GOAL = 0.80, 0.60
SPREAD = 0.04
ALL_PRESETS = {**PRESETS, **SMALL}
NEAR = Spread(xy=0.04)
"""Of the cousins of small presets, which also have to be within reach."""
WIDTH, HEIGHT, QUALITY = 320, 240, 80
"""Of each of the two images in a failure's picture, px."""
LONGEST_NAME = 120
"""Of such a picture, characters."""


def starts(
    preset: str, robot: str, condition: str, failures: Path | None, indices: range
) -> list[dict]:
    """Do some starts of one task: a random cousin of the preset each."""
    twin = settle(preset_scene(preset))
    task = make_task(twin, ALL_PRESETS[preset].sentence, STATIONS[robot])
    if preset in SMALL:
        cousins = [in_reach(twin, task, i) for i in indices]
    else:
        seeds = [np.random.SeedSequence([0, STAGE, i]) for i in indices]
        cousins = [sample_cousin(twin, seed) for seed in seeds]
    cells = [build_cell(cousin, task) for cousin in cousins]
    what = CONDITIONS[condition]
    believed = None
    if what.wrong_axis:
        tilt_deg, shift = what.wrong_axis
        believed = misjudged(cells, np.deg2rad(tilt_deg), shift, 0, indices)
    ends, loops = plan(
        cells, rngs_for(0, STAGE, indices), what.tracker, 0, indices, SPREAD,
        disturb(cells, what.disturbed, 0, indices), believed,
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


def in_reach(twin: SceneGraph, task: Task, index: int) -> SceneGraph:
    """The first cousin whose things are all within the robot's reach."""
    low, high = ROBOTS[task.robot].reach
    for k in count():
        cousin = sample_cousin(twin, np.random.SeedSequence([0, STAGE, index, k]), NEAR)
        points = np.array([o.T_world_obj[:2, 3] for o in cousin.objects])
        far = np.linalg.norm(points - task.arms[0].T_world_base[:2, 3], axis=1)
        if low <= far.min() and far.max() <= high:
            return cousin
    raise AssertionError


def _fits(preset: str, robot: str, condition: Condition) -> bool:
    """Whether a robot, or two, can be asked to do a task in a condition."""
    if ALL_PRESETS[preset].n_arms > 1:
        alone = condition.disturbed == "none" and not condition.wrong_axis
        return alone and preset in TWO_ARMED.get(robot, ())
    jointed = any(each.joints for each in preset_scene(preset).objects)
    return robot not in TWO_ARMED and (jointed or not condition.wrong_axis)


def cause(end: Rollout, loop: ClosedLoop) -> str:
    """Why a start failed: what is wrong at the end, and what the planner gave up at."""
    if not (end.reason and loop.problem):
        return end.reason
    return f"{end.reason} ({re.sub(' by [0-9].*', '', loop.problem)})"


def keep(stem: Path, cell: Cell, end: Rollout, loop: ClosedLoop, index: int) -> None:
    """Write a picture of a failure, unless there is one: its first turn for the worse, and its end.

    Beside it, which start it was, and what the planner said.
    """
    name = re.sub("[^a-z0-9]+", "_", stem.name).strip("_")[:LONGEST_NAME]
    path = stem.with_name(f"{name}.jpg")
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
        for preset in presets:
            if not _fits(preset, robot, CONDITIONS[condition]):
                continue
            goal = CONDITIONS[condition].goal if robot == "panda" else OTHER_ROBOTS_GOAL
            goal = TOWEL_GOAL if preset == "towel" else goal
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
