"""The kernel lab of the course: choose T, alpha and how many labels, train, and see what the teacher changed.

:class:`DistillationLab` holds the choices and the tries and works without a notebook. What it computes stands in
:mod:`kdlab.lab.pairs`, what it draws in :mod:`kdlab.lab.lab_figure`, its sliders in :mod:`kdlab.lab.lab_panel`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from matplotlib.figure import Figure
from torch import Tensor, nn

from kdlab.data.images import ImageData
from kdlab.lab.blit import BlitCanvas
from kdlab.lab.lab_figure import LabFigure
from kdlab.lab.lab_words import outcome
from kdlab.lab.pairs import Settings, Try, mixed_target, rows_for, train_pair
from kdlab.lab.show import picture_bundle
from kdlab.models import MLP
from kdlab.training import evaluate, predict_logits

if TYPE_CHECKING:
    from ipywidgets import VBox

__all__ = ["DistillationLab", "Part"]

_DPI = 128  # shown at 100: still sharp on a dense screen, with a fifth fewer pixels to send than at the house's 144

Part = Literal["target", "tries"]
"""Left and right part of the picture."""

_START = Settings(temperature=4, alpha=0.9, labels=50)


class DistillationLab:
    """Train a small student at a chosen temperature, alpha and number of labels, as often as you like.

    Each run trains a pair that differs in the teacher alone (:func:`kdlab.lab.pairs.train_pair`) and adds it to
    the chart and the table. Repeating the same settings takes the next seed; from five tries on there is an
    interval and a verdict. Accuracy is on the validation images; the test images are never touched.

    Args:
        teacher: a trained model that returns logits; it is evaluated once, here.
        data: what :func:`kdlab.data.load_digits` returns.
        labels: numbers of labelled images to choose from, rising.
        temperatures: temperatures to choose from, rising.
        alphas: weights of the soft term to choose from, rising.
        start: what is chosen at first and after a reset, or the nearest offered.
        example: row of the training image whose target is drawn.
        teacher_labels: how many labels the teacher was trained on; all training labels by default.
        make_student: builds an untrained student; by default an MLP with 32 hidden units.
        steps: steps of Adam for each student.
        lr: Adam's learning rate for both.
        accuracy_range: fixed limits of the chart's accuracy axis.

    Attributes:
        tries: every try so far, a list of :class:`kdlab.lab.pairs.Try`.
        settings: what is chosen now.

    Raises:
        ValueError: an empty or unusable choice, an example that is not there.

    Example:
        >>> from kdlab.data import load_digits
        >>> lab = DistillationLab(MLP(), load_digits(), steps=8)
        >>> one = lab.run(temperature=2, alpha=0.5, labels=20)
        >>> one.number, str(one.settings), len(lab.tries)
        (1, 'T = 2, α = 0.5, 20 labels', 1)
    """

    def __init__(
        self,
        teacher: nn.Module,
        data: ImageData,
        *,
        labels: Sequence[int] = (20, 50, 100, 200, 1000),
        temperatures: Sequence[float] = (1, 2, 4, 8, 16),
        alphas: Sequence[float] = (0, 0.25, 0.5, 0.75, 0.9, 1),
        start: Settings = _START,
        example: int = 0,
        teacher_labels: int | None = None,
        make_student: Callable[[], nn.Module] | None = None,
        steps: int = 600,
        lr: float = 0.01,
        accuracy_range: tuple[float, float] = (0.5, 1.0),
    ) -> None:
        train = data.train
        self.offered = _checked_choices(train=len(train), temperature=temperatures, alpha=alphas, labels=labels)
        for count in labels:
            rows_for(train, count, seed=0)
        if not 0 <= example < len(train):
            raise ValueError(f"example must be a row of the training set, 0 to {len(train) - 1}, got {example}")
        self.data, self.teacher_labels = data, len(train) if teacher_labels is None else teacher_labels
        self.tries: list[Try] = []
        self._start = Settings(**{name: _nearest(of, getattr(start, name)) for name, of in self.offered.items()})
        self.settings = self._start
        logits = predict_logits(teacher, train.images)
        self._logits, self._label = logits[example], int(train.labels[example])
        student = make_student or partial(MLP, train.images[0].numel(), (32,), logits.shape[1])
        self._train_pair = partial(train_pair, train, data.validation, logits, make_student=student, steps=steps, lr=lr)
        self._new_picture = partial(
            LabFigure,
            train.images[example],
            self._label,
            num_classes=logits.shape[1],
            label_choices=labels,
            accuracy_range=accuracy_range,
            teacher_accuracy=evaluate(teacher, data.validation.images, data.validation.labels).accuracy,
        )
        self._picture = self._new_picture()
        self._canvas = BlitCanvas(self._picture.figure, self._picture.moving, dpi=_DPI)
        self._target: tuple[Settings, tuple[Tensor, Tensor]] | None = None
        self._drawn: list[Try] = []
        self._drawing = threading.Lock()  # JupyterLab calls widgets back in a thread of their own, beside the cells
        self._training = threading.Lock()
        self._listeners: list[Callable[[], None]] = []
        self._widget: VBox | None = None

    # ------------------------------------------------------------------ choose, run

    def choose(
        self, *, temperature: float | None = None, alpha: float | None = None, labels: int | None = None
    ) -> None:
        """Change some of the settings, as moving a slider does.

        Raises:
            ValueError: a value that is not offered.
        """
        wanted = {"temperature": temperature, "alpha": alpha, "labels": labels}
        given = {name: value for name, value in wanted.items() if value is not None}
        for name, value in given.items():
            if value not in self.offered[name]:
                raise ValueError(f"{name} must be one of {self.offered[name]}, got {value!r}")
        settings = replace(self.settings, **given)  # type: ignore[arg-type]
        if settings != self.settings:
            self.settings = settings
            self._changed()

    def run(
        self,
        *,
        temperature: float | None = None,
        alpha: float | None = None,
        labels: int | None = None,
        report: Callable[[str], None] = lambda stage: None,
    ) -> Try:
        """Choose what is given, train one pair with the next seed for these settings, and return the try.

        Raises:
            ValueError: a value that is not offered.
            TrainingStopped: a training that diverged; earlier tries stay.
        """
        self.choose(temperature=temperature, alpha=alpha, labels=labels)
        with self._training:
            settings = self.settings
            seed = sum(one.settings == settings for one in self.tries)
            hard, soft = self._train_pair(settings, seed=seed, report=report)
            one = Try(len(self.tries) + 1, settings, seed, hard, soft)
            self.tries.append(one)
        self._changed()
        return one

    def reset(self) -> None:
        """Back to the settings at the start; the tries stay."""
        self.choose(**vars(self._start))

    def clear(self) -> None:
        """Forget all tries; the settings stay, and seeds start again at 0."""
        self.tries.clear()
        self._changed()

    def subscribe(self, listener: Callable[[], None]) -> None:
        """Have ``listener`` called after every change of the settings or the tries."""
        self._listeners.append(listener)

    def _changed(self) -> None:
        for listener in self._listeners:
            listener()

    # ------------------------------------------------------------------ show

    @property
    def target(self) -> tuple[Tensor, Tensor]:
        """Hard and soft part of the example's target at the present settings."""
        settings, known = self.settings, self._target
        if known is None or known[0] != settings:  # asked for by the picture, its alt text and the line above it
            parts = mixed_target(self._logits, self._label, temperature=settings.temperature, alpha=settings.alpha)
            self._target = known = settings, parts
        return known[1]

    def target_in_words(self) -> str:
        """The two largest weights, of label and teacher together."""
        hard, soft = self.target
        weights, classes = (hard + soft).topk(2)
        return f"weight {weights[0]:.2f} on class {int(classes[0])}, then {weights[1]:.2f} on class {int(classes[1])}"

    def figure(self) -> Figure:
        """A new figure of the present state, for a page or a file."""
        picture = self._new_picture()
        picture.set_tries(self.tries)
        self._update(picture)
        return picture.figure

    def frame(self, part: Part | None = None) -> bytes:
        """The present state as a PNG, whole or one part of it, from the figure that is kept for the sliders."""
        with self._drawing:
            if self._drawn != self.tries:
                self._drawn = list(self.tries)
                self._picture.set_tries(self._drawn)
                self._canvas.invalidate()
            self._update(self._picture, part)
            return self._canvas.frame(part)

    def drawn_from(self, part: Part) -> Hashable:
        """All that a part's picture depends on: while this stays equal, so does the picture."""
        settings = self.settings
        if part == "target":
            return settings.temperature, settings.alpha
        return settings.labels, tuple(self.tries), tuple(one.settings == settings for one in self.tries)

    def part_width(self, part: Part) -> float:
        """Width at which a part is meant to be shown, in CSS pixels; together they are as wide as the whole."""
        columns = self._canvas.columns(part)
        return 100 * (columns.stop - columns.start) / _DPI

    @property
    def width(self) -> int:
        """Width at which the picture is meant to be shown, in CSS pixels."""
        return round(100 * self._picture.figure.get_figwidth())

    def _update(self, picture: LabFigure, part: Part | None = None) -> None:
        if part != "tries":
            picture.set_target(*self.target, self.settings)
        if part != "target":
            picture.set_next(self.settings, self.tries)

    def describe(self, part: Part | None = None) -> str:
        """The present picture, or one part of it, in words: its alt text."""
        settings, count = self.settings, len(self.tries)
        latest = f", the latest {outcome(self.tries[-1])}" if self.tries else ""
        words = {
            "target": f"Left, bars: what the loss weighs for a training image of class {self._label} at "
            f"T = {settings.temperature:g}, α = {settings.alpha:g}: {self.target_in_words()}.",
            "tries": "Right, chart of validation accuracy by number of labelled images: "
            f"{count} {'try' if count == 1 else 'tries'}{latest}; the next one lands at {settings.labels:,}.",
        }
        return words[part] if part else " ".join(words.values())

    def __repr__(self) -> str:
        return f"Distillation lab at {self.settings}. {self.describe()}"

    @property
    def widget(self) -> VBox:
        """The panel with its sliders, made when first asked for."""
        if self._widget is None:
            from kdlab.lab.lab_panel import LabPanel

            self._widget = LabPanel(self).widget
        return self._widget

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> tuple[dict[str, Any], dict[str, Any]]:
        """The live panel, and for pages that run nothing a picture of the present state and its sentence."""
        view = {"version_major": 2, "version_minor": 0, "model_id": self.widget.model_id}
        bundle: dict[str, Any] = {
            "application/vnd.jupyter.widget-view+json": view,
            **picture_bundle(self.frame(), alt=self.describe(), width=self.width),
            "text/plain": repr(self),
        }
        kept = {
            kind: value
            for kind, value in bundle.items()
            if (not include or kind in include) and not (exclude and kind in exclude)
        }
        return kept, {"image/png": {"width": self.width, "alt": self.describe()}}


def _nearest(offered: Sequence[Any], wanted: float) -> Any:
    return min(offered, key=lambda value: abs(value - wanted))


def _checked_choices(*, train: int, **choices: Sequence[float]) -> dict[str, list[Any]]:
    limits = {"temperature": (1e-6, float("inf")), "alpha": (0, 1), "labels": (1, train)}
    for name, values in choices.items():
        low, high = limits[name]
        if not values or list(values) != sorted(set(values)) or not all(low <= value <= high for value in values):
            raise ValueError(
                f"choices of {name} must be different, rising and from {low:g} to {high:g}, got {list(values)}"
            )
    return {name: list(values) for name, values in choices.items()}
