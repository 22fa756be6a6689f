"""`roboloop report FOLDER`: write the web page of a run, or of a generated dataset."""

from dataclasses import dataclass, field
from pathlib import Path

from tyro.conf import Positional

from roboloop import console
from roboloop.report.attempts import is_dataset, read_attempts
from roboloop.report.dataset import render_dataset
from roboloop.report.gather import gather
from roboloop.report.page import render_page
from roboloop.run import CommonFlags, write_bytes_atomic


@dataclass(frozen=True)
class Config(CommonFlags):
    """Make one self-contained web page from a run's folders, or from a generated dataset."""

    folder: Positional[Path]
    """What `roboloop run` wrote; stages that are missing are named on the page. Or what
    `roboloop generate` wrote: what was kept, what failed and why."""
    out: Path | None = field(default=None, kw_only=True)
    """File to write; `report.html` in the folder if not given."""


def run(config: Config) -> None:
    """Write the page and say where."""
    out = config.out or config.folder / "report.html"
    if is_dataset(config.folder):
        text = render_dataset(read_attempts(config.folder))
    else:
        text = render_page(gather(config.folder))
    page = text.encode()
    write_bytes_atomic(out, page)
    console.summary(wrote=f"{out}   {len(page) / 1e6:.1f} MB", next=f"open {out} in a browser")
    console.emit({"report": str(out)} if config.json else out)
