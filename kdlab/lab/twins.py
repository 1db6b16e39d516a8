"""The Python twins of what ``static/explorables.js`` computes.

An explorable does its arithmetic in JavaScript, so that it answers within a frame and lives on in an
exported page. The same arithmetic stands here in NumPy; figures use it, and a browser test compares
every number of the one with the other.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "TemperatureState",
    "WidthState",
    "count_text",
    "fine_text",
    "fixed_text",
    "percent_text",
    "ratio_text",
    "temperature_state",
    "width_state",
]

_SMALLEST = 1e-7  # the smallest number that seven decimals can show


@dataclass(frozen=True)
class TemperatureState:
    """What one row of logits says at one temperature.

    Attributes:
        temperature: T.
        scaled: z_k / T, shape (K,).
        probabilities: p_k(T) = softmax(z / T), shape (K,).
        entropy: H(T) = -sum_k p_k ln p_k, in nats.
        max_entropy: ln K, which H approaches as T grows.
        top: the class of the largest logit.
        rest: what the other classes hold together, 1 - p_top.
        ranking: the other K - 1 classes, from the largest logit to the smallest; T does not enter.
        second_thoughts: the share p_k / (1 - p_top) of each class in ``ranking``; they sum to 1.
    """

    temperature: float
    scaled: NDArray[np.float64]
    probabilities: NDArray[np.float64]
    entropy: float
    max_entropy: float
    top: int
    rest: float
    ranking: tuple[int, ...]
    second_thoughts: tuple[float, ...]

    def summary(self, class_names: Sequence[str] | None = None) -> str:
        """The state in one line, word for word the line under the panel."""
        names = class_names or [str(k) for k in range(len(self.probabilities))]
        others = ", ".join(
            f"{names[k]} ({share:.2f})" for k, share in list(zip(self.ranking, self.second_thoughts, strict=True))[:3]
        )
        return (
            f"T = {self.temperature:g}: top class {names[self.top]} with p = {self.probabilities[self.top]:.2f}; "
            f"entropy {self.entropy:.2f} nats of at most {self.max_entropy:.2f}; second thoughts {others}"
        )


def temperature_state(logits_row: Any, temperature: float) -> TemperatureState:
    """Everything the temperature panel shows for one image: p = softmax(z / T) and what follows from it.

    Args:
        logits_row: the teacher's logits z for one image, shape (K,), K at least 3; array, list or CPU tensor.
        temperature: T, positive and finite.

    Raises:
        ValueError: a shape other than (K,), a value that is not finite, or T not positive.

    References:
        Hinton, Vinyals, Dean (2015), Distilling the Knowledge in a Neural Network, arXiv 1503.02531.

    Example:
        >>> state = temperature_state([4.0, 2.0, 0.0], temperature=2.0)
        >>> state.probabilities.round(3).tolist(), round(state.entropy, 3), state.ranking
        ([0.665, 0.245, 0.09], 0.832, (1, 2))
    """
    logits = np.asarray(logits_row, dtype=np.float64)
    if logits.ndim != 1 or len(logits) < 3:
        raise ValueError(
            f"logits_row must have shape (K,) with at least 3 classes, got {logits.shape}: "
            "pass one image's row, logits[i], not the whole batch"
        )
    if not np.isfinite(logits).all():
        raise ValueError(f"logits_row must be finite, got {logits.tolist()}: did the teacher's training diverge?")
    if not (math.isfinite(temperature) and temperature > 0):
        raise ValueError(f"temperature must be a positive number, got {temperature!r}")
    order = np.argsort(-logits, kind="stable")  # ties go to the lower class index, here and in JavaScript
    scaled = logits / temperature
    probabilities = _softmax(scaled)
    positive = probabilities[probabilities > 0]  # p ln p tends to 0 where exp underflows
    return TemperatureState(
        temperature=float(temperature),
        scaled=scaled,
        probabilities=probabilities,
        entropy=float(-(positive * np.log(positive)).sum()) + 0.0,
        max_entropy=math.log(len(logits)),
        top=int(order[0]),
        # A sum, and below a softmax of its own: 1 - p_top loses all its digits where p_top is nearly 1.
        rest=float(probabilities[order[1:]].sum()),
        ranking=tuple(int(k) for k in order[1:]),
        second_thoughts=tuple(float(share) for share in _softmax(scaled[order[1:]])),
    )


@dataclass(frozen=True)
class WidthState:
    """What a student with one hidden layer costs, by arithmetic alone.

    Attributes:
        width: h, units in the hidden layer.
        parameters: n h + h + h K + K, for n inputs and K classes.
        bytes: four for each parameter, in float32.
        macs: multiply-accumulates for one image, n h + h K.
        fewer_parameters: how many times fewer than the teacher's; of bytes, just as many times.
        fewer_macs: how many times fewer than the teacher's.
    """

    width: int
    parameters: int
    bytes: int
    macs: int
    fewer_parameters: float
    fewer_macs: float

    def summary(self, *, accuracy: float, teacher_accuracy: float, speedups: Mapping[str, float]) -> str:
        """The state in one line with what was measured, word for word the line under the panel."""
        times = ", ".join(f"{ratio_text(value)} faster on {name}" for name, value in speedups.items())
        return (
            f"width {self.width}: {count_text(self.parameters)} parameters, {count_text(self.bytes)} bytes, "
            f"{count_text(self.macs)} MACs, {percent_text(accuracy)} right (the teacher: "
            f"{percent_text(teacher_accuracy)}); against the teacher {ratio_text(self.fewer_parameters)} fewer "
            f"parameters, {ratio_text(self.fewer_macs)} fewer MACs, {times}"
        )


def width_state(
    width: int, *, teacher_parameters: int, teacher_macs: int, inputs: int = 64, classes: int = 10
) -> WidthState:
    """Cost of a student with ``width`` hidden units, and how many times less that is than the teacher's.

    Args:
        width: h, at least 1.
        teacher_parameters: what the student is compared with.
        teacher_macs: the same for one image's multiply-accumulates.
        inputs: n, values per image.
        classes: K.

    Raises:
        ValueError: a number that is not a positive whole one.

    Example:
        >>> state = width_state(32, teacher_parameters=24100, teacher_macs=236800)
        >>> state.parameters, state.macs, state.fewer_parameters, state.fewer_macs
        (2410, 2368, 10.0, 100.0)
    """
    given = {"width": width, "inputs": inputs, "classes": classes}
    given |= {"teacher_parameters": teacher_parameters, "teacher_macs": teacher_macs}
    for name, value in given.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ValueError(f"{name} must be a whole number of at least 1, got {value!r}")
    parameters = inputs * width + width + width * classes + classes
    macs = inputs * width + width * classes
    return WidthState(width, parameters, 4 * parameters, macs, teacher_parameters / parameters, teacher_macs / macs)


def count_text(number: int) -> str:
    """Thousands apart: 1,210."""
    return f"{number:,}"


def ratio_text(ratio: float) -> str:
    """One decimal below ten, none above: 6.8× and 1,124×; halves go up, here and in JavaScript."""
    if ratio < 9.95:
        return f"{math.floor(10 * ratio + 0.5) / 10:.1f}×"
    return f"{math.floor(ratio + 0.5):,}×"


def percent_text(share: float) -> str:
    """A share as 96.6 %; halves go up, here and in JavaScript."""
    return f"{math.floor(1000 * share + 0.5) / 10:.1f} %"


def fixed_text(value: float, places: int) -> str:
    """``places`` decimals with a true minus sign; halves go away from zero, as JavaScript's toFixed rounds."""
    text = f"{Decimal(value).quantize(Decimal(1).scaleb(-places), rounding=ROUND_HALF_UP):f}"
    return text.replace("-", "" if not text.strip("-0.") else "−")


def fine_text(value: float) -> str:
    """Three decimals, and more of them for what is small: 1.234, 0.0771, 0.000812; seven at most."""
    places = 3
    while value >= _SMALLEST and value * 10**places < 99.5 and places < 7:
        places += 1
    return fixed_text(value, places)


def _softmax(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    weights: NDArray[np.float64] = np.exp(scores - scores.max())
    return weights / weights.sum()
