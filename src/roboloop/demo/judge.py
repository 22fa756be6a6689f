"""Success and the reason of a failure, from the states of a finished episode."""

import numpy as np
from jaxtyping import Float

from roboloop.cell import Cell
from roboloop.task.expression import SHARE

MOVED, LIFTED = 0.015, 0.02
"""An object that went less far was not touched; one that rose higher was held, m."""
JOINT_MOVED = 0.1
"""Share of its range that a joint has to move before its handle counts as held."""


def judge(cell: Cell, qpos: Float[np.ndarray, "T nq"]) -> str:
    """Say why an episode failed, in a few words for statistics; the empty string is success.

    Args:
        cell: Where it happened.
        qpos: Configurations over the episode; the last one, after things have settled, is judged.
    """
    (data,) = cell.kinematics(qpos[-1:])
    values = cell.values(data.site_xpos.copy(), qpos[-1])
    violated = [c for c in cell.success if c.violation(values) > 0]
    if not violated:
        return _left_out(cell, qpos)
    placed = (n.partition(".")[0] for c in violated for n in sorted(c.names()[0]))
    objects = [role for role in placed if role.startswith("object") and cell.is_free(role)]
    if objects:
        return _object_reason(cell, objects[0], qpos, [c.text for c in violated])
    moved = {j for c in cell.success for j in c.names()[1]}
    if not moved:
        return f"that {violated[0].sentence} fails"
    address = cell.joint_address(moved.pop().removesuffix(SHARE))
    span = np.ptp(cell.model.jnt_range[cell.joint_at(address)])
    share = np.abs(qpos[:, address] - qpos[0, address]).max() / span
    if share < JOINT_MOVED:
        return "handle missed"
    return "hand not clear" if not violated[0].names()[1] else "not moved far enough"


def _left_out(cell: Cell, qpos: Float[np.ndarray, "T nq"]) -> str:
    """Say which milestone was not reached after those before it; the empty string if all were."""
    if not cell.milestones:
        return ""
    points = [data.site_xpos.copy() for data in cell.kinematics(qpos)]
    values, start = cell.values(np.array(points), qpos), 0
    for number, constraints in enumerate(cell.milestones, 1):
        held = np.ones(len(qpos), bool)
        for constraint in constraints:
            held &= constraint.violation(values) <= 0
        if not held[start:].any():
            return f"milestone {number} of {len(cell.milestones)} left out"
        start += int(np.argmax(held[start:]))
    return ""


def _object_reason(cell: Cell, role: str, qpos: np.ndarray, violated: list[str]) -> str:
    """Say what went wrong with the object that plays a role."""
    address = cell.free_address(role)
    p = qpos[:, address : address + 3]
    if np.linalg.norm(p - p[0], axis=1).max() < MOVED:
        return "object not touched"
    if p[:, 2].max() - p[0, 2] < LIFTED:
        return "grasp missed"
    if all("robot." in text for text in violated):
        return "not released"
    fell = p[-1, 2] < p[0, 2] - 0.05
    return "fell off the table" if fell else "dropped or misplaced"
