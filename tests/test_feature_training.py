"""Training on layers: the right rows, projectors that learn, and a teacher that nothing touches."""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from kdlab.feature_tap import FeatureTap
from kdlab.feature_training import Match, distill_features, record_features
from kdlab.features import (
    Projector,
    attention_transfer_loss,
    hint_loss,
    relational_distance_loss,
    similarity_loss,
)
from kdlab.models import MLP, SmallCNN
from kdlab.training import distill, fit, predict_logits, seeded

IMAGES = torch.rand(40, 1, 8, 8, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(40) % 10
QUICK: dict[str, Any] = {"epochs": 2, "lr": 1e-2, "batch_size": 16, "progress": False}
LAYER = "features.4"


def _model(width: int = 2, seed: int = 0, dropout: float = 0.3) -> SmallCNN:
    with seeded(seed):
        return SmallCNN(width, dropout=dropout)


def _projector() -> Projector:
    with seeded(7):
        return Projector(4, 6)


TEACHER = _model(width=3, seed=1)


def _state(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def _same(model: nn.Module, state: dict[str, Tensor]) -> bool:
    return all(torch.equal(value, state[name]) for name, value in model.state_dict().items())


def _hooks(*models: nn.Module) -> int:
    return sum(len(part._forward_hooks) for model in models for part in model.modules())


def _hint(**options: Any) -> Match:
    return Match(LAYER, LAYER, hint_loss, **{"projector": _projector(), "weight": 0.01} | options)


# --- what is recorded -------------------------------------------------------------------------------------------------


def test_recorded_features_are_the_layers_outputs_in_evaluation_mode_for_every_image_in_order() -> None:
    teacher = _model(3)
    teacher.train()
    recorded = record_features(teacher, IMAGES, [LAYER, "classifier.3"], batch_size=7)
    teacher.eval()
    with torch.no_grad():
        assert_close(recorded[LAYER], teacher.features(IMAGES))
        assert_close(recorded["classifier.3"], teacher.classifier[:4](teacher.features(IMAGES)))
    assert list(recorded) == [LAYER, "classifier.3"]
    assert not recorded[LAYER].requires_grad
    assert_close(record_features(teacher, IMAGES, LAYER), {LAYER: recorded[LAYER]})


def test_recording_restores_modes_and_leaves_no_hook_even_when_it_fails() -> None:
    teacher = _model()
    teacher.train()
    teacher.classifier[1].eval()
    modes = [part.training for part in teacher.modules()]
    record_features(teacher, IMAGES, [LAYER])
    with pytest.raises(RuntimeError, match="channels"):
        record_features(teacher, torch.zeros(5, 3, 8, 8), [LAYER])
    with pytest.raises(ValueError, match=r"'features.9' is no layer of SmallCNN"):
        record_features(teacher, IMAGES, ["features.9"])
    assert [part.training for part in teacher.modules()] == modes
    assert _hooks(teacher) == 0


# --- the objective ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("alpha", [0.9, 0.0, 1.0])
def test_with_weight_zero_it_is_distill_bit_for_bit(alpha: float) -> None:
    plain, with_layers = _model(), _model()
    expected = distill(plain, TEACHER, IMAGES, LABELS, alpha=alpha, temperature=3.0, **QUICK)
    match = _hint(weight=0)
    history = distill_features(
        with_layers, TEACHER, IMAGES, LABELS, matches=[match], alpha=alpha, temperature=3.0, **QUICK
    )
    assert _same(with_layers, _state(plain))
    assert history == expected


def test_alpha_zero_and_weight_zero_is_training_on_labels() -> None:
    plain, with_layers = _model(), _model()
    expected = fit(plain, IMAGES, LABELS, **QUICK)
    history = distill_features(with_layers, TEACHER, IMAGES, LABELS, matches=[_hint(weight=0)], alpha=0, **QUICK)
    assert_close(list(with_layers.parameters()), list(plain.parameters()))
    assert history.train_loss == pytest.approx(expected.train_loss)


def test_the_objective_is_the_weighted_sum_of_its_terms() -> None:
    """One batch of everything in the first epoch: its loss can be computed from outside."""
    student, one_batch = _model(dropout=0.0), QUICK | {"epochs": 1, "batch_size": 40}
    with FeatureTap(student, LAYER) as tap, torch.no_grad():
        student.eval()(IMAGES)
    at = float(attention_transfer_loss(tap[LAYER], record_features(TEACHER, IMAGES, [LAYER])[LAYER]))
    sp = float(similarity_loss(tap[LAYER], predict_logits(TEACHER, IMAGES)))
    kd = distill(_model(dropout=0.0), TEACHER, IMAGES, LABELS, **one_batch).train_loss[0]
    matches = [
        Match(LAYER, LAYER, attention_transfer_loss, weight=5.0),
        Match(LAYER, "classifier.4", similarity_loss, weight=30.0),
    ]
    history = distill_features(student, TEACHER, IMAGES, LABELS, matches=matches, answers=0.5, **one_batch)
    assert history.train_loss[0] == pytest.approx(0.5 * kd + 5 * at + 30 * sp, rel=1e-5)


def test_features_are_matched_by_sample_under_shuffling() -> None:
    """The teacher is the student's twin, so for the same samples the two features agree, and for others not."""
    student = _model(dropout=0.0)
    twin = _model(dropout=0.0)
    seen = []

    def record(student_features: Tensor, teacher_features: Tensor) -> Tensor:
        seen.append((student_features.detach().clone(), teacher_features.clone()))
        return student_features.sum() * 0

    match = Match("features.0", "features.0", record)
    distill_features(student, twin, IMAGES, matches=[match], answers=0, **QUICK)
    assert [len(one) for one, _ in seen] == [16, 16, 8] * 2
    for mine, teachers in seen:
        assert_close(mine, teachers)  # no gradient, so the weights are still the twin's
    first, second = (torch.cat([one for one, _ in seen[start : start + 3]]) for start in (0, 3))
    assert not torch.equal(first, second)  # another order in each epoch
    assert not torch.allclose(first, twin.features[0](IMAGES))
    assert_close(first.flatten(1).sum(1).sort()[0], second.flatten(1).sum(1).sort()[0])  # of the same samples


def test_the_teacher_is_on_the_teachers_side() -> None:
    sides = []

    def record(student_features: Tensor, teacher_features: Tensor) -> Tensor:
        sides.append((student_features.shape[1], student_features.requires_grad, teacher_features.shape[1]))
        assert not teacher_features.requires_grad
        return student_features.sum()

    distill_features(_model(2), TEACHER, IMAGES, LABELS, matches=[Match(LAYER, LAYER, record)], **QUICK)
    assert set(sides) == {(4, True, 6)}


def test_layers_may_have_other_names_and_one_layer_may_serve_two_matches() -> None:
    matches = [
        Match(LAYER, "features.1", attention_transfer_loss),
        Match(LAYER, LAYER, similarity_loss),
        Match("layers.1", LAYER, similarity_loss),
    ]
    distill_features(_model(), TEACHER, IMAGES, LABELS, matches=matches[:2], **QUICK)
    history = distill_features(MLP(64, (8,)), TEACHER, IMAGES, LABELS, matches=matches[2:], **QUICK)
    assert history.epochs == 2


def test_training_brings_the_student_closer_to_the_teachers_layer() -> None:
    student, match = _model(dropout=0.0), _hint()
    target = record_features(TEACHER, IMAGES, [LAYER])[LAYER]

    def gap() -> float:
        features = record_features(student, IMAGES, [LAYER])[LAYER]
        return hint_loss(features, target, projector=match.projector).item()

    before = gap()
    distill_features(student, TEACHER, IMAGES, matches=[match], answers=0, **QUICK | {"epochs": 10})
    assert gap() < 0.5 * before


def test_answers_zero_trains_the_layers_below_alone() -> None:
    student = _model()
    before = _state(student)
    distill_features(student, TEACHER, IMAGES, matches=[_hint()], answers=0, weight_decay=0.0, **QUICK)
    changed = {name for name, value in student.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {"features.0.weight", "features.0.bias", "features.2.weight", "features.2.bias"}


def test_labels_may_be_missing_where_none_are_used() -> None:
    match = Match(LAYER, LAYER, attention_transfer_loss)
    assert distill_features(_model(), TEACHER, IMAGES, matches=[match], alpha=1.0, **QUICK).epochs == 2
    assert distill_features(_model(), TEACHER, IMAGES, matches=[match], answers=0, **QUICK).epochs == 2
    with pytest.raises(ValueError, match="labels are missing"):
        distill_features(_model(), TEACHER, IMAGES, matches=[match], alpha=0.5, **QUICK)


def test_runs_with_one_seed_are_equal_and_with_another_not() -> None:
    def run(seed: int) -> tuple[dict[str, Tensor], list[float]]:
        student = _model()
        match = _hint()
        history = distill_features(student, TEACHER, IMAGES, LABELS, matches=[match], seed=seed, **QUICK)
        return _state(student), history.train_loss

    (first, losses), (again, losses_again), (_, others) = run(1), run(1), run(2)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert losses == losses_again != others


# --- the projector ----------------------------------------------------------------------------------------------------


def test_the_projector_is_trained() -> None:
    match = _hint()
    before = _state(match.projector)
    distill_features(_model(), TEACHER, IMAGES, LABELS, matches=[match], **QUICK)
    assert not torch.equal(match.projector.linear.weight, before["linear.weight"])
    assert not torch.equal(match.projector.linear.bias, before["linear.bias"])
    assert not match.projector.training


def test_a_projector_takes_steps_of_the_same_optimiser() -> None:
    """Adam's first step has the length of the learning rate, for every parameter with a gradient."""
    match, one_step = _hint(), QUICK | {"epochs": 1, "batch_size": 40}
    before = _state(match.projector)
    distill_features(_model(dropout=0.0), TEACHER, IMAGES, LABELS, matches=[match], **one_step)
    step = (match.projector.linear.bias.detach() - before["linear.bias"]).abs()
    assert_close(step, torch.full_like(step, 1e-2), rtol=1e-3, atol=0)


def test_every_match_has_its_projector_trained_and_two_may_share_one() -> None:
    shared, own = _projector(), Projector(2, 3)
    matches = [_hint(projector=shared), _hint(projector=shared), Match("features.1", "features.1", hint_loss, projector=own)]  # fmt: skip # noqa: E501
    before = _state(shared), _state(own)
    distill_features(_model(), TEACHER, IMAGES, LABELS, matches=matches, **QUICK)
    assert not _same(shared, before[0])
    assert not _same(own, before[1])


def test_patience_brings_the_projector_back_with_the_student() -> None:
    """A loss that teaches for one epoch and then ruins: what is kept must be the state after that epoch."""
    states = []

    def ruin(student_features: Tensor, teacher_features: Tensor) -> Tensor:
        states.append(_state(match.projector))
        sign = 1.0 if len(states) <= 3 else -100.0
        return sign * hint_loss(student_features, teacher_features) / 100

    student = _model(dropout=0.0)
    match = Match(LAYER, LAYER, ruin, projector=_projector())
    options = QUICK | {"epochs": 6, "patience": 2, "validation": (IMAGES, predict_logits(student, IMAGES).argmax(-1))}
    history = distill_features(student, TEACHER, IMAGES, matches=[match], answers=0, **options)
    assert history.stopped == "patience"
    assert history.best_epoch == 0
    assert all(torch.equal(value, states[3][name]) for name, value in match.projector.state_dict().items())


# --- the teacher, and what is left behind -----------------------------------------------------------------------------


def _fails(error: type[BaseException], after: int, student: Tensor, teacher: Tensor, calls: list[int]) -> Tensor:
    calls.append(1)
    if len(calls) > after:
        raise error
    return attention_transfer_loss(student, teacher)


@pytest.mark.parametrize("end", ["finished", "interrupted", "error", "diverged"])
def test_the_teacher_is_untouched_and_no_hook_is_left_however_training_ends(end: str) -> None:
    teacher, student = _model(3, seed=1), _model()
    teacher.train()
    teacher.classifier[1].eval()
    before, modes = _state(teacher), [part.training for part in teacher.modules()]
    loss: Any = attention_transfer_loss
    if end in ("interrupted", "error"):
        error = KeyboardInterrupt if end == "interrupted" else ZeroDivisionError
        loss = partial(_fails, error, 4, calls=[])
    elif end == "diverged":
        loss = lambda s, t: s.sum() * float("inf")  # noqa: E731
    arguments = {"matches": [Match(LAYER, LAYER, loss)], **QUICK}
    if end == "error":
        with pytest.raises(ZeroDivisionError):
            distill_features(student, teacher, IMAGES, LABELS, **arguments)
    elif end == "diverged":
        with pytest.warns(UserWarning, match="the loss became"):
            assert distill_features(student, teacher, IMAGES, LABELS, **arguments).stopped == end
    else:
        history = distill_features(student, teacher, IMAGES, LABELS, **arguments)
        assert (history.stopped, history.epochs) == (end, 2 if end == "finished" else 1)
    assert _hooks(student, teacher) == 0
    assert _same(teacher, before)
    assert [part.training for part in teacher.modules()] == modes
    assert all(parameter.grad is None for parameter in teacher.parameters())
    assert all(parameter.requires_grad for parameter in teacher.parameters())


def test_the_teacher_runs_without_dropout_and_once_only() -> None:
    teacher, runs = _model(3, seed=1, dropout=0.9), []
    teacher.train()
    teacher.register_forward_hook(lambda module, inputs, output: runs.append((module.training, len(output))))
    distill_features(_model(), teacher, IMAGES, LABELS, matches=[Match(LAYER, LAYER, similarity_loss)], **QUICK)
    assert runs == [(False, 40)] * 2  # for its layers, and for its answers; never during training


def test_the_student_is_left_in_evaluation_mode_without_the_graph() -> None:
    student = _model()
    distill_features(student, TEACHER, IMAGES, LABELS, matches=[Match(LAYER, LAYER, similarity_loss)], **QUICK)
    assert not any(part.training for part in student.modules())


# --- refusals ---------------------------------------------------------------------------------------------------------

GOOD = Match(LAYER, LAYER, attention_transfer_loss)


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"matches": []}, ValueError, "at least one Match.*for logits alone use distill"),
        ({"matches": GOOD}, ValueError, "matches must be a list of at least one Match"),
        ({"matches": [attention_transfer_loss]}, ValueError, "matches must be a list"),
        ({"matches": [dataclasses.replace(GOOD, student_layer="feature.4")]}, ValueError, "did you mean 'features.4'"),
        ({"matches": [dataclasses.replace(GOOD, teacher_layer="nowhere")]}, ValueError, "'nowhere' is no layer"),
        ({"matches": [Match(LAYER, LAYER, hint_loss)]}, ValueError, r"pass projector=Projector\(4, 6\)"),
        ({"matches": [_hint(projector=Projector(3, 6))]}, ValueError, "the projector was made for 3 channels"),
        ({"matches": [Match(LAYER, "classifier.4", attention_transfer_loss)]}, ValueError, "must be feature maps"),
        ({"temperature": 0}, ValueError, "temperature must be"),
        ({"temperature": 0, "answers": 0}, ValueError, "temperature must be"),  # where kd_loss does not ask
        ({"alpha": 1.5}, ValueError, r"alpha must lie in \[0, 1\]"),
        ({"alpha": "half"}, TypeError, "alpha must be a number"),
        ({"answers": -1}, ValueError, "answers must be a finite number of at least 0"),
        ({"answers": None}, TypeError, "answers must be a number"),
        ({"objective": lambda *a: 0}, TypeError, "makes its own objective"),
        ({"train_along": []}, TypeError, "makes its own train_along"),
        ({"augment": lambda batch, generator: batch}, ValueError, "recorded for the unchanged images"),
        ({"epochs": 0}, ValueError, "epochs must be a whole number"),
    ],
)
def test_distill_features_refuses(options: dict[str, Any], error: type[Exception], words: str) -> None:
    student, teacher = _model(), _model(3)
    with pytest.raises(error, match=words):
        distill_features(student, teacher, IMAGES, LABELS, **{"matches": [GOOD], **QUICK, **options})
    assert _hooks(student, teacher) == 0


def test_an_augmentation_that_is_none_is_none() -> None:
    assert distill_features(_model(), TEACHER, IMAGES, LABELS, matches=[GOOD], augment=None, **QUICK).epochs == 2


@pytest.mark.parametrize(("weight", "error"), [(-1.0, ValueError), (float("nan"), ValueError), ("1", TypeError), (True, TypeError)])  # fmt: skip # noqa: E501
def test_a_match_refuses_a_weight(weight: object, error: type[Exception]) -> None:
    with pytest.raises(error, match="weight must be"):
        Match(LAYER, LAYER, hint_loss, weight=weight)


def test_a_match_refuses_a_loss_that_was_called_already() -> None:
    with pytest.raises(TypeError, match=r"loss must be a function of two features.*did you call it"):
        Match(LAYER, LAYER, torch.tensor(1.0))


def test_a_teacher_that_is_only_logits_is_refused() -> None:
    with pytest.raises(TypeError, match="model must be a torch module, got Tensor"):
        distill_features(_model(), torch.zeros(40, 10), IMAGES, LABELS, matches=[GOOD], **QUICK)


def test_a_last_batch_too_small_for_a_relation_says_so() -> None:
    match = Match(LAYER, LAYER, relational_distance_loss)
    with pytest.raises(ValueError, match="Is the last batch of an epoch smaller"):
        distill_features(_model(), TEACHER, IMAGES, LABELS, matches=[match], **QUICK | {"batch_size": 39})
