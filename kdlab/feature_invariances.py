"""What a loss on features cannot see: changes of a student's features, and which of them a loss does not notice.

None is right or wrong in itself. A student of another width has other channels than its teacher, so a loss that sees
a rotation of the channels needs a projector; one that does not see it needs none, and asks for less.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ["INVARIANCES", "blind_to", "relative_changes"]

Loss = Callable[[Tensor, Tensor], Tensor]
Change = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]

_BLIND = 1e-9  # a relative change of the loss below it is float64's rounding


def _rotation(size: int) -> Tensor:
    """A random orthogonal matrix, always the same for one size."""
    square = torch.randn(size, size, generator=torch.Generator().manual_seed(size), dtype=torch.float64)
    return torch.linalg.qr(square)[0]


def _order(size: int) -> Tensor:
    """A permutation in one random cycle, so that nothing stays in its place; always the same for one size."""
    order = torch.randperm(size, generator=torch.Generator().manual_seed(1))
    return torch.empty_like(order).scatter_(0, order, order.roll(1))


def _one_scaled(features: Tensor) -> Tensor:
    factors = torch.ones(len(features), dtype=features.dtype)
    factors[0] = 3.0
    return features * factors.view(-1, 1, 1, 1)


def _shifted(features: Tensor) -> Tensor:
    return features + torch.linspace(0.5, 2.0, features.shape[1], dtype=features.dtype).view(1, -1, 1, 1)


def _channels_rotated(features: Tensor) -> Tensor:
    return torch.einsum("dc,bchw->bdhw", _rotation(features.shape[1]).to(features.dtype), features)


def _features_rotated(features: Tensor) -> Tensor:
    rows = features.flatten(1)
    return (rows @ _rotation(rows.shape[1]).to(features.dtype)).view_as(features)


def _pixels_permuted(features: Tensor) -> Tensor:
    pixels = features.flatten(2)
    return pixels[:, :, _order(pixels.shape[2])].view_as(features)


INVARIANCES: dict[str, Change] = {
    "scaled": lambda s, t: (3 * s, t),
    "one sample scaled": lambda s, t: (_one_scaled(s), t),
    "shifted": lambda s, t: (_shifted(s), t),
    "channels rotated": lambda s, t: (_channels_rotated(s), t),
    "features rotated": lambda s, t: (_features_rotated(s), t),
    "pixels permuted": lambda s, t: (_pixels_permuted(s), t),
    "channels repeated": lambda s, t: (s.repeat_interleave(2, dim=1), t),
    "samples reordered in both": lambda s, t: (s[_order(len(s))], t[_order(len(t))]),
}
"""Name to a function of the student's and the teacher's maps, which returns both with the student's changed.

Scaled: times 3. Shifted: one vector over channels added to every sample and position. Channels rotated: one orthogonal
mix of the channels at every position; features rotated: of all channels and positions together. Pixels permuted: one
order of positions for all samples. Channels repeated: each one twice, so the width doubles.
"""


def relative_changes(loss: Loss, *, student: Tensor | None = None, teacher: Tensor | None = None) -> dict[str, float]:
    r"""How much a loss moves under each of :data:`INVARIANCES`: :math:`|L' - L| / |L|`.

    Args:
        loss: ``loss(student_features, teacher_features) -> scalar``.
        student: maps ``(B, C, H, W)`` with B, C and H times W at least 2, taken to float64; random ones by default.
        teacher: the same for the teacher, for the same samples.

    Returns:
        Name of the change to a number of at least 0. It is infinite where the loss refuses the changed features, as
        one without projector refuses another width.

    Raises:
        ValueError: the loss is 0 or not finite for the unchanged features, so that nothing can be measured.

    Example:
        >>> from kdlab.features import attention_transfer_loss
        >>> changes = relative_changes(attention_transfer_loss)
        >>> changes["scaled"] < 1e-9 < changes["pixels permuted"]
        True
    """
    shape, generator = (2, 6, 3, 3, 2), torch.Generator().manual_seed(5)
    drawn = torch.randn(*shape, generator=generator, dtype=torch.float64)
    student = drawn[0] if student is None else student.detach().double()
    teacher = 2 * drawn[1] if teacher is None else teacher.detach().double()
    before = float(loss(student, teacher))
    if before == 0 or not math.isfinite(before):
        raise ValueError(f"the loss is {before} for the unchanged features: pass a student and a teacher that differ")
    changes = {}
    for name, change in INVARIANCES.items():
        try:
            changes[name] = abs(float(loss(*change(student, teacher))) - before) / abs(before)
        except (ValueError, RuntimeError):  # torch's own word for shapes that do not fit
            changes[name] = math.inf
    return changes


def blind_to(loss: Loss, *, student: Tensor | None = None, teacher: Tensor | None = None) -> dict[str, bool]:
    """Which of :data:`INVARIANCES` a loss does not notice; arguments and errors as :func:`relative_changes`.

    Example:
        >>> from kdlab.features import similarity_loss
        >>> [name for name, blind in blind_to(similarity_loss).items() if not blind]
        ['one sample scaled', 'shifted']
    """
    changes = relative_changes(loss, student=student, teacher=teacher)
    return {name: change < _BLIND for name, change in changes.items()}
