"""Generate many demonstrations while processes are killed; nothing may be lost or come twice.

    python -m benchmarks.kill_test [-n 10000] [--compare 10000] [--folder FOLDER] [--json]

Stack D0 without images on two workers. A worker is killed (SIGKILL) at a third of the way, the
parent at two thirds; then the same command goes on to the end. The dataset is compared with that
of a run of the first `--compare` demonstrations that nobody disturbed, episode by episode, and file
by file where both have as many. Memory is the sum of the resident sizes of all processes, which
counts pages twice that they share. Linux only. Exits with 1 where something differs.
"""

import argparse
import hashlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.generate import Setup

from roboloop.data.reader import iter_episodes
from roboloop.run import read_json

MEMORY_GIB, WORKERS, CHUNK = 4.0, 2, 10
POLL_S = 0.2


def children(pid: int) -> list[int]:
    """The processes that a process has started."""
    try:
        return [int(c) for c in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def resident(pid: int) -> int:
    """Memory of a process, bytes; 0 when it is gone."""
    try:
        pages = Path(f"/proc/{pid}/statm").read_text().split()[1]
    except OSError:
        return 0
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


class Generation:
    """The command, run in a process of its own until it ends or is killed."""

    def __init__(self, setup: Setup, n: int, out: Path) -> None:
        self.out, self.peak = out, 0
        folders = map(str, (setup.demo, setup.scene, setup.task))
        flags = ["-n", str(n), "--px", "0", "--workers", str(WORKERS), "--out", str(out), "--quiet"]
        self._words = [sys.executable, "-m", "roboloop", "generate", *folders, *flags]

    def start(self) -> None:
        """Start the command, or go on with it."""
        self._process = subprocess.Popen(self._words, stdout=subprocess.DEVNULL)

    def wait(self, n_chunks: int | None = None) -> None:
        """Wait until there are so many chunks, or for the end."""
        while self._process.poll() is None:
            pids = [self._process.pid, *children(self._process.pid)]
            self.peak = max(self.peak, sum(map(resident, pids)))
            if n_chunks is not None and len(self._chunks()) >= n_chunks:
                return
            time.sleep(POLL_S)
        if n_chunks is not None or self._process.returncode:
            sys.exit(f"the command ended with {self._process.returncode}")

    def kill_worker(self) -> None:
        """Kill the largest child, which is a worker."""
        os.kill(max(children(self._process.pid), key=resident), signal.SIGKILL)

    def kill(self) -> int:
        """Kill the parent; the number of its workers that are still there after a while."""
        workers = children(self._process.pid)
        self._process.kill()
        self._process.wait()
        time.sleep(3)
        return sum(resident(worker) > 0 for worker in workers)

    def _chunks(self) -> list[str]:
        folder = self.out / "chunks"
        return [f for f in os.listdir(folder) if f[0] != "."] if folder.exists() else []


def episode_hashes(folder: Path) -> list[str]:
    """A hash of all that is recorded of each episode."""
    hashes = []
    for e in iter_episodes(folder, images=False):
        arrays = (e.state, e.action, e.action_intended, e.action_eef, e.sim_states, e.object_poses)
        digest = hashlib.sha256(repr((e.scene, e.seed, e.success, e.subtasks, e.task)).encode())
        for array in arrays:
            digest.update(array.tobytes())
        hashes.append(digest.hexdigest())
    return hashes


def tree_hash(folder: Path) -> str:
    """A hash of all files and their names, but for the manifest, which holds times, and `chunks/`,
    which has what workers had begun when there was enough."""
    digest = hashlib.sha256()
    others = {folder / "manifest.json", *folder.glob("chunks/*")}
    for path in sorted(p for p in folder.rglob("*") if p.is_file() and p not in others):
        digest.update(str(path.relative_to(folder)).encode() + path.read_bytes())
    return digest.hexdigest()


def disturbed_run(generation: Generation, n: int) -> int:
    """Generate with two kills; the number of workers that outlived the killed parent."""
    generation.start()
    generation.wait(n // CHUNK // 3)
    generation.kill_worker()
    generation.wait(2 * n // CHUNK // 3)
    left = generation.kill()
    generation.start()
    generation.wait()
    return left


def measure(folder: Path, setup: Setup, n: int, n_compared: int) -> dict[str, object]:
    """Make both runs and compare them."""
    killed, calm = (Generation(setup, k, folder / f"{name}_{k}")
                    for name, k in (("killed", n), ("calm", n_compared)))  # fmt: skip
    left = disturbed_run(killed, n)
    hashes = episode_hashes(killed.out)
    manifest = read_json(killed.out / "manifest.json")
    figures: dict[str, object] = {
        "episodes": len(hashes),
        "twice": len(hashes) - len(set(hashes)),
        "workers_left": left,
        "peak_gib": round(killed.peak / 2**30, 2),
        **{name: manifest["cost"][name] for name in ("cpu_s", "wall_s")},
        "bytes": sum(p.stat().st_size for p in killed.out.rglob("*") if p.is_file()),
    }
    calm.start()
    calm.wait()
    figures["compared"] = n_compared
    figures["same_episodes"] = hashes[:n_compared] == episode_hashes(calm.out)
    if n_compared == n:
        figures["same_files"] = tree_hash(killed.out) == tree_hash(calm.out)
    return figures


def main() -> None:
    """Print the figures; exit with 1 where one is not as it has to be."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-n", type=int, default=10_000)
    parser.add_argument("--compare", type=int, help="by default all")
    parser.add_argument("--setup", type=Path, help="folder of scene, task and demonstrations")
    parser.add_argument("--folder", type=Path, help="where to write and leave the datasets")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        setup = Setup(options.setup or folder)
        figures = measure(folder, setup, options.n, options.compare or options.n)
    for name, value in figures.items():
        print(f"{name:14} {value}")
    if options.json:
        print(json.dumps(figures))
    good = (
        figures["episodes"] == options.n
        and not figures["twice"]
        and not figures["workers_left"]
        and figures["peak_gib"] < MEMORY_GIB
        and figures["same_episodes"]
        and figures.get("same_files", True)
    )
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
