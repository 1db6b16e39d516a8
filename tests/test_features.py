"""Losses on features: the papers' formulas, what each loss sees and does not, and refusals."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.testing import assert_close

from kdlab.feature_properties import INVARIANCES, PROPERTIES, blind_to, examine_features, relative_changes
from kdlab.features import (
    FeatureTap,
    Projector,
    attention_map,
    attention_transfer_loss,
    hint_loss,
    relational_angle_loss,
    relational_distance_loss,
    similarity_loss,
)
from kdlab.measure import count_parameters

Loss = Callable[..., Tensor]

LOSSES: dict[str, Loss] = {
    "hint": hint_loss,
    "attention": attention_transfer_loss,
    "attention, squared": partial(attention_transfer_loss, squared=True),
    "attention, p = 1": partial(attention_transfer_loss, power=1),
    "similarity": similarity_loss,
    "distance": relational_distance_loss,
    "angle": relational_angle_loss,
}
RELATIONS = {"similarity": similarity_loss, "distance": relational_distance_loss, "angle": relational_angle_loss}


def _pair(*shapes: tuple[int, ...], seed: int = 0, dtype: torch.dtype = torch.float64) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype) for shape in shapes]


# --- every loss -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("prop", PROPERTIES)
def test_a_loss_has_property(name: str, prop: str) -> None:
    PROPERTIES[prop](LOSSES[name])


SEES = {  # what the docstrings say, turned round
    "hint": set(INVARIANCES) - {"samples reordered in both"},
    "attention": {"shifted", "features rotated", "pixels permuted"},
    "attention, squared": {"shifted", "features rotated", "pixels permuted"},
    "attention, p = 1": {"shifted", "channels rotated", "features rotated", "pixels permuted"},
    "similarity": {"one sample scaled", "shifted"},
    "distance": {"one sample scaled"},
    "angle": {"one sample scaled"},
}


@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_sees_what_its_docstring_says_and_nothing_else(name: str) -> None:
    assert {change for change, blind in blind_to(LOSSES[name]).items() if not blind} == SEES[name]
    student, teacher = _pair((5, 4, 2, 3), (5, 4, 2, 3), seed=3, dtype=torch.float32)
    table = blind_to(LOSSES[name], student=student, teacher=teacher)
    assert {change for change, blind in table.items() if not blind} == SEES[name]


def test_what_a_loss_sees_it_sees_clearly() -> None:
    """Between blind (below 1e-9) and seen lies a gap, so the table hangs on no threshold."""
    for loss in LOSSES.values():
        assert all(change < 1e-12 or change > 1e-3 for change in relative_changes(loss).values())


def test_changes_are_the_changes_that_their_names_say() -> None:
    student, teacher = _pair((4, 3, 2, 2), (4, 3, 2, 2))
    changed = {name: change(student, teacher) for name, change in INVARIANCES.items()}
    for name, (_, other) in changed.items():
        assert torch.equal(other, teacher) == (name != "samples reordered in both")
    assert torch.equal(changed["scaled"][0], 3 * student)
    factors = changed["one sample scaled"][0] / student
    assert sorted({round(value, 9) for value in factors.flatten().tolist()}) == [1.0, 3.0]
    assert int((factors > 2).sum()) == 12  # one sample
    shift = changed["shifted"][0] - student
    assert_close(shift, shift[:1, :, :1, :1].expand_as(shift))
    assert len(set(shift[0, :, 0, 0].tolist())) == 3
    for name, dims in {"channels rotated": 1, "features rotated": (1, 2, 3)}.items():
        assert_close(changed[name][0].square().sum(dims), student.square().sum(dims))  # no length changes
        assert not torch.allclose(changed[name][0], student)
    for name in ("pixels permuted", "samples reordered in both"):
        moved = changed[name][0]
        assert_close(moved.flatten().sort()[0], student.flatten().sort()[0])
        assert not (moved == student).any()  # nothing stays in place
    assert_close(changed["channels repeated"][0][:, ::2], student)
    assert_close(changed["channels repeated"][0][:, 1::2], student)


def test_changes_that_cannot_be_measured_are_refused() -> None:
    (same,) = _pair((4, 3, 2, 2))
    with pytest.raises(ValueError, match=r"the loss is 0\.0 for the unchanged features"):
        blind_to(hint_loss, student=same, teacher=same)
    with pytest.raises(ValueError, match="the loss is nan"):
        relative_changes(lambda s, t: torch.tensor(math.nan))


def test_a_report_names_what_a_broken_loss_violates_and_never_raises() -> None:
    assert "teacher_gets_no_gradient" in examine_features(lambda s, t: (s - t).square().mean()).violated
    report = examine_features(lambda s, t: (s - t.detach()).abs().mean(), ["other_samples_are_refused"])
    assert str(report).startswith("1 of 1 properties violated:\n  other samples are refused: it accepts one sample")

    def raises(student: Tensor, teacher: Tensor) -> Tensor:
        raise RuntimeError("broken\nin two lines")

    violated = examine_features(raises).violated
    assert set(violated) == set(PROPERTIES) - {"other_samples_are_refused"}
    assert all("broken" in seen and "lines" not in seen for seen in violated.values())
    for nonsense in (lambda s, t: None, lambda s, t: torch.tensor(math.nan), lambda s, t: 3.0):
        assert examine_features(nonsense).violated
    with pytest.raises(ValueError, match="no property named no_such_property; there are: zero_when"):
        examine_features(hint_loss, ["no_such_property"])


class _WrongSlope(torch.autograd.Function):
    @staticmethod
    def forward(ctx: object, student: Tensor, teacher: Tensor) -> Tensor:
        ctx.save_for_backward(student - teacher)  # type: ignore[attr-defined]
        return (student - teacher).square().sum() / (2 * len(student))

    @staticmethod
    def backward(ctx: object, g: Tensor) -> tuple[Tensor, None]:
        (gap,) = ctx.saved_tensors  # type: ignore[attr-defined]
        return -g * gap / len(gap), None  # the sign; and to autograd a constant


def _mse(student: Tensor, teacher: Tensor) -> Tensor:
    return (student - teacher).square().flatten(1).sum(1).mean()


BROKEN: dict[str, Loss] = {
    "zero_when_features_agree": lambda s, t: hint_loss(s + 1, t),
    "never_negative": lambda s, t: (s - t.detach()).sum(),
    "samples_are_matched": lambda s, t: hint_loss(s.mean(0, keepdim=True), t.mean(0, keepdim=True)),
    "order_of_samples_does_not_matter": lambda s, t: _mse(s * torch.arange(len(s)).view(-1, 1, 1, 1), t),
    "mean_over_samples_or_one_is_refused": lambda s, t: len(s) * hint_loss(s, t),
    "other_samples_are_refused": _mse,
    "nan_never_becomes_a_number": lambda s, t: _mse(s.nan_to_num(), t.nan_to_num()),
    "teacher_gets_no_gradient": _mse,
    "gradient_agrees_with_finite_differences": _WrongSlope.apply,
    "second_derivatives_are_right_or_refused": _WrongSlope.apply,
    "a_gradient_step_brings_the_loss_down": _WrongSlope.apply,
    "half_precision_stays_accurate": _mse,
    "large_and_tiny_features_stay_finite": lambda s, t: _mse(s.square(), t.square()),
    "a_collapsed_student_stays_finite": lambda s, t: _mse(F.pdist(s.flatten(1))[None].log(), t.new_zeros(1)),
    "a_dead_student_stays_finite": lambda s, t: _mse(s / s.flatten(1).norm(dim=1).view(-1, 1, 1, 1), t),
}


@pytest.mark.parametrize("prop", PROPERTIES)
def test_every_property_can_fail(prop: str) -> None:
    assert prop in examine_features(BROKEN[prop], [prop]).violated


# --- the papers' formulas, written as loops ---------------------------------------------------------------------------


def _rows(features: Tensor) -> list[list[float]]:
    return features.flatten(1).tolist()


def _slow_hint(student: Tensor, teacher: Tensor) -> float:
    total = 0.0
    for s, t in zip(_rows(student), _rows(teacher), strict=True):
        total += sum((a - b) ** 2 for a, b in zip(s, t, strict=True)) / 2
    return total / len(student)


def _slow_map(sample: Tensor, power: float) -> list[float]:
    channels, height, width = sample.shape
    values = sample.tolist()
    cells = itertools.product(range(height), range(width))
    raw = [sum(abs(values[c][h][w]) ** power for c in range(channels)) for h, w in cells]
    length = math.sqrt(sum(value**2 for value in raw))
    return [value / length for value in raw]


def _slow_attention(student: Tensor, teacher: Tensor, power: float = 2, squared: bool = False) -> float:
    distances = []
    for s, t in zip(student, teacher, strict=True):
        gap = sum((a - b) ** 2 for a, b in zip(_slow_map(s, power), _slow_map(t, power), strict=True))
        distances.append(gap if squared else math.sqrt(gap))
    return sum(distances) / len(distances)


def _slow_gram(features: Tensor) -> list[list[float]]:
    rows = _rows(features)
    gram = [[sum(a * b for a, b in zip(one, other, strict=True)) for other in rows] for one in rows]
    return [[value / math.sqrt(sum(v**2 for v in line)) for value in line] for line in gram]


def _slow_similarity(student: Tensor, teacher: Tensor) -> float:
    pairs = zip(_slow_gram(student), _slow_gram(teacher), strict=True)
    return sum((a - b) ** 2 for s, t in pairs for a, b in zip(s, t, strict=True)) / len(student) ** 2


def _huber(gap: float) -> float:
    return gap**2 / 2 if abs(gap) <= 1 else abs(gap) - 0.5


def _slow_distances(features: Tensor) -> dict[tuple[int, int], float]:
    rows = _rows(features)
    distances = {(i, j): math.dist(rows[i], rows[j]) for i, j in itertools.permutations(range(len(rows)), 2)}
    mean = sum(distances.values()) / len(distances)
    return {pair: distance / mean for pair, distance in distances.items()}


def _slow_distance(student: Tensor, teacher: Tensor) -> float:
    s, t = _slow_distances(student), _slow_distances(teacher)
    return sum(_huber(s[pair] - t[pair]) for pair in s) / len(s)


def _slow_cosine(rows: list[list[float]], i: int, j: int, k: int) -> float:
    to_i, to_k = ([a - b for a, b in zip(rows[end], rows[j], strict=True)] for end in (i, k))
    return sum(a * b for a, b in zip(to_i, to_k, strict=True)) / (math.hypot(*to_i) * math.hypot(*to_k))


def _slow_angle(student: Tensor, teacher: Tensor) -> float:
    s, t = _rows(student), _rows(teacher)
    triplets = list(itertools.permutations(range(len(s)), 3))
    return sum(_huber(_slow_cosine(s, *three) - _slow_cosine(t, *three)) for three in triplets) / len(triplets)


SLOW: dict[str, Callable[[Tensor, Tensor], float]] = {
    "hint": _slow_hint,
    "attention": _slow_attention,
    "attention, squared": partial(_slow_attention, squared=True),
    "attention, p = 1": partial(_slow_attention, power=1),
    "similarity": _slow_similarity,
    "distance": _slow_distance,
    "angle": _slow_angle,
}


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("shape", [(3, 2, 2, 3), (5, 1, 3, 1), (7, 4, 1, 1)])
def test_a_loss_is_its_papers_formula(name: str, shape: tuple[int, ...]) -> None:
    if name.startswith("attention") and shape[2:] == (1, 1):
        shape = (7, 4, 2, 1)  # with one pixel all maps are equal
    student, teacher = _pair(shape, shape, seed=1)
    assert float(LOSSES[name](student, teacher)) == pytest.approx(SLOW[name](student, teacher), rel=1e-9)


@pytest.mark.parametrize("name", [name for name in LOSSES if name != "hint"])
def test_widths_may_differ(name: str) -> None:
    student, teacher = _pair((4, 2, 2, 3), (4, 5, 2, 3), seed=2)
    assert float(LOSSES[name](student, teacher)) == pytest.approx(SLOW[name](student, teacher), rel=1e-9)


@pytest.mark.parametrize("name", RELATIONS)
def test_relations_take_features_of_any_shape(name: str) -> None:
    vectors, maps = _pair((5, 6), (5, 2, 3, 4), seed=3)
    assert float(RELATIONS[name](vectors, maps)) == pytest.approx(SLOW[name](vectors, maps), rel=1e-9)
    sequence = maps.reshape(5, 4, 6)
    assert_close(RELATIONS[name](vectors, sequence), RELATIONS[name](vectors, maps))
    assert_close(RELATIONS[name](maps, vectors), torch.tensor(SLOW[name](maps, vectors), dtype=torch.float64))


@pytest.mark.parametrize("name", ["hint", "attention", "attention, squared"])
def test_the_larger_map_is_average_pooled_to_the_smaller(name: str) -> None:
    small, large = _pair((3, 2, 2, 2), (3, 2, 4, 6), seed=4)
    pooled = large.view(3, 2, 2, 2, 2, 3).mean(dim=(3, 5))  # each cell is the mean of 2 by 3 values
    assert float(LOSSES[name](small, large)) == pytest.approx(SLOW[name](small, pooled), rel=1e-9)
    assert float(LOSSES[name](large, small)) == pytest.approx(SLOW[name](pooled, small), rel=1e-9)
    tall, wide = _pair((3, 2, 4, 1), (3, 2, 2, 3), seed=5)  # each is the larger in one direction
    shorter, narrower = tall.view(3, 2, 2, 2, 1).mean(3), wide.mean(3, keepdim=True)
    assert_close(LOSSES[name](tall, wide), LOSSES[name](shorter, narrower))


@pytest.mark.parametrize("name", ["distance", "angle"])
def test_distances_stay_accurate_far_from_the_origin(name: str) -> None:
    """Distances are small differences of large squares: naive products would lose them, in float64 too."""
    for dtype, offset, accuracy in ((torch.float32, 1e3, 1e-5), (torch.float64, 1e6, 1e-8)):
        student, teacher = _pair((6, 8), (6, 8), seed=6, dtype=dtype)
        far = student + offset
        assert float(RELATIONS[name](far, teacher)) == pytest.approx(SLOW[name](far, teacher), rel=accuracy)


# --- closed forms, the arithmetic shown -------------------------------------------------------------------------------


def test_hint_is_half_the_squared_distance_averaged_over_samples() -> None:
    student = torch.tensor([[1.0, 2.0], [0.0, 0.0]])
    teacher = torch.tensor([[4.0, 6.0], [0.0, 1.0]])
    assert float(hint_loss(student, teacher)) == (25 / 2 + 1 / 2) / 2  # 3, 4 and 5; then 1


def test_hint_gradient_has_its_closed_form() -> None:
    student, teacher = _pair((4, 3, 2, 2), (4, 3, 2, 2))
    leaf = student.clone().requires_grad_()
    hint_loss(leaf, teacher).backward()
    assert_close(leaf.grad, (student - teacher) / 4)


def test_hint_is_taken_after_the_projector_which_gets_a_gradient() -> None:
    projector = Projector(2, 3)
    with torch.no_grad():
        projector.linear.weight.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]))
        projector.linear.bias.copy_(torch.tensor([0.0, 0.0, 1.0]))
    student, teacher = torch.tensor([[1.0, 2.0]], requires_grad=True), torch.tensor([[1.0, 2.0, 6.0]])
    loss = hint_loss(student, teacher, projector=projector)
    assert loss.item() == 2.0  # projected: 1, 2, 1 + 2 + 1 = 4, and (6 - 4)^2 / 2
    loss.backward()
    assert projector.linear.bias.grad.tolist() == [0.0, 0.0, -2.0]
    assert student.grad.tolist() == [[-2.0, -2.0]]


def test_attention_map_by_hand() -> None:
    maps = torch.tensor([[[[1.0, -2.0]], [[3.0, 0.0]]]])  # two channels of one row of two pixels
    assert attention_map(maps, power=1).tolist() == [[[4.0, 2.0]]]
    assert attention_map(maps).tolist() == [[[10.0, 4.0]]]
    assert attention_map(maps, power=3).tolist() == [[[28.0, 8.0]]]
    assert attention_map(torch.cat([maps, maps[:, :1]], dim=1)).tolist() == [[[11.0, 8.0]]]  # a sum, not a mean
    assert attention_map(maps.half()).dtype == torch.float32


def test_attention_transfer_by_hand() -> None:
    """Maps (9, 0) and (16, 16): unit vectors (1, 0) and (r, r) with r = 1 / sqrt 2, whose gap is (1 - r, -r)."""
    student, teacher = torch.tensor([[[[3.0, 0.0]]]]), torch.tensor([[[[4.0, -4.0]]]])
    r = 1 / math.sqrt(2)
    square = (1 - r) ** 2 + r**2
    assert float(attention_transfer_loss(student, teacher, squared=True)) == pytest.approx(square)
    assert float(attention_transfer_loss(student, teacher)) == pytest.approx(math.sqrt(square))
    assert square == pytest.approx(2 - 2 * r)  # 2 - 2 cos of the angle between the maps


def test_the_power_of_attention_counts() -> None:
    """Maps (3, 4) with p = 1 and (9, 16) with p = 2, against (1, 0)."""
    student, teacher = torch.tensor([[[[3.0, 4.0]]]]).double(), torch.tensor([[[[7.0, 0.0]]]]).double()
    for power, cosine in ((1, 3 / 5), (2, 9 / math.hypot(9, 16)), (3, 27 / math.hypot(27, 64))):
        value = attention_transfer_loss(student, teacher, power=power, squared=True)
        assert float(value) == pytest.approx(2 - 2 * cosine)


def test_a_sample_without_attention_is_at_distance_one() -> None:
    dead, alive = torch.zeros(2, 1, 2, 2), torch.ones(2, 3, 2, 2)
    assert float(attention_transfer_loss(dead, alive)) == pytest.approx(1.0)
    assert float(attention_transfer_loss(dead, dead)) == 0.0


def test_a_sample_however_faint_keeps_its_attention_among_strong_ones() -> None:
    """The square of 1e-22 is no float32, so the scale must be taken out of each sample before."""
    student, teacher = _pair((4, 3, 2, 2), (4, 3, 2, 2), dtype=torch.float32)
    faint = student.clone()
    faint[0] *= 1e-22
    assert_close(attention_transfer_loss(faint, teacher), attention_transfer_loss(student, teacher))


def test_similarity_by_hand() -> None:
    """Student's rows of similarities (1, 0), (0, 1); the teacher's (1, 1) / sqrt 2, twice."""
    student, teacher = torch.eye(2, dtype=torch.float64), torch.full((2, 1), 3.0, dtype=torch.float64)
    r = 1 / math.sqrt(2)
    assert float(similarity_loss(student, teacher)) == pytest.approx((2 * (1 - r) ** 2 + 2 * r**2) / 4)


def test_similarity_stays_within_its_bound() -> None:
    """Rows of length 1 differ by at most 2, so the loss is at most B * 4 / B^2."""
    for seed in range(20):
        student, teacher = _pair((4, 3), (4, 5), seed=seed)
        assert 0 < float(similarity_loss(student, teacher)) <= 4 / 4


def test_relational_distance_by_hand() -> None:
    """Points 0, 1, 3 and 0, 2, 3 on a line: distances 1, 3, 2 and 2, 3, 1 over their mean of 2."""
    student, teacher = torch.tensor([[0.0], [1.0], [3.0]]), torch.tensor([[0.0], [2.0], [3.0]])
    by_hand = (0.5 * 0.5**2 + 0 + 0.5 * 0.5**2) / 3  # 1/2 - 2/2, 3/2 - 3/2, 2/2 - 1/2
    assert float(relational_distance_loss(student, teacher)) == pytest.approx(by_hand)


def test_relational_distance_is_linear_for_gaps_above_one() -> None:
    """Two pairs of three far apart: (0, 0, 9) has distances 0, 9, 9 over 6; the teacher's are all equal."""
    student = torch.tensor([[0.0, 0.0], [0.0, 0.0], [9.0, 0.0]])
    side = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.5, math.sqrt(3) / 2]])
    by_hand = (0.5 * 1**2 + 2 * 0.5 * 0.5**2) / 3  # 0 - 1, and twice 1.5 - 1
    assert float(relational_distance_loss(student, side)) == pytest.approx(by_hand)
    cluster = torch.zeros(6, 1)
    cluster[5] = 1.0  # 5 of 15 distances are 1, so 3 over their mean; 10 are 0
    cross = torch.zeros(6, 6).fill_diagonal_(1.0)  # all distances equal: 1 over their mean
    by_hand = (10 * 0.5 * 1**2 + 5 * (2 - 0.5)) / 15
    assert float(relational_distance_loss(cluster, cross)) == pytest.approx(by_hand)


def test_relational_angle_by_hand() -> None:
    """A right angle with legs 3 and 4, and an equilateral triangle, whose cosines are all 1/2."""
    right = torch.tensor([[0.0, 0.0], [3.0, 0.0], [0.0, 4.0]])
    equal = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.5, math.sqrt(3) / 2]])
    by_hand = (0.5 * (0 - 0.5) ** 2 + 0.5 * (3 / 5 - 0.5) ** 2 + 0.5 * (4 / 5 - 0.5) ** 2) / 3
    assert float(relational_angle_loss(right, equal)) == pytest.approx(by_hand)


def test_relational_angle_is_linear_for_gaps_above_one() -> None:
    """Points on a line: cosine -1 in the middle, 1 at the ends; with the middle moved to an end the two swap."""
    student, teacher = torch.tensor([[0.0], [1.0], [2.0]]), torch.tensor([[1.0], [0.0], [2.0]])
    by_hand = ((2 - 0.5) + (2 - 0.5) + 0) / 3  # samples 0 and 1 swap the roles of end and middle
    assert float(relational_angle_loss(student, teacher)) == pytest.approx(by_hand)


def test_two_samples_in_one_place_have_no_angle() -> None:
    """Samples 0 and 1 coincide: every one of the three angles has them as corner and end, or as both ends."""
    student = torch.tensor([[1.0, 1.0], [1.0, 1.0], [5.0, 1.0]])
    equal = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.5, math.sqrt(3) / 2]])
    # at 0 and at 1: a side of length 0, so 0 - 1/2; at 2: both ends in one place have a true cosine of 1
    assert float(relational_angle_loss(student, equal)) == pytest.approx((0.125 + 0.125 + 0.125) / 3)


def test_a_faint_sample_keeps_its_row_of_similarities() -> None:
    student, teacher = _pair((4, 6), (4, 6), dtype=torch.float32)
    student[0] *= 1e-22
    assert similarity_loss(student, teacher).item() == pytest.approx(SLOW["similarity"](student, teacher), rel=1e-5)


def test_two_samples_closer_than_rounding_have_no_angle_of_rounding() -> None:
    equal = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.5, math.sqrt(3) / 2]], dtype=torch.float64)
    for seed in range(10):
        (student,) = _pair((3, 5), seed=seed)
        student[1] = student[0] * (1 + 1e-10)  # squared, 1e-20 of what it is the difference of
        assert relational_angle_loss(student, equal).item() == pytest.approx(1 / 8, rel=1e-6)


def test_samples_that_differ_by_rounding_alone_fall_together() -> None:
    """Their distances and cosines count as 0, against 1 and 1/2 in an equilateral triangle; no rounding is blown up."""
    (noise,) = _pair((3, 4))
    equal = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.5, math.sqrt(3) / 2]], dtype=torch.float64)
    for collapsed in (torch.full((3, 4), 0.1, dtype=torch.float64), 1 + 1e-15 * noise):
        leaf = collapsed.requires_grad_()
        distance, angle = relational_distance_loss(leaf, equal), relational_angle_loss(leaf, equal)
        assert (distance.item(), angle.item()) == (pytest.approx(1 / 2), pytest.approx(1 / 8))
        (distance + angle).backward()
        assert not leaf.grad.any()


@pytest.mark.parametrize("name", [name for name in LOSSES if name != "hint"])
def test_a_scale_free_loss_has_the_same_value_at_any_size(name: str) -> None:
    student, teacher = _pair((5, 3, 2, 2), (5, 3, 2, 2), dtype=torch.float32)
    expected = float(LOSSES[name](student, teacher))
    for size in (1e15, 1e-20):
        assert float(LOSSES[name](size * student, teacher)) == pytest.approx(expected, rel=1e-4)
        assert float(LOSSES[name](student, size * teacher)) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("name", LOSSES)
def test_the_precision_of_a_loss_is_float32_or_wider(name: str) -> None:
    student, teacher = _pair((4, 2, 2, 2), (4, 2, 2, 2))
    for dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
        value = LOSSES[name](student.to(dtype), teacher.to(dtype))
        assert (value.dtype, value.shape) == (torch.promote_types(dtype, torch.float32), ())


@pytest.mark.parametrize("name", LOSSES)
def test_student_and_teacher_may_differ_in_precision(name: str) -> None:
    student, teacher = _pair((4, 3, 2, 2), (4, 3, 2, 2), dtype=torch.float32)
    for narrow, wide in ((torch.float32, torch.float64), (torch.bfloat16, torch.float32)):
        leaf = student.detach().to(narrow, copy=True).requires_grad_()
        loss = LOSSES[name](leaf, teacher.to(wide))
        loss.backward()
        assert leaf.grad.dtype == narrow
        expected = LOSSES[name](leaf.detach().double(), teacher.to(wide).double()).item()
        assert loss.item() == pytest.approx(expected, rel=1e-4)


# --- the projector ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("narrow", "wide"), [(1, 1), (3, 5), (8, 2)])
def test_a_projector_is_a_1x1_convolution_and_a_linear_layer(narrow: int, wide: int) -> None:
    projector, convolution = Projector(narrow, wide), nn.Conv2d(narrow, wide, kernel_size=1)
    with torch.no_grad():
        convolution.weight.copy_(projector.linear.weight.view(wide, narrow, 1, 1))
        convolution.bias.copy_(projector.linear.bias)
    (maps,) = _pair((4, narrow, 3, 2), dtype=torch.float32)
    assert_close(projector(maps), convolution(maps))
    sequence = projector(maps.flatten(2))
    assert_close(sequence, convolution(maps).flatten(2))
    vectors = maps[:, :, 0, 0]
    assert_close(projector(vectors), convolution(vectors[:, :, None, None])[:, :, 0, 0])
    assert count_parameters(projector) == narrow * wide + wide


def test_a_hint_through_a_projector_may_be_pooled_before_or_after() -> None:
    student, teacher = _pair((3, 2, 4, 4), (3, 5, 2, 2), dtype=torch.float32)
    projector = Projector(2, 5)
    pooled_before = hint_loss(student, teacher, projector=projector)
    assert_close(hint_loss(projector(student), teacher), pooled_before)


@pytest.mark.parametrize("bad", [0, -1, 2.0, "3", True, None])
def test_a_projector_refuses_what_is_no_number_of_channels(bad: object) -> None:
    with pytest.raises(ValueError, match="student_channels must be a whole number of at least 1"):
        Projector(bad, 2)
    with pytest.raises(ValueError, match="teacher_channels must be a whole number of at least 1"):
        Projector(2, bad)


def test_a_projector_refuses_features_of_another_width() -> None:
    with pytest.raises(ValueError, match=r"made for 3 channels, got shape \[2, 4\]"):
        Projector(3, 5)(torch.zeros(2, 4))
    with pytest.raises(TypeError, match="features must be a torch tensor"):
        Projector(3, 5)([1.0, 2.0, 3.0])


# --- refusals ---------------------------------------------------------------------------------------------------------

GOOD = torch.ones(4, 3, 2, 2)

BAD: dict[str, tuple[object, type[Exception], str]] = {
    "a list": ([1.0, 2.0], TypeError, "{who} must be a torch tensor of features, got list"),
    "a string": ("features.3", TypeError, "{who} must be a torch tensor of features, got str"),
    "the tap": (FeatureTap(nn.Sequential(nn.ReLU()), "0"), TypeError, "got FeatureTap: pass tap"),
    "whole numbers": (torch.ones(4, 3, 2, 2, dtype=torch.int64), TypeError, "{who} must be floating point.*labels"),
    "truths": (torch.ones(4, 3, 2, 2, dtype=torch.bool), TypeError, "{who} must be floating point"),
    "complex": (torch.ones(4, 3, 2, 2, dtype=torch.complex64), TypeError, "{who} must be floating point"),
    "a number": (torch.tensor(1.0), ValueError, "{who} must"),
    "one sample without a batch": (torch.ones(3), ValueError, "{who} must"),
    "no samples": (torch.ones(0, 3, 2, 2), ValueError, r"{who} is empty, shape \[0, 3, 2, 2\]"),
    "no channels": (torch.ones(4, 0, 2, 2), ValueError, "{who} is empty"),
    "other samples": (torch.ones(3, 3, 2, 2), ValueError, "must be for the same batch"),
    "one sample": (torch.ones(1, 3, 2, 2), ValueError, "must be for the same batch"),
    "NaN": (torch.full((4, 3, 2, 2), math.nan), ValueError, "{who} contains NaN"),
    "infinity": (torch.full((4, 3, 2, 2), math.inf), ValueError, "{who} contains infinite values"),
    "minus infinity": (torch.full((4, 3, 2, 2), -math.inf), ValueError, "{who} contains infinite values"),
}


@pytest.mark.parametrize("what", BAD)
@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_refuses(name: str, what: str) -> None:
    bad, error, words = BAD[what]
    with pytest.raises(error, match=words.format(who="student_features")):
        LOSSES[name](bad, GOOD)
    with pytest.raises(error, match=words.format(who="teacher_features")):
        LOSSES[name](GOOD, bad)


@pytest.mark.parametrize("name", LOSSES)
def test_one_value_that_is_not_finite_is_never_a_number(name: str) -> None:
    for value in (math.nan, math.inf, -math.inf):
        student, teacher = _pair((4, 3, 2, 2), (4, 3, 2, 2))
        student[1, 2, 0, 1] = value
        with pytest.raises(ValueError, match=r"student_features contains .* \(1 of 48\)"):
            LOSSES[name](student, teacher)


@pytest.mark.parametrize(("name", "least"), [("similarity", 2), ("distance", 2), ("angle", 3)])
def test_a_relation_needs_samples(name: str, least: int) -> None:
    student, teacher = _pair((least, 4), (least, 4))
    assert torch.isfinite(RELATIONS[name](student, teacher))
    with pytest.raises(ValueError, match=rf"holds {least - 1} sample.* at least {least}.*last batch"):
        RELATIONS[name](student[1:], teacher[1:])


@pytest.mark.parametrize("shape", [(4, 3), (4, 3, 2), (4, 3, 2, 2, 2)])
def test_attention_needs_maps(shape: tuple[int, ...]) -> None:
    for loss in (attention_transfer_loss, lambda s, t: attention_map(s)):
        with pytest.raises(ValueError, match=r"must be feature maps, got shape .* \(B, C, H, W\)"):
            loss(torch.ones(shape), GOOD)
    with pytest.raises(ValueError, match="teacher_features must be feature maps"):
        attention_transfer_loss(GOOD, torch.ones(shape))


@pytest.mark.parametrize("power", [0, 0.5, -2, math.nan, math.inf, "2", None, True])
def test_attention_refuses_a_power_below_one_or_no_number(power: object) -> None:
    with pytest.raises(ValueError, match="power must be a finite number of at least 1"):
        attention_map(GOOD, power=power)
    with pytest.raises(ValueError, match="power must be"):
        attention_transfer_loss(GOOD, GOOD, power=power)


def test_a_hint_between_widths_that_do_not_meet_is_refused() -> None:
    """One channel would be spread over all in silence."""
    with pytest.raises(ValueError, match=r"student_features has 1 channels, teacher_features 3.*Projector\(1, 3\)"):
        hint_loss(torch.ones(4, 1, 2, 2), GOOD)
    with pytest.raises(ValueError, match=r"the projector gives 5 channels, teacher_features 3.*Projector\(2, 3\)"):
        hint_loss(torch.ones(4, 2, 2, 2), GOOD, projector=Projector(2, 5))
    with pytest.raises(ValueError, match="the projector was made for 7 channels"):
        hint_loss(torch.ones(4, 2, 2, 2), GOOD, projector=Projector(7, 3))
    with pytest.raises(ValueError, match="the projector gives 2 channels"):
        hint_loss(torch.ones(4, 2, 2, 2), GOOD, projector=nn.Sequential())  # a module of length 0
    with pytest.raises(ValueError, match="a hint compares maps with maps or vectors with vectors"):
        hint_loss(torch.ones(4, 3), GOOD)
    with pytest.raises(ValueError, match=r"student_features has shape \[2, 5, 1\], teacher_features \[2, 5, 9\]"):
        hint_loss(torch.ones(2, 5, 1), torch.ones(2, 5, 9))


def test_a_hint_that_overflows_says_so() -> None:
    with pytest.raises(ValueError, match=r"the loss overflows for features as large as 1e\+30: did the model diverge"):
        hint_loss(torch.full((2, 3), 1e30), torch.zeros(2, 3))


def test_the_inputs_are_left_as_they_are() -> None:
    for loss in LOSSES.values():
        student, teacher = _pair((4, 3, 2, 2), (4, 3, 2, 2))
        copies = student.clone(), teacher.clone()
        loss(student.requires_grad_(), teacher).backward()
        assert torch.equal(student, copies[0])
        assert torch.equal(teacher, copies[1])
