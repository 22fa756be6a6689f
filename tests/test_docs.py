"""What the documents say is what the program does."""

import importlib
import re
import shlex
from pathlib import Path

import pytest
import tyro

from roboloop.cli import COMMANDS

ROOT = Path(__file__).parents[1]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])


def _stage_table() -> list[str]:
    rows = ["| stage | command | reads | writes |", "|---|---|---|---|"]
    for name, info in COMMANDS.items():
        if info.reads:
            folder = info.module.partition(".")[0]
            rows += [f"| `{folder}/` | `roboloop {name}` | {info.reads} | {info.writes} |"]
    return rows


def _blocks(kind: str) -> list[str]:
    fence = re.compile(rf"```{kind}\n(.*?)```", re.DOTALL)
    return [block for page in PAGES for block in fence.findall(page.read_text())]


def _commands() -> list[str]:
    script = (ROOT / "runs/quickstart.sh").read_text()
    lines = "\n".join([*_blocks("bash"), script]).replace("\\\n", " ").splitlines()
    return sorted({line for line in lines if re.match(r"(\.venv/bin/)?roboloop ", line)})


def test_readme_table_is_the_command_lines():
    readme = (ROOT / "README.md").read_text()
    assert "\n".join(_stage_table()) in readme


@pytest.mark.parametrize("line", _commands())
def test_commands_in_documents_parse(line):
    _, name, *args = shlex.split(line.replace("$scale", "tiny"), comments=True)
    module = importlib.import_module(f"roboloop.{COMMANDS[name].module}")
    subcommands = getattr(module, "SUBCOMMANDS", {})
    if args and args[0] in subcommands:
        tyro.cli(subcommands[args[0]][0], args=args[1:])
    else:
        tyro.cli(module.Config, args=args)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_point_to_files(page):
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text()):
        if not target.startswith("http"):
            assert (page.parent / target).exists(), target


@pytest.mark.parametrize("block", _blocks("python"))
def test_python_blocks_run(block, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    exec(compile(block, "document", "exec"), {})


def test_make_targets_in_documents_exist():
    makefile = (ROOT / "Makefile").read_text()
    for text in _blocks("bash"):
        for target in re.findall(r"^make (\w+)", text, re.MULTILINE):
            assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_every_dependency_has_its_reason():
    project = (ROOT / "pyproject.toml").read_text()
    named = set(re.findall(r'^    "([a-z-]+)[=>]', project, re.MULTILINE))
    page = (ROOT / "docs/dependencies.md").read_text()
    assert named == set(re.findall(r"^\| `([a-z-]+)`", page, re.MULTILINE))
