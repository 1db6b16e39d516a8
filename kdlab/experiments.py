"""Fair comparisons: paired seeds, equally tuned arms, an interval and a verdict.

Most published gains of distillation that do not survive a second look fail here: one run per arm, different
seeds, a baseline that nobody tuned, a teacher that saw labels the baseline never got. :func:`compare` gives
every arm the same seeds and the same number of tuning trials, selects on validation data, and answers
"better", "worse" or "cannot tell".
"""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from kdlab.progress import progress as progress_bar

__all__ = ["Arm", "Comparison", "Contrast", "Score", "Verdict", "compare", "paired_interval"]

Verdict = Literal["better", "worse", "cannot tell"]
Setting = Mapping[str, Any]

MINIMUM_SEEDS = 5
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Score:
    """One run's result: ``validation`` decides between settings, ``test`` is only reported."""

    test: float
    validation: float


@dataclass(frozen=True)
class Arm:
    """One way to train, and what it was allowed to see.

    Attributes:
        run: ``run(seed, **setting)`` trains once and returns a test score, or a :class:`Score` if the arm is
            tuned. Everything random in it must follow from ``seed`` alone.
        student_labels: how many labels the student's loss used.
        teacher_labels: how many labels its teacher was trained on; ``None`` without a teacher.
        settings: the arm's own tuning grid, of the same length as every other arm's.
    """

    run: Callable[..., float | Score]
    student_labels: int | None = None
    teacher_labels: int | None = None
    settings: Sequence[Setting] | None = None


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
    """

    scores: dict[str, tuple[float, ...]]
    seeds: tuple[int, ...]
    baseline: str
    contrasts: dict[str, Contrast]
    chosen: dict[str, dict[str, Any]]
    trials: int = 1
    labels_seen: dict[str, tuple[int | None, int | None]] = field(default_factory=dict)

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

    def as_dict(self) -> dict[str, Any]:
        """Everything in plain numbers and text, for a results file; see :meth:`from_dict`."""
        return asdict(self)

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Comparison:
        """The comparison that :meth:`as_dict` wrote, also after a round trip through JSON."""
        fields = dict(record)
        fields["scores"] = {name: tuple(values) for name, values in record["scores"].items()}
        fields["seeds"] = tuple(record["seeds"])
        fields["labels_seen"] = {name: tuple(counts) for name, counts in record["labels_seen"].items()}
        fields["contrasts"] = {
            name: Contrast(**{**contrast, "interval": tuple(contrast["interval"])})
            for name, contrast in record["contrasts"].items()
        }
        return cls(**fields)

    def rows(self) -> list[list[str]]:
        """The table's cells as text, header first; scores and differences in percentage points."""
        header = ["arm", "labels: student", "labels: teacher", "chosen on validation", "test score, mean (sd)"]
        header += [f"minus {self.baseline}", "95 % interval", "verdict"]
        return [header, *(self._row(name) for name in self.scores)]

    def _row(self, name: str) -> list[str]:
        student, teacher = self.labels_seen.get(name, (None, None))
        setting = ", ".join(f"{key}={value:.3g}" if _is_number(value) else f"{key}={value}"
                            for key, value in self.chosen.get(name, {}).items())  # fmt: skip
        mean, sd = _mean(self.scores[name]), _sd(self.scores[name])
        cells = [name, _count(student), _count(teacher), setting or "-", f"{100 * mean:.1f} ({100 * sd:.1f})"]
        if name == self.baseline:
            return [*cells, "baseline", "", ""]
        contrast = self.contrasts[name]
        low, high = contrast.interval
        return [*cells, f"{100 * contrast.difference:+.1f}", f"{100 * low:+.1f} to {100 * high:+.1f}", contrast.verdict]

    def __repr__(self) -> str:
        return str(self)

    def __str__(self) -> str:
        rows = self.rows()
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
        return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:], self._note()])

    def _note(self) -> str:
        tuned = f"{self.trials} tuning trials per arm" if self.trials > 1 else "no tuning"
        several = "; verdicts corrected by Holm" if len(self.contrasts) > 1 else ""
        return f"{len(self.seeds)} paired seeds, {tuned}, scores in %, differences in points{several}"

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


def compare(
    arms: Mapping[str, Arm | Callable[..., float | Score]],
    seeds: Sequence[int],
    *,
    baseline: str | None = None,
    settings: Sequence[Setting] = ({},),
    tuning_seeds: Sequence[int] = (1001, 1002),
    higher_is_better: bool = True,
    progress: bool = True,
) -> Comparison:
    """Run every arm on the same seeds and compare each with the baseline.

    With more than one setting, each arm first runs every setting on the tuning seeds, and keeps the one with
    the best mean validation score; test scores take no part in that.

    Args:
        arms: at least two, name to :class:`Arm` or to its ``run`` function.
        seeds: at least 5 different ones; run *i* of every arm gets seed *i*.
        baseline: the arm to compare with; the first by default.
        settings: the tuning grid, keyword arguments for ``run``; an arm may bring its own of the same length.
        tuning_seeds: seeds for tuning, apart from ``seeds``.
        higher_is_better: ``False`` for errors and losses.
        progress: show a progress bar if it takes longer than a moment.

    Returns:
        The comparison, with ``.difference``, ``.interval`` and ``.verdict`` for two arms and ``.contrasts``
        for more.

    Raises:
        ValueError: fewer than two arms or five seeds, seeds used twice or for tuning too, grids of different
            length, a score that is not finite.
        TypeError: an arm that is not callable, a run that returns no score.

    Example:
        >>> result = compare({"a": lambda seed: seed / 100, "b": lambda seed: seed / 100 + 0.5}, seeds=range(5))
        >>> result.verdict, round(result.difference, 3)
        ('better', 0.5)
    """
    entries = {name: arm if isinstance(arm, Arm) else Arm(arm) for name, arm in arms.items()}
    grids = {name: [dict(s) for s in (arm.settings or settings)] for name, arm in entries.items()}
    first = baseline if baseline is not None else next(iter(entries), "")
    _check_plan(entries, list(seeds), first, grids, list(tuning_seeds))
    trials = len(grids[first])
    runs = len(entries) * ((trials * len(tuning_seeds) if trials > 1 else 0) + len(seeds))
    with progress_bar([], "comparing", total=runs, show=progress) as bar:
        chosen = {name: _tune(name, arm, grids[name], tuning_seeds, higher_is_better, bar.update)
                  for name, arm in entries.items()}  # fmt: skip
        scores: dict[str, list[float]] = {name: [] for name in entries}
        for seed in seeds:
            for name, arm in entries.items():
                scores[name].append(_run(name, arm, seed, chosen[name]).test)
                bar.update()
    return Comparison(
        scores={name: tuple(values) for name, values in scores.items()},
        seeds=tuple(seeds),
        baseline=first,
        contrasts=_contrasts(scores, first, higher_is_better),
        chosen=chosen,
        trials=trials,
        labels_seen={name: (arm.student_labels, arm.teacher_labels) for name, arm in entries.items()},
    )


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

    mean, error = _mean(differences), _sd(differences) / math.sqrt(len(differences))
    half_width = float(t.ppf((1 + confidence) / 2, len(differences) - 1)) * error
    return mean - half_width, mean + half_width


def _tune(
    name: str,
    arm: Arm,
    grid: list[dict[str, Any]],
    seeds: Sequence[int],
    higher_is_better: bool,
    advance: Callable[[], Any],
) -> dict[str, Any]:
    """The setting with the best mean validation score; the first one where there is nothing to choose."""
    if len(grid) == 1:
        return grid[0]
    means = []
    for setting in grid:
        results = []
        for seed in seeds:
            results.append(_run(name, arm, seed, setting).validation)
            advance()
        means.append(_mean(results))
    if any(math.isnan(mean) for mean in means):
        raise TypeError(
            f"arm {name!r} is tuned over {len(grid)} settings, so its run must return Score(test, validation)"
        )
    best = max(means) if higher_is_better else min(means)
    return grid[means.index(best)]


def _run(name: str, arm: Arm, seed: int, setting: Setting) -> Score:
    """One run, as a Score; validation is NaN where the arm reports none."""
    where = f"arm {name!r}, seed {seed}, setting {dict(setting)}"
    try:
        result = arm.run(seed, **setting)
    except Exception as error:
        error.add_note(f"while running {where}")
        raise
    if not isinstance(result, Score):
        if not _is_number(result):
            raise TypeError(f"{where}: run must return a number or a Score, got {type(result).__name__}")
        result = Score(test=float(result), validation=math.nan)
    if not math.isfinite(result.test):
        raise ValueError(f"{where}: the score is {result.test}; did training diverge?")
    return result


def _contrasts(scores: Mapping[str, list[float]], baseline: str, higher_is_better: bool) -> dict[str, Contrast]:
    names = [name for name in scores if name != baseline]
    pairs = {name: [a - b for a, b in zip(scores[name], scores[baseline], strict=True)] for name in names}
    adjusted = _holm([_paired_p_value(pairs[name]) for name in names])
    return {
        name: Contrast(
            _mean(pairs[name]), paired_interval(pairs[name]), p, _verdict(_mean(pairs[name]), p, higher_is_better)
        )
        for name, p in zip(names, adjusted, strict=True)
    }


def _verdict(difference: float, p_value: float, higher_is_better: bool) -> Verdict:
    if p_value >= 1 - CONFIDENCE:
        return "cannot tell"
    return "better" if (difference > 0) == higher_is_better else "worse"


def _paired_p_value(differences: Sequence[float]) -> float:
    """Two-sided paired t test; differences that are all equal give 1 at zero and 0 elsewhere."""
    from scipy.stats import t

    mean, error = _mean(differences), _sd(differences) / math.sqrt(len(differences))
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


def _check_plan(
    arms: Mapping[str, Arm],
    seeds: list[int],
    baseline: str,
    grids: Mapping[str, list[dict[str, Any]]],
    tuning_seeds: list[int],
) -> None:
    if len(arms) < 2:
        raise ValueError(f"a comparison needs at least 2 arms, got {len(arms)}")
    for name, arm in arms.items():
        if not callable(arm.run):
            raise TypeError(
                f"arm {name!r} must be a function of the seed, got {type(arm.run).__name__}: did you call it?"
            )
    if baseline not in arms:
        raise ValueError(f"baseline must be one of the arms {list(arms)}, got {baseline!r}")
    if len(set(seeds)) != len(seeds) or len(seeds) < MINIMUM_SEEDS:
        raise ValueError(f"seeds must be at least {MINIMUM_SEEDS} different ones, got {seeds}: fewer give no interval")
    lengths = {name: len(grid) for name, grid in grids.items()}
    if len(set(lengths.values())) != 1 or 0 in lengths.values():
        raise ValueError(f"every arm must get the same number of tuning trials, at least 1, got {lengths}")
    if lengths[baseline] > 1 and (not tuning_seeds or set(tuning_seeds) & set(seeds)):
        raise ValueError(f"tuning_seeds must be given and differ from seeds, got {tuning_seeds} and {seeds}")


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def _sd(values: Sequence[float]) -> float:
    """Sample standard deviation."""
    mean = _mean(values)
    return math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1))


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _count(labels: int | None) -> str:
    return "-" if labels is None else f"{labels:,}"
