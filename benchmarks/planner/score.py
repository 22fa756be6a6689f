"""The published planner's objective, term by term, for any planner's answers.

Weights and rules are those of the released solvers of ReKep (Huang et al., CoRL 2024), restated:
collision sums over 60 points and all samples, samples every 2 cm or 0.1 rad, reachability counts
descents of an inverse-kinematics solver. A smooth cost it is not; it is the yardstick.
"""

from itertools import accumulate

import numpy as np
from problems import Problem
from scipy.interpolate import RegularGridInterpolator

from roboloop import pose
from roboloop.kinematics import Chain
from roboloop.task.constraints import Constraint

STEP, TURN = 0.02, 0.10
CELL = 0.01
NEAR, MARGIN, LENGTH = 0.5, 0.20, 4.0
"""Of the path objective: weight of what comes within the margin (m), and of lengths and turns."""
N_DESCENTS, N_ITERATIONS = 20, 20
IK_POSITION, IK_ROTATION = 0.01, 0.05


class Scorer:
    """Scores answers to one problem."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        low, high = problem.reach.workspace
        axes = [np.linspace(a, b, n) for a, b, n in zip(low, high, _cells(low, high), strict=True)]
        nodes = np.stack(np.meshgrid(*axes, indexing="ij"), -1)
        inside = -problem.reach.shapes.distance(nodes)
        self._depth = RegularGridInterpolator(axes, inside, bounds_error=False, fill_value=0)
        rng = np.random.default_rng(0)
        low_q, high_q = problem.reach.chain.limits.T
        self._seeds = np.vstack([problem.reach.q, rng.uniform(low_q, high_q, (63, 7))])

    def subgoal(self, T: np.ndarray) -> dict:
        """Score a pose of the hand as the answer to the sub-goal problem."""
        problem, reach = self.problem, self.problem.reach
        q, n_descents, reached = self._ik(T)
        off = np.linalg.norm(q[:-1] - reach.rest[:-1]) if reached else 3.0
        terms = {
            "collision": 0.8 * self._close(T, 0.10),
            "way": np.linalg.norm(T[:3, 3] - problem.reach.T_start[:3, 3])
            + 1.5 * _angle(problem.reach.T_start, T),
            "reach": 20.0 * n_descents / N_DESCENTS,
            "posture": 0.2 * min(off, 3.0),
            "downwards": 10.0 * (1 + T[2, 0]) if problem.is_grasp else 0.0,
        }
        violation = self.violation(T, problem.subgoal + problem.path)
        terms["constraint"] = 200.0 * violation.sum()
        return {
            "cost": float(sum(terms.values())),
            "terms": terms,
            "violation": float(violation.max(initial=0.0)),
            "penetration": self.penetration(T),
            "reached": reached,
        }

    def path(self, waypoints: list[np.ndarray]) -> dict:
        """Score waypoints between start and goal as the answer to the path problem."""
        problem = self.problem
        Ts = [problem.reach.T_start, *waypoints, problem.T_world_goal]
        dense = np.concatenate([_samples(a, b) for a, b in zip(Ts, Ts[1:], strict=False)])
        inner = dense[1:-1]
        steps = np.linalg.norm(np.diff(dense[:, :3, 3], axis=0), axis=1).sum()
        turns = sum(_angle(a, b) for a, b in zip(dense, dense[1:], strict=False))
        solved = [self._ik(T) for T in Ts]
        violation = np.array([self.violation(T, problem.path) for T in inner])
        terms = {
            "collision": NEAR * sum(self._close(T, MARGIN) for T in inner),
            "length": LENGTH * (steps + turns),
            "reach": sum(20.0 * n / N_DESCENTS for _, n, _ in solved),
            "constraint": 200.0 * violation.sum(),
        }
        return {
            "cost": float(sum(terms.values())),
            "terms": terms,
            "violation": float(violation.max(initial=0.0)),
            "penetration": max(self.penetration(T) for T in inner),
            "reached": all(reached for _, _, reached in solved),
        }

    def violation(self, T: np.ndarray, constraints: tuple[Constraint, ...]) -> np.ndarray:
        """By how much constraints fail with the hand at a pose."""
        values = self.problem.reach.values_at(T)
        return np.array([max(0.0, float(c.violation(values))) for c in constraints])

    def penetration(self, T: np.ndarray) -> float:
        """How deep any point of the hand or what it holds is in an obstacle, m; negative: free."""
        p = pose.transform(T, self.problem.surface)
        low, high = self.problem.reach.workspace
        p = p[((p >= low) & (p <= high)).all(1)]
        return float(self._depth(p).max()) if len(p) else -np.inf

    def _close(self, T: np.ndarray, margin: float) -> float:
        close = self._depth(pose.transform(T, self.problem.reach.body)) + margin
        return float(close[close > 0].sum())

    def _ik(self, T: np.ndarray) -> tuple[np.ndarray, int, bool]:
        """Damped least squares from the start, then from random positions: the published term."""
        reach = self.problem.reach
        target = pose.inverse(reach.T_world_base) @ T
        best, nearest = self._seeds[0], np.inf
        for n in range(N_DESCENTS):
            q, off, met = self._descend(self._seeds[n], target)
            if met:
                return q, n + 1, True
            if off < nearest:
                best, nearest = q, off
        return best, N_DESCENTS, False

    def _descend(self, q: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, float, bool]:
        chain = self.problem.reach.chain
        low, high = chain.limits.T
        off = np.inf
        for _ in range(N_ITERATIONS):
            T, J = _hand_jacobian(chain, q)
            error = np.concatenate(
                [target[:3, 3] - T[:3, 3], pose.matrix_to_rotvec(target[:3, :3] @ T[:3, :3].T)]
            )
            off, turn = np.linalg.norm(error[:3]), np.linalg.norm(error[3:])
            if off < IK_POSITION and turn < IK_ROTATION:
                return q, float(off), True
            damping = 1e-4 + 0.01 * (off**2 + 0.05 * turn**2)
            step = J.T @ np.linalg.solve(J @ J.T + damping * np.eye(6), error)
            q = np.clip(q + step * min(1.0, 0.6 / np.abs(step).max()), low, high)
        return q, float(off), False


def _cells(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    return np.ceil((high - low) / CELL).astype(int)


def _angle(T_a: np.ndarray, T_b: np.ndarray) -> float:
    return float(np.arccos(np.clip((np.trace(T_a[:3, :3] @ T_b[:3, :3].T) - 1) / 2, -1, 1)))


def _samples(T_a: np.ndarray, T_b: np.ndarray) -> np.ndarray:
    n = max(
        np.ceil(np.linalg.norm(T_a[:3, 3] - T_b[:3, 3]) / STEP), np.ceil(_angle(T_a, T_b) / TURN), 2
    )
    return pose.interpolate(T_a, T_b, np.linspace(0, 1, int(n)))


def _hand_jacobian(chain: Chain, q: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pose of the hand and how joints change it (m, then rad), in the base frame."""
    s, c = np.sin(q)[:, None, None], 1 - np.cos(q)[:, None, None]
    steps = chain.M[:, 0] + s * chain.M[:, 1] + c * chain.M[:, 2]
    frames = np.array(list(accumulate(steps, np.matmul)))
    T_eef = frames[-1] @ chain.T_last_eef
    axes = np.array([T[:3, :3] @ axis for T, axis in zip(frames, chain.axis, strict=True)])
    arms = T_eef[:3, 3] - frames[:, :3, 3]
    return T_eef, np.concatenate([np.cross(axes, arms).T, axes.T])
