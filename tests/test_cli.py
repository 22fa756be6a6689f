"""The command line: exit codes, messages, and the promise that help is quick."""

import subprocess
import sys
import types
from dataclasses import dataclass

import pytest

from roboloop.cli import COMMANDS, CommandInfo, main
from roboloop.errors import RoboloopError
from roboloop.run import OutputFlags


@dataclass(frozen=True)
class Config(OutputFlags):
    """A stage that counts."""

    n: int = 1
    """How many."""


@dataclass(frozen=True)
class Score(OutputFlags):
    """Score what was counted."""


@pytest.fixture
def toy(monkeypatch):
    """A command `toy` whose module the test fills."""
    module = types.ModuleType("roboloop.toy")
    module.Config, module.run = Config, lambda config: print(config.n)
    monkeypatch.setitem(sys.modules, "roboloop.toy", module)
    monkeypatch.setitem(COMMANDS, "toy", CommandInfo("toy", "count"))
    return module


def _raise(error):
    def run(config):
        raise error

    return run


def test_command_runs_with_its_config(toy, capsys):
    assert main(["toy", "--n", "3"]) == 0
    assert main(["toy", "-n", "4"]) == 0
    assert capsys.readouterr().out == "3\n4\n"


def test_subcommand_comes_before_the_default(toy, capsys):
    toy.SUBCOMMANDS = {"score": (Score, lambda config: print("scored"))}
    assert main(["toy", "score", "--quiet"]) == 0
    assert main(["toy"]) == 0
    assert capsys.readouterr().out == "scored\n1\n"


def test_command_without_default_names_its_subcommands(toy, capsys):
    del toy.Config
    toy.SUBCOMMANDS = {"score": (Score, print), "check": (Score, print)}
    assert main(["toy"]) == 2
    assert main(["toy", "chek"]) == 2
    assert main(["toy", "--help"]) == 0
    captured = capsys.readouterr()
    assert "  score     Score what was counted." in captured.out
    assert captured.err == (
        "error: `roboloop toy` needs one of: score, check\n"
        "error: unknown toy command `chek`\nhint: did you mean `check`?\n"
    )


def test_bad_input_exits_2_without_traceback(toy, capsys):
    toy.run = _raise(RoboloopError("no object `bowle`", "did you mean `bowl`?", "a/scene.json"))
    assert main(["toy"]) == 2
    captured = capsys.readouterr()
    assert captured.err == "error: no object `bowle`\nhint: did you mean `bowl`?\na/scene.json\n"
    assert captured.out == ""
    assert main(["toy", "--debug"]) == 2
    assert "Traceback" in capsys.readouterr().err


def test_full_disk_exits_2(toy, capsys):
    toy.run = _raise(OSError(28, "No space left on device", "a/video.mp4"))
    assert main(["toy"]) == 2
    assert capsys.readouterr().err == "error: the disk is full\na/video.mp4\n"


def test_interrupt_exits_130(toy, capsys):
    toy.run = _raise(KeyboardInterrupt())
    assert main(["toy"]) == 130
    assert "Traceback" not in capsys.readouterr().err


def test_our_own_bug_keeps_its_traceback(toy):
    toy.run = _raise(ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        main(["toy"])


def test_unknown_command_offers_the_closest(capsys):
    assert main(["evalute"]) == 2
    assert "hint: did you mean `evaluate`?" in capsys.readouterr().err


def test_help_names_every_command_and_imports_nothing_heavy():
    code = (
        "import sys; from roboloop.cli import main; main(['--help']); "
        "print({'numpy', 'torch', 'mujoco', 'tyro', 'rich'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    *lines, heavy = done.stdout.splitlines()
    assert heavy == "set()"
    assert set(COMMANDS) <= {line.split()[0] for line in lines if line.startswith("  ")}


@pytest.mark.parametrize("name", COMMANDS)
def test_command_has_help(name, capsys):
    try:
        code = main([name, "--help"])
    except SystemExit as stop:  # tyro's own help
        code = stop.code
    assert code == 0
    assert f"roboloop {name}" in capsys.readouterr().out
