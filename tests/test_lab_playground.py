"""The playground without a browser: its data, its teacher, the twin's training, its arguments and its markup."""

from __future__ import annotations

import json
import re
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from kdlab.comparison import contrast
from kdlab.lab import playground_explorable, playground_figure
from kdlab.lab.explorable import Explorable
from kdlab.lab.playground import (
    LABELS,
    POOL,
    RATE,
    REACH,
    SIZES,
    STEPS,
    PlaygroundSetting,
    PlaygroundState,
    _uniform,
    first_weights,
    labelled_points,
    playground_data,
    playground_run,
    playground_teacher,
    student_logits,
)
from kdlab.lab.playground_panel import _cells


@cache
def end(setting: PlaygroundSetting) -> PlaygroundState:
    return playground_run(setting)[0]


@cache
def _default_panel() -> Explorable:
    return playground_explorable()


# ---- what is drawn


def test_the_generator_is_mulberry32() -> None:
    draw = _uniform(0)
    assert [draw(), draw()] == [0.26642920868471265, 0.0003297457005828619]  # as its author's JavaScript gives


def test_the_generator_is_uniform_enough_and_takes_seeds_beyond_32_bits() -> None:
    draw = _uniform(2**32 + 7)
    numbers = np.array([draw() for _ in range(20_000)])
    assert numbers[0] == _uniform(7)()
    assert numbers.min() >= 0
    assert numbers.max() < 1
    assert np.histogram(numbers, 10, (0, 1))[0] == pytest.approx(2000, abs=200)


def test_data_are_three_arms_the_noise_away_from_their_spirals() -> None:
    points, classes = playground_data(5, 4000)
    assert np.abs(points).max() <= 1
    assert (points == points.round(3)).all()
    radius = np.linspace(0.12, 1, 2000)
    nearest = []
    for k in range(3):
        angle = 2 * np.pi * (k / 3 + 0.7 * radius)
        arm = 0.92 * radius * np.stack([np.cos(angle), np.sin(angle)])
        mine = points[classes == k][::10]
        nearest.append(np.sqrt(((mine[:, :, None] - arm) ** 2).sum(axis=1).min(axis=1)))
    distance = np.concatenate(nearest)
    assert np.sqrt((distance**2).mean()) == pytest.approx(0.1, abs=0.01)  # normal across the arm
    assert np.linalg.norm(points[classes == 0], axis=1).mean() == pytest.approx(0.92 * 2 / 3, abs=0.03)


def test_data_depend_on_the_seed_alone() -> None:
    np.random.seed(1)  # noqa: NPY002
    first, _ = playground_data()
    np.random.seed(2)  # noqa: NPY002
    again, _ = playground_data()
    held, _ = playground_data(2, POOL)
    assert (first == again).all()
    assert (first != held).any(axis=1).all()


def test_the_teacher_is_good_and_leaves_torchs_generator_alone() -> None:
    playground_teacher.cache_clear()
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    held, classes = playground_data(2, 100)
    logits = playground_teacher()(held)
    assert torch.rand(1) == expected
    assert (logits.argmax(axis=1) == classes).mean() > 0.93
    assert (logits == logits.round(4)).all()


def test_labelled_points_are_balanced_and_more_labels_keep_the_few() -> None:
    _, classes = playground_data()
    for start in range(1, 6):
        sets = [set(labelled_points(PlaygroundSetting(labels=count, start=start))) for count in LABELS]
        for count, chosen in zip(LABELS, sets, strict=True):
            assert np.bincount(classes[list(chosen)]).tolist() == [count] * 3
        assert all(few < more for few, more in pairwise(sets))
    several = {labelled_points(PlaygroundSetting(start=start)) for start in range(1, 21)}
    assert len(several) == 20


def test_every_point_is_as_likely_to_be_labelled() -> None:
    counts = np.zeros(3 * POOL)
    for start in range(1, 1601):
        counts[list(labelled_points(PlaygroundSetting(start=start)))] += 1
    assert counts == pytest.approx(1600 * 2 / POOL, abs=33)  # mean 40, deviation 6.2


@pytest.mark.parametrize("size", SIZES)
def test_first_weights_are_normal_with_their_scales_and_new_at_each_start(size: int) -> None:
    drawn = [first_weights(PlaygroundSetting(size=size, start=start)) for start in range(1, 101)]
    for place, scale in ((0, 1.5), (1, 0.75), (2, size**-0.5)):
        numbers = torch.stack([weights[place] for weights in drawn])
        assert numbers.std().item() == pytest.approx(scale, rel=0.15)
        assert numbers.mean().item() == pytest.approx(0, abs=0.2 * scale)
        assert len(numbers.flatten().unique()) == numbers.numel()
    assert [tuple(tensor.shape) for tensor in drawn[0]] == [(2, size), (size,), (size, 3), (3,)]
    assert not drawn[0][3].any()


# ---- training


def log_softmax(z: NDArray[np.float64]) -> NDArray[np.float64]:
    shifted: NDArray[np.float64] = z - z.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


def written_out(setting: PlaygroundSetting, student: Any) -> tuple[float, float]:
    """Both losses as the panel writes them, in plain NumPy."""
    points, classes = playground_data()
    few = list(labelled_points(setting))
    z = student_logits(student, points).numpy()
    hard = -log_softmax(z[few])[range(len(few)), classes[few]].mean()
    asked = few if setting.answers == "labelled" else list(range(len(points)))
    log_p, log_q = (log_softmax(x[asked] / setting.temperature) for x in (playground_teacher()(points), z))
    soft = setting.temperature**2 * (np.exp(log_p) * (log_p - log_q)).sum(axis=1).mean()
    return hard, (1 - setting.alpha) * hard + setting.alpha * soft


@pytest.mark.parametrize("answers", ["labelled", "all"])
@pytest.mark.parametrize(("temperature", "alpha", "labels"), [(1, 0.5, 2), (4, 0.9, 5), (32, 1, 20), (8, 0, 80)])
def test_losses_are_those_written_under_the_maps(temperature: int, alpha: float, labels: int, answers: Any) -> None:
    setting = PlaygroundSetting(6, temperature, alpha, labels, answers, start=3)
    for state in playground_run(setting, [0, 1, 30]):
        alone, _ = written_out(setting, state.weights[0])
        _, taught = written_out(setting, state.weights[1])
        assert state.losses == pytest.approx((alone, taught), rel=1e-8)


def test_both_students_begin_alike_and_the_first_step_of_adam_is_the_rate_for_every_weight() -> None:
    before, after = playground_run(PlaygroundSetting(size=3), [0, 1])
    for place in range(4):
        assert torch.equal(before.weights[0][place], before.weights[1][place])
        for arm in (0, 1):
            moved = (after.weights[arm][place] - before.weights[arm][place]).abs()
            assert moved.max().item() <= RATE + 1e-12
            assert moved.median().item() == pytest.approx(RATE, rel=1e-3)


def test_looking_more_often_changes_nothing() -> None:
    few, many = playground_run(PlaygroundSetting(), [40])[0], playground_run(PlaygroundSetting(), range(41))[-1]
    assert few.accuracies == many.accuracies
    assert all(torch.equal(a, b) for arm in (0, 1) for a, b in zip(few.weights[arm], many.weights[arm], strict=True))


def test_without_the_teachers_term_both_students_are_one() -> None:
    state = playground_run(PlaygroundSetting(alpha=0, labels=5), [60])[0]
    for alone, taught in zip(*state.weights, strict=True):
        torch.testing.assert_close(alone, taught, rtol=1e-12, atol=1e-12)


def test_without_labels_term_the_taught_student_needs_no_label() -> None:
    few, many = (playground_run(PlaygroundSetting(alpha=1, labels=count), [60])[0] for count in (2, 20))
    for one, other in zip(few.weights[1], many.weights[1], strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)
    assert few.accuracies[0] != many.accuracies[0]


def test_with_every_label_it_is_one_whom_the_teacher_answers_for() -> None:
    every, labelled = (
        playground_run(PlaygroundSetting(labels=POOL, answers=answers), [60])[0] for answers in ("all", "labelled")
    )
    for one, other in zip(every.weights[1], labelled.weights[1], strict=True):
        torch.testing.assert_close(one, other, rtol=1e-7, atol=1e-9)


# ---- what a learner can find: each of these the panel says too, after five starts


def difference(**setting: Any) -> list[float]:
    states = [end(PlaygroundSetting(start=start, **setting)) for start in range(1, 6)]
    return [state.accuracies[1] - state.accuracies[0] for state in states]


def test_with_few_labels_the_teacher_helps_at_every_start() -> None:
    assert min(difference()) > 0.1


@pytest.mark.parametrize("size", [3, 24])
def test_with_all_labels_the_teacher_has_nothing_to_add(size: int) -> None:
    found = difference(size=size, labels=POOL)
    assert contrast(found).verdict != "better"
    assert abs(float(np.mean(found))) < 0.03


def test_on_the_labelled_points_alone_the_answers_are_worth_less_than_on_all() -> None:
    few, every = difference(answers="labelled"), difference(answers="all")
    assert contrast([b - a for a, b in zip(few, every, strict=True)]).verdict == "better"


# ---- arguments


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"size": 4}, r"size must be one of those that the panel offers \(3, 6, 12, 24\), got 4"),
        ({"temperature": 0}, "temperature must be one of"),
        ({"temperature": True}, "temperature must be one of"),
        ({"alpha": 0.3}, "alpha must be one of"),
        ({"labels": "all"}, "labels must be one of"),
        ({"answers": "none"}, r"answers must be one of .*\(labelled, all\), got 'none'"),
        ({"start": 0}, "start must be a whole number from 1, got 0"),
        ({"start": 1.0}, "start must be a whole number"),
        ({"start": True}, "start must be a whole number"),
    ],
)
def test_a_setting_that_the_panel_does_not_offer_is_named(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        PlaygroundSetting(**changes)


@pytest.mark.parametrize("steps", [[3, 2], [1, 1], [-1, 4]])
def test_steps_must_ascend(steps: list[int]) -> None:
    with pytest.raises(ValueError, match="steps must ascend"):
        playground_run(PlaygroundSetting(), steps)


def test_no_steps_are_no_states() -> None:
    assert playground_run(PlaygroundSetting(), []) == []


def test_an_id_with_spaces_is_refused() -> None:
    with pytest.raises(ValueError, match="id must be lower-case"):
        playground_explorable(id="Two Words")


# ---- the markup


def test_the_same_setting_gives_the_same_bytes() -> None:
    assert playground_explorable()._repr_mimebundle_() == _default_panel()._repr_mimebundle_()


def test_what_the_page_gets_is_plain_json_and_small() -> None:
    markup = _default_panel().html
    block = re.search(r'class="kd-data">(.*?)</script>', markup, re.S)
    assert block is not None
    assert len(block.group(1)) < 30_000
    assert len(markup) < 200_000  # with the still and the script
    data = json.loads(block.group(1))
    points, _ = playground_data()
    assert data["points"] == points.tolist()
    assert data["answers"] == playground_teacher()(points).tolist()
    assert data["steps"] == STEPS


def test_the_packed_map_is_the_teachers() -> None:
    runs = re.findall(r"([abc])(\d+)", _default_panel().data["teacherMap"])
    cells = np.concatenate([np.full(int(count), "abc".index(letter)) for letter, count in runs])
    side = int(len(cells) ** 0.5)
    assert side**2 == len(cells)
    assert (cells == playground_teacher()(_cells()).argmax(axis=1)).all()
    assert _cells()[0] == pytest.approx([-REACH + REACH / side, REACH - REACH / side])  # top left, then to the right
    assert _cells()[1] - _cells()[0] == pytest.approx([2 * REACH / side, 0])


def test_the_panel_starts_where_it_was_told() -> None:
    setting = PlaygroundSetting(3, 32, 0.25, 20, "labelled", 7)
    data = playground_explorable(setting=setting).data
    given = data["setting"]
    assert (data["sizes"][given["size"]], data["temperatures"][given["temperature"]]) == (3, 32)
    assert (data["alphas"][given["alpha"]], data["labels"][given["labels"]]) == (0.25, 20)
    assert (given["answers"], given["start"]) == (0, 7)


def test_without_scripts_there_is_a_described_picture_and_one_sentence() -> None:
    panel = _default_panel()
    (alt,) = re.findall(r'<img alt="([^"]+)"', panel.fallback)
    words = end(PlaygroundSetting()).summary()
    assert words in alt
    text = panel._repr_mimebundle_()["text/plain"]
    assert text == f"Playground panel (two students, 3 classes, 400 steps). {words}."
    assert "\n" not in text


def test_the_figure_shows_the_end_of_both_students() -> None:
    setting = PlaygroundSetting(size=3, labels=20)
    figure = playground_figure(setting)
    alone, taught = end(setting).accuracies
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert titles[1:3] == [f"Labels alone: {100 * alone:.1f} %", f"With the teacher: {100 * taught:.1f} %"]
    drawn = [line.get_ydata()[-1] for line in figure.axes[3].lines[:2]]
    assert drawn == [alone, taught]
    regions = figure.axes[2].images[0].get_array()
    expected = student_logits(end(setting).weights[1], _cells()).argmax(dim=1).numpy()
    assert (np.asarray(regions).ravel() == expected).all()
