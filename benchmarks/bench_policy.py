"""Train the policy on a procedural pick-and-place toy and run it closed loop, without a simulator.

A floating hand must take a ring (the bowl) to a disc (the plate) among distractors; size, colour,
pose, light and camera differ in every episode. It is seen by an oblique front camera and by a
wrist camera. Prints throughput per CPU second and the success rate with its Wilson interval.
"""

import argparse
import time
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

from roboloop.data.cache import Cache
from roboloop.interval import percent
from roboloop.policy.base import Checkpoint, Policy
from roboloop.policy.load import load_policy
from roboloop.policy.recipes import RECIPES
from roboloop.policy.train import Schedule, train

TASK = "put the bowl on the plate"
CAMERAS = ("front", "wrist")
EXECUTE_STEPS = 8
STEP, GRASP_ERROR, PLACE_ERROR, CARRY = 0.03, 0.015, 0.03, 0.12
"""m: largest motion of a step, tolerances at the bowl and the plate, height above the table."""
LIMIT_STEPS = 110


@dataclass
class Scenes:
    """N tables; changes in place as the hand moves."""

    rng: np.random.Generator
    n: int

    def __post_init__(self):
        rng, n = self.rng, self.n
        self.place = np.empty((n, 4, 2))  # bowl, plate, two distractors
        for i in range(n):
            while True:
                self.place[i] = rng.uniform(-0.2, 0.2, (4, 2))
                gaps = np.linalg.norm(self.place[i][:, None] - self.place[i][None], axis=-1)
                if (gaps[np.triu_indices(4, 1)] > 0.13).all():
                    break
        self.radius = np.stack(
            [rng.uniform(0.045, 0.065, n), rng.uniform(0.07, 0.09, n)]
            + [rng.uniform(0.02, 0.035, n) for _ in range(2)],
            1,
        )
        base = rng.uniform(0.1, 0.9, (n, 1, 3))
        self.color = np.clip(base + rng.uniform(-0.5, 0.5, (n, 6, 3)), 0, 1)
        self.color[:, 0] = np.clip(np.array([0.6, 0.3, 0.2]) + rng.normal(0, 0.15, (n, 3)), 0, 1)
        self.color[:, 1] = np.clip(0.85 + rng.normal(0, 0.1, (n, 3)), 0, 1)
        self.light = rng.uniform(0.7, 1.1, (n, 1, 1))
        self.eye = np.array([0.0, -0.75, 0.55]) + rng.normal(0, 0.015, (n, 3))
        self.aim = np.array([0.0, 0.0, 0.03]) + rng.normal(0, 0.01, (n, 3))
        self.hand = np.array([0.0, -0.1, 0.2]) + rng.uniform(-0.05, 0.05, (n, 3))
        self.closed = np.zeros(n)
        self.held = np.zeros(n, bool)
        self.bowl_height = np.zeros(n)

    @property
    def state(self):
        return np.concatenate([self.hand, self.closed[:, None]], 1).astype(np.float32)

    def step(self, action):
        """Move the hands towards their targets; close, carry, open."""
        self.hand += 0.8 * np.clip(action[:, :3] - self.hand, -STEP, STEP)
        self.hand[:, 2] = np.maximum(self.hand[:, 2], 0.01)
        before, self.closed = self.closed, 0.5 * self.closed + 0.5 * (action[:, 3] > 0.5)
        near = np.linalg.norm(self.place[:, 0] - self.hand[:, :2], axis=1) < GRASP_ERROR
        closing = (before < 0.8) & (self.closed >= 0.8)
        self.held |= closing & near & (self.hand[:, 2] < 0.03)
        self.held &= self.closed > 0.3
        self.place[self.held, 0] = self.hand[self.held, :2]
        self.bowl_height = np.where(self.held, self.hand[:, 2] - 0.01, 0.0)

    @property
    def success(self):
        error = np.linalg.norm(self.place[:, 0] - self.place[:, 1], axis=1)
        return ~self.held & (error < PLACE_ERROR) & (self.closed < 0.3)

    def view(self, eye, aim, up, px, fov):
        """Draw a picture: discs on planes by ray casting, the fingers as screen-space dots."""
        z = aim - eye
        z /= np.linalg.norm(z, axis=1, keepdims=True)
        x = np.cross(z, up)
        x /= np.linalg.norm(x, axis=1, keepdims=True)
        R = np.stack([x, np.cross(z, x), z], 1)  # camera from world
        grid = ((np.arange(px) + 0.5) / px * 2 - 1).astype(np.float32)
        focal = 1 / np.tan(fov / 2)
        rays = (
            np.stack([*np.meshgrid(grid / focal, grid / focal), np.ones((px, px))], -1) @ R[:, None]
        )
        slope = (rays[..., :2] / np.minimum(rays[..., 2:], -1e-3)).astype(np.float32)
        slope_x, slope_y = np.moveaxis(slope, -1, 0)
        label = np.full((self.n, px, px), 5, np.uint8)

        def disc(color, center, height, radius):
            rise, dx, dy = (
                np.broadcast_to(v, self.n).astype(np.float32)[:, None, None]
                for v in (height - eye[:, 2], *(eye[:, :2] - center).T)
            )
            gap = (slope_x * rise + dx) ** 2 + (slope_y * rise + dy) ** 2
            label[gap < np.reshape(radius**2, (-1, 1, 1))] = color

        disc(4, np.zeros((self.n, 2)), 0.0, np.full(self.n, 0.5))
        for k in (1, 2, 3):
            disc(k, self.place[:, k], 0.0, self.radius[:, k])
        for color, height, scale in ((6, 0.0, 0.7), (0, 0.04, 1.0), (6, 0.04, 0.85)):
            disc(color, self.place[:, 0], self.bowl_height + height, self.radius[:, 0] * scale)
        side, zero = 0.01 + 0.03 * (1 - self.closed), np.zeros(self.n)
        for dx, dz in ((-1, 0), (1, 0), (-1, 0.02), (1, 0.02), (0, 0.05), (0, 0.09), (0, 0.13)):
            p = np.einsum(
                "nij,nj->ni", R, self.hand + np.stack([dx * side, zero, zero + dz], 1) - eye
            )
            depth = np.where(p[:, 2:] > 0.01, p[:, 2:], np.inf)
            gap_x, gap_y = ((grid - p[:, :2, None] / depth[..., None] * focal) ** 2).swapaxes(0, 1)
            size = (0.012 + 0.015 * (dx == 0)) / depth[..., None] * focal
            label[gap_x[:, None] + gap_y[..., None] < size**2] = 7
        tones = np.stack([self.color[:, 0] * 0.5, np.full((self.n, 3), 0.15)], 1)
        colors = np.concatenate([self.color, tones], 1) * self.light
        colors = (np.clip(colors, 0, 1) * 255).astype(np.uint8)
        return colors[np.arange(self.n)[:, None, None], label]

    def observe(self, px):
        wrist = self.hand + [0, -0.05, 0.13]
        return {
            "observation.state": self.state,
            "observation.images.front": self.view(
                self.eye, self.aim, np.array([0, 0, 1.0]), px, 0.75
            ),
            "observation.images.wrist": self.view(
                wrist, self.hand + [0, 0.01, 0], np.array([0.0, 1.0, 0.0]), px, 1.2
            ),
            "task": [TASK] * self.n,
        }


def expert(scenes, phase):
    """Targets of the scripted expert; `phase` is changed in place."""
    bowl, plate = scenes.place[:, 0], scenes.place[:, 1]
    over = np.where((phase >= 3)[:, None], plate, bowl)
    low = (phase == 1) | (phase == 2) | (phase >= 5)
    goal = np.concatenate([over, np.where(low, 0.02, CARRY)[:, None]], 1)
    lift = phase == 3
    goal[lift, :2] = scenes.hand[lift, :2]
    arrived = np.linalg.norm(goal - scenes.hand, axis=1) < 0.008
    grip = ((phase >= 2) & (phase < 6)).astype(float)
    waited = np.abs(scenes.closed - grip) < 0.1
    nxt = np.where((phase == 2) | (phase == 6), waited, arrived)
    phase += nxt & (phase < 7)
    step = np.clip(goal - scenes.hand, -0.022, 0.022)
    return np.concatenate([scenes.hand + step, grip[:, None]], 1)


def demonstrations(n, px, seed, noise=0.006):
    """Run the expert with noise on what is carried out, and record n successful episodes."""
    rng = np.random.default_rng(seed)
    scenes, phase = Scenes(rng, n), np.zeros(n, int)
    log = []
    for _ in range(LIMIT_STEPS):
        action = expert(scenes, phase)
        log.append((scenes.observe(px), action, phase.copy()))
        noisy = action.copy()
        noisy[:, :3] += rng.normal(0, noise, (n, 3)) * (phase != 2)[:, None]
        scenes.step(noisy)
    phases = np.stack([p for *_, p in log])
    kept = np.flatnonzero(scenes.success)
    stops = [min(int(np.argmax(phases[:, i] == 7)) + 3, LIMIT_STEPS) for i in kept]

    def gather(get):
        rows = [get(entry) for entry in log]
        return np.concatenate(
            [np.stack([r[i] for r in rows[:t]]) for i, t in zip(kept, stops, strict=True)]
        )

    action = gather(lambda e: e[1]).astype(np.float32)
    eef = np.zeros((len(action), 8), np.float32)
    eef[:, :3] = action[:, :3]
    return Cache(
        images={c: gather(lambda e, c=c: e[0][f"observation.images.{c}"]) for c in CAMERAS},
        state=gather(lambda e: e[0]["observation.state"]),
        action=action,
        imitate=np.ones(len(action), bool),
        action_eef=eef,
        starts=np.concatenate([[0], np.cumsum(stops)]),
        tasks=(TASK,) * len(kept),
    )


def success_rate(policy: Policy, n, px, seed):
    """Run the policy in n fresh scenes; return how many succeeded."""
    scenes = Scenes(np.random.default_rng(seed), n)
    policy.reset(n)
    for _ in range(0, LIMIT_STEPS, EXECUTE_STEPS):
        chunk = policy.act(scenes.observe(px))
        for k in range(EXECUTE_STEPS):
            scenes.step(chunk[:, k])
    return int(scenes.success.sum())


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--demos", type=int, default=300)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--px", type=int, default=64)
    parser.add_argument("--rollouts", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.set_num_threads(1)
    cache = demonstrations(args.demos, args.px, args.seed)
    names = ("x", "y", "z", "gripper")
    checkpoint = Checkpoint(
        "act", RECIPES["act"], "toy", 20, CAMERAS, args.px, names, names, (TASK,), 0
    )
    schedule = Schedule(args.steps, args.batch, save_steps=max(args.steps // 10, 1))
    with TemporaryDirectory() as folder:
        start = time.process_time()
        curve = train(cache, checkpoint, schedule, Path(folder), args.seed)
        cpu = time.process_time() - start
        policy = load_policy(folder)
    n_images = args.steps * args.batch * len(CAMERAS)
    for row in curve:
        print("  ".join(f"{name} {value:.4g}" for name, value in row.items()))
    print(f"demonstrations  {len(cache.tasks)}, {len(cache.state):,} frames of {args.px} px")
    print(f"training        {cpu:.0f} CPU-s, {n_images / cpu:.0f} images per CPU-s")
    for name, each in (("policy", policy), ("noop", load_policy("noop"))):
        good = success_rate(each, args.rollouts, args.px, args.seed + 1)
        print(f"{name:<16}{percent(good, args.rollouts)} of {args.rollouts} fresh scenes")


if __name__ == "__main__":
    main()
