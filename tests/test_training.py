"""The training loop: paired by seed, safe for teachers, honest about how it ended."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.testing import assert_close

from kdlab.data import shift_images
from kdlab.logit_cache import LogitCache
from kdlab.losses import kd_loss
from kdlab.models import MLP, SmallCNN
from kdlab.pruning import apply_mask, gradual_sparsity, magnitude_mask, prunable, random_mask, sparsity_of
from kdlab.training import distill, evaluate, fit, predict_logits, pseudo_labels, seeded

IMAGES = torch.rand(60, 1, 8, 8, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(60) % 10
QUICK = {"epochs": 3, "lr": 1e-2, "batch_size": 16}


def _model(seed: int = 0, dropout: float = 0.5) -> SmallCNN:
    with seeded(seed):
        return SmallCNN(width=4, dropout=dropout)


def _weights(model: nn.Module) -> Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])


def test_the_same_seed_gives_the_same_run_and_another_seed_another() -> None:
    results = []
    for seed in (1, 1, 2):
        model = _model()
        history = fit(model, IMAGES, LABELS, seed=seed, **QUICK)
        results.append((_weights(model), history.train_loss))
    assert torch.equal(results[0][0], results[1][0])
    assert results[0][1] == results[1][1]
    assert not torch.equal(results[0][0], results[2][0])


def test_training_leaves_the_random_state_outside_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    fit(_model(), IMAGES, LABELS, seed=3, **QUICK)
    assert torch.equal(torch.rand(3), expected)


def test_arms_with_one_seed_see_the_same_batches() -> None:
    seen: dict[str, list[list[int]]] = {"a": [], "b": []}
    for name, scale in (("a", 1.0), ("b", 5.0)):

        def objective(
            logits: Tensor, labels: Tensor | None, rows: Tensor, name: str = name, scale: float = scale
        ) -> Tensor:
            seen[name].append(rows.tolist())
            return scale * F.cross_entropy(logits, labels)

        fit(_model(), IMAGES, LABELS, seed=7, objective=objective, **QUICK)
    assert seen["a"] == seen["b"]
    assert sorted(row for batch in seen["a"][:4] for row in batch) == list(
        range(60)
    )  # an epoch visits every sample once
    assert seen["a"][:4] != seen["a"][4:8]  # in a new order each time


def test_another_seed_gives_another_batch_order() -> None:
    orders: dict[int, list[int]] = {1: [], 2: []}
    for seed, seen in orders.items():

        def objective(logits: Tensor, labels: Tensor | None, rows: Tensor, seen: list[int] = seen) -> Tensor:
            seen.extend(rows.tolist())
            return F.cross_entropy(logits, labels)

        fit(MLP(), IMAGES, LABELS, seed=seed, objective=objective, **QUICK)
    assert orders[1] != orders[2]


def test_the_loop_is_adam_on_the_objective() -> None:
    model, twin = MLP(64, hidden=()), MLP(64, hidden=())
    twin.load_state_dict(model.state_dict())
    fit(model, IMAGES, LABELS, epochs=4, lr=1e-2, batch_size=60)
    optimizer = torch.optim.Adam(twin.parameters(), lr=1e-2)
    for _ in range(4):
        optimizer.zero_grad()
        F.cross_entropy(twin(IMAGES), LABELS).backward()
        optimizer.step()
    assert_close(_weights(model), _weights(twin))


def test_distill_uses_the_teacher_in_evaluation_mode_and_leaves_it_untouched() -> None:
    teacher = _model(seed=1).train()
    before = _weights(teacher)
    distill(_model(), teacher, IMAGES, LABELS, **QUICK)
    assert teacher.training
    assert torch.equal(_weights(teacher), before)
    assert all(parameter.grad is None for parameter in teacher.parameters())
    assert torch.equal(predict_logits(teacher, IMAGES), predict_logits(teacher, IMAGES))  # no dropout


class Restless(nn.Module):
    """A teacher with everything that goes wrong in training mode: dropout, and statistics that move."""

    def __init__(self) -> None:
        super().__init__()
        with seeded(2):
            self.layers = nn.Sequential(
                nn.Flatten(), nn.Linear(64, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.5), nn.Linear(16, 10)
            )
        self.answers: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        self.answers.append(self.layers(x))
        return self.answers[-1]


def _shift(batch: Tensor, generator: torch.Generator) -> Tensor:
    return shift_images(batch, generator)


def _as_found(model: nn.Module) -> tuple[dict[str, Tensor], list[bool], list[Tensor | None]]:
    state = {name: value.clone() for name, value in model.state_dict().items()}
    return state, [part.training for part in model.modules()], [p.grad for p in model.parameters()]


@pytest.mark.parametrize("augment", [None, _shift], ids=["once", "every view"])
def test_whatever_mode_the_teacher_is_left_in_its_answers_are_the_same_and_it_is_untouched(augment: Any) -> None:
    answers, students = [], []
    for half_frozen in (None, False, True):
        teacher = Restless().train(half_frozen is not None)
        if half_frozen:
            teacher.layers[2].eval()
        state, modes, gradients = _as_found(teacher)
        student = _model()
        distill(student, teacher, IMAGES, LABELS, augment=augment, **QUICK)
        after = _as_found(teacher)
        assert all(torch.equal(value, state[name]) for name, value in after[0].items())
        assert (after[1], after[2]) == (modes, gradients)
        assert not any(answer.requires_grad for answer in teacher.answers)
        answers.append(torch.cat(teacher.answers))
        students.append(_weights(student))
    assert torch.equal(answers[0], answers[1])
    assert torch.equal(answers[0], answers[2])
    assert torch.equal(students[0], students[1])
    assert torch.equal(students[0], students[2])


def test_an_interrupted_augmented_run_leaves_the_teacher_as_it_was() -> None:
    calls = 0

    class Interrupting(Restless):
        def forward(self, x: Tensor) -> Tensor:
            nonlocal calls
            calls += 1
            if calls > 5:
                raise KeyboardInterrupt
            return super().forward(x)

    teacher = Interrupting().train()
    history = distill(_model(), teacher, IMAGES, LABELS, augment=_shift, **QUICK)
    assert history.stopped == "interrupted"
    assert all(part.training for part in teacher.modules())
    assert torch.is_grad_enabled()


def test_with_augmentation_teacher_and_student_see_the_same_view_and_the_answers_are_for_it() -> None:
    """A teacher that reads the shift off the picture: only answers for the student's own view fit together."""
    seen: list[Tensor] = []
    teacher = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    watched = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    watched.load_state_dict(teacher.state_dict())
    watched.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].clone()))
    history = distill(watched, teacher, IMAGES, None, alpha=1.0, augment=_shift, epochs=1, lr=1e-9, batch_size=16)
    assert history.train_loss[0] == pytest.approx(0, abs=1e-6)  # a student equal to its teacher, view by view
    assert not torch.equal(torch.cat(seen).sort(0).values, IMAGES.sort(0).values)


def test_augmentation_draws_from_the_runs_own_seed() -> None:
    views: list[list[Tensor]] = [[], [], []]
    for mine, seed in zip(views, (4, 4, 5), strict=True):

        def augment(batch: Tensor, generator: torch.Generator, mine: list[Tensor] = mine) -> Tensor:
            mine.append(shift_images(batch, generator))
            return mine[-1]

        torch.manual_seed(len(views))  # the state outside must not matter
        fit(_model(), IMAGES, LABELS, augment=augment, seed=seed, **QUICK)
    assert torch.equal(torch.cat(views[0]), torch.cat(views[1]))
    assert not torch.equal(torch.cat(views[0]), torch.cat(views[2]))


def test_augmentation_leaves_batch_order_dropout_and_the_images_alone() -> None:
    """An arm with augmentation stays paired with one without: here the augmentation draws and changes nothing."""

    def idle(batch: Tensor, generator: torch.Generator) -> Tensor:
        torch.rand(7, generator=generator)
        return batch

    kept = IMAGES.clone()
    results = []
    for augment in (None, idle):
        model = _model()
        fit(model, IMAGES, LABELS, augment=augment, seed=3, **QUICK)
        results.append(_weights(model))
    assert torch.equal(results[0], results[1])
    fit(_model(), IMAGES, LABELS, augment=lambda batch, generator: batch.zero_(), **QUICK)
    assert torch.equal(IMAGES, kept)


def test_a_teacher_asked_on_every_view_of_unchanged_images_is_a_teacher_asked_once() -> None:
    students = []
    for augment in (None, lambda batch, generator: batch):
        student = _model()
        distill(student, Restless(), IMAGES, LABELS, augment=augment, **QUICK)
        students.append(_weights(student))
    assert_close(students[0], students[1], rtol=1e-4, atol=1e-5)


def test_recorded_answers_are_refused_for_augmented_images() -> None:
    cache = LogitCache.record(_model(), IMAGES)
    for recorded, kind in ((cache, "LogitCache"), (cache.logits, "Tensor")):
        with pytest.raises(ValueError, match=f"got a {kind} of recorded answers.*student would see others"):
            distill(MLP(), recorded, IMAGES, LABELS, augment=_shift, **QUICK)


@pytest.mark.parametrize(
    ("words", "augment"),
    [
        ("16 here, got shape .15", lambda batch, generator: batch[1:]),
        ("16 here, got NoneType", lambda batch, generator: None),
    ],
)
def test_an_augmentation_that_loses_images_is_refused(words: str, augment: Any) -> None:
    with pytest.raises(ValueError, match=words):
        fit(MLP(), IMAGES, LABELS, augment=augment, **QUICK)
    with pytest.raises(ValueError, match=words):
        distill(MLP(), _model(), IMAGES, LABELS, augment=augment, **QUICK)


def test_augment_must_be_a_function() -> None:
    with pytest.raises(TypeError, match="augment must be a function of a batch and a generator, got 'flip'"):
        fit(MLP(), IMAGES, LABELS, augment="flip", **QUICK)  # type: ignore[arg-type]


def test_pseudo_labels_are_the_teachers_answers_in_evaluation_mode() -> None:
    teacher = Restless().train()
    found = pseudo_labels(teacher, IMAGES)
    assert found.dtype == torch.int64
    assert torch.equal(found, predict_logits(teacher, IMAGES).argmax(dim=-1))
    assert torch.equal(found, pseudo_labels(predict_logits(teacher, IMAGES)))
    assert teacher.training
    with pytest.raises(TypeError, match="teacher is a model, so it needs images"):
        pseudo_labels(teacher)
    with pytest.raises(TypeError, match="images must not be passed"):
        pseudo_labels(found, IMAGES)
    with pytest.raises(ValueError, match=r"must be \(N, K\)"):
        pseudo_labels(found)
    with pytest.raises(ValueError, match="NaN in 1 of 1 rows"):
        pseudo_labels(torch.tensor([[0.0, float("nan")]]))


def test_distill_addresses_teacher_logits_by_sample() -> None:
    """Teacher rows aligned with samples, whatever the batch order: the student must learn the teacher's answer."""
    answers = torch.randperm(60, generator=torch.Generator().manual_seed(0)) % 10
    logits = 8.0 * F.one_hot(answers, 10).float()
    student = MLP(64, hidden=(64,))
    distill(student, logits, IMAGES, None, temperature=1.0, alpha=1.0, epochs=200, lr=1e-2, batch_size=16)
    assert evaluate(student, IMAGES, answers).accuracy > 0.95


def test_distill_minimises_kd_loss() -> None:
    teacher_logits = torch.randn(60, 10, generator=torch.Generator().manual_seed(0))
    student = MLP(64, hidden=())
    start = float(kd_loss(predict_logits(student, IMAGES), teacher_logits, LABELS, temperature=3.0, alpha=0.6))
    history = distill(
        student, teacher_logits, IMAGES, LABELS, temperature=3.0, alpha=0.6, epochs=1, lr=1e-6, batch_size=60
    )
    assert abs(history.train_loss[0] - start) < 1e-3


def test_the_student_is_back_in_training_mode_after_each_evaluation() -> None:
    modes: list[bool] = []
    model = _model().eval()  # as an earlier fit leaves it

    def objective(logits: Tensor, labels: Tensor | None, rows: Tensor) -> Tensor:
        modes.append(model.training)
        return F.cross_entropy(logits, labels)

    fit(model, IMAGES, LABELS, validation=(IMAGES, LABELS), objective=objective, **QUICK)
    assert modes == [True] * 12
    assert not model.training


def test_evaluating_restores_layers_that_were_frozen_on_purpose() -> None:
    model = _model().train()
    model.classifier[1].eval()
    predict_logits(model, IMAGES)
    assert model.training
    assert not model.classifier[1].training


def test_evaluate_counts_and_scores() -> None:
    class Fixed(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.tensor([[2.0, 0.0], [0.0, 1.0], [3.0, 0.0]])[: len(x)]

    labels = torch.tensor([0, 0, 0])
    result = evaluate(Fixed(), torch.zeros(3, 1), labels)
    assert result.accuracy == pytest.approx(2 / 3)
    assert result.nll == pytest.approx(float(F.cross_entropy(Fixed()(torch.zeros(3)), labels)))


def test_patience_stops_and_goes_back_to_the_best_epoch() -> None:
    model = MLP(64, hidden=(16,))
    validation = (torch.rand(40, 1, 8, 8), torch.randint(10, (40,)))  # noise: it soon stops improving
    history = fit(model, IMAGES, LABELS, epochs=100, lr=1e-2, validation=validation, patience=3)
    assert history.stopped == "patience"
    assert history.epochs < 100
    assert history.best_epoch is not None
    assert history.epochs - 1 - history.best_epoch == 3
    assert evaluate(model, *validation).accuracy == history.validation_accuracy[history.best_epoch]


def test_an_interrupt_returns_the_history_so_far() -> None:
    calls = 0

    def objective(logits: Tensor, labels: Tensor | None, rows: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        if calls > 8:  # in the third epoch of 4 batches
            raise KeyboardInterrupt
        return F.cross_entropy(logits, labels)

    history = fit(_model(), IMAGES, LABELS, objective=objective, **QUICK)
    assert (history.stopped, history.epochs) == ("interrupted", 2)


def test_divergence_is_reported_and_keeps_the_weights_finite() -> None:
    model = MLP(64, hidden=())

    def objective(logits: Tensor, labels: Tensor | None, rows: Tensor) -> Tensor:
        return logits.sum() * float("inf")

    with pytest.warns(UserWarning, match="lower lr=0.01"):
        history = fit(model, IMAGES, LABELS, objective=objective, **QUICK)
    assert (history.stopped, history.epochs) == ("diverged", 0)
    assert torch.isfinite(_weights(model)).all()


@pytest.mark.parametrize(
    ("words", "options"),
    [
        ("epochs must be a whole number", {"epochs": 0}),
        ("epochs must be a whole number", {"epochs": 2.5}),
        ("lr must be", {"lr": 0}),
        ("lr must be", {"lr": float("nan")}),
        ("lr must be", {"lr": "fast"}),
        ("batch_size", {"batch_size": 0}),
        ("patience=2 needs validation", {"patience": 2}),
        ("patience must be at least 1", {"patience": 0, "validation": (IMAGES, LABELS)}),
    ],
)
def test_fit_refuses(words: str, options: dict) -> None:
    with pytest.raises(ValueError, match=words):
        fit(MLP(), IMAGES, LABELS, **{**QUICK, **options})


def test_fit_and_distill_refuse_data_that_do_not_fit_together() -> None:
    with pytest.raises(ValueError, match="60 images but 59 labels"):
        fit(MLP(), IMAGES, LABELS[:59], **QUICK)
    with pytest.raises(ValueError, match="empty"):
        fit(MLP(), IMAGES[:0], LABELS[:0], **QUICK)
    with pytest.raises(ValueError, match="labels are missing"):
        fit(MLP(), IMAGES, None, **QUICK)
    with pytest.raises(ValueError, match="50 samples, but 60 images"):
        distill(MLP(), torch.zeros(50, 10), IMAGES, LABELS, **QUICK)
    with pytest.raises(ValueError, match="labels are missing"):
        distill(MLP(), torch.zeros(60, 10), IMAGES, None, alpha=0.5, **QUICK)


def test_labels_that_would_be_skipped_in_silence_are_refused() -> None:
    with pytest.raises(ValueError, match=r"labels contain -100.*select the labelled images"):
        fit(MLP(4, hidden=(), num_classes=2), torch.zeros(2, 4), torch.tensor([0, -100]), epochs=1, lr=0.1)


# --- modules that are trained along -----------------------------------------------------------------------------------


def _through(extra: nn.Module) -> Any:
    """An objective that uses a module beside the model."""
    return lambda logits, labels, rows: F.cross_entropy(extra(logits), labels)


def _extra() -> nn.Linear:
    with seeded(9):
        return nn.Linear(10, 10)


def test_a_module_is_trained_along_only_if_named() -> None:
    forgotten, trained = _extra(), _extra()
    before = _weights(forgotten)
    fit(_model(), IMAGES, LABELS, objective=_through(forgotten), **QUICK)
    assert torch.equal(_weights(forgotten), before)
    fit(_model(), IMAGES, LABELS, objective=_through(trained), train_along=[trained], **QUICK)
    assert not torch.equal(_weights(trained), before)


def test_modules_trained_along_take_the_models_steps_weight_decay_included() -> None:
    """Adam's first step has the length of the learning rate; decay shrinks a weight by lr * decay of it."""
    one_step = {"epochs": 1, "lr": 1e-2, "batch_size": 60}
    extra = _extra()
    before = extra.weight.detach().clone()
    fit(_model(), IMAGES, LABELS, objective=_through(extra), train_along=[extra], **one_step)
    step = (extra.weight.detach() - before).abs()
    assert_close(step, torch.full_like(step, 1e-2), rtol=0.05, atol=0)
    decayed = _extra()
    fit(_model(), IMAGES, LABELS, objective=_through(decayed), train_along=[decayed], weight_decay=0.5, **one_step)
    assert_close(decayed.weight - extra.weight, -1e-2 * 0.5 * before)


def test_a_module_trained_along_changes_nothing_for_a_model_that_does_not_use_it() -> None:
    alone, beside = _model(), _model()
    expected = fit(alone, IMAGES, LABELS, **QUICK)
    unused = _extra()
    history = fit(beside, IMAGES, LABELS, train_along=[unused], **QUICK)
    assert torch.equal(_weights(beside), _weights(alone))
    assert history == expected


def test_a_module_that_is_named_twice_or_part_of_the_model_is_trained_once() -> None:
    once, twice = _extra(), _extra()
    fit(_model(), IMAGES, LABELS, objective=_through(once), train_along=[once], **QUICK)
    fit(_model(), IMAGES, LABELS, objective=_through(twice), train_along=[twice, twice], **QUICK)
    assert torch.equal(_weights(once), _weights(twice))
    plain, own_part = _model(), _model()
    fit(plain, IMAGES, LABELS, **QUICK)
    fit(own_part, IMAGES, LABELS, train_along=[own_part.classifier], **QUICK)
    assert torch.equal(_weights(plain), _weights(own_part))


def test_modules_trained_along_are_in_training_mode_during_and_in_evaluation_mode_after() -> None:
    extra = nn.Sequential(nn.Dropout(0.5), _extra())
    modes: list[bool] = []

    def objective(logits: Tensor, labels: Tensor | None, rows: Tensor) -> Tensor:
        modes.append(extra.training)
        return F.cross_entropy(extra(logits), labels)

    extra.eval()
    fit(_model(), IMAGES, LABELS, objective=objective, train_along=[extra], validation=(IMAGES, LABELS), **QUICK)
    assert modes == [True] * 12
    assert not extra.training
    assert not extra[0].training


def test_patience_brings_modules_trained_along_back_with_the_model() -> None:
    model, extra = _model(dropout=0.0), _extra()
    validation = (IMAGES, predict_logits(model, IMAGES).argmax(-1))  # training can only lose these
    states: list[Tensor] = []

    def objective(logits: Tensor, labels: Tensor | None, rows: Tensor) -> Tensor:
        states.append(_weights(extra).clone())
        return F.cross_entropy(extra(logits), labels)

    options = {**QUICK, "epochs": 20, "lr": 0.05, "patience": 2, "validation": validation}
    history = fit(model, IMAGES, LABELS, objective=objective, train_along=[extra], **options)
    assert history.stopped == "patience"
    after_best = 4 * (history.best_epoch + 1)  # four batches an epoch; the objective sees weights before each step
    assert torch.equal(_weights(extra), states[after_best])
    assert not torch.equal(_weights(extra), states[-1])


@pytest.mark.parametrize(
    ("modules", "words"),
    [
        (nn.Linear(2, 2), r"must be a list of modules, got one Linear: put it into brackets"),
        (nn.Sequential(nn.Linear(2, 2)), r"got one Sequential"),
        ([nn.Linear(2, 2), 3], r"train_along must hold modules, got int"),
        ([torch.zeros(2)], r"train_along must hold modules, got Tensor"),
    ],
)
def test_fit_refuses_to_train_along_what_is_no_list_of_modules(modules: Any, words: str) -> None:
    with pytest.raises(TypeError, match=words):
        fit(_model(), IMAGES, LABELS, train_along=modules, **QUICK)
    assert fit(_model(), IMAGES, LABELS, train_along=nn.ModuleList([_extra()]), **QUICK).stopped == "finished"


# --- after each step --------------------------------------------------------------------------------------------------


def _pruned() -> tuple[SmallCNN, dict[str, Tensor]]:
    model = _model()
    masks = random_mask(model, 0.6, seed=0)
    apply_mask(model, masks)
    return model, masks


def _largest_dropped(model: nn.Module, masks: dict[str, Tensor]) -> float:
    return max(weight[~masks[name]].abs().max().item() for name, weight in prunable(model).items())


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_pruned_weights_come_back_unless_the_mask_is_applied_after_each_step(weight_decay: float) -> None:
    model, masks = _pruned()
    fit(model, IMAGES, LABELS, weight_decay=weight_decay, **QUICK)
    assert _largest_dropped(model, masks) > 1e-3
    model, masks = _pruned()
    fit(model, IMAGES, LABELS, weight_decay=weight_decay, after_step=lambda: apply_mask(model, masks), **QUICK)
    assert _largest_dropped(model, masks) == 0.0
    fresh, _ = _pruned()
    for name, weight in prunable(model).items():
        assert not torch.equal(weight, prunable(fresh)[name])  # the others have learned


def test_applying_the_mask_once_is_not_enough_even_where_gradients_are_zero() -> None:
    """Adam goes on with its momentum: a weight that is zeroed in between moves again without any gradient."""
    layer, steps = nn.Linear(2, 2), []
    none = torch.zeros(2, 2, dtype=torch.bool)

    def objective(logits: Tensor, labels: Tensor | None, rows: Tensor) -> Tensor:
        if len(steps) == 5:
            apply_mask(layer, {"weight": none})
        return logits.sum() * (1.0 if len(steps) < 5 else 0.0)

    options = {"epochs": 10, "lr": 0.1, "batch_size": 4, "objective": objective}
    fit(layer, torch.ones(4, 2), None, after_step=lambda: steps.append(layer.weight.detach().clone()), **options)
    assert len(steps) == 10
    assert steps[5].abs().min() > 0.01


@pytest.mark.parametrize("batch_size", [60, 16, 7])
def test_after_step_is_called_once_after_each_step(batch_size: int) -> None:
    model, events = _model(), []

    def objective(logits: Tensor, labels: Tensor | None, rows: Tensor) -> Tensor:
        events.append(("loss", _weights(model)))
        return F.cross_entropy(logits, labels)

    options = QUICK | {"batch_size": batch_size}
    fit(
        model,
        IMAGES,
        LABELS,
        objective=objective,
        after_step=lambda: events.append(("after", _weights(model))),
        **options,
    )
    steps = 3 * -(-60 // batch_size)
    assert [name for name, _ in events] == ["loss", "after"] * steps
    for (_, before), (_, after) in zip(events[::2], events[1::2], strict=True):
        assert not torch.equal(before, after)  # the step has been taken
    for (_, after), (_, following) in zip(events[1::2], events[2::2], strict=False):
        assert torch.equal(after, following)  # and nothing comes between it and the next


def test_after_step_alone_changes_nothing() -> None:
    runs = []
    for after_step in (None, lambda: None, lambda: "an answer"):
        model = _model()
        history = fit(model, IMAGES, LABELS, after_step=after_step, **QUICK)
        runs.append((_weights(model), history.train_loss))
    assert all(torch.equal(weights, runs[0][0]) and losses == runs[0][1] for weights, losses in runs)


@pytest.mark.parametrize("augment", [None, shift_images])
@pytest.mark.parametrize("alpha", [0.5, 1.0])
def test_distill_keeps_pruned_weights_at_zero_too(augment: Any, alpha: float) -> None:
    teacher, (student, masks) = _model(1), _pruned()
    calls: list[int] = []

    def after_step() -> None:
        calls.append(1)
        apply_mask(student, masks)

    labels = None if alpha == 1.0 else LABELS
    distill(student, teacher, IMAGES, labels, alpha=alpha, augment=augment, after_step=after_step, **QUICK)
    assert len(calls) == 3 * 4
    assert _largest_dropped(student, masks) == 0.0


def test_weights_that_patience_brings_back_are_pruned_too() -> None:
    model, masks = _pruned()
    history = fit(
        model,
        IMAGES,
        LABELS,
        validation=(IMAGES, (LABELS + 5) % 10),
        patience=2,
        after_step=lambda: apply_mask(model, masks),
        **(QUICK | {"epochs": 40}),
    )
    assert history.stopped == "patience"
    assert _largest_dropped(model, masks) == 0.0


def test_a_schedule_of_masks_ends_at_its_sparsity() -> None:
    model, step, seen = _model(), iter(range(1, 1000)), []

    def after_step() -> None:
        sparsity = gradual_sparsity(next(step), begin=0, end=10, final=0.8)
        apply_mask(model, magnitude_mask(model, sparsity))
        seen.append(sparsity_of(model))

    fit(model, IMAGES, LABELS, after_step=after_step, **QUICK)
    assert seen == sorted(seen)
    assert seen[0] == pytest.approx(0.8 * (1 - 0.9**3), abs=1e-3)
    assert seen[9:] == pytest.approx([0.8] * 3, abs=1e-3)


def test_after_step_is_not_called_for_a_step_that_was_not_taken() -> None:
    calls: list[int] = []
    with pytest.warns(UserWarning, match="loss became nan"):
        fit(
            _model(),
            IMAGES,
            LABELS,
            objective=lambda logits, labels, rows: logits.sum() * float("nan"),
            after_step=lambda: calls.append(1),
            **QUICK,
        )
    assert not calls


def test_an_interrupt_in_after_step_returns_the_history_so_far() -> None:
    def after_step() -> None:
        raise KeyboardInterrupt

    history = fit(_model(), IMAGES, LABELS, after_step=after_step, **QUICK)
    assert history.stopped == "interrupted"
    assert history.epochs == 0


def test_after_step_must_be_a_function_that_was_not_called() -> None:
    model, masks = _pruned()
    for wrong in (sparsity_of(masks), masks, "apply_mask"):
        before = _weights(model)
        with pytest.raises(
            TypeError, match=rf"after_step must be a function.*got {type(wrong).__name__}: was it called"
        ):
            fit(model, IMAGES, LABELS, after_step=wrong, **QUICK)
        assert torch.equal(_weights(model), before)


def test_an_error_in_after_step_is_not_hidden() -> None:
    with pytest.raises(ValueError, match="another model"):
        fit(_model(), IMAGES, LABELS, after_step=lambda: apply_mask(MLP(), random_mask(_model(), 0.5, seed=0)), **QUICK)
