"""Who teaches: ensembles in closed form, losses row by row, chains that leave teachers alone, peers that stay apart."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.testing import assert_close

import kdlab
from kdlab import ensemble, mutual, rowwise, teachers
from kdlab.data import left_half, shift_images
from kdlab.loss_properties import PROPERTIES, examine
from kdlab.losses import kd_loss
from kdlab.models import MLP, SmallCNN
from kdlab.teachers import (
    Cohort,
    agreement_weights,
    average_logits,
    average_probabilities,
    born_again,
    disagreement,
    distill_chain,
    label_confidence_weights,
    matched_temperature,
    mutual_loss,
    rowwise_kd_loss,
    standardize,
    train_mutually,
)
from kdlab.training import distill, fit, predict_logits, seeded

Z = 3 * torch.randn(3, 6, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)  # M = 3, B = 6, K = 5
STUDENT = torch.randn(6, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
LABELS = torch.tensor([0, 4, 2, 2, 1, 3])
SHIFTS = torch.linspace(-50, 50, 18, dtype=torch.float64).view(3, 6, 1)
UNEQUAL = torch.rand(3, 6, generator=torch.Generator().manual_seed(2), dtype=torch.float64) + 0.1


def _gradient(loss: Callable[[Tensor], Tensor], at: Tensor) -> Tensor:
    leaf = at.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(loss(leaf), leaf)
    return gradient


def test_one_face_holds_every_public_name() -> None:
    parts = {name for module in (ensemble, rowwise, mutual) for name in module.__all__}
    assert parts | {"born_again", "distill_chain"} == set(teachers.__all__)
    assert kdlab.teachers is teachers


# --- ensembles --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("temperature", [0.01, 0.5, 1.0, 4.0, 1e4])
def test_soft_targets_of_averaged_probabilities_are_the_members_mean_at_that_temperature(temperature: float) -> None:
    mean = (Z / temperature).softmax(-1).mean(0)
    z = average_probabilities(Z, temperature=temperature)
    assert_close((z / temperature).softmax(-1), mean)
    assert_close(z, temperature * mean.log())


def test_averaged_probabilities_keep_their_digits_at_large_temperatures() -> None:
    options: dict[str, Any] = {"temperature": 1e4, "alpha": 1.0}
    exact = kd_loss(STUDENT, average_probabilities(Z, temperature=1e4), **options)
    mean = average_probabilities(Z.float(), temperature=1e4)
    assert mean.dtype == torch.float64
    assert_close(kd_loss(STUDENT, mean, **options), exact, rtol=1e-4, atol=0)
    assert average_probabilities(Z.float(), temperature=32.0).dtype == torch.float32


def test_averaged_at_one_temperature_targets_are_wrong_at_another() -> None:
    right = (Z / 4).softmax(-1).mean(0)
    wrong = (average_probabilities(Z, temperature=1.0) / 4).softmax(-1)
    assert (wrong - right).abs().max() > 0.05


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_learning_from_the_mean_is_learning_from_all_members_at_once(temperature: float) -> None:
    options: dict[str, Any] = {"temperature": temperature, "alpha": 1.0}
    target = average_probabilities(Z, temperature=temperature)
    by_mean = _gradient(lambda z: kd_loss(z, target, **options), STUDENT)
    by_each = torch.stack([_gradient(lambda z, m=member: kd_loss(z, m, **options), STUDENT) for member in Z])
    assert_close(by_mean, by_each.mean(0))
    apart = temperature**2 * disagreement(Z, temperature=temperature).mean()
    each = torch.stack([kd_loss(STUDENT, member, **options) for member in Z]).mean()
    assert_close(each - kd_loss(STUDENT, target, **options), apart)


def test_averaged_logits_are_the_geometric_mean_of_distributions_at_every_temperature() -> None:
    for temperature in (0.5, 1.0, 4.0):
        geometric = (Z / temperature).softmax(-1).log().mean(0).exp()
        expected = geometric / geometric.sum(-1, keepdim=True)
        assert_close((average_logits(Z) / temperature).softmax(-1), expected)


def test_averaged_logits_are_centred_so_a_constant_per_row_changes_nothing() -> None:
    assert_close(average_logits(Z + SHIFTS), average_logits(Z))
    assert_close(average_logits(Z).sum(-1), torch.zeros(6, dtype=torch.float64))
    assert_close(average_probabilities(Z + SHIFTS, temperature=2.0), average_probabilities(Z, temperature=2.0))
    weights = {"weights": UNEQUAL}
    assert_close(average_logits(Z + SHIFTS, **weights), average_logits(Z, **weights))


def test_weights_are_normalised_and_may_differ_by_sample() -> None:
    for average in (average_logits, average_probabilities):
        equal = average(Z)
        assert_close(average(Z, weights=[5, 5, 5]), equal)
        assert_close(average(Z, weights=torch.full((3, 6), 0.2)), equal)
        assert_close(average(Z, weights=100 * UNEQUAL), average(Z, weights=UNEQUAL))
        assert_close(average(Z, weights=[0.0, 2.0, 0.0]), average(Z[1:2]))
        by_row = [average(Z[:, i : i + 1], weights=UNEQUAL[:, i]) for i in range(6)]
        assert_close(average(Z, weights=UNEQUAL), torch.cat(by_row))
    shares = UNEQUAL / UNEQUAL.sum(0)
    mean = (shares[..., None] * (Z / 3).softmax(-1)).sum(0)
    assert_close((average_probabilities(Z, temperature=3.0, weights=UNEQUAL) / 3).softmax(-1), mean)
    centred = Z - Z.mean(-1, keepdim=True)
    assert_close(average_logits(Z, weights=UNEQUAL), (shares[..., None] * centred).sum(0))


def test_a_veto_counts_in_the_geometric_mean_alone() -> None:
    vetoing, other = torch.tensor([[0.0, -90.0]]), torch.tensor([[0.0, 0.0]])
    assert average_logits([vetoing, other]).softmax(-1)[0, 1] < 1e-15
    assert_close(average_probabilities([vetoing, other]).softmax(-1)[0, 1], torch.tensor(0.25))


def test_disagreement_is_entropy_of_the_mean_less_mean_entropy() -> None:
    for temperature in (1.0, 3.0):
        p = (Z / temperature).softmax(-1)
        by_hand = torch.special.entr(p.mean(0)).sum(-1) - torch.special.entr(p).sum(-1).mean(0)
        assert_close(disagreement(Z, temperature=temperature), by_hand)


def test_disagreement_runs_from_zero_to_ln_m_and_is_blind_to_constants_and_order() -> None:
    same = Z[:1].expand(3, -1, -1) + SHIFTS
    assert_close(disagreement(same), torch.zeros(6, dtype=torch.float64), atol=1e-12, rtol=0)
    assert (disagreement(same) >= 0).all()
    sure = 100 * torch.eye(4).unsqueeze(1)  # each of four members sure of another class
    assert_close(disagreement(sure), torch.tensor([math.log(4)]))
    assert_close(disagreement(Z + SHIFTS), disagreement(Z))
    assert_close(disagreement(Z.flip(0)), disagreement(Z))


def test_agreement_weights_are_one_less_disagreement_over_its_maximum() -> None:
    assert_close(agreement_weights(Z, temperature=2.0), 1 - disagreement(Z, temperature=2.0) / math.log(3))
    agree, split = torch.tensor([50.0, 0.0]), torch.tensor([0.0, 50.0])
    weights = agreement_weights([torch.stack([agree, agree]), torch.stack([agree, split])])
    assert_close(weights, torch.tensor([1.0, 0.0]), atol=1e-6, rtol=0)


def test_label_confidence_weights_are_the_papers_formula_and_sum_to_one() -> None:
    grown = torch.stack([F.cross_entropy(member, LABELS, reduction="none") for member in Z]).exp()
    expected = (1 - grown / grown.sum(0)) / 2
    weights = label_confidence_weights(Z, LABELS)
    assert_close(weights, expected)
    assert_close(weights.sum(0), torch.ones(6, dtype=torch.float64))


def test_two_teachers_are_weighed_in_proportion_to_the_labels_probability() -> None:
    p = Z[:2].softmax(-1).gather(-1, LABELS.expand(2, -1)[..., None]).squeeze(-1)
    assert_close(label_confidence_weights(Z[:2], LABELS), p / p.sum(0))


def test_no_teacher_of_three_gets_more_than_half_and_a_hopeless_one_gets_nothing() -> None:
    right, wrong = torch.tensor([[2000.0, 0.0]]), torch.tensor([[0.0, 2000.0]])  # exp(2000) is no number
    weights = label_confidence_weights([right, right, wrong], torch.tensor([0]))
    assert_close(weights, torch.tensor([[0.5], [0.5], [0.0]]))
    weights = label_confidence_weights([right, wrong, wrong], torch.tensor([0]))
    assert_close(weights, torch.tensor([[0.5], [0.25], [0.25]]))


def test_a_teacher_that_knows_the_label_better_weighs_more() -> None:
    better = Z.clone()
    better[1] += 0.5 * F.one_hot(LABELS, 5)
    assert (label_confidence_weights(better, LABELS)[1] > label_confidence_weights(Z, LABELS)[1]).all()


COMBINE: dict[str, Callable[[Any], Tensor]] = {
    "average_logits": average_logits,
    "average_probabilities": lambda z: average_probabilities(z, temperature=2.0),
    "disagreement": disagreement,
    "agreement_weights": agreement_weights,
    "label_confidence_weights": lambda z: label_confidence_weights(z, LABELS),
}


@pytest.mark.parametrize("name", COMBINE)
def test_teachers_get_no_gradient_half_precision_is_widened_and_a_list_is_a_stack(name: str) -> None:
    combine = COMBINE[name]
    leaf = Z.clone().requires_grad_()
    assert not combine(leaf).requires_grad
    assert torch.equal(combine(list(Z)), combine(Z))
    assert combine(Z).dtype == torch.float64
    assert combine(Z.half()).dtype == torch.float32
    assert combine([Z[0].half(), Z[1].bfloat16(), Z[2].float()]).dtype == torch.float32
    assert_close(combine(Z.half()), combine(Z.half().double()).float())
    wide_gaps = torch.tensor([[0.0, -200.0, 200.0], [200.0, 0.0, -200.0]]).expand(2, 2, 3) * torch.tensor(
        [[[1]], [[-1]]]
    )
    if name != "label_confidence_weights":
        assert combine(wide_gaps).isfinite().all()


# --- row by row -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PROPERTIES)
def test_rowwise_kd_loss_has_property(name: str) -> None:
    PROPERTIES[name](rowwise_kd_loss)


def test_rowwise_kd_loss_with_a_column_of_one_temperature_has_every_property() -> None:
    def by_tensors(student: Tensor, teacher: Tensor, *rest: Any, temperature: float, alpha: float) -> Tensor:
        column = torch.full(student.shape[:-1], temperature, dtype=torch.float64)
        return rowwise_kd_loss(student, teacher, *rest, temperature=column, alpha=alpha, weight=torch.ones_like(column))

    assert not examine(by_tensors).violated


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("temperature", [0.5, 4.0, 50.0, 1e4])
def test_one_temperature_and_weights_of_one_are_kd_loss(temperature: float, dtype: torch.dtype) -> None:
    student, teacher = STUDENT.to(dtype), Z[0].to(dtype)
    column = torch.full((6,), temperature)
    for alpha in (0.0, 0.3, 1.0):
        for given in (temperature, column):
            options: dict[str, Any] = {"temperature": given, "alpha": alpha, "weight": torch.ones(6)}

            def mine(z: Tensor, teacher: Tensor = teacher, options: dict[str, Any] = options) -> Tensor:
                return rowwise_kd_loss(z, teacher, LABELS, **options)

            def theirs(z: Tensor, teacher: Tensor = teacher, alpha: float = alpha) -> Tensor:
                return kd_loss(z, teacher, LABELS, temperature=temperature, alpha=alpha)

            assert_close(mine(student), theirs(student))
            assert_close(_gradient(mine, student), _gradient(theirs, student))


def test_rows_have_their_own_temperature_and_weight_and_weights_are_not_normalised() -> None:
    temperatures = torch.tensor([0.5, 1.0, 2.0, 4.0, 8.0, 40.0])
    weights = torch.tensor([0.0, 1.0, 0.5, 2.0, 0.1, 3.0])
    options: dict[str, Any] = {"temperature": temperatures, "alpha": 0.7, "weight": weights}
    expected = torch.tensor(0.0, dtype=torch.float64)
    for i in range(6):
        row = slice(i, i + 1)
        soft = kd_loss(STUDENT[row], Z[0, row], temperature=float(temperatures[i]), alpha=1.0)
        expected += (0.7 * weights[i] * soft + 0.3 * F.cross_entropy(STUDENT[row], LABELS[row])) / 6
    assert_close(rowwise_kd_loss(STUDENT, Z[0], LABELS, **options), expected)


def test_a_row_of_weight_zero_is_learnt_from_its_label_alone() -> None:
    weight = torch.tensor([1.0, 1.0, 0.0, 1.0, 1.0, 1.0])
    gradient = _gradient(lambda z: rowwise_kd_loss(z, Z[0], LABELS, alpha=0.6, weight=weight), STUDENT)
    hard = STUDENT.softmax(-1) - F.one_hot(LABELS, 5)
    assert_close(gradient[2], 0.4 * hard[2] / 6)
    silent = _gradient(lambda z: rowwise_kd_loss(z, Z[0], alpha=1.0, weight=torch.zeros(6)), STUDENT)
    assert torch.equal(silent, torch.zeros_like(silent))


def test_the_hard_term_is_taken_in_float32_where_logits_are_half_precision() -> None:
    for dtype in (torch.float16, torch.bfloat16):
        student = STUDENT.to(dtype)
        value = rowwise_kd_loss(student, Z[0].to(dtype), LABELS, alpha=0.0)
        assert value.dtype == torch.float32
        assert_close(value, F.cross_entropy(student.float(), LABELS))


def test_temperature_and_weight_are_constants_to_autograd() -> None:
    columns = [torch.full((6,), 2.0, requires_grad=True) for _ in range(2)]
    student = STUDENT.clone().requires_grad_()
    rowwise_kd_loss(student, Z[0], alpha=1.0, temperature=columns[0], weight=columns[1]).backward()
    assert [column.grad for column in columns] == [None, None]


def test_standardised_rows_have_mean_zero_and_deviation_one() -> None:
    s = standardize(Z)
    assert_close(s.mean(-1), torch.zeros(3, 6, dtype=torch.float64))
    assert_close(s.std(-1, correction=0), torch.ones(3, 6, dtype=torch.float64))
    assert_close(s.softmax(-1), (Z / Z.std(-1, correction=0, keepdim=True)).softmax(-1))


def test_standardisation_is_blind_to_shift_and_positive_scale_per_row() -> None:
    scales = torch.logspace(-30, 30, 18, dtype=torch.float64).view(3, 6, 1)
    assert_close(standardize(scales * Z + scales * SHIFTS), standardize(Z))
    assert_close(standardize(-Z), -standardize(Z))
    assert_close(standardize(1e30 * Z.float()), standardize(Z.float()))  # squares would overflow


def test_a_constant_row_is_standardised_to_zeros_with_zero_gradient() -> None:
    rows = torch.tensor([[0.1, 0.1, 0.1], [1.0, 2.0, 4.0], [0.0, 0.0, 0.0]])
    result = standardize(rows)
    assert torch.equal(result[[0, 2]], torch.zeros(2, 3))
    gradient = _gradient(lambda z: (standardize(z) * torch.tensor([1.0, 2.0, -1.0])).sum(), rows)
    assert torch.equal(gradient[[0, 2]], torch.zeros(2, 3))
    assert gradient.isfinite().all()
    assert gradient[1].abs().max() > 0.1


def test_standardisation_passes_first_and_second_derivatives() -> None:
    leaf = STUDENT[:2].clone().requires_grad_()
    assert torch.autograd.gradcheck(standardize, (leaf,))
    assert torch.autograd.gradgradcheck(standardize, (leaf,))


def test_after_standardisation_a_student_need_not_match_the_teachers_range_but_its_pattern() -> None:
    teacher = Z[0]
    smaller = kd_loss(standardize(0.1 * teacher + 3), standardize(teacher), temperature=2.0, alpha=1.0)
    assert_close(smaller, torch.zeros_like(smaller))
    assert kd_loss(standardize(teacher.flip(-1)), standardize(teacher), temperature=2.0, alpha=1.0) > 0.1
    assert (standardize(1000 * torch.eye(10)).amax(-1) <= 3 + 1e-6).all()  # sqrt(K - 1)


@pytest.mark.parametrize("entropy", [0.01, 0.5, 1.0, 1.5, 1.6])
def test_at_the_matched_temperature_every_row_has_the_given_entropy(entropy: float) -> None:
    apart = Z + Z.argsort(-1).argsort(-1)  # no two logits nearly equal, which would put small entropies out of reach
    temperatures = matched_temperature(apart, entropy=entropy)
    assert temperatures.shape == (3, 6)
    reached = torch.special.entr((apart / temperatures[..., None]).softmax(-1)).sum(-1)
    assert_close(reached, torch.full((3, 6), entropy, dtype=torch.float64))


def test_the_matched_temperature_of_two_classes_has_a_closed_form() -> None:
    for p in (0.55, 0.8, 0.99):
        entropy = -p * math.log(p) - (1 - p) * math.log(1 - p)
        gaps = torch.tensor([[0.1, 0.0], [-3.0, 4.0], [20.0, 0.0]], dtype=torch.float64)
        expected = gaps.diff(dim=-1).abs().squeeze(-1) / math.log(p / (1 - p))
        assert_close(matched_temperature(gaps, entropy=entropy), expected)


def test_the_matched_temperature_scales_with_the_logits_and_is_blind_to_a_constant() -> None:
    base = matched_temperature(Z, entropy=0.9)
    assert_close(matched_temperature(7 * Z + SHIFTS, entropy=0.9), 7 * base)
    assert torch.equal(
        matched_temperature(Z.float(), entropy=0.9), matched_temperature(Z.float().double(), entropy=0.9).float()
    )
    assert not matched_temperature(Z.clone().requires_grad_(), entropy=0.9).requires_grad


def test_rows_without_a_matched_temperature_get_the_documented_one() -> None:
    rows = torch.tensor([[0.3, 0.3, 0.3], [1.0, 1.0, 0.0], [1e-4, 0.0, 0.0], [1e6, 0.0, 0.0]], dtype=torch.float64)
    expected = torch.tensor([1.0, 0.01, 0.01, 1e4], dtype=torch.float64)  # flat, tied on top, too close, too far
    assert_close(matched_temperature(rows, entropy=0.6), expected)
    student = torch.zeros_like(rows)
    assert rowwise_kd_loss(student, rows, alpha=1.0, temperature=matched_temperature(rows, entropy=0.6)).isfinite()


# --- one teacher after the other --------------------------------------------------------------------------

IMAGES = torch.rand(40, 1, 8, 8, generator=torch.Generator().manual_seed(0))
TEN = torch.arange(40) % 10
QUICK: dict[str, Any] = {"epochs": 2, "lr": 1e-2, "batch_size": 16}


def _small() -> nn.Module:
    return SmallCNN(width=2, dropout=0.5)


def _weights(model: nn.Module) -> Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])


def _by_hand(make: Callable[[], nn.Module], seed: int, teacher: Any, **options: Any) -> nn.Module:
    with seeded(seed):
        model = make()
    if teacher is None:
        fit(model, IMAGES, TEN, seed=seed, **QUICK, **options)
    else:
        distill(model, teacher, IMAGES, TEN, temperature=3.0, alpha=0.8, seed=seed, **QUICK, **options)
    return model


def test_each_generation_is_the_previous_ones_student_with_the_next_seed() -> None:
    models = born_again(_small, IMAGES, TEN, generations=3, temperature=3.0, alpha=0.8, seed=5, **QUICK)
    expected: list[nn.Module] = []
    for generation in range(3):
        expected.append(_by_hand(_small, 5 + generation, expected[-1] if expected else None))
    assert len(models) == 3
    for model, twin in zip(models, expected, strict=True):
        assert torch.equal(_weights(model), _weights(twin))
        assert not any(part.training for part in model.modules())


def test_generations_begin_with_weights_of_their_own() -> None:
    models = born_again(_small, IMAGES, TEN, generations=3, seed=1, epochs=1, lr=1e-12)
    assert not torch.allclose(_weights(models[0]), _weights(models[1]))
    assert not torch.allclose(_weights(models[1]), _weights(models[2]))


def test_one_generation_is_plain_training() -> None:
    (model,) = born_again(_small, IMAGES, TEN, generations=1, seed=2, **QUICK)
    assert torch.equal(_weights(model), _weights(_by_hand(_small, 2, None)))


def test_born_again_passes_the_options_of_fit_to_every_generation() -> None:
    def views(batch: Tensor, generator: torch.Generator) -> Tensor:
        return shift_images(batch, generator)

    options = {"augment": views, "validation": (IMAGES, TEN)}
    models = born_again(_small, IMAGES, TEN, generations=2, temperature=3.0, alpha=0.8, **QUICK, **options)
    first = _by_hand(_small, 0, None, **options)
    assert torch.equal(_weights(models[1]), _weights(_by_hand(_small, 1, first, **options)))


def test_each_model_of_a_chain_is_the_student_of_the_one_before() -> None:
    with seeded(9):
        teacher = MLP(64, hidden=(16,)).train()
    before = _weights(teacher)
    makers = [lambda: MLP(64, hidden=(8,)), lambda: MLP(64, hidden=(4,)), lambda: MLP(64, hidden=())]
    models = distill_chain(teacher, makers, IMAGES, TEN, temperature=3.0, alpha=0.8, seed=4, **QUICK)
    source: nn.Module = teacher
    for number, (model, make) in enumerate(zip(models, makers, strict=True)):
        source = _by_hand(make, 4 + number, source)
        assert torch.equal(_weights(model), _weights(source))
    assert torch.equal(_weights(teacher), before)
    assert teacher.training
    logits = predict_logits(teacher, IMAGES)
    again = distill_chain(logits, makers, IMAGES, TEN, temperature=3.0, alpha=0.8, seed=4, **QUICK)
    assert_close(_weights(again[-1]), _weights(models[-1]))


def test_a_chain_needs_no_labels_when_the_teacher_alone_counts() -> None:
    (model,) = distill_chain(torch.randn(40, 10), [lambda: MLP(64)], IMAGES, alpha=1.0, **QUICK)
    assert not model.training


def test_a_chain_that_diverges_or_is_interrupted_ends_instead_of_teaching_on() -> None:
    born: list[nn.Module] = []

    class Bad(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            if len(born) == 2 and self is born[1]:  # in the student's training: `fit` swallows it
                raise KeyboardInterrupt
            return super().forward(x.flatten(1))

    def make() -> nn.Module:
        born.append(Bad(64, 10))
        return born[-1]

    with pytest.raises(KeyboardInterrupt):
        born_again(make, IMAGES, TEN, generations=3, **QUICK)
    assert len(born) == 2
    too_much = {"epochs": 5, "lr": 1e30, "batch_size": 8}
    with pytest.warns(UserWarning, match="lower lr"), pytest.raises(RuntimeError, match="generation 0 diverged"):
        born_again(lambda: MLP(64), IMAGES, TEN, generations=2, **too_much)


def test_the_random_state_outside_stays_as_it_is() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    born_again(_small, IMAGES, TEN, generations=2, seed=3, **QUICK)
    distill_chain(torch.zeros(40, 10), [_small], IMAGES, TEN, **QUICK)
    assert torch.equal(torch.rand(3), expected)


def test_a_student_of_one_view_learns_from_a_teacher_of_another() -> None:
    """What `kdlab.data.views` promises: the teacher's logits, the student's view, and the ordinary distill."""
    teacher = MLP(64, hidden=())
    student = MLP(32, hidden=(64,))
    logits = predict_logits(teacher, IMAGES)
    history = distill(student, 5 * logits, left_half(IMAGES), alpha=1.0, epochs=30, lr=1e-2)
    assert history.train_loss[-1] < 0.5 * history.train_loss[0]


# --- mutual learning --------------------------------------------------------------------------------------

PEERS = Z.transpose(0, 1).contiguous()  # (B, M, K) = (6, 3, 5)


def _own(m: int, peers: Tensor, temperature: float, weight: float) -> Tensor:
    """Peer m's own loss with the others fixed, written out."""
    log_q = (peers[:, m] / temperature).log_softmax(-1)
    total = F.cross_entropy(peers[:, m], LABELS)
    for j in set(range(peers.shape[1])) - {m}:
        p = (peers[:, j].detach() / temperature).softmax(-1)
        kl = (p * (p.log() - log_q)).sum(-1).mean()
        total = total + weight / (peers.shape[1] - 1) * temperature**2 * kl
    return total


@pytest.mark.parametrize(("temperature", "weight"), [(1.0, 1.0), (3.0, 0.5), (2.0, 0.0), (40.0, 2.0)])
def test_mutual_loss_is_the_sum_of_the_peers_own_losses(temperature: float, weight: float) -> None:
    expected = sum(_own(m, PEERS, temperature, weight) for m in range(3))
    assert_close(mutual_loss(PEERS, LABELS, temperature=temperature, weight=weight), expected)


def test_each_peers_gradient_is_that_of_its_own_loss_with_the_others_fixed() -> None:
    gradient = _gradient(lambda z: mutual_loss(z, LABELS, temperature=3.0, weight=0.5), PEERS)
    for m in range(3):
        own = _gradient(lambda z, m=m: _own(m, z, 3.0, 0.5), PEERS)
        assert_close(gradient[:, m], own[:, m])
    soft = [(PEERS[:, m] / 3).softmax(-1) for m in range(3)]  # and in closed form
    hard = PEERS[:, 0].softmax(-1) - F.one_hot(LABELS, 5)
    assert_close(gradient[:, 0], (hard + 0.5 / 2 * 3 * (2 * soft[0] - soft[1] - soft[2])) / 6)


def test_without_the_detachment_a_keeps_its_gradient_and_b_gets_one_from_as_loss() -> None:
    """The bug: one optimiser on L_a + L_b, and L_a's target KL(p_b || q_a) still attached to b."""
    a, b = (PEERS[:, m].clone().requires_grad_() for m in range(2))

    def loss_a(target: Tensor) -> Tensor:
        log_p, log_q = target.log_softmax(-1), a.log_softmax(-1)
        return F.cross_entropy(a, LABELS) + (log_p.exp() * (log_p - log_q)).sum(-1).mean()

    right = torch.autograd.grad(loss_a(b.detach()), (a, b), allow_unused=True)
    faulty = torch.autograd.grad(loss_a(b), (a, b))
    assert_close(faulty[0], right[0])
    assert right[1] is None
    assert faulty[1].norm() > 0.1
    ours = _gradient(lambda z: mutual_loss(z, LABELS), PEERS[:, :2])
    own_b = F.cross_entropy(b, LABELS) + kd_loss(b, a, temperature=1.0, alpha=1.0)
    assert_close(ours[:, 1], torch.autograd.grad(own_b, b)[0])
    assert (ours[:, 1] - (torch.autograd.grad(F.cross_entropy(b, LABELS), b)[0] + faulty[1])).norm() > 0.1


def test_peers_that_agree_have_their_cross_entropies_alone() -> None:
    same = PEERS[:, :1].expand(-1, 4, -1)
    for weight in (0.0, 1.0, 50.0):
        assert_close(mutual_loss(same, LABELS, weight=weight), 4 * F.cross_entropy(PEERS[:, 0], LABELS))


def test_mutual_loss_is_a_mean_over_the_batch_blind_to_constants_and_safe_in_half_precision() -> None:
    rows = [mutual_loss(PEERS[i : i + 1], LABELS[i : i + 1], temperature=2.0) for i in range(6)]
    assert_close(mutual_loss(PEERS, LABELS, temperature=2.0), torch.stack(rows).mean())
    shifted = PEERS + SHIFTS.transpose(0, 1)
    assert_close(mutual_loss(shifted, LABELS, temperature=2.0), mutual_loss(PEERS, LABELS, temperature=2.0))
    assert_close(mutual_loss(PEERS[:, [2, 0, 1]], LABELS), mutual_loss(PEERS, LABELS))
    for dtype in (torch.float16, torch.bfloat16):
        for weight in (0.0, 1.0):
            options = {"temperature": 20.0, "weight": weight}
            value = mutual_loss(PEERS.to(dtype), LABELS, **options)
            assert value.dtype == torch.float32
            assert_close(value, mutual_loss(PEERS.to(dtype).double(), LABELS, **options).float(), rtol=1e-4, atol=0)
    far = torch.tensor([[[0.0, 300.0], [300.0, 0.0]]], dtype=torch.float16)
    assert mutual_loss(far, torch.tensor([0])).isfinite()


def test_a_cohort_answers_as_its_peers_do_side_by_side() -> None:
    peers = [MLP(64, hidden=(4,)), MLP(64, hidden=(8, 8)), SmallCNN(width=2)]
    cohort = Cohort(peers).eval()
    answers = cohort(IMAGES)
    assert answers.shape == (40, 3, 10)
    for m, peer in enumerate(peers):
        assert torch.equal(answers[:, m], peer(IMAGES))
    assert len(list(cohort.parameters())) == sum(len(list(peer.parameters())) for peer in peers)


def test_mutual_training_is_fit_on_the_cohort_and_changes_the_peers_themselves() -> None:
    def peers() -> list[nn.Module]:
        with seeded(3):
            return [MLP(64, hidden=(8,)), SmallCNN(width=2, dropout=0.5)]

    mine, twins = peers(), peers()
    history = train_mutually(mine, IMAGES, TEN, temperature=2.0, weight=0.7, seed=6, **QUICK)

    def objective(logits: Tensor, labels: Tensor | None, rows: Tensor) -> Tensor:
        return mutual_loss(logits, labels, temperature=2.0, weight=0.7)

    expected = fit(Cohort(twins), IMAGES, TEN, objective=objective, seed=6, **QUICK)
    assert history == expected
    for peer, twin, fresh in zip(mine, twins, peers(), strict=True):
        assert torch.equal(_weights(peer), _weights(twin))
        assert not torch.equal(_weights(peer), _weights(fresh))
        assert not any(part.training for part in peer.modules())


def test_at_weight_zero_peers_train_as_if_alone_and_with_weight_they_come_closer() -> None:
    def peer(seed: int) -> nn.Module:
        with seeded(seed):
            return MLP(64, hidden=(8,))

    apart: dict[float, Tensor] = {}
    for weight in (0.0, 3.0):
        together = [peer(0), peer(1)]
        train_mutually(together, IMAGES, TEN, weight=weight, epochs=20, lr=1e-2, batch_size=16)
        apart[weight] = disagreement([predict_logits(one, IMAGES) for one in together]).mean()
        if weight == 0:
            for seed, one in enumerate(together):
                alone = peer(seed)
                fit(alone, IMAGES, TEN, epochs=20, lr=1e-2, batch_size=16)
                assert_close(_weights(one), _weights(alone))
    assert apart[3.0] < 0.5 * apart[0.0]


def test_mutual_training_accepts_options_that_are_switched_off() -> None:
    assert train_mutually([MLP(64), MLP(64)], IMAGES, TEN, validation=None, patience=None, **QUICK).epochs == 2


# --- refusals ---------------------------------------------------------------------------------------------

ONE = MLP(64)
NAN, INF = torch.full((6, 5), float("nan")), torch.full((6, 5), float("inf"))
S6, S4 = torch.zeros(6, 5), torch.zeros(4, 5)


class Bare(nn.Module):
    """No parameters: two references to it are still one network."""


def _rowwise(**options: Any) -> Tensor:
    return rowwise_kd_loss(S6, S6 + 1, LABELS, **options)


def _born(**options: Any) -> list[nn.Module]:
    return born_again(**{"make_student": _small, "images": IMAGES, "labels": TEN, "generations": 2, **QUICK, **options})


def _chain(makers: Any, **options: Any) -> list[nn.Module]:
    return distill_chain(**{"teacher": ONE, "makers": makers, "images": IMAGES, "labels": TEN, **QUICK, **options})


def _mutually(peers: Any, **options: Any) -> Any:
    return train_mutually(**{"peers": peers, "images": IMAGES, "labels": TEN, **QUICK, **options})


REFUSALS: list[tuple[type[Exception], str, Callable[[], Any]]] = [
    (ValueError, r"got a tensor of shape \[6, 5\].*Pass \[logits\]", lambda: average_logits(S6)),
    (TypeError, "sequence of tensors, got str", lambda: average_logits("logits")),
    (ValueError, "holds 0 teachers, and at least 1", lambda: average_logits([])),
    (TypeError, r"logits\[1\] must be floating point, got torch.int64", lambda: average_logits([S6, S6.long()])),
    (TypeError, r"logits\[0\] must be a torch tensor", lambda: average_logits([[0.0, 1.0]])),
    (ValueError, r"logits\[1\] has shape \[4, 5\].*different batches", lambda: average_logits([S6, S4])),
    (ValueError, r"logits\[1\] has shape \[6, 4\].*label sets", lambda: average_probabilities([S6, S6[:, :4]])),
    (ValueError, r"logits\[1\] contains NaN", lambda: average_logits([S6, NAN])),
    (ValueError, r"logits\[0\] contains infinite", lambda: average_probabilities([INF, S6])),
    (ValueError, "at least 2 classes", lambda: average_logits([S6[:, :1], S6[:, :1]])),
    (ValueError, "weights must be finite and at least 0, got one of -1", lambda: average_logits(Z, weights=[-1, 1, 1])),
    (ValueError, "weights must be finite .* nan", lambda: average_logits(Z, weights=[float("nan"), 1, 1])),
    (ValueError, "weights are all 0: at least one", lambda: average_probabilities(Z, weights=[0, 0, 0])),
    (
        ValueError,
        "weights are all 0 for 1 of 6 samples",
        lambda: average_logits(Z, weights=torch.ones(3, 6) * (torch.arange(6) > 0)),
    ),
    (ValueError, r"weights has shape \[2\], allowed are \[3\]", lambda: average_logits(Z, weights=[1, 1])),
    (ValueError, r"weights has shape \[6, 3\]", lambda: average_logits(Z, weights=UNEQUAL.T)),
    (TypeError, "weights must be a tensor or a sequence of numbers", lambda: average_logits(Z, weights="equal")),
    (ValueError, "temperature .* greater than 0, got 0", lambda: average_probabilities(Z, temperature=0)),
    (TypeError, "temperature must be a number, got '4'", lambda: average_probabilities(Z, temperature="4")),
    (ValueError, "temperature=1e-320 is too small", lambda: average_probabilities(Z, temperature=1e-320)),
    (ValueError, "holds 1 teachers, and at least 2", lambda: disagreement([S6])),
    (ValueError, "holds 1 teachers, and at least 2", lambda: agreement_weights(Z[:1])),
    (ValueError, "temperature .* got -1", lambda: disagreement(Z, temperature=-1)),
    (ValueError, "holds 1 teachers, and at least 2", lambda: label_confidence_weights([S6], LABELS)),
    (ValueError, r"labels has shape \[5\], expected \[6\]", lambda: label_confidence_weights(Z, LABELS[:5])),
    (ValueError, "labels contain 5, allowed are 0 to 4", lambda: label_confidence_weights(Z, LABELS + 1)),
    (TypeError, "labels must be integer", lambda: label_confidence_weights(Z, LABELS.float())),
    (TypeError, "labels must be a torch tensor", lambda: label_confidence_weights(Z, None)),
    (ValueError, r"temperature has shape \[5\], expected \[6\]", lambda: _rowwise(temperature=torch.ones(5))),
    (ValueError, r"temperature has shape \[6, 1\].*squeeze", lambda: _rowwise(temperature=torch.ones(6, 1))),
    (ValueError, r"temperature has shape \[\], expected \[6\]", lambda: _rowwise(temperature=torch.tensor(4.0))),
    (ValueError, "temperature must be .* got 0 in 1 of 6 rows", lambda: _rowwise(temperature=torch.arange(6.0))),
    (ValueError, "temperature must be .* got nan in 6", lambda: _rowwise(temperature=torch.full((6,), float("nan")))),
    (ValueError, r"temperature must be .* at most 1e\+06", lambda: _rowwise(temperature=1e7)),
    (ValueError, "temperature .* greater than 0, got 0", lambda: _rowwise(temperature=0.0)),
    (TypeError, "temperature must be a number, got '4'", lambda: _rowwise(temperature="4")),
    (TypeError, "temperature must hold real .* torch.bool", lambda: _rowwise(temperature=torch.ones(6).bool())),
    (ValueError, "weight must be finite .* got -1 in 1 of 6 rows", lambda: _rowwise(weight=torch.arange(-1.0, 5.0))),
    (ValueError, "weight must be finite .* got inf", lambda: _rowwise(weight=torch.ones(6) / 0)),
    (ValueError, r"weight has shape \[5\]", lambda: _rowwise(weight=torch.ones(5))),
    (TypeError, "weight must be a torch tensor with one value per row, got float", lambda: _rowwise(weight=0.5)),
    (ValueError, r"alpha must lie in \[0, 1\]", lambda: _rowwise(alpha=1.5)),
    (ValueError, "labels are missing: alpha=0.9", lambda: rowwise_kd_loss(S6, S6)),
    (ValueError, "student_logits contains NaN", lambda: rowwise_kd_loss(NAN, S6, LABELS)),
    (ValueError, "teacher_logits contains NaN", lambda: rowwise_kd_loss(S6, NAN, LABELS)),
    (ValueError, "teacher_logits contains infinite", lambda: rowwise_kd_loss(S6, -INF, LABELS)),
    (ValueError, "different batches", lambda: rowwise_kd_loss(S6, S4, LABELS)),
    (ValueError, "labels contain 5", lambda: rowwise_kd_loss(S6, S6, LABELS + 1)),
    (ValueError, "logits contains NaN", lambda: standardize(NAN)),
    (TypeError, "logits must be floating point", lambda: standardize(S6.long())),
    (ValueError, "at least 2 classes", lambda: standardize(S6[:, :1])),
    (ValueError, "entropy must lie between 0 and ln 5 = 1.609", lambda: matched_temperature(Z, entropy=math.log(5))),
    (ValueError, "entropy must lie .* got 0:", lambda: matched_temperature(Z, entropy=0)),
    (ValueError, "entropy must lie .* got nan", lambda: matched_temperature(Z, entropy=float("nan"))),
    (TypeError, "entropy must be a number of nats, got '1'", lambda: matched_temperature(Z, entropy="1")),
    (TypeError, "entropy must be a number of nats, got True", lambda: matched_temperature(Z, entropy=True)),
    (ValueError, "teacher_logits contains NaN", lambda: matched_temperature(NAN, entropy=0.5)),
    (ValueError, "generations must be a whole number of at least 1, got 0", lambda: _born(generations=0)),
    (ValueError, "generations must be a whole number .* got '2'", lambda: _born(generations="2")),
    (ValueError, "generations must be a whole number .* got True", lambda: _born(generations=True)),
    (ValueError, "seed must be a whole number of at least 0, got '0'", lambda: _born(seed="0")),
    (TypeError, "temperature must be a number", lambda: _born(temperature="4")),
    (ValueError, r"alpha must lie in \[0, 1\]", lambda: _born(alpha=2)),
    (ValueError, "labels are missing: generation 0", lambda: _born(labels=None)),
    (TypeError, "objective must not be passed", lambda: _born(objective=lambda *_: None)),
    (TypeError, "maker of generation 0 must be a function", lambda: _born(make_student=7)),
    (TypeError, "generation 0 must return a torch module, got NoneType", lambda: _born(make_student=lambda: None)),
    (ValueError, "generation 1 returned a model that shares weights", lambda: _born(make_student=lambda: MLP_KEPT)),
    (ValueError, "makers must be a sequence of at least one", lambda: _chain([])),
    (ValueError, "makers must be a sequence", lambda: _chain(lambda: MLP(64))),
    (ValueError, "model 0 of the chain returned a model that shares weights", lambda: _chain([lambda: ONE])),
    (TypeError, "maker of model 0 of the chain must be a function", lambda: _chain([3])),
    (TypeError, "temperature must be a number", lambda: _chain([_small], temperature="4")),
    (ValueError, "labels are missing", lambda: _chain([_small], labels=None)),
    (ValueError, "teacher logits for 6 samples, but 40 images", lambda: _chain([_small], teacher=S6)),
    (ValueError, r"logits must be \(B, M, K\).*got shape \[6, 5\]", lambda: mutual_loss(S6, LABELS)),
    (ValueError, r"at least 2, got shape \[6, 1, 5\]", lambda: mutual_loss(PEERS[:, :1], LABELS)),
    (ValueError, "logits contains NaN", lambda: mutual_loss(PEERS * float("nan"), LABELS)),
    (ValueError, r"labels has shape \[5\], expected \[6\]", lambda: mutual_loss(PEERS, LABELS[:5])),
    (ValueError, "labels contain 5", lambda: mutual_loss(PEERS, LABELS + 1)),
    (TypeError, "labels must be a torch tensor", lambda: mutual_loss(PEERS, None)),
    (ValueError, "temperature .* got 0", lambda: mutual_loss(PEERS, LABELS, temperature=0)),
    (ValueError, "weight must be a finite number of at least 0, got -1", lambda: mutual_loss(PEERS, LABELS, weight=-1)),
    (TypeError, "weight must be a number, got '1'", lambda: mutual_loss(PEERS, LABELS, weight="1")),
    (ValueError, "at least 2 peers, got 1", lambda: Cohort([ONE])),
    (TypeError, r"peers\[1\] must be a torch module, got str", lambda: Cohort([ONE, "MLP"])),
    (ValueError, r"peers\[0\] and peers\[2\] share weights", lambda: Cohort([ONE, MLP(64), ONE])),
    (ValueError, r"peers\[0\] and peers\[1\] share weights", lambda: Cohort([ONE, nn.Sequential(ONE)])),
    (ValueError, r"peers\[0\] and peers\[1\] share weights", lambda: Cohort([BARE, BARE])),
    (ValueError, r"one shape, got \[\[40, 10\], \[40, 3\]\]", lambda: Cohort([ONE, MLP(64, num_classes=3)])(IMAGES)),
    (ValueError, "validation does not fit a cohort", lambda: _mutually([MLP(64), ONE], validation=(IMAGES, TEN))),
    (ValueError, "patience does not fit a cohort", lambda: _mutually([MLP(64), ONE], patience=2)),
    (TypeError, "objective must not be passed", lambda: _mutually([MLP(64), ONE], objective=mutual_loss)),
    (ValueError, "labels are missing", lambda: _mutually([MLP(64), ONE], labels=None)),
    (TypeError, "temperature must be a number", lambda: _mutually([MLP(64), ONE], temperature="1")),
    (TypeError, "weight must be a number", lambda: _mutually([MLP(64), ONE], weight="1")),
    (ValueError, "share weights", lambda: _mutually([ONE, ONE])),
]  # fmt: skip
MLP_KEPT, BARE = MLP(64), Bare()


@pytest.mark.parametrize(("error", "words", "call"), REFUSALS)
def test_bad_input_is_refused_with_words(error: type[Exception], words: str, call: Callable[[], Any]) -> None:
    with pytest.raises(error, match=words):
        call()


def test_bad_input_is_refused_before_any_training() -> None:
    calls = 0

    def make() -> nn.Module:
        nonlocal calls
        calls += 1
        return MLP(64)

    for options in ({"temperature": -1}, {"alpha": "0.5"}, {"seed": 1.5}, {"generations": 1.5}):
        with pytest.raises((TypeError, ValueError)):
            _born(make_student=make, **options)
    for options in ({"temperature": -1}, {"alpha": "0.5"}, {"seed": 1.5}):
        with pytest.raises((TypeError, ValueError)):
            _chain([make], **options)
    assert calls == 0
