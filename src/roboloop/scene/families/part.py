"""Part: how a family adds geoms, joints and sites to a MuJoCo spec in one line each."""

from dataclasses import dataclass, replace

import mujoco
import numpy as np
from jaxtyping import Float

from roboloop import pose
from roboloop.scene.families.shapes import Levels, Mesh, Point, loft, moved
from roboloop.scene.graph import Rgb, SceneObject

VISUAL, COLLISION = 2, 3
"""Geom groups: what is rendered (and may touch, when it is a primitive), and what only touches."""

_INERTIA = mujoco.mjtMeshInertia
_GEOM = mujoco.mjtGeom


def _quat_of(R: Float[np.ndarray, "3 3"]) -> Float[np.ndarray, "4"]:
    """Quaternion (wxyz) of one rotation matrix; a scene asks for hundreds."""
    quat = np.zeros(4)
    mujoco.mju_mat2Quat(quat, R.ravel())
    return quat


def _unit(v: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, "n 3"]:
    return v / np.linalg.norm(v, axis=1, keepdims=True)


@dataclass(frozen=True)
class Part:
    """A body of an object being built. Points and directions are in the body's frame.

    Attributes:
        spec: The spec that meshes go to.
        body: The MuJoCo body.
        obj: The object, complete.
        T_obj_part: Pose of the body in the object's frame.
        prefix: What geom names start with, after the object's name.
    """

    spec: mujoco.MjSpec
    body: mujoco.MjsBody
    obj: SceneObject
    T_obj_part: Float[np.ndarray, "4 4"]
    prefix: str = ""

    def color(self, key: str) -> Rgb:
        """Colour of a named part of the object."""
        return self.obj.colors[key]

    def site(self, *keypoints: str) -> None:
        """Attach keypoints of the object to this body."""
        T_part_obj = pose.inverse(self.T_obj_part)
        for key in keypoints:
            p = pose.transform(T_part_obj, np.asarray(self.obj.keypoints[key]))
            self.body.add_site(name=f"{self.obj.name}/{key}", pos=p, size=[0.004] * 3, group=4)

    def child(self, joint: str, origin: Point, axis: Point, **dynamics: float) -> "Part":
        """Add a moving body at its current joint value, with contacts to this body switched off.

        Args:
            joint: Name of one of the object's joints; the body is called the same.
            origin: Where the body's frame lies when the joint is at 0, in this body's frame.
            axis: Direction of sliding, or axis of the hinge.
            **dynamics: Joint attributes such as `damping`.
        """
        j = next(j for j in self.obj.joints if j.name == joint)
        slides, move = j.kind == "slide", j.value * np.asarray(axis, float)
        p = np.asarray(origin, float) + (move if slides else 0.0)
        R = np.eye(3) if slides else pose.rotvec_to_matrix(move)
        name = f"{self.obj.name}/{joint}"
        body = self.body.add_body(name=name, pos=p, quat=_quat_of(R))
        kind = mujoco.mjtJoint.mjJNT_SLIDE if slides else mujoco.mjtJoint.mjJNT_HINGE
        body.add_joint(
            name=name, type=kind, axis=axis, range=j.range, limited=1, ref=j.value, **dynamics
        )
        self.spec.add_exclude(bodyname1=self.body.name, bodyname2=name)
        T = self.T_obj_part @ pose.from_parts(p, R)
        return replace(self, body=body, T_obj_part=T, prefix=f"{joint}/")

    def box(
        self,
        name: str,
        center: Point,
        size: Point,
        color: str | Rgb | None = None,
        density: float = 0.0,
        touches: bool = True,
        R: Float[np.ndarray, "3 3"] | None = None,
    ) -> None:
        """Add a box of full extents `size`; without colour it only collides."""
        quat = (1.0, 0.0, 0.0, 0.0) if R is None else _quat_of(R)
        half = np.asarray(size, float) / 2
        self._geom(
            name, _GEOM.mjGEOM_BOX, color, density, touches, pos=center, size=half, quat=quat
        )

    def rod(
        self,
        name: str,
        start: Point,
        end: Point,
        radius: float,
        color: str | Rgb | None = None,
        density: float = 0.0,
    ) -> None:
        """Add a capsule; its round ends reach one radius beyond `start` and `end`."""
        ends = np.concatenate([np.asarray(start, float), np.asarray(end, float)])
        size = [radius, 0.0, 0.0]
        self._geom(name, _GEOM.mjGEOM_CAPSULE, color, density, True, fromto=ends, size=size)

    def ball(self, name: str, radius: float, color: str | Rgb, density: float) -> None:
        """Add a sphere around the body's origin, which stops rolling by itself."""
        self._geom(
            name, _GEOM.mjGEOM_SPHERE, color, density, True, size=[radius, 0.0, 0.0], condim=6
        )

    def mesh(
        self,
        name: str,
        mesh: Mesh,
        color: str | Rgb,
        density: float = 0.0,
    ) -> None:
        """Add a closed mesh that is seen, and weighs when a density is given, but never touches."""
        inertia = _INERTIA.mjMESH_INERTIA_EXACT if density else _INERTIA.mjMESH_INERTIA_SHELL
        asset = self._asset(name, mesh, inertia)
        self._geom(name, _GEOM.mjGEOM_MESH, color, density, False, meshname=asset)

    def hull(
        self,
        name: str,
        section: Float[np.ndarray, "n 2"],
        levels: Levels,
        color: str | Rgb | None = None,
        offset: Point = (0.0, 0.0, 0.0),
        density: float = 0.0,
    ) -> None:
        """Add a convex solid through a section at every level; without colour it only collides."""
        mesh = moved(loft(section, levels), offset)
        asset = self._asset(name, mesh, _INERTIA.mjMESH_INERTIA_CONVEX)
        self._geom(name, _GEOM.mjGEOM_MESH, color, density, True, meshname=asset)

    def walls(
        self,
        name: str,
        lower: Float[np.ndarray, "n 3"],
        upper: Float[np.ndarray, "n 3"],
        thickness: float,
    ) -> None:
        """Add a ring of collision boxes between two loops of corners on the outside of a vessel."""
        edge, lower_edge = (np.roll(loop, -1, 0) - loop for loop in (upper, lower))
        foot, head = lower + lower_edge / 2, upper + edge / 2
        width = np.maximum(np.linalg.norm(edge, axis=1), np.linalg.norm(lower_edge, axis=1))
        tangent = _unit(edge)
        inward = _unit(np.cross(head - foot, tangent))
        up = np.cross(tangent, inward)
        length = np.sum((head - foot) * up, axis=1)
        center = (foot + head + thickness * inward) / 2
        Rs = np.stack([tangent, inward, up], -1)
        for i, R in enumerate(Rs):
            self.box(f"{name}{i}", center[i], (width[i], thickness, length[i]), R=R)

    def _asset(self, name: str, mesh: Mesh, inertia: mujoco.mjtMeshInertia) -> str:
        asset = f"{self.obj.name}/{self.prefix}{name}"
        self.spec.add_mesh(
            name=asset,
            uservert=mesh.vertices.ravel(),
            userface=mesh.faces.ravel(),
            inertia=inertia,
        )
        return asset

    def _geom(
        self,
        name: str,
        kind: mujoco.mjtGeom,
        color: str | Rgb | None,
        density: float,
        touches: bool,
        **where: object,
    ) -> None:
        rgb = (0.6, 0.6, 0.6) if color is None else color
        rgb = self.color(rgb) if isinstance(rgb, str) else rgb
        self.body.add_geom(
            name=f"{self.obj.name}/{self.prefix}{name}",
            type=kind,
            rgba=(*rgb, 1.0),
            group=COLLISION if color is None else VISUAL,
            contype=int(touches),
            conaffinity=int(touches),
            density=density,
            friction=(self.obj.params["friction"], 0.005, 1e-4),
            **where,
        )
