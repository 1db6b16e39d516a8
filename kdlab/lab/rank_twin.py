"""The Python twin of the rank panel: a matrix cut to rank r, with the difference taken and measured.

``static/panels/rank.js`` cuts by projecting the rows on left singular vectors, and takes its errors from sums over the
components that are dropped (:func:`components`). Here the factors are truncated and multiplied, inputs whitened and
brought back; a browser test compares the two.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kdlab.lab.twins import count_text, percent_text

__all__ = [
    "KINDS",
    "Components",
    "RankState",
    "break_even",
    "components",
    "packed_components",
    "packed_weight",
    "rank_state",
    "spectrum_decades",
]

Array = NDArray[np.float64]

KINDS = ("plain", "activation-aware")
"""Which error the factors make smallest: of the weights, or of what the layer gives for its inputs."""

_RIDGE = 1e-6  # of the mean second moment: an input that is always zero must not stop the whitening
_DIGITS = 9999


@dataclass(frozen=True)
class RankState:
    """A matrix W of shape (m, n) cut to rank r.

    Attributes:
        rank: r.
        kind: one of ``KINDS``.
        spectrum: singular values of W, or of W C^(1/2) in the activation-aware kind, shape (min(m, n),).
        approximation: W_r, shape (m, n).
        energy: share of the squared ``spectrum`` that r values hold.
        parameters: r (m + n), of the two factors.
        dense_parameters: m n.
        weight_error: ||W - W_r|| / ||W||, Frobenius norms.
        output_errors: for each of ``KINDS`` at this rank ||(W - W_r) C^(1/2)|| / ||W C^(1/2)||, the root of the mean
            squared error of the outputs over their mean square; empty without a covariance.
    """

    rank: int
    kind: str
    spectrum: Array
    approximation: Array
    energy: float
    parameters: int
    dense_parameters: int
    weight_error: float
    output_errors: dict[str, float]

    def summary(self, *, accuracy: float, dense_accuracy: float) -> str:
        """The state in one line with what was measured, word for word the line under the panel."""
        larger = ", so more than without" if self.parameters > self.dense_parameters else ""
        outputs = ", ".join(f"{name} {percent_text(error)}" for name, error in self.output_errors.items())
        return (
            f"rank {self.rank}, {self.kind}: {count_text(self.parameters)} parameters, "
            f"{percent_text(self.parameters / self.dense_parameters)} of the dense {count_text(self.dense_parameters)}"
            f"{larger}; relative error of the weights {percent_text(self.weight_error)}"
            + (f", of the outputs {outputs}" if outputs else "")
            + f"; {percent_text(accuracy)} right (dense: {percent_text(dense_accuracy)})"
        )


@dataclass(frozen=True)
class Components:
    """What the panel is given of one kind: k = min(m, n) components, from the largest singular value to the smallest.

    Attributes:
        left: left singular vectors u_k as columns, shape (m, k); W_r is the sum of u_k (u_k^T W) over the first r.
        spectrum: singular values, shape (k,).
        weight_shares: ||u_k^T W||^2 / ||W||^2, shape (k,).
        output_shares: the same of W C^(1/2); None without a covariance.
    """

    left: Array
    spectrum: Array
    weight_shares: Array
    output_shares: Array | None


def rank_state(weight: Array, rank: int, *, kind: str = "plain", covariance: Array | None = None) -> RankState:
    r"""Everything the rank panel shows of one rank by arithmetic alone.

    .. math:: W_r = U_r \Sigma_r V_r^T \ (\text{plain}), \qquad W_r = U_r \Sigma_r V_r^T C^{-1/2} \text{ where }
              U \Sigma V^T = W C^{1/2} \ (\text{activation-aware})

    The first is the nearest matrix of rank r; the second the one whose outputs are nearest, for inputs x with second
    moment C = E[x x^T]: the mean of ||(W - W_r) x||^2 is ||(W - W_r) C^(1/2)||^2.

    Args:
        weight: W, shape (m, n), outputs by inputs.
        rank: r, from 1 to min(m, n).
        kind: one of ``KINDS``.
        covariance: C, shape (n, n); the activation-aware kind needs it. A millionth of its mean diagonal is added.

    Raises:
        ValueError: an unknown kind, or no covariance where one is needed.

    References:
        Eckart, Young (1936), The approximation of one matrix by another of lower rank, Psychometrika 1.
        Yuan et al. (2023), ASVD: Activation-aware Singular Value Decomposition, arXiv 2312.05821, for the idea of
        weighting by activations; Wang et al. (2024), SVD-LLM, arXiv 2403.07378, for whitening.

    Example:
        >>> weight, seen = np.diag([3.0, 4.0]), np.diag([4.0, 1.0])
        >>> state = rank_state(weight, 1, covariance=seen)  # keeps the 4, though its input is small
        >>> round(state.weight_error, 3), {name: round(error, 3) for name, error in state.output_errors.items()}
        (0.6, {'plain': 0.832, 'activation-aware': 0.555})
    """
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(KINDS)}, got {kind!r}")
    m, n = weight.shape
    root = None if covariance is None else _root(covariance)
    kinds = KINDS if root is not None else KINDS[:1]
    cut = {name: _truncated(weight, rank, root if name != "plain" else None) for name in kinds}
    if kind not in cut:
        raise ValueError("kind 'activation-aware' needs a covariance of the layer's inputs, got None")
    spectrum, approximation = cut[kind]
    outputs = {} if root is None else {name: _error(weight @ root, one @ root) for name, (_, one) in cut.items()}
    squares = spectrum**2
    return RankState(
        rank=rank,
        kind=kind,
        spectrum=spectrum,
        approximation=approximation,
        energy=float(squares[:rank].sum() / squares.sum()),
        parameters=rank * (m + n),
        dense_parameters=m * n,
        weight_error=_error(weight, approximation),
        output_errors=outputs,
    )


def components(weight: Array, *, kind: str = "plain", covariance: Array | None = None) -> Components:
    """The singular components of W, or of W C^(1/2), and how much of weights and outputs each of them holds.

    Both kinds are projections of W on left singular vectors, since the C^(1/2) cancels:
    U_r U_r^T W C^(1/2) C^(-1/2). So u_k and W are all that a page needs. Arguments as :func:`rank_state`.

    Example:
        >>> components(np.diag([3.0, 4.0])).weight_shares.round(2).tolist()
        [0.64, 0.36]
    """
    root = None if covariance is None else _root(covariance)
    seen = weight if root is None else weight @ root
    left, spectrum, _ = np.linalg.svd(weight if kind == "plain" else seen, full_matrices=False)
    largest = np.abs(left).argmax(axis=0)
    left = left * np.sign(left[largest, np.arange(left.shape[1])])  # a vector's sign is free: the same on every machine
    outputs = None if root is None else _shares(left, seen)
    return Components(left, spectrum, _shares(left, weight), outputs)


def break_even(m: int, n: int) -> int:
    """The largest rank whose two factors have fewer parameters than the matrix: r (m + n) < m n.

    Example:
        >>> break_even(16, 72), break_even(16, 16)
        (13, 7)
    """
    return (m * n - 1) // (m + n)


def spectrum_decades(spectra: Sequence[Array]) -> int:
    """Powers of ten under the largest singular value that an axis shows, 1 to 4; what is smaller lies on its end."""
    smallest = min(float((one / one[0]).min()) for one in spectra)
    return min(4, max(1, math.ceil(-math.log10(max(smallest, 1e-4)) - 1e-9)))


def packed_weight(weight: Array) -> dict[str, Any]:
    """W as whole numbers of one unit, row by row: four digits each, and short."""
    unit = float(f"{float(np.abs(weight).max()) / _DIGITS:.6g}")
    return {"unit": unit, "values": [round(float(value) / unit) for value in weight.flat]}


def packed_components(made: Components) -> dict[str, Any]:
    """The same of one kind's components: vectors one after the other, their entries at most 1."""
    return {
        "spectrum": _short(made.spectrum),
        "weightShares": _short(made.weight_shares),
        "outputShares": None if made.output_shares is None else _short(made.output_shares),
        "left": [round(float(value) * _DIGITS) for value in made.left.T.flat],
        "unit": 1 / _DIGITS,
    }


def _truncated(weight: Array, rank: int, root: Array | None) -> tuple[Array, Array]:
    """The spectrum, and the matrix of this rank whose error after ``root`` is smallest."""
    left, spectrum, right = np.linalg.svd(weight if root is None else weight @ root, full_matrices=False)
    cut: Array = left[:, :rank] * spectrum[:rank] @ right[:rank]
    if root is not None:
        cut = np.asarray(np.linalg.solve(root, cut.T).T, dtype=np.float64)  # root is symmetric
    return spectrum, cut


def _root(covariance: Array) -> Array:
    """The symmetric root of a covariance with its ridge."""
    values, vectors = np.linalg.eigh((covariance + covariance.T) / 2)
    ridge = _RIDGE * float(np.trace(covariance)) / len(covariance)
    root: Array = vectors * np.sqrt(np.maximum(values, 0) + ridge) @ vectors.T
    return root


def _shares(left: Array, matrix: Array) -> Array:
    energies: Array = ((left.T @ matrix) ** 2).sum(axis=1)
    return energies / float((matrix**2).sum())


def _error(exact: Array, approximation: Array) -> float:
    return float(np.linalg.norm(exact - approximation) / np.linalg.norm(exact))


def _short(values: Array) -> list[float]:
    """Six digits, of small ones too: an error is a sum of those that are dropped."""
    return [float(f"{value:.6g}") for value in values]
