"""Every variant of lessons 06 and 07 in one run: python benchmarks/compression.py [--write] [--quick]

Size on disk, peak memory, speed at batch 1 and 32, and accuracy with its interval, side by side, on one thread; about
five minutes. With --write it keeps the table in data/results/compression.json, which the lessons draw from. The bars:

    masks                    as fast as the dense encoder, within a tenth; masks equal to torch.nn.utils.prune's
    half the width or depth, rank 64   more than 1.3 times as fast
    norms folded             the same logits in evaluation mode, within 1e-5

The exit status is 1 where a bar is missed.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping

import torch
from torch import nn
from torch.nn.utils import prune

from kdlab.data import load_digits
from kdlab.experiments import Comparison
from kdlab.factorization import fold_batch_norm
from kdlab.modes import evaluating
from kdlab.pruning import magnitude_mask, prunable
from kdlab.studies import compression, save_results
from kdlab.studies.compression import BATCHES, TOKENS, Row
from kdlab.studies.pruning import dense

MASKS = ("mask, 50 %", "mask, 90 %", "mask, 2 of 4")
STRUCTURE = ("half the feed-forward width", "rank 64, feed-forward", "half the depth")
NEAR, FASTER, EXACT = 0.1, 1.3, 1e-5
ROUNDS = {"digits": {1: 60, 32: 60}, "encoder": {1: 30, 32: 8}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true", help="keep the table for the lessons")
    parser.add_argument("--quick", action="store_true", help="few rounds and five seeds: a look, nothing to keep")
    options = parser.parse_args()
    if options.quick and options.write:
        parser.error("--quick measures too little to be written")
    torch.set_num_threads(1)
    bar = sys.stderr.isatty()
    rounds = {name: dict.fromkeys(BATCHES, 3) for name in ROUNDS} if options.quick else ROUNDS
    accuracy = compression.accuracies(range(5 if options.quick else 10), progress=bar)
    test = load_digits().test.images
    digits = compression.rows(
        {name: compression.digits_variant(name) for name in compression.DIGITS},
        lambda size: test[:size],
        rounds=rounds["digits"],
        progress=bar,
    )
    print(table("a small CNN on digits", digits, accuracy))
    encoder = compression.make_encoder()
    texts = torch.randint(1, 8192, (max(BATCHES), TOKENS), generator=torch.Generator().manual_seed(0))
    variants = {name: compression.encoder_variant(name, encoder) for name in compression.ENCODER}
    large = compression.rows(variants, lambda size: texts[:size], rounds=rounds["encoder"], progress=bar)
    print(table("a text encoder, six layers of width 384, 64 tokens, untrained", large, None))
    missed = judged(large)
    if options.write:
        tables = {"digits": compression.as_table(digits), "encoder": compression.as_table(large)}
        command = "python benchmarks/compression.py --write"
        save_results("compression", {"accuracy on digits": accuracy}, command=command, tables=tables)
    sys.exit(1 if missed else 0)


def judged(encoder: Mapping[str, Row]) -> list[str]:
    """Print every bar, and return those missed."""
    checks = {}
    for name in MASKS:
        for size, ratio in encoder[name].speedup.items():
            checks[f"{name}, batch {size}: {ratio:.2f}x, within {NEAR} of 1"] = abs(ratio - 1) <= NEAR
    for name in STRUCTURE:
        for size, ratio in encoder[name].speedup.items():
            checks[f"{name}, batch {size}: {ratio:.2f}x, above {FASTER}"] = ratio > FASTER
    checks["masks equal to those of torch.nn.utils.prune"] = same_masks()
    gap = folding_gap()
    checks[f"norms folded: logits differ by at most {gap:.1e}, {EXACT:.0e} allowed"] = gap <= EXACT
    for words, met in checks.items():
        print("met   " if met else "MISSED", words)
    return [words for words, met in checks.items() if not met]


def same_masks() -> bool:
    """Our masks against torch's, over the whole network and layer by layer, at four sparsities."""
    for sparsity in (0.1, 0.5, 0.9, 0.99):
        hooked = compression.hooked(dense(0), sparsity)
        layers = dict(hooked.named_modules())
        ours = magnitude_mask(dense(0), sparsity)
        if any(not torch.equal(layers[n.removesuffix(".weight")].weight_mask.bool(), m) for n, m in ours.items()):
            return False
        for weight in prunable(dense(0)).values():
            layer = nn.Linear(1, 1)
            layer.weight = nn.Parameter(weight.detach().clone())
            prune.l1_unstructured(layer, "weight", amount=sparsity)
            if not torch.equal(layer.weight_mask.bool(), magnitude_mask(weight, sparsity)):
                return False
    return True


def folding_gap() -> float:
    """Largest difference of logits over ten networks and all test images."""
    images = load_digits().test.images
    gaps = []
    for seed in range(10):
        net = dense(seed)
        folded = fold_batch_norm(net)
        with evaluating(net, folded):
            gaps.append(float((net(images) - folded(images)).abs().max()))
    return max(gaps)


def table(title: str, found: Mapping[str, Row], accuracy: Comparison | None) -> str:
    """Bytes in kB, ratios to the first row."""
    head = ["variant", "parameters", "MACs", "file kB", "packed kB"]
    head += [f"memory kB, batch {size}" for size in BATCHES] + [f"speed-up, batch {size}" for size in BATCHES]
    head += ["accuracy, minus dense", "verdict"] if accuracy else []
    lines = [head]
    for name, row in found.items():
        cells = [name, f"{row.parameters:,}", f"{row.macs:,}", f"{row.file / 1000:,.1f}", f"{row.packed / 1000:,.1f}"]
        cells += [f"{row.memory[str(size)] / 1000:,.0f}" for size in BATCHES]
        cells += [f"{row.speedup[str(size)]:.2f}" for size in BATCHES]
        if accuracy:
            cells += ["baseline", ""] if name == accuracy.baseline else judged_accuracy(accuracy, name)
        lines.append(cells)
    widths = [max(len(line[place]) for line in lines) for place in range(len(head))]
    body = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]
    return "\n".join([f"\n{title}, one thread", *body, ""])


def judged_accuracy(accuracy: Comparison, name: str) -> list[str]:
    contrast = accuracy.contrasts[name]
    low, high = contrast.interval
    return [f"{100 * contrast.difference:+.1f} ({100 * low:+.1f} to {100 * high:+.1f})", contrast.verdict]


if __name__ == "__main__":
    main()
