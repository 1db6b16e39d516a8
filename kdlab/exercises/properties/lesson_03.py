"""Properties of the code answers of lesson 03."""

from __future__ import annotations

import math
from statistics import NormalDist, fmean, stdev
from typing import Any

import numpy as np
import torch
from torch import Tensor

from kdlab.exercises.properties.core import RESULTS, WrongKind, agrees, expect, near, number, prop, random, shown

# ---------------------------------------------------------------------------------- a paired difference, its interval

__all__: list[str] = []  # all that counts is what `prop` registers

_PAIRED = "paired-difference-with-interval"
_LEVELS = [90.0, 86.0, 88.0, 89.0, 91.0]
_GAINS = [1.0, 3.0, 2.0, 7.0, 2.0]  # mean 3, median 2


def _three_numbers(result: Any, *arguments: Any) -> tuple[float, ...]:
    """Mean, low and high as floats, from a tuple, a list, a tensor or an array."""
    if issubclass(type(result), Tensor | np.ndarray) and tuple(result.shape) == (3,):
        result = result.tolist()
    if type(result) not in (tuple, list) or len(result) != 3:
        raise WrongKind(f"Three numbers are expected, `(mean, low, high)`; what came is `{shown(result)}`.")
    return tuple(number(value, *arguments) for value in result)


RESULTS[_PAIRED] = _three_numbers


def _share_below(value: float, degrees: int) -> float:
    """Share of the t distribution below a value: the finite sums of Abramowitz and Stegun, 26.7.3 and 26.7.4."""
    angle, odd = math.atan(value / math.sqrt(degrees)), degrees % 2
    term = math.cos(angle) if odd else 1.0
    total = 0.0 if degrees == 1 else term
    for k in range(2 + odd, degrees, 2):
        term *= (k - 1) / k * math.cos(angle) ** 2
        total += term
    inside = math.sin(angle) * total
    return (1 + (2 / math.pi * (angle + inside) if odd else inside)) / 2


def _one_quantile(share: float, degrees: float) -> float:
    if not 0 < share < 1:
        raise ValueError(f"quantile(share, degrees): the share comes first and lies between 0 and 1, got {share:g}")
    if degrees < 1 or degrees != int(degrees):
        raise ValueError(f"quantile(share, degrees): degrees must be a whole number of at least 1, got {degrees:g}")
    low, high = -1e6, 1e6
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if _share_below(middle, int(degrees)) < share else (low, middle)
    return (low + high) / 2


def _quantile(share: Any, degrees: Any) -> Any:
    """What answers get as ``quantile``: as ``scipy.stats.t.ppf``, whose import alone takes a third of their time."""
    return np.vectorize(_one_quantile, otypes=[float])(share, degrees)[()]


def _asked(paired_difference: Any, a: list[float], b: list[float]) -> Any:
    return paired_difference(a, b, _quantile)


def _scores(gains: list[float], levels: list[float] | None = None) -> tuple[list[float], list[float]]:
    """Scores of an arm and of the baseline whose paired differences are ``gains``."""
    base = list(levels or [80.0 + seed / 2 for seed in range(len(gains))])
    return [level + gain for level, gain in zip(base, gains, strict=True)], base


def _half_width(paired_difference: Any, gains: list[float]) -> float:
    _, low, high = _asked(paired_difference, *_scores(gains))
    return (high - low) / 2


def _errors_wide(paired_difference: Any, gains: list[float]) -> float:
    """Half the interval's width in standard errors of the mean: the quantile that was used, if all else is right."""
    return _half_width(paired_difference, gains) / (stdev(gains) / math.sqrt(len(gains)))


def _not_one_of(paired_difference: Any, *wrong: float) -> None:
    width = _errors_wide(paired_difference, [1.0, 2.0, 6.0])
    sentence = f"With three seeds your interval reaches {width:.4g} standard errors to each side."
    expect(not any(near(width, one, 5e-3) for one in wrong), sentence)


@prop(_PAIRED, "The sign: the difference is the arm minus the baseline, `a` minus `b`, so that a gain is positive.")
def arm_minus_baseline(paired_difference: Any) -> None:
    expect(_asked(paired_difference, *_scores(_GAINS))[0] > 0)


@prop(
    _PAIRED,
    "The first number is the *mean* of the differences `a[i] - b[i]`, in the unit of the scores: no median, and "
    "nothing is divided by the baseline's score.",
)
def first_the_mean_of_the_differences(paired_difference: Any) -> None:
    expect(near(_asked(paired_difference, *_scores(_GAINS, _LEVELS))[0], 3.0, 1e-4))


@prop(
    _PAIRED,
    "The other two numbers are the *ends* of the interval, the lower first, and both are equally far from the mean: "
    "`mean - half` and `mean + half`. Half the width is not an end, and neither is the smallest or largest difference.",
)
def the_ends_lie_around_the_mean(paired_difference: Any) -> None:
    mean, low, high = _asked(paired_difference, *_scores(_GAINS, _LEVELS))
    expect(low < mean < high and near(mean - low, high - mean, 1e-4))


@prop(
    _PAIRED,
    "The seeds are paired, and you did not use it. A seed that is hard for both arms lowers both scores and leaves "
    "their difference alone, yet it changes your interval. Adding up the variances of the two arms is for *different* "
    "runs; here, take the deviation of the differences, seed by seed.",
)
def a_seed_hard_for_both_changes_nothing(paired_difference: Any) -> None:
    even, uneven = (_asked(paired_difference, *_scores(_GAINS, levels)) for levels in (None, _LEVELS))
    expect(near(even, uneven, 1e-4), f"The same differences on other seeds: `{shown(even)}` became `{shown(uneven)}`.")


@prop(
    _PAIRED,
    "Scores in per cent must give an interval a hundred times as wide as shares. Yours grows with the *square*: it is "
    "a variance. Take its root, the standard deviation.",
)
def the_width_has_the_unit_of_the_scores(paired_difference: Any) -> None:
    one, ten = (_half_width(paired_difference, [scale * gain for gain in _GAINS]) for scale in (1, 10))
    expect(5 < ten / one < 20, f"Ten times the differences made it {ten / one:.4g} times as wide.")


@prop(
    _PAIRED,
    "The interval is about the *mean* difference. More seeds must narrow it, by the root of their number: the standard "
    r"error of a mean is the standard deviation over $\sqrt n$. Without it you say where *single* seeds fall; with $n$ "
    "in place of the root you claim far too much.",
)
def more_seeds_narrow_it(paired_difference: Any) -> None:
    few, many = (_half_width(paired_difference, [1.0, 3.0] * half) for half in (2, 8))
    expect(0.2 < many / few < 0.55, f"With 4 seeds it reaches {few:.4g} to each side, with 16 seeds {many:.4g}.")


@prop(
    _PAIRED,
    "1.96, or 2, is for a deviation that is *known*, or for many seeds. From a few seeds the deviation itself is "
    "uncertain, and for that the t distribution is wider: use `quantile`.",
)
def few_seeds_need_the_t_distribution(paired_difference: Any) -> None:
    normal = NormalDist().inv_cdf(0.975)
    shrunk = math.sqrt(2 / 3)
    _not_one_of(paired_difference, normal, 2.0, normal * shrunk, 2.0 * shrunk)


@prop(
    _PAIRED,
    "The standard deviation of a sample divides by $n - 1$; yours divides by $n$. `np.std` does that unless you say "
    "`ddof=1`; `statistics.stdev` and `torch.std` divide by $n - 1$.",
)
def the_deviation_divides_by_n_minus_one(paired_difference: Any) -> None:
    _not_one_of(paired_difference, float(_quantile(0.975, 2)) * math.sqrt(2 / 3))


@prop(
    _PAIRED,
    r"The degrees of freedom: $n$ differences of which one mean was taken leave $n - 1$. It is not $n$, and not "
    r"$2n - 2$, which belongs to two unpaired samples.",
)
def degrees_of_freedom_are_pairs_minus_one(paired_difference: Any) -> None:
    _not_one_of(paired_difference, *(float(_quantile(0.975, degrees)) for degrees in (3, 4, 5)))


@prop(
    _PAIRED,
    "95 % inside leaves 2.5 % on *each* side: `quantile(0.975, ...)`. With 0.95 the interval covers only 90 %, with "
    "0.995 it covers 99 %.",
)
def two_and_a_half_per_cent_on_each_side(paired_difference: Any) -> None:
    _not_one_of(paired_difference, *(float(_quantile(share, 2)) for share in (0.9, 0.95, 0.99, 0.995)))


def _pairs_of_scores() -> list[tuple[list[float], list[float], Any]]:
    draw = random()

    def points(n: int) -> list[float]:
        return [round(value, 2) for value in (70 + 25 * torch.rand(n, generator=draw)).tolist()]

    return [(points(n), points(n), _quantile) for n in (2, 3, 5, 8, 10, 20)]


def _exact_difference(a: list[float], b: list[float], quantile: Any) -> tuple[float, float, float]:
    gains = [x - y for x, y in zip(a, b, strict=True)]
    half = float(quantile(0.975, len(gains) - 1)) * stdev(gains) / math.sqrt(len(gains))
    return fmean(gains), fmean(gains) - half, fmean(gains) + half


agrees(_PAIRED, _pairs_of_scores, _exact_difference, 1e-4)
