"""Lessons 02a to 06 as a learner meets them: opened in JupyterLab, run from top to bottom, panels played with."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import harness
import pytest

from kdlab.workspace import sync

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"
LESSONS = {
    name[:-6]: harness.StoredLesson(name)
    for name in (
        "02a_kd_loss.ipynb",
        "02b_loss_relatives.ipynb",
        "03_image_distillation.ipynb",
        "04_features.ipynb",
        "05_teachers.ipynb",
        "06_pruning.ipynb",
    )
}
PANELS = {
    "02a_kd_loss": ["lab.loss_explorable("],
    "02b_loss_relatives": ['id="descent"', 'id="faulty-descent"'],
    "03_image_distillation": ["lab.seeds_explorable("],
    "04_features": ["lab.features_explorable("],
    "05_teachers": ["lab.playground_explorable("],
    "06_pruning": ["lab.pruning_explorable("],
}


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The learner's own copies."""
    folder = tmp_path_factory.mktemp("work")
    sync(NOTEBOOKS, folder)
    return folder


@pytest.fixture(scope="module")
def server(work: Path, start_lab: Callable[..., Any]) -> Any:
    return start_lab(work)


@pytest.fixture(scope="module", params=LESSONS)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def lesson(browser: Browser, server: Any, name: str) -> Iterator[Page]:
    """One lesson in JupyterLab after Run All; shared by the tests of it."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, reduced_motion="reduce")
    page = context.new_page()
    page.set_default_timeout(20_000)
    try:
        harness.open_notebook(page, server, LESSONS[name].name)
        harness.run_all(page, timeout=300)
        yield page
    finally:
        context.close()


def test_every_claim_of_the_lesson_holds_again(lesson: Page, name: str, work: Path) -> None:
    LESSONS[name].assert_claims_hold(lesson, work / LESSONS[name].name)


def test_every_slider_of_every_panel_answers_to_keys(lesson: Page, name: str) -> None:
    for text in PANELS[name]:
        output = harness.scroll_to_output(lesson, LESSONS[name].cell_with(text))
        output.locator(".kd-live").wait_for()
        # In lesson 04 a scale moves no loss, which is its point: there the line that names the change has to speak.
        words = output.locator(".kd-live" if name == "04_features" else ".kd-live .kd-parts")
        sliders = output.locator(".kd-live input[type=range]")
        assert sliders.count() >= 1
        for index in range(sliders.count()):
            slider = sliders.nth(index)
            slider.focus()
            lesson.keyboard.press("Home")
            before = words.inner_text(), slider.get_attribute("aria-valuetext")
            lesson.keyboard.press("End")
            after = words.inner_text(), slider.get_attribute("aria-valuetext")
            assert before[0] != after[0], (text, index)
            assert before[1] != after[1]
        output.get_by_role("button", name="Reset").click()


def test_every_exercise_of_the_lesson_shows_its_card(lesson: Page, name: str) -> None:
    asked = [i for i, cell in enumerate(LESSONS[name].cells) if cell.cell_type == "code" and "ask(" in cell.source]
    cards = [i for i in asked if LESSONS[name].cells[i].source.startswith("ask(")]
    assert len(cards) >= 5
    for index in cards:
        output = harness.scroll_to_output(lesson, index)
        output.locator(".kd-card, form").first.wait_for()
        assert "$" not in output.locator("form").first.inner_text().replace("\\$", "")


def test_the_sweep_adds_a_seed_to_every_cell_and_says_so(lesson: Page, name: str) -> None:
    if name != "03_image_distillation":
        assert not any("SweepLab(" in cell.source for cell in LESSONS[name].cells)
        return
    output = harness.scroll_to_output(lesson, LESSONS[name].cell_with("lab.SweepLab("))
    before = output.locator("img").first.get_attribute("alt")
    output.locator(".noUi-handle").first.focus()
    lesson.keyboard.press("ArrowRight")
    output.get_by_role("button", name="Run", exact=True).click()
    output.get_by_text("2 seeds each").wait_for(timeout=60_000)
    assert "no verdict is possible" in output.inner_text()
    assert output.locator("img").first.get_attribute("alt") != before


def test_train_moves_a_boundary_within_a_second(lesson: Page, name: str) -> None:
    if name != "05_teachers":
        assert not any("playground_explorable(" in cell.source for cell in LESSONS[name].cells)
        return
    output = harness.scroll_to_output(lesson, LESSONS[name].cell_with("lab.playground_explorable("))
    output.get_by_role("button", name="Reset").click()
    pixels = "() => [...document.querySelectorAll('#kd-playground canvas')].map((one) => one.toDataURL()).join()"
    before = lesson.evaluate(pixels)
    seconds = lesson.evaluate(
        """(before) => new Promise((resolve) => {
            const pixels = () => [...document.querySelectorAll('#kd-playground canvas')].map((one) => one.toDataURL());
            const start = performance.now();
            const look = () => {
                const passed = (performance.now() - start) / 1000;
                if (pixels().join() !== before || passed > 5) resolve(passed); else requestAnimationFrame(look);
            };
            const buttons = [...document.querySelectorAll('#kd-playground button')];
            buttons.find((button) => button.textContent.trim() === 'Train').click();
            look();
        })""",
        before,
    )
    assert seconds < 1
