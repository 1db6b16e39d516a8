"""Lesson 03's experiments: where does distillation help on digits, where does it hurt, and what decides it?

A CNN teaches a small MLP. Within one comparison every arm starts from the same weights, takes the same number of
steps, and is tuned over the same number of settings; run *i* of every arm draws the same images.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import product
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kdlab import measure
from kdlab.data import ImageSet, load_digits
from kdlab.experiments import Arm, Score
from kdlab.initialise import initialise_from_teacher
from kdlab.models import MLP, SmallCNN
from kdlab.studies.soft_labels import train_teacher
from kdlab.training import distill, evaluate, fit, predict_logits, seeded

__all__ = [
    "ALPHAS",
    "GRIDS",
    "MAPS",
    "MAP_WIDTH",
    "REGIMES",
    "TEACHER_WIDTHS",
    "TEMPERATURES",
    "WIDTHS",
    "Regime",
    "arms",
    "capacity_arms",
    "cell_name",
    "grid_arms",
    "run_once",
    "score",
    "seen_by_student",
    "start_arms",
    "student_images",
    "teacher_arms",
    "teacher_of_width",
    "train_student",
    "train_teacher",
]


@dataclass(frozen=True)
class Regime:
    """What a student gets: labelled images per class (None is all of them), and whether the rest comes unlabelled."""

    per_class: int | None
    transfer: bool = False


REGIMES = {
    "50 labels": Regime(5),
    "200 labels": Regime(20),
    "all labels": Regime(None),
    "50 labels, rest unlabelled": Regime(5, transfer=True),
}
TEMPERATURES = (1, 2, 4, 8, 16, 32)
ALPHAS = (0.1, 0.3, 0.5, 0.9, 1.0)
MAPS = {"map: 50 labels": "50 labels", "map: all labels": "all labels"}
"""Name of each map of T and alpha to its regime."""

MAP_WIDTH = 10  # hidden units of the student in the maps: narrow enough to have something to lose
WIDTHS = (4, 6, 10, 16, 32)  # hidden units of the student
TEACHER_WIDTHS = (2, 4, 8, 16, 32)  # channels of the teacher's first block

_WIDTH, _STEPS, _BATCH = 16, 600, 64
_FINE_RATES = tuple(round(1e-3 * 2 ** (step / 2), 6) for step in range(-2, 14))  # 0.0005 to 0.09
_RATES = _FINE_RATES[6:14:2]  # 0.004, 0.008, 0.016, 0.032

GRIDS: dict[str, list[dict[str, float]]] = {
    "rate": [{"lr": rate} for rate in _FINE_RATES],
    "smoothing": [{"lr": rate, "smoothing": share} for rate in _RATES for share in (0.02, 0.05, 0.1, 0.2)],
    "distillation": [{"lr": rate, "temperature": t} for rate in _RATES for t in (1.0, 2.0, 4.0, 8.0)],
    "few rates": [{"lr": rate} for rate in _RATES],
    "every other rate": [{"lr": rate} for rate in _FINE_RATES[::2]],
    "small": [{"lr": rate, "temperature": t} for rate in _RATES[1:3] for t in (1.0, 2.0, 4.0, 8.0)],
}
"""Settings to choose from; arms that are compared bring grids of the same length."""


def train_student(
    images: ImageSet,
    seed: int,
    *,
    lr: float,
    teacher_logits: Tensor | None = None,
    temperature: float = 4.0,
    alpha: float = 0.9,
    smoothing: float = 0.0,
    width: int = _WIDTH,
    steps: int = _STEPS,
    student: nn.Module | None = None,
) -> nn.Module:
    """Train one student: with a teacher's logits for ``images`` if there are any, else on labels alone.

    Args:
        images: what the student sees, with a label each (a true one or a teacher's answer).
        seed: fixes the initial weights of a student made here, and the order of the batches.
        lr: Adam's learning rate.
        teacher_logits: shape ``(N, K)``.
        temperature: T of :func:`kdlab.kd_loss`.
        alpha: weight of its soft term.
        smoothing: share that label smoothing takes, where there is no teacher.
        width: hidden units of a student made here.
        steps: optimiser steps, rounded to whole epochs.
        student: the model to train in place of a new one.
    """
    if student is None:
        with seeded(seed):
            student = MLP(in_features=64, hidden=(width,))
    epochs = max(1, round(steps / -(-len(images) // _BATCH)))
    options: dict[str, Any] = {"epochs": epochs, "lr": lr, "batch_size": _BATCH, "seed": seed, "progress": False}
    if teacher_logits is not None:
        options |= {"temperature": temperature, "alpha": alpha}
        distill(student, teacher_logits, images.images, images.labels, **options)
    else:
        loss: Any = partial(F.cross_entropy, label_smoothing=smoothing)
        options["objective"] = lambda logits, labels, rows: loss(logits, labels)
        fit(student, images.images, images.labels, **options)
    return student


def student_images(regime: Regime, seed: int) -> ImageSet:
    """The labelled images that a student of this regime gets for this seed."""
    rows, train = _labelled_rows(regime.per_class, seed), load_digits().train
    return ImageSet(train.images[rows], train.labels[rows])


def arms(name: str, teacher: SmallCNN, *, settings: Mapping[str, dict[str, Any]] | None = None) -> dict[str, Arm]:
    """The arms of one regime, the baseline ("hard labels") first.

    Where the regime has labels for all its images, hard pseudo-labels are left out: teachers answer their own training
    images as labelled, so that arm would be the baseline under another name.

    Args:
        name: a key of ``REGIMES``.
        teacher: trained on the whole training set.
        settings: per arm the one setting to use; by default each arm brings its tuning grid.
    """
    regime, everything = REGIMES[name], len(load_digits().train)
    informed = _whole_logits(teacher)

    @lru_cache(maxsize=64)
    def uninformed(seed: int) -> Tensor:
        return _whole_logits(train_teacher(student_images(regime, seed), seed))

    def arm(arm_name: str, grid: str, logits: Callable[[int], Tensor] | None, seen: int | None, soft: bool) -> Arm:
        def run(seed: int, **setting: Any) -> Score:
            images, targets = seen_by_student(regime, seed, logits(seed) if logits else None)
            return score(train_student(images, seed, teacher_logits=targets if soft else None, **setting), teacher)

        choices = [settings[arm_name]] if settings else GRIDS[grid]
        return Arm(run, len(student_images(regime, 0)), seen, choices)

    plan = {
        "hard labels": arm("hard labels", "rate", None, None, False),
        "label smoothing": arm("label smoothing", "smoothing", None, None, False),
    }
    teachers: dict[str, tuple[Callable[[int], Tensor], int]] = {"teacher saw all": (lambda seed: informed, everything)}
    if regime.per_class is not None:
        teachers["teacher saw the same"] = (uninformed, len(student_images(regime, 0)))
    for who, (logits, seen) in teachers.items():
        if regime.transfer:
            pseudo = f"hard pseudo-labels, {who}"
            plan[pseudo] = arm(pseudo, "rate", logits, seen, False)
        soft = f"distillation, {who}" if regime.per_class is not None else "distillation"
        plan[soft] = arm(soft, "distillation", logits, seen, True)
    return plan


def cell_name(temperature: float, alpha: float) -> str:
    """The name of one cell's arm in the comparisons that :func:`grid_arms` plans."""
    return f"T = {temperature:g}, alpha = {alpha:g}"


def grid_arms(
    name: str,
    teacher: SmallCNN,
    *,
    width: int = MAP_WIDTH,
    temperatures: Sequence[float] = TEMPERATURES,
    alphas: Sequence[float] = ALPHAS,
) -> dict[str, Arm]:
    """Hard labels, and one arm per T and alpha; each tuned over the same few learning rates.

    Args:
        name: a key of ``REGIMES`` without unlabelled images.
        teacher: trained on the whole training set.
        width: hidden units of the student.
        temperatures: T, one row of the map each.
        alphas: weights of the soft term, one column each.
    """
    logits = _whole_logits(teacher)
    labels = len(student_images(REGIMES[name], 0))
    once = partial(run_once, name=name, width=width)
    plan = {"hard labels": Arm(once, labels, None, GRIDS["few rates"])}
    for temperature, alpha in product(temperatures, alphas):
        run = partial(once, logits=logits, temperature=temperature, alpha=alpha)
        plan[cell_name(temperature, alpha)] = Arm(run, labels, len(logits), GRIDS["few rates"])
    return plan


def run_once(
    seed: int,
    *,
    name: str,
    lr: float,
    logits: Tensor | None = None,
    temperature: float = 4.0,
    alpha: float = 0.9,
    width: int = MAP_WIDTH,
) -> Score:
    """Train one student of a regime and score it; with some arguments fixed, the run of a sweep.

    Args:
        seed: fixes the labelled images, the initial weights and the order of the batches.
        name: a key of ``REGIMES``.
        lr: Adam's learning rate.
        logits: the teacher's, for all training images; without them the student learns from hard labels.
        temperature: T.
        alpha: weight of the soft term.
        width: the student's hidden units.
    """
    images, targets = seen_by_student(REGIMES[name], seed, logits)
    setting: dict[str, Any] = {"temperature": temperature, "alpha": alpha, "width": width}
    return score(train_student(images, seed, lr=lr, teacher_logits=targets, **setting))


def capacity_arms(width: int, teacher: SmallCNN) -> dict[str, Arm]:
    """All labels, a student with this many hidden units: hard labels, distillation at T = 4, at 32, at a tuned T."""
    train, logits = load_digits().train, _whole_logits(teacher)

    def arm(grid: str, targets: Tensor | None, **fixed: Any) -> Arm:
        def run(seed: int, **setting: Any) -> Score:
            return score(train_student(train, seed, teacher_logits=targets, width=width, **fixed, **setting))

        return Arm(run, len(train), None if targets is None else len(train), GRIDS[grid])

    return {
        "hard labels": arm("every other rate", None),
        "T = 4": arm("every other rate", logits, temperature=4.0),
        "T = 32": arm("every other rate", logits, temperature=32.0),
        "T tuned": arm("small", logits),
    }


def teacher_arms() -> dict[str, Arm]:
    """200 labels, the rest unlabelled: one student, teachers of growing width that saw the same 200 labels.

    Every run trains a teacher of its own. ``also["teacher accuracy"]`` is that teacher's accuracy on test images.
    """
    regime = Regime(20, transfer=True)
    test, labels = load_digits().test, len(student_images(regime, 0))

    @lru_cache(maxsize=256)
    def taught(width: int, seed: int) -> tuple[Tensor, float]:
        teacher = teacher_of_width(width, student_images(regime, seed), seed)
        return _whole_logits(teacher), evaluate(teacher, test.images, test.labels).accuracy

    def arm(width: int | None) -> Arm:
        def run(seed: int, lr: float) -> Score:
            logits, quality = taught(width, seed) if width else (None, 0.0)
            images, targets = seen_by_student(regime, seed, logits)
            found = score(train_student(images, seed, lr=lr, teacher_logits=targets))
            return Score(found.test, found.validation, also={"teacher accuracy": quality} if width else {})

        return Arm(run, labels, labels if width else None, GRIDS["every other rate"])

    return {"hard labels": arm(None), **{f"{width}": arm(width) for width in TEACHER_WIDTHS}}


def teacher_of_width(width: int, train: ImageSet, seed: int) -> SmallCNN:
    """A teacher with this many channels in its first block, trained with cross-entropy."""
    with seeded(seed):
        teacher = SmallCNN(width)
    epochs = round(_STEPS / -(-len(train) // 32))
    fit(teacher, train.images, train.labels, epochs=epochs, lr=2e-3, batch_size=32, seed=seed, progress=False)
    return teacher


def start_arms(teacher: SmallCNN, *, steps: int = 64, width: int = 2) -> dict[str, Arm]:
    """A narrow CNN for a few steps: started at random or from the teacher, with hard labels or with distillation.

    Args:
        teacher: of the student's family, trained on the whole training set.
        steps: optimiser steps, rounded to whole epochs.
        width: channels of the student's first block.
    """
    train, logits = load_digits().train, _whole_logits(teacher)

    def arm(from_teacher: bool, targets: Tensor | None) -> Arm:
        def run(seed: int, lr: float) -> Score:
            with seeded(seed):
                student = SmallCNN(width, dropout=0.0)
            if from_teacher:
                initialise_from_teacher(student, teacher)
            train_student(train, seed, lr=lr, teacher_logits=targets, student=student, steps=steps)
            return score(student, teacher)

        seen = len(train) if from_teacher or targets is not None else None
        return Arm(run, len(train), seen, GRIDS["every other rate"])

    return {
        "random, hard labels": arm(False, None),
        "random, distillation": arm(False, logits),
        "from the teacher, hard labels": arm(True, None),
        "from the teacher, distillation": arm(True, logits),
    }


def score(student: nn.Module, teacher: nn.Module | None = None) -> Score:
    """Accuracy on test images to report and on validation images to select by; with a teacher, what else test shows."""
    data = load_digits()
    logits = predict_logits(student, data.test.images)
    also: dict[str, float] = {}
    if teacher is not None:
        found = measure.describe(logits, data.test.labels, _test_logits(teacher))
        also = {name: round(value, 6) for name, value in found.items() if name != "accuracy"}
    validation = predict_logits(student, data.validation.images)
    return Score(_share_right(logits, data.test.labels), _share_right(validation, data.validation.labels), also)


def _share_right(logits: Tensor, labels: Tensor) -> float:
    return int((logits.argmax(dim=1) == labels).sum()) / len(labels)


def seen_by_student(regime: Regime, seed: int, logits: Tensor | None) -> tuple[ImageSet, Tensor | None]:
    """What one student sees: its images with a label each, and the teacher's logits for just these images.

    Args:
        regime: what the student gets.
        seed: which labelled images.
        logits: the teacher's, for all training images; None without a teacher.
    """
    rows = _labelled_rows(regime.per_class, seed)
    train = load_digits().train
    if logits is None or not regime.transfer:
        return student_images(regime, seed), None if logits is None else logits[rows]
    labels = logits.argmax(dim=1)  # the teacher's answers ...
    labels[rows] = train.labels[rows]  # ... and the truth where the student has it
    return ImageSet(train.images, labels), logits


@lru_cache(maxsize=128)
def _labelled_rows(per_class: int | None, seed: int) -> Tensor:
    """Rows of the training images whose labels the student has."""
    train = load_digits().train
    rows = torch.arange(len(train))
    return rows if per_class is None else ImageSet(rows, train.labels).subset(per_class, seed).images


def _whole_logits(teacher: nn.Module) -> Tensor:
    return predict_logits(teacher, load_digits().train.images)


@lru_cache(maxsize=2)
def _test_logits(teacher: nn.Module) -> Tensor:
    return predict_logits(teacher, load_digits().test.images)
