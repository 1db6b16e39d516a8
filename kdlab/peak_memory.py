"""The most memory that a computation holds at one time."""

from __future__ import annotations

import os
from collections.abc import Callable
from itertools import accumulate

import torch

__all__ = ["peak_memory"]


def peak_memory(function: Callable[[], object], *, device: str | torch.device = "cpu") -> int:
    r"""Bytes of tensors that ``function()`` holds at its worst moment, over what was there before the call.

    .. math:: \max_t \sum_{i \le t} b_i

    with :math:`b_i` the bytes that torch's allocator hands out (positive) or takes back (negative), in order. That
    includes what an operation needs inside and what autograd keeps for the backward pass, neither of which can be seen
    from the tensors a program names; it leaves out the interpreter and everything that was allocated earlier. On the
    CPU the numbers come from torch's profiler (which makes the call slower: never take times in it), on a CUDA device
    from the caching allocator's own counter, which rounds each tensor up to 512 bytes.

    Call the function once before where it keeps something on its first call (a buffer, a gradient).

    Args:
        function: takes no arguments; its result is dropped after the measurement.
        device: where the tensors live, ``"cpu"`` or a CUDA device.

    Returns:
        Bytes, at least 0.

    Raises:
        TypeError: ``function`` cannot be called, such as a tensor that was computed already.
        ValueError: a device that is neither the CPU nor a CUDA device of this machine.

    Example:
        >>> x = torch.zeros(1000)  # 4,000 bytes, there before
        >>> peak_memory(lambda: x.exp().neg())  # the exponential is still there when the result is made
        8000
    """
    if not callable(function):
        raise TypeError(
            f"peak_memory needs a function without arguments, got {type(function).__name__}: "
            "wrap the computation, as in peak_memory(lambda: loss(student, teacher))"
        )
    device = torch.device(device)
    if device.type == "cpu":
        return _on_cpu(function)
    if device.type == "cuda" and torch.cuda.is_available():
        return _on_cuda(function, device)
    raise ValueError(f"peak_memory measures on the CPU or on a CUDA device of this machine, got {str(device)!r}")


def _on_cpu(function: Callable[[], object]) -> int:
    # The profiler's library writes its own steps to stderr, which a notebook would show.
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profiler:
        function()
    events = profiler.profiler.kineto_results.events()  # in order of time
    changes = (event.nbytes() for event in events if event.name() == "[memory]")
    return max(accumulate(changes, initial=0))


def _on_cuda(function: Callable[[], object], device: torch.device) -> int:
    torch.cuda.synchronize(device)
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    function()
    torch.cuda.synchronize(device)
    return int(torch.cuda.max_memory_allocated(device)) - before
