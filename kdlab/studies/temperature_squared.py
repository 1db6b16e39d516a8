"""Lesson 02a's experiment: what does it cost to forget the factor T squared?

Five labels per class, a teacher that saw all 1,000, T = 8 and T = 32. With labels in the loss the factor decides how
loud the teacher is; without them it scales the whole loss, and Adam does not feel a constant scale.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch.nn.functional as F
from torch import Tensor

from kdlab.data import load_digits
from kdlab.experiments import Arm, Score
from kdlab.models import MLP
from kdlab.studies.soft_labels import score, train_teacher
from kdlab.training import fit, predict_logits, seeded

__all__ = ["CASES", "PER_CLASS", "RATES", "arms", "train"]

CASES = {
    "T = 8": (8.0, 0.9, 900),
    "T = 32": (32.0, 0.9, 900),
    "T = 32, a short run": (32.0, 0.9, 50),
    "T = 32, teacher alone": (32.0, 1.0, 900),
}
"""Name of a comparison to its temperature, its alpha and the number of steps, each on all fifty images."""

PER_CLASS = 5
RATES = tuple(round(1e-3 * 2**step, 6) for step in range(-1, 7))  # 0.0005 to 0.064


def train(seed: int, *, lr: float, teacher_logits: Tensor | None, case: str, squared: bool = True) -> MLP:
    """A student of fifty images; ``teacher_logits`` are those of all training images, None for the labels alone.

    Args:
        seed: fixes the fifty images, the initial weights and the order of the batches.
        lr: Adam's learning rate.
        teacher_logits: shape ``(1000, 10)``.
        case: a key of ``CASES``.
        squared: whether the soft term carries the factor T squared.
    """
    temperature, alpha, steps = CASES[case]
    everything = load_digits().train
    few = everything.subset(PER_CLASS, seed)
    rows = (few.images.flatten(1)[:, None] == everything.images.flatten(1)).all(dim=2).float().argmax(dim=1)
    with seeded(seed):
        student = MLP(in_features=64, hidden=(32,))

    def objective(logits: Tensor, labels: Tensor | None, batch: Tensor) -> Tensor:
        assert labels is not None
        if teacher_logits is None:
            return F.cross_entropy(logits, labels)
        log_p, log_q = (z / temperature for z in (teacher_logits[rows[batch]], logits))
        kl = F.kl_div(log_q.log_softmax(-1), log_p.log_softmax(-1), reduction="batchmean", log_target=True)
        factor = temperature**2 if squared else 1.0
        return alpha * factor * kl + (1 - alpha) * F.cross_entropy(logits, labels)

    fit(student, few.images, few.labels, epochs=steps, lr=lr, seed=seed, objective=objective, progress=False)
    return student


def arms(case: str, settings: Mapping[str, dict[str, Any]] | None = None) -> dict[str, Arm]:
    """With the factor (the baseline), without it, and where labels take part, the labels alone; eight rates each."""
    alpha = CASES[case][1]
    everything = load_digits().train
    known = predict_logits(train_teacher(everything), everything.images)

    def arm(name: str, teacher_logits: Tensor | None, squared: bool) -> Arm:
        def run(seed: int, lr: float) -> Score:
            return score(train(seed, lr=lr, teacher_logits=teacher_logits, squared=squared, case=case))

        grid = [settings[name]] if settings else [{"lr": rate} for rate in RATES]
        seen = None if teacher_logits is None else len(everything)
        hard = 10 * PER_CLASS if alpha < 1 or teacher_logits is None else 0
        return Arm(run, student_labels=hard, teacher_labels=seen, settings=grid)

    plan = {"with T squared": arm("with T squared", known, True), "without": arm("without", known, False)}
    if alpha < 1:
        plan["labels alone"] = arm("labels alone", None, False)
    return plan
