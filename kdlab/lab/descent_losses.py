"""The losses of the descent panel, right ones and faulty ones, as functions of one student's free logits.

Values and gradients are written out in NumPy, for the twin in ``descent.py``; tests compare them with autograd.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["LOSSES", "RATE", "DescentLoss", "kl", "log_softmax", "safe_rate", "soft_term"]

RATE = 1.0
"""The learning rate: the right losses curve by 1/2 at most near their goal, so each step goes down."""

Array = NDArray[np.float64]


@dataclass(frozen=True)
class DescentLoss:
    """One of the losses to choose from.

    Attributes:
        name: as on its button.
        formula: the soft term, which alpha multiplies.
        remark: what there is to know about it, in one clause; may be empty.
        faulty: whether it is an error rather than a choice.
    """

    name: str
    formula: str
    remark: str = ""
    faulty: bool = False


LOSSES = {
    "kd": DescentLoss("forward KL", "T² KL(p ‖ q)", "the distillation loss"),
    "reverse": DescentLoss("reverse KL", "T² KL(q ‖ p)"),
    "js": DescentLoss("Jensen-Shannon", "T² (KL(p ‖ m) + KL(q ‖ m)) / 2", "m = (p + q) / 2"),
    "mse": DescentLoss("logit MSE", "Σ (z − t)² / (2K)", "student z and teacher t centred; T does not enter"),
    "no_log": DescentLoss("no log", "T² Σ p (ln p − q)", "F.kl_div(q, p): q should be ln q", faulty=True),
    "swapped_no_log": DescentLoss(
        "swapped, no log", "T² Σ q (ln q − p)", "F.kl_div(p, q): the order is wrong too", faulty=True
    ),
    "minus_sign": DescentLoss(
        "minus sign", "(−T² KL(q ‖ p))", "cross-entropy has a minus in front, KL has none", faulty=True
    ),
    "no_teacher": DescentLoss(
        "no teacher",
        "K (K − Σ exp z)²",
        "a “simplification” that lost p and T; its steps are cut, it is steep",
        faulty=True,
    ),
    "double_softmax": DescentLoss(
        "double softmax",
        "T² KL(p ‖ r)",
        "r = softmax(softmax(z) / T), as where the student ends in a softmax",
        faulty=True,
    ),
}
"""The losses by key, right ones first."""


# ---- soft terms: (z of shape (..., K), the teacher's logits (K,), T) -> value (...,), gradient by z (..., K)

_Term = Callable[[Array, Array, float], tuple[Array, Array]]


def _forward_kl(z: Array, t: Array, temperature: float) -> tuple[Array, Array]:
    log_p, log_q = log_softmax(t / temperature), log_softmax(z / temperature)
    return temperature**2 * kl(log_p, log_q), temperature * (np.exp(log_q) - np.exp(log_p))


def _reverse_kl(z: Array, t: Array, temperature: float) -> tuple[Array, Array]:
    log_p, log_q = log_softmax(t / temperature), log_softmax(z / temperature)
    return temperature**2 * kl(log_q, log_p), temperature * _through_softmax(np.exp(log_q), log_q - log_p)


def _jensen_shannon(z: Array, t: Array, temperature: float) -> tuple[Array, Array]:
    log_p, log_q = log_softmax(t / temperature), log_softmax(z / temperature)
    log_m = np.logaddexp(log_p, log_q) - math.log(2)
    value = temperature**2 * (kl(log_p, log_m) + kl(log_q, log_m)) / 2
    return value, temperature * _through_softmax(np.exp(log_q), log_q - log_m) / 2


def _logit_mse(z: Array, t: Array, temperature: float) -> tuple[Array, Array]:
    del temperature  # this loss has none
    gap = (z - z.mean(axis=-1, keepdims=True)) - (t - t.mean())
    return (gap**2).sum(axis=-1) / (2 * len(t)), gap / len(t)


def _no_log(z: Array, t: Array, temperature: float) -> tuple[Array, Array]:
    log_p, q = log_softmax(t / temperature), np.exp(log_softmax(z / temperature))
    p = np.exp(log_p)
    return temperature**2 * (p * (log_p - q)).sum(axis=-1), temperature * _through_softmax(q, -p)


def _swapped_no_log(z: Array, t: Array, temperature: float) -> tuple[Array, Array]:
    p, log_q = np.exp(log_softmax(t / temperature)), log_softmax(z / temperature)
    q = np.exp(log_q)
    return temperature**2 * (q * (log_q - p)).sum(axis=-1), temperature * _through_softmax(q, log_q - p)


def _minus_sign(z: Array, t: Array, temperature: float) -> tuple[Array, Array]:
    value, gradient = _reverse_kl(z, t, temperature)
    return -value, -gradient


def _no_teacher(z: Array, t: Array, temperature: float) -> tuple[Array, Array]:
    del temperature
    classes, exponentials = len(t), np.exp(z)
    missing = classes - exponentials.sum(axis=-1, keepdims=True)
    return classes * missing[..., 0] ** 2, -2 * classes * missing * exponentials


def _double_softmax(z: Array, t: Array, temperature: float) -> tuple[Array, Array]:
    inner = np.exp(log_softmax(z))
    value, gradient = _forward_kl(inner, t, temperature)
    return value, _through_softmax(inner, gradient)


_SOFT_TERMS: dict[str, _Term] = {
    "kd": _forward_kl,
    "reverse": _reverse_kl,
    "js": _jensen_shannon,
    "mse": _logit_mse,
    "no_log": _no_log,
    "swapped_no_log": _swapped_no_log,
    "minus_sign": _minus_sign,
    "no_teacher": _no_teacher,
    "double_softmax": _double_softmax,
}


def soft_term(loss: str, z: Array, t: Array, temperature: float) -> tuple[Array, Array]:
    """Value, shape (...,), and gradient by z, shape (..., K), of the soft term of a key of ``LOSSES``."""
    return _SOFT_TERMS[loss](z, t, temperature)


def safe_rate(loss: str, z: Array, alpha: float) -> float:
    """A step of 1 divided by the curvature is safe; only one loss curves by more than 1."""
    if loss != "no_teacher":
        return RATE
    return min(RATE, 1 / (2 * len(z) * alpha * float(np.exp(2 * z).sum()) + 0.5))


def _through_softmax(q: Array, gradient: Array) -> Array:
    """From the gradient by probabilities to the gradient by what the softmax got: q_k (g_k - sum_j q_j g_j)."""
    return q * (gradient - (q * gradient).sum(axis=-1, keepdims=True))


def kl(log_p: Array, log_q: Array) -> Array:
    """KL of two distributions given as logarithms."""
    result: Array = (np.exp(log_p) * (log_p - log_q)).sum(axis=-1)
    return result


def log_softmax(scores: Array) -> Array:
    """Over the last dimension; subtracting the maximum keeps exp from overflowing."""
    shifted = scores - scores.max(axis=-1, keepdims=True)
    result: Array = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return result
