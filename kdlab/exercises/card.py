"""The card in which a learner answers: ``ask(slug)``.

The page (``static/card.js``) draws the card and keeps what is typed; this side grades, stores and says what may be
seen. Between them go two traits and a few messages. ``content`` is the exercise, ``state`` is where the learner
stands. The page sends ``{"kind": "check" | "score" | "draft" | "hint" | "solution" | "language", "id": ..., ...}`` and
hears ``started`` at once and ``done`` at the end, so that it can tell a busy kernel from a dead one. Hints, rubric and
solution are sent only when they may be seen.

Raw values are what stands in the fields, by name: text as typed, ids of options, the number of a line, and of an open
answer ``{"text", "points", "flags"}``.
"""

from __future__ import annotations

import hashlib
import sys
import threading
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import anywidget
import traitlets

from kdlab.exercises import session
from kdlab.exercises.card_text import asleep, content, markdown, summary
from kdlab.exercises.card_words import WORDS
from kdlab.exercises.catalog import LANGUAGES, Exercise, Field, exercise
from kdlab.exercises.grading import grade, is_blank, read
from kdlab.exercises.markup import to_html
from kdlab.exercises.standing import Standing, standings
from kdlab.exercises.store import Event, Store, default_store
from kdlab.exercises.verdict import CORRECT, NOT_ATTEMPTED, OUTCOMES, Verdict

__all__ = ["Card", "ask"]

_IMPATIENT = 3.0  # seconds
_STATIC = Path(__file__).parent / "static"
_LOCK = threading.RLock()  # JupyterLab delivers widget messages on a thread of their own, beside a running cell

_cards: dict[tuple[str, str], Card] = {}


def ask(slug: str, *, language: str | None = None) -> Card:
    """Show an exercise: make the card the last expression of a cell.

    Args:
        slug: the exercise's name, such as ``"first-exercise"``.
        language: ``"en"`` or ``"zh"``; the learner's by default (the variable ``KDLAB_LANGUAGE``, else English).

    Returns:
        The exercise's :class:`Card`, the same one for every call, with whatever was answered before.

    Raises:
        UnknownExercise: there is no such exercise; the message names those that look like it.
        ValueError: the course does not speak that language.

    Example:
        >>> ask("first-exercise")
        Exercise first-exercise: Your first answer (numeric, about 1 minute)
    """
    one = exercise(slug)
    if language is not None and language not in LANGUAGES:
        raise ValueError(f"language must be one of {', '.join(LANGUAGES)}, got {language!r}")
    key = (slug, language or one.language)
    with _LOCK:
        card = _cards.get(key)
        if card is None or card.comm is None:  # somebody closed it
            card = _cards[key] = Card(one.in_language(key[1]))
        card.refresh()
        return card


class Card(anywidget.AnyWidget):
    """One exercise in a notebook; make it with :func:`ask`.

    Attributes:
        content: the exercise as the page may know it from the start.
        state: where the learner stands: fields, verdict, hints and solution as far as they may be seen.
    """

    _esm = _STATIC / "card.js"
    _css = _STATIC / "card.css"
    content = traitlets.Dict().tag(sync=True)
    state = traitlets.Dict().tag(sync=True)

    def __init__(self, one: Exercise) -> None:
        self._exercise = one
        self._asked_in = one
        super().__init__(content=content(one), state=_state(one, default_store()))
        self.on_msg(self._receive)

    def refresh(self) -> None:
        """Show what the store says now."""
        with _LOCK:
            self.state = _state(self._exercise, default_store())

    def __repr__(self) -> str:
        return summary(self._asked_in)

    def _repr_mimebundle_(self, **options: Any) -> dict[str, Any]:  # type: ignore[override]
        view = {"version_major": 2, "version_minor": 1, "model_id": self.model_id}
        return {
            "application/vnd.jupyter.widget-view+json": view,
            "text/markdown": markdown(self._asked_in),
            "text/plain": repr(self),
        }

    def _ipython_display_(self) -> None:
        from IPython.display import display

        display(self._repr_mimebundle_(), raw=True)
        display({"text/html": asleep(self._asked_in)}, raw=True)

    # ------------------------------------------------------------------------------------------- what the page asks

    def _receive(self, _: Any, message: Any, __: Any) -> None:
        """Answer one message of the page; whatever happens, the page hears of it."""
        kind, number = message.get("kind"), message.get("id")
        words = WORDS[self._exercise.language]
        self.send({"kind": "started", "id": number})
        reply: dict[str, Any] = {}
        try:
            reply = _ACTIONS[kind](self, message)
            self.refresh()
        except KeyboardInterrupt:
            reply = {"note": to_html(words["stopped"])}
        except Exception as error:
            described = f"{type(error).__name__}: {error}".replace("`", "'")[:500]
            reply = {"note": to_html(words["fault"].format(error=described))}
        self.send({"kind": "done", "id": number, **reply})

    def _check(self, message: dict[str, Any]) -> dict[str, Any]:
        one, raw = self._exercise, message["values"]
        words = WORDS[one.language]
        code = next((field for field in one.fields if field.type == "code"), None)
        answer = _notebook_name(code.function) if code else _answer(one, raw)
        if code and answer is None:
            return {"note": to_html(words["unbound"].format(name=code.function))}
        if _nothing(answer):
            return {**_keep_draft(one, raw), "note": to_html(words["blank_text" if one.kind == "open" else "blank"])}
        if _just_now(one, answer):
            return _saved("")
        verdict = session.check(one.slug, answer)
        if code and verdict.outcome == NOT_ATTEMPTED:
            return {"note": to_html(words["starter_kept"].format(name=code.function))}
        return _saved(verdict.notice)

    def _score(self, message: dict[str, Any]) -> dict[str, Any]:
        one = self._exercise
        raw = message["values"][one.fields[0].name]
        if _nothing(raw["text"]):
            return {"note": to_html(WORDS[one.language]["blank_text"])}
        scored = {"text": raw["text"], "points": list(raw["points"]), "flags": list(raw["flags"])}
        return _saved(session.check(one.slug, scored).notice)

    def _draft(self, message: dict[str, Any]) -> dict[str, Any]:
        return _keep_draft(self._exercise, message["values"])

    def _hint(self, message: dict[str, Any]) -> dict[str, Any]:
        session.hint(self._exercise.slug)
        return {}

    def _solution(self, message: dict[str, Any]) -> dict[str, Any]:
        session.solution(self._exercise.slug)
        return {}

    def _language(self, message: dict[str, Any]) -> dict[str, Any]:
        self._exercise = self._exercise.in_language(message["language"])  # refuses what it does not speak
        self.content = content(self._exercise)
        return {}


_ACTIONS = {
    "check": Card._check,
    "score": Card._score,
    "draft": Card._draft,
    "hint": Card._hint,
    "solution": Card._solution,
    "language": Card._language,
}


def _refresh_all(slug: str) -> None:
    """Bring every card of an exercise up to date, after a check in code, say."""
    for (name, _), card in list(_cards.items()):
        if name == slug and card.comm is not None:
            card.refresh()


session.subscribe(_refresh_all)


# ------------------------------------------------------------------------------------------------ where one stands


def _state(one: Exercise, store: Store) -> dict[str, Any]:
    """What the page may know of the learner's answers so far."""
    events = store.events(one.slug)
    now = standings(events).get(one.slug) or Standing(one.slug)
    # An outcome that is none is of a damaged row, or of a kdlab to come.
    attempts = [event for event in events if event.action == "attempt" and event.outcome in OUTCOMES]
    answers = [event for event in events if event.action in ("attempt", "draft")]
    last = attempts[-1] if attempts else None
    seen = any(event.action == "solution" for event in events)
    may_see = session.may_see_solution(one, now)
    return {
        "home": hashlib.sha256(str(store.folder).encode()).hexdigest()[:8],
        "status": {"correct": "solved", "tried": "tried"}.get(now.status, "new"),
        "status_text": _status_text(one, now),
        "values": _raw(one, answers[-1].answer if answers else None),
        "at": _milliseconds(answers[-1]) if answers else 0,
        "answers": len(attempts),
        "checked": _raw(one, last.answer) if last else None,
        "checked_code": last.answer if last and one.kind == "code" and type(last.answer) is str else "",
        "verdict": _verdict(one, last) if last else None,
        "hints": [to_html(text) for text in one.hints[: now.hints]],
        "may_see_solution": may_see,
        "solution": to_html(session.solution_text(one)) if may_see and seen and one.kind != "open" else "",
        "rubric": _rubric(one) if one.kind == "open" and attempts else None,
    }


def _status_text(one: Exercise, now: Standing) -> str:
    words = WORDS[one.language]
    if now.status == "correct":
        return words["solved"].format(n=now.first_correct_at_attempt)
    if now.status == "tried":
        return words["tried"]
    return words["unscored" if one.kind == "open" and now.last_verdict else "new"]


def _verdict(one: Exercise, event: Event) -> dict[str, Any]:
    """The verdict on a stored attempt. The store has no details by field, so what is no code is graded again."""
    words = WORDS[one.language]
    verdict = Verdict(event.outcome, event.message)
    if one.kind != "code":
        again = grade(one.slug, event.answer, language=one.language)
        verdict = again if again.outcome == event.outcome else verdict
    own = {NOT_ATTEMPTED: "saved_answer", CORRECT: "self_scored"} if one.kind == "open" else {}
    return {
        "outcome": verdict.outcome,
        "title": words[own.get(verdict.outcome, verdict.outcome)],
        "message": to_html(verdict.message),
        "details": dict(verdict.details),
    }


def _rubric(one: Exercise) -> dict[str, Any]:
    return {
        "model": to_html(one.solution),
        "points": [to_html(point) for point in one.rubric],
        "flags": [to_html(flag) for flag in one.red_flags],
    }


def _milliseconds(event: Event) -> int:
    """When it was, as JavaScript's clock counts."""
    return int(datetime.fromisoformat(event.at).timestamp() * 1000)


# ---------------------------------------------------------------------------------- raw values, and answers to grade


def _answer(one: Exercise, raw: dict[str, Any]) -> Any:
    """What ``check`` takes: the bare value if there is one field, else a dict by name."""
    values = {field.name: _value(field, raw.get(field.name)) for field in one.fields}
    return next(iter(values.values())) if len(values) == 1 else values


def _value(field: Field, raw: Any) -> Any:
    if field.type == "text":
        return raw["text"] if raw else None
    if field.type == "choices":
        return list(raw) if raw else None
    if field.type == "line":
        return int(raw) if raw else None
    return raw if raw else None


def _just_now(one: Exercise, answer: Any) -> bool:
    """Whether the same answer was checked seconds ago: an impatient second Enter is no second attempt."""
    events = default_store().events(one.slug)
    if not events or one.kind == "code" or events[-1].action != "attempt" or events[-1].answer != answer:
        return False
    return time.time() - _milliseconds(events[-1]) / 1000 < _IMPATIENT


def _nothing(answer: Any) -> bool:
    return is_blank(answer) or (type(answer) is dict and all(is_blank(value) for value in answer.values()))


def _raw(one: Exercise, answer: Any) -> dict[str, Any]:
    """What stood in the fields when this was answered, whether on a card or in code."""
    names = [field.name for field in one.fields]
    if len(names) == 1:
        values = {names[0]: answer}
    elif type(answer) is list and len(answer) == len(names):
        values = dict(zip(names, answer, strict=True))
    else:
        values = answer if type(answer) is dict else {}
    return {field.name: _raw_value(field, values.get(field.name)) for field in one.fields}


def _raw_value(field: Field, value: Any) -> Any:
    if field.type == "text":
        whole = value if type(value) is dict else {"text": value}
        text = whole.get("text")
        return {
            "text": text if type(text) is str else "",
            "points": whole.get("points"),
            "flags": whole.get("flags") or [],
        }
    if field.type == "code" or value is None:
        return [] if field.type == "choices" else ""
    if field.type not in ("choice", "choices", "line"):
        return str(value)
    try:  # as it was meant: "C." ticks c
        meant = read(field, value)
    except Exception:
        return [] if field.type == "choices" else ""
    return meant if field.type == "choices" else str(meant)


def _keep_draft(one: Exercise, raw: dict[str, Any]) -> dict[str, Any]:
    """Store what stands in the fields, unless it is what the store has already."""
    store = default_store()
    kept = [event for event in store.events(one.slug) if event.action in ("attempt", "draft")]
    if _raw(one, kept[-1].answer if kept else None) == _raw(one, _draft_answer(one, raw)):
        return _saved("")
    return _saved(store.append(one.slug, "draft", answer=_draft_answer(one, raw)).notice)


def _draft_answer(one: Exercise, raw: dict[str, Any]) -> Any:
    if one.kind == "open":
        whole = raw[one.fields[0].name]
        ticked = whole.get("points") or whole.get("flags")
        return dict(whole) if ticked else (whole["text"] or None)
    answer = _answer(one, raw)
    return None if _nothing(answer) else answer


def _saved(notice: str) -> dict[str, Any]:
    """What the page hears of saving; it holds on to a text until that is on disk."""
    return {"kept": default_store().all_saved, **({"notice": to_html(notice)} if notice else {})}


def _notebook_name(name: str) -> Any:
    """What the name stands for in the notebook now; None if it is not there."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    scope = shell.user_ns if shell is not None else vars(sys.modules["__main__"])
    return scope.get(name)
