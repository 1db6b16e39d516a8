"""Distillation row by row: a temperature and a weight for each sample, and two ways to choose the temperature."""

from __future__ import annotations

import math
from numbers import Real

import torch
import torch.nn.functional as F
from torch import Tensor

from kdlab.logit_checks import (
    check_finite,
    check_label_range,
    check_labels,
    check_logits,
    check_same_shape,
    check_share,
    check_temperature,
    explain_not_finite,
)

__all__ = ["matched_temperature", "rowwise_kd_loss", "standardize"]

_FLOAT32_UP_TO, _LARGEST = 32.0, 1e6  # temperatures, as in losses
_COLDEST, _HOTTEST, _HALVINGS = 1e-2, 1e4, 60


def rowwise_kd_loss(
    student_logits: Tensor,
    teacher_logits: Tensor,
    labels: Tensor | None = None,
    *,
    temperature: float | Tensor = 4.0,
    alpha: float = 0.9,
    weight: Tensor | None = None,
) -> Tensor:
    r"""Hinton's distillation loss with a temperature and a weight of its own for every row.

    .. math:: L = \frac1N \sum_i \left[\alpha\, w_i\, T_i^2\, \mathrm{KL}(p_i^{T_i} \,\|\, q_i^{T_i})
        + (1 - \alpha)\, \mathrm{CE}(y_i, q_i^1)\right]

    With one temperature and weights of 1 it is :func:`kdlab.losses.kd_loss`. The weights are used as they are, not
    normalised: halve them all, and the soft term is halved. They leave the hard term alone, so a row of weight 0 is
    learnt from its label. Student and teacher share a row's temperature.

    References:
        Hinton, Vinyals, Dean (2015), Distilling the Knowledge in a Neural Network, arXiv 1503.02531.

    Args:
        student_logits: shape ``(*, K)`` with ``K >= 2``, floating point and finite; may need a gradient.
        teacher_logits: same shape; detached here.
        labels: class indices in ``0 .. K-1``, shape ``(*)``. Ignored when ``alpha`` is 1, and only then may they be
            ``None``.
        temperature: T, a number, or one per row, shape ``(*)``; greater than 0 and at most 1e6; detached here.
        alpha: weight of the soft term, from 0 (labels only) to 1 (teacher only).
        weight: weight of each row's soft term, shape ``(*)``, at least 0; detached here. 1 by default.

    Returns:
        A scalar, never negative but for rounding, float32 or wider.

    Raises:
        TypeError: a tensor or number of the wrong kind.
        ValueError: a value out of range, shapes that differ, NaN or infinite logits, missing labels.

    Example:
        >>> student, teacher = torch.tensor([[2.0, 1.5, 0.1]]), torch.tensor([[3.0, 1.0, 0.2]])
        >>> rowwise_kd_loss(student, teacher, torch.tensor([0]), temperature=torch.tensor([4.0]), alpha=0.7)
        tensor(0.3184)
    """
    check_logits("student_logits", student_logits)
    check_logits("teacher_logits", teacher_logits)
    check_same_shape(student_logits, teacher_logits)
    check_share("alpha", alpha, "it is the share of the soft term, 1 - alpha that of the labels")
    if alpha < 1 and labels is None:
        raise ValueError(
            f"labels are missing: alpha={alpha} gives the hard term weight {1 - alpha:g}, so labels are needed; "
            "pass them, or alpha=1 to learn from the teacher alone"
        )
    rows_t = _temperatures(temperature, student_logits)  # (*) in float64
    dtype = torch.promote_types(student_logits.dtype, torch.float32)
    digits = torch.float64 if float(rows_t.max()) > _FLOAT32_UP_TO else dtype
    log_p = _log_soft(teacher_logits.detach().to(digits), rows_t)
    log_q = _log_soft(student_logits.to(digits), rows_t)
    soft = rows_t.to(digits).square() * F.kl_div(log_q, log_p, reduction="none", log_target=True).sum(dim=-1)
    if weight is not None:
        soft = _row_weights(weight, student_logits).to(digits) * soft
    loss = alpha * soft.mean()
    if labels is not None and alpha < 1:
        check_labels(labels, student_logits)
        check_label_range(labels, student_logits.shape[-1])
        flat = student_logits.reshape(-1, student_logits.shape[-1]).to(dtype)
        loss = loss + (1 - alpha) * F.cross_entropy(flat, labels.reshape(-1).long())
    if not math.isfinite(loss.item()):
        explain_not_finite(student_logits, teacher_logits, float(rows_t.min()))
    return loss.to(dtype)


def standardize(logits: Tensor) -> Tensor:
    r"""Each row of logits with mean 0 and standard deviation 1: logit standardisation.

    .. math:: s_k = \frac{z_k - \bar z}{\sigma}, \qquad \sigma = \sqrt{\tfrac1K \sum_k (z_k - \bar z)^2}

    A softmax of it is a softmax at a temperature of the row's own, the standard deviation of its logits. Nothing
    changes when a row is shifted or multiplied by a positive number. Use it on both student and teacher before
    ``kd_loss``: then the student need not match the range of the teacher's logits, only their pattern. It cannot match
    the teacher's sureness either: no standardised logit exceeds :math:`\sqrt{K - 1}`.

    References:
        Sun, Ren, Li, Wang, Cao (2024), Logit Standardization in Knowledge Distillation, arXiv 2403.01427. Its released
        code divides by the sample standard deviation, with K - 1: a temperature larger by
        :math:`\sqrt{K / (K - 1)}`.

    Args:
        logits: shape ``(*, K)`` with ``K >= 2``, floating point and finite; may need a gradient.

    Returns:
        Same shape, float32 or wider. A row of equal logits has no deviation: it becomes zeros, with zero gradient.

    Raises:
        TypeError, ValueError: not floating point, fewer than 2 classes, NaN or infinite logits.

    Example:
        >>> standardize(torch.tensor([[100.0, 104.0], [-3.0, -2.0]]))
        tensor([[-1.,  1.],
                [-1.,  1.]])
    """
    check_logits("logits", logits)
    check_finite("logits", logits)
    wide = logits.to(torch.promote_types(logits.dtype, torch.float32))
    # Shift and scale may be constants to autograd, since the result does not depend on them. The shift makes a
    # constant row exactly 0; the scale keeps squares from overflow.
    shifted = wide - wide.detach()[..., :1]
    largest = shifted.detach().abs().amax(dim=-1, keepdim=True)
    flat = largest == 0
    unit = shifted / largest.masked_fill(flat, 1)
    centred = unit - unit.mean(dim=-1, keepdim=True)
    variance = centred.square().mean(dim=-1, keepdim=True)
    return (centred / variance.masked_fill(flat, 1).sqrt()).masked_fill(flat, 0)


def matched_temperature(teacher_logits: Tensor, *, entropy: float) -> Tensor:
    r"""The temperature of each row at which its soft targets have the given entropy.

    .. math:: T_i: \quad H\big(\operatorname{softmax}(z_i / T_i)\big) = h

    Entropy rises with temperature wherever two logits differ (its slope is the variance of the logits under the soft
    targets over :math:`T^3`), so there is one such T at most: found by bisection of ln T. A sure row gets a high
    temperature and a doubtful one a low one; multiply a row by c, and its temperature is multiplied by c.

    Args:
        teacher_logits: shape ``(*, K)`` with ``K >= 2``, floating point and finite; detached here.
        entropy: h, in nats, greater than 0 and less than ln K.

    Returns:
        Shape ``(*)``, from 0.01 to 10,000, float32 or wider: a row whose T lies outside gets the nearer end. If the m
        largest logits of a row are equal, or nearly, its entropy cannot fall below ln m, and for less it gets 0.01. A
        row of equal logits has entropy ln K at any temperature, and gets 1.

    Raises:
        TypeError: logits or entropy of the wrong kind.
        ValueError: an entropy out of range; NaN or infinite logits.

    Example:
        >>> sure, torn = [6.0, 0.0], [1.0, 0.0]
        >>> matched_temperature(torch.tensor([sure, torn]), entropy=0.5)
        tensor([4.3224, 0.7204])
    """
    check_logits("teacher_logits", teacher_logits)
    check_finite("teacher_logits", teacher_logits)
    most = math.log(teacher_logits.shape[-1])
    if isinstance(entropy, bool) or not isinstance(entropy, Real):
        raise TypeError(f"entropy must be a number of nats, got {entropy!r} of type {type(entropy).__name__}")
    if not 0 < entropy < most:
        raise ValueError(
            f"entropy must lie between 0 and ln {teacher_logits.shape[-1]} = {most:.4g} nats, both excluded, got "
            f"{entropy}: no finite temperature makes soft targets one-hot or uniform (bits? Multiply by ln 2)"
        )
    logits = teacher_logits.detach().double()
    low = logits.new_full(logits.shape[:-1], math.log(_COLDEST))
    high = torch.full_like(low, math.log(_HOTTEST))
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        too_cold = torch.special.entr(_log_soft(logits, middle.exp()).exp()).sum(dim=-1) < entropy
        low, high = torch.where(too_cold, middle, low), torch.where(too_cold, high, middle)
    found = ((low + high) / 2).exp().clamp(_COLDEST, _HOTTEST)
    flat = logits.amax(dim=-1) == logits.amin(dim=-1)
    return found.masked_fill(flat, 1).to(torch.promote_types(teacher_logits.dtype, torch.float32))


def _log_soft(logits: Tensor, temperatures: Tensor) -> Tensor:
    """Logarithms of the soft targets at each row's T; a row maximum of 0 keeps a tiny T from overflow to NaN."""
    shifted = logits - logits.detach().amax(dim=-1, keepdim=True)
    return (shifted / temperatures.to(logits.dtype)[..., None]).log_softmax(dim=-1)


def _temperatures(temperature: float | Tensor, logits: Tensor) -> Tensor:
    """One temperature per row, (*) in float64."""
    rows = logits.shape[:-1]
    if not isinstance(temperature, Tensor):
        check_temperature(temperature)
        given = torch.full(rows, float(temperature), dtype=torch.float64, device=logits.device)
    else:
        given = _per_row("temperature", temperature, logits)
    bad = ~((given > 0) & (given <= _LARGEST))
    if bad.any():
        raise ValueError(
            f"temperature must be greater than 0 and at most {_LARGEST:g}, got {float(given[bad][0]):g} in "
            f"{int(bad.sum())} of {given.numel()} rows: logits are divided by it"
        )
    return given


def _row_weights(weight: Tensor, logits: Tensor) -> Tensor:
    """One weight per row, (*) in float64."""
    given = _per_row("weight", weight, logits)
    bad = ~(given.isfinite() & (given >= 0))
    if bad.any():
        raise ValueError(
            f"weight must be finite and at least 0, got {float(given[bad][0]):g} in {int(bad.sum())} of "
            f"{given.numel()} rows: a negative weight rewards errors"
        )
    return given


def _per_row(name: str, values: object, logits: Tensor) -> Tensor:
    """A tensor of real numbers with one value per row, in float64 and without gradients."""
    if not isinstance(values, Tensor):
        raise TypeError(f"{name} must be a torch tensor with one value per row, got {type(values).__name__}")
    if values.is_complex() or values.dtype == torch.bool:
        raise TypeError(f"{name} must hold real numbers, got {values.dtype}")
    if values.shape != logits.shape[:-1]:
        raise ValueError(
            f"{name} has shape {list(values.shape)}, expected {list(logits.shape[:-1])}: one value per row of logits "
            f"of shape {list(logits.shape)} (a trailing dimension of 1? use .squeeze(-1))"
        )
    return values.detach().double()
