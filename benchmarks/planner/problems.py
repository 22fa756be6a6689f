"""Ten sub-goal and path problems of four tasks, as data: start, keypoints, constraints, obstacles.

World: z up, m. The hand's frame: x is the approach axis, y the way the fingers close. Constraints
are the functions in the `.txt` files beside this one; keypoints are `k0`, `k1`, ....
"""

import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from roboloop import pose
from roboloop.demo.solver.reach import KINDS, Reach, Shapes, spread
from roboloop.kinematics import Chain, rodrigues_terms
from roboloop.task.constraints import Constraint
from roboloop.task.expression import Values
from roboloop.task.functions import parse_functions

HERE = Path(__file__).parent
N_SURFACE = 1000
N_POINTS = 60
SHIFT = np.array([0.01, -0.01, 0.0])
"""How what the hand does not hold has moved by the next control tick, m."""
ADVANCE = 0.2
"""Share of the way to the goal that the hand has gone by then."""
# modified Denavit-Hartenberg parameters: Franka Emika, "Robot and interface specifications"
_A = (0.0, 0.0, 0.0, 0.0825, -0.0825, 0.0, 0.088)
_D = (0.333, 0.0, 0.316, 0.0, 0.384, 0.0, 0.0)
_ALPHA = np.array([0, -1, 1, 1, -1, 1, 1]) * np.pi / 2


@dataclass(frozen=True)
class Problem:
    """One stage: a sub-goal problem, and a path problem to a given goal."""

    name: str
    reach: Reach
    subgoal: tuple[Constraint, ...]
    path: tuple[Constraint, ...]
    is_grasp: bool
    T_world_goal: np.ndarray
    surface: np.ndarray
    """Many points on the hand and what it holds, in its frame: penetration is judged on them."""

    def warm(self) -> "Problem":
        """The problem one control tick later."""
        T = pose.interpolate(self.reach.T_start, self.T_world_goal, np.array([ADVANCE]))[0]
        moved = {k: p + SHIFT for k, p in self.reach.values.points.items()}
        reach = replace(self.reach, values=Values(moved, {}), T_start=T)
        goal = self.T_world_goal.copy()
        goal[:3, 3] += SHIFT
        return replace(self, reach=reach, T_world_goal=goal)


def load() -> list[Problem]:
    """Read all ten."""
    data = json.loads((HERE / "problems.json").read_text())
    chain = _panda(data["robot"])
    return [_problem(stage, data, chain) for stage in data["stages"]]


def pose7(T: np.ndarray) -> np.ndarray:
    """Position and quaternion (xyzw)."""
    return np.concatenate([T[:3, 3], np.roll(pose.matrix_to_quat(T[:3, :3]), -1)])


def matrix(p: list[float]) -> np.ndarray:
    """The pose of a position and quaternion (xyzw)."""
    p = np.array(p)
    return pose.from_parts(p[:3], pose.quat_to_matrix(np.roll(p[3:], 1)))


def _panda(robot: dict) -> Chain:
    fixed = []
    for a, d, alpha in zip(_A, _D, _ALPHA, strict=True):
        T = np.eye(4)
        T[:3, :3] = pose.rotvec_to_matrix(np.array([alpha, 0, 0]))
        T[:3, 3] = [a, -d * np.sin(alpha), d * np.cos(alpha)]
        fixed.append(T)
    z = np.array([0.0, 0, 1])
    M = np.stack([T @ rodrigues_terms(z) for T in fixed])
    flange = pose.from_parts(
        np.array([0, 0, robot["flange"] + robot["tcp"]]), pose.yaw_to_matrix(-np.pi / 4)
    )
    turned = np.eye(4)
    turned[:3, :3] = [[0, 0, -1], [0, 1, 0], [1, 0, 0]]
    limits = np.array([robot["q_min"], robot["q_max"]]).T
    return Chain(M, np.tile(z, (7, 1)), flange @ turned, limits)


def _problem(stage: dict, data: dict, chain: Chain) -> Problem:
    task, number = stage["name"].split("-")
    functions = parse_functions((HERE / f"{task}.txt").read_text(), len(stage["keypoints"]))
    constraints = functions[int(number) - 1]
    T_start = matrix(stage["start_pose"])
    T_eef_world = pose.inverse(T_start)
    points = {f"k{i}": np.array(p) for i, p in enumerate(stage["keypoints"])}
    held = {
        f"k{i}": pose.transform(T_eef_world, points[f"k{i}"]) for i in stage["movable_keypoints"]
    }
    rng = np.random.default_rng(0)
    boxes = data["hand_boxes_in_ee_frame"]
    hand = np.concatenate([_surface(box, N_SURFACE, rng) for box in boxes])
    rng = np.random.default_rng(1)
    carried = [_surface(p, N_SURFACE, rng) for p in stage["in_hand"]]
    carried = [pose.transform(T_eef_world, p) for p in carried]
    base = np.array(data["robot"]["base"])
    # the order of the points decides which are kept: all in the world first
    full = np.concatenate([hand, *carried])
    reach = Reach(
        chain,
        pose.from_parts(base, np.eye(3)),
        T_start,
        np.array(stage["q_start"]),
        np.array(data["robot"]["reset_q"]),
        {**held, "robot.eef": np.zeros(3)},
        Values({k: p for k, p in points.items() if k not in held}, {}),
        spread(full, N_POINTS),
        _shapes(stage["obstacles"]),
        np.array([1.0, 0, 0]),
        np.array([data["bounds_min"], data["bounds_max"]]),
    )
    goal = matrix(stage["path_goal_pose"])
    return Problem(
        stage["name"], reach, constraints.subgoal, constraints.path, stage["is_grasp_stage"], goal,
        full,
    )  # fmt: skip


def _shapes(obstacles: list[dict]) -> Shapes:
    kinds, Ts, sizes = [], [], []
    for o in obstacles:
        kinds.append(KINDS[o["type"]])
        if o["type"] == "capsule":
            a, b = np.array(o["a"]), np.array(o["b"])
            z = (b - a) / np.linalg.norm(b - a)
            x = np.cross(np.eye(3)[np.argmin(np.abs(z))], z)
            x /= np.linalg.norm(x)
            Ts.append(pose.from_parts((a + b) / 2, np.stack([x, np.cross(z, x), z], -1)))
            sizes.append([o["radius"], np.linalg.norm(b - a) / 2, 0])
        else:
            Ts.append(pose.from_parts(np.array(o["center"]), np.eye(3)))
            is_box = o["type"] == "box"
            sizes.append(o["half"] if is_box else [o["radius"], o["half_height"], 0])
    return Shapes(np.array(kinds), np.array(Ts), np.array(sizes, float))


def _surface(shape: dict, n: int, rng: np.random.Generator) -> np.ndarray:
    """Points on a primitive's surface."""
    if shape["type"] == "box":
        h = np.array(shape["half"])
        areas = np.repeat([h[1] * h[2], h[0] * h[2], h[0] * h[1]], 2)
        face = rng.choice(6, n, p=areas / areas.sum())
        p = rng.uniform(-1, 1, (n, 3)) * h
        p[np.arange(n), face // 2] = h[face // 2] * np.where(face % 2, 1, -1)
        return p + np.array(shape["center"])
    if shape["type"] == "cylinder":
        radius, half = shape["radius"], shape["half_height"]
        angle, z = rng.uniform(0, 2 * np.pi, n), rng.uniform(-half, half, n)
        return np.stack([radius * np.cos(angle), radius * np.sin(angle), z], -1) + shape["center"]
    a, b = np.array(shape["a"]), np.array(shape["b"])
    u = (b - a) / np.linalg.norm(b - a)
    v = np.cross(u, [1.0, 0.3, 0.2])
    v /= np.linalg.norm(v)
    angle, t = rng.uniform(0, 2 * np.pi, n), rng.uniform(0, 1, n)
    round_ = np.cos(angle)[:, None] * v + np.sin(angle)[:, None] * np.cross(u, v)
    return a + t[:, None] * (b - a) + shape["radius"] * round_
