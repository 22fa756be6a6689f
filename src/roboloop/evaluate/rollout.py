"""Closed-loop rollouts: many cells stepped together, one batched policy call for all of them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt8

from roboloop.cell import Cell
from roboloop.data.episode import seen_from_base
from roboloop.demo.execute import SETTLE_STEPS, proprioception, start_state
from roboloop.demo.judge import judge
from roboloop.evaluate.disturb import Disturbance
from roboloop.evaluate.tracker import Tracker
from roboloop.policy.base import ENVIRONMENT, STATE, TRACKED, Policy, Sense
from roboloop.render import Renderer, episode_cameras
from roboloop.sim import Simulation, qpos_of

ANY_PX = 64
"""Height and width of the images for a policy that takes any."""


@dataclass(frozen=True)
class Rollout:
    """What a policy did in one cell."""

    states: Float[np.ndarray, "T nstate"]
    """Full simulator states at the control rate, before the arm was stopped."""
    reason: str
    """Why it failed; empty for a success."""
    steps: int
    """Control steps until the task was done for good; all of them if it was not."""


def rollout(
    cells: Sequence[Cell],
    policy: Policy,
    rngs: Sequence[np.random.Generator],
    horizon_steps: int,
    execute_steps: int | None,
    start_spread: float,
    trackers: Sequence[Tracker] = (),
    disturbances: Sequence[Disturbance] = (),
) -> list[Rollout]:
    """Let a policy act in all cells for `horizon_steps`, then stop, let things settle, and judge.

    Args:
        cells: Where; they share a layout.
        policy: Who acts; it sees cameras (or where things are), joints and the instruction.
        rngs: Randomness of the start, one a cell.
        horizon_steps: Control steps of every rollout.
        execute_steps: Control steps that are taken of each chunk, if there are as many; None is
            all.
        start_spread: Standard deviation of the arm's start around home, rad.
        trackers: What a policy that sees no images is told, one a cell.
        disturbances: What happens to the cells meanwhile, one each, or none.
    """
    sim = Simulation([cell.model for cell in cells])
    starts = [start_state(c, rng, start_spread) for c, rng in zip(cells, rngs, strict=True)]
    qpos, ctrl = (np.stack(column) for column in zip(*starts, strict=True))
    sim.reset(qpos, ctrl)
    states = [sim.states[:, None].copy()]
    failed = np.zeros(len(cells), bool)
    tasks = [cell.task.instruction for cell in cells]
    policy.reset(len(cells))
    px, done = policy.px or ANY_PX, 0
    with Renderer(px, px) as renderer:
        while done < horizon_steps:
            now = sim.states
            seen = (
                observe(cells, now, renderer)
                if policy.sense == "images"
                else told(cells, now, trackers, policy.sense)
            )
            chunk = policy.act({**seen, "task": tasks})
            n = min(execute_steps or horizon_steps, chunk.shape[1], horizon_steps - done)
            done += n
            finished = np.zeros(len(cells), bool) if policy.finished is None else policy.finished
            n_steps = np.where(finished, 0, n)
            trajectory = sim.rollout(chunk[:, :n].astype(float), n_steps)
            states.append(trajectory.states)
            failed |= trajectory.failed
            ctrl = chunk[:, n - 1].astype(float)
            if disturbances:
                after = sim.states
                for i in map(int, np.flatnonzero(~finished)):
                    disturbances[i].apply(after[i])
                sim.set_states(after)
            if finished.all():
                break
    trajectory = sim.rollout(np.repeat(ctrl[:, None], SETTLE_STEPS, 1))
    settled, failed = trajectory.states[:, -1:], failed | trajectory.failed
    path = np.concatenate(states, 1)
    return [_judged(cell, path[i], settled[i], bool(failed[i])) for i, cell in enumerate(cells)]


def observe(
    cells: Sequence[Cell], states: Float[np.ndarray, "N nstate"], renderer: Renderer
) -> dict[str, np.ndarray]:
    """What the policy is shown: `observation.state` and `observation.images.<camera>`."""
    cameras = episode_cameras(cells[0].model)
    frames: dict[str, list[UInt8[np.ndarray, "h w 3"]]] = {name: [] for name in cameras}
    for cell, state in zip(cells, states, strict=True):
        for name, image in renderer.frames(cell.model, state[None], cameras).items():
            frames[name].append(image[0])
    images = {f"observation.images.{name}": np.stack(each) for name, each in frames.items()}
    first = cells[0]  # they share a layout
    return {"observation.state": proprioception(first, qpos_of(first.model, states)), **images}


def told(
    cells: Sequence[Cell],
    states: Float[np.ndarray, "N nstate"],
    trackers: Sequence[Tracker],
    sense: Sense,
) -> dict[str, np.ndarray]:
    """What a policy that sees no images is told; see `observe`."""
    qpos = [qpos_of(cell.model, state) for cell, state in zip(cells, states, strict=True)]
    tracked = [tracker.see(q) for tracker, q in zip(trackers, qpos, strict=True)]
    known = {STATE: proprioception(cells[0], np.stack(qpos))}  # they share a layout
    if sense == "tracker":
        return known | {TRACKED: np.stack(tracked)}
    return known | {ENVIRONMENT: np.stack([*map(_tracked_poses, cells, qpos, tracked)])}


def _tracked_poses(
    cell: Cell, qpos: Float[np.ndarray, "nq"], tracked: Float[np.ndarray, "m"]
) -> Float[np.ndarray, "n_obj 4 4"]:
    """Poses of objects and moving parts in the frame of the first arm's base."""
    seen = qpos.copy()
    seen[cell.object_qpos] = tracked
    return seen_from_base(tuple(cell.tracked_bodies), cell.body_poses(seen[None]))[0]


def _judged(cell: Cell, states: np.ndarray, settled: np.ndarray, failed: bool) -> Rollout:
    path = qpos_of(cell.model, np.concatenate([states, settled]))
    reason = "physics failed" if failed else judge(cell, path)
    if reason:
        return Rollout(states, reason, len(states) - 1)
    # the task is done for good after the last step at which it was not
    last = next((t for t in range(len(path) - 2, -1, -4) if judge(cell, path[: t + 1])), 0)
    return Rollout(states, reason, last)
