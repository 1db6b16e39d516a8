"""The loss panel in a real browser: its numbers against the Python twin, its keys, its looks."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import harness
import pytest

from kdlab.lab.explorable import TEMPERATURES
from kdlab.lab.loss_panel import ALPHAS
from kdlab.lab.loss_twin import LossState, cosine_text, loss_state, slope_text
from kdlab.lab.twins import fine_text, percent_text

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

SOURCE = """
from kdlab.lab.loss_panel import loss_explorable

loss_explorable(
    [[0, 0, 0, 0, 0], [-1.0, 6.0, 0.5, -2.0, -1.5], [2.5, 2.0, 1.0, -1.0, -1.25], [3.0, 1.2, 1.9, -2.2, -2.4]],
    [[5.0, 3.1, 3.6, -2.5, -3.0], [5.5, 3.0, 2.4, -2.8, -3.3], [2.2, 4.8, 1.6, -2.0, -2.5], [4, 2.2, 2.9, -1.2, -1.4]],
    [0, 0, 0, 4],
    names=["student undecided", "student sure and wrong", "teacher wrong", "student equals teacher"],
    class_names=["cat", "dog", "fox", "car", "lorry"],
)
"""
PANEL = ".kd-explorable"
START = (0, TEMPERATURES.index(4), ALPHAS.index(0.7), True)
T_LAST, ALPHA_LAST = len(TEMPERATURES) - 1, len(ALPHAS) - 1


def sliders(page: Page) -> tuple[Locator, Locator]:
    """Those of T and of alpha."""
    return page.get_by_role("slider", name="Temperature T"), page.get_by_role("slider", name="Weight α")


def move(page: Page, case: int, step: int, alpha: int, squared: bool) -> None:
    """Set all four controls, as a mouse would, and quickly."""
    page.locator(f"{PANEL} .kd-cases label").nth(case).click()
    for slider, index in zip(sliders(page), (step, alpha), strict=True):
        slider.evaluate("(s, i) => { s.value = i; s.dispatchEvent(new Event('input', {bubbles: true})); }", index)
    page.get_by_role("checkbox").set_checked(squared)


def assert_panel_shows(page: Page, data: dict[str, Any], where: tuple[int, int, int, bool]) -> LossState:
    """Every number in the panel equals the twin's, and every bar lies where its number says."""
    case, step, alpha, squared = where
    state = loss_state(
        data["student"][case],
        data["teacher"][case],
        data["labels"][case],
        TEMPERATURES[step],
        ALPHAS[alpha],
        squared=squared,
    )
    live = page.locator(f"{PANEL} .kd-live")
    assert_controls_show(page, data, where)
    assert_classes_show(live, state, data["axes"][case])
    assert_terms_show(live, state, data["axes"][case])
    assert_table_shows(live, data, case, state)
    assert live.locator(".kd-summary").inner_text() == state.summary(data["names"])
    return state


def assert_controls_show(page: Page, data: dict[str, Any], where: tuple[int, int, int, bool]) -> None:
    case, step, alpha, squared = where
    texts = [f"T = {TEMPERATURES[step]:g}", f"α = {ALPHAS[alpha]:.2f}"]
    assert [slider.get_attribute("aria-valuetext") for slider in sliders(page)] == texts
    assert [int(slider.input_value()) for slider in sliders(page)] == [step, alpha]
    assert page.locator(f"{PANEL} .kd-value").all_inner_texts() == texts
    assert page.get_by_role("radio", name=data["cases"][case]).is_checked()
    assert page.get_by_role("checkbox").is_checked() == squared


def assert_classes_show(live: Locator, state: LossState, axes: dict[str, Any]) -> None:
    chances, gradient = (live.locator(f".kd-part-loss-{name}") for name in ("chances", "gradient"))
    for name, values in (("q", state.student), ("p", state.teacher), ("plain", state.plain)):
        assert harness.numbers(chances.locator(".kd-row"), name) == pytest.approx(list(values), abs=1e-9)
    for name, values in (("hard", state.hard_gradient), ("soft", state.soft_gradient), ("sum", state.gradient)):
        assert harness.numbers(gradient.locator(".kd-row"), name) == pytest.approx(list(values), abs=1e-9)
    assert gradient.locator(".kd-number").all_text_contents() == [slope_text(value) for value in state.gradient]
    shares = [text for pair in zip(state.student, state.teacher, strict=True) for text in map(share_text, pair)]
    assert chances.locator(".kd-number").all_text_contents() == shares
    unit = {"domain": (0, 1), "ticks": (0, 0.25, 0.5, 0.75, 1)}
    assert_bars(chances, "student", [(0, q) for q in state.student], unit)
    assert_bars(chances, "teacher", [(0, p) for p in state.teacher], unit)
    assert_bars(chances, "plain", list(zip(state.plain, state.plain, strict=True)), unit, mark=True)
    for kind, values in (("hard", state.hard_gradient), ("soft", state.soft_gradient), ("sum", state.gradient)):
        assert_bars(gradient, kind, [(0, value) for value in values], axes["gradient"])


def assert_terms_show(live: Locator, state: LossState, axes: dict[str, Any]) -> None:
    terms, norms = (live.locator(f".kd-part-loss-{name}") for name in ("terms", "norms"))
    raw = state.divergence * (state.temperature**2 if state.squared else 1)
    assert harness.numbers(terms.locator(".kd-row"), "value") == pytest.approx(
        [state.hard, state.soft, state.total], abs=1e-9
    )
    assert harness.numbers(terms.locator(".kd-row"), "raw") == pytest.approx(
        [state.cross_entropy, raw, state.total], abs=1e-9
    )
    expected = [fine_text(value) for value in (state.hard, state.soft, state.total)]
    assert terms.locator(".kd-number").all_text_contents() == expected
    assert terms.locator(".kd-sum b").all_inner_texts() == expected
    factor = (" T²", f" × {state.temperature:g}²") if state.squared else ("", "")
    assert terms.locator(".kd-sum").all_inner_texts() == [
        f"(1 − α) CE = {1 - state.alpha:.2f} × {fine_text(state.cross_entropy)} = {expected[0]}",
        f"α{factor[0]} KL = {state.alpha:.2f}{factor[1]} × {fine_text(state.divergence)} = {expected[1]}",
        f"hard + soft = {expected[2]}",
    ]
    assert terms.locator(".kd-heading").inner_text() == f"Loss L = (1 − α) CE + α{factor[0]} KL, in nats"
    assert_bars(terms, "pale", [(0, state.cross_entropy), (0, raw), (0, 0)], axes["terms"])
    assert_bars(terms, "hard", [(0, state.hard), (0, 0), (0, state.hard)], axes["terms"])
    assert_bars(terms, "soft", [(0, 0), (0, state.soft), (state.hard, state.total)], axes["terms"])

    lengths = [state.hard_norm, state.soft_norm]
    assert harness.numbers(norms.locator(".kd-row"), "value") == pytest.approx(lengths, abs=1e-9)
    assert norms.locator(".kd-number").all_text_contents() == [fine_text(value) for value in lengths]
    assert_bars(norms, "hard", [(0, state.hard_norm), (0, 0)], axes["norms"])
    assert_bars(norms, "soft", [(0, 0), (0, state.soft_norm)], axes["norms"])
    share = "n/a" if state.soft_share is None else percent_text(state.soft_share)
    assert norms.locator(".kd-figure").all_inner_texts() == [share, cosine_text(state.cosine)]


def assert_table_shows(live: Locator, data: dict[str, Any], case: int, state: LossState) -> None:
    columns = [state.plain, state.student, state.teacher, state.hard_gradient, state.soft_gradient, state.gradient]
    texts = [*[share_text] * 3, *[slope_text] * 3]
    rows = [
        [
            name,
            *(f"{data[whose][case][k]:g}".replace("-", "−") for whose in ("student", "teacher")),
            *(text(values[k]) for text, values in zip(texts, columns, strict=True)),
        ]
        for k, name in enumerate(data["names"])
    ]
    rows.append(["sum", "", "", *["1.000"] * 3, *["0.000"] * 3])
    shown = live.locator(".kd-numbers tbody tr").evaluate_all(
        "rows => rows.map((row) => Array.from(row.cells).map((cell) => cell.textContent))"
    )
    assert shown == rows


def share_text(share: float) -> str:
    return "<0.001" if 0 < share < 0.0005 else f"{share:.3f}"


def assert_bars(
    part: Locator, kind: str, spans: list[tuple[float, float]], axis: dict[str, Any], *, mark: bool = False
) -> None:
    """The bars of one kind run from where to where the numbers say; what is outside the axis is cut and marked."""
    lines = part.locator("line").evaluate_all(
        "ls => ls.filter((l) => l.getAttribute('visibility') !== 'hidden').map((l) => l.x1.baseVal.value)"
    )
    assert len(lines) == len(axis["ticks"])
    pixels = (lines[-1] - lines[0]) / (axis["ticks"][-1] - axis["ticks"][0])

    def place(value: float) -> float:
        low, high = axis["domain"]
        return lines[0] + pixels * (min(high, max(low, value)) - axis["ticks"][0])

    drawn = part.locator(f".kd-lane-{kind}").evaluate_all(
        "bs => bs.map((b) => [b.x.baseVal.value, b.width.baseVal.value])"
    )
    for (left, width), (start, end) in zip(drawn, spans, strict=True):
        if width == 0:
            assert start == pytest.approx(end, abs=1e-2 / pixels)
            continue
        edges = (place(end) - 1, place(end) + 1) if mark else sorted((place(start), place(end)))
        assert (left, left + width) == pytest.approx(edges, abs=0.05)
    arrows = part.locator(f".kd-lane-{kind} + .kd-beyond").evaluate_all(
        "arrows => arrows.map((arrow) => arrow.getAttribute('visibility') === 'visible')"
    )
    assert arrows == [not axis["domain"][0] <= end <= axis["domain"][1] for _, end in spans]


# ---- the exported page


def test_numbers_equal_the_twin_wherever_the_controls_stand(exported: Page, data: dict[str, Any]) -> None:
    assert_panel_shows(exported, data, START)
    spread = [(step, (7 * step) % len(ALPHAS)) for step in range(len(TEMPERATURES))]
    corners = [(0, 0), (0, ALPHA_LAST), (T_LAST, 0), (T_LAST, ALPHA_LAST)]
    for case in range(len(data["cases"])):
        for number, (step, alpha) in enumerate([*corners, *(spread if case == 1 else spread[case::4])]):
            where = (case, step, alpha, (number + case) % 2 == 0)
            move(exported, *where)
            assert_panel_shows(exported, data, where)


def test_it_works_offline_and_asks_for_nothing(executed: Path, data: dict[str, Any], page: Page) -> None:
    aborted, errors = harness.block_network(page), harness.watch_errors(page)
    page.goto(harness.export_html(executed).as_uri())
    move(page, 2, 0, 3, False)
    assert_panel_shows(page, data, (2, 0, 3, False))
    assert [url for url in aborted if not re.search(r"/(require|mathjax|MathJax|mermaid)", url)] == []
    assert [error for error in errors if not re.search("require|MathJax|mermaid", error)] == []


def test_keys_alone_reach_every_control_in_reading_order(exported: Page, data: dict[str, Any]) -> None:
    exported.get_by_role("radio").first.focus()
    exported.keyboard.press("ArrowRight")
    exported.keyboard.press("Tab")
    for _ in range(2):
        exported.keyboard.press("ArrowRight")
    exported.keyboard.press("Tab")
    exported.keyboard.press("ArrowLeft")
    exported.keyboard.press("Tab")
    exported.keyboard.press("Space")
    assert_panel_shows(exported, data, (1, START[1] + 2, START[2] - 1, False))
    exported.keyboard.press("Tab")
    assert exported.evaluate("document.activeElement.textContent") == "Reset"
    exported.keyboard.press("Enter")
    assert_panel_shows(exported, data, START)
    exported.keyboard.press("Tab")
    exported.keyboard.press("Enter")
    assert exported.locator(f"{PANEL} .kd-numbers").evaluate("details => details.open")


def test_without_the_factor_the_soft_part_visibly_dies(exported: Page) -> None:
    def width(kind: str) -> float:
        bars = exported.locator(f"{PANEL} .kd-part-loss-norms .kd-lane-{kind}")
        return max(bars.evaluate_all("bars => bars.map((bar) => bar.width.baseVal.value)"))

    move(exported, 1, T_LAST, ALPHAS.index(0.5), True)
    hard = width("hard")
    assert width("soft") > 40
    exported.get_by_role("checkbox").click()
    assert width("soft") < 1
    assert width("hard") == hard


def test_axes_stand_still_within_a_case(exported: Page) -> None:
    def axes() -> list[Any]:
        lines = exported.locator(f"{PANEL} .kd-lanes line, {PANEL} .kd-lanes .kd-tick")
        return lines.evaluate_all("ls => ls.map((l) => [l.getAttribute('x1'), l.getAttribute('x'), l.textContent])")

    before = axes()
    for where in ((0, 0, ALPHA_LAST, True), (0, T_LAST, 0, False), (0, 4, 9, True)):
        move(exported, *where)
        assert axes() == before
    move(exported, 1, *START[1:])
    assert axes() != before
    exported.get_by_role("button", name="Reset").click()
    assert axes() == before


def test_moving_creates_no_elements(exported: Page) -> None:
    exported.evaluate(
        """() => {
            window.made = 0;
            new MutationObserver((changes) => changes.forEach((change) => change.addedNodes.forEach((node) => {
                window.made += node.nodeType === Node.ELEMENT_NODE;
            }))).observe(document.querySelector('.kd-live'), {childList: true, subtree: true});
        }"""
    )
    for where in ((0, 0, 0, True), (2, 5, 5, False), (3, 13, 20, True)):
        move(exported, *where)
    assert exported.evaluate("window.made") == 0


def test_label_and_favourite_differ_by_sign_and_by_word(exported: Page, data: dict[str, Any]) -> None:
    move(exported, 2, *START[1:])
    for part in ("chances", "gradient"):
        for sign, expected in (("label", 0), ("top", 1)):
            shown = exported.locator(f"{PANEL} .kd-part-loss-{part} .kd-row .kd-sign.kd-{sign}").evaluate_all(
                "signs => signs.map((sign) => getComputedStyle(sign).visibility === 'visible')"
            )
            assert [k for k, visible in enumerate(shown) if visible] == [expected]
    words = exported.locator(f"{PANEL} .kd-part-loss-chances .kd-keys").first.inner_text()
    assert "label: cat" in words
    assert "teacher’s favourite: dog" in words


@pytest.mark.parametrize("width", [400, 480, 640, 760, 1280])
def test_nothing_overflows_or_collides_and_text_stays_readable(exported: Page, width: int) -> None:
    exported.set_viewport_size({"width": width, "height": 900})
    move(exported, 1, 0, 10, False)  # the longest numbers, and bars that are cut
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
    boxes = panel.locator(".kd-lanes").evaluate_all(
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
    page.get_by_role("slider").first.focus()
    page.keyboard.press("End")
    page.get_by_role("checkbox").first.uncheck()
    assert page.locator(".kd-value").all_inner_texts() == ["T = 20", "α = 0.70", "T = 4", "α = 0.70"]
    assert page.get_by_role("checkbox").last.is_checked()
    page.evaluate(
        """() => {
            const again = document.createElement('script');
            again.textContent = document.querySelector('body > script').textContent;
            document.body.append(again);
        }"""
    )
    assert page.locator(".kd-live").count() == 2
    assert page.locator(".kd-value").first.inner_text() == "T = 20"


# ---- JupyterLab


def test_in_jupyterlab_arrows_belong_to_the_sliders_and_each_key_is_drawn_within_a_frame(
    lab_page: Page, data: dict[str, Any]
) -> None:
    harness.select_cell(lab_page, 1)
    temperature, alpha = sliders(lab_page)
    lab_page.evaluate(
        """() => {
            window.spent = [];
            let began = 0;
            const live = document.querySelector('.kd-live');
            live.addEventListener('input', () => { began = performance.now(); }, true);
            live.addEventListener('input', () => { window.spent.push(performance.now() - began); });
        }"""
    )
    alpha.focus()
    for key in ["ArrowRight"] * 4 + ["ArrowLeft"] * 8:
        lab_page.keyboard.press(key)
    temperature.focus()
    for key in ["ArrowLeft"] * 3 + ["ArrowRight"] * 5:
        lab_page.keyboard.press(key)
    assert_panel_shows(lab_page, data, (0, START[1] + 2, START[2] - 4, True))
    assert harness.active_cell(lab_page) == 1
    spent = sorted(lab_page.evaluate("window.spent"))
    print(f"drawing one move: median {spent[len(spent) // 2]:.1f} ms, longest {spent[-1]:.1f} ms")
    assert len(spent) == 20
    assert spent[len(spent) // 2] < 16


def test_every_picture_and_control_has_a_name_and_the_line_speaks(lab_page: Page) -> None:
    form = lab_page.get_by_role("form", name="Alpha, temperature and the distillation loss")
    form.get_by_role("group", name="Choose a case").wait_for()
    assert form.get_by_role("slider", name="Temperature T").count() == 1
    assert form.get_by_role("slider", name="Weight α of the soft term").count() == 1
    assert form.get_by_role("checkbox", name="multiply the soft term by T²").count() == 1
    assert form.locator("output").get_attribute("aria-live") == "polite"
    charts = form.locator("svg[role=img]").evaluate_all("nodes => nodes.map((node) => node.getAttribute('aria-label'))")
    assert len(charts) == 4
    assert all(charts)
    assert "negative means pushed up" in charts[1]


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_in_jupyterlab_text_has_contrast_in_both_themes(lab_page: Page, tmp_path: Path, theme: str) -> None:
    harness.set_theme(lab_page, theme)
    panel = lab_page.locator(f"{PANEL} .kd-live")
    lab_page.locator(f"{PANEL} .kd-numbers summary").click()
    harness.screenshot(panel, tmp_path / f"{theme}.png")
    harness.assert_contrast(
        panel,
        theme,
        fills=[".kd-lane-student", ".kd-lane-plain", ".kd-lane-hard", ".kd-lane-soft", ".kd-lane-sum"],
        strokes=[".kd-lane-teacher", ".kd-lanes .kd-axis"],
    )


def test_an_untrusted_notebook_shows_the_picture(lab: harness.LabServer, executed: Path, page: Page) -> None:
    (lab.root / "untrusted.ipynb").write_bytes(executed.read_bytes())
    harness.open_notebook(page, lab, "untrusted.ipynb")
    output = harness.scroll_to_output(page, 1)
    picture = output.locator("img")
    picture.wait_for()
    assert picture.evaluate("(image) => image.complete && image.naturalWidth") > 600
    assert "soft share" in (picture.get_attribute("alt") or "")
    assert output.locator("table").count() == 1
    assert output.locator(".kd-live").count() == 0
