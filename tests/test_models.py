"""The small networks: shapes, sizes, and logits rather than probabilities."""

from itertools import pairwise

import pytest
import torch
from torch import nn
from torch.testing import assert_close

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


@pytest.mark.parametrize("size", [8, 28])
@pytest.mark.parametrize("width", [2, 32])
def test_norm_puts_a_batch_norm_behind_each_convolution_and_changes_nothing_else(size: int, width: int) -> None:
    with seeded(0):
        model = SmallCNN(width, num_classes=7, norm=True)
    kinds = [nn.Conv2d, nn.BatchNorm2d, nn.ReLU, nn.Conv2d, nn.BatchNorm2d, nn.ReLU, nn.AdaptiveMaxPool2d]
    assert [type(part) for part in model.features] == kinds
    assert [model.features[place].num_features for place in (1, 4)] == [width, 2 * width]
    assert isinstance(model.classifier[2], nn.Linear)
    assert isinstance(model.classifier[4], nn.Linear)
    assert model(torch.zeros(3, 1, size, size)).shape == (3, 7)
    assert count_parameters(model) == count_parameters(SmallCNN(width, num_classes=7)) + 2 * width + 4 * width


def test_norm_is_off_unless_asked_for_and_only_by_name() -> None:
    names = ["features.0", "features.2", "classifier.2", "classifier.4"]
    weights = [f"{name}.{part}" for name in names for part in ("weight", "bias")]
    assert list(SmallCNN().state_dict()) == weights  # files of earlier lessons still fit
    with pytest.raises(TypeError):
        SmallCNN(4, 10, 0.3, True)  # type: ignore[misc]


def test_the_norms_of_the_norm_network_are_the_only_difference() -> None:
    """With the norms' effect taken out, the network is the one without."""
    with seeded(1):
        model, plain = SmallCNN(4, norm=True).eval(), SmallCNN(4).eval()
    for norm in (model.features[1], model.features[4]):
        norm.running_var.fill_(1 - norm.eps)
    places = {"features.0": "features.0", "features.3": "features.2"} | {
        f"classifier.{n}": f"classifier.{n}" for n in (2, 4)
    }
    for place, other in places.items():
        plain.get_submodule(other).load_state_dict(model.get_submodule(place).state_dict())
    with seeded(2):
        images = torch.randn(5, 1, 8, 8)
    assert_close(model(images), plain(images))


def test_the_norms_see_the_convolutions_and_feed_the_activations() -> None:
    with seeded(0):
        model, images = SmallCNN(4, norm=True).train(), 3 + torch.randn(50, 1, 8, 8)
    seen = {}
    for place in (1, 4):
        model.features[place].register_forward_hook(lambda part, x, y, place=place: seen.update({place: y.detach()}))
    model(images)
    for values in seen.values():
        assert_close(values.mean((0, 2, 3)), torch.zeros(values.shape[1]), atol=1e-5, rtol=0)
        assert_close(values.var((0, 2, 3), correction=0), torch.ones(values.shape[1]), atol=1e-2, rtol=0)
