"""The card's Python side: what the page is told, when, and that nothing which was typed or answered is lost."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from kdlab.exercises import ask, bank, check, grade, store
from kdlab.exercises import card as cards
from kdlab.exercises.card_words import WORDS
from kdlab.exercises.catalog import Exercise, UnknownExercise, exercise
from kdlab.exercises.markup import to_html
from kdlab.exercises.store import default_store

NUMBER, SEVERAL, OPEN, CODE = (
    "first-exercise",
    "compression-four-numbers",
    "distillation-or-compression",
    "fair-latency-ratio",
)
EVERY = bank()
names = [one.slug for one in EVERY]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A learner of our own, and a process that has shown no cards yet."""
    monkeypatch.setenv("KDLAB_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("KDLAB_LANGUAGE", raising=False)
    monkeypatch.setattr(cards, "_cards", {})
    monkeypatch.setattr(store, "_default", None)  # it would bring along what another test could not write
    yield tmp_path / "home"
    for card in cards._cards.values():
        card.close()


class Page:
    """What the browser does: it sends messages and sees what comes back."""

    def __init__(self, slug: str, **options: Any) -> None:
        self.card = ask(slug, **options)
        self.heard: list[dict[str, Any]] = []
        self.card.send = self._hear  # type: ignore[method-assign]

    def _hear(self, message: dict[str, Any], buffers: Any = None) -> None:
        self.heard.append({**message, "answers then": self.state.get("answers")})

    def tell(self, kind: str, **payload: Any) -> dict[str, Any]:
        self.card._receive(self.card, {"kind": kind, "id": "7", **payload}, [])
        return self.heard[-1]

    def values(self, **fields: Any) -> dict[str, Any]:
        return {field.name: fields.get(field.name, "") for field in self.card._exercise.fields}

    @property
    def state(self) -> dict[str, Any]:
        return self.card.state


def texts(one: Exercise) -> list[str]:
    """Everything about an exercise that its page must not have before it was earned."""
    options = [option.message for field in one.fields for option in field.options]
    wrong = [mistake.message for field in one.fields for mistake in field.wrong]
    codes = [field.answer for field in one.fields if field.type == "code"]
    secrets = [one.solution, one.insight, *one.hints, *one.rubric, *one.red_flags, *options, *wrong, *codes]
    return [text for secret in filter(None, secrets) for text in (secret, to_html(secret))]


# ----------------------------------------------------------------------------------------------- before an answer


@pytest.mark.parametrize("slug", names)
def test_a_page_holds_no_answer_before_it_is_earned(slug: str) -> None:
    card, one = ask(slug), exercise(slug)
    told = json.dumps([card.content, card.state, card._repr_mimebundle_()], ensure_ascii=False)
    assert not [text for text in texts(one) if json.dumps(text, ensure_ascii=False)[1:-1] in told]
    assert '"correct": true' not in told
    assert '"answer":' not in json.dumps(card.content["fields"])


@pytest.mark.parametrize("slug", names)
def test_a_stored_notebook_says_the_same_whatever_was_answered(slug: str) -> None:
    one, before = exercise(slug), ask(slug)._repr_mimebundle_()
    for answer in (one.wrong[0], one.reference):
        check(slug, answer) if one.kind != "code" else default_store().append(slug, "attempt", outcome="correct")
    cards._cards.clear()
    after = ask(slug)._repr_mimebundle_()
    for kind in ("text/markdown", "text/plain"):
        assert before[kind] == after[kind]
    assert set(after) == {"application/vnd.jupyter.widget-view+json", "text/markdown", "text/plain"}
    assert one.title in after["text/plain"]
    assert "\n" not in after["text/plain"]
    assert one.prompt in after["text/markdown"]


def test_an_address_or_a_random_name_never_stands_in_the_words() -> None:
    told = [ask(slug)._repr_mimebundle_()[kind] for slug in names for kind in ("text/markdown", "text/plain")]
    assert not [text for text in told if re.search(r"0x[0-9a-f]{6}|[0-9a-f]{32}", text)]


def test_a_misspelt_name_is_answered_with_the_right_one() -> None:
    with pytest.raises(UnknownExercise, match=NUMBER):
        ask("frist-exercise")
    with pytest.raises(ValueError, match="language must be one of en, zh, got 'fr'"):
        ask(NUMBER, language="fr")


def test_plain_python_needs_neither_a_notebook_nor_torch() -> None:
    code = (
        "import sys; from kdlab.exercises import ask; print(ask('first-exercise')); assert 'torch' not in sys.modules"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "Exercise first-exercise: Your first answer (numeric, about 1 minute)\n"


# --------------------------------------------------------------------------------------------------------- answers


def test_a_wrong_answer_gets_its_own_message_and_a_right_one_the_insight() -> None:
    page, one = Page(NUMBER), exercise(NUMBER)
    page.tell("check", values={"answer": "25"})
    assert page.state["verdict"]["outcome"] == "incorrect"
    assert page.state["verdict"]["message"] == to_html(one.fields[0].wrong[0].message)
    assert page.state["status"] == "tried"
    page.tell("check", values={"answer": "3/4 * 100"})
    assert page.state["verdict"]["outcome"] == "correct"
    assert page.state["verdict"]["message"] == to_html(one.insight)
    assert page.state["status_text"] == "solved at attempt 2"


@pytest.mark.parametrize("slug", [one.slug for one in EVERY if one.kind != "code"])
def test_what_stands_in_the_fields_is_graded_as_in_code_and_comes_back(slug: str) -> None:
    one = exercise(slug)
    for answer in [one.reference, *one.wrong]:
        raw = json.loads(json.dumps(cards._raw(one, answer)))
        sent = raw[one.fields[0].name] if one.kind == "open" else cards._answer(one, raw)
        assert grade(slug, sent) == grade(slug, answer), answer
        assert cards._raw(one, sent) == raw


def test_each_of_several_fields_has_its_mark() -> None:
    page = Page(SEVERAL)
    page.tell("check", values=page.values(ratio="4", smaller="25", speed_up="fast"))
    marks = {"ratio": "correct", "smaller": "incorrect", "speed_up": "invalid", "error": "not attempted"}
    assert page.state["verdict"]["details"] == marks
    cards._cards.clear()
    assert ask(SEVERAL).state["verdict"]["details"] == marks  # the store has no details: they are found again


def test_an_empty_answer_is_no_attempt_and_says_what_to_do() -> None:
    for slug in (NUMBER, SEVERAL, "born-again-network", "what-shrinks-the-file", "frozen-teacher-size"):
        page = Page(slug)
        assert "nothing to check yet" in page.tell("check", values=page.values())["note"]
        assert page.state["answers"] == 0
        assert default_store().events(slug) == []


def test_a_check_in_code_shows_on_the_card() -> None:
    page = Page(NUMBER)
    check(NUMBER, 400)
    assert page.state["values"] == {"answer": "400"}
    assert "compression ratio" in page.state["verdict"]["message"]
    check(NUMBER, [75])  # no field can show this; the verdict can
    assert page.state["verdict"]["outcome"] == "invalid"


def test_one_exercise_is_one_card_however_often_it_is_asked() -> None:
    assert ask(NUMBER) is ask(NUMBER)
    card = ask(NUMBER)
    card.close()
    assert ask(NUMBER) is not card


def test_an_impatient_second_enter_is_no_second_attempt(monkeypatch: pytest.MonkeyPatch) -> None:
    page = Page(NUMBER)
    page.tell("check", values={"answer": "25"})
    page.tell("check", values={"answer": "25"})
    assert page.state["answers"] == 1
    page.tell("check", values={"answer": "300"})
    monkeypatch.setattr(cards, "_IMPATIENT", 0.0)
    page.tell("check", values={"answer": "300"})
    assert page.state["answers"] == 3


# ------------------------------------------------------------------------------------------------- hints, solution


def test_hints_open_one_by_one_and_stay_open() -> None:
    page, one = Page(NUMBER), exercise(NUMBER)
    for number in range(1, len(one.hints) + 1):
        page.tell("hint")
        assert page.state["hints"] == [to_html(text) for text in one.hints[:number]]
    page.tell("hint")
    cards._cards.clear()
    assert ask(NUMBER).state["hints"] == [to_html(text) for text in one.hints]


def test_the_solution_stays_shut_until_an_attempt_counts() -> None:
    page, one = Page(NUMBER), exercise(NUMBER)
    page.tell("solution")
    assert page.state["may_see_solution"] is False
    page.tell("check", values={"answer": "abc"})
    page.tell("solution")
    assert (page.state["may_see_solution"], page.state["solution"]) == (False, "")
    page.tell("check", values={"answer": "25"})
    assert (page.state["may_see_solution"], page.state["solution"]) == (True, "")
    page.tell("solution")
    assert page.state["solution"] == to_html(one.solution)
    cards._cards.clear()
    assert ask(NUMBER).state["solution"] == to_html(one.solution)


# --------------------------------------------------------------------------------------------------- open questions


def test_the_rubric_opens_after_a_text_of_ones_own() -> None:
    page, one = Page(OPEN), exercise(OPEN)
    empty = {"text": " ", "points": None, "flags": []}
    assert "write your own answer first" in page.tell("check", values={"answer": empty})["note"]
    assert page.state["rubric"] is None
    page.tell("check", values={"answer": {"text": "A goal and a method.", "points": None, "flags": []}})
    assert page.state["rubric"]["points"] == [to_html(point) for point in one.rubric]
    assert page.state["status_text"] == "saved, not scored yet"
    assert page.state["solution"] == ""


def test_a_self_score_is_graded_kept_and_shown_again() -> None:
    page = Page(OPEN)
    text = "A goal and a method."
    page.tell("check", values={"answer": {"text": text, "points": None, "flags": []}})
    page.tell("score", values={"answer": {"text": text, "points": [0], "flags": []}})
    assert page.state["verdict"]["outcome"] == "incorrect"
    page.tell("score", values={"answer": {"text": text, "points": [0, 1, 2], "flags": [1]}})
    assert "red flag" in page.state["verdict"]["message"]
    page.tell("score", values={"answer": {"text": text, "points": [0, 1, 2], "flags": []}})
    assert page.state["verdict"]["outcome"] == "correct"
    cards._cards.clear()
    assert ask(OPEN).state["values"] == {"answer": {"text": text, "points": [0, 1, 2], "flags": []}}


# ------------------------------------------------------------------------------------------------------------- code


def test_code_that_the_notebook_does_not_have_gets_words_and_no_attempt(bind: Callable[..., None]) -> None:
    page = Page(CODE)
    note = page.tell("check", values={"answer": ""})["note"]
    assert "no function <code>speed_up</code> yet" in note
    bind(speed_up=exercise(CODE).fields[0].starter)
    assert "still as it was at the start" in page.tell("check", values={"answer": ""})["note"]
    assert default_store().events(CODE) == []


@pytest.mark.slow
def test_code_is_what_the_notebook_has_now(bind: Callable[..., None]) -> None:
    page = Page(CODE)
    bind(speed_up="def speed_up(times_a, times_b):\n    return times_b[0] / times_a[0]\n")
    page.tell("check", values={"answer": ""})
    assert page.state["verdict"]["outcome"] == "incorrect"
    bind(speed_up=exercise(CODE).reference)
    page.tell("check", values={"answer": ""})
    assert page.state["verdict"]["outcome"] == "correct", page.state["verdict"]
    assert page.state["checked_code"].strip() == exercise(CODE).reference.strip()


@pytest.fixture
def bind(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """``bind(name=source)`` puts text that is code into the notebook's namespace."""

    def put(**found: str) -> None:
        for name, source in found.items():
            monkeypatch.setattr(sys.modules["__main__"], name, source, raising=False)

    return put


# ------------------------------------------------------------------------------------------------- nothing is lost


def test_a_draft_is_stored_and_comes_back_with_the_time_at_which_it_was_typed() -> None:
    page = Page(SEVERAL)
    typed = page.values(ratio="4", error="1")
    assert page.tell("draft", values=typed)["kept"] is True
    cards._cards.clear()
    again = ask(SEVERAL)
    assert again.state["values"] == typed
    assert again.state["at"] > 1.6e12
    assert again.state["verdict"] is None


def test_a_draft_that_is_stored_already_is_not_stored_again() -> None:
    page = Page(NUMBER)
    for typed in ("7", "7", "70", "70"):
        page.tell("draft", values={"answer": typed})
    page.tell("check", values={"answer": "25"})
    assert page.tell("draft", values={"answer": "25"})["kept"] is True
    assert [event.action for event in default_store().events(NUMBER)] == ["draft", "draft", "attempt"]


def test_a_draft_after_an_attempt_is_shown_and_the_verdict_still_belongs_to_the_attempt() -> None:
    page = Page(NUMBER)
    page.tell("check", values={"answer": "25"})
    page.tell("draft", values={"answer": "30"})
    assert (page.state["values"], page.state["checked"]) == ({"answer": "30"}, {"answer": "25"})
    page.tell("draft", values={"answer": ""})
    assert page.state["values"] == {"answer": ""}


def test_ticks_in_a_rubric_survive_before_they_are_scored() -> None:
    page = Page(OPEN)
    page.tell("check", values={"answer": {"text": "mine", "points": None, "flags": []}})
    ticked = {"answer": {"text": "mine", "points": [2], "flags": [0]}}
    page.tell("draft", values=ticked)
    cards._cards.clear()
    assert ask(OPEN).state["values"] == ticked


def test_a_store_that_cannot_be_written_is_said_and_never_called_kept(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.parent.joinpath("file").write_text("in the way")
    monkeypatch.setenv("KDLAB_HOME", str(home.parent / "file"))
    page = Page(NUMBER)
    reply = page.tell("draft", values={"answer": "25"})
    assert reply["kept"] is False
    assert "NOT SAVED" in reply["notice"]
    assert "NOT SAVED" in page.tell("check", values={"answer": "25"})["notice"]
    assert page.state["verdict"]["outcome"] == "incorrect"


# ------------------------------------------------------------------------------------------------------- messages


def test_the_page_hears_at_once_that_work_began_and_sees_the_verdict_before_it_ended() -> None:
    page = Page(NUMBER)
    page.tell("check", values={"answer": "25"})
    first, last = page.heard
    assert (first["kind"], first["id"], first["answers then"]) == ("started", "7", 0)
    assert (last["kind"], last["id"], last["answers then"]) == ("done", "7", 1)


@pytest.mark.parametrize(
    "message", [{"kind": "no such"}, {"kind": "check"}, {"kind": "check", "values": 3}, {"kind": "score", "values": {}}]
)
def test_whatever_goes_wrong_is_said_in_words(message: dict[str, Any]) -> None:
    page = Page(NUMBER)
    reply = page.tell(**message)
    assert reply["kind"] == "done"
    assert "not in your answer, which is kept" in reply["note"]


def test_an_interrupted_check_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cards.session, "check", interrupted)
    assert "was stopped" in Page(NUMBER).tell("check", values={"answer": "25"})["note"]


# ------------------------------------------------------------------------------------------------------- languages


def test_a_card_speaks_chinese_when_asked_or_switched() -> None:
    page = Page(NUMBER, language="zh")
    page.tell("check", values={"answer": "25"})
    assert "剩下" in page.state["verdict"]["message"]
    assert page.state["status_text"] == WORDS["zh"]["tried"]
    page.tell("language", language="en")
    assert page.card.content["words"] == WORDS["en"]
    assert "that is <em>left</em>" in page.state["verdict"]["message"]
    assert ask(NUMBER).state["values"] == {"answer": "25"}  # another card, the same learner


def test_a_notebook_keeps_its_language_whatever_the_switch_says() -> None:
    page = Page(NUMBER)
    before = page.card._repr_mimebundle_()
    page.tell("language", language="zh")
    assert page.card._repr_mimebundle_() == before


def test_every_word_that_the_page_uses_exists_in_both_languages() -> None:
    assert set(WORDS["en"]) == set(WORDS["zh"])
    for key, english in WORDS["en"].items():
        assert set(re.findall(r"\{\w+\}", english)) == set(re.findall(r"\{\w+\}", WORDS["zh"][key])), key
    script = Path(cards.__file__).parent.joinpath("static/card.js").read_text(encoding="utf-8")
    used = set(re.findall(r"\bwords\.(\w+)", script)) | set(re.findall(r'(?:words\[|button\()"([\w ]+)"', script))
    assert used <= set(WORDS["en"]), used - set(WORDS["en"])
