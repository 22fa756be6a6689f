"""Points on the surface of an object of a family."""

from dataclasses import replace

import mujoco
import numpy as np
from scipy.spatial import ConvexHull

from roboloop.scene.families import FAMILIES, VISUAL, add_object, complete
from roboloop.scene.graph import SceneObject

CORNERS = np.array(np.meshgrid(*[(-1.0, 1.0)] * 3)).reshape(3, -1).T
N_POINTS = 4000


def triangles(obj: SceneObject) -> np.ndarray:
    """What is seen of an object, in its frame."""
    spec = mujoco.MjSpec()
    add_object(spec, replace(obj, T_world_obj=np.eye(4)))
    model = spec.compile()
    data = mujoco.MjData(model)
    mujoco.mj_kinematics(model, data)
    found = []
    for g in np.flatnonzero(model.geom_group == VISUAL):
        if model.geom_type[g] == mujoco.mjtGeom.mjGEOM_MESH:
            mesh = model.mesh(model.geom_dataid[g])
            corners = model.mesh_vert[mesh.vertadr[0] :][: mesh.vertnum[0]].astype(float)
            faces = model.mesh_face[mesh.faceadr[0] :][: mesh.facenum[0]]
        else:
            corners, faces = CORNERS * model.geom_size[g], ConvexHull(CORNERS).simplices
        corners = corners @ data.geom_xmat[g].reshape(3, 3).T + data.geom_xpos[g]
        found.append(corners[faces])
    return np.concatenate(found)


def surface(obj: SceneObject, rng: np.random.Generator) -> np.ndarray:
    """Points spread evenly over an object's surface."""
    t = triangles(obj)
    area = np.linalg.norm(np.cross(t[:, 1] - t[:, 0], t[:, 2] - t[:, 0]), axis=1)
    chosen = t[rng.choice(len(t), N_POINTS, p=area / area.sum())]
    a, b = np.sort(rng.uniform(size=(2, N_POINTS)), 0)
    return (chosen * np.stack([a, b - a, 1 - b], 1)[:, :, None]).sum(1)


def usual(name: str) -> SceneObject:
    low, high = FAMILIES[name].limits
    x, y, z = (float(v) for v in (np.array(low) + np.array(high)) / 2)
    return complete(SceneObject(name, name, np.eye(4), (x, y, z), {}, {}))
