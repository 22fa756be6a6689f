"""Runs in LeRobot's own Python (tools/lerobot_venv.sh): what LeRobot reads, and how fast it is.

python lerobot_side.py read DATASET OUT.npz      every frame as LeRobotDataset gives it
python lerobot_side.py bench EPISODES.npz        writes and reads at its defaults, JSON to stdout
"""

import json
import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

# torchvision's wheel wants CUDA; on a CPU build of torch its operators do not load and importing
# it fails unless these two names exist. Nothing here calls them.
OPERATORS = torch.library.Library("torchvision", "FRAGMENT")
for operator in ("nms", "qnms"):
    OPERATORS.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")

from lerobot.datasets.lerobot_dataset import LeRobotDataset  # noqa: E402


def read(folder: str, out: str) -> None:
    """Save what the dataset holds: images as floats (n, 3, h, w), columns, tasks."""
    dataset = LeRobotDataset("local/dataset", root=folder, video_backend="pyav")
    rows = [dataset[i] for i in range(len(dataset))]
    keys = [key for key, value in rows[0].items() if isinstance(value, torch.Tensor)]
    arrays = {key: torch.stack([row[key] for row in rows]).numpy() for key in keys}
    seconds = [i / dataset.fps for i in range(4)]
    chunked = LeRobotDataset(
        "local/dataset", root=folder, video_backend="pyav", delta_timestamps={"action": seconds}
    )
    last = chunked[len(dataset) - 2]
    np.savez(
        out,
        tasks=[row["task"] for row in rows],
        stats_mean=dataset.meta.stats["observation.state"]["mean"],
        chunk=last["action"].numpy(),
        chunk_is_pad=last["action_is_pad"].numpy(),
        **arrays,
    )


def bench(path: str) -> None:
    """Print CPU and wall seconds of writing, and of random reads."""
    episodes = np.load(path)
    n_episodes, n_steps, height, width, _ = episodes["front"].shape
    image = {
        "dtype": "video",
        "shape": (height, width, 3),
        "names": ["height", "width", "channels"],
    }
    features = {f"observation.images.{camera}": image for camera in ("front", "wrist")}
    for name in ("observation.state", "action"):
        n = episodes[name].shape[2]
        features[name] = {"dtype": "float32", "shape": (n,), "names": [str(i) for i in range(n)]}
    with tempfile.TemporaryDirectory() as folder:
        clock = Clock()
        root = Path(folder) / "dataset"
        dataset = LeRobotDataset.create("local/dataset", 20, features, root=root)
        for e in range(n_episodes):
            for t in range(n_steps):
                images = {f"observation.images.{c}": episodes[c][e, t] for c in ("front", "wrist")}
                columns = {name: episodes[name][e, t] for name in ("observation.state", "action")}
                dataset.add_frame({**images, **columns, "task": "put the bowl on the plate"})
            dataset.save_episode()
        dataset.finalize()
        write = clock.read()
        dataset = LeRobotDataset("local/dataset", root=root)
        order = np.random.default_rng(0).integers(len(dataset), size=100)
        clock = Clock()
        for index in order:
            dataset[int(index)]
        result = {"write": write, "n_read": 2 * len(order), "read": clock.read()}
    print(json.dumps(result))


class Clock:
    """Seconds since it was made: (CPU with finished children, wall)."""

    def __init__(self) -> None:
        self.start = self.now()

    def now(self) -> tuple[float, float]:
        """Return the time."""
        return sum(os.times()[:4]), time.perf_counter()

    def read(self) -> tuple[float, float]:
        """Return the seconds gone by."""
        cpu, wall = self.now()
        return cpu - self.start[0], wall - self.start[1]


if __name__ == "__main__":
    {"read": read, "bench": bench}[sys.argv[1]](*sys.argv[2:])
