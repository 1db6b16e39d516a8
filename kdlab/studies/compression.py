"""Every variant of lessons 06 and 07 side by side: bytes, memory, time and accuracy of the same networks.

Accuracy is measured on digits, on ten networks that were trained from different seeds; time on a text encoder of six
layers and width 384, whose matrices are large enough for arithmetic to matter. Its weights are random: what a dense
matrix product costs does not depend on the numbers in it, and accuracy is not asked of it.
"""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.utils import prune

from kdlab.data import load_digits
from kdlab.experiments import Comparison, compare
from kdlab.factorization import factorize, fold_batch_norm, share_weights, shared_bytes
from kdlab.measure import count_macs, count_parameters, latency, model_bytes, peak_memory
from kdlab.models import TextEncoder
from kdlab.modes import evaluating
from kdlab.pruning import apply_mask, magnitude_mask, nm_mask, prunable, prune_channels, save_sparse
from kdlab.studies.factorization import FACTORED, calibration
from kdlab.studies.pruning import LR, dense, half_the_channels, recover
from kdlab.training import evaluate, seeded

__all__ = [
    "BATCHES",
    "DIGITS",
    "ENCODER",
    "Row",
    "accuracies",
    "as_table",
    "digits_variant",
    "encoder_variant",
    "file_bytes",
    "hooked",
    "make_encoder",
    "rows",
]

BATCHES = (1, 32)
TOKENS = 64  # in each text
_HIDDEN = 64  # rank of the encoder's factors


@dataclass(frozen=True)
class Row:
    """What one variant takes. Bytes are those of files written and of tensors held, speed-ups of one run.

    Attributes:
        parameters: numbers that training would change.
        macs: multiply-accumulates for one input.
        file: bytes of a plain safetensors file of its state.
        packed: bytes of the smallest file that the course knows for it: a bitmap of the zeros, or packed indices.
        memory: weights and the working memory of one forward pass, by batch size.
        speedup: time of the dense network over that of this one, median over rounds, by batch size.
    """

    parameters: int
    macs: int
    file: int
    packed: int
    memory: dict[str, int]
    speedup: dict[str, float]


# --- the variants -----------------------------------------------------------------------------------------------------


def _masked(net: nn.Module, sparsity: float) -> nn.Module:
    net = copy.deepcopy(net)
    apply_mask(net, magnitude_mask(net, sparsity))
    return net


def hooked(net: nn.Module, sparsity: float) -> nn.Module:
    """Pruned by torch.nn.utils.prune and left so: each layer holds its weight, its mask and their product."""
    net = copy.deepcopy(net)
    layers = dict(net.named_modules())
    named = [(layers[name.removesuffix(".weight")], "weight") for name in prunable(net)]
    prune.global_unstructured(named, pruning_method=prune.L1Unstructured, amount=sparsity)
    return net


def _two_of_four(net: nn.Module) -> nn.Module:
    net = copy.deepcopy(net)
    divisible = [name.removesuffix(".weight") for name, weight in prunable(net).items() if weight.shape[1] % 4 == 0]
    apply_mask(net, nm_mask(net, 2, 4, layers=divisible))
    return net


def _trained_on(make: Callable[[int], nn.Module], seed: int, *, sparsity: float | None = None) -> nn.Module:
    net = make(seed)
    masks = None if sparsity is None else magnitude_mask(net, sparsity)
    return recover(net, load_digits().train, seed, lr=LR, masks=masks)


def _cut(seed: int) -> nn.Module:
    return half_the_channels(dense(seed))


def _ranked(seed: int, rank: int, kind: str) -> nn.Module:
    return factorize(dense(seed), dict.fromkeys(FACTORED, rank), inputs=calibration(kind))


def _shared(seed: int, clusters: int) -> nn.Module:
    net: nn.Module = share_weights(dense(seed), clusters)
    return net


DIGITS: dict[str, Callable[[int], nn.Module]] = {
    "dense": dense,
    "mask, 50 %": lambda seed: _masked(dense(seed), 0.5),
    "mask, 90 %": lambda seed: _masked(dense(seed), 0.9),
    "mask, 90 %, trained on": partial(_trained_on, lambda seed: copy.deepcopy(dense(seed)), sparsity=0.9),
    "mask, 90 %, still hooked": lambda seed: hooked(dense(seed), 0.9),
    "mask, 2 of 4": lambda seed: _two_of_four(dense(seed)),
    "half the channels": _cut,
    "half the channels, trained on": partial(_trained_on, _cut),
    "rank 8": partial(_ranked, rank=8, kind="plain"),
    "rank 8, activation-aware": partial(_ranked, rank=8, kind="aware of 256 images"),
    "rank 4, activation-aware, trained on": partial(_trained_on, partial(_ranked, rank=4, kind="aware of 256 images")),
    "4 values a layer": partial(_shared, clusters=4),
    "4 values a layer, trained on": partial(_trained_on, partial(_shared, clusters=4)),
    "norms folded": lambda seed: fold_batch_norm(dense(seed)),
}
"""Name to the network of a seed, made smaller. Those of lesson 06 first."""


def digits_variant(name: str, seed: int = 0) -> nn.Module:
    """One of :data:`DIGITS`, of one seed."""
    return DIGITS[name](seed)


@torch.no_grad()
def make_encoder(seed: int = 0) -> TextEncoder:
    """The encoder that is timed: six layers, width 384, feed-forward 1,536, random weights."""
    with seeded(seed):
        return TextEncoder().eval()


def _narrow(encoder: TextEncoder) -> nn.Module:
    net: nn.Module = encoder
    for place in range(len(encoder.blocks)):
        net = prune_channels(net, f"blocks.{place}.up", f"blocks.{place}.down", 0.5)
    return net


def _half_depth(encoder: TextEncoder) -> nn.Module:
    net = copy.deepcopy(encoder)
    net.blocks = net.blocks[::2]
    return net


def _feed_forward(encoder: TextEncoder) -> list[str]:
    return [f"blocks.{place}.{part}" for place in range(len(encoder.blocks)) for part in ("up", "down")]


ENCODER: dict[str, Callable[[TextEncoder], nn.Module]] = {
    "dense": lambda encoder: encoder,
    "mask, 50 %": lambda encoder: _masked(encoder, 0.5),
    "mask, 90 %": lambda encoder: _masked(encoder, 0.9),
    "mask, 90 %, still hooked": lambda encoder: hooked(encoder, 0.9),
    "mask, 2 of 4": _two_of_four,
    "half the feed-forward width": _narrow,
    "half the depth": _half_depth,
    "rank 64, feed-forward": lambda encoder: factorize(encoder, dict.fromkeys(_feed_forward(encoder), _HIDDEN)),
    "16 values a layer": lambda encoder: share_weights(encoder, 16),
}
"""Name to the encoder made smaller."""


def encoder_variant(name: str, encoder: TextEncoder) -> nn.Module:
    """One of :data:`ENCODER`."""
    return ENCODER[name](encoder)


# --- what they take ---------------------------------------------------------------------------------------------------


def file_bytes(model: nn.Module) -> tuple[int, int]:
    """Bytes of the plain file, and of the smallest: both are written to a temporary folder, except packed indices."""
    with tempfile.TemporaryDirectory() as folder:
        state = {name: value.contiguous().clone() for name, value in model.state_dict().items()}
        plain = Path(folder) / "plain.safetensors"
        save_file(state, plain)
        packed = save_sparse(model, Path(folder) / "packed.safetensors")
        sizes = plain.stat().st_size, packed
    if any(".parametrizations." in f".{name}" for name in state):
        return sizes[0], min(shared_bytes(model), *sizes)  # indices of a few bits, counted and not written
    return sizes[0], min(sizes)


def rows(
    models: Mapping[str, nn.Module], batch: Callable[[int], Tensor], *, rounds: Mapping[int, int], progress: bool = True
) -> dict[str, Row]:
    """Measure the models side by side; the first is what the others are compared with.

    Args:
        models: by name.
        batch: from a batch size to inputs.
        rounds: for each of :data:`BATCHES`, how many rounds are timed.
        progress: show progress bars.
    """
    times = {size: latency(models, batch(size), rounds=rounds[size], progress=progress) for size in BATCHES}
    found = {}
    for name, model in models.items():
        with evaluating(model):
            model(batch(1))
            working = {str(size): peak_memory(partial(model, batch(size))) for size in BATCHES}
        plain, packed = file_bytes(model)
        found[name] = Row(
            parameters=count_parameters(model),
            macs=count_macs(model, batch(1)),
            file=plain,
            packed=packed,
            memory={size: model_bytes(model) + work for size, work in working.items()},
            speedup={str(size): 1 / times[size][name].ratio for size in BATCHES},
        )
    return found


def accuracies(seeds: range, *, progress: bool = True) -> Comparison:
    """Test accuracy of every variant of :data:`DIGITS` against the dense network of the same seed."""
    test = load_digits().test

    def run(seed: int, make: Callable[[int], nn.Module]) -> float:
        return evaluate(make(seed), test.images, test.labels).accuracy

    return compare({name: partial(run, make=make) for name, make in DIGITS.items()}, seeds, progress=progress)


def as_table(found: Mapping[str, Row]) -> dict[str, dict[str, Any]]:
    """Rows as JSON can hold them."""
    return {name: asdict(row) for name, row in found.items()}
