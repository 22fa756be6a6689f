"""Source demonstrations that others recorded: poses in HDF5 files, joint targets without poses."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float

from roboloop import console
from roboloop.cell import Cell, set_free
from roboloop.cells import build_cell, elsewhere, load_cells
from roboloop.data.hdf5_poses import PoseDemo, PoseHand, read_pose_demos
from roboloop.data.part import Part
from roboloop.demo.execute import SETTLE_STEPS
from roboloop.demo.judge import judge
from roboloop.demo.ways.arm import Arm
from roboloop.errors import RoboloopError
from roboloop.generate.segments import Recording, Track, standing
from roboloop.generate.stages import find_stages
from roboloop.record import from_plain
from roboloop.replay import check_robot
from roboloop.run import read_json
from roboloop.scene.collection import TWIN, open_scene
from roboloop.sim import CONTROL_DT, Simulation, qpos_of
from roboloop.task.spec import Task

STARTS = "starts.json"
"""Beside `meta/`, of a dataset without poses: a `Starts`."""


@dataclass(frozen=True)
class Starts:
    """Where the episodes of a dataset began."""

    scenes: tuple[str, ...]
    """Of each episode, as `cousins/000003`; every object stood as in the scene."""


def staged(recording: Recording, name: str, source: Path, signals: dict | None = None) -> Recording:
    """The recording with its stages found.

    Raises:
        RoboloopError: A stage does not end; the demonstration's `name` and file are said.
    """
    try:
        return replace(recording, subtasks=find_stages(recording, signals or {}))
    except RoboloopError as error:
        hint = "was it cut off, or is it of another task?"
        raise RoboloopError(f"{name}: {error.problem}", hint, source) from None


def posed(path: Path, scene: Path, task: Task) -> list[Recording]:
    """Read the demonstrations of an HDF5 file that others wrote, as poses in the scene's twin.

    Raises:
        RoboloopError: See `read_pose_demos`; or a stage moves a joint.
    """
    twin = build_cell(open_scene(scene / TWIN), task, TWIN)
    moved = [s for s in task.stages if any(h and twin.is_jointed(h) for h in (s.grasp, s.push))]
    if moved:
        problem = f"stage `{moved[0].name}` moves a joint, and poses alone do not say how far"
        raise RoboloopError(problem, "give a dataset with simulator states", path)
    names = {name: twin.model.body(name).id in twin.free_bodies for name in task.roles.values()}
    arms = [mount.name for mount in task.arms]
    demos = read_pose_demos(path, names, round(1 / CONTROL_DT), arms)
    return [staged(_recording(twin, d, names), d.name, path, d.signals) for d in demos]


def _recording(twin: Cell, demo: PoseDemo, is_free: dict[str, bool]) -> Recording:
    """A demonstration in a cell whose objects stand where they stood in it."""
    Ts = {name: Ts_world[0] for name, Ts_world in demo.Ts_world_objects.items()}
    objects = tuple(
        replace(obj, T_world_obj=Ts.get(obj.name, obj.T_world_obj)) for obj in twin.graph.objects
    )
    cell = elsewhere(twin, replace(twin.graph, objects=objects), demo.name)
    n_steps = len(next(iter(demo.hands.values())).opening)
    qpos = np.repeat(cell.home_qpos[None], n_steps + 1, axis=0)
    for name, Ts_world in demo.Ts_world_objects.items():
        if is_free[name]:
            set_free(qpos, cell.model, cell.model.body(name).id, _and_last(Ts_world))
    tracks = tuple(_track(arm, demo.hands[arm.mount.name]) for arm in cell.arms)
    return Recording(tracks, qpos, ())


def _track(cell: Cell, hand: PoseHand) -> Track:
    """What an arm did; where nobody says that its base moved, it stood where the task's does."""
    Ts_world_eef, Ts_base = _and_last(hand.Ts_world_eef), hand.Ts_world_base
    still = np.broadcast_to(cell.mount.T_world_base, Ts_world_eef.shape)
    Ts_world_base = still if Ts_base is None else _and_last(Ts_base)
    return Track(Arm(cell), hand.Ts_world_target, Ts_world_eef, hand.opening, Ts_world_base)


def _and_last(Ts: Float[np.ndarray, "T 4 4"]) -> Float[np.ndarray, "T+1 4 4"]:
    """Poses before every step, and after the last as before it."""
    return np.concatenate([Ts, Ts[-1:]])


def replayed(part: Part, scene: Path, task: Task) -> list[Recording]:
    """Take demonstrations from a dataset without poses by doing its actions again in physics.

    Every episode begins in the scene that `starts.json` names, the arm as in its first state. Those
    that do not end in success are no demonstrations, and left out.

    Raises:
        RoboloopError: Where they begin is not known, the robot is another one, or none succeeds.
    """
    info, starts = part.info, part.info.folder / STARTS
    if not starts.exists():
        hint = f"{STARTS} may list the scene in which each episode began, to replay it from there"
        raise RoboloopError("the dataset has no simulator states or poses", hint, info.folder)
    check_robot(info, task)
    names = from_plain(Starts, read_json(starts), STARTS).scenes
    if len(names) != info.n_episodes:
        problem = f"{STARTS} has {len(names)} scenes, the dataset {info.n_episodes} episodes"
        raise RoboloopError(problem, "one scene an episode, in their order", starts)
    cells = load_cells([scene / name for name in names], task)
    recordings, reasons = list[Recording](), list[str]()
    for k, cell in enumerate(cells):
        rows = slice(part.starts[k], part.starts[k] + part.lengths[k])
        state, action = (part.columns[name][rows] for name in ("observation.state", "action"))
        recording, reason = _replay(cell, state[0].astype(float), action.astype(float))
        reasons.append(reason)
        if not reason:
            recordings.append(staged(recording, f"episode {k}", info.folder))
    failed = [reason for reason in reasons if reason]
    why = ", ".join(sorted({*failed}))
    if not recordings:
        problem = f"no episode replays to success: {why}"
        raise RoboloopError(problem, f"did they begin where {STARTS} says?", info.folder)
    if failed:
        n = info.n_episodes
        console.say(f"left out  {len(failed)} of {n} episodes do not replay to success: {why}")
    return recordings


def _replay(cell: Cell, state: np.ndarray, action: np.ndarray) -> tuple[Recording, str]:
    """Do actions again from a first state of the robot; what happened, and why it failed."""
    qpos, ctrl = cell.home_qpos, []
    for arm, known in zip(cell.arms, np.split(state, len(cell.arms)), strict=True):
        q, opening = np.split(known[: len(arm.arm_qpos) + 1], [-1])
        gripper = arm.robot.gripper_at(float(opening[0]))
        qpos = arm.with_hand(qpos, float(gripper))
        qpos[arm.arm_qpos] = q
        ctrl += [*q, gripper]
    sim = Simulation([cell.model])
    sim.reset(qpos[None], np.array(ctrl)[None])
    settled = np.concatenate([action, np.repeat(action[-1:], SETTLE_STEPS, 0)])
    states = np.concatenate([sim.states[:, None], sim.rollout(settled[None]).states], 1)[0]
    path = qpos_of(cell.model, states)
    during = path[: len(action) + 1]
    tracks = tuple(standing(Arm(arm), action, during) for arm in cell.arms)
    return Recording(tracks, during, ()), judge(cell, path)
