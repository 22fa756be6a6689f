"""`roboloop scene`: a capture -> its twin and its cousins in simulation."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image
from tyro.conf import Positional

from roboloop import console
from roboloop.errors import RoboloopError
from roboloop.jobs import map_jobs
from roboloop.run import CommonFlags, Interruptible, Run, atomic_path, write_json
from roboloop.scene.capture import read_capture
from roboloop.scene.collection import (
    COUSINS,
    HELD_OUT,
    TWIN,
    Resets,
    list_cousins,
    open_scene,
    write_resets,
)
from roboloop.scene.cousins import Spread, sample_cousin
from roboloop.scene.folder import read_scene, write_scene
from roboloop.scene.graph import SceneGraph
from roboloop.scene.keypoints import draw_keypoints, legend
from roboloop.scene.perceive import perceive, see, stream
from roboloop.scene.perceive.pieces import Piece
from roboloop.scene.presets import PREFIX, preset_scene
from roboloop.scene.preview import contact_sheet, preview
from roboloop.scene.propose import Proposal, propose_keypoints
from roboloop.scene.resets import has_resets
from roboloop.scene.score import score
from roboloop.scene.settle import settle

STAGE = 1
"""Number of this stage in the seeds of everything random."""
N_COUSINS = {"tiny": 4, "small": 150, "full": 1000}
N_HELD_OUT = {"tiny": 2, "small": 100, "full": 200}
GROUPS = (COUSINS, HELD_OUT)
"""In the order of their numbers in seeds."""
N_DRAWN = 1_000_000
"""Scenes of each group, where they are drawn from the ranges that the twin names."""
N_SHOWN = 11
"""Cousins on the contact sheet."""
N_SURFACE, N_WIDE = 4000, 800
"""Points of a thing that keypoints are proposed from; width of their picture at least, pixels."""


@dataclass(frozen=True)
class Config(CommonFlags):
    """Rebuild a captured scene in simulation, with cousins of other shapes, colours and poses."""

    capture: Positional[Path]
    """Folder with rgb.png, depth_mm.png and camera.json, or `preset:NAME`."""
    cousins: int | None = None
    """Cousins to learn from; by scale 4, 150 or 1000, a million of a preset with ranges."""
    held_out: int | None = None
    """Cousins that only evaluation uses; by scale 2, 100 or 200, or a million."""
    new_colors: float = 0.0
    """Probability that an object of a cousin gets colours unlike the twin's; else they are like
    them."""


def run(config: Config) -> None:
    """Write OUT/twin, OUT/cousins, OUT/held_out and OUT/contact_sheet.png."""
    if config.out is None:
        raise RoboloopError("no place to write the scene", "give --out FOLDER")
    out = config.out
    make_twin = _twin_maker(config.capture)
    with Run.open(out, "scene", config, config.seed, config.overwrite) as record:
        if not record.finished:
            if not (out / TWIN).exists():
                _write_twin(*make_twin(), out)
            twin = read_scene(out / TWIN)
            counts = _counts(config, has_resets(twin))
            for which, n in counts.items():
                if has_resets(twin):
                    seed = (config.seed, STAGE, GROUPS.index(which))
                    write_resets(out / which, Resets(n, seed))
                else:
                    _write_cousins(out, which, n, config)
            _write_sheet(out)
            objects = {o.name: o.category for o in twin.objects}
            record.finish(objects=len(objects), **counts)
            console.summary(
                found=", ".join(f"{n} ({c})" if n != c else n for n, c in objects.items()),
                wrote=f"{out}   twin, {counts[COUSINS]} cousins, {counts[HELD_OUT]} held out",
                next=f'roboloop task {out / TWIN} "put A on B" --out TASK',
            )
    console.emit(out)


def _counts(config: Config, drawn: bool) -> dict[str, int]:
    """How many cousins of each group; those that are drawn cost nothing."""
    asked = {COUSINS: config.cousins, HELD_OUT: config.held_out}
    usual = {COUSINS: N_COUSINS[config.scale], HELD_OUT: N_HELD_OUT[config.scale]}
    if drawn:
        usual = dict.fromkeys(usual, N_DRAWN)
    return {which: usual[which] if n is None else n for which, n in asked.items()}


def _twin_maker(source: Path) -> Callable[[], tuple[SceneGraph, Image.Image]]:
    """Check a source at once; what makes its twin, and a picture of it, takes longer."""
    name = str(source)
    if name.startswith(PREFIX):
        graph = preset_scene(name.removeprefix(PREFIX))
        return lambda: (twin := settle(graph), preview(twin))
    capture = read_capture(source)
    return lambda: (settle(perceive(capture)), Image.fromarray(capture.rgb))


def _write_twin(twin: SceneGraph, picture: Image.Image, out: Path) -> None:
    _write_image(picture, out / "capture.png")
    write_scene(twin, out / TWIN)
    _write_image(preview(twin), out / TWIN / "preview.png")


def _write_cousins(out: Path, which: str, n: int, config: Config) -> None:
    missing = [i for i in range(n) if not (out / which / f"{i:04d}").exists()]
    work = partial(_write_cousin, out, which, config.seed, Spread(new_colors=config.new_colors))
    with Interruptible() as stop, console.Progress(which, n) as progress:
        for done, _ in enumerate(map_jobs(work, missing, config.workers), n - len(missing) + 1):
            progress.update(done)
            if stop.requested:
                break


def _write_cousin(out: Path, which: str, seed: int, spread: Spread, index: int) -> None:
    twin, group = read_scene(out / TWIN), GROUPS.index(which)
    cousin = sample_cousin(twin, np.random.SeedSequence([seed, STAGE, group, index]), spread)
    write_scene(cousin, out / which / f"{index:04d}")


def _write_sheet(out: Path) -> None:
    shown = list_cousins(out)[:N_SHOWN] if (out / COUSINS).exists() else []
    cousins = [open_scene(folder) for folder in shown]
    sheet = contact_sheet(
        np.asarray(Image.open(out / "capture.png")), read_scene(out / TWIN), cousins
    )
    _write_image(sheet, out / "contact_sheet.png")


def _write_image(image: Image.Image, path: Path) -> None:
    with atomic_path(path) as temporary:
        image.save(temporary, format="PNG")


@dataclass(frozen=True)
class ScoreConfig(CommonFlags):
    """Compare a scene with the ground truth of its capture."""

    scene: Positional[Path]
    """The folder that `roboloop scene` wrote, or one scene folder."""
    capture: Positional[Path]
    """The capture, with truth.json."""


def run_score(config: ScoreConfig) -> None:
    """Write the scores to stdout as JSON."""
    twin = config.scene / TWIN
    console.emit(score(twin if twin.exists() else config.scene, config.capture))


@dataclass(frozen=True)
class KeypointsConfig(CommonFlags):
    """Propose keypoints for everything that a capture shows, whatever it is."""

    capture: Positional[Path]
    """Folder with rgb.png, depth_mm.png and camera.json."""


def run_keypoints(config: KeypointsConfig) -> None:
    """Write OUT/keypoints.json and OUT/keypoints.png, the capture with their numbers."""
    if config.out is None:
        raise RoboloopError("no place to write the keypoints", "give --out FOLDER")
    capture = read_capture(config.capture)
    with Run.open(config.out, "scene keypoints", config, config.seed, config.overwrite) as record:
        if not record.finished:
            seen = see(capture, config.seed)
            found = {f"thing_{i}": _propose(p, config.seed, i) for i, p in enumerate(seen.pieces)}
            points = {f"{n}.{k}": p for n, each in found.items() for k, p in each.keypoints.items()}
            scale = -(-N_WIDE // capture.camera.width)
            image = Image.fromarray(capture.rgb.repeat(scale, 0).repeat(scale, 1))
            draw_keypoints(image, points, seen.camera)
            _write_image(image, config.out / "keypoints.png")
            write_json(config.out / "keypoints.json", {"format": 1, "things": found})
            record.finish(things=len(found), keypoints=len(points))
            for line in legend(points):
                console.say(line)
    console.emit(config.out / "keypoints.json")


def _propose(piece: Piece, seed: int, index: int) -> Proposal:
    """Keypoints of one thing, from points that are spread over what is seen of it."""
    step = -(-len(piece.points) // N_SURFACE)
    return propose_keypoints(piece.points[::step], stream(seed, index), piece.base)


SUBCOMMANDS: dict[str, tuple[type, Callable[..., None]]] = {
    "score": (ScoreConfig, run_score),
    "keypoints": (KeypointsConfig, run_keypoints),
}
