"""Modes that are put back as they were: evaluation mode of models, and the number of torch's threads."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

__all__ = ["evaluating", "threads"]


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


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Let torch use ``count`` threads inside, and as many as before outside.

    Networks as small as the lessons' gain nothing from a second thread, and on a busy machine they wait for it.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
