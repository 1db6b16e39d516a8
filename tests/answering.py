"""What the tests of exercises' answers share: a field of the bank, its mistakes, and code judged in this process."""

from __future__ import annotations

from kdlab.exercises import judging
from kdlab.exercises.catalog import Field, exercise
from kdlab.exercises.judging import Finding

__all__ = ["field_of", "judged", "mistakes", "right_options"]

_ORIGINALS = judging.Originals()


def field_of(slug: str, name: str) -> Field:
    """The field of an exercise with this name."""
    return next(field for field in exercise(slug).fields if field.name == name)


def mistakes(field: Field) -> list[float]:
    """The wrong answers of a number that have a diagnosis."""
    return [wrong.answer for wrong in field.wrong]


def right_options(field: Field) -> list[str]:
    """The ids of a choice's right options."""
    return [option.id for option in field.options if option.correct]


def judged(slug: str, source: str) -> Finding:
    """A code answer, judged as the worker does."""
    function = exercise(slug).fields[0].function
    progress = judging.Progress()
    return judging.judge(
        "source", source.encode(), slug=slug, function=function, progress=progress, originals=_ORIGINALS
    )
