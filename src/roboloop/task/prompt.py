"""What a language model is told, and how the program is found in what it says."""

from jaxtyping import Float
from numpy import ndarray

from roboloop.errors import RoboloopError
from roboloop.robot import Robot
from roboloop.scene.families import family_of
from roboloop.scene.graph import SceneGraph
from roboloop.scene.keypoints import numbered_keypoints
from roboloop.task.answers import Message
from roboloop.task.language import MAX_TEXT

FENCE = "```"
MARK = "num_stages"
"""What every program says."""

SYSTEM = """You turn a sentence into a constraint program for a robot arm with a two-finger hand.
The program is parsed, not run: only what is described here is understood.

A program is one fenced code block of Python with
- `num_stages = N`;
- `grasp_keypoints` and `release_keypoints`, lists of N keypoint numbers: what the hand takes, or
  lets go of, at the END of each stage; -1 for nothing. No stage does both.
- functions `stageI_subgoal_constraintJ(end_effector, keypoints)`: has to hold at the end of stage
  I, before the hand lets go; `stageI_path_constraintJ(...)`: all along stage I. Each returns a
  number that is at most zero when the constraint is met; assignments may come before the `return`.
  No loops, no conditions, no comparisons, no other names or imports.

Expressions: numbers; `keypoints[3]` or the keypoint's name, `bowl.rim` (positions in m, z is up);
`end_effector`, the point between the fingertips; `joint(cabinet.drawer_0)` (m or rad); + - * / **;
vectors such as [0, 0, 0.1]; `p[2]`, `p[0:2]`; norm dot cross unit mean sum abs min max sqrt sin
cos arccos, `xy(p)`, `z(p)`.

How it is carried out:
- A grasp finds its own way and its own place on the object (on a handle, if the keypoint is one):
  its stage needs no sub-goal. After a release the hand backs out by itself.
- What is held moves with its keypoints; everything else stays where it is. So speak of keypoints
  of the held object relative to other ones, with a few exact conditions; leave the rest open.
- Let go of a thing where it comes to rest: its bottom about 8 mm above what it is put on.
- A drawer or door: grasp its handle, then one stage whose only sub-goal is about its joint, and
  which releases the handle.
- Everything that is grasped is released again.

Example: the apple (3 top, 4 bottom) goes into the box (9 inside), upright all the way.
```python
num_stages = 2
grasp_keypoints = [3, -1]
release_keypoints = [-1, 3]
def stage2_subgoal_constraint1(end_effector, keypoints):
    return norm(keypoints[4] - (keypoints[9] + [0, 0, 0.008]))
def stage2_path_constraint1(end_effector, keypoints):
    axis = keypoints[3] - keypoints[4]
    return norm(xy(axis)) - 0.3 * norm(axis)
```
Example: a drawer with the handle 5 is pulled out by 12 cm.
```python
num_stages = 2
grasp_keypoints = [5, -1]
release_keypoints = [-1, 5]
def stage2_subgoal_constraint1(end_effector, keypoints):
    return 0.12 - joint(chest.drawer_1)
```"""

REQUEST = """The sentence: {sentence}

The picture shows the scene with the keypoints' numbers. The hand opens {opening:.0f} mm wide.

{scene}

Answer with the program in one fenced code block."""

REPAIR = """The robot has not moved. {problem}

Answer with the whole corrected program in one fenced code block."""


def conversation(graph: SceneGraph, sentence: str, robot: Robot) -> tuple[Message, ...]:
    """What a model is told about a scene and a sentence, beside the picture."""
    text = REQUEST.format(
        sentence=" ".join(sentence.split()),
        opening=1000 * robot.max_opening,
        scene="\n".join(scene_lines(graph)),
    )
    return Message("system", SYSTEM), Message("user", text)


def repair(answer: str, problem: str) -> tuple[Message, ...]:
    """What is added to a conversation when an answer did not do."""
    return Message("assistant", answer[:MAX_TEXT]), Message("user", REPAIR.format(problem=problem))


def scene_lines(graph: SceneGraph) -> list[str]:
    """Objects, keypoints with numbers and positions, joints with ranges: one line each."""
    points = list(enumerate(numbered_keypoints(graph).items()))
    lines: list[str] = []
    for object_ in graph.objects:
        size = " x ".join(f"{100 * s:.0f}" for s in object_.size)
        stands = "does not move" if family_of(object_).static else "can be moved"
        lines.append(f"{object_.name}: a {object_.category}, {size} cm, {stands}")
        own = [(i, name, p) for i, (name, p) in points if name.startswith(f"{object_.name}.")]
        lines += [f"  keypoint {i} {name} at {_place(p)}" for i, name, p in own]
        for joint in object_.joints:
            low, high = joint.range
            unit = "m" if joint.kind == "slide" else "rad"
            now = f"from {low:.2f} (closed) to {high:.2f} {unit}, now {joint.value:.2f}"
            lines.append(f"  joint({object_.name}.{joint.name}) goes {now}")
    return lines


def _place(p: Float[ndarray, "3"]) -> str:
    return "[" + ", ".join(f"{v:.3f}" for v in p) + "]"


def program_in(answer: str) -> str:
    """Find the program in an answer: its one fenced block that says `num_stages`.

    Raises:
        RoboloopError: There is no such block, or several.
    """
    blocks: list[list[str]] = []
    inside = False
    for line in answer.splitlines():
        if line.lstrip().startswith(FENCE):
            inside = not inside
            blocks += [[]] if inside else []
        elif inside:
            blocks[-1].append(line)
    programs = ["\n".join(block) for block in blocks if any(MARK in line for line in block)]
    if len(programs) != 1:
        raise RoboloopError(
            f"the answer has {len(programs) or 'no'} fenced code block{'s' * (len(programs) > 1)} "
            f"with `{MARK}`, wanted one"
        )
    return programs[0]
