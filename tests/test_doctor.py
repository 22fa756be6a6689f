"""The doctor finds what works, and names the remedy of what does not."""

import pytest

from roboloop import doctor
from roboloop.cli import main
from roboloop.doctor import CHECKS, Check

NEEDS_GL = ("render",)
SET_UP_BY_HAND = ("robots", "disk")


@pytest.mark.parametrize(
    "check",
    [
        pytest.param(c, id=c.name, marks=[pytest.mark.render] * (c.name in NEEDS_GL))
        for c in CHECKS
        if c.name not in SET_UP_BY_HAND
    ],
)
def test_check_passes_where_tests_run(check):
    assert check.do()


def test_failure_names_the_remedy_and_exits_2(monkeypatch, capsys):
    def fail() -> str:
        raise OSError("no space")

    checks = (Check("fine", lambda: "done", ""), Check("disk", fail, "free 3 GiB"))
    monkeypatch.setattr(doctor, "CHECKS", checks)
    assert main(["doctor", "--json"]) == 2
    out, err = capsys.readouterr()
    assert '"disk": {"ok": false, "text": "OSError: no space"}' in out
    fine, disk, remedy, error = err.splitlines()
    assert fine.startswith("OK    fine      done")
    assert disk.startswith("FAIL  disk      OSError: no space")
    assert remedy.strip() == "remedy: free 3 GiB"
    assert error == "error: 1 of 2 checks failed: disk"
