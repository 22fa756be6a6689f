"""Demonstrations of two arms, multiplied: by turns, at once, and together what both hold."""

import json
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from roboloop import pose
from roboloop.cell import Cell, set_free
from roboloop.cells import build_cell
from roboloop.cli import main
from roboloop.data.episode import Episode
from roboloop.data.reader import iter_episodes
from roboloop.data.shard import write_shard
from roboloop.data.writer import finish_dataset
from roboloop.demo.execute import attempt, rngs_for
from roboloop.demo.team import expert
from roboloop.demo.together import on_body
from roboloop.errors import RoboloopError
from roboloop.generate.carrier import starting_at
from roboloop.generate.segments import Recording, cut_stages, recorded
from roboloop.generate.sources import read_recordings
from roboloop.generate.transform import Carrying, Transformer
from roboloop.scene.collection import COUSINS, TWIN
from roboloop.scene.folder import write_scene
from roboloop.scene.presets import PRESETS, preset_scene
from roboloop.scene.settle import settle
from roboloop.sim import qpos_of
from roboloop.station import STATIONS
from roboloop.task.make import make_task
from roboloop.task.spec import write_task

DONE_BY = {"tray": "aloha", "handover": "two_pandas"}
T_ELSEWHERE = pose.from_parts(np.array([0.03, -0.02, 0.0]), pose.yaw_to_matrix(0.15))
"""Where things are moved to, about the first one's place."""


def demonstrated(preset: str) -> tuple[Cell, Episode]:
    twin = settle(preset_scene(preset))
    cell = build_cell(twin, make_task(twin, PRESETS[preset].sentence, STATIONS[DONE_BY[preset]]))
    (rng,) = rngs_for(0, 2, [0])
    (end,) = attempt([cell], [expert(cell, rng)], [0], [rng])
    assert end.episode is not None and not end.reason
    return cell, end.episode


@pytest.fixture(scope="module")
def tray() -> tuple[Cell, Episode]:
    return demonstrated("tray")


@pytest.fixture(scope="module")
def handover() -> tuple[Cell, Episode]:
    return demonstrated("handover")


@pytest.fixture(params=DONE_BY)
def done(request) -> tuple[Cell, Episode]:
    return request.getfixturevalue(request.param)


def elsewhere(cell: Cell) -> Cell:
    """The cell with the object, and what stands in it, moved."""
    objects, role = cell.graph.objects, cell.task.roles["object"]
    middle = cell.graph.object(role).T_world_obj[:3, 3]
    T = pose.from_parts(middle, np.eye(3)) @ T_ELSEWHERE @ pose.from_parts(-middle, np.eye(3))
    still = cell.task.roles.get("target")
    moved = tuple(
        obj if obj.name == still else replace(obj, T_world_obj=T @ obj.T_world_obj)
        for obj in objects
    )
    return build_cell(replace(cell.graph, objects=moved), cell.task)


def turned_world(recording: Recording, T: np.ndarray) -> Recording:
    """The same demonstration in a world that is moved as a whole."""
    qpos, model = recording.qpos.copy(), recording.cell.model
    for body, a in recording.cell.free_bodies.items():
        Ts = pose.from_parts(qpos[:, a : a + 3], pose.quat_to_matrix(qpos[:, a + 3 : a + 7]))
        set_free(qpos, model, body, T @ Ts)
    tracks = (
        replace(
            track,
            Ts_world_target=T @ track.Ts_world_target,
            Ts_world_eef=T @ track.Ts_world_eef,
            Ts_world_base=T @ track.Ts_world_base,
        )
        for track in recording.tracks
    )
    return replace(recording, qpos=qpos, tracks=tuple(tracks))


# --- segments


def test_every_stage_is_cut_for_the_arm_that_does_it(handover):
    cell, episode = handover
    recording = recorded(cell, episode)
    segments, stages = cut_stages(recording), cell.task.stages
    assert len(segments) == len(stages) == 7
    for i, (segment, stage) in enumerate(zip(segments, stages, strict=True)):
        (track,) = recording.by(stage.arm)
        start, stop = recording.span(i)
        end = segment.T_world_ref @ segment.Ts_ref_eef[-1]
        np.testing.assert_allclose(end, track.Ts_world_target[stop - 1], atol=1e-9)
        assert (segment.held is not None) == (cell.task.held(i) is not None)
        assert len(segment.opening) <= stop - start
    assert cell.task.held(3) and cell.task.held(4) is None  # left lets go, right goes on holding


def test_moving_the_whole_world_changes_no_segment(done):
    cell, episode = done
    recording = recorded(cell, episode)
    T = pose.from_parts(np.array([1.0, -2.0, 0.3]), pose.yaw_to_matrix(1.1))
    pairs = zip(cut_stages(recording), cut_stages(turned_world(recording, T)), strict=True)
    for a, b in pairs:
        np.testing.assert_allclose(b.Ts_ref_eef, a.Ts_ref_eef, atol=1e-9)
        np.testing.assert_allclose(b.T_world_ref, T @ a.T_world_ref, atol=1e-9)


def test_what_both_hold_goes_as_it_went(tray):
    """The segment of what both do is the way of the thing itself, less the arms' lag."""
    cell, episode = tray
    recording = recorded(cell, episode)
    segment, (_, stop) = cut_stages(recording)[2], recording.span(2)
    arm = recording.tracks[0].arm
    arm.update(recording.qpos[stop])
    T_end = arm.body_pose(cell.frame_body("object"))
    T_told = segment.T_world_ref @ segment.Ts_ref_eef[-1]
    assert np.linalg.norm(T_told[:3, 3] - T_end[:3, 3]) < 0.015
    assert segment.Ts_ref_eef[-1, 2, 3] > 0.1
    assert segment.opening.shape == (len(segment.Ts_ref_eef), 2)


def test_the_mean_of_poses_is_that_of_scipy():
    rng = np.random.default_rng(0)
    turns = Rotation.from_rotvec(rng.normal(0, 0.4, (3, 5, 3)).reshape(-1, 3))
    Ts = pose.from_parts(rng.normal(size=(3, 5, 3)), turns.as_matrix().reshape(3, 5, 3, 3))
    mean = pose.mean(Ts)
    for k in range(5):
        wanted = Rotation.from_matrix(Ts[:, k, :3, :3]).mean().as_matrix()
        np.testing.assert_allclose(mean[k, :3, :3], wanted, atol=1e-9)
        np.testing.assert_allclose(mean[k, :3, 3], Ts[:, k, :3, 3].mean(0))


# --- carried


def test_a_way_begins_where_the_hand_is_and_ends_where_it_ended():
    Ts = pose.interpolate(np.eye(4), pose.moved_by(np.eye(4), np.array([0.3, 0, 0])), np.r_[0:1:9j])
    p = np.array([0.01, -0.02, 0.03])
    moved = starting_at(Ts, p)
    np.testing.assert_allclose(moved[0, :3, 3], p)
    np.testing.assert_allclose(moved[-1], Ts[-1])
    np.testing.assert_allclose(moved[4, :3, 3], Ts[4, :3, 3] + p / 2)
    np.testing.assert_array_equal(starting_at(Ts, Ts[0, :3, 3]), Ts)


def test_hands_keep_their_places_on_what_they_carry_elsewhere(tray):
    source, episode = tray
    cell, segments = elsewhere(source), cut_stages(recorded(source, episode))
    team = Transformer(cell, [segments], np.random.default_rng(0))
    qpos = cell.home_qpos.copy()
    grasp = team.plan(0, qpos).after(np.zeros(cell.model.nu)).ctrl[-1]
    for arm in cell.arms:
        qpos[arm.arm_qpos] = grasp[arm.ctrl][:-1]
    body, arms = cell.frame_body("object"), list(team.arms.values())
    places = on_body(arms, body, qpos)
    T_start = arms[0].body_pose(body)
    lift = team.plan(1, qpos).after(grasp).ctrl
    ways = [
        arm.eefs(lift[:, arm.cell.ctrl][:, :-1]) @ pose.inverse(place)
        for arm, place in zip(arms, places, strict=True)
    ]
    np.testing.assert_allclose(ways[0], ways[1], atol=0.006)  # of the tray, as each hand has it
    told = T_start @ segments[2].Ts_ref_eef[-1]
    np.testing.assert_allclose(ways[0][-1], told, atol=0.006)
    assert (lift[:, [arm.cell.ctrl.stop - 1 for arm in arms]] == grasp[[6, 13]]).all()


def test_a_step_has_one_source_whoever_does_it(tray):
    """Where the right hand cannot do as one source did, the left does as the other one did too."""
    cell, episode = tray
    good = cut_stages(recorded(cell, episode))
    left, right = (segment.Ts_ref_eef.copy() for segment in good[:2])
    left[:, 0, 3] += 0.004
    right[:, 2, 3] += 2.0
    bad = [replace(good[0], Ts_ref_eef=left), replace(good[1], Ts_ref_eef=right), good[2]]
    plans = [
        Transformer(cell, sources, np.random.default_rng(0)).plan(0, cell.home_qpos).ctrl
        for sources in ([bad, good], [good])
    ]
    np.testing.assert_array_equal(*plans)


@pytest.mark.parametrize("stray", [0.0, 1.0])
def test_demonstrations_carry_over_to_another_scene(done, stray):
    source, episode = done
    cell, segments = elsewhere(source), cut_stages(recorded(source, episode))
    (rng,) = rngs_for(0, 3, [0])
    team = Transformer(cell, [segments], rng, Carrying(stray=stray))
    (end,) = attempt([cell], [team], [0], [rng], noise=0.003, start_spread=0.02)
    assert end.reason == "" and end.episode is not None
    assert [name for name, _, _ in end.episode.subtasks] == [
        name for name, _, _ in episode.subtasks
    ]
    assert end.episode.imitate.all() == (stray == 0.0)


def test_an_arm_that_stays_is_not_shaken(handover):
    source, episode = handover
    segments = [cut_stages(recorded(source, episode))]
    (rng,) = rngs_for(0, 3, [0])
    team = Transformer(source, segments, rng)
    (end,) = attempt([source], [team], [0], [rng], noise=0.01)
    assert end.episode is not None
    spans = {name: slice(start, stop) for name, start, stop in end.episode.subtasks}
    left, right = (end.episode.action[:, arm.ctrl] for arm in source.arms)
    assert np.ptp(left[spans["take"]], axis=0).max() == 0.0
    assert np.ptp(right[spans["take"]][:, :-1], axis=0).max() > 0.1
    assert np.ptp(right[spans["withdraw"]], axis=0).max() == 0.0


def test_what_is_handed_over_is_brought_where_the_other_hand_can_take_it(handover):
    """Wherever it lay: `present` is relative to the base, not to where the thing was."""
    source, episode = handover
    cell, segments = elsewhere(source), cut_stages(recorded(source, episode))
    (rng,) = rngs_for(0, 3, [0])
    (end,) = attempt([cell], [Transformer(cell, [segments], rng)], [0], [rng])
    assert end.episode is not None
    address = cell.free_address("object")
    middles = []
    for each in (episode, end.episode):
        _, take, _ = each.subtasks[2]
        middles.append(qpos_of(cell.model, each.sim_states[take])[address : address + 3])
    np.testing.assert_allclose(*middles, atol=0.006)


# --- files


@pytest.fixture(scope="module")
def whole(tmp_path_factory, handover) -> Path:
    """A scene with one cousin, which is the twin, its task, and a demonstration."""
    root, (cell, episode) = tmp_path_factory.mktemp("arms"), handover
    for name in (TWIN, f"{COUSINS}/0000"):
        write_scene(cell.graph, root / "scene" / name)
    write_task(cell.task, root / "task.json")
    write_shard(root / "demo", 0, replace(episode, scene=f"{COUSINS}/0000"))
    finish_dataset(root / "demo", *cell.task.dimension_names())
    return root


def words(whole: Path, demo: Path) -> list[str]:
    return [str(demo), str(whole / "scene"), str(whole / "task.json")]


def names_of(folder: Path) -> tuple[tuple[str, ...], tuple[str, ...]]:
    info = json.loads((folder / "meta/info.json").read_text())["features"]
    return tuple(info["observation.state"]["names"]), tuple(info["action"]["names"])


def write_poses(whole: Path, path: Path) -> Path:
    """Write the demonstration as another simulator would, an array an arm."""
    (rec,) = read_recordings(*(Path(word) for word in words(whole, whole / "demo")))
    theirs = {"left": "robot0", "right": "robot1"}
    with h5py.File(path, "w") as file:
        args = json.dumps({"env_kwargs": {"control_freq": 20}})
        file.create_group("data").attrs["env_args"] = args
        group = "data/demo_0/datagen_info"
        for track in rec.tracks:
            name = theirs[track.arm.cell.mount.name]
            file[f"{group}/eef_pose/{name}"] = track.Ts_world_eef[:-1]
            file[f"{group}/target_pose/{name}"] = track.Ts_world_target
            file[f"{group}/gripper_action/{name}"] = 1 - 2 * track.opening[:, None]
        for role, name in rec.cell.task.roles.items():
            a = rec.cell.free_address(role)
            p, quat = rec.qpos[:-1, a : a + 3], rec.qpos[:-1, a + 3 : a + 7]
            Ts = pose.from_parts(p, pose.quat_to_matrix(quat))
            file[f"{group}/object_poses/{name}"] = Ts
    path.with_suffix(".legend.json").write_text(json.dumps({"arms": theirs}))
    return path


def unmarked(whole: Path, folder: Path) -> Path:
    """Write the demonstration as teleoperation: nobody marked stages."""
    (episode,) = iter_episodes(whole / "demo")
    none = np.zeros((len(episode), 0), np.float32)
    write_shard(folder, 0, replace(episode, subtasks=(), action_eef=none))
    finish_dataset(folder, *names_of(whole / "demo"))
    return folder


@pytest.mark.parametrize("write", [write_poses, unmarked])
def test_stages_of_two_arms_are_found(write, whole, tmp_path):
    """A release and a grasp end where they were said to; the rest where its sub-goal holds."""
    demo = write(whole, tmp_path / "theirs.hdf5")
    (ours,), (theirs,) = (
        read_recordings(*(Path(word) for word in words(whole, each)))
        for each in (whole / "demo", demo)
    )
    for (name, _, stop), (found, _, end) in zip(ours.subtasks, theirs.subtasks, strict=True):
        assert found == name
        if name in ("grasp", "take", "let_go", "place"):
            assert abs(end - stop) <= 1
    for mine, other in zip(ours.tracks, theirs.tracks, strict=True):
        np.testing.assert_allclose(other.Ts_world_target, mine.Ts_world_target, atol=1e-5)


def test_generation_of_two_arms_replays_and_names_both(whole, tmp_path, capsys):
    out = tmp_path / "out"
    demo = write_poses(whole, tmp_path / "theirs.hdf5")
    assert (
        main(["generate", *words(whole, demo), "--px", "0", "--only", "1", "--out", str(out)]) == 0
    )
    (episode,) = iter_episodes(out)
    assert episode.success and episode.action.shape[1] == episode.action_eef.shape[1] == 16
    assert names_of(out) == names_of(whole / "demo")
    assert main(["data", "check", str(out), "--replay"]) == 0


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ("one", "eef_pose is of one arm, the task has several"),
        ("names", "eef_pose has no arm left, only: robot0, robot1"),
    ],
)
def test_a_file_without_an_arm_is_refused(change, problem, whole, tmp_path):
    path = write_poses(whole, tmp_path / "theirs.hdf5")
    if change == "names":
        path.with_suffix(".legend.json").unlink()
    else:
        with h5py.File(path, "a") as file:
            group = file["data/demo_0/datagen_info"]
            values = group["eef_pose/robot0"][:]
            del group["eef_pose"]
            group["eef_pose"] = values
    with pytest.raises(RoboloopError, match=problem):
        read_recordings(*(Path(word) for word in words(whole, path)))


@pytest.mark.slow
def test_the_number_of_workers_changes_no_byte(whole, tmp_path):
    contents = []
    for n in ("1", "2"):
        out = tmp_path / n
        flags = ["--px", "0", "-n", "11", "--workers", n, "--out", str(out)]
        assert main(["generate", *words(whole, whole / "demo"), *flags]) == 0
        files = sorted(p for p in out.rglob("*") if p.suffix in (".parquet", ".bin", ".npz"))
        contents.append([(p.relative_to(out), p.read_bytes()) for p in files])
    assert contents[0] and contents[0] == contents[1]
