"""LeRobot opens our datasets as they are, without a network.

`ROBOLOOP_LEROBOT_PYTHON` names the Python of an environment made by `tools/lerobot_venv.sh`;
without it one is made once, in the user's cache.
"""

import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

from data_episodes import make_dataset, make_episode
from roboloop.data.layout import Limits

TOOLS = Path(__file__).parents[1] / "tools"
OFFLINE = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}


@pytest.fixture(scope="module")
def lerobot_python():
    if python := os.environ.get("ROBOLOOP_LEROBOT_PYTHON"):
        return python
    folder = Path.home() / ".cache/roboloop/lerobot-0.4.4"
    if not (folder / "finished").exists():
        subprocess.run(["bash", TOOLS / "lerobot_venv.sh", folder], check=True)
        (folder / "finished").touch()
    return folder / "bin/python"


@pytest.mark.slow
@pytest.mark.network
@pytest.mark.parametrize("limits", [Limits(), Limits(0, 0)], ids=["one-file", "many-files"])
def test_lerobot_reads_what_was_written(lerobot_python, tmp_path, limits):
    episodes = [make_episode(i, n, (64, 96)) for i, n in enumerate((7, 12, 5))]
    folder = make_dataset(tmp_path / "dataset", episodes, limits)
    command = [lerobot_python, TOOLS / "lerobot_side.py", "read", folder, tmp_path / "read.npz"]
    environment = os.environ | OFFLINE | {"HF_HOME": str(tmp_path / "hf")}
    subprocess.run(command, check=True, env=environment)
    read = np.load(tmp_path / "read.npz")
    for key, name in (
        ("observation.state", "state"),
        ("action", "action"),
        ("action.intended", "action_intended"),
        ("imitate", "imitate"),
        ("action.eef", "action_eef"),
    ):
        rows = np.concatenate([getattr(episode, name) for episode in episodes])
        np.testing.assert_array_equal(read[key], rows)
    for camera in ("front", "wrist"):
        frames = np.concatenate([episode.images[camera] for episode in episodes])
        decoded = 255 * read[f"observation.images.{camera}"].transpose(0, 2, 3, 1)
        error = np.mean((decoded - frames) ** 2, (1, 2, 3))
        assert 10 * np.log10(255**2 / error.max()) > 28
    assert read["tasks"].tolist() == [episode.task for episode in episodes for _ in episode.action]
    assert read["index"].tolist() == list(range(24))
    np.testing.assert_array_equal(read["chunk"], episodes[2].action[[3, 4, 4, 4]])
    assert read["chunk_is_pad"].tolist() == [False, False, True, True]
    state = np.concatenate([episode.state for episode in episodes])
    np.testing.assert_allclose(read["stats_mean"], state.mean(0), rtol=1e-5, atol=1e-6)
