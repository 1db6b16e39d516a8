"""Train a student on its teacher's layers as well as on its answers.

A :class:`Match` names one layer of the student, one of the teacher, and the loss between them;
:func:`distill_features` adds any number of matches to :func:`kdlab.losses.kd_loss` and trains with the one loop of the
course. The teacher's features are recorded once, by row, as its logits are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from kdlab.feature_tap import FeatureTap
from kdlab.history import History
from kdlab.logit_checks import check_share, check_temperature, check_weight
from kdlab.losses import kd_loss
from kdlab.modes import evaluating
from kdlab.prediction import predict_logits
from kdlab.training import fit

__all__ = ["Match", "distill_features", "record_features"]


@dataclass(frozen=True)
class Match:
    """One layer of the student, one of the teacher, and what is asked of the two.

    Attributes:
        student_layer: a name of ``student.named_modules()``.
        teacher_layer: a name of ``teacher.named_modules()``.
        loss: ``loss(student_features, teacher_features) -> scalar``, such as
            :func:`kdlab.features.attention_transfer_loss`.
        weight: what it is multiplied by, at least 0. Losses differ in scale by orders of magnitude: tune it.
        projector: applied to the student's features first, trained along, and not deployed.
    """

    student_layer: str
    teacher_layer: str
    loss: Callable[[Tensor, Tensor], Tensor]
    weight: float = 1.0
    projector: nn.Module | None = None

    def __post_init__(self) -> None:
        check_weight("weight", self.weight)
        if not callable(self.loss):
            raise TypeError(f"loss must be a function of two features, got {self.loss!r}: did you call it?")


def record_features(
    model: nn.Module, images: Tensor, layers: Sequence[str], batch_size: int = 512
) -> dict[str, Tensor]:
    """What some layers of a model put out for every image, in evaluation mode and without gradients.

    Args:
        model: its modes are restored after.
        images: shape ``(N, ...)``.
        layers: names as ``model.named_modules()`` has them.
        batch_size: images per run.

    Returns:
        Per layer a tensor ``(N, ...)``.

    Raises:
        ValueError: a name that is no layer's.

    Example:
        >>> from kdlab.models import SmallCNN
        >>> record_features(SmallCNN(4), torch.zeros(5, 1, 8, 8), ["features.4"])["features.4"].shape
        torch.Size([5, 8, 4, 4])
    """
    parts: dict[str, list[Tensor]] = {layer: [] for layer in ([layers] if isinstance(layers, str) else layers)}
    with FeatureTap(model, list(parts)) as tap, evaluating(model):
        for batch in images.split(batch_size):
            model(batch)
            for layer, caught in parts.items():
                caught.append(tap[layer])
    return {layer: torch.cat(caught) for layer, caught in parts.items()}


def distill_features(
    student: nn.Module,
    teacher: nn.Module,
    images: Tensor,
    labels: Tensor | None = None,
    *,
    matches: Sequence[Match],
    temperature: float = 4.0,
    alpha: float = 0.9,
    answers: float = 1.0,
    **options: Any,
) -> History:
    r"""Train ``student`` on its teacher's answers, on labels, and on its layers.

    .. math:: L = w_{\text{answers}} \cdot L_{\text{KD}}(T, \alpha) + \sum_m w_m L_m

    With ``alpha=0`` the first term is the cross-entropy with the labels; with ``answers=0`` the layers alone are
    learned, as in the first stage of FitNets. Projectors of the matches are trained along.

    Args:
        student: returns logits ``(B, K)``.
        teacher: a module; asked once, in evaluation mode and without gradients.
        images: inputs of both, shape ``(N, ...)``.
        labels: class indices ``(N,)``; may be ``None`` with ``alpha=1`` or ``answers=0``.
        matches: at least one :class:`Match`.
        temperature: T, as in ``kd_loss``.
        alpha: weight of the soft term, as in ``kd_loss``.
        answers: weight of the term on logits, at least 0.
        **options: those of :func:`kdlab.training.fit` (``epochs`` and ``lr`` are required), except ``objective``,
            ``augment`` and ``train_along``.

    Returns:
        The history, as :func:`kdlab.training.fit`.

    Raises:
        TypeError, ValueError: as the losses and :func:`kdlab.training.fit`; no matches; a layer that is not there;
            ``augment``, since recorded features are for the unchanged images.
    """
    _check(matches, temperature, alpha, answers, options)
    recorded = record_features(teacher, images, [match.teacher_layer for match in matches])
    logits = predict_logits(teacher, images)
    layers = list(dict.fromkeys(match.student_layer for match in matches))

    def objective(student_logits: Tensor, batch_labels: Tensor | None, rows: Tensor) -> Tensor:
        total = torch.zeros((), device=student_logits.device)
        if answers:
            pair = (student_logits, logits[rows])
            total = total + answers * kd_loss(*pair, batch_labels, temperature=temperature, alpha=alpha)
        for match in matches:
            features = tap[match.student_layer]
            if match.projector is not None:
                features = match.projector(features)
            total = total + match.weight * match.loss(features, recorded[match.teacher_layer][rows])
        return total

    projectors = [match.projector for match in matches if match.projector is not None]
    with FeatureTap(student, layers) as tap:
        history = fit(student, images, labels, objective=objective, train_along=projectors, **options)
    tap.clear()
    return history


def _check(matches: Sequence[Match], temperature: float, alpha: float, answers: float, options: Any) -> None:
    if isinstance(matches, Match) or not matches or not all(isinstance(match, Match) for match in matches):
        raise ValueError(f"matches must be a list of at least one Match, got {matches!r}: for logits alone use distill")
    check_temperature(temperature)
    check_share("alpha", alpha, "it is the share of the soft term, 1 - alpha that of the labels")
    check_weight("answers", answers)
    for name in ("objective", "train_along"):
        if name in options:
            raise TypeError(f"distill_features makes its own {name}; with one of yours use fit and a FeatureTap")
    if options.get("augment") is not None:
        raise ValueError("the teacher's features are recorded for the unchanged images, so augment cannot be used here")
