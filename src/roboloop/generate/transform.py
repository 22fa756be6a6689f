"""The expert that carries source demonstrations to the scene at hand, step by step."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float

from roboloop import pose
from roboloop.cell import Cell
from roboloop.demo.goals import NoPlace, Unreachable
from roboloop.demo.together import at_once, carried, on_body
from roboloop.demo.ways.arm import Arm
from roboloop.demo.ways.motion import Motion
from roboloop.generate.carrier import Carrier, aligned
from roboloop.generate.segments import Segment
from roboloop.generate.select import Selection, Source, ordered
from roboloop.task.spec import BOTH


@dataclass(frozen=True)
class Carrying:
    """How sources are chosen and varied."""

    selection: Selection = field(default_factory=Selection)
    stray: float = 0.0
    """Share of the transits on which the hand is first led astray, and of the skills that begin
    aside."""
    offset: tuple[int, int] = (0, 0)
    """Fewest and most control steps that a grasp's segment goes on after its end."""


class Transformer:
    """The `Expert` that carries source segments to the scene at hand.

    A step is carried from one source, whoever does it: what arms do at once belongs together. What
    arms hold together goes the source's way as one thing, and every hand stays where it is on it.

    Args:
        cell: Where to make a demonstration.
        sources: The stages' segments of every source episode, the best episode first.
        rng: Chooses sources, offsets, and where to stray.
        how: How sources are chosen and varied.
    """

    def __init__(
        self,
        cell: Cell,
        sources: Sequence[Source],
        rng: np.random.Generator,
        how: Carrying | None = None,
    ) -> None:
        self.cell, self._rng, self._how = cell, rng, how or Carrying()
        self._carriers = {arm.mount.name: Carrier(arm, rng, self._how.stray) for arm in cell.arms}
        self._sources = list(sources)

    @property
    def arm(self) -> Arm:
        """The first of the arms."""
        return self._carriers[self.cell.task.arms[0].name].arm

    @property
    def arms(self) -> dict[str, Arm]:
        """The arms, by name."""
        return {name: carrier.arm for name, carrier in self._carriers.items()}

    def plan(self, index: int, qpos: Float[np.ndarray, "nq"]) -> Motion:
        """Plan step `index` from the state `qpos`; see `Expert`.

        Where the chosen segments are out of reach or not free, the others follow; where no source's
        way there is free, ways through joint space are looked for, which look less alike. The
        source that served one step is the first choice for the next.
        """
        stages, problem = self.cell.task.steps()[index], ""
        ranked = self._ranked(stages[0], qpos)
        n_after = int(self._rng.integers(*self._how.offset, endpoint=True))
        for search in (False, True):
            hopeful = list[Source]()
            for source in ranked:
                try:
                    motion, turned = self._step(stages, source, qpos, n_after, search)
                except Unreachable as error:
                    problem = problem or error.problem
                    hopeful += [] if isinstance(error, NoPlace) else [source]
                    continue
                self._sources.sort(key=lambda other: other is not source)
                for name, is_turned in turned.items():
                    self._carriers[name].turned = is_turned
                return motion
            ranked = hopeful
        raise Unreachable(problem or "no source segment")

    def _ranked(self, index: int, qpos: np.ndarray) -> list[Source]:
        """The sources in the order in which they are tried for a stage; see `ordered`."""
        carrier = self._carrier(index)
        T_world_ref = carrier.reference(index, qpos)
        if self.cell.task.stages[index].arm == BOTH:
            T_world_eef = self.arm.body_pose(self._held(index))
        else:
            T_world_eef = carrier.arm.eef(qpos[carrier.cell.arm_qpos])
        selection = self._how.selection
        return ordered(self._sources, index, T_world_ref, T_world_eef, selection, self._rng)

    def _step(
        self, stages: Sequence[int], source: Source, qpos: np.ndarray, n_after: int, search: bool
    ) -> tuple[Motion, dict[str, bool]]:
        """Carry a step from a source; also which hands are turned against the source's then."""
        if self.cell.task.stages[stages[0]].arm == BOTH:
            return self._both(stages[0], source[stages[0]], qpos), {}
        turned = dict[str, bool]()

        def alone(stage: int, state: Float[np.ndarray, "nq"]) -> Motion:
            carrier = self._carrier(stage)
            motion, is_turned = carrier.carry(stage, source[stage], state, n_after, search)
            turned[carrier.cell.mount.name] = is_turned
            return motion

        return at_once(self.arms, stages, qpos, alone), turned

    def _both(self, index: int, segment: Segment, qpos: np.ndarray) -> Motion:
        """Carry a stage in which the arms move together what they hold."""
        arms, body = list(self.arms.values()), self._held(index)
        Ts = self._carrier(index).reference(index, qpos) @ segment.Ts_ref_eef
        ctrl = carried(arms, body, qpos, Ts)
        T_eef_body = pose.inverse(on_body(arms, body, qpos)[0])
        path = arms[0].eefs(ctrl[:, arms[0].cell.ctrl][:, :-1]) @ T_eef_body
        openings = segment.opening[aligned(path, Ts)]
        for arm, opening in zip(arms, openings.T, strict=True):
            ctrl[:, arm.cell.ctrl.stop - 1] = arm.cell.robot.gripper_at(opening)
        return Motion(ctrl)

    def _carrier(self, index: int) -> Carrier:
        """Who carries a stage; of both, the first."""
        arm = self.cell.task.stages[index].arm
        return self._carriers[self.cell.task.arms[0].name if arm == BOTH else arm]

    def _held(self, index: int) -> int:
        """The body that is held in a stage."""
        return self.cell.frame_body(str(self.cell.task.held(index)))
