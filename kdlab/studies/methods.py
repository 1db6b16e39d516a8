"""The experiment behind lessons 04 and 05: one student, one budget, every way to teach it.

The student is a narrow CNN, so that it has layers to match; it takes the same number of steps from the same initial
weights in every arm, and every arm is tuned over eight settings. What an arm changes is the loss or the teacher.
Three regimes differ in the labels that student and teacher saw.

The weight of a feature loss is a multiple of the one at which its gradient on an untrained student is as long as
cross-entropy's (:func:`scale`): what is tuned is then the same question for every loss.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kdlab.data import ImageSet, load_digits
from kdlab.experiments import Arm, Score
from kdlab.feature_training import Match, distill_features, record_features
from kdlab.features import (
    FeatureTap,
    Projector,
    attention_transfer_loss,
    hint_loss,
    relational_angle_loss,
    relational_distance_loss,
    similarity_loss,
)
from kdlab.losses import dist_loss, dkd_loss, kd_loss
from kdlab.models import SmallCNN
from kdlab.studies.image_distillation import score
from kdlab.studies.soft_labels import train_teacher
from kdlab.teachers import (
    agreement_weights,
    average_logits,
    average_probabilities,
    born_again,
    distill_chain,
    label_confidence_weights,
    matched_temperature,
    rowwise_kd_loss,
    standardize,
    train_mutually,
)
from kdlab.training import distill, evaluate, fit, predict_logits, seeded

__all__ = [
    "ALPHA",
    "ANSWERS",
    "FEATURES",
    "FEWER_ARMS",
    "GRIDS",
    "LAYERS",
    "REGIMES",
    "WHO",
    "Regime",
    "arms",
    "make_student",
    "scale",
    "teachers",
]


@dataclass(frozen=True)
class Regime:
    """Labelled images per class that the student gets (None is all), whether its teacher saw all, and the budget."""

    per_class: int | None
    informed: bool = False
    steps: int = 400


REGIMES = {
    "50 labels, teacher saw all": Regime(5, informed=True),
    "50 labels, teacher saw the same": Regime(5),
    "all labels": Regime(None),
    "all labels, four times the steps": Regime(None, steps=1600),
}
BATCH, WIDTH, ALPHA = 32, 4, 0.9
BESIDE = 8.0  # temperature beside a loss on layers: what distillation alone chose in both regimes with such arms
TEACHERS, GENERATIONS, ASSISTANT = 3, 3, 12
"""Members of an ensemble, generations of a born-again net, channels of an assistant."""

LAYERS = {"hint": "features.4", "attention": "features.3", "similarity": "features.4"}
"""Layer by loss: pooled 4 by 4 maps, 8 by 8 maps; relations of whole embeddings are taken in the hidden layer."""
_EMBEDDING = "classifier.3"

FEATURES: dict[str, tuple[Callable[..., Tensor], str]] = {
    "hint": (hint_loss, LAYERS["hint"]),
    "attention transfer": (attention_transfer_loss, LAYERS["attention"]),
    "similarity": (similarity_loss, LAYERS["similarity"]),
    "relational distance": (relational_distance_loss, _EMBEDDING),
    "relational angle": (relational_angle_loss, _EMBEDDING),
}
"""Losses on layers, each with the layer of student and teacher that it is given."""

ANSWERS = ("distillation", "decoupled", "DIST", "standardised logits", "one entropy for all")
"""Arms whose loss reads the teacher's logits alone."""

WHO = (
    "born again",
    "ensemble, probabilities",
    "ensemble, logits",
    "ensemble, by confidence",
    "ensemble, by agreement",
    "assistant",
    "mutual",
)
"""Arms that change who teaches, with the loss of "distillation"."""

FEWER_ARMS: dict[str, tuple[str, ...]] = {
    "50 labels, teacher saw the same": ("hard labels", "label smoothing", *ANSWERS, *FEATURES, *WHO),
    "all labels, four times the steps": (
        "hard labels",
        "label smoothing",
        "distillation",
        "DIST",
        "similarity",
        "ensemble, probabilities",
    ),
}
"""Arms of a regime that does not take all of them. The second is a follow-up, chosen after a look at "all labels"."""

_RATES = tuple(round(2e-3 * 2 ** (step / 2), 6) for step in range(8))  # 0.002 to 0.0226
_TWO = (_RATES[2], _RATES[5])  # 0.004, 0.0113


def _grid(name: str, *values: float) -> list[dict[str, float]]:
    return [{"lr": rate, name: value} for rate in _TWO for value in values]


GRIDS: dict[str, list[dict[str, float]]] = {
    "rate": [{"lr": rate} for rate in _RATES],
    "smoothing": _grid("smoothing", 0.02, 0.05, 0.1, 0.2),
    "temperature": _grid("temperature", 1.0, 2.0, 4.0, 8.0),
    "weight": _grid("weight", 0.1, 0.5, 2.5, 12.5),
    "entropy": _grid("entropy", 0.2, 0.5, 1.0, 1.6),
}
"""Eight settings for every arm: the baseline spends all of them on the learning rate."""


def make_student(seed: int) -> SmallCNN:
    """The student of every arm, with the initial weights of this seed."""
    with seeded(seed):
        return SmallCNN(WIDTH, dropout=0.0)


def seen_images(regime: Regime, seed: int) -> ImageSet:
    """The labelled images that a student of this regime gets for this seed."""
    train = load_digits().train
    return train if regime.per_class is None else train.subset(regime.per_class, seed)


@lru_cache(maxsize=128)
def teachers(regime: Regime, seed: int, member: int = 0) -> SmallCNN:
    """Teacher number ``member`` of this regime and seed; members differ in their initial weights alone."""
    fixed = regime.informed or regime.per_class is None
    images = load_digits().train if fixed else seen_images(regime, seed)
    return train_teacher(images, member if fixed else 100 * (seed + 1) + member)


@lru_cache(maxsize=1)
def untrained_teacher() -> SmallCNN:
    """The control for features: the teacher's architecture with random weights."""
    with seeded(0):
        return SmallCNN()


@lru_cache(maxsize=8)
def assistant(regime: Regime, seed: int, temperature: float, lr: float) -> nn.Module:
    """A network between teacher and student in size, distilled from the teacher in the student's budget."""
    images = seen_images(regime, seed)
    options = _options(regime, images, seed, lr)
    teacher = teachers(regime, seed)
    made = [lambda: SmallCNN(ASSISTANT, dropout=0.0)]
    chain = distill_chain(teacher, made, images.images, images.labels, temperature=temperature, alpha=ALPHA, **options)
    return chain[0]


def _options(regime: Regime, images: ImageSet, seed: int, lr: float) -> dict[str, Any]:
    epochs = max(1, round(regime.steps / -(-len(images) // BATCH)))
    return {"epochs": epochs, "lr": lr, "batch_size": BATCH, "seed": seed, "progress": False}


@lru_cache(maxsize=32)
def scale(name: str, regime: Regime) -> float:
    """Length of cross-entropy's gradient over that of a feature loss, by the student's shared weights, untrained.

    Shared are the weights before the matched layer. Medians over five seeds, first batch of each.
    """
    loss, layer = FEATURES[name]
    ratios = []
    for seed in range(2001, 2006):
        images, student, teacher = seen_images(regime, seed), make_student(seed), teachers(regime, 2001)
        batch, labels = images.images[:BATCH], images.labels[:BATCH]
        known = record_features(teacher, batch, [layer])[layer]
        with FeatureTap(student, layer) as tap:
            logits = student(batch)
        features = tap[layer]
        if name == "hint":
            features = _projector(features, known, seed)(features)
        shared = list(student.features.parameters())
        lengths = []
        for value in (F.cross_entropy(logits, labels), loss(features, known)):
            gradients = torch.autograd.grad(value, shared, retain_graph=True)
            lengths.append(float(torch.cat([one.flatten() for one in gradients]).norm()))
        ratios.append(lengths[0] / lengths[1])
    return sorted(ratios)[2]


def _projector(student_features: Tensor, teacher_features: Tensor, seed: int) -> Projector:
    with seeded(seed + 10_000):
        return Projector(student_features.shape[1], teacher_features.shape[1])


# --- one run of each kind ---------------------------------------------------------------------------------------------


def learn_labels(regime: Regime, seed: int, lr: float, smoothing: float = 0.0) -> nn.Module:
    """Labels alone, smoothed or not."""
    images, student = seen_images(regime, seed), make_student(seed)
    loss: Any = partial(F.cross_entropy, label_smoothing=smoothing)
    objective = lambda logits, labels, rows: loss(logits, labels)  # noqa: E731
    fit(student, images.images, images.labels, objective=objective, **_options(regime, images, seed, lr))
    return student


def learn_answers(regime: Regime, seed: int, lr: float, *, kind: str, **setting: float) -> nn.Module:
    """A loss on the logits of one teacher, or of several."""
    images, student = seen_images(regime, seed), make_student(seed)
    soft = _soft_term(kind, regime, seed, images, **setting)

    def objective(logits: Tensor, labels: Tensor | None, rows: Tensor) -> Tensor:
        assert labels is not None
        return ALPHA * soft(logits, labels, rows) + (1 - ALPHA) * F.cross_entropy(logits, labels)

    fit(student, images.images, images.labels, objective=objective, **_options(regime, images, seed, lr))
    return student


Soft = Callable[[Tensor, Tensor, Tensor], Tensor]


def _soft_term(kind: str, regime: Regime, seed: int, images: ImageSet, **setting: float) -> Soft:
    """soft(student logits, labels, rows) -> scalar."""
    count = TEACHERS if kind.startswith("ensemble") else 1
    members = torch.stack([_logits(regime, seed, member, images) for member in range(count)])
    if kind == "one entropy for all":
        temperatures = matched_temperature(members[0], entropy=setting["entropy"])
        return lambda logits, labels, rows: rowwise_kd_loss(
            logits, members[0][rows], temperature=temperatures[rows].to(logits.dtype), alpha=1.0
        )
    t = setting["temperature"]
    weight = None
    if kind == "ensemble, logits":
        target = average_logits(members)
    elif kind == "ensemble, by confidence":
        confident = label_confidence_weights(members, images.labels)
        target = average_probabilities(members, temperature=t, weights=confident)
    else:
        target = average_probabilities(members, temperature=t)
    if kind == "ensemble, by agreement":
        weight = agreement_weights(members, temperature=t)
    if kind == "decoupled":
        return lambda logits, labels, rows: dkd_loss(logits, target[rows], labels, temperature=t)
    if kind == "DIST":
        return lambda logits, labels, rows: dist_loss(logits, target[rows], temperature=t)
    if kind == "standardised logits":
        normal = standardize(target)
        return lambda logits, labels, rows: kd_loss(standardize(logits), normal[rows], temperature=t, alpha=1.0)
    if weight is not None:
        return lambda logits, labels, rows: rowwise_kd_loss(
            logits, target[rows], temperature=t, alpha=1.0, weight=weight[rows]
        )
    return lambda logits, labels, rows: kd_loss(logits, target[rows], temperature=t, alpha=1.0)


@lru_cache(maxsize=256)
def _logits_of_all(regime: Regime, seed: int, member: int) -> Tensor:
    return predict_logits(teachers(regime, seed, member), load_digits().train.images)


def _logits(regime: Regime, seed: int, member: int, images: ImageSet) -> Tensor:
    """Of one teacher, for the student's images."""
    if regime.per_class is None:
        return _logits_of_all(regime, 0, member)
    return predict_logits(teachers(regime, seed if not regime.informed else 0, member), images.images)


def learn_features(
    regime: Regime, seed: int, lr: float, weight: float, *, kind: str, answers: bool = False, trained: bool = True
) -> nn.Module:
    """Labels and one feature loss; with ``answers`` distillation too; or with an untrained teacher."""
    loss, layer = FEATURES[kind]
    images, student = seen_images(regime, seed), make_student(seed)
    teacher = teachers(regime, _own(regime, seed)) if trained else untrained_teacher()
    projector = None
    if kind == "hint":
        channels = {"features.4": 2, "classifier.3": 4}[layer]
        with seeded(seed + 10_000):
            projector = Projector(channels * WIDTH, channels * 32)
    match = Match(layer, layer, loss, weight * scale(kind, regime), projector)
    setting: dict[str, Any] = {"temperature": BESIDE, "alpha": ALPHA if answers else 0.0}
    options = _options(regime, images, seed, lr)
    distill_features(student, teacher, images.images, images.labels, matches=[match], **setting, **options)
    return student


def learn_from(regime: Regime, seed: int, lr: float, temperature: float, *, who: str) -> nn.Module:
    """One net after another, or beside it: each trained in the student's budget."""
    images = seen_images(regime, seed)
    options = _options(regime, images, seed, lr)
    if who == "mutual":
        peers = [make_student(seed), make_student(seed + 5_000)]
        train_mutually(peers, images.images, images.labels, temperature=temperature, **options)
        return peers[0]
    if who == "assistant":
        between, student = assistant(regime, seed, temperature, lr), make_student(seed)
        pair = (between, images.images, images.labels)
        distill(student, *pair, temperature=temperature, alpha=ALPHA, **options)
        return student
    setting: dict[str, Any] = {"temperature": temperature, "alpha": ALPHA}
    own = options | {"seed": 10_000 + 10 * seed}  # so that no two runs share a generation
    make = partial(SmallCNN, WIDTH, dropout=0.0)
    parents = born_again(make, images.images, images.labels, generations=GENERATIONS - 1, **setting, **own)
    student = make_student(seed)
    distill(student, parents[-1], images.images, images.labels, **setting, **options)
    return student


def _own(regime: Regime, seed: int) -> int:
    """The seed that tells teachers apart: where they saw all labels, one serves every seed."""
    return 0 if regime.informed or regime.per_class is None else seed


# --- the arms ---------------------------------------------------------------------------------------------------------


def arms(name: str, *, settings: Mapping[str, dict[str, Any]] | None = None) -> dict[str, Arm]:
    """Every arm of one regime, the baseline ("hard labels") first.

    Args:
        name: a key of ``REGIMES``.
        settings: per arm the one setting to use; by default each arm brings its tuning grid.
    """
    regime = REGIMES[name]
    own = len(seen_images(regime, 0))
    teacher = len(load_digits().train) if regime.informed else own

    def arm(arm_name: str, grid: str, learn: Callable[..., nn.Module], seen: int | None) -> tuple[str, Arm]:
        def run(seed: int, **setting: Any) -> Score:
            return score(learn(regime, seed, **setting), teachers(regime, _own(regime, seed)))

        return arm_name, Arm(run, own, seen, [settings[arm_name]] if settings else GRIDS[grid])

    plan = [arm("hard labels", "rate", learn_labels, None), arm("label smoothing", "smoothing", learn_labels, None)]
    for kind in ANSWERS:
        grid = "entropy" if kind == "one entropy for all" else "temperature"
        plan.append(arm(kind, grid, partial(learn_answers, kind=kind), teacher))
    for kind in FEATURES:
        learn = partial(learn_features, kind=kind)
        plan.append(arm(kind, "weight", learn, teacher))
        plan.append(arm(f"{kind} and distillation", "weight", partial(learn, answers=True), teacher))
        plan.append(arm(f"{kind}, untrained teacher", "weight", partial(learn, trained=False), 0))
    for who in WHO:
        if who.startswith("ensemble"):
            plan.append(arm(who, "temperature", partial(learn_answers, kind=who), teacher))
        else:
            saw = teacher if who == "assistant" else own
            plan.append(arm(who, "temperature", partial(learn_from, who=who), saw))
    chosen = FEWER_ARMS.get(name)
    return {one: made for one, made in plan if chosen is None or one in chosen}


def teacher_accuracies(regime: Regime, seed: int) -> dict[str, float]:
    """Test accuracy of the one teacher, and of the ensemble by probabilities."""
    test = load_digits().test
    own = _own(regime, seed)
    members = [predict_logits(teachers(regime, own, member), test.images) for member in range(TEACHERS)]
    together = average_probabilities(members).argmax(dim=1)
    return {
        "one teacher": evaluate(teachers(regime, own), test.images, test.labels).accuracy,
        "ensemble": float((together == test.labels).float().mean()),
    }
