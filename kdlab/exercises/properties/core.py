"""What the lists of properties are written with: how to state one, what results may be, how values are shown."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np
import torch
from torch import Tensor

__all__ = [
    "PROPERTIES",
    "RESULTS",
    "NotFinite",
    "Property",
    "WrongKind",
    "agrees",
    "anything",
    "expect",
    "like_first",
    "near",
    "number",
    "prop",
    "random",
    "shaped",
    "shown",
    "tensor",
    "vector",
]

Check = Callable[[Callable[..., Any]], None]


@dataclass(frozen=True)
class Property:
    """One thing that must hold.

    Attributes:
        name: stable; tests and the bank refer to it.
        check: gets the learner's function; raises AssertionError where the property does not hold.
        message: Markdown that names the misconception.
        finite: whether ``message`` also explains a result that is NaN or infinite.
    """

    name: str
    check: Check
    message: str
    finite: bool = False


class WrongKind(Exception):
    """The result cannot be judged: it has the wrong kind or shape."""


class NotFinite(AssertionError):
    """The result holds NaN or an infinity."""


PROPERTIES: dict[str, tuple[Property, ...]] = {}
RESULTS: dict[str, Callable[..., Any]] = {}
"""By slug: takes the result and the arguments, returns the result made plain, or raises WrongKind or NotFinite."""


def prop(slug: str, message: str, *, finite: bool = False) -> Callable[[Check], Check]:
    """Append a property to the list of an exercise."""

    def keep(check: Check) -> Check:
        name = check.__name__.removeprefix("_")
        PROPERTIES[slug] = (*PROPERTIES.get(slug, ()), Property(name, check, message, finite))
        return check

    return keep


def expect(holds: object, sentence: str = "") -> None:
    """Complain unless it holds; without a sentence the last call and what came are shown."""
    if not holds:
        raise AssertionError(sentence)


# ------------------------------------------------------------------------------------------------- kinds of results


def anything(result: Any, *arguments: Any) -> Any:
    """The result as it is."""
    return result


def tensor(result: Any, *arguments: Any) -> Tensor:
    """A finite real tensor of any shape."""
    if not issubclass(type(result), Tensor):
        hint = (
            ": `torch.as_tensor` makes one of it" if issubclass(type(result), list | tuple | float | np.ndarray) else ""
        )
        raise WrongKind(f"A tensor is expected, `{type(result).__name__}` came{hint}.")
    with torch._C.DisableTorchFunctionSubclass():  # no method of the learner's own
        if result.layout != torch.strided or result.is_meta or result.numel() > 10**6:
            raise WrongKind(f"A plain tensor with numbers is expected, one of shape {list(result.shape)} came.")
        plain = Tensor.as_subclass(result, Tensor)
    if not plain.is_floating_point():
        raise WrongKind(f"Floating point numbers are expected, `{plain.dtype}` came.")
    if not torch.isfinite(plain).all():
        kind = "NaN" if plain.isnan().any() else "an infinity"
        raise NotFinite(f"The result holds {kind}: `{shown(plain)}` for the input `{_inputs(arguments)}`.")
    return plain.cpu()


def like_first(result: Any, first: Tensor, *rest: Any) -> Tensor:
    """A finite tensor of the shape of the first argument."""
    return shaped(tensor(result, first, *rest), first.shape)


def shaped(result: Tensor, shape: Any) -> Tensor:
    """The result, if it has that shape."""
    if list(result.shape) != list(shape):
        raise WrongKind(f"The result has shape {list(result.shape)}, expected is {list(shape)}.")
    return result


def number(result: Any, *arguments: Any) -> float:
    """A finite float; a tensor or an array of no dimensions will do."""
    if issubclass(type(result), Tensor | np.ndarray):
        if result.ndim:
            raise WrongKind(f"One number is expected, an array of shape {list(result.shape)} came.")
        result = result.item()
    if type(result) is bool or not issubclass(type(result), Real):  # isinstance would ask the result itself
        raise WrongKind(f"A number is expected, `{type(result).__name__}` came.")
    try:
        value = float(result)
    except OverflowError:
        value = math.inf
    if not math.isfinite(value):
        raise NotFinite(f"The result is {value} for the input `{_inputs(arguments)}`.")
    return value


def shown(value: Any) -> str:
    """A short text for messages: numbers rounded, large things by their shape.

    Example:
        >>> shown(torch.tensor([[1.0, 2.0], [1 / 3, 4.0]])), shown([0.5]), shown(torch.zeros(99))
        ('[[1, 2], [0.3333, 4]]', '[0.5]', 'tensor of shape [99]')
    """
    if type(value) in (Tensor, torch.nn.Parameter):
        small = value.numel() <= 12 and value.layout == torch.strided and not value.is_meta
        return _nested(value.tolist()) if small else f"tensor of shape {list(value.shape)}"
    if type(value) in (list, tuple):
        return _nested(value) if len(value) <= 12 else f"{type(value).__name__} of {len(value)}"
    return _nested(value)


def _nested(value: Any) -> str:
    if type(value) in (list, tuple):
        return f"[{', '.join(map(_nested, value))}]"
    if type(value) in (int, float, np.float64, np.float32):
        return f"{value:.6g}" if abs(value) >= 1000 else f"{value:.4g}"
    return repr(value)[:60] if type(value) in (str, bool, complex) else type(value).__name__


def _inputs(arguments: tuple[Any, ...]) -> str:
    return ", ".join(map(shown, arguments))


def vector(*values: float) -> Tensor:
    """A float32 tensor of these values."""
    return torch.tensor(values, dtype=torch.float32, device="cpu")


def near(a: Any, b: Any, tolerance: float = 1e-5) -> bool:
    """Whether two tensors or numbers agree, each within the tolerance, relative or absolute."""
    a, b = (torch.as_tensor(x, dtype=torch.float64, device="cpu").detach() for x in (a, b))
    return bool(torch.allclose(a, b, rtol=tolerance, atol=tolerance))


def agrees(slug: str, cases: Callable[[], list[tuple[Any, ...]]], exact: Callable[..., Any], tolerance: float) -> None:
    """Register the last property of an exercise: the same as an exact function on many inputs, the same ones each time.

    What a misconception gets wrong has a property of its own before this one; here falls what was right by luck.
    """

    @prop(slug, "Right in all the simple cases, but not in every case.")
    def agrees_with_the_reference(function: Any) -> None:
        for arguments in cases():
            wanted = exact(*arguments)
            came = function(*arguments)
            expect(
                near(came, wanted, tolerance),
                f"For `{_inputs(arguments)}` came `{shown(came)}`; expected is `{shown(wanted)}`.",
            )


def random() -> torch.Generator:
    """Random numbers that are the same in every check."""
    return torch.Generator().manual_seed(0)
