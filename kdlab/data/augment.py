"""Small random changes of images that leave the class as it is."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["shift_images"]


def shift_images(images: Tensor, generator: torch.Generator, pixels: int = 1) -> Tensor:
    """Move each image by up to ``pixels`` in both directions; what comes in at the border is 0.

    Args:
        images: shape ``(B, C, H, W)``.
        generator: where the shifts are drawn from, one pair of whole numbers per image.
        pixels: the largest shift, at least 0 and less than H and W.

    Returns:
        New images of the same shape; ``images`` stay as they are.

    Raises:
        ValueError: images of another shape, or shifts that would move an image out of sight.

    Example:
        >>> shift_images(torch.ones(4, 1, 8, 8), torch.Generator().manual_seed(0)).shape
        torch.Size([4, 1, 8, 8])
    """
    if images.dim() != 4:
        raise ValueError(f"images must be (B, C, H, W), got shape {list(images.shape)}")
    count, _, height, width = images.shape
    if isinstance(pixels, bool) or not isinstance(pixels, int) or not 0 <= pixels < min(height, width):
        raise ValueError(f"pixels must be a whole number from 0 to {min(height, width) - 1}, got {pixels!r}")
    down, right = torch.randint(0, 2 * pixels + 1, (2, count), generator=generator)  # 0 is a shift by -pixels
    padded = F.pad(images, (pixels, pixels, pixels, pixels)).movedim(1, -1)  # (B, H + 2p, W + 2p, C)
    rows = down[:, None] + torch.arange(height)  # (B, H)
    columns = right[:, None] + torch.arange(width)  # (B, W)
    chosen = padded[torch.arange(count)[:, None, None], rows[:, :, None], columns[:, None, :]]
    return chosen.movedim(-1, 1).contiguous()
