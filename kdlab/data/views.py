"""Parts and coarser versions of images: what a student may see while its teacher sees more, or something else.

A teacher need not look at what the student looks at. In *cross-modal distillation* the two see different sides of the
same samples (here the left and the right half of a picture); in *privileged information* the teacher sees what will
not be there at deployment (the whole picture, or a finer one). Both need no special training loop: pass the teacher's
logits, computed on its own view, to ``distill`` together with the student's view as images,

    distill(student, predict_logits(teacher, images), left_half(images), labels, ...)

References:
    Lopez-Paz, Bottou, Schölkopf, Vapnik (2016), Unifying distillation and privileged information, arXiv 1511.03643.
    Gupta, Hoffman, Malik (2016), Cross Modal Distillation for Supervision Transfer, arXiv 1507.00448.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

__all__ = ["coarse", "left_half", "right_half"]


def left_half(images: Tensor) -> Tensor:
    """The left half of each image.

    Args:
        images: shape ``(N, C, H, W)`` with W even.

    Returns:
        New images, shape ``(N, C, H, W/2)``.

    Raises:
        TypeError, ValueError: not a tensor of that shape, or W odd.

    Example:
        >>> import torch
        >>> left_half(torch.tensor([[[[1.0, 2.0, 3.0, 4.0]]]])).tolist()
        [[[[1.0, 2.0]]]]
    """
    return images[..., : _half_width(images)].clone()


def right_half(images: Tensor) -> Tensor:
    """The right half of each image: what :func:`left_half` leaves out.

    Args:
        images: shape ``(N, C, H, W)`` with W even.

    Returns:
        New images, shape ``(N, C, H, W/2)``.

    Raises:
        TypeError, ValueError: not a tensor of that shape, or W odd.

    Example:
        >>> import torch
        >>> right_half(torch.tensor([[[[1.0, 2.0, 3.0, 4.0]]]])).tolist()
        [[[[3.0, 4.0]]]]
    """
    return images[..., _half_width(images) :].clone()


def coarse(images: Tensor, factor: int = 2) -> Tensor:
    """Images with fewer pixels: each is the mean of a square of ``factor`` by ``factor``.

    Args:
        images: shape ``(N, C, H, W)``, floating point.
        factor: side of the square, a whole number of at least 1 that divides H and W.

    Returns:
        New images, shape ``(N, C, H/factor, W/factor)``, with the same mean brightness.

    Raises:
        TypeError, ValueError: not a floating-point tensor of that shape, or a factor that does not fit.

    Example:
        >>> import torch
        >>> coarse(torch.tensor([[[[1.0, 2.0], [3.0, 6.0]]]])).tolist()
        [[[[3.0]]]]
    """
    _check_images(images)
    if not images.is_floating_point():
        raise TypeError(f"images must be floating point to be averaged, got {images.dtype}")
    height, width = images.shape[-2:]
    if isinstance(factor, bool) or not isinstance(factor, int) or factor < 1 or height % factor or width % factor:
        raise ValueError(f"factor must be a whole number that divides H = {height} and W = {width}, got {factor!r}")
    return F.avg_pool2d(images, factor) if factor > 1 else images.clone()


def _half_width(images: Tensor) -> int:
    _check_images(images)
    width = images.shape[-1]
    if width % 2 or width == 0:
        raise ValueError(f"images must have an even width to be halved, got {width} pixels")
    return width // 2


def _check_images(images: object) -> None:
    if not isinstance(images, Tensor):
        raise TypeError(f"images must be a torch tensor, got {type(images).__name__}")
    if images.dim() != 4:
        raise ValueError(f"images must be (N, C, H, W), got shape {list(images.shape)}")
