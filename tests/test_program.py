"""Programs over a scene's keypoints: what they become, what is refused, that the robot does it."""

import numpy as np
import pytest

from roboloop.cli import main
from roboloop.errors import RoboloopError
from roboloop.run import read_json
from roboloop.scene.folder import write_scene
from roboloop.scene.keypoints import numbered_keypoints
from roboloop.station import STATIONS
from roboloop.task.command import describe
from roboloop.task.program import program_task
from roboloop.task.spec import read_task, write_task
from scenes import bowl_and_plate, make_object, make_scene

BOWL = '''
"""Put the bowl onto the plate."""
num_stages = 2

def stage1_subgoal_constraint1(end_effector, keypoints):
    """The hand is at the bowl's rim."""
    return np.linalg.norm(end_effector - keypoints[3])

def stage2_subgoal_constraint1(end_effector, keypoints):
    """The bowl's bottom is 8 mm above the plate's inside."""
    return np.linalg.norm(keypoints[2] - (keypoints[9] + np.array([0, 0, 0.008])))

def stage2_path_constraint1(end_effector, keypoints):
    """The bowl stays upright."""
    axis = bowl.top - bowl.bottom
    return 0.95 - np.dot(axis, [0, 0, 1]) / np.linalg.norm(axis)

def stage2_path_constraint2(end_effector, keypoints):
    return get_grasping_cost_by_keypoint_idx(3)

grasp_keypoints = [3, -1]
release_keypoints = [-1, 3]
'''
STACK = """
num_stages = 4
def stage2_subgoal_constraint1(hand, k):
    return norm(box.bottom - (plate.inside + [0, 0, 0.008]))
def stage4_subgoal_constraint1(hand, k):
    return norm(box_2.bottom - (box.top + [0, 0, 0.005]))
grasp_keypoints = [5, -1, 8, -1]
release_keypoints = [-1, 5, -1, 8]
"""
DRAWER = """
num_stages = 2
def stage2_subgoal_constraint1(hand, k):
    return 0.1 - joint(cabinet.drawer_0)
grasp_keypoints = [3, -1]
release_keypoints = [-1, 3]
"""
BOXES = make_scene(
    make_object("plate", "plate", (0.0, 0.14)),
    make_object("box", "box", (-0.08, -0.06)),
    make_object("box_2", "box", (0.1, -0.1)),
)
CABINET = make_scene(make_object("cabinet", "drawer_cabinet", (-0.1, 0.0)))


def task_of(text: str, graph=None):
    return program_task(graph or bowl_and_plate(), "do it", text, STATIONS["panda"])


def test_a_program_becomes_a_task(tmp_path, capsys):
    task = task_of(BOWL)
    assert task.roles == {"object": "bowl", "target": "plate"}
    grasp, release, retreat = task.stages
    assert (grasp.name, grasp.grasp, grasp.subgoal) == ("grasp_1", "object", ())
    assert (release.release, release.reference) == ("object", "target.inside")
    goal = "norm(object.bottom - (target.inside + [0.0, 0.0, 0.008]))"
    assert release.subgoal == (f"{goal} < 0",)
    assert len(release.path) == 1
    assert "object.top" in retreat.subgoal[0]
    assert task.success == (f"{goal} < 0.03", *retreat.subgoal)
    assert "then let go of bowl" in "\n".join(describe(task))
    write_task(task, tmp_path / "task.json")
    assert read_task(tmp_path).stages == task.stages
    assert not capsys.readouterr().err


def test_several_things_are_handled_one_after_the_other():
    task = task_of(STACK, BOXES)
    assert task.roles == {"object": "box_2", "target": "box", "other": "plate"}
    names = ["grasp_1", "release_2", "retreat_2", "grasp_3", "release_4", "retreat_4"]
    assert [stage.name for stage in task.stages] == names
    assert [stage.release for stage in task.stages if stage.release] == ["target", "object"]


def test_a_drawer_is_held_by_its_handle():
    task = task_of(DRAWER, CABINET)
    assert task.roles == {"target": "cabinet"}
    assert task.stages[0].grasp == task.stages[1].release == "target.drawer_0_handle"
    assert task.stages[1].subgoal == ("0.1 < joint(target.drawer_0)",)
    assert task.success[0] == "0.07 < joint(target.drawer_0)"


def test_what_a_grasp_does_not_look_at_is_said(capsys):
    task_of(BOWL.replace("end_effector - keypoints[3]", "end_effector - keypoints[8]"))
    assert "without `norm(robot.eef - plate.rim) < 0`" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("keypoints[9]", "keypoints[10]"), "line 11, column 43: index 10 is outside the 10"),
        (("bowl.top", "bowl.tip"), "line 15, .*: unknown keypoint `bowl.tip`, did you mean `bowl."),
        (("bowl.top", "robot.eef"), "unknown keypoint `robot.eef`"),
        (("[3, -1]", "[33, -1]"), "line 21, column 20: .* there are 10, the last is 9, `plate.in"),
        (("[-1, 3]", "[-1, 8]"), "stage 2 lets go of `plate`: it is not held"),
        (("[-1, 3]", "[-1, -1]"), "the program ends with `bowl` in the hand"),
        (("[3, -1]", "[3, 3]"), "stage 2 both grasps and releases"),
        (("idx(3)", "idx(8)"), "stage 2: `plate` is not in the hand"),
        (("[3, -1]", "[-1, -1]"), "stage 1 grasps nothing, and nothing is held"),
        (("return get_grasping_cost_by_keypoint_idx(3)", "return 1"), "can never be at most zero"),
        (("0.008", "joint(bowl.lid)"), "`joint` is not allowed"),
    ],
)  # fmt: skip
def test_programs_that_do_not_fit_the_scene_are_refused(change, message):
    with pytest.raises(RoboloopError, match=message):
        task_of(BOWL.replace(*change))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("drawer_0", "drawer_9"), "line 4, .*: unknown joint `cabinet.drawer_9`, did you mean"),
        (("[3, -1]", "[5, -1]"), "is moved by `cabinet.drawer_0_handle`, the hand has"),
        (("joint(cabinet.drawer_0)", "hand[0]"), "to be about joint.cabinet.drawer_0. or joint"),
        (("joint(cabinet.drawer_0)", "joint(cabinet.drawer_0) * hand[0]"), "has to be about"),
    ],
)  # fmt: skip
def test_what_a_joint_does_not_do_is_refused(change, message):
    with pytest.raises(RoboloopError, match=message):
        task_of(DRAWER.replace(*change), CABINET)


def test_deep_programs_are_read_or_refused():
    lines = "".join("    x = x + 1e-9 * keypoints[2]\n" for _ in range(600))
    deep = BOWL.replace("    axis =", f"    x = bowl.top\n{lines}    axis = x[0] * x +")
    with pytest.raises(RoboloopError, match="too deep|more than 2000 operations|characters"):
        task_of(deep)


def planned(graph, text, tmp_path) -> int:
    write_scene(graph, tmp_path / "scene")
    (tmp_path / "program.txt").write_text(text)
    files = [str(tmp_path / "scene"), "do it", "--program", str(tmp_path / "program.txt")]
    return main(["plan", *files, "--out", str(tmp_path / "plan")])


@pytest.mark.parametrize(("graph", "text"), [(bowl_and_plate(), BOWL), (CABINET, DRAWER)])
def test_a_program_is_carried_out(graph, text, tmp_path):
    assert planned(graph, text, tmp_path) == 0
    steps = read_json(tmp_path / "plan" / "manifest.json")["figures"]["control_steps"]
    assert list(steps) == ["grasp_1", "release_2", "retreat_2"]
    assert read_task(tmp_path / "plan").kind == "program"


@pytest.mark.slow
def test_boxes_are_stacked(tmp_path):
    assert planned(BOXES, STACK, tmp_path) == 0


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"num_stages = 1", "stage 1 grasps nothing, and nothing is held"),
        (b"\xff\xfe", "is not UTF-8 text"),
        (b"x" * 10_000_000, "has more than 20000 characters"),
        (None, "no program here"),
    ],
)
def test_files_that_are_no_programs_are_refused(content, message, tmp_path, capsys):
    if content is not None:
        (tmp_path / "p.txt").write_bytes(content)
    write_scene(bowl_and_plate(), tmp_path / "scene")
    words = ["plan", str(tmp_path / "scene"), "do it", "--program", str(tmp_path / "p.txt")]
    assert main([*words, "--out", str(tmp_path / "plan")]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "plan").exists()


def test_a_moved_scene_keeps_its_numbers():
    names = list(numbered_keypoints(bowl_and_plate()))
    assert names.index("bowl.rim") == 3 and names.index("plate.inside") == 9
    assert all(np.isfinite(p).all() for p in numbered_keypoints(BOXES).values())
