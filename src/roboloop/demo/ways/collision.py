"""Collision of whole arms and what they hold, on MuJoCo's own shapes."""

import copy
from collections.abc import Iterator, Sequence

import mujoco
import numpy as np
from jaxtyping import Bool, Float, Int

from roboloop.cell import Cell, bodies_below

MARGIN = 0.01
"""Distances are known below this; farther counts as this, m."""


class Collisions:
    """Distances between what moves (arms, held object) and everything else in one cell."""

    def __init__(self, cell: Cell) -> None:
        self._model = copy.copy(cell.model)
        # bodies have one of their own, by which pairs are left out before their geoms are looked at
        self._model.geom_margin[:] = self._model.body_margin[:] = MARGIN
        self._model.flex_contype[:] = self._model.flex_conaffinity[:] = 0  # cloths give way
        self._data = cell.scratch
        self._is_robot = cell.is_robot[self._model.geom_bodyid]
        self._arm = np.full(cell.model.ngeom, -1)
        """Which arm a geom belongs to; -1 is none."""
        for i, arm in enumerate(cell.arms):
            self._arm[np.isin(self._model.geom_bodyid, arm.bodies)] = i
        hands = np.concatenate([arm.hand_bodies for arm in cell.arms])
        self._in_hand = np.isin(self._model.geom_bodyid, hands)
        self._known: dict[tuple[int | None, int | None, tuple[int, ...]], np.ndarray] = {}
        """Pairs of geoms that count, by what is held, touched and inside."""

    def between_arms(self, qpos: Float[np.ndarray, "B nq"]) -> Iterator[float]:
        """Yield the smallest distance (m, at most `MARGIN`) between two arms; see `clearances`."""
        both = self._is_robot[:, None] & self._is_robot
        counts = both & (self._arm[:, None] != self._arm)
        return self._smallest(qpos, np.pad(counts, (0, 1)))

    def of_hands(
        self, qpos: Float[np.ndarray, "B nq"], geoms: Int[np.ndarray, "g"]
    ) -> Iterator[float]:
        """Yield how far hands are from geoms (m, at most `MARGIN`); see `clearances`."""
        other = np.isin(np.arange(len(self._in_hand)), geoms)
        counts = self._in_hand[:, None] & other
        return self._smallest(qpos, np.pad(counts | counts.T, (0, 1)))

    def clearances(
        self,
        qpos: Float[np.ndarray, "B nq"],
        held: int | None = None,
        touched: int | None = None,
        inside: Sequence[int] = (),
    ) -> Iterator[float]:
        """Yield the smallest signed distance (m, at most `MARGIN`) in each configuration.

        Overlaps are negative. Who has seen enough stops asking: a configuration costs 10 us.

        Args:
            qpos: Whole configurations; a held object is where qpos says.
            held: Body that moves with the hand: checked against the scene, not against hands.
            touched: Body that hands may touch (what it is about to hold), with its children.
            inside: Bodies that go with what is held, and count for nothing.
        """
        return self._smallest(qpos, self._pairs(held, touched, tuple(inside)))

    def _pairs(
        self, held: int | None, touched: int | None, inside: tuple[int, ...]
    ) -> Bool[np.ndarray, "G1 G1"]:
        """Which pairs of geoms count; see `clearances`. A cloth has index -1, and counts never."""
        key = held, touched, inside
        if key in self._known:
            return self._known[key]
        body_of, robot = self._model.geom_bodyid, self._is_robot
        moves = robot if held is None else robot | (body_of == held)
        counts = (moves[:, None] != moves) | (robot[:, None] & robot)
        loose = np.isin(body_of, inside)
        counts &= ~(loose[:, None] | loose)
        ours = [bodies_below(self._model, b) for b in (held, touched) if b is not None]
        if ours:
            may_touch = np.isin(body_of, np.concatenate(ours))[:, None] & self._in_hand
            counts &= ~(may_touch | may_touch.T)
        self._known[key] = np.pad(counts, (0, 1))
        return self._known[key]

    def _smallest(
        self, qpos: Float[np.ndarray, "B nq"], counts: Bool[np.ndarray, "G1 G1"]
    ) -> Iterator[float]:
        """Yield the smallest distance of the pairs of geoms that count, in each configuration."""
        from roboloop.demo.ways.nearest import nearest  # numba takes half a second to import

        model, data = self._model, self._data
        for q in qpos:
            data.qpos[:] = q
            mujoco.mj_kinematics(model, data)
            mujoco.mj_collision(model, data)
            contact = data.contact
            yield nearest(contact.geom, contact.dist, counts, MARGIN)
