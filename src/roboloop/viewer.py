"""Episodes for the rerun viewer: frames, numbers, stages, and every body of the scene in 3D.

An `.rrd` file holds a recording an episode. Frames are JPEG, which the viewer shows without a video
decoder.
"""

import io
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mujoco
import numpy as np
from jaxtyping import Float, Float32, UInt8

from roboloop.errors import RoboloopError
from roboloop.pose import quat_to_matrix
from roboloop.render import VISUAL_GROUP
from roboloop.run import atomic_path
from roboloop.sim import qpos_of

RERUN = (sys.executable, "-m", "rerun_cli")
JPEG_QUALITY = 90
XYZW = [1, 2, 3, 0]
"""The viewer's order of a quaternion's parts, in ours."""


@dataclass(frozen=True, eq=False)
class Recorded:
    """An episode as the viewer gets it."""

    dataset: str
    index: int
    text: str
    """What is said of it."""
    fps: int
    cameras: tuple[str, ...]
    images: Iterable[Mapping[str, UInt8[np.ndarray, "h w 3"]]]
    """Of each step, by camera."""
    series: Mapping[str, tuple[tuple[str, ...], Float32[np.ndarray, "T n"]]]
    """Names of the dimensions, and values, by column of the dataset."""
    stages: tuple[tuple[str, int], ...]
    """Names of the task's stages, and the steps at which they begin."""
    scene: tuple[mujoco.MjModel, Float[np.ndarray, "T nstate"]] | None
    """Model and states, where they are known."""


def _import_rerun() -> Any:
    """Import the viewer's package.

    Raises:
        RoboloopError: It is not installed.
    """
    try:
        import rerun
    except ImportError:
        problem = "the rerun viewer is not installed"
        raise RoboloopError(problem, "pip install 'roboloop[rerun]'") from None
    return rerun


def write_recordings(path: Path, episodes: Iterable[Recorded]) -> None:
    """Write episodes to a file, a recording each.

    Raises:
        RoboloopError: The viewer is not installed, or the disk is full.
    """
    rr = _import_rerun()
    with tempfile.TemporaryDirectory() as folder, atomic_path(path) as temporary:
        parts = []
        for k, episode in enumerate(episodes):
            parts.append(Path(folder) / f"{k}.rrd")
            parts[-1].write_bytes(_recording(rr, episode))
        words = [*RERUN, "rrd", "merge", *map(str, parts), "-o", str(temporary)]
        subprocess.run(words, check=True, capture_output=True)


def _recording(rr: Any, episode: Recorded) -> bytes:
    """Write an episode as a recording."""
    stream = rr.RecordingStream(episode.dataset, recording_id=f"episode_{episode.index}")
    memory = stream.memory_recording()
    stream.send_recording_name(f"episode {episode.index}")
    stream.send_blueprint(_layout(episode))
    stream.log("episode", rr.TextDocument(episode.text), static=True)
    for name, (labels, values) in episode.series.items():
        stream.log(name, rr.SeriesLines(names=list(labels)), static=True)
        columns = rr.Scalars.columns(scalars=values)
        stream.send_columns(name, _times(rr, range(len(values)), episode.fps), columns)
    for name, start in episode.stages:
        stream.set_time("step", sequence=start)
        stream.set_time("time", duration=start / episode.fps)
        stream.log("stage", rr.TextLog(name))
    stream.reset_time()
    _log_images(rr, stream, episode)
    if episode.scene is not None:
        _log_scene(rr, stream, episode.fps, *episode.scene)
    return memory.drain_as_bytes()


def open_viewer(path: Path) -> bool:
    """Start the viewer on a file, on its own.

    Returns:
        Whether there is a display to show it on.
    """
    if sys.platform.startswith("linux") and not {"DISPLAY", "WAYLAND_DISPLAY"} & os.environ.keys():
        return False
    words = [sys.executable, "-m", "rerun", str(path)]
    subprocess.Popen(
        words, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    return True


def _times(rr: Any, steps: range, fps: int) -> list[Any]:
    seconds = np.asarray(steps) / fps
    return [rr.TimeColumn("step", sequence=steps), rr.TimeColumn("time", duration=seconds)]


def _log_images(rr: Any, stream: Any, episode: Recorded) -> None:
    """Log what the cameras saw."""
    from PIL import Image

    blobs: dict[str, list[bytes]] = {}
    for images in episode.images:
        for camera, image in images.items():
            buffer = io.BytesIO()
            Image.fromarray(image).save(buffer, "jpeg", quality=JPEG_QUALITY)
            blobs.setdefault(camera, []).append(buffer.getvalue())
    for camera, frames in blobs.items():
        kinds = ["image/jpeg"] * len(frames)
        columns = rr.EncodedImage.columns(blob=frames, media_type=kinds)
        times = _times(rr, range(len(frames)), episode.fps)
        stream.send_columns(f"cameras/{camera}", times, columns)


def _log_scene(
    rr: Any, stream: Any, fps: int, model: mujoco.MjModel, states: Float[np.ndarray, "T nstate"]
) -> None:
    """Log what every body looks like, and where it is at every step."""
    data, places, turns = mujoco.MjData(model), [], []
    for qpos in qpos_of(model, states):
        data.qpos[:] = qpos
        mujoco.mj_kinematics(model, data)
        places.append(data.xpos.copy())
        turns.append(data.xquat.copy())
    p_world, quat_world = np.stack(places), np.stack(turns)[..., XYZW]
    times = _times(rr, range(len(states)), fps)
    for body in range(model.nbody):
        geoms = np.flatnonzero((model.geom_bodyid == body) & (model.geom_group == VISUAL_GROUP))
        if not len(geoms):
            continue
        name = f"scene/{model.body(body).name.replace('/', '.')}"
        for geom in map(int, geoms):
            shape = _shape(rr, model, geom)
            if shape is not None:
                stream.log(f"{name}/{geom}", shape, static=True)
        moves = rr.Transform3D.columns(translation=p_world[:, body], quaternion=quat_world[:, body])
        stream.send_columns(name, times, moves)


def _shape(rr: Any, model: mujoco.MjModel, geom: int) -> Any:
    """Build a geom in its body's frame; None for kinds that the viewer has no shape for."""
    kinds = mujoco.mjtGeom
    kind, size = kinds(model.geom_type[geom]), model.geom_size[geom]
    material = model.geom_matid[geom]
    rgba = model.mat_rgba[material] if material >= 0 else model.geom_rgba[geom]
    color = np.round(255 * rgba).astype(np.uint8)
    p, quat = model.geom_pos[geom], model.geom_quat[geom]
    place = {"centers": [p], "quaternions": [quat[XYZW]], "colors": [color], "fill_mode": "solid"}
    if kind == kinds.mjGEOM_MESH:
        corners = _triangles(model, int(model.geom_dataid[geom])) @ quat_to_matrix(quat).T + p
        normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
        return rr.Mesh3D(
            vertex_positions=corners.reshape(-1, 3),
            triangle_indices=np.arange(3 * len(corners)).reshape(-1, 3),
            vertex_normals=np.repeat(normals, 3, 0),
            albedo_factor=color,
        )
    if kind == kinds.mjGEOM_BOX:
        return rr.Boxes3D(half_sizes=[size], **place)
    if kind == kinds.mjGEOM_CYLINDER:
        return rr.Cylinders3D(lengths=[2 * size[1]], radii=[size[0]], **place)
    if kind == kinds.mjGEOM_CAPSULE:
        start = p - quat_to_matrix(quat)[:, 2] * size[1]
        del place["centers"]
        lengths = [2 * size[1]]
        return rr.Capsules3D(lengths=lengths, radii=[size[0]], translations=[start], **place)
    if kind in (kinds.mjGEOM_SPHERE, kinds.mjGEOM_ELLIPSOID):
        half = np.repeat(size[0], 3) if kind == kinds.mjGEOM_SPHERE else size
        return rr.Ellipsoids3D(half_sizes=[half], **place)
    return None


def _triangles(model: mujoco.MjModel, mesh: int) -> Float[np.ndarray, "F 3 3"]:
    """Return the corners of a mesh's triangles, m."""
    first, n = model.mesh_vertadr[mesh], model.mesh_vertnum[mesh]
    vertices = model.mesh_vert[first : first + n].astype(float)
    first, n = model.mesh_faceadr[mesh], model.mesh_facenum[mesh]
    return vertices[model.mesh_face[first : first + n]]


def _layout(episode: Recorded) -> Any:
    """Lay the scene out beside the cameras, numbers below."""
    from rerun import blueprint as rrb

    cameras = [rrb.Spatial2DView(origin=f"cameras/{c}", name=c) for c in episode.cameras]
    above = [rrb.Spatial3DView(origin="scene", name="scene")] if episode.scene else []
    below = [rrb.TimeSeriesView(origin=name, name=name) for name in episode.series]
    notes = [rrb.TextLogView(origin="stage", name="stages")] if episode.stages else []
    return rrb.Blueprint(
        rrb.Vertical(rrb.Horizontal(*above, *cameras, *notes), rrb.Horizontal(*below)),
        collapse_panels=True,
    )
