"""From an answer to a verdict: look at each field, tell right from wrong, and say what the mistake is called.

An answer is never trusted: only exact, known types are read, so no method of a foreign object is ever called, and what
must be run (code) runs in another process. Reading order: :func:`grade`, then one small function per type of field.
"""

from __future__ import annotations

import ast
import re
import sys
import types
import warnings
from collections.abc import Callable
from typing import Any

from kdlab.exercises.catalog import OPEN_STARTER, Exercise, Field, exercise, probe_points
from kdlab.exercises.expressions import ExpressionError, evaluate
from kdlab.exercises.verdict import CORRECT, INCORRECT, INVALID, NOT_ATTEMPTED, Verdict

__all__ = ["by_field", "grade", "is_blank", "read", "unwrapped"]

_EXPRESSION_TOLERANCE = 1e-6
_LONGEST = 1000  # characters of what is typed into a field; regular expressions on a megabyte could take minutes
_NEAR = 0.025  # how near a number must be to a known mistake to be told its name: people round to two digits

# What people write after a number, by the field's unit.
_UNITS = {"%": r"\s*(%|％|per ?cent)$", "times": r"\s*(x|×|times|倍)$", "bits": r"\s*(bits?|比特)$"}
_SLIPS = {
    -1.0: "Only the sign is wrong.",
    1000.0: "Too large by a factor of a thousand: look at the units.",
    0.001: "Too small by a factor of a thousand: look at the units.",
}


class _Invalid(Exception):
    """The value of a field cannot be judged; the message says why, for the learner."""


def grade(slug: str, answer: Any, *, language: str | None = None) -> Verdict:
    """Judge one answer; nothing is stored, and nothing that an answer does can harm the caller.

    Args:
        slug: the exercise's name.
        answer: the bare value if the exercise has one field, else a dict of field name to value (or a list in the
            order of the fields). ``None`` and ``...`` mean unanswered.
        language: of the messages; the learner's by default.

    Raises:
        UnknownExercise: there is no exercise of that name.
        ValueError: the course does not speak that language.

    Example:
        >>> grade("first-exercise", None).outcome, grade("first-exercise", 75).outcome
        ('not attempted', 'correct')
    """
    one = exercise(slug)
    if language is not None:
        one = one.in_language(language)
    try:
        values = by_field(one, answer)
        if all(is_blank(value) for value in values.values()) and one.kind != "open":
            return Verdict(NOT_ATTEMPTED, "")
        results = {field.name: _judge(field, values[field.name], one) for field in one.fields}
    except _Invalid as problem:
        return Verdict(INVALID, str(problem))
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # an object with hostile methods, or a fault of ours: the lesson goes on
        return Verdict(INVALID, f"Your answer could not be read: it raised `{type(error).__name__}`.")
    return _together(one, results)


def is_blank(value: Any) -> bool:
    """Whether a field is unanswered: ``None``, ``...`` or an empty text."""
    return value is None or value is ... or (type(value) is str and not value.strip())


# ------------------------------------------------------------------------------------------------ the whole answer


def by_field(one: Exercise, answer: Any) -> dict[str, Any]:
    """The value of each field; those left out are ``None``."""
    names = [field.name for field in one.fields]
    if len(names) == 1:
        return {names[0]: answer}
    if is_blank(answer):
        return dict.fromkeys(names)
    if type(answer) is dict:
        if unknown := [key for key in answer if type(key) is not str or key not in names]:
            shown = ", ".join(repr(key) if type(key) is str else type(key).__name__ for key in unknown[:3])
            raise _Invalid(f"There is no field {shown} here; the fields are {', '.join(names)}.")
        return {name: answer.get(name) for name in names}
    if type(answer) in (list, tuple) and len(answer) == len(names):
        return dict(zip(names, answer, strict=True))
    raise _Invalid(
        f"This exercise has {len(names)} fields: answer with a dict such as "
        f"`{{{', '.join(f'{name!r}: ...' for name in names)}}}`; this is a {_kind_of(answer)}."
    )


def _together(one: Exercise, results: dict[str, tuple[str, str]]) -> Verdict:
    """One verdict from those of the fields: a mistake counts most, then what could not be read, then what is open."""
    details = {name: outcome for name, (outcome, _) in results.items()}
    found = set(details.values())
    outcome = next((o for o in (INCORRECT, INVALID, NOT_ATTEMPTED) if o in found), CORRECT)
    if outcome == CORRECT:
        return Verdict(CORRECT, one.insight, details if len(results) > 1 else {})
    if len(results) == 1:
        return Verdict(outcome, next(iter(results.values()))[1])
    labels = {field.name: field.label for field in one.fields}
    lines = [f"- **{labels[name]}**: {message}" for name, (_, message) in results.items() if message]
    right = sum(result == CORRECT for result in details.values())
    unanswered = [labels[name] for name, result in details.items() if result == NOT_ATTEMPTED]
    lines += [f"- Still open: {'; '.join(unanswered)}."] if unanswered else []
    return Verdict(outcome, "\n".join([f"{right} of {len(results)} right so far.\n", *lines]), details)


def _judge(field: Field, value: Any, one: Exercise) -> tuple[str, str]:
    """Outcome and message of one field."""
    if is_blank(value) and field.type != "text":
        return NOT_ATTEMPTED, ""
    try:
        if type(value) is str and len(value) > _LONGEST and field.type not in ("code", "text"):
            raise _Invalid(f"That is {len(value):,} characters long; an answer here takes at most {_LONGEST:,}.")
        return _GRADERS[field.type](field, value, one)
    except _Invalid as problem:
        return INVALID, str(problem)


# ----------------------------------------------------------------------------------------------- one type of field


def _number(field: Field, value: Any, one: Exercise) -> tuple[str, str]:
    number = _read_quantity(field, value)
    if _close(number, field.answer, field.tolerance):
        return CORRECT, ""
    if field.unit == "%" and _close(number * 100, field.answer, field.tolerance):
        return INVALID, f"The field asks for per cent; {number:g} looks like a share."
    for candidate in (number, number * 100) if field.unit == "%" else (number,):
        near = [m for m in field.wrong if _close(candidate, m.answer, max(field.tolerance, _NEAR))]
        if near:
            return INCORRECT, min(near, key=lambda mistake: abs(mistake.answer - candidate)).message
    if _close(number, field.answer, _NEAR):
        return INCORRECT, f"Close: to within {_share(field.tolerance)} it would be right. Give another digit."
    for factor, message in _SLIPS.items():
        if field.answer and _close(number, field.answer * factor, field.tolerance):
            return INCORRECT, message
    return INCORRECT, f"{number:g} is too {'large' if number > field.answer else 'small'}."


def _expression(field: Field, value: Any, one: Exercise) -> tuple[str, str]:
    if type(value) in (int, float):
        value = repr(value)
    if type(value) is not str:
        names = ", ".join(field.variables or {})
        raise _Invalid(f"Write the expression as text, in the names {names}; this is a {_kind_of(value)}.")
    points = probe_points(field)
    yours = _values(value, points)
    right = _values(str(field.answer), points)
    if _all_close(yours, right):
        return CORRECT, ""
    for mistake in field.wrong:
        if _all_close(yours, _values(str(mistake.answer), points)):
            return INCORRECT, mistake.message
    worst = max(range(len(points)), key=lambda i: abs(yours[i] - right[i]))
    where = ", ".join(f"{name} = {number:g}" for name, number in points[worst].items())
    return INCORRECT, f"At {where} your expression is {yours[worst]:.6g}; it should be {right[worst]:.6g}."


def _choice(field: Field, value: Any, one: Exercise) -> tuple[str, str]:
    picked = read(field, value)
    option = next(option for option in field.options if option.id == picked)
    return (CORRECT, "") if option.correct else (INCORRECT, option.message)


def _choices(field: Field, value: Any, one: Exercise) -> tuple[str, str]:
    picked = read(field, value)
    if not picked:
        return NOT_ATTEMPTED, ""
    off = [option for option in field.options if (option.id in picked) != option.correct]
    if not off:
        return CORRECT, ""
    first = off[0]
    state = "should not be ticked" if first.id in picked else "belongs to it"
    more = f" ({len(off)} of {len(field.options)} options are not as they should be; this is the first.)"
    return INCORRECT, f"**{first.id}** {state}: {first.message}{more if len(off) > 1 else ''}"


def _line(field: Field, value: Any, one: Exercise) -> tuple[str, str]:
    lines = one.listing.splitlines()
    number = _read_line(value)
    if number != int(number) or not 1 <= number <= len(lines):
        raise _Invalid(f"Answer with the number of a line, 1 to {len(lines)}; this is {number:g}.")
    if number == field.answer:
        return CORRECT, ""
    for mistake in field.wrong:
        if number == mistake.answer:
            return INCORRECT, mistake.message
    text = lines[int(number) - 1].strip()
    return INCORRECT, f"Line {number:g}, `{text}`, does what it should." if text else f"Line {number:g} is empty."


def _code(field: Field, value: Any, one: Exercise) -> tuple[str, str]:
    if type(value) is not types.FunctionType and type(value) is not str:
        raise _Invalid(f"A function is wanted, `{field.function}` or its source as text; this is a {_kind_of(value)}.")
    if type(value) is str and len(value) < 2 * _LONGEST and _same_code(value, field.starter):
        return NOT_ATTEMPTED, ""
    from kdlab.exercises.sandbox import run_code

    result = run_code(value, slug=one.slug, function=field.function)
    printed = f"\n\nIt printed:\n\n```text\n{result.printed}\n```" if result.printed else ""
    return result.outcome, result.message + (printed if result.outcome != CORRECT else "")


def _open(field: Field, value: Any, one: Exercise) -> tuple[str, str]:
    if value is None or value is ...:
        return NOT_ATTEMPTED, ""
    text, points, flags = _read_open(value, one)
    if text.strip() in OPEN_STARTER.values():
        return NOT_ATTEMPTED, ""
    if not text.strip():
        raise _Invalid("The text is empty: write your own answer first; the rubric comes after it.")
    if points is None:
        return NOT_ATTEMPTED, "Now compare it with the rubric and score yourself."
    if flags:
        return INCORRECT, f"There is a red flag in it: {one.red_flags[min(flags)]}"
    if len(points) < one.passing:
        missing = next(number for number in range(len(one.rubric)) if number not in points)
        have = f"You gave yourself {len(points)} of {len(one.rubric)} points; {one.passing} make a good answer."
        return INCORRECT, f"{have} Among what is missing: {one.rubric[missing]}"
    return CORRECT, ""


_GRADERS: dict[str, Callable[[Field, Any, Exercise], tuple[str, str]]] = {
    "number": _number,
    "expression": _expression,
    "choice": _choice,
    "choices": _choices,
    "line": _line,
    "code": _code,
    "text": _open,
}


# ------------------------------------------------------------------------------------------------- reading values


def read(field: Field, value: Any) -> Any:
    """The value of a field that was written as people do, in the form in which the bank holds it."""
    match field.type:
        case "number":
            return _read_quantity(field, value)
        case "line":
            return int(_read_line(value))
        case "choice":
            return _read_options(field, [value])[0]
        case "choices":
            if type(value) is str:
                value = [part for part in re.split(r"[\s,;，、；]+", value) if part]
            if type(value) not in (list, tuple, set, frozenset):
                raise _Invalid(f"Answer with a list of letters such as `['a', 'c']`; this is a {_kind_of(value)}.")
            return sorted(set(_read_options(field, list(value))))
    return value


def _read_quantity(field: Field, value: Any) -> float:
    """A number with the field's unit or without; of per cent the number before the sign."""
    if type(value) is str:
        value = re.sub(_UNITS.get(field.unit, r"$^"), "", value.strip())
    return _read_number(value)


def _read_line(value: Any) -> float:
    return _read_number(re.sub(r"^\s*line\s*", "", value, flags=re.IGNORECASE) if type(value) is str else value)


def _read_number(value: Any) -> float:
    """A finite float from a number, a 0-dimensional array or tensor, or arithmetic as text."""
    if type(value) is str:
        try:
            return evaluate(value)
        except ExpressionError as error:
            raise _Invalid(f"A number is wanted: {error}.") from None
    value = unwrapped(value)
    if type(value) not in (int, float):
        raise _Invalid(f"A number is wanted; this is a {_kind_of(value)}.")
    try:
        number = float(value)
    except OverflowError:
        raise _Invalid("A number is wanted; this one is too large to be one.") from None
    if number != number or number in (float("inf"), float("-inf")):
        raise _Invalid(f"A finite number is wanted; this is {number}.")
    return number


def unwrapped(value: Any) -> Any:
    """The Python number inside a scalar of NumPy or torch; other values as they are."""
    # By identity: a class may call itself anything, and bring methods of its own.
    kind, numpy, torch = type(value), sys.modules.get("numpy"), sys.modules.get("torch")
    if (numpy and kind is numpy.ndarray) or (torch and kind is torch.Tensor):
        if value.ndim:
            raise _Invalid(f"A single number is wanted; this has shape {list(value.shape)}.")
        return value.item()
    return value.item() if numpy and any(kind is known for known in numpy.sctypeDict.values()) else value


def _read_options(field: Field, values: list[Any]) -> list[str]:
    known = {option.id.lower(): option.id for option in field.options}
    picked = []
    for value in values:
        key = value.strip().strip("().").lower() if type(value) is str else None
        if key not in known:
            got = repr(value[:20]) if type(value) is str else f"a {_kind_of(value)}"
            raise _Invalid(f"Answer with one of {', '.join(known.values())}; this is {got}.")
        picked.append(known[key])
    return picked


def _read_open(value: Any, one: Exercise) -> tuple[str, list[int] | None, list[int]]:
    """Text, points (None before self-scoring) and red flags of an open answer."""
    if type(value) is str:
        return value, None, []
    if type(value) is not dict or type(value.get("text")) is not str:
        raise _Invalid(f"Write your answer as text; this is a {_kind_of(value)}.")
    points, flags = value.get("points"), value.get("flags") or []
    for name, numbers, most in (("points", points, len(one.rubric)), ("flags", flags, len(one.red_flags))):
        fine = numbers is None or (
            type(numbers) in (list, tuple) and all(type(n) is int and 0 <= n < most for n in numbers)
        )
        if not fine:
            raise _Invalid(f"`{name}` must be a list of whole numbers from 0 to {most - 1}.")
    return value["text"], None if points is None else sorted(set(points)), sorted(set(flags))


def _values(text: str, points: Any) -> list[float]:
    try:
        return [evaluate(text, point) for point in points]
    except ExpressionError as error:
        raise _Invalid(f"The expression cannot be evaluated: {error}.") from None


def _share(tolerance: float) -> str:
    return f"{100 * tolerance:g} %"


def _close(value: float, target: float, tolerance: float) -> bool:
    return abs(value - target) <= tolerance * abs(target) + 1e-12


def _all_close(values: list[float], targets: list[float]) -> bool:
    scale = max(map(abs, targets), default=1.0) or 1.0
    return all(abs(a - b) <= _EXPRESSION_TOLERANCE * scale for a, b in zip(values, targets, strict=True))


def _same_code(one: str, other: str) -> bool:
    """Whether two sources are the same program: spaces and comments do not count."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Python's opinions on half-typed code are not for the learner
            return ast.dump(ast.parse(one)) == ast.dump(ast.parse(other))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return one.split() == other.split()


def _kind_of(value: Any) -> str:
    """The type's name, in words where there are some."""
    words = {str: "text", dict: "dict", list: "list", bool: "truth value", types.FunctionType: "function"}
    name = type.__dict__["__name__"].__get__(type(value))  # a metaclass cannot get in between
    return words.get(type(value), str(name)[:40])
