"""What a trained model answers: logits, hard labels, and how they score. Safe whatever mode the model is in."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kdlab.modes import evaluating

__all__ = ["Evaluation", "evaluate", "predict_logits", "pseudo_labels"]


@dataclass(frozen=True)
class Evaluation:
    """How a model does on labelled data.

    Attributes:
        accuracy: share of samples whose largest logit is at the label, in [0, 1].
        nll: mean negative log-likelihood of the labels, in nats.
    """

    accuracy: float
    nll: float


def predict_logits(model: nn.Module, images: Tensor, batch_size: int = 2048) -> Tensor:
    """The model's logits ``(N, K)`` in evaluation mode and without gradients; its modes are restored after."""
    with evaluating(model):
        return torch.cat([model(batch) for batch in images.split(batch_size)])


def evaluate(model: nn.Module, images: Tensor, labels: Tensor) -> Evaluation:
    """Accuracy and negative log-likelihood of ``model`` on labelled data; the model's mode is restored."""
    logits = predict_logits(model, images)
    accuracy = float((logits.argmax(dim=-1) == labels).float().mean())
    return Evaluation(accuracy=accuracy, nll=float(F.cross_entropy(logits, labels)))


def pseudo_labels(teacher: nn.Module | Tensor, images: Tensor | None = None) -> Tensor:
    """The teacher's hard answers: the class of the largest logit, ``(N,)`` int64; of equals, the first.

    A student that is trained on them gets one class per image and nothing about the others, which makes them the
    control for soft targets; and they need no true label.

    Args:
        teacher: a model, or its logits ``(N, K)``.
        images: inputs for a model, shape ``(N, ...)``; none for logits.

    Raises:
        TypeError: a model without images, or logits with them.
        ValueError: logits that are not ``(N, K)`` or hold NaN.

    Example:
        >>> pseudo_labels(torch.tensor([[2.0, 0.5], [0.1, 0.3]]))
        tensor([0, 1])
    """
    logits = logits_of(teacher, images, name="teacher")
    return logits.argmax(dim=-1)


def logits_of(source: nn.Module | Tensor, images: Tensor | None, *, name: str) -> Tensor:
    """Logits ``(N, K)`` of a model on images, or the logits that were passed; checked for shape and NaN."""
    if isinstance(source, Tensor) == (images is not None):
        what = "is logits, so images must not be passed" if images is not None else "is a model, so it needs images"
        raise TypeError(f"{name} {what}")
    logits = source.detach() if isinstance(source, Tensor) else predict_logits(source, images)  # type: ignore[arg-type]
    if logits.dim() != 2 or not logits.is_floating_point():
        raise ValueError(f"{name}'s logits must be (N, K) floats, got shape {list(logits.shape)} of {logits.dtype}")
    if logits.isnan().any():
        raise ValueError(f"{name}'s logits hold NaN in {int(logits.isnan().any(dim=-1).sum())} of {len(logits)} rows")
    return logits
