"""The Python twin of the playground panel: two students on points in the plane, one of them with a teacher.

The panel trains in the browser, with gradients derived by hand (``static/panels/playground.js``). Here the same two
students are trained by autograd, :func:`kdlab.losses.kd_loss` and ``torch.optim.Adam``; a browser test compares the
numbers. What both must draw alike (first weights, which points are labelled) comes from a small integer generator.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from kdlab.losses import kd_loss

__all__ = [
    "PlaygroundSetting",
    "PlaygroundState",
    "first_weights",
    "labelled_points",
    "playground_data",
    "playground_run",
    "playground_teacher",
    "student_logits",
]

SIZES = (3, 6, 12, 24)
PLAYGROUND_TEMPERATURES = (1, 2, 4, 8, 16, 32)
PLAYGROUND_ALPHAS = (0, 0.25, 0.5, 0.75, 0.9, 1)
POOL, HELD_OUT = 80, 100  # points of each class
LABELS = (2, 5, 20, POOL)
ANSWERS = ("labelled", "all")
CLASSES = 3
STEPS, RATE = 400, 0.05
REACH = 1.08
"""Maps show the square from -REACH to REACH on both axes."""

PROBES = ((-0.8, -0.6), (0.0, 0.0), (0.1, 0.7), (0.6, -0.2))
"""Points at which twin and browser are compared."""

_TURNS, _NOISE, _CORE = 0.7, 0.1, 0.12
_TEACHER_WIDTH, _TEACHER_STEPS, _TEACHER_RATE = 32, 300, 0.01
_DECIMALS = 4
_STREAM = 1_000_003  # starts are this far apart in the generator's seeds

Arm = tuple[Tensor, Tensor, Tensor, Tensor]


@dataclass(frozen=True)
class PlaygroundSetting:
    """What a learner can choose in the panel.

    Attributes:
        size: hidden units of the students, one of ``SIZES``.
        temperature: T, one of ``PLAYGROUND_TEMPERATURES``.
        alpha: weight of the soft term, one of ``PLAYGROUND_ALPHAS``.
        labels: labelled points of each class, one of ``LABELS``.
        answers: the points that the teacher answers for: "labelled" only, or "all" of the pool.
        start: from 1; decides the first weights and which points are labelled.

    Raises:
        ValueError: a value that the panel does not offer.
    """

    size: int = 12
    temperature: float = 4
    alpha: float = 0.9
    labels: int = 2
    answers: Literal["labelled", "all"] = "all"
    start: int = 1

    def __post_init__(self) -> None:
        offered: dict[str, Sequence[Any]] = {
            "size": SIZES,
            "temperature": PLAYGROUND_TEMPERATURES,
            "alpha": PLAYGROUND_ALPHAS,
            "labels": LABELS,
            "answers": ANSWERS,
        }
        for name, values in offered.items():
            given = getattr(self, name)
            if isinstance(given, bool) or given not in values:
                listed = ", ".join(map(str, values))
                raise ValueError(f"{name} must be one of those that the panel offers ({listed}), got {given!r}")
        if isinstance(self.start, bool) or not isinstance(self.start, int) or not 1 <= self.start < 2**20:
            raise ValueError(f"start must be a whole number from 1, got {self.start!r}")

    def summary(self) -> str:
        """The setting in words, as the panel says it."""
        who = "all points" if self.answers == "all" else "the labelled points"
        return (
            f"Start {self.start}, {self.size} hidden units, {CLASSES * self.labels} of {CLASSES * POOL} points "
            f"labelled, T = {self.temperature:g}, α = {self.alpha:g}, the teacher answers for {who}"
        )


@dataclass(frozen=True)
class PlaygroundState:
    """Both students after some steps; the first of each pair learns from labels alone, the second with the teacher.

    Attributes:
        setting: what was trained.
        step: steps of Adam taken.
        weights: of each student W1 (2, H), b1 (H,), W2 (H, 3), b2 (3,).
        losses: what each student minimises, before the next step.
        accuracies: of each student, on the held-out points.
    """

    setting: PlaygroundSetting
    step: int
    weights: tuple[Arm, Arm]
    losses: tuple[float, float]
    accuracies: tuple[float, float]

    def summary(self) -> str:
        """One line, word for word the one under the panel."""
        alone, taught = (f"{100 * share:.1f} %" for share in self.accuracies)
        return (
            f"{self.setting.summary()}; step {self.step} of {STEPS}: labels alone {alone}, with the teacher {taught} "
            f"of the {CLASSES * HELD_OUT} held-out points right"
        )


def playground_data(seed: int = 1, per_class: int = POOL) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    r"""Three spiral arms with noise: points in the square from -1 to 1, three decimals.

    On arm k, :math:`x = 0.92\, r\, (\cos a, \sin a) + \epsilon` with :math:`a = 2\pi (k / 3 + 0.7\, r)`, r spread
    evenly over the disc, and :math:`\epsilon` normal with standard deviation 0.1 on each axis.

    Args:
        seed: 1 is the pool that students learn from, 2 the held-out set.
        per_class: points on each arm.

    Returns:
        Points, shape (3 * per_class, 2), and their classes, shape (3 * per_class,), one class after the other.

    Example:
        >>> points, classes = playground_data()
        >>> points.shape, np.bincount(classes).tolist()
        ((240, 2), [80, 80, 80])
    """
    random = np.random.default_rng(seed)
    arms = []
    for k in range(CLASSES):
        radius = np.sqrt(random.uniform(_CORE**2, 1, per_class))
        angle = 2 * np.pi * (k / CLASSES + _TURNS * radius)
        clean = 0.92 * radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
        arms.append(clean + random.normal(0, _NOISE, (per_class, 2)))
    points = np.clip(np.concatenate(arms), -1, 1).round(3) + 0.0  # + 0.0 turns -0.0 into 0.0
    return points, np.repeat(np.arange(CLASSES), per_class)


@lru_cache(maxsize=1)
def playground_teacher() -> Callable[[Any], NDArray[np.float64]]:
    """A network of 2-32-32-3 units (tanh), trained once on all labels of the pool; torch's own generator is left alone.

    Returns:
        A function from points (n, 2) to logits (n, 3), rounded to four decimals as the panel's are.

    Example:
        >>> points, classes = playground_data()
        >>> bool((playground_teacher()(points).argmax(axis=1) == classes).mean() > 0.9)
        True
    """
    points, classes = (torch.from_numpy(array) for array in playground_data())
    random = torch.Generator().manual_seed(0)
    widths = (2, _TEACHER_WIDTH, _TEACHER_WIDTH, CLASSES)
    weights = [torch.randn(a, b, generator=random, dtype=torch.float64) / math.sqrt(a) for a, b in pairwise(widths)]
    biases = [torch.zeros(b, dtype=torch.float64) for b in widths[1:]]
    adam = torch.optim.Adam([tensor.requires_grad_() for tensor in (*weights, *biases)], lr=_TEACHER_RATE)

    def logits(x: Tensor) -> Tensor:
        for weight, bias in zip(weights[:-1], biases[:-1], strict=True):
            x = torch.tanh(x @ weight + bias)
        return x @ weights[-1] + biases[-1]

    for _ in range(_TEACHER_STEPS):
        adam.zero_grad()
        F.cross_entropy(logits(points), classes).backward()
        adam.step()

    def answer(x: Any) -> NDArray[np.float64]:
        with torch.no_grad():
            found: NDArray[np.float64] = logits(torch.as_tensor(x, dtype=torch.float64)).numpy()
        return found.round(_DECIMALS) + 0.0

    return answer


def playground_run(setting: PlaygroundSetting, steps: Sequence[int] = (STEPS,)) -> list[PlaygroundState]:
    r"""Train both students, full batch, float64, and look at them after some of the steps.

    The first minimises :math:`\mathrm{CE}` on the labelled points, the second
    :math:`(1 - \alpha)\,\mathrm{CE} + \alpha T^2 \mathrm{KL}(p^T \| q^T)`, where KL is a mean over the points that the
    teacher answers for. Both begin with the same weights and take the same number of steps.

    Args:
        setting: what to train.
        steps: numbers of steps after which to look, ascending.

    Raises:
        ValueError: ``steps`` do not ascend or are negative.

    References:
        Hinton, Vinyals, Dean (2015), Distilling the Knowledge in a Neural Network, arXiv 1503.02531.

    Example:
        >>> before, after = playground_run(PlaygroundSetting(), [0, 40])
        >>> before.accuracies[0] == before.accuracies[1], after.accuracies[1] > after.accuracies[0]
        (True, True)
    """
    if list(steps) != sorted(set(steps)) or (steps and steps[0] < 0):
        raise ValueError(f"steps must ascend from 0 or more, got {list(steps)}")
    students = [_train(setting, steps, taught) for taught in (False, True)]
    return [
        PlaygroundState(setting, step, (a[0], b[0]), (a[1], b[1]), (_accuracy(a[0]), _accuracy(b[0])))
        for step, a, b in zip(steps, *students, strict=True)
    ]


def _train(setting: PlaygroundSetting, steps: Sequence[int], taught: bool) -> list[tuple[Arm, float]]:
    w1, b1, w2, b2 = (tensor.requires_grad_() for tensor in first_weights(setting))
    student: Arm = (w1, b1, w2, b2)
    adam = torch.optim.Adam(student, lr=RATE)
    seen = []
    for step in range(max(steps, default=-1) + 1):
        loss = _loss(student, setting, taught)
        if step in steps:
            now = (w1.detach().clone(), b1.detach().clone(), w2.detach().clone(), b2.detach().clone())
            seen.append((now, loss.item()))
        adam.zero_grad()
        loss.backward()
        adam.step()
    return seen


def _loss(student: Arm, setting: PlaygroundSetting, taught: bool) -> Tensor:
    points, classes, answers = _pool()
    few = torch.tensor(labelled_points(setting))
    if not taught:
        return F.cross_entropy(student_logits(student, points[few]), classes[few])
    heat, alpha = setting.temperature, setting.alpha
    if setting.answers == "labelled":
        logits = student_logits(student, points[few])
        return kd_loss(logits, answers[few], classes[few], temperature=heat, alpha=alpha)
    hard = F.cross_entropy(student_logits(student, points[few]), classes[few])
    soft = kd_loss(student_logits(student, points), answers, temperature=heat, alpha=1)
    return (1 - alpha) * hard + alpha * soft


def student_logits(student: Arm, points: Any) -> Tensor:
    """Logits of a student, W2' tanh(W1' x + b1) + b2: points (n, 2) to (n, 3)."""
    w1, b1, w2, b2 = student
    return torch.tanh(torch.as_tensor(points, dtype=torch.float64) @ w1 + b1) @ w2 + b2


def first_weights(setting: PlaygroundSetting) -> Arm:
    """The weights that both students begin with; a student of another size begins with others."""
    uniform = _uniform(_STREAM * setting.start + 1)
    size = setting.size
    scales = ((1.5, 2 * size), (0.75, size), (1 / math.sqrt(size), CLASSES * size))
    drawn = [[scale * _normal(uniform) for _ in range(count)] for scale, count in scales]
    w1, b1, w2 = (torch.tensor(numbers, dtype=torch.float64) for numbers in drawn)
    return w1.reshape(2, size), b1, w2.reshape(size, CLASSES), torch.zeros(CLASSES, dtype=torch.float64)


@lru_cache(maxsize=64)
def labelled_points(setting: PlaygroundSetting) -> tuple[int, ...]:
    """Indices of the labelled points; more labels at the same start are the same points and others besides."""
    uniform = _uniform(_STREAM * setting.start)
    chosen: list[int] = []
    for k in range(CLASSES):
        order = list(range(k * POOL, (k + 1) * POOL))
        for last in range(POOL - 1, 0, -1):  # Fisher and Yates
            other = int(uniform() * (last + 1))
            order[last], order[other] = order[other], order[last]
        chosen += order[: setting.labels]
    return tuple(chosen)


@lru_cache(maxsize=1)
def _pool() -> tuple[Tensor, Tensor, Tensor]:
    """Points, classes and the teacher's logits."""
    points, classes = playground_data()
    return torch.from_numpy(points), torch.from_numpy(classes), torch.from_numpy(playground_teacher()(points))


def _accuracy(student: Arm) -> float:
    points, classes = playground_data(2, HELD_OUT)
    return float((student_logits(student, points).argmax(dim=1).numpy() == classes).mean())


def _uniform(seed: int) -> Callable[[], float]:
    """mulberry32, a public-domain generator of 32-bit integers by Tommy Ettinger, as numbers in [0, 1)."""
    state, mask = seed & 0xFFFFFFFF, 0xFFFFFFFF

    def draw() -> float:
        nonlocal state
        state = (state + 0x6D2B79F5) & mask
        t = ((state ^ state >> 15) * (1 | state)) & mask
        t ^= (t + ((t ^ t >> 7) * (61 | t))) & mask
        return (t ^ t >> 14) / 2**32

    return draw


def _normal(uniform: Callable[[], float]) -> float:
    """A standard normal number from two uniform ones, by Box and Muller."""
    radius = math.sqrt(-2 * math.log(1 - uniform()))
    return radius * math.cos(2 * math.pi * uniform())
