"""Levels of detail: turn a robot's stock model into one that is quick to draw and to collide.

The stock model is compiled once; what comes out is a folder with `robot.xml` and STL files that
loads in milliseconds: the bodies that move (static ones fused), their inertias and joints, one
visual mesh a colour, and convex hulls for contacts. Actuators, sites, cameras and tuning are added
by `robot.py`.
"""

from collections.abc import Mapping
from itertools import product
from pathlib import Path

import mujoco
import numpy as np
from jaxtyping import Float, Int

TOOL = "tool/"
"""Prefix that bodies and joints of attached tools have in the stock model; dropped."""
LODS: Mapping[str, int | None] = {"low": 800, "full": None}
"""Faces that the visual meshes of a body are reduced to; None keeps all of them."""
MIN_FACES = 40
WELD = 1e-3
"""Vertices this close (m) become one before faces are reduced: slits and screws would keep them."""
HULL_VERTICES = 60

Cut = tuple[str, int, float]
"""(body, axis, coordinate): where a body's collision meshes are cut into convex pieces."""

Vertices = Float[np.ndarray, "_ 3"]
Faces = Int[np.ndarray, "_ 3"]


def write_lods(stock: mujoco.MjSpec, folder: Path, cuts: tuple[Cut, ...] = ()) -> None:
    """Write `folder/{low,full}/robot.xml` with their meshes.

    Args:
        stock: The model as its authors wrote it. Changed in place: static bodies are fused.
        folder: An existing folder.
        cuts: Where a hull would fill a gap, such as the one between jaws.
    """
    for each in (*stock.sensors, *stock.cameras):  # what they refer to would not be fused
        stock.delete(each)
    stock.compiler.fusestatic = True
    model = stock.compile()
    for lod, n_faces in LODS.items():
        out = folder / lod
        out.mkdir()
        _skeleton(model, n_faces, out, cuts)


def _skeleton(model: mujoco.MjModel, n_faces: int | None, out: Path, cuts: tuple[Cut, ...]) -> None:
    """Write `robot.xml`: the bodies of `model` with reduced visual and hull collision meshes."""
    spec = mujoco.MjSpec()
    spec.modelname, spec.modelfiledir = "robot", str(out)
    spec.compiler.degree = False
    bodies = [spec.worldbody.add_body(name="base")]
    for i in range(1, model.nbody):
        bodies.append(_add_body(bodies[model.body_parentid[i]], model, i))
    for i, body in enumerate(bodies):
        _add_visuals(spec, body, _visual_groups(model, i), n_faces)
        body_cuts = [(axis, at) for name, axis, at in cuts if name == body.name]
        for k, points in enumerate(_collision_points(model, i, body_cuts)):
            mesh = f"{body.name}_collision_{k}"
            write_stl(out / f"{mesh}.stl", *convex_hull(points))
            spec.add_mesh(name=mesh, file=f"{mesh}.stl")
            body.add_geom(
                name=mesh, type=mujoco.mjtGeom.mjGEOM_MESH, meshname=mesh, group=3, mass=0
            )
    spec.compile()
    (out / "robot.xml").write_text(spec.to_xml())


def _add_body(parent: mujoco.MjsBody, model: mujoco.MjModel, i: int) -> mujoco.MjsBody:
    """Copy body `i` with its inertia and joints."""
    body = parent.add_body(
        name=model.body(i).name.removeprefix(TOOL),
        pos=model.body_pos[i],
        quat=model.body_quat[i],
        mass=model.body_mass[i],
        ipos=model.body_ipos[i],
        iquat=model.body_iquat[i],
        inertia=model.body_inertia[i],
        explicitinertial=True,
    )
    for j in range(model.body_jntadr[i], model.body_jntadr[i] + model.body_jntnum[i]):
        body.add_joint(
            name=model.joint(j).name.removeprefix(TOOL),
            type=model.jnt_type[j],
            axis=model.jnt_axis[j],
            pos=model.jnt_pos[j],
            range=model.jnt_range[j],
            limited=True,
        )
    return body


def _add_visuals(
    spec: mujoco.MjSpec,
    body: mujoco.MjsBody,
    groups: list[tuple[Float[np.ndarray, "4"], Vertices, Faces]],
    n_faces: int | None,
) -> None:
    """Write and add a mesh for each colour of a body; `n_faces` are shared out among them."""
    total = sum(len(faces) for _, _, faces in groups)
    for k, (rgba, vertices, faces) in enumerate(groups):
        if n_faces is not None:
            share = int(n_faces * len(faces) / total)
            vertices, faces = decimate(vertices, faces, max(share, MIN_FACES))
        mesh = f"{body.name}_visual_{k}"
        write_stl(Path(spec.modelfiledir, f"{mesh}.stl"), vertices, faces)
        # the inertia of a shell exists for open surfaces too
        shell = mujoco.mjtMeshInertia.mjMESH_INERTIA_SHELL
        spec.add_mesh(name=mesh, file=f"{mesh}.stl", inertia=shell)
        body.add_geom(
            type=mujoco.mjtGeom.mjGEOM_MESH,
            meshname=mesh,
            rgba=rgba,
            group=2,
            contype=0,
            conaffinity=0,
            mass=0,
        )


def _mesh_geoms(model: mujoco.MjModel, body: int, visual: bool) -> list[int]:
    """Geoms of a body that are drawn (meshes and boxes), or that collide (meshes)."""
    box, mesh = (int(kind) for kind in (mujoco.mjtGeom.mjGEOM_BOX, mujoco.mjtGeom.mjGEOM_MESH))
    geoms = range(model.body_geomadr[body], model.body_geomadr[body] + model.body_geomnum[body])
    return [
        g
        for g in geoms
        if model.geom_type[g] in ((box, mesh) if visual else (mesh,))
        and (model.geom_contype[g] == 0 and model.geom_conaffinity[g] == 0) == visual
    ]


def _geom_mesh(model: mujoco.MjModel, geom: int) -> tuple[Vertices, Faces]:
    """Return a mesh or box geom's vertices, in the frame of its body, and faces."""
    R = np.zeros(9)
    mujoco.mju_quat2Mat(R, model.geom_quat[geom])
    if model.geom_type[geom] == mujoco.mjtGeom.mjGEOM_BOX:
        corners = np.array(list(product((-1.0, 1.0), repeat=3))) * model.geom_size[geom]
        vertices, faces = convex_hull(corners)
    else:
        mesh = model.geom_dataid[geom]
        v0, f0 = model.mesh_vertadr[mesh], model.mesh_faceadr[mesh]
        vertices = model.mesh_vert[v0 : v0 + model.mesh_vertnum[mesh]]
        faces = model.mesh_face[f0 : f0 + model.mesh_facenum[mesh]]
    return vertices @ R.reshape(3, 3).T + model.geom_pos[geom], faces


def _visual_groups(
    model: mujoco.MjModel, body: int
) -> list[tuple[Float[np.ndarray, "4"], Vertices, Faces]]:
    """Merge a body's visual meshes by colour; colours that look alike are one."""
    groups: dict[tuple[float, ...], list[int]] = {}
    colors = {}
    for geom in _mesh_geoms(model, body, visual=True):
        material = model.geom_matid[geom]
        rgba = model.mat_rgba[material] if material >= 0 else model.geom_rgba[geom]
        key = tuple(np.round(4 * rgba).tolist())
        groups.setdefault(key, []).append(geom)
        colors.setdefault(key, rgba)
    merged = []
    for key, geoms in groups.items():
        vertices, faces, n = [], [], 0
        for geom in geoms:
            v, f = _geom_mesh(model, geom)
            vertices.append(v)
            faces.append(f + n)
            n += len(v)
        merged.append((colors[key], np.concatenate(vertices), np.concatenate(faces)))
    return merged


def _collision_points(
    model: mujoco.MjModel, body: int, cuts: list[tuple[int, float]]
) -> list[Vertices]:
    """Return the points of each convex piece; visual meshes stand in where others are missing."""
    geoms = _mesh_geoms(model, body, visual=False) or _mesh_geoms(model, body, visual=True)
    pieces = []
    for vertices, faces in (_geom_mesh(model, g) for g in geoms):
        pieces += [p for p in _cut(vertices, faces, cuts) if len(p) > 3]
    return pieces


def _cut(vertices: Vertices, faces: Faces, cuts: list[tuple[int, float]]) -> list[Vertices]:
    """Return the points of a mesh on both sides of a plane, those on the plane in both."""
    if not cuts:
        return [vertices]
    ((axis, at),) = cuts
    above = vertices[:, axis] > at
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    a, b = np.moveaxis(vertices[edges[above[edges[:, 0]] != above[edges[:, 1]]]], 1, 0)
    share = (at - a[:, axis]) / (b[:, axis] - a[:, axis])
    on_plane = a + share[:, None] * (b - a)
    return [np.concatenate([vertices[side], on_plane]) for side in (above, ~above)]


def decimate(vertices: Vertices, faces: Faces, n_faces: int) -> tuple[Vertices, Faces]:
    """Reduce a mesh to about `n_faces` triangles; smaller meshes come back as they are.

    Source: Garland and Heckbert, "Surface Simplification Using Quadric Error Metrics", 1997.
    """
    import fast_simplification

    if len(faces) <= n_faces:
        return vertices, faces
    cells = np.round(vertices / WELD).astype(int)
    _, first, index = np.unique(cells, axis=0, return_index=True, return_inverse=True)
    faces = index.reshape(-1)[faces]
    faces = faces[(faces != np.roll(faces, 1, axis=1)).all(1)]
    if len(faces) <= n_faces:
        return vertices[first], faces
    reduced = fast_simplification.simplify(vertices[first], faces, target_count=n_faces)
    return reduced[0], reduced[1]


def convex_hull(points: Vertices, n_vertices: int = HULL_VERTICES) -> tuple[Vertices, Faces]:
    """Return the convex hull of points with at most about `n_vertices` of them, outward faces.

    Qhull adds the farthest point first, so that stopping early (`TA`) keeps the shape.
    """
    from scipy.spatial import ConvexHull

    hull = ConvexHull(points, qhull_options=f"Qt TA{n_vertices - 4}")
    index = np.unique(hull.simplices)
    vertices = points[index]
    faces = np.searchsorted(index, hull.simplices)
    a, b, c = np.moveaxis(vertices[faces], 1, 0)
    inward = np.einsum("fi,fi->f", np.cross(b - a, c - a), a - vertices.mean(0)) < 0
    faces[inward] = faces[inward, ::-1]
    return vertices, faces


def write_stl(path: Path, vertices: Vertices, faces: Faces) -> None:
    """Write a binary STL file; MuJoCo computes the normals."""
    dtype = np.dtype([("normal", "<f4", 3), ("vertices", "<f4", (3, 3)), ("attribute", "<u2")])
    rows = np.zeros(len(faces), dtype)
    rows["vertices"] = vertices[faces]
    path.write_bytes(bytes(80) + np.uint32(len(faces)).tobytes() + rows.tobytes())
