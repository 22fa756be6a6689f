"""`roboloop run`: capture and sentence in, report out; every stage in its own folder."""

import contextlib
import sys
from dataclasses import dataclass
from pathlib import Path

from tyro.conf import Positional

from roboloop.demo import command as demo
from roboloop.demo.chunks import need_out
from roboloop.evaluate import command as evaluate
from roboloop.generate import command as generate
from roboloop.policy import command as train
from roboloop.report import command as report
from roboloop.run import CommonFlags, Run
from roboloop.scene import command as scene
from roboloop.task import command as task


@dataclass(frozen=True)
class Config(CommonFlags):
    """Do the whole loop: scene, task, demo, generate, train, evaluate, report."""

    capture: Positional[Path]
    """Folder with rgb.png, depth_mm.png and camera.json."""
    task: str = ""
    """What to do, such as `put the bowl on the plate`."""
    robot: str = "panda"
    """The robot that does it."""


def run(config: Config) -> None:
    """Run all stages in order; finished ones are skipped, an interrupted one goes on."""
    out = need_out(config.out)
    with Run.open(out, "run", config, config.seed, config.overwrite) as record:
        # stdout is for the result of this command, not for those of its parts
        with contextlib.redirect_stdout(sys.stderr):
            _run_stages(config, out)
        record.finish()
    report.run(report.Config(out, out=out / "report.html", quiet=config.quiet))


def _run_stages(config: Config, out: Path) -> None:
    common = {"seed": config.seed, "scale": config.scale, "workers": config.workers}
    common |= {"quiet": config.quiet}
    scenes, tasks, dataset = out / "scene", out / "task", out / "generate"
    scene.run(scene.Config(config.capture, out=scenes, **common))
    twin = scenes / scene.TWIN
    task.run(task.Config(twin, config.task, robot=config.robot, out=tasks, **common))
    demo.run(demo.Config(scenes, tasks, out=out / "demo", **common))
    generate.run(generate.Config(out / "demo", scenes, tasks, out=dataset, **common))
    train.run(train.Config(dataset, out=out / "train", **common))
    rows = ("planner", "noop", f"replay:{dataset}")
    policy = str(out / "train")
    evaluate.run(
        evaluate.Config(policy, scenes, tasks, references=rows, out=out / "evaluate", **common)
    )
