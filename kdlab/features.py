"""Feature- and relation-based losses: what a student can copy besides the answers.

Three kinds, by what they compare:

* *features*: :func:`hint_loss` compares the layers' outputs themselves. Widths differ, so the student's are first
  mapped to the teacher's by a :class:`Projector`, which is trained along and thrown away;
* *maps*: :func:`attention_transfer_loss` compares where in the image a layer is active;
* *relations*: :func:`similarity_loss`, :func:`relational_distance_loss` and :func:`relational_angle_loss` compare how
  the samples of a batch lie to each other. All that they read of a layer are inner products between samples.

Conventions, the same in every function of this module:

* the student comes first, the teacher second; the teacher never receives a gradient;
* the first dimension is the batch; student and teacher may differ in every other, unless a docstring says otherwise;
* where two maps differ in size, the larger one is average-pooled to the smaller;
* a loss is a mean over samples (pairs, triplets), so that it does not grow with the batch;
* half precision is computed in float32; a loss is returned in float32 or wider, never negative.

Which changes of the student's features each loss cannot see stands in ``feature_properties``; to catch features use
:class:`FeatureTap`, to train with them ``feature_training``.
"""

from __future__ import annotations

import math
from numbers import Real

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kdlab.feature_checks import check_features, check_pair, check_samples, explain_not_finite, is_finite
from kdlab.feature_tap import FeatureTap

__all__ = [
    "FeatureTap",
    "Projector",
    "attention_map",
    "attention_transfer_loss",
    "hint_loss",
    "relational_angle_loss",
    "relational_distance_loss",
    "similarity_loss",
]

_TOGETHER = 1e-13  # squared distance over the batch's largest squared length: below it lies float64's rounding
_ROUNDING = 1e-13
_TAME = (1e-15, 1e15)  # sums of powers that lie in here were computed by float32 without overflow or loss of digits


class Projector(nn.Module):
    r"""A linear map from the student's channels to the teacher's, the same at every position.

    For maps it is a 1x1 convolution, for vectors a linear layer: :math:`C_s C_t + C_t` parameters either way. It exists
    in training only: it must be in the optimiser, and is not deployed.

    References:
        Romero et al. (2015), FitNets: Hints for Thin Deep Nets, arXiv 1412.6550, whose regressor it is.

    Args:
        student_channels: C_s, channels of the student's layer.
        teacher_channels: C_t, channels of the teacher's layer.

    Shape:
        input ``(B, C_s)`` or ``(B, C_s, H, W)``, output the same with C_t channels.

    Example:
        >>> from kdlab.measure import count_parameters
        >>> projector = Projector(32, 64)
        >>> projector(torch.zeros(5, 32, 8, 8)).shape, count_parameters(projector)
        (torch.Size([5, 64, 8, 8]), 2112)
    """

    def __init__(self, student_channels: int, teacher_channels: int) -> None:
        super().__init__()
        for name, value in (("student_channels", student_channels), ("teacher_channels", teacher_channels)):
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ValueError(f"{name} must be a whole number of at least 1, got {value!r}")
        self.linear = nn.Linear(student_channels, teacher_channels)

    def forward(self, features: Tensor) -> Tensor:
        """The projected features; see the class for shapes."""
        check_features("features", features)
        if features.shape[1] != self.linear.in_features:
            raise ValueError(
                f"the projector was made for {self.linear.in_features} channels, got shape {list(features.shape)}: "
                "is it for another layer, or are the channels not in dimension 1?"
            )
        if features.dim() == 4:  # the same sums, without moving the channels to the end and back
            return F.conv2d(features, self.linear.weight[:, :, None, None], self.linear.bias)
        return self.linear(features.movedim(1, -1)).movedim(-1, 1)


def hint_loss(student_features: Tensor, teacher_features: Tensor, *, projector: nn.Module | None = None) -> Tensor:
    r"""Hint: half the squared distance between the teacher's features and the student's, projected.

    .. math:: L = \frac{1}{B} \sum_i \tfrac12 \big\| t_i - r(s_i) \big\|_2^2

    with r the projector. The sum runs over all channels and positions, as in the paper; the mean squared error that
    many codes use instead is smaller by half the number of values per sample, so their weights do not carry over.

    It sees everything: any scaling, shift or mixing of channels counts, unless the projector can undo it.

    References:
        Romero et al. (2015), FitNets: Hints for Thin Deep Nets, arXiv 1412.6550, equation 3.

    Args:
        student_features: shape ``(B, C_s)`` or ``(B, C_s, H_s, W_s)``, floating point and finite.
        teacher_features: shape ``(B, C_t)`` or ``(B, C_t, H_t, W_t)``, with as many dimensions; detached here.
        projector: maps C_s channels to C_t. Without one the channels must be equal in number, and then channel k of
            the student is asked to be channel k of the teacher.

    Returns:
        A scalar, in squared units of the teacher's features.

    Raises:
        TypeError: no floating-point tensors.
        ValueError: other samples, widths that do not meet, NaN or infinite features; the message says which.

    Example:
        >>> hint_loss(torch.tensor([[1.0, 0.0]]), torch.tensor([[1.0, 3.0]]))
        tensor(4.5000)
    """
    _check(student_features, teacher_features)
    if student_features.dim() != teacher_features.dim():
        raise ValueError(
            f"student_features has shape {list(student_features.shape)}, teacher_features "
            f"{list(teacher_features.shape)}: a hint compares maps with maps or vectors with vectors"
        )
    student, teacher = _same_size(_wide(student_features), _wide(teacher_features.detach()))
    if projector is not None:
        student = _wide(projector(student))
    if student.shape != teacher.shape:
        whose = "student_features has" if projector is None else "the projector gives"
        if student.shape[1] == teacher.shape[1]:
            raise ValueError(f"{whose} shape {list(student.shape)}, teacher_features {list(teacher.shape)}")
        raise ValueError(
            f"{whose} {student.shape[1]} channels, teacher_features {teacher.shape[1]}: pass projector=Projector("
            f"{student_features.shape[1]}, {teacher.shape[1]}), and have it trained along"
        )
    total = F.mse_loss(*_alike(student, teacher), reduction="sum")
    return _finite(total / (2 * len(student)), student_features, teacher_features)


def attention_map(features: Tensor, *, power: float = 2.0) -> Tensor:
    r"""Where a layer is active: the channels' absolute values, raised to a power and summed.

    .. math:: a_{hw} = \sum_c |F_{chw}|^p

    Args:
        features: shape ``(B, C, H, W)``.
        power: p, at least 1; the larger, the more the strongest channel alone counts.

    Returns:
        Shape ``(B, H, W)``, not normalised.

    Raises:
        TypeError, ValueError: no maps, or a power below 1.

    References:
        Zagoruyko, Komodakis (2017), Paying More Attention to Attention, arXiv 1612.03928, section 3.1.

    Example:
        >>> attention_map(torch.tensor([[[[1.0, 0.0]], [[-2.0, 3.0]]]]))
        tensor([[[5., 9.]]])
    """
    check_features("features", features, maps=True)
    if isinstance(power, bool) or not isinstance(power, Real) or not 1 <= power < math.inf:
        raise ValueError(f"power must be a finite number of at least 1, got {power!r}: it is 2 in the paper")
    wide = _wide(features)
    powers = wide.square() if power == 2 else wide.abs().pow(power)
    return powers.sum(dim=1)


def attention_transfer_loss(
    student_features: Tensor, teacher_features: Tensor, *, power: float = 2.0, squared: bool = False
) -> Tensor:
    r"""Attention transfer: the distance between the two networks' normalised attention maps.

    .. math:: L = \frac{1}{B} \sum_i \left\| \frac{a^s_i}{\|a^s_i\|_2} - \frac{a^t_i}{\|a^t_i\|_2} \right\|_2

    with :func:`attention_map` flattened to one vector per sample. The length of a map is divided out, and channels are
    summed over: blind to scale, per sample even, and to any rotation among the channels (for p = 2).

    Where paper and code differ: the paper's equation 2 has the norm (with a factor beta over 2, which is the caller's
    weight here), whose gradient has the same length however close the maps are; the authors' code has its *square*,
    averaged over positions too. ``squared=True`` gives the square, summed over positions.

    References:
        Zagoruyko, Komodakis (2017), Paying More Attention to Attention: Improving the Performance of Convolutional
        Neural Networks via Attention Transfer, arXiv 1612.03928, equation 2.

    Args:
        student_features: shape ``(B, C_s, H_s, W_s)``, floating point and finite.
        teacher_features: shape ``(B, C_t, H_t, W_t)``; detached here.
        power: p of the map.
        squared: the squared distance in place of the distance.

    Returns:
        A scalar from 0 to the root of 2 (to 2 if squared). A sample whose map is zero everywhere has no direction, and
        counts as a zero vector.

    Raises:
        TypeError, ValueError: as :func:`hint_loss`; features that are no maps.

    Example:
        >>> student = torch.tensor([[[[3.0, 0.0]]]])
        >>> attention_transfer_loss(student, torch.tensor([[[[0.0, 0.5]], [[0.0, 0.5]]]]))
        tensor(1.4142)
    """
    _check(student_features, teacher_features, maps=True)
    pair = _same_size(_wide(student_features), _wide(teacher_features.detach()))
    student, teacher = (_unit(_attention_rows(one, power)) for one in pair)
    gap = student - teacher
    distances = gap.square().sum(dim=1) if squared else _length(gap)
    return _finite(distances.mean(), student_features, teacher_features)


def similarity_loss(student_features: Tensor, teacher_features: Tensor) -> Tensor:
    r"""Similarity-preserving distillation: which samples of the batch a layer finds alike.

    .. math:: L = \frac{1}{B^2} \big\| G^s - G^t \big\|_F^2, \quad
        G = \text{rows of } f f^\top \text{ divided by their L2 norm}

    with f the features flattened to ``(B, D)``. The rows are normalised by their *L2* norm (a published library divides
    by the L1 norm, and its tests hold that number). Blind to a common scale, to any rotation of the features, and to
    their number.

    References:
        Tung, Mori (2019), Similarity-Preserving Knowledge Distillation, arXiv 1907.09682, equations 1 to 4.

    Args:
        student_features: shape ``(B, ...)`` with B at least 2, floating point and finite.
        teacher_features: shape ``(B, ...)``; detached here.

    Returns:
        A scalar from 0 to 4 over B. A sample whose features are all zero has a row of zeros.

    Raises:
        TypeError, ValueError: as :func:`hint_loss`; a single sample, whose similarity to itself is always 1.

    Example:
        >>> student = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
        >>> similarity_loss(student, torch.tensor([[1.0], [1.0]]))
        tensor(0.2929)
    """
    _check(student_features, teacher_features)
    check_samples(student_features, 2, "similarities")
    pair = (_wide(one).flatten(1) for one in (student_features, teacher_features.detach()))
    student, teacher = (_unit(_similarity_rows(rows)) for rows in pair)
    return _finite((student - teacher).square().mean(), student_features, teacher_features)


def relational_distance_loss(student_features: Tensor, teacher_features: Tensor) -> Tensor:
    r"""Relational distillation by distance: pairs that are far apart for the teacher shall be so for the student.

    .. math:: L = \frac{1}{B (B - 1)} \sum_{i \ne j} \ell\!\left(\frac{\|s_i - s_j\|_2}{\mu_s},
        \frac{\|t_i - t_j\|_2}{\mu_t}\right)

    with :math:`\mu` the mean distance over all pairs of the batch, and :math:`\ell` Huber's loss with threshold 1.
    The paper sums over the pairs; here, and up to the factor :math:`(B-1)/B` in the authors' code, it is their mean.
    Blind to a common scale, to a shift of all samples, to any rotation, and to the number of features.

    References:
        Park, Kim, Lu, Cho (2019), Relational Knowledge Distillation, arXiv 1904.05068, section 3.2.1.

    Args:
        student_features: shape ``(B, ...)`` with B at least 2, floating point and finite.
        teacher_features: shape ``(B, ...)``; detached here.

    Returns:
        A scalar, never negative. Where all samples of one network fall together, its distances count as 0.

    Raises:
        TypeError, ValueError: as :func:`hint_loss`; a single sample.

    Example:
        >>> student = torch.tensor([[0.0], [1.0], [2.0]])
        >>> relational_distance_loss(student, 5 * student + 7)
        tensor(0.)
    """
    student, teacher = _related(student_features, teacher_features, 2, "distances")
    loss = F.smooth_l1_loss(_pair_distances(student), _pair_distances(teacher))
    return _finite(loss.to(_wide(student_features[:0]).dtype), student_features, teacher_features)


def relational_angle_loss(student_features: Tensor, teacher_features: Tensor) -> Tensor:
    r"""Relational distillation by angle: the shape of every triangle of samples.

    .. math:: L = \frac{1}{B (B-1) (B-2)} \sum_{i, j, k \text{ different}}
        \ell\big(\cos \angle s_i s_j s_k,\; \cos \angle t_i t_j t_k\big)

    with the angle at the middle sample j, and :math:`\ell` Huber's loss with threshold 1. The paper sums over triplets;
    the authors' code averages over all :math:`B^3`, those with equal samples included. Time and memory grow like
    :math:`B^3`. Blind to a common scale, to a shift of all samples, to any rotation, and to the number of features.

    References:
        Park, Kim, Lu, Cho (2019), Relational Knowledge Distillation, arXiv 1904.05068, section 3.2.2.

    Args:
        student_features: shape ``(B, ...)`` with B at least 3, floating point and finite.
        teacher_features: shape ``(B, ...)``; detached here.

    Returns:
        A scalar from 0 to 1.5. A triplet in which two samples fall together has no angle, and its cosine counts as 0.

    Raises:
        TypeError, ValueError: as :func:`hint_loss`; fewer than three samples.

    Example:
        >>> right_angle = torch.tensor([[1.0, 0.0], [0.0, 0.0], [0.0, 1.0]])
        >>> relational_angle_loss(right_angle, 2 * right_angle.flip(1))
        tensor(0.)
    """
    student, teacher = _related(student_features, teacher_features, 3, "angles")
    # Where a sample is repeated, the cosine is 0 in both networks: these add nothing, and are not counted either.
    total = F.smooth_l1_loss(_cosines(student), _cosines(teacher), reduction="sum")
    b = len(student)
    loss = total / (b * (b - 1) * (b - 2))
    return _finite(loss.to(_wide(student_features[:0]).dtype), student_features, teacher_features)


def _pair_distances(products: Tensor) -> Tensor:
    """Distances of all pairs i < j over their mean, ``(B (B - 1) / 2,)``: a sum over ordered pairs is twice theirs."""
    above = torch.ones_like(products, dtype=torch.bool).triu(1)
    distances = _lengths(products)[above]
    return distances / _divisor(distances.mean())


def _cosines(products: Tensor) -> Tensor:
    """Cosine of the angle at j between i and k, ``(B_j, B_i, B_k)``; 0 where two of the three fall together."""
    diagonal = products.diagonal()
    # <s_i - s_j, s_k - s_j> = G_ik - G_ji - G_jk + G_jj
    dots = products.unsqueeze(0) - products.unsqueeze(2) - products.unsqueeze(1) + diagonal.view(-1, 1, 1)
    lengths = _lengths(products)
    inverse = torch.where(lengths > 0, 1 / _divisor(lengths), 0.0)
    same = torch.eye(len(products), dtype=torch.bool, device=products.device)  # i = k: 1 for every network
    return (dots * inverse.unsqueeze(2) * inverse.unsqueeze(1)).masked_fill(same, 0.0)


def _lengths(products: Tensor) -> Tensor:
    """Distances between samples ``(B, B)`` from their inner products, 0 where they fall together up to rounding."""
    diagonal = products.diagonal()
    squared = diagonal.unsqueeze(0) + diagonal.unsqueeze(1) - 2 * products
    together = squared <= _TOGETHER * diagonal.detach().max()  # false for NaN, which must come through
    return torch.where(together, 0.0, torch.where(together, 1.0, squared).sqrt())  # no root of 0: its slope is infinite


def _inner_products(features: Tensor) -> Tensor:
    """Inner products of the centred samples, ``(B, B)``, in float64 since distances are small differences of them.

    What reads them is blind to a shift, so the mean needs no gradient.
    """
    rows = features.flatten(1)
    mean = rows.detach().mean(dim=0, dtype=torch.float64)
    centred = rows - mean if rows.dtype == torch.float64 else rows.double().sub_(mean)  # one wide copy, not two
    products = centred @ centred.T
    if products.detach().diagonal().max() <= _ROUNDING**2 * mean.square().sum():
        return products * 0  # all samples fall together, and what is left of them is rounding
    return products


def _related(student_features: Tensor, teacher_features: Tensor, least: int, unit: str) -> tuple[Tensor, Tensor]:
    """Inner products between the samples, of both networks."""
    _check(student_features, teacher_features)
    check_samples(student_features, least, unit)
    return _inner_products(student_features), _inner_products(teacher_features.detach())


def _check(student_features: Tensor, teacher_features: Tensor, *, maps: bool = False) -> None:
    check_features("student_features", student_features, maps=maps)
    check_features("teacher_features", teacher_features, maps=maps)
    check_pair(student_features, teacher_features)


def _same_size(student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
    """Maps of equal height and width: the smaller of both, by average pooling. Vectors stay as they are."""
    if student.dim() != 4 or student.shape[2:] == teacher.shape[2:]:
        return student, teacher
    size = (min(student.shape[2], teacher.shape[2]), min(student.shape[3], teacher.shape[3]))
    return F.adaptive_avg_pool2d(student, size), F.adaptive_avg_pool2d(teacher, size)


def _wide(features: Tensor) -> Tensor:
    """Float32 or wider."""
    return features.float() if features.dtype.itemsize < 4 else features


def _divisor(lengths: Tensor) -> Tensor:
    """What to divide by so that zero stays zero, value and gradient."""
    return torch.where(lengths > torch.finfo(lengths.dtype).tiny, lengths, 1.0)


def _alike(one: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
    """Both in the wider of their types."""
    dtype = torch.promote_types(one.dtype, other.dtype)
    return one.to(dtype), other.to(dtype)


def _attention_rows(features: Tensor, power: float) -> Tensor:
    """Attention maps as vectors ``(B, H W)``, each up to a factor, which the caller divides out."""
    rows = attention_map(features, power=power).flatten(1)
    if _is_tame(rows.detach().amax(dim=1)):
        return rows
    largest = features.detach().abs().flatten(1).amax(dim=1)
    return attention_map(features / _divisor(largest).view(-1, 1, 1, 1), power=power).flatten(1)


def _similarity_rows(rows: Tensor) -> Tensor:
    """Inner products ``(B, B)``, all up to one factor, which the caller divides out."""
    products = rows @ rows.T
    if _is_tame(products.detach().diagonal().max()):
        return products
    scaled = rows / _divisor(rows.detach().abs().max())
    return scaled @ scaled.T


def _is_tame(largest: Tensor) -> bool:
    """Whether powers neither overflowed nor vanished, so that no division is needed, which is as slow as the loss."""
    return bool(((largest > _TAME[0]) & (largest < _TAME[1])).all())


def _length(vectors: Tensor) -> Tensor:
    """L2 norm of each row, whose gradient at a zero row is zero and not NaN."""
    return torch.linalg.vector_norm(vectors, dim=1)


def _unit(vectors: Tensor) -> Tensor:
    """Each row at length 1, however short it was; zero stays zero."""
    scaled = vectors / _divisor(vectors.detach().abs().amax(dim=1, keepdim=True))
    return scaled / _divisor(_length(scaled)).unsqueeze(1)


def _finite(loss: Tensor, student_features: Tensor, teacher_features: Tensor) -> Tensor:
    """The loss itself, or an error that says why it is not finite."""
    if not is_finite(loss):
        explain_not_finite(student_features, teacher_features)
    return loss
