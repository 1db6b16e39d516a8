"""A student cut out of its teacher computes what the teacher's kept units compute."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from kdlab.initialise import initialise_from_teacher
from kdlab.models import MLP, SmallCNN
from kdlab.training import predict_logits, seeded

IMAGES = torch.rand(20, 1, 8, 8, generator=torch.Generator().manual_seed(0))


def _cnn(width: int, seed: int = 0) -> SmallCNN:
    with seeded(seed):
        return SmallCNN(width=width)


def _state(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def _silence_all_but(layer: nn.Module, units: list[int]) -> None:
    """Make these units the only ones that say anything, and so the largest."""
    others = [unit for unit in range(len(layer.weight)) if unit not in units]
    with torch.no_grad():
        layer.weight[others] = 0
        layer.bias[others] = 0


def test_a_student_as_wide_as_its_teacher_becomes_its_teacher() -> None:
    student, teacher = _cnn(4), _cnn(4, seed=1)
    initialise_from_teacher(student, teacher)
    assert all(torch.equal(value, teacher.state_dict()[name]) for name, value in student.state_dict().items())


def test_when_the_units_left_behind_are_silent_the_student_answers_as_the_teacher() -> None:
    """Through convolutions, pooling, flattening and linear layers: every kept unit must keep its own inputs."""
    teacher, student = _cnn(8), _cnn(2, seed=1)
    _silence_all_but(teacher.features[0], [1, 6])
    _silence_all_but(teacher.features[2], [0, 3, 9, 15])
    _silence_all_but(teacher.classifier[2], [2, 5, 7, 11, 17, 20, 30, 31])
    for layer in (teacher.features[2], teacher.classifier[2], teacher.classifier[4]):
        _ignore_silent_inputs(layer)
    expected = predict_logits(teacher, IMAGES)
    initialise_from_teacher(student, teacher)
    torch.testing.assert_close(predict_logits(student, IMAGES), expected)
    assert float(expected.std()) > 0.01  # not two networks that say nothing


def _ignore_silent_inputs(layer: nn.Module) -> None:
    """Zero the weights on inputs that are always 0, so that leaving them out changes no norm."""
    kept = {"Conv2d": [1, 6], "Linear 256": [16 * u + i for u in (0, 3, 9, 15) for i in range(16)]}
    name = "Conv2d" if isinstance(layer, nn.Conv2d) else f"Linear {layer.weight.shape[1]}"
    columns = kept.get(name, [2, 5, 7, 11, 17, 20, 30, 31])
    others = [column for column in range(layer.weight.shape[1]) if column not in columns]
    with torch.no_grad():
        layer.weight[:, others] = 0


def test_batch_norm_follows_the_units_it_normalises() -> None:
    def build(width: int) -> nn.Sequential:
        return nn.Sequential(
            nn.Conv2d(1, width, 3, bias=False), nn.BatchNorm2d(width), nn.Flatten(),
            nn.BatchNorm1d(width * 36), nn.Linear(width * 36, 10),
        )  # fmt: skip

    student, teacher = build(2), build(4)
    with torch.no_grad():
        teacher[0].weight[[0, 2]] /= 100
    teacher.train()(IMAGES)
    initialise_from_teacher(student, teacher)
    assert torch.equal(student[1].running_mean, teacher[1].running_mean[[1, 3]])
    rows = [*range(36, 72), *range(108, 144)]
    assert torch.equal(student[3].running_var, teacher[3].running_var[rows])


def test_every_unit_keeps_the_norm_it_had_with_all_its_inputs() -> None:
    student, teacher = MLP(64, (8, 8)), MLP(64, (64, 32))
    initialise_from_teacher(student, teacher)
    norms = teacher.layers[2].weight.norm(dim=1).sort().values[-8:]
    torch.testing.assert_close(student.layers[2].weight.norm(dim=1).sort().values, norms)


def test_it_says_what_it_kept_and_leaves_the_teacher_alone() -> None:
    teacher = _cnn(8)
    before = _state(teacher)
    told = initialise_from_teacher(_cnn(2), teacher)
    assert told == ["features.0: 2 of 8 units", "features.2: 4 of 16 units",
                    "classifier.2: 8 of 32 units", "classifier.4: 10 of 10 units"]  # fmt: skip
    assert all(torch.equal(value, before[name]) for name, value in teacher.state_dict().items())


def test_the_student_has_memory_of_its_own() -> None:
    student, teacher = _cnn(4), _cnn(4, seed=1)
    before = _state(teacher)
    initialise_from_teacher(student, teacher)
    with torch.no_grad():
        for parameter in student.parameters():
            parameter.add_(1)
    assert all(torch.equal(value, before[name]) for name, value in teacher.state_dict().items())


def test_dead_units_give_no_infinite_weights() -> None:
    student, teacher = MLP(64, (8,)), MLP(64, (16,))
    with torch.no_grad():
        teacher.layers[0].weight.zero_()
        teacher.layers[2].weight.zero_()
    initialise_from_teacher(student, teacher)
    assert all(torch.isfinite(value).all() for value in student.state_dict().values())


@pytest.mark.parametrize(
    ("words", "student", "teacher"),
    [
        (r"different families.*Linear, ReLU, Linear \(student\)", MLP(64, (8,)), SmallCNN(8)),
        ("different families", MLP(64, (8,)), MLP(64, (16, 16))),
        ("a wider student", MLP(64, (32,)), MLP(64, (16,))),
        ("other classes", MLP(64, (8,), num_classes=5), MLP(64, (16,))),
        ("layers.0 does not fit", MLP(32, (8,)), MLP(64, (16,))),
        ("does not fit", nn.Linear(4, 3, bias=False), nn.Linear(4, 3)),
        ("does not fit", nn.Conv2d(1, 2, 3), nn.Conv2d(1, 2, 5)),
        ("only plain", nn.Sequential(nn.LayerNorm(4), nn.Linear(4, 3)),
         nn.Sequential(nn.LayerNorm(4), nn.Linear(4, 3))),
        ("only plain", nn.Conv2d(4, 4, 3, groups=2), nn.Conv2d(4, 4, 3, groups=2)),
        ("no linear or convolution layer", nn.ReLU(), nn.ReLU()),
    ],
)  # fmt: skip
def test_other_families_are_refused_and_the_student_stays_as_it_was(
    words: str, student: nn.Module, teacher: nn.Module
) -> None:
    before = _state(student)
    with pytest.raises(ValueError, match=words):
        initialise_from_teacher(student, teacher)
    assert all(torch.equal(value, before[name]) for name, value in student.state_dict().items())


def test_a_student_that_differs_late_is_not_changed_early() -> None:
    student = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2, bias=False))
    before = _state(student)
    with pytest.raises(ValueError, match="does not fit"):
        initialise_from_teacher(student, nn.Sequential(nn.Linear(4, 6), nn.Linear(6, 2)))
    assert all(torch.equal(value, before[name]) for name, value in student.state_dict().items())


def test_branches_that_do_not_add_up_are_refused() -> None:
    student = nn.Sequential(nn.Linear(4, 2), nn.Linear(3, 2))
    with pytest.raises(ValueError, match="only a plain chain"):
        initialise_from_teacher(student, nn.Sequential(nn.Linear(4, 4), nn.Linear(6, 2)))
