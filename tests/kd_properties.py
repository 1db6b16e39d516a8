"""What any distillation loss of the form (1 - alpha) CE + alpha T^2 KL must satisfy.

Each property is a function of the loss and raises AssertionError where it is broken, so that the same list
judges kdlab, mutants of kdlab and faulty losses found in the wild. None compares with a stored number.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.testing import assert_close

Loss = Callable[..., Tensor]
Property = Callable[[Loss], None]

PROPERTIES: dict[str, Property] = {}


def prop(function: Property) -> Property:
    PROPERTIES[function.__name__] = function
    return function


def _batch(n: int = 6, k: int = 5, seed: int = 0, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    student = (2 * torch.randn(n, k, generator=generator, dtype=torch.float64)).to(dtype)
    teacher = (3 * torch.randn(n, k, generator=generator, dtype=torch.float64)).to(dtype)
    return student, teacher, torch.randint(k, (n,), generator=generator)


def _gradient(loss: Loss, student: Tensor, *rest: object, **options: object) -> Tensor:
    leaf = student.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(loss(leaf, *rest, **options), leaf)
    return gradient


@prop
def zero_when_logits_agree(loss: Loss) -> None:
    student, _, _ = _batch()
    for temperature in (0.5, 1.0, 4.0):
        assert_close(loss(student, student, temperature=temperature, alpha=1.0), torch.zeros((), dtype=torch.float64))


@prop
def never_negative(loss: Loss) -> None:
    for seed in range(20):
        student, teacher, labels = _batch(seed=seed)
        assert loss(student, teacher, labels, temperature=3.0, alpha=0.8) >= 0
        assert loss(student, teacher, temperature=3.0, alpha=1.0) >= 0


@prop
def blind_to_a_constant_per_row(loss: Loss) -> None:
    student, teacher, labels = _batch()
    shift = torch.linspace(-50, 50, len(student), dtype=torch.float64).unsqueeze(1)
    expected = loss(student, teacher, labels, temperature=2.0, alpha=0.6)
    assert_close(loss(student + shift, teacher, labels, temperature=2.0, alpha=0.6), expected)
    assert_close(loss(student, teacher + shift, labels, temperature=2.0, alpha=0.6), expected)


@prop
def gradient_has_its_closed_form(loss: Loss) -> None:
    student, teacher, labels = _batch()
    for temperature, alpha in ((1.0, 1.0), (4.0, 0.7), (0.5, 0.2)):
        soft = (student / temperature).softmax(-1) - (teacher / temperature).softmax(-1)
        hard = student.softmax(-1) - F.one_hot(labels, student.shape[1])
        expected = (alpha * temperature * soft + (1 - alpha) * hard) / len(student)
        assert_close(_gradient(loss, student, teacher, labels, temperature=temperature, alpha=alpha), expected)


@prop
def gradient_agrees_with_finite_differences(loss: Loss) -> None:
    student, teacher, labels = _batch(n=3, k=4)
    leaf = student.clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda z: loss(z, teacher, labels, temperature=3.0, alpha=0.5), (leaf,))


@prop
def a_gradient_step_brings_the_student_closer(loss: Loss) -> None:
    student, teacher, _ = _batch()
    gradient = _gradient(loss, student, teacher, temperature=2.0, alpha=1.0)
    assert gradient.norm() > 1e-3

    def distance(z: Tensor) -> Tensor:
        return ((z / 2).softmax(-1) - (teacher / 2).softmax(-1)).abs().sum()

    assert distance(student - 0.1 * gradient) < distance(student)


@prop
def mean_over_the_batch(loss: Loss) -> None:
    student, teacher, labels = _batch()
    options = {"temperature": 4.0, "alpha": 0.7}
    rows = [loss(student[i : i + 1], teacher[i : i + 1], labels[i : i + 1], **options) for i in range(len(student))]
    assert_close(loss(student, teacher, labels, **options), torch.stack(rows).mean())


@prop
def equals_the_kl_of_torch_distributions(loss: Loss) -> None:
    student, teacher, _ = _batch()
    teacher_first = torch.distributions.kl_divergence(
        torch.distributions.Categorical(logits=teacher), torch.distributions.Categorical(logits=student)
    ).mean()
    assert_close(loss(student, teacher, temperature=1.0, alpha=1.0), teacher_first)


@prop
def free_logits_end_at_the_teachers_distribution(loss: Loss) -> None:
    teacher = torch.tensor([[3.0, 1.0, 0.0, -1.0, -2.0]], dtype=torch.float64)
    student = torch.zeros_like(teacher).requires_grad_()
    optimizer = torch.optim.LBFGS([student], max_iter=200, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        value = loss(student, teacher, temperature=2.0, alpha=1.0)
        value.backward()
        return value

    optimizer.step(closure)
    assert_close(student.detach().softmax(-1), teacher.softmax(-1), atol=1e-4, rtol=0)


@prop
def matches_centred_logits_at_high_temperature(loss: Loss) -> None:
    student, teacher, _ = _batch()
    gap = student - teacher
    centred = gap - gap.mean(-1, keepdim=True)
    limit = centred.pow(2).sum(-1).mean() / (2 * student.shape[1])
    assert_close(loss(student, teacher, temperature=2e4, alpha=1.0), limit, rtol=1e-3, atol=0)


@prop
def gradient_does_not_fade_with_temperature(loss: Loss) -> None:
    student, teacher, _ = _batch()
    at_16, at_64 = (_gradient(loss, student, teacher, temperature=t, alpha=1.0).norm() for t in (16.0, 64.0))
    assert 0.8 < at_64 / at_16 < 1.25


@prop
def teacher_gets_no_gradient(loss: Loss) -> None:
    student, teacher, labels = _batch()
    teacher.requires_grad_()
    student.requires_grad_()
    loss(student, teacher, labels, temperature=2.0, alpha=0.5).backward()
    assert teacher.grad is None
    assert student.grad is not None


@prop
def alpha_zero_is_cross_entropy(loss: Loss) -> None:
    student, teacher, labels = _batch()
    assert_close(loss(student, teacher, labels, temperature=4.0, alpha=0.0), F.cross_entropy(student, labels))


@prop
def alpha_one_ignores_labels(loss: Loss) -> None:
    student, teacher, labels = _batch()
    without = loss(student, teacher, temperature=4.0, alpha=1.0)
    assert_close(loss(student, teacher, labels, temperature=4.0, alpha=1.0), without)
    assert_close(loss(student, teacher, torch.full_like(labels, -1), temperature=4.0, alpha=1.0), without)


@prop
def hard_term_is_taken_at_temperature_one(loss: Loss) -> None:
    student, _, labels = _batch()
    mixed = loss(student, student, labels, temperature=8.0, alpha=0.5)
    assert_close(mixed, 0.5 * F.cross_entropy(student, labels))


@prop
def one_logit_is_refused(loss: Loss) -> None:
    try:
        loss(torch.zeros(4, 1), torch.ones(4, 1), temperature=2.0, alpha=1.0)
    except ValueError:
        return
    raise AssertionError("a one-logit input was accepted: softmax over it is always 1, the loss always 0")


@prop
def half_precision_stays_finite(loss: Loss) -> None:
    for dtype in (torch.float16, torch.bfloat16):
        student, teacher, labels = _batch(dtype=dtype)
        value = loss(student, teacher, labels, temperature=20.0, alpha=0.9)
        exact = loss(student.double(), teacher.double(), labels, temperature=20.0, alpha=0.9)
        assert_close(value.double(), exact, rtol=1e-3, atol=1e-5)


@prop
def logit_gaps_of_200_stay_finite(loss: Loss) -> None:
    row = torch.tensor([[0.0, -200.0, -100.0, -1.0]])
    labels = torch.tensor([1])
    for dtype in (torch.float64, torch.float32, torch.bfloat16, torch.float16):
        student, teacher = row.to(dtype), row.flip(-1).to(dtype)
        assert torch.isfinite(loss(student, teacher, labels, temperature=1.0, alpha=0.5))
        assert torch.isfinite(_gradient(loss, student, teacher, labels, temperature=1.0, alpha=0.5)).all()


@prop
def leading_dimensions_are_all_positions(loss: Loss) -> None:
    student, teacher, labels = _batch(n=6, k=5)
    flat = loss(student, teacher, labels, temperature=2.0, alpha=0.5)
    nested = loss(student.view(2, 3, 5), teacher.view(2, 3, 5), labels.view(2, 3), temperature=2.0, alpha=0.5)
    assert_close(nested, flat)


@prop
def classes_may_be_renumbered(loss: Loss) -> None:
    student, teacher, labels = _batch()
    order = torch.randperm(student.shape[1], generator=torch.Generator().manual_seed(1))
    renumbered = loss(student[:, order], teacher[:, order], order.argsort()[labels], temperature=2.0, alpha=0.5)
    assert_close(renumbered, loss(student, teacher, labels, temperature=2.0, alpha=0.5))


@prop
def teacher_is_the_reference_of_the_kl(loss: Loss) -> None:
    """Forward KL: infinite cost for missing a class the teacher believes in, little for an extra one."""
    sure, torn = torch.tensor([[12.0, 0.0]]), torch.tensor([[0.0, 0.0]])
    misses = loss(sure, torn, temperature=1.0, alpha=1.0)  # the student rules out what the teacher believes
    extra = loss(torn, sure, temperature=1.0, alpha=1.0)
    assert misses > 5
    assert abs(float(extra) - math.log(2)) < 1e-3


def broken(loss: Loss) -> set[str]:
    """Names of the properties that ``loss`` violates, or that it cannot even be asked."""
    failed = set()
    for name, check in PROPERTIES.items():
        try:
            check(loss)
        except Exception:
            failed.add(name)
    return failed
