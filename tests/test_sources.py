"""Demonstrations that others recorded, as sources: the same segments, or a clear refusal."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from roboloop import pose
from roboloop.cells import load_cells
from roboloop.cli import main
from roboloop.data.hdf5_write import write_hdf5
from roboloop.data.reader import iter_episodes
from roboloop.data.shard import write_shard
from roboloop.data.writer import finish_dataset
from roboloop.demo.execute import attempt, rngs_for
from roboloop.demo.team import expert
from roboloop.demo.ways.arm import Arm
from roboloop.errors import RoboloopError
from roboloop.generate.diversity import hand_paths, source_paths
from roboloop.generate.imported import STARTS
from roboloop.generate.segments import cut_stages
from roboloop.generate.sources import check_stages, read_recordings, read_sources
from roboloop.generate.transform import Transformer
from roboloop.scene.collection import COUSINS, TWIN, Resets, list_cousins, write_resets
from roboloop.scene.folder import write_scene
from roboloop.scene.presets import BENCHMARK, preset_scene
from roboloop.scene.settle import settle
from roboloop.sim import qpos_of
from roboloop.station import STATIONS
from roboloop.task.make import make_task
from roboloop.task.spec import read_task, write_task

T_THEIRS = pose.from_parts(np.array([0.1, -0.2, 0.8]), pose.yaw_to_matrix(0.4))
"""Our world in that of the file of others."""


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """A scene that is drawn, its task, and two planned demonstrations."""
    root = tmp_path_factory.mktemp("sources")
    twin = settle(preset_scene("stack_d0"))
    task = make_task(twin, BENCHMARK["stack_d0"].sentence, STATIONS["panda"])
    write_scene(twin, root / "scene" / TWIN)
    write_resets(root / "scene" / COUSINS, Resets(100, (0, 1)))
    write_task(task, root / "task.json")
    cells = load_cells(list_cousins(root / "scene")[:2], task)
    rngs = rngs_for(0, 2, range(2))
    experts = [expert(cell, rng) for cell, rng in zip(cells, rngs, strict=True)]
    for k, end in enumerate(attempt(cells, experts, range(2), rngs)):
        assert end.episode is not None and not end.reason
        write_shard(root / "demo", k, end.episode)
    finish_dataset(root / "demo", *task.dimension_names())
    write_hdf5(root / "demo", root / "demo.hdf5")
    return root


def arguments(whole: Path, demo: Path) -> tuple[Path, Path, Path]:
    return demo, whole / "scene", whole / "task.json"


def write_poses(whole: Path, path: Path, signals: bool = False) -> Path:
    """Write the demonstrations as another simulator would, in its world and with its names."""
    recordings = read_recordings(*arguments(whole, whole / "demo"))
    with h5py.File(path, "w") as file:
        args = {"env_name": "Stack", "env_kwargs": {"control_freq": 20}}
        file.create_group("data").attrs["env_args"] = json.dumps(args)
        for k, rec in enumerate(recordings):
            group, cell, (track,) = f"data/demo_{k}/datagen_info", rec.cell, rec.tracks
            file[f"{group}/eef_pose"] = T_THEIRS @ track.Ts_world_eef[:-1]
            file[f"{group}/target_pose"] = T_THEIRS @ track.Ts_world_target
            file[f"{group}/gripper_action"] = 1 - 2 * track.opening[:, None]
            for role, name in (("object", "cubeA"), ("target", "cubeB")):
                a = cell.free_address(role)
                p, quat = rec.qpos[:-1, a : a + 3], rec.qpos[:-1, a + 3 : a + 7]
                Ts = T_THEIRS @ pose.from_parts(p, pose.quat_to_matrix(quat))
                file[f"{group}/object_poses/{name}"] = Ts
            if signals:
                done = np.arange(len(track.opening)) >= rec.subtasks[0][2] - 5
                file[f"{group}/subtask_term_signals/grasped"] = done.astype(int)
    roles = read_task(whole / "task.json").roles
    legend = {
        "objects": {roles["object"]: "cubeA", roles["target"]: "cubeB"},
        "signals": {"grasp": "grasped"},
        "T_world_theirs": pose.inverse(T_THEIRS).tolist(),
    }
    path.with_suffix(".legend.json").write_text(json.dumps(legend))
    return path


def write_drive(whole: Path, path: Path, says_base: bool = True) -> Path:
    """Write the demonstrations as of a robot that drives to another table with what it holds.

    Hands are told in the frame of the base. Without it, in the world, as those of a robot that
    stands where ours does.
    """
    n_steps, there = 30, pose.from_parts(np.array([2.0, 1.0, 0.0]), pose.yaw_to_matrix(2.0))
    with h5py.File(path, "w") as file:
        args = {"env_kwargs": {"control_freq": 20}}
        file.create_group("data").attrs["env_args"] = json.dumps(args)
        for k, rec in enumerate(read_recordings(*arguments(whole, whole / "demo"))):
            (track,), stop, cell = rec.tracks, rec.subtasks[0][2], rec.cell
            steps = np.r_[:stop, [stop] * n_steps, stop : len(track.opening)]
            share = np.clip((np.arange(len(steps)) - stop) / n_steps, 0, 1)
            drive = pose.interpolate(np.eye(4), there, share)
            Ts_base = drive @ track.Ts_world_base[0]
            into = pose.inverse(Ts_base) if says_base else T_THEIRS
            group, poses = f"data/demo_{k}/datagen_info", {}
            for role, name in (("object", "cubeA"), ("target", "cubeB")):
                a = cell.free_address(role)
                p, quat = rec.qpos[steps, a : a + 3], rec.qpos[steps, a + 3 : a + 7]
                poses[name] = pose.from_parts(p, pose.quat_to_matrix(quat))
            file[f"{group}/object_poses/cubeA"] = T_THEIRS @ drive @ poses["cubeA"]
            file[f"{group}/object_poses/cubeB"] = T_THEIRS @ there @ poses["cubeB"]
            file[f"{group}/eef_pose"] = into @ drive @ track.Ts_world_eef[steps]
            file[f"{group}/target_pose"] = into @ drive @ track.Ts_world_target[steps]
            file[f"{group}/gripper_action"] = 1 - 2 * track.opening[steps, None]
            if says_base:
                file[f"{group}/base_pose"] = T_THEIRS @ Ts_base
    roles = read_task(whole / "task.json").roles
    legend = {
        "objects": {roles["object"]: "cubeA", roles["target"]: "cubeB"},
        "T_world_theirs": pose.inverse(T_THEIRS).tolist(),
        "relative_to_base": says_base,
    }
    path.with_suffix(".legend.json").write_text(json.dumps(legend))
    return path


def replayable(whole: Path, folder: Path) -> Path:
    """Write the demonstrations as a dataset that has nothing of the simulator."""
    shutil.copytree(whole / "demo", folder)
    shutil.rmtree(folder / "sim")
    scenes = [episode.scene for episode in iter_episodes(whole / "demo")]
    (folder / STARTS).write_text(json.dumps({"scenes": scenes}))
    return folder


def unmarked(whole: Path, folder: Path) -> Path:
    """Write the demonstrations as teleoperation with simulator states: nobody marked stages."""
    for k, episode in enumerate(iter_episodes(whole / "demo")):
        none = np.zeros((len(episode), 0), np.float32)
        write_shard(folder, k, replace(episode, subtasks=(), action_eef=none))
    finish_dataset(folder, *read_task(whole / "task.json").dimension_names())
    return folder


@pytest.mark.parametrize("kind", ["hdf5", "poses", "replayed", "unmarked"])
def test_segments_are_those_of_the_dataset(kind, whole, tmp_path):
    demo = {
        "hdf5": lambda: whole / "demo.hdf5",
        "poses": lambda: write_poses(whole, tmp_path / "theirs.hdf5"),
        "replayed": lambda: replayable(whole, tmp_path / "theirs"),
        "unmarked": lambda: unmarked(whole, tmp_path / "theirs"),
    }[kind]()
    ours = read_sources(*arguments(whole, whole / "demo"))
    theirs = read_sources(*arguments(whole, demo))
    assert len(theirs) == len(ours) == 2
    for a, b in zip(ours, theirs, strict=True):
        for mine, other in zip(a, b, strict=True):
            for name in ("Ts_ref_eef", "opening", "T_world_ref", "after"):
                np.testing.assert_allclose(getattr(other, name), getattr(mine, name), atol=1e-5)


def test_a_signal_ends_a_stage(whole, tmp_path):
    path = write_poses(whole, tmp_path / "theirs.hdf5", signals=True)
    ours = read_recordings(*arguments(whole, whole / "demo"))
    for mine, theirs in zip(ours, read_recordings(*arguments(whole, path)), strict=True):
        assert theirs.subtasks[0] == ("grasp", 0, mine.subtasks[0][2] - 5)
        assert theirs.subtasks[1:] == (
            ("place", mine.subtasks[0][2] - 5, mine.subtasks[1][2]),
            mine.subtasks[2],
        )


def test_segments_of_a_robot_that_drives_are_those_of_one_that_stands(whole, tmp_path):
    """Also that this takes knowing where the base is: a cube is alike from four sides."""
    ours = read_sources(*arguments(whole, whole / "demo"))
    drives = read_sources(*arguments(whole, write_drive(whole, tmp_path / "drives.hdf5")))
    unsaid = read_sources(*arguments(whole, write_drive(whole, tmp_path / "unsaid.hdf5", False)))
    for mine, other, wrong in zip(ours, drives, unsaid, strict=True):
        for a, b in zip(mine, other, strict=True):
            n = len(a.opening)  # the last of the drive may be near enough to be part of the skill
            np.testing.assert_allclose(b.Ts_ref_eef[-n:], a.Ts_ref_eef, atol=1e-5)
            np.testing.assert_array_equal(b.opening[-n:], a.opening)
        assert not np.allclose(wrong[1].Ts_ref_eef[-1], mine[1].Ts_ref_eef[-1], atol=0.01)


def cut_off(whole: Path, folder: Path) -> Path:
    path = write_poses(whole, folder / "theirs.hdf5")
    with h5py.File(path, "a") as file:
        group = file["data/demo_1/datagen_info"]
        for name in ("eef_pose", "target_pose", "gripper_action"):
            values = group[name][:40]
            del group[name]
            group[name] = values
        for name in group["object_poses"]:
            values = group[f"object_poses/{name}"][:40]
            del group[f"object_poses/{name}"]
            group[f"object_poses/{name}"] = values
    return path


def without(name: str):
    def change(whole: Path, folder: Path) -> Path:
        path = write_poses(whole, folder / "theirs.hdf5")
        with h5py.File(path, "a") as file:
            del file[f"data/demo_0/datagen_info{name}"]
        return path

    return change


def at_another_rate(whole: Path, folder: Path) -> Path:
    path = write_poses(whole, folder / "theirs.hdf5")
    with h5py.File(path, "a") as file:
        file["data"].attrs["env_args"] = json.dumps({"env_kwargs": {"control_freq": 30}})
    return path


def without_base(whole: Path, folder: Path) -> Path:
    path = write_drive(whole, folder / "drives.hdf5")
    with h5py.File(path, "a") as file:
        del file["data/demo_0/datagen_info/base_pose"]
    return path


def ours_but(**facts):
    def change(whole: Path, folder: Path) -> Path:
        path = Path(shutil.copy(whole / "demo.hdf5", folder / "ours.hdf5"))
        with h5py.File(path, "a") as file:
            attrs = file["data"].attrs
            attrs["roboloop"] = json.dumps(json.loads(attrs["roboloop"]) | facts)
        return path

    return change


def truncated(whole: Path, folder: Path) -> Path:
    content = (whole / "demo.hdf5").read_bytes()
    (folder / "ours.hdf5").write_bytes(content[: len(content) * 2 // 3])
    return folder / "ours.hdf5"


def newer(whole: Path, folder: Path) -> Path:
    path = replayable(whole, folder / "theirs") / "meta/info.json"
    path.write_text(path.read_text().replace('"v3.0"', '"v4.0"'))
    return path.parent.parent


def without_starts(whole: Path, folder: Path) -> Path:
    (replayable(whole, folder / "theirs") / STARTS).unlink()
    return folder / "theirs"


def begun_elsewhere(whole: Path, folder: Path) -> Path:
    names = json.dumps({"scenes": ["cousins/000007", "cousins/000008"]})
    (replayable(whole, folder / "theirs") / STARTS).write_text(names)
    return folder / "theirs"


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (cut_off, "demo_1: stage `(grasp|place)` does not end"),
        (without(""), "demo_0 has no poses of its objects"),
        (without("/object_poses/cubeB"), "has no poses of cubeB, only of: cubeA"),
        (without_base, "demo_0 has poses relative to its base, but no base_pose"),
        (at_another_rate, "the source has 30 control steps a second, wanted 20"),
        (ours_but(fps=10), "fps: 10, wanted 20"),
        (ours_but(robot="ur5e"), "robot: ur5e, wanted panda"),
        (ours_but(version=9), "the file is of version 9"),
        (truncated, "ours.hdf5 cannot be read"),
        (newer, "dataset version 'v4.0'"),
        (without_starts, "no simulator states or poses"),
        (begun_elsewhere, "no episode replays to success: .*object not touched"),
    ],
)
def test_what_cannot_be_a_source_is_refused(change, problem, whole, tmp_path):
    demo = change(whole, tmp_path)
    with pytest.raises(RoboloopError, match=problem):
        read_recordings(*arguments(whole, demo))


@pytest.mark.parametrize("write", [write_poses, write_drive])
def test_generation_from_a_file_of_others(write, whole, tmp_path, capsys):
    path = write(whole, tmp_path / "theirs.hdf5")
    words = [*map(str, arguments(whole, path)), "--px", "0", "--only", "0", "--out"]
    assert main(["generate", *words, str(tmp_path / "out")]) == 0
    (episode,) = iter_episodes(tmp_path / "out")
    assert episode.success
    words[0] = str(tmp_path / "nowhere.hdf5")
    assert main(["generate", *words, str(tmp_path / "b")]) == 2
    assert "nowhere.hdf5" in capsys.readouterr().err


def test_paths_of_sources_are_those_of_their_dataset(whole):
    paths = source_paths(read_recordings(*arguments(whole, whole / "demo")))
    np.testing.assert_allclose(paths, hand_paths(whole / "demo"), atol=1e-6)


def test_the_hand_turns_no_further_than_a_cube_asks_for(whole):
    """Whichever of its like sides is called the front, and never to the other side of the hand."""
    sources = read_sources(*arguments(whole, whole / "demo"))
    (cell,) = load_cells(list_cousins(whole / "scene")[2:3], read_task(whole / "task.json"))
    address = cell.free_address("object")
    quat, ends = slice(address + 3, address + 7), []
    arm = Arm(cell)
    R_home = arm.eef(cell.home_qpos[cell.arm_qpos])[:3, :3]
    for quarter in range(4):
        qpos = cell.home_qpos.copy()
        R = pose.quat_to_matrix(qpos[quat]) @ pose.yaw_to_matrix(quarter * np.pi / 2)
        qpos[quat] = pose.matrix_to_quat(R)
        motion = Transformer(cell, sources, np.random.default_rng(0)).plan(0, qpos)
        ends.append(arm.eef(motion.ctrl[-1, :-1])[:3, :3])
    for R_end in ends:
        assert np.allclose(R_end, ends[0], atol=2e-3)
        turn = np.linalg.norm(pose.matrix_to_rotvec(R_home.T @ R_end))
        assert turn < np.pi / 3  # an eighth of a turn, and the tilt of the source's grasp


def test_a_skill_begins_after_the_way_over_something(whole):
    recording = read_recordings(*arguments(whole, whole / "demo"))[0]
    (track,), place = recording.tracks, recording.subtasks[1]
    Ts = track.Ts_world_target.copy()
    end = Ts[place[2] - 1, :3, 3]
    way = np.linspace(0, 1, 20)[:, None] * [0.05, 0, 0]
    over = end + way[::-1] + np.sin(np.linspace(0, np.pi, 20))[:, None] * [0, 0, 0.04]
    still = (Ts[place[1] : place[2], :3, 3] == end).all(1).sum()
    Ts[place[2] - still - 20 : place[2] - still, :3, 3] = over
    skill = cut_stages(replace(recording, tracks=(replace(track, Ts_world_target=Ts),)))[1]
    assert len(skill.Ts_ref_eef) in range(still + 9, still + 12)  # half of the way, and the rest


def test_what_slips_is_taken_again(whole):
    sources, task = read_sources(*arguments(whole, whole / "demo")), read_task(whole / "task.json")
    cells, rngs = load_cells(list_cousins(whole / "scene")[2:6], task), rngs_for(0, 3, range(4))
    experts = [Transformer(cell, sources, rng) for cell, rng in zip(cells, rngs, strict=True)]
    ends = attempt(cells, experts, range(4), rngs, slip=1.0)
    again = [(c, e.episode) for c, e in zip(cells, ends, strict=True) if e.episode and not e.reason]
    assert len(again) >= 2  # some fall where they cannot be reached
    for cell, episode in again:
        names = [name for name, _, _ in episode.subtasks]
        assert names == ["grasp", "place", "slip", "grasp", "place", "retreat"]
        _, start, stop = episode.subtasks[2]
        assert not episode.imitate[start:stop].any()
        assert episode.imitate[stop:].all() and episode.imitate[:start].any()
        arm, z = Arm(cell), []
        for state in episode.sim_states[[start, stop]]:
            arm.update(qpos_of(cell.model, state))
            z.append(arm.body_pose(cell.frame_body("object"))[2, 3])
        assert z[1] < z[0] - 0.01  # it fell


def test_demonstrations_with_slips_are_no_sources(whole, tmp_path):
    episode = next(iter_episodes(whole / "demo"))
    stages = (("grasp", 0, 9), ("place", 9, 20), ("slip", 20, 34), *episode.subtasks)
    with pytest.raises(RoboloopError, match="has the stages grasp, place, slip"):
        check_stages([replace(episode, subtasks=stages)], read_task(whole / "task.json"), tmp_path)
