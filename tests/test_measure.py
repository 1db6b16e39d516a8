"""Measures agree with counting by hand, with other libraries, and with themselves in turn."""

from __future__ import annotations

import math
import time

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kdlab.measure import (
    agreement,
    count_macs,
    count_parameters,
    describe,
    entropy,
    expected_calibration_error,
    fit_temperature,
    latency,
    model_bytes,
    reliability,
    shuffle_within,
)


class Tied(nn.Module):
    """Two layers that share one weight: 100 stored numbers, not 200."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(10, 10, bias=False), nn.Linear(10, 10, bias=False)
        self.second.weight = self.first.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.second(self.first(x))


def test_parameters_and_bytes_count_shared_tensors_once() -> None:
    assert count_parameters(Tied()) == 100
    assert model_bytes(Tied()) == 400


def test_frozen_parameters_can_be_left_out_and_buffers_take_bytes_only() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4))
    model[0].weight.requires_grad_(False)
    assert count_parameters(model) == 20 + 8
    assert count_parameters(model, trainable_only=True) == 4 + 8
    assert model_bytes(model) == 4 * (20 + 8 + 8) + 8  # running mean and variance, and an int64 counter


def test_views_of_one_storage_take_its_bytes_once() -> None:
    model = nn.Linear(10, 10, bias=False)
    model.register_buffer("first_rows", model.weight.detach()[:5])
    assert model_bytes(model) == 400


def test_bytes_follow_the_dtype() -> None:
    assert model_bytes(nn.Linear(10, 10).half()) == 220


def test_macs_of_linear_and_convolution_are_those_counted_by_hand() -> None:
    assert count_macs(nn.Linear(64, 10), torch.zeros(3, 64)) == 3 * 64 * 10
    convolution = nn.Conv2d(3, 8, kernel_size=3, padding=1, groups=1)
    assert count_macs(convolution, torch.zeros(2, 3, 5, 5)) == 2 * 25 * 8 * 3 * 9
    grouped = nn.Conv2d(8, 8, kernel_size=3, padding=1, groups=8)
    assert count_macs(grouped, torch.zeros(1, 8, 5, 5)) == 25 * 8 * 9


def test_macs_leave_the_model_as_it_was() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Dropout()).train()
    count_macs(model, torch.zeros(1, 4))
    assert model.training


def test_latency_takes_turns_and_orders_a_slow_model_after_a_fast_one() -> None:
    calls: list[str] = []

    def model(name: str, seconds: float):
        def run(x: Tensor) -> None:
            calls.append(name)
            time.sleep(seconds)

        return run

    result = latency({"fast": model("fast", 0.001), "slow": model("slow", 0.005)}, torch.zeros(1), rounds=6, warmup=2)
    assert result["fast"].ratio == 1
    assert 2 < result["slow"].ratio < 8
    assert result["slow"].median <= result["slow"].p95
    assert calls.count("fast") == calls.count("slow") == 8
    assert calls[:4] == ["fast", "slow", "slow", "fast"]  # the order rotates


def test_latency_restores_threads_and_modes() -> None:
    before = torch.get_num_threads()
    model = nn.Linear(2, 2).train()
    latency({"m": model}, torch.zeros(1, 2), rounds=2, threads=1)
    assert torch.get_num_threads() == before
    assert model.training


@pytest.mark.parametrize(
    ("models", "options"), [({}, {}), ({"m": nn.Identity()}, {"rounds": 0}), ({"m": nn.Identity()}, {"warmup": -1})]
)
def test_latency_refuses(models: dict, options: dict) -> None:
    with pytest.raises(ValueError, match=r"models is empty|rounds must be"):
        latency(models, torch.zeros(1), **options)


def test_entropy_has_its_bounds() -> None:
    rows = torch.tensor([[1.0, 0.0, 0.0, 0.0], [0.25] * 4])
    assert entropy(rows).tolist() == pytest.approx([0.0, math.log(4)])


def test_calibration_error_by_hand() -> None:
    """Four predictions at 0.9 of which three are right, one at 0.6 that is wrong."""
    p = torch.tensor([[0.9, 0.1]] * 4 + [[0.6, 0.4]])
    labels = torch.tensor([0, 0, 0, 1, 1])
    assert expected_calibration_error(p, labels, bins=10) == pytest.approx(0.8 * 0.15 + 0.2 * 0.6)


def test_calibration_error_is_small_for_calibrated_predictions_and_grows_with_overconfidence() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = 2 * torch.randn(20_000, 5, generator=generator)
    labels = torch.multinomial(logits.softmax(-1), 1, generator=generator).flatten()
    honest = expected_calibration_error(logits.softmax(-1), labels)
    bragging = expected_calibration_error((3 * logits).softmax(-1), labels)
    assert honest < 0.02
    assert bragging > 0.1


def test_every_prediction_is_in_one_bin_and_edges_belong_to_the_bin_below() -> None:
    p = torch.tensor([[0.5, 0.5], [0.7, 0.3], [1.0, 0.0]], dtype=torch.float64)
    groups = reliability(p, torch.tensor([0, 0, 0]), bins=2)
    assert [group.count for group in groups] == [1, 2]
    assert math.isnan(reliability(p, torch.tensor([0, 0, 0]), bins=10)[0].accuracy)


@pytest.mark.parametrize(
    ("error", "words", "p", "labels", "bins"),
    [
        (ValueError, "did you pass logits", torch.tensor([[3.0, 1.0]]), torch.tensor([0]), 10),
        (ValueError, "did you pass logits", torch.tensor([[1.5, -0.5]]), torch.tensor([0]), 10),
        (ValueError, "sum to 1", torch.tensor([[float("nan"), 1.0]]), torch.tensor([0]), 10),
        (TypeError, "floating-point", torch.tensor([[1, 0]]), torch.tensor([0]), 10),
        (ValueError, "labels", torch.tensor([[1.0, 0.0]]), torch.tensor([0, 1]), 10),
        (ValueError, "bins", torch.tensor([[1.0, 0.0]]), torch.tensor([0]), 0),
    ],
)
def test_calibration_refuses(error: type[Exception], words: str, p: Tensor, labels: Tensor, bins: int) -> None:
    with pytest.raises(error, match=words):
        expected_calibration_error(p, labels, bins=bins)


@pytest.mark.parametrize("true_temperature", [0.5, 1.0, 3.0])
def test_fit_temperature_finds_the_temperature_that_made_the_labels(true_temperature: float) -> None:
    generator = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(20_000, 5, generator=generator)
    labels = torch.multinomial((logits / true_temperature).softmax(-1), 1, generator=generator).flatten()
    found = fit_temperature(logits, labels)
    assert found == pytest.approx(true_temperature, rel=0.05)
    assert F.cross_entropy(logits / found, labels) <= F.cross_entropy(logits / true_temperature, labels) + 1e-6


def test_shuffling_within_groups_keeps_what_each_group_holds_and_moves_the_rest() -> None:
    values, groups = torch.arange(300), torch.arange(300) % 3
    shuffled = shuffle_within(values, groups, seed=0)
    assert not torch.equal(shuffled, values)
    assert torch.equal(shuffled % 3, groups)
    assert torch.equal(shuffled.sort().values, values)
    assert torch.equal(shuffled, shuffle_within(values, groups, seed=0))
    assert not torch.equal(shuffled, shuffle_within(values, groups, seed=1))


def test_every_order_within_a_group_comes_up_equally_often() -> None:
    values, groups = torch.tensor([0, 1, 2, 9]), torch.tensor([0, 0, 0, 1])
    orders = [tuple(shuffle_within(values, groups, seed=seed)[:3].tolist()) for seed in range(1200)]
    counts = [orders.count(order) for order in set(orders)]
    assert len(counts) == 6
    assert max(counts) - min(counts) < 100  # 200 each on average


def test_shuffling_refuses_groups_of_another_length() -> None:
    with pytest.raises(ValueError, match="3 values but 2 groups"):
        shuffle_within(torch.arange(3), torch.arange(2), seed=0)


def _classifier(seed: int, n: int = 50, k: int = 4) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    student, teacher = 2 * torch.randn(2, n, k, generator=generator)
    return student, teacher, torch.randint(k, (n,), generator=generator)


def test_agreement_counts_equal_answers_whoever_is_right() -> None:
    student = torch.tensor([[2.0, 0.0], [0.0, 1.0], [5.0, 4.0], [0.0, 0.1]])
    teacher = torch.tensor([[9.0, 1.0], [3.0, 1.0], [0.1, 0.0], [0.0, 9.0]])
    assert agreement(student, teacher) == agreement(teacher, student) == 0.75
    assert agreement(student, 100 * student + 7) == 1


def test_describe_agrees_with_each_measure_alone() -> None:
    student, teacher, labels = _classifier(0)
    found = describe(student, labels, teacher)
    p, q = (torch.distributions.Categorical(logits=z.double()) for z in (teacher, student))
    assert found["accuracy"] == pytest.approx(float((student.argmax(1) == labels).float().mean()))
    assert found["nll"] == pytest.approx(float(F.cross_entropy(student, labels)), rel=1e-5)
    assert found["ece"] == pytest.approx(expected_calibration_error(student.softmax(1), labels), rel=1e-4)
    assert found["agreement"] == agreement(student, teacher)
    assert found["kl_to_teacher"] == pytest.approx(float(torch.distributions.kl_divergence(p, q).mean()))
    assert found["kl_to_teacher"] != pytest.approx(float(torch.distributions.kl_divergence(q, p).mean()), rel=0.01)


def test_describe_takes_a_model_and_leaves_it_as_it_was() -> None:
    images, labels = torch.rand(20, 4), torch.randint(3, (20,))
    model = nn.Sequential(nn.Linear(4, 3), nn.Dropout(0.9)).train()
    assert describe(model, labels, images=images) == describe(model[0](images), labels)
    assert model[1].training
    assert set(describe(model, labels, images=images)) == {"accuracy", "nll", "ece"}


def test_a_student_equal_to_its_teacher_is_at_no_distance() -> None:
    student, _, labels = _classifier(1)
    found = describe(student, labels, student + 3)
    assert found["kl_to_teacher"] == pytest.approx(0, abs=1e-6)
    assert found["agreement"] == 1


def test_describe_and_agreement_refuse_what_does_not_fit() -> None:
    student, teacher, labels = _classifier(2)
    with pytest.raises(ValueError, match="50 rows of logits but labels of shape"):
        describe(student, labels[:49])
    with pytest.raises(ValueError, match="equal"):
        agreement(student, teacher[:49])
    with pytest.raises(ValueError, match="did you pass features"):
        describe(student, labels, torch.zeros(50, 7))
    with pytest.raises(ValueError, match="NaN in 1 of 50 rows"):
        describe(student.index_fill(0, torch.tensor([3]), math.nan), labels)
    with pytest.raises(ValueError, match=r"must be \(N, K\)"):
        agreement(student.argmax(1), teacher)
    with pytest.raises(TypeError, match="needs images"):
        describe(nn.Linear(4, 4), labels)
    with pytest.raises(TypeError, match="images must not be passed"):
        describe(student, labels, images=student)


def test_describe_refuses_labels_that_cross_entropy_would_skip() -> None:
    with pytest.raises(ValueError, match="labels contain -100"):
        describe(torch.zeros(4, 3), torch.tensor([0, 0, -100, -100]))
    with pytest.raises(ValueError, match="teacher_logits contains infinite"):
        describe(torch.zeros(2, 3), torch.tensor([0, 1]), torch.full((2, 3), math.inf))
