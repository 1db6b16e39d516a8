"""Low rank: what the best approximations are best at, which layers stand in, and refusals."""

from __future__ import annotations

import copy
import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import prune
from torch.testing import assert_close

from kdlab import factorization
from kdlab.factorization import (
    break_even_rank,
    energy_kept,
    factorize,
    low_rank_conv,
    low_rank_linear,
    reconstruction_error,
    share_weights,
    spectrum,
)
from kdlab.measure import count_parameters
from kdlab.models import MLP, SmallCNN, TextEncoder

OUT, IN = 6, 9


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _randn(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, generator=_generator(seed), dtype=torch.float64).to(dtype)


def _linear(weight: Tensor, *, bias: bool = True) -> nn.Linear:
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=bias, dtype=weight.dtype)
    layer.weight.data.copy_(weight)
    return layer


def _inputs(rows: int = 40, seed: int = 1) -> Tensor:
    """Inputs that vary much in some directions, little in others, and have a mean."""
    return _randn(rows, IN, seed=seed) @ torch.diag(torch.logspace(1, -2, IN, dtype=torch.float64)) @ _randn(
        IN, IN, seed=seed + 1
    ) + _randn(IN, seed=seed + 2)


def _output_error(layer: nn.Module, other: nn.Module, inputs: Tensor) -> float:
    """Root mean over samples of the squared distance between outputs."""
    with torch.no_grad():
        return float((layer(inputs) - other(inputs)).square().sum(1).mean().sqrt())


# --- ranks and spectra ------------------------------------------------------------------------------------------------


def test_the_break_even_rank_is_the_last_that_saves() -> None:
    for rows, columns in ((1024, 4096), (6, 9), (10, 10), (2, 2), (1, 50), (4, 4)):
        rank = break_even_rank(nn.Linear(columns, rows))
        assert rank * (rows + columns) < rows * columns <= (rank + 1) * (rows + columns)
    assert break_even_rank(nn.Conv2d(4, 8, (3, 2))) == break_even_rank(nn.Linear(24, 8))


def test_a_spectrum_is_that_of_the_weight_as_a_matrix() -> None:
    conv = nn.Conv2d(3, 4, (2, 3), dtype=torch.float32)
    values = spectrum(conv)
    assert values.dtype == torch.float64
    assert_close(values.square().sum(), conv.weight.detach().double().square().sum())
    rows = conv.weight.detach().double().reshape(4, 18)
    assert_close(values.square().flip(0), torch.linalg.eigvalsh(rows @ rows.T))


def test_energy_and_errors_follow_from_the_squares_of_the_singular_values() -> None:
    weight = torch.zeros(4, 40, dtype=torch.float64)
    weight[range(4), range(4)] = torch.tensor([2.0, 10.0, 1.0, 5.0], dtype=torch.float64)
    layer = _linear(weight)
    pair = low_rank_linear(layer, 2)
    assert reconstruction_error(layer, pair) == pytest.approx(math.sqrt(5 / 130))
    assert energy_kept(spectrum(layer), 2) == pytest.approx(125 / 130)
    gap = (weight - pair[1].weight @ pair[0].weight).detach()
    assert float(torch.linalg.matrix_norm(gap, 2) / torch.linalg.matrix_norm(weight, 2)) == pytest.approx(0.2)
    assert energy_kept([1e200, 1e200], 1) == 0.5  # no overflow


# --- plain: closest in the weights ------------------------------------------------------------------------------------


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_no_matrix_of_the_rank_is_closer(rank: int) -> None:
    """Eckart and Young's error, and no gradient in the factors at the optimum."""
    layer = _linear(_randn(OUT, IN))
    pair = low_rank_linear(layer, rank)
    product = (pair[1].weight @ pair[0].weight).detach()
    assert torch.linalg.matrix_rank(product) == rank
    discarded = spectrum(layer)[rank:].square().sum().sqrt()
    assert reconstruction_error(layer, pair) == pytest.approx(float(discarded / layer.weight.detach().norm()))
    (layer.weight.detach() - pair[1].weight @ pair[0].weight).square().sum().backward()
    assert_close(pair[0].weight.grad, torch.zeros(rank, IN, dtype=torch.float64))
    assert_close(pair[1].weight.grad, torch.zeros(OUT, rank, dtype=torch.float64))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("bias", [True, False])
def test_a_layer_of_low_rank_is_replaced_exactly(dtype: torch.dtype, bias: bool) -> None:
    layer = _linear((_randn(OUT, 2) @ _randn(2, IN, seed=1)).to(dtype), bias=bias)
    pair = low_rank_linear(layer, 2)
    x = _randn(5, IN, seed=2, dtype=dtype)
    assert pair(x).dtype == dtype
    assert (pair[1].bias is not None) == bias
    assert pair[0].bias is None
    tolerance = {torch.float32: 1e-5, torch.float64: 1e-12, torch.bfloat16: 0.1}[dtype]
    assert_close(pair(x), layer(x), atol=tolerance, rtol=tolerance)


@pytest.mark.parametrize("aware", [True, False])
def test_the_product_is_split_evenly(aware: bool) -> None:
    layer = _linear(_randn(OUT, IN))
    pair = low_rank_linear(layer, 3, inputs=_inputs() if aware else None)
    rows, columns = pair[0].weight.detach().norm(dim=1), pair[1].weight.detach().norm(dim=0)
    assert_close(rows, columns)
    if not aware:
        assert_close(rows, spectrum(layer)[:3].sqrt())


def test_rank_beyond_that_of_the_weight_gives_zeros_and_not_nan() -> None:
    layer = _linear(torch.zeros(OUT, IN))
    pair = low_rank_linear(layer, 2)
    assert reconstruction_error(layer, pair) == 0
    assert not pair[0].weight.any()
    assert not pair[1].weight.any()


# --- aware: closest in the outputs ------------------------------------------------------------------------------------


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("seed", range(5))
def test_inputs_make_the_error_of_outputs_the_least_there_is(rank: int, seed: int) -> None:
    layer, inputs = _linear(_randn(OUT, IN, seed=seed)), _inputs(seed=10 * seed + 1)
    aware = low_rank_linear(layer, rank, inputs=inputs)
    error = _output_error(layer, aware, inputs)
    root = torch.linalg.cholesky(inputs.T @ inputs / len(inputs))  # another S with the same S S^T
    discarded = torch.linalg.svdvals(layer.weight.detach() @ root)[rank:]
    assert error == pytest.approx(float(discarded.square().sum().sqrt()), rel=1e-6)
    assert error < _output_error(layer, low_rank_linear(layer, rank), inputs)
    assert reconstruction_error(layer, aware) > reconstruction_error(layer, low_rank_linear(layer, rank))


def test_nothing_inverted_gives_the_same_matrix_as_the_published_formula() -> None:
    layer, inputs = _linear(_randn(OUT, IN)), _inputs()
    root = torch.linalg.cholesky(inputs.T @ inputs / len(inputs))
    u, d, vh = torch.linalg.svd(layer.weight.detach() @ root)
    published = u[:, :2] @ torch.diag(d[:2]) @ vh[:2] @ torch.linalg.inv(root)
    pair = low_rank_linear(layer, 2, inputs=inputs)
    assert_close((pair[1].weight @ pair[0].weight).detach(), published, rtol=1e-5, atol=1e-6)


def test_white_inputs_change_nothing() -> None:
    layer = _linear(_randn(OUT, IN))
    white = torch.linalg.qr(_randn(40, IN)).Q * 7
    aware, plain = low_rank_linear(layer, 2, inputs=white), low_rank_linear(layer, 2)
    assert_close(*((pair[1].weight @ pair[0].weight).detach() for pair in (aware, plain)))


def test_neither_the_scale_of_the_inputs_nor_their_number_of_dimensions_counts() -> None:
    layer, inputs = _linear(_randn(OUT, IN)), _inputs()
    first = low_rank_linear(layer, 2, inputs=inputs)
    for other in (1000 * inputs, inputs.view(4, 10, IN), inputs.repeat(3, 1), -inputs):
        pair = low_rank_linear(layer, 2, inputs=other)
        assert_close((pair[1].weight @ pair[0].weight), (first[1].weight @ first[0].weight))


def test_the_mean_of_the_inputs_counts() -> None:
    """With a large mean, what W makes of it is kept before anything else."""
    layer = _linear(_randn(OUT, IN))
    mean = 1e4 * _randn(1, IN, seed=3)
    pair = low_rank_linear(layer, 1, inputs=_randn(50, IN) + mean)
    assert_close(pair(mean), layer(mean), rtol=1e-3, atol=1)
    assert_close(pair[1].bias, layer.bias)


def test_fewer_inputs_than_features_are_fitted_exactly_and_spare_rank_goes_to_the_weights() -> None:
    layer = _linear(_randn(OUT, IN))
    inputs = torch.zeros(2, IN, dtype=torch.float64)
    inputs[0, 0] = inputs[1, 1] = 1
    pair = low_rank_linear(layer, 3, inputs=inputs)
    assert_close(pair(inputs), layer(inputs), rtol=0, atol=1e-6)
    shown = torch.linalg.qr(layer.weight.detach()[:, :2]).Q  # outputs that the inputs can cause
    rest = layer.weight.detach() - shown @ shown.T @ layer.weight.detach()
    left = (layer.weight - pair[1].weight @ pair[0].weight).detach()
    assert float(left.norm()) == pytest.approx(float(torch.linalg.svdvals(rest)[1:].norm()), rel=1e-4)


# --- convolutions -----------------------------------------------------------------------------------------------------

SHAPES = [
    {"kernel_size": 3, "padding": 1},
    {"kernel_size": (3, 2), "stride": (2, 1), "padding": (1, 0), "bias": False},
    {"kernel_size": 3, "dilation": 2, "padding": "same"},
    {"kernel_size": 3, "padding": (2, 1), "padding_mode": "circular"},
    {"kernel_size": 2, "padding": 1, "padding_mode": "reflect", "stride": 2},
]


def _conv(weight: Tensor | None = None, **options: object) -> nn.Conv2d:
    layer = nn.Conv2d(3, 8, dtype=torch.float64, **options)  # type: ignore[arg-type]
    size = layer.weight[0].numel()
    full = _randn(8, size, seed=5) if weight is None else weight[:, :size]
    layer.weight.data.copy_(full.view_as(layer.weight))
    return layer


@pytest.mark.parametrize("options", SHAPES)
def test_a_convolution_of_low_rank_is_replaced_exactly(options: dict[str, object]) -> None:
    layer = _conv(_randn(8, 2) @ _randn(2, 27, seed=1), **options)
    pair, x = low_rank_conv(layer, 2), _randn(2, 3, 7, 8, seed=4)
    assert pair[0].out_channels == 2
    assert pair[1].kernel_size == (1, 1)
    assert (pair[1].bias is not None) == (layer.bias is not None)
    assert_close(pair(x), layer(x))
    assert reconstruction_error(layer, pair) < 1e-12


@pytest.mark.parametrize("options", SHAPES)
def test_feature_maps_make_the_error_of_outputs_the_least_there_is(options: dict[str, object]) -> None:
    layer = _conv(**options)
    maps = _randn(70, 3, 7, 8, seed=6)  # more than are unfolded at a time
    maps[:, 0] *= 10
    maps[:, 1, ::2] += 3
    with torch.no_grad():
        aware, plain = low_rank_conv(layer, 2, inputs=maps), low_rank_conv(layer, 2)
        outputs = layer(maps) - (0 if layer.bias is None else layer.bias.view(-1, 1, 1))
        errors = [float((layer(maps) - pair(maps)).square().sum().sqrt()) for pair in (aware, plain)]
    rows = outputs.movedim(1, -1).flatten(0, 2)  # X W^T, whose best approximation has this error whatever X is
    assert errors[0] == pytest.approx(float(torch.linalg.svdvals(rows)[2:].norm()), rel=1e-6)
    assert errors[0] < 0.999 * errors[1]


# --- models -----------------------------------------------------------------------------------------------------------


def test_factorize_replaces_what_is_named_and_leaves_the_rest_and_the_original() -> None:
    model = SmallCNN(8).eval()
    model.features.train()
    before = copy.deepcopy(model.state_dict())
    compact = factorize(model, {"features.2": 4, "classifier.2": 8})
    assert isinstance(model.classifier[2], nn.Linear)
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    assert [type(part) for part in compact.classifier[2]] == [nn.Linear] * 2
    assert [type(part) for part in compact.features[2]] == [nn.Conv2d] * 2
    assert compact.features[2][0].training
    assert not compact.classifier[2][0].training
    assert_close(compact.features[0].weight, model.features[0].weight)
    assert not {id(p) for p in model.parameters()} & {id(p) for p in compact.parameters()}
    assert compact(torch.zeros(2, 1, 8, 8)).shape == (2, 10)
    saved = 16 * 8 * 9 - 4 * (16 + 72) + 256 * 32 - 8 * (256 + 32)
    assert count_parameters(model) - count_parameters(compact) == saved


def test_factorize_fits_each_layer_to_what_it_is_given_in_evaluation_mode() -> None:
    model = SmallCNN(8, dropout=0.9).train()
    images = _randn(30, 1, 8, 8, dtype=torch.float32)
    compact = factorize(model, {"classifier.2": 3, "features.2": 4}, inputs=images)
    assert model.training
    assert model.classifier[1].training
    assert not model.classifier[2]._forward_pre_hooks
    model.eval()
    with torch.no_grad():
        flat = model.classifier[0](model.features(images))
        maps = model.features[:2](images)
    alone = low_rank_linear(model.classifier[2], 3, inputs=flat)
    assert_close(alone(flat), compact.classifier[2](flat), rtol=1e-4, atol=1e-5)
    pair = low_rank_conv(model.features[2], 4, inputs=maps)
    assert_close(pair(maps), compact.features[2](maps), rtol=1e-4, atol=1e-5)
    assert _output_error(model.classifier[2], compact.classifier[2], flat) < _output_error(
        model.classifier[2], low_rank_linear(model.classifier[2], 3), flat
    )


def test_factorize_works_on_an_encoder_of_tokens() -> None:
    model = TextEncoder(50, width=16, layers=2, heads=2, hidden=32).eval()
    ids = torch.randint(1, 50, (4, 7), generator=_generator(0))
    ranks = {"blocks.0.attention.q": 4, "blocks.1.up": 5}
    compact = factorize(model, ranks, inputs=ids)
    assert count_parameters(model) - count_parameters(compact) == 256 - 4 * 32 + 512 - 5 * 48
    assert compact(ids).shape == (4, 10)


class _Twice(nn.Module):
    """One layer under two names."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(8, 8)
        self.second = self.first

    def forward(self, x: Tensor) -> Tensor:
        return self.second(F.relu(self.first(input=x)))


def test_one_layer_under_two_names_is_replaced_by_one_pair_fitted_to_both_inputs() -> None:
    model, x = _Twice().double(), _randn(20, 8)
    for ranks in ({"first": 2}, {"second": 2}, {"first": 2, "second": 2}):
        compact = factorize(model, ranks, inputs=x)
        assert compact.first is compact.second
        assert isinstance(compact.first, nn.Sequential)
    both = torch.cat([x, F.relu(model.first(x))])
    assert_close(compact.first(x), low_rank_linear(model.first, 2, inputs=both)(x))
    with pytest.raises(ValueError, match="'second' rank 3 and 'first' 2, but they are one layer"):
        factorize(model, {"first": 2, "second": 3})


def test_modes_frozen_weights_and_random_numbers_are_left_as_they_are() -> None:
    layer = nn.Linear(IN, OUT).eval()
    layer.weight.requires_grad_(False)
    before, weight = torch.get_rng_state(), layer.weight.clone()
    pair = low_rank_linear(layer, 2, inputs=torch.rand(9, IN, generator=_generator(0)))
    assert torch.equal(before, torch.get_rng_state())
    assert torch.equal(weight, layer.weight)
    assert not any(part.training for part in pair.modules())
    assert [p.requires_grad for p in pair.parameters()] == [False, False, True]
    pair(torch.ones(1, IN)).sum().backward()
    assert pair[1].bias.data_ptr() != layer.bias.data_ptr()
    assert layer.bias.grad is None


# --- refusals ---------------------------------------------------------------------------------------------------------


def test_a_rank_that_saves_nothing_is_refused_with_what_it_would_cost() -> None:
    layer = nn.Linear(9, 6)
    assert low_rank_linear(layer, 3)
    with pytest.raises(ValueError, match=r"rank=4 saves nothing: 60 weights in the two .* 54 in the layer; at most 3"):
        low_rank_linear(layer, 4)
    with pytest.raises(ValueError, match=r"ranks\['layers.0'\]=40 saves nothing"):
        factorize(MLP(), {"layers.0": 40})
    with pytest.raises(ValueError, match="no rank saves parameters in a layer of 1 by 50"):
        low_rank_linear(nn.Linear(50, 1), 1)
    for rank in (0, -1, 2.0, True, None, "2"):
        with pytest.raises(ValueError, match="rank must be a whole number from 1 to 3"):
            low_rank_linear(layer, rank)  # type: ignore[arg-type]


def test_other_layers_are_refused() -> None:
    class Scaled(nn.Linear):
        pass

    with pytest.raises(TypeError, match=r"layer must be an nn\.Linear, got Conv2d"):
        low_rank_linear(nn.Conv2d(3, 3, 3), 1)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"layer must be an nn\.Conv2d, got Linear"):
        low_rank_conv(nn.Linear(9, 9), 1)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="Scaled: a subclass may use its weight in another way"):
        low_rank_linear(Scaled(9, 9), 1)
    with pytest.raises(TypeError, match=r"nn\.Linear or nn\.Conv2d, got ReLU"):
        spectrum(nn.ReLU())  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="groups=2: its weight is several matrices"):
        low_rank_conv(nn.Conv2d(4, 4, 3, groups=2), 1)
    pruned = nn.Linear(9, 9)
    prune.l1_unstructured(pruned, "weight", 0.5)
    for layer in (share_weights(nn.Linear(9, 9), 2), pruned):
        with pytest.raises(ValueError, match="computed from other tensors"):
            low_rank_linear(layer, 2)
    broken = nn.Linear(9, 9)
    broken.weight.data[0, 0] = math.nan
    with pytest.raises(ValueError, match="NaN or infinite: did the model diverge"):
        low_rank_linear(broken, 2)


def test_inputs_that_do_not_fit_are_refused() -> None:
    layer = nn.Linear(IN, OUT)
    for wrong, kind, message in (
        (torch.zeros(5, OUT), ValueError, r"inputs must have shape \(\.\.\., 9\), got \[5, 6\]"),
        (torch.zeros(0, IN), ValueError, r"got \[0, 9\]"),
        (torch.zeros(5, IN), ValueError, "inputs is 0 everywhere"),
        (torch.full((5, IN), math.nan), ValueError, "inputs holds NaN"),
        (torch.zeros(5, IN, dtype=torch.int64), TypeError, r"floating-point tensor, got torch\.int64"),
        ([1.0] * IN, TypeError, "got list"),
    ):
        with pytest.raises(kind, match=message):
            low_rank_linear(layer, 2, inputs=wrong)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"inputs must be feature maps \(N, 3, H, W\), got shape \[2, 1, 8, 8\]"):
        low_rank_conv(nn.Conv2d(3, 8, 3), 2, inputs=torch.ones(2, 1, 8, 8))


def test_names_that_cannot_be_replaced_are_refused() -> None:
    model = MLP(64, hidden=(32,))
    with pytest.raises(ValueError, match=r"'layer\.0', which the model has not; .* layers: layers\.0, layers\.2"):
        factorize(model, {"layer.0": 2})
    with pytest.raises(ValueError, match=r"ranks names '', which the model has not; .*: none"):
        factorize(nn.Linear(9, 9), {"": 2})
    with pytest.raises(TypeError, match=r"layers\.1 must be an nn\.Linear or nn\.Conv2d, got ReLU"):
        factorize(model, {"layers.1": 2})
    with pytest.raises(ValueError, match="at least one layer's name"):
        factorize(model, {})
    with pytest.raises(TypeError, match="model must be a torch module, got dict"):
        factorize({}, {"a": 2})  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="inputs must be a tensor, a batch for the model, got list"):
        factorize(model, {"layers.0": 2}, inputs=[1])  # type: ignore[arg-type]
    model.spare = nn.Linear(9, 9)
    with pytest.raises(ValueError, match="inputs never reached spare"):
        factorize(model, {"spare": 2}, inputs=torch.ones(2, 64))
    tied = nn.Sequential(nn.Embedding(20, 8), nn.Linear(8, 20))
    tied[1].weight = tied[0].weight
    with pytest.raises(ValueError, match="1 has its weight in common with 0"):
        factorize(tied, {"1": 2})


def test_a_failing_pass_leaves_no_hook_behind() -> None:
    model = MLP(64).train()
    with pytest.raises(ValueError, match=r"the input of layers\.0 must have shape \(\.\.\., 64\), got \[2, 63\]"):
        factorize(model, {"layers.0": 2}, inputs=torch.ones(2, 63))
    assert not model.layers[0]._forward_pre_hooks
    assert model.training


def test_errors_and_energies_of_the_wrong_thing_are_refused() -> None:
    layer = nn.Linear(IN, OUT)
    with pytest.raises(TypeError, match="factors must be a Sequential of two layers, got Linear"):
        reconstruction_error(layer, layer)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"factors gives \[5, 2\] times \[2, 9\], the layer has \[6, 9\]"):
        reconstruction_error(layer, low_rank_linear(nn.Linear(IN, 5), 2))
    for wrong in ([1.0, 2.0], [1.0, -1.0], [], [0.0, 0.0], [math.nan]):
        with pytest.raises(ValueError, match="spectrum must"):
            energy_kept(wrong, 1)
    for rank in (0, 3, 1.5):
        with pytest.raises(ValueError, match="rank must be a whole number from 1 to 2"):
            energy_kept([2.0, 1.0], rank)  # type: ignore[arg-type]


def test_the_face_names_everything_that_it_exports() -> None:
    assert all(hasattr(factorization, name) for name in factorization.__all__)
    assert all(f"`{name}`" in (factorization.__doc__ or "") for name in factorization.__all__)
