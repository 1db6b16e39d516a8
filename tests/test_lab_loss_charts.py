"""The charts of lesson 02 draw what they are given."""

from __future__ import annotations

import numpy as np

from kdlab.lab import fitted_curves, line_panels, property_matrix


def test_every_loss_and_property_has_its_mark() -> None:
    figure = property_matrix({"A": ["is_zero"], "B": [], "C": ["is_zero", "is_finite"]}, ["is_zero", "is_finite"])
    (axes,) = figure.axes
    crosses = [line for line in axes.lines if line.get_marker() == "X"]
    dots = [line for line in axes.lines if line.get_marker() == "o"]
    assert [list(line.get_ydata()) for line in crosses] == [[0], [], [0, 1]]
    assert [list(line.get_ydata()) for line in dots] == [[1], [0, 1], []]
    assert [text.get_text() for text in axes.get_xticklabels()] == ["A", "B", "C"]
    assert [text.get_text() for text in axes.get_yticklabels()] == ["is zero", "is finite"]


def test_fits_lie_over_their_target_and_differ_by_more_than_colour() -> None:
    x = np.linspace(-1, 1, 21)
    figure = fitted_curves(
        x, x**2, {"one": x**2, "two": 1 - x**2}, xlabel="class", ylabel="probability", target_name="teacher"
    )
    (axes,) = figure.axes
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["teacher", "one", "two"]
    assert len({(line.get_marker(), line.get_linestyle(), line.get_color()) for line in axes.lines}) == 2
    np.testing.assert_allclose(axes.lines[1].get_ydata(), 1 - x**2)


def test_ticks_may_be_chosen() -> None:
    lines = {"a": ([1, 2, 4], [0.1, 0.2, 0.3])}
    (axes,) = line_panels({"T": lines}, ylabel="y", ylim=(0, 1), xticks=[1, 2, 4]).axes
    assert [text.get_text() for text in axes.get_xticklabels()] == ["1", "2", "4"]
