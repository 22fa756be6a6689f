"""Forward and inverse kinematics of a serial arm, for a whole batch of configurations at once."""

from dataclasses import dataclass

import mujoco
import numpy as np
from jaxtyping import Bool, Float

from roboloop import pose

MAX_ITERATIONS = 40
POSITION_TOLERANCE, ROTATION_TOLERANCE = 5e-5, 5e-4
"""A pose is met below both, m and rad."""
MET_STEP, STUCK_STEP = 3e-3, 1e-5
"""Joint steps (rad) below which the iteration stops, where the pose is met and where it is not."""
DAMPING = 1e-5
HOME_WEIGHT = 1e-3
"""Pull towards home, where an error of `Weights` has 1: it moves what the task leaves free."""


@dataclass(frozen=True)
class Chain:
    """A serial chain of hinges from a base to the end effector.

    The transform of joint i, with its fixed offset, is `M[i, 0] + sin(q) M[i, 1] + (1 - cos(q))
    M[i, 2]`: Rodrigues' formula multiplied out.
    """

    M: Float[np.ndarray, "n 3 4 4"]
    axis: Float[np.ndarray, "n 3"]
    T_last_eef: Float[np.ndarray, "4 4"]
    limits: Float[np.ndarray, "n 2"]


@dataclass(frozen=True)
class Weights:
    """Errors that count alike in inverse kinematics: smaller means more important."""

    position: float
    """m."""
    approach: float
    """Tilt of the approach axis, rad."""
    closing: float
    """Turn of the closing axis about the approach axis, rad."""
    pitch: float | None = None
    """Tilt of the approach axis about the closing axis, rad; None is as `approach`."""


@dataclass(frozen=True)
class IkResult:
    """Solutions of inverse kinematics; the errors say how far each one misses."""

    q: Float[np.ndarray, "B n"]
    position_error: Float[np.ndarray, "B"]
    """m."""
    rotation_error: Float[np.ndarray, "B"]
    """rad."""


def read_chain(model: mujoco.MjModel, joints: tuple[str, ...], site: str) -> Chain:
    """Read the chain of hinges that moves a site out of a model."""
    body = int(model.site_bodyid[model.site(site).id])
    path = [body]
    while path[0]:
        path.insert(0, int(model.body_parentid[path[0]]))
    joint_of = {int(model.joint(name).bodyid[0]): model.joint(name) for name in joints}
    T, M, axes = np.eye(4), [], []
    for body in path:
        T = T @ _transform(model.body_pos[body], model.body_quat[body])
        if body in joint_of:
            M.append(T @ rodrigues_terms(joint_of[body].axis))
            axes.append(joint_of[body].axis.copy())
            T = np.eye(4)
    T_last_eef = T @ _transform(model.site(site).pos, model.site(site).quat)
    limits = np.array([model.joint(name).range for name in joints])
    return Chain(np.stack(M), np.stack(axes), T_last_eef, limits)


def _transform(p: Float[np.ndarray, "3"], quat: Float[np.ndarray, "4"]) -> np.ndarray:
    return pose.from_parts(p, pose.quat_to_matrix(quat))


def rodrigues_terms(axis: Float[np.ndarray, "3"]) -> Float[np.ndarray, "3 4 4"]:
    """The three matrices of a hinge about `axis`; see `Chain`."""
    x, y, z = axis
    K = np.zeros((4, 4))
    K[:3, :3] = [[0, -z, y], [z, 0, -x], [-y, x, 0]]
    return np.stack([np.eye(4), K, K @ K])


def end_effectors(chain: Chain, q: Float[np.ndarray, "B n"]) -> Float[np.ndarray, "B 4 4"]:
    """Return the poses of the end effector in the base frame."""
    from roboloop.chain import hands  # numba takes half a second to import

    Ts = np.empty((len(q), 4, 4))
    hands(_arrays(chain), np.ascontiguousarray(q, float), Ts)
    return Ts


def solve(
    chain: Chain,
    T_base_eefs: Float[np.ndarray, "B 4 4"],
    q_init: Float[np.ndarray, "B n"],
    home: Float[np.ndarray, "n"],
    weights: Weights,
    restarts: int,
) -> IkResult:
    """Find joint positions within limits that bring the end effector to poses.

    Every row starts from `q_init`; rows that miss start again, first from `home`, then from random
    positions, the same for all, and keep their best: no row depends on another.
    """
    best = _descend(chain, T_base_eefs, np.clip(q_init, *chain.limits.T), home, weights)
    rng = None
    for attempt in range(restarts):
        rows = np.flatnonzero(~_met(best))
        if not rows.size:
            break
        rng = rng or np.random.default_rng(0)
        start = rng.uniform(*chain.limits.T) if attempt else home
        again = _descend(chain, T_base_eefs[rows], np.tile(start, (len(rows), 1)), home, weights)
        better = _cost(again, weights) < _cost(best, weights)[rows]
        for old, new in zip(vars(best).values(), vars(again).values(), strict=True):
            old[rows[better]] = new[better]
    return best


def _met(result: IkResult) -> Bool[np.ndarray, "B"]:
    near = result.position_error < POSITION_TOLERANCE
    return near & (result.rotation_error < ROTATION_TOLERANCE)


def _cost(result: IkResult, weights: Weights) -> Float[np.ndarray, "B"]:
    turn = result.rotation_error / weights.approach
    return (result.position_error / weights.position) ** 2 + turn**2


def _descend(
    chain: Chain,
    T_base_eefs: Float[np.ndarray, "B 4 4"],
    q_start: Float[np.ndarray, "B n"],
    home: Float[np.ndarray, "n"],
    weights: Weights,
) -> IkResult:
    """Search from a start, every row by itself."""
    from roboloop.chain import descend  # as above

    pitch = weights.approach if weights.pitch is None else weights.pitch
    W = np.array([weights.position] * 3 + [weights.approach, pitch, weights.closing]) ** -2.0
    result = IkResult(np.array(q_start), np.zeros(len(q_start)), np.zeros(len(q_start)))
    Ts = np.ascontiguousarray(T_base_eefs, float)
    home = np.ascontiguousarray(home, float)
    arrays = _arrays(chain)
    descend(arrays, Ts, result.q, home, W, result.position_error, result.rotation_error)
    return result


def _arrays(chain: Chain) -> tuple[np.ndarray, ...]:
    """What compiled code is told of a chain."""
    return chain.M, chain.axis, chain.T_last_eef, chain.limits
