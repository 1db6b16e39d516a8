"""Lesson 00 as a newcomer meets it: opened in JupyterLab, run from top to bottom, panel and first card tried."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import harness
import pytest
from test_width_explorable import assert_panel_shows

from kdlab.lab.course_map import course_map_alt
from kdlab.lab.width import WIDTHS
from kdlab.workspace import sync

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"
LESSON = harness.StoredLesson("00_start_here.ipynb")
START = WIDTHS.index(16)


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The learner's own copy."""
    folder = tmp_path_factory.mktemp("work")
    sync(NOTEBOOKS, folder)
    return folder


@pytest.fixture(scope="module")
def lesson(browser: Browser, work: Path, start_lab: Callable[..., Any]) -> Iterator[Page]:
    """The lesson in JupyterLab after Run All; shared, since that takes half a minute."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, reduced_motion="reduce")
    page = context.new_page()
    page.set_default_timeout(20_000)
    try:
        harness.open_notebook(page, start_lab(work), LESSON.name)
        harness.run_all(page, timeout=240)
        yield page
    finally:
        context.close()


def test_every_claim_of_the_lesson_holds_again(lesson: Page, work: Path) -> None:
    LESSON.assert_claims_hold(lesson, work / LESSON.name)


def test_the_map_says_where_you_are(lesson: Page) -> None:
    output = harness.scroll_to_output(lesson, LESSON.cell_with("course_map(here=0)"))
    image = output.locator("img")
    assert image.get_attribute("alt") == course_map_alt(0)
    assert image.evaluate("image => image.getBoundingClientRect().width") == pytest.approx(900, abs=2)


def test_the_width_slider_answers_to_keys_with_the_right_numbers(lesson: Page) -> None:
    output = harness.scroll_to_output(lesson, LESSON.cell_with("width_explorable("))
    output.locator(".kd-live").wait_for()
    data = json.loads(output.locator(".kd-data").evaluate("script => script.textContent"))
    wide = assert_panel_shows(lesson, data, START)
    output.get_by_role("slider").focus()
    for _ in range(START):
        lesson.keyboard.press("ArrowLeft")
    narrow = assert_panel_shows(lesson, data, 0)
    assert narrow.parameters < wide.parameters
    assert data["accuracies"][0] < data["accuracies"][START]  # what the lesson's cells measured: width buys accuracy
    output.get_by_role("button", name="Reset").click()
    assert_panel_shows(lesson, data, START)


def test_the_first_card_answers_a_wrong_answer_with_a_reason(lesson: Page) -> None:
    output = harness.scroll_to_output(lesson, LESSON.cell_with('ask("first-exercise")'))
    field = output.get_by_role("textbox").first
    field.fill("25")
    output.get_by_role("button", name="Check").click()
    output.get_by_text("what is").or_(output.get_by_text("share that is")).first.wait_for()
    field.fill("75")
    output.get_by_role("button", name="Check").click()
    output.get_by_text("correct", exact=False).first.wait_for()


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_every_picture_has_words_and_stays_on_a_white_card(lesson: Page, theme: str, tmp_path: Path) -> None:
    harness.set_theme(lesson, theme)
    for text in ("course_map(here=0)", "ratio_bars(", "line_panels(", "compare_points("):
        output = harness.scroll_to_output(lesson, LESSON.cell_with(text))
        image = output.locator("img").first
        assert len(image.get_attribute("alt") or "") > 40
        assert image.evaluate("image => getComputedStyle(image).backgroundColor") == "rgb(255, 255, 255)"
        assert harness.screenshot(output, tmp_path / f"{theme}-{text[:5]}.png").stat().st_size > 5_000
