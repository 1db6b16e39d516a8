"""What a distillation loss must satisfy, as a list that judges any loss: kdlab's, yours, or one found in the wild.

Accuracy cannot validate a loss: several wrong ones train a good student (lesson 02b measures it). A property can: it
holds for every right implementation, and a broken one says what is wrong. None compares with a stored number.

The losses judged here are called as ``loss(student_logits, teacher_logits, labels, temperature=T, alpha=a)``, as
:func:`kdlab.losses.kd_loss` is. :func:`soft_only` gives that shape to a loss without labels and alpha.

References:
    Hinton, Vinyals, Dean (2015), Distilling the Knowledge in a Neural Network, arXiv 1503.02531.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["PROPERTIES", "Report", "examine", "soft_only"]

Loss = Callable[..., Tensor]
Property = Callable[[Loss], None]

PROPERTIES: dict[str, Property] = {}
"""Name to a function of the loss that raises AssertionError, with what it saw, where the property is broken."""


@dataclass(frozen=True)
class Report:
    """What :func:`examine` found.

    Attributes:
        held: names of the properties that hold.
        violated: name to what was seen, for those that do not.
    """

    held: tuple[str, ...]
    violated: dict[str, str]

    def __str__(self) -> str:
        if not self.violated:
            return f"all {len(self.held)} properties hold"
        lines = [f"  {name.replace('_', ' ')}: {seen}" for name, seen in self.violated.items()]
        return "\n".join(
            [f"{len(self.violated)} of {len(self.held) + len(self.violated)} properties violated:", *lines]
        )


def examine(loss: Loss, properties: Iterable[str] | None = None) -> Report:
    """Ask a loss for every property, or for those named; a loss that raises where it should not violates it.

    Raises:
        ValueError: a name that is no property's.

    Example:
        >>> from kdlab.losses import kd_loss
        >>> print(examine(kd_loss, ["zero_when_logits_agree", "teacher_gets_no_gradient"]))
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


def soft_only(loss: Callable[..., Tensor]) -> Loss:
    """Give ``loss(student, teacher, temperature=T)`` the signature of ``kd_loss``, cross-entropy mixed in."""

    def mixed(
        student: Tensor, teacher: Tensor, labels: Tensor | None = None, *, temperature: float, alpha: float
    ) -> Tensor:
        soft = loss(student, teacher, temperature=temperature)
        if alpha == 1:
            return soft
        assert labels is not None
        rows = student.to(torch.promote_types(student.dtype, torch.float32)).flatten(0, -2)
        return alpha * soft + (1 - alpha) * F.cross_entropy(rows, labels.flatten())

    return mixed


def _prop(function: Property) -> Property:
    PROPERTIES[function.__name__] = function
    return function


# --- the soft term as a distance --------------------------------------------------------------------------------------


@_prop
def zero_when_logits_agree(loss: Loss) -> None:
    student, _, _ = _batch()
    for temperature in (0.5, 1.0, 4.0):
        _close(loss(student, student, temperature=temperature, alpha=1.0), torch.tensor(0.0), "for equal logits")


@_prop
def never_negative(loss: Loss) -> None:
    for seed in range(20):
        student, teacher, labels = _batch(seed=seed)
        for alpha, y in ((0.8, labels), (1.0, None)):
            value = float(loss(student, teacher, y, temperature=3.0, alpha=alpha))
            _expect(value >= 0, f"it is {value:.4g} for some logits")


@_prop
def blind_to_a_constant_per_row(loss: Loss) -> None:
    student, teacher, labels = _batch()
    shift = torch.linspace(-50, 50, len(student), dtype=torch.float64).unsqueeze(1)
    expected = loss(student, teacher, labels, temperature=2.0, alpha=0.6)
    for which, pair in {"student": (student + shift, teacher), "teacher": (student, teacher + shift)}.items():
        where = f"with a constant added to each row of the {which}, which no softmax sees,"
        _close(loss(*pair, labels, temperature=2.0, alpha=0.6), expected, where)


@_prop
def a_gradient_step_brings_the_student_closer(loss: Loss) -> None:
    student, teacher, _ = _batch()
    gradient = _gradient(loss, student, teacher, temperature=2.0, alpha=1.0)
    _expect(float(gradient.norm()) > 1e-3, "the student gets no gradient")

    def distance(z: Tensor) -> float:
        return float(((z / 2).softmax(-1) - (teacher / 2).softmax(-1)).abs().sum())

    step = 0.1 / float(gradient.norm())
    before, after = distance(student), distance(student - step * gradient)
    _expect(after < before, f"a step against the gradient takes the student away, from {before:.4g} to {after:.4g}")


@_prop
def free_logits_end_at_the_teachers_distribution(loss: Loss) -> None:
    teacher = torch.tensor([[3.0, 1.0, 0.0, -1.0, -2.0], [0.0, 2.0, 1.5, -1.0, 0.5]], dtype=torch.float64)
    student = torch.zeros_like(teacher).requires_grad_()
    optimizer = torch.optim.LBFGS([student], max_iter=300, line_search_fn="strong_wolfe", tolerance_grad=1e-9)

    def closure() -> Tensor:
        optimizer.zero_grad()
        value = loss(student, teacher, temperature=2.0, alpha=1.0)
        value.backward()
        return value

    optimizer.step(closure)
    where = "the student's probabilities after descent on free logits:"
    _close(student.detach().softmax(-1)[0], teacher.softmax(-1)[0], where, atol=1e-3)


@_prop
def rows_are_matched(loss: Loss) -> None:
    student, _, _ = _batch()
    value = float(loss(student, student.roll(1, 0), temperature=2.0, alpha=1.0))
    _expect(value > 1e-3, f"it is {value:.4g} though each teacher row belongs to another sample")


@_prop
def mean_over_the_batch(loss: Loss) -> None:
    student, teacher, labels = _batch()
    options = {"temperature": 4.0, "alpha": 0.7}
    rows = [loss(student[i : i + 1], teacher[i : i + 1], labels[i : i + 1], **options) for i in range(len(student))]
    _close(loss(student, teacher, labels, **options), torch.stack(rows).mean(), "against the mean over rows, the batch")


@_prop
def leading_dimensions_are_all_positions(loss: Loss) -> None:
    student, teacher, labels = _batch(n=6, k=5)
    flat = loss(student, teacher, labels, temperature=2.0, alpha=0.5)
    nested = loss(student.view(2, 3, 5), teacher.view(2, 3, 5), labels.view(2, 3), temperature=2.0, alpha=0.5)
    _close(nested, flat, "for the same rows as [2, 3, 5] in place of [6, 5]")


@_prop
def classes_may_be_renumbered(loss: Loss) -> None:
    student, teacher, labels = _batch()
    order = torch.randperm(student.shape[1], generator=torch.Generator().manual_seed(1))
    renumbered = loss(student[:, order], teacher[:, order], order.argsort()[labels], temperature=2.0, alpha=0.5)
    _close(renumbered, loss(student, teacher, labels, temperature=2.0, alpha=0.5), "with classes in another order")


# --- gradients --------------------------------------------------------------------------------------------------------


@_prop
def gradient_agrees_with_finite_differences(loss: Loss) -> None:
    student, teacher, labels = _batch(n=3, k=4)
    leaf = student.clone().requires_grad_()
    _expect(
        torch.autograd.gradcheck(
            lambda z: loss(z, teacher, labels, temperature=3.0, alpha=0.5), (leaf,), raise_exception=False
        ),
        "autograd's gradient is not the slope of the value",
    )


@_prop
def second_derivatives_are_right_or_refused(loss: Loss) -> None:
    student, teacher, labels = _batch(n=3, k=4)
    leaf = student.clone().requires_grad_()
    try:
        right = torch.autograd.gradgradcheck(lambda z: loss(z, teacher, labels, temperature=3.0, alpha=0.5), (leaf,))
    except RuntimeError as error:
        right = "once_differentiable" in str(error)  # torch's word for a gradient that refuses to be derived
        _expect(right, f"second derivatives are wrong: {str(error).partition(chr(10))[0]}")


@_prop
def teacher_gets_no_gradient(loss: Loss) -> None:
    student, teacher, labels = _batch()
    teacher.requires_grad_()
    student.requires_grad_()
    loss(student, teacher, labels, temperature=2.0, alpha=0.5).backward()
    _expect(teacher.grad is None, "the teacher got a gradient")
    _expect(student.grad is not None, "the student got none")


@_prop
def gradient_does_not_fade_with_temperature(loss: Loss) -> None:
    student, teacher, _ = _batch()
    at_16, at_64 = (float(_gradient(loss, student, teacher, temperature=t, alpha=1.0).norm()) for t in (16.0, 64.0))
    _expect(at_64 > 0.8 * at_16, f"from T = 16 to T = 64 the norm of the gradient falls {at_16 / at_64:.3g} times")


@_prop
def gradient_does_not_grow_with_temperature(loss: Loss) -> None:
    student, teacher, _ = _batch()
    at_16, at_64 = (float(_gradient(loss, student, teacher, temperature=t, alpha=1.0).norm()) for t in (16.0, 64.0))
    _expect(at_64 < 1.25 * at_16, f"from T = 16 to T = 64 the norm of the gradient grows {at_64 / at_16:.3g} times")


# --- numbers at the edge ----------------------------------------------------------------------------------------------


@_prop
def half_precision_stays_accurate(loss: Loss) -> None:
    for dtype in (torch.float16, torch.bfloat16):
        student, teacher, labels = _batch(dtype=dtype)
        value = loss(student, teacher, labels, temperature=20.0, alpha=0.9)
        exact = loss(student.double(), teacher.double(), labels, temperature=20.0, alpha=0.9)
        _close(value.double(), exact, f"in {dtype}", rtol=1e-3)


@_prop
def logit_gaps_of_200_stay_finite(loss: Loss) -> None:
    rows = torch.tensor([[0.0, -200.0, -100.0, -1.0], [200.0, 0.0, 0.0, 1.0]])
    labels = torch.tensor([1, 2])
    for dtype in (torch.float64, torch.float32, torch.bfloat16, torch.float16):
        student, teacher = rows.to(dtype), rows.flip(-1).to(dtype)
        value = float(loss(student, teacher, labels, temperature=1.0, alpha=0.5))
        _expect(math.isfinite(value), f"it is {value} in {dtype}")
        gradient = _gradient(loss, student, teacher, labels, temperature=1.0, alpha=0.5)
        _expect(bool(gradient.isfinite().all()), f"its gradient is not finite in {dtype}")


@_prop
def one_logit_is_refused(loss: Loss) -> None:
    try:
        loss(torch.zeros(4, 1), torch.ones(4, 1), temperature=2.0, alpha=1.0)
    except ValueError:
        return
    raise AssertionError("it accepts a single logit, whose softmax is always 1")


# --- Hinton's loss and no other ---------------------------------------------------------------------------------------


@_prop
def equals_the_kl_of_torch_distributions(loss: Loss) -> None:
    student, teacher, _ = _batch()
    categorical = torch.distributions.Categorical
    exact = torch.distributions.kl_divergence(categorical(logits=teacher), categorical(logits=student)).mean()
    _close(loss(student, teacher, temperature=1.0, alpha=1.0), exact, "against KL(teacher || student) at T = 1")


@_prop
def gradient_has_its_closed_form(loss: Loss) -> None:
    student, teacher, labels = _batch()
    for temperature, alpha in ((1.0, 1.0), (4.0, 0.7), (0.5, 0.2)):
        soft = (student / temperature).softmax(-1) - (teacher / temperature).softmax(-1)
        hard = student.softmax(-1) - F.one_hot(labels, student.shape[1])
        expected = (alpha * temperature * soft + (1 - alpha) * hard) / len(student)
        gradient = _gradient(loss, student, teacher, labels, temperature=temperature, alpha=alpha)
        where = f"against alpha T (q - p) + (1 - alpha)(q - y) over B, at T = {temperature:g}, alpha = {alpha:g},"
        _close(gradient, expected, where)


@_prop
def matches_centred_logits_at_high_temperature(loss: Loss) -> None:
    student, teacher, _ = _batch()
    gap = student - teacher
    centred = gap - gap.mean(-1, keepdim=True)
    limit = centred.pow(2).sum(-1).mean() / (2 * student.shape[1])
    where = "against the limit of T^2 KL, at T = 20000,"
    _close(loss(student, teacher, temperature=2e4, alpha=1.0), limit, where, rtol=1e-3)


@_prop
def teacher_is_the_reference_of_the_kl(loss: Loss) -> None:
    """Forward KL: infinite cost for missing a class the teacher believes in, little for an extra one."""
    sure, torn = torch.tensor([[12.0, 0.0]]), torch.tensor([[0.0, 0.0]])
    misses = float(loss(sure, torn, temperature=1.0, alpha=1.0))  # the student rules out what the teacher believes
    extra = float(loss(torn, sure, temperature=1.0, alpha=1.0))
    _expect(misses > 5, f"missing a class that the teacher believes in costs only {misses:.3g}")
    _expect(abs(extra - math.log(2)) < 1e-3, f"one class too many costs {extra:.3g}, and should cost ln 2")


@_prop
def alpha_zero_is_cross_entropy(loss: Loss) -> None:
    student, teacher, labels = _batch()
    value = loss(student, teacher, labels, temperature=4.0, alpha=0.0)
    _close(value, F.cross_entropy(student, labels), "against cross-entropy, at alpha = 0,")


@_prop
def alpha_one_ignores_labels(loss: Loss) -> None:
    student, teacher, labels = _batch()
    without = loss(student, teacher, temperature=4.0, alpha=1.0)
    for y in (labels, torch.full_like(labels, -1)):
        _close(loss(student, teacher, y, temperature=4.0, alpha=1.0), without, "at alpha = 1, with other labels,")


@_prop
def hard_term_is_taken_at_temperature_one(loss: Loss) -> None:
    student, _, labels = _batch()
    mixed = loss(student, student, labels, temperature=8.0, alpha=0.5)
    _close(mixed, 0.5 * F.cross_entropy(student, labels), "against half a cross-entropy at T = 1, for equal logits,")


# --- tools ------------------------------------------------------------------------------------------------------------


def _batch(n: int = 6, k: int = 5, seed: int = 0, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor]:
    """Logits of a student and of a surer teacher, (n, k), and labels (n,)."""
    generator = torch.Generator().manual_seed(seed)
    student = (2 * torch.randn(n, k, generator=generator, dtype=torch.float64)).to(dtype)
    teacher = (3 * torch.randn(n, k, generator=generator, dtype=torch.float64)).to(dtype)
    return student, teacher, torch.randint(k, (n,), generator=generator)


def _gradient(loss: Loss, student: Tensor, *rest: object, **options: object) -> Tensor:
    leaf = student.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(loss(leaf, *rest, **options), leaf)
    return gradient


def _expect(right: bool, seen: str) -> None:
    if not right:
        raise AssertionError(seen)


def _close(value: Tensor, expected: Tensor, where: str, *, rtol: float = 1e-6, atol: float = 1e-7) -> None:
    value, expected = value.detach().double(), expected.detach().double()
    if torch.allclose(value, expected, rtol=rtol, atol=atol):
        return
    got, want = ([round(v, 4) for v in one.flatten()[:5].tolist()] for one in (value, expected))
    if value.numel() == 1:
        raise AssertionError(f"{where} it is {got[0]:.4g}, and should be {want[0]:.4g}")
    raise AssertionError(f"{where} it is {got} ..., and should be {want} ...")
