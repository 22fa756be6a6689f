"""Between our datasets, robomimic-style HDF5 files, and LeRobot datasets of others."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from roboloop import console
from roboloop.data.adopt import adopt_dataset
from roboloop.data.edit_command import finish, free_place
from roboloop.data.hdf5_read import Choices, read_hdf5
from roboloop.data.hdf5_write import import_h5py, write_hdf5
from roboloop.data.part import open_part
from roboloop.errors import RoboloopError
from roboloop.run import Run

__all__ = ["Choices", "Target", "convert"]
Target = Literal["lerobot", "hdf5"]


def convert(
    config: Any,
    target: Target,
    choices: Choices,
    models: Callable[[], Callable[[str], str | None]],
) -> Path:
    """Do what `roboloop data convert` does.

    Args:
        config: The command's config.
        target: What to write.
        choices: What an HDF5 file does not say.
        models: Gives what gives the XML of a scene.

    Returns:
        What was written.

    Raises:
        RoboloopError: The input cannot be read, or is already what is asked for.
    """
    source: Path = config.dataset
    out = free_place(config.out, [source])
    if not source.exists():
        raise RoboloopError("there is nothing to convert", "give a dataset or a file", source)
    if target == "hdf5":
        if source.is_file():
            raise RoboloopError("it is a file already", "give a dataset's folder", source)
        _write_file(source, out, config.overwrite, models)
        return out
    if source.is_file():
        import_h5py()
    elif _is_ours(source):
        raise RoboloopError("it is a dataset of ours already", "--to hdf5 makes a file", source)
    with Run.open(out, "data convert", config, 0, config.overwrite) as record:
        if not record.finished:
            if source.is_file():
                info, notes = read_hdf5(source, out, choices), []
            else:
                info, notes = adopt_dataset(source, out)
            for note in notes:
                console.say(note)
            finish(record, info, {})
    return out


def _write_file(
    source: Path, out: Path, overwrite: bool, models: Callable[[], Callable[[str], str | None]]
) -> None:
    """Write an HDF5 file where there is none."""
    import_h5py()
    if out.is_dir():
        raise RoboloopError("--out is a folder", "give the name of a file", out)
    if out.exists() and not overwrite:
        raise RoboloopError("the file exists", "--overwrite replaces it", out)
    write_hdf5(source, out, models())
    size = out.stat().st_size / 1e6
    console.summary(wrote=f"{out}   {size:,.1f} MB", next=f"roboloop data convert {out} --out DIR")


def _is_ours(folder: Path) -> bool:
    """Whether a dataset has what only we write."""
    try:
        part = open_part(folder)
    except RoboloopError as error:
        if "no vectors of numbers" in error.problem:
            return False
        raise
    return part.has_sim
