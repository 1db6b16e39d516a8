"""Shifted images: every shift comes up, nothing else changes."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from kdlab.data import load_digits, shift_images


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _dots(count: int) -> Tensor:
    """One lit pixel per image, in the middle."""
    images = torch.zeros(count, 1, 9, 9)
    images[:, :, 4, 4] = 1
    return images


def test_every_shift_comes_up_equally_often() -> None:
    places = shift_images(_dots(9000), _generator()).flatten(1).argmax(1)
    found, counts = places.unique(return_counts=True)
    assert {(int(place) // 9 - 4, int(place) % 9 - 4) for place in found} == {
        (down, right) for down in (-1, 0, 1) for right in (-1, 0, 1)
    }
    assert counts.min() > 850
    assert counts.max() < 1150


def test_each_image_is_itself_moved_and_the_border_comes_in_empty() -> None:
    images = torch.rand(50, 3, 5, 7, generator=_generator(1)) + 0.1
    padded = torch.nn.functional.pad(images, (2, 2, 2, 2))
    for number, moved in enumerate(shift_images(images, _generator(), pixels=2)):
        windows = [padded[number, :, y : y + 5, x : x + 7] for y in range(5) for x in range(5)]
        assert sum(torch.equal(moved, window) for window in windows) == 1


def test_the_generator_alone_decides_and_the_images_stay_as_they_are() -> None:
    images = load_digits().train.images[:40]
    kept = images.clone()
    first, again, other = (shift_images(images, _generator(seed)) for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(images, kept)
    first.zero_()
    assert torch.equal(images, kept)


def test_no_pixels_is_no_change() -> None:
    images = torch.rand(4, 1, 8, 8)
    assert torch.equal(shift_images(images, _generator(), pixels=0), images)


@pytest.mark.parametrize("pixels", [-1, 8, 1.5, True, "1"])
def test_shifts_that_make_no_sense_are_refused(pixels: object) -> None:
    with pytest.raises(ValueError, match="pixels must be a whole number from 0 to 7"):
        shift_images(torch.rand(4, 1, 8, 8), _generator(), pixels=pixels)  # type: ignore[arg-type]


def test_flat_images_are_refused() -> None:
    with pytest.raises(ValueError, match=r"images must be \(B, C, H, W\)"):
        shift_images(torch.rand(4, 64), _generator())
