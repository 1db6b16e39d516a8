"""The experiment behind lesson 07: two layers replaced by thin ones, or weights that share few values.

The networks before it are those of lesson 06 (:func:`kdlab.studies.pruning.dense`). Regimes without training compare
what is computed from the weights alone with what a few images add; regimes with training compare where it starts and
what it learns from, with eight settings for every arm.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import torch
from torch import Tensor, nn

from kdlab.data import load_digits
from kdlab.experiments import Arm, Score
from kdlab.factorization import factorize, share_weights
from kdlab.studies.pruning import GRIDS, dense, make_net, recover
from kdlab.training import evaluate

__all__ = ["FACTORED", "KINDS", "REGIMES", "Regime", "arms", "calibration", "low_rank", "shared"]

FACTORED = ("features.3", "classifier.2")
"""The second convolution, a matrix of 16 by 72, and the hidden layer, 32 by 256: nearly all weights."""


@dataclass(frozen=True)
class Regime:
    """What is done to every network.

    Attributes:
        rank: of both layers in :data:`FACTORED`; or None.
        clusters: values per layer; or None.
        trained: whether anything is trained afterwards.
    """

    rank: int | None = None
    clusters: int | None = None
    trained: bool = False


REGIMES = {
    "rank 8, no training": Regime(rank=8),
    "rank 4, no training": Regime(rank=4),
    "rank 2, trained on": Regime(rank=2, trained=True),
    "4 values, no training": Regime(clusters=4),
    "2 values, trained on": Regime(clusters=2, trained=True),
}

KINDS = (
    "plain",
    "aware of 256 images",
    "aware of 32 images",
    "aware of 8 images",
    "aware of noise",
)
"""How the factors are found: closest weights, or closest outputs on some inputs."""


def calibration(kind: str) -> Tensor | None:
    """The images that a kind of :data:`KINDS` looks at; noise has pixels drawn evenly from 0 to 1."""
    if kind == "plain":
        return None
    if kind == "aware of noise":
        return torch.rand(256, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    return load_digits().train.images[: int(kind.split()[2])]


def low_rank(seed: int, rank: int, kind: str = "plain", *, new: bool = False) -> nn.Module:
    """The network of this seed with thin layers; ``new`` ones have the same shapes and random weights."""
    net: nn.Module = factorize(dense(seed), dict.fromkeys(FACTORED, rank), inputs=calibration(kind))
    if new:
        fresh = factorize(make_net(seed + 5_000), dict.fromkeys(FACTORED, rank))
        net.load_state_dict(fresh.state_dict())
    return net


def shared(seed: int, clusters: int, initial: str = "linear") -> nn.Module:
    """The network of this seed with few values per layer."""
    net: nn.Module = share_weights(dense(seed), clusters, initial=initial, seed=seed)
    return net


def _made(seed: int, make: Callable[[int], nn.Module], trained: bool, lr: float = 0.0, **setting: Any) -> nn.Module:
    net = make(seed)
    if not trained:
        return net
    if "temperature" in setting:
        setting["teacher"] = dense(seed)
    return recover(net, load_digits().train, seed, lr=lr, **setting)


def _run(make: Callable[[int], nn.Module], trained: bool, seed: int, **setting: Any) -> Score:
    data, net = load_digits(), _made(seed, make, trained, **setting)
    return Score(
        evaluate(net, data.test.images, data.test.labels).accuracy,
        evaluate(net, data.validation.images, data.validation.labels).accuracy,
        also={"dense": _dense_accuracy(seed)},
    )


@lru_cache(maxsize=64)
def _dense_accuracy(seed: int) -> float:
    test = load_digits().test
    return evaluate(dense(seed), test.images, test.labels).accuracy


def arms(name: str) -> dict[str, Arm]:
    """The arms of a regime; the first is the baseline."""
    regime = REGIMES[name]
    plan: dict[str, tuple[Callable[[int], nn.Module], str]] = {}
    if regime.rank is not None and not regime.trained:
        plan = {kind: (partial(low_rank, rank=regime.rank, kind=kind), "none") for kind in KINDS}
    elif regime.rank is not None:
        plain = partial(low_rank, rank=regime.rank)
        aware = partial(plain, kind=KINDS[1])
        plan = {
            "plain": (plain, "rate"),
            "label smoothing": (plain, "smoothing"),
            "with the teacher": (plain, "temperature"),
            "aware": (aware, "rate"),
            "aware, with the teacher": (aware, "temperature"),
            "new factors": (partial(plain, new=True), "rate"),
            "new factors, with the teacher": (partial(plain, new=True), "temperature"),
        }
    elif not regime.trained:
        assert regime.clusters is not None
        starts = ("linear", "density", "forgy")
        plan = {start: (partial(shared, clusters=regime.clusters, initial=start), "none") for start in starts}
    else:
        assert regime.clusters is not None
        few = partial(shared, clusters=regime.clusters)
        plan = {
            "labels": (few, "rate"),
            "label smoothing": (few, "smoothing"),
            "with the teacher": (few, "temperature"),
        }
    total = len(load_digits().train)
    found = {}
    for arm, (make, grid) in plan.items():
        run = partial(_run, make, regime.trained)
        teacher = total if grid == "temperature" else None
        found[arm] = Arm(run, total if regime.trained else 0, teacher, GRIDS[grid])
    return found
