"""The planner: solves the stages of a task in one cell, on the state that it is told.

It sees the simulator's state (it is an expert, not a policy). Every stage is planned when the one
before has been executed, from where things really are.
"""

from collections.abc import Iterator
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float
from mujoco import mjtJoint

from roboloop import pose
from roboloop.cell import Cell
from roboloop.demo.arm import Arm, raised, set_free
from roboloop.demo.goals import Unreachable, solve_joint
from roboloop.demo.grasp import antipodal_grasps
from roboloop.demo.motion import GRIP_STEPS, Motion, timed, with_gripper
from roboloop.demo.reach import Weights, reach_of
from roboloop.demo.solve import Solver, why_not
from roboloop.task.constraints import parse
from roboloop.task.spec import Stage

APPROACH = 0.07
"""Straight way of the hand before a grasp and before a release, m."""
SLIDE_STEP, HINGE_STEP = 0.01, 0.035
"""How far a drawer (m) and a door (rad) move in one control step."""
RETREAT_MARGIN = 0.03
"""By how much (m) a retreat exceeds what its sub-goal asks for."""
SUBGOAL = Weights(collision=50.0, margin=0.02, position=0.2, rotation=1.0, posture=0.05)
"""What counts at the end of a stage, besides its constraints."""
MAX_GRASPS = 100


@runtime_checkable
class Expert(Protocol):
    """Makes demonstrations in one cell, stage by stage."""

    def plan(self, index: int, qpos: Float[np.ndarray, "nq"]) -> Motion:
        """Plan stage `index` of the cell's task from the state `qpos`.

        Raises:
            Unreachable: It cannot be done from here; says why.
        """
        ...


class Planner:
    """The `Expert` that solves sub-goals from scratch."""

    def __init__(self, cell: Cell, rng: np.random.Generator) -> None:
        self.cell, self._rng = cell, rng
        self.arm = Arm(cell)
        self._why: dict[str, str] = {}

    def plan(self, index: int, qpos: Float[np.ndarray, "nq"]) -> Motion:
        """Plan stage `index` from the state `qpos`; see `Expert`."""
        stage = self.cell.task.stages[index]
        robot = self.cell.robot
        if stage.grasp:
            path = self._grasp(index, stage.grasp, qpos)
            return Motion(with_gripper(path, robot.gripper_open, GRIP_STEPS, robot.gripper_closed))
        if stage.release:
            path = self._transfer(stage, stage.release, qpos)
            return Motion(with_gripper(path, robot.gripper_closed, GRIP_STEPS, robot.gripper_open))
        return Motion(with_gripper(self._retreat(stage, qpos), robot.gripper_open))

    # --- grasp

    def _grasp(self, index: int, what: str, qpos: np.ndarray) -> np.ndarray:
        """Path to the best grasp that is reachable, free, and good for the next stage too."""
        body = self.cell.frame_body(what)
        q = qpos[self.cell.arm_qpos]
        self.arm.update(qpos)
        Ts_body_eef = self._candidates(what, body)
        Ts_world_eef = self.arm.body_pose(body) @ Ts_body_eef
        Ts_before = Ts_world_eef @ _along_approach(-APPROACH)
        ik, good = self.arm.reach(Ts_world_eef, q)
        good &= self.arm.reach(Ts_before, ik.q)[1]
        # the open hand has to fit around what it takes; the tips may touch what a handle is on
        touched = body if "." in what else None
        good[good] = list(self.arm.clear(qpos, ik.q[good], touched))
        if not good.any():
            raise Unreachable("no grasp within reach and free of collision")
        then = self.cell.task.stages[index + 1]
        problem = "no grasp allows the next sub-goal"
        for k in np.flatnonzero(good):
            try:
                if not self._allows(then, qpos, ik.q[k], Ts_body_eef[k], body):
                    continue
            except Unreachable as error:
                problem = f"no grasp allows the next sub-goal: {error.problem}"
                continue
            approach = timed(np.stack([Ts_before[k], Ts_world_eef[k]]), speed=0.7)
            after = np.concatenate([Ts_before[k : k + 1], approach])
            try:
                return self.arm.travel(qpos, self.arm.eef(q)[None], after, touched=body)
            except Unreachable as error:
                problem = f"no way to the grasp: {error.problem}"
        raise Unreachable(problem)

    def _candidates(self, what: str, body: int) -> Float[np.ndarray, "K 4 4"]:
        """Grasps in the body's frame, the most promising first."""
        model, data, cell = self.cell.model, self.arm.data, self.cell
        near = None
        if "." in what:
            near = data.site_xpos[model.site(cell.site_name(what)).id].copy()
        grasps = antipodal_grasps(model, data, body, cell.robot, self._rng, near)
        Ts_world_eef = self.arm.body_pose(body) @ grasps.Ts_body_eef
        # things on a table are not taken from below; handles may be taken from the side
        steepest = -0.5 if near is None else 0.2
        keep = np.flatnonzero(Ts_world_eef[:, 2, 2] < steepest)
        if not keep.size:
            width = f"{100 * cell.robot.max_opening:.0f} cm"
            raise Unreachable(f"no antipodal grasp on `{what}` within the hand's {width}")
        cost = self._cost(what, Ts_world_eef[keep], near) + 5 * grasps.width[keep]
        return grasps.Ts_body_eef[keep[np.argsort(cost)[:MAX_GRASPS]]]

    def _cost(self, what: str, Ts_world_eef: np.ndarray, near: np.ndarray | None) -> np.ndarray:
        """Prefer grasps that hold well and look alike from one demonstration to the next.

        On a handle: its middle, straight from the front. Elsewhere: the hand pointing down and
        turned as at home, its pads full on the object, on the robot's left.
        """
        cell = self.cell
        obj = cell.graph.object(cell.task.roles[what.partition(".")[0]])
        if near is not None:
            off = np.linalg.norm(Ts_world_eef[:, :3, 3] - near, axis=1)
            return 20 * off + 1 + Ts_world_eef[:, :3, 2] @ obj.T_world_obj[:3, 0]
        site = cell.model.site(cell.site_name(f"{what}.top")).id
        above = Ts_world_eef[:, 2, 3] + cell.robot.finger_depth - self.arm.data.site_xpos[site, 2]
        aside = Ts_world_eef[:, :3, 3] @ cell.task.T_world_base[:3, 1] / max(obj.size[:2])
        turn = _turns(self.arm.eef(np.array(cell.robot.home)), Ts_world_eef)
        tilt = 1 + Ts_world_eef[:, 2, 2]
        return tilt + 0.5 * turn - 0.6 * aside + 40 * np.maximum(above, 0) - 4 * above

    def _allows(
        self, stage: Stage, qpos: np.ndarray, q: np.ndarray, T_body_eef: np.ndarray, body: int
    ) -> bool:
        """Whether the arm can end the next stage with this grasp, without a collision."""
        if "." in str(stage.release):
            address, value = self._joint_goal(stage)
            T = self.arm.body_pose_at(qpos, address, value, body) @ T_body_eef
            ik, good = self.arm.reach(T[None], np.array(self.cell.robot.home))
            state = qpos.copy()
            state[address] = value
            state[self.cell.arm_qpos] = ik.q[0]
            return bool(good[0]) and all(self.arm.clear_states(state[None], held=body))
        for there in self._subgoals(stage, qpos, q, T_body_eef, body):
            state = qpos.copy()
            state[self.cell.arm_qpos] = there
            T_world_body = self.arm.eef(there) @ pose.inverse(T_body_eef)
            set_free(state[None], self.cell.model, body, T_world_body)
            if all(self.arm.clear_states(state[None], held=body)):
                return True
        return False

    def _subgoals(
        self, stage: Stage, qpos: np.ndarray, q: np.ndarray, T_body_eef: np.ndarray, body: int
    ) -> Iterator[np.ndarray]:
        """Arm positions at which a held object meets a stage's sub-goal, the cheapest first.

        Raises:
            Unreachable: There is none; says which constraint fails, and by how much.
        """
        role = str(stage.release)
        constraints = tuple(parse(text) for text in (*stage.subgoal, *stage.path))
        reach = reach_of(self.cell, qpos, q, body, pose.inverse(T_body_eef), role)
        answers = Solver(reach, constraints, SUBGOAL).subgoals(self._rng)
        if all(answer.problem for answer in answers):
            if stage.name not in self._why:  # takes many solutions: once is enough
                self._why[stage.name] = why_not(reach, constraints, SUBGOAL, self._rng)
            raise Unreachable(self._why[stage.name] or answers[0].problem)
        return (answer.q[0] for answer in answers if not answer.problem)

    # --- moving what is held

    def _transfer(self, stage: Stage, what: str, qpos: np.ndarray) -> np.ndarray:
        body = self.cell.frame_body(what)
        q = qpos[self.cell.arm_qpos]
        self.arm.update(qpos)
        if "." in what:
            address, value = self._joint_goal(stage)
            slides = self.cell.model.jnt_type[self.cell.joint_at(address)] == mjtJoint.mjJNT_SLIDE
            step = SLIDE_STEP if slides else HINGE_STEP
            n = int(np.ceil(abs(value - qpos[address]) / step)) + 1
            values = np.linspace(qpos[address], value, n)
            return self.arm.along_joint(qpos, address, values, body)
        T_body_eef = pose.inverse(self.arm.body_pose(body)) @ self.arm.eef(q)
        problem = ""
        for there in self._subgoals(stage, qpos, q, T_body_eef, body):
            end = self.arm.eef(there)
            above = raised(end, APPROACH)
            after = np.concatenate([above[None], timed(np.stack([above, end]), speed=0.7)])
            try:
                return self.arm.carry(qpos, after, body)
            except Unreachable as error:
                problem = error.problem
        raise Unreachable(f"no way to the sub-goal: {problem}")

    def _retreat(self, stage: Stage, qpos: np.ndarray) -> np.ndarray:
        """Back out along the approach axis, then up, until the sub-goal holds amply."""
        self.arm.update(qpos)
        q = qpos[self.cell.arm_qpos]
        start, now = self.arm.eef(q), self.arm.values()
        constraints = [parse(text) for text in stage.subgoal]
        for back in np.arange(0.02, 0.2, 0.02):
            for up in (0.0, 0.05, 0.1):
                T_back = start @ _along_approach(-back)
                T_end = raised(T_back, up)
                there = type(now)({**now.points, "robot.eef": T_end[:3, 3]}, now.joints)
                if any(c.violation(there) > -RETREAT_MARGIN for c in constraints):
                    continue
                try:
                    return self.arm.follow(timed(np.stack([start, T_back, T_end])), q)
                except Unreachable:
                    continue
        raise Unreachable("no way back for the hand")

    # --- sub-goals

    def _joint_goal(self, stage: Stage) -> tuple[int, float]:
        """Address in qpos of the joint that a sub-goal is about, and the value that meets it."""
        constraints = tuple(parse(text) for text in stage.subgoal)
        (joint,) = set[str]().union(*(c.names()[1] for c in constraints))
        address = self.cell.joint_address(joint)
        low, high = self.cell.model.jnt_range[self.cell.joint_at(address)]
        limits = (float(low), float(high))
        return address, solve_joint(constraints, self.arm.values(), joint, limits)


def _turns(T: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Angles (rad) between a pose and each of the others."""
    return np.linalg.norm(pose.matrix_to_rotvec(T[:3, :3].T @ others[:, :3, :3]), axis=-1)


def _along_approach(distance: float) -> np.ndarray:
    return pose.from_parts(np.array([0.0, 0.0, distance]), np.eye(3))
