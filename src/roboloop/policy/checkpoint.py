"""A trained policy on disk: `policy.json` says what it is, `model.safetensors` has its weights."""

from pathlib import Path
from typing import TYPE_CHECKING

from roboloop.errors import RoboloopError
from roboloop.policy.base import Checkpoint
from roboloop.record import from_plain, to_plain
from roboloop.run import atomic_path, read_json, write_json

if TYPE_CHECKING:
    from torch import Tensor

VERSION = 11
"""Raised whenever older programs cannot read what is written, or newer ones not what was."""
RECORD, WEIGHTS = "policy.json", "model.safetensors"


def write_checkpoint(folder: Path, checkpoint: Checkpoint, weights: "dict[str, Tensor]") -> None:
    """Write a policy; each file appears whole, the record last."""
    write_tensors(folder / WEIGHTS, weights)
    write_json(folder / RECORD, {"version": VERSION, **to_plain(checkpoint)})


def read_checkpoint(folder: Path) -> "tuple[Checkpoint, dict[str, Tensor]]":
    """Read a policy.

    Raises:
        RoboloopError: There is none, it is of another version, or it is damaged.
    """
    record = read_json(folder / RECORD)
    version = record.pop("version", None) if isinstance(record, dict) else None
    if version != VERSION:
        raise RoboloopError(
            f"checkpoint of version {version!r}, this program reads {VERSION}",
            "train again, or use the roboloop that made it",
            folder / RECORD,
        )
    return from_plain(Checkpoint, record, RECORD), read_tensors(folder / WEIGHTS)


def write_tensors(path: Path, tensors: "dict[str, Tensor]") -> None:
    """Write tensors; the file appears whole or not at all."""
    from safetensors.torch import save_file

    with atomic_path(path) as temporary:
        save_file({name: t.contiguous() for name, t in tensors.items()}, temporary)


def read_tensors(path: Path) -> "dict[str, Tensor]":
    """Read tensors.

    Raises:
        RoboloopError: There is no such file, or it is cut off.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except FileNotFoundError:
        raise RoboloopError(f"no file {path.name}", path=path) from None
    except SafetensorError as error:
        raise RoboloopError(
            f"{path.name} is damaged: {error}", "was it cut off while copying?", path
        ) from None
