"""What models are judged by: size, work, time, and how far their confidence can be trusted."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kdlab.modes import evaluating
from kdlab.modes import threads as using_threads
from kdlab.progress import progress as progress_bar

__all__ = [
    "Latency",
    "ReliabilityBin",
    "count_macs",
    "count_parameters",
    "entropy",
    "expected_calibration_error",
    "fit_temperature",
    "latency",
    "model_bytes",
    "reliability",
    "shuffle_within",
]


def count_parameters(model: nn.Module, *, trainable_only: bool = False) -> int:
    """Number of parameters; a tensor shared by two layers counts once, buffers do not count.

    Example:
        >>> count_parameters(nn.Linear(64, 10))
        650
    """
    return sum(p.numel() for p in model.parameters() if p.requires_grad or not trainable_only)


def model_bytes(model: nn.Module) -> int:
    """Bytes that the parameters and persistent buffers take, each stored tensor once.

    This is the size of the weights in memory and, within a header of a few kilobytes, of a safetensors file;
    views of one storage (tied weights) count once.

    Example:
        >>> model_bytes(nn.Linear(64, 10))
        2600
    """
    storages = {value.untyped_storage().data_ptr(): value.untyped_storage().nbytes() for value in _stored(model)}
    return sum(storages.values())


def count_macs(model: nn.Module, example: Tensor) -> int:
    """Multiply-accumulate operations of one forward pass on ``example``, batch included.

    Counts matrix products, convolutions and attention (torch's own ``FlopCounterMode``, which counts two
    floating-point operations per MAC); additions of biases, activations and normalisation are left out, as is
    usual.

    Example:
        >>> count_macs(nn.Linear(64, 10), torch.zeros(1, 64))
        640
    """
    from torch.utils.flop_counter import FlopCounterMode

    with evaluating(model), FlopCounterMode(display=False) as counter:
        model(example)
    return counter.get_total_flops() // 2


@dataclass(frozen=True)
class Latency:
    """Times of one model's forward pass.

    Attributes:
        median, p95: seconds.
        ratio: median over rounds of (this model's time / the first model's time in the same round).
        rounds: how many rounds were timed.
    """

    median: float
    p95: float
    ratio: float
    rounds: int


def latency(
    models: Mapping[str, Callable[[Tensor], object]],
    example: Tensor,
    *,
    rounds: int = 50,
    warmup: int = 5,
    threads: int = 1,
    progress: bool = True,
) -> dict[str, Latency]:
    """Time several models on one input, taking turns, so that a machine that drifts is fair to all.

    Each round times every model once, in an order that rotates. Quote the ratio: it is taken within rounds and
    holds when absolute times do not.

    Args:
        models: name to model (or any callable of one tensor); ratios refer to the first. Modules are timed in
            evaluation mode, without gradients.
        example: the input, batch included.
        rounds: timed rounds, at least 1.
        warmup: rounds before, not timed.
        threads: torch threads while timing.
        progress: show a progress bar if it takes longer than a moment.

    Returns:
        Name to :class:`Latency`.

    Raises:
        ValueError: no model, or fewer than 1 round.
    """
    if not models:
        raise ValueError("models is empty: there is nothing to time")
    if rounds < 1 or warmup < 0:
        raise ValueError(f"rounds must be at least 1 and warmup at least 0, got {rounds} and {warmup}")
    names = list(models)
    times: dict[str, list[float]] = {name: [] for name in names}
    with evaluating(*models.values()), using_threads(threads):
        for step in progress_bar(range(warmup + rounds), "timing", show=progress):
            turn = step % len(names)
            for name in names[turn:] + names[:turn]:
                start = time.perf_counter()
                models[name](example)
                elapsed = time.perf_counter() - start
                if step >= warmup:
                    times[name].append(elapsed)
    return {name: _summary(times[name], times[names[0]]) for name in names}


def entropy(probabilities: Tensor) -> Tensor:
    """Entropy of each row in nats: shape ``(*, K)`` to ``(*)``; between 0 and ln K.

    Example:
        >>> entropy(torch.tensor([0.5, 0.5]))
        tensor(0.6931)
    """
    _check_probabilities(probabilities)
    return torch.special.entr(probabilities).sum(dim=-1)


@dataclass(frozen=True)
class ReliabilityBin:
    """Predictions whose confidence falls into one bin.

    Attributes:
        low, high: the bin's bounds; a confidence c belongs to it if low < c <= high.
        count: how many predictions.
        confidence: their mean confidence (NaN for an empty bin).
        accuracy: the share of them that is right (NaN for an empty bin).
    """

    low: float
    high: float
    count: int
    confidence: float
    accuracy: float


def reliability(probabilities: Tensor, labels: Tensor, *, bins: int = 15) -> list[ReliabilityBin]:
    """Group predictions by confidence (the largest probability) into equal-width bins.

    Args:
        probabilities: shape ``(N, K)``, rows that sum to 1.
        labels: class indices ``(N,)``.
        bins: how many bins on (0, 1].

    Raises:
        TypeError, ValueError: no probabilities (logits?), shapes that do not match, fewer than 1 bin.
    """
    _check_probabilities(probabilities)
    if probabilities.dim() != 2 or labels.shape != probabilities.shape[:1]:
        raise ValueError(
            f"probabilities must be (N, K) and labels (N,), got {list(probabilities.shape)} and {list(labels.shape)}"
        )
    if not isinstance(bins, int) or bins < 1:
        raise ValueError(f"bins must be a whole number of at least 1, got {bins!r}")
    confidence, predicted = probabilities.double().max(dim=-1)
    right = (predicted == labels).double()
    edges = torch.linspace(0, 1, bins + 1, dtype=torch.float64)
    index = torch.bucketize(confidence, edges[1:-1])  # edges[i] < c <= edges[i + 1]
    result = []
    for i in range(bins):
        members = index == i
        mean_confidence = float(confidence[members].mean())  # of no members: NaN
        mean_right = float(right[members].mean())
        result.append(
            ReliabilityBin(float(edges[i]), float(edges[i + 1]), int(members.sum()), mean_confidence, mean_right)
        )
    return result


def expected_calibration_error(probabilities: Tensor, labels: Tensor, *, bins: int = 15) -> float:
    r"""Expected calibration error: mean gap between confidence and accuracy, weighted by bin size.

    .. math:: \mathrm{ECE} = \sum_b \frac{n_b}{N} \left| \mathrm{acc}_b - \mathrm{conf}_b \right|

    It depends on the number of bins and is biased upwards on small samples: compare it only at equal N and
    equal bins, and look at the negative log-likelihood beside it.

    References:
        Guo, Pleiss, Sun, Weinberger (2017), On Calibration of Modern Neural Networks, arXiv 1706.04599.

    Args and errors: as :func:`reliability`. Returns a number in [0, 1].

    Example:
        >>> expected_calibration_error(torch.tensor([[0.8, 0.2], [0.8, 0.2]]), torch.tensor([0, 1]))
        0.3...
    """
    total = len(labels)
    groups = [group for group in reliability(probabilities, labels, bins=bins) if group.count]
    return math.fsum(group.count / total * abs(group.accuracy - group.confidence) for group in groups)


def fit_temperature(logits: Tensor, labels: Tensor) -> float:
    """Temperature scaling: the T that minimises the negative log-likelihood of ``labels`` given ``logits / T``.

    One parameter, fitted on validation data, that changes no prediction. The negative log-likelihood is convex
    in 1/T, so there is one minimum; the search covers T from 0.01 to 100.

    References:
        Guo, Pleiss, Sun, Weinberger (2017), On Calibration of Modern Neural Networks, arXiv 1706.04599.

    Args:
        logits: shape ``(N, K)``.
        labels: class indices ``(N,)``.

    Returns:
        T, between 0.01 and 100.
    """
    from scipy.optimize import minimize_scalar

    wide = logits.detach().double()

    def nll(log_temperature: float) -> float:
        return float(F.cross_entropy(wide / math.exp(log_temperature), labels))

    return math.exp(minimize_scalar(nll, bounds=(math.log(0.01), math.log(100)), method="bounded").x)


def shuffle_within(values: Tensor, groups: Tensor, *, seed: int) -> Tensor:
    """Permute ``values`` at random among the positions of the same group: a control that keeps each group's contents.

    Args:
        values: shape ``(N, ...)``.
        groups: group of each position, ``(N,)``, such as class labels.
        seed: fixes the permutation.

    Example:
        >>> shuffled = shuffle_within(torch.tensor([1, 2, 3, 40, 50]), torch.tensor([0, 0, 0, 1, 1]), seed=1)
        >>> sorted(shuffled[:3].tolist()), sorted(shuffled[3:].tolist())
        ([1, 2, 3], [40, 50])
    """
    if len(values) != len(groups):
        raise ValueError(f"{len(values)} values but {len(groups)} groups: one group per value")
    order = torch.randperm(len(groups), generator=torch.Generator().manual_seed(seed))
    targets = torch.argsort(groups, stable=True)
    sources = order[torch.argsort(groups[order], stable=True)]  # the same groups in turn, members in random order
    shuffled = torch.empty_like(values)
    shuffled[targets] = values[sources]
    return shuffled


def _stored(model: nn.Module) -> Iterator[Tensor]:
    """Every tensor that ``state_dict`` would save."""
    yield from (value for value in model.state_dict(keep_vars=True).values() if isinstance(value, Tensor))


def _summary(times: list[float], reference: list[float]) -> Latency:
    ratios = [mine / first for mine, first in zip(times, reference, strict=True)]
    p95 = sorted(times)[math.ceil(0.95 * len(times)) - 1]
    return Latency(statistics.median(times), p95, statistics.median(ratios), len(times))


def _check_probabilities(probabilities: object) -> None:
    if not isinstance(probabilities, Tensor) or not probabilities.is_floating_point():
        kind = probabilities.dtype if isinstance(probabilities, Tensor) else type(probabilities).__name__
        raise TypeError(f"probabilities must be a floating-point tensor, got {kind}")
    if probabilities.numel() == 0 or probabilities.dim() == 0:
        raise ValueError(f"probabilities must have rows of classes, got shape {list(probabilities.shape)}")
    sums = probabilities.double().sum(dim=-1)
    tolerance = 10 * torch.finfo(probabilities.dtype).eps * probabilities.shape[-1]
    if bool((probabilities < 0).any()) or not bool(((sums - 1).abs() <= max(tolerance, 1e-4)).all()):
        raise ValueError("probabilities must be nonnegative with rows that sum to 1: did you pass logits?")
