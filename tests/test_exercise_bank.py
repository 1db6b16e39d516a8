"""The exercise matrix, over the whole bank: whatever is added to it is covered here without a new line."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from kdlab.exercises import Exercise, bank, grade
from kdlab.exercises.catalog import KINDS, LANGUAGES, BankError, UnknownExercise, exercise, load
from kdlab.exercises.verdict import CORRECT, INCORRECT, INVALID, NOT_ATTEMPTED, OUTCOMES, Verdict

ROOT = Path(__file__).parents[1]
BANK = bank()
MISTAKES = [(one, number) for one in BANK for number in range(len(one.wrong))]
LIMIT = 5.0  # seconds for a verdict, whatever the answer does


def _names(value: Any) -> str:
    return value.slug if isinstance(value, Exercise) else str(value)


# ------------------------------------------------------------------------------------------------------ the matrix


@pytest.mark.parametrize("one", BANK, ids=_names)
def test_the_starter_is_not_attempted(one: Exercise) -> None:
    assert grade(one.slug, one.starter).outcome == NOT_ATTEMPTED


@pytest.mark.parametrize("blank", [None, ..., "", "   "], ids=repr)
@pytest.mark.parametrize("one", BANK, ids=_names)
def test_a_blank_is_not_attempted_except_that_an_open_question_wants_a_text(one: Exercise, blank: Any) -> None:
    expected = INVALID if one.kind == "open" and isinstance(blank, str) else NOT_ATTEMPTED
    assert grade(one.slug, blank).outcome == expected


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("one", BANK, ids=_names)
def test_the_reference_is_correct_and_says_something(one: Exercise, language: str) -> None:
    verdict = grade(one.slug, one.in_language(language).reference, language=language)
    assert verdict.outcome == CORRECT, verdict
    assert len(verdict.message) > 10


@pytest.mark.parametrize(("one", "number"), MISTAKES, ids=_names)
def test_a_wrong_answer_is_incorrect_with_its_own_message(one: Exercise, number: int) -> None:
    answer, mistake = one.diagnoses[number]
    verdict = grade(one.slug, answer)
    assert verdict.outcome == INCORRECT, verdict
    assert mistake.message in verdict.message
    if one.kind == "code":
        from kdlab.exercises.sandbox import run_code

        assert run_code(answer, slug=one.slug, function=one.fields[0].function).failed == mistake.fails


@pytest.mark.parametrize("one", BANK, ids=_names)
def test_no_two_wrong_answers_get_the_same_message(one: Exercise) -> None:
    messages = [grade(one.slug, answer).message for answer in one.wrong]
    assert messages
    assert len(set(messages)) == len(messages)


@pytest.mark.parametrize("one", [one for one in BANK if one.kind == "open"], ids=_names)
def test_an_open_answer_waits_for_its_self_score(one: Exercise) -> None:
    assert grade(one.slug, "My own words.").outcome == NOT_ATTEMPTED
    assert grade(one.slug, {"text": "My own words."}).outcome == NOT_ATTEMPTED
    assert grade(one.slug, {"text": "  ", "points": [0, 1, 2]}).outcome == INVALID


@pytest.mark.parametrize("one", BANK, ids=_names)
def test_what_a_learner_reads_before_answering_gives_nothing_away(one: Exercise) -> None:
    shown = " ".join([one.prompt, *(field.label for field in one.fields)])
    assert one.solution not in shown
    assert one.insight not in shown


# -------------------------------------------------------------------------------------------------- hostile answers


class _Hostile:
    """An object that fights back whatever is asked of it."""

    def _fight(self, *_: object) -> Any:
        raise RuntimeError("do not touch")

    __repr__ = __str__ = __eq__ = __hash__ = __float__ = __int__ = __index__ = __len__ = __iter__ = __bool__ = _fight  # type: ignore[assignment]
    __getattribute__ = _fight  # type: ignore[assignment]


class _Endless(float):
    """A number whose every operation waits for ever."""

    def _wait(self, *_: object) -> Any:
        time.sleep(60)

    __eq__ = __lt__ = __gt__ = __sub__ = __rsub__ = __float__ = __mul__ = __abs__ = __repr__ = __str__ = _wait  # type: ignore[assignment]
    __hash__ = None  # type: ignore[assignment]


class _Quitter:
    def __float__(self) -> float:
        raise SystemExit


def _hostile() -> dict[str, Any]:
    import numpy as np
    import torch

    nested: list[Any] = []
    nested.append(nested)
    deep: Any = 1
    for _ in range(10_000):
        deep = [deep]
    boxed = np.empty((), dtype=object)
    boxed[()] = _Hostile()
    return {
        "hostile object": _Hostile(),
        "hostile in a dict": {"line": _Hostile(), "ratio": _Hostile(), "p1": _Hostile(), "text": _Hostile()},
        "hostile in a list": [_Hostile()] * 4,
        "hostile key": {_Quitter(): 1},
        "endless number": _Endless(1.0),
        "quitter": _Quitter(),
        "nan": float("nan"),
        "inf": float("inf"),
        "huge int": 10**5000,
        "bool": True,
        "complex": 1j,
        "bytes": b"75",
        "text": "banana",
        "long text": "1+" * 100_000,
        "deep text": "(" * 5000 + "1" + ")" * 5000,
        "tower": "9**9**9**9**9",
        "code as text": "__import__('os').system('true')",
        "null": "\0",
        "list": [1, 2, 3],
        "itself": nested,
        "deep list": deep,
        "huge array": np.zeros((4000, 4000)),
        "nan array": np.full(3, np.nan),
        "object array": boxed,
        "grad tensor": torch.zeros(2, requires_grad=True),
        "0-d nan tensor": torch.tensor(float("nan")),
        "meta tensor": torch.zeros((), device="meta"),
        "class": dict,
        "module": time,
        "dict": {"nothing": 1},
        "points": {"text": "x", "points": [99], "flags": ["a"]},
    }


@pytest.mark.parametrize("one", [one for one in BANK if one.kind != "code"], ids=_names)
def test_hostile_answers_get_a_clear_verdict_at_once(one: Exercise) -> None:
    for name, answer in _hostile().items():
        start = time.perf_counter()
        verdict = grade(one.slug, answer)
        assert time.perf_counter() - start < LIMIT, name
        assert verdict.outcome in (INVALID, INCORRECT, NOT_ATTEMPTED), (name, verdict)
        assert verdict.message or verdict.outcome == NOT_ATTEMPTED, name
        if name not in ("long text", "text", "code as text", "null", "deep text", "tower", "bool", "nan", "inf"):
            continue
        assert len(verdict.message) < 1000, name


@pytest.mark.parametrize("one", [one for one in BANK if one.kind == "code"], ids=_names)
def test_code_that_is_no_function_is_invalid(one: Exercise) -> None:
    for name in ("hostile object", "endless number", "nan", "huge array", "list", "class", "null", "text"):
        assert grade(one.slug, _hostile()[name]).outcome == INVALID, name


# -------------------------------------------------------------------------------------------------------- the data


def test_there_is_enough_of_every_kind() -> None:
    assert len(BANK) >= 14
    assert {one.kind for one in BANK} == set(KINDS)
    for lesson in (0, 1):
        assert sum(one.lesson == lesson for one in BANK) >= 3


PUBLISHED = [
    "first-exercise",
    "compression-four-numbers",
    "born-again-network",
    "what-shrinks-the-file",
    "cost-of-a-teacher",
    "overhead-limits-speed-up",
    "frozen-teacher-size",
    "fair-latency-ratio",
    "distillation-or-compression",
    "why-distil",
    "name-the-techniques",
    "odds-at-two",
    "softmax-of-three",
    "softmax-with-temperature",
    "what-temperature-keeps",
    "temperature-reads-logits",
    "smoothing-or-soft",
    "entropy-of-soft-labels",
    "entropy-grows-with-temperature",
    "double-softmax-floor",
    "temperature-for-confidence",
    "how-soft-labels-are-made",
    "labels-right-teacher-wrong",
    "gradient-of-the-soft-term",
    "kd-loss-of-one-row",
    "t-squared-forgotten",
    "write-kd-loss",
    "what-is-the-distillation-loss",
    "forward-and-reverse-kl",
    "kl-div-swapped-without-log",
    "simplification-without-teacher",
    "input-that-freezes-the-student",
    "types-of-distillation-loss",
    "accuracy-over-batches",
    "cache-by-batch-position",
    "teacher-with-dropout-on",
    "what-a-cache-weighs",
    "paired-difference-with-interval",
    "what-pairing-is-worth",
    "mcnemar-by-hand",
    "what-makes-a-gain-believable",
    "does-distillation-suit-every-task",
    "convince-me-that-the-teacher-helped",
    "what-a-projector-costs",
    "attention-transfer-by-hand",
    "what-each-feature-loss-ignores",
    "write-attention-transfer-loss",
    "similarity-with-the-wrong-norm",
    "projector-that-never-learns",
    "features-that-changed-after-the-hook",
    "relations-forget-scale",
    "which-knowledge-to-copy",
    "two-ways-to-average-teachers",
    "soft-targets-of-several-teachers",
    "mutual-learning-without-detach",
    "what-an-assistant-costs",
    "why-a-copy-can-teach",
    "standardised-logits",
    "weights-by-confidence",
    "fair-comparisons-of-teachers",
    "does-the-best-teacher-make-the-best-student",
    "mask-that-saves-nothing",
    "when-sparse-is-smaller",
    "write-a-magnitude-mask",
    "momentum-revives-pruned-weights",
    "channels-halved",
    "magnitude-against-obd",
    "cubic-schedule",
    "two-of-four",
    "why-is-it-not-faster",
    "prune-under-a-latency-budget",
    "break-even-rank",
    "what-truncation-loses",
    "write-low-rank-linear",
    "fold-a-batch-norm",
    "write-fold-batch-norm",
    "folded-while-training",
    "clusters-and-bits",
    "two-small-tables",
    "when-activations-matter",
    "which-compression-for-which-layer",
]


def test_a_slug_is_for_ever() -> None:
    """Learners' stores refer to slugs, so none that was ever published may go or change its name."""
    assert set(PUBLISHED) <= {one.slug for one in BANK}


def test_no_letter_is_a_good_guess() -> None:
    letters = [
        option.id for one in BANK for field in one.fields if field.type == "choice" for option in field.options
        if option.correct
    ]  # fmt: skip
    assert max(letters.count(letter) for letter in letters) <= len(letters) / 2


def test_questions_of_the_articles_come_in_both_languages() -> None:
    asked = [one for one in BANK if one.kind == "open" and any(source.startswith("Q") for source in one.origin)]
    assert asked
    for one in asked:
        chinese = one.in_language("zh")
        assert chinese.prompt != one.prompt
        assert chinese.title != one.title


def test_the_language_can_be_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KDLAB_LANGUAGE", "zh_CN")
    assert "百分之" in exercise("first-exercise").prompt
    assert "剩下" in grade("first-exercise", 25).message
    monkeypatch.setenv("KDLAB_LANGUAGE", "klingon")
    assert "per cent" in exercise("first-exercise").prompt


def test_an_unknown_slug_is_refused_with_suggestions() -> None:
    with pytest.raises(UnknownExercise, match="did you mean first-exercise"):
        grade("first-exercize", 1)


GOOD = yaml.safe_load((ROOT / "data" / "exercises" / "00_start_here.yaml").read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("harm", "complaint"),
    [
        (lambda e: e.pop("title"), "title"),
        (lambda e: e.update(titel={"en": "x"}), "unknown titel"),
        (lambda e: e.update(prompt="no language"), "keyed by language"),
        (lambda e: e.update(prompt={"zh": "只有中文"}), "English text"),
        (lambda e: e.update(prompt={"en": "x", "fr": "y"}), "unknown fr"),
        (lambda e: e.update(slug="Not A Slug"), "a slug is"),
        (lambda e: e.update(difficulty=4), "difficulty must"),
        (lambda e: e.update(minutes="two"), "minutes must"),
        (lambda e: e.update(kind="riddle"), "kind must be one of"),
        (lambda e: e.update(kind="choice"), "choice starts with a field"),
        (lambda e: e.update(hints=[]), "at least one hint"),
        (lambda e: e["fields"][0].update(answer="75"), "must be a number"),
        (lambda e: e["fields"][0].pop("answer"), "no answer"),
        (lambda e: e["fields"][0].update(wrong=[]), "needs wrong answers"),
        (lambda e: e["fields"][0]["wrong"][0].update(answer=75.2), "within the tolerance"),
        (lambda e: e["fields"][0]["wrong"][0].pop("message"), "message of its own"),
        (lambda e: e["fields"].append(dict(e["fields"][0])), "two fields of one name"),
        (lambda e: e.update(listing="x = 1"), "has a listing"),
        (lambda e: e.update(rubric=[{"en": "a"}] * 3), "has a rubric"),
    ],
)
def test_a_bank_out_of_order_is_refused_with_the_place(harm: Any, complaint: str, tmp_path: Path) -> None:
    entry = yaml.safe_load(yaml.safe_dump(GOOD[0]))
    harm(entry)
    (tmp_path / "00_bad.yaml").write_text(yaml.safe_dump([entry]), encoding="utf-8")
    with pytest.raises(BankError, match=complaint) as caught:
        load(tmp_path)
    assert "00_bad.yaml" in str(caught.value)


def test_a_slug_stands_once(tmp_path: Path) -> None:
    (tmp_path / "00_twice.yaml").write_text(yaml.safe_dump([GOOD[0], GOOD[0]]), encoding="utf-8")
    with pytest.raises(BankError, match="first-exercise: stands twice"):
        load(tmp_path)


@pytest.mark.parametrize("text", ["- [unclosed", "just: a mapping", "- 7"])
def test_a_file_that_is_no_bank_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "00_bad.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(BankError, match=r"00_bad\.yaml"):
        load(tmp_path)


def test_verdicts_have_one_of_four_outcomes() -> None:
    assert len(OUTCOMES) == 4
    with pytest.raises(ValueError, match="outcome must be one of"):
        Verdict("right", "x")
