"""The still of the pruning panel and its table, for pages where nothing moves."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from kdlab.lab import pruning_twin as twin
from kdlab.lab.pruning_twin import DECIMALS, SPARSITIES, PruningState
from kdlab.lab.theme import COLORS, GREY, INK, SERIES, house_style, new_figure
from kdlab.lab.twins import count_text, fixed_text, percent_text

__all__ = ["PruningCase", "full_colour", "still", "table"]

_UNIT = 10**DECIMALS
_FULL = 0.99  # the magnitude of this quantile of a layer is in full colour
_SIGNED = LinearSegmentedColormap.from_list("signed", [COLORS["vermillion"], "#E6E6E6", COLORS["blue"]])


@dataclass(frozen=True)
class PruningCase:
    """What the panel was given, checked and rounded, and where it starts.

    Attributes:
        weights: layer name to whole numbers of ``10 ** -DECIMALS``, shape (out, inputs).
        accuracies: scope to kind to shares, one for each of ``SPARSITIES``.
        files: scope to format to bytes, likewise.
        latency: what was timed to (dense time / this time), likewise.
        step: index into ``SPARSITIES``.
        layer: the one looked at.
        scope: one of ``SCOPES``.
    """

    weights: dict[str, NDArray[np.int64]]
    accuracies: dict[str, dict[str, list[float]]]
    files: dict[str, dict[str, list[int]]]
    latency: dict[str, list[float]]
    step: int
    layer: str
    scope: str

    @property
    def state(self) -> PruningState:
        """What is left where the panel starts."""
        return twin.pruning_state(self.weights, SPARSITIES[self.step], self.scope)

    @property
    def words(self) -> str:
        """The sentence where the panel starts."""
        files = self.files[self.scope]
        return twin.pruning_summary(self.state, self.layer, self.accuracies[self.scope], files, self.latency)


def still(case: PruningCase) -> Figure:
    """Weights, histogram, what is left of each layer, accuracy and bytes."""
    state = case.state
    with house_style():
        figure, grid = new_figure(2, 6, width=8.6, height=5.4, height_ratios=[1, 1.1])
        places = grid[0, 0].get_gridspec()
        for spare in grid.ravel():
            spare.remove()
        title = (
            f"Sparsity {twin.sparsity_text(state.sparsity)}, {case.scope}: {count_text(sum(state.left.values()))} of "
            f"{count_text(sum(state.sizes.values()))} weights left"
        )
        figure.suptitle(title, x=0.01, ha="left", fontsize=11)
        values = case.weights[case.layer]
        _draw_weights(figure.add_subplot(places[0, :3]), values, state, case.layer)
        _draw_histogram(figure.add_subplot(places[0, 3:]), values, state, case.layer)
        _draw_left(figure.add_subplot(places[1, :2]), state)
        _draw_accuracy(figure.add_subplot(places[1, 2:4]), case.accuracies[case.scope], case.step)
        _draw_files(figure.add_subplot(places[1, 4:]), case)
    return figure


def table(case: PruningCase) -> str:
    """Every sparsity in numbers, at the scope where the panel starts."""
    curves, files = case.accuracies[case.scope], case.files[case.scope]
    states = [twin.pruning_state(case.weights, sparsity, case.scope) for sparsity in SPARSITIES]
    head = ["sparsity", *(f"left in {name}" for name in case.weights), *(f"right, {kind}" for kind in curves)]
    head += [*(f"bytes, {name}" for name in files), *(f"times faster on {name}" for name in case.latency)]
    rows = [
        [
            twin.sparsity_text(state.sparsity),
            *(count_text(number) for number in state.left.values()),
            *(percent_text(shares[i]) for shares in curves.values()),
            *(count_text(sizes[i]) for sizes in files.values()),
            *(fixed_text(times[i], 2) for times in case.latency.values()),
        ]
        for i, state in enumerate(states)
    ]
    header = "".join(f'<th scope="col">{html.escape(cell)}</th>' for cell in head)
    body = "".join(
        f'<tr><th scope="row">{cells[0]}</th>' + "".join(f"<td>{cell}</td>" for cell in cells[1:]) + "</tr>"
        for cells in rows
    )
    return (
        f"<details><summary>The same in numbers, for every sparsity, {case.scope}</summary>"
        f"<table><thead><tr>{header}</tr></thead><tbody>{body}</tbody></table></details>"
    )


def full_colour(values: NDArray[np.int64]) -> int:
    """The magnitude that is drawn in full colour: few of a layer are larger."""
    return max(1, int(np.quantile(np.abs(values), _FULL, method="lower")))


def _draw_weights(axes: Axes, values: NDArray[np.int64], state: PruningState, name: str) -> None:
    full = full_colour(values)
    axes.imshow(
        np.ma.masked_where(~state.kept[name], values),
        cmap=_SIGNED,
        vmin=-full,
        vmax=full,
        aspect="auto",
        interpolation="nearest",
    )
    axes.set(xticks=[], yticks=[], xlabel=f"{values.shape[1]} inputs of each", ylabel=f"{values.shape[0]} outputs")
    axes.set_title(f"{_short(name)}: {count_text(state.left[name])} of {count_text(state.sizes[name])} left")
    axes.grid(visible=False)


def _draw_histogram(axes: Axes, values: NDArray[np.int64], state: PruningState, name: str) -> None:
    every, left = twin.histogram(values, state.kept[name])
    largest = max(1, int(np.abs(values).max())) / _UNIT
    edges = np.linspace(-largest, largest, len(every) + 1)
    width = edges[1] - edges[0]
    axes.bar(edges[:-1], left, width=width, align="edge", color=COLORS["blue"], label="stays")
    axes.bar(
        edges[:-1],
        every - left,
        bottom=left,
        width=width,
        align="edge",
        fill=False,
        edgecolor=GREY,
        linewidth=0.7,
        label="goes",
    )
    threshold = state.thresholds[name]
    if threshold is not None and threshold < largest:
        for side in (-1, 1):
            axes.axvline(side * threshold, color=COLORS["vermillion"], linestyle="--", linewidth=1.2)
    axes.set(xlabel="value of a weight", ylabel="weights", xlim=(-largest, largest))
    axes.set_title(f"Its weights by value: {twin.threshold_text(threshold)}")
    axes.legend(handles=[Patch(color=COLORS["blue"]), Patch(fill=False, edgecolor=GREY)], labels=["stays", "goes"])


def _draw_left(axes: Axes, state: PruningState) -> None:
    rows = range(len(state.left))
    axes.barh(rows, [state.left[name] / state.sizes[name] for name in state.left], height=0.6, color=COLORS["blue"])
    axes.axvline(state.share_left, color=INK, linestyle=":", linewidth=1.4)
    axes.set_yticks(rows, [_short(name) for name in state.left])
    axes.set_xticks([0, 0.5, 1], ["0 %", "50 %", "100 %"])
    axes.set(xlim=(0, 1), ylim=(len(rows) - 0.5, -0.5), xlabel="left; dotted: of all")
    axes.set_title("Left of each layer")
    axes.grid(visible=False, axis="y")


def _draw_accuracy(axes: Axes, curves: Mapping[str, Sequence[float]], step: int) -> None:
    places = [-math.log10(1 - sparsity) for sparsity in SPARSITIES]
    for (name, shares), (colour, marker, dash) in zip(curves.items(), SERIES[:3], strict=False):
        style: dict[str, Any] = {
            "color": colour,
            "linestyle": dash,
            "marker": marker,
            "markevery": [step],
            "markersize": 8,
        }
        axes.plot(places, shares, label=_short(name, 26), markeredgecolor="white", **style)
    shown = [0.0, 0.5, 0.8, 0.9, 0.95, 0.99]
    axes.set_xticks(
        [-math.log10(1 - sparsity) for sparsity in shown], [str(round(100 * sparsity)) for sparsity in shown]
    )
    axes.set_yticks([0, 0.5, 1], ["0 %", "50 %", "100 %"])
    axes.set(ylim=(0, 1.03), xlabel="sparsity in %, log scale")
    axes.set_title("Share right")
    axes.legend(loc="upper left", bbox_to_anchor=(-0.1, -0.2), fontsize=8, handlelength=2.6)


def _draw_files(axes: Axes, case: PruningCase) -> None:
    files, whole = case.files[case.scope], case.files["global"]["dense"][0]
    rows = range(len(files))
    written = [values[case.step] for values in files.values()]
    dense = files["dense"][case.step]
    most = max(value for entry in case.files.values() for values in entry.values() for value in values)
    for row, value in zip(rows, written, strict=True):
        larger = value > dense
        axes.barh(
            row, value, height=0.6, color=COLORS["vermillion" if larger else "blue"], hatch="//" if larger else None
        )
        axes.text(0.02 * most, row - 0.42, count_text(value) + (", larger than dense" if larger else ""), fontsize=8)
    axes.axvline(whole, color=INK, linestyle=":", linewidth=1.4)
    axes.set_yticks(rows, [_short(name) for name in files])
    axes.set(xlim=(0, 1.02 * most), ylim=(len(rows) - 0.5, -0.75), xlabel="bytes; dotted: unpruned")
    axes.xaxis.set_major_locator(MaxNLocator(3))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.set_title("The file")
    axes.grid(visible=False, axis="y")


def _short(name: str, length: int = 18) -> str:
    """A name as long as the picture has room for."""
    return name if len(name) <= length else name[: length - 1] + "…"
