"""Properties of the code answer of lesson 04: the attention-transfer loss."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from kdlab.exercises.properties.core import RESULTS, WrongKind, agrees, expect, near, prop, random, shown, tensor

__all__: list[str] = []  # all that counts is what `prop` registers

_AT = "write-attention-transfer-loss"


def _loss(result: Any, *arguments: Any) -> Tensor:
    """A tensor; of a plain number it is said why it will not do."""
    if issubclass(type(result), float):
        raise WrongKind("A number came, a tensor is expected: `.item()` and `float()` cut the gradient off.")
    return tensor(result)


RESULTS[_AT] = _loss


def _maps(n: int, channels: int, height: int = 3, width: int = 2, seed: int = 0) -> Tensor:
    """Features [n, channels, height, width] of both signs, none of them near zero."""
    drawn = torch.randn(n, channels, height, width, generator=random().manual_seed(seed), dtype=torch.float64)
    return drawn + drawn.sign() / 4


def _image(*channels: tuple[float, ...]) -> Tensor:
    """One image of 2 x 2 pixels, its channels given pixel by pixel: shape [1, C, 2, 2]."""
    return torch.tensor(channels, dtype=torch.float64).reshape(1, -1, 2, 2)


def _value(loss: Any, student: Tensor, teacher: Tensor) -> float:
    result = loss(student, teacher)
    if result.dim():
        raise WrongKind(f"One number is expected, a tensor of shape {list(result.shape)} came.")
    return float(result)


def _of_both(loss: Any, student: Tensor, changed: Tensor, teacher: Tensor) -> tuple[float, float, str]:
    before, after = _value(loss, student, teacher), _value(loss, changed, teacher)
    return before, after, f"The loss went from `{before:.4g}` to `{after:.4g}`."


@prop(
    _AT,
    "More than one number came. Each image gives one distance; an optimizer descends their mean.",
)
def one_number_comes(loss: Any) -> None:
    expect(loss(_maps(3, 2), _maps(3, 2, seed=1)).dim() == 0)


@prop(
    _AT,
    "The loss has no gradient with respect to the student, so nothing would be learned. Was the student detached, or "
    "the whole computed under `no_grad`? It is the *teacher* that is detached.",
)
def gradient_reaches_the_student(loss: Any) -> None:
    student = _maps(3, 2).requires_grad_()
    result = loss(student, _maps(3, 2, seed=1))
    expect(result.requires_grad, "The result has `requires_grad` False.")
    came = torch.autograd.grad(result, student, allow_unused=True)[0]
    expect(came is not None and came.any(), "The student's gradient is zero.")


@prop(
    _AT,
    "The student's channels in another order give another loss. An attention map has one value per *position*: the "
    "channels are summed away (`dim=1`), the positions stay. That is why the widths of the two networks may differ.",
)
def channels_are_summed(loss: Any) -> None:
    student = _maps(3, 4)
    before, after, sentence = _of_both(loss, student, student[:, [2, 3, 1, 0]], _maps(3, 4, seed=1))
    expect(near(before, after), sentence)


@prop(
    _AT,
    "Equal features must cost nothing, and different ones something. Is it a similarity, which is largest where the "
    "maps agree, and not a distance?",
)
def equal_maps_cost_nothing(loss: Any) -> None:
    same, other = _value(loss, _maps(3, 2), _maps(3, 2)), _value(loss, _maps(3, 2), _maps(3, 2, seed=1))
    expect(near(same, 0.0, 1e-4) and other > 1e-3, f"For equal features came `{same:.4g}`, for others `{other:.4g}`.")


@prop(
    _AT,
    "The student's features with all signs turned give another loss, so plain values were added, and where one channel "
    "says +2 and another -2 they cancel. Square first, then sum.",
)
def sign_does_not_matter(loss: Any) -> None:
    before, after, sentence = _of_both(loss, _maps(3, 2), -_maps(3, 2), _maps(3, 2, seed=1))
    expect(near(before, after), sentence)


@prop(
    _AT,
    "Three times the student's features change the loss. Each map is divided by its norm, so that only *where* a "
    "network looks is compared and not how loud it is.",
)
def scale_changes_nothing(loss: Any) -> None:
    before, after, sentence = _of_both(loss, _maps(3, 2), 3 * _maps(3, 2), _maps(3, 2, seed=1))
    expect(near(before, after), sentence)


@prop(
    _AT,
    "Making *one* image's features three times as large changes the loss: one norm was taken over the whole batch, and "
    "a loud image drowns the others. Every image's map is divided by its own norm.",
)
def each_image_has_its_own_norm(loss: Any) -> None:
    student = _maps(3, 2)
    louder = torch.cat([3 * student[:1], student[1:]])
    before, after, sentence = _of_both(loss, student, louder, _maps(3, 2, seed=1))
    expect(near(before, after), sentence)


@prop(
    _AT,
    "Two images that look at different rows of pixels cost nothing, so each row or column of pixels was divided by a "
    "norm of its own. Flatten the map first: one vector, and one norm, per image.",
)
def rows_of_pixels_share_a_norm(loss: Any) -> None:
    upright = [(4.0, 1.0, 1.0, 1.0), (1.0, 1.0, 4.0, 1.0)], [(1.0, 4.0, 1.0, 1.0), (1.0, 1.0, 1.0, 4.0)]
    for height, width in ((4, 1), (1, 4)):
        student, teacher = (torch.tensor(image, dtype=torch.float64).reshape(2, 1, height, width) for image in upright)
        expect(_value(loss, student, teacher) > 1e-3)


@prop(
    _AT,
    "Student and teacher look at one pixel each, and not at the same one: the two unit vectors are $\\sqrt 2 = 1.414$ "
    "apart. Your number belongs to another distance: 2 is the *square* of it, and what falls with the number of pixels "
    "is a mean over them, as in the authors' own code. The paper and this course take the norm of the difference.",
)
def the_norm_and_not_its_square(loss: Any) -> None:
    expect(near(_value(loss, _image((1, 0, 0, 0)), _image((0, 1, 0, 0))), math.sqrt(2), 1e-4))


@prop(
    _AT,
    "The maps are not divided by their Euclidean norm. With the sum or the largest value in its place other numbers "
    "come: in `F.normalize` the norm is `p=2` by default, and the *second* argument is `p`, not `dim`.",
)
def the_norm_is_euclidean(loss: Any) -> None:
    came = _value(loss, _image((1, 1, 0, 0)), _image((1, 0, 0, 0)))
    wanted = math.sqrt(2 - math.sqrt(2))
    expect(near(came, wanted, 1e-4), f"The maps (1, 1, 0, 0) and (1, 0, 0, 0) gave `{came:.4g}`, not `{wanted:.4g}`.")


@prop(
    _AT,
    "The exponent: the map is the sum over channels of the *squares* of the features, $p = 2$. Absolute values are "
    "$p = 1$, and a root of the sum of squares takes the square back; both make strong activations count for less.",
)
def features_are_squared(loss: Any) -> None:
    half = math.sqrt(0.5)
    spread = _value(loss, _image((1, half, 0, 0), (0, half, 0, 0)), _image((1, 1, 0, 0)))
    came, wanted = _value(loss, _image((2, 1, 0, 0)), _image((1, 1, 0, 0))), math.sqrt(2 - 10 / math.sqrt(34))
    expect(
        near(spread, 0.0, 1e-4) and near(came, wanted, 1e-4),
        f"One channel each, student (2, 1, 0, 0), teacher (1, 1, 0, 0): `{came:.4g}` came, `{wanted:.4g}` is right.",
    )


@prop(
    _AT,
    "Twice the same images, another loss: the distances are *summed* over the batch, or a norm was taken over all "
    "images at once, so the learning rate would hang on the batch size. Take one distance per image, then their mean.",
)
def images_are_averaged(loss: Any) -> None:
    student, teacher = _maps(3, 2), _maps(3, 2, seed=1)
    once, twice = (_value(loss, student.repeat(n, 1, 1, 1), teacher.repeat(n, 1, 1, 1)) for n in (1, 2))
    expect(near(once, twice), f"Once came `{once:.4g}`, with each image twice `{twice:.4g}`.")


@prop(
    _AT,
    "A gradient flows into the teacher, so it would learn to look where its student looks. "
    "`teacher_maps.detach()` closes that way, whatever the caller forgot.",
)
def teacher_gets_no_gradient(loss: Any) -> None:
    student, teacher = _maps(3, 2).requires_grad_(), _maps(3, 2, seed=1).requires_grad_()
    loss(student, teacher).backward()
    expect(teacher.grad is None or not teacher.grad.any(), "After `backward()` the teacher's features have a gradient.")


@prop(
    _AT,
    "An image whose features are all zero, as a ReLU can leave them, breaks it: 0 is divided by 0. "
    "`F.normalize` divides by at least `eps`.",
    finite=True,
)
def a_dead_map_stays_finite(loss: Any) -> None:
    dead = _maps(3, 2)
    dead[1] = 0
    student = dead.clone().requires_grad_()
    result = loss(student, _maps(3, 2, seed=1))
    loss(_maps(3, 2, seed=1), dead)
    came = torch.autograd.grad(result, student, allow_unused=True)[0]
    expect(came is None or came.isfinite().all(), "The value is finite, but the student's gradient is not.")


@prop(
    _AT,
    "Where student and teacher agree the gradient is NaN, and one such image ruins all weights: the slope of a "
    "square root at 0 is infinite. `.norm(dim=1)` gives 0 there; `(d**2).sum(1).sqrt()` does not.",
)
def gradient_is_finite_where_maps_agree(loss: Any) -> None:
    student = _maps(3, 2).requires_grad_()
    came = torch.autograd.grad(loss(student, _maps(3, 2)), student, allow_unused=True)[0]
    expect(came is None or came.isfinite().all(), f"For equal features the gradient is `{shown(came)}`.")


def _batches() -> list[tuple[Tensor, Tensor]]:
    sizes = [(1, 1, 1, 2, 2), (2, 3, 5, 4, 4), (5, 8, 2, 1, 7), (4, 16, 32, 8, 8), (3, 4, 4, 2, 3)]
    draw = random()
    return [
        (torch.randn(n, a, h, w, generator=draw), 5 * torch.randn(n, b, h, w, generator=draw).relu() + 0.01)
        for n, a, b, h, w in sizes
    ]


def _exact(student: Tensor, teacher: Tensor) -> Tensor:
    s, t = (maps.double().square().sum(1).flatten(1) for maps in (student, teacher))
    cosine = (s * t).sum(1) / (s.square().sum(1) * t.square().sum(1)).sqrt()
    return (2 - 2 * cosine).clamp(min=0).sqrt().mean()


agrees(_AT, _batches, _exact, 1e-3)
