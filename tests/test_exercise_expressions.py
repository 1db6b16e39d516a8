"""Arithmetic as learners type it: understood where it is clear, refused in words where it is not, never run."""

from __future__ import annotations

import contextlib
import math
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kdlab.exercises.expressions import ExpressionError, evaluate


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("75", 75),
        (" 75 % ", 0.75),
        ("75％", 0.75),
        ("13/3", 13 / 3),
        ("4,33", 4.33),
        ("1e-3", 1e-3),
        ("2^10", 1024),
        ("2**-1", 0.5),
        ("−3", -3),
        ("3·4 − 2×1", 10),
        ("6÷4", 1.5),
        ("exp(1)/(exp(1)+9)", math.e / (math.e + 9)),
        ("ln(e)", 1),
        ("log2(8) + sqrt(4)", 5),
        ("-2**2", -4),
        ("pi", math.pi),
    ],
)
def test_what_people_type_is_understood(text: str, value: float) -> None:
    assert evaluate(text) == pytest.approx(value, rel=1e-12)


def test_variables_have_the_values_they_are_given() -> None:
    assert evaluate("-beta*v", {"beta": 2, "v": 3}) == -6
    with pytest.raises(ExpressionError, match=r"'T' is no name that is known here; allowed are .* beta"):
        evaluate("v/T**3", {"beta": 2, "v": 3})


def test_a_product_without_its_star_is_explained() -> None:
    with pytest.raises(ExpressionError, match=r"write a product with a star, m\*c"):
        evaluate("o + mc", {"o": 1, "m": 2, "c": 3})


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("inf", "a finite expression is wanted"),
        ("", "cannot be read"),
        ("banana!", "cannot be read"),
        ("1/0", "divides by zero"),
        ("10**400", "too large"),
        ("9**9**9**9", "too large"),
        ("ln(0)", "no value among the real"),
        ("sqrt(-1)", "no value among the real"),
        ("1e308*10", "not a finite number"),
        ("True", "only arithmetic"),
        ("'a'*9", "only arithmetic"),
        ("[1]*9", "only arithmetic"),
        ("(1).__class__", "only arithmetic"),
        ("open('x')", "only arithmetic"),
        ("__import__('os')", "only arithmetic"),
        ("1 if 1 else 2", "only arithmetic"),
        ("lambda: 1", "only arithmetic"),
        ("x := 3", "cannot be read"),
        ("(" * 200, "cannot be read"),
        ("1+" * 200 + "1", "characters long"),
        ("1\0", "cannot be read"),
    ],
)
def test_what_is_no_arithmetic_is_refused_in_words(text: str, complaint: str) -> None:
    with pytest.raises(ExpressionError, match=complaint):
        evaluate(text)


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=60) | st.text(alphabet="0123456789.+-*/()%^, elnxpT_", max_size=60))
def test_any_text_gives_a_finite_number_or_a_refusal_quickly(text: str) -> None:
    start = time.perf_counter()
    with contextlib.suppress(ExpressionError):
        assert math.isfinite(evaluate(text, {"x": 1.5, "T": 2}))
    assert time.perf_counter() - start < 1


@given(st.floats(allow_nan=False, allow_infinity=False, width=64))
def test_a_number_written_out_is_that_number(number: float) -> None:
    assert evaluate(repr(number)) == number
