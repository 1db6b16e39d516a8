"""The small networks that the lessons train. Every one returns logits, never probabilities.

A model that ends in softmax and is trained with a loss that applies softmax again (as
``cross_entropy`` and ``kd_loss`` do) learns the wrong thing in silence: lesson 01 measures it.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

from kdlab.encoder import TextEncoder

__all__ = ["MLP", "SmallCNN", "TextEncoder"]


class MLP(nn.Module):
    """A multilayer perceptron on flattened inputs.

    Args:
        in_features: number of input values per sample after flattening, such as 64 for 8 by 8 pixels.
        hidden: width of each hidden layer; an empty sequence gives a linear classifier.
        num_classes: K, number of logits.

    Shape:
        input ``(B, ...)`` with ``in_features`` values per sample, output ``(B, K)`` logits.

    Example:
        >>> import torch
        >>> MLP(64, hidden=(32,))(torch.zeros(5, 1, 8, 8)).shape
        torch.Size([5, 10])
    """

    def __init__(self, in_features: int = 64, hidden: Sequence[int] = (32,), num_classes: int = 10) -> None:
        super().__init__()
        widths = [in_features, *hidden]
        layers: list[nn.Module] = []
        for width_in, width_out in pairwise(widths):
            layers += [nn.Linear(width_in, width_out), nn.ReLU()]
        self.layers = nn.Sequential(*layers, nn.Linear(widths[-1], num_classes))

    def forward(self, x: Tensor) -> Tensor:
        """Logits for a batch; see the class for shapes."""
        return self.layers(x.flatten(start_dim=1))


class SmallCNN(nn.Module):
    """A convolutional network for small grey images: two blocks, one hidden layer, dropout.

    Args:
        width: channels of the first block; the second has twice as many.
        num_classes: K, number of logits.
        dropout: share of the hidden layer's inputs dropped in training, from 0 up to 1.
        norm: put a batch norm behind each convolution; ``features`` is then conv, norm, ReLU, conv, norm, ReLU, pool.

    Shape:
        input ``(B, 1, H, W)`` with H and W at least 4, output ``(B, K)`` logits. The feature map is pooled to
        4 by 4, so the same network takes 8 by 8 digits and 28 by 28 MNIST.

    Example:
        >>> import torch
        >>> SmallCNN()(torch.zeros(5, 1, 8, 8)).shape
        torch.Size([5, 10])
    """

    def __init__(self, width: int = 32, num_classes: int = 10, dropout: float = 0.3, *, norm: bool = False) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, width, kernel_size=3, padding=1),  # (B, width, H, W)
            *([nn.BatchNorm2d(width)] if norm else []),
            nn.ReLU(),
            nn.Conv2d(width, 2 * width, kernel_size=3, padding=1),  # (B, 2 * width, H, W)
            *([nn.BatchNorm2d(2 * width)] if norm else []),
            nn.ReLU(),
            nn.AdaptiveMaxPool2d(4),  # (B, 2 * width, 4, 4)
        )
        self.classifier = nn.Sequential(
            nn.Flatten(),
            nn.Dropout(dropout),
            nn.Linear(2 * width * 16, 4 * width),
            nn.ReLU(),
            nn.Linear(4 * width, num_classes),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Logits for a batch; see the class for shapes."""
        return self.classifier(self.features(x))
