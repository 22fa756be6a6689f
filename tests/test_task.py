"""Sentences, task records and where the robot stands."""

import numpy as np
import pytest

from roboloop import pose
from roboloop.errors import RoboloopError
from roboloop.robot import ROBOTS
from roboloop.station import STATIONS
from roboloop.task.make import make_task
from roboloop.task.sentence import color_words, read_sentence
from roboloop.task.spec import read_task, write_task
from scenes import bowl_and_plate, make_object, make_scene

KITCHEN = make_scene(
    make_object("mug", "mug", (-0.1, 0.0), color=(0.95, 0.95, 0.95)),
    make_object("mug_2", "mug", (-0.1, 0.2), color=(0.8, 0.1, 0.1)),
    make_object("plate", "plate", (0.05, 0.05)),
    make_object("basket", "basket", (0.0, 0.35)),
    make_object("cabinet", "drawer_cabinet", (0.05, -0.25), yaw=np.pi / 2),
    make_object("microwave", "microwave", (0.05, -0.6), yaw=np.pi / 2),
)


@pytest.mark.parametrize(
    ("sentence", "kind", "roles", "joint"),
    [
        ("put the white mug on the plate", "put_on", {"object": "mug", "target": "plate"}, None),
        (
            "Place the red cup onto the dish.",
            "put_on",
            {"object": "mug_2", "target": "plate"},
            None,
        ),
        ("put mug 2 into the basket", "put_in", {"object": "mug_2", "target": "basket"}, None),
        ("open the top drawer of the cabinet", "open", {"target": "cabinet"}, "drawer_0"),
        ("close the bottom drawer", "close", {"target": "cabinet"}, "drawer_2"),
        ("open the microwave", "open", {"target": "microwave"}, "door"),
    ],
)
def test_sentences_name_objects_of_the_scene(sentence, kind, roles, joint):
    reading = read_sentence(sentence, KITCHEN)
    assert (reading.kind, reading.roles, reading.joint) == (kind, roles, joint)


@pytest.mark.parametrize(
    ("sentence", "message"),
    [
        ("put the mug on the plate", "`the mug` fits several objects: mug, mug_2"),
        ("put the kettle on the plate", "no object in the scene fits `the kettle`"),
        ("dance with the mug", "no task kind fits"),
        ("open the drawer", "does not say which of the 3 drawers"),
        ("open the plate", "has no drawer and no door"),
        ("put the white mug in the microwave on the plate", "fits"),
    ],
)
def test_sentences_that_fit_nothing_or_several_things_are_refused(sentence, message):
    with pytest.raises(RoboloopError, match=message):
        read_sentence(sentence, KITCHEN)


@pytest.mark.parametrize(
    ("rgb", "word"),
    [((0.9, 0.9, 0.9), "white"), ((0.05, 0.05, 0.05), "black"), ((0.7, 0.1, 0.1), "red"),
     ((0.2, 0.3, 0.8), "blue"), ((0.4, 0.25, 0.15), "brown")],
)  # fmt: skip
def test_colors_have_names(rgb, word):
    assert word in color_words(rgb)


@pytest.mark.parametrize("robot", ROBOTS)
def test_the_base_stands_within_reach_and_faces_the_task(robot):
    graph = bowl_and_plate()
    task = make_task(graph, "put the bowl on the plate", STATIONS[robot])
    low, high = ROBOTS[robot].reach
    T_base_world = pose.inverse(task.arms[0].T_world_base)
    for obj in graph.objects:
        p = pose.transform(T_base_world, obj.T_world_obj[:3, 3])
        assert low <= np.linalg.norm(p[:2]) <= high
        assert p[0] > 0


def test_objects_too_far_apart_are_refused():
    graph = make_scene(
        make_object("bowl", "bowl", (0, -3.0)), make_object("plate", "plate", (0, 3))
    )
    with pytest.raises(RoboloopError, match="no base pose of `panda` reaches bowl, plate"):
        make_task(graph, "put the bowl on the plate", STATIONS["panda"])


def test_tasks_survive_their_file(tmp_path):
    task = make_task(bowl_and_plate(), "put the bowl on the plate", STATIONS["panda"])
    write_task(task, tmp_path / "task.json")
    again = read_task(tmp_path)
    assert again.stages == task.stages and again.roles == task.roles
    assert np.array_equal(again.arms[0].T_world_base, task.arms[0].T_world_base)


def test_a_task_that_the_scene_does_not_have_is_refused():
    task = make_task(bowl_and_plate(), "put the bowl on the plate", STATIONS["panda"])
    with pytest.raises(RoboloopError, match="unknown object `bowl`"):
        task.check(make_scene(make_object("plate", "plate", (0, 0))))
