"""McNemar's test against counting every way the coins can fall, and against what it promises."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch
from scipy import stats

from kdlab.experiments import mcnemar


def _counts(only_first: int, only_second: int, both: int = 3, neither: int = 2) -> tuple[list[bool], list[bool]]:
    first = [True] * only_first + [False] * only_second + [True] * both + [False] * neither
    second = [False] * only_first + [True] * only_second + [True] * both + [False] * neither
    return first, second


@pytest.mark.parametrize(("only_first", "only_second"), [(0, 1), (1, 1), (5, 0), (2, 7), (6, 5), (10, 1)])
def test_p_value_is_the_share_of_coin_falls_at_least_as_lopsided(only_first: int, only_second: int) -> None:
    falls = [abs(2 * sum(fall) - len(fall)) for fall in product((0, 1), repeat=only_first + only_second)]
    expected = np.mean([fall >= abs(only_first - only_second) for fall in falls])
    assert mcnemar(*_counts(only_first, only_second)).p_value == pytest.approx(expected)


@pytest.mark.parametrize(("only_first", "only_second"), [(30, 10), (200, 150), (1000, 1100)])
def test_p_value_is_scipys_exact_binomial_test(only_first: int, only_second: int) -> None:
    expected = stats.binomtest(only_first, only_first + only_second, 0.5).pvalue
    assert mcnemar(*_counts(only_first, only_second)).p_value == pytest.approx(expected)


def test_only_images_on_which_the_models_differ_count() -> None:
    few, many = mcnemar(*_counts(8, 1, both=0, neither=0)), mcnemar(*_counts(8, 1, both=5000, neither=300))
    assert few == many
    assert (few.only_first, few.only_second) == (8, 1)


def test_no_discordant_image_tells_nothing() -> None:
    result = mcnemar([True, False], [True, False])
    assert (result.p_value, result.verdict) == (1.0, "cannot tell")


def test_the_verdict_is_on_the_first_model() -> None:
    first, second = _counts(9, 1)
    assert mcnemar(first, second).verdict == "better"
    assert mcnemar(second, first).verdict == "worse"
    assert mcnemar(*_counts(6, 4)).verdict == "cannot tell"
    assert mcnemar(*_counts(5, 0)).verdict == "cannot tell"  # p = 1/16: five images are never enough
    assert mcnemar(*_counts(6, 0)).verdict == "better"  # p = 1/32


def test_false_verdicts_are_at_most_one_in_twenty() -> None:
    rng = np.random.default_rng(0)
    wrong = sum(mcnemar(*(rng.random((2, 300)) < 0.9).tolist()).verdict != "cannot tell" for _ in range(1000))
    assert 5 < wrong <= 60  # exact, so rather too careful than too bold


def test_tensors_lists_and_arrays_are_the_same_to_it() -> None:
    first, second = _counts(6, 1)
    expected = mcnemar(first, second)
    assert mcnemar(torch.tensor(first), torch.tensor(second)) == expected
    assert mcnemar(np.array(first), np.array(second)) == expected


def test_what_is_not_right_or_wrong_per_image_is_refused() -> None:
    right = torch.tensor([True, False])
    with pytest.raises(TypeError, match=r"first_right must hold truth values, got torch.int64: did you"):
        mcnemar(torch.tensor([3, 5]), right)
    with pytest.raises(TypeError, match=r"truth values, got torch\.float"):
        mcnemar(right, torch.tensor([0.5, 0.1]))
    with pytest.raises(ValueError, match="2 images, second_right 1"):
        mcnemar(right, right[:1])
    with pytest.raises(ValueError, match="one truth value per image"):
        mcnemar(right[None], right[None])
    with pytest.raises(ValueError, match="one truth value per image"):
        mcnemar(torch.zeros(0, dtype=torch.bool), torch.zeros(0, dtype=torch.bool))
    with pytest.raises(TypeError, match="truth values"):
        mcnemar(["yes", "no"], right)
