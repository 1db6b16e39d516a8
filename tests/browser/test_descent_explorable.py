"""The descent panel in a real browser: its numbers against the Python twin, its keys, its play button, its looks."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import harness
import numpy as np
import pytest

from kdlab.lab.descent import DescentPath, descent_path
from kdlab.lab.descent_losses import LOSSES
from kdlab.lab.descent_panel import descent_explorable
from kdlab.lab.figures import share_text
from kdlab.lab.twins import fixed_text

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

SOURCE = """
from kdlab.lab.descent_panel import descent_explorable

names = ["T-shirt", "dress shirt or blouse", "coat", "bag", "boot", "sandal", "sneaker", "trouser"]
descent_explorable([3, 6, 2.5, 5, 0, -1, -2, 1], 3, class_names=names, temperature=2, alpha=0.8)
"""
PANEL = ".kd-explorable"
KEYS = list(LOSSES)


@pytest.fixture(scope="module")
def markup(executed: Path) -> str:
    notebook = json.loads(executed.read_text(encoding="utf-8"))
    return "".join(notebook["cells"][1]["outputs"][0]["data"]["text/html"])


@pytest.fixture(scope="module")
def data(markup: str) -> dict[str, Any]:
    """What the panel was given, read from its markup."""
    block = re.search(r'class="kd-data">(.*?)</script>', markup, re.S)
    assert block is not None
    return json.loads(block.group(1))


@pytest.fixture(scope="module")
def exported_file(executed: Path) -> Path:
    return harness.export_html(executed)


@pytest.fixture
def exported(exported_file: Path, page: Page) -> Page:
    """The exported page without a network."""
    harness.block_network(page)
    page.goto(exported_file.as_uri())
    page.locator(f"{PANEL} .kd-live").wait_for()
    return page


@pytest.fixture
def moving_page(browser: Any, exported_file: Path) -> Iterator[Page]:
    """The exported page for a reader who has not asked for less motion."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, reduced_motion="no-preference")
    opened = context.new_page()
    harness.block_network(opened)
    opened.goto(exported_file.as_uri())
    try:
        yield opened
    finally:
        context.close()


Setting = tuple[int, int, int, int]  # indices of loss, temperature, alpha and step


def default(data: dict[str, Any]) -> Setting:
    return data["loss"], data["temperature"], data["alpha"], len(data["steps"]) - 1


def choose(page: Page, setting: Setting) -> None:
    """Set all four controls at once, as a learner's input events would."""
    page.evaluate(
        """([loss, ...places]) => {
            const form = document.querySelector('.kd-live');
            form.querySelectorAll('input[type=radio]')[loss].click();
            form.querySelectorAll('input[type=range]').forEach((input, i) => {
                input.value = places[i];
                input.dispatchEvent(new Event('input', {bubbles: true}));
            });
        }""",
        list(setting),
    )


@cache
def _path(logits: tuple[float, ...], label: int, loss: str, temperature: float, alpha: float) -> DescentPath:
    return descent_path(logits, label, loss, temperature, alpha)


def path_of(data: dict[str, Any], setting: Setting) -> DescentPath:
    loss, temperature, alpha, _ = setting
    chosen = KEYS[loss], data["temperatures"][temperature], data["alphas"][alpha]
    return _path(tuple(data["logits"]), data["label"], *chosen)


def assert_panel_shows(page: Page, data: dict[str, Any], setting: Setting) -> None:
    """Every number in the panel equals the twin's, and every bar and dot lies where its number says."""
    path, step = path_of(data, setting), data["steps"][setting[3]]
    live = page.locator(f"{PANEL} .kd-live")
    for place, temperature in (("plain", 1), ("soft", path.temperature)):
        part = live.locator(f".kd-part-descent-{place}")
        assert_shares(part, path, step, temperature)
    assert live.locator(".kd-part-descent-soft .kd-heading").inner_text() == f"At T = {path.temperature:g}"

    loss, far = float(path.losses[step]), float(path.divergences[step])
    dots = live.locator(".kd-dot")
    assert harness.numbers(dots, "step") == [step, step]
    assert harness.numbers(dots.nth(0), "loss") == pytest.approx([loss], rel=1e-7, abs=1e-9)
    assert harness.numbers(dots.nth(1), "divergence") == pytest.approx([far], rel=1e-7, abs=1e-9)
    headings = live.locator(".kd-part-descent-goal .kd-heading, .kd-part-descent-far .kd-heading").all_inner_texts()
    first = path.divergences[0]
    beyond = ", off the axis" if far > max(2 * first, 0.1) else ""
    assert headings == [
        f"Loss L: {fixed_text(loss, 3)} at step {step}",
        f"To the teacher at T = 1: KL(p ‖ q) = {abs(far):.3f} nats{beyond}",
    ]
    assert live.locator(".kd-summary").inner_text() == path.summary(data["names"])
    assert live.get_by_role("slider").evaluate_all("nodes => nodes.map((n) => n.getAttribute('aria-valuetext'))") == [
        f"T = {path.temperature:g}",
        f"α = {path.alpha:g}",
        f"step {step} of {data['steps'][-1]}",
    ]
    formula = f"L = (1 − α) CE + α · {LOSSES[path.loss].formula}"
    assert live.locator(".kd-formula b").inner_text() == formula
    checked = live.get_by_role("radio", checked=True)
    assert checked.evaluate_all("nodes => nodes.map((node) => Number(node.value))") == [setting[0]]


def assert_shares(part: Locator, path: DescentPath, step: int, temperature: float) -> None:
    bars = part.locator(".kd-bar")
    student = path.student(step, temperature)
    teacher = path.teacher ** (1 / temperature) / (path.teacher ** (1 / temperature)).sum()
    assert harness.numbers(bars, "q") == pytest.approx(student.tolist(), rel=1e-6, abs=1e-9)
    assert harness.numbers(bars, "p") == pytest.approx(teacher.tolist(), rel=1e-9)
    assert part.locator(".kd-number").all_text_contents() == [share_text(float(q)) for q in student]
    x = part.locator("svg line").evaluate_all("ls => ls.map((l) => l.x1.baseVal.value)")
    width = max(x) - min(x)  # from 0 to 1
    drawn = "rects => rects.map((rect) => rect.width.baseVal.value)"
    assert bars.evaluate_all(drawn) == pytest.approx((student * width).tolist(), abs=1e-2)
    assert part.locator("rect.kd-reference").evaluate_all(drawn) == pytest.approx((teacher * width).tolist(), abs=1e-2)


# ---- the numbers


@pytest.mark.parametrize("loss", KEYS)
def test_the_panel_shows_the_twins_numbers(exported: Page, data: dict[str, Any], loss: str) -> None:
    errors = harness.watch_errors(exported)
    last = len(data["steps"]) - 1
    for temperature, alpha, step in [
        (0, 10, last),
        (0, 5, 12),
        (1, 9, 1),
        (2, 3, 0),
        (3, 10, 25),
        (4, 8, last),
        (4, 0, 9),
    ]:
        setting = KEYS.index(loss), temperature, alpha, step
        choose(exported, setting)
        assert_panel_shows(exported, data, setting)
    assert errors == []


@pytest.mark.parametrize(
    ("logits", "label"),
    [([16, 5, 0], 1), ([3, 3, 0, -2, -2], 2), ([0, 0, 0, 0], 0)],
    ids=["steep", "ties", "knows nothing"],
)
def test_other_teachers_are_shown_by_the_same_numbers(page: Page, logits: list[float], label: int) -> None:
    panel = descent_explorable(logits, label, temperature=0.5)
    errors = harness.watch_errors(page)
    page.set_content(f"<!doctype html><body>{panel.html}</body>")
    for loss in range(len(KEYS)):
        for alpha, step in ((10, len(panel.data["steps"]) - 1), (5, 14)):
            choose(page, (loss, 0, alpha, step))
            assert_panel_shows(page, panel.data, (loss, 0, alpha, step))
    assert errors == []


def test_it_starts_where_it_was_told_with_the_descent_done(exported: Page, data: dict[str, Any]) -> None:
    assert_panel_shows(exported, data, default(data))


def test_curves_go_through_every_step_that_the_slider_has(exported: Page, data: dict[str, Any]) -> None:
    setting = KEYS.index("double_softmax"), 2, 8, 20
    choose(exported, setting)
    path = path_of(data, setting)
    for part, values in (("goal", path.losses), ("far", path.divergences)):
        svg = exported.locator(f".kd-part-descent-{part} svg")
        drawn = svg.locator(".kd-line").get_attribute("d") or ""
        points = np.array([[float(n) for n in pair.split(",")] for pair in drawn[1:].split(" L")])
        assert len(points) == len(data["steps"])
        dot = svg.locator(".kd-dot").evaluate("dot => [dot.cx.baseVal.value, dot.cy.baseVal.value]")
        assert points[20] == pytest.approx(dot, abs=0.01)
        assert np.diff(points[:, 0]).min() > 0
        top = np.inf if part == "goal" else 2 * path.divergences[0]
        shown = np.minimum(values[data["steps"]], top)
        slope = np.polyfit(shown, points[:, 1], 1)  # heights are a linear scale, downwards
        assert slope[0] < 0
        assert points[:, 1] == pytest.approx(np.polyval(slope, shown), abs=0.02)


def test_the_teachers_axis_does_not_move_so_that_losses_can_be_compared(exported: Page, data: dict[str, Any]) -> None:
    def axes() -> list[Any]:
        lines = exported.locator(".kd-part-descent-far line:not(.kd-drop), .kd-part-descent-plain line")
        return lines.evaluate_all("ls => ls.map((l) => ['x1', 'x2', 'y1', 'y2'].map((a) => l.getAttribute(a)))")

    before = axes()
    for loss in range(len(KEYS)):
        choose(exported, (loss, loss % 5, loss, loss))
        assert axes() == before


def test_walking_through_the_steps_creates_no_nodes_and_says_nothing_new(exported: Page) -> None:
    exported.evaluate(
        """() => {
            window.made = [];
            window.said = 0;
            new MutationObserver((changes) => changes.forEach((change) => change.addedNodes.forEach((node) => {
                if (node.nodeType === Node.ELEMENT_NODE) window.made.push(node.outerHTML);
                window.said += change.target.classList.contains('kd-summary');
            }))).observe(document.querySelector('.kd-live'), {childList: true, subtree: true});
        }"""
    )
    exported.get_by_role("slider").nth(2).focus()
    for key in ("Home", "ArrowRight", "ArrowRight", "PageUp", "End", "ArrowLeft"):
        exported.keyboard.press(key)
    assert exported.evaluate("[window.made, window.said]") == [[], 0]


def test_a_new_setting_is_drawn_within_a_frame(exported: Page) -> None:
    waits = exported.evaluate(
        """() => Array.from(document.querySelectorAll('input[type=radio]')).flatMap((radio) => {
            const began = performance.now();
            radio.click();
            return radio.value === '0' ? [] : [performance.now() - began];
        })"""
    )
    print("a new path in ms:", [round(wait, 1) for wait in waits])
    assert sorted(waits)[len(waits) // 2] < 40  # some 7 ms on a free core; others share it in the tests


# ---- keys and the play button


def test_arrow_keys_walk_through_all_nine_losses_as_one_row(exported: Page, data: dict[str, Any]) -> None:
    _, temperature, alpha, step = default(data)
    exported.get_by_role("radio").first.focus()
    for loss in range(1, len(KEYS)):
        exported.keyboard.press("ArrowRight")
        assert_panel_shows(exported, data, (loss, temperature, alpha, step))


def test_tab_goes_through_the_controls_in_reading_order_and_reset_returns(exported: Page, data: dict[str, Any]) -> None:
    start = default(data)
    exported.get_by_role("radio").first.focus()
    exported.keyboard.press("ArrowRight")
    for key in ("Home", "ArrowLeft", "Home"):
        exported.keyboard.press("Tab")
        exported.keyboard.press(key)
    assert_panel_shows(exported, data, (1, 0, start[2] - 1, 0))
    for name in ("Play", "Reset"):
        exported.keyboard.press("Tab")
        assert exported.evaluate("document.activeElement.textContent") == name
    exported.keyboard.press("Enter")
    assert_panel_shows(exported, data, start)


def watch_steps(page: Page) -> None:
    page.evaluate(
        """() => {
            const dot = document.querySelector('.kd-dot');
            window.began = performance.now();
            window.walked = [];
            new MutationObserver(() => window.walked.push([performance.now() - window.began, Number(dot.dataset.step)]))
                .observe(dot, {attributes: true, attributeFilter: ['data-step']});
        }"""
    )


def test_play_runs_from_the_first_step_to_the_last_in_about_three_seconds(
    moving_page: Page, data: dict[str, Any]
) -> None:
    button = moving_page.get_by_role("button", name="Play")
    watch_steps(moving_page)
    button.click()
    moving_page.get_by_role("button", name="Stop").wait_for()
    button.wait_for()
    walked = moving_page.evaluate("window.walked")
    steps = [step for _, step in walked]
    assert steps[0] == 0
    assert steps[-1] == data["steps"][-1]
    assert all(early < late for early, late in pairwise(steps))
    assert len(steps) > 8  # at most 40; a busy machine leaves some out
    assert 2.5 < (walked[-1][0] - walked[0][0]) / 1000 < 6
    assert_panel_shows(moving_page, data, default(data))


@pytest.mark.parametrize("how", ["key", "pointer", "button", "Reset"])
def test_play_stops_at_any_input(moving_page: Page, data: dict[str, Any], how: str) -> None:
    moving_page.get_by_role("button", name="Play").click()
    moving_page.wait_for_function("Number(document.querySelector('.kd-dot').dataset.step) >= 1")
    if how == "key":
        moving_page.get_by_role("slider").first.press("ArrowRight")
    elif how == "pointer":
        moving_page.locator(".kd-part-descent-plain").click()
    else:
        moving_page.get_by_role("button", name="Stop" if how == "button" else how).click()
    moving_page.get_by_role("button", name="Play").wait_for()
    step = moving_page.locator(".kd-dot").first.get_attribute("data-step")
    assert (int(step or 0) == data["steps"][-1]) == (how == "Reset")
    moving_page.wait_for_timeout(400)
    assert moving_page.locator(".kd-dot").first.get_attribute("data-step") == step


def test_for_less_motion_play_turns_a_few_stills(exported: Page, data: dict[str, Any]) -> None:
    watch_steps(exported)
    exported.get_by_role("button", name="Play").click()
    exported.get_by_role("button", name="Stop").wait_for()
    exported.get_by_role("button", name="Play").wait_for()
    walked = exported.evaluate("window.walked")
    assert [step for _, step in walked] == [0, 1, 10, 100, 1000, data["steps"][-1]]
    assert min(late - early for (early, _), (late, _) in pairwise(walked)) > 300


def test_in_jupyterlab_the_keys_belong_to_the_panel(lab_page: Page, data: dict[str, Any]) -> None:
    loss, temperature, alpha, step = default(data)
    harness.select_cell(lab_page, 1)
    lab_page.get_by_role("slider").nth(2).focus()
    for _ in range(3):
        lab_page.keyboard.press("ArrowLeft")
    assert_panel_shows(lab_page, data, (loss, temperature, alpha, step - 3))
    lab_page.get_by_role("radio").first.focus()
    lab_page.keyboard.press("ArrowDown")
    assert_panel_shows(lab_page, data, (loss + 1, temperature, alpha, step - 3))
    for key in "ddab":  # delete, insert above, insert below, were they to reach the notebook
        lab_page.keyboard.press(key)
    cells = lab_page.evaluate("() => window.jupyterapp.shell.currentWidget.content.widgets.length")
    assert (cells, harness.active_cell(lab_page)) == (2, 1)


# ---- looks and names


def test_every_picture_and_control_has_a_name(exported: Page) -> None:
    form = exported.get_by_role("form", name="Where the descent on a loss ends")
    names = form.locator("svg[role=img]").evaluate_all("nodes => nodes.map((node) => node.getAttribute('aria-label'))")
    assert len(names) == 4
    assert all(name and "step 2000" in name for name in names)
    for name in ("Temperature T", "Weight α of the soft term", "Step of the descent"):
        assert form.get_by_role("slider", name=name).count() == 1
    for group, count in (("Right", 4), ("Faulty", 5)):
        assert form.get_by_role("group", name=group).get_by_role("radio").count() == count
    assert form.locator("output").get_attribute("aria-live") == "polite"


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_in_jupyterlab_text_has_contrast_in_both_themes(lab_page: Page, tmp_path: Path, theme: str) -> None:
    harness.set_theme(lab_page, theme)
    panel = lab_page.locator(f"{PANEL} .kd-live")
    harness.screenshot(panel, tmp_path / f"{theme}.png")
    harness.assert_contrast(
        panel,
        theme,
        fills=[".kd-row:not(.kd-is-top) .kd-bar", ".kd-is-top .kd-bar", ".kd-dot"],
        strokes=[".kd-line", ".kd-outline .kd-reference", ".kd-ceiling"],
    )


@pytest.mark.parametrize("width", [400, 480, 640, 760, 1280])
def test_nothing_overflows_and_no_words_overlap(exported: Page, data: dict[str, Any], width: int) -> None:
    exported.set_viewport_size({"width": width, "height": 900})
    exported.wait_for_timeout(100)
    panel = exported.locator(f"{PANEL} .kd-live")
    for loss in KEYS:
        choose(exported, (KEYS.index(loss), 4, 8, 39))
        assert panel.evaluate("(node) => node.scrollWidth <= node.clientWidth")
        outside, overlaps = panel.evaluate(
            """(panel) => {
                const frame = panel.getBoundingClientRect();
                const seen = (node) => node.checkVisibility({visibilityProperty: true});
                const outside = Array.from(panel.querySelectorAll('text, rect, span, b, button, output, input'))
                    .filter(seen).filter((node) => {
                        const box = node.getBoundingClientRect();
                        return box.width > 1 && (box.left < frame.left - 0.5 || box.right > frame.right + 0.5);
                    }).map((node) => node.outerHTML);
                const words = Array.from(panel.querySelectorAll('text, .kd-ticks b')).filter(seen)
                    .filter((node) => node.textContent).map((node) => [node.textContent, node.getBoundingClientRect()]);
                const overlaps = words.flatMap(([one, a], i) => words.slice(i + 1)
                    .filter(([, b]) => a.left < b.right && b.left < a.right
                        && a.top + 3 < b.bottom && b.top + 3 < a.bottom)
                    .map(([other]) => [one, other]));
                return [outside, overlaps];
            }"""
        )
        assert (outside, overlaps) == ([], []), loss


def test_the_script_run_again_keeps_the_state_and_revives_a_copy(markup: str, data: dict[str, Any], page: Page) -> None:
    page.set_content(f"<!doctype html><body>{markup}</body>")
    rerun = """() => {
        const again = document.createElement('script');
        again.textContent = document.querySelector('body > script').textContent;
        document.body.append(again);
    }"""
    setting = 4, 1, 10, 7
    choose(page, setting)
    page.evaluate(rerun)
    assert_panel_shows(page, data, setting)
    page.evaluate("() => { const d = document.querySelector('.kd-explorable'); d.outerHTML = d.outerHTML; }")
    page.evaluate(rerun)
    assert page.locator(".kd-live").count() == 1
    choose(page, (5, 4, 3, 11))
    assert_panel_shows(page, data, (5, 4, 3, 11))


def test_an_untrusted_notebook_shows_the_picture(lab: harness.LabServer, executed: Path, page: Page) -> None:
    (lab.root / "untrusted.ipynb").write_bytes(executed.read_bytes())
    harness.open_notebook(page, lab, "untrusted.ipynb")
    output = harness.scroll_to_output(page, 1)
    picture = output.locator("img")
    picture.wait_for()
    assert picture.evaluate("(image) => image.complete && image.naturalWidth") > 600
    assert "forward KL, T = 2, α = 0.8, after 2000 steps" in (picture.get_attribute("alt") or "")
    assert output.locator("table tbody tr").count() == len(KEYS) + 1
    assert output.locator(".kd-live").count() == 0
