"""Lesson 02b's suspects: wrong distillation losses, each re-created from a published article or code base.

All take ``(student_logits, teacher_logits, labels, *, temperature, alpha)`` as ``kd_loss`` does, so that
:func:`kdlab.loss_properties.examine` and a training run can take any of them in its place. One of the ten suspects is
right. Do not read on if you want to find the faults yourself.

The study trains a small student with each on the digits: which faults would accuracy have shown?
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache, wraps
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from kdlab.data import load_digits
from kdlab.experiments import Arm, Score
from kdlab.losses import kd_loss
from kdlab.measure import describe
from kdlab.models import MLP, SmallCNN
from kdlab.studies.soft_labels import train_teacher
from kdlab.training import evaluate, fit, predict_logits, seeded

__all__ = ["FAULTS", "RATES", "REGIMES", "SUSPECTS", "WIDTH", "arms", "score", "train"]

Loss = Callable[..., Tensor]


def _asked(formula: Callable[[Tensor, Tensor, float], tuple[Tensor, Tensor]]) -> Loss:
    """A formula on rows ``(N, K)`` as a loss like ``kd_loss``: the only faults left are those of the formula."""

    @wraps(formula)
    def loss(
        student_logits: Tensor,
        teacher_logits: Tensor,
        labels: Tensor | None = None,
        *,
        temperature: float = 4.0,
        alpha: float = 0.9,
    ) -> Tensor:
        if student_logits.shape[-1] < 2:
            raise ValueError("a single logit: its softmax is always 1")
        wide = torch.promote_types(student_logits.dtype, torch.float32)
        z_s, z_t = (z.to(wide).flatten(0, -2) for z in (student_logits, teacher_logits.detach()))
        soft, judged = formula(z_s, z_t, temperature)
        if alpha == 1:
            return soft
        assert labels is not None
        return alpha * soft + (1 - alpha) * F.cross_entropy(judged, labels.flatten())

    return loss


# Each returns its soft term, and the logits that the supervised term is computed from.


@_asked
def suspect_a(z_s: Tensor, z_t: Tensor, T: float) -> tuple[Tensor, Tensor]:
    p, q = (z_t / T).softmax(-1), (z_s / T).softmax(-1)
    return T**2 * F.kl_div(p, q, reduction="batchmean"), z_s


@_asked
def suspect_b(z_s: Tensor, z_t: Tensor, T: float) -> tuple[Tensor, Tensor]:
    p, q = (z_t / T).softmax(-1), (z_s / T).softmax(-1)
    return T**2 * F.kl_div(q, p, reduction="batchmean"), z_s


@_asked
def suspect_c(z_s: Tensor, z_t: Tensor, T: float) -> tuple[Tensor, Tensor]:
    p, log_q = (z_t / T).softmax(-1), (z_s / T).log_softmax(-1)
    return F.kl_div(log_q, p, reduction="batchmean"), z_s


@_asked
def suspect_d(z_s: Tensor, z_t: Tensor, T: float) -> tuple[Tensor, Tensor]:
    log_p, log_q = (z_t / T).log_softmax(-1), (z_s / T).log_softmax(-1)
    return T**2 * (log_p.exp() * (log_p - log_q)).mean(), z_s


@_asked
def suspect_e(z_s: Tensor, z_t: Tensor, T: float) -> tuple[Tensor, Tensor]:
    log_p, log_q = (z_t / T).log_softmax(-1), (z_s / T).log_softmax(-1)
    return T**2 * (log_p.exp() * (log_p - log_q)).sum(-1).mean(), z_s


@_asked
def suspect_f(z_s: Tensor, z_t: Tensor, T: float) -> tuple[Tensor, Tensor]:
    log_p, log_q = (z_t / T).log_softmax(-1), (z_s / T).log_softmax(-1)
    return -(T**2) * (log_q.exp() * (log_q - log_p)).sum(-1).mean(), z_s


@_asked
def suspect_g(z_s: Tensor, z_t: Tensor, T: float) -> tuple[Tensor, Tensor]:
    log_p, log_q = (z_t / T).log_softmax(-1), (z_s / T).log_softmax(-1)
    return T**2 * (log_q.exp() * (log_q - log_p)).sum(-1).mean(), z_t


@_asked
def suspect_h(z_s: Tensor, z_t: Tensor, T: float) -> tuple[Tensor, Tensor]:
    classes = z_s.shape[-1]
    return T**2 * (classes - (z_s / T).exp().sum(-1)).square().mean() / classes, z_s


@_asked
def suspect_i(z_s: Tensor, z_t: Tensor, T: float) -> tuple[Tensor, Tensor]:
    log_p, log_q = (z_t / T).log_softmax(-1), (z_s.softmax(-1) / T).log_softmax(-1)
    return T**2 * (log_p.exp() * (log_p - log_q)).sum(-1).mean(), z_s


@_asked
def suspect_j(z_s: Tensor, z_t: Tensor, T: float) -> tuple[Tensor, Tensor]:
    p, q = (z_t / T).softmax(-1), (z_s / T).softmax(-1)
    return (p - q).square().sum(-1).mean(), z_s


SUSPECTS: dict[str, Loss] = {
    "A": suspect_a, "B": suspect_b, "C": suspect_c, "D": suspect_d, "E": suspect_e,
    "F": suspect_f, "G": suspect_g, "H": suspect_h, "I": suspect_i, "J": suspect_j,
}  # fmt: skip
"""Ten losses in no order: nine faulty, one right."""

FAULTS: dict[str, str] = {
    "A": "kl_div's arguments swapped and no logarithm: free logits end at softmax(p), far too flat",
    "B": "no logarithm: linear in q, so the student is driven to one-hot at the teacher's favourite class",
    "C": "T squared is missing: the soft gradient fades about like 1 over T squared",
    "D": "mean over classes as well: the soft term is K times too small",
    "E": "none",
    "F": "minus reverse KL: it is rewarded for going away from the teacher",
    "G": "the supervised term is computed from the teacher's logits: a dead constant; and the KL is the reverse one",
    "H": "the 'simplified' formula has lost the teacher: any logits whose exponentials sum to K are optimal",
    "I": "double softmax: probabilities are taken for logits, so it never sees a sure student and drives it to one-hot",
    "J": "squared error of probabilities, without T squared: it fades where the student saturates, and as T grows",
}
"""What is wrong with each suspect."""

RATES = tuple(round(1e-3 * 2**step, 6) for step in range(8))  # 0.001 to 0.128
WIDTH = 32
REGIMES: dict[str, int | None] = {"all labels": None, "50 labels": 5}
"""Labelled images per class for the student; None is the whole training set. The teacher saw all 1,000 labels."""

_STEPS, _BATCH = 900, 64


@lru_cache(maxsize=1)
def _teacher() -> SmallCNN:
    """The course's CNN, trained on all 1,000 labels."""
    return train_teacher(load_digits().train)


def train(loss: Loss | None, seed: int, *, lr: float, regime: str) -> MLP:
    """A student trained with ``loss`` at T = 4 and alpha = 0.9; with the labels alone where ``loss`` is None."""
    per_class = REGIMES[regime]
    sees = load_digits().train if per_class is None else load_digits().train.subset(per_class, seed)
    targets = predict_logits(_teacher(), sees.images)
    with seeded(seed):
        student = MLP(in_features=64, hidden=(WIDTH,))

    def objective(logits: Tensor, labels: Tensor | None, rows: Tensor) -> Tensor:
        assert loss is not None
        return loss(logits, targets[rows], labels, temperature=4.0, alpha=0.9)

    epochs = round(_STEPS / -(-len(sees) // _BATCH))
    options: dict[str, Any] = {"epochs": epochs, "lr": lr, "batch_size": _BATCH, "seed": seed, "progress": False}
    fit(student, sees.images, sees.labels, objective=objective if loss else None, **options)
    return student


def arms(regime: str, settings: Mapping[str, dict[str, Any]] | None = None) -> dict[str, Arm]:
    """The right loss first, as baseline, then the labels alone and each faulty suspect; eight learning rates each.

    Args:
        regime: a key of ``REGIMES``.
        settings: per arm the one setting to use; by default each arm brings its tuning grid.
    """
    losses: dict[str, Loss | None] = {"right": kd_loss, "labels alone": None}
    losses |= {name: loss for name, loss in SUSPECTS.items() if FAULTS[name] != "none"}
    known = len(load_digits().train)
    seen = known if REGIMES[regime] is None else 50

    def arm(name: str, loss: Loss | None) -> Arm:
        def run(seed: int, lr: float) -> Score:
            return score(train(loss, seed, lr=lr, regime=regime))

        grid = [settings[name]] if settings else [{"lr": rate} for rate in RATES]
        return Arm(run, student_labels=seen, teacher_labels=None if loss is None else known, settings=grid)

    return {name: arm(name, loss) for name, loss in losses.items()}


def score(student: MLP) -> Score:
    """Accuracy on the test set to report, on the validation set to select by; and what else the test set tells."""
    data = load_digits()
    logits = predict_logits(student, data.test.images)
    return Score(
        test=describe(logits, data.test.labels)["accuracy"],
        validation=evaluate(student, data.validation.images, data.validation.labels).accuracy,
        also={name: value for name, value in describe(logits, data.test.labels).items() if name != "accuracy"},
    )
