"""Catch what layers put out while a model runs, and leave nothing behind."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from types import TracebackType
from typing import Any

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

__all__ = ["FeatureTap"]


class FeatureTap:
    """Catches the outputs of some layers each time the model runs, inside a ``with`` block only.

    ``tap[name]`` is the tensor that the layer returned in the latest run, with its graph, so a loss on it trains the
    model. When the block ends, also by an error, every hook is gone; what was caught stays readable.

    Args:
        model: any module; it is not changed.
        names: layers as ``model.named_modules()`` has them, such as ``"features.3"``; one name or several.

    Raises:
        TypeError: no module, or names that are no strings.
        ValueError: no names, or one that is no layer's; the message lists those there are.

    Example:
        >>> import torch
        >>> from kdlab.models import SmallCNN
        >>> model = SmallCNN(4)
        >>> with FeatureTap(model, "features.3") as tap:
        ...     logits = model(torch.zeros(5, 1, 8, 8))
        >>> tap["features.3"].shape
        torch.Size([5, 8, 8, 8])
    """

    def __init__(self, model: nn.Module, names: str | Sequence[str]) -> None:
        if not isinstance(model, nn.Module):
            raise TypeError(f"model must be a torch module, got {type(model).__name__}")
        if not isinstance(names, Sequence):
            raise TypeError(f"names must be a layer's name or a list of them, got {type(names).__name__}")
        self.names = (names,) if isinstance(names, str) else tuple(names)
        if not self.names:
            raise ValueError("names is empty: name at least one layer, such as 'features.3'")
        self._layers = {name: _layer(model, name) for name in self.names}
        self._handles: list[RemovableHandle] = []
        self._caught: dict[str, tuple[Tensor, int]] = {}  # the tensor, and how often it had been changed in place

    def __enter__(self) -> FeatureTap:
        if self._handles:
            raise RuntimeError("this tap is open already: make a second one, or close this one first")
        self.clear()
        for name, layer in self._layers.items():
            self._handles.append(layer.register_forward_hook(self._catcher(name)))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        while self._handles:
            self._handles.pop().remove()

    def __getitem__(self, name: str) -> Tensor:
        """What the layer returned in the latest run.

        Raises:
            KeyError: not one of the tapped layers, or the model has not run yet.
            RuntimeError: a later layer has changed the tensor in place, so it is no longer this layer's output.
        """
        if name not in self._layers:
            raise KeyError(f"{name!r} is not tapped; tapped are {', '.join(self.names)}")
        if name not in self._caught:
            when = "inside this with block" if self._handles else "inside the with block"
            raise KeyError(f"nothing was caught from {name!r}: run the model {when} before reading, and all of it")
        features, version = self._caught[name]
        if _version(features) != version:
            raise RuntimeError(
                f"the output of {name!r} was changed in place after it was caught, so it is the next layer's by now: "
                "build that layer with inplace=False (nn.ReLU(inplace=True) is the usual one), or tap the next layer"
            )
        return features

    def clear(self) -> None:
        """Forget what was caught, and free its memory and graph."""
        self._caught.clear()

    def __repr__(self) -> str:
        shapes = {name: list(features.shape) for name, (features, _) in self._caught.items()}
        return (
            f"FeatureTap({'open' if self._handles else 'closed'}, {', '.join(self.names)}; caught: {shapes or 'none'})"
        )

    def _catcher(self, name: str) -> Any:
        def catch(layer: nn.Module, inputs: Any, output: Any) -> None:
            if layer is not self._layers[name]:  # a deep copy of the model, which took the hook with it
                return
            if not isinstance(output, Tensor):
                raise TypeError(
                    f"layer {name!r} returned a {type(output).__name__}, not a tensor: tap a layer inside it "
                    "(recurrent and attention layers return tuples)"
                )
            self._caught[name] = (output, _version(output))

        return catch


def _layer(model: nn.Module, name: object) -> nn.Module:
    """The submodule of that name, or an error with the names there are."""
    if not isinstance(name, str):
        raise TypeError(f"names must be strings such as 'features.3', got {name!r}")
    layers = {key: layer for key, layer in model.named_modules() if key}
    if name in layers:
        return layers[name]
    near = difflib.get_close_matches(name, layers, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise ValueError(f"{name!r} is no layer of {type(model).__name__}; there are: {', '.join(layers)}{hint}")


def _version(tensor: Tensor) -> int:
    """How often a tensor was changed in place; torch does not count it in inference mode."""
    return 0 if tensor.is_inference() else tensor._version
