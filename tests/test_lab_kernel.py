"""The kernel lab without a browser: the blitted canvas, the pure functions, and what a lab keeps and says."""

from __future__ import annotations

import base64
import html
import io
import time

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image
from scipy import stats

import kdlab.lab.pairs as pairs
from kdlab.data import load_digits
from kdlab.lab import new_figure
from kdlab.lab.blit import BlitCanvas
from kdlab.lab.kernel_lab import DistillationLab
from kdlab.lab.pairs import Settings, Try, mixed_target, rows_for, summarize, train_pair
from kdlab.losses import kd_loss
from kdlab.models import MLP
from kdlab.training import History, predict_logits, seeded

HERE = Settings(4, 0.9, 20)


def decoded(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))


def savefig(figure, dpi: int) -> np.ndarray:
    """Everything drawn from scratch, moving or not."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi)
    return decoded(buffer.getvalue())


@pytest.fixture(scope="module")
def teacher() -> MLP:
    with seeded(7):
        return MLP()


@pytest.fixture
def lab(teacher: MLP) -> DistillationLab:
    return DistillationLab(teacher, load_digits(), steps=4)


def tries(*differences: float, settings: Settings = HERE) -> list[Try]:
    return [Try(i + 1, settings, i, 0.5, 0.5 + difference) for i, difference in enumerate(differences)]


# ------------------------------------------------------------------ BlitCanvas


@pytest.fixture
def scene():
    figure, axes = new_figure(1, 2)
    bars = axes[0].bar([0, 1, 2], [0.2, 0.5, 0.3])
    (dot,) = axes[1].plot([0.5], [0.5], "o")
    axes[0].set_ylim(0, 1)
    axes[1].set(xlim=(0, 1), ylim=(0, 1))
    text = axes[1].text(0.1, 0.8, "T = 4")
    canvas = BlitCanvas(figure, [*bars, dot, text], dpi=100)
    return figure, axes, bars, dot, text, canvas


def test_a_frame_has_the_pixels_of_a_full_drawing(scene):
    figure, _, bars, dot, text, canvas = scene
    for height, x in ((0.9, 0.1), (0.1, 0.9), (0.0, 0.5)):
        bars[1].set_height(height)
        dot.set_xdata([x])
        text.set_text(f"T = {height}")
        assert np.array_equal(decoded(canvas.frame()), savefig(figure, dpi=100))


@pytest.fixture
def halves():
    figure, axes = new_figure(1, 2)
    axes[1].set_ylabel("belongs to the right half")
    dots = [one.plot([0.5], [0.5], "o")[0] for one in axes]
    for one in axes:
        one.set(xlim=(0, 1), ylim=(0, 1))
    return figure, dots, BlitCanvas(figure, {"left": dots[:1], "right": dots[1:]}, dpi=128)


def test_regions_are_the_columns_of_a_full_drawing_and_make_up_the_whole(halves):
    figure, dots, canvas = halves
    for x in (0.0, 0.3, 1.0):
        for dot in dots:
            dot.set_data([x], [1 - x])
        full = savefig(figure, dpi=128)
        parts = [decoded(canvas.frame(name)) for name in ("left", "right")]
        for name, part in zip(("left", "right"), parts, strict=True):
            assert np.array_equal(part, full[:, canvas.columns(name)])
        assert np.array_equal(np.hstack(parts), full)
        assert np.array_equal(decoded(canvas.frame()), full)
        assert (full[:, canvas.columns("right").start] == 255).all()  # the cut runs between the axes


def test_a_region_draws_its_own_group_and_leaves_no_trail(halves, monkeypatch):
    figure, (left, right), canvas = halves
    before = {name: canvas.pixels(name) for name in ("left", "right")}
    drawn = []
    real = figure.draw_artist
    monkeypatch.setattr(figure, "draw_artist", lambda artist: drawn.append(artist) or real(artist))
    left.set_xdata([0.9])
    right.set_xdata([0.1])
    assert not np.array_equal(canvas.pixels("left"), before["left"])
    assert drawn == [left]
    left.set_xdata([0.5])
    right.set_xdata([0.5])
    assert all(np.array_equal(canvas.pixels(name), before[name]) for name in before)


def test_a_moved_artist_leaves_no_trail(scene):
    _, _, bars, dot, _, canvas = scene
    before = canvas.pixels()
    dot.set_data([0.9], [0.1])
    bars[0].set_height(1.0)
    assert not np.array_equal(canvas.pixels(), before)
    dot.set_data([0.5], [0.5])
    bars[0].set_height(0.2)
    assert np.array_equal(canvas.pixels(), before)


def test_a_change_of_the_background_shows_after_invalidate_and_not_before(scene):
    figure, axes, *_, canvas = scene
    before = canvas.pixels()
    axes[0].set_title("new")
    assert np.array_equal(canvas.pixels(), before)
    canvas.invalidate()
    assert np.array_equal(canvas.pixels()[..., :3], savefig(figure, dpi=100))
    assert not np.array_equal(canvas.pixels(), before)


def test_a_savefig_at_another_resolution_does_not_spoil_the_next_frame(scene):
    figure, *_, canvas = scene
    before = canvas.frame()
    savefig(figure, dpi=37)
    assert canvas.frame() == before


def test_a_figure_that_changed_its_size_is_drawn_again(scene):
    figure, *_, canvas = scene
    canvas.frame()
    figure.set_size_inches(5, 2)
    assert np.array_equal(decoded(canvas.frame()), savefig(figure, dpi=100))


def test_a_moving_image_leaves_no_trail_either():
    figure, axes = new_figure()
    image = axes.imshow([[0, 1], [1, 0]])
    canvas = BlitCanvas(figure, [image])
    full = canvas.pixels()
    image.set_visible(False)
    assert len(np.unique(canvas.pixels().reshape(-1, 4), axis=0)) < len(np.unique(full.reshape(-1, 4), axis=0))
    image.set_visible(True)
    assert np.array_equal(canvas.pixels(), full)


def test_a_long_moving_text_does_not_shift_the_axes():
    places = []
    for words in ("short", "a text that is much too long for its axes " * 3):
        figure, axes = new_figure()
        canvas = BlitCanvas(figure, [axes.text(0, 0.5, words, ha="right")])
        canvas.frame()
        places.append(axes.get_position().bounds)
    assert places[0] == places[1]


def test_a_frame_draws_the_moving_artists_only(scene, monkeypatch):
    *_, canvas = scene
    canvas.frame()
    full_draws = []
    monkeypatch.setattr(FigureCanvasAgg, "draw", lambda self: full_draws.append(1))
    canvas.frame()
    assert not full_draws


def test_blit_refuses_what_it_cannot_draw(scene):
    figure, _, _, dot, *_ = scene
    other, _ = new_figure()
    with pytest.raises(ValueError, match="at least one"):
        BlitCanvas(figure, [])
    with pytest.raises(ValueError, match="not part of the figure"):
        BlitCanvas(other, [dot])


def test_groups_must_be_side_by_side_and_regions_have_names(halves):
    _, (left, right), canvas = halves
    with pytest.raises(ValueError, match="region must be one of"):
        canvas.frame("middle")
    figure, axes = new_figure(1, 2)
    left, right = (one.plot([0], [0])[0] for one in axes)
    with pytest.raises(ValueError, match="side by side"):
        BlitCanvas(figure, {"right": [right], "left": [left]})


# ------------------------------------------------------------------ pure functions


@pytest.mark.parametrize("alpha", [0.0, 0.25, 0.9, 1.0])
@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_the_target_is_the_mixture_and_sums_to_one(alpha, temperature):
    logits = torch.tensor([2.0, -1.0, 0.5, 0.0])
    hard, soft = mixed_target(logits, 2, temperature=temperature, alpha=alpha)
    onehot = F.one_hot(torch.tensor(2), 4).float()
    torch.testing.assert_close(hard, (1 - alpha) * onehot)
    torch.testing.assert_close(soft, alpha * torch.softmax(logits / temperature, 0))
    assert float((hard + soft).sum()) == pytest.approx(1)


def test_at_temperature_one_the_target_has_the_gradient_of_the_loss():
    teacher_logits, label, alpha = torch.tensor([2.0, -1.0, 0.5]), 1, 0.7
    student = torch.tensor([[0.3, 0.1, -0.2]], requires_grad=True)
    kd_loss(student, teacher_logits[None], torch.tensor([label]), temperature=1.0, alpha=alpha).backward()
    target = sum(mixed_target(teacher_logits, label, temperature=1.0, alpha=alpha))
    torch.testing.assert_close(student.grad[0], torch.softmax(student.detach()[0], 0) - target)


def test_students_see_as_many_images_of_each_class_and_others_with_another_seed():
    train = load_digits().train
    rows = rows_for(train, 50, seed=3)
    assert torch.bincount(train.labels[rows]).tolist() == [5] * 10
    assert len(set(rows.tolist())) == 50
    assert torch.equal(train.subset(5, seed=3).images, train.images[rows])
    assert set(rows.tolist()) != set(rows_for(train, 50, seed=4).tolist())
    assert len(rows_for(train, len(train), seed=0)) == len(train)
    with pytest.raises(ValueError, match="multiple of 10"):
        rows_for(train, 25, seed=0)


def test_a_pair_differs_in_alpha_alone(monkeypatch):
    data, calls = load_digits(), []

    def spy(student, teacher_logits, images, labels, **options):
        batches = []
        student.register_forward_pre_hook(lambda module, inputs: batches.append(inputs[0].clone()))
        weights = {name: value.clone() for name, value in student.state_dict().items()}
        history = real(student, teacher_logits, images, labels, **options)
        calls.append((weights, batches[: history.epochs], labels, teacher_logits, options))
        return history

    real = pairs.distill
    monkeypatch.setattr(pairs, "distill", spy)
    logits = torch.randn(len(data.train), 10, generator=torch.Generator().manual_seed(0))
    train_pair(data.train, data.validation, logits, Settings(2, 0.75, 100), seed=5, make_student=MLP, steps=6)
    (weights, batches, labels, answers, hard), (weights2, batches2, labels2, answers2, soft) = calls
    assert all(torch.equal(weights[name], weights2[name]) for name in weights)
    assert len(batches) == len(batches2) > 2
    assert all(torch.equal(one, other) for one, other in zip(batches, batches2, strict=True))
    assert torch.equal(labels, labels2)
    assert torch.equal(answers, answers2)
    assert (hard.pop("alpha"), soft.pop("alpha")) == (0.0, 0.75)
    assert hard == soft


def test_without_a_soft_term_both_students_are_the_same(lab):
    assert lab.run(alpha=0, labels=50).difference == 0
    assert lab.run(alpha=1, temperature=1, labels=50).difference != 0  # and with one they are not


def test_a_pair_can_be_repeated_and_leaves_the_random_state_and_the_threads_alone(teacher):
    data = load_digits()
    logits = predict_logits(teacher, data.train.images)
    state, threads = torch.random.get_rng_state(), torch.get_num_threads()
    torch.set_num_threads(2)
    results = [
        train_pair(data.train, data.validation, logits, HERE, seed=seed, make_student=MLP, steps=20)
        for seed in (1, 1, 2)
    ]
    assert results[0] == results[1] != results[2]
    left = torch.get_num_threads()
    torch.set_num_threads(threads)
    assert torch.equal(state, torch.random.get_rng_state())
    assert left == 2


def test_below_five_tries_there_is_no_interval():
    (summary,) = summarize(tries(0.1, 0.2))
    assert (summary.n, summary.missing, summary.interval, summary.verdict) == (2, 3, None, None)
    assert summary.mean == pytest.approx(0.15)


@pytest.mark.parametrize(
    ("differences", "verdict"),
    [
        ((0.05, 0.06, 0.04, 0.05, 0.07), "better"),
        ((-0.05, -0.06, -0.04, -0.05, -0.07), "worse"),
        ((0.05, -0.06, 0.04, -0.05, 0.01), "cannot tell"),
        ((0.0, 0.0, 0.0, 0.0, 0.0), "cannot tell"),
    ],
)
def test_from_five_tries_on_the_interval_is_the_paired_t_interval(differences, verdict):
    (summary,) = summarize(tries(*differences))
    assert summary.verdict == verdict
    if any(differences):
        expected = stats.ttest_1samp(differences, 0).confidence_interval(0.95)
        assert summary.interval == pytest.approx((expected.low, expected.high))


def test_tries_with_other_settings_are_never_pooled():
    other = Settings(1, 0.9, 20)
    assert [(s.settings, s.n) for s in summarize(tries(0.1, 0.2) + tries(0.3, settings=other))] == [
        (HERE, 2),
        (other, 1),
    ]


# ------------------------------------------------------------------ the lab


def test_the_same_settings_take_the_next_seed_and_others_start_at_zero(lab):
    made = [lab.run(labels=20), lab.run(labels=20), lab.run(labels=50), lab.run(labels=20), lab.run(temperature=1)]
    assert [one.seed for one in made] == [0, 1, 0, 2, 0]
    assert [one.number for one in made] == [1, 2, 3, 4, 5]
    assert lab.tries == made


def test_accuracy_is_on_validation_data_and_test_data_are_never_touched(teacher, monkeypatch):
    data = load_digits()
    seen = []
    real = pairs.evaluate
    monkeypatch.setattr(
        pairs, "evaluate", lambda model, images, labels: seen.append(images) or real(model, images, labels)
    )
    DistillationLab(teacher, data, steps=4).run()
    assert len(seen) == 2
    assert all(images is data.validation.images for images in seen)


class Brittle(MLP):
    """A learner's own student with a mistake in it, while ``broken``."""

    broken = False

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.broken:
            raise RuntimeError("the <student> broke")
        return super().forward(x)


def test_an_error_in_training_is_told_and_earlier_tries_stay(teacher, monkeypatch):
    lab = DistillationLab(teacher, load_digits(), steps=4, make_student=Brittle)
    panel = Clicks(lab)
    panel.run()
    kept = list(lab.tries)
    monkeypatch.setattr(Brittle, "broken", True)
    panel.run()
    assert lab.tries == kept
    assert len(kept) == 1
    assert "RuntimeError: the &lt;student&gt; broke" in panel.text("kd-lab-message")
    assert not panel.button("Run").disabled
    monkeypatch.setattr(Brittle, "broken", False)
    panel.run()
    assert len(lab.tries) == 2
    assert "broke" not in panel.everything()


@pytest.mark.parametrize("reason", ["diverged", "interrupted", "patience"])
def test_a_training_that_ended_early_is_no_try(lab, monkeypatch, reason):
    monkeypatch.setattr(pairs, "distill", lambda *_, **__: History(train_loss=[1.0], stopped=reason))
    with pytest.raises(pairs.TrainingStopped, match=f"labels only {reason} after 1 epochs"):
        lab.run()
    assert lab.tries == []


def test_the_bundle_holds_the_panel_a_picture_and_a_sentence(lab):
    bundle, metadata = lab._repr_mimebundle_()
    assert set(bundle) == {"application/vnd.jupyter.widget-view+json", "text/html", "image/png", "text/plain"}
    assert f'alt="{html.escape(lab.describe(), quote=True)}"' in bundle["text/html"]
    assert bundle["application/vnd.jupyter.widget-view+json"]["model_id"] == lab.widget.model_id
    picture = decoded(base64.b64decode(bundle["image/png"]))
    assert picture.shape[1] > 1000
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 20
    assert bundle["text/plain"].startswith("Distillation lab at T = 4, α = 0.9, 50 labels.")
    assert "0x" not in bundle["text/plain"]
    assert "0 tries" in bundle["text/plain"]
    assert metadata["image/png"]["alt"] in bundle["text/plain"]
    assert set(lab._repr_mimebundle_(include=["text/plain"])[0]) == {"text/plain"}
    assert "image/png" not in lab._repr_mimebundle_(exclude=["image/png"])[0]


def test_the_sentence_is_the_same_in_every_process(teacher):
    one, other = (repr(DistillationLab(teacher, load_digits())) for _ in range(2))
    assert one == other


def test_the_picture_of_the_sliders_is_the_figure_drawn_anew(lab):
    for temperature, labels in ((1, 20), (16, 1000), (4, 50)):
        lab.run(temperature=temperature, labels=labels)
        lab.choose(alpha=0.5, temperature=8)
        fresh = BlitCanvas(*_figure_and_moving(lab), dpi=128)
        assert np.array_equal(decoded(lab.frame()), fresh.pixels()[..., :3])
        parts = [decoded(lab.frame(part)) for part in ("target", "tries")]
        assert np.array_equal(np.hstack(parts), fresh.pixels()[..., :3])


def _figure_and_moving(lab):
    picture = lab._new_picture()
    picture.set_tries(lab.tries)
    lab._update(picture)
    return picture.figure, picture.moving


def test_the_figure_shows_what_the_numbers_say(lab):
    lab.run(labels=20)
    lab.choose(temperature=2, alpha=0.75)
    figure = lab.figure()
    left, right = figure.axes[:2]
    hard, soft = lab.target
    corners = left.patches[0].get_path().vertices.reshape(10, 5, 2)  # of the bars, each closed
    assert corners[..., 1].max(axis=1) == pytest.approx(soft.numpy())
    assert left.patches[1].get_height() == pytest.approx(float(hard.sum()))
    drawn = {tuple(np.round(line.get_ydata(), 6)) for line in right.lines}
    one = lab.tries[0]
    low = 0.5  # what lies below the axis is drawn on its edge
    assert tuple(np.round([max(one.hard, low), max(one.soft, low)], 6)) in drawn


def test_choices_are_checked(teacher, lab):
    data = load_digits()
    for options, words in (
        ({"labels": (25,)}, "multiple of 10"),
        ({"labels": (20, 2000)}, "choices of labels"),
        ({"alphas": (0, 1.5)}, "choices of alpha"),
        ({"temperatures": ()}, "choices of temperature"),
        ({"temperatures": (4, 2)}, "choices of temperature"),
        ({"example": 5000}, "example"),
    ):
        with pytest.raises(ValueError, match=words):
            DistillationLab(teacher, data, **options)
    with pytest.raises(ValueError, match="temperature must be one of"):
        lab.run(temperature=3)
    assert lab.tries == []


# ------------------------------------------------------------------ the panel, clicked from Python


class Clicks:
    """Presses a panel's buttons as the front end would."""

    def __init__(self, lab: DistillationLab) -> None:
        self.parts = list(self._all(lab.widget))

    def _all(self, widget):
        yield widget
        for child in getattr(widget, "children", ()):
            yield from self._all(child)

    def button(self, label: str):
        return next(p for p in self.parts if type(p).__name__ == "Button" and p.description == label)

    def run(self) -> None:
        self.button("Run").click()
        deadline = time.monotonic() + 5
        while not any(getattr(p, "description", "") == "Run" for p in self.parts) and time.monotonic() < deadline:
            time.sleep(0.01)

    def everything(self) -> str:
        return "\n".join(p.value for p in self.parts if type(p).__name__ == "HTML")

    def text(self, name: str) -> str:
        return next(p.value for p in self.parts if type(p).__name__ == "HTML" and f'class="{name}"' in p.value)


def test_clicks_during_a_run_are_dropped(lab):
    panel = Clicks(lab)
    button = panel.button("Run")
    button.click()
    for _ in range(5):
        button.click()  # what a queue of impatient clicks delivers right after the run
    assert len(lab.tries) == 1
    time.sleep(0.6)
    panel.run()
    assert len(lab.tries) == 2


def test_reset_keeps_the_tries_and_clear_asks_twice(lab):
    panel = Clicks(lab)
    lab.run(temperature=16, alpha=0.25, labels=100)
    panel.button("Reset sliders").click()
    assert lab.settings == Settings(4, 0.9, 50)
    assert len(lab.tries) == 1
    panel.button("Clear tries").click()
    assert len(lab.tries) == 1
    lab.choose(temperature=2)  # a second thought takes the question back
    panel.button("Clear tries").click()
    assert len(lab.tries) == 1
    panel.button("Really clear?").click()
    assert lab.tries == []
    assert "No tries yet" in panel.everything()
    assert panel.button("Clear tries").button_style == ""


def test_sliders_picture_and_text_follow_the_lab(lab):
    panel = Clicks(lab)
    before = panel.text("kd-lab-target-picture")
    lab.choose(temperature=16)
    after = panel.text("kd-lab-target-picture")
    assert before != after
    assert 'alt="Left, bars' in after
    assert "at T = 16, α = 0.9" in after
    assert "T = 16, α = 0.9, 50 labels." in panel.text("kd-lab-live")
    slider = next(p for p in panel.parts if getattr(p, "description", "").startswith("T: temperature"))
    assert slider.value == 16
    slider.value = 1
    assert lab.settings.temperature == 1
    assert "at T = 1," in panel.text("kd-lab-target-picture")


def test_only_the_part_that_changed_is_drawn_and_sent(lab, monkeypatch):
    panel = Clicks(lab)
    lab.run(labels=20)
    lab.choose(labels=50)
    drawn = []
    real = lab.frame
    monkeypatch.setattr(lab, "frame", lambda part=None: drawn.append(part) or real(part))
    for change, parts in (
        ({"temperature": 8}, ["target"]),
        ({"alpha": 0.5}, ["target"]),
        ({"labels": 20}, ["tries"]),
        ({"alpha": 0.9}, ["target"]),
        ({"temperature": 4}, ["target", "tries"]),  # the settings of a try: it gets a ring
        ({"labels": 50}, ["tries"]),
    ):
        lab.choose(**change)
        assert drawn == parts
        drawn.clear()
        for part in ("target", "tries"):
            picture = panel.text(f"kd-lab-{part}-picture")
            assert base64.b64decode(picture.split("base64,")[1].split('"')[0]) == real(part)
            assert html.escape(lab.describe(part), quote=True) in picture
    lab.run()
    assert drawn == ["tries"]


def test_the_panel_says_what_teacher_and_student_see(lab):
    words = Clicks(lab).everything()
    assert "The teacher learned from all 1,000 training labels" in words
    assert "Both use the same learning rate, which nobody tuned." in words
    assert "297 validation images; the test images stay locked" in words


def test_the_table_lists_every_try_and_the_verdict_by_settings(lab):
    panel = Clicks(lab)
    for i in range(5):
        lab.tries.append(Try(i + 1, HERE, i, 0.80, 0.85 + 0.001 * i))
    lab.run(labels=50)
    table = panel.text("kd-lab-tries")
    assert table.count("<tr>") == 2 + 2 + 6  # two headers, two settings, six tries
    assert "better" in table
    assert "4 more for an interval" in table
    assert "+5.0" in table
