"""The seeds panel in a real browser: its numbers against the Python twin, its keys, its looks."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import harness
import pytest

from kdlab.lab.seeds_twin import SeedsState, interval_text, points_text, seeds_state

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

SOURCE = """
from kdlab.lab.seeds_panel import seeds_explorable

hard = [0.842, 0.81, 0.856, 0.79, 0.838, 0.828, 0.866, 0.8, 0.83, 0.832]
soft = [0.85, 0.838, 0.86, 0.8, 0.836, 0.852, 0.876, 0.818, 0.836, 0.842]
gain = [0.9, 0.91, 0.902, 0.89, 0.895, 0.9, 0.91, 0.9, 0.886, 0.9]
seeds_explorable({"hard labels": hard, "distillation, teacher saw the same": soft, "teacher saw all": gain},
                 baseline="hard labels", count=2)
"""
PANEL = ".kd-explorable"


def pixels_per_point(grid: Locator, ticks: list[float]) -> float:
    lines = grid.evaluate_all("lines => lines.map((line) => line.x1.baseVal.value)")
    return float(lines[len(ticks) - 1] - lines[0]) / (ticks[-1] - ticks[0])


def assert_panel_shows(page: Page, data: dict[str, Any], arm: int, count: int) -> SeedsState:
    """Every number in the panel equals the twin's, and every bar lies where its numbers say."""
    state = seeds_state(data["scores"][arm], data["base"], count)
    every = seeds_state(data["scores"][arm], data["base"], len(data["base"])).differences
    live = page.locator(f"{PANEL} .kd-live").filter(has=page.locator(".kd-part-seeds-single"))
    assert live.locator(".kd-summary").inner_text() == state.summary()

    singles = live.locator(".kd-part-seeds-single .kd-row")
    shown = singles.evaluate_all("rows => rows.map((row) => Number(row.dataset.difference))")
    assert shown == pytest.approx(every, abs=1e-9)
    texts = live.locator(".kd-part-seeds-single .kd-number").all_text_contents()
    assert texts == [points_text(value) if i < count else "" for i, value in enumerate(every)]
    low, high = data["axes"][arm]["domain"]
    scale = pixels_per_point(live.locator(".kd-part-seeds-single line"), data["axes"][arm]["ticks"])
    for kind, counted in (("student", True), ("pale", False)):
        widths = live.locator(f".kd-part-seeds-single .kd-lane-{kind}").evaluate_all(
            "bars => bars.map((bar) => bar.width.baseVal.value)"
        )
        expected = [abs(value) * scale if (i < count) == counted else 0 for i, value in enumerate(every)]
        assert widths == pytest.approx(expected, abs=0.05)

    rows = live.locator(".kd-part-seeds-together .kd-row")
    scale = pixels_per_point(live.locator(".kd-part-seeds-together line"), data["axes"][arm]["ticks"])
    ends = [state.paired, state.unpaired]
    texts = live.locator(".kd-part-seeds-together .kd-number").all_text_contents()
    assert texts == ["no interval" if interval is None else interval_text(interval) for interval in ends]
    for place, interval in enumerate(ends):
        held = rows.nth(place).evaluate("row => [row.dataset.low, row.dataset.high]")
        if interval is None:
            assert held == ["", ""]
        else:
            assert [float(end) for end in held] == pytest.approx(interval, abs=1e-4)
            bar = rows.nth(place).locator(f".kd-lane-{('student', 'soft')[place]}")
            width = bar.evaluate("bar => bar.width.baseVal.value")
            assert width == pytest.approx((min(high, interval[1]) - max(low, interval[0])) * scale, abs=0.05)

    slider = live.get_by_role("slider")
    assert slider.get_attribute("aria-valuetext") == ("1 seed" if count == 1 else f"{count} seeds")
    return state


def axes(page: Page) -> list[str]:
    return page.locator(f"{PANEL} .kd-live .kd-tick").all_text_contents()


def test_the_exported_page_shows_the_twins_numbers_for_every_arm_and_count_offline(
    executed: Path, data: dict[str, Any], page: Page
) -> None:
    aborted, errors = harness.block_network(page), harness.watch_errors(page)
    page.goto(harness.export_html(executed).as_uri())
    assert_panel_shows(page, data, 0, 2)
    for arm in range(len(data["arms"])):
        page.locator(f"{PANEL} .kd-chip").nth(arm).click()
        page.get_by_role("slider").focus()
        page.keyboard.press("Home")
        before = axes(page)
        for count in range(1, 11):
            assert_panel_shows(page, data, arm, count)
            page.keyboard.press("ArrowRight")
        assert axes(page) == before  # movement is comparable: no axis has moved
    assert [url for url in aborted if not re.search(r"/(require|mathjax|MathJax|mermaid)", url)] == []
    assert [error for error in errors if "require" not in error and "MathJax" not in error] == []


def test_in_jupyterlab_keys_belong_to_the_panel_and_reset_brings_the_start_back(
    lab_page: Page, data: dict[str, Any]
) -> None:
    harness.select_cell(lab_page, 1)
    lab_page.get_by_role("slider").focus()
    for _ in range(3):
        lab_page.keyboard.press("ArrowRight")
    assert_panel_shows(lab_page, data, 0, 5)
    assert harness.active_cell(lab_page) == 1
    lab_page.keyboard.press("Tab")
    assert lab_page.evaluate("document.activeElement.textContent") == "Reset"
    lab_page.keyboard.press("Space")
    assert_panel_shows(lab_page, data, 0, 2)


def test_controls_and_charts_have_names_and_the_line_speaks(lab_page: Page) -> None:
    form = lab_page.get_by_role("form", name="How many seeds a claim needs")
    assert form.get_by_role("slider", name="Seeds that you wait for").count() == 1
    assert form.get_by_role("group", name="Compare with hard labels").get_by_role("radio").count() == 2
    assert form.locator("output").get_attribute("aria-live") == "polite"
    charts = form.locator("svg[role=img]").evaluate_all("nodes => nodes.map((node) => node.getAttribute('aria-label'))")
    assert len(charts) == 2
    assert all(charts)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_in_jupyterlab_text_has_contrast_in_both_themes(lab_page: Page, tmp_path: Path, theme: str) -> None:
    harness.set_theme(lab_page, theme)
    panel = lab_page.locator(f"{PANEL} .kd-live")
    harness.screenshot(panel, tmp_path / f"{theme}.png")
    harness.assert_contrast(panel, theme, fills=[".kd-lane-student", ".kd-lane-soft"], strokes=[])


def test_an_untrusted_notebook_shows_the_picture(lab: harness.LabServer, executed: Path, page: Page) -> None:
    (lab.root / "untrusted.ipynb").write_bytes(executed.read_bytes())
    harness.open_notebook(page, lab, "untrusted.ipynb")
    output = harness.scroll_to_output(page, 1)
    picture = output.locator("img")
    picture.wait_for()
    assert picture.evaluate("(image) => image.complete && image.naturalWidth") > 600
    assert output.locator("table tbody tr").count() == 10
    assert output.locator(".kd-live").count() == 0
