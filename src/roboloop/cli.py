"""The command line: one table of commands, each imported only when it is chosen."""

import errno
import importlib
import sys
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from roboloop import __version__
from roboloop.errors import RoboloopError, unknown_name


@dataclass(frozen=True)
class CommandInfo:
    """One command: the module that has it, and what it does.

    The module offers `Config`, a frozen dataclass, and `run(config)`; one with several commands
    also `SUBCOMMANDS`, name -> (config type, function), tried before the default.
    """

    module: str
    help: str
    reads: str = ""
    writes: str = ""


COMMANDS: dict[str, CommandInfo] = {
    "scene": CommandInfo(
        "scene.command",
        "rebuild a captured scene in simulation, with cousins",
        "a capture",
        "scene folder: twin, cousins, contact sheet",
    ),
    "task": CommandInfo(
        "task.command",
        "match a sentence to the scene's objects",
        "a scene, a sentence",
        "`task.json`: roles, stages, constraints, success",
    ),
    "demo": CommandInfo(
        "demo.command",
        "plan demonstrations and run them in physics",
        "scenes, a task",
        "seed episodes",
    ),
    "plan": CommandInfo(
        "demo.plan",
        "plan a sentence in one scene, and show the plan",
        "a scene, a sentence",
        "stages in words, a picture, a video",
    ),
    "generate": CommandInfo(
        "generate.command",
        "multiply the demonstrations over many scenes",
        "seed episodes, scenes",
        "a LeRobot v3 dataset",
    ),
    "data": CommandInfo(
        "data.command",
        "check, merge, split, filter, convert datasets",
        "datasets, HDF5 files",
        "a verdict, statistics; merged, split, filtered, converted",
    ),
    "train": CommandInfo(
        "policy.command",
        "train an image policy",
        "a dataset",
        "a checkpoint, a learning curve",
    ),
    "evaluate": CommandInfo(
        "evaluate.command",
        "measure the success rate in held-out scenes",
        "a checkpoint, scenes, a task",
        "`results.json` with intervals, videos",
    ),
    "report": CommandInfo(
        "report.command",
        "make one web page of a run",
        "folders only",
        "`report.html`, self-contained",
    ),
    "show": CommandInfo("show", "show a dataset's episodes: a sheet of frames, a film"),
    "run": CommandInfo("pipeline", "do all of it: capture and sentence in, report out"),
    "assets": CommandInfo("assets", "fetch third-party robot models once, into the cache"),
    "doctor": CommandInfo("doctor", "try everything that roboloop needs on this machine"),
}

_GROUPS = {
    "the whole loop": ("run",),
    "its stages": (
        "scene",
        "task",
        "demo",
        "plan",
        "generate",
        "data",
        "train",
        "evaluate",
        "report",
    ),
    "to look": ("show",),
    "set-up": ("assets", "doctor"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return the exit code: 0, 1 our bug, 2 bad input, 130 interrupted."""
    name, *args = (list(sys.argv[1:] if argv is None else argv)) or ["--help"]
    debug = "--debug" in args
    try:
        if name in ("--help", "-h"):
            print(_help())
        elif name == "--version":
            print(f"roboloop {__version__}")
        elif name not in COMMANDS:
            raise unknown_name("command", name, COMMANDS)
        else:
            _run(name, args)
    except RoboloopError as error:
        return _fail(str(error), debug)
    except KeyboardInterrupt:
        print("interrupted; the same command goes on from here", file=sys.stderr)
        return 130
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        return _fail(f"the disk is full\n{error.filename or ''}".rstrip(), debug)
    return 0


def _fail(message: str, debug: bool) -> int:
    if debug:
        traceback.print_exc()
    print(f"error: {message}", file=sys.stderr)
    return 2


def _run(name: str, args: list[str]) -> None:
    from roboloop import console

    module = importlib.import_module(f"roboloop.{COMMANDS[name].module}")
    subcommands = getattr(module, "SUBCOMMANDS", {})
    program = f"roboloop {name}"
    if args and args[0] in subcommands:
        program, (kind, function), args = f"{program} {args[0]}", subcommands[args[0]], args[1:]
    elif hasattr(module, "Config"):
        kind, function = module.Config, module.run
    elif args and not args[0].startswith("-"):
        raise unknown_name(f"{name} command", args[0], subcommands)
    elif args:
        print(_subcommand_help(program, subcommands))
        return
    else:
        raise RoboloopError(f"`{program}` needs one of: {', '.join(subcommands)}")
    config = _parse(program, kind, args, [f"roboloop {name} {sub}" for sub in subcommands])
    console.configure(quiet=getattr(config, "quiet", False))
    function(config)


def _parse(program: str, kind: type, args: list[str], related: list[str]) -> Any:
    import tyro

    text = kind.__doc__ or ""
    if related and program not in related:
        text += f"\n\nSee also: {', '.join(related)}"
    conf = tyro.conf
    marks = (conf.FlagCreatePairsOff, conf.PositionalMetavarFromFieldName, conf.DisallowNone)
    args = ["--n" if arg == "-n" else arg for arg in args]  # a count, everywhere
    return tyro.cli(kind, prog=program, description=text, args=args, config=marks)


def _subcommand_help(program: str, subcommands: dict[str, tuple[type, Any]]) -> str:
    lines = [f"usage: {program} COMMAND ...", ""]
    for name, (kind, _) in subcommands.items():
        lines += [f"  {name:<10}{(kind.__doc__ or '').partition(chr(10))[0]}"]
    return "\n".join(lines)


def _help() -> str:
    lines = [
        f"roboloop {__version__}: from a capture of a scene to a policy and its success rate",
        "",
        "usage: roboloop COMMAND ...    (roboloop COMMAND --help lists its flags)",
    ]
    for title, names in _GROUPS.items():
        lines += ["", title]
        lines += [f"  {name:<10}{COMMANDS[name].help}" for name in names]
    return "\n".join(lines)
