"""The Python twin of the features panel: the student's features changed for real, and five losses of what comes out.

``static/panels/features.js`` never sees a feature. It computes the same numbers from energies, sums and inner products
between images, and a browser test compares the two: that these suffice is what the panel has to say.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from kdlab.lab.twins import fine_text
from kdlab.training import seeded

__all__ = [
    "KINDS",
    "LOSSES",
    "SAMPLE_FACTOR",
    "FeaturesState",
    "features_state",
    "features_summary",
    "kind_text",
    "loss_text",
    "notices",
    "residual",
    "rms",
    "same_size",
    "transformed",
]

Losses = Mapping[str, float | None]
Array = NDArray[np.float64]

LOSSES = ("attention", "similarity", "distance", "angle", "projector")
"""What the panel draws a bar for, from top to bottom."""

KINDS = ("none", "scale", "rotate", "constant", "sample", "roll")
"""What can be done to the student's features."""

SAMPLE_FACTOR = 5
_TINY = torch.finfo(torch.float64).tiny
_ROUNDING = 1e-24  # a share of squares that subtracting a mean may leave of nothing


@dataclass(frozen=True)
class FeaturesState:
    """Two layers side by side for n images.

    Attributes:
        teacher_map: each image's attention map at length 1, shape (n, h, w); None where a layer is a vector.
        student_map: the same for the student.
        teacher_gram: inner products between images, each row at length 1, shape (n, n).
        student_gram: the same for the student.
        losses: a value for each of ``LOSSES``; None where it is not defined.
    """

    teacher_map: Array | None
    student_map: Array | None
    teacher_gram: Array
    student_gram: Array
    losses: dict[str, float | None]


def features_state(
    teacher: Tensor,
    student: Tensor,
    *,
    kind: str = "none",
    amount: float = 1.0,
    image: int = 0,
    more: tuple[Tensor, Tensor] | None = None,
) -> FeaturesState:
    r"""Everything the features panel shows for one pair of layers, after the student's features were changed.

    Attention transfer, similarity, distance and angle as in ``kdlab.features``; and how much of the teacher's variance
    the best linear map of the student's channels leaves (:func:`residual`).

    Args:
        teacher: the layer's output for n images, shape (n, C, H, W) or (n, C), n at least 3.
        student: the same of the student; width and size may differ.
        kind: one of ``KINDS``.
        amount: the factor for "scale"; for "constant" the constant, in units of :func:`rms` of the student.
        image: which image "sample" multiplies by five, from 0.
        more: the two layers' outputs for further images, which only the projector sees.

    Raises:
        ValueError: an unknown kind.

    Example:
        >>> rows = torch.tensor([[1.0, 0.0], [0.0, 1.0], [2.0, 2.0]])
        >>> state = features_state(rows, rows, kind="constant", amount=1.0)
        >>> {name: None if value is None else round(value, 3) for name, value in state.losses.items()}
        {'attention': None, 'similarity': 0.048, 'distance': 0.0, 'angle': 0.0, 'projector': None}
    """
    n, unit = len(student), rms(student)
    wide = [one.detach().double() for one in (teacher, student)]
    if more is not None:
        wide = [torch.cat([one, further.detach().double()]) for one, further in zip(wide, more, strict=True)]
    changed = transformed(wide[1], kind, amount, image=image, unit=unit)
    known, now = wide[0][:n], changed[:n]
    grams = [_unit(one @ one.T) for one in (known.flatten(1), now.flatten(1))]
    losses: dict[str, float | None] = {
        "attention": None,
        "similarity": float((grams[1] - grams[0]).square().mean()),
        "distance": _huber(_distances(now), _distances(known)) / (n * (n - 1)),
        "angle": _huber(_cosines(now), _cosines(known)) / (n * (n - 1) * (n - 2)),
        "projector": residual(wide[0], changed),
    }
    if known.dim() != 4 or now.dim() != 4:
        return FeaturesState(None, None, grams[0].numpy(), grams[1].numpy(), losses)
    maps = [_maps(one) for one in same_size(known, now)]
    losses["attention"] = float((maps[1] - maps[0]).flatten(1).norm(dim=1).mean())
    return FeaturesState(maps[0].numpy(), maps[1].numpy(), grams[0].numpy(), grams[1].numpy(), losses)


def transformed(features: Tensor, kind: str, amount: float = 1.0, *, image: int = 0, unit: float = 1.0) -> Tensor:
    """A layer's output after one of ``KINDS``; arguments as :func:`features_state`, the constant in units of ``unit``.

    Example:
        >>> transformed(torch.tensor([[1.0, 2.0], [3.0, 4.0]]), "sample", image=1).tolist()
        [[1.0, 2.0], [15.0, 20.0]]
    """
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(KINDS)}, got {kind!r}")
    if kind == "scale":
        return amount * features
    if kind == "rotate":
        return torch.einsum("dc,nc...->nd...", _rotation(features.shape[1]).to(features), features)
    if kind == "constant":
        return features + amount * unit
    if kind == "sample":
        factors = torch.ones(len(features)).to(features)
        factors[image] = SAMPLE_FACTOR
        return features * factors.view(-1, *[1] * (features.dim() - 1))
    if kind == "roll" and features.dim() == 4:
        return features.roll(1, dims=3)  # to the right; what leaves comes back on the left
    return features


def residual(teacher: Tensor, student: Tensor) -> float | None:
    r"""What the best projector leaves of the teacher's variance, :math:`1 - R^2`.

    .. math:: \min_{W, b} \sum \| t - W s - b \|^2 \Big/ \sum \| t - \bar t \|^2

    over all images and positions, after the larger map was average-pooled to the smaller.

    Args:
        teacher: shape (N, C_t, H, W) or (N, C_t).
        student: shape (N, C_s, H', W') or (N, C_s).

    Returns:
        From 0 to 1; None for a map beside a vector, for a teacher's layer without variance, and for no more positions
        than weights per output, where any student fits.

    References:
        Romero et al. (2015), FitNets: Hints for Thin Deep Nets, arXiv 1412.6550, for the hint and its regressor.

    Example:
        >>> student = torch.tensor([[0.0], [1.0], [2.0]])
        >>> round(residual(torch.tensor([[0.0], [0.0], [3.0]]), student), 2)
        0.25
    """
    if teacher.dim() != student.dim():
        return None
    pair = same_size(teacher.detach().double(), student.detach().double())
    known, now = (one.movedim(1, -1).flatten(0, -2).numpy() for one in pair)
    known, now = known - known.mean(axis=0), now - now.mean(axis=0)
    total = float((known**2).sum())
    if total <= _ROUNDING * float((pair[0] ** 2).sum()) or len(now) <= now.shape[1] + 1:
        return None
    weights = np.linalg.lstsq(now, known, rcond=None)[0]
    return float(((known - now @ weights) ** 2).sum()) / total


def kind_text(kind: str, amount: float, image: int) -> str:
    """What was done to the student's features, in a few words."""
    return {
        "none": "as it is",
        "scale": f"times {amount:g}",
        "rotate": "channels rotated",
        "constant": f"plus {amount:g} on every channel",
        "sample": f"image {image + 1} times {SAMPLE_FACTOR}",
        "roll": "shifted by a pixel",
    }[kind]


def features_summary(losses: Losses, before: Losses, *, start: str, what: str, changed: bool) -> str:
    """The state in one line, word for word the line under the panel.

    Args:
        losses: of the changed student.
        before: of the student as it is.
        start: which student and which layers.
        what: what was done to its features.
        changed: whether anything was.
    """
    words = f"{start}, {what}: " + ", ".join(f"{name} {loss_text(losses[name])}" for name in LOSSES)
    if not changed:
        return f"{words}; nothing is changed"
    seen = [name for name in LOSSES if notices(losses[name], before[name])]
    blind = [name for name in LOSSES if losses[name] is not None and name not in seen]
    noticed = f"{words}; noticed by {', '.join(seen) or 'none of them'}"
    return f"{noticed}; blind: {', '.join(blind)}" if blind else noticed


def loss_text(value: float | None) -> str:
    """The text of what may not be defined."""
    return "n/a" if value is None else fine_text(value)


def notices(now: float | None, before: float | None) -> bool:
    """Whether a loss moved by more than rounding."""
    return now is not None and before is not None and abs(now - before) > 1e-6 * max(now, before) + 1e-9


def rms(features: Tensor) -> float:
    """Root mean square of all values; 1 where all of them are zero."""
    return float(features.detach().double().square().mean().sqrt()) or 1.0


def same_size(one: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
    """Maps of equal height and width, the smaller of both, by average pooling; vectors stay as they are."""
    if one.dim() != 4 or other.dim() != 4:
        return one, other
    size = (min(one.shape[2], other.shape[2]), min(one.shape[3], other.shape[3]))
    return F.adaptive_avg_pool2d(one, size), F.adaptive_avg_pool2d(other, size)


def _maps(features: Tensor) -> Tensor:
    """Attention maps (n, h, w), each at length 1; a map of zeros stays one."""
    energy = features.square().sum(dim=1)
    return _unit(energy.flatten(1)).view_as(energy)


def _unit(rows: Tensor) -> Tensor:
    return rows / rows.norm(dim=-1, keepdim=True).clamp(min=_TINY)


def _huber(now: Tensor, known: Tensor) -> float:
    """Huber's loss with threshold 1, summed."""
    return float(F.smooth_l1_loss(now, known, reduction="sum"))


def _distances(rows: Tensor) -> Tensor:
    """Distances between all samples over the mean of those between different ones, (n, n)."""
    rows = rows.flatten(1)
    apart = (rows[:, None] - rows[None]).norm(dim=2)
    mean = apart.sum() / (len(rows) * (len(rows) - 1))
    return apart / mean.clamp(min=_TINY)


def _cosines(rows: Tensor) -> Tensor:
    """Cosine of the angle at j between i and k, (j, i, k); 0 where two of them are the same sample."""
    rows = rows.flatten(1)
    edges = _unit(rows[None] - rows[:, None])
    cosines = edges @ edges.transpose(1, 2)
    return cosines * (1 - torch.eye(len(rows)).to(rows))


def _rotation(channels: int) -> Tensor:
    """One orthogonal matrix of this size, the same in every run."""
    with seeded(0):
        return torch.linalg.qr(torch.randn(channels, channels, dtype=torch.float64))[0]
