"""What generated demonstrations are good for: policies trained on them, without images.

    python -m benchmarks.policy_check [stack_d0 ...] [-n 1000] [--seeds 1] [--steps 3000] [--json]

Of every preset ten demonstrations are planned and `n` generated. A policy that is told where the
objects are learns from the ten alone, and one from the generated ones; both are rolled out in
held-out resets, success judged at the end. Published figures are of image policies (BC-RNN, 1,000
demonstrations, the best of all checkpoints over 50 rollouts): Mandlekar et al. 2023, "MimicGen".
"""

import argparse
import json
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.generate import Setup, cpu_seconds

from roboloop.evaluate import command as evaluate
from roboloop.generate import command as generate
from roboloop.interval import percent
from roboloop.policy import command as train
from roboloop.run import read_json

PUBLISHED = {
    "stack_d0": (26.0, 100.0), "stack_d1": (26.0, 99.3), "stack_three_d0": (0.7, 92.7),
    "stack_three_d1": (0.7, 86.7), "square_d0": (11.3, 90.7), "square_d1": (11.3, 73.3),
    "square_d2": (11.3, 49.3), "threading_d0": (19.3, 98.0), "threading_d1": (19.3, 60.7),
    "threading_d2": (19.3, 38.0), "three_pieces_d0": (1.3, 82.0), "three_pieces_d1": (1.3, 62.7),
    "three_pieces_d2": (1.3, 13.3), "nut_assembly_d0": (0.0, 53.3),
    "kitchen_d0": (54.7, 100.0), "kitchen_d1": (54.7, 76.0),
    "coffee_preparation_d0": (12.7, 97.3), "coffee_preparation_d1": (12.7, 42.0),
}  # fmt: skip
"""Success of a policy from ten human demonstrations of D0, and from 1,000 generated ones, %."""
BATCH, N_ROLLOUTS, HORIZON_STEPS = 256, 100, 400


def check(preset: str, n: int, seed: int, steps: int, folder: Path) -> dict[str, list[int]]:
    """Successes and rollouts of a policy from the sources, and of one from what was generated."""
    setup = Setup(folder, preset)
    data = folder / "data"
    flags = {"seed": seed, "quiet": True}
    generate.run(generate.Config(setup.demo, setup.scene, setup.task, n=n, px=0, out=data, **flags))
    result = {}
    for name, dataset in (("sources", setup.demo), ("generated", data)):
        policy, out = folder / f"policy_{name}", folder / f"evaluate_{name}"
        train.run(train.Config(dataset, steps=steps, batch=BATCH, px=0, out=policy, **flags))
        roll = partial(evaluate.Config, str(policy), setup.scene, setup.task, n=N_ROLLOUTS)
        evaluate.run(roll(horizon_steps=HORIZON_STEPS, videos=False, out=out, **flags))
        (row,) = read_json(out / "results.json")["rows"]
        result[name] = [row["successes"], row["n"]]
    return result


def main() -> None:
    """Print the success of both policies beside the published ones."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("presets", nargs="*", default=["stack_d0"])
    parser.add_argument("-n", type=int, default=1000, help="demonstrations to generate")
    parser.add_argument("--seeds", type=int, default=1, help="runs of generating and training")
    parser.add_argument("--steps", type=int, default=3000, help="training steps")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    rows = {}
    for preset in options.presets:
        for seed in range(options.seeds):
            start = cpu_seconds()
            with TemporaryDirectory() as folder:
                row = check(preset, options.n, seed, options.steps, Path(folder))
            rows[f"{preset} seed {seed}"] = row
            said = " · ".join(f"{name} {percent(*row[name])}" for name in row)
            spent = cpu_seconds() - start
            print(f"{preset} seed {seed}: {said}; published {PUBLISHED[preset]}; {spent:.0f} CPU s")
    if options.json:
        print(json.dumps(rows))


if __name__ == "__main__":
    main()
