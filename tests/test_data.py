"""The digits: a fixed split that does not leak, and a twin that fails with a way on."""

from __future__ import annotations

from types import SimpleNamespace
from urllib.error import URLError

import numpy as np
import pytest
import torch

from kdlab.data import DataUnavailableError, ImageSet, load_digits
from kdlab.data import digits as digits_module


def test_the_split_is_the_one_the_lessons_were_written_with() -> None:
    """A change of scikit-learn's data or of its splitting would silently change every result of the course."""
    assert load_digits().checksum == "46febfa621a12358637b95a0863ae4d2b38878ba21b2189d7cc7f523ef051ccf"


def test_the_three_parts_hold_each_image_once() -> None:
    data = load_digits()
    rows = torch.cat([part.images.flatten(1) for part in (data.train, data.validation, data.test)])
    assert len(rows) == 1797
    assert len(torch.unique(rows, dim=0)) == 1797


def test_classes_are_spread_evenly_and_values_lie_in_the_unit_interval() -> None:
    data = load_digits()
    for part in (data.train, data.validation, data.test):
        share = torch.bincount(part.labels) / len(part)
        assert (share - 0.1).abs().max() < 0.01
        assert part.images.dtype == torch.float32
        assert part.labels.dtype == torch.int64
        assert 0 <= part.images.min() < part.images.max() == 1


def test_a_subset_is_balanced_repeatable_and_differs_by_seed() -> None:
    train = load_digits().train
    first, again, other = train.subset(5, seed=1), train.subset(5, seed=1), train.subset(5, seed=2)
    assert torch.bincount(first.labels).tolist() == [5] * 10
    assert torch.equal(first.images, again.images)
    assert not torch.equal(first.images, other.images)


@pytest.mark.parametrize("count", [0, -1, 98])
def test_a_subset_that_cannot_be_had_is_refused(count: int) -> None:
    with pytest.raises(ValueError, match="between 1 and 97"):
        load_digits().train.subset(count)


def test_images_and_labels_must_match() -> None:
    with pytest.raises(ValueError, match="3 images but 2 labels"):
        ImageSet(torch.zeros(3, 1, 8, 8), torch.zeros(2).long())


def test_an_unknown_source_is_refused() -> None:
    with pytest.raises(ValueError, match="got 'cifar'"):
        load_digits("cifar")  # type: ignore[arg-type]


@pytest.fixture
def _no_cached_mnist() -> None:
    digits_module._mnist.cache_clear()


@pytest.mark.usefixtures("_no_cached_mnist")
@pytest.mark.parametrize("cause", [URLError("no network"), TimeoutError("timed out"), ValueError("checksum mismatch")])
def test_mnist_without_a_network_names_the_way_on(cause: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object, **kwargs: object) -> None:
        raise cause

    monkeypatch.setattr("sklearn.datasets.fetch_openml", fail)
    with pytest.raises(DataUnavailableError, match=r"load_digits\('sklearn'\)") as caught:
        load_digits("mnist")
    assert str(cause.args[0]) in str(caught.value)


@pytest.mark.usefixtures("_no_cached_mnist")
def test_mnist_has_the_same_form_as_the_digits(monkeypatch: pytest.MonkeyPatch) -> None:
    """As OpenML delivers it: rows of 784 integers and labels that are strings. A tenth of the size."""
    generator = np.random.default_rng(0)
    bunch = SimpleNamespace(
        data=generator.integers(0, 256, (7000, 784)), target=generator.integers(0, 10, 7000).astype(str)
    )
    monkeypatch.setattr("sklearn.datasets.fetch_openml", lambda *args, **kwargs: bunch)
    monkeypatch.setattr(digits_module, "_MNIST_SIZES", (5000, 1000, 1000))
    data = load_digits("mnist")
    assert data.train.images.shape == (5000, 1, 28, 28)
    assert (len(data.validation), len(data.test), data.source) == (1000, 1000, "mnist")
    assert data.train.labels.dtype == torch.int64
    assert 0.9 < data.test.images.max() <= 1
    digits_module._mnist.cache_clear()
