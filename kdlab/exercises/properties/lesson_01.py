"""Properties of the code answers of lesson 01."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from kdlab.exercises.properties.core import (
    RESULTS,
    agrees,
    expect,
    like_first,
    near,
    number,
    prop,
    random,
    shaped,
    shown,
    tensor,
    vector,
)

# ------------------------------------------------------------------------------------------ softmax with temperature

__all__: list[str] = []  # all that counts is what `prop` registers

_SOFTEN = "softmax-with-temperature"
RESULTS[_SOFTEN] = like_first


@prop(_SOFTEN, "Probabilities lie between 0 and 1; are these their logarithms? `softmax`, not `log_softmax`.")
def values_are_probabilities(soften: Any) -> None:
    p = soften(vector(4, 2, 0), 2.0)
    expect((p >= 0).all() and (p <= 1).all())


@prop(
    _SOFTEN,
    "The probabilities do not add up to 1. Changing probabilities afterwards (a power, a division) breaks the sum: "
    "the temperature acts on the logits, before the softmax.",
)
def probabilities_sum_to_one(soften: Any) -> None:
    for temperature in (1.0, 4.0):
        expect(near(soften(vector(4, 2, 0), temperature).sum(), 1.0))


@prop(
    _SOFTEN,
    "The temperature has no effect. Is it used at all? And dividing the *probabilities* by $T$ and renormalising "
    "cancels it again; divide the *logits*: $p_k \\propto e^{z_k/T}$.",
)
def temperature_has_an_effect(soften: Any) -> None:
    expect(not near(soften(vector(4, 2, 0), 1.0), soften(vector(4, 2, 0), 4.0), 1e-3))


@prop(
    _SOFTEN,
    "A higher temperature makes your distribution sharper; it must make it softer. Logits are *divided* by $T$, "
    "not multiplied.",
)
def higher_temperature_is_softer(soften: Any) -> None:
    expect(soften(vector(4, 2, 0), 1.0).max() > soften(vector(4, 2, 0), 4.0).max())


@prop(
    _SOFTEN,
    "The odds of two classes must be $e^{(z_i - z_j)/T}$: at twice the temperature, the square root of what they were.",
)
def odds_are_a_power(soften: Any) -> None:
    for temperature in (0.5, 1.0, 2.0, 5.0):
        p = soften(vector(3, 1, 0), temperature)
        expect(near((p[0] / p[1]).log(), 2 / temperature, 1e-4))


@prop(
    _SOFTEN,
    "In a batch each row is a sample of its own, and its classes are in the *last* dimension; yours mixes rows. "
    "`dim=-1` is right for `[K]` and `[N, K]` alike.",
)
def rows_do_not_mix(soften: Any) -> None:
    batch = torch.stack([vector(4, 2, 0), vector(0, 1, 2)])
    expect(near(soften(batch, 2.0), torch.stack([soften(row, 2.0) for row in batch])), _of_batch(soften, batch))


def _of_batch(soften: Any, batch: Tensor) -> str:
    return f"For the batch `{shown(batch)}` at $T = 2$ came `{shown(soften(batch, 2.0))}`."


@prop(
    _SOFTEN,
    "Large logits overflow: $e^{1000}$ is no finite number. Subtract the largest logit first, which changes no "
    "probability, or let `torch.softmax` do it.",
    finite=True,
)
def large_logits_stay_finite(soften: Any) -> None:
    # Loosely: float32 has steps of 6e-5 near 1000, so `exp(z - logsumexp(z))` is right, too.
    expect(near(soften(vector(1000, 999, 0), 1.0), vector(1000, 999, 0).softmax(-1), 1e-3))
    expect(near(soften(vector(-1000, -999), 1.0), vector(-1000, -999).softmax(-1), 1e-3))


@prop(
    _SOFTEN,
    "One row of large logits spoils the others: subtract each row's own maximum, not that of the whole batch.",
    finite=True,
)
def rows_have_a_scale_of_their_own(soften: Any) -> None:
    batch = torch.stack([vector(1000, 999), vector(-1000, -999)])
    expect(near(soften(batch, 1.0), batch.softmax(-1), 1e-3))


def _logits_and_temperatures() -> list[tuple[Tensor, float]]:
    draw = random()
    shapes = [(2,), (3,), (7,), (12,), (1, 4), (2, 2), (4, 3), (3, 10)]
    temperatures = (0.3, 1.0, 2.5, 17.0)
    return [(5 * torch.randn(shape, generator=draw), t) for shape in shapes for t in temperatures]


agrees(_SOFTEN, _logits_and_temperatures, lambda z, t: (z.double() / t).softmax(-1), 1e-4)


# --------------------------------------------------------------------------------- a temperature for a confidence

_FIND = "temperature-for-confidence"
RESULTS[_FIND] = number


def _exact_temperature(z: Tensor, confidence: float) -> float:
    """By bisection on a logarithmic scale, in double precision."""
    low, high = 1e-6, 1e9
    gaps = (z - z.max()).double()
    for _ in range(200):
        middle = math.sqrt(low * high)
        sure = float((gaps / middle).softmax(-1).max()) > confidence
        low, high = (middle, high) if sure else (low, middle)
    return low


def _right_temperature(find: Any, z: Tensor, confidence: float, tolerance: float = 0.02) -> None:
    temperature = find(z, confidence)
    top = float((z.double() / temperature).softmax(-1).max()) if temperature > 0 else math.nan
    expect(
        abs(temperature / _exact_temperature(z, confidence) - 1) < tolerance,
        f"For `{shown(z)}` and a confidence of {confidence:g} came $T = {temperature:.5g}$, "
        f"at which the largest probability is {top:.4g}.",
    )


@prop(
    _FIND,
    "To be less sure takes a *higher* temperature; yours is not higher. Does the search go the wrong way, to the end "
    "of its range? While the largest probability is above `confidence`, $T$ must rise.",
)
def less_sure_means_hotter(find: Any) -> None:
    sure, unsure = find(vector(4, 2, 0), 0.8), find(vector(4, 2, 0), 0.6)
    expect(unsure > sure > 0, f"For `[4, 2, 0]` came $T = {sure:.4g}$ at 0.8 and $T = {unsure:.4g}$ at 0.6.")


@prop(
    _FIND,
    "That is no temperature at which the largest probability is `confidence`. A probability is not proportional to "
    "$1/T$, and neither is a logit: put your $T$ into the softmax and look.",
)
def reaches_the_confidence_for_two_classes(find: Any) -> None:
    _right_temperature(find, vector(3, 0), 0.75)


@prop(
    _FIND,
    "Right for two classes, wrong for more: $T = (z_1 - z_2)/\\ln\\frac{c}{1-c}$ gives all of $1 - c$ to one class, "
    "but all the other classes share it.",
)
def all_the_other_classes_count(find: Any) -> None:
    _right_temperature(find, vector(6, 0, 0), 0.8)


@prop(
    _FIND,
    "Right when all other classes have the same logit, wrong when they have not: "
    "$T = (z_1 - z_2)/\\ln\\frac{(K-1)\\,c}{1-c}$ gives each of them an equal share. In general there is no "
    "closed form: search.",
)
def other_classes_need_not_be_equal(find: Any) -> None:
    _right_temperature(find, vector(6, 3, 0, -1), 0.7)


@prop(_FIND, "The largest logit need not be the first one.")
def any_class_may_be_the_largest(find: Any) -> None:
    _right_temperature(find, vector(0, 1, 6, 2), 0.7)


@prop(
    _FIND,
    "When the logits lie close together, the temperature that is wanted is below 1: such a teacher has to be "
    "*sharpened*. Let the search begin near 0.",
)
def small_gaps_need_t_below_one(find: Any) -> None:
    _right_temperature(find, vector(1, 0.5, 0), 0.9)


@prop(
    _FIND,
    "With large logits the temperature that is wanted is large: what counts is $z/T$. Does the search end too early? "
    "Double its upper end until the largest probability is below `confidence`.",
)
def large_gaps_need_a_large_t(find: Any) -> None:
    _right_temperature(find, vector(30, 0, 0), 0.9)
    _right_temperature(find, vector(3000, 0, -500), 0.6)


@prop(
    _FIND,
    "Adding a constant to all logits changes no probability, hence no temperature, yet it changes your answer: look at "
    "gaps between logits, and do not let `exp` overflow.",
    finite=True,
)
def a_constant_changes_nothing(find: Any) -> None:
    _right_temperature(find, vector(1004, 1002, 1000), 0.7)
    _right_temperature(find, vector(-96, -98, -100), 0.7)


@prop(_FIND, "Close, but not to one part in a thousand: finer steps, or better, bisection.")
def accurate_to_a_thousandth(find: Any) -> None:
    for confidence in (0.4, 0.55, 0.77, 0.97):
        _right_temperature(find, vector(5, 3.1, 0.2, -1), confidence, tolerance=1e-3)


def _rows_and_confidences() -> list[tuple[Tensor, float]]:
    draw = random()
    rows = [3 * torch.randn(k, generator=draw) for k in (2, 3, 5, 8, 12)]
    return [(row, 1 / len(row) + share * (1 - 1 / len(row))) for row in rows for share in (0.2, 0.5, 0.9)]


agrees(_FIND, _rows_and_confidences, _exact_temperature, 2e-3)


# ------------------------------------------------------------------------------------------- entropy of soft labels

_ENTROPY = "entropy-of-soft-labels"
RESULTS[_ENTROPY] = tensor
_THREE_ROWS = ((0.5, 0.25, 0.125, 0.125), (0.25, 0.25, 0.25, 0.25), (0.7, 0.1, 0.1, 0.1))


def _bits(entropy_bits: Any, *rows: tuple[float, ...]) -> Tensor:
    return shaped(entropy_bits(torch.stack([vector(*row) for row in rows])), [len(rows)])


@prop(
    _ENTROPY,
    "One number for the whole batch came, but every row, every soft label, has an entropy of its own. Sum over the "
    "classes, `dim=-1`, and stop there.",
)
def the_batch_is_not_averaged(entropy_bits: Any) -> None:
    expect(entropy_bits(torch.stack([vector(*row) for row in _THREE_ROWS])).dim() > 0)


@prop(_ENTROPY, "One number per *class* came. The sum runs over the classes, the last dimension: `dim=-1`.")
def the_sum_runs_over_classes(entropy_bits: Any) -> None:
    expect(list(entropy_bits(torch.stack([vector(*row) for row in _THREE_ROWS])).shape) != [4])


@prop(
    _ENTROPY,
    "An entropy is never negative. Logarithms of probabilities are: $H = -\\sum_k p_k \\log_2 p_k$ has a minus sign.",
)
def never_negative(entropy_bits: Any) -> None:
    expect((_bits(entropy_bits, *_THREE_ROWS) >= 0).all())


@prop(
    _ENTROPY,
    "A fair coin has 1 bit. With the natural logarithm it is 0.693 nats, with `log10` 0.301; bits take `torch.log2`, "
    "or a division by $\\ln 2$. Half a bit comes from a mean over the classes in place of a sum.",
)
def a_fair_coin_is_one_bit(entropy_bits: Any) -> None:
    expect(near(_bits(entropy_bits, (0.5, 0.5)), [1.0], 2e-2))


@prop(
    _ENTROPY,
    "Four equally likely classes have 2 bits, whatever the number of classes: do not divide by $\\log K$.",
)
def four_equal_classes_are_two_bits(entropy_bits: Any) -> None:
    expect(near(_bits(entropy_bits, (0.25, 0.25, 0.25, 0.25)), [2.0], 2e-2))


@prop(
    _ENTROPY,
    "The rows are probabilities already; a softmax over them makes another distribution, close to uniform. Or did only "
    "the largest probability count?",
)
def probabilities_are_taken_as_they_are(entropy_bits: Any) -> None:
    expect(near(_bits(entropy_bits, *_THREE_ROWS), [1.75, 2.0, 1.3568], 1e-2))


@prop(
    _ENTROPY,
    "A class of probability 0 makes it NaN: `0 * log(0)` is 0 times minus infinity to the computer. It must add "
    "nothing: `torch.xlogy`, `torch.special.entr` or a small `clamp` before the logarithm.",
    finite=True,
)
def impossible_classes_add_nothing(entropy_bits: Any) -> None:
    expect(near(_bits(entropy_bits, (0.5, 0.5, 0.0), (1.0, 0.0, 0.0)), [1.0, 0.0], 1e-2))


@prop(
    _ENTROPY,
    "Close, but not exact: is a number that is added inside the logarithm too large? About `1e-12` is enough.",
)
def exact_for_any_row(entropy_bits: Any) -> None:
    rows = torch.stack([vector(3, 1, 0), vector(9, 0, 0), vector(0, 0.1, -20)]).softmax(-1)
    exact = -torch.xlogy(rows.double(), rows.double()).sum(-1) / math.log(2)
    expect(near(shaped(entropy_bits(rows), [3]), exact, 1e-4))
    expect(near(_bits(entropy_bits, (1.0, 0.0, 0.0)), [0.0], 1e-4))


def _soft_labels() -> list[tuple[Tensor]]:
    draw = random()
    shapes = ((1, 2), (2, 3), (4, 3), (3, 6), (5, 12))
    return [((3 * torch.randn(shape, generator=draw)).softmax(-1),) for shape in shapes]


agrees(_ENTROPY, _soft_labels, lambda p: -torch.xlogy(p.double(), p.double()).sum(-1) / math.log(2), 1e-4)
