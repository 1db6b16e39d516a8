"""How far a classifier's confidence can be trusted: entropy, reliability, calibration error, temperature scaling."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["ReliabilityBin", "entropy", "expected_calibration_error", "fit_temperature", "reliability"]


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
