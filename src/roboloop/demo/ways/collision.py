"""Collision of the whole arm and what it holds, on MuJoCo's own shapes."""

import copy
from collections.abc import Iterator, Sequence

import mujoco
import numpy as np
from jaxtyping import Float

MARGIN = 0.01
"""Distances are known below this; farther counts as this, m."""


class Collisions:
    """Distances between what moves (robot, held object) and everything else in one model."""

    def __init__(self, model: mujoco.MjModel) -> None:
        self._model = copy.copy(model)
        self._model.geom_margin[:] = MARGIN
        self._model.flex_contype[:] = self._model.flex_conaffinity[:] = 0  # cloths give way
        self._data = mujoco.MjData(self._model)
        names = [model.body(b).name for b in range(model.nbody)]
        robot = np.array([n.startswith("robot/") for n in names])
        self._is_robot = robot[model.geom_bodyid]
        self._hand = below(model, int(model.site_bodyid[model.site("robot/eef").id]))

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
            held: Body that moves with the hand: checked against the scene, not against the hand.
            touched: Body that the hand may touch (what it is about to hold), with its children.
            inside: Bodies that go with what is held, and count for nothing.
        """
        model = self._model
        body_of = model.geom_bodyid
        moves = self._is_robot if held is None else self._is_robot | (body_of == held)
        loose = np.isin(body_of, inside)
        in_hand = np.isin(body_of, self._hand)
        free = [b for b in (held, touched) if b is not None]
        ours = np.isin(body_of, np.concatenate([below(model, b) for b in free])) if free else None
        for q in qpos:
            self._data.qpos[:] = q
            mujoco.mj_kinematics(model, self._data)
            mujoco.mj_collision(model, self._data)
            a, b = self._data.contact.geom.T
            counts = moves[a] != moves[b]
            counts |= self._is_robot[a] & self._is_robot[b]
            counts &= ~(loose[a] | loose[b])
            if ours is not None:
                counts &= ~((ours[a] & in_hand[b]) | (ours[b] & in_hand[a]))
            yield min(MARGIN, self._data.contact.dist[counts].min(initial=MARGIN))


def below(model: mujoco.MjModel, body: int) -> np.ndarray:
    """A body and everything that hangs on it."""
    inside = np.zeros(model.nbody, bool)
    inside[body] = True
    for b in range(body + 1, model.nbody):
        inside[b] |= inside[model.body_parentid[b]]
    return np.flatnonzero(inside)
