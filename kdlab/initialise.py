"""A student that starts from part of its teacher: the teacher's largest units, layer by layer."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["initialise_from_teacher"]

_WEIGHTED = (nn.Linear, nn.Conv1d, nn.Conv2d)
_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)

State = dict[str, Tensor]


@torch.no_grad()
def initialise_from_teacher(student: nn.Module, teacher: nn.Module) -> list[str]:
    """Copy a slice of the teacher's weights into a narrower student of the same family, in place.

    Of each layer the units (neurons, channels) with the largest weight norm are kept, as many as the student has. A
    kept unit keeps its inputs: the columns of the next layer follow the choice, also through pooling and flattening.
    What a unit loses with its other inputs is made up for, by scaling the weights that stay to the norm that all had
    together. Inputs and classes are kept whole. It is for plain chains of layers, in the order in which the modules
    are defined; a network with branches or shortcuts needs more care.

    References:
        Choosing units by norm: Li, Kadav, Durdanovic, Samet, Graf (2017), Pruning Filters for Efficient ConvNets,
        arXiv 1608.08710. Starting a small model from a large one: Xu et al. (2024), Initializing Models with Larger
        Ones, arXiv 2311.18823.

    Args:
        student: linear, convolution and batch-norm layers, and layers without weights; changed in place.
        teacher: the same layers in the same order, at least as wide; left as it is.

    Returns:
        One line per layer: how many of the teacher's units the student got.

    Raises:
        ValueError: another family: other layers, other inputs or classes, or a student that is wider somewhere. The
            student is unchanged then.

    Example:
        >>> from kdlab.models import MLP
        >>> initialise_from_teacher(MLP(64, hidden=(8,)), MLP(64, hidden=(256,)))
        ['layers.0: 8 of 256 units', 'layers.2: 10 of 10 units']
    """
    pairs = _matching_layers(student, teacher)
    kept: Tensor | None = None  # which units of the layer before stay, None for all of the inputs
    fed, plan = 0, []  # out of how many; and every layer is checked before the first is changed
    for name, mine, theirs in pairs:
        state: State = theirs.state_dict()
        columns = _columns(name, kept, fed, _inputs(theirs))
        if isinstance(theirs, _WEIGHTED):
            fed, kept = _width(theirs), _largest(state["weight"], _width(mine))
            state = _cut_weights(state, kept, columns)
        else:
            state = {key: value[columns] if value.dim() else value for key, value in state.items()}
        _check_fits(name, mine, state)
        plan.append((mine, state))
    for mine, state in plan:
        mine.load_state_dict(state)
    return [f"{name}: {_width(mine)} of {_width(theirs)} units" for name, mine, theirs in pairs]


def _largest(weight: Tensor, count: int) -> Tensor:
    """The ``count`` units with the largest weight norm, in their own order."""
    return weight.flatten(start_dim=1).norm(dim=1).topk(count).indices.sort().values


def _columns(name: str, kept: Tensor | None, fed: int, inputs: int) -> Tensor:
    """Which inputs of a layer stay: those that come from kept units; flattening makes several of each."""
    if kept is None:
        return torch.arange(inputs)
    each, rest = divmod(inputs, fed)
    if rest:
        raise ValueError(f"{name} takes {inputs} inputs from {fed} units: only a plain chain of layers can be followed")
    return (kept[:, None] * each + torch.arange(each)).flatten()


def _cut_weights(state: State, kept: Tensor, columns: Tensor) -> State:
    """Rows and columns that stay, each row scaled to the norm that it had with all of its columns."""
    rows = state["weight"][kept]
    cut = rows[:, columns]
    norms = [value.flatten(start_dim=1).norm(dim=1) for value in (rows, cut)]
    scale = torch.where(norms[1] > 0, norms[0] / norms[1], 1.0)
    cut = cut * scale.reshape(-1, *[1] * (cut.dim() - 1))
    return {"weight": cut, **({"bias": state["bias"][kept]} if "bias" in state else {})}


def _matching_layers(student: nn.Module, teacher: nn.Module) -> list[tuple[str, nn.Module, nn.Module]]:
    """The layers that hold weights, in pairs; an error if the networks are of different families."""
    mine, theirs = _leaves(student), _leaves(teacher)
    kinds = [", ".join(type(part).__name__ for part in parts.values()) for parts in (mine, theirs)]
    if kinds[0] != kinds[1]:
        raise ValueError(
            f"student and teacher are of different families, so start this student at random: {kinds[0]} (student) "
            f"against {kinds[1]} (teacher)"
        )
    pairs = [(name, a, b) for (name, a), b in zip(mine.items(), theirs.values(), strict=True) if b.state_dict()]
    weighted = [pair for pair in pairs if isinstance(pair[2], _WEIGHTED)]
    if not weighted:
        raise ValueError("the teacher has no linear or convolution layer to start from")
    for name, part, other in pairs:
        if not isinstance(other, (*_WEIGHTED, *_NORMS)) or getattr(other, "groups", 1) != 1:
            raise ValueError(f"{name} is a {other}: only plain linear, convolution and batch norm layers can be cut")
        if _width(part) > _width(other):
            raise ValueError(f"{name} has {_width(part)} units, the teacher's only {_width(other)}: a wider student")
    name, part, other = weighted[-1]
    if _width(part) != _width(other):
        raise ValueError(f"{name} gives {_width(part)} classes, the teacher's {_width(other)}: other classes")
    return pairs


def _check_fits(name: str, layer: nn.Module, state: State) -> None:
    shapes = [{key: list(value.shape) for key, value in values.items()} for values in (layer.state_dict(), state)]
    if shapes[0] != shapes[1]:
        raise ValueError(f"{name} does not fit: the student has {shapes[0]}, the teacher's slice is {shapes[1]}")


def _leaves(model: nn.Module) -> dict[str, nn.Module]:
    return {name: part for name, part in model.named_modules() if not any(True for _ in part.children())}


def _width(layer: Any) -> int:
    return int(layer.weight.shape[0] if isinstance(layer, _WEIGHTED) else layer.num_features)


def _inputs(layer: Any) -> int:
    return int(layer.weight.shape[1] if isinstance(layer, _WEIGHTED) else layer.num_features)
