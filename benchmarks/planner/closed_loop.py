"""The planner in closed loop in physics: every preset, undisturbed, disturbed, with a tracker.

With `wrong_axis` it plans with doors, drawers and knobs whose axes are not where it thinks.
"""

from collections import Counter
from functools import partial
from typing import NamedTuple

import numpy as np

from roboloop.cell import build_cell
from roboloop.demo.execute import rngs_for
from roboloop.evaluate.closed_loop import disturb, misjudged, plan
from roboloop.evaluate.disturb import Kind
from roboloop.evaluate.tracker import TrackerConfig
from roboloop.interval import percent
from roboloop.jobs import map_jobs
from roboloop.scene.cousins import sample_cousin
from roboloop.scene.presets import PRESETS, preset_scene
from roboloop.scene.settle import settle
from roboloop.station import STATIONS
from roboloop.task.make import make_task

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
OTHER_ROBOTS_GOAL = 0.80
SPREAD = 0.04


def starts(preset: str, robot: str, condition: str, indices: range) -> list[dict]:
    """Do some starts of one task: a random cousin of the preset each."""
    twin = settle(preset_scene(preset))
    task = make_task(twin, PRESETS[preset].sentence, STATIONS[robot])
    seeds = [np.random.SeedSequence([0, STAGE, i]) for i in indices]
    cells = [build_cell(sample_cousin(twin, seed), task) for seed in seeds]
    what = CONDITIONS[condition]
    believed = None
    if what.wrong_axis:
        tilt_deg, shift = what.wrong_axis
        believed = misjudged(cells, np.deg2rad(tilt_deg), shift, 0, indices)
    ends, loops = plan(
        cells, rngs_for(0, STAGE, indices), what.tracker, 0, indices, SPREAD,
        disturb(cells, what.disturbed, 0, indices), believed,
    )  # fmt: skip
    return [
        {
            "reason": end.reason,
            "problem": loop.problem,
            "steps": len(end.states),
            "cpu_ms": [1e3 * t for t in loop.cpu_s],
            "n_back": sum("back to" in event.what for event in loop.log),
        }
        for end, loop in zip(ends, loops, strict=True)
    ]


def _has_joint(preset: str) -> bool:
    return any(each.joints for each in preset_scene(preset).objects)


def measure(n: int, presets: list[str], robot: str, conditions: list[str], workers: int) -> dict:
    """Measure and print `n` starts of every preset in every condition; missed goals are marked."""
    print(f"{n} starts each, {robot}: success [95 %], control steps, CPU ms a step: median, 99 %")
    rows = {}
    for condition in conditions:
        goal = CONDITIONS[condition].goal if robot == "panda" else OTHER_ROBOTS_GOAL
        for preset in presets:
            if CONDITIONS[condition].wrong_axis and not _has_joint(preset):
                continue
            work = partial(starts, preset, robot, condition)
            chunks = [range(i, min(i + CHUNK, n)) for i in range(0, n, CHUNK)]
            done = [each for chunk in map_jobs(work, chunks, workers) for each in chunk]
            reasons = Counter(each["reason"] for each in done if each["reason"])
            good = n - sum(reasons.values())
            cpu = np.concatenate([each["cpu_ms"] for each in done])
            missed = good < goal * n
            rows[f"{preset}, {robot}, {condition}"] = {
                "n": n, "good": good, "failures": dict(reasons), "missed": missed,
                "steps": float(np.mean([each["steps"] for each in done])),
                "n_back": sum(each["n_back"] for each in done),
                "cpu_ms": [float(np.percentile(cpu, p)) for p in (50, 99)],
            }  # fmt: skip
            print(
                f"{preset:15s} {condition:20s} {percent(good, n):18s} "
                f"{np.mean([each['steps'] for each in done]):4.0f} "
                f"{np.median(cpu):5.1f} {np.percentile(cpu, 99):5.0f}  "
                + ("missed  " if missed else "")
                + ", ".join(f"{reason} {k}" for reason, k in reasons.most_common()),
                flush=True,
            )
    return rows
