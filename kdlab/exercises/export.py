"""The learner's answers as one Markdown file: to read again before an interview, to hand in, to keep."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from kdlab.exercises.overview import lesson_title
from kdlab.exercises.plain import to_json
from kdlab.exercises.standing import Standing, standings
from kdlab.exercises.store import Event, Store, default_store
from kdlab.exercises.verdict import NOT_ATTEMPTED
from kdlab.workspace import write_whole

__all__ = ["export_markdown", "fenced", "save"]


def export_markdown(store: Store | None = None, exercises: Sequence[Any] | None = None) -> str:
    """Every answer of the learner with its prompt and verdict, by lesson, as Markdown.

    Exercises that nothing was done with are left out; those that are no longer in the course are not.

    Args:
        store: whose events; by default those in ``KDLAB_HOME`` or the user's data folder.
        exercises: the bank; by default the whole one.
    """
    store = default_store() if store is None else store
    if exercises is None:
        from kdlab.exercises.catalog import bank

        exercises = bank()
    events = store.events()
    known = standings(events)
    blocks = ["# My answers", *(f"> {notice}" for notice in store.notices())]
    for number in sorted({one.lesson for one in exercises}):
        done = [one for one in exercises if one.lesson == number and one.slug in known]
        if done:
            blocks.append(f"## Lesson {number:02d}: {lesson_title(number)}")
        for one in done:
            blocks += _exercise(one, known[one.slug], events)
    blocks += _predictions(events)
    blocks += _removed(known, {one.slug for one in exercises}, events)
    if len(blocks) == 1:
        blocks.append("Nothing has been answered yet.")
    return "\n\n".join(blocks) + "\n"


def save(path: Path, text: str, *, overwrite: bool = False) -> None:
    """Write a text file wholly or not at all.

    Raises:
        FileExistsError: there is something of that name already, and ``overwrite`` is false.
        OSError: it cannot be written; nothing is left behind.
    """
    if not overwrite and os.path.lexists(path):
        raise FileExistsError(f"{path} is there already")
    write_whole(path, text.encode("utf-8", errors="replace"))


def fenced(text: str, language: str = "text") -> str:
    """A code block that holds any text: its fence is longer than any run of backticks inside.

    Example:
        >>> print(fenced("a ``` b"))
        ````text
        a ``` b
        ````
    """
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{text}\n{fence}"


# ------------------------------------------------------------------------------------------------- one exercise


def _exercise(one: Any, standing: Standing, events: Sequence[Event]) -> Iterator[str]:
    yield f"### {one.title}\n\n`{one.slug}`"
    yield one.prompt
    if one.listing:
        yield fenced(one.listing.rstrip("\n"), "python")
    yield from _answer(one, _last_answer(standing, events))
    yield from _verdict(standing)


def _last_answer(standing: Standing, events: Sequence[Event]) -> Any:
    """What stands in the input; where that was cleared, what was last handed in."""
    if standing.last_answer is not None:
        return standing.last_answer
    handed_in = [event.answer for event in events if event.slug == standing.slug and event.action == "attempt"]
    return next((answer for answer in reversed(handed_in) if answer is not None), None)


def _answer(one: Any, answer: Any) -> Iterator[str]:
    if answer is None:
        yield "**My answer:** none yet."
    elif one.kind == "open":
        yield from _open(one, answer)
    elif len(one.fields) == 1:
        yield f"**My answer:**\n\n{_value(answer, one.fields[0])}"
    else:
        yield "**My answer:**"
        if type(answer) is list and len(answer) == len(one.fields):
            answer = dict(zip([field.name for field in one.fields], answer, strict=True))
        yield from _by_name(one, answer)


def _by_name(one: Any, answer: Any) -> Iterator[str]:
    if type(answer) is not dict:
        yield _value(answer)
        return
    by_name = {field.name: field for field in one.fields}
    for name, value in answer.items():
        if value is not None:
            field = by_name.get(name)
            label = field.label if field and field.label else _code(name)
            yield f"{label}:\n\n{_value(value, field)}"


def _open(one: Any, answer: Any) -> Iterator[str]:
    """The text, and the rubric with the points that the learner took."""
    whole = answer if type(answer) is dict else {"text": answer}
    text = whole.get("text")
    yield f"**My answer:**\n\n{_value(text if type(text) is str else answer)}"
    points, flags = whole.get("points"), whole.get("flags") or []
    if type(points) is not list:
        yield "Not scored against the rubric yet."
        return
    yield f"**My score:** {len(set(points))} of {len(one.rubric)} points."
    yield "\n".join(_ticked(one.rubric, points))
    if one.red_flags:
        yield "Red flags, ticked where I found one:"
        yield "\n".join(_ticked(one.red_flags, flags if type(flags) is list else []))


def _ticked(texts: Sequence[str], ticks: Sequence[Any]) -> Iterator[str]:
    for number, text in enumerate(texts):
        indented = text.replace("\n", "\n  ")
        yield f"- [{'x' if number in ticks else ' '}] {indented}"


def _value(value: Any, field: Any = None) -> str:
    """A value in a code block, with the words of the options that it names."""
    if type(value) is str:
        block = fenced(value, "python" if field and field.type == "code" else "text")
    elif type(value) is list and all(type(part) is str for part in value):
        block = fenced(", ".join(value))
    else:
        block = fenced(to_json(value))
    picked = value if type(value) is list else [value]
    options = field.options if field and field.type in ("choice", "choices") else ()
    chosen = [f"- {option.id}: {option.text}" for option in options if option.id in picked]
    return "\n".join([block, "", *chosen]) if chosen else block


def _verdict(standing: Standing) -> Iterator[str]:
    if standing.last_verdict is None:
        outcome, message = NOT_ATTEMPTED, ""
    else:
        outcome, message = standing.last_verdict
    facts = [f"**Verdict:** {outcome}", f"attempts: {standing.attempts}", f"hints used: {standing.hints}"]
    facts += ["solution seen before it was solved"] if standing.revealed else []
    facts += [f"solved on {_day(standing.solved_at)}"] if standing.solved_at else []
    yield "; ".join(facts) + "."
    if message:
        # A quotation ends where its last line does, whatever was left open inside.
        yield "\n".join(f"> {line}".rstrip() for line in message.splitlines())


# ------------------------------------------------------------------------------------------------- the rest


def _predictions(events: Sequence[Event]) -> Iterator[str]:
    """Guesses beside what was measured, by name."""
    slugs = list(dict.fromkeys(event.slug for event in events if event.action == "prediction"))
    if slugs:
        yield "## Predictions"
    for slug in slugs:
        mine = [event for event in events if event.slug == slug]
        guess = next(event for event in mine if event.action == "prediction")
        measured = [event.answer for event in mine if event.action == "measurement"]
        result = f"Measured:\n\n{_value(measured[-1])}" if measured else "Not measured yet."
        yield f"### {_code(slug)}\n\nMy guess on {_day(guess.at)}:\n\n{_value(guess.answer)}\n\n{result}"


def _removed(known: dict[str, Standing], present: set[str], events: Sequence[Event]) -> Iterator[str]:
    gone = [standing for slug, standing in known.items() if slug not in present]
    if gone:
        yield "## Exercises that are no longer in the course"
    for standing in gone:
        yield f"### {_code(standing.slug)}"
        answer = _last_answer(standing, events)
        yield f"**My answer:**\n\n{_value(answer)}" if answer is not None else "**My answer:** none."
        yield from _verdict(standing)


def _code(name: str) -> str:
    """A name as inline code, on one line."""
    return f"`{' '.join(name.split()).replace('`', chr(39))}`"


def _day(at: str) -> str:
    return datetime.fromisoformat(at).astimezone().strftime("%Y-%m-%d")
