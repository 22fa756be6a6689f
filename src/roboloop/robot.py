"""Robots in MuJoCo: an embodiment's model with servos, pads and camera, and its kinematics.

Arm and hand are weightless, as with a real controller that compensates gravity. What the arms are
is in `embodiment`.
"""

from functools import cache
from itertools import combinations

import mujoco
import numpy as np
from jaxtyping import Float

from roboloop import assets, kinematics, pose
from roboloop.embodiment import ROBOTS, Robot, Servo
from roboloop.kinematics import Chain, IkResult, Weights

__all__ = [
    "PREFIX",
    "ROBOTS",
    "IkResult",
    "Robot",
    "attach",
    "forward_kinematics",
    "inverse_kinematics",
    "robot_chain",
    "robot_spec",
]

PREFIX = "robot/"
"""Before every name of a robot in a scene."""
PAD_FRICTION = (1.5, 0.02, 1e-4)
"""Rubber against what it holds: sliding, torsional (m), rolling (m)."""
PAD_SOLREF, PAD_SOLIMP = (0.01, 1.0), (0.95, 0.99, 0.001, 0.5, 2.0)
"""Stiff enough that a firm grip sinks in by less than half a millimetre."""


@cache
def robot_chain(name: str) -> Chain:
    """Return the kinematic chain of a robot's arm."""
    robot = ROBOTS[name]
    return kinematics.read_chain(robot_spec(name).compile(), robot.arm_joints, "eef")


def forward_kinematics(robot: Robot, q: Float[np.ndarray, "B n"]) -> Float[np.ndarray, "B 4 4"]:
    """Compute the poses of the hand, T_base_eef, for arm positions."""
    return kinematics.end_effectors(robot_chain(robot.name), q)


def inverse_kinematics(
    robot: Robot,
    T_base_eefs: Float[np.ndarray, "B 4 4"],
    q_init: Float[np.ndarray, "B n"],
    restarts: int = 4,
    prefer: Float[np.ndarray, "n"] | None = None,
    weights: Weights | None = None,
) -> IkResult:
    """Find arm positions within the joint limits that bring the hand to poses in the base frame.

    Of the positions that do, the one near `prefer` is taken. An arm with fewer than six joints
    meets the position first, then the approach axis, then the closing axis as far as it can.

    Args:
        robot: The robot.
        T_base_eefs: Where the hand should be.
        q_init: Where each search starts, such as the solution of a pose close by.
        restarts: How often poses that are missed are tried again from elsewhere.
        prefer: What a redundant arm tends to; None is its home.
        weights: What counts where not all can be met; None is as the robot says.
    """
    chain = robot_chain(robot.name)
    prefer = np.array(robot.home) if prefer is None else prefer
    weights = weights or robot.weights
    return kinematics.solve(chain, T_base_eefs, q_init, prefer, weights, restarts)


def attach(
    spec: mujoco.MjSpec,
    robot: Robot,
    T_world_base: Float[np.ndarray, "4 4"],
    lod: str = "low",
    prefix: str = PREFIX,
) -> None:
    """Put a robot into a scene, in place; its names get the prefix.

    Raises:
        RoboloopError: The robot's model has not been got.
    """
    quat = pose.matrix_to_quat(T_world_base[:3, :3])
    frame = spec.worldbody.add_frame(pos=T_world_base[:3, 3], quat=quat)
    spec.attach(robot_spec(robot.name, lod), prefix=prefix, frame=frame)


def robot_spec(name: str, lod: str = "low") -> mujoco.MjSpec:
    """Build the model of a robot alone: the arm at its zero, the hand open.

    Args:
        name: A key of `ROBOTS`.
        lod: `low`, or `full` for the stock visual meshes.

    Raises:
        RoboloopError: The name is unknown, or the robot's model has not been got.
    """
    spec = mujoco.MjSpec.from_file(str(assets.find(name, lod)))
    robot = ROBOTS[name]
    for body in spec.bodies:
        body.gravcomp = 1.0
    home = dict(zip(robot.arm_joints, robot.home, strict=True))
    for joint, servo in zip(robot.arm_joints, robot.arm_servos, strict=True):
        _set_joint(spec.joint(joint), servo)
        near = home[joint] - robot.max_turn, home[joint] + robot.max_turn
        spec.joint(joint).range = np.clip(spec.joint(joint).range, *near)
        _add_servo(spec, joint, servo, joint, mujoco.mjtTrn.mjTRN_JOINT)
    _add_gripper(spec, robot)
    _add_pads(spec, robot)
    _add_excludes(spec, robot)
    _add_eef(spec, robot)
    return spec


def _set_joint(joint: mujoco.MjsJoint, servo: Servo) -> None:
    joint.damping[0] = servo.damping
    joint.armature = servo.armature
    joint.frictionloss = servo.frictionloss


def _add_servo(
    spec: mujoco.MjSpec, name: str, servo: Servo, target: str, kind: mujoco.mjtTrn
) -> None:
    actuator = spec.add_actuator(name=name, target=target, trntype=kind)
    actuator.set_to_position(kp=servo.kp, kv=servo.kd)
    actuator.forcerange = [-servo.force, servo.force]


def _add_gripper(spec: mujoco.MjSpec, robot: Robot) -> None:
    """One servo drives all fingers, which are coupled; the model's reference is the open hand."""
    tendon = spec.add_tendon(name="gripper")
    for name, sign in robot.finger_joints:
        joint = spec.joint(name)
        _set_joint(joint, robot.gripper_servo)
        _open(joint, sign * robot.gripper_open)
        tendon.wrap_joint(name, sign / len(robot.finger_joints))
        if name != robot.gripper_joint:
            spec.add_equality(
                name=name,
                type=mujoco.mjtEq.mjEQ_JOINT,
                objtype=mujoco.mjtObj.mjOBJ_JOINT,
                name1=name,
                name2=robot.gripper_joint,
                data=[0.0, sign, *[0.0] * 10],
                solref=[0.005, 1.0],
            )
    _add_servo(spec, "gripper", robot.gripper_servo, "gripper", mujoco.mjtTrn.mjTRN_TENDON)


def _open(joint: mujoco.MjsJoint, value: float) -> None:
    """Move a finger to `value` and make it the joint's reference, in place."""
    body, axis = joint.parent, np.array(joint.axis)
    R = pose.quat_to_matrix(np.array(body.quat))
    if joint.type == mujoco.mjtJoint.mjJNT_SLIDE:
        body.pos = body.pos + R @ axis * value
    else:
        body.quat = pose.matrix_to_quat(R @ pose.rotvec_to_matrix(axis * value))
    joint.ref = value


def _add_pads(spec: mujoco.MjSpec, robot: Robot) -> None:
    for k, pad in enumerate(robot.pads):
        spec.body(pad.body).add_geom(
            name=f"pad_{k}",
            type=mujoco.mjtGeom.mjGEOM_BOX,
            pos=pad.pos,
            quat=pad.quat,
            size=pad.half_size,
            group=3,
            mass=0,
            friction=PAD_FRICTION,
            solref=PAD_SOLREF,
            solimp=PAD_SOLIMP,
            condim=4,
            priority=1,
        )


def _add_excludes(spec: mujoco.MjSpec, robot: Robot) -> None:
    """Links next to each other overlap at their joints, and fingers may meet: no contacts there."""
    fingers = [spec.joint(name).parent.name for name, _ in robot.finger_joints]
    pairs = {*robot.apart, *combinations(fingers, 2)}
    for body in spec.bodies[2:]:  # after the world and the base
        pairs.add((body.parent.name, body.name))
    for a, b in sorted(pairs):
        spec.add_exclude(bodyname1=a, bodyname2=b)


def _add_eef(spec: mujoco.MjSpec, robot: Robot) -> None:
    """The site `eef` and the camera `wrist`, in place."""
    name, p, quat = robot.eef
    body = spec.body(name)
    body.add_site(name="eef", pos=p, quat=quat, group=4)
    T_body_eef = pose.from_parts(np.array(p), pose.quat_to_matrix(np.array(quat)))
    T = T_body_eef @ robot.wrist_pose
    quat = pose.matrix_to_quat(T[:3, :3] @ pose.OPENGL_FROM_OPENCV)
    body.add_camera(name="wrist", pos=T[:3, 3], quat=quat, fovy=robot.wrist_camera[2])
