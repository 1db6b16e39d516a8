"""Exercise cards in JupyterLab: answered by mouse and by key, restarted, killed, reloaded, and nothing is lost."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import harness
import nbformat
import pytest

from kdlab.exercises import ask, bank
from kdlab.exercises.card_text import asleep
from kdlab.exercises.catalog import KINDS, Exercise, Field

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

SETUP = """
import os
from pathlib import Path
os.environ["KDLAB_HOME"] = str(Path.cwd() / "progress" / {name!r})
from kdlab.exercises import ask, check
"""
NUMBER, TEXT, LINES = "first-exercise", "distillation-or-compression", "frozen-teacher-size"
EACH_KIND = [next(one for one in bank() if one.kind == kind) for kind in KINDS]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, start_lab: Callable[..., Any]) -> harness.LabServer:
    return start_lab(tmp_path_factory.mktemp("cards"))


@pytest.fixture
def show(page: Page, server: harness.LabServer, request: pytest.FixtureRequest) -> Callable[..., Page]:
    """``show(slug, ...)`` opens a notebook of its own with a card in each cell from 1 on, for a learner of its own."""
    name = re.sub(r"\W+", "-", request.node.name)

    def open_cards(*slugs: str) -> Page:
        cells = [SETUP.format(name=name), *(f"ask({slug!r})" for slug in slugs), "", "('tail', 'of the page')"]
        harness.write_notebook(server.root / f"{name}.ipynb", cells)
        harness.open_notebook(page, server, f"{name}.ipynb")
        harness.run_all(page)
        return page

    page.kd_errors = harness.watch_errors(page)  # type: ignore[attr-defined]
    return open_cards


def card(page: Page, index: int = 1) -> Locator:
    """The card in the output of a cell."""
    found = harness.scroll_to_output(page, index).locator(".kd-card").first
    found.wait_for()
    return found


def fill(card: Locator, one: Exercise, answer: Any) -> None:
    """Put an answer into the fields as a learner does; what is code goes into a cell instead."""
    values = answer if len(one.fields) > 1 else {one.fields[0].name: answer}
    groups = card.locator(".kd-field")
    for number, field in enumerate(one.fields):
        fill_field(groups.nth(number), field, values[field.name])


def fill_field(group: Locator, field: Field, value: Any) -> None:
    if field.type in ("number", "expression"):
        group.get_by_role("textbox").fill(str(value))
    elif field.type == "text":
        group.get_by_role("textbox").fill(value["text"])
    elif field.type in ("choice", "line"):
        group.locator(f"input[value='{value}']").check()
    elif field.type == "choices":
        for option in field.options:
            group.locator(f"input[value='{option.id}']").set_checked(option.id in value)


def answer(page: Page, index: int, one: Exercise, value: Any) -> None:
    """Answer the card of a cell and wait for the verdict."""
    if one.kind == "code":
        harness.run_cell(page, len(EACH_KIND) + 1, value)
    here = card(page, index)
    fill(here, one, value)
    press(here, "Save" if one.kind == "open" else "Check")
    if one.kind == "open":
        here.locator(".kd-rubric fieldset").first.wait_for()
        for kind in ("points", "flags"):
            for box in here.locator(f".kd-rubric input[name$='-{kind}']").all():
                box.set_checked(int(box.get_attribute("value") or -1) in value[kind])
        press(here, "Score")


def press(card: Locator, name: str) -> None:
    card.get_by_role("button", name=name).first.click(force=True)  # a button that says why it does nothing, too


def verdict(card: Locator, kind: str) -> Locator:
    found = card.locator(f".kd-verdict.kd-{kind}:not(.kd-is-stale)")
    found.wait_for(timeout=15_000)
    return found


def seen(card: Locator) -> dict[str, Any]:
    """What a learner sees of the answers so far: fields (of buttons whether they are on), verdict, hints, solution."""
    card.page.wait_for_function(  # formulas are text until they are drawn
        """() => Array.from(document.querySelectorAll('.kd-card [data-kd-math]'))
            .every((node) => node.dataset.kdMath === 'none' || node.querySelector('mjx-container'))"""
    )
    return card.evaluate(
        """(card) => {
            const fields = Array.from(card.querySelectorAll('input, textarea'),
                (input) => input.matches('[type=radio], [type=checkbox]') ? input.checked : input.value);
            const parts = '.kd-chip, .kd-mark, .kd-verdict, .kd-hint, .kd-box, .kd-rubric, .kd-buttons';
            return {fields, rest: Array.from(card.querySelectorAll(parts), (node) => node.innerText)};
        }"""
    )


def wait_until_saved(card: Locator) -> None:
    card.locator(".kd-kept", has_text=re.compile("^saved$")).wait_for()


# ------------------------------------------------------------------------------------------------------------ tests


def test_every_kind_answered_wrong_and_right_comes_back_after_restart_and_reload(show: Callable[..., Page]) -> None:
    page = show(*(one.slug for one in EACH_KIND))
    shown: list[dict[str, Any]] = []
    for index, one in enumerate(EACH_KIND, 1):
        assert "not tried" in card(page, index).inner_text()
        answer(page, index, one, one.wrong[0])
        assert len(verdict(card(page, index), "incorrect").inner_text()) > len("✗ Not yet. And why.")
        answer(page, index, one, one.reference)
        assert len(verdict(card(page, index), "correct").inner_text()) > len("✓ Correct. And why.")
        press(card(page, index), "Hint 1")
        card(page, index).locator(".kd-hint").wait_for()
        if one.kind != "open":
            press(card(page, index), "Solution")
            card(page, index).get_by_text("Solution is shown below").wait_for()
        assert "solved at attempt 2" in card(page, index).inner_text()
        shown.append(seen(card(page, index)))

    harness.restart_kernel(page)
    harness.run_all(page)
    for index, before in enumerate(shown, 1):
        assert seen(card(page, index)) == before

    harness.save_notebook(page)
    page.reload()
    harness.wait_for_kernel(page)
    for index, before in enumerate(shown, 1):
        assert seen(card(page, index)) == before
    assert page.kd_errors == []  # type: ignore[attr-defined]


def test_hints_open_one_by_one_and_the_solution_waits_for_an_attempt(show: Callable[..., Page]) -> None:
    page = show(NUMBER)
    here = card(page)
    press(here, "Solution")
    here.get_by_text("The solution opens after your first attempt").wait_for()
    press(here, "Hint 1 of 2")
    press(here, "Hint 2 of 2")
    here.locator(".kd-hint mjx-container").wait_for()  # its formula is drawn
    last = here.get_by_role("button", name="That was the last hint")
    last.wait_for()
    assert last.get_attribute("aria-disabled") == "true"
    assert last.evaluate("(button) => button === document.activeElement")  # a button that is done keeps the focus
    here.get_by_role("textbox").fill("25")
    here.get_by_role("textbox").press("Enter")
    verdict(here, "incorrect")
    here.get_by_role("textbox").fill("75")
    here.get_by_text("You have changed your answer since").wait_for()  # not shown as the verdict on what is there now
    here.get_by_role("textbox").fill("25")
    verdict(here, "incorrect")


def test_text_survives_a_kernel_kill_and_a_reload_before_anything_was_checked(show: Callable[..., Page]) -> None:
    page = show(TEXT, NUMBER)
    text = "First line.\n\n<b>Second</b> $x$ `code` 第二行 ✓"
    card(page).get_by_role("textbox").fill(text)
    harness.kill_kernel(page)  # less than a second later: the kernel never saw the text
    here = card(page, 2)
    here.get_by_role("textbox").fill("25")
    start = time.monotonic()
    here.get_by_role("textbox").press("Enter")
    here.get_by_text("The kernel is not answering. Your text is kept; run the lesson").wait_for()
    assert time.monotonic() - start < 5  # it saw the process end, so it need not wait for an answer
    assert "kept in this browser, not saved yet" in here.inner_text()

    page.reload()
    harness.wait_for_kernel(page)
    harness.run_all(page)
    assert card(page).get_by_role("textbox").input_value() == text
    assert card(page, 2).get_by_role("textbox").input_value() == "25"
    wait_until_saved(card(page))
    wait_until_saved(card(page, 2))

    page.evaluate("() => localStorage.clear()")  # another browser: now the learner's store has to know
    harness.restart_kernel(page)
    harness.run_all(page)
    assert card(page).get_by_role("textbox").input_value() == text


@pytest.mark.parametrize("subshells", ["perCommTarget", "disabled"])
def test_while_a_cell_runs_an_answer_is_checked_or_waits_and_says_so(show: Callable[..., Page], subshells: str) -> None:
    page = show(NUMBER)
    page.evaluate(
        """(how) => {
            window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.commsOverSubshells = how;
        }""",
        subshells,
    )
    harness.run_cell(page, 1)
    harness.run_cell(page, 2, "import time; time.sleep(4)", wait=False)
    here = card(page)
    here.get_by_role("textbox").fill("300")
    here.get_by_role("textbox").press("Enter")
    if subshells == "disabled":
        here.get_by_text("Waiting for the running cell. Your answer is kept").wait_for()
    assert "small" in verdict(here, "incorrect").inner_text()
    assert here.get_by_role("textbox").input_value() == "300"


def test_the_keyboard_alone_answers_and_never_leaves_for_the_notebook(show: Callable[..., Page]) -> None:
    page = show(LINES)
    here = card(page)
    focus = "() => document.activeElement.textContent.trim() || document.activeElement.name || ''"
    here.get_by_role("radio").first.focus()
    before = harness.active_cell(page)
    for key in ("ArrowDown", "ArrowDown", "ArrowDown", "Space"):
        page.keyboard.press(key)
    for letter in "jkbaxd":  # JupyterLab's letters: move, add, cut, delete
        page.keyboard.press(letter)
    assert here.get_by_role("radio", checked=True).get_attribute("value") == "5"  # 3 is an empty line
    page.keyboard.press("Tab")
    page.keyboard.type("34.8")
    page.keyboard.press("Enter")
    marks = here.locator(".kd-mark")
    verdict(here, "incorrect")
    assert marks.all_inner_texts() == ["✓ right", "✗ not yet"]
    assert here.get_by_role("textbox").evaluate("(input) => input === document.activeElement")
    order = []
    for _ in range(4):
        page.keyboard.press("Tab")
        order.append(page.evaluate(focus))
    assert order[:3] == ["Check", "Hint 1 of 2", "Solution"]
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Enter")
    here.locator(".kd-hint").wait_for()
    here.get_by_role("textbox").fill("139.3")
    here.get_by_role("textbox").press("Shift+Enter")
    verdict(here, "correct")
    assert harness.active_cell(page) == before
    assert page.evaluate("() => window.jupyterapp.shell.currentWidget.content.model.cells.length") == 4


def test_two_cards_of_one_exercise_follow_each_other(show: Callable[..., Page]) -> None:
    page = show(NUMBER, NUMBER)
    page.set_viewport_size({"width": 1280, "height": 1400})
    first, second = (page.locator(".kd-card").nth(number) for number in (0, 1))
    second.wait_for()
    first.get_by_role("textbox").press_sequentially("25")
    assert second.get_by_role("textbox").input_value() == "25"
    second.get_by_role("textbox").press("Enter")
    for one in (first, second):
        verdict(one, "incorrect")
    page.wait_for_timeout(1500)
    harness.run_cell(page, 3, f"check({NUMBER!r}, 75)")
    for one in (first, second):
        verdict(one, "correct")
        assert one.get_by_role("textbox").input_value() == "75"
    ids = page.evaluate("() => Array.from(document.querySelectorAll('.kd-card [id]'), (node) => node.id)")
    assert len(set(ids)) == len(ids)


def test_a_notebook_opened_again_says_what_to_do_in_place_of_an_error(
    show: Callable[..., Page], server: harness.LabServer
) -> None:
    page = show(NUMBER)
    harness.save_notebook(page)
    path = page.url.split("/tree/")[1].split("?")[0]
    harness.shut_down_kernel(page)
    harness.open_notebook(page, server, path)
    page.get_by_text(
        "Exercise: Your first answer. Run the lesson's first code cell, then this one (Shift+Enter)."
    ).wait_for()
    assert "model not found" not in page.locator(".jp-Notebook").inner_text()
    harness.run_all(page)
    card(page)
    assert "first code cell, then" not in page.locator(".jp-Notebook").inner_text()


def test_a_page_without_trust_shows_the_exercise_as_text(page: Page, server: harness.LabServer) -> None:
    path = harness.write_notebook(server.root / "untrusted.ipynb", [f"ask({LINES!r})"])
    notebook = nbformat.read(path, as_version=4)
    shown = nbformat.v4.new_output("display_data", data=ask(LINES)._repr_mimebundle_())
    notebook.cells[0].outputs = [
        shown,
        nbformat.v4.new_output("display_data", data={"text/html": asleep(one_of(LINES))}),
    ]
    nbformat.write(notebook, path)
    harness.open_notebook(page, server, path)
    output = harness.scroll_to_output(page, 0)
    output.get_by_text("The ratio that is zero").wait_for()
    assert "count = sum(p.numel()" in output.inner_text()
    assert output.inner_text().count("Run this cell") == 1


def one_of(slug: str) -> Exercise:
    return next(one for one in bank() if one.slug == slug)


def test_words_can_be_read_in_both_themes_and_at_every_width(show: Callable[..., Page], tmp_path: Path) -> None:
    page = show(*(one.slug for one in EACH_KIND))
    for index, one in enumerate(EACH_KIND, 1):
        if one.kind != "code":
            answer(page, index, one, one.wrong[0])
        press(card(page, index), "Hint 1")
        card(page, index).locator(".kd-hint").wait_for()
    for theme, width in (("light", 480), ("dark", 1280)):
        harness.set_theme(page, theme)
        page.set_viewport_size({"width": width, "height": 900})
        for index in range(1, len(EACH_KIND) + 1):
            here = card(page, index)
            assert here.evaluate("(card) => card.scrollWidth <= card.clientWidth")
            for words, ratio in here.evaluate(CONTRASTS):
                assert ratio >= 4.5, (theme, words, ratio)
        harness.screenshot(card(page), tmp_path / f"{theme}.png")


CONTRASTS = """(card) => {
    // Colours are laid over each other on a canvas, so that translucent ones and any notation count as they look.
    const context = new OffscreenCanvas(1, 1).getContext("2d", {willReadFrequently: true});
    const pixel = (layers) => {
        context.clearRect(0, 0, 1, 1);
        for (const layer of layers) { context.fillStyle = layer; context.fillRect(0, 0, 1, 1); }
        return Array.from(context.getImageData(0, 0, 1, 1).data.slice(0, 3), (channel) => {
            const c = channel / 255;
            return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
        });
    };
    const luminance = ([r, g, b]) => 0.2126 * r + 0.7152 * g + 0.0722 * b;
    const selector = "h4, p, li, label, legend, button, summary, .kd-meta, .kd-help, .kd-chip, .kd-mark, .kd-unit, "
        + ".kd-verdict b, .kd-line-number, .kd-kept, pre, textarea, input[type=text]";
    return Array.from(card.querySelectorAll(selector)).filter((node) => node.checkVisibility()).map((node) => {
        const grounds = [];
        for (let at = node; at; at = at.parentElement) grounds.unshift(getComputedStyle(at).backgroundColor);
        const [ink, paper] = [[...grounds, getComputedStyle(node).color], grounds].map(pixel).map(luminance);
        const ratio = (Math.max(ink, paper) + 0.05) / (Math.min(ink, paper) + 0.05);
        return [node.textContent.slice(0, 40) || node.value, ratio];
    });
}"""
