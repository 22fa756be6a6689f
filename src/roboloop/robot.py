"""Robots: what an arm is (joints, servos, hand, camera), its MuJoCo model and its kinematics.

A robot's base frame has x forwards and z up. Its end-effector frame `eef` lies between the pads of
the fingers: +z is the approach direction, +y the axis along which the hand closes. Controls are
position targets of the arm's joints, then of the gripper. Arm and hand are weightless, as with a
real controller that compensates gravity.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from itertools import combinations

import mujoco
import numpy as np
from jaxtyping import Float

from roboloop import assets, kinematics, pose
from roboloop.kinematics import Chain, IkResult, Weights

PREFIX = "robot/"
"""Before every name of a robot in a scene."""
PAD_FRICTION = (1.5, 0.02, 1e-4)
"""Rubber against what it holds: sliding, torsional (m), rolling (m)."""
PAD_SOLREF, PAD_SOLIMP = (0.01, 1.0), (0.95, 0.99, 0.001, 0.5, 2.0)
"""Stiff enough that a firm grip sinks in by less than half a millimetre."""

Vector = tuple[float, float, float]
Quat = tuple[float, float, float, float]


@dataclass(frozen=True)
class Servo:
    """A position servo and what it drives: torque = kp (target - q) - kd qvel, within `force`."""

    kp: float
    """N·m/rad, or N/m for slides."""
    kd: float
    force: float
    """N·m or N."""
    damping: float
    armature: float
    frictionloss: float = 0.0


@dataclass(frozen=True)
class Pad:
    """A box that holds things, fixed to a finger."""

    body: str
    pos: Vector
    half_size: Vector
    quat: Quat = (1.0, 0.0, 0.0, 0.0)


@dataclass(frozen=True)
class Robot:
    """An arm with a hand."""

    name: str
    """Also the name of its model in `assets.ASSETS`."""
    arm_joints: tuple[str, ...]
    arm_servos: tuple[Servo, ...]
    finger_joints: tuple[tuple[str, float], ...]
    """(joint, sign): the first is the gripper's coordinate, others move by sign times as much."""
    gripper_servo: Servo
    gripper_open: float
    """Target of the gripper when open (m for slides, rad for hinges)."""
    gripper_closed: float
    max_opening: float
    """Widest thing that fits centred between the open pads, m."""
    finger_depth: float
    """How far the pads reach from the eef origin along the approach axis, m."""
    pads: tuple[Pad, ...]
    home: tuple[float, ...]
    """Arm joint positions, hand pointing down."""
    reach: tuple[float, float]
    """Horizontal distances from the base at which the hand works well pointing down, m."""
    eef: tuple[str, Vector, Quat]
    """Body, position and orientation of the eef frame."""
    wrist_camera: tuple[Vector, Vector, float]
    """Position and a point it looks at, in the eef frame, and the vertical field of view (deg)."""
    apart: tuple[tuple[str, str], ...]
    """Bodies beyond neighbours whose hulls overlap without the real ones touching."""
    weights: Weights
    max_turn: float = np.inf
    """How far joints may be from home, rad: at most pi makes every position of a joint unique."""

    @property
    def gripper_joint(self) -> str:
        """Joint that tells how far the hand is open."""
        return self.finger_joints[0][0]

    @property
    def turns_freely(self) -> bool:
        """Whether the hand can have any orientation at a place; else it has what the arm allows."""
        return len(self.arm_joints) >= 6

    @property
    def nu(self) -> int:
        """Number of controls: the arm's joints and the gripper."""
        return len(self.arm_joints) + 1

    @property
    def wrist_pose(self) -> Float[np.ndarray, "4 4"]:
        """`T_eef_wrist`, the wrist camera in the hand; OpenCV axes."""
        p_eye, p_target, _ = self.wrist_camera
        return pose.look_at(np.array(p_eye), np.array(p_target), np.array([1.0, 0.0, 0.0]))

    def opening(self, gripper_qpos: Float[np.ndarray, "*B"]) -> Float[np.ndarray, "*B"]:
        """How far the hand is open, from 0 (closed) to 1, by its joint's position."""
        return (gripper_qpos - self.gripper_closed) / (self.gripper_open - self.gripper_closed)

    def gripper_at(
        self, opening: Float[np.ndarray, "*B"] | float
    ) -> Float[np.ndarray, "*B"] | float:
        """The gripper's target at which the hand is open that much; see `opening`."""
        return self.gripper_closed + opening * (self.gripper_open - self.gripper_closed)


_STS3215 = Servo(kp=40.0, kd=0.9, force=3.35, damping=0.6, armature=0.028, frictionloss=0.052)
"""Damping, armature, friction and force as in the SO-101's MJCF; stiffer, for 20 Hz targets."""

# of arms' joints; force: Robotis, "XM540-W270" and "XM430-W350", stall torque at 12 V
_XM540 = Servo(kp=400.0, kd=14.0, force=10.6, damping=1.0, armature=0.05)
_XM430 = Servo(kp=200.0, kd=7.0, force=4.1, damping=0.5, armature=0.02)

ROBOTS: Mapping[str, Robot] = {
    "panda": Robot(
        name="panda",
        arm_joints=tuple(f"joint{i}" for i in range(1, 8)),
        # force limits: Franka Emika, "Robot and interface specifications", joint torque limits
        arm_servos=(
            *[Servo(kp=4500.0, kd=180.0, force=87.0, damping=1.0, armature=0.1)] * 2,
            *[Servo(kp=3500.0, kd=130.0, force=87.0, damping=1.0, armature=0.1)] * 2,
            *[Servo(kp=2000.0, kd=65.0, force=12.0, damping=1.0, armature=0.1)] * 3,
        ),
        finger_joints=(("finger_joint1", 1.0), ("finger_joint2", -1.0)),
        gripper_servo=Servo(kp=4000.0, kd=100.0, force=60.0, damping=20.0, armature=0.2),
        gripper_open=0.04,
        gripper_closed=0.0,
        max_opening=0.077,
        finger_depth=0.009,
        pads=(
            Pad("leftfinger", (0.0, 0.0025, 0.0450), (0.0085, 0.004, 0.0085)),
            Pad("rightfinger", (0.0, -0.0025, 0.0450), (0.0085, 0.004, 0.0085)),
        ),
        home=(0.0, -0.1, 0.0, -2.3, 0.0, 2.2, 0.785),
        reach=(0.35, 0.65),
        eef=("link7", (0.0, 0.0, 0.2038), (0.923785, 0.0, 0.0, -0.382911)),
        wrist_camera=((0.10, 0.0, -0.08), (0.015, 0.0, 0.02), 75.0),
        apart=(("link5", "link7"),),
        weights=Weights(position=0.002, approach=0.01, closing=0.01),
    ),
    "ur5e": Robot(
        name="ur5e",
        arm_joints=(
            "shoulder_pan_joint",
            "shoulder_lift_joint",
            "elbow_joint",
            "wrist_1_joint",
            "wrist_2_joint",
            "wrist_3_joint",
        ),
        # force limits: Universal Robots, "Max. joint torques", UR5e (150 and 28 N·m)
        arm_servos=(
            *[Servo(kp=6000.0, kd=300.0, force=150.0, damping=1.0, armature=0.1)] * 3,
            *[Servo(kp=2000.0, kd=65.0, force=28.0, damping=1.0, armature=0.1)] * 3,
        ),
        # Robotiq 2F-85: each finger is a parallelogram, its pad does not turn
        finger_joints=(
            ("finger_joint", 1.0),
            ("left_inner_finger_joint", -1.0),
            ("left_inner_knuckle_joint", 1.0),
            ("right_outer_knuckle_joint", 1.0),
            ("right_inner_finger_joint", -1.0),
            ("right_inner_knuckle_joint", 1.0),
        ),
        # 5 N·m on links of 5.7 cm is 44 N a pad; Robotiq, "2F-85 instruction manual": 20 to 235 N
        gripper_servo=Servo(kp=60.0, kd=1.7, force=5.0, damping=0.05, armature=0.002),
        gripper_open=0.0,
        gripper_closed=0.8,
        max_opening=0.083,
        finger_depth=0.0095,
        pads=(
            Pad("left_inner_finger", (0.0, -0.0228, 0.03242), (0.011, 0.0026, 0.01875)),
            Pad("right_inner_finger", (0.0, -0.0228, 0.03242), (0.011, 0.0026, 0.01875)),
        ),
        home=(-0.2713, -1.591, 1.6841, -1.6638, -1.5708, -1.8421),
        reach=(0.35, 0.65),
        eef=("wrist_3_link", (0.0, 0.2515, 0.0), (0.70710678, -0.70710678, 0.0, 0.0)),
        wrist_camera=((0.10, 0.0, -0.10), (0.015, 0.0, 0.02), 75.0),
        apart=(),
        weights=Weights(position=0.002, approach=0.01, closing=0.01),
        max_turn=np.pi,
    ),
    "so101": Robot(
        name="so101",
        arm_joints=("shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll"),
        arm_servos=(_STS3215,) * 5,
        finger_joints=(("gripper", 1.0),),
        gripper_servo=_STS3215,
        gripper_open=0.5,
        gripper_closed=-0.17,
        max_opening=0.04,
        finger_depth=0.0065,
        pads=(
            Pad("gripper", (-0.00675, -0.0002, -0.0972), (0.00525, 0.008, 0.0072)),
            Pad(
                "moving_jaw_so101_v1",
                (-0.01233, -0.07625, 0.0189),
                (0.0045, 0.006, 0.0072),
                (0.68849, -0.68849, 0.1612, -0.1612),
            ),
        ),
        home=(0.0, -0.9, 0.8, 1.57, 0.0),
        reach=(0.16, 0.28),
        eef=("gripper", (0.0185, -0.0002, -0.0972), (0.0, 0.70710678, 0.70710678, 0.0)),
        wrist_camera=((0.06, 0.0, -0.06), (0.0, 0.0, 0.0), 75.0),
        apart=(),
        weights=Weights(position=0.002, approach=0.1, closing=0.3),
    ),
    # ViperX 300 S with ALOHA's fingers. There two stand 0.938 m apart and face each other
    # (vx300s_left.xml and vx300s_right.xml: x = -0.469 at yaw 0, x = 0.469 at yaw pi, the same y)
    "vx300s": Robot(
        name="vx300s",
        arm_joints=("waist", "shoulder", "elbow", "forearm_roll", "wrist_angle", "wrist_rotate"),
        # Trossen, "ViperX-300 6DOF": XM540s but for the last joint, two each at shoulder and elbow
        arm_servos=(
            replace(_XM540, kp=1000.0, kd=36.0, armature=0.1),
            replace(_XM540, kp=1600.0, kd=60.0, force=21.2, armature=0.1),
            replace(_XM540, kp=1000.0, kd=36.0, force=21.2, armature=0.1),
            *[_XM540] * 2,
            _XM430,
        ),
        finger_joints=(("left_finger", 1.0), ("right_finger", -1.0)),
        # an XM430 on a crank of 22 mm could do more than 90 N a finger; its current is limited
        gripper_servo=Servo(kp=4000.0, kd=100.0, force=60.0, damping=20.0, armature=0.2),
        gripper_open=0.057,
        gripper_closed=0.021,
        max_opening=0.066,
        finger_depth=0.010,
        pads=(
            Pad("left_finger_link", (0.075, -0.0199, 0.0), (0.009, 0.003, 0.006)),
            Pad("right_finger_link", (0.075, 0.0199, 0.0), (0.009, 0.003, 0.006)),
        ),
        home=(0.0, -0.191, 0.0888, 0.0, 1.673, 0.0),
        reach=(0.22, 0.48),
        eef=("gripper_link", (0.1437, 0.0, 0.0), (0.0, 0.70710678, 0.0, 0.70710678)),
        wrist_camera=((0.10, 0.0, -0.10), (0.015, 0.0, 0.02), 75.0),
        apart=(),
        weights=Weights(position=0.002, approach=0.01, closing=0.01),
    ),
}


@cache
def robot_chain(name: str) -> Chain:
    """Return the kinematic chain of a robot's arm."""
    robot = ROBOTS[name]
    return kinematics.read_chain(robot_spec(name).compile(), robot.arm_joints, "eef")


def forward_kinematics(robot: Robot, q: Float[np.ndarray, "B n"]) -> Float[np.ndarray, "B 4 4"]:
    """Compute the poses of the hand, T_base_eef, for arm positions."""
    return kinematics.joint_frames(robot_chain(robot.name), q)[-1]


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
