"""The web page of a generated dataset: what was kept, what failed and why, where it all started."""

from html import escape

from roboloop.interval import percent, wilson
from roboloop.report import markup
from roboloop.report.attempts import FAILURES, Attempts
from roboloop.scatter import SUCCEEDED, scatter, start_panels

N_NAMED = 12
"""Attempts of a cause that are named; the others are in the table."""
_FIGURES = {
    "frames": "frames",
    "starts_covered": "starts tried that are covered, share",
    "start_bias": "bias of the starts, 0 to 1",
    "to_nearest": "path to the nearest other one, m",
    "to_source": "path to the nearest source, m",
    "entropy_bits": "entropy of the hand's places, bits",
}
"""Figures of the manifest, in a reader's words."""


def render_dataset(attempts: Attempts) -> str:
    """Write the page of a dataset: self-contained HTML that needs neither network nor script."""
    sections = "".join(
        f'<section id="{name}"><header><p class="number">{number}</p><h2>{heading}</h2></header>'
        f"<div>{body}</div></section>\n"
        for number, (name, heading, body) in enumerate(
            (
                ("kept", "Kept", _kept(attempts)),
                ("failed", "Failed", _failures(attempts)),
                ("starts", "Starts", _starts(attempts)),
                ("reproduce", "Reproduce", _reproduce(attempts)),
            ),
            start=1,
        )
    )
    return markup.whole_page(attempts.instruction, f"{_head(attempts)}\n{sections}")


def _failures(attempts: Attempts) -> str:
    failed = attempts.failed
    if not failed:
        return "<p>No attempt failed.</p>"
    counts = {cause: len(members) for cause, members in failed.items()}
    parts = [markup.bars(f"{sum(counts.values()):,} of {len(attempts.causes):,} attempts", counts)]
    for cause, members in failed.items():
        picture = None
        for attempt in members:
            picture = picture or attempts.file(f"{FAILURES}/{attempt:06d}.png")
        which = ", ".join(map(str, members[:N_NAMED]))
        more = f" and {len(members) - N_NAMED:,} more" if len(members) > N_NAMED else ""
        attempt = int(picture.stem) if picture else members[0]
        command = escape(attempts.command_of(attempt))
        parts += [f'<h3 class="cause">{escape(cause)}</h3>']
        parts += [markup.image(picture, f"Attempt {attempt}: {cause}")]
        parts += [f'<p class="note">attempts {which}{more}</p><pre><code>{command}</code></pre>']
    if not any(attempts.folder.glob(f"{FAILURES}/*.png")):
        note = "The command of the dataset with <code>--failures</code> draws one of each cause."
        parts += [f'<p class="note">{note}</p>']
    return "".join(parts)


def draw_starts(attempts: Attempts) -> str:
    """Draw where things stood, by what came of the attempt; empty where nothing moves."""
    outcomes = [cause or SUCCEEDED for cause in attempts.causes]
    drawing = scatter(start_panels(attempts.starts), outcomes)
    return f"<figure>{drawing}</figure>" if drawing else ""


def _starts(attempts: Attempts) -> str:
    figures = attempts.manifest.figures
    weak = figures.get("weak_starts")
    parts = [draw_starts(attempts) or "<p>Nothing moves at the start.</p>"]
    parts += [markup.facts({said: figures[n] for n, said in _FIGURES.items() if n in figures})]
    parts += [f'<p class="note">Weak where {escape(str(weak))}.</p>'] if weak else []
    return "".join(parts)


def _head(attempts: Attempts) -> str:
    n, good = len(attempts.causes), attempts.causes.count("")
    low, high = (100 * bound for bound in wilson(good, n))
    rate = percent(good, n).partition(" [")[0].replace(" ", "\N{NO-BREAK SPACE}")
    words = f"{good:,} of {n:,} attempts, 95 % interval {low:.0f} to {high:.0f} %"
    parts = f'<p class="kicker">roboloop generate</p><h1>{escape(attempts.instruction)}</h1>'
    parts += f'<p class="headline"><b>{rate}</b><span>of what was tried succeeded<br>{words}'
    parts += f"<br>{attempts.n_kept:,} are the dataset's episodes</span></p>"
    film = markup.film(attempts.file("preview.mp4"), "", "autoplay")
    return f'<header class="head">{f"<div>{parts}</div>{film}" if film else parts}</header>'


def _kept(attempts: Attempts) -> str:
    if not attempts.n_kept:
        return "<p>Nothing: too few attempts succeeded, and no dataset was written.</p>"
    sheet = attempts.file("preview.png")
    caption = "The first, the middle and the last episode, all cameras, evenly in time"
    picture = markup.image(sheet, caption) if sheet else '<p class="missing">No pictures.</p>'
    look = f"roboloop show {escape(str(attempts.folder.name))} --n 6"
    return f"{picture}<pre><code>{look}</code></pre>"


def _reproduce(attempts: Attempts) -> str:
    manifest = attempts.manifest
    facts = {"seed": manifest.seed, "CPU s": manifest.cost.cpu_s, "wall s": manifest.cost.wall_s}
    facts |= {"peak memory, MiB": manifest.cost.peak_rss_mib} | manifest.versions
    return f"<pre><code>{escape(manifest.command)}</code></pre>" + markup.facts(facts)
