"""The rank panel: a layer's matrix cut to rank r, what is lost, what it costs, what it saves, what the net still knows.

Errors and parameters follow from the matrix and the second moment of its inputs (``rank_twin``); accuracies and times
are measured by the lesson and handed in.
"""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from numpy.typing import NDArray

from kdlab.lab import rank_twin as twin
from kdlab.lab.explorable import Explorable
from kdlab.lab.rank_twin import KINDS, RankState, rank_state
from kdlab.lab.show import figure_bundle
from kdlab.lab.theme import COLORS, GREY, SERIES, house_style, new_figure
from kdlab.lab.twins import count_text, percent_text

__all__ = ["rank_explorable", "rank_figure"]

Array = NDArray[np.float64]
Curves = Mapping[str, Sequence[float]]

_STEPS, _MOST, _MAX_RANK, _MAX_SIDE = (2, 20), 3, 64, 256
_SIGNED = LinearSegmentedColormap.from_list("signed", [COLORS["vermillion"], "#FFFFFF", COLORS["blue"]])


def rank_explorable(
    weight: Any,
    accuracies: Curves,
    speedups: Curves,
    *,
    ranks: Sequence[int],
    covariance: Any = None,
    dense_accuracy: float,
    id: str = "rank",  # noqa: A002
    rank: int | None = None,
) -> Explorable:
    """A panel on what a low rank costs and saves: drag r, and choose which error the factors make small.

    Args:
        weight: the layer's matrix W, outputs by inputs, shape (m, n), min(m, n) up to 64, sides up to 256; a
            convolution as ``weight.flatten(1)``.
        accuracies: share right at each of ``ranks``, by how the factors were made: "plain"; "activation-aware" exactly
            where there is a covariance; perhaps one more, such as "plain, then trained on". Up to three.
        speedups: what was timed, such as ``"1 image"``, to (dense time / this time) at each of ``ranks``; up to three.
        ranks: the slider's steps, rising, 2 to 20 of them, at most min(m, n).
        covariance: second moment E[x x^T] of the layer's inputs, shape (n, n); None leaves only the plain kind.
        dense_accuracy: share right with W itself.
        id: the element's id on the page is ``kd-ID``; use another for a second panel in one notebook.
        rank: which of ``ranks`` the panel starts with; the largest with half as many parameters when left out.

    Returns:
        An :class:`Explorable`: make it the last expression of a cell.

    Raises:
        ValueError: an argument has the wrong shape or range; the message names the likely cause.

    Example:
        >>> rank_explorable(np.diag([4.0, 3.0, 0.0, 0.0]), {"plain": [0.5, 0.75]}, {"1 image": [2.0, 1.0]},
        ...     ranks=[1, 2], dense_accuracy=0.75, rank=1)
        Rank panel (4 × 4, r from 1 to 2), at rank 1, plain: 8 parameters, 50.0 % of the dense 16; relative error ...
    """
    matrix = _checked_weight(weight)
    m, n = matrix.shape
    second = None if covariance is None else _checked_covariance(covariance, n)
    steps = _checked_ranks(ranks, min(m, n))
    kinds = KINDS if second is not None else KINDS[:1]
    shares = _checked_curves("accuracies", accuracies, len(steps), lowest=0, highest=1)
    if not set(kinds) <= set(shares) or (second is None and KINDS[1] in shares):
        raise ValueError(
            f"accuracies must hold {' and '.join(map(repr, kinds))}, got {list(shares)}: "
            "'activation-aware' belongs with a covariance, and is not there without one"
        )
    shares = {name: shares[name] for name in (*kinds, *(other for other in shares if other not in kinds))}
    times = _checked_curves("speedups", speedups, len(steps), lowest=1e-3, highest=1e3)
    (dense,) = _checked("dense_accuracy", [dense_accuracy], 1, lowest=0, highest=1)
    step = _checked_start(rank, steps, m, n)
    made = {kind: twin.components(matrix, kind=kind, covariance=second) for kind in kinds}
    states = [rank_state(matrix, r, covariance=second) for r in steps]
    data = {
        "rows": m,
        "columns": n,
        "weight": twin.packed_weight(matrix),
        "kinds": [{"name": kind, **twin.packed_components(one)} for kind, one in made.items()],
        "ranks": steps,
        "accuracies": [{"name": name, "values": values} for name, values in shares.items()],
        "speedups": [{"name": name, "values": values} for name, values in times.items()],
        "denseAccuracy": dense,
        "lowest": _lowest_accuracy(shares, dense),
        "decades": twin.spectrum_decades([one.spectrum for one in made.values()]),
        "step": step,
    }
    words = states[step].summary(accuracy=shares["plain"][step], dense_accuracy=dense)
    figure = rank_figure(matrix, states[step], shares, times, ranks=steps, dense_accuracy=dense)
    picture = figure_bundle(
        figure,
        alt="Above, singular values on a log scale, kept and dropped; accuracy over rank; parameters and speed against "
        f"the dense layer. Below, the matrix, its reconstruction, and what is lost. In short: {words}.",
        caption="A still of the panel: run the cell or trust the notebook, and r gets a slider.",
    )
    return Explorable(
        "rank",
        name=id,
        title="Rank of a layer, what it loses and what it saves",
        data=data,
        fallback=picture["text/html"] + _table(matrix, second, states, shares, times),
        text=f"Rank panel ({m} × {n}, r from {steps[0]} to {steps[-1]}), at {words}.",
    )


def rank_figure(
    weight: Array,
    state: RankState,
    accuracies: Curves,
    speedups: Curves,
    *,
    ranks: Sequence[int],
    dense_accuracy: float,
) -> Figure:
    """A still of the rank panel at ``state``, whose rank is one of ``ranks``; the rest as :func:`rank_explorable`."""
    at = list(ranks).index(state.rank)
    with house_style():
        figure, grid = new_figure(2, 3, width=9.0, height=5.0, height_ratios=[1.5, 1])
        _draw_spectrum(grid[0, 0], state)
        _draw_accuracy(grid[0, 1], weight.shape, accuracies, ranks, at, dense_accuracy)
        costs = {"parameters": state.parameters / state.dense_parameters}
        _draw_bars(grid[0, 2], costs | {f"speed, {name}": values[at] for name, values in speedups.items()})
        panels = {f"W, {weight.shape[0]} × {weight.shape[1]}": weight, f"at rank {state.rank}": state.approximation}
        panels[f"lost: {percent_text(state.weight_error)}"] = weight - state.approximation
        top = float(np.abs(weight).max())
        for axes, (title, values) in zip(grid[1], panels.items(), strict=True):
            axes.imshow(values, cmap=_SIGNED, vmin=-top, vmax=top, aspect="auto", interpolation="nearest")
            axes.set(xticks=[], yticks=[], title=title)
            axes.grid(visible=False)
    return figure


def _draw_spectrum(axes: Axes, state: RankState) -> None:
    decades = twin.spectrum_decades([state.spectrum])
    values = np.maximum(state.spectrum / state.spectrum[0], 10.0**-decades)
    index = np.arange(1, len(values) + 1)
    for part, fill in ((index <= state.rank, COLORS["blue"]), (index > state.rank, "white")):
        axes.plot(index[part], values[part], "o", color=COLORS["blue"], markerfacecolor=fill, markersize=5)
    axes.axvline(state.rank + 0.5, color=GREY, linestyle=":", linewidth=1.2)
    axes.set(yscale="log", ylim=(10.0**-decades / 1.3, 1.3), xlabel="singular value, over the largest")
    axes.set_title(f"{percent_text(state.energy)} of the energy kept")
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")


def _draw_accuracy(
    axes: Axes, shape: tuple[int, ...], accuracies: Curves, ranks: Sequence[int], at: int, dense: float
) -> None:
    for (name, values), (color, marker, line) in zip(accuracies.items(), SERIES, strict=False):
        axes.plot(ranks, values, color=color, marker=marker, linestyle=line, markersize=4, linewidth=1.5, label=name)
        axes.plot(ranks[at], values[at], color=color, marker=marker, markersize=10, markeredgecolor="white")
    axes.axhline(dense, color=GREY, linestyle="--", linewidth=1.2, label="dense")
    even = math.prod(shape) / sum(shape)
    if even < ranks[-1]:
        axes.axvspan(even, ranks[-1], color="#EEEEEE", zorder=0)
    low = _lowest_accuracy(accuracies, dense)
    axes.set(xscale="log", ylim=(low, 1 + 0.03 * (1 - low)), xlabel="rank; grey: larger than dense")
    shown = [
        r for i, r in enumerate(ranks) if i == 0 or math.log(r / ranks[i - 1]) > 0.07 * math.log(ranks[-1] / ranks[0])
    ]
    axes.set_xticks(shown, [str(r) for r in shown])
    axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.0f} %")
    axes.minorticks_off()
    axes.set_title("Accuracy")
    axes.legend(loc="lower right", fontsize=8)


def _draw_bars(axes: Axes, values: Mapping[str, float]) -> None:
    rows = range(len(values))
    axes.barh(rows, list(values.values()), height=0.55, color=COLORS["blue"])
    axes.axvline(1, color=GREY, linestyle="--", linewidth=1.2)
    for row, (name, value) in enumerate(values.items()):
        axes.text(0, row - 0.32, f"{name}: {value:.2f}×", va="bottom", fontsize=9)
    axes.set(yticks=[], ylim=(len(values) - 0.5, -0.8), xlim=(0, 1.08 * max(1, *values.values())), title="Dense is 1×")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}×")
    axes.grid(visible=False, axis="y")


def _table(weight: Array, second: Array | None, states: Sequence[RankState], shares: Curves, times: Curves) -> str:
    """All ranks in numbers, for pages where nothing moves."""
    kinds = KINDS if second is not None else KINDS[:1]
    head = ["rank", "parameters", "of dense", *(f"error of weights, {kind}" for kind in kinds)]
    head += [f"error of outputs, {kind}" for kind in states[0].output_errors]
    head += [*(f"right, {name}" for name in shares), *(f"speed, {name}" for name in times)]
    rows = []
    for i, state in enumerate(states):
        cells = [str(state.rank), count_text(state.parameters), percent_text(state.parameters / state.dense_parameters)]
        errors = [rank_state(weight, state.rank, kind=kind, covariance=second).weight_error for kind in kinds]
        cells += map(percent_text, [*errors, *state.output_errors.values(), *(values[i] for values in shares.values())])
        rows.append(cells + [f"{values[i]:.2f}×" for values in times.values()])
    header = "".join(f'<th scope="col">{html.escape(cell)}</th>' for cell in head)
    body = "".join(
        f'<tr><th scope="row">{cells[0]}</th>' + "".join(f"<td>{cell}</td>" for cell in cells[1:]) + "</tr>"
        for cells in rows
    )
    return (
        "<details><summary>The same in numbers, for every rank</summary>"
        f"<table><thead><tr>{header}</tr></thead><tbody>{body}</tbody></table></details>"
    )


def _lowest_accuracy(accuracies: Curves, dense: float) -> float:
    """Lower end of the accuracy axis, a whole tenth: fixed, so that movement is comparable."""
    return math.floor(10 * min(dense, *(value for values in accuracies.values() for value in values)) - 1e-9) / 10 + 0.0


def _checked_start(rank: int | None, steps: Sequence[int], m: int, n: int) -> int:
    if rank is None:
        return max(0, sum(r <= twin.break_even(m, n) / 2 for r in steps) - 1)
    if isinstance(rank, bool) or rank not in steps:
        raise ValueError(f"rank must be one of the slider's steps {list(steps)}, got {rank!r}")
    return list(steps).index(rank)


def _checked_ranks(ranks: Sequence[int], most: int) -> list[int]:
    steps = list(ranks)
    whole = all(isinstance(r, int | np.integer) and not isinstance(r, bool) for r in steps)
    if not whole or steps != sorted(set(steps)) or not _STEPS[0] <= len(steps) <= _STEPS[1]:
        raise ValueError(f"ranks must be {_STEPS[0]} to {_STEPS[1]} rising whole numbers, got {steps}")
    if steps[0] < 1 or steps[-1] > most:
        raise ValueError(f"ranks must lie in 1 to {most}, the smaller side of weight, got {steps}")
    return [int(r) for r in steps]


def _checked_matrix(argument: str, value: Any) -> Array:
    if hasattr(value, "detach"):
        value = value.detach().cpu()
    matrix: Array = np.asarray(value, dtype=np.float64)
    if not np.isfinite(matrix).all():
        raise ValueError(f"{argument} must be finite, got NaN or infinity: did the training diverge?")
    return matrix


def _checked_weight(value: Any) -> Array:
    matrix = _checked_matrix("weight", value)
    if matrix.ndim != 2 or not 2 <= min(matrix.shape) <= _MAX_RANK or max(matrix.shape) > _MAX_SIDE:
        raise ValueError(
            f"weight must have shape (m, n), the smaller side 2 to {_MAX_RANK}, the larger up to {_MAX_SIDE}, got "
            f"{matrix.shape}: a convolution wants weight.flatten(1), a large layer a smaller one"
        )
    if not matrix.any():
        raise ValueError("weight must not be all zeros: was the layer pruned away?")
    return matrix


def _checked_covariance(value: Any, n: int) -> Array:
    matrix = _checked_matrix("covariance", value)
    if matrix.shape != (n, n):
        raise ValueError(
            f"covariance must have shape ({n}, {n}), for the inputs of weight, got {matrix.shape}: "
            "inputs X of shape (N, n) want X.T @ X / N"
        )
    top = float(np.abs(matrix).max())
    if not np.allclose(matrix, matrix.T, atol=1e-5 * top) or np.linalg.eigvalsh(matrix)[0] < -1e-4 * top or top == 0:
        raise ValueError("covariance must be symmetric and positive, as X.T @ X / N is: was it centred, or scaled?")
    return matrix


def _checked_curves(
    argument: str, curves: Curves, count: int, *, lowest: float, highest: float
) -> dict[str, list[float]]:
    if not 1 <= len(curves) <= _MOST:
        raise ValueError(f"{argument} must hold one to {_MOST} rows of numbers, got {len(curves)}")
    return {
        str(name): _checked(f"{argument}[{name!r}]", values, count, lowest=lowest, highest=highest)
        for name, values in curves.items()
    }


def _checked(argument: str, values: Any, count: int, *, lowest: float, highest: float) -> list[float]:
    """One number per rank, within bounds, rounded as the panel stores it."""
    array = np.asarray(list(values), dtype=np.float64)
    if array.shape != (count,):
        raise ValueError(f"{argument} must hold {count} numbers, one for each of ranks, got {array.shape}")
    if not ((array >= lowest) & (array <= highest)).all():  # NaN is neither
        raise ValueError(
            f"{argument} must lie in {lowest:g} to {highest:g}, got {array.tolist()}: "
            "accuracies are shares, speed-ups the dense time over this one"
        )
    return [float(value) for value in array.round(4)]
