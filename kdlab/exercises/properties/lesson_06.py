"""Properties of the code answer of lesson 06: masks by magnitude over a whole network."""

from __future__ import annotations

import copy
from collections import OrderedDict
from typing import Any

import torch
from torch import Tensor, nn

from kdlab.exercises.properties.core import RESULTS, WrongKind, expect, prop, random, shown

__all__: list[str] = []  # all that counts is what `prop` registers

_MASK = "write-a-magnitude-mask"


def _masks(result: Any, model: nn.Module, sparsity: float) -> dict[str, Tensor]:
    """Names of parameters to bool tensors; of which shape is a matter of the properties."""
    if type(result) not in (dict, OrderedDict):
        raise WrongKind(f"A dict is expected, parameter name to mask; `{type(result).__name__}` came.")
    names = [name for name, _ in model.named_parameters()]
    masks = {}
    for key, value in result.items():
        if type(key) is not str or key not in names:
            raise WrongKind(f"The keys are to be the names that `named_parameters()` gives; {shown(key)} is none.")
        if not issubclass(type(value), Tensor):
            raise WrongKind(f"A mask is a tensor; for `{key}` `{type(value).__name__}` came.")
        with torch._C.DisableTorchFunctionSubclass():  # no method of the learner's own
            if value.layout != torch.strided or value.is_meta or value.numel() > 10**6:
                raise WrongKind(f"A plain tensor is expected for `{key}`, one of shape {list(value.shape)} came.")
            mask = Tensor.as_subclass(value, Tensor).detach().cpu()
        if mask.dtype != torch.bool:
            raise WrongKind(
                f"A mask is a bool tensor; for `{key}` `{mask.dtype}` came. Weights times a mask are weights, and "
                "`.bool()` makes a mask of zeros and ones."
            )
        masks[key] = mask
    return masks


RESULTS[_MASK] = _masks


def _layer(*weights: float) -> nn.Module:
    """A linear layer without bias that has these weights in two rows."""
    layer = nn.Linear(len(weights) // 2, 2, bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor(weights).reshape(2, -1))
    return layer


def _network(seed: int = 0) -> nn.Module:
    """A convolution, a norm, two linear layers; every weight differs from 0 and from all others."""
    layers = nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(16, 7), nn.Linear(7, 3)
    return _drawn(nn.Sequential(*layers), seed)


def _drawn(model: nn.Module, seed: int) -> nn.Module:
    """The model with parameters by lot, the same each time, smaller from one to the next."""
    draw = random().manual_seed(seed)
    with torch.no_grad():
        for scale, weight in enumerate(model.parameters(), 1):
            weight.copy_(torch.randn(weight.shape, generator=draw) / scale)
    return model


def _weights(model: nn.Module) -> dict[str, Tensor]:
    return {name: weight.detach() for name, weight in model.named_parameters() if weight.dim() > 1}


def _gone(masks: dict[str, Tensor]) -> int:
    return sum(int((~mask).sum()) for mask in masks.values())


@prop(
    _MASK,
    "One verdict for a whole tensor. `.any()` and `.all()` ask about all weights at once, and then a layer goes or "
    "stays with everything in it. `abs() < threshold` without them is a mask: one answer for each weight.",
)
def each_weight_is_decided_for_itself(masks_of: Any) -> None:
    mask = masks_of(_layer(0.1, 0.2, 0.3, 0.4, 1.0, 2.0, 3.0, 4.0), 0.5).get("weight", torch.tensor([True, False]))
    expect(mask.any() and not mask.all(), f"Half of eight weights are to go; `{shown(mask)}` came.")


@prop(
    _MASK,
    "A bias or the scale of a norm has a mask. There are few of them, each acts on a whole channel, and in one ranking "
    "with the weights they make no sense. Take the parameters with `dim() > 1`; the word `weight` in a name is not "
    "enough, for a norm's scale is called so.",
)
def biases_and_norms_are_left_out(masks_of: Any) -> None:
    model = _network()
    extra = sorted(set(masks_of(model, 0.5)) - set(_weights(model)))
    expect(not extra, f"Masked were also {', '.join(f'`{name}`' for name in extra)}.")


@prop(
    _MASK,
    "A weight has no mask. Those of convolutions have four dimensions, `[out, in, 3, 3]`, those of linear layers two, "
    "and the last layer is one of them.",
)
def every_weight_has_a_mask(masks_of: Any) -> None:
    model = _network()
    missing = sorted(set(_weights(model)) - set(masks_of(model, 0.5)))
    expect(not missing, f"Without a mask: {', '.join(f'`{name}`' for name in missing)}.")


@prop(
    _MASK,
    "A mask has another shape than its parameter. After ranking the long vector has to be cut back: `split`, then "
    "`view_as`.",
)
def masks_have_the_shapes_of_their_weights(masks_of: Any) -> None:
    model = _network()
    masks = masks_of(model, 0.5)
    for name, weight in _weights(model).items():
        shapes = list(masks[name].shape), list(weight.shape)
        expect(shapes[0] == shapes[1], f"The mask of `{name}` has shape {shapes[0]}, the weight {shapes[1]}.")


@prop(
    _MASK,
    "The smallest weight stays and the largest goes. In this course `True` means **kept**, so that weight times mask "
    "is the pruned weight; here the mask marks what goes.",
)
def true_means_that_a_weight_stays(masks_of: Any) -> None:
    mask = masks_of(_layer(0.1, 0.2, 0.3, 0.4, 1.0, 2.0, 3.0, 4.0), 0.25)["weight"]
    expect(not (bool(mask[0, 0]) and not mask[1, 3]), f"Of 0.1 to 4 the mask is `{shown(mask)}`.")


@prop(
    _MASK,
    "As many weights *stay* as should go. Sparsity is the share of zeros: 0.25 of eight weights are two that go, and "
    "six that stay.",
)
def sparsity_is_the_share_that_goes(masks_of: Any) -> None:
    expect(_gone(masks_of(_layer(0.1, 0.2, 0.3, 0.4, 1.0, 2.0, 3.0, 4.0), 0.25)) != 6)


@prop(
    _MASK,
    "A large negative weight goes before a small positive one: the values were ranked and not their sizes. What counts "
    "is the distance from zero, `abs()`.",
)
def large_negative_weights_stay(masks_of: Any) -> None:
    mask = masks_of(_layer(-4.0, -3.0, -2.0, -1.0, 0.1, 0.2, 0.3, 0.4), 0.5)["weight"]
    expect(mask[0].any(), f"The row (-4, -3, -2, -1) has the mask `{shown(mask[0])}`.")


@prop(
    _MASK,
    "A layer with tiny weights and one with large ones lose as many each, so each was ranked alone, or its sizes were "
    "divided by something of its own. Here all layers share **one** ranking.",
)
def layers_are_compared_with_each_other(masks_of: Any) -> None:
    model = nn.Sequential(_layer(1.0, 2.0, 3.0, 4.0, 5.0, 6.0), _layer(0.01, 0.02, 0.03, 0.04, 0.05, 0.06))
    came = {name: int((~mask).sum()) for name, mask in masks_of(model, 0.5).items()}
    fair = came["0.weight"] >= 1 and came["1.weight"] <= came["0.weight"] + 1
    expect(not fair, f"Of six weights each go {came['0.weight']} large and {came['1.weight']} tiny ones.")


@prop(
    _MASK,
    "Another number of weights goes than `round(sparsity * n)`. A threshold that is a share of the largest weight, or "
    "so many deviations, or comes from the values between two, only meets it by chance; so does `int`, which cuts off. "
    "Count: sort, and take the first $k$.",
)
def exactly_that_many_go(masks_of: Any) -> None:
    model = _network()
    count = sum(weight.numel() for weight in _weights(model).values())
    for sparsity in (0.35, 0.12, 0.25, 0.333, 0.8, 0.93, 0.0):  # none of them ends in a half
        came, wanted = _gone(masks_of(model, sparsity)), round(sparsity * count)
        expect(came == wanted, f"At a sparsity of {sparsity:g} {came} of {count} weights go, not {wanted}.")


@prop(
    _MASK,
    "Where many weights have the same size, a threshold lets all of them go (`<=`) or none (`<`). So it is for a "
    "network that has been pruned before: its zeros are ties. Take the first $k$ places of the ranking.",
)
def ties_take_no_more_than_their_share(masks_of: Any) -> None:
    pruned = _layer(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, -2.0, 3.0)
    alike = _layer(*[0.5, -0.5] * 4)
    for model, sparsity, wanted in ((pruned, 0.3, 3), (alike, 0.5, 4), (pruned, 0.0, 0)):
        came = _gone(masks_of(model, sparsity))
        weights = shown(next(model.parameters()).detach().flatten())
        expect(came == wanted, f"Of `{weights}` {came} go at a sparsity of {sparsity:g}, not {wanted}.")


@prop(
    _MASK,
    "The model is no longer what it was. This function only says which weights are to go; to zero them is another "
    "step, done again after each step of training. Without `detach()` or `clone()` a parameter's data are the model's.",
)
def the_model_is_left_alone(masks_of: Any) -> None:
    model = _network()
    before = copy.deepcopy(model)
    masks_of(model, 0.5)
    pairs = zip(before.named_parameters(), model.parameters(), strict=True)
    changed = [
        name for (name, old), new in pairs if not torch.equal(old, new) or old.requires_grad != new.requires_grad
    ]
    expect(not changed, f"Changed: {', '.join(f'`{name}`' for name in changed)}.")


def _exact(model: nn.Module, sparsity: float) -> dict[str, Tensor]:
    sizes = {name: weight.abs() for name, weight in _weights(model).items()}
    ranked = torch.cat([size.flatten() for size in sizes.values()]).sort().values
    first_kept = ranked[round(sparsity * len(ranked))]
    return {name: size >= first_kept for name, size in sizes.items()}


@prop(_MASK, "Right in all the simple cases, but not in every case.")
def agrees_with_the_reference(masks_of: Any) -> None:
    others = nn.Linear(30, 20), nn.Sequential(nn.Conv1d(3, 5, 4), nn.Linear(6, 50))
    for model in (_network(1), _network(2), *(_drawn(one, 3) for one in others)):
        for sparsity in (0.05, 0.4, 0.75, 0.95, 0.99):
            masks, wanted = masks_of(model, sparsity), _exact(model, sparsity)
            off = [name for name, mask in wanted.items() if not torch.equal(masks.get(name, ~mask), mask)]
            expect(
                not off, f"At a sparsity of {sparsity:g} the mask of `{off[0] if off else ''}` is not as it should be."
            )
