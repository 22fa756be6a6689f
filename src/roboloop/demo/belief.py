"""What a controller thinks the state is: joints as measured, things as a tracker last saw them."""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from roboloop import pose
from roboloop.cell import Cell
from roboloop.robot import forward_kinematics
from roboloop.sim import CONTROL_DT

N_AVERAGED, N_AVERAGED_MOVING = 12, 2
"""Measurements that are averaged where the tracker is noisy, and of what moves by a joint."""
GATE_M, GATE_RAD, GATE_NOISE = 0.012, 0.1, 4.0
"""A measurement farther off than this, and this many times the noise, says that a thing moved."""
N_SURE = 2
"""Such measurements, one after another, that are believed."""
QUAT = slice(3, 7)
Measured = tuple[Float[np.ndarray, "n"], float]
"""Of an arm: its joints, and the position of the gripper's joint."""


@dataclass(frozen=True)
class Tracking:
    """What is known of the tracker."""

    noise_mm: float = 0.0
    """Standard deviation of positions, mm; of angles, a degree for every 2.5 mm."""
    delay_ms: float = 0.0
    """Age of what it says, ms; a multiple of the control step."""

    @property
    def delay_steps(self) -> int:
        """Age in control steps."""
        return round(self.delay_ms / 1000 / CONTROL_DT)


class Belief:
    """The configuration of one cell, from measured joints and tracked things.

    A thing that is held goes with a hand: the tracker says how it lies in it. Other things stand
    still until the tracker says otherwise, so that many measurements can be averaged.
    """

    def __init__(self, cell: Cell, tracking: Tracking) -> None:
        self.cell, self._tracking = cell, tracking
        self.qpos = cell.home_qpos.copy()
        self.held: dict[int, str] = {}
        """The free bodies in hands, and the arms that they go with."""
        self.slip: dict[int, float] = {}
        """How far from where it was held the tracker sees a held body now, m."""
        self.n_seen = 0
        noisy = tracking.noise_mm > 0
        self._things = {
            body: _Average(N_AVERAGED if noisy else 1, self._gate) for body in cell.free_bodies
        }
        self._joints = {
            a: _Average(N_AVERAGED_MOVING if noisy else 1, self._gate) for a in cell.joint_qpos
        }
        self._hands: dict[str, deque[np.ndarray]] = {
            mount.name: deque(maxlen=tracking.delay_steps + 1) for mount in cell.task.arms
        }

    @property
    def look_steps(self) -> int:
        """Control steps to look around before the first plan."""
        noisy = self._tracking.noise_mm > 0
        return self._tracking.delay_steps + (N_AVERAGED if noisy else 0)

    def hand(self, arm: str) -> Float[np.ndarray, "4 4"]:
        """The pose of an arm's hand, in the world."""
        return self._hands[arm][-1]

    def opening(self, arm: str) -> float:
        """How far an arm's hand is open, 0 to 1."""
        cell = self.cell.seen_by(arm)
        at = cell.gripper_qpos
        return float(cell.robot.opening(self.qpos[at : at + 1])[0])

    def update(self, measured: Sequence[Measured], tracked: Float[np.ndarray, "m"]) -> None:
        """Take in one control step's measurements, in place.

        Args:
            measured: Of every arm.
            tracked: `Cell.object_qpos` as the tracker says, NaN for what it does not see.
        """
        cell = self.cell
        self.n_seen += 1
        for arm, (q, gripper) in zip(cell.arms, measured, strict=True):
            self.qpos = arm.with_hand(self.qpos, gripper)
            self.qpos[arm.arm_qpos] = q
            base = arm.mount.T_world_base
            self._hands[arm.mount.name].append(base @ forward_kinematics(arm.robot, q[None])[0])
        seen = np.full(cell.model.nq, np.nan)
        seen[cell.object_qpos] = tracked
        self.qpos[cell.cloth_qpos] = seen[cell.cloth_qpos]
        for address, average in self._joints.items():
            if np.isfinite(seen[address]):
                average.add(seen[[address]])
            if average.samples:
                self.qpos[address] = average.value()[0]
        for body, average in self._things.items():
            at = slice(address := cell.free_bodies[body], address + 7)
            if np.isfinite(seen[address]):
                self._see(body, average, seen[at])
            if average.samples:
                self.qpos[at] = self._now(body, average.value())

    def hold(self, body: int, arm: str | None) -> None:
        """Say that a free body goes with an arm from now on, or with none, in place."""
        now = self.qpos[(a := self.cell.free_bodies[body]) : a + 7].copy()
        self._things[body].clear()
        self.held.pop(body, None)
        self.slip[body] = 0.0
        if arm is not None:
            self.held[body] = arm
            self._things[body].add(self._in_hand(now, self.hand(arm)))

    def _see(self, body: int, average: "_Average", seen: np.ndarray) -> None:
        if body not in self.held:
            average.add(seen)
            return
        lies = self._in_hand(seen, self._hands[self.held[body]][0])
        off = float(np.linalg.norm(lies[:3] - average.value()[:3]))
        self.slip[body] = max(0.0, off - GATE_NOISE * self._tracking.noise_mm / 1000)
        average.add(lies)

    def _now(self, body: int, value: np.ndarray) -> np.ndarray:
        if body not in self.held:
            return value
        return pose.to_vector(self.hand(self.held[body]) @ pose.from_vector(value))

    def _in_hand(self, value: np.ndarray, T_world_eef: np.ndarray) -> np.ndarray:
        return pose.to_vector(pose.inverse(T_world_eef) @ pose.from_vector(value))

    def _gate(self, off: np.ndarray) -> bool:
        """Whether a difference, of a pose (7,) or a joint (1,), is more than noise."""
        sigma = self._tracking.noise_mm / 1000
        if off.size == 1:
            return bool(abs(off[0]) > GATE_M / 2 + GATE_NOISE * sigma)
        angle = 2 * float(np.linalg.norm(off[4:]))
        return bool(
            np.linalg.norm(off[:3]) > GATE_M + GATE_NOISE * sigma
            or angle > GATE_RAD + GATE_NOISE * angle_noise(self._tracking.noise_mm)
        )


def angle_noise(noise_mm: float) -> float:
    """Standard deviation of a tracker's angles (rad) that goes with one of positions (mm)."""
    return float(np.deg2rad(noise_mm / 2.5))


class _Average:
    """The mean of the last measurements of something that stands still, until it moved."""

    def __init__(self, n: int, moved: Callable[[np.ndarray], bool]) -> None:
        self.samples: deque[np.ndarray] = deque(maxlen=n)
        self._moved = moved
        self._doubts: list[np.ndarray] = []

    def add(self, value: np.ndarray) -> None:
        value = value.copy()
        if self.samples:
            mean = self.value()
            off = value - mean
            if value.size == 7:
                value[QUAT] *= np.sign(value[QUAT] @ mean[QUAT]) or 1.0
                off = np.concatenate([value[:3] - mean[:3], _turn(mean[QUAT], value[QUAT])])
            if self._moved(off):
                self._doubts.append(value)
                if len(self._doubts) < N_SURE and self.samples.maxlen != 1:
                    return
                self.samples.clear()
                self.samples.extend(self._doubts[-N_SURE:])
                self._doubts.clear()
                return
        self._doubts.clear()
        self.samples.append(value)

    def clear(self) -> None:
        self.samples.clear()
        self._doubts.clear()

    def value(self) -> np.ndarray:
        mean = np.mean(self.samples, axis=0)
        if mean.size == 7:
            mean[QUAT] /= np.linalg.norm(mean[QUAT])
        return mean


def _turn(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The quaternion from one to another."""
    R = pose.quat_to_matrix(a).T @ pose.quat_to_matrix(b)
    return pose.matrix_to_quat(R)
