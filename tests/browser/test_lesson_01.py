"""Lesson 01 as a learner meets it: opened in JupyterLab, run from top to bottom, its panels played with."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import harness
import pytest
from test_temperature_explorable import assert_panel_shows

from kdlab.cli import trust
from kdlab.lab.explorable import TEMPERATURES
from kdlab.workspace import sync

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"
LESSON = harness.StoredLesson("01_soft_labels.ipynb")
PANEL_CELL, LAB_CELL = LESSON.cell_with("temperature_explorable("), LESSON.cell_with("DistillationLab(")


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The learner's own copy."""
    folder = tmp_path_factory.mktemp("work")
    sync(NOTEBOOKS, folder)
    return folder


@pytest.fixture(scope="module")
def lesson(browser: Browser, work: Path, start_lab: Callable[..., Any]) -> Iterator[Page]:
    """The lesson in JupyterLab after Run All; shared, since that takes a minute."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, reduced_motion="reduce")
    page = context.new_page()
    page.set_default_timeout(20_000)
    try:
        harness.open_notebook(page, start_lab(work), LESSON.name)
        harness.run_all(page, timeout=300)
        yield page
    finally:
        context.close()


def panel_data(markup: str) -> dict[str, Any]:
    block = re.search(r'class="kd-data">(.*?)</script>', markup, re.DOTALL)
    assert block is not None
    return json.loads(block.group(1))


def test_every_claim_of_the_lesson_holds_again(lesson: Page, work: Path) -> None:
    LESSON.assert_claims_hold(lesson, work / LESSON.name)


def test_the_temperature_slider_answers_to_keys_with_the_right_numbers(lesson: Page) -> None:
    output = harness.scroll_to_output(lesson, PANEL_CELL)
    output.locator(".kd-live").wait_for()
    data = json.loads(output.locator(".kd-data").evaluate("script => script.textContent"))
    slider, picture = output.get_by_role("slider"), output.locator(".kd-live .kd-part-probabilities svg")
    start = TEMPERATURES.index(1)
    before = assert_panel_shows(lesson, data, image=0, step=start)
    drawn = picture.inner_html()
    slider.focus()
    for _ in range(4):
        lesson.keyboard.press("ArrowRight")
    after = assert_panel_shows(lesson, data, image=0, step=start + 4)
    assert picture.inner_html() != drawn
    assert after.entropy > before.entropy
    assert after.ranking == before.ranking
    output.get_by_role("button", name="Reset").click()
    assert_panel_shows(lesson, data, image=0, step=start)


def test_the_kernel_lab_trains_a_student_and_keeps_the_try(lesson: Page) -> None:
    output = harness.scroll_to_output(lesson, LAB_CELL)
    run = output.get_by_role("button", name="Run", exact=True)
    rows = output.locator(".kd-lab-tries tbody tr")
    output.locator(".noUi-handle").first.focus()
    lesson.keyboard.press("ArrowRight")
    output.locator(".kd-lab-live", has_text="T = 8").wait_for()
    run.click()
    rows.filter(has_text="0.9").first.wait_for(timeout=15_000)
    cells = rows.first.locator("td").all_inner_texts()
    assert cells[:4] == ["8", "0.9", "50", "0"]
    hard, soft = (float(cell.rstrip("%")) for cell in cells[4:6])
    assert 60 < hard < 100
    assert 60 < soft < 100
    assert "1 try" in (output.locator(".kd-lab-tries-picture").get_attribute("alt") or "")


def test_a_fresh_copy_answers_before_anything_was_run(
    browser: Browser, work: Path, tmp_path: Path, start_lab: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """``kdlab lab`` signs the copies it makes; JupyterLab would show only the fallback picture otherwise."""
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path / "data"))
    copy = tmp_path / "work" / LESSON.name
    sync(NOTEBOOKS, copy.parent)
    trust([copy])
    server = start_lab(copy.parent, environment={"JUPYTER_DATA_DIR": str(tmp_path / "data")})
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    try:
        page = context.new_page()
        harness.open_notebook(page, server, LESSON.name)
        output = harness.scroll_to_output(page, PANEL_CELL)
        output.get_by_role("slider").focus()
        page.keyboard.press("End")
        data = json.loads(output.locator(".kd-data").evaluate("script => script.textContent"))
        assert_panel_shows(page, data, image=0, step=len(TEMPERATURES) - 1)
    finally:
        context.close()


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_pictures_stay_on_a_white_card_and_have_words_in_both_themes(lesson: Page, theme: str, tmp_path: Path) -> None:
    harness.set_theme(lesson, theme)
    index = LESSON.cell_with("recalls = {")
    output = harness.scroll_to_output(lesson, index)
    image = output.locator("img").first
    assert (image.get_attribute("alt") or "").startswith("Share of an unseen digit")
    assert image.evaluate("image => getComputedStyle(image).backgroundColor") == "rgb(255, 255, 255)"
    assert harness.screenshot(output, tmp_path / f"{theme}.png").stat().st_size > 5_000


def test_the_exported_lesson_answers_with_no_kernel_and_no_network(page: Page, tmp_path: Path) -> None:
    copy = tmp_path / LESSON.name
    copy.write_text((NOTEBOOKS / LESSON.name).read_text(encoding="utf-8"), encoding="utf-8")
    data = panel_data("".join(LESSON.cells[PANEL_CELL].outputs[0]["data"]["text/html"]))
    harness.block_network(page)
    page.goto(harness.export_html(copy).as_uri())
    page.get_by_role("slider").focus()
    page.keyboard.press("End")
    assert_panel_shows(page, data, image=0, step=len(TEMPERATURES) - 1)
    words = page.locator("img").evaluate_all("images => images.map((image) => image.alt)")
    assert len(words) >= 6
    assert all(text and not text.startswith("No description") for text in words)
