"""Exercises of lesson 04: numbers recomputed, listings run, and what the code exercise says of odd answers."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from itertools import permutations
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from answering import field_of, judged, mistakes, right_options
from torch import Tensor, nn

from kdlab.exercises import grade
from kdlab.exercises.catalog import exercise
from kdlab.exercises.judging import Finding
from kdlab.features import Projector, attention_transfer_loss, relational_distance_loss, similarity_loss


def _judged(source: str) -> Finding:
    return judged("write-attention-transfer-loss", source)


def _drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _rotation(size: int) -> Tensor:
    return torch.linalg.qr(_drawn(size, size, seed=9))[0]


# -------------------------------------------------------------------------------------- the losses, written plainly


def _attention(student: Tensor, teacher: Tensor, power: float = 2.0) -> float:
    maps = [features.abs().pow(power).sum(dim=1).flatten(1) for features in (student, teacher)]
    unit = [one / one.norm(dim=1, keepdim=True) for one in maps]
    return float((unit[0] - unit[1]).norm(dim=1).mean())


def _similarity(student: Tensor, teacher: Tensor) -> float:
    rows = [(f @ f.T) / (f @ f.T).norm(dim=1, keepdim=True) for f in (student, teacher)]
    return float((rows[0] - rows[1]).square().sum() / len(student) ** 2)


def _huber(u: Tensor) -> Tensor:
    return torch.where(u.abs() <= 1, u.square() / 2, u.abs() - 0.5)


def _relational(student: Tensor, teacher: Tensor) -> Tensor:
    pairs = list(permutations(range(len(student)), 2))
    d_s, d_t = (torch.stack([(e[i] - e[j]).norm() for i, j in pairs]) for e in (student, teacher))
    return _huber(d_s / d_s.mean() - d_t / d_t.mean()).mean()


# ------------------------------------------------------------------------------------------- numbers, recomputed


def test_the_projector_has_as_many_parameters_as_said_and_each_mistake_is_the_one_that_it_names() -> None:
    def parameters(module: nn.Module) -> int:
        return sum(one.numel() for one in module.parameters())

    field = field_of("what-a-projector-costs", "parameters")
    assert field.answer == parameters(nn.Conv2d(32, 64, 1))
    expected = [
        parameters(nn.Conv2d(32, 64, 1, bias=False)), 32 * 64 + 32, 32 * 64 * 64, parameters(nn.Linear(2048, 4096)),
        parameters(nn.Conv2d(32, 64, 3)),
    ]  # fmt: skip
    assert mistakes(field) == expected
    times = field_of("what-a-projector-costs", "multiplications")
    assert times.answer == 32 * 64 * 8 * 8
    assert mistakes(times) == [32 * 64, 32 * 64 * 64 + 64 * 64, 32 * 64 * 8, 2 * 32 * 64 * 64]


def test_attention_by_hand_and_each_wrong_number_come_from_the_stated_features() -> None:
    student = torch.tensor([[[[1, 0], [2, 0]], [[0, 2], [-2, 0]]]], dtype=torch.float64)
    teacher = torch.tensor([[[[1, 0], [1, 0]], [[1, 1], [0, 0]], [[0, 0], [-1, 0]]]], dtype=torch.float64)
    a_s, a_t = (maps.square().sum(1).flatten() for maps in (student, teacher))
    assert (a_s.tolist(), a_t.tolist()) == ([1, 4, 8, 0], [2, 1, 2, 0])
    right = _attention(student, teacher)
    loss = field_of("attention-transfer-by-hand", "loss")
    assert loss.answer == pytest.approx(right, abs=1e-6)
    plain = [maps.sum(1).flatten() for maps in (student, teacher)]
    expected = [
        right**2, right**2 / 4, _attention(student, teacher, 1.0),
        float((plain[0] / plain[0].norm() - plain[1] / plain[1].norm()).norm()),
        float((a_s / a_s.sum() - a_t / a_t.sum()).norm()), float((a_s - a_t).norm()),
        float((a_s / 9 - a_t / 3).abs().sum()),
    ]  # fmt: skip
    assert mistakes(loss) == pytest.approx(expected, rel=1e-5)
    tripled = field_of("attention-transfer-by-hand", "tripled")
    assert tripled.answer == pytest.approx(_attention(3 * student, teacher), abs=1e-6)
    assert mistakes(tripled) == pytest.approx(
        [3 * right, 9 * right, float((9 * a_s - a_t).norm()), right / 3], rel=1e-5
    )


def test_what_each_loss_ignores_is_what_the_right_options_say() -> None:
    student, teacher = _drawn(6, 5), _drawn(6, 5, seed=1)
    moved = 5 * teacher @ _rotation(5) + 7
    maps, wide = _drawn(3, 4, 2, 2), _drawn(3, 7, 2, 2, seed=1)
    turned = torch.einsum("nchw,cd->ndhw", maps, _rotation(4))
    longer = student.clone()
    longer[2] *= 3
    same_places = maps[:, [1, 0, 3, 2]]
    projector = torch.linalg.lstsq(student @ _rotation(5), student).solution
    truths = {
        "a": float(_relational(moved, teacher)) < 1e-12,
        "b": _similarity(moved, teacher) < 1e-3,
        "c": abs(_attention(turned, wide) - _attention(maps, wide)) < 1e-12 and not torch.allclose(turned, maps),
        "d": _attention(same_places, maps) < 1e-12 and not torch.allclose(same_places, maps),
        "e": False,  # shown by the next line: both take a teacher of another width
        "f": abs(_similarity(longer, teacher) - _similarity(student, teacher)) < 1e-3,
        "g": torch.allclose(student @ _rotation(5) @ projector, student),
    }
    assert math.isfinite(_similarity(student, _drawn(6, 9)) + float(_relational(student, _drawn(6, 9))))
    assert sorted(one for one, holds in truths.items() if holds) == right_options(
        exercise("what-each-feature-loss-ignores").fields[0]
    )
    assert _similarity(3 * teacher @ _rotation(5), teacher) < 1e-12
    assert _attention(maps, 3 * maps) < 1e-12
    assert abs(_attention(turned, wide, 1.0) - _attention(maps, wide, 1.0)) > 1e-3, "so p = 2 has to be said"


# ------------------------------------------------------------------------------------------------ listings, run


def _similarity_listing(norm: str) -> dict[str, Any]:
    space: dict[str, Any] = {"F": F}
    exec(exercise("similarity-with-the-wrong-norm").listing.replace("F.normalize(g, 1)", norm), space)
    return space


def test_the_faulty_similarity_returns_what_is_stated_and_only_the_named_check_tells_it_from_the_right_one() -> None:
    slug = "similarity-with-the-wrong-norm"
    student, teacher = torch.eye(2), torch.tensor([[1.0, 0], [1.0, 0]])
    faulty, mended = _similarity_listing("F.normalize(g, 1)"), _similarity_listing("F.normalize(g, dim=1)")
    assert "F.normalize(g, 1)" in exercise(slug).listing.splitlines()[exercise(slug).fields[0].answer - 1]
    returned, right = (float(space["similarity_loss"](student, teacher)) for space in (faulty, mended))
    assert field_of(slug, "returned").answer == pytest.approx(returned)
    assert field_of(slug, "right").answer == pytest.approx(right, abs=1e-5)
    assert right == pytest.approx(_similarity(student, teacher))
    assert mistakes(field_of(slug, "returned")) == pytest.approx([right, 2 * returned, 4 * returned], abs=1e-5)
    plain = float((student @ student.T - teacher @ teacher.T).square().sum()) / 4
    assert mistakes(field_of(slug, "right")) == pytest.approx([returned, 2 * right, 4 * right, plain], abs=1e-5)
    x, y = _drawn(5, 3), _drawn(5, 4, seed=1)

    def gradients(space: dict[str, Any]) -> bool:
        a, b = x.clone().requires_grad_(), y.clone().requires_grad_()
        space["similarity_loss"](a, b).backward()
        return bool(a.grad is not None and a.grad.any()) and b.grad is None

    checks: dict[str, Callable[[dict[str, Any]], bool]] = {
        "a": lambda space: float(space["similarity_loss"](x, x)) == 0,
        "b": lambda space: torch.allclose(space["similarity_loss"](3 * x, y), space["similarity_loss"](x, y)),
        "d": lambda space: torch.allclose(space["similarities"](x).norm(dim=1), torch.ones(5, dtype=torch.float64)),
        "e": gradients,
    }
    assert all(check(mended) for check in checks.values())
    assert [name for name, check in checks.items() if not check(faulty)] == right_options(field_of(slug, "check"))


class _Net(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(1, channels, 3), nn.ReLU())
        self.head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 3))


def _trained(listing: str, steps: int = 60) -> tuple[list[float], list[str]]:
    """The hint of each step, and which of the first step's parameters did not move."""
    torch.manual_seed(0)
    student, teacher = _Net(32), _Net(64)
    images, labels = torch.randn(16, 1, 6, 6), torch.randint(3, (16,))
    space: dict[str, Any] = {"torch": torch, "F": F, "nn": nn, "student": student, "teacher": teacher}
    head, _, loop = listing.partition("for images")
    exec(head, space)
    hints, still = [], []
    modules = {"student": student, "projector": space["projector"]}
    for step in range(steps):
        before = copy.deepcopy({name: module.state_dict() for name, module in modules.items()})
        exec("for images" + loop, space | {"loader": [(images, labels)]}, space)
        hints.append(space["hint"].item())
        if step == 0:
            still = [
                f"{name}.{key}" for name, module in modules.items() for key, value in module.state_dict().items()
                if torch.equal(value, before[name][key])
            ]  # fmt: skip
    return hints, still


def test_a_forgotten_projector_stands_still_while_the_hint_falls_and_a_trained_one_gets_lower() -> None:
    one = exercise("projector-that-never-learns")
    wrong = one.listing.splitlines()[one.fields[0].answer - 1]
    assert "student.parameters()" in wrong
    mended = one.listing.replace("student.parameters()", "[*student.parameters(), *projector.parameters()]")
    (forgotten, still), (trained, moving) = _trained(one.listing), _trained(mended)
    assert still == ["projector.weight", "projector.bias"]
    assert moving == []
    assert forgotten[-1] < 0.9 * forgotten[0]
    assert trained[-1] < 0.8 * forgotten[-1]


@pytest.mark.parametrize(
    ("inplace", "clone", "negative"), [(True, False, False), (True, True, True), (False, False, True)]
)
def test_an_inplace_relu_overwrites_what_a_hook_has_kept(inplace: bool, clone: bool, negative: bool) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(inplace=inplace))
    store: dict[str, Tensor] = {}
    shares = []

    def keep(module: nn.Module, inputs: Any, output: Tensor) -> None:
        shares.append(float((output < 0).float().mean()))
        store["bn"] = output.clone() if clone else output
        store["detached"] = output.detach()

    net[1].register_forward_hook(keep)
    net(torch.randn(8, 1, 6, 6))
    assert 0.3 < shares[0] < 0.7, "in the hook about half of the values are negative"
    assert bool((store["bn"] < 0).any()) == negative
    assert negative or store["bn"].min().item() == 0
    assert bool((store["detached"] < 0).any()) == (not inplace), "detach shares the memory"


# ------------------------------------------------------------------------------------------------ the derivation


def test_relations_forget_the_scale_and_their_gradient_shrinks_with_it() -> None:
    student, teacher = _drawn(5, 3), _drawn(5, 4, seed=1)

    def gradient(factor: float) -> Tensor:
        leaf = (factor * student).requires_grad_()
        _relational(leaf, teacher).backward()
        assert leaf.grad is not None
        return leaf.grad

    for factor in (0.3, 5.0):
        torch.testing.assert_close(_relational(factor * student, teacher), _relational(student, teacher))
        torch.testing.assert_close(gradient(factor), gradient(1.0) / factor)
    along, across = (gradient(1.0) * student).sum(), gradient(1.0).norm()
    assert abs(float(along)) < 1e-9 < float(across)
    assert float(_relational(_drawn(2, 3), _drawn(2, 4, seed=1))) == pytest.approx(0), "a batch of two teaches nothing"


def test_the_value_and_the_memory_of_relations_and_their_wrong_numbers_are_as_stated() -> None:
    student, teacher = (torch.tensor([[float(x)] for x in xs], dtype=torch.float64) for xs in ((0, 1, 3), (0, 1, 2)))
    right = float(_relational(student, teacher))
    field = field_of("relations-forget-scale", "value")
    assert field.answer == pytest.approx(right, abs=1e-6)
    off = ~torch.eye(3, dtype=torch.bool)
    d_s, d_t = torch.cdist(student, student), torch.cdist(teacher, teacher)
    expected = [
        2 * right, 3 * right, 6 * right, float(_huber(d_s - d_t)[off].mean()),
        float(_huber(d_s / d_s.mean() - d_t / d_t.mean()).mean()),
    ]  # fmt: skip
    assert mistakes(field) == pytest.approx(expected, abs=1e-6)
    n = 256
    memory = field_of("relations-forget-scale", "memory")
    assert memory.answer == torch.empty(0, dtype=torch.float32).element_size() * n**3 / 1e6
    expected = [n**3 / 1e6, 4 * n**2 / 1e6, 4 * n**3 / 2**20, 8 * n**3 / 1e6, 4 * math.comb(n, 3) / 1e6]
    assert mistakes(memory) == pytest.approx(expected, rel=0.02)


# ----------------------------------------------------------------------------------------- the code exercise

HEAD = "def attention_transfer_loss(student_maps, teacher_maps):\n    "


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("return (student_maps - teacher_maps).square().mean().item()", "cut the gradient off"),
        ("(student_maps - teacher_maps).norm()", "is the `return` statement missing?"),
        ("return (student_maps - teacher_maps).argmax()", "Floating point numbers are expected"),
    ],
)
def test_an_attention_loss_of_the_wrong_kind_is_invalid_with_the_cause(body: str, said: str) -> None:
    finding = _judged(HEAD + body)
    assert finding.outcome == "invalid"
    assert said in finding.message


def test_features_of_other_widths_that_are_subtracted_are_told_by_the_channels_not_by_a_crash() -> None:
    finding = _judged(
        HEAD + "return (F.normalize(student_maps) - F.normalize(teacher_maps)).flatten(1).norm(dim=1).mean()"
    )
    assert finding.failed == "channels_are_summed"


def test_the_reference_is_the_loss_of_the_lesson() -> None:
    space: dict[str, Any] = {"F": F}
    exec(exercise("write-attention-transfer-loss").reference, space)
    student, teacher = _drawn(4, 3, 5, 5), _drawn(4, 8, 5, 5, seed=1)
    assert float(space["attention_transfer_loss"](student, teacher)) == pytest.approx(_attention(student, teacher))
    torch.testing.assert_close(
        space["attention_transfer_loss"](student, teacher), attention_transfer_loss(student, teacher)
    )


def test_the_plain_losses_of_this_file_are_those_of_kdlab() -> None:
    student, teacher = _drawn(6, 5), _drawn(6, 8, seed=1)
    assert float(similarity_loss(student, teacher)) == pytest.approx(_similarity(student, teacher))
    assert float(relational_distance_loss(student, teacher)) == pytest.approx(float(_relational(student, teacher)))
    assert sum(one.numel() for one in Projector(32, 64).parameters()) == 2112


@pytest.mark.parametrize(
    ("slug", "name", "typed", "said"),
    [
        ("what-a-projector-costs", "parameters", "32*64", "With bias"),
        ("attention-transfer-by-hand", "tripled", "3*sqrt(30)/9", "three times as much"),
        ("attention-transfer-by-hand", "loss", 0.37, "That is its square"),
        ("relations-forget-scale", "gradient", "c*g", "other way round"),
        ("relations-forget-scale", "memory", 64, "MiB"),
    ],
)
def test_a_mistake_typed_as_people_type_it_is_named(slug: str, name: str, typed: Any, said: str) -> None:
    verdict = grade(slug, exercise(slug).reference | {name: typed})
    assert verdict.outcome == "incorrect"
    assert said in verdict.message
