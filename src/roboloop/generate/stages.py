"""Where the stages of a recorded demonstration end: by marks in its file, or by what happens in it.

A grasp ends when the hand has closed on what then moves with it, a release when the hand has opened
where the sub-goal holds, any other stage when its sub-goal holds first. A grasp that slipped, and
one that was let go elsewhere, do not count.
"""

from collections.abc import Mapping

import mujoco
import numpy as np
from jaxtyping import Bool

from roboloop.demo.judge import MOVED
from roboloop.demo.ways.motion import GRIP_STEPS
from roboloop.errors import RoboloopError
from roboloop.generate.segments import MOVES, Recording, joint_address
from roboloop.task.constraints import parse
from roboloop.task.spec import Stage

SLACK = 0.02
"""By how much a recorded hand may miss a sub-goal that the planner meets, m or rad."""
LEFT = 0.01
"""The hand has gone from where it closed or opened when it is this far away, m."""

Stages = tuple[tuple[str, int, int], ...]


def find_stages(recording: Recording, signals: Mapping[str, Bool[np.ndarray, "T"]]) -> Stages:
    """Find a task's stages in a demonstration, as (name, first step, one past the last step).

    Args:
        recording: What happened; its own stages are not read.
        signals: By the name of a stage, whether it is done at a step: it ends where that becomes
            true. Stages without one are found by what happens.

    Raises:
        RoboloopError: A stage does not end.
    """
    finder = _Finder(recording)
    stages, start = [], 0
    for index, stage in enumerate(recording.arm.cell.task.stages):
        if stage.name in signals:
            stop = _rise(signals[stage.name], start)
        else:
            stop = finder.end(index, start)
        if stop is None or stop <= start:
            done = ", ".join(name for name, _, _ in stages) or "none"
            problem = f"stage `{stage.name}` does not end; stages before it: {done}"
            raise RoboloopError(problem)
        stages.append((stage.name, start, stop))
        start = stop
    return tuple(stages)


def _rise(signal: Bool[np.ndarray, "T"], start: int) -> int | None:
    """The first step after `start` at which a signal becomes true."""
    rises = np.flatnonzero(signal[1:] & ~signal[:-1]) + 1
    return next((int(t) for t in rises if t > start), None)


class _Finder:
    """Finds the ends of stages by what happens."""

    def __init__(self, recording: Recording) -> None:
        self.cell, self.recording = recording.arm.cell, recording
        opening, cell = recording.opening, recording.arm.cell
        self.n_steps = len(opening)
        middle = (opening.min() + opening.max()) / 2
        edges = np.diff(np.concatenate([[False], opening < middle]).astype(int))
        self._closings, self._openings = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)
        data, sites = mujoco.MjData(cell.model), []
        for qpos in recording.qpos:
            data.qpos[:] = qpos
            mujoco.mj_kinematics(cell.model, data)
            sites.append(data.site_xpos.copy())
        site_xpos = np.stack(sites)
        site_xpos[:, cell.eef_site] = recording.Ts_world_eef[:, :3, 3]
        self._values = cell.values(site_xpos, recording.qpos)

    def end(self, index: int, start: int) -> int | None:
        """One past the last step of stage `index`, which begins at `start`; None without an end."""
        stages = self.cell.task.stages
        stage = stages[index]
        if stage.grasp:
            later = (s for s in stages[index + 1 :] if s.release)
            return self._grasped(stage.grasp, next(later, None), start)
        if stage.release:
            met = self._holds(stage, SLACK)
            opened = (int(t) for t in self._openings if t >= start and met[t])
            return self._gone(next(opened, None))
        if index == len(stages) - 1:
            return self.n_steps if self._holds(stage, SLACK)[-1] else None
        for slack in (0.0, SLACK):
            met = np.flatnonzero(self._holds(stage, slack)[start + 1 :])
            if len(met):
                return start + 1 + int(met[0])
        return None

    def _grasped(self, held: str, release: Stage | None, start: int) -> int | None:
        """When the hand has closed on what it then moves, to where it is to be released."""
        address = joint_address(self.cell, held)
        first = self.cell.free_bodies[self.cell.frame_body(held)] if address is None else address
        track = self.recording.qpos[:, first : first + (3 if address is None else 1)]
        for closing in map(int, self._closings[self._closings >= start]):
            after = self._openings[self._openings > closing]
            until = int(after[0]) if len(after) else self.n_steps
            gone = np.linalg.norm(track[closing : until + 1] - track[closing], axis=1).max()
            there = release is None or self._holds(release, SLACK)[until]
            if gone > (MOVED if address is None else MOVES) and there:
                return self._gone(closing)
        return None

    def _gone(self, step: int | None) -> int | None:
        """When the hand goes on after its fingers have moved at `step`."""
        if step is None:
            return None
        p = self.recording.Ts_world_target[step : step + GRIP_STEPS, :3, 3]  # the hand lags behind
        far = np.linalg.norm(p - p[0], axis=1) > LEFT
        return step + (int(np.argmax(far)) if far.any() else len(p))

    def _holds(self, stage: Stage, slack: float) -> Bool[np.ndarray, "S"]:
        """Whether a stage's sub-goal holds, before every step and after the last."""
        met = np.ones(self.n_steps + 1, bool)
        for text in stage.subgoal:
            met &= parse(text).violation(self._values) <= slack
        return met
