"""Lesson 02b's experiment: does it matter which divergence the student minimises?

Five labels per class and a teacher that saw all 1,000: the regime in which lesson 01 found a gain, so that there is
something to lose. Every loss takes the place of the soft term at T = 4 and alpha = 0.9 and is tuned over the same
eight learning rates; a weight of the soft term is a choice as well, so each is first scaled to the size that the
KL divergence's gradient has on an untrained student.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from kdlab.data import load_digits
from kdlab.experiments import Arm, Score
from kdlab.losses import dist_loss, js_loss, kd_loss, mse_logit_loss, reverse_kl_loss
from kdlab.models import MLP
from kdlab.studies.soft_labels import score, train_teacher
from kdlab.training import fit, predict_logits, seeded

__all__ = ["ALPHA", "RATES", "RELATIVES", "TEMPERATURE", "arms", "scales"]

TEMPERATURE, ALPHA, PER_CLASS = 4.0, 0.9, 5
RATES = tuple(round(1e-3 * 2**step, 6) for step in range(-1, 7))  # 0.0005 to 0.064
_EPOCHS = 900  # one batch of all fifty images each

RELATIVES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "forward KL": lambda s, t: kd_loss(s, t, temperature=TEMPERATURE, alpha=1.0),
    "reverse KL": lambda s, t: reverse_kl_loss(s, t, temperature=TEMPERATURE),
    "JS": lambda s, t: js_loss(s, t, temperature=TEMPERATURE),
    "logit MSE": mse_logit_loss,
    "DIST": lambda s, t: dist_loss(s, t, temperature=TEMPERATURE),
}
"""The soft terms that are compared."""


def _few(seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Fifty images, their labels and the informed teacher's logits."""
    few = load_digits().train.subset(PER_CLASS, seed)
    return few.images, few.labels, predict_logits(_teacher(), few.images)


@lru_cache(maxsize=1)
def _teacher() -> Any:
    return train_teacher(load_digits().train)


@lru_cache(maxsize=1)
def scales() -> dict[str, float]:
    """Factor of each loss: norm of forward KL's gradient over that of its own, for untrained students of ten seeds."""
    totals = dict.fromkeys(RELATIVES, 0.0)
    for seed in range(10):
        images, _, known = _few(seed)
        with seeded(seed):
            logits = MLP(in_features=64, hidden=(32,))(images).detach().requires_grad_()
        for name, loss in RELATIVES.items():
            totals[name] += float(torch.autograd.grad(loss(logits, known), logits)[0].norm())
    return {name: totals["forward KL"] / total for name, total in totals.items()}


def arms(settings: Mapping[str, dict[str, Any]] | None = None) -> dict[str, Arm]:
    """Forward KL first, as the baseline, then its relatives and the labels alone."""

    def arm(name: str) -> Arm:
        def run(seed: int, lr: float) -> Score:
            images, labels, known = _few(seed)
            with seeded(seed):
                student = MLP(in_features=64, hidden=(32,))

            def objective(logits: Tensor, batch_labels: Tensor | None, rows: Tensor) -> Tensor:
                assert batch_labels is not None
                hard = F.cross_entropy(logits, batch_labels)
                if name not in RELATIVES:
                    return hard
                return ALPHA * scales()[name] * RELATIVES[name](logits, known[rows]) + (1 - ALPHA) * hard

            fit(student, images, labels, epochs=_EPOCHS, lr=lr, seed=seed, objective=objective, progress=False)
            return score(student)

        grid = [settings[name]] if settings else [{"lr": rate} for rate in RATES]
        seen = len(load_digits().train) if name in RELATIVES else None
        return Arm(run, student_labels=10 * PER_CLASS, teacher_labels=seen, settings=grid)

    return {name: arm(name) for name in [*RELATIVES, "labels alone"]}
