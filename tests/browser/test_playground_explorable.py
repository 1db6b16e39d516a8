"""The playground in a real browser: its training against torch's, its buttons, its keys, its tries, its looks."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import harness
import numpy as np
import pytest

from kdlab.comparison import contrast
from kdlab.lab.playground import (
    ANSWERS,
    LABELS,
    PLAYGROUND_ALPHAS,
    PLAYGROUND_TEMPERATURES,
    PROBES,
    SIZES,
    STEPS,
    PlaygroundSetting,
    PlaygroundState,
    playground_run,
    student_logits,
)
from kdlab.lab.playground_panel import _cells
from kdlab.lab.seeds_twin import points_text

if TYPE_CHECKING:
    from playwright.sync_api import Page

SOURCE = """
from kdlab.lab import playground_explorable

playground_explorable()
"""
PANEL = ".kd-explorable"
DEFAULT = PlaygroundSetting()


@pytest.fixture(scope="module")
def exported_file(executed: Path) -> Path:
    return harness.export_html(executed)


@pytest.fixture
def exported(exported_file: Path, page: Page) -> Page:
    """The exported page without a network, for a reader who asked for less motion."""
    harness.block_network(page)
    page.goto(exported_file.as_uri())
    page.locator(f"{PANEL} .kd-live").wait_for()
    return page


@pytest.fixture
def moving(browser: Any, exported_file: Path) -> Iterator[Page]:
    """The same for a reader who did not."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, reduced_motion="no-preference")
    opened = context.new_page()
    harness.block_network(opened)
    opened.goto(exported_file.as_uri())
    try:
        yield opened
    finally:
        context.close()


@cache
def states(setting: PlaygroundSetting, steps: tuple[int, ...]) -> list[PlaygroundState]:
    return playground_run(setting, steps)


def choose(page: Page, setting: PlaygroundSetting) -> None:
    """Set all controls but the start, as a learner's input events would."""
    page.evaluate(
        """([chosen, places]) => {
            const form = document.querySelector('.kd-live');
            for (const [name, index] of Object.entries(chosen)) {
                form.querySelectorAll(`input[name=${name}]`)[index].click();
            }
            form.querySelectorAll('input[type=range]').forEach((input, i) => {
                input.value = places[i];
                input.dispatchEvent(new Event('input', {bubbles: true}));
            });
        }""",
        [
            {
                "size": SIZES.index(setting.size),
                "labels": LABELS.index(setting.labels),
                "answers": ANSWERS.index(setting.answers),
            },
            [
                PLAYGROUND_TEMPERATURES.index(int(setting.temperature)),
                PLAYGROUND_ALPHAS.index(setting.alpha),
            ],
        ],
    )


def one_step(page: Page, times: int) -> None:
    page.evaluate(
        """(times) => {
            const button = [...document.querySelectorAll('.kd-live button')].find((b) => b.textContent === 'One step');
            for (let i = 0; i < times; i += 1) button.click();
        }""",
        times,
    )


def train(page: Page) -> None:
    page.get_by_role("button", name="Train", exact=True).click()
    page.get_by_role("button", name="Pause").wait_for()
    wait_for_the_end(page)


def wait_for_the_end(page: Page) -> None:
    page.get_by_role("button", name="Train", exact=True).wait_for(timeout=60_000)


def summary(page: Page) -> str:
    return page.locator(f"{PANEL} .kd-summary").inner_text()


def assert_panel_shows(page: Page, state: PlaygroundState, *, rel: float = 1e-6) -> None:
    """Logits at the probes, losses, accuracies and words are the twin's."""
    live = page.locator(f"{PANEL} .kd-live")
    for arm, name in enumerate(("alone", "taught")):
        canvas = live.locator(f".kd-part-map-{name} canvas")
        shown = canvas.evaluate("node => ({...node.dataset})")
        logits = student_logits(state.weights[arm], PROBES).flatten().tolist()
        assert np.ravel(json.loads(shown["probe"])).tolist() == pytest.approx(logits, rel=rel, abs=rel)
        assert float(shown["loss"]) == pytest.approx(state.losses[arm], rel=rel, abs=1e-10)
        assert float(shown["accuracy"]) == state.accuracies[arm]
        assert int(shown["step"]) == state.step
        assert f"at step {state.step} of {STEPS}: {100 * state.accuracies[arm]:.1f} %" in (
            canvas.get_attribute("aria-label") or ""
        )
    assert summary(page) == state.summary()


# ---- the numbers

SETTINGS = [
    DEFAULT,
    PlaygroundSetting(3, 32, 1, 80, "all"),
    PlaygroundSetting(24, 1, 0.5, 80, "labelled"),
    PlaygroundSetting(6, 16, 0.25, 5, "labelled"),
    PlaygroundSetting(24, 32, 0.9, 2, "all"),
    PlaygroundSetting(12, 8, 0, 20, "all"),
    PlaygroundSetting(6, 2, 0.75, 20, "all"),
    PlaygroundSetting(3, 1, 1, 2, "labelled"),
]


@pytest.mark.parametrize(
    "setting", SETTINGS, ids=lambda s: f"{s.size}-{s.temperature}-{s.alpha}-{s.labels}-{s.answers}"
)
def test_training_is_torchs_step_by_step(exported: Page, setting: PlaygroundSetting) -> None:
    errors = harness.watch_errors(exported)
    choose(exported, setting)
    looks = (0, 1, 10, 100)
    done = 0
    for state in states(setting, looks):
        one_step(exported, state.step - done)
        done = state.step
        assert_panel_shows(exported, state)
    assert errors == []


@pytest.mark.parametrize("setting", SETTINGS[:2], ids=["default", "hot"])
def test_at_the_last_step_it_is_still_torchs(exported: Page, setting: PlaygroundSetting) -> None:
    choose(exported, setting)
    train(exported)
    assert_panel_shows(exported, states(setting, (STEPS,))[0], rel=1e-5)


def test_another_start_has_other_weights_and_labels_and_they_are_the_twins(exported: Page) -> None:
    exported.get_by_role("button", name="Another start").click()
    exported.get_by_role("button", name="Pause").click()
    choose(exported, DEFAULT)
    second = PlaygroundSetting(start=2)
    first, later = states(second, (0, 7))
    assert_panel_shows(exported, first)
    one_step(exported, 7)
    assert_panel_shows(exported, later)


def regions(page: Page, name: str) -> list[int]:
    """The class of each of the map's cells, told from the canvas's colours; -1 on a border."""
    return page.locator(f".kd-part-map-{name} canvas").evaluate(
        """(canvas) => {
            const style = getComputedStyle(canvas);
            const colors = ['blue', 'orange', 'purple'].map((name) => style.getPropertyValue(`--kd-${name}`).trim())
                .map((hex) => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16)));
            const side = 180, size = canvas.width / side;
            const pixels = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
            return Array.from({length: side * side}, (_, i) => {
                const at = 4 * (Math.floor(i / side) * size * canvas.width + (i % side) * size);
                return colors.findIndex((rgb) => rgb.every((part, k) => Math.abs(part - pixels[at + k]) < 8));
            });
        }"""
    )


def test_maps_show_where_each_network_says_which_class(exported: Page) -> None:
    setting = PlaygroundSetting(24, 4, 0.9, 2, "all")
    choose(exported, setting)
    one_step(exported, 60)
    state = states(setting, (60,))[0]
    for arm, name in enumerate(("alone", "taught")):
        expected = student_logits(state.weights[arm], _cells()).argmax(dim=1).tolist()
        shown = regions(exported, name)
        assert len(shown) == len(expected)
        agree = sum(a == b for a, b in zip(shown, expected, strict=True)) / len(shown)
        assert agree > 0.99, name  # straight lines between the lattice's nodes, and grey borders
    assert regions(exported, "alone") != regions(exported, "taught")
    assert set(regions(exported, "teacher")) >= {0, 1, 2}


def test_without_the_teachers_term_both_maps_are_the_same(exported: Page) -> None:
    choose(exported, PlaygroundSetting(alpha=0, labels=20))
    one_step(exported, 50)
    assert regions(exported, "alone") == regions(exported, "taught")


# ---- the run


def test_train_moves_the_boundary_at_once_and_ends_after_about_four_seconds(moving: Page) -> None:
    moving.evaluate(
        """() => {
            const canvas = document.querySelector('.kd-part-map-taught canvas');
            window.seen = [];
            window.said = 0;
            const since = () => performance.now() - window.began;
            new MutationObserver(() => window.seen.push([since(), Number(canvas.dataset.step)]))
                .observe(canvas, {attributes: true, attributeFilter: ['data-step']});
            new MutationObserver(() => { window.said += 1; })
                .observe(document.querySelector('.kd-summary'), {childList: true, characterData: true, subtree: true});
            const button = document.querySelector('.kd-train');
            button.addEventListener('click', () => { window.began = performance.now(); }, {capture: true, once: true});
        }"""
    )
    moving.get_by_role("button", name="Train", exact=True).click()
    moving.get_by_role("button", name="Pause").wait_for()
    wait_for_the_end(moving)
    seen = moving.evaluate("window.seen")
    print("first picture after ms:", round(seen[0][0], 1), "pictures:", len(seen), "last after ms:", round(seen[-1][0]))
    assert seen[0][0] < 1000
    assert seen[0][1] >= 1
    assert len(seen) > 20
    assert 2.5 < seen[-1][0] / 1000 < 15  # four on a free core
    assert seen[-1][1] == STEPS
    assert moving.evaluate("window.said") <= 3 + seen[-1][0] / 1400  # not at each frame: it speaks
    assert_panel_shows(moving, states(DEFAULT, (STEPS,))[0], rel=1e-5)


def test_for_less_motion_there_are_a_few_stills(exported: Page) -> None:
    exported.evaluate(
        """() => {
            const canvas = document.querySelector('.kd-part-map-taught canvas');
            window.seen = 0;
            new MutationObserver(() => { window.seen += 1; })
                .observe(canvas, {attributes: true, attributeFilter: ['data-step']});
        }"""
    )
    train(exported)
    assert 2 <= exported.evaluate("window.seen") <= 10


def test_pause_holds_continue_goes_on_and_a_new_setting_starts_over_while_training(moving: Page) -> None:
    step = "Number(document.querySelector('.kd-part-map-taught canvas').dataset.step)"
    moving.get_by_role("button", name="Train", exact=True).click()
    moving.wait_for_function(f"{step} >= 20")
    moving.get_by_role("button", name="Pause").click()
    held = moving.evaluate(step)
    moving.wait_for_timeout(300)
    assert moving.evaluate(step) == held
    assert 20 <= held < STEPS
    moving.get_by_role("button", name="Continue").click()
    moving.wait_for_function(f"{step} > {held}")
    moving.get_by_role("slider", name="Temperature T").press("Home")
    assert moving.get_by_role("button", name="Pause").count() == 1
    wait_for_the_end(moving)
    assert_panel_shows(moving, states(PlaygroundSetting(temperature=1), (STEPS,))[0], rel=1e-5)
    assert moving.locator(".kd-part-tries tbody tr").count() == 1


def test_reset_returns_to_the_beginning_even_while_training(moving: Page) -> None:
    choose(moving, PlaygroundSetting(3, 8, 0.5, 20, "labelled"))
    moving.get_by_role("button", name="Another start").click()
    moving.get_by_role("button", name="Reset").click()
    assert_panel_shows(moving, states(DEFAULT, (0,))[0])
    moving.wait_for_timeout(300)
    assert_panel_shows(moving, states(DEFAULT, (0,))[0])


def test_a_run_that_is_removed_from_the_page_stops(moving: Page) -> None:
    moving.evaluate("window.form = document.querySelector('.kd-live')")
    moving.get_by_role("button", name="Train", exact=True).click()
    moving.wait_for_function("Number(document.querySelector('.kd-part-map-taught canvas').dataset.step) >= 5")
    moving.evaluate("window.form.remove()")
    moving.wait_for_timeout(200)
    step = "window.form.querySelector('.kd-part-map-taught canvas').dataset.step"
    held = moving.evaluate(step)
    moving.wait_for_timeout(300)
    assert moving.evaluate(step) == held


# ---- tries


def rows(page: Page) -> list[list[str]]:
    found = page.locator(f"{PANEL} .kd-part-tries tbody tr")
    return found.evaluate_all("rows => rows.map((row) => [...row.cells].map((cell) => cell.textContent))")


def test_after_five_starts_the_panel_says_what_kdlab_says(exported: Page) -> None:
    setting = PlaygroundSetting(size=3, labels=20, temperature=32)
    choose(exported, setting)
    train(exported)
    assert "1 start with this setting. From five on" in exported.locator(".kd-verdict").inner_text()
    train(exported)  # the same again tells nothing new
    assert len(rows(exported)) == 1
    exported.get_by_role("button", name="5 more starts").click()
    exported.get_by_role("button", name="Pause").wait_for()
    wait_for_the_end(exported)

    ends = [states(PlaygroundSetting(3, 32, 0.9, 20, "all", start), (STEPS,))[0] for start in range(1, 7)]
    found = contrast([100 * (state.accuracies[1] - state.accuracies[0]) for state in ends])
    low, high = found.interval
    assert exported.locator(".kd-verdict").inner_text() == (
        f"6 starts with this setting: with the teacher {points_text(found.difference)} points on average, "
        f"95 % interval {points_text(low)} to {points_text(high)}: {found.verdict}."
    )
    numbers = exported.locator(".kd-verdict").evaluate(
        "node => ['mean', 'low', 'high'].map((k) => Number(node.dataset[k]))"
    )
    assert numbers == pytest.approx([found.difference, low, high], rel=1e-5)
    shown = rows(exported)
    assert [row[0] for row in shown] == ["6", "5", "4", "3", "2", "1"]
    for row, state in zip(shown, reversed(ends), strict=True):
        alone, taught = (100 * share for share in state.accuracies)
        assert row[2:] == [f"{alone:.1f} %", f"{taught:.1f} %", points_text(taught - alone)]
    assert summary(exported) == ends[-1].summary()


def test_only_equal_settings_are_counted_together_and_eight_runs_stay_in_sight(exported: Page) -> None:
    for setting in (PlaygroundSetting(size=3), PlaygroundSetting(size=3, alpha=1)):
        choose(exported, setting)
        exported.get_by_role("button", name="5 more starts").click()
        exported.get_by_role("button", name="Pause").wait_for()
        wait_for_the_end(exported)
    assert len(rows(exported)) == 8
    assert exported.locator(".kd-verdict").inner_text().startswith("5 starts with this setting")
    choose(exported, PlaygroundSetting(size=6))
    assert exported.locator(".kd-verdict").inner_text().startswith("0 starts with this setting")


# ---- keys, names, looks


def test_tab_goes_through_the_controls_in_reading_order(exported: Page) -> None:
    exported.locator("input[name=size]:checked").focus()
    exported.keyboard.press("ArrowLeft")
    for key in ("ArrowRight", "ArrowLeft", "ArrowLeft", "End"):
        exported.keyboard.press("Tab")
        exported.keyboard.press(key)
    assert_panel_shows(exported, states(PlaygroundSetting(6, 2, 1, 5, "labelled"), (0,))[0])
    for name in ("Train", "One step", "Another start", "5 more starts, fast", "Reset"):
        exported.keyboard.press("Tab")
        assert exported.evaluate("document.activeElement.textContent") == name
        if name == "One step":
            exported.keyboard.press("Enter")
            exported.keyboard.press("Space")
    assert_panel_shows(exported, states(PlaygroundSetting(6, 2, 1, 5, "labelled"), (2,))[0])
    exported.keyboard.press("Enter")
    assert_panel_shows(exported, states(DEFAULT, (0,))[0])


def test_in_jupyterlab_the_keys_belong_to_the_panel(lab_page: Page) -> None:
    harness.select_cell(lab_page, 1)
    lab_page.get_by_role("slider", name="Temperature T").focus()
    lab_page.keyboard.press("ArrowRight")
    lab_page.locator("input[name=labels]:checked").focus()
    lab_page.keyboard.press("ArrowDown")
    for key in "ddab":  # delete, insert above, insert below, were they to reach the notebook
        lab_page.keyboard.press(key)
    lab_page.get_by_role("button", name="One step").focus()
    lab_page.keyboard.press("Enter")
    assert_panel_shows(lab_page, states(PlaygroundSetting(temperature=8, labels=5), (1,))[0])
    cells = lab_page.evaluate("() => window.jupyterapp.shell.currentWidget.content.widgets.length")
    assert (cells, harness.active_cell(lab_page)) == (2, 1)


def test_every_picture_and_control_has_a_name(exported: Page) -> None:
    form = exported.get_by_role("form", name="Two students learn, one with a teacher")
    pictures = form.locator("[role=img]").evaluate_all("nodes => nodes.map((node) => node.getAttribute('aria-label'))")
    assert len(pictures) == 4
    assert all(pictures)
    for name in ("Temperature T", "Weight α of the teacher’s term"):
        assert form.get_by_role("slider", name=name).count() == 1
    for group, count in (("Hidden units", 4), ("Labelled points of each class", 4), ("The teacher answers for", 2)):
        assert form.get_by_role("group", name=group).get_by_role("radio").count() == count
    assert form.locator("output").get_attribute("aria-live") == "polite"
    values = form.get_by_role("slider").evaluate_all("nodes => nodes.map((n) => n.getAttribute('aria-valuetext'))")
    assert values == ["T = 4", "α = 0.9"]


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_in_jupyterlab_text_has_contrast_in_both_themes(lab_page: Page, tmp_path: Path, theme: str) -> None:
    harness.set_theme(lab_page, theme)
    lab_page.get_by_role("button", name="5 more starts").click()
    lab_page.get_by_role("button", name="Pause").wait_for()
    wait_for_the_end(lab_page)
    panel = lab_page.locator(f"{PANEL} .kd-live")
    cells = panel.locator(".kd-part-tries td, .kd-part-tries th")
    assert cells.count() == 30
    assert cells.evaluate_all("cells => cells.filter((cell) => cell.scrollWidth > cell.clientWidth + 1).length") == 0
    harness.screenshot(panel, tmp_path / f"{theme}.png")
    harness.assert_contrast(
        panel,
        theme,
        fills=[".kd-end-taught"],
        strokes=[".kd-labelled", ".kd-track-alone", ".kd-track-taught", ".kd-ceiling"],
    )


@pytest.mark.parametrize("width", [400, 480, 640, 700, 1280])
def test_nothing_overflows_and_no_words_overlap(exported: Page, width: int) -> None:
    exported.set_viewport_size({"width": width, "height": 900})
    exported.wait_for_timeout(100)
    exported.get_by_role("button", name="5 more starts").click()
    exported.get_by_role("button", name="Pause").wait_for()
    wait_for_the_end(exported)
    panel = exported.locator(f"{PANEL} .kd-live")
    assert panel.evaluate("(node) => node.scrollWidth <= node.clientWidth")
    outside, overlaps = panel.evaluate(
        """(panel) => {
            const frame = panel.getBoundingClientRect();
            const seen = (node) =>
                !node.closest(".kd-tries-scroll") && node.checkVisibility({visibilityProperty: true});
            const outside = [...panel.querySelectorAll('text, canvas, span, b, button, output, input, p')]
                .filter(seen).filter((node) => {
                    const box = node.getBoundingClientRect();
                    return box.width > 1 && (box.left < frame.left - 0.5 || box.right > frame.right + 0.5);
                }).map((node) => node.outerHTML);
            const words = [...panel.querySelectorAll('text, .kd-ticks b')].filter(seen)
                .filter((node) => node.textContent).map((node) => [node.textContent, node.getBoundingClientRect()]);
            const overlaps = words.flatMap(([one, a], i) => words.slice(i + 1)
                .filter(([, b]) => a.left < b.right && b.left < a.right && a.top + 3 < b.bottom && b.top + 3 < a.bottom)
                .map(([other]) => [one, other]));
            return [outside, overlaps];
        }"""
    )
    assert (outside, overlaps) == ([], [])


def test_axes_stay_where_they_are(exported: Page) -> None:
    def axes() -> Any:
        lines = exported.locator(".kd-accuracy line, .kd-accuracy .kd-tick")
        return lines.evaluate_all("ls => ls.map((l) => ['x1', 'y1', 'y2', 'x', 'y'].map((a) => l.getAttribute(a)))")

    before = axes()
    choose(exported, PlaygroundSetting(24, 1, 0.25, 20, "labelled"))
    one_step(exported, 40)
    assert axes() == before


def test_the_script_run_again_keeps_the_state_and_revives_a_copy(executed: Path, page: Page) -> None:
    notebook = json.loads(executed.read_text(encoding="utf-8"))
    markup = "".join(notebook["cells"][1]["outputs"][0]["data"]["text/html"])
    assert re.search(r'id="kd-playground"', markup)
    page.set_content(f"<!doctype html><body>{markup}</body>")
    rerun = """() => {
        const again = document.createElement('script');
        again.textContent = document.querySelector('body > script').textContent;
        document.body.append(again);
    }"""
    one_step(page, 4)
    page.evaluate(rerun)
    assert_panel_shows(page, states(DEFAULT, (4,))[0])
    page.evaluate("() => { const d = document.querySelector('.kd-explorable'); d.outerHTML = d.outerHTML; }")
    page.evaluate(rerun)
    assert page.locator(".kd-live").count() == 1
    one_step(page, 3)
    assert_panel_shows(page, states(DEFAULT, (3,))[0])


def test_an_untrusted_notebook_shows_the_picture(lab: harness.LabServer, executed: Path, page: Page) -> None:
    (lab.root / "untrusted.ipynb").write_bytes(executed.read_bytes())
    harness.open_notebook(page, lab, "untrusted.ipynb")
    output = harness.scroll_to_output(page, 1)
    picture = output.locator("img")
    picture.wait_for()
    assert picture.evaluate("(image) => image.complete && image.naturalWidth") > 600
    assert states(DEFAULT, (STEPS,))[0].summary() in (picture.get_attribute("alt") or "")
    assert output.locator(".kd-live").count() == 0
