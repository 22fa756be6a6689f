"""How unlike each other generated episodes are, and how unlike their sources."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int
from scipy.spatial.distance import cdist

from roboloop import pose
from roboloop.data.episode import EEF_NAMES
from roboloop.data.part import read_columns, read_episodes
from roboloop.data.reader import read_info, to_array
from roboloop.generate.segments import Recording

N_POINTS = 20
"""Of a path of the hand, evenly in time."""
MAX_EPISODES = 1000
"""Of more, so many are compared."""
CELL = 0.05
"""Edge of the cells of which the hand's places are counted, m."""


@dataclass(frozen=True)
class Diversity:
    """Of the hand's paths."""

    to_nearest: float
    """Mean distance from an episode to the most like other one: mean over the path, m."""
    to_source: float
    """Mean distance from an episode to the most like source, m."""
    entropy_bits: float
    """Of where the hand is, in cells of `CELL`."""


def diversity(
    episodes: Float[np.ndarray, "N P 3"], sources: Float[np.ndarray, "M P 3"]
) -> Diversity:
    """Measure paths of the hand against each other and against their sources."""
    among, beside = _distances(episodes, episodes), _distances(episodes, sources)
    np.fill_diagonal(among, np.inf)
    cells = np.floor(episodes.reshape(-1, 3) / CELL).astype(int)
    share = np.unique(cells, axis=0, return_counts=True)[1] / len(cells)
    nearest = float(among.min(1).mean()) if len(episodes) > 1 else 0.0
    return Diversity(nearest, float(beside.min(1).mean()), float(-(share * np.log2(share)).sum()))


def hand_paths(folder: Path) -> Float[np.ndarray, "N P 3"]:
    """Read where the hands were to be in a dataset's episodes, each in its arm's base frame.

    Of several hands, the paths follow one another.
    """
    info = read_info(folder)
    eef, episodes = read_columns(info, ["action.eef"])["action.eef"], read_episodes(info)
    starts, lengths = (to_array(episodes, n) for n in ("dataset_from_index", "length"))
    positions = eef.astype(float).reshape(len(eef), -1, len(EEF_NAMES))[..., :3]
    rows = [starts[i] + _rows(int(lengths[i])) for i in _picked(len(lengths))]
    return np.stack([_strung(positions[steps]) for steps in rows])


def source_paths(recordings: Sequence[Recording]) -> Float[np.ndarray, "N P 3"]:
    """Where the hands were to be in source demonstrations; see `hand_paths`."""
    paths = []
    for recording in (recordings[i] for i in _picked(len(recordings))):
        steps, hands = _rows(len(recording.qpos) - 1), []
        for track in recording.tracks:
            Ts_base_world = pose.inverse(track.Ts_world_base[steps])
            hands.append((Ts_base_world @ track.Ts_world_target[steps])[:, :3, 3])
        paths.append(_strung(np.stack(hands, 1)))
    return np.stack(paths)


def _strung(positions: Float[np.ndarray, "P arms 3"]) -> Float[np.ndarray, "Q 3"]:
    """Several hands' paths, one after the other."""
    return np.swapaxes(positions, 0, 1).reshape(-1, 3)


def _picked(n: int) -> Int[np.ndarray, "N"]:
    """At most `MAX_EPISODES` of `n` episodes."""
    return np.linspace(0, n - 1, min(n, MAX_EPISODES)).astype(int)


def _rows(n_steps: int) -> Int[np.ndarray, "P"]:
    """The steps of an episode at which its path is compared."""
    return np.linspace(0, n_steps - 1, N_POINTS).round().astype(int)


def _distances(
    a: Float[np.ndarray, "N P 3"], b: Float[np.ndarray, "M P 3"]
) -> Float[np.ndarray, "N M"]:
    """Between each of `a` and each of `b`: mean over the path, m."""
    n_points = a.shape[1]
    return sum(cdist(a[:, i], b[:, i]) for i in range(n_points)) / n_points
