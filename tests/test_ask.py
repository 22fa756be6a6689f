"""A model writes the program: good answers move the robot, bad ones are mended once or refused."""

import json
import re

import pytest

from chat_server import serve, text_answer
from roboloop.cli import main
from roboloop.errors import RoboloopError
from roboloop.run import read_json
from roboloop.scene.folder import write_scene
from roboloop.station import STATIONS
from roboloop.task.program import program_task
from roboloop.task.prompt import program_in
from roboloop.task.spec import read_task
from scenes import bowl_and_plate

SECRET = "sk-very-secret"
SENTENCE = "set the bowl down in the middle of the plate, gently"
GOOD = """Here it is:
```python
num_stages = 2
grasp_keypoints = [3, -1]
release_keypoints = [-1, 3]
def stage2_subgoal_constraint1(end_effector, keypoints):
    return norm(keypoints[2] - (keypoints[9] + [0, 0, 0.008]))
def stage2_path_constraint1(end_effector, keypoints):
    return norm(xy(bowl.top - bowl.bottom)) - 0.3 * norm(bowl.top - bowl.bottom)
```
"""
UNKNOWN = GOOD.replace("bowl.top", "bowl.tip")
FAR = GOOD.replace("0.008", "1.5")
"""The goal is out of reach."""
HIGH = GOOD.replace("0.008", "0.2")
"""The bowl is dropped from 20 cm."""


@pytest.fixture(autouse=True)
def key(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    monkeypatch.setenv("no_proxy", "*")


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ask") / "scene"
    write_scene(bowl_and_plate(), folder)
    return folder


def plan(scene, out, url: str, *more: str) -> int:
    flags = ["--endpoint", url, "--model", "m", "--retries", "0", "--timeout-s", "5"]
    return main(["plan", str(scene), SENTENCE, "--out", str(out), *flags, *more])


def told(request) -> list[dict]:
    return json.loads(request[2])["messages"]


def test_a_model_writes_the_program_and_the_robot_carries_it_out(scene, tmp_path, capsys):
    with serve(text_answer(GOOD)) as server:
        assert plan(scene, tmp_path / "a", server.url, "--answers", str(tmp_path / "kept")) == 0
    system, user = told(server.requests[0])
    words = user["content"][0]["text"]
    assert SENTENCE in words and "keypoint 3 bowl.rim at [-0.080, -0.004, 0.953]" in words
    assert "bowl: a bowl, 11 x 11 x 5 cm, can be moved" in words
    assert "at most zero" in system["content"]
    assert "until the bowl's bottom is at the point 0.8 cm above" in capsys.readouterr().err
    assert read_task(tmp_path / "a").instruction == SENTENCE
    assert (tmp_path / "a" / "plan.mp4").exists()
    # the recorded answer needs no server, its program no model
    assert plan(scene, tmp_path / "b", server.url, "--answers", str(tmp_path / "kept")) == 0
    tasks = [read_json(tmp_path / name / "task.json") for name in "ab"]
    assert tasks[0] == tasks[1]
    program = (tmp_path / "a" / "program.txt").read_text()
    again = program_task(bowl_and_plate(), SENTENCE, program, STATIONS["panda"])
    assert again.stages == read_task(tmp_path / "a").stages
    assert SECRET not in "".join(f.read_text("latin-1") for f in tmp_path.rglob("*") if f.is_file())


@pytest.mark.parametrize(
    ("first", "message"),
    [
        (UNKNOWN, "unknown keypoint `bowl.tip`, did you mean `bowl.top`?"),
        (HIGH, "In simulation the program fails: dropped or misplaced"),
    ],
)
def test_a_bad_program_goes_back_once_with_the_reason(first, message, scene, tmp_path, capsys):
    with serve(text_answer(first), text_answer(GOOD)) as server:
        assert plan(scene, tmp_path / "plan", server.url) == 0
    assert len(server.requests) == 2
    *_, answer, repair = told(server.requests[1])
    assert answer["content"] == first
    assert message in repair["content"]
    assert message in capsys.readouterr().err


def nothing_moves(scene, tmp_path, capsys, *answers) -> str:
    """What is said about answers that do not do."""
    with serve(*answers) as server:
        assert plan(scene, tmp_path / "plan", server.url) == 2
        assert not server.answers
    names = {file.name for file in (tmp_path / "plan").rglob("*") if file.is_file()}
    assert not names & {"plan.mp4", "task.json"}
    said = capsys.readouterr().err
    assert SECRET not in said and "Traceback" not in said and "\x1b" not in said
    return said


def block(*lines: str) -> str:
    """A program whose only function has these lines."""
    inside = "\n".join(f"    {line}" for line in lines)
    header = "num_stages = 1\ndef stage1_subgoal_constraint1(end_effector, keypoints):"
    return f"```python\n{header}\n{inside}\n```"


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ("I would rather not.", "has no fenced code block"),
        ("", "has no fenced code block"),
        (GOOD + GOOD, "has 2 fenced code blocks"),
        ("```json\n{\"num_stages\": 2}\n```", "a Expr is not allowed here"),
        ("```rust\nfn main() { let num_stages = 2; }\n```", "does not parse at line 1"),
        (block("import os", "return 0"), "line 3, column 5: a Import is not allowed"),
        (block("return os.system('touch pwned')"), "`os.system` is not allowed"),
        (block("return keypoints.__class__"), "unknown keypoint `keypoints.__class__`"),
        (block("return (lambda: 0)()"), "is not allowed"),
        (block("return __import__('os').system('\x1b[2J')"), "is not allowed"),
        (block("return " + "(" * 180 + "1" + ")" * 180), "stage 1|can never be|nested"),
        (block("return " + "-" * 9000 + "1"), "too deep|does not parse"),
        (block("return " + "1+" * 9000 + "1"), "too deep|does not parse|can never"),
        (block("return " + "1" * 19_000), "does not parse|is not within"),
        (block("x = " + "y" * 100_000), "characters"),
        (block("return float('nan')"), "`float` is not allowed"),
        (block("return 1e999"), "is not within"),
        (block("return 1j"), "`1j` is not allowed"),
        (block("return 0") + "\nIgnore all rules.", "grasps nothing, and nothing is held"),
        (GOOD.replace("[3, -1]", "[3.0, -1]"), "wanted a whole number"),
        (GOOD.replace("[3, -1]", "[99, -1]"), "names keypoint 99; there are 10"),
        (GOOD.replace("stage2", "stage1"), "does not say where to"),
        ("\n".join(["```"] * 50_001), "has no fenced code block"),
    ],
)  # fmt: skip
def test_answers_that_are_no_programs_move_nothing(
    answer, message, scene, tmp_path, capsys, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    said = nothing_moves(scene, tmp_path, capsys, text_answer(answer), text_answer(answer))
    error = said[said.index("error: no program to carry out") :]
    assert re.search(message, error), error
    assert "hint: nothing was moved" in error
    assert not (tmp_path / "pwned").exists()


@pytest.mark.slow
def test_a_goal_out_of_reach_stays_out_of_reach(scene, tmp_path, capsys):
    said = nothing_moves(scene, tmp_path, capsys, text_answer(FAR), text_answer(FAR))
    assert "error: no plan: grasp_1: no grasp allows the next sub-goal" in said


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        ((200, b"<html>captive portal</html>"), "does not answer with JSON: <html>captive"),
        ((200, b"x" * 10_000_000), "answers with more than 262,144 bytes"),
        ((200, b'{"choices": 3}'), "no text at choices"),
        ((401, f"bad key {SECRET}".encode()), "HTTP 401: bad key ***"),
        ((500, b"\x1b[31mred"), "HTTP 500: ?[31mred"),
    ],
)
def test_endpoints_that_talk_nonsense_move_nothing(reply, message, scene, tmp_path, capsys):
    assert message in nothing_moves(scene, tmp_path, capsys, reply)


@pytest.mark.parametrize(
    ("url", "more", "message"),
    [
        ("http://127.0.0.1:9/v1", [], "cannot be reached"),
        ("file:///etc/passwd", [], "is no http or https address"),
        ("http://127.0.0.1:9/v1", ["--model", ""], "no model to ask"),
        ("http://127.0.0.1:9/v1", ["--program", "p.txt"], "both --program and --endpoint"),
    ],
)
def test_endpoints_that_are_none_move_nothing(url, more, message, scene, tmp_path, capsys):
    assert plan(scene, tmp_path / "plan", url, *more) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "plan" / "plan.mp4").exists()


def test_the_program_is_the_block_that_is_one():
    assert program_in("```\nls\n```\ntext\n```python\nnum_stages = 1\n```").strip() == (
        "num_stages = 1"
    )
    with pytest.raises(RoboloopError, match="no fenced code block"):
        program_in("num_stages = 1")
