"""Exercises of lesson 02: their numbers recomputed, and what its code exercises say of answers of the wrong kind."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from answering import field_of, judged, mistakes
from torch import Tensor

from kdlab.data import load_digits
from kdlab.exercises import grade
from kdlab.exercises.catalog import exercise
from kdlab.losses import kd_loss
from kdlab.models import MLP
from kdlab.studies import load_results, soft_labels
from kdlab.training import fit, predict_logits, seeded


def _row(*values: float) -> Tensor:
    return torch.tensor([values], dtype=torch.float64)


def _kl(p: Tensor, q: Tensor) -> float:
    return float((p * (p / q).log()).sum())


TEACHER, STUDENT, LABEL, T, ALPHA = _row(3, 1, 0.2), _row(2, 1.5, 0.1), torch.tensor([0]), 4.0, 0.7


# ------------------------------------------------------------------------------------------- numbers, recomputed


def test_the_loss_of_one_row_is_what_kdlab_computes() -> None:
    field = field_of("kd-loss-of-one-row", "loss")
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
    right = (1 - ALPHA) * ce + ALPHA * soft
    expected.insert(4, right / math.log(2))  # in bits
    cross = -(T**2) * float((p * q.log()).sum())
    expected += [ce + soft, (1 - ALPHA) * ce + ALPHA * cross]
    assert mistakes(field_of("kd-loss-of-one-row", "loss")) == pytest.approx(expected, abs=1e-5)


def test_the_row_that_tells_the_directions_apart_does_and_the_symmetric_one_does_not() -> None:
    def both(student: Tensor, teacher: Tensor, temperature: float) -> tuple[float, float]:
        p, q = (teacher / temperature).softmax(-1), (student / temperature).softmax(-1)
        return _kl(p, q), _kl(q, p)

    forward, reverse = both(_row(9, 0, 0), _row(2, 1, 0), T)
    assert (round(forward, 3), round(reverse, 3)) == (0.420, 0.352)
    unsoftened = both(_row(9, 0, 0), _row(2, 1, 0), 1.0)
    assert unsoftened[0] - unsoftened[1] > 2 * (forward - reverse)
    for temperature in (1.0, T):
        forward, reverse = both(_row(8, 0, 0), _row(0, 8, 0), temperature)
        assert forward == pytest.approx(reverse, rel=1e-9)


def test_the_gradient_is_what_autograd_says_and_so_is_its_limit() -> None:
    student, teacher = _row(2, 3, -1), _row(1, 2, 0)

    def gradient(temperature: float) -> float:
        leaf = student.clone().requires_grad_()
        kd_loss(leaf, teacher, temperature=temperature, alpha=1.0).backward()
        assert leaf.grad is not None
        return float(leaf.grad[0, 0])

    field = field_of("gradient-of-the-soft-term", "value")
    assert field.answer == pytest.approx(gradient(T), abs=1e-6)
    centred = (student - student.mean()) - (teacher - teacher.mean())
    assert gradient(1e4) == pytest.approx(float(centred[0, 0]) / 3, abs=1e-4)
    p, q, p1, q1 = (teacher / T).softmax(-1), (student / T).softmax(-1), teacher.softmax(-1), student.softmax(-1)
    gap, plain = float((q - p)[0, 0]), float((q1 - p1)[0, 0])
    expected = [-T * gap, gap, T**2 * gap, gap / T, T * plain, plain, float(centred[0, 0]) / 3, 1 / 3]
    assert mistakes(field) == pytest.approx(expected, abs=1e-6)
    sizes = sorted(abs(value) for value in [field.answer, *mistakes(field)[1:]])
    assert all(large > 1.2 * small for small, large in pairwise(sizes)), "each mistake must be told by its number"


@pytest.mark.parametrize(("size", "classes"), [(1.0, 3), (3.0, 10), (5.0, 10), (10.0, 10), (3.0, 100)])
def test_without_t_squared_the_gradient_shrinks_more_than_10_times_and_not_by_one_factor(
    size: float, classes: int
) -> None:
    draw = torch.Generator().manual_seed(0)
    teacher, start = (size * torch.randn(256, classes, generator=draw, dtype=torch.float64) for _ in range(2))
    one, eight = (_without_the_factor(start, teacher, t) for t in (1.0, 8.0))
    whole = float(one.norm() / eight.norm())
    assert whole > 10
    assert float((one / eight).std()) > 5
    if (size, classes) == (3.0, 10):
        assert whole == pytest.approx(47, abs=3)
        assert float((one / eight).min()) < 64 < float((one / eight).max())


def _without_the_factor(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """The norm of the gradient of KL alone, row by row."""
    leaf = student.clone().requires_grad_()
    (kd_loss(leaf, teacher, temperature=temperature, alpha=1.0) / temperature**2).backward()
    assert leaf.grad is not None
    return leaf.grad.norm(dim=1)


@pytest.mark.slow
def test_for_the_students_of_the_lesson_it_shrinks_by_fifteen_and_the_labels_dominate() -> None:
    train = load_digits().train
    teacher = predict_logits(soft_labels.train_teacher(train), train.images)
    with seeded(0):
        mlp = MLP(in_features=64, hidden=(32,))
    fit(mlp, train.images, train.labels, epochs=1, lr=5e-3, progress=False)
    student = predict_logits(mlp, train.images)
    one, eight = (_without_the_factor(student, teacher, t) for t in (1.0, 8.0))
    assert float(one.norm() / eight.norm()) == pytest.approx(15, abs=1.5)
    hard = (student.softmax(-1) - F.one_hot(train.labels, 10)).norm() / len(student)
    assert 0.1 * float(hard) > 0.9 * float(eight.norm())


def test_what_is_said_of_the_lessons_studies_is_what_they_found() -> None:
    forgotten, _ = load_results("temperature_squared")
    assert {forgotten[case].contrasts["without"].verdict for case in ("T = 8", "T = 32")} == {"cannot tell"}
    short = forgotten["T = 32, a short run"].contrasts["without"]
    assert (short.verdict, round(100 * short.difference)) == ("worse", -3)
    all_labels = next(iter(load_results("faulty_losses")[0].values()))
    nll = all_labels.on("nll", higher_is_better=False).contrasts
    assert all_labels.contrasts["A"].verdict != "worse"
    assert 0 < all_labels.contrasts["A"].difference < 0.02
    assert all_labels.contrasts["B"].verdict == "worse"
    assert all_labels.contrasts["B"].difference > -0.03
    assert nll["A"].verdict == nll["B"].verdict == "worse"


def test_what_it_costs_to_leave_out_a_class_has_a_bound_under_reverse_kl_only() -> None:
    teacher = _row(0.95, 0.03, 0.02)
    costs = []
    for given in (1e-3, 1e-6, 1e-12):
        student = torch.cat([torch.tensor([[given]]).double(), teacher[:, 1:] / 0.05 * (1 - given)], dim=1)
        costs.append((_kl(student, teacher), _kl(teacher, student)))
    assert costs[-1][0] == pytest.approx(-math.log(0.05), abs=1e-6)
    assert round(costs[-1][0], 1) == 3.0
    assert costs[0][1] < costs[1][1] < costs[2][1]
    assert costs[2][1] > 20


def test_the_swapped_call_gives_the_stated_value_and_ends_at_the_softmax_of_p() -> None:
    p = _row(0.5, 0.3, 0.2)
    field = field_of("kl-div-swapped-without-log", "equal")
    assert field.answer == pytest.approx(float(F.kl_div(p, p, reduction="batchmean")), abs=1e-5)
    entropy, square = -float((p * p.log()).sum()), float((p * p).sum())
    expected = [0, -entropy, entropy + square, -(entropy + square) / 3, square - entropy, -square]
    assert mistakes(field) == pytest.approx(expected, abs=1e-5)
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
    assert field_of(one.slug, "perfect").answer == pytest.approx(perfect[-1], abs=1e-3)
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
    finding = judged("write-kd-loss", HEAD + body)
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
    finding = judged("input-that-freezes-the-student", f"def freeze():\n    return {result}")
    assert finding.outcome == "invalid"
    assert said in finding.message


def test_an_input_that_exposes_nothing_is_told_what_both_losses_say_of_it() -> None:
    source = "def freeze():\n    return torch.eye(3)[:1], torch.eye(3)[1:2], torch.tensor([1])"
    message = judged("input-that-freezes-the-student", source).message
    assert "the faulty loss is" in message
    assert "the right one is" in message
    assert message.count("its gradient `[[") == 2


def test_a_near_tie_that_freezes_is_refused_for_the_right_reason() -> None:
    source = "def freeze():\n    return torch.tensor([[0.0, {}]]), torch.tensor([[{}, 0.0]]), torch.tensor([0])"
    tie = judged("input-that-freezes-the-student", source.format(0.002, 0.002))
    assert tie.outcome == "incorrect"
    assert "hardly wrong" in tie.message
    assert "This student gives the label 0.4995." in tie.message
    assert judged("input-that-freezes-the-student", source.format(20.0, 3.0)).outcome == "correct"


def test_an_accepted_input_is_one_on_which_the_right_loss_pulls() -> None:
    from kdlab.exercises.properties.lesson_02b import _right, _steepest

    draw = torch.Generator().manual_seed(0)
    for classes in (2, 10, 1000):
        for _ in range(50):
            student, teacher = (20 * torch.randn(1, classes, generator=draw, dtype=torch.float64) for _ in range(2))
            label = teacher.argmax(dim=1)
            student[0, label] = student.min() - 10
            assert float(student.softmax(-1)[0, label]) < 0.01
            assert _steepest(_right, student, teacher, label) > 0.49


def test_the_kl_of_torch_distributions_is_infinite_where_the_bank_says_so() -> None:
    rows = [
        torch.distributions.Categorical(logits=torch.tensor([row])) for row in ([0.0, 200.0, 0.0], [200.0, 0.0, 0.0])
    ]
    assert torch.distributions.kl_divergence(*rows).isinf().all()


@pytest.mark.parametrize(
    ("name", "typed", "said"),
    [
        ("log_softmax", "1-q", "Two things"),
        ("kl", "T*(q-p)", "has $T^2$ in it already"),
        ("value", 0.0206595, "the temperature is nowhere"),
        ("value", 0.2222, "the limit"),
    ],
)
def test_a_mistake_in_the_gradient_is_named(name: str, typed: Any, said: str) -> None:
    verdict = grade("gradient-of-the-soft-term", exercise("gradient-of-the-soft-term").reference | {name: typed})
    assert verdict.outcome == "incorrect"
    assert said in verdict.message


@pytest.mark.parametrize(("typed", "said"), [(0.459, "in *bits*"), (0.4582, "sits on the wrong term")])
def test_bits_and_a_swapped_alpha_each_get_their_name_and_that_of_the_other(typed: float, said: str) -> None:
    message = grade("kd-loss-of-one-row", {"loss": typed, "telling": "c"}).message
    assert said in message
    assert ("0.45823" in message) or ("0.45937" in message)


def test_the_faulty_loss_that_is_judged_is_the_one_that_the_cell_shows() -> None:
    from kdlab.exercises.properties.lesson_02b import _faulty

    space: dict[str, Any] = {"torch": torch}
    exec(exercise("input-that-freezes-the-student").starter, space)
    torch.testing.assert_close(space["article_loss"](STUDENT, TEACHER, LABEL), _faulty(STUDENT, TEACHER, LABEL))
