"""What a person reads goes to stderr, what a program reads to stdout."""

import json
import sys
import threading
import time
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
    """Write a result to stdout: a string or path as a line, anything else as JSON.

    A program gets JSON in one line, a terminal in many.
    """
    if not isinstance(value, str | Path):
        indent = 2 if sys.stdout.isatty() else None
        value = json.dumps(value, ensure_ascii=False, default=str, indent=indent)
    print(value, flush=True)


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
        unit: What is made, for the rate.
        counted: What the units are that count, such as `kept`.
    """

    def __init__(self, label: str, total: int, unit: str = "", counted: str = "") -> None:
        self.label, self.total, self.unit, self.counted = label, total, unit, counted
        self._done = self._first = 0
        self._texts: tuple[str, ...] = ()
        self._bar: Any = None
        self._over, self._lines = threading.Event(), threading.Thread(target=self._say, daemon=True)

    def __enter__(self) -> "Progress":
        self._start = self._at = time.monotonic()
        nested = _state["live"] is not None
        if sys.stderr.isatty() and not _state["quiet"] and not nested:
            from rich.console import Console
            from rich.progress import BarColumn, TextColumn
            from rich.progress import Progress as Bar

            columns = (TextColumn(f"{self.label:<8}", markup=False), BarColumn(24))
            columns += (TextColumn("{task.fields[line]}", markup=False),)
            self._bar = Bar(*columns, console=Console(stderr=True), transient=True)
            self._task = self._bar.add_task(self.label, total=self.total, line=self)
            self._bar.start()
            _state["live"] = self._bar
        else:
            self._lines.start()
        return self

    def start_from(self, done: int) -> None:
        """Count units that an earlier run has made, so that they do not raise the rate."""
        self._first = self._done = done

    def update(self, done: int, *texts: str, **figures: object) -> None:
        """Set how many units are done, and texts and figures to show beside, such as `loss=0.3`."""
        said = (f"{name} {_short(value)}" for name, value in figures.items())
        self._done, self._texts, self._at = done, (*texts, *said), time.monotonic()
        if self._bar is not None:
            self._bar.update(self._task, completed=done)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            _state["live"] = None
            self._bar.stop()
        else:
            self._over.set()
            self._lines.join()
        elapsed = time.monotonic() - self._start
        say(f"{self.label:<10}{self._line(elapsed)}  {clock(elapsed)}")

    def __str__(self) -> str:
        """Say how far it is now; rich asks for it whenever it draws."""
        spent = self._at - self._start  # between two units the rate stays, and the time left runs
        if self._done <= self._first or spent <= 0:
            return self._line(0.0)
        left = (self.total - self._done) * spent / (self._done - self._first)
        return f"{self._line(spent)}  ETA {clock(left - (time.monotonic() - self._at))}"

    def _say(self) -> None:
        """Say it every 30 s."""
        while not self._over.wait(PLAIN_PERIOD):
            say(f"{self.label:<10}{self}")

    def _line(self, seconds: float) -> str:
        rate = (self._done - self._first) / seconds if seconds > 0 else 0.0
        count = f"{self._done}/{self.total} {self.counted}".rstrip()
        return "  ".join([count, *self._texts, f"{_short(rate)} {self.unit}".rstrip() + "/s"])


def _short(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def clock(seconds: float) -> str:
    """Write a duration as `m:ss` or `h:mm:ss`."""
    minutes, second = divmod(round(max(seconds, 0.0)), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"
