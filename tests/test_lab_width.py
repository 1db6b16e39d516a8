"""The width panel without a browser: its arithmetic against real networks, its arguments, its still."""

from __future__ import annotations

import json
import math
import re
from functools import cache
from typing import Any

import pytest
import torch

from kdlab.lab.explorable import Explorable
from kdlab.lab.twins import count_text, percent_text, ratio_text, width_state
from kdlab.lab.width import WIDTHS, width_explorable
from kdlab.measure import count_macs, count_parameters, model_bytes
from kdlab.models import MLP, SmallCNN

TEACHER = {"teacher_parameters": 151_306, "teacher_macs": 1_330_432}


def inputs(**changes: Any) -> dict[str, Any]:
    made = {
        "accuracies": [0.1, 0.42, 0.71, 0.93, 0.96, 0.965, 0.97, 0.97],
        "speedups": {"1 image": [6.9] * 8, "500 images": [453.2, 440, 420, 400, 380, 260, 183, 0.9]},
        "teacher_accuracy": 0.9865,
        **TEACHER,
    }
    return {**made, **changes}


@cache
def _default_panel() -> Explorable:
    return width_explorable(**inputs())


def panel(**changes: Any) -> Explorable:
    return width_explorable(**inputs(**changes)) if changes else _default_panel()


# ---- the twin


@pytest.mark.parametrize("width", WIDTHS)
def test_the_twin_counts_what_a_real_network_has(width: int) -> None:
    student, teacher, image = MLP(64, hidden=(width,)), SmallCNN(), torch.zeros(1, 1, 8, 8)
    state = width_state(width, teacher_parameters=count_parameters(teacher), teacher_macs=count_macs(teacher, image))
    assert state.parameters == count_parameters(student)
    assert state.bytes == model_bytes(student)
    assert state.macs == count_macs(student, image)
    assert state.fewer_parameters == model_bytes(teacher) / model_bytes(student)
    assert state.fewer_macs == count_macs(teacher, image) / count_macs(student, image)


def test_other_inputs_and_classes_count_too() -> None:
    state = width_state(5, inputs=3, classes=2, **TEACHER)
    assert (state.parameters, state.macs) == (count_parameters(MLP(3, hidden=(5,), num_classes=2)), 25)


@pytest.mark.parametrize("name", ["width", "inputs", "classes", "teacher_parameters", "teacher_macs"])
@pytest.mark.parametrize("value", [0, -1, 2.0, True, None])
def test_the_twin_refuses_what_is_no_count(name: str, value: Any) -> None:
    given: dict[str, Any] = {"width": 1, **TEACHER, name: value}
    with pytest.raises(ValueError, match=f"{name} must be a whole number"):
        width_state(given.pop("width"), **given)


@pytest.mark.parametrize(
    ("ratio", "text"),
    [(0.94, "0.9×"), (1, "1.0×"), (6.75, "6.8×"), (9.94, "9.9×"), (9.95, "10×"), (62.5, "63×"), (1123.7, "1,124×")],
)
def test_ratios_have_one_decimal_only_where_it_matters(ratio: float, text: str) -> None:
    assert ratio_text(ratio) == text


def test_counts_and_shares_as_text() -> None:
    assert [count_text(n) for n in (85, 1210, 1330432)] == ["85", "1,210", "1,330,432"]
    assert [percent_text(p) for p in (0, 0.9625, 1)] == ["0.0 %", "96.3 %", "100.0 %"]  # a half goes up


# ---- arguments


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"accuracies": [0.5] * 7}, "accuracies must hold 8 numbers"),
        ({"accuracies": [96.0] * 8}, "accuracies must lie in 0 to 1.*shares"),
        ({"accuracies": [math.nan] * 8}, "accuracies must lie in"),
        ({"teacher_accuracy": 98.7}, "teacher_accuracy must lie in 0 to 1"),
        ({"speedups": {}}, "one to three timings, got 0"),
        ({"speedups": {"1 image": [1.0] * 3}}, "must hold 8 numbers"),
        ({"speedups": {"1 image": [0.0] * 8}}, "must lie in"),
        ({"width": 3}, r"one of the slider's steps \(1, 2, .*got 3"),
        ({"width": True}, "one of the slider's steps"),
        ({"teacher_macs": 0}, "teacher_macs must be a whole number"),
        ({"id": "Two Words"}, "id must be lower-case"),
    ],
)
def test_a_bad_argument_is_named_with_its_likely_cause(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        panel(**changes)


# ---- the markup


def test_the_same_input_gives_the_same_bytes() -> None:
    assert width_explorable(**inputs())._repr_mimebundle_() == panel()._repr_mimebundle_()


def test_without_scripts_there_is_a_described_picture_and_a_table_of_every_width() -> None:
    markup = panel().html
    (alt,) = re.findall(r'<img alt="([^"]+)"', markup)
    assert "width 16: 1,210 parameters, 4,840 bytes, 1,184 MACs, 96.0 % right" in alt
    rows = re.findall(r'<tr><th scope="row">(\d+)</th><td>([\d,]+)</td>', markup)
    assert rows == [(str(h), count_text(75 * h + 10)) for h in WIDTHS]


def test_the_axis_of_savings_holds_every_width_so_that_it_need_not_move() -> None:
    decades = panel().data["decades"]
    assert 10 ** (decades - 1) < TEACHER["teacher_macs"] / 74 <= 10**decades
    assert {panel(width=h).data["decades"] for h in (1, 128)} == {decades}
    assert panel(speedups={"1 image": [9e5] * 8}).data["decades"] == 6


def test_data_are_plain_json_and_a_hostile_name_stays_text() -> None:
    markup = panel(speedups={"</script><script>alert(1)</script>": [2.123456] * 8}).html
    assert "<script>alert" not in markup
    block = re.search(r'class="kd-data">(.*?)</script>', markup, re.S)
    assert block is not None
    assert json.loads(block.group(1))["speedups"][0]["values"] == [2.1235] * 8


def test_plain_text_is_one_stable_sentence() -> None:
    text = panel(width=1)._repr_mimebundle_()["text/plain"]
    assert "\n" not in text
    assert "at width 1: 85 parameters, 340 bytes, 74 MACs, 10.0 % right" in text
    assert "10.0 % right (the teacher: 98.7 %); against the teacher 1,780× fewer parameters" in text
