"""Checks of what a loss is given: an error says what came, what is allowed, and the likely cause.

A loss that returns a wrong number in silence is worse than one that stops.
"""

from __future__ import annotations

import math
from numbers import Real

import torch
from torch import Tensor

__all__ = [
    "check_finite",
    "check_label_range",
    "check_labels",
    "check_logits",
    "check_same_shape",
    "check_share",
    "check_temperature",
    "check_weight",
    "explain_not_finite",
]


def check_logits(name: str, logits: object) -> None:
    """A floating-point tensor with at least two classes in its last dimension and at least one row."""
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


def check_same_shape(student_logits: Tensor, teacher_logits: Tensor) -> None:
    """Equal shapes on one device."""
    if student_logits.shape == teacher_logits.shape:
        if student_logits.device != teacher_logits.device:
            raise ValueError(
                f"teacher_logits is on {teacher_logits.device}, student_logits on {student_logits.device}: "
                "move one of them"
            )
        return
    student, teacher = list(student_logits.shape), list(teacher_logits.shape)
    if student[-1] != teacher[-1]:
        raise ValueError(
            f"teacher_logits has {teacher[-1]} classes, student_logits {student[-1]} (shapes {teacher} and "
            f"{student}): did you pass features instead of logits, or models with different label sets?"
        )
    raise ValueError(
        f"teacher_logits has shape {teacher}, student_logits {student}; they must be equal: "
        "were they computed on different batches?"
    )


def check_temperature(temperature: object) -> None:
    """A finite number greater than 0."""
    _check_real("temperature", temperature)
    if not 0 < float(temperature) < math.inf:  # type: ignore[arg-type]
        raise ValueError(
            f"temperature must be a finite number greater than 0, got {temperature}: logits are divided by it. "
            "For hard targets use the argmax or a small T such as 0.1"
        )


def _check_real(name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{name} must be a number, got {value!r} of type {type(value).__name__}")


def check_share(name: str, value: object, meaning: str) -> None:
    """A number from 0 to 1, such as alpha; ``meaning`` ends the message."""
    _check_real(name, value)
    if not 0 <= float(value) <= 1:  # type: ignore[arg-type]  # also catches NaN
        raise ValueError(f"{name} must lie in [0, 1], got {value}: {meaning}")


def check_weight(name: str, value: object) -> None:
    """A finite number that is not negative, such as the weight of one of several terms."""
    _check_real(name, value)
    if not 0 <= float(value) < math.inf:  # type: ignore[arg-type]
        raise ValueError(f"{name} must be a finite number of at least 0, got {value}: a negative weight rewards errors")


def check_labels(labels: object, logits: Tensor) -> None:
    """An integer tensor with one class index per row of logits; the range is checked apart."""
    if not isinstance(labels, Tensor):
        raise TypeError(f"labels must be a torch tensor of class indices, got {type(labels).__name__}")
    if labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool:
        raise TypeError(
            f"labels must be integer class indices, got {labels.dtype}: "
            "for one-hot rows or probabilities pass labels.argmax(dim=-1)"
        )
    if labels.shape != logits.shape[:-1]:
        raise ValueError(
            f"labels has shape {list(labels.shape)}, expected {list(logits.shape[:-1])} for student_logits of shape "
            f"{list(logits.shape)}: one class index per row (one-hot labels? use labels.argmax(dim=-1))"
        )


def check_label_range(labels: Tensor, classes: int) -> None:
    """Class indices from 0 to ``classes - 1``."""
    low, high = (int(bound) for bound in torch.aminmax(labels))
    if low < 0 or high >= classes:
        bad = low if low < 0 else high
        raise ValueError(
            f"labels contain {bad}, allowed are 0 to {classes - 1} for {classes} classes: labels that start at 1, "
            "or an ignore index such as -100? This loss ignores no position; select the rows first"
        )


def check_finite(name: str, logits: Tensor) -> None:
    """No NaN and no infinity; called only once a result is not finite, since it reads every value."""
    for kind, mask in (("NaN", logits.isnan()), ("infinite values", logits.isinf())):
        if mask.any():
            raise ValueError(
                f"{name} contains {kind} ({int(mask.sum())} of {logits.numel()}): a diverged model (lower the "
                "learning rate), an overflow in half precision, or -inf masks (use a large negative number)?"
            )


def explain_not_finite(student_logits: Tensor, teacher_logits: Tensor, temperature: float) -> None:
    """Say why a loss is not finite."""
    check_finite("student_logits", student_logits)
    check_finite("teacher_logits", teacher_logits)
    raise ValueError(
        f"the loss overflows: temperature={temperature} does not fit logits as large as "
        f"{max(float(student_logits.abs().max()), float(teacher_logits.abs().max())):.3g}; are these logits?"
    )
