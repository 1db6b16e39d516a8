"""Sharing out sparsity: as cheap as the best of all combinations, and the budget is always reached."""

from __future__ import annotations

import itertools
import math
import random
import time
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kdlab.models import MLP, SmallCNN
from kdlab.pruning import allocate, apply_mask, magnitude_mask, sensitivity, sparsity_of
from kdlab.training import seeded

GRID = [0.0, 0.3, 0.5, 0.7, 0.9, 0.97]


def _gone(plan: dict[str, float], sizes: dict[str, int]) -> float:
    return sum(plan[name] * size for name, size in sizes.items())


def _cost(plan: dict[str, float], costs: dict[str, list[float]], sparsities: list[float]) -> float:
    return sum(values[sparsities.index(plan[name])] for name, values in costs.items())


def _brute_force(costs: dict[str, list[float]], sizes: dict[str, int], sparsities: list[float], budget: float) -> float:
    """The least cost of all combinations that reach the budget, infinite if none does."""
    need = budget * sum(sizes.values()) * (1 - 1e-9)
    plans = (dict(zip(costs, choice, strict=True)) for choice in itertools.product(sparsities, repeat=len(costs)))
    return min((_cost(plan, costs, sparsities) for plan in plans if _gone(plan, sizes) >= need), default=math.inf)


def _problem(seed: int, layers: int = 4, *, rising: bool = True) -> tuple[dict[str, list[float]], dict[str, int]]:
    lot = random.Random(seed)
    names = [f"layer {number}" for number in range(layers)]
    costs = {name: [lot.uniform(-1, 1) for _ in GRID] for name in names}
    if rising:
        costs = {name: sorted(values) for name, values in costs.items()}
    return costs, {name: lot.choice([1, 7, 90, 1000, 4608, 33_333, 1_000_000]) for name in names}


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("rising", [True, False])
def test_no_combination_that_reaches_the_budget_is_cheaper(seed: int, rising: bool) -> None:
    costs, sizes = _problem(seed, rising=rising)
    for budget in (0.0, 0.2, 0.5, 0.77, 0.9, 0.96, 0.97):
        plan = allocate(costs, sizes, GRID, budget)
        assert list(plan) == list(costs)
        assert set(plan.values()) <= set(GRID)
        assert _gone(plan, sizes) >= budget * sum(sizes.values()) * (1 - 1e-9)
        assert _cost(plan, costs, GRID) == pytest.approx(_brute_force(costs, sizes, GRID, budget), abs=1e-12)


@pytest.mark.parametrize("budget", [0.3, 0.5, 0.7, 0.9, 0.97])
@pytest.mark.parametrize("sizes", [(100, 200), (1, 1, 1), (288, 18_432, 131_072, 1280), (3, 7, 11, 13, 17, 19)])
def test_one_sparsity_for_all_is_found_where_it_is_best(budget: float, sizes: tuple[int, ...]) -> None:
    """Costs in proportion to size and convex in sparsity: any other plan of the same overall sparsity costs more."""
    named = {str(number): size for number, size in enumerate(sizes)}
    costs = {name: [size * share**2 for share in GRID] for name, size in named.items()}
    assert allocate(costs, named, GRID, budget) == dict.fromkeys(named, budget)


def test_the_order_of_layers_and_of_sparsities_does_not_matter() -> None:
    costs, sizes = _problem(5)
    expected = allocate(costs, sizes, GRID, 0.8)
    assert allocate(dict(reversed(costs.items())), sizes, GRID, 0.8) == expected
    assert allocate({name: values[::-1] for name, values in costs.items()}, sizes, GRID[::-1], 0.8) == expected


def test_scaling_costs_or_sizes_changes_no_plan() -> None:
    costs, sizes = _problem(6)
    expected = allocate(costs, sizes, GRID, 0.8)
    assert (
        allocate({name: [4 * value for value in values] for name, values in costs.items()}, sizes, GRID, 0.8)
        == expected
    )
    assert allocate(costs, {name: 3 * size for name, size in sizes.items()}, GRID, 0.8) == expected


def test_what_costs_nothing_goes_first() -> None:
    costs = {"dear": [0.0, 1.0, 2.0], "free": [0.0, 0.0, 0.0]}
    plan = allocate(costs, {"dear": 100, "free": 100}, [0.0, 0.5, 0.9], 0.4)
    assert plan == {"dear": 0.0, "free": 0.9}


@pytest.mark.parametrize("layers", [40, 74])
def test_many_layers_of_different_sizes_take_no_long_and_reach_the_budget(layers: int) -> None:
    lot = random.Random(0)
    sizes = {str(number): lot.randrange(1000, 1_000_000) for number in range(layers)}
    costs = {name: [size**0.5 * lot.uniform(0.5, 2) * share**2 for share in GRID] for name, size in sizes.items()}
    started = time.perf_counter()
    plan = allocate(costs, sizes, GRID, 0.7)
    assert time.perf_counter() - started < 20
    need = 0.7 * sum(sizes.values())
    assert need * (1 - 1e-9) <= _gone(plan, sizes) < 1.01 * need
    # No swap of two layers' sparsities for others does better by more than the thinning can explain.
    cost = _cost(plan, costs, GRID)
    for one, other in itertools.combinations(list(sizes)[:12], 2):
        for pair in itertools.product(GRID, repeat=2):
            changed = plan | {one: pair[0], other: pair[1]}
            if _gone(changed, sizes) >= need:
                assert _cost(changed, costs, GRID) > 0.999 * cost


@pytest.mark.parametrize(
    ("error", "words", "arguments"),
    [
        (ValueError, r"same layers, got \['a'\] and \['b'\]", ({"a": [0.0]}, {"b": 1}, [0.0], 0.0)),
        (ValueError, r"same layers, got \[\] and \[\]", ({}, {}, [0.0], 0.0)),
        (ValueError, r"costs\['a'\] must hold 2 finite numbers", ({"a": [0.0]}, {"a": 1}, [0.0, 0.5], 0.0)),
        (ValueError, r"costs\['a'\].*finite.*nan", ({"a": [0.0, math.nan]}, {"a": 1}, [0.0, 0.5], 0.0)),
        (ValueError, r"costs\['a'\].*finite.*inf", ({"a": [0.0, math.inf]}, {"a": 1}, [0.0, 0.5], 0.0)),
        (ValueError, r"budget=0.6 cannot be reached.*up to 0.5", ({"a": [0, 0]}, {"a": 1}, [0.0, 0.5], 0.6)),
        (ValueError, r"sparsities is empty", ({"a": []}, {"a": 1}, [], 0.0)),
        (ValueError, r"sizes.*at least 1.*'b': 0", ({"a": [0], "b": [0]}, {"a": 1, "b": 0}, [0.5], 0.5)),
        (ValueError, r"budget must lie in \[0, 1\).*got 1 *: nothing", ({"a": [0]}, {"a": 1}, [0.5], 1)),
        (ValueError, r"budget.*got 80.*percent", ({"a": [0]}, {"a": 1}, [0.5], 80)),
        (ValueError, r"sparsity.*got 50.*percent", ({"a": [0, 1]}, {"a": 1}, [0.0, 50], 0.5)),
        (TypeError, r"budget must be a number.*got '0.5'", ({"a": [0]}, {"a": 1}, [0.5], "0.5")),
    ],
)
def test_allocate_refuses(error: type, words: str, arguments: tuple[Any, ...]) -> None:
    with pytest.raises(error, match=words):
        allocate(*arguments)


# --- the scan ---------------------------------------------------------------------------------------------------------

IMAGES = torch.randn(30, 1, 8, 8, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(30) % 10


def _cnn() -> SmallCNN:
    with seeded(0):
        return SmallCNN(width=3, norm=True)


def _loss(model: nn.Module) -> float:
    with torch.no_grad():
        return F.cross_entropy(model.eval()(IMAGES), LABELS).item()


def _state(model: nn.Module) -> list[Tensor]:
    return [value.clone() for value in model.state_dict().values()]


def test_at_sparsity_0_every_layer_scores_what_the_dense_model_scores() -> None:
    model = _cnn()
    found = sensitivity(model, _loss, [0.0, 0.9], progress=False)
    assert list(found) == ["features.0", "features.3", "classifier.2", "classifier.4"]
    dense = _loss(model)
    assert all(scores[0] == dense and scores[1] != dense for scores in found.values())


def test_a_score_is_that_of_the_model_with_this_one_layer_pruned() -> None:
    model = _cnn()
    for layer, scores in sensitivity(model, _loss, GRID, progress=False).items():
        for share, score in zip(GRID, scores, strict=True):
            pruned = _cnn()
            apply_mask(pruned, magnitude_mask(pruned, {layer: share}))
            assert score == _loss(pruned)


def test_every_measurement_starts_from_the_model_itself() -> None:
    rising = sensitivity(_cnn(), _loss, GRID, progress=False)
    falling = sensitivity(_cnn(), _loss, GRID[::-1], progress=False)
    assert falling == {name: scores[::-1] for name, scores in rising.items()}


def test_the_scan_leaves_the_model_alone_whatever_the_score_does() -> None:
    model = _cnn().train()
    before, seen = _state(model), []

    def score(pruned: nn.Module) -> Tensor:
        seen.append(sparsity_of(pruned))
        assert pruned is not model
        for parameter in pruned.parameters():
            parameter.data.fill_(1.0)
        pruned.eval()
        return torch.tensor(2.5)

    found = sensitivity(model, score, [0.5, 0.0], layers=["classifier.2"], progress=False)
    assert found == {"classifier.2": [2.5, 2.5]}
    assert isinstance(found["classifier.2"][0], float)
    assert seen[0] > 0
    assert seen[1] == 0
    assert all(torch.equal(old, new) for old, new in zip(before, _state(model), strict=True))
    assert all(part.training for part in model.modules())


def test_a_single_layer_can_be_scanned_and_its_plan_carried_out() -> None:
    with seeded(0):
        layer = nn.Linear(64, 10)
    costs = sensitivity(layer, lambda model: model.weight.square().sum().neg().item(), GRID, progress=False)
    plan = allocate(costs, {"": 640}, GRID, 0.6)
    assert plan == {"": 0.7}
    apply_mask(layer, magnitude_mask(layer, plan))
    assert sparsity_of(layer) == pytest.approx(0.7)


@pytest.mark.parametrize(
    ("error", "words", "call"),
    [
        (ValueError, r"got 90.*percent", lambda: sensitivity(MLP(), _loss, [0.5, 90])),
        (ValueError, r"\['conv'\].*these can: layers.0", lambda: sensitivity(MLP(), _loss, [0.5], layers=["conv"])),
        (TypeError, r"list of names.*brackets", lambda: sensitivity(MLP(), _loss, [0.5], layers="layers.0")),
        (ValueError, r"ReLU holds no", lambda: sensitivity(nn.ReLU(), _loss, [0.5])),
    ],
)
def test_the_scan_refuses_before_it_measures(error: type, words: str, call: Callable[[], object]) -> None:
    with pytest.raises(error, match=words):
        call()
