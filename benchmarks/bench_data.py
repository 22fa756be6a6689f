"""Write a dataset and draw training batches from it; LeRobot beside it if its Python is given.

    python benchmarks/bench_data.py [--lerobot-python PATH]     (tools/lerobot_venv.sh makes one)

Two cameras, 96 px, 100 steps an episode. CPU seconds count every thread and child process.
"""

import argparse
import json
import os
import subprocess
import tempfile
from pathlib import Path
from time import perf_counter, process_time

import numpy as np

from roboloop.data.cache import build_cache, read_cache
from roboloop.data.episode import Episode
from roboloop.data.shard import write_shard
from roboloop.data.writer import finish_dataset
from roboloop.policy.recipes import RECIPES
from roboloop.policy.samples import Samples

LEROBOT_SIDE = Path(__file__).parents[1] / "tools/lerobot_side.py"
N_STEPS, PX, N_STATE, N_ACTION, BATCH, HORIZON = 100, 96, 9, 8, 64, 16


def make_episode(seed: int) -> Episode:
    """Make a table with three boxes, a noisy wood grain and a gripper that moves over it."""
    rng = np.random.default_rng(seed)
    row, column = np.mgrid[:PX, :PX]
    grain = 12 * np.sin(row / 2.3 + 3 * np.sin(column / 19)) + rng.normal(0, 3, (PX, PX))
    table = np.array([150, 120, 90]) + grain[..., None]
    for _ in range(3):
        y, x, h, w = *rng.integers(5, 70, 2), *rng.integers(8, 22, 2)
        table[y : y + h, x : x + w] = rng.integers(20, 235, 3)
    frames = np.repeat(np.clip(table, 0, 255).astype(np.uint8)[None], N_STEPS, 0)
    for t, frame in enumerate(frames):
        y, x = int(35 + 30 * np.sin(t / 17)), int(35 + 30 * np.cos(t / 23))
        frame[y : y + 16, x : x + 4] = frame[y : y + 16, x + 12 : x + 16] = 60
        frame[:y, x + 4 : x + 12] = 225
    walk = np.cumsum(rng.normal(0, 0.01, (N_STEPS + 1, 120)), 0)
    return Episode(
        state=walk[:-1, :N_STATE].astype(np.float32),
        action=walk[1:, :N_ACTION].astype(np.float32),
        action_intended=walk[1:, :N_ACTION].astype(np.float32),
        imitate=np.ones(N_STEPS, bool),
        action_eef=walk[1:, :8].astype(np.float32),
        images={"front": frames, "wrist": frames[:, ::-1, ::-1].copy()},
        sim_states=walk,
        object_poses=walk[:-1, :21].reshape(N_STEPS, 3, 7).copy(),
        subtasks=(("grasp", 0, 50), ("put", 50, N_STEPS)),
        task="put the bowl on the plate",
        success=True,
        scene=f"cousins/{seed:04d}",
        seed=seed,
        robot="panda",
    )


def bench_ours(folder: Path, episodes: list[Episode], seconds: float) -> tuple[float, float]:
    """Return steps written and images read per CPU second."""
    n_steps = sum(map(len, episodes))
    start, start_wall = process_time(), perf_counter()
    for index, episode in enumerate(episodes):
        write_shard(folder, index, episode)
    finish_dataset(folder, list(map(str, range(N_STATE))), list(map(str, range(N_ACTION))))
    written = n_steps / (process_time() - start)
    wall = n_steps / (perf_counter() - start_wall)
    n_bytes = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    print(
        f"write     {written:8,.0f} steps/CPU-s   {wall:,.0f} steps/s, "
        f"{n_bytes / n_steps:,.0f} bytes/step"
    )
    start = process_time()
    cache = read_cache(build_cache(folder, PX))
    print(f"cache     {2 * n_steps / (process_time() - start):8,.0f} images/CPU-s   (once)")
    samples, rng, n_batches = Samples(cache, RECIPES["act"]), np.random.default_rng(0), 0
    samples.draw(rng, rng.integers(len(cache.state), size=BATCH))
    start = process_time()
    while process_time() - start < seconds:
        samples.draw(rng, rng.integers(len(cache.state), size=BATCH))
        n_batches += 1
    read = 2 * BATCH * n_batches / (process_time() - start)
    print(f"read      {read:8,.0f} images/CPU-s   batches of {BATCH} with {HORIZON} actions each")
    return written, read


def bench_lerobot(python: str, folder: Path, episodes: list[Episode]) -> tuple[float, float]:
    """Return LeRobot's steps written and images read per CPU second, on the same episodes."""
    arrays = {
        "front": [e.images["front"] for e in episodes],
        "wrist": [e.images["wrist"] for e in episodes],
        "observation.state": [e.state for e in episodes],
        "action": [e.action for e in episodes],
    }
    np.savez(folder / "episodes.npz", **arrays)
    command = [python, str(LEROBOT_SIDE), "bench", str(folder / "episodes.npz")]
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "SVT_LOG": "1"}
    answer = subprocess.run(command, check=True, env=environment, stdout=subprocess.PIPE).stdout
    result = json.loads(answer.splitlines()[-1])
    n_steps = sum(map(len, episodes))
    written, read = n_steps / result["write"][0], result["n_read"] / result["read"][0]
    print(f"LeRobot   {written:8,.0f} steps/CPU-s   {n_steps / result['write'][1]:,.0f} steps/s")
    print(f"LeRobot   {read:8,.0f} images/CPU-s   random frames")
    return written, read


def main() -> None:
    """Print the rows, and the ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--episodes", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=3.0, help="of drawing batches")
    parser.add_argument("--lerobot-python", help="Python of an environment that has lerobot")
    arguments = parser.parse_args()
    episodes = [make_episode(seed) for seed in range(arguments.episodes)]
    with tempfile.TemporaryDirectory() as folder:
        ours = bench_ours(Path(folder) / "dataset", episodes, arguments.seconds)
        if arguments.lerobot_python:
            theirs = bench_lerobot(arguments.lerobot_python, Path(folder), episodes[:4])
            ratios = [ours[i] / theirs[i] for i in range(2)]
            print(f"ratio     write {ratios[0]:.0f}x   read {ratios[1]:.0f}x")


if __name__ == "__main__":
    main()
