"""The buttons, the progress line and the picture of a sweep lab, for notebooks."""

from __future__ import annotations

import base64
import html
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

import ipywidgets as widgets

from kdlab.lab.lab_words import INK_STYLE, paragraph
from kdlab.lab.sweep_words import described, heading, numbers, standing, terms

if TYPE_CHECKING:
    from kdlab.lab.sweep_lab import SweepLab

__all__ = ["SweepPanel"]


class SweepPanel:
    """Widgets that show a :class:`~kdlab.lab.sweep_lab.SweepLab` and pass on what a learner does.

    Attributes:
        widget: the whole panel.
    """

    def __init__(self, lab: SweepLab) -> None:
        self._lab = lab
        self._lock = threading.RLock()  # the lab calls from the thread that trains, the buttons from another
        self._confirming = False
        self._note = ""
        self._choice = self._dropdown()
        self._seeds = self._slider()
        self._run = _button("Run", "Train what is missing, seed by seed", self._run_clicked)
        self._run.button_style = "primary"
        self._stop = _button("Stop", "Keep what is there and start nothing more", lambda _: lab.stop())
        self._clear = _button("Clear map", "Forget this map's runs; asks once more", self._clear_clicked)
        self._message, self._live, self._picture, self._numbers = (widgets.HTML(layout=_layout()) for _ in range(4))
        # Two lines high whatever it says, and the words that grow come last, so that the picture stays where it is.
        self._message.layout = _layout(max_width=f"{lab.width}px", min_height="46px")
        self._picture.layout = _layout(width="100%", max_width=f"{lab.width}px", margin="0")
        choosing = [self._choice, self._seeds] if len(lab.choices) > 1 else [self._seeds]
        controls = widgets.HBox(
            [widgets.VBox(choosing), widgets.HBox([self._run, self._stop, self._clear], layout=_wrap())],
            layout=_layout(flex_flow="row wrap", max_width="900px"),
        )
        table = widgets.Checkbox(description="show the map as a table", indent=False, layout=_layout(width="auto"))
        table.observe(lambda change: self._show_table(change["new"]), names="value")
        self._show_table(False)
        head = [widgets.HTML(paragraph(terms(lab))), controls, self._message]
        self.widget = widgets.VBox([*head, self._picture, self._live, table, self._numbers])
        self.widget.add_class("kd-sweep")
        lab.subscribe(self.refresh)
        self.refresh()

    def refresh(self) -> None:
        """Show the lab's present state."""
        lab = self._lab
        with self._lock:
            self._cancel_clear()
            self._choice.value, self._seeds.value = lab.choice, lab.seed_count
            running = lab.running
            self._run.description = "Running ..." if running else "Run"
            self._stop.disabled = not running
            for part in (self._run, self._clear, self._choice, self._seeds):
                part.disabled = running
            self._message.value = self._said()
            self._live.value = (
                f'<div class="kd-sweep-live" role="status" aria-live="polite" style="{INK_STYLE};min-height:2.9em;'
                f'max-width:{lab.width}px"><b>{html.escape(heading(lab))}</b> {html.escape(standing(lab))}</div>'
            )
            source = base64.b64encode(lab.frame()).decode("ascii")
            self._picture.value = (
                f'<img class="kd-sweep-picture" alt="{html.escape(described(lab), quote=True)}" '
                f'style="display:block;width:100%;height:auto;background:white" src="data:image/png;base64,{source}">'
            )
            self._numbers.value = numbers(lab)

    # ------------------------------------------------------------------ what it says

    def _said(self) -> str:
        """The progress line, or how the latest run ended."""
        lab = self._lab
        if lab.failure:
            return _line(f"A run failed; what was done before is kept. {lab.failure}", failed=True)
        if lab.progress is None or self._note:
            return _line(self._note)
        done, total = lab.progress
        if lab.running:
            bar = f'<progress value="{done}" max="{total}" aria-label="runs done" style="width:100%"></progress>'
            return _line(f"{done} of {total} runs done", more=bar)
        if lab.stopped:
            return _line(f"Stopped. {done} of {total} runs are kept; one in progress is not counted.")
        return _line(f"All {total} runs are done.")

    # ------------------------------------------------------------------ what a learner does

    def _run_clicked(self, _: object) -> None:
        self._note = ""
        if self._lab.running:
            return
        if self._lab.missing():
            self._lab.start()
        else:
            self._note = "Nothing is missing: every cell has these seeds. Choose more seeds, or clear the map."
            self.refresh()

    def _clear_clicked(self, _: object) -> None:
        if self._lab.running or not any(self._lab.counts().values()):
            return
        if self._confirming:
            self._note = ""
            self._lab.clear()
        else:
            self._confirming = True
            self._clear.description, self._clear.button_style = "Really clear?", "danger"

    def _cancel_clear(self) -> None:
        if self._confirming:
            self._confirming = False
            self._clear.description, self._clear.button_style = "Clear map", ""

    def _chosen(self, **what: object) -> None:
        self._note = ""
        if not self._lab.running:
            self._lab.choose(**what)  # type: ignore[arg-type]

    def _show_table(self, shown: bool) -> None:
        self._numbers.layout.display = None if shown else "none"

    def _dropdown(self) -> widgets.Dropdown:
        dropdown = widgets.Dropdown(
            options=self._lab.choices,
            value=self._lab.choice,
            description="map",
            style={"description_width": "100px"},
            layout=_layout(width="340px", max_width="100%"),
        )
        dropdown.observe(lambda change: self._chosen(choice=change["new"]), names="value")
        return dropdown

    def _slider(self) -> widgets.IntSlider:
        slider = widgets.IntSlider(
            value=self._lab.seed_count,
            min=1,
            max=len(self._lab.seeds),
            description="seeds per cell",
            tooltip="How many students each cell trains in all",
            style={"description_width": "100px"},
            layout=_layout(width="340px", max_width="100%"),
        )
        slider.observe(lambda change: self._chosen(seeds=change["new"]), names="value")
        return slider


def _line(text: str, *, failed: bool = False, more: str = "") -> str:
    role = ' role="alert"' if failed else ""
    mark = "border-left:4px solid var(--jp-error-color1,#d32f2f);padding-left:8px;" if failed else ""
    return f'<div class="kd-sweep-message"{role} style="{mark}{INK_STYLE}">{html.escape(text)}{more}</div>'


def _layout(**options: str) -> widgets.Layout:
    return widgets.Layout(**options)


def _wrap() -> widgets.Layout:
    return _layout(flex_flow="row wrap")


def _button(label: str, tooltip: str, clicked: Callable[[object], None]) -> widgets.Button:
    button = widgets.Button(description=label, tooltip=tooltip, layout=_layout(width="120px"))
    button.on_click(clicked)
    return button
