"""All panels on one page, each with a script of its own: alive, independent, and each with all of its rules."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import harness
import numpy as np
import pytest
import torch

from kdlab.lab import (
    SPARSITIES,
    descent_explorable,
    features_explorable,
    loss_explorable,
    playground_explorable,
    pruning_explorable,
    rank_explorable,
    seeds_explorable,
    temperature_explorable,
    width_explorable,
)
from kdlab.lab.explorable import Explorable
from kdlab.models import SmallCNN
from kdlab.training import seeded

if TYPE_CHECKING:
    from playwright.sync_api import Page

PANELS = ("temperature", "width", "loss", "descent", "seeds", "features", "playground", "pruning", "rank")

# Every element's looks and size, by the panel that it is in.
_LOOKS = """root => [...root.querySelectorAll(".kd-live, .kd-live *")].map((node) => {
  const style = getComputedStyle(node);
  const box = node.getBoundingClientRect();
  return [node.tagName, node.getAttribute("class"), Math.round(10 * box.width), Math.round(10 * box.height),
    ...["display", "grid-column", "grid-template-columns", "margin", "padding", "border", "font", "color",
      "background-color", "fill", "stroke", "stroke-width", "max-width"].map((name) => style.getPropertyValue(name))];
})"""


@functools.cache
def explorables() -> dict[str, Explorable]:
    teacher = [[5.0, 3.1, 3.6, -2.5], [2.2, 4.8, 1.6, -2.0]]
    scores = {"hard": [0.81, 0.82, 0.80], "soft": [0.84, 0.83, 0.85], "both": [0.80, 0.86, 0.83]}
    made = [
        temperature_explorable(np.eye(8)[None].repeat(2, axis=0), teacher, [0, 1]),
        width_explorable(
            np.linspace(0.1, 0.97, 8),
            {"1 image": np.linspace(7, 1, 8)},
            teacher_parameters=151_306,
            teacher_macs=1_330_432,
            teacher_accuracy=0.98,
        ),
        loss_explorable([[0, 0, 0, 0], [-1.0, 6, 0.5, -2]], teacher, [0, 0], names=["undecided", "wrong"]),
        descent_explorable([3, 6, 2.5, 5], 3, class_names=["coat", "dress", "bag", "boot"], temperature=2, alpha=0.8),
        seeds_explorable(scores, baseline="hard", count=2),
        _features_panel(),
        playground_explorable(),
        _pruning_panel(),
        _rank_panel(),
    ]
    return {panel.panel: panel for panel in made}


def _features_panel() -> Explorable:
    with seeded(0):
        teacher, student, images = SmallCNN(8), SmallCNN(2), torch.rand(4, 1, 8, 8)
    layers = ["features.1", "features.4"]
    return features_explorable(
        teacher, {"untrained": student}, images, [0, 0, 1, 1], teacher_layers=layers, student_layers=layers
    )


def _pruning_panel() -> Explorable:
    weights = {"features": np.linspace(-1, 1, 24).reshape(4, 6), "output": np.linspace(-0.5, 0.4, 30).reshape(3, 10)}
    curves = {"pruned": np.linspace(0.97, 0.1, len(SPARSITIES))}
    sizes = {"dense": [900] * len(SPARSITIES), "csr": range(1800, 200, -100)}
    scopes = ("global", "per layer")
    return pruning_explorable(weights, dict.fromkeys(scopes, curves), dict.fromkeys(scopes, sizes), sparsity=0.5)


def _rank_panel() -> Explorable:
    weight = np.random.default_rng(0).normal(size=(6, 20))
    curves = {"plain": [0.5, 0.8, 0.9, 0.95], "activation-aware": [0.6, 0.85, 0.93, 0.95]}
    speed = {"1 image": [0.9, 0.9, 0.85, 0.8]}
    moments = np.diag(np.geomspace(1, 0.1, 20))
    return rank_explorable(weight, curves, speed, ranks=[1, 2, 4, 6], covariance=moments, dense_accuracy=0.95)


def show(page: Page, names: Sequence[str]) -> None:
    page.set_content("<!doctype html><body>" + "\n".join(explorables()[name].html for name in names))


def summaries(page: Page) -> dict[str, str]:
    lines = "roots => roots.map((root) => [root.dataset.kdPanel, root.querySelector('.kd-summary').textContent])"
    return dict(page.locator(".kd-explorable").evaluate_all(lines))


def looks(page: Page, name: str) -> Any:
    return page.locator(f'[data-kd-panel="{name}"]').evaluate(_LOOKS)


def test_every_panel_lives_beside_the_others_and_moves_alone(page: Page) -> None:
    errors = harness.watch_errors(page)
    before = set(page.evaluate("Object.keys(window)"))
    show(page, PANELS)
    assert page.locator(".kd-explorable > .kd-live").count() == len(PANELS)
    assert page.locator(".kd-fallback:visible").count() == 0
    assert set(page.evaluate("Object.keys(window)")) == before
    for name in PANELS:
        others = summaries(page)
        page.locator(f'[data-kd-panel="{name}"] input[type=range]').first.press("ArrowLeft")
        moved = summaries(page)
        assert {other for other in PANELS if moved[other] != others[other]} == {name}
    assert errors == []


def test_a_script_leaves_the_panels_of_others_and_what_lives_alone(page: Page) -> None:
    show(page, PANELS)
    page.locator('[data-kd-panel="width"] input[type=range]').press("Home")
    said = summaries(page)
    again = "scripts => scripts.forEach((script) => new Function(script.textContent)())"
    page.locator("body > script").evaluate_all(again)
    assert summaries(page) == said
    assert page.locator(".kd-live").count() == len(PANELS)

    markup = {name: panel.html for name, panel in explorables().items()}
    elements = [text[: text.rindex("<script>")] for text in markup.values()]
    page.set_content("<!doctype html><body>" + "".join(elements) + markup["loss"][markup["loss"].rindex("<script>") :])
    assert page.locator(".kd-live").count() == 1
    assert page.locator('[data-kd-panel="loss"] .kd-live').count() == 1


@pytest.mark.parametrize("width", [1280, 640, 480])
def test_a_panel_looks_the_same_alone_first_and_last(page: Page, width: int) -> None:
    """Every panel brings a style element, and the rules of one must not depend on which came last."""
    page.set_viewport_size({"width": width, "height": 900})
    alone = {}
    for name in PANELS:
        show(page, [name])
        alone[name] = looks(page, name)
    for order in (PANELS, PANELS[::-1]):
        show(page, order)
        for name in PANELS:
            assert looks(page, name) == alone[name], f"{name} in {order} at {width} pixels"
