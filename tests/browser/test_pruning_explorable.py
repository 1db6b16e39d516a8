"""The pruning panel in a real browser: its masks and numbers against the Python twin, its keys, its looks."""

from __future__ import annotations

import math
import re
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import harness
import numpy as np
import pytest

from kdlab.lab import pruning_twin as twin
from kdlab.lab.pruning_twin import SCOPES, SPARSITIES, PruningState
from kdlab.lab.twins import count_text, percent_text

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

SOURCE = """
import numpy as np
from kdlab.lab.pruning_panel import SPARSITIES, pruning_explorable
from kdlab.models import SmallCNN
from kdlab.training import seeded

with seeded(3):
    model = SmallCNN(8)
layers = ["features.0", "features.2", "classifier.2", "classifier.4"]
weights = {name: model.get_submodule(name).weight.detach() for name in layers}
weights["ties"] = np.array([[0.1, -0.1, 0.1, 0.1, -0.1], [0.1, 0.1, -0.1, -0.1, 0.1], [0.3, 0.0, 0.0, -0.3, 0.0]])
left = 1 - np.array(SPARSITIES)
accuracies = {
    "global": {"pruned": 0.97 - 0.87 * (1 - left) ** 6, "pruned, then trained on": 0.97 - 0.6 * (1 - left) ** 20},
    "per layer": {"pruned": 0.97 - 0.87 * (1 - left) ** 3, "pruned, then trained on": 0.97 - 0.7 * (1 - left) ** 12},
}
files = {}
for scope, more in zip(("global", "per layer"), (0, 8)):
    bitmap, csr = more + 3_217 + 38_944 * left, 2_400 + 77_888 * left
    files[scope] = {"dense": [39_808] * 16, "bitmap": bitmap.astype(int), "csr": csr.astype(int)}
latency = {"1 image": 1 + 0.04 * np.sin(np.arange(16)), "500 images": 1 - 0.03 * np.cos(np.arange(16))}
pruning_explorable(weights, accuracies, files, latency=latency)
"""
PANEL = ".kd-explorable"
START = {"step": 0, "scope": 0, "layer": 2}
Where = dict[str, int]


def slider(page: Page) -> Locator:
    return page.get_by_role("slider", name="Sparsity: share of weights that are zero")


def move(page: Page, **where: int) -> Where:
    """Set every control, as a mouse would and quickly."""
    place = {**START, **where}
    slider(page).evaluate(
        "(s, i) => { s.value = i; s.dispatchEvent(new Event('input', {bubbles: true})); }", place["step"]
    )
    for group in ("scope", "layer"):
        page.locator(f"{PANEL} input[name={group}]").nth(place[group]).evaluate("input => input.click()")
    return place


def stored(data: dict[str, Any]) -> dict[str, np.ndarray]:
    return {one["name"]: np.array(one["values"]).reshape(one["rows"], one["columns"]) for one in data["layers"]}


def series(entries: list[dict[str, Any]]) -> dict[str, list[float]]:
    return {entry["name"]: entry["values"] for entry in entries}


def numbers(nodes: Locator, name: str) -> list[float | None]:
    texts = nodes.evaluate_all(f"nodes => nodes.map((node) => node.dataset.{name})")
    return [float(text) if text else None for text in texts]


def drawn_mask(page: Page, rows: int, columns: int) -> np.ndarray:
    """Where the picture of weights is not blank."""
    painted = page.locator(f"{PANEL} canvas.kd-weights").evaluate(
        """(canvas, [rows, columns]) => {
            const pixels = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
            const [down, across] = [canvas.height / rows, canvas.width / columns];
            return Array.from({length: rows * columns}, (_, i) => {
                const [row, column] = [Math.floor(i / columns), i % columns];
                const at = [row * down + down / 2, column * across + across / 2].map(Math.floor);
                return pixels[4 * (at[0] * canvas.width + at[1]) + 3];
            });
        }""",
        [rows, columns],
    )
    return np.array(painted).reshape(rows, columns) > 0


def assert_panel_shows(page: Page, data: dict[str, Any], where: Where) -> PruningState:
    """Every mask, count and number equals the twin's, and every bar and point lies where its number says."""
    scope, weights = SCOPES[where["scope"]], stored(data)
    name = list(weights)[where["layer"]]
    state = twin.pruning_state(weights, SPARSITIES[where["step"]], scope)
    live = page.locator(f"{PANEL} .kd-live")
    assert int(slider(page).input_value()) == where["step"]
    assert slider(page).get_attribute("aria-valuetext") == twin.sparsity_text(state.sparsity)
    for group in ("scope", "layer"):
        assert page.locator(f"{PANEL} input[name={group}]").nth(where[group]).is_checked()
    np.testing.assert_array_equal(drawn_mask(page, *weights[name].shape), state.kept[name])
    assert_histogram_shows(live, weights[name], state, name)
    assert_bars_show(live, data, state, where)
    assert_points_show(live, series(data["accuracies"][scope]), where["step"])
    assert live.locator(".kd-summary").inner_text() == twin.pruning_summary(
        state, name, series(data["accuracies"][scope]), series(data["files"][scope]), series(data["latency"])
    )
    return state


def assert_histogram_shows(live: Locator, values: np.ndarray, state: PruningState, name: str) -> None:
    every, left = twin.histogram(values, state.kept[name])
    chart = live.locator(".kd-part-pruning-values svg.kd-histogram")
    for kind, counts in (("kd-bar", left), ("kd-gone", every - left)):
        assert [n for n in numbers(chart.locator(f".{kind}"), "count") if n is not None] == counts.tolist()
    threshold, largest = state.thresholds[name], np.abs(values).max() / 1e5
    assert numbers(chart, "threshold") == [threshold]
    lines = chart.locator(".kd-limit").evaluate_all(
        "ls => ls.filter((l) => l.getAttribute('visibility') === 'visible').map((l) => l.x1.baseVal.value)"
    )
    if threshold is None or threshold >= largest:
        assert lines == []
        return
    width = chart.evaluate("svg => svg.viewBox.baseVal.width")
    assert lines == pytest.approx([(1 + side * threshold / largest) * width / 2 for side in (-1, 1)], abs=1e-2)
    assert twin.threshold_text(threshold) in live.locator(".kd-part-pruning-values .kd-heading").inner_text()


def assert_bars_show(live: Locator, data: dict[str, Any], state: PruningState, where: Where) -> None:
    bars = live.locator(".kd-part-pruning-left .kd-bar")
    assert numbers(bars, "left") == list(state.left.values())
    assert numbers(bars, "threshold") == list(state.thresholds.values())
    shares = [left / size for left, size in zip(state.left.values(), state.sizes.values(), strict=True)]
    texts = live.locator(".kd-part-pruning-left .kd-number")
    assert texts.all_text_contents() == [percent_text(share) for share in shares]
    unit = _unit(live, "left", 2)
    assert _widths(bars) == pytest.approx([share * unit for share in shares], abs=1e-2)
    frames = live.locator(".kd-part-pruning-left .kd-reference")
    assert _widths(frames) == pytest.approx([state.share_left * unit] * len(shares), abs=1e-2)

    files = series(data["files"][state.scope])
    written = [values[where["step"]] for values in files.values()]
    whole = data["files"]["global"][0]["values"][0]
    bars = live.locator(".kd-part-pruning-files .kd-bar")
    assert numbers(bars, "bytes") == written
    assert live.locator(".kd-part-pruning-files .kd-number").all_text_contents() == [count_text(n) for n in written]
    unit = _unit(live, "files", 4) / 2  # five ticks half an unpruned file apart
    assert _widths(bars) == pytest.approx([value / whole * unit for value in written], abs=1e-2)
    marks = live.locator(".kd-part-pruning-files .kd-row .kd-top").evaluate_all(
        "marks => marks.map((mark) => mark.getAttribute('visibility') === 'visible')"
    )
    assert marks == [value > written[0] for value in written]


def _widths(bars: Locator) -> list[float]:
    return bars.evaluate_all("bars => bars.map((bar) => bar.width.baseVal.value)")


def _unit(live: Locator, part: str, last: int) -> float:
    """From the first tick to the last, in pixels."""
    grid = live.locator(f".kd-part-pruning-{part} line").evaluate_all("ls => ls.map((l) => l.x1.baseVal.value)")
    assert len(grid) == last + 1
    return grid[-1] - grid[0]


def assert_points_show(live: Locator, curves: dict[str, list[float]], step: int) -> None:
    chart = live.locator(".kd-part-pruning-skill svg.kd-curves")
    points = chart.locator(".kd-point")
    assert numbers(points, "share") == [shares[step] for shares in curves.values()]
    places = points.evaluate_all("ps => ps.map((p) => p.transform.baseVal[0].matrix).map(({e, f}) => [e, f])")
    ys = chart.locator(".kd-grid, .kd-axis").evaluate_all("ls => ls.slice(0, 5).map((l) => l.y1.baseVal.value)")
    xs = chart.locator(".kd-grid").evaluate_all("ls => ls.slice(-7).map((l) => l.x1.baseVal.value)")
    across = math.log(1 - SPARSITIES[step]) / math.log(0.01)
    for (x, y), shares in zip(places, curves.values(), strict=True):
        assert x == pytest.approx(xs[0] + across * (xs[-1] - xs[0]), abs=1e-2)
        assert y == pytest.approx(ys[0] + shares[step] * (ys[-1] - ys[0]), abs=1e-2)
    for line, (x, y) in zip(chart.locator(".kd-kind").all(), places, strict=True):
        corner = re.findall(r"[\d.]+,[\d.]+", line.get_attribute("d") or "")[step]
        assert [float(n) for n in corner.split(",")] == pytest.approx([x, y], abs=0.02)


# ---- the exported page


@pytest.mark.parametrize("scope", range(2))
def test_masks_counts_and_words_are_the_twins_at_every_sparsity(
    exported: Page, data: dict[str, Any], scope: int
) -> None:
    assert_panel_shows(exported, data, START)
    for step in range(len(SPARSITIES)):
        for layer in {step % 5, 4, 0}:
            assert_panel_shows(exported, data, move(exported, step=step, scope=scope, layer=layer))


def test_scopes_differ_and_axes_stand_still(exported: Page, data: dict[str, Any]) -> None:
    def ticks() -> Any:
        return exported.locator(f"{PANEL} .kd-tick").evaluate_all(
            "ts => ts.map((t) => [t.getAttribute('x'), t.getAttribute('y'), t.textContent])"
        )

    together = assert_panel_shows(exported, data, move(exported, step=9, scope=0))
    before = ticks()
    alone = assert_panel_shows(exported, data, move(exported, step=9, scope=1))
    assert together.left["features.0"] > alone.left["features.0"]
    for step in (0, 8, 15):
        move(exported, step=step, scope=1)
        assert ticks() == before


def test_it_works_offline_and_asks_for_nothing(executed: Path, data: dict[str, Any], page: Page) -> None:
    aborted, errors = harness.block_network(page), harness.watch_errors(page)
    page.goto(harness.export_html(executed).as_uri())
    assert_panel_shows(page, data, move(page, step=10, layer=1))
    assert [url for url in aborted if not re.search(r"/(require|mathjax|MathJax|mermaid)", url)] == []
    assert [error for error in errors if not re.search("require|MathJax|mermaid", error)] == []


def test_keys_alone_reach_every_control_in_reading_order(exported: Page, data: dict[str, Any]) -> None:
    slider(exported).focus()
    exported.keyboard.press("End")
    exported.keyboard.press("ArrowLeft")
    where = {**START, "step": len(SPARSITIES) - 2}
    assert_panel_shows(exported, data, where)
    exported.keyboard.press("Tab")
    assert exported.evaluate("document.activeElement.textContent") == "Reset"
    for group in ("scope", "layer"):
        exported.keyboard.press("Tab")
        exported.keyboard.press("ArrowRight")
        where[group] += 1
        assert_panel_shows(exported, data, where)
    for _ in range(2):
        exported.keyboard.press("Shift+Tab")
    exported.keyboard.press("Enter")
    assert_panel_shows(exported, data, START)


def test_colour_tells_the_sign_depth_the_size_and_blank_is_only_what_goes(exported: Page, data: dict[str, Any]) -> None:
    move(exported, layer=0)
    exported.wait_for_timeout(100)
    layer = data["layers"][0]
    cells = exported.locator(f"{PANEL} canvas.kd-weights").evaluate(
        """(canvas, [rows, columns]) => {
            const pen = canvas.getContext('2d');
            const [down, across] = [canvas.height / rows, canvas.width / columns];
            return Array.from({length: rows * columns}, (_, i) => Array.from(pen.getImageData(
                (i % columns + 0.5) * across, (Math.floor(i / columns) + 0.5) * down, 1, 1).data));
        }""",
        [layer["rows"], layer["columns"]],
    )
    for value, (red, _, blue, depth) in zip(layer["values"], cells, strict=True):
        assert (blue > red) == (value >= 0)
        assert depth == pytest.approx(255 * (0.16 + 0.84 * min(1, abs(value) / layer["full"])), abs=2)
    assert min(cell[3] for cell in cells) >= 39


def test_moving_creates_no_elements(exported: Page) -> None:
    exported.evaluate(
        """() => {
            window.made = 0;
            new MutationObserver((changes) => changes.forEach((change) => change.addedNodes.forEach((node) => {
                window.made += node.nodeType === Node.ELEMENT_NODE;
            }))).observe(document.querySelector('.kd-live'), {childList: true, subtree: true});
        }"""
    )
    for step, layer in ((3, 0), (10, 4), (15, 2)):
        move(exported, step=step, layer=layer, scope=1)
    assert exported.evaluate("window.made") == 0


@pytest.mark.parametrize("width", [400, 480, 640, 720, 1280])
@pytest.mark.parametrize("where", [{"step": 0, "layer": 2}, {"step": 10, "layer": 0}])
def test_nothing_overflows_or_collides_and_text_stays_readable(exported: Page, width: int, where: Where) -> None:
    exported.set_viewport_size({"width": width, "height": 900})
    move(exported, **where)
    exported.wait_for_timeout(100)
    panel = exported.locator(f"{PANEL} .kd-live")
    assert panel.evaluate("(node) => node.scrollWidth <= node.clientWidth")
    outside = panel.evaluate(
        """(panel) => {
            const frame = panel.getBoundingClientRect();
            const nodes = panel.querySelectorAll('text, rect, canvas, span, b, button, output, input');
            return Array.from(nodes).filter((node) => {
                const box = node.getBoundingClientRect();
                return box.width > 1 && (box.left < frame.left - 0.5 || box.right > frame.right + 0.5);
            }).map((node) => node.outerHTML);
        }"""
    )
    assert outside == []
    boxes = panel.locator("svg[role=img]").evaluate_all(
        """charts => charts.flatMap((svg, chart) => Array.from(svg.querySelectorAll('text'))
            .filter((text) => text.textContent && text.getAttribute('visibility') !== 'hidden')
            .map((text) => text.getBoundingClientRect())
            .map((box) => [chart, Math.round(box.top), box.left, box.right]))"""
    )
    boxes.sort()
    for (chart, top, _, right), (other, same, left, _) in pairwise(boxes):
        assert (chart, top) != (other, same) or right < left + 0.5
    signs = panel.locator(".kd-row").evaluate_all(
        """rows => rows.map((row) => ['.kd-top', '.kd-name'].map((name) => row.querySelector(name)))
            .filter(([mark]) => mark.getAttribute('visibility') === 'visible')
            .map(([mark, name]) => [mark.getBoundingClientRect().right, name.getBoundingClientRect().left])"""
    )
    assert signs
    assert all(right < left for right, left in signs)
    smallest = panel.locator("text, span, b, legend, output, button, div").evaluate_all(
        "nodes => Math.min(...nodes.filter((node) => node.textContent.trim())"
        ".map((node) => parseFloat(getComputedStyle(node).fontSize)))"
    )
    assert smallest >= 11.95
    shape = panel.locator("canvas").bounding_box()
    assert shape is not None
    assert shape["width"] > 0.6 * min(width - 80, 500)
    assert 60 < shape["height"] < 200


def test_the_panel_does_not_jump_while_the_sparsity_moves(exported: Page) -> None:
    heights = set()
    for step in range(len(SPARSITIES)):
        move(exported, step=step)
        heights.add(exported.locator(f"{PANEL} .kd-live").evaluate("node => Math.round(node.offsetHeight)"))
    assert len(heights) == 1


def test_two_panels_on_a_page_do_not_disturb_each_other_and_a_second_run_keeps_the_state(
    executed: Path, page: Page
) -> None:
    markup = harness.markup_of(executed)
    page.set_content(f"<!doctype html><body>{markup}<hr>{markup}</body>")
    assert page.locator(".kd-live").count() == 2
    page.get_by_role("slider").first.press("End")
    assert page.locator(".kd-value").all_inner_texts() == ["99 %", "0 %"]
    page.evaluate(
        """() => {
            const again = document.createElement('script');
            again.textContent = document.querySelector('body > script').textContent;
            document.body.append(again);
        }"""
    )
    assert page.locator(".kd-live").count() == 2
    assert page.locator(".kd-value").first.inner_text() == "99 %"


# ---- JupyterLab


def test_in_jupyterlab_arrows_belong_to_the_slider_and_each_key_is_drawn_within_a_frame(
    lab_page: Page, data: dict[str, Any]
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
    slider(lab_page).focus()
    for key in (["ArrowRight"] * 13 + ["ArrowLeft"] * 12) * 2:
        lab_page.keyboard.press(key)
    assert_panel_shows(lab_page, data, {**START, "step": 2})
    assert harness.active_cell(lab_page) == 1
    spent = sorted(lab_page.evaluate("window.spent"))
    print(f"drawing one move: median {spent[25]:.1f} ms, p95 {spent[47]:.1f} ms, longest {spent[-1]:.1f} ms")
    assert len(spent) == 50
    assert spent[25] < 33


def test_every_picture_and_control_has_a_name_and_the_line_speaks(lab_page: Page) -> None:
    form = lab_page.get_by_role("form", name="Pruning: which weights go, and what that buys")
    for name, count in {"Ranked": 2, "Layer to look at": 5}.items():
        assert form.get_by_role("group", name=name, exact=True).get_by_role("radio").count() == count
    assert slider(lab_page).count() == 1
    assert form.locator("output").get_attribute("aria-live") == "polite"
    move(lab_page, step=10)
    charts = form.locator("[role=img]").evaluate_all("nodes => nodes.map((node) => node.getAttribute('aria-label'))")
    assert len(charts) == 5
    assert re.match(r"Weights of classifier.2, a row for each output: [\d,]+ of 8,192 weights left", charts[0])
    assert re.match(r"Histogram of the weights of classifier.2 from −0.\d\d to 0.\d\d: t = 0.\d{4}", charts[1])
    assert charts[2].startswith("Weights left, ranked global: features.0 ")
    assert charts[3].startswith("Share right over sparsity; at 90 %: pruned ")
    assert re.match("Bytes of the file, unpruned 39,808: dense 39,808; bitmap", charts[4])


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_in_jupyterlab_text_has_contrast_and_the_picture_follows_the_theme(
    lab_page: Page, tmp_path: Path, theme: str
) -> None:
    harness.set_theme(lab_page, theme)
    move(lab_page, step=6)
    panel = lab_page.locator(f"{PANEL} .kd-live")
    harness.screenshot(panel, tmp_path / f"{theme}.png")
    harness.assert_contrast(
        panel,
        theme,
        fills=[
            ".kd-histogram .kd-bar",
            ".kd-part-pruning-left .kd-bar",
            ".kd-row .kd-top",
            ".kd-point-0",
            ".kd-point-1",
        ],
        strokes=[".kd-limit", ".kd-gone", ".kd-kind-0", ".kd-kind-1", ".kd-outline .kd-reference", ".kd-drop"],
    )
    strongest = panel.locator("canvas").evaluate(
        """canvas => {
            const {data} = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
            const found = new Set();
            for (let i = 0; i < data.length; i += 4) if (data[i + 3] === 255) found.add(data.slice(i, i + 3).join());
            return [...found].sort();
        }"""
    )
    expected = {"light": ["0,114,178", "213,94,0"], "dark": ["230,159,0", "86,180,233"]}
    assert strongest == expected[theme]
    harness.set_theme(lab_page, "light")


def test_an_untrusted_notebook_shows_the_picture(lab: harness.LabServer, executed: Path, page: Page) -> None:
    (lab.root / "untrusted.ipynb").write_bytes(executed.read_bytes())
    harness.open_notebook(page, lab, "untrusted.ipynb")
    output = harness.scroll_to_output(page, 1)
    picture = output.locator("img")
    picture.wait_for()
    assert picture.evaluate("(image) => image.complete && image.naturalWidth") > 600
    assert "The weights of classifier.2 as squares, pruned ones blank" in (picture.get_attribute("alt") or "")
    assert output.locator("table tbody tr").count() == len(SPARSITIES)
    assert output.locator(".kd-live").count() == 0
