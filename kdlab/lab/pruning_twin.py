"""The Python twin of the pruning panel: which weights go at a sparsity, and the sentence that says what became of it.

``static/panels/pruning.js`` computes the same from the same whole numbers, and a browser test compares the two.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kdlab.lab.twins import count_text, fixed_text, percent_text

__all__ = [
    "DECIMALS",
    "SCOPES",
    "SPARSITIES",
    "PruningState",
    "bins_of",
    "histogram",
    "pruning_state",
    "pruning_summary",
    "sparsity_text",
    "threshold_text",
]

Stored = Mapping[str, NDArray[np.int64]]
Series = Mapping[str, Sequence[float]]
Sizes = Mapping[str, Sequence[int]]

SPARSITIES = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.93, 0.95, 0.97, 0.98, 0.99)
"""The slider's steps: shares of weights that are zero."""

SCOPES = ("global", "per layer")
"""What is ranked together: all weights, or each layer's own."""

DECIMALS = 5
"""The panel holds weights as whole numbers of the last of these decimals."""

_BINS = (25, 61)  # of a histogram, odd so that zero is the middle of one
_MANY = 1000  # weights of a layer that ask for the finer ones


@dataclass(frozen=True)
class PruningState:
    """Which weights are left at one sparsity.

    Attributes:
        sparsity: the share that was asked for.
        scope: one of ``SCOPES``.
        kept: per layer True where a weight stays, in the layer's shape.
        left: per layer how many stay.
        sizes: per layer how many there are.
        thresholds: per layer the largest magnitude that goes where this layer is ranked; None where nothing goes.
    """

    sparsity: float
    scope: str
    kept: dict[str, NDArray[np.bool_]]
    left: dict[str, int]
    sizes: dict[str, int]
    thresholds: dict[str, float | None]

    @property
    def share_left(self) -> float:
        """Of all weights."""
        return sum(self.left.values()) / sum(self.sizes.values())


def pruning_state(weights: Stored, sparsity: float, scope: str) -> PruningState:
    r"""Magnitude pruning: of n weights ranked together, the round(s n) smallest in magnitude go.

    .. math:: m_i = 1 \;\text{if}\; |w_i| \text{ is not among the } \operatorname{round}(s n) \text{ smallest, else } 0

    Halves round to even, as Python's ``round`` does; of equal magnitudes the earlier goes first, layers in their order.

    Args:
        weights: layer name to whole numbers of ``10 ** -DECIMALS``, shape (out, inputs).
        sparsity: s in [0, 1).
        scope: "global" ranks all layers together, "per layer" each alone.

    Raises:
        ValueError: an unknown scope, or a sparsity out of range.

    References:
        Han, Pool, Tran, Dally (2015), Learning both Weights and Connections, arXiv 1506.02626.

    Example:
        >>> weights = {"a": np.array([[10, -20]]), "b": np.array([[30, 40]])}
        >>> pruning_state(weights, 0.5, "global").left, pruning_state(weights, 0.5, "per layer").left
        ({'a': 0, 'b': 2}, {'a': 1, 'b': 1})
    """
    if scope not in SCOPES:
        raise ValueError(f"scope must be one of {', '.join(SCOPES)}, got {scope!r}")
    if not 0 <= sparsity < 1:
        raise ValueError(f"sparsity must be a share of at least 0 and less than 1, got {sparsity!r}")
    kept: dict[str, NDArray[np.bool_]] = {}
    thresholds: dict[str, float | None] = {}
    for names in [list(weights)] if scope == "global" else [[name] for name in weights]:
        sizes = [np.abs(weights[name]).ravel() for name in names]
        together = np.concatenate(sizes)
        order = np.argsort(together, kind="stable")
        gone = round(sparsity * len(together))
        stays = np.ones(len(together), dtype=np.bool_)
        stays[order[:gone]] = False
        ends = np.cumsum([len(one) for one in sizes])[:-1]
        for name, part in zip(names, np.split(stays, ends), strict=True):
            kept[name] = part.reshape(weights[name].shape)
            thresholds[name] = int(together[order[gone - 1]]) / 10**DECIMALS if gone else None
    return PruningState(
        sparsity=sparsity,
        scope=scope,
        kept=kept,
        left={name: int(mask.sum()) for name, mask in kept.items()},
        sizes={name: mask.size for name, mask in kept.items()},
        thresholds=thresholds,
    )


def histogram(values: NDArray[np.int64], kept: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """How many weights of one layer fall into each of ``bins_of(n)`` equal bins from -max to max, and how many stay.

    Example:
        >>> every, left = histogram(np.array([[-10, 0, 10]]), np.array([[True, False, True]]))
        >>> int(every.sum()), int(left.sum()), int(every[12]), int(left[12])
        (3, 2, 1, 0)
    """
    bins = bins_of(values.size)
    largest = max(1, int(np.abs(values).max()))
    place = np.minimum((values.ravel() + largest) * bins // (2 * largest), bins - 1)
    return (
        np.bincount(place, minlength=bins).astype(np.int64),
        np.bincount(place[kept.ravel()], minlength=bins).astype(np.int64),
    )


def bins_of(size: int) -> int:
    """Bins of the histogram of so many weights."""
    return _BINS[1] if size > _MANY else _BINS[0]


def sparsity_text(sparsity: float) -> str:
    """A step of the slider: 93 %."""
    return f"{round(100 * sparsity)} %"


def threshold_text(threshold: float | None) -> str:
    """What is marked in the histogram, in four decimals."""
    return "nothing goes" if threshold is None else f"t = {fixed_text(threshold, 4)}"


def pruning_summary(
    state: PruningState, layer: str, accuracies: Series, files: Sizes, latency: Series | None = None
) -> str:
    """The state in one line, word for word the line under the panel.

    Args:
        state: what is left.
        layer: the one looked at.
        accuracies: kind to share right for each of ``SPARSITIES``, of this scope.
        files: format to bytes for each of ``SPARSITIES``, of this scope.
        latency: what was timed to (dense time / this time) for each of ``SPARSITIES``.
    """
    step = SPARSITIES.index(state.sparsity)
    right = ", ".join(f"{percent_text(values[step])} {kind}" for kind, values in accuracies.items())
    dense = files["dense"][step]
    sizes = ", ".join(
        f"{name} {count_text(values[step])}{' (larger than dense)' if values[step] > dense else ''}"
        for name, values in files.items()
    )
    words = (
        f"sparsity {sparsity_text(state.sparsity)}, {state.scope}: {count_text(sum(state.left.values()))} of "
        f"{count_text(sum(state.sizes.values()))} weights left, in {layer} {count_text(state.left[layer])} of "
        f"{count_text(state.sizes[layer])} ({threshold_text(state.thresholds[layer])}); right: {right}; "
        f"bytes of the file: {sizes}"
    )
    if not latency:
        return words
    times = ", ".join(f"{fixed_text(values[step], 2)}× on {name}" for name, values in latency.items())
    return f"{words}; speed (dense is 1×): {times}"
