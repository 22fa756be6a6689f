"""A robot cell: a scene with a robot and the task's cameras, compiled to one MuJoCo model."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import mujoco
import numpy as np
from jaxtyping import Float, Int

from roboloop import pose
from roboloop.data.views import View
from roboloop.robot import ROBOTS, Robot, attach
from roboloop.scene.compile import scene_spec
from roboloop.scene.folder import read_scene
from roboloop.scene.graph import Relation, SceneGraph
from roboloop.task.constraints import Constraint, Values, parse
from roboloop.task.expression import SHARE
from roboloop.task.spec import Task


@dataclass(frozen=True)
class Cell:
    """One scene, one robot, one task, ready to simulate."""

    name: str
    """The scene's name in datasets: `cousins/0003`."""
    graph: SceneGraph
    task: Task
    robot: Robot
    model: mujoco.MjModel

    @cached_property
    def arm_qpos(self) -> Int[np.ndarray, "n"]:
        """Where the arm's joints are in qpos."""
        return np.array([self._qpos_of(f"robot/{j}") for j in self.robot.arm_joints])

    @cached_property
    def gripper_qpos(self) -> int:
        """Where the hand's opening is in qpos."""
        return self._qpos_of(f"robot/{self.robot.gripper_joint}")

    @cached_property
    def object_qpos(self) -> Int[np.ndarray, "m"]:
        """Where everything but the robot is in qpos: what a tracker follows."""
        names = [self.model.joint(j).name for j in range(self.model.njnt)]
        starts = [*self.model.jnt_qposadr, self.model.nq]
        kept = [
            range(starts[j], starts[j + 1])
            for j, name in enumerate(names)
            if not name.startswith("robot/")
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
        poses = {a + i for a in self.free_bodies.values() for i in range(7)}
        return [int(a) for a in self.object_qpos if a not in poses]

    def with_hand(self, qpos: Float[np.ndarray, "nq"], opening: float) -> Float[np.ndarray, "nq"]:
        """The configuration with the hand's fingers at `opening`, as `Robot.gripper_open` is."""
        result = qpos.copy()
        for joint, sign in self.robot.finger_joints:
            result[self._qpos_of(f"robot/{joint}")] = sign * opening
        return result

    @cached_property
    def home_qpos(self) -> Float[np.ndarray, "nq"]:
        """The scene as it stands, the arm at home, the hand open."""
        data = mujoco.MjData(self.model)
        qpos = data.qpos.copy()
        qpos[self.arm_qpos] = self.robot.home
        return qpos

    @cached_property
    def _points(self) -> dict[str, int]:
        """`role.keypoint` -> site id."""
        names = {
            f"{role}.{key}": f"{name}/{key}"
            for role, name in self.task.roles.items()
            for key in self.graph.object(name).keypoints
        }
        names["robot.eef"] = "robot/eef"
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

    def values(
        self, site_xpos: Float[np.ndarray, "*B nsite 3"], qpos: Float[np.ndarray, "*B nq"]
    ) -> Values:
        """What the task's constraints read, from kinematics that belong together."""
        points = {name: site_xpos[..., site, :] for name, site in self._points.items()}
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

    def contents(self, body: int) -> list[int]:
        """The bodies of what is in an object, and goes where it goes."""
        name = self.model.body(body).name
        return [
            self.model.body(obj.name).id
            for obj in self.graph.objects
            if Relation("in", name) in obj.relations
        ]

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

    def free_address(self, role: str) -> int:
        """Address in qpos of the pose (xyz, wxyz) of the free object that plays a role."""
        return self._qpos_of(f"{self.task.roles[role]}/free")

    def _qpos_of(self, joint: str) -> int:
        return int(self.model.jnt_qposadr[self.model.joint(joint).id])


def build_cell(graph: SceneGraph, task: Task, name: str = "", lod: str = "low") -> Cell:
    """Compile a scene with the task's robot and front view.

    Raises:
        RoboloopError: The scene lacks what the task names, or the robot's model is not installed.
    """
    robot = ROBOTS[task.robot]
    return Cell(name, graph, task, robot, cell_spec(graph, task, robot, lod).compile())


def cell_spec(graph: SceneGraph, task: Task, robot: Robot, lod: str = "low") -> mujoco.MjSpec:
    """Put the task's robot and front view into a scene; see `build_cell`."""
    task.check(graph)
    spec = scene_spec(graph)
    _aim_front(spec, graph, task)
    attach(spec, robot, task.T_world_base, lod)
    return spec


def calibrated_views(graph: SceneGraph, task: Task) -> dict[str, View]:
    """Where the policy's cameras are, as a calibration in the scene `graph` would find them."""
    T_camera_front = pose.from_parts(np.zeros(3), task.front.R_camera_front)
    T_world_front = graph.camera.T_world_camera @ T_camera_front
    robot = ROBOTS[task.robot]
    T_base_front = pose.inverse(task.T_world_base) @ T_world_front
    return {
        "front": View("base", T_base_front, task.front.fovy),
        "wrist": View("eef", robot.wrist_pose, float(np.deg2rad(robot.wrist_camera[2]))),
    }


def load_cells(folders: Sequence[Path], task: Task) -> list[Cell]:
    """Read scene folders and build a cell for each; names are the last two parts of the paths."""
    return [build_cell(read_scene(f), task, f"{f.parent.name}/{f.name}") for f in folders]


def _aim_front(spec: mujoco.MjSpec, graph: SceneGraph, task: Task) -> None:
    """Turn the scene's front camera to the task's view, in place."""
    R = graph.camera.T_world_camera[:3, :3] @ task.front.R_camera_front @ pose.OPENGL_FROM_OPENCV
    camera = spec.camera("front")
    camera.quat = pose.matrix_to_quat(R)
    camera.fovy = np.rad2deg(task.front.fovy)
    camera.resolution = [1, 1]
