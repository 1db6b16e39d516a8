"""What a learner calls in plain code: check, hint, solution, predict, given. Grading and the store, put together."""

from __future__ import annotations

import ast
import inspect
import textwrap
import types
import warnings
from collections.abc import Callable
from typing import Any

from kdlab.exercises.catalog import Exercise, exercise
from kdlab.exercises.grading import by_field, grade, is_blank, read, unwrapped
from kdlab.exercises.markup import to_html
from kdlab.exercises.plain import plain
from kdlab.exercises.standing import Standing, standings
from kdlab.exercises.store import Event, default_store
from kdlab.exercises.verdict import CORRECT, NOT_ATTEMPTED, Verdict

__all__ = ["Note", "Prediction", "check", "given", "hint", "predict", "solution", "standing", "storable", "subscribe"]

_MISSING: Any = object()
_listeners: list[Callable[[str], None]] = []


class Note:
    """A piece of Markdown that a notebook shows rendered and a terminal as it is; a notice of the store comes last."""

    def __init__(self, text: str, notice: str = "") -> None:
        self.text = f"{text}\n\n*{notice}*" if notice else text

    def __repr__(self) -> str:
        return self.text

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        style = "border-left:4px solid var(--jp-border-color1,#888);padding:2px 12px;max-width:56em"
        return {
            "text/html": f'<div class="kd-note" style="{style}">{to_html(self.text)}</div>',
            "text/plain": self.text,
        }


# ---------------------------------------------------------------------------------------------------- the three verbs


def check(slug: str, answer: Any = None) -> Verdict:
    """Judge an answer and keep the attempt: it is on disk when this returns.

    Arguments and errors are those of :func:`kdlab.exercises.grade`. A blank answer is "not attempted", is not kept and
    never counts.
    """
    verdict = grade(slug, answer)
    if verdict.outcome == NOT_ATTEMPTED and not verdict.message:
        return Verdict(NOT_ATTEMPTED, f"`{slug}` waits for your answer; `hint({slug!r})` gives a nudge.")
    saved = default_store().append(
        slug, "attempt", outcome=verdict.outcome, answer=storable(answer), message=verdict.message
    )
    _tell(slug)
    return Verdict(verdict.outcome, verdict.message, verdict.details, saved.notice)


def hint(slug: str) -> Note:
    """The next hint; each call goes one further, and the last one stays."""
    one = exercise(slug)
    number = min(standing(slug).hints + 1, len(one.hints))
    saved = default_store().append(slug, "hint", answer=number)
    _tell(slug)
    return Note(f"**Hint {number} of {len(one.hints)}.** {one.hints[number - 1]}", saved.notice)


def solution(slug: str) -> Note:
    """The solution, after an attempt: a wrong answer of your own teaches more than a right one of ours."""
    one, now = exercise(slug), standing(slug)
    if not may_see_solution(one, now):
        return Note("The solution opens after your first attempt, right or wrong. Until then there are hints.")
    saved = default_store().append(slug, "solution")
    _tell(slug)
    return Note(solution_text(one), saved.notice)


def may_see_solution(one: Exercise, now: Standing) -> bool:
    """Whether the solution is open: after an attempt that counts, for an open question after a text."""
    return now.attempts > 0 or (one.kind == "open" and now.last_verdict is not None)


def solution_text(one: Exercise) -> str:
    """The solution as Markdown: words, and for code the reference."""
    code = next((field.answer for field in one.fields if field.type == "code"), None)
    return one.solution + (f"\n\n```python\n{code.strip()}\n```" if code else "")


def standing(slug: str) -> Standing:
    """Where the learner stands with one exercise."""
    return standings(default_store().events(slug)).get(slug) or Standing(slug)


def subscribe(listener: Callable[[str], None]) -> None:
    """Have ``listener(slug)`` called whenever an exercise's standing may have changed in this process."""
    _listeners.append(listener)


def _tell(slug: str) -> None:
    for listener in _listeners:
        try:
            listener(slug)
        except Exception as error:  # the attempt is saved: a card that cannot be redrawn must not cost the verdict
            warnings.warn(f"a view of {slug} could not be brought up to date: {error!r}", stacklevel=3)


# ------------------------------------------------------------------------------------------------------------- given


def given(answer: Any, slug: str) -> Any:
    """The learner's value if it passes, else the reference with a visible note, so that later cells always run.

    What was typed as text comes back as the number, the letter or the function that it stands for. Nothing is stored.
    """
    one = exercise(slug)
    verdict = grade(slug, answer)
    if verdict.outcome == CORRECT:
        return _usable(one, answer)
    why = "is not answered yet" if verdict.outcome == NOT_ATTEMPTED else f"has an answer that is {verdict.outcome}"
    print(f"note: {slug} {why}; the cells below go on with the reference.")
    return _usable(one, one.reference)


def _usable(one: Exercise, answer: Any) -> Any:
    """An answer that passes in a form that later cells can work with: numbers, letters, a function for code."""
    if one.kind == "code":
        return _function(answer, one.fields[0].function) if type(answer) is str else answer
    values = by_field(one, answer)
    found = {field.name: read(field, values[field.name]) for field in one.fields}
    return next(iter(found.values())) if len(found) == 1 else found


def _function(source: str, name: str) -> Any:
    """The function that a source defines, with the names at hand that code answers may use."""
    import math

    import numpy as np
    import torch

    scope: dict[str, Any] = {"torch": torch, "F": torch.nn.functional, "nn": torch.nn, "np": np, "math": math}
    at_hand = set(scope)
    exec(compile(source, f"<{name}>", "exec"), scope)
    own = [value for key, value in scope.items() if key not in at_hand and callable(value)]
    return scope[name] if name in scope else own[0]  # as in grading: a single function may have any name


# ----------------------------------------------------------------------------------------------------------- predict


class Prediction:
    """A guess, and once it is known, what was measured beside it.

    Attributes:
        guess: the last one before the measurement, else the first one after it, or ``None``.
        measured: what came out, or ``None``.
        late: whether the guess was made after a measurement was shown.
        stays: whether a guess made after the measurement was put aside for this one.
        notice: trouble with saving.
    """

    def __init__(
        self, guess: Any, measured: Any = None, *, late: bool = False, stays: bool = False, notice: str = ""
    ) -> None:
        self.guess, self.measured, self.late, self.stays, self.notice = guess, measured, late, stays, notice

    def __repr__(self) -> str:
        lines = [self._before_looking()] if self.measured is None else self._beside_each_other()
        return "\n".join([*lines, *filter(None, [self.notice])])

    def _before_looking(self) -> str:
        if self.guess is None:
            return "No guess yet. Put one in and run this cell again, or go on without."
        when = "Saved, but after the measurement" if self.late else "Saved before you look"
        return f"{'Your guess from before the measurement stays' if self.stays else when}: {_shown(self.guess)}"

    def _beside_each_other(self) -> list[str]:
        rows = self.measured if type(self.measured) is dict else {"": self.measured}
        guesses = self.guess if type(self.guess) is dict else dict.fromkeys(rows, self.guess)
        width = max((len(str(name)) for name in rows), default=0)
        lines = [
            f"{name!s:{width}}  your guess {_shown(guesses.get(name)):>8}   measured {_shown(value):>8}".strip()
            for name, value in rows.items()
        ]
        if strange := [str(name) for name in guesses if name not in rows]:
            lines.append(f"(nothing was measured under the name {', '.join(strange)})")
        return lines + (["(this guess came after the measurement)"] if self.late else [])


def predict(slug: str, guess: Any = _MISSING, *, measured: Any = _MISSING) -> Prediction:
    """Keep a guess before a measurement, and show it beside the result afterwards.

    Args:
        slug: a name of its own for this prediction, such as ``"01-unseen-six"``; it need not be in the bank.
        guess: a number, a text, or a dict of name to either; ``None`` in it means no guess yet. It may be changed
            until the measurement was shown.
        measured: what came out, of the same form; it is shown beside the guess.

    Returns:
        A :class:`Prediction`: make it the last expression of a cell.

    Raises:
        TypeError: ``slug`` is no text.
    """
    if not isinstance(slug, str):
        raise TypeError(f"slug must be the name of a prediction, such as '01-unseen-six', got {type(slug).__name__}")
    store, notice, stays = default_store(), "", False
    events = [event for event in store.events(slug) if event.action in ("prediction", "measurement")]
    if guess is not _MISSING and not _no_guess(guess):
        kept, before = storable(guess), _counting(events)
        stays = before is not None and before.answer != kept and any(e.action == "measurement" for e in events)
        if not any(event.action == "prediction" and event.answer == kept for event in events[-1:]):
            saved = store.append(slug, "prediction", answer=kept)
            notice, events = saved.notice, [*events, saved.event]
    counting = _counting(events)
    late = counting is not None and any(e.action == "measurement" for e in events[: events.index(counting)])
    if measured is _MISSING:
        return Prediction(counting.answer if counting else None, late=late, stays=stays and not late, notice=notice)
    result = storable(measured)
    if not (events and events[-1].action == "measurement" and events[-1].answer == result):
        notice = notice or store.append(slug, "measurement", answer=result).notice
    return Prediction(counting.answer if counting else None, result, late=late, notice=notice)


def _counting(events: list[Event]) -> Event | None:
    """The guess that counts: the last one before the first measurement, else the first one after it."""
    looked = next((place for place, event in enumerate(events) if event.action == "measurement"), len(events))
    before = [event for event in events[:looked] if event.action == "prediction"]
    after = [event for event in events[looked:] if event.action == "prediction"]
    return before[-1] if before else after[0] if after else None


def _no_guess(guess: Any) -> bool:
    return is_blank(guess) or (type(guess) is dict and all(is_blank(value) for value in guess.values()))


def _shown(value: Any) -> str:
    if value is None:
        return "none"
    if type(value) is float:
        return f"{value:.3g}"
    if type(value) is dict:
        return ", ".join(f"{name}: {_shown(item)}" for name, item in value.items())
    return str(value)


# ------------------------------------------------------------------------------------------------ what can be stored


def storable(answer: Any) -> Any:
    """The answer as it is kept: functions as their source, scalars of NumPy and torch as numbers, the rest as JSON can.

    No method of a foreign object is called, so an object whose methods raise or hang does no harm here.
    """
    if type(answer) is dict:
        return plain({key: _storable_part(value) for key, value in answer.items()})
    return plain(_storable_part(answer))


def _storable_part(value: Any) -> Any:
    if type(value) is types.FunctionType:
        return _source(value)
    try:
        return unwrapped(value)
    except Exception:  # an array of several numbers, or one without any (torch's meta tensors)
        return value


def _source(function: types.FunctionType) -> str:
    """The source of a function, or its name where there is none."""
    try:
        text = textwrap.dedent(inspect.getsource(function))
        ast.parse(text)
    except (Exception, SystemExit):  # no source, or a `__wrapped__` that fights back
        return f"<function {function.__name__}>"
    return text
