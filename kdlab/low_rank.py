"""Low rank: a layer's matrix as a product of two thin ones, which are two layers in its place.

A matrix ``(m, n)`` of rank r is a product ``(m, r) @ (r, n)``: r (m + n) numbers in place of m n. Few trained layers
have a low rank, so the best approximation of one is taken, and best has two meanings here: closest in the weights
(plain), or closest in the outputs on given inputs (activation-aware).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kdlab.layer_inputs import padded

__all__ = [
    "break_even_rank",
    "energy_kept",
    "low_rank_conv",
    "low_rank_linear",
    "reconstruction_error",
    "spectrum",
]

Layer = nn.Linear | nn.Conv2d
KINDS = (nn.Linear, nn.Conv2d)
_RIDGE = 1e-10  # of the inputs' mean eigenvalue: what a direction weighs that they never took; see low_rank_linear
_IMAGES = 64  # at a time, when patches are cut out: each pixel is copied kh * kw times


def break_even_rank(layer: Layer) -> int:
    r"""The largest rank that saves parameters: the largest r with :math:`r (m + n) < m n`.

    Args:
        layer: a linear layer, ``(m, n)``, or a convolution without groups, ``(m, n) = (out, in * kh * kw)``.

    Returns:
        The rank; 0 where even rank 1 saves nothing, as for a single output.

    Raises:
        TypeError, ValueError: another layer, groups, or a weight that is not the layer's own.

    Example:
        >>> break_even_rank(nn.Linear(4096, 1024))
        819
    """
    rows, columns = _matrix("layer", layer).shape
    return (rows * columns - 1) // (rows + columns)


def spectrum(layer: Layer) -> Tensor:
    """Singular values of a layer's matrix, from the largest down: ``(min(m, n),)``, float64.

    Raises:
        TypeError, ValueError: as :func:`break_even_rank`; NaN or infinite weights.

    Example:
        >>> layer = nn.Linear(3, 2)
        >>> _ = layer.weight.data.copy_(torch.tensor([[0.0, 3.0, 0.0], [4.0, 0.0, 0.0]]))
        >>> spectrum(layer)
        tensor([4., 3.], dtype=torch.float64)
    """
    return torch.linalg.svdvals(_matrix("layer", layer))


def energy_kept(spectrum: Tensor | Sequence[float], rank: int) -> float:
    r"""Share of a matrix's squared Frobenius norm that its best approximation of this rank keeps, in [0, 1].

    .. math:: \frac{\sum_{k \le r} \sigma_k^2}{\sum_k \sigma_k^2} = 1 - \frac{\|W - W_r\|_F^2}{\|W\|_F^2}

    Args:
        spectrum: singular values from the largest down, as :func:`spectrum` gives them.
        rank: r, from 1 to their number.

    Raises:
        ValueError: values that are negative, not sorted, all 0 or not finite; a rank out of range.

    Example:
        >>> round(energy_kept([10.0, 5.0, 2.0, 1.0], 2), 3)
        0.962
    """
    values = torch.as_tensor(spectrum, dtype=torch.float64).detach()
    if values.dim() != 1 or not len(values) or not (values.isfinite() & (values >= 0)).all():
        raise ValueError(f"spectrum must be a row of finite values of at least 0, got {_short(values)}")
    if (values.diff() > 0).any() or not values.any():
        raise ValueError(f"spectrum must fall from a largest value above 0, got {_short(values)}: is it unsorted?")
    check_whole("rank", rank, most=len(values), why="the number of singular values")
    squares = (values / values[0]).square()
    return float(squares[:rank].sum() / squares.sum())


@torch.no_grad()
def low_rank_linear(layer: nn.Linear, rank: int, *, inputs: Tensor | None = None) -> nn.Sequential:
    r"""Two thin linear layers in place of one.

    .. math:: W \approx W_r = U_r U_r^\top W, \qquad U_r: \text{first } r \text{ left singular vectors of } W S

    Plain, S is the identity, :math:`W_r = U_r \Sigma_r V_r^\top`, and no matrix of rank r is closer to W in the
    Frobenius norm. With ``inputs`` X, :math:`S S^\top = X^\top X / N`: then :math:`\|(W - W_r) S\|_F` is the root mean
    squared error of the outputs, which no other matrix of rank r makes smaller. (SVD-LLM writes the same matrix as
    :math:`U_r \Sigma_r V_r^\top S^{-1}`; here nothing is inverted.) The product is split evenly: for each k, column k
    of the second layer and row k of the first have the same length, in the plain case the root of the singular value.

    The bias is the second layer's, unchanged: it cancels in the error. The inputs are not centred, so their mean counts
    as a direction like any other. To :math:`X^\top X / N` goes :math:`10^{-10}` of its mean eigenvalue times the
    identity: fewer rows than features, or features that are always 0, leave directions without a say, and rank to spare
    then goes where the weights are large.

    References:
        Eckart, Young (1936), The Approximation of One Matrix by Another of Lower Rank, Psychometrika 1. Denton et al.
        (2014), Exploiting Linear Structure Within Convolutional Networks, arXiv 1404.0736. By outputs: Zhang, Zou, He,
        Sun (2015), arXiv 1505.06798; Wang et al. (2024), SVD-LLM, arXiv 2403.07378.

    Args:
        layer: weight ``(m, n)``; left as it is.
        rank: r, from 1 to :func:`break_even_rank`.
        inputs: what the layer is given, shape ``(..., n)``, to fit the outputs in place of the weights.

    Returns:
        ``Sequential(Linear(n, r, bias=False), Linear(r, m))``, the second with a bias if the layer has one.

    Raises:
        TypeError: no linear layer (a subclass may use its weight in another way), or no floating-point inputs.
        ValueError: a rank that saves nothing, inputs of another width, NaN or infinite values, inputs that are all 0,
            a weight that is computed from other tensors.

    Example:
        >>> low_rank_linear(nn.Linear(64, 32), 8)
        Sequential(
          (0): Linear(in_features=64, out_features=8, bias=False)
          (1): Linear(in_features=8, out_features=32, bias=True)
        )
    """
    check_kind("layer", layer, (nn.Linear,))
    moment = None if inputs is None else second_moment("inputs", layer, inputs)
    return factored("rank", layer, rank, moment)


@torch.no_grad()
def low_rank_conv(layer: nn.Conv2d, rank: int, *, inputs: Tensor | None = None) -> nn.Sequential:
    """A convolution with few channels and a 1x1 convolution in place of one convolution.

    As :func:`low_rank_linear`, on the weight as a matrix ``(out, in * kh * kw)``. Stride, padding (its mode too) and
    dilation are the first convolution's, the bias is the second's. It is another cut than that of Jaderberg et al.
    (2014), arXiv 1405.3866, whose two convolutions are a column and a row.

    References:
        Zhang, Zou, He, Sun (2015), Accelerating Very Deep Convolutional Networks for Classification and Detection,
        arXiv 1505.06798.

    Args:
        layer: weight ``(out, in, kh, kw)``, no groups; left as it is.
        rank: r, from 1 to :func:`break_even_rank`.
        inputs: feature maps that the layer is given, ``(N, in, H, W)``; their patches are the rows of X.

    Returns:
        ``Sequential(Conv2d(in, r, (kh, kw), bias=False), Conv2d(r, out, 1))``.

    Raises:
        TypeError, ValueError: as :func:`low_rank_linear`; groups.

    Example:
        >>> low_rank_conv(nn.Conv2d(16, 32, 3, padding=1), 8)(torch.zeros(1, 16, 8, 8)).shape
        torch.Size([1, 32, 8, 8])
    """
    check_kind("layer", layer, (nn.Conv2d,))
    moment = None if inputs is None else second_moment("inputs", layer, inputs)
    return factored("rank", layer, rank, moment)


@torch.no_grad()
def reconstruction_error(layer: Layer, factors: nn.Sequential) -> float:
    r"""What a pair of layers lost of the weights: :math:`\|W - W_r\|_F / \|W\|_F`, at least 0; 0 if W is 0.

    Args:
        layer: the original.
        factors: what :func:`low_rank_linear` or :func:`low_rank_conv` made of it.

    Raises:
        TypeError, ValueError: no such pair, or one of another layer; the message says which.

    Example:
        >>> layer = nn.Linear(3, 3)
        >>> _ = layer.weight.data.copy_(torch.diag(torch.tensor([4.0, 3.0, 0.0])))
        >>> round(reconstruction_error(layer, low_rank_linear(layer, 1)), 3)
        0.6
    """
    weight = _matrix("layer", layer)
    if not isinstance(factors, nn.Sequential) or len(factors) != 2:
        raise TypeError(
            f"factors must be a Sequential of two layers, got {type(factors).__name__}: see low_rank_linear"
        )
    down, up = (_matrix(f"factors[{k}]", part) for k, part in enumerate(factors))
    if (up.shape[0], down.shape[1], up.shape[1]) != (*weight.shape, down.shape[0]):
        shapes = f"{list(up.shape)} times {list(down.shape)}"
        raise ValueError(f"factors gives {shapes}, the layer has {list(weight.shape)}: of another layer?")
    return float(torch.linalg.norm(weight - up @ down) / (torch.linalg.norm(weight) or 1.0))


def factored(label: str, layer: Layer, rank: int, moment: Tensor | None) -> nn.Sequential:
    """The pair of layers, fitted to the inputs' second moment ``(n, n)`` if there is one."""
    weight = _matrix("layer", layer)
    _check_rank(label, rank, weight, break_even_rank(layer))
    target = weight if moment is None else weight @ _root(moment)
    kept = torch.linalg.svd(target, full_matrices=False).U[:, :rank]  # (m, r)
    down = kept.T @ weight  # (r, n)
    split = torch.linalg.vector_norm(down, dim=1).sqrt()
    down = down / torch.where(split > 0, split, 1.0)[:, None]
    first, second = _empty_pair(layer, rank)
    first.weight.copy_(down.view_as(first.weight)).requires_grad_(layer.weight.requires_grad)
    second.weight.copy_((kept * split).view_as(second.weight)).requires_grad_(layer.weight.requires_grad)
    if layer.bias is not None:
        second.bias.copy_(layer.bias).requires_grad_(layer.bias.requires_grad)
    return nn.Sequential(first, second).train(layer.training)


def _root(moment: Tensor) -> Tensor:
    """S with S S^T = the second moment plus a very small multiple of the identity."""
    values, vectors = torch.linalg.eigh(moment)
    values = values.clamp(min=0)
    return vectors * (values + _RIDGE * values.mean()).sqrt()


def _empty_pair(layer: Layer, rank: int) -> tuple[Any, Any]:
    """Two layers whose weights are not set: to draw them at random would move torch's generator."""
    make, where = nn.utils.skip_init, {"device": layer.weight.device, "dtype": layer.weight.dtype}
    bias = layer.bias is not None
    if isinstance(layer, nn.Linear):
        first = make(nn.Linear, layer.in_features, rank, bias=False, **where)
        return first, make(nn.Linear, rank, layer.out_features, bias=bias, **where)
    keys = ("kernel_size", "stride", "padding", "dilation", "padding_mode")
    options = {key: getattr(layer, key) for key in keys}
    first = make(nn.Conv2d, layer.in_channels, rank, bias=False, **options, **where)
    return first, make(nn.Conv2d, rank, layer.out_channels, 1, bias=bias, **where)


def second_moment(name: str, layer: Layer, inputs: object) -> Tensor:
    """Sum of the outer products of the layer's inputs, or of their patches: ``(n, n)``, float64."""
    rows = _check_inputs(name, layer, inputs).detach().to(layer.weight.device)
    if isinstance(layer, nn.Linear):
        flat = rows.flatten(0, -2).double()
        return _check_moment(name, flat.T @ flat)
    size = layer.weight[0].numel()
    total = rows.new_zeros(size, size, dtype=torch.float64)
    for part in rows.split(_IMAGES):
        patches = F.unfold(
            padded(layer, part), layer.kernel_size, dilation=layer.dilation, stride=layer.stride
        )  # (b, n, places)
        columns = patches.transpose(0, 1).flatten(1).double()
        total += columns @ columns.T
    return _check_moment(name, total)


def check_plain(name: str, layer: nn.Module) -> None:
    """The weight is a parameter of the layer itself."""
    if layer._parameters.get("weight") is None:
        raise ValueError(
            f"{name} has a weight that is computed from other tensors: shared, pruned by torch.nn.utils.prune, or "
            "weight-normed? Make it permanent first (remove_parametrizations, prune.remove)"
        )
    if not layer._parameters["weight"].isfinite().all():  # type: ignore[union-attr]
        raise ValueError(f"{name} has weights that are NaN or infinite: did the model diverge?")


def check_own_weight(model: nn.Module, name: str, layer: nn.Module) -> None:
    """No other layer of the model has the same parameter as its weight."""
    for other, part in model.named_modules():
        if part is not layer and any(one is layer.weight for one in part._parameters.values()):
            raise ValueError(
                f"{name} has its weight in common with {other} (tied): to replace one of them would untie them, and "
                "save nothing. Leave this layer out"
            )


def check_whole(name: str, value: object, *, least: int = 1, most: int | None = None, why: str = "") -> None:
    """A whole number in a range."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least or (most is not None and value > most):
        limits = f"of at least {least}" if most is None else f"from {least} to {most}" + (f" ({why})" if why else "")
        raise ValueError(f"{name} must be a whole number {limits}, got {value!r}")


def _matrix(name: str, layer: object) -> Tensor:
    """The weight as ``(m, n)`` in float64."""
    weight: Tensor = check_kind(name, layer, KINDS).weight
    return weight.detach().double().flatten(1)


def check_kind(name: str, layer: object, kinds: tuple[type, ...]) -> Any:
    """The layer itself, if it is of one of the kinds and its weight is one matrix."""
    if isinstance(layer, kinds):
        check_plain(name, layer)  # type: ignore[arg-type]
    if type(layer) not in kinds:
        wanted = " or ".join(f"nn.{kind.__name__}" for kind in kinds)
        hint = ": a subclass may use its weight in another way" if isinstance(layer, kinds) else ""
        raise TypeError(f"{name} must be an {wanted}, got {type(layer).__name__}{hint}")
    if getattr(layer, "groups", 1) != 1:
        raise ValueError(f"{name} has groups={layer.groups}: its weight is several matrices, and only groups=1 is cut")  # type: ignore[attr-defined]
    return layer


def _check_rank(label: str, rank: object, weight: Tensor, most: int) -> None:
    rows, columns = weight.shape
    if most == 0:
        raise ValueError(f"{label}={rank!r}: no rank saves parameters in a layer of {rows} by {columns} weights")
    if isinstance(rank, int) and not isinstance(rank, bool) and rank > most:
        raise ValueError(
            f"{label}={rank} saves nothing: {rank * (rows + columns):,} weights in the two factors against "
            f"{rows * columns:,} in the layer; at most {most}"
        )
    check_whole(label, rank, most=most, why="beyond, nothing is saved")


def _check_inputs(name: str, layer: Layer, inputs: object) -> Tensor:
    """Floating-point inputs that fit the layer; a single image gets its batch dimension."""
    if not isinstance(inputs, Tensor) or not inputs.is_floating_point():
        kind = inputs.dtype if isinstance(inputs, Tensor) else type(inputs).__name__
        raise TypeError(f"{name} must be a floating-point tensor, got {kind}")
    shape, width = list(inputs.shape), layer.weight.shape[1]
    if isinstance(layer, nn.Conv2d):
        maps = inputs[None] if inputs.dim() == 3 else inputs
        if maps.dim() != 4 or maps.shape[1] != width or not maps.numel():
            raise ValueError(f"{name} must be feature maps (N, {width}, H, W), got shape {shape}: of another layer?")
        return maps
    if inputs.dim() < 1 or shape[-1] != width or not inputs.numel():
        raise ValueError(
            f"{name} must have shape (..., {width}), got {shape}: the layer's outputs, or another's input?"
        )
    return inputs[None] if inputs.dim() == 1 else inputs


def _check_moment(name: str, moment: Tensor) -> Tensor:
    if not moment.isfinite().all():
        raise ValueError(f"{name} holds NaN or values that are infinite or too large to square")
    if not moment.any():
        raise ValueError(f"{name} is 0 everywhere, which says nothing about outputs: a dead layer before this one?")
    return moment


def _short(values: Tensor) -> str:
    shown = values.flatten()[:6].tolist()
    return f"shape {list(values.shape)} starting with {[round(value, 4) for value in shown]}"
