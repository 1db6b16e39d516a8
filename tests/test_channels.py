"""Channels taken out: the same outputs as a network in which they are zero, and an ordinary model afterwards."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import prune
from torch.testing import assert_close

from kdlab.measure import count_parameters
from kdlab.models import MLP, SmallCNN
from kdlab.pruning import channel_scores, prune_channels
from kdlab.training import fit, seeded


def _randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _cnn(seed: int = 0, *, norm: bool = True, width: int = 6) -> SmallCNN:
    """In double precision, with biases, scales and statistics that are all different."""
    with seeded(seed):
        model = SmallCNN(width=width, norm=norm, num_classes=5).double()
        for part in model.modules():
            if isinstance(part, nn.BatchNorm2d):
                for value in (part.weight, part.bias, part.running_mean, part.running_var):
                    value.data.uniform_(0.5, 1.5)
                part.num_batches_tracked.fill_(7)
    return model.eval()


def _state(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def _zeroed(model: nn.Module, first: str, norm: str | None, keep: list[int]) -> nn.Module:
    """A copy of the model in which the channels that are not kept carry nothing."""
    model = copy.deepcopy(model)
    layer = model.get_submodule(first)
    gone = [channel for channel in range(len(layer.weight)) if channel not in keep]
    for value in (layer.weight, layer.bias):
        if value is not None:
            value.data[gone] = 0
    if norm is not None:
        part = model.get_submodule(norm)
        for value in (part.weight, part.bias, part.running_mean):
            if value is not None:
                value.data[gone] = 0
    return model


def _conv_net(dims: int) -> nn.Sequential:
    conv = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[dims - 1]
    with seeded(dims):
        return nn.Sequential(conv(2, 5, 3), nn.ReLU(), conv(5, 3, 2, stride=2, padding=1), nn.Tanh()).double()


def _pooled() -> nn.Sequential:
    with seeded(3):
        layers = [nn.Conv2d(2, 5, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 4)]
    return nn.Sequential(*layers).double()


# Every pair: the model, an input, first, second, norm
PAIRS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], str, str, str | None]] = {
    "conv, norm, conv": (_cnn, (4, 1, 8, 8), "features.0", "features.3", "features.1"),
    "conv, norm, pool, flatten, linear": (_cnn, (4, 1, 8, 8), "features.3", "classifier.2", "features.4"),
    "conv, conv": (lambda: _cnn(norm=False), (4, 1, 8, 8), "features.0", "features.2", None),
    "conv, flatten, linear": (lambda: _cnn(norm=False), (4, 1, 8, 8), "features.2", "classifier.2", None),
    "linear, linear": (_cnn, (4, 1, 8, 8), "classifier.2", "classifier.4", None),
    "conv of one dimension": (lambda: _conv_net(1), (4, 2, 9), "0", "2", None),
    "conv of three dimensions": (lambda: _conv_net(3), (2, 2, 5, 6, 7), "0", "2", None),
    "conv, mean over positions, linear": (_pooled, (4, 2, 8, 8), "0", "4", None),
    "MLP": (lambda: MLP(64, (5, 7), 3).double(), (4, 1, 8, 8), "layers.0", "layers.2", None),
}


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize("keep", [[0], [4], [1, 2, 4], [0, 1, 2, 3, 4]])
def test_outputs_are_those_of_the_network_with_these_channels_at_zero(name: str, keep: list[int]) -> None:
    make, shape, first, second, norm = PAIRS[name]
    model, x = make().eval(), _randn(*shape)
    smaller = prune_channels(model, first, second, keep=keep, norm=norm)
    assert_close(smaller(x), _zeroed(model, first, norm, keep)(x))
    assert len(smaller.get_submodule(first).weight) == len(keep)
    if len(keep) < len(model.get_submodule(first).weight):
        assert (smaller(x) - model(x)).abs().max() > 1e-6


@pytest.mark.parametrize("name", PAIRS)
def test_all_channels_kept_is_the_model_itself(name: str) -> None:
    make, shape, first, second, norm = PAIRS[name]
    model, x = make().eval(), _randn(*shape)
    count = len(model.get_submodule(first).weight)
    for same in (
        prune_channels(model, first, second, keep=range(count), norm=norm),
        prune_channels(model, first, second, 0.0, norm=norm),
    ):
        assert torch.equal(same(x), model(x))
        assert all(torch.equal(value, model.state_dict()[key]) for key, value in same.state_dict().items())


@pytest.mark.parametrize("name", PAIRS)
def test_the_model_itself_stays_as_it_was(name: str) -> None:
    make, _, first, second, norm = PAIRS[name]
    model = make().train()
    before, parts = _state(model), [repr(part) for part in model.modules()]
    smaller = prune_channels(model, first, second, 0.5, norm=norm)
    for value in smaller.state_dict().values():
        value.zero_()
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert [repr(part) for part in model.modules()] == parts
    assert all(part.training for part in smaller.modules())  # as it was


@pytest.mark.parametrize("training", [False, True])
def test_a_chain_of_cuts_is_the_smaller_network(training: bool) -> None:
    model = _cnn(width=6)
    cut = prune_channels(model, "features.0", "features.3", 0.5, norm="features.1")
    cut = prune_channels(cut, "features.3", "classifier.2", 0.5, norm="features.4")
    cut = prune_channels(cut, "classifier.2", "classifier.4", 0.5)
    fresh = SmallCNN(width=3, norm=True, num_classes=5, dropout=0.0).double()
    assert count_parameters(cut) == count_parameters(fresh)
    fresh.load_state_dict(cut.state_dict())  # every shape fits
    cut.classifier[1].p = 0.0
    x = _randn(4, 1, 8, 8)
    assert_close(cut.train(training)(x), fresh.train(training)(x))
    assert [repr(part) for part in list(cut.modules())[1:]] == [repr(part) for part in list(fresh.modules())[1:]]
    assert int(cut.features[1].num_batches_tracked) == 7 + training


def test_a_smaller_copy_is_trained_like_any_other_model() -> None:
    model = _cnn().float()
    smaller = prune_channels(model, "features.0", "features.3", 0.5, norm="features.1")
    images, labels = _randn(40, 1, 8, 8).float(), torch.arange(40) % 5
    before = _state(smaller)
    history = fit(smaller, images, labels, epochs=12, lr=1e-2, progress=False)
    assert history.train_loss[-1] < history.train_loss[0]
    assert all(not torch.equal(value, before[name]) for name, value in smaller.named_parameters())
    assert all(parameter.grad.shape == parameter.shape for parameter in smaller.parameters())


@pytest.mark.parametrize(
    "frozen",
    [
        {"features.0.weight", "features.1.bias", "features.3.weight"},
        {"features.0.bias", "features.1.weight", "features.3.bias"},
    ],
)
def test_what_was_frozen_stays_frozen_and_no_gradient_is_carried_over(frozen: set[str]) -> None:
    model = _cnn()
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name not in frozen)
    model(_randn(4, 1, 8, 8)).sum().backward()
    smaller = prune_channels(model, "features.0", "features.3", 0.5, norm="features.1")
    assert {name for name, value in smaller.named_parameters() if not value.requires_grad} == frozen
    for part in ("features.0", "features.1", "features.3"):
        for name, parameter in smaller.get_submodule(part).named_parameters():
            assert isinstance(parameter, nn.Parameter)
            assert parameter.is_leaf
            assert parameter.grad is None or parameter.grad.shape == parameter.shape, name


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_numbers_keep_their_type_and_value(dtype: torch.dtype) -> None:
    model = _cnn().to(dtype)
    smaller = prune_channels(model, "features.0", "features.3", keep=[1, 4], norm="features.1")
    assert all(value.dtype == model.state_dict()[name].dtype for name, value in smaller.state_dict().items())
    assert torch.equal(smaller.features[0].weight, model.features[0].weight[[1, 4]])
    assert torch.equal(smaller.features[3].weight, model.features[3].weight[:, [1, 4]])
    assert torch.equal(smaller.features[3].bias, model.features[3].bias)
    for name in ("weight", "bias", "running_mean", "running_var"):
        assert torch.equal(getattr(smaller.features[1], name), getattr(model.features[1], name)[[1, 4]])


def test_layers_without_bias_and_norms_without_parameters_or_statistics_are_cut_too() -> None:
    with seeded(0):
        model = nn.Sequential(
            nn.Conv2d(1, 4, 3, bias=False),
            nn.BatchNorm2d(4, affine=False, track_running_stats=False),
            nn.Conv2d(4, 2, 3, bias=False),
        ).double()
    smaller, x = prune_channels(model, "0", "2", keep=[0, 3], norm="1"), _randn(3, 1, 8, 8)
    with torch.no_grad():
        hidden = model[1](model[0](x))[:, [0, 3]]
        expected = nn.functional.conv2d(hidden, model[2].weight[:, [0, 3]])
    assert_close(smaller(x).detach(), expected)
    assert smaller[1].num_features == 2


# --- which channels ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("p", [1, 2, 3, float("inf")])
@pytest.mark.parametrize("layer", [nn.Linear(4, 3), nn.Conv2d(2, 3, 3), nn.Conv1d(2, 3, 2, bias=False)])
def test_a_channels_score_is_the_norm_of_its_weights(layer: nn.Module, p: float) -> None:
    rows = [row.flatten().abs().tolist() for row in layer.weight.detach()]
    expected = [max(row) if p == float("inf") else sum(value**p for value in row) ** (1 / p) for row in rows]
    scores = channel_scores(layer, p)
    assert not scores.requires_grad
    assert_close(scores, torch.tensor(expected), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("sparsity", "gone"), [(0.0, 0), (0.1, 1), (0.25, 2), (0.5, 3), (0.66, 4), (0.9, 5)])
def test_a_share_takes_out_the_channels_with_the_smallest_norms(sparsity: float, gone: int) -> None:
    model = _cnn(norm=False)
    assert round(sparsity * 6) == gone
    kept = sorted(channel_scores(model.features[0]).argsort()[gone:].tolist())
    smaller = prune_channels(model, "features.0", "features.2", sparsity)
    assert torch.equal(smaller.features[0].weight, model.features[0].weight[kept])
    assert torch.equal(smaller.features[0].bias, model.features[0].bias[kept])


@pytest.mark.parametrize(
    "keep",
    [[3, 0, 4], (4, 3, 0), torch.tensor([0, 4, 3]), np.array([3, 4, 0]), torch.tensor([0, 3, 4], dtype=torch.int32)],
)
def test_channels_stay_in_their_order_however_they_are_named(keep: Any) -> None:
    model, x = _cnn(), _randn(4, 1, 8, 8)
    smaller = prune_channels(model, "features.3", "classifier.2", keep=keep, norm="features.4")
    sorted_ = prune_channels(model, "features.3", "classifier.2", keep=[0, 3, 4], norm="features.4")
    assert torch.equal(smaller(x), sorted_(x))
    assert torch.equal(smaller.features[3].weight, model.features[3].weight[[0, 3, 4]])


# --- refusals ---------------------------------------------------------------------------------------------------------

_MASK = [True, False, True, False, True, False]


@pytest.mark.parametrize(
    ("error", "words", "options"),
    [
        (TypeError, r"either sparsity.*or keep", {}),
        (TypeError, r"either sparsity.*or keep", {"sparsity": 0.5, "keep": [0]}),
        (ValueError, r"\[0, 1\).*got 1.0.*nothing", {"sparsity": 1.0}),
        (ValueError, r"got 50.*percent", {"sparsity": 50}),
        (ValueError, r"got nan", {"sparsity": float("nan")}),
        (TypeError, r"got '0.5'", {"sparsity": "0.5"}),
        (ValueError, r"sparsity=0.95 of 6 channels leaves none", {"sparsity": 0.95}),
        (ValueError, r"different channels from 0 to 5, got \[1, 1\]", {"keep": [1, 1]}),
        (ValueError, r"different channels from 0 to 5, got \[0, 6\]", {"keep": [0, 6]}),
        (ValueError, r"different channels from 0 to 5, got \[-1, 0\]", {"keep": [0, -1]}),
        (TypeError, r"list of at least one index.*mask.nonzero", {"keep": _MASK}),
        (TypeError, r"list of at least one index.*mask.nonzero", {"keep": torch.tensor(_MASK)}),
        (TypeError, r"list of at least one index", {"keep": []}),
        (TypeError, r"list of at least one index", {"keep": torch.zeros(0, dtype=torch.int64)}),
        (TypeError, r"list of at least one index", {"keep": [0.0, 1.0]}),
        (TypeError, r"list of at least one index", {"keep": 3}),
        (TypeError, r"list of at least one index", {"keep": [[0, 1]]}),
    ],
)
def test_choices_that_make_no_sense_are_refused(error: type, words: str, options: dict[str, Any]) -> None:
    with pytest.raises(error, match=words):
        prune_channels(_cnn(), "features.0", "features.3", norm="features.1", **options)


@pytest.mark.parametrize(
    ("error", "words", "first", "second", "norm"),
    [
        (ValueError, r"first='conv1' is no layer.*features.0", "conv1", "features.3", None),
        (ValueError, r"second='conv2' is no layer.*features.0", "features.0", "conv2", None),
        (ValueError, r"norm='bn' is no layer.*features.1", "features.0", "features.3", "bn"),
        (TypeError, r"first must be a linear or convolution layer, got BatchNorm2d", "features.1", "features.3", None),
        (TypeError, r"second must be a linear or convolution layer, got ReLU", "features.0", "features.2", None),
        (ValueError, r"'classifier.4' has 24 inputs and 'features.0' 6 output", "features.0", "classifier.4", None),
        (ValueError, r"'features.0' has 1 inputs and 'features.3' 12 output", "features.3", "features.0", None),
        (ValueError, r"'features.3' has 6 inputs and 'classifier.4' 5 output", "classifier.4", "features.3", None),
        (ValueError, r"norm='features.4' must be a batch norm of 6 channels", "features.0", "features.3", "features.4"),
        (ValueError, r"norm='features.2' must be a batch norm.*ReLU", "features.0", "features.3", "features.2"),
        (ValueError, r"both 'features.3'", "features.3", "features.3", None),
    ],
)
def test_pairs_that_do_not_belong_together_are_refused(
    error: type, words: str, first: str, second: str, norm: str | None
) -> None:
    if words.startswith("'classifier.4'"):
        model: nn.Module = _cnn(width=6)
        model.classifier[4] = nn.Linear(24, 5)
        model.features[0] = nn.Conv2d(1, 7, 3)
        words = words.replace(" 6 output", " 7 output")
    else:
        model = _cnn()
    before = _state(model)
    with pytest.raises(error, match=words):
        prune_channels(model, first, second, 0.5, norm=norm)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_a_convolution_does_not_read_a_flattened_map() -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Conv2d(4, 1, 3))
    with pytest.raises(ValueError, match=r"'1' has 4 inputs and '0' 2 output channels.*another layer"):
        prune_channels(model, "0", "1", 0.5)


@pytest.mark.parametrize("place", [0, 1])
def test_convolutions_in_groups_are_refused(place: int) -> None:
    groups = [2 if place == side else 1 for side in range(2)]
    model = nn.Sequential(*(nn.Conv2d(4, 4, 3, groups=count) for count in groups))
    with pytest.raises(ValueError, match=f"{('first', 'second')[place]} .*groups=2"):
        prune_channels(model, "0", "1", 0.5)
    with pytest.raises(ValueError, match=r"layer .*groups=2"):
        channel_scores(model[place])
    with pytest.raises(TypeError, match=r"layer must be a linear or convolution layer, got ReLU"):
        channel_scores(nn.ReLU())


def test_a_diverged_layer_is_not_ranked() -> None:
    model = _cnn()
    model.features[0].weight.data[2, 0, 0, 0] = float("nan")
    with pytest.raises(ValueError, match=r"first.*NaN.*diverge"):
        prune_channels(model, "features.0", "features.3", 0.5, norm="features.1")


@pytest.mark.parametrize("place", [0, 2])
def test_weights_that_are_computed_have_to_be_made_permanent_first(place: int) -> None:
    with seeded(0):
        model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2))
    prune.l1_unstructured(model[place], "weight", amount=0.5)
    with pytest.raises(TypeError, match=rf"'{place}' is computed from others.*prune.remove"):
        prune_channels(model, "0", "2", 0.5)
    prune.remove(model[place], "weight")
    assert prune_channels(model, "0", "2", 0.5)(torch.zeros(3, 4)).shape == (3, 2)
