"""What generated demonstrations are good for: policies trained on them.

    python -m benchmarks.policy_check [stack_d0 ...] [-n 1000] [--noise RAD] [--seeds 3]
        [--px 0] [--steps STEPS] [--out DIR] [--json]

Of every preset ten demonstrations are planned and `n` generated. A policy learns from the generated
ones, with every seed: from images of `px`, or, at 0, told where things are. One that is told learns
from the ten alone, too. All are rolled out in held-out resets, success judged at the end. With
`--out` what is there is not made again.
Published figures are of image policies (BC-RNN, 1,000 demonstrations, the best of all checkpoints
over 50 rollouts, three seeds): Mandlekar et al. 2023, "MimicGen".
"""

import argparse
import json
from contextlib import nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from benchmarks.generate import Setup, cpu_seconds

from roboloop.data.cache import build_cache, read_cache
from roboloop.evaluate import command as evaluate
from roboloop.generate import command as generate
from roboloop.interval import percent
from roboloop.policy import command as train
from roboloop.run import read_json

PUBLISHED = {
    "stack_d0": (26.0, 100.0), "stack_d1": (26.0, 99.3), "stack_three_d0": (0.7, 92.7),
    "stack_three_d1": (0.7, 86.7), "square_d0": (11.3, 90.7), "square_d1": (11.3, 73.3),
    "square_d2": (11.3, 49.3), "threading_d0": (19.3, 98.0), "threading_d1": (19.3, 60.7),
    "threading_d2": (19.3, 38.0), "coffee_d0": (74.0, 100.0), "coffee_d1": (74.0, 90.7),
    "coffee_d2": (74.0, 77.3), "three_pieces_d0": (1.3, 82.0), "three_pieces_d1": (1.3, 62.7),
    "three_pieces_d2": (1.3, 13.3), "nut_assembly_d0": (0.0, 53.3),
    "kitchen_d0": (54.7, 100.0), "kitchen_d1": (54.7, 76.0),
    "coffee_preparation_d0": (12.7, 97.3), "coffee_preparation_d1": (12.7, 42.0),
}  # fmt: skip
"""Success of a policy from ten human demonstrations of D0, and from 1,000 generated ones, %."""
CHECKED = [f"{task}_{d}" for task in ("stack", "square", "threading", "coffee", "three_pieces")
           for d in ("d0", "d1")]  # fmt: skip
STEPS, BATCH = {"told": 2000, "images": 4000}, {"told": 256, "images": 32}
"""Of training."""
N_ROLLOUTS, SOURCE_STEPS = 100, 500
"""A hundredth of the demonstrations is learnt by heart in a fraction of the steps."""
NOISE, CLOSE_NOISE, CLOSE = 0.03, 0.01, ("coffee", "three_pieces")
"""Of generation, rad: of most tasks, and of those with so little room that half of the attempts
would fail; which those are."""
PATIENCE = 2.0
"""Steps of a rollout, over those of the longest demonstration."""


class Check:
    """Policies of a preset, in a folder."""

    def __init__(self, folder: Path, preset: str, options: argparse.Namespace) -> None:
        self.folder, self.setup, self.px = folder, Setup(folder, preset), options.px
        kind = "images" if self.px else "told"
        self.steps, self.batch = options.steps or STEPS[kind], BATCH[kind]
        self.data = {"sources": self.setup.demo, "generated": folder / f"data_{self.px}px"}
        usual = CLOSE_NOISE if preset.startswith(CLOSE) else NOISE
        noise = usual if options.noise is None else options.noise
        made = [self.setup.demo, self.setup.scene, self.setup.task]
        making = {"n": options.n, "noise": noise, "px": self.px, "quiet": True}
        generate.run(generate.Config(*made, **making, out=self.data["generated"]))
        starts = read_cache(build_cache(self.data["generated"], 0)).starts
        self.horizon = int(PATIENCE * np.diff(starts).max())

    def success(self, name: str, seed: int) -> tuple[int, int]:
        """Successes and rollouts of a policy from the `sources` or from what was `generated`."""
        which = f"{name}_{self.px}px_{seed}"
        policy, out = (self.folder / f"{part}_{which}" for part in ("policy", "evaluate"))
        common = {"seed": seed, "quiet": True}
        steps = self.steps if name == "generated" else min(self.steps, SOURCE_STEPS)
        learning = {"steps": steps, "batch": self.batch, "px": self.px, "out": policy}
        train.run(train.Config(self.data[name], **learning, **common))
        rolling = {"n": N_ROLLOUTS, "horizon_steps": self.horizon, "videos": False, "out": out}
        made = [str(policy), self.setup.scene, self.setup.task]
        evaluate.run(evaluate.Config(*made, **rolling, **common))
        (row,) = read_json(out / "results.json")["rows"]
        return row["successes"], row["n"]


def main() -> None:
    """Print the success of all policies beside the published ones."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("presets", nargs="*", default=CHECKED)
    parser.add_argument("-n", type=int, default=1000, help="demonstrations to generate")
    parser.add_argument("--noise", type=float, help="rad; by default the preset's")
    parser.add_argument("--seeds", type=int, default=3, help="of training and of the rollouts")
    parser.add_argument("--px", type=int, default=0, help="images' size; 0: told where things are")
    parser.add_argument(
        "--steps", type=int, help="of training; by default 2,000, or 4,000 of images"
    )
    parser.add_argument("--out", type=Path, help="folder to keep everything in")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    rows = {}
    for preset in options.presets:
        start = cpu_seconds()
        kept = nullcontext(options.out / preset) if options.out else TemporaryDirectory()
        with kept as folder:
            check = Check(Path(folder), preset, options)
            row = {"generated": [check.success("generated", k) for k in range(options.seeds)]}
            if not options.px:  # planned demonstrations have no images
                row["sources"] = [check.success("sources", 0)]
        said = []
        for name, each in row.items():
            seeds = ", ".join(f"{good}" for good, _ in each)
            said.append(f"{name} {percent(*np.sum(each, 0))} (of {N_ROLLOUTS} each: {seeds})")
        rows[preset] = row
        spent = cpu_seconds() - start
        published = " and ".join(f"{rate:.1f} %" for rate in PUBLISHED[preset])
        print(f"{preset}: {'; '.join(said)}; published {published}; {spent:.0f} CPU s", flush=True)
    if options.json:
        print(json.dumps(rows))


if __name__ == "__main__":
    main()
