"""Checks of the features that a loss is given: an error says what came, what is allowed, and the likely cause."""

from __future__ import annotations

import math

from torch import Tensor

from kdlab.logit_checks import check_finite

__all__ = ["check_features", "check_pair", "check_samples", "explain_not_finite", "is_finite"]

_MAPS = "a map per channel is (B, C, H, W)"


def check_features(name: str, features: object, *, maps: bool = False) -> None:
    """A floating-point tensor with a batch first and something in it; with ``maps``, of shape (B, C, H, W)."""
    if not isinstance(features, Tensor):
        got = type(features).__name__
        hint = ": pass tap['the layer'], not the tap" if got == "FeatureTap" else ""
        raise TypeError(f"{name} must be a torch tensor of features, got {got}{hint}")
    if not features.is_floating_point():
        raise TypeError(f"{name} must be floating point, got {features.dtype}: did you pass labels?")
    shape = list(features.shape)
    if maps and features.dim() != 4:
        hint = "; a hidden vector has no map: take a layer before the flattening" if features.dim() == 2 else ""
        raise ValueError(f"{name} must be feature maps, got shape {shape}, and {_MAPS}{hint}")
    if features.dim() < 2:
        raise ValueError(f"{name} must have a batch first and its features after that, got shape {shape}")
    if features.numel() == 0:
        raise ValueError(f"{name} is empty, shape {shape}: the mean over no samples is undefined")


def check_pair(student_features: Tensor, teacher_features: Tensor) -> None:
    """The same samples on one device; widths and sizes may differ."""
    if len(student_features) != len(teacher_features):
        raise ValueError(
            f"teacher_features holds {len(teacher_features)} samples, student_features {len(student_features)}: "
            "both must be for the same batch. Were the teacher's recorded for all images and not indexed by row?"
        )
    if student_features.device != teacher_features.device:
        raise ValueError(
            f"teacher_features is on {teacher_features.device}, student_features on {student_features.device}: "
            "move one of them"
        )


def check_samples(features: Tensor, least: int, unit: str) -> None:
    """Enough samples for a relation between them."""
    if len(features) < least:
        raise ValueError(
            f"student_features holds {len(features)} sample(s), but {unit} need at least {least}: a relation is "
            "between samples of one batch. Is the last batch of an epoch smaller? Choose another batch_size"
        )


def explain_not_finite(student_features: Tensor, teacher_features: Tensor) -> None:
    """Say why a loss is not finite."""
    check_finite("student_features", student_features)
    check_finite("teacher_features", teacher_features)
    largest = max(float(student_features.abs().max()), float(teacher_features.abs().max()))
    raise ValueError(f"the loss overflows for features as large as {largest:.3g}: did the model diverge?")


def is_finite(loss: Tensor) -> bool:
    """Whether a scalar is finite; costs one number, not a look at every feature."""
    return math.isfinite(loss.item())
