"""What a weight is worth: scores that ask the data, beside its mere size."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel

from kdlab.layer_inputs import padded, sums_over_inputs
from kdlab.masks import prunable
from kdlab.modes import evaluating

__all__ = ["magnitudes", "obd_saliency", "wanda_scores"]


_CHUNK = 64  # samples whose gradients are held at the same time


def magnitudes(model: nn.Module) -> dict[str, Tensor]:
    """The absolute values of the :func:`kdlab.pruning.prunable` weights, by parameter name."""
    return {name: weight.detach().abs() for name, weight in prunable(model).items()}


def obd_saliency(model: nn.Module, images: Tensor, labels: Tensor | None = None) -> dict[str, Tensor]:
    r"""Optimal brain damage: how much the loss rises if one weight becomes zero, to second order.

    .. math:: \delta L \approx \tfrac12 h_{ii} w_i^2, \qquad
              h_{ii} \approx \frac1N \sum_n \Big(\frac{\partial \ell_n}{\partial w_i}\Big)^2

    At a minimum the gradient is zero, so the curvature decides; only its diagonal is used, which takes weights to be
    independent of each other. The Hessian's diagonal is replaced by that of the Fisher information: for cross-entropy
    the two agree in expectation where the model's probabilities are right. With ``labels`` the squares are those of the
    labels' losses (the empirical Fisher, close to zero where all is learned by heart); without, the classes are
    weighted by the model's own probabilities, which is the Fisher itself.

    Args:
        model: returns logits ``(N, K)``; asked in evaluation mode, its gradients are left alone.
        images: N samples, shape ``(N, ...)``; a few hundred are enough.
        labels: class indices ``(N,)``, or ``None`` for the Fisher itself (K gradients per sample).

    Returns:
        Parameter name to scores of the weight's shape, at least 0.

    Raises:
        ValueError: no images, or labels that are not one class index for each.

    References:
        LeCun, Denker, Solla (1990), Optimal Brain Damage, NeurIPS 2. Kunstner, Balles, Hennig (2019), Limitations of
        the Empirical Fisher Approximation, arXiv 1905.12558.

    Example:
        >>> layer = nn.Linear(2, 2, bias=False)
        >>> {name: list(score.shape) for name, score in obd_saliency(layer, torch.eye(2)).items()}
        {'weight': [2, 2]}
    """
    if len(images) == 0 or (labels is not None and len(labels) != len(images)):
        count = "no labels" if labels is None else f"{len(labels)} labels"
        raise ValueError(f"images must hold at least one sample and labels one for each, got {len(images)} and {count}")
    if labels is not None and (labels.dim() != 1 or labels.is_floating_point()):
        raise ValueError(f"labels must be class indices (N,), got {labels.dtype} of shape {list(labels.shape)}")
    weights = {name: weight.detach() for name, weight in prunable(model).items()}

    def log_probability(part: dict[str, Tensor], image: Tensor, label: int) -> Tensor:
        return functional_call(model, part, (image[None],)).log_softmax(dim=-1)[0, label]

    squares = {name: torch.zeros_like(weight) for name, weight in weights.items()}
    with evaluating(model), sdpa_kernel(SDPBackend.MATH):  # vmap has no rule for fused attention
        for part, known in zip(images.split(_CHUNK), _splits(labels, len(images)), strict=True):
            probabilities = model(part).softmax(dim=-1)  # (n, K)
            classes = probabilities.shape[1]
            if known is not None and not 0 <= int(known.min()) <= int(known.max()) < classes:
                raise ValueError(f"labels must lie in 0 to {classes - 1}, got {known.min()} to {known.max()}")
            for label in range(classes):
                share = probabilities[:, label] if known is None else (known == label).to(probabilities.dtype)  # (n,)
                if not share.any():
                    continue
                of_each = vmap(grad(partial(log_probability, label=label)), in_dims=(None, 0))
                gradients = of_each(weights, part)
                for name, gradient in gradients.items():  # (n, *shape)
                    squares[name] += torch.einsum("n,n...->...", share, gradient.square())
    return {name: 0.5 * squares[name] / len(images) * weight.square() for name, weight in weights.items()}


def wanda_scores(model: nn.Module, images: Tensor) -> dict[str, Tensor]:
    r"""Weight times the length of its input: a small weight on a loud input is not small.

    .. math:: S_{ij} = |w_{ij}| \cdot \|x_j\|_2

    with :math:`x_j` the values of input j over all samples (for a convolution over all positions too). Scores of
    different outputs share their inputs and are compared within a row only: use ``score_mask(..., scope="row")``.
    No gradient and no training are needed, one forward pass is.

    Args:
        model: any model with linear layers or convolutions without groups; asked in evaluation mode.
        images: what to calibrate on, shape ``(N, ...)``.

    Returns:
        Parameter name to scores of the weight's shape, at least 0.

    Raises:
        ValueError: a grouped or other convolution than ``Conv2d``, or a layer that did not run.

    References:
        Sun, Liu, Bair, Kolter (2023), A Simple and Effective Pruning Approach for Large Language Models,
        arXiv 2306.11695.

    Example:
        >>> layer = nn.Linear(2, 1, bias=False)
        >>> _ = layer.weight.data.fill_(1.0)
        >>> wanda_scores(layer, torch.tensor([[3.0, 0.0], [4.0, 1.0]]))["weight"].tolist()
        [[5.0, 1.0]]
    """
    weights = prunable(model)
    shared = {id(weight): name for name, weight in weights.items()}
    readers: list[tuple[str, nn.Module]] = []
    for name, layer in model.named_modules():
        parameter = shared.get(id(getattr(layer, "weight", None)), f"{name}.weight" if name else "weight")
        if parameter not in weights or isinstance(layer, nn.Embedding):
            continue
        if not isinstance(layer, nn.Linear) and not (isinstance(layer, nn.Conv2d) and layer.groups == 1):
            raise ValueError(
                f"{name or 'the model'} is {layer}: inputs are known for Linear and for Conv2d without groups"
            )
        readers.append((parameter, layer))

    squares = sums_over_inputs(model, readers, lambda name, layer, x: _input_squares(layer, x), images)
    if idle := [name for name in weights if name not in squares]:
        raise ValueError(f"these layers did not run, so nothing is known of their inputs: {', '.join(idle)}")
    return {name: weight.detach().abs() * squares[name].sqrt() for name, weight in weights.items()}


def _input_squares(layer: nn.Module, x: Tensor) -> Tensor:
    """Sum of squares of each input, in the shape of one output's weight: (1, in) or (1, in, kh, kw)."""
    if isinstance(layer, nn.Linear):
        return x.reshape(-1, x.shape[-1]).square().sum(0, keepdim=True)
    assert isinstance(layer, nn.Conv2d)
    x = x.reshape(-1, *x.shape[-3:])  # a single image may come without a batch
    sums = padded(layer, x).square().sum(0, keepdim=True)  # (1, C, H, W)
    patches = F.unfold(sums, layer.kernel_size, layer.dilation, stride=layer.stride)  # (1, C kh kw, positions)
    return patches.sum(-1).view(1, x.shape[1], *layer.kernel_size)


def _splits(labels: Tensor | None, count: int) -> Sequence[Tensor | None]:
    return [None] * -(-count // _CHUNK) if labels is None else labels.split(_CHUNK)
