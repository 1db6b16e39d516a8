"""One map of a sweep lab: the scores of its cells and of its baseline, and what they say together."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

from kdlab.experiments import MINIMUM_SEEDS, Contrast, Score
from kdlab.sweep import Part, Run, Setting, Sweep

__all__ = ["Baseline", "CellMap", "maps_for"]

Baseline = Callable[[int], float | Score] | Mapping[int, float | Score]

_ONLY = ""  # name of the map where there is nothing to choose from


@dataclass
class CellMap:
    """The runs of one choice.

    Attributes:
        run: trains one student of a cell.
        baseline: trains one to compare with; ``None`` where its scores were given.
        scores: per setting, a score by seed.
        level: the baseline's score by seed.
        planned: how many seeds per cell were asked for, at most.
    """

    run: Run
    baseline: Callable[[int], float | Score] | None
    scores: dict[Setting, dict[int, Score]]
    level: dict[int, Score] = field(default_factory=dict)
    planned: int = 0

    def clear(self) -> None:
        """Forget all runs; a baseline that was given stays."""
        self.scores, self.planned = {setting: {} for setting in self.scores}, 0
        if self.baseline is not None:
            self.level = {}

    @property
    def judged_on(self) -> Part:
        """Validation, where every run reports it."""
        every = [*self.level.values(), *(score for runs in self.scores.values() for score in runs.values())]
        return "test" if any(math.isnan(score.validation) for score in every) else "validation"

    def sweep(self, seeds: Sequence[int]) -> Sweep:
        """The runs with the seeds that were asked for."""
        asked = tuple(seeds[: self.planned])
        kept = {one: {seed: runs[seed] for seed in asked if seed in runs} for one, runs in self.scores.items()}
        return Sweep(kept, asked)

    def differences(self) -> dict[Setting, float]:
        """Per cell the mean difference to the baseline in points, over the seeds both have; NaN without any."""
        on, means = self.judged_on, {}
        for setting, runs in self.scores.items():
            pairs = [(runs[seed], self.level[seed]) for seed in runs if seed in self.level]
            gaps = [getattr(score, on) - getattr(level, on) for score, level in pairs]
            means[setting] = 100 * fmean(gaps) if gaps else math.nan
        return means

    def contrasts(self, seeds: Sequence[int], *, higher_is_better: bool) -> dict[Setting, Contrast]:
        """The cells that have all their seeds, against the baseline; empty below five seeds."""
        planned = self.sweep(seeds)
        if len(planned.seeds) < MINIMUM_SEEDS or any(seed not in self.level for seed in planned.seeds):
            return {}
        return planned.against(self.level, on=self.judged_on, higher_is_better=higher_is_better)

    def mean_level(self, seeds: Sequence[int]) -> float:
        """The baseline's mean over the seeds that were asked for and are done; NaN without any."""
        values = [getattr(self.level[seed], self.judged_on) for seed in seeds[: self.planned] if seed in self.level]
        return fmean(values) if values else math.nan


def maps_for(run: Any, baseline: Any, settings: Sequence[Setting], seeds: Sequence[int]) -> dict[str, CellMap]:
    """One map per choice, each with what to run and what to compare with."""
    runs = dict(run) if isinstance(run, Mapping) else {_ONLY: run}
    baselines = baseline if isinstance(run, Mapping) else {_ONLY: baseline}
    if not runs or not isinstance(baselines, Mapping) or list(runs) != [name for name in runs if name in baselines]:
        raise ValueError(f"every map needs a run and a baseline under the same name, got runs for {list(runs)}")
    maps = {}
    for name, one in runs.items():
        level = baselines[name]
        if not callable(one) or not (callable(level) or isinstance(level, Mapping)):
            raise TypeError(f"run and baseline must be functions of the seed, got {one!r} and {level!r}")
        known = {} if callable(level) else {seed: _as_score(level, seed) for seed in seeds}
        maps[name] = CellMap(one, level if callable(level) else None, {setting: {} for setting in settings}, known)
    return maps


def _as_score(scores: Mapping[int, float | Score], seed: int) -> Score:
    if seed not in scores:
        raise ValueError(f"the baseline has no score for seed {seed}: without it nothing is paired")
    score = scores[seed]
    return score if isinstance(score, Score) else Score(test=float(score), validation=math.nan)
