"""`roboloop plan`: what the planner would do in one scene, in words, a picture and a video."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from roboloop import console, pose
from roboloop.cell import Cell
from roboloop.data.episode import Episode
from roboloop.data.video import encode
from roboloop.demo.ask import WIDTH, ask_and_try
from roboloop.demo.trial import Trial, try_task
from roboloop.errors import RoboloopError, unknown_name
from roboloop.render import EPISODE_CAMERAS, Renderer
from roboloop.run import Run, atomic_path, write_bytes_atomic
from roboloop.scene.collection import open_scene
from roboloop.scene.graph import SceneGraph
from roboloop.scene.keypoints import draw_keypoints, legend, numbered_keypoints, pixels_of
from roboloop.scene.preview import preview
from roboloop.sim import CONTROL_DT
from roboloop.station import STATIONS, Station
from roboloop.task.command import Config as TaskConfig
from roboloop.task.command import describe
from roboloop.task.endpoint import Endpoint
from roboloop.task.make import make_task
from roboloop.task.program import program_task, read_program
from roboloop.task.spec import Task, write_task

FILM_PX = 320
"""Of the film's square frames."""
PATH_COLOR = "#ffffff"


@dataclass(frozen=True)
class Config(TaskConfig):
    """Plan a sentence in one scene, run the plan in physics, and show it."""

    program: Path | None = None
    """A file of constraint functions that says how, over the numbered keypoints; without it the
    sentence has to fit a task kind."""
    endpoint: str | None = None
    """An OpenAI-compatible address, such as http://localhost:8000/v1: the model there writes the
    program."""
    model: str = ""
    """The model's name at the endpoint."""
    key_variable: str = Endpoint.key_variable
    """Environment variable that holds the endpoint's key."""
    timeout_s: float = Endpoint.timeout_s
    """For one request, s."""
    retries: int = Endpoint.retries
    """How often to ask again after a failed request."""
    max_bytes: int = Endpoint.max_bytes
    """Longest answer."""
    answers: Path | None = None
    """Folder of answers: what it holds is not asked again; OUT/answers if not given."""


def run(config: Config) -> None:
    """Write `plan.png`, `plan.mp4` and `task.json`, and say the stages in words."""
    if config.out is None:
        raise RoboloopError("no place to write the plan", "give --out FOLDER")
    if config.robot not in STATIONS:
        raise unknown_name("robot", config.robot, STATIONS)
    graph = open_scene(config.scene)
    for line in legend(numbered_keypoints(graph)):
        console.say(line)
    work = _work(config, graph, STATIONS[config.robot], config.out)
    with Run.open(config.out, "plan", config, config.seed, config.overwrite) as record:
        if not record.finished:
            trial = work()
            steps = _show(trial, config.scene, config.out)
            record.finish(control_steps=steps, cpu_s=round(trial.cpu_s, 2))
            console.summary(
                planned=" · ".join(f"{name} {n * CONTROL_DT:.1f} s" for name, n in steps.items()),
                took=f"{trial.cpu_s:.1f} CPU s of planning and physics",
            )
    console.emit(config.out / "plan.png")


def _work(config: Config, graph: SceneGraph, station: Station, out: Path) -> Callable[[], Trial]:
    """What is to be done once there is a folder for it; what can be refused is refused before."""

    def attempt(task: Task) -> Trial:
        for line in describe(task):
            console.say(line)
        return try_task(graph, task, config.scene.name, config.seed)

    if config.endpoint is None:
        return partial(attempt, _task(config, graph, station))
    if config.program is not None:
        raise RoboloopError("both --program and --endpoint are given", "the model writes a program")
    endpoint = Endpoint(
        config.endpoint,
        config.model,
        config.key_variable,
        config.timeout_s,
        config.retries,
        config.max_bytes,
    )
    endpoint.check()
    answers = config.answers or out / "answers"
    return partial(ask_and_try, graph, config.sentence, station, endpoint, answers, out, attempt)


def _task(config: Config, graph: SceneGraph, station: Station) -> Task:
    """The task that a program says, or that the sentence fits."""
    if config.program is None:
        return make_task(graph, config.sentence, station)
    text = read_program(config.program)
    return program_task(graph, config.sentence, text, station, config.program)


def _show(trial: Trial, scene: Path, out: Path) -> dict[str, int]:
    """Write the picture, the film and, for a plan that works, the task.

    Returns:
        Control steps of each stage.

    Raises:
        RoboloopError: The plan does not work.
    """
    with atomic_path(out / "plan.png") as path:
        picture(trial.cell, trial.episode).save(path, format="png")
    if trial.episode is None:
        raise RoboloopError(f"no plan: {trial.reason}", "nothing was moved", scene)
    write_bytes_atomic(out / "plan.mp4", film(trial.cell, trial.episode))
    if trial.reason:
        raise RoboloopError(
            f"the plan fails: {trial.reason}", "plan.mp4 shows how far it gets", out
        )
    write_task(trial.cell.task, out / "task.json")
    return {name: stop - first for name, first, stop in trial.episode.subtasks}


def picture(cell: Cell, episode: Episode | None) -> Image.Image:
    """Draw numbered keypoints, and the hands' paths if there are any, on what the camera sees."""
    camera = cell.graph.camera
    height = round(camera.height * WIDTH / camera.width)
    image = preview(cell.graph, WIDTH).resize((WIDTH, height))
    draw = ImageDraw.Draw(image, "RGBA")
    if episode is not None:
        targets = np.split(episode.action_eef.astype(float), len(cell.arms), axis=1)
        for arm, target in zip(cell.arms, targets, strict=True):
            hand = pose.transform(arm.mount.T_world_base, target[:, :3])
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
