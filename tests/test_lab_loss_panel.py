"""The loss panel without a browser: its arithmetic against autograd of ``kd_loss``, its arguments, its still."""

from __future__ import annotations

import json
import math
import re
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch

from kdlab.lab.explorable import TEMPERATURES, Explorable
from kdlab.lab.loss_panel import ALPHAS, loss_explorable
from kdlab.lab.loss_twin import cosine_text, loss_state, slope_text
from kdlab.lab.twins import fine_text, fixed_text
from kdlab.losses import kd_loss

STUDENT = [[0.4, 0.2, 0.3, -0.1], [-1.0, 6.0, 0.5, -2.0], [2.5, 2.0, 1.0, -1.0]]
TEACHER = [[5.0, 3.1, 3.6, -2.5], [5.5, 3.0, 2.4, -2.8], [2.2, 4.8, 1.6, -2.0]]
LABELS = [0, 0, 2]
NAMES = ["cat", "dog", "fox", "car"]
ROWS = list(zip(STUDENT, TEACHER, LABELS, strict=True))
ROW = ROWS[1]


def inputs(**changes: Any) -> dict[str, Any]:
    made = {"student_logits": STUDENT, "teacher_logits": TEACHER, "labels": LABELS, "class_names": NAMES}
    return {**made, **changes}


@cache
def _default_panel() -> Explorable:
    return loss_explorable(**inputs())


def panel(**changes: Any) -> Explorable:
    return loss_explorable(**inputs(**changes)) if changes else _default_panel()


def autograd(row: Any, temperature: float, alpha: float) -> tuple[float, list[float]]:
    """Value and gradient of ``kd_loss`` for one row, in float64."""
    student, teacher, label = row
    z = torch.tensor([student], dtype=torch.float64, requires_grad=True)
    loss = kd_loss(
        z, torch.tensor([teacher], dtype=torch.float64), torch.tensor([label]), temperature=temperature, alpha=alpha
    )
    loss.backward()
    assert z.grad is not None
    return loss.item(), z.grad[0].tolist()


# ---- the twin


@pytest.mark.parametrize("row", ROWS)
@pytest.mark.parametrize("alpha", [0.0, 0.35, 1.0])
@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_the_twin_is_kd_loss_and_its_gradient(row: Any, temperature: float, alpha: float) -> None:
    state = loss_state(*row, temperature, alpha)
    value, slope = autograd(row, temperature, alpha)
    assert state.total == pytest.approx(value, rel=1e-9)
    assert state.gradient == pytest.approx(slope, rel=1e-8, abs=1e-12)
    assert state.soft == pytest.approx(alpha * autograd(row, temperature, 1.0)[0], rel=1e-9)
    assert state.soft_gradient == pytest.approx(alpha * np.array(autograd(row, temperature, 1.0)[1]), abs=1e-11)
    assert state.hard == pytest.approx((1 - alpha) * autograd(row, temperature, 0.0)[0], rel=1e-9)


@pytest.mark.parametrize("temperature", [0.25, 1.0, 4.0, 20.0])
def test_without_the_factor_the_soft_part_is_smaller_by_t_squared_and_the_hard_part_is_not(temperature: float) -> None:
    kept, dropped = (loss_state(*ROW, temperature, 0.5, squared=squared) for squared in (True, False))
    assert kept.soft == pytest.approx(temperature**2 * dropped.soft)
    assert kept.soft_gradient == pytest.approx(temperature**2 * dropped.soft_gradient)
    assert (kept.hard, kept.cross_entropy, kept.divergence) == (dropped.hard, dropped.cross_entropy, dropped.divergence)
    np.testing.assert_array_equal(kept.hard_gradient, dropped.hard_gradient)


def test_without_the_factor_the_soft_share_dies_as_t_grows() -> None:
    kept = [loss_state(*ROW, t, 0.5).soft_share for t in (4.0, 20.0)]
    dropped = [loss_state(*ROW, t, 0.5, squared=False).soft_share for t in (4.0, 20.0)]
    assert min(share for share in kept if share is not None) > 0.4
    assert dropped[0] is not None
    assert dropped[1] is not None
    assert dropped[1] < 0.01 < dropped[0] / 5


def test_every_part_of_the_gradient_sums_to_zero() -> None:
    state = loss_state(*ROW, 2.0, 0.3)
    for part in (state.soft_gradient, state.hard_gradient, state.gradient):
        assert part.sum() == pytest.approx(0, abs=1e-12)
        assert np.abs(part).max() > 0.1


@pytest.mark.parametrize(("alpha", "gone"), [(0.0, "soft"), (1.0, "hard")])
def test_a_term_of_weight_zero_is_exactly_zero_and_has_no_angle(alpha: float, gone: str) -> None:
    state = loss_state(*ROW, 4.0, alpha)
    assert getattr(state, gone) == 0
    assert (getattr(state, f"{gone}_gradient") == 0).all()
    assert not np.signbit(getattr(state, f"{gone}_gradient")).any()  # no minus zero, which would be printed
    assert state.cosine is None
    assert state.soft_share == alpha
    assert f"soft share {100 * alpha:.1f} %, cosine n/a" in state.summary()


def test_where_nothing_is_left_to_learn_nothing_moves() -> None:
    state = loss_state([1.0, 0.5, 0.0], [3.0, 2.5, 2.0], 0, 4.0, 1.0)  # equal up to a constant
    assert (state.soft_share, state.cosine) == (None, None)
    assert state.total == pytest.approx(0, abs=1e-15)
    assert state.summary().endswith("soft share n/a, cosine n/a; a step downhill moves nothing")


def test_the_summary_names_the_logits_that_move_most() -> None:
    words = loss_state(*ROW, 4.0, 0.7, squared=False).summary(NAMES)
    assert words.startswith("T = 4, α = 0.70, no factor T²: loss ")
    assert words.endswith("a step downhill raises cat most and lowers dog most")


def test_logits_far_apart_stay_finite() -> None:
    state = loss_state([200.0, -200.0, 0.0], [-200.0, 200.0, 0.0], 1, 0.25, 0.5)
    assert math.isfinite(state.total)
    assert state.total == pytest.approx(autograd(([200.0, -200.0, 0.0], [-200.0, 200.0, 0.0], 1), 0.25, 0.5)[0])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"student_logits_row": [[1.0, 2.0, 3.0, 4.0]]}, "student_logits_row must have shape.*whole batch"),
        ({"teacher_logits_row": [1.0, 2.0]}, "teacher_logits_row must have shape"),
        ({"teacher_logits_row": [1.0, 2.0, 3.0]}, "3 classes, student_logits_row 4"),
        ({"student_logits_row": [1.0, math.nan, 3.0, 4.0]}, "student_logits_row must be finite"),
        ({"student_logits_row": ["a", "b", "c", "d"]}, "must be numbers"),
        ({"label": 4}, "label must be a class from 0 to 3, got 4"),
        ({"label": True}, "label must be a class"),
        ({"temperature": 0}, "temperature must be a positive number, got 0"),
        ({"temperature": math.nan}, "temperature must be a positive"),
        ({"temperature": "4"}, "temperature must be a positive"),
        ({"alpha": 1.2}, "alpha must lie in 0 to 1, got 1.2"),
        ({"alpha": math.nan}, "alpha must lie in 0 to 1"),
    ],
)
def test_the_twin_refuses_what_has_no_answer(changes: dict[str, Any], words: str) -> None:
    given = dict(zip(("student_logits_row", "teacher_logits_row", "label"), ROW, strict=True))
    with pytest.raises(ValueError, match=words):
        loss_state(**{**given, "temperature": 4.0, "alpha": 0.5, **changes})


def test_numbers_as_text() -> None:
    assert [fine_text(x) for x in (0, 1.2344, 0.5, 0.0771, 0.000812, 1e-7, 1e-9)] == [
        *("0.000", "1.234", "0.500", "0.0771", "0.000812", "0.0000001", "0.000")
    ]
    assert [slope_text(x) for x in (0, 1e-17, 0.4125, -0.0375, 1e-4, -1e-4)] == [
        *("0.000", "0.000", "+0.412", "−0.037", "<0.001", ">−0.001")
    ]
    assert [fixed_text(x, 2) for x in (0.125, -0.125, -0.001)] == ["0.13", "−0.13", "0.00"]  # as toFixed rounds
    assert [cosine_text(x) for x in (None, -0.5)] == ["n/a", "−0.50"]


# ---- arguments


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"student_logits": STUDENT[0]}, r"student_logits must have shape \(n, K\).*logits\[i : i \+ 1\]"),
        ({"student_logits": STUDENT * 3}, "1 to 6 cases"),
        ({"teacher_logits": np.zeros((3, 11))}, "3 to 10 classes"),
        ({"teacher_logits": TEACHER[:2]}, r"teacher_logits has shape \(2, 4\).*same rows"),
        ({"teacher_logits": [[0.25] * 4] * 3}, "teacher_logits must be scores before softmax.*probabilities"),
        ({"student_logits": [[math.nan] * 4] * 3}, "student_logits must be finite"),
        ({"student_logits": [[1e5, 0, 0, 0]] * 3}, "student_logits must lie within ±200, got 100000"),
        ({"student_logits": [["a"] * 4] * 3}, "student_logits must be numbers"),
        ({"labels": [0, 1]}, r"labels must have shape \(3,\)"),
        ({"labels": [0, 1, 4]}, "labels must be classes from 0 to 3"),
        ({"names": ["one"]}, "names must hold 3 names, one for each case, got 1"),
        ({"names": "abc"}, "names must be a list of 3 names, got the string"),
        ({"class_names": ["cat"]}, "class_names must hold 4 names, one for each class, got 1"),
        ({"case": 3}, "case must be an index from 0 to 2, got 3"),
        ({"case": True}, "case must be an index"),
        ({"temperature": 3}, r"temperature must be one of the slider's steps \(0.25, .*got 3"),
        ({"temperature": "warm"}, "temperature must be one of"),
        ({"temperature": None}, "temperature must be one of"),
        ({"alpha": 0.33}, r"alpha must be one of the slider's steps \(0, 0.05, .*got 0.33"),
        ({"alpha": True}, "alpha must be one of"),
        ({"id": "Two Words"}, "id must be lower-case"),
    ],
)
def test_a_bad_argument_is_named_with_its_likely_cause(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        panel(**changes)


def test_tensors_that_need_a_gradient_are_welcome_and_alpha_may_be_a_sum() -> None:
    student = torch.tensor(STUDENT, requires_grad=True)
    made = panel(student_logits=student, labels=torch.tensor(LABELS), alpha=3 * 0.05)
    assert made.data["student"] == STUDENT
    assert ALPHAS[made.data["alphaStep"]] == 0.15


# ---- axes


def test_the_axes_hold_a_case_at_every_step_so_that_they_need_not_move() -> None:
    for row, axes in zip(ROWS, panel().data["axes"], strict=True):
        slope, term, norm = (axes[name]["domain"] for name in ("gradient", "terms", "norms"))
        for temperature in TEMPERATURES:
            for alpha in ALPHAS:
                state = loss_state(*row, temperature, alpha)
                assert slope[0] <= state.gradient.min() <= state.gradient.max() <= slope[1]
                assert state.total <= term[1]
                assert max(state.soft_norm, state.hard_norm) <= norm[1]
        assert slope[0] == -slope[1]
        assert all(2 <= len(axis["ticks"]) <= 8 and 0 in axis["ticks"] for axis in axes.values())


def test_a_case_with_nothing_to_learn_still_has_axes() -> None:
    sure = [[90.0, 0.0, 0.0]]
    axes = panel(student_logits=sure, teacher_logits=sure, labels=[0], class_names=None).data["axes"][0]
    assert all(axis["domain"][1] >= 0.01 for axis in axes.values())


# ---- the markup


def test_the_same_input_gives_the_same_bytes() -> None:
    assert loss_explorable(**inputs())._repr_mimebundle_() == panel()._repr_mimebundle_()


def test_without_scripts_there_is_a_described_picture_and_a_table_of_what_the_factor_does() -> None:
    markup = panel(case=1).html
    (alt,) = re.findall(r'<img alt="([^"]+)"', markup)
    assert "labelled cat" in alt
    assert "α = 0.70: loss" in alt
    rows = re.findall(r"<tr><th scope=\"row\">([\d.]+)</th>((?:<td>[^<]+</td>)+)</tr>", markup)
    assert [row[0] for row in rows] == ["0.5", "1", "2", "4", "8", "20"]
    shares = [[float(share) for share in re.findall(r"([\d.]+) %", row[1])] for row in rows]
    assert shares[1][0] == shares[1][1]  # at T = 1 the factor is 1
    assert shares[-1][0] > 50 > 2 > shares[-1][1]


def test_data_are_plain_json_and_a_hostile_name_stays_text() -> None:
    markup = panel(names=["</script><script>alert(1)</script>", "b", "c"]).html
    assert "<script>alert" not in markup
    block = re.search(r'class="kd-data">(.*?)</script>', markup, re.S)
    assert block is not None
    data = json.loads(block.group(1))
    assert (data["student"], data["teacher"], data["labels"]) == (STUDENT, TEACHER, LABELS)
    assert data["cases"][0] == "</script><script>alert(1)</script>"
    assert not re.search(r"\d\.\d{5,}", block.group(1))


def test_plain_text_is_one_stable_sentence() -> None:
    text = panel(temperature=1, alpha=0)._repr_mimebundle_()["text/plain"]
    assert "\n" not in text
    assert text.startswith(
        "Loss panel (3 cases, 4 classes, T from 0.25 to 20, α from 0 to 1), at first case 1. T = 1, "
    )


def test_the_still_draws_the_state_it_is_given() -> None:
    from kdlab.lab.loss_figure import loss_figure

    state = loss_state(*ROW, 4.0, 0.7)
    figure = loss_figure(state, 0, 0, NAMES, panel().data["axes"][1])
    chances, gradient, terms, norms = figure.axes
    np.testing.assert_allclose([bar.get_width() for bar in chances.patches[:4]], state.student)
    np.testing.assert_allclose([bar.get_width() for bar in chances.patches[4:8]], state.teacher)
    np.testing.assert_allclose([bar.get_width() for bar in gradient.patches[8:12]], state.gradient)
    assert [bar.get_width() for bar in terms.patches] == [state.hard, state.soft, state.hard, state.soft]
    assert [bar.get_width() for bar in norms.patches] == [state.hard_norm, state.soft_norm]
    assert [text.get_text() for text in chances.get_yticklabels()] == ["◆ ▶ cat", "dog", "fox", "car"]
