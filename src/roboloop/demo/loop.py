"""The planner in closed loop: plans again where things moved, goes back where a stage broke.

Every control step it takes in what was measured, and gives the next targets. A plan is carried out
step by step; it is made again, warm, when something it rests on has moved, and the stage that still
holds is begun again when the hand lost what it held or when a path constraint broke.
"""

from collections import deque
from dataclasses import dataclass
from time import process_time

import numpy as np
from jaxtyping import Float

from roboloop.cell import Cell
from roboloop.demo.belief import Belief, Tracking
from roboloop.demo.goals import Unreachable
from roboloop.demo.planner import Planner
from roboloop.task.constraints import Constraint, Values, parse

MOVED, MOVED_NOISE = 0.004, 0.6
"""A keypoint that is farther from where it was when the plan was made has moved, m; and for every
unit of the tracker's noise."""
SLIPPED = 0.04
"""What the tracker sees farther from where it was held has left the hand, m."""
EMPTY = 0.02
"""A closed hand that is less open than this share holds nothing."""
BROKEN_STEPS = 4
"""A path constraint that fails, by more than its slack and than when the plan was made, for so many
control steps is broken."""
WAIT_STEPS, MAX_TRIES = 6, 4
"""Pause after a stage could not be planned; how often a stage is tried before it is given up."""
MAX_BACK = 12
"""How often it goes back before it gives up."""
FAR = 0.1
"""Targets farther from where the arm is are given up: it does not get there, rad."""
STILL, STILL_STEPS = 0.0015, 12
"""An arm whose joints move less in a control step (rad) has got to where it was sent, or as near as
it gets; so long it is waited for."""
NEAR = 0.08
"""A hand this close to what it pushes moves it itself, m."""
BEHIND = 0.05
"""A hand this far from a handle has lost it, m."""


@dataclass(frozen=True)
class Event:
    """Something that the loop decided, for its log."""

    step: int
    stage: str
    what: str

    def __str__(self) -> str:
        return f"{self.step} {self.stage}: {self.what}"


class ClosedLoop:
    """Does the task of one cell in closed loop.

    Args:
        cell: Where.
        rng: Randomness of grasps and of the solver's starts.
        tracking: What is known of the tracker.
    """

    def __init__(self, cell: Cell, rng: np.random.Generator, tracking: Tracking) -> None:
        self.cell = cell
        self.planner, self.belief = Planner(cell, rng), Belief(cell, tracking)
        self.log: list[Event] = []
        self.finished = False
        self.problem = ""
        """Why it gave up."""
        self.cpu_s: list[float] = []
        """Of each control step."""
        self._moved = MOVED + MOVED_NOISE * tracking.noise_mm / 1000
        self._look_steps = self.belief.look_steps
        self._index, self._tries, self._n_back, self._wait = 0, 0, 0, 0
        self._rows: deque[np.ndarray] = deque()
        self._started = False
        self._ctrl = np.append(cell.home_qpos[cell.arm_qpos], cell.robot.gripper_open)
        self._values = Values({}, {})
        """Of the belief in this control step."""
        self._anchor: dict[str, np.ndarray] = {}
        self._broken_steps, self._path_off_planned = 0, 0.0
        self._grip = 0.0
        self._q, self._moves, self._waited = cell.home_qpos[cell.arm_qpos], True, 0

    def act(
        self,
        q: Float[np.ndarray, "n"],
        gripper: float,
        tracked: Float[np.ndarray, "m"],
    ) -> Float[np.ndarray, "nu"]:
        """Take in what was measured, see `Belief.update`; return the next targets."""
        start = process_time()
        if not self.belief.n_seen:
            self._ctrl[:-1] = q
        self.belief.update(q, gripper, tracked)
        self._moves, self._q = bool(np.abs(q - self._q).max() > STILL), q.copy()
        self.planner.arm.update(self.belief.qpos)
        self._values = self.planner.arm.values()
        if not self.finished and self.belief.n_seen > self._look_steps:
            self._watch()
            self._go_on()
        if self._rows:
            self._ctrl = self._rows.popleft()
        self.cpu_s.append(process_time() - start)
        return self._ctrl.copy()

    # --- what may have gone wrong

    def _watch(self) -> None:
        """Go back, or plan again, where what the running plan rests on does not hold."""
        held = self.cell.task.held(self._index)
        if not self._rows or (held and self._letting_go()):
            return
        if held and self._lost(held):
            self._back(f"`{self._named(held)}` left the hand")
            return
        if held and self._path_broken():
            self._tries += 1
            if self._tries < MAX_TRIES:
                self._say("a path constraint broke: planned again")
                self._plan()
            else:
                self._back("a path constraint broke")
            return
        off = self._off_anchor()
        if off > self._moved and not self._closing():
            self._say(f"moved by {100 * off:.1f} cm: planned again")
            self._plan(warm=True)

    def _letting_go(self) -> bool:
        """Whether the hand that held something has been told to open: now it may fall."""
        return bool(self._ctrl[-1] != self.cell.robot.gripper_closed)

    def _lost(self, held: str) -> bool:
        opening = self.belief.opening
        if opening < max(EMPTY, 0.5 * self._grip):
            return True
        if "." in held:
            p = self._values.points[held]
            return bool(np.linalg.norm(p - self.belief.hand[:3, 3]) > BEHIND)
        return self.belief.slip > SLIPPED

    def _path_broken(self) -> bool:
        broken = self._path_off() > max(0.0, self._path_off_planned) + 1
        self._broken_steps = self._broken_steps + 1 if broken else 0
        return self._broken_steps > BROKEN_STEPS

    def _path_off(self) -> float:
        """By how much the path constraint that fails most does so, in its slack."""
        path = self.cell.task.stages[self._index].path
        return max((_off(parse(text), self._values) for text in path), default=0.0)

    def _closing(self) -> bool:
        """Whether only the gripper still has to act."""
        return bool(np.ptp([row[:-1] for row in self._rows], axis=0).max() == 0)

    def _off_anchor(self) -> float:
        """How far the points that the plan rests on are from where they were, m."""
        now = self._anchor_points()
        both = self._anchor.keys() & now.keys()
        return max((float(np.linalg.norm(now[k] - self._anchor[k])) for k in both), default=0.0)

    def _anchor_points(self) -> dict[str, np.ndarray]:
        """The points that the running stage's plan rests on."""
        stage, held = self.cell.task.stages[self._index], self.cell.task.held(self._index)
        points = self._values.points
        if stage.grasp:
            role = stage.grasp.partition(".")[0]
            named = {stage.grasp} if "." in stage.grasp else set(points)
            return {k: p for k, p in points.items() if k in named and k.startswith(f"{role}.")}
        if stage.push and np.linalg.norm(points[stage.push] - self.belief.hand[:3, 3]) > NEAR:
            return {stage.push: points[stage.push]}
        if not held or "." in held:
            return {}
        used = set[str]().union(*(parse(text).names()[0] for text in stage.subgoal))
        own = (f"{held}.", "robot.")
        return {k: p for k, p in points.items() if k in used and not k.startswith(own)}

    def _back(self, why: str) -> None:
        """Begin again the last stage that holds: the one in which something was grasped."""
        stages = self.cell.task.stages
        grasped = [i for i in range(self._index) if stages[i].grasp]
        if grasped:
            self.planner.blame(grasped[-1])
        self._go_to(grasped[-1] if grasped else 0, why)

    def _go_to(self, index: int, why: str) -> None:
        self._n_back += 1
        if self._n_back > MAX_BACK:
            self._give_up(why)
            return
        self._say(f"{why}: back to `{self.cell.task.stages[index].name}`")
        if not self.cell.task.held(index):
            self.belief.hold(None)
        self._index, self._tries, self._started = index, 0, False
        self._rows.clear()
        self._broken_steps = 0

    # --- going on

    def _go_on(self) -> None:
        """Check what is about to end, and plan what comes next."""
        if self._wait:
            self._wait -= 1
            return
        if self._rows and not self._about_to_release():
            return
        if self._started and not self._ended():
            return
        if not self._rows and not self._started:
            self._plan()

    def _about_to_release(self) -> bool:
        """Whether the next row opens the hand, and the sub-goal has not been looked at yet."""
        stage = self.cell.task.stages[self._index]
        opens = self._rows[0][-1] != self._ctrl[-1]
        return bool(stage.release and opens and self.cell.task.held(self._index))

    def _ended(self) -> bool:
        """See how a stage ended; True where the next is to be planned now."""
        stage = self.cell.task.stages[self._index]
        if stage.grasp and not self._rows:
            return self._grasped(stage.grasp)
        missed = self._missed_by()
        if missed and not (stage.release and not self._rows):
            if self._moves and self._waited < STILL_STEPS:
                self._waited += 1
                self._rows.extendleft([self._ctrl.copy()] if self._rows else [])
                return False
            self._tries += 1
            if self._tries < MAX_TRIES:
                self._say(f"{missed}: planned again")
                self._plan(warm=True)
                return False
        if self._rows:  # let go now
            self._tries = MAX_TRIES
            return False
        if stage.release:
            self.belief.hold(None)
        self._next()
        return not self.finished

    def _grasped(self, what: str) -> bool:
        opening = self.belief.opening
        if opening < EMPTY:
            self.planner.blame(self._index)
            self._go_to(self._index, "the grasp missed")
            return not self.finished
        self._grip = opening
        if "." not in what:
            self.belief.hold(self.cell.frame_body(what))
        self._next()
        return not self.finished

    def _next(self) -> None:
        self._index, self._tries, self._started = self._index + 1, 0, False
        if self._index < len(self.cell.task.stages):
            return
        self._index -= 1
        values = self._values
        left = next((c for c in self.cell.success if c.violation(values) > c.tolerance), None)
        if left is None:
            self._say("done")
            self.finished = True
        else:
            for index, stage in enumerate(self.cell.task.stages):
                if stage.grasp:  # the same again may well end the same way
                    self.planner.blame(index)
            self._go_to(0, f"not done: that {left.sentence} fails")

    def _missed_by(self) -> str:
        """The constraint of the sub-goal that fails most, in words; empty if all hold."""
        stage = self.cell.task.stages[self._index]
        values = self._values.raised(stage.reference, self.planner.drop(self._index))
        off = [(_off(c, values), c) for c in map(parse, stage.subgoal)]
        worst, constraint = max(off, key=lambda each: each[0], default=(0.0, None))
        return f"that {constraint.sentence} fails" if constraint and worst > 1 else ""

    def _plan(self, warm: bool = False) -> None:
        """Plan the running stage from here, in place; pause where that cannot be done."""
        try:
            motion = self.planner.plan(self._index, self._plan_qpos(), warm)
        except Unreachable as error:
            if warm:
                self._plan()
                return
            self._tries += 1
            self._rows.clear()
            self._started, self._wait = False, WAIT_STEPS
            self._say(error.problem)
            if self._tries >= (2 if self.cell.task.held(self._index) else MAX_TRIES):
                self._stuck(error.problem)
            return
        self._rows, self._waited = deque(motion.ctrl), 0
        self._path_off_planned, self._broken_steps = self._path_off(), 0
        self._anchor = self._anchor_points()
        self._started = True

    def _stuck(self, problem: str) -> None:
        if self.cell.task.held(self._index):
            self._back(problem)
        else:
            self._give_up(problem)

    def _give_up(self, problem: str) -> None:
        self.finished, self.problem = True, problem
        self._say(f"gave up: {problem}")
        self._rows.clear()

    # --- the state

    def _plan_qpos(self) -> Float[np.ndarray, "nq"]:
        """The state that plans start from: the arm where it is sent, with what it holds."""
        target = self._ctrl[:-1]
        now = self.belief.qpos
        if np.abs(target - now[self.cell.arm_qpos]).max() > FAR:
            return now.copy()
        return self.planner.arm.moved(now, target, self.belief.held)

    def _named(self, reference: str) -> str:
        role, dot, keypoint = reference.partition(".")
        return self.cell.task.roles[role] + dot + keypoint

    def _say(self, what: str) -> None:
        stage = self.cell.task.stages[self._index].name
        self.log.append(Event(self.belief.n_seen, stage, what))


def _off(constraint: Constraint, values: Values) -> float:
    """By how much a constraint fails, in its slack."""
    return float(constraint.violation(values)) / constraint.slack
