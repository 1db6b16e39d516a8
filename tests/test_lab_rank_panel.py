"""The rank panel without a browser: its twin against what is known of low rank, its arguments, its data, its still."""

from __future__ import annotations

import json
import re
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from kdlab.lab import rank_twin as twin
from kdlab.lab.explorable import Explorable
from kdlab.lab.rank_panel import rank_explorable, rank_figure
from kdlab.lab.rank_twin import KINDS, break_even, components, rank_state
from kdlab.lab.twins import count_text, percent_text

Array = NDArray[np.float64]
SHAPES = [(6, 20), (20, 6), (9, 9)]
RANKS = [1, 2, 4, 5, 6]


@cache
def layer(m: int, n: int) -> tuple[Array, Array, Array]:
    """W, inputs X that use some directions much more than others, and their second moment."""
    random = np.random.default_rng(m + 100 * n)
    weight = random.normal(size=(m, n))
    inputs = random.normal(size=(400, n)) @ np.diag(np.geomspace(1, 0.05, n)) @ random.normal(size=(n, n)) + 0.3
    return weight, inputs, inputs.T @ inputs / len(inputs)


def panel_inputs(**changes: Any) -> dict[str, Any]:
    weight, _, second = layer(6, 20)
    made = {"weight": weight, "ranks": RANKS, "covariance": second, "dense_accuracy": 0.97}
    made["accuracies"] = {"plain": [0.5, 0.7, 0.9, 0.95, 0.97], "activation-aware": [0.6, 0.8, 0.95, 0.96, 0.97]}
    made["speedups"] = {"1 image": [0.9, 0.9, 0.85, 0.8, 0.8], "500 images": [3.25, 2, 1.1, 0.9, 0.8]}
    return {**made, **changes}


@cache
def _default_panel() -> Explorable:
    return rank_explorable(**panel_inputs())


def panel(**changes: Any) -> Explorable:
    return rank_explorable(**panel_inputs(**changes)) if changes else _default_panel()


# ---- the twin


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("rank", [1, 3, 5])
def test_the_plain_cut_has_its_rank_and_the_error_of_eckart_and_young(shape: tuple[int, int], rank: int) -> None:
    weight, _, second = layer(*shape)
    state = rank_state(weight, rank, covariance=second)
    assert np.linalg.matrix_rank(state.approximation, tol=1e-9) == rank
    values = torch.linalg.svdvals(torch.tensor(weight))
    lost = float(values[rank:].square().sum() / values.square().sum())
    assert state.weight_error == pytest.approx(lost**0.5, rel=1e-9)
    assert state.energy == pytest.approx(1 - lost, rel=1e-9)
    np.testing.assert_allclose(state.spectrum, values)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("rank", [1, 3, 5])
def test_the_activation_aware_cut_has_the_smallest_error_of_the_outputs(shape: tuple[int, int], rank: int) -> None:
    weight, inputs, second = layer(*shape)
    state = rank_state(weight, rank, kind="activation-aware", covariance=second)
    assert np.linalg.matrix_rank(state.approximation, tol=1e-9) == rank
    outputs = inputs @ weight.T
    values = np.linalg.svd(outputs, compute_uv=False)  # no rank-r outputs are nearer, whatever made them
    best = float(np.sqrt((values[rank:] ** 2).sum() / (values**2).sum()))
    measured = np.linalg.norm(inputs @ (weight - state.approximation).T) / np.linalg.norm(outputs)
    assert measured == pytest.approx(best, rel=1e-3)  # the ridge is the difference
    assert state.output_errors["activation-aware"] == pytest.approx(best, rel=1e-3)
    assert state.energy == pytest.approx(1 - best**2, rel=1e-3)
    plain = rank_state(weight, rank, covariance=second)
    measured = np.linalg.norm(inputs @ (weight - plain.approximation).T) / np.linalg.norm(outputs)
    assert plain.output_errors["plain"] == pytest.approx(measured, rel=1e-3)
    assert plain.output_errors == state.output_errors
    assert best < 0.95 * measured
    assert plain.weight_error < state.weight_error


def test_the_aware_spectrum_is_that_of_the_outputs() -> None:
    weight, inputs, second = layer(6, 20)
    state = rank_state(weight, 2, kind="activation-aware", covariance=second)
    values = np.linalg.svd(inputs @ weight.T / np.sqrt(len(inputs)), compute_uv=False)
    np.testing.assert_allclose(state.spectrum, values, rtol=1e-3)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", KINDS)
def test_the_components_give_the_cut_and_every_error_at_every_rank(shape: tuple[int, int], kind: str) -> None:
    weight, _, second = layer(*shape)
    made = components(weight, kind=kind, covariance=second)
    assert made.output_shares is not None
    assert made.weight_shares.sum() == pytest.approx(1)
    assert made.output_shares.sum() == pytest.approx(1)
    for rank in range(1, min(shape) + 1):
        state = rank_state(weight, rank, kind=kind, covariance=second)
        left = made.left[:, :rank]
        np.testing.assert_allclose(left @ (left.T @ weight), state.approximation, atol=1e-8)
        assert np.sqrt(made.weight_shares[rank:].sum()) == pytest.approx(state.weight_error, abs=1e-7)
        assert np.sqrt(made.output_shares[rank:].sum()) == pytest.approx(state.output_errors[kind], abs=1e-7)
        np.testing.assert_allclose(made.spectrum, state.spectrum)


def test_the_sign_of_a_vector_does_not_depend_on_who_decomposed() -> None:
    weight, _, second = layer(6, 20)
    for kind in KINDS:
        left = components(weight, kind=kind, covariance=second).left
        assert (left[np.abs(left).argmax(axis=0), np.arange(6)] > 0).all()


def test_nothing_is_lost_at_full_rank_even_if_an_input_is_always_zero() -> None:
    weight, _, second = layer(6, 20)
    dead = second.copy()
    dead[3] = dead[:, 3] = 0
    state = rank_state(weight, 6, kind="activation-aware", covariance=dead)
    np.testing.assert_allclose(state.approximation, weight, atol=1e-9)
    assert state.weight_error == pytest.approx(0, abs=1e-9)
    assert state.output_errors == pytest.approx(dict.fromkeys(KINDS, 0), abs=1e-9)
    assert np.isfinite(rank_state(weight, 2, kind="activation-aware", covariance=dead).approximation).all()


def test_inputs_that_are_all_alike_leave_nothing_to_be_aware_of() -> None:
    weight, _, _ = layer(9, 9)
    states = [rank_state(weight, 3, kind=kind, covariance=4 * np.eye(9)) for kind in KINDS]
    np.testing.assert_allclose(states[0].approximation, states[1].approximation, atol=1e-9)
    np.testing.assert_allclose(states[1].spectrum, 2 * states[0].spectrum, rtol=1e-5)
    assert states[0].output_errors["plain"] == pytest.approx(states[0].weight_error)


@pytest.mark.parametrize(("m", "n"), [(16, 72), (16, 16), (64, 144), (2, 2), (10, 3), (6, 3)])
def test_parameters_are_those_of_two_layers_and_break_even_is_the_last_rank_that_saves(m: int, n: int) -> None:
    dense = nn.Linear(n, m, bias=False).weight.numel()
    for rank in range(1, min(m, n) + 1):
        pair = nn.Sequential(nn.Linear(n, rank, bias=False), nn.Linear(rank, m, bias=False))
        few = sum(one.numel() for one in pair.parameters())
        state = rank_state(np.random.default_rng(0).normal(size=(m, n)), rank)
        assert (state.parameters, state.dense_parameters) == (few, dense)
        assert (rank <= break_even(m, n)) == (few < dense)


def test_the_axis_of_the_spectrum_holds_it_and_ends_after_four_decades() -> None:
    for smallest, decades in ((0.5, 1), (0.1, 1), (0.09, 2), (0.001, 3), (1e-9, 4), (0, 4)):
        assert twin.spectrum_decades([np.array([7.0, 7 * smallest]), np.array([2.0, 1.0])]) == decades


def test_the_summary_says_what_the_layer_costs_and_loses() -> None:
    weight = np.diag([3.0, 4.0])
    words = rank_state(weight, 1).summary(accuracy=0.9625, dense_accuracy=1)
    assert words == (
        "rank 1, plain: 4 parameters, 100.0 % of the dense 4; relative error of the weights 60.0 %; 96.3 % right "
        "(dense: 100.0 %)"
    )
    words = rank_state(weight, 2, kind=KINDS[1], covariance=np.eye(2)).summary(accuracy=1, dense_accuracy=1)
    assert words.startswith("rank 2, activation-aware: 8 parameters, 200.0 % of the dense 4, so more than without; ")
    assert "of the weights 0.0 %, of the outputs plain 0.0 %, activation-aware 0.0 %; 100.0 %" in words


def test_an_unknown_kind_and_a_missing_covariance_are_refused() -> None:
    with pytest.raises(ValueError, match=r"kind must be one of plain, activation-aware, got 'asvd'"):
        rank_state(np.eye(3), 1, kind="asvd")
    with pytest.raises(ValueError, match="needs a covariance of the layer's inputs"):
        rank_state(np.eye(3), 1, kind="activation-aware")


# ---- arguments

CURVE = [0.5] * 5


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"weight": np.ones((16, 8, 3, 3))}, r"weight must have shape \(m, n\).*got \(16, 8, 3, 3\).*flatten\(1\)"),
        ({"weight": np.ones((65, 70))}, "smaller side 2 to 64"),
        ({"weight": np.ones((2, 257))}, "larger up to 256"),
        ({"weight": np.ones((1, 20))}, "smaller side 2 to 64"),
        ({"weight": np.full((6, 20), np.nan)}, "weight must be finite"),
        ({"weight": np.zeros((6, 20))}, "weight must not be all zeros: was the layer pruned away"),
        ({"covariance": np.eye(6)}, r"covariance must have shape \(20, 20\).*got \(6, 6\).*X.T @ X / N"),
        ({"covariance": np.triu(np.ones((20, 20)))}, "covariance must be symmetric and positive"),
        ({"covariance": -np.eye(20)}, "covariance must be symmetric and positive"),
        ({"covariance": np.zeros((20, 20))}, "covariance must be symmetric and positive"),
        ({"ranks": [1, 2, 2, 4, 5]}, "ranks must be 2 to 20 rising whole numbers"),
        ({"ranks": [5, 4, 3, 2, 1]}, "ranks must be 2 to 20 rising"),
        ({"ranks": [1.0, 2, 3, 4, 5]}, "rising whole numbers"),
        ({"ranks": [3]}, r"ranks must be 2 to 20 .*got \[3\]"),
        ({"ranks": [0, 1, 2, 3, 4]}, "ranks must lie in 1 to 6"),
        ({"ranks": [1, 2, 3, 4, 7]}, "ranks must lie in 1 to 6, the smaller side of weight"),
        ({"accuracies": {"plain": CURVE}}, "accuracies must hold 'plain' and 'activation-aware', got .*'plain'"),
        ({"covariance": None}, "accuracies must hold 'plain', got .*not there without one"),
        ({"accuracies": dict.fromkeys("abcd", CURVE)}, "accuracies must hold one to 3 rows of numbers, got 4"),
        ({"accuracies": {"plain": CURVE, "activation-aware": [0.5] * 4}}, r"'activation-aware'\] must hold 5 numbers"),
        ({"accuracies": {"plain": [96.0] * 5, "activation-aware": CURVE}}, "must lie in 0 to 1.*shares"),
        ({"speedups": {}}, "speedups must hold one to 3 rows"),
        ({"speedups": {"1 image": [0.0] * 5}}, "must lie in 0.001 to 1000.*dense time over this one"),
        ({"dense_accuracy": 97}, "dense_accuracy must lie in 0 to 1"),
        ({"dense_accuracy": float("nan")}, "dense_accuracy must lie in"),
        ({"rank": 3}, r"rank must be one of the slider's steps \[1, 2, 4, 5, 6\], got 3"),
        ({"rank": True}, "rank must be one of the slider's steps"),
        ({"id": "Two Words"}, "id must be lower-case"),
    ],
)
def test_a_bad_argument_is_named_with_its_likely_cause(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        panel(**changes)


def test_tensors_that_still_train_are_taken_as_they_are() -> None:
    weight, _, second = layer(6, 20)
    made = panel(weight=nn.Parameter(torch.tensor(weight)), covariance=torch.tensor(second))
    assert made.html == panel().html


def test_it_starts_with_about_half_of_the_parameters_or_where_it_is_told() -> None:
    assert break_even(6, 20) == 4
    assert panel().data["step"] == RANKS.index(2)
    assert panel(rank=5).data["step"] == RANKS.index(5)
    assert panel(ranks=[3, 4, 5, 6], **four()).data["step"] == 0  # none is that small


def four() -> dict[str, Any]:
    return {"accuracies": {kind: [0.5] * 4 for kind in KINDS}, "speedups": {"1 image": [1.0] * 4}}


# ---- data


def test_the_data_are_the_matrix_and_its_components_within_half_a_digit() -> None:
    weight, _, second = layer(6, 20)
    data = panel().data
    gap = np.abs(np.array(data["weight"]["values"]).reshape(6, 20) * data["weight"]["unit"] - weight)
    assert (gap <= 0.501 * data["weight"]["unit"]).all()
    assert np.abs(data["weight"]["values"]).max() == 9999
    assert [one["name"] for one in data["kinds"]] == list(KINDS)
    for given in data["kinds"]:
        made = components(weight, kind=given["name"], covariance=second)
        left = np.array(given["left"]).reshape(6, 6).T * given["unit"]  # a vector is a column again
        assert np.abs(left - made.left).max() <= 0.501 * given["unit"]
        np.testing.assert_allclose(given["spectrum"], made.spectrum, rtol=1e-5)
        np.testing.assert_allclose(given["weightShares"], made.weight_shares, rtol=1e-5)
        np.testing.assert_allclose(given["outputShares"], made.output_shares, rtol=1e-5)


def test_the_kinds_come_first_and_one_more_way_is_a_line() -> None:
    curves = {"plain, then trained on": CURVE, **dict(reversed(panel_inputs()["accuracies"].items()))}
    names = [one["name"] for one in panel(accuracies=curves).data["accuracies"]]
    assert names == ["plain", "activation-aware", "plain, then trained on"]
    alone = panel(covariance=None, accuracies={"trained on": CURVE, "plain": CURVE}).data
    assert [one["name"] for one in alone["accuracies"]] == ["plain", "trained on"]
    assert [one["name"] for one in alone["kinds"]] == ["plain"]
    assert alone["kinds"][0]["outputShares"] is None


def test_the_accuracy_axis_begins_at_a_whole_tenth_under_all_of_them() -> None:
    for lowest, axis in ((0.5, 0.4), (0.55, 0.5), (0.05, 0.0), (0.92, 0.9)):
        curves = {"plain": [lowest, 0.93, 0.95, 0.96, 0.97], "activation-aware": [0.94] * 5}
        assert panel(accuracies=curves).data["lowest"] == axis
    assert panel(accuracies={kind: [0.9999] * 5 for kind in KINDS}, dense_accuracy=0.31).data["lowest"] == 0.3


def test_a_panel_of_the_largest_size_stays_small() -> None:
    random = np.random.default_rng(0)
    weight, inputs = random.normal(size=(64, 144)), random.normal(size=(300, 144))
    made = rank_explorable(**panel_inputs(weight=weight, covariance=inputs.T @ inputs / 300))
    assert len(json.dumps(made.data, separators=(",", ":"))) < 120_000


# ---- the markup


def test_the_same_input_gives_the_same_bytes() -> None:
    assert rank_explorable(**panel_inputs())._repr_mimebundle_() == panel()._repr_mimebundle_()


def test_without_scripts_there_is_a_described_picture_and_a_table_of_every_rank() -> None:
    weight, _, second = layer(6, 20)
    markup = panel().html
    (alt,) = re.findall(r'<img alt="([^"]+)"', markup)
    assert "rank 2, plain: 52 parameters, 43.3 % of the dense 120" in alt
    head = re.findall(r'<th scope="col">([^<]+)</th>', markup)
    assert head[3:7] == [f"error of {what}, {kind}" for what in ("weights", "outputs") for kind in KINDS]
    rows = re.findall(r'<tr><th scope="row">(\d+)</th>((?:<td>[^<]+</td>)+)</tr>', markup)
    assert [int(rank) for rank, _ in rows] == RANKS
    for at, (rank, cells) in enumerate(rows):
        texts = re.findall("<td>([^<]+)</td>", cells)
        states = [rank_state(weight, int(rank), kind=kind, covariance=second) for kind in KINDS]
        assert texts[:2] == [count_text(26 * int(rank)), percent_text(26 * int(rank) / 120)]
        assert texts[2:4] == [percent_text(state.weight_error) for state in states]
        assert texts[4:6] == [percent_text(error) for error in states[0].output_errors.values()]
        assert texts[6:8] == [percent_text(values[at]) for values in panel_inputs()["accuracies"].values()]
        assert texts[8:] == [f"{values[at]:.2f}×" for values in panel_inputs()["speedups"].values()]


def test_data_are_plain_json_and_a_hostile_name_stays_text() -> None:
    hostile = "</script><script>alert(1)</script>"
    markup = panel(speedups={hostile: [1.23456] * 5}).html
    assert "<script>alert" not in markup
    block = re.search(r'class="kd-data">(.*?)</script>', markup, re.S)
    assert block is not None
    assert json.loads(block.group(1))["speedups"] == [{"name": hostile, "values": [1.2346] * 5}]


def test_plain_text_is_one_stable_sentence() -> None:
    text = panel(rank=6)._repr_mimebundle_()["text/plain"]
    assert "\n" not in text
    assert text == (
        "Rank panel (6 × 20, r from 1 to 6), at rank 6, plain: 156 parameters, 130.0 % of the dense 120, so more than "
        "without; relative error of the weights 0.0 %, of the outputs plain 0.0 %, activation-aware 0.0 %; 97.0 % "
        "right (dense: 97.0 %)."
    )


def test_the_still_draws_the_state_it_is_given() -> None:
    weight, _, second = layer(6, 20)
    state = rank_state(weight, 4, kind="activation-aware", covariance=second)
    given = panel_inputs()
    figure = rank_figure(
        weight, state, given["accuracies"], given["speedups"], ranks=RANKS, dense_accuracy=given["dense_accuracy"]
    )
    spectrum, skill, bars, *maps = figure.axes
    kept, dropped, _ = spectrum.lines
    np.testing.assert_allclose(kept.get_ydata(), state.spectrum[:4] / state.spectrum[0])
    np.testing.assert_allclose(dropped.get_ydata(), state.spectrum[4:] / state.spectrum[0])
    assert dropped.get_markerfacecolor() == "white"
    assert kept.get_markerfacecolor() != "white"
    assert [list(line.get_ydata()) for line in skill.lines[:4:2]] == list(given["accuracies"].values())
    assert [list(line.get_xydata()[0]) for line in skill.lines[1:4:2]] == [[4, 0.9], [4, 0.95]]
    assert list(skill.lines[4].get_ydata()) == [0.97, 0.97]
    assert skill.patches[0].get_x() == pytest.approx(120 / 26)  # where grey begins
    assert [bar.get_width() for bar in bars.patches] == pytest.approx([104 / 120, 0.85, 1.1])
    for axes, values in zip(maps, (weight, state.approximation, weight - state.approximation), strict=True):
        np.testing.assert_allclose(axes.images[0].get_array(), values)
        assert axes.images[0].get_clim() == (-np.abs(weight).max(), np.abs(weight).max())
