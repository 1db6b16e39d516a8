"""The figure of a distillation lab: what the loss weighs, and how every try came out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import PathPatch
from matplotlib.path import Path
from matplotlib.ticker import PercentFormatter
from torch import Tensor

from kdlab.lab.pairs import Settings, Try
from kdlab.lab.theme import COLORS, INK, house_style, new_figure

__all__ = ["LabFigure"]

_BAR = 0.72  # width of a bar; classes are 1 apart
_SLOT = 0.8  # width of one number of labels on the axis; neighbours are 1 apart
_CAPACITY = 6  # tries side by side before they move closer together


class LabFigure:
    """Two panels on fixed axes, changed in place.

    Left, the weights for one image: bars of two parts, the label's and the teacher's. Right, one pair of markers
    per try: hollow for the student with labels only, filled for the one with the teacher, joined by a line, in
    columns by number of labels and from left to right in the order of the tries.

    Args:
        image: the example image, shape ``(1, H, W)`` or ``(H, W)``.
        label: its class.
        num_classes: K.
        label_choices: the numbers of labels that the lab offers.
        teacher_accuracy: the teacher's validation accuracy, drawn as a dashed line.
        accuracy_range: the fixed limits of the accuracy axis.

    Attributes:
        figure: the matplotlib figure.
        moving: the artists that change, in two groups: ``"target"`` on the left, by :meth:`set_target`, and
            ``"tries"`` on the right, by :meth:`set_next`; the rest is background.
    """

    def __init__(
        self,
        image: Tensor,
        label: int,
        *,
        num_classes: int,
        label_choices: Sequence[int],
        teacher_accuracy: float,
        accuracy_range: tuple[float, float] = (0.5, 1.0),
    ) -> None:
        self.label = label
        self.choices = list(label_choices)
        self.low, self.high = accuracy_range
        with house_style():
            self.figure, (self._left, self._right) = new_figure(1, 2, width=8.8, height=3.5, width_ratios=(1.0, 1.15))
            target = self._draw_target_axes(self._left, image, num_classes)
            chart = self._draw_chart_axes(self._right, teacher_accuracy)
        self.moving: dict[str, list[Artist]] = {"target": target, "tries": chart}
        self._tries: list[Artist] = []
        self._places: dict[int, tuple[float, float, float]] = {}  # try number -> x, hard, soft

    # ------------------------------------------------------------------ left: the target

    def _draw_target_axes(self, axes: Axes, image: Tensor, num_classes: int) -> list[Artist]:
        classes = np.arange(num_classes)
        axes.set(
            title="What the loss weighs",
            xlabel="class",
            ylabel="weight (factor T² left out)",
            xlim=(-0.6, num_classes - 0.4),
            ylim=(0, 1.19),
            xticks=classes,
            yticks=np.linspace(0, 1, 5),
        )
        axes.grid(axis="x", visible=False)
        # All of the teacher's bars are one artist, which is drawn in a third of the time of ten.
        self._soft = PathPatch(_bars(np.zeros(num_classes)), facecolor=COLORS["blue"], edgecolor="none", linewidth=0,
                               label="α × teacher at T")  # fmt: skip
        axes.add_patch(self._soft)
        (self._hard,) = axes.bar([self.label], [0], _BAR, color="white", hatch="////", label="(1 − α) × label",
                                 edgecolor=COLORS["vermillion"], linewidth=1.2)  # fmt: skip
        right = self.label < num_classes / 2  # the picture and the legend go where the tall bar is not
        axes.legend(loc="upper right" if right else "upper left", bbox_to_anchor=(1.0 if right else 0.0, 0.93))
        picture = axes.inset_axes((0.77 if right else 0.05, 0.42, 0.2, 0.28))
        picture.imshow(image.squeeze().numpy(), cmap="gray_r", vmin=0, vmax=1, interpolation="nearest")
        picture.set(xticks=[], yticks=[])
        picture.spines[:].set(visible=True, color="#B0B0B0")
        picture.set_xlabel(f"a “{self.label}”", fontsize=9, labelpad=2)
        # Letters cost more time than bars: what stands before the numbers is background.
        self._chosen = []
        for x, name in ((0.02, "T ="), (0.19, "α =")):
            style: dict[str, Any] = {"transform": axes.transAxes, "va": "baseline", "fontsize": 9.5}
            axes.text(x, 0.945, name, **style)
            self._chosen.append(axes.text(x + 0.075, 0.945, "", **style))
        self._values = [axes.text(0, 0, "", ha="center", va="bottom", fontsize=9) for _ in range(2)]
        return [self._soft, self._hard, *self._chosen, *self._values]

    def set_target(self, hard: Tensor, soft: Tensor, settings: Settings) -> None:
        """Show the two parts of the target, as :func:`kdlab.lab.pairs.mixed_target` gives them."""
        total = (hard + soft).tolist()
        self._soft.set_path(_bars(soft.numpy()))
        self._hard.set_y(float(soft[self.label]))
        self._hard.set_height(float(hard[self.label]))
        self._hard.set_visible(bool(hard[self.label] > 0))
        for number, value in zip(self._chosen, (settings.temperature, settings.alpha), strict=True):
            number.set_text(f"{value:g}")
        others = [index for index in range(len(total)) if index != self.label]
        for text, index in zip(self._values, (self.label, max(others, key=total.__getitem__)), strict=True):
            text.set_position((index, total[index] + 0.012))
            text.set_text(f"{total[index]:.2f}")

    # ------------------------------------------------------------------ right: the tries

    def _draw_chart_axes(self, axes: Axes, teacher_accuracy: float) -> list[Artist]:
        slots = np.arange(len(self.choices))
        axes.set(
            title="How your tries came out",
            xlabel="labelled images the student sees",
            ylabel="validation accuracy",
            xlim=(-0.5, len(self.choices) - 0.5),
            ylim=(self.low, self.high + 0.16 * (self.high - self.low)),  # room above for the cursor
            xticks=slots,
            yticks=np.linspace(self.low, self.high, 6),
            xticklabels=[f"{labels:,}" for labels in self.choices],
        )
        axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        axes.grid(axis="x", visible=False)
        axes.tick_params(axis="x", length=0)
        for edge in slots[1:] - 0.5:
            axes.axvline(edge, color="#E6E6E6", linewidth=0.8, zorder=0)
        axes.axhline(teacher_accuracy, color=INK, linestyle=(0, (5, 3)), linewidth=1.2, zorder=1)
        handles = [
            Line2D([], [], color=INK, linestyle=(0, (5, 3)), linewidth=1.2, label=f"teacher, {teacher_accuracy:.1%}"),
            Line2D([], [], **_SOFT, label="student with the teacher"),
            Line2D([], [], **_HARD, label="same student, labels only"),
            Line2D([], [], **_RING, label="tries with these settings"),
        ]
        axes.legend(handles=handles, loc="lower right", handlelength=1.8)
        self._band = axes.axvspan(-_SLOT / 2, _SLOT / 2, color=COLORS["orange"], alpha=0.12, linewidth=0)
        (self._cursor,) = axes.plot([0], [self.high + 0.05 * (self.high - self.low)], marker="v", markersize=8,
                                    color="#8A5A00", linestyle="none")  # fmt: skip
        self._next = axes.text(0, self.high + 0.085 * (self.high - self.low), "", ha="center", va="bottom", fontsize=9)
        (self._rings,) = axes.plot([], [], **_RING)
        return [self._band, self._rings, self._cursor, self._next]

    def set_tries(self, tries: Sequence[Try]) -> None:
        """Draw the tries; this is background, so a :class:`~kdlab.lab.blit.BlitCanvas` must be invalidated."""
        for artist in self._tries:
            artist.remove()
        self._tries, self._places = [], {}
        for slot, labels in enumerate(self.choices):
            here = [one for one in tries if one.settings.labels == labels]
            for place, one in enumerate(here):
                self._draw_try(one, _place(slot, place, len(here)), crowded=len(here) > _CAPACITY)

    def _draw_try(self, one: Try, x: float, *, crowded: bool) -> None:
        hard, soft = (max(value, self.low) for value in (one.hard, one.soft))
        self._places[one.number] = (x, hard, soft)
        axes = self._right
        self._tries += axes.plot([x, x], [hard, soft], color=COLORS["blue"], linewidth=1.6, zorder=3)
        self._tries += axes.plot([x], [hard], **_HARD, zorder=4)
        self._tries += axes.plot([x], [soft], **_SOFT, zorder=5)
        if not crowded:
            below = min(hard, soft)
            self._tries.append(axes.annotate(f"{one.number}", (x, below), (0, -6), textcoords="offset points",
                                             ha="center", va="top", fontsize=8, color="#5A5A5A"))  # fmt: skip

    def set_next(self, settings: Settings, tries: Sequence[Try]) -> None:
        """Put the cursor where the next try will land, and ring the tries that share its settings."""
        slot = self.choices.index(settings.labels)
        already = sum(one.settings.labels == settings.labels for one in tries)
        x = _place(slot, already, already + 1)
        self._band.set_x(slot - 0.5)
        self._band.set_width(1)
        self._cursor.set_xdata([x])
        self._next.set_x(min(max(x, -0.3), len(self.choices) - 0.7))
        self._next.set_text(f"try {len(tries) + 1}")
        same = [self._places[one.number] for one in tries if one.settings == settings]
        self._rings.set_data([x for x, _, _ in same], [soft for _, _, soft in same])


_HARD: dict[str, Any] = {
    "marker": "o",
    "markersize": 6,
    "color": COLORS["blue"],
    "markerfacecolor": "white",
    "linestyle": "none",
}
_SOFT: dict[str, Any] = {"marker": "o", "markersize": 6.5, "color": COLORS["blue"], "linestyle": "none"}
_RING: dict[str, Any] = {"marker": "s", "markersize": 12, "color": COLORS["orange"], "markerfacecolor": "none",
         "markeredgewidth": 1.6, "linestyle": "none"}  # fmt: skip


def _bars(heights: np.ndarray) -> Path:
    """One bar for each class, from 0 up."""
    corners = np.zeros((len(heights), 4, 2))
    corners[..., 0] = np.arange(len(heights))[:, None] + _BAR / 2 * np.array([-1, -1, 1, 1])
    corners[:, 1:3, 1] = heights[:, None]
    return Path.make_compound_path_from_polys(corners)


def _place(slot: int, place: int, count: int) -> float:
    """The x of try number ``place`` (from 0) of ``count`` that share a column."""
    return slot - _SLOT / 2 + _SLOT * (place + 0.5) / max(count, _CAPACITY)
