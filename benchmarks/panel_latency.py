"""How soon a panel answers its slider, in a real JupyterLab, as a ratio to ``ipywidgets.interact``.

Four panels in one notebook: the temperature explorable and the kernel lab, and for each of them ``interact`` that
makes the same figure anew for every value and calls ``plt.show()``, as most course notebooks do. A key is pressed on
the slider, and the page itself takes the time from the key's event to the first animation frame in which the new
picture is decoded and in place. The lab and its rival have three sliders each, and each round moves T four times,
alpha and the number of labels once; of the lab's two pictures the one that shows the moved setting counts. Variants
take turns in rounds, so that a busy machine slows all of them; what counts
are ratios of medians. Then each panel gets 60 keys within two seconds: the last picture must be the right one.

    python benchmarks/panel_latency.py [--rounds 4] [--json FILE]

The exit status is 1 where a bar is missed. Needs a Chromium, as the browser tests do.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY / "tests" / "browser"))

from harness import (  # noqa: E402
    CHROMIUM_MISSING,
    LabServer,
    find_chromium,
    launch_chromium,
    open_notebook,
    run_all,
    scroll_to_output,
    write_notebook,
)

if TYPE_CHECKING:
    from playwright.sync_api import Page

TURNS = (0, 0, 0, 1, 0, 2)  # which slider moves, of those a panel has, in each round
BURST = 60
BURST_SECONDS = 2.0
PATIENCE = 15.0  # seconds


@dataclass(frozen=True)
class Variant:
    """One panel of the notebook: its cell, its slider, what changes, where the shown temperature can be read."""

    name: str
    cell: int
    slider: str
    steps: tuple[int, ...]  # of each slider
    watched: str
    pictures: tuple[str, ...] = ("img",)  # which shows each slider's value
    start: tuple[int, ...] = (0, 0, 0)
    shown: str | None = None
    rival: str | None = None
    bar: float | None = None


VARIANTS = (
    Variant("interact, temperature figure", 1, ".noUi-handle", (14,), ".jupyter-widgets .jp-OutputArea"),
    Variant(
        "explorable", 2, ".kd-explorable input[type=range]", (14,), ".kd-explorable",
        shown="(root) => root.querySelector('input[type=range]').getAttribute('aria-valuetext')",
        rival="interact, temperature figure", bar=20,
    ),
    Variant(
        "interact, kernel lab's figure", 3, ".noUi-handle", (5, 6, 5), ".jupyter-widgets .jp-OutputArea",
        pictures=("img", "img", "img"), start=(0, 4, 0),
    ),
    Variant(
        "kernel lab, blitted", 4, ".kd-lab .noUi-handle", (5, 6, 5), ".kd-lab",
        pictures=(".kd-lab-target-picture", ".kd-lab-target-picture", ".kd-lab-tries-picture"), start=(0, 4, 0),
        shown="(root) => root.querySelector('.kd-lab-target-picture').alt.match(/T = [0-9.]+/)[0]",
        rival="interact, kernel lab's figure", bar=8,
    ),
)  # fmt: skip

CELLS = [
    """
import matplotlib.pyplot as plt
import torch
from ipywidgets import SelectionSlider, interact
from kdlab.data import load_digits
from kdlab.lab.explorable import TEMPERATURES, temperature_explorable
from kdlab.lab.figures import temperature_figure
from kdlab.lab.kernel_lab import DistillationLab
from kdlab.models import MLP
from kdlab.training import fit, predict_logits, seeded

torch.set_num_threads(1)
data = load_digits()
with seeded(0):
    teacher = MLP(hidden=(64,))
fit(teacher, data.train.images, data.train.labels, epochs=20, lr=3e-3, progress=False)
images, labels = data.train.images[:6], data.train.labels[:6]
logits = predict_logits(teacher, images)
lab = DistillationLab(teacher, data, steps=60)
for labels_seen in (20, 20, 50, 50, 100):
    lab.run(labels=labels_seen)
lab.choose(temperature=1, alpha=0.9, labels=20)
rebuilt = DistillationLab(teacher, data)
rebuilt.tries, rebuilt.settings = list(lab.tries), lab.settings

def plain_slider(options, value=None):
    return SelectionSlider(options=options, value=value or options[0])

def show_in_the_ordinary_way(figure):
    plt.figure(figure)
    plt.show()
""",
    """
def redraw(T):
    show_in_the_ordinary_way(temperature_figure(images[0], logits[0], int(labels[0]), T))
interact(redraw, T=plain_slider(TEMPERATURES));
""",
    "temperature_explorable(images, logits, labels, temperature=TEMPERATURES[0])",
    """
def redraw(T, alpha, labels):
    rebuilt.choose(temperature=T, alpha=alpha, labels=labels)
    show_in_the_ordinary_way(rebuilt.figure())
offered = rebuilt.offered
interact(redraw, T=plain_slider(offered["temperature"]), alpha=plain_slider(offered["alpha"], 0.9),
         labels=plain_slider(offered["labels"]));
""",
    "lab",
]

# Notes the time of each arrow key and of each new picture. A picture counts in the first animation frame after it is
# in the page and decoded. Text that changes beside an unchanged picture does not count.
WATCH = """
(root, picture) => {
    const log = {keys: [], pictures: []};
    const drawn = root.querySelector('svg') !== null; // an explorable: every change is a change of the picture
    const source = () => root.querySelector(picture)?.getAttribute('src');
    let last = source();
    const look = async () => {
        if (!drawn) {
            const image = root.querySelector(picture);
            if (!image || source() === last) return;
            last = source();
            try { await image.decode(); } catch { return; } // replaced by the next one before it was ready
        }
        requestAnimationFrame(() => log.pictures.push(performance.now()));
    };
    window.kdKeys ??= document.addEventListener('keydown', (event) => {
        if (event.key.startsWith('Arrow')) window.kdLog?.keys.push(event.timeStamp);
    }, true) ?? true;
    window.kdWatcher?.disconnect();
    window.kdWatcher = new MutationObserver(look);
    window.kdWatcher.observe(root, {subtree: true, childList: true, attributes: true, characterData: true});
    window.kdLog = log;
}
"""


class Walker:
    """Goes up and down one variant's slider, so that every key changes the value."""

    def __init__(self, page: Page, variant: Variant) -> None:
        self.page, self.variant = page, variant
        self.steps, self.up = list(variant.start), [True] * len(variant.start)

    def focus(self, slider: int = 0) -> None:
        """Bring the panel into view, put the focus on one of its sliders and watch the picture that it changes."""
        output = scroll_to_output(self.page, self.variant.cell)
        root = output.locator(self.variant.watched).first
        root.wait_for()
        self.page.wait_for_timeout(150)
        root.evaluate(WATCH, self.variant.pictures[slider])
        output.locator(self.variant.slider).nth(slider).focus()

    def press(self, slider: int = 0) -> None:
        if self.steps[slider] == (self.variant.steps[slider] - 1 if self.up[slider] else 0):
            self.up[slider] = not self.up[slider]
        self.steps[slider] += 1 if self.up[slider] else -1
        self.page.keyboard.press("ArrowRight" if self.up[slider] else "ArrowLeft")

    def move(self, turn: int) -> float:
        """Press one key on the slider whose turn it is; milliseconds until the new picture."""
        slider = turn if turn < len(self.variant.steps) else 0
        self.focus(slider)
        self.page.evaluate("() => { window.kdLog.keys.length = window.kdLog.pictures.length = 0; }")
        self.press(slider)
        self.page.wait_for_function("() => window.kdLog.pictures.length", timeout=PATIENCE * 1000)
        milliseconds = self.page.evaluate("() => window.kdLog.pictures[0] - window.kdLog.keys[0]")
        self.page.wait_for_timeout(30)  # the kernel's last messages are not part of the next move
        return float(milliseconds)

    def burst(self) -> dict[str, Any]:
        """60 keys in two seconds: pictures shown, how late the last one was, and what it showed."""
        self.page.evaluate("() => { window.kdLog.keys.length = window.kdLog.pictures.length = 0; }")
        start = time.monotonic()
        for index in range(BURST):
            time.sleep(max(0.0, start + index * BURST_SECONDS / BURST - time.monotonic()))
            self.press()
        pressed = time.monotonic() - start
        self._settle()
        log = self.page.evaluate("() => window.kdLog")
        return {
            "keys": len(log["keys"]),
            "seconds": pressed,
            "pictures": len(log["pictures"]),
            "lag_ms": log["pictures"][-1] - log["keys"][-1] if log["pictures"] else None,
            "shown": self._shown(),
            "expected_step": self.steps[0],
        }

    def _settle(self) -> None:
        """Wait until no new picture has come for 1.5 seconds."""
        seen, since, deadline = -1, time.monotonic(), time.monotonic() + PATIENCE
        while time.monotonic() - since < 1.5 and time.monotonic() < deadline:
            count = self.page.evaluate("() => window.kdLog.pictures.length")
            if count != seen:
                seen, since = count, time.monotonic()
            time.sleep(0.1)

    def _shown(self) -> str | None:
        if self.variant.shown is None:
            return None
        root = scroll_to_output(self.page, self.variant.cell).locator(self.variant.watched).first
        return str(root.evaluate(self.variant.shown))


def measure(page: Page, rounds: int) -> tuple[dict[str, list[float]], dict[str, dict[str, Any]]]:
    """Latencies in milliseconds and the result of the burst, per variant."""
    walkers = [Walker(page, variant) for variant in VARIANTS]
    times: dict[str, list[float]] = {variant.name: [] for variant in VARIANTS}
    for number in range(rounds + 1):
        for walker in walkers:
            note(f"round {number} of {rounds}{' (warm-up)' if number == 0 else ''}: {walker.variant.name}")
            moved = [walker.move(turn) for turn in (TURNS if number else (0, 0))]
            if number:
                times[walker.variant.name] += moved
    bursts = {}
    for walker in walkers:
        note(f"{BURST} keys in {BURST_SECONDS:g} s: {walker.variant.name}")
        walker.focus()
        bursts[walker.variant.name] = walker.burst()
    return times, bursts


def note(text: str) -> None:
    """A line of progress that the next one replaces."""
    sys.stderr.write(f"\r{text:<78}" if sys.stderr.isatty() else f"{text}\n")
    sys.stderr.flush()


def right_value(variant: Variant, burst: dict[str, Any]) -> bool:
    """Whether the last picture shows the temperature on which the keys ended."""
    ladder: list[float] = [1, 2, 4, 8, 16]
    if variant.steps[0] != len(ladder):
        from kdlab.lab.explorable import TEMPERATURES

        ladder = list(TEMPERATURES)
    return f"T = {ladder[burst['expected_step']]:g}" == burst["shown"]


def report(times: dict[str, list[float]], bursts: dict[str, dict[str, Any]]) -> bool:
    """Print both tables; tell whether every bar was met."""
    medians = {name: statistics.median(values) for name, values in times.items()}
    passed = True
    print(f"\n{'key to picture':<32}{'median ms':>10}{'p95 ms':>8}  {'faster than interact':<22}bar")
    for variant in VARIANTS:
        values = sorted(times[variant.name])
        line = f"{variant.name:<32}{medians[variant.name]:>10.1f}{values[int(0.95 * (len(values) - 1))]:>8.1f}"
        if variant.rival and variant.bar:
            ratio = medians[variant.rival] / medians[variant.name]
            passed &= ratio >= variant.bar
            verdict = f">= {variant.bar:g}: {'pass' if ratio >= variant.bar else 'MISSED'}"
            line += f"  {f'{ratio:.1f} times':<22}{verdict}"
        print(line)
    print(f"\n{'60 keys in 2 s':<32}{'pictures':>10}{'lag ms':>8}  last picture")
    for variant in VARIANTS:
        burst = bursts[variant.name]
        lag = "none" if burst["lag_ms"] is None else f"{burst['lag_ms']:.0f}"
        line = f"{variant.name:<32}{burst['pictures']:>10}{lag:>8}"
        if variant.shown:
            right = right_value(variant, burst)
            passed &= right
            line += f"  {burst['shown']}, {'right' if right else 'WRONG'}"
        if burst["keys"] != BURST:
            line += f"  (only {burst['keys']} keys arrived)"
        print(line)
    return passed


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=4, help=f"rounds of {len(TURNS)} moves per panel")
    parser.add_argument("--json", type=Path, help="also write every single latency to this file")
    options = parser.parse_args()
    executable = find_chromium()
    if executable is None:
        print(CHROMIUM_MISSING, file=sys.stderr)
        return 2
    from playwright.sync_api import sync_playwright

    note("starting JupyterLab and Chromium, training a teacher")
    with tempfile.TemporaryDirectory(prefix="kdlab-latency-") as folder:
        write_notebook(Path(folder) / "panels.ipynb", CELLS)
        with LabServer(folder) as server, sync_playwright() as playwright:
            browser = launch_chromium(playwright, executable)
            page = browser.new_page(viewport={"width": 1280, "height": 900})
            open_notebook(page, server, "panels.ipynb")
            run_all(page)
            times, bursts = measure(page, options.rounds)
            browser.close()
    note("")
    passed = report(times, bursts)
    if options.json:
        options.json.write_text(json.dumps({"milliseconds": times, "bursts": bursts}, indent=1), encoding="utf-8")
    return 0 if passed else 1


if __name__ == "__main__":
    sys.path.insert(0, str(REPOSITORY))
    sys.exit(main())
