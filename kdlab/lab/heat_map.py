"""A grid of results as a map: one cell per setting, its number, and a mark for its verdict."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, TwoSlopeNorm
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from kdlab.lab.theme import COLORS, GREY, house_style, new_figure

__all__ = ["MARKS", "HeatMap", "heat_map"]

MARKS = {"better": "▲", "worse": "▼", "cannot tell": "○"}
"""What stands under the number for each verdict: a shape, never a colour alone."""

_COLORS = LinearSegmentedColormap.from_list("worse to better", [COLORS["vermillion"], "#F7F7F7", COLORS["blue"]])
_LEGEND = "▲ better   ▼ worse   ○ cannot tell   hatched: not yet"

Values = Sequence[Sequence[float]] | np.ndarray
Verdicts = Sequence[Sequence[str | None]]


def heat_map(
    values: Values,
    rows: Sequence[Any],
    columns: Sequence[Any],
    *,
    row_label: str,
    column_label: str,
    value_label: str,
    vmin: float,
    vmax: float,
    verdicts: Verdicts | None = None,
    baseline: float | None = None,
    decimals: int = 1,
    signed: bool = False,
) -> Figure:
    """Draw a grid of values, each cell with its number and, where there is one, the mark of its verdict.

    Colours run from vermillion through near white to blue, which colour-blind readers tell apart; the middle is the
    baseline, and the range is fixed, so that two maps side by side can be compared. Values beyond it get the last
    colour and keep their number. The number alone says everything; the colour only helps to find it.

    Args:
        values: shape ``(R, C)``; NaN means not yet, and the cell is hatched.
        rows: R names, from top to bottom.
        columns: C names, from left to right.
        row_label: what the rows are.
        column_label: what the columns are.
        value_label: what the values are, with unit.
        vmin: value of the last colour on the worse side.
        vmax: value of the last colour on the better side.
        verdicts: "better", "worse", "cannot tell" or ``None`` per cell, shape ``(R, C)``.
        baseline: value of the middle colour; halfway between ``vmin`` and ``vmax`` by default.
        decimals: of the numbers.
        signed: write ``+`` before positive numbers, for differences.

    Raises:
        ValueError: shapes that do not match, a range that is not one, a verdict that is none, an infinite value.

    Example:
        >>> figure = heat_map([[1.5, float("nan")]], [4], [0.1, 0.9], row_label="T", column_label="α",
        ...                   value_label="points", vmin=-5, vmax=5, verdicts=[["better", None]])
        >>> figure.axes[0].texts[0].get_text().split()
        ['1.5', '▲']
    """
    picture = HeatMap(
        rows,
        columns,
        row_label=row_label,
        column_label=column_label,
        value_label=value_label,
        vmin=vmin,
        vmax=vmax,
        marked=verdicts is not None,
        baseline=baseline,
        decimals=decimals,
        signed=signed,
    )
    picture.show(values, verdicts)
    return picture.figure


class HeatMap:
    """The figure of :func:`heat_map`, to be filled in bit by bit: axes stay, cells change in place.

    Arguments as there; ``marked`` reserves the line that explains the marks.

    Attributes:
        figure: the matplotlib figure.
        moving: the artists that :meth:`show` changes; the rest is background.
    """

    def __init__(
        self,
        rows: Sequence[Any],
        columns: Sequence[Any],
        *,
        row_label: str,
        column_label: str,
        value_label: str,
        vmin: float,
        vmax: float,
        marked: bool = True,
        baseline: float | None = None,
        decimals: int = 1,
        signed: bool = False,
    ) -> None:
        if not len(rows) or not len(columns):
            raise ValueError(f"a map needs at least one row and one column, got {len(rows)} and {len(columns)}")
        self.shape = len(rows), len(columns)
        middle = (vmin + vmax) / 2 if baseline is None else baseline
        self._norm, self._scale = _norm(vmin, middle, vmax), (vmin, middle, vmax)
        self._number = f"{{:{'+' if signed else ''}.{decimals}f}}"
        with house_style():
            height = 1.5 + 0.46 * max(2, len(rows))  # inches: a cell holds two lines
            self.figure, axes = new_figure(width=6.6, height=height)
            self._dress(axes, rows, columns, row_label, column_label, marked)
            self._add_scale(axes, value_label)
            places = [(row, column) for row in range(len(rows)) for column in range(len(columns))]
            self._cells = [axes.add_patch(_cell(row, column)) for row, column in places]
            self._texts = [_number(axes, row, column) for row, column in places]
        self.moving: list[Artist] = [*self._cells, *self._texts]

    def _dress(
        self, axes: Axes, rows: Sequence[Any], columns: Sequence[Any], row_label: str, column_label: str, marked: bool
    ) -> None:
        axes.set(
            xlim=(-0.5, len(columns) - 0.5),
            ylim=(len(rows) - 0.5, -0.5),
            xlabel=column_label,
            ylabel=row_label,
            xticks=range(len(columns)),
            yticks=range(len(rows)),
            xticklabels=[_name(one) for one in columns],
            yticklabels=[_name(one) for one in rows],
        )
        axes.grid(visible=False)
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        if marked:
            axes.set_title(_LEGEND, fontsize=9)

    def _add_scale(self, axes: Axes, value_label: str) -> None:
        bar = self.figure.colorbar(ScalarMappable(self._norm, _COLORS), ax=axes, extend="both", pad=0.03, aspect=14)
        bar.set_ticks(list(self._scale), labels=[self._text(value) for value in self._scale])
        bar.minorticks_off()
        bar.set_label(textwrap.fill(value_label, 28))
        bar.outline.set_visible(False)

    def show(self, values: Values, verdicts: Verdicts | None = None) -> None:
        """Put numbers, colours and marks into the cells; arguments and errors as :func:`heat_map`."""
        table = np.asarray(values, dtype=float)
        if table.shape != self.shape:
            raise ValueError(f"values must have shape {self.shape}, one per row and column, got {table.shape}")
        if np.isinf(table).any():
            raise ValueError("values must be finite, or NaN for a cell that is not there yet, got an infinite one")
        marks = _marks(verdicts, self.shape)
        for cell, text, value, mark in zip(self._cells, self._texts, table.flat, marks, strict=True):
            self._fill(cell, text, float(value), mark)

    def _fill(self, cell: Rectangle, text: Any, value: float, mark: str) -> None:
        empty = math.isnan(value)
        color = "white" if empty else _COLORS(self._norm(value))
        cell.set_facecolor(color)
        cell.set_hatch("////" if empty else "")
        text.set_text("" if empty else self._text(value) + (f"\n{mark}" if mark else ""))
        text.set_color("black" if empty else _readable_on(color))

    def _text(self, value: float) -> str:
        text = self._number.format(value)
        if not text.strip("+-0."):  # what rounds to zero has no sign
            return text.lstrip("+-")
        return text.replace("-", "\N{MINUS SIGN}")


def _norm(vmin: float, middle: float, vmax: float) -> TwoSlopeNorm:
    if not all(map(math.isfinite, (vmin, middle, vmax))) or not vmin < middle < vmax:
        raise ValueError(f"vmin < baseline < vmax must hold, got {vmin}, {middle}, {vmax}")
    return TwoSlopeNorm(vcenter=middle, vmin=vmin, vmax=vmax)


def _marks(verdicts: Verdicts | None, shape: tuple[int, int]) -> list[str]:
    """One mark per cell, row by row; empty where there is no verdict."""
    if verdicts is None:
        return [""] * (shape[0] * shape[1])
    if len(verdicts) != shape[0] or any(len(row) != shape[1] for row in verdicts):
        raise ValueError(f"verdicts must have the shape of the values, {shape}, got {[len(row) for row in verdicts]}")
    flat = [verdict for row in verdicts for verdict in row]
    unknown = [verdict for verdict in flat if verdict is not None and verdict not in MARKS]
    if unknown:
        raise ValueError(f"a verdict must be one of {list(MARKS)} or None, got {unknown[0]!r}")
    return ["" if verdict is None else MARKS[verdict] for verdict in flat]


def _cell(row: int, column: int) -> Rectangle:
    return Rectangle((column - 0.47, row - 0.46), 0.94, 0.92, edgecolor=GREY, linewidth=0.6)


def _number(axes: Axes, row: int, column: int) -> Any:
    return axes.text(column, row, "", ha="center", va="center", fontsize=10, linespacing=1.05)


def _name(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _readable_on(color: Any) -> str:
    """Black or white, whichever stands out more: at least 4.58 to 1 on any ground (WCAG asks for 4.5)."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in color[:3]]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return "black" if (luminance + 0.05) ** 2 > 0.05 * 1.05 else "white"
