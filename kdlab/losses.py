"""Response-based distillation losses: functions of logits alone.

Conventions, the same in every function of this module:

* the student comes first, the teacher second;
* the last dimension holds the K classes, all leading dimensions are positions (samples, tokens);
* ``alpha`` weighs the SOFT term (some libraries mean the opposite);
* the factor ``temperature**2`` is included wherever a temperature is taken;
* losses are means over positions, of sums over classes; natural logarithms, so nats;
* half precision is computed in float32, and temperatures above 32 in float64, since T squared magnifies the rounding
  of a tiny divergence; a loss is returned in float32 or wider, and is never negative but for rounding;
* the teacher never receives a gradient; second derivatives are right.

A loss that returns a wrong number in silence is worse than one that stops, so arguments are checked (in
``logit_checks``); the check for NaN looks at the result only, and costs one scalar. What each loss must satisfy, and
does, stands in ``loss_properties``.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from kdlab.logit_checks import (
    check_finite,
    check_label_range,
    check_labels,
    check_logits,
    check_same_shape,
    check_share,
    check_temperature,
    check_weight,
    explain_not_finite,
)

__all__ = [
    "dist_loss",
    "dkd_loss",
    "js_loss",
    "kd_loss",
    "label_smoothing_loss",
    "mse_logit_loss",
    "reverse_kl_loss",
    "soft_targets",
]


_FLOAT32_UP_TO, _LARGEST = 32.0, 1e6  # temperatures


def soft_targets(logits: Tensor, temperature: float = 1.0) -> Tensor:
    r"""Softmax with temperature: the soft targets a teacher gives.

    .. math:: p_k(T) = \frac{e^{z_k / T}}{\sum_{j=1}^{K} e^{z_j / T}}

    ``T = 1`` is the ordinary softmax; ``T -> 0`` tends to one-hot at the argmax, ``T -> inf`` to the
    uniform distribution. The order of the classes within a row never changes.

    References:
        Hinton, Vinyals, Dean (2015), Distilling the Knowledge in a Neural Network, arXiv 1503.02531.

    Args:
        logits: unnormalised scores, shape ``(*, K)`` with ``K >= 2``, floating point. A logit of ``-inf``
            (a masked class) gets probability 0; NaN and ``+inf`` are refused.
        temperature: T, a finite number greater than 0, in units of logits.

    Returns:
        Probabilities, same shape and dtype as ``logits``; each row sums to 1.

    Raises:
        TypeError: ``logits`` is not a floating-point tensor, or ``temperature`` not a real number.
        ValueError: a value is out of range, or ``logits`` holds NaN; the message says which.

    Example:
        >>> soft_targets(torch.tensor([4.0, 2.0, 0.0]), temperature=4.0)
        tensor([0.5065, 0.3072, 0.1863])
    """
    check_logits("logits", logits)
    check_temperature(temperature)
    probabilities = _scaled(logits, temperature).softmax(dim=-1)
    # A NaN or an infinity anywhere in a row of logits makes that whole row NaN.
    if probabilities.isnan().any():
        check_finite("logits", logits)
    return probabilities.to(logits.dtype)


def kd_loss(
    student_logits: Tensor,
    teacher_logits: Tensor,
    labels: Tensor | None = None,
    *,
    temperature: float = 4.0,
    alpha: float = 0.9,
) -> Tensor:
    r"""Hinton's distillation loss: hard labels and soft targets, mixed.

    .. math:: L = (1 - \alpha)\, \mathrm{CE}(y, q^1) + \alpha\, T^2\, \mathrm{KL}(p^T \,\|\, q^T)

    with :math:`p^T` and :math:`q^T` the soft targets of teacher and student at temperature T, averaged
    over all positions. Its gradient with respect to the student's logits is, per position,
    :math:`(1 - \alpha)(q^1 - y) + \alpha T (q^T - p^T)`, divided by the number of positions; the factor
    :math:`T^2` keeps it from fading as T grows.

    References:
        Hinton, Vinyals, Dean (2015), Distilling the Knowledge in a Neural Network, arXiv 1503.02531.

    Args:
        student_logits: shape ``(*, K)`` with ``K >= 2``, floating point and finite; may need a gradient.
        teacher_logits: same shape; detached here, so the teacher never receives a gradient.
        labels: class indices in ``0 .. K-1``, shape ``(*)``, integer dtype. Ignored when ``alpha`` is 1,
            and only then may they be ``None``.
        temperature: T, greater than 0 and at most 1e6.
        alpha: weight of the soft term, from 0 (labels only) to 1 (teacher only).

    Returns:
        A scalar, never negative but for rounding, float32 or wider.

    Raises:
        TypeError: a tensor or number of the wrong kind (integer logits, a string as temperature).
        ValueError: a value out of range, shapes that differ, NaN or infinite logits, missing labels.

    Example:
        >>> student, teacher = torch.tensor([[2.0, 1.5, 0.1]]), torch.tensor([[3.0, 1.0, 0.2]])
        >>> kd_loss(student, teacher, torch.tensor([0]), temperature=4.0, alpha=0.7)
        tensor(0.3184)
    """
    _check_pair(student_logits, teacher_logits, temperature)
    check_share("alpha", alpha, "it is the share of the soft term, 1 - alpha that of the labels")
    loss = (
        alpha * temperature**2 / _positions(student_logits) * _kl(teacher_logits.detach(), student_logits, temperature)
    )
    if alpha < 1:
        if labels is None:
            raise ValueError(
                f"labels are missing: alpha={alpha} gives the hard term weight {1 - alpha:g}, so labels are needed; "
                "pass them, or alpha=1 to learn from the teacher alone"
            )
        loss = loss + (1 - alpha) * _cross_entropy(student_logits, labels)
    return _finite(loss, student_logits, teacher_logits, temperature)


def reverse_kl_loss(student_logits: Tensor, teacher_logits: Tensor, *, temperature: float = 4.0) -> Tensor:
    r"""Reverse KL: the divergence with student and teacher exchanged.

    .. math:: L = T^2\, \mathrm{KL}(q^T \,\|\, p^T)

    It weighs the log-ratio by the *student's* probabilities, so it costs little to leave out a class that the
    teacher believes in and much to believe in one that the teacher rules out: a student too small for all of the
    teacher's modes keeps one (mode seeking), where ``kd_loss`` spreads over all (mode covering). Its gradient per
    position is :math:`T\, q_k (\ln\frac{q_k}{p_k} - \mathrm{KL})`, zero for any class that the student has given up.

    References:
        Gu, Dong, Wei, Huang (2023), MiniLLM: Knowledge Distillation of Large Language Models, arXiv 2306.08543.

    Args:
        student_logits: shape ``(*, K)`` with ``K >= 2``, floating point and finite.
        teacher_logits: same shape; detached here.
        temperature: T, a finite number greater than 0.

    Returns:
        A scalar, never negative, 0 where the logits agree up to a constant per row.

    Raises:
        TypeError, ValueError: as :func:`kd_loss`.

    Example:
        >>> student, teacher = torch.tensor([[2.0, 1.5, 0.1]]), torch.tensor([[3.0, 1.0, 0.2]])
        >>> reverse_kl_loss(student, teacher, temperature=4.0)
        tensor(0.2143)
    """
    _check_pair(student_logits, teacher_logits, temperature)
    kl = _kl(student_logits, teacher_logits.detach(), temperature)
    return _finite(temperature**2 / _positions(student_logits) * kl, student_logits, teacher_logits, temperature)


def js_loss(student_logits: Tensor, teacher_logits: Tensor, *, temperature: float = 4.0) -> Tensor:
    r"""Jensen-Shannon divergence: symmetric, and at most T squared times ln 2 however far apart the two are.

    .. math:: L = T^2 \left[\tfrac12 \mathrm{KL}(p^T \,\|\, m) + \tfrac12 \mathrm{KL}(q^T \,\|\, m)\right],
        \quad m = \tfrac12 (p^T + q^T)

    Near agreement it is a quarter of the KL divergence. Bounded means: a student that is sure and wrong gets
    almost no gradient.

    References:
        Lin (1991), Divergence Measures Based on the Shannon Entropy, IEEE Transactions on Information Theory 37.

    Args:
        student_logits: shape ``(*, K)`` with ``K >= 2``, floating point and finite.
        teacher_logits: same shape; detached here.
        temperature: T, a finite number greater than 0.

    Returns:
        A scalar, never negative, 0 where the logits agree up to a constant per row.

    Raises:
        TypeError, ValueError: as :func:`kd_loss`.

    Example:
        >>> student, teacher = torch.tensor([[2.0, 1.5, 0.1]]), torch.tensor([[3.0, 1.0, 0.2]])
        >>> js_loss(student, teacher, temperature=4.0)
        tensor(0.0534)
    """
    _check_pair(student_logits, teacher_logits, temperature)
    log_p = _scaled(teacher_logits.detach(), temperature).log_softmax(dim=-1)
    log_q = _scaled(student_logits, temperature).log_softmax(dim=-1)
    log_m = torch.logaddexp(log_p, log_q) - math.log(2)
    first, second = (F.kl_div(log_m, log_one, reduction="sum", log_target=True) for log_one in (log_p, log_q))
    loss = temperature**2 / (2 * _positions(student_logits)) * (first + second)
    return _finite(loss, student_logits, teacher_logits, temperature)


def mse_logit_loss(student_logits: Tensor, teacher_logits: Tensor) -> Tensor:
    r"""Squared distance of the centred logits: what T squared times KL tends to as T grows.

    .. math:: L = \frac{1}{2K} \sum_k \left[(z^s_k - \bar z^s) - (z^t_k - \bar z^t)\right]^2

    A row's mean is taken off first, since no softmax sees it; the gradient per position is the centred difference
    over K. All classes weigh the same, however improbable: also the noise among the teacher's smallest logits.

    References:
        Hinton, Vinyals, Dean (2015), Distilling the Knowledge in a Neural Network, arXiv 1503.02531, section 2.1.
        Ba, Caruana (2014), Do Deep Nets Really Need to be Deep?, arXiv 1312.6184: regression on logits.

    Args:
        student_logits: shape ``(*, K)`` with ``K >= 2``, floating point and finite.
        teacher_logits: same shape; detached here.

    Returns:
        A scalar in squared logits, never negative, 0 where the logits agree up to a constant per row.

    Raises:
        TypeError, ValueError: as :func:`kd_loss`.

    Example:
        >>> mse_logit_loss(torch.tensor([[2.0, 0.0]]), torch.tensor([[11.0, 10.0]]))
        tensor(0.1250)
    """
    _check_pair(student_logits, teacher_logits, 1.0)
    gap = _wide(student_logits) - _wide(teacher_logits.detach())
    centred = gap - gap.mean(dim=-1, keepdim=True)
    loss = centred.square().sum() / (2 * student_logits.numel())
    return _finite(loss, student_logits, teacher_logits, 1.0)


def label_smoothing_loss(logits: Tensor, labels: Tensor, *, smoothing: float = 0.1) -> Tensor:
    r"""Cross-entropy with smoothed labels: the control that softens targets without a teacher.

    .. math:: L = (1 - \varepsilon)\, \mathrm{CE}(y, q) + \frac{\varepsilon}{K} \sum_k -\ln q_k

    The target is the label with weight :math:`1 - \varepsilon + \varepsilon / K` and :math:`\varepsilon / K`
    everywhere else; its smallest value is that target's entropy, not 0.

    References:
        Szegedy, Vanhoucke, Ioffe, Shlens, Wojna (2016), Rethinking the Inception Architecture for Computer Vision,
        arXiv 1512.00567.

    Args:
        logits: shape ``(*, K)`` with ``K >= 2``, floating point and finite.
        labels: class indices in ``0 .. K-1``, shape ``(*)``, integer dtype.
        smoothing: the share spread evenly over all K classes, the label's own included, from 0 to 1.

    Returns:
        A scalar, never negative, float32 or wider.

    Raises:
        TypeError, ValueError: as :func:`kd_loss`.

    Example:
        >>> label_smoothing_loss(torch.tensor([[2.0, 0.0, 0.0]]), torch.tensor([0]), smoothing=0.3)
        tensor(0.6395)
    """
    check_logits("logits", logits)
    check_share("smoothing", smoothing, "it is the share of the label that is spread over all classes")
    loss = _cross_entropy(logits, labels, label_smoothing=float(smoothing))
    if not math.isfinite(loss.item()):
        check_finite("logits", logits)
    return loss


def dkd_loss(
    student_logits: Tensor,
    teacher_logits: Tensor,
    labels: Tensor,
    *,
    temperature: float = 4.0,
    target_weight: float = 1.0,
    other_weight: float = 8.0,
) -> Tensor:
    r"""Decoupled distillation: the KL divergence taken apart at the label, with a weight for each part.

    With :math:`p_y` the teacher's probability of the label and :math:`\hat p, \hat q` the distributions over the
    *other* classes, each with sum 1,

    .. math:: \mathrm{KL}(p \| q) = \underbrace{\mathrm{KL}\big((p_y, 1 - p_y) \| (q_y, 1 - q_y)\big)}_{\text{target}}
        + (1 - p_y) \underbrace{\mathrm{KL}(\hat p \| \hat q)}_{\text{others}}

    and the loss is :math:`T^2 (w_{\text{target}} \cdot \text{target} + w_{\text{other}} \cdot \text{others})`: the
    factor :math:`1 - p_y`, which mutes the other classes where the teacher is sure, is gone. There is no hard term;
    add a cross-entropy.

    References:
        Zhao, Cui, Song, Qiu, Liang (2022), Decoupled Knowledge Distillation, arXiv 2203.08679; its alpha and beta
        are ``target_weight`` and ``other_weight`` here.

    Args:
        student_logits: shape ``(*, K)`` with ``K >= 3``, floating point and finite.
        teacher_logits: same shape; detached here.
        labels: class indices in ``0 .. K-1``, shape ``(*)``, integer dtype.
        temperature: T, a finite number greater than 0.
        target_weight: weight of the binary part, at least 0.
        other_weight: weight of the part among the other classes, at least 0.

    Returns:
        A scalar, never negative, 0 where the logits agree up to a constant per row.

    Raises:
        TypeError, ValueError: as :func:`kd_loss`; with two classes nothing is left to compare among the others.

    Example:
        >>> student, teacher = torch.tensor([[2.0, 1.5, 0.1]]), torch.tensor([[3.0, 1.0, 0.2]])
        >>> dkd_loss(student, teacher, torch.tensor([0]), temperature=4.0)
        tensor(0.5446)
    """
    _check_pair(student_logits, teacher_logits, temperature)
    check_labels(labels, student_logits)
    classes = student_logits.shape[-1]
    check_label_range(labels, classes)
    if classes < 3:
        raise ValueError(f"dkd_loss needs at least 3 classes, got {classes}: with 2 there is one other class only")
    check_weight("target_weight", target_weight)
    check_weight("other_weight", other_weight)
    target_p, others_p = _apart(_scaled(teacher_logits.detach(), temperature), labels)
    target_q, others_q = _apart(_scaled(student_logits, temperature), labels)
    target = F.kl_div(target_q, target_p, reduction="sum", log_target=True)
    others = F.kl_div(others_q, others_p, reduction="sum", log_target=True)
    weighted = target_weight * target + other_weight * others
    return _finite(temperature**2 / labels.numel() * weighted, student_logits, teacher_logits, temperature)


def dist_loss(
    student_logits: Tensor,
    teacher_logits: Tensor,
    *,
    temperature: float = 4.0,
    inter_weight: float = 1.0,
    intra_weight: float = 1.0,
) -> Tensor:
    r"""DIST: match correlations instead of values, within each row and within each class.

    .. math:: L = T^2 \Big[ w_{\text{inter}} \operatorname*{mean}_i \big(1 - \rho(q_{i\cdot}, p_{i\cdot})\big)
        + w_{\text{intra}} \operatorname*{mean}_k \big(1 - \rho(q_{\cdot k}, p_{\cdot k})\big) \Big]

    with :math:`\rho` Pearson's correlation of the soft targets at T: over the classes of one row (inter-class),
    and over the rows of one class (intra-class). A correlation is blind to scale and shift, so the student may be
    less sure than the teacher at no cost, and free logits need not end at the teacher's distribution. For the same
    reason the gradient does not fade as T grows: with the factor T squared, which is the authors', it grows.

    References:
        Huang, You, Wang, Qian, Xu (2022), Knowledge Distillation from A Stronger Teacher, arXiv 2205.10536.

    Args:
        student_logits: shape ``(*, K)`` with ``K >= 2`` and at least 2 rows, floating point and finite.
        teacher_logits: same shape; detached here.
        temperature: T, a finite number greater than 0.
        inter_weight: weight of the correlation over classes, at least 0.
        intra_weight: weight of the correlation over rows, at least 0.

    Returns:
        A scalar, never negative, 0 where the logits agree up to a constant per row (a row or class without any
        variation has no correlation, and counts as 1).

    Raises:
        TypeError, ValueError: as :func:`kd_loss`; a single row has no correlation over rows.

    Example:
        >>> student = torch.tensor([[2.0, 1.5, 0.1], [0.0, 1.0, 2.0]])
        >>> dist_loss(student, 2 * student, temperature=1.0)
        tensor(0.0169)
    """
    _check_pair(student_logits, teacher_logits, temperature)
    check_weight("inter_weight", inter_weight)
    check_weight("intra_weight", intra_weight)
    if _positions(student_logits) < 2:
        raise ValueError("dist_loss needs at least 2 rows, got 1: its intra-class part correlates over the batch")
    q, p = (_scaled(z, temperature).softmax(dim=-1).flatten(0, -2) for z in (student_logits, teacher_logits.detach()))
    distance = inter_weight * _uncorrelated(q, p, dim=1) + intra_weight * _uncorrelated(q, p, dim=0)
    return _finite(temperature**2 * distance, student_logits, teacher_logits, temperature)


def _wide(logits: Tensor) -> Tensor:
    """Float32 or wider."""
    return logits.float() if logits.dtype.itemsize < 4 else logits


def _scaled(logits: Tensor, temperature: float) -> Tensor:
    """Logits over T in float32 or wider, shifted to a row maximum of 0 so that a tiny T cannot overflow to NaN."""
    wide = logits.double() if temperature > _FLOAT32_UP_TO else _wide(logits)
    if temperature == 1:
        return wide
    if temperature < 1:
        wide = wide - wide.detach().amax(dim=-1, keepdim=True)
    return wide / temperature


def _kl(reference: Tensor, other: Tensor, temperature: float) -> Tensor:
    """KL(reference || other) at T, summed over all rows. Both stay in log space, so no log of a rounded zero."""
    log_p = _scaled(reference, temperature).log_softmax(dim=-1)
    log_q = _scaled(other, temperature).log_softmax(dim=-1)
    return F.kl_div(log_q, log_p, reduction="sum", log_target=True)


def _cross_entropy(logits: Tensor, labels: Tensor, label_smoothing: float = 0.0) -> Tensor:
    """Cross-entropy with class indices at T = 1, mean over positions."""
    check_labels(labels, logits)
    check_label_range(labels, logits.shape[-1])
    if logits.dim() > 2:
        logits, labels = logits.flatten(0, -2), labels.flatten()  # (N, K), (N)
    return F.cross_entropy(_wide(logits), labels.long(), label_smoothing=label_smoothing)


def _apart(scaled: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Log-probabilities (N, 2) of the label and of all else, and (N, K) among the others, with 0 at the label."""
    rows, label = scaled.reshape(-1, scaled.shape[-1]), labels.reshape(-1, 1).long()
    others = rows.scatter(1, label, -math.inf)  # no probability for the label
    pair = torch.cat([rows.gather(1, label), others.logsumexp(dim=1, keepdim=True)], dim=1)  # of a binary softmax
    # Both models get the same number at the label, so that no ln 0 meets another; and a fill costs less than a mask.
    return pair.log_softmax(dim=1), others.log_softmax(dim=1).scatter(1, label, 0.0)


def _uncorrelated(q: Tensor, p: Tensor, dim: int) -> Tensor:
    """Mean of 1 - Pearson's correlation along ``dim``."""
    q, p = (_unit(one - one.mean(dim=dim, keepdim=True), dim) for one in (q, p))
    return (1 - (q * p).sum(dim=dim)).mean().clamp(min=0)


def _unit(vectors: Tensor, dim: int) -> Tensor:
    """Each vector along ``dim`` at length 1, however short it was; zero stays zero."""
    lengths = torch.linalg.vector_norm(vectors, dim=dim, keepdim=True)
    return vectors / lengths.clamp(min=torch.finfo(vectors.dtype).tiny)


def _positions(logits: Tensor) -> int:
    """How many rows of K classes the tensor holds."""
    return logits.numel() // logits.shape[-1]


def _check_pair(student_logits: Tensor, teacher_logits: Tensor, temperature: float) -> None:
    check_logits("student_logits", student_logits)
    check_logits("teacher_logits", teacher_logits)
    check_same_shape(student_logits, teacher_logits)
    check_temperature(temperature)
    if temperature > _LARGEST:
        raise ValueError(
            f"temperature must be at most {_LARGEST:g}, got {temperature}: beyond it even float64 rounds the "
            "divergence away. Use mse_logit_loss, which is the limit"
        )


def _finite(loss: Tensor, student_logits: Tensor, teacher_logits: Tensor, temperature: float) -> Tensor:
    """The loss itself in float32 or wider, or an error that says why it is not finite."""
    if not math.isfinite(loss.item()):
        explain_not_finite(student_logits, teacher_logits, temperature)
    return loss if temperature <= _FLOAT32_UP_TO else loss.to(_wide(student_logits[..., :0]).dtype)
