"""The map of the course: the same figure at the head of every lesson, with a pin where you are."""

from __future__ import annotations

import textwrap
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from kdlab.lab.theme import COLORS, INK, house_style, new_figure
from kdlab.outline import GROUPS, LESSONS, Lesson, lesson

__all__ = ["course_map", "course_map_alt"]

_FAINT = "#6E6E6E"  # of what is not there yet: paler than ink, still readable on white
_ROAD = "#C9C9C9"
_COLUMN = 1.8  # width of a group, in the inches of the axes
_WIDTH = _COLUMN * len(GROUPS)
_ROW = 0.5
_TOP = 0.66  # of the first station, below the group's name
_BEND = 0.34  # where the road turns down


@house_style()
def course_map(here: int | None = None) -> Figure:
    """Draw the road of lessons, group by group, and mark the present one.

    The present lesson is a large vermillion dot in a ring, in bold, with a tinted card behind it; a lesson that can be
    opened is a filled dot, one in the making a hollow dot with grey words.

    Args:
        here: number of the present lesson; ``None`` marks none.

    Returns:
        A figure nine inches wide; show it with :func:`course_map_alt` as its alt text.

    Raises:
        ValueError: there is no lesson with this number.
    """
    if here is not None:
        lesson(here)
    columns = [[stop for stop in LESSONS if stop.group == group] for group in GROUPS]
    height = _TOP + _ROW * (max(len(column) for column in columns) - 1) + 0.3
    figure, axes = new_figure(width=_WIDTH, height=height)
    axes.set(xlim=(0, _WIDTH), ylim=(height, 0))
    axes.axis("off")
    figure.set_layout_engine("constrained", w_pad=0, h_pad=0)
    for place, (group, stops) in enumerate(zip(GROUPS, columns, strict=True)):
        _draw_group(axes, place, group, stops, here)
    _draw_key(axes, height - 0.3)
    return figure


def course_map_alt(here: int | None = None) -> str:
    """What :func:`course_map` shows, for a reader who cannot see it."""
    parts = []
    for group in GROUPS:
        names = [
            f"{stop.label} {stop.title}" + ("" if stop.ready else " (in the making)")
            for stop in LESSONS
            if stop.group == group
        ]
        parts.append(f"{group}: {', '.join(names)}")
    place = "" if here is None else f" You are at {lesson(here).label}, {lesson(here).title}."
    return f"The road of lessons in {len(GROUPS)} groups.{place} {'. '.join(parts)}."


def _draw_group(axes: Axes, place: int, group: str, stops: list[Lesson], here: int | None) -> None:
    x = place * _COLUMN + 0.16
    ys = [_TOP + _ROW * number for number in range(len(stops))]
    axes.text(x - 0.09, 0.14, group, fontsize=9.3, fontweight="bold", va="center")
    # One road: along the top from group to group, and down through the lessons of each.
    top = [(x + _COLUMN, _BEND)] if place + 1 < len(GROUPS) else []
    xs, heights = zip(*top, (x, _BEND), (x, ys[-1]), strict=True)
    axes.plot(xs, heights, color=_ROAD, linewidth=4, solid_capstyle="round", solid_joinstyle="round", zorder=1)
    for stop, y in zip(stops, ys, strict=True):
        _draw_stop(axes, x, y, stop, present=stop.number == here)


def _draw_stop(axes: Axes, x: float, y: float, stop: Lesson, *, present: bool) -> None:
    color = COLORS["vermillion"] if present else COLORS["blue"] if stop.ready else _FAINT
    if present:
        left, right, half = x - 0.13, x - 0.16 + _COLUMN - 0.06, 0.21
        axes.fill([left, right, right, left], [y - half, y - half, y + half, y + half], color="#FBEADF", zorder=0)
        axes.plot(x, y, "o", markersize=15, color="white", markeredgecolor=color, markeredgewidth=2, zorder=2)
    solid = present or stop.ready
    axes.plot(x, y, "o", markersize=9, color=color if solid else "white", markeredgecolor=color, zorder=3)
    words: dict[str, Any] = {"va": "center", "fontsize": 9.5, "color": INK if solid else _FAINT}
    words["fontweight"] = "bold" if present else "normal"
    axes.text(x + 0.16, y, stop.label, **words)
    axes.text(x + 0.4, y, "\n".join(textwrap.wrap(stop.title, 18)), linespacing=1.05, **words)


def _draw_key(axes: Axes, y: float) -> None:
    x, blue, here = _COLUMN + 0.16, COLORS["blue"], COLORS["vermillion"]  # in the empty corner under the short groups
    axes.plot(x, y, "o", markersize=9, color=blue)
    axes.text(x + 0.16, y, "open it today", va="center", fontsize=9)
    axes.plot(x + 1.34, y, "o", markersize=9, color="white", markeredgecolor=_FAINT)
    axes.text(x + 1.5, y, "in the making", va="center", fontsize=9, color=_FAINT)
    axes.plot(x + 2.68, y, "o", markersize=14, color="white", markeredgecolor=here, markeredgewidth=2)
    axes.plot(x + 2.68, y, "o", markersize=8, color=here)
    axes.text(x + 2.88, y, "you are here", va="center", fontsize=9, fontweight="bold")
