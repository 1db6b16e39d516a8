"""Properties of the second code answer of lesson 07: a batch norm folded into the convolution before it."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from kdlab.exercises.properties.core import RESULTS, WrongKind, expect, near, prop, shaped, shown, tensor
from kdlab.exercises.properties.lesson_07 import changed, drawn

__all__: list[str] = []  # all that counts is what `prop` registers

_FOLD = "write-fold-batch-norm"


def _weight_and_bias(result: Any, conv: nn.Conv2d, norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor | None]:
    """A pair of tensors; the bias may be None, which is a matter of the properties."""
    if type(result) not in (tuple, list) or len(result) != 2:
        hint = "; of a layer, `return folded.weight, folded.bias`" if isinstance(result, nn.Module) else ""
        raise WrongKind(f"The pair `(weight, bias)` is expected, `{type(result).__name__}` came{hint}.")
    weight = shaped(tensor(result[0], conv, norm), conv.weight.shape)
    return weight, None if result[1] is None else shaped(tensor(result[1], conv, norm), norm.running_mean.shape)  # type: ignore[union-attr]


RESULTS[_FOLD] = _weight_and_bias

_ONES, _NONE = (1.0, 1.0, 1.0), (0.0, 0.0, 0.0)


def _norm(
    gamma: tuple[float, ...] = _ONES, beta: tuple[float, ...] = _NONE, mean: tuple[float, ...] = _NONE,
    var: tuple[float, ...] = _ONES, eps: float = 0.0,
) -> nn.BatchNorm2d:  # fmt: skip
    """A batch norm in evaluation mode; without arguments it leaves everything as it is."""
    norm = nn.BatchNorm2d(len(gamma), eps=eps).eval()
    pairs = ((norm.weight, gamma), (norm.bias, beta), (norm.running_mean, mean), (norm.running_var, var))
    with torch.no_grad():
        for to, values in pairs:
            to.copy_(torch.tensor(values))  # type: ignore[union-attr]
    return norm


def _conv(bias: tuple[float, ...] | None = _NONE, sizes: tuple[int, int, int] = (3, 3, 3), seed: int = 0) -> nn.Conv2d:
    """A convolution: channels in, channels out, kernel. With 3, 3, 3 no dimension of its weight is like no other."""
    channels, out, kernel = sizes
    conv = nn.Conv2d(channels, out, kernel, bias=bias is not None).eval()
    with torch.no_grad():
        conv.weight.copy_(drawn(*conv.weight.shape, seed=seed))
        if conv.bias is not None and bias is not None:
            conv.bias.copy_(torch.tensor(bias))
    return conv


def _ratio(fold: Any, norm: nn.BatchNorm2d) -> Tensor:
    """How many times as large each weight became."""
    weight: Tensor = fold(_conv(), norm)[0]
    return weight.detach() / _conv().weight.detach()


def _bias(fold: Any, conv: nn.Conv2d, norm: nn.BatchNorm2d) -> Tensor:
    bias = fold(conv, norm)[1]
    if bias is None:
        raise WrongKind("The bias is `None`, although the convolution has one.")
    return bias


@prop(
    _FOLD,
    "$\\gamma$ has no effect on the weight. The norm multiplies what the convolution gives by $\\gamma$ (called "
    "`norm.weight`) and divides it by the deviation; the folded weight has to do both.",
)
def gamma_scales_the_weight(fold: Any) -> None:
    came = fold(_conv(), _norm(gamma=(2.0, 2.0, 2.0)))[0]
    expect(not near(came, _conv().weight), "With γ = 2 in all channels the weight came back as it was.")


@prop(
    _FOLD,
    "The scale stands on another dimension than the outputs. A convolution's weight is `[C_out, C_in, k, k]`, and the "
    "norm has one scale per *output* channel: `view(-1, 1, 1, 1)`. Without a `view` it meets the last dimension, and "
    "no error tells if the sizes happen to agree.",
)
def output_channels_are_scaled(fold: Any) -> None:
    ratio = _ratio(fold, _norm(gamma=(1.0, -2.0, 5.0))).flatten(1)
    expect(
        near(ratio.std(1), torch.zeros(3), 1e-4),
        "With another γ in each channel, the weights of one output channel were multiplied by different numbers: "
        f"`{shown(ratio[1, [0, 1, 9]])}`.",
    )


@prop(
    _FOLD,
    "The scale is $\\gamma$ over the standard deviation, the *root* of `running_var`: with a variance of 4 the weight "
    "is halved. Divided by the variance itself it falls to a quarter.",
)
def divided_by_the_deviation(fold: Any) -> None:
    ratio = _ratio(fold, _norm(var=(4.0, 4.0, 4.0))).mean()
    expect(
        near(ratio, 0.5, 1e-4),
        f"With γ = 1 and a variance of 4 the weight became {shown(float(ratio))} times as large.",
    )


@prop(
    _FOLD,
    "`norm.eps` is missing, has another value than the norm's own, or stands beside the root. It is added to the "
    "variance *under* the root, and where a channel is always 0 it is all that is divided by.",
    finite=True,
)
def eps_stands_under_the_root(fold: Any) -> None:
    for var, eps, wanted in ((3.0, 1.0, 0.5), (0.0, 0.25, 2.0)):
        ratio = float(_ratio(fold, _norm(var=(var, var, var), eps=eps)).mean())
        sentence = f"With a variance of {var:g} and eps {eps:g} the weight became {shown(ratio)} times as large"
        expect(near(ratio, wanted, 1e-4), f"{sentence}, not {wanted:g} times.")


@prop(
    _FOLD,
    "The running mean is not *subtracted*. What the norm sees is shifted by $-\\mu$ before it is scaled, so the folded "
    "bias must fall as $\\mu$ rises.",
)
def the_running_mean_is_subtracted(fold: Any) -> None:
    came = _bias(fold, _conv(), _norm(mean=(3.0, 0.0, -1.0)))
    expect(
        near(came, torch.tensor([-3.0, 0.0, 1.0]), 1e-4), f"For μ = (3, 0, -1) and a scale of 1 came `{shown(came)}`."
    )


@prop(
    _FOLD,
    "The scale is for everything that goes through the norm: the convolution's own bias and the running mean as well "
    "as the weight. $s\\,(b - \\mu) + \\beta$.",
)
def the_convs_bias_is_scaled_too(fold: Any) -> None:
    came = _bias(fold, _conv(bias=(1.0, 2.0, 4.0)), _norm(gamma=(2.0, 2.0, 2.0), mean=(0.0, 5.0, 1.0)))
    wanted = torch.tensor([2.0, -6.0, 6.0])
    sentence = f"b = (1, 2, 4), μ = (0, 5, 1), scale 2: `{shown(came)}` came, `{shown(wanted)}` is right."
    expect(near(came, wanted, 1e-4), sentence)


@prop(
    _FOLD,
    "$\\beta$, called `norm.bias`, is what the norm adds last: once, and not scaled.",
)
def beta_is_added_as_it_is(fold: Any) -> None:
    came = _bias(fold, _conv(), _norm(gamma=(2.0, 2.0, 2.0), beta=(1.0, -3.0, 0.5)))
    expect(near(came, torch.tensor([1.0, -3.0, 0.5]), 1e-4), f"For β = (1, -3, 0.5) and scale 2 came `{shown(came)}`.")


@prop(
    _FOLD,
    "Without a bias of its own the convolution needs one after folding: the norm shifts, whether there was a bias or "
    "not. With $b = 0$ there is $\\beta - s\\mu$ left, and not $\\beta$ alone.",
)
def a_convolution_without_bias_gets_one(fold: Any) -> None:
    came = fold(_conv(bias=None), _norm(gamma=(2.0, 2.0, 2.0), beta=(1.0, 0.0, 0.0), mean=(3.0, 1.0, 0.0)))[1]
    expect(came is not None, "The bias is `None`.")
    wanted = torch.tensor([-5.0, -2.0, 0.0])
    expect(near(came, wanted, 1e-4), f"μ = (3, 1, 0), β = (1, 0, 0), scale 2: `{shown(came)}` came.")


@prop(
    _FOLD,
    "A layer is no longer what it was, so whoever folds it a second time, or compares the two, gets another result. "
    "Methods ending in `_`, on `.data` too, write into the layer; compute new tensors.",
)
def both_layers_are_left_alone(fold: Any) -> None:
    conv, norm = (
        _conv(bias=(1.0, 2.0, 4.0)),
        _norm((2.0, 3.0, 4.0), (1.0, 2.0, 3.0), (5.0, 6.0, 7.0), (4.0, 9.0, 1.0), 0.5),
    )
    before = copy.deepcopy(conv), copy.deepcopy(norm)
    fold(conv, norm)
    names = [
        f"`{name}` of the {label}"
        for label, old, new in zip(("convolution", "norm"), before, (conv, norm), strict=True)
        for name in changed(old, new)
    ]
    expect(not names, f"Changed: {', '.join(names)}.")


@prop(_FOLD, "Right in all the simple cases, but not in every case.")
def agrees_with_the_behaviour_of_the_two_layers(fold: Any) -> None:
    for seed, sizes in enumerate(((1, 4, 1), (5, 2, 3), (2, 7, 5), (3, 3, 3), (4, 6, 1))):
        out = sizes[1]
        values = drawn(4, out, seed=seed).tolist()
        bias = None if seed % 2 else tuple(drawn(out, seed=seed + 10).tolist())
        variance = tuple(10 ** float(one) for one in values[3])
        norm = _norm(tuple(values[0]), tuple(values[1]), tuple(3 * one for one in values[2]), variance, eps=1e-3)
        conv = _conv(bias, sizes, seed)
        images = drawn(2, sizes[0], 6, 6, seed=seed)
        with torch.no_grad():
            wanted = norm(conv(images))
        weight, shift = fold(conv, norm)
        came = nn.functional.conv2d(images, weight.detach(), None if shift is None else shift.detach())
        sentence = (
            f"A convolution from {sizes[0]} to {out} channels and its norm give other outputs than the folded one."
        )
        expect(near(came, wanted, 1e-3), sentence)
