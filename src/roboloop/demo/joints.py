"""Which joint a stage moves, and how far."""

import numpy as np
from mujoco import mjtJoint

from roboloop.demo.goals import solve_joint
from roboloop.demo.ways.arm import Arm
from roboloop.task.constraints import parse
from roboloop.task.expression import SHARE
from roboloop.task.spec import Stage

SLIDE_STEP, HINGE_STEP = 0.01, 0.035
"""How far a drawer (m) and a door (rad) move in one control step."""


def joint_values(arm: Arm, stage: Stage, qpos: np.ndarray) -> tuple[int, np.ndarray]:
    """Address in qpos of the joint that a stage moves, and its values, one a control step."""
    address, value = joint_goal(arm, stage)
    slides = arm.cell.model.jnt_type[arm.cell.joint_at(address)] == mjtJoint.mjJNT_SLIDE
    step = SLIDE_STEP if slides else HINGE_STEP
    n = int(np.ceil(abs(value - qpos[address]) / step)) + 1
    return address, np.linspace(qpos[address], value, max(n, 2))


def joint_goal(arm: Arm, stage: Stage) -> tuple[int, float]:
    """Address in qpos of the joint that a sub-goal is about, and the value that meets it."""
    constraints = tuple(parse(text) for text in stage.subgoal)
    (name,) = set[str]().union(*(c.names()[1] for c in constraints))
    joint = name.removesuffix(SHARE)
    low, high = arm.cell.joint_range(joint)
    if joint == name:
        value = solve_joint(constraints, arm.values(), joint, (low, high))
    else:
        value = low + (high - low) * solve_joint(constraints, arm.values(), name, (0, 1))
    return arm.cell.joint_address(joint), value
