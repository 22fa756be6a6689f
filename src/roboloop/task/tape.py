"""Evaluates the operations of an expression graph, with derivatives, in compiled code.

A tape is arrays: what operation, on which earlier results, with which numbers. Derivatives are
carried forward (dual numbers). Whatever the numbers are, it ends, and what comes out is finite.
"""

from typing import NamedTuple, no_type_check

import numpy as np

from roboloop.compiled import entry, inner

TINY = 1e-9
"""Lengths and divisors below this are taken as this."""
HUGE = 1e12
"""What a number that is not finite is replaced by."""

CONSTANT, POINT, JOINT = 0, 1, 2
ADD, SUB, MUL, DIV, MIN, MAX = 3, 4, 5, 6, 7, 8
NEG, ABS, POWER, SIN, COS, ARCCOS = 9, 10, 11, 12, 13, 14
DOT, CROSS, NORM, PICK, VECTOR = 15, 16, 17, 18, 19


@no_type_check
class Tape(NamedTuple):
    """N operations in an order in which each one's arguments are before it."""

    code: np.ndarray
    """(N,) what to do."""
    args: np.ndarray
    """(N, 3) the arguments' places; for a point or joint, its place among those given."""
    size: np.ndarray
    """(N,) 0 for a number, else the length of the vector."""
    number: np.ndarray
    """(N, 3) a constant's value, an exponent, the picked indices."""


@no_type_check
@inner
def run(tape, points, d_points, joints, d_joints, value, slope):
    """Run a tape, in place.

    Args:
        tape: What to do.
        points: (K, 3) values of the points.
        d_points: (K, 3, D) their derivatives.
        joints: (J,) values of the joints.
        d_joints: (J, D) their derivatives.
        value: (N, 3) gets the results.
        slope: (N, 3, D) gets their derivatives.
    """
    n_d = slope.shape[2]
    for n in range(len(tape.code)):
        code, size = tape.code[n], tape.size[n]
        i, j = tape.args[n, 0], tape.args[n, 1]
        if code == CONSTANT:
            for s in range(3):
                value[n, s] = tape.number[n, s]
                for d in range(n_d):
                    slope[n, s, d] = 0.0
        elif code == POINT:
            for s in range(3):
                value[n, s] = points[i, s]
                for d in range(n_d):
                    slope[n, s, d] = d_points[i, s, d]
        elif code == JOINT:
            value[n, 0] = joints[i]
            for d in range(n_d):
                slope[n, 0, d] = d_joints[i, d]
        elif code <= ABS:
            for s in range(max(size, 1)):
                si = s if tape.size[i] else 0
                a = value[i, si]
                if code in (NEG, ABS):
                    sign = -1.0 if code == NEG or a < 0 else 1.0
                    if code == ABS and a == 0:
                        sign = 0.0
                    value[n, s] = sign * a
                    for d in range(n_d):
                        slope[n, s, d] = sign * slope[i, si, d]
                    continue
                sj = s if tape.size[j] else 0
                b = value[j, sj]
                by_a, by_b = 1.0, 1.0
                if code == ADD:
                    value[n, s] = a + b
                elif code == SUB:
                    value[n, s] = a - b
                    by_b = -1.0
                elif code == MUL:
                    value[n, s] = a * b
                    by_a, by_b = b, a
                elif code == DIV:
                    if abs(b) < TINY:
                        b = TINY if b >= 0 else -TINY
                    value[n, s] = a / b
                    by_a, by_b = 1 / b, -a / b / b
                else:
                    first = a <= b if code == MIN else a >= b
                    value[n, s] = a if first else b
                    by_a, by_b = (1.0, 0.0) if first else (0.0, 1.0)
                for d in range(n_d):
                    slope[n, s, d] = by_a * slope[i, si, d] + by_b * slope[j, sj, d]
        elif code == POWER:
            exponent = tape.number[n, 0]
            for s in range(max(size, 1)):
                a = value[i, s]
                if exponent == 0.5:
                    value[n, s] = np.sqrt(max(a, 0.0))
                    by_a = 0.5 / np.sqrt(max(a, TINY))
                else:
                    by_a = exponent * a ** int(exponent - 1)
                    value[n, s] = a ** int(exponent)
                for d in range(n_d):
                    slope[n, s, d] = by_a * slope[i, s, d]
        elif code <= ARCCOS:
            a = value[i, 0]
            if code == SIN:
                value[n, 0], by_a = np.sin(a), np.cos(a)
            elif code == COS:
                value[n, 0], by_a = np.cos(a), -np.sin(a)
            else:
                a = min(max(a, -1.0), 1.0)
                value[n, 0], by_a = np.arccos(a), -1 / np.sqrt(max(1 - a * a, TINY))
            for d in range(n_d):
                slope[n, 0, d] = by_a * slope[i, 0, d]
        elif code == DOT:
            value[n, 0] = 0.0
            for d in range(n_d):
                slope[n, 0, d] = 0.0
            for s in range(tape.size[i]):
                value[n, 0] += value[i, s] * value[j, s]
                for d in range(n_d):
                    slope[n, 0, d] += slope[i, s, d] * value[j, s] + value[i, s] * slope[j, s, d]
        elif code == CROSS:
            for s in range(3):
                p, q = (s + 1) % 3, (s + 2) % 3
                value[n, s] = value[i, p] * value[j, q] - value[i, q] * value[j, p]
                for d in range(n_d):
                    slope[n, s, d] = (
                        slope[i, p, d] * value[j, q]
                        + value[i, p] * slope[j, q, d]
                        - slope[i, q, d] * value[j, p]
                        - value[i, q] * slope[j, p, d]
                    )
        elif code == NORM:
            total = 0.0
            for s in range(tape.size[i]):
                total += value[i, s] ** 2
            length = np.sqrt(total)
            value[n, 0] = length
            for d in range(n_d):
                slope[n, 0, d] = 0.0
                for s in range(tape.size[i]):
                    slope[n, 0, d] += value[i, s] / max(length, TINY) * slope[i, s, d]
        elif code == PICK:
            for s in range(max(size, 1)):
                chosen = int(tape.number[n, s])
                value[n, s] = value[i, chosen]
                for d in range(n_d):
                    slope[n, s, d] = slope[i, chosen, d]
        else:  # VECTOR
            for s in range(size):
                of = tape.args[n, s]
                value[n, s] = value[of, 0]
                for d in range(n_d):
                    slope[n, s, d] = slope[of, 0, d]
        for s in range(max(size, 1)):
            if not np.isfinite(value[n, s]):
                value[n, s] = -HUGE if value[n, s] < 0 else HUGE
            for d in range(n_d):
                if not np.isfinite(slope[n, s, d]):
                    slope[n, s, d] = 0.0


@no_type_check
@entry
def run_batch(tape, roots, points, d_points, joints, d_joints):
    """Run a tape for B rows; see `run`.

    Returns:
        Values (B, M, 3) and derivatives (B, M, 3, D) at the M places `roots`.
    """
    n, n_d = len(tape.code), d_points.shape[3]
    value, slope = np.zeros((n, 3)), np.zeros((n, 3, n_d))
    values = np.empty((len(points), len(roots), 3))
    slopes = np.empty((len(points), len(roots), 3, n_d))
    for b in range(len(points)):
        run(tape, points[b], d_points[b], joints[b], d_joints[b], value, slope)
        for m in range(len(roots)):
            for s in range(3):
                values[b, m, s] = value[roots[m], s]
                for d in range(n_d):
                    slopes[b, m, s, d] = slope[roots[m], s, d]
    return values, slopes
