"""Disturbances: somebody moves the object, takes it out of the hand, moves the goal."""

from collections.abc import Mapping
from typing import Literal

import mujoco
import numpy as np
from jaxtyping import Float

from roboloop import pose
from roboloop.cell import Cell
from roboloop.scene.families import FAMILIES
from roboloop.sim import place, qpos_of

Kind = Literal["none", "object", "pull", "goal", "all"]
"""What is disturbed: the object before it is grasped, the object in the hand, the goal during the
transport; `all` is one of those that the task has, in turn."""
NEAR, LIFTED = 0.15, 0.03
"""The hand is close to the object; the object is in the air, m."""
SHIFT = (0.04, 0.09)
"""How far things on the table are moved, m."""
MOVE_STEPS, LATEST_STEPS = 10, 10
"""Control steps that a movement takes, and by which it begins after its occasion, at the latest."""
JOINT_SHARE = (0.1, 0.25)
"""How far a joint is moved before it is touched, share of its range."""
UNDO_SHARE = 0.4
"""A joint that went this share of its way is set back."""
N_TRIES = 60


def kinds_of(cell: Cell) -> list[Kind]:
    """The disturbances that a task has."""
    if "object" not in cell.task.roles:
        return ["object", "pull"]
    target = cell.graph.object(cell.task.roles["target"])
    family = FAMILIES[target.category]
    return ["object", "pull", "goal"] if not (family.static or family.soft) else ["object", "pull"]


class Disturbance:
    """Disturbs one rollout, once.

    Args:
        cell: Where.
        kind: What; see `kinds_of`.
        rng: When, and how far.
    """

    def __init__(self, cell: Cell, kind: Kind, rng: np.random.Generator) -> None:
        self.cell, self.kind, self._rng = cell, kind, rng
        self._data = mujoco.MjData(cell.model)
        self._wait: int | None = None
        self._moves: list[tuple[int, np.ndarray]] = []
        self._start: np.ndarray | None = None
        self.happened = False

    def apply(self, state: Float[np.ndarray, "nstate"]) -> None:
        """Change a state, in place, if now is the time."""
        qpos = qpos_of(self.cell.model, state)
        self._start = qpos.copy() if self._start is None else self._start
        if self._moves:
            self._put(state, *self._moves.pop(0))
            return
        if self.happened:
            return
        self._data.qpos[:] = qpos
        mujoco.mj_kinematics(self.cell.model, self._data)
        if self._wait is None and self._is_time(qpos):
            self._wait = int(self._rng.integers(1, LATEST_STEPS))
        if self._wait is not None:
            self._wait -= 1
            if self._wait <= 0:
                self.happened = True
                self._moves = self._plan(qpos)

    def _put(self, state: np.ndarray, joint: int, value: np.ndarray) -> None:
        """Place what a joint moves, and with it what is in it, in place."""
        model, qpos = self.cell.model, qpos_of(self.cell.model, state).copy()
        body = int(model.jnt_bodyid[joint])
        if body in self.cell.free_bodies:
            now = qpos[(a := self.cell.free_bodies[body]) : a + 7]
            T_after_before = pose.from_vector(value) @ pose.inverse(pose.from_vector(now))
            for a in (self.cell.free_bodies[b] for b in self.cell.contents(body, qpos)):
                T = T_after_before @ pose.from_vector(qpos[a : a + 7])
                place(model, state, self.cell.joint_at(a), pose.to_vector(T))
        place(model, state, joint, value)

    # --- when

    def _is_time(self, qpos: np.ndarray) -> bool:
        if "object" not in self.cell.task.roles:
            return self._joint_is_time(qpos)
        body = self.cell.frame_body("object")
        hand = self._data.site_xpos[self.cell.eef_site]
        if self.kind == "object":
            return bool(np.linalg.norm(hand - self._data.xpos[body]) < NEAR)
        assert self._start is not None
        z = self.cell.free_address("object") + 2
        return bool(qpos[z] > self._start[z] + LIFTED)

    def _joint_is_time(self, qpos: np.ndarray) -> bool:
        stage = self.cell.task.stages[0]
        point = self._data.site(self.cell.site_name(str(stage.grasp or stage.push))).xpos
        near = np.linalg.norm(self._data.site_xpos[self.cell.eef_site] - point)
        if self.kind == "object":
            return bool(near < NEAR)
        address = self._joint()
        assert self._start is not None
        low, high = self.cell.model.jnt_range[self.cell.joint_at(address)]
        gone = abs(qpos[address] - self._start[address]) > UNDO_SHARE * (high - low)
        return bool(gone and (stage.grasp or near > 0.03))

    # --- what

    def _plan(self, qpos: np.ndarray) -> list[tuple[int, np.ndarray]]:
        if "object" not in self.cell.task.roles:
            return self._plan_joint(qpos)
        role = "target" if self.kind == "goal" else "object"
        address = self.cell.free_address(role)
        joint = self.cell.joint_at(address)
        now = qpos[address : address + 7]
        if self.kind == "pull":  # put down where it was, or close to that
            assert self._start is not None
            base = self._start[address : address + 7]
        else:
            base = now
        there = base.copy()
        there[:2] = self._free_place(role, base)
        if self.kind == "pull":
            return [(joint, there)]
        s = np.arange(1, MOVE_STEPS + 1) / MOVE_STEPS
        between = [now + each * (there - now) for each in s]
        return [(joint, _lifted(p, 0.004)) for p in between[:-1]] + [(joint, there)]

    def _plan_joint(self, qpos: np.ndarray) -> list[tuple[int, np.ndarray]]:
        address = self._joint()
        joint = self.cell.joint_at(address)
        low, high = self.cell.model.jnt_range[joint]
        assert self._start is not None
        to = float(self._start[address])
        if self.kind == "object":
            share = self._rng.uniform(*JOINT_SHARE)
            middle = (low + high) / 2
            to += share * (high - low) * (1 if to < middle else -1)
        s = np.arange(1, MOVE_STEPS + 1) / MOVE_STEPS
        now = float(qpos[address])
        return [(joint, np.array([now + each * (to - now)])) for each in s]

    def _joint(self) -> int:
        """Address of the joint that the task moves."""
        stage = self.cell.task.stages[0]
        body = self.cell.frame_body(str(stage.grasp or stage.push))
        return int(self.cell.model.jnt_qposadr[self.cell.model.body_jntadr[body]])

    def _free_place(self, role: str, base: np.ndarray) -> Float[np.ndarray, "2"]:
        """A place on the table, in reach, away from everything else and from the hand."""
        sizes = {o.name: max(o.size[:2]) / 2 for o in self.cell.graph.objects}
        name = self.cell.task.roles[role]
        low, high = self.cell.robot.reach
        p_base = self.cell.mount.T_world_base[:2, 3]
        others: Mapping[str, np.ndarray] = {
            other: self._data.body(other).xpos[:2] for other in sizes if other != name
        }
        contents = self.cell.contents(self._data.body(name).id, self._data.qpos)
        inside = {self.cell.model.body(b).name for b in contents}
        for _ in range(N_TRIES):
            angle = self._rng.uniform(0, 2 * np.pi)
            p = base[:2] + self._rng.uniform(*SHIFT) * np.array([np.cos(angle), np.sin(angle)])
            far = low < np.linalg.norm(p - p_base) < high
            apart = all(
                np.linalg.norm(p - q) > sizes[name] + sizes[other] + 0.015
                for other, q in others.items()
                if other not in inside
            )
            if far and apart:
                return p
        return base[:2]


def _lifted(value: np.ndarray, height: float) -> np.ndarray:
    value = value.copy()
    value[2] += height
    value[3:7] /= np.linalg.norm(value[3:7])
    return value
