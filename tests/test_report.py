"""The report page, from a folder that looks like a run's."""

import math
import re
import shlex
import shutil
import subprocess
from dataclasses import dataclass, replace
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tyro
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from roboloop.chart import line_chart, log_ticks, ticks
from roboloop.errors import RoboloopError
from roboloop.generate import command as generate
from roboloop.interval import percent, wilson
from roboloop.report.attempts import read_attempts
from roboloop.report.command import Config, run
from roboloop.report.gather import gather
from roboloop.report.page import render_page
from roboloop.run import Run, write_bytes_atomic, write_json


@dataclass(frozen=True)
class Stage:
    n: int = 1


def _picture(width: int, height: int, hue: int) -> bytes:
    y, x = np.mgrid[:height, :width]
    rgb = np.stack([x * 255 // width, y * 255 // height, np.full_like(x, hue)], -1)
    buffer = BytesIO()
    Image.fromarray(rgb.astype(np.uint8)).save(buffer, "png")
    return buffer.getvalue()


def _film() -> bytes:
    import av

    buffer = BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=20)
        stream.width, stream.height, stream.pix_fmt = 96, 96, "yuv420p"
        for t in range(20):
            rgb = np.full((96, 96, 3), 200, np.uint8)
            rgb[40:56, 2 + 4 * t : 18 + 4 * t] = (11, 110, 110)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(rgb)))
        container.mux(stream.encode())
    return buffer.getvalue()


def make_run(folder: Path) -> Path:
    """Write a run folder as the pipeline does, with made-up numbers."""
    figures = {
        "scene": {"objects": 4, "cousins": 24},
        "task": {},
        "demo": {"tried": 11, "kept": 10, "failures": {"unreachable": 1}, "frames": 1480},
        "generate": {
            "tried": 235,
            "kept": 200,
            "failures": {"dropped": 18, "not placed": 12, "unreachable": 5},
            "frames": 28764,
        },
        "train": {"steps": 1500, "parameters": 2412354, "device": "cpu"},
        "evaluate": {"rollouts": 100},
    }
    with Run.open(folder, "run", Stage(), seed=0) as whole:
        for name, numbers in figures.items():
            with Run.open(folder / name, name, Stage(), seed=0) as stage:
                stage.finish(**numbers)
        whole.finish()
    for file, (w, h, hue) in {
        "capture.png": (320, 240, 90),
        "twin/preview.png": (320, 240, 160),
        "contact_sheet.png": (960, 480, 40),
    }.items():
        write_bytes_atomic(folder / "scene" / file, _picture(w, h, hue))
    bowl = {"name": "bowl", "category": "bowl", "size": [0.14, 0.14, 0.06]}
    plate = {"name": "plate", "category": "plate", "size": [0.2, 0.2, 0.02]}
    write_json(folder / "scene/twin/scene.json", {"objects": [bowl, plate]})
    stages = [{"name": "grasp", "grasp": "item", "subgoal": []}]
    stages += [{"name": "place", "release": "item", "subgoal": ["dist(a, b) < 0.02"]}]
    task = {"instruction": "put the bowl on the <plate>", "robot": "panda", "stages": stages}
    write_json(folder / "task/task.json", {"format": 1, "task": task | {"success": ["on(a, b)"]}})
    lines = ["step,loss,validation_loss,lr,note"]
    lines += [
        f"{i},{2 * math.exp(-i / 300) + 0.05},{2.2 * math.exp(-i / 300) + 0.09},1e-4,x"
        for i in range(0, 1500, 25)
    ]
    (folder / "train/curve.csv").write_text("\n".join(lines) + "\n1500,0.0")
    rows = [
        ("policy", 87, {"not placed": 9, "dropped": 4}),
        ("planner", 96, {"unreachable": 4}),
        ("replay", 31, {"not placed": 52, "not grasped": 17}),
        ("noop", 0, {"not grasped": 100}),
    ]
    results = [
        {"policy": p, "n": 100, "successes": k, "interval": wilson(k, 100), "failures": why}
        for p, k, why in rows
    ]
    results[0]["videos"] = {k: f"videos/policy_{k}.mp4" for k in ("best", "median", "worst")}
    write_json(folder / "evaluate/results.json", {"rows": results, "seed": 0})
    for file in results[0]["videos"].values():
        write_bytes_atomic(folder / "evaluate" / file, _film())
    return folder


@pytest.fixture(scope="module")
def full(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("run") / "r")


class Checker(HTMLParser):
    """Collects what a page would fetch, and checks that every tag is closed."""

    void = frozenset({"meta", "img", "br"})

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open, self.sources, self.tags = [], [], []
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.sources += [v for k, v in attrs if k in ("src", "href", "poster")]
        if tag not in self.void:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_page_is_self_contained_and_well_formed(full):
    page = render_page(gather(full))
    checker = Checker(page)
    assert checker.sources
    assert all(source.startswith("data:") for source in checker.sources)
    assert "script" not in checker.tags
    assert "url(" not in page
    assert checker.tags.count("img") == 3
    assert checker.tags.count("video") == 4  # three, and the best once more at the top


def test_page_shows_the_numbers(full):
    page = render_page(gather(full))
    assert "put the bowl on the &lt;plate&gt;" in page
    assert "87 of 100 rollouts, 95 % interval 79 to 92 %" in page
    assert percent(200, 235) in page
    assert re.search(r"dropped</span><i style='--part:0.514'></i><b>18</b>", page)
    assert "validation loss 0.106" in page  # the last whole line of a file that was cut off
    assert "roboloop generate" in page


@pytest.mark.parametrize("stage", ["scene", "task", "demo", "generate", "train", "evaluate"])
def test_a_missing_stage_is_named_with_its_command(full, tmp_path, stage):
    shutil.copytree(full, tmp_path / "r")
    shutil.rmtree(tmp_path / "r" / stage)
    page = render_page(gather(tmp_path / "r"))
    Checker(page)
    assert f"Nothing here yet: <code>roboloop {stage}</code> makes it." in page


def test_command_writes_the_page_and_prints_its_path(full, capsys):
    run(Config(full))
    assert capsys.readouterr().out.strip() == str(full / "report.html")
    assert (full / "report.html").read_text().startswith("<!doctype html>")


@pytest.mark.slow
def test_chromium_shows_the_page_and_plays_its_video(full, tmp_path):
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("no chromium here")
    write_bytes_atomic(full / "page.html", render_page(gather(full)).encode())
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    flags += ["--window-size=1200,1000", "--virtual-time-budget=5000"]
    flags += [f"--user-data-dir={tmp_path}/profile", f"--screenshot={tmp_path}/page.png"]
    command = [chromium, *flags, f"file://{full}/page.html"]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    rgb = np.asarray(Image.open(tmp_path / "page.png").convert("RGB")).astype(int)
    grey = np.abs(rgb - 200).max(-1) < 8  # the film's background, 3/8 of a column wide
    assert np.count_nonzero(grey) > 300 * 300 / 2


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    with pytest.raises(RoboloopError, match="no such run folder"):
        gather(tmp_path / "nowhere")
    with pytest.raises(RoboloopError, match="the folder holds no stage of a run"):
        gather(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"rows": [{"policy": "act", "n": 5}]}', "results.json: field missing: successes"),
        ('{"rows": 3}', "results.json has no list `rows`"),
        ('{"rows": [', "results.json is not valid JSON"),
    ],
)
def test_broken_results_are_named(full, tmp_path, text, message):
    shutil.copytree(full, tmp_path / "r")
    (tmp_path / "r/evaluate/results.json").write_text(text)
    with pytest.raises(RoboloopError, match=message):
        gather(tmp_path / "r")


@given(st.integers(1, 10_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_interval_solves_its_equation(case):
    k, n = case
    low, high = wilson(k, n)
    assert 0 <= low <= k / n <= high <= 1
    for bound in {low, high} - {0.0, 1.0}:  # |k/n - p| is z standard deviations of p
        assert math.isclose(abs(k / n - bound), 1.96 * math.sqrt(bound * (1 - bound) / n))


@given(st.floats(-1e6, 1e6), st.floats(1e-3, 1e6))
def test_ticks_cover_the_range(low, span):
    marks = ticks(low, low + span)
    assert marks[0] <= low + 1e-6 * span
    assert marks[-1] >= low + span - 1e-6 * span
    assert 2 <= len(marks) <= 7


@given(st.floats(1e-6, 1e3), st.floats(20, 1e6))
def test_log_ticks_cover_the_range(low, factor):
    marks = log_ticks(low, low * factor)
    assert marks[0] <= low * (1 + 1e-9)
    assert marks[-1] >= low * factor * (1 - 1e-9)


def test_chart_skips_what_is_not_finite():
    assert line_chart([0, 1], {"loss": [math.nan, math.inf]}, "step", "loss") == ""
    chart = line_chart([0, 1, 2], {"loss": [1.0, math.nan, 2.0]}, "step", "loss")
    assert "nan" not in chart


def make_generated(folder: Path) -> Path:
    """Write what `roboloop generate` leaves beside a dataset, with made-up attempts."""
    rng = np.random.default_rng(0)
    causes = ["", "dropped", "", "place: out of reach by 2.1 cm and 3 deg"] * 20
    causes += ["place: out of reach by 0.4 cm and 9 deg"]
    episodes = iter(range(30))
    table = {
        "attempt": range(len(causes)),
        "cause": causes,
        "episode": [None if cause else next(episodes, None) for cause in causes],
        **{f"start.object.{axis}": rng.uniform(0.4, 0.6, len(causes)) for axis in "xy"},
    }
    config = generate.Config(Path("a demo"), Path("scene"), Path("task"), n=30, cluster="auto:1")
    with Run.open(folder, "generate", config, seed=0) as record:
        record.finish(kept=40, tried=81, start_bias=0.1234, weak_starts="object.x 0.1 to 0.2: <5 %")
    pq.write_table(pa.table({k: list(v) for k, v in table.items()}), folder / "attempts.parquet")
    write_bytes_atomic(folder / "preview.png", _picture(160, 64, 90))
    write_bytes_atomic(folder / "failures" / "000005.png", _picture(160, 64, 90))
    return folder


def test_a_dataset_has_a_page_of_its_attempts(tmp_path, capsys):
    folder = make_generated(tmp_path / "data")
    run(Config(folder))
    page = (folder / "report.html").read_text()
    checker = Checker(page)
    assert all(s.startswith("data:") for s in checker.sources if s) and "script" not in checker.tags
    assert "40 of 81 attempts, 95 % interval 39 to 60 %" in page
    assert "30 are the dataset's episodes" in page
    assert re.search(r"place: out of reach</span><i style='--part:0.512'></i><b>21</b>", page)
    assert "attempts 1, 5, 9, 13, 17, 21, 25, 29, 33, 37, 41, 45 and 8 more" in page
    assert "Attempt 5: dropped" in page  # the one that has a picture
    assert "0.1234" in page and "&lt;5 %" in page
    assert "place: out of reach  21</text>" in page and "succeeded  40</text>" in page


def test_the_page_of_a_dataset_gives_commands_that_make_attempts_again(tmp_path):
    attempts = read_attempts(make_generated(tmp_path / "data"))
    command, name, *words = shlex.split(attempts.command_of(5))
    assert [command, name] == ["roboloop", "generate"]
    again = tyro.cli(generate.Config, args=words)
    wanted = generate.Config(Path("a demo"), Path("scene"), Path("task"), only=5)
    assert again == replace(wanted, out=Path("data_5"))


def test_a_run_shows_where_its_attempts_started(full, tmp_path):
    shutil.copytree(full, tmp_path / "r")
    for file in ("attempts.parquet", "preview.png"):
        shutil.copy(make_generated(tmp_path / file / "data") / file, tmp_path / "r/generate" / file)
    checker = Checker(render_page(gather(tmp_path / "r")))
    assert checker.tags.count("img") == 4 and "svg" in checker.tags


def test_a_table_of_attempts_that_is_cut_off_is_named(tmp_path):
    folder = make_generated(tmp_path / "data")
    content = (folder / "attempts.parquet").read_bytes()
    (folder / "attempts.parquet").write_bytes(content[:-9])
    with pytest.raises(RoboloopError, match="attempts.parquet cannot be read"):
        read_attempts(folder)
    pq.write_table(pa.table({"attempt": [0]}), folder / "attempts.parquet")
    with pytest.raises(RoboloopError, match="attempts.parquet lacks cause, episode"):
        read_attempts(folder)
