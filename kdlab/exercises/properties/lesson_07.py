"""Properties of the first code answer of lesson 07: two thin layers for one. Those of folding: ``lesson_07b``."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from kdlab.exercises.properties.core import RESULTS, WrongKind, expect, near, prop, random, shown, tensor

__all__: list[str] = []  # all that counts is what `prop` registers

_RANK = "write-low-rank-linear"


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=random().manual_seed(seed))


def changed(before: nn.Module, after: nn.Module) -> list[str]:
    """Names of what is no longer the same in a layer: numbers, what is trained, the mode."""
    old, new = before.state_dict(), after.state_dict()
    names = [name for name in old if name not in new or not torch.equal(old[name], new[name])]
    trained = [{name: one.requires_grad for name, one in part.named_parameters()} for part in (before, after)]
    return names + ["requires_grad"] * (trained[0] != trained[1]) + ["training"] * (before.training != after.training)


def _layers(result: Any, layer: nn.Linear, rank: int) -> nn.Module:
    """A Sequential or a Linear with finite numbers; of which shape is a matter of the properties."""
    if type(result) not in (nn.Sequential, nn.Linear):
        hint = ": `nn.Sequential(first, second)` makes one" if type(result) in (tuple, list) else ""
        raise WrongKind(f"An `nn.Sequential` of two layers is expected, `{type(result).__name__}` came{hint}.")
    module: nn.Module = result
    for one in module.parameters():
        if one.numel():
            tensor(one.data, layer, rank)
    return module


RESULTS[_RANK] = _layers


def _linear(weight: Tensor, bias: Tensor | None = None) -> nn.Linear:
    rows, columns = weight.shape
    layer = nn.Linear(columns, rows, bias=bias is not None)
    with torch.no_grad():
        layer.weight.copy_(weight)
        if bias is not None:
            layer.bias.copy_(bias)
    return layer


def _of(*shape: int, seed: int = 0, bias: bool = True) -> nn.Linear:
    return _linear(drawn(*shape, seed=seed), drawn(shape[0], seed=seed + 1) if bias else None)


def _parts(result: nn.Module) -> list[nn.Linear]:
    """The linear layers of the result, in the order in which they act."""
    parts = [result] if type(result) is nn.Linear else list(result.children())
    return [part for part in parts if type(part) is nn.Linear]


def _product(result: nn.Module, layer: nn.Linear) -> Tensor:
    """The matrix that the layers are together, in float64."""
    total: Tensor | None = None
    for part in _parts(result):
        weight = part.weight.detach().double()
        total = weight if total is None else weight @ total
    if total is None or total.shape != layer.weight.shape:
        raise WrongKind(f"The layers do not make a matrix of {list(layer.weight.shape)} together.")
    return total


def _best(weight: Tensor, rank: int) -> Tensor:
    u, s, vh = torch.linalg.svd(weight.double(), full_matrices=False)
    return (u[:, :rank] * s[:rank]) @ vh[:rank]


def _pair(low_rank: Any, layer: nn.Linear, rank: int) -> tuple[nn.Linear, nn.Linear]:
    parts = _parts(low_rank(layer, rank))
    if len(parts) != 2:
        raise WrongKind(f"Two linear layers are expected at rank {rank}, {len(parts)} came.")
    return parts[0], parts[1]


@prop(
    _RANK,
    "No weight is saved. The product of the two factors has the shape of the old weight, so written back into one "
    "layer it takes as much room as before. Keep the factors apart: the saving is that nobody multiplies them.",
)
def there_are_fewer_weights_than_before(low_rank: Any) -> None:
    for rows, columns, rank in ((12, 10, 3), (6, 6, 2)):
        came = sum(one.numel() for one in low_rank(_of(rows, columns), rank).parameters() if one.dim() == 2)
        sentence = f"A layer of {rows} by {columns} at rank {rank} came back with {came} weights; it had"
        expect(came < rows * columns, f"{sentence} {rows * columns}.")


@prop(
    _RANK,
    "Two linear layers are wanted, first $n$ to `rank`, then `rank` to $m$. `nn.Linear(a, b)` holds its weight as "
    "`(b, a)`, so that of the first is `(rank, n)`, rows of $V^\\top$, and of the second `(m, rank)`, columns of $U$. "
    "The singular values need no layer of their own: multiply them into a neighbour.",
)
def two_layers_with_the_rank_between(low_rank: Any) -> None:
    for rows, columns, rank in ((12, 10, 3), (9, 14, 2), (6, 6, 2)):
        result = low_rank(_of(rows, columns), rank)
        parts = [result] if type(result) is nn.Linear else result.children()
        came = [tuple(part.weight.shape) if type(part) is nn.Linear else type(part).__name__ for part in parts]
        wanted = [(rank, columns), (rows, rank)]
        sentence = f"From {columns} to {rows} at rank {rank} the weights are to be {wanted}; there came {came}."
        expect(came == wanted, sentence)


@prop(
    _RANK,
    "Not the *largest* directions are kept. QR takes the columns in the order in which they stand, whatever their "
    "size, and its first `rank` of them are no better than others. The SVD sorts its values from the largest down, so "
    "the first columns of `u` and rows of `vh` are the ones to keep.",
)
def the_largest_directions_are_kept(low_rank: Any) -> None:
    sizes = torch.arange(1.0, 7.0)
    came = _product(low_rank(_linear(torch.diag(sizes)), 2), _linear(torch.diag(sizes))).diagonal()
    kept = [int(size) for size, value in zip(sizes, came, strict=True) if abs(float(value)) > 1e-3]
    sentence = f"Of a layer that is diagonal with {shown(sizes)}, at rank 2 there are left: {kept}."
    expect(kept == [5, 6], sentence)


@prop(
    _RANK,
    "The singular vectors are mixed up. `torch.linalg.svd` returns $V$ *already transposed*, so its **rows** are "
    "taken, `vh[:rank]`, and of `u` the columns. And the weight itself is `(out, in)`: transposed before, it has the "
    "parts the other way round.",
)
def singular_vectors_stand_where_they_belong(low_rank: Any) -> None:
    weight = torch.outer(torch.tensor([1.0, 0.0, 2.0]), torch.tensor([2.0, -1.0, 3.0]))  # of rank 1
    came = _product(low_rank(_linear(weight), 1), _linear(weight))
    same = near(came / came.norm(), weight / weight.norm(), 1e-4)  # but for the size, which is the next one's matter
    expect(same, f"`{shown(weight)}`, of rank 1, became `{shown(came)}`.")


@prop(
    _RANK,
    "The directions are right, their sizes are not: each singular value has to stand in the product exactly once. Give "
    "it to one factor, or its root to *both*. In both as it is, it counts twice; in neither, all directions get size "
    "1.",
)
def each_singular_value_counts_once(low_rank: Any) -> None:
    sizes = torch.arange(1.0, 7.0)
    came = torch.linalg.svdvals(_product(low_rank(_linear(torch.diag(sizes)), 2), _linear(torch.diag(sizes))))[:2]
    expect(near(came, torch.tensor([6.0, 5.0]), 1e-4), f"6 and 5 are the two largest; there came `{shown(came)}`.")


@prop(
    _RANK,
    "The first layer has a bias. `nn.Linear` makes one unless it is told `bias=False`, filled by lot; it then goes "
    "through the second layer as if it were part of the input. Even a zero one would be trained later.",
)
def the_first_layer_has_no_bias(low_rank: Any) -> None:
    first, _ = _pair(low_rank, _of(12, 10), 3)
    expect(first.bias is None, "The first of the two layers has a bias.")


@prop(
    _RANK,
    "The layer's bias is lost, or is no longer its own. It is added once, after both products, so it belongs to the "
    "second layer, as it was: neither split nor scaled, and not the one that `nn.Linear` drew by lot.",
)
def the_bias_goes_to_the_second_layer(low_rank: Any) -> None:
    layer = _of(12, 10)
    kept = layer.bias.detach().clone()
    _, second = _pair(low_rank, layer, 3)
    expect(second.bias is not None, "The layer has a bias, the second of the two layers none.")
    expect(
        near(second.bias, kept, 1e-6), f"The layer's bias is `{shown(kept)}`; there came `{shown(second.bias.data)}`."
    )


@prop(
    _RANK,
    "A layer without bias gets one. It costs $m$ parameters that were not there, and in training it moves. "
    "`bias=layer.bias is not None` tells the second layer whether to have one.",
)
def no_bias_comes_where_there_was_none(low_rank: Any) -> None:
    _, second = _pair(low_rank, _of(12, 10, bias=False), 3)
    expect(second.bias is None, "The layer has no bias, the second of the two layers has one.")


@prop(
    _RANK,
    "The original is no longer what it was. Whoever compares the two, or tries another rank, would work with a "
    "spoiled one: read its weight, write into new layers only.",
)
def the_layer_is_left_alone(low_rank: Any) -> None:
    layer = _of(12, 10)
    before = copy.deepcopy(layer)
    low_rank(layer, 3)
    names = changed(before, layer)
    expect(not names, f"Changed: {', '.join(f'`{name}`' for name in names)}.")


@prop(
    _RANK,
    "The new layers share memory with the old one: train them, and the original moves along. `second.bias = "
    "layer.bias` hands over the parameter itself, and `.data` without `clone()` its memory. Copy the numbers.",
)
def training_the_new_layers_leaves_the_old_alone(low_rank: Any) -> None:
    layer = _of(12, 10)
    result = low_rank(layer, 3)
    before = copy.deepcopy(layer)
    with torch.no_grad():
        for one in result.parameters():
            one.add_(1)
    names = changed(before, layer)
    expect(not names, f"After a step on the new layers, the old one has another `{''.join(names[:1])}`.")


@prop(
    _RANK,
    "A rank of 0 leaves nothing: the product of `(m, 0)` and `(0, n)` is all zeros. It comes about by itself, as "
    "`int(share * n)` of a small layer. `max(rank, 1)`.",
)
def a_rank_below_one_counts_as_one(low_rank: Any) -> None:
    for rank in (0, -2):
        result = low_rank(_of(6, 6), rank)
        widths = [part.out_features for part in _parts(result)]
        expect(widths == [1, 6], f"A layer of 6 by 6 at rank {rank} became layers that give {widths} numbers.")


@prop(
    _RANK,
    "Two layers hold $r\\,(m + n)$ weights, one holds $mn$. Only where the first is less is the layer cut; elsewhere "
    "it stays. The smaller side of the matrix, the largest rank that there can be, lies beyond that point, and half "
    "of it meets it for a square layer only.",
)
def the_layer_is_cut_only_where_that_saves(low_rank: Any) -> None:
    cases = ((12, 10, 5, True), (12, 10, 6, False), (4, 4, 2, False), (1, 7, 1, False), (12, 10, 50, False))
    for rows, columns, rank, cut in cases:
        layer = _of(rows, columns)
        came = type(low_rank(layer, rank)) is nn.Sequential
        numbers = f"{rank} · {rows + columns} against {rows} · {columns} weights"
        done = "was cut in two" if came else "stayed whole"
        expect(came == cut, f"A layer of {rows} by {columns} {done} at rank {rank}: {numbers}.")


@prop(_RANK, "Right in all the simple cases, but not in every case.")
def agrees_with_the_reference(low_rank: Any) -> None:
    cases = ((5, 30, 4, True), (30, 5, 2, False), (24, 24, 11, True), (20, 40, 13, True), (3, 3, 1, False))
    for seed, (rows, columns, rank, bias) in enumerate(cases):
        layer = _of(rows, columns, seed=seed, bias=bias)
        weight = _best(layer.weight.detach(), rank)
        result = low_rank(layer, rank)
        for shape in ((4, columns), (2, 3, columns)):
            inputs = drawn(*shape, seed=9)
            wanted = inputs.double() @ weight.T + (layer.bias.detach().double() if bias else 0)
            came = result(inputs)
            sentence = f"A layer of {rows} by {columns} at rank {rank} gives other outputs for inputs {list(shape)}."
            expect(came.shape == wanted.shape and near(came, wanted, 1e-3), sentence)
