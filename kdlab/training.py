"""The one training loop of the course, and the few things that go around it.

What most published trainers get wrong is done here once: the teacher is always in evaluation mode and
without gradients, the student is back in training mode after every evaluation, cached teacher logits
are addressed by sample and never by batch position, an augmented student and its teacher see the same view,
and a seed fixes initial weights, batch order, augmentation and dropout, so that two runs with the same seed
are paired.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from numbers import Real
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kdlab.history import BestWeights, History
from kdlab.logit_cache import LogitCache
from kdlab.losses import kd_loss
from kdlab.prediction import Evaluation, evaluate, predict_logits, pseudo_labels
from kdlab.progress import progress as progress_bar

__all__ = [
    "Augment",
    "Evaluation",
    "History",
    "Objective",
    "distill",
    "evaluate",
    "fit",
    "predict_logits",
    "pseudo_labels",
    "seeded",
]

Objective = Callable[[Tensor, Tensor | None, Tensor], Tensor]
"""objective(logits (B, K), labels (B,) or None, rows (B,)) -> scalar; ``rows`` are the samples' numbers."""

Augment = Callable[[Tensor, torch.Generator], Tensor]
"""augment(batch (B, ...), generator) -> (B, ...): a random view of the batch, drawn from ``generator`` alone."""

_AUGMENT_STREAM = 2**40
"""Augmentation draws from a stream of its own, so that batches come in the same order with and without it."""


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
    augment: Augment | None = None,
    validation: tuple[Tensor, Tensor] | None = None,
    patience: int | None = None,
    train_along: Sequence[nn.Module] = (),
    after_step: Callable[[], object] | None = None,
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
        seed: fixes batch order, augmentation and dropout. Initial weights belong to the model: build it under
            ``seeded``.
        objective: ``(logits, labels, rows) -> scalar``; cross-entropy with the labels by default.
        augment: ``(batch, generator) -> batch``, a new random view of every batch, such as
            :func:`kdlab.data.shift_images`; validation images stay as they are.
        validation: images and labels to measure accuracy on after each epoch.
        patience: stop after this many epochs without a better validation accuracy and go back to the
            weights of the best epoch; needs ``validation``.
        train_along: modules that the objective uses beside the model, such as a
            :class:`kdlab.features.Projector`: their parameters are trained too. Forgotten here, they stay random.
        after_step: called without arguments after each step of the optimizer, such as
            ``lambda: apply_mask(model, masks)``, which keeps pruned weights at zero.
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
    if after_step is not None and not callable(after_step):
        raise TypeError(
            f"after_step must be a function without arguments, got {type(after_step).__name__}: was it called?"
        )
    if labels is None and objective is None:
        raise ValueError("labels are missing: without labels pass an objective that needs none, or use distill")
    history = History()
    everything = nn.ModuleList([model, *_checked_modules(train_along)])  # parameters that both share count once
    keeper = BestWeights(everything, patience)
    optimizer = torch.optim.AdamW(everything.parameters(), lr=lr, weight_decay=weight_decay)
    bar = progress_bar(range(epochs), description, show=progress)
    view = _views(augment, seed)
    with seeded(seed), bar:
        order = torch.Generator().manual_seed(seed)
        try:
            for _ in bar:
                rows = torch.randperm(len(images), generator=order)
                batches = rows.split(batch_size)
                everything.train()
                loss = _train_epoch(
                    model, optimizer, images, labels, batches, objective or _hard_labels, view, after_step
                )
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
    everything.eval()
    return history


def distill(
    student: nn.Module,
    teacher: nn.Module | Tensor | LogitCache,
    images: Tensor,
    labels: Tensor | None = None,
    *,
    temperature: float = 4.0,
    alpha: float = 0.9,
    augment: Augment | None = None,
    **options: Any,
) -> History:
    """Train ``student`` with :func:`kdlab.losses.kd_loss`.

    The teacher is asked once, before training. Only with ``augment`` is it asked on every batch, since its answer
    must be for the view that the student sees. Either way it is asked in evaluation mode and without gradients, and
    its modes are restored.

    Args:
        student: returns logits ``(B, K)``.
        teacher: a model; or its logits for exactly these images, ``(N, K)``; or a
            :class:`kdlab.logit_cache.LogitCache`, which is checked against the images.
        images: inputs, shape ``(N, ...)``.
        labels: class indices ``(N,)``; may be ``None`` with ``alpha=1``.
        temperature: T, as in ``kd_loss``.
        alpha: weight of the soft term, as in ``kd_loss``.
        augment: as in :func:`fit`; needs a teacher that is a model.
        **options: those of :func:`fit` (``epochs`` and ``lr`` are required), except ``objective``.

    Returns:
        The history, as :func:`fit`.

    Raises:
        TypeError, ValueError: as ``kd_loss`` and :func:`fit`; logits that do not belong to the images, or were
            computed before augmentation.
    """
    if augment is None:
        teacher_logits = _recorded(teacher, images)

        def objective(logits: Tensor, batch_labels: Tensor | None, rows: Tensor) -> Tensor:
            return kd_loss(logits, teacher_logits[rows], batch_labels, temperature=temperature, alpha=alpha)

        return fit(student, images, labels, objective=objective, **options)
    if not isinstance(teacher, nn.Module):
        raise ValueError(
            f"augment needs the teacher itself, got a {type(teacher).__name__} of recorded answers: they are for the "
            "unchanged images, and the student would see others. Pass the model, or leave augment out"
        )
    answers = torch.empty(0)  # for the view that the student is looking at

    def shared_view(batch: Tensor, generator: torch.Generator) -> Tensor:
        nonlocal answers
        seen = _augmented(augment, batch, generator)
        answers = predict_logits(teacher, seen)
        return seen

    def on_view(logits: Tensor, batch_labels: Tensor | None, rows: Tensor) -> Tensor:
        return kd_loss(logits, answers, batch_labels, temperature=temperature, alpha=alpha)

    return fit(student, images, labels, objective=on_view, augment=shared_view, **options)


def _recorded(teacher: nn.Module | Tensor | LogitCache, images: Tensor) -> Tensor:
    """The teacher's logits for these images, (N, K)."""
    if isinstance(teacher, LogitCache):
        teacher.check(images)
        return teacher.logits
    logits = teacher.detach() if isinstance(teacher, Tensor) else predict_logits(teacher, images)
    if len(logits) != len(images):
        raise ValueError(
            f"teacher logits for {len(logits)} samples, but {len(images)} images: "
            "were the logits cached for another data set or order?"
        )
    return logits


def _hard_labels(logits: Tensor, labels: Tensor | None, rows: Tensor) -> Tensor:
    assert labels is not None
    return F.cross_entropy(logits, labels)


def _views(augment: Augment | None, seed: int) -> Callable[[Tensor], Tensor]:
    """From a batch to what the model sees of it."""
    if augment is None:
        return lambda batch: batch
    if not callable(augment):
        raise TypeError(f"augment must be a function of a batch and a generator, got {augment!r}")
    generator = torch.Generator().manual_seed(seed + _AUGMENT_STREAM)
    return lambda batch: _augmented(augment, batch, generator)


def _augmented(augment: Augment, batch: Tensor, generator: torch.Generator) -> Tensor:
    view = augment(batch, generator)
    if not isinstance(view, Tensor) or len(view) != len(batch):
        got = f"shape {list(view.shape)}" if isinstance(view, Tensor) else type(view).__name__
        raise ValueError(f"augment must return one view per image, {len(batch)} here, got {got}")
    return view


def _train_epoch(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    images: Tensor,
    labels: Tensor | None,
    batches: tuple[Tensor, ...],
    objective: Objective,
    view: Callable[[Tensor], Tensor],
    after_step: Callable[[], object] | None = None,
) -> float:
    """One pass over the batches; returns the mean objective per sample."""
    total = 0.0
    for rows in batches:
        loss = objective(model(view(images[rows])), None if labels is None else labels[rows], rows)
        value = float(loss.detach())
        if not math.isfinite(value):
            return value
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        if after_step is not None:
            after_step()
        total += value * len(rows)
    return total / sum(len(rows) for rows in batches)


def _checked_modules(modules: Sequence[nn.Module]) -> list[nn.Module]:
    if isinstance(modules, nn.Module) and not isinstance(modules, nn.ModuleList):
        raise TypeError(
            f"train_along must be a list of modules, got one {type(modules).__name__}: put it into brackets"
        )
    for module in modules:
        if not isinstance(module, nn.Module):
            raise TypeError(f"train_along must hold modules, got {type(module).__name__}")
    return list(modules)


def _check_options(images: Tensor, labels: Tensor | None, *, epochs: int, lr: float, batch_size: int) -> None:
    if len(images) == 0:
        raise ValueError("images is empty: there is nothing to train on")
    if labels is not None and len(labels) != len(images):
        raise ValueError(f"{len(images)} images but {len(labels)} labels: one label per image")
    if labels is not None and int(labels.min()) < 0:
        raise ValueError(
            f"labels contain {int(labels.min())}: cross-entropy would skip an ignore index such as -100 in silence; "
            "select the labelled images first"
        )
    for name, value in (("epochs", epochs), ("batch_size", batch_size)):
        if not isinstance(value, int) or value < 1:
            raise ValueError(f"{name} must be a whole number of at least 1, got {value!r}")
    if not isinstance(lr, Real) or not 0 < lr < math.inf:
        raise ValueError(f"lr must be a finite number greater than 0, got {lr!r}")
