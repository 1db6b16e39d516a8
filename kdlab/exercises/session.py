"""What a learner calls in plain code: check, hint, solution, predict, given. Grading and the store, put together."""

from __future__ import annotations

import ast
import inspect
import textwrap
import types
from collections.abc import Callable
from typing import Any

from kdlab.exercises.catalog import Exercise, exercise
from kdlab.exercises.grading import grade, is_blank, read_number, unwrapped
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
        listener(slug)


# ------------------------------------------------------------------------------------------------------------- given


def given(answer: Any, slug: str) -> Any:
    """The learner's value if it passes, else the reference with a visible note, so that later cells always run.

    A number typed as text comes back as a number; code comes back as a function. Nothing is stored.
    """
    one = exercise(slug)
    verdict = grade(slug, answer)
    if verdict.outcome == CORRECT:
        return _usable(one, answer)
    why = "is not answered yet" if verdict.outcome == NOT_ATTEMPTED else f"has an answer that is {verdict.outcome}"
    print(f"note: {slug} {why}; the cells below go on with the reference.")
    return _usable(one, one.reference)


def _usable(one: Exercise, answer: Any) -> Any:
    """What later cells can work with: a function for code, a number for a number typed as text."""
    if one.kind == "code" and type(answer) is str:
        return _function(answer, one.fields[0].function)
    if one.kind == "numeric" and len(one.fields) == 1:
        return read_number(answer)
    return answer


def _function(source: str, name: str) -> Any:
    """The function that a source defines, with the names at hand that code answers may use."""
    import math

    import numpy as np
    import torch

    scope: dict[str, Any] = {"torch": torch, "F": torch.nn.functional, "nn": torch.nn, "np": np, "math": math}
    exec(compile(source, f"<{name}>", "exec"), scope)
    return scope[name]


# ----------------------------------------------------------------------------------------------------------- predict


class Prediction:
    """A guess, and once it is known, what was measured beside it.

    Attributes:
        guess: what was saved first, or ``None``.
        measured: what came out, or ``None``.
        late: whether the guess was made after a measurement was shown.
    """

    def __init__(self, slug: str, guess: Any, measured: Any = None, *, late: bool = False, notice: str = "") -> None:
        self.slug, self.guess, self.measured, self.late, self.notice = slug, guess, measured, late, notice

    def __repr__(self) -> str:
        return "\n".join([*self._lines(), *filter(None, [self.notice])])

    def _lines(self) -> list[str]:
        if self.measured is None:
            if self.guess is None:
                return ["No guess yet. Put one in and run this cell again, or go on without."]
            if self.late:
                return [f"Kept, but it came after the measurement, so an earlier guess counts: {_shown(self.guess)}"]
            return [f"Saved before you look: {_shown(self.guess)}"]
        rows = self.measured if type(self.measured) is dict else {"": self.measured}
        guesses = self.guess if type(self.guess) is dict else dict.fromkeys(rows, self.guess)
        width = max(len(str(name)) for name in rows)
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
        guess: a number, a text, or a dict of name to either; ``None`` in it means no guess yet.
        measured: what came out, of the same form; given alone, it shows the saved guess beside it.

    Returns:
        A :class:`Prediction`: make it the last expression of a cell.
    """
    store = default_store()
    events = [event for event in store.events(slug) if event.action in ("prediction", "measurement")]
    if measured is not _MISSING:
        return _revealed(slug, storable(measured), events)
    if guess is _MISSING or _no_guess(guess):
        return Prediction(slug, None)
    looked = any(event.action == "measurement" for event in events)
    saved = store.append(slug, "prediction", answer=storable(guess))
    return Prediction(slug, storable(guess), late=looked, notice=saved.notice)


def _revealed(slug: str, measured: Any, events: list[Event]) -> Prediction:
    """The measurement beside the last guess before it; kept, so that a guess after it can be told from one before."""
    guesses = [event for event in events if event.action == "prediction"]
    looked = next((event for event in events if event.action == "measurement"), None)
    before = [event for event in guesses if looked is None or event.at < looked.at]
    known = bool(events) and events[-1].action == "measurement" and events[-1].answer == measured
    notice = "" if known else default_store().append(slug, "measurement", answer=measured).notice
    chosen = before[-1] if before else guesses[0] if guesses else None
    late = chosen is not None and not before
    return Prediction(slug, chosen.answer if chosen else None, measured, late=late, notice=notice)


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
    except (OSError, TypeError, SyntaxError, ValueError):
        return f"<function {function.__name__}>"
    return text
