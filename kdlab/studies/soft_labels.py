"""Lesson 01's experiment: do soft labels make a better student than hard ones?

Two regimes, 5 labels per class and all 1,000 training labels. A CNN teaches a small MLP. Every arm takes the same
number of steps from the same initial weights on the same images, and is tuned over the same number of settings.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from typing import Any

import torch.nn.functional as F
from torch import Tensor

from kdlab.data import ImageSet, load_digits
from kdlab.experiments import Arm, Score
from kdlab.models import MLP, SmallCNN
from kdlab.training import distill, evaluate, fit, predict_logits, seeded

__all__ = ["GRIDS", "REGIMES", "TEMPERATURES", "arms", "temperature_arms", "train_student", "train_teacher"]

REGIMES: dict[str, int | None] = {"few labels": 5, "all labels": None}
"""Labelled images per class that the student gets; None is the whole training set."""

TEMPERATURES = (1, 2, 4, 8, 16, 32)
"""Temperatures of the third comparison, :func:`temperature_arms`."""

_STEPS, _BATCH = 900, 64
_TEACHER_STEPS = 600
_FINE_RATES = tuple(round(1e-3 * 2 ** (step / 2), 6) for step in range(-3, 13))  # 0.00035 to 0.064
_RATES = _FINE_RATES[3::4]  # 0.001, 0.004, 0.016, 0.064

GRIDS: dict[str, list[dict[str, float]]] = {
    "hard labels": [{"lr": rate} for rate in _FINE_RATES],
    "label smoothing": [{"lr": rate, "smoothing": share} for rate in _RATES for share in (0.02, 0.05, 0.1, 0.2)],
    "soft labels": [{"lr": rate, "temperature": t} for rate in _RATES for t in (1.0, 2.0, 4.0, 8.0)],
}
"""Sixteen settings for every kind of target: the baseline spends all of them on the learning rate."""


def train_teacher(train: ImageSet, seed: int = 0) -> SmallCNN:
    """Train the lesson's teacher, a CNN, with cross-entropy."""
    with seeded(seed):
        teacher = SmallCNN()
    options: dict[str, Any] = {"lr": 2e-3, "batch_size": 32, "seed": seed, "description": "training the teacher"}
    fit(teacher, train.images, train.labels, epochs=_epochs(train, _TEACHER_STEPS, 32), **options)
    return teacher


def train_student(
    train: ImageSet,
    seed: int,
    *,
    lr: float,
    teacher_logits: Tensor | None = None,
    temperature: float = 4.0,
    alpha: float = 0.9,
    smoothing: float = 0.0,
) -> MLP:
    """Train one student: on soft labels if there is a teacher, else on hard or smoothed ones."""
    with seeded(seed):
        student = MLP(in_features=64, hidden=(32,))
    options: dict[str, Any] = {"epochs": _epochs(train, _STEPS, _BATCH), "lr": lr, "batch_size": _BATCH, "seed": seed}
    if teacher_logits is not None:
        distill(student, teacher_logits, train.images, train.labels, temperature=temperature, alpha=alpha, **options)
    else:
        loss: Any = partial(F.cross_entropy, label_smoothing=smoothing)
        fit(student, train.images, train.labels, objective=lambda logits, labels, rows: loss(logits, labels), **options)
    return student


def arms(regime: str, teacher: SmallCNN, *, settings: Mapping[str, dict[str, Any]] | None = None) -> dict[str, Arm]:
    """The arms of one regime, the baseline ("hard labels") first.

    Args:
        regime: a key of ``REGIMES``.
        teacher: trained on the whole training set.
        settings: per arm the one setting to use; by default each arm brings its tuning grid.
    """
    per_class = REGIMES[regime]
    everything = load_digits().train

    def subset(seed: int) -> ImageSet:
        return everything if per_class is None else everything.subset(per_class, seed)

    @lru_cache(maxsize=64)
    def informed(seed: int) -> Tensor:
        return predict_logits(teacher, subset(seed).images)

    @lru_cache(maxsize=64)
    def uninformed(seed: int) -> Tensor:
        return predict_logits(train_teacher(subset(seed), seed), subset(seed).images)

    def arm(
        name: str, kind: str, logits: Callable[[int], Tensor] | None = None, teacher_labels: int | None = None
    ) -> Arm:
        def run(seed: int, **setting: Any) -> Score:
            teacher_logits = logits(seed) if logits else None
            return score(train_student(subset(seed), seed, teacher_logits=teacher_logits, **setting))

        grid = [settings[name]] if settings else GRIDS[kind]
        return Arm(run, student_labels=len(subset(0)), teacher_labels=teacher_labels, settings=grid)

    plan = {
        "hard labels": arm("hard labels", "hard labels"),
        "label smoothing": arm("label smoothing", "label smoothing"),
    }
    if per_class is None:
        plan["soft labels"] = arm("soft labels", "soft labels", informed, len(everything))
    else:
        full, few = "soft labels, teacher saw all", "soft labels, teacher saw the same"
        plan[full] = arm(full, "soft labels", informed, len(everything))
        plan[few] = arm(few, "soft labels", uninformed, len(subset(0)))
    return plan


def temperature_arms(teacher: SmallCNN) -> dict[str, Arm]:
    """Few labels, a teacher that saw all of them, one arm per temperature; each tuned over eight learning rates."""
    everything = load_digits().train
    rates = [{"lr": rate} for rate in _FINE_RATES[::2]]

    def arm(temperature: float | None) -> Arm:
        def run(seed: int, lr: float) -> Score:
            train = everything.subset(5, seed)
            logits = None if temperature is None else predict_logits(teacher, train.images)
            return score(train_student(train, seed, lr=lr, teacher_logits=logits, temperature=temperature or 1.0))

        seen = None if temperature is None else len(everything)
        return Arm(run, student_labels=50, teacher_labels=seen, settings=rates)

    return {"hard labels": arm(None), **{f"T = {t}": arm(t) for t in TEMPERATURES}}


def score(student: MLP) -> Score:
    """Accuracy on the test set to report, on the validation set to select by."""
    data = load_digits()
    return Score(
        test=evaluate(student, data.test.images, data.test.labels).accuracy,
        validation=evaluate(student, data.validation.images, data.validation.labels).accuracy,
    )


def _epochs(train: ImageSet, steps: int, batch_size: int) -> int:
    """Epochs that make about ``steps`` optimiser steps on this many images."""
    return round(steps / -(-len(train) // batch_size))
