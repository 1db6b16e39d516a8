"""What a loss on features must satisfy, as a list that judges any loss: kdlab's, yours, or one found in the wild.

:func:`examine_features` asks a loss for all of :data:`PROPERTIES`. What a loss may ignore, and which loss ignores what,
is another question: :func:`blind_to` answers it, by the changes in :data:`INVARIANCES`.

The losses judged here are called as ``loss(student_features, teacher_features)``, with maps ``(B, C, H, W)`` of equal
width, so that :func:`kdlab.features.hint_loss` needs no projector.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from kdlab.feature_invariances import INVARIANCES, blind_to, relative_changes
from kdlab.loss_properties import Report

__all__ = ["INVARIANCES", "PROPERTIES", "blind_to", "examine_features", "relative_changes"]

Loss = Callable[[Tensor, Tensor], Tensor]
Property = Callable[[Loss], None]

PROPERTIES: dict[str, Property] = {}
"""Name to a function of the loss that raises AssertionError, with what it saw, where the property is broken."""


def examine_features(loss: Loss, properties: Iterable[str] | None = None) -> Report:
    """Ask a loss for every property, or for those named; a loss that raises where it should not violates it.

    Raises:
        ValueError: a name that is no property's.

    Example:
        >>> from kdlab.features import hint_loss
        >>> print(examine_features(hint_loss, ["zero_when_features_agree", "samples_are_matched"]))
        all 2 properties hold
    """
    names = [properties] if isinstance(properties, str) else list(PROPERTIES if properties is None else properties)
    if unknown := [name for name in names if name not in PROPERTIES]:
        raise ValueError(f"no property named {', '.join(unknown)}; there are: {', '.join(PROPERTIES)}")
    held, violated = [], {}
    for name in names:
        try:
            with torch.random.fork_rng(devices=[]):  # gradcheck draws random numbers
                PROPERTIES[name](loss)
        except AssertionError as error:
            violated[name] = str(error)
        except Exception as error:
            violated[name] = f"it raised {type(error).__name__}: {str(error).partition(chr(10))[0][:120]}".rstrip(": ")
        else:
            held.append(name)
    return Report(tuple(held), violated)


def _prop(function: Property) -> Property:
    PROPERTIES[function.__name__] = function
    return function


@_prop
def zero_when_features_agree(loss: Loss) -> None:
    student, _ = _batch()
    value = float(loss(student, student.clone()))
    _expect(abs(value) < 1e-9, f"it is {value:.4g} for equal features")


@_prop
def never_negative(loss: Loss) -> None:
    for seed in range(20):
        value = float(loss(*_batch(seed=seed)))
        _expect(value >= 0, f"it is {value:.4g} for some features")


@_prop
def samples_are_matched(loss: Loss) -> None:
    student, _ = _batch()
    value = float(loss(student, student.roll(1, 0)))
    _expect(value > 1e-3, f"it is {value:.4g} though each of the teacher's samples belongs to another of the student's")


@_prop
def order_of_samples_does_not_matter(loss: Loss) -> None:
    student, teacher = _batch()
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    _close(loss(student[order], teacher[order]), loss(student, teacher), "with the samples in another order")


@_prop
def mean_over_samples_or_one_is_refused(loss: Loss) -> None:
    """A loss per sample is averaged; a relation between samples does not exist for one."""
    student, teacher = _batch()
    pairs = zip(student.split(1), teacher.split(1), strict=True)
    try:
        singles = [loss(*pair) for pair in pairs]
    except ValueError:
        return
    _close(loss(student, teacher), torch.stack(singles).mean(), "against the mean over single samples, the batch:")


@_prop
def other_samples_are_refused(loss: Loss) -> None:
    student, teacher = _batch()
    try:
        loss(student, teacher[:1])
    except (ValueError, RuntimeError):
        return
    raise AssertionError("it accepts one sample of the teacher for six of the student, spread over them in silence")


@_prop
def nan_never_becomes_a_number(loss: Loss) -> None:
    for which in (0, 1):
        pair = _batch()
        pair[which][2, 1, 0, 0] = math.nan
        try:
            value = float(loss(*pair))
        except ValueError:
            continue
        _expect(math.isnan(value), f"it is {value:.4g} though the {('student', 'teacher')[which]}'s features hold NaN")


# --- gradients --------------------------------------------------------------------------------------------------------


@_prop
def teacher_gets_no_gradient(loss: Loss) -> None:
    student, teacher = (features.requires_grad_() for features in _batch())
    loss(student, teacher).backward()
    _expect(teacher.grad is None, "the teacher got a gradient")
    _expect(student.grad is not None, "the student got none")


@_prop
def gradient_agrees_with_finite_differences(loss: Loss) -> None:
    student, teacher = _batch(4)
    right = torch.autograd.gradcheck(lambda s: loss(s, teacher), (student.requires_grad_(),), raise_exception=False)
    _expect(right, "autograd's gradient is not the slope of the value")


@_prop
def second_derivatives_are_right_or_refused(loss: Loss) -> None:
    student, teacher = _batch(4)
    try:
        torch.autograd.gradgradcheck(lambda s: loss(s, teacher), (student.requires_grad_(),))
    except RuntimeError as error:
        refused = "once_differentiable" in str(error)  # torch's word for a gradient that refuses to be derived
        _expect(refused, f"second derivatives are wrong: {str(error).partition(chr(10))[0]}")


@_prop
def a_gradient_step_brings_the_loss_down(loss: Loss) -> None:
    student, teacher = _batch()
    before, gradient = _value_and_gradient(loss, student, teacher)
    length = float(gradient.norm())
    _expect(length > 1e-6, "the student gets no gradient")
    after = float(loss(student - 0.01 / length * gradient, teacher))
    _expect(after < float(before), f"a step against the gradient takes it from {float(before):.6g} to {after:.6g}")


# --- numbers at the edge ----------------------------------------------------------------------------------------------


@_prop
def half_precision_stays_accurate(loss: Loss) -> None:
    for dtype in (torch.float16, torch.bfloat16):
        student, teacher = (features.to(dtype) for features in _batch())
        _close(loss(student, teacher), loss(student.double(), teacher.double()), f"in {dtype}", rtol=1e-3)


@_prop
def large_and_tiny_features_stay_finite(loss: Loss) -> None:
    """Up to 1e15, whose square float32 still holds; beyond that a sum of squares may say that it overflows."""
    for size in (1e15, 1e-20):
        for sizes in ((size, size), (size, 1.0), (1.0, size)):
            student, teacher = (factor * features.float() for factor, features in zip(sizes, _batch(), strict=True))
            _finite(loss, student, teacher, f"for features of the size {size:g}")


@_prop
def a_collapsed_student_stays_finite(loss: Loss) -> None:
    """All samples equal, or two of them: distances of zero."""
    student, teacher = (features.float() for features in _batch())
    _finite(loss, student[:1].expand_as(student), teacher, "where all of the student's samples are equal")
    _finite(loss, student[[0, 0, 2, 3, 4, 5]], teacher, "where two of the student's samples are equal")
    _finite(loss, student, teacher[:1].expand_as(teacher), "where all of the teacher's samples are equal")


@_prop
def a_dead_student_stays_finite(loss: Loss) -> None:
    """All features zero, as behind a dead ReLU, or those of one sample: nothing to divide by."""
    student, teacher = (features.float() for features in _batch())
    one_dead = student * (torch.arange(len(student)) > 0).view(-1, 1, 1, 1)
    _finite(loss, torch.zeros_like(student), teacher, "where all of the student's features are zero")
    _finite(loss, one_dead, teacher, "where one sample of the student is zero")
    _finite(loss, student, torch.zeros_like(teacher), "where all of the teacher's features are zero")


# --- tools ------------------------------------------------------------------------------------------------------------


def _batch(n: int = 6, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Maps of a student and of a teacher, (n, 3, 3, 2) in float64."""
    generator = torch.Generator().manual_seed(seed)
    student, teacher = torch.randn(2, n, 3, 3, 2, generator=generator, dtype=torch.float64)
    return student.clone(), 2 * teacher


def _value_and_gradient(loss: Loss, student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
    leaf = student.clone().requires_grad_()
    value = loss(leaf, teacher)
    (gradient,) = torch.autograd.grad(value, leaf)
    return value.detach(), gradient


def _finite(loss: Loss, student: Tensor, teacher: Tensor, where: str) -> None:
    value, gradient = _value_and_gradient(loss, student, teacher)
    _expect(bool(value.isfinite()), f"it is {float(value)} {where}")
    _expect(bool(gradient.isfinite().all()), f"its gradient is not finite {where}")


def _expect(right: bool, seen: str) -> None:
    if not right:
        raise AssertionError(seen)


def _close(value: Tensor, expected: Tensor, where: str, *, rtol: float = 1e-6) -> None:
    value, expected = value.detach().double(), expected.detach().double()
    seen = f"{where} it is {float(value):.6g}, and should be {float(expected):.6g}"
    _expect(torch.allclose(value, expected, rtol=rtol, atol=1e-9), seen)
