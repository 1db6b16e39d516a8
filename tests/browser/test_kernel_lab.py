"""The kernel lab in JupyterLab: keys move the sliders, the picture and the text follow, Run trains."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import harness
import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

SOURCE = """
import torch
from kdlab.data import load_digits
from kdlab.lab.kernel_lab import DistillationLab
from kdlab.models import MLP
from kdlab.training import fit, seeded

torch.set_num_threads(1)
data = load_digits()
with seeded(0):
    teacher = MLP(hidden=(64,))
fit(teacher, data.train.images, data.train.labels, epochs=20, lr=3e-3, progress=False)
lab = DistillationLab(teacher, data)
lab
"""
SLOW = 10_000  # milliseconds: three seconds of work on a machine with nothing else to do


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, start_lab: Callable[..., Any]) -> harness.LabServer:
    folder = tmp_path_factory.mktemp("kernel-lab")
    harness.write_notebook(folder / "lab.ipynb", [SOURCE, "lab.tries", "('tail', 'of the page')"])
    return start_lab(folder)


@pytest.fixture
def panel(page: Page, server: harness.LabServer) -> Locator:
    harness.open_notebook(page, server, "lab.ipynb")
    harness.run_all(page)
    output = harness.scroll_to_output(page, 0)
    panel = output.locator(".kd-lab").first
    picture(panel, "tries").wait_for()
    return panel


def picture(panel: Locator, part: str) -> Locator:
    """``"target"`` on the left or ``"tries"`` on the right."""
    return panel.locator(f"img.kd-lab-{part}-picture")


def source(panel: Locator, part: str) -> str:
    return picture(panel, part).get_attribute("src") or ""


def alt(panel: Locator, part: str) -> str:
    return picture(panel, part).get_attribute("alt") or ""


def press(panel: Locator, slider: int, *keys: str) -> None:
    panel.locator(".noUi-handle").nth(slider).focus()
    for key in keys:
        panel.page.keyboard.press(key)


def wait_for_text(panel: Locator, text: str) -> None:
    panel.locator(".kd-lab-live", has_text=text).wait_for()


def run_and_wait(panel: Locator, number: int) -> None:
    panel.get_by_role("button", name="Run", exact=True).click()
    row(panel, number).wait_for(timeout=SLOW)
    panel.get_by_role("button", name="Run", exact=True).and_(panel.page.locator(":enabled")).wait_for()


def row(panel: Locator, number: int) -> Locator:
    return panel.locator(".kd-lab-tries tbody tr").filter(has=panel.page.locator(f"th:text-is('{number}')"))


def cells(panel: Locator, number: int) -> list[str]:
    return row(panel, number).locator("td").all_inner_texts()


def test_a_key_on_a_slider_changes_picture_alt_and_text(panel: Locator) -> None:
    before = source(panel, "target"), source(panel, "tries")
    assert "at T = 4, α = 0.9" in alt(panel, "target")
    press(panel, 0, "ArrowRight")
    wait_for_text(panel, "T = 8, α = 0.9, 50 labels.")
    assert source(panel, "target") != before[0]
    assert source(panel, "tries") == before[1]
    assert "at T = 8, α = 0.9" in alt(panel, "target")
    press(panel, 1, "ArrowLeft", "ArrowLeft")
    wait_for_text(panel, "T = 8, α = 0.5, 50 labels.")
    press(panel, 2, "ArrowRight", "ArrowRight", "ArrowRight")
    wait_for_text(panel, "T = 8, α = 0.5, 1,000 labels.")
    assert source(panel, "tries") != before[1]
    assert "the next one lands at 1,000" in alt(panel, "tries")
    assert harness.active_cell(panel.page) != 1  # the arrows did not walk through the notebook


def test_both_pictures_are_drawn_as_wide_as_meant_and_meet_without_a_gap(panel: Locator) -> None:
    panel.page.set_viewport_size({"width": 1500, "height": 900})
    left, right = (
        picture(panel, part).evaluate("""async (image) => {
            await image.decode();
            const {left, right, top, bottom} = image.getBoundingClientRect();
            return {left, right, top, bottom, natural: image.naturalWidth, shown: right - left};
        }""")
        for part in ("target", "tries")
    )
    assert left["shown"] + right["shown"] == pytest.approx(880, abs=0.1)
    assert left["right"] == pytest.approx(right["left"], abs=0.01)
    assert left["top"] == pytest.approx(right["top"], abs=0.01)
    assert left["bottom"] == pytest.approx(right["bottom"], abs=0.5)
    for one in (left, right):
        assert one["natural"] > 1.25 * one["shown"]  # sharp on a dense screen


def test_run_adds_a_try_with_the_chosen_settings_and_keeps_the_earlier_ones(panel: Locator) -> None:
    assert panel.get_by_text("No tries yet").is_visible()
    run_and_wait(panel, 1)
    first = cells(panel, 1)
    assert first[:4] == ["4", "0.9", "50", "0"]
    press(panel, 0, "ArrowLeft", "ArrowLeft")
    press(panel, 1, "ArrowRight")
    press(panel, 2, "ArrowLeft")
    wait_for_text(panel, "T = 1, α = 1, 20 labels.")
    run_and_wait(panel, 2)
    assert cells(panel, 2)[:4] == ["1", "1", "20", "0"]
    run_and_wait(panel, 3)
    assert cells(panel, 3)[:4] == ["1", "1", "20", "1"]
    assert cells(panel, 1) == first
    assert "3 tries" in alt(panel, "tries")
    for hard, soft, difference in (cells(panel, number)[4:] for number in (1, 2, 3)):
        points = float(soft.rstrip("%")) - float(hard.rstrip("%"))
        assert float(difference.replace("−", "-")) == pytest.approx(points, abs=0.11)
    wait_for_text(panel, "over 2 tries, 3 more for an interval")


def test_impatient_clicks_make_one_try(panel: Locator) -> None:
    panel.get_by_role("button", name="Run", exact=True).evaluate(
        "(button) => { for (let i = 0; i < 6; i++) button.click(); }"
    )
    row(panel, 1).wait_for(timeout=SLOW)
    panel.page.wait_for_timeout(3000)
    assert panel.locator(".kd-lab-tries tbody tr").count() == 1
    run_and_wait(panel, 2)


def test_while_it_trains_the_panel_says_so_and_run_is_off(panel: Locator) -> None:
    panel.get_by_role("button", name="Run", exact=True).click()
    panel.get_by_role("button", name="Running ...").wait_for()
    assert panel.get_by_role("button", name="Running ...").is_disabled()
    panel.locator(
        ".kd-lab-message", has_text=re.compile("Training the student (labels only|with the teacher)")
    ).wait_for()
    row(panel, 1).wait_for(timeout=SLOW)
    panel.get_by_role("button", name="Run", exact=True).wait_for()
    assert panel.locator(".kd-lab-message").count() == 0


def test_reset_keeps_the_tries_and_clear_asks_twice(panel: Locator) -> None:
    press(panel, 0, "ArrowRight", "ArrowRight")
    wait_for_text(panel, "T = 16,")
    run_and_wait(panel, 1)
    panel.get_by_role("button", name="Reset sliders").click()
    wait_for_text(panel, "T = 4, α = 0.9, 50 labels.")
    assert panel.locator(".widget-readout").all_inner_texts() == ["4", "0.9", "50"]
    assert row(panel, 1).is_visible()
    panel.get_by_role("button", name="Clear tries").click()
    panel.get_by_role("button", name="Really clear?").wait_for()
    assert row(panel, 1).is_visible()
    panel.get_by_role("button", name="Really clear?").click()
    panel.get_by_text("No tries yet").wait_for()
    assert "0 tries" in alt(panel, "tries")


def test_nothing_below_moves_while_a_slider_moves_or_a_student_trains(panel: Locator) -> None:
    top = "(image) => image.getBoundingClientRect().top"
    before = picture(panel, "tries").evaluate(top)
    press(panel, 2, "ArrowRight", "ArrowRight", "ArrowRight")
    wait_for_text(panel, "1,000 labels.")
    assert picture(panel, "tries").evaluate(top) == pytest.approx(before, abs=1)
    panel.get_by_role("button", name="Run", exact=True).click()
    panel.locator(".kd-lab-message").wait_for()
    assert picture(panel, "tries").evaluate(top) == pytest.approx(before, abs=1)
    row(panel, 1).wait_for(timeout=SLOW)
    assert picture(panel, "tries").evaluate(top) == pytest.approx(before, abs=1)


def test_forty_quick_keys_end_on_the_right_picture(panel: Locator) -> None:
    press(panel, 0, *["ArrowLeft"] * 4, *(["ArrowRight"] * 4 + ["ArrowLeft"] * 4) * 4, *["ArrowRight"] * 3)
    wait_for_text(panel, "T = 8,")
    panel.page.wait_for_timeout(1500)
    assert panel.locator(".kd-lab-live").inner_text().startswith("T = 8,")
    assert "at T = 8," in alt(panel, "target")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_words_can_be_read_in_both_themes(panel: Locator, theme: str) -> None:
    harness.set_theme(panel.page, theme)
    run_and_wait(panel, 1)
    for selector in (".kd-lab-live", ".kd-lab-tries td", ".kd-lab-settings th"):
        assert contrast(panel.locator(selector).first) > 7


def contrast(element: Locator) -> float:
    """WCAG contrast between an element's text and the notebook's ground."""
    ink, ground = element.evaluate(
        """(element) => {
            let behind = element;
            const clear = (node) => /rgba\\(.*, 0\\)|transparent/.test(getComputedStyle(node).backgroundColor);
            while (behind.parentElement && clear(behind)) behind = behind.parentElement;
            return [getComputedStyle(element).color, getComputedStyle(behind).backgroundColor];
        }"""
    )
    paper = channels(ground)[:3]
    *color, opacity = [*channels(ink), 1.0][:4]  # JupyterLab's light theme writes its ink as black with an opacity
    seen = [opacity * over + (1 - opacity) * under for over, under in zip(color, paper, strict=True)]
    light, dark = sorted((luminance(seen), luminance(paper)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def channels(color: str) -> list[float]:
    red, green, blue, *opacity = (float(number) for number in re.findall(r"[\d.]+", color))
    return [red / 255, green / 255, blue / 255, *opacity]


def luminance(color: list[float]) -> float:
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in color]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_a_stored_page_without_a_kernel_shows_the_picture(tmp_path: Path) -> None:
    path = harness.execute_notebook(harness.write_notebook(tmp_path / "stored.ipynb", [SOURCE]))
    (output,) = json.loads(path.read_text(encoding="utf-8"))["cells"][0]["outputs"]
    assert set(output["data"]) == {"application/vnd.jupyter.widget-view+json", "text/html", "image/png", "text/plain"}
    assert output["metadata"]["image/png"]["width"] == 880
    assert "".join(output["data"]["text/plain"]).startswith("Distillation lab at T = 4, α = 0.9, 50 labels.")
