"""What a person reads goes to stderr, what a program reads to stdout."""

import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

PLAIN_PERIOD = 30.0
"""Seconds between two progress lines where stderr is not a terminal."""

_state: dict[str, Any] = {"quiet": False, "live": None}


def configure(*, quiet: bool) -> None:
    """Set whether `say` and `Progress` stay silent; warnings and data are always written."""
    _state["quiet"] = quiet


def say(message: str) -> None:
    """Write a message to stderr, above the progress line where there is one."""
    if not _state["quiet"]:
        _write(message)


def warn(message: str) -> None:
    """Write a warning to stderr, `--quiet` or not."""
    _write(f"warning: {message}")


def summary(**rows: object) -> None:
    """Say what a stage ends with: `summary(wrote=..., failed=..., next=...)`, one line each."""
    for label, text in rows.items():
        say(f"{label:<10}{text}")


def emit(value: object) -> None:
    """Write a result to stdout: a string or path as a line, anything else as JSON."""
    plain = isinstance(value, str | Path)
    print(value if plain else json.dumps(value, ensure_ascii=False, default=str), flush=True)


def _write(message: str) -> None:
    if _state["live"] is not None:
        _state["live"].console.print(message, markup=False, highlight=False, soft_wrap=True)
    else:
        print(message, file=sys.stderr, flush=True)


class Progress:
    """Count, rate, time left and figures of long work, as a context manager.

    On a terminal a bar that moves (drawn by rich, which respects `NO_COLOR`), otherwise a plain
    line every 30 s; both end with a closing line.

    Args:
        label: What is being done, such as `generate`.
        total: Number of units when all is done.
        unit: What is counted, for the rate.
    """

    def __init__(self, label: str, total: int, unit: str = "") -> None:
        self.label, self.total, self.unit = label, total, unit
        self._done = self._first = 0
        self._figures: Mapping[str, object] = {}
        self._bar: Any = None

    def __enter__(self) -> "Progress":
        self._start = self._last_line = time.monotonic()
        nested = _state["live"] is not None
        if sys.stderr.isatty() and not _state["quiet"] and not nested:
            from rich.console import Console
            from rich.progress import BarColumn, TextColumn
            from rich.progress import Progress as Bar

            columns = (TextColumn(f"{self.label:<8}", markup=False), BarColumn(24))
            columns += (TextColumn("{task.fields[line]}", markup=False),)
            self._bar = Bar(*columns, console=Console(stderr=True), transient=True)
            self._task = self._bar.add_task(self.label, total=self.total, line="")
            self._bar.start()
            _state["live"] = self._bar
        return self

    def start_from(self, done: int) -> None:
        """Count units that an earlier run has made, so that they do not raise the rate."""
        self._first = self._done = done

    def update(self, done: int, **figures: object) -> None:
        """Set how many units are done, and figures to show beside, such as `success="83 %"`."""
        self._done, self._figures = done, figures
        if self._bar is not None:
            self._bar.update(self._task, completed=done, line=self._line())
        elif time.monotonic() - self._last_line >= PLAIN_PERIOD:
            self._last_line = time.monotonic()
            say(f"{self.label:<10}{self._line()}")

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            _state["live"] = None
            self._bar.stop()
        say(f"{self.label:<10}{self._line(closing=True)}")

    def _line(self, closing: bool = False) -> str:
        elapsed = time.monotonic() - self._start
        rate = (self._done - self._first) / elapsed if elapsed > 0 else 0.0
        parts = [f"{self._done}/{self.total}"]
        parts += [f"{name} {_short(value)}" for name, value in self._figures.items()]
        parts += [f"{_short(rate)} {self.unit}/s" if self.unit else f"{_short(rate)}/s"]
        if closing:
            parts += [clock(elapsed)]
        elif rate > 0:
            parts += [f"ETA {clock((self.total - self._done) / rate)}"]
        return "  ".join(parts)


def _short(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def clock(seconds: float) -> str:
    """Write a duration as `m:ss` or `h:mm:ss`."""
    minutes, second = divmod(round(max(seconds, 0.0)), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"
