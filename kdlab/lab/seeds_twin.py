"""The Python twin of the seeds panel: what the first n paired runs of two arms say, with and without the pairing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from statistics import fmean, variance

from kdlab.comparison import CONFIDENCE
from kdlab.lab.twins import fixed_text

__all__ = ["SeedsState", "points_text", "seeds_state", "t_quantile"]

Interval = tuple[float, float]


@dataclass(frozen=True)
class SeedsState:
    """Two arms after n seeds, in percentage points.

    Attributes:
        count: n.
        differences: arm minus baseline, one for each of the n seeds.
        mean: their mean.
        paired: the 95 % t interval of the mean difference, from the differences; None for one seed.
        unpaired: the same from the two groups of scores, as if no two runs belonged together; None for one seed.
    """

    count: int
    differences: tuple[float, ...]
    mean: float
    paired: Interval | None
    unpaired: Interval | None

    def summary(self) -> str:
        """The state in one line, word for word the line under the panel."""
        mean = points_text(self.mean)
        if self.paired is None or self.unpaired is None:
            return f"1 seed: difference {mean} points; a single pair has no interval"
        low, high = (points_text(value) for value in (min(self.differences), max(self.differences)))
        return (
            f"{self.count} seeds: mean difference {mean} points; paired interval {interval_text(self.paired)}, "
            f"{_zero(self.paired)}; as if unpaired {interval_text(self.unpaired)}, {_zero(self.unpaired)}; "
            f"single seeds from {low} to {high}"
        )


def seeds_state(scores: Sequence[float], baseline: Sequence[float], count: int) -> SeedsState:
    r"""What the first ``count`` pairs say.

    .. math:: \bar d \pm t_{n-1}\, s_d / \sqrt n \quad\text{against}\quad
        \bar d \pm t_{2n-2} \sqrt{(s_a^2 + s_b^2) / n}

    Args:
        scores: shares in [0, 1], one per seed.
        baseline: the same for the baseline, the same seeds in the same order.
        count: n, from 1 to the number of seeds.

    Raises:
        ValueError: scores that are not paired, or a count that they do not have.

    Example:
        >>> state = seeds_state([0.93, 0.91, 0.95], [0.91, 0.90, 0.94], count=3)
        >>> round(state.mean, 2), [round(end, 2) for end in state.paired]
        (1.33, [-0.1, 2.77])
    """
    if len(scores) != len(baseline):
        raise ValueError(f"{len(scores)} scores but {len(baseline)} of the baseline: one pair per seed")
    if isinstance(count, bool) or not isinstance(count, int) or not 1 <= count <= len(scores):
        raise ValueError(f"count must be a whole number from 1 to {len(scores)}, the number of seeds, got {count!r}")
    arm, base = ([100 * value for value in values[:count]] for values in (scores, baseline))
    differences = tuple(a - b for a, b in zip(arm, base, strict=True))
    mean = fmean(differences)
    if count == 1:
        return SeedsState(1, differences, mean, None, None)
    paired = t_quantile(count - 1) * math.sqrt(variance(differences) / count)
    unpaired = t_quantile(2 * count - 2) * math.sqrt((variance(arm) + variance(base)) / count)
    return SeedsState(count, differences, mean, (mean - paired, mean + paired), (mean - unpaired, mean + unpaired))


@cache
def t_quantile(freedom: int) -> float:
    """How many standard errors a 95 % interval reaches to each side, with this many degrees of freedom."""
    from scipy.stats import t

    return round(float(t.ppf((1 + CONFIDENCE) / 2, freedom)), 6)


def points_text(value: float) -> str:
    """One decimal with its sign: +1.2, −0.3; 0.0 has none."""
    text = fixed_text(value, 1)
    return text if text[0] == "\u2212" or text == "0.0" else f"+{text}"


def interval_text(interval: Interval) -> str:
    """Both ends: −0.3 to +2.7."""
    return f"{points_text(interval[0])} to {points_text(interval[1])}"


def _zero(interval: Interval) -> str:
    return "which holds zero" if interval[0] <= 0 <= interval[1] else "which excludes zero"
