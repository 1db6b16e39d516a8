"""Evaluation mode without side effects: the one way to look at a model in the middle of anything."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

__all__ = ["evaluating"]


@contextmanager
def evaluating(*models: object) -> Iterator[None]:
    """Evaluation mode and no gradients inside; outside, every submodule is in the mode it was in before.

    A plain ``model.eval()`` ... ``model.train()`` pair would wake up layers that were frozen on purpose.
    Arguments that are not modules are passed over.
    """
    modules = [part for model in models if isinstance(model, nn.Module) for part in model.modules()]
    modes = [part.training for part in modules]
    try:
        for part in modules:
            part.training = False
        with torch.no_grad():
            yield
    finally:
        for part, mode in zip(modules, modes, strict=True):
            part.training = mode
