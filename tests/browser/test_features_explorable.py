"""The features panel in a real browser: its numbers against the features themselves, its keys, its looks."""

from __future__ import annotations

import re
from itertools import pairwise, product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import harness
import numpy as np
import pytest
import torch

from kdlab.feature_tap import FeatureTap
from kdlab.lab import features_twin as twin
from kdlab.lab.features_panel import CONSTANTS, FACTORS
from kdlab.lab.features_twin import KINDS, LOSSES, FeaturesState, features_state
from kdlab.modes import evaluating

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

MAKE = """
import torch
from torch import nn
from kdlab.data import load_digits
from kdlab.models import SmallCNN
from kdlab.training import seeded

test = load_digits().test
rows = [int((test.labels == digit).nonzero()[i]) for digit in (0, 1, 4) for i in (0, 1)]
images, labels = test.images[rows], test.labels[rows]
more = test.images[:40]
with seeded(3):
    teacher = SmallCNN(8)
    students = {"first try": SmallCNN(2, dropout=0.0), "second try": SmallCNN(3, dropout=0.0)}
teacher_layers = ["features.1", "features.4", "classifier.3"]
student_layers = ["features.0", "features.4", "classifier.3"]
"""
SOURCE = (
    MAKE
    + """
from kdlab.lab.features_panel import features_explorable

features_explorable(teacher, students, images, labels, teacher_layers=teacher_layers, student_layers=student_layers,
                    more_images=more)
"""
)
PANEL = ".kd-explorable"
GROUPS = ("image", "student", "teacher-layer", "student-layer", "change")
START = {"image": 0, "student": 0, "teacher-layer": 0, "student-layer": 0, "change": 0}
START |= {"factor": FACTORS.index(3), "constant": CONSTANTS.index(1)}
Where = dict[str, int]


@pytest.fixture(scope="module")
def caught() -> dict[str, Any]:
    """The features that the panel was never given, of the same networks."""
    made: dict[str, Any] = {}
    exec(MAKE, made)
    every = torch.cat([made["images"], made["more"]])
    found = {}
    for name, model in {"teacher": made["teacher"], **made["students"]}.items():
        layers = made["teacher_layers" if name == "teacher" else "student_layers"]
        with FeatureTap(model, layers) as tap, evaluating(model):
            model(every)
        found[name] = [tap[layer] for layer in layers]
    return {"features": found, "n": len(made["images"]), "labels": made["labels"].tolist(), **made}


def sliders(page: Page) -> tuple[Locator, Locator]:
    """Those of s and of c."""
    return (
        page.get_by_role("slider", name="All features times s"),
        page.get_by_role("slider", name="Every channel plus c"),
    )


def move(page: Page, **where: int) -> Where:
    """Set every control, as a mouse would and quickly; the change last, as a slider chooses one too."""
    place = {**START, **where}
    for slider, name in zip(sliders(page), ("factor", "constant"), strict=True):
        slider.evaluate("(s, i) => { s.value = i; s.dispatchEvent(new Event('input', {bubbles: true})); }", place[name])
    for group in GROUPS:
        page.locator(f"{PANEL} input[name={group}]").nth(place[group]).evaluate("input => input.click()")
    return place


def states(caught: dict[str, Any], where: Where) -> tuple[FeaturesState, FeaturesState, FeaturesState]:
    """The twin's now, as it is, and of the first student as it is."""
    n, names = caught["n"], list(caught["students"])
    known = caught["features"]["teacher"][where["teacher-layer"]]
    kind = KINDS[where["change"]]

    def state(student: int, kind: str) -> FeaturesState:
        mine = caught["features"][names[student]][where["student-layer"]]
        return features_state(
            known[:n], mine[:n], kind=kind, amount=amount(where), image=where["image"], more=(known[n:], mine[n:])
        )

    return state(where["student"], kind), state(where["student"], "none"), state(0, "none")


def amount(where: Where) -> float:
    kind = KINDS[where["change"]]
    return {"scale": FACTORS[where["factor"]], "constant": CONSTANTS[where["constant"]]}.get(kind, 1.0)


def shown(live: Locator, part: str, column: int) -> np.ndarray:
    """Values of the visible squares of one picture."""
    squares = live.locator(f".kd-part-features-{part} svg").nth(column).locator(".kd-square")
    values = squares.evaluate_all(
        "nodes => nodes.filter((n) => n.getAttribute('visibility') !== 'hidden').map((n) => Number(n.dataset.value))"
    )
    return np.array(values)


def assert_panel_shows(page: Page, caught: dict[str, Any], where: Where) -> None:
    """What follows from energies and inner products is what changing the features themselves gives."""
    now, before, first = states(caught, where)
    live = page.locator(f"{PANEL} .kd-live")
    assert_controls_show(page, where)
    assert_squares_show(live, now, where)
    losses = assert_losses_show(live, now, before, first)
    name, kind = list(caught["students"])[where["student"]], KINDS[where["change"]]
    layers = caught["student_layers"][where["student-layer"]], caught["teacher_layers"][where["teacher-layer"]]
    vector = where["student-layer"] == 2
    neutral = {"none": True, "scale": amount(where) == 1, "constant": amount(where) == 0, "roll": vector}
    assert live.locator(".kd-summary").inner_text() == twin.features_summary(
        losses["value"],
        losses["before"],
        start=f"{name}, {layers[0]} beside the teacher’s {layers[1]}",
        what=twin.kind_text(kind, amount(where), where["image"]),
        changed=not neutral.get(kind, False),
    )


def assert_controls_show(page: Page, where: Where) -> None:
    texts = [f"s = {FACTORS[where['factor']]:g}", f"c = {CONSTANTS[where['constant']]:g}"]
    assert [slider.get_attribute("aria-valuetext") for slider in sliders(page)] == texts
    assert [int(slider.input_value()) for slider in sliders(page)] == [where["factor"], where["constant"]]
    for group in GROUPS:
        assert page.locator(f"{PANEL} input[name={group}]").nth(where[group]).is_checked()


def assert_squares_show(live: Locator, now: FeaturesState, where: Where) -> None:
    assert shown(live, "images", 0) == pytest.approx(now.teacher_gram.flatten(), abs=1e-6)
    assert shown(live, "images", 1) == pytest.approx(now.student_gram.flatten(), abs=1e-6)
    assert shown(live, "images", 2) == pytest.approx((now.student_gram - now.teacher_gram).flatten(), abs=1e-6)
    trio = live.locator(".kd-part-features-maps .kd-trio")
    assert trio.is_visible() == (now.teacher_map is not None)
    if now.teacher_map is None or now.student_map is None:
        assert "no map" in live.locator(".kd-part-features-maps").inner_text()
        return
    maps = [one[where["image"]].flatten() for one in (now.teacher_map, now.student_map)]
    assert shown(live, "maps", 0) == pytest.approx(maps[0], abs=5e-4)
    assert shown(live, "maps", 1) == pytest.approx(maps[1], abs=5e-4)
    assert shown(live, "maps", 2) == pytest.approx(maps[1] - maps[0], abs=1e-3)


def assert_losses_show(live: Locator, *twins: FeaturesState) -> dict[str, dict[str, float | None]]:
    """The panel's losses equal the twin's, and every bar lies where they say; returns the panel's."""
    rows = live.locator(".kd-part-features-losses .kd-row")
    found: dict[str, dict[str, float | None]] = {}
    for key, state in zip(("value", "before"), twins[:2], strict=True):
        texts = rows.evaluate_all(f"rows => rows.map((row) => row.dataset.{key})")
        found[key] = {n: None if t == "n/a" else float(t) for n, t in zip(LOSSES, texts, strict=True)}
        for name, value in state.losses.items():
            assert (found[key][name] is None) == (value is None)
            if value is not None:
                assert found[key][name] == pytest.approx(value, rel=2e-4 if name != "attention" else 1e-3, abs=1e-7)
    moved = rows.evaluate_all("rows => rows.map((row) => row.dataset.moved)")
    for name, word in zip(LOSSES, moved, strict=True):
        pair = twins[0].losses[name], twins[1].losses[name]
        assert word == "" or pair[0] is not None
        if word:
            assert word == ("yes" if twin.notices(*pair) else "blind")
    lines = live.locator(".kd-part-features-losses line").evaluate_all(
        "ls => ls.filter((l) => l.getAttribute('visibility') !== 'hidden').map((l) => l.x1.baseVal.value)"
    )
    unit = lines[2] - lines[0]  # 1, the third tick
    for kind, state in zip(("student", "pale"), twins[:2], strict=True):
        widths = live.locator(f".kd-part-features-losses .kd-lane-{kind}").evaluate_all(
            "bars => bars.map((bar) => bar.width.baseVal.value)"
        )
        for name, width in zip(LOSSES, widths, strict=True):
            value, reference = state.losses[name], twins[2].losses[name]
            share = 0.0 if value is None or not reference else min(2.2, value / reference)
            assert width == pytest.approx(share * unit, abs=0.5)
    return found


# ---- the exported page


def test_what_losses_can_see_suffices_for_every_pair_and_change(exported: Page, caught: dict[str, Any]) -> None:
    assert_panel_shows(exported, caught, START)
    for number, (t, s, change) in enumerate(product(range(3), range(3), range(len(KINDS)))):
        where = move(
            exported,
            **{"image": number % 6, "student": number % 2, "teacher-layer": t, "student-layer": s, "change": change},
            factor=number % len(FACTORS),
            constant=(7 * number) % len(CONSTANTS),
        )
        assert_panel_shows(exported, caught, where)


def test_both_sliders_tell_the_truth_at_each_step_and_choose_their_change(
    exported: Page, caught: dict[str, Any]
) -> None:
    for slider, name, change, steps in zip(
        sliders(exported), ("factor", "constant"), (1, 3), (FACTORS, CONSTANTS), strict=True
    ):
        move(exported)
        slider.focus()
        exported.keyboard.press("Home")
        for step in range(len(steps)):
            assert_panel_shows(exported, caught, {**START, "change": change, name: step})
            exported.keyboard.press("ArrowRight")


def test_it_works_offline_and_asks_for_nothing(executed: Path, caught: dict[str, Any], page: Page) -> None:
    aborted, errors = harness.block_network(page), harness.watch_errors(page)
    page.goto(harness.export_html(executed).as_uri())
    assert_panel_shows(page, caught, move(page, change=4, image=3))
    assert [url for url in aborted if not re.search(r"/(require|mathjax|MathJax|mermaid)", url)] == []
    assert [error for error in errors if not re.search("require|MathJax|mermaid", error)] == []


def test_keys_alone_reach_every_control_in_reading_order(exported: Page, caught: dict[str, Any]) -> None:
    where = dict(START)
    exported.locator(f"{PANEL} input[name=image]").first.focus()
    for group in GROUPS:
        exported.keyboard.press("ArrowRight")
        where[group] = 1
        assert_panel_shows(exported, caught, where)
        exported.keyboard.press("Tab")
    exported.keyboard.press("ArrowRight")
    where["factor"] += 1
    assert_panel_shows(exported, caught, where)
    exported.keyboard.press("Tab")
    exported.keyboard.press("ArrowLeft")
    where |= {"constant": START["constant"] - 1, "change": KINDS.index("constant")}
    assert_panel_shows(exported, caught, where)
    exported.keyboard.press("Tab")
    assert exported.evaluate("document.activeElement.textContent") == "Reset"
    exported.keyboard.press("Enter")
    assert_panel_shows(exported, caught, START)
    exported.keyboard.press("Tab")
    exported.keyboard.press("Enter")
    assert exported.locator(f"{PANEL} details.kd-matrices").evaluate("details => details.open")


def test_axes_and_colours_stand_still_while_features_change(exported: Page) -> None:
    def scales() -> Any:
        ticks = exported.locator(f"{PANEL} .kd-lanes .kd-tick").evaluate_all(
            "ts => ts.map((t) => [t.getAttribute('x'), t.textContent])"
        )
        return ticks, exported.locator(f"{PANEL} .kd-trio .kd-note").all_inner_texts()

    move(exported)
    before = scales()
    assert sum(text.startswith("full:") for text in before[1]) == 6
    for change in range(len(KINDS)):
        move(exported, change=change, factor=0, constant=len(CONSTANTS) - 1)
        assert scales() == before
    move(exported, image=3)
    assert scales() != before


def test_a_sign_is_told_by_colour_and_by_mark_and_the_depth_by_the_value(exported: Page) -> None:
    move(exported, **{"student-layer": 0})
    squares = exported.locator(f"{PANEL} .kd-part-features-maps svg").nth(2)
    drawn = squares.locator(".kd-square").evaluate_all(
        """nodes => nodes.map((n) => [Number(n.dataset.value), Number(n.getAttribute('fill-opacity')),
            getComputedStyle(n).fill, n.nextSibling.getAttribute('d')])"""
    )
    full = float(exported.locator(f"{PANEL} .kd-part-features-maps .kd-note").nth(5).inner_text().split("±")[1])
    assert {sign: {fill for value, _, fill, _ in drawn if (value < 0) == sign} for sign in (True, False)} == {
        True: {"rgb(213, 94, 0)"},
        False: {"rgb(0, 114, 178)"},
    }
    for value, depth, _, mark in drawn:
        assert depth == pytest.approx(min(1, abs(value) / full), abs=0.02)
        if depth > 0.22:
            assert mark == ("M-3,0H3" if value < 0 else "M-3,0H3M0,-3V3")
        if depth < 0.18:
            assert mark == ""


def test_the_tables_say_the_same_in_numbers_when_open(exported: Page, caught: dict[str, Any]) -> None:
    exported.locator(f"{PANEL} details.kd-matrices summary").click()
    where = move(exported, **{"teacher-layer": 1, "change": 5, "image": 2})
    now, _, _ = states(caught, where)
    assert now.student_map is not None
    read = """tables => tables.map((table) => Array.from(table.querySelectorAll('td'))
        .filter((cell) => cell.checkVisibility()).map((cell) => cell.textContent))"""
    values = exported.locator(f"{PANEL} .kd-matrices table").evaluate_all(read)
    assert [len(one) for one in values] == [16, 16, 36, 36]
    numbers = [[float(text.replace("−", "-")) for text in one] for one in values]
    assert numbers[1] == pytest.approx(now.student_map[2].flatten().tolist(), abs=1e-3)
    assert numbers[3] == pytest.approx(now.student_gram.flatten().tolist(), abs=6e-4)
    move(exported, **{"teacher-layer": 2})
    assert [len(one) for one in exported.locator(f"{PANEL} .kd-matrices table").evaluate_all(read)] == [0, 0, 36, 36]


def test_moving_creates_no_elements(exported: Page) -> None:
    exported.evaluate(
        """() => {
            window.made = 0;
            new MutationObserver((changes) => changes.forEach((change) => change.addedNodes.forEach((node) => {
                window.made += node.nodeType === Node.ELEMENT_NODE;
            }))).observe(document.querySelector('.kd-live'), {childList: true, subtree: true});
        }"""
    )
    for t, s, change in ((0, 1, 1), (1, 0, 3), (2, 2, 4)):
        move(exported, **{"teacher-layer": t, "student-layer": s, "change": change})
    assert exported.evaluate("window.made") == 0


@pytest.mark.parametrize("width", [400, 480, 640, 760, 1280])
def test_nothing_overflows_or_collides_and_text_stays_readable(exported: Page, width: int) -> None:
    exported.set_viewport_size({"width": width, "height": 900})
    move(exported, change=4)
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
    boxes = panel.locator("svg[role=img]").evaluate_all(
        """charts => charts.flatMap((svg, chart) => Array.from(svg.querySelectorAll('text'))
            .filter((text) => text.textContent).map((text) => text.getBoundingClientRect())
            .map((box) => [chart, Math.round(box.top), box.left, box.right]))"""
    )
    boxes.sort()
    for (chart, top, _, right), (other, same, left, _) in pairwise(boxes):
        assert (chart, top) != (other, same) or right < left + 0.5
    smallest = panel.locator("text, span, b, legend, output, button, div, td, th").evaluate_all(
        "nodes => Math.min(...nodes.filter((node) => node.textContent.trim())"
        ".map((node) => parseFloat(getComputedStyle(node).fontSize)))"
    )
    assert smallest >= 11.95


def test_two_panels_on_a_page_do_not_disturb_each_other_and_a_second_run_keeps_the_state(
    executed: Path, page: Page
) -> None:
    markup = harness.markup_of(executed)
    page.set_content(f"<!doctype html><body>{markup}<hr>{markup}</body>")
    assert page.locator(".kd-live").count() == 2
    page.get_by_role("slider").first.press("End")
    assert page.locator(".kd-value").all_inner_texts() == ["s = 10", "c = 1", "s = 3", "c = 1"]
    assert page.locator("input[name=change]").evaluate_all("all => all.map((i) => i.checked)").count(True) == 2
    page.evaluate(
        """() => {
            const again = document.createElement('script');
            again.textContent = document.querySelector('body > script').textContent;
            document.body.append(again);
        }"""
    )
    assert page.locator(".kd-live").count() == 2
    assert page.locator(".kd-value").first.inner_text() == "s = 10"


# ---- JupyterLab


def test_in_jupyterlab_arrows_belong_to_the_panel_and_each_key_is_drawn_within_a_frame(
    lab_page: Page, caught: dict[str, Any]
) -> None:
    harness.select_cell(lab_page, 1)
    lab_page.evaluate(
        """() => {
            window.spent = [];
            let began = 0;
            const live = document.querySelector('.kd-live');
            live.addEventListener('input', () => { began = performance.now(); }, true);
            live.addEventListener('input', () => { window.spent.push(performance.now() - began); });
        }"""
    )
    factor, constant = sliders(lab_page)
    factor.focus()
    for key in ["ArrowRight"] * 3 + ["ArrowLeft"] * 7:
        lab_page.keyboard.press(key)
    constant.focus()
    for key in ["ArrowLeft"] * 4 + ["ArrowRight"] * 6:
        lab_page.keyboard.press(key)
    where = {"change": 3, "factor": START["factor"] - 4, "constant": START["constant"] + 2}
    assert_panel_shows(lab_page, caught, {**START, **where})
    assert harness.active_cell(lab_page) == 1
    spent = sorted(lab_page.evaluate("window.spent"))
    print(f"drawing one move: median {spent[len(spent) // 2]:.1f} ms, longest {spent[-1]:.1f} ms")
    assert len(spent) == 20
    assert spent[len(spent) // 2] < 16


def test_every_picture_and_control_has_a_name_and_the_line_speaks(lab_page: Page) -> None:
    form = lab_page.get_by_role("form", name="What losses see of a layer")
    counts = {"Image": 6, "Student": 2, "Teacher’s layer": 3, "Student’s layer": 3, "Student’s features": 6}
    for name, count in counts.items():
        assert form.get_by_role("group", name=name, exact=True).get_by_role("radio").count() == count
    assert form.get_by_role("radio", name="image 3, labelled 1").count() == 1
    assert [slider.count() for slider in sliders(lab_page)] == [1, 1]
    assert form.locator("output").get_attribute("aria-live") == "polite"
    charts = form.locator("svg[role=img]").evaluate_all("nodes => nodes.map((node) => node.getAttribute('aria-label'))")
    assert len(charts) == 7
    assert all(charts)
    assert re.match(r"Teacher, attention map of image 1: from 0.0\d to 0.\d\d, most in row \d, column \d$", charts[0])
    assert "Losses: attention transfer 0." in charts[6]


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_in_jupyterlab_text_has_contrast_in_both_themes(lab_page: Page, tmp_path: Path, theme: str) -> None:
    harness.set_theme(lab_page, theme)
    panel = lab_page.locator(f"{PANEL} .kd-live")
    lab_page.locator(f"{PANEL} details.kd-matrices summary").click()
    harness.screenshot(panel, tmp_path / f"{theme}.png")
    harness.assert_contrast(
        panel, theme, fills=[".kd-lane-student", ".kd-square", ".kd-square.kd-minus"], strokes=[".kd-lanes .kd-axis"]
    )


def test_an_untrusted_notebook_shows_the_picture(lab: harness.LabServer, executed: Path, page: Page) -> None:
    (lab.root / "untrusted.ipynb").write_bytes(executed.read_bytes())
    harness.open_notebook(page, lab, "untrusted.ipynb")
    output = harness.scroll_to_output(page, 1)
    picture = output.locator("img")
    picture.wait_for()
    assert picture.evaluate("(image) => image.complete && image.naturalWidth") > 600
    assert "which of five losses notices which change" in (picture.get_attribute("alt") or "")
    assert output.locator("table tbody tr").count() == 6
    assert output.locator(".kd-live").count() == 0
