"""The pruning panel without a browser: its twin against ``kdlab.pruning``, its arguments, its data, its still."""

from __future__ import annotations

import json
import re
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.colors import to_hex

from kdlab.lab import pruning_twin as twin
from kdlab.lab.explorable import Explorable
from kdlab.lab.pruning_panel import pruning_explorable, pruning_figure
from kdlab.lab.pruning_twin import SCOPES, SPARSITIES, pruning_state
from kdlab.lab.theme import COLORS
from kdlab.models import SmallCNN
from kdlab.training import seeded

LAYERS = ("features.0", "features.2", "classifier.2", "classifier.4")
STEPS = len(SPARSITIES)


@cache
def weights() -> dict[str, torch.Tensor]:
    with seeded(0):
        model = SmallCNN(8)
    return {name: model.get_submodule(name).weight.detach() for name in LAYERS}


def stored(given: dict[str, Any] | None = None) -> dict[str, np.ndarray]:
    """As the panel holds them."""
    given = given or weights()
    return {
        name: np.rint(np.asarray(w, dtype=np.float64) * 1e5).astype(int).reshape(len(w), -1)
        for name, w in given.items()
    }


def inputs(**changes: Any) -> dict[str, Any]:
    falling = np.linspace(0.97, 0.1, STEPS)
    accuracies = {
        "global": {"pruned": falling, "pruned, then trained on": falling**0.5},
        "per layer": {"pruned": falling**2, "pruned, then trained on": falling},
    }
    left = 1 - np.array(SPARSITIES)
    sizes = {
        "dense": [39_808] * STEPS,
        "bitmap": [int(2_000 + 38_944 * s + 1_217) for s in left],
        "csr": [int(2_000 + 2 * 38_944 * s) for s in left],
    }
    latency = {"1 image": np.linspace(1.0, 0.95, STEPS)}
    return {
        "weights": weights(),
        "accuracies": accuracies,
        "files": {"global": sizes, "per layer": {**sizes, "csr": [n + 4 for n in sizes["csr"]]}},
        "latency": latency,
        **changes,
    }


@cache
def _default_panel() -> Explorable:
    return pruning_explorable(**inputs())


def panel(**changes: Any) -> Explorable:
    return pruning_explorable(**inputs(**changes)) if changes else _default_panel()


# ---- the twin


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("sparsity", SPARSITIES)
def test_exactly_the_rounded_number_of_weights_goes_and_none_that_stays_is_smaller(sparsity: float, scope: str) -> None:
    state = pruning_state(stored(), sparsity, scope)
    groups = [LAYERS] if scope == "global" else [(name,) for name in LAYERS]
    for names in groups:
        sizes = np.concatenate([np.abs(stored()[name]).ravel() for name in names])
        kept = np.concatenate([state.kept[name].ravel() for name in names])
        assert (~kept).sum() == round(sparsity * len(sizes))
        if (~kept).any():
            assert sizes[~kept].max() <= sizes[kept].min()
            assert {state.thresholds[name] for name in names} == {sizes[~kept].max() / 1e5}
        else:
            assert {state.thresholds[name] for name in names} == {None}
    assert state.left == {name: int(mask.sum()) for name, mask in state.kept.items()}
    assert state.share_left == pytest.approx(1 - sparsity, abs=4 / sum(state.sizes.values()))


@pytest.mark.parametrize(("scope", "theirs"), [("global", "global"), ("per layer", "layer")])
@pytest.mark.parametrize("sparsity", [0.0, 0.5, 0.9, 0.99])
def test_the_masks_are_those_of_kdlab_pruning(sparsity: float, scope: str, theirs: str) -> None:
    pruning = pytest.importorskip("kdlab.pruning")
    with seeded(0):
        model = SmallCNN(8)
    masks = pruning.magnitude_mask(model, sparsity, scope=theirs)
    state = pruning_state(stored(), sparsity, scope)
    for name in LAYERS:
        differ = (masks[f"{name}.weight"].reshape(len(state.kept[name]), -1).numpy() != state.kept[name]).sum()
        assert differ <= 4  # five decimals make neighbours of the threshold equal


def test_halves_round_to_even_and_of_equals_the_earlier_goes() -> None:
    ties = {"a": np.array([[5, -5, 5]]), "b": np.array([[-5, 5]])}
    assert pruning_state(ties, 0.5, "global").kept["a"].tolist() == [[False, False, True]]  # round(2.5) = 2
    assert pruning_state(ties, 0.5, "per layer").kept["a"].tolist() == [[False, False, True]]  # round(1.5) = 2
    assert pruning_state(ties, 0.5, "per layer").kept["b"].tolist() == [[False, True]]
    assert pruning_state(ties, 0.9, "per layer").left == {"a": 0, "b": 0}


def test_global_takes_from_the_layer_of_small_weights_and_per_layer_from_each() -> None:
    pair = {"small": np.arange(1, 101).reshape(10, 10), "large": np.arange(1001, 1101).reshape(10, 10)}
    assert pruning_state(pair, 0.5, "global").left == {"small": 0, "large": 100}
    alone = pruning_state(pair, 0.5, "per layer")
    assert alone.left == {"small": 50, "large": 50}
    assert alone.thresholds == {"small": 50e-5, "large": 1050e-5}


def test_the_histogram_counts_every_weight_once_and_is_symmetric_about_zero() -> None:
    values = stored()["classifier.2"]
    state = pruning_state(stored(), 0.8, "global")
    every, left = twin.histogram(values, state.kept["classifier.2"])
    assert (len(every), every.sum(), left.sum()) == (61, values.size, state.left["classifier.2"])
    assert (left <= every).all()
    middle = np.abs(values) < np.abs(values).max() / 61
    assert abs(int(every[30]) - int(middle.sum())) <= 5  # on the edges
    assert left[30] == 0
    few = np.array([[-7, 0, 7]])
    assert np.flatnonzero(twin.histogram(few, few == few)[0]).tolist() == [0, 12, 24]
    assert twin.histogram(np.zeros((2, 2), dtype=int), np.ones((2, 2), dtype=bool))[0].sum() == 4


def test_the_summary_names_what_is_left_and_which_format_is_larger_than_dense() -> None:
    state = pruning_state(stored(), 0.0, "global")
    curves, sizes = {"pruned": [0.5] * STEPS}, {"dense": [10] * STEPS, "bitmap": [10] * STEPS, "csr": [1234] * STEPS}
    words = twin.pruning_summary(state, "features.0", curves, sizes)
    assert words == (
        "sparsity 0 %, global: 9,736 of 9,736 weights left, in features.0 72 of 72 (nothing goes); right: 50.0 % "
        "pruned; bytes of the file: dense 10, bitmap 10, csr 1,234 (larger than dense)"
    )
    words = twin.pruning_summary(
        pruning_state(stored(), 0.93, "per layer"), "features.0", curves, sizes, {"1 image": [0.994] * STEPS}
    )
    assert words.startswith("sparsity 93 %, per layer: 681 of 9,736 weights left, in features.0 5 of 72 (t = 0.3")
    assert words.endswith("; speed (dense is 1×): 0.99× on 1 image")


@pytest.mark.parametrize("sparsity", [-0.1, 1.0, float("nan")])
def test_a_sparsity_that_is_no_share_is_refused(sparsity: float) -> None:
    with pytest.raises(ValueError, match="sparsity must be a share of at least 0 and less than 1"):
        pruning_state(stored(), sparsity, "global")
    with pytest.raises(ValueError, match="scope must be one of global, per layer, got 'layer'"):
        pruning_state(stored(), 0.5, "layer")


# ---- arguments


def _with(argument: str, scope: str, **entries: Any) -> dict[str, Any]:
    """One argument with some of a scope's entries changed."""
    given = inputs()[argument]
    return {argument: {**given, scope: {**given[scope], **entries}}}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"weights": {}}, "weights must name 1 to 8, got 0"),
        (
            {"weights": {"bias": torch.ones(4)}},
            r"weights\['bias'\] must have shape \(out, ...\).*got \(4,\): is it a bias",
        ),
        ({"weights": {"a": [[float("nan")]]}}, r"weights\['a'\] must be finite.*diverge"),
        ({"weights": {"a": np.ones((201, 100))}}, "at most 20,000 numbers in all, got 20,100: take a few layers"),
        ({"accuracies": inputs()["accuracies"]["global"]}, "accuracies must hold 'global' and 'per layer', got"),
        (_with("accuracies", "global", more=[0.5] * STEPS), "accuracies must name the same for both scopes"),
        (_with("accuracies", "global", pruned=[0.5] * 3), r"accuracies\['global'\]\['pruned'\] must hold 16 numbers"),
        (_with("accuracies", "per layer", pruned=[96] * STEPS), "must lie in 0 to 1.*accuracies are shares"),
        (_with("files", "global", csr=[0] * STEPS), r"files\['global'\]\['csr'\] must lie in 1 to"),
        (_with("files", "per layer", dense=[39_000] * STEPS), "the same dense file at sparsity 0 for both scopes"),
        ({"files": {scope: {"csr": [9] * STEPS} for scope in SCOPES}}, "files must hold the format 'dense'"),
        ({"latency": {str(i): [1] * STEPS for i in range(4)}}, "latency must name 1 to 3, got 4"),
        ({"latency": {"1 image": [0] * STEPS}}, r"latency\['1 image'\] must lie in 0.001"),
        ({"sparsity": 0.91}, r"sparsity must be one of the slider's steps \(0.0, 0.1, .*got 0.91"),
        ({"sparsity": False}, "sparsity must be one of"),
        ({"scope": "layer"}, "scope must be one of global, per layer, got 'layer'"),
        ({"layer": "features.9"}, r"layer must be one of \['features.0', .*got 'features.9'"),
        ({"id": "Two Words"}, "id must be lower-case"),
    ],
)
def test_a_bad_argument_is_named_with_its_likely_cause(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        panel(**changes)


# ---- data


def test_the_data_are_the_weights_in_five_decimals_and_what_was_measured() -> None:
    data = panel().data
    assert [layer["name"] for layer in data["layers"]] == list(LAYERS)
    for layer, (name, weight) in zip(data["layers"], weights().items(), strict=True):
        assert (layer["rows"], layer["rows"] * layer["columns"]) == (len(weight), weight.numel())
        np.testing.assert_allclose(np.array(layer["values"]) / data["unit"], weight.flatten().numpy(), atol=5.01e-6)
        assert 1 <= (np.abs(layer["values"]) > layer["full"]).sum() <= 1 + weight.numel() // 100, name
    assert data["layers"][1]["shape"] == "16 × 8 × 3 × 3"
    assert data["start"] == {"step": 0, "scope": 0, "layer": 2}  # the largest
    assert [entry["name"] for entry in data["files"]["per layer"]] == ["dense", "bitmap", "csr"]
    assert data["files"]["per layer"][2]["values"] == inputs()["files"]["per layer"]["csr"]
    assert data["accuracies"]["per layer"][0]["values"] == pytest.approx(np.linspace(0.97, 0.1, STEPS) ** 2, abs=5e-5)
    assert len(json.dumps(data, separators=(",", ":"))) < 70_000


def test_a_start_is_where_it_was_asked_for() -> None:
    made = panel(sparsity=0.97, scope="per layer", layer="features.2")
    assert made.data["start"] == {"step": SPARSITIES.index(0.97), "scope": 1, "layer": 1}
    assert "sparsity 97 %, per layer: 293 of 9,736 weights left, in features.2 35 of 1,152 (t = 0.1" in repr(made)


def test_nothing_timed_leaves_no_word_on_speed() -> None:
    made = panel(latency=None)
    assert made.data["latency"] == []
    assert "speed" not in repr(made)
    assert "speed (dense is 1×): 1.00× on 1 image" in repr(panel())


def test_the_weights_of_the_caller_stay_as_they_are() -> None:
    before = {name: weight.clone() for name, weight in weights().items()}
    panel(sparsity=0.9)
    assert all(torch.equal(before[name], weight) for name, weight in weights().items())


# ---- the markup


def test_the_same_input_gives_the_same_bytes() -> None:
    assert pruning_explorable(**inputs())._repr_mimebundle_() == panel()._repr_mimebundle_()


def test_without_scripts_there_is_a_described_picture_and_a_table_of_every_sparsity() -> None:
    markup = panel(scope="per layer").html
    (alt,) = re.findall(r'<img alt="([^"]+)"', markup)
    assert "The weights of classifier.2 as squares, pruned ones blank" in alt
    assert "sparsity 0 %, per layer: 9,736 of 9,736 weights left" in alt
    rows = re.findall(r'<tr><th scope="row">([^<]+)</th>((?:<td>[^<]+</td>){10})</tr>', markup)
    assert [row[0] for row in rows] == [f"{round(100 * s)} %" for s in SPARSITIES]
    cells = re.findall("<td>([^<]+)</td>", rows[SPARSITIES.index(0.9)][1])
    assert cells[:4] == ["7", "115", "819", "32"]
    assert cells[6:9] == [f"{n[10]:,}" for n in inputs()["files"]["per layer"].values()]


def test_data_are_plain_json_and_a_hostile_name_stays_text() -> None:
    hostile = "</script><script>alert(1)</script>"
    markup = panel(weights={hostile: torch.ones(2, 3)}, accuracies={s: {hostile: [0.5] * STEPS} for s in SCOPES}).html
    assert "<script>alert" not in markup
    block = re.search(r'class="kd-data">(.*?)</script>', markup, re.S)
    assert block is not None
    assert json.loads(block.group(1))["layers"][0]["name"] == hostile


def test_plain_text_is_one_stable_sentence() -> None:
    text = panel()._repr_mimebundle_()["text/plain"]
    assert "\n" not in text
    assert text.startswith("Pruning panel (4 layers, 9,736 weights, sparsity from 0 % to 99 %). sparsity 0 %, global: ")


def test_the_still_draws_the_state_it_is_asked_for() -> None:
    given = inputs()
    del given["latency"]
    figure = pruning_figure(**given, sparsity=0.5, scope="per layer", layer="features.2")
    picture, bars, left, skill, files = figure.axes
    state = pruning_state(stored(), 0.5, "per layer")
    shown = picture.images[0].get_array()
    assert (~np.ma.getmaskarray(shown) == state.kept["features.2"]).all()
    np.testing.assert_array_equal(shown.compressed(), stored()["features.2"][state.kept["features.2"]])
    every, kept = twin.histogram(stored()["features.2"], state.kept["features.2"])
    assert [bar.get_height() for bar in bars.patches] == [*kept, *(every - kept)]
    assert [line.get_xdata()[0] for line in bars.lines] == [side * state.thresholds["features.2"] for side in (-1, 1)]
    assert [bar.get_width() for bar in left.patches] == [state.left[name] / state.sizes[name] for name in LAYERS]
    for line, shares in zip(skill.lines, given["accuracies"]["per layer"].values(), strict=True):
        np.testing.assert_allclose(line.get_ydata(), shares, atol=5e-5)
        assert line.get_markevery() == [SPARSITIES.index(0.5)]
    written = [values[SPARSITIES.index(0.5)] for values in given["files"]["per layer"].values()]
    assert [bar.get_width() for bar in files.patches] == written
    assert [to_hex(bar.get_facecolor(), keep_alpha=False).upper() for bar in files.patches] == [
        COLORS["vermillion" if value > written[0] else "blue"] for value in written
    ]
    assert written[2] > written[0] > written[1]
    assert [text.get_text().endswith("larger than dense") for text in files.texts] == [False, False, True]
