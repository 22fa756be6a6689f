"""Pieces of web pages: texts of HTML with everything inside them, no script, no network."""

import base64
import mimetypes
from collections.abc import Mapping
from html import escape
from importlib import resources
from pathlib import Path
from typing import Any

from roboloop.console import clock
from roboloop.report.gather import Manifest


def whole_page(title: str, body: str) -> str:
    """Write a page around its sections."""
    style = resources.files("roboloop.report").joinpath("style.css").read_text("utf-8")
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)} – roboloop</title>\n<style>\n{style}</style>\n</head>\n<body>\n"
        f"<main>\n{body}\n</main>\n</body>\n</html>\n"
    )


def cost(manifest: Manifest) -> str:
    """Write what a stage took."""
    return f"{manifest.cost.cpu_s:,.0f} CPU s<br>{clock(manifest.cost.wall_s)} on the clock"


def is_plain(value: object) -> bool:
    """Whether a figure is a number, or a text that says something."""
    return isinstance(value, str | int | float) and value != ""


def number(value: object) -> str:
    """Write a figure, numbers with as many digits as matter."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"


def facts(figures: Mapping[str, object]) -> str:
    """Write names and figures beside each other."""
    items = "".join(
        f"<div><dt>{escape(name.replace('_', ' '))}</dt><dd>{escape(number(value))}</dd></div>"
        for name, value in figures.items()
    )
    return f'<dl class="facts">{items}</dl>' if items else ""


def table(names: tuple[str, ...], rows: list[tuple[str, ...]], style: str = "") -> str:
    """Write a table; cells are HTML."""
    head = "".join(f"<th>{name}</th>" for name in names)
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    return f'<div class="scroll"><table class="{style}"><tr>{head}</tr>{body}</table></div>'


def bars(heading: str, counts: Any) -> str:
    """Draw counts by reason as bars, the largest first."""
    if not isinstance(counts, dict) or not sum(counts.values()):
        return ""
    total = sum(counts.values())
    rows = "".join(
        f"<li><span>{escape(reason)}</span><i style='--part:{n / total:.3f}'></i><b>{n}</b></li>"
        for reason, n in sorted(counts.items(), key=lambda item: -item[1])
    )
    return f'<h3>{escape(heading)}</h3><ul class="bars">{rows}</ul>'


def image(path: Path | None, caption: str) -> str:
    """Write a picture with what it shows; empty where there is no file."""
    if path is None:
        return ""
    return (
        f'<figure><img src="{data_uri(path)}" alt="{escape(caption)}">'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )


def film(path: Path | None, caption: str, flags: str = "controls") -> str:
    """Write a film that plays on and on; empty where there is no file."""
    if path is None:
        return ""
    text = f"<figcaption>{escape(caption)}</figcaption>" if caption else ""
    flags += ' muted loop playsinline preload="auto"'
    return f'<figure><video {flags} src="{data_uri(path)}"></video>{text}</figure>'


def data_uri(path: Path) -> str:
    """Write a file as an address that holds it."""
    kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    return f"data:{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"
