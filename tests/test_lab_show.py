"""Figures: words that stand for them, the same bytes every time, and a palette that colour-blind readers can use."""

from __future__ import annotations

import base64
import itertools
from html.parser import HTMLParser

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest

from kdlab import lab
from kdlab.lab.show import figure_bundle


def _figure():
    figure, axes = lab.new_figure()
    axes.plot([0, 1], [0, 1])
    return figure


class Images(HTMLParser):
    """Collects the attributes of every <img>."""

    def __init__(self, markup: str) -> None:
        super().__init__()
        self.found: list[dict[str, str | None]] = []
        self.feed(markup)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "img":
            self.found.append(dict(attrs))


def test_the_alt_text_survives_quotes_and_tags() -> None:
    words = 'loss < 1 & "falling"'
    (image,) = Images(figure_bundle(_figure(), alt=words)["text/html"]).found
    assert image["alt"] == words


def test_the_bundle_holds_a_picture_and_its_words() -> None:
    bundle = figure_bundle(_figure(), alt="A rising line.", caption="up & up")
    assert base64.b64decode(bundle["image/png"]).startswith(b"\x89PNG")
    assert bundle["text/plain"] == "A rising line."
    assert "<figcaption>up &amp; up</figcaption>" in bundle["text/html"]


def test_the_same_figure_gives_the_same_bytes() -> None:
    assert figure_bundle(_figure(), alt="a") == figure_bundle(_figure(), alt="a")


@pytest.mark.parametrize("alt", ["", "   "])
def test_a_figure_without_words_is_refused(alt: str) -> None:
    with pytest.raises(ValueError, match="alt must be a sentence"):
        lab.show(_figure(), alt=alt)


def test_axes_instead_of_a_figure_are_refused() -> None:
    with pytest.raises(TypeError, match="did you pass the axes"):
        lab.show(_figure().axes[0], alt="a")  # type: ignore[arg-type]


def test_figures_leave_pyplot_and_its_settings_alone() -> None:
    before = dict(mpl.rcParams)
    _figure()
    assert plt.get_fignums() == []
    assert dict(mpl.rcParams) == before


def _linear(color: str) -> np.ndarray:
    value = np.array(mpl.colors.to_rgb(color))
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


# Machado, Oliveira, Fernandes (2009), full severity, on linear RGB.
DEFICIENCIES = {
    "protan": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deutan": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
}


def _lab_space(linear: np.ndarray) -> np.ndarray:
    """CIE Lab (D65) of a linear RGB colour."""
    matrix = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    x, y, z = np.cbrt(np.clip(matrix @ np.clip(linear, 0, 1) / np.array([0.9505, 1.0, 1.089]), 1e-6, None))
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("deficiency", DEFICIENCIES)
def test_the_series_stay_apart_for_colour_blind_readers(deficiency: str) -> None:
    matrix = np.array(DEFICIENCIES[deficiency])
    seen = [_lab_space(matrix @ _linear(color)) for color, _, _ in lab.SERIES]
    assert min(np.linalg.norm(a - b) for a, b in itertools.combinations(seen, 2)) > 12


def test_series_differ_in_marker_and_dash_too() -> None:
    assert len({marker for _, marker, _ in lab.SERIES}) == len({line for _, _, line in lab.SERIES}) == len(lab.SERIES)
