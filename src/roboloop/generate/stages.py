"""Where the stages of a recorded demonstration end: by marks in its file, or by what happens in it.

A grasp ends when the hand has closed on what then moves with it, a release when the hand has opened
where the sub-goal holds, any other stage when its sub-goal holds first, and the last one when the
hand comes to rest. A grasp that slipped, and one that was let go elsewhere, do not count.
"""

from collections.abc import Mapping
from dataclasses import replace

import mujoco
import numpy as np
from jaxtyping import Bool, Int

from roboloop.demo.judge import MOVED
from roboloop.demo.ways.motion import GRIP_STEPS
from roboloop.errors import RoboloopError
from roboloop.generate.frames import joint_address
from roboloop.generate.segments import MOVES, Recording, Track
from roboloop.task.constraints import parse
from roboloop.task.spec import BOTH, Stage

SLACK = 0.02
"""By how much a recorded hand may miss a sub-goal that the planner meets, m or rad."""
LEFT = 0.01
"""The hand has gone from where it closed or opened when it is this far away, m."""
STILL = 1e-4
"""What is told to go less far than this stands still, m."""

Stages = tuple[tuple[str, int, int], ...]


def find_stages(recording: Recording, signals: Mapping[str, Bool[np.ndarray, "T"]]) -> Stages:
    """Find a task's steps in a demonstration, as (name, first control step, one past the last).

    What several arms do at once ends when the last of them is done.

    Args:
        recording: What happened; its own stages are not read.
        signals: By the name of a stage, whether it is done at a step: it ends where that becomes
            true. Stages without one are found by what happens.

    Raises:
        RoboloopError: A stage does not end.
    """
    task, finder = recording.cell.task, _Finder(recording)
    found, start = [], 0
    for k, step in enumerate(task.steps()):
        ends = [finder.end(index, start, signals.get(task.stages[index].name)) for index in step]
        for index, end in zip(step, ends, strict=True):
            if end is None or end <= start:
                done = ", ".join(name for name, _, _ in found) or "none"
                problem = (
                    f"stage `{task.stages[index].name}` does not end; stages before it: {done}"
                )
                raise RoboloopError(problem)
        stop = max(end for end in ends if end is not None)
        found.append((task.step_name(k), start, stop))
        start = stop
    return tuple(found)


def _rise(signal: Bool[np.ndarray, "T"], start: int) -> int | None:
    """The first step after `start` at which a signal becomes true."""
    rises = np.flatnonzero(signal[1:] & ~signal[:-1]) + 1
    return next((int(t) for t in rises if t > start), None)


def _edges(track: Track) -> tuple[Int[np.ndarray, "_"], Int[np.ndarray, "_"]]:
    """The steps at which a hand begins to close, and to open."""
    opening = track.opening
    middle = (opening.min() + opening.max()) / 2
    edges = np.diff(np.concatenate([[False], opening < middle]).astype(int))
    return np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)


class _Finder:
    """Finds the ends of stages by what happens."""

    def __init__(self, recording: Recording) -> None:
        self.cell, self.recording = recording.cell, recording
        self.n_steps = len(recording.qpos) - 1
        self._edges = [_edges(track) for track in recording.tracks]
        data, sites = mujoco.MjData(self.cell.model), []
        for qpos in recording.qpos:
            data.qpos[:] = qpos
            mujoco.mj_kinematics(self.cell.model, data)
            sites.append(data.site_xpos.copy())
        site_xpos = np.stack(sites)
        bases = {}
        for track in recording.tracks:
            cell = track.arm.cell
            site_xpos[:, cell.eef_site] = track.Ts_world_eef[:, :3, 3]
            bases[cell.mount.base] = track.Ts_world_base[:, :3, 3]
        values = self.cell.values(site_xpos, recording.qpos)
        self._values = replace(values, points={**values.points, **bases})

    def end(self, index: int, start: int, signal: Bool[np.ndarray, "T"] | None) -> int | None:
        """One past the last step of stage `index`, which begins at `start`; None without an end."""
        if signal is not None:
            return _rise(signal, start)
        stages = self.cell.task.stages
        stage = stages[index]
        if stage.grasp:
            return self._grasped(index, start)
        if stage.release:
            met = self._holds(stage, SLACK)
            ends = [self._let_go(k, met, start) for k in self._who(stage)]
            return None if None in ends else max(end for end in ends if end is not None)
        if index == len(stages) - 1:
            return self._at_rest(stage, start) if self._holds(stage, SLACK)[-1] else None
        for slack in (0.0, SLACK):
            met = np.flatnonzero(self._holds(stage, slack)[start + 1 :])
            if len(met):
                return start + 1 + int(met[0])
        return None

    def _at_rest(self, stage: Stage, start: int) -> int:
        """When the hands of the last stage, which begins at `start`, go nowhere any more."""
        stop = start + 1
        for k in self._who(stage):
            p = self.recording.tracks[k].Ts_world_target[:, :3, 3]
            away = np.linalg.norm(p - p[-1], axis=1) > STILL
            stop = max(stop, 2 + int(np.flatnonzero(away).max(initial=-1)))
        return min(stop, self.n_steps)

    def _who(self, stage: Stage) -> list[int]:
        """Which of the arms do a stage."""
        names = [mount.name for mount in self.cell.task.arms]
        return [k for k, name in enumerate(names) if stage.arm in (name, BOTH)]

    def _let_go(self, arm: int, met: Bool[np.ndarray, "S"], start: int) -> int | None:
        """When a hand has opened where a sub-goal is met."""
        opened = (int(t) for t in self._edges[arm][1] if t >= start and met[t])
        return self._gone(arm, next(opened, None))

    def _grasped(self, index: int, start: int) -> int | None:
        """When the hand has closed on what it then moves, to where it is to be released."""
        stages = self.cell.task.stages
        held, (arm, *_) = str(stages[index].grasp), self._who(stages[index])
        later = (s for s in stages[index + 1 :] if s.release and s.arm in (stages[index].arm, BOTH))
        release, (closings, openings) = next(later, None), self._edges[arm]
        address = joint_address(self.cell, held)
        first = self.cell.free_bodies[self.cell.frame_body(held)] if address is None else address
        track = self.recording.qpos[:, first : first + (3 if address is None else 1)]
        for closing in map(int, closings[closings >= start]):
            after = openings[openings > closing]
            until = int(after[0]) if len(after) else self.n_steps
            gone = np.linalg.norm(track[closing : until + 1] - track[closing], axis=1).max()
            there = release is None or self._holds(release, SLACK)[until]
            if gone > (MOVED if address is None else MOVES) and there:
                return self._gone(arm, closing)
        return None

    def _gone(self, arm: int, step: int | None) -> int | None:
        """When a hand goes on after its fingers have moved at `step`."""
        if step is None:
            return None
        targets = self.recording.tracks[arm].Ts_world_target
        p = targets[step : step + GRIP_STEPS, :3, 3]  # the hand lags behind
        far = np.linalg.norm(p - p[0], axis=1) > LEFT
        return step + (int(np.argmax(far)) if far.any() else len(p))

    def _holds(self, stage: Stage, slack: float) -> Bool[np.ndarray, "S"]:
        """Whether a stage's sub-goal holds, before every step and after the last."""
        met = np.ones(self.n_steps + 1, bool)
        for text in stage.subgoal:
            met &= parse(text).violation(self._values) <= slack
        return met
