"""Sub-goals and paths of one arm among obstacles, in joint space.

Constraints hold to the solver's precision, joint limits are bounds, and of what is left the
cheapest is taken. Every search starts from several positions, the same ones each time.
"""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Int

from roboloop import pose
from roboloop.demo.geometry import BOX, CAPSULE, CYLINDER, distances
from roboloop.demo.minimise import PENALTY, Minimum, minimise
from roboloop.demo.terms import SMOOTH, Terms
from roboloop.kinematics import Chain, joint_frames
from roboloop.task.constraints import Constraint
from roboloop.task.expression import Program, Values

KINDS = {"box": BOX, "capsule": CAPSULE, "cylinder": CYLINDER}
WARM_PENALTY = (1e4, 1e6)
"""Weights of the squared violation where the start is nearly the answer."""
N_SAMPLES = 13
"""Samples of each piece of a path."""


@dataclass(frozen=True)
class Shapes:
    """M primitives in the world; see `geometry.nearest`. Nothing is rasterised."""

    kinds: Int[np.ndarray, "M"]
    """Values of `KINDS`."""
    Ts_world_shape: Float[np.ndarray, "M 4 4"]
    sizes: Float[np.ndarray, "M 3"]

    def distance(self, p: Float[np.ndarray, "*B 3"]) -> Float[np.ndarray, "*B"]:
        """Signed distance of points to the nearest shape, m; negative inside."""
        flat = np.ascontiguousarray(p, float).reshape(-1, 3)
        found = distances(self.kinds, self.Ts_world_shape, self.sizes, flat)
        return found.reshape(p.shape[:-1])


@dataclass(frozen=True)
class Weights:
    """What a sub-goal, or a path, costs."""

    collision: float
    """For every point of the body and metre that it is closer than `margin`; on a path, for every
    `step` or `turn` of it."""
    margin: float
    """m."""
    position: float
    """For the hand's way, per m."""
    rotation: float
    """For its turning, per rad."""
    posture: float = 0.0
    """For the distance from the resting posture, without the last joint, per rad."""
    downwards: float = 0.0
    """For the approach axis' departure from straight down, times 1 - cos."""
    step: float = 0.02
    """m."""
    turn: float = 0.1
    """rad."""


@dataclass(frozen=True)
class Reach:
    """An arm, what it holds, and what is around it."""

    chain: Chain
    T_world_base: Float[np.ndarray, "4 4"]
    T_start: Float[np.ndarray, "4 4"]
    """Pose of the hand now, in the world."""
    q: Float[np.ndarray, "n"]
    """The arm now, or a position close to that."""
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
    workspace: Float[np.ndarray, "2 3"]
    """Corners of the box that the body should stay in."""

    def hand(self, q: Float[np.ndarray, "n"]) -> Float[np.ndarray, "4 4"]:
        """Pose of the hand in the world."""
        return self.T_world_base @ joint_frames(self.chain, q[None])[-1][0]

    def values_at(self, T: Float[np.ndarray, "4 4"]) -> Values:
        """Keypoints with the hand at a pose."""
        held = {name: pose.transform(T, p) for name, p in self.held.items()}
        return replace(self.values, points={**self.values.points, **held})


class Solver:
    """Solves one stage's sub-goal, or its path.

    Args:
        reach: The arm and its surroundings.
        constraints: What has to hold: at the sub-goal, or all along the path.
        weights: What it costs.
    """

    def __init__(self, reach: Reach, constraints: tuple[Constraint, ...], weights: Weights) -> None:
        self.reach, self.weights = reach, weights
        self._residuals = _Residuals(constraints)

    def subgoal(
        self,
        starts: Float[np.ndarray, "B n"],
        n_iterations: int,
        penalty: tuple[float, float] = PENALTY,
    ) -> Minimum:
        """Find the cheapest arm position at which the constraints hold; see `minimise`."""
        terms = self._terms(self.reach.T_start, 0)
        low, high = self.reach.chain.limits.T
        bounds = self._residuals.is_bound
        return minimise(terms, bounds, starts.copy(), low, high, n_iterations, penalty)

    def path(
        self,
        T_goal: Float[np.ndarray, "4 4"],
        starts: Float[np.ndarray, "B C n"],
        n_iterations: int,
        penalty: tuple[float, float] = PENALTY,
    ) -> Minimum:
        """Find the cheapest C waypoints between the start and a goal.

        `x` of the result holds them one after another: (B, C * n).
        """
        n_starts, n_waypoints, n = starts.shape
        terms = self._terms(T_goal, n_waypoints)
        low, high = (np.tile(limit, n_waypoints) for limit in self.reach.chain.limits.T)
        bounds = np.tile(self._residuals.is_bound, (n_waypoints + 1) * (N_SAMPLES - 1) - 1)
        flat = starts.reshape(n_starts, n_waypoints * n)
        return minimise(terms, bounds, flat.copy(), low, high, n_iterations, penalty)

    def _terms(self, T_goal: np.ndarray, n_waypoints: int) -> Terms:
        reach, weights, residuals = self.reach, self.weights, self._residuals
        chain, shapes, program = reach.chain, reach.shapes, residuals.program
        both = {**reach.values.points, **reach.held}
        points = np.array([both[name] for name in program.points], float).reshape(-1, 3)
        return Terms(
            chain.M, chain.axis, chain.T_last_eef, reach.T_world_base, reach.rest, reach.approach,
            reach.T_start, T_goal, reach.body, reach.workspace, shapes.kinds, shapes.Ts_world_shape, shapes.sizes,
            program.tape, residuals.roots, points,
            np.array([name in reach.held for name in program.points], bool),
            np.array([float(reach.values.joints[name]) for name in program.joints]),
            weights.collision, weights.margin, weights.position, weights.rotation,
            weights.posture, weights.downwards, weights.step, weights.turn, n_waypoints, N_SAMPLES,
        )  # fmt: skip


class _Residuals:
    """Constraints in the form that a solver likes.

    `norm(v) < c` with a `c` that is next to nothing asks for `v = 0`, component by component: that
    has a slope where the norm has none.
    """

    def __init__(self, constraints: tuple[Constraint, ...]) -> None:
        nodes, roots, bounds = [], [], []
        for constraint in constraints:
            node = constraint.node
            if node.op == "sub" and node.args[1].op == "constant" and node.args[1].item[0] < SMOOTH:
                node = node.args[0]
            if node.op == "constant":  # nothing that a pose could change
                continue
            is_zero = node.op == "norm" or (node.op == "abs" and not node.size)
            node = node.args[0] if is_zero else node
            roots.extend((len(nodes), part) for part in range(max(node.size, 1)))
            bounds.extend([not is_zero] * max(node.size, 1))
            nodes.append(node)
        self.program = Program(nodes)
        places = [(self.program.roots[i], part) for i, part in roots]
        self.roots: Int[np.ndarray, "m 2"] = np.array(places, int).reshape(-1, 2)
        self.is_bound: Bool[np.ndarray, "m"] = np.array(bounds, bool)


def best_of(found: Minimum, n: int = 1, exact: float = 1e3) -> Int[np.ndarray, "n"]:
    """The starts that ended best, by cost and what is violated."""
    return np.argsort(found.cost + exact * found.violation, kind="stable")[:n]
