"""The progress board: what is done, what was hard, and what to do next, in a notebook and in a terminal."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

from kdlab.exercises.standing import Standing, hardness, review, standings
from kdlab.exercises.store import Store, default_store
from kdlab.outline import LESSONS

__all__ = ["Board", "LessonRow", "Line", "board"]

_HARD = 1.0  # hardness from which an exercise is listed as hard
_MOST = 5
_BAR = 10  # characters of the bar in a terminal


@dataclass(frozen=True)
class LessonRow:
    """One lesson of the board.

    Attributes:
        lesson: its number.
        title: its title.
        total: how many exercises it has.
        solved: how many of them are solved.
        tried: how many were tried and are not solved.
        minutes_left: minutes that the unsolved ones take.
    """

    lesson: int
    title: str
    total: int
    solved: int
    tried: int
    minutes_left: int


@dataclass(frozen=True)
class Line:
    """An exercise that is listed: its slug, lesson and title, and why it is there, a short sentence."""

    slug: str
    lesson: int
    title: str
    reason: str


@dataclass(frozen=True)
class Board:
    """What a learner has done; the last expression of a cell shows it."""

    lessons: list[LessonRow]
    hard: list[Line] = field(default_factory=list)
    review: list[Line] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)

    @property
    def summary(self) -> str:
        """One sentence on all of it."""
        total, solved = sum(row.total for row in self.lessons), sum(row.solved for row in self.lessons)
        left = sum(row.minutes_left for row in self.lessons)
        if not total:
            return "There are no exercises yet."
        if solved == total:
            return f"All {total} exercises solved."
        return f"{solved} of {total} exercises solved; about {left} minutes left."

    def as_dict(self) -> dict[str, Any]:
        """The same as dicts, lists, texts and numbers."""
        return {"summary": self.summary, **asdict(self)}

    def __repr__(self) -> str:
        lines = [self.summary, ""]
        width = max((len(row.title) for row in self.lessons), default=0)
        lines += [_text_row(row, width) for row in self.lessons]
        for heading, listed in (("What was hard", self.hard), ("What to do next", self.review)):
            if listed:
                lines += ["", heading]
                lines += [f"  {line.slug}  {line.title}\n      {line.reason}" for line in listed]
        lines += ["", *(f"Note: {notice}" for notice in self.notices)] if self.notices else []
        return "\n".join(lines).rstrip()

    def _repr_html_(self) -> str:
        # Works in an untrusted notebook, which drops styles it does not know: no script, and nothing in colour alone.
        rows = "".join(_html_row(row) for row in self.lessons)
        head = "".join(
            f'<th scope="col" style="text-align:left">{name}</th>' for name in ("Lesson", "Solved", "", "Minutes left")
        )
        parts = [
            f"<p><b>{html.escape(self.summary)}</b></p>",
            f'<table style="color:{_INK}"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>',
            _html_list("What was hard", self.hard),
            _html_list("What to do next", self.review),
            *(f'<p role="alert"><b>Note:</b> {html.escape(notice)}</p>' for notice in self.notices),
        ]
        return f'<div class="kd-board" style="color:{_INK};max-width:56em">{"".join(parts)}</div>'


def board(store: Store | None = None, exercises: Sequence[Any] | None = None, *, now: datetime | None = None) -> Board:
    """The progress board.

    Args:
        store: whose events; by default those in ``KDLAB_HOME`` or the user's data folder.
        exercises: of which exercises; by default those of every lesson that can be opened.
        now: an aware time that reviews are due by; the present by default.
    """
    store = default_store() if store is None else store
    exercises = _bank() if exercises is None else exercises
    events = store.events()
    known = standings(events)
    pairs = [(one, known.get(one.slug) or Standing(one.slug)) for one in exercises]
    hard = sorted((pair for pair in pairs if hardness(pair[1]) >= _HARD), key=lambda pair: -hardness(pair[1]))
    return Board(
        lessons=[_lesson_row(number, pairs) for number in sorted({one.lesson for one in exercises})],
        hard=[_line(one, _why_hard(standing)) for one, standing in hard[:_MOST]],
        review=[_line(one, why) for one, why in review(exercises, events, now or datetime.now(UTC), limit=_MOST)],
        notices=store.notices(),
    )


_INK = "var(--jp-content-font-color1,inherit)"


def _bank() -> Sequence[Any]:
    """The exercises of lessons that can be opened."""
    from kdlab.exercises.catalog import bank

    ready = {one.number for one in LESSONS if one.ready}
    return [one for one in bank() if one.lesson in ready]


def lesson_title(number: int) -> str:
    """The lesson's title, or its number where the course has none."""
    return next((str(one.title) for one in LESSONS if one.number == number), f"Lesson {number}")


def _lesson_row(number: int, pairs: Sequence[tuple[Any, Standing]]) -> LessonRow:
    here = [(one, standing.status) for one, standing in pairs if one.lesson == number]
    return LessonRow(
        lesson=number,
        title=lesson_title(number),
        total=len(here),
        solved=sum(status == "correct" for _, status in here),
        tried=sum(status == "tried" for _, status in here),
        minutes_left=sum(one.minutes for one, status in here if status != "correct"),
    )


def _line(one: Any, reason: str) -> Line:
    return Line(one.slug, one.lesson, one.title, reason)


def _why_hard(standing: Standing) -> str:
    parts = [_count(standing.wrong, "wrong answer"), _count(standing.helped, "hint")]
    parts += ["solution seen first"] if standing.revealed else []
    told = ", ".join(filter(None, parts))
    return f"{told[0].upper()}{told[1:]}{'' if standing.status == 'correct' else '; not solved yet'}."


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}" if number else ""


def _text_row(row: LessonRow, width: int) -> str:
    full = max(row.solved * _BAR // row.total, min(row.solved, 1))  # a first step shows
    bar = "#" * full + "." * (_BAR - full)
    left = f"{row.minutes_left} min left" if row.minutes_left else "done"
    return f"  {row.lesson:02d} {row.title:{width}}  [{bar}] {row.solved:2d} of {row.total:2d}  {left}"


def _html_row(row: LessonRow) -> str:
    said = f"{row.solved} of {row.total}"
    bar = (
        f'<progress value="{row.solved}" max="{row.total}" aria-label="Lesson {row.lesson:02d}: {said} solved">'
        f"{said}</progress>"
    )
    tried = f" ({row.tried} tried)" if row.tried else ""
    return (
        f'<tr><th scope="row" style="text-align:left">{row.lesson:02d} {html.escape(row.title)}</th>'
        f"<td>{said}{tried}</td><td>{bar}</td><td>{row.minutes_left or 'done'}</td></tr>"
    )


def _html_list(heading: str, lines: Sequence[Line]) -> str:
    from kdlab.exercises.markup import inline  # only where a notebook shows it

    if not lines:
        return ""
    items = "".join(
        f"<li><b>{inline(line.title)}</b> (<code>{html.escape(line.slug)}</code>, lesson {line.lesson:02d}): "
        f"{html.escape(line.reason)}</li>"
        for line in lines
    )
    return f"<p><b>{heading}</b></p><ol>{items}</ol>"
