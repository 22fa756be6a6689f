"""The scenes and the task that a dataset was made of, as far as the manifests tell."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from roboloop.errors import RoboloopError
from roboloop.run import MANIFEST, read_json


@dataclass(frozen=True)
class Origin:
    """What a dataset was made of."""

    scene: Path
    """The folder that `roboloop scene` wrote."""
    task: Path
    """The folder or file that `roboloop task` wrote."""


def find_origin(dataset: Path, scene: Path | None = None, task: Path | None = None) -> Origin:
    """Find scenes and task of a dataset: as given, as the manifests say, or beside it.

    Raises:
        RoboloopError: They are nowhere.
    """
    maker, config = _maker(dataset)
    found = {}
    for name, given in (("scene", scene), ("task", task)):
        said = config.get(name)
        places = [given] if given else [Path(said), maker.parent / Path(said).name] if said else []
        there = [place for place in places if place.exists()]
        if not there:
            looked = f" at {', '.join(map(str, places))}" if places else ""
            hint = f"--{name} gives the folder that `roboloop {name}` wrote"
            raise RoboloopError(f"the {name} of the dataset is not known{looked}", hint, dataset)
        found[name] = there[0]
    return Origin(**found)


def _maker(dataset: Path) -> tuple[Path, dict[str, Any]]:
    """Follow the manifests back to the run whose episodes these are; its folder and config."""
    for folder in (dataset, dataset.parent):  # a split has one manifest for all parts
        if not (folder / MANIFEST).exists():
            continue
        manifest = read_json(folder / MANIFEST)
        config = manifest["config"]
        if manifest["stage"] in ("demo", "generate") and folder == dataset:
            return folder, config
        earlier = [*config.get("datasets", []), config.get("dataset")]
        if manifest["stage"].startswith("data ") and earlier[0] and Path(earlier[0]).is_dir():
            return _maker(Path(earlier[0]))
    return dataset, {}
