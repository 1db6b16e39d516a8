"""The charts show the numbers they were given, on the axes they were given."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from kdlab import lab
from kdlab.experiments import Contrast
from kdlab.measure import ReliabilityBin


def _points(figure: Figure, axes: int = 0) -> list[list[float]]:
    return [list(np.asarray(line.get_ydata(), dtype=float)) for line in figure.axes[axes].lines]


def test_compare_points_draws_each_group_and_joins_the_extremes() -> None:
    groups = {"a": [0.1, 0.2], "b": [0.9, 0.4], "c": [0.5, 0.1]}
    figure = lab.compare_points(groups, ticks=["x", "y"], xlabel="digit", ylabel="share", ylim=(0, 1))
    assert _points(figure) == list(groups.values())
    joined = [segment[:, 1].tolist() for segment in figure.axes[0].collections[0].get_segments()]
    assert joined == [[0.1, 0.9], [0.1, 0.4]]
    assert [tick.get_text() for tick in figure.axes[0].get_xticklabels()] == ["x", "y"]
    assert figure.axes[0].get_ylim() == (0, 1)


def test_interval_chart_draws_points_intervals_and_hollow_doubt() -> None:
    contrasts = {
        "T = 1": Contrast(0.01, (-0.01, 0.03), 0.3, "cannot tell"),
        "T = 4": Contrast(0.05, (0.03, 0.07), 0.001, "better"),
    }
    figure = lab.interval_chart(contrasts, xlabel="T", ylabel="points")
    axes = figure.axes[0]
    assert [line.get_ydata()[0] for line in axes.lines[:2]] == pytest.approx([1, 5])
    drawn = [collection.get_segments()[0][:, 1].tolist() for collection in axes.collections]
    assert drawn == [pytest.approx([-1, 3]), pytest.approx([3, 7])]
    assert axes.lines[0].get_markerfacecolor() == "white"
    assert axes.lines[1].get_markerfacecolor() != "white"


@pytest.mark.parametrize("groups", [1, 2])
def test_soft_label_gallery_draws_every_probability(groups: int) -> None:
    p = torch.tensor([[0.7, 0.2, 0.1], [0.1, 0.1, 0.8]])
    given = {"T = 1": p, "T = 8": p.flip(1)}
    chosen = dict(list(given.items())[:groups])
    figure = lab.soft_label_gallery(torch.rand(2, 8, 8), ["one", "two"], chosen)
    heights = [[bar.get_height() for bar in container] for container in figure.axes[2].containers]
    assert heights == [pytest.approx(values[0].tolist()) for values in chosen.values()]
    assert figure.axes[0].get_title(loc="left") == "one"
    assert figure.axes[3].get_ylim() == (0, 1)


def test_line_panels_share_the_y_axis() -> None:
    panels = {"T": {"a": ([1, 10], [0.2, 0.4])}, "T / s": {"a": ([0.1, 1], [0.3, 0.9])}}
    figure = lab.line_panels(panels, ylabel="p", ylim=(0, 1))
    assert [axes.get_xlabel() for axes in figure.axes] == ["T", "T / s"]
    assert [axes.get_ylim() for axes in figure.axes] == [(0, 1), (0, 1)]
    assert _points(figure, 1) == [[0.3, 0.9]]


def test_null_distribution_counts_every_shuffle() -> None:
    shuffled = [0.2] * 30 + [0.3] * 20
    figure = lab.null_distribution(0.5, shuffled, chance=0.1, xlabel="agreement", xlim=(0, 1))
    axes = figure.axes[0]
    assert sum(bar.get_height() for bar in axes.patches) == 50
    assert [line.get_xdata()[0] for line in axes.lines] == [0.5, 0.1]


def test_reliability_diagram_leaves_out_nearly_empty_bins() -> None:
    bins = [ReliabilityBin(0, 0.5, 4, 0.4, 0.1), ReliabilityBin(0.5, 1, 50, 0.8, 0.6)]
    figure = lab.reliability_diagram({"before": bins, "after": bins}, least=5)
    assert _points(figure) == [[0, 1], [0.6]]
    assert len(figure.axes) == 2


def test_charts_wear_the_house_style_to_the_last_legend() -> None:
    figure = lab.compare_points({"a": [0.1], "b": [0.2]}, ticks=["x"], xlabel="x", ylabel="y", ylim=(0, 1))
    assert not figure.axes[0].get_legend().get_frame_on()


def test_ratio_bars_start_at_one_on_a_fixed_log_axis() -> None:
    figure = lab.ratio_bars({"bytes": 125.04, "time": 6.8, "slower": 0.5}, xlabel="old / new", xlim=(0.1, 1000))
    axes = figure.axes[0]
    assert [(bar.get_x(), bar.get_x() + bar.get_width()) for bar in axes.patches] == [
        (1, pytest.approx(125.04)),
        (1, pytest.approx(6.8)),
        (1, pytest.approx(0.5)),
    ]
    assert [text.get_text() for text in axes.texts] == ["125×", "6.8×", "0.5×"]
    assert axes.get_xscale() == "log"
    assert axes.get_xlim() == (0.1, 1000)
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["bytes", "time", "slower"]


def test_line_panels_can_have_a_log_scale_upwards() -> None:
    figure = lab.line_panels({"n": {"a": ([1, 10], [5, 50])}}, ylabel="us", ylim=(1, 100), yscale="log")
    assert figure.axes[0].get_yscale() == "log"
