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
        self._model.geom_margin[:] = MARGIN
        self._model.flex_contype[:] = self._model.flex_conaffinity[:] = 0  # cloths give way
        self._data = mujoco.MjData(self._model)
        self._is_robot = cell.is_robot[self._model.geom_bodyid]
        self._arm = np.full(cell.model.ngeom, -1)
        """Which arm a geom belongs to; -1 is none."""
        for i, arm in enumerate(cell.arms):
            self._arm[np.isin(self._model.geom_bodyid, arm.bodies)] = i
        self._hands = np.concatenate([arm.hand_bodies for arm in cell.arms])

    def between_arms(self, qpos: Float[np.ndarray, "B nq"]) -> Iterator[float]:
        """Yield the smallest distance (m, at most `MARGIN`) between two arms; see `clearances`."""
        for a, b in self._contacts(qpos):
            counts = (self._arm[a] != self._arm[b]) & self._is_robot[a] & self._is_robot[b]
            yield self._smallest(counts)

    def clearances(
        self,
        qpos: Float[np.ndarray, "B nq"],
        held: int | None = None,
        touched: int | None = None,
        inside: Sequence[int] = (),
    ) -> Iterator[float]:
        """Yield the smallest signed distance (m, at most `MARGIN`) in each configuration.

        Overlaps are negative. Who has seen enough stops asking: a configuration costs 0.2 ms.

        Args:
            qpos: Whole configurations; a held object is where qpos says.
            held: Body that moves with the hand: checked against the scene, not against hands.
            touched: Body that hands may touch (what it is about to hold), with its children.
            inside: Bodies that go with what is held, and count for nothing.
        """
        model = self._model
        body_of = model.geom_bodyid
        moves = self._is_robot if held is None else self._is_robot | (body_of == held)
        loose = np.isin(body_of, inside)
        in_hand = np.isin(body_of, self._hands)
        free = [b for b in (held, touched) if b is not None]
        ours = (
            np.isin(body_of, np.concatenate([bodies_below(model, b) for b in free]))
            if free
            else None
        )
        for a, b in self._contacts(qpos):
            counts = (moves[a] != moves[b]) | (self._is_robot[a] & self._is_robot[b])
            counts &= ~(loose[a] | loose[b])
            if ours is not None:
                counts &= ~((ours[a] & in_hand[b]) | (ours[b] & in_hand[a]))
            yield self._smallest(counts)

    def _contacts(
        self, qpos: Float[np.ndarray, "B nq"]
    ) -> Iterator[tuple[Int[np.ndarray, "C"], Int[np.ndarray, "C"]]]:
        """Yield the pairs of geoms that are near each other in each configuration."""
        for q in qpos:
            self._data.qpos[:] = q
            mujoco.mj_kinematics(self._model, self._data)
            mujoco.mj_collision(self._model, self._data)
            yield tuple(self._data.contact.geom.T)

    def _smallest(self, counts: Bool[np.ndarray, "C"]) -> float:
        """The smallest distance of the contacts that count; cloth is no geom, and soft."""
        rigid = self._data.contact.geom.min(1) >= 0
        return min(MARGIN, self._data.contact.dist[counts & rigid].min(initial=MARGIN))
