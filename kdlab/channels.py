"""Structured pruning by hand: take channels out of one layer, and what depends on them out of the next."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from kdlab.masks import check_sparsity

__all__ = ["channel_scores", "prune_channels"]


def channel_scores(layer: nn.Module, p: float = 1) -> Tensor:
    r"""Norm of each output channel's weights, the usual guess at what it is worth.

    .. math:: s_c = \Big(\sum_i |w_{c,i}|^p\Big)^{1/p}

    Args:
        layer: a linear or convolution layer, weight ``(C, ...)``.
        p: which norm, 1 or 2 as a rule.

    Returns:
        Scores ``(C,)``.

    References:
        Li, Kadav, Durdanovic, Samet, Graf (2017), Pruning Filters for Efficient ConvNets, arXiv 1608.08710.

    Example:
        >>> layer = nn.Linear(2, 2)
        >>> layer.weight.data = torch.tensor([[3.0, -4.0], [1.0, 0.0]])
        >>> channel_scores(layer).tolist(), channel_scores(layer, p=2).tolist()
        ([7.0, 1.0], [5.0, 1.0])
    """
    _check_layer("layer", layer)
    return torch.linalg.vector_norm(_weight(layer).detach().flatten(1), ord=p, dim=1)


def prune_channels(
    model: nn.Module,
    first: str,
    second: str,
    sparsity: float | None = None,
    *,
    keep: Sequence[int] | Tensor | None = None,
    norm: str | None = None,
) -> nn.Module:
    """A smaller copy of a model: fewer output channels of one layer, and fewer inputs of the layer that reads them.

    The two belong together: an output channel that is gone leaves a row of the first weight, one value of its bias and
    of every batch norm behind it, *and* the inputs that the second layer had for it. Behind a flattened map of P
    positions those are P columns in a row. The result is a dense, ordinary model: smaller file, less work, no mask.

    Only this pair is dealt with. Where a residual sum or a concatenation reads the channels too, use Torch-Pruning,
    which follows all that depends on them.

    Args:
        model: the network; it stays as it is.
        first: name of the layer that loses output channels, such as ``"features.0"``.
        second: name of the only layer that reads them, such as ``"features.3"``.
        sparsity: share of the channels that go, in [0, 1): those with the lowest :func:`channel_scores`.
        keep: instead, the channels that stay, as indices; their order stays too.
        norm: name of the batch norm between the two, if there is one.

    Returns:
        A copy with the two layers (and the norm) replaced.

    Raises:
        TypeError, ValueError: layers that are not there or cannot be cut (groups), numbers of channels that do not
            fit together, no channel left.

    Example:
        >>> model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 10))
        >>> smaller = prune_channels(model, "0", "3", 0.5)
        >>> smaller[0].weight.shape[0], smaller[3].weight.shape[1], smaller(torch.zeros(5, 1, 8, 8)).shape[1]
        (2, 72, 10)
    """
    _layer(model, first, "first"), _layer(model, second, "second")  # torch cannot copy a weight that is computed
    pruned = copy.deepcopy(model)
    source, reader = _layer(pruned, first, "first"), _layer(pruned, second, "second")
    if source is reader:
        raise ValueError(
            f"first and second are both {first!r}: the second is the layer that reads the first one's output"
        )
    count = len(_weight(source))
    kept = _kept(source, count, sparsity, keep)
    inputs = _weight(reader).shape[1]
    if inputs % count or (inputs != count and not isinstance(reader, nn.Linear)):
        raise ValueError(
            f"{second!r} has {inputs} inputs and {first!r} {count} output channels: they do not belong together. "
            "Does another layer stand between?"
        )
    positions = inputs // count  # of a flattened map, per channel
    columns = (kept[:, None] * positions + torch.arange(positions, device=kept.device)).flatten()
    _cut(source, kept, dim=0)
    _cut(reader, columns, dim=1)
    if norm is not None:
        _cut_norm(_part(pruned, norm, "norm"), norm, kept, count)
    return pruned


def _kept(layer: nn.Module, count: int, sparsity: float | None, keep: Sequence[int] | Tensor | None) -> Tensor:
    """Sorted indices of the channels that stay."""
    device = _weight(layer).device
    if (sparsity is None) == (keep is None):
        raise TypeError("give either sparsity, a share of the channels, or keep, the channels that stay")
    if sparsity is not None:
        gone = round(check_sparsity(sparsity) * count)
        if gone == count:
            raise ValueError(f"sparsity={sparsity} of {count} channels leaves none: lower it")
        scores = channel_scores(layer)
        if scores.isnan().any():
            raise ValueError("the first layer's weights hold NaN: did the training diverge?")
        return scores.topk(count - gone).indices.sort().values
    chosen = torch.as_tensor(keep, device=device)
    if chosen.dtype == torch.bool or chosen.is_floating_point() or chosen.dim() != 1 or len(chosen) == 0:
        raise TypeError(
            f"keep must be a list of at least one index, got {keep!r}: turn a mask into mask.nonzero()[:, 0]"
        )
    chosen = chosen.long().sort().values
    if int(chosen[0]) < 0 or int(chosen[-1]) >= count or len(chosen.unique()) < len(chosen):
        raise ValueError(f"keep must hold different channels from 0 to {count - 1}, got {chosen.tolist()}")
    return chosen


def _part(model: nn.Module, name: str, argument: str) -> nn.Module:
    parts = dict(model.named_modules())
    if name not in parts:
        raise ValueError(f"{argument}={name!r} is no layer of the model; there are: {', '.join(filter(None, parts))}")
    return parts[name]


def _layer(model: nn.Module, name: str, argument: str) -> nn.Module:
    layer = _part(model, name, argument)
    _check_layer(argument, layer)
    if not isinstance(layer.weight, nn.Parameter):
        raise TypeError(
            f"the weight of {argument}={name!r} is computed from others (torch.nn.utils.prune, a parametrization): "
            "make it permanent first, as prune.remove does"
        )
    return layer


def _check_layer(argument: str, layer: nn.Module) -> None:
    if not isinstance(layer, nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d):
        raise TypeError(f"{argument} must be a linear or convolution layer, got {type(layer).__name__}")
    if getattr(layer, "groups", 1) != 1:
        raise ValueError(
            f"{argument} must be a layer without groups, got {layer}, whose channels cannot be cut one by one"
        )


def _weight(layer: nn.Module) -> Tensor:
    weight = layer.weight
    assert isinstance(weight, Tensor)
    return weight


def _cut(layer: nn.Module, rows: Tensor, dim: int) -> None:
    """Keep these output channels (dim 0) or inputs (dim 1) of a layer, in place."""
    weight = _weight(layer)
    layer.weight = nn.Parameter(weight.detach().index_select(dim, rows), requires_grad=weight.requires_grad)
    size = len(rows)
    names = ("out_features", "out_channels") if dim == 0 else ("in_features", "in_channels")
    setattr(layer, names[0] if isinstance(layer, nn.Linear) else names[1], size)
    if dim == 0 and isinstance(layer.bias, Tensor):
        layer.bias = nn.Parameter(layer.bias.detach()[rows], requires_grad=layer.bias.requires_grad)


def _cut_norm(layer: nn.Module, name: str, rows: Tensor, count: int) -> None:
    if not isinstance(layer, _BatchNorm) or layer.num_features != count:
        raise ValueError(f"norm={name!r} must be a batch norm of {count} channels, got {layer}")
    for part in ("weight", "bias"):
        if isinstance(value := getattr(layer, part), nn.Parameter):
            setattr(layer, part, nn.Parameter(value.detach()[rows], requires_grad=value.requires_grad))
    for part in ("running_mean", "running_var"):
        if isinstance(value := getattr(layer, part), Tensor):
            setattr(layer, part, value[rows].clone())
    layer.num_features = len(rows)
