"""The descent panel: where a student ends that is nothing but free logits, under right losses and faulty ones.

The arithmetic stands in ``descent.py``, and once more in ``static/panels/descent.js``.
"""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from kdlab.lab.descent import STEPS, DescentPath, checked_row, descent_path, favourites
from kdlab.lab.descent_losses import LOSSES, RATE
from kdlab.lab.explorable import Explorable
from kdlab.lab.figures import share_text
from kdlab.lab.show import figure_bundle
from kdlab.lab.theme import COLORS, GREY, INK, house_style, new_figure
from kdlab.lab.twins import fixed_text

__all__ = ["DESCENT_ALPHAS", "DESCENT_TEMPERATURES", "descent_explorable", "descent_figure"]

DESCENT_TEMPERATURES = (0.5, 1, 2, 4, 8)
"""The slider's temperatures."""

DESCENT_ALPHAS = (0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1)
"""The slider's weights of the soft term."""

_SEEN = (
    *(0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 17, 20, 24, 28, 34, 40, 48, 56, 68, 80, 100, 120, 140, 170, 200),
    *(240, 280, 340, 400, 480, 560, 680, 800, 1000, 1200, 1400, 1700, STEPS),
)
_DECIMALS = 4
_DASHES = (0, (3, 2))


def descent_explorable(
    teacher_logits: Any,
    label: int,
    *,
    class_names: Sequence[str] | None = None,
    id: str = "descent",  # noqa: A002
    loss: str = "kd",
    temperature: float = 2.0,
    alpha: float = 1.0,
    faulty: bool = True,
) -> Explorable:
    r"""A panel on where a loss leads: choose one, set T and alpha, and walk through the descent.

    The student is a row of K free logits, all zero at first, on which :func:`kdlab.lab.descent.descent_path` goes down
    :math:`(1 - \alpha)\,\mathrm{CE} + \alpha S`. With alpha = 1 every right loss ends at the teacher's distribution;
    each faulty one ends elsewhere, most of them with the teacher's favourite on top.

    Args:
        teacher_logits: the teacher's logits for one sample, shape (K,), K from 3 to 8, spanning at most 16.
        label: the class that the data set gives, from 0 to K - 1.
        class_names: K names; the class numbers when left out.
        id: the element's id on the page is ``kd-ID``; use another for a second panel in one notebook.
        loss: which key of ``kdlab.lab.descent_losses.LOSSES`` the panel starts with.
        temperature: which of ``DESCENT_TEMPERATURES`` it starts with.
        alpha: which of ``DESCENT_ALPHAS`` it starts with.
        faulty: whether the five faulty losses are offered beside the four right ones.

    Returns:
        An :class:`Explorable`, at first with the descent done: make it the last expression of a cell.

    Raises:
        ValueError: an argument has the wrong shape or range; the message names the likely cause.

    Example:
        >>> descent_explorable([2.0, 0.5, -1.0], 0, temperature=4)
        Descent panel (9 losses, 3 classes, 2000 steps), at forward KL, T = 4, α = 1, after 2000 steps: favourite 0 ...
    """
    teacher = checked_row(teacher_logits).round(_DECIMALS) + 0.0  # + 0.0 turns -0.0 into 0.0
    names = _checked_names(class_names, len(teacher))
    places = {
        "temperature": _place("temperature", temperature, DESCENT_TEMPERATURES),
        "alpha": _place("alpha", alpha, DESCENT_ALPHAS),
    }
    path = descent_path(teacher, label, loss, temperature, alpha)
    offered = {key: described for key, described in LOSSES.items() if faulty or not described.faulty}
    if loss not in offered:
        raise ValueError(f"loss must be one of the right ones with faulty=False ({', '.join(offered)}), got {loss!r}")
    others = {key: descent_path(teacher, label, key, temperature, alpha) for key in offered}
    data = {
        "logits": teacher.tolist(),
        "label": int(label),
        "names": names,
        "losses": [{"key": key, **vars(described)} for key, described in offered.items()],
        "temperatures": list(DESCENT_TEMPERATURES),
        "alphas": list(DESCENT_ALPHAS),
        "steps": list(_SEEN),
        "rate": RATE,
        "loss": list(offered).index(loss),
        **places,
    }
    words = path.summary(names)
    picture = figure_bundle(
        descent_figure(path, class_names=names),
        alt="Above, bars of the student's probabilities at the end of its descent inside frames of the teacher's, at "
        f"T = 1 and at T = {temperature:g}. Below, the loss and the divergence from teacher to student over the steps. "
        f"In short: {words}.",
        caption="A still of the panel: run the cell or trust the notebook, and loss, T, α and the step can be chosen.",
    )
    return Explorable(
        "descent",
        name=id,
        title="Where the descent on a loss ends",
        data=data,
        fallback=picture["text/html"] + _table(others, names),
        text=f"Descent panel ({len(offered)} losses, {len(names)} classes, {STEPS} steps), at {words}.",
    )


def descent_figure(path: DescentPath, *, class_names: Sequence[str] | None = None, step: int = STEPS) -> Figure:
    """Draw a descent at one of its steps: a still of the descent panel.

    Args:
        path: from :func:`kdlab.lab.descent.descent_path`.
        class_names: K names; the class numbers when left out.
        step: from 0 to ``STEPS``.

    Returns:
        Student in frames of the teacher at T = 1 and at T, the loss and KL(p || q) over the steps.

    Raises:
        ValueError: ``step`` is out of range, or ``class_names`` too few or too many.

    Example:
        >>> len(descent_figure(descent_path([2.0, 0.5, -1.0], 0, "js", 2.0, 1.0), step=10).axes)
        4
    """
    if isinstance(step, bool) or not isinstance(step, int | np.integer) or not 0 <= step <= STEPS:
        raise ValueError(f"step must be a whole number from 0 to {STEPS}, got {step!r}")
    names = _checked_names(class_names, len(path.teacher))
    with house_style():
        figure, grid = new_figure(
            2, 2, width=8.6, height=3.2 + 0.26 * len(names), height_ratios=[0.5 + 0.25 * len(names), 1.9]
        )
        for axes, temperature in ((grid[0, 0], 1.0), (grid[0, 1], path.temperature)):
            _draw_shares(axes, path, step, temperature, names)
        grid[0, 0].set_title("Student and teacher at T = 1")
        grid[0, 1].set_title(f"At T = {path.temperature:g}")
        _draw_curve(grid[1, 0], path.losses, step)
        grid[1, 0].set_title(f"Loss L: {fixed_text(path.losses[step], 3)} at step {step}")
        _draw_curve(grid[1, 1], np.minimum(path.divergences, _far(path)), step)
        grid[1, 1].set_ylim(0, 1.04 * _far(path))
        grid[1, 1].set_title(f"KL(p ‖ q) at T = 1: {abs(path.divergences[step]):.3f} nats")
        _draw_ceiling(grid[1, 1], float(path.divergences[0]))
    return figure


def _draw_shares(axes: Axes, path: DescentPath, step: int, temperature: float, names: Sequence[str]) -> None:
    """Bars of the student in dashed frames of the teacher; signs and bold type mark label and favourite."""
    q = path.student(step, temperature)
    p = path.teacher ** (1 / temperature)
    p /= p.sum()
    first = favourites(path.teacher)
    rows = np.arange(len(names))
    colors = [COLORS["vermillion"] if k in first else COLORS["blue"] for k in rows]
    axes.barh(rows, q, height=0.72, color=colors)
    axes.barh(rows, p, height=0.72, fill=False, edgecolor=INK, linewidth=1, linestyle=_DASHES)
    for row, share in enumerate(q):
        axes.text(1.2, row, share_text(float(share)), ha="right", va="center", fontsize=9)
    axes.set(xlim=(0, 1.2), ylim=(len(names) - 0.4, -0.6))
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "0.25", "0.5", "0.75", "1"])
    signs = [("◆ " if k == path.label else "") + ("▶ " if k in first else "") for k in rows]
    axes.set_yticks(
        rows, [sign + (name if len(name) <= 12 else name[:11] + "…") for sign, name in zip(signs, names, strict=True)]
    )
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", length=0)
    handles = [
        Patch(color=COLORS["blue"], label="student q"),
        Patch(fill=False, edgecolor=INK, linestyle=_DASHES, label="teacher p"),
    ]
    axes.legend(handles=handles, loc="upper left", bbox_to_anchor=(0, 0), borderaxespad=2.0, borderpad=0, ncols=2)


def _draw_curve(axes: Axes, values: Any, step: int) -> None:
    """One value per step over a log axis of step + 1, so that step 0 has a place."""
    at = np.arange(len(values)) + 1
    axes.plot(at, values, color=COLORS["blue"])
    axes.plot(step + 1, values[step], "o", color=COLORS["vermillion"], markersize=9, markeredgecolor="white", zorder=3)
    axes.set(xscale="log", xlabel="step, log scale")
    ticks = [0, 1, 10, 100, 1000, STEPS]
    axes.set_xticks([tick + 1 for tick in ticks], [str(tick) for tick in ticks[:-1]] + [""])
    axes.minorticks_off()


def _draw_ceiling(axes: Axes, height: float) -> None:
    """Where a student stands that knows nothing."""
    axes.axhline(height, color=GREY, linestyle="--", linewidth=1.2)
    axes.text(STEPS / 2, height * 1.05, "all classes alike", ha="right", fontsize=9)


def _far(path: DescentPath) -> float:
    """Top of the divergence's axis, the same for every loss; what lies beyond is drawn there."""
    return max(2 * float(path.divergences[0]), 0.1)


def _table(paths: dict[str, DescentPath], names: Sequence[str]) -> str:
    """Where every loss ends, for pages where nothing moves."""
    some = next(iter(paths.values()))
    head = ["loss", *(f"q of {name}" for name in names), "KL(p ‖ q) in nats", "favourite as the teacher's"]
    rows = [("the teacher", some.teacher, "", "")]
    for key, path in paths.items():
        end = path.student(-1)
        same = "yes" if favourites(end) == favourites(path.teacher) else "no"
        group = "faulty: " if LOSSES[key].faulty else ""
        rows.append((group + LOSSES[key].name, end, f"{abs(path.divergences[-1]):.3f}", same))
    header = "".join(f'<th scope="col">{html.escape(cell)}</th>' for cell in head)
    body = "".join(
        f'<tr><th scope="row">{html.escape(name)}</th>'
        + "".join(f"<td>{html.escape(share_text(float(share)))}</td>" for share in shares)
        + f"<td>{divergence}</td><td>{same}</td></tr>"
        for name, shares, divergence, same in rows
    )
    return (
        f"<details><summary>Where every loss ends at T = {some.temperature:g}, α = {some.alpha:g}</summary>"
        f"<table><thead><tr>{header}</tr></thead><tbody>{body}</tbody></table></details>"
    )


def _checked_names(value: Sequence[str] | None, classes: int) -> list[str]:
    names = [str(k) for k in range(classes)] if value is None else [str(name) for name in value]
    if len(names) != classes:
        raise ValueError(f"class_names must hold {classes} names, one for each logit, got {len(names)}")
    return names


def _place(argument: str, value: Any, steps: Sequence[float]) -> int:
    """Which step of a slider a number is."""
    if not isinstance(value, bool) and isinstance(value, int | float | np.number):
        for place, step in enumerate(steps):
            if math.isclose(value, step, abs_tol=1e-9):
                return place
    allowed = ", ".join(f"{step:g}" for step in steps)
    raise ValueError(f"{argument} must be one of the slider's steps ({allowed}), got {value!r}")
