"""Masks: the same as torch's own, nothing changed but what is dropped, schedules with exact ends, and refusals."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import prune

from kdlab.models import MLP, SmallCNN, TextEncoder
from kdlab.pruning import (
    apply_mask,
    gradual_sparsity,
    magnitude_mask,
    magnitudes,
    nm_mask,
    prunable,
    random_mask,
    score_mask,
    sparsity_of,
)
from kdlab.training import seeded

SPARSITIES = (0.0, 0.004, 0.25, 0.5, 0.8, 0.99)


def _cnn(seed: int = 0, *, norm: bool = False) -> SmallCNN:
    with seeded(seed):
        return SmallCNN(width=4, norm=norm)


def _randn(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def _state(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def _same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def _bits(value: Tensor) -> Tensor:
    """A row of bytes for each number."""
    return value.reshape(-1, 1).view(torch.uint8)


class Tied(nn.Module):
    """Two layers with one weight."""

    def __init__(self) -> None:
        super().__init__()
        with seeded(0):
            self.a, self.b = nn.Linear(4, 4), nn.Linear(4, 4)
        self.b.weight = self.a.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.b(torch.tanh(self.a(x)))


# --- which weights ----------------------------------------------------------------------------------------------------


def test_weights_of_linear_and_convolution_layers_are_prunable_and_nothing_else() -> None:
    class All(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear, self.embedding = nn.Linear(2, 2), nn.Embedding(3, 2)
            self.convs = nn.ModuleList([nn.Conv1d(1, 1, 1), nn.Conv2d(1, 1, 1), nn.Conv3d(1, 1, 1)])
            self.norms = nn.ModuleList([nn.BatchNorm2d(2), nn.LayerNorm(2), nn.GroupNorm(1, 2)])

    model = All()
    found = prunable(model)
    assert list(found) == ["linear.weight", "convs.0.weight", "convs.1.weight", "convs.2.weight"]
    assert all(found[name] is parameter for name, parameter in model.named_parameters() if name in found)


def test_layers_can_be_named_one_by_one_in_the_order_asked() -> None:
    assert list(prunable(_cnn(), ["classifier.4", "features.0"])) == ["classifier.4.weight", "features.0.weight"]
    assert list(prunable(nn.Linear(2, 2))) == list(prunable(nn.Linear(2, 2), [""])) == ["weight"]


def test_a_weight_that_layers_share_counts_once() -> None:
    model = Tied()
    assert list(prunable(model)) == ["a.weight"]
    assert list(prunable(model, ["b"])) == ["b.weight"]  # by either name
    for layers in (None, ["b"]):
        apply_mask(model, magnitude_mask(model, 0.5, layers=layers))
        assert sparsity_of(model) == 0.5
        assert model.a.weight is model.b.weight


@pytest.mark.parametrize(
    ("error", "words", "call"),
    [
        (ValueError, r"ReLU holds no linear or convolution layer", lambda: prunable(nn.ReLU())),
        (ValueError, r"BatchNorm1d.*nothing to prune", lambda: magnitude_mask(nn.BatchNorm1d(3), 0.5)),
        (
            ValueError,
            r"\['features.7'\].*features.0, features.2, classifier.2",
            lambda: prunable(_cnn(), ["features.7"]),
        ),
        (ValueError, r"features.1", lambda: prunable(_cnn(norm=True), ["features.1"])),  # a batch norm
        (TypeError, r"list of names.*'features.0'.*brackets", lambda: prunable(_cnn(), "features.0")),
        (TypeError, r"nn.Module, got list", lambda: magnitude_mask([1.0, 2.0], 0.5)),  # type: ignore[call-overload]
    ],
)
def test_prunable_says_what_there_is(error: type, words: str, call: Callable[[], object]) -> None:
    with pytest.raises(error, match=words):
        call()


# --- magnitudes -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("shape", [(1,), (7,), (3, 5), (16, 33), (4, 3, 3, 3)])
@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("sparsity", SPARSITIES)
def test_the_mask_of_a_tensor_is_torchs(
    dtype: torch.dtype, shape: tuple[int, ...], ties: bool, sparsity: float
) -> None:
    weight = _randn(*shape, dtype=dtype)
    if ties:
        weight = weight.round()
    module = nn.Module()
    module.weight = nn.Parameter(weight.clone())
    prune.l1_unstructured(module, "weight", amount=float(sparsity))
    mask = magnitude_mask(weight, sparsity)
    assert mask.dtype == torch.bool
    assert torch.equal(mask, module.weight_mask.bool())
    assert int((~mask).sum()) == round(sparsity * weight.numel())
    assert not mask.all() or round(sparsity * weight.numel()) == 0
    if mask.any() and not mask.all():
        assert weight[mask].abs().min() >= weight[~mask].abs().max()


@pytest.mark.parametrize("make", [lambda: MLP(16, (8, 6)), lambda: SmallCNN(3), lambda: SmallCNN(3, norm=True)])
@pytest.mark.parametrize("sparsity", SPARSITIES)
@pytest.mark.parametrize("scope", ["global", "layer"])
@pytest.mark.parametrize("ties", [False, True])
def test_the_masks_of_a_model_are_torchs(
    make: Callable[[], nn.Module], sparsity: float, scope: str, ties: bool
) -> None:
    with seeded(1):
        model, twin = make(), make()
    if ties:
        for weight in prunable(model).values():
            weight.data.copy_((10 * weight.data).round())
    twin.load_state_dict(model.state_dict())
    layers = [(twin.get_submodule(name.removesuffix(".weight")), "weight") for name in prunable(twin)]
    if scope == "global":
        prune.global_unstructured(layers, prune.L1Unstructured, amount=float(sparsity))
    else:
        for layer, name in layers:
            prune.l1_unstructured(layer, name, amount=float(sparsity))
    masks = magnitude_mask(model, sparsity, scope=scope)
    for (name, mask), (layer, _) in zip(masks.items(), layers, strict=True):
        assert torch.equal(mask, layer.weight_mask.bool()), name
    sizes = [mask.numel() for mask in masks.values()]
    gone = [int((~mask).sum()) for mask in masks.values()]
    if scope == "global":
        assert sum(gone) == round(sparsity * sum(sizes))
    else:
        assert gone == [round(sparsity * size) for size in sizes]


@pytest.mark.parametrize("scale", [2.0**-20, 3.0, -1.0])
def test_a_mask_does_not_depend_on_the_weights_scale(scale: float) -> None:
    weight = _randn(20, 30)
    for sparsity in SPARSITIES:
        assert torch.equal(magnitude_mask(weight, sparsity), magnitude_mask(scale * weight, sparsity))
    assert torch.equal(nm_mask(weight, 2, 5), nm_mask(scale * weight, 2, 5))


def test_scaling_one_layer_moves_the_global_mask_but_not_the_mask_per_layer() -> None:
    model = _cnn()
    before = {scope: magnitude_mask(model, 0.5, scope=scope) for scope in ("global", "layer")}
    model.features[0].weight.data *= 100
    after = {scope: magnitude_mask(model, 0.5, scope=scope) for scope in ("global", "layer")}
    assert _same(before["layer"], after["layer"])
    assert not _same(before["global"], after["global"])
    assert after["global"]["features.0.weight"].all()


def test_a_higher_sparsity_drops_the_same_weights_and_more() -> None:
    weight = _randn(30, 30)
    for low, high in itertools.pairwise(SPARSITIES):
        assert not (magnitude_mask(weight, high) & ~magnitude_mask(weight, low)).any()


def test_a_dictionary_gives_each_layer_its_own_sparsity_and_leaves_the_others_out() -> None:
    model = _cnn()
    masks = magnitude_mask(model, {"classifier.2": 0.9, "features.0": 0.0})
    assert list(masks) == ["classifier.2.weight", "features.0.weight"]
    assert torch.equal(masks["classifier.2.weight"], magnitude_mask(model.classifier[2].weight, 0.9))
    assert masks["features.0.weight"].all()
    rows = magnitude_mask(model, {"classifier.2": 0.5}, scope="row")["classifier.2.weight"]
    assert set(rows.sum(1).tolist()) == {rows.shape[1] // 2}


def test_named_layers_compete_with_each_other_only() -> None:
    model = _cnn()
    masks = magnitude_mask(model, 0.5, layers=["features.0", "features.2"])
    assert list(masks) == ["features.0.weight", "features.2.weight"]
    assert sparsity_of(masks) == 0.5


@pytest.mark.parametrize(
    "make", [lambda: _cnn(norm=True), lambda: TextEncoder(20, width=8, layers=1, heads=2, hidden=8)]
)
def test_computing_a_mask_changes_nothing(make: Callable[[], nn.Module]) -> None:
    model = make()
    before = _state(model)
    for masks in (
        magnitude_mask(model, 0.7),
        magnitude_mask(model, 0.7, scope="layer"),
        random_mask(model, 0.7, seed=0),
        score_mask(magnitudes(model), 0.3, scope="row"),
    ):
        assert all(not mask.requires_grad for mask in masks.values())
    assert _same(before, _state(model))
    assert all(parameter.requires_grad and parameter.grad is None for parameter in model.parameters())
    weight = _randn(4, 8)
    copy = weight.clone()
    magnitude_mask(weight, 0.5), nm_mask(weight)
    assert torch.equal(weight, copy)


@pytest.mark.parametrize(
    ("error", "words", "value"),
    [
        (ValueError, r"\[0, 1\).*got 1.*nothing would be left", 1),
        (ValueError, r"got 1.0.*nothing would be left", 1.0),
        (ValueError, r"got 1.5.*percent", 1.5),
        (ValueError, r"got 95.*percent", 95),
        (ValueError, r"\[0, 1\).*got -0.1$", -0.1),
        (ValueError, r"\[0, 1\).*got nan$", math.nan),
        (ValueError, r"got inf$", math.inf),
        (TypeError, r"number from 0.*got '0.5'", "0.5"),
        (TypeError, r"number from 0.*got True", True),
        (TypeError, r"number from 0.*got None", None),
        (TypeError, r"number from 0.*got \[0.5\]", [0.5]),
    ],
)
def test_sparsity_is_a_share_from_0_up_to_but_not_including_1(error: type, words: str, value: Any) -> None:
    model = _cnn()
    calls: list[Callable[[], object]] = [
        lambda: magnitude_mask(torch.ones(4), value),
        lambda: magnitude_mask(model, value),
        lambda: magnitude_mask(model, {"features.0": value}),
        lambda: score_mask({"a": torch.ones(4)}, value),
        lambda: random_mask(model, value, seed=0),
    ]
    for call in calls:
        with pytest.raises(error, match=r"sparsity.*" + words):
            call()
    for name in ("final", "initial"):
        with pytest.raises(error, match=rf"{name}.*{words}"):
            gradual_sparsity(0, begin=0, end=1, **({"final": 0.5} | {name: value}))


@pytest.mark.parametrize("value", [0, np.float32(0.5), np.float64(0.5)])
def test_numbers_of_other_kinds_are_sparsities_too(value: Any) -> None:
    assert sparsity_of({"": magnitude_mask(torch.arange(4.0), value)}) == float(value)


@pytest.mark.parametrize(
    ("error", "words", "call"),
    [
        (
            TypeError,
            r"a tensor has no layers.*pass the model",
            lambda: magnitude_mask(torch.ones(4), 0.5, layers=["a"]),
        ),
        (TypeError, r"a tensor has no layers.*one number", lambda: magnitude_mask(torch.ones(4), {"a": 0.5})),
        (TypeError, r"a tensor has no layers", lambda: nm_mask(torch.ones(4, 4), layers=["a"])),
        (ValueError, r"scope.*global, layer, row, got 'model'", lambda: magnitude_mask(_cnn(), 0.5, scope="model")),
        (ValueError, r"scope.*got 'model'", lambda: magnitude_mask(torch.ones(4), 0.5, scope="model")),
        (ValueError, r"scope.*got 'model'", lambda: magnitude_mask(_cnn(), {"features.0": 0.5}, scope="model")),
        (ValueError, r"scope='row'.*'a'.*\[4\]", lambda: score_mask({"a": torch.ones(4)}, 0.5, scope="row")),
        (ValueError, r"scores is empty", lambda: score_mask({}, 0.5)),
        (ValueError, r"scores is empty", lambda: magnitude_mask(_cnn(), 0.5, layers=[])),
        (ValueError, r"'features.9'.*features.0", lambda: magnitude_mask(_cnn(), {"features.9": 0.5})),
        (ValueError, r"no weights to count.*empty", lambda: sparsity_of({})),
    ],
)
def test_masks_refuse(error: type, words: str, call: Callable[[], object]) -> None:
    with pytest.raises(error, match=words):
        call()


@pytest.mark.parametrize("scope", ["global", "layer", "row"])
def test_nan_is_refused_and_the_layer_named(scope: str) -> None:
    model = MLP(4, (8,))
    model.layers[2].weight.data[1, 2] = math.nan
    with pytest.raises(ValueError, match=r"'layers.2.weight' holds NaN.*diverge"):
        magnitude_mask(model, 0.5, scope=scope)
    with pytest.raises(ValueError, match=r"'layers.2.weight' holds NaN.*diverge"):
        nm_mask(model)
    for call in (magnitude_mask, nm_mask):
        with pytest.raises(ValueError, match="holds NaN"):
            call(model.layers[2].weight, *([0.5] if call is magnitude_mask else []))


# --- other scores -----------------------------------------------------------------------------------------------------


def test_scopes_say_what_is_compared_with_what() -> None:
    scores = {"a": torch.tensor([[1.0, 2, 7, 8], [3, 4, 5, 6]]), "b": torch.tensor([[9.0, 10, 11, 12]])}
    kept = {scope: score_mask(scores, 0.5, scope=scope) for scope in ("global", "layer", "row")}
    assert kept["global"]["a"].tolist() == [[False, False, True, True], [False] * 4]
    assert kept["global"]["b"].all()
    assert kept["layer"]["a"].tolist() == [[False, False, True, True], [False, False, True, True]]
    scores["a"][1] += 100
    kept["row"] = score_mask(scores, 0.5, scope="row")
    assert kept["row"]["a"].tolist() == [[False, False, True, True]] * 2
    assert kept["row"]["b"].tolist() == kept["layer"]["b"].tolist() == [[False, False, True, True]]
    assert score_mask(scores, 0.5, scope="layer")["a"].tolist() == [[False] * 4, [True] * 4]


@pytest.mark.parametrize("sparsity", SPARSITIES)
def test_a_row_of_a_convolution_is_a_filter(sparsity: float) -> None:
    score = _randn(5, 3, 2, 2).abs()
    mask = score_mask({"a": score}, sparsity, scope="row")["a"]
    assert mask.shape == score.shape
    for row, kept in zip(score, mask, strict=True):
        assert int((~kept).sum()) == round(sparsity * 12)
        assert torch.equal(kept, magnitude_mask(row, sparsity))


@pytest.mark.parametrize("scope", ["global", "layer", "row"])
def test_a_lot_is_fixed_by_its_seed_and_by_nothing_else(scope: str) -> None:
    one, other = _cnn(0), _cnn(1)
    torch.manual_seed(0)
    first = random_mask(one, 0.75, seed=3, scope=scope)
    torch.manual_seed(1)
    state = torch.get_rng_state()
    assert _same(first, random_mask(other, 0.75, seed=3, scope=scope))
    assert torch.equal(torch.get_rng_state(), state)
    assert not _same(first, random_mask(one, 0.75, seed=4, scope=scope))
    size = sum(mask.numel() for mask in first.values())
    gone = size - sum(int(mask.sum()) for mask in first.values())
    if scope == "global":
        assert gone == round(0.75 * size)
    if scope == "layer":
        assert [int((~mask).sum()) for mask in first.values()] == [round(0.75 * m.numel()) for m in first.values()]


# --- applying ---------------------------------------------------------------------------------------------------------


def test_what_stays_keeps_every_bit_and_what_goes_is_zero() -> None:
    model = _cnn(norm=True)
    model.features[0].weight.data[0, 0, 0] = torch.tensor([-0.0, 1e-42, math.inf])
    before = _state(model)
    masks = random_mask(model, 0.5, seed=0)
    masks["features.0.weight"][0, 0, 0] = True
    parameters = dict(model.named_parameters())
    apply_mask(model, masks)
    for name, value in model.state_dict().items():
        kept = masks.get(name, torch.ones_like(value, dtype=torch.bool))
        assert torch.equal(value == 0, (before[name] == 0) | ~kept)  # zero, whichever its sign
        old, new = (_bits(part)[kept.flatten()] for part in (before[name], value))
        assert torch.equal(old, new), name
    assert all(parameters[name] is parameter for name, parameter in model.named_parameters())  # in place
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_applying_twice_is_applying_once_and_works_on_what_has_gradients() -> None:
    model = _cnn()
    model(torch.ones(2, 1, 8, 8)).sum().backward()
    gradients = {name: parameter.grad.clone() for name, parameter in model.named_parameters()}
    masks = magnitude_mask(model, 0.6)
    apply_mask(model, masks)
    once = _state(model)
    apply_mask(model, masks)
    assert _same(once, _state(model))
    assert all(torch.equal(parameter.grad, gradients[name]) for name, parameter in model.named_parameters())
    assert all(torch.equal(weight != 0, masks[name]) for name, weight in prunable(model).items())


def test_a_dropped_nan_becomes_zero() -> None:
    layer = nn.Linear(2, 1)
    layer.weight.data.fill_(math.nan)
    apply_mask(layer, {"weight": torch.zeros(1, 2, dtype=torch.bool)})
    assert layer.weight.tolist() == [[0.0, 0.0]]


@pytest.mark.parametrize(
    ("error", "words", "masks"),
    [
        (ValueError, r"'conv.weight'.*no parameter.*another model", {"conv.weight": torch.ones(1, dtype=torch.bool)}),
        (ValueError, r"'weight'.*bool of shape \[2, 3\].*\[3, 2\]", {"weight": torch.ones(3, 2, dtype=torch.bool)}),
        (ValueError, r"'weight'.*bool of shape \[2, 3\], got torch.float32", {"weight": torch.ones(2, 3)}),
        (TypeError, r"dictionary.*got Tensor", torch.ones(2, 3, dtype=torch.bool)),
    ],
)
def test_masks_that_do_not_fit_are_refused(error: type, words: str, masks: Any) -> None:
    with pytest.raises(error, match=words):
        apply_mask(nn.Linear(3, 2), masks)


def test_a_refused_mask_has_changed_nothing() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    before = _state(model)
    none = torch.zeros(2, 2, dtype=torch.bool)
    with pytest.raises(ValueError, match="bool"):
        apply_mask(model, {"0.weight": none, "1.weight": none.float()})
    assert _same(before, _state(model))


def test_a_weight_that_is_computed_cannot_be_masked_in_place() -> None:
    layer = nn.Linear(2, 2)
    mask = magnitude_mask(layer, 0.5)
    prune.identity(layer, "weight")
    with pytest.raises(ValueError, match=r"'weight'.*no parameter.*computed"):
        apply_mask(layer, mask)


def test_sparsity_is_the_share_of_zeros() -> None:
    model = _cnn(norm=True)
    masks = magnitude_mask(model, 0.8)
    assert sparsity_of(model) == 0
    apply_mask(model, masks)
    total = sum(mask.numel() for mask in masks.values())
    assert sparsity_of(model) == sparsity_of(masks) == pytest.approx(round(0.8 * total) / total)
    assert sparsity_of(torch.tensor([[0.0, -0.0, 1e-42, math.nan]])) == 0.5


# --- n of m -----------------------------------------------------------------------------------------------------------


def _brute_force(row: list[float], n: int, m: int) -> list[float]:
    """Sum of the magnitudes that the best choice keeps, group by group."""
    groups = [row[start : start + m] for start in range(0, len(row), m)]
    return [max(sum(map(abs, choice)) for choice in itertools.combinations(group, n)) for group in groups]


@pytest.mark.parametrize(("n", "m"), [(2, 4), (1, 4), (1, 2), (4, 8), (3, 3), (1, 1)])
def test_every_group_keeps_n_and_no_other_n_are_larger(n: int, m: int) -> None:
    for weight in (_randn(5, 24, seed=m), _randn(5, 24, seed=n).round()):
        mask = nm_mask(weight, n, m)
        assert mask.shape == weight.shape
        assert mask.dtype == torch.bool
        assert set(mask.view(5, -1, m).sum(-1).flatten().tolist()) == {n}
        kept = (weight.abs() * mask).view(5, -1, m).sum(-1)
        expected = torch.tensor([_brute_force(row, n, m) for row in weight.tolist()], dtype=weight.dtype)
        torch.testing.assert_close(kept, expected)


@pytest.mark.parametrize("shape", [(3, 8, 5), (3, 8, 2, 5), (2, 4, 2, 3, 2)])
def test_groups_of_a_convolution_run_along_its_input_channels(shape: tuple[int, ...]) -> None:
    weight = _randn(*shape)
    mask = nm_mask(weight)
    assert mask.shape == weight.shape
    assert mask.is_contiguous()
    for place in itertools.product(range(shape[0]), *(range(side) for side in shape[2:])):
        inputs = weight[place[0], :, *place[1:]]
        assert torch.equal(mask[place[0], :, *place[1:]], nm_mask(inputs[None])[0])


def test_a_model_is_taken_layer_by_layer_and_layers_that_do_not_fit_can_be_left_out() -> None:
    model = _cnn()
    with pytest.raises(ValueError, match=r"2:4 .*features.0.weight.*\[4, 1, 3, 3\].*layers="):
        nm_mask(model)
    masks = nm_mask(model, layers=["features.2", "classifier.2"])
    assert sparsity_of(masks) == 0.5
    assert torch.equal(masks["features.2.weight"], nm_mask(model.features[2].weight))
    apply_mask(model, masks)


@pytest.mark.parametrize(
    ("error", "words", "n", "m", "shape"),
    [
        (ValueError, r"2:4 .*4 divides.*\[3, 6\]", 2, 4, (3, 6)),
        (ValueError, r"2:4 .*\[8\]", 2, 4, (8,)),
        (ValueError, r"1 to m.*got 0:4", 0, 4, (4, 4)),
        (ValueError, r"1 to m.*got 5:4", 5, 4, (4, 4)),
        (ValueError, r"1 to m.*got 0:0", 0, 0, (4, 4)),
        (TypeError, r"n must be a whole number, got 2.0", 2.0, 4, (4, 4)),
        (TypeError, r"m must be a whole number, got '4'", 2, "4", (4, 4)),
        (TypeError, r"n must be a whole number, got True", True, 4, (4, 4)),
    ],
)
def test_patterns_that_make_no_sense_are_refused(error: type, words: str, n: Any, m: Any, shape: Any) -> None:
    with pytest.raises(error, match=words):
        nm_mask(torch.ones(shape), n, m)


# --- the schedule -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("initial", "final"), [(0.0, 0.9), (0.3, 0.9), (0.1, 0.7), (0.5, 0.5), (0.0, 0.0)])
@pytest.mark.parametrize(("begin", "end"), [(0, 100), (17, 23), (5, 6), (-10, 1000)])
def test_the_schedule_is_a_cubic_with_exact_ends(initial: float, final: float, begin: int, end: int) -> None:
    plan = [gradual_sparsity(t, begin=begin, end=end, final=final, initial=initial) for t in range(begin - 5, end + 6)]
    assert plan[:6] == [initial] * 6
    assert plan[-6:] == [final] * 6
    assert all(before <= after for before, after in itertools.pairwise(plan))
    for step in range(begin, end + 1):
        rest = (end - step) / (end - begin)
        assert plan[step - begin + 5] == pytest.approx(final - (final - initial) * rest**3, abs=1e-12)


def test_the_schedule_is_fast_first_and_slow_at_last() -> None:
    plan = [gradual_sparsity(t, begin=0, end=10, final=0.8) for t in range(11)]
    steps = [after - before for before, after in itertools.pairwise(plan)]
    assert steps == sorted(steps, reverse=True)
    assert plan[5] == pytest.approx(0.8 * 7 / 8)


@pytest.mark.parametrize(
    ("words", "options"),
    [
        (r"end must come after begin, got 5 to 5", {"begin": 5, "end": 5, "final": 0.5}),
        (r"end must come after begin, got 5 to 4", {"begin": 5, "end": 4, "final": 0.5}),
        (r"initial.*at most final.*0.6 and 0.5", {"begin": 0, "end": 4, "final": 0.5, "initial": 0.6}),
    ],
)
def test_schedules_that_do_not_rise_are_refused(words: str, options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=words):
        gradual_sparsity(0, **options)


def test_the_schedule_with_masks_never_brings_a_weight_back() -> None:
    model = _cnn()
    gone = {name: torch.zeros_like(weight, dtype=torch.bool) for name, weight in prunable(model).items()}
    for step in range(0, 12, 2):
        sparsity = gradual_sparsity(step, begin=0, end=10, final=0.9)
        masks = magnitude_mask(model, sparsity)
        apply_mask(model, masks)
        assert all((~masks[name] | ~gone[name]).all() for name in masks)
        gone = {name: ~mask for name, mask in masks.items()}
    assert sparsity_of(model) == pytest.approx(0.9, abs=1e-3)
