"""What a run folder holds, read from its files alone; a stage that is missing is left out."""

import csv
import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from roboloop.errors import RoboloopError
from roboloop.record import from_plain
from roboloop.run import MANIFEST, read_json

STAGES = ("scene", "task", "demo", "generate", "train", "evaluate")


@dataclass(frozen=True)
class Cost:
    """What a stage took, over all its resumed parts."""

    cpu_s: float
    wall_s: float
    peak_rss_mib: float


@dataclass(frozen=True)
class Manifest:
    """A stage's `manifest.json`, as far as the report shows it."""

    command: str
    status: str
    seed: int
    figures: dict[str, Any]
    versions: dict[str, str]
    cost: Cost


@dataclass(frozen=True)
class Row:
    """One policy's line of `results.json`."""

    policy: str
    n: int
    successes: int
    interval: tuple[float, float]
    failures: dict[str, int] = field(default_factory=dict)
    videos: dict[str, str] = field(default_factory=dict)
    """`best`, `median`, `worst` -> file, relative to the evaluation's folder."""


@dataclass(frozen=True)
class Curve:
    """`curve.csv`: the first column is x, the others are drawn over it."""

    x_name: str
    x: tuple[float, ...]
    series: dict[str, tuple[float, ...]]


@dataclass(frozen=True)
class RunRecord:
    """All that the page shows."""

    folder: Path
    manifests: dict[str, Manifest]
    """Stage name -> manifest; the whole run's is under `run`."""
    objects: tuple[dict[str, Any], ...]
    task: dict[str, Any] | None
    curve: Curve | None
    rows: tuple[Row, ...]

    def image(self, *names: str) -> Path | None:
        """Return the first of these files that exists."""
        paths = (self.folder / name for name in names)
        return next((path for path in paths if path.is_file()), None)


def gather(folder: Path) -> RunRecord:
    """Read a run folder.

    Raises:
        RoboloopError: The folder holds no stage, or one of its files is broken.
    """
    if not folder.is_dir():
        raise RoboloopError("no such run folder", "give the --out of `roboloop run`", folder)
    if not any((folder / stage).is_dir() for stage in STAGES):
        hint = f"it should hold some of: {', '.join(STAGES)}; or be a generated dataset, finished"
        raise RoboloopError("the folder holds no stage of a run", hint, folder)
    files = {"run": folder / MANIFEST} | {stage: folder / stage / MANIFEST for stage in STAGES}
    manifests = {stage: pick(Manifest, file) for stage, file in files.items() if file.is_file()}
    scene = folder / "scene" / "twin" / "scene.json"
    task = folder / "task" / "task.json"
    curve = folder / "train" / "curve.csv"
    results = folder / "evaluate" / "results.json"
    return RunRecord(
        folder=folder,
        manifests=manifests,
        objects=tuple(_unwrap(scene, "scene").get("objects", ())) if scene.is_file() else (),
        task=_unwrap(task, "task") if task.is_file() else None,
        curve=_read_curve(curve) if curve.is_file() else None,
        rows=_read_rows(results) if results.is_file() else (),
    )


def pick(kind: type, file: Path, plain: Any = None) -> Any:
    """Build `kind` from the fields it knows; other fields are not the report's business."""
    plain = read_json(file) if plain is None else plain
    names = {f.name for f in dataclasses.fields(kind)}
    known = {k: v for k, v in plain.items() if k in names} if isinstance(plain, dict) else plain
    try:
        return from_plain(kind, known, file.name)
    except RoboloopError as error:
        raise RoboloopError(error.problem, "was it made by another version?", file) from None


def _unwrap(file: Path, name: str) -> dict[str, Any]:
    """Read a record that may stand under its name, beside a format number."""
    plain = read_json(file)
    plain = plain.get(name, plain) if isinstance(plain, dict) else plain
    if not isinstance(plain, dict):
        raise RoboloopError(f"{file.name} is not a {name}", path=file)
    return plain


def _read_rows(file: Path) -> tuple[Row, ...]:
    plain = read_json(file)
    if not isinstance(plain, dict) or not isinstance(plain.get("rows"), list):
        raise RoboloopError("results.json has no list `rows`", path=file)
    return tuple(pick(Row, file, row) for row in plain["rows"])


def _read_curve(file: Path) -> Curve | None:
    """Read the learning curve; columns that are not numbers throughout are left out."""
    with file.open(newline="") as stream:
        names, *lines = list(csv.reader(stream)) or [[]]
    lines = [line for line in lines if len(line) == len(names)]  # the last one may be cut off
    if not lines:
        return None
    columns = dict(zip(names, zip(*lines, strict=True), strict=True))
    numbers = {name: _floats(column) for name, column in columns.items()}
    x = numbers.pop(names[0])
    if x is None:
        raise RoboloopError(f"curve.csv: column `{names[0]}` is not a number", path=file)
    return Curve(names[0], x, {name: column for name, column in numbers.items() if column})


def _floats(texts: tuple[str, ...]) -> tuple[float, ...] | None:
    try:
        return tuple(float(text) if text else float("nan") for text in texts)
    except ValueError:
        return None
