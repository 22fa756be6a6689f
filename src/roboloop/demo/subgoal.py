"""Sub-goals in joint space: where the arm should be at the end of a stage.

The hand's pose follows from exact kinematics; keypoints of what it holds move with it. Constraints
hold to the solver's precision, joint limits are bounds, and among the positions that are left the
cheapest is taken: near the start, clear of obstacles, in a natural posture.
"""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float

from roboloop import pose
from roboloop.demo.optimize import Evaluation, Minimum, minimise
from roboloop.demo.shapes import Shapes
from roboloop.kinematics import Chain, hand_jacobian
from roboloop.task.constraints import Constraint
from roboloop.task.expression import Program, Tangents, Values, make

SMOOTH = 1e-4
"""Lengths are rounded off below this (m, rad), so that a cost has a slope at zero."""


@dataclass(frozen=True)
class Weights:
    """What a sub-goal costs."""

    collision: float = 0.8
    """For every collision point and metre that it is closer than `margin`."""
    margin: float = 0.10
    position: float = 1.0
    """For the hand's way from the start, per m."""
    rotation: float = 1.5
    """The same, per rad."""
    posture: float = 0.2
    """For the distance from the resting posture in joint space without the last joint, per rad."""
    downwards: float = 0.0
    """For the approach axis' departure from straight down, 1 - cos."""


@dataclass(frozen=True)
class Reach:
    """An arm, what it holds, and what is around it."""

    chain: Chain
    T_world_base: Float[np.ndarray, "4 4"]
    q: Float[np.ndarray, "n"]
    """The arm now."""
    rest: Float[np.ndarray, "n"]
    """A natural posture."""
    held: dict[str, Float[np.ndarray, "3"]]
    """Points that move with the hand, in its frame; `robot.eef` is its origin."""
    values: Values
    """All other points, and joints."""
    body: Float[np.ndarray, "P 3"]
    """Points on the hand and on what it holds, in the hand's frame."""
    shapes: Shapes
    approach: Float[np.ndarray, "3"]
    """The hand's approach axis in its frame."""
    T_from: Float[np.ndarray, "4 4"] | None = None
    """Pose of the hand now, where `q` is only near; None: where `q` brings it."""

    def hand(
        self, q: Float[np.ndarray, "B n"]
    ) -> tuple[Float[np.ndarray, "B 4 4"], Float[np.ndarray, "B 6 n"]]:
        """Poses of the hand in the world and how joints change them: m and rad, world axes."""
        T, J = hand_jacobian(self.chain, q)
        R = self.T_world_base[:3, :3]
        return self.T_world_base @ T, np.concatenate([R @ J[:, :3], R @ J[:, 3:]], 1)

    @cached_property
    def T_now(self) -> Float[np.ndarray, "4 4"]:  # noqa: N802
        """Pose of the hand now."""
        return self.hand(self.q[None])[0][0] if self.T_from is None else self.T_from


class Residuals:
    """Constraints in the form that a solver likes.

    `norm(v) < c` with a `c` that is next to nothing asks for `v = 0`, component by component: that
    has a slope where the norm has none.
    """

    def __init__(self, constraints: tuple[Constraint, ...]) -> None:
        roots, bounds = [], []
        for constraint in constraints:
            node = constraint.node
            if node.op == "sub" and node.args[1].op == "constant" and node.args[1].item[0] < SMOOTH:
                node = node.args[0]
            if node.op == "constant":
                continue
            inner = node.args[0] if node.op in ("norm", "abs") else None
            if inner is None:
                roots.append(node)
                bounds.append(True)
            else:
                parts = range(inner.size) if inner.size else ()
                vector = [make("pick", inner, item=(i,)) for i in parts] or [inner]
                roots.extend(vector)
                bounds.extend([False] * len(vector))
        self._program = Program(roots)
        self.is_bound: Bool[np.ndarray, m] = np.array(bounds, bool)

    def __call__(
        self, values: Values, tangents: Tangents, shape: tuple[int, ...], n: int
    ) -> tuple[Float[np.ndarray, "*B m"], Float[np.ndarray, "*B m n"]]:
        """Evaluate them and their derivatives; `shape` is that of the batch."""
        if not self.is_bound.size:
            return np.zeros((*shape, 0)), np.zeros((*shape, 0, n))
        duals = self._program.differentiate(values, tangents)
        nothing = np.zeros(n)
        c = [np.broadcast_to(v, shape) for v, _ in duals]
        J = [np.broadcast_to(nothing if t is None else t, (*shape, n)) for _, t in duals]
        return np.stack(c, -1), np.stack(J, -2)


def moving_points(
    reach: Reach, T: Float[np.ndarray, "*B 4 4"], J: Float[np.ndarray, "*B 6 n"]
) -> tuple[Values, Tangents]:
    """Keypoints with the hand at poses `T`, and their derivatives."""
    points, tangents = dict(reach.values.points), {}
    for name, p in reach.held.items():
        arm = T[..., :3, :3] @ p
        points[name] = T[..., :3, 3] + arm
        tangents[name] = J[..., :3, :] + _cross_columns(J[..., 3:, :], arm)
    return replace(reach.values, points=points), Tangents(tangents, {})


def _cross_columns(
    turn: Float[np.ndarray, "*B 3 n"], arm: Float[np.ndarray, "*B 3"]
) -> Float[np.ndarray, "*B 3 n"]:
    """Turn x arm, for every column of `turn`."""
    x, y, z = (turn[..., i, :] for i in range(3))
    a, b, c = (arm[..., i, None] for i in range(3))
    return np.stack([y * c - z * b, z * a - x * c, x * b - y * a], -2)


def solve_subgoal(
    reach: Reach,
    constraints: tuple[Constraint, ...],
    weights: Weights,
    starts: Float[np.ndarray, "B n"],
    n_iterations: int,
    penalty: tuple[float, float] | None = None,
) -> Minimum:
    """Find the cheapest arm position at which constraints hold, from several starts.

    Args:
        reach: The arm and its surroundings.
        constraints: What has to hold.
        weights: What it costs.
        starts: Arm positions to search from.
        n_iterations: At most so many evaluations of all starts.
        penalty: See `minimise`.
    """
    residuals = Residuals(constraints)

    def evaluate(q: np.ndarray) -> Evaluation:
        T, J = reach.hand(q)
        cost, gradient = _cost(reach, weights, q, T, J)
        c, Jc = residuals(*moving_points(reach, T, J), (len(q),), q.shape[1])
        return Evaluation(cost, gradient, c, Jc, residuals.is_bound)

    low, high = reach.chain.limits.T
    options = {} if penalty is None else {"penalty": penalty}
    return minimise(evaluate, starts, low, high, n_iterations, **options)


def _cost(
    reach: Reach, weights: Weights, q: np.ndarray, T: np.ndarray, J: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Cost of arm positions and its gradient."""
    way = T[:, :3, 3] - reach.T_now[:3, 3]
    turn = pose.matrix_to_rotvec(T[:, :3, :3] @ reach.T_now[:3, :3].T)
    off = (q - reach.rest)[:, :-1]
    cost, gradient = collision(reach, weights, T, J)
    for weight, v, Jv in (
        (weights.position, way, J[:, :3]),
        (weights.rotation, turn, J[:, 3:]),
        (weights.posture, off, np.eye(q.shape[1])[None, :-1]),
    ):
        length = np.sqrt((v * v).sum(1) + SMOOTH**2)
        cost = cost + weight * length
        gradient = gradient + weight * ((v / length[:, None])[:, None] @ Jv)[:, 0]
    if weights.downwards:
        axis = T[:, :3, :3] @ reach.approach
        cost = cost + weights.downwards * (1 + axis[:, 2])
        gradient = gradient + weights.downwards * _cross_columns(J[:, 3:], axis)[:, 2]
    return cost, gradient


def collision(
    reach: Reach, weights: Weights, T: np.ndarray, J: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Cost of being close to things, and its gradient; see `Weights.collision`."""
    arms = reach.body @ np.swapaxes(T[:, :3, :3], 1, 2)
    distance, ways = reach.shapes.nearest(arms + T[:, None, :3, 3])
    close = weights.margin - distance
    pull = np.where(close[..., None] > 0, -ways, 0.0)
    force, torque = pull.sum(1), np.cross(arms, pull).sum(1)
    gradient = (force[:, None] @ J[:, :3] + torque[:, None] @ J[:, 3:])[:, 0]
    return weights.collision * np.maximum(close, 0).sum(1), weights.collision * gradient
