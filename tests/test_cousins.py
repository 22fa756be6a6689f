"""Cousins keep what a scene means and vary everything else; settling leaves scenes at rest."""

from dataclasses import replace

import numpy as np
import pytest

from roboloop import pose
from roboloop.errors import RoboloopError
from roboloop.record import to_plain
from roboloop.scene.compile import scene_spec
from roboloop.scene.cousins import Spread, make_cousin, sample_cousin
from roboloop.scene.footprint import gap
from roboloop.scene.graph import Relation, SceneGraph, SceneObject
from roboloop.scene.settle import displacements, settle
from roboloop.sim import Simulation
from scenes import TABLE_Z, bowl_and_plate, make_object, make_scene


def put(obj: SceneObject, kind: str, target: SceneObject, keypoint: str) -> SceneObject:
    """Place an object on or in another one."""
    p = pose.transform(target.T_world_obj, np.array(target.keypoints[keypoint]))
    T = pose.from_parts(p + np.array([0, 0, obj.size[2] / 2]), obj.T_world_obj[:3, :3])
    return replace(obj, T_world_obj=T, relations=(Relation(kind, target.name),))


def kitchen() -> SceneGraph:
    """Things on the table, on each other and in each other."""
    cabinet = make_object("cabinet", "drawer_cabinet", (-0.2, -0.3), yaw=0.2)
    oven = make_object("oven", "microwave", (-0.15, 0.3))
    basket = make_object("basket", "basket", (0.2, -0.25))
    return make_scene(
        put(make_object("bowl", "bowl", (0, 0)), "on", oven, "top"),
        put(make_object("mug", "mug", (0, 0)), "on", cabinet, "top"),
        put(make_object("box", "box", (0, 0)), "in", basket, "inside"),
        *(cabinet, oven, basket),
        make_object("plate", "plate", (0.1, 0.1)),
    )


@pytest.fixture(scope="module")
def twin() -> SceneGraph:
    return settle(kitchen())


@pytest.fixture(scope="module")
def cousins(twin: SceneGraph) -> list[SceneGraph]:
    return [sample_cousin(twin, np.random.SeedSequence([3, 1, i])) for i in range(3)]


def test_settled_scenes_stay_at_rest(twin: SceneGraph, cousins: list[SceneGraph]) -> None:
    for graph in (twin, *cousins):
        for name, moved in displacements(graph, settle(graph)).items():
            assert moved.distance < 0.001, name
            assert moved.tilt < np.deg2rad(0.5), name


def test_cousins_keep_what_the_scene_is(twin: SceneGraph, cousins: list[SceneGraph]) -> None:
    for cousin in cousins:
        for old, new in zip(twin.objects, cousin.objects, strict=True):
            assert (old.name, old.category, old.relations) == (
                new.name,
                new.category,
                new.relations,
            )
            assert old.keypoints.keys() == new.keypoints.keys()
            assert [j.value for j in old.joints] == [j.value for j in new.joints]
            assert old.size != new.size
            assert not np.allclose(old.T_world_obj, new.T_world_obj)
        assert cousin.camera.T_world_camera != pytest.approx(twin.camera.T_world_camera)
        assert cousin.light_direction != twin.light_direction
        assert cousin.support.color != twin.support.color


@pytest.mark.parametrize(
    ("name", "target", "keypoint"),
    [("bowl", "oven", "top"), ("mug", "cabinet", "top"), ("box", "basket", "inside")],
)
def test_relations_are_kept(
    cousins: list[SceneGraph], name: str, target: str, keypoint: str
) -> None:
    for cousin in cousins:
        obj, carrier = cousin.object(name), cousin.object(target)
        p = pose.transform(pose.inverse(carrier.T_world_obj), obj.T_world_obj[:3, 3])
        assert (np.abs(p[:2]) < np.array(carrier.size[:2]) / 2).all()
        assert p[2] - carrier.keypoints[keypoint][2] == pytest.approx(obj.size[2] / 2, abs=0.003)


def test_objects_of_cousins_keep_apart(twin: SceneGraph, cousins: list[SceneGraph]) -> None:
    standing = [o.name for o in twin.objects if not o.relations]
    for cousin in cousins:
        for i, a in enumerate(standing):
            for b in standing[:i]:
                assert gap(cousin.object(a), cousin.object(b)) > 0.005


def test_cousins_stay_within_the_spread(twin: SceneGraph) -> None:
    spread = Spread(xy=0.02, yaw=0.1, camera_xyz=0.0, camera_angle=0.0)
    cousin = make_cousin(twin, np.random.default_rng(0), spread)
    assert cousin is not None
    shift = cousin.object("plate").T_world_obj[:2, 3] - twin.object("plate").T_world_obj[:2, 3]
    assert np.abs(shift).max() <= 0.02
    np.testing.assert_allclose(cousin.camera.T_world_camera, twin.camera.T_world_camera)


def test_a_cousin_depends_on_its_index_only(twin: SceneGraph, cousins: list[SceneGraph]) -> None:
    alone = sample_cousin(twin, np.random.SeedSequence([3, 1, 2]))
    assert to_plain(alone) == to_plain(cousins[2])
    assert alone.seed == 2


def test_cousins_run_together_as_one_batch(twin: SceneGraph, cousins: list[SceneGraph]) -> None:
    models = [scene_spec(graph).compile() for graph in (twin, *cousins)]
    sim = Simulation(models)
    sim.reset()
    assert not sim.rollout(np.zeros((len(models), 2, 0))).failed.any()


def test_settling_pushes_apart_what_overlaps() -> None:
    graph = bowl_and_plate()
    bowl, plate = graph.objects
    T_bowl, T_plate = bowl.T_world_obj.copy(), plate.T_world_obj.copy()
    T_bowl[:3, 3] = T_plate[:3, 3] + np.array([bowl.size[0] / 2 + plate.size[0] / 2 - 0.02, 0, 0])
    T_plate[2, 3] -= 0.008  # sunk into the table
    before = replace(
        graph,
        objects=(replace(bowl, T_world_obj=T_bowl), replace(plate, T_world_obj=T_plate)),
    )
    moved = displacements(before, settle(before))
    assert 0.005 < moved["plate"].distance < 0.03
    assert moved["bowl"].distance < 0.03
    assert max(m.tilt for m in moved.values()) < np.deg2rad(2)


def test_settling_refuses_what_falls_off() -> None:
    graph = make_scene(make_object("mug", "mug", (0.52, 0.0)))
    with pytest.raises(RoboloopError, match="`mug` does not stay where it is: it falls off"):
        settle(graph)


def test_a_scene_without_rest_has_no_cousins() -> None:
    mug = make_object("mug", "mug", (0.0, 0.0))
    leaning = pose.from_parts(
        np.array([0, 0, TABLE_Z + 0.07]), pose.rotvec_to_matrix(np.array([0.4, 0, 0]))
    )
    graph = make_scene(replace(mug, T_world_obj=leaning))
    with pytest.raises(RoboloopError, match="no cousin of the scene comes to rest"):
        sample_cousin(graph, np.random.SeedSequence(0))
