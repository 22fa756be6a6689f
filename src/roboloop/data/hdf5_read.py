"""A robomimic-style HDF5 file as a dataset: ours as they were, those of others as far as it goes.

Of files of others, vectors under `obs` become the state, uint8 images the cameras. What they do not
have stays empty: hand targets, object poses, the state after the last action (NaN).
"""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from roboloop import console
from roboloop.data.episode import Episode
from roboloop.data.hdf5_write import BLOCK, VERSION, import_h5py
from roboloop.data.layout import DatasetInfo
from roboloop.data.shard import list_shards, write_shard
from roboloop.data.views import View, write_views
from roboloop.data.writer import finish_dataset
from roboloop.errors import RoboloopError, unknown_name
from roboloop.record import from_plain

Array = np.ndarray


@dataclass(frozen=True)
class Choices:
    """What a file of others does not say, or says too much of."""

    state_keys: tuple[str, ...] = ()
    """Observations that make up the state; none takes every vector but those of objects."""
    mask: str | None = None
    """Filter key: only its demonstrations."""
    fps: int | None = None
    task: str | None = None
    """Instruction."""


@dataclass(frozen=True)
class _Layout:
    """How the demonstrations of a file are read."""

    ours: bool
    fps: int
    robot: str
    task: str
    state: dict[str, int]
    """Observation -> numbers it has."""
    cameras: dict[str, str]
    """Camera -> observation."""
    state_names: tuple[str, ...]
    action_names: tuple[str, ...]


def read_hdf5(path: Path, out: Path, choices: Choices) -> DatasetInfo:
    """Write the demonstrations of a file as a dataset; one that was interrupted goes on.

    Args:
        path: The file.
        out: The dataset's folder.
        choices: What the file does not say.

    Raises:
        RoboloopError: The file cannot be read, is cut off, of a newer version, or misses something
            that has no substitute; or the disk is full.
    """
    with opened(path) as file:
        names = demo_names(file, choices.mask)
        plan, views = _layout(file, names, choices)
        done = list_shards(out)
        with console.Progress("convert", len(names)) as progress:
            for index, name in enumerate(names):
                if index not in done:
                    demo = file[f"data/{name}"]
                    episode = _episode(demo, plan, int(name.removeprefix("demo_")))
                    write_shard(out, index, episode, _frames(demo, plan, len(episode)))
                progress.update(index + 1)
    if views:
        write_views(out, views)
    return finish_dataset(out, plan.state_names, plan.action_names)


def read_episodes(path: Path) -> tuple[DatasetInfo, list[Episode]]:
    """Read a file of ours: what it holds, and its episodes without their images.

    Raises:
        RoboloopError: See `read_hdf5`.
    """
    with opened(path) as file:
        names = demo_names(file)
        plan, _ = _layout(file, names, Choices())
        episodes = [_episode(file[f"data/{name}"], plan, k) for k, name in enumerate(names)]
    tasks = tuple(dict.fromkeys(episode.task for episode in episodes))
    n_frames, columns = sum(map(len, episodes)), (plan.state_names, plan.action_names)
    return DatasetInfo(
        path, plan.robot, plan.fps, len(names), n_frames, tasks, {}, *columns
    ), episodes


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """Open a file to read it; what goes wrong on the way is said with its path.

    Raises:
        RoboloopError: It is not there, cannot be read, or is cut off.
    """
    h5py = import_h5py()
    if not path.exists():
        raise RoboloopError(f"no file {path.name}", None, path)
    try:
        with h5py.File(path, "r") as file:
            yield file
    except (OSError, KeyError, RuntimeError) as error:
        raise RoboloopError(f"{path.name} cannot be read: {error}", _hint(error), path) from None
    except RoboloopError as error:
        raise RoboloopError(error.problem, error.hint, error.path or path) from None


def is_ours(file: Any) -> bool:
    """Whether we wrote a file, which then has everything that a dataset of ours has."""
    return "data" in file and "roboloop" in file["data"].attrs


def _hint(error: Exception) -> str:
    text = str(error)
    if "truncated" in text:
        return "the file is cut off; was it copied whole?"
    return "is it an HDF5 file?" if "signature" in text else "was it cut off while copying?"


def demo_names(file: Any, mask: str | None = None) -> list[str]:
    """Return the names of the demonstrations, in order of their numbers; see `Choices.mask`."""
    if "data" not in file:
        raise RoboloopError(f"no group `data`, only {', '.join(file) or 'nothing'}")
    names = [name for name in file["data"] if re.fullmatch(r"demo_\d+", name)]
    if mask is not None:
        known = list(file.get("mask", {}))
        if mask not in known:
            raise unknown_name("filter key", mask, known)
        members = {name.decode() for name in file[f"mask/{mask}"][:]}
        names = [name for name in names if name in members]
    if not names:
        raise RoboloopError("there is no demonstration", "they are called data/demo_0 and so on")
    return sorted(names, key=lambda name: int(name[5:]))


def _layout(file: Any, names: list[str], choices: Choices) -> tuple[_Layout, dict[str, View]]:
    """Find out how to read a file from what it says and from its first demonstration."""
    data, first = file["data"], file[f"data/{names[0]}"]
    if "actions" not in first or "obs" not in first:
        raise RoboloopError(
            f"{names[0]} has {', '.join(first)}, wanted actions and obs",
            "robomimic's dataset_states_to_obs.py extracts observations from states",
        )
    images = [key for key, values in first["obs"].items() if _is_image(values)]
    cameras = {re.sub("_(image|rgb)$", "", key): key for key in images}
    n_actions = first["actions"].shape[1]
    if is_ours(file):
        ours = json.loads(data.attrs["roboloop"])
        if ours["version"] > VERSION:
            problem = f"the file is of version {ours['version']}, this program reads {VERSION}"
            raise RoboloopError(problem, "update roboloop")
        names_of = tuple(ours["state_names"]), tuple(ours["action_names"])
        views = {name: from_plain(View, plain, name) for name, plain in ours["views"].items()}
        state = {"state": len(names_of[0])}
        plan = _Layout(True, ours["fps"], ours["robot"], "", state, cameras, *names_of)
        return plan, views
    args = json.loads(data.attrs.get("env_args", "{}"))
    kwargs = args.get("env_kwargs", {})
    robots = kwargs.get("robots", "")
    state = _state_keys(first["obs"], choices.state_keys)
    plan = _Layout(
        ours=False,
        fps=_fps(kwargs.get("control_freq"), choices.fps),
        robot=robots if isinstance(robots, str) else "+".join(robots),
        task=choices.task or args.get("env_name", ""),
        state=state,
        cameras=cameras,
        state_names=tuple(f"{key}.{i}" for key, n in state.items() for i in range(n)),
        action_names=tuple(f"action.{i}" for i in range(n_actions)),
    )
    _say_what_is_missing(first, plan)
    return plan, {}


def _is_image(values: Any) -> bool:
    return getattr(values, "dtype", None) == np.uint8 and values.ndim == 4 and values.shape[3] == 3


def _state_keys(obs: Any, chosen: tuple[str, ...]) -> dict[str, int]:
    """Choose the observations that make up the state."""
    vectors = {
        key: 1 if values.ndim == 1 else values.shape[1]
        for key, values in obs.items()
        if hasattr(values, "dtype") and values.dtype.kind in "fiu" and values.ndim in (1, 2)
    }
    for key in chosen:
        if key not in vectors:
            raise unknown_name("observation", key, vectors)
    keys = chosen or [key for key in vectors if not key.startswith("object")]
    if not keys:
        raise RoboloopError(f"no vector among the observations {', '.join(obs)}")
    return {key: vectors[key] for key in keys}


def _fps(said: float | None, chosen: int | None) -> int:
    """Return the control steps a second."""
    if said is None and chosen is None:
        raise RoboloopError("the file does not say how many control steps a second has", "--fps N")
    if said is not None and chosen is not None and said != chosen:
        raise RoboloopError(f"the file has {said:g} control steps a second, --fps says {chosen}")
    fps = chosen if said is None else said
    if fps != round(fps or 0) or not fps:
        raise RoboloopError(f"{fps:g} control steps a second, wanted a whole number")
    return int(fps)


def _say_what_is_missing(demo: Any, plan: _Layout) -> None:
    """Say what the dataset will not have, because a file of others does not."""
    rest = sorted(set(demo["obs"]) - {*plan.state, *plan.cameras.values()})
    console.say(f"state     {', '.join(f'{key} ({n})' for key, n in plan.state.items())}")
    console.say(f"cameras   {', '.join(plan.cameras) or 'none'}")
    if rest:
        console.say(f"left out  {', '.join(rest)}")
    missing = ["hand targets", "object poses", "subtasks"]
    missing += ["simulator states"] if "states" not in demo else ["the last simulator state"]
    if "rewards" not in demo:
        missing.append("rewards: every demonstration counts as a success")
    console.say(f"missing   {', '.join(missing)}")


def _episode(demo: Any, plan: _Layout, number: int) -> Episode:
    """Read a demonstration without its images."""
    n_steps = len(demo["actions"])
    obs = demo["obs"]
    vectors = [np.asarray(obs[key][:]).reshape(len(obs[key]), -1) for key in plan.state]
    lengths = {key: len(obs[key]) for key in [*plan.state, *plan.cameras.values()]}
    wrong = [f"{key} {n}" for key, n in lengths.items() if n != n_steps]
    widths = tuple(vector.shape[1] for vector in vectors), demo["actions"].shape[1]
    if widths != (tuple(plan.state.values()), len(plan.action_names)):
        problem = f"joints differ: {demo.name} has {widths[0]} and {widths[1]} numbers in state and"
        wanted = f"{tuple(plan.state.values())} and {len(plan.action_names)}"
        raise RoboloopError(f"{problem} actions, the first demonstration {wanted}")
    if wrong:
        raise RoboloopError(f"{demo.name} has {n_steps} actions, but {', '.join(wrong)}")
    action = demo["actions"][:].astype(np.float32)
    extra = demo.get("action_dict", {}) if plan.ours else {}
    meta = json.loads(demo.attrs.get("ep_meta", "{}"))
    task = meta.get("lang") or plan.task
    if not task:
        raise RoboloopError(f"{demo.name} has no instruction", "give one with --task")
    success = bool((demo["rewards"][:] > 0).any()) if "rewards" in demo else True
    objects = obs["object"][:] if plan.ours and "object" in obs else np.zeros((n_steps, 0))
    subtasks = meta.get("subtasks", ()) if plan.ours else ()
    return Episode(
        state=np.concatenate(vectors, 1).astype(np.float32),
        action=action,
        action_intended=extra["intended"][:] if "intended" in extra else action,
        imitate=extra["imitate"][:] if "imitate" in extra else np.ones(n_steps, bool),
        action_eef=extra["eef"][:] if "eef" in extra else np.zeros((n_steps, 0), np.float32),
        images=None,
        sim_states=_states(demo, n_steps),
        object_poses=objects.reshape(n_steps, objects.shape[1] // 7, 7).astype(float),
        subtasks=tuple((s["name"], s["start"], s["stop"]) for s in subtasks),
        task=task,
        success=meta.get("success", success) if plan.ours else success,
        scene=meta.get("scene", "") if plan.ours else "",
        seed=meta.get("seed", number) if plan.ours else number,
        robot=meta.get("robot", plan.robot) if plan.ours else plan.robot,
        fps=plan.fps,
        object_names=tuple(meta.get("object_names", ())) if plan.ours else (),
    )


def _states(demo: Any, n_steps: int) -> Array:
    """Read the simulator's states; the last one is NaN where the file does not have it."""
    if "states" not in demo:
        return np.zeros((n_steps + 1, 0))
    states = demo["states"][:].astype(float)
    if len(states) != n_steps:
        raise RoboloopError(f"{demo.name} has {n_steps} actions, but {len(states)} states")
    last = demo["last_state"][:] if "last_state" in demo else np.full(states.shape[1], np.nan)
    return np.concatenate([states, last[None]])


def _frames(demo: Any, plan: _Layout, n_steps: int) -> Iterator[dict[str, Array]]:
    """Read the images, a block at a time."""
    for start in range(0, n_steps, BLOCK):
        blocks = {c: demo["obs"][key][start : start + BLOCK] for c, key in plan.cameras.items()}
        for t in range(min(BLOCK, n_steps - start)):
            yield {camera: block[t] for camera, block in blocks.items()}
