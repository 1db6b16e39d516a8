"""The playground panel: a student's map of the plane forms with a teacher and without one, side by side and live.

Data, teacher and twin stand in ``playground.py``; the browser trains with ``static/panels/playground.js``.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from itertools import groupby
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from kdlab.lab.explorable import Explorable
from kdlab.lab.playground import (
    ANSWERS,
    CLASSES,
    HELD_OUT,
    LABELS,
    PLAYGROUND_ALPHAS,
    PLAYGROUND_TEMPERATURES,
    POOL,
    PROBES,
    RATE,
    REACH,
    SIZES,
    STEPS,
    PlaygroundSetting,
    PlaygroundState,
    labelled_points,
    playground_data,
    playground_run,
    playground_teacher,
    student_logits,
)
from kdlab.lab.seeds_twin import t_quantile
from kdlab.lab.show import picture_bundle, png_bytes
from kdlab.lab.theme import COLORS, GREY, INK, house_style, new_figure

__all__ = ["playground_explorable", "playground_figure"]

_CELLS = 180  # on each axis of a map
_COLORS = [COLORS[name] for name in ("blue", "orange", "purple")]
_HATCHES = ["", "///", ".."]
_MARKERS = ["o", "s", "^"]
_SEEN = tuple(range(0, STEPS + 1, 5))
_MOST = 20  # starts that one interval may hold


def playground_explorable(
    *,
    id: str = "playground",  # noqa: A002
    setting: PlaygroundSetting | None = None,
) -> Explorable:
    r"""A panel that trains two students on points in the plane: one from labels alone, one with a teacher as well.

    Both have one hidden layer, the same first weights, labels, steps and learning rate. The second minimises
    :math:`(1 - \alpha)\,\mathrm{CE} + \alpha T^2 \mathrm{KL}(p^T \| q^T)`; the teacher, who saw every label, answers
    for the labelled points only or for all. Each start draws first weights and labelled points anew.

    Args:
        id: the element's id on the page is ``kd-ID``; use another for a second panel in one notebook.
        setting: what the panel starts with; by default 12 hidden units, 2 labels of each class, T = 4, alpha = 0.9.

    Returns:
        An :class:`Explorable`, at first before the first step: make it the last expression of a cell.

    Raises:
        ValueError: ``id`` cannot be an id.

    References:
        Hinton, Vinyals, Dean (2015), Distilling the Knowledge in a Neural Network, arXiv 1503.02531.

    Example:
        >>> playground_explorable()
        Playground panel (two students, 3 classes, 400 steps). Start 1, 12 hidden units, 6 of 240 points labelled, ...
    """
    setting = setting or PlaygroundSetting()
    states = playground_run(setting, _SEEN)
    end = states[-1]
    points, classes = playground_data()
    held, held_classes = playground_data(2, HELD_OUT)
    data = {
        "points": points.tolist(),
        "classes": classes.tolist(),
        "answers": playground_teacher()(points).tolist(),
        "held": held.tolist(),
        "heldClasses": held_classes.tolist(),
        "teacherMap": _packed(playground_teacher()(_cells()).argmax(axis=1)),
        "teacherAccuracy": _teacher_accuracy(),
        "sizes": list(SIZES),
        "temperatures": list(PLAYGROUND_TEMPERATURES),
        "alphas": list(PLAYGROUND_ALPHAS),
        "labels": list(LABELS),
        "steps": STEPS,
        "rate": RATE,
        "reach": REACH,
        "probes": [list(probe) for probe in PROBES],
        "quantiles": [0, *(t_quantile(freedom) for freedom in range(1, _MOST))],
        "setting": {
            "size": SIZES.index(setting.size),
            "temperature": PLAYGROUND_TEMPERATURES.index(int(setting.temperature)),
            "alpha": PLAYGROUND_ALPHAS.index(setting.alpha),
            "labels": LABELS.index(setting.labels),
            "answers": ANSWERS.index(setting.answers),
            "start": setting.start,
        },
    }
    figure = _figure(states)
    picture = picture_bundle(
        _slim_png(figure),
        width=round(figure.get_figwidth() * 100),
        alt="Three maps of the plane, coloured by class: the teacher's three spiral arms, the student's that learned "
        "from labels alone, the student's that had the teacher too. Right, the share of held-out points that each "
        f"student has right, over the steps. In short: {end.summary()}; the teacher {100 * _teacher_accuracy():.1f} %.",
        caption="A still of the panel: run the cell or trust the notebook, and both students train before your eyes.",
    )
    return Explorable(
        "playground",
        name=id,
        title="Two students learn, one with a teacher",
        data=data,
        fallback=picture["text/html"],
        text=f"Playground panel (two students, {CLASSES} classes, {STEPS} steps). {end.summary()}.",
    )


def playground_figure(setting: PlaygroundSetting | None = None) -> Figure:
    """Draw the end of a run: a still of the playground panel.

    Args:
        setting: what to train; by default what the panel starts with.

    Returns:
        The teacher's map, both students' maps, and both accuracies over the steps.

    Example:
        >>> len(playground_figure(PlaygroundSetting(size=3, labels=20)).axes)
        4
    """
    return _figure(playground_run(setting or PlaygroundSetting(), _SEEN))


def _figure(states: Sequence[PlaygroundState]) -> Figure:
    end = states[-1]
    every, few = np.arange(CLASSES * POOL), np.array(labelled_points(end.setting))
    with house_style():
        figure, axes = new_figure(1, 4, width=10.2, height=3.1)
        _draw_map(axes[0], playground_teacher()(_cells()), every)
        axes[0].set_title(f"Teacher: {100 * _teacher_accuracy():.1f} %")
        for place, name in enumerate(("Labels alone", "With the teacher")):
            _draw_map(axes[1 + place], student_logits(end.weights[place], _cells()).numpy(), few)
            axes[1 + place].set_title(f"{name}: {100 * end.accuracies[place]:.1f} %")
        for place, (name, dashes) in enumerate((("labels alone", "--"), ("with the teacher", "-"))):
            axes[3].plot(_SEEN, [state.accuracies[place] for state in states], dashes, color=INK, label=name)
        axes[3].axhline(_teacher_accuracy(), color=GREY, linestyle=":", label="the teacher")
        axes[3].set(ylim=(0.2, 1), xlabel="step", title="Held-out points right")
        axes[3].set_yticks([0.2, 0.4, 0.6, 0.8, 1], ["20 %", "40 %", "60 %", "80 %", "100 %"])
        axes[3].legend(loc="lower right")
    return figure


def _draw_map(axes: Axes, logits: NDArray[np.float64], labelled: NDArray[np.int64]) -> None:
    """Regions in three colours with hatches, and the pool's points: strong where labelled, faint elsewhere."""
    regions = logits.argmax(axis=1).reshape(_CELLS, _CELLS)
    side = np.linspace(-REACH, REACH, _CELLS)
    axes.imshow(regions, extent=(-REACH, REACH, -REACH, REACH), cmap=ListedColormap(_COLORS), vmin=0, vmax=2, alpha=0.3)
    points, classes = playground_data()
    for k in range(CLASSES):
        if _HATCHES[k] and (regions == k).any():
            axes.contourf(side, side[::-1], regions == k, levels=[0.5, 1.5], colors="none", hatches=[_HATCHES[k]])
        mine = np.flatnonzero(classes == k)
        strong = np.intersect1d(mine, labelled)
        axes.scatter(points[mine, 0], points[mine, 1], s=5, marker=_MARKERS[k], color=_COLORS[k], alpha=0.6)
        size = 14 if len(labelled) > CLASSES * POOL / 2 else 45
        look: dict[str, Any] = {"marker": _MARKERS[k], "color": _COLORS[k], "edgecolor": INK, "linewidth": 0.8}
        axes.scatter(points[strong, 0], points[strong, 1], s=size, **look)
    axes.set(xticks=[], yticks=[], xlim=(-REACH, REACH), ylim=(-REACH, REACH), aspect="equal")
    axes.grid(visible=False)


def _cells() -> NDArray[np.float64]:
    """Centres of a map's cells, row by row from the top left."""
    side = (np.arange(_CELLS) + 0.5) * 2 * REACH / _CELLS - REACH
    return np.stack([np.tile(side, _CELLS), np.repeat(-side, _CELLS)], axis=1)


def _slim_png(figure: Figure) -> bytes:
    """The figure in 64 colours, a fifth of the bytes: it lies in the notebook beside the panel."""
    buffer = io.BytesIO()
    Image.open(io.BytesIO(png_bytes(figure))).convert("RGB").quantize(64).save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()


def _packed(cells: NDArray[np.int64]) -> str:
    """Classes as run lengths: 0, 0, 0, 2 is "a3c1"."""
    return "".join(f"{'abc'[k]}{len(list(run))}" for k, run in groupby(cells.tolist()))


def _teacher_accuracy() -> float:
    held, classes = playground_data(2, HELD_OUT)
    return float((playground_teacher()(held).argmax(axis=1) == classes).mean())
