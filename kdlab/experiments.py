"""Fair comparisons: paired seeds, equally tuned arms, an interval and a verdict.

Most published gains of distillation that do not survive a second look fail here: one run per arm, different
seeds, a baseline that nobody tuned, a teacher that saw labels the baseline never got. :func:`compare` gives
every arm the same seeds and the same number of tuning trials, selects on validation data, and answers
"better", "worse" or "cannot tell".
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

from kdlab.comparison import POINTS, Comparison, Contrast, Verdict, contrast, contrasts, is_number, paired_interval
from kdlab.mcnemar import McNemar, mcnemar
from kdlab.modes import noting_interrupts
from kdlab.progress import progress as progress_bar

__all__ = [
    "Arm",
    "Comparison",
    "Contrast",
    "McNemar",
    "Score",
    "Verdict",
    "compare",
    "contrast",
    "mcnemar",
    "paired_interval",
]

Setting = Mapping[str, Any]

MINIMUM_SEEDS = 5


@dataclass(frozen=True)
class Score:
    """One run's result.

    Attributes:
        test: only reported.
        validation: decides between settings.
        also: further measures of the same model by name, such as :func:`kdlab.measure.describe` gives; each finite,
            the same names in every run of an arm. :meth:`Comparison.on` judges by them.

    Example:
        >>> Score(0.91, 0.92, also={"nll": 0.31}).also["nll"]
        0.31
    """

    test: float
    validation: float
    also: Mapping[str, float] = field(default_factory=dict, hash=False)


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


def compare(
    arms: Mapping[str, Arm | Callable[..., float | Score]],
    seeds: Sequence[int],
    *,
    baseline: str | None = None,
    settings: Sequence[Setting] = ({},),
    tuning_seeds: Sequence[int] = (1001, 1002),
    higher_is_better: bool = True,
    unit: str = POINTS,
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
        unit: of the scores; "points" shows shares in percent, "nats" or any other word shows plain numbers.
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
    total = len(entries) * ((trials * len(tuning_seeds) if trials > 1 else 0) + len(seeds))
    with progress_bar([], "comparing", total=total, show=progress) as bar:
        chosen = {name: _tune(name, arm, grids[name], tuning_seeds, higher_is_better, bar.update)
                  for name, arm in entries.items()}  # fmt: skip
        results: dict[str, list[Score]] = {name: [] for name in entries}
        for seed in seeds:
            for name, arm in entries.items():
                results[name].append(_run(name, arm, seed, chosen[name]))
                bar.update()
    scores = {name: tuple(result.test for result in runs) for name, runs in results.items()}
    validation = {name: tuple(result.validation for result in runs) for name, runs in results.items()}
    complete = all(math.isfinite(value) for values in validation.values() for value in values)
    return Comparison(
        scores=scores,
        seeds=tuple(seeds),
        baseline=first,
        contrasts=contrasts(scores, first, higher_is_better),
        chosen=chosen,
        trials=trials,
        labels_seen={name: (arm.student_labels, arm.teacher_labels) for name, arm in entries.items()},
        validation_scores=validation if complete else {},
        higher_is_better=higher_is_better,
        also={name: measures for name, runs in results.items() if (measures := _measures(name, runs))},
        unit=unit,
    )


def _measures(name: str, runs: Sequence[Score]) -> dict[str, tuple[float, ...]]:
    """The further measures of an arm's runs, one value per seed."""
    first = set(runs[0].also)
    if any(set(run.also) != first for run in runs):
        names = [sorted(run.also) for run in runs]
        raise ValueError(f"arm {name!r} must report the same measures for every seed, got {names}")
    return {measure: tuple(float(run.also[measure]) for run in runs) for measure in runs[0].also}


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
        means.append(fmean(results))
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
        with noting_interrupts() as interrupted:
            result = arm.run(seed, **setting)
    except Exception as error:
        error.add_note(f"while running {where}")
        raise
    if interrupted.is_set():  # `fit` ends early at an interrupt and returns: that score is of half a run
        raise KeyboardInterrupt(f"interrupted in {where}")
    if not isinstance(result, Score):
        if not is_number(result):
            raise TypeError(f"{where}: run must return a number or a Score, got {type(result).__name__}")
        result = Score(test=float(result), validation=math.nan)
    if not math.isfinite(result.test):
        raise ValueError(f"{where}: the score is {result.test}; did training diverge?")
    check_also(result, where)
    return result


def check_also(score: Score, where: str) -> None:
    """Further measures are finite numbers, and so is the validation score unless the run reports none (NaN)."""
    if math.isinf(score.validation):
        raise ValueError(f"{where}: the validation score is {score.validation}; did training diverge?")
    for measure, value in score.also.items():
        if not is_number(value) or not math.isfinite(value):
            raise ValueError(f"{where}: the measure {measure!r} must be a finite number, got {value!r}")


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
