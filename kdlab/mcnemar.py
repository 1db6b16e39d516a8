"""McNemar's test: do two models differ on these images, or only by the luck of which images were drawn?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from kdlab.comparison import CONFIDENCE, Verdict

__all__ = ["McNemar", "mcnemar"]


@dataclass(frozen=True)
class McNemar:
    """What two models' answers on the same images tell.

    Attributes:
        only_first: images that only the first model got right.
        only_second: images that only the second model got right.
        p_value: two-sided, exact.
        verdict: on the FIRST model: "better" or "worse" than the second if ``p_value`` is below 5 %, else
            "cannot tell".
    """

    only_first: int
    only_second: int
    p_value: float
    verdict: Verdict


def mcnemar(first_right: Tensor | Sequence[bool], second_right: Tensor | Sequence[bool]) -> McNemar:
    r"""Exact test of two fixed models on the same images.

    Images that both models get right, or both wrong, say nothing about which is better. If the models are equally
    good, each of the other :math:`n = b + c` images is a fair coin, so with b and c the counts of the two kinds

    .. math:: p = \min\Big(1,\; 2 \sum_{k=0}^{\min(b, c)} \binom{n}{k} 2^{-n}\Big)

    and p = 1 where n = 0. It covers the choice of images, for these two trained models. The interval over seeds of
    :func:`kdlab.experiments.compare` covers training, for these images. Neither stands in for the other: two models
    may differ for certain although their recipes do not, and the other way round.

    References:
        McNemar (1947), Psychometrika 12. For classifiers: Dietterich (1998), Neural Computation 10(7).

    Args:
        first_right: per image whether the first model is right, shape ``(N,)``, truth values.
        second_right: the same for the second model, the same images in the same order.

    Raises:
        TypeError: not truth values (predictions, or logits?).
        ValueError: not one value per image, no image, or two different numbers of images.

    Example:
        >>> mcnemar([True] * 9 + [False], [True] + [False] * 9)
        McNemar(only_first=8, only_second=0, p_value=0.0078125, verdict='better')
    """
    first, second = _right("first_right", first_right), _right("second_right", second_right)
    if len(first) != len(second):
        raise ValueError(f"first_right has {len(first)} images, second_right {len(second)}: they must be the same ones")
    only_first, only_second = int((first & ~second).sum()), int((second & ~first).sum())
    p_value = _p_value(only_first, only_second)
    verdict: Verdict = "cannot tell"
    if p_value < 1 - CONFIDENCE:
        verdict = "better" if only_first > only_second else "worse"
    return McNemar(only_first, only_second, p_value, verdict)


def _p_value(only_first: int, only_second: int) -> float:
    from scipy.stats import binomtest

    discordant = only_first + only_second
    return float(binomtest(only_first, discordant).pvalue) if discordant else 1.0


def _right(name: str, values: object) -> Tensor:
    try:
        right = torch.as_tensor(values)
    except (TypeError, ValueError, RuntimeError) as error:
        raise TypeError(f"{name} must hold truth values, one per image: {error}") from error
    if right.dtype != torch.bool:
        raise TypeError(
            f"{name} must hold truth values, got {right.dtype}: did you pass predictions? "
            "Compare them with the labels first, predictions == labels"
        )
    if right.dim() != 1 or len(right) == 0:
        raise ValueError(f"{name} needs one truth value per image, shape (N,), got shape {list(right.shape)}")
    return right
