"""Things that fold: towel.

A cloth is a MuJoCo flex, a grid of vertices with three slides each, whose edges keep their lengths
in the constraint solver. Each vertex also carries a small ball, and only the balls rest on the
table: they give one contact a vertex where the triangles would give six.
"""

import mujoco
import numpy as np
from jaxtyping import Float, Int

from roboloop.scene.families.base import Family, Joints, Param, Params, material
from roboloop.scene.families.part import COLLISION, VISUAL, Part
from roboloop.scene.families.solids import middle_keypoints
from roboloop.scene.graph import Vector

COLUMNS, ROWS = 11, 9
"""Vertices along x and y. Odd, so that it folds in half along a line of them."""
HEM = (0.012, 0.015)
"""Widths of the outer cells on each side, from the edge inwards, m: a hand holds a corner as one
stiff piece, and the smaller it is, the less it springs when it is let go."""
STRIPES = (len(HEM), COLUMNS - 2 - len(HEM))
"""Columns of cells that are painted like the accent."""
EDGE_SOLREF = (0.01, 1.0)
"""Of the edges' lengths: a corner that carries the towel's weight stretches by less than 1 mm."""
GRIP_FRICTION = 1.5
"""Of the triangles, which meet hands and other things, but not the table."""
GRIP_SOLREF, GRIP_SOLIMP = (0.004, 1.0), (0.99, 0.9999, 0.001, 0.5, 2.0)
"""A vertex weighs half a gram and a soft contact gives way in proportion to 1 / mass: with the
defaults a hand's 5 N press a pad 10 mm into the cloth, through it; with these 0.02 mm."""
TABLE_BIT, CLOTH_BIT = 2, 4
"""Contact types: of what meets the table's second type only, and of a cloth's triangles."""


def _grid(size: Vector) -> Float[np.ndarray, "V 3"]:
    """Vertices in the object's frame, column by column; the flex is one radius thick all around."""
    radius = size[2] / 2
    x = _lines(COLUMNS, size[0] / 2 - radius)
    y = _lines(ROWS, size[1] / 2 - radius)
    columns, rows = np.meshgrid(x, y, indexing="ij")
    return np.stack([columns, rows, np.zeros_like(columns)], -1).reshape(-1, 3)


def _lines(n: int, half: float) -> Float[np.ndarray, "n"]:
    """The grid's lines along one side: evenly spaced but for the hems."""
    outer = half - np.cumsum((0.0, *HEM))
    inner = np.linspace(-outer[-1], outer[-1], n - 2 * len(HEM))
    return np.concatenate([-outer[:-1], inner, outer[-2::-1]])


def _vertex(column: int, row: int) -> int:
    return column * ROWS + row


_KEY_VERTICES = {
    "corner_0": _vertex(0, 0),
    "corner_1": _vertex(0, ROWS - 1),
    "corner_2": _vertex(COLUMNS - 1, ROWS - 1),
    "corner_3": _vertex(COLUMNS - 1, 0),
    "edge_0": _vertex(0, ROWS // 2),
    "edge_1": _vertex(COLUMNS // 2, ROWS - 1),
    "edge_2": _vertex(COLUMNS - 1, ROWS // 2),
    "edge_3": _vertex(COLUMNS // 2, 0),
    "center": _vertex(COLUMNS // 2, ROWS // 2),
}
"""Keypoints that are vertices: `edge_i` lies between `corner_i` and the next corner."""


def _triangles() -> Int[np.ndarray, "E 3"]:
    """Two a cell; the diagonals run out to the corners, so that these pinch into a ridge."""
    found = []
    for i in range(COLUMNS - 1):
        for j in range(ROWS - 1):
            a, b = _vertex(i, j), _vertex(i + 1, j)
            c, d = _vertex(i + 1, j + 1), _vertex(i, j + 1)
            outwards = (i < (COLUMNS - 1) // 2) == (j < (ROWS - 1) // 2)
            found += [(a, b, c), (a, c, d)] if outwards else [(a, b, d), (b, c, d)]
    return np.array(found)


def _keypoints(size: Vector, params: Params, joints: Joints) -> dict[str, Vector]:
    grid = _grid(size)
    found = middle_keypoints(size, params, joints)
    for key, vertex in _KEY_VERTICES.items():
        x, y, z = grid[vertex]
        found[key] = (float(x), float(y), float(z))
    return found


def _build(part: Part) -> None:
    obj, support = part.obj, part.spec.geom("support")
    radius, grid = obj.size[2] / 2, _grid(obj.size)
    mass = obj.params["areal_density"] * obj.size[0] * obj.size[1] / len(grid)
    friction = (obj.params["friction"], 0.005, 1e-4)
    vertices = []
    for v, p in enumerate(grid):
        body = part.body.add_body(name=f"{obj.name}/v{v}", pos=p)
        for axis, direction in zip("xyz", np.eye(3), strict=True):
            kind = mujoco.mjtJoint.mjJNT_SLIDE
            body.add_joint(name=f"{obj.name}/v{v}_{axis}", type=kind, axis=direction)
        body.add_geom(
            name=f"{obj.name}/ball{v}",
            size=[radius, 0.0, 0.0],
            mass=mass,
            group=COLLISION,
            contype=TABLE_BIT,
            conaffinity=0,
            friction=friction,
        )
        vertices.append(body)
    for key, vertex in _KEY_VERTICES.items():
        vertices[vertex].add_site(name=f"{obj.name}/{key}", size=[0.004] * 3, group=4)
    for key, z in (("top", radius), ("bottom", -radius)):
        middle = vertices[_KEY_VERTICES["center"]]
        middle.add_site(name=f"{obj.name}/{key}", pos=(0, 0, z), size=[0.004] * 3, group=4)
    if support is not None:  # rests on it with its balls, not with its triangles
        support.contype, support.conaffinity = TABLE_BIT, 1 | TABLE_BIT
    _add_flex(part, [body.name for body in vertices], radius, friction)


def _add_flex(part: Part, bodies: list[str], radius: float, friction: Vector) -> None:
    obj, spec = part.obj, part.spec
    for key in ("main", "accent"):
        spec.add_material(name=f"{obj.name}/{key}", rgba=(*part.color(key), 1.0))
    cells = np.repeat(np.arange(COLUMNS - 1), 2 * (ROWS - 1))
    flex = spec.add_flex(
        name=f"{obj.name}/cloth",
        dim=2,
        radius=radius,
        group=VISUAL,
        contype=CLOTH_BIT,
        conaffinity=1 | CLOTH_BIT,
        condim=3,
        priority=2,  # over the pads' 1
        friction=(GRIP_FRICTION, 0.005, 1e-4),
        solref=GRIP_SOLREF,
        solimp=GRIP_SOLIMP,
    )
    flex.vertbody, flex.elem = bodies, _triangles().ravel()
    flex.material = [f"{obj.name}/{'accent' if c in STRIPES else 'main'}" for c in cells]
    spec.add_equality(
        name=flex.name,
        type=mujoco.mjtEq.mjEQ_FLEX,
        objtype=mujoco.mjtObj.mjOBJ_FLEX,
        name1=flex.name,
        solref=EDGE_SOLREF,
    )


TOWEL = Family(
    name="towel",
    words=("cloth", "napkin", "dishcloth", "washcloth", "rag"),
    limits=((0.20, 0.16, 0.003), (0.38, 0.32, 0.003)),
    params={
        "areal_density": Param(0.45, (0.3, 0.6), "mass a square metre, kg/m2"),
        "friction": material(density=(1, 1, 1), friction=(0.8, 0.6, 0.9))["friction"],
    },
    colors={"main": (0.85, 0.83, 0.76), "accent": (0.20, 0.36, 0.58)},
    build=_build,
    keypoints=_keypoints,
    soft=True,
    wide=True,
    free_aspect=True,
)
