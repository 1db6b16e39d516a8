"""Each broken run breaks what it says, nothing else, and its alarm rings for it alone."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from kdlab.data import load_digits
from kdlab.experiments import compare
from kdlab.models import MLP, SmallCNN
from kdlab.studies.broken_runs import (
    ReLULogits,
    misaligned,
    one_training_pass,
    relu_arms,
    silent_classes,
    teacher_arms,
    unpaired_gains,
)
from kdlab.training import predict_logits, seeded

TRAIN = load_digits().train


def _teacher() -> SmallCNN:
    with seeded(0):
        return SmallCNN(width=4, dropout=0.5)


def test_a_training_pass_is_random_repeatable_and_leaves_the_teacher_alone() -> None:
    teacher = nn.Sequential(nn.Flatten(), nn.Linear(64, 10), nn.BatchNorm1d(10), nn.Dropout(0.5))
    teacher[2].eval()
    before = {name: value.clone() for name, value in teacher.state_dict().items()}
    first, again, other = (one_training_pass(teacher, TRAIN.images, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert not first.requires_grad
    assert all(torch.equal(value, before[name]) for name, value in teacher.state_dict().items())
    assert [part.training for part in teacher.modules()] == [True, True, True, False, True]


def test_misaligned_logits_are_the_same_rows_elsewhere() -> None:
    logits = torch.arange(100.0).reshape(50, 2)
    moved = misaligned(logits, seed=0)
    assert torch.equal(moved.sort(dim=0).values, logits)
    assert int((moved == logits).all(dim=1).sum()) < 5


def test_the_alarms_ring_for_the_broken_run_only() -> None:
    teacher = _teacher()
    eval_pass = [predict_logits(teacher, TRAIN.images) for _ in range(2)]
    assert torch.equal(*eval_pass)
    assert not torch.equal(*(one_training_pass(teacher, TRAIN.images, seed=seed) for seed in (0, 1)))
    right = 10.0 * nn.functional.one_hot(TRAIN.labels, 10)
    assert (right.argmax(-1) == TRAIN.labels).float().mean() > 0.5
    assert not (misaligned(right, seed=0).argmax(-1) == TRAIN.labels).float().mean() > 0.5
    assert (predict_logits(MLP(), TRAIN.images) < 0).any()
    assert not (predict_logits(ReLULogits(MLP()), TRAIN.images) < 0).any()


def test_a_silent_class_behind_a_relu_gets_no_gradient_and_others_do() -> None:
    student = ReLULogits(MLP())
    last = student.model.layers[-1]
    with torch.no_grad():
        last.bias[3] = -100.0
        last.bias[4] = 100.0
    assert 3 in silent_classes(student, TRAIN.images)
    assert 3 in silent_classes(student.model, TRAIN.images)
    assert 4 not in silent_classes(student, TRAIN.images)
    nn.functional.cross_entropy(student(TRAIN.images), TRAIN.labels).backward()
    assert last.weight.grad is not None
    assert torch.count_nonzero(last.weight.grad[3]) == 0
    assert torch.count_nonzero(last.weight.grad[4]) > 0


def test_the_tutorials_students_differ_in_the_relu_alone() -> None:
    """With the same seed both start from the same weights; the arms are paired."""
    scores = [relu_arms(_teacher(), relu=relu)["hard labels"].run(0) for relu in (True, False)]
    assert scores[0].test < scores[1].test - 0.05  # seed 0 starts with silent classes
    assert relu_arms(_teacher(), relu=True)["hard labels"].run(0) == scores[0]


def test_teacher_arms_differ_in_their_targets_alone() -> None:
    arms = teacher_arms(_teacher(), per_class=1)
    assert list(arms) == ["hard labels", "soft labels", "teacher in training mode", "logits misaligned"]
    assert {arm.student_labels for arm in arms.values()} == {10}
    assert [arm.teacher_labels for arm in arms.values()] == [None, 1000, 1000, 1000]
    assert len({tuple(setting["lr"] for setting in arm.settings or ()) for arm in arms.values()}) == 1


def test_unpaired_gains_leave_out_equal_seeds() -> None:
    result = compare({"a": lambda seed: seed / 10, "b": lambda seed: seed / 10 + 1}, range(5))
    gains = unpaired_gains(result, "b")
    assert len(gains) == 20
    assert max(gains) == pytest.approx(1.4)
    assert min(gains) == pytest.approx(0.6)
    assert not any(gain == pytest.approx(1.0) for gain in gains)
