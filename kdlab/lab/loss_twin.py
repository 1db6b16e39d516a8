"""The Python twin of the loss panel: both terms of the distillation loss, and their gradients, for one row of logits.

As in ``twins.py``, ``static/panels/loss.js`` computes the same in JavaScript, and a browser test compares every number.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kdlab.lab.twins import fine_text, fixed_text, percent_text

__all__ = ["LossState", "cosine_text", "loss_state", "slope_text"]

_NOTHING = 1e-12  # a gradient shorter than this is rounding, in Python and in JavaScript


@dataclass(frozen=True)
class LossState:
    """The distillation loss of one row of logits, its two terms and what each does to the student's logits.

    Attributes:
        temperature: T.
        alpha: weight of the soft term.
        squared: whether the soft term carries the factor T^2.
        student: q^T, the student's softmax at T, shape (K,).
        plain: q^1, which the hard term sees, shape (K,).
        teacher: p^T, the teacher's softmax at T, shape (K,).
        cross_entropy: CE(y, q^1) = -ln q^1_y, in nats.
        divergence: KL(p^T || q^T), in nats.
        hard: (1 - alpha) CE.
        soft: alpha T^2 KL, or alpha KL where ``squared`` is false.
        soft_gradient: alpha T (q^T - p^T), or alpha / T (q^T - p^T), shape (K,); sums to 0 over the classes.
        hard_gradient: (1 - alpha) (q^1 - y), shape (K,); sums to 0 over the classes.
    """

    temperature: float
    alpha: float
    squared: bool
    student: NDArray[np.float64]
    plain: NDArray[np.float64]
    teacher: NDArray[np.float64]
    cross_entropy: float
    divergence: float
    hard: float
    soft: float
    soft_gradient: NDArray[np.float64]
    hard_gradient: NDArray[np.float64]

    @property
    def total(self) -> float:
        """L, the sum of both terms."""
        return self.hard + self.soft

    @property
    def gradient(self) -> NDArray[np.float64]:
        """dL/dz of the student's logits, shape (K,)."""
        return self.soft_gradient + self.hard_gradient

    @property
    def soft_norm(self) -> float:
        """Euclidean length of the soft part."""
        return float(np.sqrt((self.soft_gradient**2).sum()))

    @property
    def hard_norm(self) -> float:
        """Euclidean length of the hard part."""
        return float(np.sqrt((self.hard_gradient**2).sum()))

    @property
    def soft_share(self) -> float | None:
        """|soft| / (|soft| + |hard|); None where both are zero."""
        both = self.soft_norm + self.hard_norm
        return None if both < _NOTHING else self.soft_norm / both

    @property
    def cosine(self) -> float | None:
        """Cosine of the angle between the parts; None where one of them is zero."""
        if min(self.soft_norm, self.hard_norm) < _NOTHING:
            return None
        return float((self.soft_gradient * self.hard_gradient).sum() / (self.soft_norm * self.hard_norm))

    def summary(self, class_names: Sequence[str] | None = None) -> str:
        """The state in one line, word for word the line under the panel."""
        names = class_names or [str(k) for k in range(len(self.plain))]
        gradient = self.gradient
        move = f"raises {names[int(gradient.argmin())]} most and lowers {names[int(gradient.argmax())]} most"
        if np.abs(gradient).max() < _NOTHING:
            move = "moves nothing"
        share = "n/a" if self.soft_share is None else percent_text(self.soft_share)
        return (
            f"T = {self.temperature:g}, α = {self.alpha:.2f}{'' if self.squared else ', no factor T²'}: "
            f"loss {fine_text(self.total)} (hard {fine_text(self.hard)}, soft {fine_text(self.soft)}); "
            f"gradient: hard part {fine_text(self.hard_norm)}, soft part {fine_text(self.soft_norm)}, "
            f"soft share {share}, cosine {cosine_text(self.cosine)}; a step downhill {move}"
        )


def loss_state(
    student_logits_row: Any,
    teacher_logits_row: Any,
    label: int,
    temperature: float,
    alpha: float,
    squared: bool = True,
) -> LossState:
    r"""Everything the loss panel shows for one row: L = (1 - alpha) CE(y, q^1) + alpha T^2 KL(p^T || q^T).

    Args:
        student_logits_row: the student's logits for one sample, shape (K,), K at least 3; array, list or CPU tensor.
        teacher_logits_row: the teacher's, same shape.
        label: the class that the data set gives, 0..K-1.
        temperature: T, positive and finite.
        alpha: weight of the soft term, from 0 to 1.
        squared: False leaves out the factor T^2.

    Raises:
        ValueError: shapes other than (K,) or not alike, values that are not finite, a label that is no class,
            T not positive, or alpha outside 0..1.

    References:
        Hinton, Vinyals, Dean (2015), Distilling the Knowledge in a Neural Network, arXiv 1503.02531.

    Example:
        >>> state = loss_state([2.0, 1.5, 0.1], [3.0, 1.0, 0.2], 0, temperature=4.0, alpha=0.7)
        >>> round(state.total, 4), state.gradient.round(3).tolist()
        (0.3184, [-0.342, 0.283, 0.06])
    """
    student, teacher = _logit_rows(student_logits_row, teacher_logits_row)
    classes = len(student)
    if isinstance(label, bool) or not isinstance(label, int | np.integer) or not 0 <= label < classes:
        raise ValueError(f"label must be a class from 0 to {classes - 1}, got {label!r}")
    if not (_is_number(temperature) and temperature > 0):
        raise ValueError(f"temperature must be a positive number, got {temperature!r}: logits are divided by it")
    if not (_is_number(alpha) and 0 <= alpha <= 1):
        raise ValueError(f"alpha must lie in 0 to 1, got {alpha!r}: it is the weight of the soft term")
    log_q, log_p, log_plain = (_log_softmax(z) for z in (student / temperature, teacher / temperature, student))
    q, p, plain = np.exp(log_q), np.exp(log_p), np.exp(log_plain)
    cross_entropy = float(-log_plain[label]) + 0.0
    divergence = max(0.0, float((p * (log_p - log_q)).sum()))  # rounding may leave -1e-17 where p = q
    factor = temperature**2 if squared else 1.0
    return LossState(
        temperature=float(temperature),
        alpha=float(alpha),
        squared=bool(squared),
        student=q,
        plain=plain,
        teacher=p,
        cross_entropy=cross_entropy,
        divergence=divergence,
        hard=(1 - alpha) * cross_entropy,
        soft=alpha * factor * divergence,
        soft_gradient=alpha * (factor / temperature) * (q - p) + 0.0,
        hard_gradient=(1 - alpha) * (plain - np.eye(classes)[label]) + 0.0,
    )


def slope_text(value: float) -> str:
    """A part of a gradient: +0.412, −0.037, and never ±0.000 for something that is not zero."""
    if abs(value) < _NOTHING:
        return "0.000"
    if abs(value) < 0.0005:
        return "<0.001" if value > 0 else ">−0.001"
    return ("+" if value > 0 else "") + fixed_text(value, 3)


def cosine_text(cosine: float | None) -> str:
    """Two decimals, or n/a where there is no angle."""
    return "n/a" if cosine is None else fixed_text(cosine, 2)


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)


def _logit_rows(student: Any, teacher: Any) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Both rows as float64, of one shape (K,), all values finite."""
    rows = []
    for name, value in (("student_logits_row", student), ("teacher_logits_row", teacher)):
        try:
            row = np.asarray(value, dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{name} must be numbers in a regular array: {error}") from error
        if row.ndim != 1 or len(row) < 3:
            raise ValueError(
                f"{name} must have shape (K,) with at least 3 classes, got {row.shape}: "
                "pass one sample's row, logits[i], not the whole batch"
            )
        if not np.isfinite(row).all():
            raise ValueError(f"{name} must be finite, got {row.tolist()}: did training diverge?")
        rows.append(row)
    if rows[0].shape != rows[1].shape:
        raise ValueError(
            f"teacher_logits_row has {len(rows[1])} classes, student_logits_row {len(rows[0])}: they must be equal"
        )
    return rows[0], rows[1]


def _log_softmax(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    shifted: NDArray[np.float64] = scores - scores.max()
    return shifted - math.log(np.exp(shifted).sum())
