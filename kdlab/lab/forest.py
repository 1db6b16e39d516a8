"""Many contrasts in one chart: a row each, grouped, with interval and verdict."""

from __future__ import annotations

from collections.abc import Mapping

from matplotlib.figure import Figure

from kdlab.experiments import Contrast
from kdlab.lab.heat_map import MARKS
from kdlab.lab.theme import COLORS, GREY, INK, house_style, new_figure

__all__ = ["forest_chart"]


@house_style()
def forest_chart(
    groups: Mapping[str, Mapping[str, Contrast]], *, xlabel: str, xlim: tuple[float, float] | None = None
) -> Figure:
    """Differences to a baseline as rows with their 95 % intervals, in groups that have a baseline each.

    Args:
        groups: title of each group to its arms and their :class:`kdlab.experiments.Contrast`, drawn in percentage
            points from top to bottom. A filled marker says that the verdict is "better" or "worse", a hollow one that
            nothing can be told; the number stands at the right, with the mark of its verdict.
        xlabel: what the differences are.
        xlim: fixed range in points; intervals beyond it end at its edge.

    Raises:
        ValueError: nothing to draw.
    """
    rows = sum(1 + len(arms) for arms in groups.values())
    if rows == 0:
        raise ValueError("groups is empty: there is nothing to draw")
    figure, axes = new_figure(height=0.8 + 0.25 * rows)
    color, row, ticks = COLORS["blue"], 0, {}
    for title, arms in groups.items():
        axes.text(-0.01, row, title, transform=axes.get_yaxis_transform(), ha="right", va="center", fontweight="bold")
        row += 1
        for name, contrast in arms.items():
            low, high = (100 * bound for bound in contrast.interval)
            axes.hlines(row, low, high, color=color)
            face = "white" if contrast.verdict == "cannot tell" else color
            axes.plot(100 * contrast.difference, row, "o", color=color, markerfacecolor=face, markersize=7, zorder=3)
            text = f"{100 * contrast.difference:+.1f} {MARKS[contrast.verdict]}".replace("-", "\N{MINUS SIGN}")
            axes.text(1.01, row, text, transform=axes.get_yaxis_transform(), ha="left", va="center", fontsize=9)
            ticks[row] = name
            row += 1
    axes.axvline(0, color=INK, linestyle=":", linewidth=1.2)
    axes.set_yticks(list(ticks), list(ticks.values()))
    axes.set(ylim=(rows - 0.4, -0.6), xlabel=xlabel)
    if xlim is not None:
        axes.set_xlim(xlim)
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", length=0, labelcolor=INK)
    axes.text(1.01, -0.6, "▲ better  ▼ worse  ○ cannot tell", transform=axes.get_yaxis_transform(),
              ha="right", va="bottom", fontsize=8, color=GREY)  # fmt: skip
    return figure
