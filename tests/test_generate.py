"""Coverage of starts, balance, diversity, and which sources can be carried to a task."""

from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest

from data_episodes import make_episode
from roboloop import pose
from roboloop.cells import build_cell
from roboloop.cli import main
from roboloop.errors import RoboloopError
from roboloop.generate.attempts import write_attempts
from roboloop.generate.coverage import binned, coverage, start_names, start_of, thinned
from roboloop.generate.diversity import diversity
from roboloop.generate.frames import alike
from roboloop.generate.preview import PREVIEW, Material, Shown, draw_episodes
from roboloop.generate.sources import check_stages, differences
from roboloop.scene.presets import BENCHMARK, preset_scene
from roboloop.station import STATIONS
from roboloop.task.make import make_task
from scenes import bowl_and_plate

NAMES = ("object.x", "object.y", "object.yaw")


def attempts_that_fail_far_away(n: int = 600) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    starts = rng.uniform(-0.1, 0.1, (n, 3))
    return starts, rng.uniform(size=n) < np.where(starts[:, 0] > 0.05, 0.6, 0.95)


def test_balancing_takes_the_bias_of_success_back():
    starts, good = attempts_that_fail_far_away()
    filtered = coverage(NAMES, starts, good)
    assert filtered.covered == 1.0
    assert filtered.bias > 0.06
    assert len(filtered.weak) == 1 and filtered.weak[0].startswith("object.x 0.05 to 0.10")
    n = int(good.sum() / 1.5)
    kept = thinned(binned(starts), good, n)
    assert len(kept) == n and kept == sorted(set(kept)) and good[kept].all()
    chosen = np.isin(np.arange(len(good)), kept)
    assert coverage(NAMES, starts, chosen).bias < filtered.bias / 3
    first = np.flatnonzero(good)[:n]
    assert coverage(NAMES, starts, np.isin(np.arange(len(good)), first)).bias > filtered.bias / 2


def test_starts_without_a_success_are_not_covered():
    starts, good = attempts_that_fail_far_away()
    near = binned(starts)[:, 0] < 3
    assert coverage(NAMES, starts, good & near).covered == 0.75
    still = np.zeros((5, 3))
    assert coverage(NAMES, still, np.ones(5, bool)).bias == 0.0


def test_starts_are_seen_from_the_robot():
    graph = bowl_and_plate()
    task = make_task(graph, "put the bowl on the plate", STATIONS["panda"])
    assert start_names(task, graph)[:3] == NAMES
    start = start_of(task, graph)
    bowl = graph.object(task.roles["object"]).T_world_obj[:3, 3]
    p_base = task.arms[0].T_world_base[:3, 3]
    assert np.isclose(np.hypot(*start[:2]), np.hypot(*(bowl - p_base)[:2]))
    assert len(start) == len(start_names(task, graph))


def test_copies_of_sources_are_not_diverse():
    rng = np.random.default_rng(0)
    sources = rng.uniform(0, 0.5, (3, 20, 3))
    copies = diversity(sources[[0, 0, 1, 1]], sources)
    assert copies.to_nearest == copies.to_source == 0.0
    moved = diversity(sources + [0.03, 0.04, 0.0], sources)
    assert np.isclose(moved.to_source, 0.05)
    assert moved.to_nearest > 0.05 and moved.entropy_bits > copies.entropy_bits > 0


def test_every_attempt_has_its_row(tmp_path):
    scenes = [tmp_path / "cousins" / f"{i:06d}" for i in range(3)]
    write_attempts(
        tmp_path, 7, scenes, ["", "grasp missed", ""], [0, 2], {"object.x": np.arange(3.0)}
    )
    table = pq.read_table(tmp_path / "attempts.parquet").to_pylist()
    assert [row["episode"] for row in table] == [0, None, 1]
    assert table[1] == {
        "attempt": 1,
        "seed": 7,
        "scene": "cousins/000001",
        "cause": "grasp missed",
        "episode": None,
        "start.object.x": 1.0,
    }


def test_sources_of_another_robot_do_the_same_task():
    graph = bowl_and_plate()
    panda, ur5e = (
        make_task(graph, "put the bowl on the plate", STATIONS[name]) for name in ("panda", "ur5e")
    )
    assert differences(panda, ur5e) == []
    other = replace(panda, stages=panda.stages[:2])
    assert differences(panda, other) == ["stages grasp, place, retreat, wanted grasp, place"]


@pytest.mark.parametrize("stages", [(), (("grasp", 0, 20), ("place", 20, 40))])
def test_a_source_without_all_stages_is_refused(stages, tmp_path):
    task = make_task(bowl_and_plate(), "put the bowl on the plate", STATIONS["panda"])
    episode = replace(make_episode(0, n_steps=40, images=None), subtasks=stages)
    said = ", ".join(name for name, _, _ in stages) or "none"
    with pytest.raises(RoboloopError, match=f"has the stages {said}, wanted grasp, place, retreat"):
        check_stages([episode], task, tmp_path)


@pytest.mark.parametrize("flags", [["--offset", "9", "4"], ["--slip", "2"], ["--px", "63"]])
def test_flags_out_of_range_are_said(flags, tmp_path, capsys):
    words = ["generate", *[str(tmp_path)] * 3, *flags, "--out", str(tmp_path / "out")]
    assert main(words) == 2
    assert flags[0] in capsys.readouterr().err


def test_a_cube_is_the_same_from_four_sides():
    graph = preset_scene("stack_d0")
    cell = build_cell(graph, make_task(graph, BENCHMARK["stack_d0"].sentence, STATIONS["panda"]))
    wanted = pose.yaw_to_matrix(0.3)
    for yaw in np.linspace(-3, 3, 13):
        turned = alike(cell, "object.top", pose.yaw_to_matrix(yaw), wanted)
        off = pose.matrix_to_rotvec(wanted.T @ turned)
        assert np.abs(off[:2]).max() < 1e-9 and abs(off[2]) <= np.pi / 4 + 1e-9
        quarter_turns = (yaw - np.arctan2(turned[1, 0], turned[0, 0])) / (np.pi / 2)
        assert np.isclose(quarter_turns, np.round(quarter_turns))


def test_without_opengl_a_run_goes_on_without_pictures(tmp_path, monkeypatch, capsys):
    def refuse(*_):
        raise RoboloopError("no OpenGL to render with: none")

    monkeypatch.setattr("roboloop.generate.preview.Renderer", refuse)
    episode = make_episode(0)
    shown = Shown("attempt 0", episode.scene, episode.sim_states)
    material = Material(tmp_path / "scene", tmp_path / "task")
    assert not draw_episodes(tmp_path / PREVIEW, material, [shown])
    assert capsys.readouterr().err == (
        "warning: no pictures of episodes: no OpenGL to render with: none\n"
    )
