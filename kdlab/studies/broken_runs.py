"""Lesson 03's broken runs: three mistakes of published distillation code, small enough to run, each with its alarm.

None of them raises an error. One hardly shows in the accuracy, one ruins it, one makes a gain out of
nothing; a single line catches each.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from kdlab.data import ImageSet, load_digits
from kdlab.experiments import Arm, Comparison, Score
from kdlab.models import MLP
from kdlab.training import distill, evaluate, fit, predict_logits, seeded

__all__ = [
    "ReLULogits",
    "misaligned",
    "one_training_pass",
    "relu_arms",
    "silent_classes",
    "teacher_arms",
    "unpaired_gains",
]

STEPS, BATCH = 900, 64
RATES = (0.002, 0.004, 0.008, 0.016)

TUTORIAL: dict[str, Any] = {"epochs": 20, "lr": 4e-3, "batch_size": BATCH}
"""A tutorial's budget: few steps, one learning rate that nobody tuned."""


def one_training_pass(teacher: nn.Module, images: Tensor, *, seed: int) -> Tensor:
    """The teacher's logits ``(N, K)`` as a forgotten ``teacher.eval()`` gives them: one random pass, dropout on.

    The teacher is put back as it was, its batch-norm statistics too, so that only the targets are broken here; in
    the wild such a pass moves them.

    The alarm: a teacher gives one answer, ``assert torch.equal(teacher(images), teacher(images))``.
    """
    modes = {part: part.training for part in teacher.modules()}
    buffers = {name: value.clone() for name, value in teacher.named_buffers()}
    try:
        with torch.no_grad(), seeded(seed):
            return teacher.train()(images)
    finally:
        for part, mode in modes.items():
            part.training = mode
        for name, value in teacher.named_buffers():
            value.copy_(buffers[name])


def misaligned(logits: Tensor, *, seed: int) -> Tensor:
    """Recorded logits ``(N, K)`` after a shuffle of the images that they did not take part in.

    The alarm: a teacher mostly agrees with the labels, ``assert (logits.argmax(-1) == labels).float().mean() > 0.5``;
    or, where there are none, :meth:`kdlab.logit_cache.LogitCache.check`.
    """
    return logits[torch.randperm(len(logits), generator=torch.Generator().manual_seed(seed))]


class ReLULogits(nn.Module):
    """A student with a ReLU on its logits: a class whose logit is negative for every image gets no gradient any more.

    How many classes are silent from the start, or fall silent, is the luck of the initial weights, so accuracy
    depends on the seed first of all, and two runs with different seeds show a gain of any size.

    The alarm: logits take both signs, ``assert (student(images) < 0).any()``.

    Args:
        model: returns logits ``(B, K)``.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        """Logits without a negative one, ``(B, K)``."""
        return self.model(x).relu()


def silent_classes(model: nn.Module, images: Tensor) -> list[int]:
    """Classes whose logit is at most 0 for every image: behind a ReLU they learn nothing from these images.

    Example:
        >>> model = nn.Linear(2, 2, bias=False)
        >>> _ = model.weight.data.copy_(torch.tensor([[1.0, 0.0], [-1.0, 0.0]]))
        >>> silent_classes(model, torch.eye(2))
        [1]
    """
    return (predict_logits(model, images) <= 0).all(dim=0).nonzero().flatten().tolist()


def teacher_arms(teacher: nn.Module, *, per_class: int | None = None) -> dict[str, Arm]:
    """Hard labels, right distillation, and the two broken teachers; each tuned over the same learning rates.

    Args:
        teacher: trained on all training labels.
        per_class: labelled images per class for the student; ``None`` is all of them.
    """
    data = load_digits()

    def subset(seed: int) -> ImageSet:
        return data.train if per_class is None else data.train.subset(per_class, seed)

    def arm(targets: Callable[[Tensor, int], Tensor] | None) -> Arm:
        def run(seed: int, lr: float) -> Score:
            train = subset(seed)
            logits = None if targets is None else targets(train.images, seed)
            epochs = round(STEPS / -(-len(train) // BATCH))
            return _trained(MLP, train, seed, logits, epochs=epochs, lr=lr, batch_size=BATCH)

        grid = [{"lr": rate} for rate in RATES]
        return Arm(run, len(subset(0)), None if targets is None else len(data.train), grid)

    return {
        "hard labels": arm(None),
        "soft labels": arm(lambda images, seed: predict_logits(teacher, images)),
        "teacher in training mode": arm(lambda images, seed: one_training_pass(teacher, images, seed=seed)),
        "logits misaligned": arm(lambda images, seed: misaligned(predict_logits(teacher, images), seed=seed)),
    }


def relu_arms(teacher: nn.Module, *, relu: bool) -> dict[str, Arm]:
    """A tutorial's comparison, hard labels against soft ones on its budget, with or without a ReLU on the logits."""
    train = load_digits().train

    def build() -> nn.Module:
        return ReLULogits(MLP()) if relu else MLP()

    def arm(logits: Tensor | None) -> Arm:
        def run(seed: int) -> Score:
            return _trained(build, train, seed, logits, **TUTORIAL)

        return Arm(run, len(train), None if logits is None else len(train))

    return {"hard labels": arm(None), "soft labels": arm(predict_logits(teacher, train.images))}


def unpaired_gains(comparison: Comparison, arm: str) -> list[float]:
    """What reports of one run per arm with different seeds could claim: each of the arm's runs minus each other seed's.

    Example:
        >>> from kdlab.experiments import compare
        >>> luck = {"a": lambda seed: seed / 10, "b": lambda seed: seed / 10}
        >>> max(unpaired_gains(compare(luck, range(5)), "b"))
        0.4
    """
    scores, baseline = comparison.scores[arm], comparison.scores[comparison.baseline]
    return [a - b for i, a in enumerate(scores) for j, b in enumerate(baseline) if i != j]


def _trained(
    build: Callable[[], nn.Module], train: ImageSet, seed: int, teacher_logits: Tensor | None, **options: Any
) -> Score:
    """One student, from initial weights that follow from the seed, to its accuracy on test and validation images."""
    with seeded(seed):
        student = build()
    options = {**options, "seed": seed, "progress": False}
    if teacher_logits is None:
        fit(student, train.images, train.labels, **options)
    else:
        distill(student, teacher_logits, train.images, train.labels, **options)
    data = load_digits()
    test, validation = (evaluate(student, p.images, p.labels).accuracy for p in (data.test, data.validation))
    return Score(test, validation)
