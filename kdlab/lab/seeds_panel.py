"""The seeds panel: what a comparison says after one seed, after two, after ten, and what pairing is worth.

The scores were measured by a study and are handed in; means and intervals follow from them (``seeds_twin``).
"""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from kdlab.lab.explorable import Explorable
from kdlab.lab.figures import logit_axis
from kdlab.lab.seeds_twin import SeedsState, interval_text, points_text, seeds_state, t_quantile
from kdlab.lab.show import figure_bundle
from kdlab.lab.theme import COLORS, GREY, INK, house_style, new_figure

__all__ = ["seeds_explorable", "seeds_figure"]

_DECIMALS = 5
_MAX_ARMS = 6
_SEEDS = (3, 20)


def seeds_explorable(
    scores: Mapping[str, Sequence[float]],
    *,
    baseline: str,
    id: str = "seeds",  # noqa: A002
    arm: str | None = None,
    count: int = 1,
) -> Explorable:
    """A panel on how many seeds a claim needs: choose an arm, drag the number of seeds.

    Args:
        scores: name of each arm to its scores, shares in [0, 1], one per seed and paired; up to six arms apart from the
            baseline, 3 to 20 seeds. ``Comparison.scores`` fits.
        baseline: which of them the others are compared with.
        id: the element's id on the page is ``kd-ID``; use another for a second panel in one notebook.
        arm: the arm the panel starts with; the first by default.
        count: how many seeds it starts with.

    Returns:
        An :class:`Explorable`: make it the last expression of a cell.

    Raises:
        ValueError: an argument has the wrong shape or range; the message names the likely cause.

    Example:
        >>> seeds_explorable({"CE": [0.91, 0.9, 0.94], "KD": [0.93, 0.91, 0.95]}, baseline="CE", count=3)
        Seeds panel (1 arm against CE, 3 seeds), at first KD. 3 seeds: mean difference +1.3 points; paired interval ...
    """
    values = _checked_scores(scores, baseline)
    base = values.pop(baseline)
    arm = next(iter(values)) if arm is None else arm
    if arm not in values:
        raise ValueError(f"arm must be one of {list(values)}, got {arm!r}")
    state = seeds_state(values[arm], base, count)
    axes = {name: _axis(mine, base) for name, mine in values.items()}
    data = {
        "baseline": baseline,
        "base": base,
        "arms": list(values),
        "scores": list(values.values()),
        "axes": [{"domain": list(domain), "ticks": ticks} for domain, ticks in axes.values()],
        "quantiles": [0.0, *(t_quantile(freedom) for freedom in range(1, 2 * len(base) - 1))],
        "arm": list(values).index(arm),
        "step": count - 1,
    }
    picture = figure_bundle(
        seeds_figure(values[arm], base, count, title=f"{arm} minus {baseline}"),
        alt=f"{arm} against {baseline}. Left, the difference for each seed. Right, the mean of the first {count} with "
        f"its paired and its unpaired interval. In short: {state.summary()}.",
        caption="A still of the panel: run the cell or trust the notebook, and the number of seeds gets a slider.",
    )
    return Explorable(
        "seeds",
        name=id,
        title="How many seeds a claim needs",
        data=data,
        fallback=picture["text/html"] + _table(values[arm], base),
        text=(
            f"Seeds panel ({len(values)} {'arm' if len(values) == 1 else 'arms'} against {baseline}, {len(base)} "
            f"seeds), at first {arm}. {state.summary()}."
        ),
    )


def seeds_figure(scores: Sequence[float], baseline: Sequence[float], count: int, *, title: str) -> Figure:
    """A still of the seeds panel: each pair's difference, and what the first ``count`` of them say together."""
    state = seeds_state(scores, baseline, count)
    every = seeds_state(scores, baseline, len(scores)).differences
    with house_style():
        figure, (single, together) = new_figure(1, 2, width=8.6, height=0.8 + 0.24 * len(every), sharex=True)
        rows = range(len(every))
        colors = [COLORS["blue"] if row < count else "#D0D0D0" for row in rows]
        single.barh(rows, every, height=0.6, color=colors)
        for axes in (single, together):
            axes.axvline(0, color=GREY, linewidth=0.8)
            axes.grid(visible=False, axis="y")
            axes.tick_params(axis="y", length=0)
        single.set(ylim=(len(every) - 0.5, -0.5), xlabel="points", title=title, ylabel="seed")
        single.set_yticks(rows, [str(row) for row in rows])
        _draw_intervals(together, state)
        together.set_xlim(_axis(scores, baseline)[0])
    return figure


def _draw_intervals(axes: Axes, state: SeedsState) -> None:
    seeds = f"{state.count} {'seed' if state.count == 1 else 'seeds'}"
    for row, (interval, color) in enumerate(((state.paired, COLORS["blue"]), (state.unpaired, COLORS["vermillion"]))):
        if interval is not None:
            axes.barh(row, interval[1] - interval[0], left=interval[0], height=0.35, color=color)
        axes.plot([state.mean] * 2, [row - 0.3, row + 0.3], color=INK, linewidth=2)
    axes.set(ylim=(1.6, -0.6), xlabel="points", title=f"Mean of {seeds}: {points_text(state.mean)} points")
    axes.set_yticks([0, 1], ["paired", "as if\nunpaired"])


def _axis(scores: Sequence[float], baseline: Sequence[float]) -> tuple[tuple[float, float], list[float]]:
    """One axis that holds every difference and every interval from three seeds on; with two, intervals are cut."""
    states = [seeds_state(scores, baseline, count) for count in range(3, len(scores) + 1)]
    ends = [end for state in states for interval in (state.paired, state.unpaired) if interval for end in interval]
    domain, ticks = logit_axis([*ends, *states[-1].differences])
    return domain, [int(tick) if tick == int(tick) else tick for tick in ticks]


def _table(scores: Sequence[float], baseline: Sequence[float]) -> str:
    """The first arm at every number of seeds, for pages where nothing moves."""
    lines = []
    for count in range(1, len(scores) + 1):
        state = seeds_state(scores, baseline, count)
        cells = [points_text(state.differences[-1]), points_text(state.mean)]
        cells += ["-" if ends is None else interval_text(ends) for ends in (state.paired, state.unpaired)]
        lines.append(f'<tr><th scope="row">{count}</th>' + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>")
    head = ("seeds", "this seed's difference", "mean", "paired interval", "as if unpaired")
    header = "".join(f'<th scope="col">{html.escape(cell)}</th>' for cell in head)
    return (
        "<details><summary>The same in numbers, in points, for every number of seeds</summary>"
        f"<table><thead><tr>{header}</tr></thead><tbody>{''.join(lines)}</tbody></table></details>"
    )


def _checked_scores(scores: Mapping[str, Sequence[float]], baseline: str) -> dict[str, list[float]]:
    if baseline not in scores:
        raise ValueError(f"baseline must be one of the arms {list(scores)}, got {baseline!r}")
    if not 2 <= len(scores) <= _MAX_ARMS + 1:
        raise ValueError(f"scores must hold the baseline and one to {_MAX_ARMS} other arms, got {list(scores)}")
    found = {str(name): [round(float(value), _DECIMALS) for value in values] for name, values in scores.items()}
    lengths = {name: len(values) for name, values in found.items()}
    if len(set(lengths.values())) != 1 or not _SEEDS[0] <= lengths[baseline] <= _SEEDS[1]:
        raise ValueError(
            f"every arm needs a score for each of the same {_SEEDS[0]} to {_SEEDS[1]} seeds, got {lengths}"
        )
    for name, values in found.items():
        if not all(0 <= value <= 1 for value in values):  # NaN is neither
            raise ValueError(f"scores[{name!r}] must lie in 0 to 1, got {values}: accuracies are shares, not percent")
    return found
