"""What events add up to, and what is worth doing next."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kdlab.exercises.standing import INTERVALS, Standing, due, hardness, review, standings
from kdlab.exercises.store import ACTIONS, Event

START = datetime(2026, 3, 1, 9, tzinfo=UTC)


@dataclass(frozen=True)
class Stub:
    slug: str
    lesson: int = 1
    minutes: int = 5
    kind: str = "numeric"


def at(days: float) -> str:
    return (START + timedelta(days=days)).isoformat(timespec="microseconds")


def attempt(slug: str, outcome: str, days: float = 0, answer: Any = "x", message: str = "told") -> Event:
    return Event(slug, "attempt", outcome, answer, message, at=at(days))


def event(slug: str, action: str, days: float = 0, answer: Any = None) -> Event:
    return Event(slug, action, answer=answer, at=at(days))


def one(*events: Event) -> Standing:
    (standing,) = standings(events).values()
    return standing


def test_only_correct_and_incorrect_answers_count() -> None:
    standing = one(
        attempt("a", "invalid", 0),
        attempt("a", "incorrect", 1),
        attempt("a", "not attempted", 2, answer=None, message=""),
        attempt("a", "incorrect", 3),
        attempt("a", "correct", 4, answer=13, message="Yes."),
    )
    assert (standing.attempts, standing.wrong, standing.status) == (3, 2, "correct")
    assert standing.first_correct_at_attempt == 3
    assert standing.solved_at == standing.last_at == at(4)
    assert (standing.last_answer, standing.last_verdict) == (13, ("correct", "Yes."))


@pytest.mark.parametrize(
    ("events", "status"),
    [
        ([event("a", "draft", answer="4")], "seen"),
        ([event("a", "hint", answer=1)], "seen"),
        ([attempt("a", "invalid")], "seen"),
        ([attempt("a", "incorrect")], "tried"),
        ([attempt("a", "incorrect"), event("a", "solution")], "tried"),
        ([attempt("a", "correct"), attempt("a", "incorrect", 1), attempt("a", "invalid", 2)], "correct"),
    ],
)
def test_status_is_the_best_that_was_reached(events: list[Event], status: str) -> None:
    assert one(*events).status == status


def test_predictions_are_no_exercises() -> None:
    assert standings([event("guess", "prediction", answer=3), event("guess", "measurement", answer=4)]) == {}


def test_the_input_shows_the_newer_of_draft_and_attempt() -> None:
    typed, handed_in = event("a", "draft", 1, answer="typed"), attempt("a", "incorrect", 2, answer="handed in")
    assert one(typed).last_answer == "typed"
    assert one(typed, handed_in).last_answer == "handed in"
    later = event("a", "draft", 3, answer="typed on")
    assert one(typed, handed_in, later).last_answer == "typed on"
    assert one(typed, handed_in, later).last_verdict == ("incorrect", "told")
    assert one(typed, handed_in, later, event("a", "draft", 4, answer=None)).last_answer is None


def test_a_blank_attempt_does_not_wipe_an_answer_and_an_unscored_text_is_one() -> None:
    before = attempt("a", "incorrect", 0, answer="mine")
    assert one(before, attempt("a", "not attempted", 1, answer=None, message="")).last_answer == "mine"
    unscored = attempt("a", "not attempted", 1, answer="my essay", message="Now score yourself.")
    assert one(unscored).last_answer == "my essay"
    assert one(unscored).last_verdict == ("not attempted", "Now score yourself.")
    assert one(unscored).attempts == 0


def test_hints_count_by_the_furthest_and_odd_numbers_as_one() -> None:
    assert one(*(event("a", "hint", answer=n) for n in (1, 3, 2))).hints == 3
    assert one(event("a", "hint", answer="two")).hints == 1


def test_a_solution_counts_as_revealed_only_before_the_first_correct_answer() -> None:
    wrong, right, look = attempt("a", "incorrect"), attempt("a", "correct", 1), event("a", "solution", 0.5)
    assert one(wrong, look, right).revealed
    assert not one(wrong, right, look).revealed


def test_hardness_grows_with_each_kind_of_difficulty_and_is_zero_at_ease() -> None:
    assert hardness(Standing("a")) == 0
    assert hardness(one(attempt("a", "correct"))) == 0
    base = Standing("a", wrong=1, helped=1)
    for harder in (
        Standing("a", wrong=2, helped=1),
        Standing("a", wrong=1, helped=2),
        Standing("a", wrong=1, helped=1, revealed=True),
    ):
        assert hardness(harder) > hardness(base) > 0


# ------------------------------------------------------------------------------------------------- spaced repetition


def test_an_exercise_that_was_hard_comes_back_after_1_3_7_16_35_days_and_then_no_more() -> None:
    assert INTERVALS == (1, 3, 7, 16, 35)
    events, day = [attempt("a", "incorrect", 0), attempt("a", "correct", 0.1)], 0.1
    for interval in INTERVALS:
        assert due(one(*events)) == START + timedelta(days=day + interval)
        day += interval
        events.append(attempt("a", "correct", day))
    assert due(one(*events)) is None


def test_an_exercise_that_went_well_never_comes_back() -> None:
    assert due(one(attempt("a", "correct"))) is None


def test_running_all_cells_again_is_no_review() -> None:
    events = [attempt("a", "incorrect"), *(attempt("a", "correct", 0.01 * n) for n in range(1, 9))]
    assert due(one(*events)) == START + timedelta(days=1.01)


def test_a_wrong_answer_to_a_solved_exercise_starts_the_intervals_again() -> None:
    events = [attempt("a", "incorrect"), attempt("a", "correct", 0.1), attempt("a", "correct", 2)]
    assert due(one(*events)) == START + timedelta(days=5)
    events.append(attempt("a", "incorrect", 6))
    assert due(one(*events)) == START + timedelta(days=7)
    assert one(*events).status == "correct"


BANK = [Stub("old-1", 0), Stub("old-2", 0), *(Stub(f"s{n}") for n in range(5)), Stub("far", 9)]


def test_review_puts_unsolved_first_then_what_is_due_then_new_ones_of_lessons_begun() -> None:
    events = [
        attempt("old-2", "incorrect", 0), attempt("old-2", "correct", 0),
        attempt("old-1", "incorrect", 1), attempt("old-1", "correct", 1),
        attempt("s2", "incorrect", 2), attempt("s0", "correct", 2), event("s3", "draft", 2, answer="1"),
    ]  # fmt: skip
    found = review(BANK, events, START + timedelta(days=5))
    assert [exercise.slug for exercise, _ in found] == ["s2", "old-2", "old-1", "s3", "s1"]
    assert [exercise.slug for exercise, _ in review(BANK, events, START + timedelta(days=5), limit=9)][5:] == ["s4"]
    assert [why for _, why in found] == [
        "Tried once, not solved yet.",
        "Solved with 1 wrong answer; 5 days later, can you still do it?",
        "Solved with 1 wrong answer; 4 days later, can you still do it?",
        "You looked at it and have not answered yet.",
        "New, in lesson 01, which you have begun.",
    ]


def test_a_hint_after_solving_makes_nothing_hard() -> None:
    standing = one(event("a", "hint", 0, 1), attempt("a", "correct", 1), event("a", "hint", 2, 3))
    assert (standing.hints, standing.helped, hardness(standing)) == (3, 1, 0.5)


def test_curiosity_after_solving_is_not_held_against_anyone() -> None:
    events = [attempt("a", "correct", 0), *(attempt("a", "incorrect", hours / 24) for hours in (0.1, 1, 11))]
    assert (one(*events).wrong, hardness(one(*events)), one(*events).attempts) == (0, 0.0, 4)
    events.append(attempt("a", "incorrect", 0.6))
    assert one(*events).wrong == 1


def test_an_open_answer_waits_for_its_score() -> None:
    question = Stub("o1", kind="open")
    for outcome, why in (("not attempted", "You wrote an answer; score it"), ("incorrect", "Tried once")):
        found = review([question], [attempt("o1", outcome, answer="My words.")], START)
        assert [reason.startswith(why) for _, reason in found] == [True]


def test_nothing_is_due_before_its_day() -> None:
    events = [attempt("old-1", "incorrect", 0), attempt("old-1", "correct", 0), attempt("old-2", "correct", 0)]
    assert review(BANK, events, START + timedelta(hours=23)) == []
    assert len(review(BANK, events, START + timedelta(hours=25))) == 1


def test_reasons_name_hints_and_solution() -> None:
    events = [
        attempt("old-1", "incorrect"), attempt("old-1", "incorrect"), event("old-1", "hint", answer=2),
        event("old-1", "solution"), attempt("old-1", "correct"),
    ]  # fmt: skip
    (_, why), *_ = review(BANK, events, START + timedelta(days=1))
    assert why == "Solved with 2 wrong answers, 2 hints and a look at the solution; 1 day later, can you still do it?"


def test_without_events_there_is_nothing_to_review() -> None:
    assert review(BANK, [], START) == []


OUTCOMES = ["correct", "incorrect", "invalid", "not attempted", "a word of the future", ""]


@settings(max_examples=80, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["s0", "s1", "far", "removed"]),
            st.sampled_from([*sorted(ACTIONS), "an action of the future"]),
            st.sampled_from(OUTCOMES),
            st.one_of(st.none(), st.integers(), st.text(max_size=3), st.lists(st.integers(), max_size=2)),
            st.floats(0, 60),
        ),
        max_size=30,
    )
)
def test_any_history_adds_up(history: list[tuple[str, str, str, Any, float]]) -> None:
    events = [Event(slug, action, outcome, answer, at=at(days)) for slug, action, outcome, answer, days in history]
    for standing in standings(events).values():
        assert 0 <= standing.wrong <= standing.attempts <= len(events)
        assert (standing.status == "correct") == bool(standing.solved_at) == (standing.attempts > standing.wrong)
        assert hardness(standing) >= 0
    found = review(BANK, events, START + timedelta(days=70))
    assert len(found) <= 5
    assert len({exercise.slug for exercise, _ in found}) == len(found)
