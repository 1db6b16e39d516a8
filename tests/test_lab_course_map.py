"""The map of the course shows every lesson, marks one, and stays legible."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import pytest
from matplotlib.figure import Figure

from kdlab import lab
from kdlab.lab.theme import INK
from kdlab.outline import GROUPS, LESSONS

LARGE = 12  # points: only the ring of the present lesson, and its twin in the key, are as large


def _texts(figure: Figure) -> dict[str, Any]:
    return {text.get_text().replace("\n", " "): text for text in figure.axes[0].texts}


def _dots(figure: Figure) -> list[Any]:
    return [line for line in figure.axes[0].lines if line.get_marker() == "o"]


def test_every_lesson_and_group_is_named() -> None:
    texts = _texts(lab.course_map(0))
    assert {stop.title for stop in LESSONS} | {stop.label for stop in LESSONS} | set(GROUPS) <= set(texts)


@pytest.mark.parametrize("here", range(len(LESSONS)))
def test_the_present_lesson_is_marked_by_more_than_colour(here: int) -> None:
    figure, plain = lab.course_map(here), lab.course_map()
    texts = _texts(figure)
    bold = {stop.number for stop in LESSONS if texts[stop.title].get_fontweight() == "bold"}
    assert bold == {here}
    rings = [dot for dot in _dots(figure) if dot.get_markersize() > LARGE]
    label = texts[LESSONS[here].label]
    assert next(dot.get_ydata()[0] for dot in rings) == label.get_position()[1]
    assert len(rings) == len([dot for dot in _dots(plain) if dot.get_markersize() > LARGE]) + 1


def test_a_lesson_in_the_making_is_hollow_and_faint() -> None:
    texts, dots = _texts(lab.course_map()), _dots(lab.course_map())
    for stop in LESSONS:
        x, y = texts[stop.label].get_position()
        (dot,) = [d for d in dots if d.get_ydata()[0] == y and 0 < x - d.get_xdata()[0] < 0.3]
        assert (dot.get_markerfacecolor() == "white") == (not stop.ready)
        assert (texts[stop.title].get_color() == INK) == stop.ready


@pytest.mark.parametrize("here", range(len(LESSONS)))
def test_no_words_overlap_and_none_leave_the_card(here: int) -> None:
    figure = lab.course_map(here)
    figure.draw_without_rendering()
    boxes = {name: text.get_window_extent() for name, text in _texts(figure).items()}
    card = figure.bbox
    for (name, box), (other, second) in combinations(boxes.items(), 2):
        assert not box.overlaps(second), f"{name!r} runs into {other!r}"
    for name, box in boxes.items():
        assert card.x0 <= box.x0 < box.x1 <= card.x1, name
        assert card.y0 <= box.y0 < box.y1 <= card.y1, name
    assert figure.get_figwidth() == pytest.approx(9)


def test_the_words_for_it_say_all_that_the_picture_says() -> None:
    alt = lab.course_map_alt(1)
    assert "You are at 01, Soft labels and temperature." in alt
    places = [alt.index(f"{stop.label} {stop.title}") for stop in LESSONS]
    assert places == sorted(places)
    assert alt.count("(in the making)") == sum(not stop.ready for stop in LESSONS)
    assert "You are at" not in lab.course_map_alt()


def test_a_lesson_that_is_not_on_the_map_is_refused() -> None:
    with pytest.raises(ValueError, match="from 0 to 15, got 16"):
        lab.course_map(16)
