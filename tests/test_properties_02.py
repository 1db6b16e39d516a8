"""Exercises of lesson 02: their numbers recomputed, and what its code exercises say of answers of the wrong kind."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from kdlab.exercises import judging
from kdlab.exercises.catalog import Field, exercise
from kdlab.exercises.judging import Finding
from kdlab.losses import kd_loss

ORIGINALS = judging.Originals()


def _field(slug: str, name: str) -> Field:
    return next(field for field in exercise(slug).fields if field.name == name)


def _mistakes(field: Field) -> list[float]:
    return [wrong.answer for wrong in field.wrong]


def _judged(slug: str, source: str) -> Finding:
    function = exercise(slug).fields[0].function
    progress = judging.Progress()
    return judging.judge(
        "source", source.encode(), slug=slug, function=function, progress=progress, originals=ORIGINALS
    )


def _row(*values: float) -> Tensor:
    return torch.tensor([values], dtype=torch.float64)


def _kl(p: Tensor, q: Tensor) -> float:
    return float((p * (p / q).log()).sum())


TEACHER, STUDENT, LABEL, T, ALPHA = _row(3, 1, 0.2), _row(2, 1.5, 0.1), torch.tensor([0]), 4.0, 0.7


# ------------------------------------------------------------------------------------------- numbers, recomputed


def test_the_loss_of_one_row_is_what_kdlab_computes() -> None:
    field = _field("kd-loss-of-one-row", "loss")
    came = kd_loss(STUDENT, TEACHER, LABEL, temperature=T, alpha=ALPHA)
    assert field.answer == pytest.approx(float(came), abs=1e-6)


def test_each_wrong_loss_of_one_row_comes_from_the_mistake_that_its_message_names() -> None:
    p, q, p1, q1 = (TEACHER / T).softmax(-1), (STUDENT / T).softmax(-1), TEACHER.softmax(-1), STUDENT.softmax(-1)
    ce, soft = -math.log(q1[0, 0]), T**2 * _kl(p, q)
    mixed = [
        (ce, T**2 * _kl(q, p)), (ce, _kl(p, q)), (ce, T * _kl(p, q)), (soft, ce), (-math.log(q[0, 0]), soft),
        (ce, soft / 3), (ce, _kl(p1, q1)), (ce, T**2 * _kl(p1, q1)), (0.0, soft), (ce, 0.0),
    ]  # fmt: skip
    expected = [(1 - ALPHA) * hard + ALPHA * second for hard, second in mixed]
    expected[3] = ALPHA * ce + (1 - ALPHA) * soft
    cross = -(T**2) * float((p * q.log()).sum())
    expected += [ce + soft, (1 - ALPHA) * ce + ALPHA * cross]
    assert _mistakes(_field("kd-loss-of-one-row", "loss")) == pytest.approx(expected, abs=1e-5)


def test_the_row_that_tells_the_directions_apart_does_and_the_symmetric_one_does_not() -> None:
    def both(student: Tensor, teacher: Tensor, temperature: float) -> tuple[float, float]:
        p, q = (teacher / temperature).softmax(-1), (student / temperature).softmax(-1)
        return _kl(p, q), _kl(q, p)

    forward, reverse = both(_row(9, 0, 0), _row(2, 1, 0), 1.0)
    assert (round(forward, 2), round(reverse, 2)) == (2.18, 0.41)
    forward, reverse = both(_row(9, 0, 0), _row(2, 1, 0), T)
    assert forward > 1.1 * reverse
    for temperature in (1.0, T):
        forward, reverse = both(_row(8, 0, 0), _row(0, 8, 0), temperature)
        assert forward == pytest.approx(reverse, rel=1e-9)


def test_the_gradient_is_what_autograd_says_and_so_is_its_limit() -> None:
    def gradient(temperature: float) -> float:
        leaf = STUDENT.clone().requires_grad_()
        kd_loss(leaf, TEACHER, temperature=temperature, alpha=1.0).backward()
        assert leaf.grad is not None
        return float(leaf.grad[0, 0])

    field = _field("gradient-of-the-soft-term", "value")
    assert field.answer == pytest.approx(gradient(T), abs=1e-6)
    centred = (STUDENT - STUDENT.mean()) - (TEACHER - TEACHER.mean())
    assert gradient(1e4) == pytest.approx(float(centred[0, 0]) / 3, abs=1e-4)
    p, q, p1, q1 = (TEACHER / T).softmax(-1), (STUDENT / T).softmax(-1), TEACHER.softmax(-1), STUDENT.softmax(-1)
    gap, plain = float((q - p)[0, 0]), float((q1 - p1)[0, 0])
    expected = [-T * gap, gap, T**2 * gap, gap / T, T * plain, float(centred[0, 0]) / 3, -1 / 3]
    assert _mistakes(field) == pytest.approx(expected, abs=1e-6)


def test_without_t_squared_the_gradient_is_about_50_times_smaller_at_8_and_not_by_one_factor() -> None:
    draw = torch.Generator().manual_seed(0)
    teacher, start = (3 * torch.randn(256, 10, generator=draw, dtype=torch.float64) for _ in range(2))

    def gradient(temperature: float) -> Tensor:
        leaf = start.clone().requires_grad_()
        (kd_loss(leaf, teacher, temperature=temperature, alpha=1.0) / temperature**2).backward()
        assert leaf.grad is not None
        return leaf.grad

    by_row = gradient(1.0).norm(dim=1) / gradient(8.0).norm(dim=1)
    assert 44 < float(gradient(1.0).norm() / gradient(8.0).norm()) < 51
    assert float(by_row.std()) > 5


def test_the_swapped_call_gives_the_stated_value_and_ends_at_the_softmax_of_p() -> None:
    p = _row(0.5, 0.3, 0.2)
    field = _field("kl-div-swapped-without-log", "equal")
    assert field.answer == pytest.approx(float(F.kl_div(p, p, reduction="batchmean")), abs=1e-5)
    entropy, square = -float((p * p.log()).sum()), float((p * p).sum())
    expected = [0, -entropy, entropy + square, -(entropy + square) / 3, square - entropy, -square]
    assert _mistakes(field) == pytest.approx(expected, abs=1e-5)
    ends = {}
    for name, order in (("swapped", lambda q: (p, q)), ("right order", lambda q: (q, p))):
        free = torch.zeros(1, 3, dtype=torch.float64, requires_grad=True)
        optimizer = torch.optim.Adam([free], lr=0.1)
        for _ in range(500):
            optimizer.zero_grad()
            F.kl_div(*order(free.softmax(-1)), reduction="batchmean").backward()
            optimizer.step()
        ends[name] = free.detach().softmax(-1)
    torch.testing.assert_close(ends["swapped"], p.softmax(-1), atol=1e-3, rtol=0)
    assert float(ends["right order"][0, 0]) > 0.99


def test_the_line_to_blame_is_the_only_wrong_one_of_its_training_step() -> None:
    listing = exercise("kl-div-swapped-without-log").listing
    wrong = listing.splitlines()[8]
    assert "F.kl_div(p, q," in wrong
    mended = listing.replace(wrong, wrong.replace("(p, q,", "(q.log(), p,"))
    torch.manual_seed(0)
    teacher, student = torch.nn.Linear(4, 3), torch.nn.Linear(4, 3)
    x, y = torch.randn(8, 4), torch.randint(3, (8,))
    expected = kd_loss(student(x), teacher(x), y, temperature=4.0, alpha=0.9).item()
    space: dict[str, Any] = {"torch": torch, "F": F}
    exec(mended, space)
    optimizer = torch.optim.SGD(student.parameters(), lr=0.0)
    assert space["train_step"](student, teacher, x, y, optimizer) == pytest.approx(expected, abs=1e-5)
    exec(listing, space)
    assert abs(space["train_step"](student, teacher, x, y, optimizer) - expected) > 0.1


def test_the_simplification_breaks_at_the_stated_line_and_rewards_the_uniform_student() -> None:
    one = exercise("simplification-without-teacher")
    lines = one.listing.splitlines()

    def values(student: Tensor, teacher: Tensor) -> list[float]:
        space: dict[str, Any] = {"z_s": student, "z_t": teacher, "K": 3}
        exec("\n".join(lines[:2]), space)
        return [float(eval(line.removeprefix("loss = "), space)) for line in lines[2:]]

    teacher = torch.tensor([2.0, 0.5, -1.0], dtype=torch.float64)
    chain = values(torch.tensor([1.0, 0.0, -0.5], dtype=torch.float64), teacher)
    equal = [abs(a - b) < 1e-9 for a, b in pairwise(chain)]
    assert equal == [True, False, False, False]
    assert one.fields[0].answer == 3 + equal.index(False) + 1
    perfect = values(teacher, teacher)
    assert perfect[0] == pytest.approx(0)
    assert _field(one.slug, "perfect").answer == pytest.approx(perfect[-1], abs=1e-3)
    assert values(torch.zeros(3, dtype=torch.float64), teacher)[-1] == 0
    assert values(torch.zeros(3, dtype=torch.float64), teacher)[0] == pytest.approx(0.316, abs=1e-3)


# ----------------------------------------------------------------------------------------- answers of the wrong kind

HEAD = "def kd_loss(student_logits, teacher_logits, labels, temperature, alpha):\n    "


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("return F.cross_entropy(student_logits, labels).item()", "cut the gradient off"),
        ("F.cross_entropy(student_logits, labels)", "is the `return` statement missing?"),
        ("return student_logits.argmax(-1).sum()", "Floating point numbers are expected"),
        ("return F.softmax(student_logits, temperature=temperature)", "unexpected keyword argument"),
    ],
)
def test_a_loss_of_the_wrong_kind_is_invalid_with_the_cause(body: str, said: str) -> None:
    finding = _judged("write-kd-loss", HEAD + body)
    assert finding.outcome == "invalid"
    assert said in finding.message


@pytest.mark.parametrize(
    ("result", "said"),
    [
        ("torch.zeros(1, 3)", "Three tensors are expected"),
        ("[[20.0, 0.0]], torch.zeros(1, 2), torch.tensor([1])", "The student's logits: A tensor is expected"),
        ("torch.tensor([[20, 0]]), torch.zeros(1, 2), torch.tensor([1])", "Floating point numbers are expected"),
        ("torch.zeros(3), torch.zeros(3), torch.tensor([1])", "must be one row, shape [1, K]"),
        ("torch.zeros(2, 3), torch.zeros(2, 3), torch.tensor([1, 1])", "must be one row, shape [1, K]"),
        ("torch.zeros(1, 3), torch.zeros(1, 4), torch.tensor([1])", "as many classes; they have 3, 4"),
        ("torch.tensor([[math.inf, 0]]), torch.zeros(1, 2), torch.tensor([1])", "must be finite"),
        ("torch.zeros(1, 2), torch.tensor([[math.nan, 0]]), torch.tensor([1])", "The teacher's logits must be finite"),
        ("torch.zeros(1, 3), torch.zeros(1, 3), 1", "must be one class index"),
        ("torch.zeros(1, 3), torch.zeros(1, 3), torch.tensor([1.0])", "must be one class index"),
        ("torch.zeros(1, 3), torch.zeros(1, 3), torch.tensor([3])", "The label 3 is none of the classes 0 to 2"),
        ("torch.zeros(1, 3), torch.zeros(1, 3), torch.tensor([-1])", "The label -1 is none of the classes"),
    ],
)
def test_an_input_of_the_wrong_kind_is_invalid_with_the_cause(result: str, said: str) -> None:
    finding = _judged("input-that-freezes-the-student", f"def freeze():\n    return {result}")
    assert finding.outcome == "invalid"
    assert said in finding.message


def test_an_input_that_exposes_nothing_is_told_what_both_losses_say_of_it() -> None:
    source = "def freeze():\n    return torch.eye(3)[:1], torch.eye(3)[1:2], torch.tensor([1])"
    message = _judged("input-that-freezes-the-student", source).message
    assert "the faulty loss is" in message
    assert "the right one is" in message
    assert message.count("its gradient `[[") == 2


def test_the_faulty_loss_that_is_judged_is_the_one_that_the_cell_shows() -> None:
    from kdlab.exercises.properties.lesson_02b import _faulty

    space: dict[str, Any] = {"torch": torch}
    exec(exercise("input-that-freezes-the-student").starter, space)
    torch.testing.assert_close(space["article_loss"](STUDENT, TEACHER, LABEL), _faulty(STUDENT, TEACHER, LABEL))
