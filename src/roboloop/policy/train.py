"""Train a policy: deterministic batches, an averaged copy of the weights, exact resumption."""

import csv
import functools
import io
import math
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor
from torch.optim.swa_utils import get_ema_multi_avg_fn

from roboloop.console import Progress
from roboloop.data.cache import Cache
from roboloop.errors import RoboloopError
from roboloop.policy.act import Act
from roboloop.policy.base import Checkpoint
from roboloop.policy.checkpoint import read_tensors, write_checkpoint, write_tensors
from roboloop.policy.recipes import ActConfig
from roboloop.policy.samples import Batch, Samples, measure_scaling
from roboloop.run import Interruptible, write_bytes_atomic

STAGE = 4
"""Number of this stage in the seeds of everything random."""
HELD_OUT = 20
"""One episode in so many is held out of training, at least one."""
N_SHARDS = 2
"""Parts of a batch that can be computed at once."""
N_CHECK = 256
"""Frames of held-out episodes on which the loss is measured."""
WARMUP_STEPS, BETAS, WEIGHT_DECAY, MAX_NORM = 50, (0.9, 0.99), 1e-4, 1.0
TIMED_STEPS = 10
CURVE = "curve.csv"
Row = dict[str, float]
"""A line of the learning curve: `step`, the terms of the loss, `held_out_loss`, `cpu_s`."""


@dataclass(frozen=True)
class Schedule:
    """How long and how fast to learn."""

    steps: int
    batch: int
    """Images of each camera in a step; even."""
    learning_rate: float = 1e-3
    """Highest learning rate; it warms up, then falls to zero along a cosine."""
    averaging: float = 0.99
    """Decay of the moving average of the weights, which is what is kept."""
    save_steps: int = 100
    """Steps between checkpoints."""

    def rate(self, step: int) -> float:
        """Learning rate of a step."""
        warmup = min(1.0, (step + 1) / WARMUP_STEPS)
        return self.learning_rate * warmup * 0.5 * (1 + math.cos(math.pi * step / self.steps))


class Learner:
    """The weights, their average and the optimiser's state; a step changes them in place.

    A step's batch is split into shards, whose gradients are computed by threads and added up in
    order: the same numbers for any number of workers. Torch's own threads are kept to one per
    worker (`train` sees to it): on busy cores they wait for each other most of the time.
    """

    def __init__(self, samples: Samples, schedule: Schedule, seed: int, workers: int = 1) -> None:
        self.samples, self.schedule, self.seed, self.step = samples, schedule, seed, 0
        torch.manual_seed(seed)
        cameras, scaling = tuple(samples.cache.images), measure_scaling(samples)
        self.net, self.average = (
            Act(samples.config, cameras, samples.cache.hand_cameras, scaling) for _ in range(2)
        )
        self.average.load_state_dict(self.net.state_dict())
        self._weights: list[Tensor] = list(self.net.parameters())
        self.optimizer = torch.optim.AdamW(
            self._weights, schedule.learning_rate, BETAS, weight_decay=WEIGHT_DECAY, fused=True
        )
        frames, self._held_out_frames = split_frames(samples.cache, seed)
        self._train_frames = samples.as_often(frames) if cameras else frames
        self._map = ThreadPoolExecutor(workers).map if workers > 1 else map

    def learn(self) -> Row:
        """Take one step; its batch depends on the seed and the step alone."""
        seeds = np.random.SeedSequence([self.seed, STAGE, self.step]).spawn(N_SHARDS)
        shards = list(self._map(self._gradients, seeds))
        gradients = zip(*(gradients for _, gradients in shards), strict=True)
        for weight, parts in zip(self._weights, gradients, strict=True):
            weight.grad = functools.reduce(torch.Tensor.add_, parts).div_(N_SHARDS)
        for group in self.optimizer.param_groups:
            group["lr"] = self.schedule.rate(self.step)
        torch.nn.utils.clip_grad_norm_(self._weights, MAX_NORM)
        self.optimizer.step()
        self._average()
        self.step += 1
        return mean_row([terms for terms, _ in shards])

    def _gradients(self, seed: np.random.SeedSequence) -> tuple[Row, tuple[Tensor, ...]]:
        """Draw a shard of the batch; return the terms of its loss, and the gradients."""
        rng = np.random.default_rng(seed)
        frames = rng.choice(self._train_frames, self.schedule.batch // N_SHARDS)
        batch = to_tensors(self.samples.draw(rng, frames))
        terms = self.net.losses(batch, torch.Generator().manual_seed(int(rng.integers(2**62))))
        gradients = torch.autograd.grad(terms["loss"], self._weights)
        return {name: float(value.detach()) for name, value in terms.items()}, gradients

    @torch.no_grad()
    def _average(self) -> None:
        decay = min(self.schedule.averaging, (1 + self.step) / (10 + self.step))
        get_ema_multi_avg_fn(decay)(list(self.average.parameters()), self._weights, None)

    @torch.inference_mode()
    def held_out_loss(self) -> float:
        """Loss of the averaged weights on episodes that are not trained on."""
        rng = np.random.default_rng(np.random.SeedSequence([self.seed, STAGE]))
        frames = np.sort(rng.choice(self._held_out_frames, N_CHECK))
        parts = [
            self.average.losses(to_tensors(self.samples.draw(rng, some, augment=False)), None)
            for some in np.array_split(frames, 4)
        ]
        return float(np.mean([part["loss"] for part in parts]))

    def state(self) -> dict[str, Tensor]:
        """Everything that the next step depends on."""
        moments = self.optimizer.state_dict()["state"]
        return {
            "step": torch.tensor(self.step),
            **{f"net.{name}": value for name, value in self.net.state_dict().items()},
            **{f"average.{name}": value for name, value in self.average.state_dict().items()},
            **{
                f"adam.{index}.{name}": value
                for index, values in moments.items()
                for name, value in values.items()
            },
        }

    def restore(self, state: dict[str, Tensor]) -> None:
        """Take up a state made by `state`, in place."""
        self.net.load_state_dict(_below("net.", state))
        self.average.load_state_dict(_below("average.", state))
        moments: dict[int, dict[str, Tensor]] = {}
        for name, value in _below("adam.", state).items():
            index, _, key = name.partition(".")
            if value.ndim:  # the fused optimiser wants the weights' memory layout
                value = torch.empty_like(self._weights[int(index)]).copy_(value)
            moments.setdefault(int(index), {})[key] = value
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": moments, "param_groups": groups})
        self.step = int(state["step"])


def train(
    cache: Cache,
    checkpoint: Checkpoint,
    schedule: Schedule,
    out: Path,
    seed: int,
    workers: int = 1,
) -> list[Row]:
    """Train in `out`, or go on there, until the schedule ends.

    Every save writes `policy.json` and `model.safetensors` (the averaged weights), `curve.csv`
    and `checkpoints/last.safetensors`, from which a run that was killed goes on exactly. Ctrl-C
    finishes the step and saves.

    Args:
        cache: The demonstrations.
        checkpoint: What is trained; its `step` is filled in.
        schedule: How long and how fast.
        out: The folder.
        seed: Seed of everything random.
        workers: Threads that compute; the result is the same for any number.

    Returns:
        The learning curve.
    """
    torch.set_num_threads(1)
    learner = Learner(Samples(cache, checkpoint.config), schedule, seed, workers)
    last, curve = out / "checkpoints" / "last.safetensors", []
    if last.exists():
        learner.restore(read_tensors(last))
        curve = [row for row in read_curve(out / CURVE) if row["step"] <= learner.step]
    cpu_start = time.process_time() - (curve[-1]["cpu_s"] if curve else 0.0)
    terms: list[Row] = []
    with Progress("train", schedule.steps, "steps") as progress, Interruptible() as stop:
        progress.start_from(learner.step)
        while learner.step < schedule.steps and not stop.requested:
            terms.append(learner.learn())
            progress.update(learner.step, loss=terms[-1]["loss"])
            due = learner.step % schedule.save_steps == 0 or learner.step == schedule.steps
            if due or stop.requested:
                held_out = learner.held_out_loss()
                cpu = time.process_time() - cpu_start
                row = {
                    "step": learner.step,
                    **mean_row(terms),
                    "held_out_loss": held_out,
                    "cpu_s": cpu,
                }
                curve.append(row)
                terms = []
                _save(out, last, replace(checkpoint, step=learner.step), learner, curve)
    return curve


def _save(
    out: Path, last: Path, checkpoint: Checkpoint, learner: Learner, curve: list[Row]
) -> None:
    """Write everything; what the next call goes on from comes last."""
    write_checkpoint(out, checkpoint, learner.average.state_dict())
    text = io.StringIO()
    writer = csv.DictWriter(text, list(curve[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: f"{value:.6g}" for name, value in row.items()} for row in curve)
    write_bytes_atomic(out / CURVE, text.getvalue().encode())
    write_tensors(last, learner.state())


def read_curve(path: Path) -> list[Row]:
    """Read a learning curve."""
    with path.open(newline="") as stream:
        return [{name: float(v) for name, v in row.items()} for row in csv.DictReader(stream)]


def split_frames(cache: Cache, seed: int) -> tuple[Int64[np.ndarray, "n"], Int64[np.ndarray, "m"]]:
    """Return the frames of the episodes to train on, and of those held out.

    Raises:
        RoboloopError: There are fewer than two episodes.
    """
    n_episodes = len(cache.tasks)
    if n_episodes < 2:
        raise RoboloopError(f"{n_episodes} episode to train on", "at least 2 are needed")
    rng = np.random.default_rng(np.random.SeedSequence([seed, STAGE]))
    chosen = rng.choice(n_episodes, max(1, n_episodes // HELD_OUT), replace=False)
    held_out = np.isin(cache.episode, chosen)
    return np.flatnonzero(~held_out), np.flatnonzero(held_out)


def steps_in(
    minutes: float, cache: Cache, config: ActConfig, schedule: Schedule, workers: int
) -> int:
    """Return how many steps fit in `minutes` on this machine, by timing a few."""
    torch.set_num_threads(1)
    learner = Learner(Samples(cache, config), schedule, 0, workers)
    learner.learn()  # the first one also sets things up
    start = time.monotonic()
    for _ in range(TIMED_STEPS):
        learner.learn()
    return max(1, round(60 * minutes * TIMED_STEPS / (time.monotonic() - start)))


def mean_row(rows: list[Row]) -> Row:
    """Average each value over rows."""
    return {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}


def to_tensors(batch: Batch) -> dict[str, Tensor]:
    """Hand arrays to torch, without a copy."""
    return {name: torch.from_numpy(values) for name, values in batch.items()}


def _below(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors whose names begin with `prefix`, without it."""
    return {
        name.removeprefix(prefix): value
        for name, value in tensors.items()
        if name.startswith(prefix)
    }
