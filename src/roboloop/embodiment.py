"""Embodiments: what each robot's arm is (joints, servos, hand, camera), as data.

A robot's base frame has x forwards and z up. Its end-effector frame `eef` lies between the pads of
the fingers: +z is the approach direction, +y the axis along which the hand closes. Controls are
position targets of the arm's joints, then of the gripper.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from roboloop import pose
from roboloop.kinematics import Weights

Vector = tuple[float, float, float]
Quat = tuple[float, float, float, float]
JAW_GAP = 0.0015
"""Between a finger that does not move and what the hand comes to take, m."""


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
    joint_speed: float = 2.2
    """How fast every joint can be moved, rad/s."""
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

    def aside(self, width: Float[np.ndarray, "*B"]) -> Float[np.ndarray, "*B"]:
        """How far the hand is aside, along its y axis, when it takes what cannot move (m).

        A hand with one moving finger takes things so `width` next to the other one, at -y: closing
        would push them there, and pushes the arm where they do not give way.
        """
        one_moves = len(self.finger_joints) == 1
        return (0.5 * (self.max_opening - width) - JAW_GAP) * one_moves

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

_UR5E = Robot(
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
)

# The KUKA LBR iiwa 7 R800 with the same hand. Torques and speeds: KUKA, "LBR iiwa" brochure
_IIWA = replace(
    _UR5E,
    name="iiwa",
    arm_joints=tuple(f"joint_{i}" for i in range(1, 8)),
    arm_servos=(
        *[Servo(kp=6000.0, kd=300.0, force=176.0, damping=1.0, armature=0.1)] * 2,
        *[Servo(kp=5000.0, kd=200.0, force=110.0, damping=1.0, armature=0.1)] * 3,
        *[Servo(kp=2000.0, kd=65.0, force=40.0, damping=1.0, armature=0.1)] * 2,
    ),
    home=(0.0, 0.32, 0.0, -1.612, 0.0, 1.2096, 0.0),
    # nearer, and low, its elbow would have to bend beyond 120 degrees
    reach=(0.41, 0.68),
    eef=("link_7", (0.0, 0.0, 0.1975), (0.0, 0.0, 0.0, 1.0)),
    joint_speed=1.7,
    max_turn=np.inf,
)

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
    "ur5e": _UR5E,
    "iiwa": _IIWA,
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
