"""kd_loss and soft_targets: properties, refusals, and proof that each property can fail."""

from __future__ import annotations

import types
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from kd_properties import PROPERTIES, Loss, broken
from torch import Tensor
from torch.testing import assert_close

from kdlab import losses
from kdlab.losses import kd_loss, soft_targets


@pytest.mark.parametrize("name", PROPERTIES)
def test_kd_loss_has_property(name: str) -> None:
    PROPERTIES[name](kd_loss)


# --- the properties can fail: mutants of our own source, and losses that others published ------------------

MUTANTS = {
    "T squared dropped": ("alpha * temperature**2 *", "alpha *"),
    "T instead of T squared": ("temperature**2", "temperature"),
    "sign flipped": ("alpha * temperature**2 *", "-alpha * temperature**2 *"),
    "KL arguments swapped": (
        "_kl(teacher_logits.detach(), student_logits,",
        "_kl(student_logits, teacher_logits.detach(),",
    ),
    "teacher compared with itself": ("log_q = _scaled(student_logits,", "log_q = _scaled(teacher_logits,"),
    "teacher not detached": ("teacher_logits.detach()", "teacher_logits"),
    "sum instead of mean": (" / _positions(student_logits)", ""),
    "mean over classes too": ("_positions(student_logits)", "student_logits.numel()"),
    "mean over the first dimension only": ("_positions(student_logits)", "len(student_logits)"),
    "alpha weighs the hard term": ("alpha * temperature**2", "(1 - alpha) * temperature**2"),
    "weights do not add up to one": ("(1 - alpha) * _cross_entropy", "_cross_entropy"),
    "hard term at T": ("_scaled(student_logits, 1)", "_scaled(student_logits, 8)"),
    "log of softmax": (".log_softmax(dim=-1)", ".softmax(dim=-1).log()"),
    "no log at all": (
        "log_q = _scaled(student_logits, temperature).log_softmax",
        "log_q = _scaled(student_logits, temperature).softmax",
    ),
    "softmax over the batch": ("log_softmax(dim=-1)", "log_softmax(dim=0)"),
    "half precision kept": ("logits.to(torch.promote_types(logits.dtype, torch.float32))", "logits"),
    "one logit allowed": ("logits.shape[-1] < 2", "logits.shape[-1] < 1"),
    "temperature on one side": ("log_p = _scaled(teacher_logits, temperature)", "log_p = _scaled(teacher_logits, 1)"),
    "labels needed with alpha one": ("if alpha < 1:", "if True:"),
    "student detached": ("log_q = _scaled(student_logits,", "log_q = _scaled(student_logits.detach(),"),
    "soft cross-entropy instead of KL": (
        "F.kl_div(log_q, log_p, reduction=\"sum\", log_target=True)",
        "-(log_p.exp() * log_q).sum()",
    ),
    "classes weighted by number": ("log_q, log_p,", "log_q * torch.arange(1, log_q.shape[-1] + 1), log_p,"),
}  # fmt: skip


def _mutant(old: str, new: str) -> Loss:
    source = Path(losses.__file__).read_text(encoding="utf-8")
    code = source.split("\ndef soft_targets")[0] + "\n" + "\ndef kd_loss" + source.split("\ndef kd_loss")[1]
    assert old in code, f"the mutation no longer applies: {old!r} is not in losses.py"
    module = types.ModuleType("mutant")
    exec(compile(code.replace(old, new), "mutant", "exec"), module.__dict__)
    return module.kd_loss


@pytest.mark.parametrize("name", MUTANTS)
def test_a_mutant_of_kd_loss_turns_the_suite_red(name: str) -> None:
    assert broken(_mutant(*MUTANTS[name])), f"no property notices: {name}"


def test_every_property_can_fail() -> None:
    caught = set().union(*(broken(_mutant(*mutation)) for mutation in MUTANTS.values()))
    assert caught == set(PROPERTIES)


def _no_log_and_swapped(
    student: Tensor, teacher: Tensor, labels: Tensor | None = None, *, temperature: float, alpha: float
) -> Tensor:
    return F.kl_div(F.softmax(teacher / temperature, -1), F.softmax(student / temperature, -1), reduction="batchmean")


def _mse_of_probabilities(
    student: Tensor, teacher: Tensor, labels: Tensor | None = None, *, temperature: float, alpha: float
) -> Tensor:
    return F.mse_loss((student / temperature).softmax(-1), (teacher / temperature).softmax(-1))


def _reduction_mean(
    student: Tensor, teacher: Tensor, labels: Tensor | None = None, *, temperature: float, alpha: float
) -> Tensor:
    log_q, p = (student / temperature).log_softmax(-1), (teacher / temperature).softmax(-1)
    soft = temperature**2 * F.kl_div(log_q, p, reduction="mean")
    return soft if labels is None else alpha * soft + (1 - alpha) * F.cross_entropy(student, labels)


@pytest.mark.parametrize(
    ("faulty", "must_notice"),
    [
        (_no_log_and_swapped, "zero_when_logits_agree"),
        (_mse_of_probabilities, "equals_the_kl_of_torch_distributions"),
        (_reduction_mean, "gradient_has_its_closed_form"),
    ],
)  # fmt: skip
def test_faulty_losses_from_the_wild_are_caught(faulty: Loss, must_notice: str) -> None:
    assert must_notice in broken(faulty)


# --- soft_targets -----------------------------------------------------------------------------------------


def test_soft_targets_are_the_softmax_of_scaled_logits() -> None:
    logits = torch.randn(4, 3, 7, generator=torch.Generator().manual_seed(0))
    for temperature in (0.3, 1, 4.0):
        assert_close(soft_targets(logits, temperature), (logits / temperature).softmax(-1))


def test_soft_targets_keep_shape_dtype_and_input() -> None:
    for dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
        logits = torch.tensor([[3.0, 1.0, -2.0]], dtype=dtype)
        before = logits.clone()
        result = soft_targets(logits, 2.0)
        assert result.shape == logits.shape
        assert result.dtype == dtype
        assert torch.equal(logits, before)


def test_soft_targets_have_the_right_limits() -> None:
    logits = torch.tensor([1.0, 3.0, 2.0])
    assert_close(soft_targets(logits, 1e6), torch.full((3,), 1 / 3), atol=1e-5, rtol=0)
    assert_close(soft_targets(logits, 1e-30), torch.tensor([0.0, 1.0, 0.0]))


def test_soft_targets_never_change_the_order_and_entropy_grows_with_temperature() -> None:
    logits = torch.randn(50, 10, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    entropies = []
    for temperature in (0.25, 0.5, 1.0, 2.0, 4.0, 8.0):
        p = soft_targets(logits, temperature)
        assert torch.equal(p.argsort(-1), logits.argsort(-1))
        entropies.append(torch.special.entr(p).sum(-1))
    assert (torch.stack(entropies).diff(dim=0) > 0).all()


def test_soft_targets_survive_extreme_logits_and_masked_classes() -> None:
    assert_close(soft_targets(torch.tensor([1e30, -1e30]), 1e-3), torch.tensor([1.0, 0.0]))
    assert_close(soft_targets(torch.tensor([0.0, 0.0, float("-inf")]), 3.0), torch.tensor([0.5, 0.5, 0.0]))


def test_soft_targets_pass_gradients() -> None:
    logits = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda z: soft_targets(z, 0.7), (logits,))


# --- refusals ---------------------------------------------------------------------------------------------

S, T_, Y = torch.zeros(4, 10), torch.ones(4, 10), torch.zeros(4, dtype=torch.long)
NAN = torch.full((4, 10), float("nan"))


@pytest.mark.parametrize(
    ("error", "words", "arguments", "options"),
    [
        (ValueError, "temperature .* greater than 0, got 0", (S, T_, Y), {"temperature": 0}),
        (ValueError, "temperature .* got -1", (S, T_, Y), {"temperature": -1}),
        (ValueError, "temperature .* got nan", (S, T_, Y), {"temperature": float("nan")}),
        (ValueError, "temperature .* got inf", (S, T_, Y), {"temperature": float("inf")}),
        (TypeError, "temperature must be a number, got '4'", (S, T_, Y), {"temperature": "4"}),
        (TypeError, "temperature must be a number, got None", (S, T_, Y), {"temperature": None}),
        (TypeError, "temperature must be a number, got True", (S, T_, Y), {"temperature": True}),
        (ValueError, r"alpha must lie in \[0, 1\], got 1.5", (S, T_, Y), {"alpha": 1.5}),
        (ValueError, r"alpha must lie in \[0, 1\], got -0.1", (S, T_, Y), {"alpha": -0.1}),
        (ValueError, "alpha .* got nan", (S, T_, Y), {"alpha": float("nan")}),
        (TypeError, "alpha must be a number", (S, T_, Y), {"alpha": "0.5"}),
        (ValueError, "teacher_logits has 8 classes, student_logits 10 .* features", (S, T_[:, :8], Y), {}),
        (ValueError, "different batches", (S, T_[:3], Y), {}),
        (TypeError, "student_logits must be floating point, got torch.int64", (S.long(), T_, Y), {}),
        (TypeError, "teacher_logits must be floating point, got torch.bool", (S, T_.bool(), Y), {}),
        (TypeError, "teacher_logits must be a torch tensor .* list", (S, [[1.0]], Y), {}),
        (ValueError, "student_logits contains NaN .40 of 40.", (NAN, T_, Y), {}),
        (ValueError, "teacher_logits contains NaN", (S, NAN, Y), {"alpha": 0.0}),
        (ValueError, "teacher_logits contains infinite", (S, T_ * float("inf"), Y), {}),
        (ValueError, "labels contain 10, allowed are 0 to 9", (S, T_, Y + 10), {}),
        (ValueError, "labels contain -100.*ignore index", (S, T_, Y - 100), {}),
        (ValueError, "labels are missing: alpha=0.9", (S, T_), {}),
        (TypeError, "labels must be integer .* torch.float32", (S, T_, Y.float()), {}),
        (TypeError, "labels must be a torch tensor", (S, T_, [0, 0, 0, 0]), {}),
        (ValueError, r"labels has shape \[4, 10\].*argmax", (S, T_, torch.zeros(4, 10).long()), {}),
        (ValueError, "at least 2 classes", (S[:, :1], T_[:, :1], Y), {}),
        (ValueError, "at least 2 classes", (torch.tensor(1.0), torch.tensor(1.0)), {"alpha": 1.0}),
        (ValueError, "empty", (S[:0], T_[:0], Y[:0]), {}),
        (ValueError, "temperature=1e-39 does", (torch.eye(2), 1 - torch.eye(2)), {"temperature": 1e-39, "alpha": 1}),
    ],
)  # fmt: skip
def test_kd_loss_refuses(error: type[Exception], words: str, arguments: tuple, options: dict) -> None:
    with pytest.raises(error, match=words):
        kd_loss(*arguments, **options)


@pytest.mark.parametrize(
    ("error", "words", "logits", "temperature"),
    [
        (ValueError, "temperature", S, 0),
        (TypeError, "temperature", S, "1"),
        (TypeError, "logits must be floating point, got torch.int64: did you pass labels", Y, 1.0),
        (ValueError, "logits contains NaN", NAN, 1.0),
        (ValueError, "infinite", torch.tensor([float("inf"), 0.0]), 2.0),
        (ValueError, "at least 2 classes", torch.zeros(3, 1), 1.0),
        (TypeError, "got list", [1.0, 2.0], 1.0),
    ],
)
def test_soft_targets_refuse(error: type[Exception], words: str, logits: object, temperature: object) -> None:
    with pytest.raises(error, match=words):
        soft_targets(logits, temperature)


def test_a_numpy_scalar_is_a_number() -> None:
    with_numpy = kd_loss(S, T_, Y, temperature=np.float32(2), alpha=np.float64(0.5))
    assert_close(with_numpy, kd_loss(S, T_, Y, temperature=2, alpha=0.5))
