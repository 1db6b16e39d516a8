"""The width panel in a real browser: its numbers against the Python twin, its keys, its looks."""

from __future__ import annotations

import math
import re
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import harness
import pytest

from kdlab.lab.twins import WidthState, count_text, percent_text, ratio_text, width_state
from kdlab.lab.width import WIDTHS

if TYPE_CHECKING:
    from playwright.sync_api import Page

SOURCE = """
from kdlab.lab.width import width_explorable

width_explorable(
    [0.0985, 0.42, 0.71, 0.9315, 0.9596, 0.9625, 0.97, 0.969],
    {
        "1 image": [6.94, 6.9, 6.85, 6.8, 6.75, 6.7, 6.6, 0.92],
        "500 images": [453.2, 440, 420, 400, 380, 260, 183, 62.5],
    },
    teacher_parameters=151_306, teacher_macs=1_330_432, teacher_accuracy=0.9865,
)
"""
PANEL = ".kd-explorable"
DEFAULT_STEP = WIDTHS.index(16)


def ratios(data: dict[str, Any], state: WidthState, step: int) -> list[float]:
    """What the five bars stand for, from top to bottom."""
    measured = [timing["values"][step] for timing in data["speedups"]]
    return [state.fewer_parameters, state.fewer_parameters, state.fewer_macs, *measured]


def state_of(data: dict[str, Any], step: int) -> WidthState:
    teacher = data["teacher"]
    return width_state(
        WIDTHS[step],
        teacher_parameters=teacher["parameters"],
        teacher_macs=teacher["macs"],
        inputs=data["inputs"],
        classes=data["classes"],
    )


def assert_panel_shows(page: Page, data: dict[str, Any], step: int) -> WidthState:
    """Every number in the panel equals the twin's, and every bar and the dot lie where their numbers say."""
    state = state_of(data, step)
    live = page.locator(f"{PANEL} .kd-live").filter(has=page.locator(".kd-part-sums"))
    expected = ratios(data, state, step)

    sums = live.locator(".kd-sum b")
    assert harness.numbers(sums, "value") == [state.parameters, state.bytes, state.macs]
    assert sums.all_inner_texts() == [count_text(n) for n in (state.parameters, state.bytes, state.macs)]
    for written in live.locator(".kd-sum").all_inner_texts():  # the sum that is written out has the value behind it
        left, right = written.replace(",", "").replace("×", "*").split("=")
        assert sum(math.prod(int(n) for n in term.split("*")) for term in left.split("+")) == int(right)

    bars = live.locator(".kd-part-saved .kd-bar")
    assert harness.numbers(bars, "ratio") == pytest.approx(expected, rel=1e-9)
    assert harness.numbers(bars, "reference") == pytest.approx(
        ratios(data, state_of(data, data["step"]), data["step"]), rel=1e-9
    )
    assert live.locator(".kd-part-saved .kd-number").all_text_contents() == [ratio_text(value) for value in expected]
    grid = live.locator(".kd-part-saved line").evaluate_all("ls => ls.map((l) => l.x1.baseVal.value)")
    decade = (max(grid) - min(grid)) / data["decades"]
    widths = bars.evaluate_all("bars => bars.map((bar) => bar.width.baseVal.value)")
    assert widths == pytest.approx([max(0, math.log10(value)) * decade for value in expected], abs=1e-2)

    dot, marks = live.locator(".kd-dot"), live.locator(".kd-mark")
    assert harness.numbers(dot, "parameters") == [state.parameters]
    assert harness.numbers(dot, "accuracy") == [data["accuracies"][step]]
    place = "ms => ms.map((m) => [m.cx.baseVal.value, m.cy.baseVal.value])"
    assert marks.evaluate_all(place)[step] == pytest.approx(dot.evaluate_all(place)[0])
    assert percent_text(data["accuracies"][step]) in live.locator(".kd-part-skill .kd-heading").inner_text()

    assert live.locator(".kd-summary").inner_text() == state.summary(
        accuracy=data["accuracies"][step],
        teacher_accuracy=data["teacher"]["accuracy"],
        speedups={timing["name"]: timing["values"][step] for timing in data["speedups"]},
    )
    slider = live.get_by_role("slider")
    assert slider.get_attribute("aria-valuetext") == f"h = {state.width}"
    assert live.locator(".kd-value").inner_text() == f"h = {state.width}"
    return state


def axes(page: Page) -> list[str]:
    """All tick labels of the panel."""
    return page.locator(f"{PANEL} .kd-live .kd-tick").all_text_contents()


def test_the_exported_page_shows_the_twins_numbers_at_every_width_offline(
    executed: Path, data: dict[str, Any], page: Page
) -> None:
    aborted, errors = harness.block_network(page), harness.watch_errors(page)
    page.goto(harness.export_html(executed).as_uri())
    slider = page.get_by_role("slider")
    slider.focus()
    assert_panel_shows(page, data, DEFAULT_STEP)
    before = axes(page)
    page.keyboard.press("Home")
    for step in range(len(WIDTHS)):
        assert_panel_shows(page, data, step)
        page.keyboard.press("ArrowRight")
    assert axes(page) == before  # movement is comparable: no axis has moved
    assert [url for url in aborted if not re.search(r"/(require|mathjax|MathJax|mermaid)", url)] == []
    assert [error for error in errors if "require" not in error and "MathJax" not in error] == []


def test_the_dot_follows_size_and_accuracy(executed: Path, page: Page) -> None:
    harness.block_network(page)
    page.goto(harness.export_html(executed).as_uri())
    dot = page.locator(f"{PANEL} .kd-dot")
    page.get_by_role("slider").focus()
    places = []
    for key in ("Home", "End"):
        page.keyboard.press(key)
        places.append(dot.evaluate("dot => [dot.cx.baseVal.value, dot.cy.baseVal.value]"))
    (left, low), (right, high) = places
    assert right > left + 100
    assert high < low - 50  # upwards


def test_a_model_slower_than_its_teacher_has_no_bar_and_says_so(executed: Path, page: Page) -> None:
    harness.block_network(page)
    page.goto(harness.export_html(executed).as_uri())
    page.get_by_role("slider").focus()
    page.keyboard.press("End")
    row = page.locator(f"{PANEL} .kd-part-saved .kd-row").nth(3)
    assert row.locator(".kd-number").text_content() == "0.9×"
    assert row.locator(".kd-bar").evaluate("bar => bar.width.baseVal.value") == 0
    assert row.locator(".kd-beyond").get_attribute("visibility") == "visible"


def test_in_jupyterlab_arrows_belong_to_the_slider_and_reset_brings_the_start_back(
    lab_page: Page, data: dict[str, Any]
) -> None:
    harness.select_cell(lab_page, 1)
    lab_page.get_by_role("slider").focus()
    for _ in range(2):
        lab_page.keyboard.press("ArrowLeft")
    assert_panel_shows(lab_page, data, DEFAULT_STEP - 2)
    assert harness.active_cell(lab_page) == 1
    assert lab_page.get_by_role("slider").evaluate("(node) => node === document.activeElement")
    lab_page.keyboard.press("Tab")
    assert lab_page.evaluate("document.activeElement.textContent") == "Reset"
    lab_page.keyboard.press("Space")
    assert_panel_shows(lab_page, data, DEFAULT_STEP)


def test_the_slider_has_a_name_and_the_line_speaks(lab_page: Page) -> None:
    form = lab_page.get_by_role("form", name="Width of the student, what it costs and what it buys")
    assert form.get_by_role("slider", name="Width h of the hidden layer").count() == 1
    assert form.locator("output").get_attribute("aria-live") == "polite"
    charts = form.locator("svg[role=img]").evaluate_all("nodes => nodes.map((node) => node.getAttribute('aria-label'))")
    assert len(charts) == 2
    assert all(name and "h = 16" in name for name in charts)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_in_jupyterlab_text_has_contrast_in_both_themes(lab_page: Page, tmp_path: Path, theme: str) -> None:
    harness.set_theme(lab_page, theme)
    panel = lab_page.locator(f"{PANEL} .kd-live")
    harness.screenshot(panel, tmp_path / f"{theme}.png")
    harness.assert_contrast(
        panel,
        theme,
        fills=[".kd-row:not(.kd-is-top) .kd-bar", ".kd-mark", ".kd-dot"],
        strokes=[".kd-line", ".kd-outline .kd-reference", ".kd-ceiling"],
    )


def test_tick_labels_do_not_run_into_each_other(lab_page: Page) -> None:
    boxes = lab_page.locator(f"{PANEL} .kd-part-saved .kd-tick").evaluate_all(
        "ticks => ticks.map((tick) => { const box = tick.getBoundingClientRect(); return [box.left, box.right]; })"
    )
    boxes.sort()
    assert all(right < left for (_, right), (left, _) in pairwise(boxes))


def test_an_untrusted_notebook_shows_the_picture(lab: harness.LabServer, executed: Path, page: Page) -> None:
    (lab.root / "untrusted.ipynb").write_bytes(executed.read_bytes())
    harness.open_notebook(page, lab, "untrusted.ipynb")
    output = harness.scroll_to_output(page, 1)
    picture = output.locator("img")
    picture.wait_for()
    assert picture.evaluate("(image) => image.complete && image.naturalWidth") > 600
    assert "width 16: 1,210 parameters" in (picture.get_attribute("alt") or "")
    assert output.locator("table tbody tr").count() == len(WIDTHS)
    assert output.locator(".kd-live").count() == 0
