"""Who teaches: several teachers, a chain of them, the student itself, or peers.

This module is the one face of the idea; what it names lives in four files, one per question:

* ``ensemble``: several teachers as one. :func:`average_logits` and :func:`average_probabilities` combine them,
  :func:`disagreement` measures them, :func:`label_confidence_weights` and :func:`agreement_weights` say whom to
  believe;
* ``rowwise``: one temperature or weight per sample. :func:`rowwise_kd_loss`, :func:`standardize`,
  :func:`matched_temperature`;
* ``mutual``: no teacher. :func:`mutual_loss`, :class:`Cohort`, :func:`train_mutually`;
* here: one teacher after the other. :func:`born_again` and :func:`distill_chain`.

Conventions are those of ``losses``: student first, the teacher detached, natural logarithms, float32 or wider.

A teacher that sees another view of the same samples (both halves of a picture, a finer one) needs no function of its
own: pass its logits to :func:`kdlab.training.distill` with the student's views as images; see ``kdlab.data.views``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor, nn

from kdlab.ensemble import (
    agreement_weights,
    average_logits,
    average_probabilities,
    disagreement,
    label_confidence_weights,
)
from kdlab.history import History
from kdlab.logit_cache import LogitCache
from kdlab.logit_checks import check_share, check_temperature
from kdlab.mutual import Cohort, have_weights_in_common, mutual_loss, train_mutually
from kdlab.rowwise import matched_temperature, rowwise_kd_loss, standardize
from kdlab.training import distill, fit, seeded

__all__ = [
    "Cohort",
    "agreement_weights",
    "average_logits",
    "average_probabilities",
    "born_again",
    "disagreement",
    "distill_chain",
    "label_confidence_weights",
    "matched_temperature",
    "mutual_loss",
    "rowwise_kd_loss",
    "standardize",
    "train_mutually",
]

Maker = Callable[[], nn.Module]
"""maker() -> a new model with random initial weights."""


def born_again(
    make_student: Maker,
    images: Tensor,
    labels: Tensor,
    *,
    generations: int,
    temperature: float = 4.0,
    alpha: float = 0.9,
    seed: int = 0,
    **options: Any,
) -> list[nn.Module]:
    """Born-again networks: each generation is distilled from the one before, of the same architecture.

    Generation 0 learns from the labels alone, so ``generations=1`` is plain training. A later generation is no smaller
    than its teacher: whatever it gains, it gains from the soft targets. An ensemble of the generations, by
    :func:`average_probabilities` of their logits, is what the paper calls BANE.

    References:
        Furlanello, Lipton, Tschannen, Itti, Anandkumar (2018), Born Again Neural Networks, arXiv 1805.04770.

    Args:
        make_student: builds a new model that returns logits ``(B, K)``; called under ``seeded(seed + g)`` for
            generation g, which is also the seed of its training.
        images: inputs, shape ``(N, ...)``.
        labels: class indices ``(N,)``.
        generations: how many models, generation 0 included, at least 1.
        temperature: T, as in ``kd_loss``.
        alpha: weight of the soft term, as in ``kd_loss``.
        seed: of generation 0; the next ones count up.
        **options: those of :func:`kdlab.training.fit` (``epochs`` and ``lr`` are required), except ``objective``; the
            same for every generation.

    Returns:
        The models in order, in evaluation mode.

    Raises:
        TypeError, ValueError: as ``fit`` and ``distill``; ``make_student`` returned the same model twice.
        RuntimeError: a generation diverged: the next would learn from half a run.
        KeyboardInterrupt: training was interrupted, for the same reason.

    Example:
        >>> import torch
        >>> images, labels = 4 * torch.eye(2), torch.tensor([0, 1])
        >>> models = born_again(lambda: nn.Linear(2, 2), images, labels, generations=3, epochs=2, lr=0.1)
        >>> len(models)
        3
    """
    _check_whole("generations", generations, least=1)
    _check_common(temperature, alpha, seed, options)
    if labels is None:
        raise ValueError("labels are missing: generation 0 has no teacher, so it learns from labels")
    models: list[nn.Module] = []
    for number in range(generations):
        name = f"generation {number}"
        model = _newborn(make_student, seed + number, models, name)
        run = {"description": name, **options, "seed": seed + number}
        if models:
            history = distill(model, models[-1], images, labels, temperature=temperature, alpha=alpha, **run)
        else:
            history = fit(model, images, labels, **run)
        _check_complete(history, name)
        models.append(model)
    return models


def distill_chain(
    teacher: nn.Module | Tensor | LogitCache,
    makers: Sequence[Maker],
    images: Tensor,
    labels: Tensor | None = None,
    *,
    temperature: float = 4.0,
    alpha: float = 0.9,
    seed: int = 0,
    **options: Any,
) -> list[nn.Module]:
    """Teacher assistants: each model is distilled from the one before, the first from the teacher.

    With makers of falling size the assistants bridge the gap between a large teacher and a small student. With one
    maker it is :func:`kdlab.training.distill`. The chain takes as many trainings as it has makers, so its fair
    rival is a student with that budget.

    References:
        Mirzadeh, Farajtabar, Li, Levine, Matsukawa, Ghasemzadeh (2020), Improved Knowledge Distillation via Teacher
        Assistant, arXiv 1902.03393.

    Args:
        teacher: a model, its logits for exactly these images, or a cache, as in ``distill``.
        makers: each builds a new model that returns logits ``(B, K)``; number i is called under ``seeded(seed + i)``,
            which is also the seed of its training. The last one's model is the student.
        images: inputs, shape ``(N, ...)``.
        labels: class indices ``(N,)``; may be ``None`` with ``alpha=1``.
        temperature: T, as in ``kd_loss``.
        alpha: weight of the soft term, as in ``kd_loss``.
        seed: of the first model; the next ones count up.
        **options: those of :func:`kdlab.training.fit` (``epochs`` and ``lr`` are required), except ``objective``; the
            same for every model.

    Returns:
        The models in order, in evaluation mode; the teacher is not among them.

    Raises:
        TypeError, ValueError: as ``distill``; no maker, or one that returned a model that is there already.
        RuntimeError, KeyboardInterrupt: as :func:`born_again`.

    Example:
        >>> import torch
        >>> teacher, makers = torch.tensor([[9.0, 0.0], [0.0, 9.0]]), [lambda: nn.Linear(2, 2)] * 2
        >>> len(distill_chain(teacher, makers, torch.eye(2), alpha=1.0, epochs=2, lr=0.1))
        2
    """
    if callable(makers) or len(makers) == 0:
        raise ValueError(f"makers must be a sequence of at least one function that builds a model, got {makers!r}")
    _check_common(temperature, alpha, seed, options)
    known = [teacher] if isinstance(teacher, nn.Module) else []
    models: list[nn.Module] = []
    for number, make in enumerate(makers):
        name = f"model {number} of the chain"
        model = _newborn(make, seed + number, [*known, *models], name)
        run = {"description": name, **options, "seed": seed + number}
        source = models[-1] if models else teacher
        history = distill(model, source, images, labels, temperature=temperature, alpha=alpha, **run)
        _check_complete(history, name)
        models.append(model)
    return models


def _newborn(make: Maker, seed: int, known: Sequence[nn.Module], name: str) -> nn.Module:
    """A model from its maker under the seed, that shares no weights with those that are there."""
    if not callable(make):
        raise TypeError(f"the maker of {name} must be a function that builds a model, got {type(make).__name__}")
    with seeded(seed):
        model = make()
    if not isinstance(model, nn.Module):
        raise TypeError(f"the maker of {name} must return a torch module, got {type(model).__name__}")
    if any(have_weights_in_common(model, other) for other in known):
        raise ValueError(
            f"the maker of {name} returned a model that shares weights with an earlier one: to train it would change "
            "its own teacher. Build a new model at every call"
        )
    return model


def _check_complete(history: History, name: str) -> None:
    """Refuse half a run: the next model would learn from it."""
    if history.stopped == "interrupted":  # `fit` swallows the interrupt and returns
        raise KeyboardInterrupt
    if history.stopped == "diverged":
        raise RuntimeError(
            f"{name} diverged after {history.epochs} epochs, and would be the next one's teacher: lower lr"
        )


def _check_common(temperature: float, alpha: float, seed: int, options: dict[str, Any]) -> None:
    """What would otherwise be found out only after the first training."""
    check_temperature(temperature)
    check_share("alpha", alpha, "it is the share of the soft term, 1 - alpha that of the labels")
    _check_whole("seed", seed, least=0)
    if "objective" in options:
        raise TypeError("objective must not be passed: distillation brings its own")


def _check_whole(name: str, value: object, *, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ValueError(f"{name} must be a whole number of at least {least}, got {value!r}")
