"""What a fair comparison found: differences, intervals, verdicts, and the table that shows them.

:func:`kdlab.experiments.compare` makes these; import the names from there.
"""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from statistics import fmean, stdev
from typing import Any, Literal

__all__ = ["Comparison", "Contrast", "Verdict", "contrast", "contrasts", "is_number", "paired_interval"]

Verdict = Literal["better", "worse", "cannot tell"]

CONFIDENCE = 0.95

POINTS = "points"
"""The unit of shares such as accuracy: shown in percent, their differences in percentage points."""

_UNITS = {"accuracy": POINTS, "agreement": POINTS, "ece": POINTS, "nll": "nats", "kl_to_teacher": "nats"}


@dataclass(frozen=True)
class Contrast:
    """One arm against the baseline.

    Attributes:
        difference: mean over seeds of (arm minus baseline), in the score's unit.
        interval: its 95 % paired t interval, not corrected for the number of contrasts.
        p_value: two-sided paired t test, after Holm's correction over all contrasts of the comparison.
        verdict: "better" or "worse" if ``p_value`` is below 5 %, else "cannot tell". With a single contrast
            that is the same as the interval excluding zero.
    """

    difference: float
    interval: tuple[float, float]
    p_value: float
    verdict: Verdict


@dataclass(frozen=True, repr=False)
class Comparison:
    """The result of :func:`compare`; prints as a table.

    Attributes:
        scores: per arm, one test score per seed.
        seeds: the seeds, in the order of the scores.
        baseline: name of the arm that the others are compared with.
        contrasts: per other arm, its :class:`Contrast`.
        chosen: per arm, the setting that validation data selected.
        trials: how many settings each arm was tuned over.
        labels_seen: per arm, how many labels student and teacher used; None where there were none.
        validation_scores: per arm, one validation score per seed; empty if the arms reported none.
        higher_is_better: what "better" means for these scores.
        judged_on: what ``scores`` are, for the table's header: "test", "validation" or a further measure's name.
        also: per arm, further measures of the same runs: name to one value per seed; see :meth:`on`.
        unit: of the scores. "points" shows shares in percent, anything else plain numbers in that unit.
    """

    scores: dict[str, tuple[float, ...]]
    seeds: tuple[int, ...]
    baseline: str
    contrasts: dict[str, Contrast]
    chosen: dict[str, dict[str, Any]]
    trials: int = 1
    labels_seen: dict[str, tuple[int | None, int | None]] = field(default_factory=dict)
    validation_scores: dict[str, tuple[float, ...]] = field(default_factory=dict)
    higher_is_better: bool = True
    judged_on: str = "test"
    also: dict[str, dict[str, tuple[float, ...]]] = field(default_factory=dict)
    unit: str = POINTS

    def on_validation(self) -> Comparison:
        """The same runs judged by their validation scores: other images, same models.

        The settings were chosen on these scores, so their level is optimistic. But every arm had the same number of
        choices, and a difference that changes its sign from one set of images to the other is not settled.

        Raises:
            ValueError: the arms reported no validation scores.
        """
        if not self.validation_scores:
            raise ValueError("these runs have no validation scores: let each arm return Score(test, validation)")
        found = contrasts(self.validation_scores, self.baseline, self.higher_is_better)
        return replace(
            self, scores=self.validation_scores, contrasts=found, validation_scores={}, judged_on="validation"
        )

    def on(self, measure: str, *, higher_is_better: bool, unit: str | None = None) -> Comparison:
        """The same runs judged by one of their further measures: same models, another question.

        Settings were chosen for the main score, not for this measure. Holm's correction covers the arms, not the
        measures: who looks at five measures has five chances of a lucky verdict.

        Args:
            measure: a name that the arms reported in ``Score(test, validation, also={name: value})``.
            higher_is_better: ``False`` for losses, errors and distances.
            unit: of the measure; by default that of :func:`kdlab.measure.describe`, and none for other names.

        Raises:
            ValueError: an arm reported no such measure; the message lists those there are.
        """
        missing = [name for name in self.scores if measure not in self.also.get(name, {})]
        if missing:
            known = sorted({other for measures in self.also.values() for other in measures})
            raise ValueError(
                f"no measure {measure!r} in arms {missing}; measures reported: {', '.join(known) or 'none'}. "
                "Let every arm return Score(test, validation, also={name: value})"
            )
        scores = {name: self.also[name][measure] for name in self.scores}
        return replace(
            self,
            scores=scores,
            contrasts=contrasts(scores, self.baseline, higher_is_better),
            validation_scores={},
            higher_is_better=higher_is_better,
            judged_on=measure,
            unit=_UNITS.get(measure, "") if unit is None else unit,
        )

    @property
    def difference(self) -> float:
        """Mean paired difference; only for a comparison of two arms."""
        return self._only.difference

    @property
    def interval(self) -> tuple[float, float]:
        """95 % paired t interval of the difference; only for a comparison of two arms."""
        return self._only.interval

    @property
    def verdict(self) -> Verdict:
        """One of "better", "worse", "cannot tell"; only for a comparison of two arms."""
        return self._only.verdict

    @property
    def _only(self) -> Contrast:
        if len(self.contrasts) != 1:
            names = ", ".join(self.contrasts)
            raise ValueError(
                f"{len(self.contrasts)} arms were compared with {self.baseline!r}: use .contrasts[{names}]"
            )
        return next(iter(self.contrasts.values()))

    def against(self, baseline: str) -> Comparison:
        """The same runs with another arm as the baseline: Holm's correction covers the new contrasts alone.

        Raises:
            ValueError: there is no such arm; the message lists those there are.
        """
        if baseline not in self.scores:
            raise ValueError(f"baseline must be one of the arms {', '.join(self.scores)}; got {baseline!r}")
        return replace(self, baseline=baseline, contrasts=contrasts(self.scores, baseline, self.higher_is_better))

    def as_dict(self) -> dict[str, Any]:
        """Everything in plain numbers and text, for a results file; see :meth:`from_dict`."""
        return asdict(self)

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Comparison:
        """The comparison that :meth:`as_dict` wrote, also after a round trip through JSON."""
        fields = dict(record)
        for key in ("scores", "validation_scores"):
            fields[key] = _tuples(record[key])
        fields["also"] = {name: _tuples(measures) for name, measures in record.get("also", {}).items()}
        fields["seeds"] = tuple(record["seeds"])
        fields["labels_seen"] = {name: tuple(counts) for name, counts in record["labels_seen"].items()}
        fields["contrasts"] = {
            name: Contrast(**{**contrast, "interval": tuple(contrast["interval"])})
            for name, contrast in record["contrasts"].items()
        }
        return cls(**fields)

    def rows(self) -> list[list[str]]:
        """The table's cells as text, header first: shares in percent and points, other measures in their unit."""
        header = ["arm", "labels: student", "labels: teacher", "chosen on validation"]
        what = f"{self.judged_on} score" if self.judged_on in ("test", "validation") else self.judged_on
        header += [f"{what}, mean (sd)", f"minus {self.baseline}", "95 % interval", "verdict"]
        return [header, *(self._row(name) for name in self.scores)]

    def _row(self, name: str) -> list[str]:
        student, teacher = self.labels_seen.get(name, (None, None))
        setting = ", ".join(f"{key}={value:.3g}" if is_number(value) else f"{key}={value}"
                            for key, value in self.chosen.get(name, {}).items())  # fmt: skip
        level = f"{self._number(fmean(self.scores[name]))} ({self._number(stdev(self.scores[name]))})"
        cells = [name, _count(student), _count(teacher), setting or "-", level]
        if name == self.baseline:
            return [*cells, "baseline", "", ""]
        contrast = self.contrasts[name]
        difference, low, high = (self._number(value, "+") for value in (contrast.difference, *contrast.interval))
        return [*cells, difference, f"{low} to {high}", contrast.verdict]

    def _number(self, value: float, sign: str = "") -> str:
        """A score or a difference of scores as text, all in one table with the same decimals."""
        if self.unit == POINTS:
            return f"{100 * value:{sign}.1f}"
        largest = max(abs(fmean(scores)) for scores in self.scores.values())
        decimals = 3 if largest == 0 else max(0, 2 - math.floor(math.log10(largest)))  # three digits of the largest
        return f"{value:{sign}.{decimals}f}"

    def __repr__(self) -> str:
        return str(self)

    def __str__(self) -> str:
        rows = self.rows()
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
        return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:], self._note()])

    def _note(self) -> str:
        tuned = f"{self.trials} tuning trials per arm" if self.trials > 1 else "one setting per arm"
        several = "; verdicts (not intervals) corrected by Holm" if len(self.contrasts) > 1 else ""
        shown = "scores in %, differences in points" if self.unit == POINTS else f"{self.judged_on} in {self.unit}"
        shown = shown.removesuffix(" in ")
        return f"{len(self.seeds)} paired seeds, {tuned}, {shown}{several}"

    def _repr_html_(self) -> str:
        header, *body = self.rows()
        head = "".join(f'<th scope="col">{html.escape(cell)}</th>' for cell in header)
        lines = "".join(
            f'<tr><th scope="row">{html.escape(row[0])}</th>'
            + "".join(f"<td>{html.escape(cell)}</td>" for cell in row[1:])
            + "</tr>"
            for row in body
        )
        return f"<table><thead><tr>{head}</tr></thead><tbody>{lines}</tbody></table><p>{html.escape(self._note())}</p>"


def paired_interval(differences: Sequence[float], confidence: float = CONFIDENCE) -> tuple[float, float]:
    """The t interval for the mean of paired differences, with n - 1 degrees of freedom.

    Raises:
        ValueError: fewer than two differences, or one that is not finite.

    Example:
        >>> low, high = paired_interval([0.01, 0.03, 0.02, 0.02, 0.02])
        >>> round(low, 4), round(high, 4)
        (0.0112, 0.0288)
    """
    if len(differences) < 2:
        raise ValueError(f"an interval needs at least 2 differences, got {len(differences)}")
    if not all(math.isfinite(value) for value in differences):
        raise ValueError(f"differences must be finite, got {list(differences)}")
    from scipy.stats import t

    mean, error = fmean(differences), stdev(differences) / math.sqrt(len(differences))
    half_width = float(t.ppf((1 + confidence) / 2, len(differences) - 1)) * error
    return mean - half_width, mean + half_width


def contrasts(scores: Mapping[str, Sequence[float]], baseline: str, higher_is_better: bool) -> dict[str, Contrast]:
    """Every arm against the baseline, from paired scores; p values corrected by Holm."""
    names = [name for name in scores if name != baseline]
    pairs = [[a - b for a, b in zip(scores[name], scores[baseline], strict=True)] for name in names]
    adjusted = _holm([_paired_p_value(differences) for differences in pairs])
    found = (_contrast(differences, p, higher_is_better) for differences, p in zip(pairs, adjusted, strict=True))
    return dict(zip(names, found, strict=True))


def contrast(differences: Sequence[float], *, higher_is_better: bool = True) -> Contrast:
    """What a single series of paired differences (arm minus baseline) tells; errors as :func:`paired_interval`.

    Example:
        >>> contrast([0.01, 0.03, 0.02, 0.02, 0.02]).verdict
        'better'
    """
    return _contrast(differences, _paired_p_value(differences), higher_is_better)


def _contrast(differences: Sequence[float], p_value: float, higher_is_better: bool) -> Contrast:
    mean, interval = fmean(differences), paired_interval(differences)
    return Contrast(mean, interval, p_value, _verdict(mean, p_value, higher_is_better))


def _verdict(difference: float, p_value: float, higher_is_better: bool) -> Verdict:
    if p_value >= 1 - CONFIDENCE:
        return "cannot tell"
    return "better" if (difference > 0) == higher_is_better else "worse"


def _paired_p_value(differences: Sequence[float]) -> float:
    """Two-sided paired t test; differences that are all equal give 1 at zero and 0 elsewhere."""
    from scipy.stats import t

    mean, error = fmean(differences), stdev(differences) / math.sqrt(len(differences))
    if error == 0:
        return 1.0 if mean == 0 else 0.0
    return float(2 * t.sf(abs(mean) / error, len(differences) - 1))


def _holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down correction (Holm, 1979), in the order given."""
    adjusted, running = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        running = max(running, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = running
    return adjusted


def is_number(value: object) -> bool:
    """Whether ``value`` is an int or a float, truth values apart."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _tuples(record: Mapping[str, Sequence[float]]) -> dict[str, tuple[float, ...]]:
    """Names to one value per seed; JSON turns tuples into lists."""
    return {name: tuple(values) for name, values in record.items()}


def _count(labels: int | None) -> str:
    return "-" if labels is None else f"{labels:,}"
