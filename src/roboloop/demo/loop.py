"""The planner in closed loop: plans again where things moved, goes back where a stage broke.

Every control step it takes in what was measured, and gives the next targets. A plan is carried out
row by row; it is made again, warm, when something it rests on has moved, and the step of the task
that still holds is begun again when a hand lost what it held or when a path constraint broke.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from time import process_time

import numpy as np
from jaxtyping import Float

from roboloop.cell import Cell
from roboloop.demo.anchors import anchors
from roboloop.demo.belief import Belief, Measured, Tracking
from roboloop.demo.goals import Unreachable
from roboloop.demo.retreat import SOFT_REST_STEPS
from roboloop.demo.team import expert
from roboloop.task.constraints import Constraint, Values, parse
from roboloop.task.spec import BOTH, Stage

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
WAIT_STEPS, MAX_TRIES, MAX_HELD_TRIES = 6, 4, 2
"""Pause after a stage could not be planned; how often a stage is tried before it is given up, and
one in which something is held."""
GAIN = 0.9
"""A try that leaves at most this share of what was missing is not counted."""
MAX_BACK = 12
"""How often it goes back before it gives up."""
FAR = 0.1
"""Targets farther from where the arm is are given up: it does not get there, rad."""
STILL, STILL_STEPS = 0.0015, 12
"""An arm whose joints move less in a control step (rad) has got to where it was sent, or as near as
it gets; so long it is waited for."""
SOFT_SLACK = 0.03
"""What is held of a cloth may be off by this, m: planning again would drag what lies."""
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
        self.planner, self.belief = expert(cell, rng), Belief(cell, tracking)
        self.log: list[Event] = []
        self.finished = False
        self.problem = ""
        """Why it gave up."""
        self.cpu_s: list[float] = []
        """Of each control step."""
        self._moved = MOVED + MOVED_NOISE * tracking.noise_mm / 1000
        self._look_steps = self.belief.look_steps
        self._index, self._tries, self._n_back, self._wait = 0, 0, 0, 0
        self._worst = np.inf
        """By how much the sub-goal failed when it was last looked at, in its slack."""
        self._steps = cell.task.steps()
        self._grippers = [arm.ctrl.stop - 1 for arm in cell.arms]
        self._rows: deque[np.ndarray] = deque()
        self._started = False
        homes = ([*arm.mount.home, arm.robot.gripper_open] for arm in cell.arms)
        self._ctrl = np.concatenate([*homes])
        self._values = Values({}, {})
        """Of the belief in this control step."""
        self._anchor: dict[str, np.ndarray] = {}
        self._broken_steps, self._path_off_planned = 0, 0.0
        self._grip = dict.fromkeys((mount.name for mount in cell.task.arms), 0.0)
        self._q = np.concatenate([arm.mount.home for arm in cell.arms])
        self._moves, self._waited = True, 0

    def act(
        self, measured: Sequence[Measured], tracked: Float[np.ndarray, "m"]
    ) -> Float[np.ndarray, "nu"]:
        """Take in what was measured, see `Belief.update`; return the next targets."""
        start = process_time()
        if not self.belief.n_seen:
            for arm, (q, _) in zip(self.cell.arms, measured, strict=True):
                self._ctrl[arm.ctrl][:-1] = q
        self.belief.update(measured, tracked)
        q = np.concatenate([q for q, _ in measured])
        self._moves, self._q = bool(np.abs(q - self._q).max() > STILL), q
        self.planner.arm.update(self.belief.qpos)
        self._values = self.planner.arm.values()
        if not self.finished and self.belief.n_seen > self._look_steps:
            self._watch()
            self._go_on()
        if self._rows:
            self._ctrl = self._rows.popleft()
        self.cpu_s.append(process_time() - start)
        return self._ctrl.copy()

    @property
    def _stages(self) -> list[Stage]:
        """What is done now, at once."""
        return [self.cell.task.stages[i] for i in self._steps[self._index]]

    def _held(self, index: int) -> list[tuple[Cell, str]]:
        """The arms that hold something when a step begins, and what."""
        first = self._steps[index][0]
        held = ((arm, self.cell.task.held(first, arm.mount.name)) for arm in self.cell.arms)
        return [(arm, what) for arm, what in held if what]

    # --- what may have gone wrong

    def _watch(self) -> None:
        """Go back, or plan again, where what the running plan rests on does not hold."""
        if not self._rows:
            return
        held = [(arm, what) for arm, what in self._held(self._index) if not self._letting_go(arm)]
        for arm, what in held:
            if self._lost(arm, what):
                self._back(f"`{self._named(what)}` left the hand")
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

    def _letting_go(self, arm: Cell) -> bool:
        """Whether a hand that held something has been told to open: now it may fall."""
        return bool(self._ctrl[arm.ctrl][-1] != arm.robot.gripper_closed)

    def _lost(self, arm: Cell, held: str) -> bool:
        opening, soft = self.belief.opening(arm.mount.name), arm.is_soft(held)
        if opening < max(EMPTY, 0.0 if soft else 0.5 * self._grip[arm.mount.name]):
            return True
        if not arm.is_free(held):
            p = self._values.points[held]
            return bool(np.linalg.norm(p - self.belief.hand(arm.mount.name)[:3, 3]) > BEHIND)
        return self.belief.slip[arm.frame_body(held)] > SLIPPED

    def _path_broken(self) -> bool:
        broken = self._path_off() > max(0.0, self._path_off_planned) + 1
        self._broken_steps = self._broken_steps + 1 if broken else 0
        return self._broken_steps > BROKEN_STEPS

    def _path_off(self) -> float:
        """By how much the path constraint that fails most does so, in its slack."""
        path = (text for stage in self._stages for text in stage.path)
        return max((_off(parse(text), self._values) for text in path), default=0.0)

    def _closing(self) -> bool:
        """Whether only grippers still have to act."""
        return bool(np.ptp(np.delete(self._rows, self._grippers, 1), axis=0).max() == 0)

    def _off_anchor(self) -> float:
        """How far the points that the plan rests on are from where they were, m."""
        now = anchors(self.belief, self._values, self._steps[self._index])
        both = self._anchor.keys() & now.keys()
        return max((float(np.linalg.norm(now[k] - self._anchor[k])) for k in both), default=0.0)

    def _back(self, why: str) -> None:
        """Begin again the last step that holds: the one in which something was grasped."""
        stages, before = self.cell.task.stages, range(self._index)
        grasped = [k for k in before if any(stages[i].grasp for i in self._steps[k])]
        if grasped:
            self.planner.blame(grasped[-1])
        self._begin_again(grasped[-1] if grasped else 0, why)

    def _begin_again(self, index: int | None, why: str) -> None:
        """Go to a step, or give up.

        Where all that is left is that hands get away, it goes to the last step, which does that.
        """
        last = len(self._steps) - 1
        if self._all_but_hands_done():
            index, why = last, f"{why}, where it has to be"
        if index is None:
            self._give_up(why)
        else:
            self._go_to(index, why)

    def _all_but_hands_done(self) -> bool:
        """Whether all of the task's success holds that is not about where hands are.

        What a hand still holds, and can put anywhere, is not where it has to be.
        """
        held = self._held(self._index)
        if any(arm.is_free(what) and not self._lost(arm, what) for arm, what in held):
            return False
        hands = {arm.eef for arm in self.cell.arms}
        others = [c for c in self.cell.success if not c.names()[0] & hands]
        return bool(others) and all(c.violation(self._values) <= 0 for c in others)

    def _go_to(self, index: int, why: str) -> None:
        self._n_back += 1
        if self._n_back > MAX_BACK:
            self._give_up(why)
            return
        self._say(f"{why}: back to `{self.cell.task.step_name(index)}`")
        kept = {arm.frame_body(what) for arm, what in self._held(index)}
        for body in self.belief.held.keys() - kept:
            self.belief.hold(body, None)
        self._index, self._tries, self._worst, self._started = index, 0, np.inf, False
        self._rows.clear()
        self._broken_steps = 0
        if any(s.grasp and self.cell.is_soft(s.grasp) for s in self._stages):
            self._drop()

    def _drop(self) -> None:
        """Open the hands where they are and wait: two may pull at the same cloth."""
        self._ctrl, self._wait = self._ctrl.copy(), SOFT_REST_STEPS
        for arm in self.cell.arms:
            self._ctrl[arm.ctrl.stop - 1] = arm.robot.gripper_open

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
        """Whether the next row opens a hand, and the sub-goal has not been looked at yet."""
        opens = (self._rows[0] != self._ctrl)[self._grippers].any()
        releases = any(stage.release for stage in self._stages)
        return bool(releases and opens and self._held(self._index))

    def _ended(self) -> bool:
        """See how a step ended; True where the next is to be planned now."""
        if not self._rows and not self._all_grasped():
            return not self.finished
        releases = [stage for stage in self._stages if stage.release]
        missed, worst = self._missed_by()
        if missed and not (releases and not self._rows):
            if self._moves and self._waited < STILL_STEPS:
                self._waited += 1
                self._rows.extendleft([self._ctrl.copy()] if self._rows else [])
                return False
            if worst > GAIN * self._worst:  # what gets nearer, if slowly, goes on
                self._tries += 1
            self._worst = worst
            if self._tries < MAX_TRIES:
                problem = self._try_plan(warm=True)
                self._say(f"{missed}: {problem or 'planned again'}")
                if not problem:
                    return False
        if self._rows:  # let go now
            self._tries = MAX_TRIES
            return False
        for stage in releases:
            for body in [b for b, arm in self.belief.held.items() if stage.arm in (arm, BOTH)]:
                self.belief.hold(body, None)
        self._next()
        return not self.finished

    def _all_grasped(self) -> bool:
        """Whether the hands have what they were to take; where not, begin again."""
        grasps = [(stage.arm, stage.grasp) for stage in self._stages if stage.grasp]
        if any(self.belief.opening(arm) < EMPTY for arm, _ in grasps):
            self.planner.blame(self._index)
            self._go_to(self._index, "the grasp missed")
            return False
        for arm, what in grasps:
            self._grip[arm] = self.belief.opening(arm)
            if self.cell.is_free(what):
                self.belief.hold(self.cell.frame_body(what), arm)
        return True

    def _next(self) -> None:
        self._index, self._tries, self._worst = self._index + 1, 0, np.inf
        self._started = False
        if self._index < len(self._steps):
            return
        self._index -= 1
        values = self._values
        left = next((c for c in self.cell.success if c.violation(values) > 0), None)
        if left is None:
            self._say("done")
            self.finished = True
        else:
            for index, stage in enumerate(self.cell.task.stages):
                if stage.grasp:  # the same again may well end the same way
                    self.planner.blame(index)
            self._begin_again(0, f"not done: that {left.sentence} fails")

    def _missed_by(self) -> tuple[str, float]:
        """The constraint of the sub-goal that fails most, in words, and by how much, in its slack.

        The words are empty if all hold.
        """
        off = list[tuple[float, Constraint]]()
        for i in self._steps[self._index]:
            stage = self.cell.task.stages[i]
            values = self._values.raised(stage.reference, self.planner.drop(i))
            held = self.cell.task.held(i)
            slack = SOFT_SLACK if held and self.cell.is_soft(held) else None
            off += [(_off(c, values, slack), c) for c in map(parse, stage.subgoal)]
        worst, constraint = max(off, key=lambda each: each[0], default=(0.0, None))
        return f"that {constraint.sentence} fails" if constraint and worst > 1 else "", worst

    def _plan(self, warm: bool = False) -> None:
        """Plan the running stage from here, in place; pause where that cannot be done."""
        problem = self._try_plan(warm)
        if problem:
            self._tries += 1
            self._rows.clear()
            self._started, self._wait = False, WAIT_STEPS
            self._say(problem)
            if not self._held(self._index) and self._tries >= MAX_TRIES:
                self._begin_again(None, problem)
            elif self._held(self._index) and self._tries >= MAX_HELD_TRIES:
                self._back(problem)

    def _try_plan(self, warm: bool = False) -> str:
        """Plan the running stage from here, in place; what prevents it, if anything.

        Where it cannot be done warm, it is planned anew.
        """
        try:
            motion = self.planner.plan(self._index, self._plan_qpos(), warm).after(self._ctrl)
        except Unreachable as error:
            return self._try_plan() if warm else error.problem
        self._rows, self._waited = deque(motion.ctrl), 0
        self._path_off_planned, self._broken_steps = self._path_off(), 0
        self._anchor = anchors(self.belief, self._values, self._steps[self._index])
        self._started = True
        return ""

    def _give_up(self, problem: str) -> None:
        self.finished, self.problem = True, problem
        self._say(f"gave up: {problem}")
        self._rows.clear()

    # --- the state

    def _plan_qpos(self) -> Float[np.ndarray, "nq"]:
        """The state that plans start from: the arms where they are sent, with what they hold."""
        qpos = self.belief.qpos.copy()
        carried = {arm: body for body, arm in self.belief.held.items()}
        for name, arm in self.planner.arms.items():
            target = self._ctrl[arm.cell.ctrl][:-1]
            if np.abs(target - qpos[arm.cell.arm_qpos]).max() <= FAR:
                qpos = arm.moved(qpos, target, carried.get(name))
        return qpos

    def _named(self, reference: str) -> str:
        role, dot, keypoint = reference.partition(".")
        return self.cell.task.roles[role] + dot + keypoint

    def _say(self, what: str) -> None:
        self.log.append(Event(self.belief.n_seen, self.cell.task.step_name(self._index), what))


def _off(constraint: Constraint, values: Values, slack: float | None = None) -> float:
    """By how much a constraint fails, in its slack."""
    return float(constraint.violation(values)) / (slack or constraint.slack)
