"""Paired runs, seed by seed: what two ways to train gave from the same start."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from kdlab.lab.theme import GREY, SERIES, house_style, new_figure

__all__ = ["pair_panels"]


@house_style()
def pair_panels(
    panels: Mapping[str, Mapping[str, Sequence[float]]], *, xlabel: str, ylabel: str, ylim: tuple[float, float]
) -> Figure:
    """Panels side by side on one axis, in each a few arms seed by seed, the runs of one seed joined by a line.

    Args:
        panels: title to (arm to one value per seed); the same arms in every panel.
        xlabel: what the runs are numbered by.
        ylabel: what the values are, with unit.
        ylim: fixed range of the values.

    Raises:
        ValueError: panels with other arms, or arms with other numbers of runs.
    """
    names = [tuple(arms) for arms in panels.values()]
    lengths = {len(values) for arms in panels.values() for values in arms.values()}
    if not names or len(set(names)) != 1 or len(lengths) != 1:
        raise ValueError(f"every panel needs the same arms with the same number of runs, got {names} and {lengths}")
    figure, row = new_figure(1, len(panels), height=2.9, sharey=True, squeeze=False)
    for axes, (title, arms) in zip(row[0], panels.items(), strict=True):
        runs = list(zip(*arms.values(), strict=True))
        axes.vlines(range(len(runs)), [min(run) for run in runs], [max(run) for run in runs], color=GREY)
        for number, ((name, values), (color, marker, _)) in enumerate(zip(arms.items(), SERIES, strict=False)):
            hollow = {"markerfacecolor": "none", "markersize": 10, "markeredgewidth": 1.8} if number else {}
            axes.plot(range(len(runs)), values, marker, color=color, label=name, clip_on=False, zorder=3, **hollow)
        axes.set(xlim=(-0.5, len(runs) - 0.5), ylim=ylim, xlabel=xlabel, title=title)
        axes.set_xticks(range(len(runs)))
    row[0, 0].set_ylabel(ylabel)
    handles, labels = row[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels))
    return figure
