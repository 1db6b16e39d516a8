"""Exercises that answer, and progress that lasts.

In a notebook, ``ask(slug)`` shows a card; in plain code ``check(slug, answer)``, ``hint(slug)`` and ``solution(slug)``
do the same. ``predict`` keeps a guess until the measurement, ``given`` lets later cells run whatever was answered, and
``board()`` shows what is done, what was hard and what to review. Importing this needs no torch: answers that are code
run in a process of their own.

>>> from kdlab.exercises import grade
>>> grade("first-exercise", "25 %").outcome
'incorrect'
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kdlab.exercises.card import ask as ask
    from kdlab.exercises.catalog import Exercise as Exercise
    from kdlab.exercises.catalog import bank as bank
    from kdlab.exercises.grading import grade as grade
    from kdlab.exercises.overview import board as board
    from kdlab.exercises.session import check as check
    from kdlab.exercises.session import given as given
    from kdlab.exercises.session import hint as hint
    from kdlab.exercises.session import predict as predict
    from kdlab.exercises.session import solution as solution
    from kdlab.exercises.verdict import Verdict as Verdict

_NAMES = {
    "Exercise": "catalog",
    "Verdict": "verdict",
    "ask": "card",
    "bank": "catalog",
    "board": "overview",
    "check": "session",
    "given": "session",
    "grade": "grading",
    "hint": "session",
    "predict": "session",
    "solution": "session",
}
__all__ = [*_NAMES]


def __getattr__(name: str) -> Any:
    if name not in _NAMES:
        raise AttributeError(f"module 'kdlab.exercises' has no attribute {name!r}; it has: {', '.join(_NAMES)}")
    # No module of this package may be called like one of these names: importing it would hide the function.
    return getattr(import_module(f"{__name__}.{_NAMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
