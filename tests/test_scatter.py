"""Starts as dots: every attempt in its place, by what came of it."""

import re
from xml.etree import ElementTree

import numpy as np
import pytest

from roboloop.scatter import MARGIN, MAX_GROUPS, MAX_POINTS, SIDE, TOP, scatter, start_panels

SVG = "{http://www.w3.org/2000/svg}"


def dots(svg: str, group: int) -> np.ndarray:
    """The places of a group's dots in the drawing, without its legend, px."""
    paths = ElementTree.fromstring(svg).iter(f"{SVG}path")
    found = [p.get("d") for p in paths if p.get("class") == f"dots s{group}"][:-1]
    return np.array(
        [[float(v) for v in m] for d in found for m in re.findall(r"M(\S+) (\S+)h0", d)]
    )


def some_starts(n: int) -> dict[str, list[float]]:
    rng = np.random.default_rng(0)
    starts = {f"object.{axis}": rng.uniform(0.4, 0.6, n).tolist() for axis in ("x", "y", "yaw")}
    return starts | {f"target.{axis}": [0.5] * n for axis in ("x", "y", "yaw")}


def test_what_stands_still_has_no_panel():
    assert list(start_panels(some_starts(9))) == ["object"]
    assert scatter(start_panels(some_starts(1)), ["succeeded"]) == ""


def test_dots_stand_as_seen_from_behind_the_robot():
    starts = some_starts(40)
    svg = scatter(
        start_panels(starts), ["failed" if i % 4 == 0 else "succeeded" for i in range(40)]
    )
    failed = dots(svg, 1)
    assert len(dots(svg, 0)) == 30 and len(failed) == 10
    assert np.corrcoef(failed[:, 1], starts["object.x"][::4])[0, 1] == pytest.approx(-1, abs=1e-4)
    assert np.corrcoef(failed[:, 0], starts["object.y"][::4])[0, 1] == pytest.approx(-1, abs=1e-4)
    assert (failed >= (MARGIN, TOP)).all() and (failed <= (MARGIN + SIDE, TOP + SIDE)).all()
    assert "succeeded  30" in svg and "failed  10" in svg


def test_many_attempts_are_thinned_and_rare_outcomes_joined():
    outcomes = [f"cause <{int(i**0.5 / 8)}>" for i in range(2 * MAX_POINTS)]
    svg = scatter(start_panels(some_starts(len(outcomes))), outcomes)
    assert sum(len(dots(svg, group)) for group in range(MAX_GROUPS)) == MAX_POINTS
    assert "4 others" in svg and f"{MAX_POINTS:,} of {2 * MAX_POINTS:,} attempts" in svg
