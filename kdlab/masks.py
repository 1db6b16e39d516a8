"""Which weights stay: masks by a score, over a network or layer by layer, and the schedule that raises sparsity."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from numbers import Real
from typing import overload

import torch
from torch import Tensor, nn

__all__ = [
    "Masks",
    "apply_mask",
    "check_sparsity",
    "gradual_sparsity",
    "magnitude_mask",
    "nm_mask",
    "prunable",
    "random_mask",
    "score_mask",
    "sparsity_of",
]

Masks = dict[str, Tensor]
"""Parameter name, such as ``"features.0.weight"``, to a bool tensor of the parameter's shape: True stays."""

_LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


def prunable(model: nn.Module, layers: Iterable[str] | None = None) -> dict[str, Tensor]:
    """The weights that pruning is about: those of linear and convolution layers, by parameter name.

    Biases and norms are left out: they are few, and each of them acts on a whole channel. Embeddings are left out too,
    since a row is read or not read, never multiplied through. A weight that several layers share counts once, under its
    first layer's name.

    Args:
        model: any module, or such a layer itself.
        layers: names of layers, such as ``["features.0"]``; all of them by default.

    Raises:
        TypeError, ValueError: no model, one without such layers, or a layer that is none, each with what there is.

    Example:
        >>> list(prunable(nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.Linear(3, 1))))
        ['0.weight', '2.weight']
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"the model must be an nn.Module, got {type(model).__name__}")
    found = {name: layer.weight for name, layer in model.named_modules() if isinstance(layer, _LAYERS)}
    if not found:
        raise ValueError(f"{type(model).__name__} holds no linear or convolution layer: there is nothing to prune")
    if layers is not None:
        if isinstance(layers, str):
            raise TypeError(f"layers must be a list of names, got the text {layers!r}: put it into brackets")
        wanted = list(layers)
        if unknown := [name for name in wanted if name not in found]:
            raise ValueError(f"layers names {unknown}, which cannot be pruned; these can: {', '.join(found)}")
        found = {name: found[name] for name in wanted}
    first: dict[int, str] = {}
    for name, weight in found.items():
        first.setdefault(id(weight), name)
    return {_parameter(name): found[name] for name in first.values()}


@overload
def magnitude_mask(target: Tensor, sparsity: float, *, scope: str = "global") -> Tensor: ...
@overload
def magnitude_mask(
    target: nn.Module,
    sparsity: float | Mapping[str, float],
    *,
    scope: str = "global",
    layers: Iterable[str] | None = None,
) -> Masks: ...
def magnitude_mask(
    target: Tensor | nn.Module,
    sparsity: float | Mapping[str, float],
    *,
    scope: str = "global",
    layers: Iterable[str] | None = None,
) -> Tensor | Masks:
    r"""Keep the weights that are largest in absolute value.

    .. math:: m_i = 1 \text{ unless } |w_i| \text{ is among the } \operatorname{round}(s\,n) \text{ smallest of } n

    Nothing is changed: the mask is only computed, :func:`apply_mask` zeroes. The masks are those of
    ``torch.nn.utils.prune``, ties included.

    Args:
        target: a weight of any shape; or a model, whose :func:`prunable` weights are meant.
        sparsity: s, the share of weights that go, from 0 up to but not including 1; for a model also a dictionary,
            layer name to share, for those layers alone.
        scope: ``"global"`` compares all weights of the model with each other, ``"layer"`` those within a layer,
            ``"row"`` those of one output or filter.
        layers: names of the layers to prune; all by default.

    Returns:
        For a tensor a bool tensor of its shape, for a model parameter name to bool tensor; True stays.

    Raises:
        TypeError, ValueError: a sparsity outside [0, 1), another scope, a layer that cannot be pruned, NaN.

    References:
        Han, Pool, Tran, Dally (2015), Learning both Weights and Connections for Efficient Neural Networks,
        arXiv 1506.02626.

    Example:
        >>> magnitude_mask(torch.tensor([0.1, -2.0, 0.3, -0.2]), 0.5).tolist()
        [False, True, True, False]
    """
    if isinstance(target, Tensor):
        if isinstance(sparsity, Mapping) or layers is not None:
            raise TypeError("a tensor has no layers: give its sparsity as one number, or pass the model")
        return score_mask({"weight": target.detach().abs()}, sparsity, scope=scope)["weight"]
    if isinstance(sparsity, Mapping):
        shares = {_parameter(name): share for name, share in sparsity.items()}
        weights = prunable(target, sparsity)
        return {name: magnitude_mask(weight, shares[name], scope=scope) for name, weight in weights.items()}
    return score_mask({name: w.detach().abs() for name, w in prunable(target, layers).items()}, sparsity, scope=scope)


def score_mask(scores: Mapping[str, Tensor], sparsity: float, *, scope: str = "global") -> Masks:
    """Keep the weights with the highest scores, whatever the score is.

    Args:
        scores: by parameter name, each of its parameter's shape, such as :func:`kdlab.pruning.obd_saliency` gives.
        sparsity: share of weights that go, in [0, 1).
        scope: ``"global"`` over all of them, ``"layer"`` within each tensor, ``"row"`` within each output row or
            filter, the same number in each.

    Raises:
        TypeError, ValueError: as :func:`magnitude_mask`.

    Example:
        >>> score_mask({"a": torch.tensor([[1.0, 2, 3, 4]]), "b": torch.tensor([[5.0, 6, 7, 8]])}, 0.5)["a"].tolist()
        [[False, False, False, False]]
    """
    sparsity = check_sparsity(sparsity)
    scopes = ("global", "layer", "row")
    if scope not in scopes:
        raise ValueError(f"scope must be one of {', '.join(scopes)}, got {scope!r}")
    if not scores:
        raise ValueError("scores is empty: there is nothing to prune")
    for name, score in scores.items():
        _check_no_nan(score, name)
        if scope == "row" and score.dim() < 2:
            raise ValueError(f"scope='row' needs rows, but {name!r} has shape {list(score.shape)}")
    if scope == "global":
        together = torch.cat([score.reshape(-1) for score in scores.values()])
        kept = _keep_largest(together, sparsity)
        parts = kept.split([score.numel() for score in scores.values()])
        return {name: part.view_as(scores[name]) for name, part in zip(scores, parts, strict=True)}
    if scope == "layer":
        return {name: _keep_largest(score.reshape(-1), sparsity).view_as(score) for name, score in scores.items()}
    return {
        name: torch.stack([_keep_largest(row, sparsity) for row in score.flatten(1)]).view_as(score)
        for name, score in scores.items()
    }


def random_mask(model: nn.Module, sparsity: float, *, seed: int, scope: str = "layer") -> Masks:
    """Keep weights by lot: the control that any score has to beat.

    Args:
        model: its :func:`prunable` weights are meant.
        sparsity: share of weights that go, in [0, 1).
        seed: fixes the lot.
        scope: as in :func:`score_mask`.
    """
    generator = torch.Generator().manual_seed(seed)
    scores = {name: torch.rand(weight.shape, generator=generator) for name, weight in prunable(model).items()}
    masks = score_mask(scores, sparsity, scope=scope)
    return {name: masks[name].to(weight.device) for name, weight in prunable(model).items()}


def apply_mask(model: nn.Module, masks: Mapping[str, Tensor]) -> None:
    """Set the weights that a mask drops to zero, in place; the others keep every bit.

    Once is not enough where training goes on: the optimizer's momentum and weight decay move a weight whose gradient
    is zero. Hand it to the training loop, ``fit(..., after_step=lambda: apply_mask(model, masks))``.

    Args:
        model: the network.
        masks: by parameter name, as :func:`magnitude_mask` returns them.

    Raises:
        TypeError, ValueError: a single mask without a name, a name that the model does not have, or another shape.

    Example:
        >>> layer = nn.Linear(2, 1)
        >>> apply_mask(layer, {"weight": torch.tensor([[True, False]])})
        >>> layer.weight[0, 1].item()
        0.0
    """
    if not isinstance(masks, Mapping):
        raise TypeError(f"masks must be a dictionary, parameter name to mask, got {type(masks).__name__}")
    parameters = dict(model.named_parameters(remove_duplicate=False))  # a shared weight by any of its names
    for name, mask in masks.items():
        if name not in parameters:
            raise ValueError(
                f"masks names {name!r}, which is no parameter of the model: is it another model's mask, or is that "
                "weight computed from others (torch.nn.utils.prune, a parametrization)?"
            )
        if mask.shape != parameters[name].shape or mask.dtype != torch.bool:
            raise ValueError(
                f"the mask of {name!r} must be bool of shape {list(parameters[name].shape)}, got {mask.dtype} of shape "
                f"{list(mask.shape)}: has the layer been replaced since?"
            )
    with torch.no_grad():
        for name, mask in masks.items():
            parameters[name].masked_fill_(~mask, 0)


def sparsity_of(target: nn.Module | Tensor | Mapping[str, Tensor]) -> float:
    """Share of zeros: in a tensor, in a model's :func:`prunable` weights, or of weights that masks drop.

    Example:
        >>> sparsity_of(torch.tensor([0.0, 0.0, 3.0, 4.0]))
        0.5
    """
    if isinstance(target, Tensor):
        tensors = [target]
    else:
        tensors = list((prunable(target) if isinstance(target, nn.Module) else target).values())
    if not sum(t.numel() for t in tensors):
        raise ValueError("there are no weights to count: is the dictionary of masks empty?")
    return 1 - sum(int(t.count_nonzero()) for t in tensors) / sum(t.numel() for t in tensors)


@overload
def nm_mask(target: Tensor, n: int = 2, m: int = 4) -> Tensor: ...
@overload
def nm_mask(target: nn.Module, n: int = 2, m: int = 4, *, layers: Iterable[str] | None = None) -> Masks: ...
def nm_mask(
    target: Tensor | nn.Module, n: int = 2, m: int = 4, *, layers: Iterable[str] | None = None
) -> Tensor | Masks:
    """Keep the n largest of every m consecutive inputs, as sparse tensor cores want it (2 of 4).

    Args:
        target: a weight ``(out, in, ...)``; or a model, whose :func:`prunable` weights are meant. Inputs are counted
            along dimension 1, for a convolution its input channels.
        n: how many of each group stay, from 1 to ``m``.
        m: size of a group; must divide the number of inputs.
        layers: names of the layers to prune; all by default.

    Returns:
        As :func:`magnitude_mask`.

    Raises:
        TypeError, ValueError: n and m that make no pattern, a number of inputs that m does not divide, NaN.

    References:
        Mishra et al. (2021), Accelerating Sparse Deep Neural Networks, arXiv 2104.08378.

    Example:
        >>> nm_mask(torch.tensor([[0.1, -2.0, 0.3, -0.2, 5.0, 1.0, 4.0, 3.0]])).long().tolist()
        [[0, 1, 1, 0, 1, 0, 1, 0]]
    """
    for name, value in (("n", n), ("m", m)):
        if isinstance(value, bool) or not isinstance(value, int):
            raise TypeError(f"{name} must be a whole number, got {value!r}")
    if not 1 <= n <= m:
        raise ValueError(f"n:m must keep from 1 to m of every m weights, got {n}:{m}")
    if isinstance(target, nn.Module):
        return {name: _groups_mask(weight, n, m, name) for name, weight in prunable(target, layers).items()}
    if layers is not None:
        raise TypeError("a tensor has no layers: leave layers out, or pass the model")
    return _groups_mask(target, n, m, "weight")


def gradual_sparsity(step: int, *, begin: int, end: int, final: float, initial: float = 0.0) -> float:
    r"""Sparsity at a step of training: fast at first, where there is much to spare, and slow towards the end.

    .. math:: s(t) = s_f + (s_i - s_f) \left(1 - \frac{t - t_0}{t_1 - t_0}\right)^3

    Args:
        step: t, steps of the optimizer so far; before ``begin`` the result is ``initial``, after ``end`` ``final``.
        begin: first step, :math:`t_0`.
        end: last step, :math:`t_1`, after ``begin``.
        final: sparsity at the end, :math:`s_f`, in [0, 1).
        initial: sparsity before, :math:`s_i`, from 0 to ``final``.

    Raises:
        ValueError: an end that is not after the beginning, or sparsities out of range or falling.

    References:
        Zhu, Gupta (2017), To Prune, or Not to Prune, arXiv 1710.01878.

    Example:
        >>> [round(gradual_sparsity(step, begin=0, end=100, final=0.8), 3) for step in (0, 50, 100)]
        [0.0, 0.7, 0.8]
    """
    final, initial = check_sparsity(final, "final"), check_sparsity(initial, "initial")
    if end <= begin:
        raise ValueError(f"end must come after begin, got {begin} to {end}")
    if initial > final:
        raise ValueError(f"initial must be at most final, got {initial} and {final}: pruned weights do not come back")
    if step <= begin:
        return initial  # the formula would miss it by a rounding error
    rest = 1 - min((step - begin) / (end - begin), 1.0)
    return final + (initial - final) * rest**3


def check_sparsity(value: object, name: str = "sparsity") -> float:
    """``value`` as a float in [0, 1), or an error that says what is wrong with it."""
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{name} must be a number from 0 up to but not including 1, got {value!r}")
    number = float(value)
    if not 0 <= number < 1:  # NaN is neither
        percent = ": is it in percent?" if 1 < number <= 100 and math.isfinite(number) else ""
        everything = ": nothing would be left" if number == 1 else ""
        raise ValueError(f"{name} must lie in [0, 1), the share of weights that go, got {value!r}{percent}{everything}")
    return number


def _parameter(layer: str) -> str:
    return f"{layer}.weight" if layer else "weight"


def _check_no_nan(values: Tensor, name: str) -> None:
    if values.isnan().any():
        raise ValueError(f"{name!r} holds NaN, which is neither large nor small: did the training diverge?")


def _keep_largest(scores: Tensor, sparsity: float) -> Tensor:
    """A bool tensor (n,) that is False for the round(sparsity * n) lowest scores."""
    kept = torch.ones_like(scores, dtype=torch.bool)
    count = round(sparsity * scores.numel())
    if count:
        kept[torch.topk(scores, count, largest=False).indices] = False
    return kept


def _groups_mask(weight: Tensor, n: int, m: int, name: str) -> Tensor:
    if weight.dim() < 2 or weight.shape[1] % m:
        raise ValueError(
            f"{n}:{m} needs a number of inputs that {m} divides; {name} has shape {list(weight.shape)}, inputs are its "
            "dimension 1: leave the layer out, by layers=[...]"
        )
    _check_no_nan(weight, name)
    last = weight.detach().abs().movedim(1, -1)  # (out, ..., in)
    groups = last.reshape(-1, m)
    kept = torch.zeros_like(groups, dtype=torch.bool)
    kept.scatter_(1, groups.topk(n, dim=1).indices, True)
    return kept.view(last.shape).movedim(-1, 1).contiguous()
