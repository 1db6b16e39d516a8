"""The Python twin of the descent panel: a student that is nothing but K free logits goes down a loss.

The same arithmetic stands in ``static/panels/descent.js``, and a browser test compares every number of the one with
the other.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kdlab.lab.descent_losses import LOSSES, RATE, kl, log_softmax, safe_rate, soft_term

__all__ = ["MAX_SPAN", "STEPS", "DescentPath", "checked_row", "descent_path", "favourites"]

STEPS = 2000
"""Steps of gradient descent, enough for every right loss to arrive from T = 1 up, and nearly so at T = 0.5."""

MAX_SPAN = 16.0
"""Largest minus smallest teacher logit; beyond it reverse KL at T = 0.5 is too steep for ``RATE``."""

_CLASSES = (3, 8)
_CLOSE = 0.05  # nats from the teacher that count as having arrived
_ALIKE = 1e-6  # probabilities this close share the first place


@dataclass(frozen=True)
class DescentPath:
    """A descent from all-zero logits, step by step.

    Attributes:
        loss: key in ``LOSSES``.
        temperature: T.
        alpha: weight of the soft term.
        label: the class that the hard term asks for.
        teacher: the teacher's probabilities at T = 1, shape (K,).
        logits: the student's logits before each step and after the last, shape (STEPS + 1, K).
        losses: what is minimised, at each of these, shape (STEPS + 1,).
        divergences: KL(p || q) at T = 1, from teacher to student, in nats, shape (STEPS + 1,).
    """

    loss: str
    temperature: float
    alpha: float
    label: int
    teacher: NDArray[np.float64]
    logits: NDArray[np.float64]
    losses: NDArray[np.float64]
    divergences: NDArray[np.float64]

    def student(self, step: int, temperature: float = 1.0) -> NDArray[np.float64]:
        """The student's probabilities softmax(z / T) after ``step`` steps, shape (K,)."""
        return np.exp(log_softmax(self.logits[step] / temperature))

    def summary(self, class_names: Sequence[str] | None = None) -> str:
        """Where the descent ends, word for word the line under the panel."""
        names = class_names or [str(k) for k in range(len(self.teacher))]
        end = self.student(-1)
        first, wanted = favourites(end), favourites(self.teacher)
        return (
            f"{LOSSES[self.loss].name}, T = {self.temperature:g}, α = {self.alpha:g}, after {STEPS} steps: "
            f"favourite {_listed(first, names)} with q = {end.max():.3f} (the teacher: {_listed(wanted, names)} with "
            f"p = {self.teacher.max():.3f}), KL(p ‖ q) = {abs(self.divergences[-1]):.3f} nats; "
            f"{self._verdict(first, wanted)}"
        )

    def _verdict(self, first: tuple[int, ...], wanted: tuple[int, ...]) -> str:
        if self.divergences[-1] < _CLOSE:
            return f"within {_CLOSE} nats of its teacher"
        if len(first) == len(self.teacher):
            return "it has learned nothing"
        if first == wanted:
            return "the teacher's favourite, another distribution: a count of right answers cannot tell"
        if first == (self.label,):
            return "the label has won over the teacher's favourite"
        return "another favourite than the teacher's"


def descent_path(teacher_logits_row: Any, label: int, loss: str, temperature: float, alpha: float) -> DescentPath:
    r"""Gradient descent on :math:`L = (1 - \alpha) \mathrm{CE}(y, q^1) + \alpha S(z)` over K free logits z.

    S is the chosen loss's soft term, ``LOSSES[loss].formula``, with p and q at temperature T. The student starts at
    z = 0 and takes ``STEPS`` steps of learning rate ``RATE``; only "no_teacher", whose curvature grows with exp(2z),
    takes shorter ones.

    Args:
        teacher_logits_row: the teacher's logits for one sample, shape (K,), K from 3 to 8, spanning at most 16.
        label: the class of the hard term, from 0 to K - 1.
        loss: a key of ``LOSSES``.
        temperature: T, from 0.5 to 8, where the steps are known to be stable.
        alpha: weight of the soft term, from 0 to 1.

    Raises:
        ValueError: an argument of the wrong shape or range; the message names the likely cause.

    References:
        Hinton, Vinyals, Dean (2015), Distilling the Knowledge in a Neural Network, arXiv 1503.02531.

    Example:
        >>> path = descent_path([2.0, 0.5, -1.0], 0, "kd", temperature=2.0, alpha=1.0)
        >>> path.student(-1).round(3).tolist() == path.teacher.round(3).tolist()
        True
    """
    teacher = checked_row(teacher_logits_row)
    _check_setting(len(teacher), label, loss, temperature, alpha)
    logits = np.zeros((STEPS + 1, len(teacher)))
    for step in range(STEPS):
        z = logits[step]
        _, soft_gradient = soft_term(loss, z, teacher, temperature)
        hard_gradient = np.exp(log_softmax(z))
        hard_gradient[label] -= 1
        gradient = alpha * soft_gradient + (1 - alpha) * hard_gradient
        logits[step + 1] = z - safe_rate(loss, z, alpha) * gradient
    soft, _ = soft_term(loss, logits, teacher, temperature)
    log_p, log_q = log_softmax(teacher), log_softmax(logits)
    return DescentPath(
        loss=loss,
        temperature=float(temperature),
        alpha=float(alpha),
        label=int(label),
        teacher=np.exp(log_p),
        logits=logits,
        losses=alpha * soft - (1 - alpha) * log_q[:, label],
        divergences=kl(log_p, log_q),
    )


def favourites(probabilities: NDArray[np.float64]) -> tuple[int, ...]:
    """The classes in first place: one, unless several are alike.

    Example:
        >>> favourites(np.array([0.4, 0.2, 0.4]))
        (0, 2)
    """
    return tuple(int(k) for k in np.flatnonzero(probabilities > probabilities.max() - _ALIKE))


# ---- words and checks


def _listed(classes: Sequence[int], names: Sequence[str]) -> str:
    return " and ".join(names[k] for k in classes) if len(classes) < len(names) else "none, all alike"


def checked_row(value: Any) -> NDArray[np.float64]:
    """One row of logits as float64, or an error that says what came and what is allowed."""
    if hasattr(value, "detach"):
        value = value.detach().cpu()
    try:
        row = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"teacher_logits must be numbers: {error}") from error
    if row.ndim != 1 or not _CLASSES[0] <= len(row) <= _CLASSES[1]:
        raise ValueError(
            f"teacher_logits must have shape (K,) with K from {_CLASSES[0]} to {_CLASSES[1]}, got {row.shape}: "
            "pass one sample's row, logits[i], and of many classes a few, logits[i, chosen]"
        )
    if not np.isfinite(row).all():
        raise ValueError(f"teacher_logits must be finite, got {row.tolist()}: did the teacher's training diverge?")
    span = float(row.max() - row.min())
    if span > MAX_SPAN:
        raise ValueError(
            f"teacher_logits must span at most {MAX_SPAN:g}, got {span:g}: beyond it steps of {RATE:g} are not stable; "
            "choose a sample on which the teacher is less certain"
        )
    if (row >= 0).all() and math.isclose(float(row.sum()), 1, abs_tol=1e-3):
        raise ValueError("teacher_logits must be scores before softmax, got a row that sums to 1: are these chances?")
    return row


def _check_setting(classes: int, label: int, loss: str, temperature: float, alpha: float) -> None:
    if isinstance(label, bool) or not isinstance(label, int | np.integer) or not 0 <= label < classes:
        raise ValueError(f"label must be a class from 0 to {classes - 1}, got {label!r}")
    if not isinstance(loss, str) or loss not in LOSSES:
        raise ValueError(f"loss must be one of {', '.join(LOSSES)}, got {loss!r}")
    for name, number, low, high in (("temperature", temperature, 0.5, 8), ("alpha", alpha, 0, 1)):
        if isinstance(number, bool) or not isinstance(number, int | float | np.number) or not low <= number <= high:
            raise ValueError(f"{name} must be a number from {low} to {high}, got {number!r}")
