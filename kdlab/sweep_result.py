"""What a sweep found: a score for every setting and seed, and how each setting stands against a baseline.

:func:`kdlab.sweep.sweep` makes these; import the names from there.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean
from typing import Any, Literal, TypeVar

from kdlab.comparison import Contrast, contrasts, is_number
from kdlab.experiments import MINIMUM_SEEDS, Score

__all__ = ["Part", "Setting", "Sweep"]

Part = Literal["test", "validation"]
T = TypeVar("T")


class Setting(Mapping[str, Any]):
    """One cell of a grid, name to value: a dictionary that cannot change, so that it can be a key.

    Args:
        values: names and values; a value must be hashable and equal to itself (no lists, no NaN).
        **more: further ones.

    Raises:
        TypeError, ValueError: a value that cannot be part of a key.

    Example:
        >>> Setting(alpha=0.9, temperature=4) == {"temperature": 4, "alpha": 0.9}
        True
    """

    __slots__ = ("_hash", "_values")

    def __init__(self, values: Mapping[str, Any] | None = None, /, **more: Any) -> None:
        self._values = {**(values or {}), **more}
        for name, value in self._values.items():
            if not isinstance(name, str):
                raise TypeError(f"a setting's names must be text, got {name!r}")
            if isinstance(value, float) and math.isnan(value):
                raise ValueError(f"{name} is NaN, which is not equal to itself and can be found by no one")
            try:
                hash(value)
            except TypeError:
                raise TypeError(f"{name}={value!r} cannot be part of a key: write a tuple instead of a list") from None
        self._hash = hash(frozenset(self._values.items()))

    def __getitem__(self, name: str) -> Any:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __hash__(self) -> int:
        return self._hash

    def __str__(self) -> str:
        return ", ".join(f"{name}={value!r}" for name, value in self._values.items()) or "no setting"

    def __repr__(self) -> str:
        return f"Setting({self if self._values else ''})"


@dataclass(frozen=True, repr=False)
class Sweep:
    """The result of :func:`kdlab.sweep.sweep`: all that is done, in the order of the grid and of the seeds.

    Attributes:
        scores: ``scores[setting][seed]`` is a :class:`kdlab.experiments.Score`; a run that is missing has no entry.
        seeds: the seeds that every setting should have.
    """

    scores: dict[Setting, dict[int, Score]]
    seeds: tuple[int, ...]

    @property
    def missing(self) -> list[tuple[Setting, int]]:
        """The runs that were not done, as (setting, seed)."""
        return [(setting, seed) for seed in self.seeds for setting, runs in self.scores.items() if seed not in runs]

    @property
    def complete(self) -> bool:
        """Whether every setting has every seed; ``False`` after an interrupt."""
        return not self.missing

    def at(self, **setting: Any) -> dict[int, Score]:
        """The scores of one setting by seed.

        Raises:
            ValueError: no such setting in the grid.
        """
        key = Setting(setting)
        if key not in self.scores:
            known = "; ".join(map(str, self.scores))
            raise ValueError(f"no setting {key} in this sweep; there are: {known}")
        return self.scores[key]

    def mean(self, on: Part = "test") -> dict[Setting, float]:
        """Mean score per setting over the seeds that are done; NaN where there are none."""
        return {
            setting: fmean(getattr(score, _part(on)) for score in runs.values()) if runs else math.nan
            for setting, runs in self.scores.items()
        }

    def best(self, on: Part = "validation", *, higher_is_better: bool = True) -> Setting:
        """The setting with the best mean, the first of equals.

        Args:
            on: what to choose by. Whoever chooses by test scores has no test set any more.
            higher_is_better: ``False`` for errors and losses.

        Raises:
            ValueError: runs are missing, or they reported no validation scores.
        """
        if not self.complete:
            raise ValueError(f"{len(self.missing)} of {self.planned} runs are missing: finish with sweep(resume=...)")
        means = self.mean(on)
        if any(math.isnan(value) for value in means.values()):
            raise ValueError("these runs have no validation scores: let run return Score(test, validation)")
        return (max if higher_is_better else min)(means, key=means.__getitem__)

    def against(
        self,
        baseline_scores: Mapping[int, float | Score] | Sequence[float | Score],
        *,
        on: Part = "test",
        higher_is_better: bool = True,
    ) -> dict[Setting, Contrast]:
        """Every complete setting against a baseline, paired by seed and corrected by Holm over the whole grid.

        Settings whose runs are not all done are left out, but the correction counts them. So a verdict that stands
        while a map fills in still stands when it is full.

        Args:
            baseline_scores: the baseline's score for each of this sweep's seeds: by seed, or in their order.
            on: which score to compare.
            higher_is_better: ``False`` for errors and losses.

        Raises:
            ValueError: fewer than five seeds, a seed without a baseline score, a score that is not finite.
        """
        if len(self.seeds) < MINIMUM_SEEDS:
            raise ValueError(f"a verdict needs at least {MINIMUM_SEEDS} seeds, this sweep has {len(self.seeds)}")
        baseline = self._baseline(baseline_scores, on)
        done = {
            setting: [getattr(runs[seed], on) for seed in self.seeds]
            for setting, runs in self.scores.items()
            if all(seed in runs for seed in self.seeds)
        }
        for setting, values in done.items():
            if not all(map(math.isfinite, values)):
                raise ValueError(f"setting {setting} has no finite {on} scores: let run return Score(test, validation)")
        # A run yet to come counts as one that found nothing (p = 1): Holm's factor is that of the whole grid.
        rows = {str(number): done.get(setting, baseline) for number, setting in enumerate(self.scores)}
        found = contrasts({"baseline": baseline, **rows}, "baseline", higher_is_better)
        return {setting: found[str(number)] for number, setting in enumerate(self.scores) if setting in done}

    def _baseline(self, scores: Mapping[int, float | Score] | Sequence[float | Score], on: Part) -> list[float]:
        """The baseline's value for every seed, in the order of the seeds."""
        if not isinstance(scores, Mapping):
            if isinstance(scores, str) or len(scores) != len(self.seeds):
                raise ValueError(f"baseline_scores must be one per seed, {len(self.seeds)}, got {scores!r}")
            scores = dict(zip(self.seeds, scores, strict=True))
        lacking = [seed for seed in self.seeds if seed not in scores]
        if lacking:
            raise ValueError(f"the baseline has no score for seeds {lacking}: without them nothing is paired")
        given = [scores[seed] for seed in self.seeds]
        values = [getattr(one, _part(on)) if isinstance(one, Score) else one for one in given]
        if not all(is_number(value) and math.isfinite(value) for value in values):
            raise ValueError(f"baseline_scores must be finite {on} scores, got {values}")
        return values

    def arrange(self, cells: Mapping[Setting, T], rows: str, columns: str, empty: T) -> list[list[T]]:
        """Values by setting as a table, for :func:`kdlab.lab.heat_map`.

        Args:
            cells: what to lay out: ``mean()``, or differences or verdicts from :meth:`against`.
            rows: the name whose values are the rows, in the order of the grid.
            columns: the name whose values are the columns.
            empty: for cells that are not there.

        Raises:
            ValueError: settings that are not told apart by these two names.
        """
        for setting in self.scores:
            if set(setting) != {rows, columns}:
                raise ValueError(f"a table needs settings of {rows} and {columns} alone, got {setting}")
        down, across = (list(dict.fromkeys(setting[name] for setting in self.scores)) for name in (rows, columns))
        return [[cells.get(Setting({rows: one, columns: other}), empty) for other in across] for one in down]

    def as_dict(self) -> dict[str, Any]:
        """Everything in plain numbers and text, for a results file; see :meth:`from_dict`."""
        cells = [
            {"setting": dict(setting), "scores": [{"seed": seed, **_plain(score)} for seed, score in runs.items()]}
            for setting, runs in self.scores.items()
        ]
        return {"seeds": list(self.seeds), "cells": cells}

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Sweep:
        """The sweep that :meth:`as_dict` wrote, also after a round trip through JSON."""
        scores = {
            Setting({name: _frozen(value) for name, value in cell["setting"].items()}): {
                int(run["seed"]): _score(run) for run in cell["scores"]
            }
            for cell in record["cells"]
        }
        return cls(scores, tuple(record["seeds"]))

    @property
    def planned(self) -> int:
        """How many runs the whole sweep has."""
        return len(self.scores) * len(self.seeds)

    def __repr__(self) -> str:
        done = self.planned - len(self.missing)
        state = "" if self.complete else f", incomplete: {done} of {self.planned} runs"
        return f"Sweep of {len(self.scores)} settings with {len(self.seeds)} seeds{state}"


def _part(on: str) -> str:
    if on not in ("test", "validation"):
        raise ValueError(f"on must be 'test' or 'validation', got {on!r}")
    return on


def _plain(score: Score) -> dict[str, Any]:
    """A score for JSON, which knows no NaN."""
    return {name: None if value != value else value for name, value in asdict(score).items()}


def _score(run: Mapping[str, Any]) -> Score:
    fields: dict[str, Any] = {name: math.nan if value is None else value for name, value in run.items()}
    del fields["seed"]
    return Score(**fields)


def _frozen(value: Any) -> Any:
    """JSON turns tuples into lists."""
    return tuple(_frozen(one) for one in value) if isinstance(value, list) else value
