"""Answers and stores that fight back, from a round of hostile testing: each was once a fault."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest
import torch

from kdlab.exercises import ask, check, given, grade, predict, store
from kdlab.exercises import card as cards
from kdlab.exercises.catalog import bank, exercise
from kdlab.exercises.store import default_store
from kdlab.exercises.verdict import INVALID, NOT_ATTEMPTED, OUTCOMES


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("KDLAB_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(cards, "_cards", {})
    monkeypatch.setattr(store, "_default", None)


@pytest.mark.parametrize(
    ("slug", "written", "meant"),
    [
        ("first-exercise", "75 %", 75.0),
        ("first-exercise", "75 percent", 75.0),
        ("born-again-network", " C) ", "c"),
        ("what-shrinks-the-file", "B, e f", ["b", "e", "f"]),
        (
            "compression-four-numbers",
            ["4x", "75％", "1.6 times", "11,25 %"],
            {"ratio": 4.0, "smaller": 75.0, "speed_up": 1.6, "error": 11.25},
        ),
        ("frozen-teacher-size", {"line": "line 5", "printed": "85002/610"}, {"line": 5, "printed": 85002 / 610}),
    ],
)
def test_given_passes_on_what_was_meant(slug: str, written: Any, meant: Any) -> None:
    assert given(written, slug) == meant


@pytest.mark.parametrize("one", bank(), ids=lambda one: one.slug)
def test_given_always_gives_something(one: Any) -> None:
    for answer in (None, "banana", one.wrong[0], one.reference):
        given(answer, one.slug)


def test_given_takes_a_function_of_any_name() -> None:
    f = given("def mine(z, t):\n    return (z / t).softmax(-1)\n", "softmax-with-temperature")
    assert f(torch.zeros(2), 1.0).tolist() == [0.5, 0.5]


@pytest.mark.parametrize(
    ("slug", "answer"),
    [
        ("compression-four-numbers", {"ratio": "1" + " " * 10**6 + "1"}),
        ("first-exercise", "9" * 10**8),
        ("what-shrinks-the-file", "a " * 10**7),
        ("softmax-with-temperature", "x = 1\n" * 10**6),
    ],
)
def test_a_long_text_is_refused_at_once(slug: str, answer: Any) -> None:
    start = time.perf_counter()
    assert grade(slug, answer).outcome == INVALID
    assert time.perf_counter() - start < 1


class Fake(np.float64):
    __module__ = "numpy"

    def item(self) -> Any:
        raise SystemExit


def test_a_class_that_calls_itself_numpys_is_not_believed() -> None:
    assert check("first-exercise", Fake(75)).outcome == INVALID


def test_a_function_with_a_hostile_wrapped_is_kept() -> None:
    class Hostile:
        def __getattribute__(self, name: str) -> Any:
            raise RuntimeError(name)

    def soften(z: Any, t: float) -> Any:
        return z

    soften.__wrapped__ = Hostile()  # type: ignore[attr-defined]
    assert check("softmax-with-temperature", soften).outcome in OUTCOMES


def test_an_outcome_of_the_future_does_not_keep_a_card_from_showing() -> None:
    for outcome in ("partly", ""):
        default_store().append("first-exercise", "attempt", outcome=outcome, answer=75, message="m")
    assert ask("first-exercise").state["verdict"] is None


@pytest.mark.parametrize(
    ("slug", "written", "shown"),
    [
        ("born-again-network", "C.", {"answer": "c"}),
        ("what-shrinks-the-file", "B, E", {"answer": ["b", "e"]}),
        ("what-shrinks-the-file", "banana", {"answer": []}),
        ("frozen-teacher-size", {"line": "line 5"}, {"line": "5", "printed": ""}),
    ],
)
def test_what_was_written_in_code_is_ticked_on_the_card(slug, written, shown) -> None:
    check(slug, written)
    assert ask(slug).state["values"] == shown


def test_the_starter_of_an_open_question_cannot_be_scored() -> None:
    one = exercise("why-distil")
    assert grade(one.slug, {"text": one.starter, "points": [0, 1, 2, 3]}).outcome == NOT_ATTEMPTED


def test_a_second_guess_is_never_called_the_one_that_counts() -> None:
    predict("p", 1)
    assert repr(predict("p")) == repr(predict("p", None)) == "Saved before you look: 1"
    predict("p", measured=3)
    assert "3" not in repr(predict("p", 3))
    for _ in range(3):
        predict("p", 3)
    assert len(default_store().events("p")) == 3
    predict("late", measured=5)
    assert "after the measurement" in repr(predict("late", 5))
    assert "your guess        1   measured        2" in repr(predict("both", 1, measured=2))
    repr(predict("none", measured={}))
