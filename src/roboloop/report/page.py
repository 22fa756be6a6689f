"""The web page of a run: one HTML text with everything inside it."""

from collections.abc import Callable, Mapping
from html import escape
from pathlib import Path
from typing import Any

from roboloop.chart import line_chart
from roboloop.console import clock
from roboloop.interval import percent
from roboloop.report import markup
from roboloop.report.attempts import is_dataset, read_attempts
from roboloop.report.dataset import draw_starts
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
    return markup.whole_page(title, f"{_head(record, title)}\n{sections}")


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
        side += f'<p class="cost">{markup.cost(manifest)}</p>'
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
    pair = markup.image(capture, "The capture") + markup.image(twin, "Its twin in simulation")
    parts = [f'<div class="pair">{pair}</div>'] if pair else []
    if record.objects:
        rows = [_object(item) for item in record.objects]
        parts += [markup.table(("object", "category", "size, cm"), rows)]
    return "".join(
        [*parts, markup.image(sheet, "Digital cousins: other shapes, colours and poses")]
    )


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
    return markup.facts(facts) + markup.table(("stage", "hand", "what holds at its end"), rows)


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
        known = {name: value for name, value in figures.items() if markup.is_plain(value)}
        bars = markup.bars("Why attempts were dropped", failures)
        return markup.facts(facts | known) + bars + _pictures(record.folder / stage)

    return body


def _pictures(folder: Path) -> str:
    """Show some episodes of a generated dataset, and where attempts started."""
    if not is_dataset(folder):
        return ""
    attempts = read_attempts(folder)
    caption = "The first, the middle and the last episode"
    drawing = draw_starts(attempts)
    head = "<h3>Where attempts started</h3>" if drawing else ""
    return markup.image(attempts.file("preview.png"), caption) + head + drawing


def _train(record: RunRecord) -> str:
    manifest = record.manifests.get("train")
    figures = manifest.figures if manifest else {}
    facts = markup.facts({name: value for name, value in figures.items() if markup.is_plain(value)})
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
    parts = [markup.table(("policy", "success", "of", axis), rows, "policies")]
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
    return "".join([*parts, markup.bars(f"Why the {_policy(first)} failed", first.failures)])


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
        markup.table(("stage", "CPU time", "wall time", "peak memory"), rows, "numbers")
        if rows
        else ""
    )


def _reproduce(record: RunRecord) -> str:
    known = [name for name in ("run", *STAGES) if name in record.manifests]
    if not known:
        return ""
    commands = "\n".join(escape(record.manifests[name].command) for name in known)
    first = record.manifests[known[0]]
    return f"<pre><code>{commands}</code></pre>" + markup.facts(
        {"seed": first.seed} | first.versions
    )


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


def _video(record: RunRecord, file: str | None, caption: str, flags: str = "controls") -> str:
    return markup.film(record.image(f"evaluate/{file}") if file else None, caption, flags)
