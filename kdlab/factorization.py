"""Fewer numbers behind the same layers: low rank, shared weights, shared embedding rows, folded norms.

A pruned layer says that weights are not needed; here every weight stays, and is computed from fewer numbers. This
module is the one face of the idea; what it names lives in four files, one per question:

* ``low_rank``: a matrix as a product of two thin ones. :func:`spectrum` and :func:`energy_kept` say what a rank keeps,
  :func:`break_even_rank` which ranks save anything, :func:`low_rank_linear`, :func:`low_rank_conv` and here
  :func:`factorize` replace layers, :func:`reconstruction_error` says what was lost;
* ``sharing``: a codebook and an index per weight. :func:`kmeans_1d` finds them, :func:`share_weights` puts them into a
  layer, whose codebook (:class:`SharedWeights`) is trained on, :func:`shared_bytes` is the size when packed;
* ``hashed_embeddings``: fewer rows than ids. :class:`HashedEmbedding`, :class:`QuotientRemainderEmbedding`,
  :func:`collisions`;
* ``folding``: a norm that becomes part of the layer before it, at no loss. :func:`fold_batch_norm`.

Conventions: what is given is never changed, the result is a copy; dtype, device and train or eval mode are the
layer's, frozen weights stay frozen; decomposing and clustering is done in float64. A matrix is ``(out, in)`` as torch
stores it, a convolution's ``(out, in * kh * kw)``.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from kdlab.folding import fold_batch_norm
from kdlab.hashed_embeddings import HashedEmbedding, QuotientRemainderEmbedding, collisions
from kdlab.layer_inputs import sums_over_inputs
from kdlab.low_rank import (
    KINDS,
    Layer,
    break_even_rank,
    check_kind,
    check_own_weight,
    energy_kept,
    factored,
    low_rank_conv,
    low_rank_linear,
    reconstruction_error,
    second_moment,
    spectrum,
)
from kdlab.sharing import SharedWeights, kmeans_1d, share_weights, shared_bytes

__all__ = [
    "HashedEmbedding",
    "QuotientRemainderEmbedding",
    "SharedWeights",
    "break_even_rank",
    "collisions",
    "energy_kept",
    "factorize",
    "fold_batch_norm",
    "kmeans_1d",
    "low_rank_conv",
    "low_rank_linear",
    "reconstruction_error",
    "share_weights",
    "shared_bytes",
    "spectrum",
]


@torch.no_grad()
def factorize(model: nn.Module, ranks: Mapping[str, int], *, inputs: Tensor | None = None) -> nn.Module:
    """A copy of a model in which the named layers are two thin ones each; see :func:`low_rank_linear`.

    A layer that the model holds under several names is replaced under all of them, by one pair. Torch's own attention
    and transformer layers read the weights of their parts by name, so theirs cannot be replaced.

    Args:
        model: left as it is.
        ranks: layer name, as in ``named_modules()``, to rank.
        inputs: a batch for the model. The layers' inputs are caught in one pass through the original in evaluation
            mode, and outputs are fitted in place of weights. Padding counts as any other token.

    Returns:
        The copy, with every module in the mode that it had.

    Raises:
        TypeError: a layer that is no plain ``nn.Linear`` or ``nn.Conv2d``.
        ValueError: no name, or one that the model has not; a weight that another layer uses too; a layer that the
            inputs never reached; and as :func:`low_rank_linear`.

    Example:
        >>> from kdlab.measure import count_parameters
        >>> from kdlab.models import MLP
        >>> model = MLP(64, hidden=(256,))
        >>> count_parameters(model), count_parameters(factorize(model, {"layers.0": 8}))
        (19210, 5386)
    """
    layers = _named(model, ranks)
    moments = {} if inputs is None else _tapped(model, layers, inputs)
    compact = copy.deepcopy(model)
    for name, layer in layers.items():
        pair = factored(f"ranks[{name!r}]", layer, ranks[name], moments.get(name))
        for other in _names_of(model, layer):
            compact.set_submodule(other, pair)
    return compact


def _tapped(model: nn.Module, layers: Mapping[str, Layer], inputs: Tensor) -> dict[str, Tensor]:
    """Second moments of the inputs that the layers get when the model is given ``inputs``."""
    if not isinstance(inputs, Tensor):
        raise TypeError(f"inputs must be a tensor, a batch for the model, got {type(inputs).__name__}")

    def moment(name: str, layer: Layer, given: object) -> Tensor:
        return second_moment(f"the input of {name}", layer, given)

    moments = sums_over_inputs(model, layers.items(), moment, inputs)
    for name in layers:
        if name not in moments:
            raise ValueError(f"inputs never reached {name}: does the model's forward() call it?")
    return moments


def _named(model: nn.Module, ranks: Mapping[str, int]) -> dict[str, Layer]:
    """The layers that ``ranks`` names, each once, checked."""
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be a torch module, got {type(model).__name__}")
    if not isinstance(ranks, Mapping) or not ranks:
        raise ValueError(f"ranks must map at least one layer's name to its rank, got {ranks!r}")
    parts = {name: part for name, part in model.named_modules(remove_duplicate=False) if name}
    chosen: dict[str, Any] = {}
    for name, rank in ranks.items():
        if name not in parts:
            known = ", ".join(name for name, part in parts.items() if type(part) in KINDS) or "none"
            raise ValueError(f"ranks names {name!r}, which the model has not; its linear and conv layers: {known}")
        part = parts[name]
        check_kind(name, part, KINDS)
        check_own_weight(model, name, part)
        twin = next((other for other, one in chosen.items() if one is part), None)
        if twin is None:
            chosen[name] = part
        elif rank != ranks[twin]:
            raise ValueError(f"ranks gives {name!r} rank {rank!r} and {twin!r} {ranks[twin]!r}, but they are one layer")
    return chosen


def _names_of(model: nn.Module, layer: nn.Module) -> list[str]:
    """Every name under which a model holds a layer."""
    return [name for name, part in model.named_modules(remove_duplicate=False) if part is layer]
