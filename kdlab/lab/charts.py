"""The charts that lessons draw again and again: numbers in, a figure out, no side effects.

Each returns a :class:`matplotlib.figure.Figure` for :func:`kdlab.lab.show`, which wants an alt text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from kdlab.experiments import Contrast
from kdlab.lab.theme import COLORS, GREY, INK, SERIES, house_style, new_figure
from kdlab.measure import ReliabilityBin

__all__ = [
    "compare_points",
    "interval_chart",
    "line_panels",
    "null_distribution",
    "ratio_bars",
    "reliability_diagram",
    "soft_label_gallery",
]


@house_style()
def compare_points(
    groups: Mapping[str, Sequence[float]], ticks: Sequence[Any], *, xlabel: str, ylabel: str, ylim: tuple[float, float]
) -> Figure:
    """Up to six groups of points over the same categories, joined by a line per category.

    Args:
        groups: name to one value per tick.
        ticks: the categories' labels.
        xlabel: what the categories are.
        ylabel: what the values are, with unit.
        ylim: fixed range of the values.
    """
    figure, axes = new_figure(height=2.6)
    places = range(len(ticks))
    columns = list(zip(*groups.values(), strict=True))
    first = next(iter(groups))  # filled; the others are frames around it, so that equal values show as both
    axes.vlines(places, [min(c) for c in columns], [max(c) for c in columns], color=GREY)
    for (name, values), (color, marker, _) in zip(groups.items(), SERIES, strict=False):
        hollow = {"markerfacecolor": "none", "markersize": 10, "markeredgewidth": 1.8} if name != first else {}
        axes.plot(places, values, marker, color=color, label=name, clip_on=False, zorder=3, **hollow)
    axes.set(xlim=(-0.5, len(ticks) + 0.5), ylim=ylim, xlabel=xlabel, ylabel=ylabel)
    axes.set_xticks(places, [str(tick) for tick in ticks])
    axes.legend(loc="upper right")
    return figure


@house_style()
def interval_chart(contrasts: Mapping[str, Contrast], *, xlabel: str, ylabel: str) -> Figure:
    """Differences to the baseline with their 95 % intervals, one per arm, and the line of no difference.

    Args:
        contrasts: arm to :class:`kdlab.experiments.Contrast`; drawn in percentage points. A filled marker says that the
            verdict is "better" or "worse", a hollow one that nothing can be told.
        xlabel: what the arms are.
        ylabel: what the differences are, in points.
    """
    figure, axes = new_figure(height=2.7)
    color = COLORS["blue"]
    for place, contrast in enumerate(contrasts.values()):
        low, high = (100 * bound for bound in contrast.interval)
        axes.vlines(place, low, high, color=color)
        face = "white" if contrast.verdict == "cannot tell" else color
        axes.plot(place, 100 * contrast.difference, "o", color=color, markerfacecolor=face, markersize=8)
    axes.axhline(0, color=INK, linestyle=":")
    axes.text(len(contrasts) - 0.55, 0, "no difference", ha="right", va="bottom", fontsize=9)
    axes.set(xlim=(-0.5, len(contrasts) - 0.5), xlabel=xlabel, ylabel=ylabel)
    axes.set_xticks(range(len(contrasts)), list(contrasts))
    return figure


@house_style()
def soft_label_gallery(images: Any, titles: Sequence[str], groups: Mapping[str, Any]) -> Figure:
    """A few images, each over the probabilities that one or two groups give its classes.

    Args:
        images: shape ``(n, H, W)``, n up to about five.
        titles: one per image.
        groups: name to probabilities of shape ``(n, K)``, at most two groups.
    """
    classes = range(len(next(iter(groups.values()))[0]))
    width = 0.8 / len(groups)
    figure, axes = new_figure(2, len(titles), height=3.6, height_ratios=(1, 1.3), sharey="row", squeeze=False)
    for column, (image, title) in enumerate(zip(images, titles, strict=True)):
        axes[0, column].imshow(np.asarray(image), cmap="Greys")
        axes[0, column].set(title=title, xticks=[], yticks=[])
        for number, (name, color) in enumerate(zip(groups, (COLORS["orange"], COLORS["blue"]), strict=False)):
            places = [c + (number - (len(groups) - 1) / 2) * width for c in classes]
            hatch = "////" if number == 0 and len(groups) > 1 else None
            axes[1, column].bar(
                places, [float(p) for p in groups[name][column]], width, color=color, hatch=hatch, label=name
            )
        axes[1, column].set(xticks=classes, ylim=(0, 1), xlabel="class")
    axes[1, 0].set_ylabel("probability")
    axes[1, -1].legend()
    return figure


@house_style()
def line_panels(
    panels: Mapping[str, Mapping[str, tuple[Sequence[float], Sequence[float]]]],
    *,
    ylabel: str,
    ylim: tuple[float, float],
    xscale: str = "log",
    yscale: str = "linear",
    xticks: Sequence[float] | None = None,
) -> Figure:
    """Panels side by side with the same lines and the same y axis.

    Args:
        panels: x-axis label to (line name to its x and y values); the legend stands in the last panel.
        ylabel: what y is, with unit.
        ylim: fixed range of y.
        xscale: ``"log"`` or ``"linear"``.
        yscale: the same for y.
        xticks: where x is marked, with plain numbers; matplotlib's choice by default.
    """
    figure, row = new_figure(1, len(panels), height=2.7, sharey=True, squeeze=False)
    for axes, (xlabel, lines) in zip(row[0], panels.items(), strict=True):
        for (name, (x, y)), (color, marker, dash) in zip(lines.items(), SERIES, strict=False):
            axes.plot(x, y, color=color, marker=marker, linestyle=dash, markersize=4, label=name, clip_on=False)
        axes.set(xscale=xscale, yscale=yscale, ylim=ylim, xlabel=xlabel)
        if xticks is not None:
            axes.set_xticks(xticks, [f"{tick:g}" for tick in xticks])
            axes.set_xticks([], minor=True)
    row[0, 0].set_ylabel(ylabel)
    row[0, -1].legend()
    return figure


@house_style()
def ratio_bars(ratios: Mapping[str, float], *, xlabel: str, xlim: tuple[float, float]) -> Figure:
    """Ratios as bars that start at one, on a log scale: what is halved and what is doubled reach equally far.

    Args:
        ratios: name to a positive ratio, drawn from top to bottom with its number.
        xlabel: ratio of what to what.
        xlim: fixed range of the ratios.
    """
    figure, axes = new_figure(height=0.9 + 0.34 * len(ratios))
    for row, ratio in enumerate(ratios.values()):
        axes.barh(row, ratio - 1, left=1, height=0.6, color=COLORS["blue"])
        axes.text(max(ratio, 1) * 1.1, row, f"{ratio:,.1f}×" if ratio < 9.95 else f"{ratio:,.0f}×", va="center")
    axes.axvline(1, color=INK, linewidth=1)
    axes.set(xscale="log", xlim=xlim, ylim=(len(ratios) - 0.5, -0.5), xlabel=xlabel)
    axes.set_yticks(range(len(ratios)), list(ratios))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}×" if value >= 1 else f"{value:g}×")
    axes.minorticks_off()
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", length=0)
    return figure


@house_style()
def null_distribution(
    measured: float, shuffled: Sequence[float], *, chance: float, xlabel: str, xlim: tuple[float, float]
) -> Figure:
    """A measured value against what shuffling gives, with the value of a blind guess for scale."""
    figure, axes = new_figure(height=2.3)
    axes.hist(shuffled, bins=20, color=COLORS["sky"], edgecolor="white", label="shuffled")
    height = axes.get_ylim()[1]
    axes.axvline(measured, color=COLORS["vermillion"], linewidth=3)
    axes.text(measured, 0.9 * height, " measured", color=COLORS["vermillion"])
    axes.axvline(chance, color=INK, linestyle=":")
    axes.text(chance, 0.9 * height, " blind guess", color=INK)
    axes.set(xlim=xlim, xlabel=xlabel, ylabel="number of shuffles")
    return figure


@house_style()
def reliability_diagram(panels: Mapping[str, Sequence[ReliabilityBin]], *, least: int = 5) -> Figure:
    """Accuracy over confidence, a panel each, with the diagonal of a calibrated model.

    Args:
        panels: title to the bins of :func:`kdlab.measure.reliability`.
        least: bins with fewer predictions are left out; their accuracy is mostly chance.
    """
    figure, row = new_figure(1, len(panels), width=3.2 * len(panels), height=2.9, sharey=True, squeeze=False)
    for axes, (title, bins) in zip(row[0], panels.items(), strict=True):
        kept = [group for group in bins if group.count >= least]
        axes.plot([0, 1], [0, 1], color=GREY, linestyle=":")
        axes.plot([g.confidence for g in kept], [g.accuracy for g in kept], "o-", color=COLORS["blue"], clip_on=False)
        axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="confidence", title=title)
    row[0, 0].set_ylabel("share that is right")
    return figure
