"""The rank panel in a real browser: its numbers against truncated factors, its keys, its speed, its looks."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import harness
import numpy as np
import pytest

from kdlab.lab.rank_twin import KINDS, RankState, rank_state
from kdlab.lab.twins import count_text, percent_text

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

MAKE = """
import numpy as np

random = np.random.default_rng(4)
weight = random.normal(size=(16, 12)) @ np.diag(np.geomspace(1, 0.2, 12)) @ random.normal(size=(12, 72)) / 9
weight += random.normal(size=(16, 72)) / 20
inputs = (random.normal(size=(500, 20)) @ random.normal(size=(20, 72))).clip(min=0)
inputs[:, 5] = 0  # a dead channel
covariance = inputs.T @ inputs / len(inputs)
ranks = [1, 2, 3, 4, 5, 6, 8, 10, 12, 13, 14, 16]
accuracies = {
    "plain": [0.412, 0.55, 0.63, 0.72, 0.8, 0.83, 0.88, 0.91, 0.94, 0.95, 0.96, 0.97],
    "activation-aware": [0.51, 0.66, 0.72, 0.78, 0.84, 0.87, 0.9, 0.93, 0.95, 0.96, 0.96, 0.97],
    "plain, then trained on": [0.7, 0.8, 0.85, 0.88, 0.9, 0.92, 0.93, 0.94, 0.95, 0.96, 0.97, 0.975],
}
speedups = {
    "1 image": [0.95, 0.94, 0.93, 0.92, 0.91, 0.9, 0.89, 0.88, 0.87, 0.86, 0.85, 0.84],
    "500 images": [2.41, 2.1, 1.8, 1.5, 1.3, 1.2, 1.1, 1.0, 0.95, 0.9, 0.85, 0.8],
}
"""
SOURCE = (
    MAKE
    + """
from kdlab.lab.rank_panel import rank_explorable

rank_explorable(weight, accuracies, speedups, ranks=ranks, covariance=covariance, dense_accuracy=0.969)
"""
)
PANEL = ".kd-explorable"
DENSE = 0.969
START = 5  # rank 6, the largest with half as many parameters


@pytest.fixture(scope="module")
def given() -> dict[str, Any]:
    """What the panel was made of, unrounded."""
    made: dict[str, Any] = {}
    exec(MAKE, made)
    return made


def move(page: Page, step: int, kind: int = 0) -> None:
    """Set both controls, as a mouse would and quickly."""
    page.get_by_role("slider").evaluate(
        "(s, i) => { s.value = i; s.dispatchEvent(new Event('input', {bubbles: true})); }", step
    )
    page.locator(f"{PANEL} input[type=radio]").nth(kind).evaluate("input => input.click()")


def centres(nodes: Locator) -> list[list[float]]:
    return nodes.evaluate_all(
        """nodes => nodes.map((node) => { const box = node.getBoundingClientRect();
            return [box.left + box.width / 2, box.top + box.height / 2]; })"""
    )


def assert_panel_shows(page: Page, given: dict[str, Any], step: int, kind: int = 0) -> RankState:
    """What follows from projections and sums of components is what truncating and taking differences gives."""
    rank, name = given["ranks"][step], KINDS[kind]
    state = rank_state(given["weight"], rank, kind=name, covariance=given["covariance"])
    live = page.locator(f"{PANEL} .kd-live")
    slider = live.get_by_role("slider")
    assert slider.get_attribute("aria-valuetext") == f"r = {rank}"
    assert live.locator(".kd-value").inner_text() == f"r = {rank}"
    assert live.locator("input[type=radio]").nth(kind).is_checked()
    assert_errors_show(live, state, given, step)
    assert_spectrum_shows(live, state)
    assert_maps_show(live, state, given["weight"])
    assert_accuracies_show(live, given, step, kind)
    assert_bars_show(live, state, given, step)
    return state


def assert_errors_show(live: Locator, state: RankState, given: dict[str, Any], step: int) -> None:
    line = live.locator(".kd-summary")
    (weight,), (energy,) = harness.numbers(line, "weight"), harness.numbers(line, "energy")
    outputs = [float(error) for error in (line.get_attribute("data-outputs") or "").split()]
    assert weight == pytest.approx(state.weight_error, rel=1e-4, abs=1e-6)
    assert energy == pytest.approx(state.energy, rel=1e-5)
    assert outputs == pytest.approx(list(state.output_errors.values()), rel=1e-4, abs=1e-6)
    shown = replace(state, weight_error=weight, output_errors=dict(zip(KINDS, outputs, strict=True)))
    accuracy = given["accuracies"][state.kind][step]
    assert line.inner_text() == shown.summary(accuracy=accuracy, dense_accuracy=DENSE)


def assert_spectrum_shows(live: Locator, state: RankState) -> None:
    part = live.locator(".kd-part-rank-spectrum")
    dots = part.locator(".kd-rank-value")
    assert harness.numbers(dots, "value") == pytest.approx(state.spectrum.tolist(), rel=1e-5)
    hollow = dots.evaluate_all("dots => dots.map((dot) => getComputedStyle(dot).fill === 'none')")
    assert hollow == [k >= state.rank for k in range(len(state.spectrum))]
    of = "W√C" if state.kind == "activation-aware" else "W"
    kept = f"{state.rank} of 16 kept, {percent_text(state.energy)} of the energy"
    assert part.locator(".kd-heading").inner_text() == f"Spectrum of {of}: {kept}"
    assert ("C^(1/2)" in part.locator(".kd-note").inner_text()) == (state.kind == "activation-aware")
    border = centres(part.locator(".kd-guide"))[0][0]
    places = centres(dots)
    assert all((x < border) == (k < state.rank) for k, (x, _) in enumerate(places))
    names = part.locator("text[text-anchor=end]")
    ticks = {text: y for text, (_, y) in zip(names.all_text_contents(), centres(names), strict=True)}
    decade = ticks["0.1"] - ticks["1"]
    heights = [ticks["1"] - decade * np.log10(value / state.spectrum[0]) for value in state.spectrum]
    assert [y for _, y in places] == pytest.approx(heights, abs=1.5)


def assert_maps_show(live: Locator, state: RankState, weight: np.ndarray) -> None:
    full = float(np.abs(weight).max())
    maps = live.locator("canvas.kd-rank-map")
    assert maps.count() == 3
    for at, values in enumerate((weight, state.approximation, weight - state.approximation)):
        shown = np.array(maps.nth(at).evaluate("canvas => Array.from(canvas.kdValues)")).reshape(weight.shape)
        assert np.abs(shown - values).max() < 1e-3 * full
        drawn = np.array(
            maps.nth(at).evaluate(
                """canvas => Array.from(canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data)"""
            )
        ).reshape(*weight.shape, 4)
        assert np.abs(drawn[..., 3] / 255 - np.abs(shown).clip(max=full) / full).max() < 0.01  # depth is size
        strong = np.abs(shown) > 0.2 * full
        red, blue = drawn[..., 0].astype(int), drawn[..., 2].astype(int)
        assert ((blue > red) == (shown > 0))[strong].all()  # hue is sign
    (lost,) = harness.numbers(live.locator(".kd-summary"), "weight")
    heading = live.locator(".kd-part-rank-maps .kd-heading").inner_text()
    assert heading.endswith(f"and what is lost: {percent_text(lost)} of its length")


def assert_accuracies_show(live: Locator, given: dict[str, Any], step: int, kind: int) -> None:
    part = live.locator(".kd-part-rank-skill")
    now = [values[step] for values in given["accuracies"].values()]
    assert harness.numbers(part.locator(".kd-rank-now"), "accuracy") == now
    keys = part.locator(".kd-key").all_inner_texts()
    assert keys == [f"{name} {percent_text(v)}" for name, v in zip(given["accuracies"], now, strict=True)] + [
        f"dense {percent_text(DENSE)}"
    ]
    drop = centres(part.locator(".kd-drop"))[0][0]
    for i in range(len(now)):  # each stands on its line, at this rank
        x, y = centres(part.locator(f".kd-canvas .kd-rank-mark.kd-rank-series-{i}"))[step]
        at = centres(part.locator(f".kd-rank-now.kd-rank-series-{i}"))[0]
        assert [drop, *at] == pytest.approx([x, x, y], abs=1.5)
    ring, chosen = (
        centres(part.locator(".kd-rank-ring"))[0],
        centres(part.locator(f".kd-rank-now.kd-rank-series-{kind}"))[0],
    )
    assert ring == pytest.approx(chosen, abs=1.5)


def assert_bars_show(live: Locator, state: RankState, given: dict[str, Any], step: int) -> None:
    ratio = state.parameters / state.dense_parameters
    times = [values[step] for values in given["speedups"].values()]
    for name, values, worse in (
        ("size", [ratio], [ratio > 1]),
        ("speed", times, [value < 1 for value in times]),
    ):
        part = live.locator(f".kd-part-rank-{name}")
        bars = part.locator(".kd-bar")
        assert harness.numbers(bars, "ratio") == pytest.approx(values)
        assert [float(text[:-1]) for text in part.locator(".kd-number").all_text_contents()] == pytest.approx(
            values, abs=0.0051
        )
        unit = part.locator(".kd-reference").first.evaluate("bar => bar.width.baseVal.value")  # dense is 1
        widths = bars.evaluate_all("bars => bars.map((bar) => bar.width.baseVal.value)")
        assert widths == pytest.approx([value * unit for value in values], abs=0.01)
        top = part.locator(".kd-row").evaluate_all("rows => rows.map((r) => r.classList.contains('kd-is-top'))")
        assert top == worse
    heading = live.locator(".kd-part-rank-size .kd-heading").inner_text()
    assert heading == f"Parameters: {state.rank} × (16 + 72) = {count_text(state.parameters)}, dense 1,152"


# ---- the exported page


def test_the_exported_page_shows_the_twins_numbers_at_every_rank_and_kind_offline(
    executed: Path, given: dict[str, Any], page: Page
) -> None:
    aborted, errors = harness.block_network(page), harness.watch_errors(page)
    page.goto(harness.export_html(executed).as_uri())
    assert_panel_shows(page, given, START)
    lost = []
    for kind in range(2):
        for step in range(len(given["ranks"])):
            move(page, step, kind)
            lost.append(assert_panel_shows(page, given, step, kind).weight_error)
    assert len({round(error, 3) for error in lost}) > 20  # the settings are not all the same
    assert [url for url in aborted if not re.search(r"/(require|mathjax|MathJax|mermaid)", url)] == []
    assert [error for error in errors if not re.search("require|MathJax|mermaid", error)] == []


def test_axes_stand_still_while_rank_and_kind_change(exported: Page) -> None:
    def axes() -> Any:
        return exported.locator(f"{PANEL} .kd-live .kd-tick").evaluate_all(
            "ts => ts.map((t) => [t.textContent, t.getAttribute('x'), t.getAttribute('y')])"
        ), exported.locator(f"{PANEL} .kd-live").bounding_box()

    before = axes()
    for step, kind in ((0, 0), (11, 0), (0, 1), (11, 1)):
        move(exported, step, kind)
        assert axes() == before


def test_the_ground_is_grey_where_low_rank_is_larger(exported: Page, given: dict[str, Any]) -> None:
    edge = exported.locator(f"{PANEL} .kd-rank-beyond").evaluate("ground => ground.getBoundingClientRect().left")
    marks = centres(exported.locator(f"{PANEL} .kd-canvas .kd-rank-mark.kd-rank-series-0"))
    grey = [rank for rank, (x, _) in zip(given["ranks"], marks, strict=True) if x > edge]
    assert grey == [rank for rank in given["ranks"] if rank * (16 + 72) > 16 * 72]
    assert "break-even at rank 13.1" in exported.locator(f"{PANEL} .kd-part-rank-size").inner_text()


def test_without_a_covariance_there_is_one_kind_and_no_error_of_outputs(page: Page, given: dict[str, Any]) -> None:
    from kdlab.lab.rank_panel import rank_explorable

    curves = {"plain": given["accuracies"]["plain"]}
    made = rank_explorable(
        given["weight"].T, curves, given["speedups"], ranks=given["ranks"], dense_accuracy=DENSE, rank=4
    )
    page.set_content(f"<!doctype html><body>{made.html}")
    live = page.locator(f"{PANEL} .kd-live")
    assert live.locator("input[type=radio]").count() == 0
    state = rank_state(given["weight"].T, 4)
    assert live.locator(".kd-summary").inner_text() == state.summary(accuracy=curves["plain"][3], dense_accuracy=DENSE)
    assert_maps_show(live, state, given["weight"].T)


def test_moving_creates_no_elements(exported: Page) -> None:
    exported.evaluate(
        """() => {
            window.made = 0;
            new MutationObserver((changes) => changes.forEach((change) => change.addedNodes.forEach((node) => {
                window.made += node.nodeType === Node.ELEMENT_NODE;
            }))).observe(document.querySelector('.kd-live'), {childList: true, subtree: true});
        }"""
    )
    for step, kind in ((0, 1), (11, 0), (4, 1)):
        move(exported, step, kind)
    assert exported.evaluate("window.made") == 0


@pytest.mark.parametrize("width", [400, 480, 640, 720, 760, 1280])
def test_nothing_overflows_or_collides_and_text_stays_readable(exported: Page, width: int) -> None:
    exported.set_viewport_size({"width": width, "height": 900})
    for step, kind in ((11, 1), (0, 0)):
        move(exported, step, kind)
        exported.wait_for_timeout(100)
        assert_tidy(exported.locator(f"{PANEL} .kd-live"))


def assert_tidy(panel: Locator) -> None:
    assert panel.evaluate("(node) => node.scrollWidth <= node.clientWidth")
    outside = panel.evaluate(
        """(panel) => {
            const frame = panel.getBoundingClientRect();
            return Array.from(panel.querySelectorAll('text, rect, circle, canvas, span, b, button, output, input'))
                .filter((node) => {
                    const box = node.getBoundingClientRect();
                    return box.width > 1 && (box.left < frame.left - 0.5 || box.right > frame.right + 0.5);
                }).map((node) => node.outerHTML);
        }"""
    )
    assert outside == []
    boxes = panel.locator("svg[role=img]").evaluate_all(
        """charts => charts.flatMap((svg, chart) => Array.from(svg.querySelectorAll('text'))
            .filter((text) => text.textContent && text.getAttribute('visibility') !== 'hidden')
            .map((text) => text.getBoundingClientRect())
            .map((box) => [chart, Math.round(box.top), box.left, box.right]))"""
    )
    boxes.sort()
    for (chart, top, _, right), (other, same, left, _) in pairwise(boxes):
        assert (chart, top) != (other, same) or right < left + 0.5
    smallest = panel.locator("text, span, b, legend, output, button, div").evaluate_all(
        "nodes => Math.min(...nodes.filter((node) => node.textContent.trim())"
        ".map((node) => parseFloat(getComputedStyle(node).fontSize)))"
    )
    assert smallest >= 11.95


# ---- JupyterLab


def test_in_jupyterlab_keys_reach_every_control_and_each_step_is_drawn_within_a_frame(
    lab_page: Page, given: dict[str, Any]
) -> None:
    harness.select_cell(lab_page, 1)
    lab_page.evaluate(
        """() => {
            window.spent = [];
            let began = 0;
            const live = document.querySelector('.kd-live');
            live.addEventListener('input', () => { began = performance.now(); }, true);
            live.addEventListener('input', () => { window.spent.push(performance.now() - began); });
        }"""
    )
    slider = lab_page.get_by_role("slider")
    slider.focus()
    for key in (["ArrowRight"] * 6 + ["ArrowLeft"] * 6) * 4 + ["ArrowRight"] * 2:
        lab_page.keyboard.press(key)
    spent = sorted(lab_page.evaluate("window.spent"))
    print(f"one step, script: median {spent[25]:.1f} ms, p95 {spent[47]:.1f} ms, longest {spent[-1]:.1f} ms")
    assert len(spent) == 50
    assert spent[25] < 16
    assert spent[47] < 33
    where = int(slider.input_value())
    assert_panel_shows(lab_page, given, where)
    assert harness.active_cell(lab_page) == 1
    lab_page.keyboard.press("Tab")
    assert lab_page.evaluate("document.activeElement.textContent") == "Reset"
    lab_page.keyboard.press("Tab")
    lab_page.keyboard.press("ArrowRight")
    assert_panel_shows(lab_page, given, where, kind=1)
    lab_page.keyboard.press("Shift+Tab")
    lab_page.keyboard.press("Space")
    assert_panel_shows(lab_page, given, START)


def test_every_picture_and_control_has_a_name_and_the_line_speaks(lab_page: Page) -> None:
    form = lab_page.get_by_role("form", name="Rank of a layer, what it loses and what it saves")
    assert form.get_by_role("slider", name="Rank r of the layer").count() == 1
    assert form.get_by_role("group", name="Factors").get_by_role("radio").count() == 2
    assert form.locator("output").get_attribute("aria-live") == "polite"
    names = "nodes => nodes.map((node) => node.getAttribute('aria-label'))"
    charts = form.locator("svg[role=img]").evaluate_all(names)
    assert len(charts) == 4
    assert "6 of 16 kept" in charts[0]
    assert all("at rank 6" in name.lower() for name in charts[1:])
    maps = form.locator("canvas[role=img]").evaluate_all(names)
    assert [re.sub(r"\d\.\d\d", "x", name) for name in maps] == [
        "W, 16 × 72: up to x in size",
        "W at rank 6, plain: up to x in size",
        "W less the reconstruction: up to x in size",
    ]


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_in_jupyterlab_text_has_contrast_and_the_maps_follow_the_theme(
    lab_page: Page, tmp_path: Path, theme: str
) -> None:
    harness.set_theme(lab_page, theme)
    panel = lab_page.locator(f"{PANEL} .kd-live")
    harness.screenshot(panel, tmp_path / f"{theme}.png")
    series = [f".kd-canvas .kd-rank-mark.kd-rank-series-{i}" for i in range(3)]
    lines = [f".kd-canvas .kd-rank-line.kd-rank-series-{i}" for i in range(3)]
    harness.assert_contrast(
        panel,
        theme,
        fills=[".kd-rank-value", ".kd-bar", *series],
        strokes=[".kd-rank-dropped", ".kd-ceiling", ".kd-guide", ".kd-rank-ring", *lines],
    )
    drawn = lab_page.locator("canvas.kd-rank-map").first.evaluate(
        """canvas => { const at = canvas.kdValues.reduce((best, v, i, all) => (v > all[best] ? i : best), 0);
            const [x, y] = [at % canvas.width, Math.floor(at / canvas.width)];
            return Array.from(canvas.getContext('2d').getImageData(x, y, 1, 1).data).slice(0, 3); }"""
    )
    assert np.abs(np.array(drawn) - {"light": [0, 114, 178], "dark": [86, 180, 233]}[theme]).max() < 3


def test_an_untrusted_notebook_shows_the_picture(
    lab: harness.LabServer, executed: Path, given: dict[str, Any], page: Page
) -> None:
    (lab.root / "untrusted.ipynb").write_bytes(executed.read_bytes())
    harness.open_notebook(page, lab, "untrusted.ipynb")
    output = harness.scroll_to_output(page, 1)
    picture = output.locator("img")
    picture.wait_for()
    assert picture.evaluate("(image) => image.complete && image.naturalWidth") > 600
    assert "rank 6, plain: 528 parameters, 45.8 % of the dense 1,152" in (picture.get_attribute("alt") or "")
    assert output.locator("table tbody tr").count() == len(given["ranks"])
    assert output.locator(".kd-live").count() == 0
