"""Explorables: panels that answer to a slider within a frame, without a kernel and without a network.

Python computes the numbers once and puts them into the output as JSON, with a static picture and a
table in front; ``static/explorables.js`` with the panel's own file in ``static/panels`` replaces those by a live panel
wherever scripts may run.
What an untrusted or printed page shows is the picture, so nobody meets an empty cell.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kdlab.lab.figures import logit_axis, share_text, temperature_alt, temperature_figure
from kdlab.lab.show import figure_bundle
from kdlab.lab.theme import COLORS
from kdlab.lab.twins import temperature_state

__all__ = ["TEMPERATURES", "Explorable", "temperature_explorable"]

TEMPERATURES = (0.25, 0.35, 0.5, 0.7, 1.0, 1.4, 2.0, 2.8, 4.0, 5.6, 8.0, 11.0, 16.0, 20.0)
"""The slider's steps: a factor of about the square root of two apart."""

_PANEL_PLACE = "  // @panel\n"
_DECIMALS = 4
_MAX_IMAGES = 12
_MAX_SIDE = 16  # a square of SVG for each pixel
_MAX_CLASSES = 20


class Explorable:
    """A live panel as a cell's output: HTML with a static fallback inside, and one sentence as plain text.

    Args:
        panel: the name of a file in ``static/panels``, without its ``.js``.
        name: the id on the page becomes ``kd-NAME``; one per page, the same in every run.
        title: what a screen reader calls the panel.
        data: what the panel needs, as JSON can hold it.
        fallback: markup shown where scripts do not run.
        text: the panel's default state in one sentence.

    Raises:
        ValueError: there is no such panel, or the name cannot be an id.
    """

    def __init__(self, panel: str, *, name: str, title: str, data: Mapping[str, Any], fallback: str, text: str) -> None:
        if not re.fullmatch(r"[a-z][a-z0-9-]*", name):
            raise ValueError(f"id must be lower-case letters, digits and hyphens, starting with a letter, got {name!r}")
        _script(panel)  # a panel that does not exist is an error here and not in the page
        self.panel = panel
        self.name = name
        self.title = title
        self.data = dict(data)
        self.fallback = fallback
        self.text = text

    @property
    def html(self) -> str:
        """The whole panel as markup that needs nothing else: fallback, data, script."""
        payload = json.dumps({**self.data, "colors": COLORS}, ensure_ascii=True, separators=(",", ":"))
        payload = payload.replace("<", "\\u003c")  # "</script>" inside a string would end the element
        return (
            f'<div class="kd-explorable" id="kd-{self.name}" data-kd-panel="{html.escape(self.panel, quote=True)}" '
            f'data-kd-title="{html.escape(self.title, quote=True)}">\n'
            f'<div class="kd-fallback">{self.fallback}</div>\n'
            f'<script type="application/json" class="kd-data">{payload}</script>\n'
            f"</div>\n<script>\n{_script(self.panel)}</script>"
        )

    def __repr__(self) -> str:
        return self.text

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        return {"text/html": self.html, "text/plain": self.text}


def temperature_explorable(
    images: Any,
    logits: Any,
    labels: Any,
    *,
    id: str = "temperature",  # noqa: A002
    class_names: Sequence[str] | None = None,
    image: int = 0,
    temperature: float = 1.0,
) -> Explorable:
    r"""A panel on what temperature does to a teacher's answer: choose an image, drag T.

    .. math:: p_k(T) = \frac{e^{z_k / T}}{\sum_{j=1}^{K} e^{z_j / T}}

    Args:
        images: grey values in 0..1 where 1 is ink, shape (n, H, W) or (n, 1, H, W); n up to 12, sides up to 16.
        logits: the teacher's logits z, not probabilities, shape (n, K), K from 3 to 20.
        labels: the classes that the data set gives, shape (n,).
        id: the element's id on the page is ``kd-ID``; use another for a second panel in one notebook.
        class_names: K names; the class numbers when left out.
        image: which image the panel starts with, from 0.
        temperature: which step of ``TEMPERATURES`` the panel starts with.

    Returns:
        An :class:`Explorable`: make it the last expression of a cell.

    Raises:
        ValueError: an argument has the wrong shape or range; the message names the likely cause.

    References:
        Hinton, Vinyals, Dean (2015), Distilling the Knowledge in a Neural Network, arXiv 1503.02531.

    Example:
        >>> temperature_explorable([[[0, 1], [1, 0]]], [[4.0, 2.0, 0.0]], [0], temperature=2)
        Temperature panel (1 image, 3 classes, T from 0.25 to 20), at first image 1, labelled 0. T = 2: top class 0 ...
    """
    pixels = _checked_images(images)
    scores = _checked_logits(logits, len(pixels))
    names = _checked_names(class_names, scores.shape[1])
    classes = _checked_labels(labels, len(pixels), scores.shape[1])
    image = _checked_index(image, len(pixels))
    step = _checked_step(temperature)
    domain, ticks = logit_axis(scores)
    data = {
        "images": pixels.reshape(len(pixels), -1).tolist(),
        "rows": pixels.shape[1],
        "columns": pixels.shape[2],
        "logits": scores.tolist(),
        "labels": classes,
        "names": names,
        "temperatures": [_plain_number(t) for t in TEMPERATURES],
        "image": image,
        "step": step,
        "domain": list(domain),
        "ticks": [_plain_number(tick) for tick in ticks],
    }
    state = temperature_state(scores[image], TEMPERATURES[step])
    figure = temperature_figure(
        pixels[image], scores[image], classes[image], state.temperature, class_names=names, domain=domain
    )
    picture = figure_bundle(
        figure,
        alt=temperature_alt(state, label=names[classes[image]], names=names),
        caption="A still of the panel: run the cell or trust the notebook, and T gets a slider.",
    )
    plural = "image" if len(pixels) == 1 else "images"
    return Explorable(
        "temperature",
        name=id,
        title="Temperature and the teacher's probabilities",
        data=data,
        fallback=picture["text/html"] + _temperature_table(scores[image], names),
        text=(
            f"Temperature panel ({len(pixels)} {plural}, {len(names)} classes, T from {TEMPERATURES[0]:g} to "
            f"{TEMPERATURES[-1]:g}), at first image {image + 1}, labelled {names[classes[image]]}. "
            f"{state.summary(names)}."
        ),
    )


def _temperature_table(logits: NDArray[np.float64], names: Sequence[str]) -> str:
    """The first image's probabilities at a few temperatures, for pages where nothing moves."""
    few = (0.5, 1.0, 4.0, 16.0)
    columns = [temperature_state(logits, t).probabilities for t in few]
    head = "".join(f'<th scope="col">p at T = {t:g}</th>' for t in few)
    body = "".join(
        f'<tr><th scope="row">{html.escape(name)}</th><td>{logits[k]:.2f}</td>'
        + "".join(f"<td>{html.escape(share_text(column[k]))}</td>" for column in columns)
        + "</tr>"
        for k, name in enumerate(names)
    )
    return (
        "<details><summary>The same in numbers, at four temperatures</summary>"
        f'<table><thead><tr><th scope="col">class</th><th scope="col">logit z</th>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></details>"
    )


@cache
def _script(panel: str) -> str:
    """The shared core with one panel inside its function, so that neither leaves a name on the page."""
    static = files("kdlab.lab").joinpath("static")
    known = sorted(entry.name.removesuffix(".js") for entry in static.joinpath("panels").iterdir())
    if panel not in known:
        raise ValueError(f"panel must be one of {', '.join(known)}, got {panel!r}: is its file in static/panels?")
    core = static.joinpath("explorables.js").read_text(encoding="utf-8")
    if core.count(_PANEL_PLACE) != 1:
        raise AssertionError(f"explorables.js must hold the line {_PANEL_PLACE.strip()!r} once: the panel goes there")
    text = core.replace(_PANEL_PLACE, static.joinpath("panels", f"{panel}.js").read_text(encoding="utf-8"))
    if "</script" in text.lower() or "<!--" in text:
        raise AssertionError(
            f"explorables.js or panels/{panel}.js holds '</script' or '<!--', which would end the inline script early"
        )
    return text


def _array(argument: str, value: Any) -> NDArray[np.float64]:
    """``value`` as float64, whatever it came as: list, NumPy array, or a tensor on any device."""
    if hasattr(value, "detach"):
        value = value.detach().cpu()
    try:
        array = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{argument} must be numbers in a regular array: {error}") from error
    if not np.isfinite(array).all():
        raise ValueError(f"{argument} must be finite, got NaN or infinity: did the teacher's training diverge?")
    return array


def _checked_images(value: Any) -> NDArray[np.float64]:
    images = _array("images", value)
    if images.ndim == 4 and images.shape[1] == 1:
        images = images[:, 0]
    if images.ndim != 3 or images.size == 0:
        raise ValueError(
            f"images must have shape (n, H, W) or (n, 1, H, W), got {images.shape}: "
            "flat pixels want reshape(-1, 8, 8), one image wants images[i : i + 1]"
        )
    if len(images) > _MAX_IMAGES:
        raise ValueError(f"images must be at most {_MAX_IMAGES}, got {len(images)}: choose a few, images[chosen]")
    if max(images.shape[1:]) > _MAX_SIDE:
        raise ValueError(f"images must be at most {_MAX_SIDE} pixels a side, got {images.shape[1:]}: shrink them first")
    if images.min() < 0 or images.max() > 1:
        raise ValueError(
            f"images must lie in 0..1, got {images.min():g} to {images.max():g}: "
            "scikit-learn's digits want a division by 16, bytes one by 255, normalised images their original"
        )
    return images.round(_DECIMALS) + 0.0


def _checked_logits(value: Any, n: int) -> NDArray[np.float64]:
    logits = _array("logits", value)
    if logits.ndim != 2 or len(logits) != n or not 3 <= logits.shape[1] <= _MAX_CLASSES:
        raise ValueError(
            f"logits must have shape ({n}, K), a row for each image and 3 to {_MAX_CLASSES} classes, "
            f"got {logits.shape}: did you choose the same rows of images and logits?"
        )
    if (logits >= 0).all() and np.allclose(logits.sum(axis=1), 1, atol=1e-3):
        raise ValueError("logits must be scores before softmax, got rows that sum to 1: are these probabilities?")
    return logits.round(_DECIMALS) + 0.0  # + 0.0 turns -0.0 into 0.0


def _checked_labels(value: Any, n: int, classes: int) -> list[int]:
    labels = _array("labels", value)
    if labels.shape != (n,):
        raise ValueError(f"labels must have shape ({n},), one for each image, got {labels.shape}")
    if (labels != labels.round()).any() or labels.min() < 0 or labels.max() >= classes:
        raise ValueError(f"labels must be classes from 0 to {classes - 1}, got {labels.tolist()}")
    return [int(label) for label in labels]


def _checked_names(value: Sequence[str] | None, classes: int) -> list[str]:
    if value is None:
        return [str(k) for k in range(classes)]
    names = [str(name) for name in value]
    if len(names) != classes:
        raise ValueError(f"class_names must hold {classes} names, one for each column of logits, got {len(names)}")
    return names


def _checked_index(value: int, n: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or not 0 <= value < n:
        raise ValueError(f"image must be an index from 0 to {n - 1}, got {value!r}")
    return int(value)


def _checked_step(value: float) -> int:
    try:
        return TEMPERATURES.index(float(value))
    except (TypeError, ValueError):
        steps = ", ".join(f"{t:g}" for t in TEMPERATURES)
        raise ValueError(f"temperature must be one of the slider's steps ({steps}), got {value!r}") from None


def _plain_number(value: float) -> int | float:
    """4 for 4.0, so that JSON and JavaScript write what Python's :g writes."""
    return int(value) if value == int(value) else value
