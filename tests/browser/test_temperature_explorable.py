"""The temperature panel in a real browser: its numbers against the Python twin, its keys, its looks."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import harness
import pytest

from kdlab.lab.explorable import TEMPERATURES
from kdlab.lab.twins import TemperatureState, temperature_state

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

SOURCE = """
import numpy as np
from sklearn.datasets import load_digits
from kdlab.lab.explorable import temperature_explorable

digits = load_digits()
chosen = [8, 5, 37, 69, 905, 1553]
images, labels = digits.images[chosen] / 16, digits.target[chosen]
generator = np.random.default_rng(1)
logits = generator.normal(scale=2.5, size=(6, 10)) + 7 * np.eye(10)[labels]
logits[4] = generator.normal(scale=3, size=10)  # here the teacher does not know
logits[5] = 40 * np.eye(10)[labels[5]]  # and here it is certain
temperature_explorable(images, logits, labels)
"""
PANEL = ".kd-explorable"
DEFAULT_STEP = TEMPERATURES.index(1)


@pytest.fixture(scope="module")
def executed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small notebook with the panel in its output, run without a browser."""
    folder = tmp_path_factory.mktemp("notebook")
    cells = [("markdown", "# A panel"), SOURCE, "print('after')"]
    return harness.execute_notebook(harness.write_notebook(folder / "panel.ipynb", cells))


@pytest.fixture(scope="module")
def data(executed: Path) -> dict[str, Any]:
    """What the panel was given, read from its markup."""
    markup = executed_markup(executed)
    block = re.search(r'class="kd-data">(.*?)</script>', markup, re.S)
    assert block is not None
    return json.loads(block.group(1))


def executed_markup(path: Path) -> str:
    notebook = json.loads(path.read_text(encoding="utf-8"))
    return "".join(notebook["cells"][1]["outputs"][0]["data"]["text/html"])


@pytest.fixture
def lab_page(lab: harness.LabServer, page: Page) -> Page:
    """JupyterLab with the notebook run there, the panel in view."""
    harness.write_notebook(lab.root / "panel.ipynb", [("markdown", "# A panel"), SOURCE, "print('after')"])
    harness.open_notebook(page, lab, "panel.ipynb")
    harness.run_all(page)
    harness.scroll_to_output(page, 1).locator(".kd-live").wait_for()
    return page


def attributes(bars: Locator, name: str) -> list[float]:
    return [float(value) for value in bars.evaluate_all(f"bars => bars.map((bar) => bar.dataset.{name})")]


def choose(page: Page, image: int) -> None:
    """Choose an image as a mouse does; the radio itself is hidden under its thumbnail."""
    page.locator(f"{PANEL} .kd-picker label").nth(image).click()


def assert_panel_shows(page: Page, data: dict[str, Any], image: int, step: int) -> TemperatureState:
    """Every number in the panel equals the twin's, and every bar has the length of its number."""
    state = temperature_state(data["logits"][image], TEMPERATURES[step])
    plain = temperature_state(data["logits"][image], 1.0)
    live = page.locator(f"{PANEL} .kd-live")
    logits, chances, others = (live.locator(f".kd-part-{p} .kd-bar") for p in ("logits", "probabilities", "others"))
    dot = live.locator(".kd-dot")
    assert attributes(logits, "z") == pytest.approx(data["logits"][image], abs=1e-12)
    assert attributes(logits, "scaled") == pytest.approx(list(state.scaled), abs=1e-6)
    assert attributes(chances, "p") == pytest.approx(list(state.probabilities), abs=1e-6)
    assert attributes(chances, "plain") == pytest.approx(list(plain.probabilities), abs=1e-6)
    assert attributes(others, "class") == list(state.ranking[:3])
    assert attributes(others, "share") == pytest.approx(list(state.second_thoughts[:3]), abs=1e-6)
    assert attributes(live.locator(".kd-left"), "rest") == pytest.approx([state.rest], rel=1e-6)
    assert attributes(dot, "entropy") == pytest.approx([state.entropy], abs=1e-6)
    assert attributes(dot, "t") == [state.temperature]

    widths = chances.evaluate_all("bars => bars.map((bar) => bar.width.baseVal.value)")
    scale = sum(widths)  # probabilities sum to 1, so this is the length of the whole axis
    assert widths == pytest.approx([p * scale for p in state.probabilities], abs=1e-3)
    axis = live.locator(".kd-part-probabilities line").evaluate_all("ls => ls.map((l) => l.x1.baseVal.value)")
    assert scale == pytest.approx(max(axis) - min(axis), abs=1e-2)

    assert live.locator(".kd-summary").inner_text() == state.summary(data["names"])
    slider = live.get_by_role("slider")
    assert slider.get_attribute("aria-valuetext") == f"T = {state.temperature:g}"
    assert live.locator(".kd-value").inner_text() == f"T = {state.temperature:g}"
    name = f"image {image + 1}, labelled {data['names'][data['labels'][image]]}"
    assert live.get_by_role("radio", name=name).is_checked()
    assert live.locator(".kd-part-image svg[role=img]").first.get_attribute("aria-label") == name
    return state


# ---- the exported page


def test_the_exported_page_works_offline(executed: Path, data: dict[str, Any], page: Page) -> None:
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    aborted = harness.block_network(page)
    errors = harness.watch_errors(page)
    page.goto(harness.export_html(executed).as_uri())
    page.get_by_role("slider").focus()
    page.keyboard.press("End")
    assert_panel_shows(page, data, 0, len(TEMPERATURES) - 1)
    # nbconvert's own template asks for require.js and MathJax; the panel may ask for nothing.
    foreign = [url for url in aborted if not re.search(r"/(require|mathjax|MathJax|mermaid)", url)]
    assert foreign == []
    assert [url for url in requests if not url.startswith(("file:", "data:")) and url not in aborted] == []
    assert [error for error in errors if not re.search("require|MathJax|mermaid", error)] == []


def test_numbers_equal_the_twin_at_every_step_and_image(exported: Page, data: dict[str, Any]) -> None:
    slider = exported.get_by_role("slider")
    radios = exported.get_by_role("radio")
    radios.first.focus()
    for image in range(len(data["images"])):
        if image:
            exported.keyboard.press("ArrowRight")
        for step in (0, 3, DEFAULT_STEP, 8, 13) if image else range(len(TEMPERATURES)):
            slider.evaluate(
                "(s, step) => { s.value = step; s.dispatchEvent(new Event('input', {bubbles: true})); }", step
            )
            assert_panel_shows(exported, data, image, step)


def test_keys_move_the_slider_as_a_slider_does(exported: Page, data: dict[str, Any]) -> None:
    exported.get_by_role("slider").focus()
    last = len(TEMPERATURES) - 1
    for key, step in (
        ("ArrowRight", 5),
        ("ArrowUp", 6),
        ("ArrowLeft", 5),
        ("Home", 0),
        ("ArrowLeft", 0),
        ("End", last),
    ):
        exported.keyboard.press(key)
        assert_panel_shows(exported, data, 0, step)
    exported.keyboard.press("PageDown")
    assert int(exported.get_by_role("slider").input_value()) < last
    exported.keyboard.press("PageUp")
    assert_panel_shows(exported, data, 0, last)


def test_another_image_is_chosen_by_keyboard_and_reset_returns(exported: Page, data: dict[str, Any]) -> None:
    exported.get_by_role("radio").first.focus()
    exported.keyboard.press("ArrowRight")
    exported.keyboard.press("ArrowRight")
    assert_panel_shows(exported, data, 2, DEFAULT_STEP)
    exported.keyboard.press("Tab")
    exported.keyboard.press("End")
    assert_panel_shows(exported, data, 2, len(TEMPERATURES) - 1)
    exported.keyboard.press("Tab")
    assert exported.evaluate("document.activeElement.textContent") == "Reset"
    exported.keyboard.press("Enter")
    assert_panel_shows(exported, data, 0, DEFAULT_STEP)


def test_moving_the_slider_creates_no_nodes(exported: Page) -> None:
    exported.evaluate(
        """() => {
            window.made = 0;
            new MutationObserver((changes) => changes.forEach((change) => change.addedNodes.forEach((node) => {
                window.made += node.nodeType === Node.ELEMENT_NODE;
            }))).observe(document.querySelector('.kd-live'), {childList: true, subtree: true});
        }"""
    )
    exported.get_by_role("slider").focus()
    for _ in range(5):
        exported.keyboard.press("ArrowRight")
    choose(exported, 3)
    assert exported.evaluate("window.made") == 0


def test_axes_do_not_move(exported: Page) -> None:
    def axes() -> list[list[str]]:
        lines = exported.locator(f"{PANEL} .kd-grid, {PANEL} .kd-axis, {PANEL} .kd-ceiling")
        return lines.evaluate_all("ls => ls.map((l) => ['x1', 'x2', 'y1', 'y2'].map((a) => l.getAttribute(a)))")

    before = axes()
    exported.get_by_role("slider").focus()
    exported.keyboard.press("End")
    choose(exported, 4)
    assert axes() == before


def test_a_bar_beyond_the_axis_says_so(exported: Page, data: dict[str, Any]) -> None:
    choose(exported, 5)
    arrow = exported.locator(f"{PANEL} .kd-part-logits .kd-row").nth(data["labels"][5]).locator(".kd-beyond")
    assert arrow.get_attribute("visibility") == "hidden"
    exported.get_by_role("slider").focus()
    exported.keyboard.press("Home")
    assert arrow.get_attribute("visibility") == "visible"
    inside = exported.locator(f"{PANEL} .kd-part-logits").evaluate(
        "(part) => Array.from(part.querySelectorAll('.kd-bar')).every((bar) => "
        "bar.getBoundingClientRect().right <= part.getBoundingClientRect().right)"
    )
    assert inside


@pytest.mark.parametrize("width", [400, 640, 900, 1280])
def test_nothing_overflows_and_text_stays_readable(exported: Page, width: int) -> None:
    exported.set_viewport_size({"width": width, "height": 900})
    exported.wait_for_timeout(100)
    panel = exported.locator(f"{PANEL} .kd-live")
    assert panel.evaluate("(node) => node.scrollWidth <= node.clientWidth")
    outside = panel.evaluate(
        """(panel) => {
            const frame = panel.getBoundingClientRect();
            return Array.from(panel.querySelectorAll('text, rect, span, b, button, output, input')).filter((node) => {
                const box = node.getBoundingClientRect();
                return box.width > 1 && (box.left < frame.left - 0.5 || box.right > frame.right + 0.5);
            }).map((node) => node.outerHTML);
        }"""
    )
    assert outside == []
    smallest = panel.evaluate(
        """(panel) => Math.min(...Array.from(panel.querySelectorAll('text, span, b, i, legend, output, button, div'))
            .filter((node) => node.textContent.trim()).map((node) => {
                const svg = node.closest('svg');
                const zoom = svg ? svg.getBoundingClientRect().width / svg.viewBox.baseVal.width : 1;
                return parseFloat(getComputedStyle(node).fontSize) * zoom;
            }))"""
    )
    assert smallest >= 11.95


def test_two_panels_with_one_id_live_side_by_side(executed: Path, data: dict[str, Any], page: Page) -> None:
    markup = executed_markup(executed)
    page.set_content(f"<!doctype html><body>{markup}<hr>{markup}</body>")
    assert page.locator(".kd-live").count() == 2
    first, second = page.get_by_role("slider").all()
    first.focus()
    page.keyboard.press("End")
    assert second.get_attribute("aria-valuetext") == "T = 1"
    page.get_by_role("radio").first.focus()
    page.keyboard.press("ArrowRight")
    assert page.get_by_role("radio", checked=True).count() == 2


def test_the_script_run_again_keeps_the_state_and_revives_a_copy(executed: Path, page: Page) -> None:
    markup = executed_markup(executed)
    page.set_content(f"<!doctype html><body>{markup}</body>")
    rerun = """() => {
        const old = document.querySelector('body > script');
        const again = document.createElement('script');
        again.textContent = old.textContent;
        document.body.append(again);
    }"""
    page.get_by_role("slider").focus()
    page.keyboard.press("End")
    page.evaluate(rerun)
    assert page.locator(".kd-live").count() == 1
    assert page.locator(".kd-value").inner_text() == "T = 20"  # what the learner had set is kept
    # A serialised copy carries dead controls; the script must replace them by live ones.
    page.evaluate("() => { const d = document.querySelector('.kd-explorable'); d.outerHTML = d.outerHTML; }")
    page.evaluate(rerun)
    assert page.locator(".kd-live").count() == 1
    page.get_by_role("slider").focus()
    page.keyboard.press("End")
    assert page.locator(".kd-value").inner_text() == "T = 20"


def test_every_picture_and_control_has_a_name(exported: Page) -> None:
    nameless = exported.locator(f"{PANEL} .kd-live").evaluate(
        "(panel) => Array.from(panel.querySelectorAll('svg[role=img]')).filter((svg) => "
        "!svg.closest('[aria-hidden=true]') && !svg.getAttribute('aria-label')).length"
    )
    assert nameless == 0
    exported.get_by_role("slider", name="Temperature T (also written τ)").wait_for()
    exported.get_by_role("group", name="Choose an image").wait_for()
    assert exported.locator(".kd-summary").get_attribute("aria-live") == "polite"


def test_label_and_top_class_differ_by_sign_not_only_colour(exported: Page, data: dict[str, Any]) -> None:
    choose(exported, 4)
    state = temperature_state(data["logits"][4], 1.0)
    rows = exported.locator(f"{PANEL} .kd-part-probabilities .kd-row")
    for sign, expected in (("label", data["labels"][4]), ("top", state.top)):
        shown = rows.locator(f".kd-sign.kd-{sign}").evaluate_all(
            "signs => signs.map((sign) => getComputedStyle(sign).visibility === 'visible')"
        )
        assert [k for k, visible in enumerate(shown) if visible] == [expected]


# ---- JupyterLab


def test_in_jupyterlab_the_arrow_keys_belong_to_the_slider(lab_page: Page, data: dict[str, Any]) -> None:
    harness.select_cell(lab_page, 1)
    lab_page.get_by_role("slider").focus()
    for _ in range(3):
        lab_page.keyboard.press("ArrowRight")
    for key in ("ArrowDown", "ArrowUp"):
        lab_page.keyboard.press(key)
    assert_panel_shows(lab_page, data, 0, DEFAULT_STEP + 3)
    assert harness.active_cell(lab_page) == 1
    lab_page.get_by_role("radio").first.focus()
    lab_page.keyboard.press("ArrowDown")
    assert_panel_shows(lab_page, data, 1, DEFAULT_STEP + 3)
    for key in "ddab":  # delete, insert above, insert below, were they to reach the notebook
        lab_page.keyboard.press(key)
    cells = lab_page.evaluate("() => window.jupyterapp.shell.currentWidget.content.widgets.length")
    assert (cells, harness.active_cell(lab_page)) == (3, 1)


def test_in_jupyterlab_sixty_quick_keys_are_all_drawn(lab_page: Page, data: dict[str, Any]) -> None:
    lab_page.get_by_role("slider").focus()
    lab_page.evaluate(
        """() => {
            const dot = document.querySelector('.kd-dot');
            window.drawn = [];
            window.pressed = [];
            new MutationObserver(() => window.drawn.push([performance.now(), Number(dot.dataset.t)]))
                .observe(dot, {attributes: true, attributeFilter: ['data-t']});
            // capture, so that the time is taken before the panel hears of it
            document.querySelector('.kd-range').addEventListener('input', () => {
                const at = performance.now();
                requestAnimationFrame(() => requestAnimationFrame(() => window.pressed.push(performance.now() - at)));
            }, true);
        }"""
    )
    keys = ["ArrowRight"] * 9 + ["ArrowLeft"] * 13 + ["ArrowRight"] * 13 + ["ArrowLeft"] * 13 + ["ArrowRight"] * 12
    started = lab_page.evaluate("performance.now()")
    for key in keys:
        lab_page.keyboard.press(key)
    ended = lab_page.evaluate("performance.now()")
    assert len(keys) == 60
    expected, step = [], DEFAULT_STEP
    for key in keys:
        step += 1 if key == "ArrowRight" else -1
        expected.append(TEMPERATURES[step])
    drawn = lab_page.evaluate("window.drawn")
    assert [temperature for _, temperature in drawn] == expected
    assert drawn[-1][0] <= ended  # nothing is late: the last state stood before the last key returned
    assert_panel_shows(lab_page, data, 0, step)
    lab_page.wait_for_function("window.pressed.length === 60")
    waits = sorted(lab_page.evaluate("window.pressed"))
    print(
        f"60 keys in {ended - started:.0f} ms; input to the frame after: median {waits[30]:.1f}, p95 {waits[57]:.1f} ms"
    )
    assert ended - started < 2000


def test_in_jupyterlab_a_windowed_notebook_gives_the_panel_back_as_it_was(
    start_lab: Callable[..., harness.LabServer], tmp_path: Path, page: Page, data: dict[str, Any]
) -> None:
    server = start_lab(tmp_path, settings={"@jupyterlab/notebook-extension:tracker": {"windowingMode": "full"}})
    filler = [("markdown", "\n\n".join(["text"] * 60)) for _ in range(30)]
    harness.write_notebook(tmp_path / "long.ipynb", [("markdown", "# A panel"), SOURCE, *filler])
    harness.open_notebook(page, server, "long.ipynb")
    harness.run_all(page)
    harness.scroll_to_output(page, 1)
    page.get_by_role("slider").focus()
    page.keyboard.press("End")
    harness.select_cell(page, 31)
    page.evaluate("() => window.jupyterapp.shell.currentWidget.content.scrollToItem(31, 'end')")
    page.wait_for_function("() => !document.querySelector('.kd-live')?.checkVisibility()")
    harness.scroll_to_output(page, 1)
    page.locator(".kd-live").wait_for()
    assert page.locator(".kd-live").count() == 1
    last = len(TEMPERATURES) - 1
    assert_panel_shows(page, data, 0, last)
    page.get_by_role("slider").focus()
    page.keyboard.press("ArrowLeft")
    assert_panel_shows(page, data, 0, last - 1)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_in_jupyterlab_text_has_contrast_in_both_themes(lab_page: Page, tmp_path: Path, theme: str) -> None:
    harness.set_theme(lab_page, theme)
    panel = lab_page.locator(f"{PANEL} .kd-live")
    harness.screenshot(panel, tmp_path / f"{theme}.png")
    harness.assert_contrast(
        panel,
        theme,
        fills=[".kd-row:not(.kd-is-top) .kd-bar", ".kd-is-top .kd-bar", ".kd-dot"],
        strokes=[".kd-line", ".kd-outline .kd-reference", ".kd-guide", ".kd-ceiling"],
    )


def test_an_untrusted_notebook_shows_the_picture(lab: harness.LabServer, executed: Path, page: Page) -> None:
    (lab.root / "untrusted.ipynb").write_bytes(executed.read_bytes())
    harness.open_notebook(page, lab, "untrusted.ipynb")
    output = harness.scroll_to_output(page, 1)
    picture = output.locator("img")
    picture.wait_for()
    assert picture.evaluate("(image) => image.complete && image.naturalWidth") > 600
    assert "second thoughts" in (picture.get_attribute("alt") or "")
    assert output.locator("table").count() == 1
    assert output.locator(".kd-live").count() == 0
