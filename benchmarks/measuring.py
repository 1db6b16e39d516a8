"""How the benchmarks of losses measure: rounds in an order drawn anew, CPU time, medians, the allocator's peak."""

from __future__ import annotations

import math
import random
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from kdlab.peak_memory import peak_memory

Loss = Callable[..., Tensor]
Data = tuple[Tensor, ...]
"""The student's tensor, which gets the gradient, and whatever else a loss takes."""

SAMPLE_SECONDS = 4e-3  # a route runs as often in one round as fills this time
ROUNDS = (7, 61)  # at least and at most; 7 is the first number whose median has an interval of 95 %


@dataclass(frozen=True)
class Route:
    """A loss, the bars it must meet, and whether it must give the value of the plain code that it is compared with."""

    loss: Loss
    time_bar: float = math.inf
    memory_bar: float = math.inf
    same: bool = False


def once(loss: Loss, data: Data) -> None:
    """Forward and backward."""
    data[0].grad = None
    loss(*data).backward()


def sample(loss: Loss, data: Data, repeats: int) -> float:
    """CPU seconds of so many runs, of all of this process's threads."""
    start = time.process_time()
    for _ in range(repeats):
        once(loss, data)
    return time.process_time() - start


def times(losses: Mapping[str, Loss], data: Data, budget: float) -> dict[str, list[float]]:
    """Seconds per run, per round, of each loss; every loss runs once before that."""
    names = list(losses)
    warm = {name: sample(loss, data, 1) for name, loss in losses.items()}
    repeats = max(1, round(SAMPLE_SECONDS / warm[names[0]]))
    low, high = ROUNDS
    rounds = max(low, min(high, int(budget / (repeats * sum(warm.values())))))
    taken: dict[str, list[float]] = {name: [] for name in names}
    shuffle = random.Random(0)
    for _ in range(rounds):
        for name in shuffle.sample(names, len(names)):
            taken[name].append(sample(losses[name], data, repeats) / repeats)
    return taken


def median_and_interval(values: list[float]) -> tuple[float, float, float]:
    """The median, and the innermost pair of ranks between which the true one lies with 95 % (or the extremes)."""
    ordered, n = sorted(values), len(values)
    below = 0.0  # chance that at most `rank` values lie under the true median
    rank = -1
    while rank + 1 < n // 2 and below + math.comb(n, rank + 1) / 2**n <= 0.025:
        rank += 1
        below += math.comb(n, rank) / 2**n
    rank = max(rank, 0)
    return statistics.median(ordered), ordered[rank], ordered[n - 1 - rank]


def ratios(taken: Mapping[str, list[float]], name: str, base: str) -> tuple[float, float, float]:
    """Median and interval of one route's time over the base's in the same round."""
    return median_and_interval([mine / plain for mine, plain in zip(taken[name], taken[base], strict=True)])


def memory(loss: Loss, data: Data) -> float:
    """Peak over forward and backward, in tensors of the student's size."""
    data[0].grad = None
    return peak_memory(lambda: once(loss, data)) / (data[0].numel() * data[0].element_size())


def memory_is_measured_right() -> bool:
    """exp(exp(x)).sum() holds two exponentials, and the backward pass one gradient more before it frees any."""
    x = torch.zeros(1000, 1000, requires_grad=True)
    peak = peak_memory(lambda: x.exp().exp().sum().backward()) / (4 * x.numel())
    print(f"peak of exp(exp(x)).sum().backward(): {peak:.2f} tensors, and should be 3.00")
    return abs(peak - 3) < 0.01


def value_and_gradient(loss: Loss, data: Data) -> tuple[Tensor, Tensor]:
    """Of one run, the gradient by the student's tensor."""
    value = loss(*data)
    (gradient,) = torch.autograd.grad(value, data[0])
    return value.detach(), gradient


def verdict(route: Route, high: float, peak: float) -> str:
    """Empty where the route has no bar, else what became of it."""
    missed = []
    if high > route.time_bar:
        missed.append(f"time > {route.time_bar:g}")
    if peak > route.memory_bar + 0.05:  # scalars and one value a row are no tensors of the student's size
        missed.append(f"memory > {route.memory_bar:g}")
    if missed:
        return "MISSED: " + ", ".join(missed)
    return "pass" if route.time_bar < math.inf else ""


def say(right: bool, *words: Any) -> bool:
    """Print what is wrong, if it is."""
    if not right:
        print("WRONG:", *words)
    return right
