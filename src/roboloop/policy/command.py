"""`roboloop train`: a policy from a dataset."""

from dataclasses import dataclass, replace
from pathlib import Path

from tyro.conf import Positional

from roboloop import console
from roboloop.data.cache import Cache, build_cache, read_cache
from roboloop.data.reader import read_info
from roboloop.data.views import read_views
from roboloop.errors import RoboloopError, unknown_name
from roboloop.policy.base import Checkpoint
from roboloop.policy.recipes import RECIPES
from roboloop.run import CommonFlags, Run

STEPS = {"tiny": 4, "small": 1000, "full": 20_000}
BATCH = {"tiny": 8, "small": 32, "full": 64}


@dataclass(frozen=True)
class Config(CommonFlags):
    """Train a policy; Ctrl-C saves, and the same command goes on exactly."""

    dataset: Positional[Path]
    """A LeRobot v3 dataset, such as `roboloop generate` writes."""
    policy: str = "act"
    """Recipe to train."""
    steps: int | None = None
    """Training steps; by scale 4, 1000 or 20000."""
    minutes: float | None = None
    """Time to train, in place of steps; the first seconds tell how many steps fit."""
    batch: int | None = None
    """Images of each camera in a step; by scale 8, 32 or 64."""
    learning_rate: float = 2e-3
    """Highest learning rate."""
    px: int | None = None
    """Height and width of the images that the policy sees; by default those of the dataset. With 0,
    or where there are none, it is told where the free objects are instead."""


def run(config: Config) -> None:
    """Write OUT/policy.json, OUT/model.safetensors and OUT/curve.csv."""
    from roboloop.policy.train import Schedule, steps_in, train

    if config.policy not in RECIPES:
        raise unknown_name("policy", config.policy, RECIPES)
    if config.out is None:
        raise RoboloopError("no output folder", "give --out DIR")
    with Run.open(config.out, "train", config, config.seed, config.overwrite) as record:
        if not record.finished:
            info = read_info(config.dataset)
            px = config.px if config.px is not None else info.px if info.cameras else 0
            cache = read_cache(build_cache(config.dataset, px))
            cache = replace(cache, views=read_views(config.dataset))
            checkpoint = describe(config, cache, px)
            steps = config.steps or STEPS[config.scale]
            schedule = Schedule(steps, config.batch or BATCH[config.scale], config.learning_rate)
            if config.minutes:
                steps = record.manifest["figures"].get("steps")
                steps = steps or steps_in(
                    config.minutes, cache, checkpoint.config, schedule, config.workers
                )
                schedule = replace(schedule, steps=steps)
            record.checkpoint(steps=schedule.steps, batch=schedule.batch)
            curve = train(cache, checkpoint, schedule, config.out, config.seed, config.workers)
            first, last = curve[0], curve[-1]
            record.finish(held_out_loss=last["held_out_loss"])
            console.summary(
                wrote=f"{config.out}   {schedule.steps} steps of {schedule.batch}",
                held_out=f"loss {first['held_out_loss']:.3f} -> {last['held_out_loss']:.3f}",
                next=f"roboloop evaluate {config.out} SCENE TASK",
            )
    console.emit(config.out)


def describe(config: Config, cache: Cache, px: int) -> Checkpoint:
    """Say what will be trained.

    Raises:
        RoboloopError: The dataset does not say where the hand is.
    """
    info = read_info(config.dataset)
    if info.state_names[len(info.action_names) :][:1] != ("eef.x",):
        raise RoboloopError(
            f"observation.state is {', '.join(info.state_names)}",
            "joints, the hand's opening and its pose are needed, as `roboloop generate` writes",
            info.folder,
        )
    return Checkpoint(
        recipe=config.policy,
        config=RECIPES[config.policy],
        robot=info.robot,
        fps=info.fps,
        cameras=tuple(cache.images),
        hand_cameras=cache.hand_cameras,
        px=px,
        state_names=info.state_names,
        action_names=info.action_names,
        tasks=tuple(sorted(set(cache.tasks))),
        step=0,
    )
