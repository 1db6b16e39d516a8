"""Response-based distillation losses: functions of logits alone.

Conventions, the same in every function of this module:

* the student comes first, the teacher second;
* the last dimension holds the K classes, all leading dimensions are positions (samples, tokens);
* ``alpha`` weighs the SOFT term (some libraries mean the opposite);
* the factor ``temperature**2`` is included wherever a temperature is taken;
* losses are means over positions, of sums over classes; natural logarithms, so nats;
* half precision is computed in float32, and a loss is returned in float32 or wider;
* the teacher never receives a gradient.

A loss that returns a wrong number in silence is worse than one that stops, so arguments are checked;
the check for NaN looks at the result only, and costs one scalar.
"""

from __future__ import annotations

import math
from numbers import Real

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["kd_loss", "soft_targets"]


def soft_targets(logits: Tensor, temperature: float = 1.0) -> Tensor:
    r"""Softmax with temperature: the soft targets a teacher gives.

    .. math:: p_k(T) = \frac{e^{z_k / T}}{\sum_{j=1}^{K} e^{z_j / T}}

    ``T = 1`` is the ordinary softmax; ``T -> 0`` tends to one-hot at the argmax, ``T -> inf`` to the
    uniform distribution. The order of the classes within a row never changes.

    References:
        Hinton, Vinyals, Dean (2015), Distilling the Knowledge in a Neural Network, arXiv 1503.02531.

    Args:
        logits: unnormalised scores, shape ``(*, K)`` with ``K >= 2``, floating point. A logit of ``-inf``
            (a masked class) gets probability 0; NaN and ``+inf`` are refused.
        temperature: T, a finite number greater than 0, in units of logits.

    Returns:
        Probabilities, same shape and dtype as ``logits``; each row sums to 1.

    Raises:
        TypeError: ``logits`` is not a floating-point tensor, or ``temperature`` not a real number.
        ValueError: a value is out of range, or ``logits`` holds NaN; the message says which.

    Example:
        >>> soft_targets(torch.tensor([4.0, 2.0, 0.0]), temperature=4.0)
        tensor([0.5065, 0.3072, 0.1863])
    """
    _check_logits("logits", logits)
    _check_temperature(temperature)
    probabilities = _scaled(logits, temperature).softmax(dim=-1)
    # A NaN or an infinity anywhere in a row of logits makes that whole row NaN.
    if probabilities.isnan().any():
        _check_finite("logits", logits)
    return probabilities.to(logits.dtype)


def kd_loss(
    student_logits: Tensor,
    teacher_logits: Tensor,
    labels: Tensor | None = None,
    *,
    temperature: float = 4.0,
    alpha: float = 0.9,
) -> Tensor:
    r"""Hinton's distillation loss: hard labels and soft targets, mixed.

    .. math:: L = (1 - \alpha)\, \mathrm{CE}(y, q^1) + \alpha\, T^2\, \mathrm{KL}(p^T \,\|\, q^T)

    with :math:`p^T` and :math:`q^T` the soft targets of teacher and student at temperature T, averaged
    over all positions. Its gradient with respect to the student's logits is, per position,
    :math:`(1 - \alpha)(q^1 - y) + \alpha T (q^T - p^T)`, divided by the number of positions; the factor
    :math:`T^2` keeps it from fading as T grows.

    References:
        Hinton, Vinyals, Dean (2015), Distilling the Knowledge in a Neural Network, arXiv 1503.02531.

    Args:
        student_logits: shape ``(*, K)`` with ``K >= 2``, floating point and finite; may need a gradient.
        teacher_logits: same shape; detached here, so the teacher never receives a gradient.
        labels: class indices in ``0 .. K-1``, shape ``(*)``, integer dtype. Ignored when ``alpha`` is 1,
            and only then may they be ``None``.
        temperature: T, a finite number greater than 0.
        alpha: weight of the soft term, from 0 (labels only) to 1 (teacher only).

    Returns:
        A scalar, never negative, float32 or wider.

    Raises:
        TypeError: a tensor or number of the wrong kind (integer logits, a string as temperature).
        ValueError: a value out of range, shapes that differ, NaN or infinite logits, missing labels.

    Example:
        >>> student, teacher = torch.tensor([[2.0, 1.5, 0.1]]), torch.tensor([[3.0, 1.0, 0.2]])
        >>> kd_loss(student, teacher, torch.tensor([0]), temperature=4.0, alpha=0.7)
        tensor(0.3184)
    """
    _check_logits("student_logits", student_logits)
    _check_logits("teacher_logits", teacher_logits)
    _check_same_shape(student_logits, teacher_logits)
    _check_temperature(temperature)
    _check_alpha(alpha)
    loss = alpha * temperature**2 * _kl(teacher_logits.detach(), student_logits, temperature)
    if alpha < 1:
        loss = loss + (1 - alpha) * _cross_entropy(student_logits, labels, alpha)
    if not torch.isfinite(loss):
        _explain_not_finite(student_logits, teacher_logits, temperature)
    return loss


def _scaled(logits: Tensor, temperature: float) -> Tensor:
    """Logits over T in float32 or wider, shifted to a row maximum of 0 so that a tiny T cannot overflow to NaN."""
    wide = logits.to(torch.promote_types(logits.dtype, torch.float32))
    if temperature == 1:
        return wide
    if temperature < 1:
        wide = wide - wide.detach().amax(dim=-1, keepdim=True)
    return wide / temperature


def _kl(teacher_logits: Tensor, student_logits: Tensor, temperature: float) -> Tensor:
    """KL(p^T || q^T), mean over positions. Both sides stay in log space, so no log of a rounded zero."""
    log_p = _scaled(teacher_logits, temperature).log_softmax(dim=-1)
    log_q = _scaled(student_logits, temperature).log_softmax(dim=-1)
    total = F.kl_div(log_q, log_p, reduction="sum", log_target=True)
    return total / _positions(student_logits)


def _cross_entropy(student_logits: Tensor, labels: Tensor | None, alpha: float) -> Tensor:
    """Cross-entropy with class indices at T = 1, mean over positions."""
    if labels is None:
        raise ValueError(
            f"labels are missing: alpha={alpha} gives the hard term weight {1 - alpha:g}, so labels are needed; "
            "pass them, or alpha=1 to learn from the teacher alone"
        )
    _check_labels(labels, student_logits)
    rows = _scaled(student_logits, 1).reshape(-1, student_logits.shape[-1])  # (N, K)
    return F.cross_entropy(rows, labels.reshape(-1).long())


def _positions(logits: Tensor) -> int:
    """How many rows of K classes the tensor holds."""
    return logits.numel() // logits.shape[-1]


def _check_logits(name: str, logits: object) -> None:
    if not isinstance(logits, Tensor):
        raise TypeError(f"{name} must be a torch tensor of logits, got {type(logits).__name__}")
    if not logits.is_floating_point():
        raise TypeError(f"{name} must be floating point, got {logits.dtype}: did you pass labels or predictions?")
    if logits.dim() == 0 or logits.shape[-1] < 2:
        raise ValueError(
            f"{name} needs at least 2 classes in its last dimension, got shape {list(logits.shape)}: softmax over "
            "one logit is always 1. For a binary model with one logit z, pass torch.stack([zeros, z], dim=-1)"
        )
    if logits.numel() == 0:
        raise ValueError(f"{name} is empty, shape {list(logits.shape)}: the mean over no samples is undefined")


def _check_same_shape(student_logits: Tensor, teacher_logits: Tensor) -> None:
    student, teacher = list(student_logits.shape), list(teacher_logits.shape)
    if student == teacher:
        if student_logits.device != teacher_logits.device:
            raise ValueError(
                f"teacher_logits is on {teacher_logits.device}, student_logits on {student_logits.device}: "
                "move one of them"
            )
        return
    if student[-1] != teacher[-1]:
        raise ValueError(
            f"teacher_logits has {teacher[-1]} classes, student_logits {student[-1]} (shapes {teacher} and "
            f"{student}): did you pass features instead of logits, or models with different label sets?"
        )
    raise ValueError(
        f"teacher_logits has shape {teacher}, student_logits {student}; they must be equal: "
        "were they computed on different batches?"
    )


def _check_temperature(temperature: object) -> None:
    if isinstance(temperature, bool) or not isinstance(temperature, Real):
        raise TypeError(f"temperature must be a number, got {temperature!r} of type {type(temperature).__name__}")
    if not (math.isfinite(temperature) and float(temperature) > 0):
        raise ValueError(
            f"temperature must be a finite number greater than 0, got {temperature}: logits are divided by it. "
            "For hard targets use the argmax or a small T such as 0.1"
        )


def _check_alpha(alpha: object) -> None:
    if isinstance(alpha, bool) or not isinstance(alpha, Real):
        raise TypeError(f"alpha must be a number, got {alpha!r} of type {type(alpha).__name__}")
    if not 0 <= float(alpha) <= 1:  # also catches NaN
        raise ValueError(
            f"alpha must lie in [0, 1], got {alpha}: it is the share of the soft term, 1 - alpha that of the labels"
        )


def _check_labels(labels: object, logits: Tensor) -> None:
    if not isinstance(labels, Tensor):
        raise TypeError(f"labels must be a torch tensor of class indices, got {type(labels).__name__}")
    if labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool:
        raise TypeError(
            f"labels must be integer class indices, got {labels.dtype}: "
            "for one-hot rows or probabilities pass labels.argmax(dim=-1)"
        )
    expected, classes = list(logits.shape[:-1]), logits.shape[-1]
    if list(labels.shape) != expected:
        raise ValueError(
            f"labels has shape {list(labels.shape)}, expected {expected} for student_logits of shape "
            f"{list(logits.shape)}: one class index per row (one-hot labels? use labels.argmax(dim=-1))"
        )
    low, high = (int(bound) for bound in torch.aminmax(labels))
    if low < 0 or high >= classes:
        bad = low if low < 0 else high
        raise ValueError(
            f"labels contain {bad}, allowed are 0 to {classes - 1} for {classes} classes: labels that start at 1, "
            "or an ignore index such as -100? This loss ignores no position; select the rows first"
        )


def _check_finite(name: str, logits: Tensor) -> None:
    for kind, mask in (("NaN", logits.isnan()), ("infinite values", logits.isinf())):
        if mask.any():
            raise ValueError(
                f"{name} contains {kind} ({int(mask.sum())} of {logits.numel()}): a diverged model (lower the "
                "learning rate), an overflow in half precision, or -inf masks (use a large negative number)?"
            )


def _explain_not_finite(student_logits: Tensor, teacher_logits: Tensor, temperature: float) -> None:
    _check_finite("student_logits", student_logits)
    _check_finite("teacher_logits", teacher_logits)
    raise ValueError(
        f"the loss overflows: temperature={temperature} does not fit logits as large as "
        f"{max(float(student_logits.abs().max()), float(teacher_logits.abs().max())):.3g}; are these logits?"
    )
