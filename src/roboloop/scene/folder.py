"""Scene folders: `scene.json` (the graph, strictly read) and `scene.xml` (plain MuJoCo)."""

import dataclasses
import re
from pathlib import Path
from typing import Any

import numpy as np

from roboloop.errors import RoboloopError
from roboloop.record import from_plain, to_plain
from roboloop.run import atomic_path, read_json, write_json
from roboloop.scene.compile import scene_spec
from roboloop.scene.families import complete
from roboloop.scene.graph import SceneGraph, SceneObject

FORMAT = "roboloop-scene"
VERSION = 2
_NAME = re.compile(r"[a-z0-9_]+")


def write_scene(graph: SceneGraph, folder: Path) -> None:
    """Write a scene folder: `scene.json` and `scene.xml`, whole or not at all.

    Args:
        graph: The scene; parameters it lacks are filled in.
        folder: Where; must not exist, or be empty.

    Raises:
        RoboloopError: The scene is not valid, or the folder has something in it.
    """
    graph = dataclasses.replace(graph, objects=tuple(complete(o) for o in graph.objects))
    check_scene(graph)
    spec = scene_spec(graph)
    spec.compile()  # the XML writer wants a compiled spec
    if folder.is_dir() and any(folder.iterdir()):
        raise RoboloopError("the scene folder is not empty", "choose another folder", folder)
    with atomic_path(folder) as temporary:
        temporary.mkdir()
        write_json(
            temporary / "scene.json", {"format": FORMAT, "version": VERSION, **to_plain(graph)}
        )
        (temporary / "scene.xml").write_text(spec.to_xml(), encoding="utf-8")


def read_scene(folder: Path) -> SceneGraph:
    """Read a scene folder back; only `scene.json` counts.

    Raises:
        RoboloopError: The file is missing, cut off, newer, or anything in it is not valid: the
            message names the field.
    """
    path = folder / "scene.json"
    plain = read_json(path)
    try:
        graph = _parse(plain)
        check_scene(graph)
    except RoboloopError as error:
        raise RoboloopError(error.problem, error.hint, path) from None
    return graph


def _parse(plain: Any) -> SceneGraph:
    if not isinstance(plain, dict) or plain.get("format") != FORMAT:
        raise RoboloopError(f"not a scene: `format` must be `{FORMAT}`")
    version = plain.get("version")
    if version != VERSION:
        raise RoboloopError(
            f"scene version {version!r} is not {VERSION}, the one this roboloop reads",
            "use the roboloop that wrote it, or make the scene again",
        )
    plain = {key: value for key, value in plain.items() if key not in ("format", "version")}
    graph = from_plain(SceneGraph, plain, "scene")
    _check_complete(plain, to_plain(graph), "scene")
    return graph


def check_scene(graph: SceneGraph) -> None:
    """Check everything that types do not say.

    Raises:
        RoboloopError: A name, pose, size, relation, camera, parameter or keypoint is not valid.
    """
    names = [obj.name for obj in graph.objects]
    for name in names:
        if not _NAME.fullmatch(name) or name in ("support", "robot", "front"):
            raise RoboloopError(f"object name `{name}` is not allowed", "use a-z, 0-9 and _")
        if names.count(name) > 1:
            raise RoboloopError(f"two objects are called `{name}`")
    if Path(graph.source).is_absolute() or ".." in Path(graph.source).parts:
        raise RoboloopError(f"scene.source `{graph.source}` leaves the folder: give a plain name")
    for obj in graph.objects:
        _check_object(obj, names)
    _check_pose("support.T_world_support", graph.support.T_world_support)
    if min(graph.support.size) <= 0:
        raise RoboloopError(f"support.size {graph.support.size} must be positive")
    camera = graph.camera
    _check_pose("camera.T_world_camera", camera.T_world_camera)
    for field in ("width", "height", "fx", "fy"):
        if getattr(camera, field) <= 0:
            raise RoboloopError(f"camera.{field} = {getattr(camera, field)} must be positive")
    if not np.any(graph.light_direction):
        raise RoboloopError("scene.light_direction must not be zero")


def _check_object(obj: SceneObject, names: list[str]) -> None:
    where = f"object `{obj.name}`"
    _check_pose(f"{where}: T_world_obj", obj.T_world_obj)
    if not all(0.001 < extent < 5.0 for extent in obj.size):
        raise RoboloopError(f"{where}: size {obj.size} must be between 0.001 and 5 m")
    for relation in obj.relations:
        if relation.target == obj.name or relation.target not in (*names, "support"):
            raise RoboloopError(f"{where}: related to `{relation.target}`, which is not there")
    for part, rgb in obj.colors.items():
        if not all(0.0 <= c <= 1.0 for c in rgb):
            raise RoboloopError(f"{where}: colour of `{part}` {rgb} must be in 0 to 1")
    ours = complete(obj)
    for field in ("params", "colors", "keypoints"):
        absent = sorted(getattr(ours, field).keys() - getattr(obj, field).keys())
        if absent:
            raise RoboloopError(f"{where}: {field} lacks {', '.join(absent)}")
    same_joints = [(j.name, j.kind) for j in ours.joints] == [(j.name, j.kind) for j in obj.joints]
    numbers = [[*o.keypoints.values(), *(j.range for j in o.joints)] for o in (ours, obj)]
    if not same_joints or not all(map(_close, *numbers)) or len(numbers[0]) != len(numbers[1]):
        raise RoboloopError(
            f"{where}: joints or keypoints are not those of a {obj.category} of this size",
            "they follow from category, size, parameters and joint values",
        )


def _close(a: tuple[float, ...], b: tuple[float, ...]) -> bool:
    return np.allclose(a, b, atol=1e-4)


def _check_complete(plain: Any, ours: Any, where: str) -> None:
    """Refuse a file that leaves out what has a default in Python: a scene file says everything."""
    if isinstance(ours, dict):
        absent = sorted(ours.keys() - plain.keys())
        if absent:
            raise RoboloopError(f"{where}: field missing: {', '.join(absent)}")
        for key in ours:
            _check_complete(plain[key], ours[key], f"{where}.{key}")
    elif isinstance(ours, list):
        for i, item in enumerate(ours):
            _check_complete(plain[i], item, f"{where}[{i}]")


def _check_pose(where: str, T: np.ndarray) -> None:
    R = T[:3, :3]
    rigid = np.allclose(R @ R.T, np.eye(3), atol=1e-4) and np.linalg.det(R) > 0
    if not rigid or not np.allclose(T[3], [0, 0, 0, 1]):
        raise RoboloopError(f"{where} is not a rigid pose")
