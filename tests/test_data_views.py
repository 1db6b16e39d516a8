"""Views of images: halves that put together are the image, and means that lose nothing but detail."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from kdlab.data import coarse, left_half, load_digits, right_half

IMAGES = torch.rand(5, 2, 6, 8, generator=torch.Generator().manual_seed(0))


def test_the_halves_side_by_side_are_the_image() -> None:
    assert torch.equal(torch.cat([left_half(IMAGES), right_half(IMAGES)], dim=-1), IMAGES)
    assert left_half(IMAGES).shape == right_half(IMAGES).shape == (5, 2, 6, 4)
    assert torch.equal(left_half(IMAGES)[..., 0], IMAGES[..., 0])


def test_a_coarse_pixel_is_the_mean_of_its_square() -> None:
    for factor in (1, 2):
        small = coarse(IMAGES, factor)
        assert small.shape == (5, 2, 6 // factor, 8 // factor)
        for y in range(6 // factor):
            for x in range(8 // factor):
                rows, columns = slice(factor * y, factor * (y + 1)), slice(factor * x, factor * (x + 1))
                assert_close(small[..., y, x], IMAGES[..., rows, columns].mean(dim=(-2, -1)))


def test_coarse_halves_both_sides_unless_told_otherwise_and_steps_add_up() -> None:
    digits = load_digits().test.images
    assert coarse(digits).shape == (len(digits), 1, 4, 4)
    assert_close(coarse(coarse(digits)), coarse(digits, 4))
    assert_close(coarse(digits, 8).flatten(), digits.mean(dim=(1, 2, 3)))


@pytest.mark.parametrize("view", [left_half, right_half, coarse, lambda images: coarse(images, 1)])
def test_a_view_is_new_and_the_images_stay_as_they_are(view: Callable[[Tensor], Tensor]) -> None:
    kept = IMAGES.clone()
    result = view(IMAGES)
    assert result.is_contiguous()
    result.zero_()
    assert torch.equal(IMAGES, kept)


@pytest.mark.parametrize(
    ("error", "words", "call"),
    [
        (ValueError, "even width to be halved, got 7", lambda: left_half(IMAGES[..., :7])),
        (ValueError, "even width to be halved, got 7", lambda: right_half(IMAGES[..., :7])),
        (ValueError, "even width to be halved, got 0", lambda: left_half(IMAGES[..., :0])),
        (ValueError, r"images must be \(N, C, H, W\), got shape \[5, 96\]", lambda: left_half(IMAGES.flatten(1))),
        (ValueError, r"images must be \(N, C, H, W\)", lambda: right_half(IMAGES[0])),
        (TypeError, "images must be a torch tensor, got ndarray", lambda: right_half(IMAGES.numpy())),
        (ValueError, r"images must be \(N, C, H, W\)", lambda: coarse(IMAGES[0])),
        (TypeError, "floating point to be averaged, got torch.int64", lambda: coarse(IMAGES.long())),
        (ValueError, "divides H = 6 and W = 8, got 3", lambda: coarse(IMAGES, 3)),
        (ValueError, "divides H = 6 and W = 8, got 4", lambda: coarse(IMAGES, 4)),
        (ValueError, "whole number .* got 0", lambda: coarse(IMAGES, 0)),
        (ValueError, "whole number .* got 2.0", lambda: coarse(IMAGES, 2.0)),
        (ValueError, "whole number .* got '2'", lambda: coarse(IMAGES, "2")),
        (ValueError, "whole number .* got True", lambda: coarse(IMAGES, True)),
    ],
)
def test_views_that_make_no_sense_are_refused(error: type[Exception], words: str, call: Callable[[], Any]) -> None:
    with pytest.raises(error, match=words):
        call()
