"""What models are judged by: size, work, time, and how far their confidence can be trusted."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kdlab.calibration import (
    ReliabilityBin,
    entropy,
    expected_calibration_error,
    fit_temperature,
    reliability,
)
from kdlab.logit_checks import check_finite, check_label_range, check_labels, check_same_shape
from kdlab.modes import evaluating
from kdlab.modes import threads as using_threads
from kdlab.peak_memory import peak_memory
from kdlab.prediction import logits_of
from kdlab.progress import progress as progress_bar

__all__ = [
    "Latency",
    "ReliabilityBin",
    "agreement",
    "count_macs",
    "count_parameters",
    "describe",
    "entropy",
    "expected_calibration_error",
    "fit_temperature",
    "latency",
    "model_bytes",
    "peak_memory",
    "reliability",
    "shuffle_within",
]


def count_parameters(model: nn.Module, *, trainable_only: bool = False) -> int:
    """Number of parameters; a tensor shared by two layers counts once, buffers do not count.

    Example:
        >>> count_parameters(nn.Linear(64, 10))
        650
    """
    return sum(p.numel() for p in model.parameters() if p.requires_grad or not trainable_only)


def model_bytes(model: nn.Module) -> int:
    """Bytes that the parameters and persistent buffers take, each stored tensor once.

    This is the size of the weights in memory and, within a header of a few kilobytes, of a safetensors file;
    views of one storage (tied weights) count once.

    Example:
        >>> model_bytes(nn.Linear(64, 10))
        2600
    """
    storages = {value.untyped_storage().data_ptr(): value.untyped_storage().nbytes() for value in _stored(model)}
    return sum(storages.values())


def count_macs(model: nn.Module, example: Tensor) -> int:
    """Multiply-accumulate operations of one forward pass on ``example``, batch included.

    Counts matrix products, convolutions and attention (torch's own ``FlopCounterMode``, which counts two
    floating-point operations per MAC); additions of biases, activations and normalisation are left out, as is
    usual.

    Example:
        >>> count_macs(nn.Linear(64, 10), torch.zeros(1, 64))
        640
    """
    from torch.utils.flop_counter import FlopCounterMode

    with evaluating(model), FlopCounterMode(display=False) as counter:
        model(example)
    return counter.get_total_flops() // 2


@dataclass(frozen=True)
class Latency:
    """Times of one model's forward pass.

    Attributes:
        median, p95: seconds.
        ratio: median over rounds of (this model's time / the first model's time in the same round).
        rounds: how many rounds were timed.
    """

    median: float
    p95: float
    ratio: float
    rounds: int


def latency(
    models: Mapping[str, Callable[[Tensor], object]],
    example: Tensor,
    *,
    rounds: int = 50,
    warmup: int = 5,
    threads: int = 1,
    progress: bool = True,
) -> dict[str, Latency]:
    """Time several models on one input, taking turns, so that a machine that drifts is fair to all.

    Each round times every model once, in an order that rotates. Quote the ratio: it is taken within rounds and
    holds when absolute times do not.

    Args:
        models: name to model (or any callable of one tensor); ratios refer to the first. Modules are timed in
            evaluation mode, without gradients.
        example: the input, batch included.
        rounds: timed rounds, at least 1.
        warmup: rounds before, not timed.
        threads: torch threads while timing.
        progress: show a progress bar if it takes longer than a moment.

    Returns:
        Name to :class:`Latency`.

    Raises:
        ValueError: no model, or fewer than 1 round.
    """
    if not models:
        raise ValueError("models is empty: there is nothing to time")
    if rounds < 1 or warmup < 0:
        raise ValueError(f"rounds must be at least 1 and warmup at least 0, got {rounds} and {warmup}")
    names = list(models)
    times: dict[str, list[float]] = {name: [] for name in names}
    with evaluating(*models.values()), using_threads(threads):
        for step in progress_bar(range(warmup + rounds), "timing", show=progress):
            turn = step % len(names)
            for name in names[turn:] + names[:turn]:
                start = time.perf_counter()
                models[name](example)
                elapsed = time.perf_counter() - start
                if step >= warmup:
                    times[name].append(elapsed)
    return {name: _summary(times[name], times[names[0]]) for name in names}


def agreement(student_logits: Tensor, teacher_logits: Tensor) -> float:
    """Share of samples on which two models answer the same class, in [0, 1], right or wrong.

    A student can agree with its teacher and err with it, or outdo it by disagreeing: this is fidelity, not accuracy.

    References:
        Stanton, Izmailov, Kirichenko, Alemi, Wilson (2021), Does Knowledge Distillation Really Work?, arXiv 2106.05945.

    Args:
        student_logits: shape ``(N, K)``.
        teacher_logits: the same shape, for the same samples in the same order.

    Raises:
        ValueError: logits that are not ``(N, K)``, hold NaN, or differ in shape.

    Example:
        >>> agreement(torch.tensor([[2.0, 0.0], [0.0, 1.0]]), torch.tensor([[9.0, 1.0], [3.0, 1.0]]))
        0.5
    """
    student, teacher = logits_of(student_logits, None, name="student"), logits_of(teacher_logits, None, name="teacher")
    check_same_shape(student, teacher)
    return float((student.argmax(dim=-1) == teacher.argmax(dim=-1)).double().mean())


def describe(
    model: nn.Module | Tensor, labels: Tensor, teacher_logits: Tensor | None = None, *, images: Tensor | None = None
) -> dict[str, float]:
    """What a classifier does on labelled data, in several measures at once; fits ``Score(also=...)``.

    Args:
        model: its logits ``(N, K)``, or the model itself together with ``images``.
        labels: class indices ``(N,)``.
        teacher_logits: the teacher's logits ``(N, K)`` for the same samples.
        images: inputs for a model, shape ``(N, ...)``.

    Returns:
        ``accuracy`` and ``ece`` (15 bins) in [0, 1], ``nll`` in nats; with a teacher also ``agreement`` in [0, 1] and
        ``kl_to_teacher``, the mean KL(teacher || student) at temperature 1, in nats.

    Raises:
        TypeError: a model without images, or logits with them.
        ValueError: shapes that do not match, or NaN.

    Example:
        >>> describe(torch.tensor([[2.0, 0.0], [0.0, 2.0]]), torch.tensor([0, 0]))["accuracy"]
        0.5
    """
    logits = logits_of(model, images, name="model").double()
    if labels.shape != logits.shape[:1]:
        raise ValueError(f"{len(logits)} rows of logits but labels of shape {list(labels.shape)}: one label per row")
    check_labels(labels, logits)
    check_label_range(labels, logits.shape[1])
    labels = labels.long()
    found = {
        "accuracy": float((logits.argmax(dim=-1) == labels).double().mean()),
        "nll": float(F.cross_entropy(logits, labels)),
        "ece": expected_calibration_error(logits.softmax(dim=-1), labels),
    }
    if teacher_logits is not None:
        found["agreement"] = agreement(logits, teacher_logits)
        check_finite("teacher_logits", teacher_logits)
        log_p, log_q = (z.log_softmax(dim=-1) for z in (teacher_logits.detach().double(), logits))
        found["kl_to_teacher"] = float(F.kl_div(log_q, log_p, reduction="batchmean", log_target=True))
    return found


def shuffle_within(values: Tensor, groups: Tensor, *, seed: int) -> Tensor:
    """Permute ``values`` at random among the positions of the same group: a control that keeps each group's contents.

    Args:
        values: shape ``(N, ...)``.
        groups: group of each position, ``(N,)``, such as class labels.
        seed: fixes the permutation.

    Example:
        >>> shuffled = shuffle_within(torch.tensor([1, 2, 3, 40, 50]), torch.tensor([0, 0, 0, 1, 1]), seed=1)
        >>> sorted(shuffled[:3].tolist()), sorted(shuffled[3:].tolist())
        ([1, 2, 3], [40, 50])
    """
    if len(values) != len(groups):
        raise ValueError(f"{len(values)} values but {len(groups)} groups: one group per value")
    order = torch.randperm(len(groups), generator=torch.Generator().manual_seed(seed))
    targets = torch.argsort(groups, stable=True)
    sources = order[torch.argsort(groups[order], stable=True)]  # the same groups in turn, members in random order
    shuffled = torch.empty_like(values)
    shuffled[targets] = values[sources]
    return shuffled


def _stored(model: nn.Module) -> Iterator[Tensor]:
    """Every tensor that ``state_dict`` would save."""
    yield from (value for value in model.state_dict(keep_vars=True).values() if isinstance(value, Tensor))


def _summary(times: list[float], reference: list[float]) -> Latency:
    ratios = [mine / first for mine, first in zip(times, reference, strict=True)]
    p95 = sorted(times)[math.ceil(0.95 * len(times)) - 1]
    return Latency(statistics.median(times), p95, statistics.median(ratios), len(times))
