"""The experiment behind lesson 06: what is left of a pruned network, and what brings it back.

A small CNN is trained on all labels, once per seed; then something is taken away, and every arm gets the same number of
steps again. Within a regime arms differ in what goes (which score decides, all at once or gradually), in where training
starts again (from the trained weights, from early or first ones, from new ones), or in the loss (labels, smoothed
labels, or the network before pruning as the teacher). Every such arm is tuned over eight settings. Regimes without
training compare the scores alone and have nothing to tune.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import torch.nn.functional as F
from torch import nn

from kdlab.data import ImageSet, load_digits
from kdlab.experiments import Arm, Score
from kdlab.models import SmallCNN
from kdlab.pruning import (
    Masks,
    allocate,
    apply_mask,
    gradual_sparsity,
    magnitude_mask,
    magnitudes,
    obd_saliency,
    prunable,
    prune_channels,
    random_mask,
    score_mask,
    sensitivity,
    wanda_scores,
)
from kdlab.training import distill, evaluate, fit, predict_logits, seeded

__all__ = [
    "ALPHA",
    "GRIDS",
    "LAYERS",
    "REGIMES",
    "SCANNED",
    "SCORES",
    "Regime",
    "arms",
    "budget_plan",
    "dense",
    "half_the_channels",
    "make_net",
    "masks_by",
    "recover",
]


@dataclass(frozen=True)
class Regime:
    """What goes and what is left to recover with.

    Attributes:
        sparsity: share of the weights that go; None: half the channels instead.
        per_class: labelled images per class that are left, None is all.
        trained: whether anything is trained after pruning.
    """

    sparsity: float | None
    per_class: int | None = None
    trained: bool = True


REGIMES = {
    "50 % of the weights, no training": Regime(0.5, trained=False),
    "75 % of the weights, no training": Regime(0.75, trained=False),
    "90 % of the weights": Regime(0.9),
    "95 % of the weights": Regime(0.95),
    "98 % of the weights": Regime(0.98),
    "95 %, 50 labels left": Regime(0.95, per_class=5),
    "half the channels": Regime(None),
}
WIDTH, BATCH, EPOCHS, LR, ALPHA = 8, 64, 30, 0.004, 0.9
EARLY = 3  # epochs after which "rewound, early" starts again
RAMP = 0.6  # share of the steps in which a gradual schedule reaches its end
_EVERY = 10  # steps between two masks of a gradual schedule
_STEPS = EPOCHS * 16  # 1,000 images in batches of 64

LAYERS = {"first": "features.0", "first norm": "features.1", "second": "features.3", "second norm": "features.4"}
LAYERS |= {"hidden": "classifier.2", "output": "classifier.4"}

SCANNED = (0.0, 0.3, 0.5, 0.7, 0.8, 0.85, 0.9, 0.93, 0.95, 0.97, 0.98, 0.99)
"""Sparsities that the sensitivity scan tries in each layer."""

_RATES = tuple(round(1e-3 * 2**step, 6) for step in range(8))  # 0.001 to 0.128
_TWO = (0.004, 0.016)


def _grid(name: str, *values: float) -> list[dict[str, float]]:
    return [{"lr": rate, name: value} for rate in _TWO for value in values]


SCORES = (
    "magnitude",
    "magnitude, layer by layer",
    "magnitude, row by row",
    "OBD",
    "Wanda",
    "budget",
    "random",
)
"""How it is decided which weights go. Wanda compares within a row, so the third is its control."""

GRIDS: dict[str, list[dict[str, float]]] = {
    "none": [{}],
    "rate": [{"lr": rate} for rate in _RATES],
    "smoothing": _grid("smoothing", 0.02, 0.05, 0.1, 0.2),
    "temperature": _grid("temperature", 1.0, 2.0, 4.0, 8.0),
}
"""Eight settings for every arm that is trained."""


def make_net(seed: int, width: int = WIDTH) -> SmallCNN:
    """The network of every arm, with the initial weights of this seed."""
    with seeded(seed):
        return SmallCNN(width, dropout=0.0, norm=True)


@lru_cache(maxsize=64)
def dense(seed: int, epochs: int = EPOCHS) -> SmallCNN:
    """The network before pruning, trained on all labels. Shared: copy it before you change it."""
    train, net = load_digits().train, make_net(seed)
    fit(net, train.images, train.labels, epochs=epochs, lr=LR, batch_size=BATCH, seed=seed, progress=False)
    return net


# --- what goes --------------------------------------------------------------------------------------------------------


def masks_by(kind: str, net: nn.Module, sparsity: float, seed: int = 0) -> Masks:
    """Masks by one of the scores that the study compares."""
    train = load_digits().train
    if kind == "magnitude":
        return magnitude_mask(net, sparsity)
    if kind == "magnitude, layer by layer":
        return magnitude_mask(net, sparsity, scope="layer")
    if kind == "magnitude, row by row":
        return score_mask(magnitudes(net), sparsity, scope="row")
    if kind == "OBD":
        return score_mask(obd_saliency(net, train.images[:256]), sparsity)
    if kind == "Wanda":
        return score_mask(wanda_scores(net, train.images[:256]), sparsity, scope="row")
    if kind == "budget":
        return magnitude_mask(net, budget_plan(net, sparsity))
    if kind == "random":
        return random_mask(net, sparsity, seed=seed)
    raise ValueError(f"no score named {kind!r}")


def budget_plan(net: nn.Module, sparsity: float) -> dict[str, float]:
    """A sparsity for each layer, from a scan of the validation loss, one layer at a time."""
    data = load_digits().validation

    def loss(model: nn.Module) -> float:
        return float(F.cross_entropy(predict_logits(model, data.images), data.labels))

    costs = sensitivity(net, loss, SCANNED, progress=False)
    sizes = {name.removesuffix(".weight"): weight.numel() for name, weight in prunable(net).items()}
    return allocate(costs, sizes, SCANNED, sparsity)


def half_the_channels(net: nn.Module) -> nn.Module:
    """Half of both convolutions' channels and of the hidden units gone, by the norm of their weights."""
    layers = LAYERS
    net = prune_channels(net, layers["first"], layers["second"], 0.5, norm=layers["first norm"])
    net = prune_channels(net, layers["second"], layers["hidden"], 0.5, norm=layers["second norm"])
    return prune_channels(net, layers["hidden"], layers["output"], 0.5)


# --- what brings it back ----------------------------------------------------------------------------------------------


def seen_images(regime: Regime, seed: int) -> ImageSet:
    """The labelled images that are left for recovery."""
    train = load_digits().train
    return train if regime.per_class is None else train.subset(regime.per_class, seed)


def recover(
    net: nn.Module,
    images: ImageSet,
    seed: int,
    *,
    lr: float,
    masks: Masks | None = None,
    teacher: nn.Module | None = None,
    temperature: float = 4.0,
    alpha: float = ALPHA,
    smoothing: float = 0.0,
    after_step: Callable[[], object] | None = None,
    steps: int = _STEPS,
) -> nn.Module:
    """Train a pruned network on, in place, and keep what was pruned at zero; returns it."""
    batch = min(BATCH, len(images))
    options: dict[str, Any] = {"lr": lr, "batch_size": batch, "seed": seed, "progress": False}
    options["epochs"] = max(1, round(steps / -(-len(images) // batch)))
    options["after_step"] = after_step
    if masks is not None:
        apply_mask(net, masks)
        options["after_step"] = lambda: apply_mask(net, masks)
    if teacher is not None:
        labels = None if alpha == 1 else images.labels
        distill(net, teacher, images.images, labels, temperature=temperature, alpha=alpha, **options)
        return net
    loss: Any = partial(F.cross_entropy, label_smoothing=smoothing)
    fit(net, images.images, images.labels, objective=lambda logits, labels, rows: loss(logits, labels), **options)
    return net


def _tuned(regime: Regime, seed: int, lr: float, *, kind: str = "magnitude", **setting: Any) -> nn.Module:
    """Pruned by a score, then trained on."""
    net = copy.deepcopy(dense(seed))
    masks = _masks(kind, seed, _share(regime))
    return recover(net, seen_images(regime, seed), seed, lr=lr, masks=masks, **setting)


def _taught(regime: Regime, seed: int, lr: float, temperature: float) -> nn.Module:
    return _tuned(regime, seed, lr, teacher=dense(seed), temperature=temperature)


def _taught_on_all(regime: Regime, seed: int, lr: float, temperature: float) -> nn.Module:
    """The teacher answers on all images; none of their labels is used."""
    net, masks = copy.deepcopy(dense(seed)), _masks("magnitude", seed, _share(regime))
    options: dict[str, Any] = {"lr": lr, "masks": masks, "temperature": temperature, "alpha": 1.0}
    return recover(net, load_digits().train, seed, teacher=dense(seed), **options)


def _left_alone(regime: Regime, seed: int, lr: float = 0.0, *, kind: str = "magnitude") -> nn.Module:
    """Pruned and not trained again; ``lr`` changes nothing."""
    net = copy.deepcopy(dense(seed))
    apply_mask(net, _masks(kind, seed, _share(regime)))
    return net


def _gradual(regime: Regime, seed: int, lr: float) -> nn.Module:
    """Sparsity rises during the first part of the steps, then stays."""
    net, sparsity, taken = copy.deepcopy(dense(seed)), _share(regime), 0
    masks: Masks = {}
    end = round(RAMP * _STEPS)

    def after_step() -> None:
        nonlocal masks, taken
        taken += 1
        if taken == end or (taken < end and taken % _EVERY == 0):
            masks = magnitude_mask(net, gradual_sparsity(taken, begin=0, end=end, final=sparsity))
        apply_mask(net, masks)

    return recover(net, seen_images(regime, seed), seed, lr=lr, after_step=after_step)


def _ticket(regime: Regime, seed: int, lr: float, *, start: str, mask: str = "magnitude") -> nn.Module:
    """The mask of the trained network on other weights, trained from there."""
    nets = {
        "first": lambda: make_net(seed),
        "early": lambda: copy.deepcopy(dense(seed, EARLY)),
        "new": lambda: make_net(seed + 5_000),
    }
    masks = _masks(mask, seed, _share(regime))
    return recover(nets[start](), seen_images(regime, seed), seed, lr=lr, masks=masks)


def _halved(regime: Regime, seed: int, lr: float, *, start: str = "kept", **setting: Any) -> nn.Module:
    """Half the channels: what was kept of the trained network, or as many new ones."""
    net = half_the_channels(dense(seed)) if start == "kept" else make_net(seed, WIDTH // 2)
    if "temperature" in setting:
        setting["teacher"] = dense(seed)
    return recover(net, load_digits().train, seed, lr=lr, **setting)


@lru_cache(maxsize=256)
def _masks(kind: str, seed: int, sparsity: float) -> Masks:
    return masks_by(kind, dense(seed), sparsity, seed)


def _share(regime: Regime) -> float:
    assert regime.sparsity is not None
    return regime.sparsity


# --- the arms ---------------------------------------------------------------------------------------------------------


def _run(make: Callable[..., nn.Module], regime: Regime, seed: int, **setting: float) -> Score:
    data, net = load_digits(), make(regime, seed, **setting)
    return Score(
        evaluate(net, data.test.images, data.test.labels).accuracy,
        evaluate(net, data.validation.images, data.validation.labels).accuracy,
        also={"dense": evaluate(dense(seed), data.test.images, data.test.labels).accuracy},
    )


def arms(name: str) -> dict[str, Arm]:
    """The arms of a regime; the first is the baseline: labels alone, or magnitude where nothing is trained."""
    regime = REGIMES[name]
    plan: dict[str, tuple[Callable[..., nn.Module], str]] = {}
    if not regime.trained:
        plan = {kind: (partial(_left_alone, kind=kind), "none") for kind in SCORES}
    elif regime.sparsity is None:
        plan = {
            "labels": (_halved, "rate"),
            "label smoothing": (_halved, "smoothing"),
            "with the teacher": (_halved, "temperature"),
            "new and small": (partial(_halved, start="new"), "rate"),
            "new and small, with the teacher": (partial(_halved, start="new"), "temperature"),
            "new and small, twice the steps": (partial(_halved, start="new", steps=2 * _STEPS), "rate"),
        }
    else:
        plan = {"labels": (_tuned, "rate"), "label smoothing": (_tuned, "smoothing")}
        plan["with the teacher"] = (_taught, "temperature")
        if regime.per_class is not None:
            plan["with the teacher, all images"] = (_taught_on_all, "temperature")
            plan["not trained on"] = (_left_alone, "rate")
        else:
            plan["gradual"] = (_gradual, "rate")
            for kind in ("magnitude, layer by layer", "OBD", "budget", "random"):
                plan[kind] = (partial(_tuned, kind=kind), "rate")
            for start in ("first", "early", "new"):
                plan[f"mask on {start} weights"] = (partial(_ticket, start=start), "rate")
            plan["random mask on new weights"] = (partial(_ticket, start="new", mask="random"), "rate")
    total = len(load_digits().train)
    left = total if regime.per_class is None else 10 * regime.per_class
    found = {}
    for arm, (make, grid) in plan.items():
        seen = 0 if arm in ("with the teacher, all images", "not trained on") or not regime.trained else left
        teacher = total if grid == "temperature" else None
        run = partial(_run, make, regime)
        found[arm] = Arm(run, student_labels=seen, teacher_labels=teacher, settings=GRIDS[grid])
    return found
