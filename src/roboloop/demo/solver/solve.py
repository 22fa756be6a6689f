"""Sub-goals and paths of one arm among obstacles, in joint space.

Constraints hold to the solver's precision, joint limits are bounds, and of what is left the
cheapest is taken. Every search starts from several positions, the same ones each time.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import combinations, pairwise
from time import process_time

import numpy as np
from jaxtyping import Float, Int

from roboloop import kinematics, pose
from roboloop.demo.solver.geometry import FAR
from roboloop.demo.solver.minimise import EXACT, PENALTY, Minimum, minimise
from roboloop.demo.solver.reach import Reach, Weights
from roboloop.demo.solver.terms import SMOOTH, Terms, stepwise_cost
from roboloop.errors import unknown_name
from roboloop.kinematics import solve as inverse_kinematics
from roboloop.task.constraints import Constraint
from roboloop.task.expression import Node, Program

WARM_PENALTY = (1e4, 1e6)
"""Weights of the squared violation where the start is nearly the answer."""
WALL, NO_WALL = 0.01, 1e-9
"""The workspace's border starts to cost this far inside, m; a slope leads back."""
N_SAMPLES = 10
"""Samples of each piece of a path."""
N_STARTS, START_SPREAD = 40, 0.5
"""Searches for a sub-goal: from the arm now, and from around it (rad)."""
LAST_SPREAD = 3.0
"""The last joint, which turns the hand, starts from so much farther around."""
N_KEPT, APART = 8, 0.15
"""Searches that go on after the first evaluations, and how far apart they are then, rad."""
AS_GOOD = 1e-3
"""Costs that differ by less are the same."""
N_FIRST, N_LAST = 30, 60
N_PATH_FIRST, N_PATH_LAST, N_PATH_WARM = 18, 30, 15
"""Evaluations of each search at most, at first and of those that go on."""
N_STEPPED, STEPPED = 150, (0.1, -0.07, 0.05, -0.035)
"""Evaluations of the stepwise cost in a round, and the first change of a joint in each, rad: the
cost jumps, so that one search gets stuck."""
VIAS = np.array([(0.5, 0), (0.5, 0.08), (0.25, 0.05), (0.75, 0.05), (0.1, 0.1), (0.9, 0.1)])[
    :, None
]
VIAS_OF_TWO = np.array(
    [[(0.33, 0), (0.67, 0)], [(0.2, 0.1), (0.8, 0.1)], [(0.1, 0.15), (0.5, 0.1)]]
)
"""Where searches for a path start: shares of the way, and lifts (m)."""
IK = kinematics.Weights(0.001, 0.01, 0.01)


@dataclass(frozen=True)
class Answer:
    """Where the arm should go, and what is known of it."""

    q: Float[np.ndarray, "C n"]
    """The arm at the sub-goal (C is 1), or at the path's waypoints."""
    cost: float
    violation: float
    """The largest of a constraint, in its unit."""
    clearance: float
    """Smallest distance between the body and an obstacle, m; negative where they overlap."""
    problem: str
    """Why it is no solution, in a sentence; empty for a solution."""
    n_evaluations: int
    cpu_s: float


class Solver:
    """Solves one stage's sub-goals, or its paths.

    Args:
        reach: The arm and its surroundings.
        constraints: What has to hold: at the sub-goal, or all along the path.
        weights: What it costs.
    """

    def __init__(self, reach: Reach, constraints: tuple[Constraint, ...], weights: Weights) -> None:
        self.reach, self.weights, self._constraints = reach, weights, constraints
        self._residuals = _Residuals(constraints)

    def subgoal(
        self, rng: np.random.Generator, warm: Float[np.ndarray, "n"] | None = None
    ) -> Answer:
        """Find the cheapest arm position at which the constraints hold; see `subgoals`."""
        return self.subgoals(rng, warm)[0]

    def subgoals(
        self, rng: np.random.Generator, warm: Float[np.ndarray, "n"] | None = None
    ) -> list[Answer]:
        """Find arm positions at which the constraints hold, the cheapest first.

        Args:
            rng: Draws where searches start.
            warm: The answer of a moment ago, if there is one: the only start then.
        """
        begin = process_time()
        reach = self.reach
        if warm is None:
            spread = START_SPREAD * rng.normal(size=(N_STARTS - 1, len(reach.q)))
            spread[:, -1] *= LAST_SPREAD
            found = self._search(np.vstack([reach.q, reach.q + spread]), 0, N_FIRST, PENALTY)
            n_before = found.n_evaluations
            again = np.ascontiguousarray(found.x[_apart(found)])
        else:
            n_before, again = 0, warm[None]
        found = self._search(again, 0, N_LAST, WARM_PENALTY)
        first = _nearest(found, reach.q)
        order = [first, *(int(i) for i in _best(found, len(found.x)) if i != first)]
        Ts = [reach.hand(found.x[i]) for i in order]
        return [
            self._answer(i, found.x[[i]], T[None], found, n_before, self._unsolved(T), begin)
            for i, T in zip(order, Ts, strict=True)
        ]

    def path(
        self, T_goal: Float[np.ndarray, "4 4"], warm: Float[np.ndarray, "C n"] | None = None
    ) -> Answer:
        """Find the cheapest waypoints between the start and a goal: one, or two if that is better.

        The hand moves straight between them and turns along the shortest rotation. Where the cost
        is summed over steps, see `Weights.stepwise`, there may be none.
        """
        begin = process_time()
        if warm is not None and not len(warm):
            straight = self._straight(T_goal, begin)
            if not straight.problem:
                return straight
            warm = self._starts(T_goal, VIAS[:1])[0]
        if warm is not None:
            found = self._search(warm[None], len(warm), N_PATH_WARM, WARM_PENALTY, T_goal)
            found = [found]
        else:
            found = [self._way(T_goal, VIAS, 2), self._way(T_goal, VIAS_OF_TWO, 1)]
        n = len(self.reach.q)
        costs = []
        for each in found:
            first = _best(each)[0]
            n_waypoints = each.x.shape[1] // n
            costs.append(
                each.cost[first]
                + EXACT * each.violation[first]
                + self.weights.waypoint * n_waypoints
            )
        best = found[int(np.argmin(costs))]
        chosen = _best(best)[0]
        q = best.x[chosen].reshape(-1, n)
        if self.weights.stepwise and warm is None:
            q = self._stepped(q, T_goal)
            straight = self._straight(T_goal, begin)
            cost = self._walked(q, T_goal) + self.weights.waypoint * len(q)
            if not straight.problem and straight.cost < cost:
                return straight
        Ts = self.samples([self.reach.hand(each) for each in q], T_goal)
        problem = next((p for T in Ts[1:-1] if (p := self._unsolved(T))), "")
        n_before = sum(each.n_evaluations for each in found) - best.n_evaluations
        return self._answer(int(chosen), q, Ts[1:-1], best, n_before, problem, begin)

    def _straight(self, T_goal: np.ndarray, begin: float) -> Answer:
        """The path without a waypoint, at what it costs step by step."""
        q = np.empty((0, len(self.reach.q)))
        Ts = self.samples([], T_goal)[1:-1]
        problem = next((p for T in Ts if (p := self._unsolved(T))), "")
        values = self.reach.values_at(Ts)
        off = [float(np.max(c.violation(values))) for c in self._constraints]
        cost, worst = self._walked(q, T_goal), max([0.0, *off])
        return Answer(q, cost, worst, self._clearance(Ts), problem, 1, process_time() - begin)

    def samples(
        self, waypoints: list[Float[np.ndarray, "4 4"]], T_goal: Float[np.ndarray, "4 4"]
    ) -> Float[np.ndarray, "T 4 4"]:
        """Poses along a path, `N_SAMPLES` a piece, both ends included."""
        Ts, s = [self.reach.T_start, *waypoints, T_goal], np.linspace(0, 1, N_SAMPLES)
        pieces = [pose.interpolate(a, b, s) for a, b in pairwise(Ts)]
        return np.concatenate([pieces[0][:1], *(piece[1:] for piece in pieces)])

    def _way(self, T_goal: np.ndarray, vias: np.ndarray, n_kept: int) -> Minimum:
        """Search for a path from waypoints at shares of the way, lifted; the best ones further."""
        n_waypoints, starts = vias.shape[1], self._starts(T_goal, vias)
        found = self._search(starts, n_waypoints, N_PATH_FIRST, PENALTY, T_goal)
        again = np.ascontiguousarray(found.x[_best(found, n_kept)]).reshape(n_kept, n_waypoints, -1)
        last = self._search(again, n_waypoints, N_PATH_LAST, WARM_PENALTY, T_goal)
        return replace(last, n_evaluations=last.n_evaluations + found.n_evaluations)

    def _starts(
        self, T_goal: np.ndarray, vias: Float[np.ndarray, "B C 2"]
    ) -> Float[np.ndarray, "B C n"]:
        """The arm at waypoints that are given as shares of the way, and lifts."""
        reach, (shares, lifts) = self.reach, vias.reshape(-1, 2).T
        Ts = pose.interpolate(reach.T_start, T_goal, shares)
        Ts[:, 2, 3] += lifts
        Ts = pose.inverse(reach.T_world_base) @ Ts
        q = inverse_kinematics(reach.chain, Ts, np.tile(reach.q, (len(Ts), 1)), reach.q, IK, 0).q
        return q.reshape(*vias.shape[:2], -1)

    def _stepped(self, q: np.ndarray, T_goal: np.ndarray) -> np.ndarray:
        """Move waypoints to where the cost summed over steps is lower; see `Weights.stepwise`."""
        from scipy import optimize  # hardly ever needed, and a third of a second to import

        terms = self._terms(T_goal, len(q), NO_WALL)
        low, high = np.tile(self.reach.chain.limits, (len(q), 1)).T
        best = q.ravel()
        for size in STEPPED:
            best = optimize.minimize(
                lambda x: stepwise_cost(terms, np.clip(x, low, high), EXACT), best,
                method="Nelder-Mead",
                options={
                    "maxfev": N_STEPPED,
                    "initial_simplex": np.vstack([best, best + size * np.eye(len(best))]),
                },
            ).x  # fmt: skip
        return np.clip(best, low, high).reshape(q.shape)

    def _walked(self, q: np.ndarray, T_goal: np.ndarray) -> float:
        """The cost of a path summed over steps, violations included."""
        return float(stepwise_cost(self._terms(T_goal, len(q), NO_WALL), q.ravel(), EXACT))

    def _search(
        self,
        starts: np.ndarray,
        n_waypoints: int,
        n_iterations: int,
        penalty: tuple[float, float],
        T_goal: np.ndarray | None = None,
    ) -> Minimum:
        bounds, limits = self._residuals.is_bound, self.reach.chain.limits
        if n_waypoints:
            bounds = np.tile(bounds, (n_waypoints + 1) * (N_SAMPLES - 1) - 1)
            limits = np.tile(limits, (n_waypoints, 1))
        terms = self._terms(self.reach.T_start if T_goal is None else T_goal, n_waypoints)
        return minimise(
            terms, bounds, starts.reshape(len(starts), -1), limits, n_iterations, penalty
        )

    def _answer(
        self,
        chosen: int,
        q: np.ndarray,
        Ts: np.ndarray,
        found: Minimum,
        n_before: int,
        problem: str,
        begin: float,
    ) -> Answer:
        n_evaluations = found.n_evaluations + n_before
        cost, violation = float(found.cost[chosen]), float(found.violation[chosen])
        spent = process_time() - begin
        return Answer(q, cost, violation, self._clearance(Ts), problem, n_evaluations, spent)

    def _clearance(self, Ts: np.ndarray) -> float:
        """The smallest distance between the body, at several poses, and an obstacle, m."""
        body = pose.transform(Ts[:, None], self.reach.body)
        return float(self.reach.shapes.distance(body).min(initial=FAR))

    def _unsolved(self, T: np.ndarray) -> str:
        """The constraint that fails most with the hand at a pose, in a sentence; else empty."""
        values = self.reach.values_at(T)
        off = [(float(c.violation(values)) / c.tolerance, c) for c in self._constraints]
        worst, constraint = max(off, key=lambda each: each[0], default=(0.0, None))
        if constraint is None or worst <= 1:
            return ""
        unit = "" if constraint.unit == "1" else f" {constraint.unit}"
        by = f"{worst * constraint.tolerance:.3g}{unit}"
        return f"out of reach: that {constraint.sentence} fails by {by} at best"

    def _terms(self, T_goal: np.ndarray, n_waypoints: int, wall: float = WALL) -> Terms:
        reach, weights, residuals = self.reach, self.weights, self._residuals
        chain, shapes, program = reach.chain, reach.shapes, residuals.program
        both = {**reach.values.points, **reach.held}
        points = np.array([_named(both, name) for name in program.points], float).reshape(-1, 3)
        joints = [float(_named(reach.values.joints, name)) for name in program.joints]
        return Terms(
            M=_plain(chain.M),
            axis=_plain(chain.axis),
            T_last=_plain(chain.T_last_eef),
            T_world_base=_plain(reach.T_world_base),
            rest=_plain(reach.rest),
            approach=_plain(reach.approach),
            T_start=_plain(reach.T_start),
            T_goal=_plain(T_goal),
            body=_plain(reach.body),
            body_radius=float(np.linalg.norm(reach.body, axis=1).max(initial=0.0)),
            workspace=_plain(reach.workspace),
            kinds=np.array(shapes.kinds, np.int64),
            shapes=_plain(shapes.Ts_world_shape),
            sizes=_plain(shapes.sizes),
            tape=program.tape,
            roots=residuals.roots,
            points=points,
            held=np.array([name in reach.held for name in program.points], bool),
            joints=np.array(joints, float),
            collision=float(weights.collision),
            margin=float(weights.margin),
            position=float(weights.position),
            rotation=float(weights.rotation),
            posture=float(weights.posture),
            downwards=float(weights.downwards),
            step=float(weights.step),
            turn=float(weights.turn),
            wall=float(wall),
            n_waypoints=n_waypoints,
            n_samples=N_SAMPLES,
        )


def _plain(array: np.ndarray) -> np.ndarray:
    """A copy of one kind of array: compiled code is made anew for every other kind."""
    return np.array(array, float, order="C")


def why_not(
    reach: Reach, constraints: tuple[Constraint, ...], weights: Weights, rng: np.random.Generator
) -> str:
    """Say which constraint, or which two together, cannot hold; empty if all can."""
    for n in (1, 2, len(constraints)):
        for some in combinations(constraints, n):
            problem = Solver(reach, some, weights).subgoal(rng).problem
            if problem and n == 2:
                first, second = (each.sentence for each in some)
                return f"that {first} and that {second} cannot both be reached"
            if problem:
                return problem
    return ""


class _Residuals:
    """Constraints in the form that a solver likes.

    `norm(v) < c` with a `c` that is next to nothing asks for `v = 0`, component by component: that
    has a slope where the norm has none.
    """

    def __init__(self, constraints: tuple[Constraint, ...]) -> None:
        nodes, roots, bounds = [], [], []
        for constraint in constraints:
            node = constraint.node
            if node.op == "constant":  # nothing that a pose could change
                continue
            whole = node.args[0] if node.op == "sub" and _next_to_nothing(node.args[1]) else node
            is_zero = whole.op == "norm" or (whole.op == "abs" and not whole.size)
            node = whole.args[0] if is_zero else node
            roots.extend((len(nodes), part) for part in range(max(node.size, 1)))
            bounds.extend([not is_zero] * max(node.size, 1))
            nodes.append(node)
        self.program = Program(nodes)
        places = [(self.program.roots[i], part) for i, part in roots]
        self.roots = np.array(places, int).reshape(-1, 2)
        """(m, 2) place on the tape and component of every constraint."""
        self.is_bound = np.array(bounds, bool)
        """(m,) whether it is to be at most zero, rather than zero."""


def _next_to_nothing(node: Node) -> bool:
    return node.op == "constant" and 0 <= float(node.item[0]) < SMOOTH


def _named(table: Mapping[str, np.ndarray], name: str) -> np.ndarray:
    if name not in table:
        raise unknown_name("keypoint or joint", name, table)
    return table[name]


def _nearest(found: Minimum, q: Float[np.ndarray, "n"]) -> int:
    """Of the starts that ended as well as the best, the one nearest to a position."""
    rank = found.cost + EXACT * found.violation
    good = np.flatnonzero(rank <= rank.min() + AS_GOOD)
    return int(good[np.argmin(np.linalg.norm(found.x[good] - q, axis=1))])


def _apart(found: Minimum) -> list[int]:
    """The best starts that ended apart from each other, at most `N_KEPT`."""
    chosen: list[int] = []
    for i in map(int, _best(found, len(found.x))):
        away = np.abs(found.x[chosen] - found.x[i]).max(1, initial=0.0)
        if (away > APART).all() and len(chosen) < N_KEPT:
            chosen.append(i)
    return chosen


def _best(found: Minimum, n: int = 1) -> Int[np.ndarray, "n"]:
    """The starts that ended best, by cost and what is violated."""
    return np.argsort(found.cost + EXACT * found.violation, kind="stable")[:n]
