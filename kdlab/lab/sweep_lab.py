"""A kernel lab that fills a map: choose how many seeds, press Run, and watch the cells come in.

:class:`SweepLab` works without a notebook too. Its runs stand in :mod:`kdlab.lab.sweep_runs`, its picture in
:mod:`kdlab.lab.heat_map`, its buttons in :mod:`kdlab.lab.sweep_panel`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from matplotlib.figure import Figure

from kdlab.lab.blit import BlitCanvas
from kdlab.lab.heat_map import HeatMap
from kdlab.lab.show import picture_bundle
from kdlab.lab.sweep_map import Baseline
from kdlab.lab.sweep_runs import SweepRuns
from kdlab.lab.sweep_words import described
from kdlab.sweep import Run

if TYPE_CHECKING:
    from ipywidgets import VBox

__all__ = ["SweepLab"]

_DPI = 128


class SweepLab(SweepRuns):
    """Train at every combination of two settings, seed by seed, and compare each with one baseline.

    A cell shows the mean difference to the baseline over the seeds that both have, in percentage points. From five
    seeds on it gets a verdict, corrected by Holm over all cells of the map (:meth:`kdlab.sweep.Sweep.against`).

    With ``jobs=1`` the panel trains in a thread of this process. A run in progress when Stop is pressed ends unseen.
    Other cells can be used meanwhile, but should not draw torch's random numbers, which belong to the process; with
    ``jobs=2`` or more, runs have processes of their own, and ``run`` must be picklable.

    Args:
        run: ``run(seed, **setting)`` returns an accuracy in [0, 1] or a :class:`kdlab.experiments.Score`, whose
            validation part is then what the map shows. Several maps to choose from: a dictionary, name to ``run``.
        rows: the name of a setting, as ``run`` knows it, and its values from top to bottom.
        columns: the same for the columns.
        baseline: ``baseline(seed)``, which is run like a cell, or its scores by seed; per map a dictionary by name.
            Where it reports no validation score, the map compares test scores.
        seeds: the seeds to choose from, always the first few of them; a verdict needs five.
        start: how many seeds are chosen at first.
        measure: what is measured, for labels.
        baseline_name: what the baseline is, for labels.
        row_label: for the axis; by default the setting's name.
        column_label: the same for the columns.
        limit: fixed range of the colours, in points either way.
        higher_is_better: ``False`` for errors.
        jobs: processes, as in :func:`kdlab.sweep.sweep`.

    Attributes:
        choice: name of the map that is shown.
        seed_count: how many seeds per cell the next run brings it to.
        failure: the last error in words, or an empty text.

    Raises:
        TypeError, ValueError: something that cannot be run, settings or seeds that are none.

    Example:
        >>> lab = SweepLab(lambda seed, a, b: (a + b + seed) / 100, rows=("a", [1, 2]), columns=("b", [3, 4]),
        ...                baseline=lambda seed: (5 + seed) / 100)
        >>> lab.run(seeds=2)
        Sweep of 4 settings with 2 seeds
        >>> [round(value, 1) for value in lab.differences().values()]
        [-1.0, 0.0, 0.0, 1.0]
    """

    def __init__(
        self,
        run: Run | Mapping[str, Run],
        *,
        rows: tuple[str, Sequence[Any]],
        columns: tuple[str, Sequence[Any]],
        baseline: Baseline | Mapping[str, Baseline],
        seeds: Sequence[int] = range(5),
        start: int = 1,
        measure: str = "validation accuracy",
        baseline_name: str = "baseline",
        row_label: str | None = None,
        column_label: str | None = None,
        limit: float = 10.0,
        higher_is_better: bool = True,
        jobs: int = 1,
    ) -> None:
        super().__init__(
            run,
            rows=rows,
            columns=columns,
            baseline=baseline,
            seeds=seeds,
            start=start,
            higher_is_better=higher_is_better,
            jobs=jobs,
        )
        self.measure, self.baseline_name = measure, baseline_name
        self.row_label, self.column_label = row_label or self.row_name, column_label or self.column_name
        self._new_picture = partial(
            HeatMap,
            self.rows,
            self.columns,
            row_label=self.row_label,
            column_label=self.column_label,
            value_label=f"{measure} minus {baseline_name}, points",
            vmin=-limit,
            vmax=limit,
            baseline=0.0,
            signed=True,
        )
        self._picture = self._new_picture()
        self._canvas = BlitCanvas(self._picture.figure, self._picture.moving, dpi=_DPI)
        self._widget: VBox | None = None

    # ------------------------------------------------------------------ show

    def figure(self) -> Figure:
        """A new figure of the present state, for a page or a file."""
        picture = self._new_picture()
        self._fill(picture)
        return picture.figure

    def frame(self) -> bytes:
        """The present state as a PNG, from the figure that is kept."""
        with self._lock:
            self._fill(self._picture)
            return self._canvas.frame()

    def _fill(self, picture: HeatMap) -> None:
        verdicts = {setting: found.verdict for setting, found in self.contrasts().items()}
        picture.show(self.table(self.differences(), math.nan), self.table(verdicts, None))

    @property
    def width(self) -> int:
        """Width at which the picture is meant to be shown, in CSS pixels."""
        return round(100 * self._picture.figure.get_figwidth())

    def __repr__(self) -> str:
        runs = sum(self.counts().values())
        where = f", {self.choice}" if self.choice else ""
        return (
            f"Sweep lab{where}: {self.row_label} by {self.column_label}, {len(self.settings)} cells, {runs} runs done."
        )

    @property
    def widget(self) -> VBox:
        """The panel, made when first asked for."""
        if self._widget is None:
            from kdlab.lab.sweep_panel import SweepPanel

            self._widget = SweepPanel(self).widget
        return self._widget

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> tuple[dict[str, Any], dict[str, Any]]:
        """The live panel, and for pages that run nothing a picture of the present state with all its numbers."""
        alt = described(self)
        bundle: dict[str, Any] = picture_bundle(self.frame(), alt=alt, width=self.width)
        bundle["text/plain"] = repr(self)
        view = {"version_major": 2, "version_minor": 0, "model_id": self.widget.model_id}
        bundle["application/vnd.jupyter.widget-view+json"] = view
        kept = {kind for kind in bundle if (not include or kind in include) and kind not in (exclude or ())}
        return {kind: bundle[kind] for kind in kept}, {"image/png": {"width": self.width, "alt": alt}}
