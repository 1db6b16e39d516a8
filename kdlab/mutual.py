"""Mutual learning: peers without a teacher, each learning from the labels and from the others."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import combinations, permutations
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kdlab.history import History
from kdlab.logit_checks import (
    check_finite,
    check_label_range,
    check_labels,
    check_logits,
    check_temperature,
    check_weight,
)
from kdlab.losses import kd_loss
from kdlab.training import fit

__all__ = ["Cohort", "mutual_loss", "train_mutually"]


def mutual_loss(logits: Tensor, labels: Tensor, *, temperature: float = 1.0, weight: float = 1.0) -> Tensor:
    r"""Deep mutual learning: each peer learns from the labels, and from every other peer's answers of the moment.

    .. math:: L = \sum_m \Big[\mathrm{CE}(y, p_m^1)
        + \frac{w}{M - 1} \sum_{j \neq m} T^2\, \mathrm{KL}(p_j^T \,\|\, p_m^T)\Big]

    averaged over the batch, with :math:`p_j` detached: one step on the sum moves each peer as one step on its own
    loss would, with the others held fixed. Without the detachment, peer m's loss would also pull the targets
    :math:`p_j` towards its own answers, and all could agree instead of learn.

    References:
        Zhang, Xiang, Hospedales, Lu (2018), Deep Mutual Learning, arXiv 1706.00384 (there T and the weight are 1, and
        the peers take their steps in turn instead of together).

    Args:
        logits: the peers' answers, shape ``(B, M, K)`` with M and K at least 2, floating point and finite, such as a
            :class:`Cohort` returns.
        labels: class indices in ``0 .. K-1``, shape ``(B,)``, integer dtype.
        temperature: T of the mutual term, greater than 0 and at most 1e6.
        weight: weight of the mutual term, at least 0; with 0 the peers train side by side, unaware of each other.

    Returns:
        A scalar, the SUM over peers, never negative but for rounding, float32 or wider.

    Raises:
        TypeError: a tensor or number of the wrong kind.
        ValueError: a value out of range, a shape that does not fit, NaN or infinite logits.

    Example:
        >>> two_peers = torch.tensor([[[2.0, 0.0], [1.0, 0.0]]])
        >>> mutual_loss(two_peers, torch.tensor([0]))
        tensor(0.5899)
    """
    check_logits("logits", logits)
    if logits.dim() != 3 or logits.shape[1] < 2:
        raise ValueError(
            f"logits must be (B, M, K) with M peers, at least 2, got shape {list(logits.shape)}: stack the peers' "
            "answers with torch.stack(answers, dim=1)"
        )
    check_temperature(temperature)
    check_weight("weight", weight)
    if isinstance(labels, Tensor) and labels.shape != logits.shape[:1]:
        raise ValueError(f"labels has shape {list(labels.shape)}, expected {list(logits.shape[:1])}: one per sample")
    check_labels(labels, logits[:, 0])
    check_label_range(labels, logits.shape[-1])
    check_finite("logits", logits)
    peers = logits.to(torch.promote_types(logits.dtype, torch.float32)).unbind(dim=1)  # M times (B, K)
    hard = torch.stack([F.cross_entropy(peer, labels.long()) for peer in peers]).sum()
    pairs = [kd_loss(peer, other, temperature=temperature, alpha=1.0) for peer, other in permutations(peers, 2)]
    return hard + weight / (len(peers) - 1) * torch.stack(pairs).sum()


class Cohort(nn.Module):
    """Peers that look at the same input, as one module.

    Args:
        peers: at least 2 models that return logits ``(B, K)``; they may differ in architecture, and share no weights.

    Shape:
        input as the peers take it, output ``(B, M, K)``: the peers' logits side by side.

    Raises:
        TypeError: a peer that is not a module.
        ValueError: fewer than 2 peers, or two that are one network.

    Example:
        >>> Cohort([nn.Linear(4, 3), nn.Linear(4, 3)])(torch.zeros(5, 4)).shape
        torch.Size([5, 2, 3])
    """

    def __init__(self, peers: Iterable[nn.Module]) -> None:
        super().__init__()
        listed = list(peers)
        for number, peer in enumerate(listed):
            if not isinstance(peer, nn.Module):
                raise TypeError(f"peers[{number}] must be a torch module, got {type(peer).__name__}")
        if len(listed) < 2:
            raise ValueError(f"mutual learning needs at least 2 peers, got {len(listed)}: whom should one learn from?")
        for (i, first), (j, second) in combinations(enumerate(listed), 2):
            if have_weights_in_common(first, second):
                raise ValueError(f"peers[{i}] and peers[{j}] share weights, so they are one network: build each anew")
        self.peers = nn.ModuleList(listed)

    def forward(self, x: Tensor) -> Tensor:
        """Logits of all peers; see the class for shapes."""
        answers = [peer(x) for peer in self.peers]
        if any(answer.shape != answers[0].shape for answer in answers):
            raise ValueError(f"peers must return logits of one shape, got {[list(answer.shape) for answer in answers]}")
        return torch.stack(answers, dim=1)


def train_mutually(
    peers: Sequence[nn.Module],
    images: Tensor,
    labels: Tensor,
    *,
    temperature: float = 1.0,
    weight: float = 1.0,
    **options: Any,
) -> History:
    """Train peers in place by :func:`mutual_loss`, all on the same batches at the same time.

    Args:
        peers: at least 2 models that return logits ``(B, K)``. They are left in evaluation mode.
        images: inputs, shape ``(N, ...)``.
        labels: class indices ``(N,)``.
        temperature: T of the mutual term, as in :func:`mutual_loss`.
        weight: weight of the mutual term, as in :func:`mutual_loss`.
        **options: those of :func:`kdlab.training.fit` (``epochs`` and ``lr`` are required), except ``objective``,
            ``validation`` and ``patience``: a cohort has no single answer to score. Score the peers afterwards.

    Returns:
        The history, as ``fit``; its loss is the sum over the peers.

    Raises:
        TypeError, ValueError: as :func:`mutual_loss`, :class:`Cohort` and ``fit``; an option that does not fit.

    Example:
        >>> peers = [nn.Linear(2, 2), nn.Linear(2, 2)]
        >>> train_mutually(peers, torch.eye(2), torch.tensor([0, 1]), epochs=3, lr=0.1).epochs
        3
    """
    for name in ("validation", "patience"):
        if options.pop(name, None) is not None:
            raise ValueError(
                f"{name} does not fit a cohort: it gives one answer per peer, and fit scores one answer per sample. "
                "Train without, then evaluate each peer"
            )
    if "objective" in options:
        raise TypeError("objective must not be passed: it is mutual_loss here; call fit(Cohort(peers), ...) yourself")
    if labels is None:
        raise ValueError("labels are missing: mutual learning needs them, or untrained peers would only agree")
    check_temperature(temperature)
    check_weight("weight", weight)

    def objective(logits: Tensor, batch_labels: Tensor | None, rows: Tensor) -> Tensor:
        assert batch_labels is not None
        return mutual_loss(logits, batch_labels, temperature=temperature, weight=weight)

    return fit(Cohort(peers), images, labels, objective=objective, **options)


def have_weights_in_common(first: nn.Module, second: nn.Module) -> bool:
    """Whether two models have a parameter in common, or are one object: to train one is to change the other."""
    mine = {id(parameter) for parameter in first.parameters()}
    return first is second or any(id(parameter) in mine for parameter in second.parameters())
