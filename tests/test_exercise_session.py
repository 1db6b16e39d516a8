"""check, hint, solution, predict, given: what a learner calls, and what is kept of it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from kdlab.exercises import check, given, hint, predict, session, solution
from kdlab.exercises.catalog import UnknownExercise, exercise
from kdlab.exercises.store import Event, default_store
from kdlab.exercises.verdict import CORRECT, INCORRECT, INVALID, NOT_ATTEMPTED


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("KDLAB_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def _events(slug: str = "first-exercise") -> list[Event]:
    return default_store().events(slug)


# -------------------------------------------------------------------------------------------------------------- check


@pytest.mark.parametrize(("answer", "outcome"), [(75, CORRECT), (25, INCORRECT), ("banana", INVALID)])
def test_an_attempt_is_kept_with_its_outcome_answer_and_message(answer: Any, outcome: str) -> None:
    verdict = check("first-exercise", answer)
    (event,) = _events()
    assert (event.action, event.outcome, event.answer) == ("attempt", outcome, answer)
    assert event.message == verdict.message
    assert verdict.outcome == outcome


@pytest.mark.parametrize("blank", [None, ..., "", " "])
def test_a_blank_is_neither_kept_nor_counted_and_says_how_to_go_on(blank: Any) -> None:
    verdict = check("first-exercise", blank)
    assert verdict.outcome == NOT_ATTEMPTED
    assert "hint('first-exercise')" in verdict.message
    assert _events() == []


def test_every_attempt_is_kept_not_only_the_last() -> None:
    for answer in (25, 25, 300, 75, 25):
        check("first-exercise", answer)
    assert [event.answer for event in _events()] == [25, 25, 300, 75, 25]
    assert session.standing("first-exercise").first_correct_at_attempt == 4


def test_an_attempt_is_on_disk_for_other_processes_when_check_returns(home: Path) -> None:
    check("first-exercise", 25)
    code = "from kdlab.exercises.store import default_store; print(len(default_store().events()))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "1\n"


def test_invalid_answers_never_count() -> None:
    for answer in ("banana", float("nan"), [1]):
        assert check("first-exercise", answer).outcome == INVALID
    assert session.standing("first-exercise").attempts == 0


def test_a_function_is_kept_as_its_source_and_scalars_as_numbers() -> None:
    import numpy as np
    import torch

    def soften(z: Any, temperature: float) -> Any:
        return (z / temperature).softmax(dim=-1)

    assert check("softmax-with-temperature", soften).outcome == CORRECT
    assert "return (z / temperature).softmax(dim=-1)" in _events("softmax-with-temperature")[0].answer
    assert session.storable(torch.tensor(2.5)) == 2.5
    assert session.storable({"ratio": np.float32(4)}) == {"ratio": 4.0}
    assert session.storable(np.zeros(3)) == "<ndarray>"
    assert session.storable(torch.zeros((), device="meta")) == "<Tensor>"


def test_trouble_with_the_store_is_told_and_the_verdict_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("I am no folder")
    monkeypatch.setenv("KDLAB_HOME", str(tmp_path / "file"))
    verdict = check("first-exercise", 75)
    assert verdict.outcome == CORRECT
    assert "KDLAB_HOME=FOLDER" in verdict.notice
    assert "KDLAB_HOME" in repr(verdict)
    assert "KDLAB_HOME=FOLDER" in hint("first-exercise").text
    assert "KDLAB_HOME=FOLDER" in solution("first-exercise").text
    monkeypatch.setenv("KDLAB_HOME", str(tmp_path / "elsewhere"))
    assert [event.action for event in _events()] == ["attempt", "hint", "solution"]  # what waited moved along


def test_a_misspelt_slug_raises_with_a_suggestion() -> None:
    with pytest.raises(UnknownExercise, match="did you mean first-exercise"):
        check("first-exersise", 75)


def test_listeners_hear_of_every_change() -> None:
    heard: list[str] = []
    session.subscribe(heard.append)
    try:
        check("first-exercise", 25)
        hint("first-exercise")
        solution("first-exercise")
        check("born-again-network", None)
    finally:
        session._listeners.remove(heard.append)
    assert heard == ["first-exercise"] * 3


def test_a_view_that_fails_costs_no_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[str] = []

    def broken(slug: str) -> None:
        raise RuntimeError("no page")

    monkeypatch.setattr(session, "_listeners", [broken, heard.append])
    with pytest.warns(UserWarning, match="no page"):
        assert check("first-exercise", 75).outcome == CORRECT
    assert heard == ["first-exercise"]
    assert len(_events()) == 1


# ---------------------------------------------------------------------------------------------------- hint, solution


def test_hints_go_one_further_and_the_last_one_stays() -> None:
    one = exercise("first-exercise")
    said = [hint("first-exercise").text for _ in range(len(one.hints) + 1)]
    for number, text in enumerate(one.hints, 1):
        assert said[number - 1] == f"**Hint {number} of {len(one.hints)}.** {text}"
    assert said[-1] == said[-2]


def test_the_solution_opens_after_an_attempt_that_counts() -> None:
    one = exercise("first-exercise")
    for answer in (None, "banana"):
        check("first-exercise", answer)
        assert one.solution not in solution("first-exercise").text
    check("first-exercise", 25)
    assert solution("first-exercise").text == one.solution
    assert session.standing("first-exercise").revealed


def test_the_model_answer_of_an_open_question_opens_after_a_text_of_ones_own() -> None:
    one = exercise("why-distil")
    assert one.solution not in solution("why-distil").text
    check("why-distil", "Because a small model is cheap.")
    assert solution("why-distil").text == one.solution


def test_the_solution_of_a_code_exercise_shows_code() -> None:
    check("softmax-with-temperature", "def soften(z, temperature):\n    return z\n")
    text = solution("softmax-with-temperature").text
    assert "```python\ndef soften(z, temperature):" in text


# -------------------------------------------------------------------------------------------------------------- given


def test_given_passes_a_right_answer_on_and_keeps_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert given(75, "first-exercise") == 75
    assert given("300/4 ", "first-exercise") == 75.0
    assert capsys.readouterr().out == ""
    assert _events() == []


@pytest.mark.parametrize(("answer", "why"), [(None, "is not answered yet"), (25, "incorrect"), ("?", "invalid")])
def test_given_goes_on_with_the_reference_and_says_so(
    answer: Any, why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert given(answer, "first-exercise") == 75
    assert why in capsys.readouterr().out


def test_given_makes_a_function_of_code() -> None:
    import torch

    def soften(z: Any, temperature: float) -> Any: ...

    for answer in (soften, None, "def soften(z, temperature):\n    return (z / temperature).softmax(-1)\n"):
        function = given(answer, "softmax-with-temperature")
        assert torch.allclose(function(torch.zeros(2), 1.0), torch.tensor([0.5, 0.5]))

    def mine(z: Any, temperature: float) -> Any:
        return (z / temperature).softmax(dim=-1)

    assert given(mine, "softmax-with-temperature") is mine


# ------------------------------------------------------------------------------------------------------------ predict


def test_a_guess_is_saved_first_and_shown_beside_the_measurement() -> None:
    assert "Saved before you look: T = 1: 0.1, T = 8: 0.4" in repr(predict("p", {"T = 1": 0.1, "T = 8": 0.4}))
    shown = repr(predict("p", measured={"T = 1": 0.0112, "T = 8": 0.75}))
    assert shown.splitlines() == [
        "T = 1  your guess      0.1   measured   0.0112",
        "T = 8  your guess      0.4   measured     0.75",
    ]


@pytest.mark.parametrize("blank", [None, ..., "", {"a": None, "b": ...}])
def test_no_guess_is_fine_and_is_not_saved(blank: Any) -> None:
    assert repr(predict("p", blank)).startswith("No guess yet")
    assert _events("p") == []
    assert "your guess     none   measured" in repr(predict("p", measured=3))


def test_the_last_guess_before_the_measurement_counts_and_one_after_it_is_called_so() -> None:
    predict("p", 7)
    predict("p", 1)
    predict("p", measured=3)
    assert repr(predict("p", 3)) == "Your guess from before the measurement stays: 1"
    assert "your guess        1   measured        3" in repr(predict("p", measured=3))
    predict("late", None)
    predict("late", measured=5)
    predict("late", 5)
    assert "(this guess came after the measurement)" in repr(predict("late", measured=5))


def test_running_a_measurement_again_adds_nothing() -> None:
    for _ in range(3):
        predict("p", measured={"a": 1.5})
    assert len(_events("p")) == 1


def test_a_misspelt_name_in_a_guess_is_told() -> None:
    predict("p", {"points": 5})
    assert "(nothing was measured under the name points)" in repr(predict("p", measured={"points lost": 2}))


def test_a_guess_may_be_anything() -> None:
    for guess in ("bigger", 3, 0.5, {"a": object()}, ["x"], object()):
        assert repr(predict("any", guess))
