"""Preset scenes: every one settles as it is, and stands for a task."""

import pytest

from roboloop.errors import RoboloopError
from roboloop.scene.presets import PRESETS, preset_scene
from roboloop.scene.settle import displacements, settle


@pytest.mark.parametrize("name", PRESETS)
def test_settles_where_it_is(name: str) -> None:
    scene = preset_scene(name)
    moved = displacements(scene, settle(scene))
    # beads find their places in the mug
    far = {name: each.distance for name, each in moved.items() if not name.startswith("bead")}
    assert max(far.values()) < 0.005


def test_unknown_preset() -> None:
    with pytest.raises(RoboloopError, match="unknown preset `buton`"):
        preset_scene("buton")
