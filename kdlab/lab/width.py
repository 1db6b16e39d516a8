"""The width panel: what a small student costs, what it saves, and what it still knows.

Parameters, bytes and MACs follow from the width alone (``twins.width_state``); times and accuracies are measured by
the lesson and handed in.
"""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from kdlab.lab.explorable import Explorable
from kdlab.lab.show import figure_bundle
from kdlab.lab.theme import COLORS, GREY, INK, house_style, new_figure
from kdlab.lab.twins import WidthState, count_text, percent_text, ratio_text, width_state

__all__ = ["WIDTHS", "width_explorable", "width_figure"]

WIDTHS = (1, 2, 4, 8, 16, 32, 64, 128)
"""The slider's steps."""

_DECIMALS = 4


def width_explorable(
    accuracies: Sequence[float],
    speedups: Mapping[str, Sequence[float]],
    *,
    teacher_parameters: int,
    teacher_macs: int,
    teacher_accuracy: float,
    inputs: int = 64,
    classes: int = 10,
    id: str = "width",  # noqa: A002
    width: int = 16,
) -> Explorable:
    """A panel on what the width of a student's only hidden layer buys: drag h from 1 to 128.

    Args:
        accuracies: share of images that the student of each of ``WIDTHS`` gets right.
        speedups: what was timed, such as ``"1 image"``, to (teacher's time / student's time) for each of ``WIDTHS``;
            up to three.
        teacher_parameters: the teacher's size, for comparison; student and teacher are float32.
        teacher_macs: the teacher's multiply-accumulates for one image.
        teacher_accuracy: its share right, on the same images.
        inputs: values per image.
        classes: number of classes.
        id: the element's id on the page is ``kd-ID``; use another for a second panel in one notebook.
        width: which of ``WIDTHS`` the panel starts with; the dashed frames stay there.

    Returns:
        An :class:`Explorable`: make it the last expression of a cell.

    Raises:
        ValueError: an argument has the wrong length or range; the message names the likely cause.

    Example:
        >>> width_explorable([0.5] * 8, {"1 image": [2.0] * 8}, teacher_parameters=24100, teacher_macs=236800,
        ...     teacher_accuracy=0.9, width=32)
        Width panel (h from 1 to 128), at width 32: 2,410 parameters, 9,640 bytes, 2,368 MACs, 50.0 % right ...
    """
    shares = _checked("accuracies", accuracies, lowest=0, highest=1)
    times = _checked_speedups(speedups)
    known = _checked("teacher_accuracy", [teacher_accuracy] * len(WIDTHS), lowest=0, highest=1)[0]
    if isinstance(width, bool) or width not in WIDTHS:
        raise ValueError(f"width must be one of the slider's steps {WIDTHS}, got {width!r}")
    shape = {"inputs": inputs, "classes": classes}
    cost = {"teacher_parameters": teacher_parameters, "teacher_macs": teacher_macs, **shape}
    states = [width_state(h, **cost) for h in WIDTHS]
    step = WIDTHS.index(width)
    words = states[step].summary(
        accuracy=shares[step], teacher_accuracy=known, speedups={name: values[step] for name, values in times.items()}
    )
    data = {
        "widths": list(WIDTHS),
        **shape,
        "teacher": {"parameters": teacher_parameters, "macs": teacher_macs, "accuracy": known},
        "accuracies": shares,
        "speedups": [{"name": name, "values": values} for name, values in times.items()],
        "decades": _decades(states, times),
        "step": step,
    }
    figure = width_figure(states, shares, times, teacher_parameters, known, step=step)
    picture = figure_bundle(
        figure,
        alt="Left, bars on a log scale: how many times less than the teacher the student takes. Right, accuracy over "
        f"parameters, rising towards the teacher's. In short: {words}.",
        caption="A still of the panel: run the cell or trust the notebook, and h gets a slider.",
    )
    return Explorable(
        "width",
        name=id,
        title="Width of the student, what it costs and what it buys",
        data=data,
        fallback=picture["text/html"] + _table(states, shares, times),
        text=f"Width panel (h from {WIDTHS[0]} to {WIDTHS[-1]}), at {words}.",
    )


def width_figure(
    states: Sequence[WidthState],
    accuracies: Sequence[float],
    speedups: Mapping[str, Sequence[float]],
    teacher_parameters: int,
    teacher_accuracy: float,
    *,
    step: int,
) -> Figure:
    """A still of the width panel at ``states[step]``: what is saved, on a log scale, and accuracy over parameters."""
    with house_style():
        figure, (saved, skill) = new_figure(1, 2, width=8.6, height=3.2, width_ratios=[1.1, 1])
        _draw_saved(saved, states[step], {name: values[step] for name, values in speedups.items()})
        saved.set_xlim(1, 10 ** _decades(states, speedups))
        sizes = [state.parameters for state in states]
        skill.plot(sizes, accuracies, "o-", color=COLORS["blue"], markersize=4)
        skill.plot(
            sizes[step], accuracies[step], "o", color=COLORS["vermillion"], markersize=9, markeredgecolor="white"
        )
        skill.axhline(teacher_accuracy, color=GREY, linestyle="--", linewidth=1.2)
        skill.text(sizes[0], teacher_accuracy + 0.02, f"teacher: {percent_text(teacher_accuracy)}", fontsize=9)
        skill.set(xscale="log", xlim=(sizes[0] / 1.2, teacher_parameters), ylim=(0, 1.15), xlabel="parameters")
        skill.set_title(f"Accuracy {percent_text(accuracies[step])} at h = {states[step].width}")
        skill.set_yticks([0, 0.25, 0.5, 0.75, 1], ["0 %", "25 %", "50 %", "75 %", "100 %"])
        skill.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        skill.minorticks_off()
    return figure


def _draw_saved(axes: Axes, state: WidthState, speedups: Mapping[str, float]) -> None:
    values = {"parameters": state.fewer_parameters, "bytes": state.fewer_parameters, "MACs": state.fewer_macs}
    values |= {f"time, {name}": value for name, value in speedups.items()}
    rows = range(len(values))
    axes.barh(rows, [value - 1 for value in values.values()], left=1, height=0.6, color=COLORS["blue"])
    for row, value in zip(rows, values.values(), strict=True):
        axes.text(max(value, 1) * 1.15, row, ratio_text(value), va="center", fontsize=9, color=INK)
    axes.set_yticks(rows, list(values))
    axes.set(xscale="log", ylim=(len(values) - 0.5, -0.5), xlabel="times less than the teacher, log scale")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}×")
    axes.set_title(f"Saved at h = {state.width}")
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", length=0)
    axes.minorticks_off()


def _decades(states: Sequence[WidthState], speedups: Mapping[str, Sequence[float]]) -> int:
    """Powers of ten on the axis of savings, so that it holds every width and need not move."""
    savings = [max(state.fewer_macs, state.fewer_parameters) for state in states]
    largest = max(*savings, *(value for values in speedups.values() for value in values))
    return max(1, math.ceil(math.log10(largest)))


def _table(states: Sequence[WidthState], accuracies: Sequence[float], speedups: Mapping[str, Sequence[float]]) -> str:
    """All widths in numbers, for pages where nothing moves."""
    head = ["width", "parameters", "bytes", "MACs", *(f"faster on {name}" for name in speedups), "right"]
    rows = [
        [
            str(state.width),
            *(count_text(number) for number in (state.parameters, state.bytes, state.macs)),
            *(ratio_text(values[i]) for values in speedups.values()),
            percent_text(accuracies[i]),
        ]
        for i, state in enumerate(states)
    ]
    header = "".join(f'<th scope="col">{html.escape(cell)}</th>' for cell in head)
    body = "".join(
        f'<tr><th scope="row">{cells[0]}</th>' + "".join(f"<td>{cell}</td>" for cell in cells[1:]) + "</tr>"
        for cells in rows
    )
    return (
        "<details><summary>The same in numbers, for every width</summary>"
        f"<table><thead><tr>{header}</tr></thead><tbody>{body}</tbody></table></details>"
    )


def _checked_speedups(speedups: Mapping[str, Sequence[float]]) -> dict[str, list[float]]:
    if not 1 <= len(speedups) <= 3:
        raise ValueError(f"speedups must hold one to three timings, got {len(speedups)}")
    return {
        str(name): _checked(f"speedups[{name!r}]", values, lowest=1e-3, highest=1e6)
        for name, values in speedups.items()
    }


def _checked(argument: str, values: Any, *, lowest: float, highest: float) -> list[float]:
    """One number per width, within bounds, rounded as the panel stores it."""
    array = np.asarray(list(values), dtype=np.float64)
    if array.shape != (len(WIDTHS),):
        raise ValueError(
            f"{argument} must hold {len(WIDTHS)} numbers, one for each width in {WIDTHS}, got {array.shape}"
        )
    if not ((array >= lowest) & (array <= highest)).all():  # NaN is neither
        raise ValueError(
            f"{argument} must lie in {lowest:g} to {highest:g}, got {array.tolist()}: "
            "accuracies are shares, speed-ups the teacher's time over the student's"
        )
    return [float(value) for value in array.round(_DECIMALS)]
