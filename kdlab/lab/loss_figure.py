"""A still of the loss panel, for pages where nothing moves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from kdlab.lab.loss_twin import LossState, cosine_text
from kdlab.lab.theme import COLORS, GREY, INK, house_style, new_figure
from kdlab.lab.twins import fine_text, percent_text

__all__ = ["loss_figure"]

_SOFT, _HARD = COLORS["vermillion"], COLORS["green"]
_DASHES = (0, (3, 2))


def loss_figure(
    state: LossState, label: int, teacher_top: int, class_names: Sequence[str], axes: Mapping[str, Mapping[str, Any]]
) -> Figure:
    """Draw the loss panel at ``state``: probabilities, gradient per class, both terms, both parts of the gradient.

    Args:
        state: what to draw.
        label: the class that the data set gives.
        teacher_top: the teacher's favourite class.
        class_names: K names.
        axes: ``domain`` and ``ticks`` of "gradient", "terms" and "norms".

    Example:
        >>> from kdlab.lab.loss_twin import loss_state
        >>> axis = {"domain": (-1, 4), "ticks": (0, 2, 4)}
        >>> state = loss_state([2.0, 1.5, 0.1], [3.0, 1.0, 0.2], 0, temperature=4.0, alpha=0.7)
        >>> len(loss_figure(state, 0, 0, ["a", "b", "c"], dict.fromkeys(["gradient", "terms", "norms"], axis)).axes)
        4
    """
    rows = len(class_names)
    with house_style():
        figure, grid = new_figure(2, 2, width=8.6, height=3.6 + 0.24 * rows, height_ratios=[0.6 + 0.22 * rows, 1.35])
        _draw_chances(grid[0, 0], state)
        _draw_gradient(grid[0, 1], state)
        for place in grid[0]:
            _class_axis(place, class_names, label, teacher_top)
        _draw_terms(grid[1, 0], state)
        _draw_norms(grid[1, 1], state)
        for place, name in zip((grid[0, 1], grid[1, 0], grid[1, 1]), ("gradient", "terms", "norms"), strict=True):
            place.set_xlim(axes[name]["domain"])
            place.set_xticks(axes[name]["ticks"])
    return figure


def _draw_chances(axes: Axes, state: LossState) -> None:
    rows = np.arange(len(state.student))
    axes.barh(rows, state.student, height=0.5, color=COLORS["blue"])
    axes.barh(rows, state.teacher, height=0.78, fill=False, edgecolor=INK, linewidth=1, linestyle=_DASHES)
    axes.vlines(state.plain, rows - 0.39, rows + 0.39, color=INK, linewidth=2)
    axes.set_xlim(0, 1)
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "0.25", "0.5", "0.75", "1"])
    axes.set_title(f"Probabilities at T = {state.temperature:g}")
    _legend(
        axes,
        Patch(color=COLORS["blue"], label="student q(T)"),
        Patch(fill=False, edgecolor=INK, linestyle=_DASHES, label="teacher p(T)"),
        Line2D([], [], color=INK, marker="|", markersize=9, markeredgewidth=2, linestyle="none", label="student q(1)"),
    )


def _draw_gradient(axes: Axes, state: LossState) -> None:
    rows = np.arange(len(state.student))
    parts = ((state.hard_gradient, _HARD), (state.soft_gradient, _SOFT), (state.gradient, INK))
    for place, (values, color) in enumerate(parts):
        axes.barh(rows + 0.26 * (place - 1), values, height=0.24, color=color)
    axes.axvline(0, color=GREY, linewidth=0.8)
    axes.set_title("Gradient: bars to the left push a logit up")
    _legend(axes, *(Patch(color=c, label=n) for c, n in ((_HARD, "hard part"), (_SOFT, "soft part"), (INK, "sum"))))


def _draw_terms(axes: Axes, state: LossState) -> None:
    factor = " T²" if state.squared else ""
    _value_bars(axes, ["hard, (1 − α) CE", f"soft, α{factor} KL", "loss L"], [state.hard, state.soft, state.total])
    axes.barh(2, state.hard, height=0.6, color=_HARD)
    axes.barh(2, state.soft, left=state.hard, height=0.6, color=_SOFT)
    axes.set_title(f"Loss at α = {state.alpha:.2f}")
    axes.set_xlabel("nats")


def _draw_norms(axes: Axes, state: LossState) -> None:
    _value_bars(axes, ["hard part", "soft part"], [state.hard_norm, state.soft_norm])
    share = "n/a" if state.soft_share is None else percent_text(state.soft_share)
    axes.set_title(f"Soft share {share}, cosine {cosine_text(state.cosine)}")
    axes.set_xlabel("length of both parts of the gradient")


def _value_bars(axes: Axes, names: Sequence[str], values: Sequence[float]) -> None:
    """The hard part, the soft part and perhaps their sum, with numbers."""
    axes.barh(range(2), values[:2], height=0.6, color=[_HARD, _SOFT])
    for row, value in enumerate(values):
        axes.annotate(
            fine_text(value), (value, row), xytext=(4, 0), textcoords="offset points", va="center", fontsize=9
        )
    axes.set_yticks(range(len(names)), list(names))
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", length=0)


def _class_axis(axes: Axes, names: Sequence[str], label: int, teacher_top: int) -> None:
    """Classes from top to bottom; signs tell the label and the teacher's favourite apart."""
    signs = [("◆ " if k == label else "") + ("▶ " if k == teacher_top else "") for k in range(len(names))]
    axes.set_yticks(range(len(names)), [sign + name for sign, name in zip(signs, names, strict=True)])
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", length=0)


def _legend(axes: Axes, *handles: Any) -> None:
    axes.legend(
        handles=handles,
        loc="upper left",
        bbox_to_anchor=(0, 0),
        borderaxespad=2.0,  # in units of the font size: below the tick labels
        borderpad=0,
        ncols=len(handles),
        handlelength=1.4,
        columnspacing=1.2,
    )
