"""Matrices are drawn as they are: every value in its square, one scale where one was asked for."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from kdlab import lab


def test_every_panel_shows_its_matrix_under_its_title() -> None:
    panels = {"first": torch.tensor([[1.0, 2.0], [3.0, 4.0]]), "second": [[-1.0, 0.5, 0.0]]}
    figure = lab.matrix_row(panels)
    for axes, (title, values) in zip(figure.axes, panels.items(), strict=True):
        assert axes.get_title() == title
        assert np.array_equal(axes.images[0].get_array(), np.asarray(values))


def test_small_matrices_carry_their_numbers_and_large_ones_do_not() -> None:
    figure = lab.matrix_row({"small": [[1.0, -0.25]], "large": torch.zeros(8, 8)}, decimals=2)
    assert [text.get_text() for text in figure.axes[0].texts] == ["1.00", "\N{MINUS SIGN}0.25"]
    assert not figure.axes[1].texts


def test_zero_is_white_whatever_the_sign_of_the_rest() -> None:
    figure = lab.matrix_row({"signed": [[-4.0, 0.0, 1.0]], "positive": [[0.0, 2.0]], "zero": [[0.0]]})
    limits = [axes.images[0].get_clim() for axes in figure.axes]
    assert limits == [(-4, 4), (0, 2), (0, 1)]
    for axes, place in zip(figure.axes, (1, 0, 0), strict=True):
        image = axes.images[0]
        color = image.cmap(image.norm(image.get_array().ravel()[place]))
        assert np.allclose(color, 1, atol=0.01)


def test_one_scale_for_all_on_request() -> None:
    panels = {"a": [[1.0]], "b": [[5.0]]}
    assert [axes.images[0].get_clim()[1] for axes in lab.matrix_row(panels).axes] == [1, 5]
    assert [axes.images[0].get_clim()[1] for axes in lab.matrix_row(panels, together=True).axes] == [5, 5]


def test_panels_wrap_and_leave_no_empty_frame() -> None:
    figure = lab.matrix_row({str(k): [[1.0]] for k in range(5)}, per_row=3)
    assert [axes.axison for axes in figure.axes] == [True] * 5 + [False]


@pytest.mark.parametrize(
    ("panels", "words"),
    [({}, "panels is empty"), ({"x": [1.0]}, r"'x' must be a matrix .* got shape \(1,\)"),
     ({"x": [[float("nan")]]}, "'x' must be finite"), ({"x": torch.zeros(0, 2)}, "must be a matrix")],
)  # fmt: skip
def test_what_cannot_be_drawn_is_refused(panels: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        lab.matrix_row(panels)
