"""The descent panel without a browser: its twin against autograd, where each loss ends, its arguments, its still."""

from __future__ import annotations

import json
import math
import re
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from kdlab import losses
from kdlab.lab.descent import MAX_SPAN, STEPS, DescentPath, descent_path, favourites
from kdlab.lab.descent_losses import LOSSES
from kdlab.lab.descent_panel import (
    DESCENT_ALPHAS,
    DESCENT_TEMPERATURES,
    descent_explorable,
    descent_figure,
)
from kdlab.lab.explorable import Explorable

TEACHER = (4.0, 3.2, 1.0, 0.0, -1.5)
NAMES = ["cat", "dog", "fox", "car", "ship"]
RIGHT = [key for key, loss in LOSSES.items() if not loss.faulty]
FAULTY = [key for key, loss in LOSSES.items() if loss.faulty]


@cache
def path(loss: str, temperature: float = 2.0, alpha: float = 1.0, label: int = 0) -> DescentPath:
    return descent_path(TEACHER, label, loss, temperature, alpha)


@cache
def _default_panel() -> Explorable:
    return descent_explorable(TEACHER, 0, class_names=NAMES)


# ---- the twin against losses written with torch, the right ones by kdlab.losses


def _softmax(z: Tensor, t: float = 1.0) -> Tensor:
    return torch.softmax(z / t, dim=-1)


TORCH = {
    "kd": lambda z, t, T: losses.kd_loss(z, t, temperature=T, alpha=1),
    "reverse": lambda z, t, T: losses.reverse_kl_loss(z, t, temperature=T),
    "js": lambda z, t, T: losses.js_loss(z, t, temperature=T),
    "mse": lambda z, t, T: losses.mse_logit_loss(z, t),
    "no_log": lambda z, t, T: T**2 * F.kl_div(_softmax(z, T), _softmax(t, T), reduction="batchmean"),
    "swapped_no_log": lambda z, t, T: T**2 * F.kl_div(_softmax(t, T), _softmax(z, T), reduction="batchmean"),
    "minus_sign": lambda z, t, T: (
        -(T**2) * F.kl_div(_softmax(t, T).log(), _softmax(z, T), reduction="batchmean")  # KL(q || p)
    ),
    "no_teacher": lambda z, t, T: z.shape[-1] * (z.shape[-1] - z.exp().sum()) ** 2,
    "double_softmax": lambda z, t, T: (
        T**2 * F.kl_div(_softmax(_softmax(z), T).log(), _softmax(t, T), reduction="batchmean")
    ),
}


def torch_loss(z: Tensor, loss: str, temperature: float, alpha: float, label: int) -> Tensor:
    teacher = torch.tensor([TEACHER], dtype=torch.float64)
    hard = F.cross_entropy(z, torch.tensor([label]))
    return alpha * TORCH[loss](z, teacher, temperature) + (1 - alpha) * hard


@pytest.mark.parametrize("alpha", [1.0, 0.3])
@pytest.mark.parametrize("temperature", [0.5, 1, 8])
@pytest.mark.parametrize("loss", LOSSES)
def test_each_step_is_autograds_gradient(loss: str, temperature: float, alpha: float) -> None:
    walked = path(loss, temperature, alpha, 1)
    for step in (0, 1, 2, 7, 60, 700):
        z = torch.tensor(walked.logits[[step]], requires_grad=True)
        value = torch_loss(z, loss, temperature, alpha, label=1)
        value.backward()
        assert z.grad is not None
        assert walked.losses[step] == pytest.approx(value.item(), rel=1e-9, abs=1e-12)
        moved = torch.tensor(walked.logits[[step]] - walked.logits[[step + 1]])
        if loss == "no_teacher":  # a shorter step in the same direction
            curvature = torch.autograd.functional.hessian(lambda x: torch_loss(x, loss, temperature, alpha, 1), z)
            steepest = torch.linalg.eigvalsh(torch.as_tensor(curvature)[0, :, 0, :]).max()
            rate = (moved * z.grad).sum() / z.grad.square().sum().clamp_min(1e-30)
            assert rate * steepest <= 1 + 1e-6
            torch.testing.assert_close(moved, rate * z.grad, rtol=1e-7, atol=1e-12)
        else:
            torch.testing.assert_close(moved, z.grad, rtol=1e-8, atol=1e-12)


def test_the_divergence_is_torchs_at_temperature_one() -> None:
    walked = path("swapped_no_log", 4)
    for step in (0, 10, STEPS):
        expected = losses.kd_loss(
            torch.tensor(walked.logits[[step]]),
            torch.tensor([TEACHER], dtype=torch.float64),
            temperature=1.0,
            alpha=1.0,
        )
        assert walked.divergences[step] == pytest.approx(expected.item(), rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("loss", LOSSES)
def test_no_step_goes_uphill_at_any_setting_even_for_the_steepest_teacher(loss: str) -> None:
    steep = (MAX_SPAN, 5.0, 0.0)
    for teacher in (TEACHER, steep):
        for temperature in DESCENT_TEMPERATURES:
            for alpha in (1.0, 0.5):
                walked = descent_path(teacher, 1, loss, temperature, alpha)
                assert np.isfinite(walked.logits).all()
                assert np.diff(walked.losses).max() < 1e-9


# ---- where each loss ends


@pytest.mark.parametrize("temperature", DESCENT_TEMPERATURES)
@pytest.mark.parametrize("loss", RIGHT)
def test_every_right_loss_ends_at_the_teacher(loss: str, temperature: float) -> None:
    walked = path(loss, temperature)
    assert walked.divergences[-1] < (0.03 if temperature < 1 else 0.002)
    assert "within 0.05 nats of its teacher" in walked.summary()
    assert favourites(walked.student(-1)) == favourites(walked.teacher)


@pytest.mark.parametrize("loss", RIGHT)
def test_with_a_hard_term_it_ends_between_teacher_and_label(loss: str) -> None:
    teacher, mixed = path(loss, 2, 1.0, 1), path(loss, 2, 0.5, 1)
    assert teacher.teacher[1] + 0.05 < mixed.student(-1)[1] < 0.99
    assert path(loss, 2, 0.0, 1).student(-1)[1] > 0.99  # the label alone


def test_without_the_soft_term_all_losses_are_one() -> None:
    ends = [path(loss, 2, 0.0).logits[-1] for loss in LOSSES if loss != "no_teacher"]
    assert all(np.array_equal(end, ends[0]) for end in ends)


def test_without_a_log_the_student_becomes_one_hot_at_the_teachers_favourite() -> None:
    assert path("no_log", 1).student(-1)[0] > 0.99
    assert path("no_log", 1).divergences[-1] > 2
    assert "a count of right answers cannot tell" in path("no_log", 1).summary()


@pytest.mark.parametrize("temperature", [1, 4])
def test_swapped_and_without_a_log_it_ends_at_the_softmax_of_the_teachers_probabilities(temperature: float) -> None:
    soft = _softmax(torch.tensor(TEACHER, dtype=torch.float64), temperature)
    end = torch.tensor(path("swapped_no_log", temperature).student(-1, temperature))
    torch.testing.assert_close(end, _softmax(soft), rtol=0, atol=1e-6)


def test_the_minus_sign_leads_to_the_teachers_least_likely_class() -> None:
    walked = path("minus_sign", 1)
    assert favourites(walked.student(-1)) == (int(np.argmin(TEACHER)),)
    assert walked.losses[-1] == pytest.approx(math.log(walked.teacher.min()), abs=0.02)  # E002-10: ln of the least p
    assert "another favourite than the teacher's" in walked.summary()


def test_without_a_teacher_nothing_is_learned_and_then_the_label_only() -> None:
    assert np.ptp(path("no_teacher").logits) == 0
    assert path("no_teacher").summary().endswith("it has learned nothing")
    mixed = path("no_teacher", 2, 0.5, 1).student(-1)
    assert favourites(mixed) == (1,)
    assert np.ptp(np.delete(mixed, 1)) < 1e-12  # nothing tells the other classes apart
    assert "the label has won" in path("no_teacher", 2, 0.5, 1).summary()


def test_behind_a_second_softmax_the_student_overshoots() -> None:
    walked = path("double_softmax", 1)
    assert walked.student(-1)[0] > 0.99 > walked.teacher[0]
    assert favourites(walked.student(-1)) == (0,)


def test_only_classes_that_are_alike_share_the_first_place() -> None:
    assert favourites(np.array([0.3501, 0.35, 0.2999])) == (0,)
    assert favourites(np.array([0.4, 0.2, 0.4 - 1e-9])) == (0, 2)


def test_classes_that_are_alike_stay_alike() -> None:
    walked = descent_path([3.0, 3.0, 0.0, -2.0, -2.0], 2, "minus_sign", 0.5, 1.0)
    assert favourites(walked.student(-1)) == (3, 4)
    assert "favourite 3 and 4 with" in walked.summary()
    assert "(the teacher: 0 and 1 with" in walked.summary()


# ---- arguments


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"teacher_logits": [1.0, 2.0]}, r"shape \(K,\) with K from 3 to 8, got \(2,\)"),
        ({"teacher_logits": [[1.0, 2.0, 3.0]]}, r"got \(1, 3\): pass one sample's row"),
        ({"teacher_logits": range(10)}, r"got \(10,\)"),
        ({"teacher_logits": [1.0, math.nan, 0.0]}, "must be finite.*diverge"),
        ({"teacher_logits": [0.0, 1.0, 16.5]}, "span at most 16, got 16.5"),
        ({"teacher_logits": [0.7, 0.2, 0.1]}, "before softmax"),
        ({"teacher_logits": ["a", "b", "c"]}, "must be numbers"),
        ({"label": 5}, "label must be a class from 0 to 4, got 5"),
        ({"label": True}, "label must be a class"),
        ({"label": 1.0}, "label must be a class"),
        ({"loss": "kl"}, "loss must be one of kd, reverse, .*got 'kl'"),
        ({"loss": ["kd"]}, "loss must be one of"),
        ({"temperature": 0}, r"temperature must be one of the slider's steps \(0.5, 1, 2, 4, 8\), got 0"),
        ({"temperature": "2"}, "temperature must be one of"),
        ({"alpha": 0.25}, "alpha must be one of the slider's steps"),
        ({"alpha": math.nan}, "alpha must be one of the slider's steps"),
        ({"class_names": ["a"]}, "class_names must hold 5 names"),
        ({"id": "Two Words"}, "id must be lower-case"),
    ],
)
def test_a_bad_argument_is_named_with_its_likely_cause(changes: dict[str, Any], words: str) -> None:
    given = {"teacher_logits": TEACHER, "label": 0, **changes}
    with pytest.raises(ValueError, match=words):
        descent_explorable(given.pop("teacher_logits"), given.pop("label"), **given)


@pytest.mark.parametrize(
    ("temperature", "alpha", "words"),
    [
        (0.0, 1.0, "temperature must be a number from 0.5 to 8, got 0.0"),
        (20, 1.0, "temperature must be a number"),
        (math.nan, 1.0, "temperature must be a number"),
        (2.0, 1.1, "alpha must be a number from 0 to 1, got 1.1"),
        (2.0, "1", "alpha must be a number"),
        (2.0, True, "alpha must be a number"),
    ],
)
def test_the_twin_refuses_settings_whose_steps_are_not_known_to_be_stable(
    temperature: Any, alpha: Any, words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        descent_path(TEACHER, 0, "kd", temperature, alpha)


@pytest.mark.parametrize("step", [-1, STEPS + 1, 1.0, True])
def test_the_figure_refuses_a_step_that_does_not_exist(step: Any) -> None:
    with pytest.raises(ValueError, match=f"step must be a whole number from 0 to {STEPS}"):
        descent_figure(path("kd"), step=step)


def test_a_tensor_that_needs_a_gradient_is_welcome() -> None:
    row = torch.tensor(TEACHER, requires_grad=True)
    assert descent_explorable(row, 0, class_names=NAMES).data == _default_panel().data


# ---- the markup


def test_the_same_input_gives_the_same_bytes() -> None:
    again = descent_explorable(list(TEACHER), 0, class_names=NAMES)
    assert again._repr_mimebundle_() == _default_panel()._repr_mimebundle_()


def test_the_panel_starts_where_it_was_told() -> None:
    data = descent_explorable(TEACHER, 0, loss="js", temperature=0.5, alpha=0.3).data
    assert data["losses"][data["loss"]]["key"] == "js"
    assert (data["temperatures"][data["temperature"]], data["alphas"][data["alpha"]]) == (0.5, 0.3)
    assert (data["steps"][0], data["steps"][-1]) == (0, STEPS)
    assert sorted(set(data["steps"])) == data["steps"]
    assert data["alphas"] == list(DESCENT_ALPHAS)


def test_without_scripts_there_is_a_described_picture_and_a_table_of_every_loss() -> None:
    markup = _default_panel().html
    (alt,) = re.findall(r'<img alt="([^"]+)"', markup)
    assert path("kd").summary(NAMES) in alt
    rows = dict(re.findall(r'<tr><th scope="row">([^<]+)</th>(?:<td>[^<]*</td>){5}<td>([^<]*)</td>', markup))
    shown = {("faulty: " if loss.faulty else "") + loss.name: key for key, loss in LOSSES.items()}
    assert {name: f"{abs(path(key).divergences[-1]):.3f}" for name, key in shown.items()} == {
        name: text for name, text in rows.items() if name != "the teacher"
    }


def test_data_are_plain_json_and_a_hostile_name_stays_text() -> None:
    names = ["</script><script>alert(1)</script>", "b", "c"]
    markup = descent_explorable([1.0, 0.123456, 3], 1, class_names=names).html
    assert "<script>alert" not in markup
    block = re.search(r'class="kd-data">(.*?)</script>', markup, re.S)
    assert block is not None
    assert json.loads(block.group(1))["logits"] == [1.0, 0.1235, 3.0]


def test_plain_text_is_one_stable_sentence() -> None:
    text = _default_panel()._repr_mimebundle_()["text/plain"]
    assert "\n" not in text
    assert text.startswith("Descent panel (9 losses, 5 classes, 2000 steps), at forward KL, T = 2, α = 1, after 2000")
    assert "favourite cat with q = 0.657 (the teacher: cat with p = 0.657), KL(p ‖ q) = 0.000 nats" in text


def test_the_faulty_losses_can_be_left_out() -> None:
    panel = descent_explorable([2.0, 0.5, -1.0], 0, faulty=False)
    assert [loss["key"] for loss in panel.data["losses"]] == ["kd", "reverse", "js", "mse"]
    assert "faulty" not in panel.fallback
    assert repr(panel).startswith("Descent panel (4 losses")
    with pytest.raises(ValueError, match=r"right ones with faulty=False .*got 'no_log'"):
        descent_explorable([2.0, 0.5, -1.0], 0, loss="no_log", faulty=False)
