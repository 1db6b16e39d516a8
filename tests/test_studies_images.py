"""Lesson 03's study: who sees what, fair plans, and a results file that holds what the plans say."""

from __future__ import annotations

from functools import cache

import pytest
import torch

from kdlab.data import load_digits
from kdlab.models import SmallCNN
from kdlab.studies import image_distillation as images
from kdlab.studies import load_results
from kdlab.studies.image_distillation import GRIDS, REGIMES, Regime
from kdlab.training import evaluate, seeded

TRAIN = load_digits().train


@cache
def untrained() -> SmallCNN:
    with seeded(0):
        return SmallCNN(width=2)


def random_logits() -> torch.Tensor:
    return torch.randn(len(TRAIN), 10, generator=torch.Generator().manual_seed(0))


# ---- who sees what


@pytest.mark.parametrize("name", REGIMES)
def test_a_student_gets_its_labels_and_no_others(name: str) -> None:
    regime, logits = REGIMES[name], random_logits()
    seen, _ = images.seen_by_student(regime, 3, logits)
    known = images.student_images(regime, 3)
    true = (seen.labels == TRAIN.labels) if regime.transfer else torch.ones(len(seen), dtype=torch.bool)
    rows = images._labelled_rows(regime.per_class, 3)
    if regime.transfer:
        assert torch.equal(seen.images, TRAIN.images)
        unknown = torch.ones(len(TRAIN), dtype=torch.bool)
        unknown[rows] = False
        assert true[rows].all()
        assert torch.equal(seen.labels[unknown], logits.argmax(dim=1)[unknown])  # wrong ones too: nobody peeked
        assert not true[unknown].all()
    else:
        assert torch.equal(seen.images, known.images)
        assert torch.equal(seen.labels, known.labels)


@pytest.mark.parametrize("name", REGIMES)
def test_the_logits_belong_to_the_images_row_by_row(name: str) -> None:
    own = TRAIN.images.flatten(1)[:, :10].contiguous()  # "logits" that can be read off the image itself
    seen, targets = images.seen_by_student(REGIMES[name], 5, own)
    assert targets is not None
    assert torch.equal(seen.images.flatten(1)[:, :10], targets)


def test_without_a_teacher_the_unlabelled_images_are_of_no_use() -> None:
    seen, targets = images.seen_by_student(Regime(5, transfer=True), 0, None)
    assert (len(seen), targets) == (50, None)


def test_planning_leaves_the_training_labels_alone() -> None:
    before = TRAIN.labels.clone()
    seen, _ = images.seen_by_student(Regime(5, transfer=True), 0, random_logits())
    seen.labels.zero_()
    assert torch.equal(load_digits().train.labels, before)


def test_runs_with_other_seeds_get_other_images_and_with_the_same_seed_the_same() -> None:
    first, again, other = (images.student_images(REGIMES["50 labels"], seed) for seed in (0, 0, 1))
    assert torch.equal(first.images, again.images)
    assert not torch.equal(first.images, other.images)


# ---- fair plans


@pytest.mark.parametrize("name", REGIMES)
def test_every_arm_states_its_labels_and_gets_the_same_number_of_trials(name: str) -> None:
    plan = images.arms(name, untrained())
    assert next(iter(plan)) == "hard labels"
    assert {len(arm.settings or ()) for arm in plan.values()} == {16}
    labels = len(images.student_images(REGIMES[name], 0))
    assert {arm.student_labels for arm in plan.values()} == {labels}
    for arm_name, arm in plan.items():
        if (arm.teacher_labels or 0) > labels:  # its teacher knows more: one that does not must stand beside it
            assert plan[arm_name.replace("saw all", "saw the same")].teacher_labels == labels


def test_unlabelled_images_are_given_to_hard_pseudo_labels_too() -> None:
    plan = images.arms("50 labels, rest unlabelled", untrained())
    for who in ("teacher saw all", "teacher saw the same"):
        assert {f"hard pseudo-labels, {who}", f"distillation, {who}"} <= set(plan)


def test_other_comparisons_tune_all_their_arms_alike() -> None:
    for plan in (
        images.grid_arms("all labels", untrained()),
        images.capacity_arms(4, untrained()),
        images.teacher_arms(),
        images.start_arms(untrained()),
    ):
        assert len({len(arm.settings or ()) for arm in plan.values()}) == 1


def test_a_map_has_an_arm_for_every_cell() -> None:
    plan = images.grid_arms("50 labels", untrained(), temperatures=(1, 4.0), alphas=(0.1, 1.0))
    assert list(plan)[1:] == ["T = 1, alpha = 0.1", "T = 1, alpha = 1", "T = 4, alpha = 0.1", "T = 4, alpha = 1"]
    assert plan["T = 4, alpha = 1"].teacher_labels == 1000


def test_a_fixed_temperature_reaches_the_loss() -> None:
    plan = images.capacity_arms(16, untrained())
    scores = {plan[name].run(0, lr=0.016).validation for name in ("hard labels", "T = 4", "T = 32")}
    assert len(scores) == 3


def test_the_same_seed_and_setting_give_the_same_score() -> None:
    first, again, other = (images.run_once(seed, name="50 labels", lr=0.016) for seed in (0, 0, 1))
    assert first == again != other


def test_a_student_from_the_teacher_starts_from_its_weights_and_leaves_it_alone() -> None:
    teacher = untrained()
    before = {name: value.clone() for name, value in teacher.state_dict().items()}
    plan = images.start_arms(teacher, steps=1, width=2)
    scores = {name: arm.run(1, lr=1e-9).test for name, arm in plan.items()}  # a seed that is not the teacher's
    own = evaluate(teacher, load_digits().test.images, load_digits().test.labels).accuracy
    assert scores["from the teacher, hard labels"] == scores["from the teacher, distillation"] == pytest.approx(own)
    assert scores["random, hard labels"] == scores["random, distillation"] != pytest.approx(own)
    assert all(torch.equal(before[name], value) for name, value in teacher.state_dict().items())


def test_further_measures_come_with_a_teacher_only() -> None:
    with seeded(1):
        student = SmallCNN(width=1)
    assert images.score(student).also == {}
    also = images.score(student, untrained()).also
    assert set(also) == {"nll", "ece", "agreement", "kl_to_teacher"}
    assert images.score(untrained(), untrained()).also["agreement"] == 1.0


# ---- the results file


def test_the_file_holds_every_comparison_on_enough_seeds() -> None:
    study, record = load_results("image_distillation")
    assert set(study) == {
        *REGIMES,
        *images.MAPS,
        *(f"student width {width}" for width in images.WIDTHS),
        "teacher width",
        "start",
    }
    assert all(len(comparison.seeds) == 10 for comparison in study.values())
    assert "image_distillation_study" in record["command"]


@pytest.mark.parametrize("name", REGIMES)
def test_the_file_has_the_arms_that_the_plan_has(name: str) -> None:
    comparison, plan = load_results("image_distillation")[0][name], images.arms(name, untrained())
    assert list(comparison.scores) == list(plan)
    for arm_name, arm in plan.items():
        assert comparison.labels_seen[arm_name] == (arm.student_labels, arm.teacher_labels)
        assert comparison.chosen[arm_name] in [dict(setting) for setting in arm.settings or ()]
        assert set(comparison.also[arm_name]) == {"nll", "ece", "agreement", "kl_to_teacher"}
    assert comparison.trials == len(GRIDS["rate"])


@pytest.mark.parametrize("name", images.MAPS)
def test_the_file_has_every_cell_of_a_map(name: str) -> None:
    contrasts = load_results("image_distillation")[0][name].contrasts
    assert list(contrasts) == [images.cell_name(t, a) for t in images.TEMPERATURES for a in images.ALPHAS]


def test_a_run_of_the_file_repeated_agrees_within_two_points() -> None:
    comparison = load_results("image_distillation")[0]["50 labels"]
    chosen = comparison.chosen["hard labels"]
    again = images.run_once(0, name="50 labels", width=16, lr=chosen["lr"]).test
    assert abs(again - comparison.scores["hard labels"][0]) < 0.02
