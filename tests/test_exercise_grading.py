"""Every checker under fire: it never raises, never calls wrong right, and reads an answer as people write it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from kdlab.exercises import bank, grade
from kdlab.exercises.catalog import Exercise, Field, probe_points
from kdlab.exercises.expressions import ExpressionError, evaluate
from kdlab.exercises.verdict import CORRECT, INCORRECT, INVALID, NOT_ATTEMPTED, OUTCOMES

READ = [one for one in bank() if one.kind != "code"]  # code runs in a process of its own: tests/test_sandbox.py


def _of(*types: str) -> list[tuple[Exercise, Field]]:
    return [(one, field) for one in READ for field in one.fields if field.type in types]


def _with(one: Exercise, field: Field, value: Any) -> Any:
    """The reference with another value in one field."""
    if len(one.fields) == 1:
        return value
    return {**one.reference, field.name: value}


# ------------------------------------------------------------------------------------------------- any answer at all

_LEAVES: st.SearchStrategy[Any] = st.one_of(
    st.none(), st.just(...), st.booleans(), st.integers(), st.floats(), st.complex_numbers(), st.text(max_size=30),
    st.binary(max_size=10), st.sampled_from([object(), int, math, np.float32(2.5), np.int64(3), np.zeros((2, 3)),
    np.array("x"), torch.ones(3), torch.tensor(2.0), torch.tensor([[1]]), frozenset({"a"}), range(3)]),
    st.sampled_from(["a", "b", "c", "d", "75 %", "1/3", "-beta*v", "5"]),
)  # fmt: skip
_KEYS = st.sampled_from(sorted({field.name for one in READ for field in one.fields} | {"text", "points", "flags"}))
_ANSWERS = st.recursive(
    _LEAVES,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(_KEYS | st.text(max_size=3), inner, max_size=4)
        | st.tuples(inner, inner)
    ),
    max_leaves=8,
)


@settings(max_examples=600, deadline=None)
@given(st.sampled_from(READ), _ANSWERS)
def test_any_answer_gets_one_of_the_four_outcomes_and_words(one: Exercise, answer: Any) -> None:
    verdict = grade(one.slug, answer)
    assert verdict.outcome in OUTCOMES
    assert verdict.message or verdict.outcome == NOT_ATTEMPTED
    assert set(verdict.details) <= {field.name for field in one.fields}


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(READ), _ANSWERS)
def test_grading_is_a_function_of_the_answer(one: Exercise, answer: Any) -> None:
    assert grade(one.slug, answer) == grade(one.slug, answer)


# ------------------------------------------------------------------------------------------------------------ numbers


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(_of("number")), st.floats(-0.99, 0.99))
def test_a_number_within_the_tolerance_is_right_in_every_way_of_writing_it(
    place: tuple[Exercise, Field], share: float
) -> None:
    one, field = place
    value = field.answer * (1 + share * field.tolerance)
    for written in (value, repr(value), np.float64(value), torch.tensor(value, dtype=torch.float64), np.array(value)):
        assert grade(one.slug, _with(one, field, written)).outcome == CORRECT


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(_of("number")), st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_outside_the_tolerance_is_never_right(place: tuple[Exercise, Field], value: float) -> None:
    one, field = place
    assume(abs(value - field.answer) > 1.01 * field.tolerance * abs(field.answer) + 1e-9)
    assert grade(one.slug, _with(one, field, value)).outcome in (INCORRECT, INVALID)


def test_per_cent_may_be_written_with_its_sign_and_a_fraction_is_a_slip_that_does_not_count() -> None:
    assert grade("first-exercise", "75 %").outcome == CORRECT
    assert grade("first-exercise", 0.75).outcome == INVALID
    assert "looks like a share" in grade("first-exercise", 0.75).message
    assert "left" in grade("first-exercise", 0.25).message


@pytest.mark.parametrize(
    ("value", "words"), [(-75, "sign"), (75_000, "thousand"), (80, "too large"), (60, "too small")]
)
def test_an_unforeseen_number_gets_a_direction_or_its_slip(value: float, words: str) -> None:
    verdict = grade("first-exercise", value)
    assert verdict.outcome == INCORRECT
    assert words in verdict.message


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (True, "truth value"),
        ([75], "list"),
        (1j, "complex"),
        ("seventy", "cannot be read|no name"),
        (float("nan"), "finite"),
        (10**400, "too large"),
        (torch.ones(1), r"shape \[1\]"),
        (np.zeros((2, 2)), r"shape \[2, 2\]"),
    ],
)
def test_what_is_no_number_is_invalid_and_says_what_came(value: Any, words: str) -> None:
    import re

    verdict = grade("first-exercise", value)
    assert verdict.outcome == INVALID
    assert re.search(words, verdict.message)


# -------------------------------------------------------------------------------------------- several fields together


def test_a_list_in_the_order_of_the_fields_is_as_good_as_a_dict() -> None:
    assert grade("compression-four-numbers", [4, 75, 1.6, "0.9/8 * 100"]).outcome == CORRECT


def test_what_is_open_is_not_counted_and_what_is_right_is_told() -> None:
    verdict = grade("compression-four-numbers", {"ratio": 4, "smaller": 75})
    assert verdict.outcome == NOT_ATTEMPTED
    assert verdict.message.startswith("2 of 4 right")
    assert "Still open: speed-up" in verdict.message


def test_a_mistake_outweighs_what_is_invalid_and_that_what_is_open() -> None:
    mixed = {"ratio": 0.25, "smaller": "?", "speed_up": None}
    verdict = grade("compression-four-numbers", mixed)
    assert verdict.outcome == INCORRECT
    assert dict(verdict.details) == {
        "ratio": INCORRECT, "smaller": INVALID, "speed_up": NOT_ATTEMPTED, "error": NOT_ATTEMPTED
    }  # fmt: skip
    assert grade("compression-four-numbers", {**mixed, "ratio": 4}).outcome == INVALID


@pytest.mark.parametrize("answer", [7, "4 75", [1, 2], {"ration": 4}, {1: 2}])
def test_an_answer_of_another_form_is_invalid_and_names_the_fields(answer: Any) -> None:
    verdict = grade("compression-four-numbers", answer)
    assert verdict.outcome == INVALID
    assert "speed_up" in verdict.message


# ---------------------------------------------------------------------------------------------------- other checkers


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(_of("choices")), st.data())
def test_choices_are_right_for_one_set_only_in_any_order_and_writing(
    place: tuple[Exercise, Field], data: st.DataObject
) -> None:
    one, field = place
    ids = [option.id for option in field.options]
    picked = data.draw(st.lists(st.sampled_from(ids), unique=True, min_size=1))
    right = {option.id for option in field.options if option.correct}
    expected = CORRECT if set(picked) == right else INCORRECT
    for written in (picked, tuple(picked), set(picked), ", ".join(picked).upper()):
        assert grade(one.slug, written).outcome == expected


@pytest.mark.parametrize("written", ["c", "C", " c) ", "(c)"])
def test_a_choice_may_be_written_as_people_do(written: str) -> None:
    assert grade("born-again-network", written).outcome == CORRECT


def test_an_option_that_is_not_there_is_invalid() -> None:
    assert grade("born-again-network", "z").outcome == INVALID
    assert grade("born-again-network", 1).outcome == INVALID
    assert grade("what-shrinks-the-file", ["b", "z"]).outcome == INVALID


@pytest.mark.parametrize("written", ["v/T**3", "v / T^3", "v*T**-3", "(v/T)*(1/T)**2", "-(-v)/(T*T*T)"])
def test_an_expression_is_right_in_every_equal_form(written: str) -> None:
    answer = {"by_beta": "-v*beta", "beta_by_T": "-(1/T)^2", "by_T": written, "value": "1.3285448679/8"}
    assert grade("entropy-grows-with-temperature", answer).outcome == CORRECT


def test_an_unforeseen_expression_is_shown_a_point_where_it_is_wrong() -> None:
    answer = {"by_beta": "-beta*v", "beta_by_T": "-1/T**2", "by_T": "v/T**4", "value": 0.16607}
    verdict = grade("entropy-grows-with-temperature", answer)
    assert verdict.outcome == INCORRECT
    assert "At T = 0.5, v = 2 your expression is 32; it should be 16." in verdict.message


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(_of("expression")), st.text(alphabet="betavTocm0123456789+-*/() ", min_size=1, max_size=12))
def test_an_expression_is_right_only_if_it_agrees_at_every_probe(place: tuple[Exercise, Field], text: str) -> None:
    one, field = place

    def values(expression: str) -> Sequence[float]:
        return [evaluate(expression, point) for point in probe_points(field)]

    try:
        equal = values(text) == pytest.approx(values(field.answer), rel=1e-6)
    except ExpressionError:
        equal = False
    correct = grade(one.slug, _with(one, field, text)).outcome == CORRECT
    assert correct == equal


@pytest.mark.parametrize(
    ("line", "outcome"),
    [
        (5, CORRECT),
        ("5", CORRECT),
        (2, INCORRECT),
        (1, INCORRECT),
        (0, INVALID),
        (99, INVALID),
        (5.5, INVALID),
    ],
)
def test_a_line_is_a_number_of_the_listing(line: Any, outcome: str) -> None:
    assert grade("frozen-teacher-size", {"line": line, "printed": 139.3}).outcome == outcome


@pytest.mark.parametrize(
    ("slug", "answer"),
    [
        ("first-exercise", "75 percent"),
        ("first-exercise", "75 per cent"),
        ("compression-four-numbers", {"ratio": "4x", "smaller": "75％", "speed_up": "1.6 times", "error": "11.25 %"}),
        ("compression-four-numbers", {"ratio": "4×", "smaller": "75", "speed_up": "1,6倍", "error": 11.25}),
        ("softmax-of-three", {"p1": "0.51", "p2": ".31", "p3": 0.19, "entropy": "1.47 bits"}),
        ("cost-of-a-teacher", {"online": "4.33", "cached": 1.1, "invalid_when": "A"}),
        ("what-shrinks-the-file", "b、e，f"),
        ("frozen-teacher-size", {"line": "line 5", "printed": "85002/610"}),
        ("entropy-grows-with-temperature", {"by_beta": "−β·v", "beta_by_T": "-1/T²", "by_T": "v/T³", "value": "0.17"}),
        ("overhead-limits-speed-up", {"student": "c/m + o", "speed_up": "(c+o)/(o+c/m)", "limit": "1 + c/o"}),
    ],
)
def test_right_answers_are_right_as_people_write_them(slug: str, answer: Any) -> None:
    verdict = grade(slug, answer)
    assert verdict.outcome == CORRECT, verdict


@pytest.mark.parametrize(("value", "words"), [("3.3", "own"), ("3,333", "own"), ("10.1", "how large the teacher is")])
def test_a_rounded_mistake_is_still_recognised(value: str, words: str) -> None:
    verdict = grade("cost-of-a-teacher", {"online": value, "cached": "10/9", "invalid_when": "a"})
    assert verdict.outcome == INCORRECT
    assert words in verdict.message


def test_a_comma_of_thousands_is_explained() -> None:
    verdict = grade("frozen-teacher-size", {"line": 5, "printed": "85,002/610"})
    assert verdict.outcome == INCORRECT
    assert "decimal comma" in verdict.message


def test_an_empty_line_of_a_listing_is_called_empty() -> None:
    assert "Line 3 is empty." in grade("frozen-teacher-size", {"line": 3, "printed": 139.3}).message


def test_a_near_miss_is_told_to_be_one_and_still_does_not_pass() -> None:
    verdict = grade("odds-at-two", 0.765)
    assert verdict.outcome == INCORRECT
    assert "Close: to within 1 %" in verdict.message


# --------------------------------------------------------------------------------------------------------------- code

CODE = [one for one in bank() if one.kind == "code"]


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(CODE), st.text(max_size=80))
def test_any_text_as_code_gets_a_verdict_and_is_never_right(one: Exercise, text: str) -> None:
    verdict = grade(one.slug, text)
    assert verdict.outcome in (INVALID, NOT_ATTEMPTED)
    assert verdict.message or verdict.outcome == NOT_ATTEMPTED


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(CODE), st.data())
def test_a_reference_with_a_slip_of_the_finger_gets_a_verdict_in_words(one: Exercise, data: st.DataObject) -> None:
    source = one.reference
    place = data.draw(st.integers(0, len(source) - 1))
    typed = data.draw(st.sampled_from(["", "-", "0", "(", " ", "z", "*"]))
    verdict = grade(one.slug, source[:place] + typed + source[place + 1 :])
    assert verdict.outcome in OUTCOMES
    assert verdict.message or verdict.outcome == NOT_ATTEMPTED
