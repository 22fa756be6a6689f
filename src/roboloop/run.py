"""A run on disk: a folder with its config, its state, its cost; files that appear whole or not."""

import contextlib
import dataclasses
import errno
import fcntl
import json
import math
import os
import resource
import shlex
import shutil
import signal
import sys
import time
import weakref
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, Literal, get_type_hints

from roboloop import __version__, console
from roboloop.errors import RoboloopError
from roboloop.record import to_plain

MANIFEST = "manifest.json"
Scale = Literal["tiny", "small", "full"]
TEMPORARY = ".tmp-"
"""How the names of files begin that are not whole yet."""
_PINNED = ("mujoco", "numpy", "torch")
"""Packages whose version can change results, recorded in every manifest."""


@dataclass(frozen=True, kw_only=True)
class OutputFlags:
    """The flags of a command that makes no run folder."""

    json: bool = False
    """Write the result to stdout as JSON."""
    quiet: bool = False
    """Only warnings and errors on stderr."""
    debug: bool = False
    """Show the traceback of an error."""


@dataclass(frozen=True, kw_only=True)
class CommonFlags(OutputFlags):
    """The flags that every stage has; its `Config` inherits them."""

    out: Path | None = None
    """Folder to write to; has to be given."""
    seed: int = 0
    """Seed of everything random."""
    scale: Scale = "small"
    """Sets steps, sizes and counts together; single fields override it."""
    workers: int = os.cpu_count() or 1
    """Processes to use; the results are the same for any number."""
    overwrite: bool = False
    """Empty the output folder first."""


_NOT_RESULTS = frozenset(
    {"out", "workers", "cluster", "overwrite", "failures", "upload", "json", "quiet", "debug"}
)
"""Fields that do not change the results of a run: a resumed one may have others."""

_LEAST: dict[str, int] = {
    **dict.fromkeys(("seed", "only", "noise", "start_spread", "cousins", "held_out", "minutes"), 0),
    **dict.fromkeys(("n", "workers", "nearest", "steps", "reference_n"), 1),
    **dict.fromkeys(("horizon_steps", "execute_steps"), 1),
}
"""The least that fields of that name may be, in whatever command; its config may have others."""


@contextlib.contextmanager
def atomic_path(path: Path | str) -> Iterator[Path]:
    """Give a temporary path beside `path` that takes its place when the block succeeds.

    Raises:
        RoboloopError: The disk is full.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{TEMPORARY}{os.getpid()}-{path.name}")
    try:
        yield temporary
        temporary.replace(path)
    except BaseException as error:
        size = temporary.stat().st_size if temporary.is_file() else 0
        if temporary.is_dir():
            shutil.rmtree(temporary)
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise RoboloopError(
                f"the disk is full: stopped after {size:,} bytes of {path.name}",
                "free some space and run the same command again; finished files are kept",
                path,
            ) from error
        raise


def write_bytes_atomic(path: Path | str, content: bytes) -> None:
    """Write a file that appears whole or not at all."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


def write_json(path: Path | str, value: object) -> None:
    """Write `value` (dataclasses, tuples, paths and arrays too) as JSON, whole or not at all."""
    text = json.dumps(to_plain(value), indent=2, ensure_ascii=False, allow_nan=False)
    write_bytes_atomic(path, f"{text}\n".encode())


def read_json(path: Path | str) -> Any:
    """Read a JSON file.

    Raises:
        RoboloopError: There is no such file, or it is not valid JSON.
    """
    try:
        return json.loads(Path(path).read_text("utf-8"), parse_constant=_refuse_constant)
    except FileNotFoundError:
        raise RoboloopError(f"no file {Path(path).name}", path=path) from None
    except (ValueError, IsADirectoryError) as error:
        raise RoboloopError(
            f"{Path(path).name} is not valid JSON: {error}", "was it cut off while copying?", path
        ) from None


def _refuse_constant(text: str) -> None:
    raise ValueError(f"{text} is not a JSON number")


def command_line(stage: str, config: Any) -> str:
    """Write the command that gives this config: positional arguments and what is not default."""
    words, flags = ["roboloop", *stage.split()], []
    hints = get_type_hints(type(config), include_extras=True)
    for field in dataclasses.fields(config):
        value, name = getattr(config, field.name), field.name.replace("_", "-")
        default = field.default
        if field.default_factory is not dataclasses.MISSING:
            default = field.default_factory()
        if value == default or field.name in ("overwrite", "json", "quiet", "debug"):
            continue
        texts = [str(v) for v in value] if isinstance(value, list | tuple) else [str(value)]
        if _is_positional(hints[field.name]):
            words += texts
        elif isinstance(value, bool):
            flags += [f"--{name}" if value else f"--no-{name}"]
        else:
            flags += [f"--{name}", *texts]
    return shlex.join(words + flags)


class Run:
    """An output folder with a `manifest.json`; made by `Run.open`, used in a `with` block.

    The manifest says which stage and config made the folder, whether it is finished, and what it
    cost over all its resumed parts. Leaving the block on an error or Ctrl-C records that. Until
    then no other process can open the folder.
    """

    def __init__(
        self, folder: Path, manifest: dict[str, Any], lock: int, made: Sequence[Path]
    ) -> None:
        self.folder, self.manifest = folder, manifest
        self._made = made  # of the folder and its manifest, what was not there before
        self._unlock = weakref.finalize(self, os.close, lock)
        self._earlier = dict(manifest["cost"])
        self._start = time.monotonic(), sum(os.times()[:4])

    @classmethod
    def open(
        cls, folder: Path, stage: str, config: Any, seed: int, overwrite: bool = False
    ) -> "Run":
        """Make a run folder, or take up the one that is there.

        Args:
            folder: Where the stage writes.
            stage: The command's name, such as `scene`.
            config: The stage's resolved config, a frozen dataclass.
            seed: Seed of everything random.
            overwrite: Empty the folder first, if a run made it.

        Raises:
            RoboloopError: The folder has another config, or something that no run made; or another
                run is writing to it.
        """
        folder, plain = Path(folder), to_plain(config)
        if folder.is_file():
            raise RoboloopError("the output folder is a file", "give another --out", folder)
        _keep_apart(folder, config)
        _check_numbers(config)
        file, existed = folder / MANIFEST, folder.exists()
        names = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
        if MANIFEST not in names and not all(name.startswith(TEMPORARY) for name in names):
            raise RoboloopError(
                "the output folder holds files that no run made", "give another --out", folder
            )
        manifest = {"stage": stage, "status": "running", "seed": seed}
        manifest |= {"command": command_line(stage, config), "config": plain, "cwd": os.getcwd()}
        manifest |= {"versions": _versions(), "figures": {}}
        manifest["cost"] = {"cpu_s": 0.0, "wall_s": 0.0, "peak_rss_mib": 0.0}
        resumed = file.exists() and not overwrite
        if resumed:
            earlier = read_json(file)
            check_same(earlier, manifest, folder)
            manifest |= {key: earlier[key] for key in ("status", "figures", "cost")}
        lock = _lock(folder)
        if overwrite:
            for path in list(folder.iterdir()):
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        _remove_leftovers(folder)
        made = [path for path, there in ((folder, existed), (file, resumed)) if not there]
        run = cls(folder, manifest, lock, made)
        if not run.finished:
            run.checkpoint()
        return run

    @property
    def finished(self) -> bool:
        """Whether an earlier call has made everything that this config asks for."""
        return self.manifest["status"] == "finished"

    def checkpoint(self, **figures: object) -> None:
        """Write the manifest as it is now, so that a killed run keeps its figures and cost."""
        self._write("running", figures)

    def finish(self, **figures: object) -> None:
        """Record that everything is written, with the numbers that matter."""
        self._write("finished", figures)

    def _write(self, status: str, figures: dict[str, object]) -> None:
        wall, cpu = time.monotonic() - self._start[0], sum(os.times()[:4]) - self._start[1]
        cost = {
            "cpu_s": round(self._earlier["cpu_s"] + cpu, 2),
            "wall_s": round(self._earlier["wall_s"] + wall, 2),
            "peak_rss_mib": max(self._earlier["peak_rss_mib"], _peak_rss_mib()),
        }
        figures = {**self.manifest["figures"], **figures}
        self.manifest |= {"status": status, "figures": figures, "cost": cost}
        write_json(self.folder / MANIFEST, self.manifest)

    def __enter__(self) -> "Run":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None and not self.finished:
            status = "interrupted" if isinstance(error, KeyboardInterrupt) else "failed"
            with contextlib.suppress(RoboloopError):  # on a full disk the first error matters
                self._write(status, {})
            if isinstance(error, RoboloopError):
                self._leave_nothing()
        self._unlock()

    def _leave_nothing(self) -> None:
        """Remove what a run that could not even begin has made: a typing error claims no folder."""
        if [path.name for path in self.folder.iterdir()] != [MANIFEST]:
            return
        for path in reversed(self._made):
            path.rmdir() if path.is_dir() else path.unlink()


def _check_numbers(config: Any) -> None:
    """Refuse numbers of a config that are below `_LEAST`.

    Raises:
        RoboloopError: Some are; all are named.
    """
    given = {name: getattr(config, name, None) for name in _LEAST}
    wrong = [n for n, value in given.items() if value is not None and not value >= _LEAST[n]]
    if wrong:
        flags = ", ".join(f"--{name.replace('_', '-')} {given[name]}" for name in wrong)
        wanted = ", ".join(f"{_LEAST[name]:g}" for name in wrong)
        raise RoboloopError(f"{flags}: too small", f"wanted at least {wanted}")


def _inputs(config: Any) -> Iterator[tuple[str, Any]]:
    """What a config reads: its positional arguments, and paths."""
    hints = get_type_hints(type(config), include_extras=True)
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if field.name != "out" and (_is_positional(hints[field.name]) or isinstance(value, Path)):
            yield field.name, value


def _is_positional(hint: Any) -> bool:
    return any(str(mark) == "Positional" for mark in getattr(hint, "__metadata__", ()))


def _keep_apart(folder: Path, config: Any) -> None:
    """Refuse to write to what is read, or around it: `--overwrite` would remove it.

    Raises:
        RoboloopError: The output folder is an input of the config, or holds one.
    """
    place = folder.resolve()
    for name, value in _inputs(config):
        for each in value if isinstance(value, list | tuple) else [value]:
            if not isinstance(each, str | Path) or not os.path.exists(each):
                continue
            other = Path(each).resolve()
            if place == other or place in other.parents:
                problem = f"--out {folder} is not apart from {name}, {each}"
                raise RoboloopError(problem, "give another --out")


def _lock(folder: Path) -> int:
    """Keep a folder, made if need be, for this process until it closes the result, or dies."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        problem = f"the output folder cannot be made: {error.strerror}"
        raise RoboloopError(problem, "give another --out", folder) from None
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        hint = "wait for it, or give another --out"
        raise RoboloopError("another run is writing to the output folder", hint, folder) from None
    except OSError as error:  # some network file systems have no locks
        console.warn(f"{folder} cannot be locked ({error}): let no other run write to it")
    return handle


def _remove_leftovers(folder: Path) -> None:
    """Remove the temporary files of a run that was killed while it wrote."""
    for path in list(folder.rglob(f"{TEMPORARY}*")):
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


def _versions() -> dict[str, str]:
    # metadata, not the modules: torch takes a second to import
    return {"roboloop": __version__, "python": sys.version.split()[0]} | {
        name: metadata.version(name) for name in _PINNED
    }


def _peak_rss_mib() -> float:
    """Peak memory of this process and of its largest finished child, added, MiB."""
    kinds = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return math.ceil(sum(resource.getrusage(kind).ru_maxrss for kind in kinds) / unit)


def check_same(earlier: Any, now: dict[str, Any], folder: Path) -> None:
    """Refuse to go on in a folder that another config made.

    Args:
        earlier: The manifest that is there.
        now: The run's.
        folder: What is said of it.

    Raises:
        RoboloopError: The manifest is broken, or a field that changes results has another value.
    """
    if not isinstance(earlier, dict) or not now.keys() <= earlier.keys():
        raise RoboloopError("the manifest misses fields", "--overwrite starts anew", folder)
    if earlier["stage"] != now["stage"]:
        problem = f"the folder was made by `roboloop {earlier['stage']}`"
        raise RoboloopError(problem, "give another --out", folder)
    old, new, places = earlier["config"], now["config"], (earlier["cwd"], now["cwd"])
    names = sorted((old.keys() | new.keys()) - _NOT_RESULTS)
    other = [name for name in names if not _alike(old.get(name), new.get(name), places)]
    if other:
        changes = ", ".join(
            f"{name} was {old.get(name)!r}, now {new.get(name)!r}" for name in other
        )
        raise RoboloopError(
            f"the folder was made with another config: {changes}",
            "give another --out, or --overwrite to start anew",
            folder,
        )
    if earlier["versions"] != now["versions"]:
        console.warn(f"{folder} was begun with other versions: {earlier['versions']}")


def _alike(old: Any, new: Any, places: tuple[str, str]) -> bool:
    """Whether values of two configs mean the same: paths may be spelled in two ways.

    Args:
        old: In JSON.
        new: In JSON.
        places: The working directories that relative paths are from.
    """
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        return all(_alike(a, b, places) for a, b in zip(old, new, strict=True))
    if isinstance(old, str) and isinstance(new, str) and old != new:
        before, after = (
            Path(p, each).resolve() for p, each in zip(places, (old, new), strict=True)
        )
        return before == after and after.exists()
    return old == new


class Interruptible:
    """Let the current unit finish on the first Ctrl-C; the second one stops at once.

    `with Interruptible() as stop:` and, after each unit, `if stop.requested: break`. Leaving the
    block then raises KeyboardInterrupt. Worker processes must ignore SIGINT themselves, because a
    terminal sends it to the whole process group.
    """

    requested = False

    def __enter__(self) -> "Interruptible":
        self._previous = signal.signal(signal.SIGINT, self._handle)
        return self

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True
        console.say("stopping after the current unit; Ctrl-C again stops at once")

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        signal.signal(signal.SIGINT, self._previous)
        if self.requested and error is None:
            raise KeyboardInterrupt
