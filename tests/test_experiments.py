"""compare: paired, equally tuned, and right about how often it is wrong."""

from __future__ import annotations

import json
import math
import signal
from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats

from kdlab.experiments import Arm, Comparison, Score, compare, paired_interval


def _noisy(shift: float, spread: float = 0.01, salt: int = 0) -> Callable[[int], float]:
    """An arm whose score is its seed's common noise, a shift, and noise of its own."""

    def run(seed: int) -> float:
        common = np.random.default_rng(seed).normal(0, 0.1)
        own = np.random.default_rng([seed, salt]).normal(0, spread)
        return 0.5 + common + shift + own

    return run


def test_pairing_removes_what_the_seeds_share() -> None:
    result = compare({"a": _noisy(0), "b": _noisy(0.05, salt=1)}, range(8))
    assert result.verdict == "better"
    assert result.interval[1] - result.interval[0] < 0.05  # the common noise alone is worth four times that


def test_interval_and_p_value_are_those_of_scipys_paired_t_test() -> None:
    a, b = ([arm(seed) for seed in range(7)] for arm in (_noisy(0), _noisy(0.01, salt=1)))
    expected = stats.ttest_rel(b, a)
    interval = expected.confidence_interval(0.95)
    result = compare({"a": _noisy(0), "b": _noisy(0.01, salt=1)}, range(7))
    assert result.interval == pytest.approx((interval.low, interval.high))
    assert result.contrasts["b"].p_value == pytest.approx(expected.pvalue)
    assert result.difference == pytest.approx(np.mean(b) - np.mean(a))


@pytest.mark.parametrize(("shift", "verdict"), [(0.5, "better"), (-0.5, "worse"), (0.0, "cannot tell")])
def test_verdicts(shift: float, verdict: str) -> None:
    assert compare({"a": _noisy(0), "b": _noisy(shift, salt=1)}, range(5)).verdict == verdict


def test_for_errors_lower_is_better() -> None:
    arms = {"a": _noisy(0), "b": _noisy(-0.5, salt=1)}
    assert compare(arms, range(5), higher_is_better=False).verdict == "better"


def test_verdict_and_interval_agree_for_two_arms() -> None:
    for salt in range(1, 40):
        result = compare({"a": _noisy(0), "b": _noisy(0.01, salt=salt)}, range(5), progress=False)
        excludes_zero = result.interval[0] > 0 or result.interval[1] < 0
        assert (result.verdict != "cannot tell") == excludes_zero


def test_a_false_verdict_comes_up_about_one_time_in_twenty() -> None:
    verdicts = [
        compare({"a": _noisy(0, salt=2 * trial), "b": _noisy(0, salt=2 * trial + 1)}, range(5), progress=False).verdict
        for trial in range(400)
    ]
    wrong = sum(verdict != "cannot tell" for verdict in verdicts) / len(verdicts)
    assert 0.02 < wrong < 0.09


def test_holm_keeps_many_arms_from_winning_by_luck() -> None:
    """Ten arms without any effect: some uncorrected intervals exclude zero, corrected verdicts hardly ever do."""
    arms = {"base": _noisy(0), **{f"arm {salt}": _noisy(0, salt=salt) for salt in range(1, 11)}}
    lucky = families = 0
    for start in range(0, 300, 5):
        result = compare(arms, range(start, start + 5), progress=False)
        families += any(contrast.verdict != "cannot tell" for contrast in result.contrasts.values())
        lucky += any(contrast.interval[0] > 0 or contrast.interval[1] < 0 for contrast in result.contrasts.values())
    assert families <= 6 < lucky


def test_holm_is_the_step_down_procedure() -> None:
    from kdlab.comparison import _holm

    assert _holm([0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.03, 0.06])
    assert _holm([0.9, 0.8]) == [1.0, 1.0]


def test_equal_scores_cannot_tell_and_a_constant_gap_can() -> None:
    assert compare({"a": lambda seed: 0.5, "b": lambda seed: 0.5}, range(5)).verdict == "cannot tell"
    assert compare({"a": lambda seed: 0.5, "b": lambda seed: 0.75}, range(5)).verdict == "better"


def test_every_arm_runs_once_per_seed_in_turn() -> None:
    calls: list[tuple[str, int]] = []
    arms = {name: (lambda seed, name=name: calls.append((name, seed)) or 0.1 * len(calls)) for name in ("a", "b")}
    compare(arms, (3, 1, 4, 15, 9))
    assert calls == [(name, seed) for seed in (3, 1, 4, 15, 9) for name in ("a", "b")]


def test_tuning_selects_on_validation_never_on_test_and_on_other_seeds() -> None:
    seen: list[int] = []

    def run(seed: int, lr: float) -> Score:
        if lr != 0.1:
            return Score(test=1.0, validation=0.1)  # splendid on test, and must not be chosen for it
        seen.append(seed)
        return Score(test=0.5 + seed / 1000, validation=0.9)

    result = compare({"a": run, "b": lambda seed, lr: Score(0.4, lr)}, range(5), settings=[{"lr": 0.01}, {"lr": 0.1}])
    assert result.chosen == {"a": {"lr": 0.1}, "b": {"lr": 0.1}}
    assert result.scores["a"] == pytest.approx([0.5, 0.501, 0.502, 0.503, 0.504])
    assert result.trials == 2
    assert seen == [1001, 1002, 0, 1, 2, 3, 4]


def test_validation_scores_tell_whether_other_images_agree() -> None:
    arms = {"a": lambda seed: Score(0.5, 0.5), "b": lambda seed: Score(0.6 + seed / 1000, 0.4 + seed / 1000)}
    result = compare(arms, range(5))
    assert (result.verdict, result.on_validation().verdict) == ("better", "worse")
    assert result.on_validation().difference == pytest.approx(-0.098)
    assert "test score" in str(result)
    assert "validation score" in str(result.on_validation())
    assert "test score" not in str(result.on_validation())
    with pytest.raises(ValueError, match="no validation scores"):
        compare({"a": _noisy(0), "b": _noisy(0)}, range(5)).on_validation()


def _described(shift: float, nll: float) -> Callable[[int], Score]:
    return lambda seed: Score(0.5 + shift + seed / 1000, 0.5, also={"nll": nll + seed / 50, "agreement": 0.9})


def test_the_same_runs_can_be_judged_by_another_measure() -> None:
    result = compare({"a": _described(0, 0.4), "b": _described(0.1, 0.5)}, range(5))
    assert result.verdict == "better"
    assert result.also["b"]["nll"] == pytest.approx([0.5, 0.52, 0.54, 0.56, 0.58])
    by_nll = result.on("nll", higher_is_better=False)
    assert by_nll.verdict == "worse"
    assert by_nll.difference == pytest.approx(0.1)
    assert by_nll.on("agreement", higher_is_better=True).verdict == "cannot tell"
    with pytest.raises(ValueError, match="no validation scores"):  # those were accuracies
        by_nll.on_validation()


def test_a_measure_in_nats_is_never_shown_in_percent() -> None:
    result = compare({"a": _described(0, 0.4), "b": _described(0.1, 0.5)}, range(5))
    text = str(result.on("nll", higher_is_better=False))
    assert "nll, mean (sd)" in text
    assert "0.540 (0.032)" in text
    assert "+0.100 to +0.100" in text
    assert "nll in nats" in text
    assert "%" not in text.replace("95 % interval", "")
    assert "points" not in text
    shares = str(result.on("agreement", higher_is_better=True))
    assert "90.0 (0.0)" in shares
    assert "scores in %, differences in points" in shares


@pytest.mark.parametrize(("level", "shown"), [(0.00312, "0.00312"), (0.25, "0.250"), (7.0, "7.00"), (1234.5, "1234")])
def test_plain_numbers_show_three_digits_of_the_largest(level: float, shown: str) -> None:
    arms = {"a": lambda seed: level, "b": lambda seed: level / 10}
    assert f" {shown} (" in str(compare(arms, range(5), unit="nats"))


def test_a_measure_nobody_knows_has_no_unit_unless_one_is_named() -> None:
    arms = {name: (lambda seed: Score(0.5, 0.5, also={"seconds": 2.0})) for name in "ab"}
    result = compare(arms, range(5))
    assert str(result.on("seconds", higher_is_better=False)).endswith("one setting per arm, seconds")
    assert str(result.on("seconds", higher_is_better=False, unit="s")).endswith("seconds in s")


def test_a_measure_that_an_arm_lacks_is_refused_by_name() -> None:
    result = compare({"a": _described(0, 0.4), "b": _noisy(0)}, range(5))
    with pytest.raises(ValueError, match=r"no measure 'nll' in arms \['b'\]; measures reported: agreement, nll"):
        result.on("nll", higher_is_better=False)
    with pytest.raises(ValueError, match=r"no measure 'ece' in arms \['a', 'b'\]"):
        result.on("ece", higher_is_better=False)
    with pytest.raises(ValueError, match="measures reported: none"):
        compare({"a": _noisy(0), "b": _noisy(0)}, range(5)).on("ece", higher_is_better=False)


@pytest.mark.parametrize(("value", "words"), [(math.nan, "finite number, got nan"), ("0.4", "got '0.4'")])
def test_a_measure_that_is_no_number_names_the_run(value: object, words: str) -> None:
    with pytest.raises(ValueError, match=rf"arm 'b', seed 0.*{words}"):
        compare({"a": _noisy(0), "b": lambda seed: Score(0.5, 0.5, also={"nll": value})}, range(5))


def test_a_measure_must_be_there_for_every_seed() -> None:
    def forgetful(seed: int) -> Score:
        return Score(0.5, 0.5, also={} if seed == 3 else {"nll": 0.1})

    with pytest.raises(ValueError, match="arm 'b' must report the same measures for every seed"):
        compare({"a": _noisy(0), "b": forgetful}, range(5))


def test_results_written_before_there_were_further_measures_still_load() -> None:
    record = compare({"a": Arm(_noisy(0), 50), "b": Arm(_noisy(0.2), 50)}, range(5)).as_dict()
    old = Comparison.from_dict({key: value for key, value in record.items() if key not in ("also", "unit")})
    assert old == Comparison.from_dict(record)


@pytest.mark.parametrize("value", [0.1, Score(0.1, 0.2), Score(0.1, 0.2, also={"nll": 0.3, "ece": 0.01})])
def test_json_round_trip(value: float | Score) -> None:
    result = compare({"a": Arm(lambda seed: value, 50), "b": Arm(lambda seed: value, 50, 1000)}, range(5))
    assert Comparison.from_dict(json.loads(json.dumps(result.as_dict()))) == result


def test_the_table_says_what_everybody_saw_and_escapes_names() -> None:
    result = compare({"hard": Arm(_noisy(0), 50), "<soft>": Arm(_noisy(0.2), 50, 1000)}, range(5))
    text, markup = str(result), result._repr_html_()
    assert "1,000" in text
    assert "better" in text
    assert "5 paired seeds, one setting per arm" in text
    assert "&lt;soft&gt;" in markup
    assert "<soft>" not in markup


def test_two_arm_shortcuts_are_refused_for_more() -> None:
    result = compare({name: _noisy(0, salt=salt) for salt, name in enumerate("abc")}, range(5))
    with pytest.raises(ValueError, match=r"use .contrasts\[b, c\]"):
        _ = result.verdict


@pytest.mark.parametrize(
    ("error", "words", "arms", "options"),
    [
        (ValueError, "at least 2 arms", {"a": _noisy(0)}, {}),
        (ValueError, "at least 5 different", {"a": _noisy(0), "b": _noisy(0)}, {"seeds": range(4)}),
        (ValueError, "at least 5 different", {"a": _noisy(0), "b": _noisy(0)}, {"seeds": (1, 1, 2, 3, 4)}),
        (ValueError, "baseline must be one of", {"a": _noisy(0), "b": _noisy(0)}, {"baseline": "c"}),
        (TypeError, "did you call it", {"a": _noisy(0), "b": 0.9}, {}),
        (TypeError, "must return a number or a Score, got NoneType", {"a": _noisy(0), "b": lambda seed: None}, {}),
        (ValueError, "arm 'b', seed 0.*the score is nan", {"a": _noisy(0), "b": lambda seed: math.nan}, {}),
        (ValueError, "same number of tuning trials", {"a": Arm(_noisy(0), settings=[{}, {}]), "b": _noisy(0)}, {}),
        (ValueError, "tuning_seeds", {"a": _noisy(0), "b": _noisy(0)}, {"settings": [{}, {}], "tuning_seeds": (3,)}),
        (TypeError, r"must return Score\(test, validation\)", {"a": _noisy(0), "b": _noisy(0)}, {"settings": [{}, {}]}),
    ],
)  # fmt: skip
def test_compare_refuses(error: type[Exception], words: str, arms: dict, options: dict) -> None:
    with pytest.raises(error, match=words):
        compare(arms, **{"seeds": range(5), **options})


def test_an_arm_that_fails_is_named() -> None:
    def fail(seed: int) -> float:
        raise RuntimeError("boom")

    with pytest.raises(RuntimeError, match="boom") as caught:
        compare({"a": _noisy(0), "b": fail}, range(5))
    assert caught.value.__notes__ == ["while running arm 'b', seed 0, setting {}"]


def test_paired_interval_refuses_what_has_no_interval() -> None:
    with pytest.raises(ValueError, match="at least 2"):
        paired_interval([0.1])
    with pytest.raises(ValueError, match="finite"):
        paired_interval([0.1, math.nan])


def test_a_run_that_swallows_an_interrupt_is_not_counted() -> None:
    """As `fit` does, which returns what was learnt so far: half a run must not become a score."""

    def swallowing(seed: int) -> float:
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            return 0.1
        return 0.9

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt, match="interrupted in arm 'b', seed 0"):
        compare({"a": lambda seed: 0.5, "b": swallowing}, seeds=range(5))
    assert signal.getsignal(signal.SIGINT) is before


def test_another_baseline_takes_the_same_runs_and_corrects_for_its_own_questions() -> None:
    arms = {"a": _noisy(0), "b": _noisy(0.2, salt=1), "c": _noisy(0.21, salt=2)}
    result = compare(arms, range(6))
    turned = result.against("b")
    assert turned.scores == result.scores
    assert list(turned.contrasts) == ["a", "c"]
    assert turned.contrasts["a"].difference == pytest.approx(-result.contrasts["b"].difference)
    assert (result.contrasts["b"].verdict, turned.contrasts["a"].verdict) == ("better", "worse")
    assert turned == compare(arms, range(6), baseline="b")
    with pytest.raises(ValueError, match="one of the arms a, b, c; got 'd'"):
        result.against("d")
