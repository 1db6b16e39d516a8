"""What layers are given while a model runs: a number of each input, summed over a batch and over every call."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from kdlab.modes import evaluating

__all__ = ["padded", "sums_over_inputs"]


def sums_over_inputs(
    model: nn.Module,
    layers: Iterable[tuple[str, nn.Module]],
    measure: Callable[[str, Any, Any], Tensor],
    batch: Tensor,
) -> dict[str, Tensor]:
    """Run ``model`` on ``batch`` once, in evaluation mode and without gradients, and measure what the layers are given.

    Args:
        model: it stays as it is, and no hook stays behind, also after an error.
        layers: names and layers; what is measured of layers with the same name is added up, as are a layer's calls.
        measure: ``measure(name, layer, input) -> Tensor``, of one shape for each name.
        batch: for the model.

    Returns:
        Name to sum; a layer that never ran has no entry.

    Example:
        >>> import torch
        >>> layer = nn.Linear(2, 1)
        >>> squares = lambda name, layer, x: x.square().sum(0)
        >>> sums_over_inputs(layer, [("all", layer)], squares, torch.tensor([[3.0, 0.0], [4.0, 1.0]]))
        {'all': tensor([25.,  1.])}
    """
    sums: dict[str, Tensor] = {}

    def note(layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], *, name: str) -> None:
        found = measure(name, layer, args[0] if args else kwargs["input"])
        sums[name] = sums[name] + found if name in sums else found

    handles = []
    try:
        for name, layer in layers:
            handles.append(layer.register_forward_pre_hook(partial(note, name=name), with_kwargs=True))
        with evaluating(model):
            model(batch)
    finally:
        for handle in handles:
            handle.remove()
    return sums


def padded(layer: nn.Conv2d, maps: Tensor) -> Tensor:
    """Feature maps ``(N, C, H, W)`` with the convolution's own padding around them, whatever its mode."""
    mode = "constant" if layer.padding_mode == "zeros" else layer.padding_mode
    return F.pad(maps, layer._reversed_padding_repeated_twice, mode=mode)
