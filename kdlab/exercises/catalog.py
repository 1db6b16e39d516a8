"""The exercises as data: one YAML file per lesson in ``data/exercises``, checked when it is loaded.

An exercise has one or more *fields* that a learner fills in; its *kind* says which types of fields those are. Every
text is keyed by language (``en`` always, ``zh`` where there is one). The wrong answers that people really give stand
beside the right one, each with the message that names the misconception.
"""

from __future__ import annotations

import difflib
import math
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from kdlab.exercises.expressions import ExpressionError, evaluate

__all__ = ["KINDS", "BankError", "Exercise", "Field", "Option", "UnknownExercise", "Wrong", "bank", "exercise"]

LANGUAGES = ("en", "zh")

KINDS: dict[str, tuple[str, frozenset[str]]] = {
    "numeric": ("number", frozenset({"number", "choice"})),
    "choice": ("choice", frozenset({"choice"})),
    "choices": ("choices", frozenset({"choices"})),
    "code": ("code", frozenset({"code"})),
    "bug_hunt": ("line", frozenset({"line", "choice", "number"})),
    "derivation": ("expression", frozenset({"expression", "choice", "number"})),
    "open": ("text", frozenset({"text"})),
}
"""Kind of exercise: the type of its first field, and the types that its fields may have."""

OPEN_STARTER = {"en": "(write your answer here)", "zh": "（在这里写下你的回答）"}

_KEYS = {
    "slug", "kind", "difficulty", "importance", "minutes", "origin", "title", "prompt", "listing", "fields", "hints",
    "insight", "solution", "rubric", "red_flags", "pass",
}  # fmt: skip
_FIELD_KEYS = {
    "name", "type", "label", "unit", "answer", "tolerance", "wrong", "options", "variables", "function", "starter",
}  # fmt: skip
_DEFAULT_TOLERANCE = 0.01


class BankError(ValueError):
    """The bank's data are not in order; the message lists every problem with its place."""


class UnknownExercise(LookupError):
    """There is no exercise of that name; the message suggests those that look like it."""

    def __str__(self) -> str:
        return str(self.args[0])


@dataclass(frozen=True)
class Wrong:
    """A wrong answer that people really give.

    Attributes:
        answer: the value of the field.
        message: what the learner is told, Markdown.
        fails: for code, the name of the property that it violates first; the property has the message.
    """

    answer: Any
    message: str = ""
    fails: str = ""


@dataclass(frozen=True)
class Option:
    """One option of a choice: ``message`` is told to whoever has it wrong."""

    id: str
    text: str
    correct: bool
    message: str = ""


@dataclass(frozen=True)
class Field:
    """One thing to fill in.

    Attributes:
        name: key of its value in an answer with several fields.
        type: "number", "choice", "choices", "expression", "line", "code" or "text".
        label: what is asked for, Markdown.
        unit: of a number, such as "%"; empty if it has none.
        answer: the right value; for code the source of a reference.
        tolerance: relative, of a number.
        wrong: wrong values with their messages.
        options: of a choice or of choices.
        variables: of an expression, name to the values at which it is probed.
        function: of code, the name of the function that is asked for.
        starter: of code, what stands in the cell at first.
    """

    name: str
    type: str
    label: str = ""
    unit: str = ""
    answer: Any = None
    tolerance: float = _DEFAULT_TOLERANCE
    wrong: tuple[Wrong, ...] = ()
    options: tuple[Option, ...] = ()
    variables: Mapping[str, tuple[float, ...]] | None = None
    function: str = ""
    starter: str = ""

    @property
    def mistakes(self) -> list[Wrong]:
        """Every wrong value that the bank knows, those of options included."""
        if self.type == "choice":
            return [Wrong(option.id, option.message) for option in self.options if not option.correct]
        if self.type == "choices":
            right = {option.id for option in self.options if option.correct}
            return [Wrong(sorted(right ^ {option.id}), option.message) for option in self.options]
        return list(self.wrong)


@dataclass(frozen=True)
class Exercise:
    """One exercise, its texts in one language.

    Attributes:
        slug: its name for ever: lower-case words with hyphens.
        lesson: number of the lesson that it belongs to.
        kind: one of :data:`KINDS`.
        difficulty, importance: 1 to 3.
        minutes: how long it takes.
        title, prompt, solution: Markdown with maths between dollars.
        insight: told with a correct answer.
        hints: from a nudge to nearly the answer.
        fields: what to fill in.
        listing: code to read, shown with line numbers; empty for most.
        rubric, red_flags: what a good answer to an open question has, and must not have.
        passing: how many points of the rubric make an open answer pass.
        origin: where the facts come from, such as ``X00-1`` or the interview question ``Q07``.
    """

    slug: str
    lesson: int
    kind: str
    difficulty: int
    importance: int
    minutes: int
    title: str
    prompt: str
    insight: str
    solution: str
    hints: tuple[str, ...]
    fields: tuple[Field, ...]
    listing: str = ""
    rubric: tuple[str, ...] = ()
    red_flags: tuple[str, ...] = ()
    passing: int = 0
    origin: tuple[str, ...] = ()
    language: str = "en"

    @property
    def starter(self) -> Any:
        """The placeholder that stands where the answer goes; grading it gives "not attempted"."""
        return self._answer({field.name: _starter(field, self.language) for field in self.fields})

    @property
    def reference(self) -> Any:
        """An answer that passes."""
        return self._answer({field.name: self._right(field) for field in self.fields})

    @property
    def diagnoses(self) -> list[tuple[Any, Wrong]]:
        """Answers that fail, each right but for one mistake, with that mistake."""
        if self.kind == "open":
            return self._open_mistakes()
        right = {field.name: self._right(field) for field in self.fields}
        return [
            (self._answer({**right, field.name: mistake.answer}), mistake)
            for field in self.fields
            for mistake in field.mistakes
        ]

    @property
    def wrong(self) -> list[Any]:
        """Answers that fail."""
        return [answer for answer, _ in self.diagnoses]

    def in_language(self, language: str) -> Exercise:
        """The same exercise with its texts in ``language`` where there are some, else in English.

        Raises:
            ValueError: the course does not speak that language.
        """
        if language not in LANGUAGES:
            raise ValueError(f"language must be one of {', '.join(LANGUAGES)}, got {language!r}")
        return _banks(language)[self.slug]

    def _answer(self, values: dict[str, Any]) -> Any:
        return next(iter(values.values())) if len(values) == 1 else values

    def _right(self, field: Field) -> Any:
        if field.type == "choice":
            return next(option.id for option in field.options if option.correct)
        if field.type == "choices":
            return [option.id for option in field.options if option.correct]
        if field.type == "text":
            return {"text": self.solution, "points": list(range(len(self.rubric))), "flags": []}
        return field.answer

    def _open_mistakes(self) -> list[tuple[Any, Wrong]]:
        everything = list(range(len(self.rubric)))
        flagged = [
            ({"text": self.solution, "points": everything, "flags": [number]}, Wrong(number, flag))
            for number, flag in enumerate(self.red_flags)
        ]
        few = everything[: self.passing - 1]
        missing = self.rubric[self.passing - 1]
        return [({"text": self.solution, "points": few, "flags": []}, Wrong(few, missing)), *flagged]


# ------------------------------------------------------------------------------------------------------- look-up


def bank() -> list[Exercise]:
    """Every exercise of the course, in its order, with its texts in the learner's language.

    The language is English, or what the variable ``KDLAB_LANGUAGE`` says (``zh`` for Chinese).
    """
    return list(_banks(language()).values())


def exercise(slug: str) -> Exercise:
    """The exercise of that name.

    Raises:
        UnknownExercise: there is none; the message names those that look like it.
    """
    known = _banks(language())
    if isinstance(slug, str) and slug in known:
        return known[slug]
    near = difflib.get_close_matches(str(slug), known, n=3, cutoff=0.4)
    hint = f"did you mean {' or '.join(near)}?" if near else "kdlab.exercises.bank() lists all of them"
    raise UnknownExercise(f"there is no exercise {slug!r}; {hint}")


def language() -> str:
    """The learner's language: ``KDLAB_LANGUAGE`` if the bank knows it, else ``en``."""
    wanted = os.environ.get("KDLAB_LANGUAGE", "en").lower()[:2]
    return wanted if wanted in LANGUAGES else "en"


def bank_folder() -> Path:
    """``data/exercises`` of a checkout, or the copy inside an installed kdlab."""
    package = Path(__file__).resolve().parents[1]
    checkout = package.parent / "data" / "exercises"
    return checkout if checkout.is_dir() else package / "_exercises"


@cache
def _banks(language: str) -> dict[str, Exercise]:
    return {one.slug: one for one in load(bank_folder(), language)}


def load(folder: Path, language: str = "en") -> list[Exercise]:
    """Read and check every ``NN_name.yaml`` of a folder.

    Raises:
        BankError: whatever is missing, misspelt, doubled or contradicts itself, all of it in one message.
    """
    import yaml

    problems: list[str] = []
    found: list[Exercise] = []
    for path in sorted(folder.glob("*.yaml")):
        try:
            entries = yaml.safe_load(path.read_text(encoding="utf-8"))
        except yaml.YAMLError as error:
            problems.append(f"{path.name}: no YAML: {error}")
            continue
        number = re.match(r"(\d\d)[a-z]?_", path.name)
        if not number or not isinstance(entries, list):
            problems.append(f"{path.name}: wants a name such as 01_soft_labels.yaml and a list of exercises")
            continue
        for place, entry in enumerate(entries, 1):
            where = f"{path.name}, {entry.get('slug') if isinstance(entry, dict) else place}"
            try:
                one = _exercise(entry, int(number.group(1)), language)
            except (KeyError, TypeError, ValueError, AttributeError) as error:
                problems.append(f"{where}: {type(error).__name__}: {error}")
                continue
            found.append(one)
            try:
                problems += [f"{where}: {problem}" for problem in _problems(one)]
            except (TypeError, ValueError, AttributeError) as error:  # a value of the wrong type
                problems.append(f"{where}: {type(error).__name__}: {error}")
    slugs = [one.slug for one in found]
    problems += [f"{slug}: stands twice in the bank" for slug in sorted({s for s in slugs if slugs.count(s) > 1})]
    if problems:
        raise BankError("the exercise bank is not in order:\n" + "\n".join(problems))
    return found


# ------------------------------------------------------------------------------------------------------- reading


def _exercise(entry: Mapping[str, Any], lesson: int, language: str) -> Exercise:
    _refuse_unknown(entry, _KEYS)

    def words(key: str) -> str:
        return _text(entry[key], key, language)

    def list_of_words(key: str) -> tuple[str, ...]:
        return tuple(_text(item, f"{key} {number}", language) for number, item in enumerate(entry.get(key, []), 1))

    rubric = list_of_words("rubric")
    return Exercise(
        slug=entry["slug"], lesson=lesson, kind=entry["kind"], difficulty=entry["difficulty"],
        importance=entry["importance"], minutes=entry["minutes"], title=words("title"), prompt=words("prompt"),
        insight=words("insight"), solution=words("solution"), hints=list_of_words("hints"),
        fields=tuple(_field(item, language) for item in entry["fields"]), listing=entry.get("listing", ""),
        rubric=rubric, red_flags=list_of_words("red_flags"), origin=tuple(entry.get("origin", [])),
        passing=entry.get("pass", math.ceil(0.6 * len(rubric))), language=language,
    )  # fmt: skip


def _field(item: Mapping[str, Any], language: str) -> Field:
    _refuse_unknown(item, _FIELD_KEYS)
    variables = item.get("variables")
    for option in item.get("options", []):
        _refuse_unknown(option, {"id", "text", "correct", "message"})
    for one in item.get("wrong", []):
        _refuse_unknown(one, {"answer", "message", "fails"})
    options = [
        Option(
            str(option["id"]), _text(option["text"], "option", language), bool(option.get("correct", False)),
            _text(option["message"], "message", language) if "message" in option else "",
        )
        for option in item.get("options", [])
    ]  # fmt: skip
    wrong = [
        Wrong(
            one["answer"], _text(one["message"], "message", language) if "message" in one else "", one.get("fails", "")
        )
        for one in item.get("wrong", [])
    ]
    return Field(
        name=item.get("name", "answer"), type=item["type"], unit=item.get("unit", ""), answer=item.get("answer"),
        label=_text(item["label"], "label", language) if "label" in item else "", wrong=tuple(wrong),
        tolerance=float(item.get("tolerance", _DEFAULT_TOLERANCE)), options=tuple(options),
        variables={name: tuple(map(float, values)) for name, values in variables.items()} if variables else None,
        function=item.get("function", ""), starter=item.get("starter", ""),
    )  # fmt: skip


def _text(value: Any, what: str, language: str) -> str:
    """The text in the wanted language, or in English."""
    if not isinstance(value, dict) or not isinstance(value.get("en"), str) or not value["en"].strip():
        raise ValueError(f"{what} must be keyed by language and have an English text, such as {{en: ...}}")
    _refuse_unknown(value, set(LANGUAGES))
    return str(value.get(language) or value["en"]).strip()


def _refuse_unknown(entry: Mapping[str, Any], known: set[str]) -> None:
    if unknown := sorted(set(entry) - known):
        raise ValueError(f"unknown {', '.join(unknown)}; known are {', '.join(sorted(known))}")


def _starter(field: Field, language: str) -> Any:
    if field.type == "code":
        return field.starter
    return OPEN_STARTER[language] if field.type == "text" else None


# ------------------------------------------------------------------------------------------------------ checking


def _problems(one: Exercise) -> Iterable[str]:
    if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", one.slug):
        yield "a slug is lower-case words joined by hyphens"
    for name, most in (("difficulty", 3), ("importance", 3), ("minutes", 60)):
        value = getattr(one, name)
        if type(value) is not int or not 1 <= value <= most:
            yield f"{name} must be a whole number from 1 to {most}, got {value!r}"
    if one.kind not in KINDS:
        yield f"kind must be one of {', '.join(KINDS)}, got {one.kind!r}"
        return
    first, allowed = KINDS[one.kind]
    types = [field.type for field in one.fields]
    if not types or types[0] != first or set(types) - allowed or (len(types) > 1 and len(allowed) == 1):
        yield f"{one.kind} starts with a field of type {first} and has only {sorted(allowed)}, got {types}"
    if len({field.name for field in one.fields}) != len(one.fields):
        yield "two fields of one name"
    if not one.hints:
        yield "at least one hint, please"
    if (one.kind == "open") != bool(one.rubric) or (one.rubric and not 3 <= len(one.rubric) <= 6):
        yield "an open question, and no other, has a rubric of 3 to 6 points"
    if (one.kind == "open") != bool(one.red_flags):
        yield "an open question, and no other, has red flags"
    if (one.kind == "bug_hunt") != bool(one.listing):
        yield "a bug hunt, and no other, has a listing"
    if one.rubric and not (type(one.passing) is int and 1 <= one.passing <= len(one.rubric)):
        yield f"pass must be a whole number from 1 to {len(one.rubric)}, got {one.passing!r}"
    for field in one.fields:
        yield from (f"field {field.name}: {problem}" for problem in _field_problems(field, one))


def _field_problems(field: Field, one: Exercise) -> Iterable[str]:
    if len(one.fields) > 1 and not field.label:
        yield "one of several fields wants a label"
    if field.type in ("choice", "choices"):
        yield from _option_problems(field)
        return
    if field.type == "text":
        return
    if field.answer is None:
        yield "has no answer"
        return
    if not field.wrong:
        yield "needs wrong answers that people really give"
    texts = [mistake.message or mistake.fails for mistake in field.wrong]
    if not all(texts) or len(set(texts)) < len(texts):
        yield "every wrong answer wants a message of its own"
    if field.type == "code":
        yield from _code_problems(field)
    if field.type == "line" and not 1 <= field.answer <= len(one.listing.splitlines()):
        yield f"line {field.answer} is not in the listing"
    if field.type == "number":
        yield from _number_problems(field)
    if field.type == "expression":
        yield from _expression_problems(field)


def _option_problems(field: Field) -> Iterable[str]:
    ids = [option.id for option in field.options]
    right = sum(option.correct for option in field.options)
    if len(ids) < 3 or len(set(ids)) < len(ids):
        yield "needs at least three options with different ids"
    if right < 1 or (field.type == "choice" and right > 1):
        yield f"{right} options are marked correct"
    told = [option.message for option in field.options if field.type == "choices" or not option.correct]
    if not all(told) or len(set(told)) < len(told):
        yield "every option that one can have wrong wants a message of its own"


def _code_problems(field: Field) -> Iterable[str]:
    if not field.function.isidentifier():
        yield "code wants the name of a function"
    if f"def {field.function}(" not in field.starter or f"def {field.function}(" not in field.answer:
        yield f"starter and answer must define {field.function}"


def _number_problems(field: Field) -> Iterable[str]:
    if isinstance(field.answer, bool) or not isinstance(field.answer, int | float):
        yield f"answer must be a number, got {field.answer!r}"
        return
    for mistake in field.wrong:
        if not isinstance(mistake.answer, int | float):
            yield f"wrong answer {mistake.answer!r} is no number"
        elif abs(mistake.answer - field.answer) <= field.tolerance * abs(field.answer):
            yield f"wrong answer {mistake.answer} lies within the tolerance of the right one"


def _expression_problems(field: Field) -> Iterable[str]:
    probes = probe_points(field)
    if len(probes) < 3:
        yield "an expression wants at least three values for each of its variables"
    try:
        right = [evaluate(str(field.answer), point) for point in probes]
        for mistake in field.wrong:
            if [evaluate(str(mistake.answer), point) for point in probes] == right:
                yield f"wrong expression {mistake.answer!r} equals the right one at every probe"
    except ExpressionError as error:
        yield str(error)


def probe_points(field: Field) -> Sequence[dict[str, float]]:
    """The points at which an expression is evaluated: the first value of every variable, the second, ..."""
    variables = field.variables or {}
    rows = zip(*variables.values(), strict=True)
    return [dict(zip(variables, row, strict=True)) for row in rows]
