"""Forest and pair charts: every contrast and every run once, where its numbers say, told by more than colour."""

from __future__ import annotations

import pytest

from kdlab.experiments import contrast
from kdlab.lab.forest import forest_chart
from kdlab.lab.pair_chart import pair_panels

GAIN = contrast([0.05, 0.06, 0.07, 0.05, 0.06])
LOSS = contrast([-0.05, -0.06, -0.07, -0.05, -0.06])
NOTHING = contrast([0.01, -0.01, 0.02, -0.02, 0.001])
GROUPS = {"few": {"one": GAIN, "two": NOTHING}, "many": {"one": LOSS}}


def test_every_arm_has_its_interval_and_its_place_in_points() -> None:
    (axes,) = forest_chart(GROUPS, xlabel="points").axes
    spans = [collection.get_segments()[0][:, 0].tolist() for collection in axes.collections]
    assert spans == [pytest.approx([100 * end for end in one.interval]) for one in (GAIN, NOTHING, LOSS)]
    dots = [line.get_xdata()[0] for line in axes.lines if line.get_marker() == "o"]
    assert dots == pytest.approx([6 - 0.2, 0.02, -5.8])
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["one", "two", "one"]


def test_a_verdict_is_told_by_fill_and_by_sign() -> None:
    (axes,) = forest_chart(GROUPS, xlabel="points").axes
    hollow = [line.get_markerfacecolor() == "white" for line in axes.lines if line.get_marker() == "o"]
    assert hollow == [False, True, False]
    texts = [text.get_text() for text in axes.texts]
    assert "+5.8 ▲" in texts
    assert "+0.0 ○" in texts
    assert "−5.8 ▼" in texts
    assert {"few", "many"} <= set(texts)


def test_a_fixed_range_stays_fixed() -> None:
    (axes,) = forest_chart(GROUPS, xlabel="points", xlim=(-2, 2)).axes
    assert axes.get_xlim() == (-2, 2)


def test_nothing_to_draw_is_an_error() -> None:
    with pytest.raises(ValueError, match="groups is empty"):
        forest_chart({}, xlabel="points")


# ---- pairs, seed by seed


PANELS = {"before": {"alone": [0.5, 0.7], "taught": [0.6, 0.65]}, "after": {"alone": [0.9, 0.9], "taught": [0.9, 0.95]}}


def test_every_run_stands_at_its_seed_and_pairs_are_joined() -> None:
    figure = pair_panels(PANELS, xlabel="seed", ylabel="share right", ylim=(0, 1))
    for axes, (title, arms) in zip(figure.axes, PANELS.items(), strict=True):
        assert axes.get_title(loc="left") == title
        assert [list(line.get_ydata()) for line in axes.lines] == list(arms.values())
        joined = [segment[:, 1].tolist() for segment in axes.collections[0].get_segments()]
        assert joined == [sorted(pair) for pair in zip(*arms.values(), strict=True)]
        assert axes.get_ylim() == (0, 1)


def test_arms_differ_in_more_than_colour() -> None:
    figure = pair_panels(PANELS, xlabel="seed", ylabel="share right", ylim=(0, 1))
    assert len({line.get_marker() for line in figure.axes[0].lines}) == 2
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["alone", "taught"]


@pytest.mark.parametrize("broken", [{}, {"a": {"x": [1.0]}, "b": {"y": [1.0]}}, {"a": {"x": [1.0], "y": [1.0, 2.0]}}])
def test_panels_that_cannot_be_compared_are_refused(broken: dict[str, dict[str, list[float]]]) -> None:
    with pytest.raises(ValueError, match="every panel needs the same arms"):
        pair_panels(broken, xlabel="seed", ylabel="share right", ylim=(0, 1))
