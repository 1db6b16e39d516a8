"""What the losses cost, forward and backward, as ratios to the plain three-line idiom, and their peak of memory.

Time is process CPU time with one thread. In each round every route runs once, in an order drawn anew, so that a busy
machine slows all of them and none always finds the same caches; what counts is the median, over rounds, of a route's
time divided by the idiom's in the same round, with the 95 % interval of that median that the ranks give. The idiom
itself takes part a second time: what its row is off 1.00 is noise. A bar on time is met when the whole interval lies
below it.

Memory is the allocator's peak over forward and backward in units of one logits tensor, logits and labels not counted,
the student's gradient included. The allocator's own events are the measure (``kdlab.peak_memory``): tensors that live
only inside an operation, or in autograd's graph, are in no list that Python could walk. Before it is used here, it is
checked on a computation whose peak is known.

torchdistill's and TRL's losses take part where installed: ``pip install -e .[bench]``. TRL's have no cross-entropy, nor
have our relatives of ``kd_loss``; the idiom has it in every ratio. A second table has the losses on features, each
beside its paper's formula (``feature_losses.py``).

    python benchmarks/kd_losses.py [--quick] [--only kd_loss hint_loss] [--seconds 30]

The exit status is 1 where a bar is missed, a gap of 200 gives a value or gradient that is not finite, or a route that
should equal the plain code does not.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
from collections.abc import Mapping
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parent))

import feature_losses
from measuring import Route, memory, memory_is_measured_right, ratios, say, times, value_and_gradient, verdict

from kdlab.losses import dist_loss, dkd_loss, js_loss, kd_loss, mse_logit_loss, reverse_kl_loss

T, ALPHA = 4.0, 0.5
SHAPES = ((256, 10), (256, 1000), (2048, 50_000))
IDIOM = "plain idiom"


def idiom(s: Tensor, t: Tensor, y: Tensor) -> Tensor:
    """What most people write, and right."""
    a = ALPHA
    return (1 - a) * F.cross_entropy(s, y) + a * T * T * F.kl_div(
        F.log_softmax(s / T, -1), F.log_softmax(t / T, -1), log_target=True, reduction="batchmean"
    )


def routes() -> dict[str, Route]:
    """Ours, and those of other libraries where they can be imported."""
    ours = {
        IDIOM: Route(idiom, same=True),
        "plain idiom again": Route(idiom, same=True),
        "kd_loss": Route(
            lambda s, t, y: kd_loss(s, t, y, temperature=T, alpha=ALPHA), time_bar=1.1, memory_bar=6.0, same=True
        ),
        "reverse_kl_loss": Route(lambda s, t, y: reverse_kl_loss(s, t, temperature=T)),
        "js_loss": Route(lambda s, t, y: js_loss(s, t, temperature=T), time_bar=2.5, memory_bar=10.0),
        "mse_logit_loss": Route(lambda s, t, y: mse_logit_loss(s, t)),
        "dkd_loss": Route(lambda s, t, y: dkd_loss(s, t, y, temperature=T)),
        "dist_loss": Route(lambda s, t, y: dist_loss(s, t, temperature=T)),
    }
    return ours | _torchdistill() | _trl()


def _torchdistill() -> dict[str, Route]:
    try:
        from torchdistill.losses.mid_level import KDLoss
    except ImportError:
        return {}
    module = KDLoss("s", "output", "t", "output", temperature=T, alpha=1 - ALPHA)  # its alpha weighs the hard term
    loss = lambda s, t, y: module({"s": {"output": s}}, {"t": {"output": t}}, y)  # noqa: E731
    return {"torchdistill KDLoss": Route(loss, same=True)}


def _trl() -> dict[str, Route]:
    os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")
    try:
        from trl.experimental.gkd.gkd_trainer import GKDTrainer
    except ImportError:
        return {}
    jsd = GKDTrainer.generalized_jsd_loss
    return {
        "TRL jsd, beta 0 (KL)": Route(lambda s, t, y: T * T * jsd(s, t, beta=0, temperature=T)),
        "TRL jsd, beta 0.5 (JS)": Route(lambda s, t, y: T * T * jsd(s, t, beta=0.5, temperature=T)),
    }


def batch(shape: tuple[int, int], seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """A student's and a teacher's logits and labels."""
    generator = torch.Generator().manual_seed(seed)
    student, teacher = (2 * torch.randn(*shape, generator=generator) for _ in range(2))
    return student.requires_grad_(), teacher, torch.randint(shape[1], shape[:1], generator=generator)


# --- checks -----------------------------------------------------------------------------------------------------------


def same_as_the_idiom(all_routes: Mapping[str, Route]) -> bool:
    """Whether those that compute the idiom's loss agree with it in value and gradient."""
    right = True
    data = batch((64, 100), seed=1)
    value, gradient = value_and_gradient(idiom, data)
    for name, route in all_routes.items():
        if route.same:
            other, slope = value_and_gradient(route.loss, data)
            right &= say(torch.allclose(other, value) and torch.allclose(slope, gradient, atol=1e-7), name, "differs")
    return right


def finite_at_gaps_of_200(all_routes: Mapping[str, Route]) -> bool:
    """Whether our losses and their gradients stay finite in three precisions."""
    rows, right, seen = torch.tensor([[0.0, -200.0, -100.0, -1.0], [200.0, 0.0, 0.0, 1.0]]), True, 0
    for name, route in all_routes.items():
        if not name.endswith("_loss"):
            continue
        for dtype in (torch.float32, torch.bfloat16, torch.float16):
            data = (rows.to(dtype).requires_grad_(), rows.flip(-1).to(dtype), torch.tensor([1, 2]))
            finite = all(bool(part.isfinite().all()) for part in value_and_gradient(route.loss, data))
            right &= say(finite, name, f"is not finite in {dtype} at a logit gap of 200")
            seen += 1
    print(f"logit gaps of 200: {seen} cases in fp32, bf16 and fp16, {'all finite' if right else 'NOT ALL FINITE'}")
    return right


# --- the table --------------------------------------------------------------------------------------------------------


def table(shape: tuple[int, int], all_routes: Mapping[str, Route], budget: float) -> bool:
    """Measure at one shape and print it; tell whether every bar was met."""
    data = batch(shape)
    peaks = {name: memory(route.loss, data) for name, route in all_routes.items()}
    taken = times({name: route.loss for name, route in all_routes.items()}, data, budget)
    base = statistics.median(taken[IDIOM])
    print(f"\n{list(shape)}: the idiom takes {1000 * base:.3g} ms, {len(taken[IDIOM])} rounds")
    print(f"{'':<24}{'time':>6}  {'95 % interval':<16}{'logits tensors':>15}  bar")
    passed = True
    for name, route in all_routes.items():
        middle, low, high = ratios(taken, name, IDIOM)
        said = verdict(route, high, peaks[name])
        passed &= not said.startswith("MISSED")
        print(f"{name:<24}{middle:>6.2f}  {f'{low:.2f} to {high:.2f}':<16}{peaks[name]:>15.1f}  {said}", flush=True)
    return passed


def tables(all_routes: Mapping[str, Route], features: list[str], shapes: int, seconds: float) -> bool:
    """Both tables, of so many shapes each; a table without a row of ours is left out."""
    passed = True
    if all_routes:
        passed &= same_as_the_idiom(all_routes)
        passed &= finite_at_gaps_of_200(all_routes)
        for shape in SHAPES[:shapes]:
            passed &= table(shape, all_routes, seconds)
    if features:
        print("\nlosses on features, each against its paper's formula written plainly")
        for pair in feature_losses.SHAPES[:shapes]:
            passed &= feature_losses.table(pair, features, seconds)
    return passed


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="the two small shapes only")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="no losses but these, named as in the tables")
    parser.add_argument("--seconds", type=float, default=30, help="CPU seconds per shape, where seven rounds need less")
    options = parser.parse_args()
    torch.set_num_threads(1)
    all_routes, features = routes(), list(feature_losses.NAMES)
    if options.only:
        wanted = set(options.only)
        if unknown := wanted - set(all_routes) - set(features):
            parser.error(
                f"no such route: {', '.join(sorted(unknown))}; there are {', '.join([*all_routes, *features])}"
            )
        all_routes = {name: route for name, route in all_routes.items() if name in wanted}
        all_routes = {IDIOM: routes()[IDIOM]} | all_routes if all_routes else {}
        features = [name for name in features if name in wanted]
    passed = memory_is_measured_right()
    passed &= tables(all_routes, features, 2 if options.quick else 3, options.seconds)
    load = f", load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores" if hasattr(os, "getloadavg") else ""
    print(f"\ntorch {torch.__version__}, one thread{load}: {'every bar met' if passed else 'A BAR WAS MISSED'}")
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
