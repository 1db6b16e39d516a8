"""The heat map and the sweep lab without a browser: what they draw, what they keep, what they say."""

from __future__ import annotations

import base64
import html
import io
import math
import threading
import time
from typing import Any

import numpy as np
import pytest
from PIL import Image

from kdlab import lab as kdlab_lab
from kdlab.experiments import Score
from kdlab.lab.blit import BlitCanvas
from kdlab.lab.heat_map import _COLORS, MARKS, _readable_on, heat_map
from kdlab.lab.sweep_lab import SweepLab
from kdlab.lab.sweep_words import described, standing
from kdlab.sweep import sweep

NAN = math.nan
LABELS: dict[str, Any] = {"row_label": "T", "column_label": "alpha", "value_label": "points", "vmin": -10, "vmax": 10}
AXES: dict[str, Any] = {"rows": ("temperature", [1, 4]), "columns": ("alpha", [0.1, 0.9])}


def texts(figure) -> list[str]:
    return [text.get_text() for text in figure.axes[0].texts]


def faces(figure) -> list[tuple[float, ...]]:
    return [patch.get_facecolor() for patch in figure.axes[0].patches]


# ------------------------------------------------------------------ heat_map


def test_every_cell_shows_its_number_where_rows_and_columns_say() -> None:
    figure = heat_map([[1.5, -2.25, 0.0], [NAN, 30.0, -0.04]], ["1", "4"], [0.1, 0.5, 1.0], **LABELS, signed=True)
    axes = figure.axes[0]
    assert texts(figure) == ["+1.5", "−2.2", "0.0", "", "+30.0", "0.0"]
    assert [text.get_position() for text in axes.texts] == [(0, 0), (1, 0), (2, 0), (0, 1), (1, 1), (2, 1)]
    assert axes.get_ylim() == (1.5, -0.5)  # the first row is on top
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["0.1", "0.5", "1"]
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["1", "4"]


def test_the_middle_colour_is_the_baseline_and_the_range_is_fixed() -> None:
    figure = heat_map(
        [[86.0, 80.0, 95.0, 120.0]], ["x"], list("abcd"), **{**LABELS, "vmin": 80, "vmax": 95}, baseline=86
    )
    middle, low, high, beyond = faces(figure)
    assert middle == pytest.approx(_COLORS(0.5), abs=0.01)
    assert low == pytest.approx(_COLORS(0.0))
    assert high == pytest.approx(_COLORS(1.0))
    assert beyond == high
    assert texts(figure)[-1] == "120.0"
    assert faces(heat_map([[0.0]], ["x"], ["a"], **LABELS))[0] == pytest.approx(_COLORS(0.5), abs=0.01)


def test_a_cell_that_is_not_there_is_hatched_and_no_other() -> None:
    figure = heat_map([[1.0, NAN]], ["x"], ["a", "b"], **LABELS)
    assert [bool(patch.get_hatch()) for patch in figure.axes[0].patches] == [False, True]


def test_a_verdict_is_a_shape_that_the_legend_explains() -> None:
    verdicts = [["better", "worse", "cannot tell", None]]
    figure = heat_map([[1.0, 1.0, 1.0, 1.0]], ["x"], list("abcd"), **LABELS, verdicts=verdicts)
    assert [text.partition("\n")[2] for text in texts(figure)] == ["▲", "▼", "○", ""]
    assert all(f"{mark} {verdict}" in figure.axes[0].get_title(loc="left") for verdict, mark in MARKS.items())
    assert len(set(MARKS.values())) == 3
    assert figure.axes[0].get_title(loc="left") != heat_map([[1.0]], ["x"], ["a"], **LABELS).axes[0].get_title(
        loc="left"
    )


def luminance(color: Any) -> float:
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in color[:3]]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_every_number_can_be_read_on_every_colour() -> None:
    for share in np.linspace(0, 1, 501):
        ground = luminance(_COLORS(share))
        ink = {"black": 0.0, "white": 1.0}[_readable_on(_COLORS(share))]
        light, dark = max(ground, ink), min(ground, ink)
        assert (light + 0.05) / (dark + 0.05) >= 4.5


def test_the_colours_stay_apart_for_colour_blind_readers() -> None:
    """Better is bluer, worse redder, and both get darker: blue against yellow-red is what nearly all can see."""
    worse, middle, better = (_COLORS(share) for share in (0.0, 0.5, 1.0))
    assert better[2] - worse[2] > 0.5
    assert worse[0] - better[0] > 0.5
    shades = [luminance(_COLORS(share)) for share in np.linspace(0, 1, 11)]
    assert shades[:6] == sorted(shades[:6])
    assert shades[5:] == sorted(shades[5:], reverse=True)
    assert luminance(middle) > 0.9


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"values": [[1.0]]}, r"shape \(1, 2\)"),
        ({"values": [[1.0, math.inf]]}, "finite"),
        ({"rows": []}, "at least one row"),
        ({"vmin": 10}, "vmin < baseline < vmax"),
        ({"baseline": 20}, "vmin < baseline < vmax"),
        ({"vmax": NAN}, "vmin < baseline < vmax"),
        ({"verdicts": [["better"]]}, "shape of the values"),
        ({"verdicts": [["better", "best"]]}, "'best'"),
    ],
    ids=str,
)
def test_unusable_arguments_are_refused_in_words(arguments: dict[str, Any], words: str) -> None:
    given = {"values": [[1.0, 2.0]], "rows": ["x"], "columns": ["a", "b"], **LABELS, **arguments}
    with pytest.raises(ValueError, match=words):
        heat_map(**given)


def test_a_long_label_is_broken_and_the_house_style_worn() -> None:
    figure = heat_map(
        [[1.0]], ["x"], ["a"], **{**LABELS, "value_label": "validation accuracy minus hard labels, points"}
    )
    assert "\n" in figure.axes[1].get_ylabel()
    assert not figure.axes[0].spines["top"].get_visible()


# ------------------------------------------------------------------ the lab


def run(seed: int, temperature: float, alpha: float) -> float:
    """Better at T = 4 and worse at T = 1, alpha = 0.9; otherwise the baseline with noise."""
    effect = {(4, 0.1): 0.06, (4, 0.9): 0.08, (1, 0.9): -0.05}.get((temperature, alpha), 0.002 * (-1) ** seed)
    return 0.7 + 0.01 * seed + effect + 0.001 * (seed % 3)


def base(seed: int) -> float:
    return 0.7 + 0.01 * seed


class Slow:
    """A run that waits for the test's word."""

    def __init__(self) -> None:
        self.begun, self.go = threading.Semaphore(0), threading.Semaphore(0)

    def __call__(self, seed: int, **setting: Any) -> float:
        self.begun.release()
        assert self.go.acquire(timeout=20)
        return run(seed, **setting)


@pytest.fixture
def lab() -> SweepLab:
    return SweepLab(run, **AXES, baseline=base, baseline_name="hard labels")


@pytest.fixture
def slow() -> Slow:
    return Slow()


def test_a_run_gives_what_a_sweep_gives(lab: SweepLab) -> None:
    expected = sweep(run, {"temperature": [1, 4], "alpha": [0.1, 0.9]}, range(3), progress=False)
    found = lab.run(seeds=3)
    assert found.mean() == expected.mean()
    assert found.complete
    lab.clear()
    lab.start()
    assert lab.wait(20)
    assert lab.sweep().mean() == expected.mean()
    assert lab.failure == ""


def test_running_again_adds_the_missing_seeds_only() -> None:
    calls: list[tuple[int, Any]] = []

    def counted(seed: int, **setting: Any) -> float:
        calls.append((seed, setting or "baseline"))
        return run(seed, **setting) if setting else base(seed)

    lab = SweepLab(counted, **AXES, baseline=counted)
    lab.run(seeds=2)
    assert len(calls) == 2 * 5
    assert [what for _, what in calls[::5]] == ["baseline"] * 2
    lab.run(seeds=3)
    assert [seed for seed, _ in calls[10:]] == [2] * 5
    lab.run(seeds=3)
    assert (len(calls), lab.missing()) == (15, 0)
    lab.run(seeds=1)
    assert len(calls) == 15
    assert len(lab.sweep().seeds) == 3  # what was asked for once stays the plan


def test_a_cell_is_the_mean_paired_difference_in_points(lab: SweepLab) -> None:
    lab.run(seeds=4)
    for setting, value in lab.differences().items():
        gaps = [run(seed, **setting) - base(seed) for seed in range(4)]
        assert value == pytest.approx(100 * sum(gaps) / 4)
    assert lab.level == pytest.approx(sum(map(base, range(4))) / 4)


def test_validation_scores_are_shown_where_there_are_any() -> None:
    lab = SweepLab(
        lambda seed, temperature, alpha: Score(test=0.9, validation=0.6),
        **AXES,
        baseline={s: Score(0.1, 0.5) for s in range(5)},
    )
    lab.run(seeds=1)
    assert list(lab.differences().values()) == pytest.approx([10.0] * 4)


def test_no_verdict_below_five_seeds_and_holm_from_five_on(lab: SweepLab) -> None:
    lab.run(seeds=4)
    assert lab.contrasts() == {}
    assert "fewer than 5 seeds no verdict" in standing(lab)
    lab.run(seeds=5)
    expected = lab.sweep().against({seed: base(seed) for seed in range(5)})
    assert lab.contrasts() == expected
    assert [one.verdict for one in expected.values()] == ["cannot tell", "worse", "better", "better"]
    assert "better in 2 (temperature 4 with alpha 0.1, 0.9), worse in 1 (temperature 1 with alpha 0.9)" in standing(lab)
    assert "cannot tell in 1" in standing(lab)


def test_stop_answers_at_once_and_drops_the_run_in_progress(slow: Slow) -> None:
    lab = SweepLab(slow, **AXES, baseline=base)
    for _ in range(2):
        slow.go.release()
    lab.start()
    for _ in range(3):  # two runs end, the third is in progress
        assert slow.begun.acquire(timeout=20)
    began = time.monotonic()
    lab.stop()
    assert time.monotonic() - began < 0.5
    assert not lab.running
    assert lab.stopped
    assert lab.progress == (3, 5)  # the baseline and two cells
    slow.go.release()
    assert lab.wait(20)
    assert sum(lab.counts().values()) == 2
    for _ in range(2):
        slow.go.release()
    lab.start()  # picks up where it was
    assert lab.wait(20)
    assert set(lab.counts().values()) == {1}


def test_run_after_stop_waits_for_the_run_in_progress(slow: Slow) -> None:
    lab = SweepLab(slow, **AXES, baseline=base)
    lab.start()
    assert slow.begun.acquire(timeout=20)
    lab.stop()
    lab.start()
    assert not slow.begun.acquire(timeout=0.2)  # two students are never trained at once
    for _ in range(5):
        slow.go.release()
    assert lab.wait(20)
    assert set(lab.counts().values()) == {1}


def test_while_it_runs_the_choices_are_locked_and_start_does_nothing(slow: Slow) -> None:
    lab = SweepLab(slow, **AXES, baseline=base)
    lab.start()
    assert slow.begun.acquire(timeout=20)
    thread = lab._thread
    lab.start()
    assert lab._thread is thread
    for refused in (lambda: lab.choose(seeds=3), lab.clear, lab.run):
        with pytest.raises(RuntimeError, match="in progress"):
            refused()
    lab.stop()
    slow.go.release()
    assert lab.wait(20)


@pytest.mark.slow
def test_runs_in_other_processes_give_the_same_map(lab: SweepLab) -> None:
    lab.run(seeds=2)
    elsewhere = SweepLab(run, **AXES, baseline=base, jobs=2)
    elsewhere.run(seeds=2)
    assert elsewhere.differences() == lab.differences()


def test_an_error_is_told_in_words_and_what_was_done_stays() -> None:
    def breaks(seed: int, temperature: float, alpha: float) -> float:
        if temperature == 4:
            raise RuntimeError("the <student> broke")
        return run(seed, temperature, alpha)

    lab = SweepLab(breaks, **AXES, baseline=base)
    panel = Panel(lab)
    lab.start()
    assert lab.wait(20)
    assert not lab.running
    assert sum(lab.counts().values()) == 2
    message = panel.text("kd-sweep-message")
    assert "RuntimeError: the &lt;student&gt; broke" in message
    assert "while running setting temperature=4, alpha=0.1, seed 0" in message
    assert 'role="alert"' in message
    assert panel.button("Run").disabled is False
    with pytest.raises(RuntimeError, match="broke"):
        lab.run()
    lab.choose(seeds=2)
    assert lab.failure == ""


def test_an_interrupt_of_a_cell_keeps_what_is_done() -> None:
    def interrupted(seed: int, temperature: float, alpha: float) -> float:
        if temperature == 4:
            raise KeyboardInterrupt
        return run(seed, temperature, alpha)

    lab = SweepLab(interrupted, **AXES, baseline=base)
    assert len(lab.run().missing) == 2
    assert not lab.running


def test_each_map_has_its_own_runs() -> None:
    other = {"few": lambda seed, **_: 0.9, "all": lambda seed, **_: 0.4}
    lab = SweepLab(other, **AXES, baseline={"few": base, "all": dict.fromkeys(range(5), 0.5)})
    lab.run(choice="all")
    assert list(lab.differences().values()) == pytest.approx([-10.0] * 4)
    lab.choose(choice="few")
    assert all(map(math.isnan, lab.differences().values()))
    assert lab.missing() == 5
    lab.run()
    lab.clear()
    assert sum(lab.counts().values()) == 0
    lab.choose(choice="all")
    assert sum(lab.counts().values()) == 4


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"run": 3}, "functions of the seed"),
        ({"run": {}}, "every map needs"),
        ({"run": {"few": run}, "baseline": base}, "every map needs"),
        ({"run": {"few": run}, "baseline": {"all": base}}, "every map needs"),
        ({"baseline": 0.9}, "functions of the seed"),
        ({"baseline": {0: 0.5}}, "no score for seed 1"),
        ({"rows": [1, 4]}, "rows must be a name and its values"),
        ({"rows": ("alpha", [1])}, "must be different settings"),
        ({"columns": ("alpha", [])}, "at least one value"),
        ({"columns": ("alpha", [NAN])}, "NaN"),
        ({"seeds": []}, "at least one"),
        ({"start": 9}, "from 1 to 5"),
        ({"limit": -1}, "vmin"),
    ],
    ids=str,
)
def test_an_unusable_lab_is_refused_in_words(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises((TypeError, ValueError), match=words):
        SweepLab(**{"run": run, **AXES, "baseline": base, **arguments})
    lab = SweepLab(run, **AXES, baseline=base)
    for refused in ({"choice": "few"}, {"seeds": 0}, {"seeds": 2.0}):
        with pytest.raises(ValueError, match="must be"):
            lab.choose(**refused)


# ------------------------------------------------------------------ picture and words


def decoded(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))


def test_the_kept_picture_is_the_figure_drawn_anew(lab: SweepLab) -> None:
    for seeds in (1, 4, 5):
        lab.run(seeds=seeds)
        fresh = lab._new_picture()
        lab._fill(fresh)
        assert np.array_equal(decoded(lab.frame()), BlitCanvas(fresh.figure, fresh.moving, dpi=128).pixels()[..., :3])
    assert [text.partition("\n")[2] for text in texts(lab.figure())] == ["○", "▼", "▲", "▲"]
    lab.clear()
    assert texts(lab.figure()) == [""] * 4


def test_the_bundle_holds_the_panel_a_picture_and_a_stable_sentence(lab: SweepLab) -> None:
    lab.run(seeds=2)
    bundle, metadata = lab._repr_mimebundle_()
    assert set(bundle) == {"application/vnd.jupyter.widget-view+json", "text/html", "image/png", "text/plain"}
    assert bundle["text/plain"] == "Sweep lab: temperature by alpha, 4 cells, 8 runs done."  # nothing measured in it
    assert f'alt="{html.escape(described(lab), quote=True)}"' in bundle["text/html"]
    assert bundle["application/vnd.jupyter.widget-view+json"]["model_id"] == lab.widget.model_id
    assert decoded(base64.b64decode(bundle["image/png"])).shape[1] > 800
    assert metadata["image/png"]["alt"] == described(lab)
    assert set(lab._repr_mimebundle_(include=["text/plain"])[0]) == {"text/plain"}
    assert "image/png" not in lab._repr_mimebundle_(exclude=["image/png"])[0]
    assert kdlab_lab.SweepLab is SweepLab


def test_before_any_run_all_that_is_shown_is_the_same_everywhere(lab: SweepLab) -> None:
    one, other = (SweepLab(run, **AXES, baseline=base)._repr_mimebundle_()[0] for _ in range(2))
    for kind in ("text/html", "text/plain", "image/png"):
        assert one[kind] == other[kind]


def test_the_alt_text_has_every_number(lab: SweepLab) -> None:
    assert "not yet" not in described(lab)
    assert "Rows temperature 1, 4; columns alpha 0.1, 0.9." in described(lab)
    lab.run(seeds=5)
    words = described(lab)
    for setting, value in lab.differences().items():
        verdict = lab.contrasts()[setting].verdict
        assert f"{value:+.1f} {verdict}".replace("-", "−") in words
    assert "temperature 4: " in words


# ------------------------------------------------------------------ the panel, clicked from Python


class Panel:
    """Presses a panel's buttons as the front end would."""

    def __init__(self, lab: SweepLab) -> None:
        self.lab, self.parts = lab, list(self._all(lab.widget))

    def _all(self, widget):
        yield widget
        for child in getattr(widget, "children", ()):
            yield from self._all(child)

    def button(self, label: str):
        return next(p for p in self.parts if type(p).__name__ == "Button" and p.description == label)

    def part(self, label: str):
        return next(p for p in self.parts if getattr(p, "description", "") == label)

    def run(self) -> None:
        self.button("Run").click()
        assert self.lab.wait(20)

    def text(self, name: str) -> str:
        return next(p.value for p in self.parts if type(p).__name__ == "HTML" and f'class="{name}"' in p.value)


def test_run_stop_and_the_words_follow_the_lab(slow: Slow) -> None:
    lab = SweepLab(slow, **AXES, baseline=base, baseline_name="hard labels")
    panel = Panel(lab)
    assert panel.button("Stop").disabled
    assert "4 cells, none run yet" in panel.text("kd-sweep-live")
    empty = panel.text("kd-sweep-picture")
    panel.button("Run").click()
    assert slow.begun.acquire(timeout=20)
    running = panel.button("Running ...")
    assert running.disabled
    running.click()  # an impatient click
    assert '<progress value="1" max="5"' in panel.text("kd-sweep-message")
    panel.button("Stop").click()
    assert "Stopped. 1 of 5 runs are kept" in panel.text("kd-sweep-message")
    assert not panel.button("Run").disabled
    for _ in range(5):
        slow.go.release()
    panel.run()
    assert "All 4 runs are done." in panel.text("kd-sweep-message")
    assert panel.text("kd-sweep-picture") != empty
    assert "1 seed each, hard labels at 70.0%" in panel.text("kd-sweep-live")
    assert 'aria-live="polite"' in panel.text("kd-sweep-live")
    panel.button("Run").click()
    assert "Nothing is missing" in panel.text("kd-sweep-message")


def test_the_slider_and_the_list_choose(lab: SweepLab) -> None:
    panel = Panel(lab)
    panel.part("seeds per cell").value = 5
    assert lab.seed_count == 5
    panel.run()
    assert set(lab.counts().values()) == {5}
    assert "Verdicts: better in 2" in panel.text("kd-sweep-live")
    assert "(5 seeds, better)" in panel.text("kd-sweep-numbers")
    lab.choose(seeds=2)
    assert panel.part("seeds per cell").value == 2
    two = SweepLab({"few": run, "all": run}, **AXES, baseline={"few": base, "all": base})
    chooser = Panel(two)
    chooser.part("map").value = "all"
    assert two.choice == "all"
    assert chooser.text("kd-sweep-live").count("<b>all: ") == 1
    assert not any(getattr(p, "description", "") == "map" for p in panel.parts)


def test_clear_asks_twice_and_a_second_thought_takes_it_back(lab: SweepLab) -> None:
    panel = Panel(lab)
    panel.run()
    panel.button("Clear map").click()
    lab.choose(seeds=3)
    panel.button("Clear map").click()
    assert sum(lab.counts().values()) == 4
    panel.button("Really clear?").click()
    assert sum(lab.counts().values()) == 0
    assert panel.button("Clear map").button_style == ""


def test_the_table_shows_when_asked(lab: SweepLab) -> None:
    panel = Panel(lab)
    table = next(p for p in panel.parts if "kd-sweep-numbers" in str(getattr(p, "value", "")))
    assert table.layout.display == "none"
    panel.part("show the map as a table").value = True
    assert table.layout.display is None
