"""Shared weights: what k-means finds, how a codebook trains, what it costs, and refusals."""

from __future__ import annotations

import copy
import itertools
import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.testing import assert_close

from kdlab.factorization import SharedWeights, kmeans_1d, share_weights, shared_bytes
from kdlab.measure import count_parameters, model_bytes
from kdlab.models import MLP, SmallCNN
from kdlab.sharing import _start

STARTS = ("linear", "density", "forgy")


def _randn(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def _codebook(layer: nn.Module) -> nn.Parameter:
    return layer.parametrizations.weight.original  # type: ignore[union-attr,return-value]


def _index(layer: nn.Module) -> Tensor:
    return layer.parametrizations.weight[0].index  # type: ignore[union-attr,index,return-value]


# --- k-means ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("initial", STARTS)
@pytest.mark.parametrize("clusters", [1, 2, 7, 64])
def test_values_are_with_their_nearest_centroid_and_centroids_are_means(initial: str, clusters: int) -> None:
    values = _randn(20, 30).pow(3)
    centroids, index = kmeans_1d(values, clusters, initial=initial)
    assert centroids.shape == (clusters,)
    assert index.shape == values.shape
    assert (centroids.diff() > 0).all()
    distances = (values[..., None] - centroids).abs()
    assert_close(distances.gather(-1, index[..., None])[..., 0], distances.amin(-1))
    for number in range(clusters):
        assert_close(values[index == number].mean(), centroids[number])  # NaN where a cluster is empty


@pytest.mark.parametrize("initial", STARTS)
def test_as_many_clusters_as_values_leave_no_error(initial: str) -> None:
    values = torch.tensor([0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 1e-3, -5.0, 7.25, 7.25, 1e6], dtype=torch.float64)
    centroids, index = kmeans_1d(values, 6, initial=initial)
    assert_close(centroids[index], values, rtol=1e-14, atol=0)
    assert len(index.unique()) == 6


def test_two_clusters_are_the_best_there_are_where_they_are_clear() -> None:
    values = torch.cat([_randn(30), 50 + _randn(10, seed=1)])
    best = min(
        float(
            sum(
                (part - part.mean()).square().sum() for part in (values.sort().values[:cut], values.sort().values[cut:])
            )
        )
        for cut in range(1, 40)
    )
    for initial in STARTS:
        centroids, index = kmeans_1d(values, 2, initial=initial)
        assert float((values - centroids[index]).square().sum()) == pytest.approx(best)


def test_the_error_comes_near_the_least_there_is() -> None:
    """Between that of the best cuts and that of the best quarter of all cuts."""
    values = _randn(12).sort().values
    centroids, index = kmeans_1d(values, 3)
    error = float((values - centroids[index]).square().sum())
    errors = []
    for cuts in itertools.combinations(range(1, 12), 2):
        parts = values.tensor_split(list(cuts))
        errors.append(float(sum((part - part.mean()).square().sum() for part in parts)))
    assert min(errors) - 1e-12 <= error <= sorted(errors)[len(errors) // 4]


def test_starts_are_where_their_names_say() -> None:
    values = torch.cat([torch.arange(100.0), torch.tensor([400.0] * 100)]).double()
    assert_close(_start(values, 5, "linear", 0), torch.tensor([0.0, 100, 200, 300, 400]).double())
    assert_close(_start(values, 4, "density", 0), torch.tensor([25.0, 75, 400, 400]).double())
    drawn = [_start(values, 50, "forgy", seed) for seed in (1, 2)]
    assert all(len(one.unique()) == 50 and torch.isin(one, values).all() for one in drawn)
    assert not torch.equal(*drawn)


def test_a_large_weight_is_kept_and_only_one_start_is_random() -> None:
    values = torch.cat([torch.zeros(97), torch.tensor([1.0, 2.0, 3.0])]).double()
    assert_close(kmeans_1d(values, 4)[0], torch.tensor([0.0, 1.0, 2.0, 3.0]).double())
    skewed = torch.cat([torch.linspace(0, 1, 1000), torch.tensor([100.0])]).double()
    assert float(kmeans_1d(skewed, 8)[0][-1]) == 100
    first, again, other = (kmeans_1d(_randn(500), 20, initial="forgy", seed=seed)[0] for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(kmeans_1d(_randn(500), 20, seed=1)[0], kmeans_1d(_randn(500), 20, seed=2)[0])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_centroids_have_the_dtype_of_the_values(dtype: torch.dtype) -> None:
    centroids, index = kmeans_1d(_randn(50, dtype=dtype), 4)
    assert centroids.dtype == dtype
    assert index.dtype == torch.int64


# --- layers and models ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    "layer",
    [nn.Linear(20, 12), nn.Conv2d(3, 8, 3, groups=1), nn.Conv1d(4, 8, 3, groups=2), nn.ConvTranspose2d(3, 4, 3)],
)
def test_a_layer_gets_the_values_of_its_codebook(layer: nn.Module, dtype: torch.dtype) -> None:
    layer = copy.deepcopy(layer).to(dtype).eval()
    before = copy.deepcopy(layer.state_dict())
    shared = share_weights(layer, 8)
    centroids, index = kmeans_1d(layer.weight, 8)  # type: ignore[arg-type]
    assert torch.equal(shared.weight, centroids[index])
    assert torch.equal(shared.bias, layer.bias)  # type: ignore[arg-type]
    assert shared.weight.dtype == dtype
    assert not any(part.training for part in shared.modules())
    assert all(torch.equal(before[key], value) for key, value in layer.state_dict().items())
    assert isinstance(layer._parameters["weight"], nn.Parameter)
    assert set(dict(shared.named_parameters())) == {"bias", "parametrizations.weight.original"}


def test_a_model_gets_one_codebook_per_layer() -> None:
    model = SmallCNN(8, norm=True)
    shared = share_weights(model, 5)
    assert count_parameters(model) - count_parameters(shared) == sum(
        weight.numel() - 5 for name, weight in model.named_parameters() if weight.dim() > 1
    )
    for name in ("features.0", "features.3", "classifier.2", "classifier.4"):
        alone = share_weights(model.get_submodule(name), 5)
        assert torch.equal(alone.weight, shared.get_submodule(name).weight)  # type: ignore[arg-type]
    assert torch.equal(shared.features[1].weight, model.features[1].weight)
    assert shared.training
    some = share_weights(model, {"features.3": 3, "classifier.2": 9})
    assert len(some.features[3].weight.unique()) == 3
    assert len(some.classifier[2].weight.unique()) == 9
    assert torch.equal(some.features[0].weight, model.features[0].weight)


@pytest.mark.parametrize(("initial", "seed"), [("density", 0), ("forgy", 1), ("forgy", 2)])
def test_the_start_is_the_one_asked_for(initial: str, seed: int) -> None:
    layer = nn.Linear(20, 12)
    centroids, index = kmeans_1d(layer.weight, 8, initial=initial, seed=seed)
    assert torch.equal(share_weights(layer, 8, initial=initial, seed=seed).weight, centroids[index])
    assert not torch.equal(share_weights(layer, 8).weight, centroids[index])


def test_one_layer_under_two_names_is_shared_once() -> None:
    model = nn.Sequential(nn.Linear(6, 6), nn.ReLU())
    model.append(model[0])
    shared = share_weights(model, 4)
    assert shared[0] is shared[2]
    assert len(shared[0].weight.unique()) == 4


def test_the_gradient_of_a_value_is_the_sum_over_the_weights_that_share_it() -> None:
    layer, x = nn.Linear(7, 5).double(), _randn(9, 7)
    shared = share_weights(layer, 4)
    dense = copy.deepcopy(layer)
    dense.weight.data.copy_(shared.weight)
    for one in (shared, dense):
        F.gelu(one(x)).square().sum().backward()
    sums = [dense.weight.grad[_index(shared) == number].sum() for number in range(4)]  # type: ignore[index]
    assert_close(_codebook(shared).grad, torch.stack(sums))
    assert_close(shared.bias.grad, dense.bias.grad)


def test_gradients_agree_with_finite_differences() -> None:
    shared = share_weights(nn.Conv2d(2, 3, 3).double(), 4)
    parametrization, x = shared.parametrizations.weight[0], _randn(2, 2, 5, 5)
    codebook = _codebook(shared).detach().clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda values: F.conv2d(x, parametrization(values)), codebook)


def test_training_moves_the_codebook_and_keeps_the_assignment() -> None:
    model = share_weights(MLP(6, hidden=(8,), num_classes=3), 4)
    index, x, labels = _index(model.layers[0]).clone(), _randn(32, 6, dtype=torch.float32), torch.arange(32) % 3
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    losses = []
    for _ in range(30):
        loss = F.cross_entropy(model(x), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.9 * losses[0]
    assert torch.equal(index, _index(model.layers[0]))
    assert len(model.layers[0].weight.unique()) == 4


def test_a_state_goes_into_a_freshly_shared_model() -> None:
    x = _randn(4, 1, 8, 8, dtype=torch.float32)
    source, target = (share_weights(SmallCNN(8).eval(), 16) for _ in range(2))
    assert not torch.equal(source(x), target(x))
    target.load_state_dict(source.state_dict())
    assert torch.equal(source(x), target(x))
    assert torch.equal(copy.deepcopy(source)(x), source(x))


def test_a_weight_that_is_assigned_is_averaged_within_each_group() -> None:
    shared = share_weights(nn.Linear(6, 5).double(), 3)
    weight = _randn(5, 6, seed=3)
    shared.weight = weight
    for number in range(3):
        assert_close(_codebook(shared)[number], weight[_index(shared) == number].mean())


def test_gradients_of_before_and_frozen_weights_do_no_harm() -> None:
    layer = nn.Linear(6, 5)
    layer(torch.ones(2, 6)).sum().backward()
    shared = share_weights(layer, 3)
    torch.optim.SGD(shared.parameters(), lr=0.1).step()
    assert _codebook(shared).grad is None
    assert layer.weight.grad is not None
    assert layer.weight.shape == (5, 6)
    assert not _codebook(share_weights(layer.requires_grad_(False), 3)).requires_grad


# --- size -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("clusters", "bits", "dtype"),
    [(1, 0, torch.uint8), (2, 1, torch.uint8), (3, 2, torch.uint8), (16, 4, torch.uint8), (17, 5, torch.uint8),
     (256, 8, torch.uint8), (257, 9, torch.int16)],
)  # fmt: skip
def test_an_index_takes_as_many_bits_as_its_numbers_need(clusters: int, bits: int, dtype: torch.dtype) -> None:
    layer = nn.Linear(37, 29)
    shared = share_weights(layer, clusters)
    assert _index(shared).dtype == dtype
    assert shared_bytes(shared) == math.ceil(37 * 29 * bits / 8) + 4 * clusters + 4 * 29
    assert model_bytes(shared) == 37 * 29 * dtype.itemsize + 4 * clusters + 4 * 29
    assert len(shared.weight.unique()) == clusters


def test_many_clusters_get_wider_indices() -> None:
    shared = SharedWeights(torch.arange(40000), 40000)
    assert shared.index.dtype == torch.int32
    assert torch.equal(shared(torch.arange(40000.0)), torch.arange(40000.0))
    assert SharedWeights(torch.tensor([32767]), 32768).index.item() == 32767


def test_bytes_count_all_that_is_not_shared_too() -> None:
    model = SmallCNN(8, norm=True)
    weights = [weight.numel() for weight in model.parameters() if weight.dim() > 1]
    expected = model_bytes(model) - 4 * sum(weights) + sum(math.ceil(count * 3 / 8) + 4 * 6 for count in weights)
    assert shared_bytes(share_weights(model, 6)) == expected
    assert shared_bytes(share_weights(model.double(), 6)) > expected


# --- refusals ---------------------------------------------------------------------------------------------------------


def test_more_clusters_than_distinct_weights_are_refused_by_name() -> None:
    model = SmallCNN(2)
    with pytest.raises(ValueError, match=r"clusters=19 is too many: the weight of features\.0 has only 18 distinct"):
        share_weights(model, 19)
    with pytest.raises(ValueError, match="clusters=4 is too many: values has only 3 distinct"):
        kmeans_1d(torch.tensor([1.0, 1.0, 2.0, 3.0]), 4)
    for clusters in (0, -1, 2.0, True, None):
        with pytest.raises(ValueError, match="clusters must be a whole number of at least 1"):
            share_weights(model, clusters)  # type: ignore[arg-type]


def test_values_that_cannot_be_clustered_are_refused() -> None:
    for wrong, kind in (
        (torch.tensor([1.0, math.nan]), ValueError),
        (torch.tensor([math.inf]), ValueError),
        (torch.zeros(0), ValueError),
        (torch.tensor([1, 2]), TypeError),
        ([1.0], TypeError),
    ):
        with pytest.raises(kind, match="values must be"):
            kmeans_1d(wrong, 1)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="initial must be one of linear, density, forgy, got 'kmeans'"):
        kmeans_1d(torch.ones(3), 1, initial="kmeans")
    with pytest.raises(ValueError, match="seed must be a whole number of at least 0, got -1"):
        kmeans_1d(torch.ones(3), 1, seed=-1)


def test_what_cannot_be_shared_is_refused() -> None:
    with pytest.raises(TypeError, match="target must be a layer or a model, got Tensor"):
        share_weights(torch.ones(3), 2)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="a ReLU has nothing to share"):
        share_weights(nn.ReLU(), 2)
    with pytest.raises(ValueError, match=r"clusters names 'layers\.1', which is none of .*: layers\.0, layers\.2"):
        share_weights(MLP(), {"layers.1": 2})
    with pytest.raises(ValueError, match="clusters is empty"):
        share_weights(MLP(), {})
    with pytest.raises(ValueError, match="target has a weight that is computed from other tensors"):
        share_weights(share_weights(nn.Linear(5, 5), 3), 2)
    tied = nn.Sequential(nn.Embedding(20, 8), nn.Linear(8, 20))
    tied[1].weight = tied[0].weight
    with pytest.raises(ValueError, match="1 has its weight in common with 0"):
        share_weights(tied, 2)
    twice = nn.Sequential(nn.Linear(5, 5))
    twice.append(twice[0])
    with pytest.raises(ValueError, match="one layer twice, under two of its names: 0, 1"):
        share_weights(twice, {"0": 2, "1": 2})
    with pytest.raises(ValueError, match="did you pass the original"):
        shared_bytes(nn.Linear(5, 5))
