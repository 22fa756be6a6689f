"""Data generation rate on the published benchmark's tasks, beside the published one.

    python -m benchmarks.generation_rates [square_d0 ...] --attempts 50 --noise 0.01 [--record]

Of every preset: demonstrations are planned until ten succeed, then attempts are generated from them
in other resets, without images. Success is judged at the end: the hand is away, things have
settled. Exits with 1 where a rate has fallen: where its interval is below that of the rate in
`recorded_rates.json`, which `--record` replaces.
"""

import argparse
import json
import sys
from collections import Counter
from pathlib import Path

import numpy as np

from roboloop.cell import Cell
from roboloop.cells import build_cell
from roboloop.demo.execute import attempt, rngs_for
from roboloop.demo.team import expert
from roboloop.generate.command import N_TRIALS
from roboloop.generate.rank import N_PLANNED, rank
from roboloop.generate.segments import cut_stages, recorded
from roboloop.generate.select import Source
from roboloop.generate.transform import Carrying, Transformer
from roboloop.interval import percent, wilson
from roboloop.scene.presets import BENCHMARK, preset_scene
from roboloop.scene.resets import draw_reset
from roboloop.scene.settle import settle
from roboloop.station import STATIONS
from roboloop.task.make import make_task

PUBLISHED = {
    "stack_d0": 94.3, "stack_d1": 90.0, "stack_three_d0": 71.3, "stack_three_d1": 68.9,
    "square_d0": 73.7, "square_d1": 48.9, "square_d2": 31.8,
    "threading_d0": 51.0, "threading_d1": 39.2, "threading_d2": 21.6,
    "three_pieces_d0": 35.6, "three_pieces_d1": 35.5, "three_pieces_d2": 31.3,
    "nut_assembly_d0": 50.0, "mug_cleanup_d0": 29.5, "mug_cleanup_d1": 17.0,
    "hammer_cleanup_d0": 47.6, "hammer_cleanup_d1": 20.4,
    "coffee_d0": 78.2, "coffee_d1": 63.5, "coffee_d2": 27.7,
    "pick_place_d0": 32.7, "kitchen_d0": 100.0, "kitchen_d1": 42.7,
    "coffee_preparation_d0": 53.2, "coffee_preparation_d1": 36.1,
}  # fmt: skip
"""Percent. Source: Mandlekar et al. 2023, "MimicGen", appendix on data generation rates."""
RECORDED = Path(__file__).with_name("recorded_rates.json")
"""By preset, successes and tries of the planner and of generation."""
CHUNK = 10
MAX_TRIED = 60
"""Scenes in which demonstrations are planned at most."""
PLANNED, GENERATED = 0, 1
"""Groups of resets."""


def cells_of(preset: str, group: int, indices: range, robot: str = "panda") -> list[Cell]:
    """Cells of drawn scenes of a preset: the same for every robot."""
    twin = settle(preset_scene(preset))
    task = make_task(twin, BENCHMARK[preset].sentence, STATIONS[robot])
    seeds = (np.random.SeedSequence([0, group, i]) for i in indices)
    return [build_cell(draw_reset(twin, seed), task) for seed in seeds]


def demonstrations(preset: str, n: int) -> tuple[list[Source], list[str]]:
    """Segments of `n` demonstrations, and how every try ended."""
    sources, reasons = list[Source](), list[str]()
    while len(sources) < n and len(reasons) < MAX_TRIED:
        indices = range(len(reasons), len(reasons) + CHUNK)
        cells, rngs = cells_of(preset, PLANNED, indices), rngs_for(0, 2, indices)
        experts = [expert(cell, rng) for cell, rng in zip(cells, rngs, strict=True)]
        for cell, end in zip(cells, attempt(cells, experts, indices, rngs), strict=True):
            reasons.append(end.reason)
            if end.episode is not None and not end.reason:
                sources.append(cut_stages(recorded(cell, end.episode)))
    return sources[:n], reasons


def generated(
    preset: str, sources: list[Source], n: int, noise: float, robot: str = "panda"
) -> list[str]:
    """How `n` attempts that a robot generated from sources of any robot's ended."""
    carrying, spread = Carrying(stray=0.5), 0.04
    cells = cells_of(preset, GENERATED, range(n, n + N_PLANNED + N_TRIALS), robot)
    order = rank(cells, sources, carrying, noise, spread)
    reasons = list[str]()
    for start in range(0, n, CHUNK):
        indices = range(start, min(n, start + CHUNK))
        cells, rngs = cells_of(preset, GENERATED, indices, robot), rngs_for(0, 3, indices)
        experts = [
            Transformer(cell, [sources[i] for i in order], rng, carrying)
            for cell, rng in zip(cells, rngs, strict=True)
        ]
        ends = attempt(cells, experts, indices, rngs, noise, spread)
        reasons += [end.reason for end in ends]
    return reasons


def fallen(now: tuple[int, int], before: tuple[int, int]) -> bool:
    """Whether the interval of a rate (successes, tries) is below that of an earlier one."""
    return wilson(*now)[1] < wilson(*before)[0]


def main() -> None:
    """Print a row of a table for each preset; say which rates have fallen."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("presets", nargs="*", default=list(PUBLISHED))
    parser.add_argument("--demos", type=int, default=10)
    parser.add_argument("--attempts", type=int, default=50)
    parser.add_argument("--noise", type=float, default=0.01, help="rad, on the joints' targets")
    parser.add_argument("--record", action="store_true", help="keep these rates to compare with")
    args = parser.parse_args()
    recorded, worse = json.loads(RECORDED.read_text()), list[str]()
    print("| task | planner | generated | published | failures |\n|---|---|---|---|---|")
    for preset in args.presets:
        sources, planned = demonstrations(preset, args.demos)
        reasons = generated(preset, sources, args.attempts, args.noise)
        rates = {"planner": planned, "generated": reasons}
        rates = {name: (ends.count(""), len(ends)) for name, ends in rates.items()}
        published = f"{PUBLISHED[preset]:.1f} %" if preset in PUBLISHED else ""
        failures = Counter(reason[:60] for reason in reasons if reason).most_common(3)
        why = " · ".join(f"{reason} {k}" for reason, k in failures)
        row = [preset, *(percent(*rate) for rate in rates.values()), published, why]
        print("| " + " | ".join(row) + " |", flush=True)
        for name, before in recorded.get(preset, {}).items():
            if fallen(rates[name], before):
                worse.append(f"{preset}, {name}: {percent(*rates[name])}, was {percent(*before)}")
        recorded[preset] = rates
    if args.record:
        lines = (f"  {json.dumps(name)}: {json.dumps(rates)}" for name, rates in recorded.items())
        RECORDED.write_text("{\n" + ",\n".join(lines) + "\n}\n")
    for each in worse:
        print(f"fallen: {each}")
    sys.exit(bool(worse))


if __name__ == "__main__":
    main()
