"""Labelled images in memory, and how they are split."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["DataUnavailableError", "ImageData", "ImageSet"]


class DataUnavailableError(RuntimeError):
    """A data set that needs a download could not be had; the message names the way on."""


@dataclass(frozen=True)
class ImageSet:
    """Images and their labels, in a fixed order.

    Attributes:
        images: shape ``(N, 1, H, W)``, float32 in [0, 1].
        labels: shape ``(N,)``, int64 class indices.
    """

    images: Tensor
    labels: Tensor

    def __post_init__(self) -> None:
        if len(self.images) != len(self.labels):
            raise ValueError(f"{len(self.images)} images but {len(self.labels)} labels: one label per image")

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def num_classes(self) -> int:
        """K: one more than the largest label."""
        return int(self.labels.max()) + 1

    def subset(self, per_class: int, seed: int = 0) -> ImageSet:
        """Draw ``per_class`` samples of each class without replacement, the same ones for the same seed.

        Raises:
            ValueError: fewer than 1, or more than the smallest class has.
        """
        smallest = int(torch.bincount(self.labels).min())
        if not 1 <= per_class <= smallest:
            raise ValueError(
                f"per_class must lie between 1 and {smallest}, the size of the smallest class: {per_class}"
            )
        generator = torch.Generator().manual_seed(seed)
        chosen = []
        for label in range(self.num_classes):
            members = (self.labels == label).nonzero().flatten()
            chosen.append(members[torch.randperm(len(members), generator=generator)[:per_class]])
        rows = torch.cat(chosen).sort().values
        return ImageSet(self.images[rows], self.labels[rows])


@dataclass(frozen=True)
class ImageData:
    """A data set in three parts that never mix: train to learn, validation to choose, test to report."""

    train: ImageSet
    validation: ImageSet
    test: ImageSet
    source: str

    @property
    def checksum(self) -> str:
        """sha256 over the images and labels of all three parts, in order: equal data gives an equal checksum."""
        digest = hashlib.sha256()
        for part in (self.train, self.validation, self.test):
            digest.update(part.images.contiguous().numpy().tobytes())
            digest.update(part.labels.contiguous().numpy().tobytes())
        return digest.hexdigest()


def stratified_split(images: Tensor, labels: Tensor, sizes: tuple[int, int, int], seed: int, source: str) -> ImageData:
    """Split into train, validation and test of the given sizes, each with the classes in equal shares."""
    from sklearn.model_selection import train_test_split

    train_size, validation_size, test_size = sizes
    rows = torch.arange(len(labels)).numpy()
    classes = labels.numpy()
    kept, test = train_test_split(
        rows, train_size=train_size + validation_size, test_size=test_size, stratify=classes, random_state=seed
    )
    train, validation = train_test_split(
        kept, train_size=train_size, test_size=validation_size, stratify=classes[kept], random_state=seed
    )
    first, second, third = (ImageSet(images[part], labels[part]) for part in (train, validation, test))
    return ImageData(train=first, validation=second, test=third, source=source)
