"""The study of lessons 04 and 05: every arm is paired, tuned alike, and sees what it says that it sees."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from kdlab.data import load_digits
from kdlab.models import SmallCNN
from kdlab.studies import load_results, methods, views
from kdlab.training import seeded

TRAIN = load_digits().train
SHORT = replace(methods.REGIMES["50 labels, teacher saw all"], steps=2)
SAME = replace(methods.REGIMES["50 labels, teacher saw the same"], steps=2)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Untrained teachers, so that nothing takes time."""

    def untrained(train: Any, seed: int = 0) -> SmallCNN:
        with seeded(seed):
            return SmallCNN()

    monkeypatch.setattr(methods, "train_teacher", untrained)
    caches = (methods.teachers, methods.scale, methods.assistant, methods._logits_of_all)
    for cached in caches:
        cached.cache_clear()
    yield
    for cached in caches:
        cached.cache_clear()


@pytest.mark.parametrize("name", methods.REGIMES)
def test_every_arm_gets_as_many_trials_and_says_what_was_seen(name: str) -> None:
    regime, plan = methods.REGIMES[name], methods.arms(name)
    own = len(TRAIN) if regime.per_class is None else 10 * regime.per_class
    assert {len(arm.settings or ()) for arm in plan.values()} == {8}
    assert {arm.student_labels for arm in plan.values()} == {own}
    assert next(iter(plan)) == "hard labels"
    for arm_name, arm in plan.items():
        alone = arm_name in ("hard labels", "label smoothing")
        seen = None if alone else 0 if "untrained" in arm_name else own if arm_name in ("mutual", "born again") else -1
        assert arm.teacher_labels == (seen if seen != -1 else len(TRAIN) if regime.informed else own)


def test_every_loss_on_layers_has_its_control_in_every_full_regime() -> None:
    full = [name for name in methods.REGIMES if name not in methods.FEWER_ARMS]
    assert len(full) == 2
    for name in full:
        assert {f"{kind}, untrained teacher" for kind in methods.FEATURES} <= set(methods.arms(name))
    for name, chosen in methods.FEWER_ARMS.items():
        assert set(methods.arms(name)) == set(chosen)


@pytest.mark.parametrize("kind", [*methods.ANSWERS, *(who for who in methods.WHO if who.startswith("ensemble"))])
def test_with_its_soft_term_an_arm_differs_from_the_labels_and_repeats_itself(quick: None, kind: str) -> None:
    setting = {"entropy": 1.0} if kind == "one entropy for all" else {"temperature": 4.0}
    first, again = (methods.learn_answers(SHORT, 3, 0.01, kind=kind, **setting) for _ in range(2))
    alone = methods.learn_labels(SHORT, 3, 0.01)
    pairs = list(zip(first.parameters(), again.parameters(), alone.parameters(), strict=True))
    assert all(torch.equal(one, two) for one, two, _ in pairs)
    assert any(not torch.equal(one, other) for one, _, other in pairs)


@pytest.mark.parametrize("kind", methods.FEATURES)
def test_with_weight_zero_a_loss_on_layers_is_the_baseline(quick: None, kind: str) -> None:
    silent, alone = methods.learn_features(SHORT, 3, 0.01, 0.0, kind=kind), methods.learn_labels(SHORT, 3, 0.01)
    loud = methods.learn_features(SHORT, 3, 0.01, 2.5, kind=kind)
    assert all(
        torch.allclose(one, other, atol=1e-6)
        for one, other in zip(silent.parameters(), alone.parameters(), strict=True)
    )
    assert any(
        not torch.allclose(one, other) for one, other in zip(silent.parameters(), loud.parameters(), strict=True)
    )


@pytest.mark.parametrize("kind", methods.FEATURES)
def test_the_scale_makes_up_for_the_size_of_a_loss(quick: None, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = methods.scale(kind, SHORT)
    loss, layer = methods.FEATURES[kind]
    monkeypatch.setitem(methods.FEATURES, kind, (lambda s, t: 10 * loss(s, t), layer))
    methods.scale.cache_clear()
    assert methods.scale(kind, SHORT) == pytest.approx(before / 10, rel=1e-4)


@pytest.mark.parametrize("who", ["born again", "assistant", "mutual"])
def test_whoever_teaches_the_student_starts_as_the_baseline_does(
    quick: None, who: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[dict[str, torch.Tensor]] = []
    original = methods.make_student

    def noted(seed: int) -> SmallCNN:
        student = original(seed)
        if seed == 3:
            made.append({name: value.clone() for name, value in student.state_dict().items()})
        return student

    monkeypatch.setattr(methods, "make_student", noted)
    student = methods.learn_from(SHORT, 3, 0.01, 2.0, who=who)
    assert len(made) == 1
    assert any(not torch.equal(value, made[0][name]) for name, value in student.state_dict().items())


def test_an_uninformed_teacher_changes_with_the_seed_and_an_informed_one_does_not(quick: None) -> None:
    assert methods._own(SHORT, 3) == methods._own(SHORT, 4) == 0
    assert (methods._own(SAME, 3), methods._own(SAME, 4)) == (3, 4)
    seen: list[tuple[int, int]] = []
    original = methods.train_teacher
    methods.train_teacher = lambda train, seed=0: seen.append((len(train), seed)) or original(train, seed)  # type: ignore[assignment]
    for regime in (SHORT, SAME):
        for seed in (3, 4):
            for member in (0, 1):
                methods.teachers(regime, methods._own(regime, seed), member)
    assert [count for count, _ in seen] == [1000] * 2 + [50] * 4
    assert len({seed for _, seed in seen}) == len(seen)


@pytest.mark.parametrize("name", methods.REGIMES)
def test_the_file_holds_what_the_plan_says(name: str) -> None:
    study, record = load_results("methods")
    found, plan = study[name], methods.arms(name)
    assert list(found.scores) == list(plan)
    assert found.trials == 8
    assert len(found.seeds) == 10
    assert "methods_study" in record["command"]
    for arm_name, arm in plan.items():
        assert found.chosen[arm_name] in arm.settings
        assert found.labels_seen[arm_name] == (arm.student_labels, arm.teacher_labels)
    assert found.against("hard labels") == found


@pytest.mark.parametrize("name", views.NAMES)
def test_the_file_of_views_holds_what_the_plan_says(name: str) -> None:
    found, plan = load_results("views")[0][name], views.arms(name)
    assert list(found.scores) == list(plan)
    for arm_name, arm in plan.items():
        assert found.chosen[arm_name] in arm.settings
        assert found.labels_seen[arm_name] == (arm.student_labels, arm.teacher_labels)


def test_a_run_of_views_repeats_the_file_within_two_points() -> None:
    found = load_results("views")[0]["privileged"]
    again = views.arms("privileged")["hard labels"].run(0, **found.chosen["hard labels"]).test
    assert abs(again - found.scores["hard labels"][0]) < 0.02
