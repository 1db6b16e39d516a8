"""What a distillation lab computes: the target, one paired run, and what several runs allow to say.

A run trains two students that differ in nothing but the teacher: same initial weights, same images,
same batches, same number of steps. Their difference is the teacher's effect for that seed.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean

import torch
from torch import Tensor, nn

from kdlab.data.images import ImageSet
from kdlab.experiments import MINIMUM_SEEDS, contrast
from kdlab.losses import soft_targets
from kdlab.modes import threads
from kdlab.training import distill, evaluate, seeded

__all__ = ["Settings", "Summary", "TrainingStopped", "Try", "mixed_target", "rows_for", "summarize", "train_pair"]


class TrainingStopped(RuntimeError):
    """A student's training ended before its last step, so its accuracy would compare nothing."""


@dataclass(frozen=True)
class Settings:
    """What a learner chooses: temperature T, weight alpha of the soft term, number of labelled images."""

    temperature: float
    alpha: float
    labels: int

    def __str__(self) -> str:
        return f"T = {self.temperature:g}, α = {self.alpha:g}, {self.labels:,} labels"


@dataclass(frozen=True)
class Try:
    """One pair of students.

    Attributes:
        number: 1 for the first try of a lab.
        settings: what was chosen.
        seed: fixes the images drawn, the initial weights and the order of the batches.
        hard: validation accuracy of the student that learned from labels alone, in [0, 1].
        soft: the same for the student that also learned from the teacher.
    """

    number: int
    settings: Settings
    seed: int
    hard: float
    soft: float

    @property
    def difference(self) -> float:
        """What the teacher changed: ``soft - hard``."""
        return self.soft - self.hard


@dataclass(frozen=True)
class Summary:
    """Tries that share their settings.

    Attributes:
        settings: theirs.
        n: how many.
        mean: mean difference, with teacher minus labels only.
        interval: its 95 % paired t interval; ``None`` below five tries.
        verdict: "better", "worse" or "cannot tell"; ``None`` below five tries.
    """

    settings: Settings
    n: int
    mean: float
    interval: tuple[float, float] | None
    verdict: str | None

    @property
    def missing(self) -> int:
        """How many more tries an interval needs."""
        return max(0, MINIMUM_SEEDS - self.n)


def mixed_target(teacher_logits: Tensor, label: int, *, temperature: float, alpha: float) -> tuple[Tensor, Tensor]:
    """The two parts of what a student is asked to match for one image.

    Hard part ``(1 - alpha) * onehot(label)``, soft part ``alpha * softmax(teacher_logits / T)``; together they
    sum to 1. The loss compares the soft part with the student's answer *at the same temperature*, and the hard
    part with its answer at temperature 1, so for T other than 1 the sum is a picture of the weights and not the
    target of a single cross-entropy.

    Args:
        teacher_logits: shape ``(K,)``.
        label: the image's class.
        temperature: T, as in :func:`kdlab.losses.kd_loss`.
        alpha: weight of the soft part, from 0 to 1.

    Returns:
        hard part and soft part, each of shape ``(K,)``.

    Example:
        >>> hard, soft = mixed_target(torch.zeros(4), 1, temperature=2.0, alpha=0.5)
        >>> hard.tolist(), soft.tolist()
        ([0.0, 0.5, 0.0, 0.0], [0.125, 0.125, 0.125, 0.125])
    """
    hard = torch.zeros_like(teacher_logits)
    hard[label] = 1 - alpha
    return hard, alpha * soft_targets(teacher_logits, temperature)


def rows_for(train: ImageSet, labels: int, seed: int) -> Tensor:
    """Row numbers of the ``labels`` images that a student may see: classes in equal shares, or all there are.

    Raises:
        ValueError: a number that cannot be shared out equally and is not the whole set.
    """
    if labels == len(train):
        return torch.arange(labels)
    per_class, rest = divmod(labels, train.num_classes)
    if rest:
        raise ValueError(f"labels must be a multiple of {train.num_classes} classes, or all {len(train)}, got {labels}")
    numbered = ImageSet(torch.arange(len(train)), train.labels)  # rows in place of images: the same draw, traceable
    return numbered.subset(per_class, seed).images


def train_pair(
    train: ImageSet,
    validation: ImageSet,
    teacher_logits: Tensor,
    settings: Settings,
    *,
    seed: int,
    make_student: Callable[[], nn.Module],
    steps: int = 600,
    lr: float = 0.01,
    batch_size: int = 64,
    report: Callable[[str], None] = lambda stage: None,
) -> tuple[float, float]:
    """Train two students that differ in the teacher alone, and return both validation accuracies.

    Args:
        train: images with labels to learn from.
        validation: images with labels to measure accuracy on.
        teacher_logits: for all of ``train``, shape ``(N, K)``.
        settings: temperature, alpha and how many labelled images both students see.
        seed: fixes which images, the initial weights and the order of the batches.
        make_student: builds an untrained student.
        steps: steps of Adam for each student, rounded to whole epochs.
        lr: Adam's learning rate, the same for both.
        batch_size: samples per step, the same for both.
        report: told what is being trained, for a progress line.

    Returns:
        accuracy with labels only, accuracy with the teacher.

    Raises:
        TrainingStopped: a loss that diverged, or an interrupt.
    """
    rows = rows_for(train, settings.labels, seed)
    with seeded(seed):
        untrained = make_student()
    epochs = max(1, round(steps / math.ceil(len(rows) / batch_size)))
    accuracies = []
    for stage, alpha in (("labels only", 0.0), ("with the teacher", settings.alpha)):
        report(stage)
        student = copy.deepcopy(untrained)
        with threads(1):
            history = distill(
                student,
                teacher_logits[rows],
                train.images[rows],
                train.labels[rows],
                temperature=settings.temperature,
                alpha=alpha,
                epochs=epochs,
                lr=lr,
                batch_size=batch_size,
                seed=seed,
                progress=False,
            )
        if history.stopped != "finished":
            raise TrainingStopped(f"the student trained {stage} {history.stopped} after {history.epochs} epochs")
        accuracies.append(evaluate(student, validation.images, validation.labels).accuracy)
    return accuracies[0], accuracies[1]


def summarize(tries: Sequence[Try]) -> list[Summary]:
    """One summary per setting, in the order in which the settings were first tried."""
    groups: dict[Settings, list[float]] = {}
    for one in tries:
        groups.setdefault(one.settings, []).append(one.difference)
    return [_summary(settings, differences) for settings, differences in groups.items()]


def _summary(settings: Settings, differences: list[float]) -> Summary:
    if len(differences) < MINIMUM_SEEDS:
        return Summary(settings, len(differences), fmean(differences), None, None)
    found = contrast(differences)
    return Summary(settings, len(differences), found.difference, found.interval, found.verdict)
