"""Several teachers as one: their logits combined, how far they disagree, and whom to believe on which sample.

Conventions, the same in every function of this module:

* ``logits`` holds M teachers' answers to the same B samples over K classes: a sequence of M tensors ``(B, K)``, or one
  tensor ``(M, B, K)``;
* teachers are detached: nothing here passes a gradient to them;
* natural logarithms, so nats; computed in float64, returned in the widest dtype of the members, float32 at least.

What comes out of the two averages are logits again, so they are passed to ``kd_loss`` or ``distill`` like those of a
single teacher.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from kdlab.logit_checks import check_finite, check_label_range, check_labels, check_logits, check_temperature

__all__ = [
    "agreement_weights",
    "average_logits",
    "average_probabilities",
    "disagreement",
    "label_confidence_weights",
]

Weights = Tensor | Sequence[float]
_FLOAT32_UP_TO = 32.0  # temperatures, as in losses


def average_logits(logits: Tensor | Sequence[Tensor], *, weights: Weights | None = None) -> Tensor:
    r"""The mean of the members' centred logits: a geometric mean of their distributions.

    .. math:: z_k = \sum_m w_m \Big(z_{mk} - \tfrac1K \sum_j z_{mj}\Big), \qquad
        \operatorname{softmax}(z / T)_k \propto \prod_m p_{mk}(T)^{w_m}

    Each member's rows are centred first: a constant per row means nothing to softmax, but would show in the mean. The
    result fits any temperature. In a geometric mean a low probability counts as a factor: only a zero excludes. Where
    members differ in scale, the one with the largest logits has most say.

    References:
        Hinton, Vinyals, Dean (2015), Distilling the Knowledge in a Neural Network, arXiv 1503.02531, section 1: both
        the arithmetic and the geometric mean of an ensemble as teacher.

    Args:
        logits: M times ``(B, K)`` or ``(M, B, K)``, with M at least 1, floating point and finite.
        weights: one per member ``(M,)``, or one per member and sample ``(M, B)``; at least 0, divided by their sum
            over the members. Equal by default.

    Returns:
        Logits ``(B, K)``; each row sums to 0.

    Raises:
        TypeError: a tensor or number of the wrong kind.
        ValueError: shapes that differ, NaN or infinite logits, weights that are negative or sum to 0.

    Example:
        >>> average_logits([torch.tensor([[2.0, 0.0]]), torch.tensor([[10.0, 14.0]])])
        tensor([[-0.5000,  0.5000]])
    """
    members, dtype = _members(logits)
    centred = members - members.mean(dim=-1, keepdim=True)
    return (_shares(weights, members)[..., None] * centred).sum(dim=0).to(dtype)


def average_probabilities(
    logits: Tensor | Sequence[Tensor], *, temperature: float = 1.0, weights: Weights | None = None
) -> Tensor:
    r"""Logits whose soft targets at ``temperature`` are the mean of the members' soft targets there.

    .. math:: z = T \ln \sum_m w_m \operatorname{softmax}(z_m / T)

    ``temperature`` must be the one that the student is trained at. The mean of probabilities at one temperature says
    nothing exact about another: averaged at T = 1 and then distilled at T = 4, the targets are not the mean of the
    members' targets at 4, since softening the mean is not the mean of the softened.

    To learn from this mean is to learn from all members at once: :math:`\sum_m w_m \mathrm{KL}(p_m \| q)` and
    :math:`\mathrm{KL}(\sum_m w_m p_m \| q)` differ by a constant, the members' :func:`disagreement`, so a student gets
    the same gradient from both.

    References:
        Hinton, Vinyals, Dean (2015), Distilling the Knowledge in a Neural Network, arXiv 1503.02531, section 1.

    Args:
        logits: M times ``(B, K)`` or ``(M, B, K)``, with M at least 1, floating point and finite.
        temperature: T, greater than 0, in units of logits.
        weights: one per member ``(M,)``, or one per member and sample ``(M, B)``; at least 0, divided by their sum
            over the members. Equal by default.

    Returns:
        Logits ``(B, K)``, none above 0. Float64 at temperatures above 32, where float32 would lose digits.

    Raises:
        TypeError, ValueError: as :func:`average_logits`; a temperature out of range.

    Example:
        >>> sure, torn = torch.tensor([[0.9, 0.1]]).log(), torch.tensor([[0.5, 0.5]]).log()
        >>> average_probabilities([sure, torn]).softmax(dim=-1)
        tensor([[0.7000, 0.3000]])
    """
    members, dtype = _members(logits)
    log_p = _log_soft(members, temperature)
    log_weights = _shares(weights, members).log()[..., None]
    mean = temperature * torch.logsumexp(log_p + log_weights, dim=0)
    return mean.to(dtype if temperature <= _FLOAT32_UP_TO else torch.float64)


def disagreement(logits: Tensor | Sequence[Tensor], *, temperature: float = 1.0) -> Tensor:
    r"""How far the members disagree on each sample: their generalised Jensen-Shannon divergence, in nats.

    .. math:: D = H\Big(\tfrac1M \sum_m p_m\Big) - \tfrac1M \sum_m H(p_m)
        = \tfrac1M \sum_m \mathrm{KL}\Big(p_m \,\Big\|\, \tfrac1M \sum_j p_j\Big)

    0 where all members give the same distribution, ln M where each is sure of another class. It is the part of the
    ensemble's uncertainty that is not in any member. No factor :math:`T^2` here: it is a measure, not a loss.

    References:
        Lin (1991), Divergence Measures Based on the Shannon Entropy, IEEE Transactions on Information Theory 37.

    Args:
        logits: M times ``(B, K)`` or ``(M, B, K)``, with M at least 2, floating point and finite.
        temperature: T, greater than 0, at which the members answer.

    Returns:
        Shape ``(B,)``, from 0 to ln M.

    Raises:
        TypeError, ValueError: as :func:`average_logits`; a single member, who has nobody to disagree with.

    Example:
        >>> disagreement([torch.tensor([[50.0, 0.0]]), torch.tensor([[0.0, 50.0]])])
        tensor([0.6931])
    """
    members, dtype = _members(logits, least=2)
    log_p = _log_soft(members, temperature)
    log_mean = log_p.logsumexp(dim=0) - math.log(len(members))
    divergence = (log_p.exp() * (log_p - log_mean)).sum(dim=-1).mean(dim=0)
    return divergence.clamp(0, math.log(len(members))).to(dtype)


def agreement_weights(logits: Tensor | Sequence[Tensor], *, temperature: float = 1.0) -> Tensor:
    r"""A weight for each sample that falls with the teachers' disagreement, for ``rowwise_kd_loss``.

    .. math:: a = 1 - D / \ln M

    with :func:`disagreement` D. It needs no label, and cannot see an error that all teachers share.

    Args:
        logits: M times ``(B, K)`` or ``(M, B, K)``, with M at least 2, floating point and finite.
        temperature: T, greater than 0, at which the members answer.

    Returns:
        Shape ``(B,)``: 1 where all agree, towards 0 where each member is sure of another class.

    Raises:
        TypeError, ValueError: as :func:`disagreement`.

    Example:
        >>> agree, differ = torch.tensor([[9.0, 0.0], [9.0, 0.0]]), torch.tensor([[9.0, 0.0], [0.0, 9.0]])
        >>> agreement_weights([agree, differ])
        tensor([1.0000, 0.0018])
    """
    apart = disagreement(logits, temperature=temperature)
    return (1 - apart / math.log(len(logits))).clamp(0, 1)


def label_confidence_weights(logits: Tensor | Sequence[Tensor], labels: Tensor) -> Tensor:
    r"""A weight for each teacher on each sample, by how well it knows that sample's label.

    .. math:: w_m = \frac{1}{M - 1} \Big(1 - \frac{e^{\mathrm{CE}_m}}{\sum_j e^{\mathrm{CE}_j}}\Big)

    with :math:`\mathrm{CE}_m` the teacher's cross-entropy with the label. Since :math:`e^{\mathrm{CE}_m}` is one over
    the probability that the teacher gives the label, two teachers are weighed in proportion to these probabilities. No
    weight exceeds 1 / (M - 1): of three or more teachers, the formula can silence the worst but never heed one alone.

    The paper weighs the teachers' losses; as ``weights`` of :func:`average_probabilities` at the student's temperature
    they give the same gradient (but for the paper's extra factor 1 / M). The labels must be those of the training data:
    a teacher that has learnt them by heart looks confident on all.

    References:
        Zhang, Chen, Wang (2022), Confidence-Aware Multi-Teacher Knowledge Distillation, arXiv 2201.00007.

    Args:
        logits: M times ``(B, K)`` or ``(M, B, K)``, with M at least 2, floating point and finite.
        labels: class indices in ``0 .. K-1``, shape ``(B,)``, integer dtype.

    Returns:
        Shape ``(M, B)``, at least 0, with sum 1 over the teachers.

    Raises:
        TypeError, ValueError: as :func:`average_logits`; a single teacher; labels of the wrong kind, shape or range.

    Example:
        >>> knows, guesses = torch.tensor([[0.9, 0.1]]).log(), torch.tensor([[0.1, 0.9]]).log()
        >>> label_confidence_weights([knows, guesses], torch.tensor([0]))
        tensor([[0.9000],
                [0.1000]])
    """
    members, dtype = _members(logits, least=2)
    if isinstance(labels, Tensor) and labels.shape != members.shape[1:2]:
        raise ValueError(f"labels has shape {list(labels.shape)}, expected {list(members.shape[1:2])}: one per sample")
    check_labels(labels, members[0])
    check_label_range(labels, members.shape[-1])
    where = labels.long()[None, :, None].expand(len(members), -1, 1)
    cross_entropy = -members.log_softmax(dim=-1).gather(-1, where).squeeze(-1)  # (M, B)
    return ((1 - cross_entropy.softmax(dim=0)) / (len(members) - 1)).to(dtype)


def _members(logits: Tensor | Sequence[Tensor], *, least: int = 1) -> tuple[Tensor, torch.dtype]:
    """The members' logits (M, B, K) in float64 without gradients, and the dtype to answer in."""
    if isinstance(logits, Tensor) and logits.dim() != 3:
        raise ValueError(
            f"logits must be (M, B, K) or a sequence of M tensors (B, K), got a tensor of shape {list(logits.shape)}: "
            "a single teacher? Pass [logits]"
        )
    if not isinstance(logits, Tensor | list | tuple):
        raise TypeError(f"logits must be a tensor (M, B, K) or a sequence of tensors, got {type(logits).__name__}")
    if len(logits) < least:
        raise ValueError(f"logits holds {len(logits)} teachers, and at least {least} are needed here")
    dtype = torch.float32
    for number, member in enumerate(logits):
        check_logits(f"logits[{number}]", member)
        if member.dim() != 2 or member.shape != logits[0].shape:
            raise ValueError(
                f"logits[{number}] has shape {list(member.shape)}, logits[0] {list(logits[0].shape)}; all must be the "
                "same (B, K): were they computed on different batches, or by models with different label sets?"
            )
        check_finite(f"logits[{number}]", member)
        dtype = torch.promote_types(dtype, member.dtype)
    return torch.stack([member.detach().double() for member in logits]), dtype


def _shares(weights: Weights | None, members: Tensor) -> Tensor:
    """Weights (M, 1) or (M, B) in float64 with sum 1 over the members."""
    count, samples, _ = members.shape
    if weights is None:
        return members.new_full((count, 1), 1 / count)
    try:
        given = torch.as_tensor(weights, dtype=torch.float64, device=members.device).detach()
    except (TypeError, ValueError, RuntimeError) as error:
        raise TypeError(f"weights must be a tensor or a sequence of numbers, got {weights!r}") from error
    if given.shape not in ((count,), (count, samples)):
        raise ValueError(
            f"weights has shape {list(given.shape)}, allowed are [{count}] (one per member) and [{count}, {samples}] "
            "(one per member and sample)"
        )
    if not (given.isfinite() & (given >= 0)).all():
        raise ValueError(f"weights must be finite and at least 0, got one of {_first_bad(given)}")
    given = given.reshape(count, -1)
    total = given.sum(dim=0)
    if not (total > 0).all():
        where = "" if given.shape[1] == 1 else f" for {int((total == 0).sum())} of {samples} samples"
        raise ValueError(f"weights are all 0{where}: at least one member must count")
    return given / total


def _first_bad(weights: Tensor) -> float:
    return float(weights[~(weights.isfinite() & (weights >= 0))][0])


def _log_soft(members: Tensor, temperature: float) -> Tensor:
    """Logarithms of the members' soft targets at T."""
    check_temperature(temperature)
    shifted = members - members.amax(dim=-1, keepdim=True)  # a row maximum of 0, so that a tiny T cannot overflow
    scaled = shifted / temperature
    if not scaled.isfinite().all():
        raise ValueError(f"temperature={temperature} is too small for logits with gaps of {float(-shifted.min()):.3g}")
    return scaled.log_softmax(dim=-1)
