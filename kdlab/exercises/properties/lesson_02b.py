"""Properties of the code answer of lesson 02b: an input that exposes a faulty loss."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from kdlab.exercises.properties.core import RESULTS, NotFinite, WrongKind, expect, prop, shown, tensor

__all__: list[str] = []  # all that counts is what `prop` registers

_FREEZE = "input-that-freezes-the-student"
_LARGEST = 100.0  # a logit beyond that is no network's
_STILL = 1e-3  # the largest entry of a gradient that counts as gone
_WRONG = 1e-2  # a student that gives the label less is plainly wrong


def _triple(result: Any) -> tuple[Tensor, Tensor, Tensor]:
    """One row of student's logits, one of the teacher's, and a label; in double precision, without a gradient."""
    if type(result) not in (tuple, list) or len(result) != 3:
        raise WrongKind("Three tensors are expected: `return student_logits, teacher_logits, labels`.")
    student, teacher = (_row(name, rows) for name, rows in zip(("student", "teacher"), result[:2], strict=True))
    if student.shape != teacher.shape:
        raise WrongKind(f"Student and teacher need as many classes; they have {student.shape[1]}, {teacher.shape[1]}.")
    return student, teacher, _label(result[2], student.shape[1])


def _row(whose: str, rows: Any) -> Tensor:
    try:
        plain = tensor(rows).detach().double()
    except NotFinite:
        raise WrongKind(f"The {whose}'s logits must be finite.") from None
    except WrongKind as error:
        raise WrongKind(f"The {whose}'s logits: {error}") from None
    if plain.dim() != 2 or len(plain) != 1 or not 2 <= plain.shape[1] <= 1000:
        raise WrongKind(f"The {whose}'s logits must be one row, shape [1, K] with K >= 2, not {list(plain.shape)}.")
    return plain


def _label(labels: Any, classes: int) -> Tensor:
    if type(labels) is not Tensor or labels.dtype != torch.int64 or list(labels.shape) != [1]:
        raise WrongKind("`labels` must be one class index, such as `torch.tensor([1])`.")
    if not 0 <= int(labels) < classes:
        raise WrongKind(f"The label {int(labels)} is none of the classes 0 to {classes - 1}.")
    return labels


RESULTS[_FREEZE] = _triple


def _kl(one: Tensor, other: Tensor) -> Tensor:
    """KL(one || other) of two rows of logits."""
    return F.kl_div(other.log_softmax(-1), one.log_softmax(-1), reduction="batchmean", log_target=True)


def _faulty(student: Tensor, teacher: Tensor, labels: Tensor) -> Tensor:
    return 0.5 * F.cross_entropy(teacher, labels) + 0.5 * _kl(student, teacher)


def _right(student: Tensor, teacher: Tensor, labels: Tensor) -> Tensor:
    return 0.5 * F.cross_entropy(student, labels) + 0.5 * _kl(teacher, student)


def _gradient(loss: Any, student: Tensor, teacher: Tensor, labels: Tensor) -> Tensor:
    leaf = student.clone().requires_grad_()
    return torch.autograd.grad(loss(leaf, teacher, labels), leaf)[0]


def _steepest(loss: Any, *row: Tensor) -> float:
    return float(_gradient(loss, *row).abs().max())


def _both_say(*row: Tensor) -> str:
    """What the two losses say of the input."""
    said = [f"{float(loss(*row)):.4g}, its gradient `{shown(_gradient(loss, *row))}`" for loss in (_faulty, _right)]
    return f"On your input the faulty loss is {said[0]}; the right one is {said[1]}."


@prop(
    _FREEZE,
    "Such logits would be dismissed as a numerical accident. The fault shows with logits that a trained network "
    "really gives: keep them between -100 and 100.",
)
def logits_are_of_this_world(freeze: Any) -> None:
    student, teacher, _ = freeze()
    largest = max(float(student.abs().max()), float(teacher.abs().max()))
    expect(largest <= _LARGEST, f"The largest here is {largest:.4g} in size.")


def _leads(logits: Tensor, label: int) -> bool:
    """Whether the label's logit is larger than all others."""
    others = torch.cat([logits[0, :label], logits[0, label + 1 :]])
    return bool(logits[0, label] > others.max() + 1e-6)


@prop(
    _FREEZE,
    "The teacher must be right, with its largest logit at the label: when teacher and label are at odds, a loss may "
    "well hesitate, and nobody could call that a fault. Note the order: first the student, then the teacher.",
)
def teacher_is_right(freeze: Any) -> None:
    _, teacher, labels = freeze()
    expect(_leads(teacher, int(labels)), f"The teacher says `{shown(teacher)}`, the label is {int(labels)}.")


@prop(
    _FREEZE,
    "This student has its largest logit at the label. A small gradient is then as it should be: there is little left "
    "to learn, and where student and teacher are equal every good loss stands still. Make the student *wrong*.",
)
def student_is_wrong(freeze: Any) -> None:
    row = freeze()
    student, _, labels = row
    wrong = student[0, int(labels)] < student.max() - 1e-6
    expect(wrong, _both_say(*row))


@prop(
    _FREEZE,
    "The faulty loss still moves this student. Its gradient is $\\frac12 q_k \\left(\\log\\frac{q_k}{p_k} - "
    "\\mathrm{KL}\\right)$: only classes that the student itself believes in count. How must $q$ look for all of "
    "them to vanish?",
)
def student_is_sure(freeze: Any) -> None:
    row = freeze()
    sure = float(row[0].softmax(-1).max()) > 0.95
    expect(sure or _steepest(_faulty, *row) < _STILL, _both_say(*row))


@prop(
    _FREEZE,
    "The right idea, but no entry of the gradient may be larger than 0.001 in size. A student that is surer still?",
)
def gradient_is_all_but_gone(freeze: Any) -> None:
    row = freeze()
    expect(_steepest(_faulty, *row) < _STILL, _both_say(*row))


@prop(
    _FREEZE,
    "The faulty loss stands still, but this student is hardly wrong: it gives the label 0.01 or more, and no other "
    "class much more than that. Freeze one that has ruled the label out.",
)
def student_is_plainly_wrong(freeze: Any) -> None:
    row = freeze()
    student, _, labels = row
    given = float(student.softmax(-1)[0, int(labels)])
    # Below that the right loss pulls whatever the teacher says: its entry at the label is under -0.49.
    expect(given < _WRONG, f"This student gives the label {given:.4g}. {_both_say(*row)}")
