"""The look of every figure: one palette, one size, one way to make a figure.

Colours are those of Okabe and Ito (2008), chosen to stay apart for colour-blind readers; a figure
never relies on colour alone (marker, dash, hatch or a direct label says the same). Figures are
drawn on a white card in both of JupyterLab's themes, and never through pyplot, so that nothing
leaks and nothing is shown twice.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

__all__ = ["COLORS", "GREY", "INK", "SERIES", "house_style", "new_figure"]

COLORS = {
    "blue": "#0072B2",
    "orange": "#E69F00",
    "green": "#009E73",
    "vermillion": "#D55E00",
    "purple": "#CC79A7",
    "sky": "#56B4E9",
}
"""Okabe-Ito without yellow and black, which fail on a white or a dark ground."""

INK = "#222222"
GREY = "#8A8A8A"

SERIES = tuple(
    zip(
        (COLORS[name] for name in ("blue", "vermillion", "green", "purple", "orange", "sky")),
        ("o", "s", "^", "D", "v", "P"),
        ("-", "--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1))),
        strict=True,
    )
)
"""(colour, marker, line style) for the first six series of a chart: three cues, never one."""

_STYLE: Any = {
    "figure.facecolor": "white",
    "figure.dpi": 110,
    "axes.facecolor": "white",
    "axes.edgecolor": "#B0B0B0",
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "axes.labelsize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#E6E6E6",
    "grid.linewidth": 0.8,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "text.color": INK,
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "legend.fontsize": 9,
    "legend.frameon": False,
    "lines.linewidth": 2.0,
    "lines.markersize": 6,
}


@contextmanager
def house_style() -> Iterator[None]:
    """Apply the course's matplotlib settings inside a ``with`` block, or a function it decorates, and nowhere else.

    matplotlib reads titles' places, legends' frames and line widths when those are added, so a function that draws
    wants the style around all of it, not around :func:`new_figure` alone.
    """
    with mpl.rc_context(_STYLE):
        yield


def new_figure(
    rows: int = 1, columns: int = 1, *, width: float = 7.2, height: float = 3.0, **subplots: Any
) -> tuple[Figure, Any]:
    """Make a figure in the house style, with its own Agg canvas and no pyplot state.

    Args:
        rows: rows of axes.
        columns: columns of axes.
        width: in inches.
        height: in inches.
        **subplots: passed to ``Figure.subplots`` (``sharey=True``, ``width_ratios=...``).

    Returns:
        The figure and its axes: one ``Axes`` for a single cell, else an array of them.
    """
    with house_style():
        figure = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasAgg(figure)
        axes: Axes | Any = figure.subplots(rows, columns, **subplots)
    return figure, axes
