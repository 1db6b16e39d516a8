"""What a learner's events add up to: where each exercise stands, how hard it was, and what to do next."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from kdlab.exercises.store import Event
from kdlab.exercises.verdict import CORRECT, INCORRECT, NOT_ATTEMPTED

__all__ = ["INTERVALS", "Standing", "due", "hardness", "review", "standings"]

INTERVALS = (1, 3, 7, 16, 35)
"""Days after which an exercise that was hard comes up again: each correct answer moves it to the next."""

_PLAYTIME = timedelta(hours=12)

_EXERCISE_ACTIONS = {"attempt", "hint", "solution", "draft"}


@dataclass
class Standing:
    """Where a learner stands with one exercise.

    Attributes:
        slug: of the exercise.
        status: "correct" once an answer was; "tried" after wrong ones only; "seen" after hints, drafts or answers that
            do not count; else "new".
        attempts: how many answers were correct or incorrect; others never count.
        wrong: how many were incorrect, without those tried out of curiosity in the hours after it was solved.
        hints: number of the furthest hint seen.
        helped: the same before the first correct answer: later ones do not make an exercise hard.
        revealed: whether the solution was seen before the first correct answer.
        first_correct_at_attempt: which attempt was the first correct one, from 1.
        last_answer: what stands in the input: the last draft or attempt; ``None`` if nothing does or it was cleared.
        last_verdict: outcome and message of the last attempt.
        last_at: when anything was last done, as in :class:`~kdlab.exercises.store.Event`; "" if never.
        solved_at: when it was first correct; "" if never.
        step: how many of the :data:`INTERVALS` are done with.
        step_at: when the present one began; "" if it was never solved.
    """

    slug: str
    status: str = "new"
    attempts: int = 0
    wrong: int = 0
    hints: int = 0
    helped: int = 0
    revealed: bool = False
    first_correct_at_attempt: int | None = None
    last_answer: Any = None
    last_verdict: tuple[str, str] | None = None
    last_at: str = ""
    solved_at: str = ""
    step: int = 0
    step_at: str = ""


def standings(events: Iterable[Event]) -> dict[str, Standing]:
    """The standing of every exercise that something was done with, by slug; ``events`` come in order of time."""
    found: dict[str, Standing] = {}
    for event in events:
        if event.action in _EXERCISE_ACTIONS:
            _add(found.setdefault(event.slug, Standing(event.slug)), event)
    return found


def hardness(standing: Standing) -> float:
    """How hard an exercise was: 0 if it went well at once, half a point a hint, 1 a wrong answer, 2 the solution.

    Example:
        >>> hardness(Standing("a", wrong=2, helped=1))
        2.5
    """
    return standing.wrong + 0.5 * standing.helped + 2.0 * standing.revealed


def due(standing: Standing) -> datetime | None:
    """When a solved exercise comes up again; None if it was easy, is not solved, or all intervals are done with."""
    if standing.status != "correct" or not hardness(standing) or standing.step >= len(INTERVALS):
        return None
    return _time(standing.step_at) + _days(standing.step)


def review(
    exercises: Sequence[Any], events: Sequence[Event], now: datetime, *, limit: int = 5
) -> list[tuple[Any, str]]:
    """What to do next, and why: exercises in the order in which they help most, each with a short sentence.

    First come those tried and not solved, then those that were hard and are due again, the longest due first, then
    unsolved ones of lessons that were begun. Within a group they stand in the order of the course.

    Args:
        exercises: the bank, in the order of the course.
        events: the learner's, in order of time.
        now: an aware time.
        limit: the most that are wanted.
    """
    known = standings(events)
    mine = [(one, known.get(one.slug) or Standing(one.slug)) for one in exercises]
    begun = {one.lesson for one, standing in mine if standing.status != "new"}
    tried = [(one, _why_tried(standing)) for one, standing in mine if standing.status == "tried"]
    waiting = [(when, one, standing) for one, standing in mine if (when := due(standing)) and when <= now]
    again = [(one, _why_due(standing, now)) for _, one, standing in sorted(waiting, key=lambda item: item[0])]
    seen = [(one, _why_seen(one, standing)) for one, standing in mine if standing.status == "seen"]
    new = [
        (one, f"New, in lesson {one.lesson:02d}, which you have begun.")
        for one, standing in mine
        if standing.status == "new" and one.lesson in begun
    ]
    return [*tried, *again, *seen, *new][:limit]


def _add(standing: Standing, event: Event) -> None:
    standing.last_at = event.at
    if event.action == "attempt":
        _add_attempt(standing, event)
    elif event.action == "draft":
        standing.last_answer = event.answer
    elif event.action == "hint":
        number = event.answer if type(event.answer) is int else 1
        standing.hints = max(standing.hints, number)
        standing.helped = standing.helped if standing.status == "correct" else standing.hints
    elif standing.status != "correct":
        standing.revealed = True
    if standing.status == "new":
        standing.status = "seen"


def _add_attempt(standing: Standing, event: Event) -> None:
    # An open question is "not attempted" with a message, until the learner has scored the text; one without is blank.
    if event.outcome == NOT_ATTEMPTED and not event.message:
        return
    standing.last_answer = event.answer
    standing.last_verdict = (event.outcome, event.message)
    if event.outcome not in (CORRECT, INCORRECT):
        return
    standing.attempts += 1
    if event.outcome == INCORRECT:
        if standing.status == "correct" and _time(event.at) < _time(standing.step_at) + _PLAYTIME:
            return  # just solved: whoever tries wrong answers now is curious, not wrong
        standing.wrong += 1
        standing.status = "correct" if standing.status == "correct" else "tried"
        standing.step, standing.step_at = 0, event.at if standing.solved_at else ""
    elif standing.status != "correct":
        standing.status, standing.solved_at, standing.step_at = "correct", event.at, event.at
        standing.first_correct_at_attempt = standing.attempts
    elif _time(event.at) >= _time(standing.step_at) + _days(standing.step) / 2:
        # Run All gives the same right answer again and again: only one after a while shows that it was remembered.
        standing.step, standing.step_at = min(standing.step + 1, len(INTERVALS)), event.at


def _why_seen(one: Any, standing: Standing) -> str:
    if standing.last_verdict and standing.last_verdict[0] == NOT_ATTEMPTED:
        return "You wrote an answer; score it against the rubric." if one.kind == "open" else "Begun; parts are open."
    return "You looked at it and have not answered yet."


def _why_tried(standing: Standing) -> str:
    return f"Tried {_times(standing.attempts)}, not solved yet."


def _why_due(standing: Standing, now: datetime) -> str:
    what = [f"{standing.wrong} wrong {'answer' if standing.wrong == 1 else 'answers'}"] if standing.wrong else []
    what += [f"{standing.helped} {'hint' if standing.helped == 1 else 'hints'}"] if standing.helped else []
    what += ["a look at the solution"] if standing.revealed else []
    days = (now - _time(standing.step_at)).days
    listed = " and ".join([", ".join(what[:-1]), what[-1]] if len(what) > 1 else what)
    return f"Solved with {listed}; {days} {'day' if days == 1 else 'days'} later, can you still do it?"


def _times(count: int) -> str:
    return {1: "once", 2: "twice"}.get(count, f"{count} times")


def _days(step: int) -> timedelta:
    return timedelta(days=INTERVALS[min(step, len(INTERVALS) - 1)])


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)
