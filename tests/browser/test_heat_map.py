"""The sweep lab in JupyterLab: cells come in while other cells can be used, Stop answers, keys do what clicks do."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import harness
import pytest
from test_kernel_lab import contrast

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

SOURCE = """
import time
from kdlab import lab

pause = 0.4

def run(seed, temperature, alpha):
    time.sleep(pause)
    return 0.8 + 0.01 * temperature * alpha + 0.001 * (seed % 2)

panel = lab.SweepLab(
    {"50 labels": run, "all labels": lambda seed, **setting: run(seed, **setting) - 0.1},
    rows=("temperature", [1, 4]),
    columns=("alpha", [0.1, 0.5, 0.9]),
    baseline={"50 labels": lambda seed: 0.81, "all labels": dict.fromkeys(range(5), 0.8)},
    baseline_name="hard labels",
)
panel
"""
CELLS = [SOURCE, "print('beside it', pause)", "pause = 0.01", "panel.sweep()"]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, start_lab: Callable[..., Any]) -> harness.LabServer:
    folder = tmp_path_factory.mktemp("heat-map")
    harness.write_notebook(folder / "lab.ipynb", CELLS)
    return start_lab(folder)


@pytest.fixture
def panel(page: Page, server: harness.LabServer) -> Locator:
    harness.open_notebook(page, server, "lab.ipynb")
    harness.run_cell(page, 0)
    found = harness.scroll_to_output(page, 0).locator(".kd-sweep").first
    picture(found).wait_for()
    return found


def picture(panel: Locator) -> Locator:
    return panel.locator("img.kd-sweep-picture")


def alt(panel: Locator) -> str:
    return picture(panel).get_attribute("alt") or ""


def button(panel: Locator, name: str) -> Locator:
    return panel.get_by_role("button", name=name, exact=True)


WATCH = """(panel) => {
    window.kdTold = new Set();  // every picture in words
    new MutationObserver(() => {
        const image = panel.querySelector('img.kd-sweep-picture');
        if (image) window.kdTold.add(image.alt);
    }).observe(panel, {subtree: true, childList: true});
}"""


def wait_for_message(panel: Locator, text: str | re.Pattern[str]) -> None:
    panel.locator(".kd-sweep-message", has_text=text).wait_for(timeout=90_000)  # training, perhaps on a busy machine


def test_cells_come_in_one_by_one_while_other_cells_run(panel: Locator) -> None:
    assert "none run yet" in alt(panel)
    button(panel, "Run").click()
    button(panel, "Running ...").wait_for()
    panel.evaluate(WATCH)
    began = time.monotonic()
    harness.run_cell(panel.page, 1)
    assert time.monotonic() - began < 1.5  # the whole map takes nearly three seconds, as a cell that waits for it would
    assert button(panel, "Running ...").count()
    wait_for_message(panel, "All 7 runs are done.")
    assert panel.page.evaluate("() => window.kdTold.size") >= 6  # one for each cell
    assert "6 cells, 1 seed each, hard labels at 81.0%" in panel.locator(".kd-sweep-live").inner_text()
    assert "fewer than 5 seeds no verdict" in panel.locator(".kd-sweep-live").inner_text()


def test_stop_keeps_what_is_there_and_run_does_the_rest(panel: Locator) -> None:
    button(panel, "Run").click()
    wait_for_message(panel, re.compile("[3-5] of 7"))
    began = time.monotonic()
    button(panel, "Stop").click()
    wait_for_message(panel, "Stopped.")
    assert time.monotonic() - began < 1.0  # the click, the kernel's answer and the page's
    kept = alt(panel)
    panel.page.wait_for_timeout(500)
    assert alt(panel) == kept  # the run in progress ended unseen
    assert "6 cells, 0 to 1 seed each" in kept
    button(panel, "Run").click()
    wait_for_message(panel, "runs are done")
    assert "6 cells, 1 seed each" in alt(panel)


def test_the_keyboard_does_it_all(panel: Locator) -> None:
    page = panel.page
    harness.run_cell(page, 2)  # quick runs
    harness.scroll_to_output(page, 0)
    panel.get_by_role("slider").focus()
    for _ in range(4):
        page.keyboard.press("ArrowRight")
    panel.locator(".widget-readout", has_text="5").wait_for()
    for _ in range(4):  # past the slider's readout, which can be edited
        page.keyboard.press("Tab")
        if page.evaluate("() => document.activeElement.textContent") == "Run":
            break
    page.keyboard.press("Enter")
    wait_for_message(panel, "All 35 runs are done.")
    live = panel.locator(".kd-sweep-live")
    assert live.get_attribute("aria-live") == "polite"
    assert re.search(
        r"Verdicts: better in \d .*, worse in \d.*, cannot tell in \d, of 6 cells with 5 seeds", live.inner_text()
    )
    assert "better" in alt(panel)
    table = panel.locator(".kd-sweep-numbers")
    assert not table.is_visible()
    panel.get_by_label("show the map as a table").focus()
    page.keyboard.press("Space")
    table.wait_for()
    assert table.locator("tbody th").all_inner_texts() == ["1", "4"]
    assert table.locator("tbody td").count() == 6
    assert harness.active_cell(page) != 1  # the arrows did not walk through the notebook


def test_another_map_has_its_own_cells(panel: Locator) -> None:
    harness.run_cell(panel.page, 2)
    button(panel, "Run").click()
    wait_for_message(panel, "All 7 runs are done.")
    panel.get_by_role("combobox").select_option("all labels")
    panel.locator(".kd-sweep-live", has_text="all labels: 6 cells, none run yet").wait_for()
    assert "Rows temperature 1, 4" in alt(panel)
    button(panel, "Run").click()
    wait_for_message(panel, "All 6 runs are done.")  # its baseline was given
    panel.get_by_role("combobox").select_option("50 labels")
    panel.locator(".kd-sweep-live", has_text="50 labels: 6 cells, 1 seed each").wait_for()


def test_the_picture_stays_where_it_is_whatever_is_said_and_fits_a_narrow_page(panel: Locator) -> None:
    box = "(image) => { const {top, width} = image.getBoundingClientRect(); return [top, width]; }"
    top, width = picture(panel).evaluate(box)
    assert width == pytest.approx(660, abs=1)
    button(panel, "Run").click()
    wait_for_message(panel, "of 7")
    assert picture(panel).evaluate(box)[0] == pytest.approx(top, abs=1)
    wait_for_message(panel, "done.")
    assert picture(panel).evaluate(box)[0] == pytest.approx(top, abs=1)
    panel.page.set_viewport_size({"width": 520, "height": 900})
    panel.page.wait_for_function("() => document.querySelector('img.kd-sweep-picture').clientWidth < 480")
    overflow = panel.evaluate("(element) => element.scrollWidth - element.clientWidth")
    assert overflow <= 1


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_words_can_be_read_in_both_themes(panel: Locator, theme: str) -> None:
    harness.set_theme(panel.page, theme)
    button(panel, "Run").click()
    panel.get_by_label("show the map as a table").check()
    wait_for_message(panel, "done.")  # while it runs, its words are replaced as one looks
    for selector in (".kd-sweep-live", ".kd-sweep-message", ".kd-sweep-numbers th"):
        assert contrast(panel.locator(selector).first) > 7


def test_after_a_restart_in_the_middle_of_a_run_all_starts_afresh(panel: Locator) -> None:
    page = panel.page
    button(panel, "Run").click()
    wait_for_message(panel, re.compile("[1-5] of 7"))
    harness.restart_kernel(page)
    harness.run_all(page)
    again = harness.scroll_to_output(page, 0).locator(".kd-sweep").first
    again.locator(".kd-sweep-live", has_text="none run yet").wait_for()
    button(again, "Run").click()
    wait_for_message(again, "All 7 runs are done.")


def test_a_stored_page_without_a_kernel_shows_the_picture(tmp_path: Path) -> None:
    source = SOURCE.replace("\npanel\n", "\npanel.run(seeds=1)\npanel\n")
    path = harness.execute_notebook(harness.write_notebook(tmp_path / "stored.ipynb", [source]))
    (output,) = json.loads(path.read_text(encoding="utf-8"))["cells"][0]["outputs"]  # no bar, no print
    assert set(output["data"]) == {"application/vnd.jupyter.widget-view+json", "text/html", "image/png", "text/plain"}
    assert output["metadata"]["image/png"]["width"] == 660
    text = "Sweep lab, 50 labels: temperature by alpha, 6 cells, 6 runs done."
    assert "".join(output["data"]["text/plain"]) == text
    assert "temperature 4: " in "".join(output["data"]["text/html"])
