"""Scenes made of parametric families: a twin without a capture."""

from roboloop.errors import unknown_name
from roboloop.scene.graph import SceneGraph
from roboloop.scene.presets.base import Preset, Thing, build
from roboloop.scene.presets.benchmark import BENCHMARK
from roboloop.scene.presets.small import SMALL
from roboloop.scene.presets.table import PRESETS

__all__ = ["BENCHMARK", "PREFIX", "PRESETS", "SMALL", "Preset", "Thing", "preset_scene"]

PREFIX = "preset:"
"""Before a preset's name where a capture could stand."""


def preset_scene(name: str) -> SceneGraph:
    """Build a preset's twin, of `PRESETS`, `SMALL` or `BENCHMARK`; let it settle before it is used.

    Raises:
        RoboloopError: There is no such preset; the closest name is offered.
    """
    presets = {**PRESETS, **SMALL, **BENCHMARK}
    if name not in presets:
        raise unknown_name("preset", name, presets)
    return build(presets[name], f"{PREFIX}{name}")
