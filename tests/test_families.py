"""The contract that every asset family keeps."""

from dataclasses import replace

import mujoco
import numpy as np
import pytest

from roboloop import pose
from roboloop.errors import RoboloopError
from roboloop.robot import ROBOTS, attach, inverse_kinematics
from roboloop.scene.compile import scene_spec
from roboloop.scene.families import FAMILIES, complete, sample
from roboloop.scene.families.base import box_size, carcass_of
from roboloop.scene.graph import Camera, SceneGraph, SceneObject, Support

UP = np.array([0.0, 0.0, 1.0])
HOLLOW = ("bowl", "plate", "mug", "pan", "basket", "tray", "serving_tray", "holder", "bin",
          "casserole")  # fmt: skip
SIZES = {
    "box": (0.08, 0.042, 0.02),
    "bar": (0.18, 0.035, 0.035),
    "can": (0.066, 0.066, 0.10),
    "bottle": (0.06, 0.06, 0.20),
    "bowl": (0.11, 0.11, 0.053),
    "plate": (0.14, 0.14, 0.02),
    "mug": (0.125, 0.09, 0.10),
    "pan": (0.36, 0.21, 0.058),
    "pot": (0.152, 0.09, 0.154),
    "basket": (0.25, 0.20, 0.12),
    "tray": (0.30, 0.22, 0.035),
    "serving_tray": (0.27, 0.42, 0.085),
    "drawer_cabinet": (0.222, 0.256, 0.218),
    "microwave": (0.264, 0.345, 0.19),
    "stove": (0.297, 0.19, 0.074),
    "rack": (0.27, 0.266, 0.33),
    "pen": (0.15, 0.013, 0.013),
    "holder": (0.065, 0.065, 0.1),
    "bead": (0.016, 0.016, 0.016),
    "button": (0.09, 0.09, 0.06),
    "hammer": (0.16, 0.06, 0.026),
    "towel": (0.30, 0.24, 0.003),
    "square_nut": (0.123, 0.0875, 0.02),
    "round_nut": (0.139, 0.1074, 0.02),
    "square_peg": (0.032, 0.032, 0.13),
    "round_peg": (0.04, 0.04, 0.13),
    "needle": (0.16, 0.028, 0.028),
    "tripod": (0.09, 0.11, 0.14),
    "socket": (0.1, 0.1, 0.04),
    "plug": (0.06, 0.06, 0.06),
    "bin": (0.39, 0.49, 0.06),
    "coffee_machine": (0.20, 0.12, 0.17),
    "pod": (0.045, 0.045, 0.034),
    "hob": (0.17, 0.17, 0.03),
    "dial": (0.08, 0.08, 0.065),
    "casserole": (0.16, 0.125, 0.06),
    "mat": (0.12, 0.22, 0.002),
}


def make(category: str, x: float = 0.0, y: float = 0.0, **fields: object) -> SceneObject:
    """An object of a family on the table."""
    size = fields.pop("size", SIZES[category])
    T = pose.from_parts(np.array([x, y, size[2] / 2]), np.eye(3))
    fields = {"name": category, "params": {}, "colors": {}, **fields}
    return complete(SceneObject(category=category, T_world_obj=T, size=size, **fields))


def scene(*objects: SceneObject) -> SceneGraph:
    """A table with objects, seen from the front."""
    T = pose.look_at(np.array([0.95, 0.0, 0.75]), np.array([0.05, 0.0, 0.0]))
    camera = Camera(640, 480, 579.4, 579.4, 320.0, 240.0, T)
    return SceneGraph(objects, Support(np.eye(4), (1.0, 1.2), (0.75, 0.65, 0.55)), camera)


def cousins(category: str, n: int) -> list[SceneObject]:
    """The default object, cousins of it, and (with joints) an open cousin."""
    obj, rng = make(category), np.random.default_rng(0)
    if box := FAMILIES[category].box:
        first = replace(obj.joints[0], value=0.5 * obj.joints[0].range[1])
        joints = (first, *obj.joints[1:])
        carcass, _ = carcass_of(box, obj.size, obj.params, obj.joints)
        opened = make(category, joints=joints, size=box_size(box, carcass, obj.params, joints))
        return [obj, opened, *(sample(o, rng) for o in (obj, opened) for _ in range(n))]
    return [obj, *(sample(obj, rng) for _ in range(n))]


def lift(obj: SceneObject) -> SceneObject:
    """Put a cousin's bottom on the table."""
    T = obj.T_world_obj.copy()
    T[2, 3] = obj.size[2] / 2
    return replace(obj, T_world_obj=T)


def simulate(model: mujoco.MjModel, seconds: float, **qvel: float) -> mujoco.MjData:
    data = mujoco.MjData(model)
    for joint, speed in qvel.items():
        data.joint(joint.replace("__", "/")).qvel[0] = speed
    mujoco.mj_step(model, data, int(seconds / model.opt.timestep))
    assert not data.warning.number.any()
    return data


def bounds(model: mujoco.MjModel, data: mujoco.MjData, name: str) -> np.ndarray:
    """Lowest and highest corner of an object's geoms in the frame of its root body."""
    corners = []
    for g in range(model.ngeom):
        if not model.geom(g).name.startswith(f"{name}/"):
            continue
        R, p, size = data.geom_xmat[g].reshape(3, 3), data.geom_xpos[g], model.geom_size[g]
        kind = model.geom_type[g]
        if kind == mujoco.mjtGeom.mjGEOM_MESH:
            mesh = model.mesh(model.geom_dataid[g])
            start, n = model.mesh_vertadr[mesh.id], model.mesh_vertnum[mesh.id]
            points = model.mesh_vert[start : start + n] @ R.T + p
            corners += [points.min(0), points.max(0)]
            continue
        if kind == mujoco.mjtGeom.mjGEOM_BOX:
            half = np.abs(R) @ size
        elif kind == mujoco.mjtGeom.mjGEOM_SPHERE:
            half = np.full(3, size[0])
        else:
            assert kind == mujoco.mjtGeom.mjGEOM_CAPSULE
            half = np.abs(R[:, 2]) * size[1] + size[0]
        corners += [p - half, p + half]
    return np.stack([np.min(corners, 0), np.max(corners, 0)]) - data.body(name).xpos


@pytest.mark.parametrize("category", FAMILIES)
def test_box_of_geoms_is_size(category: str) -> None:
    for obj in cousins(category, 5):
        model = scene_spec(scene(obj)).compile()
        data = mujoco.MjData(model)
        mujoco.mj_kinematics(model, data)
        half = np.array(obj.size) / 2
        np.testing.assert_allclose(bounds(model, data, category), [-half, half], atol=0.002)


@pytest.mark.parametrize("category", FAMILIES)
def test_keypoints_are_sites_in_the_box(category: str) -> None:
    for obj in cousins(category, 5):
        assert {"center", "top", "bottom"} <= obj.keypoints.keys()
        model = scene_spec(scene(obj)).compile()
        data = mujoco.MjData(model)
        mujoco.mj_kinematics(model, data)
        for key, p in obj.keypoints.items():
            assert (np.abs(p) <= np.array(obj.size) / 2 + 0.002).all(), key
            expected = pose.transform(obj.T_world_obj, np.array(p))
            np.testing.assert_allclose(data.site(f"{category}/{key}").xpos, expected, atol=1e-6)


@pytest.mark.parametrize("category", FAMILIES)
def test_cousins_of_cousins_share_the_layout(category: str) -> None:
    obj, rng = make(category), np.random.default_rng(1)
    cousin = sample(sample(obj, rng), rng)
    assert cousin.keypoints.keys() == obj.keypoints.keys()
    assert complete(cousin) == cousin
    a, b = (scene_spec(scene(o)).compile() for o in (obj, cousin))
    for field in ("nq", "nv", "nu", "nbody", "njnt", "ngeom", "nsite", "nmesh", "nmeshvert",
                  "nmeshface", "nexclude", "ntexdata"):  # fmt: skip
        assert getattr(a, field) == getattr(b, field), field


@pytest.mark.parametrize("category", [c for c in FAMILIES if not FAMILIES[c].static])
def test_rests_on_a_table(category: str) -> None:
    for obj in map(lift, cousins(category, 3)):
        data = simulate(scene_spec(scene(obj)).compile(), 1.0)
        T = pose.from_parts(data.body(category).xpos, data.body(category).xmat.reshape(3, 3))
        moved = pose.inverse(obj.T_world_obj) @ T
        assert np.linalg.norm(moved[:3, 3]) < 0.005
        assert np.linalg.norm(pose.matrix_to_rotvec(moved[:3, :3])) < np.deg2rad(2)


@pytest.mark.parametrize("category", HOLLOW)
def test_hollow_things_hold_a_marble(category: str) -> None:
    for obj in map(lift, cousins(category, 3)):
        spec = scene_spec(scene(obj))
        inside = pose.transform(obj.T_world_obj, np.array(obj.keypoints["inside"]))
        marble = spec.worldbody.add_body(name="marble", pos=inside + np.array([0.004, 0.003, 0.03]))
        marble.add_freejoint()
        marble.add_geom(size=[0.008, 0, 0], density=1000, friction=[0.5, 0.005, 0.001], condim=6)
        data = simulate(spec.compile(), 1.5)
        p = data.body("marble").xpos
        assert 0.0 < p[2] - inside[2] < 0.02
        rim = np.array(obj.keypoints["rim"]) - obj.keypoints["top"]
        assert np.linalg.norm((p - inside)[:2]) < np.linalg.norm(rim)


@pytest.mark.parametrize("category", ["drawer_cabinet", "microwave", "stove", "dial"])
def test_joints_move_through_their_range(category: str) -> None:
    obj = make(category)
    for joint in obj.joints:
        model = scene_spec(scene(obj)).compile()
        name = f"{category}/{joint.name}"
        dof = model.joint(name).dofadr[0]
        data = mujoco.MjData(model)
        push = {"drawer_cabinet": 8.0, "microwave": 0.6}.get(category, 0.1)
        for force in (push, -push):
            data.qfrc_applied[dof] = force
            mujoco.mj_step(model, data, 1500)
            assert np.abs(data.qvel).max() < 0.05
            end = joint.range[1] if force > 0 else joint.range[0]
            assert data.joint(name).qpos[0] == pytest.approx(end, abs=0.01)


def test_a_drawer_stays_where_it_was_left_and_holds_things() -> None:
    cabinet = cousins("drawer_cabinet", 0)[1]
    inside = pose.transform(cabinet.T_world_obj, np.array(cabinet.keypoints["drawer_0_inside"]))
    box = make("box", size=(0.05, 0.04, 0.03))
    box = replace(box, T_world_obj=pose.from_parts(inside + 0.02 * UP, np.eye(3)))
    model = scene_spec(scene(cabinet, box)).compile()
    data = simulate(model, 1.0)
    opened = cabinet.joints[0].value
    assert data.joint("drawer_cabinet/drawer_0").qpos[0] == pytest.approx(opened, abs=1e-3)
    np.testing.assert_allclose(data.body("box").xpos, inside + 0.015 * UP, atol=0.003)


def test_things_stack() -> None:
    plate = make("plate")
    bowl = make("bowl")
    inside = pose.transform(plate.T_world_obj, np.array(plate.keypoints["inside"]))
    T = pose.from_parts(inside + np.array([0.01, 0.0, bowl.size[2] / 2 + 0.001]), np.eye(3))
    data = simulate(scene_spec(scene(plate, replace(bowl, T_world_obj=T))).compile(), 1.0)
    np.testing.assert_allclose(data.body("bowl").xpos, T[:3, 3], atol=0.004)


def test_parts_are_painted_like_the_main_part_unless_told() -> None:
    red = (0.8, 0.1, 0.1)
    mug = make("mug", colors={"main": red})
    assert mug.colors["handle"] == red
    assert mug.colors["accent"] == FAMILIES["mug"].colors["accent"]


def test_unknown_names_offer_the_closest() -> None:
    with pytest.raises(RoboloopError, match="unknown category `bowel`\nhint: did you mean `bowl`"):
        complete(replace(make("bowl"), category="bowel"))
    with pytest.raises(RoboloopError, match="unknown parameter of `bowl` `curved`"):
        make("bowl", params={"curved": 1.0})
    with pytest.raises(RoboloopError, match="unknown joint of `microwave` `dor`"):
        make("microwave", joints=(replace(make("microwave").joints[0], name="dor"),))
    door = replace(make("microwave").joints[0], value=3.0)
    with pytest.raises(RoboloopError, match="microwave/door = 3.000 is outside of its range"):
        make("microwave", joints=(door,))


@pytest.mark.parametrize("robot", ["panda", "vx300s"])
@pytest.mark.parametrize("handle", ["handle_left", "handle_right"])
def test_an_open_hand_from_above_has_room_around_a_trays_handle(robot: str, handle: str) -> None:
    arm, side = ROBOTS[robot], 1.0 if handle == "handle_left" else -1.0
    facing, far = pose.yaw_to_matrix(-side * np.pi / 2), np.mean(arm.reach)
    for tray in map(lift, cousins("serving_tray", 8)):
        bar = pose.transform(tray.T_world_obj, np.array(tray.keypoints[handle]))
        T_world_base = pose.from_parts(np.array([0.0, bar[1] + side * far, 0.0]), facing)
        T_world_eef = pose.from_parts(bar, np.diag([-1.0, 1.0, -1.0]))
        T_base_eef = pose.inverse(T_world_base) @ T_world_eef
        hand = inverse_kinematics(arm, T_base_eef[None], np.array([arm.home]))
        spec = scene_spec(scene(tray))
        attach(spec, arm, T_world_base)
        model = spec.compile()
        data = mujoco.MjData(model)
        data.qpos[[model.joint(f"robot/{j}").qposadr[0] for j in arm.arm_joints]] = hand.q[0]
        mujoco.mj_forward(model, data)
        pads = [data.geom(f"robot/pad_{k}").xpos[1] for k in (0, 1)]
        assert min(pads) + 0.02 < bar[1] < max(pads) - 0.02
        touching = {model.geom(g).name for pair in data.contact.geom for g in pair}
        assert not any(name.startswith("robot/") for name in touching)


@pytest.mark.parametrize(
    ("category", "handle", "joint"),
    [("drawer_cabinet", "drawer_1_handle", "drawer_1"), ("microwave", "handle", "door")],
)
def test_a_hook_behind_the_handle_opens_it(category: str, handle: str, joint: str) -> None:
    obj = make(category)
    spec = scene_spec(scene(obj))
    p = pose.transform(obj.T_world_obj, np.array(obj.keypoints[handle])) - np.array([0.018, 0, 0])
    hook = spec.worldbody.add_body(name="hook", pos=p, mocap=True)
    hook.add_geom(type=mujoco.mjtGeom.mjGEOM_BOX, size=[0.004, 0.01, 0.01])
    model = spec.compile()
    data = mujoco.MjData(model)
    assert data.joint(f"{category}/{joint}").qpos[0] == 0.0
    for _ in range(500):
        data.mocap_pos[0, 0] += 0.0002
        mujoco.mj_step(model, data)
    assert data.joint(f"{category}/{joint}").qpos[0] > 0.07
    assert not data.warning.number.any()
