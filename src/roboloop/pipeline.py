"""`roboloop run`: capture and sentence in, report out; every stage in its own folder."""

from dataclasses import dataclass
from pathlib import Path

from tyro.conf import Positional

from roboloop import console
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
        common = {"seed": config.seed, "scale": config.scale, "workers": config.workers}
        common |= {"quiet": config.quiet}
        folder = {name: out / name for name in ("scene", "task", "demo", "generate", "train")}
        console.configure(quiet=config.quiet)
        scene.run(scene.Config(config.capture, out=folder["scene"], **common))
        twin = folder["scene"] / "twin"
        task.run(task.Config(twin, config.task, robot=config.robot, out=folder["task"], **common))
        inputs = folder["scene"], folder["task"]
        demo.run(demo.Config(*inputs, out=folder["demo"], **common))
        generate.run(generate.Config(folder["demo"], *inputs, out=folder["generate"], **common))
        train.run(train.Config(folder["generate"], out=folder["train"], **common))
        references = ("planner", "noop", f"replay:{folder['generate']}")
        checkpoint = str(folder["train"])
        evaluate.run(
            evaluate.Config(
                checkpoint, *inputs, references=references, out=out / "evaluate", **common
            )
        )
        record.finish()
        report.run(report.Config(out, out=out / "report.html", **common))
