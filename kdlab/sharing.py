r"""Weight sharing: a codebook of few values per layer, and for every weight the number of its value.

With K values a weight costs :math:`\lceil \log_2 K \rceil` bits in place of 32. The codebook stays trainable: moving
one of its values moves every weight that shares it, so its gradient is the sum of theirs.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from kdlab.low_rank import check_own_weight, check_plain, check_whole
from kdlab.measure import model_bytes

__all__ = ["SharedWeights", "kmeans_1d", "share_weights", "shared_bytes"]

_KINDS = (nn.Linear, nn.modules.conv._ConvNd)
_STARTS = ("linear", "density", "forgy")
_STEPS = 1000


class SharedWeights(nn.Module):
    """The parametrization that :func:`share_weights` registers: a weight that is ``codebook[index]``.

    In a shared layer, ``layer.parametrizations.weight.original`` is the codebook ``(K,)``, a parameter, and
    ``layer.parametrizations.weight[0].index`` the index in the weight's shape, a buffer in the smallest integer type
    that holds K numbers. Both are in the ``state_dict``. Assigning to ``layer.weight`` sets each value of the codebook
    to the mean of the weights that share it.

    Args:
        index: integers from 0 to ``clusters - 1``, in the weight's shape.
        clusters: K.

    Example:
        >>> shared = SharedWeights(torch.tensor([[0, 1], [1, 0]]), 2)
        >>> shared(torch.tensor([0.5, -2.0]))
        tensor([[ 0.5000, -2.0000],
                [-2.0000,  0.5000]])
    """

    index: Tensor

    def __init__(self, index: Tensor, clusters: int) -> None:
        super().__init__()
        self.clusters = clusters
        self.register_buffer("index", index.to(_smallest_type(clusters)))

    def forward(self, codebook: Tensor) -> Tensor:
        """The weight from its codebook ``(K,)``."""
        return codebook.index_select(0, self.index.flatten().int()).view(self.index.shape)

    def right_inverse(self, weight: Tensor) -> Tensor:
        """The codebook that comes closest to a weight: the mean of each group."""
        where = self.index.flatten().int()
        sums = weight.new_zeros(self.clusters, dtype=torch.float64).index_add(0, where, weight.flatten().double())
        counts = torch.bincount(where, minlength=self.clusters).clamp(min=1)
        return (sums / counts).to(weight.dtype)


def kmeans_1d(values: Tensor, clusters: int, *, initial: str = "linear", seed: int = 0) -> tuple[Tensor, Tensor]:
    r"""K-means on numbers: K centroids that make :math:`\sum_i (v_i - c_{k(i)})^2` small.

    Lloyd's algorithm, on sorted values: a cluster is then a stretch between two midpoints, and its mean a difference of
    two running sums, so a step costs :math:`K \log N`. It ends where no value changes cluster: a local minimum, which
    hangs on the start. A cluster that lost all its values starts again at the value that lies worst.

    References:
        Lloyd (1982), Least Squares Quantization in PCM, IEEE Transactions on Information Theory 28. The three starts:
        Han, Mao, Dally (2016), Deep Compression, arXiv 1510.00149, section 3.2.

    Args:
        values: any shape, floating point and finite.
        clusters: K, from 1 to the number of distinct values.
        initial: where the centroids start. ``linear``: evenly from the smallest value to the largest, which the paper
            found best since it keeps the few large weights; ``density``: at evenly spaced quantiles; ``forgy``: at K
            distinct values drawn at random.
        seed: of that draw; the other two starts use no randomness.

    Returns:
        The centroids ``(K,)`` from the smallest up, in the values' dtype, and the number of each value's centroid, in
        the values' shape, int64.

    Raises:
        TypeError: values that are no floating-point tensor.
        ValueError: too many clusters or none, an unknown start, values that are empty, NaN or infinite.

    Example:
        >>> centroids, index = kmeans_1d(torch.tensor([1.0, 9.0, 3.0, 11.0]), 2)
        >>> centroids, index
        (tensor([ 2., 10.]), tensor([0, 1, 0, 1]))
    """
    _check_values("values", values)
    if initial not in _STARTS:
        raise ValueError(f"initial must be one of {', '.join(_STARTS)}, got {initial!r}")
    check_whole("seed", seed, least=0)
    ordered, order = values.detach().flatten().double().sort()
    _check_clusters("clusters", clusters, "values has", ordered)
    counts = _lloyd(ordered, _start(ordered, clusters, initial, seed)).diff()
    sorted_index = torch.repeat_interleave(torch.arange(clusters, device=values.device), counts)
    index = torch.empty_like(order).scatter_(0, order, sorted_index).view(values.shape)
    return SharedWeights(index, clusters).right_inverse(values.detach()), index


def share_weights(
    target: nn.Module, clusters: int | Mapping[str, int], *, initial: str = "linear", seed: int = 0
) -> Any:
    r"""A copy of a layer or model in which weights share few values, one codebook per layer.

    .. math:: W_{ij} = c_{k(i, j)}, \qquad
        \frac{\partial L}{\partial c_k} = \sum_{(i, j):\, k(i, j) = k} \frac{\partial L}{\partial W_{ij}}

    The values come from :func:`kmeans_1d`; afterwards the copy trains like any model, with the assignment fixed.
    Biases, norms and embeddings stay as they are, as does the joint matrix of torch's attention, which is in no layer.

    References:
        Han, Mao, Dally (2016), Deep Compression, arXiv 1510.00149, section 3.

    Args:
        target: a linear or convolution layer, or a model, whose linear and convolution layers are then all shared;
            left as it is.
        clusters: K, the same for every layer, or layer name to K for some of them.
        initial: where the centroids start, as in :func:`kmeans_1d`.
        seed: of ``initial="forgy"``, the same for every layer.

    Returns:
        The copy; see :class:`SharedWeights` for where codebook and indices are.

    Raises:
        TypeError: no module, or a named layer without such a weight.
        ValueError: more clusters than distinct weights in a layer, a name that the model has not, a weight that is
            computed from other tensors or tied to another layer's, a model with nothing to share.

    Example:
        >>> layer = share_weights(nn.Linear(64, 10), 16)
        >>> layer.weight.unique().numel(), layer.parametrizations.weight.original.shape
        (16, torch.Size([16]))
    """
    wanted = _wanted(target, clusters)
    shared = copy.deepcopy(target)
    for name, count in wanted.items():
        layer: Any = shared.get_submodule(name)
        label = name or "target"
        _check_clusters("clusters", count, f"the weight of {label} has", layer.weight.detach().flatten().sort().values)
        _, index = kmeans_1d(layer.weight, count, initial=initial, seed=seed)
        parametrize.register_parametrization(layer, "weight", SharedWeights(index, count))
        layer.train(layer.training)  # what was registered too
    return shared


def shared_bytes(model: nn.Module) -> int:
    r"""Bytes of a shared model when stored packed: :math:`\lceil \log_2 K \rceil` bits per index, and the rest.

    Codebooks, biases and all else count as :func:`kdlab.measure.model_bytes` counts them, which compares it with the
    original's bytes. Each layer's indices are rounded up to whole bytes. In memory an index takes a whole byte or more.

    Args:
        model: what :func:`share_weights` returned.

    Raises:
        ValueError: nothing in the model is shared.

    Example:
        >>> layer = nn.Linear(64, 16, bias=False)
        >>> model_bytes(layer), shared_bytes(share_weights(layer, 16))  # 1024 half bytes and 16 values of four
        (4096, 576)
    """
    parts = [part for part in model.modules() if isinstance(part, SharedWeights)]
    if not parts:
        raise ValueError("model shares no weights: did you pass the original? share_weights returns a copy")
    packed = sum(-(-part.index.numel() * (part.clusters - 1).bit_length() // 8) for part in parts)
    return model_bytes(model) - sum(part.index.untyped_storage().nbytes() for part in parts) + packed


def _start(ordered: Tensor, clusters: int, initial: str, seed: int) -> Tensor:
    """Where the centroids start, ``(K,)``."""
    if initial == "linear":
        steps = torch.linspace(0, 1, clusters, dtype=torch.float64, device=ordered.device)
        return ordered[0] * (1 - steps) + ordered[-1] * steps if clusters > 1 else ordered.mean()[None]
    if initial == "density":
        places = (torch.arange(clusters, device=ordered.device) + 0.5) / clusters * len(ordered)
        return ordered[places.long()]
    distinct = ordered.unique()
    drawn = torch.randperm(len(distinct), generator=torch.Generator().manual_seed(seed))[:clusters]
    return distinct[drawn.to(ordered.device)]


def _lloyd(ordered: Tensor, centroids: Tensor) -> Tensor:
    """Where each cluster's stretch of the sorted values ends, after a 0 for where the first begins: ``(K + 1,)``."""
    sums = torch.cat([ordered.new_zeros(1), ordered.cumsum(0)])
    before = ordered.new_empty(0, dtype=torch.int64)
    clusters = len(centroids)
    for _ in range(_STEPS + 10 * clusters):  # a bound that rounding alone could reach
        centroids = centroids.sort().values
        middles = (centroids[1:] + centroids[:-1]) / 2
        ends = torch.searchsorted(ordered, middles)
        ends = torch.cat([ends.new_zeros(1), ends, ends.new_full((1,), len(ordered))])
        counts = ends.diff()
        if not counts.all():
            mine = torch.repeat_interleave(centroids, counts)
            centroids[counts.argmin()] = ordered[(ordered - mine).abs().argmax()]
            continue
        if torch.equal(ends, before):
            break
        before, centroids = ends, sums[ends].diff() / counts
    return ends


def _wanted(target: nn.Module, clusters: int | Mapping[str, int]) -> dict[str, int]:
    """Layer name to number of clusters, each layer once; the empty name is the target itself."""
    if not isinstance(target, nn.Module):
        raise TypeError(f"target must be a layer or a model, got {type(target).__name__}")
    known = {name: part for name, part in target.named_modules(remove_duplicate=False) if isinstance(part, _KINDS)}
    if not known:
        raise ValueError(f"target has no linear or convolution layer: a {type(target).__name__} has nothing to share")
    if not isinstance(clusters, Mapping):
        clusters = {name: clusters for name, part in target.named_modules() if isinstance(part, _KINDS)}
    for name in clusters:
        if name not in known:
            raise ValueError(
                f"clusters names {name!r}, which is none of the linear and conv layers: {', '.join(known)}"
            )
        check_plain(name or "target", known[name])
        check_own_weight(target, name or "target", known[name])
    if not clusters:
        raise ValueError("clusters is empty: name at least one layer, or give one number for all")
    if len({id(known[name]) for name in clusters}) < len(clusters):
        raise ValueError(f"clusters names one layer twice, under two of its names: {', '.join(clusters)}")
    return dict(clusters)


def _smallest_type(clusters: int) -> torch.dtype:
    return torch.uint8 if clusters <= 2**8 else torch.int16 if clusters <= 2**15 else torch.int32


def _check_values(name: str, values: object) -> None:
    if not isinstance(values, Tensor) or not values.is_floating_point():
        kind = values.dtype if isinstance(values, Tensor) else type(values).__name__
        raise TypeError(f"{name} must be a floating-point tensor, got {kind}")
    if not values.numel() or not values.isfinite().all():
        raise ValueError(f"{name} must be finite and not empty, got shape {list(values.shape)}: did the model diverge?")


def _check_clusters(name: str, clusters: object, whose: str, ordered: Tensor) -> None:
    check_whole(name, clusters)
    distinct = int((ordered.diff() != 0).sum()) + 1
    if clusters > distinct:  # type: ignore[operator]
        raise ValueError(
            f"{name}={clusters} is too many: {whose} only {distinct} distinct values. A small layer, or one that was "
            "quantized or pruned? Give layers their own number: clusters={name: number}"
        )
