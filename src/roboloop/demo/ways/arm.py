"""The arm in its cell: reach, ways of the hand, clearance. State in, paths out."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import mujoco
import numpy as np
from jaxtyping import Bool, Float

from roboloop import pose
from roboloop.cell import Cell, set_free
from roboloop.demo.goals import IN_THE_WAY, Unreachable
from roboloop.demo.ways.collision import Collisions
from roboloop.demo.ways.detour import over_the_top, through_joints
from roboloop.demo.ways.motion import (
    POSITION_TOLERANCE,
    end_of,
    follow,
    met,
    n_restarts,
    solved,
    timed,
)
from roboloop.demo.ways.transit import Free
from roboloop.kinematics import Weights
from roboloop.robot import IkResult, forward_kinematics, inverse_kinematics
from roboloop.task.constraints import Values

CARRY_LIFT = 0.07
"""What the hand holds is first lifted straight up by this, m."""
SHORTER = (1.0, 0.6, 0.3)
"""Shares of a straight way up or down, of which an arm takes the longest that it can."""
ROOM, NEAR_END = 0.009, 0.08
"""What transits keep from other things where there is a way that does, and how far from their ends
they do, m: an arm is not where it is told to be to the millimetre."""
TURN_SPEED = 0.4
"""Of turning what is held in place, share of the usual speed."""
CLEAR = -0.0015
"""Overlap that resting contact shows, m; deeper is a collision."""
HOLD = Weights(position=0.002, approach=0.02, closing=0.02, pitch=0.3)
"""For grasps of an arm that cannot turn the hand freely: it may tilt about the closing axis."""
HOLD_TURN, HOLD_TILT = np.deg2rad(8), np.deg2rad(35)
"""How far such a grasp may be from what was asked for: its closing axis, its approach axis."""
Allowed = Callable[[Float[np.ndarray, "B n"]], Bool[np.ndarray, "B"]]
"""Says of arm configurations whether a stage's path constraints hold there."""


class Arm:
    """Kinematics and collision of one cell, at states that it is given.

    Poses of the hand are in the world; `q` is the arm's part of `qpos`.
    """

    def __init__(self, cell: Cell) -> None:
        self.cell = cell
        self.data = mujoco.MjData(cell.model)
        self._collisions = Collisions(cell)
        self._T_base_world = pose.inverse(cell.mount.T_world_base)

    def update(self, qpos: Float[np.ndarray, "nq"]) -> None:
        """Set the state that `body_pose`, `values` and `data` speak of, in place."""
        self.data.qpos[:] = qpos
        mujoco.mj_kinematics(self.cell.model, self.data)

    def body_pose(self, body: int) -> Float[np.ndarray, "4 4"]:
        """Pose of a body in the world."""
        return pose.from_parts(self.data.xpos[body], self.data.xmat[body].reshape(3, 3))

    def body_pose_at(
        self, qpos: Float[np.ndarray, "nq"], address: int, value: float, body: int
    ) -> Float[np.ndarray, "4 4"]:
        """Pose of a body with the joint at `address` of qpos set to `value`."""
        moved = qpos.copy()
        moved[address] = value
        self.update(moved)
        return self.body_pose(body)

    def values(self) -> Values:
        """What the task's constraints read."""
        return self.cell.values(self.data.site_xpos.copy(), self.data.qpos.copy())

    def eef(self, q: Float[np.ndarray, "n"]) -> Float[np.ndarray, "4 4"]:
        """Pose of the hand."""
        return self.eefs(q[None])[0]

    def eefs(self, q: Float[np.ndarray, "B n"]) -> Float[np.ndarray, "B 4 4"]:
        """Poses of the hand."""
        return self.cell.mount.T_world_base @ forward_kinematics(self.cell.robot, q)

    def reach(
        self, Ts_world_eef: Float[np.ndarray, "K 4 4"], q: Float[np.ndarray, "*K n"]
    ) -> tuple[IkResult, Bool[np.ndarray, "K"]]:
        """Solve inverse kinematics from `q`; the second value says which poses are met."""
        start = np.broadcast_to(q, (len(Ts_world_eef), len(self.cell.arm_qpos)))
        ik = inverse_kinematics(
            self.cell.robot, self._T_base_world @ Ts_world_eef, start, n_restarts(self.cell.robot)
        )
        return ik, met(self.cell.robot, ik)

    def reach_grasps(
        self, Ts_world_eef: Float[np.ndarray, "K 4 4"], q: Float[np.ndarray, "n"]
    ) -> tuple[Float[np.ndarray, "K n"], Float[np.ndarray, "K 4 4"], Bool[np.ndarray, "K"]]:
        """Solve inverse kinematics for grasps, which an arm of few joints takes as it can.

        Returns:
            Arm positions, the grasps as they are then, and which of them are still good.
        """
        robot = self.cell.robot
        if robot.turns_freely:
            ik, good = self.reach(Ts_world_eef, q)
            return ik.q, Ts_world_eef, good
        start = np.broadcast_to(q, (len(Ts_world_eef), len(q)))
        Ts_base_eef = self._T_base_world @ Ts_world_eef
        ik = inverse_kinematics(robot, Ts_base_eef, start, n_restarts(robot), weights=HOLD)
        Ts = self.eefs(ik.q)
        cosines = np.einsum("kij,kij->kj", Ts[:, :3, :3], Ts_world_eef[:, :3, :3])
        good = (cosines[:, 1] > np.cos(HOLD_TURN)) & (cosines[:, 2] > np.cos(HOLD_TILT))
        return ik.q, Ts, good & (ik.position_error < POSITION_TOLERANCE)

    def clear(
        self,
        qpos: Float[np.ndarray, "nq"],
        q: Float[np.ndarray, "B n"],
        touched: int | None = None,
    ) -> Iterator[bool]:
        """Say of arm configurations, one after another, whether they are free of collision.

        Overlaps that `qpos` itself has, up to half a millimetre more, do not count: it is real.
        """
        return self._freedom(qpos, touched, None)(q)

    def _freedom(
        self,
        qpos: np.ndarray,
        touched: int | None,
        held: int | None,
        allowed: Allowed | None = None,
    ) -> Free:
        """What `clear` asks and what is `allowed`, as a function of arm configurations.

        A held free body moves with the hand.

        Who has heard no does not ask on: from the first that is not allowed on, all are not.
        """
        inside = self.cell.contents(held, qpos)
        limit = min(CLEAR, next(self._clearances(qpos[None], held, touched, inside)) - 0.0005)
        T_held_eef = self._held_eef(qpos, held)

        def free(q: np.ndarray) -> Iterator[bool]:
            n = len(q) if allowed is None else int(np.argmin([*allowed(q), False]))
            every = self._with_arm(qpos, q[:n], held, T_held_eef)
            for distance in self._clearances(every, held, touched, inside):
                yield distance > limit
            yield from [False] * (len(q) - n)

        return free

    def distances(
        self,
        qpos: Float[np.ndarray, "nq"],
        q: Float[np.ndarray, "B n"],
        touched: int | None = None,
        held: int | None = None,
    ) -> Iterator[float]:
        """Yield the smallest distance (m, at most 1 cm) of each arm configuration; see `clear`.

        A held free body moves with the hand.
        """
        every = self._with_arm(qpos, q, held, self._held_eef(qpos, held))
        return self._clearances(every, held, touched, self.cell.contents(held, qpos))

    def _held_eef(self, qpos: np.ndarray, held: int | None) -> Float[np.ndarray, "4 4"] | None:
        """How the hand is at what it holds, if it holds something."""
        if held is None:
            return None
        self.update(qpos)
        return pose.inverse(self.body_pose(held)) @ self.eef(qpos[self.cell.arm_qpos])

    def _clearances(
        self,
        qpos: np.ndarray,
        held: int | None = None,
        touched: int | None = None,
        inside: Sequence[int] = (),
    ) -> Iterator[float]:
        return self._collisions.clearances(qpos, held, touched, inside)

    def _with_arm(
        self,
        qpos: np.ndarray,
        q: np.ndarray,
        held: int | None = None,
        T_held_eef: np.ndarray | None = None,
    ) -> Float[np.ndarray, "B nq"]:
        """Whole configurations with the arm at each q, and with it what it holds."""
        every = np.tile(qpos, (len(q), 1))
        every[:, self.cell.arm_qpos] = q
        if held is not None and T_held_eef is not None:
            set_free(every, self.cell.model, held, self.eefs(q) @ pose.inverse(T_held_eef))
        return every

    def clear_states(
        self,
        qpos: Float[np.ndarray, "B nq"],
        touched: int | None = None,
        held: int | None = None,
        inside: Sequence[int] = (),
    ) -> Iterator[bool]:
        """Say of whole configurations, one after another, whether they are free of collision.

        What is `inside` of a held body counts for nothing.
        """
        return (each > CLEAR for each in self._clearances(qpos, held, touched, inside))

    def apart(self, qpos: Float[np.ndarray, "B nq"]) -> Iterator[bool]:
        """Say of whole configurations, one after another, whether no two arms touch."""
        return (each > 0 for each in self._collisions.between_arms(qpos))

    def off_handle(self, qpos: Float[np.ndarray, "B nq"], what: str) -> Iterator[float]:
        """Yield how far (m, at most 1 cm) hands are from what has a handle, but not from that."""
        return self._collisions.of_hands(qpos, self.cell.beside_handle(what))

    def travel(
        self,
        qpos: Float[np.ndarray, "nq"],
        before: Float[np.ndarray, "P 4 4"],
        after: Float[np.ndarray, "S 4 4"],
        touched: int | None = None,
        held: int | None = None,
        allowed: Allowed | None = None,
        search: bool = True,
    ) -> Float[np.ndarray, "T n"]:
        """Join two given ways of the hand by a free transit.

        Straight, else over the top, which makes for demonstrations that look alike; else in joint
        space.

        Args:
            qpos: The state to start from.
            before: Waypoints from where the hand is, the first being there.
            after: Poses to end with, one a control step.
            touched: Body that the hand may touch on the way.
            held: Free body that moves with the hand.
            allowed: What else has to hold on the way.
            search: Whether to look for ways in joint space.

        Returns:
            Arm positions, one a control step, without the start.

        Raises:
            Unreachable: No transit is reachable and free.
        """
        return self._join(qpos, [before], after, touched, held, allowed, search)

    def _join(
        self,
        qpos: np.ndarray,
        befores: list[np.ndarray],
        after: np.ndarray,
        touched: int | None,
        held: int | None,
        allowed: Allowed | None,
        search: bool,
    ) -> np.ndarray:
        """Travel with the first beginning of several that works; see `travel`."""
        q = qpos[self.cell.arm_qpos]
        free = self._freedom(qpos, touched, held, allowed)
        roomy = partial(self._has_room_between, qpos, touched, held, after[0])
        q_end = end_of(self.cell.robot, self._T_base_world @ after, q)

        def followed(Ts_world_eef: np.ndarray) -> np.ndarray:
            return follow(self.cell.robot, self._T_base_world @ Ts_world_eef, q, q_end)

        failed: Unreachable | None = None
        for before in befores:
            try:
                return over_the_top(before, after, followed, free, roomy)
            except Unreachable as error:
                failed = failed or error
                if error.problem != IN_THE_WAY:  # another beginning changes nothing
                    break
        if search:
            ways = [self._T_base_world @ before for before in befores]
            try:
                return through_joints(self.cell.robot, q, ways, self._T_base_world @ after, free)
            except Unreachable:
                pass  # the usual ways' problem is the one to tell
        raise failed or Unreachable(IN_THE_WAY)

    def _has_room_between(
        self,
        qpos: np.ndarray,
        touched: int | None,
        held: int | None,
        T_end: Float[np.ndarray, "4 4"],
        path: Float[np.ndarray, "T n"],
    ) -> bool:
        """Whether a path stays clear of everything by `ROOM`, but near where it begins and ends."""
        p = self.eefs(path)[:, :3, 3]
        ends = self.eef(qpos[self.cell.arm_qpos])[:3, 3], T_end[:3, 3]
        far = np.min([np.linalg.norm(p - end, axis=1) for end in ends], axis=0) > NEAR_END
        return all(d > ROOM for d in self.distances(qpos, path[far], touched, held))

    def has_room(
        self,
        qpos: Float[np.ndarray, "nq"],
        q: Float[np.ndarray, "n"],
        touched: int | None = None,
        held: int | None = None,
    ) -> bool:
        """Whether the arm is free of collision at `q`, with what it holds; see `travel`."""
        return all(self._freedom(qpos, touched, held)(q[None]))

    def reach_out(
        self,
        qpos: Float[np.ndarray, "nq"],
        after: Float[np.ndarray, "S 4 4"],
        touched: int | None = None,
        held: int | None = None,
        search: bool = True,
    ) -> Float[np.ndarray, "T n"]:
        """Travel from where the hand is to where `after` begins; see `travel` and `carry`."""
        if held is not None:
            return self.carry(qpos, after, held, search=search)
        start = self.eef(qpos[self.cell.arm_qpos])[None]
        return self.travel(qpos, start, after, touched, search=search)

    def moved(
        self, qpos: Float[np.ndarray, "nq"], q: Float[np.ndarray, "n"], held: int | None = None
    ) -> Float[np.ndarray, "nq"]:
        """The state with the arm at `q`, and with it what the hand holds."""
        T_held_eef = self._held_eef(qpos, held)
        return self._with_arm(qpos, q[None], held, T_held_eef)[0]

    def carry(
        self,
        qpos: Float[np.ndarray, "nq"],
        after: Float[np.ndarray, "S 4 4"],
        held: int | None,
        allowed: Allowed | None = None,
        search: bool = True,
    ) -> Float[np.ndarray, "T n"]:
        """Lift what the hand holds and travel to where `after` begins; see `travel`.

        Straight up where that is free, else up and away from what hangs over the object: towards
        the base, to its left, to its right.
        """
        q = qpos[self.cell.arm_qpos]
        start = self.eef(q)
        x, y = self.cell.mount.T_world_base[:3, :2].T
        befores = []
        for aside in (0 * x, -x, y, -y):
            up = self.longest(start, CARRY_LIFT * (aside + np.array([0, 0, 1])), q, allowed)
            befores.append(np.stack([start, up]))
        return self._join(qpos, befores, after, None, held, allowed, search)

    def longest(
        self,
        T_start: Float[np.ndarray, "4 4"],
        way: Float[np.ndarray, "3"],
        q: Float[np.ndarray, "n"],
        allowed: Allowed | None = None,
    ) -> Float[np.ndarray, "4 4"]:
        """Where a straight way of the hand (m, world) ends: as far as the arm can, see `SHORTER`.

        An arm that turns the hand freely goes all the way, or has to say later that it cannot.
        """
        if self.cell.robot.turns_freely:
            return pose.moved_by(T_start, way)
        ends = [pose.moved_by(T_start, share * way) for share in SHORTER]
        ik, good = self.reach(np.stack(ends), q)
        good &= True if allowed is None else allowed(ik.q)
        return ends[int(np.argmax(good))] if good.any() else ends[-1]

    def turn(
        self,
        qpos: Float[np.ndarray, "nq"],
        T_end: Float[np.ndarray, "4 4"],
        held: int | None,
        pivot: Float[np.ndarray, "3"],
        allowed: Allowed | None = None,
        yaw_first: bool = False,
    ) -> Float[np.ndarray, "T n"]:
        """Move straight to a pose of the hand, a point of the hand's frame going on a line.

        With `yaw_first` it turns about the vertical to begin with, in place, and then about a
        horizontal axis, so that what it holds is tilted towards one side only.

        Raises:
            Unreachable: The arm cannot follow, or something is in the way.
        """
        q = qpos[self.cell.arm_qpos]
        start = self.eef(q)
        T_eef_pivot = pose.from_parts(pivot, np.eye(3))
        ends = np.stack([start, T_end]) @ T_eef_pivot
        if yaw_first:
            twist = pose.twist_of(ends[1, :3, :3] @ ends[0, :3, :3].T)
            yawed = ends[0].copy()
            yawed[:3, :3] = pose.yaw_to_matrix(twist) @ ends[0, :3, :3]
            ends = np.insert(ends, 1, yawed, 0)
        Ts = timed(ends, speed=TURN_SPEED)
        path = self.follow(Ts @ pose.inverse(T_eef_pivot), q)
        if not all(self._freedom(qpos, None, held, allowed)(path)):
            raise Unreachable(IN_THE_WAY)
        return path

    def follow(
        self, Ts_world_eef: Float[np.ndarray, "T 4 4"], q: Float[np.ndarray, "n"]
    ) -> Float[np.ndarray, "S n"]:
        """Solve a path of the hand; see `motion.follow`."""
        return follow(self.cell.robot, self._T_base_world @ Ts_world_eef, q)

    def solved(
        self, Ts_world_eef: Float[np.ndarray, "T 4 4"], q: Float[np.ndarray, "n"]
    ) -> Float[np.ndarray, "T+1 n"]:
        """Solve a path of the hand; see `motion.solved`."""
        return solved(self.cell.robot, self._T_base_world @ Ts_world_eef, q)
