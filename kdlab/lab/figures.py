"""Pure drawing functions: numbers in, a matplotlib figure out; nothing is shown, nothing is kept.

Each figure draws one state of a panel, so that a page without scripts still shows what the panel says.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from kdlab.lab.theme import COLORS, GREY, INK, house_style, new_figure
from kdlab.lab.twins import TemperatureState, temperature_state

__all__ = ["logit_axis", "share_text", "temperature_alt", "temperature_figure"]

_CURVE = np.geomspace(0.25, 20, 97)  # temperatures at which the entropy curve is drawn


def temperature_figure(
    image: Any,
    logits: Any,
    label: int,
    temperature: float,
    *,
    class_names: Sequence[str] | None = None,
    domain: tuple[float, float] | None = None,
) -> Figure:
    """Draw what temperature does to a teacher's answer for one image: a still of the temperature panel.

    Args:
        image: grey values in 0..1, ink is 1, shape (H, W) or (1, H, W).
        logits: the teacher's logits z for this image, shape (K,).
        label: the class that the data set gives, 0..K-1.
        temperature: T, positive.
        class_names: K names; the class numbers when left out.
        domain: ends of the logit axis, for figures to be compared; chosen from ``logits`` when left out.

    Returns:
        Image, logits z beside z / T, probabilities, second thoughts and the entropy curve.

    Raises:
        ValueError: as :func:`kdlab.lab.twins.temperature_state`, or a label that is no class.

    Example:
        >>> figure = temperature_figure([[0, 1], [1, 0]], [4.0, 2.0, 0.0], label=1, temperature=2.0)
        >>> len(figure.axes)
        5
    """
    state = temperature_state(logits, temperature)
    plain = temperature_state(logits, 1.0)
    count = len(state.probabilities)
    if not 0 <= label < count:
        raise ValueError(f"label must be a class from 0 to {count - 1}, got {label}")
    names = list(class_names) if class_names is not None else [str(k) for k in range(count)]
    with house_style():
        figure, grid = new_figure(2, 3, width=8.6, height=5.6, width_ratios=[1.0, 2.2, 2.3], height_ratios=[2.1, 1.4])
        places = grid[0, 0].get_gridspec()
        for spare in grid[1]:
            spare.remove()
        lower = places[1, :].subgridspec(1, 2, wspace=0.06)
        others, entropy = figure.add_subplot(lower[0]), figure.add_subplot(lower[1])
        _draw_image(grid[0, 0], image, f"◆ label: {names[label]}\n▶ teacher: {names[state.top]}")
        _draw_logits(grid[0, 1], state, names, label, domain or logit_axis(logits)[0])
        _draw_probabilities(grid[0, 2], state, plain, names, label)
        _draw_second_thoughts(others, state, plain, names, label)
        _draw_entropy(entropy, state, logits)
    return figure


def temperature_alt(state: TemperatureState, *, label: str, names: Sequence[str]) -> str:
    """What :func:`temperature_figure` shows, for a reader who cannot see it."""
    chances = ", ".join(f"{name} {share_text(p)}" for name, p in zip(names, state.probabilities, strict=True))
    return (
        f"A digit labelled {label}, the teacher's logits, and bars of the probabilities they become at "
        f"T = {state.temperature:g}: {chances}. Below, the shares of the runner-up classes, and the entropy, which "
        f"rises with T towards {state.max_entropy:.2f} nats. In short: {state.summary(names)}."
    )


def logit_axis(logits: Any) -> tuple[tuple[float, float], list[float]]:
    """Ends and round ticks of one axis that holds zero and all of ``logits``.

    Example:
        >>> logit_axis([[-4.0, 11.5]])
        ((-4.62, 12.12), [0.0, 5.0, 10.0])
    """
    values = np.asarray(logits, dtype=np.float64)
    low, high = min(0.0, float(values.min())), max(0.0, float(values.max()))
    if low == high:  # nothing but zeros: any axis will do, but it must not be empty
        high = 1.0
    span = high - low
    low, high = low - 0.04 * span * (low < 0), high + 0.04 * span * (high > 0)
    magnitude = 10.0 ** math.floor(math.log10(span / 4))
    step = next(factor * magnitude for factor in (1, 2, 5, 10) if span / (factor * magnitude) <= 5)
    ticks = [round(step * i, 6) + 0.0 for i in range(math.ceil(low / step), math.floor(high / step) + 1)]
    return (round(low, 4), round(high, 4)), ticks


def _draw_image(axes: Axes, image: Any, note: str) -> None:
    pixels = np.asarray(image, dtype=np.float64)
    axes.imshow(pixels.reshape(pixels.shape[-2:]), cmap="Greys", vmin=0, vmax=1)
    axes.set(xticks=[], yticks=[], title="Image")
    axes.spines[["top", "right"]].set_visible(True)
    axes.set_xlabel(note, loc="left")
    axes.set_anchor("N")


def _draw_logits(
    axes: Axes, state: TemperatureState, names: Sequence[str], label: int, domain: tuple[float, float]
) -> None:
    rows = np.arange(len(names))
    axes.barh(rows, state.scaled * state.temperature, height=0.72, color="#D9D9D9", label="z")
    bars = axes.barh(rows, state.scaled, height=0.36, color=COLORS["blue"], label="z / T")
    bars[state.top].set_color(COLORS["vermillion"])
    axes.axvline(0, color=GREY, linewidth=0.8)
    axes.set(xlim=domain, title="Logits z, divided by T")
    _class_axis(axes, range(len(names)), state, names, label)
    _legend(axes, Patch(color="#D9D9D9", label="z"), Patch(color=COLORS["blue"], label="z / T"))


def _draw_probabilities(
    axes: Axes, state: TemperatureState, plain: TemperatureState, names: Sequence[str], label: int
) -> None:
    _share_bars(axes, state.probabilities, plain.probabilities, top=state.top)
    axes.set_title(f"Probabilities at T = {state.temperature:g}")
    _class_axis(axes, range(len(names)), state, names, label)
    _legend(axes, Patch(color=COLORS["blue"], label="p(T)"), _outline("p(1)"))


def _draw_second_thoughts(
    axes: Axes, state: TemperatureState, plain: TemperatureState, names: Sequence[str], label: int
) -> None:
    few = state.ranking[:3]
    _share_bars(axes, state.second_thoughts[:3], plain.second_thoughts[:3])
    guide = axes.axvline(1 / len(state.ranking), color=INK, linewidth=1.2, linestyle=":")
    guide.set_label(f"equal shares, 1/{len(state.ranking)}")
    axes.set_title(f"Second thoughts: {share_text(state.rest)} is left for the other {len(state.ranking)}")
    _class_axis(axes, few, state, names, label)
    _legend(axes, guide, _outline("at T = 1"))


def _draw_entropy(axes: Axes, state: TemperatureState, logits: Any) -> None:
    ceiling = state.max_entropy
    axes.plot(_CURVE, [temperature_state(logits, float(t)).entropy for t in _CURVE], color=COLORS["blue"])
    axes.axhline(ceiling, color=GREY, linestyle="--", linewidth=1.2)
    axes.text(0.25, ceiling * 1.03, f"ln {len(state.probabilities)}: all classes alike", fontsize=9, va="bottom")
    axes.vlines(state.temperature, 0, state.entropy, color=GREY, linestyle=":", linewidth=1.2)
    axes.plot(state.temperature, state.entropy, "o", color=COLORS["vermillion"], markersize=9, markeredgecolor="white")
    axes.set(xscale="log", ylim=(0, ceiling * 1.22), title=f"Entropy {state.entropy:.2f} of at most {ceiling:.2f} nats")
    ticks = [0.25, 0.5, 1, 2, 4, 8, 16]
    axes.set_xticks(ticks, [f"{t:g}" for t in ticks])
    axes.minorticks_off()
    axes.set_xlabel("temperature T", labelpad=2)


def _share_bars(axes: Axes, shares: Any, plain: Any, *, top: int | None = None) -> None:
    """Bars on an axis from 0 to 1 with numbers, and dashed frames where they stood at T = 1."""
    rows = np.arange(len(shares))
    bars = axes.barh(rows, shares, height=0.72, color=COLORS["blue"])
    if top is not None:
        bars[top].set_color(COLORS["vermillion"])
    axes.barh(rows, plain, height=0.72, fill=False, edgecolor=INK, linewidth=1, linestyle=(0, (3, 2)))
    for row, share in enumerate(shares):
        weight = "bold" if row == top else "normal"
        axes.text(1.2, row, share_text(share), ha="right", va="center", fontsize=9, fontweight=weight)
    axes.set_xlim(0, 1.2)
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "0.25", "0.5", "0.75", "1"])


def _class_axis(axes: Axes, classes: Sequence[int], state: TemperatureState, names: Sequence[str], label: int) -> None:
    """Classes from top to bottom; signs and bold type tell the label and the teacher's top class apart."""
    signs = [("◆ " if k == label else "") + ("▶ " if k == state.top else "") for k in classes]
    axes.set_yticks(range(len(classes)), [sign + names[k] for sign, k in zip(signs, classes, strict=True)])
    for text, k in zip(axes.get_yticklabels(), classes, strict=True):
        text.set_fontweight("bold" if k == state.top else "normal")
    axes.set_ylim(len(classes) - 0.4, -0.6)
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", length=0)


def _legend(axes: Axes, *handles: Any) -> None:
    axes.legend(
        handles=handles,
        loc="upper left",
        bbox_to_anchor=(0, 0),
        borderaxespad=2.0,  # in units of the font size: below the tick labels, however high the axes are
        borderpad=0,
        ncols=len(handles),
        handlelength=1.4,
        columnspacing=1.4,
    )


def _outline(text: str) -> Patch:
    return Patch(fill=False, edgecolor=INK, linestyle=(0, (3, 2)), label=text)


def share_text(share: float) -> str:
    """Three decimals, and never "0.000" for something that is not zero."""
    return "<0.001" if 0 < share < 0.0005 else f"{share:.3f}"
