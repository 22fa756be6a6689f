"""Run experts in physics: every stage planned, then stepped for all cells in one call."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from roboloop import pose
from roboloop.cell import Cell
from roboloop.data.episode import Episode
from roboloop.demo.goals import Unreachable
from roboloop.demo.judge import judge
from roboloop.demo.planner import Expert
from roboloop.demo.slip import SLIP, SLIP_STEPS, carrying_steps, grasping_step, slipped
from roboloop.demo.ways.motion import PLACING_SPEED, TAKING_SPEED, Motion
from roboloop.robot import forward_kinematics
from roboloop.sim import CONTROL_DT, Simulation, qpos_of
from roboloop.task.spec import BOTH

SETTLE_STEPS = 10
"""Control steps that the arm stands still at the end, before success is judged."""
NOISE_MEMORY = 0.9
"""Share of the action noise that stays from one control step to the next."""
NOISE_RISE_STEPS, NOISE_FALL_STEPS, NOISE_IN_CONTACT = 8, 12, 0.1
"""The noise grows over a stage's first control steps and shrinks over the last before the gripper
acts, from and to this share of itself: over as much of the way where that is gone more slowly."""


@dataclass(frozen=True)
class Attempt:
    """One try of a task by an expert."""

    episode: Episode | None
    """None where not even the first stage could be planned."""
    reason: str
    """Why it failed; empty for a success."""


def attempt(
    cells: Sequence[Cell],
    experts: Sequence[Expert],
    seeds: Sequence[int],
    rngs: Sequence[np.random.Generator],
    noise: float = 0.0,
    start_spread: float = 0.0,
    slip: float = 0.0,
) -> list[Attempt]:
    """Let one expert a cell do the task, step by step; cells share a layout and go together.

    Args:
        cells: Where.
        experts: Who plans, one a cell.
        seeds: Recorded with the episodes.
        rngs: Randomness of start and noise, one a cell.
        noise: Standard deviation of the noise on the arm's targets in free motion, rad. What is
            recorded as intended is without it: how to get back on the way (Laskey et al. 2017,
            "DART: Noise Injection for Robust Imitation Learning").
        start_spread: Standard deviation of the arm's start around home, rad.
        slip: Share of the attempts in which what one hand carries slips out of it, once, somewhere
            on the way. It opens, which is not to be imitated; then the expert takes the thing again
            from where it lies.

    Returns:
        One attempt a cell.
    """
    sim = Simulation([cell.model for cell in cells])
    records = [
        _Record(cell, rng, noise, start_spread, slip) for cell, rng in zip(cells, rngs, strict=True)
    ]
    sim.reset(np.stack([r.qpos for r in records]), np.stack([r.rest for r in records]))
    for record, state in zip(records, sim.states, strict=True):
        record.states.append(state[None].copy())
    while any(not record.done for record in records):
        _run_step(sim, records, experts)
    _settle(sim, records)
    return [r.finish(seed) for r, seed in zip(records, seeds, strict=True)]


def _run_step(sim: Simulation, records: list["_Record"], experts: Sequence[Expert]) -> None:
    """Plan the next step of all that are not done, and go through it together."""
    planned: dict[int, Motion] = {}
    for i, (record, expert) in enumerate(zip(records, experts, strict=True)):
        if record.done:
            continue
        try:
            planned[i] = record.plan(expert)
        except Unreachable as error:
            record.reason = f"{record.cell.task.step_name(record.step)}: {error.problem}"
    if not planned:
        return
    noisy = {i: records[i].noisy(motion.ctrl) for i, motion in planned.items()}
    n_steps = np.array([len(noisy.get(i, ())) for i in range(len(records))])
    ctrl = np.stack([r.hold(noisy.get(i), int(n_steps.max())) for i, r in enumerate(records)])
    trajectory = sim.rollout(ctrl, n_steps)
    for i, motion in planned.items():
        record = records[i]
        record.append(motion, noisy[i], trajectory.states[i, : len(noisy[i])])
        if trajectory.failed[i]:
            record.reason = "physics failed"


def _settle(sim: Simulation, records: list["_Record"]) -> None:
    ctrl = np.stack([r.hold(None, SETTLE_STEPS) for r in records])
    trajectory = sim.rollout(ctrl)
    for i, record in enumerate(records):
        record.settle(ctrl[i], trajectory.states[i])
        record.reason = record.reason or ("physics failed" if trajectory.failed[i] else "")


class _Record:
    """What happens in one cell while its episode lasts."""

    def __init__(
        self, cell: Cell, rng: np.random.Generator, noise: float, start_spread: float, slip: float
    ) -> None:
        self.cell, self._rng, self._noise = cell, rng, noise
        self.reason, self.step = "", 0
        """Why it failed, and the task's step that is next."""
        self.states: list[np.ndarray] = []
        self._motions: list[Motion] = []
        self._ctrl: list[np.ndarray] = []
        self._subtasks: list[tuple[str, int, int]] = []
        self._start, self.rest = start_state(cell, rng, start_spread)
        carrying = carrying_steps(cell) if slip else []
        slips = bool(carrying) and rng.uniform() < slip
        self._slip_step = int(rng.choice(carrying)) if slips else None

    @property
    def done(self) -> bool:
        """Whether nothing is left to do, or it failed."""
        return bool(self.reason) or self.step == len(self.cell.task.steps())

    @property
    def qpos(self) -> Float[np.ndarray, "nq"]:
        """The configuration now."""
        return qpos_of(self.cell.model, self.states[-1][-1]) if self.states else self._start

    @property
    def ctrl(self) -> Float[np.ndarray, "nu"]:
        """The targets now."""
        return self._ctrl[-1][-1] if self._ctrl else self.rest

    def plan(self, expert: Expert) -> Motion:
        """Let the expert plan the step that is next, in which what is held may slip."""
        motion = expert.plan(self.step, self.qpos).after(self.ctrl)
        return slipped(self.cell, motion, self._rng) if self.slips else motion

    @property
    def slips(self) -> bool:
        """Whether something slips in the step that is next."""
        return self.step == self._slip_step

    def noisy(self, ctrl: Float[np.ndarray, "T nu"]) -> Float[np.ndarray, "T nu"]:
        """Add noise that fades over a few control steps to the arms' targets in a step.

        The result is rounded to float32, which is what datasets keep: replay is bit-exact.
        """
        fresh = np.sqrt(1 - NOISE_MEMORY**2)
        error = fresh * self._rng.normal(size=(len(ctrl), ctrl.shape[1] - len(self.cell.arms)))
        for t in range(1, len(ctrl)):
            error[t] += NOISE_MEMORY * error[t - 1]
        result, first = ctrl.copy(), 0
        for arm in self.cell.arms:
            share, n = _noise_share(arm, self.step, ctrl[:, arm.ctrl]), len(arm.arm_qpos)
            joints = slice(arm.ctrl.start, arm.ctrl.stop - 1)
            result[:, joints] += self._noise * share[:, None] * error[:, first : first + n]
            first += n
        return result.astype(np.float32).astype(float)

    def hold(self, ctrl: np.ndarray | None, n_steps: int) -> Float[np.ndarray, "T nu"]:
        """Pad controls with their last row; without any, the last ones given are kept."""
        if ctrl is None:
            ctrl = self.ctrl[None]
        return np.concatenate([ctrl, np.repeat(ctrl[-1:], n_steps - len(ctrl), 0)])[:n_steps]

    def append(self, motion: Motion, ctrl: np.ndarray, states: np.ndarray) -> None:
        """Record that the next step was done; after a slip comes the grasp again."""
        start = self._subtasks[-1][2] if self._subtasks else 0
        stop = start + len(ctrl)
        slip = stop - SLIP_STEPS if self.slips else stop
        self._subtasks.append((self.cell.task.step_name(self.step), start, slip))
        if self.slips:
            self._subtasks.append((SLIP, slip, stop))
            self.step, self._slip_step = grasping_step(self.cell, self.step), None
        else:
            self.step += 1
        self._motions.append(motion)
        self._ctrl.append(ctrl)
        self.states.append(states)

    def settle(self, ctrl: np.ndarray, states: np.ndarray) -> None:
        """Record how the arm stands still at the end: policies have to learn that too."""
        if self._motions:
            self._motions.append(Motion(np.repeat(self._motions[-1].ctrl[-1:], len(ctrl), 0)))
            self._ctrl.append(ctrl)
            self.states.append(states)

    def finish(self, seed: int) -> Attempt:
        if not self._ctrl:
            return Attempt(None, self.reason)
        states = np.concatenate(self.states)
        reason = self.reason or judge(self.cell, qpos_of(self.cell.model, states))
        ctrl = np.concatenate(self._ctrl)
        return Attempt(self._episode(ctrl, states, not reason, seed), reason)

    def _episode(self, ctrl: np.ndarray, states: np.ndarray, success: bool, seed: int) -> Episode:
        cell = self.cell
        qpos = qpos_of(cell.model, states)
        intended = np.concatenate([m.ctrl for m in self._motions])
        return Episode(
            state=proprioception(cell, qpos[:-1]),
            action=ctrl.astype(np.float32),
            action_intended=intended.astype(np.float32),
            imitate=np.concatenate([m.imitate for m in self._motions]),
            action_eef=_eef_targets(cell, intended),
            images=None,
            sim_states=states,
            object_poses=cell.body_poses(qpos[:-1]),
            subtasks=tuple(self._subtasks),
            task=cell.task.instruction,
            success=success,
            scene=cell.name,
            seed=seed,
            robot=cell.task.robot,
            object_names=tuple(cell.tracked_bodies),
        )


def rngs_for(seed: int, stage: int, indices: Iterable[int]) -> list[np.random.Generator]:
    """One generator an attempt, which depends on nothing but seed, stage and index."""
    return [np.random.default_rng(np.random.SeedSequence([seed, stage, i])) for i in indices]


def start_state(
    cell: Cell, rng: np.random.Generator, spread: float
) -> tuple[Float[np.ndarray, "nq"], Float[np.ndarray, "nu"]]:
    """Draw where an episode starts, `qpos` and `ctrl`: the arms around home, the hands open.

    Args:
        cell: Where.
        rng: Randomness; the same one gives experts and policies the same start.
        spread: Standard deviation of the arm's joints, rad.
    """
    qpos, ctrl = cell.home_qpos.copy(), []
    for arm in cell.arms:
        qpos[arm.arm_qpos] += spread * rng.normal(size=len(arm.arm_qpos))
        ctrl += [*qpos[arm.arm_qpos], arm.robot.gripper_open]
    return qpos, np.array(ctrl)


def proprioception(cell: Cell, qpos: Float[np.ndarray, "*B nq"]) -> np.ndarray:
    """What the robot knows of itself; see `Task.dimension_names`. float32."""
    parts = []
    for arm in cell.arms:
        q = qpos[..., arm.arm_qpos]
        opening = arm.robot.opening(qpos[..., arm.gripper_qpos])
        T = forward_kinematics(arm.robot, q.reshape(-1, q.shape[-1])).reshape(*q.shape[:-1], 4, 4)
        parts += [q, opening[..., None], T[..., :3, 3], T[..., :3, 0], T[..., :3, 1]]
    return np.concatenate(parts, -1).astype(np.float32)


def _noise_share(arm: Cell, index: int, ctrl: Float[np.ndarray, "T n"]) -> Float[np.ndarray, "T"]:
    """Share of the action noise along a step: little where an arm's hand touches things.

    None for an arm that stays: it may hold what another one takes.
    """
    step = (arm.task.stages[i] for i in arm.task.steps()[index])
    stage = next((stage for stage in step if stage.arm in (arm.mount.name, BOTH)), None)
    if stage is None:
        return np.zeros(len(ctrl))
    handle = stage.release and not arm.is_free(stage.release)
    if handle or stage.arm == BOTH:  # it holds on to a handle, or to the other, all the time
        return np.full(len(ctrl), NOISE_IN_CONTACT)
    t = np.arange(len(ctrl))
    changes = ctrl[:, -1] != ctrl[0, -1]
    acts = int(np.argmax(changes)) if changes.any() else len(ctrl)
    moves = np.flatnonzero(np.diff(ctrl[:acts, :-1], axis=0).any(1))
    there = int(moves[-1]) + 2 if len(moves) else acts  # from there on it waits for the other arm
    acts = min(acts - round(stage.dwell / CONTROL_DT), there)  # it waits where it is calm
    fall = NOISE_FALL_STEPS * (TAKING_SPEED / PLACING_SPEED if stage.release else 1.0)
    return np.clip(np.minimum(t / NOISE_RISE_STEPS, (acts - t) / fall), NOISE_IN_CONTACT, 1.0)


def _eef_targets(cell: Cell, ctrl: np.ndarray) -> np.ndarray:
    parts = []
    for arm in cell.arms:
        q, gripper = ctrl[:, arm.ctrl][:, :-1], ctrl[:, arm.ctrl.stop - 1]
        T = forward_kinematics(arm.robot, q)
        opening = arm.robot.opening(gripper)[:, None]
        parts += [T[:, :3, 3], pose.matrix_to_quat(T[:, :3, :3]), opening]
    return np.concatenate(parts, 1).astype(np.float32)
