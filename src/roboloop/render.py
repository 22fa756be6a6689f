"""Pixels of recorded states: colour, metric depth, and which object each pixel shows.

Rendering is a pass of its own, after physics, for what is worth keeping. Software OpenGL spends its
time on triangles and samples: multisampling, shadows and reflections are off, boxes are drawn
with one quad a face, and only geoms of group 2 (visual) are drawn at all.
"""

import atexit
import copy
import ctypes
import os
from collections.abc import Iterator, Sequence
from functools import cache
from types import TracebackType
from typing import Any, Self

import mujoco
import numpy as np
from jaxtyping import Float, Float32, Int32, UInt8

from roboloop import console
from roboloop.errors import RoboloopError, unknown_name
from roboloop.sim import qpos_of

EPISODE_CAMERAS = {
    "front": "front",
    "wrist": "robot/wrist",
    "wrist_left": "robot/left/wrist",
    "wrist_right": "robot/right/wrist",
}
"""Name in datasets -> camera in models that have it."""
VISUAL_GROUP = 2
MAX_GEOMS = 2000
MAX_MODELS = 64
MAX_PX = 2048
"""Models whose meshes are kept on the graphics side."""


class Renderer:
    """Images of one size from states of any models, on one OpenGL context; a context manager.

    Args:
        width: Pixels.
        height: Pixels.

    Raises:
        RoboloopError: Neither EGL nor OSMesa can be used.
    """

    def __init__(self, width: int, height: int) -> None:
        self._rect = mujoco.MjrRect(0, 0, width, height)
        self._targets: dict[int, _Target] = {}
        _gl_context()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for target in self._targets.values():
            target.context.free()
        self._targets.clear()

    def frames(
        self, model: mujoco.MjModel, states: Float[np.ndarray, "T nstate"], cameras: Sequence[str]
    ) -> dict[str, UInt8[np.ndarray, "T h w 3"]]:
        """Render colour images of every state from every camera.

        Args:
            model: The model that the states are of.
            states: Full states, as `sim` records them.
            cameras: `front`, `wrist`, or any camera of the model.

        Raises:
            RoboloopError: The model has no such camera.
        """
        h, w = self._rect.height, self._rect.width
        out = {name: np.empty((len(states), h, w, 3), np.uint8) for name in cameras}
        for t, images in enumerate(self.stream(model, states, cameras)):
            for name, image in images.items():
                out[name][t] = image
        return out

    def stream(
        self, model: mujoco.MjModel, states: Float[np.ndarray, "T nstate"], cameras: Sequence[str]
    ) -> Iterator[dict[str, UInt8[np.ndarray, "h w 3"]]]:
        """Render state after state: the images of each by camera; see `frames`."""
        for qpos in qpos_of(model, states):
            target = self._target(model)  # others may have drawn in the meantime
            target.pose(qpos)
            images = {}
            for name in cameras:
                image = np.empty((self._rect.height, self._rect.width, 3), np.uint8)
                target.draw(name, self._rect)
                mujoco.mjr_readPixels(image, None, self._rect, target.context)
                images[name] = image[::-1]
            yield images

    def depth(
        self, model: mujoco.MjModel, states: Float[np.ndarray, "T nstate"], cameras: Sequence[str]
    ) -> dict[str, Float32[np.ndarray, "T h w"]]:
        """Render distances along the camera's axis (m), 0 where there is nothing; see `frames`."""
        h, w = self._rect.height, self._rect.width
        out = {name: np.empty((len(states), h, w), np.float32) for name in cameras}
        target = self._target(model)
        for t, qpos in enumerate(qpos_of(model, states)):
            target.pose(qpos)
            for name, images in out.items():
                target.draw(name, self._rect, segment=True)
                mujoco.mjr_readPixels(None, images[t], self._rect, target.context)
        return {name: _metric(model, images[:, ::-1]) for name, images in out.items()}

    def instances(
        self, model: mujoco.MjModel, states: Float[np.ndarray, "T nstate"], cameras: Sequence[str]
    ) -> dict[str, Int32[np.ndarray, "T h w"]]:
        """Render the id of the root body that each pixel shows, 0 for the world; see `frames`."""
        h, w = self._rect.height, self._rect.width
        out = {name: np.empty((len(states), h, w), np.int32) for name in cameras}
        target, rgb = self._target(model), np.empty((h, w, 3), np.uint8)
        for t, qpos in enumerate(qpos_of(model, states)):
            target.pose(qpos)
            for name, images in out.items():
                target.draw(name, self._rect, segment=True)
                mujoco.mjr_readPixels(rgb, None, self._rect, target.context)
                images[t] = target.root_bodies()[rgb.astype(np.int32) @ (1, 1 << 8, 1 << 16)]
        return {name: images[:, ::-1] for name, images in out.items()}

    def _target(self, model: mujoco.MjModel) -> "_Target":
        """What is needed to draw a model, made once; the oldest goes when there are too many."""
        _gl_context().make_current()
        if id(model) not in self._targets:
            if len(self._targets) == MAX_MODELS:
                self._targets.pop(next(iter(self._targets))).context.free()
            self._targets[id(model)] = _Target(model, self._rect)
        target = self._targets[id(model)]
        # every context has buffers of its own, and the last one to be made is the one drawn to
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN.value, target.context)
        return target


class _Target:
    """A model on the graphics side."""

    def __init__(self, model: mujoco.MjModel, rect: mujoco.MjrRect) -> None:
        self.original = model  # alive as long as its id is a key
        self.model = copy.copy(model)
        self.data = mujoco.MjData(self.model)
        self.model.vis.global_.offwidth, self.model.vis.global_.offheight = rect.width, rect.height
        quality = self.model.vis.quality
        quality.offsamples, quality.shadowsize, quality.numquads = 0, 0, 1
        self.context = mujoco.MjrContext(self.model, mujoco.mjtFontScale.mjFONTSCALE_50.value)
        self.context.readDepthMap = mujoco.mjtDepthMap.mjDEPTH_ZEROFAR.value
        self.scene = mujoco.MjvScene(self.model, MAX_GEOMS)
        self.scene.flags[mujoco.mjtRndFlag.mjRND_SHADOW] = 0
        self.scene.flags[mujoco.mjtRndFlag.mjRND_REFLECTION] = 0
        self.option = mujoco.MjvOption()
        self.option.geomgroup[:] = 0
        self.option.geomgroup[VISUAL_GROUP] = 1
        self.option.sitegroup[:] = 0
        self.camera = mujoco.MjvCamera()
        self.camera.type = mujoco.mjtCamera.mjCAMERA_FIXED.value

    def pose(self, qpos: Float[np.ndarray, "nq"]) -> None:
        """Put everything where a configuration has it: kinematics only."""
        self.data.qpos[:] = qpos
        mujoco.mj_kinematics(self.model, self.data)
        mujoco.mj_comPos(self.model, self.data)
        mujoco.mj_flex(self.model, self.data)
        mujoco.mj_camlight(self.model, self.data)

    def draw(self, camera: str, rect: mujoco.MjrRect, segment: bool = False) -> None:
        """Draw from a camera; `segment` draws ids as colours, and is exact in depth."""
        name = EPISODE_CAMERAS.get(camera, camera)
        self.camera.fixedcamid = mujoco.mj_name2id(self.model, mujoco.mjtObj.mjOBJ_CAMERA, name)
        if self.camera.fixedcamid < 0:
            known = [self.model.camera(i).name for i in range(self.model.ncam)]
            raise unknown_name("camera", camera, known)
        self.scene.flags[mujoco.mjtRndFlag.mjRND_SEGMENT] = segment
        self.scene.flags[mujoco.mjtRndFlag.mjRND_IDCOLOR] = segment
        mujoco.mjv_updateScene(
            self.model, self.data, self.option, None, self.camera,
            mujoco.mjtCatBit.mjCAT_ALL.value, self.scene,
        )  # fmt: skip
        mujoco.mjr_render(rect, self.scene, self.context)

    def root_bodies(self) -> Int32[np.ndarray, "S"]:
        """Id of the root body for every id colour of the scene that was drawn."""
        table = np.zeros(self.scene.ngeom + 1, np.int32)
        for geom in self.scene.geoms[: self.scene.ngeom]:
            if geom.objtype == mujoco.mjtObj.mjOBJ_GEOM:
                body = self.model.geom_bodyid[geom.objid]
            elif geom.objtype == mujoco.mjtObj.mjOBJ_FLEX:
                body = self.model.flex_vertbodyid[self.model.flex_vertadr[geom.objid]]
            else:
                continue
            table[geom.segid + 1] = self.model.body_rootid[body]
        return table


def render_episode(
    model: mujoco.MjModel, states: Float[np.ndarray, "T nstate"], px: int
) -> dict[str, UInt8[np.ndarray, "T h w 3"]]:
    """Render what the policy's cameras saw over an episode, as square images of `px` pixels."""
    with Renderer(px, px) as renderer:
        return renderer.frames(model, states, episode_cameras(model))


def stream_episode(
    model: mujoco.MjModel, states: Float[np.ndarray, "T nstate"], px: int
) -> Iterator[dict[str, UInt8[np.ndarray, "h w 3"]]]:
    """Render an episode as `render_episode` does, step after step, without holding its images."""
    with Renderer(px, px) as renderer:
        yield from renderer.stream(model, states, episode_cameras(model))


def check_px(px: int) -> None:
    """Refuse sizes of images that cannot be drawn, or not be held by a video.

    Raises:
        RoboloopError: It is neither 0 nor an even number up to `MAX_PX`.
    """
    if not 0 <= px <= MAX_PX or px % 2:
        raise RoboloopError(f"--px {px}: wanted 0 or an even number up to {MAX_PX}")


def episode_cameras(model: mujoco.MjModel) -> tuple[str, ...]:
    """The policy's cameras in a model, by their names in datasets."""
    cameras = {model.camera(i).name for i in range(model.ncam)}
    return tuple(name for name, camera in EPISODE_CAMERAS.items() if camera in cameras)


def _metric(
    model: mujoco.MjModel, buffer: Float32[np.ndarray, "T h w"]
) -> Float32[np.ndarray, "T h w"]:
    """Turn a reversed depth buffer (1 near, 0 far) into m: linear in 1/z."""
    near, far = (model.stat.extent * z for z in (model.vis.map.znear, model.vis.map.zfar))
    share = buffer.astype(float)
    z = 1.0 / (1.0 / far + share * (1.0 / near - 1.0 / far))
    return np.where(buffer > 0, z, 0.0).astype(np.float32)


@cache
def _gl_context() -> Any:
    """Open the process's OpenGL context, on EGL or else in software by OSMesa.

    Raises:
        RoboloopError: Neither works.
    """
    # llvmpipe's own threads cost more than they bring at these sizes
    os.environ.setdefault("LP_NUM_THREADS", "0")
    try:
        if os.environ.get("MUJOCO_GL") == "osmesa":
            from mujoco.osmesa import GLContext
        elif _egl_works():
            from mujoco.egl import GLContext
        else:
            from mujoco.osmesa import GLContext

            console.say("rendering with OSMesa: EGL finds no device")
        context = GLContext(1, 1)
        context.make_current()
    except (ImportError, AttributeError, RuntimeError) as error:
        raise RoboloopError(
            f"no OpenGL to render with: {error}", "apt-get install libegl1 libgl1-mesa-dri"
        ) from error
    atexit.register(context.free)
    return context


def _egl_works() -> bool:
    """Try to open an EGL device, without PyOpenGL: once that has chosen EGL it cannot go back."""
    try:
        egl = ctypes.CDLL("libEGL.so.1")
    except OSError:
        return False
    egl.eglGetProcAddress.restype = ctypes.c_void_p
    pointer, uint = ctypes.c_void_p, ctypes.c_uint

    def function(name: bytes, result: Any, *arguments: Any) -> Any:
        return ctypes.CFUNCTYPE(result, *arguments)(egl.eglGetProcAddress(name))

    query_devices = function(b"eglQueryDevicesEXT", uint, ctypes.c_int, pointer, pointer)
    get_display = function(b"eglGetPlatformDisplayEXT", pointer, uint, pointer, pointer)
    initialize = function(b"eglInitialize", uint, pointer, pointer, pointer)
    devices, n = (pointer * 16)(), ctypes.c_int()
    if not query_devices(16, devices, ctypes.byref(n)):
        return False
    platform_device = 0x313F  # EGL_PLATFORM_DEVICE_EXT
    displays = [get_display(platform_device, device, None) for device in devices[: n.value]]
    return any(initialize(display, None, None) for display in displays)
