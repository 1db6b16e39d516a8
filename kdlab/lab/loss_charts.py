"""Charts of lesson 02: distributions fitted to a target, and which loss violates which property."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from kdlab.lab.theme import COLORS, GREY, INK, SERIES, house_style, new_figure

__all__ = ["fitted_curves", "property_matrix"]


@house_style()
def fitted_curves(
    x: Any, target: Any, fits: Mapping[str, Any], *, xlabel: str, ylabel: str, target_name: str
) -> Figure:
    """A target distribution as a grey area, and up to six distributions fitted to it as lines.

    Args:
        x: places, shape ``(K,)``.
        target: probabilities at the places, shape ``(K,)``.
        fits: name to probabilities of the same shape.
        xlabel: what the places are.
        ylabel: what the values are.
        target_name: for the legend.
    """
    figure, axes = new_figure(height=2.8)
    places, area = np.asarray(x), np.asarray(target)
    axes.fill_between(places, area, color=GREY, alpha=0.35, linewidth=0, label=target_name)
    for number, ((name, values), (color, marker, dash)) in enumerate(zip(fits.items(), SERIES, strict=False)):
        every = (3 * number, 14)  # sparse and staggered marks, so that lines stay lines
        options = {"marker": marker, "markevery": every, "markersize": 5, "linestyle": dash}
        axes.plot(places, np.asarray(values), color=color, label=name, **options)
    axes.set(xlim=(places[0], places[-1]), ylim=(0, None), xlabel=xlabel, ylabel=ylabel)
    axes.legend(loc="upper right")
    return figure


@house_style()
def property_matrix(violated: Mapping[str, Sequence[str]], properties: Sequence[str]) -> Figure:
    """Which loss violates which property: a cross where it does, a small dot where the property holds.

    Args:
        violated: name of a loss to the properties that it violates.
        properties: the rows, from top to bottom; names with underscores.
    """
    figure, axes = new_figure(width=7.2, height=0.8 + 0.235 * len(properties))
    for column, names in enumerate(violated.values()):
        bad = [row for row, name in enumerate(properties) if name in set(names)]
        good = [row for row, name in enumerate(properties) if name not in set(names)]
        axes.plot([column] * len(good), good, "o", color=GREY, markersize=3)
        axes.plot([column] * len(bad), bad, "X", color=COLORS["vermillion"], markersize=9, markeredgecolor="white")
    axes.set(xlim=(-0.6, len(violated) - 0.4), ylim=(len(properties) - 0.4, -0.6))
    axes.set_xticks(range(len(violated)), list(violated), color=INK, fontsize=10, fontweight="bold")
    axes.set_yticks(range(len(properties)), [name.replace("_", " ") for name in properties])
    axes.xaxis.tick_top()
    axes.tick_params(length=0)
    axes.grid(visible=True)
    axes.spines[:].set_visible(False)
    return figure
