"""How far proposed keypoints lie from those that the families know, over sampled cousins."""

import sys
from pathlib import Path
from time import process_time

import numpy as np

from roboloop.scene.families import sample
from roboloop.scene.propose import propose_keypoints

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from surfaces import surface, usual

NAMES = ("bowl", "plate", "mug", "pan", "pot", "basket", "tray", "box", "can", "bottle")
KEYS = ("center", "top", "bottom", "inside", "handle")
N = 50


def main() -> None:
    print("largest distance, cm (inf: not found); round: has a symmetry axis")
    for name in NAMES:
        far: dict[str, list[float]] = {}
        n_round, spent = 0, 0.0
        for index in range(N):
            rng = np.random.default_rng(index)
            obj = sample(usual(name), rng)
            points = surface(obj, rng)
            start = process_time()
            found = propose_keypoints(points, rng)
            spent += process_time() - start
            n_round += found.symmetry_axis is not None
            for key in KEYS:
                if key in obj.keypoints:
                    p = found.keypoints.get(key, np.full(3, np.inf))  # not found
                    off = float(np.linalg.norm(p - np.array(obj.keypoints[key])))
                    far.setdefault(key, []).append(100 * off)
        shown = "  ".join(f"{key} {np.max(v):.2f}" for key, v in far.items())
        print(f"{name:<8} round {n_round}/{N}  {shown}  {1000 * spent / N:.0f} CPU ms")


if __name__ == "__main__":
    main()
