"""The small networks: shapes, sizes, and logits rather than probabilities."""

from itertools import pairwise

import pytest
import torch
from torch import nn

from kdlab.measure import count_parameters
from kdlab.models import MLP, SmallCNN
from kdlab.training import seeded


@pytest.mark.parametrize("size", [8, 28])
def test_one_cnn_takes_digits_and_mnist(size: int) -> None:
    assert SmallCNN(num_classes=7)(torch.zeros(3, 1, size, size)).shape == (3, 7)


@pytest.mark.parametrize("hidden", [(), (8,), (256, 64)])
def test_mlp_has_the_layers_it_was_asked_for(hidden: tuple[int, ...]) -> None:
    widths = [64, *hidden, 10]
    expected = sum((a + 1) * b for a, b in pairwise(widths))
    model = MLP(64, hidden=hidden)
    assert model(torch.zeros(5, 1, 8, 8)).shape == (5, 10)
    assert count_parameters(model) == expected


@pytest.mark.parametrize("model", [MLP(), SmallCNN()], ids=["MLP", "SmallCNN"])
def test_models_return_logits(model: nn.Module) -> None:
    with seeded(0):
        rows = model(10 * torch.randn(50, 1, 8, 8))
    assert (rows < 0).any()
    assert not torch.allclose(rows.sum(-1), torch.ones(50))
    assert not any(isinstance(part, (nn.Softmax, nn.LogSoftmax)) for part in model.modules())
