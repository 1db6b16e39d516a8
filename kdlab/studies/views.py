"""Lesson 05's small experiment: a teacher that sees what its student never will.

*Privileged*: the student gets a coarse picture, 4 by 4 pixels, its teacher the full one; both have the same labels.
*Two views*: the student gets the right half of a digit, with a few labels; its teacher the left half, with all labels.
Pictures come in pairs, and for the pairs without a label the student learns from the teacher's answer. In each, one arm
has a teacher that sees only what the student sees: without it a gain could come from any teacher.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any

import torch
from torch import Tensor, nn

from kdlab.data import ImageSet, coarse, left_half, load_digits, right_half
from kdlab.experiments import Arm, Score
from kdlab.models import MLP, SmallCNN
from kdlab.training import distill, evaluate, fit, predict_logits, seeded

__all__ = ["GRIDS", "NAMES", "arms"]

NAMES = ("privileged", "two views")

_STEPS, _BATCH, _WIDTH, _ALPHA = 400, 32, 16, 0.9
_RATES = tuple(round(1e-3 * 2**step, 6) for step in range(8))  # 0.001 to 0.128
GRIDS: dict[str, list[dict[str, float]]] = {
    "rate": [{"lr": rate} for rate in _RATES],
    "temperature": [{"lr": rate, "temperature": t} for rate in _RATES[3:6:2] for t in (1.0, 2.0, 4.0, 8.0)],
}
"""Eight settings for every arm."""

View = Callable[[Tensor], Tensor]
_PER_CLASS = {"privileged": 20, "two views": 5}
_STUDENT_VIEW: dict[str, View] = {"privileged": coarse, "two views": right_half}
_TEACHER_VIEW: dict[str, View] = {"privileged": lambda images: images, "two views": left_half}


def arms(name: str) -> dict[str, Arm]:
    """The arms of one experiment, the student on its labels alone first.

    Args:
        name: one of ``NAMES``.
    """
    own, everything = 10 * _PER_CLASS[name], len(load_digits().train)
    seen = own if name == "privileged" else everything
    return {
        "hard labels": Arm(partial(_run, name=name, teacher=None), own, None, GRIDS["rate"]),
        "teacher sees the same view": Arm(partial(_run, name=name, teacher="same"), own, own, GRIDS["temperature"]),
        "teacher sees the other view": Arm(partial(_run, name=name, teacher="other"), own, seen, GRIDS["temperature"]),
    }


def _run(seed: int, *, name: str, teacher: str | None, lr: float, temperature: float = 4.0) -> Score:
    data, view = load_digits(), _STUDENT_VIEW[name]
    rows = _labelled(name, seed)
    with seeded(seed):
        student = MLP(view(data.train.images[:1]).numel(), hidden=(_WIDTH,))
    labels = data.train.labels
    if teacher is None:
        images, target = view(data.train.images[rows]), labels[rows]
        fit(student, images, target, **_options(len(rows), seed, lr))
    else:
        logits = _teacher_logits(name, teacher, seed)
        transfer = torch.arange(len(labels)) if name == "two views" else rows
        target = logits.argmax(dim=1)  # the teacher's answer where the student has no label
        target[rows] = labels[rows]
        pair = (logits[transfer], view(data.train.images[transfer]), target[transfer])
        distill(student, *pair, temperature=temperature, alpha=_ALPHA, **_options(len(transfer), seed, lr))
    parts = (data.test, data.validation)
    test, validation = (evaluate(student, view(part.images), part.labels).accuracy for part in parts)
    return Score(test, validation)


def _options(images: int, seed: int, lr: float) -> dict[str, Any]:
    epochs = max(1, round(_STEPS / -(-images // _BATCH)))
    return {"epochs": epochs, "lr": lr, "batch_size": _BATCH, "seed": seed, "progress": False}


@lru_cache(maxsize=64)
def _labelled(name: str, seed: int) -> Tensor:
    train = load_digits().train
    return ImageSet(torch.arange(len(train)), train.labels).subset(_PER_CLASS[name], seed).images


@lru_cache(maxsize=64)
def _teacher_logits(name: str, which: str, seed: int) -> Tensor:
    """Of the teacher for all training pictures, in its own view."""
    train = load_digits().train
    view = _STUDENT_VIEW[name] if which == "same" else _TEACHER_VIEW[name]
    informed = name == "two views" and which == "other"
    rows = torch.arange(len(train)) if informed else _labelled(name, seed)
    teacher: nn.Module
    with seeded(0 if informed else seed + 100):
        teacher = SmallCNN()
    epochs = max(1, round(600 / -(-len(rows) // 32)))
    options: dict[str, Any] = {"epochs": epochs, "lr": 2e-3, "batch_size": 32, "seed": seed, "progress": False}
    fit(teacher, view(train.images[rows]), train.labels[rows], **options)
    return predict_logits(teacher, view(train.images))
