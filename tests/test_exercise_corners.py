"""Tests that a mutation round found missing."""

from __future__ import annotations

import copy
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from kdlab.exercises import ask, catalog, check, grade, predict, store
from kdlab.exercises import card as cards
from kdlab.exercises.catalog import BankError, exercise, load
from kdlab.exercises.expressions import ExpressionError, evaluate
from kdlab.exercises.standing import due, review, standings
from kdlab.exercises.store import Event, default_store
from kdlab.exercises.verdict import CORRECT, INCORRECT, INVALID, NOT_ATTEMPTED


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("KDLAB_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(cards, "_cards", {})
    monkeypatch.setattr(store, "_default", None)


# grading
def test_only_a_near_number_is_told_the_name_of_a_mistake() -> None:
    assert "left" in grade("first-exercise", 24.5).message
    assert grade("first-exercise", 24).message == "24 is too small."


def test_the_nearest_of_two_known_mistakes_is_named() -> None:
    assert "get" in grade("compression-four-numbers", {"speed_up": 0.611}).message
    assert "turn it round" in grade("compression-four-numbers", {"speed_up": 0.615}).message


def test_an_expression_that_is_nearly_right_is_not_right() -> None:
    verdict = grade("overhead-limits-speed-up", {"student": "o + c/m + 0.001"})
    assert verdict.outcome == INCORRECT


def test_a_bare_number_is_an_expression_too() -> None:
    assert grade("overhead-limits-speed-up", {"student": 5}).outcome == INCORRECT


def test_details_are_by_field_and_only_where_there_are_several() -> None:
    assert grade("first-exercise", 75).details == {}
    one = exercise("compression-four-numbers")
    assert check(one.slug, one.reference).details == dict.fromkeys(one.reference, CORRECT)


def test_a_hundredth_of_a_ratio_is_wrong_and_no_slip_of_per_cent() -> None:
    assert grade("compression-four-numbers", {"ratio": 0.04}).outcome == INCORRECT
    assert grade("first-exercise", 76).outcome == INCORRECT


@pytest.mark.parametrize("nothing", [[], (), set(), ",", " , "])
def test_no_option_at_all_is_no_attempt(nothing: Any) -> None:
    assert grade("what-shrinks-the-file", nothing).outcome == NOT_ATTEMPTED


def test_choices_say_which_way_the_first_is_wrong_and_how_many_are() -> None:
    assert grade("what-shrinks-the-file", "a b e f").message.startswith("**a** should not be ticked")
    one_off = grade("what-shrinks-the-file", "b e").message
    assert one_off.startswith("**f** belongs to it")
    assert "options are not" not in one_off
    assert "(2 of 6 options are not" in grade("what-shrinks-the-file", "a b e").message


def test_the_last_line_of_a_listing_is_a_line() -> None:
    assert "old over new" in grade("frozen-teacher-size", {"line": 10}).message.lower()


def test_units_and_languages() -> None:
    assert "剩下" in grade("first-exercise", 25, language="zh").message


def test_a_starter_with_other_spaces_is_not_attempted_without_running_it(monkeypatch) -> None:
    monkeypatch.setattr("kdlab.exercises.sandbox.run_code", lambda *a, **k: pytest.fail("was run"))
    one = exercise("fair-latency-ratio")
    assert grade(one.slug, one.starter + "\n\n# later\n").outcome == NOT_ATTEMPTED


def test_the_first_red_flag_and_the_first_missing_point_are_named() -> None:
    one = exercise("distillation-or-compression")
    said = grade(one.slug, {"text": "x", "points": [0, 1, 2], "flags": [1, 0]}).message
    assert one.red_flags[0] in said
    said = grade(one.slug, {"text": "x", "points": [0, 2, 2, 2], "flags": []})
    assert said.outcome == INCORRECT
    assert one.rubric[1] in said.message


def test_a_negative_point_is_invalid() -> None:
    assert grade("why-distil", {"text": "x", "points": [-1, 0, 1]}).outcome == INVALID


def test_what_a_wrong_function_printed_is_shown() -> None:
    source = "def soften(z, temperature):\n    print('hello there')\n    return z\n"
    assert "hello there" in grade("softmax-with-temperature", source).message
    right = source.replace("return z", "return (z / temperature).softmax(-1)")
    assert "hello there" not in grade("softmax-with-temperature", right).message


def test_ctrl_c_goes_through(monkeypatch) -> None:
    def interrupted(*_: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setitem(__import__("kdlab.exercises.grading", fromlist=["x"])._GRADERS, "number", interrupted)
    with pytest.raises(KeyboardInterrupt):
        grade("first-exercise", 75)


# expressions
@pytest.mark.parametrize(
    ("text", "value"),
    [("5–2", 3), ("log(e)", 1), ("log10(100)", 2), ("1\u00a0+ 2", 3), ("+3", 3), ("1" + "+1" * 149, 150)],
)
def test_more_that_people_type(text: str, value: float) -> None:
    assert evaluate(text) == pytest.approx(value)


def test_a_variable_hides_a_constant() -> None:
    assert evaluate("e*pi", {"e": 2, "pi": 5}) == 10


@pytest.mark.parametrize(
    ("text", "complaint"), [("(-8)**(1/3)", "no value among the real"), ("1+" * 150 + "1", "301 characters")]
)
def test_more_that_is_refused(text: str, complaint: str) -> None:
    with pytest.raises(ExpressionError, match=complaint):
        evaluate(text)


# catalog
ROOT = Path(catalog.__file__).parents[2]
ENTRIES = {
    e["slug"]: e for e in yaml.safe_load((ROOT / "data/exercises/00_start_here.yaml").read_text(encoding="utf-8"))
}


def loaded(tmp_path: Path, slug: str, harm: Any) -> Any:
    entry = copy.deepcopy(ENTRIES[slug])
    harm(entry)
    (tmp_path / "00_bad.yaml").write_text(yaml.safe_dump([entry]), encoding="utf-8")
    return load(tmp_path)[0]


@pytest.mark.parametrize(
    ("slug", "harm", "complaint"),
    [
        (
            "born-again-network",
            lambda e: e["fields"].append(dict(e["fields"][0], name="b", label={"en": "b"})),
            "has only",
        ),
        ("why-distil", lambda e: e.update(rubric=e["rubric"][:2]), "3 to 6 points"),
        ("why-distil", lambda e: e.pop("red_flags"), "has red flags"),
        ("frozen-teacher-size", lambda e: e["fields"][0].pop("label"), "wants a label"),
        (
            "born-again-network",
            lambda e: e["fields"][0].update(options=e["fields"][0]["options"][1:3]),
            "at least three options",
        ),
        ("born-again-network", lambda e: e["fields"][0]["options"][0].update(id="b"), "different ids"),
        (
            "born-again-network",
            lambda e: e["fields"][0]["options"][2].pop("correct"),
            "0 options are marked|wants a message",
        ),
        (
            "born-again-network",
            lambda e: e["fields"][0]["options"][0].update(correct=True),
            "2 options are marked correct",
        ),
        ("born-again-network", lambda e: e["fields"][0]["options"][0].pop("message"), "wrong wants a message"),
        ("fair-latency-ratio", lambda e: e["fields"][0].update(function="speed up"), "name of a function"),
        ("fair-latency-ratio", lambda e: e["fields"][0].update(starter="def other(): ..."), "must define speed_up"),
        (
            "overhead-limits-speed-up",
            lambda e: [v.__delitem__(slice(2, None)) for v in e["fields"][0]["variables"].values()],
            "at least three values",
        ),
        (
            "overhead-limits-speed-up",
            lambda e: e["fields"][2]["wrong"][0].update(answer="(c + o)/o"),
            "equals the right one",
        ),
        ("frozen-teacher-size", lambda e: e["fields"][0].update(answer=99), "not in the listing"),
        ("first-exercise", lambda e: e["fields"][0].update(tolerence=0.1), "unknown tolerence"),
    ],
)
def test_more_banks_out_of_order(slug: str, harm: Any, complaint: str, tmp_path: Path) -> None:
    with pytest.raises(BankError, match=complaint):
        loaded(tmp_path, slug, harm)


def test_three_of_four_points_pass_unless_the_bank_says_otherwise(tmp_path: Path) -> None:
    assert loaded(tmp_path, "why-distil", lambda e: e.update(rubric=e["rubric"][:4])).passing == 3


def test_an_installed_bank_stands_in_the_package(monkeypatch, tmp_path) -> None:
    package = tmp_path / "site" / "kdlab"
    monkeypatch.setattr(catalog, "__file__", str(package / "exercises" / "catalog.py"))
    assert catalog.bank_folder() == package / "_exercises"


def test_language_in_capitals(monkeypatch) -> None:
    monkeypatch.setenv("KDLAB_LANGUAGE", "ZH-CN")
    assert catalog.language() == "zh"


# session
def test_an_answer_between_two_runs_of_a_measurement_changes_nothing() -> None:
    predict("first-exercise", measured=1)
    check("first-exercise", 25)
    predict("first-exercise", measured=1)
    assert [e.action for e in default_store().events("first-exercise")].count("measurement") == 1


def test_another_result_is_another_measurement() -> None:
    predict("p", measured=1)
    predict("p", measured=2)
    assert [e.answer for e in default_store().events("p")] == [1, 2]


def test_one_guess_stands_beside_each_of_several_results() -> None:
    predict("p", 3)
    assert repr(predict("p", measured={"a": 1, "b": 2})).count("your guess        3") == 2


# standing
START = datetime(2026, 3, 1, 9, tzinfo=UTC)


def at(days: float) -> str:
    return (START + timedelta(days=days)).isoformat(timespec="microseconds")


def test_a_third_of_the_interval_is_too_early_for_a_review() -> None:
    events = [
        Event("a", "attempt", o, 1, "m", at=at(d)) for o, d in (("incorrect", 0), ("correct", 0), ("correct", 0.4))
    ]
    assert due(standings(events)["a"]) == START + timedelta(days=1)
    events.append(Event("a", "attempt", "correct", 1, "m", at=at(0.6)))
    assert due(standings(events)["a"]) == START + timedelta(days=3.6)


def test_due_on_the_minute() -> None:
    class S:
        slug = "a"
        lesson = 1
        kind = "numeric"

    events = [Event("a", "attempt", o, 1, "m", at=at(0)) for o in ("incorrect", "correct")]
    assert len(review([S], events, START + timedelta(days=1))) == 1


# card
class Page:
    def __init__(self, slug: str) -> None:
        self.card, self.heard = ask(slug), []
        self.card.send = lambda message, buffers=None: self.heard.append(message)

    def tell(self, kind: str, **payload: Any) -> dict[str, Any]:
        self.card._receive(self.card, {"kind": kind, "id": "7", **payload}, [])
        return self.heard[-1]


def test_half_an_answer_is_kept_and_judged_without_a_fault() -> None:
    page = Page("compression-four-numbers")
    reply = page.tell("check", values={"ratio": "4", "smaller": "", "speed_up": "", "error": ""})
    assert "note" not in reply
    assert page.card.state["verdict"]["outcome"] == NOT_ATTEMPTED


def test_a_score_that_could_not_be_saved_says_so(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("KDLAB_HOME", str(tmp_path / "file"))
    page = Page("why-distil")
    assert "NOT SAVED" in page.tell("score", values={"answer": {"text": "x", "points": [0], "flags": []}})["notice"]


def test_a_verdict_that_was_given_stands_although_the_bank_changed() -> None:
    default_store().append("first-exercise", "attempt", outcome="correct", answer=25, message="It was right then.")
    assert ask("first-exercise").state["verdict"]["outcome"] == CORRECT
    assert "right then" in ask("first-exercise").state["verdict"]["message"]


def test_code_is_checked_again_at_once(monkeypatch) -> None:
    import __main__

    page, starter = Page("fair-latency-ratio"), "def speed_up(a, b):\n    return 1 / 0\n"
    monkeypatch.setattr(__main__, "speed_up", starter, raising=False)
    page.tell("check", values={"answer": ""})
    page.tell("check", values={"answer": ""})
    assert page.card.state["answers"] == 2


def test_a_fault_is_told_in_short(monkeypatch) -> None:
    def broken(*_: Any) -> None:
        raise RuntimeError("x" * 9000)

    monkeypatch.setattr(cards.session, "check", broken)
    assert len(Page("first-exercise").tell("check", values={"answer": "25"})["note"]) < 700


# core
def test_near_is_relative_for_large_numbers_and_absolute_for_small_ones() -> None:
    from kdlab.exercises.properties.core import near, shown

    assert near(1e6, 1e6 + 1, 1e-5)
    assert near(0.0, 1e-6, 1e-5)
    assert not near(1.0, 1.1, 1e-5)
    assert shown(torch.zeros(12)).startswith("[")
    assert shown(torch.zeros(13)) == "tensor of shape [13]"
    assert shown(123456.7) == "123457"
    assert shown(0.333333) == "0.3333"


# the last survivors
def test_a_slip_of_a_thousand_down_just_enough_points_and_no_slack_beside_the_tolerance() -> None:
    assert "Too small by a factor of a thousand" in grade("first-exercise", 0.075).message
    assert grade("why-distil", {"text": "x", "points": [0, 1, 2]}).outcome == CORRECT
    assert grade("cost-of-a-teacher", {"cached": 1.1228}).details["cached"] == INCORRECT


def test_stores_have_drafts_of_their_own_in_the_browser(tmp_path: Path, monkeypatch) -> None:
    before = ask("first-exercise").state["home"]
    monkeypatch.setenv("KDLAB_HOME", str(tmp_path / "other"))
    assert ask("first-exercise").state["home"] != before


def test_a_check_redraws_the_cards_of_its_exercise_only(monkeypatch) -> None:
    ask("born-again-network")
    ask("first-exercise")
    drawn: list[str] = []
    monkeypatch.setattr(cards.Card, "refresh", lambda self: drawn.append(self._exercise.slug))
    check("first-exercise", 25)
    assert drawn == ["first-exercise"]
