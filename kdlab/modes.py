"""What is put back as it was: evaluation mode of models, the number of torch's threads, the answer to an interrupt."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

__all__ = ["evaluating", "noting_interrupts", "threads"]


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


@contextmanager
def noting_interrupts() -> Iterator[threading.Event]:
    """An event that is set when the user interrupts, also where the code inside swallows the KeyboardInterrupt."""
    noted = threading.Event()
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield noted
        return

    def note(number: int, frame: Any) -> None:
        noted.set()
        before(number, frame)

    signal.signal(signal.SIGINT, note)
    try:
        yield noted
    finally:
        signal.signal(signal.SIGINT, before)
