"""What a sub-goal and a path cost, and their constraints, with exact derivatives: compiled code.

Sub-goal: n joint positions. Path: n joint positions for each of C waypoints; between the start, the
waypoints and the goal the hand moves straight and turns along the shortest rotation. The cost of a
path is an integral along it, so that it does not depend on where it is sampled.
"""

from typing import NamedTuple, no_type_check

import numpy as np

from roboloop.chain import (
    exp,
    hand_jacobian,
    inverse_right_jacobian,
    log,
    product,
    right_jacobian,
    times,
)
from roboloop.compiled import entry, inner
from roboloop.demo.solver.geometry import approach
from roboloop.task.tape import Tape, run

SMOOTH = 1e-4
"""Lengths are rounded off below this (m, rad), so that a cost has a slope at zero."""


@no_type_check
class Terms(NamedTuple):
    """A problem as arrays; see `Reach`, `Weights`."""

    M: np.ndarray
    axis: np.ndarray
    T_last: np.ndarray
    T_world_base: np.ndarray
    rest: np.ndarray
    approach: np.ndarray
    T_start: np.ndarray
    T_goal: np.ndarray
    body: np.ndarray
    body_radius: float
    """Largest distance of a body's point from the hand's origin."""
    workspace: np.ndarray
    """(2, 3) corners of the box that the body's points should stay in."""
    kinds: np.ndarray
    shapes: np.ndarray
    sizes: np.ndarray
    tape: Tape
    roots: np.ndarray
    """(m, 2) place on the tape and component of every constraint."""
    points: np.ndarray
    """(K, 3) the tape's points in the world."""
    held: np.ndarray
    """(K,) whether they move with the hand; then `points` is in its frame."""
    joints: np.ndarray
    collision: float
    margin: float
    position: float
    rotation: float
    posture: float
    downwards: float
    step: float
    turn: float
    wall: float
    """The workspace's border starts to cost this far inside, m; on it and beyond, `margin`."""
    n_waypoints: int
    """0 for a sub-goal."""
    n_samples: int
    """Samples of each piece of a path."""


@no_type_check
@entry
def n_constraints(terms):
    """How many constraints there are: those of a path hold at every sample between its ends."""
    if terms.n_waypoints == 0:
        return len(terms.roots)
    n_pieces = terms.n_waypoints + 1
    return len(terms.roots) * (n_pieces * (terms.n_samples - 1) - 1)


@no_type_check
@entry
def evaluate(terms, x, gradient, c, J):
    """Cost of `x`; its gradient (n), the constraints (m) and their Jacobian (m, n), in place."""
    gradient[:] = 0.0
    if terms.n_waypoints == 0:
        return _subgoal(terms, x, gradient, c, J)
    return _path(terms, x, gradient, c, J)


@no_type_check
@inner
def _subgoal(terms, q, gradient, c, J):
    n = len(q)
    T, Jh = np.empty((4, 4)), np.empty((6, n))
    hand_jacobian(terms.M, terms.axis, terms.T_last, terms.T_world_base, q, T, Jh)
    pull = np.zeros(6)
    cost = terms.collision * _collision(terms, T, pull)
    pull *= terms.collision
    way = T[:3, 3] - terms.T_start[:3, 3]
    length = np.sqrt((way**2).sum() + SMOOTH**2)
    cost += terms.position * length
    pull[:3] += terms.position * way / length
    turn = log(product(T[:3, :3], terms.T_start[:3, :3].T))
    angle = np.sqrt((turn**2).sum() + SMOOTH**2)
    cost += terms.rotation * angle
    pull[3:] += terms.rotation * turn / angle
    if terms.downwards > 0:
        a = times(T, terms.approach)
        cost += terms.downwards * (1 + a[2])
        pull[3] += terms.downwards * a[1]
        pull[4] -= terms.downwards * a[0]
    gradient += Jh.T @ pull
    off = q[:-1] - terms.rest[:-1]
    length = np.sqrt((off**2).sum() + SMOOTH**2)
    cost += terms.posture * length
    gradient[:-1] += terms.posture * off / length
    if len(terms.roots):
        slope = np.empty((len(terms.roots), 6))
        _constraints(terms, T, c, slope)
        J[:] = slope @ Jh
    return cost


@no_type_check
@inner
def _path(terms, x, gradient, c, J):
    n_waypoints, n_samples, m = terms.n_waypoints, terms.n_samples, len(terms.roots)
    n = len(x) // n_waypoints
    Ts, Js = np.empty((n_waypoints + 2, 4, 4)), np.zeros((n_waypoints + 2, 6, n))
    Ts[0], Ts[-1] = terms.T_start, terms.T_goal
    for k in range(n_waypoints):
        q = x[k * n : (k + 1) * n]
        hand_jacobian(
            terms.M, terms.axis, terms.T_last, terms.T_world_base, q, Ts[k + 1], Js[k + 1]
        )
    pulls = np.zeros((n_waypoints + 2, 6))
    slope = np.empty((m, 6))
    J[:] = 0.0
    cost, row = 0.0, 0
    for k in range(n_waypoints + 1):
        A, B = Ts[k], Ts[k + 1]
        Ra, Rb = A[:3, :3], B[:3, :3]
        way = B[:3, 3] - A[:3, 3]
        w = log(product(Ra.T, Rb))
        axis = times(Ra, w)
        length = np.sqrt((way**2).sum() + SMOOTH**2)
        angle = np.sqrt((axis**2).sum() + SMOOTH**2)
        cost += terms.position * length + terms.rotation * angle
        along, about = way / length, axis / angle
        for s, sign in ((k, -1.0), (k + 1, 1.0)):
            pulls[s, :3] += sign * terms.position * along
            pulls[s, 3:] += sign * terms.rotation * about
        by_way = length / terms.step > angle / terms.turn
        n_steps = max(length / terms.step, angle / terms.turn)
        to_b = product(inverse_right_jacobian(w), Rb.T)
        to_a = product(inverse_right_jacobian(-w), Ra.T)
        mean = 0.0
        for j in range(n_samples):
            s = j / (n_samples - 1)
            Rw = exp(s * w)
            T = np.empty((4, 4))
            T[:3, :3] = product(Ra, Rw)
            T[:3, 3] = A[:3, 3] + s * way
            # how the sample turns as the ends do: by its own right Jacobian, and with A
            moved = product(T[:3, :3], s * right_jacobian(s * w))
            turn_b = product(moved, to_b)
            turn_a = np.eye(3) - product(moved, to_a)
            pull = np.zeros(6)
            close = _collision(terms, T, pull)
            share = (0.5 if j == 0 or j == n_samples - 1 else 1.0) / (n_samples - 1)
            mean += share * close
            weight = terms.collision * n_steps * share
            pulls[k, :3] += weight * (1 - s) * pull[:3]
            pulls[k + 1, :3] += weight * s * pull[:3]
            pulls[k, 3:] += weight * times(turn_a.T, pull[3:])
            pulls[k + 1, 3:] += weight * times(turn_b.T, pull[3:])
            first, last = j == 0, k == n_waypoints and j == n_samples - 1
            if m and not first and not last:
                _constraints(terms, T, c[row : row + m], slope)
                for i in range(m):
                    by_a, by_b = times(turn_a.T, slope[i, 3:]), times(turn_b.T, slope[i, 3:])
                    for a in range(n):
                        for r in range(3):
                            if k > 0:
                                J[row + i, (k - 1) * n + a] += (1 - s) * slope[i, r] * Js[
                                    k, r, a
                                ] + by_a[r] * Js[k, 3 + r, a]
                            if k < n_waypoints:
                                J[row + i, k * n + a] += (
                                    s * slope[i, r] * Js[k + 1, r, a]
                                    + by_b[r] * Js[k + 1, 3 + r, a]
                                )
                row += m
        cost += terms.collision * n_steps * mean
        for s, sign in ((k, -1.0), (k + 1, 1.0)):
            if by_way:
                pulls[s, :3] += sign * terms.collision * mean / terms.step * along
            else:
                pulls[s, 3:] += sign * terms.collision * mean / terms.turn * about
    for k in range(n_waypoints):
        gradient[k * n : (k + 1) * n] = Js[k + 1].T @ pulls[k + 1]
    return cost


@no_type_check
@entry
def stepwise_cost(terms, x, exact):
    """Cost of a path as who walks it in whole steps sees it: summed over steps, not integrated.

    It jumps where the number of steps changes. Violations count `exact` times.
    """
    n_waypoints, n = terms.n_waypoints, len(terms.axis)
    Ts, J = np.empty((n_waypoints + 2, 4, 4)), np.zeros((6, n))
    Ts[0], Ts[-1] = terms.T_start, terms.T_goal
    for k in range(n_waypoints):
        q = x[k * n : (k + 1) * n]
        hand_jacobian(terms.M, terms.axis, terms.T_last, terms.T_world_base, q, Ts[k + 1], J)
    m = len(terms.roots)
    c, slope, pull, cost = np.empty(m), np.empty((m, 6)), np.zeros(6), 0.0
    T = np.empty((4, 4))
    for k in range(n_waypoints + 1):
        A, B = Ts[k], Ts[k + 1]
        way = B[:3, 3] - A[:3, 3]
        w = log(product(A[:3, :3].T, B[:3, :3]))
        length, angle = np.sqrt((way**2).sum()), np.sqrt((w**2).sum())
        cost += terms.position * length + terms.rotation * angle
        n_steps = int(max(np.ceil(length / terms.step), np.ceil(angle / terms.turn), 2.0))
        for j in range(n_steps):
            if (k == 0 and j == 0) or (k == n_waypoints and j == n_steps - 1):
                continue
            s = j / (n_steps - 1)
            T[:3, :3] = product(A[:3, :3], exp(s * w))
            T[:3, 3] = A[:3, 3] + s * way
            cost += terms.collision * _collision(terms, T, pull)
            if m:
                _constraints(terms, T, c, slope)
                for i in range(m):
                    cost += exact * max(c[i], 0.0)
    return cost


@no_type_check
@inner
def _collision(terms, T, pull):
    """How much closer than the margin the body's points are, summed; adds its gradient to `pull`.

    Points beyond the workspace's wall count too.

    The gradient is with respect to the hand's position and, about it, rotation.
    """
    n_points = len(terms.body)
    best, way = np.full(n_points, terms.margin), np.zeros((n_points, 3))
    for m in range(len(terms.kinds)):
        a, b, c = terms.sizes[m, 0], terms.sizes[m, 1], terms.sizes[m, 2]
        far = terms.body_radius + terms.margin + np.sqrt(a * a + b * b + c * c) + a
        dx, dy = T[0, 3] - terms.shapes[m, 0, 3], T[1, 3] - terms.shapes[m, 1, 3]
        dz = T[2, 3] - terms.shapes[m, 2, 3]
        if dx * dx + dy * dy + dz * dz > far * far:
            continue
        approach(
            terms.kinds[m], terms.shapes[m], a, b, c, T[:3, :3], T[:3, 3], terms.body, best, way
        )  # fmt: skip
    total = 0.0
    for i in range(n_points):
        a, b, c = terms.body[i, 0], terms.body[i, 1], terms.body[i, 2]
        x = T[0, 0] * a + T[0, 1] * b + T[0, 2] * c
        y = T[1, 0] * a + T[1, 1] * b + T[1, 2] * c
        z = T[2, 0] * a + T[2, 1] * b + T[2, 2] * c
        if best[i] < terms.margin:
            gx, gy, gz = way[i, 0], way[i, 1], way[i, 2]
            total += terms.margin - best[i]
            pull[0] -= gx
            pull[1] -= gy
            pull[2] -= gz
            pull[3] -= y * gz - z * gy
            pull[4] -= z * gx - x * gz
            pull[5] -= x * gy - y * gx
        for axis in range(3):
            at = T[axis, 3] + (x if axis == 0 else y if axis == 1 else z)
            over = max(terms.workspace[0, axis] - at, at - terms.workspace[1, axis]) + terms.wall
            if over > 0:
                steep = terms.margin / terms.wall
                total += steep * min(over, terms.wall)
                if over > terms.wall:
                    continue
                middle = 0.5 * (terms.workspace[0, axis] + terms.workspace[1, axis])
                push = steep if at > middle else -steep
                pull[axis] += push
                if axis == 0:
                    pull[4] += z * push
                    pull[5] -= y * push
                elif axis == 1:
                    pull[3] -= z * push
                    pull[5] += x * push
                else:
                    pull[3] += y * push
                    pull[4] -= x * push
    return total


@no_type_check
@inner
def _constraints(terms, T, c, slope):
    """Constraints with the hand at `T`, and how its six degrees of freedom change them."""
    n_points, n_ops = len(terms.points), len(terms.tape.code)
    points, d_points = terms.points.copy(), np.zeros((n_points, 3, 6))
    for k in range(n_points):
        if terms.held[k]:
            arm = times(T, terms.points[k])
            points[k] = T[:3, 3] + arm
            for i in range(3):
                d_points[k, i, i] = 1.0
            x, y, z = arm
            d_points[k, 0, 4], d_points[k, 0, 5] = z, -y
            d_points[k, 1, 3], d_points[k, 1, 5] = -z, x
            d_points[k, 2, 3], d_points[k, 2, 4] = y, -x
    value, slopes = np.zeros((n_ops, 3)), np.zeros((n_ops, 3, 6))
    d_joints = np.zeros((len(terms.joints), 6))
    run(terms.tape, points, d_points, terms.joints, d_joints, value, slopes)
    for i in range(len(terms.roots)):
        place, part = terms.roots[i]
        c[i] = value[place, part]
        slope[i] = slopes[place, part]
