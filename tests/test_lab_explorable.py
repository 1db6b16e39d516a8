"""Explorables without a browser: arguments, arithmetic, and what a page without scripts still says."""

from __future__ import annotations

import functools
import json
import math
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from kdlab.lab import explorable
from kdlab.lab.explorable import TEMPERATURES, Explorable, _script, temperature_explorable
from kdlab.lab.figures import logit_axis, temperature_figure
from kdlab.lab.theme import COLORS
from kdlab.lab.twins import temperature_state

N, K = 4, 10
STATIC = Path(explorable.__file__).parent / "static"
PANELS = sorted(path.stem for path in STATIC.glob("panels/*.js"))


def inputs(**changes: Any) -> dict[str, Any]:
    generator = np.random.default_rng(0)
    made = {
        "images": generator.random((N, 1, 8, 8)),
        "logits": generator.normal(scale=4, size=(N, K)),
        "labels": np.array([8, 3, 0, 9]),
    }
    return {**made, **changes}


@functools.cache
def _default_panel() -> Explorable:
    return temperature_explorable(**inputs())


def panel(**changes: Any) -> Explorable:
    if not changes:
        return _default_panel()  # drawing its picture is the slow part
    return temperature_explorable(**inputs(**changes))


class Elements(HTMLParser):
    """Collects every start tag of a piece of markup."""

    def __init__(self, markup: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(markup)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


# ---- the twin


@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_the_twin_equals_torch(temperature: float) -> None:
    logits = torch.tensor(inputs()["logits"])
    for row in logits:
        state = temperature_state(row, temperature)
        expected = torch.softmax(row / temperature, dim=-1)
        torch.testing.assert_close(torch.tensor(state.probabilities), expected, rtol=1e-12, atol=1e-15)
        distribution = torch.distributions.Categorical(probs=expected)
        assert state.entropy == pytest.approx(distribution.entropy().item(), abs=1e-6)
        others = torch.cat([expected[: state.top], expected[state.top + 1 :]])
        shares = (others / others.sum()).sort(descending=True).values
        torch.testing.assert_close(torch.tensor(state.second_thoughts, dtype=torch.float64), shares)


def test_the_ranking_does_not_depend_on_the_temperature() -> None:
    row = inputs()["logits"][0]
    rankings = {(temperature_state(row, t).top, temperature_state(row, t).ranking) for t in TEMPERATURES}
    assert len(rankings) == 1


def test_entropy_runs_from_zero_to_ln_k() -> None:
    row = inputs()["logits"][1]
    entropies = [temperature_state(row, t).entropy for t in (1e-3, *TEMPERATURES, 1e6)]
    assert entropies == sorted(entropies)
    assert entropies[0] == 0
    assert entropies[-1] == pytest.approx(math.log(K), abs=1e-9)


def test_second_thoughts_survive_a_teacher_that_is_certain() -> None:
    state = temperature_state([100.0, 1.0, 0.0, -1.0], 0.25)
    assert state.probabilities[0] == 1
    assert state.rest == pytest.approx(math.exp(-4 * 99) + math.exp(-4 * 100) + math.exp(-4 * 101), rel=1e-9)
    assert state.second_thoughts == pytest.approx(torch.softmax(torch.tensor([4.0, 0.0, -4.0]), 0).tolist(), rel=1e-6)


def test_equal_logits_are_ranked_by_class() -> None:
    state = temperature_state([0.0, 1.0, 1.0, 0.0], 2.0)
    assert (state.top, state.ranking) == (1, (2, 0, 3))


@pytest.mark.parametrize(
    ("row", "temperature", "words"),
    [
        ([[1.0, 2.0, 3.0]], 1.0, "whole batch"),
        ([1.0, 2.0], 1.0, "at least 3 classes"),
        ([1.0, math.nan, 3.0], 1.0, "finite"),
        ([1.0, 2.0, 3.0], 0.0, "positive"),
        ([1.0, 2.0, 3.0], math.inf, "positive"),
    ],
)
def test_the_twin_refuses_what_has_no_answer(row: Any, temperature: float, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        temperature_state(row, temperature)


# ---- arguments


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"images": np.zeros((N, 64))}, r"images must have shape .*reshape\(-1, 8, 8\)"),
        ({"images": np.zeros((8, 8))}, "images must have shape"),
        ({"images": np.full((N, 8, 8), 16.0)}, "images must lie in 0..1.*division by 16"),
        ({"images": np.zeros((13, 8, 8))}, "at most 12"),
        ({"images": np.zeros((N, 28, 28))}, "at most 16 pixels"),
        ({"images": [["a", "b"]]}, "images must be numbers"),
        ({"logits": np.zeros((N + 1, K))}, r"logits must have shape \(4, K\).*same rows"),
        ({"logits": np.zeros((N, 2))}, "3 to 20 classes"),
        ({"logits": np.full((N, K), np.nan)}, "logits must be finite.*diverge"),
        ({"logits": np.full((N, K), 0.1)}, "are these probabilities"),
        ({"labels": [1, 2, 3]}, r"labels must have shape \(4,\)"),
        ({"labels": [1, 2, 3, 10]}, "classes from 0 to 9"),
        ({"labels": [1, 2, 3, 0.5]}, "classes from 0 to 9"),
        ({"class_names": ["cat", "dog"]}, "class_names must hold 10 names"),
        ({"image": 4}, "index from 0 to 3, got 4"),
        ({"image": True}, "index from 0 to 3"),
        ({"temperature": 3}, r"one of the slider's steps \(0.25, .*got 3"),
        ({"temperature": "warm"}, "one of the slider's steps"),
        ({"id": "My Panel"}, "id must be lower-case"),
    ],
)
def test_a_bad_argument_is_named_with_its_likely_cause(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        panel(**changes)


def test_tensors_that_need_a_gradient_are_welcome() -> None:
    made = inputs()
    logits = torch.tensor(made["logits"], dtype=torch.float32, requires_grad=True)
    same = temperature_explorable(torch.tensor(made["images"]), logits, torch.tensor(made["labels"]))
    assert same.data["logits"] == panel(logits=made["logits"].astype(np.float32)).data["logits"]


# ---- the markup


def test_the_same_input_gives_the_same_bytes() -> None:
    assert temperature_explorable(**inputs())._repr_mimebundle_() == panel()._repr_mimebundle_()


def test_nothing_is_loaded_from_anywhere() -> None:
    markup = panel().html
    for tag, attributes in Elements(markup).found:
        assert tag not in {"link", "iframe", "object", "embed", "base"}
        for name in ("src", "href", "srcset", "action", "data"):
            value = attributes.get(name)
            assert value is None or value.startswith("data:image/png;base64,"), (tag, name, value)
    code = markup.replace("http://www.w3.org/2000/svg", "")  # a name, not an address: nothing is fetched
    for way_out in (r"https?://", r"//cdn", r"@import", r"url\(", r"fetch\(", r"XMLHttpRequest", r"\bimport\("):
        assert not re.search(way_out, code), way_out


def test_without_scripts_there_is_a_described_picture_and_a_table() -> None:
    markup = panel().html
    pictures = [attributes for tag, attributes in Elements(markup).found if tag == "img"]
    assert len(pictures) == 1
    state = temperature_state(panel().data["logits"][0], 1.0)
    assert state.summary() in (pictures[0]["alt"] or "")
    assert "labelled 8" in (pictures[0]["alt"] or "")
    assert markup.count("<tr>") == K + 1


def test_data_are_json_rounded_to_four_decimals() -> None:
    markup = panel().html
    block = re.search(r'<script type="application/json" class="kd-data">(.*?)</script>', markup, re.S)
    assert block is not None
    data = json.loads(block.group(1))
    np.testing.assert_array_equal(data["logits"], inputs()["logits"].round(4))
    assert data["colors"] == COLORS
    assert not re.search(r"\d\.\d{5,}", block.group(1))


def test_a_hostile_class_name_stays_text() -> None:
    names = ["</script><script>alert(1)</script>", *"bcdefghij"]
    markup = panel(class_names=names, labels=[0, 0, 0, 0]).html
    assert "<script>alert" not in markup
    assert markup.count("</script>") == 2


def test_the_id_is_the_callers_and_fixed() -> None:
    assert 'id="kd-temperature"' in panel().html
    assert 'id="kd-second"' in panel(id="second").html


def test_plain_text_is_one_stable_sentence() -> None:
    text = panel(temperature=4)._repr_mimebundle_()["text/plain"]
    assert text == repr(panel(temperature=4))
    assert "\n" not in text
    assert "T = 4: top class" in text


# ---- the figure


def test_the_figure_draws_the_state_it_is_given() -> None:
    made = inputs()
    state = temperature_state(made["logits"][0], 4.0)
    figure = temperature_figure(made["images"][0], made["logits"][0], 8, 4.0)
    _, logits, probabilities, others, entropy = figure.axes
    widths = [bar.get_width() for bar in probabilities.patches[:K]]
    np.testing.assert_allclose(widths, state.probabilities)
    np.testing.assert_allclose([bar.get_width() for bar in logits.patches[K : 2 * K]], state.scaled)
    np.testing.assert_allclose([bar.get_width() for bar in others.patches[:3]], state.second_thoughts[:3])
    assert entropy.lines[-1].get_ydata()[0] == pytest.approx(state.entropy)


def test_the_figure_refuses_a_label_that_is_no_class() -> None:
    with pytest.raises(ValueError, match="label must be a class from 0 to 9, got 10"):
        temperature_figure(np.zeros((8, 8)), np.arange(10.0), 10, 1.0)


@pytest.mark.parametrize("values", [[-4.0, 11.5], [0.0, 0.0], [2.0, 3.0], [-0.02, -0.5], [-1200.0, 900.0]])
def test_the_logit_axis_holds_zero_and_everything(values: list[float]) -> None:
    (low, high), ticks = logit_axis(values)
    assert low <= min(0, *values)
    assert high >= max(0, *values)
    assert 0 in ticks
    assert 2 <= len(ticks) <= 7
    assert all(low <= tick <= high for tick in ticks)


# ---- the scripts: a core and a file for each panel


def test_an_output_holds_its_own_panel_and_no_other() -> None:
    for name in PANELS:
        script = _script(name)
        assert [other for other in PANELS if f"function {other}Panel(" in script] == [name]
        assert script.count("function mount(") == 1
        assert "// @panel" not in script


def test_a_panel_takes_no_name_of_the_core() -> None:
    """They share a scope: a function of the same name would silently replace the core's."""
    taken = set(re.findall(r"^  (?:function|const|let) (\w+)", (STATIC / "explorables.js").read_text("utf-8"), re.M))
    assert "softmax" in taken
    for name in PANELS:
        text = (STATIC / f"panels/{name}.js").read_text("utf-8")
        own = re.findall(r"^(?:function|const|let) (\w+)", text, re.M)
        assert len(own) == len(set(own))
        assert set(own) & taken == set()


def test_a_panels_rules_outweigh_the_cores() -> None:
    for name in PANELS:
        style = (STATIC / f"panels/{name}.js").read_text("utf-8").split("style: `")[1].split("`")[0]
        selectors = [part for rule in re.findall(r"([^{}]+)\{", style) for part in rule.split(",")]
        for selector in selectors:
            assert selector.strip().startswith((".kd-explorable .kd-live ", "@container")), (name, selector)


def test_a_panel_that_does_not_exist_is_named() -> None:
    with pytest.raises(ValueError, match=r"panel must be one of descent, .*got 'nope'"):
        Explorable("nope", name="nope", title="", data={}, fallback="", text="")
