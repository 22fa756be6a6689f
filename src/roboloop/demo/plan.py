"""`roboloop plan`: what the planner would do in one scene, in words, a picture and a video."""

from dataclasses import dataclass
from pathlib import Path
from time import process_time

from PIL import Image, ImageDraw

from roboloop import console, pose
from roboloop.cell import Cell, build_cell
from roboloop.data.episode import Episode
from roboloop.data.video import encode
from roboloop.demo.execute import attempt, rngs_for
from roboloop.demo.planner import Planner
from roboloop.errors import RoboloopError, unknown_name
from roboloop.render import EPISODE_CAMERAS, Renderer
from roboloop.robot import ROBOTS, Robot
from roboloop.run import Run, atomic_path, write_bytes_atomic
from roboloop.scene.folder import read_scene
from roboloop.scene.graph import SceneGraph
from roboloop.scene.keypoints import draw_keypoints, legend, numbered_keypoints, pixels_of
from roboloop.scene.preview import preview
from roboloop.sim import CONTROL_DT
from roboloop.task.command import Config as TaskConfig
from roboloop.task.command import describe
from roboloop.task.make import make_task
from roboloop.task.program import program_task, read_program
from roboloop.task.spec import Task, write_task

STAGE = 9
"""Number of this stage in the seeds of everything random."""
WIDTH, FILM_PX = 960, 320
"""Of the picture, and of the film's square frames."""
PATH_COLOR = "#ffffff"


@dataclass(frozen=True)
class Config(TaskConfig):
    """Plan a sentence in one scene, run the plan in physics, and show it."""

    program: Path | None = None
    """A file of constraint functions that says how, over the numbered keypoints; without it the
    sentence has to fit a task kind."""


def run(config: Config) -> None:
    """Write `plan.png`, `plan.mp4` and `task.json`, and say the stages in words."""
    if config.out is None:
        raise RoboloopError("no place to write the plan", "give --out FOLDER")
    if config.robot not in ROBOTS:
        raise unknown_name("robot", config.robot, ROBOTS)
    graph = read_scene(config.scene)
    for line in legend(numbered_keypoints(graph)):
        console.say(line)
    task = _task(config, graph, ROBOTS[config.robot])
    for line in describe(task):
        console.say(line)
    with Run.open(config.out, "plan", config, config.seed, config.overwrite) as record:
        if not record.finished:
            cell = build_cell(graph, task, config.scene.name)
            (rng,) = rngs_for(config.seed, STAGE, [0])
            start = process_time()
            (result,) = attempt([cell], [Planner(cell, rng)], [config.seed], [rng])
            spent = process_time() - start
            with atomic_path(config.out / "plan.png") as path:
                picture(cell, result.episode).save(path, format="png")
            if result.episode is None:
                raise RoboloopError(f"no plan: {result.reason}", "nothing was moved", config.scene)
            write_bytes_atomic(config.out / "plan.mp4", film(cell, result.episode))
            if result.reason:
                hint = "plan.mp4 shows how far it gets"
                raise RoboloopError(f"the plan fails: {result.reason}", hint, config.out)
            write_task(task, config.out / "task.json")
            steps = {name: stop - first for name, first, stop in result.episode.subtasks}
            record.finish(control_steps=steps, cpu_s=round(spent, 2))
            console.summary(
                planned=" · ".join(f"{name} {n * CONTROL_DT:.1f} s" for name, n in steps.items()),
                took=f"{spent:.1f} CPU s of planning and physics",
            )
    console.emit(config.out / "plan.png")


def _task(config: Config, graph: SceneGraph, robot: Robot) -> Task:
    """The task that a program says, or that the sentence fits."""
    if config.program is None:
        return make_task(graph, config.sentence, robot)
    text = read_program(config.program)
    return program_task(graph, config.sentence, text, robot, config.program)


def picture(cell: Cell, episode: Episode | None) -> Image.Image:
    """Draw numbered keypoints, and the hand's path if there is one, on what the camera sees."""
    camera = cell.graph.camera
    height = round(camera.height * WIDTH / camera.width)
    image = preview(cell.graph, WIDTH).resize((WIDTH, height))
    draw = ImageDraw.Draw(image, "RGBA")
    if episode is not None:
        hand = pose.transform(cell.task.T_world_base, episode.action_eef[:, :3].astype(float))
        line = [tuple(p) for p in pixels_of(camera, hand, WIDTH)]
        draw.line(line, fill=PATH_COLOR, width=3)
        for name, first, _ in episode.subtasks:
            x, y = line[first]
            draw.ellipse((x - 5, y - 5, x + 5, y + 5), fill=PATH_COLOR)
            draw.text((x + 8, y - 6), name, fill=PATH_COLOR)
    draw_keypoints(image, numbered_keypoints(cell.graph), camera)
    return image


def film(cell: Cell, episode: Episode) -> bytes:
    """Render an episode with the policy's front camera to an mp4."""
    camera = EPISODE_CAMERAS["front"]
    with Renderer(FILM_PX, FILM_PX) as renderer:
        frames = renderer.frames(cell.model, episode.sim_states[:-1], [camera])[camera]
    return encode(frames, round(1 / CONTROL_DT))
