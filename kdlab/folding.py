"""Folding: a batch norm in evaluation mode is a scale and a shift per channel, which the layer before it can take over.

No approximation, unlike the rest of ``factorization``: the same function with fewer layers.
"""

from __future__ import annotations

import copy
from collections import Counter
from itertools import pairwise
from typing import Any, TypeVar, overload

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from kdlab.low_rank import check_own_weight, check_plain

__all__ = ["fold_batch_norm"]

LayerT = TypeVar("LayerT", bound=nn.Module)

_NORMS: dict[type[nn.Module], type[nn.Module]] = {
    nn.Linear: nn.BatchNorm1d,
    nn.Conv1d: nn.BatchNorm1d,
    nn.Conv2d: nn.BatchNorm2d,
    nn.Conv3d: nn.BatchNorm3d,
    nn.ConvTranspose1d: nn.BatchNorm1d,
    nn.ConvTranspose2d: nn.BatchNorm2d,
    nn.ConvTranspose3d: nn.BatchNorm3d,
}


@overload
def fold_batch_norm(target: LayerT, norm: nn.Module) -> LayerT: ...
@overload
def fold_batch_norm(target: LayerT, norm: None = None) -> LayerT: ...
@torch.no_grad()
def fold_batch_norm(target: nn.Module, norm: nn.Module | None = None) -> nn.Module:
    r"""Make a batch norm part of the layer before it.

    .. math:: w' = \frac{\gamma}{\sqrt{\sigma^2 + \epsilon}} w, \qquad
        b' = \frac{\gamma}{\sqrt{\sigma^2 + \epsilon}} (b - \mu) + \beta

    per output channel, with the norm's running mean :math:`\mu` and variance :math:`\sigma^2`. It holds in evaluation
    mode alone: in training the norm divides by the statistics of the batch, which no fixed weight can.

    Two layers are folded as given: the caller knows that the norm comes directly behind. In a model, what is known is
    the order in an ``nn.Sequential``, so there every linear or convolution layer directly followed by its batch norm is
    folded; layers that a ``forward()`` of its own calls are left. A linear layer before ``BatchNorm1d`` must be given
    ``(B, n)``: on ``(B, L, n)`` the norm is over another dimension.

    References:
        The norm: Ioffe, Szegedy (2015), Batch Normalization, arXiv 1502.03167. Folded: Jacob et al. (2018),
        Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference, arXiv 1712.05877,
        section 3.2.

    Args:
        target: a linear or convolution layer (transposed too, groups too), or without ``norm`` a model; left as it is.
        norm: the layer's batch norm.

    Returns:
        A copy of the layer, with a bias; or of the model, with ``nn.Identity`` where the norms were.

    Raises:
        TypeError: layers of other kinds.
        ValueError: anything in train mode, channels that do not match, a norm without running statistics, a variance
            that cannot be divided by, a layer that is used in several places or whose weight is computed from other
            tensors or tied, a model with nothing to fold.

    Example:
        >>> layer, norm = nn.Linear(1, 1).eval(), nn.BatchNorm1d(1, eps=0.0).eval()
        >>> values = {layer.weight: 2, layer.bias: 0.5, norm.weight: 1.5, norm.bias: 0.1}
        >>> for tensor, value in {**values, norm.running_mean: 3, norm.running_var: 4}.items():
        ...     _ = tensor.data.fill_(value)
        >>> folded = fold_batch_norm(layer, norm)
        >>> folded.weight.item(), round(folded.bias.item(), 6)
        (1.5, -1.775)
    """
    if not isinstance(target, nn.Module):
        raise TypeError(f"target must be a layer or a model, got {type(target).__name__}")
    if norm is None:
        return _fold_model(target)
    _check_pair("target", target, "norm", norm)
    return _fold(target, norm)


def _fold(layer: Any, norm: Any) -> nn.Module:
    """A copy of the layer that does the norm's work too; computed in float64."""
    scale, shift = _scale_and_shift(norm)
    folded = copy.deepcopy(layer)
    weight = layer.weight.double()
    if getattr(layer, "transposed", False):  # (in, out / groups, ...): the inputs of group g hold its outputs
        weight = weight.unflatten(0, (layer.groups, -1))
        scaled = weight * scale.view(layer.groups, 1, -1, *[1] * (weight.dim() - 3))
    else:
        scaled = weight * scale.view(-1, *[1] * (weight.dim() - 1))
    bias = shift if layer.bias is None else layer.bias.double() * scale + shift
    for name, value in (("weight", scaled.view_as(layer.weight)), ("bias", bias)):
        trained = getattr(layer, name) if getattr(layer, name) is not None else layer.weight
        setattr(folded, name, nn.Parameter(value.to(layer.weight.dtype), requires_grad=trained.requires_grad))
    return folded


def _scale_and_shift(norm: Any) -> tuple[Tensor, Tensor]:
    """What the norm multiplies by and adds, ``(C,)`` each, in float64."""
    scale = (norm.running_var.double() + norm.eps).rsqrt()
    if norm.weight is not None:
        scale = scale * norm.weight.double()
    shift = -norm.running_mean.double() * scale
    return scale, shift if norm.bias is None else shift + norm.bias.double()


def _fold_model(model: nn.Module) -> nn.Module:
    training = [name or "the model itself" for name, part in model.named_modules() if part.training]
    if training:
        raise ValueError(f"target is in train mode ({training[0]}): {_STATISTICS}. Call .eval() first")
    uses = Counter(id(part) for parent in model.modules() for part in parent._modules.values())
    folded = copy.deepcopy(model)
    found = 0
    for path, parent in model.named_modules():
        if not isinstance(parent, nn.Sequential) or type(parent).forward is not nn.Sequential.forward:
            continue
        for (key, layer), (after, norm) in pairwise(parent._modules.items()):
            if layer is None or norm is None or not _fits(layer, norm):
                continue
            name, behind = (f"{path}.{one}".lstrip(".") for one in (key, after))
            _check_pair(name, layer, behind, norm)
            check_own_weight(model, name, layer)
            if uses[id(layer)] > 1:
                raise ValueError(
                    f"{name} is used in {uses[id(layer)]} places of the model, and folded with {behind} it would "
                    "change in all of them: give each place a layer of its own"
                )
            place = folded.get_submodule(path)
            setattr(place, key, _fold(layer, norm))
            setattr(place, after, nn.Identity().eval())
            found += 1
    if not found:
        raise ValueError(
            f"target ({type(model).__name__}) has nothing to fold: no nn.Sequential in it has a linear or convolution "
            "layer directly followed by its batch norm. Where forward() calls them by name, fold them in pairs: "
            "fold_batch_norm(layer, norm)"
        )
    return folded


_STATISTICS = "the norm then uses each batch's own statistics, which no fixed weight can"


def _fits(layer: nn.Module, norm: nn.Module) -> bool:
    """Whether the layer's kind is one whose outputs this kind of norm normalises channel by channel."""
    for kind, wanted in _NORMS.items():
        if isinstance(layer, kind):  # a subclass may compute something else
            return type(layer).forward is kind.forward and isinstance(norm, (wanted, nn.SyncBatchNorm))
    return False


def _check_pair(name: str, layer: Any, behind: str, norm: Any) -> None:
    if not _fits(layer, norm):
        kinds = [type(one).__name__ for one in (layer, norm)]
        hint = ": are they in the wrong order?" if isinstance(layer, _BatchNorm) else ""
        raise TypeError(
            f"{name} and {behind} must be a linear or convolution layer and its batch norm (Conv2d with BatchNorm2d), "
            f"got {kinds[0]} and {kinds[1]}{hint}"
        )
    check_plain(name, layer)
    for label, part in ((name, layer), (behind, norm)):
        if part.training:
            raise ValueError(f"{label} is in train mode: {_STATISTICS}. Call .eval() first")
    if norm.running_mean is None or norm.running_var is None:
        raise ValueError(f"{behind} has no running statistics (track_running_stats=False): {_STATISTICS}")
    channels = layer.out_features if isinstance(layer, nn.Linear) else layer.out_channels
    if norm.num_features != channels:
        raise ValueError(f"{behind} has {norm.num_features} channels, {name} gives {channels}: another layer's norm?")
    spread = norm.running_var + norm.eps
    if not (spread.isfinite() & (spread > 0)).all() or not norm.running_mean.isfinite().all():
        raise ValueError(f"{behind} has running statistics that are not finite, or a variance plus eps that is not > 0")
