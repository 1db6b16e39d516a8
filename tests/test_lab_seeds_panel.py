"""The seeds panel without a browser: its arithmetic against SciPy, its arguments, its still."""

from __future__ import annotations

import json
import math
import random
import re
from statistics import fmean
from typing import Any

import numpy as np
import pytest
from scipy import stats

from kdlab.comparison import paired_interval
from kdlab.lab.seeds_panel import seeds_explorable, seeds_figure
from kdlab.lab.seeds_twin import points_text, seeds_state, t_quantile

RANDOM = random.Random(0)
HARD = [0.83 + RANDOM.gauss(0, 0.02) for _ in range(10)]
SOFT = [value + 0.012 + RANDOM.gauss(0, 0.01) for value in HARD]
SCORES = {"hard": HARD, "soft": SOFT, "worse": [value - 0.05 for value in HARD]}


def width(interval: tuple[float, float] | None) -> float:
    assert interval is not None
    return interval[1] - interval[0]


# ---- the twin


@pytest.mark.parametrize("count", range(2, 11))
def test_both_intervals_are_those_of_the_t_tests(count: int) -> None:
    state = seeds_state(SOFT, HARD, count)
    arm, base = (100 * np.array(values[:count]) for values in (SOFT, HARD))
    paired = stats.ttest_rel(arm, base).confidence_interval()
    unpaired = stats.ttest_ind(arm, base).confidence_interval()
    assert state.paired == pytest.approx(tuple(paired), rel=1e-5)
    assert state.unpaired == pytest.approx(tuple(unpaired), rel=1e-5)
    assert state.paired == pytest.approx([100 * end for end in paired_interval((arm - base) / 100)], rel=1e-5)
    assert state.mean == pytest.approx(fmean(state.differences))


def test_one_seed_has_a_difference_and_no_interval() -> None:
    state = seeds_state(SOFT, HARD, 1)
    assert (state.paired, state.unpaired) == (None, None)
    assert state.mean == pytest.approx(100 * (SOFT[0] - HARD[0]))
    assert "a single pair has no interval" in state.summary()


def test_pairing_is_worth_nothing_where_the_pairs_share_nothing_and_much_where_they_do() -> None:
    shared = seeds_state(SOFT, HARD, 10)
    alone = seeds_state([*SOFT[5:], *SOFT[:5]], HARD, 10)
    assert width(shared.paired) < 0.6 * width(shared.unpaired)
    assert width(alone.paired) > 0.8 * width(alone.unpaired)


def test_the_line_says_whether_an_interval_holds_zero() -> None:
    apart = seeds_state([0.9, 0.91, 0.92], [0.8, 0.815, 0.82], 3).summary()
    assert apart.count("which excludes zero") == 2
    assert seeds_state([0.9, 0.8, 0.85], [0.8, 0.9, 0.85], 3).summary().count("which holds zero") == 2


@pytest.mark.parametrize("count", [0, 11, 2.0, True])
def test_the_twin_refuses_a_count_that_is_none(count: Any) -> None:
    with pytest.raises(ValueError, match="count must be a whole number from 1 to 10"):
        seeds_state(SOFT, HARD, count)


def test_the_twin_refuses_scores_without_a_partner() -> None:
    with pytest.raises(ValueError, match="one pair per seed"):
        seeds_state(SOFT, HARD[:9], 3)


def test_quantiles_and_points_as_text() -> None:
    assert t_quantile(4) == pytest.approx(2.776445)
    assert [points_text(value) for value in (1.25, -0.34, 0.04, -0.04)] == ["+1.3", "−0.3", "0.0", "0.0"]


# ---- arguments


@pytest.mark.parametrize(
    ("scores", "changes", "words"),
    [
        (SCORES, {"baseline": "none"}, "baseline must be one of the arms"),
        ({"hard": HARD}, {}, "the baseline and one to 6 other arms"),
        ({"hard": HARD, "soft": SOFT[:9]}, {}, "same 3 to 20 seeds, got .*9"),
        ({"hard": HARD[:2], "soft": SOFT[:2]}, {}, "same 3 to 20 seeds"),
        ({"hard": HARD, "soft": [100 * value for value in SOFT]}, {}, "shares, not percent"),
        ({"hard": HARD, "soft": [math.nan] * 10}, {}, "must lie in 0 to 1"),
        (SCORES, {"arm": "none"}, "arm must be one of"),
        (SCORES, {"count": 11}, "count must be a whole number"),
        (SCORES, {"id": "Two Words"}, "id must be lower-case"),
    ],
)
def test_a_bad_argument_is_named_with_its_likely_cause(scores: Any, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        seeds_explorable(scores, **{"baseline": "hard", **changes})


# ---- the markup


def test_the_same_input_gives_the_same_bytes() -> None:
    first, again = (seeds_explorable(SCORES, baseline="hard")._repr_mimebundle_() for _ in range(2))
    assert first == again


def test_without_scripts_there_is_a_described_picture_and_a_table_of_every_count() -> None:
    panel = seeds_explorable(SCORES, baseline="hard", arm="worse", count=5)
    (alt,) = re.findall(r'<img alt="([^"]+)"', panel.html)
    assert "worse against hard" in alt
    assert "5 seeds: mean difference −5.0 points" in alt
    assert re.findall(r'<tr><th scope="row">(\d+)</th>', panel.html) == [str(count) for count in range(1, 11)]


def test_one_axis_holds_every_difference_and_every_interval_from_three_seeds_on() -> None:
    panel = seeds_explorable(SCORES, baseline="hard")
    for name, axis in zip(panel.data["arms"], panel.data["axes"], strict=True):
        low, high = axis["domain"]
        for count in range(3, 11):
            state = seeds_state(SCORES[name], HARD, count)
            ends = (*(state.paired or ()), *(state.unpaired or ()), *state.differences)
            assert len(ends) == 4 + count
            assert low <= min(ends) <= max(ends) <= high
        assert len(axis["ticks"]) <= 8  # as many as a chart has


def test_data_are_plain_json_and_a_hostile_name_stays_text() -> None:
    markup = seeds_explorable({"hard": HARD, "</script><script>alert(1)</script>": SOFT}, baseline="hard").html
    assert "<script>alert" not in markup
    block = re.search(r'class="kd-data">(.*?)</script>', markup, re.S)
    assert block is not None
    assert json.loads(block.group(1))["baseline"] == "hard"


def test_plain_text_is_one_stable_sentence() -> None:
    text = seeds_explorable(SCORES, baseline="hard")._repr_mimebundle_()["text/plain"]
    assert "\n" not in text
    assert text.startswith("Seeds panel (2 arms against hard, 10 seeds), at first soft. 1 seed: difference")


def test_the_still_shows_counted_seeds_and_both_intervals() -> None:
    single, together = seeds_figure(SOFT, HARD, 4, title="soft minus hard").axes
    assert [bar.get_width() for bar in single.patches] == pytest.approx(seeds_state(SOFT, HARD, 10).differences)
    assert len({bar.get_facecolor() for bar in single.patches[:4]}) == 1
    assert single.patches[3].get_facecolor() != single.patches[4].get_facecolor()
    state = seeds_state(SOFT, HARD, 4)
    spans = [(bar.get_x(), bar.get_x() + bar.get_width()) for bar in together.patches]
    assert spans == [pytest.approx(state.paired), pytest.approx(state.unpaired)]
