"""`roboloop plan`: what the planner would do in one scene, in words, a picture and a video."""

from dataclasses import dataclass
from time import process_time

import numpy as np
from jaxtyping import Float
from PIL import Image, ImageDraw

from roboloop import console, pose
from roboloop.cell import Cell, build_cell
from roboloop.data.episode import Episode
from roboloop.data.video import encode
from roboloop.demo.execute import attempt, rngs_for
from roboloop.demo.planner import Planner
from roboloop.errors import RoboloopError, unknown_name
from roboloop.render import EPISODE_CAMERAS, Renderer
from roboloop.robot import ROBOTS
from roboloop.run import Run, atomic_path, write_bytes_atomic
from roboloop.scene.folder import read_scene
from roboloop.scene.graph import SceneGraph
from roboloop.scene.preview import preview
from roboloop.sim import CONTROL_DT
from roboloop.task.command import Config as TaskConfig
from roboloop.task.command import describe
from roboloop.task.make import make_task
from roboloop.task.spec import write_task

STAGE = 9
"""Number of this stage in the seeds of everything random."""
WIDTH, FILM_PX = 960, 320
"""Of the picture, and of the film's square frames."""
COLORS = ("#ffd23f", "#3bceac", "#ee4266", "#4ea8de", "#f4a259", "#b388eb")
"""Of the objects' keypoints, in turn."""
PATH_COLOR = "#ffffff"


@dataclass(frozen=True)
class Config(TaskConfig):
    """Plan a sentence in one scene, run the plan in physics, and show it."""


def run(config: Config) -> None:
    """Write `plan.png`, `plan.mp4` and `task.json`, and say the stages in words."""
    if config.out is None:
        raise RoboloopError("no place to write the plan", "give --out FOLDER")
    if config.robot not in ROBOTS:
        raise unknown_name("robot", config.robot, ROBOTS)
    graph = read_scene(config.scene)
    task = make_task(graph, config.sentence, ROBOTS[config.robot])
    for line in [*describe(task), *_legend(graph)]:
        console.say(line)
    with Run.open(config.out, "plan", config, config.seed, config.overwrite) as record:
        if not record.finished:
            cell = build_cell(graph, task, config.scene.name)
            (rng,) = rngs_for(config.seed, STAGE, [0])
            start = process_time()
            (result,) = attempt([cell], [Planner(cell, rng)], [config.seed], [rng])
            spent = process_time() - start
            write_task(task, config.out / "task.json")
            with atomic_path(config.out / "plan.png") as path:
                picture(cell, result.episode).save(path, format="png")
            if result.episode is None:
                raise RoboloopError(f"no plan: {result.reason}", "nothing was moved", config.scene)
            write_bytes_atomic(config.out / "plan.mp4", film(cell, result.episode))
            if result.reason:
                hint = "plan.mp4 shows how far it gets"
                raise RoboloopError(f"the plan fails: {result.reason}", hint, config.out)
            steps = {name: stop - first for name, first, stop in result.episode.subtasks}
            record.finish(control_steps=steps, cpu_s=round(spent, 2))
            console.summary(
                planned=" · ".join(f"{name} {n * CONTROL_DT:.1f} s" for name, n in steps.items()),
                took=f"{spent:.1f} CPU s of planning and physics",
            )
    console.emit(config.out / "plan.png")


def numbered_keypoints(graph: SceneGraph) -> dict[str, Float[np.ndarray, "3"]]:
    """Every keypoint of every object, `object.keypoint` -> world, m; numbers follow this order."""
    return {
        f"{o.name}.{name}": pose.transform(o.T_world_obj, np.array(p))
        for o in graph.objects
        for name, p in o.keypoints.items()
    }


def _legend(graph: SceneGraph) -> list[str]:
    """The keypoints' numbers, one line an object."""
    lines: dict[str, list[str]] = {}
    for number, name in enumerate(numbered_keypoints(graph)):
        role, _, keypoint = name.partition(".")
        lines.setdefault(role, []).append(f"{number} {keypoint}")
    return [
        f"{'keypoints' if i == 0 else '':<10}{role}: {', '.join(each)}"
        for i, (role, each) in enumerate(lines.items())
    ]


def picture(cell: Cell, episode: Episode | None) -> Image.Image:
    """Draw numbered keypoints, and the hand's path if there is one, on what the camera sees."""
    camera = cell.graph.camera
    scale = WIDTH / camera.width
    height = round(camera.height * scale)
    image = preview(cell.graph, WIDTH).resize((WIDTH, height))
    draw = ImageDraw.Draw(image, "RGBA")
    if episode is not None:
        hand = pose.transform(cell.task.T_world_base, episode.action_eef[:, :3].astype(float))
        line = [tuple(p) for p in scale * project(cell.graph, hand)]
        draw.line(line, fill=PATH_COLOR, width=3)
        for name, first, _ in episode.subtasks:
            x, y = line[first]
            draw.ellipse((x - 5, y - 5, x + 5, y + 5), fill=PATH_COLOR)
            draw.text((x + 8, y - 6), name, fill=PATH_COLOR)
    names = [o.name for o in cell.graph.objects]
    points = numbered_keypoints(cell.graph)
    pixels = scale * project(cell.graph, np.array(list(points.values())))
    for number, (name, (x, y)) in enumerate(zip(points, pixels, strict=True)):
        color = COLORS[names.index(name.partition(".")[0]) % len(COLORS)]
        draw.ellipse((x - 3, y - 3, x + 3, y + 3), fill=color)
        box = draw.textbbox((x + 4, y - 13), str(number))
        draw.rectangle((box[0] - 1, box[1] - 1, box[2] + 1, box[3] + 1), fill="#000000a0")
        draw.text((x + 4, y - 13), str(number), fill=color)
    return image


def project(graph: SceneGraph, p: Float[np.ndarray, "K 3"]) -> Float[np.ndarray, "K 2"]:
    """Pixels of points in the scene's camera."""
    camera = graph.camera
    x, y, z = pose.transform(pose.inverse(camera.T_world_camera), p).T
    z = np.maximum(z, 1e-6)
    return np.stack([camera.fx * x / z + camera.cx, camera.fy * y / z + camera.cy], 1)


def film(cell: Cell, episode: Episode) -> bytes:
    """Render an episode with the policy's front camera to an mp4."""
    camera = EPISODE_CAMERAS["front"]
    with Renderer(FILM_PX, FILM_PX) as renderer:
        frames = renderer.frames(cell.model, episode.sim_states[:-1], [camera])[camera]
    return encode(frames, round(1 / CONTROL_DT))
