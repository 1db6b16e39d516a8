"""What a distillation lab says in words and tables (HTML that follows JupyterLab's theme)."""

from __future__ import annotations

import html
from collections.abc import Sequence

from kdlab.lab.pairs import Summary, Try, summarize

__all__ = ["INK_STYLE", "outcome", "paragraph", "standing", "tables"]

INK_STYLE = "color:var(--jp-content-font-color1,#222);line-height:1.45;overflow-wrap:anywhere"

_RULE = "1px solid var(--jp-border-color2,#ccc)"
_CELL = "padding:2px 6px;text-align:right;white-space:nowrap"
_SETTINGS_HEADER = ("T", "α", "labels", "tries", "mean", "95 % interval", "verdict")
_TRIES_HEADER = ("try", "T", "α", "labels", "seed", "labels only", "with teacher", "difference")


def paragraph(words: str) -> str:
    """A paragraph of plain text in the theme's colours."""
    return f'<div style="{INK_STYLE};max-width:880px">{html.escape(words)}</div>'


def outcome(one: Try) -> str:
    """Both accuracies of one try."""
    return f"{one.hard:.1%} with labels only and {one.soft:.1%} with the teacher"


def standing(summary: Summary) -> str:
    """How a setting stands: mean difference, then interval and verdict or what is missing for them."""
    mean = f"mean difference {_points(summary.mean)} points over {summary.n} {'try' if summary.n == 1 else 'tries'}"
    if summary.interval is None:
        return f"{mean}, {_missing(summary)}"
    return f"{mean}, 95 % interval {_interval(summary)}: {summary.verdict}"


def tables(tries: Sequence[Try]) -> str:
    """Two tables side by side: every setting with its verdict, and every try with the newest first."""
    if not tries:
        return paragraph("No tries yet. Press Run: it takes a second or two.")
    settings = [
        (f"{s.settings.temperature:g}", f"{s.settings.alpha:g}", f"{s.settings.labels:,}", str(s.n), _points(s.mean),
         _interval(s) if s.interval else "", s.verdict or _missing(s))
        for s in summarize(tries)
    ]  # fmt: skip
    every = [
        (str(t.number), f"{t.settings.temperature:g}", f"{t.settings.alpha:g}", f"{t.settings.labels:,}", str(t.seed),
         f"{t.hard:.1%}", f"{t.soft:.1%}", _points(t.difference))
        for t in reversed(tries)
    ]  # fmt: skip
    note = (
        "Differences are in percentage points, with the teacher minus labels only. Decide beforehand how many tries "
        "you will make: whoever stops at the first “better”, or picks the best of many settings, is fooled by chance."
    )
    return (
        '<div style="display:flex;flex-wrap:wrap;gap:4px 24px;align-items:flex-start">'
        + _table("kd-lab-settings", "By settings", _SETTINGS_HEADER, settings)
        + _table("kd-lab-tries", "Every try, newest first", _TRIES_HEADER, every)
        + f"</div>{paragraph(note)}"
    )


def _table(name: str, caption: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    style = f"{_CELL};border-bottom:{_RULE};font-weight:600"
    head = "".join(f'<th scope="col" style="{style}">{cell}</th>' for cell in header)
    body = "".join(
        f'<tr><th scope="row" style="{_CELL};font-weight:normal">{row[0]}</th>'
        + "".join(f'<td style="{_CELL}">{html.escape(cell)}</td>' for cell in row[1:])
        + "</tr>"
        for row in rows
    )
    return (
        f'<div style="max-height:260px;overflow:auto" tabindex="0" role="region" aria-label="{html.escape(caption)}">'
        f'<table class="{name}" style="border-collapse:collapse;font-variant-numeric:tabular-nums;{INK_STYLE}">'
        f'<caption style="text-align:left;font-weight:600;padding:2px 6px">{html.escape(caption)}</caption>'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _points(difference: float) -> str:
    return f"{100 * difference:+.1f}".replace("-", "\N{MINUS SIGN}")


def _interval(summary: Summary) -> str:
    assert summary.interval is not None
    low, high = summary.interval
    return f"{_points(low)} to {_points(high)}"


def _missing(summary: Summary) -> str:
    return f"{summary.missing} more for an interval"
