"""Handwritten digits: scikit-learn's 8 by 8 set, which needs no download, and MNIST as its online twin."""

from __future__ import annotations

import warnings
from functools import lru_cache
from typing import Literal

import torch

from kdlab.data.images import DataUnavailableError, ImageData, stratified_split

__all__ = ["load_digits"]

_SPLIT_SEED = 0
_DIGITS_SIZES = (1000, 297, 500)
_MNIST_SIZES = (50_000, 10_000, 10_000)


def load_digits(source: Literal["sklearn", "mnist"] = "sklearn") -> ImageData:
    """Load handwritten digits with a fixed stratified split into train, validation and test.

    ``"sklearn"`` is the test part of the "Optical Recognition of Handwritten Digits" set (Alpaydin and
    Kaynak, 1998, UCI repository, CC BY 4.0) as scikit-learn ships it: 1,797 images of 8 by 8 pixels, split
    1,000 / 297 / 500. All three parts hold images by the same 13 writers, so accuracies here say nothing
    about new writers. ``"mnist"`` is MNIST (LeCun, Cortes, Burges) from OpenML: 70,000 images of 28 by 28,
    split 50,000 / 10,000 / 10,000; the first call downloads it, later ones read scikit-learn's cache.

    Returns:
        ``ImageData`` with pixel values in [0, 1]. The same object every time: do not change it in place.

    Raises:
        ValueError: an unknown source.
        DataUnavailableError: MNIST could not be downloaded and is not in the cache.

    Example:
        >>> data = load_digits()
        >>> len(data.train), len(data.validation), len(data.test), data.train.images.shape[1:]
        (1000, 297, 500, torch.Size([1, 8, 8]))
    """
    if source == "sklearn":
        return _sklearn_digits()
    if source == "mnist":
        return _mnist()
    raise ValueError(f"source must be 'sklearn' (no download) or 'mnist' (downloads from OpenML), got {source!r}")


@lru_cache(maxsize=1)
def _sklearn_digits() -> ImageData:
    from sklearn import datasets

    bunch = datasets.load_digits()
    images = torch.from_numpy(bunch.images).float().unsqueeze(1) / 16  # pixel values are 0..16
    labels = torch.from_numpy(bunch.target).long()
    return stratified_split(images, labels, _DIGITS_SIZES, _SPLIT_SEED, source="sklearn")


@lru_cache(maxsize=1)
def _mnist() -> ImageData:
    from sklearn import datasets

    try:
        with warnings.catch_warnings():  # sklearn warns of each retry; our message says it once
            warnings.simplefilter("ignore", UserWarning)
            bunch = datasets.fetch_openml("mnist_784", version=1, as_frame=False, n_retries=1, delay=0.5)
    except (OSError, ValueError) as error:  # URLError and timeouts are OSErrors; a broken file is a ValueError
        raise DataUnavailableError(
            f"MNIST could not be loaded from OpenML ({type(error).__name__}: {error}). It needs a network "
            "connection the first time, and is kept in scikit-learn's data folder after that (where "
            "sklearn.datasets.get_data_home() says). Offline, use load_digits('sklearn'): the lessons need no more"
        ) from error
    images = torch.from_numpy(bunch.data.reshape(-1, 1, 28, 28)).float() / 255
    labels = torch.tensor([int(label) for label in bunch.target])
    return stratified_split(images, labels, _MNIST_SIZES, _SPLIT_SEED, source="mnist")
