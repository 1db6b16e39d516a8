"""The one training loop of the course, and the few things that go around it.

What most published trainers get wrong is done here once: the teacher is always in evaluation mode and
without gradients, the student is back in training mode after every evaluation, cached teacher logits
are addressed by sample and never by batch position, and a seed fixes initial weights, batch order and
dropout, so that two runs with the same seed are paired.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from numbers import Real
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kdlab.losses import kd_loss
from kdlab.modes import evaluating
from kdlab.progress import progress as progress_bar

__all__ = ["Evaluation", "History", "Objective", "distill", "evaluate", "fit", "predict_logits", "seeded"]

Objective = Callable[[Tensor, Tensor | None, Tensor], Tensor]
"""objective(logits (B, K), labels (B,) or None, rows (B,)) -> scalar; ``rows`` are the samples' numbers."""


@dataclass
class History:
    """What happened in one call of :func:`fit`.

    Attributes:
        train_loss: mean objective per epoch, in nats for the losses of this package.
        validation_accuracy: per epoch, share in [0, 1]; empty without a validation set.
        stopped: why training ended: ``"finished"``, ``"patience"``, ``"interrupted"`` or ``"diverged"``.
    """

    train_loss: list[float] = field(default_factory=list)
    validation_accuracy: list[float] = field(default_factory=list)
    stopped: str = "finished"

    @property
    def epochs(self) -> int:
        """How many epochs were completed."""
        return len(self.train_loss)

    @property
    def best_epoch(self) -> int | None:
        """The epoch (from 0) with the best validation accuracy, the first of equals; None without validation."""
        if not self.validation_accuracy:
            return None
        return max(range(len(self.validation_accuracy)), key=self.validation_accuracy.__getitem__)


@dataclass(frozen=True)
class Evaluation:
    """How a model does on labelled data.

    Attributes:
        accuracy: share of samples whose largest logit is at the label, in [0, 1].
        nll: mean negative log-likelihood of the labels, in nats.
    """

    accuracy: float
    nll: float


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Run a block with torch's CPU random numbers fixed by ``seed``; the state outside is untouched.

    Example:
        >>> with seeded(0):
        ...     first = torch.rand(1)
        >>> with seeded(0):
        ...     bool(torch.rand(1) == first)
        True
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def fit(
    model: nn.Module,
    images: Tensor,
    labels: Tensor | None,
    *,
    epochs: int,
    lr: float,
    batch_size: int = 64,
    weight_decay: float = 0.0,
    seed: int = 0,
    objective: Objective | None = None,
    validation: tuple[Tensor, Tensor] | None = None,
    patience: int | None = None,
    progress: bool = True,
    description: str = "training",
) -> History:
    """Train ``model`` in place with Adam, and return what happened.

    Args:
        model: returns logits ``(B, K)``. It is left in evaluation mode.
        images: inputs, shape ``(N, ...)``.
        labels: class indices ``(N,)``; ``None`` if the objective needs none.
        epochs: passes over the data, at least 1.
        lr: Adam's learning rate, greater than 0.
        batch_size: samples per step, drawn without replacement; the last batch of an epoch may be smaller.
        weight_decay: decoupled (AdamW); 0 is plain Adam.
        seed: fixes batch order and dropout. Initial weights belong to the model: build it under ``seeded``.
        objective: ``(logits, labels, rows) -> scalar``; cross-entropy with the labels by default.
        validation: images and labels to measure accuracy on after each epoch.
        patience: stop after this many epochs without a better validation accuracy and go back to the
            weights of the best epoch; needs ``validation``.
        progress: show a progress bar if training takes longer than a moment.
        description: the bar's label.

    Returns:
        The history. Interrupting the kernel returns the history so far; a loss that is no longer finite
        ends the training with ``stopped == "diverged"`` and a warning.

    Raises:
        TypeError, ValueError: an argument of the wrong kind or out of range.

    Example:
        >>> with seeded(0):
        ...     model = nn.Linear(2, 2)
        >>> history = fit(model, torch.eye(2), torch.tensor([0, 1]), epochs=3, lr=0.1)
        >>> history.epochs, history.stopped
        (3, 'finished')
    """
    _check_options(images, labels, epochs=epochs, lr=lr, batch_size=batch_size)
    if patience is not None and validation is None:
        raise ValueError(f"patience={patience} needs validation data to judge by; test data are not for this")
    if labels is None and objective is None:
        raise ValueError("labels are missing: without labels pass an objective that needs none, or use distill")
    history = History()
    keeper = _BestWeights(model, patience)
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=weight_decay)
    bar = progress_bar(range(epochs), description, show=progress)
    with seeded(seed), bar:
        order = torch.Generator().manual_seed(seed)
        try:
            for _ in bar:
                rows = torch.randperm(len(images), generator=order)
                loss = _train_epoch(model, optimizer, images, labels, rows.split(batch_size), objective or _hard_labels)
                if not math.isfinite(loss):
                    history.stopped = "diverged"
                    warnings.warn(f"the loss became {loss} in epoch {history.epochs}: lower lr={lr}?", stacklevel=2)
                    break
                history.train_loss.append(loss)
                if validation is not None:
                    history.validation_accuracy.append(evaluate(model, *validation).accuracy)
                    if keeper.is_spent(history):
                        history.stopped = "patience"
                        break
        except KeyboardInterrupt:
            history.stopped = "interrupted"
    keeper.restore()
    model.eval()
    return history


def distill(
    student: nn.Module,
    teacher: nn.Module | Tensor,
    images: Tensor,
    labels: Tensor | None = None,
    *,
    temperature: float = 4.0,
    alpha: float = 0.9,
    **options: Any,
) -> History:
    """Train ``student`` with :func:`kdlab.losses.kd_loss` against a teacher that is computed once.

    Args:
        student: returns logits ``(B, K)``.
        teacher: a model, evaluated once on ``images``, or its logits for exactly these images, ``(N, K)``.
        images: inputs, shape ``(N, ...)``; they must not be augmented, since the teacher sees them once.
        labels: class indices ``(N,)``; may be ``None`` with ``alpha=1``.
        temperature: T, as in ``kd_loss``.
        alpha: weight of the soft term, as in ``kd_loss``.
        **options: those of :func:`fit` (``epochs`` and ``lr`` are required), except ``objective``.

    Returns:
        The history, as :func:`fit`.

    Raises:
        TypeError, ValueError: as ``kd_loss`` and :func:`fit`; logits whose number is not that of the images.
    """
    teacher_logits = teacher.detach() if isinstance(teacher, Tensor) else predict_logits(teacher, images)
    if len(teacher_logits) != len(images):
        raise ValueError(
            f"teacher logits for {len(teacher_logits)} samples, but {len(images)} images: "
            "were the logits cached for another data set or order?"
        )

    def objective(logits: Tensor, batch_labels: Tensor | None, rows: Tensor) -> Tensor:
        return kd_loss(logits, teacher_logits[rows], batch_labels, temperature=temperature, alpha=alpha)

    return fit(student, images, labels, objective=objective, **options)


def predict_logits(model: nn.Module, images: Tensor, batch_size: int = 2048) -> Tensor:
    """The model's logits ``(N, K)`` in evaluation mode and without gradients; its modes are restored after."""
    with evaluating(model):
        return torch.cat([model(batch) for batch in images.split(batch_size)])


def evaluate(model: nn.Module, images: Tensor, labels: Tensor) -> Evaluation:
    """Accuracy and negative log-likelihood of ``model`` on labelled data; the model's mode is restored."""
    logits = predict_logits(model, images)
    accuracy = float((logits.argmax(dim=-1) == labels).float().mean())
    return Evaluation(accuracy=accuracy, nll=float(F.cross_entropy(logits, labels)))


def _hard_labels(logits: Tensor, labels: Tensor | None, rows: Tensor) -> Tensor:
    assert labels is not None
    return F.cross_entropy(logits, labels)


def _train_epoch(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    images: Tensor,
    labels: Tensor | None,
    batches: tuple[Tensor, ...],
    objective: Objective,
) -> float:
    """One pass over the batches; returns the mean objective per sample."""
    model.train()
    total = 0.0
    for rows in batches:
        loss = objective(model(images[rows]), None if labels is None else labels[rows], rows)
        value = float(loss.detach())
        if not math.isfinite(value):
            return value
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        total += value * len(rows)
    return total / sum(len(rows) for rows in batches)


class _BestWeights:
    """Keeps the weights of the best epoch when ``patience`` asks for it."""

    def __init__(self, model: nn.Module, patience: int | None) -> None:
        if patience is not None and patience < 1:
            raise ValueError(f"patience must be at least 1 epoch, got {patience}")
        self.model, self.patience = model, patience
        self.state: dict[str, Tensor] | None = None

    def is_spent(self, history: History) -> bool:
        """Note the weights if this epoch is the best so far; tell whether patience has run out."""
        if self.patience is None:
            return False
        last, best = history.epochs - 1, history.best_epoch
        if best == last:
            self.state = {name: value.clone() for name, value in self.model.state_dict().items()}
        return best is not None and last - best >= self.patience

    def restore(self) -> None:
        if self.state is not None:
            self.model.load_state_dict(self.state)


def _check_options(images: Tensor, labels: Tensor | None, *, epochs: int, lr: float, batch_size: int) -> None:
    if len(images) == 0:
        raise ValueError("images is empty: there is nothing to train on")
    if labels is not None and len(labels) != len(images):
        raise ValueError(f"{len(images)} images but {len(labels)} labels: one label per image")
    for name, value in (("epochs", epochs), ("batch_size", batch_size)):
        if not isinstance(value, int) or value < 1:
            raise ValueError(f"{name} must be a whole number of at least 1, got {value!r}")
    if not isinstance(lr, Real) or not 0 < lr < math.inf:
        raise ValueError(f"lr must be a finite number greater than 0, got {lr!r}")
