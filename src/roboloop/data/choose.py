"""Choose episodes of a dataset: by what they are, by number, or at random in shares."""

from collections import Counter
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Literal

import numpy as np

from roboloop.data.part import Part
from roboloop.errors import RoboloopError

Outcome = Literal["any", "success", "failure"]
STAGE = 12
"""Number of splitting in the seeds of everything random."""


@dataclass(frozen=True)
class Filter:
    """What an episode has to be; every condition has to hold."""

    where: Outcome = "any"
    task: str = "*"
    """Pattern of the instruction."""
    scene: str = "*"
    """Pattern of the scene's name."""
    min_length: int = 0
    """Control steps."""
    max_length: int | None = None
    episodes: tuple[str, ...] = ()
    """Numbers and ranges; none means all."""


def filter_episodes(part: Part, wanted: Filter) -> tuple[int, ...]:
    """Return the episodes that are as wanted, in order.

    Raises:
        RoboloopError: There is none, or the dataset does not say what is asked for.
    """
    n = part.info.n_episodes
    chosen = set(parse_ranges(wanted.episodes, n)) if wanted.episodes else set(range(n))
    longest = part.lengths.max() if wanted.max_length is None else wanted.max_length
    fits = {
        "episodes": np.array([i in chosen for i in range(n)]),
        "min_length": part.lengths >= wanted.min_length,
        "max_length": part.lengths <= longest,
    }
    if wanted.task != "*":
        texts = [" ".join(tasks) for tasks in part.episodes.column("tasks").to_pylist()]
        fits["task"] = np.array([_matches(text, wanted.task) for text in texts])
    if wanted.scene != "*":
        fits["scene"] = np.array([_matches(s, wanted.scene) for s in part.facts("scene")])
    if wanted.where != "any":
        fits["where"] = np.array(part.facts("success")) == (wanted.where == "success")
    kept = np.flatnonzero(np.all(list(fits.values()), axis=0))
    if not len(kept):
        counts = ", ".join(f"{int(fit.sum())} by {name}" for name, fit in fits.items())
        raise RoboloopError(f"no episode of {n} is as wanted: {counts}", None, part.info.folder)
    return tuple(kept.tolist())


def parse_ranges(texts: tuple[str, ...], n: int) -> list[int]:
    """Read numbers and ranges such as `7`, `0:10`, `90:` or `0:5,8`, of `n` episodes.

    Raises:
        RoboloopError: A text is none of these, or an episode is not there.
    """
    result = []
    for text in ",".join(texts).split(","):
        start, colon, stop = text.partition(":")
        try:
            first = int(start or 0) if colon else int(start)
            last = int(stop or n) if colon else first + 1
        except ValueError:
            hint = "write 7, 0:10 or 90:"
            raise RoboloopError(f"`{text}` is no range of episodes", hint) from None
        if not 0 <= first < last <= n:
            raise RoboloopError(f"no episodes {text}: there are {n}, from 0 on")
        result += range(first, last)
    return result


def split_by_ranges(texts: tuple[str, ...], n: int) -> list[tuple[int, ...]]:
    """Read the episodes of each part, one text a part.

    Raises:
        RoboloopError: An episode is in two parts, or a text cannot be read.
    """
    parts = [tuple(parse_ranges((text,), n)) for text in texts]
    twice = [episode for episode, count in Counter(sum(parts, ())).items() if count > 1]
    if twice:
        raise RoboloopError(f"episodes in two parts: {', '.join(map(str, sorted(twice)))}")
    return parts


def split_by_shares(shares: tuple[float, ...], n: int, seed: int) -> list[tuple[int, ...]]:
    """Share `n` episodes out at random; each part keeps their order.

    Raises:
        RoboloopError: The shares do not add up to 1, or a part would be empty.
    """
    if abs(sum(shares) - 1) > 1e-6 or min(shares) <= 0:
        total = f"{sum(shares):.6g}"
        raise RoboloopError(f"fractions {shares} add up to {total}", "they have to be 1 together")
    ends = np.round(np.cumsum(shares) * n).astype(int)
    if (np.diff(ends, prepend=0) == 0).any():
        raise RoboloopError(f"{n} episodes cannot be split into {shares}: a part would be empty")
    order = np.random.default_rng(np.random.SeedSequence([seed, STAGE])).permutation(n)
    return [tuple(sorted(part.tolist())) for part in np.split(order, ends[:-1])]


def _matches(text: str, pattern: str) -> bool:
    return fnmatchcase(text.lower(), pattern.lower())
