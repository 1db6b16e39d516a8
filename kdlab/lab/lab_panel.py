"""The sliders, buttons and tables around a distillation lab, for notebooks."""

from __future__ import annotations

import base64
import html
import threading
from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING

import ipywidgets as widgets
from traitlets import Int

from kdlab.lab.lab_words import INK_STYLE, paragraph, standing, tables
from kdlab.lab.pairs import Try, summarize

if TYPE_CHECKING:
    from kdlab.lab.kernel_lab import DistillationLab, Part

__all__ = ["LabPanel"]

_SETTLE = 0.25  # seconds after a run in which the clicks made meanwhile are taken from the queue and dropped

_PARTS: tuple[Part, ...] = ("target", "tries")  # from left to right, and what answers first

_SLIDERS = {
    "temperature": ("T: temperature (τ)", "How much the teacher's answer is softened"),
    "alpha": ("α: weight of the soft term", "0 = labels only, 1 = teacher only"),
    "labels": ("labelled images", "How many labelled images the student sees"),
}


class _Slider(widgets.SelectionSlider):
    """A slider whose moves the kernel does not echo: one message less before the picture."""

    index = Int(None, allow_none=True).tag(sync=True, echo_update=False)


class LabPanel:
    """Widgets that show a :class:`~kdlab.lab.kernel_lab.DistillationLab` and pass on what a learner does.

    Attributes:
        widget: the whole panel.
    """

    def __init__(self, lab: DistillationLab) -> None:
        self._lab = lab
        self._shown: list[Try] | None = None
        self._lock = threading.RLock()
        self._running = self._confirming = False
        self._sliders = {name: self._slider(name) for name in _SLIDERS}
        self._run = _button("Run", "Train two students and add the pair to the chart", self._run_clicked)
        self._run.button_style = "primary"
        self._reset = _button("Reset sliders", "Sliders back to the start; tries stay", self._reset_clicked)
        self._clear = _button("Clear tries", "Forget all tries; asks once more", self._clear_clicked)
        self._live, self._tables = (widgets.HTML(layout=_layout(margin="0")) for _ in range(2))
        # Two pictures that together look like one: a move of a slider changes one of them, as a rule.
        self._pictures = {part: self._picture(part) for part in _PARTS}
        self._drawn_from: dict[Part, Hashable] = {}
        picture = widgets.HBox(
            list(self._pictures.values()), layout=_layout(width="100%", max_width=f"{lab.width}px", margin="0")
        )
        self._message = widgets.HTML(layout=_layout(flex="1 1 200px", width="auto"))
        controls = widgets.HBox(
            [
                widgets.VBox(list(self._sliders.values())),
                widgets.VBox([self._run, self._reset, self._clear]),
                self._message,
            ],
            layout=_layout(flex_flow="row wrap", max_width="900px"),
        )
        terms = widgets.HTML(self._terms())
        self.widget = widgets.VBox([terms, controls, self._live, picture, self._tables])
        self.widget.add_class("kd-lab")
        lab.subscribe(self.refresh)
        self.refresh()

    def refresh(self) -> None:
        """Show the lab's present state."""
        with self._lock:
            self._cancel_clear()
            for name, slider in self._sliders.items():
                slider.value = getattr(self._lab.settings, name)
            for part in _PARTS:
                self._show(part)
            self._live.value = self._state_in_words()
            if self._shown != self._lab.tries:
                self._shown = list(self._lab.tries)
                self._tables.value = tables(self._shown)

    def _show(self, part: Part) -> None:
        """Draw and send a part of the picture, if it changed."""
        state = self._lab.drawn_from(part)
        if self._drawn_from.get(part) == state:
            return
        source = base64.b64encode(self._lab.frame(part)).decode("ascii")
        self._pictures[part].value = (
            f'<img class="kd-lab-{part}-picture" alt="{html.escape(self._lab.describe(part), quote=True)}" '
            f'style="display:block;width:100%;height:auto;background:white" src="data:image/png;base64,{source}">'
        )
        self._drawn_from[part] = state

    # ------------------------------------------------------------------ what it says

    def _terms(self) -> str:
        data, count = self._lab.data, self._lab.teacher_labels
        whole = "all " if count == len(data.train) else ""
        return paragraph(
            f"The teacher learned from {whole}{count:,} training labels. Each run trains the same student twice on the "
            "labelled images you allow: once on the labels alone, once also on the teacher's answers for those images. "
            "Both use the same learning rate, which nobody tuned. "
            f"Accuracy is on the {len(data.validation):,} validation images; the test images stay locked."
        )

    def _state_in_words(self) -> str:
        settings, tries = self._lab.settings, self._lab.tries
        same = [one for one in tries if one.settings == settings]
        so_far = f" With these settings so far: {standing(summarize(same)[0])}." if same else ""
        return (
            # Two lines high whatever it says, so that the picture below stays where it is.
            f'<div class="kd-lab-live" role="status" aria-live="polite" style="{INK_STYLE};max-width:880px;'
            f'min-height:2.9em"><b>{settings}.</b> The loss: {self._lab.target_in_words()}. '
            f"Next: try {len(tries) + 1}, seed {len(same)}.{so_far}</div>"
        )

    def _say(self, text: str, *, failed: bool = False) -> None:
        role = "alert" if failed else "status"
        mark = "border-left:4px solid var(--jp-error-color1,#d32f2f);padding-left:8px;" if failed else ""
        words = html.escape(text)
        self._message.value = (
            f'<div class="kd-lab-message" role="{role}" style="{mark}{INK_STYLE}">{words}</div>' if text else ""
        )

    # ------------------------------------------------------------------ what a learner does

    def _picture(self, part: Part) -> widgets.HTML:
        share = f"{self._lab.part_width(part):g} 1 0"  # of the width there is
        return widgets.HTML(layout=_layout(margin="0", min_width="0", flex=share))

    def _slider(self, name: str) -> _Slider:
        label, tooltip = _SLIDERS[name]
        slider = _Slider(
            options=[(f"{value:,g}", value) for value in self._lab.offered[name]],
            value=getattr(self._lab.settings, name),
            description=label,
            tooltip=tooltip,
            continuous_update=True,
            style={"description_width": "180px"},
            layout=_layout(width="460px", max_width="100%"),
        )
        slider.observe(lambda change: self._lab.choose(**{name: change["new"]}), names="value")
        return slider

    def _run_clicked(self, _: object) -> None:
        with self._lock:
            if self._running:
                return
            self._running = True
            self._cancel_clear()
            self._enable(False)
        try:
            self._lab.run(report=lambda stage: self._say(f"Training the student {stage} ..."))
            self._say("")
        except Exception as error:  # whatever a learner's own student raises must end in words, not in a dead panel
            self._say(
                f"This run failed and was not counted; earlier tries are kept. {type(error).__name__}: {error}",
                failed=True,
            )
        finally:
            # Clicks made during the run are delivered right after it, and must find it still running.
            release = threading.Timer(_SETTLE, self._release)
            release.daemon = True
            release.start()

    def _release(self) -> None:
        with self._lock:
            self._running = False
            self._enable(True)

    def _enable(self, enabled: bool) -> None:
        self._run.description = "Run" if enabled else "Running ..."
        for button in (self._run, self._reset, self._clear):
            button.disabled = not enabled

    def _reset_clicked(self, _: object) -> None:
        if not self._running:
            self._cancel_clear()
            self._lab.reset()

    def _clear_clicked(self, _: object) -> None:
        if self._running or not self._lab.tries:
            return
        if self._confirming:
            self._lab.clear()
        else:
            self._confirming = True
            self._clear.description, self._clear.button_style = "Really clear?", "danger"

    def _cancel_clear(self) -> None:
        if self._confirming:
            self._confirming = False
            self._clear.description, self._clear.button_style = "Clear tries", ""


def _layout(**options: str) -> widgets.Layout:
    return widgets.Layout(**options)


def _button(label: str, tooltip: str, clicked: Callable[[object], None]) -> widgets.Button:
    button = widgets.Button(description=label, tooltip=tooltip, layout=_layout(width="130px"))
    button.on_click(clicked)
    return button
