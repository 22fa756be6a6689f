"""The web page of a run: one HTML text with everything inside it."""

import base64
import mimetypes
from collections.abc import Callable, Mapping
from html import escape
from importlib import resources
from pathlib import Path
from typing import Any

from roboloop.chart import line_chart
from roboloop.console import clock
from roboloop.interval import percent
from roboloop.report.gather import STAGES, Curve, Manifest, Row, RunRecord

_CHARTS = {"loss": "loss", "success": "success", "error": "error"}
"""A column of the learning curve is drawn in the chart whose key its name contains."""
_POLICIES = {
    "policy": "trained policy",
    "noop": "does nothing",
    "replay": "nearest replay",
}
"""Rows of `results.json` by the names that a reader understands."""


def render_page(record: RunRecord) -> str:
    """Write the page of a run: self-contained HTML that needs neither network nor script."""
    title = _title(record)
    sections = "".join(
        _section(number, name, heading, body(record), record.manifests.get(name))
        for number, (name, (heading, body)) in enumerate(_SECTIONS.items(), start=1)
    )
    style = resources.files("roboloop.report").joinpath("style.css").read_text("utf-8")
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)} – roboloop</title>\n<style>\n{style}</style>\n</head>\n<body>\n"
        f"<main>\n{_head(record, title)}\n{sections}\n</main>\n</body>\n</html>\n"
    )


def _title(record: RunRecord) -> str:
    return str((record.task or {}).get("instruction") or record.folder.resolve().name)


def _head(record: RunRecord, title: str) -> str:
    parts = [f'<p class="kicker">roboloop</p><h1>{escape(title)}</h1>']
    if record.rows:
        row, others = record.rows[0], record.rows[1:]
        low, high = (100 * bound for bound in row.interval)
        parts += [
            f'<p class="headline"><b>{_rate(row)}</b><span>success in held-out scenes<br>'
            f"{row.successes} of {row.n} rollouts, 95 % interval {low:.0f} to {high:.0f} %"
            f"</span></p>"
        ]
        known = " · ".join(f"{escape(_policy(other))} {_rate(other)}" for other in others)
        parts += [f'<p class="note">For reference: {known}</p>'] if known else []
        video = row.videos.get("best") or row.videos.get("median")
        parts = [f"<div>{''.join(parts)}</div>", _video(record, video, "", "autoplay")]
    return f'<header class="head">{"".join(parts)}</header>'


def _section(number: int, name: str, heading: str, body: str, manifest: Manifest | None) -> str:
    side = f'<p class="number">{number}</p><h2>{heading}</h2>'
    if manifest is not None:
        side += f'<p class="cost">{_cost(manifest)}</p>'
        if name in STAGES and manifest.status != "finished":
            side += f'<p class="status">{escape(manifest.status)}</p>'
    if not body:
        command = name if name in STAGES else "run"
        body = f'<p class="missing">Nothing here yet: <code>roboloop {command}</code> makes it.</p>'
    return f'<section id="{name}"><header>{side}</header><div>{body}</div></section>\n'


def _scene(record: RunRecord) -> str:
    capture = record.image("scene/capture.png")
    twin = record.image("scene/twin/preview.png")
    sheet = record.image("scene/contact_sheet.png")
    pair = _image(capture, "The capture") + _image(twin, "Its twin in simulation")
    parts = [f'<div class="pair">{pair}</div>'] if pair else []
    if record.objects:
        rows = [_object(item) for item in record.objects]
        parts += [_table(("object", "category", "size, cm"), rows)]
    return "".join([*parts, _image(sheet, "Digital cousins: other shapes, colours and poses")])


def _object(item: Mapping[str, Any]) -> tuple[str, ...]:
    size = " × ".join(f"{100 * float(length):.1f}" for length in item.get("size", ()))
    return escape(str(item.get("name", "?"))), escape(str(item.get("category", "?"))), size


def _task(record: RunRecord) -> str:
    if record.task is None:
        return ""
    rows = []
    for stage in record.task.get("stages", ()):
        marks = [f"{verb} {stage[verb]}" for verb in ("grasp", "release") if stage.get(verb)]
        goals = "<br>".join(f"<code>{escape(text)}</code>" for text in stage.get("subgoal", ()))
        rows += [(escape(str(stage.get("name", ""))), escape(", ".join(marks)), goals)]
    success = "<br>".join(f"<code>{escape(c)}</code>" for c in record.task.get("success", ()))
    rows += [("<b>success</b>", "", success)] if success else []
    facts = {k: record.task[k] for k in ("robot", "kind") if k in record.task}
    return _facts(facts) + _table(("stage", "hand", "what holds at its end"), rows)


def _attempts(stage: str) -> Callable[[RunRecord], str]:
    """Make the section of a stage that tries things: kept of tried, why not, other figures."""

    def body(record: RunRecord) -> str:
        manifest = record.manifests.get(stage)
        if manifest is None:
            return ""
        figures = dict(manifest.figures)
        failures, kept, tried = (figures.pop(k, None) for k in ("failures", "kept", "tried"))
        facts: dict[str, object] = {}
        if isinstance(kept, int) and isinstance(tried, int):
            facts = {"kept": kept, "tried": tried, "kept of tried": percent(kept, tried)}
        facts |= {name: value for name, value in figures.items() if _is_plain(value)}
        return _facts(facts) + _bars("Why attempts were dropped", failures)

    return body


def _train(record: RunRecord) -> str:
    manifest = record.manifests.get("train")
    figures = manifest.figures if manifest else {}
    facts = _facts({name: value for name, value in figures.items() if _is_plain(value)})
    return facts + (_charts(record.curve) if record.curve else "")


def _charts(curve: Curve) -> str:
    parts = []
    for key, label in _CHARTS.items():
        series = {name: column for name, column in curve.series.items() if key in name}
        chart = line_chart(curve.x, series, curve.x_name, label)
        parts += [f"<figure><figcaption>{label}</figcaption>{chart}</figure>"] if chart else []
    return "".join(parts)


def _evaluate(record: RunRecord) -> str:
    if not record.rows:
        return ""
    axis = '<span class="axis"><i>0</i><i>25</i><i>50</i><i>75</i><i>100 %</i></span>'
    rows = [
        (_name(row), _rate_and_interval(row), f"{row.successes} / {row.n}", _interval(row))
        for row in record.rows
    ]
    parts = [_table(("policy", "success", "of", axis), rows, "policies")]
    note = "Dots are measured rates, bars their 95 % Wilson intervals."
    if record.rows[0].policy == "policy":
        note += " The trained policy sees cameras and joints, the planner the simulator's state."
    parts += [f'<p class="note">{note}</p>']
    for row in record.rows:
        films = [
            _video(record, file, f"{_policy(row)}, {which}") for which, file in row.videos.items()
        ]
        parts += [f'<div class="films">{"".join(films)}</div>'] if any(films) else []
    first = record.rows[0]
    return "".join([*parts, _bars(f"Why the {_policy(first)} failed", first.failures)])


def _name(row: Row) -> str:
    failures = sorted(row.failures.items(), key=lambda item: -item[1])
    reasons = " · ".join(f"{reason} {n}" for reason, n in failures)
    return f"{escape(_policy(row))}<small>{escape(reasons)}</small>"


def _policy(row: Row) -> str:
    return _POLICIES.get(row.policy, row.policy)


def _rate(row: Row) -> str:
    return f"{100 * row.successes / row.n:.0f}\N{NO-BREAK SPACE}%" if row.n else "–"


def _rate_and_interval(row: Row) -> str:
    low, high = (100 * bound for bound in row.interval)
    return f"{_rate(row)} <small>[{low:.0f}, {high:.0f}]</small>"


def _interval(row: Row) -> str:
    low, high = (100 * bound for bound in row.interval)
    dot = f'<b style="left:{100 * row.successes / row.n:.1f}%"></b>' if row.n else ""
    bar = f'<i style="left:{low:.1f}%;width:{high - low:.1f}%"></i>'
    return f'<span class="interval">{bar}{dot}</span>'


def _costs(record: RunRecord) -> str:
    known = [name for name in (*STAGES, "run") if name in record.manifests]
    rows = []
    for name in known:
        cost = record.manifests[name].cost
        memory = f"{cost.peak_rss_mib:,.0f} MiB"
        label = "<b>the whole run</b>" if name == "run" else name
        rows += [(label, f"{cost.cpu_s:,.0f} s", clock(cost.wall_s), memory)]
    return (
        _table(("stage", "CPU time", "wall time", "peak memory"), rows, "numbers") if rows else ""
    )


def _reproduce(record: RunRecord) -> str:
    known = [name for name in ("run", *STAGES) if name in record.manifests]
    if not known:
        return ""
    commands = "\n".join(escape(record.manifests[name].command) for name in known)
    first = record.manifests[known[0]]
    return f"<pre><code>{commands}</code></pre>" + _facts({"seed": first.seed} | first.versions)


_SECTIONS: dict[str, tuple[str, Callable[[RunRecord], str]]] = {
    "scene": ("Scene", _scene),
    "task": ("Task", _task),
    "demo": ("Demonstrations", _attempts("demo")),
    "generate": ("Generation", _attempts("generate")),
    "train": ("Training", _train),
    "evaluate": ("Evaluation", _evaluate),
    "run": ("Cost", _costs),
    "reproduce": ("Reproduce", _reproduce),
}


def _cost(manifest: Manifest) -> str:
    return f"{manifest.cost.cpu_s:,.0f} CPU s<br>{clock(manifest.cost.wall_s)} on the clock"


def _is_plain(value: object) -> bool:
    return isinstance(value, str | int | float)


def _number(value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"


def _facts(facts: Mapping[str, object]) -> str:
    items = "".join(
        f"<div><dt>{escape(name.replace('_', ' '))}</dt><dd>{escape(_number(value))}</dd></div>"
        for name, value in facts.items()
    )
    return f'<dl class="facts">{items}</dl>' if items else ""


def _table(names: tuple[str, ...], rows: list[tuple[str, ...]], style: str = "") -> str:
    """Write a table; cells are HTML."""
    head = "".join(f"<th>{name}</th>" for name in names)
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    return f'<div class="scroll"><table class="{style}"><tr>{head}</tr>{body}</table></div>'


def _bars(heading: str, counts: Any) -> str:
    """Draw counts by reason as bars, the largest first."""
    if not isinstance(counts, dict) or not sum(counts.values()):
        return ""
    total = sum(counts.values())
    rows = "".join(
        f"<li><span>{escape(reason)}</span><i style='--part:{n / total:.3f}'></i><b>{n}</b></li>"
        for reason, n in sorted(counts.items(), key=lambda item: -item[1])
    )
    return f'<h3>{escape(heading)}</h3><ul class="bars">{rows}</ul>'


def _image(path: Path | None, caption: str) -> str:
    if path is None:
        return ""
    return (
        f'<figure><img src="{_data_uri(path)}" alt="{escape(caption)}">'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )


def _video(record: RunRecord, file: str | None, caption: str, flags: str = "controls") -> str:
    path = record.image(f"evaluate/{file}") if file else None
    if path is None:
        return ""
    text = f"<figcaption>{escape(caption)}</figcaption>" if caption else ""
    flags += ' muted loop playsinline preload="auto"'
    return f'<figure><video {flags} src="{_data_uri(path)}"></video>{text}</figure>'


def _data_uri(path: Path) -> str:
    kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    return f"data:{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"
