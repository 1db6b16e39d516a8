"""What a sweep lab says in words and in a table (HTML that follows JupyterLab's theme)."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from kdlab.experiments import MINIMUM_SEEDS
from kdlab.lab.lab_words import INK_STYLE

if TYPE_CHECKING:
    from kdlab.lab.sweep_lab import SweepLab
    from kdlab.sweep import Setting

__all__ = ["described", "heading", "numbers", "standing", "terms"]

_RULE = "1px solid var(--jp-border-color2,#ccc)"
_CELL = "padding:2px 8px;text-align:right;white-space:nowrap"


def terms(lab: SweepLab) -> str:
    """What a cell is, and what it is compared with."""
    return (
        f"Each cell trains one student per seed at its {lab.row_name} and {lab.column_name}. Its number is the mean "
        f"{lab.measure} minus that of {lab.baseline_name} on the same seeds, in percentage points. A verdict (▲ ▼ ○) "
        f"needs {MINIMUM_SEEDS} seeds and is corrected for the {len(lab.settings)} cells by Holm. Decide how many "
        "seeds before you look: the best of many cells is flattered by having been picked."
    )


def heading(lab: SweepLab) -> str:
    """Which map, and how far it is."""
    counts = list(lab.counts().values())
    low, high = min(counts), max(counts)
    each = f"{_seeds(low)} each" if low == high else f"{low} to {_seeds(high)} each"
    name = f"{lab.choice}: " if lab.choice else ""
    level = "" if math.isnan(lab.level) else f", {lab.baseline_name} at {lab.level:.1%}"
    return f"{name}{len(counts)} cells, {each if high else 'none run yet'}{level}."


def standing(lab: SweepLab) -> str:
    """Which cells are better, worse or undecided so far, or why nobody can tell."""
    found, seeds = lab.contrasts(), len(lab.sweep().seeds)
    if not found:
        if seeds >= MINIMUM_SEEDS:
            return f"No cell has all its {seeds} seeds yet, so no verdict so far."
        return f"With fewer than {MINIMUM_SEEDS} seeds no verdict is possible."
    groups: dict[str, list[Setting]] = {"better": [], "worse": [], "cannot tell": []}
    for setting, contrast in found.items():
        groups[contrast.verdict].append(setting)
    parts = [f"{verdict} in {len(cells)}" + (f" ({_named(lab, cells)})" if cells and verdict != "cannot tell" else "")
             for verdict, cells in groups.items()]  # fmt: skip
    state = "Verdicts" if len(found) == len(lab.settings) else "Verdicts so far"
    return f"{state}: {', '.join(parts)}, of {len(found)} cells with {seeds} seeds."


def described(lab: SweepLab) -> str:
    """The picture in words, with all its numbers: its alt text."""
    verdicts = {setting: contrast.verdict for setting, contrast in lab.contrasts().items()}
    cells = {setting: _told(value, verdicts.get(setting)) for setting, value in lab.differences().items()}
    lines = [
        f"{lab.row_name} {row}: {', '.join(texts)}"
        for row, texts in zip(lab.rows, lab.table(cells, ""), strict=True)
        if any(text != "not yet" for text in texts)
    ]
    across = ", ".join(map(str, lab.columns))
    start = f"Heat map of {lab.measure} minus {lab.baseline_name} in points. {heading(lab)}"
    if not lines:
        return f"{start} Rows {lab.row_name} {', '.join(map(str, lab.rows))}; columns {lab.column_name} {across}."
    return f"{start} From left to right {lab.column_name} {across}. {'; '.join(lines)}."


def numbers(lab: SweepLab) -> str:
    """The map as a table that can be read and copied."""
    found, counts = lab.contrasts(), lab.counts()
    cells = {
        setting: "" if math.isnan(value) else _cell(value, counts[setting], found[setting].verdict if setting in found
                                                    else None)
        for setting, value in lab.differences().items()
    }  # fmt: skip
    corner = f"{lab.row_name} ↓ {lab.column_name} →"
    header = "".join(_header(text, "col") for text in (corner, *map(str, lab.columns)))
    body = "".join(_line(row, texts) for row, texts in zip(lab.rows, lab.table(cells, ""), strict=True))
    return (
        '<div style="overflow:auto" tabindex="0" role="region" aria-label="The map as a table">'
        f'<table class="kd-sweep-numbers" style="border-collapse:collapse;font-variant-numeric:tabular-nums;'
        f'{INK_STYLE}"><thead><tr>{header}</tr></thead><tbody>{body}</tbody></table></div>'
    )


def _line(row: object, texts: Sequence[str]) -> str:
    cells = "".join(f'<td style="{_CELL}">{html.escape(text)}</td>' for text in texts)
    return f"<tr>{_header(str(row), 'row')}{cells}</tr>"


def _header(text: str, scope: str) -> str:
    return f'<th scope="{scope}" style="{_CELL};border-bottom:{_RULE};font-weight:600">{html.escape(text)}</th>'


def _cell(value: float, count: int, verdict: str | None) -> str:
    return f"{_points(value)} ({_seeds(count)}{f', {verdict}' if verdict else ''})"


def _told(value: float, verdict: str | None) -> str:
    if math.isnan(value):
        return "not yet"
    return _points(value) + (f" {verdict}" if verdict else "")


def _named(lab: SweepLab, settings: Sequence[Setting]) -> str:
    """The cells, row by row: "temperature 4 with alpha 0.5, 0.9"."""
    rows: dict[object, list[str]] = {}
    for setting in settings:
        rows.setdefault(setting[lab.row_name], []).append(str(setting[lab.column_name]))
    return "; ".join(f"{lab.row_name} {row} with {lab.column_name} {', '.join(cells)}" for row, cells in rows.items())


def _seeds(count: int) -> str:
    return f"{count} seed{'' if count == 1 else 's'}"


def _points(value: float) -> str:
    text = f"{value:+.1f}"
    return "0.0" if not text.strip("+-0.") else text.replace("-", "\N{MINUS SIGN}")
