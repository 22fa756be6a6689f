"""A dataset's episodes as pictures: the frames that it has, where they belong."""

import numpy as np
import pytest
from PIL import Image

from data_episodes import make_dataset, make_episode
from roboloop.cli import main
from roboloop.data import video
from roboloop.sheet import N_COLUMNS, TEXT_PX
from roboloop.show import FILM, SHEET


@pytest.fixture
def dataset(tmp_path):
    episodes = [make_episode(i, 9 + i, (32, 32)) for i in range(4)]
    return make_dataset(tmp_path / "data", episodes), episodes


def test_the_sheet_has_an_episodes_frames_evenly_in_time(dataset):
    folder, episodes = dataset
    assert main(["show", str(folder), "--n", "2", "--px", "32"]) == 0
    out = folder.parent / "data_show"
    sheet = np.asarray(Image.open(out / SHEET)).astype(float)
    assert sheet.shape == (2 * (32 + TEXT_PX), N_COLUMNS * 64, 3)
    for row, episode in enumerate((episodes[0], episodes[3])):
        top = row * (32 + TEXT_PX) + TEXT_PX
        for column, t in ((0, 0), (4, len(episode) - 1)):
            shown = sheet[top : top + 32, column * 64 : column * 64 + 64]
            truth = np.concatenate([episode.images[c][t] for c in ("front", "wrist")], 1)
            assert np.abs(shown - truth).mean() < 12
    assert video.count_packets(out / FILM) == len(episodes[0])


@pytest.mark.parametrize(
    ("flags", "problem"),
    [
        (["--episode", "4"], "no episode 4: the dataset has 4"),
        (["--px", "31"], "--px has to be even"),
        (["--n", "0"], "--n 1 or more"),
    ],
)
def test_what_cannot_be_shown_is_said(flags, problem, dataset, capsys):
    assert main(["show", str(dataset[0]), *flags]) == 2
    assert problem in capsys.readouterr().err


def test_without_images_and_scene_there_is_nothing_to_show(tmp_path, capsys):
    folder = make_dataset(tmp_path / "data", [make_episode(0, images=None)])
    assert main(["show", str(folder)]) == 2
    assert "the scene of the dataset is not known" in capsys.readouterr().err
