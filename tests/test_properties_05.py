"""Exercises of lesson 05: their numbers recomputed, the listing run, and what its code exercise says of odd answers."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from answering import field_of, judged, mistakes
from torch import Tensor, nn

from kdlab.exercises import grade
from kdlab.exercises.catalog import exercise
from kdlab.exercises.judging import Finding
from kdlab.teachers import average_probabilities, label_confidence_weights, mutual_loss, standardize

THREE = torch.tensor([[2.0, 0.0], [2.0, 0.0], [0.0, 8.0]], dtype=torch.float64)


def _judged(body: str) -> Finding:
    source = f"def mean_soft_targets(teacher_logits, temperature):\n    {body}"
    return judged("soft-targets-of-several-teachers", source)


# ---------------------------------------------------------------------------------------------- averaging teachers


def test_both_averages_and_each_wrong_number_come_from_the_stated_logits() -> None:
    slug = "two-ways-to-average-teachers"
    p, p4 = THREE.softmax(1), (THREE / 4).softmax(1)
    votes = F.one_hot(THREE.argmax(1), 2).double()
    mean, softened, logits = float(p.mean(0)[0]), float(p4.mean(0)[0]), float(THREE.mean(0).softmax(0)[0])
    assert field_of(slug, "probabilities").answer == pytest.approx(mean, abs=1e-6)
    expected = [logits, float(votes.mean(0)[0]), softened, float(p[0, 0]), float(p[[0, 2]].mean(0)[0])]
    assert mistakes(field_of(slug, "probabilities")) == pytest.approx(expected, abs=1e-5)
    assert field_of(slug, "logits").answer == pytest.approx(logits, abs=1e-6)
    geometric = float(p.log().mean(0).exp()[0])
    expected = [mean, 1 - logits, float(THREE.sum(0).softmax(0)[0]), geometric]
    assert mistakes(field_of(slug, "logits")) == pytest.approx(expected, abs=1e-5)
    assert geometric / float(p.log().mean(0).exp().sum()) == pytest.approx(logits), "the same, once it is normalised"
    assert field_of(slug, "softened").answer == pytest.approx(softened, abs=1e-6)
    late = float((p.mean(0).log() / 4).softmax(0)[0])
    expected = [late, float((THREE.mean(0) / 4).softmax(0)[0]), mean, float(p4[0, 0])]
    assert mistakes(field_of(slug, "softened")) == pytest.approx(expected, abs=1e-5)
    assert softened < 0.5 < late, "the wrong order turns the answer around"


@pytest.mark.parametrize(("forward", "which"), [(True, "probabilities"), (False, "logits")])
def test_the_mean_divergence_leads_to_the_mean_that_is_stated(forward: bool, which: str) -> None:
    log_p = THREE.log_softmax(1)
    free = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.Adam([free], lr=0.05)
    for _ in range(800):
        log_q = free.log_softmax(0)
        first, second = (log_p, log_q) if forward else (log_q.expand(3, 2), log_p)
        loss = (first.exp() * (first - second)).sum(1).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert float(free.softmax(0)[0].detach()) == pytest.approx(
        field_of("two-ways-to-average-teachers", which).answer, abs=1e-3
    )


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_the_reference_is_what_kdlab_makes_of_several_teachers(temperature: float) -> None:
    space: dict[str, Any] = {"torch": torch}
    exec(exercise("soft-targets-of-several-teachers").reference, space)
    logits = 3 * torch.randn(3, 4, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    ours = (average_probabilities(logits, temperature=temperature) / temperature).softmax(-1)
    torch.testing.assert_close(space["mean_soft_targets"](logits, temperature), ours)


def test_from_the_mean_at_t_one_the_mean_at_t_four_cannot_be_recovered() -> None:
    one = THREE[[0, 2]].softmax(1).mean(0)
    other = one.log().expand(2, 2)  # two teachers that agree on the same mean
    assert torch.allclose(other.softmax(1).mean(0), one)
    assert abs(float(((THREE[[0, 2]] / 4).softmax(1).mean(0) - (other / 4).softmax(1).mean(0))[0])) > 0.05


# ------------------------------------------------------------------------------------------------- mutual learning


def _mutual(listing: str) -> dict[str, Any]:
    space: dict[str, Any] = {"F": F}
    exec(listing, space)
    return space


class _Fixed(nn.Module):
    """Gives the same logits for every image."""

    def __init__(self, *probabilities: float) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.tensor(probabilities, dtype=torch.float64).log())

    def forward(self, images: Tensor) -> Tensor:
        return self.logits.expand(len(images), -1)


def _after_a_step(listing: str) -> tuple[Tensor, Tensor]:
    """The gradients that a and b get from one step on one image of the first class."""
    a, b = _Fixed(0.5, 0.5), _Fixed(0.8, 0.2)
    optimizer = torch.optim.SGD([*a.parameters(), *b.parameters()], lr=0.0)
    _mutual(listing)["mutual_step"](a, b, torch.zeros(1, 1), torch.tensor([0]), optimizer)
    assert a.logits.grad is not None
    assert b.logits.grad is not None
    return a.logits.grad, b.logits.grad


def test_the_missing_detach_sends_b_the_stated_gradient_and_leaves_that_of_a_alone() -> None:
    one = exercise("mutual-learning-without-detach")
    wrong = one.listing.splitlines()[one.fields[0].answer - 1]
    mended = one.listing.replace(wrong, wrong.replace("log_b,", "log_b.detach(),"))
    assert mended != one.listing
    (a, b), (a_right, b_right) = _after_a_step(one.listing), _after_a_step(mended)
    torch.testing.assert_close(a, a_right)
    extra = float(b[0] - b_right[0])
    field = field_of(one.slug, "gradient")
    assert field.answer == pytest.approx(extra, abs=1e-6)
    divergence = 0.8 * math.log(1.6) + 0.2 * math.log(0.4)
    expected = [0, 0.8 - 0.5, 0.5 - 0.8, -extra, 0.8 * math.log(1.6), divergence]
    assert mistakes(field) == pytest.approx(expected, abs=1e-5)
    assert extra == pytest.approx(0.8 * (math.log(1.6) - divergence))
    assert extra / 0.3 == pytest.approx(0.75, abs=0.02), "three quarters more"
    assert float(b_right[0]) == pytest.approx(0.3 + (0.8 - 1))
    assert float(a_right[0]) == pytest.approx((0.5 - 0.8) + (0.5 - 1)), "no other line lets a gradient through"
    logits = torch.tensor([[[0.5, 0.5], [0.8, 0.2]]], dtype=torch.float64).log().requires_grad_()
    mutual_loss(logits, torch.tensor([0])).backward()
    assert logits.grad is not None
    torch.testing.assert_close(logits.grad[0], torch.stack([a_right, b_right]))


def test_without_either_detach_both_descend_one_symmetric_divergence() -> None:
    z_a, z_b = (torch.randn(4, 3, generator=torch.Generator().manual_seed(seed)).requires_grad_() for seed in (0, 1))
    log_a, log_b = z_a.log_softmax(1), z_b.log_softmax(1)

    def kl(first: Tensor, second: Tensor) -> Tensor:
        return F.kl_div(second, first, log_target=True, reduction="batchmean")

    both, exchanged = kl(log_b, log_a) + kl(log_a, log_b), kl(log_a, log_b) + kl(log_b, log_a)
    torch.testing.assert_close(both, exchanged)
    ours, theirs = torch.autograd.grad(both, (z_a, z_b), retain_graph=True)
    torch.testing.assert_close(ours, torch.autograd.grad(exchanged, z_a, retain_graph=True)[0])
    assert theirs.any()


# ---------------------------------------------------------------------------------------------- the other numbers


def test_the_cost_of_an_assistant_and_each_wrong_ratio_follow_from_the_stated_costs() -> None:
    teacher, assistant, student, epochs = 10, 4, 1, 30
    direct, first, second = 3 * student + teacher, 3 * assistant + teacher, 3 * student + assistant
    field = field_of("what-an-assistant-costs", "online")
    ratio = (first + second) / direct
    assert field.answer == pytest.approx(ratio, abs=1e-6)
    trained_only = (3 * assistant + 3 * student) / (3 * student)
    one_forward = (assistant + teacher + student + assistant) / (student + teacher)
    assert mistakes(field) == pytest.approx([first / direct, trained_only, one_forward, 2, 1 / ratio], abs=1e-5)
    direct, first, second = (
        epochs * 3 * taught + teaching
        for taught, teaching in ((student, teacher), (assistant, teacher), (student, assistant))
    )
    cached = field_of("what-an-assistant-costs", "cached")
    assert cached.answer == pytest.approx((first + second) / direct)
    unrecorded = (first + second - assistant) / direct
    assert mistakes(cached) == pytest.approx([ratio, trained_only, first / direct, unrecorded], abs=1e-5)


def test_standardising_is_a_temperature_of_its_own_for_each_row_and_forgets_the_scale() -> None:
    z = 3 * torch.randn(5, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64)

    def standardised(rows: Tensor) -> Tensor:
        return (rows - rows.mean(1, keepdim=True)) / rows.std(1, keepdim=True, correction=0)

    torch.testing.assert_close(standardised(z), standardize(z))
    spread = z.std(1, keepdim=True, correction=0)
    torch.testing.assert_close((standardised(z) / 2).softmax(1), (z / (2 * spread)).softmax(1))
    torch.testing.assert_close(standardised(10 * z + 3), standardised(z))
    two = 4 * torch.randn(50, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    larger = (standardised(two) / 2).softmax(1).amax(1)
    field = field_of("standardised-logits", "two_classes")
    torch.testing.assert_close(larger, torch.full_like(larger, field.answer), atol=1e-6, rtol=0)
    unbiased = (two - two.mean(1, keepdim=True)) / two.std(1, keepdim=True)
    expected = [
        float(standardised(two).softmax(1).amax(1)[0]), float((unbiased / 2).softmax(1).amax(1)[0]),
        1 / (1 + math.exp(-1 / 2)), 0.5,
    ]  # fmt: skip
    assert mistakes(field) == pytest.approx(expected, abs=1e-5)


def test_equally_soft_is_what_the_stated_temperature_makes_two_teachers() -> None:
    from kdlab.exercises.expressions import evaluate

    answer = str(field_of("standardised-logits", "equally_soft").answer)
    for g, h, temperature in ((4.0, 8.0, 4.0), (3.0, 5.0, 2.0)):
        other = evaluate(answer, {"g": g, "h": h, "T": temperature})
        rows = torch.tensor([[g, 0.0], [h, 0.0]]) / torch.tensor([[temperature], [other]])
        torch.testing.assert_close(*rows.softmax(1))


def test_the_weights_by_confidence_sum_to_one_and_each_wrong_one_is_what_its_message_says() -> None:
    c = torch.tensor([0.1, 0.5, 2.0], dtype=torch.float64)
    share = c.softmax(0)
    weights = (1 - share) / 2
    assert float(weights.sum()) == pytest.approx(1)
    right = (-c).exp()  # what each teacher gives the label
    logits = torch.stack([right, 1 - right], dim=1).log().unsqueeze(1)
    torch.testing.assert_close(label_confidence_weights(logits, torch.tensor([0])).squeeze(1), weights)
    field = field_of("weights-by-confidence", "weight")
    assert field.answer == pytest.approx(float(weights[2]), abs=1e-6)
    expected = [float(share[2]), 1 - float(share[2]), (1 - float(share[2])) / 3, float((-c).softmax(0)[2]), 1 / 3]
    assert mistakes(field) == pytest.approx(expected, abs=1e-5)
    assert [round(float(one), 3) for one in weights[:2]] == [0.446, 0.419]


# ------------------------------------------------------------------------------------------------ odd answers, named


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("return teacher_logits.softmax(-1)", "expected is [4, 5]"),
        ("teacher_logits.softmax(-1).mean(0)", "is the `return` statement missing?"),
        ("return teacher_logits.softmax(-1).mean(0).argmax(-1)", "Floating point numbers are expected"),
        ("return teacher_logits.softmax(-1).mean(0).tolist()", "`list` came: `torch.as_tensor`"),
    ],
)
def test_soft_targets_of_the_wrong_kind_are_invalid_with_the_cause(body: str, said: str) -> None:
    finding = _judged(body)
    assert finding.outcome == "invalid"
    assert said in finding.message


def test_a_mean_of_logits_is_shown_what_came_and_told_that_it_is_a_geometric_mean() -> None:
    finding = _judged("return (teacher_logits.detach().mean(0) / temperature).softmax(-1)")
    assert "*geometric* mean" in finding.message
    assert "At T = 1 came" in finding.message


@pytest.mark.parametrize(
    ("slug", "name", "typed", "said"),
    [
        ("two-ways-to-average-teachers", "softened", 0.522, "turns the answer around"),
        ("two-ways-to-average-teachers", "logits", 0.79, "second class"),
        ("mutual-learning-without-detach", "gradient", 0, "So it should be"),
        ("what-an-assistant-costs", "online", "22/13", "first stage alone"),
        ("what-an-assistant-costs", "cached", "460/100", "4 units once"),
        ("standardised-logits", "temperature", "tau/s", "*and* by"),
        ("standardised-logits", "two_classes", 0.67, "over $K - 1$"),
        ("weights-by-confidence", "weight", 0.27, "weights sum to 2"),
    ],
)
def test_a_mistake_typed_as_people_type_it_is_named(slug: str, name: str, typed: Any, said: str) -> None:
    verdict = grade(slug, exercise(slug).reference | {name: typed})
    assert verdict.outcome == "incorrect"
    assert said in verdict.message
