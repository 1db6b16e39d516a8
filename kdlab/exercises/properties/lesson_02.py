"""Properties of the code answer of lesson 02a: the distillation loss."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from kdlab.exercises.properties.core import (
    RESULTS,
    WrongKind,
    agrees,
    expect,
    near,
    prop,
    random,
    shown,
    tensor,
)

# --------------------------------------------------------------------------------------- the distillation loss itself

__all__: list[str] = []  # all that counts is what `prop` registers

_KD = "write-kd-loss"


def _loss(result: Any, *arguments: Any) -> Tensor:
    """A tensor; of a plain number it is said why it will not do."""
    if issubclass(type(result), float):
        raise WrongKind("A number came, a tensor is expected: `.item()` and `float()` cut the gradient off.")
    return tensor(result, *arguments)


RESULTS[_KD] = _loss

_STUDENT = ((2.0, 1.5, 0.1), (0.3, -1.0, 2.2))
_TEACHER = ((3.0, 1.0, 0.2), (1.2, 0.0, 0.5))
_FAR = ((20.0, 0.0, 0.0),), ((0.0, 20.0, 0.0),)  # student, teacher: each sure, of different classes


def _rows(rows: tuple[tuple[float, ...], ...]) -> Tensor:
    return torch.tensor(rows, dtype=torch.float64)


def _value(
    kd: Any,
    student: tuple[tuple[float, ...], ...],
    teacher: tuple[tuple[float, ...], ...],
    *,
    labels: int = 0,
    temperature: float = 1.0,
    alpha: float = 1.0,
) -> float:
    """The loss of these rows, all with the same label; by default the soft term at T = 1, without a factor."""
    y = torch.full((len(student),), labels)
    result = kd(_rows(student), _rows(teacher), y, temperature, alpha)
    if result.dim():
        raise WrongKind(f"One number is expected, a tensor of shape {list(result.shape)} came.")
    return float(result)


def _kl(teacher: Tensor, student: Tensor) -> Tensor:
    """KL(p || q) of each row of logits."""
    log_p, log_q = teacher.log_softmax(-1), student.log_softmax(-1)
    return (log_p.exp() * (log_p - log_q)).sum(-1)


@prop(
    _KD,
    "NaN or infinity for quite ordinary logits. `F.kl_div(input, target)` takes *log*-probabilities first and plain "
    "probabilities second; a second logarithm there is the logarithm of a negative number (or say `log_target=True`).",
    finite=True,
)
def ordinary_logits_give_a_number(kd: Any) -> None:
    for alpha in (0.0, 0.5, 1.0):
        kd(_rows(_STUDENT), _rows(_TEACHER), torch.tensor([0, 2]), 4.0, alpha)


@prop(
    _KD,
    "More than one number came. An optimizer descends one: sum over the classes, then take the mean over the rows. "
    "`F.kl_div` does both with `reduction='batchmean'`.",
)
def one_number_comes(kd: Any) -> None:
    for alpha in (0.0, 1.0):
        expect(kd(_rows(_STUDENT), _rows(_TEACHER), torch.tensor([0, 2]), 4.0, alpha).dim() == 0)


@prop(
    _KD,
    "The labels are compared with the *teacher*: at $\\alpha = 0$ the loss does not move when the student does. That "
    "term is a constant with gradient zero. Cross-entropy takes the student's logits.",
)
def labels_are_compared_with_the_student(kd: Any) -> None:
    here, there = (_value(kd, rows, _TEACHER, alpha=0.0) for rows in (_STUDENT, _TEACHER))
    by_teacher = _value(kd, _STUDENT, _STUDENT, alpha=0.0)
    expect(not near(here, there) or near(here, by_teacher))


@prop(
    _KD,
    "The loss has no gradient with respect to the student, so nothing would be learned. Was the student detached, "
    "or was a new tensor made of `.item()`? It is the *teacher* that is detached.",
)
def gradient_reaches_the_student(kd: Any) -> None:
    for alpha in (0.0, 1.0):
        student = _rows(_STUDENT).requires_grad_()
        loss = kd(student, _rows(_TEACHER), torch.tensor([0, 2]), 4.0, alpha)
        expect(loss.requires_grad, f"At alpha = {alpha:g} the result has `requires_grad` False.")
        came = torch.autograd.grad(loss, student, allow_unused=True)[0]
        expect(came is not None and came.any(), f"At alpha = {alpha:g} the student's gradient is zero.")


def _moves_with_labels(kd: Any, alpha: float) -> bool:
    return not near(*(_value(kd, _STUDENT, _TEACHER, labels=y, alpha=alpha) for y in (0, 1)))


def _moves_with_teacher(kd: Any, alpha: float) -> bool:
    return not near(*(_value(kd, _STUDENT, rows, alpha=alpha) for rows in (_TEACHER, _FAR[1] * 2)))


@prop(
    _KD,
    "$\\alpha$ weighs the wrong term: at $\\alpha = 1$ only the labels count, at $\\alpha = 0$ only the teacher. Here, "
    "$\\alpha$ is the weight of the *soft* term; some libraries mean the opposite, so always look.",
)
def alpha_weighs_the_soft_term(kd: Any) -> None:
    swapped = _moves_with_labels(kd, 1.0) and not _moves_with_labels(kd, 0.0) and _moves_with_teacher(kd, 0.0)
    expect(not swapped)


@prop(_KD, "At $\\alpha = 1$ the labels still count. The hard term's weight is $1 - \\alpha$.")
def alpha_one_ignores_the_labels(kd: Any) -> None:
    expect(not _moves_with_labels(kd, 1.0))


@prop(_KD, "At $\\alpha = 0$ the teacher still counts. The soft term's weight is $\\alpha$.")
def alpha_zero_ignores_the_teacher(kd: Any) -> None:
    expect(not _moves_with_teacher(kd, 0.0))


@prop(
    _KD,
    "The hard term changes with the temperature. Labels are learned at $T = 1$: plain logits go into the "
    "cross-entropy, and $T^2$ stands before the soft term alone.",
)
def hard_term_is_at_temperature_one(kd: Any) -> None:
    expect(near(*(_value(kd, _STUDENT, _TEACHER, temperature=t, alpha=0.0) for t in (1.0, 4.0))))


@prop(
    _KD,
    "A student that is sure of the wrong class pays next to nothing for it at $\\alpha = 0$. `F.cross_entropy` takes "
    "*logits* and applies log-softmax itself; `F.nll_loss` takes log-probabilities. Which did it get?",
)
def hard_term_takes_logits(kd: Any) -> None:
    expect(_value(kd, *_FAR, labels=1, alpha=0.0) > 5)


@prop(
    _KD,
    "Rows mix: the loss of two rows is neither the mean nor the sum of their losses. The classes are in the *last* "
    "dimension: `dim=-1`, not `dim=0`.",
)
def rows_do_not_mix(kd: Any) -> None:
    one, two = (_value(kd, _STUDENT[i : i + 1], _TEACHER[i : i + 1]) for i in (0, 1))
    both = _value(kd, _STUDENT, _TEACHER)
    expect(near(both, (one + two) / 2) or near(both, one + two))


@prop(
    _KD,
    "With student and teacher equal the soft term is *negative*, which no divergence ever is. A logarithm is missing: "
    "`F.kl_div(input, target)` wants the student's *log*-probabilities first and does not check.",
)
def kl_div_gets_a_logarithm(kd: Any) -> None:
    expect(_value(kd, _TEACHER, _TEACHER) > -1e-4)


@prop(
    _KD,
    "The soft term is above 0 when student and teacher are equal, and small when they could not differ more: a sign "
    "of *two* softmaxes in a row. `log_softmax` takes logits, not probabilities.",
)
def softmax_is_taken_once(kd: Any) -> None:
    expect(near(_value(kd, _TEACHER, _TEACHER), 0, 1e-3) or _value(kd, *_FAR) > 5)


@prop(
    _KD,
    "With student and teacher equal the soft term is not 0. If that is cross-entropy with soft targets, its gradient "
    "is right, but its floor is the teacher's entropy; KL subtracts it: $\\sum_k p_k (\\log p_k - \\log q_k)$.",
)
def teachers_entropy_is_subtracted(kd: Any) -> None:
    expect(near(_value(kd, _TEACHER, _TEACHER), 0, 1e-3))


@prop(
    _KD,
    "With student and teacher equal the soft term is 0 at $T = 1$, but not at $T = 4$: the two are not at the same "
    "temperature. Both rows of logits are divided by $T$.",
)
def both_are_softened(kd: Any) -> None:
    expect(near(_value(kd, _TEACHER, _TEACHER, temperature=4.0), 0, 1e-3))


@prop(
    _KD,
    "The more the student differs from the teacher, the *lower* your loss; training would drive it to the teacher's "
    "least likely class. Is there a minus sign too many, or one too few?",
)
def a_worse_student_costs_more(kd: Any) -> None:
    expect(_value(kd, *_FAR) > 1e-6)


@prop(
    _KD,
    "Adding 3 to all logits of the student changes no probability, yet it changes your soft term. Are logits compared "
    "in place of the distributions that they give?",
)
def a_constant_changes_nothing(kd: Any) -> None:
    moved = tuple(tuple(z + 3 for z in row) for row in _STUDENT)
    expect(near(_value(kd, moved, _TEACHER), _value(kd, _STUDENT, _TEACHER), 1e-4))


@prop(
    _KD,
    "A student as wrong as can be pays only a little: your soft term is bounded, as a squared error of "
    "*probabilities* and the JS divergence are. Its gradient fades there, too. KL grows with the gap between logits.",
)
def a_sure_mistake_is_expensive(kd: Any) -> None:
    expect(_value(kd, *_FAR) > 5)


@prop(
    _KD,
    "It runs the wrong way: $\\mathrm{KL}(q\\,\\|\\,p)$, or something symmetric, in place of "
    "$\\mathrm{KL}(p\\,\\|\\,q)$. The teacher's $p$ is what is averaged over: in `F.kl_div(input, target)` it is the "
    "*second* argument.",
)
def the_teacher_is_averaged_over(kd: Any) -> None:
    sure, unsure = ((4.0, 0.0, 0.0),), ((1.0, 0.5, 0.0),)
    here, exchanged = _value(kd, sure, unsure), _value(kd, unsure, sure)
    # The forward divergence is the larger of the two here, whatever constant stands before it.
    expect(
        here > 1.01 * exchanged,
        f"For the student `{shown(_rows(sure))}` and the teacher `{shown(_rows(unsure))}` came `{here:.4g}`, and with "
        f"the two exchanged `{exchanged:.4g}`; the former must be larger.",
    )


@prop(
    _KD,
    "The soft term is too small by the number of classes: it is a *mean* over them. A divergence is a *sum* over the "
    "classes; in `F.kl_div` that is `reduction='batchmean'`, and the default is the mean.",
)
def classes_are_summed(kd: Any) -> None:
    row = _STUDENT[:1], _TEACHER[:1]
    expect(not near(3 * _value(kd, *row), _kl(_rows(row[1]), _rows(row[0])), 1e-3))


@prop(
    _KD,
    "Twice the same rows, twice the loss: rows are *summed*, so the learning rate would hang on the batch size. Take "
    "the mean over the rows.",
)
def rows_are_averaged(kd: Any) -> None:
    for alpha in (0.0, 1.0):
        once, twice = (_value(kd, _STUDENT * n, _TEACHER * n, alpha=alpha) for n in (1, 2))
        expect(near(once, twice, 1e-4), f"At alpha = {alpha:g} came `{once:.4g}`, with each row twice `{twice:.4g}`.")


def _hot(kd: Any, temperature: float) -> float:
    return _value(kd, _STUDENT, _TEACHER, temperature=temperature)


@prop(
    _KD,
    "The temperature does not soften anything. Logits are *divided* by $T$ before the softmax, those of the student "
    "and those of the teacher.",
)
def logits_are_divided_by_t(kd: Any) -> None:
    expect(
        _hot(kd, 40.0) < 3 * _hot(kd, 20.0) and not near(_hot(kd, 1.0), _hot(kd, 40.0), 1e-3),
        f"At T = 1, 20, 40 came `{_hot(kd, 1.0):.4g}`, `{_hot(kd, 20.0):.4g}`, `{_hot(kd, 40.0):.4g}`.",
    )


@prop(
    _KD,
    "At twice the temperature the soft term is a quarter or less: the factor $T^2$ is missing. Without it the soft "
    "gradient fades as $T$ grows: the labels are learnt first and the teacher is heard late, in a short run too late.",
)
def t_squared_is_there(kd: Any) -> None:
    expect(_hot(kd, 40.0) > 0.4 * _hot(kd, 20.0), _at_two_temperatures(kd))


@prop(
    _KD,
    "At twice the temperature the soft term is a half: the factor is $T$ where $T^2$ belongs. One $1/T$ comes from "
    "the derivative of $z/T$, the other from $q - p$, which shrinks as well.",
)
def t_is_squared(kd: Any) -> None:
    expect(_hot(kd, 40.0) > 0.75 * _hot(kd, 20.0), _at_two_temperatures(kd))


def _at_two_temperatures(kd: Any) -> str:
    return f"At T = 20 came `{_hot(kd, 20.0):.4g}`, at T = 40 `{_hot(kd, 40.0):.4g}`."


@prop(
    _KD,
    "A gradient flows into the teacher, so it would learn to please its student. `teacher_logits.detach()` closes "
    "that way, whatever the caller forgot.",
)
def teacher_gets_no_gradient(kd: Any) -> None:
    student, teacher = _rows(_STUDENT).requires_grad_(), _rows(_TEACHER).requires_grad_()
    kd(student, teacher, torch.tensor([0, 2]), 4.0, 0.5).backward()
    came = teacher.grad
    expect(came is None or not came.any(), "After `backward()` the teacher's logits have a gradient that is not zero.")


@prop(
    _KD,
    "Logits 200 apart break it. In float32 the softmax of such a row holds an exact 0, whose logarithm is infinite; "
    "a small number added inside only caps the loss, and `torch.distributions.kl_divergence` is infinite there, too. "
    "`log_softmax` never leaves log space.",
    finite=True,
)
def large_logits_stay_exact(kd: Any) -> None:
    sure, other = torch.tensor([[200.0, 0.0, 0.0]]), torch.tensor([[0.0, 200.0, 0.0]])
    y = torch.tensor([1])
    for student, alpha, wanted in ((sure, 1.0, 200.0), (sure, 0.0, 200.0), (other, 1.0, 0.0)):
        came = kd(student, other, y, 1.0, alpha)
        expect(near(came, wanted, 1e-3), f"{_call(student, other, alpha)} came `{shown(came)}`, expected {wanted:g}.")


def _call(student: Tensor, teacher: Tensor, alpha: float) -> str:
    return f"For the student `{shown(student)}`, the teacher `{shown(teacher)}`, label 1, T = 1, alpha = {alpha:g}"


def _batches() -> list[tuple[Tensor, Tensor, Tensor, float, float]]:
    draw = random()
    cases = []
    for (n, k), alpha in zip([(1, 2), (2, 3), (4, 3), (3, 10), (7, 5)], [0.0, 0.3, 0.7, 0.9, 1.0], strict=True):
        for temperature in (0.5, 1.0, 3.0, 10.0):
            student, teacher = (3 * torch.randn(n, k, generator=draw) for _ in range(2))
            cases.append((student, teacher, torch.randint(k, (n,), generator=draw), temperature, alpha))
    return cases


def _exact(student: Tensor, teacher: Tensor, labels: Tensor, temperature: float, alpha: float) -> Tensor:
    s, t = student.double(), teacher.double()
    soft = temperature**2 * _kl(t / temperature, s / temperature).mean()
    return (1 - alpha) * F.cross_entropy(s, labels) + alpha * soft


agrees(_KD, _batches, _exact, 1e-3)
