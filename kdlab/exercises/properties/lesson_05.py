"""Properties of the code answer of lesson 05: the soft targets of several teachers."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from kdlab.exercises.properties.core import RESULTS, agrees, expect, near, prop, random, shaped, shown, tensor

__all__: list[str] = []  # all that counts is what `prop` registers

_MEAN = "soft-targets-of-several-teachers"


def _one_row_per_image(result: Any, teacher_logits: Tensor, *rest: Any) -> Tensor:
    return shaped(tensor(result, teacher_logits, *rest), teacher_logits.shape[1:])


RESULTS[_MEAN] = _one_row_per_image

_SURE_AND_WRONG = ((2.0, 0.0, -1.0), (2.0, 0.5, 0.0), (0.0, 8.0, 1.0))  # of three teachers, the third


def _teachers(*rows: tuple[float, ...]) -> Tensor:
    """One image, one row of logits per teacher: shape [M, 1, K]."""
    return torch.tensor(rows, dtype=torch.float64).unsqueeze(1)


def _several(teachers: int = 3, images: int = 4, classes: int = 5) -> Tensor:
    return 3 * torch.randn(teachers, images, classes, generator=random(), dtype=torch.float64)


@prop(
    _MEAN,
    "Negative values came. Soft targets are *probabilities*, neither logits nor logarithms of probabilities.",
)
def values_are_probabilities(mean: Any) -> None:
    expect(bool((mean(_several(), 2.0) >= 0).all()))


@prop(
    _MEAN,
    "The rows do not sum to 1. Softmax runs over the *classes*, the last dimension, and the *mean* over the teachers "
    "keeps the sum. A sum over the teachers does not, and neither does a geometric mean.",
)
def rows_sum_to_one(mean: Any) -> None:
    expect(near(mean(_several(), 2.0).sum(-1), torch.ones(4)))


@prop(
    _MEAN,
    "With a single teacher there is nothing to average, so its own soft target must come: `softmax(z / T)`, every "
    "logit divided by $T$, once.",
)
def one_teacher_gives_its_own_targets(mean: Any) -> None:
    for temperature in (1.0, 4.0):
        alone = _several(teachers=1)
        came, wanted = mean(alone, temperature), (alone[0] / temperature).softmax(-1)
        expect(
            near(came, wanted), f"At T = {temperature:g} the first row is `{shown(came[0])}`, not `{shown(wanted[0])}`."
        )


@prop(
    _MEAN,
    "The same teachers in another order give other targets: some teacher weighs more than the others. A running "
    "`(mean + p) / 2` halves the weight of everyone who spoke before.",
)
def order_of_teachers_does_not_matter(mean: Any) -> None:
    expect(near(mean(_several(), 2.0), mean(_several()[[2, 0, 1]], 2.0)))


@prop(
    _MEAN,
    "Logits were averaged, and the softmax came last. That is the *geometric* mean of the teachers' probabilities, and "
    "one sure teacher can overrule all the others with it. Here the probabilities are averaged.",
)
def probabilities_are_averaged_not_logits(mean: Any) -> None:
    rows = _teachers(*_SURE_AND_WRONG)
    for temperature in (1.0, 4.0):
        came, geometric = mean(rows, temperature), (rows.mean(0) / temperature).softmax(-1)
        expect(not near(came, geometric, 1e-4), f"At T = {temperature:g} came `{shown(came)}`.")


@prop(
    _MEAN,
    "The average was taken at $T = 1$ and softened afterwards, as if the mean were one teacher's answer. Averaging and "
    "softening do not commute: soften every teacher first, then average.",
)
def softened_before_averaging(mean: Any) -> None:
    rows = _teachers(*_SURE_AND_WRONG)
    came, late = mean(rows, 4.0), (rows.softmax(-1).mean(0).log() / 4).softmax(-1)
    wanted = (rows / 4).softmax(-1).mean(0)
    expect(not near(came, late, 1e-4), f"At T = 4 came `{shown(came)}`; right is `{shown(wanted)}`.")


@prop(
    _MEAN,
    "A constant added to one teacher's logits changes none of its probabilities, yet it changes your targets. Each "
    "teacher's exponentials are divided by *their own* sum before anything is added up.",
)
def a_constant_on_one_teacher_changes_nothing(mean: Any) -> None:
    moved = _several()
    moved[1] += 3
    expect(near(mean(_several(), 2.0), mean(moved, 2.0)))


@prop(
    _MEAN,
    "The targets carry a gradient back to the teachers. They are constants for the student: use `detach()` or "
    "`torch.no_grad()`.",
)
def targets_carry_no_gradient(mean: Any) -> None:
    expect(not mean(_several().requires_grad_(), 2.0).requires_grad, "The result has `requires_grad` True.")


@prop(
    _MEAN,
    "Large logits break it: `exp` of 1000 is infinite. `torch.softmax` subtracts the largest logit first.",
    finite=True,
)
def large_logits_stay_finite(mean: Any) -> None:
    rows = torch.tensor([[[1000.0, 0.0]], [[0.0, 1000.0]], [[-1000.0, -1000.0]]])
    expect(near(mean(rows, 1.0), torch.tensor([[0.5, 0.5]]), 1e-4))


def _cases() -> list[tuple[Tensor, float]]:
    draw = random()
    return [
        (scale * torch.randn(m, n, k, generator=draw), temperature)
        for m, n, k in ((1, 1, 2), (2, 3, 3), (4, 4, 4), (5, 2, 10), (3, 7, 5))
        for scale, temperature in ((1, 0.5), (3, 1.0), (3, 4.0), (10, 10.0), (40, 2.0))
    ]


def _exact(teacher_logits: Tensor, temperature: float) -> Tensor:
    return (teacher_logits.double() / temperature).softmax(-1).mean(0)


agrees(_MEAN, _cases, _exact, 1e-4)
