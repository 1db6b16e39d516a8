"""Properties of the code answers of lesson 00."""

from __future__ import annotations

import statistics
from typing import Any

import torch

from kdlab.exercises.properties.core import RESULTS, agrees, expect, near, number, prop, random

# ------------------------------------------------------------------------------------------------ fair latency ratio

__all__: list[str] = []  # all that counts is what `prop` registers

_RATIO = "fair-latency-ratio"
RESULTS[_RATIO] = number


@prop(_RATIO, "A speed-up has no unit: in milliseconds it must be what it is in seconds. Divide; do not subtract.")
def milliseconds_or_seconds(speed_up: Any) -> None:
    expect(near(speed_up([0.004] * 3, [0.001] * 3), speed_up([4.0] * 3, [1.0] * 3)))


@prop(
    _RATIO,
    "Two models that take equally long have a speed-up of 1. That looks like the *share of time saved*, $1 - b/a$, or "
    "like how much faster it is, $a/b - 1$; both are 0 for them.",
)
def equal_times_give_one(speed_up: Any) -> None:
    expect(near(speed_up([2.0, 2.0, 2.0], [2.0, 2.0, 2.0]), 1.0))


@prop(
    _RATIO,
    "Upside down: four seconds against one is a speed-up of 4, not a quarter. The big model's time is on top, $a/b$.",
)
def faster_means_above_one(speed_up: Any) -> None:
    expect(near(speed_up([4.0, 4.0, 4.0], [1.0, 1.0, 1.0]), 4.0))


@prop(_RATIO, "The order of the rounds does not matter. To take the middle value, sort the ratios first.")
def order_of_the_rounds_does_not_matter(speed_up: Any) -> None:
    one, other = speed_up([1.0, 3.0, 2.0], [1.0] * 3), speed_up([1.0, 2.0, 3.0], [1.0] * 3)
    expect(near(one, other), f"The ratios 1, 3, 2 gave {one:g}, the ratios 1, 2, 3 gave {other:g}.")


@prop(
    _RATIO,
    "One hiccup of the machine decides your result: a mean follows the one round that went wrong. The median of the "
    "rounds does not.",
)
def one_hiccup_decides_nothing(speed_up: Any) -> None:
    expect(near(speed_up([2.0, 2.0, 2.0, 2.0, 90.0], [1.0] * 5), 2.0))
    expect(near(speed_up([2.0, 2.0, 2.0, 90.0, 90.0], [1.0] * 5), 2.0))
    expect(near(speed_up([2.0] * 5, [1.0, 1.0, 30.0, 1.0, 1.0]), 2.0))


@prop(
    _RATIO,
    "One lucky round decides your result: the smallest times of both models need not come from like conditions, and "
    "the other rounds have no vote.",
)
def one_lucky_round_decides_nothing(speed_up: Any) -> None:
    expect(near(speed_up([2.0, 2.0, 0.5, 2.0, 2.0], [1.0] * 5), 2.0))


@prop(
    _RATIO,
    "The rounds are paired: both times of a round come from the same moment of the machine. Take $a/b$ in each round, "
    "then the median of these ratios; the ratio of two medians compares different moments.",
)
def rounds_are_paired(speed_up: Any) -> None:
    expect(near(speed_up([4.0, 6.0, 3.0], [1.0, 2.0, 3.0]), 3.0))


@prop(
    _RATIO,
    "With an even number of rounds the median is the mean of the two in the middle. `torch.median` takes the lower "
    "one; `statistics.median` and `np.median` do it right.",
)
def an_even_number_of_rounds(speed_up: Any) -> None:
    expect(near(speed_up([1.0, 2.0, 3.0, 4.0], [1.0] * 4), 2.5))


def _times() -> list[tuple[list[float], list[float]]]:
    draw = random()

    def seconds(n: int) -> list[float]:
        return [round(value, 4) for value in (0.001 * (1 + 9 * torch.rand(n, generator=draw))).tolist()]

    return [([scale * s for s in seconds(n)], seconds(n)) for n in (1, 2, 3, 6, 9) for scale in (0.2, 1.0, 40.0)]


def _exact_speed_up(times_a: list[float], times_b: list[float]) -> float:
    return statistics.median(a / b for a, b in zip(times_a, times_b, strict=True))


agrees(_RATIO, _times, _exact_speed_up, 1e-6)
