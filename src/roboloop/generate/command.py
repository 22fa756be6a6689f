"""`roboloop generate`: multiply seed episodes over the cousins of a scene."""

from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Literal

from tyro.conf import Positional

from roboloop import console
from roboloop.cell import calibrated_views, load_cells
from roboloop.data.part import open_part
from roboloop.data.reader import iter_episodes
from roboloop.data.shard import write_shard
from roboloop.data.views import write_views
from roboloop.data.writer import finish_dataset
from roboloop.demo.chunks import count_failures, need_out, run_chunks, succeeded
from roboloop.demo.execute import attempt, rngs_for
from roboloop.errors import RoboloopError
from roboloop.generate.segments import cut_stages, recorded
from roboloop.generate.select import How, Selection, Source
from roboloop.generate.transform import Carrying, Transformer, rank
from roboloop.interval import percent
from roboloop.render import stream_episode
from roboloop.replay import check_origin
from roboloop.run import CommonFlags, Run
from roboloop.scene.collection import TWIN, list_cousins
from roboloop.scene.folder import read_scene
from roboloop.task.spec import read_task

STAGE = 3
"""Number of this stage in the seeds of everything random."""
CHUNK = 10
"""Cells that are stepped together."""
N_EPISODES = {"tiny": 6, "small": 150, "full": 2000}
N_TRIALS = 6
"""Scenes in which the sources are compared."""
MIN_KEPT = 0.1
"""Below this share of successes the run stops: something is wrong."""


@dataclass(frozen=True)
class Config(CommonFlags):
    """Carry the seed episodes to many cousins, run them in physics, render what succeeds."""

    demo: Positional[Path]
    """The folder that `roboloop demo` wrote."""
    scene: Positional[Path]
    """The folder that `roboloop scene` wrote."""
    task: Positional[Path]
    """The folder or file that `roboloop task` wrote."""
    n: int | None = None
    """Episodes to keep; by scale 6, 150 or 2000."""
    px: int = 64
    """Height and width of the images."""
    noise: float = 0.03
    """Standard deviation of the noise on the arm's targets in free motion, rad."""
    stray: float = 0.5
    """Share of the transits on which the hand is first led astray, so that demonstrations show
    how to get back; what leads astray is marked, and not learnt."""
    start_spread: float = 0.04
    """Standard deviation of the arm's joints around home at the start, rad."""
    select: How = "fitting"
    """Which source serves a stage: the one that fits most scenes, so that demonstrations look
    alike, which is quickest to learn; any; one whose object stood most like the one now; one that
    begins near the hand."""
    nearest: int = 3
    """Of how many nearest sources one is drawn."""
    per: Literal["subtask", "episode"] = "subtask"
    """Whether every stage chooses its source, or the first one for all."""
    offset: tuple[int, int] = (0, 0)
    """Fewest and most control steps that a grasp's segment goes on after its end; drawn anew for
    each attempt."""

    @property
    def carrying(self) -> Carrying:
        """How sources are chosen and varied."""
        selection = Selection(self.select, self.nearest, self.per)
        return Carrying(selection, self.stray, self.offset)


def run(config: Config) -> None:
    """Write the dataset and the figures."""
    out = need_out(config.out)
    task = read_task(config.task)
    if len(task.arms) > 1:
        hint = "`roboloop demo` plans each anew"
        raise RoboloopError("demonstrations of two arms cannot be multiplied yet", hint)
    n = config.n or N_EPISODES[config.scale]
    with Run.open(out, "generate", config, config.seed, config.overwrite) as record:
        if not record.finished:
            check_origin(open_part(config.demo), task)
            limit = int(n / MIN_KEPT)
            cells = load_cells(list_cousins(config.scene)[:N_TRIALS], task)
            order = rank(cells, _sources(config.demo, config.scene, config.task))
            work = partial(_generate, config, order)
            reasons = run_chunks(
                "generate", out, limit, CHUNK, work, config.workers, good=succeeded, enough=n
            )
            kept = [index for index, reason in enumerate(reasons) if not reason][:n]
            failures = count_failures(reasons)
            if len(kept) < n:
                why = "; ".join(f"{reason} ({k})" for reason, k in failures.items())
                raise RoboloopError(f"only {len(kept)} of {limit} attempts succeeded", why, out)
            twin = read_scene(config.scene / TWIN)
            write_views(out, calibrated_views(twin, task))
            info = finish_dataset(out, *task.dimension_names(), indices=kept)
            tried, good = len(reasons), sum(map(succeeded, reasons))
            record.finish(kept=good, tried=tried, failures=failures, frames=info.n_frames)
            console.summary(
                wrote=f"{out}   {len(kept)} episodes, {info.n_frames:,} frames",
                kept=f"{percent(good, tried)} of {tried} attempts",
                failed=" · ".join(f"{reason} {k}" for reason, k in failures.items()) or "none",
                next=f"roboloop train {out}",
            )
    console.emit(out)


def _generate(config: Config, order: list[int], indices: range) -> list[str]:
    """Make a chunk of attempts, render and write what succeeds, give the reasons of the rest."""
    cousins = list_cousins(config.scene)
    task = read_task(config.task)
    cells = load_cells([cousins[i % len(cousins)] for i in indices], task)
    rngs = rngs_for(config.seed, STAGE, indices)
    sources = _sources(config.demo, config.scene, config.task)
    sources = [sources[i] for i in order]
    experts = [
        Transformer(cell, sources, rng, config.carrying)
        for cell, rng in zip(cells, rngs, strict=True)
    ]
    results = attempt(cells, experts, indices, rngs, config.noise, config.start_spread)
    out = need_out(config.out)
    for index, cell, result in zip(indices, cells, results, strict=True):
        if result.episode is not None and not result.reason:
            frames = stream_episode(cell.model, result.episode.sim_states[:-1], config.px)
            write_shard(out, index, result.episode, frames)
    return [result.reason for result in results]


@cache
def _sources(demo: Path, scene: Path, task_path: Path) -> list[Source]:
    """The stages' segments of every source episode."""
    task = read_task(task_path)
    episodes = list(iter_episodes(demo, images=False))
    cells = load_cells([scene / episode.scene for episode in episodes], task)
    return [
        cut_stages(recorded(cell, episode)) for cell, episode in zip(cells, episodes, strict=True)
    ]
