"""`roboloop generate`: multiply seed episodes over the cousins of a scene."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from math import ceil
from pathlib import Path
from typing import Literal, TypedDict

import numpy as np
from tyro.conf import Positional

from roboloop import console
from roboloop.causes import count_failures
from roboloop.cell import Cell
from roboloop.cells import calibrated_views, load_cells
from roboloop.data.episode import Episode
from roboloop.data.shard import write_shard
from roboloop.data.views import write_views
from roboloop.data.writer import finish_dataset
from roboloop.demo.chunks import need_out, run_chunks, succeeded
from roboloop.demo.execute import Attempt, attempt, rngs_for
from roboloop.demo.slip import carrying_steps
from roboloop.errors import RoboloopError
from roboloop.generate.attempts import read_failures, write_attempts
from roboloop.generate.coverage import binned, coverage, start_names, start_of, thinned
from roboloop.generate.diversity import diversity, hand_paths, source_paths
from roboloop.generate.preview import (
    FAILURES,
    Material,
    Watch,
    draw_dataset,
    draw_episodes,
    of_failure,
    to_show,
)
from roboloop.generate.rank import N_PLANNED, rank
from roboloop.generate.segments import MAX_OFFSET
from roboloop.generate.select import How, Selection
from roboloop.generate.sources import read_recordings, read_sources
from roboloop.generate.transform import Carrying, Transformer
from roboloop.generate.upload import Upload
from roboloop.interval import percent
from roboloop.jobs import Workers
from roboloop.record import to_plain
from roboloop.render import check_px, stream_episode
from roboloop.run import CommonFlags, Run
from roboloop.scene.collection import TWIN, list_cousins
from roboloop.scene.folder import read_scene
from roboloop.sim import CONTROL_DT
from roboloop.task.spec import Task, read_task

STAGE = 3
"""Number of this stage in the seeds of everything random."""
CHUNK = 10
"""Cells that are stepped together."""
N_EPISODES = {"tiny": 6, "small": 150, "full": 2000}
N_TRIALS = 12
"""Scenes in which the best sources are tried at most, one for ten episodes."""
MIN_KEPT = 0.1
"""Below this share of successes the run stops: something is wrong."""
SURPLUS = 1.5
"""Successes for each that is kept, to choose from."""


class Outcome(TypedDict):
    """What came of an attempt."""

    reason: str
    """Why it failed; empty for a success."""
    start: list[float]
    """Where things stood, as `start_names` says."""


@dataclass(frozen=True)
class Config(CommonFlags):
    """Carry the seed episodes to many cousins, run them in physics, render what succeeds."""

    demo: Positional[Path]
    """The folder that `roboloop demo` wrote, or another dataset or HDF5 file of demonstrations."""
    scene: Positional[Path]
    """The folder that `roboloop scene` wrote."""
    task: Positional[Path]
    """The folder or file that `roboloop task` wrote."""
    n: int | None = None
    """Episodes to keep; by scale 6, 150 or 2000."""
    px: int = 64
    """Height and width of the images; 0 makes none, for policies that see states."""
    noise: float = 0.03
    """Standard deviation of the noise on the arm's targets in free motion, rad."""
    stray: float = 0.5
    """Share of the transits on which the hand is first led astray, so that demonstrations show
    how to get back; what leads astray is marked, and not learnt. As many skills begin aside."""
    start_spread: float = 0.04
    """Standard deviation of the arm's joints around home at the start, rad."""
    slip: float = 0.0
    """Share of the attempts in which what is carried slips out of the hand once and is taken again:
    the slip is marked, and not learnt."""
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
    balance: bool = False
    """Make half as many successes again as are kept, and keep those whose starts are spread like
    the starts of all attempts: success filtering alone favours easy ones."""
    cluster: str | None = None
    """A Ray cluster that does the work: `host:port`, `auto`, or `local` for one of `--workers`
    processes. All its nodes have to see the same folders."""
    only: int | None = None
    """Make this attempt alone, as it is in a run of many, and keep it whatever comes of it."""
    failures: bool = False
    """At the end make one attempt of each cause of failure again, and draw it (`failures/`). The
    command of a finished dataset may be given again with this flag."""
    upload: str | None = None
    """Copy what is final to this URL while the run goes on: `s3://bucket/folder` or whatever else
    fsspec can write to. May be given for a finished dataset, too."""

    @property
    def material(self) -> Material:
        """What episodes are drawn with."""
        return Material(self.scene, self.task)

    @property
    def carrying(self) -> Carrying:
        """How sources are chosen and varied."""
        selection = Selection(self.select, self.nearest, self.per)
        return Carrying(selection, self.stray, self.offset)


def run(config: Config) -> None:
    """Write the dataset and the figures."""
    out = need_out(config.out)
    low, high = config.offset
    if not 0 <= low <= high <= MAX_OFFSET:
        raise RoboloopError(
            f"--offset {low} {high}, wanted two numbers of 0 to {MAX_OFFSET}, the smaller one first"
        )
    check_px(config.px)
    if not (0 <= config.stray <= 1 and 0 <= config.slip <= 1):
        raise RoboloopError("--stray and --slip are shares, from 0 to 1")
    task = read_task(config.task)
    n = 1 if config.only is not None else config.n or N_EPISODES[config.scale]
    with (
        Run.open(out, "generate", config, config.seed, config.overwrite) as record,
        Upload(out, config.upload, record.manifest) as upload,
    ):
        order, alone = None, config.only is not None
        if not record.finished:
            with Workers(config.workers, config.cluster, "" if alone else __name__) as workers:
                order = _order(config, task)
                if config.only is not None:
                    _run_only(config, order, config.only, record)
                else:
                    _run_all(config, task, order, n, workers, record, upload)
        if config.failures and config.only is None:
            _draw_failures(config, order or _order(config, task))
        upload.finish()
    console.emit(out)


def _order(config: Config, task: Task) -> list[int]:
    """Say what is going to be done; rank the sources by how many scenes they fit."""
    n_trials = min(N_TRIALS, (config.n or N_EPISODES[config.scale]) // CHUNK)
    cells = load_cells(list_cousins(config.scene)[: N_PLANNED + n_trials], task)
    if config.slip and not carrying_steps(cells[0]):
        raise RoboloopError("--slip: in this task no arm alone carries anything")
    sources = read_sources(config.demo, config.scene, config.task)
    n_substeps = round(CONTROL_DT / cells[0].model.opt.timestep)
    step = f"control {1000 * CONTROL_DT:.0f} ms ({n_substeps} physics steps)"
    material = f"{len(sources)} source episodes, {len(list_cousins(config.scene)):,} scenes"
    said = (f"scale={config.scale}", f"seed={config.seed}", step, task.instruction, material)
    console.say("  ".join(said))
    return rank(cells, sources, config.carrying, config.noise, config.start_spread)


def _run_all(
    config: Config,
    task: Task,
    order: list[int],
    n: int,
    workers: Workers,
    record: Run,
    upload: Upload,
) -> None:
    """Make attempts until enough succeed, choose which to keep, write dataset and figures."""
    out, limit = need_out(config.out), int(n / MIN_KEPT)
    names = start_names(task, read_scene(config.scene / TWIN))
    watch = Watch(out, config.material, names)
    reasons, starts = list[str](), list[list[float]]()

    def see(outcomes: list[Outcome]) -> None:
        for outcome in outcomes[len(reasons) :]:
            reasons.append(outcome["reason"])
            starts.append(outcome["start"])
        watch.see(reasons, starts)
        upload.see(reasons)

    work, enough = partial(_generate, config, order), ceil(n * SURPLUS) if config.balance else n
    run_chunks("generate", out, limit, CHUNK, work, workers, _has_succeeded, enough, see)
    upload.pause()
    failures = count_failures(reasons)
    good = np.array([succeeded(reason) for reason in reasons])
    scenes, stood = _scenes(config, range(len(reasons))), np.array(starts)
    told = partial(write_attempts, out, config.seed, scenes, reasons)
    quantities = dict(zip(names, stood.T, strict=True))
    if good.sum() < n:
        told([], quantities)
        if config.failures:
            _draw_failures(config, order)
        why = "; ".join(f"{reason} ({k})" for reason, k in failures.items())
        hint = f"`roboloop report {out}` shows why, --failures draws one attempt of each cause"
        problem = f"only {good.sum()} of {len(good)} attempts succeeded: {why}"
        raise RoboloopError(problem, hint, out)
    kept = thinned(binned(stood), good, n) if config.balance else np.flatnonzero(good)[:n].tolist()
    told(kept, quantities)
    write_views(out, calibrated_views(read_scene(config.scene / TWIN), task))
    shown = to_show(out, kept)
    with ThreadPoolExecutor(1) as pool:
        finish = partial(finish_dataset, out, *task.dimension_names(), indices=kept)
        finished = pool.submit(finish)
        draw_dataset(out, config.material, shown)  # here, for OpenGL keeps to one thread
        info = finished.result()
    watch.draw_starts(reasons, starts)
    spread = coverage(names, stood, np.isin(np.arange(len(good)), kept))
    recordings = read_recordings(config.demo, config.scene, config.task)
    unlike = diversity(hand_paths(out), source_paths(recordings))
    record.finish(
        kept=int(good.sum()),
        tried=len(reasons),
        failures=failures,
        frames=info.n_frames,
        starts_covered=round(spread.covered, 4),
        start_bias=round(spread.bias, 4),
        weak_starts=", ".join(spread.weak),
        **{name: round(value, 4) for name, value in to_plain(unlike).items()},
    )
    console.summary(
        wrote=f"{out}   {len(kept)} episodes, {info.n_frames:,} frames",
        success=f"{percent(int(good.sum()), len(reasons))} of {len(reasons)} attempts",
        failed=" · ".join(f"{reason} {k}" for reason, k in failures.items()) or "none",
        starts=f"{100 * spread.covered:.0f} % of those tried are covered, bias {spread.bias:.2f}",
        weak=" · ".join(spread.weak) or "none",
        paths=f"{100 * unlike.to_nearest:.1f} cm from the nearest other one, "
        f"{100 * unlike.to_source:.1f} cm from a source, {unlike.entropy_bits:.1f} bits",
        next=f"roboloop train {out}",
    )


def _run_only(config: Config, order: list[int], index: int, record: Run) -> None:
    """Make one attempt of a run, as it is in the run, and keep it whatever came of it."""
    out, task = need_out(config.out), read_task(config.task)
    ((cell, result),) = _attempts(config, order, range(index, index + 1))
    why = result.reason or "success"
    if result.episode is None:
        raise RoboloopError(f"attempt {index} has no step: {why}", None, out)
    _write(out, 0, cell, result.episode, config.px)
    write_views(out, calibrated_views(read_scene(config.scene / TWIN), task))
    info = finish_dataset(out, *task.dimension_names())
    record.finish(attempt=index, outcome=why, frames=info.n_frames)
    console.summary(attempt=f"{index} in {cell.name}: {why}", wrote=f"{out}   1 episode")


def _draw_failures(config: Config, order: list[int]) -> None:
    """Make the first attempt of each cause again, as it was, and draw it where it is not drawn."""
    out = need_out(config.out)
    path = {k: out / FAILURES / f"{k:06d}.png" for k in read_failures(out).values()}
    todo = [k for k, file in path.items() if not file.exists()]
    drawn = len(path) - len(todo)
    for k in todo:
        ((_, result),) = _attempts(config, order, [k])
        if result.episode is not None:  # otherwise not even the first stage could be planned
            shown = of_failure(result.episode, result.reason)
            drawn += draw_episodes(path[k], config.material, [shown])
    console.summary(failures=f"{out / FAILURES}   {drawn} of {len(path)} causes drawn")


def _scenes(config: Config, indices: Sequence[int]) -> list[Path]:
    """The scenes of attempts."""
    cousins = list_cousins(config.scene)
    return [cousins[i % len(cousins)] for i in indices]


def _attempts(
    config: Config, order: list[int], indices: Sequence[int]
) -> list[tuple[Cell, Attempt]]:
    """Make attempts together, each in its cell; it depends on nothing but its index."""
    task = read_task(config.task)
    cells = load_cells(_scenes(config, indices), task)
    rngs = rngs_for(config.seed, STAGE, indices)
    sources = read_sources(config.demo, config.scene, config.task)
    experts = [
        Transformer(cell, [sources[i] for i in order], rng, config.carrying)
        for cell, rng in zip(cells, rngs, strict=True)
    ]
    varied = config.noise, config.start_spread, config.slip
    results = attempt(cells, experts, indices, rngs, *varied)
    return list(zip(cells, results, strict=True))


def _generate(config: Config, order: list[int], indices: range) -> list[Outcome]:
    """Make a chunk of attempts, render and write what succeeds, say what came of each."""
    outcomes, out = list[Outcome](), need_out(config.out)
    for index, (cell, result) in zip(indices, _attempts(config, order, indices), strict=True):
        start = start_of(cell.task, cell.graph).tolist()
        outcomes.append({"reason": result.reason, "start": start})
        if result.episode is not None and not result.reason:
            _write(out, index, cell, result.episode, config.px)
    return outcomes


def _has_succeeded(outcome: Outcome) -> bool:
    return succeeded(outcome["reason"])


def _write(out: Path, index: int, cell: Cell, episode: Episode, px: int) -> None:
    """Render an episode, if images are wanted, and write its shard."""
    frames = stream_episode(cell.model, episode.sim_states[:-1], px) if px else None
    write_shard(out, index, episode, frames)
