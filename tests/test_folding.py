"""Folded norms: the same function in evaluation mode, in every kind of layer, and refusals."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval
from torch.testing import assert_close

from kdlab.factorization import fold_batch_norm, share_weights
from kdlab.measure import count_parameters
from kdlab.models import MLP, SmallCNN

Make = Callable[..., nn.Module]

LAYERS: dict[str, tuple[Callable[[], nn.Module], Make, tuple[int, ...]]] = {
    "linear": (lambda: nn.Linear(6, 4), nn.BatchNorm1d, (6,)),
    "linear, no bias": (lambda: nn.Linear(6, 4, bias=False), nn.BatchNorm1d, (6,)),
    "conv1d": (lambda: nn.Conv1d(6, 4, 3), nn.BatchNorm1d, (6, 9)),
    "conv2d": (lambda: nn.Conv2d(6, 4, 3, padding=1, padding_mode="reflect"), nn.BatchNorm2d, (6, 7, 8)),
    "conv2d, no bias": (lambda: nn.Conv2d(6, 4, 3, padding=1, bias=False), nn.BatchNorm2d, (6, 7, 8)),
    "conv2d, groups": (lambda: nn.Conv2d(6, 4, 3, groups=2), nn.BatchNorm2d, (6, 7, 8)),
    "conv2d, depthwise": (lambda: nn.Conv2d(4, 4, 3, groups=4), nn.BatchNorm2d, (4, 7, 8)),
    "conv3d": (lambda: nn.Conv3d(6, 4, 2), nn.BatchNorm3d, (6, 3, 4, 5)),
    "transposed": (lambda: nn.ConvTranspose2d(6, 4, 3, stride=2), nn.BatchNorm2d, (6, 5, 4)),
    "transposed, groups": (lambda: nn.ConvTranspose2d(6, 4, 3, groups=2, bias=False), nn.BatchNorm2d, (6, 5, 4)),
}
NORMS: dict[str, dict[str, object]] = {
    "plain": {},
    "not affine": {"affine": False},
    "large eps": {"eps": 0.5},
    "no eps": {"eps": 0.0},
    "no bias": {"bias": False},
}


def _randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _used(norm: nn.Module, seed: int = 1) -> nn.Module:
    """A norm as after some training, in evaluation mode."""
    count = norm.num_features
    for name, value in (
        ("weight", _randn(count, seed=seed)),
        ("bias", _randn(count, seed=seed + 1)),
        ("running_mean", 3 * _randn(count, seed=seed + 2)),
        ("running_var", _randn(count, seed=seed + 3).square() + 0.1),
    ):
        if getattr(norm, name, None) is not None:
            getattr(norm, name).data.copy_(value)
    return norm.eval()


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
@pytest.mark.parametrize("options", NORMS)
@pytest.mark.parametrize("kind", LAYERS)
def test_folded_is_the_same_function(kind: str, options: str, dtype: torch.dtype, tolerance: float) -> None:
    make, norms, shape = LAYERS[kind]
    layer = make().to(dtype).eval()
    for parameter in layer.parameters():
        parameter.data.div_(3)  # digits beyond float32
    norm = _used(norms(4, dtype=dtype, **NORMS[options]))
    x = _randn(5, *shape, seed=9).to(dtype)
    states = [copy.deepcopy(part.state_dict()) for part in (layer, norm)]
    folded = fold_batch_norm(layer, norm)
    wanted = norm(layer(x))
    assert_close(folded(x), wanted, rtol=tolerance, atol=tolerance * max(1, wanted.abs().max().item()))
    assert type(folded) is type(layer)
    assert folded.weight.dtype == folded.bias.dtype == dtype
    assert not folded.training
    for part, state in zip((layer, norm), states, strict=True):
        assert all(torch.equal(state[key], value) for key, value in part.state_dict().items())


@pytest.mark.parametrize("kind", [kind for kind in LAYERS if not kind.startswith("transposed, groups")])
def test_folded_is_what_torch_makes_of_it(kind: str) -> None:
    make, norms, _ = LAYERS[kind]
    layer, norm = make().double().eval(), _used(norms(4, dtype=torch.float64))
    if isinstance(layer, nn.Linear):
        other: nn.Module = fuse_linear_bn_eval(layer, norm)  # type: ignore[arg-type]
    else:
        other = fuse_conv_bn_eval(layer, norm, transpose=kind == "transposed")  # type: ignore[type-var]
    folded = fold_batch_norm(layer, norm)
    assert_close(folded.weight, other.weight)
    assert_close(folded.bias, other.bias)


def test_one_weight_by_hand() -> None:
    """w 2, b 0.5, gamma 1.5, beta 0.1, mu 3, variance 4, eps 0."""
    layer, norm = nn.Conv2d(1, 1, 1).eval(), nn.BatchNorm2d(1, eps=0.0).eval()
    values = ((layer.weight, 2), (layer.bias, 0.5), (norm.weight, 1.5), (norm.bias, 0.1))
    for tensor, value in (*values, (norm.running_mean, 3), (norm.running_var, 4)):
        tensor.data.fill_(value)  # type: ignore[union-attr]
    folded = fold_batch_norm(layer, norm)
    assert folded.weight.item() == pytest.approx(1.5)
    assert folded.bias.item() == pytest.approx(-1.775)


# --- models -----------------------------------------------------------------------------------------------------------


def _cnn(dtype: torch.dtype = torch.float64) -> SmallCNN:
    model = SmallCNN(8, norm=True).to(dtype).eval()
    for seed, name in enumerate(("features.1", "features.4")):
        _used(model.get_submodule(name), seed=10 * seed)
    return model


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
def test_a_folded_model_gives_the_same_logits_without_its_norms(dtype: torch.dtype, tolerance: float) -> None:
    model, x = _cnn(dtype), _randn(6, 1, 8, 8).to(dtype)
    before = copy.deepcopy(model.state_dict())
    folded = fold_batch_norm(model)
    assert [type(part) for part in folded.features[:5]] == [nn.Conv2d, nn.Identity, nn.ReLU, nn.Conv2d, nn.Identity]
    wanted = model(x)
    assert_close(folded(x), wanted, rtol=tolerance, atol=tolerance * max(1, wanted.abs().max().item()))
    assert not any(part.training for part in folded.modules())
    assert isinstance(model.features[1], nn.BatchNorm2d)
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    assert count_parameters(model) - count_parameters(folded) == 2 * (8 + 16)
    assert not {id(p) for p in model.parameters()} & {id(p) for p in folded.parameters()}


def test_sequences_are_found_wherever_they_are_and_order_counts() -> None:
    inner = nn.Sequential(nn.Linear(4, 4, bias=False), _used(nn.BatchNorm1d(4)), _used(nn.BatchNorm1d(4), 5))
    model = nn.Sequential(_used(nn.BatchNorm1d(4), 8), nn.Linear(4, 4), nn.ReLU(), nn.ModuleList([inner])[0]).double()
    model.append(_used(nn.BatchNorm1d(4, dtype=torch.float64), 3))  # behind a Sequential, not a layer
    model.eval()
    folded = fold_batch_norm(model)
    kinds = [type(part).__name__ for part in folded.modules() if not isinstance(part, nn.Sequential)]
    assert kinds == ["BatchNorm1d", "Linear", "ReLU", "Linear", "Identity", "BatchNorm1d", "BatchNorm1d"]
    x = _randn(7, 4)
    assert_close(folded(x), model(x))


def test_a_block_used_twice_is_folded_once_and_a_norm_may_serve_two_layers() -> None:
    block, norm = nn.Sequential(nn.Linear(4, 4), _used(nn.BatchNorm1d(4))), _used(nn.BatchNorm1d(4), 5)
    model = nn.Sequential(block, nn.ReLU(), block, nn.Linear(4, 4), norm, nn.Linear(4, 4), norm).double().eval()
    folded, x = fold_batch_norm(model), _randn(5, 4)
    assert folded[0] is folded[2]
    assert not any(isinstance(part, nn.BatchNorm1d) for part in folded.modules())
    assert_close(folded(x), model(x))


class _Backwards(nn.Sequential):
    def forward(self, x: Tensor) -> Tensor:
        for part in reversed(self):
            x = part(x)
        return x


class _ByName(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2)


@pytest.mark.parametrize(
    "model",
    [
        MLP(),
        _ByName(),
        _Backwards(nn.Linear(4, 4), nn.BatchNorm1d(4)),
        nn.Sequential(nn.BatchNorm1d(4), nn.Linear(4, 4)),
        nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.BatchNorm1d(4)),
        nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4)),
        nn.Sequential(nn.Conv2d(4, 4, 1), nn.InstanceNorm2d(4)),
        nn.Sequential(),
        nn.Linear(4, 4),
    ],
)
def test_where_nothing_can_be_folded_it_is_said(model: nn.Module) -> None:
    with pytest.raises(ValueError, match=r"has nothing to fold: no nn\.Sequential in it has .* directly followed"):
        fold_batch_norm(model.eval())


# --- refusals ---------------------------------------------------------------------------------------------------------


def test_train_mode_is_refused_anywhere() -> None:
    layer, norm = nn.Linear(4, 4), nn.BatchNorm1d(4)
    with pytest.raises(ValueError, match=r"target is in train mode: .* each batch's own statistics"):
        fold_batch_norm(layer, norm.eval())
    with pytest.raises(ValueError, match="norm is in train mode"):
        fold_batch_norm(layer.eval(), norm.train())
    model = _cnn()
    model.features[4].train()
    with pytest.raises(ValueError, match=r"target is in train mode \(features\.4\)"):
        fold_batch_norm(model)
    with pytest.raises(ValueError, match="the model itself"):
        fold_batch_norm(model.train())


def test_a_norm_in_train_mode_is_another_function() -> None:
    """Why it is refused."""
    model, x = _cnn(), _randn(6, 1, 8, 8)
    folded = fold_batch_norm(model)
    model.features[1].train()
    assert (folded(x) - model(x)).abs().max().item() > 0.1


def test_a_norm_that_is_not_fixed_or_does_not_fit_is_refused() -> None:
    layer = nn.Conv2d(3, 4, 3).eval()
    with pytest.raises(ValueError, match=r"norm has no running statistics \(track_running_stats=False\)"):
        fold_batch_norm(layer, nn.BatchNorm2d(4, track_running_stats=False).eval())
    with pytest.raises(ValueError, match=r"1 has no running statistics"):
        fold_batch_norm(nn.Sequential(layer, nn.BatchNorm2d(4, track_running_stats=False)).eval())
    with pytest.raises(ValueError, match="norm has 3 channels, target gives 4"):
        fold_batch_norm(layer, nn.BatchNorm2d(3).eval())
    with pytest.raises(TypeError, match="got Conv2d and BatchNorm1d"):
        fold_batch_norm(layer, nn.BatchNorm1d(4).eval())
    with pytest.raises(TypeError, match="got BatchNorm2d and Conv2d: are they in the wrong order"):
        fold_batch_norm(nn.BatchNorm2d(4).eval(), layer)
    with pytest.raises(TypeError, match="got Conv2d and InstanceNorm2d"):
        fold_batch_norm(layer, nn.InstanceNorm2d(4).eval())
    with pytest.raises(TypeError, match="target must be a layer or a model, got str"):
        fold_batch_norm("model")  # type: ignore[type-var]
    for mean, variance in ((0.0, 0.0), (0.0, math.nan), (math.inf, 1.0)):
        norm = nn.BatchNorm2d(4, eps=0.0).eval()
        norm.running_mean.fill_(mean)  # type: ignore[union-attr]
        norm.running_var.fill_(variance)  # type: ignore[union-attr]
        with pytest.raises(ValueError, match="running statistics that are not finite, or a variance plus eps"):
            fold_batch_norm(layer, norm)


def test_weights_that_are_not_the_layers_alone_are_refused() -> None:
    layer = nn.Linear(4, 4)
    twice = nn.Sequential(layer, nn.BatchNorm1d(4), layer, nn.BatchNorm1d(4)).eval()
    with pytest.raises(ValueError, match="0 is used in 2 places of the model, and folded with 1 it would change"):
        fold_batch_norm(twice)
    tied = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Linear(4, 4)).eval()
    tied[2].weight = tied[0].weight
    with pytest.raises(ValueError, match="0 has its weight in common with 2"):
        fold_batch_norm(tied)
    shared = share_weights(nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4)).eval(), 3)
    with pytest.raises(ValueError, match="0 has a weight that is computed from other tensors"):
        fold_batch_norm(shared)


def test_frozen_weights_stay_frozen() -> None:
    layer = nn.Linear(4, 4, bias=False).eval().requires_grad_(False)
    folded = fold_batch_norm(layer, nn.BatchNorm1d(4).eval())
    assert not any(p.requires_grad for p in folded.parameters())
    assert all(p.requires_grad for p in fold_batch_norm(nn.Linear(4, 4).eval(), nn.BatchNorm1d(4).eval()).parameters())
