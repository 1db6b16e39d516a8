"""The features panel without a browser: its twin against ``kdlab.features``, its arguments, its data, its still."""

from __future__ import annotations

import json
import re
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from kdlab.features import (
    Projector,
    attention_transfer_loss,
    hint_loss,
    relational_angle_loss,
    relational_distance_loss,
    similarity_loss,
)
from kdlab.lab import features_twin as twin
from kdlab.lab.explorable import Explorable
from kdlab.lab.features_panel import features_explorable, features_figure
from kdlab.lab.features_twin import KINDS, features_state, residual, rms, transformed
from kdlab.models import SmallCNN
from kdlab.training import seeded

N = 6
AMOUNTS = {"scale": 0.2, "constant": 1.5}
LABELS = [0, 0, 1, 1, 7, 7]


@cache
def features() -> dict[str, Tensor]:
    """Layers as networks have them: maps after a ReLU and before one, large and small, and a vector."""
    with seeded(0):
        made = {
            "wide": torch.randn(N, 7, 8, 8).relu(),
            "thin": torch.randn(N, 3, 8, 8).relu() * torch.rand(N, 1, 1, 1),
            "signed": torch.randn(N, 4, 8, 8),
            "small": torch.randn(N, 5, 4, 4).relu(),
            "flat": torch.randn(N, 9, 2, 16).relu(),
            "vector": torch.randn(N, 4),
        }
    return {name: one.double() for name, one in made.items()}


PAIRS = [
    ("wide", "thin"),
    ("wide", "signed"),
    ("small", "thin"),
    ("wide", "small"),
    ("flat", "thin"),
    ("flat", "small"),
]
PAIRS += [("vector", "vector"), ("wide", "vector"), ("vector", "thin")]


def changed(name: str, kind: str, image: int = 2) -> Tensor:
    return transformed(features()[name], kind, AMOUNTS.get(kind, 1.0), image=image, unit=rms(features()[name]))


@cache
def networks() -> tuple[SmallCNN, dict[str, nn.Module], Tensor, Tensor]:
    with seeded(1):
        teacher, student, second = SmallCNN(8), SmallCNN(2, dropout=0.0), SmallCNN(3, dropout=0.0)
        return teacher, {"first": student, "second": second}, torch.rand(N, 1, 8, 8), torch.rand(20, 1, 8, 8)


def inputs(**changes: Any) -> dict[str, Any]:
    teacher, students, images, more = networks()
    made = {"teacher": teacher, "students": students, "images": images, "labels": LABELS, "more_images": more}
    layers = {"teacher_layers": ["features.1", "features.4", "classifier.3"]}
    layers["student_layers"] = ["features.0", "features.4", "classifier.3"]
    return {**made, **layers, **changes}


@cache
def _default_panel() -> Explorable:
    return features_explorable(**inputs())


def panel(**changes: Any) -> Explorable:
    return features_explorable(**inputs(**changes)) if changes else _default_panel()


# ---- the twin


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("teacher", "student"), PAIRS)
def test_the_twins_losses_are_those_of_kdlab_features(teacher: str, student: str, kind: str) -> None:
    known, mine = features()[teacher], features()[student]
    losses = features_state(known, mine, kind=kind, amount=AMOUNTS.get(kind, 1.0), image=2).losses
    now = changed(student, kind)
    assert losses["similarity"] == pytest.approx(similarity_loss(now, known).item(), rel=1e-9)
    assert losses["distance"] == pytest.approx(relational_distance_loss(now, known).item(), rel=1e-9)
    assert losses["angle"] == pytest.approx(relational_angle_loss(now, known).item(), rel=1e-9)
    if known.dim() == now.dim() == 4:
        assert losses["attention"] == pytest.approx(attention_transfer_loss(now, known).item(), rel=1e-9)
    else:
        assert losses["attention"] is None


@pytest.mark.parametrize(
    ("teacher", "student"), [pair for pair in PAIRS if pair[0] != "vector" and pair[1] != "vector"]
)
def test_the_residual_is_the_smallest_hint_that_a_projector_reaches(teacher: str, student: str) -> None:
    known, mine = features()[teacher], features()[student]
    share = residual(known, mine)
    assert share is not None
    pair = [one.movedim(1, -1).flatten(0, -2) for one in twin.same_size(known, mine)]
    design = torch.cat([pair[1], torch.ones(len(pair[1]), 1)], dim=1)
    best = torch.linalg.lstsq(design, pair[0], driver="gelsd").solution
    projector = Projector(mine.shape[1], known.shape[1]).double()
    with torch.no_grad():
        projector.linear.weight.copy_(best[:-1].T)
        projector.linear.bias.copy_(best[-1])
    hint = hint_loss(mine, known, projector=projector)
    assert torch.autograd.grad(hint, projector.linear.weight)[0].abs().max() < 1e-9  # a minimum, as it is convex
    mean = pair[0].mean(dim=0)
    plain = hint_loss(mean.view(1, -1, 1, 1).expand_as(twin.same_size(known, mine)[0]), twin.same_size(known, mine)[0])
    assert share == pytest.approx(hint.item() / plain.item(), rel=1e-9)


def test_the_residual_is_zero_where_a_linear_map_suffices_and_undefined_where_it_says_nothing() -> None:
    mine = features()["signed"]
    known = torch.einsum("dc,nchw->ndhw", torch.arange(8.0).view(2, 4).double(), mine) + 3
    assert residual(known, mine) == pytest.approx(0, abs=1e-12)
    assert residual(torch.full_like(mine, 0.1), mine) is None  # no variance
    assert residual(features()["vector"], features()["vector"][:, :1].repeat(1, 5)) is None  # 6 rows, 6 weights
    assert residual(features()["vector"], features()["thin"]) is None
    assert residual(features()["vector"], features()["vector"][:, :2]) is not None


SEEN = {
    "none": set(),
    "scale": set(),
    "rotate": set(),
    "constant": {"attention", "similarity"},
    "sample": {"similarity", "distance", "angle", "projector"},
    "roll": {"attention", "projector"},
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("teacher", "student"), [("wide", "thin"), ("small", "thin"), ("wide", "small")])
def test_each_change_is_noticed_by_its_losses_and_by_no_other(teacher: str, student: str, kind: str) -> None:
    known, mine = features()[teacher], features()[student]
    before = features_state(known, mine).losses
    now = features_state(known, mine, kind=kind, amount=AMOUNTS.get(kind, 1.0), image=2).losses
    assert {name for name in now if twin.notices(now[name], before[name])} == SEEN[kind]


def test_a_rotation_mixes_channels_and_keeps_every_inner_product() -> None:
    mine, now = features()["thin"], changed("thin", "rotate")
    assert (now - mine).abs().max() > 0.1
    torch.testing.assert_close(now.flatten(1) @ now.flatten(1).T, mine.flatten(1) @ mine.flatten(1).T)
    state = torch.random.get_rng_state()
    torch.testing.assert_close(changed("thin", "rotate"), now, rtol=0, atol=0)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_a_shift_goes_to_the_right_and_wraps_and_leaves_a_vector_alone() -> None:
    row = torch.arange(4.0).view(1, 1, 1, 4)
    assert transformed(row, "roll").flatten().tolist() == [3, 0, 1, 2]
    assert transformed(row.view(1, 4), "roll").tolist() == row.view(1, 4).tolist()


def test_a_constant_counts_in_units_of_the_features_and_one_image_in_fives() -> None:
    rows = torch.tensor([[3.0, 4.0], [0.0, 5.0], [5.0, 5.0]]).double()
    assert rms(rows) == pytest.approx((100 / 6) ** 0.5)
    state = features_state(rows, rows, kind="constant", amount=2.0)
    gram = (rows + 2 * rms(rows)) @ (rows + 2 * rms(rows)).T
    np.testing.assert_allclose(state.student_gram, gram / gram.norm(dim=1, keepdim=True))
    assert transformed(rows, "sample", image=1).tolist() == [[3, 4], [0, 25], [5, 5]]
    assert rms(torch.zeros(3, 2)) == 1


def test_a_layer_of_zeros_and_images_alike_have_numbers_all_the_same() -> None:
    dead = torch.zeros(N, 2, 4, 4)
    for kind in KINDS:
        for pair in ((features()["small"], dead), (dead, dead), (features()["small"], dead + 1)):
            losses = features_state(*pair, kind=kind, image=0).losses
            assert all(value is None or np.isfinite(value) for value in losses.values())
    assert features_state(dead, dead).losses["attention"] == 0
    half = torch.cat([dead[:3], features()["small"][:3, :2]])  # three images that fall together
    for mine in (dead.double(), half):
        losses = features_state(features()["small"], mine).losses
        assert losses["angle"] == pytest.approx(relational_angle_loss(mine, features()["small"]).item(), rel=1e-9)
        assert losses["distance"] == pytest.approx(relational_distance_loss(mine, features()["small"]).item(), rel=1e-9)


def test_further_images_reach_the_projector_and_nothing_else() -> None:
    known, mine = features()["wide"], features()["thin"]
    alone = features_state(known, mine, kind="sample", image=1)
    with seeded(5):
        more = (torch.randn(9, 7, 8, 8), torch.randn(9, 3, 8, 8))
    joined = features_state(known, mine, kind="sample", image=1, more=more)
    assert {n for n in alone.losses if alone.losses[n] != joined.losses[n]} == {"projector"}
    np.testing.assert_array_equal(alone.student_map, joined.student_map)
    factor = torch.ones(N + 9, 1, 1, 1).double()
    factor[1] = 5
    assert joined.losses["projector"] == residual(torch.cat([known, more[0]]), factor * torch.cat([mine, more[1]]))


def test_an_unknown_change_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"kind must be one of none, scale, .*got 'mirror'"):
        features_state(features()["thin"], features()["thin"], kind="mirror")


def test_the_summary_says_what_noticed_and_what_is_blind() -> None:
    before = {"attention": None, "similarity": 0.5, "distance": 0.01, "angle": 0.2, "projector": 0.3}
    words = twin.features_summary(before, before, start="s", what="as it is", changed=False)
    assert words.startswith("s, as it is: attention n/a, similarity 0.500, distance 0.0100, angle 0.200, projector 0.3")
    assert words.endswith("; nothing is changed")
    words = twin.features_summary({**before, "angle": 0.21}, before, start="s", what="times 3", changed=True)
    assert words.endswith("; noticed by angle; blind: similarity, distance, projector")
    assert "noticed by none of them; blind: sim" in twin.features_summary(
        before, before, start="", what="", changed=True
    )


# ---- arguments


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"images": torch.rand(N, 8, 8)}, r"images must have shape \(n, 1, H, W\).*got \[6, 8, 8\]"),
        ({"images": torch.rand(2, 1, 8, 8)}, "images must be 3 to 10, got 2"),
        ({"images": torch.rand(11, 1, 8, 8)}, r"got 11: choose a few, images\[chosen\]"),
        ({"images": 255 * torch.rand(N, 1, 8, 8)}, "images must lie in 0..1.*division by 255"),
        ({"images": torch.full((N, 1, 8, 8), torch.nan)}, "images must lie in 0..1"),
        ({"images": torch.rand(N, 1, 28, 28)}, "sides up to 16"),
        ({"more_images": torch.rand(4, 3, 8, 8)}, "more_images must have shape"),
        ({"labels": [0, 1]}, "labels must be 6, one for each image, got 2"),
        ({"image": 6}, "image must be an index from 0 to 5, got 6"),
        ({"image": True}, "image must be an index"),
        ({"students": {}}, "students must be 1 to 4 different names"),
        ({"teacher_layers": []}, "teacher_layers must be 1 to 5 different names"),
        ({"student_layers": ["features.1"] * 2}, "student_layers must be 1 to 5 different names"),
        ({"teacher_layers": ["features.9"]}, "'features.9' is no layer of SmallCNN"),
        ({"teacher_layer": "features.0"}, r"teacher_layer must be one of \['features.1', .*got 'features.0'"),
        ({"student_layer": "features.1"}, "student_layer must be one of"),
        ({"id": "Two Words"}, "id must be lower-case"),
    ],
)
def test_a_bad_argument_is_named_with_its_likely_cause(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        panel(**changes)


def test_a_module_and_a_tensor_are_asked_for() -> None:
    with pytest.raises(TypeError, match="images must be a torch tensor, as the networks take it, got ndarray"):
        panel(images=np.zeros((N, 1, 8, 8)))
    with pytest.raises(TypeError, match="must be a torch module, got dict"):
        panel(teacher={})


def test_a_layer_that_has_no_features_of_an_image_is_refused() -> None:
    with seeded(0):
        odd = nn.Sequential(nn.Flatten(0), nn.Unflatten(0, (N, 64)), nn.Unflatten(1, (8, 8)))
        diverged = SmallCNN(2)
    with pytest.raises(ValueError, match=r"layer '2' of the teacher gives shape \[6, 8, 8\], .*choose another layer"):
        panel(teacher=odd, teacher_layers=["2"], more_images=None)
    with torch.no_grad():
        diverged.features[0].bias.fill_(torch.nan)
    with pytest.raises(ValueError, match=r"layer 'features.0' of student 'lost' gives NaN.*diverge"):
        panel(students={"lost": diverged})


def test_networks_are_run_in_evaluation_mode_and_left_as_they_were() -> None:
    teacher, students, *_ = networks()
    teacher.train()
    teacher.classifier[1].eval()
    first = panel(teacher_layer="classifier.3")
    assert teacher.training
    assert not teacher.classifier[1].training
    teacher.classifier[1].train()
    assert panel(teacher_layer="classifier.3").html == first.html  # dropout was off
    assert not any(layer._forward_hooks for layer in [*teacher.modules(), *students["first"].modules()])


# ---- data


def test_the_data_are_what_the_losses_can_see_within_half_a_unit() -> None:
    _, students, images, _ = networks()
    layer = panel().data["students"][1]["layers"][0]
    with torch.no_grad():
        mine = students["second"].features[0](images).double()
    mine = mine / rms(mine)
    assert (layer["name"], layer["shape"], layer["size"]) == ("features.0", "3 × 8 × 8", [8, 8])
    assert (set(layer["energy"]), set(layer["rolled"])) == ({"8x8", "4x4"}, {"4x4"})
    small = nn.functional.adaptive_avg_pool2d(mine, 4)
    shifted = nn.functional.adaptive_avg_pool2d(mine.roll(1, dims=3), 4)
    for packed, exact in (
        (layer["energy"]["8x8"], mine.square().mean(dim=1)),
        (layer["energy"]["4x4"], small.square().mean(dim=1)),
        (layer["rolled"]["4x4"], shifted.square().mean(dim=1)),
        (layer["sums"]["8x8"], mine.mean(dim=1)),
        (layer["sums"]["4x4"], small.mean(dim=1)),
    ):
        unit = np.array(packed["unit"])[:, None]
        gap = np.abs(np.array(packed["values"]) * unit - exact.flatten(1).numpy())
        assert (gap <= 0.501 * unit).all()
        assert np.abs(packed["values"]).max(axis=1).tolist() == [999] * N
    gram = (mine.flatten(1) @ mine.flatten(1).T / mine[0].numel()).numpy()
    np.testing.assert_allclose(layer["gram"], gram[np.triu_indices(N)], atol=1e-7)
    np.testing.assert_allclose(layer["means"], mine.flatten(1).mean(dim=1), atol=1e-7)


def test_students_with_maps_of_different_sizes_find_their_teacher_at_each() -> None:
    with seeded(2):
        large = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1))
        small = nn.Sequential(nn.Conv2d(1, 2, 3, stride=2, padding=1))
    made = panel(students={"large": large, "small": small}, student_layers=["0"])
    assert set(made.data["teacher"][0]["energy"]) == {"8x8", "4x4"}
    assert "rolled" not in made.data["teacher"][0]


def test_the_projectors_numbers_are_the_twins() -> None:
    teacher, students, images, more = networks()
    every = torch.cat([images, more])
    with torch.no_grad():
        known, mine = teacher.features[:2](every), students["first"].features[:1](every)
    given = panel().data["students"][0]["residual"][0][0]
    for kind, value in (("none", given["plain"]), ("constant", given["plain"]), ("roll", given["roll"])):
        assert value == pytest.approx(residual(known, transformed(mine, kind)), abs=1e-6)
    for image in range(N):
        assert given["sample"][image] == pytest.approx(
            residual(known, transformed(mine, "sample", image=image)), abs=1e-6
        )
    assert panel().data["students"][0]["residual"][2][0] is None  # a vector beside a map


def test_a_panel_of_a_lessons_size_stays_small() -> None:
    with seeded(0):
        students = {name: SmallCNN(4, dropout=0.0) for name in ("untrained", "labels alone", "attention transfer")}
        images, teacher = torch.rand(8, 1, 8, 8), SmallCNN(16)
    layers = ["features.1", "features.3", "features.4", "classifier.3"]
    made = panel(
        teacher=teacher, students=students, images=images, labels=range(8), teacher_layers=layers, student_layers=layers
    )
    assert len(json.dumps(made.data, separators=(",", ":"))) < 70_000


# ---- the markup


def test_the_same_input_gives_the_same_bytes() -> None:
    assert features_explorable(**inputs())._repr_mimebundle_() == panel()._repr_mimebundle_()


def test_without_scripts_there_is_a_described_picture_and_a_table_of_what_moved() -> None:
    markup = panel(teacher_layer="features.4", student_layer="features.4").html
    (alt,) = re.findall(r'<img alt="([^"]+)"', markup)
    assert "for image 1, labelled 0" in alt
    assert "which of five losses notices which change" in alt
    rows = re.findall(r'<tr><th scope="row">([^<]+)</th>((?:<td>[^<]+</td>){5})</tr>', markup)
    kinds = dict(zip([row[0] for row in rows], KINDS, strict=True))
    assert list(kinds) == [
        *("as it is", "times 3", "channels rotated", "plus 1 on every channel", "image 1 times 5", "shifted by a pixel")
    ]
    for what, cells in rows:
        moved = {
            n for n, cell in zip(twin.LOSSES, re.findall("<td>([^<]+)</td>", cells), strict=True) if "moved" in cell
        }
        assert moved == SEEN[kinds[what]]


def test_data_are_plain_json_and_a_hostile_name_stays_text() -> None:
    hostile = "</script><script>alert(1)</script>"
    markup = panel(students={hostile: networks()[1]["first"]}).html
    assert "<script>alert" not in markup
    block = re.search(r'class="kd-data">(.*?)</script>', markup, re.S)
    assert block is not None
    assert json.loads(block.group(1))["students"][0]["name"] == hostile


def test_plain_text_is_one_stable_sentence() -> None:
    text = panel()._repr_mimebundle_()["text/plain"]
    assert "\n" not in text
    assert text.startswith(
        "Features panel (2 students, 3 layers of the teacher, 3 of the student, 6 images). first, features.0 beside "
        "the teacher’s features.1, as it is: attention 0."
    )


def test_the_still_draws_the_states_it_is_given() -> None:
    states = {kind: features_state(features()["wide"], features()["thin"], kind=kind, image=3) for kind in KINDS}
    figure = features_figure(states, LABELS, image=3, title="a pair")
    *squares, noticed = figure.axes
    now = states["none"]
    assert now.teacher_map is not None
    assert now.student_map is not None
    shown = [now.teacher_map[3], now.student_map[3], now.student_map[3] - now.teacher_map[3]]
    shown += [now.teacher_gram, now.student_gram, now.student_gram - now.teacher_gram]
    for axes, values in zip(squares, shown, strict=True):
        np.testing.assert_allclose(axes.images[0].get_array(), values)
    signs = np.array([text.get_text() for text in noticed.texts]).reshape(5, 5)
    for row, kind in zip(signs, KINDS[1:], strict=True):
        assert {name for name, sign in zip(twin.LOSSES, row, strict=True) if sign == "●"} == SEEN[kind]
    vectors = {kind: features_state(features()["vector"], features()["thin"], kind=kind) for kind in KINDS}
    axes = features_figure(vectors, LABELS, image=0, title="no map").axes
    assert [text.get_text() for text in axes[-1].texts][::5] == ["n/a"] * 5
    assert "No map" in axes[0].texts[0].get_text()
