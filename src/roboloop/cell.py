"""A robot cell: a scene with its arms and the task's cameras, compiled to one MuJoCo model.

Most of what is done in a cell is done by one arm: a `Cell` is seen from one of them.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import mujoco
import numpy as np
from jaxtyping import Bool, Float, Int

from roboloop import pose
from roboloop.robot import PREFIX, ROBOTS, Robot
from roboloop.scene.graph import Relation, SceneGraph
from roboloop.station import Mount
from roboloop.task.constraints import Constraint, Values, parse
from roboloop.task.expression import SHARE
from roboloop.task.spec import Task

AT_POINT = 0.005
"""A geom whose box comes so near to a point is at it, m."""


@dataclass(frozen=True)
class Cell:
    """One scene, one task and its arms, ready to simulate, as seen from one of the arms."""

    name: str
    """The scene's name in datasets: `cousins/0003`."""
    graph: SceneGraph
    task: Task
    mount: Mount
    """The arm that it is seen from."""
    model: mujoco.MjModel

    @property
    def arms(self) -> tuple["Cell", ...]:
        """The cell, seen from each of its arms."""
        own, others = self.mount.name, self._others
        return tuple(self if m.name == own else others[m.name] for m in self.task.arms)

    @cached_property
    def _others(self) -> dict[str, "Cell"]:
        """The cell, seen from the arms that it is not seen from."""
        mounts = (mount for mount in self.task.arms if mount.name != self.mount.name)
        return {mount.name: replace(self, mount=mount) for mount in mounts}

    def seen_by(self, arm: str) -> "Cell":
        """The cell, seen from the arm of a name."""
        return next(each for each in self.arms if each.mount.name == arm)

    @property
    def robot(self) -> Robot:
        """What the arm is."""
        return ROBOTS[self.mount.robot]

    @property
    def eef(self) -> str:
        """The hand's name in constraints."""
        return f"{self.mount.name}.eef"

    @cached_property
    def eef_site(self) -> int:
        """Id of the site of the hand."""
        return self.model.site(f"{self.mount.prefix}eef").id

    @cached_property
    def hand_bodies(self) -> Int[np.ndarray, "b"]:
        """The bodies of the hand."""
        return bodies_below(self.model, int(self.model.site_bodyid[self.eef_site]))

    @cached_property
    def bodies(self) -> Int[np.ndarray, "b"]:
        """The bodies of the arm, its hand with it."""
        names = (self.model.body(b).name for b in range(self.model.nbody))
        return np.array([b for b, n in enumerate(names) if n.startswith(self.mount.prefix)])

    @cached_property
    def is_robot(self) -> Bool[np.ndarray, "nbody"]:
        """Which bodies belong to an arm, this one or another."""
        names = (self.model.body(b).name for b in range(self.model.nbody))
        return np.array([name.startswith(PREFIX) for name in names])

    @cached_property
    def arm_qpos(self) -> Int[np.ndarray, "n"]:
        """Where the arm's joints are in qpos."""
        return np.array([self._qpos_of(self.mount.prefix + j) for j in self.robot.arm_joints])

    @cached_property
    def gripper_qpos(self) -> int:
        """Where the hand's opening is in qpos."""
        return self._qpos_of(self.mount.prefix + self.robot.gripper_joint)

    @cached_property
    def ctrl(self) -> slice:
        """Where the targets of the arm's joints and of its gripper are in an action."""
        first = self.model.actuator(self.mount.prefix + self.robot.arm_joints[0]).id
        return slice(first, first + self.robot.nu)

    @cached_property
    def object_qpos(self) -> Int[np.ndarray, "m"]:
        """Where everything but the robot is in qpos: what a tracker follows."""
        names = [self.model.joint(j).name for j in range(self.model.njnt)]
        starts = [*self.model.jnt_qposadr, self.model.nq]
        kept = [
            range(starts[j], starts[j + 1])
            for j, name in enumerate(names)
            if not name.startswith(PREFIX)
        ]
        return np.array([a for each in kept for a in each], int)

    @cached_property
    def free_bodies(self) -> dict[int, int]:
        """Body -> address in qpos of its pose (xyz, wxyz), for every free object."""
        free = np.flatnonzero(self.model.jnt_type == mujoco.mjtJoint.mjJNT_FREE)
        return {int(self.model.jnt_bodyid[j]): int(self.model.jnt_qposadr[j]) for j in free}

    @cached_property
    def joint_qpos(self) -> list[int]:
        """Addresses in qpos of the joints of objects: drawers, doors, knobs, buttons."""
        other = {a + i for a in self.free_bodies.values() for i in range(7)}
        other.update(map(int, self.cloth_qpos))
        return [int(a) for a in self.object_qpos if a not in other]

    @cached_property
    def cloth_qpos(self) -> Int[np.ndarray, "c"]:
        """Addresses in qpos of the slides of cloths' vertices, three a vertex."""
        joints = self.model.body_jntadr[np.unique(self.model.flex_vertbodyid)]
        return (self.model.jnt_qposadr[joints][:, None] + np.arange(3)).ravel()

    @cached_property
    def tracked_bodies(self) -> dict[str, int]:
        """Name -> id of what an episode tells the poses of.

        The objects, their parts that move by a joint, and the arms' bases (`robot/...`).
        """
        model = self.model
        first = {int(b) for b in np.flatnonzero(model.body_parentid == 0)}
        moved = {self.joint_body(address) for address in self.joint_qpos}
        bodies = sorted((first | moved) - {0} - {int(b) for b in model.flex_vertbodyid})
        return {model.body(b).name: b for b in bodies}

    def body_poses(self, qpos: Float[np.ndarray, "T nq"]) -> Float[np.ndarray, "T n_bodies 7"]:
        """World poses (xyz, wxyz) of `tracked_bodies`; NaN where qpos is."""
        ids = [*self.tracked_bodies.values()]
        poses = np.empty((len(qpos), len(ids), 7))
        for row, data in zip(poses, self.kinematics(qpos), strict=True):
            row[:, :3], row[:, 3:] = data.xpos[ids], data.xquat[ids]
        return poses

    def kinematics(self, qpos: Float[np.ndarray, "T nq"]) -> Iterator[mujoco.MjData]:
        """Yield where everything is in each configuration; the next one takes its place."""
        for each in qpos:
            self.scratch.qpos[:] = each
            mujoco.mj_kinematics(self.model, self.scratch)
            yield self.scratch

    def with_hand(self, qpos: Float[np.ndarray, "nq"], opening: float) -> Float[np.ndarray, "nq"]:
        """The configuration with the hand's fingers at `opening`, as `Robot.gripper_open` is."""
        result = qpos.copy()
        for joint, sign in self.robot.finger_joints:
            result[self._qpos_of(self.mount.prefix + joint)] = sign * opening
        return result

    @cached_property
    def scratch(self) -> mujoco.MjData:
        """For who sets a configuration and reads what follows at once, as `kinematics` does."""
        return mujoco.MjData(self.model)

    @cached_property
    def home_qpos(self) -> Float[np.ndarray, "nq"]:
        """The scene as it stands, the arms at home, the hands open."""
        qpos = self.model.qpos0.copy()
        for arm in self.arms:
            qpos[arm.arm_qpos] = arm.mount.home
        return qpos

    @cached_property
    def _points(self) -> dict[str, int]:
        """`role.keypoint` -> site id."""
        names = {
            f"{role}.{key}": f"{name}/{key}"
            for role, name in self.task.roles.items()
            for key in self.graph.object(name).keypoints
        }
        names |= {arm.eef: f"{arm.mount.prefix}eef" for arm in self.arms}
        return {key: self.model.site(site).id for key, site in names.items()}

    @cached_property
    def _joints(self) -> dict[str, int]:
        """`role.joint` -> address in qpos."""
        return {
            f"{role}.{joint.name}": self._qpos_of(f"{name}/{joint.name}")
            for role, name in self.task.roles.items()
            for joint in self.graph.object(name).joints
        }

    @cached_property
    def success(self) -> tuple[Constraint, ...]:
        """The task's success constraints, parsed."""
        return tuple(parse(text) for text in self.task.success)

    @cached_property
    def milestones(self) -> tuple[tuple[Constraint, ...], ...]:
        """The task's milestones, parsed."""
        return tuple(tuple(map(parse, each)) for each in self.task.milestones)

    def values(
        self, site_xpos: Float[np.ndarray, "*B nsite 3"], qpos: Float[np.ndarray, "*B nq"]
    ) -> Values:
        """What the task's constraints read, from kinematics that belong together."""
        points = {name: site_xpos[..., site, :] for name, site in self._points.items()}
        for mount in self.task.arms:
            p_base = mount.T_world_base[:3, 3]
            points[mount.base] = np.broadcast_to(p_base, (*qpos.shape[:-1], 3))
        joints = {name: qpos[..., address] for name, address in self._joints.items()}
        shares = {}
        for name, address in self._joints.items():
            low, high = self.joint_range(name)
            shares[name + SHARE] = (qpos[..., address] - low) / (high - low)
        return Values(points, joints | shares)

    def frame_body(self, reference: str) -> int:
        """The body that carries a `role` or `role.keypoint`."""
        role, _, keypoint = reference.partition(".")
        if not keypoint:
            return self.model.body(self.task.roles[role]).id
        return int(self.model.site_bodyid[self.model.site(self.site_name(reference)).id])

    def is_free(self, reference: str) -> bool:
        """Whether what a `role` or `role.keypoint` is on can be carried about."""
        return self.frame_body(reference) in self.free_bodies

    def is_jointed(self, reference: str) -> bool:
        """Whether what a `role.keypoint` is on moves by a joint: a drawer, a door, a knob."""
        body = self.frame_body(reference)
        free = mujoco.mjtJoint.mjJNT_FREE
        return bool(
            self.model.body_jntnum[body] == 1
            and self.model.jnt_type[self.model.body_jntadr[body]] != free
        )

    def is_soft(self, reference: str) -> bool:
        """Whether a `role.keypoint` is on cloth."""
        return int(self.model.body_jntnum[self.frame_body(reference)]) == 3  # slides

    def beside_handle(self, handle: str) -> Int[np.ndarray, "g"]:
        """The geoms of what has a handle (`role.keypoint`), but for those at that point."""
        model, data = self.model, next(self.kinematics(self.model.qpos0[None]))
        p = data.site_xpos[model.site(self.site_name(handle)).id]
        own = np.flatnonzero(model.geom_bodyid == self.frame_body(handle))
        return np.setdiff1d(own, geoms_around(model, data, own.tolist(), p, AT_POINT))

    def contents(self, body: int | None, qpos: Float[np.ndarray, "nq"]) -> list[int]:
        """The bodies of what is in a free object in a state, and goes where it goes.

        That is what the scene says is in it, and what has its middle in the box of something
        hollow. There is nothing in what is not free, nor in None.
        """
        if body is None or body not in self.free_bodies:
            return []
        name = self.model.body(body).name
        own = self.graph.object(name)

        def is_around(other: int) -> bool:
            T_body_world = pose.inverse(self._free_pose(body, qpos))
            p = pose.transform(T_body_world, self._free_pose(other, qpos)[:3, 3])
            return bool((np.abs(p) < np.array(own.size) / 2).all())

        hollow, found = "inside" in own.keypoints, list[int]()
        for obj in self.graph.objects:
            other = self.model.body(obj.name).id
            if other == body or other not in self.free_bodies:
                continue
            if Relation("in", name) in obj.relations or (hollow and is_around(other)):
                found.append(other)
        return found

    def _free_pose(self, body: int, qpos: Float[np.ndarray, "nq"]) -> Float[np.ndarray, "4 4"]:
        address = self.free_bodies[body]
        return pose.from_vector(qpos[address : address + 7])

    def site_name(self, reference: str) -> str:
        """MuJoCo's name of a `role.keypoint`."""
        role, _, keypoint = reference.partition(".")
        return f"{self.task.roles[role]}/{keypoint}"

    def joint_address(self, name: str) -> int:
        """Address in qpos of a `role.joint`."""
        return self._joints[name]

    def joint_range(self, name: str) -> tuple[float, float]:
        """Limits of a `role.joint`, m or rad."""
        low, high = self.model.jnt_range[self.joint_at(self._joints[name])]
        return float(low), float(high)

    def joint_at(self, address: int) -> int:
        """Id of the joint at an address of qpos."""
        return int(np.flatnonzero(self.model.jnt_qposadr == address)[0])

    def joint_body(self, address: int) -> int:
        """The body that the joint at an address of qpos moves."""
        return int(self.model.jnt_bodyid[self.joint_at(address)])

    def free_address(self, role: str) -> int:
        """Address in qpos of the pose (xyz, wxyz) of the free object that plays a role."""
        return self._qpos_of(f"{self.task.roles[role]}/free")

    def _qpos_of(self, joint: str) -> int:
        return int(self.model.jnt_qposadr[self.model.joint(joint).id])


def bodies_below(model: mujoco.MjModel, body: int) -> Int[np.ndarray, "b"]:
    """A body and everything that hangs on it."""
    inside = np.zeros(model.nbody, bool)
    inside[body] = True
    for b in range(body + 1, model.nbody):
        inside[b] |= inside[model.body_parentid[b]]
    return np.flatnonzero(inside)


def geoms_around(
    model: mujoco.MjModel,
    data: mujoco.MjData,
    geoms: list[int],
    p: Float[np.ndarray, "3"],
    radius: float,
) -> list[int]:
    """The geoms whose boxes come within `radius` (m) of a point, in the state of `data`."""
    kept = []
    for g in geoms:
        local = data.geom_xmat[g].reshape(3, 3).T @ (p - data.geom_xpos[g]) - model.geom_aabb[g, :3]
        outside = np.maximum(np.abs(local) - model.geom_aabb[g, 3:], 0)
        if np.linalg.norm(outside) < radius:
            kept.append(g)
    return kept


def set_free(
    qpos: Float[np.ndarray, "B nq"],
    model: mujoco.MjModel,
    body: int,
    Ts_world_body: Float[np.ndarray, "*B 4 4"],
) -> None:
    """Write the pose of a free body into configurations, in place."""
    address = int(model.jnt_qposadr[model.body_jntadr[body]])
    qpos[:, address : address + 3] = Ts_world_body[..., :3, 3]
    qpos[:, address + 3 : address + 7] = pose.matrix_to_quat(Ts_world_body[..., :3, :3])
